"""Which groups of two fits or sweeps belong together, and which of their problems."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scaling.data.evidence import Counts, Scalar
from scaling.data.schema import ACTION_COLUMNS
from scaling.errors import InputError, UsageError
from scaling.fitting.result import FitResult, GroupFit

if TYPE_CHECKING:
    from scaling.data.sweep import Sweep

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """One group of one side.

    Attributes:
        by: the group's columns.
        label: what it is, for people.
        task, problem: names, shape (P,).
        n, c: attempts and successes, shape (P,).
        cluster: families of related problems, shape (P,), or None.
        stop_rule, stop_batch: as in `Counts`.
        group: its fit, None where it comes from a sweep.
        preset, objective: of the fit.
    """

    by: Mapping[str, Scalar]
    label: str
    task: NDArray[np.str_]
    problem: NDArray[np.str_]
    n: IntArray
    c: IntArray
    cluster: NDArray[np.str_] | IntArray | None
    stop_rule: str | None
    stop_batch: int | None
    group: GroupFit | None
    preset: str | None = None
    objective: str | None = None


def sides_of(of: FitResult | Sweep, by: Sequence[str] | None, name: str) -> list[Side]:
    """The groups of a fit, or of a sweep; `name` is what errors call it.

    Raises:
        UsageError: for something else.
        InputError: for evidence without counts of problems by name.
    """
    if isinstance(of, FitResult):
        return [_fitted_side(of, g) for g in of.groups]
    if not hasattr(of, "groups"):
        raise UsageError(f"{name} is a {type(of).__name__}; fits and sweeps can be compared")
    sides = []
    for counts in of.groups(by):
        if not isinstance(counts, Counts):
            raise InputError(
                f"{name} holds points of a curve, which do not say which problems were solved; give counts per problem"
            )
        label = ", ".join(f"{x}={v}" for x, v in counts.by.items()) or (counts.model or "all data")
        names = counts.task, counts.problem, counts.n, counts.c, counts.cluster
        sides.append(Side(counts.by, label, *names, counts.stop_rule, counts.stop_batch, None))
    return sides


def _fitted_side(fit: FitResult, g: GroupFit) -> Side:
    named = g.label() if g.by else (g.model or g.label())
    if g.problems is None:
        why = (
            "it was made of points of a curve or of runtimes"
            if g.counts is None
            else f"with {g.n_problems:,} problems it keeps none by name; compare the sweeps"
        )
        raise InputError(f"the fit of {named} has no counts of single problems: {why}.")
    p = g.problems
    names = p.task, p.problem, p.n, p.c, p.cluster
    return Side(g.by, named, *names, g.stop_rule, g.stop_batch, g, fit.preset, fit.objective)


Pairs = list[tuple[Mapping[str, Scalar], Side, Side]]


def pair_groups(a: list[Side], b: list[Side]) -> tuple[Pairs, list[Side], list[Side]]:
    """Pairs of groups with their shared columns, and the groups of each side without a partner.

    Raises:
        UsageError: where no group has a partner, or several have the same.
    """

    def keyed(sides: list[Side], leave_out: tuple[str, ...]) -> dict[str, Side]:
        out: dict[str, Side] = {}
        for side in sides:
            key = json.dumps({x: v for x, v in sorted(side.by.items()) if x not in leave_out})
            if key in out:
                raise UsageError(
                    f"groups '{out[key].label}' and '{side.label}' of one side fit the same group of the other; "
                    "fit one model at a time (--where model=NAME), or by the same columns"
                )
            out[key] = side
        return out

    left, right = keyed(a, ()), keyed(b, ())
    if not left.keys() & right.keys():
        if len(a) == len(b) == 1:
            left, right = dict.fromkeys(["{}"], a[0]), dict.fromkeys(["{}"], b[0])
        else:
            left, right = keyed(a, ACTION_COLUMNS), keyed(b, ACTION_COLUMNS)
    shared = [key for key in left if key in right]
    if not shared:
        raise UsageError(
            f"no group of one is a group of the other: {a[0].label}, for example, and {b[0].label}. Fit both by the "
            "same columns."
        )
    return (
        [(json.loads(key), left[key], right[key]) for key in shared],
        [left[key] for key in left if key not in right],
        [right[key] for key in right if key not in left],
    )


def match_problems(a: Side, b: Side) -> tuple[IntArray, IntArray]:
    """Where the problems of both stand in a and in b.

    Raises:
        InputError: for a problem that a side has more than once.
    """

    def places(side: Side) -> dict[tuple[str, str], int]:
        names = list(zip(side.task.tolist(), side.problem.tolist(), strict=True))
        found = {name: i for i, name in enumerate(names)}
        if len(found) < len(names):
            raise InputError(
                f"{side.label} has a problem more than once, as bins made from outcomes do; compare groups made of "
                "other columns"
            )
        return found

    left, right = places(a), places(b)
    both = [(i, right[name]) for name, i in left.items() if name in right]
    pairs = np.array(both, dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
