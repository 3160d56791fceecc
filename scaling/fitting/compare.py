"""Two models on the same problems, or two laws on the same data, with the difference's own uncertainty.

Problems are hard for both models alike, so that most of what makes each coverage uncertain drops out of their
difference. Problems are therefore matched by name and resampled together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.caution import Caution
from scaling.data.evidence import Scalar
from scaling.errors import InputError, UsageError
from scaling.fitting.comparison import Comparison, GroupComparison, ParameterRow, Row
from scaling.fitting.pairing import Side, match_problems, pair_groups, sides_of
from scaling.fitting.resampled import Curves
from scaling.fitting.result import FitResult

if TYPE_CHECKING:
    from scaling.data.sweep import Sweep

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Progress = Callable[[float], None]

FEW_PROBLEMS = 20
CRITERIA = ("held_out_mae", "aic", "bic", "log_likelihood")
_BLOCK = 2_000_000  # cells (replicates x distinct counts) resampled together
_DEFAULT_K = (1, 10, 100)
_FARTHEST = 1e6  # times k: where equal coverage is sought by a law
_FAR_POINTS = 200
_MOST_DROPPED = 0.5  # of the replicates


def compare(
    a: FitResult | Sweep,
    b: FitResult | Sweep,
    *,
    k: ArrayLike | None = None,
    by: Sequence[str] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two models on the problems that both attempted, or two laws fitted to the same counts.

    Problems are matched by task and name, and resampled together (whole clusters, where a sweep names them).
    Within the attempts of both, coverage is the unbiased estimate; beyond, both laws are fitted anew to each joint
    resample, and so are their parameters. With equal counts on both sides two laws are compared, at every k.

    Groups are paired by their columns; where none agree in all, by those that are no action (model and knobs), so
    that a fit of one model is held against a fit of another.

    Args:
        a: a fit, or a sweep without a law.
        b: another.
        k: numbers of samples; by default 1, 10, 100 and the most that both have evidence for.
        by: columns that make the groups of a sweep, as in `fit`.
        replicates: joint resamples.
        seed: of the resampling.
        level: of the intervals.
        progress: called with the share of the work done.

    Raises:
        UsageError: for options out of range, or groups that cannot be paired.
        InputError: for evidence without counts of problems, or without a problem in common.
    """
    if not 0 < level < 1:
        raise UsageError(f"a level lies between 0 and 1, not at {level:g}; 0.95 is usual")
    if not (isinstance(replicates, int | np.integer) and 40 <= replicates <= 1_000_000):
        raise UsageError(
            f"replicates must be between 40 and 1,000,000, not {replicates}; 1,000 is usual"
        )
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise UsageError(f"the seed must be a whole number from 0 on, not {seed}")
    at = None if k is None else _whole(k)
    report = progress or (lambda _: None)
    pairs, only_a, only_b = pair_groups(sides_of(a, by, "a"), sides_of(b, by, "b"))
    joined = [(columns, x, y, match_problems(x, y)) for columns, x, y in pairs]
    if not any(len(rows) for *_, (rows, _) in joined):
        x, y = pairs[0][1:]
        raise InputError(
            f"no problem is in both: {x.label} has task '{x.task[0]}', problem '{x.problem[0]}', for example, and "
            f"{y.label} has task '{y.task[0]}', problem '{y.problem[0]}'. A comparison is of the same problems; name "
            "them alike in both logs."
        )
    groups = []
    for i, (columns, x, y, rows) in enumerate(joined):
        done: Progress = partial(_part, report, i, len(joined))
        spec = _Spec(at, int(replicates), int(seed), level, done)
        groups.append(_compare(columns, x, y, *rows, spec))
        report((i + 1) / len(joined))
    return Comparison(
        level,
        int(replicates),
        int(seed),
        tuple(groups),
        tuple(s.label for s in only_a),
        tuple(s.label for s in only_b),
    )


def _part(report: Progress, i: int, of: int, share: float) -> None:
    report((i + share) / of)


class _Spec(NamedTuple):
    k: IntArray | None
    replicates: int
    seed: int
    level: float
    progress: Progress


class _Statistics(NamedTuple):
    """Of R resamples; NaN where there is no value."""

    counts: FloatArray  # (2, R, K)
    ratio: FloatArray  # (R, K)
    law: FloatArray  # (2, R, K)
    law_ratio: FloatArray  # (R, K)
    params: list[FloatArray]  # of each side with a law, (R, p)


def _joined(parts: list[_Statistics]) -> _Statistics:
    return _Statistics(
        np.concatenate([p.counts for p in parts], axis=1),
        np.concatenate([p.ratio for p in parts]),
        np.concatenate([p.law for p in parts], axis=1),
        np.concatenate([p.law_ratio for p in parts]),
        [np.concatenate(x) for x in zip(*(p.params for p in parts), strict=True)],
    )


