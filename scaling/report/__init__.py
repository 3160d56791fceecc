"""Fits and their budgets on one HTML page that loads nothing from the network."""

from scaling.report.comparison import verdicts
from scaling.report.page import render, write

__all__ = ["render", "verdicts", "write"]
