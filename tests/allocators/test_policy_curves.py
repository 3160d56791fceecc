"""Policies side by side, the walk of the best model, thresholds and exponents."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.allocators.policy_curves import (
    budget_exponents,
    exponent_of_doubling,
    moving_average,
    policy_curves,
    thresholds,
    walk,
)
from scaling.costs import CostModel, Request
from scaling.curves import Menu
from scaling.data.catalogue.hardware import hardware
from scaling.data.catalogue.models import model
from scaling.data.configurations import configurations_menu
from scaling.errors import InputError, UsageError

H100 = hardware("h100_sxm")
COSTS = {name: CostModel(model(name), H100) for name in ("Qwen3-0.6B", "Qwen3-4B", "Qwen3-14B")}


def sweep(seed=0, problems=24, n=32):
    """Counts of three models over caps and KV budgets; larger, longer and denser is better."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 1.5, problems)
    rows = []
    for p in range(problems):
        for skill, name in enumerate(COSTS):
            for cap in (2048, 8192, 32_768):
                for B in (0, 256, 1024):
                    logit = 0.9 * skill - 1 + 0.4 * math.log(cap / 2048) - hard[p] - (B == 256)
                    c = rng.binomial(n, 1 / (1 + math.exp(-logit)))
                    rows.append((f"p{p:02d}", name, n, c, 0.6 * cap, cap, B, int(hard[p] > 0)))
    return list(zip(*rows, strict=True))


def menu(seed=0, **more) -> Menu:
    problem, name, n, c, tokens, cap, B, level = sweep(seed, **more)
    return configurations_menu(
        problem,
        name,
        n,
        c,
        input_tokens=200,
        output_tokens=tokens,
        costs=COSTS,
        thinking_tokens=cap,
        kv_budget=B,
        key={"level": level},
    )


MENU = menu()
BUDGETS = np.geomspace(3e13, 1e17, 25)


def brute(m: Menu, budget: float, group):
    """One action a group, over all actions, a query at a time."""
    named = [tuple(m.action_of(r).items()) for r in range(m.value.size)]
    actions = sorted(set(named))
    total = 0.0
    for g in set(group):
        best = 0.0
        for action in actions:
            worth = 0.0
            for q in np.flatnonzero(np.asarray(group) == g):
                for r in range(m.start[q], m.start[q + 1]):
                    if named[r] == action and m.cost["eflops"][r] <= budget:
                        worth += m.value[r]
            best = max(best, worth)
        total += best
    return total / m.weight.size


def test_policies_equal_a_search_over_all_actions():
    few = menu(problems=4)
    level = few.key["level"]
    budgets = np.array([1e14, 1e15, 1e16])
    found = policy_curves(few, budgets, bins=level)
    for t, budget in enumerate(budgets):
        assert found.value["oracle"][t] == pytest.approx(brute(few, budget, range(4)))
        assert found.value["uniform"][t] == pytest.approx(brute(few, budget, [0] * 4))
        assert found.value["bins"][t] == pytest.approx(brute(few, budget, level))


def test_hindsight_beats_bins_beats_one_for_all():
    found = policy_curves(MENU, BUDGETS, bins=MENU.key["level"])
    v = found.value
    assert (v["oracle"] >= v["bins"] - 1e-12).all()
    assert (v["bins"] >= v["uniform"] - 1e-12).all()
    assert (v["priced"] >= v["oracle"] - 1e-12).all()  # an average allows what a cap allows
    assert (v["bins"] > v["uniform"] + 1e-3).any()
    for policy in ("oracle", "priced"):
        assert (np.diff(v[policy]) >= -1e-12).all()
    for policy in ("oracle", "bins", "uniform"):
        best = np.max(list(found.by_model[policy].values()), axis=0)
        assert (best <= v[policy] + 1e-12).all()
    assert found.to_frame().columns.tolist() == ["eflops", "oracle", "bins", "uniform", "priced"]


