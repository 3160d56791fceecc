"""What limits mean: percentiles, floors, shares and masks on menus with shared curves."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import Limit, allocate
from scaling.allocators.frontier import frontier
from scaling.allocators.limit import percentile_of
from scaling.costs import LinearCost
from scaling.curves import Menu, over_samples
from scaling.errors import InfeasibleError, UsageError

K = 12
some = settings(max_examples=25, derandomize=True, deadline=None)


def classes(n: int = 20, *, skip: bool = False) -> Menu:
    """`n` classes on four curves that they share, small and large alike in number."""
    k = np.arange(1, K + 1)
    rates = np.array([0.5, 0.2, 0.08, 0.02])
    value = -np.expm1(np.log1p(-rates)[:, None] * k)
    menu = over_samples(
        value,
        k,
        key={"q": np.arange(n), "level": np.where(np.arange(n) % 2 == 0, "easy", "hard")},
        weight=1.0 + np.arange(n) % 3,
        curve=np.arange(n) % 4,
        cost={"samples": k * 1.0, "tokens": k * 100.0, "seconds": 1 + np.sqrt(k) / 2},
        skip=skip,
    )
    model = np.where(menu.action["samples"] % 2 == 0, "even", "odd")
    return replace(menu, action={**menu.action, "model": model})


def column(a, name):
    of = a.ladder.value if name == "value" else a.ladder.cost[name]
    return np.where(a.chosen >= 0, of[np.maximum(a.chosen, 0)], 0.0)


def test_percentile_of_weights():
    use, weight = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 1.0, 1.0])
    assert percentile_of(weight, use, 75) == 3
    assert percentile_of(weight, use, 76) == 4
    assert percentile_of(weight, use, 50) == 2
    assert percentile_of(weight, use, 1) == 1
    assert percentile_of(np.array([97.0, 3.0]), np.array([1.0, 9.0]), 95) == 1
    assert percentile_of(np.array([94.0, 6.0]), np.array([1.0, 9.0]), 95) == 9


@pytest.mark.parametrize("percent", [50, 80, 95])
def test_a_percentile_bounds_the_share_of_dear_queries(percent):
    menu = classes()
    a = allocate(menu, 700, unit="tokens", limits=[("seconds", f"p{percent}", 2.3)])
    used, w = column(a, "seconds"), menu.weight / menu.weight.sum()
    assert w[used > 2.3].sum() <= 1 - percent / 100 + 1e-12
    limit = a.limits[1]
    assert limit.realised <= 2.3
    assert limit.realised == percentile_of(w, used, percent)
    free = allocate(menu, 700, unit="tokens")
    assert w[column(free, "seconds") > 2.3].sum() > 1 - percent / 100
    assert limit.price > 0
    assert a.bound < free.bound


def test_a_floor_lifts_the_classes_that_it_is_about():
    menu = classes()
    hard = menu.key["level"] == "hard"
    free = allocate(menu, 400, unit="tokens")
    mean = np.average(column(free, "value")[hard], weights=menu.weight[hard])
    floor = Limit("value", amount=mean + 0.03, sense="min", where={"level": ("hard",)})
    a = allocate(menu, 400, unit="tokens", limits=[floor])
    lifted = np.average(column(a, "value")[hard], weights=menu.weight[hard])
    assert lifted == pytest.approx(a.limits[1].realised)
    assert lifted >= floor.amount - 1e-12
    assert a.value < free.value
    assert a.limits[1].price > 0
    assert a.relative_gap < 0.02


def test_shares_of_a_model():
    menu = classes()
    free = allocate(menu, 450, unit="tokens")
    even = np.array([row["action"].get("model") == "even" for row in free.rows()])
    share = float(menu.weight[even].sum() / menu.weight.sum())
    for sense, amount in (("max", share / 2), ("min", min(share + 0.3, 1.0))):
        limit = Limit("share", amount=amount, sense=sense, action={"model": "even"})
        a = allocate(menu, 450, unit="tokens", limits=[limit])
        got = [menu.weight[i] for i, r in enumerate(a.rows()) if r["action"].get("model") == "even"]
        realised = math.fsum(got) / menu.weight.sum()
        assert a.limits[1].realised == pytest.approx(realised)
        assert limit.is_kept(a.limits[1].realised)
        assert a.spent["tokens"] <= 450


def test_a_least_value_for_each_is_a_mask_that_spares_other_classes():
    menu = classes(skip=True)
    hard = menu.key["level"] == "hard"
    least = Limit("value", "each", 0.3, sense="min", where={"q": (1, 5, 9)})
    a = allocate(menu, 300, unit="tokens", limits=[least])
    assert column(a, "value")[[1, 5, 9]].min() >= 0.3
    assert a.limits[1].realised >= 0.3
    assert column(a, "value")[hard].min() < 0.3
    table = a.table(created="2026-01-31T12:00:00Z")
    assert table.check().findings == ()
    rows = {row["when"]["q"]: row for row in table.document["rows"]}
    assert not rows[1]["may_abstain"]
    assert rows[3]["may_abstain"]
    (stated,) = [c for c in table.document["objective"]["constraints"] if c["sense"] == "min"]
    assert stated["rows"] == [rows[q]["row_id"] for q in (1, 5, 9)]
    assert stated["resource"] == "coverage"


def test_a_cap_on_some_classes_is_a_hard_limit_of_their_rows_alone():
    cap = Limit("tokens", "each", 300, where={"level": ("hard",)})
    a = allocate(classes(), 500, unit="tokens", limits=[cap])
    assert column(a, "tokens")[classes().key["level"] == "hard"].max() <= 300
    for row in a.table(created="2026-01-31T12:00:00Z").document["rows"]:
        hard = row["when"]["level"] == "hard"
        assert row.get("hard_limits") == ({"max_total_tokens": 300} if hard else None)


@pytest.mark.parametrize("method", ["price", "exact"])
def test_unusable_classes_use_up_what_the_fallback_uses(method):
    menu = classes()
    lost = np.where(np.arange(20) % 5 == 0, -1, menu.curve)
    menu = replace(menu, curve=lost, unusable_cost={0: (({}, LinearCost({}, {"tokens": 150.0})),)})
    limits = [Limit("tokens", "average", 450), Limit("seconds", "average", 1.9)]
    a = allocate(menu, limits=limits, method=method)
    for limit in a.limits:
        of = [row["weight"] * row["cost"][limit.resource] for row in a.rows()]
        assert math.fsum(of) == pytest.approx(limit.realised)
        assert limit.realised <= limit.amount
    assert a.value <= a.bound
    assert a.rows()[0]["value"] is None
    assert a.table(created="2026-01-31T12:00:00Z").check().findings == ()


@some
@given(st.integers(150, 900), st.integers(110, 260), st.randoms(use_true_random=False))
def test_order_of_classes_never_matters_under_several_limits(tokens, seconds, random):
    menu = classes(12)
    limits = [Limit("tokens", amount=tokens), Limit("seconds", amount=seconds / 100)]
    order = list(range(12))
    random.shuffle(order)
    shuffled = replace(
        menu,
        key={name: values[order] for name, values in menu.key.items()},
        weight=menu.weight[order],
        curve=menu.curve[order],
    )
    try:
        one = allocate(menu, limits=limits)
    except InfeasibleError:
        with pytest.raises(InfeasibleError):
            allocate(shuffled, limits=limits)
        return
    two = allocate(shuffled, limits=limits)
    assert one.value == pytest.approx(two.value, abs=1e-15)
    by_class = {row["class"]["q"]: row["action"] for row in one.rows()}
    assert {row["class"]["q"]: row["action"] for row in two.rows()} == by_class


@some
@given(st.lists(st.floats(0.02, 0.9), min_size=2, max_size=6), st.floats(1, 40), st.data())
def test_peaked_curves_never_get_budget_past_the_peak(rates, budget, data):
    k = np.arange(1, 41)
    peak = [data.draw(st.integers(1, 30)) for _ in rates]
    up = -np.expm1(np.log1p(-np.array(rates))[:, None] * np.minimum(k, np.array(peak)[:, None]))
    value = up - 0.004 * np.maximum(k - np.array(peak)[:, None], 0)
    menu = over_samples(
        np.maximum(value, 0), k, key={"q": np.arange(len(rates))}, weight=np.ones(len(rates)),
        curve=np.arange(len(rates)), cost={"samples": k * 1.0, "seconds": np.sqrt(k)},
    )  # fmt: skip
    limits = [Limit("samples", amount=budget), Limit("seconds", amount=math.sqrt(budget) + 0.2)]
    for method in ("price", "exact"):
        for given_limits in (limits[:1], limits):
            a = allocate(menu, limits=given_limits, method=method)
            assert (column(a, "samples") <= peak).all()


def test_splitting_uses_what_several_limits_leave():
    menu = classes(6)
    limits = [Limit("tokens", amount=430.5), Limit("seconds", amount=1.9)]
    whole, split = (allocate(menu, limits=limits, split=cut) for cut in (False, True))
    assert len(split.split) == 1
    assert whole.value < split.value <= split.bound
    assert all(limit.is_kept(limit.realised) for limit in split.limits)
    assert split.table(created="2026-01-31T12:00:00Z").check().findings == ()
    exact = allocate(menu, limits=limits, split=True, method="exact")
    assert exact.value <= exact.bound


def test_a_frontier_never_falls():
    rng = np.random.default_rng(4)
    menu = classes(7)
    menu = replace(menu, cost={**menu.cost, "usd": rng.gamma(1.0, 1.0, menu.value.size)})
    limits = [Limit("usd", amount=0.9), Limit("seconds", "average", 2.0)]
    f = frontier(menu, "tokens", limits=limits, points=25)
    value, bound, budget = (
        np.array([getattr(point, name) for point in f.points])
        for name in ("value", "bound", "budget")
    )
    assert (np.diff(budget) > 0).all()
    assert (np.diff(value) >= 0).all()
    assert (np.diff(bound) >= 0).all()
    assert (value <= bound).all()
    for point in f.points:
        assert point.spent["tokens"] <= point.budget
        assert point.spent["usd"] <= 0.9
        own = allocate(menu, point.budget, unit="tokens", limits=limits)
        assert point.value >= own.value
        assert point.carried == (point.value > own.value)
        assert own.bound >= point.bound - 1e-9
    document = json.loads(f.to_json(), parse_constant=pytest.fail)
    assert document["kind"] == "scaling-frontier"
    assert [point["budget"] for point in document["points"]] == budget.tolist()
    assert len(f.to_frame()) == len(f.points)


def test_a_frontier_of_one_budget_goes_from_the_least_to_where_nothing_more_is_gained():
    menu = classes()
    f = frontier(menu, "samples", points=12)
    first, last = f.points[0], f.points[-1]
    assert first.budget == 1
    assert last.value == pytest.approx(allocate(menu, 1e6, unit="samples").value)
    prices = [point.price for point in f.points]
    assert prices == sorted(prices, reverse=True)
    assert not any(point.carried for point in f.points)
    some_budgets = frontier(menu, "samples", [8, 2, 2])
    assert [point.budget for point in some_budgets.points] == [2, 8]
    with pytest.raises(InfeasibleError):
        frontier(menu, "samples", [0.5, 2])
    with pytest.raises(UsageError, match="no cost in usd"):
        frontier(menu, "usd")


def test_the_price_of_a_limit_is_what_one_more_unit_buys():
    menu = classes(40)
    usd = np.random.default_rng(4).gamma(1.0, 1.0, menu.value.size)
    menu = replace(menu, cost={**menu.cost, "usd": usd})
    where = {"level": ("hard",)}
    limits = [
        Limit("tokens", amount=420),
        Limit("usd", amount=0.7),
        Limit("value", amount=0.44, sense="min", where=where),
        Limit("share", amount=0.4, action={"model": "even"}),
    ]
    a = allocate(menu, limits=limits)
    for i, limit in enumerate(a.limits):
        step = 1e-6 * limit.amount
        more = list(limits)
        more[i] = replace(limits[i], amount=limit.amount + step)
        gained = (allocate(menu, limits=more).bound - a.bound) / step
        assert limit.price > 0
        sign = -1 if limit.sense == "min" else 1
        assert gained * sign == pytest.approx(limit.price, rel=1e-2)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"resource": "token"}, "Did you mean 'tokens'"),
        ({"resource": "tokens", "scope": "p0"}, "scope 'p0'"),
        ({"resource": "tokens", "scope": "p100"}, "scope 'p100'"),
        ({"resource": "tokens", "scope": "p95", "sense": "min"}, "cannot be a minimum"),
        ({"resource": "value", "scope": "p95", "sense": "min"}, "of value"),
        ({"resource": "value", "amount": 0.5}, "is a minimum"),
        ({"resource": "value", "amount": 1.5, "sense": "min"}, "from 0 to 1"),
        ({"resource": "share", "amount": 0.5}, "of an action that is named"),
        ({"resource": "share", "amount": 2, "action": {"model": "m"}}, "from 0 to 1"),
        ({"resource": "tokens", "action": {"model": "m"}}, "only a share names one"),
        ({"resource": "tokens", "sense": "most"}, "sense 'most'"),
        ({"resource": "tokens", "scope": "total", "queries": 3, "where": {"q": (1,)}}, "average"),
        ({"resource": "tokens", "amount": float("nan")}, "nan"),
    ],
)
def test_limits_that_cannot_be(limit, words):
    with pytest.raises(UsageError, match=words):
        Limit(**limit)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (Limit("value", sense="min", where={"lvel": ("hard",)}), "Did you mean 'level'"),
        (Limit("value", sense="min", where={"level": ("hrd",)}), "Did you mean 'hard'"),
        (Limit("value", sense="min", where={"level": ("hard",), "q": (0,)}), "about no class"),
        (Limit("share", action={"model": "evn"}), "Did you mean 'even'"),
        (Limit("share", action={"mdel": "even"}), "Did you mean 'model'"),
        (Limit("usd"), "no cost in usd"),
    ],
)
def test_limits_that_the_menu_does_not_know(limit, words):
    with pytest.raises(UsageError, match=words):
        allocate(classes(), 400, unit="tokens", limits=[limit])


def test_options_that_do_not_go_together():
    with pytest.raises(UsageError, match="A target value and a budget"):
        allocate(classes(), 400, unit="tokens", target=0.5)
    with pytest.raises(UsageError, match="has no unit"):
        allocate(classes(), target=0.5)
    with pytest.raises(UsageError, match="Unknown method 'best'"):
        allocate(classes(), 400, unit="tokens", method="best")
    with pytest.raises(UsageError, match="from 0 to 1"):
        allocate(classes(), target=1.5, unit="tokens")
    k = np.arange(1, 1001)
    many = over_samples(
        np.outer(np.linspace(0.5, 1, 200), k / 1000), k, key={"q": np.arange(200)},
        weight=np.ones(200), curve=np.arange(200), cost={"samples": k * 1.0},
    )  # fmt: skip
    with pytest.raises(UsageError, match="100,000 choices"):
        allocate(many, 10, unit="samples", method="exact")


def test_contradictions_are_named_with_what_would_have_to_give():
    menu = classes()
    floor = Limit("value", amount=0.6, sense="min")
    with pytest.raises(InfeasibleError) as caught:
        allocate(menu, 200, unit="tokens", limits=[floor, Limit("seconds", amount=9)])
    error = caught.value
    assert "tokens=200 and value>=0.6" in str(error)
    assert "seconds" not in str(error)
    assert set(error.relaxed) == {"tokens", "value"}
    assert allocate(menu, error.relaxed["tokens"], unit="tokens", limits=[floor])
    with pytest.raises(InfeasibleError, match=r"No choice of actions keeps value>=0\.99.*at most"):
        allocate(menu, target=0.99, unit="tokens")
    limits = [Limit("value", "each", 0.2, sense="min"), Limit("samples", "each", 2)]
    with pytest.raises(
        InfeasibleError, match=r"value:each .* at most|samples:each .* at least"
    ) as c:
        allocate(menu, 900, unit="tokens", limits=limits)
    assert c.value.relaxed["samples:each"] == 12
    assert allocate(menu, 900, unit="tokens", limits=[limits[0], Limit("samples", "each", 12)])
