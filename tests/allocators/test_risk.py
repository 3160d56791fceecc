"""Regret over draws and how sure a choice is, against all allocations and linear programs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import scaling
from scaling.allocators import Risk, allocate, risk
from scaling.curves import Menu, merge
from scaling.errors import InputError, UsageError


def random_menu(seed: int, *, classes=3, rungs=4, draws=15, skip=False) -> Menu:
    rng = np.random.default_rng(seed)
    n = classes * rungs
    values = np.clip(rng.beta(1, 1, n)[:, None] + 0.3 * rng.normal(size=(n, draws)), 0, 1)
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
        skip=skip,
    )


def own(menu: Menu, a) -> np.ndarray:
    """Rungs that the classes get; -1 for nothing."""
    found = []
    for c, row in enumerate(a.rows()):
        rungs = range(menu.start[c], menu.start[c + 1])
        same = [
            r for r in rungs if row["status"] == "chosen" and menu.action_of(r) == row["action"]
        ]
        found.append(same[0] if same else -1)
    return np.array(found)


def worth(menu: Menu, values: np.ndarray, rungs: np.ndarray) -> float:
    share = menu.weight / menu.weight.sum()
    return float(share @ np.where(rungs >= 0, values[np.maximum(rungs, 0)], 0.0))


def relaxed(menu: Menu, values: np.ndarray, budget: float) -> float:
    """The linear program in which classes may be divided."""
    share = (menu.weight / menu.weight.sum())[np.repeat(menu.curve, np.diff(menu.start))]
    C = menu.weight.size
    one = np.zeros((C, values.size))
    for c in range(C):
        one[c, menu.start[c] : menu.start[c + 1]] = 1
    exact = {"A_ub": [share * menu.cost["tokens"]], "b_ub": [budget]}
    if menu.skip:
        exact = {"A_ub": np.vstack((exact["A_ub"], one)), "b_ub": [budget, *np.ones(C)]}
        done = linprog(-share * values, **exact, bounds=(0, 1))
    else:
        done = linprog(-share * values, **exact, A_eq=one, b_eq=np.ones(C), bounds=(0, 1))
    return float(-done.fun)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 1.1), st.booleans())
def test_regret_is_what_the_linear_program_of_each_draw_would_gain(seed, part, skip):
    menu = random_menu(seed, skip=skip)
    share = menu.weight / menu.weight.sum()
    ends = [
        share @ pick([menu.cost["tokens"][menu.start[c] : menu.start[c + 1]] for c in range(3)])
        for pick in (lambda x: np.array([each.min() for each in x]),
                     lambda x: np.array([each.max() for each in x]))
    ]  # fmt: skip
    budget = ends[0] + part * (ends[1] - ends[0])
    a = allocate(menu, budget, unit="tokens")
    mine = own(menu, a)
    lost = np.array(
        [
            max(relaxed(menu, menu.draws[:, d], budget) - worth(menu, menu.draws[:, d], mine), 0)
            for d in range(menu.draws.shape[1])
        ]
    )
    assert a.regret.mean >= lost.mean() - 1e-9  # never understated
    assert a.regret.mean == pytest.approx(lost.mean(), abs=2e-4)
    assert a.regret.q90 == pytest.approx(np.quantile(lost, 0.9), abs=2e-4)
    assert a.regret.q95 == pytest.approx(np.quantile(lost, 0.95), abs=2e-4)
    # no allocation at all does better, draw for draw
    every = [range(menu.start[c], menu.start[c + 1]) for c in range(3)]
    best = np.full(menu.draws.shape[1], -np.inf)
    for pick in product(*every):
        at = np.array(pick)
        if share @ menu.cost["tokens"][at] <= budget:
            best = np.maximum(best, share @ menu.draws[at])
    assert (
        np.maximum(best - np.array([worth(menu, v, mine) for v in menu.draws.T]), 0)
    ).mean() <= (a.regret.mean + 1e-9)


def test_how_sure_a_choice_is_counts_draws_at_the_price():
    for seed in range(10):
        menu = random_menu(seed, draws=40)
        a = allocate(menu, 25, unit="tokens")
        mine, price = own(menu, a), a.price or 0.0
        for c in range(3):
            part = slice(menu.start[c], menu.start[c + 1])
            net = menu.draws[part] - price * menu.cost["tokens"][part][:, None]
            got = net[mine[c] - menu.start[c]]
            behind = net.max(axis=0) - got
            assert a.regret.p_best[c] == pytest.approx((behind <= 1e-12).mean())
            assert a.regret.of_class[c] == pytest.approx(behind.mean())
            assert a.regret.of_class_q95[c] == pytest.approx(np.quantile(behind, 0.95))


def test_without_uncertainty_there_is_no_regret_but_of_rounding():
    menu = random_menu(1)
    sure = replace(menu, draws=np.repeat(menu.value[:, None], 5, axis=1))
    a = allocate(sure, 25, unit="tokens", split=True)
    assert a.regret.mean == pytest.approx(0, abs=1e-9)
    assert a.regret.of_class == pytest.approx(np.zeros(3), abs=1e-9)
    most = allocate(sure, 1000, unit="tokens")
    assert most.regret.q95 == pytest.approx(0, abs=1e-12)
    assert most.regret.p_best.tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(2)
    rows = []
    for level, a, b in (("easy", 2, 2), ("hard", 0.5, 4)):
        for model, better in (("small", 1.0), ("large", 1.4)):
            rows += [
                ("t", model, f"{level}{i}", 30, int(c), level, 30 * (100 if better == 1 else 250))
                for i, c in enumerate(rng.binomial(30, rng.beta(a * better, b, 40)))
            ]
    names = ["task", "model", "problem", "n", "c", "level", "tokens"]
    sweep = scaling.read(pd.DataFrame(rows, columns=names))
    return scaling.fit(sweep, "beta-binomial", by=["level", "model"], replicates=250)


def test_draws_of_a_fit_are_its_replicates(fit):
    menu = fit.menu()
    drawn = fit.draws().of(menu)
    assert drawn.shape == (menu.value.size, 250)
    assert drawn.mean(axis=1) == pytest.approx(menu.value, abs=1e-9)
    assert drawn.std(axis=1) == pytest.approx(menu.value_se, abs=1e-6)
    # replicates are used again where more are asked for
    more = fit.draws(300).of(menu)
    assert (more[:, 250:] == drawn[:, :50]).all()


def test_draws_of_problems_are_of_their_posteriors(fit):
    menu = fit.menu(classes="problem")
    classes = np.arange(10)
    every = [np.arange(menu.start[m], menu.start[m + 1]) for m in menu.curve[classes]]
    part = risk.own_curves(menu, classes, every)
    drawn = fit.draws(20_000, seed=1, classes="problem").of(part)
    se = drawn.std(axis=1) / np.sqrt(20_000)
    assert (np.abs(drawn.mean(axis=1) - part.value) < 5 * se + 2e-5).all()
    # two problems of the same counts are drawn apart
    assert len({tuple(row) for row in drawn[part.start[:-1]].round(12).tolist()}) == 10
    again = fit.draws(20_000, seed=1, classes="problem").of(part)
    assert (again == drawn).all()


def test_the_table_carries_regret_and_how_sure_each_row_is(fit):
    a = allocate(fit, 600, unit="tokens")
    assert 0 < a.regret.mean <= a.regret.q90 <= a.regret.q95
    table = a.table()
    assert table.check().findings == ()
    document = table.document
    told = document["objective"]["risk"]
    assert told["draws"] == 250
    assert told["regret"] == a.regret.document()
    for c, row in enumerate(document["rows"]):
        assert row["uncertainty"]["p_best"] == a.regret.p_best[c]
    assert json.loads(a.to_json())["risk"] == told
    same = allocate(fit, 600, unit="tokens").table()
    assert same.table_id == table.table_id


def test_more_data_mean_less_regret():
    rng = np.random.default_rng(5)

    def lost(problems):
        rows = [
            ("t", "m", f"{level}{i}", 30, int(c), level)
            for level, a, b in (("easy", 1, 2), ("hard", 0.4, 3))
            for i, c in enumerate(rng.binomial(30, rng.beta(a, b, problems)))
        ]
        sweep = scaling.read(
            pd.DataFrame(rows, columns=["task", "model", "problem", "n", "c", "level"])
        )
        made = scaling.fit(sweep, "beta-binomial", by=["level"], replicates=200)
        return allocate(made, 8, unit="samples", split=True).regret.mean

    assert lost(1600) < lost(25) / 4


def test_problems_are_compared_some_at_a_time(fit, monkeypatch):
    options = {"classes": "problem", "risk": {"regret": True, "draws": 40}}
    whole = allocate(fit, 600, unit="tokens", **options)
    monkeypatch.setattr(risk, "_BLOCK", 64 * 40 * 7)
    parts = allocate(fit, 600, unit="tokens", **options)
    assert parts.regret.mean == pytest.approx(whole.regret.mean, rel=1e-12)
    assert parts.regret.p_best == pytest.approx(whole.regret.p_best)
    assert allocate(fit, 600, unit="tokens", classes="problem").regret is None
    monkeypatch.setattr(risk, "_MOST", 1000)
    with pytest.raises(UsageError, match="too much to compute"):
        allocate(fit, 600, unit="tokens", **options)


def test_a_class_that_is_served_the_fallback_has_no_regret_of_its_own(fit):
    groups = tuple(
        replace(g, status="not-identified") if g.by["level"] == "hard" else g for g in fit.groups
    )
    a = allocate(replace(fit, groups=groups), 600, unit="tokens")
    where = a.ladder.key["level"].tolist().index("hard")
    assert np.isnan(a.regret.p_best[where])
    assert np.isfinite(a.regret.mean)
    rows = {row["row_id"]: row for row in a.table().document["rows"]}
    assert "uncertainty" not in rows["hard"]
    assert "uncertainty" in rows["easy"]


def test_regret_is_left_out_where_it_is_not_wanted_or_not_known(fit):
    assert allocate(fit, 600, unit="tokens", risk={"regret": False}).regret is None
    assert allocate(fit, 600, unit="tokens", risk=Risk(regret=False)).regret is None
    menu = replace(random_menu(0), draws=None)
    assert allocate(menu, 30, unit="tokens").regret is None
    assert "risk" not in allocate(menu, 30, unit="tokens").table().document["objective"]
    assert allocate(fit, 600, unit="tokens", values="plugin").regret is None


def test_menus_with_draws_are_merged_and_thinned():
    one = random_menu(0)
    other = replace(random_menu(1), action={"model": np.array([f"x{i % 4}" for i in range(12)])})
    both = merge([one, other])
    assert both.draws.shape == (24, 15)
    assert both.draws.mean(axis=1) == pytest.approx(both.value)
    plain = merge([one, replace(other, draws=None)])
    assert plain.draws.std(axis=1).min() == 0
    with pytest.raises(InputError, match="15 and 16 draws"):
        merge([one, replace(random_menu(1, draws=16), action=other.action)])


def test_thinning_keeps_ends_and_every_model():
    n = 1000
    menu = Menu(
        key={}, weight=np.ones(1), curve=np.zeros(1, int), start=np.array([0, 2 * n]),
        value=np.linspace(0, 1, 2 * n), cost={"tokens": np.tile(np.arange(1.0, n + 1), 2)},
        action={"model": np.repeat(["a", "b"], n), "samples": np.tile(np.arange(1, n + 1), 2)},
    )  # fmt: skip
    rungs = risk.thinned(menu, 0, None, menu.cost["tokens"])
    for model in ("a", "b"):
        samples = menu.action["samples"][rungs][menu.action["model"][rungs] == model]
        assert samples.size <= risk.RUNGS + 2
        assert {1, 2, 3, n} <= set(samples.tolist())
    allowed = menu.action["samples"] <= 30
    assert risk.thinned(menu, 0, allowed, menu.cost["tokens"]).size == 60