def test_choices_are_within_the_cap_and_worth_what_is_said():
    found = policy_curves(MENU, BUDGETS, bins=MENU.key["level"])
    for policy, chosen in found.choice.items():
        there = chosen >= 0
        assert (np.where(there, MENU.cost["eflops"][chosen], 0.0) <= BUDGETS[:, None]).all()
        worth = np.where(there, MENU.value[chosen], 0.0).mean(axis=1)
        np.testing.assert_allclose(worth, found.value[policy], rtol=1e-12)
    one = {tuple(MENU.action_of(r).items()) for r in found.choice["uniform"][-1]}
    assert len(one) == 1


def test_hindsight_flatters_the_oracle_most():
    """Chosen on one half of the attempts and scored on the other, every policy falls, the oracle most."""
    first, second = menu(seed=1), menu(seed=2)
    second = replace(second, key=first.key)
    own = policy_curves(first, BUDGETS, bins=first.key["level"])
    other = policy_curves(first, BUDGETS, bins=first.key["level"], held_out=second)
    assert other.held_out
    assert not own.held_out
    fell = {p: float((own.value[p] - other.value[p]).mean()) for p in ("oracle", "bins", "uniform")}
    assert fell["oracle"] > fell["bins"] > 0
    assert fell["oracle"] > fell["uniform"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="no cost in usd"):
        policy_curves(MENU, BUDGETS, resource="usd")
    with pytest.raises(UsageError, match="positive"):
        policy_curves(MENU, [0.0])
    with pytest.raises(UsageError, match="one bin for each of the 24"):
        policy_curves(MENU, BUDGETS, bins=[1, 2])
    with pytest.raises(UsageError, match="other actions"):
        policy_curves(MENU, BUDGETS, held_out=menu(problems=4))
    with pytest.raises(UsageError, match="has no models; oracle, uniform have"):
        policy_curves(MENU, BUDGETS).walk("priced")


# --- the walk ----------------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(0, 5), min_size=6, max_size=6), min_size=1, max_size=4))
def test_the_walk_is_always_on_a_best_model_and_moves_only_when_it_must(rows):
    value = {f"m{i}": np.array(row, dtype=float) for i, row in enumerate(rows)}
    steps = walk(np.arange(6.0), value)
    top = np.max(list(value.values()), axis=0)
    now, at = None, {s.budget: s for s in steps}
    for t in range(6):
        if t in at:
            if now is not None:
                assert value[now][t] < top[t]
            now = at[t].model
        if now is None:
            assert top[t] == 0
        else:
            assert value[now][t] == top[t]


@pytest.fixture(scope="module")
def published(reference_data):
    path = reference_data / "cost" / "kinetics_aime24_longcot_topk_curves.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    seconds = np.array(sorted({float(r["b200_seconds"]) for r in rows}))
    curves: dict[str, dict[str, np.ndarray]] = {"dense": {}, "topk": {}}
    for attention, found in curves.items():
        for r in rows:
            if r["attention"] == attention:
                found.setdefault(r["model"], np.zeros(100))[int(r["k"])] = float(r["accuracy"])
    return seconds, curves


@pytest.mark.reference
def test_the_published_walk_of_the_best_model(published):
    """Spec cost 1.5: the curves of the Kinetics page, AIME24, long chains of thought."""
    seconds, curves = published
    steps = walk(seconds, dict(sorted(curves["topk"].items())))
    sizes = [step.model.removeprefix("Qwen3-").removesuffix("B") for step in steps]
    assert sizes == ["0.6", "1.7", "4", "1.7", "4", "8", "14", "32"]
    at = {step.model: step.budget for step in steps}
    assert at["Qwen3-8B"] == pytest.approx(1.36, abs=0.005)
    assert at["Qwen3-14B"] == pytest.approx(3.4, abs=0.05)
    assert at["Qwen3-32B"] == pytest.approx(4.444, abs=5e-4)
    tied = np.isclose(curves["topk"]["Qwen3-32B"], curves["topk"]["Qwen3-14B"], atol=1e-9, rtol=0)
    assert seconds[tied & (seconds > 4)][0] == pytest.approx(4.144, abs=1e-3)
    steps = walk(seconds, curves["dense"])
    sizes = [step.model.removeprefix("Qwen3-").removesuffix("B") for step in steps]
    assert sizes == ["1.7", "4", "32", "1.7", "4", "14", "4", "14", "4", "14"]


