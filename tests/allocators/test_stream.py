"""The streaming solve against brute force, an exact solver, a heap and the solve in memory."""

from __future__ import annotations

import heapq
import json
import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import (
    ConcaveMenus,
    Coverage,
    PosteriorCoverage,
    Rows,
    allocate_stream,
    stream,
)
from scaling.allocators.price import dual_bound, solve
from scaling.curves import Hull, upper_hull
from scaling.errors import InfeasibleError, InputError, UsageError

many = settings(max_examples=80, derandomize=True, deadline=None)
SAMPLES = np.concatenate([np.arange(12), [16, 32, 64, 256, 1024, 4096]])


@dataclass(frozen=True)
class Listed:
    """Menus that do stand in memory."""

    value: np.ndarray
    cost: np.ndarray
    weight: np.ndarray | None = None

    @property
    def queries(self) -> int:
        return len(self.value)

    def rows(self, which):
        cost = self.cost[which] if self.cost.ndim == 2 else self.cost
        return Rows(self.value[which], cost, None if self.weight is None else self.weight[which])


@dataclass(frozen=True)
class Searched(Listed):
    """Concave menus that stand in memory, looked at a rung at a time."""

    rows = None

    @property
    def actions(self) -> int:
        return self.value.shape[1]

    def at(self, which, rung):
        return tuple(
            column[which, rung]
            if isinstance(which, np.ndarray)
            else column[np.arange(which.start, which.stop), rung]
            for column in (self.value, np.broadcast_to(self.cost, self.value.shape))
        )

    def weights(self, which):
        return None if self.weight is None else self.weight[which]


@pytest.fixture
def sampled(monkeypatch):
    """Samples decide where the price is, however few the queries are."""
    monkeypatch.setattr(stream, "_FEW", 64)


def random_menus(seed, queries, actions=6, *, whole=True, concave=False, weights=False):
    rng = np.random.default_rng(seed)
    value, cost = rng.random((queries, actions)), rng.integers(1, 30, (queries, actions)) * 1.0
    if concave:
        value = np.cumsum(-np.sort(-value, axis=1), axis=1) / actions
        cost = np.cumsum(np.sort(cost, axis=1), axis=1)
    if not whole:
        cost *= rng.lognormal(0, 1, (queries, actions))
        cost = np.sort(cost, axis=1) if concave else cost
    value, cost = np.insert(value, 2, 0.0, axis=1), np.insert(cost, 2, 0.0, axis=1)
    if concave:  # in order of cost
        value, cost = np.sort(value, axis=1), np.sort(cost, axis=1)
    return Listed(value, cost, rng.choice([0.5, 1.0, 3.0], queries) if weights else None)


def hull_of(source: Listed) -> tuple[Hull, np.ndarray]:
    B, A = source.value.shape
    cost = np.broadcast_to(source.cost, (B, A)).reshape(-1)
    return upper_hull(source.value.reshape(-1), cost, np.arange(0, B * A + 1, A)), np.arange(B)


def in_memory(source: Listed, total: float):
    """Rungs and price of `price.solve`."""
    hull, curve = hull_of(source)
    weight = np.ones(curve.size) if source.weight is None else source.weight
    found = solve(hull, curve, weight, total, key={"q": curve})
    A = source.value.shape[1]
    return hull.index[hull.start[:-1] + found.position] % A, found.price


def listed(source) -> Rows:
    """All menus of a source."""
    every = np.arange(source.queries)
    if isinstance(source, ConcaveMenus):
        rung = np.arange(source.actions)
        return Rows(*source.at(every[:, None], rung), source.weights(every))
    return source.rows(every)


def totals(source, chosen):
    """Exact value and cost of the rungs chosen."""
    rows = listed(source)
    at = np.arange(source.queries)
    weight = np.ones(at.size) if rows.weight is None else rows.weight
    cost = np.broadcast_to(rows.cost, rows.value.shape)
    return [
        sum(map(Fraction, (weight * column[at, chosen]).tolist())) for column in (rows.value, cost)
    ]


