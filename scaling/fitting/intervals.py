"""Uncertainty from problems: the bootstrap over problems or clusters, and held-out error."""

from __future__ import annotations

import json
import zlib

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.data.evidence import Counts
from scaling.fitting import passk, stopped
from scaling.fitting.plan import LeftOut, Plan, Refit, Replicates

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FEW_PROBLEMS = 20
FEW_SOLVED = 3
FOLDS = 5
_BLOCK = 4_000_000  # cells (replicates x distinct counts) resampled together


def _rng(plan: Plan, evidence: Counts) -> np.random.Generator:
    # Seeded by the group too, so that its replicates do not depend on which other groups there are.
    label = json.dumps(dict(evidence.by), sort_keys=True).encode()
    return np.random.default_rng([plan.interval.seed, zlib.crc32(label)])


def _units(evidence: Counts) -> IntArray:
    # For each problem, the number of its cluster; without clusters each is its own.
    if evidence.cluster is None:
        return np.arange(len(evidence.n))
    return np.unique(evidence.cluster, return_inverse=True)[1]


def _tabulate(rows: IntArray, evidence: Counts, counts: passk.UniqueCounts) -> FloatArray:
    # How many problems of each row have each of the distinct counts.
    table = np.zeros((int(rows.max()) + 1, len(counts.n)))
    np.add.at(table, (rows, counts.place(evidence.n, evidence.c)), 1.0)
    return table


def bootstrap(
    plan: Plan,
    evidence: Counts,
    counts: passk.UniqueCounts,
    refit: Refit,
) -> tuple[Replicates | None, list[Caution]]:
    """Refit resamples of the problems, or of whole clusters where the log names them.

    Problems with the same counts are interchangeable, so that a resample is a multinomial over the
    distinct counts.

    Returns:
        The replicates that have a fit, None where too few have; and what a reader must know.
    """
    table = None if evidence.cluster is None else _tabulate(_units(evidence), evidence, counts)
    units = len(evidence.n) if table is None else len(table)
    what = "problems" if table is None else "clusters"
    if units < 2:
        text = f"one {what[:-1]} gives no interval: uncertainty comes from how {what} differ."
        return None, [Caution("few-problems", text)]
    solved = int((evidence.c > 0).sum())
    if solved < FEW_SOLVED:
        text = f"only {solved} problem{'s were' * (solved != 1) or ' was'} solved: too few for an interval."
        return None, [Caution("few-solved", text)]
    cautions = []
    if units < FEW_PROBLEMS:
        text = f"percentile intervals from only {units} {what} tend to be too narrow."
        cautions.append(Caution("few-problems", text))
    rng, replicates = _rng(plan, evidence), plan.interval.replicates
    block = max(1, _BLOCK // len(counts.n))
    kept = []
    for done in range(0, replicates, block):
        size = min(block, replicates - done)
        if table is None:
            weights = rng.multinomial(units, counts.multiplicity / units, size=size).astype(float)
        else:
            weights = rng.multinomial(units, np.full(units, 1 / units), size=size) @ table
        kept.append(refit(weights))
        plan.progress((done + size) / replicates)
    fitted = np.concatenate([part.fitted for part in kept])
    draws = Replicates(
        np.concatenate([part.coordinates for part in kept])[fitted],
        fitted[fitted],
        np.concatenate([part.unbounded for part in kept])[fitted],
    )
    share = 1 - fitted.mean()
    if share > 0:
        text = f"{share:.1%} of the replicates had no fit (for example no solved problem) and were left out."
        cautions.append(Caution("replicates-dropped", text))
        if share > 0.5:
            cautions.append(
                Caution("few-solved", "too few replicates had a fit to make an interval of them.")
            )
            return None, cautions
    return draws, cautions


def leave_one_out(evidence: Counts, counts: passk.UniqueCounts, refit: Refit) -> LeftOut | None:
    """Refits without each of the problems in turn, or without each cluster; None with fewer than three.

    Problems with the same counts have the same refit.
    """
    taken = None
    multiplicity = counts.multiplicity.astype(float)
    if evidence.cluster is not None:
        table = _tabulate(_units(evidence), evidence, counts)
        taken, times = np.unique(table, axis=0, return_counts=True)
        multiplicity = times.astype(float)
    if multiplicity.sum() < 3:
        return None
    rows, distinct = len(multiplicity), len(counts.n)
    block = max(1, _BLOCK // distinct)
    parts = []
    for i in range(0, rows, block):
        size = min(block, rows - i)
        gone = np.eye(size, distinct, k=i) if taken is None else taken[i : i + size]
        parts.append(refit(counts.multiplicity - gone))
    kept = np.concatenate([part.fitted & ~part.unbounded.any(axis=1) for part in parts])
    coordinates = np.concatenate([part.coordinates for part in parts])
    return LeftOut(coordinates[kept], multiplicity[kept])


def bca_interval(
    draws: FloatArray, estimate: float, left_out: FloatArray, multiplicity: FloatArray, level: float
) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval (Efron 1987).

    The ends are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the replicates, at z = Phi^-1((1 -+ level)
    / 2). The bias correction z0 is Phi^-1 of the share of replicates below the estimate; the acceleration is
    a = sum (m - t_i)^3 / (6 (sum (m - t_i)^2)^1.5) over the jackknife values t_i with mean m.

    Args:
        draws: replicates, shape (R,); infinite ones keep their place in the order.
        estimate: from all the data.
        left_out: jackknife values, shape (U,).
        multiplicity: of each jackknife value, shape (U,).
        level: for example 0.95.
    """
    from scipy.special import ndtr, ndtri

    below = (draws < estimate).mean() + 0.5 * (draws == estimate).mean()
    least = 0.5 / len(draws)
    z0 = ndtri(min(max(below, least), 1 - least))
    gap = np.average(left_out, weights=multiplicity) - left_out
    spread = float(multiplicity @ gap**2)
    a = float(multiplicity @ gap**3) / (6 * spread**1.5) if spread > 0 else 0.0
    z = z0 + ndtri([(1 - level) / 2, (1 + level) / 2])
    low, high = np.quantile(draws, ndtr(z0 + z / (1 - a * z)), method="inverted_cdf")
    return float(low), float(high)


def jackknife_error(left_out: FloatArray, multiplicity: FloatArray) -> float:
    """Standard error from values with one unit left out: sqrt((N - 1) / N * sum (t_i - mean)^2)."""
    units = float(multiplicity.sum())
    gap = left_out - np.average(left_out, weights=multiplicity)
    return float(np.sqrt((units - 1) / units * (multiplicity @ gap**2)))


def held_out(
    plan: Plan, evidence: Counts, counts: passk.UniqueCounts, batch: int | None, refit: Refit
) -> float | None:
    """Mean absolute error on problems left out, over five folds in which clusters stay whole.

    `batch` is that of a log that stops at the first success (`stopped.stopping_batch`).
    """
    unit = _units(evidence)
    if unit.max() + 1 < 2 * FOLDS:
        return None
    rng = np.random.default_rng([plan.interval.seed, FOLDS])
    left_out = _tabulate((rng.permutation(unit.max() + 1) % FOLDS)[unit], evidence, counts)
    coordinates, fitted_all, _ = refit(counts.multiplicity - left_out)
    if not fitted_all.all():
        return None
    k = stopped.error_grid(counts, batch)
    observed = stopped.curve(counts, k, left_out / left_out.sum(axis=1, keepdims=True), batch)
    fitted = plan.law.value(plan.law.bound(coordinates), {plan.law.inputs[0].column: k})
    return float(np.nanmean(np.abs(fitted - observed)))
