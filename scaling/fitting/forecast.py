"""Forecasts of coverage beyond the attempts made, pooled from several models, with intervals for the truth.

Five members: a population of success rates with a power-law tail (`population.py`), three straight lines
through log(-log coverage) against log attempts (`forecast_curves.py`), and such a curve with a slope that
wanders (`forecast_process.py`). Each gives draws of the share of problems solved: the forecast averages
their medians, its interval is that of their mixture, so that it is wide where members disagree. They weigh
alike, which is hard to better with as little as one log tells (Smith and Wallis 2009), but for their errors
where they had to forecast the log itself from a tenth of its attempts. The lines say that coverage goes on
as it went, the process that it may bend, and the population uses every count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.caution import Caution
from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.errors import InputError
from scaling.fitting import forecast_curves, forecast_process, population
from scaling.fitting.passk import mean_of, pass_at_k

FloatArray = NDArray[np.float64]
Estimand = Literal["benchmark", "population"]

POPULATION = "population"
PROCESS = "wandering-slope"
# Mixed, forecasts that are each calibrated are wider than need be (Gneiting and Ranjan 2013): the ends of the
# interval are taken where a normal distribution has this share of their distance. Set on simulated populations.
_NARROWED = 0.98
_DRAWS = 2000
_REPLICATES = 200
_THINNINGS = 8
_TENTH = 10
_FEWEST = 40  # attempts below which a tenth of them shows no curve
# A backtest of a log with few problems is mostly luck: errors count beside this over the square root of the
# number of problems, four to eight times what the best forecasters miss.
_LUCK = 2.0
_FLAT = 1e-9  # a curve that rises less than this shows no line
_UNTOLD = 0.85  # posterior over prior standard deviation of the log tail exponent


@dataclass(frozen=True)
class Member:
    """One model of the pool.

    Attributes:
        weight: in the pool; the weights add up to one.
        backtest_error: root mean squared error where it forecast the log from a tenth of its attempts,
            None where the log is too small for that.
        estimate: median of its draws, shape (K,).
    """

    weight: float
    backtest_error: float | None
    estimate: FloatArray


@dataclass(frozen=True)
class Forecast:
    """Coverage at `k` attempts, beyond those made where k is larger.

    Attributes:
        k: attempts, shape (K,).
        estimate: weighted mean of the members' medians, shape (K,).
        low, high: ends of the interval for the realised share (estimand "benchmark") or for the expected
            coverage of new problems ("population"), shape (K,).
        draws: quantiles of the predictive distribution, rising along the first axis, shape (D, K).
        members: by name.
        cautions: what a reader must know.
        refused: why no forecast is given, or None. Where refused, `estimate` is NaN beyond the data and the
            interval is what is certain: from the share solved to one.
        estimand: "benchmark" or "population".
        level: of the interval.
    """

    k: FloatArray
    estimate: FloatArray
    low: FloatArray
    high: FloatArray
    draws: FloatArray
    members: Mapping[str, Member]
    cautions: tuple[Caution, ...]
    refused: str | None
    estimand: Estimand
    level: float


class Model(Protocol):
    """R draws of what attempts leave unsolved, each array of shape (R, K) for arguments of shape (K,)."""

    def unsolved(self, k: ArrayLike) -> FloatArray:
        """Share of new problems."""
        ...

    def left(self, n: ArrayLike, k: ArrayLike) -> FloatArray:
        """Share of the problems unsolved in n attempts that are so in k >= n."""
        ...


def forecast(
    counts: UniqueCounts,
    k: ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    estimand: Estimand = "benchmark",
    stopped: bool = False,
) -> Forecast:
    """Forecast coverage from counts.

    With estimand "benchmark" the target is the share of these problems that are solved within k attempts,
    those made so far among them, and the interval is for that share: it includes the luck of the attempts to
    come. A problem with n attempts and no success is solved within k > n of them with probability
    1 - r(k) / r(n), where r(k) = E (1-p)^k is what a member says of the population. With "population" it is
    1 - r(k), the expected coverage of new problems.

    Args:
        counts: distinct (n, c) of at least one problem; n may differ.
        k: numbers of attempts, >= 1, shape (K,); within the attempts made, rounded down to whole ones.
        level: of the interval, inside (0, 1).
        seed: of everything random; the same seed gives the same numbers.
        estimand: "benchmark" or "population".
        stopped: whether sampling stopped at successes. The likelihood holds for such counts, coverage curves
            do not: the lines are left out.

    Raises:
        InputError: for no problems, k below one or infinite, or a level outside (0, 1).
    """
    k = np.atleast_1d(np.asarray(k, dtype=np.float64))
    _check(counts, k, level)
    solved = int(counts.multiplicity[counts.c > 0].sum())
    problems = int(counts.multiplicity.sum())
    if solved < 2 and not (solved == problems and estimand == "benchmark"):
        return _refuse(counts, k, level, estimand, solved, stopped)
    rng = np.random.default_rng(seed)
    posterior = population.posterior(counts, rng, draws=_DRAWS)
    models: dict[str, Model] = {POPULATION: posterior}
    cautions = _cautions(counts, posterior, stopped)
    if not stopped:
        models |= _curves(counts, rng, replicates=_REPLICATES, draws=_DRAWS)
        if len(models) == 1:
            why = (
                "up to the fewest attempts at any problem the coverage curve does not rise, so no line can be drawn "
                "through it: the population model stands alone."
            )
            cautions.append(Caution("one-model", why))
    errors = _backtest(counts, rng) if len(models) > 1 else {}
    found = {
        name: np.sort(_predict(model, counts, k, rng, estimand, stopped), axis=0)
        for name, model in models.items()
    }
    weights = _weigh(found, errors, _LUCK / problems**0.5)
    medians = {name: np.median(draws, axis=0) for name, draws in found.items()}
    estimate = mean_of(
        np.array([weights[name] for name in found]), np.stack(list(medians.values()))
    )
    draws = _mixed(found, weights)
    tail = _tail(level) if len(found) > 1 else (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    low, high = np.minimum(low, estimate), np.maximum(high, estimate)
    members = {name: Member(weights[name], errors.get(name), medians[name]) for name in found}
    return Forecast(k, estimate, low, high, draws, members, tuple(cautions), None, estimand, level)


def _check(counts: UniqueCounts, k: FloatArray, level: float) -> None:
    if not len(counts.n):
        raise InputError("no problems: a forecast needs the counts of at least two solved problems")
    usable = (k >= 1) & np.isfinite(k)
    if not usable.all():
        worst = k[~usable][0]
        raise InputError(f"coverage is forecast for finite k >= 1 attempts, not for k = {worst:g}")
    if not 0 < level < 1:
        raise InputError(f"an interval has a level between 0 and 1, such as 0.95, not {level:g}")


def _curves(
    counts: UniqueCounts, rng: np.random.Generator, *, replicates: int, draws: int
) -> dict[str, Model]:
    """The members that go through the coverage curve; none where it does not rise."""
    grid, coverage = forecast_curves.curves(counts, rng, replicates)
    if np.ptp(coverage[0]) < _FLAT:
        return {}
    lines: dict[str, Model] = {
        name: draw(grid, coverage) for name, draw in forecast_curves.WEIGHTINGS.items()
    }
    return lines | {PROCESS: forecast_process.draw(counts, grid, coverage, rng, draws)}


def _predict(
    model: Model,
    counts: UniqueCounts,
    k: FloatArray,
    rng: np.random.Generator,
    estimand: Estimand,
    stopped: bool,
) -> FloatArray:
    """Draws of a member, shape (D, K)."""
    if estimand == "population":
        return 1 - _draws(model.unsolved(k))
    so_far, open_ = _so_far(counts, k, stopped)
    n, multiplicity = counts.n[open_], counts.multiplicity[open_]
    remaining = np.broadcast_to(multiplicity, (_DRAWS, len(n)))
    out = np.empty((_DRAWS, len(k)))
    before, solved = np.ones((_DRAWS, len(n))), np.zeros(_DRAWS)
    for j in np.argsort(k, kind="stable"):
        now = np.minimum(_draws(model.left(n, np.maximum(n, k[j]))), before)
        fresh = rng.binomial(remaining, 1 - now / np.maximum(before, 1e-300))
        remaining, before = remaining - fresh, now
        solved += fresh.sum(axis=1)
        out[:, j] = so_far[j] + solved / counts.multiplicity.sum()
    return out


def _draws(rows: FloatArray) -> FloatArray:
    """As many rows as the pool has draws; the first of the lines is through all problems, no draw."""
    return rows if len(rows) == _DRAWS else rows[1 + np.arange(_DRAWS) % (len(rows) - 1)]


def _so_far(
    counts: UniqueCounts, k: FloatArray, stopped: bool
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Share of problems known to be solved within k, shape (K,), and which counts are still unsolved.

    Within the attempts made this is the unbiased pass@k of each problem: which of its attempts come first
    is not known. Where sampling stopped at successes, the success is the last attempt.
    """
    n, c = counts.n[:, None], counts.c[:, None]
    share = np.where(c > 0, 1.0, 0.0)
    inside = k <= n
    if stopped:
        share = np.where(inside & (k < n), 0.0, share)
    else:
        whole = np.floor(np.minimum(k, n))
        share = np.where(inside, pass_at_k(n, c, whole), share)
    weight = counts.multiplicity / counts.multiplicity.sum()
    return weight @ share, counts.c == 0


