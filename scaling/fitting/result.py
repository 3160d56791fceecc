"""The result of a fit: self-contained, so that predicting and allocating never reopen the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core import registry
from scaling.core.caution import Caution
from scaling.data.evidence import ResourceUse, Scalar
from scaling.errors import NotUsableError
from scaling.fitting import stopped
from scaling.fitting.passk import UniqueCounts
from scaling.fitting.transfer import Transfer

if TYPE_CHECKING:
    import os

    from scaling.costs import SampleCosts
    from scaling.curves import CostErrors, Menu, ValueDraws
    from scaling.fitting.prediction import Prediction

FloatArray = NDArray[np.float64]
Status = Literal["ok", "not-identified", "not-converged"]
Estimand = Literal["population", "benchmark"]


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty.

    Attributes:
        estimate: None where the data do not identify it.
        interval: None where none could be had; never of zero width for want of information.
        se: standard deviation over bootstrap replicates, None without them.
        at_bound: the estimate is at the edge of its support.
    """

    estimate: float | None
    interval: tuple[float, float] | None = None
    se: float | None = None
    at_bound: bool = False


@dataclass(frozen=True)
class IntervalSpec:
    """How the intervals of a result were made."""

    method: Literal["percentile", "bca", "jackknife", "profile", "none"]
    level: float
    replicates: int
    seed: int


@dataclass(frozen=True)
class Problems:
    """Counts by name, for budgets of single problems; each of shape (P,).

    Families of related problems, where the log names them, are numbers in the order of their names, which stay
    in the log.
    """

    task: NDArray[np.str_]
    problem: NDArray[np.str_]
    n: NDArray[np.int64]
    c: NDArray[np.int64]
    cluster: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class GroupFit:
    """One law fitted to one group.

    Attributes:
        law: the law's name.
        by: the group's columns.
        n_problems, n_samples: size of the evidence.
        params: by name; estimates are None where the group is not usable.
        derived: functions of the parameters.
        fit: `loss` (the objective at its minimum), `log_likelihood`, `aic`, `bic` (None for curve
            objectives), `mae`, `sd_abs_error`, `max_abs_residual` (fit against the unbiased curve at 100
            log-spaced numbers of samples, repeats kept), `held_out_mae` (the same on problems that the fit
            did not see, five folds).
        counts: distinct (n, c) with multiplicities; None where the evidence was a curve.
        points: the curve, where the evidence was one: (inputs, values).
        problems: counts by name, None where there are too many to carry.
        max_n: the most attempts at any problem (the largest input of a curve).
        reach: up to where the fit had evidence; beyond it a prediction is an extrapolation.
        stop_rule: of the log.
        stop_batch: attempts in a batch, where attempts stop at the first success and coverage is Kaplan and
            Meier's; None where it is unbiased pass@k.
        model: the one model that made the attempts, None where it has no name or there are several.
        draws: bootstrap replicates of the parameters, shape (D, p) with D <= 1,000, or None.
        resources: use per sample.
        status: "ok", "not-identified" or "not-converged".
        cautions: what a reader must know.
        transfer: posteriors of the problems' rates with other models' logs, in the order of `problems`; None
            without siblings.
    """

    law: str
    by: Mapping[str, Scalar]
    n_problems: int
    n_samples: int
    params: Mapping[str, Estimate]
    derived: Mapping[str, Estimate]
    fit: Mapping[str, float | None]
    counts: UniqueCounts | None
    points: tuple[Mapping[str, FloatArray], FloatArray] | None
    problems: Problems | None
    max_n: int
    reach: int
    stop_rule: str | None
    stop_batch: int | None
    model: str | None
    draws: FloatArray | None
    resources: Mapping[str, ResourceUse]
    status: Status
    cautions: tuple[Caution, ...]
    transfer: Transfer | None = None

    @property
    def usable(self) -> bool:
        """Whether it can predict and be allocated to."""
        return self.status == "ok"

    @property
    def converged(self) -> bool:
        """Whether the optimiser ended at an optimum."""
        return self.status != "not-converged"

    @cached_property
    def theta(self) -> FloatArray:
        """The parameters, shape (p,).

        Raises:
            NotUsableError: where the data do not identify them.
        """
        values = [p.estimate for p in self.params.values()]
        if not self.usable or any(v is None for v in values):
            raise NotUsableError(self.why_not())
        return np.array(values, dtype=np.float64)

    def why_not(self) -> str:
        """Why the group cannot answer, in one sentence."""
        reasons = [
            c.message for c in self.cautions if c.code in ("not-identified", "not-converged")
        ]
        return f"the fit of {self.label()} is {self.status}: {' '.join(reasons)}"

    def label(self) -> str:
        """`level=hard, model=small`, or `all data`."""
        return ", ".join(f"{k}={v}" for k, v in self.by.items()) or "all data"

    def curve(self, k: ArrayLike) -> FloatArray:
        """The fitted law at numbers of its single input, shape (K,)."""
        model = registry.law(self.law)
        return model.value(self.theta, {model.inputs[0].column: np.atleast_1d(k)})

    def band(self, k: ArrayLike, level: float = 0.95) -> tuple[FloatArray, FloatArray] | None:
        """Pointwise interval of the law over the replicates, each end of shape (K,)."""
        if self.draws is None or not self.usable:
            return None
        model = registry.law(self.law)
        values = model.value(self.draws, {model.inputs[0].column: np.atleast_1d(k)})
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def observed(self, points: int = 40) -> tuple[FloatArray, FloatArray]:
        """Coverage at log-spaced numbers of samples: (k, coverage).

        Unbiased pass@k up to the smallest n; where attempts stop at the first success, Kaplan-Meier coverage
        up to the largest; where the evidence was a curve, its points.
        """
        if self.counts is None:
            if self.points is None:
                return np.empty(0), np.empty(0)
            return next(iter(self.points[0].values())), self.points[1]
        k = stopped.grid(self.counts, self.stop_batch, points)
        share = self.counts.multiplicity / self.n_problems
        return k.astype(np.float64), stopped.curve(self.counts, k, share, self.stop_batch)

    def posterior(self, draws: int, seed: int = 0) -> FloatArray:
        """Draws of the success rate of each problem given its own counts, shape (draws, U).

        Columns are the distinct (n, c) of `counts`; the posterior at the fitted parameters (empirical
        Bayes).

        Raises:
            UsageError: for a law that says nothing of single problems.
            NotUsableError: for a group without parameters.
        """
        model, rng = registry.law(self.law), np.random.default_rng(seed)
        empty = np.empty(0)
        n, c = (empty, empty) if self.counts is None else (self.counts.n, self.counts.c)
        rates = model.draw_rates(self.theta, np.tile(n, draws), np.tile(c, draws), rng)
        return rates.reshape(draws, len(n))


