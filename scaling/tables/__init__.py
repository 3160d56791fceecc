"""Tables: the budgets that a gateway reads, their checks and their lookup."""

from __future__ import annotations

from scaling.tables.check import Finding, Report
from scaling.tables.lookup import Decision
from scaling.tables.table import BudgetTable

__all__ = ["BudgetTable", "Decision", "Finding", "Report"]
