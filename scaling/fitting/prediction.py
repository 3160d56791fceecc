"""Predictions of a fit, with their intervals and their limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core import registry
from scaling.core.law import Law
from scaling.data.evidence import Scalar
from scaling.errors import UsageError
from scaling.fitting.result import Estimand, FitResult, GroupFit

FloatArray = NDArray[np.float64]

_BENCHMARK_CELLS = 20_000_000  # replicates x problems simulated for a benchmark interval


@dataclass(frozen=True)
class PredictionRow:
    """One prediction.

    Attributes:
        by: the group.
        at: the settings; for a target or a saturation point, what was asked.
        estimate: None where the group cannot answer.
        interval: None where none could be had.
        estimand: which question it answers.
        extrapolated: whether it lies beyond the evidence.
        reason: why estimate or interval are missing.
    """

    by: Mapping[str, Scalar]
    at: Mapping[str, float]
    estimate: float | None
    interval: tuple[float, float] | None
    estimand: Estimand
    extrapolated: bool
    reason: str | None = None

    def document(self) -> dict[str, Any]:
        """As it stands in the prediction document, without the group."""
        out: dict[str, Any] = {
            "at": dict(self.at),
            "estimate": self.estimate,
            "interval": list(self.interval) if self.interval else None,
            "estimand": self.estimand,
            "extrapolated": self.extrapolated,
        }
        return out | ({"reason": self.reason} if self.reason else {})


@dataclass(frozen=True)
class Prediction:
    """Predictions of one fit.

    Attributes:
        fit: the fit that made them.
        quantity: what `estimate` is, for example coverage or samples.
        rows: group by group.
    """

    fit: FitResult
    quantity: str
    rows: tuple[PredictionRow, ...]

    def to_json(self, *, indent: int | None = 1) -> str:
        """The prediction document as text."""
        from scaling.fitting.document import head

        groups: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            key = json.dumps(dict(row.by), sort_keys=True)
            group = groups.setdefault(key, {"by": dict(row.by), "predictions": []})
            group["predictions"].append(row.document())
        document = {
            **head(self.fit, "scaling-prediction"),
            "quantity": self.quantity,
            "groups": list(groups.values()),
        }
        return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a prediction."""
        import pandas as pd

        return pd.DataFrame(
            {
                **r.by,
                **r.at,
                self.quantity: r.estimate,
                "low": r.interval[0] if r.interval else None,
                "high": r.interval[1] if r.interval else None,
                "estimand": r.estimand,
                "extrapolated": r.extrapolated,
                "reason": r.reason,
            }
            for r in self.rows
        )

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(
            index=False, float_format=lambda x: f"{x:.4g}", na_rep=""
        )
        return html


def predict(fit: FitResult, inputs: Mapping[str, ArrayLike], estimand: Estimand) -> Prediction:
    """See `FitResult.predict`."""
    law = registry.law(fit.law)
    if estimand not in ("population", "benchmark"):
        msg = f"there is no estimand '{estimand}'; it is population (new problems) or benchmark (these problems)"
        raise UsageError(msg)
    if estimand == "benchmark" and law.posterior is None:
        msg = (
            f"law '{law.name}' says nothing of these very problems, so it predicts for the population only; "
            "for the benchmark estimand fit a count law (beta-binomial)"
        )
        raise UsageError(msg)
    try:
        columns = np.broadcast_arrays(*(np.atleast_1d(x) for x in law.columns(inputs)))
    except UsageError:
        raise
    except (TypeError, ValueError):
        shown = ", ".join(f"{name}={value!r}" for name, value in inputs.items())
        msg = f"inputs are numbers, or lists of numbers of one length, not {shown}"
        raise UsageError(msg) from None
    for spec, column in zip(law.inputs, columns, strict=True):
        bad = column[~(np.isfinite(column) & (column >= spec.grid[0]))]
        if bad.size:
            msg = f"{spec.column} must be at least {spec.grid[0]:g} {spec.unit}, not {bad[0]:g}"
            raise UsageError(msg)
    at = {spec.column: column for spec, column in zip(law.inputs, columns, strict=True)}
    rows = [row for group in fit.groups for row in _predict_group(fit, group, law, at, estimand)]
    return Prediction(fit, law.output.name, tuple(rows))


