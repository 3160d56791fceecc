"""What the attempts themselves say, without a law: pass@k and its companions, with their errors.

Unbiased estimates where the number of attempts was fixed, Kaplan and Meier's where attempts stop at the first
success. Beyond the attempts only bounds are had, those of all distributions of success rates that the
counts allow.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling._version import __version__
from scaling.core.caution import Caution
from scaling.data.distinct import unique_counts
from scaling.data.evidence import Counts, Scalar
from scaling.data.groups import selected
from scaling.data.statistics import Statistics
from scaling.errors import InputError, UsageError
from scaling.fitting.companions import (
    expected_attempts,
    expected_maximum,
    g_pass,
    pass_all,
    threshold_pass,
)
from scaling.fitting.npmle import coverage_bounds
from scaling.fitting.passk import pass_at_k
from scaling.fitting.result import Estimand
from scaling.fitting.standard_errors import coverage_interval, mean_error, share_interval
from scaling.fitting.stopped import kaplan_meier, stopping_batch

if TYPE_CHECKING:
    from scaling.data import Sweep
    from scaling.data.outcomes import Outcomes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Measure = Literal["pass@k", "pass^k", "at-least", "attempts", "best-score"]

KIND = "scaling-passk"
SCHEMA_VERSION = "1.0"
FEW = "one problem (or cluster) says nothing of how problems differ"
BENCHMARK = "an interval for these very problems is known for pass@k alone"
STOPPED = (
    "attempts stop at the first success, so the log does not say how often more would be right"
)


@dataclass(frozen=True)
class Observed:
    """One measure at one k.

    Attributes:
        measure: `pass@k` (at least one of k right), `pass^k` (all of k), `at-least` (so many of k) or
            `attempts` (spent up to the first success, when one gives up after k), or `best-score` (the largest
            of k scores).
        k: number of attempts.
        at_least: of the measure of that name: a whole number, or a share of k below one.
        estimate: None beyond the attempts.
        se: standard error of the estimand, None where there is none.
        interval: None where there is none.
        bounds: the least and the most pass@k that the counts allow in the population, whatever the law; None where
            not asked for.
        reason: why something is missing.
    """

    measure: Measure
    k: int
    at_least: float | None
    estimate: float | None
    se: float | None = None
    interval: tuple[float, float] | None = None
    bounds: tuple[float, float] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class GroupObserved:
    """One group.

    Attributes:
        by: its columns.
        n_problems: how many.
        units: problems, or clusters where the log names them.
        attempts: the fewest and the most at any problem.
        stop_rule: of the log, None where unknown.
        estimator: `unbiased`, or `kaplan-meier` where attempts stop at the first success.
        rows: measure by measure, k by k.
        cautions: what a reader must know.
    """

    by: Mapping[str, Scalar]
    n_problems: int
    units: int
    attempts: tuple[int, int]
    stop_rule: str | None
    estimator: Literal["unbiased", "kaplan-meier"]
    rows: tuple[Observed, ...]
    cautions: tuple[Caution, ...]


@dataclass(frozen=True)
class Observation:
    """Observed pass@k of a log, by group.

    Attributes:
        estimand: `population` (new problems like these) or `benchmark` (these problems, new attempts).
        level: of intervals and bounds.
        seed: of the posterior draws behind benchmark intervals.
        groups: one each.
        data: `sha256` of the sorted sufficient statistics, `format`, `rows`; empty for bare counts.
        tool: name and version.
    """

    estimand: Estimand
    level: float
    seed: int
    groups: tuple[GroupObserved, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    tool: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {"schema_version": SCHEMA_VERSION, "kind": KIND} | asdict(self)

    def to_json(self, *, indent: int | None = 1) -> str:
        """The document as text."""
        return json.dumps(self.document(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a group, measure and k."""
        import pandas as pd

        return pd.DataFrame([{**g.by, **asdict(row)} for g in self.groups for row in g.rows])

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(
            index=False, float_format=lambda x: f"{x:.4g}", na_rep=""
        )
        return html


