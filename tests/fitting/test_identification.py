"""Counts that a simpler distribution explains are recognised; counts with structure are not refused."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.core import registry
from scaling.core.objective import OBJECTIVES
from scaling.fitting import passk
from scaling.fitting.identification import like_a_limit, limits, not_identified
from scaling.fitting.likelihood import fit_counts, log_binomials

PROBLEMS, ATTEMPTS = 50, 20

ONE_RATE = "one success rate for all"
POPULATIONS = {
    "one rate": lambda _: np.full(PROBLEMS, 0.3),
    "never or one rate": lambda rng: np.where(rng.random(PROBLEMS) < 0.4, 0.0, 0.3),
    "always or never": lambda rng: np.where(rng.random(PROBLEMS) < 0.4, 0.0, 1.0),
    "one beta": lambda rng: rng.beta(0.5, 3.0, PROBLEMS),
}
# Data sets a case, so that each takes a few seconds; 200 of each were recognised in .97 to 1 of cases.
CASES = [
    ("beta-binomial", "one rate", 60),
    ("beta-binomial", "always or never", 10),
    ("logit-normal", "one rate", 20),
    ("zero-inflated-beta-binomial", "one rate", 40),
    ("zero-inflated-beta-binomial", "never or one rate", 40),
    ("zero-inflated-beta-binomial", "always or never", 10),
    ("scaled-beta-binomial", "one rate", 10),
    ("scaled-beta-binomial", "never or one rate", 10),
    ("scaled-kumaraswamy", "never or one rate", 10),
    ("beta-mixture", "one rate", 10),
    ("beta-mixture", "one beta", 20),
]


def verdict(law, rates, rng, attempts=ATTEMPTS):
    counts = passk.unique_counts(np.full(len(rates), attempts), rng.binomial(attempts, rates))
    top = float(fit_counts(law, counts).log_likelihood[0])
    return not_identified(law, counts, top)


@pytest.mark.parametrize(("name", "population", "data_sets"), CASES)
def test_structure_that_is_not_there_is_not_reported(name, population, data_sets):
    law, rng = registry.law(name), np.random.default_rng(11)
    found = [verdict(law, POPULATIONS[population](rng), rng) for _ in range(data_sets)]
    assert sum(why is not None for why in found) >= 0.95 * data_sets


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("beta-binomial", lambda rng: rng.beta(0.3, 5.0, 60)),
        ("logit-normal", lambda rng: 1 / (1 + np.exp(-rng.normal(-2, 2, 60)))),
        (
            "zero-inflated-beta-binomial",
            lambda rng: np.where(rng.random(150) < 0.3, 0.0, rng.beta(1.0, 5.0, 150)),
        ),
        ("scaled-beta-binomial", lambda rng: 0.4 * rng.beta(0.8, 1.5, 150)),
        (
            "beta-mixture",
            lambda rng: np.where(rng.random(300) < 0.5, rng.beta(1, 30, 300), rng.beta(8, 4, 300)),
        ),
    ],
)
def test_structure_that_is_there_is_found(name, rates):
    law, rng = registry.law(name), np.random.default_rng(12)
    assert [verdict(law, rates(rng), rng, 50) for _ in range(8)].count(None) == 8


@pytest.mark.parametrize("name", [n for n in registry.law_names() if registry.law(n).rates])
def test_one_attempt_each_identifies_nothing(name):
    rng = np.random.default_rng(1)
    assert "one attempt" in verdict(registry.law(name), rng.beta(0.5, 2.0, 50), rng, 1)


def test_fewer_moments_than_parameters():
    rng = np.random.default_rng(2)
    law = registry.law("zero-inflated-beta-binomial")
    assert "2 moments" in verdict(law, rng.beta(0.5, 2.0, 500), rng, 2)
    assert verdict(registry.law("beta-binomial"), rng.beta(0.5, 2.0, 500), rng, 2) is None


@pytest.mark.parametrize("name", ["beta-binomial", "scaled-beta-binomial", "beta-mixture"])
def test_no_limit_beats_the_law(name):
    """Limits lie inside the closure of the law, so that its maximum is at least theirs."""
    rng, law = np.random.default_rng(3), registry.law(name)
    for attempts in (5, 40):
        c = rng.binomial(attempts, 0.5 * rng.beta(0.7, 2.0, 80))
        counts = passk.unique_counts(np.full(80, attempts), c)
        top = float(fit_counts(law, counts).log_likelihood[0])
        assert all(limit.log_likelihood <= top + 1e-6 for limit in limits(law, counts))


def test_limits_with_censored_counts():
    # One rate for all: the probabilities of 0..4 and of "at least five" are binomial.
    from scipy.optimize import minimize_scalar
    from scipy.stats import binom

    rng = np.random.default_rng(4)
    counts = passk.unique_counts(np.full(60, 12), rng.binomial(12, 0.35, 60))
    law, censored = registry.law("beta-binomial"), OBJECTIVES["censored-likelihood"]

    def negative(p):
        each = np.where(counts.c < 5, binom.logpmf(counts.c, 12, p), binom.logsf(4, 12, p))
        return -float(counts.multiplicity @ each)

    best = -minimize_scalar(negative, bounds=(0.01, 0.99), method="bounded").fun
    few = counts.c < 5
    exact = passk.UniqueCounts(*(x[few] for x in counts))
    (one_rate, _) = limits(law, counts, censored)
    assert one_rate.log_likelihood + log_binomials(exact) == pytest.approx(best, abs=1e-5)
    top = float(fit_counts(law, counts, censored).log_likelihood[0])
    assert ONE_RATE in like_a_limit(law, counts, top, censored)
