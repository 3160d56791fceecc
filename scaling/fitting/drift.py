"""Whether attempts at a problem are exchangeable: the assumption behind pass@k and every law of counts.

Given its number of successes c, any order of a problem's n outcomes is equally likely if attempts are independent
and alike. So each statistic here has a known mean and variance, whatever the success rates: nothing is estimated
under the null, and problems add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

LAGS = (1, 2, 128)
_FEWEST = 4  # attempts from which the variance of a squared z is known
_LEVEL = 0.05


@dataclass(frozen=True)
class Drift:
    """What the order of outcomes shows.

    Attributes:
        z: trend, standard normal where there is none; positive where success grows with the attempts.
        p_value: of the trend, two-sided.
        variance_ratio: mean square of the half-against-half z of single problems, 1 where attempts are
            exchangeable; above where problems drift each in its own direction, below where outcomes are
            evened out. None where no problem tells.
        variance_p_value: of the ratio, two-sided.
        autocorrelation: lag to the correlation of outcomes that far apart, 0 where attempts are exchangeable.
        autocorrelation_p_value: of each, two-sided.
        n_problems: problems that were solved sometimes but not always; only these tell.
        message: the finding in a sentence.
    """

    z: float | None
    p_value: float | None
    variance_ratio: float | None
    variance_p_value: float | None
    autocorrelation: Mapping[int, float]
    autocorrelation_p_value: Mapping[int, float]
    n_problems: int
    message: str

    @property
    def p_values(self) -> dict[str, float]:
        """Of all the tests that could be made."""
        known = {"trend": self.p_value, "halves": self.variance_p_value}
        known |= {f"lag {lag}": p for lag, p in self.autocorrelation_p_value.items()}
        return {name: p for name, p in known.items() if p is not None}

    def seen(self, level: float = _LEVEL) -> bool:
        """Whether any test is significant, at `level` for all of them together (Bonferroni)."""
        found = self.p_values
        return any(p * len(found) < level for p in found.values())


def attempt_drift_test(
    outcomes: ArrayLike | Sequence[ArrayLike],
    indptr: ArrayLike | None = None,
    *,
    lags: Sequence[int] = LAGS,
    stop_rule: str | None = None,
) -> Drift:
    """Tests ordered outcomes for drift, given each problem's number of successes.

    - Trend: sum over problems of sum_j (j - (n+1)/2) y_j / n, the score test against a rate that moves with the
      attempt; its variance given c is c (n-c) (n+1) / (12 n^2).
    - Halves: successes in the first floor(n/2) attempts are hypergeometric given c; z_i^2 has mean 1 and its
      variance is the kurtosis less 1. The sum is referred to the gamma distribution with its mean and variance.
    - Lag l: sum_j y_j y_{j+l}, with mean (n-l) p_2 and variance
      (n-l) p_2 + 2 (n-2l)^+ p_3 + [(n-l)^2 - (n-l) - 2 (n-2l)^+] p_4 - (n-l)^2 p_2^2, where p_r is the chance
      that r given attempts are all right, c (c-1) ... / n (n-1) ...

    Args:
        outcomes: right or wrong in the order of the attempts: shape (P, n), a sequence of P arrays of
            any lengths, or with `indptr` one flat array.
        indptr: where problems begin and end in a flat array, shape (P + 1,).
        lags: distances between attempts.
        stop_rule: of the log. Logs that stop at a success are refused: their last attempt is the success.

    Raises:
        InputError: for outcomes other than 0 and 1, bounds out of order, lags below 1, or a log that stops
            at the first success.
    """
    if stop_rule in ("until_success", "until_success_batched"):
        raise InputError(
            f"stop_rule is {stop_rule}: the last attempt of a solved problem is its success by rule, so their "
            "order says nothing of drift. Test a log with a fixed number of attempts."
        )
    for lag in lags:
        if lag < 1:
            raise InputError(f"a lag is a distance between attempts, 1 or more, not {lag}")
    flat, bounds = _flat(outcomes, indptr)
    n = np.diff(bounds)
    hits = np.flatnonzero(flat)
    problem = np.searchsorted(bounds, hits, side="right") - 1
    c = np.bincount(problem, minlength=len(n))
    told = (c > 0) & (c < n)
    if not told.any():
        why = "no problem was solved sometimes but not always, so the order of attempts tells nothing."
        return Drift(None, None, None, None, {}, {}, 0, why)
    place = hits - bounds[problem]
    places = np.asarray(np.bincount(problem, weights=place, minlength=len(n)), np.float64)
    z, p_value = _trend(n, c, told, places)
    first = np.bincount(problem[place < n[problem] // 2], minlength=len(n))
    ratio, ratio_p = _halves(n, c, told & (n >= _FEWEST), first)
    correlation, correlation_p = {}, {}
    for lag in lags:
        inside = place + lag < n[problem]
        pairs = np.bincount(problem[inside][flat[hits[inside] + lag]], minlength=len(n))
        found = _lagged(n, c, told & (n > lag), pairs, lag)
        if found is not None:
            correlation[int(lag)], correlation_p[int(lag)] = found
    drift = Drift(z, p_value, ratio, ratio_p, correlation, correlation_p, int(told.sum()), "")
    return Drift(**{**vars(drift), "message": _message(drift)})


def _trend(n: IntArray, c: IntArray, told: Any, places: FloatArray) -> tuple[float, float]:
    n, c, places = n[told].astype(float), c[told].astype(float), places[told]
    score = (places - c * (n - 1) / 2) / n  # places count from 0
    variance = c * (n - c) * (n + 1) / (12 * n**2)
    z = float(score.sum() / np.sqrt(variance.sum()))
    return z, _two_sided(z)


def _halves(
    n: IntArray, c: IntArray, told: Any, first: IntArray
) -> tuple[float | None, float | None]:
    if not told.any():
        return None, None
    N, K = n[told].astype(float), c[told].astype(float)
    h = np.floor(N / 2)
    z2 = (first[told] - K * h / N) ** 2 * N**2 * (N - 1) / (K * (N - K) * h * (N - h))
    total = float(z2.sum())
    variance = float(np.maximum(_kurtosis(N, K, h) - 1, 0).sum())
    return total / len(N), _gamma_two_sided(total, float(len(N)), variance)


def _kurtosis(N: FloatArray, K: FloatArray, h: FloatArray) -> FloatArray:
    """Of the successes among the first h of N attempts, K of them right in any order; N >= 4."""
    q = K * (N - K) * h * (N - h)
    excess = (N - 1) * N**2 * (N * (N + 1) - 6 * K * (N - K) - 6 * h * (N - h))
    return 3 + (excess + 6 * q * (5 * N - 6)) / (q * (N - 2) * (N - 3))


def _lagged(
    n: IntArray, c: IntArray, told: Any, pairs: IntArray, lag: int
) -> tuple[float, float] | None:
    N, K = n[told].astype(float), c[told].astype(float)
    p2 = K * (K - 1) / (N * (N - 1))
    p3 = p2 * (K - 2) / np.maximum(N - 2, 1)
    p4 = p3 * (K - 3) / np.maximum(N - 3, 1)
    m, shared = N - lag, 2 * np.maximum(N - 2 * lag, 0)
    variance = m * p2 + shared * p3 + (m**2 - m - shared) * p4 - (m * p2) ** 2
    whole = float(np.sum(m * K * (N - K) / (N * (N - 1))))
    total = float(np.maximum(variance, 0).sum())
    if not whole or not total:
        return None
    excess = float(np.sum(pairs[told] - m * p2))
    return excess / whole, _two_sided(excess / np.sqrt(total))


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return float(2 * ndtr(-abs(z)))


def _gamma_two_sided(value: float, mean: float, variance: float) -> float | None:
    from scipy.special import gammainc, gammaincc

    if variance <= 1e-9 * mean:
        return None  # every z^2 is 1 by itself, as with one success each
    shape, x = mean**2 / variance, value * mean / variance
    return float(min(1.0, 2 * min(gammainc(shape, x), gammaincc(shape, x))))


def _message(drift: Drift) -> str:
    found = drift.p_values
    worst = min(found, key=lambda name: found[name])
    over = f"over {drift.n_problems} problem{'s' * (drift.n_problems != 1)}"
    if not drift.seen():
        return (
            f"no drift seen {over}: the order of attempts looks random (smallest p of {len(found)} tests "
            f"{found[worst]:.2g})."
        )
    if worst == "trend":
        what = f"success {'rises' if (drift.z or 0) > 0 else 'falls'} with the attempts (z = {drift.z:.3g}"
    elif worst == "halves":
        what = f"problems differ between their halves by {drift.variance_ratio:.3g} times the variance of chance ("
    else:
        lag = int(worst.split()[1])
        what = f"outcomes {lag} apart are correlated (r = {drift.autocorrelation[lag]:.3g}"
    comma = "" if what.endswith("(") else ", "
    return (
        f"attempts are not exchangeable {over}: {what}{comma}p = {found[worst]:.2g}). pass@k and laws of counts take "
        "them as independent and alike; look for seeds, temperatures or prompts that change along the log."
    )


def _flat(outcomes: Any, indptr: ArrayLike | None) -> tuple[NDArray[np.bool_], IntArray]:
    """All outcomes in a row, and where each problem begins."""
    if indptr is None:
        array = outcomes if isinstance(outcomes, np.ndarray) else None
        if array is not None and array.ndim == 2:
            return _bits(array.ravel()), np.arange(len(array) + 1) * array.shape[1]
        if array is not None and array.dtype != object:
            raise InputError(
                f"outcomes have shape {array.shape}; give (problems, attempts), a list with one array a problem, or "
                "a flat array with indptr"
            )
        rows = [np.asarray(row) for row in outcomes]
        for i, row in enumerate(rows):
            if row.ndim != 1:
                raise InputError(
                    f"the outcomes of problem {i} have shape {row.shape}; one 0 or 1 an attempt is needed, in order"
                )
        bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return _bits(np.concatenate(rows) if rows else np.empty(0, np.bool_)), bounds
    flat, bounds = np.asarray(outcomes), np.asarray(indptr, dtype=np.int64)
    if (
        flat.ndim != 1
        or bounds.ndim != 1
        or not len(bounds)
        or bounds[0] != 0
        or bounds[-1] != len(flat)
        or (np.diff(bounds) < 0).any()
    ):
        raise InputError(
            f"indptr of shape {bounds.shape} does not part {flat.size} outcomes; it starts at 0, never falls and ends "
            "at their number"
        )
    return _bits(flat), bounds


def _bits(flat: NDArray[Any]) -> NDArray[np.bool_]:
    if flat.dtype == np.bool_:
        return flat
    wrong = (flat != 0) & (flat != 1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(
            f"outcome {i} is {flat[i]}; outcomes are 0 or 1. Leave out attempts without a verdict."
        )
    return flat.astype(np.bool_)
