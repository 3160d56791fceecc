"""Logs that stop at the first success: Kaplan and Meier, batches, and what likelihoods make of them."""

from __future__ import annotations

import json
from math import comb, log

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.core import registry
from scaling.core.special import log_beta_ratio
from scaling.data.distinct import unique_counts
from scaling.errors import InputError
from scaling.fitting import coverage
from scaling.fitting.likelihood import fit_counts, log_binomials
from scaling.fitting.stopped import (
    coverage_points,
    curve,
    grid,
    kaplan_meier,
    log_arrangements,
    stopping_batch,
)

MODELS = ["Claude 3.5 Sonnet", "GPT4o Mini", "Gemini 1.5 Flash"]


def stopped_log(p, cap, seed, batch=1):
    """Counts of batches that end with the first one that has a success."""
    rng = np.random.default_rng(seed)
    cap = np.broadcast_to(cap, p.shape)
    n, c = np.zeros(len(p), np.int64), np.zeros(len(p), np.int64)
    while (going := (c == 0) & (n < cap)).any():
        size = np.minimum(batch, cap - n)
        c = np.where(going, rng.binomial(size, p), c)
        n = np.where(going, n + size, n)
    return n, c


@pytest.fixture(scope="module")
def sequential(reference_data):
    folder = reference_data / "coverage"
    table = pd.read_csv(folder / "bon_text_counts_sequential.csv")
    truth = json.loads((folder / "reference_bon_sequential.json").read_text())
    return {
        model: (rows.num_samples.to_numpy(), rows.num_correct.to_numpy(), truth[model])
        for model, rows in table.groupby("model")
    }


@pytest.mark.reference
@pytest.mark.parametrize("model", MODELS)
def test_reference_curve(sequential, model):
    n, c, truth = sequential[model]
    found = kaplan_meier(n, c, k=truth["ks"], batch=60)
    # The reference prints six digits of a share of 159 problems.
    shares = np.round(np.array(truth["empirical_stop_curve"]) * 159) / 159
    np.testing.assert_allclose(found.coverage, shares, rtol=0, atol=1e-9)
    assert found.coverage.round(6).tolist() == truth["empirical_stop_curve"]
    assert ((found.low < found.coverage) & (found.coverage < found.high)).all()
    # Unbiased pass@k overstates it, by more than the interval is wide.
    chen = coverage(n, c, [60])[0]
    assert round(float(chen), 6) == truth["chen_on_stopped"][0]
    assert chen > found.high[0]


@pytest.mark.reference
@pytest.mark.parametrize("model", MODELS)
def test_reference_likelihood(sequential, model):
    n, c, truth = sequential[model]
    counts, law = unique_counts(n, c), registry.law("beta-binomial")
    best = fit_counts(law, counts)
    assert law.bound(best.coordinates)[0] == pytest.approx(truth["bb"], rel=1e-4)
    loss = -float(best.log_likelihood[0]) - log_binomials(counts)
    assert loss == pytest.approx(truth["nll"], abs=1e-3)
    alpha, beta = law.bound(best.coordinates)[0]
    assert 1 - np.exp(log_beta_ratio(alpha, beta, truth["ks"])) == pytest.approx(
        truth["bb_pred"], abs=2e-5
    )


@pytest.mark.reference
def test_real_logs_are_told_apart(sequential, reference_data):
    for n, c, _ in sequential.values():
        assert stopping_batch(unique_counts(n, c), None) == 60
    for name in ("monkeys_pythia_math_counts.csv", "monkeys_codecontests_counts.csv"):
        for _, rows in pd.read_csv(reference_data / "coverage" / name).groupby("model"):
            assert stopping_batch(unique_counts(rows.num_samples, rows.num_correct), None) is None


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_statsmodels_under_unequal_censoring(seed):
    from statsmodels.duration.survfunc import SurvfuncRight

    rng = np.random.default_rng(seed)
    n, c = stopped_log(rng.beta(0.5, 4, 150), rng.integers(3, 60, 150), seed)
    found, other = kaplan_meier(n, c), SurvfuncRight(n, c > 0)
    np.testing.assert_array_equal(found.k, other.surv_times)
    np.testing.assert_array_equal(found.at_risk, other.n_risk)
    np.testing.assert_allclose(found.coverage, 1 - other.surv_prob, rtol=1e-12)
    np.testing.assert_allclose(found.se, other.surv_prob_se, rtol=1e-10)


def test_interval_is_greenwood_on_the_log_log_scale():
    # Kalbfleisch and Prentice, section 1.4, by hand: five problems, one censored at 2.
    found = kaplan_meier([1, 2, 3, 4, 4], [1, 0, 1, 0, 0], level=0.9)
    assert found.k.tolist() == [1, 3]
    survival = np.array([4 / 5, 4 / 5 * 2 / 3])
    np.testing.assert_allclose(found.coverage, 1 - survival)
    variance = np.array([1 / (5 * 4), 1 / (5 * 4) + 1 / (3 * 2)])
    np.testing.assert_allclose(found.se, survival * np.sqrt(variance))
    half = 1.6448536269514722 * np.sqrt(variance) / -np.log(survival)
    np.testing.assert_allclose(found.low, 1 - survival ** np.exp(-half))
    np.testing.assert_allclose(found.high, 1 - survival ** np.exp(half))


