"""With a verifier in the loop: exact values, optimality, and the menu of stopped sampling."""

from __future__ import annotations

import csv
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import allocate
from scaling.allocators.stop_at_success import best_p_first, round_robin, until_success
from scaling.core.special import log_beta_ratio
from scaling.curves import Menu, merge, over_samples
from scaling.errors import InputError, UsageError


def best_of_all(p, cost, budget: int) -> float:
    """Expected coverage of the best adaptive order, by dynamic programming over who is solved."""

    @cache
    def wins(unsolved: tuple[int, ...], left: int) -> float:
        found = 0.0
        for i in unsolved:
            if cost[i] <= left:
                rest = tuple(j for j in unsolved if j != i)
                after = left - cost[i]
                found = max(
                    found, p[i] * (1 + wins(rest, after)) + (1 - p[i]) * wins(unsolved, after)
                )
        return found

    return wins(tuple(range(len(p))), budget) / len(p)


probabilities = st.lists(st.floats(0.01, 1) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=4)


@settings(max_examples=40)
@given(probabilities, st.integers(0, 12))
def test_best_p_first_is_the_best_order(p, budget):
    assert best_p_first(p, budget) == pytest.approx(best_of_all(p, [1] * len(p), budget), abs=1e-12)


@settings(max_examples=40)
@given(probabilities, st.integers(0, 15), st.integers(0, 2**32))
def test_with_unequal_costs_it_loses_less_than_one_sample(p, budget, seed):
    cost = np.random.default_rng(seed).integers(1, 5, len(p))
    mine, best = float(best_p_first(p, budget, cost)), best_of_all(p, cost.tolist(), budget)
    assert mine <= best + 1e-12
    assert best < mine + max(p) / len(p) + 1e-12


def test_unequal_costs_by_hand():
    # 0.5 at cost 2 before 0.2 at cost 1: solved within 2, or within 4; the other with what is left
    p, cost = [0.2, 0.5], [1, 2]
    expected = [0, 0, 0.5, 0.5 + 0.5 * 0.2, 0.75 + 0.5 * (1 - 0.8**2)]
    assert best_p_first(p, range(5), cost) == pytest.approx(np.array(expected) / 2, abs=1e-15)
    # a common factor of costs changes nothing but the unit
    assert best_p_first(p, [0, 299, 400], [100, 200]) == pytest.approx(
        best_p_first(p, [0, 2, 4], cost), abs=0
    )


def test_one_problem_and_sure_ones():
    assert best_p_first([0.3], [0, 1, 5]) == pytest.approx([0, 0.3, 1 - 0.7**5])
    assert best_p_first([1.0, 1.0, 0.0], [0, 1, 2, 9]).tolist() == pytest.approx(
        [0, 1 / 3, 2 / 3, 2 / 3]
    )
    shape = np.array([[1, 2], [3, 4]])
    assert best_p_first([0.5], shape).shape == (2, 2)


def in_turn(p, budget: int) -> float:
    """Expected coverage of going round, by enumeration."""

    def wins(unsolved, at: int, left: int) -> float:
        if not unsolved or not left:
            return 0.0
        if at == len(unsolved):
            return wins(unsolved, 0, left)
        i = unsolved[at]
        solved = wins(unsolved[:at] + unsolved[at + 1 :], at, left - 1)
        return p[i] * (1 + solved) + (1 - p[i]) * wins(unsolved, at + 1, left - 1)

    return wins(tuple(range(len(p))), 0, budget) / len(p)


@pytest.mark.parametrize("p", [[0.5, 0.2, 0.7], [0.0, 0.9, 0.1, 0.3], [1.0, 1.0], [0.05] * 5])
def test_round_robin_is_that_of_enumeration(p):
    budgets = np.arange(0, 13)
    found = round_robin(p, budgets, replicates=20_000, seed=1)
    exact = np.array([in_turn(p, b) for b in budgets.tolist()])
    assert found.coverage.shape == found.se.shape == budgets.shape
    assert (np.abs(found.coverage - exact) <= 4 * found.se + 1e-12).all()
    assert found.coverage[0] == 0
    again = round_robin(p, budgets, replicates=20_000, seed=1)
    assert (again.coverage == found.coverage).all()


def test_blocks_of_replicates_are_one_sample(monkeypatch):
    p = np.linspace(0.01, 0.5, 20)
    whole = round_robin(p, [20, 60, 200], replicates=5000, seed=3)
    monkeypatch.setattr("scaling.allocators.stop_at_success._BLOCK", 20 * 7)
    parts = round_robin(p, [20, 60, 200], replicates=5000, seed=4)
    spread = np.hypot(whole.se, parts.se)
    assert (np.abs(whole.coverage - parts.coverage) <= 4 * spread).all()
    assert parts.se == pytest.approx(whole.se, rel=0.1)