def observe(
    log: Sweep | Counts,
    k: ArrayLike,
    *,
    all_right: bool = False,
    at_least: Sequence[float] = (),
    attempts: bool = False,
    bounds: bool = False,
    scores: Outcomes | None = None,
    estimand: Estimand = "population",
    level: float = 0.95,
    seed: int = 0,
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    min_attempts: int | None = None,
) -> Observation:
    """pass@k and its companions from the attempts of a log.

    Means over problems of unbiased estimates; population intervals are those of `coverage_interval`, for all
    measures, with clusters as the units where the log names them. Benchmark intervals exist for pass@k alone.
    Where attempts stop at the first success, pass@k is Kaplan and Meier's, `attempts` is the area above it,
    sum_{j < k} (1 - pass@j), and the other measures are not known.

    Args:
        log: a sweep, or the counts of one group.
        k: numbers of attempts, whole, >= 1.
        all_right: also pass^k.
        at_least: also the chance that so many of k are right; below one, that share of k (G-Pass@k).
        attempts: also the expected attempts up to the first success or k.
        bounds: also the least and the most pass@k that the counts allow (`coverage_bounds`), beyond the attempts too.
        scores: of the attempts (`attempt_scores` of the same log): also the expected largest of k of them.
        estimand: `population` or `benchmark`.
        level: of intervals and bounds.
        seed: of benchmark intervals.
        by: columns that make the groups; by default those of task and model that take more than one value.
        where: column to the value to keep.
        min_attempts: leave out problems with fewer attempts.

    Raises:
        UsageError: for options out of range or that contradict each other.
        InputError: for a log without counts.
    """
    at = _whole(k)
    if not 0 < level < 1:
        raise UsageError(f"a level lies between 0 and 1, not at {level:g}; 0.95 is usual")
    for wanted in at_least:
        if not (0 < wanted < 1 or (wanted >= 1 and wanted == int(wanted))):
            raise UsageError(
                f"at least {wanted:g} of k: give a whole number from 1 on, or a share of k between 0 and 1"
            )
    groups = (
        [log]
        if isinstance(log, Counts)
        else [
            g
            for g in log.groups(by, where=where, min_attempts=min_attempts)
            if isinstance(g, Counts)
        ]
    )
    if not groups:
        raise InputError(
            "pass@k is estimated from attempts, or counts (n, c) of problems, and the sweep holds points of a curve."
        )
    measures: list[tuple[Measure, float | None]] = [("pass@k", None)]
    measures += [("pass^k", None)] * all_right
    measures += [("at-least", float(wanted)) for wanted in at_least]
    measures += [("attempts", None)] * attempts
    found = [_group(g, at, measures, bounds, estimand, level, seed) for g in groups]
    if scores is not None:
        of = Statistics(dict(scores.keys), {"n": np.diff(scores.indptr)})
        scores = scores.take(np.flatnonzero(selected(of, where)))
        best = (_best(g, at, scores, estimand, level) for g in groups)
        found = [replace(g, rows=(*g.rows, *rows)) for g, rows in zip(found, best, strict=True)]
    return Observation(
        estimand,
        level,
        seed,
        tuple(found),
        data={} if isinstance(log, Counts) else log.provenance,
        tool={"name": "scaling", "version": __version__},
    )


