"""Orders of attempts: optimal where they claim it, and replayed as they would be played."""

from __future__ import annotations

import csv
import gzip
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators.sequential import (
    Order,
    Stops,
    index_order,
    posterior_order,
    rate_order,
    replay,
    round_robin_order,
    stops_of_counts,
    stops_of_log,
    stops_of_rates,
)
from scaling.allocators.stop_at_success import (
    best_p_first,
    round_robin,
    until_accepted,
    until_success,
)
from scaling.core.special import log_beta_ratio
from scaling.curves import over_samples
from scaling.errors import InputError, UsageError


def menu_of(value, **fields: object):
    """One class a problem, from coverage of shape (P, K)."""
    value = np.asarray(value)
    P, K = value.shape
    k = np.arange(1, K + 1)
    return over_samples(
        value,
        k,
        key={"problem": np.arange(P)},
        weight=np.ones(P),
        curve=np.arange(P),
        cost={"samples": k * 1.0},
        **{"model": "m", "skip": True, **fields},
    )


def betas(alpha, beta, most: int):
    k = np.arange(1, most + 1)
    return menu_of([-np.expm1(log_beta_ratio(a, b, k)) for a, b in zip(alpha, beta, strict=True)])


def played(order: Order, chances, budget: int) -> float:
    """Expected problems served, by enumeration: `chances[i](j)` = (accepted and right, accepted)."""

    @cache
    def wins(at: int, gone: frozenset[int], left: int) -> float:
        while at < order.problem.size and int(order.problem[at]) in gone:
            at += 1
        if at == order.problem.size or not left:
            return 0.0
        i, j = int(order.problem[at]), int(order.attempt[at]) - 1
        right, accepted = chances[i](j)
        return (
            right
            + accepted * wins(at + 1, gone | {i}, left - 1)
            + (1 - accepted) * wins(at + 1, gone, left - 1)
        )

    return wins(0, frozenset(), budget)


def best_of_all(chances, budget: int, most: int) -> float:
    """Expected problems served by the best adaptive rule: a state is how often each has failed."""

    @cache
    def wins(failures: tuple[int, ...], left: int) -> float:  # -1: stopped
        found = 0.0
        for i, j in enumerate(failures):
            if left and 0 <= j < most:
                right, accepted = chances[i](j)
                gone = (*failures[:i], -1, *failures[i + 1 :])
                failed = (*failures[:i], j + 1, *failures[i + 1 :])
                value = right + accepted * wins(gone, left - 1)
                found = max(found, value + (1 - accepted) * wins(failed, left - 1))
        return found

    return wins((0,) * len(chances), budget)


def beta_chances(alpha, beta, right: float = 1.0, wrong: float = 0.0):
    """Of rates Beta(α, β), after j rejections, by quadrature (exact moments where t = 1, f = 0)."""
    x = (np.arange(2000) + 0.5) / 2000

    def of(a, b):
        density = x ** (a - 1) * (1 - x) ** (b - 1)
        accepted = x * right + (1 - x) * wrong

        def chance(j: int):
            belief = density * (1 - accepted) ** j
            belief = belief / belief.sum()
            return float(belief @ x) * right, float(belief @ accepted)

        return chance

    return [of(a, b) for a, b in zip(alpha, beta, strict=True)]


positive = st.floats(0.3, 6)


@settings(max_examples=15)
@given(st.lists(st.tuples(positive, positive), min_size=2, max_size=3), st.integers(1, 7))
def test_no_rule_beats_the_posterior_order(pairs, budget):
    alpha, beta = (np.array(each) for each in zip(*pairs, strict=True))

    def exactly(a, b):
        return lambda j: (a / (a + b + j),) * 2

    chances = [exactly(a, b) for a, b in pairs]
    order = posterior_order(alpha, beta, 7)
    assert played(order, chances, budget) == pytest.approx(
        best_of_all(chances, budget, 7), abs=1e-12
    )
    # and it is the order of the stopped menu's hull
    mine = index_order(until_success(betas(alpha, beta, 7)))
    assert mine.index == pytest.approx(order.index, rel=1e-9)
    assert played(mine, chances, budget) == pytest.approx(played(order, chances, budget), abs=1e-12)


@settings(max_examples=10)
@given(
    st.lists(st.tuples(positive, positive), min_size=2, max_size=3),
    st.floats(0.4, 1),
    st.floats(0, 0.9),
    st.integers(1, 6),
)
def test_no_rule_beats_the_index_with_a_verifier_that_errs(pairs, right, share, budget):
    alpha, beta = zip(*pairs, strict=True)
    wrong = right * share
    chances = beta_chances(alpha, beta, right, wrong)
    order = index_order(until_accepted(betas(alpha, beta, 6), right, wrong))
    assert played(order, chances, budget) == pytest.approx(
        best_of_all(chances, budget, 6), abs=2e-4 * budget
    )


