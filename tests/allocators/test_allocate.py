"""What can be asked of `allocate`, and what it answers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scaling.allocators import Limit, allocate
from scaling.costs import LinearCost, SampleCosts
from scaling.curves import Menu, over_samples
from scaling.errors import InfeasibleError, InputError, NotUsableError, UsageError

K = 32


@pytest.fixture
def menu() -> Menu:
    k = np.arange(1, K + 1)
    return over_samples(
        -np.expm1(np.log1p(-np.array([0.5, 0.1, 0.02]))[:, None] * k),
        k,
        key={"level": np.array(["easy", "medium", "hard"])},
        weight=np.array([200.0, 200.0, 200.0]),
        curve=np.array([0, 1, 2]),
        cost={"samples": k * 1.0, "tokens": k * 500.0, "seconds": k * 2.0},
        model="m",
        extrapolated=k > 16,
        cautions={-1: ({"code": "pooled-models", "message": "two"},)},
        estimand="population",
    )


@pytest.fixture
def lame(menu: Menu) -> Menu:
    """The hard level has no usable group."""
    return replace(menu, curve=np.array([0, 1, -1]))


def test_document_is_plain_json_and_frame_has_a_row_a_class(menu):
    a = allocate(menu, 4000, unit="tokens", seed=7)
    text = a.to_json()
    document = json.loads(text, parse_constant=pytest.fail)
    assert document["kind"] == "scaling-allocation"
    assert document["status"] == "optimal"
    assert document["seed"] == 7
    assert document["certificate"]["bound"] >= document["certificate"]["value"]
    assert document["limits"][0]["amount"] == 4000
    assert [row["class"]["level"] for row in document["rows"]] == ["easy", "medium", "hard"]
    frame = a.to_frame()
    assert frame["level"].tolist() == ["easy", "medium", "hard"]
    assert frame["tokens"].mean() == pytest.approx(a.spent["tokens"])
    assert frame["samples"].tolist() == [row["action"]["samples"] for row in a.rows()]
    assert "even spend" in a._repr_html_()


def test_a_divided_class_has_two_rows(menu):
    a = allocate(menu, 4100, unit="tokens", split=True)
    frame = a.to_frame()
    assert len(frame) == 4
    spent = (frame["tokens"] * frame["share"] * frame["weight"]).sum()
    assert spent == pytest.approx(4100)
    assert [row for row in a.document()["rows"] if row["split"]]


def test_total_budget_is_the_average_times_the_queries(menu):
    one = allocate(menu, 4000, unit="tokens")
    total = allocate(menu, 4000 * 600, unit="tokens", per="total", queries=600)
    assert one.chosen.tolist() == total.chosen.tolist()
    assert total.limits[0].realised == one.limits[0].realised * 600
    assert total.price == one.price


def test_problems_as_classes_are_the_queries(menu):
    a = allocate(menu, 9, unit="samples", per="total", classes="problem")
    assert a.limits[0].queries == 3
    assert a.limits[0].realised == 9


def test_limits_on_each_query_are_masks(menu):
    a = allocate(menu, 4000, unit="tokens", limits=[("samples", "each", 9)])
    assert max(row["action"]["samples"] for row in a.rows()) == 9
    assert a.limits[1].price is None
    assert a.limits[1].realised == 9
    assert a.n_menu == 27
    only = allocate(menu, limits=[Limit("seconds", "each", 11)])
    assert {row["action"]["samples"] for row in only.rows()} == {5}
    assert only.unspent == 0


def test_a_limit_that_leaves_a_class_nothing(menu):
    with pytest.raises(InfeasibleError, match=r"easy uses at most 0\.5") as caught:
        allocate(menu, 4000, unit="tokens", limits=[Limit("samples", "each", 0.5)])
    assert caught.value.smallest == 1
    a = allocate(menu, 10, unit="tokens", limits=[("samples", "each", 0.5)], allow_skip=True)
    assert a.chosen.tolist() == [-1, -1, -1]
    assert a.value == 0
    a.to_json()


def test_of_several_averages_one_may_bind(menu):
    slack = allocate(menu, 4000, unit="tokens", limits=[Limit("seconds", "average", 50)])
    assert slack.price == allocate(menu, 4000, unit="tokens").price
    assert slack.limits[1].price == 0
    other = allocate(menu, 16000, unit="tokens", limits=[Limit("seconds", "average", 8)])
    assert other.priced_resource == "seconds"
    assert other.limits[0].price == 0
    assert other.spent["seconds"] <= 8


def test_several_budgets_may_bind(menu):
    rng = np.random.default_rng(0)
    menu = replace(menu, cost={**menu.cost, "usd": rng.uniform(0.1, 10, menu.value.size)})
    a = allocate(menu, 4000, unit="tokens", limits=[Limit("usd", "average", 1.1)])
    assert all(limit.price > 0 for limit in a.limits)
    assert a.spent["tokens"] <= 4000
    assert a.spent["usd"] <= 1.1
    assert a.price == a.limits[0].price


def test_too_small_a_budget_names_the_smallest(menu):
    with pytest.raises(InfeasibleError, match="uses 500") as caught:
        allocate(menu, 499, unit="tokens")
    assert caught.value.smallest == 500
    assert allocate(menu, 500, unit="tokens").spent["tokens"] == 500
    with pytest.raises(InfeasibleError, match="uses 300000"):
        allocate(menu, 1000, unit="tokens", per="total", queries=600)
    assert allocate(menu, 1, unit="tokens", allow_skip=True).spent["tokens"] == 0


def test_an_unusable_class_is_served_the_fallback(lame):
    a = allocate(lame, 4000, unit="tokens")
    assert a.chosen[2] == -2
    row = a.rows()[2]
    assert row["status"] == "fallback"
    assert row["action"] == {"model": "m", "samples": 8}
    used = [r["cost"]["tokens"] for r in a.rows()]
    assert sum(used) / 3 == a.spent["tokens"] <= 4000
    assert "fallback-served" in {c["code"] for c in a.cautions}
    assert a.bound >= a.value


def test_an_unusable_class_makes_room_at_the_smallest_budget(lame):
    with pytest.raises(InfeasibleError) as caught:
        allocate(lame, 400, unit="tokens")
    assert caught.value.smallest == 500
    a = allocate(lame, 500, unit="tokens")
    assert a.spent["tokens"] == 500
    nothing = allocate(lame, 100, unit="tokens", allow_skip=True)
    assert nothing.fallback.action == {}


def test_no_usable_class(menu):
    with pytest.raises(NotUsableError, match="none of the fitted groups"):
        allocate(replace(menu, curve=np.full(3, -1)), 10, unit="samples")


def test_fallback_is_the_best_single_action_the_budget_affords(menu):
    a = allocate(menu, 4000, unit="tokens")
    assert a.fallback.action == {"model": "m", "samples": 8}
    assert a.fallback.offered == 1
    assert a.fallback.cost == {"samples": 8, "tokens": 4000, "seconds": 16}
    assert a.fallback.value == pytest.approx(np.mean(1 - (1 - np.array([0.5, 0.1, 0.02])) ** 8))
    assert a.fallback.value == pytest.approx(a.uniform_value)


def test_fallback_is_pooled_over_those_that_offer_it_where_none_is_common(menu):
    samples = np.arange(1, 3 * K + 1)  # no two classes offer the same number
    odd = replace(menu, action={"model": menu.action["model"], "samples": samples})
    a = allocate(odd, 4000, unit="tokens")
    assert a.fallback.offered == pytest.approx(1 / 3)
    assert a.fallback.cost["tokens"] <= 4000


def test_weights_change_the_traffic(menu):
    given = {"easy": 8, "medium": 1, "hard": 1}
    a = allocate(menu, 2000, unit="tokens", weights=given)
    rows = [{"level": level, "weight": w} for level, w in given.items()]
    b = allocate(menu, 2000, unit="tokens", weights=rows)
    assert a.chosen.tolist() == b.chosen.tolist()
    assert [row["weight"] for row in a.rows()] == [0.8, 0.1, 0.1]
    used = sum(row["weight"] * row["cost"]["tokens"] for row in a.rows())
    assert a.spent["tokens"] == pytest.approx(used)
    assert used <= 2000


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"easy": 1, "medium": 1}, "No weight is given for hard"),
        ({"easy": 1, "medium": 1, "hard": 1, "odd": 1}, "odd, which is no class"),
        ({"easy": 1, "medium": 1, "hard": 0}, "hard is 0"),
        ({"easy": 1, "medium": 1, "hard": "x"}, "hard is x"),
        ([{"level": "easy"}], "Row 1 of the weights has no column weight"),
        ([{"level": "easy", "weight": 1}] * 2, "Two weights are given for easy"),
    ],
)
def test_bad_weights(menu, weights, words):
    with pytest.raises(UsageError, match=words):
        allocate(menu, 4000, unit="tokens", weights=weights)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "No budget"),
        ({"budget": 10}, "has no unit.*samples, tokens"),
        ({"unit": "tokens"}, "has no budget"),
        ({"budget": 10, "unit": "token"}, "Did you mean 'tokens'"),
        ({"budget": 10, "unit": "usd"}, "--usd-per-sample"),
        ({"budget": 10, "unit": "joules"}, "no cost in joules"),
        ({"budget": -1, "unit": "tokens"}, "-1"),
        ({"budget": float("nan"), "unit": "tokens"}, "nan"),
        ({"budget": float("inf"), "unit": "tokens"}, "inf"),
        ({"budget": 10, "unit": "tokens", "per": "total"}, "number of queries"),
        ({"budget": 10, "unit": "tokens", "per": "day"}, "per='day'"),
        ({"budget": 10, "unit": "tokens", "costs": SampleCosts(2)}, "Leave the costs out"),
        ({"budget": 9, "unit": "tokens", "limits": [("samples", "some", 3)]}, "scope 'some'"),
    ],
)
def test_bad_questions(menu, options, words):
    with pytest.raises(UsageError, match=words):
        allocate(menu, **options)


def test_a_broken_menu_is_refused(menu):
    with pytest.raises(InputError, match="rung 0"):
        allocate(replace(menu, value=np.full(3 * K, np.nan)), 10, unit="samples")


def test_limits_read_as_text():
    assert Limit.parse("tokens=4000") == Limit("tokens", "average", 4000)
    assert Limit.parse("usd:each=0.5") == Limit("usd", "each", 0.5)
    assert Limit.parse("usd:total=5", queries=10).average == 0.5
    for text in ("tokens", "tokens=", "tokens=many", "=3", "tokens:every=3"):
        with pytest.raises(UsageError):
            Limit.parse(text)


class Source:
    """A fit, as far as allocate is concerned."""

    def __init__(self, menu: Menu) -> None:
        self.built = menu

    def menu(self, **options: object) -> Menu:
        self.options = options
        return self.built

    def intervals(self, menu: Menu) -> Menu:
        self.asked = menu.value.size
        return replace(menu, interval=np.stack([menu.value - 0.1, menu.value + 0.1], axis=1))


def test_a_source_makes_the_menu_and_the_intervals(menu):
    big = SampleCosts(tokens_per_sample=500)
    source = Source(menu)
    a = allocate(source, 4000, unit="tokens", costs=big, allow_skip=True, extrapolate=True)
    assert source.options == {
        "values": "posterior",
        "classes": "group",
        "costs": big,
        "skip": True,
        "extrapolate": True,
    }
    assert source.asked == a.ladder.value.size
    assert a.rows()[0]["interval"] is not None
    codes = {c["code"] for c in a.cautions}
    assert {"gate-not-run", "pooled-models"} <= codes
    raw = allocate(source, 9, unit="samples", values="plugin")
    assert "gate-not-run" not in {c["code"] for c in raw.cautions}


def test_actions_beyond_the_data_are_told(menu):
    assert "extrapolated" not in {c["code"] for c in allocate(menu, 2, unit="samples").cautions}
    assert "extrapolated" in {c["code"] for c in allocate(menu, 20, unit="samples").cautions}


def test_sources_are_merged(menu):
    more = replace(menu, key={"level": np.array(["a", "b", "c"])})
    a = allocate([menu, more], 4000, unit="tokens")
    assert a.chosen.size == 6
    assert a.ladder.key["level"].tolist() == ["easy", "medium", "hard", "a", "b", "c"]


def own(menu: Menu, tokens: float, **fixed: float) -> Menu:
    """The hard level's own cost: `tokens` a sample of model m."""
    cost = LinearCost(fixed, {"samples": 1.0, "tokens": tokens})
    return replace(menu, unusable_cost={2: (({"model": "m"}, cost),)})


