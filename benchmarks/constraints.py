"""Allocation under three binding budgets against the monolithic linear program.

Menus of 64 sample numbers up to 4,096, `v = 1 - (1 - p)^k`; tokens `t k`, seconds `s ceil(k / 16)` and
bytes of cache `b sqrt(k)`, with t, s and b of each query's own. The token budget is 2,400 a query;
those of seconds and bytes are 85% of what that alone would use. Ours is the whole answer: prices, one
action a query, certificate, even spend, fallback and ladders. The rival is HiGHS (interior point) on
the linear relaxation, timed on a hundredth of the queries and scaled; its time grows faster than that.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.allocation import BUDGET, SAMPLES
from benchmarks.harness import row, seconds
from scaling.allocators import Limit, allocate
from scaling.curves import Menu, over_samples

if TYPE_CHECKING:
    from benchmarks.harness import Row
    from scaling.allocators import Allocation

QUERIES = 100_000
PART = 1000


def measure() -> list[Row]:
    """One row: the time of both, the gap and the prices in the note."""
    menu = _menu(np.random.default_rng(0), QUERIES)
    part = _menu(np.random.default_rng(0), PART)
    limits = _limits(part)
    value: list[float] = []
    rival_s = seconds(lambda: value.append(_linprog(part, limits)))
    ours: list[Allocation] = []
    ours_s = min(seconds(lambda: ours.append(allocate(menu, limits=limits))) for _ in range(2))
    check = allocate(part, limits=limits)
    # A fast wrong answer is no answer.
    np.testing.assert_allclose(check.bound, value[0], rtol=1e-7)
    found = ours[-1]
    prices = ", ".join(f"{limit.resource} {limit.price:.2e}" for limit in found.limits)
    return [
        row(
            f"allocate, {QUERIES:,} queries of 64 actions, three budgets",
            ours_s,
            "scipy linprog (HiGHS ipm), linear relaxation only",
            rival_s * QUERIES / PART,
            note=f"certified gap {found.relative_gap:.1e}; prices {prices}; rival timed on "
            f"{PART / QUERIES:.0%} and scaled",
        )
    ]


def _menu(rng: np.random.Generator, queries: int) -> Menu:
    p = rng.beta(0.3, 3, queries).clip(1e-5, 0.99)
    menu = over_samples(
        -np.expm1(np.log1p(-p)[:, None] * SAMPLES),
        SAMPLES,
        key={"q": np.arange(queries)},
        weight=np.ones(queries),
        curve=np.arange(queries),
        cost={"samples": SAMPLES.astype(np.float64)},
        skip=True,
    )

    def each(low: float, high: float, shape: np.ndarray) -> np.ndarray:
        return np.outer(rng.uniform(low, high, queries), shape).reshape(-1)

    cost = {
        "tokens": each(100, 500, SAMPLES),
        "seconds": each(1, 5, np.ceil(SAMPLES / 16)),
        "bytes": each(1, 9, np.sqrt(SAMPLES)),
    }
    return replace(menu, cost=cost)


def _limits(menu: Menu) -> list[Limit]:
    alone = allocate(menu, BUDGET, unit="tokens").spent
    others = [Limit(name, "average", 0.85 * alone[name]) for name in ("seconds", "bytes")]
    return [Limit("tokens", "average", BUDGET), *others]


def _linprog(menu: Menu, limits: list[Limit]) -> float:
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix, vstack

    C, N = menu.weight.size, menu.value.size
    one = csr_matrix((np.ones(N), np.arange(N), menu.start), shape=(C, N))
    use = csr_matrix(np.stack([menu.cost[limit.resource] for limit in limits]))
    most = [limit.amount * C for limit in limits]
    found = linprog(
        -menu.value,
        A_ub=vstack([one, use]),
        b_ub=np.concatenate((np.ones(C), most)),
        bounds=(0, 1),
        method="highs-ipm",
    )
    return float(-found.fun / C)
