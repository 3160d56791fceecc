"""Data that do not determine a law: null, a caution, never an invented number."""

from __future__ import annotations

import json

import numpy as np
import pytest

import scaling
from scaling.errors import InputError, NotUsableError, UsageError

LAWS = ["beta-binomial", "exponentiated-power"]
NOTHING_TO_SEE = {
    "one problem": ([10], [3]),
    "no success": ([10] * 5, [0] * 5),
    "all solved": ([10] * 5, [10] * 5),
    "one attempt each": ([1] * 5, [0, 1, 0, 1, 1]),
    "always or never": ([10] * 6, [0, 10] * 3),
}


def codes(group):
    return {c.code for c in group.cautions}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("case", NOTHING_TO_SEE)
def test_not_identified(sweep_of, case, law):
    fit = scaling.fit(sweep_of(*NOTHING_TO_SEE[case]), law)
    (group,) = fit.groups
    assert group.status == "not-identified"
    assert not fit.usable
    assert "not-identified" in codes(group)
    for p in [*group.params.values(), *group.derived.values()]:
        assert p.estimate is None
        assert p.interval is None
        assert p.se is None
    assert group.draws is None
    document = json.loads(fit.to_json())
    assert document["groups"][0]["params"][next(iter(group.params))]["estimate"] is None
    assert scaling.FitResult.from_json(fit.to_json()).to_json() == fit.to_json()
    for row in (*fit.predict(samples=1).rows, *fit.target(0.5).rows):
        assert row.estimate is None
        assert "not-identified" in row.reason
    with pytest.raises(NotUsableError, match="not-identified"):
        fit.menu()


def test_homogeneous_problems_are_not_a_beta_distribution(sweep_of):
    (group,) = scaling.fit(sweep_of([10] * 6, [4, 5, 6, 5, 4, 5]), "beta-binomial").groups
    assert group.status == "not-identified"
    assert "one success rate for all" in group.why_not()
    assert "0.4833" in group.why_not()


def test_homogeneous_populations_are_recognised(sweep_of):
    rng = np.random.default_rng(8)
    recognised = [
        scaling.fit(
            sweep_of([20] * 50, rng.binomial(20, 0.3, 50)), "beta-binomial", interval="none"
        )
        .groups[0]
        .status
        for _ in range(40)
    ]
    assert recognised.count("not-identified") >= 35


def test_spread_populations_are_identified(simulated):
    fits = [
        scaling.fit(simulated(0.3, 5.0, 60, 30, seed), "beta-binomial", interval="none")
        for seed in range(20)
    ]
    assert all(f.usable for f in fits)


def test_unequal_attempts_use_the_curve_up_to_the_fewest(sweep_of):
    sweep = sweep_of([30, 40, 50, 8], [3, 9, 0, 1])
    (group,) = scaling.fit(sweep, "exponentiated-power", interval="none").groups
    assert group.reach == 8
    assert group.max_n == 50
    assert "unequal-n" in codes(group)
    (by_counts,) = scaling.fit(sweep, "beta-binomial", interval="none").groups
    assert by_counts.reach == 50
    assert "unequal-n" not in codes(by_counts)


def test_too_few_solved_problems_make_no_interval(sweep_of):
    (group,) = scaling.fit(sweep_of([100] * 20, [1] + [0] * 19), "exponentiated-power").groups
    assert group.status == "ok"
    assert group.params["a"].interval is None
    assert "few-solved" in codes(group)


def test_few_problems_leave_an_interval_open(sweep_of):
    (group,) = scaling.fit(sweep_of([10, 20, 5, 7, 3], [0, 10, 1, 2, 3]), "beta-binomial").groups
    assert group.params["alpha"].estimate is not None
    assert group.params["alpha"].interval is None
    assert group.params["alpha"].se is None
    assert {"few-problems", "open-interval"} <= codes(group)
    # What the replicates predict is right, though their parameters stand for infinite ones.
    low, high = (
        scaling.fit(sweep_of([10, 20, 5, 7, 3], [0, 10, 1, 2, 3]), "beta-binomial")
        .predict(samples=[1])
        .rows[0]
        .interval
    )
    assert 0 < low < 0.4 < high < 1


def test_flat_and_finished_curves_say_which_objective_helps(sweep_of):
    (group,) = scaling.fit(
        sweep_of([4] * 30, [1, 2, 4] * 10), "exponentiated-power", objective="loglog"
    ).groups
    assert group.status == "not-identified"
    assert "logcov or cov" in group.why_not()
    (group,) = scaling.fit(
        sweep_of([4] * 30, [1, 2, 4] * 10), "exponentiated-power", objective="cov"
    ).groups
    assert group.status == "ok"


@pytest.mark.reference
def test_success_stopped_logs_are_recognised(reference_data):
    stopped = scaling.read(reference_data / "coverage" / "bon_text_counts_sequential.csv")
    for law in LAWS:
        for group in scaling.fit(stopped, law, interval="none").groups:
            assert "success-stopped" in codes(group)
    fixed = scaling.read(reference_data / "coverage" / "monkeys_pythia_math_counts.csv")
    for group in scaling.fit(fixed, "beta-binomial", interval="none").groups:
        assert "success-stopped" not in codes(group)


