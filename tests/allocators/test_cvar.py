"""The mean value over the worst draws: against all allocations of small menus, and real fits."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scaling
from scaling.allocators import allocate, cvar, risk
from scaling.allocators.cvar import tail_mean
from scaling.curves import Menu
from scaling.errors import InputError, UsageError


def random_menu(seed: int, classes: int = 3, rungs: int = 4, draws: int = 20) -> Menu:
    """Any values and costs at all: neither increasing nor concave."""
    rng = np.random.default_rng(seed)
    n = classes * rungs
    values = rng.beta(1, 1, n)[:, None] + 0.3 * rng.normal(size=(n, draws))
    values = np.clip(values, 0, 1)
    return Menu(
        key={"level": np.arange(classes)},
        weight=rng.integers(1, 5, classes).astype(float),
        curve=np.arange(classes),
        start=np.arange(0, n + 1, rungs),
        value=values.mean(axis=1),
        cost={"tokens": rng.integers(1, 60, n).astype(float)},
        action={"model": np.array([f"m{i % rungs}" for i in range(n)])},
        maximise="accuracy",
        draws=values,
    )


def outcomes(menu: Menu) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every allocation: mean cost, mean value, and value under each draw."""
    share = menu.weight / menu.weight.sum()
    rows = []
    for pick in product(*(range(menu.start[m], menu.start[m + 1]) for m in menu.curve)):
        at = np.array(pick)
        rows.append(
            (share @ menu.cost["tokens"][at], share @ menu.value[at], share @ menu.draws[at])
        )
    cost, value, drawn = zip(*rows, strict=True)
    return np.array(cost), np.array(value), np.array(drawn)


def test_the_tail_mean_is_the_mean_of_the_worst():
    x = np.arange(10.0)
    assert tail_mean(x, 0.0) == pytest.approx(4.5)
    assert tail_mean(x, 0.8) == pytest.approx(0.5)
    assert tail_mean(x, 0.95) == pytest.approx(0.0)
    # the worst 25% of ten draws are two and half a third one
    assert tail_mean(x, 0.75) == pytest.approx((0 + 1 + 0.5 * 2) / 2.5)
    # Rockafellar and Uryasev: max over t of t - E (t - x)+ / (1 - level)
    for level in (0.3, 0.55, 0.9):
        best = max(t - np.maximum(t - x, 0).mean() / (1 - level) for t in x)
        assert tail_mean(x, level) == pytest.approx(best)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.5, 0.8, 0.95]), st.floats(0.05, 1.1))
def test_bound_and_value_stand_on_either_side_of_the_best_of_all(seed, level, part):
    menu = random_menu(seed)
    cost, _, drawn = outcomes(menu)
    budget = cost.min() + part * (cost.max() - cost.min())
    a = allocate(menu, budget, unit="tokens", risk={"cvar": level})
    best = max(tail_mean(each, level) for each in drawn[cost <= budget * (1 + 1e-12)])
    assert a.spent["tokens"] <= budget * (1 + 1e-12)
    assert a.cvar.value <= best + 1e-9
    assert a.cvar.bound >= best - 1e-9
    # what it says it reaches is what its actions reach
    share = menu.weight / menu.weight.sum()
    at = [
        next(
            r for r in range(menu.start[c], menu.start[c + 1]) if menu.action_of(r) == row["action"]
        )
        for c, row in enumerate(a.rows())
    ]
    assert tail_mean(share @ menu.draws[np.array(at)], level) == pytest.approx(a.cvar.value)
    assert a.cvar.value >= a.cvar.of_mean_optimum - 1e-12
    table = a.table()
    assert table.check().findings == ()


def test_with_room_for_everything_the_best_is_met():
    """Nothing binds, so there is no fraction to round: classes are chosen one by one."""
    for seed in range(20):
        menu = random_menu(seed, classes=1, rungs=6)
        a = allocate(menu, 1000, unit="tokens", risk={"cvar": 0.8})
        best = max(tail_mean(each, 0.8) for each in menu.draws)
        assert a.cvar.bound >= best - 1e-9
        assert a.cvar.value == pytest.approx(best)