@pytest.mark.parametrize(("alpha", "beta"), [(0.3, 2.0), (1.0, 1.0), (5.0, 0.5)])
def test_under_one_beta_prior_round_robin_is_the_best_order(alpha, beta):
    """Arms tell of themselves only, by their failures so far; a state is how often each failed."""

    def chance(failures: int) -> float:
        return alpha / (alpha + beta + failures)

    @cache
    def wins(failures: tuple[int, ...], left: int, *, least_tried: bool) -> float:
        if not failures or not left:
            return 0.0
        found = []
        for i, j in enumerate(failures):
            others = failures[:i] + failures[i + 1 :]
            p = chance(j)
            lost = tuple(sorted((*others, j + 1)))
            value = p * (1 + wins(others, left - 1, least_tried=least_tried))
            found.append(value + (1 - p) * wins(lost, left - 1, least_tried=least_tried))
            if least_tried:  # failures are sorted
                break
        return max(found)

    for left in range(1, 12):
        start = (0, 0, 0, 0)
        turn = wins(start, left, least_tried=True)
        assert turn == pytest.approx(wins(start, left, least_tried=False), abs=1e-14)
    # and the simulation is of that order: average over rates drawn from the prior
    rng = np.random.default_rng(5)
    each = [
        float(round_robin(rng.beta(alpha, beta, 4), 7, replicates=2, seed=s).coverage)
        for s in range(1500)
    ]
    se = np.std(each, ddof=1) / np.sqrt(len(each))
    assert abs(np.mean(each) - wins((0, 0, 0, 0), 7, least_tried=True) / 4) < 4 * se


def test_large_pools_follow_pass_at_k():
    """With many problems a round robin of r rounds costs what stopping at success costs."""
    p = np.random.default_rng(0).beta(0.4, 3.0, 2000)
    failed = ((1 - p)[:, None] ** np.arange(0, 40)).mean(axis=0)
    r = np.array([1, 5, 20, 39])
    budget = np.round(p.size * np.cumsum(failed)[r - 1])
    found = round_robin(p, budget, replicates=60, seed=0)
    assert found.coverage == pytest.approx(1 - failed[r], abs=2e-3)


# --- menus -----------------------------------------------------------------------------------


def known(p, most: int = 60, **fields: object) -> Menu:
    p, k = np.asarray(p), np.arange(1, most + 1)
    return over_samples(
        -np.expm1(np.log1p(-p)[:, None] * k),
        k,
        key={"problem": np.arange(p.size)},
        weight=np.ones(p.size),
        curve=np.arange(p.size),
        cost={"samples": k * 1.0, "usd": 0.5 + 0.25 * k},
        **{"model": "m", "skip": True, **fields},
    )


def test_stopped_samples_cost_what_is_drawn():
    menu = until_success(known([0.2, 0.01]))
    k = np.arange(1, 61)
    for at, p in ((slice(0, 60), 0.2), (slice(60, 120), 0.01)):
        drawn = (1 - (1 - p) ** k) / p  # E min(G, k)
        assert menu.cost["samples"][at] == pytest.approx(drawn, rel=1e-12)
        assert menu.cost["usd"][at] == pytest.approx(0.5 + 0.25 * drawn, rel=1e-12)
    assert set(menu.action["stop_rule"].tolist()) == {"first_accepted"}
    assert menu.action["samples"].tolist() == [*k.tolist()] * 2


def test_expected_attempts_under_a_beta_prior():
    # E min(G, K) = ((a+b-1) - (a+b+K-1) r_K) / (a-1), r_K = B(a, b+K) / B(a, b)
    a, b, k = 0.2955, 12.365, np.arange(1, 51)
    menu = over_samples(
        -np.expm1(log_beta_ratio(a, b, k))[None],
        k,
        key={},
        weight=np.ones(1),
        curve=np.zeros(1, dtype=int),
        cost={"samples": k * 1.0},
    )
    drawn = until_success(menu).cost["samples"]
    assert drawn[4] == pytest.approx(4.787071812749, rel=1e-11)
    assert drawn[49] == pytest.approx(37.33936154146, rel=1e-11)


