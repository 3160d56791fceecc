"""How many samples until the next one gains too little: the saturation points of queries.

A query of ceiling F and rate p is right with `F(N) = F (1 - (1-p)^N)` after N samples; the next one
gains `F p (1-p)^N`. N* is the smallest N where that is at most ε: the price of a sample, in value.
Under a budget for all queries ε is its shadow price.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number, numbers
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from scaling.curves import FloatArray, Menu


_NOTHING = 1e-250  # gains below it are not bought, whatever the budget


def saturation(
    ceiling: ArrayLike, p: ArrayLike, eps: float, *, rule: Literal["marginal", "gap"] = "marginal"
) -> FloatArray:
    """N*, whole numbers, shape (C,).

    Marginal: the smallest N >= 0 with `F p (1-p)^N <= ε`, that is
    `ceil(log(ε / (F p)) / log(1-p))`, 0 where `F p <= ε`. Gap: the smallest N with what is missing
    from the ceiling, `F (1-p)^N`, at most ε; a stricter rule, by `log p / log(1-p)` samples. A gain
    counts from F(N) to F(N+1); who counts to F(N) from F(N-1) gets one more.

    Args:
        ceiling: F, from 0 to 1, shape (C,).
        p: rate, from 0 to 1; where it is 0 nothing is ever gained and the gap never closes.
        eps: value of a sample's price, positive: unit cost over the value of being right.
        rule: which.

    Raises:
        InputError: a parameter out of range.
        UsageError: an unknown rule.
    """
    F, p = _parameters(ceiling, p)
    eps = number("eps", eps)
    if rule not in ("marginal", "gap"):
        raise UsageError(f"Unknown rule '{rule}'. A saturation point is 'marginal' or 'gap'.")
    start = F * p if rule == "marginal" else F
    with np.errstate(divide="ignore", invalid="ignore"):
        n = np.ceil(np.log(eps / start) / np.log1p(-p))
    never = np.inf if rule == "gap" else 0.0
    n = np.where(p == 1, 1.0, np.where(p == 0, never, n))
    n = np.where(start <= eps, 0.0, n)

    def at(k: FloatArray) -> FloatArray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(k > 0, start * np.exp(np.log1p(-p) * k), start)

    # where the logarithm was rounded across a whole number
    finite = np.isfinite(n)
    n = np.where(finite & (n > 0) & (at(np.maximum(n - 1, 0)) <= eps), n - 1, n)
    return np.where(finite & (at(np.where(finite, n, 0)) > eps), n + 1, n)


def solve(
    ceiling: ArrayLike, p: ArrayLike, *, eps: float | None = None, budget: float | None = None
) -> Optimum:
    """Maximise `sum_i F_i (1 - (1-p_i)^n_i) - ε sum_i n_i`, or the sum within a budget of samples.

    Over the reals `n_i = max(0, log(ε / (F_i h_i)) / log(1-p_i))` with `h = -log(1-p)`; over whole
    numbers N*, or the largest gains that the budget pays for, which is exact since gains fall.

    Args:
        ceiling: from 0 to 1, shape (C,).
        p: from 0 to below 1.
        eps: price of a sample, in value; this, or
        budget: samples over all queries. `price` is then ε, over the reals.

    Raises:
        InputError: a parameter out of range.
        UsageError: neither or both of price and budget.
    """
    F, p = _parameters(ceiling, p, below_one=True)
    h = -np.log1p(-p)
    open_ = F * h > 0
    if (eps is None) == (budget is None):
        raise UsageError("Give a price of a sample (eps) or a budget of samples, one of the two.")
    if budget is None:
        price = number("eps", eps or 0.0)
        whole = saturation(F, p, price)
    else:
        total = number("budget", budget, open_=False)
        price = _price(F[open_], h[open_], total)
        whole = _largest_gains(F, p, math.floor(total))
    n = np.zeros(F.size)
    if price > 0:
        n[open_] = np.maximum(np.log(F[open_] * h[open_] / price), 0.0) / h[open_]
    marginal = F * h * np.exp(-h * n)
    running = n > 0
    residual = [
        float(np.abs(marginal[running] / price - 1).max(initial=0.0)) if price > 0 else 0.0,
        float(np.maximum(marginal[~running] / price - 1, 0).max(initial=0.0)) if price > 0 else 0.0,
    ]
    if budget is not None and price > 0:
        residual.append(abs(n.sum() / budget - 1) if budget > 0 else float(n.sum()))
    unreachable = int((~open_).sum())
    given: dict[str, Any] = {"ceiling": F, "p": p, "eps": eps}
    return Optimum(
        action={"samples": n},
        whole={"samples": whole},
        value=value({"samples": n}, **given),
        whole_value=value({"samples": whole}, **given),
        price=price,
        residual=max(residual),
        cautions=(f"{unreachable} of {F.size} queries are never right",) if unreachable else (),
    )


def eps_for_budget(ceiling: ArrayLike, p: ArrayLike, budget: int) -> float:
    """The smallest ε with `sum_i N*_i <= budget`: the largest gain that the budget does not pay for.

    Raises:
        InputError: a parameter out of range.
    """
    F, p = _parameters(ceiling, p)
    n = _largest_gains(F, p, int(number("budget", budget, open_=False)))
    with np.errstate(divide="ignore", invalid="ignore"):
        following = np.where(n > 0, F * p * np.exp(np.log1p(-p) * n), F * p)
    return float(following.max())


def _parameters(
    ceiling: ArrayLike, p: ArrayLike, *, below_one: bool = False
) -> tuple[FloatArray, FloatArray]:
    F = numbers("ceiling", ceiling, open_=False, most=1)
    most = np.nextafter(1.0, 0.0) if below_one else 1.0
    rate = numbers("p", p, open_=False, most=float(most), size=F.size)
    return (F, rate) if rate.size == F.size else (np.full(rate.size, F[0]), rate)


def _price(F: FloatArray, h: FloatArray, total: float) -> float:
    """Water level: what is used is piecewise linear in the logarithm of the price."""
    if not F.size:
        return 0.0
    first = np.log(F * h)
    order = np.argsort(-first, kind="stable")
    ranked, need = first[order], np.cumsum(1 / h[order])
    spent = np.concatenate(([0.0], np.cumsum(need[:-1] * -np.diff(ranked))))
    at = max(int((spent < total).sum()) - 1, 0)
    return float(np.exp(ranked[at] - (total - spent[at]) / need[at]))


def _largest_gains(F: FloatArray, p: FloatArray, total: int) -> FloatArray:
    """Whole numbers of samples of the `total` largest gains; of equal gains the query drawn least."""
    low, high = 0.0, float((F * p).max(initial=0.0))
    for _ in range(200):  # all gains above a price, as long as they fit
        middle = math.sqrt(low * high) if low > 0 else high * 1e-3
        if middle in (low, high) or middle < _NOTHING / 1e30:
            break
        low, high = (low, middle) if saturation(F, p, middle).sum() <= total else (middle, high)
        if low > 0 and high <= low * (1 + 1e-12):
            break
    n = saturation(F, p, high) if high > 0 else np.zeros(F.size)

    def gain(i: int) -> float:
        k = n[i]
        return float(F[i] * p[i] * ((1 - p[i]) ** k if k else 1.0))

    heap = [(-gain(i), n[i], i) for i in range(F.size)]
    heapq.heapify(heap)
    for _ in range(total - int(n.sum())):
        won, _, i = heap[0]
        if -won < _NOTHING:
            break
        n[i] += 1
        heapq.heapreplace(heap, (-gain(i), n[i], i))
    return n


def value(
    action: Mapping[str, Any], ceiling: Any, p: Any, eps: float | None = None, **_: Any
) -> float:
    """Queries that are right, less what the samples cost at the price ε."""
    n = np.asarray(action["samples"], dtype=np.float64)
    right = np.asarray(ceiling) * -np.expm1(np.log1p(-np.asarray(p, dtype=np.float64)) * n)
    return float(right.sum() - (eps or 0.0) * n.sum())


def menu(
    ceiling: Any, p: Any, *, eps: float | None = None, budget: float | None = None
) -> tuple[Menu, Limit]:
    """A class for each query; from no sample on. With ε, the budget is what N* comes to."""
    F, rate = _parameters(ceiling, p, below_one=True)
    best = solve(F, rate, eps=eps, budget=budget).whole["samples"]
    total = float(best.sum()) if budget is None else float(budget)
    curves = []
    for ceiling_, p_, n_ in zip(F, rate, best, strict=True):
        n = np.arange(int(2 * n_) + 20)
        curves.append(
            (ceiling_ * -np.expm1(np.log1p(-p_) * n), n.astype(np.float64), {"samples": n})
        )
    return curves_menu(curves, "samples"), Limit("samples", "total", total, F.size)


CLOSED_FORM = ClosedForm(
    name="saturation-point",
    meaning="Samples until the next one gains less than its price.",
    formula="N* = ceil(log(ε / (F p)) / log(1-p)), 0 where F p <= ε",
    references=(
        Reference(
            "Wang et al. 2025, Scaling over Scaling: Exploring Test-Time Scaling Plateau in Large "
            "Reasoning Models",
            "TTSPM, the unified law F(N) = F_max (1-(1-p)^N) and its marginal gain; N* follows",
            "2505.20522",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"ceiling": [1.0, 0.9, 0.8], "p": [0.3, 0.05, 0.6], "eps": 0.01},
        {"ceiling": [1.0, 0.9, 0.8, 0.5], "p": [0.3, 0.05, 0.6, 0.0], "budget": 40},
        {"ceiling": [0.7], "p": [0.01], "eps": 1e-4},
        {"ceiling": [0.9, 0.9], "p": [0.2, 0.2], "budget": 7},
    ),
)