def test_pooled_models_are_said(sweep_of):
    both = sweep_of([20] * 40, list(range(20)) * 2)
    import pandas as pd

    table = both.to_frame()
    rows = pd.concat([table.assign(model="x"), table.assign(model="y")])[
        ["model", "problem", "n", "c"]
    ]
    (group,) = scaling.fit(scaling.read(rows), "beta-binomial", by=[]).groups
    assert "pooled-models" in codes(group)
    assert group.n_problems == 40


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"law": "beta"}, "Did you mean 'beta-binomial'|the laws are"),
        ({"objective": "cov"}, "accepts likelihood"),
        ({"interval": "wald"}, "percentile, bca, jackknife, profile or none"),
        ({"level": 95}, "between 0 and 1"),
        ({"replicates": 3}, "between 40"),
        ({"seed": -1}, "from 0 on"),
        ({"seed": 1.5}, "from 0 on"),
        ({"law": "exponentiated-power", "interval": "profile"}, "Use --interval percentile"),
        (
            {"law": "exponentiated-power", "preset": "brown2024", "objective": "cov"},
            "fixes the objective logcov",
        ),
        ({"preset": "brown2024"}, "it has: none"),
    ],
)
def test_options_that_contradict(sweep_of, options, message):
    options = {"law": "beta-binomial"} | options
    law = options.pop("law")
    with pytest.raises(UsageError, match=message):
        scaling.fit(sweep_of([10] * 5, [1, 2, 3, 4, 9]), law, **options)


def test_a_law_is_fitted_to_a_sweep():
    with pytest.raises(
        UsageError, match=r"not to a str; read the log first: scaling.fit\(scaling.read"
    ):
        scaling.fit("log.csv", "beta-binomial")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda g: g["draws"]["values"][3].pop(), "does not hold together"),
        (
            lambda g: g["draws"]["names"].reverse() or g["draws"]["names"].pop(),
            "does not hold together",
        ),
        (lambda g: g["evidence"]["counts"][0].__setitem__(0, 1e300), "does not hold together"),
        (lambda g: g["evidence"]["counts"][0].__setitem__(1, 99), "more successes than attempts"),
        (lambda g: g["params"].pop("beta"), "has the parameters"),
        (lambda g: g["params"]["beta"].__setitem__("estimate", "12"), "breaks the schema"),
    ],
)
def test_damaged_documents(sweep_of, damage, message):
    rng = np.random.default_rng(1)
    fit = scaling.fit(
        sweep_of([20] * 40, rng.binomial(20, rng.beta(0.5, 3, 40))), "beta-binomial", replicates=50
    )
    document = json.loads(fit.to_json())
    damage(document["groups"][0])
    with pytest.raises(InputError, match=message):
        scaling.FitResult.from_json(json.dumps(document))


def test_documents_that_are_not(tmp_path):
    for text, message in [
        ("{", "not JSON"),
        ("[]", "not a fit document"),
        ('{"kind": "scaling-budget-table"}', "kind is 'scaling-budget-table'"),
        ('{"kind": "scaling-fit"}', "breaks the schema"),
        ('{"kind": "scaling-fit", "x": NaN}', "NaN"),
    ]:
        (tmp_path / "f.json").write_text(text)
        with pytest.raises(InputError, match=message):
            scaling.FitResult.load(tmp_path / "f.json")
    with pytest.raises(InputError, match="no such file"):
        scaling.FitResult.load(tmp_path / "none.json")


def test_rounding_does_not_make_a_finished_curve_unfinished(sweep_of):
    # Coverage at k = n is one exactly; the weighted mean of ones is 1 - 1e-16 for some numbers of problems.
    rng = np.random.default_rng(0)
    for problems in range(5, 60, 3):
        c = rng.integers(1, 11, problems)
        sweep = sweep_of([10] * problems, c)
        fit = scaling.fit(sweep, "exponentiated-power", objective="loglog", interval="none")
        assert "logcov or cov" in fit.groups[0].why_not()
        (group,) = scaling.fit(sweep, "exponentiated-power", replicates=100).groups
        assert "replicates-dropped" not in codes(group) or problems < 12


@pytest.mark.parametrize("objective", ["logcov", "cov"])
def test_a_curve_that_ends_at_once_has_no_exponent(sweep_of, objective):
    sweep = sweep_of([10] * 100, [10] * 98 + [9] * 2)
    fit = scaling.fit(sweep, "exponentiated-power", objective=objective)
    assert fit.groups[0].status == "not-identified"
    assert "whatever b is" in fit.groups[0].why_not()


def test_replicates_without_problems_in_between_leave_the_interval_open(sweep_of):
    # One problem of sixty is solved sometimes; without it, alpha runs to zero.
    (group,) = scaling.fit(sweep_of([10] * 60, [0] * 30 + [10] * 29 + [9]), "beta-binomial").groups
    assert group.status == "ok"
    assert group.params["alpha"].interval is None
    assert "open-interval" in codes(group)
    assert "alpha below" in " ".join(c.message for c in group.cautions)


def test_no_interval_has_zero_width(sweep_of):
    rng = np.random.default_rng(2)
    fit = scaling.fit(
        sweep_of([30] * 40, rng.binomial(30, rng.beta(8, 2, 40))),
        "exponentiated-power",
        replicates=100,
    )
    for row in fit.predict(samples=[1, 5, 30, 100_000]).rows:
        assert row.interval is None or row.interval[0] < row.interval[1]
