"""How often to draw again where the verifier errs: the cap K* on attempts.

Attempts go on until one is accepted or K were made. A right one that is accepted wins 1, a wrong one
loses c, each attempt costs κ, giving up is worth nothing. Of problems of one kind, with acceptance
rate a, an attempt is worth `u = p t - c (1-p) f - κ` however many have failed: draw for ever or not
at all. A cap comes from the mixture of kinds, since rejections tell of the hard ones.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number, numbers
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from scaling.curves import FloatArray, Menu

_MOST = 100_000
_NEVER = 1e-280  # a rate this small is 0 here; its reciprocal would overflow


class _Kinds(NamedTuple):
    w: FloatArray
    a: FloatArray  # acceptance rate
    u: FloatArray  # worth of an attempt


def _kinds(
    p: ArrayLike, t: ArrayLike, f: ArrayLike, loss: float, cost: float, w: ArrayLike | None
) -> _Kinds:
    p = numbers("p", p, open_=False, most=1)
    t = numbers("t", t, open_=False, most=1, size=p.size)
    f = numbers("f", f, open_=False, most=1, size=p.size)
    loss, cost = number("loss", loss, open_=False), number("cost", cost, open_=False)
    weight = np.full(p.size, 1 / p.size) if w is None else numbers("w", w, size=p.size)
    a = p * t + (1 - p) * f
    a = np.where(a > _NEVER, a, 0.0)
    return _Kinds(weight / weight.sum(), a, p * t - loss * (1 - p) * f - cost)


def net_value(
    K: ArrayLike,
    p: ArrayLike,
    t: ArrayLike = 1.0,
    f: ArrayLike = 0.0,
    *,
    loss: float = 1.0,
    cost: float = 0.0,
    w: ArrayLike | None = None,
) -> FloatArray:
    """`V(K) = sum_i w_i u_i (1 - (1-a_i)^K) / a_i`, with `a = p t + (1-p) f`; K may be infinite.

    Args:
        K: caps, any shape.
        p: rate of each kind, shape (C,).
        t: probability that a right attempt is accepted, one number or one a kind.
        f: that a wrong one is.
        loss: c, of serving a wrong one.
        cost: κ, of an attempt, generation and verification.
        w: share of each kind; equal where None.

    Raises:
        InputError: a parameter out of range.
    """
    return _value(np.asarray(K, dtype=np.float64), _kinds(p, t, f, loss, cost, w))


def _value(K: FloatArray, kinds: _Kinds) -> FloatArray:
    w, a, u = kinds
    sure = a == 1
    with np.errstate(divide="ignore", invalid="ignore"):
        ended = -np.expm1(np.log1p(-np.where(sure, 0, a)) * K[..., None])
        ended = np.where(sure, np.minimum(K[..., None], 1.0), ended)
        ended = np.where(K[..., None] == 0, 0.0, ended)
        attempts = np.where(a > 0, ended / a, K[..., None])
        terms = np.where(u == 0, 0.0, u * attempts)
    return np.asarray(terms @ w)


def _marginal(k: FloatArray, kinds: _Kinds) -> FloatArray:
    """`m(k) = V(k) - V(k-1)`, shape of k."""
    w, a, u = kinds
    return np.asarray((w * u * (1 - a) ** (k[..., None] - 1)).sum(axis=-1))


def critical_loss(p: ArrayLike, t: ArrayLike, f: ArrayLike, cost: float = 0.0) -> FloatArray:
    """`(p t - κ) / ((1-p) f)`: a kind is worth drawing for ever below this loss, never above it.

    With all kinds below, K* is infinite; with all above, 0. Infinite where no wrong one is accepted.

    Raises:
        InputError: a parameter out of range.
    """
    p = numbers("p", p, open_=False, most=1)
    t = numbers("t", t, open_=False, most=1, size=p.size)
    f = numbers("f", f, open_=False, most=1, size=p.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (p * t - number("cost", cost, open_=False)) / ((1 - p) * f)
    return np.where(np.isnan(ratio), 0.0, ratio)


def solve(
    p: ArrayLike,
    t: ArrayLike = 1.0,
    f: ArrayLike = 0.0,
    *,
    loss: float = 1.0,
    cost: float = 0.0,
    w: ArrayLike | None = None,
) -> Optimum:
    """The cap with the largest net value.

    Where u rises with a, marginal values change sign once at most, from gain to loss, and the last
    gain is K*; of two kinds it is `1 + floor(log(-w_2 u_2 / (w_1 u_1)) / log((1-a_1) / (1-a_2)))`.
    Where it does not, the marginal value can recover, and every cap up to 100,000 is looked at.

    Args:
        p: as in `net_value`, and so the others.
        t: see there.
        f: see there.
        loss: see there.
        cost: see there.
        w: see there.

    Returns:
        Knob `samples`; infinite where every further attempt gains. Near K* the value is often flat:
        see `plateau`.

    Raises:
        InputError: a parameter out of range.
    """
    kinds = _kinds(p, t, f, loss, cost, w)
    order = np.argsort(kinds.a, kind="stable")
    rises = bool((np.diff(kinds.u[order]) >= -1e-15).all())
    K = _last_gain(kinds) if rises else _scanned(kinds)
    real, residual = _between(K, kinds)
    return Optimum(
        action={"samples": np.array([real])},
        whole={"samples": np.array([K])},
        value=float(_value(np.array(real), kinds)),
        whole_value=float(_value(np.array(K), kinds)),
        price=0.0,
        residual=residual,
        cautions=() if rises else ("an attempt is not worth more where acceptance is likelier",),
    )


def _last_gain(kinds: _Kinds) -> float:
    """The last k whose attempt gains, given that gains turn into losses once at most."""

    def gains(k: float) -> bool:
        return bool(_marginal(np.array(k), kinds) > 0)

    if not gains(1):
        return 0.0
    # the kind that is accepted least decides in the end
    slowest = kinds.a == kinds.a.min()
    if (kinds.w * kinds.u)[slowest].sum() >= 0:
        return math.inf
    low, high = 1, 2
    while gains(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if gains(middle) else (low, middle)
    return float(low)


def _scanned(kinds: _Kinds) -> float:
    caps = np.arange(_MOST + 1, dtype=np.float64)
    values = np.concatenate([_value(part, kinds) for part in np.array_split(caps, 50)])
    best = float(np.argmax(values))
    # in the end the kind decides that is accepted least, where its attempts are worth anything
    told = kinds.u != 0
    slowest = told & (kinds.a == kinds.a[told].min(initial=2.0))
    forever = float(_value(np.array(math.inf), kinds))
    gains = (kinds.w * kinds.u)[slowest].sum() > 0
    return math.inf if gains and forever >= values.max() - 1e-14 * abs(forever) else best


def _between(K: float, kinds: _Kinds) -> tuple[float, float]:
    """The best cap over the reals, next to K, and how far its derivative is from 0."""
    if K == 0 or math.isinf(K):
        return K, 0.0
    from scipy.optimize import brentq

    w, a, u = (column[(kinds.a > 0) & (kinds.a < 1)] for column in kinds)
    idle = float((kinds.w * kinds.u)[kinds.a == 0].sum())
    h = -np.log1p(-a)

    def terms(k: float) -> FloatArray:
        return np.asarray(np.append(w * u / a * h * np.exp(-h * k), idle))

    def slope(k: float) -> float:
        return float(terms(k).sum())

    if not slope(max(K - 1, 1e-9)) > 0 > slope(K + 1):
        return K, 0.0  # no inner optimum: sure acceptance ends a kind within one attempt
    real = float(brentq(slope, max(K - 1, 1e-9), K + 1, xtol=1e-14, rtol=1e-15))
    if _value(np.array(real), kinds) < _value(np.array(K), kinds):
        return K, 0.0
    return real, abs(slope(real)) / float(np.abs(terms(real)).sum())


def plateau(
    delta: float,
    p: ArrayLike,
    t: ArrayLike = 1.0,
    f: ArrayLike = 0.0,
    *,
    loss: float = 1.0,
    cost: float = 0.0,
    w: ArrayLike | None = None,
) -> tuple[int, float]:
    """The smallest and the largest cap around K* whose net value is within `delta` of the best.

    The largest is infinite where drawing for ever is; caps are looked at up to 100,000.

    Raises:
        InputError: a parameter out of range.
    """
    delta = number("delta", delta, open_=False)
    kinds = _kinds(p, t, f, loss, cost, w)
    best = solve(p, t, f, loss=loss, cost=cost, w=w)
    caps = np.arange(_MOST + 1, dtype=np.float64)
    values = np.concatenate([_value(part, kinds) for part in np.array_split(caps, 50)])
    good = values >= best.whole_value - delta
    K = min(best.whole["samples"][0], _MOST)
    at = int(K) if good[int(K)] else int(np.argmax(good))
    bad = np.flatnonzero(~good)
    low = int(bad[bad < at].max(initial=-1)) + 1
    after = bad[bad > at]
    if after.size:
        return low, float(after[0] - 1)
    forever = float(_value(np.array(math.inf), kinds)) >= best.whole_value - delta
    return low, math.inf if forever else float(_MOST)


class LoggedCap(NamedTuple):
    """The best cap by a log.

    Attributes:
        samples: K*, of the caps up to the fewest attempts of a problem; the smallest of equal ones.
        value: net value of every cap from 0 on, shape (n + 1,).
    """

    samples: int
    value: FloatArray


def of_counts(
    n: ArrayLike, accepted: ArrayLike, right: ArrayLike, *, loss: float = 1.0, cost: float = 0.0
) -> LoggedCap:
    """The best cap by counts of a log, each problem a kind of its own, without a model.

    Attempts without replacement: with A of n accepted, G of them right,
    `miss(K) = C(n-A, K) / C(n, K)`, right within K is `(G/A) (1 - miss(K))`, and attempts are
    `sum_{k<K} miss(k)`, all unbiased. Problems without an accepted attempt count as never right. K*
    is chosen on the data that it is scored on: the value at it is optimistic.

    Args:
        n: attempts, shape (P,).
        accepted: A, shape (P,).
        right: G, shape (P,).
        loss: of serving a wrong one.
        cost: of an attempt.

    Raises:
        InputError: counts that are not 0 <= right <= accepted <= n.
    """
    n, A, G = np.asarray(n), np.asarray(accepted), np.asarray(right)
    if not (n.shape == A.shape == G.shape and n.ndim == 1 and n.size):
        raise InputError(
            f"Counts have shapes {n.shape}, {A.shape} and {G.shape}. Give one each a problem."
        )
    wrong = np.flatnonzero(~((G >= 0) & (G <= A) & (n >= A) & (n >= 1)))
    if wrong.size:
        i = int(wrong[0])
        raise InputError(
            f"Problem {i} has {n[i]} attempts, {A[i]} accepted, {G[i]} right. It must be "
            "0 <= right <= accepted <= attempts, and one attempt at least."
        )
    loss, cost = number("loss", loss, open_=False), number("cost", cost, open_=False)
    k = np.arange(int(n.min()))
    step = np.maximum(n[:, None] - A[:, None] - k, 0) / (n[:, None] - k)
    miss = np.concatenate([np.ones((n.size, 1)), np.cumprod(step, axis=1)], axis=1)
    precision = np.divide(G, A, out=np.zeros(n.size), where=A > 0)
    reward = (precision - loss * (1 - precision)) * (A > 0)
    attempts = np.concatenate([np.zeros((n.size, 1)), np.cumsum(miss[:, :-1], axis=1)], axis=1)
    value = (reward[:, None] * (1 - miss) - cost * attempts).mean(axis=0)
    return LoggedCap(int(np.argmax(value)), value)


def value(
    action: Mapping[str, Any],
    p: Any,
    t: Any = 1.0,
    f: Any = 0.0,
    *,
    loss: float = 1.0,
    cost: float = 0.0,
    w: Any = None,
) -> float:
    """Net value of a cap."""
    return float(net_value(action["samples"][0], p, t, f, loss=loss, cost=cost, w=w))


def menu(
    p: ArrayLike,
    t: ArrayLike = 1.0,
    f: ArrayLike = 0.0,
    *,
    loss: float = 1.0,
    cost: float = 0.0,
    w: ArrayLike | None = None,
) -> tuple[Menu, Limit]:
    """One class: caps from 0 to well past K*, at the attempts that they come to, and ample budget.

    Raises:
        UsageError: K* is infinite, so that no menu holds it.
    """
    best = float(solve(p, t, f, loss=loss, cost=cost, w=w).whole["samples"][0])
    if math.isinf(best):
        raise UsageError("Every further attempt gains, so no menu holds the best cap.")
    kinds = _kinds(p, t, f, loss, cost, w)
    K = np.arange(int(2 * best) + 20)
    net = _value(K.astype(np.float64), kinds)
    span = float(net.max() - net.min()) or 1.0
    attempts = _value(K.astype(np.float64), kinds._replace(u=np.ones(kinds.u.size)))
    curve = ((net - net.min()) / span, attempts, {"samples": K})
    return curves_menu([curve], "samples"), Limit("samples", "average", float(K[-1]))


CLOSED_FORM = ClosedForm(
    name="verifier-cap",
    meaning="How often to draw again against a verifier that errs.",
    formula="K* = last k with sum_i w_i (1-a_i)^(k-1) u_i > 0",
    references=(
        Reference(
            "Stroebl, Kapoor and Narayanan 2024, Inference Scaling fLaws: The Limits of LLM "
            "Resampling with Imperfect Verifiers",
            "the model of easy and hard problems with a cost of false positives; the sign of the "
            "marginal value follows from total positivity of (1-a)^(k-1)",
            "2411.17501",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"p": [0.87, 0.13], "t": 1.0, "f": 0.25, "loss": 0.7, "w": [0.58, 0.42]},
        {"p": [0.87, 0.13], "t": 1.0, "f": 0.25, "loss": 2.0, "w": [0.58, 0.42]},
        {"p": [0.5, 0.1, 0.01], "t": 0.9, "f": 0.02, "loss": 1.0, "cost": 0.01},
        {"p": [0.1], "f": 0.5, "loss": 4.0},
        {"p": [0.3, 0.0], "cost": 0.02},
    ),
)
