"""One group, one objective: from evidence to coordinates, status and replicates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.core.objective import Objective
from scaling.core.rates import BetaMixture
from scaling.data.evidence import Counts
from scaling.fitting import passk, stopped
from scaling.fitting.identification import like_a_limit, too_little
from scaling.fitting.intervals import bootstrap, held_out, leave_one_out
from scaling.fitting.least_squares import Solution, least_squares
from scaling.fitting.likelihood import (
    CountLikelihood,
    canonical,
    fit_counts,
    maximise,
    one_step,
    profile_interval,
    unbounded,
)
from scaling.fitting.plan import Core, LeftOut, Plan, Refit, Replicates

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_ONE_PROBLEM = "one problem says nothing of how success rates differ between problems."
_MANY = 15_000_000  # cells of all replicates; beyond this refits take one step
_UNFELT = 1e-3  # of the rise of a curve: what a parameter must be able to change
_FLAT = 1e-12  # a curve that rises less than this shows no law


def unidentified(why: str, fit: dict[str, float | None] | None = None) -> Core:
    """A group whose evidence does not determine the law, and why."""
    return Core(None, "not-identified", [Caution("not-identified", why)], fit or statistics())


def statistics(**known: float | None) -> dict[str, float | None]:
    """The statistics of a fit, None where unknown."""
    names = (
        "loss",
        "log_likelihood",
        "aic",
        "bic",
        "mae",
        "sd_abs_error",
        "max_abs_residual",
        "held_out_mae",
    )
    return dict.fromkeys(names) | known


def by_likelihood(
    plan: Plan, evidence: Counts, counts: passk.UniqueCounts, batch: int | None
) -> Core:
    """Maximum likelihood of the counts, held against its degenerate limits.

    `batch` (`stopped.stopping_batch`) decides which curve the held-out error is measured against.
    """
    law, p = plan.law, len(plan.law.params)
    weights = counts.multiplicity.astype(float)
    problems = float(weights.sum())
    best = fit_counts(law, counts, plan.objective)
    likelihood = CountLikelihood(law, counts, plan.objective)
    log_likelihood = likelihood.log_likelihood(law, best.coordinates[0], weights)
    fit = statistics(
        loss=-log_likelihood + likelihood.penalty(best.coordinates[0]),
        log_likelihood=log_likelihood,
        aic=2 * p - 2 * log_likelihood,
        bic=p * float(np.log(problems)) - 2 * log_likelihood,
    )
    mean = float(weights @ (counts.c / counts.n) / problems)
    why = too_little(law, counts)
    cautions: list[Caution] = []
    if not why:
        top = float(best.log_likelihood[0]) + likelihood.penalty(best.coordinates[0])
        why = like_a_limit(law, counts, top, plan.objective)
        if why and plan.objective.prior:
            text = f"{why} What alpha is, the prior of the objective {plan.objective.name} decides."
            cautions.append(Caution("prior-decides", text))
            why = None
    if why:
        return unidentified(f"{why} Only the mean success rate, {mean:.4g}, is known.", fit)
    if not best.converged[0]:
        caution = Caution("not-converged", "the likelihood had no maximum within 200 Newton steps.")
        return Core(None, "not-converged", [caution], fit)

    rows = max(plan.interval.replicates, 1)
    many = likelihood.cost * rows > _MANY
    each = likelihood.each(best.coordinates[0]) if many else None

    def refit(w: FloatArray) -> Replicates:
        if each is not None:
            near = one_step(likelihood, w, each, best.coordinates[0])
            return Replicates(near, np.ones(len(w), dtype=bool), np.zeros(near.shape, dtype=bool))
        found = maximise(likelihood, w, best.coordinates[0])
        coordinates = canonical(law, found.coordinates)
        away = unbounded(law, coordinates)
        return Replicates(coordinates, found.converged | away.any(axis=1), away)

    profiled = list(range(p)) if plan.interval.method == "profile" else []
    exchange = isinstance(law.rates, BetaMixture) and len(law.rates.parts) > 1
    if evidence.cluster is None and not exchange:
        # Where rates begin or end: at an end of its own on some data, and there the bootstrap is not valid, the
        # profile is. (The weight of two parts has no such end: they change places.)
        profiled = profiled or [i for i, q in enumerate(law.params) if q.support.closed]
    ends = (
        profile_interval(likelihood, weights, best, plan.interval.level, profiled)
        if profiled
        else ()
    )
    draws, left_out, noticed = _resampled(plan, evidence, counts, refit)
    cautions += noticed
    if many and (draws is not None or left_out is not None):
        text = (
            f"with {len(counts.n):,} distinct counts, each resample is refitted by one Newton step from the estimate, "
            "which gives the same intervals up to terms of the order of one in the number of problems."
        )
        cautions.append(Caution("one-step-refits", text))
    fit["held_out_mae"] = held_out(plan, evidence, counts, batch, refit)
    named = {
        law.names[i]: (float(low), float(high))
        for i, (low, high) in zip(profiled, ends, strict=True)
    }
    return Core(best.coordinates[0], "ok", cautions, fit, draws, named, left_out)


def _resampled(
    plan: Plan, evidence: Counts, counts: passk.UniqueCounts, refit: Refit
) -> tuple[Replicates | None, LeftOut | None, list[Caution]]:
    """The refits that the intervals asked for need."""
    draws = left_out = None
    cautions: list[Caution] = []
    if plan.interval.method in ("percentile", "bca"):
        draws, cautions = bootstrap(plan, evidence, counts, refit)
    if plan.interval.method in ("jackknife", "bca"):
        left_out = leave_one_out(evidence, counts, refit)
    return draws, left_out, cautions


def by_curve(plan: Plan, evidence: Counts, counts: passk.UniqueCounts, batch: int | None) -> Core:
    """Least squares on the coverage curve.

    That is unbiased pass@k up to the fewest attempts at any problem; where attempts stop at the first
    success (`batch` is that of `stopped.stopping_batch`), Kaplan-Meier coverage from the first success up to
    the most attempts.
    """
    grid = stopped.grid(counts, batch, plan.points)
    weights = counts.multiplicity / counts.multiplicity.sum()
    observed = stopped.curve(counts, grid, weights, batch)
    if batch is not None:
        seen = observed > 0
        grid, observed = grid[seen], observed[seen]
    inputs = [grid.astype(float)]
    problem = _ONE_PROBLEM if len(evidence.n) == 1 else no_curve(plan, inputs, observed)
    if problem:
        return unidentified(problem)
    solve = solver(plan)
    solution = solve(plan, inputs, observed[None], None)
    if not solution.converged[0]:
        caution = Caution("not-converged", "least squares did not settle within 100 steps.")
        return Core(None, "not-converged", [caution], statistics(loss=float(solution.loss[0])))
    start = solution.coordinates[0]
    lost = unfelt(plan, inputs, observed[None], solution.coordinates)[0]
    if lost.any():
        names = ", ".join(n for n, x in zip(plan.law.names, lost, strict=True) if x)
        return unidentified(
            f"the curve is nearly at its end after its first points and is met whatever {names} is.",
            statistics(loss=float(solution.loss[0])),
        )
    table = passk.pass_at_k(counts.n[:, None], counts.c[:, None], grid[None, :])

    def refit(w: FloatArray) -> Replicates:
        if batch is None:
            curves = passk.mean_of(w / w.sum(axis=1, keepdims=True), table)
        else:  # NaN where a resample has no problem left
            curves = np.nan_to_num(stopped.curve(counts, grid, w, batch))
        top = curves < 1 if plan.objective.link == "log-log" else curves <= 1
        defined = np.all((curves > 0) & top, axis=1) & (np.ptp(curves, axis=1) > _FLAT)
        out, fitted = np.full((len(w), len(start)), np.nan), np.zeros(len(w), dtype=bool)
        unbounded = np.zeros(out.shape, dtype=bool)
        found = solve(plan, inputs, curves[defined], start)
        out[defined], fitted[defined] = found.coordinates, found.converged
        unbounded[defined] = unfelt(plan, inputs, curves[defined], found.coordinates)
        return Replicates(out, fitted, unbounded)

    draws, left_out, cautions = _resampled(plan, evidence, counts, refit)
    if plan.feasible:
        cautions += held_by_the_constraint(plan, start)
    fit = statistics(
        loss=float(solution.loss[0]), held_out_mae=held_out(plan, evidence, counts, batch, refit)
    )
    return Core(start, "ok", cautions, fit, draws, left_out=left_out)


def no_curve(plan: Plan, inputs: list[FloatArray], value: FloatArray) -> str | None:
    """Why no law can be read off this curve, or None."""
    points, needed = len(value), len(plan.law.params)
    if points < needed:
        return (
            f"the curve has {points} point{'s' * (points != 1)} (whole numbers of samples up to the fewest attempts "
            f"at any problem), and {needed} parameters need at least {needed}."
        )
    if np.all(value == 0):
        return "no attempt was right, so the curve is zero and no law can be told from it."
    if np.all(value == 1):
        return (
            "every problem is solved at once, so the curve is one and no law can be told from it."
        )
    if np.any(value <= 0) and plan.objective.link != "identity":
        return f"the curve has points at zero, where the objective {plan.objective.name} is not defined."
    if np.any(value >= 1) and plan.objective.link == "log-log":
        return (
            f"the curve reaches one, where the objective {plan.objective.name} is not defined; "
            "use --objective logcov or cov."
        )
    if len(inputs) == 1 and np.ptp(value) <= _FLAT:
        return "the curve is flat: more samples never solved another problem, so no exponent can be told from it."
    return None


def solve_curve(
    plan: Plan, inputs: list[FloatArray], curves: FloatArray, start: FloatArray | None = None
) -> Solution:
    """Least squares of each curve, shape (R, K), from `start` or the law's own guess."""
    model = plan.law.linked(plan.objective)
    if start is None:
        start = plan.law.free(plan.law.guess["curve"](inputs, curves[0]))[0]
    return least_squares(model, inputs, linked(plan.objective, curves), start)


