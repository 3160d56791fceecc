"""Ladders: their order, values and marginals, and the row's own action on its ladder."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scaling.tables.rules.document import (
    NOTHING,
    SHARES,
    TOLERANCE,
    entries_of,
    is_close,
    ladders_of,
    mean_of,
    repeated,
    rows_of,
    share_of,
    value_of,
)
from scaling.tables.rules.registry import check

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.tables.rules.registry import Document, Problems


_ROUNDING = 1e-14
"""Relative rounding of a written value, which a difference of two values inherits."""


@check("ladder-order", guarantee="cost_nonincreasing_in_price")
def _ladder_order(document: Document) -> Problems:
    """Rungs increase strictly in the priced resource.

    A dearer price serves an earlier rung, so that spending then never rises with the price.
    """
    resource = document["objective"]["priced_resource"]
    for where, ladder in ladders_of(document):
        if resource is None:
            if len(ladder) > 1:
                yield where, "a ladder of several rungs needs a priced_resource to order them."
            continue
        used = [mean_of(rung, resource) for rung in ladder]
        for i, use in enumerate(used):
            if use is None:
                yield f"{where}[{i}]", f"the rung does not say how many {resource} it uses."
        for i, (low, high) in enumerate(pairwise(used), 1):
            if low is not None and high is not None and not low < high:
                yield f"{where}[{i}]", f"{resource} must increase strictly; {high!r} after {low!r}."


@check("ladder-value", guarantee="ladder_concave")
def _ladder_value(document: Document) -> Problems:
    for where, ladder in ladders_of(document):
        for i, (low, high) in enumerate(pairwise(map(value_of, ladder)), 1):
            if low is not None and high is not None and high < low:
                yield f"{where}[{i}]", f"the value falls from {low!r} to {high!r}."


@check("oracle-unmarked")
def _oracle_unmarked(document: Document) -> Problems:
    """Coverage counts a query as solved when any sample is right, so something must recognise it."""
    if document["objective"]["maximise"] != "coverage":
        return
    for where, entry in entries_of(document):
        several = entry["action"]["n_samples"] > 1
        if several and entry["expected"].get("assumes_oracle_verifier") is not True:
            yield (
                f"{where}.expected",
                "coverage of several samples without assumes_oracle_verifier.",
            )


@check("ladder-marginal", guarantee="ladder_concave")
def _ladder_marginal(document: Document) -> Problems:
    """A marginal is the value gained over the rung before, per unit of the priced resource.

    Null stands where it is not defined: without priced resource, on a free first rung, or on a
    first rung that is served in any case (the row may not abstain).
    """
    resource = document["objective"]["priced_resource"]
    for where, row in rows_of(document):
        before: tuple[float | None, float | None] = (0.0, 0.0)
        for i, rung in enumerate(row["ladder"]):
            at = f"{where}.ladder[{i}].marginal"
            now = (value_of(rung), mean_of(rung, resource))
            claimed = rung.get("marginal")
            if resource is None:
                if claimed is not None:
                    yield at, f"{claimed!r} without a priced_resource; it must be null."
                continue
            (low, used), (high, use) = before, now
            before = now
            if low is None or used is None or high is None or use is None or use < used:
                continue
            if claimed is None:
                if not (i == 0 and (use == 0 or not row.get("may_abstain", False))):
                    yield at, f"it is null; the rung gains {high - low!r} for {use - used!r}."
            elif abs(claimed * (use - used) - (high - low)) > _slack(low, high):
                yield (
                    at,
                    (f"{claimed!r} is not the gain {high - low!r} for {use - used!r} {resource}."),
                )


@check("ladder-concave", guarantee="ladder_concave")
def _ladder_concave(document: Document) -> Problems:
    for where, ladder in ladders_of(document):
        rungs = [(i, rung) for i, rung in enumerate(ladder) if rung.get("marginal") is not None]
        for (_, low), (i, high) in pairwise(rungs):
            above, below = low["marginal"], high["marginal"]
            use = mean_of(high, document["objective"]["priced_resource"])
            rounding = (_ROUNDING * abs(value_of(high) or 0.0) + NOTHING) / use if use else 0.0
            if below > above * (1 + TOLERANCE) + rounding:
                yield f"{where}[{i}].marginal", f"{below!r} is above {above!r} of the rung before."


@check("row-marginal")
def _row_marginal(document: Document) -> Problems:
    """The row's marginal is that of its action's rung."""
    for where, row in rows_of(document):
        if row.get("marginal") is None:
            continue
        rung = next((each for each in row["ladder"] if _same(row, each)), None)
        if rung is not None and not is_close(row["marginal"], rung.get("marginal")):
            yield (
                f"{where}.marginal",
                f"{row['marginal']!r}; its rung has {rung.get('marginal')!r}.",
            )


@check("action-off-ladder", guarantee="action_on_ladder")
def _action_off_ladder(document: Document) -> Problems:
    """The row's action is a rung of its ladder (of its split), with the same numbers.

    Doing nothing stands before the first rung of a row that may abstain: it is not written on the
    ladder, and costs and is worth nothing.
    """
    for where, row in rows_of(document):
        if _is_abstention(row):
            continue
        rungs = row["ladder"]
        if row.get("split"):
            rungs = [rungs[p["rung"]] for p in row["split"] if p["rung"] < len(rungs)]
        if not any(_same(row, rung) for rung in rungs):
            yield (
                f"{where}.action",
                (
                    f"the action of row '{row['row_id']}' is no rung of its "
                    f"{'split' if row.get('split') else 'ladder'} with the same expected numbers."
                ),
            )


@check("split")
def _split(document: Document) -> Problems:
    """Shares of a divided row name rungs once and sum to 1, or less where the rest abstains."""
    for where, row in rows_of(document):
        split = row.get("split")
        if not split:
            continue
        yield from repeated((f"{where}.split[{i}].rung", p["rung"]) for i, p in enumerate(split))
        for i, part in enumerate(split):
            if part["rung"] >= len(row["ladder"]):
                yield (
                    f"{where}.split[{i}].rung",
                    (f"there is no rung {part['rung']}; the last is {len(row['ladder']) - 1}."),
                )
        total = math.fsum(part["share"] for part in split)
        may_abstain = row.get("may_abstain", False)
        if total > 1 + TOLERANCE or (total < 1 - TOLERANCE and not may_abstain):
            yield f"{where}.split", f"the shares sum to {total!r}, not to 1."


_TOLD = frozenset({"value", *SHARES, "cost_of_pass", "latency_s"})
"""Estimates of an entry besides its resources."""


def _is_abstention(row: Mapping[str, Any]) -> bool:
    idle = row["action"]["strategy"] == "abstain" and row.get("may_abstain", False)
    used = [estimate["mean"] for estimate in row["expected"]["resources"].values()]
    return bool(idle) and value_of(row) == 0 and not any(used)


def _same(row: Mapping[str, Any], rung: Mapping[str, Any]) -> bool:
    """Whether a row and a rung are one action with one set of numbers.

    Of what only one of them states (an interval, the ceiling) nothing is asked.
    """
    ours, theirs = row["expected"]["resources"], rung["expected"]["resources"]
    both = [name for name in row["expected"].keys() & rung["expected"].keys() if name in _TOLD]
    return (
        row["action"] == rung["action"]
        and ours.keys() == theirs.keys()
        and all(is_close(mean_of(row, name), mean_of(rung, name)) for name in ours)
        and all(is_close(share_of(row, name), share_of(rung, name)) for name in both)
    )


def _slack(low: float, high: float) -> float:
    """How far a difference of two written values may be off."""
    return TOLERANCE * abs(high - low) + _ROUNDING * max(abs(low), abs(high)) + NOTHING
