"""A fit and its budgets on one HTML page that loads nothing from the network."""

from scaling.report.page import render, write

__all__ = ["render", "write"]