def test_an_unusable_class_is_charged_its_own_costs(lame):
    a = allocate(own(lame, 1600), 4000, unit="tokens")
    row = a.rows()[2]
    assert row["status"] == "fallback"
    assert row["action"] == a.fallback.action == {"model": "m", "samples": 2}
    assert row["cost"] == {"samples": 2, "tokens": 3200, "seconds": 4}  # seconds are not known
    assert a.fallback.cost["tokens"] == 1000
    used = [r["cost"]["tokens"] for r in a.rows()]
    assert sum(used) / 3 == a.spent["tokens"] == a.limits[0].realised <= 4000
    cheap = allocate(own(lame, 10), 4000, unit="tokens")
    assert cheap.rows()[2]["cost"]["tokens"] == 10 * cheap.fallback.action["samples"]
    assert cheap.fallback.cost["tokens"] <= 4000


def test_what_an_unusable_class_gains_is_not_invented(lame):
    a = allocate(own(lame, 1600), 4000, unit="tokens")
    rows = a.rows()
    assert rows[2]["value"] is None
    assert a.value == pytest.approx((rows[0]["value"] + rows[1]["value"]) / 3)
    assert a.value <= a.bound <= 2 / 3
    assert a.uniform_value <= a.value
    (note,) = [c["message"] for c in a.cautions if c["code"] == "fallback-served"]
    assert "their value is not known and counts as 0" in note
    assert json.loads(a.to_json(), parse_constant=pytest.fail)["rows"][2]["value"] is None
    assert np.isnan(a.to_frame()["value"].astype(float)[2])
    pooled = allocate(lame, 4000, unit="tokens")  # nothing is known of it
    assert pooled.rows()[2]["value"] == pooled.fallback.value


