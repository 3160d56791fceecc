"""Uncertainty from problems: the bootstrap over problems or clusters, and held-out error."""

from __future__ import annotations

import json
import zlib

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.data.evidence import Counts
from scaling.fitting import passk
from scaling.fitting.plan import Plan, Refit, Replicates

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


def held_out(
    plan: Plan, evidence: Counts, counts: passk.UniqueCounts, refit: Refit
) -> float | None:
    """Mean absolute error on problems left out, over five folds in which clusters stay whole."""
    unit = _units(evidence)
    if unit.max() + 1 < 2 * FOLDS:
        return None
    rng = np.random.default_rng([plan.interval.seed, FOLDS])
    left_out = _tabulate((rng.permutation(unit.max() + 1) % FOLDS)[unit], evidence, counts)
    coordinates, fitted_all, _ = refit(counts.multiplicity - left_out)
    if not fitted_all.all():
        return None
    k = passk.error_grid(int(counts.n.min()))
    observed = passk.curve(counts, k, left_out / left_out.sum(axis=1, keepdims=True))
    fitted = plan.law.value(plan.law.bound(coordinates), {plan.law.inputs[0].column: k})
    return float(np.abs(fitted - observed).mean())
