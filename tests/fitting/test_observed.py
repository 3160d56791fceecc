"""Observed pass@k and its companions: values, intervals, stopped logs, what is refused."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.data.evidence import Counts
from scaling.data.outcomes import attempt_scores
from scaling.errors import InputError, UsageError
from scaling.fitting.npmle import coverage_bounds
from scaling.fitting.observed import observe
from scaling.fitting.passk import unique_counts
from scaling.fitting.standard_errors import coverage_interval
from scaling.fitting.stopped import kaplan_meier


def counts_of(n, c, **rest) -> Counts:
    size = len(c)
    names = np.array([f"p{i}" for i in range(size)])
    n = np.broadcast_to(np.asarray(n), size)
    return Counts({}, np.full(size, "t"), names, n, np.asarray(c), **rest)


def rows_of(found) -> dict:
    (group,) = found.groups
    return {(row.measure, row.at_least, row.k): row for row in group.rows}


@pytest.fixture
def log() -> Counts:
    rng = np.random.default_rng(1)
    return counts_of(6, rng.binomial(6, rng.beta(0.8, 1.5, 40)))


def test_measures_are_means_over_all_ways_of_drawing_k(log) -> None:
    found = rows_of(observe(log, [1, 2, 4], all_right=True, at_least=[2, 0.75], attempts=True))
    for k in (1, 2, 4):
        drawn = []
        for n, c in zip(log.n, log.c, strict=True):
            verdicts = [1] * c + [0] * (n - c)
            drawn.append(np.array(list(itertools.permutations(verdicts, k))))
        right = [d.sum(axis=1) for d in drawn]

        def mean(f, values) -> float:
            return float(np.mean([f(v).mean() for v in values]))

        assert found["pass@k", None, k].estimate == pytest.approx(mean(lambda r: r > 0, right))
        assert found["pass^k", None, k].estimate == pytest.approx(
            mean(lambda r, k=k: r == k, right)
        )
        least = max(int(np.ceil(0.75 * k)), 1)
        share = found["at-least", 0.75, k].estimate
        assert share == pytest.approx(mean(lambda r, m=least: r >= m, right))
        spent = mean(lambda d, k=k: np.where(d.any(axis=1), d.argmax(axis=1) + 1, k), drawn)
        assert found["attempts", None, k].estimate == pytest.approx(spent)
        if k >= 2:
            two = found["at-least", 2.0, k].estimate
            assert two == pytest.approx(mean(lambda r: r >= 2, right))
    assert "1 of 1" in found["at-least", 2.0, 1].reason
    assert found["attempts", None, 1].interval is None


@pytest.mark.parametrize("estimand", ["population", "benchmark"])
def test_intervals_of_pass_at_k_are_those_of_coverage(log, estimand) -> None:
    known = coverage_interval(log, [2, 5], estimand=estimand, level=0.9, seed=3)
    found = rows_of(observe(log, [5, 2], estimand=estimand, level=0.9, seed=3, all_right=True))
    for i, k in enumerate((2, 5)):
        row = found["pass@k", None, k]
        assert row.interval == pytest.approx((known.low[i], known.high[i]))
        assert row.se == pytest.approx(known.se[i])
        assert (found["pass^k", None, k].interval is None) == (estimand == "benchmark")


def test_intervals_of_companions_hold() -> None:
    # 200 logs of 60 problems: nominal 95% holds pass^3 and the attempts spent in 90 to 98%.
    rng = np.random.default_rng(4)
    p = rng.beta(2.0, 2.0, 400_000)
    truth = {"pass^k": float((p**3).mean()), "attempts": float((1 + (1 - p) + (1 - p) ** 2).mean())}
    held = dict.fromkeys(truth, 0)
    for _ in range(200):
        log = counts_of(8, rng.binomial(8, rng.beta(2.0, 2.0, 60)))
        found = rows_of(observe(log, 3, all_right=True, attempts=True))
        for measure, value in truth.items():
            low, high = found[measure, None, 3].interval
            held[measure] += low <= value <= high
    assert all(180 <= x <= 196 for x in held.values()), held


def test_families_are_the_units(log) -> None:
    copies = counts_of(6, np.repeat(log.c, 4))
    families = np.repeat([f"f{i:02}" for i in range(40)], 4)
    clustered = counts_of(6, np.repeat(log.c, 4), cluster=families)
    once, apart, whole = (
        rows_of(observe(x, 3, all_right=True, attempts=True)) for x in (log, copies, clustered)
    )
    for key, row in once.items():
        assert whole[key].se == pytest.approx(row.se)
        assert apart[key].se < 0.6 * row.se
    assert observe(clustered, 3).groups[0].units == 40


def test_stopped_logs_are_kaplan_and_meiers() -> None:
    rng = np.random.default_rng(5)
    first = rng.geometric(rng.beta(0.5, 4, 80))
    n, c = np.minimum(first, 50), (first <= 50).astype(int)
    log = counts_of(n, c, stop_rule="until_success")
    found = observe(log, [1, 10, 50, 60], all_right=True, attempts=True)
    rows, curve = rows_of(found), kaplan_meier(n, c, k=[1, 10, 50])
    for i, k in enumerate((1, 10, 50)):
        assert rows["pass@k", None, k].estimate == curve.coverage[i]
        assert rows["pass@k", None, k].interval == (curve.low[i], curve.high[i])
        # Without censoring before k, the attempts spent are the mean of min(T, k).
        assert rows["attempts", None, k].estimate == pytest.approx(np.minimum(n, k).mean())
    assert "to 50" in rows["pass@k", None, 60].reason
    assert rows["pass^k", None, 10].estimate is None
    assert found.groups[0].estimator == "kaplan-meier"
    with pytest.raises(UsageError, match="leave out the estimand"):
        observe(log, 10, estimand="benchmark")
    # Without a stated rule it is recognised, aloud.
    assert [x.code for x in observe(counts_of(n, c), 10).groups[0].cautions] == ["success-stopped"]


def test_beyond_the_attempts_there_are_bounds_only(log) -> None:
    row = rows_of(observe(log, [4, 30], bounds=True))
    ends = coverage_bounds(unique_counts(log.n, log.c), [4, 30])
    assert row["pass@k", None, 30].estimate is None
    assert "only 6 attempts" in row["pass@k", None, 30].reason
    for i, k in enumerate((4, 30)):
        assert row["pass@k", None, k].bounds == pytest.approx((ends.low[i], ends.high[i]))
    low, high = row["pass@k", None, 4].bounds
    assert low < row["pass@k", None, 4].estimate < high


def test_unequal_attempts_end_at_the_fewest() -> None:
    found = rows_of(observe(counts_of([4, 8, 9], [1, 0, 3]), [4, 8]))
    assert found["pass@k", None, 4].estimate is not None
    assert "--min-attempts 8 keeps 2 of 3" in found["pass@k", None, 8].reason


def scored(**columns) -> pd.DataFrame:
    rng = np.random.default_rng(7)
    rows = [
        (model, f"p{i}", j, int(rng.random() < 0.5), rng.normal(i, 1.0) + (model == "b"))
        for model in "ab"
        for i in range(12)
        for j in range(5)
    ]
    table = pd.DataFrame(rows, columns=["model", "problem", "attempt", "correct", "score"])
    return table.assign(**columns)


def test_best_scores_are_means_over_all_subsets() -> None:
    table = scored(cluster=[f"f{int(p[1:]) // 3}" for p in scored().problem])
    for where in (None, {"model": "a"}):
        found = observe(scaling.read(table), [1, 3], scores=attempt_scores(table), where=where)
        for g in found.groups:
            model = g.by.get("model", "a")
            own = table[table.model == model].groupby("problem").score
            rows = {row.k: row for row in g.rows if row.measure == "best-score"}
            for k in (1, 3):
                best = own.agg(
                    lambda x, k=k: np.mean([max(s) for s in itertools.combinations(x, k)])
                )
                row = rows[k]
                assert row.estimate == pytest.approx(best.mean())
                family = table.drop_duplicates("problem").set_index("problem").cluster
                residual = (best - best.mean()).groupby(family).sum()
                se = np.sqrt(4 / 3 * (residual**2).sum()) / 12
                assert row.se == pytest.approx(se)
                low, high = row.interval
                assert (high - low) / 2 == pytest.approx(3.182446 * se, rel=1e-6)  # t with 3 df


def test_scores_that_are_missing_or_no_numbers() -> None:
    table = scored()
    table.loc[table.problem == "p3", "score"] = np.nan
    table.loc[(table.problem == "p4") & (table.attempt > 1), "score"] = np.nan
    sweep = scaling.read(table)
    rows = rows_of(observe(sweep, [2, 3], scores=attempt_scores(table), where={"model": "b"}))
    assert rows["best-score", None, 2].estimate is not None
    assert "only 2 scores" in rows["best-score", None, 3].reason
    with pytest.raises(InputError, match="no column 'score'"):
        attempt_scores(table.drop(columns="score"))
    with pytest.raises(InputError, match="holds 'high'"):
        attempt_scores(table.assign(score="high"))


def test_the_document_is_json_and_deterministic(log, sweep_of) -> None:
    text = observe(log, [1, 3], estimand="benchmark", bounds=True, seed=2).to_json()
    assert json.loads(text, parse_constant=pytest.fail)["kind"] == "scaling-passk"
    assert observe(log, [1, 3], estimand="benchmark", bounds=True, seed=2).to_json() == text
    sweep = sweep_of([5] * 30, [1, 2, 0] * 10, model=["a", "b"] * 15)
    found = observe(sweep, [1, 5])
    assert [g.by for g in found.groups] == [{"model": "a"}, {"model": "b"}]
    assert found.data == sweep.provenance
    assert len(found.to_frame()) == 4
    assert "pass@k" in found._repr_html_()


def test_one_problem_has_no_population_interval() -> None:
    row = rows_of(observe(counts_of(9, [4]), 3))["pass@k", None, 3]
    assert row.estimate is not None
    assert row.interval is None
    assert "one problem" in row.reason


def test_bad_questions_are_refused(log) -> None:
    with pytest.raises(UsageError, match=r"whole number from 1 on, not 0"):
        observe(log, [0])
    with pytest.raises(UsageError, match=r"at least 2\.5 of k"):
        observe(log, 3, at_least=[2.5])
    with pytest.raises(UsageError, match="level"):
        observe(log, 3, level=1)
    curve = scaling.read(pd.DataFrame({"samples": [1, 2, 4], "accuracy": [0.1, 0.2, 0.3]}))
    with pytest.raises(InputError, match="points of a curve"):
        observe(curve, 2)
