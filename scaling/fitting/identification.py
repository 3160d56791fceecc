"""Whether counts identify a law, or a simpler distribution of success rates explains them as well.

At its ends a law comes to simpler distributions: one success rate for all problems (alpha of a Beta
to infinity), problems solved always or never (alpha to zero), a share of problems never solved and one
rate for the others. There its parameters mean nothing, and the likelihood is flat towards them. The
law counts as identified where its log-likelihood beats each of its limits by half the 95% point of a
chi-square with as many degrees of freedom as it has parameters more. The limits lie at the boundary
of the parameters, where that point is too high rather than too low: data without structure are taken
for structured in at most 5% of cases (`tests/fitting/test_identification.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.core import registry
from scaling.core.law import Law
from scaling.core.law import Limit as Kind
from scaling.core.objective import OBJECTIVES, Objective
from scaling.fitting.likelihood import fit_counts
from scaling.fitting.passk import UniqueCounts

FloatArray = NDArray[np.float64]

LEVEL = 0.95


class Limit(NamedTuple):
    """A simpler distribution of success rates.

    Attributes:
        kind: its name.
        parameters: how many it has.
        log_likelihood: at its maximum, without binomial coefficients.
        why: what to tell where the law does not beat it.
    """

    kind: Kind
    parameters: int
    log_likelihood: float
    why: str


def limits(
    law: Law, counts: UniqueCounts, objective: Objective = OBJECTIVES["likelihood"]
) -> list[Limit]:
    """The law's degenerate limits, fitted to the counts."""
    return [_LIMITS[kind](_Rates(counts, objective)) for kind in law.limits]


def not_identified(
    law: Law,
    counts: UniqueCounts,
    log_likelihood: float,
    objective: Objective = OBJECTIVES["likelihood"],
) -> str | None:
    """Why the counts do not identify the law, None where they do.

    Args:
        law: the law.
        counts: distinct counts with their multiplicities.
        log_likelihood: the law's maximum, without binomial coefficients and prior.
        objective: what was maximised.
    """
    return too_little(law, counts) or like_a_limit(law, counts, log_likelihood, objective)


def too_little(law: Law, counts: UniqueCounts) -> str | None:
    """Why no counts like these could identify the law, whatever they were; None where they might."""
    if counts.multiplicity.sum() == 1:
        return "one problem says nothing of how success rates differ between problems."
    if not counts.c.any() or np.array_equal(counts.c, counts.n):
        which = "every" if counts.c.any() else "no"
        return f"{which} attempt was right, so how success rates differ cannot be seen."
    most, needed = int(counts.n.max()), len(law.params)
    if most == 1:
        return (
            "with one attempt a problem, how success rates differ between problems cannot be seen."
        )
    if most < needed:
        return (
            f"{most} attempts a problem tell {most} moments of the success rates, and the law has {needed} "
            "parameters."
        )
    return None


def like_a_limit(
    law: Law, counts: UniqueCounts, log_likelihood: float, objective: Objective
) -> str | None:
    """Which simpler distribution explains the counts as well; None where the law beats them all."""
    from scipy.special import chdtri

    for limit in limits(law, counts, objective):
        more = len(law.params) - limit.parameters
        if 2 * (log_likelihood - limit.log_likelihood) < float(chdtri(more, 1 - LEVEL)):
            return limit.why
    return None


class _Rates:
    """The log-likelihood of counts whose success rates take a few values."""

    def __init__(self, counts: UniqueCounts, objective: Objective) -> None:
        self.counts, self.objective = counts, objective
        self.n, self.c, self.weight = (x.astype(float) for x in counts)
        m = objective.censor
        self.beyond = np.zeros(len(self.n), dtype=bool) if m is None else self.c >= m

    def each(self, rate: float) -> FloatArray:
        """Log-probability of each of the counts at one rate, without binomial coefficients."""
        from scipy.special import betainc, xlog1py, xlogy

        out = np.asarray(xlogy(self.c, rate) + xlog1py(self.n - self.c, -rate))
        if self.beyond.any():
            m = float(self.objective.censor or 0)
            chance = betainc(m, self.n[self.beyond] - m + 1, rate)
            out[self.beyond] = np.log(np.maximum(chance, 1e-300))
        return out

    def mean(self) -> float:
        """The pooled success rate."""
        return float(self.weight @ self.c / (self.weight @ self.n))

    def best(self, value: Callable[[FloatArray], float], starts: list[list[float]]) -> float:
        """The largest value over coordinates without bounds."""
        from scipy.optimize import minimize

        options = {"maxiter": 500}
        return max(
            -float(minimize(lambda u: -value(u), start, method="BFGS", options=options).fun)
            for start in starts
        )


