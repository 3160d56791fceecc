"""Predictions of a fit, with their intervals and their limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core import registry
from scaling.core.law import Law
from scaling.core.tabulated import FORECAST, LAST
from scaling.data.evidence import Scalar
from scaling.errors import UsageError
from scaling.fitting import work_columns
from scaling.fitting.result import Estimand, FitResult, GroupFit

FloatArray = NDArray[np.float64]
Method = Literal["law", "forecast"]

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
        method: `law`, or `forecast` where the forecaster answers.
        reason: why estimate or interval are missing.
    """

    by: Mapping[str, Scalar]
    at: Mapping[str, float]
    estimate: float | None
    interval: tuple[float, float] | None
    estimand: Estimand
    extrapolated: bool
    reason: str | None = None
    method: Method = "law"

    def document(self) -> dict[str, Any]:
        """As it stands in the prediction document, without the group."""
        return {
            "at": dict(self.at),
            "estimate": self.estimate,
            "interval": list(self.interval) if self.interval else None,
            "estimand": self.estimand,
            "extrapolated": self.extrapolated,
            "method": self.method,
            "reason": self.reason,
        }


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
                "method": r.method,
                "reason": r.reason,
            }
            for r in self.rows
        )

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(
            index=False, float_format=lambda x: f"{x:.4g}", na_rep=""
        )
        return html


def predict(
    fit: FitResult, inputs: Mapping[str, ArrayLike], estimand: Estimand, beyond: Method = "forecast"
) -> Prediction:
    """See `FitResult.predict`."""
    law = registry.law(fit.law)
    if beyond not in ("law", "forecast"):
        msg = f"beyond the evidence answers the law or the forecast, not {beyond!r}"
        raise UsageError(msg)
    if estimand not in ("population", "benchmark"):
        msg = f"there is no estimand '{estimand}'; it is population (new problems) or benchmark (these problems)"
        raise UsageError(msg)
    if estimand == "benchmark" and law.rates is None and law is not FORECAST:
        msg = (
            f"law '{law.name}' says nothing of these very problems, so it predicts for the population only; "
            "for the benchmark estimand fit a count law (beta-binomial)"
        )
        raise UsageError(msg)
    timed = law.timed
    wanted = tuple(i.column for i in law.inputs)
    sized = timed and work_columns.are_sizes(wanted, inputs)
    try:
        given = (
            [np.asarray(x, dtype=np.float64) for x in inputs.values()]
            if sized
            else law.columns(inputs)
        )
        columns = np.broadcast_arrays(*(np.atleast_1d(x) for x in given))
    except UsageError:
        raise
    except (TypeError, ValueError):
        shown = ", ".join(f"{name}={value!r}" for name, value in inputs.items())
        msg = f"inputs are numbers, or lists of numbers of one length, not {shown}"
        raise UsageError(msg) from None
    asked = dict(zip(inputs if sized else wanted, columns, strict=True))
    units = {i.column: (0.0 if timed else i.grid[0], i.unit) for i in law.inputs}
    for name, column in asked.items():
        least, unit = units.get(name, (0.0, ""))
        bad = column[~(np.isfinite(column) & (column >= least))]
        if bad.size:
            msg = f"{name} must be at least {least:g} {unit}".rstrip() + f", not {bad[0]:g}"
            raise UsageError(msg)
        if law is FORECAST and column.max(initial=0) > LAST:
            msg = f"a forecast reaches to {LAST:,} {unit}, not to {column.max():,.0f}"
            raise UsageError(msg)
    rows = []
    for group in fit.groups:
        own = law.fitted(tuple(group.params), fit.objective)
        at = work_columns.of_sizes(wanted, group.model, asked) if sized else asked
        rows += _predict_group(fit, group, own, asked, at, estimand, beyond)
    return Prediction(fit, law.output.name, tuple(rows))


