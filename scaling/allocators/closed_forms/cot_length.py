"""How many steps a chain of thought should have: too few leave hard steps, too many add errors.

N steps of a task of difficulty T, by a model of capability M that gets a sub-question wrong with
probability σ, are all right with probability `A(N) = ((1 - T / (N M)) (1 - σ))^N`, N > T / M. It
peaks at `N* = T Z / (M (Z + 1))` with `Z = W_{-1}(-(1-σ) / e)`, the lower branch of Lambert's W.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.curves import Menu

_MOST = 1_000_000


def solve(difficulty: float, capability: float, sigma: float) -> Optimum:
    """The number of steps at which accuracy peaks.

    Args:
        difficulty: T, positive.
        capability: M, positive.
        sigma: error of a sub-question, from above 0 to below 1.

    Returns:
        Knob `iterations`. Values are logarithms of accuracy, as it may be tiny; no budget binds. Past
        the peak every further step costs accuracy: no allocation may go there.

    Raises:
        InputError: a parameter out of range.
    """
    from scipy.special import lambertw

    T, M, sigma = _parameters(difficulty, capability, sigma)
    Z = float(lambertw(-(1 - sigma) / math.e, k=-1).real)
    N = T * Z / (M * (Z + 1))
    low = max(math.floor(N), math.floor(T / M) + 1)
    given = {"difficulty": T, "capability": M, "sigma": sigma}
    columns = [{"iterations": np.array([float(n)])} for n in (low, low + 1)]
    whole = max(columns, key=lambda each: value(each, **given))
    action = {"iterations": np.array([N])}
    failed = T / (N * M)
    # d log A / dN = log(1 - r) + log(1 - σ) + r / (1 - r), r = T / (N M)
    terms = [math.log1p(-failed), math.log1p(-sigma), failed / (1 - failed)]
    return Optimum(
        action=action,
        whole=whole,
        value=value(action, **given),
        whole_value=value(whole, **given),
        price=0.0,
        residual=abs(math.fsum(terms)) / sum(map(abs, terms)),
    )


def _parameters(difficulty: float, capability: float, sigma: float) -> tuple[float, float, float]:
    return (
        number("difficulty", difficulty),
        number("capability", capability),
        number("sigma", sigma, most=float(np.nextafter(1.0, 0.0))),
    )


def value(action: Mapping[str, Any], difficulty: float, capability: float, sigma: float) -> float:
    """Logarithm of the accuracy; minus infinity where there are too few steps."""
    N = float(action["iterations"][0])
    if N * capability <= difficulty:
        return -math.inf
    return N * (math.log1p(-difficulty / (N * capability)) + math.log1p(-sigma))


def menu(difficulty: float, capability: float, sigma: float) -> tuple[Menu, Limit]:
    """One class: steps from one to well past the peak, accuracy over that at the peak.

    Raises:
        UsageError: the peak is past 500,000 steps.
    """
    best = solve(difficulty, capability, sigma)
    peak = int(best.whole["iterations"][0])
    if 2 * peak > _MOST:
        raise UsageError(f"The peak is at {peak:,} steps, too many for a menu.")
    n = np.arange(1, 2 * peak + 20)
    given = {"difficulty": difficulty, "capability": capability, "sigma": sigma}
    logs = np.array([value({"iterations": np.array([k])}, **given) for k in n.tolist()])
    curve = (np.exp(logs - best.whole_value), n.astype(np.float64), {"iterations": n})
    return curves_menu([curve], "samples"), Limit("samples", "average", float(n[-1]))


CLOSED_FORM = ClosedForm(
    name="cot-length",
    meaning="Steps of a chain of thought at which accuracy peaks.",
    formula="N* = T Z / (M (Z + 1)), Z = W_{-1}(-(1-σ)/e)",
    references=(
        Reference(
            "Wu et al. 2025, When More is Less: Understanding Chain-of-Thought Length in LLMs",
            "the model of accuracy by steps and its optimal length",
            "2502.07266",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"difficulty": 10.0, "capability": 1.0, "sigma": 0.05},
        {"difficulty": 20.0, "capability": 4.0, "sigma": 0.2},
        {"difficulty": 3.0, "capability": 2.0, "sigma": 0.6},
    ),
)
