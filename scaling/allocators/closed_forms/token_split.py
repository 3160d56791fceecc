"""Tokens over the sub-questions of a query: the exact split, and the published one.

Sub-question j is left with the uncertainty `c_j b_j^(-β_j)` after b_j tokens, which falls the faster
the easier it is. Setting the marginal values equal gives `b_j = (w_j c_j β_j / λ)^(1/(1+β_j))`, with
one price λ that uses the budget up.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number, numbers
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.errors import InfeasibleError, InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from scaling.curves import FloatArray, IntArray, Menu

SCHEDULES = ("constant", "linear", "polynomial", "exponential", "cosine")


def solve(
    c: ArrayLike,
    beta: ArrayLike,
    budget: float,
    w: ArrayLike = 1.0,
    *,
    low: ArrayLike = 0.0,
    high: ArrayLike = math.inf,
    rule: Literal["exact", "published"] = "exact",
) -> Optimum:
    """Minimise `sum_j w_j c_j b_j^(-β_j)` with `sum_j b_j <= budget` and `low <= b <= high`.

    The published split is `b_j = B (c_j β_j)^(1/(β_j+1)) / sum_k (c_k β_k)^(1/(β_k+1))`, without
    bounds; it knows no weights, which are taken into c here. It is the optimum where all β are
    equal; elsewhere its residual says how far off it is. Over whole numbers every sub-question gets
    one token or more.

    Args:
        c: positive, shape (C,).
        beta: positive, shape (C,); larger is easier.
        budget: tokens in all.
        w: weights, positive.
        low: least tokens of each.
        high: most tokens of each.
        rule: which split.

    Raises:
        InputError: a parameter out of range; its place is named.
        InfeasibleError: the budget is below the sum of the least tokens.
        UsageError: an unknown rule, or the published one with bounds.
    """
    c, beta, w, low, high = _parameters(c, beta, w, low, high)
    total = number("budget", budget)
    if rule not in ("exact", "published"):
        raise UsageError(f"Unknown rule '{rule}'. A split is 'exact' or 'published'.")
    if rule == "published" and ((low > 0).any() or np.isfinite(high).any()):
        raise UsageError(
            "The published split has no bounds. Leave low and high out, or rule='exact'."
        )
    if low.sum() > total:
        raise InfeasibleError(
            f"The budget of {total:g} tokens is below the {low.sum():g} that low asks for.",
            smallest=float(low.sum()),
        )
    amount = w * c * beta
    if rule == "published":
        share = amount ** (1 / (1 + beta))
        b = total * share / share.sum()
    else:
        b = _at_one_price(amount, beta, total, low, high)
    marginal = amount * b ** -(1 + beta)
    inside = (b > low) & (b < high)
    if rule == "published" or (inside.any() and b.sum() < high.sum()):
        price = float(np.exp(np.mean(np.log(marginal[inside]))))
    else:
        price = 0.0 if (b >= high).all() else float(marginal[b < high].max(initial=0.0))
    whole = _whole(amount / beta, beta, total, b, low, high)
    given: dict[str, Any] = {"c": c, "beta": beta, "w": w}
    return Optimum(
        action={"thinking_tokens": b},
        whole={"thinking_tokens": whole},
        value=value({"thinking_tokens": b}, **given),
        whole_value=value({"thinking_tokens": whole}, **given),
        price=price,
        residual=_residual(marginal, price, b, low, high, total),
    )


def _parameters(c: Any, beta: Any, w: Any, low: Any, high: Any) -> tuple[FloatArray, ...]:
    c = numbers("c", c)
    beta, w = numbers("beta", beta, size=c.size), numbers("w", w, size=c.size)
    low = numbers("low", low, open_=False, size=c.size)
    top = np.broadcast_to(np.asarray(high, dtype=np.float64), c.shape)
    if not (top > low).all():
        j = int(np.flatnonzero(~(top > low))[0])
        raise InputError(f"high[{j}] is {top[j]}, not above low[{j}] = {low[j]}.")
    return c, beta, w, low, top


def _at_one_price(
    amount: FloatArray, beta: FloatArray, total: float, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Tokens at the price that uses the budget up, or the most of each where it suffices."""
    if total >= high.sum():
        return high.copy()
    from scipy.optimize import brentq

    def tokens(log_price: float) -> FloatArray:
        free = np.exp((np.log(amount) - log_price) / (1 + beta))
        return np.asarray(np.clip(free, low, high))

    # one alone with the whole budget, and each with its share
    at_total = np.log(amount) - (1 + beta) * np.log(total)
    at_share = np.log(amount) - (1 + beta) * np.log(total / amount.size)
    top, bottom = float(at_share.max()) + 1, float(at_total.min()) - 1
    while tokens(top).sum() > total:  # bounds from below
        top += 10
    while tokens(bottom).sum() < total:
        bottom -= 10
    root = brentq(lambda x: tokens(x).sum() - total, bottom, top, xtol=1e-15, rtol=1e-15)
    b = tokens(root)
    inside = (b > low) & (b < high)
    if inside.any():  # what rounding has left over
        b[inside] *= 1 + (total - b.sum()) / b[inside].sum()
    return b