def _group(
    counts: Counts,
    k: IntArray,
    measures: Sequence[tuple[Measure, float | None]],
    bounds: bool,
    estimand: Estimand,
    level: float,
    seed: int,
) -> GroupObserved:
    distinct = unique_counts(counts.n, counts.c)
    batch = stopping_batch(distinct, counts.stop_rule, counts.stop_batch)
    cautions = []
    rows: list[Observed] = []
    if batch is None:
        for measure, wanted in measures:
            rows += _unbiased(counts, k, measure, wanted, estimand, level, seed)
    else:
        if estimand == "benchmark":
            raise UsageError(
                "attempts stop at the first success: Kaplan and Meier's interval is for new problems; leave out the "
                "estimand benchmark"
            )
        for measure, wanted in measures:
            rows += _stopped(counts, k, batch, measure, wanted, level)
        if counts.stop_rule in (None, "unknown"):
            text = (
                f"attempts seem to stop at the first success{f', in batches of {batch:,}' * (batch > 1)}; pass@k is "
                "Kaplan and Meier's. State stop_rule in the log (fixed, if it is not so)."
            )
            cautions.append(Caution("success-stopped", text))
    if bounds:
        ends = coverage_bounds(distinct, k, level)
        known = dict(
            zip(k.tolist(), zip(ends.low.tolist(), ends.high.tolist(), strict=True), strict=True)
        )
        rows = [
            Observed(**{**vars(row), "bounds": known[row.k]}) if row.measure == "pass@k" else row
            for row in rows
        ]
    units = len(counts.n) if counts.cluster is None else len(np.unique(counts.cluster))
    return GroupObserved(
        by=dict(counts.by),
        n_problems=len(counts.n),
        units=units,
        attempts=(int(counts.n.min()), int(counts.n.max())),
        stop_rule=counts.stop_rule,
        estimator="unbiased" if batch is None else "kaplan-meier",
        rows=tuple(rows),
        cautions=tuple(cautions),
    )


def _unbiased(
    counts: Counts,
    k: IntArray,
    measure: Measure,
    wanted: float | None,
    estimand: Estimand,
    level: float,
    seed: int,
) -> list[Observed]:
    few = len(counts.n) < 2 or (counts.cluster is not None and len(set(counts.cluster)) < 2)
    out = []
    for x in k.tolist():
        why = _missing(counts, x, wanted)
        if why:
            out.append(Observed(measure, x, wanted, None, reason=why))
            continue
        each = _each(counts, measure, x, wanted)
        mean = float(each.mean())
        if measure == "attempts" and x == 1:
            why = "the first attempt is always made"
        elif estimand == "benchmark" and measure != "pass@k":
            why = BENCHMARK
        elif estimand == "population" and few:
            why = FEW
        if why:
            out.append(Observed(measure, x, wanted, mean, reason=why))
            continue
        base, span = 0.0, 1.0
        if estimand == "benchmark":
            own = coverage_interval(counts, [x], level=level, estimand="benchmark", seed=seed)
            ends = own.se, own.low, own.high
        else:
            # Attempts lie between 1 and k, so that they are a share like the others.
            base, span = (1.0, x - 1.0) if measure == "attempts" else (0.0, 1.0)
            share = share_interval(counts, np.clip((each - base) / span, 0.0, 1.0), level)
            ends = share.se, share.low, share.high
        se, low, high = (float(part[0]) * span for part in ends)
        out.append(Observed(measure, x, wanted, mean, se, (base + low, base + high)))
    return out


def _missing(counts: Counts, k: int, wanted: float | None) -> str | None:
    fewest = int(counts.n.min())
    if k > fewest:
        enough = int((counts.n >= k).sum())
        more = (
            f"; --min-attempts {k} keeps {enough:,} of {len(counts.n):,} problems" if enough else ""
        )
        return f"some problem has only {fewest:,} attempts{more}"
    if wanted is not None and wanted > k:
        return f"more than {k} of {k} cannot be right"
    return None


def _each(counts: Counts, measure: Measure, k: int, wanted: float | None) -> FloatArray:
    """The unbiased estimate of each problem, shape (P, 1)."""
    n, c = counts.n[:, None], counts.c[:, None]
    if measure == "pass@k":
        return pass_at_k(n, c, k)
    if measure == "pass^k":
        return pass_all(n, c, k)
    if measure == "attempts":
        return expected_attempts(n, c, k)
    assert wanted is not None  # noqa: S101
    return g_pass(n, c, k, wanted) if wanted < 1 else threshold_pass(n, c, k, int(wanted))


