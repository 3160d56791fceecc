"""Rivals of the forecaster: batches against single fits, published values, the same data by other code."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from scaling.core import registry
from scaling.errors import UsageError
from scaling.fitting import passk
from scaling.fitting.likelihood import fit_counts
from scaling.fitting.passk import UniqueCounts, unique_counts
from scaling.fitting.rivals import COMPARED, KAZDAN, Logs, rival, rivals

K = np.array([1_000.0, 10_000.0])
BATCHED = ("brown", "epl-cov", "loglog", "curve-mean", "kazdan", "beta-binomial", "semilog")


def logs_of(*columns, n=100) -> Logs:
    """Logs of n attempts a problem, one for each column of successes."""
    distinct = np.unique(np.concatenate(columns))
    weights = np.stack(
        [np.bincount(np.searchsorted(distinct, c), minlength=len(distinct)) for c in columns]
    )
    counts = UniqueCounts(np.full(len(distinct), n), distinct, weights.sum(axis=0))
    return Logs(counts, weights.astype(float))


@pytest.fixture
def several() -> list:
    rng = np.random.default_rng(5)
    return [rng.binomial(100, rng.beta(0.3, 6, 120)) for _ in range(4)]


@pytest.mark.parametrize("name", [*BATCHED, "schaeffer", "uniform-prior", "solved-so-far"])
def test_a_batch_gives_what_each_log_gives_alone(several, name) -> None:
    together = rival(name).run(logs_of(*several), K, None, 0.95, 0).estimate
    assert together.shape == (4, 2)
    for row, c in zip(together, several, strict=True):
        alone = rival(name).run(logs_of(c), K, None, 0.95, 0).estimate[0]
        np.testing.assert_allclose(row, alone, rtol=1e-6)


def test_loglog_is_a_regression_line(several) -> None:
    c = several[0]
    grid = passk.log_grid(100)
    y = np.log(-np.log(passk.coverage(np.full(len(c), 100), c, grid)))
    line = np.polynomial.Polynomial.fit(np.log(grid), y, 1)
    found = rival("loglog").run(logs_of(c), K, None, 0.95, 0).estimate[0]
    np.testing.assert_allclose(found, np.exp(-np.exp(line(np.log(K)))), rtol=1e-7)


def test_semilog_is_a_line_capped_at_one(several) -> None:
    c = several[0]
    grid = passk.log_grid(100)
    y = -np.log(passk.coverage(np.full(len(c), 100), c, grid))
    line = np.polynomial.Polynomial.fit(np.log(grid), y, 1)
    k = np.array([50.0, 200.0, 10_000.0])
    found = rival("semilog").run(logs_of(c), k, None, 0.95, 0).estimate[0]
    np.testing.assert_allclose(found, np.minimum(1, np.exp(-line(np.log(k)))), rtol=1e-9)
    assert found[-1] == 1.0


def test_curve_mean_is_the_mean_of_three(several) -> None:
    logs = logs_of(*several)
    each = [rival(n).run(logs, K, None, 0.95, 0).estimate for n in ("brown", "epl-cov", "loglog")]
    mean = rival("curve-mean").run(logs, K, None, 0.95, 0).estimate
    np.testing.assert_allclose(mean, np.mean(each, axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    "c",
    [
        [1] * 3 + [0] * 97,  # alpha runs off
        [2, 1, 3] + [0] * 97,  # beta runs off
        [99] * 60 + [100] * 60,  # alpha, at the other end
        [0] * 40 + [100] * 40,  # both to zero
        [5, 20, 60, 0, 0, 1, 0, 3, 90, 0] * 8,  # inside
    ],
)
def test_kazdan_is_the_constrained_maximum(c) -> None:
    c = np.array(c)

    def loss(log_shape) -> float:
        return -scipy.stats.betabinom.logpmf(c, 100, *np.exp(log_shape)).sum()

    bounds = [tuple(np.log(KAZDAN))] * 2
    best = min(
        (
            scipy.optimize.minimize(loss, np.log(s), bounds=bounds, method="L-BFGS-B")
            for s in ((0.5, 3.5), (0.05, 1.0), (5.0, 90.0), (50.0, 0.5))
        ),
        key=lambda found: found.fun,
    )
    law = registry.law("beta-binomial")
    point = rival("kazdan").predict(logs_of(c), K, None)
    assert loss(point.coordinates[0]) == pytest.approx(best.fun, rel=1e-7)
    assert np.all(point.coordinates >= np.log(KAZDAN[0]) - 1e-9)
    assert np.all(point.coordinates <= np.log(KAZDAN[1]) + 1e-9)
    expected = law.value(np.exp(point.coordinates[0]), {"samples": K})
    np.testing.assert_allclose(point.estimate[0], expected)


@pytest.mark.parametrize("law", ["beta-binomial", "zero-inflated-beta-binomial"])
def test_count_laws_predict_what_their_fit_predicts(several, law) -> None:
    logs = logs_of(*several[:2])
    found = rival(law).run(logs, K, None, 0.95, 0).estimate
    declared = registry.law(law)
    for row, c in zip(found, several, strict=False):
        best = fit_counts(declared, unique_counts(np.full(len(c), 100), c))
        expected = declared.value(declared.bound(best.coordinates[0]), {"samples": K})
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_schaeffer_maximises_the_likelihood_of_windows(several) -> None:
    c = several[0]
    rate, scale = c / 100, c.max() / 100
    cuts = np.concatenate([[0.0], np.logspace(-2, 0, 10)])
    filled = np.histogram(rate * (1 + 1e-12), np.append(cuts[:-1], 1.1))[0]

    def loss(shape) -> float:
        mass = np.diff(scipy.stats.beta.cdf(cuts, *shape, scale=scale)) + 1e-16
        return -float(filled @ np.log(mass))

    point = rival("schaeffer").predict(logs_of(c), K, None)
    shape = point.coordinates[0]
    assert scale < 1
    for i in range(2):
        for factor in (0.97, 1.03):
            moved = shape.copy()
            moved[i] *= factor
            assert loss(shape) < loss(moved)
    draws = scale * np.random.default_rng(0).beta(*shape, size=200_000)
    simulated = 1 - np.mean((1 - draws) ** 1_000)
    assert point.estimate[0, 0] == pytest.approx(simulated, abs=0.005)


def test_without_pooling_every_problem_is_solved_in_the_end() -> None:
    # E pass@k under Beta(1, 1 + n) is k / (n + 1 + k): the model of scorio says so of unsolved problems.
    found = rival("uniform-prior").run(logs_of(np.zeros(5, dtype=int)), K, None, 0.95, 0)
    np.testing.assert_allclose(found.estimate[0], K / (101 + K), rtol=1e-12)


@pytest.mark.parametrize("name", [n for n in COMPARED if n != "forecast"])
def test_logs_without_a_forecast_give_nan_or_a_number_and_no_warning(name) -> None:
    zero, flat = np.zeros(20, dtype=int), np.array([100] * 5 + [0] * 15)
    whole = np.full(20, 100)
    found = rival(name).run(logs_of(zero, flat, whole), K, None, 0.95, 0).estimate
    given = found[np.isfinite(found)]
    assert np.all((given >= 0) & (given <= 1))
    if name in ("brown", "epl-cov", "loglog", "curve-mean"):
        assert np.isnan(found).all()
    if name in ("kazdan", "solved-so-far"):
        assert np.isfinite(found).all()


def test_bootstrap_intervals_are_percentiles_of_refits(several) -> None:
    logs = logs_of(*several[:2])
    rng = np.random.default_rng(0)
    drawn = [rng.multinomial(120, w / 120, size=60) for w in logs.weights]
    resamples = np.stack(drawn).astype(float)
    band = rival("beta-binomial").run(logs, K, resamples, 0.9, 0)
    again = rival("beta-binomial").run(Logs(logs.counts, resamples[1]), K, None, 0.9, 0).estimate
    low, high = np.quantile(again, [0.05, 0.95], axis=0)
    assert band.low is not None
    assert band.high is not None
    np.testing.assert_allclose(band.low[1], low, rtol=1e-4)
    np.testing.assert_allclose(band.high[1], high, rtol=1e-4)
    assert np.all((band.low < band.estimate) & (band.estimate < band.high))
    assert rival("schaeffer").run(logs, K, resamples, 0.9, 0).low is None


def test_every_count_law_is_a_rival() -> None:
    names = list(rivals())
    assert names[: len(COMPARED)] == list(COMPARED)
    assert {n for n in registry.law_names() if registry.law(n).rates is not None} <= set(names)
    assert rival("exponentiated-power") is rival("brown")
    assert [r.name for r in rivals().values()] == names
    kinds = {r.interval for r in rivals().values()}
    assert kinds == {"own", "bootstrap", "none"}


def test_an_unknown_rival_is_refused_with_the_near_miss() -> None:
    with pytest.raises(UsageError, match=r"no forecaster 'kazdn'.*Did you mean 'kazdan'"):
        rival("kazdn")


# -- reference data -----------------------------------------------------------------------------------

REFERENCE = {
    "epl_logcov": "brown",
    "epl_cov": "epl-cov",
    "loglog": "loglog",
    "bb": "beta-binomial",
    "zibb": "zero-inflated-beta-binomial",
}


@pytest.mark.reference
def test_extrapolations_of_five_configurations(reference_data) -> None:
    folder = reference_data / "coverage"
    bits = {}
    for name in ("monkeys_pythia_math", "monkeys_codecontests"):
        with np.load(folder / f"{name}_outcomes_packed.npz") as packed:
            for model, row in zip(packed["models"], packed["bits"], strict=True):
                bits[str(model)] = np.unpackbits(row, axis=1)[:, :10_000]
    configs = json.loads((folder / "reference_fits.json").read_text())["configs"]
    compared = 0
    for config, known in configs.items():
        model = config.split("/")[1]
        if model not in bits:
            continue
        for n0, expected in known["extrapolation"].items():
            logs = logs_of(bits[model][:, : int(n0)].sum(axis=1).astype(np.int64), n=int(n0))
            for theirs, ours in REFERENCE.items():
                if theirs not in expected["pred"]:
                    continue  # not identified there
                pred = expected["pred"][theirs]
                k = np.array([float(k) for k in pred])
                found = rival(ours).run(logs, k, None, 0.95, 0).estimate[0]
                values = np.array(list(pred.values()))
                np.testing.assert_allclose(
                    found, values, atol=1e-4, err_msg=f"{config} {n0} {ours}"
                )
                compared += len(k)
    assert compared >= 60