@pytest.mark.reference
def test_the_published_gain(published):
    """+47.5 points at 9,954 Tera-eFLOPs, as the figure is labelled."""
    seconds, curves = published
    best = {a: np.max(list(found.values()), axis=0) for a, found in curves.items()}
    at = int(np.argmin(np.abs(seconds * 4500 - 9954)))
    assert seconds[at] * 4500 == pytest.approx(9954, rel=1e-4)
    assert 100 * (best["topk"][at] - best["dense"][at]) == pytest.approx(47.5, abs=0.05)


def test_smoothing_keeps_straight_lines_and_hides_spikes():
    np.testing.assert_allclose(moving_average(np.arange(5.0))[1:-1], [1, 2, 3])
    assert moving_average([0, 3, 0]).tolist() == [1.5, 1, 1.5]


# --- thresholds and exponents ------------------------------------------------------------------


def test_dear_bytes_favour_large_models():
    """A large model reads little cache for its weights, so it gains when bytes cost more."""
    found = thresholds(MENU, intensities=(150.0, 600.0))
    assert [t.intensity for t in found] == [150, 600]
    size = {name: i for i, name in enumerate(COSTS)}
    assert size[found[1].model] >= size[found[0].model]
    for t in found:
        assert 0 < t.share <= 1
        assert t.model in {s.model for s in t.steps}
    uniform = thresholds(MENU, policy="uniform", intensities=(300.0,))
    assert uniform[0].steps != thresholds(MENU, intensities=(300.0,))[0].steps


def test_thresholds_need_flops_and_bytes():
    with pytest.raises(UsageError, match="flops and bytes"):
        thresholds(replace(MENU, cost={"eflops": MENU.cost["eflops"]}))


def power_menu(beta: float, queries: int = 12) -> Menu:
    """Actions whose knob is the budget to the power of beta, each query at a scale of its own."""
    cost = np.geomspace(1.0, 1e4, 60)
    scale = np.linspace(0.8, 1.2, queries)
    start = np.arange(queries + 1) * cost.size
    return Menu(
        key={"problem": np.arange(queries)},
        weight=np.ones(queries),
        curve=np.arange(queries),
        start=start,
        value=np.tile(np.linspace(0.1, 0.9, cost.size), queries),
        cost={"eflops": np.tile(cost, queries)},
        action={"samples": np.tile(np.arange(1, cost.size + 1), queries)},
        provenance={"knob": (scale[:, None] * cost**beta).ravel()},
    )


@pytest.mark.parametrize("beta", [0.239, 0.8])
def test_a_power_of_the_budget_is_found(beta):
    m = power_menu(beta)
    found = policy_curves(m, np.geomspace(1.0, 1e4, 60) * (1 + 1e-9))
    e = budget_exponents(m, found, {"knob": m.provenance["knob"]}, replicates=200)["knob"]
    assert e.estimate == pytest.approx(beta, abs=1e-9)
    assert e.doubling == pytest.approx(2**beta)
    low, high = e.interval
    assert low <= e.estimate + 1e-9
    assert high >= e.estimate - 1e-9


def test_exponents_of_a_sweep_have_intervals_over_queries():
    found = policy_curves(MENU, BUDGETS)
    tokens = MENU.cost["tokens"]
    one = budget_exponents(MENU, found, {"tokens": tokens}, seed=3)["tokens"]
    again = budget_exponents(MENU, found, {"tokens": tokens}, seed=3)["tokens"]
    assert one == again
    low, high = one.interval
    assert low < one.estimate < high
    wide = budget_exponents(MENU, found, {"tokens": tokens}, seed=3, level=0.99)["tokens"]
    assert wide.interval[0] < low < high < wide.interval[1]


def test_exponents_need_budgets_and_positive_knobs():
    found = policy_curves(MENU, BUDGETS)
    with pytest.raises(UsageError, match="positive number for each"):
        budget_exponents(MENU, found, {"kv_budget": MENU.action["kv_budget"]})
    with pytest.raises(UsageError, match="needs three"):
        budget_exponents(MENU, policy_curves(MENU, [1.0, 2.0]), {"t": MENU.cost["tokens"]})
    with pytest.raises(UsageError, match="has no choices"):
        budget_exponents(MENU, found, {"t": MENU.cost["tokens"]}, policy="priced")