def _compare(
    by: Mapping[str, Scalar], a: Side, b: Side, in_a: IntArray, in_b: IntArray, spec: _Spec
) -> GroupComparison:
    same = (
        a.group is not None
        and b.group is not None
        and len(in_a) == len(a.n) == len(b.n)
        and np.array_equal(a.n[in_a], b.n[in_b])
        and np.array_equal(a.c[in_a], b.c[in_b])
    )
    cautions: list[Caution] = []
    rows: list[Row] = []
    params: tuple[ParameterRow, ...] = ()
    if not len(in_a):
        cautions.append(Caution("no-shared-problems", "no problem of this group is in both."))
    else:
        sides = Curves(a, in_a), Curves(b, in_b)
        rows, params = _rows(*sides, in_a, same, spec, cautions)
    return GroupComparison(
        by=dict(by),
        a=a.label if not same else _law_of(a),
        b=b.label if not same else _law_of(b),
        same_data=same,
        matched=len(in_a),
        only_a=len(a.n) - len(in_a),
        only_b=len(b.n) - len(in_b),
        rows=tuple(rows),
        params=params,
        criteria=_criteria(a, b, same, cautions),
        cautions=tuple(cautions),
    )


def _law_of(side: Side) -> str:
    return side.label if side.group is None else f"{side.group.law} by {side.objective}"


def _criteria(
    a: Side, b: Side, same: bool, cautions: list[Caution]
) -> dict[str, tuple[float | None, float | None]]:
    if not same or a.group is None or b.group is None:
        return {}
    found = {x: (a.group.fit.get(x), b.group.fit.get(x)) for x in CRITERIA}
    likelihoods = [
        side.objective for side in (a, b) if side.group and side.group.fit.get("aic") is not None
    ]
    if len(set(likelihoods)) > 1:
        text = (
            "the two fits have different objectives, so that AIC, BIC and log-likelihood cannot be compared; held-out "
            "error can."
        )
        cautions.append(Caution("objectives-differ", text))
    return found


