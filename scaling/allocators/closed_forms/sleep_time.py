"""Thinking about a context before it is asked about: when sleep-time tokens pay.

S tokens spent once on a context bring the tokens of each of its queries from b0 down to b. Tokens at
test time cost t times as much, since somebody waits. Q queries a context cost
`t b + S / Q` each instead of `t b0`, so sleeping pays from `Q* = S / (t (b0 - b))` queries on. Q is
the expected number, contexts that are never asked about included: they waste S.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.closed_forms import ClosedForm, Optimum, curves_menu, number, numbers
from scaling.allocators.limit import Limit
from scaling.core.law import Reference
from scaling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from scaling.curves import FloatArray, Menu


def break_even(sleep: ArrayLike, test: ArrayLike, plain: float, ratio: float = 10.0) -> FloatArray:
    """`Q* = S / (t (b0 - b))`, infinite where a plan saves nothing; shape of the plans.

    Args:
        sleep: S, tokens on a context, zero or more, shape (P,).
        test: b, tokens of a query then, zero or more, shape (P,).
        plain: b0, tokens of a query without, for the same accuracy.
        ratio: t, price of a test-time token over that of a sleep-time one.

    Raises:
        InputError: a parameter out of range.
    """
    S, b, b0, t = _parameters(sleep, test, plain, ratio)
    saved = t * (b0 - b)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(saved > 0, S / saved, np.inf)


def cost_per_query(
    sleep: ArrayLike, test: ArrayLike, queries: ArrayLike, ratio: float = 10.0
) -> FloatArray:
    """`t b + S / Q`, in sleep-time tokens.

    Args:
        sleep: S.
        test: b.
        queries: Q, expected per context, positive; the three broadcast.
        ratio: t.

    Raises:
        InputError: a parameter out of range.
    """
    t = number("ratio", ratio)
    S, b = np.asarray(sleep, dtype=np.float64), np.asarray(test, dtype=np.float64)
    Q = np.asarray(queries, dtype=np.float64)
    if not ((S >= 0).all() and (b >= 0).all() and (Q > 0).all()):
        raise InputError("Tokens are zero or more, and the queries of a context are positive.")
    return np.asarray(t * b + S / Q)


def _parameters(
    sleep: ArrayLike, test: ArrayLike, plain: float, ratio: float
) -> tuple[FloatArray, FloatArray, float, float]:
    S = numbers("sleep", sleep, open_=False)
    b = numbers("test", test, open_=False, size=S.size)
    if np.unique(S).size < S.size or (S == 0).any():
        raise InputError(
            "The plans' sleep tokens are positive and differ: sleeping not at all is on offer anyway."
        )
    return S, b, number("plain", plain), number("ratio", ratio)


def solve(
    sleep: ArrayLike, test: ArrayLike, plain: float, queries: ArrayLike, ratio: float = 10.0
) -> Optimum:
    """The plan of each context that saves the most, `Q t (b0 - b) - S`, or none.

    Args:
        sleep: S of the plans on offer, positive, shape (P,).
        test: b of each, for the same accuracy.
        plain: b0.
        queries: Q, expected of each context, zero or more, shape (C,).
        ratio: t.

    Returns:
        Knobs `sleep_tokens`, 0 for none, and `queries`, from how many on the plan pays (the best
        one's, where none does), as a real and as a whole number. `price` is what one more query of
        every context would save. The residual is by how much another plan saves more: none.

    Raises:
        InputError: a parameter out of range.
    """
    S, b, b0, t = _parameters(sleep, test, plain, ratio)
    Q = numbers("queries", queries, open_=False)
    tokens, saved = np.append(0.0, S), np.append(0.0, t * (b0 - b))
    net = Q[:, None] * saved - tokens
    order = np.argsort(tokens, kind="stable")  # of equal savings the plan that sleeps less
    best = order[np.argmax(net[:, order], axis=1)]
    pays = break_even(S, b, b0, t)
    from_ = np.where(best > 0, np.append(np.inf, pays)[best], pays.min())
    chosen = tokens[best]
    given: dict[str, Any] = {"sleep": S, "test": b, "plain": b0, "queries": Q, "ratio": t}
    worth = value({"sleep_tokens": chosen}, **given)
    return Optimum(
        action={"sleep_tokens": chosen, "queries": from_},
        whole={"sleep_tokens": chosen, "queries": np.floor(from_) + 1},
        value=worth,
        whole_value=worth,
        price=float(saved[best].sum()),
        residual=float((net.max(axis=1) - net[np.arange(Q.size), best]).max()) / (t * b0),
        cautions=() if np.isfinite(pays).any() else ("no plan saves tokens",),
    )


def value(
    action: Mapping[str, Any],
    sleep: Any,
    test: Any,
    plain: float,
    queries: Any,
    ratio: float = 10.0,
) -> float:
    """Tokens saved over all contexts, in sleep-time tokens."""
    S, b, b0, t = _parameters(sleep, test, plain, ratio)
    by_tokens = dict(zip(S.tolist(), (t * (b0 - b)).tolist(), strict=True)) | {0.0: 0.0}
    chosen = np.asarray(action["sleep_tokens"], dtype=np.float64).tolist()
    Q = np.atleast_1d(np.asarray(queries, dtype=np.float64)).tolist()
    return math.fsum(q * by_tokens[s] - s for q, s in zip(Q, chosen, strict=True))


def menu(
    sleep: ArrayLike, test: ArrayLike, plain: float, queries: ArrayLike, ratio: float = 10.0
) -> tuple[Menu, Limit]:
    """A class for each context: test-time tokens saved against sleep-time tokens.

    The budget is what the plans come to: at that, one more sleep-time token buys about one.
    """
    S, b, b0, t = _parameters(sleep, test, plain, ratio)
    Q = numbers("queries", queries, open_=False)
    best = solve(S, b, b0, Q, t).whole["sleep_tokens"]
    tokens = np.append(0.0, S)
    saved = Q[:, None] * np.append(0.0, t * (b0 - b))
    span = float(saved.max() - saved.min()) or 1.0
    curves: list[Any] = [
        ((row - saved.min()) / span, tokens, {"sleep_tokens": tokens}) for row in saved
    ]
    return curves_menu(curves, "tokens"), Limit("tokens", "total", float(best.sum()), Q.size)


CLOSED_FORM = ClosedForm(
    name="sleep-time",
    meaning="Sleep-time tokens on a context, spread over its queries.",
    formula="Q* = S / (t (b0 - b)); cost per query t b + S / Q",
    references=(
        Reference(
            "Lin et al. 2025, Sleep-time Compute: Beyond Inference Scaling at Test-time",
            "section 5.3, amortising sleep-time compute over queries of one context, t = 10",
            "2504.13171",
        ),
    ),
    solve=solve,
    value=value,
    menu=menu,
    examples=(
        {"sleep": [5000], "test": [100], "plain": 500, "queries": [1, 12, 13, 50], "ratio": 1},
        {
            "sleep": [2000, 8000, 20000], "test": [450, 300, 200], "plain": 600,
            "queries": [0, 1, 2, 4, 30],
        },
        {"sleep": [1000], "test": [700], "plain": 600, "queries": [5]},
    ),
)  # fmt: skip
