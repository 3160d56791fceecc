from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from scaling.allocators import allocate
from scaling.costs import SampleCosts
from scaling.curves import validate
from scaling.data.evidence import Counts, Points, ResourceUse
from scaling.data.plugin import plugin_menu
from scaling.errors import InputError, UsageError


def counts(n, c, *, task=None, resources=None, **by):
    n = np.asarray(n)
    return Counts(
        by,
        task=np.array(task if task is not None else ["t"] * n.size),
        problem=np.array([f"p{i}" for i in range(n.size)]),
        n=n,
        c=np.asarray(c),
        resources=resources or {},
    )


def values_of(menu, index):
    m = menu.curve[index]
    return menu.value[menu.start[m] : menu.start[m + 1]]


def test_raw_rates_by_problem():
    menu = validate(plugin_menu([counts([4, 4, 4], [0, 1, 4])], classes="problem"))
    assert list(menu.key) == ["problem"]
    k = np.arange(1, 5)
    assert values_of(menu, 0).tolist() == [0, 0, 0, 0]
    assert values_of(menu, 1) == pytest.approx(1 - 0.75**k)
    assert values_of(menu, 2).tolist() == [1, 1, 1, 1]
    assert menu.action["samples"][:4].tolist() == [1, 2, 3, 4]
    assert menu.maximise == "coverage"
    assert menu.estimand == "benchmark"
    assert menu.cautions[-1][0]["code"] == "plugin-values"


def test_problems_with_the_same_counts_share_a_curve():
    menu = plugin_menu([counts([9] * 1000, np.arange(1000) % 10)], classes="problem")
    assert menu.start.size - 1 == 10
    assert menu.weight.tolist() == [1.0] * 1000


def test_group_value_is_the_mean_over_problems():
    menu = plugin_menu([counts([4, 4, 8], [1, 1, 8], level="hard")])
    k = np.arange(1, 9)
    assert values_of(menu, 0) == pytest.approx((2 * (1 - 0.75**k) + 1) / 3)
    assert menu.key["level"].tolist() == ["hard"]
    assert menu.weight.tolist() == [3.0]
    assert {name: column.tolist() for name, column in menu.support.items()} == {
        "n_problems": [3],
        "n_samples": [16],
        "max_observed_n": [8],
    }


def test_models_and_knobs_are_actions_of_one_class():
    use = {"tokens": ResourceUse(100.0, 1.0, 8)}
    menu = validate(
        plugin_menu(
            [
                counts([4, 4], [1, 2], model="a", thinking_tokens=512, resources=use),
                counts([2, 2], [2, 2], model="b", thinking_tokens=512, resources=use),
            ],
            costs=SampleCosts(tokens_per_sample={"a": 10, "b": 1000}),
        )
    )
    assert not menu.key
    assert menu.curve.tolist() == [0]
    assert menu.action["model"].tolist() == ["a"] * 4 + ["b"] * 2
    assert menu.action["thinking_tokens"].tolist() == [512] * 6
    assert menu.cost["tokens"].tolist() == [10, 20, 30, 40, 1000, 2000]


def test_task_tells_problems_apart_where_there_are_several():
    menu = plugin_menu([counts([2, 2], [1, 1], task=["s", "t"])], classes="problem")
    assert menu.key["task"].tolist() == ["s", "t"]


def test_extrapolation_is_marked():
    menu = plugin_menu([counts([4], [1])], extrapolate=True)
    assert menu.extrapolated is not None
    assert menu.extrapolated.tolist() == [False] * 4 + [True] * 60
    assert plugin_menu([counts([4], [1])]).extrapolated is None


def test_refusals():
    with pytest.raises(UsageError, match="no posterior values"):
        plugin_menu([counts([4], [1])], values="posterior")
    with pytest.raises(UsageError, match="'day'"):
        plugin_menu([counts([4], [1])], classes="day")
    with pytest.raises(InputError, match="of 0 groups"):
        plugin_menu([])
    points = Points({}, {"samples": np.array([1.0])}, np.array([0.5]))
    with pytest.raises(InputError, match="of 1 groups 0"):
        plugin_menu([points])


@pytest.mark.reference
def test_pythia_12b_equals_the_greedy_reference(reference_data):
    with (reference_data / "coverage" / "monkeys_pythia_math_counts.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "Pythia 12B"]
    group = Counts(
        {},
        task=np.array([row["task"] for row in rows]),
        problem=np.array([row["problem"] for row in rows]),
        n=np.array([int(row["num_samples"]) for row in rows]),
        c=np.array([int(row["num_correct"]) for row in rows]),
    )
    reference = json.loads((reference_data / "coverage" / "reference_ci_alloc.json").read_text())
    menu = plugin_menu([group], classes="problem", skip=True)
    assert menu.weight.size == 128
    for budget, expected in reference["allocation_pythia12b_known_p"].items():
        a = allocate(menu, int(budget), unit="samples")
        samples = [row["action"].get("samples", 0) for row in a.rows()]
        assert a.value == pytest.approx(expected["greedy_nonadaptive"], abs=1e-6)
        assert a.uniform_value == pytest.approx(expected["uniform"], abs=1e-6)
        assert a.relative_gap < 1e-6
        assert a.spent["samples"] == int(budget)
        assert samples.count(0) == expected["unfunded"]
        assert max(samples) == expected["max_b"]


def test_a_menu_that_would_not_fit_is_refused():
    n = np.arange(30_000, dtype=np.int64) + 10_000
    names = n.astype(str)
    group = Counts({}, np.full(n.size, "t"), names, n, np.zeros_like(n))
    with pytest.raises(UsageError, match="30,000 different problems by 39,999 numbers of samples"):
        plugin_menu([group], classes="problem")
