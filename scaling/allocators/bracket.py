"""All queries at two prices, from one pass over their menus."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from scaling.allocators.query_menus import ConcaveMenus, place
from scaling.core.exact_sum import ExactSum, exact_sum
from scaling.curves import upper_hull
from scaling.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaling.allocators.query_menus import QueryMenus, Rows, Source
    from scaling.curves import BoolArray, FloatArray, IntArray

_CELLS = 1 << 16
"""Rungs in a chunk of listed menus by default: a few arrays of them fit into the cache of one core."""

_SEARCHED = 1 << 13
"""Queries in a chunk of searched menus by default."""

_BEFORE = np.array([[-1], [0]])


def size_of(source: Source) -> tuple[int, int]:
    """How many actions a query has, and how many queries a chunk holds by default.

    Raises:
        InputError: menus of wrong shape.
    """
    if isinstance(source, ConcaveMenus):
        return source.actions, _SEARCHED
    A = _checked(source, slice(0, 1)).value.shape[1]
    return A, max(_CELLS // A, 1)


@dataclass(frozen=True)
class Bracket:
    """All queries at two prices.

    Attributes:
        chosen: shape (N,), best rung at the higher price.
        weight: of all queries.
        settled_value, settled_spend: of the queries for which both prices choose the same.
        query: shape (R,), the other ones.
        own: shape (R,), their weights.
        start: shape (R + 1,), their vertices between the two prices are `start[i]:start[i + 1]`.
        rung, value, cost, slope: shape (V,), of the vertices, cheapest first; the first of a query
            has no slope.
        excess: shape (N,), what each query spends at the higher price over the budget; empty if
            not asked for.
        n_nonhull: rungs off the hull; None if not asked for.
    """

    chosen: NDArray[Any]
    weight: Fraction
    settled_value: Fraction
    settled_spend: Fraction
    query: IntArray
    own: FloatArray
    start: IntArray
    rung: NDArray[Any]
    value: FloatArray
    cost: FloatArray
    slope: FloatArray
    excess: FloatArray
    n_nonhull: int | None

    def limit(self, budget: float, per: Literal["query", "total"]) -> Fraction:
        """The most that all queries may spend."""
        return Fraction(budget) * (self.weight if per == "query" else 1)

    def spend_at(self, vertex: IntArray) -> Fraction:
        """What all queries spend, where those in the bracket are at these vertices."""
        return self.settled_spend + exact_sum(self.own * self.cost[vertex])

    @property
    def least(self) -> Fraction:
        """What all queries spend at the higher price."""
        return self.spend_at(self.start[:-1])

    @property
    def most(self) -> Fraction:
        """What all queries spend at the lower price."""
        return self.spend_at(self.start[1:] - 1)


def read(
    source: Source,
    high: float,
    low: float,
    chunk: int,
    *,
    count_nonhull: bool = False,
    share: float | None = None,
) -> Bracket:
    """Read all menus once.

    Args:
        source: of N queries.
        high: the higher price, may be infinite.
        low: the lower one.
        chunk: queries in memory at a time.
        count_nonhull: whether rungs off the hull are counted.
        share: budget of a query per unit of its weight, if `excess` is asked for.

    Raises:
        InputError: a shape or a number that is not allowed.
    """
    N = source.queries
    chosen: NDArray[Any] = np.empty(N, dtype=np.min_scalar_type(size_of(source)[0] - 1))
    excess = np.empty(0 if share is None else N)
    weight, settled_value, settled_spend = ExactSum(), ExactSum(), ExactSum()
    between, off = _Between(chosen.dtype), 0
    for at in range(0, N, chunk):
        which = slice(at, min(at + chunk, N))
        if isinstance(source, ConcaveMenus):
            found = _search(source, which, high, low)
        else:
            found = _list(source, which, high, low, count_nonhull=count_nonhull)
        chosen[which] = found.best
        own = np.ones(found.best.size) if found.weight is None else found.weight
        spend = own * found.cost
        if share is not None:
            excess[which] = spend - share * own
        far = np.ones(own.size, dtype=bool)
        far[found.near] = False
        between.add(at, own, found)
        settled_value.add((own * found.value)[far])
        settled_spend.add(spend[far])
        if found.weight is not None:
            weight.add(own)
        off += found.off
    return Bracket(
        chosen,
        weight.total() or Fraction(N),
        settled_value.total(),
        settled_spend.total(),
        *between.vertices(),
        excess,
        off if count_nonhull else None,
    )


class _Found(NamedTuple):
    """A chunk of B queries at two prices.

    Attributes:
        best, value, cost: shape (B,), of the best rung at the higher price.
        weight: shape (B,), or None.
        near: shape (R,), those for which another rung is best at the lower price.
        length: shape (R,), how many rungs these have from the one to the other.
        rung, v, c: shape (V,), of those rungs.
        off: rungs of all B that are off the hull, as far as they were counted.
    """

    best: IntArray
    value: FloatArray
    cost: FloatArray
    weight: FloatArray | None
    near: IntArray
    length: IntArray
    rung: IntArray
    v: FloatArray
    c: FloatArray
    off: int


# --- menus that are searched -----------------------------------------------------------------


def _search(source: ConcaveMenus, which: slice, high: float, low: float) -> _Found:
    B, top = which.stop - which.start, source.actions - 1
    query = np.arange(which.start, which.stop)
    best = _last_paying(source, which, np.zeros(B, dtype=np.int64), high, top)
    value, cost = source.at(which, best)
    weight = source.weights(which)
    _refuse_wrong(source, query, best, value, cost, weight)
    # one look tells most queries that they stay where they are
    near = np.flatnonzero(best < top)
    near = near[_pays(source, query[near], best[near] + 1, low)]
    last = _last_paying(source, query[near], best[near] + 1, low, top)
    length = last - best[near] + 1
    rung = np.arange(int(length.sum())) - np.repeat(np.cumsum(length) - last - 1, length)
    owner = np.repeat(query[near], length)
    v, c = source.at(owner, rung)
    _refuse_wrong(source, owner, rung, v, c, None)
    return _Found(best, value, cost, weight, near, length, rung, v, c, 0)


def _last_paying(
    source: ConcaveMenus, which: slice | IntArray, at: IntArray, price: float, top: int
) -> IntArray:
    """The last rung, from rung `at` on, the step to which is worth its cost at a price."""
    at, stride = at.copy(), 1 << int(top).bit_length() >> 1
    while stride:
        ahead = at + stride
        pays = _pays(source, which, np.minimum(ahead, top), price)
        at += stride * (pays & (ahead <= top))
        stride >>= 1
    return at


def _pays(source: ConcaveMenus, which: slice | IntArray, rung: IntArray, price: float) -> BoolArray:
    """Whether the steps to these rungs are worth their cost."""
    value, cost = source.at(which, rung + _BEFORE)
    step = cost[1] - cost[0]
    if not bool((step > 0).all()):
        i = int(np.flatnonzero(~(step > 0))[0])
        query = which.start + i if isinstance(which, slice) else int(which[i])
        raise InputError(
            f"Query {place(source, query)}, rung {rung[i]}: cost is {cost[1, i]} after {cost[0, i]}. "
            "Costs of concave menus must rise from rung to rung."
        )
    with np.errstate(over="ignore"):
        pays: BoolArray = value[1] - value[0] > price * step
    return pays


def _refuse_wrong(
    source: ConcaveMenus,
    query: IntArray,
    rung: IntArray,
    value: FloatArray,
    cost: FloatArray,
    weight: FloatArray | None,
) -> None:
    """Raise for the first number that is not allowed."""
    good = {
        "value is {}. It must be a finite number.": (value, np.isfinite(value)),
        "cost is {}. It must be a finite number, zero or more.": (
            cost,
            np.isfinite(cost) & (cost >= 0),
        ),
    }
    if weight is not None:
        allowed = np.isfinite(weight) & (weight > 0)
        good["weight is {}. It must be a positive number."] = (weight, allowed)
    for message, (column, allowed) in good.items():
        if not bool(allowed.all()):
            i = int(np.flatnonzero(~allowed)[0])
            where = f"Query {place(source, int(query[i]))}, rung {rung[i]}: "
            raise InputError(where + message.format(column[i]))


# --- menus that are listed -------------------------------------------------------------------


def _list(
    source: QueryMenus, which: slice, high: float, low: float, *, count_nonhull: bool
) -> _Found:
    value, cost, weight = _checked(source, which)
    best, last = _best(value, cost, high), _best(value, cost, low)
    query, cost = np.arange(best.size), np.broadcast_to(cost, value.shape)
    near = np.flatnonzero(best != last)
    c, first, final = cost[near], cost[near, best[near]], cost[near, last[near]]
    owner, rung = np.nonzero((c >= first[:, None]) & (c <= final[:, None]))
    return _Found(
        best,
        value[query, best],
        cost[query, best],
        weight,
        near,
        np.bincount(owner, minlength=near.size),
        rung,
        value[near[owner], rung],
        c[owner, rung],
        _count_off_hull(value, cost) if count_nonhull else 0,
    )


def _best(value: FloatArray, cost: FloatArray, price: float) -> IntArray:
    """Most valuable rung of each query after its cost; the cheapest one at an infinite price."""
    if price == math.inf:
        net = np.broadcast_to(-cost, value.shape)
    else:
        with np.errstate(over="ignore"):
            net = cost * -price
        net = np.add(net, value, out=net if net.shape == value.shape else None)
    best: IntArray = net.argmax(axis=1)
    return best


def _count_off_hull(value: FloatArray, cost: FloatArray) -> int:
    """Rungs that are no vertex of the hull of their query."""
    A = value.shape[1]
    odd = _not_concave(value, cost)
    v = np.delete(value, odd, axis=0) if odd.size else value
    off = int((A - 1 - v.argmax(axis=1)).sum())  # beyond the peak
    if odd.size:
        v, c = value[odd].reshape(-1), cost[odd].reshape(-1)
        off += v.size - upper_hull(v, c, np.arange(0, v.size + 1, A)).index.size
    return off


def _not_concave(value: FloatArray, cost: FloatArray) -> IntArray:
    """Queries whose costs do not rise, or whose slopes do, somewhere."""
    B, A = value.shape
    v, c = value.reshape(-1), cost.reshape(-1)
    rise, step = v[1:] - v[:-1], c[1:] - c[:-1]
    step[A - 1 :: A] = np.nan  # from query to query
    if bool((step <= 0).any()):
        return np.arange(B)
    with np.errstate(over="ignore"):
        rise /= step
        rising = np.flatnonzero(rise[1:] > rise[:-1] * (1 + 1e-12))
    return np.unique(rising // A)


def _checked(source: QueryMenus, which: slice) -> Rows:
    """Rows as they must be.

    Raises:
        InputError: a shape, value, cost or weight that is not allowed.
    """
    rows = source.rows(which)
    value, cost, weight = rows
    size = which.stop - which.start
    if value.ndim != 2 or value.shape[0] != size or not value.shape[1]:
        raise InputError(
            f"The values of {size} queries have shape {value.shape}; it must be ({size}, A) for A "
            "actions."
        )
    if cost.shape not in (value.shape, value.shape[1:]):
        raise InputError(
            f"The costs of {size} queries have shape {cost.shape}; it must be {value.shape[1:]} or "
            f"{value.shape}."
        )
    if weight is not None and weight.shape != (size,):
        raise InputError(f"The weights of {size} queries have shape {weight.shape}, not ({size},).")
    if not (np.isfinite(value.min()) and np.isfinite(value.max())):
        _refuse(source, which, value, ~np.isfinite(value), "value", "a finite number")
    if not (cost.min() >= 0 and np.isfinite(cost.max())):
        wrong = ~(np.isfinite(cost) & (cost >= 0))
        _refuse(source, which, cost, wrong, "cost", "a finite number, zero or more")
    if weight is not None and not (weight.min() > 0 and np.isfinite(weight.max())):
        wrong = ~(np.isfinite(weight) & (weight > 0))
        _refuse(source, which, weight[:, None], wrong[:, None], "weight", "a positive number")
    return rows


def _refuse(
    source: QueryMenus,
    which: slice,
    column: FloatArray,
    wrong: BoolArray,
    name: str,
    allowed: str,
) -> None:
    """Raise for the first number that is wrong."""
    i, j = (int(x[0]) for x in np.nonzero(np.atleast_2d(wrong)))
    query = place(source, which.start + i)
    number = np.atleast_2d(column)[i, j]
    where = f"Query {query}" if name == "weight" else f"Query {query}, rung {j}"
    raise InputError(f"{where}: {name} is {number}. It must be {allowed}.")


# --- hulls between the prices ----------------------------------------------------------------


@dataclass
class _Between:
    """Vertices of hulls from the best rung at one price to that at a lower one.

    Hulls are made of many queries at once.
    """

    rung: np.dtype[Any]
    waiting: list[tuple[NDArray[Any], ...]] = field(default_factory=list)
    done: list[tuple[NDArray[Any], ...]] = field(default_factory=list)
    size: int = 0

    def add(self, at: int, own: FloatArray, found: _Found) -> None:
        """Add a chunk that begins with query `at`; weights have shape (B,)."""
        near, rung = found.near, found.rung.astype(self.rung)
        self.waiting.append((at + near, own[near], found.length, rung, found.v, found.c))
        self.size += rung.size
        if self.size > 4 * _CELLS:
            self._make()

    def _make(self) -> None:
        query, own, length, rung, value, cost = _joined(self.waiting)
        hull = upper_hull(value, cost, _starts(length))
        self.done.append(
            (query, own, np.diff(hull.start), rung[hull.index], hull.value, hull.cost, hull.slope)
        )
        self.waiting, self.size = [], 0

    def vertices(
        self,
    ) -> tuple[IntArray, FloatArray, IntArray, NDArray[Any], FloatArray, FloatArray, FloatArray]:
        """What `Bracket` has of them, from `query` to `slope`."""
        self._make()
        query, own, length, rung, value, cost, slope = _joined(self.done)
        return query, own, _starts(length), rung, value, cost, slope


def _joined(parts: list[tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    return tuple(np.concatenate(columns) for columns in zip(*parts, strict=True))


def _starts(length: IntArray) -> IntArray:
    return np.concatenate(([0], np.cumsum(length, dtype=np.int64)))
