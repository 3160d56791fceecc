"""Predictions, targets, saturation, and the document they are written to."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import betaln

import scaling
from scaling.errors import UsageError


@pytest.fixture(scope="module")
def fit():
    import pandas as pd

    rng = np.random.default_rng(11)
    c = rng.binomial(40, rng.beta(0.4, 3.0, 100))
    table = pd.DataFrame({"problem": [str(i) for i in range(100)], "n": 40, "c": c})
    return scaling.fit(scaling.read(table), "beta-binomial", replicates=300)


def test_population_prediction_is_the_law(fit):
    alpha, beta = fit.groups[0].theta
    rows = fit.predict(samples=[1, 10, 100], beyond="law").rows
    for row, k in zip(rows, (1, 10, 100), strict=True):
        assert row.estimate == pytest.approx(
            1 - np.exp(betaln(alpha, beta + k) - betaln(alpha, beta)), rel=1e-10
        )
        assert row.interval[0] < row.estimate < row.interval[1]
        assert row.extrapolated is (k > 40)
        assert row.estimand == "population"


def test_benchmark_prediction_uses_each_problems_own_counts(fit):
    group = fit.groups[0]
    alpha, beta = group.theta
    n, c, k = group.problems.n, group.problems.c, 10
    expected = np.mean(
        1 - np.exp(betaln(alpha + c, beta + n - c + k) - betaln(alpha + c, beta + n - c))
    )
    (row,) = fit.predict(samples=k, estimand="benchmark").rows
    assert row.estimate == pytest.approx(expected, rel=1e-10)
    population = fit.predict(samples=k).rows[0].interval
    # The same problems again are more certain than new ones.
    assert row.interval[1] - row.interval[0] < 0.6 * (population[1] - population[0])


def test_benchmark_interval_covers_the_same_problems_again():
    import pandas as pd

    rng = np.random.default_rng(12)
    inside = 0
    for _ in range(60):
        p = rng.beta(0.4, 3.0, 80)
        table = pd.DataFrame(
            {"problem": [str(i) for i in range(80)], "n": 30, "c": rng.binomial(30, p)}
        )
        fit = scaling.fit(scaling.read(table), "beta-binomial", replicates=200)
        low, high = fit.predict(samples=20, estimand="benchmark").rows[0].interval
        inside += low <= np.mean(1 - (1 - p) ** 20) <= high
    assert inside >= 52


def test_benchmark_interval_from_few_replicates(sweep_of):
    rng = np.random.default_rng(3)
    sweep = sweep_of([20] * 50, rng.binomial(20, rng.beta(0.5, 3, 50)))
    fit = scaling.fit(sweep, "beta-binomial", replicates=50)
    for row in fit.predict(samples=[1, 5, 20], estimand="benchmark").rows:
        low, high = row.interval
        assert 0 < low < row.estimate < high < 1


def test_target_and_saturation(fit):
    (row,) = fit.target(0.5).rows
    assert (
        fit.groups[0].curve([row.estimate])[0] >= 0.5 > fit.groups[0].curve([row.estimate - 1])[0]
    )
    assert row.interval[0] <= row.estimate <= row.interval[1]
    (row,) = fit.saturation(0.001).rows
    k = row.estimate
    assert (
        np.diff(fit.groups[0].curve([k, k + 1]))[0]
        <= 0.001
        < np.diff(fit.groups[0].curve([k - 1, k]))[0]
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.predict(samples=0), "at least 1 attempts, not 0"),
        (lambda f: f.predict(samples=[1, np.nan]), "not nan"),
        (lambda f: f.predict(shots=3), "no input 'shots'"),
        (lambda f: f.predict(samples="many"), "samples='many'"),
        (lambda f: f.predict(samples=[1, [2, 3]]), "numbers of one length"),
        (lambda f: f.predict(samples=1, estimand="both"), "no estimand 'both'"),
        (lambda f: f.target(1.0), "strictly between 0 and 1"),
        (lambda f: f.saturation(-1), "above 0"),
    ],
)
def test_bad_questions(fit, call, message):
    with pytest.raises(UsageError, match=message):
        call(fit)


def test_a_curve_law_has_no_benchmark_estimand(sweep_of):
    fit = scaling.fit(
        sweep_of([10] * 8, [0, 1, 2, 3, 1, 5, 9, 0]), "exponentiated-power", interval="none"
    )
    with pytest.raises(UsageError, match="beta-binomial"):
        fit.predict(samples=3, estimand="benchmark")
    assert fit.predict(samples=3).rows[0].reason.startswith("made with --interval none")


def test_fit_document_follows_its_schema(fit):
    from jsonschema import Draft202012Validator

    from scaling.fitting.document import schema

    Draft202012Validator.check_schema(schema())
    document = json.loads(fit.to_json())
    Draft202012Validator(schema()).validate(document)
    assert document["kind"] == "scaling-fit"
    group = document["groups"][0]
    assert sum(m for _, _, m in group["evidence"]["counts"]) == group["n_problems"] == 100
    assert len(group["draws"]["values"]) <= 1000
    assert len(group["evidence"]["problems"]) == 100


def test_the_document_is_self_contained(fit, tmp_path):
    fit.save(tmp_path / "fit.json")
    again = scaling.FitResult.load(tmp_path / "fit.json")
    assert again.to_json() == fit.to_json()
    assert (
        again.predict(samples=[1, 7], estimand="benchmark").to_json()
        == fit.predict(samples=[1, 7], estimand="benchmark").to_json()
    )
    assert (
        again.menu(classes="problem").value.tolist() == fit.menu(classes="problem").value.tolist()
    )


def test_prediction_document(fit):
    document = json.loads(fit.predict(samples=[1, 50]).to_json())
    assert document["kind"] == "scaling-prediction"
    assert document["quantity"] == "coverage"
    (group,) = document["groups"]
    assert [p["extrapolated"] for p in group["predictions"]] == [False, True]
    assert group["predictions"][0]["at"] == {"samples": 1}


def test_frames_and_html(fit):
    names = ["alpha", "beta", "pass_at_1", "tail_exponent", "tail_prefactor", "effective_slope"]
    assert list(fit.to_frame()["parameter"]) == names
    assert len(fit.predict(samples=[1, 2]).to_frame()) == 2
    assert "<table" in fit._repr_html_()
    assert "<table" in fit.predict(samples=1)._repr_html_()


def test_posterior_draws_have_the_posterior_mean(fit):
    group = fit.groups[0]
    draws = group.posterior(4000, seed=1)
    (alpha, beta), (n, c) = group.theta, group.counts[:2]
    a, b = alpha + c, beta + n - c
    np.testing.assert_allclose(draws.mean(axis=0), a / (a + b), atol=0.01)


def test_curve_rows_fit_without_an_interval():
    import pandas as pd

    k = np.array([1, 2, 4, 8, 16, 32])
    table = pd.DataFrame({"samples": k, "accuracy": np.exp(-2.0 * k**-0.4)})
    fit = scaling.fit(scaling.read(table), "exponentiated-power")
    (group,) = fit.groups
    assert group.params["a"].estimate == pytest.approx(-2.0, rel=1e-6)
    assert group.params["b"].estimate == pytest.approx(-0.4, rel=1e-6)
    assert group.params["a"].interval is None
    assert "no-problem-counts" in {c.code for c in group.cautions}
    assert scaling.FitResult.from_json(fit.to_json()).to_json() == fit.to_json()
