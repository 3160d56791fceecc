"""A price for every limit: column generation on the Lagrange dual.

At prices λ every class takes its best rung net of prices, and
`g(λ) = sum_r λ_r room_r + sum_i w_i max_j (gain_ij - sum_r λ_r use_rij)` is an upper bound on what
any allocation gains (weak duality). The smallest g is the value of the linear relaxation. It is found
by Kelley's cutting planes, which is Dantzig and Wolfe's column generation seen from the dual: each
pricing gives one cut, the answer of all classes as one column, and a master problem of few columns
(scipy's HiGHS) gives the next prices. The master looks no further from the best prices so far than a
box that grows while that helps; a large problem starts from the prices of a part of its curves.

Dantzig and Wolfe (1960), Operations Research 8(1); Kelley (1960), J. SIAM 8(4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from scaling.errors import ScalingError

if TYPE_CHECKING:
    from scaling.allocators.linear import Linear
    from scaling.curves import FloatArray, IntArray

_PART = 2048
"""Curves of the part that a large problem starts from."""
_ROUNDS = 400
_FARTHEST = 1e12
_FEASIBLE = 1e-9
"""Relative; rows that are broken by less count as kept."""


@dataclass(frozen=True)
class Dual:
    """The smallest upper bound that prices give.

    Attributes:
        prices: shape (R,), gain per unit of each row, zero or more.
        bound: no allocation gains more, as a weighted total.
        choice: shape (M,), each curve's best rung at the prices.
        columns: shape (K, M), rungs of the curves of the columns in the optimal mixture.
        share: shape (K,), their shares; mixed so, they keep the rows and gain the bound, up to the
            tolerance.
        rounds: pricings done.
    """

    prices: FloatArray
    bound: float
    choice: IntArray
    columns: IntArray
    share: FloatArray
    rounds: int


def solve(linear: Linear, *, tolerance: float = 1e-9) -> Dual | None:
    """Prices that make the dual bound smallest.

    Args:
        linear: the problem.
        tolerance: how far above the linear relaxation the bound may stay, relative to the spread of
            the gain.

    Returns:
        The dual; None where no mixture of answers keeps the rows, so that no prices do.
    """
    scale = _Scale.of(linear)
    if _excess(linear, scale) > _FEASIBLE:
        return None
    start = None
    if linear.mass.size > 4 * _PART:
        some = np.linspace(0, linear.mass.size - 1, _PART).astype(np.int64)
        rough = _kelley(linear.part(some), scale, np.inf, None, tolerance)
        start = rough.prices * scale.use / scale.gain
    return _kelley(linear, scale, np.inf, start, tolerance)


def most_of(linear: Linear, amount: FloatArray) -> FloatArray:
    """The largest amount on each curve, shape (M,), of a column of the menu."""
    each = np.where(linear.index >= 0, amount[np.maximum(linear.index, 0)], 0.0)
    return np.maximum.reduceat(each, linear.start[:-1])


def is_feasible(linear: Linear) -> bool:
    """Whether mixtures of answers keep the rows."""
    return _excess(linear, _Scale.of(linear)) <= _FEASIBLE


def _excess(linear: Linear, scale: _Scale) -> float:
    """Whether and by how much mixtures must break the rows, relative to the rows' spread."""
    if not linear.room.size:
        return 0.0
    free = linear.used(linear.best(np.zeros(linear.room.size))[1][linear.curve])
    if bool((free <= linear.room).all()):
        return 0.0
    unit = replace(scale, gain=1.0)
    return -_kelley(_without_gain(linear), unit, 1.0, None, 1e-10, enough=0.0).bound


def _without_gain(linear: Linear) -> Linear:
    return replace(linear, gain=np.zeros_like(linear.gain))


