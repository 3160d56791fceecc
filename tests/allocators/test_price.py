"""The allocator against brute force, an exact solver, and what must hold for every budget."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import Allocation, allocate
from scaling.curves import Menu, merge, over_samples, upper_hull
from scaling.errors import InfeasibleError

many = settings(max_examples=80, derandomize=True, deadline=None)


def build(curves, weight=None, curve=None, *, skip=False):
    """A menu of `[(value, cost), ...]` curves, one class each or as `curve` says."""
    curve = np.arange(len(curves)) if curve is None else np.asarray(curve)
    flat = [point for points in curves for point in points]
    return Menu(
        key={"q": np.arange(curve.size)},
        weight=np.ones(curve.size) if weight is None else np.asarray(weight, dtype=float),
        curve=curve,
        start=np.concatenate(([0], np.cumsum([len(c) for c in curves]))),
        value=np.array([v for v, _ in flat], dtype=float),
        cost={"tokens": np.array([c for _, c in flat], dtype=float)},
        action={"samples": np.concatenate([np.arange(1, len(c) + 1) for c in curves])},
        skip=skip,
    )


def recomputed(a: Allocation, resource="tokens"):
    """Average value and cost from the ladder's own rungs."""
    value, cost = np.zeros(a.chosen.size), np.zeros(a.chosen.size)
    acts = a.chosen >= 0
    value[acts] = a.ladder.value[a.chosen[acts]]
    cost[acts] = a.ladder.cost[resource][a.chosen[acts]]
    for part in a.split:
        for out, column in ((value, a.ladder.value), (cost, a.ladder.cost[resource])):
            low = column[part.lower] if part.lower >= 0 else 0.0
            out[part.class_index] = low + part.share * (column[part.upper] - low)
    w = a.ladder.weight
    return math.fsum(w * value) / math.fsum(w), math.fsum(w * cost) / math.fsum(w)


def brute(menu: Menu, budget: float) -> float:
    """The best average value over every combination of rungs; minus infinity if none fits."""
    offers = []
    for m in menu.curve:
        part = range(menu.start[m], menu.start[m + 1])
        offer = [(menu.value[j], menu.cost["tokens"][j]) for j in part]
        offers.append([*offer, (0.0, 0.0)] if menu.skip else offer)
    W, best = menu.weight.sum(), -math.inf
    for choice in product(*offers):
        if sum(w * c for w, (_, c) in zip(menu.weight, choice, strict=True)) <= budget * W:
            best = max(best, sum(w * v for w, (v, _) in zip(menu.weight, choice, strict=True)) / W)
    return best


point = st.tuples(st.integers(0, 64).map(lambda v: v / 64), st.integers(0, 12))
curve_lists = st.lists(st.lists(point, min_size=1, max_size=5), min_size=1, max_size=4)
weights = st.lists(st.sampled_from([1.0, 2.0, 3.0, 0.5]), min_size=4, max_size=4)


@many
@given(curve_lists, weights, st.integers(0, 30), st.booleans(), st.booleans())
def test_budget_bound_and_gap(curves, weight, quarter, skip, split):
    menu = build(curves, weight[: len(curves)], skip=skip)
    budget = quarter / 2
    best = brute(menu, budget)
    if best == -math.inf:
        with pytest.raises(InfeasibleError) as caught:
            allocate(menu, budget, unit="tokens")
        smallest = caught.value.smallest
        assert smallest is not None
        assert smallest > budget
        assert allocate(menu, smallest, unit="tokens").spent["tokens"] <= smallest
        return
    a = allocate(menu, budget, unit="tokens", split=split)
    value, spent = recomputed(a)
    assert value == pytest.approx(a.value, abs=1e-15)
    assert spent <= budget
    assert a.limits[0].realised == a.spent["tokens"] <= budget
    assert a.bound >= best - 1e-12
    assert a.value <= a.bound
    assert a.uniform_value is None or a.value >= a.uniform_value
    if not split:
        assert a.value <= best + 1e-12
    # the gap is at most the one step of one class that did not fit
    hull = upper_hull(menu.value, menu.cost["tokens"], menu.start, nothing=skip)
    rise = np.diff(hull.value, prepend=np.nan)
    is_first = np.isnan(hull.slope)
    on_curve = np.repeat(menu.weight, np.diff(hull.start))
    critical = (rise * on_curve)[~is_first & (hull.slope == a.price)]
    most = critical.max(initial=0.0) / menu.weight.sum()
    assert a.bound - a.value <= most + 1e-12
    if split:
        assert a.bound - a.value <= 1e-12
        assert len(a.split) <= 1


