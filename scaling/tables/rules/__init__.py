"""What a budget table must hold beyond its JSON Schema, one function a check.

A check is a generator over a document that fits the schema; it yields where something is wrong and
what. The decorator gives it its stable code. To add one, write one function in the file of its
theme. Sums and differences of floats are compared to a relative 1e-9.

Some checks stand behind a named guarantee. Most of those must hold in every table; four state
something that a sound table may lack (`stated=True`) and are errors only where the table claims
them.
"""

from __future__ import annotations

# Each registers its checks, which run in this order.
from scaling.tables.rules import conditions, numbers, ladders, limits, actions, identity  # isort: skip  # noqa: F401
from scaling.tables.rules.realised import realised, relative_gap
from scaling.tables.rules.registry import CHECKS, Check

__all__ = ["CHECKS", "Check", "realised", "relative_gap"]
