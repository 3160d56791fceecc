"""The best allocation of a small problem, proved by branch and bound.

scipy's `milp` (HiGHS) over whole numbers of like classes (one curve and weight) that get each rung.
It is the oracle of the tests, and an option where a problem has few classes, so that the gap of the
price solve, of the size of one class's step, is large.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scaling.curves import ranges
from scaling.errors import InfeasibleError, ScalingError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from scaling.allocators.linear import Linear
    from scaling.curves import FloatArray, IntArray

MOST = 100_000
"""Choices (kinds of classes times their rungs) of the largest problem that is tried."""
_UNIT = 1e4
"""The spread of the gain and of every row, in the solver's units: its tolerances are absolute."""


def choices(linear: Linear) -> int:
    """Variables of the exact problem: like classes count once."""
    first, curve = _kinds(linear)
    return int(np.diff(linear.start)[curve].sum()) if first.size else 0


def solve(linear: Linear) -> tuple[IntArray, float]:
    """Rungs of the best allocation, shape (C,), and the solver's bound on the gain.

    Raises:
        UsageError: more than 100,000 choices.
        InfeasibleError: no allocation keeps the rows.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_matrix

    size = choices(linear)
    if size > MOST:
        raise UsageError(
            f"The exact method takes at most {MOST:,} choices (different classes times their "
            f"actions); this problem has {size:,}. Leave the method out: the price solve certifies "
            "its gap, which shrinks as classes get more."
        )
    first, curve = _kinds(linear)
    count = np.diff(np.append(first, linear.curve.size))
    weight = linear.weight[first]
    length = np.diff(linear.start)[curve]
    begin = np.concatenate(([0], np.cumsum(length)))
    rung = ranges(linear.start[curve], linear.start[curve + 1])
    each = np.repeat(weight, length)
    gain, gain_unit = _scaled(each * linear.gain[rung])
    rows = [LinearConstraint(csr_matrix((np.ones(size), np.arange(size), begin)), count, count)]
    use = [_scaled(each * row[rung]) for row in linear.use]
    table = np.stack([row for row, _ in use]) if use else np.zeros((0, size))
    room = linear.room / np.array([unit for _, unit in use])
    for _ in range(20):
        limits = [LinearConstraint(csr_matrix(table), -np.inf, room)] if use else []
        with _silent():
            found = milp(
                -gain,
                integrality=np.ones(size),
                bounds=Bounds(0, np.repeat(count, length)),
                constraints=[*rows, *limits],
                options={"mip_rel_gap": 0.0},
            )
        if found.status == 2 or (found.x is None and found.status == 4):
            raise InfeasibleError("No allocation keeps all the limits.")
        if found.x is None:
            raise ScalingError(f"The exact method ended without an answer: {found.message}")
        number = np.rint(found.x).astype(np.int64)
        # the members of a kind follow each other in the order of the classes
        answer = np.repeat(rung, number)
        over = linear.used(answer) - linear.room
        if not (over > 0).any():
            bound = -float(found.mip_dual_bound) * gain_unit
            return answer, max(bound, linear.worth(answer))
        room = room - np.maximum(over, 0.0) * 2 / np.array([unit for _, unit in use])
    raise ScalingError("The exact method found no answer within the limits to the last bit.")


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing on standard output: HiGHS has a line of its own now and then, where documents go."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # there is no standard output
        yield
        return
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def _kinds(linear: Linear) -> tuple[IntArray, IntArray]:
    """The first class of every kind (one curve and weight), and its curve."""
    fresh = np.ones(linear.curve.size, dtype=bool)
    fresh[1:] = (np.diff(linear.curve) != 0) | (np.diff(linear.weight) != 0)
    first = np.flatnonzero(fresh)
    return first, linear.curve[first]


def _scaled(row: FloatArray) -> tuple[FloatArray, float]:
    """A row in the solver's units, and what one of them is."""
    unit = float(np.abs(row).max(initial=0.0)) / _UNIT or 1.0
    return row / unit, unit
