"""Allocators: from menus and a budget to an action for every class."""

from __future__ import annotations

from scaling.allocators.allocate import allocate
from scaling.allocators.allocation import Allocation, Fallback, Limit, Split

__all__ = ["Allocation", "Fallback", "Limit", "Split", "allocate"]