def _predict_group(
    fit: FitResult,
    group: GroupFit,
    law: Law,
    asked: Mapping[str, FloatArray],
    at: Mapping[str, FloatArray],
    estimand: Estimand,
    beyond: Method,
) -> list[PredictionRow]:
    """Predictions at `at`, the inputs of the law; rows name the settings as `asked`."""
    first = next(iter(at.values()))
    settings = [
        {name: _plain(column[i]) for name, column in asked.items()} for i in range(len(first))
    ]
    outside = _outside(group, law, at)
    foretold = np.zeros(len(first), dtype=bool)
    if law is FORECAST:
        foretold[:] = estimand == "benchmark" or not group.usable
    elif beyond == "forecast" and group.usable and group.counts is not None and "samples" in at:
        foretold = outside & (first <= LAST)
    rows: dict[int, PredictionRow] = {}
    if foretold.any():
        found = _forecast(fit, group, first[foretold], estimand)
        for i, (estimate, interval, reason) in zip(
            np.flatnonzero(foretold).tolist(), found, strict=True
        ):
            rows[i] = PredictionRow(
                group.by,
                settings[i],
                estimate,
                interval,
                estimand,
                bool(outside[i]),
                reason,
                "forecast",
            )
    own = [i for i in range(len(first)) if not foretold[i]]
    if own and not group.usable:
        why_not = group.why_not()
        for i in own:
            rows[i] = PredictionRow(
                group.by, settings[i], None, None, estimand, bool(outside[i]), why_not
            )
    elif own:
        here = {name: column[own] for name, column in at.items()}
        estimates: FloatArray = law.value(group.theta, here)
        draws = None if group.draws is None else law.value(group.draws, here)
        if estimand == "benchmark":
            estimates, draws = _benchmark(group, law, here, fit.interval.seed)
        reason = None if draws is not None else _no_draws(fit)
        method: Method = "forecast" if law is FORECAST else "law"
        for j, i in enumerate(own):
            interval = None if draws is None else _quantiles(draws[:, j], fit.interval.level)
            rows[i] = PredictionRow(
                *(group.by, settings[i], float(estimates[j]), interval, estimand),
                *(bool(outside[i]), reason, method),
            )
    return [rows[i] for i in range(len(first))]


def _outside(group: GroupFit, law: Law, at: Mapping[str, FloatArray]) -> NDArray[np.bool_]:
    """Whether each setting lies beyond the evidence; of runtimes, outside the range of any input."""
    first = next(iter(at.values()))
    if not law.timed or group.points is None:
        return np.asarray(first > group.reach)
    out = np.zeros(len(first), dtype=bool)
    for name, seen in group.points[0].items():
        out |= (at[name] < seen.min()) | (at[name] > seen.max())
    return out


def _forecast(
    fit: FitResult, group: GroupFit, k: FloatArray, estimand: Estimand
) -> list[tuple[float | None, tuple[float, float] | None, str | None]]:
    """Estimate, interval and reason at each k, of the forecaster on the group's own counts."""
    from scaling.fitting.forecast import forecast

    assert group.counts is not None  # noqa: S101
    spec = fit.interval
    found = forecast(
        group.counts,
        k,
        level=spec.level,
        seed=spec.seed,
        estimand=estimand,
        stopped=any(c.code == "success-stopped" for c in group.cautions),
    )
    if found.refused:
        return [(None, None, found.refused)] * len(k)
    return [
        (float(e), (float(low), float(high)) if low < high else None, None)
        for e, low, high in zip(found.estimate, found.low, found.high, strict=True)
    ]


def _benchmark(
    group: GroupFit, law: Law, at: Mapping[str, FloatArray], seed: int
) -> tuple[FloatArray, FloatArray | None]:
    """Posterior-predictive coverage of these very problems.

    Mean over problems of 1 - m(n+k, c)/m(n, c) with m(n, c) = E p^c (1-p)^(n-c); the interval draws
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
        rates = law.draw_rates(theta, counts.n[problems], counts.c[problems], rng)
        log_fail = np.log1p(-np.minimum(rates, 1 - 1e-16))
        draws.append([-np.expm1(x * log_fail).mean() for x in k])
    return estimates, np.array(draws)


def target(fit: FitResult, value: float) -> Prediction:
    """See `FitResult.target`."""
    law = registry.law(fit.law)
    if law.timed:
        msg = f"law '{law.name}' has {len(law.inputs)} inputs, so no single budget reaches a target; use --at"
        raise UsageError(msg)
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
                *(
                    group.by,
                    at,
                    estimate,
                    interval,
                    "population",
                    bool(found > group.reach),
                    reason,
                ),
                "forecast" if registry.law(fit.law) is FORECAST else "law",
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
    if method in ("percentile", "bca"):
        return "no bootstrap interval could be had for this group; see its cautions"
    return f"made with --interval {method}: predictions have intervals with --interval percentile"


def _plain(x: float) -> float | int:
    return int(x) if float(x).is_integer() else float(x)