def solver(plan: Plan) -> Callable[..., Solution]:
    """`solve_curve`, or the same held to c(2) <= 2 c(1)."""
    from scaling.fitting.feasibility import solve_feasible

    return solve_feasible if plan.feasible else solve_curve


def held_by_the_constraint(plan: Plan, coordinates: FloatArray) -> list[Caution]:
    """Whether the constrained fit lies on its boundary."""
    from scaling.fitting.feasibility import on_boundary

    if not on_boundary(plan.law, coordinates):
        return []
    text = (
        "the fit lies on the boundary c(2) = 2 c(1): unconstrained, the curve would be impossible. a and b move "
        "along one line, and their intervals with them."
    )
    return [Caution("at-bound", text)]


def unfelt(
    plan: Plan, inputs: list[FloatArray], curves: FloatArray, coordinates: FloatArray
) -> BoolArray:
    """Which parameters the fitted curve hardly depends on, shape (R, p): they ran off unhindered."""
    _, *slopes = plan.law.linked(plan.objective)(
        *(coordinates[:, i, None] for i in range(coordinates.shape[1])), *inputs
    )
    size = np.ptp(linked(plan.objective, curves), axis=1)
    strongest = [np.abs(np.broadcast_to(s, curves.shape)).max(axis=1) for s in slopes]
    return np.stack([s < _UNFELT * size for s in strongest], axis=1)


def linked(objective: Objective, value: FloatArray) -> FloatArray:
    """The values of a curve on the scale on which an objective takes its squares."""
    if objective.link == "log":
        return np.log(value)
    if objective.link == "log-log":
        return np.log(-np.log(value))
    return value
