"""Uncertainty of observed coverage, without the assumption that a law holds.

Two questions, two errors. For new problems from the same population, problems are the units, and how they differ
already contains the noise of their attempts: nothing is added for it. For these very problems, only the noise of
the attempts counts, and it takes a distribution of success rates to tell it, since a problem that was never
solved in n attempts shows none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.distinct import unique_counts
from scaling.data.evidence import Counts
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting.passk import pass_at_k
from scaling.fitting.result import Estimand

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Method = Literal["auto", "normal", "beta", "bootstrap-t", "posterior", "jackknife"]
Rates = Callable[[FloatArray, FloatArray, np.random.Generator], FloatArray]
"""From n and c of problems to one posterior draw of each success rate."""

METHODS: dict[Estimand, tuple[Method, ...]] = {
    "population": ("beta", "normal", "bootstrap-t"),
    "benchmark": ("posterior", "jackknife"),
}
"""What each estimand may be had by, the default first."""

DEFAULT_LAW = "beta-binomial"
DRAWS = 1_000
_CELLS = 2_000_000  # draws x problems held together


class CoverageInterval(NamedTuple):
    """Coverage with its error at each k; arrays of shape (K,).

    Attributes:
        k: numbers of attempts.
        coverage: unbiased estimates.
        se: standard errors.
        low, high: ends of the interval.
        estimand: which question it answers.
        method: by which the interval was made.
        units: problems, or clusters, that vary; 1 where they are held fixed.
    """

    k: IntArray
    coverage: FloatArray
    se: FloatArray
    low: FloatArray
    high: FloatArray
    estimand: Estimand
    method: Method
    units: int


class ShareInterval(NamedTuple):
    """A mean over problems with its error; arrays of shape (K,)."""

    mean: FloatArray
    se: FloatArray
    low: FloatArray
    high: FloatArray


def coverage_interval(
    counts: Counts,
    k: ArrayLike,
    *,
    level: float = 0.95,
    estimand: Estimand = "population",
    method: Method = "auto",
    law: str | None = None,
    seed: int = 0,
) -> CoverageInterval:
    """Observed coverage with an interval that holds for few problems and near 0 and 1.

    Population, with m the coverage and se its standard error:
      - `beta` (the default): Clopper and Pearson's interval for x = m N successes in N trials, where
        N = m(1-m)/se^2 is the number of yes-or-no problems of the same standard error, reduced for its own
        uncertainty by (z/t)^2; Korn and Graubard (1998), Survey Methodology 24. Where all problems agree, N is
        their number. It is too short only where rare problems that the log may lack carry the mean.
      - `normal`: m +- t se, with Student's t. Too short where few problems carry the mean.
      - `bootstrap-t`: studentised means of resampled problems.
    Benchmark:
      - `posterior` (the default): posterior draws of each problem's rate, new counts from these, and the error of
        the estimate they make; the interval reflects the quantiles of that error. In simulations of 60 problems
        with 30 attempts, 88 to 98% of the intervals at 95% hold the truth, depending on how rates are spread.
        Where no attempt was right, the upper end is the coverage that makes this as unlikely as 1 - level.
      - `jackknife`: attempts left out one at a time, and a normal interval; needs k < n, and takes problems
        that were never solved to be impossible.

    Args:
        counts: attempts and successes of problems, from `Sweep.groups`; clusters are the units, where named.
        k: numbers of attempts, whole, between 1 and the fewest attempts at any problem.
        level: of the interval.
        estimand: `population` (new problems like these) or `benchmark` (these problems, new samples).
        method: as above.
        law: count law of the posterior draws; by default beta-binomial or, where it has the better AIC (two
            parameters a rate, less one), the nonparametric maximum likelihood estimate, which always exists.
        seed: of resampling and draws.

    Raises:
        InputError: for k beyond the attempts, or a log whose attempts stopped at a success.
        UsageError: for an estimand, method, level or seed that does not exist.
    """
    at = _whole(counts, k)
    if estimand not in METHODS:
        raise UsageError(
            f"there is no estimand '{estimand}'; it is population (new problems) or benchmark (these problems)"
        )
    chosen = METHODS[estimand][0] if method == "auto" else method
    if chosen not in METHODS[estimand]:
        raise UsageError(
            f"an interval for the {estimand} is not had by '{method}'; it is one of auto, "
            f"{', '.join(METHODS[estimand])}"
        )
    if not 0 < level < 1:
        raise UsageError(f"a level lies between 0 and 1, not at {level:g}; 0.95 is usual")
    mean = pass_at_k(counts.n[:, None], counts.c[:, None], at).mean(axis=0)
    if estimand == "benchmark":
        if chosen == "jackknife":
            se = jackknife_se(counts, at)
            low, high = mean - _z(level) * se, mean + _z(level) * se
        else:
            se, low, high = _posterior(counts, at, mean, level, _rates(counts, law), seed)
        units = 1
    else:
        units = _units(counts)
        if units < 2:
            raise InputError(
                "one problem (or cluster) says nothing of how problems differ, so the population has no "
                "interval; log more problems, or ask for the benchmark estimand"
            )
        se = population_se(counts, at)
        if chosen == "beta":
            low, high = _korn_graubard(mean, se, units, level)
        elif chosen == "normal":
            t = _t(level, units - 1)
            low, high = mean - t * se, mean + t * se
        else:
            low, high = _bootstrap_t(counts, at, mean, se, level, seed)
    low, high = np.clip(low, 0.0, mean), np.clip(high, mean, 1.0)
    return CoverageInterval(at, mean, se, low, high, estimand, chosen, units)


def population_se(counts: Counts, k: ArrayLike) -> FloatArray:
    """Standard error of coverage as a mean over new problems, shape (K,).

    sd_i(pass_i@k) / sqrt(P), with P - 1 in the variance. Where clusters are named, residuals are added up
    within them first: sqrt(G/(G-1) sum_g (sum_{i in g} (f_i - mean))^2) / P (Miller 2024, Adding Error Bars to
    Evals, section 2.2). The noise of attempts is part of how problems differ and is not added.

    Args:
        counts: attempts and successes of problems.
        k: numbers of attempts, whole, between 1 and the fewest attempts at any problem.

    Raises:
        InputError: for k out of range, or a log whose attempts stopped at a success.
    """
    at = _whole(counts, k)
    return _se(counts.cluster, pass_at_k(counts.n[:, None], counts.c[:, None], at))


def share_interval(counts: Counts, share: FloatArray, level: float = 0.95) -> ShareInterval:
    """The mean over new problems of any share in [0, 1] that each problem has, with the interval `beta`.

    Args:
        counts: whose clusters are the units, where named; at least two.
        share: of each problem, shape (P, K).
        level: of the interval.
    """
    mean, se = share.mean(axis=0), _se(counts.cluster, share)
    low, high = _korn_graubard(mean, se, _units(counts), level)
    return ShareInterval(mean, se, np.clip(low, 0.0, mean), np.clip(high, mean, 1.0))


def mean_error(
    values: FloatArray, cluster: NDArray[np.str_] | None, level: float = 0.95
) -> tuple[float, float]:
    """Standard error of a mean over new problems, and half the width of its Student t interval.

    Args:
        values: of each problem, shape (P,).
        cluster: families of problems, shape (P,), or None; at least two units.
        level: of the interval.
    """
    se = float(_se(cluster, values[:, None])[0])
    units = len(values) if cluster is None else len(np.unique(cluster))
    return se, _t(level, units - 1) * se


def _se(cluster: NDArray[np.str_] | None, f: FloatArray) -> FloatArray:
    total = _by_cluster(cluster, f - f.mean(axis=0))
    units = len(total)
    if units < 2:
        return np.full(f.shape[1], np.nan)
    return np.asarray(np.sqrt(units / (units - 1) * (total**2).sum(axis=0)) / len(f))


def benchmark_se(
    counts: Counts, k: ArrayLike, *, law: str | None = None, seed: int = 0
) -> FloatArray:
    """Standard error of coverage of these very problems under new attempts, shape (K,).

    sqrt(sum_i Var(pass_i@k | p_i)) / P, averaged over posterior draws of p_i. Resampling the attempts of the log
    instead is biased: a problem without a success never gets one.

    Args:
        counts: attempts and successes of problems.
        k: numbers of attempts, whole, between 1 and the fewest attempts at any problem.
        law: count law of the posterior; by default as in `coverage_interval`.
        seed: of the draws.

    Raises:
        InputError: for k out of range, or a log whose attempts stopped at a success.
        NotUsableError: where the law is not identified.
    """
    at = _whole(counts, k)
    _, variance = _errors(counts, at, _rates(counts, law), seed, DRAWS)
    return np.asarray(np.sqrt(variance))


def jackknife_se(counts: Counts, k: ArrayLike) -> FloatArray:
    """Standard error of coverage of these very problems, by leaving out attempts, shape (K,).

    Of each problem (n-1)/n sum_j (f_(j) - mean)^2 over the n attempts left out one at a time, which takes two
    values only: pass@k of (n-1, c-1) and of (n-1, c). NaN where k >= n. It needs no law, errs on the large side
    (Efron and Stein 1981), but sees no error in a problem that was never solved.

    Args:
        counts: attempts and successes of problems.
        k: numbers of attempts, whole, between 1 and the fewest attempts at any problem.

    Raises:
        InputError: for k out of range, or a log whose attempts stopped at a success.
    """
    at = _whole(counts, k)
    n, c = counts.n[:, None].astype(float), counts.c[:, None].astype(float)
    less = np.maximum(n - 1, 1)
    with_failure = pass_at_k(less, np.minimum(c, less), at)
    with_success = pass_at_k(less, np.clip(c - 1, 0, less), at)
    # Two values d apart, taken c and n-c times: their squares around the mean add up to c (n-c) / n d^2.
    spread = c * (n - c) / n * (with_failure - with_success) ** 2
    variance = ((n - 1) / n * spread).sum(axis=0) / len(n) ** 2
    return np.where(at < counts.n.min(), np.sqrt(variance), np.nan)


def unsolved_bound(n: ArrayLike, level: float = 0.95) -> FloatArray:
    """The largest success rate that `n` failures in a row leave credible, 1 - (1-level)^(1/n).

    About 3/n at 95%: the "rule of three" (Hanley and Lippman-Hand 1983).

    Args:
        n: attempts, all of which failed; at least 1.
        level: for example 0.95.

    Raises:
        InputError: for n below 1 or a level out of range.
    """
    attempts = np.asarray(n, dtype=np.float64)
    if not np.all(attempts >= 1):
        raise InputError(f"a bound needs at least one attempt, not {attempts.min():g}")
    if not 0 < level < 1:
        raise InputError(f"a level lies between 0 and 1, not at {level:g}; 0.95 is usual")
    return np.asarray(-np.expm1(np.log1p(-level) / attempts))


def _posterior(
    counts: Counts, k: IntArray, mean: FloatArray, level: float, rates: Rates, seed: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    errors, variance = _errors(counts, k, rates, seed, DRAWS)
    below, above = np.quantile(errors, [(1 - level) / 2, (1 + level) / 2], axis=0)
    low, high = mean - above, mean - below
    if not counts.c.any():
        # prod (1-p_i)^n_i >= 1 - level allows the most coverage where all p_i are alike.
        high = -np.expm1(k * np.log1p(-level) / counts.n.sum())
    return np.sqrt(variance), low, high


def _errors(
    counts: Counts, k: IntArray, rates: Rates, seed: int, draws: int
) -> tuple[FloatArray, FloatArray]:
    """Errors of coverage estimated from new attempts, shape (draws, K), and their variance, (K,)."""
    rng = np.random.default_rng(seed)
    n, c = counts.n.astype(float), counts.c.astype(float)
    errors, squares, done = [], np.zeros(len(k)), 0
    block = max(1, _CELLS // len(n))
    while done < draws:
        size = min(block, draws - done)
        p = rates(np.tile(n, size), np.tile(c, size), rng).reshape(size, len(n))
        again = rng.binomial(counts.n, p)
        log_fail = np.log1p(-np.minimum(p, 1 - 1e-16))
        part = np.empty((size, len(k)))
        for j, x in enumerate(k):
            error = pass_at_k(counts.n, again, x) + np.expm1(x * log_fail)
            part[:, j] = error.mean(axis=1)
            squares[j] += (error**2).sum()
        errors.append(part)
        done += size
    # Errors of different problems are independent, so their squares are averaged one by one.
    return np.concatenate(errors), squares / draws / len(n) ** 2


def _rates(counts: Counts, law: str | None) -> Rates:
    from scaling.core import registry
    from scaling.fitting.likelihood import fit_counts, log_binomials
    from scaling.fitting.npmle import npmle

    distinct = unique_counts(counts.n, counts.c)
    declared = registry.law(law or DEFAULT_LAW)
    if declared.rates is None:
        raise UsageError(
            f"law '{law}' says nothing of single problems; give a count law, such as {DEFAULT_LAW}"
        )
    found = fit_counts(declared, distinct)
    if law is None:
        free = npmle(distinct)
        likelier = found.log_likelihood[0] + log_binomials(distinct) - free.log_likelihood
        if not found.converged[0] or likelier < len(declared.params) - (2 * len(free.rates) - 1):
            return free.draw_rates
    elif not found.converged[0]:
        raise NotUsableError(
            f"law '{law}' is not identified by these counts; leave it out, and the nonparametric "
            "estimate takes its place"
        )
    theta = declared.bound(found.coordinates[0])
    return lambda n, c, rng: declared.draw_rates(theta, n, c, rng)


def _korn_graubard(
    mean: FloatArray, se: FloatArray, units: int, level: float
) -> tuple[FloatArray, FloatArray]:
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    shrink = (_z(level) / _t(level, units - 1)) ** 2
    spread = mean * (1 - mean)
    trials = np.divide(spread, se**2, out=np.full(len(mean), np.inf), where=se > 0) * shrink
    trials = np.where(np.isfinite(trials), trials, float(units))
    x = mean * trials
    with np.errstate(invalid="ignore", divide="ignore"):
        low = betaincinv(np.maximum(x, 1e-300), trials - x + 1, tail)
        high = betaincinv(x + 1, np.maximum(trials - x, 1e-300), 1 - tail)
    return np.where(mean > 0, low, 0.0), np.where(mean < 1, high, 1.0)


def _bootstrap_t(
    counts: Counts, k: IntArray, mean: FloatArray, se: FloatArray, level: float, seed: int
) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    f = pass_at_k(counts.n[:, None], counts.c[:, None], k)
    total, size = (
        _by_cluster(counts.cluster, f),
        _by_cluster(counts.cluster, np.ones((len(f), 1)))[:, 0],
    )
    units = len(total)
    t = np.full((DRAWS, len(k)), np.nan)
    for i in range(DRAWS):
        w = rng.multinomial(units, np.full(units, 1 / units))
        problems = float(w @ size)
        again = (w @ total) / problems
        residual = total - size[:, None] * again
        spread = np.sqrt(units / (units - 1) * (w @ residual**2)) / problems
        np.divide(again - mean, spread, out=t[i], where=spread > 0)
    # A resample without spread says that the error is as large as can be.
    t = np.where(np.isnan(t), -np.inf, t)
    below, above = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], axis=0, method="inverted_cdf")
    with np.errstate(invalid="ignore"):
        low, high = mean - above * se, mean - below * se
    return np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), 1.0, high)


def _by_cluster(cluster: NDArray[np.str_] | None, values: FloatArray) -> FloatArray:
    if cluster is None:
        return values
    _, place = np.unique(cluster, return_inverse=True)
    total = np.zeros((int(place.max()) + 1, values.shape[1]))
    np.add.at(total, place, values)
    return total


def _units(counts: Counts) -> int:
    return len(counts.n) if counts.cluster is None else len(np.unique(counts.cluster))


def _whole(counts: Counts, k: ArrayLike) -> IntArray:
    from scaling.data import looks_success_stopped

    if not len(counts.n):
        raise InputError("no problems: coverage is a mean over at least one problem")
    stopped = counts.stop_rule in ("until_success", "until_success_batched")
    if stopped or (counts.stop_rule in (None, "unknown") and looks_success_stopped(counts)):
        raise InputError(
            "attempts stop at the first success, and unbiased pass@k does not hold for such a log; "
            "scaling.fitting.stopped.kaplan_meier gives its coverage with intervals"
        )
    at = np.atleast_1d(np.asarray(k))
    wrong = ~((at >= 1) & (at == np.floor(at)) & (at <= counts.n.min()))
    if wrong.any():
        raise InputError(
            f"observed coverage is defined for whole k from 1 to {counts.n.min()}, the fewest attempts at any problem, "
            f"not for {at[wrong][0]:g}; a fitted law answers for other k"
        )
    return at.astype(np.int64)


def _z(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def _t(level: float, freedom: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))