def test_ends_where_greenwood_is_undefined_get_binomial_intervals():
    found = kaplan_meier([3, 3, 5, 5], [1, 1, 1, 1], k=[1, 2, 3, 5, 6])
    assert found.coverage.tolist() == [0, 0, 0.5, 1, 1]
    assert np.isnan(found.se[[0, 1, 3, 4]]).all()
    assert found.low[:2].tolist() == [0, 0]
    np.testing.assert_allclose(found.high[:2], 1 - 0.025**0.25)  # 0 of 4
    np.testing.assert_allclose(found.low[3:], 0.025**0.25)  # 4 of 4
    assert found.high[3:].tolist() == [1, 1]


def test_censoring_lowers_the_number_that_an_end_rests_on():
    # Two of four are censored before anything is solved; the other two are solved at 5.
    found = kaplan_meier([2, 2, 5, 5], [0, 0, 1, 1], k=[5])
    assert found.coverage[0] == 1
    np.testing.assert_allclose(found.low, 0.025**0.5)


def test_beyond_the_longest_try_nothing_is_known():
    found = kaplan_meier([2, 6, 6], [1, 0, 0], k=[1, 6, 7])
    assert found.coverage[:2].tolist() == pytest.approx([0, 1 / 3])
    assert np.isnan([found.coverage[2], found.low[2], found.high[2], found.se[2]]).all()
    assert found.at_risk.tolist() == [3, 2, 0]


def test_nothing_solved():
    assert len(kaplan_meier([4, 4], [0, 0]).k) == 0
    found = kaplan_meier([4, 4], [0, 0], k=[4])
    assert found.coverage[0] == found.low[0] == 0
    assert found.high[0] == pytest.approx(1 - 0.025**0.5)


def test_batches_show_only_whole_batches():
    n, c = [10, 10, 20, 25, 25], [3, 1, 2, 1, 0]  # the cap cuts the third batch short
    found = kaplan_meier(n, c, k=[9, 10, 15, 20, 25, 30], batch=10)
    np.testing.assert_allclose(found.coverage, [np.nan, 0.4, np.nan, 0.6, 0.8, np.nan])
    assert kaplan_meier(n, c, batch=10).k.tolist() == [10, 20, 25]


def test_a_missing_verdict_does_not_move_a_problem_out_of_its_batch():
    whole = kaplan_meier([60, 120, 180, 180], [2, 1, 0, 0], batch=60)
    lost = kaplan_meier([58, 119, 180, 180], [2, 1, 0, 0], batch=60)
    assert lost.k.tolist() == whole.k.tolist() == [60, 120]
    np.testing.assert_allclose(lost.coverage, whole.coverage)
    dropped = kaplan_meier([60, 120, 179, 180], [1, 1, 0, 0], batch=60, k=[120])
    assert dropped.at_risk[0] == 3  # it went through two whole batches


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.booleans(), st.integers(1, 5)), min_size=1, max_size=25
    )
)
def test_weights_stand_for_repeated_problems(rows):
    n = np.array([r[0] for r in rows])
    c = np.array([int(r[1]) for r in rows])
    times = np.array([r[2] for r in rows])
    k = np.arange(1, 14)
    repeated = kaplan_meier(np.repeat(n, times), np.repeat(c, times), k=k).coverage
    counts = unique_counts(n, c)
    weights = np.bincount(counts.place(n, c), times, len(counts.n))
    both = curve(counts, k, np.stack([weights, 7.0 * weights]), 1)
    np.testing.assert_allclose(both, np.stack([repeated, repeated]), rtol=1e-12, atol=1e-14)


def test_a_resample_without_the_long_tries_ends_earlier():
    counts = unique_counts([1, 3, 9], [1, 0, 0])
    found = curve(counts, [1, 3, 9], np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]), 1)
    np.testing.assert_allclose(found, [[1 / 3] * 3, [0.5, 0.5, np.nan]])


def test_singleton_clusters_give_greenwood_and_copies_count_once():
    n, c = stopped_log(np.random.default_rng(1).beta(0.5, 3, 60), 40, 1)
    plain = kaplan_meier(n, c)
    alone = kaplan_meier(n, c, cluster=np.arange(60))
    np.testing.assert_allclose(alone.se, plain.se, rtol=1e-10)
    copies = kaplan_meier(np.tile(n, 4), np.tile(c, 4), cluster=np.tile(np.arange(60), 4))
    np.testing.assert_allclose(copies.coverage, plain.coverage, rtol=1e-12)
    np.testing.assert_allclose(copies.se, plain.se, rtol=1e-10)
    np.testing.assert_allclose(copies.low, plain.low, rtol=1e-10)


