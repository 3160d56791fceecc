"""Allocation over very many queries: one pass against an exact solver and a full sort, its memory.

Menus of 64 numbers of samples from 0 to 4,096, `v = 1 - (1-p)^k`, tokens `t k`, and a budget of 2,400
tokens a query (about 8 samples). Ours includes the bound. Memory is the peak resident memory of a
fresh process that makes the rates and costs (16 bytes a query) and allocates, the interpreter and
the libraries included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import best_of, peak_mib, row, seconds
from scaling.allocators import Coverage, Rows, allocate_stream

if TYPE_CHECKING:
    from benchmarks.harness import Row
    from scaling.allocators import StreamAllocation
    from scaling.curves import IntArray

SAMPLES = np.concatenate(
    [np.arange(32), np.unique(np.round(np.geomspace(32, 4096, 32)).astype(np.int64))]
)
BUDGET = 2400.0
MOST_GAP = 1e-8
MOST_MIB = {1_000_000: 400, 10_000_000: 1536}


def measure() -> list[Row]:
    """The exact solver, the sort, and time a query as queries grow tenfold."""
    few, more, many, most = (queries(10**n) for n in (3, 5, 6, 7))
    exact: list[float] = []
    milp_s = seconds(lambda: exact.append(_milp(few)))
    (few_s,) = best_of(lambda: solve(few))
    # a fast wrong answer is no answer
    np.testing.assert_allclose(solve(few).value, exact[0], rtol=1e-5)

    more_s, many_s = best_of(lambda: solve(more), lambda: solve(many), repeats=3)
    found = solve(many)
    if found.relative_gap > MOST_GAP:
        raise ArithmeticError(f"the gap is {found.relative_gap:.1e}, over {MOST_GAP}")
    sorted_: list[float] = []
    sort_s = seconds(lambda: sorted_.append(_argsort(many)))
    np.testing.assert_allclose(found.value, sorted_[0], rtol=1e-7)
    (listed_s,) = best_of(lambda: solve(Listed(many)), repeats=2)
    (most_s,) = best_of(lambda: solve(most), repeats=1, warm=False)

    peaks = {n: peak_mib(f"from benchmarks.stream import *\nsolve(queries({n}))") for n in MOST_MIB}
    for n, peak in peaks.items():
        if peak > MOST_MIB[n]:
            raise MemoryError(f"{n:,} queries took {peak:.0f} MiB, over {MOST_MIB[n]}")
    notes = {n: f"peak {peak:.0f} MiB, must stay under {MOST_MIB[n]}" for n, peak in peaks.items()}
    each = "one query of {:,}"
    return [
        row("allocate 1,000 queries", few_s, "scipy milp (HiGHS), gap 0", milp_s, bar=300),
        row(
            "allocate 1,000,000 queries",
            many_s,
            "full argsort of all marginals",
            sort_s,
            bar=12,
            note=f"certified gap {found.relative_gap:.1e}; {notes[1_000_000]}",
        ),
        row(
            "the same, menus listed and not searched",
            listed_s,
            "full argsort of all marginals",
            sort_s,
            note="rungs off the hulls counted",
        ),
        row(each.format(10**6), many_s / 1e6, each.format(10**5), more_s / 1e5, bar=1),
        row(
            each.format(10**7),
            most_s / 1e7,
            each.format(10**6),
            many_s / 1e6,
            bar=1,
            note=notes[10_000_000],
        ),
    ]


@dataclass(frozen=True)
class Listed:
    """Menus of which nothing is known beforehand."""

    source: Coverage

    @property
    def queries(self) -> int:
        """N."""
        return self.source.queries

    def rows(self, which: slice | IntArray) -> Rows:
        """Menus of some of the queries."""
        index = np.arange(which.start, which.stop) if isinstance(which, slice) else which
        return Rows(*self.source.at(index[:, None], np.arange(SAMPLES.size)))


def queries(number: int) -> Coverage:
    """Queries with skewed success rates and mean lengths of their own."""
    rng = np.random.default_rng(0)
    rate = rng.beta(0.3, 3, number).clip(1e-5, 0.99)
    return Coverage(rate, rng.uniform(100, 500, number), SAMPLES)


def solve(source: Coverage | Listed) -> StreamAllocation:
    """Ours."""
    return allocate_stream(source, BUDGET, unit="tokens")


def _milp(source: Coverage) -> float:
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_matrix

    value, cost = source.at(np.arange(source.queries)[:, None], np.arange(SAMPLES.size))
    C, A = value.shape
    one = csr_matrix((np.ones(C * A), np.arange(C * A), np.arange(0, C * A + 1, A)), (C, C * A))
    exact = milp(
        -value.reshape(-1),
        integrality=np.ones(C * A),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(csr_matrix(cost.reshape(1, -1)), -np.inf, BUDGET * C),
        ],
        options={"mip_rel_gap": 0.0},
    )
    return float(-exact.fun / C)


def _argsort(source: Coverage) -> float:
    """Expand all marginals, sort them, and take while they fit."""
    value, cost = source.at(np.arange(source.queries)[:, None], np.arange(SAMPLES.size))
    rise, step = np.diff(value, axis=1), np.diff(cost, axis=1)
    del value, cost
    order = np.argsort(-(rise / step), axis=None)
    used = np.cumsum(step.reshape(-1)[order])
    count = int(np.searchsorted(used, BUDGET * source.queries, side="right"))
    return float(rise.reshape(-1)[order[:count]].sum() / source.queries)
