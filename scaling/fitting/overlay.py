"""Do coverage curves have one shape: overlays, and the test of equal exponents.

Brown et al. (2024), section 3.2: within a family of models, coverage against the logarithm of the number of
samples is one curve, shifted. Under an exponentiated power law exp(a k^b) that is so where b is shared; the
shift is in a.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core import registry
from scaling.data.evidence import Counts
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting import passk
from scaling.fitting.fit import POINTS
from scaling.fitting.intervals import FEW_PROBLEMS, FEW_SOLVED
from scaling.fitting.least_squares import Solution, least_squares
from scaling.fitting.objectives import linked, no_curve, solve_curve, unfelt
from scaling.fitting.plan import Plan
from scaling.fitting.result import IntervalSpec

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Model = Callable[..., list[Any]]

_LAW = "exponentiated-power"
_BLOCK = 4_000_000  # cells (replicates x problems) resampled together


# --- overlay ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shifted:
    """One curve of an overlay.

    Attributes:
        label: whose curve it is.
        k0: samples at which its coverage is nearest to the anchor.
        k: numbers of samples, shape (K,).
        coverage: unbiased pass@k, shape (K,).
    """

    label: str
    k0: int
    k: IntArray
    coverage: FloatArray

    @property
    def ratio(self) -> FloatArray:
        """The axis k / k0, on which curves of one shape coincide; shape (K,)."""
        return self.k / self.k0


@dataclass(frozen=True)
class Overlay:
    """Curves that are shifted to one anchor.

    Attributes:
        anchor: coverage that each curve has near k0.
        curves: one for each label that reaches the anchor.
        beyond: labels whose coverage stays below the anchor within their attempts.
    """

    anchor: float
    curves: tuple[Shifted, ...]
    beyond: tuple[str, ...]


def overlay(
    groups: Mapping[str, passk.UniqueCounts],
    *,
    anchor: float | None = None,
    ratios: ArrayLike | None = None,
) -> Overlay:
    """Coverage curves against k / k0, k0 being the samples that bring a curve nearest to the anchor.

    Brown et al. (2024), section 3.2 and figure 6.

    Args:
        groups: label to distinct counts.
        anchor: a coverage; by default the highest pass@1 of all groups.
        ratios: whole k / k0 >= 1 at which the curves are given, so far as their attempts reach; by default
            log-spaced. Where they are left out, the part below k0 is given too.

    Raises:
        InputError: no group or no problem, or no attempt was right.
        UsageError: an anchor outside (0, 1], ratios that are not whole numbers from 1 on.
    """
    for label, counts in groups.items():
        if not len(counts.n):
            raise InputError(f"group '{label}' has no problems; leave it out of the overlay.")
    if not groups:
        raise InputError("an overlay needs at least one group of counts.")

    def coverage(counts: passk.UniqueCounts, k: ArrayLike) -> FloatArray:
        return passk.curve(counts, k, counts.multiplicity / counts.multiplicity.sum())

    if anchor is None:
        anchor = max(float(coverage(counts, [1])[0]) for counts in groups.values())
        if anchor == 0:
            raise InputError("no attempt of any group was right: there is no anchor to shift to.")
    if not 0 < anchor <= 1:
        msg = f"an anchor is a coverage above 0 and up to 1, not {anchor}; 0.1 for example."
        raise UsageError(msg)
    wanted = np.asarray(passk.log_grid(10**6, 100) if ratios is None else ratios, dtype=np.float64)
    if wanted.ndim != 1 or not ((wanted >= 1) & (wanted == np.floor(wanted))).all():
        msg = f"ratios k / k0 are whole numbers from 1 on, not {wanted.tolist()}; [1, 10, 100] for example."
        raise UsageError(msg)
    curves, beyond = [], []
    for label, counts in groups.items():
        most = int(counts.n.min())
        k0 = _nearest(lambda k, counts=counts: float(coverage(counts, [k])[0]), anchor, most)  # type: ignore[misc]
        if k0 is None:
            beyond.append(label)
            continue
        k = k0 * wanted[wanted <= most // k0].astype(np.int64)
        if ratios is None:
            k = np.union1d(passk.log_grid(k0), k)
        curves.append(Shifted(label, k0, k, coverage(counts, k)))
    return Overlay(anchor, tuple(curves), tuple(beyond))


def _nearest(coverage: Callable[[int], float], anchor: float, most: int) -> int | None:
    # Coverage never falls with k: halve down to the first k that reaches the anchor, or the one before.
    if coverage(most) < anchor:
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if coverage(middle) >= anchor else (middle, high)
    return low if low and anchor - coverage(low) <= coverage(high) - anchor else high


# --- equal exponents -------------------------------------------------------------------------


@dataclass(frozen=True)
class EqualExponents:
    """Fits of exp(a k^b) with one b for all groups, and with one for each.

    Attributes:
        exponents: label to the b of its own fit.
        errors: label to the bootstrap standard error of that b.
        shared: the b of the joint fit, in which each group has its own a.
        statistic: sum of squares that own exponents save.
        p_value: chance of such a saving, or a larger one, were the exponents equal.
        replicates: of the bootstrap, those that have a fit.
        method: how the p-value was had.
    """

    exponents: Mapping[str, float]
    errors: Mapping[str, float]
    shared: float
    statistic: float
    p_value: float
    replicates: int
    method: str


def equal_exponents(
    groups: Mapping[str, Counts],
    *,
    objective: str = "logcov",
    replicates: int = 1000,
    seed: int = 0,
) -> EqualExponents:
    """Test whether the coverage curves of several groups have one exponent b.

    The statistic is what separate exponents save in the sum of squares over the joint fit. Its distribution
    under equal exponents comes from a bootstrap of problems (clusters, where given), which takes a problem
    with all its groups, so that models that were tried on the same problems stay paired. Each resampled
    curve is shifted, on the scale of the objective, by the joint fit minus the group's own: so the resamples
    scatter as the data do, around curves with one exponent. p = (1 + resamples that save as much) / (1 +
    resamples).

    In simulations with equal exponents of best fit, correlated problems and 1,000 attempts at 128 problems it
    rejected at level 0.05 in 4 to 6% of data sets, and in 11% with 10 clusters of four.

    Equal are, where the law is only nearly right, the exponents of best fit over 1 to n samples; curves with
    different n are compared over different ranges.

    Args:
        groups: label to counts, at least two.
        objective: logcov, cov or loglog.
        replicates: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: fewer than two groups, clusters in some of them only, or attempts that stop at a success.
        UsageError: an objective, a number of replicates or a seed that is not accepted.
        NotUsableError: a group whose exponent its counts do not tell, or too few resamples with a fit.
    """
    law = registry.law(_LAW)
    spec = IntervalSpec("percentile", 0.95, replicates, seed)
    plan = Plan(law, law.objective(objective), POINTS, spec, lambda _: None)
    _refuse(groups, replicates, seed)
    units, size = _units(groups)
    what = "problems" if next(iter(groups.values())).cluster is None else "clusters"
    if size < 2:
        msg = f"one {what[:-1]} gives no test: it rests on how {what} differ. Add {what}."
        raise NotUsableError(msg)
    problems = [_of_units(c, u, size) for c, u in zip(groups.values(), units, strict=True)]
    model = law.linked(plan.objective)
    observed, own = [], []
    for label, (grid, totals, share) in zip(groups, problems, strict=True):
        curve = passk.mean_of(np.full(size, 1 / share.sum()), totals)
        observed.append(linked(plan.objective, curve[None]))
        own.append(_own_fit(plan, label, grid, curve))
    grids = [grid for grid, _, _ in problems]
    target = np.concatenate(observed, axis=1)
    apart = _separate(model, grids, target, own)
    together = _joint(model, grids, target, [*(u[0] for u in own), np.mean([u[1] for u in own])])
    if not together.converged[0]:
        msg = f"the joint fit with the objective {objective} did not settle; try another objective."
        raise NotUsableError(msg)
    *sizes, exponent = together.coordinates[0]
    null = [np.array([u, exponent]) for u in sizes]
    shift = np.concatenate(
        [
            np.ravel(model(*n, grid)[0] - model(*u, grid)[0])
            for n, u, grid in zip(null, own, grids, strict=True)
        ]
    )
    resampled = _resample(plan, problems, size)
    spread = _separate(model, grids, resampled, own)
    free = _separate(model, grids, resampled + shift, null)
    tied = _joint(model, grids, resampled + shift, together.coordinates[0])
    settled = spread.converged & free.converged & tied.converged
    if settled.sum() < replicates / 2:
        msg = (
            f"only {settled.sum()} of {replicates} resamples of the problems have a fit: "
            "too few solved problems for a test."
        )
        raise NotUsableError(msg)
    saved = (tied.loss - free.loss)[settled]
    statistic = max(float(together.loss[0] - apart.loss[0]), 0.0)
    as_much = int(np.sum(saved >= statistic - 1e-9 * together.loss[0]))
    few = f"; with fewer than {FEW_PROBLEMS} {what} it rejects too often"
    b = -np.exp(spread.exponents[settled])
    return EqualExponents(
        exponents={label: float(-np.exp(u[1])) for label, u in zip(groups, own, strict=True)},
        errors=dict(zip(groups, b.std(axis=0, ddof=1).tolist(), strict=True)),
        shared=float(-np.exp(exponent)),
        statistic=statistic,
        p_value=(1 + as_much) / (1 + len(saved)),
        replicates=len(saved),
        method=(
            f"saving in the sum of squares ({objective}) against its bootstrap over {size} {what}, resampled "
            "jointly over groups and centred on the fit with one exponent"
            + few
            * (size < FEW_PROBLEMS)
        ),
    )


def _refuse(groups: Mapping[str, Counts], replicates: int, seed: int) -> None:
    if len(groups) < 2:
        raise InputError(f"exponents of {len(groups)} group: to compare takes at least two.")
    if not 40 <= replicates <= 1_000_000:
        msg = f"replicates must be between 40 and 1,000,000, not {replicates}; 1,000 is usual."
        raise UsageError(msg)
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"the seed must be a whole number from 0 on, not {seed}.")
    if len({counts.cluster is None for counts in groups.values()}) > 1:
        named = [label for label, counts in groups.items() if counts.cluster is not None]
        msg = f"only {', '.join(named)} has clusters; name them in all groups or in none."
        raise InputError(msg)
    for label, counts in groups.items():
        if (counts.stop_rule or "").startswith("until_success"):
            msg = (
                f"the attempts of '{label}' stop at a success, and pass@k of such counts is too high; "
                "compare groups with a fixed number of attempts."
            )
            raise InputError(msg)
        solved = int((counts.c > 0).sum())
        if solved < FEW_SOLVED:
            msg = (
                f"only {solved} problems of '{label}' were solved, and an exponent needs {FEW_SOLVED}: "
                "leave the group out or take more attempts."
            )
            raise NotUsableError(msg)


def _units(groups: Mapping[str, Counts]) -> tuple[list[IntArray], int]:
    """For each group its problems' units, and how many units there are.

    A unit is what is drawn as a whole: a cluster, or a problem of a task in whatever groups it stands.
    """
    names = [
        [(x,) for x in counts.cluster.tolist()]
        if counts.cluster is not None
        else list(zip(counts.task.tolist(), counts.problem.tolist(), strict=True))
        for counts in groups.values()
    ]
    number = {name: i for i, name in enumerate(dict.fromkeys(x for part in names for x in part))}
    return [np.array([number[x] for x in part], dtype=np.int64) for part in names], len(number)


def _of_units(
    counts: Counts, unit: IntArray, size: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The grid of k, shape (K,); sums of pass@k by unit, shape (size, K); problems by unit, (size,)."""
    distinct = passk.unique_counts(counts.n, counts.c)
    grid = passk.log_grid(int(counts.n.min()), POINTS)
    passed = passk.pass_at_k(distinct.n[:, None], distinct.c[:, None], grid[None, :])
    totals = np.zeros((size, len(grid)))
    np.add.at(totals, unit, passed[distinct.place(counts.n, counts.c)])
    share: FloatArray = np.bincount(unit, minlength=size).astype(np.float64)
    return grid.astype(np.float64), totals, share


