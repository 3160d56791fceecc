"""Coverage of logs whose attempts stop at the first success.

There n depends on the outcomes, so that c/n and the unbiased pass@k of `scaling.fitting.passk` overstate
coverage. What such a log shows of a problem is the number of attempts to its first success, or that there
was none in n attempts: survival data, whose distribution Kaplan and Meier estimate. Likelihoods of counts
stay valid, as a rule that looks at past outcomes only multiplies p^c (1-p)^(n-c) by a factor without p.

Kaplan and Meier (1958), Nonparametric estimation from incomplete observations; Greenwood (1926); Kalbfleisch
and Prentice (2002), The Statistical Analysis of Failure Time Data, section 1.4.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.data.distinct import UniqueCounts
from scaling.errors import InputError
from scaling.fitting import passk

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_BLOCK = 4_000_000  # cells (clusters x steps) held together


class SurvivalCurve(NamedTuple):
    """Coverage by attempts to the first success; all of shape (K,).

    Attributes:
        k: numbers of attempts.
        coverage: share of problems solved within k attempts; NaN where the log does not tell.
        at_risk: problems that were tried k times and not solved before.
        se: Greenwood's standard error; NaN where coverage is 0 or 1.
        low: lower end of the pointwise interval.
        high: its upper end.
    """

    k: IntArray
    coverage: FloatArray
    at_risk: IntArray
    se: FloatArray
    low: FloatArray
    high: FloatArray


class CoveragePoints(NamedTuple):
    """Points of an observed coverage curve, and how they were estimated.

    Attributes:
        k: numbers of attempts, shape (K,).
        coverage: at these, shape (K,).
        batch: attempts in a batch where the estimate is Kaplan and Meier's, None where it is pass@k.
    """

    k: IntArray
    coverage: FloatArray
    batch: int | None


def kaplan_meier(
    n: ArrayLike,
    c: ArrayLike,
    *,
    k: ArrayLike | None = None,
    batch: int | None = None,
    cluster: ArrayLike | None = None,
    level: float = 0.95,
) -> SurvivalCurve:
    """Coverage of a log that stops at the first success, with pointwise intervals.

    coverage(k) = 1 - prod_{t <= k} (1 - d_t / r_t), with d_t problems solved at attempt t of the r_t that
    got so far. Unsolved problems are censored at their n; caps may differ, as long as they do not depend on how
    hard a problem looks. In batches the first success is known to lie in the last one: the curve then has steps
    at multiples of the batch only, and is NaN between them. Where verdicts are missing, so that n is no
    multiple, a solved problem counts at the end of its batch and an unsolved one leaves before it.

    Intervals are Greenwood's on the scale log(-log(1 - coverage)). There they are undefined where no problem
    or every problem is solved; such points get the binomial interval of Clopper and Pearson for
    r_k / (1 - coverage(k-)) problems, the number that without censoring would leave r_k.

    Args:
        n: attempts at each problem, shape (P,).
        c: successes, shape (P,): at most one, or at most `batch`.
        k: where the curve is wanted, whole and >= 1; by default every k at which a problem was solved.
        batch: attempts in a batch, where only whole batches are run.
        cluster: family of each problem, shape (P,). Problems are the units, taken as independent without it;
            with it the variance is the robust one that sums influences over clusters first, and Clopper and
            Pearson count clusters.
        level: of the intervals.

    Raises:
        InputError: for counts that no such rule can leave, no problems, or k, batch or level out of range.
    """
    attempts, successes = _checked(n, c, batch or 1)
    if not 0 < level < 1:
        raise InputError(
            f"the level of an interval lies between 0 and 1, not at {level:g}; 0.95 is usual"
        )
    solved = successes > 0
    t = _times(attempts, solved, batch or 1)
    steps = _steps(t, solved, np.ones(len(t)))
    at = steps.k if k is None else _whole(k)
    survival = np.concatenate([[1.0], steps.survival])
    place = np.searchsorted(steps.k, at, side="right")
    left = survival[place]
    at_risk = len(t) - np.searchsorted(np.sort(t), at, side="left")
    known = _known(at, at_risk > 0, left, batch or 1, int(attempts.max()))
    variance = np.concatenate([[0.0], _variance(steps, t, solved, cluster)])[place]
    units = 1.0 if cluster is None else len(np.unique(np.asarray(cluster))) / len(t)
    before = np.concatenate([[1.0], survival[:-1]])
    effective = np.concatenate([[0.0], steps.at_risk])[place] / before[place]
    low, high = _interval(left, variance, units * np.where(left == 1, at_risk, effective), level)
    inside = known & (left > 0) & (left < 1)
    with np.errstate(invalid="ignore"):  # 0 times infinity, where everything is solved
        se = np.where(inside, left * np.sqrt(variance), np.nan)
    coverage, low, high = (np.where(known, x, np.nan) for x in (1 - left, low, high))
    return SurvivalCurve(at, coverage, at_risk, se, low, high)


def stopping_batch(
    counts: UniqueCounts, stop_rule: str | None, batch: int | None = None
) -> int | None:
    """Attempts in a batch of a log that stops at the first success; None where it does not stop.

    A log of unknown rule counts as stopped where no rule but this is likely to have left it: every unsolved
    problem has the largest number of attempts, most solved ones have fewer, and no problem has more successes
    than the batch. A batch that is not given is the greatest common divisor of the numbers of attempts at which
    problems were solved.

    Args:
        counts: distinct (n, c).
        stop_rule: of the log; None or "unknown" where it is not known.
        batch: attempts in a batch, where known.

    Raises:
        InputError: for counts that contradict the rule.
    """
    if stop_rule == "fixed":
        return None
    n, c = counts.n, counts.c
    top = int(n.max(initial=0))
    early = (c > 0) & (n < top)
    common = int(np.gcd.reduce(n[early])) if early.any() else max(top, 1)
    if stop_rule == "until_success":
        found = 1
    elif stop_rule == "until_success_batched":
        found = batch or common
    else:
        most = 2 * counts.multiplicity[early].sum() > counts.multiplicity[c > 0].sum()
        stopped = most and np.all(n[c == 0] == top) and np.all(c <= (batch or common))
        return (batch or common) if stopped else None
    _checked(n, c, found)
    return found


def grid(counts: UniqueCounts, batch: int | None, points: int = 20) -> IntArray:
    """Log-spaced numbers of attempts at which `curve` is defined.

    Up to the fewest attempts at any problem for pass@k, and up to the most for a stopped log, by whole batches.
    """
    if batch is None:
        return passk.log_grid(int(counts.n.min()), points)
    top = int(counts.n.max())
    return batch * passk.log_grid(top // batch, points) if top >= batch else np.array([top])


def error_grid(counts: UniqueCounts, batch: int | None) -> IntArray:
    """The points over which the error of a fit is averaged; of pass@k with repeats (`passk.error_grid`)."""
    return passk.error_grid(int(counts.n.min())) if batch is None else grid(counts, batch, 100)


def curve(counts: UniqueCounts, k: ArrayLike, weights: FloatArray, batch: int | None) -> FloatArray:
    """Weighted coverage curves by the estimator that holds: shape (..., K) for weights (..., U).

    Args:
        counts: distinct (n, c).
        k: numbers of attempts, shape (K,).
        weights: of the distinct counts; resamples of problems, for example.
        batch: from `stopping_batch`. None for unbiased pass@k, whose weights add up to one; else Kaplan and
            Meier, where only ratios of weights count.
    """
    if batch is None:
        return passk.curve(counts, k, weights)
    at, solved = np.asarray(k), counts.c > 0
    t = _times(counts.n, solved, batch)
    steps = _steps(t, solved, weights)
    start = np.ones((*weights.shape[:-1], 1))
    survival = np.concatenate([start, steps.survival], axis=-1)
    left = survival[..., np.searchsorted(steps.k, at, side="right")]
    longest = np.max(np.where(weights > 0, t, 0), axis=-1, keepdims=True)
    known = _known(at, longest >= at, left, batch, int(counts.n.max()))
    return np.where(known, 1 - left, np.nan)


def coverage_points(
    counts: UniqueCounts,
    stop_rule: str | None = None,
    batch: int | None = None,
    *,
    points: int = 40,
) -> CoveragePoints:
    """The observed coverage curve by the estimator that the stop rule calls for.

    Args:
        counts: distinct (n, c) and how many problems have them.
        stop_rule: of the log; None where it is not known.
        batch: attempts in a batch, where known.
        points: about how many, log-spaced.

    Raises:
        InputError: for counts that contradict the rule.
    """
    found = stopping_batch(counts, stop_rule, batch)
    at = grid(counts, found, points)
    return CoveragePoints(
        at, curve(counts, at, counts.multiplicity / counts.multiplicity.sum(), found), found
    )


def log_arrangements(counts: UniqueCounts, batch: int | None) -> float:
    """The part of the log-likelihood without parameters: in how many orders such counts can come about.

    For a fixed n it is the sum over problems of log C(n, c). Where attempts stop at the first success only the
    last batch has successes, and a solved problem contributes log C(m, c) with m attempts in it.

    Args:
        counts: distinct (n, c) and how many problems have them.
        batch: from `stopping_batch`.
    """
    from scaling.core.special import log_rising

    c = counts.c.astype(np.float64)
    of = counts.n - (counts.n - 1) // batch * batch if batch else counts.n
    of = np.where(c > 0, of, 1)
    fewer = np.clip(np.minimum(c, of - c), 0, None)
    terms = log_rising(of - fewer + 1.0, fewer) - log_rising(1.0, fewer)
    return float(counts.multiplicity @ terms)


class _Steps(NamedTuple):
    # k (T,); the others (..., T)
    k: IntArray
    at_risk: FloatArray
    solved: FloatArray
    survival: FloatArray


def _steps(t: IntArray, solved: BoolArray, weights: FloatArray) -> _Steps:
    order = np.argsort(t, kind="stable")
    w, event = weights[..., order], solved[order]
    times, first = np.unique(t[order], return_index=True)
    at_risk = np.cumsum(w[..., ::-1], axis=-1)[..., ::-1][..., first]
    found = np.add.reduceat(w * event, first, axis=-1)
    some = np.logical_or.reduceat(event, first)
    times, at_risk, found = times[some], at_risk[..., some], found[..., some]
    share = np.divide(found, at_risk, out=np.zeros_like(at_risk), where=at_risk > 0)
    return _Steps(times, at_risk, found, np.cumprod(1 - share, axis=-1))


def _times(n: IntArray, solved: BoolArray, batch: int) -> IntArray:
    # The end of the batch that solved a problem; of an unsolved one, of the last batch it went through.
    top = int(n.max(initial=0))
    if batch == 1:
        return n
    ends = np.minimum(-(-n // batch) * batch, top)
    return np.where(solved, ends, np.where(n == top, n, n // batch * batch))


def _known(
    k: IntArray, reached: BoolArray, survival: FloatArray, batch: int, top: int
) -> BoolArray:
    # Beyond the last attempt nothing is known, unless everything was solved before it.
    return np.asarray(((k % batch == 0) | (k == top)) & (reached | (survival == 0)))


def _variance(
    steps: _Steps, t: IntArray, solved: BoolArray, cluster: ArrayLike | None
) -> FloatArray:
    """Of log(1 - coverage) at each step: Greenwood's sum, or by clusters of problems.

    The influence of problem i on the logarithm is -sum_t (dN_i(t) - Y_i(t) d_t/r_t) / (r_t - d_t); the squares of
    single problems add up to Greenwood's sum exactly.
    """
    left = steps.at_risk - steps.solved
    with np.errstate(divide="ignore", invalid="ignore"):  # infinite where everything is solved
        if cluster is None:
            return np.cumsum(steps.solved / (steps.at_risk * left))
        _, unit = np.unique(np.asarray(cluster), return_inverse=True)
        units, size = int(unit.max()) + 1, len(steps.k)
        place = np.searchsorted(steps.k, t, side="right")  # steps at which a problem is at risk
        total = np.zeros(size)
        block = max(1, _BLOCK // (size + 1))
        for begin in range(0, units, block):
            rows = (unit >= begin) & (unit < begin + block)
            where = (unit[rows] - begin) * (size + 1)
            cells = min(block, units - begin) * (size + 1)
            leaving = np.bincount(where + place[rows], minlength=cells).reshape(-1, size + 1)
            won = np.bincount((where + place[rows] - 1)[solved[rows]], minlength=cells).reshape(
                -1, size + 1
            )[:, :-1]
            at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1][:, 1:]
            influence = (won - at_risk * (steps.solved / steps.at_risk)) / left
            total += np.sum(np.cumsum(influence, axis=1) ** 2, axis=0)
        return np.where(left > 0, total, np.inf)


def _interval(
    survival: FloatArray, variance: FloatArray, effective: FloatArray, level: float
) -> tuple[FloatArray, FloatArray]:
    from scipy.special import ndtri

    z, tail = float(ndtri((1 + level) / 2)), (1 - level) / 2
    inside = (survival > 0) & (survival < 1)
    middle = np.where(inside, survival, 0.5)
    half = z * np.sqrt(np.where(inside, variance, 0.0)) / -np.log(middle)
    alike = tail ** (1 / np.maximum(effective, 1e-300))  # Clopper and Pearson, 0 or all of them
    with np.errstate(over="ignore"):  # an end at 1
        low = np.where(inside, 1 - middle ** np.exp(-half), np.where(survival == 0, alike, 0.0))
        high = np.where(inside, 1 - middle ** np.exp(half), np.where(survival == 0, 1.0, 1 - alike))
    return low, high


def _checked(n: ArrayLike, c: ArrayLike, batch: int) -> tuple[IntArray, IntArray]:
    raw = np.asarray(n), np.asarray(c)
    if raw[0].ndim != 1 or raw[0].shape != raw[1].shape or not len(raw[0]):
        raise InputError(
            f"attempts and successes have shapes {raw[0].shape} and {raw[1].shape}; one of each is needed for each "
            "of at least one problem"
        )
    if batch < 1:
        raise InputError(f"a batch has {batch} attempts; at least 1 is needed")
    fit = (raw[0] >= 1) & (raw[1] >= 0) & (raw[1] <= raw[0])
    fit &= (raw[0] == np.floor(raw[0])) & (raw[1] == np.floor(raw[1]))
    if not fit.all():
        i = int(np.argmin(fit))
        raise InputError(
            f"problem {i} has n = {raw[0][i]} and c = {raw[1][i]}; whole numbers with 0 <= c <= n and n >= 1 are "
            "needed. Check that n and c are not exchanged."
        )
    attempts, successes = (x.astype(np.int64) for x in raw)
    if (successes > batch).any():
        i = int(np.argmax(successes > batch))
        until = "the first success" if batch == 1 else f"the first batch of {batch} with a success"
        raise InputError(
            f"the log is said to stop at {until}, yet a problem has n = {attempts[i]} and c = {successes[i]}. Say "
            "stop_rule=until_success_batched with its stop_batch if batches were run, or stop_rule=fixed if "
            "attempts went on."
        )
    return attempts, successes


def _whole(k: ArrayLike) -> IntArray:
    at = np.atleast_1d(np.asarray(k))
    right = (at >= 1) & (at == np.floor(at))
    if not right.all():
        raise InputError(
            f"coverage is defined for whole k >= 1, not for {at[~right][0]:g}; a fitted law answers for other k"
        )
    return at.astype(np.int64)
