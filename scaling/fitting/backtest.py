"""Backtest forecasters on the user's own log: fit what its first attempts would have shown, score beyond.

Each problem's counts are thinned to `cut` attempts by the hypergeometric distribution, which is what a
random choice of its attempts gives, so that no record of single attempts is needed. The forecasts of
coverage at `target` attempts are held against the unbiased pass@target of all attempts.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling._version import __version__
from scaling.data.distinct import UniqueCounts
from scaling.data.evidence import Counts, Points, Scalar
from scaling.data.groups import looks_success_stopped
from scaling.errors import InputError, UsageError
from scaling.fitting import passk
from scaling.fitting.backtest_ranking import Runs, ranking
from scaling.fitting.backtest_result import Backtest, GroupBacktest
from scaling.fitting.backtest_scores import attainable, scores_of, truth_sd
from scaling.fitting.plan import Progress
from scaling.fitting.rivals import Band, Logs, Rival, rival

if TYPE_CHECKING:
    from scaling.data import Sweep

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEWEST_SOLVED = 2
_CELLS = 10_000_000  # runs x replicates x distinct counts at one time


def backtest(
    log: Sweep | Counts,
    laws: Sequence[str],
    cut: int,
    target: int | Sequence[int],
    *,
    thinnings: int = 20,
    level: float = 0.95,
    replicates: int = 200,
    seed: int = 0,
    by: Sequence[str] | None = None,
    bins: Mapping[str, Any] | None = None,
    where: Mapping[str, Any] | None = None,
    min_attempts: int | None = None,
    progress: Progress | None = None,
) -> Backtest:
    """Score forecasters of coverage on thinned copies of a log.

    The truth is pass@K of these problems, estimated without bias from all their attempts. With K = n it
    is the share solved, one draw: given the success rates it has a standard deviation of its own
    (`Attainable.truth_sd`), and no forecaster can be expected to come closer than that allows. All
    thinnings share this truth, so that averaging over them does not reduce it. Forecasts see part of the
    attempts that make the truth, as they do in use: the problems are the same.

    A problem needs more than `cut` attempts. Counts that grew adaptively are thinned as if their number
    of attempts had been fixed; logs stopped at the first success are refused, as no thinning of them is
    a shorter log of the same kind.

    Args:
        log: a sweep, or the counts of one group.
        laws: names of forecasters (`scaling.fitting.rivals.rivals`).
        cut: attempts a forecaster sees at each problem.
        target: the K at which it is scored, or several.
        thinnings: random choices of the attempts that are seen.
        level: of the intervals. Curves and count laws get percentiles of a bootstrap over problems (or
            clusters), a forecaster with intervals of its own is scored by those.
        replicates: of the bootstrap; 0 for no such intervals.
        seed: the same seed gives the same result, whatever other groups and forecasters there are.
        by: columns whose values make the groups; by default those of task and model that take more than one.
        bins: column to cut points, or to a number of quantile bins.
        where: column to the value to keep.
        min_attempts: leave out problems with fewer attempts.
        progress: called with the share of the work done.

    Raises:
        UsageError: for names and numbers that do not fit together or the log.
        InputError: for a log without counts, or stopped at the first success.
    """
    chosen, targets = _checked(laws, cut, target, thinnings, level, replicates, seed)
    groups: Iterable[Counts | Points] = (
        (log,)
        if isinstance(log, Counts)
        else log.groups(by, bins=bins, where=where, min_attempts=min_attempts)
    )
    evidence = [g for g in groups if isinstance(g, Counts)]
    if not evidence:
        raise InputError(
            "a backtest thins the attempts of problems, and the sweep holds points of a curve; give "
            "attempts, or counts (n, c) of problems."
        )
    refusals = [_refusal(g, cut, max(targets)) for g in evidence]
    if all(refusals):
        error, text = next(r for r in refusals if r)
        raise error(text)
    report = progress or (lambda _: None)
    setting = _Setting(chosen, cut, targets, thinnings, level, replicates, seed)
    scored, runs = [], []
    for i, (group, refused) in enumerate(zip(evidence, refusals, strict=True)):
        if refused:
            scored.append(_empty(group, cut, refused[1]))
            continue
        found, errors = _group(setting, group, lambda x, i=i: report((i + x) / len(evidence)))  # type: ignore[misc]
        scored.append(found)
        if errors is not None:
            runs.append(errors)
        report((i + 1) / len(evidence))
    return Backtest(
        laws=tuple(r.name for r in chosen),
        cut=cut,
        targets=targets,
        thinnings=thinnings,
        level=level,
        replicates=replicates,
        seed=seed,
        groups=tuple(scored),
        ranking=ranking([r.name for r in chosen], targets, runs, level=level, seed=seed),
        data={} if isinstance(log, Counts) else log.provenance,
        tool={"name": "scaling", "version": __version__},
    )


class _Setting(NamedTuple):
    laws: tuple[Rival, ...]
    cut: int
    targets: tuple[int, ...]
    thinnings: int
    level: float
    replicates: int
    seed: int

    def rng(self, by: Mapping[str, Scalar]) -> np.random.Generator:
        # Seeded by the group too, so that its runs do not depend on which other groups there are.
        label = json.dumps(dict(by), sort_keys=True).encode()
        return np.random.default_rng([self.seed, zlib.crc32(label)])


def _checked(
    laws: Sequence[str],
    cut: int,
    target: int | Sequence[int],
    thinnings: int,
    level: float,
    replicates: int,
    seed: int,
) -> tuple[tuple[Rival, ...], tuple[int, ...]]:
    chosen = tuple({found.name: found for found in map(rival, laws)}.values())
    if not chosen:
        raise UsageError("a backtest needs at least one forecaster, for example brown.")
    for number in (cut, *np.atleast_1d(target)):
        if number != int(number):
            raise UsageError(f"numbers of attempts are whole, and {number:g} is not.")
    targets = tuple(sorted({int(t) for t in np.atleast_1d(target)}))
    if cut < 2:
        raise UsageError(f"the cut is {cut}; a forecast needs at least 2 attempts at each problem.")
    if not targets or targets[0] <= cut:
        shown = targets[0] if targets else "missing"
        raise UsageError(
            f"the target is {shown} and the cut {cut}: a backtest forecasts beyond what it sees. Give a "
            f"target above {cut}, or a smaller cut."
        )
    if not 1 <= thinnings <= 10_000:
        raise UsageError(f"thinnings must be between 1 and 10,000, not {thinnings}; 20 are usual.")
    if replicates and not 40 <= replicates <= 100_000:
        raise UsageError(
            f"replicates must be 0 (no bootstrap intervals) or between 40 and 100,000, not {replicates}."
        )
    if not 0 < level < 1:
        raise UsageError(
            f"the level of an interval lies between 0 and 1, not at {level:g}; 0.95 is usual."
        )
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"the seed must be a whole number from 0 on, not {seed}.")
    return chosen, targets


def _refusal(
    group: Counts, cut: int, target: int
) -> tuple[type[InputError | UsageError], str] | None:
    """Why this group cannot be backtested, or None."""
    where = ", ".join(f"{k}={v}" for k, v in group.by.items()) or "the log"
    if group.stop_rule in ("until_success", "until_success_batched") or (
        group.stop_rule in (None, "unknown") and looks_success_stopped(group)
    ):
        return InputError, (
            f"{where}: attempts stop{'' if group.stop_rule else ' (so it looks)'} at the first success, so "
            "how many there are depends on their results: thinned counts are not those of a shorter log, and "
            "pass@k is not unbiased. Fit a count law instead; a backtest needs a fixed number of attempts."
        )
    most = int(group.n.max())
    if most <= cut:
        return UsageError, (
            f"{where}: the cut is {cut:,} and no problem has more than {most:,} attempts, so nothing is left "
            f"to score. The largest possible cut is {most - 1:,}; a tenth of the attempts is usual."
        )
    fewest = int(group.n[group.n > cut].min())
    if target > fewest:
        enough = int((group.n >= target).sum())
        more = (
            f"; or leave out problems with fewer by --min-attempts {target} ({enough:,} of {len(group.n):,} "
            "remain)"
            if enough
            else ""
        )
        return UsageError, (
            f"{where}: the target is {target:,} and some problem has {fewest:,} attempts: pass@k beyond "
            f"the attempts has no unbiased estimate. The largest possible target is {fewest:,}{more}."
        )
    return None


def _empty(group: Counts, cut: int, reason: str) -> GroupBacktest:
    kept = int((group.n > cut).sum())
    return GroupBacktest(group.by, kept, len(group.n) - kept, 0, 0, reason, (), ())


def _group(setting: _Setting, group: Counts, report: Progress) -> tuple[GroupBacktest, Runs | None]:
    cut, k = setting.cut, np.array(setting.targets)
    kept = group.n > cut
    n, c = group.n[kept], group.c[kept]
    problems = len(n)
    rng = setting.rng(group.by)
    seen = rng.hypergeometric(c, n - c, cut, size=(setting.thinnings, problems))
    seen = seen[(seen > 0).sum(axis=1) >= FEWEST_SOLVED]
    dropped = setting.thinnings - len(seen)
    if not len(seen):
        reason = (
            f"fewer than {FEWEST_SOLVED} of {problems} problems are solved within {cut:,} attempts, in every "
            "thinning: no forecast can be made of them. A larger cut would show more."
        )
        out = _empty(group, cut, reason)
        return GroupBacktest(**{**vars(out), "runs_dropped": dropped}), None
    truth = passk.coverage(n, c, k)
    cluster = None if group.cluster is None else group.cluster[kept]
    logs, places = _logs(seen, cut)
    noise = truth_sd(n, c, k, rng)
    targets = attainable(logs, k, truth, noise, setting.seed)
    parts: list[list[Band]] = [[] for _ in setting.laws]
    rows = max(1, _CELLS // (max(1, setting.replicates) * len(logs.counts.n)))
    blocks = range(0, len(seen), rows)
    for b, first in enumerate(blocks):
        part = Logs(logs.counts, logs.weights[first : first + rows])
        resamples = _resamples(part, places[first : first + rows], cluster, setting.replicates, rng)
        for i, law in enumerate(setting.laws):
            parts[i].append(
                law.run(part, k.astype(np.float64), resamples, setting.level, setting.seed)
            )
            report((b + (i + 1) / len(setting.laws)) / len(blocks))
    bands = [_joined(part) for part in parts]
    scores = [
        score
        for law, band in zip(setting.laws, bands, strict=True)
        for score in scores_of(law.name, band, k, truth, setting.level, problems)
    ]
    errors = [band.estimate - truth for band in bands]
    scored = GroupBacktest(
        group.by,
        problems,
        len(group.n) - problems,
        len(seen),
        dropped,
        None,
        targets,
        tuple(scores),
    )
    return scored, Runs(np.stack(errors), noise)


def _joined(parts: Sequence[Band]) -> Band:
    low, high = (
        None if parts[0].low is None else np.concatenate([x for x in ends if x is not None])
        for ends in ([p.low for p in parts], [p.high for p in parts])
    )
    return Band(np.concatenate([p.estimate for p in parts]), low, high)


def _logs(seen: IntArray, cut: int) -> tuple[Logs, IntArray]:
    """Successes (R, P) as logs, and where each problem's count stands among the distinct ones (R, P)."""
    distinct, places = np.unique(seen, return_inverse=True)
    places = places.reshape(seen.shape)
    weights = np.stack([np.bincount(row, minlength=len(distinct)) for row in places]).astype(float)
    counts = UniqueCounts(
        np.full(len(distinct), cut), distinct.astype(np.int64), weights.sum(axis=0).astype(np.int64)
    )
    return Logs(counts, weights), places


def _resamples(
    logs: Logs,
    places: IntArray,
    cluster: NDArray[np.str_] | None,
    replicates: int,
    rng: np.random.Generator,
) -> FloatArray | None:
    """Weights of resampled problems, or of resampled whole clusters, shape (R, B, U)."""
    if not replicates:
        return None
    problems = places.shape[1]
    if cluster is None:
        drawn = [rng.multinomial(problems, w / problems, size=replicates) for w in logs.weights]
        return np.stack(drawn).astype(np.float64)
    names, units = np.unique(cluster, return_inverse=True)
    out = np.zeros((len(places), replicates, logs.weights.shape[1]))
    even = np.full(len(names), 1 / len(names))
    for row, place in enumerate(places):
        table = np.zeros((len(names), out.shape[2]))
        np.add.at(table, (units, place), 1.0)
        out[row] = rng.multinomial(len(names), even, size=replicates) @ table
    return out