@many
@given(st.lists(st.lists(st.integers(1, 63), min_size=1, max_size=5), min_size=1, max_size=4))
def test_greedy_is_exact_for_unit_steps(rises):
    # concave curves with unit costs: steps of each curve sorted, best first
    curves = []
    for rise in rises:
        total = np.cumsum(sorted(rise, reverse=True)) / 1024
        curves.append([(float(v), k + 1) for k, v in enumerate(total)])
    menu = build(curves, skip=True)
    for total in range(sum(map(len, curves)) + 2):
        a = allocate(menu, total, unit="tokens", per="total", queries=len(curves))
        assert a.value == pytest.approx(brute(menu, total / len(curves)), abs=1e-15)
        assert a.relative_gap <= 1e-12
        assert a.limits[0].realised == min(total, sum(map(len, curves)))


@many
@given(curve_lists, st.booleans())
def test_value_and_price_are_monotone_in_the_budget(curves, skip):
    menu = build(curves, skip=skip)
    value, bound, price = -1.0, -1.0, math.inf
    for total in range(12 * len(curves) + 1):
        try:
            a = allocate(menu, total, unit="tokens", per="total", queries=len(curves))
        except InfeasibleError:
            assert value == -1.0
            continue
        assert a.value >= value - 1e-15
        assert a.bound >= bound - 1e-12
        assert a.price is not None
        assert a.price <= price
        value, bound, price = a.value, a.bound, a.price


