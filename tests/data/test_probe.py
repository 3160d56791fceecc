"""Bins made from outcomes, cross-fitted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.errors import InputError, UsageError


def sweep_of(n, c, **columns):
    size = len(n)
    table = {"model": "m", "problem": [f"p{i}" for i in range(size)], "n": n, "c": c}
    return scaling.read(pd.DataFrame(table | columns))


def test_both_halves_are_used_once():
    rng = np.random.default_rng(0)
    n = np.full(300, 21)
    c = rng.binomial(n, rng.beta(0.5, 1.5, 300))
    groups = sweep_of(n, c, tokens=n * 10).groups(bins={"pass1": 4})
    assert sum(int(g.n.sum()) for g in groups) == n.sum()
    assert sum(int(g.c.sum()) for g in groups) == c.sum()
    assert all(g.probed for g in groups)
    assert len(np.unique(np.concatenate([g.cluster for g in groups]))) == 300
    assert all(g.resources["tokens"].mean == pytest.approx(10) for g in groups)


def test_bins_do_not_flatter_themselves():
    # All problems are alike: bins by outcome must not tell them apart.
    rng = np.random.default_rng(1)
    n = np.full(4000, 12)
    groups = sweep_of(n, rng.binomial(n, 0.5)).groups(bins={"pass1": (0.4, 0.6)})
    for group in groups:
        error = 0.5 / np.sqrt(group.n.sum())
        assert abs(group.c.sum() / group.n.sum() - 0.5) < 4 * error


def test_a_problem_has_one_bin_for_all_models_of_a_half():
    rng = np.random.default_rng(2)
    p = rng.beta(1, 1, 100)
    rows = [
        {"model": m, "problem": f"p{i}", "n": 10, "c": rng.binomial(10, p[i])}
        for i in range(100)
        for m in ("a", "b")
    ]
    groups = scaling.read(pd.DataFrame(rows)).groups(["pass1", "model"], bins={"pass1": 3})
    of = {}
    for group in groups:
        for problem in group.problem.tolist():
            assert of.setdefault(problem, group.by["pass1"]) == group.by["pass1"]


def test_the_same_sweep_gives_the_same_bins():
    rng = np.random.default_rng(3)
    n = np.full(60, 8)
    sweep = sweep_of(n, rng.binomial(n, rng.beta(1, 1, 60)))
    assert sweep.cuts({"pass1": 4}) == sweep.cuts({"pass1": 4})
    first, second = (sweep.groups(bins={"pass1": 4}) for _ in range(2))
    assert [g.c.tolist() for g in first] == [g.c.tolist() for g in second]


def test_from_log_to_a_table_that_asks_for_a_probe():
    rng = np.random.default_rng(4)
    n = np.full(400, 30)
    fit = scaling.fit(
        sweep_of(n, rng.binomial(n, rng.beta(0.6, 1.5, 400))),
        "beta-binomial",
        bins={"pass1": (0.2, 0.6)},
    )
    assert all("outcome-bins" in {c.code for c in g.cautions} for g in fit.groups)
    table = scaling.allocate(fit, budget=6, unit="samples").table()
    (feature,) = table.document["key"]["features"]
    assert feature["source"] == "probe"
    assert feature["bins"] == [0.2, 0.6]
    assert table.lookup(pass1=0.7).row_id != table.lookup(pass1=0.1).row_id
    with pytest.raises(UsageError, match="half"):
        scaling.allocate(fit, budget=6, unit="samples", classes="problem")


def test_a_column_of_that_name_is_the_users_own():
    sweep = sweep_of([10] * 4, [1, 2, 3, 4], pass1=[0.1, 0.2, 0.3, 0.4])
    groups = sweep.groups(bins={"pass1": (0.25,)})
    assert [g.c.tolist() for g in groups] == [[1, 2], [3, 4]]
    assert not any(g.probed for g in groups)


def test_one_attempt_cannot_be_both():
    with pytest.raises(InputError, match="two attempts"):
        sweep_of([1, 1, 1], [0, 1, 1]).groups(bins={"pass1": 2})