def _logistic(u: float) -> float:
    return float(1.0 / (1.0 + np.exp(-np.clip(u, -30.0, 30.0))))


def _logit(p: float) -> float:
    p = min(max(p, 1e-9), 1 - 1e-9)
    return float(np.log(p) - np.log1p(-p))


def _one_rate(rates: _Rates) -> Limit:
    mean = rates.mean()
    if rates.beyond.any():
        value = rates.best(
            lambda u: float(rates.weight @ rates.each(_logistic(u[0]))), [[_logit(mean)]]
        )
    else:
        value = float(rates.weight @ rates.each(mean))
    why = "the counts do not tell problems apart: one success rate for all explains them as well."
    return Limit("one-rate", 1, value, why)


def _all_or_nothing(rates: _Rates) -> Limit:
    value, n, c = -np.inf, rates.n, rates.c
    if np.all((c == 0) | (c == n)):
        solved = float(rates.weight[c > 0].sum())
        total = float(rates.weight.sum())
        value = solved * np.log(solved / total) + (total - solved) * np.log1p(-solved / total)
    why = "every problem is solved always or never, so how success rates spread in between cannot be seen."
    return Limit("all-or-nothing", 1, value, why)


def _mixed(rates: _Rates, share: float, low: float, high: float) -> float:
    with np.errstate(divide="ignore"):
        both = np.logaddexp(np.log(share) + rates.each(low), np.log1p(-share) + rates.each(high))
    return float(rates.weight @ both)


def _never_and_one_rate(rates: _Rates) -> Limit:
    unsolved = rates.c == 0
    some = rates.weight[~unsolved]
    share = float(rates.weight[unsolved].sum() / rates.weight.sum())
    rate = float(some @ rates.c[~unsolved] / (some @ rates.n[~unsolved]))
    value = rates.best(
        lambda u: _mixed(rates, _logistic(u[0]), 0.0, _logistic(u[1])),
        [
            [_logit(0.9 * share), _logit(rate)],
            [_logit(0.3 * share + 1e-3), _logit(rate * (1 - share))],
        ],
    )
    if rate == 1.0:
        value = max(value, _all_or_nothing(rates).log_likelihood)
    why = "a share of problems that are never solved and one success rate for the others explain the counts as well."
    return Limit("never-and-one-rate", 2, value, why)


def _two_rates(rates: _Rates) -> Limit:
    order = np.argsort(rates.c / rates.n)
    upto = np.cumsum(rates.weight[order]) / rates.weight.sum()
    starts = []
    for cut in (0.3, 0.6, 0.85):
        low = order[upto <= max(cut, upto[0])]
        high = np.setdiff1d(order, low)
        if len(high):
            means = [
                float((rates.weight[x] @ rates.c[x] + 0.1) / (rates.weight[x] @ rates.n[x] + 0.2))
                for x in (low, high)
            ]
            starts.append([_logit(cut), *(_logit(m) for m in means)])
    value = rates.best(lambda u: _mixed(rates, *(_logistic(x) for x in u)), starts)
    return Limit("two-rates", 3, value, "two success rates explain the counts as well.")


def _one_beta(rates: _Rates) -> Limit:
    law = registry.law("beta-binomial")
    plain = OBJECTIVES["censored-likelihood" if rates.objective.censor else "likelihood"]
    value = float(fit_counts(law, rates.counts, plain).log_likelihood[0])
    why = "one Beta distribution explains the counts as well; fit beta-binomial."
    return Limit("one-beta", 2, value, why)


_LIMITS: dict[Kind, Callable[[_Rates], Limit]] = {
    "one-rate": _one_rate,
    "all-or-nothing": _all_or_nothing,
    "never-and-one-rate": _never_and_one_rate,
    "two-rates": _two_rates,
    "one-beta": _one_beta,
}