def assert_certified(source, a, budget, per="query"):
    """The result is what it says it is."""
    value, cost = totals(source, a.chosen)
    rows = listed(source)
    weight = np.ones(source.queries) if rows.weight is None else rows.weight
    W = sum(map(Fraction, weight.tolist()))
    limit = Fraction(budget) * (W if per == "query" else 1)
    assert cost <= limit
    assert a.spent == float(cost / (W if per == "query" else 1)) <= budget
    assert a.value == float(value / W)
    n, A = rows.value.shape
    bound = dual_bound(
        a.price,
        float(limit),
        value=rows.value.reshape(-1),
        cost=np.broadcast_to(rows.cost, rows.value.shape).reshape(-1),
        start=np.arange(0, n * A + 1, A),
        mass=weight,
    )
    assert a.bound == pytest.approx(bound / float(W), rel=1e-12, abs=1e-15)
    assert a.value <= a.bound
    assert a.relative_gap == pytest.approx((a.bound - a.value) / abs(a.bound or 1), abs=1e-15)


# --- against other solvers -------------------------------------------------------------------


@many
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 120), st.booleans(), st.booleans())
def test_brute_force_never_does_better_than_the_bound(seed, queries, half, concave, weights):
    source = random_menus(seed, queries, 4, concave=concave, weights=weights)
    budget = half / 4
    a = allocate_stream(source, budget, unit="tokens")
    assert_certified(source, a, budget)
    weight = np.ones(queries) if source.weight is None else source.weight
    best = max(
        math.fsum(weight * source.value[np.arange(queries), choice])
        for choice in product(range(5), repeat=queries)
        if weight @ source.cost[np.arange(queries), choice] <= budget * weight.sum()
    )
    assert a.value <= best / weight.sum() + 1e-12
    assert a.bound >= best / weight.sum() - 1e-12


@pytest.mark.parametrize("seed", range(6))
def test_an_exact_solver_is_within_one_step(seed):
    from scipy.optimize import LinearConstraint, milp
    from scipy.sparse import csr_matrix

    source = random_menus(seed, 40, 6, whole=seed % 2 == 0)
    n, A = source.value.shape
    budget = 6.5
    one = csr_matrix((np.ones(n * A), np.arange(n * A), np.arange(0, n * A + 1, A)), (n, n * A))
    exact = milp(
        -source.value.reshape(-1),
        integrality=np.ones(n * A),
        bounds=(0, 1),
        constraints=[
            LinearConstraint(one, 1, 1),
            LinearConstraint(source.cost.reshape(1, -1), -np.inf, budget * n),
        ],
        options={"mip_rel_gap": 0.0},
    )
    a = allocate_stream(source, budget, unit="tokens")
    assert_certified(source, a, budget)
    assert a.value <= -exact.fun / n + 1e-9 <= a.bound + 2e-9
    hull, _ = hull_of(source)
    critical = np.diff(hull.value, prepend=0.0)[hull.slope == a.price]
    assert a.bound - a.value <= critical.max() / n + 1e-12


