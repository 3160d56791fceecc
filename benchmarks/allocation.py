"""Allocation: one price against an exact solver, a heap and a full sort.

Menus of 64 sample numbers up to 4,096, `v = 1 - (1 - p)^k`, tokens `t k`, and a budget of 2,400
tokens a query (about 8 samples). Ours includes the certificate, the even spend, the fallback and the
ladders; the rivals return the value alone.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import best_of, row, seconds
from scaling.allocators import allocate
from scaling.curves import Menu, over_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Row

SAMPLES = np.concatenate(
    [np.arange(1, 33), np.unique(np.round(np.geomspace(33, 4096, 32)).astype(np.int64))]
)
BUDGET = 2400.0
PART = 50_000


def measure() -> list[Row]:
    """One row a rival."""
    rng = np.random.default_rng(0)
    few = _menu(rng, classes=1000, curves=1000)
    more = _menu(rng, classes=10_000, curves=10_000)
    many = _menu(rng, classes=1_000_000, curves=65)
    part = replace(
        many, key={"q": many.key["q"][:PART]}, weight=many.weight[:PART], curve=many.curve[:PART]
    )
    return [
        _against(few, "scipy milp (HiGHS), gap 0", _milp),
        _against(more, "heapq greedy", _heap),
        _against(many, "full argsort of all marginals", _argsort, part),
    ]


def _against(
    menu: Menu, rival: str, solve: Callable[[Menu], float], part: Menu | None = None
) -> Row:
    timed = part or menu
    value: list[float] = []
    rival_s = seconds(lambda: value.append(solve(timed)))
    ours_s, *_ = best_of(lambda: allocate(menu, BUDGET, unit="tokens"), repeats=3)
    check = allocate(timed, BUDGET, unit="tokens")
    # A fast wrong answer is no answer.
    np.testing.assert_allclose(check.value, value[0], rtol=1e-4)
    share = timed.weight.size / menu.weight.size
    note = f"certified gap {allocate(menu, BUDGET, unit='tokens').relative_gap:.1e}"
    return row(
        f"allocate, {menu.weight.size:,} classes, {menu.start.size - 1:,} curves of 64 actions",
        ours_s,
        rival,
        rival_s / share,
        note=note if share == 1 else f"{note}; rival timed on {share:.0%} and scaled",
    )


def _menu(rng: np.random.Generator, *, classes: int, curves: int) -> Menu:
    p = rng.beta(0.3, 3, curves).clip(1e-5, 0.99)
    value = -np.expm1(np.log1p(-p)[:, None] * SAMPLES)
    menu = over_samples(
        value,
        SAMPLES,
        key={"q": np.arange(classes)},
        weight=np.ones(classes),
        curve=np.arange(classes) if classes == curves else rng.integers(0, curves, classes),
        cost={"samples": SAMPLES.astype(np.float64)},
        skip=True,
    )
    tokens = (rng.integers(100, 500, curves)[:, None] * SAMPLES).reshape(-1).astype(np.float64)
    return replace(menu, cost={**menu.cost, "tokens": tokens})


def _milp(menu: Menu) -> float:
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_matrix

    C, N = menu.weight.size, menu.value.size
    one = csr_matrix((np.ones(N), np.arange(N), menu.start), shape=(C, N))
    exact = milp(
        -menu.value,
        integrality=np.ones(N),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(one, 0, 1),
            LinearConstraint(csr_matrix(menu.cost["tokens"][None]), -np.inf, BUDGET * C),
        ],
        options={"mip_rel_gap": 0.0},
    )
    return float(-exact.fun / C)


def _heap(menu: Menu) -> float:
    """Best step first over concave curves, skipping what does not fit."""
    v, c = menu.value.tolist(), menu.cost["tokens"].tolist()
    start, curve = menu.start.tolist(), menu.curve.tolist()
    left, gain = BUDGET * len(curve), 0.0
    heap = [(-v[start[m]] / c[start[m]], c[start[m]], i, start[m]) for i, m in enumerate(curve)]
    heapq.heapify(heap)
    while heap:
        _, step, i, j = heapq.heappop(heap)
        if step > left:
            continue
        left -= step
        gain += v[j] - (v[j - 1] if j > start[curve[i]] else 0.0)
        if j + 1 < start[curve[i] + 1]:
            step = c[j + 1] - c[j]
            heapq.heappush(heap, (-(v[j + 1] - v[j]) / step, step, i, j + 1))
    return gain / len(curve)


def _argsort(menu: Menu) -> float:
    """Expand every class's marginals, sort them all, and take while they fit."""
    K = SAMPLES.size
    v = menu.value.reshape(-1, K)[menu.curve]
    c = menu.cost["tokens"].reshape(-1, K)[menu.curve]
    rise, step = np.diff(v, axis=1, prepend=0.0), np.diff(c, axis=1, prepend=0.0)
    order = np.argsort(-(rise / step), axis=None)
    used = np.cumsum(step.reshape(-1)[order])
    count = int(np.searchsorted(used, BUDGET * menu.curve.size, side="right"))
    return float(rise.reshape(-1)[order[:count]].sum() / menu.curve.size)
