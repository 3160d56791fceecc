"""Stopping at the first sample that an erring verifier accepts: menus, and the stop rule served."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import roots_jacobi

from scaling.allocators import allocate
from scaling.allocators.stop_at_success import until_accepted, until_success
from scaling.core.special import log_beta_ratio
from scaling.curves import Menu, merge, over_samples
from scaling.errors import UsageError
from scaling.tables.check import check

K = np.arange(1, 61)


def mixture(p, weight, **fields: object) -> Menu:
    """One class whose problems have these rates."""
    missed = np.asarray(weight) @ (1 - np.asarray(p))[:, None] ** K
    return over_samples(
        1 - missed[None],
        K,
        key={"level": np.array(["all"])},
        weight=np.ones(1),
        curve=np.zeros(1, dtype=int),
        cost={"samples": K * 1.0, "usd": 0.5 + 0.25 * K},
        **{"model": "m", "skip": True, **fields},
    )


def beta(classes, **fields: object) -> Menu:
    """Classes whose rates are Beta distributed."""
    value = np.array([-np.expm1(log_beta_ratio(a, b, K)) for a, b in classes])
    return over_samples(
        value,
        K,
        key={"class": np.arange(len(classes))},
        weight=np.ones(len(classes)),
        curve=np.arange(len(classes)),
        cost={"samples": K * 1.0},
        **{"model": "m", "skip": True, **fields},
    )


def test_binary_verifier_by_its_closed_form():
    """Rates .2 with t = .9, f = .1: the values of acc(K) and E min(T, K) by hand (geometric sums)."""
    menu = until_accepted(mixture([0.2], [1.0]), 0.9, 0.1)
    a, precision = 0.26, 0.18 / 0.26
    assert menu.value == pytest.approx(precision * (1 - (1 - a) ** K), rel=1e-12)
    assert menu.cost["samples"] == pytest.approx((1 - (1 - a) ** K) / a, rel=1e-12)
    assert menu.cost["usd"] == pytest.approx(0.5 + 0.25 * menu.cost["samples"], rel=1e-12)
    assert menu.maximise == "accuracy"
    assert set(menu.action["strategy"].tolist()) == {"resample"}


rates = st.lists(st.floats(0.001, 1) | st.sampled_from([0.0, 1.0]), min_size=1, max_size=5)


@settings(max_examples=60)
@given(rates, st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 2**32))
def test_a_class_of_many_rates_is_the_mean_of_its_problems(p, right, share, seed):
    wrong = right * share
    p = np.array(p)
    weight = np.random.default_rng(seed).dirichlet(np.ones(p.size))
    menu = until_accepted(mixture(p, weight), right, wrong)
    a = p * right + (1 - p) * wrong
    drawn = np.stack([(1 - a) ** (k - 1) for k in K])  # (K, P)
    assert menu.value == pytest.approx(np.cumsum(drawn @ (weight * p * right)), rel=1e-9, abs=1e-12)
    assert menu.cost["samples"] == pytest.approx(np.cumsum(drawn @ weight), rel=1e-9)
    # what a sample wins where it is drawn falls: failures tell of a hard problem
    step = np.diff(menu.cost["samples"], prepend=0)
    sure = step > 1e-6
    worth = np.diff(menu.value, prepend=0)[sure] / step[sure]
    assert (np.diff(worth) <= 1e-7).all()


def test_a_perfect_verifier_is_the_special_case():
    menu = beta([(0.3, 2.0), (2.0, 5.0)])
    perfect, stopped = until_accepted(menu, 1, 0), until_success(menu)
    assert perfect.value == pytest.approx(menu.value, rel=1e-12)
    assert perfect.cost["samples"] == pytest.approx(stopped.cost["samples"], rel=1e-12)
    errs = until_accepted(menu, 1, 0.05)
    assert (errs.value <= perfect.value + 1e-15).all()
    assert errs.value.reshape(2, -1)[:, -1].max() < 1


def test_runs_of_different_length_are_apart():
    small, large = beta([(0.3, 2.0)]), beta([(2.0, 2.0)], model="large")
    short = replace(
        large,
        start=np.array([0, 7]),
        value=large.value[:7],
        cost={"samples": large.cost["samples"][:7]},
        action={name: column[:7] for name, column in large.action.items()},
    )
    both = until_accepted(merge([small, short]), 0.9, 0.1)
    apart = [until_accepted(each, 0.9, 0.1) for each in (small, short)]
    assert both.value == pytest.approx(np.concatenate([each.value for each in apart]), rel=1e-14)


@pytest.mark.parametrize(
    ("right", "wrong"), [(0.5, 0.6), (1.1, 0), (0, 0), (0.9, -0.1), (np.nan, 0)]
)
def test_verifiers_that_are_none(right, wrong):
    with pytest.raises(UsageError, match=r"accepts .* of the right samples"):
        until_accepted(beta([(1.0, 1.0)]), right, wrong)


def test_one_way_to_stop():
    menu = beta([(1.0, 1.0)])
    with pytest.raises(UsageError, match="not at both"):
        allocate(menu, 3, unit="samples", until_success=True, until_accepted=(1, 0))
    with pytest.raises(UsageError, match="stop rule already"):
        until_accepted(until_success(menu), 1, 0)


# --- the table -------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [{"until_success": True}, {"until_accepted": (0.9, 0.02)}])
def test_rows_say_after_how_many_failures_to_give_up(stop):
    """After j failures the next sample wins its posterior mean; sampling ends where that is dear."""
    classes = [(0.3, 2.0), (2.0, 5.0), (0.8, 1.0)]
    right, wrong = stop.get("until_accepted", (1.0, 0.0))
    allocation = allocate(beta(classes), 3.1, unit="samples", split=True, **stop)
    document = allocation.table(created="2026-01-01T00:00:00Z").document
    assert check(document) == []
    price = document["objective"]["constraints"][0]["shadow_price"]
    for (a, b), row in zip(classes, document["rows"], strict=True):
        rule, n = row["action"]["stop_rule"], row["action"]["n_samples"]
        assert rule["kind"] == "first_accepted"
        assert rule["failures"] == n
        assert row["action"]["verifier_model"]
        x, density = roots_jacobi(90, b - 1, a - 1)  # exact for what failures make of a Beta
        grid = (1 + x) / 2
        rejected = 1 - grid * right - (1 - grid) * wrong

        def worth(failures, grid=grid, density=density, rejected=rejected):
            belief = density * rejected**failures
            return right * (belief @ grid) / belief.sum()

        # by quadrature of the belief: the last sample paid at the price, the next does not
        assert rule["threshold"] == pytest.approx(worth(n), rel=1e-9)
        assert rule["threshold"] <= price * (1 + 1e-9)
        assert worth(n - 1) >= price * (1 - 1e-9)
        # at any live price the ladder gives the number of failures
        for rung in row["ladder"][:-1]:
            if "stop_rule" in rung["action"]:
                assert rung["action"]["stop_rule"]["failures"] == rung["action"]["n_samples"]
        assert "threshold" not in row["ladder"][-1]["action"]["stop_rule"]
    strategies = {row["action"]["strategy"] for row in document["rows"]}
    assert strategies == ({"best_of_n"} if "until_success" in stop else {"resample"})
    json.dumps(document, allow_nan=False)


def test_a_rung_of_another_model_is_no_next_sample():
    small, large = beta([(0.3, 2.0)]), beta([(3.0, 1.0)], model="large")
    dear = replace(large, cost={"samples": large.cost["samples"] * 20})
    table = allocate([small, dear], 30.0, unit="samples", until_success=True).table()
    (row,) = table.document["rows"]
    models = [rung["action"]["model"] for rung in row["ladder"]]
    last = max(i for i, model in enumerate(models) if model == "m")
    assert models[last + 1] == "large"
    for i, rung in enumerate(row["ladder"]):
        rule = rung["action"].get("stop_rule", {})
        assert ("threshold" in rule) == (i not in (last, len(models) - 1) and bool(rule))
    assert table.check().ok
