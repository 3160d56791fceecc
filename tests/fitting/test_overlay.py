"""Overlays of coverage curves, and the test of equal exponents."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import betaincinv, ndtr

from scaling.core import registry
from scaling.data.evidence import Counts
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting import passk
from scaling.fitting.overlay import equal_exponents, overlay

EPL, BETA = registry.law("exponentiated-power"), registry.law("beta-binomial")
SECOND = (
    0.692192  # Beta(SECOND, 60) and Beta(.3, 8) have one exponent of best fit over 1..300 (logcov)
)
PYTHIA = ["Pythia 70M", "Pythia 160M", "Pythia 12B"]


def counts(n, c, **columns):
    n, c = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    names = np.arange(len(c)).astype(str)
    return Counts({}, **{"task": np.full(len(c), "t"), "problem": names, **columns}, n=n, c=c)


@pytest.fixture
def pythia(monkeys):
    return {g.by["model"]: g for g in monkeys["MATH"].groups(["model"])}


# --- overlay ---------------------------------------------------------------------------------


@pytest.mark.reference
def test_overlay_of_pythia(pythia):
    found = overlay(
        {m: passk.unique_counts(pythia[m].n, pythia[m].c) for m in PYTHIA}, ratios=[1, 100]
    )
    assert found.anchor == pytest.approx(0.023191, abs=5e-7)
    assert [c.k0 for c in found.curves] == [52, 9, 1]
    assert [round(float(c.coverage[1]), 3) for c in found.curves] == [0.221, 0.401, 0.483]
    assert [c.k.tolist() for c in found.curves] == [[52, 5200], [9, 900], [1, 100]]
    assert all(c.ratio.tolist() == [1, 100] for c in found.curves)
    assert found.beyond == ()


@pytest.mark.parametrize("anchor", [0.004, 0.01, 0.05, 0.2, 0.5, 0.75])
def test_k0_is_the_nearest_of_all_k(anchor):
    rng = np.random.default_rng(3)
    groups = {
        str(b): passk.unique_counts(np.full(60, 300), rng.binomial(300, rng.beta(0.5, b, 60)))
        for b in (3, 20, 200)
    }
    found = overlay(groups, anchor=anchor)
    every = np.arange(1, 301)
    for label, group in groups.items():
        c = passk.curve(group, every, group.multiplicity / 60)
        if label in found.beyond:
            assert c[-1] < anchor
            continue
        (mine,) = (x for x in found.curves if x.label == label)
        assert mine.k0 == every[np.argmin(np.abs(c - anchor))]
        np.testing.assert_allclose(mine.coverage, c[mine.k - 1])
        assert mine.k[0] == 1
        assert mine.k0 in mine.k
        assert mine.k[-1] <= 300
        assert (np.diff(mine.k) > 0).all()


def test_a_group_that_stays_below_the_anchor_is_named():
    groups = {
        "strong": passk.unique_counts([10] * 4, [9, 8, 7, 9]),
        "weak": passk.unique_counts([10] * 4, [0, 0, 0, 1]),
    }
    found = overlay(groups)
    assert [c.label for c in found.curves] == ["strong"]
    assert found.beyond == ("weak",)


def test_overlays_that_cannot_be_are_refused():
    good = passk.unique_counts([10, 10], [3, 0])
    with pytest.raises(InputError, match="at least one group"):
        overlay({})
    with pytest.raises(InputError, match="'none' has no problems"):
        overlay({"good": good, "none": passk.unique_counts([], [])})
    with pytest.raises(InputError, match="no attempt"):
        overlay({"zero": passk.unique_counts([10, 10], [0, 0])})
    for anchor in (0.0, 1.5, np.nan):
        with pytest.raises(UsageError, match="anchor"):
            overlay({"good": good}, anchor=anchor)
    for ratios in ([0.5], [0], [[1, 2]], [np.nan]):
        with pytest.raises(UsageError, match="ratios"):
            overlay({"good": good}, ratios=ratios)


# --- equal exponents -------------------------------------------------------------------------


def correlated(rng, first, second, problems=100, attempts=300):
    """Two models on the same problems, with Beta success rates whose ranks are correlated."""
    shared = rng.normal(size=problems)
    groups = {}
    for label, shape in (("x", first), ("y", second)):
        rank = ndtr(np.sqrt(0.8) * shared + np.sqrt(0.2) * rng.normal(size=problems))
        groups[label] = counts(attempts, rng.binomial(attempts, betaincinv(*shape, rank)))
    return groups


def test_size():
    # Equal exponents, different curves, the same problems.
    first, second = (0.3, 8.0), (SECOND, 60.0)
    rng = np.random.default_rng(11)
    p = np.array(
        [
            equal_exponents(correlated(rng, first, second), replicates=99, seed=i).p_value
            for i in range(150)
        ]
    )
    # two standard errors are .065 at .2 and .08 at .5
    assert 0.12 <= np.mean(p <= 0.2) <= 0.28
    assert 0.40 <= np.mean(p <= 0.5) <= 0.60
    assert np.mean(p <= 0.05) <= 0.11


def test_the_case_of_equal_exponents_has_them():
    found = equal_exponents(
        {
            "x": counts(300, np.round(300 * quantiles(0.3, 8.0))),
            "y": counts(300, np.round(300 * quantiles(SECOND, 60.0))),
        },
        replicates=40,
    )
    assert found.exponents["x"] == pytest.approx(found.exponents["y"], abs=0.004)


def quantiles(a, b, size=20_000):
    return betaincinv(a, b, (np.arange(size) + 0.5) / size)


@pytest.mark.reference
@pytest.mark.parametrize("objective", ["logcov", "cov", "loglog"])
def test_power(pythia, objective):
    pair = {m: pythia[m] for m in ("Pythia 70M", "Pythia 12B")}
    found = equal_exponents(pair, objective=objective)
    assert found.p_value == 1 / 1001
    assert found.replicates == 1000
    assert found.exponents["Pythia 12B"] < found.shared < found.exponents["Pythia 70M"]


@pytest.mark.reference
def test_joint_fit_against_brute_force(pythia):
    found = equal_exponents({m: pythia[m] for m in PYTHIA}, replicates=200)
    assert found.exponents["Pythia 70M"] == pytest.approx(-0.182035, rel=1e-4)
    assert found.exponents["Pythia 160M"] == pytest.approx(-0.261362, rel=1e-4)
    assert found.exponents["Pythia 12B"] == pytest.approx(-0.346425, rel=1e-4)
    # error of the problem bootstrap, spec value .0140 from 1,000 replicates
    assert found.errors["Pythia 12B"] == pytest.approx(0.0140, rel=0.2)
    k = passk.log_grid(10_000)
    curves = [np.log(passk.coverage(pythia[m].n, pythia[m].c, k)) for m in PYTHIA]

    def loss(b):  # a has a closed form under logcov
        x = k**b
        return sum(np.sum((y - x * (x @ y) / (x @ x)) ** 2) for y in curves)

    grid = np.linspace(-0.4, -0.1, 3001)
    losses = [loss(b) for b in grid]
    apart = sum(
        min(np.sum((y - k**b * (k**b @ y) / (k**b @ k**b)) ** 2) for b in grid) for y in curves
    )
    assert found.shared == pytest.approx(grid[np.argmin(losses)], abs=1e-4)
    assert found.statistic == pytest.approx(min(losses) - apart, rel=1e-4)


def test_one_curve_twice_is_no_difference():
    rng = np.random.default_rng(5)
    group = counts(200, rng.binomial(200, rng.beta(0.3, 5, 50)))
    found = equal_exponents({"x": group, "y": group}, replicates=100)
    assert found.p_value == 1.0
    assert found.exponents["x"] == found.exponents["y"] == pytest.approx(found.shared, rel=1e-6)
    assert found.statistic == pytest.approx(0.0, abs=1e-12)


def test_problems_are_paired_by_task_and_name():
    # Pairing takes the common part of two models' errors away: unpaired, the same counts tell less.
    rng = np.random.default_rng(1)
    groups = correlated(rng, (0.3, 8.0), (0.3, 8.0))
    y = groups["y"]
    c = groups["x"].c + rng.binomial(20, 0.05, 100) * (groups["x"].c > 0)
    y = replace(y, c=np.minimum(c, 300))
    paired = equal_exponents({"x": groups["x"], "y": y}, replicates=400)
    apart = equal_exponents(
        {"x": groups["x"], "y": replace(y, task=np.full(100, "other"))}, replicates=400
    )
    order = rng.permutation(100)
    mixed = replace(y, problem=y.problem[order], c=y.c[order])
    again = equal_exponents({"x": groups["x"], "y": mixed}, replicates=400)
    assert paired.statistic == pytest.approx(apart.statistic) == pytest.approx(again.statistic)
    assert again.p_value == paired.p_value < 0.1 * apart.p_value
    assert "100 problems" in paired.method
    assert "200 problems" in apart.method


def test_clusters_are_drawn_whole():
    # Four copies of each problem are one problem's evidence, not four.
    rng = np.random.default_rng(2)
    groups = correlated(rng, (0.3, 8.0), (0.4, 8.0), problems=30)
    single = equal_exponents(groups, replicates=400)

    def copies(g, cluster):
        names = np.arange(120).astype(str)
        columns = {"problem": names, "cluster": np.repeat(g.problem, 4)} if cluster else {}
        return counts(300, np.repeat(g.c, 4), **columns)

    whole = equal_exponents({x: copies(g, True) for x, g in groups.items()}, replicates=400)
    loose = equal_exponents({x: copies(g, False) for x, g in groups.items()}, replicates=400)
    assert "30 clusters" in whole.method
    for label in "xy":
        assert whole.errors[label] == pytest.approx(single.errors[label], rel=1e-6)
        assert loose.errors[label] < 0.65 * single.errors[label]
    assert whole.p_value == single.p_value


def test_groups_may_differ_in_attempts_and_problems():
    rng = np.random.default_rng(4)
    x = counts(400, rng.binomial(400, rng.beta(0.3, 5, 60)))
    y = counts(rng.integers(100, 200, 90), rng.binomial(100, rng.beta(0.3, 5, 90)))
    found = equal_exponents({"x": x, "y": y}, replicates=100)
    assert "90 problems" in found.method
    assert found == equal_exponents({"x": x, "y": y}, replicates=100)
    assert found != equal_exponents({"x": x, "y": y}, replicates=100, seed=1)


def test_few_problems_are_named():
    rng = np.random.default_rng(0)
    groups = correlated(rng, (0.5, 5.0), (0.5, 5.0), problems=12)
    assert "fewer than 20 problems" in equal_exponents(groups, replicates=100).method


def test_comparisons_that_cannot_be_are_refused():
    rng = np.random.default_rng(0)
    good = counts(100, rng.binomial(100, rng.beta(0.5, 5, 40)))
    with pytest.raises(InputError, match="at least two"):
        equal_exponents({"x": good})
    with pytest.raises(InputError, match="only y has clusters"):
        equal_exponents({"x": good, "y": replace(good, cluster=good.problem)})
    with pytest.raises(InputError, match="'y' stop at a success"):
        equal_exponents({"x": good, "y": replace(good, stop_rule="until_success")})
    for wrong in ({"objective": "likelihood"}, {"replicates": 10}, {"seed": -1}):
        with pytest.raises(UsageError, match=r"logcov|1,000|whole number"):
            equal_exponents({"x": good, "y": good}, **wrong)
    for bad, word in (
        (counts(100, [0] * 38 + [1, 2]), "only 2 problems of 'y'"),
        (counts(100, [100] * 40), "solved at once"),
        (counts(1, [1, 0] * 20), "1 point"),
    ):
        with pytest.raises(NotUsableError, match=word):
            equal_exponents({"x": good, "y": bad})
    family = replace(good, cluster=np.full(40, "all"))
    with pytest.raises(NotUsableError, match="one cluster"):
        equal_exponents({"x": family, "y": family})