@pytest.mark.reference
def test_reference_exponents_of_doubling(reference_data):
    import json

    rows = json.loads((reference_data / "cost" / "reference_costs.json").read_text())
    (row,) = [r for r in rows if r["id"] == "doubling_exponents"]
    found = {
        "beta_kv_budget": exponent_of_doubling(1.18),
        "beta_tokens": exponent_of_doubling(1.74),
    }
    found["sum"] = sum(found.values())
    assert found == pytest.approx(row["expected"], rel=row["rtol"])


def test_published_doubling():
    """Kinetics page: twice the cost, 1.18 times the KV budget and 1.74 times the tokens."""
    assert exponent_of_doubling(1.18) == pytest.approx(0.239, abs=5e-4)
    assert exponent_of_doubling(1.74) == pytest.approx(0.799, abs=5e-4)
    with pytest.raises(UsageError, match="positive"):
        exponent_of_doubling(0.0)


# --- the menu of configurations ----------------------------------------------------------------


def test_a_rung_is_what_the_core_and_the_estimator_say():
    problem, name, n, c, tokens, cap, B, level = sweep()
    m = MENU
    for r in (0, 17, 200, m.value.size - 1):
        q = int(np.searchsorted(m.start, r, side="right")) - 1
        a = m.action_of(r)
        (i,) = (
            i
            for i in range(len(problem))
            if (problem[i], name[i], cap[i], B[i])
            == (m.key["problem"][q], a["model"], a["thinking_tokens"], a["kv_budget"])
        )
        N = a["samples"]
        missed = math.comb(n[i] - c[i], N) / math.comb(n[i], N)
        assert m.value[r] == pytest.approx(1 - missed, abs=1e-12)
        budget = {"kv_budget": B[i]} if B[i] else {}
        b = COSTS[a["model"]].price(Request(200, tokens[i], N, **budget))
        for resource in ("flops", "bytes", "eflops", "seconds", "joules"):
            assert m.cost[resource][r] == pytest.approx(float(getattr(b, resource)), rel=1e-12)
        assert m.cost["tokens"][r] == N * tokens[i]
        assert m.key["level"][q] == level[i]


def test_trials_beyond_the_attempts_are_left_out():
    m = configurations_menu(
        ["a"], ["Qwen3-4B"], [5], [2], input_tokens=9, output_tokens=9, costs=COSTS
    )
    assert m.action["samples"].tolist() == [1, 2, 4]


def test_a_spread_of_lengths_costs_more_where_attention_is_dense():
    def priced(sd):
        return configurations_menu(
            ["a"],
            ["Qwen3-4B"],
            [5],
            [2],
            input_tokens=9,
            output_tokens=900,
            tokens_sd=sd,
            costs=COSTS,
        )

    assert (priced(500).cost["eflops"] > priced(0).cost["eflops"]).all()
    assert priced(500).cost["tokens"].tolist() == priced(0).cost["tokens"].tolist()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"c": [6]}, "row 1.*c is 6 and n 5"),
        ({"n": [0], "c": [0]}, "n at least 1"),
        ({"output_tokens": [1, 2]}, "output_tokens has shape"),
        ({"input_tokens": -1}, "row 1: input_tokens is -1"),
        ({"problem": []}, "one row a configuration"),
        ({"model": ["x"]}, "no costs for model x"),
    ],
)
def test_bad_configurations_are_refused(change, words):
    sound = {
        "problem": ["a"],
        "model": ["Qwen3-4B"],
        "n": [5],
        "c": [2],
        "input_tokens": 9,
        "output_tokens": 9,
    }
    given_ = sound | change
    with pytest.raises((InputError, UsageError), match=words):
        configurations_menu(
            given_.pop("problem"),
            given_.pop("model"),
            given_.pop("n"),
            given_.pop("c"),
            costs=COSTS,
            **given_,
        )
