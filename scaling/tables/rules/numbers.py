"""Weights and expected numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaling.tables.rules.document import (
    SHARES,
    TOLERANCE,
    entries_of,
    is_close,
    mean_of,
    rows_of,
    served_by,
    share_of,
    value_of,
)
from scaling.tables.rules.registry import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaling.tables.rules.registry import Document, Problems


@check("weights")
def _weights(document: Document) -> Problems:
    total = math.fsum(row["weight"] for _, row in rows_of(document))
    if abs(total - 1) > TOLERANCE:
        yield "$.rows", f"the weights sum to {total!r}, not to 1."


@check("share-range")
def _share_range(document: Document) -> Problems:
    """Accuracy, coverage and other shares lie in [0, 1], with their intervals."""
    for where, name, estimate in _estimates(document):
        if name in SHARES:
            for value in (estimate["mean"], *estimate.get("interval", ())):
                if value is not None and not 0 <= value <= 1:
                    yield where, f"{value!r} is not in [0, 1]."


@check("interval")
def _interval(document: Document) -> Problems:
    """An interval is ordered and holds its mean."""
    for where, _, estimate in _estimates(document):
        if "interval" not in estimate:
            continue
        low, high = estimate["interval"]
        mean = estimate["mean"]
        if low > high:
            yield f"{where}.interval", f"{low!r} is above {high!r}."
        elif mean is not None and not low <= mean <= high:
            yield f"{where}.interval", f"[{low!r}, {high!r}] does not hold the mean {mean!r}."


@check("mean-missing")
def _mean_missing(document: Document) -> Problems:
    """A mean is null exactly where the quantity is said not to exist."""
    for where, _, estimate in _estimates(document):
        if (estimate["mean"] is None) != estimate.get("infeasible", False):
            yield where, f"mean is {estimate['mean']!r}; null and `infeasible: true` go together."


@check("resource-negative")
def _resource_negative(document: Document) -> Problems:
    """Resources, latency and the cost of a right answer are zero or more, with their intervals."""
    for where, name, estimate in _estimates(document):
        if name != "value" and name not in SHARES:
            for value in (estimate["mean"], *estimate.get("interval", ())):
                if value is not None and value < 0:
                    yield where, f"{value!r} is negative."


@check("value-differs")
def _value_differs(document: Document) -> Problems:
    """Where accuracy or coverage is maximised, that is the value, and both are told alike."""
    name = document["objective"]["maximise"]
    if name not in SHARES:
        return
    for where, entry in entries_of(document):
        value, same = value_of(entry), share_of(entry, name)
        if name in entry["expected"] and not is_close(value, same):
            yield f"{where}.expected.value", f"{value!r}, but the {name} is {same!r}."


@check("hard-limit")
def _hard_limit(document: Document) -> Problems:
    """No entry is expected to use more than the caps that stand on every request of it."""
    for where, row in rows_of(document):
        for _, entry in served_by(row):
            limits = {**row.get("hard_limits", {}), **entry.get("hard_limits", {})}
            yield from _above_caps(where, entry, limits)
    fallback = document["fallback"]
    yield from _above_caps("$.fallback", fallback, fallback.get("hard_limits", {}))


def _above_caps(where: str, entry: Mapping[str, Any], limits: Mapping[str, float]) -> Problems:
    for name, resource in _CAPPED.items():
        use = mean_of(entry, resource)
        # a cap on tokens is a whole number, and the mean may lie between two
        cap = limits.get(name, math.inf) + (1 if resource == "tokens" else 0)
        if use is not None and use > cap * (1 + TOLERANCE):
            yield (
                f"{where}.hard_limits.{name}",
                f"{limits[name]!r}, but {use!r} {resource} are expected.",
            )


_CAPPED = {"max_usd": "usd", "max_total_tokens": "tokens", "timeout_s": "seconds"}


def _estimates(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every estimate with its place and name."""
    for where, entry in entries_of(document):
        for name, estimate in entry["expected"].items():
            if name == "resources":
                for resource, used in estimate.items():
                    yield f"{where}.expected.resources.{resource}", resource, used
            elif isinstance(estimate, dict):
                yield f"{where}.expected.{name}", name, estimate
