"""Estimates with their intervals, in the law's own parameters."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.fitting.least_squares import FLOOR
from scaling.fitting.likelihood import FARTHEST
from scaling.fitting.plan import Core, Plan
from scaling.fitting.result import Estimate

FloatArray = NDArray[np.float64]


def estimates(
    plan: Plan, core: Core, theta: FloatArray, cautions: list[Caution]
) -> dict[str, Estimate]:
    """Parameters and derived quantities with their intervals; adds to `cautions` what they show."""
    law, level = plan.law, plan.interval.level
    assert core.coordinates is not None  # noqa: S101
    values = dict(zip(law.names, theta, strict=True)) | {
        n: float(v) for n, v in law.derive(theta).items()
    }
    samples: dict[str, FloatArray] = {}
    if core.draws is not None:
        draws = law.bound(core.draws.coordinates)
        # A replicate that ran to the edge of the search has no value there: it counts as infinite.
        u = core.draws.coordinates
        lost = core.draws.unbounded | (np.abs(u) >= _farthest(plan) - 1e-6)
        for i, p in enumerate(law.params):
            away = u[:, i] if np.isfinite(p.support.lower) else -u[:, i]
            samples[p.symbol] = np.where(lost[:, i], np.copysign(np.inf, away), draws[:, i])
        samples |= law.derive(draws)
    out = {}
    for i, (name, value) in enumerate(values.items()):
        is_param = i < len(law.names)
        at_bound = bool(is_param and abs(core.coordinates[i]) >= _farthest(plan) - 1e-6)
        interval, se = None, None
        if name in samples:
            low, high = np.quantile(
                samples[name], [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf"
            )
            finite = np.isfinite(low) and np.isfinite(high)
            interval = (float(low), float(high)) if finite and low < high else None
            se = (
                float(samples[name].std())
                if interval and np.isfinite(samples[name]).all()
                else None
            )
            if se is not None and se > high - low:
                se = None  # a few replicates ran off: the spread is in the interval, not in their mean square
            if not finite:
                cautions.append(_open(name, float(low), float(high)))
        elif core.ends is not None and is_param:
            low, high = sorted(float(law.params[i].support.bound(e)) for e in core.ends[i])
            finite = bool(np.isfinite(core.ends[i]).all())
            interval = (low, high) if finite else None
            if not finite:
                cautions.append(_open(name, *(float(e) for e in core.ends[i])))
        if at_bound:
            text = (
                f"the estimate of {name} is at the edge of its support; it is a limit, not a value."
            )
            cautions.append(Caution("at-bound", text))
        out[name] = Estimate(float(value), interval, se, at_bound)
    return out


def _farthest(plan: Plan) -> float:
    return float(FARTHEST) if plan.objective.observation.name == "counts" else -FLOOR


def _open(name: str, low: float, high: float) -> Caution:
    one_side = {(False, True): "above", (True, False): "below"}
    side = one_side.get((bool(np.isinf(low)), bool(np.isinf(high))), "on both sides")
    return Caution("open-interval", f"the data do not limit {name} {side}, so it has no interval.")
