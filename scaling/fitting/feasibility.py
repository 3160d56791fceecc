"""Is there a set of problems with this coverage curve, and the best fit for which there may be one.

Coverage is c(k) = 1 - r(k) with r(k) = E (1-p)^k over problems: r is the moment sequence of a distribution
on [0, 1]. By Hausdorff's theorem that is so exactly where r(0) = 1 and

    (-1)^m Δ^m r(k) = E p^m (1-p)^k >= 0    for all m, k >= 0,

Δ being the forward difference. The first consequences: coverage rises (m = 1); c(2) <= 2 c(1), the
doubling inequality (m = 2, k = 0); it is concave (m = 2), so that c(k) <= k c(1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray

from scaling.core import registry
from scaling.core.law import Law
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting.least_squares import Solution, least_squares
from scaling.fitting.objectives import linked, no_curve, solve_curve
from scaling.fitting.plan import Plan
from scaling.fitting.result import IntervalSpec

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

ROUNDING = 1e-12  # of a value of a curve that was computed in float64
_DIGITS = 60  # of exact curves, besides what differences cancel
_LAW = "exponentiated-power"
_LIMIT = np.log(2) * (1 - 1e-12)  # short of ln 2, so that rounding never carries a fit beyond it
_NO_INTERVAL = IntervalSpec("none", 0.95, 0, 0)
_EXPONENTS = np.geomspace(1e-3, 30.0, 256)  # at which the search on the boundary starts


@dataclass(frozen=True)
class Feasibility:
    """How far a curve agrees with being a coverage curve.

    Attributes:
        feasible: whether no inequality fails up to the order that was checked.
        level: the first that fails: "increasing" (m = 1), "doubling" (m = 2, k = 0), "concave" (m = 2,
            k >= 1) or "order m"; None where none does.
        k: where it fails by most, the k of E p^m (1-p)^k; None where none does.
        amount: how far the difference lies below zero there, in units of coverage; 0 where none fails.
        order: the highest order that was checked.
        message: the same in words.
    """

    feasible: bool
    level: str | None
    k: int | None
    amount: float
    order: int
    message: str


def check_feasible(
    coverage: ArrayLike | Callable[[int], Any],
    *,
    order: int = 10,
    largest: int = 64,
    tolerance: float | None = None,
) -> Feasibility:
    """The first level at which a curve stops to be the coverage curve of any set of problems.

    Levels are tried in the order increasing, doubling, concave, order 3, order 4, ... Differences of high
    order cancel: an error of `tolerance` in each value may add up to 2^m `tolerance` at order m, and only
    what lies further below zero counts as a failure.

    Args:
        coverage: values at k = 1, 2, ..., shape (K,); or a function of a whole k. A function that returns
            mpmath numbers, as those of `exact_curve`, is evaluated with as many digits as the differences
            need.
        order: the highest order m to check, >= 1; at most the number of values.
        largest: the largest k at which a function is evaluated.
        tolerance: the error of each value; by default 1e-12, and for mpmath numbers their rounding.

    Raises:
        InputError: values that are no curve of numbers from 0 to 1.
        UsageError: an order, a largest k or a tolerance out of range.
    """
    import mpmath

    if order < 1 or largest < 2 or not (tolerance is None or 0 <= tolerance < 1):
        msg = (
            f"order {order}, largest k {largest}, tolerance {tolerance}: the order is at least 1, the largest "
            "k at least 2, the tolerance from 0 to below 1. The defaults are order=10, largest=64."
        )
        raise UsageError(msg)
    digits = _DIGITS + order // 3
    with mpmath.workdps(digits):
        values = np.array(
            [coverage(k) for k in range(1, largest + 1)] if callable(coverage) else coverage,
            dtype=object,
        )
        exact = all(isinstance(c, mpmath.mpf) for c in values.flat)
        if not exact:
            values = values.astype(np.float64)
        if tolerance is None:
            tolerance = 10.0 ** (5 - digits) if exact else ROUNDING
        _refuse(values, tolerance)
        checked = min(order, len(values))
        difference = np.concatenate(([1], 1 - values))  # r(0), r(1), ...
        for m in range(1, checked + 1):
            difference = difference[:-1] - difference[1:]
            failed = difference < -tolerance * 2.0**m
            if not failed.any():
                continue
            k = 0 if m == 2 and failed[0] else int(np.argmin(difference))
            amount = float(-difference[k])
            level = {1: "increasing", 2: "concave" if k else "doubling"}.get(m, f"order {m}")
            return Feasibility(False, level, k, amount, checked, _why(m, k, amount))
    message = (
        f"no inequality fails up to order {checked} for 1 to {len(values)} samples: a set of problems with "
        "this coverage curve is not ruled out."
    )
    return Feasibility(True, None, None, 0.0, checked, message)


def _refuse(values: NDArray[Any], tolerance: float) -> None:
    if values.ndim != 1 or len(values) < 2:
        msg = (
            f"a coverage curve has one value for each k = 1, 2, ..., at least two; "
            f"this has shape {values.shape}."
        )
        raise InputError(msg)
    good = (values >= -tolerance) & (values <= 1 + tolerance)  # false for NaN
    if not good.all():
        at = int(np.argmin(good))
        msg = (
            f"coverage at k = {at + 1} is {float(values[at])}; it is a share of problems, from 0 to 1. "
            "Give the values at k = 1, 2, ... without gaps."
        )
        raise InputError(msg)


def _why(m: int, k: int, amount: float) -> str:
    if m == 1:
        return f"coverage falls by {amount:.3g} from {k} to {k + 1} samples."
    if m == 2 and k == 0:
        return f"c(2) exceeds 2 c(1) by {amount:.3g}: the second sample would bring more than the first."
    if m == 2:
        return f"sample {k + 2} would bring {amount:.3g} more than sample {k + 1}: the curve is not concave."
    power = f"p^{m}" + (f" (1-p)^{k}" if k else "")
    return (
        f"the mean of {power} over problems would be {-amount:.3g}, and it cannot be below 0: rising and "
        f"concave, the curve fails at order {m}."
    )


def exact_curve(law: Law, params: ArrayLike) -> Callable[[int], Any]:
    """A law at given parameters as a function of a whole k, in mpmath's current precision.

    Laws with functions beyond powers, exponentials and logarithms are evaluated in float64.

    Args:
        law: a law of one input.
        params: shape (p,).
    """
    import mpmath

    theta = np.asarray(params, dtype=np.float64)
    (variable,) = law.inputs
    if elementary(law):
        symbols = [p.sym for p in law.params]
        formula = sp.lambdify([*symbols, variable.sym], law.expression, modules="mpmath")
        return lambda k: formula(*map(mpmath.mpf, theta.tolist()), mpmath.mpf(k))
    return lambda k: float(law.value(theta, {variable.column: [k]})[0])


def elementary(law: Law) -> bool:
    """Whether a law is its formula, and that is made of powers, exponentials and logarithms alone."""
    known = (sp.Symbol, sp.Number, sp.Add, sp.Mul, sp.Pow, sp.exp, sp.log)
    parts = sp.preorder_traversal(law.expression)
    return type(law) is Law and all(isinstance(part, known) for part in parts)


# --- the exponentiated power law -------------------------------------------------------------


def doubling(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """The left side of c(2) <= 2 c(1) for c(k) = exp(a k^b): -a (1 - 2^b), allowed up to ln 2.

    log c(2) - log c(1) = a 2^b - a. For this law doubling is the whole of concavity on whole numbers: with
    x = -b ln 2 and x / (1 - e^-x) <= 1 + x it gives -a b / (b - 1) <= 1, so that `concave_from` <= 1.

    No such law is a coverage curve in every order: bounded and analytic for Re k >= 1, it would equal, by
    Carlson's theorem, the Laplace transform of a distribution for all k > 0, which is convex where this law
    is not. What counts is the order at which it fails: `check_feasible`.

    Args:
        a: below 0, any shape.
        b: below 0, broadcast against `a`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray(a * np.expm1(b * np.log(2)))