def test_the_mean_of_all_draws_is_the_ordinary_allocation():
    menu = random_menu(3)
    plain = allocate(menu, 25, unit="tokens", risk={"regret": False})
    a = allocate(menu, 25, unit="tokens", risk={"cvar": 0.0})
    assert a.cvar.value == pytest.approx(plain.value)
    assert a.value == pytest.approx(plain.value)
    assert a.bound == pytest.approx(plain.bound)


def test_caution_prefers_what_is_known():
    """A sure thing beside a better gamble of the same cost."""
    rng = np.random.default_rng(0)
    gamble = np.where(rng.random(400) < 0.25, 0.0, 0.9)
    draws = np.stack([np.full(400, 0.1), np.full(400, 0.6), gamble])
    menu = Menu(
        key={}, weight=np.array([1.0]), curve=np.array([0]), start=np.array([0, 3]),
        value=draws.mean(axis=1), cost={"tokens": np.array([1.0, 100.0, 100.5])},
        action={"model": np.array(["none", "sure", "gamble"])}, draws=draws,
    )  # fmt: skip
    bold = allocate(menu, 101, unit="tokens")
    shy = allocate(menu, 101, unit="tokens", risk={"cvar": 0.9})
    assert bold.rows()[0]["action"]["model"] == "gamble"
    assert shy.rows()[0]["action"]["model"] == "sure"
    assert shy.cvar.value == pytest.approx(0.6)
    assert shy.cvar.of_mean_optimum == pytest.approx(0.0)
    assert shy.value < bold.value
    assert {c["code"] for c in shy.cautions} >= {"risk-averse"}
    assert bold.regret.p_best[0] == pytest.approx((gamble > 0.6).mean())
    document = shy.table().document
    assert document["objective"]["risk"]["cvar"]["level"] == 0.9
    assert [r["action"]["model"] for r in document["rows"][0]["ladder"]] == ["none", "sure"]


@pytest.fixture(scope="module")
def levels():
    """Four levels of simulated logs, the fewer problems the harder."""
    import pandas as pd

    rng = np.random.default_rng(8)
    rows = []
    for level, (size, a, b) in enumerate([(60, 3, 2), (40, 1, 3), (25, 0.4, 3), (12, 0.5, 6)]):
        rows += [
            ("t", "m", f"{level}-{i}", 40, int(c), f"l{level}", 40 * 100)
            for i, c in enumerate(rng.binomial(40, rng.beta(a, b, size)))
        ]
    names = ["task", "model", "problem", "n", "c", "level", "tokens"]
    sweep = scaling.read(pd.DataFrame(rows, columns=names))
    return scaling.fit(sweep, "beta-binomial", by=["level"], replicates=300)


def test_a_real_fit_has_a_certified_cvar(levels):
    plain = allocate(levels, 900, unit="tokens")
    a = allocate(levels, 900, unit="tokens", risk={"cvar": 0.9})
    assert a.cvar.draws == 300
    assert a.cvar.relative_gap < 2e-3
    assert a.cvar.value >= a.cvar.of_mean_optimum
    assert a.cvar.value < plain.value
    assert a.value <= plain.value + 1e-12
    assert a.bound == pytest.approx(plain.bound)
    assert a.table().check().findings == ()


def test_few_rungs_do_as_well_as_all(levels, monkeypatch):
    """Where not all rungs fit into memory the search runs over few of them."""
    whole = allocate(levels, 900, unit="tokens", risk={"cvar": 0.9})
    monkeypatch.setattr(cvar, "_HELD", 300 * 50)
    monkeypatch.setattr(risk, "RUNGS", 12)
    thin = allocate(levels, 900, unit="tokens", risk={"cvar": 0.9})
    assert thin.cvar.value == pytest.approx(whole.cvar.value, rel=2e-3)
    assert thin.cvar.bound >= whole.cvar.value - 1e-12
    assert thin.table().check().findings == ()


