"""The no-harm gate."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.allocators import Limit
from scaling.costs import SampleCosts
from scaling.errors import InfeasibleError
from scaling.policy import NEEDED, no_harm

P = 128
BY_PROBLEM = {"classes": "problem", "allow_skip": True}


def counts(n, c, model="m", **columns):
    return scaling.read(
        pd.DataFrame(
            {
                "task": "t",
                "model": model,
                "problem": np.arange(len(c)).astype(str),
                "n": n,
                "c": c,
                **columns,
            }
        )
    )


def fitted(rate, m, seed, **columns):
    c = np.random.default_rng(seed).binomial(m, rate)
    return scaling.fit(counts(m, c, **columns), "beta-binomial", [*columns], interval="none")


def codes(allocation):
    return {c["code"] for c in allocation.cautions}


def test_the_gate_opens_where_problems_differ():
    rate = np.random.default_rng(0).beta(0.3, 3.0, P)
    fit = fitted(rate, 64, 1)
    allocation = scaling.allocate(fit, 16, unit="samples", gate=True, **BY_PROBLEM)
    assert "gate-open" in codes(allocation)
    assert "gate-not-run" not in codes(allocation)
    assert allocation.value == scaling.allocate(fit, 16, unit="samples", **BY_PROBLEM).value
    assert allocation.value > allocation.uniform_value


@pytest.mark.parametrize("family", ["alike", "all-or-nothing", "nearly none solved"])
def test_the_gate_closes_where_nothing_can_be_gained(family):
    rng = np.random.default_rng(2)
    rate = {
        "alike": np.full(P, 0.05),
        "all-or-nothing": (rng.random(P) < 0.5).astype(float),
        "nearly none solved": np.where(np.arange(P) == 0, 0.1, 0.0),
    }[family]
    fit = fitted(rate, 16, 3)
    allocation = scaling.allocate(fit, 8, unit="samples", gate=True, **BY_PROBLEM)
    if family == "all-or-nothing":  # what is solved needs one sample, and saved ones buy nothing
        assert allocation.value == pytest.approx(allocation.uniform_value, abs=0.01)
    else:
        assert "gate-closed" in codes(allocation)
        assert allocation.value == allocation.uniform_value
        given = allocation.ladder.action["samples"][allocation.chosen]
        assert (given == 8).all()
    assert allocation.spent["samples"] <= 8


def test_a_gain_at_a_part_of_the_budget_does_not_hide_a_loss_at_more():
    rate = np.where(np.arange(P) < 115, 0.3, 0.9)  # 16 samples each leave next to nothing
    fit = fitted(rate, 64, 0)
    allocation = scaling.allocate(fit, 16, unit="samples", gate=True, **BY_PROBLEM)
    (said,) = [c for c in allocation.cautions if c["code"] == "gate-closed"]
    assert "the most of it that they can score loses" in said["message"]
    assert allocation.value == allocation.uniform_value


@pytest.mark.parametrize("wrong", ["reversed", "shuffled"])
def test_wrong_siblings_do_not_pass(wrong):
    kept, lost = 0, []
    for seed in range(3):
        rng = np.random.default_rng([4, seed])
        rate = rng.beta(0.2, 20.0, P)
        order = rng.permutation(P)
        if wrong == "reversed":
            order = np.argsort(np.argsort(-rate))
        others = pd.concat(
            [
                counts(
                    100, rng.binomial(100, np.sort(rng.beta(0.3, 10.0, P))[order]), f"s{j}"
                ).to_frame()
                for j in range(3)
            ]
        )[["task", "model", "problem", "n", "c"]]
        own = counts(16, rng.binomial(16, rate))
        fit = scaling.fit(own, "beta-binomial", interval="none", siblings=scaling.read(others))
        allocation = scaling.allocate(fit, 8, unit="samples", gate=True, **BY_PROBLEM)
        rung = allocation.chosen
        k = np.where(rung >= 0, allocation.ladder.action["samples"][np.maximum(rung, 0)], 0)
        truth = rate[allocation.ladder.key["problem"].astype(int)]
        lost.append(float(np.mean((1 - (1 - truth) ** 8) - (1 - (1 - truth) ** k))))
        kept += "gate-open" in codes(allocation)
    assert max(lost) < 0.001
    assert kept < 3


def test_raw_rates_are_gated_too():
    c = np.random.default_rng(5).binomial(8, 0.03, P)
    allocation = scaling.allocate(
        counts(8, c), 4, unit="samples", values="plugin", gate=True, **BY_PROBLEM
    )
    assert "gate-closed" in codes(allocation)
    assert allocation.value == pytest.approx(allocation.uniform_value)


def test_groups_are_gated_with_their_problems_as_units():
    rng = np.random.default_rng(6)
    rate = np.concatenate([rng.beta(0.2, 30.0, 100), rng.beta(1.0, 2.0, 100)])
    level = np.repeat(["hard", "easy"], 100)
    fit = fitted(rate, 128, 7, level=level)
    verdict = no_harm(
        [fit],
        [Limit("samples", "average", 16.0)],
        classes="group",
        values="posterior",
        allow_skip=True,
    )
    assert verdict.gain is not None
    assert verdict.error > 0
    assert verdict.opened == (verdict.gain > NEEDED * verdict.error)


def test_the_same_seed_gives_the_same_verdict():
    fit = fitted(np.random.default_rng(8).beta(0.3, 3.0, P), 16, 9)
    ask = ([fit], [Limit("samples", "average", 8.0)])
    options = {"classes": "problem", "values": "posterior", "allow_skip": True}
    assert no_harm(*ask, **options, seed=1) == no_harm(*ask, **options, seed=1)
    assert no_harm(*ask, **options, seed=1).gain != no_harm(*ask, **options, seed=2).gain


@pytest.mark.parametrize(
    ("why", "change"),
    [
        ("a menu or several inputs", lambda fit: {"source": fit.menu()}),
        ("stop at a success", lambda _: {"until_success": True}),
    ],
)
def test_where_the_gate_cannot_run_it_says_so(why, change):
    fit = fitted(np.random.default_rng(10).beta(0.5, 3.0, P), 16, 11)
    ask = {"source": fit, "budget": 8, "unit": "samples", **change(fit)}
    allocation = scaling.allocate(ask.pop("source"), **ask, gate=True)
    (said,) = [c["message"] for c in allocation.cautions if c["code"] == "gate-not-run"]
    assert why in said


def test_too_few_attempts_and_curves_cannot_be_gated():
    rate = np.random.default_rng(12).beta(0.5, 3.0, P)
    allocation = scaling.allocate(
        counts(3, np.random.default_rng(13).binomial(3, rate)),
        2, unit="samples", values="plugin", gate=True,
    )  # fmt: skip
    assert any("needs four" in c["message"] for c in allocation.cautions)
    points = pd.DataFrame({"samples": [1, 2, 4, 8, 16], "accuracy": [0.1, 0.16, 0.24, 0.33, 0.42]})
    fit = scaling.fit(scaling.read(points), "exponentiated-power", interval="none")
    allocation = scaling.allocate(fit, 8, unit="samples", gate=True)
    assert "gate-not-run" in codes(allocation)


def test_the_even_spend_can_be_asked_for():
    fit = fitted(np.random.default_rng(14).beta(0.3, 3.0, P), 16, 15)
    even = scaling.allocate(fit, 8, unit="samples", evenly=True, **BY_PROBLEM)
    assert even.value == even.uniform_value
    assert even.spent["samples"] == 8
    best = scaling.allocate(fit, 8, unit="samples", **BY_PROBLEM)
    assert even.bound == best.bound
    with pytest.raises(InfeasibleError):
        scaling.allocate(fit, 0.5, unit="samples", classes="problem", evenly=True)


def test_models_are_compared_on_the_problems_that_both_tried():
    rng = np.random.default_rng(11)
    rate = rng.beta(0.3, 3.0, P)
    logs = [
        counts(32, rng.binomial(32, rate), "large"),
        counts(32, rng.binomial(32, rate / 3)[:90], "small"),
    ]
    log = pd.concat([sweep.to_frame() for sweep in logs])[["task", "model", "problem", "n", "c"]]
    fit = scaling.fit(scaling.read(log), "beta-binomial", interval="none")
    costs = SampleCosts(tokens_per_sample={"small": 100.0, "large": 400.0})
    verdict = no_harm(
        [fit],
        [Limit("tokens", "average", 3000.0)],
        classes="group",
        values="posterior",
        costs=costs,
    )
    assert verdict.gain is not None