def _weigh(names: Iterable[str], errors: Mapping[str, float], luck: float) -> dict[str, float]:
    """The inverse of the squared error of the backtest, to which luck adds its own."""
    raw = {name: 1 / (errors.get(name, 0.0) ** 2 + luck**2) for name in names}
    total = sum(raw.values())
    return {name: value / total for name, value in raw.items()}


def _tail(level: float) -> float:
    """Share of the mixture beyond each end of an interval of this level."""
    from scipy.special import ndtr, ndtri

    return float(ndtr(_NARROWED * ndtri((1 - level) / 2)))


def _mixed(found: Mapping[str, FloatArray], weights: Mapping[str, float]) -> FloatArray:
    """The mixture of the members' draws, sorted; shape (D, K)."""
    ends = np.rint(np.cumsum([weights[name] for name in found]) * _DRAWS).astype(int)
    parts = []
    for draws, size in zip(found.values(), np.diff(ends, prepend=0), strict=True):
        rows = ((np.arange(size) + 0.5) / max(size, 1) * _DRAWS).astype(int)
        parts.append(draws[rows])
    return np.sort(np.concatenate(parts), axis=0)


def _backtest(counts: UniqueCounts, rng: np.random.Generator) -> dict[str, float]:
    """Root mean squared error of each member from a tenth of the attempts, chosen without order."""
    if counts.n.min() < _FEWEST:
        return {}
    n, c = (np.repeat(x, counts.multiplicity) for x in (counts.n, counts.c))
    truth = float(np.mean(c > 0))
    squares: dict[str, list[float]] = {}
    for _ in range(_THINNINGS):
        first = n // _TENTH
        seen = rng.hypergeometric(c, n - c, first)
        if (seen > 0).sum() < 2:
            continue
        ends = np.stack([first, n], axis=1)[seen == 0]
        pairs, many = np.unique(ends, axis=0, return_counts=True)
        for name, left in _left(unique_counts(first, seen), pairs, rng).items():
            guess = 1 - float(many @ left) / len(n)
            squares.setdefault(name, []).append((guess - truth) ** 2)
    return {name: float(np.sqrt(np.mean(values))) for name, values in squares.items()}


