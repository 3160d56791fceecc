"""From a fit to a menu: what each class of query can buy."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.polynomial.chebyshev import chebfit, chebpts1, chebval
from numpy.typing import NDArray

from scaling.core import registry
from scaling.core.caution import Caution
from scaling.core.law import Law
from scaling.core.rates import Latent
from scaling.core.tabulated import FORECAST
from scaling.costs import SampleCosts
from scaling.curves import Menu, merge, over_samples, plain, refuse_too_large
from scaling.data.evidence import Counts, Scalar
from scaling.data.plugin import BEYOND, plugin_menu
from scaling.data.schema import ACTION_COLUMNS
from scaling.errors import NotUsableError, UsageError
from scaling.fitting.copula import Log
from scaling.fitting.result import FitResult, GroupFit
from scaling.fitting.transfer import Transfer, transfer

FloatArray = NDArray[np.float64]

_DEGREE = 96
_PRIOR = Caution(
    "prior-decides",
    "the counts do not identify the law; what single problems are expected to gain rests on its prior, too.",
)


def menu(
    fit: FitResult,
    *,
    values: str,
    classes: str,
    costs: SampleCosts | None,
    skip: bool,
    extrapolate: bool,
) -> Menu:
    """See `FitResult.menu`."""
    law = registry.law(fit.law)
    if [i.column for i in law.inputs] != ["samples"] or law.output.name != "coverage":
        msg = f"law '{law.name}' does not say what a number of samples buys, so it has no menu of samples"
        raise UsageError(msg)
    if values not in ("posterior", "plugin") or classes not in ("group", "problem"):
        msg = f"values are posterior or plugin (not {values!r}), classes group or problem (not {classes!r})"
        raise UsageError(msg)
    by_problem = [posteriors(g) if classes == "problem" else None for g in fit.groups]
    served = [g.usable or p is not None for g, p in zip(fit.groups, by_problem, strict=True)]
    if not any(served):
        raise NotUsableError(" ".join(dict.fromkeys(g.why_not() for g in fit.groups)))
    costs = costs or SampleCosts()
    if values == "plugin":
        return _plugin(fit, classes=classes, costs=costs, skip=skip, extrapolate=extrapolate)
    if classes == "problem" and law.rates is None:
        msg = f"law '{law.name}' says nothing of single problems; for --class problem fit beta-binomial"
        raise UsageError(msg)
    if classes == "problem" and any(
        c.code == "outcome-bins" for g in fit.groups for c in g.cautions
    ):
        msg = (
            "bins of pass1 hold each half of a problem's attempts by itself; "
            "for --class problem fit without them"
        )
        raise UsageError(msg)
    tasks = {
        t for g in fit.groups if g.problems is not None for t in np.unique(g.problems.task).tolist()
    }
    provenance = _provenance(fit, costs)
    parts = []
    for group, posterior, known in zip(fit.groups, by_problem, served, strict=True):
        samples = np.arange(1, (group.max_n * BEYOND if extrapolate else group.reach) + 1)
        cost = costs.of(group.model, {n: r.mean for n, r in group.resources.items()})
        knobs = {c: v for c, v in group.by.items() if c in ACTION_COLUMNS and c != "model"}
        shared: dict[str, Any] = {
            "samples": samples,
            "cost": cost.at(samples),
            "model": group.model or "",
            "knobs": knobs,
            "extrapolated": samples > group.reach,
            "bins": fit.bins,
            "skip": skip,
            "level": fit.interval.level,
            "provenance": provenance,
        }
        part = (
            _of_group(group, law, shared)
            if classes == "group"
            else _of_problems(group, law, posterior, len(tasks) > 1, shared)
        )
        if not known:  # what its classes would spend is known, though not what it would buy
            own = (({"model": group.model or "", **knobs}, cost),)
            part = replace(part, unusable_cost=dict.fromkeys(range(len(part.weight)), own))
        parts.append(part)
    return merge(parts)


def posteriors(group: GroupFit) -> Transfer | None:
    """Posteriors of the problems that do not rest on one estimate of the law's parameters.

    With siblings where the fit has them; where the counts do not identify a beta-binomial, those of the
    group alone, its parameters integrated out under their prior. Else None.
    """
    if group.transfer is not None or group.usable:
        return group.transfer
    if group.law != "beta-binomial" or group.problems is None:
        return None
    return transfer(Log(group.problems.n, group.problems.c), ())


def _class_key(group: GroupFit, size: int = 1) -> dict[str, NDArray[Any]]:
    return {c: np.full(size, v) for c, v in group.by.items() if c not in ACTION_COLUMNS}


def _cautions(
    group: GroupFit, index: int, *, prior: bool = False
) -> dict[int, tuple[Mapping[str, str], ...]]:
    # Where groups that differ in action columns merge into one class, a caution names its group.
    own = ", ".join(f"{c}={v}" for c, v in group.by.items() if c in ACTION_COLUMNS)
    named = {"group": own} if own else {}
    said = [*group.cautions, *([_PRIOR] if prior else [])]
    found = tuple({**c.document(), **named} for c in said)
    return {index: found} if found else {}


def _of_group(group: GroupFit, law: Law, shared: dict[str, Any]) -> Menu:
    samples = shared["samples"]
    if group.usable:
        value, se = expected(group, law, samples)
    else:
        value, se = np.zeros((0, len(samples))), None
    return over_samples(
        value,
        key=_class_key(group),
        weight=np.array([max(group.n_problems, 1)], dtype=float),
        curve=np.array([0 if group.usable else -1]),
        value_se=se,
        estimand="population",
        support={
            "n_problems": np.array([group.n_problems]),
            "n_samples": np.array([group.n_samples]),
            "max_observed_n": np.array([group.max_n]),
        },
        cautions=_cautions(group, 0),
        **shared,
    )


def expected(
    group: GroupFit, law: Law, samples: NDArray[np.int64]
) -> tuple[FloatArray, FloatArray | None]:
    """Expectation of the law over the replicates and its standard error, each of shape (1, K).

    Not the law at the mean parameters: coverage is curved in them. Without replicates, the law at the
    estimate.
    """
    draws = group.draws
    if draws is None:
        return law.value(group.theta, {"samples": samples})[None], None

    def moments(k: FloatArray) -> FloatArray:
        values = law.value(draws, {"samples": k})
        return np.stack([values.mean(axis=0), (values**2).mean(axis=0)], axis=-1)

    mean, square = (
        moments(samples.astype(np.float64)).T if law is FORECAST else _smooth(moments, samples)
    )
    return mean[None], np.sqrt(np.maximum(square - mean**2, 0.0))[None]


def _smooth(function: Callable[[FloatArray], FloatArray], samples: NDArray[np.int64]) -> FloatArray:
    """A function of log k at many k, from shape (K,) to (K, M): given transposed, shape (M, K).

    Laws are smooth in log k: a polynomial in it through 97 points is exact to 1e-9 everywhere.
    """
    if len(samples) <= 2 * _DEGREE:
        return function(samples.astype(np.float64)).T
    span = float(np.log(samples[-1]))
    nodes = chebpts1(_DEGREE + 1)
    series = chebfit(nodes, function(np.exp(span * (nodes + 1) / 2)), _DEGREE)
    return np.asarray(chebval(2 * np.log(samples) / span - 1, series))


def _of_problems(
    group: GroupFit,
    law: Law,
    by_problem: Transfer | None,
    by_task: bool,
    shared: dict[str, Any],
) -> Menu:
    problems, counts = group.problems, group.counts
    if problems is None or counts is None:
        msg = (
            f"the fit of {group.label()} holds no counts by problem name, which --class problem needs; "
            "allocate from the count file instead"
        )
        raise UsageError(msg)
    size = len(problems.n)
    key = _class_key(group, size)
    if by_task and "task" not in key:
        key["task"] = problems.task
    key["problem"] = problems.problem
    curve = counts.place(problems.n, problems.c)
    value = np.zeros((0, len(shared["samples"])))
    refuse_too_large(len(counts.n if by_problem is None else curve), len(shared["samples"]))
    if by_problem is not None:
        value, curve = by_problem.coverage(shared["samples"]), np.arange(size)
    elif group.usable and isinstance(law.rates, Latent):  # an integral for each value: take fewer
        value = _smooth(
            lambda k: law.posterior_value(group.theta, counts.n, counts.c, {"samples": k}).T,
            shared["samples"],
        )
    elif group.usable:
        value = law.posterior_value(group.theta, counts.n, counts.c, {"samples": shared["samples"]})
    return over_samples(
        value,
        key=key,
        weight=np.ones(size),
        curve=curve if group.usable or by_problem is not None else np.full(size, -1),
        estimand="benchmark",
        support={
            "n_problems": np.ones(size, dtype=np.int64),
            "n_samples": problems.n,
            "max_observed_n": problems.n,
        },
        cautions=_cautions(group, -1, prior=not group.usable and by_problem is not None),
        **shared,
    )


def _plugin(
    fit: FitResult, *, classes: str, costs: SampleCosts, skip: bool, extrapolate: bool
) -> Menu:
    groups = []
    for g in fit.groups:
        if g.problems is None:
            msg = f"the fit of {g.label()} holds no counts by problem, which raw rates need; give the count file"
            raise UsageError(msg)
        p = g.problems
        groups.append(
            Counts(g.by, p.task, p.problem, p.n, p.c, model=g.model, resources=g.resources)
        )
    return plugin_menu(
        groups, classes=classes, costs=costs, skip=skip, extrapolate=extrapolate, bins=fit.bins
    )


def _provenance(fit: FitResult, costs: SampleCosts) -> dict[str, Any]:
    digest = hashlib.sha256(fit.to_json(indent=None).encode()).hexdigest()
    return {
        "fits": [
            {
                "law": fit.law,
                "sha256": digest,
                "objective": fit.objective,
                "n_problems": sum(g.n_problems for g in fit.groups),
                "n_samples": sum(g.n_samples for g in fit.groups),
            }
        ],
        "data": [dict(d) for d in (fit.data, fit.siblings) if d is not None],
        "prices": costs.prices,
        "cost_model": costs.cost_model,
        "seed": fit.interval.seed,
    }


def intervals(fit: FitResult, menu: Menu) -> Menu:
    """See `FitResult.intervals`.

    Population values: quantiles of the law over the bootstrap replicates of the rung's group; rungs of
    other fits are left as they are. Single problems have no interval here: their spread is the posterior,
    which the value averages over.
    """
    if menu.estimand != "population" or all(g.draws is None for g in fit.groups):
        return menu
    law = registry.law(fit.law)
    out = np.full((len(menu.value), 2), np.nan) if menu.interval is None else menu.interval.copy()
    level = fit.interval.level
    for index, curve in enumerate(menu.curve):
        if curve < 0:
            continue
        rungs = np.arange(menu.start[curve], menu.start[curve + 1])
        for group in fit.groups:
            if group.draws is None or not group.usable or not _serves(group, menu, index):
                continue
            mine = rungs[_matches({**group.by, "model": group.model or ""}, menu, rungs)]
            if len(mine):
                values = law.value(group.draws, {"samples": menu.action["samples"][mine]})
                out[mine] = np.quantile(
                    values, [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf"
                ).T
    return replace(menu, interval=out, level=level)


def _serves(group: GroupFit, menu: Menu, index: int) -> bool:
    return all(plain(menu.key[c][index]) == v for c, v in group.by.items() if c in menu.key)


def _matches(by: Mapping[str, Scalar], menu: Menu, rungs: NDArray[np.int64]) -> NDArray[np.bool_]:
    keep = np.ones(len(rungs), dtype=bool)
    for column, value in by.items():
        if column in menu.action:
            keep &= menu.action[column][rungs] == value
    return keep