def test_runs_of_merged_models_are_apart():
    small, large = known([0.1, 0.2]), replace(known([0.5, 0.7], 5), skip=True)
    large = replace(large, action={**large.action, "model": np.full(10, "large")})
    merged = until_success(merge([small, large]))
    alone = until_success(small), until_success(large)
    for c in range(2):
        at = slice(merged.start[merged.curve[c]], merged.start[merged.curve[c] + 1])
        for model, menu in zip(("m", "large"), alone, strict=True):
            mine = merged.action["model"][at] == model
            own = slice(menu.start[c], menu.start[c + 1])
            assert merged.cost["usd"][at][mine] == pytest.approx(menu.cost["usd"][own], rel=1e-14)


def test_allocating_stopped_samples_takes_the_best_rates_first():
    p = [0.5, 0.05, 0.2, 0.01]
    menu = until_success(known(p, 400))
    for budget, funded in ((0.4, 1), (1.7, 2), (5.0, 3)):
        a = allocate(menu, budget, unit="samples", split=True)
        got = [row["value"] > 0 or row["split"] is not None for row in a.rows()]
        assert sum(got) == funded
        assert np.argsort(got, kind="stable")[-funded:].tolist() == sorted(
            np.argsort(p)[-funded:].tolist()
        )
    # a budget that holds on average can only be worth more than one that always holds
    exact = best_p_first(p, np.arange(0, 41))
    for total in (4, 12, 40):
        assert allocate(menu, total / 4, unit="samples", split=True).bound >= exact[total] - 1e-12
        assert exact[total] > allocate(known(p, 400), total / 4, unit="samples").value


def test_what_rounding_puts_below_a_straight_hull_is_not_named():
    # Value is p times cost: every rung is on the hull, until values round to one and duplicates remain.
    menu = until_success(known([0.5, 0.05, 0.9, 0.003], 400))
    assert allocate(menu, 2.0, unit="samples").n_nonhull == 0
    # What really lies below is named, also beside a straight part.
    value = menu.value.copy()
    value[10] -= 1e-9
    found = allocate(replace(menu, value=value), 2.0, unit="samples")
    assert found.nonhull == ({"model": "m", "samples": 11, "stop_rule": "first_accepted"},)


def test_menus_that_cannot_stop():
    menu = known([0.1])
    with pytest.raises(UsageError, match="maximises accuracy"):
        until_success(replace(menu, maximise="accuracy"))
    with pytest.raises(UsageError, match="stop rule already"):
        until_success(until_success(menu))
    doubling = 2 ** np.arange(5)
    gaps = over_samples(
        np.linspace(0.1, 0.5, 5)[None],
        doubling,
        key={"level": np.array(["hard"])},
        weight=np.ones(1),
        curve=np.zeros(1, dtype=int),
        cost={"samples": doubling * 1.0},
    )
    with pytest.raises(InputError, match="level=hard: 4 samples stand where 3 must"):
        until_success(gaps)


@pytest.mark.parametrize("budget", [-1, 2.5, np.nan, np.inf])
def test_bad_budgets(budget):
    with pytest.raises(UsageError, match="whole number"):
        best_p_first([0.5], budget)
    with pytest.raises(UsageError, match="whole number"):
        round_robin([0.5], [1, budget])


def test_bad_problems():
    with pytest.raises(InputError, match=r"problem 1 is -0\.1"):
        round_robin([0.5, -0.1], 3)
    with pytest.raises(InputError, match=r"problem 0 is 1\.5.*smaller unit"):
        best_p_first([0.5], 3, [1.5])
    with pytest.raises(UsageError, match="replicates is 1"):
        round_robin([0.5], 3, replicates=1)


# --- Pythia-12B on MATH ----------------------------------------------------------------------


@pytest.mark.reference
def test_reference_orders(reference_data):
    """Totals of 1 to 256 attempts a problem; rates over 10,000 attempts taken as known."""
    with (reference_data / "coverage" / "monkeys_pythia_math_counts.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["model"] == "Pythia 12B"]
    p = np.array([int(r["num_correct"]) / int(r["num_samples"]) for r in rows])
    budget = p.size * np.array([1, 4, 16, 64, 256])
    best = best_p_first(p, budget)
    assert np.round(best, 4).tolist() == [0.1048, 0.2146, 0.4100, 0.6311, 0.7703]
    turn = round_robin(p, budget, replicates=1000, seed=0)
    reference = np.array([0.0229, 0.0831, 0.2279, 0.4766, 0.6798])
    of_400 = turn.se * np.sqrt(1000 / 400)  # the reference is a mean over 400 passes
    assert (np.abs(turn.coverage - reference) <= 3 * np.hypot(turn.se, of_400)).all()
    assert (turn.coverage < best).all()
    # the first round gives every problem one attempt
    assert turn.coverage[0] == pytest.approx(p.mean(), abs=4 * turn.se[0])