def concave_from(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """The k from which c(k) = exp(a k^b) is concave, (a b / (1 - b))^(-1/b); it is convex before.

    c'' = c (f'^2 + f'') with f = a k^b, which is at most 0 where a b k^b <= 1 - b.

    Args:
        a: below 0, any shape.
        b: below 0, broadcast against `a`.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return np.asarray(np.exp(np.log(a * b / (1 - b)) / -b))


class ConstrainedFit(NamedTuple):
    """Parameters of exp(a k^b), the sum of squares, and whether the constraint holds them; each (R,)."""

    a: FloatArray
    b: FloatArray
    loss: FloatArray
    bound: BoolArray


def constrained_fit(k: ArrayLike, coverage: ArrayLike, objective: str = "logcov") -> ConstrainedFit:
    """Least squares of exp(a k^b) among the curves with c(2) <= 2 c(1).

    Args:
        k: numbers of samples, shape (K,).
        coverage: one curve or several, shape (K,) or (R, K).
        objective: logcov, cov or loglog.

    Returns:
        Arrays of shape (R,); R is 1 for one curve.

    Raises:
        InputError: shapes that do not fit, values outside [0, 1], or a curve that shows no law; the message
            names the row.
        NotUsableError: least squares did not settle.
    """
    law = registry.law(_LAW)
    plan = Plan(law, law.objective(objective), len(np.atleast_1d(k)), _NO_INTERVAL, lambda _: None)
    samples, curves = np.asarray(k, dtype=np.float64), np.atleast_2d(np.asarray(coverage, float))
    if samples.ndim != 1 or curves.ndim != 2 or curves.shape[1] != len(samples):
        msg = (
            f"k has shape {samples.shape} and coverage {curves.shape}: "
            "coverage needs one value for each k, shape (K,) or (R, K)."
        )
        raise InputError(msg)
    if not (np.isfinite(samples) & (samples >= 1)).all() or len(np.unique(samples)) < len(samples):
        msg = f"k must be different numbers from 1 on, not {samples.tolist()[:10]}."
        raise InputError(msg)
    for row, curve in enumerate(curves):
        why = no_curve(plan, [samples], curve)
        if not ((curve >= 0) & (curve <= 1)).all():
            why = f"coverage is a share of problems from 0 to 1, and this is {curve.tolist()[:10]}."
        if why:
            raise InputError(f"row {row}: {why}")
    found = solve_feasible(plan, [samples], curves)
    if not found.converged.all():
        row = int(np.argmin(found.converged))
        msg = (
            f"row {row}: least squares with the objective {objective} did not settle within 100 steps; "
            "try another objective."
        )
        raise NotUsableError(msg)
    a, b = law.bound(found.coordinates).T
    return ConstrainedFit(a, b, found.loss, _at_limit(a, b))


def on_boundary(law: Law, coordinates: FloatArray) -> bool:
    """Whether -a (1 - 2^b) = ln 2 at free coordinates (2,) of the exponentiated power law."""
    return bool(_at_limit(*law.bound(coordinates)))


def _at_limit(a: ArrayLike, b: ArrayLike) -> BoolArray:
    return np.asarray(doubling(a, b) > _LIMIT * (1 - 1e-9))


def solve_feasible(
    plan: Plan, inputs: list[FloatArray], curves: FloatArray, start: FloatArray | None = None
) -> Solution:
    """`solve_curve` among the curves with c(2) <= 2 c(1).

    Where least squares breaks the inequality, its best lies on the boundary -a (1 - 2^b) = ln 2, a line
    with one parameter: the best of 256 exponents, then Levenberg-Marquardt from there.

    Args:
        plan: its law is exponentiated-power.
        inputs: the numbers of samples, one array of shape (K,).
        curves: shape (R, K), defined under the plan's objective.
        start: of the free fit, shape (2,) or (R, 2); by default the law's own guess.

    Raises:
        UsageError: for another law.
    """
    if plan.law.name != _LAW:
        msg = (
            f"the inequality c(2) <= 2 c(1) is built into law '{plan.law.name}' or not defined for it; "
            f"a constrained fit is for {_LAW}."
        )
        raise UsageError(msg)
    free = solve_curve(plan, inputs, curves, start)
    a, b = plan.law.bound(free.coordinates).T
    broken = np.flatnonzero(doubling(a, b) > _LIMIT)
    if not broken.size:
        return free
    model = plan.law.linked(plan.objective)

    def along(u: FloatArray, k: FloatArray) -> list[Any]:
        size, slope = _boundary(u)
        value, by_size, by_exponent = model(size, u, k)
        return [value, by_size * slope + by_exponent]

    targets = linked(plan.objective, curves[broken])
    grid = np.log(_EXPONENTS)
    value = np.broadcast_to(along(grid[:, None], *inputs)[0], (len(grid), len(inputs[0])))
    distance = np.einsum("jk,jk->j", value, value) - 2 * targets @ value.T
    best = grid[np.argmin(distance, axis=1)]
    held = least_squares(along, inputs, targets, best[:, None])
    u = held.coordinates[:, 0]
    coordinates, loss, converged = free.coordinates, free.loss, free.converged
    coordinates[broken] = np.stack([_boundary(u)[0], u], axis=1)
    loss[broken], converged[broken] = held.loss, held.converged
    return Solution(coordinates, loss, converged)


def _boundary(u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """log(-a) on the boundary at log(-b) = u, and its derivative in u."""
    x = np.exp(u) * np.log(2)
    return np.log(_LIMIT / -np.expm1(-x)), -x / np.expm1(x)
