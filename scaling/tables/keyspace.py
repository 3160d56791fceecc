"""Interval arithmetic on the key of a table: what rows share, and what none of them has."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scaling.tables.lookup import axes

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Mapping

_OTHER = object()
"""Stands for every value of a feature that no row names."""


class KeySpace:
    """The rows of a table as products of cells.

    Args:
        document: a table whose key and conditions are sound.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        lines = axes(document)
        self._features = list(zip(document["key"]["features"], lines, strict=True))
        self._rows = [
            [axis.cells(row["when"].get(axis.name)) for axis in lines] for row in document["rows"]
        ]

    def overlaps(self) -> Iterator[tuple[int, int]]:
        """Pairs of rows that share a cell."""
        waiting = [(0, list(range(len(self._rows))))]
        while waiting:
            depth, rows = waiting.pop()
            if len(rows) < 2:
                continue
            if depth == len(self._features):
                yield from pairwise(rows)
                continue
            groups = self._groups(depth, rows)
            waiting += [(depth + 1, group) for group in groups.values()]

    def gap(self) -> str | None:
        """A combination of values that no row has, in words; None where there is none."""
        waiting: list[tuple[tuple[str, ...], list[int]]] = [((), list(range(len(self._rows))))]
        done: set[tuple[int, tuple[int, ...]]] = set()
        while waiting:
            said, rows = waiting.pop()
            depth = len(said)
            if not rows:
                return ", ".join(said) or "any query"
            if depth == len(self._features) or (depth, tuple(rows)) in done:
                continue
            done.add((depth, tuple(rows)))
            groups = self._groups(depth, rows)
            domain = self._domain(depth, groups)
            for code in domain:
                group = groups.get(code, groups[_OTHER])
                waiting.append(((*said, self._say(depth, code)), group))
        return None

    def _groups(self, depth: int, rows: list[int]) -> dict[Hashable, list[int]]:
        """The rows of each cell of one feature; those of any other cell under `_OTHER`."""
        free = [row for row in rows if self._rows[row][depth] is None]
        groups: dict[Hashable, list[int]] = {}
        for row in rows:
            for code in self._rows[row][depth] or ():
                groups.setdefault(code, []).append(row)
        if free:
            groups = {code: sorted([*group, *free]) for code, group in groups.items()}
        groups[_OTHER] = free
        return groups

    def _domain(self, depth: int, groups: Mapping[Hashable, Any]) -> Collection[Hashable]:
        """The cells of one feature that a query can fall in."""
        feature, axis = self._features[depth]
        if axis.cuts is None:
            if axis.values is not None:
                return axis.values
            return (False, True) if feature["dtype"] == "boolean" else list(groups)
        if axis.values is not None:
            return sorted({axis.code({axis.name: value}, None) for value in axis.values})  # type: ignore[type-var]
        cells = range(len(axis.cuts) + 1)
        if feature["dtype"] != "integer":
            return cells
        ends = [-math.inf, *axis.cuts, math.inf]
        return [i for i in cells if not math.isfinite(ends[i]) or math.ceil(ends[i]) < ends[i + 1]]

    def _say(self, depth: int, code: Hashable) -> str:
        _, axis = self._features[depth]
        if axis.cuts is None or not isinstance(code, int):
            return f"{axis.name} " + ("of any other value" if code is _OTHER else f"= {code!r}")
        low = f">= {axis.cuts[code - 1]!r}" if code else ""
        high = f"< {axis.cuts[code]!r}" if code < len(axis.cuts) else ""
        return f"{axis.name} " + (" and ".join(filter(None, (low, high))) or "of any value")
