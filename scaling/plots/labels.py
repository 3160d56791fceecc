"""Laws, groups, columns, actions and resources in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scaling.fitting.result import FitResult

UNITS = {
    "samples": "samples",
    "tokens": "generated tokens",
    "usd": "US dollars",
    "flops": "FLOPs",
    "bytes": "bytes moved",
    "eflops": "equivalent FLOPs",
    "seconds": "seconds",
    "joules": "joules",
}
FORECAST = "forecast"
"""The law that is fitted for numbers of samples beyond the data."""


def law_labels(fits: Sequence[FitResult]) -> list[str]:
    """What to call each fit among the others: its law, and what tells it from its like."""
    names = [fit.law for fit in fits]
    for told in (
        [fit.preset or fit.objective for fit in fits],
        [str(i) for i in range(1, len(fits) + 1)],
    ):
        names = [
            f"{name} ({tell})" if names.count(name) > 1 else name
            for name, tell in zip(names, told, strict=True)
        ]
    return names


def place_label(by: Mapping[str, Any], bins: Mapping[str, tuple[float, ...]]) -> str:
    """A group or class in words: "level hard, difficulty 0.2 to 0.6"."""
    return ", ".join(f"{name} {column_label(name, item, bins)}" for name, item in by.items())


def column_label(name: str, item: Any, bins: Mapping[str, tuple[float, ...]]) -> str:
    """A value of a group or class column; a bin index becomes its range, "0.2 to 0.6"."""
    cuts = bins.get(name)
    if cuts is None:
        return str(item)
    index = int(item)
    if index == 0:
        return f"< {cuts[0]:g}"
    if index == len(cuts):
        return f"≥ {cuts[-1]:g}"
    return f"{cuts[index - 1]:g} to {cuts[index]:g}"


def amount_label(number: float) -> str:
    """An amount of a resource, to four digits below ten thousand and whole above."""
    return f"{number:,.4g}" if number < 1e4 else f"{number:,.0f}"