def _own_fit(plan: Plan, label: str, grid: FloatArray, curve: FloatArray) -> FloatArray:
    """Free coordinates of one group's own fit, shape (2,)."""
    why = no_curve(plan, [grid], curve)
    if why is None:
        found = solve_curve(plan, [grid], curve[None])
        if not found.converged[0]:
            why = "least squares did not settle within 100 steps."
        elif unfelt(plan, [grid], curve[None], found.coordinates).any():
            why = "the curve is nearly at its end after its first points and is met whatever its exponent."
        else:
            coordinates: FloatArray = found.coordinates[0]
            return coordinates
    raise NotUsableError(f"group '{label}' shows no exponent: {why}")


def _resample(
    plan: Plan, problems: list[tuple[FloatArray, FloatArray, FloatArray]], size: int
) -> FloatArray:
    """Curves of resampled units on the scale of the objective, one group after the other."""
    rng, kept = np.random.default_rng(plan.interval.seed), []
    block = max(1, _BLOCK // size)
    for done in range(0, plan.interval.replicates, block):
        rows = min(block, plan.interval.replicates - done)
        drawn = rng.multinomial(size, np.full(size, 1 / size), size=rows).astype(np.float64)
        curves = np.concatenate(
            [
                passk.mean_of(drawn / np.maximum(drawn @ share, 1)[:, None], totals)
                for _, totals, share in problems
            ],
            axis=1,
        )
        top = curves < 1 if plan.objective.link == "log-log" else curves <= 1
        kept.append(linked(plan.objective, curves[np.all((curves > 0) & top, axis=1)]))
    return np.concatenate(kept)


class _Fits(NamedTuple):
    """Exponents' coordinates log(-b), shape (R, G), losses (R,) and whether all converged (R,)."""

    exponents: FloatArray
    loss: FloatArray
    converged: NDArray[np.bool_]


def _separate(
    model: Model, grids: list[FloatArray], targets: FloatArray, start: list[FloatArray]
) -> _Fits:
    """Each group's own least squares, for targets of shape (R, K_1 + ... + K_G)."""
    parts = np.split(targets, np.cumsum([len(g) for g in grids])[:-1], axis=1)
    found = [
        least_squares(model, [grid], part, u)
        for grid, part, u in zip(grids, parts, start, strict=True)
    ]
    return _Fits(
        np.stack([f.coordinates[:, 1] for f in found], axis=1),
        np.sum([f.loss for f in found], axis=0),
        np.all([f.converged for f in found], axis=0),
    )


def _joint(
    model: Model, grids: list[FloatArray], targets: FloatArray, start: ArrayLike
) -> Solution:
    """Least squares with coordinates log(-a_1), ..., log(-a_G), log(-b)."""

    def stacked(*arguments: FloatArray) -> list[Any]:
        *sizes, exponent = arguments[: len(grids) + 1]
        parts = [
            np.broadcast_arrays(*model(size, exponent, grid), grid + 0 * exponent)[:3]
            for size, grid in zip(sizes, grids, strict=True)
        ]
        value, by_exponent = (np.concatenate([p[i] for p in parts], axis=1) for i in (0, 2))
        by_size = [
            np.concatenate([p[1] if p is mine else np.zeros_like(p[1]) for p in parts], axis=1)
            for mine in parts
        ]
        return [value, *by_size, by_exponent]

    return least_squares(stacked, [np.concatenate(grids)], targets, np.asarray(start))