@dataclass(frozen=True)
class _Scale:
    """What one unit of the gain and of each row is in the master: the spread from least to most."""

    gain: float
    use: FloatArray

    @classmethod
    def of(cls, linear: Linear) -> _Scale:
        gain, *use = (_spread(row, linear) for row in (linear.gain, *linear.use))
        return cls(gain or 1.0, np.array([spread or 1.0 for spread in use]))


def _spread(row: FloatArray, linear: Linear) -> float:
    first = linear.start[:-1]
    wide = np.maximum.reduceat(row, first) - np.minimum.reduceat(row, first)
    return math.fsum((linear.mass * wide).tolist())


def _kelley(
    linear: Linear,
    scale: _Scale,
    upper: float,
    start: FloatArray | None,
    tolerance: float,
    *,
    enough: float | None = None,
) -> Dual:
    """Cutting planes on g over prices from 0 to `upper`, in the master's units.

    Args:
        linear: the problem.
        scale: the master's units.
        upper: largest price.
        start: where to begin, shape (R,).
        tolerance: when to stop, in units of the gain.
        enough: stop when no smaller bound than this can come out, or a smaller one has.
    """
    R = linear.room.size
    unit = scale.gain / scale.use
    at = np.zeros(R) if start is None else np.minimum(start, upper)
    reach = 1.0 if start is None else 0.1 * max(float(at.max(initial=0.0)), 1e-3)
    centre, best = at, math.inf
    best_choice = np.zeros(0, dtype=np.int64)
    chosen: list[IntArray] = []
    cuts: list[tuple[float, FloatArray]] = []  # g >= v - y a
    share = np.ones(1)
    rounds = 0
    while True:
        rounds += 1
        most, choice = linear.best(at * unit)
        bound = linear.bound(at * unit, most)
        used = np.array([float(linear.mass @ row[choice]) for row in linear.use])
        worth = float(linear.mass @ linear.gain[choice])
        cuts.append((worth / scale.gain, (used - linear.room) / scale.use))
        chosen.append(choice)
        g = bound / scale.gain
        if g < best:
            if best < math.inf:
                reach = min(2 * reach, _FARTHEST)
            centre, best, best_choice, best_bound = at, g, choice, bound
        else:
            reach = max(0.7 * reach, 1e-9)
        if R == 0:
            break
        while True:
            low = np.maximum(centre - reach, 0.0)
            high = np.minimum(centre + reach, upper)
            at, level, share = _master(cuts, low, high)
            inner = bool(((at > low) | (low == 0)).all() and ((at < high) | (high == upper)).all())
            if best - level > tolerance or inner or reach >= _FARTHEST:
                break
            reach = min(10 * reach, _FARTHEST)  # nothing better within the box
        if best - level <= tolerance or rounds >= _ROUNDS:
            break
        if enough is not None and (
            best < enough - tolerance or (inner and level >= enough - tolerance)
        ):
            break
    mixed = np.flatnonzero(share > 1e-12)
    share = share[mixed] / share[mixed].sum()
    columns = np.stack([chosen[k] for k in mixed.tolist()])
    return Dual(centre * unit, best_bound, best_choice, columns, share, rounds)


def _master(
    cuts: list[tuple[float, FloatArray]], low: FloatArray, high: FloatArray
) -> tuple[FloatArray, float, FloatArray]:
    """The lowest point of the cuts within a box: prices, level, and each cut's weight there."""
    from scipy.optimize import linprog

    R = low.size
    worth = np.array([v for v, _ in cuts])
    slope = np.stack([a for _, a in cuts])
    found = linprog(
        np.concatenate((np.zeros(R), [1.0])),
        A_ub=np.concatenate((-slope, -np.ones((worth.size, 1))), axis=1),
        b_ub=-worth,
        bounds=[*zip(low.tolist(), high.tolist(), strict=True), (None, None)],
        method="highs-ds",
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status != 0:
        raise ScalingError(f"The master problem was not solved: {found.message}")
    share = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0)
    return np.clip(found.x[:R], low, high), float(found.x[R]), share
