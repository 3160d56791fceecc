"""FLOPs of a larger model against samples of the small one: which is the better buy.

A model of M times the parameters costs M times as much to train and to run. The same FLOPs let the
small model, already trained, draw `m = M + (6/κ)(M-1)/R` samples where the large one draws one: R is
the tokens of inference over those of training, 6 and κ the FLOPs per parameter and token of each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.core.special import log_beta_ratio
from scaling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.curves import Menu


def samples(M: float, R: float, kappa: float = 2.0) -> float:
    """m: samples of the small model for the FLOPs of the one that is M times as large.

    Args:
        M: parameters over those of the small model, at least 1.
        R: inference tokens over training tokens, positive.
        kappa: FLOPs per parameter and token of inference.

    Raises:
        InputError: a parameter out of range.
    """
    M, R, kappa = _parameters(M, R, kappa)
    return M + 6 / kappa * (M - 1) / R


def larger(m: float, R: float, kappa: float = 2.0) -> float:
    """M: how much larger a model the FLOPs of m samples buy, `(6/κ + m R) / (6/κ + R)`.

    Raises:
        InputError: a parameter out of range.
    """
    m, R, kappa = _parameters(m, R, kappa)
    return (6 / kappa + m * R) / (6 / kappa + R)


def even_ratio(m: float, M: float, kappa: float = 2.0) -> float:
    """R at which m samples and a model M times as large cost the same, `(6/κ)(M-1)/(m-M)`.

    Raises:
        InputError: a parameter out of range, or m at most M, which no R makes equal.
    """
    m, M, kappa = number("m", m, least=1), number("M", M, least=1), number("kappa", kappa)
    if m <= M:
        raise InputError(f"m is {m}, at most M = {M}: samples are the dearer ones at every R.")
    return 6 / kappa * (M - 1) / (m - M)


def _parameters(M: float, R: float, kappa: float) -> tuple[float, float, float]:
    return number("M", M, least=1, open_=False), number("R", R), number("kappa", kappa)


def solve(
    alpha: float, beta: float, large: float, M: float, R: float, kappa: float = 2.0
) -> Optimum:
    """The small model with m samples, or the large one with one, whichever is right more often.

    For one class of queries, difficulty bins one by one. The small model's coverage is that of
    success rates Beta(α, β), so a perfect verifier is assumed. Equal shares of pretraining and
    inference are charged; the budget is counted in samples of the small model.

    Args:
        alpha: of the small model's success rates, positive.
        beta: likewise.
        large: share that the large model gets right, from 0 to 1.
        M: see `samples`.
        R: see `samples`.
        kappa: see `samples`.

    Returns:
        Knobs `model` (`small`, `large`) and `samples`. The residual is how far the two are from
        costing the same.

    Raises:
        InputError: a parameter out of range.
    """
    alpha, beta = number("alpha", alpha), number("beta", beta)
    large = number("large", large, open_=False, most=1)
    m = samples(M, R, kappa)
    pretraining = 6 / (kappa * R)
    residual = abs(pretraining + m - M * (pretraining + 1)) / (M * (pretraining + 1))
    given = {"alpha": alpha, "beta": beta, "large": large}
    best = [
        max(
            (
                {"model": np.array(["small"]), "samples": np.array([count])},
                {"model": np.array(["large"]), "samples": np.array([1.0])},
            ),
            key=lambda action: value(action, **given),
        )
        for count in (m, float(math.floor(m + 1e-9)))
    ]
    uses_small = best[0]["model"][0] == "small"
    return Optimum(
        action=best[0],
        whole=best[1],
        value=value(best[0], **given),
        whole_value=value(best[1], **given),
        price=_slope(alpha, beta, m) if uses_small else 0.0,
        residual=residual,
        cautions=("coverage assumes a perfect verifier",) if uses_small else (),
    )


def _slope(alpha: float, beta: float, m: float) -> float:
    """Derivative of coverage by the number of samples."""
    from scipy.special import digamma

    missed = math.exp(float(log_beta_ratio(alpha, beta, m)))
    return missed * float(digamma(alpha + beta + m) - digamma(beta + m))


def value(action: Mapping[str, Any], alpha: float, beta: float, large: float, **_: Any) -> float:
    """Share of queries that are right."""
    if action["model"][0] == "large":
        return float(large)
    return -math.expm1(float(log_beta_ratio(alpha, beta, float(action["samples"][0]))))


def menu(
    alpha: float, beta: float, large: float, M: float, R: float, kappa: float = 2.0
) -> tuple[Menu, Limit]:
    """One class with both models; FLOPs with the share of pretraining, per sample of the small one."""
    pretraining = 6 / (kappa * R)
    n = np.arange(1, 2 * math.ceil(samples(M, R, kappa)) + 1)
    given = {"alpha": alpha, "beta": beta}
    small = -np.expm1(log_beta_ratio(given["alpha"], given["beta"], n))
    curve = (
        np.append(small, large),
        np.append(pretraining + n, M * (pretraining + 1)),
        {
            "model": np.append(np.full(n.size, "small"), "large"),
            "samples": np.append(n, 1),
        },
    )
    # a rounding of the budget must not take the large model away
    budget = max(M * (pretraining + 1), pretraining + math.floor(samples(M, R, kappa) + 1e-9))
    return curves_menu([curve], "flops", maximise="accuracy"), Limit("flops", "average", budget)


CLOSED_FORM = ClosedForm(
    name="flops-exchange",
    meaning="A larger model, or samples of the small one for the same FLOPs.",
    formula="m = M + (6/κ)(M-1)/R",
    references=(
        Reference(
            "Snell et al. 2024, Scaling LLM Test-Time Compute Optimally can be More Effective than "
            "Scaling Model Parameters",
            "section 7, exchanging pretraining and test-time compute",
            "2408.03314",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"alpha": 2.0, "beta": 2.0, "large": 0.8, "M": 14.0, "R": 0.79},
        {"alpha": 0.1, "beta": 4.0, "large": 0.4, "M": 14.0, "R": 22.0},
        {"alpha": 0.5, "beta": 3.0, "large": 0.6, "M": 4.0, "R": 0.16, "kappa": 4.0},
    ),
)
