"""One group, one objective: from evidence to coordinates, status and replicates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.core.objective import Objective
from scaling.data.evidence import Counts
from scaling.fitting import passk
from scaling.fitting.intervals import bootstrap, held_out
from scaling.fitting.least_squares import Solution, least_squares
from scaling.fitting.likelihood import (
    CountLikelihood,
    fit_counts,
    limits,
    log_binomials,
    maximise,
    profile_interval,
    without_spread,
)
from scaling.fitting.plan import Core, Plan, Replicates

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

# Twice the log-likelihood by which a distribution over problems must beat its degenerate limits: the 95%
# point of half a chi-square with one degree of freedom, as the limits lie on the boundary.
_EVIDENCE = 2.705543
_ONE_PROBLEM = "one problem says nothing of how success rates differ between problems."
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


def by_likelihood(plan: Plan, evidence: Counts, counts: passk.UniqueCounts) -> Core:
    """Maximum likelihood of the counts, held against its degenerate limits."""
    law, p = plan.law, len(plan.law.params)
    weights = counts.multiplicity.astype(float)
    problems = float(weights.sum())
    best = fit_counts(law, counts)
    top = float(best.log_likelihood[0])
    log_likelihood = top + log_binomials(counts)
    fit = statistics(
        loss=-log_likelihood,
        log_likelihood=log_likelihood,
        aic=2 * p - 2 * log_likelihood,
        bic=p * float(np.log(problems)) - 2 * log_likelihood,
    )
    degenerate = limits(counts)
    mean = float(weights @ (counts.c / counts.n) / problems)
    known = f"Only the mean success rate, {mean:.4g}, is known."
    if 2 * (top - degenerate.homogeneous) < _EVIDENCE:
        why = (
            "the counts do not tell problems apart: one success rate for all explains them as well."
        )
        if problems == 1:
            why = _ONE_PROBLEM
        elif mean in (0.0, 1.0):
            why = f"{'every' if mean else 'no'} attempt was right, so how success rates differ cannot be seen."
        elif counts.n.max() == 1:
            why = "with one attempt a problem, how success rates differ between problems cannot be seen."
        return unidentified(f"{why} {known}", fit)
    if 2 * (top - degenerate.all_or_nothing) < _EVIDENCE:
        why = "every problem is solved always or never, so how success rates spread in between cannot be seen."
        return unidentified(f"{why} {known}", fit)
    if not best.converged[0]:
        caution = Caution("not-converged", "the likelihood had no maximum within 200 Newton steps.")
        return Core(None, "not-converged", [caution], fit)
    likelihood = CountLikelihood(law, counts)

    def refit(w: FloatArray) -> Replicates:
        found = maximise(likelihood, w, best.coordinates[0])
        flat = without_spread(counts, w, found)
        unbounded = np.repeat(flat[:, None], p, axis=1)
        return Replicates(found.coordinates, found.converged | flat, unbounded)

    cautions: list[Caution] = []
    draws = ends = None
    if plan.interval.method == "profile":
        ends = profile_interval(likelihood, weights, best, plan.interval.level)
    elif plan.interval.method == "percentile":
        draws, cautions = bootstrap(plan, evidence, counts, refit)
    fit["held_out_mae"] = held_out(plan, evidence, counts, refit)
    return Core(best.coordinates[0], "ok", cautions, fit, draws, ends)


def by_curve(plan: Plan, evidence: Counts, counts: passk.UniqueCounts) -> Core:
    """Least squares on the unbiased coverage curve, up to the fewest attempts at any problem."""
    grid = passk.log_grid(int(counts.n.min()), plan.points)
    weights = counts.multiplicity / counts.multiplicity.sum()
    observed = passk.curve(counts, grid, weights)
    inputs = [grid.astype(float)]
    problem = _ONE_PROBLEM if len(evidence.n) == 1 else no_curve(plan, inputs, observed)
    if problem:
        return unidentified(problem)
    solution = solve_curve(plan, inputs, observed[None])
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
        curves = passk.mean_of(w / w.sum(axis=1, keepdims=True), table)
        top = curves < 1 if plan.objective.link == "log-log" else curves <= 1
        defined = np.all((curves > 0) & top, axis=1) & (np.ptp(curves, axis=1) > _FLAT)
        out, fitted = np.full((len(w), len(start)), np.nan), np.zeros(len(w), dtype=bool)
        unbounded = np.zeros(out.shape, dtype=bool)
        found = solve_curve(plan, inputs, curves[defined], start)
        out[defined], fitted[defined] = found.coordinates, found.converged
        unbounded[defined] = unfelt(plan, inputs, curves[defined], found.coordinates)
        return Replicates(out, fitted, unbounded)

    cautions: list[Caution] = []
    draws = None
    if plan.interval.method == "percentile":
        draws, cautions = bootstrap(plan, evidence, counts, refit)
    fit = statistics(
        loss=float(solution.loss[0]), held_out_mae=held_out(plan, evidence, counts, refit)
    )
    return Core(start, "ok", cautions, fit, draws)


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
    return least_squares(model, inputs, _link(plan.objective, curves), start)


def unfelt(
    plan: Plan, inputs: list[FloatArray], curves: FloatArray, coordinates: FloatArray
) -> BoolArray:
    """Which parameters the fitted curve hardly depends on, shape (R, p): they ran off unhindered."""
    _, *slopes = plan.law.linked(plan.objective)(
        *(coordinates[:, i, None] for i in range(coordinates.shape[1])), *inputs
    )
    size = np.ptp(_link(plan.objective, curves), axis=1)
    strongest = [np.abs(np.broadcast_to(s, curves.shape)).max(axis=1) for s in slopes]
    return np.stack([s < _UNFELT * size for s in strongest], axis=1)


def _link(objective: Objective, value: FloatArray) -> FloatArray:
    if objective.link == "log":
        return np.log(value)
    if objective.link == "log-log":
        return np.log(-np.log(value))
    return value
