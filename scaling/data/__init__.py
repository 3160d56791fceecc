"""Logs, reduced to per-problem sufficient statistics."""

from scaling.data.configurations import configurations_menu
from scaling.data.evidence import Counts, Evidence, Points, ResourceUse, Runtimes
from scaling.data.groups import looks_success_stopped
from scaling.data.menu_rows import read_menu
from scaling.data.read import read
from scaling.data.sweep import Report, Sweep

__all__ = [
    "Counts",
    "Evidence",
    "Points",
    "Report",
    "ResourceUse",
    "Runtimes",
    "Sweep",
    "configurations_menu",
    "looks_success_stopped",
    "read",
    "read_menu",
]
