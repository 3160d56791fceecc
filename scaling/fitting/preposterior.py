"""What attempts are expected to bring to the forecast, before they are made.

Success rates are drawn from their posterior, the attempts are made with them, and the longer log is
forecast: the mean width of its interval is what to expect (preposterior analysis; Raiffa and Schlaifer 1961,
Applied Statistical Decision Theory).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scaling.core import registry
from scaling.data.distinct import unique_counts
from scaling.data.evidence import Counts, Scalar
from scaling.data.groups import looks_success_stopped
from scaling.fitting.forecast import forecast
from scaling.fitting.identification import not_identified
from scaling.fitting.likelihood import fit_counts

IntArray = NDArray[np.int64]

_LAW = "beta-binomial"


@dataclass(frozen=True)
class Gain:
    """Width of the forecast's interval for coverage of these problems, now and after further attempts.

    Attributes:
        by: the group's columns.
        k: attempts at which coverage is forecast.
        level: of the interval.
        now: its width with the log as it is.
        even: expected after as many attempts spread evenly over all problems, None where not known.
        adaptive: expected after the attempts placed where variance lies, None where not known.
        difference_se: standard error of adaptive - even, over the simulated results.
        simulated: how many results were simulated.
        reason: why nothing is known, or None.
    """

    by: Mapping[str, Scalar]
    k: int
    level: float
    now: float
    even: float | None
    adaptive: float | None
    difference_se: float | None
    simulated: int
    reason: str | None

    @property
    def saved(self) -> float | None:
        """Share by which the interval is expected to be narrower than after even attempts."""
        return None if self.even is None or self.adaptive is None else 1 - self.adaptive / self.even

    @property
    def told(self) -> bool:
        """Whether the two differ by more than twice the noise of the simulation."""
        if self.even is None or self.adaptive is None or self.difference_se is None:
            return False
        return abs(self.even - self.adaptive) > 2 * self.difference_se


def gain(
    counts: Counts,
    adaptive: IntArray,
    even: IntArray,
    k: int,
    *,
    level: float = 0.95,
    simulated: int = 8,
    seed: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> Gain:
    """Simulate both ways of spending the same attempts; the rates are the same in each pair.

    Rates come from their posterior under a beta-binomial fitted to the counts.

    Args:
        counts: of one group.
        adaptive: attempts to add at each problem, shape (P,).
        even: another way to spend as many, shape (P,).
        k: attempts at which coverage is forecast.
        level: of the interval.
        simulated: results, at least 2.
        seed: of the simulation.
        progress: called with the share of the work done.
    """
    now = _width(counts, k, level)
    distinct = unique_counts(counts.n, counts.c)
    law = registry.law(_LAW)
    found = fit_counts(law, distinct)
    why = not_identified(law, distinct, float(found.log_likelihood[0]))
    if why:
        return Gain(counts.by, k, level, now, None, None, None, 0, why)
    theta = law.bound(found.coordinates[0])
    rng = np.random.default_rng(seed)
    widths = np.empty((simulated, 2))
    for i in range(simulated):
        rates = law.draw_rates(theta, counts.n, counts.c, rng)
        for j, added in enumerate((even, adaptive)):
            longer = replace(counts, n=counts.n + added, c=counts.c + rng.binomial(added, rates))
            widths[i, j] = _width(longer, k, level)
        progress((i + 1) / simulated)
    after_even, after_adaptive = (float(x) for x in widths.mean(axis=0))
    se = float((widths[:, 1] - widths[:, 0]).std(ddof=1) / np.sqrt(simulated))
    return Gain(counts.by, k, level, now, after_even, after_adaptive, se, simulated, None)


def _width(counts: Counts, k: int, level: float) -> float:
    rule = counts.stop_rule
    stopped = rule in ("until_success", "until_success_batched") or (
        rule in (None, "unknown") and looks_success_stopped(counts)
    )
    found = forecast(unique_counts(counts.n, counts.c), [k], level=level, stopped=stopped)
    return float(found.high[0] - found.low[0])
