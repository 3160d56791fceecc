"""Charts of a fit and of an allocation, as altair objects; each holds its own numbers."""

from __future__ import annotations

from scaling.plots.budgets import budgets
from scaling.plots.coverage import coverage, group_keys
from scaling.plots.frontier import frontier
from scaling.plots.labels import (
    FORECAST,
    UNITS,
    column_label,
    law_labels,
    place_label,
)
from scaling.plots.menu import menu
from scaling.plots.save import save, vegalite_version
from scaling.plots.style import PALETTE

__all__ = [
    "FORECAST",
    "PALETTE",
    "UNITS",
    "budgets",
    "column_label",
    "coverage",
    "frontier",
    "group_keys",
    "law_labels",
    "menu",
    "place_label",
    "save",
    "vegalite_version",
]
