"""Parameters of a vision-language model against visual tokens, for the FLOPs of one query.

The error is `Y = K N^(-a) V^(-b) + D` with N parameters and V visual tokens, a query of Q text tokens
costs `2 N (Q + V)` FLOPs. Along a budget N gives way to V: `V* = b Q / (a - b)` where a > b, else the
most visual tokens that there are, whatever the budget.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number, numbers
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.errors import InfeasibleError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from scaling.curves import Menu

_FLOPS = 2e9  # per token and billion of parameters


def best_tokens(a: float, b: float, text: float, low: float = 1.0, high: float = 576.0) -> float:
    """V*, within what there is: `b Q / (a - b)` where a > b, else `high`.

    Only the ratio of the exponents matters, so it is the same for laws that are linear in the
    logarithms of N and V. The law takes V alone; with Q + V in its place the least V is always best.

    Args:
        a: exponent of the parameters, positive.
        b: exponent of the visual tokens, positive.
        text: text tokens Q, zero or more (0 where they are cached).
        low: least visual tokens, positive.
        high: most visual tokens.

    Raises:
        InputError: a parameter out of range.
    """
    a, b = number("a", a), number("b", b)
    text, low = number("text", text, open_=False), number("low", low)
    if not low <= high < math.inf:
        raise InputError(f"high is {high}. It must be a number, at least low = {low:g}.")
    return high if a <= b else min(max(b * text / (a - b), low), high)


def solve(
    a: float,
    b: float,
    K: float,
    text: float,
    budget: float,
    D: float = 0.0,
    *,
    low: float = 1.0,
    high: float = 576.0,
    sizes: ArrayLike | None = None,
) -> Optimum:
    """Minimise `K N^(-a) V^(-b) + D` with `2e9 N (Q + V) <= budget`, N in billions.

    Args:
        a: exponent of the parameters.
        b: exponent of the visual tokens.
        K: scale, positive.
        text: text tokens Q.
        budget: FLOPs of a query.
        D: error that is left in the end, zero or more; it moves no optimum.
        low: least visual tokens.
        high: most visual tokens.
        sizes: models that exist, billions of parameters; any size where None.

    Returns:
        Knobs `parameters` (billions) and `visual_tokens`. Over whole numbers the visual tokens are
        whole and the model is one of the sizes. `price` is accuracy per FLOP.

    Raises:
        InputError: a parameter out of range.
        InfeasibleError: not even the smallest model with the fewest visual tokens fits.
    """
    V = best_tokens(a, b, text, low, high)
    K, D = number("K", K), number("D", D, open_=False)
    flops = number("budget", budget)
    N = flops / (_FLOPS * (text + V))
    action = {"parameters": np.array([N]), "visual_tokens": np.array([V])}
    given = {"a": a, "b": b, "K": K, "D": D}
    # derivative of the logarithm of the error by log V along the budget
    slope = a * V / (text + V) - b
    at_end = (slope >= 0 and low >= V) or (slope <= 0 and high <= V)
    options: list[tuple[float, float]] = []
    if sizes is None:
        options = [
            (flops / (_FLOPS * (text + tokens)), float(tokens))
            for tokens in dict.fromkeys((math.floor(V), math.ceil(V)))
            if math.ceil(low) <= tokens <= math.floor(high)
        ]
    else:
        for size in numbers("sizes", sizes).tolist():
            most = min(math.floor(flops / (_FLOPS * size) * (1 + 1e-12) - text), math.floor(high))
            if most >= math.ceil(low):
                options.append((size, float(most)))
    if not options:
        least = numbers("sizes", 0.0 if sizes is None else sizes, open_=False).min()
        smallest = _FLOPS * float(least) * (text + math.ceil(low))
        raise InfeasibleError(
            f"{flops:g} FLOPs are too few for any of the models with {math.ceil(low)} visual tokens; "
            f"{smallest:g} would do.",
            smallest=smallest,
        )
    columns = [{"parameters": np.array([n]), "visual_tokens": np.array([v])} for n, v in options]
    whole = max(columns, key=lambda each: value(each, **given))
    return Optimum(
        action=action,
        whole=whole,
        value=value(action, **given),
        whole_value=value(whole, **given),
        price=a * (1 - value(action, **given) - D) / flops,
        residual=0.0 if at_end else abs(slope) / b,
    )


def value(
    action: Mapping[str, Any], a: float, b: float, K: float, D: float = 0.0, **_: Any
) -> float:
    """Accuracy, one minus the error."""
    N, V = float(action["parameters"][0]), float(action["visual_tokens"][0])
    return 1 - (K * math.pow(N, -a) * math.pow(V, -b) + D)


def menu(
    a: float,
    b: float,
    K: float,
    text: float,
    budget: float,
    D: float = 0.0,
    *,
    low: float = 1.0,
    high: float = 576.0,
    sizes: ArrayLike | None = None,
) -> tuple[Menu, Limit]:
    """One class: every size with every whole number of visual tokens that it is offered.

    Where any size exists, the sizes are those that use the budget up at each number of tokens.
    """
    V = np.arange(math.ceil(low), math.floor(high) + 1, dtype=np.float64)
    if sizes is None:
        N = budget / (_FLOPS * (text + V))
    else:
        models = numbers("sizes", sizes)
        N, V = np.repeat(models, V.size), np.tile(V, models.size)
    worth = 1 - (K * N**-a * V**-b + D)
    known = worth >= 0  # an error above one is none that a menu can hold
    cost = _FLOPS * N * (text + V)
    curve = (worth[known], cost[known], {"parameters": N[known], "visual_tokens": V[known]})
    return curves_menu([curve], "flops"), Limit("flops", "average", budget * (1 + 1e-12))


CLOSED_FORM = ClosedForm(
    name="vlm-tokens",
    meaning="Model size against visual tokens at the FLOPs of a query.",
    formula="V* = b Q / (a - b) where a > b, else V_max; N* = C / (2 (Q + V*))",
    references=(
        Reference(
            "Li et al. 2024, Inference Optimal VLMs Need Fewer Visual Tokens and More Parameters",
            "the law Y(N, T) and the cost 2 N (Q + V); the optimum by substitution",
            "2411.03312",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"a": 0.077, "b": 0.015, "K": 0.6, "text": 50, "budget": 5e11},
        {"a": 0.0282, "b": 0.0394, "K": 0.9, "text": 50, "budget": 5e12},
        {"a": 0.077, "b": 0.015, "K": 0.6, "text": 0, "budget": 1e11},
        {
            "a": 0.0709, "b": 0.0151, "K": 0.59, "text": 50, "budget": 6e11, "D": 0.05,
            "sizes": [0.5, 1.8, 4, 7],
        },
    ),
)  # fmt: skip