def _whole(
    scale: FloatArray,
    beta: FloatArray,
    total: float,
    b: FloatArray,
    low: FloatArray,
    high: FloatArray,
) -> FloatArray:
    """The best whole numbers: from the real ones, tokens change hands while that wins.

    Uncertainty is convex in each count, so where no exchange of one token wins none does.
    """
    least, most = np.maximum(np.ceil(low), 1.0), np.floor(high)
    if (least > most).any() or least.sum() > total:
        raise InfeasibleError(
            f"{total:g} tokens are too few for one or more, in whole numbers, for each of "
            f"{b.size} sub-questions within its bounds; {least.sum():g} would do.",
            smallest=float(least.sum()),
        )
    n = np.clip(np.floor(b), least, most)
    spare = min(math.floor(total), most.sum()) - n.sum()

    def left(k: FloatArray) -> FloatArray:
        return scale * k**-beta

    while True:
        gain = np.where(n < most, left(n) - left(n + 1), -np.inf)
        loss = np.where(n > least, left(np.maximum(n - 1, 1)) - left(n), np.inf)
        up, down = int(np.argmax(gain)), int(np.argmin(loss))
        if spare > 0:
            n[up] += 1
            spare -= 1
        elif spare < 0:
            n[down] -= 1
            spare += 1
        elif gain[up] > loss[down] * (1 + 1e-12):
            n[up] += 1
            n[down] -= 1
        else:
            return n


def _residual(
    marginal: FloatArray,
    price: float,
    b: FloatArray,
    low: FloatArray,
    high: FloatArray,
    total: float,
) -> float:
    inside = (b > low) & (b < high)
    terms = [max(float(b.sum()) / total - 1, 0.0)]
    if price > 0:
        ratio = marginal / price
        terms += [
            float(np.abs(ratio[inside] - 1).max(initial=0.0)),
            float(np.maximum(ratio[b <= low] - 1, 0).max(initial=0.0)),
            float(np.maximum(1 - ratio[b >= high], 0).max(initial=0.0)),
            abs(float(b.sum()) / total - 1),
        ]
    return max(terms)


def value(action: Mapping[str, Any], c: Any, beta: Any, w: Any = 1.0, **_: Any) -> float:
    """Minus the uncertainty that is left."""
    b = np.asarray(action["thinking_tokens"], dtype=np.float64)
    return -float(np.sum(np.asarray(w) * np.asarray(c) * b ** -np.asarray(beta)))


def menu(
    c: Any, beta: Any, budget: float, w: Any = 1.0, *, low: Any = 0.0, high: Any = math.inf
) -> tuple[Menu, Limit]:
    """A class for each sub-question; whole numbers of tokens from one on."""
    c, beta, w, low, high = _parameters(c, beta, w, low, high)
    unit = float((w * c).max())
    curves = []
    for j in range(c.size):
        most = min(budget - c.size + 1, high[j])
        b = np.arange(max(math.ceil(low[j]), 1), math.floor(most) + 1)
        left = w[j] * c[j] * b.astype(np.float64) ** -beta[j] / unit
        curves.append((1 - left, b.astype(np.float64), {"thinking_tokens": b}))
    return curves_menu(curves, "tokens"), Limit("tokens", "total", float(budget), c.size)


def scheduled(credit: ArrayLike, total: int, kind: str) -> IntArray:
    """The schedules that the authors' code uses in place of the split.

    Weights are credits times a schedule in the place i = 0 .. m-1: constant 1; linear `m-i`;
    polynomial `(m-i)^2`; exponential `0.9^i`; cosine `(1 + cos(π i / (m-1))) / 2 + 0.1`, 1 for m = 1.
    Tokens are rounded down; what is left over goes one by one to the largest shares.

    Args:
        credit: the planner's, zero or more with a positive sum, shape (m,).
        total: tokens.
        kind: one of `SCHEDULES`.

    Raises:
        InputError: credits that are negative or all zero.
        UsageError: an unknown schedule, or a total that is negative.
    """
    credit = numbers("credit", credit, open_=False)
    if kind not in SCHEDULES:
        raise UsageError(f"Unknown schedule '{kind}'. Schedules: {', '.join(SCHEDULES)}.")
    if total != int(total) or total < 0:
        raise UsageError(f"The total is {total} tokens. It must be a whole number, zero or more.")
    m, i = credit.size, np.arange(credit.size)
    factor = {
        "constant": np.ones(m),
        "linear": m - i,
        "polynomial": (m - i) ** 2,
        "exponential": 0.9**i,
        "cosine": 0.5 * (1 + np.cos(np.pi * i / max(m - 1, 1))) + 0.1 if m > 1 else np.ones(1),
    }[kind]
    weight = credit * factor
    if weight.sum() == 0:
        raise InputError("All credits are zero. Give one sub-question some.")
    share = weight / weight.sum()
    tokens: IntArray = np.floor(total * share).astype(np.int64)
    left = int(total) - int(tokens.sum())
    tokens[np.argsort(-share, kind="stable")[:left]] += 1
    return tokens


CLOSED_FORM = ClosedForm(
    name="token-split",
    meaning="Tokens over sub-questions whose uncertainty falls as a power.",
    formula="b_j = (w_j c_j β_j / λ)^(1/(1+β_j)), sum_j b_j = B",
    references=(
        Reference(
            "Lin et al. 2025, Plan and Budget: Effective and Efficient Test-Time Scaling on Large "
            "Language Model Reasoning",
            "the uncertainty model and Eq. 6 (the published split); the exact split from its "
            "Lagrangian",
            "2505.16122",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"c": [1.0, 2.0, 4.0], "beta": [1.0, 1.0, 1.0], "budget": 100},
        {"c": [1.0, 1.0, 1.0], "beta": [0.25, 0.5, 2.0], "budget": 600},
        {
            "c": [3.0, 1.0, 0.5, 2.0],
            "beta": [0.3, 0.6, 1.2, 2.5],
            "w": [1, 2, 1, 0.5],
            "budget": 450,
        },
        {"c": [1.0, 1.0], "beta": [0.25, 2.0], "budget": 300, "low": [10, 40], "high": [200, 300]},
    ),
)