def _predict_group(
    fit: FitResult, group: GroupFit, law: Law, at: Mapping[str, FloatArray], estimand: Estimand
) -> list[PredictionRow]:
    settings = [
        {name: _plain(column[i]) for name, column in at.items()}
        for i in range(len(next(iter(at.values()))))
    ]
    first = next(iter(at.values()))
    beyond = first > group.reach
    if not group.usable:
        why_not = group.why_not()
        return [
            PredictionRow(group.by, s, None, None, estimand, bool(e), why_not)
            for s, e in zip(settings, beyond, strict=True)
        ]
    estimates: FloatArray = law.value(group.theta, at)
    draws = None if group.draws is None else law.value(group.draws, at)
    if estimand == "benchmark":
        estimates, draws = _benchmark(group, law, at, fit.interval.seed)
    reason = None if draws is not None else _no_draws(fit)
    rows = []
    for i, setting in enumerate(settings):
        interval = None if draws is None else _quantiles(draws[:, i], fit.interval.level)
        rows.append(
            PredictionRow(
                group.by, setting, float(estimates[i]), interval, estimand, bool(beyond[i]), reason
            )
        )
    return rows


def _benchmark(
    group: GroupFit, law: Law, at: Mapping[str, FloatArray], seed: int
) -> tuple[FloatArray, FloatArray | None]:
    """Posterior-predictive coverage of these very problems.

    Mean over problems of 1 - B(alpha+c, beta+n-c+k)/B(alpha+c, beta+n-c); the interval draws
    hyperparameters from the bootstrap replicates and then a success rate for every problem.
    """
    counts = group.counts
    if counts is None:
        msg = f"the benchmark estimand needs counts of each problem; {group.label()} was fitted to a curve"
        raise UsageError(msg)
    share = counts.multiplicity / group.n_problems
    estimates = share @ law.posterior_value(group.theta, counts.n, counts.c, at)
    if group.draws is None:
        return estimates, None
    k = next(iter(at.values()))
    replicates = min(len(group.draws), max(100, _BENCHMARK_CELLS // group.n_problems))
    rng = np.random.default_rng([seed, 1])
    problems = np.repeat(np.arange(len(counts.n)), counts.multiplicity)
    draws = []
    for theta in group.draws[rng.permutation(len(group.draws))[:replicates]]:
        a, b = law.beta_posterior(theta, counts.n, counts.c)
        log_fail = np.log1p(-np.minimum(rng.beta(a[problems], b[problems]), 1 - 1e-16))
        draws.append([-np.expm1(x * log_fail).mean() for x in k])
    return estimates, np.array(draws)


def target(fit: FitResult, value: float) -> Prediction:
    """See `FitResult.target`."""
    law = registry.law(fit.law)
    low, high = law.output.range
    if not low < value < high:
        msg = f"a target of {law.output.name} lies strictly between {low:g} and {high:g}, not at {value:g}"
        raise UsageError(msg)
    return _inverted(
        fit, law, lambda theta: law.inverse(theta, value), {law.output.name: value}, "target"
    )


def saturation(fit: FitResult, gain: float) -> Prediction:
    """See `FitResult.saturation`."""
    law = registry.law(fit.law)
    return _inverted(
        fit, law, lambda theta: law.saturation(theta, gain), {"gain": gain}, "saturation point"
    )


def _inverted(
    fit: FitResult,
    law: Law,
    function: Callable[[FloatArray], FloatArray],
    at: Mapping[str, float],
    what: str,
) -> Prediction:
    rows = []
    for group in fit.groups:
        if not group.usable:
            rows.append(
                PredictionRow(group.by, at, None, None, "population", False, group.why_not())
            )
            continue
        found = float(function(group.theta))
        estimate, reason = (
            (found, None) if np.isfinite(found) else (None, f"the {what} is beyond any budget")
        )
        interval = None
        if group.draws is None:
            reason = reason or _no_draws(fit)
        else:
            interval = _quantiles(function(group.draws), fit.interval.level)
            if interval is None:
                reason = (
                    reason
                    or "for some replicates no budget suffices, so the interval is open above"
                )
        rows.append(
            PredictionRow(
                group.by, at, estimate, interval, "population", bool(found > group.reach), reason
            )
        )
    return Prediction(fit, law.inputs[0].column, tuple(rows))


def _quantiles(draws: FloatArray, level: float) -> tuple[float, float] | None:
    # By rank, so that infinite draws (beyond reach) do not turn the ends into NaN.
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return (
        (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) and low < high else None
    )


def _no_draws(fit: FitResult) -> str:
    method = fit.interval.method
    if method == "percentile":
        return "no bootstrap interval could be had for this group; see its cautions"
    return f"made with --interval {method}: predictions have intervals with --interval percentile"


def _plain(x: float) -> float | int:
    return int(x) if float(x).is_integer() else float(x)
