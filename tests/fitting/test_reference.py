"""Published and independently computed coefficients on the exact counts of Brown et al. (2024)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import scaling
from scaling.core import registry
from scaling.core.special import log_scaled_beta_moment
from scaling.fitting import coverage, passk
from scaling.fitting.likelihood import fit_counts, log_binomials

pytestmark = pytest.mark.reference

CONFIGS = [
    ("MATH", "Pythia 70M"),
    ("MATH", "Pythia 160M"),
    ("MATH", "Pythia 12B"),
    ("CodeContests", "Llama 3 8B Instruct"),
    ("CodeContests", "Gemma 2B"),
]

GOLDEN = Path(__file__).parent.parent / "golden" / "brown2024_figure5.json"
PUBLISHED = json.loads(GOLDEN.read_text())["rows"]


@pytest.fixture(scope="module")
def expected(reference_data):
    return json.loads((reference_data / "coverage" / "reference_fits.json").read_text())["configs"]


def one(sweep, model, law, **options):
    (group,) = scaling.fit(
        sweep, law, by=[], where={"model": model}, interval="none", **options
    ).groups
    return group


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda r: r["model"])
def test_brown2024_to_every_printed_digit(monkeys, row):
    group = one(monkeys[row["task"]], row["model"], "exponentiated-power", preset="brown2024")
    found = {name: p.estimate for name, p in group.params.items()} | dict(group.fit)
    for name in ("a", "b", "mae", "sd_abs_error"):
        digits = len(row[name].split(".")[1])
        assert f"{found[name]:.{digits}f}" == row[name]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("objective", "key"), [("logcov", "epl_logcov"), ("cov", "epl_cov"), ("loglog", "loglog")]
)
def test_curve_objectives(monkeys, expected, config, objective, key):
    group = one(monkeys[config[0]], config[1], "exponentiated-power", objective=objective)
    truth = expected["/".join(config)][key]
    assert group.params["a"].estimate == pytest.approx(truth["a"], rel=1e-4)
    assert group.params["b"].estimate == pytest.approx(truth["b"], rel=1e-4)
    assert group.fit["mae"] == pytest.approx(truth["err_mean"], abs=2e-6)
    assert group.fit["sd_abs_error"] == pytest.approx(truth["err_std"], abs=2e-6)
    flagged = any(c.code == "infeasible-curve" for c in group.cautions)
    assert flagged is (not truth["bonferroni_ok"])


@pytest.mark.parametrize("config", CONFIGS)
def test_beta_binomial(monkeys, expected, config):
    group = one(monkeys[config[0]], config[1], "beta-binomial")
    truth = expected["/".join(config)]["bb"]
    assert group.params["alpha"].estimate == pytest.approx(truth["alpha"], rel=1e-4)
    assert group.params["beta"].estimate == pytest.approx(truth["beta"], rel=5e-4)
    assert group.fit["loss"] == pytest.approx(truth["nll"], abs=1e-3)
    assert group.fit["log_likelihood"] == -group.fit["loss"]
    assert group.fit["mae"] == pytest.approx(truth["err_mean"], abs=2e-6)


@pytest.mark.parametrize("config", CONFIGS)
def test_coverage(monkeys, expected, config):
    group = one(monkeys[config[0]], config[1], "beta-binomial")
    truth = expected["/".join(config)]["pass"]
    k = np.array([1, 10, 100, 1000, 10_000])
    problems = group.problems
    np.testing.assert_allclose(
        coverage(problems.n, problems.c, k), [truth[str(x)] for x in k], atol=5e-9, rtol=0
    )


def test_bootstrap_standard_errors(monkeys, reference_data):
    truth = json.loads((reference_data / "coverage" / "reference_ci_alloc.json").read_text())[
        "pythia12b_logcov_ci"
    ]
    fit = scaling.fit(monkeys["MATH"], "exponentiated-power", by=[], where={"model": "Pythia 12B"})
    (group,) = fit.groups
    for name, se in zip("ab", truth["cluster_bootstrap_se"], strict=True):
        assert group.params[name].se == pytest.approx(se, rel=0.10)
    correlation = np.corrcoef(group.draws.T)[0, 1]
    assert correlation == pytest.approx(truth["corr"], abs=0.1)


def test_first_attempts_that_do_not_identify_the_law(reference_data):
    # Gemma 2B on CodeContests, first 100 attempts: three successes, no problem solved twice; the
    # likelihood rises towards the homogeneous limit, and the estimate there predicts .88 for a truth of .07.
    packed = np.load(reference_data / "coverage" / "monkeys_codecontests_outcomes_packed.npz")
    model = list(packed["models"]).index("Gemma 2B")
    bits = np.unpackbits(packed["bits"][model], axis=1)[:, :100]
    import pandas as pd

    c = bits.sum(axis=1).astype(int)
    table = pd.DataFrame({"problem": [str(p) for p in range(len(c))], "n": 100, "c": c})
    (group,) = scaling.fit(scaling.read(table), "beta-binomial").groups
    assert group.status == "not-identified"
    assert group.params["alpha"].estimate is None
    assert {"not-identified", "few-solved"} <= {x.code for x in group.cautions}


SIMPLE = {
    "bb": "beta-binomial",
    "zibb": "zero-inflated-beta-binomial",
    "sbb": "scaled-beta-binomial",
}


@pytest.mark.parametrize("config", CONFIGS)
def test_zero_inflated(monkeys, expected, config):
    group = one(monkeys[config[0]], config[1], "zero-inflated-beta-binomial")
    truth = expected["/".join(config)]["zibb"]
    assert group.status == "ok"
    assert group.params["alpha"].estimate == pytest.approx(truth["alpha"], rel=1e-4)
    assert group.params["beta"].estimate == pytest.approx(truth["beta"], rel=5e-4)
    assert group.fit["loss"] == pytest.approx(truth["nll"], abs=1e-3)
    assert group.fit["mae"] == pytest.approx(truth["err_mean"], abs=2e-6)
    pi0 = group.params["pi0"]
    if truth["pi0"] < 1e-6:
        # The bound itself, where the law is the beta-binomial to the last digit.
        assert pi0.estimate == 0
        assert pi0.at_bound
        assert "at-bound" in {c.code for c in group.cautions}
        plain = one(monkeys[config[0]], config[1], "beta-binomial")
        assert group.fit["loss"] == pytest.approx(plain.fit["loss"], abs=1e-7)
    else:
        assert pi0.estimate == pytest.approx(truth["pi0"], rel=1e-4)


@pytest.mark.parametrize("config", [c for c in CONFIGS if c[1] != "Gemma 2B"])
def test_scaled_beta(monkeys, expected, config):
    group = one(monkeys[config[0]], config[1], "scaled-beta-binomial")
    truth = expected["/".join(config)]["sbb"]
    assert group.params["alpha"].estimate == pytest.approx(truth["alpha"], rel=2e-4)
    assert group.params["beta"].estimate == pytest.approx(truth["beta"], rel=5e-4)
    assert group.params["s"].estimate == pytest.approx(truth["scale"], rel=2e-4)
    assert group.params["s"].at_bound is (truth["scale"] == 1.0)
    assert group.fit["loss"] == pytest.approx(truth["nll"], abs=1e-3)
    assert group.fit["mae"] == pytest.approx(truth["err_mean"], abs=2e-6)


@pytest.fixture(scope="module")
def first_attempts(reference_data):
    """Counts of the first n0 attempts, in file order."""
    bits = {}
    for task, name in (("MATH", "pythia_math"), ("CodeContests", "codecontests")):
        packed = np.load(reference_data / "coverage" / f"monkeys_{name}_outcomes_packed.npz")
        for model, rows in zip(packed["models"], packed["bits"], strict=True):
            bits[f"{task}/{model}"] = np.unpackbits(rows, axis=1)[:, : int(packed["n"])]

    def counts(config, n0):
        c = bits[config][:, :n0].sum(axis=1).astype(int)
        return np.full(len(c), n0), c

    return counts


@pytest.mark.parametrize("n0", [100, 1000])
@pytest.mark.parametrize("config", ["/".join(c) for c in CONFIGS])
def test_extrapolations(first_attempts, sweep_of, expected, config, n0):
    truth = expected[config]["extrapolation"][str(n0)]
    n, c = first_attempts(config, n0)
    assert (c.sum(), (c == 0).sum()) == (truth["total_successes"], truth["zeros"])
    k = [float(x) for x in truth["truth"]]
    sweep = sweep_of(n, c)
    for objective, key in (("logcov", "epl_logcov"), ("cov", "epl_cov"), ("loglog", "loglog")):
        fit = scaling.fit(sweep, "exponentiated-power", objective=objective, interval="none")
        np.testing.assert_allclose(
            fit.groups[0].curve(k), [truth["pred"][key][f"{x:.0f}"] for x in k], atol=1e-4
        )
    counts = passk.unique_counts(n, c)
    for key, name in SIMPLE.items():
        if key not in truth["pred"]:
            continue
        law = registry.law(name)
        found = law.bound(fit_counts(law, counts).coordinates[0])
        predicted = law.value(found, {"samples": k})
        np.testing.assert_allclose(
            predicted, [truth["pred"][key][f"{x:.0f}"] for x in k], atol=1e-4
        )
        if key == "bb":
            again = law.posterior_value(found, n, c, {"samples": k}).mean(axis=0)
            np.testing.assert_allclose(
                again, [truth["pred"]["eb_bb"][f"{x:.0f}"] for x in k], atol=1e-4
            )


# How little the first attempts say of the tail: here one rate for all that are ever solved does as well.
@pytest.mark.parametrize(
    ("config", "n0", "key", "why"),
    [
        ("MATH/Pythia 70M", 100, "zibb", "never solved"),
        ("MATH/Pythia 70M", 100, "sbb", "never solved"),
        ("CodeContests/Gemma 2B", 1000, "zibb", "never solved"),
        ("CodeContests/Gemma 2B", 100, "bb", "one success rate for all"),
        ("CodeContests/Gemma 2B", 100, "zibb", "one success rate for all"),
        ("CodeContests/Gemma 2B", 100, "sbb", "one success rate for all"),
    ],
)
def test_what_the_first_attempts_do_not_identify(first_attempts, sweep_of, config, n0, key, why):
    sweep = sweep_of(*first_attempts(config, n0))
    (group,) = scaling.fit(sweep, SIMPLE[key], interval="none").groups
    assert group.status == "not-identified"
    assert why in group.why_not()


def test_the_zero_mass_is_not_separable(first_attempts, sweep_of):
    # Pythia 160M: 0 from 100 attempts, .51 from 1,000, .29 from 10,000; and zero is in each interval but one.
    found = []
    for n0 in (100, 1000, 10_000):
        sweep = sweep_of(*first_attempts("MATH/Pythia 160M", n0))
        (group,) = scaling.fit(sweep, "zero-inflated-beta-binomial", replicates=40).groups
        low, high = group.params["pi0"].interval
        assert low <= group.params["pi0"].estimate <= high
        said = "zero-mass-not-identified" in {x.code for x in group.cautions}
        assert said is (low == 0)
        found.append((group.params["pi0"].estimate, low, high))
    estimates, lows, _ = zip(*found, strict=True)
    np.testing.assert_allclose(estimates, [0, 0.5128, 0.2947], atol=1e-4)
    assert lows[0] == lows[2] == 0


@pytest.mark.parametrize(
    ("n", "c", "alpha", "beta", "s", "log_p"),
    [
        (10, 0, 0.3, 3.5, 0.1, -0.07285262061),
        (10, 2, 0.3, 3.5, 0.4, -3.05257830070),
        (1000, 5, 0.2, 2.0, 0.05, -3.62316826617),
        (10_000, 12, 0.15, 3.0, 0.02, -4.72231617749),
        (100, 100, 1.5, 2.0, 0.999, -8.02821579044),
    ],
)
def test_scaled_beta_probabilities(n, c, alpha, beta, s, log_p):
    counts = passk.unique_counts([n], [c])
    found = log_scaled_beta_moment(alpha, beta, s, n, c) + log_binomials(counts)
    assert found == pytest.approx(log_p, abs=1e-9)


def test_failure_falls_as_the_tail_says():
    law = registry.law("beta-binomial")
    theta, k = [0.2955, 12.365], 1e4
    tail = {name: float(v) for name, v in law.derive(theta).items()}
    failure = 1 - law.value(theta, {"samples": [k]})[0]
    assert failure == pytest.approx(0.1370610, abs=1e-7)
    law_of_the_tail = tail["tail_prefactor"] * k ** -tail["tail_exponent"]
    assert law_of_the_tail == pytest.approx(0.1371097, abs=1e-7)
