"""Curves that peak: no budget, price or stop rule takes a class past its peak."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from scaling.allocators import allocate
from scaling.allocators.closed_forms import cot_length, verifier_cap
from scaling.allocators.online import PriceController
from scaling.allocators.online_replay import play
from scaling.curves import Menu
from scaling.tables.check import check

ODD = np.arange(1, 102, 2)
# share of easy queries, chance that a vote is right on easy and on hard ones
VOTES = {
    "peaks at 5": (0.6, 0.85, 0.4),
    "peaks at 3": (0.4, 0.85, 0.4),
    "rises": (0.7, 0.6, 0.1),
    "falls": (0.5, 0.999, 0.45),
    "hopeless": (0.0, 0.6, 0.0005),
}


def majority(alpha: float, easy: float, hard: float, k=ODD):
    """Accuracy of a majority of k votes, two answers, two kinds of queries."""
    need = (np.asarray(k) + 1) // 2
    return alpha * binom.sf(need - 1, k, easy) + (1 - alpha) * binom.sf(need - 1, k, hard)


def menu_of(curves, cost, **fields: object) -> Menu:
    """One class a curve, all at the same costs and actions."""
    value = np.asarray(curves, dtype=np.float64)
    C, K = value.shape
    return Menu(
        **{
            "key": {"class": np.arange(C)},
            "weight": np.ones(C),
            "curve": np.arange(C),
            "start": np.arange(0, C * K + 1, K),
            "value": value.reshape(-1),
            "cost": {"samples": np.tile(np.asarray(cost, dtype=np.float64), C)},
            "action": {"samples": np.tile(np.arange(1, K + 1), C)},
            **fields,
        }
    )


def voting(**fields: object) -> Menu:
    curves = [majority(*each) for each in VOTES.values()]
    action = {
        "model": np.full(len(VOTES) * ODD.size, "m"),
        "samples": np.tile(ODD, len(VOTES)),
        "strategy": np.full(len(VOTES) * ODD.size, "self_consistency"),
    }
    return menu_of(curves, ODD, action=action, **fields)


def peaks(menu: Menu) -> np.ndarray:
    """Rung within its curve at which each class is worth the most, the first of equal ones."""
    return np.array([np.argmax(menu.value[menu.start[m] : menu.start[m + 1]]) for m in menu.curve])


def test_published_peaks_of_voting():
    """Chen et al. 2024 (arXiv 2403.02419), two kinds of queries, by the binomial law."""
    assert majority(0.6, 0.85, 0.4)[[0, 1, 2, 5, 50]] == pytest.approx(
        [0.67, 0.70435, 0.711008875, 0.69700663, 0.60835868], abs=1e-8
    )
    menu = voting()
    assert ODD[peaks(menu)][[0, 1, 3]].tolist() == [5, 3, 1]
    assert ODD[peaks(menu)][2] == 101


@pytest.mark.parametrize("options", [{}, {"split": True}, {"allow_skip": True}])
def test_votes_are_not_bought_past_the_peak(options):
    menu = voting()
    top = ODD[peaks(menu)]
    best = menu.value.reshape(len(VOTES), -1).max(axis=1)
    for budget in np.geomspace(1, 1e5, 25):
        found = allocate(menu, budget, unit="samples", **options)
        for row, most, value in zip(found.rows(), top, best, strict=True):
            assert row["action"].get("samples", 0) <= most
            assert (row["split"] or row)["action"].get("samples", 0) <= most
            assert row["value"] <= value + 1e-12
        ladder = found.ladder
        for c, most in enumerate(top.tolist()):
            rungs = slice(ladder.start[ladder.curve[c]], ladder.start[ladder.curve[c] + 1])
            assert ladder.action["samples"][rungs].max() <= most
        # what is left out is counted
        assert found.n_nonhull >= sum(51 - (most + 1) // 2 for most in top.tolist())
    assert found.value == pytest.approx(best.mean())
    assert found.price == 0
    assert "more budget buys nothing" in found.unspent_cause


@pytest.mark.parametrize("budget", [2.0, 40.0])
def test_a_table_serves_no_votes_past_the_peak_at_any_price(budget):
    table = allocate(voting(), budget, unit="samples").table(created="2026-01-01T00:00:00Z")
    assert check(table.document) == []
    top = ODD[peaks(voting())]
    for price in (0.0, 1e-12, 1e-4, 0.01, 1.0):
        for c, most in enumerate(top.tolist()):
            assert table.lookup({"class": c}, price=price).action["n_samples"] <= most
    assert table.lookup({"class": 0}, price=0.0).action["n_samples"] == 5


def test_a_stream_gets_no_votes_past_the_peak():
    menu = voting(skip=True)
    controller = PriceController(1e9, 500, 1e-6)  # far more than there is to buy
    day = play(menu, np.arange(500) % len(VOTES), controller, resource="samples")
    top = ODD[peaks(menu)]
    served = np.where(day.rung >= 0, menu.action["samples"][day.rung], 0)
    assert (served <= top[np.arange(500) % len(VOTES)]).all()
    assert (served[-5:] == top).all()


@settings(max_examples=60)
@given(
    st.integers(1, 4).flatmap(
        lambda C: st.integers(1, 12).flatmap(
            lambda K: st.tuples(
                st.lists(st.lists(st.floats(0, 1), min_size=K, max_size=K), min_size=C, max_size=C),
                st.lists(st.floats(0.1, 5), min_size=K, max_size=K),
            )
        )
    ),
    st.floats(0.1, 100),
    st.booleans(),
    st.booleans(),
)
def test_any_curve_any_budget(drawn, budget, skip, split):
    curves, steps = drawn
    menu = menu_of(curves, np.cumsum(steps), skip=skip)
    budget = max(budget, 0.0 if skip else float(menu.cost["samples"][0]) * (1 + 1e-9))
    found = allocate(menu, budget, unit="samples", split=split)
    top = peaks(menu) + 1
    for row, most in zip(found.rows(), top.tolist(), strict=True):
        assert row["action"].get("samples", 0) <= most
        if row["split"]:
            assert row["split"]["action"]["samples"] <= most
    assert found.ladder.action["samples"].max(initial=0) <= max(top)


# --- with stop rules -------------------------------------------------------------------------


@cache
def stopped_vote(p: float, cap: int, confidence: float = 0.9) -> tuple[float, float]:
    """Adaptive consistency by dynamic programming: accuracy and expected votes, two answers.

    Stops where P(first answer leads for good | votes) = I_{1/2}(v2 + 1, v1 + 1) reaches the
    confidence (Aggarwal et al. 2023, arXiv 2305.11860).
    """
    from scipy.special import betainc

    @cache
    def go(right: int, wrong: int) -> tuple[float, float]:
        most, least = max(right, wrong), min(right, wrong)
        if right + wrong == cap or (most and betainc(least + 1, most + 1, 0.5) >= confidence):
            return (0.5 if right == wrong else float(right > wrong)), 0.0
        (a, n), (b, m) = go(right + 1, wrong), go(right, wrong + 1)
        return p * a + (1 - p) * b, 1 + p * n + (1 - p) * m

    return go(0, 0)


def test_stopped_votes_are_not_bought_past_the_peak():
    caps = np.arange(1, 40, 2)
    curves, costs = [], []
    for alpha, easy, hard in VOTES.values():
        both = np.array([[stopped_vote(p, int(c)) for c in caps] for p in (easy, hard)])
        mean = alpha * both[0] + (1 - alpha) * both[1]
        curves.append(mean[:, 0])
        costs.append(mean[:, 1])
    N = caps.size * len(VOTES)
    menu = menu_of(
        curves,
        caps,
        action={
            "model": np.full(N, "m"),
            "samples": np.tile(caps, len(VOTES)),
            "strategy": np.full(N, "self_consistency"),
            "stop_rule": np.full(N, "posterior"),
            "stop_threshold": np.full(N, 0.9),
        },
    )
    menu = replace(menu, cost={"samples": np.concatenate(costs)})
    top = caps[peaks(menu)]
    assert top[0] < caps[-1]  # a peak that stopping early does not take away
    for budget in np.geomspace(1, 1e4, 15):
        found = allocate(menu, budget, unit="samples")
        got = [row["action"]["samples"] for row in found.rows()]
        assert (np.array(got) <= top).all()
    table = found.table(created="2026-01-01T00:00:00Z")
    assert check(table.document) == []
    rule = table.lookup({"class": 2}).action["stop_rule"]
    assert rule == {"kind": "posterior", "threshold": 0.9}
    # the expected votes are charged, not the cap
    assert found.spent["samples"] < np.mean(got)


def test_attempts_against_a_verifier_are_not_bought_past_the_cap():
    """Stopping at the first accepted, a wrong one costs: net value peaks at K*, at expected cost."""
    kinds = {"p": [0.87, 0.13], "t": 1.0, "f": 0.25, "w": [0.58, 0.42]}
    for loss, cap in ((0.7, 3), (1.0, 2), (2.0, 1)):  # Stroebl et al. 2024, two-type model
        menu, _ = verifier_cap.menu(loss=loss, **kinds)
        for budget in (0.4, 1, 1.3, 2, 5, 50):
            (row,) = allocate(menu, budget, unit="samples").rows()
            assert row["action"]["samples"] <= cap
        assert row["action"]["samples"] == cap


def test_overthinking():
    """Steps past the peak of accuracy, and thinking tokens past that of s1 on AIME24."""
    for sigma in (0.05, 0.2, 0.5):
        menu, _ = cot_length.menu(10.0, 1.0, sigma)
        best = cot_length.solve(10.0, 1.0, sigma).whole["iterations"][0]
        for budget in (1, 5, 13, 40, 500):
            (row,) = allocate(menu, budget, unit="samples").rows()
            assert row["action"]["iterations"] <= best
        assert row["action"]["iterations"] == best
    # Muennighoff et al. 2025 (s1, arXiv 2501.19393), forced thinking: 30, 37, 50, 33 per cent
    tokens = np.array([2862.0, 4979.0, 14318.0, 23220.0])
    menu = menu_of([[0.3, 0.3667, 0.5, 0.3333]], tokens)
    menu = replace(menu, cost={"tokens": tokens}, action={"thinking_tokens": tokens.astype(int)})
    for budget in (3000, 8000, 14318, 20_000, 1e6):
        (row,) = allocate(menu, budget, unit="tokens").rows()
        assert row["action"]["thinking_tokens"] <= 14318


@pytest.mark.parametrize("skip", [False, True])
def test_hopeless_classes_get_little_and_the_table_says_so(skip):
    found = allocate(voting(), 12, unit="samples", allow_skip=skip)
    got = [row["action"].get("samples", 0) for row in found.rows()]
    hopeless = list(VOTES).index("hopeless")
    assert got[hopeless] == (0 if skip else 1)
    assert got[list(VOTES).index("rises")] == max(got)
    document = found.table(created="2026-01-01T00:00:00Z").document
    assert check(document) == []
    said = [{each["code"] for each in row["cautions"]} for row in document["rows"]]
    assert [i for i, codes in enumerate(said) if "little-to-gain" in codes] == [hopeless]
    (message,) = [
        each["message"]
        for each in document["rows"][hopeless]["cautions"]
        if each["code"] == "little-to-gain"
    ]
    assert ("gets nothing" in message) == skip