def _stopped(
    counts: Counts,
    k: IntArray,
    batch: int,
    measure: Measure,
    wanted: float | None,
    level: float,
) -> list[Observed]:
    if measure in ("pass^k", "at-least"):
        return [Observed(measure, x, wanted, None, reason=STOPPED) for x in k.tolist()]
    if measure == "attempts":
        return [_spent(counts, x, batch) for x in k.tolist()]
    curve = kaplan_meier(counts.n, counts.c, k=k, batch=batch, cluster=counts.cluster, level=level)
    out = []
    most = int(counts.n.max())
    for x, value, se, low, high in zip(
        k.tolist(), curve.coverage, curve.se, curve.low, curve.high, strict=True
    ):
        if not np.isfinite(value):
            why = (
                f"the log goes to {most:,} attempts"
                if x > most
                else f"attempts come in batches of {batch:,}, and only their ends are known"
            )
            out.append(Observed(measure, x, wanted, None, reason=why))
            continue
        interval = (float(low), float(high)) if np.isfinite([low, high]).all() else None
        error = float(se) if np.isfinite(se) else None
        out.append(Observed(measure, x, wanted, float(value), error, interval))
    return out


def _spent(counts: Counts, cap: int, batch: int) -> Observed:
    """Attempts of a sampler that stops likewise, sum_{j < cap} (1 - coverage(j)), by whole batches."""
    if cap % batch:
        why = f"attempts come in batches of {batch:,}; ask for a multiple"
        return Observed("attempts", cap, None, None, reason=why)
    ends = np.arange(batch, cap, batch)
    coverage = kaplan_meier(counts.n, counts.c, k=ends, batch=batch).coverage if len(ends) else ends
    total = batch * (1 + float(np.sum(1 - coverage)))
    if not np.isfinite(total):
        why = f"the log goes to {int(counts.n.max()):,} attempts"
        return Observed("attempts", cap, None, None, reason=why)
    why = "no interval is computed for a log that stops at the first success"
    return Observed("attempts", cap, None, total, reason=why)


def _best(
    counts: Counts, k: IntArray, scores: Outcomes, estimand: Estimand, level: float
) -> list[Observed]:
    """The expected largest of k scores, over the group's problems that have some."""
    place = {name: i for i, name in enumerate(zip(counts.task, counts.problem, strict=True))}
    keys = {name: scores.keys[name] for name in ("task", "problem", *counts.by)}
    values: dict[int, FloatArray] = {}
    for i in range(len(scores)):
        own = {name: key.item(int(key.codes[i])) for name, key in keys.items()}
        where = place.get((str(own["task"] or ""), str(own["problem"])))
        if where is None or any(own[name] != value for name, value in counts.by.items()):
            continue
        mine = scores.bits[scores.indptr[i] : scores.indptr[i + 1]]
        values[where] = np.concatenate([values[where], mine]) if where in values else mine
    values = {i: x for i, x in sorted(values.items()) if len(x)}
    fewest = min(map(len, values.values()), default=0)
    cluster = None if counts.cluster is None else counts.cluster[list(values)]
    units = len(values) if cluster is None else len(set(cluster))
    out = []
    for x in k.tolist():
        if x > fewest:
            none = (
                f"some problem has only {fewest:,} scores" if values else "no attempt has a score"
            )
            out.append(Observed("best-score", x, None, None, reason=none))
            continue
        each = np.array([expected_maximum(v, x) for v in values.values()])
        mean = float(each.mean())
        why = BENCHMARK if estimand == "benchmark" else FEW if units < 2 else None
        if why:
            out.append(Observed("best-score", x, None, mean, reason=why))
            continue
        se, half = mean_error(each, cluster, level)
        out.append(Observed("best-score", x, None, mean, se, (mean - half, mean + half)))
    return out


def _whole(k: ArrayLike) -> IntArray:
    at = np.atleast_1d(np.asarray(k, dtype=np.float64))
    wrong = ~((at >= 1) & (at == np.floor(at)) & (at <= 2**53))
    if wrong.any() or not at.size:
        shown = f"{at[wrong][0]:g}" if at.size else "nothing"
        raise UsageError(f"k is a whole number from 1 on, not {shown}")
    return np.unique(at.astype(np.int64))
