"""Menus from raw rates: what attempts would have bought if every rate were known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.costs import SampleCosts
from scaling.curves import FloatArray, IntArray, Menu, merge, over_samples, refuse_too_large
from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.data.evidence import Counts
from scaling.data.schema import ACTION_COLUMNS, KNOBS, WORDS
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.data.evidence import Evidence
    from scaling.data.sweep import Sweep

BEYOND = 16
"""How many times the largest observed n a menu reaches when it may extrapolate."""

CAUTION = {
    "code": "plugin-values",
    "message": "Values are raw rates. Acting on raw rates was worse than an even spend in 65 of "
    "108 measured cases; allocate from a fit instead (--values posterior).",
}


def plugin_menu(
    source: Sweep | Sequence[Evidence],
    *,
    values: str = "plugin",
    classes: str = "group",
    by: Sequence[str] | None = None,
    costs: SampleCosts | None = None,
    skip: bool = False,
    extrapolate: bool = False,
    bins: Mapping[str, tuple[float, ...]] | None = None,
) -> Menu:
    """Coverage menus from `c / n`, one action a number of samples.

    The value of `k` samples on a problem is `1 - (1 - c/n)^k`, for `k` from 1 to the largest
    observed n; of a group, the mean over its problems. This plugs the observed rate in for the true
    one, which is biased for small n and dangerous to act on; the menu says so.

    Args:
        source: a sweep, or groups of it. Groups that differ only in model or knobs offer the same
            classes different actions.
        values: "plugin"; anything else needs a fit.
        classes: "group" for one class a group, "problem" for one a problem. The key of a problem is
            the group's class columns, `task` where there are several, and `problem`.
        by: columns that make the groups of a sweep, as in `Sweep.groups`.
        costs: costs of a sample where the log does not hold them.
        skip: whether doing nothing is on offer.
        extrapolate: go on to sixteen times the largest observed n.
        bins: cut points of binned class columns.

    Raises:
        UsageError: posterior values or other classes are asked for, or a cost is missing.
        InputError: there is no group, or no counts per problem.
    """
    if values != "plugin":
        raise UsageError(
            f"Counts alone have no {values} values. Fit a law first and allocate from the fit, or "
            "ask for raw rates (--values plugin)."
        )
    if classes not in ("group", "problem"):
        raise UsageError(f"Unknown classes '{classes}'. Classes are by 'group' or by 'problem'.")
    found: Sequence[Evidence] = source if isinstance(source, Sequence) else source.groups(by)
    data = [] if isinstance(source, Sequence) else [source.provenance]
    groups = [group for group in found if isinstance(group, Counts)]
    if not groups or len(groups) < len(found):
        raise InputError(
            "Raw rates need attempts or counts per problem, with at least one verdict; "
            f"of {len(found)} groups {len(groups)} have them. Points of a curve go into a menu file: "
            "class columns, action columns, value, and one column per resource."
        )
    costs = costs or SampleCosts()
    tasks = any((group.task != groups[0].task[0]).any() for group in groups)
    parts = []
    for group in groups:
        own = {k: v for k, v in group.by.items() if k not in ACTION_COLUMNS}
        model = group.by.get("model", group.model)
        measured = {name: use.mean for name, use in group.resources.items()}
        largest = int(group.n.max())
        samples = np.arange(1, largest * (BEYOND if extrapolate else 1) + 1, dtype=np.int64)
        P = group.n.size
        distinct = unique_counts(group.n, group.c)
        key: dict[str, Any]
        if classes == "problem":
            key = {k: np.full(P, v) for k, v in own.items()}
            if tasks and "task" not in key:
                key["task"] = group.task
            key["problem"] = group.problem
            refuse_too_large(distinct.n.size, samples.size)
            value = plugin_coverage(distinct.n, distinct.c, samples)
            curve, weight = distinct.place(group.n, group.c), np.ones(P)
            support = {"n_problems": np.ones(P, dtype=np.int64), "n_samples": group.n}
            support["max_observed_n"] = group.n
        else:
            key = {k: np.array([v]) for k, v in own.items()}
            value = _mean_coverage(distinct, samples)[None, :]
            curve, weight = np.zeros(1, dtype=np.int64), np.array([float(P)])
            support = {
                "n_problems": np.array([P]),
                "n_samples": np.array([int(group.n.sum())]),
                "max_observed_n": np.array([largest]),
            }
        parts.append(
            over_samples(
                value,
                samples,
                key=key,
                weight=weight,
                curve=curve,
                cost=costs.of(None if model is None else str(model), measured).at(samples),
                model=str(model or ""),
                knobs={k: v for k, v in group.by.items() if k in (*KNOBS, *WORDS)},
                extrapolated=samples > largest if extrapolate else None,
                bins={k: v for k, v in (bins or {}).items() if k in own},
                skip=skip,
                support=support,
                estimand="benchmark",
                cautions={-1: (CAUTION,)},
                provenance={
                    "fits": [],
                    "data": data,
                    "prices": costs.prices,
                    "cost_model": costs.cost_model,
                    "seed": None,
                },
            )
        )
    return merge(parts)


def plugin_coverage(n: IntArray, c: IntArray, samples: IntArray) -> FloatArray:
    """`1 - (1 - c/n)^k`, shape (U, K), for U problems and K numbers of samples."""
    with np.errstate(divide="ignore"):
        miss = np.log1p(-c / n)  # minus infinity where every attempt was right
    return np.abs(np.expm1(miss[:, None] * samples))


def _mean_coverage(distinct: UniqueCounts, samples: IntArray) -> FloatArray:
    """Mean over problems; a block of distinct counts at a time."""
    n, c, times = distinct
    total = np.zeros(samples.size)
    block = max(1, 4_000_000 // samples.size)
    for at in range(0, n.size, block):
        part = slice(at, at + block)
        total += times[part] @ plugin_coverage(n[part], c[part], samples)
    return total / float(times.sum())
