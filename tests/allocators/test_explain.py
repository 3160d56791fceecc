"""Why a class got what it got."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scaling.allocators import allocate, explain, find_class, hopeless
from scaling.allocators.explain import budget_at
from scaling.curves import Menu, over_samples
from scaling.errors import UsageError

K = 24
RATES = np.array([0.5, 0.1, 0.004])


@pytest.fixture
def menu() -> Menu:
    k = np.arange(1, K + 1)
    return over_samples(
        -np.expm1(np.log1p(-RATES)[:, None] * k),
        k,
        key={"level": np.array(["easy", "medium", "hopeless"])},
        weight=np.array([5.0, 3.0, 2.0]),
        curve=np.array([0, 1, 2]),
        cost={"samples": k * 1.0, "tokens": k * 500.0},
        model="m",
    )


def test_a_step_is_the_gain_for_the_cost_against_the_price(menu):
    a = allocate(menu, 5, unit="samples")
    for index, p in enumerate(RATES):
        found = explain(a, index)
        n = found.got.action["samples"]
        assert n == a.rows()[index]["action"]["samples"]
        assert found.next.action["samples"] == n + 1
        assert found.next.marginal == pytest.approx((1 - p) ** n * p)
        assert found.next.gain == pytest.approx(found.next.marginal * found.next.extra)
        assert found.next.marginal <= a.price * (1 + 1e-9)
        if n > 1:
            assert found.below.action["samples"] == n - 1
            assert found.got.marginal == pytest.approx((1 - p) ** (n - 1) * p)
            assert found.fills == (found.got.marginal < a.price * (1 - 1e-9))
        else:
            assert found.below is None
            assert found.got.marginal is None
        assert found.best.action["samples"] == K


def test_at_the_budget_that_is_named_the_next_step_is_bought(menu):
    a = allocate(menu, 5, unit="samples")
    for index in range(3):
        found = explain(a, index)
        later = allocate(menu, found.next.budget, unit="samples")
        assert later.rows()[index]["action"]["samples"] >= found.next.action["samples"]
        before = allocate(menu, found.next.budget * 0.9, unit="samples")
        assert before.rows()[index]["action"]["samples"] < found.next.action["samples"]


def test_the_budget_at_the_price_is_about_the_budget(menu):
    a = allocate(menu, 5, unit="samples", split=True)
    step = float(menu.weight.max() / menu.weight.sum())
    assert budget_at(a, a.price) == pytest.approx(5, abs=step)


def test_standings(menu):
    low = allocate(menu, 3, unit="samples")
    standing = {explain(low, i).name: explain(low, i).standing for i in range(3)}
    assert standing["level=hopeless"] == "hopeless"
    assert standing["level=medium"] in {"between", "next-in-line"}
    most = allocate(menu, 1000, unit="samples")
    assert {explain(most, i).standing for i in range(3)} == {"most"}
    assert explain(most, 0).price == 0
    assert explain(most, 0).next is None
    lame = replace(menu, curve=np.array([0, 1, -1]))
    assert explain(allocate(lame, 3, unit="samples"), 2).standing == "fallback"
    easy = replace(menu, value=np.maximum(menu.value, 0.9))
    assert explain(allocate(easy, 1.2, unit="samples"), 2).standing in {"least", "only"}
    capped = allocate(menu, 3, unit="samples", limits=[("samples", "each", 1)])
    assert explain(capped, 0).standing == "only"


def test_hopeless_classes_are_those_that_nothing_helps(menu):
    assert hopeless(allocate(menu, 3, unit="samples")).tolist() == [False, False, True]
    # where the budget buys them something, they are not
    assert not hopeless(allocate(menu, 20, unit="samples")).any()
    skipping = allocate(menu, 2, unit="samples", allow_skip=True, split=True)
    assert skipping.chosen[2] == -1
    assert hopeless(skipping).tolist() == [False, False, True]
    assert not hopeless(allocate(menu, 1000, unit="samples")).any()


def test_the_table_says_so(menu):
    table = allocate(menu, 3, unit="samples").table()
    said = {row["row_id"]: [c["code"] for c in row["cautions"]] for row in table.document["rows"]}
    assert said["easy"] == said["medium"] == []
    assert "hopeless-class" in said["hopeless"]
    assert table.check().ok


def test_actions_off_the_hull_are_named(menu):
    worse = menu.value.copy()
    worse[10] = worse[9] - 0.05  # eleven samples of the easy class are worth less than ten
    a = allocate(replace(menu, value=worse), 5, unit="samples")
    found = explain(a, 0)
    assert found.n_nonhull == 1
    assert found.nonhull == ({"model": "m", "samples": 11},)
    assert explain(a, 1).n_nonhull == 0
    json.dumps(found.document(), allow_nan=False)


def test_classes_are_found_by_name(menu):
    assert find_class(menu, "level=medium") == 1
    assert find_class(menu, "medium") == 1
    with pytest.raises(UsageError, match="Did you mean 'level=medium'"):
        find_class(menu, "level=mediun")
    with pytest.raises(UsageError, match="No class column 'lvl'"):
        find_class(menu, "lvl=medium")
    two = replace(menu, key={**menu.key, "task": np.array(["a", "a", "b"])})
    assert find_class(two, "level=easy,task=a") == 0
    assert find_class(two, "task=b") == 2
    with pytest.raises(UsageError, match="names 2 classes"):
        find_class(two, "task=a")
    with pytest.raises(UsageError, match="level=VALUE, task=VALUE"):
        find_class(two, "easy")


def test_an_allocation_without_its_menu_explains_nothing(menu):
    a = replace(allocate(menu, 5, unit="samples"), menu=None)
    with pytest.raises(UsageError, match="holds no menu"):
        explain(a, 0)
