"""How often to retry before a person, or a dearer model, takes over.

At most K attempts at C each, checked by a perfect verifier, then H for who solves it surely. Success
rates are Beta(α, β), so after K failures the next attempt succeeds with probability
`h(K) = α / (α + β + K)`, and pays while `h(K) H > C`: `K* = max(0, ceil(α H / C - α - β))`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.core.special import log_beta_ratio
from scaling.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.curves import FloatArray, Menu

_MOST = 1_000_000


def expected_cost(
    K: float | FloatArray, alpha: float, beta: float, attempt: float, takeover: float
) -> FloatArray:
    """`V_K = C E[attempts] + H E(1-p)^K`, of the shape of K.

    `E[attempts] = ((α+β-1) - (α+β+K-1) r_K) / (α-1)` with `r_K = B(α, β+K) / B(α, β)`; for α = 1 the
    limit of it, `β (ψ(β+K) - ψ(β))`.

    Args:
        K: cap on attempts, zero or more; a real one interpolates.
        alpha: of the success rates, positive.
        beta: likewise.
        attempt: C, positive.
        takeover: H, positive.

    Raises:
        InputError: a parameter out of range.
    """
    a, b = number("alpha", alpha), number("beta", beta)
    C, H = number("attempt", attempt), number("takeover", takeover)
    cap = np.asarray(K, dtype=np.float64)
    missed = np.exp(log_beta_ratio(a, b, cap))
    return np.asarray(C * _attempts(a, b, cap, missed) + H * missed)


def _attempts(a: float, b: float, cap: FloatArray, missed: FloatArray) -> FloatArray:
    from scipy.special import digamma

    if abs(a - 1) < 1e-7:  # the two terms cancel
        return np.asarray(b * (digamma(b + cap) - digamma(b)))
    return ((a + b - 1) - (a + b + cap - 1) * missed) / (a - 1)


def solve(alpha: float, beta: float, attempt: float, takeover: float) -> Optimum:
    """The cap with the least expected cost.

    Over whole numbers it is exact. Over the reals the expected cost is interpolated by its formula,
    whose least is found from its derivative; it is next to K*.

    Args:
        alpha: of the success rates, positive.
        beta: likewise.
        attempt: C, cost of an attempt and its check, positive.
        takeover: H, cost of solving it otherwise, positive.

    Returns:
        Knob `samples`; values are minus expected costs.

    Raises:
        InputError: a parameter out of range.
    """
    a, b = number("alpha", alpha), number("beta", beta)
    C, H = number("attempt", attempt), number("takeover", takeover)
    whole = float(max(0, math.ceil(a * H / C - a - b)))
    given = {"alpha": a, "beta": b, "attempt": C, "takeover": H}
    real, residual = _real(a, b, C, H, whole)
    return Optimum(
        action={"samples": np.array([real])},
        whole={"samples": np.array([whole])},
        value=value({"samples": [real]}, **given),
        whole_value=value({"samples": [whole]}, **given),
        price=0.0,
        residual=residual,
    )


def _real(a: float, b: float, C: float, H: float, whole: float) -> tuple[float, float]:
    """The least of the interpolated cost near K*, and its slope relative to its terms."""
    from scipy.optimize import brentq
    from scipy.special import digamma

    def terms(K: float) -> tuple[float, float]:
        """What attempts add and takeovers save, per attempt, over E(1-p)^K."""
        falls = float(digamma(a + b + K) - digamma(b + K))  # of -log E(1-p)^K
        if abs(a - 1) < 1e-7:
            grows = C * b * float(_trigamma(b + K)) / math.exp(float(log_beta_ratio(a, b, K)))
        else:
            grows = C * ((a + b + K - 1) * falls - 1) / (a - 1)
        return grows, H * falls

    def slope(K: float) -> float:
        grows, saves = terms(K)
        return saves - grows

    low, high = max(whole - 1, 0.0), whole + 1
    if not slope(low) > 0 > slope(high):
        return whole, 0.0
    root = float(brentq(slope, low, high, xtol=1e-14, rtol=1e-15))
    return root, abs(slope(root)) / sum(map(abs, terms(root)))


def _trigamma(x: float) -> float:
    from scipy.special import polygamma

    return float(polygamma(1, x))


def value(
    action: Mapping[str, Any], alpha: float, beta: float, attempt: float, takeover: float
) -> float:
    """Minus the expected cost."""
    return -float(expected_cost(action["samples"][0], alpha, beta, attempt, takeover))


def menu(alpha: float, beta: float, attempt: float, takeover: float) -> tuple[Menu, Limit]:
    """One class: caps from 0 to well past K*; what is saved of H, at the attempts that it takes.

    Raises:
        UsageError: K* is past 500,000 attempts.
    """
    best = int(solve(alpha, beta, attempt, takeover).whole["samples"][0])
    if 2 * best > _MOST:
        raise UsageError(f"The best cap is {best:,} attempts, too many for a menu.")
    K = np.arange(2 * best + 20, dtype=np.float64)
    cost = expected_cost(K, alpha, beta, attempt, takeover)
    span = float(cost.max() - cost.min())
    drawn = _attempts(alpha, beta, K, np.exp(log_beta_ratio(alpha, beta, K)))
    curve = ((cost.max() - cost) / span, drawn, {"samples": K.astype(np.int64)})
    return curves_menu([curve], "samples"), Limit("samples", "average", float(K[-1]))


CLOSED_FORM = ClosedForm(
    name="retry-cap",
    meaning="How often to retry before a person takes over.",
    formula="K* = max(0, ceil(α H / C - α - β))",
    references=(
        Reference(
            "Erol et al. 2025, Cost-of-Pass: An Economic Framework for Evaluating Language Models",
            "the cost of a pass with an expert as the last resort; the cap from the Beta posterior "
            "after failures",
            "2504.13359",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"alpha": 0.2955, "beta": 12.365, "attempt": 1.0, "takeover": 200.0},
        {"alpha": 2.0, "beta": 3.0, "attempt": 0.1, "takeover": 3.5},
        {"alpha": 1.0, "beta": 3.0, "attempt": 0.1, "takeover": 3.5},
        {"alpha": 0.5, "beta": 9.5, "attempt": 1.0, "takeover": 10.0},
    ),
)