def test_own_costs_decide_which_budget_is_too_small(lame):
    with pytest.raises(InfeasibleError) as caught:
        allocate(own(lame, 3500), 1000, unit="tokens")
    assert caught.value.smallest == 1500
    assert allocate(own(lame, 3500), 1500, unit="tokens").spent["tokens"] == 1500
    skipped = allocate(own(lame, 3500), 1000, unit="tokens", allow_skip=True)
    assert skipped.fallback.nothing
    assert skipped.rows()[2]["cost"]["tokens"] == 0
    assert skipped.rows()[2]["value"] == 0


def test_limits_on_each_query_hold_for_own_costs(lame):
    a = allocate(own(lame, 1600), 4000, unit="tokens", limits=[("tokens", "each", 2000)])
    assert a.rows()[2]["cost"]["tokens"] == 1600
    assert a.limits[1].realised == 2000
    with pytest.raises(InfeasibleError, match=r"level=hard has no usable group.*1600") as caught:
        allocate(own(lame, 1600), 4000, unit="tokens", limits=[("tokens", "each", 1500)])
    assert caught.value.smallest == 1600
    assert allocate(own(lame, 1600), 4000, unit="tokens", limits=[("tokens", "each", 1600)])


def test_own_costs_are_those_of_the_model_that_is_served(lame):
    other = LinearCost({}, {"tokens": 9000.0})
    first = own(lame, 1600).unusable_cost[2]
    both = replace(lame, unusable_cost={2: (({"model": "z"}, other), *first)})
    assert allocate(both, 4000, unit="tokens").rows()[2]["cost"]["tokens"] == 3200
    unknown = replace(lame, unusable_cost={2: (({"model": "z"}, other),)})
    row = allocate(unknown, 4000, unit="tokens").rows()[2]
    assert row["cost"] == allocate(lame, 4000, unit="tokens").fallback.cost
    assert row["value"] is None


def test_an_action_without_columns_is_not_doing_nothing():
    bare = Menu(
        key={}, weight=np.ones(1), curve=np.zeros(1, dtype=int), start=np.array([0, 1]),
        value=np.array([0.5]), cost={"tokens": np.array([10.0])}, action={},
    )  # fmt: skip
    a = allocate(bare, 20, unit="tokens")
    assert not a.fallback.nothing
    assert a.document()["fallback"]["nothing"] is False
    assert a.fallback.value == 0.5
    served = a.table(created="2026-01-31T12:00:00Z").document["fallback"]["action"]
    assert served == {"strategy": "single", "model": "unknown", "n_samples": 1}
    assert allocate(bare, 5, unit="tokens", allow_skip=True).fallback.nothing