def _rows(
    a: Curves, b: Curves, in_a: IntArray, same: bool, spec: _Spec, cautions: list[Caution]
) -> tuple[list[Row], tuple[ParameterRow, ...]]:
    reach = min(a.reach, b.reach)
    k = spec.k
    if k is None:
        k = np.array(sorted({x for x in _DEFAULT_K if x < reach} | {reach}))
    joint, place, multiplicity = np.unique(
        np.stack([a.place, b.place], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    rng = np.random.default_rng([spec.seed, 2])
    cluster = a.side.cluster if a.side.cluster is not None else b.side.cluster
    table = None
    if a.side.cluster is not None:
        _, unit = np.unique(a.side.cluster[in_a], return_inverse=True)
        table = np.zeros((int(unit.max()) + 1, len(joint)))
        np.add.at(table, (unit, place.ravel()), 1.0)
    elif cluster is not None:
        text = "only one of the two names clusters; problems were resampled one by one."
        cautions.append(Caution("clusters-ignored", text))
    units = int(multiplicity.sum()) if table is None else len(table)
    what = "problems" if table is None else "clusters"
    if units < FEW_PROBLEMS:
        text = f"intervals from only {units} matched {what} tend to be too narrow."
        cautions.append(Caution("few-problems", text))

    far = _FARTHEST * k.max() if k.max() < 2**53 / _FARTHEST else 2.0**53
    beyond = np.unique(np.geomspace(1, far, _FAR_POINTS).astype(np.int64))

    def measure(w: FloatArray) -> _Statistics:
        weights = a.weights(w, joint[:, 0]), b.weights(w, joint[:, 1])
        observed = np.stack([s.by_counts(x, k) for s, x in zip((a, b), weights, strict=True)])
        ratio = _samples_for(b.by_counts(weights[1], b.grid), b.grid, observed[0]) / k
        law, law_ratio = np.full(observed.shape, np.nan), np.full(ratio.shape, np.nan)
        params = []
        for i, (side, x) in enumerate(zip((a, b), weights, strict=True)):
            if side.law is None or side.refit is None:
                continue
            theta, fitted = side.refit(x)
            params.append(np.where(fitted[:, None], theta, np.nan))
            column = side.law.inputs[0].column
            law[i, fitted] = side.law.value(theta[fitted], {column: k})
            if i == 1 and len(params) == 2 and fitted.any():
                curves = side.law.value(theta[fitted], {column: beyond})
                law_ratio[fitted] = _samples_for(curves, beyond, law[0, fitted]) / k
        return _Statistics(observed, ratio, law, law_ratio, params)

    centre = measure(multiplicity[None].astype(float))
    parts = []
    block = max(1, _BLOCK // max(len(joint), 1))
    for done in range(0, spec.replicates if units > 1 else 0, block):
        size = min(block, spec.replicates - done)
        if table is None:
            w = rng.multinomial(units, multiplicity / units, size=size).astype(float)
        else:
            w = rng.multinomial(units, np.full(units, 1 / units), size=size) @ table
        parts.append(measure(w))
        spec.progress((done + size) / spec.replicates)
    drawn = _joined(parts) if parts else None
    rows = [_row(int(x), i, centre, drawn, same, reach, spec.level) for i, x in enumerate(k)]
    found = [row for row in rows if row is not None]
    if len(found) < len(rows):
        missing = ", ".join(str(x) for x, row in zip(k, rows, strict=True) if row is None)
        text = (
            f"at {missing} samples nothing can be said: there are {reach:,} attempts at each matched problem, and no "
            "law was fitted to both that could go beyond."
        )
        cautions.append(Caution("beyond-the-counts", text))
    if any(row.extrapolated for row in found):
        text = (
            f"beyond {reach:,} attempts the laws answer; the intervals hold only if both laws do."
        )
        cautions.append(Caution("extrapolated", text))
    return found, _params(a, b, same, centre, drawn, spec.level)


def _row(
    k: int,
    i: int,
    centre: _Statistics,
    drawn: _Statistics | None,
    same: bool,
    reach: int,
    level: float,
) -> Row | None:
    counted = not same and bool(np.isfinite(centre.counts[:, 0, i]).all())
    source: Literal["counts", "law"] = "counts" if counted else "law"

    def of(s: _Statistics) -> tuple[FloatArray, FloatArray]:
        values = s.counts if counted else s.law
        return values[:, :, i], (s.ratio if counted else s.law_ratio)[:, i]

    values, ratio = of(centre)
    x, y = float(values[0, 0]), float(values[1, 0])
    if not (np.isfinite(x) and np.isfinite(y)):
        return None
    interval = probability = ratio_interval = reason = None
    if drawn is None:
        reason = "one problem gives no interval"
    else:
        both, ratios = of(drawn)
        difference = both[0] - both[1]
        known = np.isfinite(difference)
        if known.mean() < 1 - _MOST_DROPPED:
            reason = "too few resamples had a fit to make an interval of them"
        else:
            difference = difference[known]
            interval = _quantiles(difference, level)
            probability = float(np.mean(difference > 0) + np.mean(difference == 0) / 2)
            ratio_interval = _quantiles(ratios[~np.isnan(ratios)], level)
            if interval is None:
                reason = "all problems agree, so that resampling them shows no error"
    found = float(ratio[0])
    observed = float(centre.counts[0, 0, i])
    return Row(
        samples=k,
        a=x,
        b=y,
        difference=x - y,
        interval=interval,
        probability=probability,
        ratio=found if np.isfinite(found) else None,
        ratio_interval=ratio_interval if np.isfinite(found) else None,
        source=source,
        extrapolated=k > reach,
        observed=observed if same and np.isfinite(observed) else None,
        reason=reason,
    )


def _params(
    a: Curves,
    b: Curves,
    same: bool,
    centre: _Statistics,
    drawn: _Statistics | None,
    level: float,
) -> tuple[ParameterRow, ...]:
    if same or a.law is None or a.law is not b.law or len(centre.params) < 2:
        return ()
    out = []
    for i, name in enumerate(a.law.names):
        x, y = (float(theta[0, i]) for theta in centre.params)
        if not (np.isfinite(x) and np.isfinite(y)):
            continue
        interval = None
        if drawn is not None:
            difference = drawn.params[0][:, i] - drawn.params[1][:, i]
            known = np.isfinite(difference)
            if known.mean() >= 1 - _MOST_DROPPED:
                interval = _quantiles(difference[known], level)
        out.append(ParameterRow(name, x, y, x - y, interval))
    return tuple(out)


def _samples_for(values: FloatArray, grid: IntArray, targets: FloatArray) -> FloatArray:
    """Samples, not whole, at which curves (R, G) reach targets (R, K); infinite beyond the grid."""
    rising = np.maximum.accumulate(np.where(np.isnan(values), -np.inf, values), axis=1)
    out, log_k = np.empty(targets.shape), np.log(grid)
    for r, row in enumerate(rising):
        at = np.searchsorted(row, targets[r], side="left")
        high, low = np.minimum(at, len(row) - 1), np.clip(at - 1, 0, len(row) - 1)
        with np.errstate(invalid="ignore"):
            rise = row[high] - row[low]
            share = np.divide(targets[r] - row[low], rise, out=np.ones_like(rise), where=rise > 0)
        found = np.exp(log_k[low] + np.clip(share, 0, 1) * (log_k[high] - log_k[low]))
        out[r] = np.where(at == len(row), np.inf, np.where(at == 0, grid[0], found))
    return np.where(np.isnan(targets), np.nan, out)


def _quantiles(draws: FloatArray, level: float) -> tuple[float, float] | None:
    # By rank, so that infinite draws (beyond reach) do not turn the ends into NaN.
    if not len(draws):
        return None
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return (
        (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) and low < high else None
    )


def _whole(k: ArrayLike) -> IntArray:
    at = np.atleast_1d(np.asarray(k, dtype=np.float64))
    wrong = ~((at >= 1) & (at == np.floor(at)) & (at <= 2**53))
    if wrong.any() or not at.size:
        shown = f"{at[wrong][0]:g}" if at.size else "nothing"
        raise UsageError(f"samples are whole numbers from 1 on, not {shown}")
    return at.astype(np.int64)
