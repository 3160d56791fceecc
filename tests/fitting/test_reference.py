"""Published and independently computed coefficients on the exact counts of Brown et al. (2024)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import scaling
from scaling.fitting import coverage

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
