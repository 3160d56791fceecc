"""From an allocation to a budget table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling._version import __version__
from scaling.allocators.limit import VALUE
from scaling.curves import plain
from scaling.errors import InputError, UsageError, did_you_mean
from scaling.tables.canonical import finite, table_id
from scaling.tables.check import SCHEMA_VERSION, guarantees
from scaling.tables.engines import ENGINES
from scaling.tables.entries import KNOBS, fallback_entry, refuse_foreign_actions
from scaling.tables.features import features_of
from scaling.tables.lookup import KIND
from scaling.tables.rows import Rows
from scaling.tables.rules import realised, relative_gap
from scaling.tables.table import BudgetTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaling.allocators.allocation import Allocation
    from scaling.allocators.limit import Limit
    from scaling.curves import Menu


MOST_ROWS = 20_000
"""Rows of a table; beyond that a server wants classes of queries, not a list of them."""


def build(
    allocation: Allocation,
    *,
    created: datetime | str | None = None,
    valid_until: datetime | str | None = None,
    targets: Sequence[str] = (),
) -> BudgetTable:
    """The table that serves an allocation.

    One row per class. Its ladder is the class's reduced menu, marginals recomputed for the rungs
    written: value per unit of the priced resource over the rung before, and over doing nothing for
    the first. That first marginal is null where the rung is free, and where it would be below the
    next: such a rung is served only because doing nothing is not on offer.

    Where sampling stops at the first accepted sample, the action's `stop_rule` says when to give up:
    after `failures` samples that were not accepted. What the next ones gain per unit of the priced
    resource, on the belief that these failures leave, is its `threshold`: at a price above it they
    do not pay. At another price the ladder has the rung, and so the number of failures.

    A class that does nothing has the action `abstain`, which stands before its ladder, not on it.
    A class whose group is unusable gets the fallback, as a ladder of one rung, with a caution; where
    its own costs are known they are written, and its value is null and counts as 0. Each
    guarantee is `verified` where its check, run on the finished document, holds.

    Args:
        allocation: what to serve.
        created: when; the clock, in UTC, where None. It is no part of the table's identity.
        valid_until: after which consumers use the fallback only; never, where None.
        targets: serving targets (`scaling.tables.engines.ENGINES`) whose limits the actions are
            checked against.

    Returns:
        The table; the same allocation gives the same text but for `created`.

    Raises:
        InputError: an action column that has no place in the table, a number that is not finite,
            an instant that cannot be read, or more than 20,000 classes.
        UsageError: an unknown serving target.
    """
    for engine in targets:
        if engine not in ENGINES:
            raise UsageError(
                f"Unknown serving target '{engine}'. Targets: {', '.join(sorted(ENGINES))}."
                f"{did_you_mean(engine, ENGINES)}"
            )
    began = _instant("created", datetime.now(UTC) if created is None else created)
    ends = None if valid_until is None else _instant("valid_until", valid_until)
    if ends is not None and ends <= began:
        raise InputError(
            f"valid_until {_text(ends)} is not after created {_text(began)}. Give a later instant."
        )
    menu = allocation.ladder
    if len(menu.weight) > MOST_ROWS:
        raise InputError(
            f"The allocation has {len(menu.weight):,} classes, and a table at most {MOST_ROWS:,} rows. Allocate by "
            "group (--class group, --bins), or take the allocation itself with Allocation.to_frame()."
        )
    refuse_foreign_actions(menu)
    features = features_of(menu)
    rows = Rows(allocation, features).written()
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "table_id": "",
        "created": _text(began),
        "valid_until": None if ends is None else _text(ends),
        **({"targets": list(dict.fromkeys(targets))} if targets else {}),
        "objective": {
            "maximise": menu.maximise,
            "value_per_correct": None,
            "priced_resource": allocation.priced_resource,
            "constraints": [],
            "certificate": {
                "value": finite(allocation.value, "the allocation's value"),
                "bound": finite(allocation.bound, "the allocation's bound"),
                "relative_gap": relative_gap(allocation.value, allocation.bound),
                "uniform_value": _or_null(allocation.uniform_value),
            },
            **({"risk": risk} if (risk := _plain(allocation.risk())) else {}),
        },
        "key": {"features": list(features.values())},
        "rows": rows,
        "fallback": fallback_entry(allocation) | {"marginal": None},
        "guarantees": [],
        "provenance": {
            "tool": {"name": "scaling", "version": __version__, "git": None},
            "fits": _plain(menu.provenance.get("fits", [])),
            "data": _plain(menu.provenance.get("data", [])),
            "prices": _plain(menu.provenance.get("prices")),
            "cost_model": _plain(menu.provenance.get("cost_model")),
            "seed": allocation.seed,
        },
    }
    for limit in allocation.limits:
        constraint = _constraint(limit, menu, rows)
        constraint["realised"] = realised(document, constraint)
        document["objective"]["constraints"].append(constraint)
    if allocation.target is not None:
        target = allocation.target
        document["objective"]["target"] = {
            "value": target.value,
            "resource": target.resource,
            "cost": target.cost,
            "bound": target.bound,
            "relative_gap": target.relative_gap,
        }
    document["guarantees"] = [
        {"property": name, "verified": False, "detail": wrong}
        if wrong
        else {"property": name, "verified": True}
        for name, wrong in guarantees(document).items()
    ]
    document["table_id"] = table_id(document)
    return BudgetTable.from_document(document)


def _constraint(limit: Limit, menu: Menu, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A limit as a constraint; what the rows realise is filled in when they stand."""
    constraint: dict[str, Any] = {
        "resource": menu.maximise if limit.resource == VALUE else limit.resource,
        "scope": limit.scope if limit.percentile is None else "percentile",
        "sense": limit.sense,
        "limit": finite(limit.amount, f"the limit on {limit.resource}"),
        "realised": None,
        "shadow_price": _or_null(limit.price),
    }
    if limit.confidence is not None:
        constraint |= {"confidence": limit.confidence, "margin": limit.margin}
    if limit.scope == "total":
        constraint["queries"] = limit.queries
    if limit.percentile is not None:
        constraint["percentile"] = limit.percentile
    if limit.action:
        constraint["action"] = {
            KNOBS.get(name, name): plain(value) for name, value in limit.action.items()
        }
    about = limit.members(menu)
    if limit.scope == "each" and limit.resource == VALUE:
        about &= menu.curve >= 0  # nothing is known of the others
    if not about.all():
        constraint["rows"] = [row["row_id"] for row, of in zip(rows, about, strict=True) if of]
        constraint["detail"] = limit.words
    return constraint


def _or_null(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """What JSON knows: null for what is no number, lists for sequences and arrays."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in value]
    value = plain(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _instant(name: str, given: datetime | str) -> datetime:
    """An instant in UTC, to the second."""
    try:
        instant = datetime.fromisoformat(given) if isinstance(given, str) else given
        aware = instant.tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InputError(
            f"{name} {given} is no instant with a time zone. Give one such as 2026-01-31T12:00:00Z."
        )
    return instant.astimezone(UTC).replace(microsecond=0)


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