@dataclass(frozen=True)
class FitResult:
    """One law fitted to one sweep, by group.

    Attributes:
        law, objective, preset: what was fitted, and how.
        interval: how intervals were made.
        groups: one fit each.
        data: `sha256` of the sorted sufficient statistics, `format`, `rows`.
        bins: cut points of binned columns; the groups hold bin indices.
        tool: name and version that made it.
        siblings: `sha256`, `format`, `rows` of the siblings' log, None without.
    """

    law: str
    objective: str
    preset: str | None
    interval: IntervalSpec
    groups: tuple[GroupFit, ...]
    data: Mapping[str, Any]
    bins: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    tool: Mapping[str, str] = field(default_factory=dict)
    siblings: Mapping[str, Any] | None = None

    @property
    def usable(self) -> bool:
        """Whether any group can answer."""
        return any(g.usable for g in self.groups)

    @property
    def timed(self) -> bool:
        """Whether it is of measured runtimes, not of verdicts."""
        return registry.law(self.law).timed

    def predict(
        self,
        *,
        estimand: Estimand = "population",
        beyond: Literal["forecast", "law"] = "forecast",
        **inputs: ArrayLike,
    ) -> Prediction:
        """The output at settings of the inputs, for each group.

        Args:
            estimand: `population` (new problems like these) or `benchmark` (these problems, new samples;
                count laws and the forecast only).
            beyond: who answers for more samples than the log has evidence for: the forecaster
                (`scaling.fitting.forecast`), where counts of problems are known, or the law itself.
            inputs: for example `samples=[1, 10, 100]`.

        Raises:
            UsageError: for an input that the law does not have, or values outside its range.
        """
        from scaling.fitting import prediction

        return prediction.predict(self, inputs, estimand, beyond)

    def target(self, value: float) -> Prediction:
        """The smallest number of samples at which the law reaches `value`, for each group."""
        from scaling.fitting import prediction

        return prediction.target(self, value)

    def saturation(self, gain: float) -> Prediction:
        """The number of samples from which one more buys at most `gain`, for each group."""
        from scaling.fitting import prediction

        return prediction.saturation(self, gain)

    def menu(
        self,
        *,
        values: str = "posterior",
        classes: str = "group",
        costs: SampleCosts | None = None,
        skip: bool = False,
        extrapolate: bool = False,
    ) -> Menu:
        """The actions on offer with their values and costs, for the allocators.

        Args:
            values: `posterior` (expectations under the fit) or `plugin` (raw rates, with a caution).
            classes: `group`, or `problem` (each problem's own posterior given its counts, at the fitted
                parameters, or with its siblings' where the fit has them; count laws only).
            costs: what a sample costs; what is not given comes from the log's own resources.
            skip: whether doing nothing is on offer.
            extrapolate: whether to go beyond the evidence: the most attempts at any problem for a count
                law, the fewest for a curve.
        """
        from scaling.fitting import menu

        return menu.menu(
            self, values=values, classes=classes, costs=costs, skip=skip, extrapolate=extrapolate
        )

    def intervals(self, menu: Menu) -> Menu:
        """The same small menu with an interval for the value of each rung."""
        from scaling.fitting import menu as menus

        return menus.intervals(self, menu)

    def draws(
        self, count: int | None = None, seed: int = 0, *, classes: str = "group"
    ) -> ValueDraws | None:
        """Joint draws of the values of its menu, for risk; None where it has no replicates.

        Args:
            count: how many; as many as it has replicates, or 256 for problems, where None.
            seed: of posterior draws.
            classes: `group` or `problem`, as for `menu`.
        """
        from scaling.fitting import menu_draws

        return menu_draws.draws(self, count, seed, classes=classes)

    def cost_errors(self, costs: SampleCosts | None = None) -> CostErrors:
        """What is not known of the costs of its menu; `costs` as for `menu`."""
        from scaling.costs import SampleCosts
        from scaling.fitting.menu_draws import FitCostErrors

        return FitCostErrors(self, costs or SampleCosts())

    def to_json(self, *, indent: int | None = 1) -> str:
        """The fit document as text."""
        from scaling.fitting import document

        return document.dumps(self, indent=indent)

    @staticmethod
    def from_json(text: str) -> FitResult:
        """A result from the text of a fit document.

        Raises:
            InputError: saying what is wrong and where.
        """
        from scaling.fitting import document

        return document.loads(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fit document; the file appears whole or not at all."""
        from scaling.core.files import write_text

        write_text(path, self.to_json() + "\n")

    @staticmethod
    def load(path: str | os.PathLike[str]) -> FitResult:
        """Read a fit document.

        Raises:
            InputError: no such file, or not a fit document.
        """
        from scaling.fitting import document

        return document.load(path)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a group and parameter."""
        import pandas as pd

        rows = []
        for g in self.groups:
            for name, p in {**g.params, **g.derived}.items():
                low, high = p.interval or (None, None)
                rows.append(
                    {
                        **g.by,
                        "parameter": name,
                        "estimate": p.estimate,
                        "low": low,
                        "high": high,
                        "se": p.se,
                        "at_bound": p.at_bound,
                        "n_problems": g.n_problems,
                        "n_samples": g.n_samples,
                        "status": g.status,
                    }
                )
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        frame = self.to_frame().to_html(index=False, float_format=lambda x: f"{x:.4g}", na_rep="")
        seen = dict.fromkeys((c.code, c.message) for g in self.groups for c in g.cautions)
        from html import escape

        notes = "".join(f"<li><b>{escape(code)}</b>: {escape(text)}</li>" for code, text in seen)
        how = f"{self.interval.level:.0%} {self.interval.method} intervals"
        head = f"{escape(self.law)} by {escape(self.objective)}, {how}"
        return f"<p>{head}</p>{frame}" + (f"<ul>{notes}</ul>" if notes else "")
