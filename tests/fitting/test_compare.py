"""Two models on the same problems, two laws on the same data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.core import registry
from scaling.errors import InputError, UsageError
from scaling.fitting.compare import compare
from scaling.fitting.passk import pass_at_k


def sweep(n, c, names=None, **columns):
    table = {
        "task": "t",
        "problem": names if names is not None else [f"p{i}" for i in range(len(c))],
        "n": np.broadcast_to(n, np.shape(c)),
        "c": c,
        **columns,
    }
    return scaling.read(pd.DataFrame(table))


def rates(rng, problems):
    """Success rates of two models, hard problems being hard for both."""
    ease = rng.normal(-2.5, 1.5, problems)
    own = rng.normal(0, 0.4, (2, problems))
    return 1 / (1 + np.exp(-(ease + own + np.array([[0.5], [0.0]]))))


@pytest.fixture(scope="module")
def two_models():
    rng = np.random.default_rng(1)
    p = rates(rng, 120)
    c = rng.binomial(40, p)
    both = pd.concat(
        [
            pd.DataFrame({"model": m, "task": "t", "problem": range(120), "n": 40, "c": c[i]})
            for i, m in enumerate("ab")
        ]
    )
    return scaling.read(both)


def fitted(data, model, law="beta-binomial", **options):
    return scaling.fit(data, law, where={"model": model}, **{"interval": "none", **options})


def test_intervals_of_the_difference_hold_and_are_narrower_than_unpaired_ones() -> None:
    k = np.array([1, 10])
    rng = np.random.default_rng(2)
    p = rates(rng, 300_000)
    truth = [float(np.diff(((1 - p) ** x).mean(axis=1))[0]) for x in k]
    held, paired, apart, sets = np.zeros(2), np.zeros(2), np.zeros(2), 80
    for seed in range(sets):
        rng = np.random.default_rng([3, seed])
        c = rng.binomial(30, rates(rng, 80))
        found = compare(sweep(30, c[0]), sweep(30, c[1]), k=k, replicates=400, seed=seed)
        ends = np.array([r.interval for r in found.groups[0].rows])
        held += (ends[:, 0] <= truth) & (truth <= ends[:, 1])
        paired += (ends[:, 1] - ends[:, 0]) / sets
        f = pass_at_k(30, c[:, :, None], k)
        apart += 2 * 1.96 * np.sqrt(f.var(axis=1, ddof=1).sum(axis=0) / 80) / sets
    assert np.all((held >= 0.89 * sets) & (held <= 0.99 * sets))
    assert np.all(paired < 0.75 * apart)


def test_differences_are_of_unbiased_coverage(two_models) -> None:
    found = compare(fitted(two_models, "a"), fitted(two_models, "b"), k=[1, 40])
    (group,) = found.groups
    counts = {g.by["model"]: g for g in two_models.groups(["model"])}
    for row, k in zip(group.rows, (1, 40), strict=True):
        a, b = (pass_at_k(counts[m].n, counts[m].c, k).mean() for m in "ab")
        assert (row.a, row.b, row.difference) == pytest.approx((a, b, a - b))
        assert row.source == "counts"
        assert not row.extrapolated
        assert row.interval[0] < row.difference < row.interval[1]
        # The share of resamples below zero is the tail that the interval leaves out, or keeps.
        assert (row.interval[0] > 0) == (row.probability > 0.975)
    assert (group.matched, group.only_a, group.only_b) == (120, 0, 0)
    assert (group.a, group.b) == ("model=a", "model=b")


def test_laws_are_fitted_to_the_joint_resamples(two_models) -> None:
    a, b = fitted(two_models, "a"), fitted(two_models, "b")
    (group,) = compare(a, b, k=[400], replicates=300).groups
    (row,) = group.rows
    assert (row.source, row.extrapolated) == ("law", True)
    assert "extrapolated" in [c.code for c in group.cautions]
    for found, fit in ((row.a, a), (row.b, b)):
        assert found == pytest.approx(float(fit.groups[0].curve([400])[0]), rel=1e-6)
    for found in group.params:
        assert found.a == pytest.approx(a.groups[0].params[found.name].estimate, rel=1e-5)
        assert found.interval[0] < found.difference < found.interval[1]
    # The resamples are joint: the difference is surer than that of two fits on their own.
    drawn = [
        fitted(two_models, m, interval="percentile", replicates=300, seed=s).groups[0].draws
        for s, m in enumerate("ab")
    ]
    law = registry.law("beta-binomial")
    values = [law.value(d, {"samples": np.array([400])})[:, 0] for d in drawn]
    low, high = np.quantile(values[0] - values[1], [0.025, 0.975])
    assert row.interval[1] - row.interval[0] < 0.9 * (high - low)


def test_samples_for_equal_coverage() -> None:
    # Twice the rate, everywhere small: half the samples.
    problems = np.full(400, 1000)
    (group,) = compare(
        sweep(problems, np.full(400, 20)),
        sweep(problems, np.full(400, 10)),
        k=[1, 10],
        replicates=40,
    ).groups
    assert [row.ratio for row in group.rows] == pytest.approx([2.0, 2.0], rel=0.02)


def test_what_b_does_not_reach_has_no_ratio(two_models) -> None:
    (group,) = compare(two_models, two_models, by=["model"], k=[40]).groups[:1]
    assert group.rows[0].ratio == pytest.approx(1.0)
    (group,) = compare(fitted(two_models, "a"), fitted(two_models, "b"), k=[40]).groups
    assert (group.rows[0].ratio, group.rows[0].ratio_interval) == (None, None)


def test_problems_are_matched_by_name() -> None:
    a = sweep(10, [1, 2, 3, 4], names=["w", "x", "y", "z"])
    b = sweep(10, [9, 8, 7], names=["z", "x", "q"])
    (group,) = compare(a, b, k=1).groups
    assert (group.matched, group.only_a, group.only_b) == (2, 2, 1)
    assert (group.rows[0].a, group.rows[0].b) == pytest.approx(((2 + 4) / 20, (9 + 8) / 20))
    assert "few-problems" in [c.code for c in group.cautions]
    with pytest.raises(InputError, match="no problem is in both"):
        compare(a, sweep(10, [1], names=["other"]))


def test_clusters_are_resampled_whole() -> None:
    rng = np.random.default_rng(4)
    c = rng.binomial(20, rates(rng, 25))
    once = compare(sweep(20, c[0]), sweep(20, c[1]), k=[5], replicates=2000)
    families = np.repeat([f"f{i:02}" for i in range(25)], 4)
    a, b = (sweep(20, np.repeat(x, 4), cluster=families) for x in c)
    copied = compare(a, b, k=[5], replicates=2000)
    apart = compare(sweep(20, np.repeat(c[0], 4)), sweep(20, np.repeat(c[1], 4)), k=[5])

    def width(found):
        low, high = found.groups[0].rows[0].interval
        return high - low

    assert width(copied) == pytest.approx(width(once), rel=0.1)
    assert width(apart) < 0.6 * width(once)
    half = compare(a, sweep(20, np.repeat(c[1], 4)), k=[5])
    assert half.groups[0].rows[0].interval is not None
    # Fits keep the families, as numbers: the same resamples, also from their documents.
    fits = [scaling.fit(x, "beta-binomial", interval="none") for x in (a, b)]
    assert "f00" not in fits[0].to_json()
    again = [scaling.FitResult.from_json(fit.to_json()) for fit in fits]
    for pair in (fits, again):
        found = compare(*pair, k=[5], replicates=2000).groups[0]
        assert found.rows[0].interval == copied.groups[0].rows[0].interval
        assert "clusters-ignored" not in {x.code for x in found.cautions}


def test_logs_that_stop_at_success_are_compared_by_kaplan_and_meier() -> None:
    rng = np.random.default_rng(5)
    stopped = []
    for alpha in (0.5, 0.2):
        first = rng.geometric(np.clip(rng.beta(alpha, 5, 150), 1e-9, 1))
        stopped.append(
            sweep(np.minimum(first, 100), (first <= 100).astype(int), stop_rule="until_success")
        )
    (group,) = compare(*stopped, k=[10, 100]).groups
    from scaling.fitting.stopped import kaplan_meier

    for side, values in zip(stopped, ("a", "b"), strict=True):
        (counts,) = side.groups()
        expected = kaplan_meier(counts.n, counts.c, k=[10, 100]).coverage
        np.testing.assert_allclose([getattr(r, values) for r in group.rows], expected)


def test_two_laws_on_the_same_counts(two_models) -> None:
    a = fitted(two_models, "a")
    b = fitted(two_models, "a", law="exponentiated-power")
    (group,) = compare(a, b, k=[1, 40, 1000], replicates=200).groups
    assert group.same_data
    assert group.a.startswith("beta-binomial")
    assert group.b.startswith("exponentiated-power")
    for row in group.rows:
        assert row.source == "law"
        assert (row.observed is None) == (row.samples > 40)
        expected = [float(f.groups[0].curve([row.samples])[0]) for f in (a, b)]
        assert [row.a, row.b] == pytest.approx(expected, rel=1e-6)
    assert group.criteria["held_out_mae"] == (
        a.groups[0].fit["held_out_mae"],
        b.groups[0].fit["held_out_mae"],
    )
    assert group.criteria["aic"][1] is None
    assert not group.params


def test_criteria_of_different_objectives_carry_a_caution(two_models) -> None:
    a = fitted(two_models, "a")
    b = fitted(two_models, "a", objective="censored-likelihood")
    (group,) = compare(a, b, k=[1], replicates=40).groups
    assert "objectives-differ" in [c.code for c in group.cautions]


def test_groups_are_paired_by_what_is_no_action() -> None:
    rng = np.random.default_rng(6)
    table = pd.DataFrame(
        [
            {"model": m, "level": level, "task": "t", "problem": f"{level}{i}", "n": 20,
             "c": rng.binomial(20, rng.beta(0.5, 2))}
            for m in "ab" for level in ("easy", "hard", "odd") for i in range(30)
            if (m, level) != ("b", "odd")
        ]
    )  # fmt: skip
    data = scaling.read(table)
    by = ["level", "model"]
    a, b = (
        scaling.fit(data, "beta-binomial", by, where={"model": m}, interval="none") for m in "ab"
    )
    found = compare(a, b, replicates=40)
    assert [dict(g.by) for g in found.groups] == [{"level": "easy"}, {"level": "hard"}]
    assert found.unpaired_a == ("level=odd, model=a",)
    assert found.unpaired_b == ()
    both = scaling.fit(data, "beta-binomial", by, interval="none")
    # Where groups agree in all columns, they are paired by all.
    assert len(compare(both, both, replicates=40).groups) == 5
    with pytest.raises(UsageError, match="fit one model at a time"):
        compare(both, scaling.fit(data, "beta-binomial", ["level"], interval="none"))


def test_beyond_the_counts_nothing_is_said_without_laws() -> None:
    rng = np.random.default_rng(7)
    c = rng.binomial(20, rates(rng, 30))
    (group,) = compare(sweep(20, c[0]), sweep(20, c[1]), k=[5, 21], replicates=40).groups
    assert [row.samples for row in group.rows] == [5]
    assert "beyond-the-counts" in [x.code for x in group.cautions]


def test_problems_that_agree_have_no_interval_of_zero_width() -> None:
    (group,) = compare(sweep(10, [5] * 30), sweep(10, [5] * 30), k=[1], replicates=40).groups
    (row,) = group.rows
    assert (row.difference, row.interval, row.probability) == (0.0, None, 0.5)
    assert row.reason


def test_same_seed_same_document(two_models) -> None:
    a, b = fitted(two_models, "a"), fitted(two_models, "b")
    one, two, other = (compare(a, b, replicates=100, seed=s).to_json() for s in (1, 1, 2))
    assert one == two != other
    document = json.loads(one)
    assert document["kind"] == "scaling-comparison"
    frame = compare(a, b, replicates=40)
    assert list(frame.to_frame()["samples"]) == [1, 10, 40]
    assert "difference" in frame._repr_html_()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"k": 0}, "not 0"),
        ({"k": 1.5}, "not 1.5"),
        ({"k": []}, "not nothing"),
        ({"level": 1.0}, "level"),
        ({"replicates": 3}, "replicates"),
        ({"seed": -1}, "seed"),
    ],
)
def test_options_out_of_range(options, error) -> None:
    data = sweep(10, [1, 2, 3])
    with pytest.raises(UsageError, match=error):
        compare(data, data, **options)


def test_evidence_that_names_no_problems(two_models) -> None:
    points = scaling.read(
        pd.DataFrame({"samples": [1, 2, 4, 8], "accuracy": [0.1, 0.18, 0.3, 0.44], "queries": 50})
    )
    fit = scaling.fit(points, "exponentiated-power", interval="none")
    with pytest.raises(InputError, match="points of a curve or of runtimes"):
        compare(fit, fitted(two_models, "a"))
    with pytest.raises(InputError, match="points of a curve"):
        compare(points, points)
    with pytest.raises(UsageError, match="a is a str"):
        compare("fit.json", points)
