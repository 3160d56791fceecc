"""Menus of single queries, listed or searched some at a time: what `allocate_stream` reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scaling.core.special import log_beta_ratio
from scaling.curves import FloatArray, IntArray, distinct
from scaling.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_TABLE = 1 << 23
"""Most values of distinct posteriors that are kept."""


class Rows(NamedTuple):
    """Menus of B queries with A actions each.

    Attributes:
        value: shape (B, A), finite.
        cost: shape (A,) where all queries pay the same, or (B, A); in any order, zero or more.
        weight: shape (B,), positive; all 1 where None.
    """

    value: FloatArray
    cost: FloatArray
    weight: FloatArray | None = None


class QueryMenus(Protocol):
    """Menus of N queries over the same number of actions, to be read more than once.

    The menu of a query is the same in every call, whatever else is asked for beside it.
    """

    @property
    def queries(self) -> int:
        """N, how many there are."""
        ...

    def rows(self, which: slice | IntArray) -> Rows:
        """The menus of a range of queries (a slice with both ends), or of those listed."""
        ...


@runtime_checkable
class ConcaveMenus(Protocol):
    """Menus that are searched and not listed: a menu of A rungs takes some log2(A) looks at a price.

    From rung to rung costs rise, and value per cost of a step never does (but for rounding). That is
    taken on trust, but for the costs of the rungs looked at.
    """

    @property
    def queries(self) -> int:
        """N, how many there are."""
        ...

    @property
    def actions(self) -> int:
        """A, how many each has."""
        ...

    def at(self, which: slice | IntArray, rung: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values and costs of rungs, whose shape broadcasts against that of the queries."""
        ...

    def weights(self, which: slice | IntArray) -> FloatArray | None:
        """Weights of queries, positive; all 1 where None."""
        ...


Source = QueryMenus | ConcaveMenus


def part(source: Source, index: IntArray) -> Source:
    """Some of the queries of a source."""
    if isinstance(source, ConcaveMenus):
        return _ConcavePart(source, index)
    return _Part(source, index)


def place(source: Source, query: int) -> int:
    """Which query of the whole source a query of a part is."""
    while isinstance(source, _Part | _ConcavePart):
        query, source = int(source.index[query]), source.source
    return query


@dataclass(frozen=True)
class _Part:
    source: QueryMenus
    index: IntArray

    @property
    def queries(self) -> int:
        return self.index.size

    def rows(self, which: slice | IntArray) -> Rows:
        return self.source.rows(self.index[which])


@dataclass(frozen=True)
class _ConcavePart:
    source: ConcaveMenus
    index: IntArray

    @property
    def queries(self) -> int:
        return self.index.size

    @property
    def actions(self) -> int:
        return self.source.actions

    def at(self, which: slice | IntArray, rung: IntArray) -> tuple[FloatArray, FloatArray]:
        return self.source.at(self.index[which], rung)

    def weights(self, which: slice | IntArray) -> FloatArray | None:
        return self.source.weights(self.index[which])


