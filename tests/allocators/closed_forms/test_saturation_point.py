"""Saturation points: exact to the sample, and the price of a budget."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import allocate
from scaling.allocators.closed_forms.saturation_point import (
    eps_for_budget,
    menu,
    saturation,
    solve,
    value,
)
from scaling.errors import InputError, UsageError


def by_search(F: float, p: float, eps: float, *, rule: str) -> int:
    n = 0
    while F * (p if rule == "marginal" else 1.0) * (1 - p) ** n > eps:
        n += 1
    return n


@settings(max_examples=200)
@given(
    st.floats(0.01, 1),
    st.floats(0.005, 0.999) | st.sampled_from([0.5, 0.25, 1.0]),
    st.floats(1e-6, 1.2) | st.sampled_from([0.5**k for k in range(1, 12)]),
    st.sampled_from(["marginal", "gap"]),
)
def test_the_smallest_number_that_saturates(F, p, eps, rule):
    found = int(saturation(F, p, eps, rule=rule)[0])
    gain = F * (p if rule == "marginal" else 1.0)

    def at(n: int) -> float:
        return gain * (1 - p) ** n

    slack = 1e-12 * gain
    assert at(found) <= eps + slack
    assert found == 0 or at(found - 1) > eps - slack
    assert abs(found - by_search(F, p, eps, rule=rule)) <= 1


def test_edges():
    # nothing to gain; gain at once; the first sample is not worth it
    assert saturation([1.0, 0.9, 0.4], [0.0, 1.0, 0.5], 0.25).tolist() == [0, 1, 0]
    assert saturation(1.0, 0.0, 0.1, rule="gap").tolist() == [np.inf]
    # exact powers: F p (1-p)^n = eps is no longer a gain
    assert saturation(1.0, 0.5, 0.5**6).tolist() == [5]
    # log p / log(1-p) samples apart before rounding: 458 at p = .01
    apart = saturation(1.0, 0.01, 1e-4, rule="gap") - saturation(1.0, 0.01, 1e-4)
    assert apart.tolist() == [458]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.01, 0.95)), min_size=1, max_size=5),
    st.integers(0, 60),
)
def test_a_budget_takes_the_largest_gains(queries, budget):
    F, p = (np.array(each) for each in zip(*queries, strict=True))
    best = solve(F, p, budget=budget)
    gains = np.sort(
        np.concatenate([F[:, None] * p[:, None] * (1 - p[:, None]) ** np.arange(61)]).ravel()
    )
    assert best.whole["samples"].sum() == budget
    assert best.whole_value == pytest.approx(gains[::-1][:budget].sum(), rel=1e-9, abs=1e-12)
    eps = eps_for_budget(F, p, budget)
    assert eps == pytest.approx(gains[::-1][budget], rel=1e-9)
    assert saturation(F, p, eps * (1 + 1e-9)).sum() <= budget
    if budget:
        assert saturation(F, p, eps * (1 - 1e-9)).sum() > budget
        assert best.action["samples"].sum() == pytest.approx(budget, rel=1e-9)
        step = 1e-4 * budget
        up, down = (solve(F, p, budget=budget + d).value for d in (step, -step))
        assert (up - down) / (2 * step) == pytest.approx(best.price, rel=1e-3)


def test_the_engine_agrees_on_the_price():
    F, p = np.array([1.0, 0.9, 0.8, 0.5]), np.array([0.3, 0.05, 0.6, 0.2])
    chosen = solve(F, p, eps=0.01)
    table, limit = menu(F, p, eps=0.01)
    found = allocate(table, limits=[limit])
    n = np.array([row["action"]["samples"] for row in found.rows()])
    assert (n == chosen.whole["samples"]).all()
    assert value({"samples": n}, F, p) / 4 == pytest.approx(found.value, rel=1e-12)
    # the engine's price: the next gain after the last one paid, at most the price asked for
    following = (F * p * (1 - p) ** n).max()
    assert found.price == pytest.approx(following, rel=1e-9)
    assert found.price <= 0.01


def test_bad_parameters():
    with pytest.raises(InputError, match=r"ceiling\[0\] is 1\.1"):
        saturation(1.1, 0.5, 0.1)
    with pytest.raises(InputError, match=r"eps\[0\] is 0\.0"):
        saturation(1.0, 0.5, 0.0)
    with pytest.raises(InputError, match=r"p\[1\] is 1\.0"):
        solve([1, 1], [0.5, 1.0], eps=0.1)
    with pytest.raises(UsageError, match="one of the two"):
        solve(1.0, 0.5)
    with pytest.raises(UsageError, match="Unknown rule"):
        saturation(1.0, 0.5, 0.1, rule="half")
    assert solve([0.5], [0.0], eps=0.1).cautions == ("1 of 1 queries are never right",)


@pytest.mark.reference
def test_reference_saturation_points(reference_data):
    values = json.loads((reference_data / "saturation" / "reference_values.json").read_text())
    rows = values["ttspm_saturation_vectors"]["rows"]
    assert len(rows) == 45
    for row in rows:
        given_ = row["F_max"], row["p"], row["eps"]
        assert saturation(*given_).tolist() == [row["N_star_marginal"]]
        assert saturation(*given_, rule="gap").tolist() == [row["N_star_residual_gap"]]
