"""What more problems and more attempts buy."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import betaln

import scaling
from scaling.core import registry
from scaling.data.evidence import Counts
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting.passk import pass_at_k
from scaling.fitting.planning import plan
from scaling.fitting.standard_errors import population_se


def counts_of(n, c) -> Counts:
    n, c = np.broadcast_arrays(np.asarray(n), np.asarray(c))
    names = np.arange(len(c)).astype(str)
    return Counts({}, names, names, n, c)


@pytest.fixture
def beta_fit(simulated):
    return scaling.fit(simulated(0.4, 3.0, 300, 50, seed=1), "beta-binomial", interval="none")


@pytest.mark.parametrize(("k", "n"), [(1, 5), (5, 5), (5, 8), (20, 60)])
def test_errors_are_those_of_logs_that_the_law_makes(beta_fit, k, n) -> None:
    alpha, beta = beta_fit.groups[0].theta
    (design,) = plan(40, n, k, from_=beta_fit).designs
    rng = np.random.default_rng(2)
    p = rng.beta(alpha, beta, size=(4000, 40))
    f = pass_at_k(n, rng.binomial(n, p), k)
    # The error of a standard deviation from 4,000 logs is 1.1%; here it is 4 of these.
    assert f.mean(axis=1).std() == pytest.approx(design.se, rel=0.045)
    noise = (f - (1 - (1 - p) ** k)).mean(axis=1).std()
    assert noise == pytest.approx(design.se_benchmark, rel=0.045)
    assert design.se**2 == pytest.approx(design.se_benchmark**2 + design.floor**2)


def test_components_of_the_law_at_one_sample_are_known(beta_fit) -> None:
    alpha, beta = beta_fit.groups[0].theta
    found = plan(1, [1, 10], 1, from_=beta_fit)
    mean = alpha / (alpha + beta)
    between = mean * (1 - mean) / (alpha + beta + 1)
    assert found.coverage == pytest.approx(mean)
    assert found.between == pytest.approx(between)
    for design in found.designs:
        within = mean * (1 - mean) - between  # E p(1-p)
        assert design.se_benchmark**2 == pytest.approx(within / design.attempts)


def test_counts_give_back_their_own_error() -> None:
    # With all n alike, B + W(n) without bias is the variance over problems, exactly.
    rng = np.random.default_rng(3)
    counts = counts_of(24, rng.binomial(24, rng.beta(0.5, 3, 30)))
    for k in (1, 4, 12):
        found = plan(30, 24, k, from_=counts)
        assert found.source == "counts"
        assert found.designs[0].se == pytest.approx(population_se(counts, k)[0], rel=1e-9)


def test_components_from_counts_are_unbiased() -> None:
    rng = np.random.default_rng(4)
    law = registry.law("beta-binomial")
    k, moments = 4, 1 - law.value([0.5, 3.0], {"samples": [4, 8]})
    found = []
    for _ in range(400):
        counts = counts_of(10, rng.binomial(10, rng.beta(0.5, 3.0, 25)))
        found.append(plan(1, 10, k, from_=counts).between)
    truth = moments[1] - moments[0] ** 2
    error = np.std(found) / np.sqrt(400)
    assert abs(np.mean(found) - truth) < 3 * error


def test_beyond_the_counts_the_nonparametric_estimate_answers() -> None:
    rng = np.random.default_rng(5)
    counts = counts_of(20, rng.binomial(20, rng.beta(0.5, 3, 60)))
    found = plan(60, 20, 20, from_=counts)
    assert found.source == "npmle"
    assert [c.code for c in found.cautions] == ["extrapolated"]
    assert found.designs[0].se == pytest.approx(population_se(counts, 20)[0], rel=0.03)


@pytest.mark.reference
def test_reference_errors_of_a_hundred_attempts(reference_data) -> None:
    sweep = scaling.read(reference_data / "coverage" / "monkeys_pythia_math_counts.csv")
    (counts,) = sweep.groups([], where={"model": "Pythia 12B"})
    for k, population, benchmark in (
        # reference_ci_alloc.json, pass@k_n100
        (1, 0.00398, 0.001272),
        (10, 0.021823, 0.007331),
        (100, 0.044102, 0.026996),
    ):
        (design,) = plan(128, 100, k, from_=counts).designs
        # Simulated in the reference, to 2%.
        assert design.se_benchmark == pytest.approx(benchmark, rel=0.02)
        # The first hundred attempts of each problem are one log of many.
        assert design.se == pytest.approx(population, rel=0.06)


def test_more_attempts_meet_a_floor_and_more_problems_do_not(beta_fit) -> None:
    found = plan([100, 200, 400], [20, 200, 20_000], 10, from_=beta_fit)
    se = np.array([d.se for d in found.designs]).reshape(3, 3)
    assert np.all(np.diff(se, axis=1) < 0)
    np.testing.assert_allclose(se[:, 2], [d.floor for d in found.designs[2::3]], rtol=1e-3)
    np.testing.assert_allclose(se[1], se[0] / np.sqrt(2))


def test_the_cheapest_design_is_the_cheapest(beta_fit) -> None:
    k, wanted = 4, 0.03
    found = plan(1, k, k, from_=beta_fit, target_se=wanted, cost_per_problem=50, cost_per_attempt=2)
    best = found.cheapest
    assert best is not None
    assert best.se <= wanted
    assert best.cost == best.problems * (50 + 2 * best.attempts)
    every = plan(1, np.arange(k, 300), k, from_=beta_fit).designs
    needed = np.ceil(np.array([d.se for d in every]) ** 2 / wanted**2)
    cost = needed * (50 + 2 * np.arange(k, 300))
    # Problems are whole, so that costs jump by one problem's; candidates are log-spaced.
    assert best.cost <= cost.min() * 1.02
    free = plan(1, k, k, from_=beta_fit, target_se=wanted)
    assert free.cheapest is not None
    assert free.cheapest.attempts == k


def test_many_attempts_and_samples_keep_their_digits(beta_fit) -> None:
    n, k = 10**7, 20_000
    (design,) = plan(100, n, k, from_=beta_fit).designs
    # For n >> k, the first term of Hoeffding's decomposition: k^2/n E p (1-p)^(2k-1).
    alpha, beta = beta_fit.groups[0].theta
    log_mean = betaln(alpha + 1, beta + 2 * k - 1) - betaln(alpha, beta)
    assert design.se_benchmark**2 * 100 == pytest.approx(k**2 / n * np.exp(log_mean), rel=5e-3)


def test_documents_hold_numbers_only(beta_fit) -> None:
    found = plan([10, 20], [50, 100], 10, from_=beta_fit, target_se=0.05)
    document = json.loads(found.to_json())
    assert document["kind"] == "scaling-plan"
    (group,) = document["groups"]
    assert len(group["designs"]) == len(found.to_frame()) == 4
    assert group["cheapest"]["se"] <= 0.05
    assert "floor" in found._repr_html_()


@pytest.mark.parametrize(
    ("problems", "attempts", "k", "options", "error"),
    [
        (10, 4, 5, {}, "pass@k needs n >= k"),
        (0, 5, 5, {}, "problems are whole numbers"),
        (1.5, 5, 5, {}, "not 1.5"),
        ([], 5, 5, {}, "not nothing"),
        (1, 5, 0, {}, "k is a whole number"),
        (1, 5, 2.5, {}, "k is a whole number"),
        (1, 5, 5, {"target_se": 0.0}, "standard error"),
        (1, 5, 5, {"cost_per_problem": -1.0}, "cost per problem"),
        (1, 5, 5, {"cost_per_attempt": np.nan}, "cost per attempt"),
    ],
)
def test_designs_that_cannot_be(beta_fit, problems, attempts, k, options, error) -> None:
    with pytest.raises(InputError, match=error):
        plan(problems, attempts, k, from_=beta_fit, **options)


def test_what_a_plan_cannot_be_made_from(sweep_of, simulated) -> None:
    sweep = simulated(0.4, 3.0, 60, 20, seed=6)
    with pytest.raises(UsageError, match="does not say how problems differ"):
        plan(1, 9, 1, from_=scaling.fit(sweep, "exponentiated-power", interval="none"))
    with pytest.raises(UsageError, match="not from a str"):
        plan(1, 9, 1, from_="fit.json")
    with pytest.raises(NotUsableError, match="same coverage"):
        plan(1, 9, 1, from_=counts_of([10] * 5, [0] * 5))
    models = sweep_of([10] * 8, [0, 1, 2, 9] * 2, model=["a"] * 4 + ["b"] * 4)
    two = scaling.fit(models, "beta-binomial", ["model"], interval="none")
    with pytest.raises(UsageError, match="2 groups"):
        plan(1, 9, 1, from_=two)