def test_an_index_that_rises_is_read_off_the_hull():
    """The second attempt is the good one: the pair is worth (0.1 + 0.9 * 0.8) / 1.9 an attempt."""
    rising, steady = [0.1, 0.82, 0.82], [0.3, 0.51, 0.657]
    order = index_order(until_success(menu_of([rising, steady])))
    assert order.problem.tolist() == [0, 0, 1, 1, 1]
    assert order.attempt.tolist() == [1, 2, 1, 2, 3]
    assert order.index[:2] == pytest.approx([0.82 / 1.9] * 2)
    # the third attempt of the first problem wins nothing and is never made
    chances = [lambda j: ((0.1, 0.8, 0.0)[j],) * 2, lambda _: (0.3,) * 2]
    for budget in range(1, 6):
        best = best_of_all(chances, budget, 3)
        # with one attempt left a pair does not fit: less than one attempt's worth is lost
        assert best - played(order, chances, budget) <= 0.3
    assert played(order, chances, 5) == pytest.approx(best_of_all(chances, 5, 3))


def test_a_price_ends_the_order():
    order = posterior_order([1.0, 4.0], [3.0, 2.0], 50)
    part = order.worth(0.125)
    # 1 / (4 + j) >= 1/8 up to j = 4; 4 / (6 + j) up to j = 26
    assert [int((part.problem == i).sum()) for i in (0, 1)] == [5, 27]
    assert (np.diff(order.index) <= 0).all()


def test_known_rates_go_problem_after_problem():
    p, cost = [0.2, 0.5, 0.0], [1, 4, 1]
    order = rate_order(p, 3, cost)
    assert order.problem.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert order.attempt.tolist() == [1, 2, 3] * 3
    assert round_robin_order(2, 2).problem.tolist() == [0, 1, 0, 1]
    prior = posterior_order([0.5] * 3, [2.0] * 3, 4)
    turn = round_robin_order(3, 4)
    assert (prior.problem == turn.problem).all()
    assert (prior.attempt == turn.attempt).all()


def test_replays_are_those_of_the_exact_orders():
    p = np.array([0.5, 0.2, 0.05, 0.3, 0.0])
    budget = np.arange(0, 41, 4)
    stops = stops_of_rates(p, 40, replicates=6000, seed=1)
    best = replay(rate_order(p, 40), stops, budget)
    assert (np.abs(best.coverage - best_p_first(p, budget)) <= 4 * best.se + 1e-12).all()
    turn, other = replay(round_robin_order(5, 40), stops, budget), round_robin(p, budget, seed=2)
    assert (np.abs(turn.coverage - other.coverage) <= 4 * np.hypot(turn.se, other.se) + 1e-12).all()
    assert (best.coverage >= turn.coverage - 1e-12).all()


def test_replay_by_hand():
    # problem 0 is solved by its second attempt, 1 by its first, 2 by none of three
    stops = stops_of_log(np.array([0, 1, 0, 1, 0, 0, 0], dtype=bool), [0, 3, 4, 7], right=None)
    assert stops.attempt.tolist() == [[2, 1, 4]]
    assert stops.right.tolist() == [[True, True, False]]
    order = Order(np.array([0, 1, 2, 0, 2, 0]), np.array([1, 1, 1, 2, 2, 3]), np.zeros(6))
    found = replay(order, stops, [0, 1, 2, 3, 4, 5, 99])
    assert found.coverage == pytest.approx(np.array([0, 0, 1, 1, 2, 2, 2]) / 3)
    assert np.isnan(found.se).all()
    dear = replay(order, stops, [2, 5, 8, 9], cost=[2, 3, 1])
    assert dear.coverage == pytest.approx(np.array([0, 1, 2, 2]) / 3)
    # what is accepted may be wrong; sampling ends all the same
    wrong = stops_of_log(
        np.array([0, 1, 0, 1, 0, 0, 0], bool), [0, 3, 4, 7], np.array([1, 0, 0, 1, 0, 0, 0], bool)
    )
    assert replay(order, wrong, 99).coverage == pytest.approx(1 / 3)


def test_counts_are_drawn_without_replacement():
    n, accepted, right = np.array([4, 5, 3]), np.array([1, 5, 0]), np.array([1, 2, 0])
    stops = stops_of_counts(n, accepted, right, replicates=10_000, seed=0)
    first = np.bincount(stops.attempt[:, 0], minlength=6)[1:] / 10_000
    assert first == pytest.approx([0.25] * 4 + [0], abs=0.02)
    assert (stops.attempt[:, 1] == 1).all()
    assert (stops.attempt[:, 2] == 4).all()
    assert stops.right.mean(axis=0) == pytest.approx([1, 0.4, 0], abs=0.02)
    # whole logs, tried to the end, give what the log has
    order = round_robin_order(3, 3)
    assert replay(order, stops, 99).coverage == pytest.approx((0.75 + 0.4) / 3, abs=0.01)


def test_erring_verifiers_end_problems():
    p, t, f = np.array([0.3, 0.6]), 0.9, 0.2
    stops = stops_of_rates(p, 30, right=t, wrong=f, replicates=10_000, seed=3)
    a = p * t + (1 - p) * f
    served = replay(round_robin_order(2, 30), stops, 60)
    exact = (p * t / a * (1 - (1 - a) ** 30)).mean()
    assert abs(float(served.coverage) - exact) <= 4 * float(served.se)


