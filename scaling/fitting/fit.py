"""Fit one law to one sweep, group by group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling._version import __version__
from scaling.core import registry
from scaling.core.caution import Caution
from scaling.core.coverage import COVERAGE
from scaling.core.law import Law
from scaling.core.objective import Objective
from scaling.core.rates import BetaMixture
from scaling.core.tabulated import FORECAST
from scaling.data.evidence import Counts, Evidence, Points, Runtimes
from scaling.errors import UsageError
from scaling.fitting import passk
from scaling.fitting import siblings as kin
from scaling.fitting.cautions import of_evidence
from scaling.fitting.copula import Log
from scaling.fitting.estimates import estimates
from scaling.fitting.feasibility import check_feasible, exact_curve
from scaling.fitting.forecast_fit import by_forecast
from scaling.fitting.objectives import (
    by_curve,
    by_likelihood,
    no_curve,
    solve_curve,
    statistics,
    unidentified,
)
from scaling.fitting.plan import Core, Plan, Progress
from scaling.fitting.result import Estimate, FitResult, GroupFit, IntervalSpec, Problems, Status
from scaling.fitting.runtimes import fit_runtimes
from scaling.fitting.slope import effective_slope
from scaling.fitting.stopped import curve, error_grid, stopping_batch
from scaling.fitting.transfer import transfer

if TYPE_CHECKING:
    from scaling.data import Sweep

FloatArray = NDArray[np.float64]

POINTS = 20  # of a curve, without a preset
METHODS = ("percentile", "bca", "jackknife", "profile", "none")
KEPT_DRAWS = 1_000
KEPT_PROBLEMS = 100_000


def fit(
    sweep: Sweep,
    law: str,
    by: Sequence[str] | None = None,
    *,
    objective: str | None = None,
    preset: str | None = None,
    interval: str = "percentile",
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    bins: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    min_attempts: int | None = None,
    siblings: Sweep | None = None,
    progress: Progress | None = None,
) -> FitResult:
    """Fit a law to a sweep.

    Args:
        sweep: logged attempts, counts or a curve; measured runtimes for a law of cost.
        law: its name; `scaling.core.registry.law_names()` lists them.
        by: columns whose values make the groups; by default those of task and model (of runtimes: of model
            and hardware) that take more than one value. An empty list pools everything.
        objective: what is minimised; by default the law's first.
        preset: a published recipe, which fixes the objective and the points of the curve.
        interval: `percentile` (bootstrap of problems, or of clusters where given), `bca` (the same, corrected
            for bias and skewness), `jackknife` (one problem or cluster left out at a time; no randomness, and
            no intervals for predictions), `profile` (profile likelihood of each parameter; count laws only)
            or `none`. The share of problems that are never solved, and the largest success rate, always have a
            profile interval (not with clusters).
        replicates: bootstrap replicates.
        level: of the intervals.
        seed: of the bootstrap; the same seed gives the same result, whatever other groups there are.
        bins: column to cut points, or to a number of quantile bins.
        where: column to the value to keep.
        min_attempts: leave out problems with fewer attempts.
        siblings: other models' logs, matched on task and problem (of this sweep's own models, each is
            left out of its own group). Each problem then gets a posterior from its own attempts and
            theirs (`scaling.fitting.transfer`), which budgets of single problems are made of; the law
            itself does not change. With `beta-binomial` only.
        progress: called with the share of the work done.

    Raises:
        UsageError: for a name that does not exist or options that contradict each other.
        InputError: for a sweep that the law cannot be fitted to, or siblings that share no problem.
    """
    if not hasattr(sweep, "groups"):
        msg = (
            f"a law is fitted to a Sweep, not to a {type(sweep).__name__}; "
            "read the log first: scaling.fit(scaling.read(log), ...)"
        )
        raise UsageError(msg)
    declared = registry.law(law)
    recipe = declared.preset(preset) if preset else None
    if recipe and objective not in (None, recipe.objective):
        msg = f"preset '{preset}' fixes the objective {recipe.objective}; leave out --objective {objective}"
        raise UsageError(msg)
    chosen = declared.objective(recipe.objective if recipe else objective)
    spec = _interval(interval, level, replicates, seed, chosen)
    timed = declared.timed
    if timed and min_attempts is not None:
        msg = "--min-attempts: runtimes have no attempts. Drop it."
        raise UsageError(msg)
    groups: Sequence[Evidence] = (
        sweep.runtimes(by, bins=bins, where=where)
        if timed
        else sweep.groups(by, bins=bins, where=where, min_attempts=min_attempts)
    )
    others = None if siblings is None else kin.others_of(siblings, declared, bins)
    shared = [
        (None, []) if others is None or isinstance(group, Runtimes) else kin.matched(group, others)
        for group in groups
    ]
    if others is not None and all(found is None for found, _ in shared):
        kin.refuse_strangers([g for g in groups if isinstance(g, Counts)], others)
    report = progress or (lambda _: None)
    fitted = []
    for i, evidence in enumerate(groups):
        plan = Plan(
            declared,
            chosen,
            recipe.points if recipe else POINTS,
            spec,
            lambda share, i=i: report((i + share) / len(groups)),  # type: ignore[misc]
            bool(recipe and recipe.feasible),
        )
        if isinstance(evidence, Runtimes):
            fitted.append(fit_runtimes(plan, evidence))
        elif isinstance(evidence, Points):
            fitted.append(_fit_points(plan, evidence))
        else:
            fitted.append(_fit_counts(plan, evidence))
        report((i + 1) / len(groups))
    fitted = [
        replace(group, transfer=found, cautions=(*group.cautions, *said))
        for group, (found, said) in zip(fitted, shared, strict=True)
    ]
    return FitResult(
        law=declared.name,
        objective=chosen.name,
        preset=preset,
        interval=spec,
        groups=tuple(fitted),
        data=sweep.provenance,
        bins=sweep.cuts(bins) if bins else {},
        tool={"name": "scaling", "version": __version__},
        siblings=None if siblings is None else siblings.provenance,
    )


def refitted(
    fit: FitResult,
    counts: Sequence[Counts],
    rows: Sequence[NDArray[np.int64]],
    *,
    classes: str,
) -> FitResult:
    """The same on other counts of the same groups, without intervals: what a menu is made of.

    Args:
        fit: the fit, whose siblings' logs are used again.
        counts: one for each group.
        rows: of each group's problems, those that `counts` holds.
        classes: `group` for the law, `problem` for posteriors of problems; where these come from siblings,
            the law is not fitted again.
    """
    law = registry.law(fit.law)
    spec = replace(fit.interval, method="none", replicates=0)
    plan = Plan(law, law.objective(fit.objective), POINTS, spec, lambda _: None, False)
    groups = []
    for old, evidence, mine in zip(fit.groups, counts, rows, strict=True):
        if classes == "group" or old.transfer is None:
            groups.append(_fit_counts(plan, evidence))
            continue
        known = old.transfer.siblings
        found = transfer(
            Log(evidence.n, evidence.c),
            [s.log.take(mine) for s in known],
            [s.model for s in known],
        )
        groups.append(
            replace(
                old,
                n_problems=len(evidence.n),
                n_samples=int(evidence.n.sum()),
                counts=passk.unique_counts(evidence.n, evidence.c),
                problems=Problems(evidence.task, evidence.problem, evidence.n, evidence.c),
                max_n=int(evidence.n.max()),
                reach=int(evidence.n.max()),
                transfer=found,
            )
        )
    return replace(fit, interval=spec, groups=tuple(groups))


def _interval(
    method: str, level: float, replicates: int, seed: int, objective: Objective
) -> IntervalSpec:
    if method not in METHODS:
        msg = f"there is no interval '{method}'; it is {', '.join(METHODS[:-1])} or {METHODS[-1]}"
        raise UsageError(msg)
    if method == "profile" and objective.observation.name == "curve":
        msg = (
            f"a profile interval needs a likelihood, and the objective is {objective.name}: points of one curve "
            "share their samples. Use --interval percentile."
        )
        raise UsageError(msg)
    if not 0 < level < 1:
        msg = f"the level of an interval lies between 0 and 1, not at {level:g}; 0.95 is usual"
        raise UsageError(msg)
    drawn = method in ("percentile", "bca") and objective.name != "forecast"
    if drawn and not 40 <= replicates <= 1_000_000:
        msg = f"replicates must be between 40 and 1,000,000, not {replicates}; 1,000 is usual"
        raise UsageError(msg)
    if not isinstance(seed, int | np.integer) or seed < 0:
        msg = f"the seed must be a whole number from 0 on, not {seed}"
        raise UsageError(msg)
    return IntervalSpec(method, level, replicates if drawn else 0, seed)  # type: ignore[arg-type]


def _fit_counts(plan: Plan, evidence: Counts) -> GroupFit:
    if plan.interval.method == "profile" and evidence.cluster is not None:
        msg = (
            "profile intervals take problems as independent, and these come in clusters"
            f"{' (the halves that bins of pass1 make)' * evidence.probed}; use --interval percentile, which "
            "resamples whole clusters"
        )
        raise UsageError(msg)
    counts = passk.unique_counts(evidence.n, evidence.c)
    batch = stopping_batch(counts, evidence.stop_rule, evidence.stop_batch)
    cautions = of_evidence(plan.objective, evidence, batch)
    if plan.law is FORECAST:
        core = by_forecast(plan, evidence, counts, cautions)
        reach = int(counts.n.max())
    elif plan.objective.observation.name == "counts":
        core = by_likelihood(plan, evidence, counts, batch)
        reach = int(counts.n.max())
    else:
        core = by_curve(plan, evidence, counts, batch)
        reach = int(counts.n.min() if batch is None else counts.n.max())
    return _group(
        plan,
        core,
        by=evidence.by,
        n_problems=len(evidence.n),
        n_samples=int(evidence.n.sum()),
        counts=counts,
        points=None,
        problems=_problems(evidence) if len(evidence.n) <= KEPT_PROBLEMS else None,
        max_n=int(counts.n.max()),
        reach=reach,
        stop_rule=evidence.stop_rule,
        stop_batch=batch,
        model=evidence.model,
        resources=evidence.resources,
        cautions=cautions + core.cautions,
    )


def _problems(evidence: Counts) -> Problems:
    cluster = None
    if evidence.cluster is not None:
        cluster = np.unique(evidence.cluster, return_inverse=True)[1]
    return Problems(evidence.task, evidence.problem, evidence.n, evidence.c, cluster)


def _fit_points(plan: Plan, evidence: Points) -> GroupFit:
    law = plan.law
    if plan.objective.observation.name == "counts":
        msg = (
            f"law '{law.name}' is fitted to counts of problems, and the sweep holds points of a curve; "
            "give per-problem counts (n, c), or fit exponentiated-power"
        )
        raise UsageError(msg)
    inputs = law.columns(
        {name: v for name, v in evidence.inputs.items() if name in {i.column for i in law.inputs}}
    )
    problem = no_curve(plan, inputs, evidence.value)
    reach = int(max(inputs[0], default=0))
    cautions = []
    if plan.interval.method != "none":
        cautions = [
            Caution(
                "no-problem-counts",
                "points of one curve share their samples, so they carry no interval; per-problem counts do.",
            )
        ]
    if problem:
        core = unidentified(problem)
    else:
        solution = solve_curve(plan, inputs, evidence.value[None])
        status: Status = "ok" if solution.converged[0] else "not-converged"
        fit = statistics(loss=float(solution.loss[0]))
        settled = (
            []
            if status == "ok"
            else [Caution("not-converged", "least squares did not settle within 100 steps.")]
        )
        core = Core(solution.coordinates[0] if status == "ok" else None, status, settled, fit)
    return _group(
        plan,
        core,
        by=evidence.by,
        n_problems=int(evidence.queries.max()) if evidence.queries is not None else 0,
        n_samples=0,
        counts=None,
        points=(evidence.inputs, evidence.value),
        problems=None,
        max_n=reach,
        reach=reach,
        stop_rule=None,
        stop_batch=None,
        model=evidence.model,
        resources={},
        cautions=cautions + core.cautions,
    )


def _group(plan: Plan, core: Core, *, cautions: list[Caution], **rest: Any) -> GroupFit:
    law = plan.law
    names = [*law.names, *(d.name for d in law.derived)]
    empty = {name: Estimate(None) for name in names}
    params, fit, derived = empty, core.fit, dict(core.derived)
    draws = None if core.draws is None else law.bound(core.draws.coordinates[:KEPT_DRAWS])
    if core.coordinates is not None:
        theta = law.bound(core.coordinates)
        params = estimates(plan, core, theta, cautions)
        fit = fit | _errors(law, theta, rest["counts"], rest["points"], rest["stop_batch"])
        cautions = cautions + (
            [Caution(f.code, f.message) for f in law.flagged(theta)] or _order(law, theta)
        )
        cautions += _zero_mass(law, core, params)
        if law is not FORECAST and rest["counts"] is not None:
            derived["effective_slope"] = _slope(plan, theta, draws, rest["reach"])
    return GroupFit(
        law=law.name,
        params={n: params[n] for n in law.names},
        derived={d.name: params[d.name] for d in law.derived} | derived,
        fit=fit,
        draws=draws,
        status=core.status,
        cautions=tuple(dict.fromkeys(cautions)),
        **rest,
    )


def _slope(plan: Plan, theta: FloatArray, draws: FloatArray | None, reach: int) -> Estimate:
    """The exponent that the curve shows where the log ends, which is not that of its tail."""
    value = float(effective_slope(plan.law, theta, [reach])[0])
    if not np.isfinite(value):  # the curve has come to one
        return Estimate(None)
    spread = np.empty(0) if draws is None else effective_slope(plan.law, draws, [reach])[:, 0]
    if not len(spread) or not np.isfinite(spread).all():
        return Estimate(value)
    level = plan.interval.level
    low, high = np.quantile(spread, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    interval = (float(low), float(high)) if low < high else None
    return Estimate(value, interval, float(spread.std()) if interval else None)


def _order(law: Law, theta: FloatArray) -> list[Caution]:
    """The order from which a curve that is no mixture over problems fails to be one of coverage."""
    if law.output is not COVERAGE or law.rates is not None or law is FORECAST:
        return []
    found = check_feasible(exact_curve(law, theta))
    return [] if found.feasible else [Caution("infeasible-order", found.message)]


def _zero_mass(law: Law, core: Core, params: Mapping[str, Estimate]) -> list[Caution]:
    if not isinstance(law.rates, BetaMixture) or law.rates.never is None:
        return []
    name = str(law.rates.never)
    interval = params[name].interval
    if name in core.ends:
        support = law.params[law.names.index(name)].support
        low, high = (float(support.bound(end)) for end in core.ends[name])
        interval = low, high
    if interval is None or interval[0] > 0:
        return []
    text = (
        f"the interval of {name}, [0, {interval[1]:.3g}], holds 0: problems that are never solved cannot be told "
        "from success rates far below one in n. Coverage at numbers of samples near those of the log is better known."
    )
    return [Caution("zero-mass-not-identified", text)]


def _errors(
    law: Law,
    theta: FloatArray,
    counts: passk.UniqueCounts | None,
    points: tuple[Mapping[str, FloatArray], FloatArray] | None,
    batch: int | None,
) -> dict[str, float | None]:
    if counts is not None:
        k = error_grid(counts, batch)
        observed = curve(counts, k, counts.multiplicity / counts.multiplicity.sum(), batch)
        fitted = law.value(theta, {law.inputs[0].column: k})
    else:
        assert points is not None  # noqa: S101
        fitted = law.value(theta, {i.column: points[0][i.column] for i in law.inputs})
        observed = points[1]
    gap = np.abs(fitted - observed)
    return {
        "mae": float(gap.mean()),
        "sd_abs_error": float(gap.std()),
        "max_abs_residual": float(gap.max()),
    }
