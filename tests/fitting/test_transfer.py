"""Difficulty transfer: recovery, what it does with siblings that tell nothing, matching, the document."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import scaling
from scaling.errors import InputError, UsageError
from scaling.fitting.copula import Distinct, Log, cell_rates, coupled, likelihood, log_evidence
from scaling.fitting.transfer import RATES, transfer

P = 128


def population(rng, correlation, alpha=0.3, mean=0.02, models=4, problems=P):
    """Rates of several models on the same problems, beta margins under one Gaussian factor."""
    shared = rng.standard_normal(problems)
    own = rng.standard_normal((models, problems))
    u = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    return stats.beta.ppf(stats.norm.cdf(u), alpha, alpha * (1 - mean) / mean)


def logs(rng, rates, m=16, n=100):
    size = rates.shape[1]
    own = Log(np.full(size, m), rng.binomial(m, rates[0]))
    return own, [Log(np.full(size, n), rng.binomial(n, rate)) for rate in rates[1:]]


def bought(posterior, rate, b):
    """Coverage that b samples a problem buy, spent by posterior-marginal greedy."""
    k = np.arange(2048)
    gain = posterior.mass @ (posterior.rates[:, None] * (1 - posterior.rates)[:, None] ** k)
    best = np.argsort(-gain, axis=None, kind="stable")[: b * len(rate)]
    samples = np.bincount(best // len(k), minlength=len(rate))
    return float(np.mean(1 - (1 - rate) ** samples))


def table(counts, n, model, task="t", names=None):
    names = [str(i) for i in range(len(counts))] if names is None else names
    return pd.DataFrame({"task": task, "model": model, "problem": names, "n": n, "c": counts})


def sweeps(seed=0, correlation=0.8, m=16):
    rng = np.random.default_rng(seed)
    own, others = logs(rng, population(rng, correlation), m)
    siblings = [table(log.c, log.n, f"s{j}") for j, log in enumerate(others)]
    return scaling.read(table(own.c, own.n, "target")), scaling.read(pd.concat(siblings))


# --- the posteriors --------------------------------------------------------------------------


def test_cells_add_up_to_the_beta_binomial():
    # sum over cells of prior mass times likelihood ratio is one, for any counts
    log = Log(np.array([16, 16, 10_000, 100, 7]), np.array([0, 16, 230, 1, 3]))
    distinct = Distinct.of(log)
    for alpha, beta in ((0.3, 12.0), (0.04, 0.35), (2.0, 2.0)):
        found = likelihood(distinct, alpha, beta, cell_rates(alpha, beta))
        cells = np.diff(special.ndtr(np.linspace(-6, 6, 121)))
        np.testing.assert_allclose(found @ cells, 1.0, rtol=2e-3)
    expected = stats.betabinom.logpmf(3, 7, 0.3, 12.0) - np.log(special.binom(7, 3))
    np.testing.assert_allclose(log_evidence(7, 3, 0.3, 12.0), expected, rtol=1e-12)


def test_without_siblings_it_is_the_beta_binomial_posterior():
    rng = np.random.default_rng(1)
    rate = rng.beta(0.4, 6.0, 2000)
    own = Log(np.full(2000, 32), rng.binomial(32, rate))
    found = transfer(own, ())
    mean = found.mass @ found.rates
    exact = (0.4 + own.c) / (0.4 + 6.0 + 32)
    solved = own.c > 0
    np.testing.assert_allclose(mean[solved], exact[solved], rtol=0.05)
    np.testing.assert_allclose(mean[~solved].mean(), exact[~solved].mean(), rtol=0.15)
    assert found.shared == 0.0


def test_coupling_recovers_correlations():
    rng = np.random.default_rng(2)
    rates = population(rng, 0.7, mean=0.1, problems=512)
    counts = [Distinct.of(Log(np.full(512, 200), rng.binomial(200, r))) for r in rates]
    edges = cell_rates(0.3, 2.7)
    tables = np.stack([likelihood(c, 0.3, 2.7, edges)[c.place] for c in counts], axis=1)
    found = coupled(tables, np.full(4, np.log(0.1)))
    off = found.R[np.triu_indices(4, 1)]
    np.testing.assert_allclose(off, 0.7, atol=0.08)


def test_posteriors_are_calibrated():
    # The mean of the predicted chance to be solved within 32 more attempts meets the truth.
    predicted, truth = [], []
    for seed in range(6):
        rng = np.random.default_rng([3, seed])
        rates = population(rng, 0.8)
        own, others = logs(rng, rates)
        predicted.append(transfer(own, others).coverage([32])[:, 0])
        truth.append(1 - (1 - rates[0]) ** 32)
    predicted, truth = np.concatenate(predicted), np.concatenate(truth)
    error = np.std(predicted - truth) / np.sqrt(len(truth))
    assert abs(predicted.mean() - truth.mean()) < 4 * error
    for low, high in ((0.0, 0.1), (0.1, 0.5), (0.5, 1.0)):
        inside = (predicted >= low) & (predicted < high)
        assert abs(predicted[inside].mean() - truth[inside].mean()) < 0.08


def test_informative_siblings_buy_several_times_what_the_own_log_buys():
    gains = {"alone": 0.0, "siblings": 0.0, "room": 0.0}
    for seed in range(4):
        rng = np.random.default_rng([4, seed])
        rates = population(rng, 0.85)
        own, others = logs(rng, rates)
        even = float(np.mean(1 - (1 - rates[0]) ** 16))
        gains["alone"] += bought(transfer(own, ()), rates[0], 16) - even
        with_them = transfer(own, others)
        assert with_them.shared > 0.9
        gains["siblings"] += bought(with_them, rates[0], 16) - even
    assert gains["siblings"] > 2 * gains["alone"] > 0


@pytest.mark.parametrize("wrong", ["shuffled", "reversed"])
def test_wrong_siblings_are_ignored(wrong):
    lost = []
    for seed in range(4):
        rng = np.random.default_rng([5, seed])
        rates = population(rng, 0.85, mean=0.05)
        own, others = logs(rng, rates, m=32)
        order = rng.permutation(P)
        if wrong == "reversed":
            order = np.argsort(rates[0])[::-1][np.argsort(np.argsort(rates[0]))]
        mixed = [Log(log.n[order], log.c[order]) for log in others]
        found = transfer(own, mixed)
        assert found.explained < 0.15
        lost.append(bought(transfer(own, ()), rates[0], 32) - bought(found, rates[0], 32))
    assert np.mean(lost) < 0.003
    assert max(lost) < 0.015


def test_a_log_without_successes_leans_on_the_siblings():
    rng = np.random.default_rng(6)
    rates = population(rng, 0.85)
    _, others = logs(rng, rates)
    found = transfer(Log(np.full(P, 16), np.zeros(P, dtype=np.int64)), others)
    hardest = np.argsort(sum(log.c for log in others))
    mean = found.mass @ found.rates
    assert mean[hardest[-10:]].mean() > 3 * mean[hardest[:10]].mean()


def test_order_of_siblings_and_gaps_do_not_matter():
    rng = np.random.default_rng(7)
    own, others = logs(rng, population(rng, 0.8))
    empty = Log(np.zeros(P, dtype=np.int64), np.zeros(P, dtype=np.int64))
    found, turned = transfer(own, others), transfer(own, others[::-1])
    np.testing.assert_allclose(found.mass, turned.mass, atol=1e-5)
    gone = [
        Log(np.where(np.arange(P) < 64, log.n, 0), np.where(np.arange(P) < 64, log.c, 0))
        for log in others
    ]
    half = transfer(own, gone)
    unseen = own.c[64:] == 0
    assert np.ptp((half.mass @ half.rates)[64:][unseen]) < 1e-12  # nothing tells these apart
    assert np.isfinite(transfer(own, [*others, empty]).mass).all()


@pytest.mark.parametrize("c", [0, 16])
def test_alike_problems_get_alike_posteriors(c):
    rng = np.random.default_rng(8)
    _, others = logs(rng, population(rng, 0.5))
    found = transfer(Log(np.full(P, 16), np.full(P, c)), others)
    np.testing.assert_allclose(found.mass.sum(axis=1), 1.0, atol=1e-6)
    assert np.all(np.diff(found.coverage([1, 2, 10, 1000]), axis=1) >= -1e-9)


# --- through the public door -----------------------------------------------------------------


def test_fit_keeps_posteriors_and_allocates_by_them():
    own, others = sweeps()
    alone = scaling.fit(own, "beta-binomial", interval="none")
    fit = scaling.fit(own, "beta-binomial", interval="none", siblings=others)
    assert fit.groups[0].params == alone.groups[0].params  # the law does not change
    again = scaling.FitResult.from_json(fit.to_json())
    assert again.to_json() == fit.to_json()
    ask = {"budget": 8, "unit": "samples", "classes": "problem", "allow_skip": True}
    one, two = scaling.allocate(fit, **ask), scaling.allocate(again, **ask)
    assert one.value == two.value
    assert one.value > scaling.allocate(alone, **ask).value
    assert fit.siblings is not None
    assert fit.siblings["sha256"] in one.table().to_json()
    rates = again.groups[0].transfer.rates
    np.testing.assert_array_equal(rates, RATES)


def test_a_model_is_not_its_own_sibling():
    own, others = sweeps()
    both = own.merge(others)
    fit = scaling.fit(both, "beta-binomial", interval="none", siblings=both)
    for group in fit.groups:
        names = [s.model for s in group.transfer.siblings]
        assert group.model not in names
        assert len(names) == 3


def test_problems_match_by_name_and_the_rest_is_named():
    rng = np.random.default_rng(9)
    own, others = logs(rng, population(rng, 0.8))
    order = rng.permutation(P)[:100]
    named = table(others[0].c[order], 100, "s", names=[str(i) for i in order])
    target = scaling.read(table(own.c, own.n, "target"))
    fit = scaling.fit(target, "beta-binomial", interval="none", siblings=scaling.read(named))
    group = fit.groups[0]
    kept = group.transfer.siblings[0].log
    i = group.problems.problem.tolist().index(str(order[0]))
    assert kept.c[i] == others[0].c[order[0]]
    assert (kept.n == 0).sum() == 28
    found = {c.code: c.message for c in group.cautions}
    assert "28 of 128" in found["siblings-unmatched"]


def test_few_shared_problems_and_wrong_names_are_said():
    own, others = sweeps()
    names = others.to_frame()
    few = scaling.read(
        names[names.problem.astype(int) < 10][["task", "model", "problem", "n", "c"]]
    )
    fit = scaling.fit(own, "beta-binomial", interval="none", siblings=few)
    assert "few-shared-problems" in {c.code for c in fit.groups[0].cautions}
    mixed = np.random.default_rng(0).permutation(P).astype(str)
    names["problem"] = mixed[names.problem.astype(int)]
    wrong = scaling.read(names[["task", "model", "problem", "n", "c"]])
    fit = scaling.fit(own, "beta-binomial", interval="none", siblings=wrong)
    assert fit.groups[0].transfer.explained < 0.3


def test_what_is_not_identified_alone_can_be_allocated_by_problem():
    own, others = sweeps(m=2, seed=3)
    fit = scaling.fit(own, "beta-binomial", interval="none", siblings=others)
    ask = {"budget": 2, "unit": "samples", "classes": "problem", "allow_skip": True}
    assert scaling.allocate(fit, **ask).value > 0


def test_bad_siblings_are_refused():
    own, others = sweeps()
    frame = others.to_frame()[["task", "model", "problem", "n", "c"]]
    with pytest.raises(InputError, match=r"match on task and problem.*t/0.*other/"):
        scaling.fit(
            own, "beta-binomial", interval="none", siblings=scaling.read(frame.assign(task="other"))
        )
    with pytest.raises(InputError, match="only target, which is the model that is fitted"):
        scaling.fit(own, "beta-binomial", interval="none", siblings=own)
    with pytest.raises(UsageError, match="beta-binomial, whose margins"):
        scaling.fit(own, "exponentiated-power", interval="none", siblings=others)
    with pytest.raises(UsageError, match="a Sweep, not a DataFrame"):
        scaling.fit(own, "beta-binomial", interval="none", siblings=frame)
    with pytest.raises(UsageError, match="pools several models"):
        scaling.fit(own.merge(others), "beta-binomial", [], interval="none", siblings=others)
    curve = scaling.read(pd.DataFrame({"samples": [1, 10], "accuracy": [0.1, 0.3]}))
    with pytest.raises(InputError, match="rows of kind curve"):
        scaling.fit(own, "beta-binomial", interval="none", siblings=curve)


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t["mass"].pop(),
        lambda t: t["mass"][0].__setitem__(0, 0.9),
        lambda t: t["siblings"][0]["counts"][0].__setitem__(1, 1000),
    ],
)
def test_a_damaged_transfer_is_refused(damage):
    import json

    own, others = sweeps()
    fit = scaling.fit(own, "beta-binomial", interval="none", siblings=others)
    document = json.loads(fit.to_json())
    damage(document["groups"][0]["transfer"])
    with pytest.raises(InputError, match="group 0 does not hold together"):
        scaling.FitResult.from_json(json.dumps(document))


# --- measured rates --------------------------------------------------------------------------


@pytest.mark.reference
def test_measured_models_foretell_each_other(monkeys):
    frame = monkeys["MATH"].to_frame()
    rng = np.random.default_rng(11)
    rate = {m: g.sort_values("problem").c.to_numpy() / 1e4 for m, g in frame.groupby("model")}
    target = rate["Pythia 160M"]
    others = [rate["Pythia 12B"], rate["Pythia 70M"]]
    gain = np.zeros(2)
    for _ in range(3):
        own, siblings = logs(rng, np.stack([target, *others]))
        even = np.mean(1 - (1 - target) ** 16)
        gain += [bought(transfer(own, s), target, 16) - even for s in ((), siblings)]
    assert gain[1] > 2 * max(gain[0], 0.0)