@many
@given(
    st.integers(0, 10**6),
    st.integers(1, 60),
    st.floats(0, 40),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
def test_agrees_with_the_solve_in_memory(seed, queries, budget, whole, concave, weights):
    source = random_menus(seed, queries, whole=whole, concave=concave, weights=weights)
    weight = np.ones(queries) if source.weight is None else source.weight
    total = budget * float(weight.sum())
    rung, price = in_memory(source, total)
    a = allocate_stream(source, total, unit="tokens", per="total")
    assert_certified(source, a, total, "total")
    assert a.price == price
    np.testing.assert_array_equal(a.chosen, rung)
    hull, _ = hull_of(source)
    assert a.n_nonhull == source.value.size - hull.index.size
    assert a.n_menu == source.value.size


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("concave", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_solve_in_memory_from_a_sample(seed, concave, weights):
    source = random_menus(seed, 3000, whole=False, concave=concave, weights=weights)
    hull, _ = hull_of(source)
    critical = np.diff(hull.value, prepend=0.0)
    weight = np.ones(3000) if source.weight is None else source.weight
    for budget in (0.3, 4.0, 11.0, 25.0, 500.0):
        total = budget * float(weight.sum())
        rung, price = in_memory(source, total)
        a = allocate_stream(source, total, unit="tokens", per="total")
        assert_certified(source, a, total, "total")
        assert a.price == price
        # the fill ends where the bracket does
        most = critical[hull.slope == price].max(initial=0.0) * weight.max()
        best = float(totals(source, rung)[0])
        assert a.value * weight.sum() == pytest.approx(best, abs=most + 1e-9)
        assert (a.chosen != rung).mean() < 0.01
        assert a.n_bracket < 3000 or budget > 25


def test_a_heap_takes_the_same_steps():
    rng = np.random.default_rng(5)
    p, t = rng.beta(0.3, 3, 500).clip(1e-5, 0.99), rng.uniform(100, 500, 500)
    source, total = Coverage(p, t, SAMPLES), 8 * 300.0 * 500
    value, cost, _ = listed(source)
    left, level = total, np.zeros(500, dtype=int)
    heap = [(-(value[i, 1] - value[i, 0]) / (cost[i, 1] - cost[i, 0]), i) for i in range(500)]
    heapq.heapify(heap)
    while heap:
        _, i = heapq.heappop(heap)
        j = level[i] + 1
        if cost[i, j] - cost[i, j - 1] > left:
            continue
        left -= cost[i, j] - cost[i, j - 1]
        level[i] = j
        if j + 1 < SAMPLES.size and value[i, j + 1] > value[i, j]:
            heapq.heappush(
                heap, (-(value[i, j + 1] - value[i, j]) / (cost[i, j + 1] - cost[i, j]), i)
            )
    a = allocate_stream(source, total, unit="tokens", per="total")
    np.testing.assert_array_equal(a.chosen, level)
    assert a.relative_gap < 1e-4


# --- what must hold --------------------------------------------------------------------------


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("whole", [False, True])
def test_chunks_leave_no_trace(whole):
    source = random_menus(3, 1000, whole=whole, weights=True)
    first = allocate_stream(source, 5.0, unit="tokens")
    for chunk in (1, 7, 64, 5000):
        other = allocate_stream(source, 5.0, unit="tokens", chunk=chunk)
        np.testing.assert_array_equal(other.chosen, first.chosen)
        for name in ("price", "value", "bound", "relative_gap", "spent", "n_nonhull", "n_bracket"):
            assert getattr(other, name) == getattr(first, name)


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("known", [False, True])
def test_chunks_leave_no_trace_in_coverage(known):
    rng = np.random.default_rng(1)
    n, per_sample = np.full(700, 9), rng.uniform(1, 9, 700)
    p = rng.beta(0.3, 3, 700)
    source = (
        Coverage(p, per_sample, SAMPLES)
        if known
        else PosteriorCoverage.of_counts(
            0.3, 3.0, n, rng.binomial(n, p), per_sample=per_sample, samples=SAMPLES
        )
    )
    first = allocate_stream(source, 20.0, unit="tokens")
    assert_certified(source, first, 20.0)
    assert first.n_nonhull == 0
    # searched or listed is the same
    other = allocate_stream(Listed(*listed(source)), 20.0, unit="tokens")
    np.testing.assert_array_equal(other.chosen, first.chosen)
    assert (other.price, other.value, other.bound) == (first.price, first.value, first.bound)
    for chunk in (1, 50, 700):
        other = allocate_stream(source, 20.0, unit="tokens", chunk=chunk)
        np.testing.assert_array_equal(other.chosen, first.chosen)
        assert (other.price, other.value, other.bound) == (first.price, first.value, first.bound)


@pytest.mark.parametrize("scale", [1e-310, 1e-150, 1e150])
def test_costs_of_any_size(scale):
    menus = random_menus(2, 30, whole=True)
    source = Listed(menus.value, menus.cost * scale)
    a = allocate_stream(source, 5.0 * scale, unit="tokens")
    value, cost = totals(source, a.chosen)
    assert cost <= Fraction(5.0 * scale) * 30
    assert a.value == float(value / 30) <= a.bound < 1
    assert scale < 1e-300 or a.relative_gap < 0.05  # slopes that overflow are alike


@pytest.mark.usefixtures("sampled")
def test_order_exchanges_identical_queries_only():
    source = random_menus(4, 1500, whole=True)
    doubled = Listed(np.tile(source.value, (2, 1)), np.tile(source.cost, (2, 1)))
    mixed = np.random.default_rng(0).permutation(3000)
    other = Listed(doubled.value[mixed], doubled.cost[mixed])
    a, b = (allocate_stream(s, 5.0, unit="tokens") for s in (doubled, other))
    assert (a.price, a.value, a.bound, a.spent) == (b.price, b.value, b.bound, b.spent)
    back = np.empty(3000, dtype=np.uint8)
    back[mixed] = b.chosen
    pairs = [np.sort(chosen.reshape(2, -1), axis=0) for chosen in (a.chosen, back)]
    np.testing.assert_array_equal(*pairs)


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("concave", [False, True])
def test_more_budget_never_buys_less(concave):
    source = random_menus(8, 60, whole=True, concave=concave)
    value, bound, price = -1.0, -1.0, math.inf
    for total in range(0, 60 * 24, 19):
        a = allocate_stream(source, total, unit="tokens", per="total")
        assert a.value >= value
        assert a.bound >= bound - 1e-15
        assert a.price <= price
        value, bound, price = a.value, a.bound, a.price


@pytest.mark.usefixtures("sampled")
def test_a_sample_that_misleads_costs_another_pass(monkeypatch):
    source = random_menus(6, 2000)
    # one query, between those that are drawn, uses most of the budget
    weight = np.ones(2000)
    picked = np.zeros(2000, dtype=bool)
    original = stream.part

    def spy(inner, index):
        if inner is source:
            picked[index] = True
        return original(inner, index)

    monkeypatch.setattr(stream, "part", spy)
    allocate_stream(source, 5.0, unit="tokens")
    hidden = int(np.flatnonzero(~picked)[0])
    weight[hidden] = 3e4
    source = Listed(source.value, source.cost, weight)
    for total in (5.0 * 2000, 5.0 * 32000):
        a = allocate_stream(source, total, unit="tokens", per="total")
        assert a.passes > 1
        assert_certified(source, a, total, "total")
        assert a.price == in_memory(source, total)[1]


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("queries", [1, 50, 2500])
def test_searched_menus_are_as_listed_ones(queries, weights):
    rng = np.random.default_rng(queries)
    rise = -np.sort(-rng.random((queries, 9)), axis=1)
    step = rng.integers(1, 9, (queries, 1)) * np.ones((1, 9))
    columns = [np.insert(np.cumsum(x, axis=1), 0, 0.0, axis=1) for x in (rise / 9, step)]
    weight = rng.choice([0.5, 1.0, 3.0], queries) if weights else None
    for budget in (0.0, 0.7, 6.0, 30.0, 1e3):
        searched, one = (
            allocate_stream(kind(*columns, weight), budget, unit="tokens")
            for kind in (Searched, Listed)
        )
        np.testing.assert_array_equal(searched.chosen, one.chosen)
        for name in ("price", "value", "bound", "spent", "n_menu", "n_bracket"):
            assert getattr(searched, name) == getattr(one, name)
        assert_certified(Searched(*columns, weight), searched, budget)


def test_searched_menus_of_thousands_of_rungs():
    rng = np.random.default_rng(1)
    source = Coverage(rng.beta(0.3, 3, 20_000), rng.uniform(100, 500, 20_000), np.arange(4097))
    a = allocate_stream(source, 2400.0, unit="tokens")
    assert a.n_menu == 20_000 * 4097
    assert a.relative_gap < 1e-6
    part = np.arange(0, 20_000, 400)
    value, cost = source.at(part[:, None], np.arange(4097))
    np.testing.assert_array_equal((value - a.price * cost).argmax(axis=1), a.chosen[part])


def test_many_equal_queries_are_parted_exactly():
    a = allocate_stream(
        Listed(np.tile([0.0, 0.5, 0.75], (9000, 1)), np.array([0.0, 1.0, 2.0])), 1.25, unit="usd"
    )
    assert (a.value, a.spent, a.price, a.relative_gap) == (0.5625, 1.25, 0.25, 0.0)
    np.testing.assert_array_equal(a.chosen, np.repeat([2, 1], [2250, 6750]))


def test_a_budget_that_does_not_bind_has_no_price():
    source = random_menus(9, 20)
    a = allocate_stream(source, 1e9, unit="tokens")
    assert (a.price, a.relative_gap) == (0.0, 0.0)
    np.testing.assert_array_equal(source.value[np.arange(20), a.chosen], source.value.max(axis=1))


def test_costs_shared_by_all_queries_are_as_costs_of_each():
    source = random_menus(10, 300)
    shared = source.cost[0]
    one = allocate_stream(Listed(source.value, shared), 4.0, unit="tokens")
    each = allocate_stream(Listed(source.value, np.tile(shared, (300, 1))), 4.0, unit="tokens")
    np.testing.assert_array_equal(one.chosen, each.chosen)
    assert one.value == each.value
    assert one.n_nonhull == each.n_nonhull


def test_no_count_of_rungs_off_the_hull_unless_asked():
    a = allocate_stream(random_menus(1, 5), 3.0, unit="tokens", count_nonhull=False)
    assert a.n_nonhull is None


# --- sources ---------------------------------------------------------------------------------


def test_coverage_is_the_formula():
    p = np.array([0.0, 1e-12, 0.3, 1.0], dtype=np.float64)
    value, cost, weight = listed(Coverage(p, np.array([1, 2, 3, 4], dtype=np.int16), SAMPLES))
    assert weight is None
    exact = [[float(1 - (1 - Fraction(x)) ** int(k)) for k in SAMPLES] for x in p]
    np.testing.assert_allclose(value, exact, rtol=1e-13)
    assert (value[:, 0] == 0).all()
    np.testing.assert_array_equal(cost, np.outer([1, 2, 3, 4], SAMPLES))


@pytest.mark.parametrize("table", [True, False])
def test_posterior_coverage_is_the_expected_coverage(monkeypatch, table):
    from scipy.integrate import quad
    from scipy.stats import beta

    from scaling.allocators import query_menus

    if not table:
        monkeypatch.setattr(query_menus, "_TABLE", 0)
    n, c = np.array([4, 4, 16, 4]), np.array([0, 2, 16, 2])
    source = PosteriorCoverage.of_counts(
        0.5, 3.0, n, c, per_sample=np.array([1.0, 2.0, 3.0, 4.0]), samples=np.array([0, 1, 5, 40])
    )
    value, cost, _ = listed(source)
    for row, i in zip(value, range(4), strict=True):
        posterior = beta(0.5 + c[i], 3.0 + n[i] - c[i])
        for got, k in zip(row, (0, 1, 5, 40), strict=True):
            want = quad(lambda p, k=k, q=posterior: q.pdf(p) * (1 - (1 - p) ** k), 0, 1)[0]
            assert got == pytest.approx(want, rel=1e-7)
    np.testing.assert_array_equal(cost, np.outer([1.0, 2.0, 3.0, 4.0], [0, 1, 5, 40]))


def test_posterior_marginal_values_fall_so_that_filling_is_exact():
    # marginal value B(a+1, b+j-1) / B(a, b) of sample j (Damani et al. 2410.04707, with a posterior)
    rng = np.random.default_rng(2)
    n = np.full(200, 8)
    c = rng.binomial(8, rng.beta(0.5, 2, 200))
    source = PosteriorCoverage.of_counts(
        0.5, 2.0, n, c, per_sample=np.ones(200), samples=np.arange(40)
    )
    a = allocate_stream(source, 5.0, unit="samples")
    assert a.spent == 5.0
    assert a.relative_gap <= 1e-12
    assert a.chosen.sum() == 1000


# --- what is refused -------------------------------------------------------------------------


def test_too_small_a_budget_names_the_smallest():
    source = Listed(np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([0.1, 0.7]))
    with pytest.raises(InfeasibleError, match=r"uses 0\.1\. Give at least that") as caught:
        allocate_stream(source, 0.05, unit="usd")
    assert caught.value.smallest == 0.1
    assert allocate_stream(source, 0.1, unit="usd").chosen.tolist() == [0, 0]
    with pytest.raises(InfeasibleError, match=r"0\.2 usd in total is too small"):
        allocate_stream(Listed(np.full((3, 1), 0.5), np.array([0.1])), 0.2, unit="usd", per="total")


@pytest.mark.usefixtures("sampled")
def test_too_small_a_budget_is_refused_from_a_sample():
    source = Listed(np.random.default_rng(0).random((500, 3)), np.array([2.0, 3.0, 9.0]))
    with pytest.raises(InfeasibleError, match=r"uses 2\.0") as caught:
        allocate_stream(source, 1.0, unit="usd")
    assert caught.value.smallest == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"budget": -1.0}, "The budget is -1.0"),
        ({"budget": math.nan}, "The budget is nan"),
        ({"per": "day"}, "Unknown per='day'"),
        ({"chunk": 0}, "chunk is 0"),
    ],
)
def test_bad_questions(change, message):
    with pytest.raises(UsageError, match=message):
        allocate_stream(random_menus(0, 5), **{"budget": 1.0, "unit": "tokens", **change})


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize(
    ("column", "number", "message"),
    [
        ("value", math.nan, "Query 77, rung 1: value is nan"),
        ("value", math.inf, "Query 77, rung 1: value is inf"),
        ("cost", -1.0, "Query 77, rung 1: cost is -1.0. It must be a finite number, zero or more"),
        ("cost", math.nan, "Query 77, rung 1: cost is nan"),
        ("weight", 0.0, "Query 77: weight is 0.0. It must be a positive number"),
    ],
)
def test_bad_numbers_are_named(column, number, message):
    source = random_menus(0, 100, weights=True)
    column = getattr(source, column)
    column[(77, 1) if column.ndim == 2 else 77] = number
    with pytest.raises(InputError, match=message):
        allocate_stream(source, 4.0, unit="tokens")


