"""Curves: menus of what queries can buy, and their hulls, where laws and costs meet."""

from __future__ import annotations

from scaling.curves.arrays import BoolArray, FloatArray, IntArray, distinct, ranges
from scaling.curves.hull import Hull, upper_hull
from scaling.curves.ladder import ladder
from scaling.curves.menu import (
    RESOURCES,
    CostErrors,
    Menu,
    MenuSource,
    OwnCost,
    ValueDraws,
    action_words,
    plain,
)
from scaling.curves.merge import merge
from scaling.curves.over_samples import over_samples, refuse_too_large
from scaling.curves.validate import validate

__all__ = [
    "RESOURCES",
    "BoolArray",
    "CostErrors",
    "FloatArray",
    "Hull",
    "IntArray",
    "Menu",
    "MenuSource",
    "OwnCost",
    "ValueDraws",
    "action_words",
    "distinct",
    "ladder",
    "merge",
    "over_samples",
    "plain",
    "ranges",
    "refuse_too_large",
    "upper_hull",
    "validate",
]
