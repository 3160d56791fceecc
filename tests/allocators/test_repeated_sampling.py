"""Samples over problems of known rates: the closed form, the menu engine, and who gets none."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.allocators import allocate
from scaling.allocators.repeated_sampling import funding, water_filling
from scaling.core.special import log_beta_ratio
from scaling.costs.flops import FlopsCosts, inference_flops
from scaling.curves import Menu, merge, over_samples
from scaling.data.evidence import Counts, ResourceUse
from scaling.data.plugin import plugin_menu
from scaling.errors import InputError, UsageError

rates = st.lists(st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-9]), min_size=1, max_size=12)


def by_problem(p, most: int, cost=None) -> Menu:
    p = np.asarray(p)
    k = np.arange(1, most + 1)
    with np.errstate(divide="ignore"):
        value = np.abs(np.expm1(np.log1p(-p)[:, None] * k))
    menu = over_samples(
        value,
        k,
        key={"problem": np.arange(p.size)},
        weight=np.ones(p.size),
        curve=np.arange(p.size),
        cost={"samples": k * 1.0, "tokens": k * 1.0},
        skip=True,
    )
    if cost is None:
        return menu
    return replace(menu, cost={**menu.cost, "tokens": (np.asarray(cost)[:, None] * k).ravel()})


# budgets far below a millionth of a sample are rounded away, and nothing is spent
@given(rates, st.just(0.0) | st.floats(1e-6, 1e4), st.integers(0, 2**32))
def test_water_filling_meets_the_optimality_conditions(p, budget, seed):
    cost = np.random.default_rng(seed).uniform(0.1, 10, len(p))
    found = water_filling(p, budget, cost)
    open_ = (np.asarray(p) > 0) & (np.asarray(p) < 1)
    assert found.residual < 1e-10
    assert (found.samples >= 0).all()
    assert (found.samples[~open_] == 0).all()
    if found.price:
        assert open_.any()
        assert cost @ found.samples == pytest.approx(budget, rel=1e-12)


def test_water_filling_is_the_closed_form_and_the_price_its_slope():
    p, c = np.array([0.5, 0.2, 0.05, 0.001]), np.array([1.0, 2.0, 1.0, 3.0])
    found = water_filling(p, 20.0, c)
    h = -np.log1p(-p)
    closed = np.maximum(0, np.log(found.price * c / h) / np.log1p(-p))
    assert found.samples == pytest.approx(closed, rel=1e-12)
    assert (found.samples > 0).tolist() == [True, True, True, False]
    more = water_filling(p, 20.001, c)
    assert (more.coverage - found.coverage) * 4 / 0.001 == pytest.approx(found.price, rel=1e-4)


@given(
    st.lists(st.floats(0.001, 0.999), min_size=1, max_size=8),
    st.integers(0, 40),
    st.integers(0, 2**32),
)
def test_water_filling_bounds_whole_samples(p, budget, seed):
    cost = np.random.default_rng(seed).integers(1, 4, len(p))
    menu = by_problem(p, 40, cost)
    whole = allocate(menu, budget, unit="tokens", per="total", queries=len(p))
    bound = water_filling(p, budget, cost).coverage
    assert whole.value <= bound + 1e-12
    # one unit of cost that does not fit is all that whole samples can lose
    assert bound <= whole.bound + max(p) / len(p)


def test_greedy_is_the_best_of_all_allocations():
    p, budget = np.array([0.6, 0.3, 0.25, 0.05]), 7
    best = max(
        (1 - (1 - p) ** np.array(b)).mean()
        for b in product(range(budget + 1), repeat=4)
        if sum(b) == budget
    )
    a = allocate(by_problem(p, 8), budget, unit="samples", per="total", queries=4)
    assert a.value == pytest.approx(best, abs=1e-12)


@given(st.floats(0.01, 50), st.floats(0.01, 50), st.integers(0, 30), st.integers(0, 30))
def test_marginal_values_under_a_posterior_decrease(alpha, beta, wins, losses):
    k = np.arange(0, 60)
    failed = np.exp(log_beta_ratio(alpha + wins, beta + losses, k))
    marginal = -np.diff(failed)
    a, b, j = alpha + wins, beta + losses, k[1:]
    # B(a+1, b+j-1) / B(a, b)
    direct = np.exp(log_beta_ratio(a, b, j - 1)) * a / (a + b + j - 1)
    assert marginal == pytest.approx(direct, rel=1e-6, abs=1e-13)
    assert (np.diff(direct) < 0).all()


def test_bad_problems():
    for p, words in (([], "shape"), ([0.5, 1.2], "problem 1 is 1.2"), ([np.nan], "is nan")):
        with pytest.raises(InputError, match=words):
            water_filling(p, 1)
    with pytest.raises(InputError, match=r"problem 1 is 0\.0"):
        water_filling([0.5, 0.5], 1, [1, 0])
    with pytest.raises(InputError, match="shape"):
        water_filling([0.5, 0.5], 1, [1])
    with pytest.raises(UsageError, match="budget is -1"):
        water_filling([0.5], -1)
    sure = water_filling([1.0, 0.0], 5)
    assert sure.coverage == 0.5
    assert sure.price == 0


def test_funding_counts_who_gets_nothing():
    menu = replace(by_problem([0.9, 0.5, 0.0001, 0.0001], 8), weight=np.array([1.0, 1, 1, 2]))
    a = allocate(menu, 5, unit="samples", per="total", queries=5)
    found = funding(a)
    assert (found.funded, found.unfunded) == (2, 2)
    assert found.share == pytest.approx(2 / 5)
    assert found.most == max(a.rows()[c]["cost"]["samples"] for c in (0, 1))
    every = funding(allocate(replace(menu, skip=False), 2, unit="samples"))
    assert (every.unfunded, every.share) == (0, 1.0)


def test_funding_of_divided_and_unusable_classes():
    menu = by_problem([0.9, 0.0001], 1)
    half = allocate(menu, 0.75, unit="samples", split=True)
    assert funding(half) == (2, 0, 0.75, 1.0)
    lame = replace(by_problem([0.9, 0.5, 0.4], 4), curve=np.array([0, 1, -1]))
    assert funding(allocate(lame, 2, unit="samples")).unfunded == 0
    nothing = allocate(lame, 0, unit="samples")
    assert funding(nothing) == (0, 3, 0.0, 0.0)


# --- FLOPs decide the model ------------------------------------------------------------------

SHAPE = {  # Llama-3-8B and -70B
    "parameters": {"8B": 8_030_261_248, "70B": 70_553_706_496},
    "layers": {"8B": 32, "70B": 80},
    "width": {"8B": 4096, "70B": 8192},
}
# Brown et al. (2024), figure 5: log coverage = a k^b
PUBLISHED = {
    "MATH": {"8B": (-1.33, -0.43), "70B": (-0.75, -0.46)},
    "CodeContests": {"8B": (-3.88, -0.11), "70B": (-2.52, -0.11)},
}


def two_models(curves, reach: int = 2000) -> tuple[Menu, float]:
    """A menu of both models priced in FLOPs, and what one sample of the large one costs."""
    costs = FlopsCosts(**SHAPE, input_tokens=300, tokens_per_sample=400)
    k = np.arange(1, reach + 1)
    menus = [
        over_samples(
            np.exp(a * k**b)[None],
            k,
            key={},
            weight=np.ones(1),
            curve=np.zeros(1, dtype=int),
            cost=costs.of(model, {}).at(k),
            model=model,
        )
        for model, (a, b) in curves.items()
    ]
    return merge(menus), float(menus[1].cost["flops"][0])


@given(st.floats(0, 2.2))
def test_at_equal_flops_the_small_model_wins_on_math_and_the_large_on_code(log_budget):
    chosen = {}
    for task, curves in PUBLISHED.items():
        menu, one = two_models(curves)
        a = allocate(menu, one * 10**log_budget, unit="flops")
        chosen[task] = a.rows()[0]["action"]["model"]
        assert a.rows()[0]["cost"]["flops"] <= one * 10**log_budget
    assert chosen == {"MATH": "8B", "CodeContests": "70B"}


def test_flops_reach_the_table():
    costs = FlopsCosts(**SHAPE, input_tokens=300)
    use = {"tokens": ResourceUse(400.0, None, 40)}
    n, names = np.full(4, 10), np.array(["a", "b", "c", "d"])
    groups = [
        Counts({"model": m}, np.full(4, "t"), names, n, np.array(c), resources=use, model=m)
        for m, c in (("8B", [1, 0, 2, 4]), ("70B", [9, 8, 9, 10]))
    ]
    a = allocate(plugin_menu(groups, costs=costs), 1e14, unit="flops")
    document = a.table(created="2026-01-31T12:00:00Z").document
    assert document["provenance"]["cost_model"] == costs.cost_model
    (row,) = document["rows"]
    model, n_samples = row["action"]["model"], row["action"]["n_samples"]
    assert row["expected"]["resources"]["flops"]["mean"] == pytest.approx(
        inference_flops(
            *(SHAPE[name][model] for name in ("parameters", "layers", "width")),
            input_tokens=300,
            output_tokens=400,
            samples=n_samples,
        )
    )
    # coverage counts any right sample, so that every action rests on somebody who finds it
    entries = [row, document["fallback"], *row["ladder"]]
    assert all(entry["expected"]["assumes_oracle_verifier"] is True for entry in entries)


# --- Pythia-12B on MATH ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def pythia(reference_data) -> Counts:
    with (reference_data / "coverage" / "monkeys_pythia_math_counts.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["model"] == "Pythia 12B"]
    return Counts(
        {},
        np.array([r["task"] for r in rows]),
        np.array([r["problem"] for r in rows]),
        np.array([int(r["num_samples"]) for r in rows]),
        np.array([int(r["num_correct"]) for r in rows]),
    )


@pytest.mark.reference
def test_reference_allocations(reference_data, pythia):
    """Values re-computed independently; `known p` is the rate over 10,000 attempts."""
    text = (reference_data / "coverage" / "reference_ci_alloc.json").read_text("utf-8")
    expected = json.loads(text)["allocation_pythia12b_known_p"]
    menu = plugin_menu([pythia], classes="problem", skip=True)
    relaxed = pythia.c / pythia.n
    for budget, values in expected.items():
        a = allocate(menu, float(budget), unit="samples")
        assert a.uniform_value == pytest.approx(values["uniform"], abs=1e-6)
        assert a.value == pytest.approx(values["greedy_nonadaptive"], abs=1e-6)
        found = funding(a)
        assert found.unfunded == values["unfunded"]
        assert found.funded == pythia.n.size - values["unfunded"]
        assert found.most == values["max_b"]
        bound = water_filling(relaxed, float(budget) * relaxed.size).coverage
        assert a.value <= bound <= a.value + 0.02
