"""From a fit to a menu."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import betaln

import scaling
from scaling.core import registry
from scaling.costs import SampleCosts
from scaling.errors import UsageError


@pytest.fixture
def fit(sweep_of):
    rng = np.random.default_rng(2)
    c = np.concatenate(
        [rng.binomial(20, rng.beta(a, b, 40)) for a, b in [(2, 3), (1, 4), (0.5, 3), (0.4, 8)]]
    )
    level = ["easy"] * 80 + ["hard"] * 80
    model = (["small"] * 40 + ["large"] * 40) * 2
    problem = [f"e{i}" for i in range(40)] * 2 + [f"h{i}" for i in range(40)] * 2
    tokens = [2000] * 160
    sweep = sweep_of([20] * 160, c, level=level, model=model, problem=problem, tokens=tokens)
    return scaling.fit(sweep, "beta-binomial", by=["level", "model"], replicates=100)


def test_models_are_actions_and_levels_are_classes(fit):
    menu = fit.menu()
    assert sorted(menu.key["level"].tolist()) == ["easy", "hard"]
    assert set(menu.action["model"].tolist()) == {"small", "large"}
    assert menu.weight.tolist() == [40, 40]
    assert menu.maximise == "coverage"
    assert menu.estimand == "population"
    assert menu.cost["tokens"].max() == 20 * 100
    assert not menu.extrapolated.any()


def test_values_are_expectations_over_draws(fit):
    menu = fit.menu()
    group = fit.groups[0]
    k = np.arange(1, 21)
    expected = np.mean(
        [1 - np.exp(betaln(a, b + k) - betaln(a, b)) for a, b in group.draws], axis=0
    )
    index = menu.key["level"].tolist().index(group.by["level"])
    rungs = slice(menu.start[menu.curve[index]], menu.start[menu.curve[index] + 1])
    mine = menu.action["model"][rungs] == group.by["model"]
    np.testing.assert_allclose(menu.value[rungs][mine], expected, rtol=1e-9)


@pytest.mark.parametrize("law", ["beta-binomial", "exponentiated-power"])
def test_long_menus_are_expectations_too(simulated, law):
    fit = scaling.fit(simulated(0.2, 30.0, 60, 3000, 1), law, replicates=100)
    menu = fit.menu()
    k = np.unique(np.geomspace(1, 3000, 60).astype(int))
    exact = registry.law(law).value(fit.groups[0].draws, {"samples": k})
    np.testing.assert_allclose(menu.value[k - 1], exact.mean(axis=0), atol=1e-9, rtol=0)
    np.testing.assert_allclose(menu.value_se[k - 1], exact.std(axis=0), atol=1e-6, rtol=0)


def test_problem_classes_share_curves(fit):
    menu = fit.menu(classes="problem")
    assert len(menu.weight) == 80
    assert set(menu.key) == {"level", "problem"}
    assert menu.estimand == "benchmark"
    assert len(menu.start) - 1 <= 80


def test_posterior_marginals_decrease(fit):
    menu = fit.menu(classes="problem")
    for m in range(len(menu.start) - 1):
        rungs = slice(menu.start[m], menu.start[m + 1])
        for model in ("small", "large"):
            v = menu.value[rungs][menu.action["model"][rungs] == model]
            assert (np.diff(v, n=2) <= 1e-12).all()


def test_intervals_fill_a_small_menu(fit):
    allocation = scaling.allocate(fit, budget=500, unit="tokens")
    ladder = allocation.ladder
    assert ladder.interval is not None
    assert (ladder.interval[:, 0] <= ladder.value + 1e-9).all()
    assert (ladder.value <= ladder.interval[:, 1] + 1e-9).all()


def test_extrapolation_is_asked_for_and_marked(fit):
    menu = fit.menu(extrapolate=True)
    assert menu.action["samples"].max() > 20
    np.testing.assert_array_equal(menu.extrapolated, menu.action["samples"] > 20)


def test_plugin_values_carry_their_caution(fit):
    menu = fit.menu(values="plugin")
    assert any(c["code"] == "plugin-values" for cs in menu.cautions.values() for c in cs)


def test_unusable_groups_are_kept_as_classes(sweep_of):
    rng = np.random.default_rng(3)
    c = np.concatenate([rng.binomial(20, rng.beta(1, 3, 40)), np.zeros(10, int)])
    sweep = sweep_of([20] * 50, c, level=["easy"] * 40 + ["hopeless"] * 10)
    menu = scaling.fit(sweep, "beta-binomial", by=["level"], interval="none").menu()
    assert menu.curve[menu.key["level"].tolist().index("hopeless")] == -1


def test_costs_by_hand_replace_the_log(fit):
    menu = fit.menu(costs=SampleCosts(tokens_per_sample={"small": 10, "large": 50}))
    small = menu.action["model"] == "small"
    np.testing.assert_allclose(menu.cost["tokens"][small], 10 * menu.action["samples"][small])


def test_names_that_do_not_exist(fit, sweep_of):
    with pytest.raises(UsageError, match="posterior or plugin"):
        fit.menu(values="best")
    epl = scaling.fit(
        sweep_of([10] * 8, [0, 1, 2, 3, 1, 5, 9, 0]), "exponentiated-power", interval="none"
    )
    with pytest.raises(UsageError, match="fit beta-binomial"):
        epl.menu(classes="problem")


def test_several_fits_each_bring_their_intervals(sweep_of):
    rng = np.random.default_rng(6)

    def one(model, a):
        c = rng.binomial(20, rng.beta(a, 3, 60))
        return scaling.fit(
            sweep_of([20] * 60, c, model=[model] * 60), "beta-binomial", by=["model"], replicates=80
        )

    allocation = scaling.allocate([one("small", 0.3), one("large", 1.0)], budget=4, unit="samples")
    ladder = allocation.ladder
    assert np.isfinite(ladder.interval).all()
    assert ((ladder.interval[:, 0] <= ladder.value) & (ladder.value <= ladder.interval[:, 1])).all()


def test_an_unusable_class_pays_its_own_cost_and_gains_nothing_known(sweep_of):
    rng = np.random.default_rng(4)
    c = np.concatenate([rng.binomial(20, rng.beta(1, 3, 40)), np.zeros(40, int)])
    tokens = [20 * 100] * 40 + [20 * 400] * 40
    sweep = sweep_of([20] * 80, c, level=["ok"] * 40 + ["dead"] * 40, tokens=tokens)
    allocation = scaling.allocate(
        scaling.fit(sweep, "beta-binomial", by=["level"], replicates=60), budget=1000, unit="tokens"
    )
    rows = {r["class"]["level"]: r for r in allocation.rows()}
    spent = {level: r["cost"]["tokens"] for level, r in rows.items()}
    assert spent["dead"] == 400 * rows["dead"]["action"]["samples"]
    assert sum(spent.values()) / 2 <= 1000
    assert rows["dead"]["value"] is None
    assert allocation.value == pytest.approx(rows["ok"]["value"] / 2)
    table = allocation.table()
    assert table.check().ok
    assert table.lookup(level="dead").expected["value"]["mean"] is None


def test_a_caution_names_its_group_where_groups_merge(sweep_of):
    rng = np.random.default_rng(5)
    c = np.concatenate([rng.binomial(20, rng.beta(1, 3, 40)), np.zeros(40, int)])
    problems = [f"p{i}" for i in range(40)] * 2
    sweep = sweep_of([20] * 80, c, model=["g"] * 40 + ["z"] * 40, problem=problems)
    menu = scaling.fit(sweep, "beta-binomial", interval="none").menu()
    said = {c["code"]: c for c in menu.cautions[0]}
    assert said["not-identified"]["group"] == "model=z"
