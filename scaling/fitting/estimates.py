"""Estimates with their intervals, in the law's own parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.core.law import Law
from scaling.fitting.intervals import bca_interval, jackknife_error
from scaling.fitting.least_squares import FLOOR
from scaling.fitting.likelihood import farthest
from scaling.fitting.plan import Core, Plan, Replicates
from scaling.fitting.result import Estimate

FloatArray = NDArray[np.float64]

_LARGE = 1e4  # beyond this, a derived quantity of a replicate that ran off has run off with it


def estimates(
    plan: Plan, core: Core, theta: FloatArray, cautions: list[Caution]
) -> dict[str, Estimate]:
    """Parameters and derived quantities with their intervals; adds to `cautions` what they show."""
    law = plan.law
    assert core.coordinates is not None  # noqa: S101
    values = _named(law, theta[None])
    samples = {} if core.draws is None else _samples(plan, core.draws)
    left_out = None
    if core.left_out is not None and len(core.left_out.coordinates):
        left_out = _named(law, law.bound(core.left_out.coordinates))
    at_end = np.abs(core.coordinates) >= _farthest(plan) - 1e-6
    out = {}
    for i, name in enumerate(values):
        value = float(values[name][0])
        at_bound = i < len(law.names) and bool(at_end[i])
        ends, se = None, None
        if name in samples:
            draws = samples[name]
            ends = _by_replicates(
                plan, core, value, draws, None if left_out is None else left_out[name]
            )
            if np.isfinite(draws).all() and np.isfinite(ends).all() and ends[0] < ends[1]:
                # Where a few replicates ran off, the spread is in the interval, not in their mean square.
                spread = float(draws.std())
                se = spread if spread <= ends[1] - ends[0] else None
        if name in core.ends and plan.interval.method != "none":
            bound = law.params[i].support.bound
            low, high = core.ends[name]
            ends = (
                float(bound(low)) if np.isfinite(low) else low,
                float(bound(high)) if np.isfinite(high) else high,
            )
            ends = ends if ends[0] <= ends[1] else ends[::-1]
        elif (
            plan.interval.method == "jackknife"
            and left_out is not None
            and core.left_out is not None
        ):
            se = jackknife_error(left_out[name], core.left_out.multiplicity)
            if not at_bound:
                ends = _around(plan, core, i, value, left_out[name])
        interval = None
        if ends is not None and not np.isfinite(ends).all():
            cautions.append(_open(name, *ends))
        elif ends is not None and ends[0] < ends[1]:
            interval = ends
        if at_bound:
            cautions.append(Caution("at-bound", _at_bound(law, i, value)))
        out[name] = Estimate(value if np.isfinite(value) else None, interval, se, at_bound)
    return out


def _named(law: Law, theta: FloatArray) -> dict[str, FloatArray]:
    """Parameters and derived quantities by name, each of shape (R,)."""
    return dict(zip(law.names, theta.T, strict=True)) | law.derive(theta)


def _samples(plan: Plan, replicates: Replicates) -> dict[str, FloatArray]:
    """What the replicates say of each quantity; infinite where they set no limit."""
    law, u = plan.law, replicates.coordinates
    out = _named(law, law.bound(u))
    # A replicate that ran to the edge of the search has no value there: it counts as infinite. The ends
    # of a share, though, are values.
    lost = replicates.unbounded | (np.abs(u) >= _farthest(plan) - 1e-6)
    for i, p in enumerate(law.params):
        lost[:, i] &= not p.support.closed
        away = u[:, i] if np.isfinite(p.support.lower) else -u[:, i]
        out[p.symbol] = np.where(lost[:, i], np.copysign(np.inf, away), out[p.symbol])
    for name in out.keys() - set(law.names):
        run_off = lost.any(axis=1) & (np.abs(out[name]) > _LARGE)
        out[name] = np.where(run_off, np.inf, out[name])
    return out


def _by_replicates(
    plan: Plan, core: Core, value: float, draws: FloatArray, left_out: FloatArray | None
) -> tuple[float, float]:
    level = plan.interval.level
    if plan.interval.method == "bca" and left_out is not None and core.left_out is not None:
        return bca_interval(draws, value, left_out, core.left_out.multiplicity, level)
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _around(
    plan: Plan, core: Core, i: int, value: float, left_out: FloatArray
) -> tuple[float, float]:
    """Estimate -+ t times the jackknife error, in free coordinates; of derived quantities, in logarithm."""
    from scipy.special import stdtrit

    assert core.left_out is not None  # noqa: S101
    assert core.coordinates is not None  # noqa: S101
    params, multiplicity = plan.law.params, core.left_out.multiplicity
    t = float(stdtrit(multiplicity.sum() - 1, (1 + plan.interval.level) / 2))
    if i < len(params):
        half = t * jackknife_error(core.left_out.coordinates[:, i], multiplicity)
        low, high = sorted(
            float(params[i].support.bound(core.coordinates[i] + side)) for side in (-half, half)
        )
        return low, high
    half = t * jackknife_error(np.log(left_out), multiplicity)
    return value * float(np.exp(-half)), value * float(np.exp(half))


def _at_bound(law: Law, i: int, value: float) -> str:
    name, support = law.names[i], law.params[i].support
    if support.closed:
        return f"the estimate of {name} is {value:g}, an end of its range: the law is the simpler one without {name}."
    return f"the estimate of {name} is at the edge of its support; it is a limit, not a value."


def _farthest(plan: Plan) -> FloatArray:
    if plan.objective.observation.name == "counts":
        return farthest(plan.law)
    return np.full(len(plan.law.params), -FLOOR)


def _open(name: str, low: float, high: float) -> Caution:
    one_side = {(False, True): "above", (True, False): "below"}
    side = one_side.get((bool(np.isinf(low)), bool(np.isinf(high))), "on both sides")
    return Caution("open-interval", f"the data do not limit {name} {side}, so it has no interval.")