@pytest.mark.usefixtures("sampled")
@pytest.mark.parametrize(
    ("column", "number", "message"),
    [
        ("value", math.nan, "Query 77, rung 0: value is nan"),
        ("cost", -1.0, "Query 77, rung 0: cost is -1.0"),
        ("cost", 5.0, "Query 77, rung 1: cost is 1.0 after 5.0. Costs of concave menus must rise"),
        ("weight", 0.0, "Query 77, rung .: weight is 0.0"),
    ],
)
def test_bad_numbers_of_searched_menus_are_named(column, number, message):
    value, cost = np.tile([0.1, 0.2], (100, 1)), np.tile([0.0, 1.0], (100, 1))
    source = Searched(value, cost, np.ones(100))
    column = getattr(source, column)
    column[(77, 0) if column.ndim == 2 else 77] = number
    with pytest.raises(InputError, match=message):
        allocate_stream(source, 0.5, unit="tokens")


def test_bad_shapes_are_named():
    value = np.zeros((2, 3))
    for source, message in (
        (Listed(value[:0], np.zeros(3)), "no query"),
        (Listed(value[:, 0], np.zeros(3)), "values of 1 queries have shape"),
        (Listed(value, np.zeros(2)), "costs of 1 queries have shape"),
        (Listed(value, np.zeros(3), np.ones((2, 2))), "weights of 1 queries have shape"),
    ):
        with pytest.raises(InputError, match=message):
            allocate_stream(source, 1.0, unit="usd")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": np.array([0.5, 1.5])}, "success rate of query 1 is 1.5"),
        ({"rate": np.zeros((1, 2))}, "success rate has shape"),
        ({"per_sample": np.array([1.0, 0.0])}, "cost of a sample of query 1 is 0.0"),
        ({"per_sample": np.ones(3)}, "there are 2 queries"),
        ({"weight": np.array([1.0, math.nan])}, "weight of query 1 is nan"),
        ({"samples": np.array([1, 1])}, "numbers of samples are"),
        ({"samples": np.array([0.5])}, "numbers of samples are"),
        ({"samples": np.array([], dtype=int)}, "numbers of samples are"),
    ],
)
def test_bad_sources(change, message):
    good = {"rate": np.array([0.1, 0.2]), "per_sample": np.ones(2), "samples": SAMPLES}
    with pytest.raises(InputError, match=message):
        Coverage(**{**good, **change})


def test_bad_posteriors():
    one = np.ones(2)
    with pytest.raises(InputError, match=r"parameter a of query 1 is 0\.0"):
        PosteriorCoverage(np.array([1.0, 0.0]), one, one, SAMPLES)
    with pytest.raises(InputError, match="Give one of each"):
        PosteriorCoverage(one, np.ones(3), one, SAMPLES)


def test_result_is_plain_data():
    found = allocate_stream(
        Coverage(np.array([0.1, 0.4]), np.ones(2), np.arange(4)), 1.5, unit="samples"
    )
    told = json.loads(found.to_json())
    assert told["queries_by_rung"] == np.bincount(found.chosen).tolist()
    assert told["certificate"]["value"] == found.value
    assert found.to_frame()["rung"].tolist() == found.chosen.tolist()
