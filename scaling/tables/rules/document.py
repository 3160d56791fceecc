"""Reading the document of a table that fits the schema: its rows, ladders and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaling.tables.rules.registry import Document, Problems


TOLERANCE = 1e-9
"""Relative; numbers that differ by less are the same."""
NOTHING = 1e-300
"""Differences below it are the rounding of the smallest floats."""
SHARES = frozenset({"accuracy", "coverage", "ceiling", "false_positive_rate", "abstain_rate"})
"""Estimates of an entry that lie between 0 and 1, by name."""


def rows_of(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row with its place."""
    for i, row in enumerate(document["rows"]):
        yield f"$.rows[{i}]", row


def ladders_of(document: Document) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Each row's ladder with its place."""
    for where, row in rows_of(document):
        yield f"{where}.ladder", row["ladder"]


def entries_of(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that has an action and what is expected of it."""
    for where, row in rows_of(document):
        yield where, row
        for i, rung in enumerate(row["ladder"]):
            yield f"{where}.ladder[{i}]", rung
    yield "$.fallback", document["fallback"]


def served_by(row: Mapping[str, Any]) -> list[tuple[float, Mapping[str, Any]]]:
    """The entries that a row serves without a live price, each with its share of the queries.

    What the shares of a split leave over abstains, and counts nothing.
    """
    if not row.get("split"):
        return [(1.0, row)]
    last = len(row["ladder"]) - 1
    return [(part["share"], row["ladder"][min(part["rung"], last)]) for part in row["split"]]


def value_of(entry: Mapping[str, Any]) -> float | None:
    """Expected value, None where it is not known."""
    value: float | None = entry["expected"]["value"]["mean"]
    return value


def mean_of(entry: Mapping[str, Any], resource: str | None) -> float | None:
    """Expected use of a resource, None where the entry does not say."""
    estimate = entry["expected"]["resources"].get(resource)
    return None if estimate is None else estimate["mean"]


def share_of(entry: Mapping[str, Any], name: str) -> float | None:
    """Expected share such as the coverage, None where the entry does not say."""
    estimate = entry["expected"].get(name)
    return None if estimate is None else estimate["mean"]


def is_close(one: float | None, other: float | None) -> bool:
    """Whether two numbers are the same up to rounding, or both unknown."""
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=NOTHING)


def repeated(named: Iterator[tuple[str, Any]]) -> Problems:
    """Names that stood at another place before."""
    first: dict[Any, str] = {}
    for where, name in named:
        if name in first:
            yield where, f"{name!r} stands at {first[name]} already."
        first.setdefault(name, where)