def test_single_problems_too(levels):
    a = allocate(levels, 900, unit="tokens", classes="problem", risk={"cvar": 0.9, "draws": 64})
    assert a.cvar.relative_gap < 1e-3
    assert a.cvar.draws == 64
    assert a.regret is None
    again = allocate(levels, 900, unit="tokens", classes="problem", risk={"cvar": 0.9, "draws": 64})
    assert again.to_json() == a.to_json()


def test_what_cannot_be_asked(levels):
    menu = random_menu(0)
    for options, words in (
        ({"cvar": 1.0}, "from 0 to below 1"),
        ({"cvar": -0.1}, "from 0 to below 1"),
        ({"draws": 1}, "two or more"),
        ({"cvr": 0.9}, "Unknown risk option 'cvr'"),
        ({"draws": 7, "cvar": 0.5}, "20 draws of its values, not 7"),
        ({"cost_confidence": 0.4}, "from 0.5"),
    ):
        with pytest.raises(UsageError, match=words):
            allocate(menu, 30, unit="tokens", risk=options)
    with pytest.raises(UsageError, match="need joint draws"):
        allocate(replace(menu, draws=None), 30, unit="tokens", risk={"cvar": 0.9})
    with pytest.raises(UsageError, match="not divided"):
        allocate(menu, 30, unit="tokens", split=True, risk={"cvar": 0.9})
    lame = replace(menu, curve=np.array([0, 1, -1]))
    with pytest.raises(UsageError, match="level=2 has no usable group"):
        allocate(lame, 30, unit="tokens", risk={"cvar": 0.9})
    with pytest.raises(UsageError, match="need joint draws"):
        allocate(levels, 900, unit="tokens", values="plugin", risk={"cvar": 0.9})
    with pytest.raises(InputError, match="draws have shape"):
        allocate(replace(menu, draws=menu.draws[:3]), 30, unit="tokens")
    wrong = menu.draws.copy()
    wrong[5, 2] = np.nan
    with pytest.raises(InputError, match="a draw of its value is nan"):
        allocate(replace(menu, draws=wrong), 30, unit="tokens")


def test_draws_are_of_coverage_and_not_of_what_an_erring_verifier_accepts(levels):
    options = {"unit": "tokens", "until_accepted": (0.9, 0.1)}
    assert allocate(levels, 900, **options).regret is None
    for risk_, words in (
        ({"cvar": 0.9}, "verifier that errs"),
        ({"cost_confidence": 0.9}, "until-accepted"),
    ):
        with pytest.raises(UsageError, match=words):
            allocate(levels, 900, risk=risk_, **options)


def test_several_budgets_at_once():
    """Two binding budgets: the bound stands above the best of all allocations, limits are kept."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        menu = random_menu(seed)
        seconds = rng.integers(1, 60, menu.value.size).astype(float)
        menu = replace(menu, cost={**menu.cost, "seconds": seconds})
        share = menu.weight / menu.weight.sum()
        every = [range(menu.start[m], menu.start[m + 1]) for m in menu.curve]
        picks = np.array(list(product(*every)))
        use = {name: column[picks] @ share for name, column in menu.cost.items()}
        limits = [(name, "average", float(np.quantile(use[name], 0.4))) for name in use]
        kept = np.all([use[name] <= amount for name, _, amount in limits], axis=0)
        values = [share @ menu.draws[pick] for pick in picks[kept]]
        a = allocate(menu, limits=limits, risk={"cvar": 0.8})
        best = max(tail_mean(each, 0.8) for each in values)
        assert a.cvar.value - 1e-9 <= best <= a.cvar.bound + 1e-9
        assert all(a.spent[name] <= amount * (1 + 1e-12) for name, _, amount in limits)
        assert a.table().check().findings == ()


def test_a_target_value_has_no_risk(levels):
    plain = allocate(levels, unit="tokens", target=0.5)
    assert plain.regret is None
    with pytest.raises(UsageError, match="not for a target value"):
        allocate(levels, unit="tokens", target=0.5, risk={"cvar": 0.9})
