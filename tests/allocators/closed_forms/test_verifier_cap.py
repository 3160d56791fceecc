"""The cap on attempts against a verifier that errs."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import allocate
from scaling.allocators.closed_forms.verifier_cap import (
    critical_loss,
    menu,
    net_value,
    of_counts,
    plateau,
    solve,
)
from scaling.errors import InputError, UsageError


def by_simulation(K: int, p, t, f, loss: float, cost: float, w) -> float:
    """The process, attempt after attempt, in expectation."""
    total = 0.0
    for weight, rate, right, wrong in zip(w, p, t, f, strict=True):
        alive, won = 1.0, 0.0
        for _ in range(K):
            won += alive * (rate * right - loss * (1 - rate) * wrong - cost)
            alive *= 1 - rate * right - (1 - rate) * wrong
        total += weight * won
    return total


kinds = st.lists(
    st.tuples(
        st.floats(0.01, 1) | st.just(0.0), st.floats(0.3, 1), st.floats(0, 0.9), st.floats(0.1, 1)
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150)
@given(kinds, st.floats(0, 5), st.floats(0.001, 0.2))
def test_no_cap_is_better(mixture, loss, cost):
    p, t, f, w = (np.array(each) for each in zip(*mixture, strict=True))
    f, w = f * t, w / w.sum()
    best = solve(p, t, f, loss=loss, cost=cost, w=w)
    given_ = {"loss": loss, "cost": cost, "w": w}
    values = net_value(np.arange(3000), p, t, f, **given_)
    forever = float(net_value(math.inf, p, t, f, **given_))
    assert best.whole_value == pytest.approx(max(values.max(), forever), abs=1e-9)
    for K in (0, 1, 2, 7):
        assert values[K] == pytest.approx(by_simulation(K, p, t, f, loss, cost, w), abs=1e-12)
    K = best.whole["samples"][0]
    if math.isfinite(K):
        assert best.value >= best.whole_value - 1e-12
        assert abs(best.action["samples"][0] - K) <= 1
        assert best.residual < 1e-9


def test_one_kind_is_all_or_nothing():
    """A problem of known chances has no memory: a cap comes from a mixture only."""
    assert solve([0.3], 0.9, 0.1, loss=1.0).whole["samples"].tolist() == [math.inf]
    assert solve([0.3], 0.9, 0.1, loss=9.0).whole["samples"].tolist() == [0]
    (limit,) = critical_loss([0.3], 0.9, 0.1)
    assert limit == pytest.approx(0.27 / 0.07)
    assert solve([0.3], 0.9, 0.1, loss=limit * 0.999).whole["samples"][0] == math.inf
    assert solve([0.3], 0.9, 0.1, loss=limit * 1.001).whole["samples"][0] == 0
    # kinds all below theirs: for ever; all above: not at all
    both = critical_loss([0.3, 0.05], 0.9, 0.1)
    assert solve([0.3, 0.05], 0.9, 0.1, loss=both.min() * 0.99).whole["samples"][0] == math.inf
    assert solve([0.3, 0.05], 0.9, 0.1, loss=both.max() * 1.01).whole["samples"][0] == 0
    assert critical_loss([0.3], 1.0, 0.0).tolist() == [math.inf]


def test_two_kinds_by_formula():
    p, f, loss, w = np.array([0.87, 0.13]), 0.25, 0.7, np.array([0.58, 0.42])
    a = p + (1 - p) * f
    u = p - loss * (1 - p) * f
    formula = 1 + math.log(-w[1] * u[1] / (w[0] * u[0])) / math.log((1 - a[0]) / (1 - a[1]))
    assert (
        solve(p, 1.0, f, loss=loss, w=w).whole["samples"].tolist() == [math.floor(formula)] == [3]
    )


def test_worth_that_falls_with_acceptance_is_scanned():
    """A first attempt that loses may be the way to later ones that gain (by hand: V(1) < 0)."""
    # much accepted and mostly wrong, beside seldom accepted and right
    p, t, f, w = [0.0, 0.1], [1.0, 1.0], [0.9, 0.0], [0.5, 0.5]
    best = solve(p, t, f, loss=0.5, w=w)
    assert net_value(1, p, t, f, loss=0.5, w=w) == pytest.approx(0.5 * (-0.45) + 0.5 * 0.1)
    assert best.whole["samples"].tolist() == [math.inf]
    assert best.whole_value == pytest.approx(0.5 * -0.5 + 0.5)
    assert best.cautions
    # the same with a price of an attempt: the scan finds a finite cap, with rejected kinds counted
    dear = solve(p, t, f, loss=0.5, w=w, cost=0.02)
    values = net_value(np.arange(500), p, t, f, loss=0.5, w=w, cost=0.02)
    assert dear.whole_value == pytest.approx(
        max(values.max(), net_value(math.inf, p, t, f, loss=0.5, w=w, cost=0.02))
    )


def test_never_accepted_costs_for_ever():
    assert net_value(math.inf, [0.0], cost=0.1) == -math.inf
    best = solve([0.3, 0.0], cost=0.02)
    # .5 * .28 * .7^(k-1) > .5 * .02
    assert best.whole["samples"].tolist() == [1 + math.floor(math.log(0.02 / 0.28) / math.log(0.7))]


def test_plateaus():
    given_ = {"p": [0.87, 0.13], "t": 1.0, "f": 0.25, "loss": 0.7, "w": [0.58, 0.42]}
    best = solve(**given_).whole_value
    values = net_value(np.arange(200), **given_)
    for delta in (0.0, 0.001, 0.005):
        low, high = plateau(delta, **given_)
        assert low <= 3 <= high
        assert (values[low : int(high) + 1] >= best - delta).all()
        assert values[low - 1] < best - delta
        assert values[int(high) + 1] < best - delta
    # reference.json, flaws_two_type: V(3) = .52457, V(5) = .52078, V(inf) = .51760
    assert plateau(0.0, **given_) == (3, 3)
    assert plateau(0.004, **given_) == (2, 5)
    assert plateau(0.01, **given_) == (2, math.inf)


@settings(max_examples=25)
@given(st.floats(0.5, 0.95), st.floats(0.005, 0.2), st.floats(0.1, 0.6), st.floats(0.05, 0.95))
def test_no_budget_buys_attempts_past_the_cap(easy, hard, wrong, share):
    """The curve peaks at the cap; the engine stays at or before it whatever the budget."""
    # a loss at which easy problems pay and hard ones do not
    low, high = sorted(critical_loss([easy, hard], 1.0, wrong))
    given_ = {"p": [easy, hard], "f": wrong, "loss": low + share * (high - low)}
    cap = solve(**given_).whole["samples"][0]
    assert 0 <= cap < math.inf
    table, _ = menu(**given_)
    last = -1
    for budget in np.geomspace(0.3, 10 * table.cost["samples"][-1], 12):
        (row,) = allocate(table, budget, unit="samples").rows()
        assert last <= row["action"]["samples"] <= cap
        last = row["action"]["samples"]
    assert last == cap


def test_counts_of_a_log():
    found = of_counts([2, 2], [1, 0], [1, 0], loss=3.0, cost=0.1)
    # problem 0: miss(1) = 1/2, miss(2) = 0; problem 1: always missed
    assert found.value == pytest.approx([0, (0.5 - 0.1 - 0.1) / 2, (1 - 0.15 - 0.2) / 2])
    assert found.samples == 2
    with pytest.raises(InputError, match="1 attempts, 2 accepted"):
        of_counts([1], [2], [0])
    with pytest.raises(InputError, match="Counts have shapes"):
        of_counts([1, 2], [1], [0])


def test_bad_parameters():
    with pytest.raises(InputError, match=r"p\[0\] is 1\.2"):
        solve([1.2])
    with pytest.raises(InputError, match=r"cost\[0\] is -1"):
        solve([0.2], cost=-1)
    with pytest.raises(UsageError, match="Every further attempt gains"):
        menu([0.2])


@pytest.mark.reference
def test_reference_two_kinds(reference_data):
    values = json.loads((reference_data / "verification" / "reference.json").read_text())
    two = values["flaws_two_type"]
    given_ = {"p": two["params"]["r"], "t": 1.0, "f": 0.25, "w": two["params"]["prior"]}
    for fluke, told in two["by_V_fluke"].items():
        best = solve(loss=-float(fluke), **given_)
        expected = math.inf if told["K_star_exact"] == "inf" else told["K_star_exact"]
        assert best.whole["samples"].tolist() == [expected]
        for K, V in told["value_at_K"].items():
            assert net_value(int(K), loss=-float(fluke), **given_) == pytest.approx(V, rel=1e-12)
        assert net_value(math.inf, loss=-float(fluke), **given_) == pytest.approx(
            told["value_inf"], rel=1e-12
        )
    row = values["flaws_llama8b_heatmap_row"]
    kind = row["derived"]
    given_ = {"p": kind["r"], "t": 1.0, "f": 1 - kind["soundness"], "w": kind["prior"]}
    for loss, told in row["row"].items():
        expected = math.inf if told["exact"] == "inf" else told["exact"]
        assert solve(loss=float(loss), **given_).whole["samples"].tolist() == [expected]
    # the loss between .6 and .7 at which the hard kind ceases to pay
    assert critical_loss(kind["r"], 1.0, 1 - kind["soundness"]).min() == pytest.approx(
        kind["critical_cost_ratio"], rel=1e-9
    )


@pytest.mark.reference
def test_reference_caps_of_a_log(reference_data):
    """HumanEval verdicts, 164 tasks of 100 attempts: the official check as the verifier."""
    folder = reference_data / "verification"
    told = json.loads((folder / "reference.json").read_text())["humaneval_codegen16b"]
    told = told["verifier_base_tests"]
    n, accepted, right = Counter(), Counter(), Counter()
    with gzip.open(folder / "humaneval_codegen16b_verdicts.csv.gz", "rt") as file:
        for row in csv.DictReader(file):
            task, passed = row["task"], int(row["base_pass"])
            n[task] += 1
            accepted[task] += passed
            right[task] += passed * int(row["correct"])
    tasks = sorted(n)
    counts = [np.array([c[k] for k in tasks]) for c in (n, accepted, right)]
    for loss, best in told["optimal_K_by_FP_cost"].items():
        found = of_counts(*counts, loss=float(loss))
        assert found.samples == best["K_star"]
        assert found.value[found.samples] == pytest.approx(best["value"], rel=1e-9)
        assert found.value[1] == pytest.approx(best["V1"], rel=1e-9)
    for name, best in told["optimal_K_by_FP_cost_and_sample_cost"].items():
        loss, cost = (float(part.split("=")[1]) for part in name.split(","))
        found = of_counts(*counts, loss=loss, cost=cost)
        assert found.samples == best["K_star"]
        assert found.value[found.samples] == pytest.approx(best["value"], rel=1e-9)
    for K, accuracy in told["acc_at_K"].items():
        assert of_counts(*counts, loss=0).value[int(K)] == pytest.approx(accuracy, rel=1e-9)