@many
@given(
    curve_lists,
    st.lists(st.integers(0, 3), min_size=1, max_size=8),
    st.lists(st.sampled_from([1.0, 2.0, 0.3]), min_size=8, max_size=8),
    st.integers(0, 24),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_order_of_classes_and_curves_never_matters(curves, which, weight, half, split, random):
    curve = np.array([m % len(curves) for m in which])
    menu = build(curves, weight[: curve.size], curve, skip=True)
    a = allocate(menu, half / 2, unit="tokens", split=split)
    order = np.array(random.sample(range(curve.size), curve.size))
    turn = random.sample(range(len(curves)), len(curves))  # curve m moves to place turn.index(m)
    other = build([curves[m] for m in turn], None, np.argsort(turn)[curve[order]], skip=True)
    other = replace(other, key={"q": menu.key["q"][order]}, weight=menu.weight[order])
    b = allocate(other, half / 2, unit="tokens", split=split)
    assert (a.value, a.bound, a.price, a.spent) == (b.value, b.bound, b.price, b.spent)
    rows = {row["class"]["q"]: (row["status"], row["value"], row["cost"]) for row in a.rows()}
    assert rows == {
        row["class"]["q"]: (row["status"], row["value"], row["cost"]) for row in b.rows()
    }
    assert {(part.class_index, part.share) for part in a.split} == {
        (int(order[part.class_index]), part.share) for part in b.split
    }


@many
@given(curve_lists, st.integers(0, 24), st.sampled_from([0.125, 1000.0, 4096.0]))
def test_units_of_cost_and_weight_do_not_matter(curves, half, scale):
    menu = build(curves, skip=True)
    a = allocate(menu, half / 2, unit="tokens")
    scaled = replace(menu, cost={"tokens": menu.cost["tokens"] * scale}, weight=menu.weight * 8)
    b = allocate(scaled, half / 2 * scale, unit="tokens")
    assert a.chosen.tolist() == b.chosen.tolist()
    assert a.value == b.value
    assert b.price == pytest.approx(a.price / scale)


def test_exact_solver_stays_below_the_bound():
    from scipy.optimize import LinearConstraint, milp

    rng = np.random.default_rng(3)
    for case in range(12):
        C, K = 12, 6
        value = np.sort(rng.random((C, K)), axis=1)
        cost = np.cumsum(rng.integers(1, 50, (C, K)), axis=1).astype(float)
        weight = rng.integers(1, 4, C).astype(float)
        curves = [list(zip(value[i], cost[i], strict=True)) for i in range(C)]
        menu = build(curves, weight, skip=bool(case % 2))
        budget = float(rng.integers(50, 120))
        a = allocate(menu, budget, unit="tokens")
        w = np.repeat(weight, K)
        one = np.kron(np.eye(C), np.ones(K))
        exact = milp(
            -(w * value.reshape(-1)),
            integrality=np.ones(C * K),
            bounds=(0, 1),
            constraints=[
                LinearConstraint(one, 0 if menu.skip else 1, 1),
                LinearConstraint((w * cost.reshape(-1))[None], -np.inf, budget * weight.sum()),
            ],
            options={"mip_rel_gap": 0.0},
        )
        assert exact.success
        best = -exact.fun / weight.sum()
        assert a.value <= best + 1e-9
        assert best <= a.bound + 1e-9


def heap_greedy(menu: Menu, total: float) -> float:
    """Best first over concave curves, skipping what does not fit."""
    import heapq

    heap = []
    v, c, start = menu.value, menu.cost["tokens"], menu.start
    for i, m in enumerate(menu.curve.tolist()):
        heapq.heappush(heap, (-v[start[m]] / c[start[m]], c[start[m]], i, int(start[m])))
    gain = 0.0
    while heap:
        _, step, i, j = heapq.heappop(heap)
        if step > total:
            continue
        first = start[menu.curve[i]]
        total -= step
        gain += v[j] - (v[j - 1] if j > first else 0.0)
        if j + 1 < start[menu.curve[i] + 1]:
            step = c[j + 1] - c[j]
            heapq.heappush(heap, (-(v[j + 1] - v[j]) / step, step, i, j + 1))
    return gain


def test_many_classes_on_few_curves_equal_the_heap():
    rng = np.random.default_rng(11)
    C, M, K = 3000, 17, 40
    k = np.arange(1, K + 1)
    value = -np.expm1(np.log1p(-rng.uniform(0.001, 0.7, M))[:, None] * k)
    cost = rng.integers(3, 30, M)[:, None] * k
    menu = over_samples(
        value,
        k,
        key={"q": np.arange(C)},
        weight=np.ones(C),
        curve=rng.integers(0, M, C),
        cost={"samples": k.astype(float)},
        skip=True,
    )
    menu = replace(menu, cost={**menu.cost, "tokens": cost.reshape(-1).astype(float)})
    for total in (1, 7, 1000, 54321, 200003):
        a = allocate(menu, total, unit="tokens", per="total", queries=C)
        assert a.value * C == pytest.approx(heap_greedy(menu, total), abs=1e-9)
        realised = a.limits[0].realised
        assert realised is not None
        assert realised <= total


def test_fractional_weights_and_costs_never_exceed_the_budget():
    rng = np.random.default_rng(2)
    for case in range(40):
        C, M, K = 60, 5, 12
        value = np.sort(rng.random((M, K)), axis=1)
        cost = np.cumsum(rng.random((M, K)), axis=1)
        curves = [list(zip(value[m], cost[m], strict=True)) for m in range(M)]
        menu = build(curves, rng.uniform(0.1, 3, C), rng.integers(0, M, C), skip=True)
        budget = float(rng.uniform(0.1, 5))
        a = allocate(menu, budget, unit="tokens", split=bool(case % 2))
        assert recomputed(a)[1] <= budget
        # and once more at exactly what was spent, where sums of fractions are tight
        b = allocate(menu, a.spent["tokens"], unit="tokens")
        assert recomputed(b)[1] <= a.spent["tokens"]


def test_a_lone_class_with_a_nonconcave_curve_gets_the_even_spend():
    # no price selects the middle rung, and the last one is too dear
    menu = build([[(0.1, 1), (0.3, 5), (0.9, 10)]])
    a = allocate(menu, 6, unit="tokens")
    assert a.value == 0.3
    assert a.rows()[0]["action"] == {"samples": 2}
    assert a.uniform_value == 0.3
    assert a.n_nonhull == 1
    assert a.nonhull == ({"samples": 2},)
    assert a.ladder.value.tolist() == [0.1, 0.3]  # still concave, and nothing dearer
    assert a.unspent == 1
    assert a.unspent_cause is not None
    assert "even" in a.unspent_cause


def test_split_divides_the_critical_class():
    menu = build([[(0.2, 2), (0.6, 10)], [(0.1, 2), (0.15, 10)]], [3.0, 1.0])
    a = allocate(menu, 5, unit="tokens", split=True)
    # class 0 may use (5 * 4 - 2 * 4) = 12 more of the 24 that its step needs
    assert [(p.class_index, p.share) for p in a.split] == [(0, 0.5)]
    part = a.split[0]
    assert part.lower == a.chosen[0]
    assert part.upper == part.lower + 1
    assert a.value == pytest.approx((3 * 0.4 + 0.1) / 4)
    assert a.relative_gap == pytest.approx(0, abs=1e-15)
    assert a.unspent == 0
    whole = allocate(menu, 5, unit="tokens")
    assert whole.unspent == 1  # the other class's step still fits
    assert whole.unspent_cause is not None
    assert "--split" in whole.unspent_cause


def test_split_may_begin_with_doing_nothing():
    menu = build([[(0.5, 4)]], skip=True)
    a = allocate(menu, 1, unit="tokens", split=True)
    assert a.chosen.tolist() == [-1]
    assert a.split[0].lower == -1
    assert a.ladder.value[a.split[0].upper] == 0.5
    assert a.split[0].share == 0.25


@pytest.mark.parametrize("skip", [False, True])
def test_free_rungs_are_taken(skip):
    menu = build([[(0.2, 0), (0.5, 3)], [(0.0, 0), (0.4, 4)]], skip=skip)
    a = allocate(menu, 0, unit="tokens")
    assert a.value == pytest.approx(0.1)
    assert a.spent == {"tokens": 0.0}
    statuses = [row["status"] for row in a.rows()]
    assert statuses == ["chosen", "abstain" if skip else "chosen"]


def test_rungs_that_add_nothing_are_left():
    a = allocate(build([[(0.5, 1), (0.5, 2), (0.5, 9)]]), 100, unit="tokens")
    assert a.spent == {"tokens": 1.0}
    assert a.price == 0
    assert a.unspent_cause is not None
    assert "best action" in a.unspent_cause
    assert a.n_nonhull == 2


def test_one_class_one_rung():
    menu = build([[(0.25, 3)]])
    a = allocate(menu, 3, unit="tokens")
    assert (a.value, a.bound, a.relative_gap, a.price) == (0.25, 0.25, 0.0, 0.0)
    with pytest.raises(InfeasibleError, match="uses 3") as caught:
        allocate(menu, 2, unit="tokens")
    assert caught.value.smallest == 3


def test_ties_go_to_the_smaller_key():
    menu = build([[(0.5, 2)]], np.ones(5), np.zeros(5, dtype=int), skip=True)
    menu = replace(menu, key={"q": np.array(["e", "c", "a", "d", "b"])})
    a = allocate(menu, 4, unit="tokens", per="total", queries=5)
    served = {r["class"]["q"] for r in a.rows() if r["status"] == "chosen"}
    assert served == {"a", "b"}


def test_a_menu_of_two_models_uses_both():
    k = np.arange(1, 33)
    parts = []
    for model, p, each in (("small", [0.5, 0.01], 10), ("big", [0.9, 0.4], 100)):
        parts.append(
            over_samples(
                -np.expm1(np.log1p(-np.array(p))[:, None] * k),
                k,
                key={"level": np.array(["easy", "hard"])},
                weight=np.array([10.0, 10.0]),
                curve=np.array([0, 1]),
                cost={"samples": k * 1.0, "tokens": k * float(each)},
                model=model,
            )
        )
    a = allocate(merge(parts), 200, unit="tokens")
    actions = {row["class"]["level"]: row["action"]["model"] for row in a.rows()}
    assert actions == {"easy": "small", "hard": "big"}
    assert a.value > (a.uniform_value or 0)
