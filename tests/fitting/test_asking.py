"""Adaptive sampling: where attempts go, against theorem, brute force and simulation."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

import scaling
from scaling.core import registry
from scaling.data.evidence import Counts
from scaling.errors import InputError, UsageError
from scaling.fitting.asking import ask, evenly, fewest_successes, least_variance, uncertainty
from scaling.fitting.forecast import forecast
from scaling.fitting.likelihood import fit_counts
from scaling.fitting.passk import unique_counts


def counts_of(n, c, **by) -> Counts:
    size = len(n)
    names = np.array([f"p{i}" for i in range(size)])
    return Counts(by, np.full(size, "t"), names, np.asarray(n), np.asarray(c))


@pytest.fixture
def simulated_counts() -> Counts:
    rng = np.random.default_rng(3)
    n = rng.integers(20, 60, 80)
    return counts_of(n, rng.binomial(n, rng.beta(0.3, 4, 80)))


def test_the_share_of_attempts_is_that_of_theorem_1() -> None:
    # Kazdan et al. (2025), theorem 1: b_i in proportion to sqrt(p_i (1-p_i)^(2k-1)).
    p, k = np.array([0.002, 0.01, 0.05, 0.2]), 40
    share = np.sqrt(p * (1 - p) ** (2 * k - 1))
    added = least_variance(share**2, np.ones(4, dtype=np.int64), 1_000_000)
    assert (added + 1) / 1_000_004 == pytest.approx(share / share.sum(), abs=3e-6)


def test_theorem_1_minimises_the_simulated_variance_of_plug_in_coverage() -> None:
    rng, k, budget = np.random.default_rng(0), 20, 40_000
    p = np.array([0.005, 0.02, 0.08, 0.12])

    def spread(b) -> float:
        c = rng.binomial(b, p, size=(20_000, len(p)))
        return float((1 - (1 - c / b) ** k).mean(axis=1).var())

    best = 1 + least_variance(p * (1 - p) ** (2 * k - 1), np.ones(4, dtype=np.int64), budget - 4)
    # The variance that theory gives each, so that differences of one in a hundred can be told.
    for other in (np.full(4, budget // 4), best + np.array([-7000, 7000, 0, 0])):
        ratio = [float((p * (1 - p) ** (2 * k - 1) / b).sum()) for b in (best, other)]
        assert ratio[0] < ratio[1]
        assert spread(best) / spread(other) == pytest.approx(ratio[0] / ratio[1], rel=0.04)


@pytest.mark.parametrize("seed", range(8))
def test_whole_attempts_of_least_variance_beat_every_other_allocation(seed) -> None:
    rng = np.random.default_rng(seed)
    size, n, total = rng.gamma(0.5, size=4) * rng.integers(0, 2, 4), rng.integers(1, 9, 4), 7
    size[0] += 0.1
    added = least_variance(size, n, total)
    assert added.sum() == total
    every = [b for b in itertools.product(range(total + 1), repeat=4) if sum(b) == total]
    least = min(float((size / (n + np.array(b))).sum()) for b in every)
    assert float((size / (n + added)).sum()) == pytest.approx(least, rel=1e-12)


@pytest.mark.parametrize("attempts", [1, 2, 5, 17, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_fewest_successes_is_the_rule_applied_one_by_one(seed, attempts) -> None:
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 12, 9)
    c = np.minimum(rng.integers(0, 3, 9), n)
    have = n.copy()
    for _ in range(attempts):  # no result is known before all are made, so c stays as it is
        have[np.lexsort((np.arange(9), have, c))[0]] += 1
    added = fewest_successes(n, c, attempts)
    assert added.sum() == attempts
    assert sorted((n + added)[c == c.min()]) == sorted(have[c == c.min()])
    assert not added[c > c.min()].any()


def test_uncertainty_is_the_posterior_mean(simulated_counts) -> None:
    n, c, k = simulated_counts.n, simulated_counts.c, 50
    law = registry.law("beta-binomial")
    theta = law.bound(fit_counts(law, unique_counts(n, c)).coordinates[0])
    rng = np.random.default_rng(1)
    draws = np.stack([law.draw_rates(theta, n, c, rng) for _ in range(4_000)])
    value = draws * (1 - draws) ** (2 * k - 1)
    error = value.std(axis=0) / np.sqrt(len(draws))
    found = uncertainty(n, c, k)
    assert not isinstance(found, str)
    seen = found > 1e-4  # elsewhere a few rare draws make the mean
    assert seen.sum() > 20
    assert np.all(np.abs(value.mean(axis=0) - found)[seen] < 4.5 * error[seen])


@pytest.mark.parametrize("attempts", [1, 37, 12_345])
def test_requests_add_up_and_name_problems_once(simulated_counts, attempts) -> None:
    found = ask(simulated_counts, attempts, k=200, simulated=0)
    assert found.rule == "variance"
    assert sum(r.attempts for r in found.requests) == attempts == found.attempts
    names = [r.problem for r in found.requests]
    assert len(set(names)) == len(names)
    counts = {
        p: (n, c)
        for p, n, c in zip(
            simulated_counts.problem, simulated_counts.n, simulated_counts.c, strict=True
        )
    }
    assert all(counts[r.problem] == (r.n, r.c) for r in found.requests)
    added = [r.attempts for r in found.requests]
    assert added == sorted(added, reverse=True)
    assert min(added) >= 1


def test_variance_prefers_rates_near_one_over_2k(simulated_counts) -> None:
    # p (1-p)^(2k-1) is largest at p = 1/(2k): sure problems teach nothing of coverage at large k.
    found = ask(simulated_counts, 500, k=100, simulated=0)
    rate = {r.problem: r.c / r.n for r in found.requests}
    assert max(rate.values()) < 0.1


def test_what_is_not_identified_falls_back_aloud() -> None:
    found = ask(counts_of([10] * 30, [0] * 30), 45)
    assert found.rule == "fewest-successes"
    assert found.k == 100
    assert {c.code for c in found.cautions} == {"adaptive-sampling", "not-identified"}
    assert found.gains[0].reason is not None
    assert found.gains[0].saved is None
    assert sorted(r.attempts for r in found.requests) == [1] * 15 + [2] * 15


def test_groups_are_asked_together(sweep_of) -> None:
    rng = np.random.default_rng(0)
    c = np.concatenate([rng.binomial(30, rng.beta(0.4, 2, 40)), rng.binomial(30, 0.97, 40)])
    sweep = sweep_of(np.full(80, 30), c, model=["a"] * 40 + ["b"] * 40)
    found = ask(sweep, 300, simulated=0)
    assert sum(r.attempts for r in found.requests) == 300
    assert found.data == sweep.provenance
    share = [sum(r.attempts for r in found.requests if r.by["model"] == m) for m in "ab"]
    assert share[0] > 10 * share[1]


def test_the_document_says_that_the_longer_log_is_adaptive(simulated_counts) -> None:
    found = ask(simulated_counts, 20, simulated=0)
    document = json.loads(found.to_json(), parse_constant=pytest.fail)
    assert document["kind"] == "scaling-ask"
    assert document["stop_rule"] == "unknown"
    assert document["k"] == 10 * simulated_counts.n.max()
    assert sum(r["attempts"] for r in document["requests"]) == 20
    assert list(found.to_frame()["attempts"]) == [r.attempts for r in found.requests]
    assert "adaptive-sampling" in found._repr_html_()
    assert ask(simulated_counts, 20, simulated=0).to_json() == found.to_json()


def test_what_brings_no_more_than_even_attempts_is_said(simulated_counts, monkeypatch) -> None:
    from scaling.fitting import preposterior

    def widths(after_even: float, after_adaptive: float):
        """Forecasts whose interval is as wide as told, by what the log is."""

        def width(counts: Counts, *_: float) -> float:
            added = counts.n - simulated_counts.n
            if not added.any():
                return 0.5
            return after_even if np.ptp(added) <= 1 else after_adaptive

        monkeypatch.setattr(preposterior, "_width", width)

    for even, adaptive, codes in (
        (0.4, 0.3, ["adaptive-sampling"]),
        (0.4, 0.39, ["adaptive-sampling", "little-gained"]),
        (0.3, 0.4, ["adaptive-sampling", "little-gained"]),
    ):
        widths(even, adaptive)
        found = ask(simulated_counts, 400, k=1_000)
        assert [c.code for c in found.cautions] == codes
        (gain,) = found.gains
        assert (gain.now, gain.even, gain.adaptive) == pytest.approx((0.5, even, adaptive))
        assert gain.saved == pytest.approx(1 - adaptive / even)
    assert "33.3% wider" in found.cautions[1].message


def test_the_expected_width_is_that_of_longer_logs(simulated_counts) -> None:
    # Many more attempts at every problem narrow the interval; the figure is that of a forecast by hand.
    found = ask(simulated_counts, 8_000, k=1_000, simulated=2, seed=3)
    (gain,) = found.gains
    now = forecast(unique_counts(simulated_counts.n, simulated_counts.c), [1_000])
    assert gain.now == float(now.high[0] - now.low[0])
    assert gain.even < gain.now
    assert gain.simulated == 2


@pytest.mark.parametrize("attempts", [1, 7, 80, 203])
def test_even_attempts_are_even(attempts) -> None:
    n = np.array([3, 1, 2] * 10)
    added = evenly(n, attempts)
    assert added.sum() == attempts
    assert np.ptp(added) <= 1
    assert n[added == added.max()].max() <= n[added == added.min()].min() or np.ptp(added) == 0


def test_bad_questions_are_refused(simulated_counts) -> None:
    with pytest.raises(UsageError, match="between 2 and 10,000, not 1"):
        ask(simulated_counts, 10, simulated=1)
    with pytest.raises(UsageError, match="level"):
        ask(simulated_counts, 10, level=95)
    with pytest.raises(UsageError, match="attempts must be a whole number"):
        ask(simulated_counts, 0)
    with pytest.raises(UsageError, match="k must be a whole number"):
        ask(simulated_counts, 5, k=-1)
    import pandas as pd

    curve = scaling.read(pd.DataFrame({"samples": [1, 2, 4], "accuracy": [0.1, 0.2, 0.3]}))
    with pytest.raises(InputError, match="points of a curve"):
        ask(curve, 5)