@dataclass(frozen=True)
class Coverage:
    """Repeated sampling of queries with known success rates.

    `k` samples of a query are worth `1 - (1-p)^k` and cost `t k`. Arrays are kept as they are given:
    float32 rates and int16 costs take less memory.

    Attributes:
        rate: p, shape (N,), in [0, 1].
        per_sample: t, cost of a sample, shape (N,), positive.
        samples: k, shape (A,), whole numbers, strictly increasing; 0 is doing nothing.
        weight: shape (N,), positive; all 1 where None.

    Raises:
        InputError: shapes that do not fit or a number that is not allowed; its place is named.
    """

    rate: NDArray[Any]
    per_sample: NDArray[Any]
    samples: NDArray[Any]
    weight: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        _check(self.rate, "success rate", "from 0 to 1", lambda p: (p >= 0) & (p <= 1))
        _check_costs(self.per_sample, self.samples, self.weight, self.rate.size)

    @property
    def queries(self) -> int:
        """N."""
        return self.rate.size

    @property
    def actions(self) -> int:
        """A."""
        return self.samples.size

    def at(self, which: slice | IntArray, rung: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values and costs of rungs."""
        p = np.asarray(self.rate[which], dtype=np.float64)
        k = self.samples[rung].astype(np.float64)
        with np.errstate(divide="ignore"):
            miss = np.maximum(np.log1p(-p), -1e4)  # p = 1: finite, and its exponential is 0
        value = np.expm1(miss * k)
        return np.negative(value, out=value), self.per_sample[which] * k

    def weights(self, which: slice | IntArray) -> FloatArray | None:
        """Weights of queries."""
        return None if self.weight is None else np.asarray(self.weight[which], dtype=np.float64)


@dataclass(frozen=True)
class PosteriorCoverage:
    """Repeated sampling of queries whose success rates have Beta posteriors.

    After `c` successes in `n` attempts under a Beta(α, β) prior the rate of a query is distributed as
    Beta(a, b) with `a = α+c`, `b = β+n-c`. So `k` more samples are worth `1 - B(a, b+k) / B(a, b)`,
    which is what they cover in expectation, and not what the mean rate would cover. They cost `t k`.

    Attributes:
        a, b: shape (N,), positive.
        per_sample: t, cost of a sample, shape (N,), positive.
        samples: k, shape (A,), whole numbers, strictly increasing; 0 is doing nothing.
        weight: shape (N,), positive; all 1 where None.

    Raises:
        InputError: shapes that do not fit or a number that is not allowed; its place is named.
    """

    a: NDArray[Any]
    b: NDArray[Any]
    per_sample: NDArray[Any]
    samples: NDArray[Any]
    weight: NDArray[Any] | None = None
    _table: FloatArray | None = field(init=False, repr=False, compare=False, default=None)
    _place: NDArray[Any] | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        for name, each in (("parameter a", self.a), ("parameter b", self.b)):
            _check(each, name, "a positive number", lambda x: np.isfinite(x) & (x > 0))
        if self.b.shape != self.a.shape:
            raise InputError(f"a has shape {self.a.shape} and b {self.b.shape}. Give one of each.")
        _check_costs(self.per_sample, self.samples, self.weight, self.a.size)
        a, b = np.unique(self.a), np.unique(self.b)
        code = np.searchsorted(a, self.a) * b.size + np.searchsorted(b, self.b)
        codes, place = distinct(code)
        if codes.size * self.samples.size <= _TABLE:
            of_a, of_b = a[codes // b.size, None], b[codes % b.size, None]
            table = -np.expm1(log_beta_ratio(of_a, of_b, self.samples))
            object.__setattr__(self, "_table", table)
            narrow = np.min_scalar_type(codes.size)
            object.__setattr__(self, "_place", place.astype(narrow))

    @classmethod
    def of_counts(
        cls,
        alpha: float,
        beta: float,
        n: ArrayLike,
        c: ArrayLike,
        *,
        per_sample: NDArray[Any],
        samples: NDArray[Any],
        weight: NDArray[Any] | None = None,
    ) -> PosteriorCoverage:
        """Posteriors of queries of which `c` of `n` attempts succeeded, shape (N,) each."""
        lost = np.asarray(n) - np.asarray(c)
        return cls(alpha + np.asarray(c), beta + lost, per_sample, samples, weight)

    @property
    def queries(self) -> int:
        """N."""
        return self.a.size

    @property
    def actions(self) -> int:
        """A."""
        return self.samples.size

    def at(self, which: slice | IntArray, rung: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values and costs of rungs."""
        k = self.samples[rung].astype(np.float64)
        if self._table is not None and self._place is not None:
            value = self._table[self._place[which], rung]
        else:
            value = -np.expm1(log_beta_ratio(self.a[which], self.b[which], k))
        return value, self.per_sample[which] * k

    def weights(self, which: slice | IntArray) -> FloatArray | None:
        """Weights of queries."""
        return None if self.weight is None else np.asarray(self.weight[which], dtype=np.float64)


def _check(array: NDArray[Any], name: str, allowed: str, good: Any) -> None:
    """Raise where a number is not allowed."""
    if array.ndim != 1 or not array.size:
        raise InputError(f"The {name} has shape {array.shape}. Give one for each query, (N,).")
    wrong = np.flatnonzero(~good(array))
    if wrong.size:
        raise InputError(
            f"The {name} of query {wrong[0]} is {array[wrong[0]]}. It must be {allowed}."
        )


def _check_costs(
    per_sample: NDArray[Any], samples: NDArray[Any], weight: NDArray[Any] | None, queries: int
) -> None:
    for name, array in (("cost of a sample", per_sample), ("weight", weight)):
        if array is None:
            continue
        _check(array, name, "a positive number", lambda x: np.isfinite(x) & (x > 0))
        if array.size != queries:
            raise InputError(f"The {name} has shape {array.shape}; there are {queries} queries.")
    whole = samples.ndim == 1 and samples.size > 0 and bool((samples == np.rint(samples)).all())
    if not whole or samples[0] < 0 or bool((np.diff(samples) <= 0).any()):
        raise InputError(
            f"The numbers of samples are {samples}. Give whole numbers, strictly increasing, zero or more."
        )