def test_what_cannot_be_ordered_or_replayed():
    plain = menu_of([[0.1, 0.2]])
    with pytest.raises(UsageError, match="stops at the first success"):
        index_order(plain)
    with pytest.raises(UsageError, match="no cost in usd; it has: samples"):
        index_order(until_success(plain), "usd")
    with pytest.raises(UsageError, match="too long"):
        round_robin_order(10**5, 10**5)
    with pytest.raises(UsageError, match="order of 0 attempts"):
        rate_order([0.5], 0)
    with pytest.raises(InputError, match=r"problem 1 is Beta\(0\.0"):
        posterior_order([1, 0], [1, 1], 3)
    with pytest.raises(InputError, match="alpha has shape"):
        posterior_order([1, 1], [1], 3)
    with pytest.raises(InputError, match="2 attempts, 3 accepted"):
        stops_of_counts([2], [3])
    with pytest.raises(InputError, match="Counts have shapes"):
        stops_of_counts([2, 3], [1])
    for bounds in ([0, 2], [1, 3], [0, 3, 3]):
        with pytest.raises(InputError, match="rise from 0"):
            stops_of_log(np.zeros(3, bool), bounds)
    with pytest.raises(InputError, match="right has shape"):
        stops_of_log(np.zeros(3, bool), [0, 3], np.zeros(2, bool))
    stops = Stops(np.array([[2]]), np.array([[True]]), np.array([3]))
    with pytest.raises(UsageError, match="attempt 4 of problem 0, of which there are 3"):
        replay(round_robin_order(1, 4), stops, 3)
    with pytest.raises(UsageError, match="names problem 1; there are 1"):
        replay(round_robin_order(2, 1), stops, 3)
    with pytest.raises(UsageError, match="budget is -1"):
        replay(round_robin_order(1, 1), stops, -1)


def test_a_class_with_a_choice_of_models_is_no_arm():
    from dataclasses import replace

    from scaling.curves import merge

    menu = menu_of([[0.1, 0.2]])
    other = replace(menu, action={**menu.action, "model": np.array(["n", "n"])})
    with pytest.raises(UsageError, match="problem=0 has a choice of other actions"):
        index_order(until_success(merge([menu, other])))


@pytest.mark.reference
def test_reference_verifier_on_counts(reference_data):
    """HumanEval verdicts: all tasks K times at most, the official check as a verifier that errs."""
    folder = reference_data / "verification"
    told = json.loads((folder / "reference.json").read_text())["humaneval_codegen16b"]
    told = told["verifier_base_tests"]
    counts: dict[str, list[int]] = {}
    with gzip.open(folder / "humaneval_codegen16b_verdicts.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            passed = int(row["base_pass"])
            seen = counts.setdefault(row["task"], [0, 0, 0])
            for i, more in enumerate((1, passed, passed * int(row["correct"]))):
                seen[i] += more
    n, accepted, right = np.array(list(counts.values())).T
    stops = stops_of_counts(n, accepted, right, replicates=300, seed=0)
    for K in (1, 5, 20, 100):
        found = replay(round_robin_order(n.size, K), stops, np.inf)
        assert abs(float(found.coverage) - told["acc_at_K"][str(K)]) <= 4 * float(found.se) + 1e-12
        # with as much as that takes on average, the whole order has about the same
        budget = np.round(n.size * told["E_samples_at_K"][str(K)])
        paid = replay(round_robin_order(n.size, 100), stops, budget)
        assert float(paid.coverage) == pytest.approx(told["acc_at_K"][str(K)], abs=0.006)


@pytest.mark.reference
def test_reference_orders_on_counts(reference_data):
    """Pythia-12B on MATH: orders from 16 logged attempts, played on the others' rates."""
    with (reference_data / "coverage" / "monkeys_pythia_math_counts.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["model"] == "Pythia 12B"]
    n = np.array([int(r["num_samples"]) for r in rows])
    c = np.array([int(r["num_correct"]) for r in rows])
    P, budget, most = n.size, n.size * np.array([1, 4, 16]), 400
    stops = stops_of_counts(n, c, replicates=200, seed=0)
    best = replay(rate_order(c / n, most), stops, budget)
    # reference_ci_alloc.json, bestp_first_stop_mc and roundrobin_stop_mc
    assert best.coverage == pytest.approx([0.10477, 0.21462, 0.40995], abs=0.006)
    turn = replay(round_robin_order(P, most), stops, budget)
    assert turn.coverage == pytest.approx([0.0229, 0.0831, 0.2279], abs=0.006)
    seen = np.random.default_rng(0).hypergeometric(c, n - c, 16)
    # Beta(.2955, 12.365) is the fit to all 10,000 attempts of this model
    order = posterior_order(0.2955 + seen, 12.365 + 16 - seen, most)
    mine = replay(order, stops, budget)
    assert (mine.coverage > turn.coverage + 3 * np.hypot(mine.se, turn.se)).all()
    assert (mine.coverage < best.coverage).all()