def _left(
    counts: UniqueCounts, pairs: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Chance of each member that a problem unsolved in pairs[:, 0] attempts is so in pairs[:, 1]."""
    early, late = pairs.T
    curves = _curves(counts, rng, replicates=_REPLICATES // 4, draws=_REPLICATES)
    table = {name: np.median(model.left(early, late), axis=0) for name, model in curves.items()}
    table[POPULATION] = population.pilot_left(counts, early, late)
    return table


def _cautions(
    counts: UniqueCounts, posterior: population.Posterior, stopped: bool
) -> list[Caution]:
    cautions = []
    twice = int(counts.multiplicity[counts.c >= 2].sum())
    if twice < 2 and not stopped:
        why = (
            f"{twice or 'no'} problem{'' if twice == 1 else 's'} with two or more successes: how success rates "
            "differ is nearly unknown, and the interval is wide. More attempts at each problem would narrow it."
        )
        cautions.append(Caution("few-solved", why))
    told = float(np.log(posterior.tail_exponent).std()) / population.TAIL_EXPONENT[1]
    if told > _UNTOLD:
        low, high = np.quantile(posterior.tail_exponent, [0.025, 0.975])
        why = (
            f"the log does not tell the exponent of the tail: {low:.2g} to {high:.2g} (95%), {told:.0%} of the "
            "spread assumed before looking at it. Beyond the data the forecast leans on that assumption."
        )
        cautions.append(Caution("tail-not-identified", why))
    if stopped:
        why = (
            "attempts stopped at successes, so coverage curves are biased and are left out; the forecast comes "
            "from the likelihood of the counts alone."
        )
        cautions.append(Caution("success-stopped", why))
    fewest, most = int(counts.n.min()), int(counts.n.max())
    if fewest < most and not stopped:
        why = (
            f"problems have {fewest} to {most} attempts: the lines are drawn through coverage up to {fewest}, while "
            "the population model uses all attempts."
        )
        cautions.append(Caution("unequal-n", why))
    if np.all(counts.c > 0):
        why = "every problem is solved, so nothing is left to forecast for these problems."
        cautions.append(Caution("all-solved", why))
    return cautions


def _refuse(
    counts: UniqueCounts,
    k: FloatArray,
    level: float,
    estimand: Estimand,
    solved: int,
    stopped: bool,
) -> Forecast:
    why = (
        f"{'no problem is' if solved == 0 else 'one problem is'} solved, and the growth of coverage cannot be told "
        "from fewer than two; give each problem more attempts."
    )
    known = _so_far(counts, k, stopped)[0]
    inside = k <= counts.n.min()
    estimate = np.where(inside, known, np.nan)
    high = np.where(inside, known, 1.0)
    if estimand == "population":
        estimate, known, high = np.full(len(k), np.nan), np.zeros(len(k)), np.ones(len(k))
    draws = np.empty((0, len(k)))
    return Forecast(
        k, estimate, known, high, draws, {}, (Caution("few-solved", why),), why, estimand, level
    )
