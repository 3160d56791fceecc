"""One price for very many queries, whose menus never stand in memory at once.

The problem, the order of the steps and the fill are those of `price`; only the way to the critical step
differs. A sample of the queries says between which two prices it lies. One pass over all menus then
takes the best action at either price: where they are the same, that action is settled, since what is
best at a price changes one way only. Of the other queries, a few, the rungs between the two go onto
their concave hulls, and those steps are sorted.

Actions at a price are best of the whole menu, concave or not, so hulls are needed in between only. If
the sample misled (what it says is checked against the exact spend of all queries), another pass with
wider prices follows. Sums are exact, so neither chunks nor sample show in the result.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.allocators.bracket import Bracket, read, size_of
from scaling.allocators.query_menus import part
from scaling.core.exact_sum import exact_sum
from scaling.errors import InfeasibleError, InputError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from scaling.allocators.query_menus import Source
    from scaling.curves import FloatArray, IntArray

_FEW = 4096
"""So many queries need no sample,"""

_MOST_RUNGS = 1 << 20
"""unless they have more rungs than this."""

_BLOCK = 1 << 16
"""Most steps that are looked at together when filling."""

_WIDTHS = (3.0, 12.0, math.inf)
"""Standard errors of the sampled spend on either side of the budget, pass by pass."""


@dataclass(frozen=True)
class StreamAllocation:
    """What each query gets, with its certificate.

    Attributes:
        chosen: shape (N,), the rung of each query; the smallest unsigned integers that hold it.
        price: value per unit of the resource, 0 where the budget does not bind.
        value: weighted mean per query.
        bound: upper bound on the value of any allocation, the Lagrange dual at the price.
        relative_gap: `(bound - value) / |bound|`.
        budget, per, unit: what was given.
        spent: what is used, in the terms of the budget, which it never exceeds.
        n_menu: rungs on offer over all queries.
        n_nonhull: rungs that no price selects; None where they were not counted.
        n_bracket: queries that were settled by sorting.
        passes: how often all menus were read.
    """

    chosen: NDArray[Any]
    price: float
    value: float
    bound: float
    relative_gap: float
    budget: float
    per: Literal["query", "total"]
    unit: str
    spent: float
    n_menu: int
    n_nonhull: int | None
    n_bracket: int
    passes: int

    def to_frame(self) -> pd.DataFrame:
        """One row a query: the rung that it gets."""
        import pandas as pd

        return pd.DataFrame({"rung": self.chosen})

    def document(self) -> dict[str, Any]:
        """As plain data (`kind: "scaling-stream-allocation"`), with how many queries get each rung."""
        from scaling._version import __version__

        return {
            "schema_version": "1.0",
            "kind": "scaling-stream-allocation",
            "resource": self.unit,
            "per": self.per,
            "budget": self.budget,
            "realised": self.spent,
            "price": self.price,
            "certificate": {
                "value": self.value,
                "bound": self.bound,
                "relative_gap": self.relative_gap,
            },
            "menu": {"rungs": self.n_menu, "nonhull": self.n_nonhull},
            "queries": self.chosen.size,
            "queries_by_rung": np.bincount(self.chosen).tolist(),
            "sorted_queries": self.n_bracket,
            "passes": self.passes,
            "tool": {"name": "scaling", "version": __version__},
        }

    def to_json(self) -> str:
        """`document` as JSON text."""
        return json.dumps(self.document(), allow_nan=False)


def allocate_stream(
    source: Source,
    budget: float,
    *,
    unit: str,
    per: Literal["query", "total"] = "query",
    chunk: int | None = None,
    count_nonhull: bool = True,
) -> StreamAllocation:
    """Choose an action for every query so that the budget buys the most.

    Maximises `sum_i w_i v_i(x_i)` under `sum_i w_i c_i(x_i) <= budget sum_i w_i` (or `<= budget`, a total),
    which holds exactly, not up to rounding. Steps are taken in the order of their slopes, then of
    the cost they reach, of their size, of weight (heaviest first) and, as a last resort, in the order
    of the queries. After the critical step, filling goes on with whatever fits down to the end of the
    bracket; the gap says what that leaves. Memory: the actions chosen (a byte a query for up to
    256 actions), a chunk, and the steps in the bracket.

    Args:
        source: menus of N queries, read once or more: `Coverage`, `PosteriorCoverage`, or your own,
            listed (`QueryMenus`) or, where they are concave, searched (`ConcaveMenus`).
        budget: average per query under the weights, or total with `per="total"`.
        unit: the resource that costs are in.
        per: what `budget` is for.
        chunk: queries in memory at a time; has no influence on the result.
        count_nonhull: count the rungs off the hulls of listed menus, which takes longer than the
            solve where many menus are not concave. Menus that are searched have none.

    Raises:
        UsageError: a budget that is negative or no number, or another `per` or `chunk` than allowed.
        InputError: no query, menus of wrong shape, or a number that is not allowed; its place is named.
        InfeasibleError: even the cheapest actions cost more than the budget; the smallest feasible one
            is in the message.
    """
    if not (np.isfinite(budget) and budget >= 0):
        raise UsageError(f"The budget is {budget}. It must be a finite number, zero or more.")
    if per not in ("query", "total"):
        raise UsageError(f"Unknown per='{per}'. A budget is per 'query' or per 'total'.")
    if chunk is not None and chunk < 1:
        raise UsageError(f"chunk is {chunk}. It must be 1 or more queries.")
    N = source.queries
    if N < 1:
        raise InputError("The source has no query. Give at least one.")
    A, usual = size_of(source)
    chunk = chunk or usual
    few = min(_FEW, max(_MOST_RUNGS // A, 64))

    dearest, cheapest = math.inf, 0.0  # the price is known to lie between
    passes, n_nonhull = 0, None
    for width in _WIDTHS:
        high, low = _prices(source, budget, per, width, chunk, few)
        high, low = min(high, dearest), max(low, cheapest)
        if high <= low:
            continue
        bracket = read(source, high, low, chunk, count_nonhull=count_nonhull and not passes)
        passes += 1
        n_nonhull = n_nonhull if bracket.n_nonhull is None else bracket.n_nonhull
        limit = bracket.limit(budget, per)
        if bracket.least > limit:
            if high == math.inf:
                _refuse_too_small(bracket, budget, per, unit)
            cheapest = high
        elif low > 0 and bracket.most <= limit:
            dearest = low
        else:
            break
    steps = _Steps.of(bracket)
    settled = _settle(bracket, steps, limit)
    chosen = bracket.chosen
    chosen[bracket.query] = bracket.rung[settled.vertex]
    value = settled.value / bracket.weight
    bound = max(settled.bound / bracket.weight, value)
    return StreamAllocation(
        chosen=chosen,
        price=settled.price,
        value=float(value),
        bound=float(bound),
        relative_gap=float((bound - value) / abs(bound)) if bound else 0.0,
        budget=float(budget),
        per=per,
        unit=unit,
        spent=float(settled.spend / (bracket.weight if per == "query" else 1)),
        n_menu=N * A,
        n_nonhull=n_nonhull,
        n_bracket=bracket.query.size,
        passes=passes,
    )


def _refuse_too_small(
    bracket: Bracket, budget: float, per: Literal["query", "total"], unit: str
) -> None:
    """Raise, naming the smallest budget that is feasible."""
    needed = bracket.least
    amount = needed / bracket.weight if per == "query" else needed
    smallest = float(amount)
    if Fraction(smallest) < amount:
        smallest = math.nextafter(smallest, math.inf)
    whose = "per query" if per == "query" else "in total"
    raise InfeasibleError(
        f"The budget of {budget!r} {unit} {whose} is too small: the cheapest action of every query "
        f"uses {smallest!r}. Give at least that, or put doing nothing (value 0, cost 0) on the menus.",
        smallest=float(needed / bracket.weight),
    )


# --- where the price is ----------------------------------------------------------------------


def _prices(
    source: Source,
    budget: float,
    per: Literal["query", "total"],
    width: float,
    chunk: int,
    few: int,
) -> tuple[float, float]:
    """Two prices between which the critical one is, for all that a sample can say.

    One query is drawn from each of `N^(5/6)` equal ranges, and what they spend is known for every
    price between two that a smaller sample gives in the same way. The prices are those at which they
    spend `width` standard errors less than their share of the budget, and as much more.
    """
    N = source.queries
    if few >= N or width == math.inf:
        return math.inf, 0.0
    size = math.ceil(N ** (5 / 6))
    place = np.arange(size) + np.random.default_rng(0).random(size)
    drawn = part(source, np.minimum((place * (N / size)).astype(np.int64), N - 1))
    share = budget if per == "query" else budget * size / N
    high, low = _prices(drawn, share, per, width, chunk, few)
    bracket = read(drawn, high, low, chunk, share=budget if per == "query" else 0.0)
    steps = _Steps.of(bracket)
    spend = float(bracket.least) + np.cumsum(steps.need)
    target = float(bracket.limit(share, per))
    whole = int(np.searchsorted(spend, target))
    excess = bracket.excess
    excess[bracket.query] += np.bincount(
        steps.owner[:whole], steps.need[:whole], bracket.query.size
    )
    error = width * float(excess.std()) * math.sqrt(size * (1 - size / N))
    dear = int(np.searchsorted(spend, target - error)) - 1
    cheap = int(np.searchsorted(spend, target + error)) + 1
    # a little apart from the slope itself: many queries may have that very step
    if dear >= 0:
        high = float(steps.slope[dear]) * (1 + 1e-9)
    if cheap < spend.size:
        low = float(steps.slope[cheap]) * (1 - 1e-9)
    return high, low


# --- inside the bracket ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Steps:
    """Steps of the queries in a bracket from vertex to vertex, in the order in which they are taken.

    Attributes:
        to: shape (S,), the vertex that a step leads to.
        owner: shape (S,), whose it is, counted within the bracket.
        need: shape (S,), weight by cost of the step.
        slope: shape (S,), non-increasing.
    """

    to: IntArray
    owner: IntArray
    need: FloatArray
    slope: FloatArray

    @classmethod
    def of(cls, bracket: Bracket) -> _Steps:
        """Steepest first; where slopes are equal, as `allocate_stream` says."""
        start = bracket.start
        leads = np.ones(bracket.rung.size, dtype=bool)
        leads[start[:-1]] = False
        to = np.flatnonzero(leads)
        owner = np.repeat(np.arange(start.size - 1), np.diff(start) - 1)
        own = bracket.own[owner]
        need = own * bracket.cost[to] - own * bracket.cost[to - 1]
        slope = bracket.slope[to]
        order = np.argsort(-slope, kind="stable")
        ranked = slope[order]
        if bool((ranked[1:] == ranked[:-1]).any()):
            order = np.lexsort((owner, -own, need, bracket.cost[to], -slope))
        return cls(to[order], owner[order], need[order], ranked)


@dataclass(frozen=True)
class _Settled:
    """Vertices of the queries in the bracket, and totals over all queries."""

    vertex: IntArray
    price: float
    value: Fraction
    bound: Fraction
    spend: Fraction


def _settle(bracket: Bracket, steps: _Steps, limit: Fraction) -> _Settled:
    """Take steps in their order while they fit, then whatever still does."""
    start, own, cost = bracket.start, bracket.own, bracket.cost
    to, owner, need = steps.to, steps.owner, steps.need

    def exactly(i: int) -> Fraction:
        weight = own[owner[i]]
        return Fraction(weight * cost[to[i]]) - Fraction(weight * cost[to[i] - 1])

    rest = float(limit - bracket.least)
    whole = int(np.searchsorted(np.cumsum(need), rest, side="right"))
    vertex = start[:-1] + np.bincount(owner[:whole], minlength=own.size)
    left = limit - bracket.spend_at(vertex)
    while left < 0:  # the running sum was rounded
        whole -= 1
        vertex[owner[whole]] -= 1
        left += exactly(whole)
    while whole < to.size and exactly(whole) <= left:
        left -= exactly(whole)
        vertex[owner[whole]] += 1
        whole += 1

    price = float(steps.slope[whole]) if whole < to.size else 0.0
    bound = bracket.settled_value + Fraction(price) * (limit - bracket.settled_spend)
    if own.size:
        with np.errstate(over="ignore"):
            net = bracket.value - price * cost
        bound += exact_sum(own * np.maximum.reduceat(net, start[:-1]))

    at, block = whole, 64
    while at < to.size:
        # what is left only shrinks
        fits = np.flatnonzero(need[at : at + block] <= float(left) * (1 + 1e-12))
        for i in (at + fits).tolist():
            # a query that skipped a step takes none of those that build on it
            if vertex[owner[i]] == to[i] - 1 and exactly(i) <= left:
                left -= exactly(i)
                vertex[owner[i]] += 1
        at, block = at + block, min(2 * block, _BLOCK)
    value = bracket.settled_value + exact_sum(own * bracket.value[vertex])
    return _Settled(vertex, price, value, bound, limit - left)