@pytest.mark.parametrize("batch", [1, 8])
def test_intervals_cover_the_population(batch):
    alpha, beta, k = 0.6, 6.0, np.array([8, 24, 48])
    truth = 1 - np.exp(log_beta_ratio(alpha, beta, k))
    rng = np.random.default_rng(11)
    inside, chen = np.zeros(3), np.zeros(3)
    for seed in range(300):
        caps = rng.choice([24, 48, 96], 60, p=[0.2, 0.3, 0.5])
        n, c = stopped_log(rng.beta(alpha, beta, 60), caps, seed, batch)
        found = kaplan_meier(n, c, k=k, batch=batch)
        inside += (found.low <= truth) & (truth <= found.high)
        chen += found.coverage / 300
    assert (inside / 300 >= 0.92).all()
    assert (inside / 300 <= 0.985).all()
    np.testing.assert_allclose(chen, truth, atol=0.012)


@pytest.mark.parametrize("batch", [1, 10])
def test_a_count_law_is_not_misled_by_stopping(batch):
    rng = np.random.default_rng(2)
    n, c = stopped_log(rng.beta(0.5, 5.0, 4000), 200, 3, batch)
    law = registry.law("beta-binomial")
    found = law.bound(fit_counts(law, unique_counts(n, c)).coordinates)[0]
    assert found == pytest.approx([0.5, 5.0], rel=0.1)


@pytest.mark.parametrize(
    ("n", "c", "rule", "batch", "expected"),
    [
        ([5, 10, 10], [1, 0, 1], "fixed", None, None),
        ([5, 10, 10], [1, 0, 1], "until_success", None, 1),
        ([20, 60, 60], [3, 0, 1], "until_success_batched", 20, 20),
        ([20, 40, 60], [3, 1, 0], "until_success_batched", None, 20),
        ([20, 40, 60], [3, 1, 0], None, None, 20),
        ([20, 40, 60], [3, 1, 0], "unknown", None, 20),
        ([3, 7, 10], [1, 1, 0], None, None, 1),
        ([10, 10, 10], [3, 1, 0], None, None, None),  # one number of attempts
        ([9, 10, 10], [4, 1, 0], None, None, None),  # more successes than a batch
        ([99, 100, 100, 100], [1, 1, 1, 0], None, None, None),  # a lost verdict, not a rule
        ([3, 7, 10], [1, 0, 1], None, None, None),  # unsolved below the most attempts
    ],
)
def test_the_batch_of_a_log(n, c, rule, batch, expected):
    assert stopping_batch(unique_counts(n, c), rule, batch) == expected


def test_points_by_the_estimator_that_holds():
    n, c = stopped_log(np.random.default_rng(4).beta(0.4, 4, 80), 64, 4, 4)
    counts = unique_counts(n, c)
    found = coverage_points(counts, "until_success_batched", 4, points=10)
    assert found.batch == 4
    assert found.k[0] == 4
    assert found.k[-1] == 64
    np.testing.assert_allclose(found.coverage, kaplan_meier(n, c, k=found.k, batch=4).coverage)
    plain = coverage_points(counts, "fixed")
    assert plain.batch is None
    np.testing.assert_allclose(plain.coverage, coverage(n, c, plain.k))


def test_grid_of_a_log_shorter_than_a_batch():
    counts = unique_counts([6, 6], [1, 0])
    assert grid(counts, 10).tolist() == [6]
    assert coverage_points(counts, "until_success_batched", 10).coverage.tolist() == [0.5]


def test_arrangements_of_a_stopped_log():
    counts = unique_counts([7, 20, 25], [1, 3, 0])
    assert log_arrangements(counts, None) == pytest.approx(log_binomials(counts))
    # 20 = two batches of 10 with the three successes in the second; 7 is a batch cut short.
    assert log_arrangements(counts, 10) == pytest.approx(log(comb(7, 1)) + log(comb(10, 3)))
    assert log_arrangements(unique_counts([7, 25], [1, 0]), 1) == 0


@pytest.mark.parametrize(
    ("n", "c", "options"),
    [
        ([3, 4], [2, 0], {}),  # went on after the success
        ([8, 8], [5, 0], {"batch": 4}),
        ([3, 4], [1, 5], {}),
        ([0, 4], [0, 1], {}),
        ([3.5, 4], [1, 1], {}),
        ([], [], {}),
        ([3], [1, 1], {}),
        ([3], [1], {"k": [0]}),
        ([3], [1], {"k": [1.5]}),
        ([3], [1], {"batch": -1}),
        ([3], [1], {"level": 1.0}),
    ],
)
def test_impossible_input_is_refused(n, c, options):
    with pytest.raises(InputError):
        kaplan_meier(n, c, **options)


def test_a_contradicted_rule_says_what_to_do():
    with pytest.raises(InputError, match=r"n = 3 and c = 2.*until_success_batched"):
        stopping_batch(unique_counts([3, 9], [2, 0]), "until_success")
