"""The forecast in the form of a fit: coverage of new problems at fixed numbers of samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaling.core.caution import Caution
from scaling.core.tabulated import KNOTS
from scaling.data.evidence import Counts
from scaling.errors import UsageError
from scaling.fitting import passk
from scaling.fitting.forecast import forecast
from scaling.fitting.objectives import statistics, unidentified
from scaling.fitting.plan import Core, Plan, Replicates
from scaling.fitting.result import Estimate

_KEPT = 400  # curves of the predictive distribution
_DIGITS = 6


def by_forecast(
    plan: Plan, evidence: Counts, counts: passk.UniqueCounts, cautions: Sequence[Caution]
) -> Core:
    """The forecast at `KNOTS`, its predictive curves as replicates, and the members' weights.

    Args:
        plan: its intervals are percentile (of the predictive distribution) or none.
        evidence: the group.
        counts: its distinct counts.
        cautions: what the evidence gives away, `success-stopped` among them.

    Raises:
        UsageError: for another interval, or clusters, which the members do not know of.
    """
    if plan.interval.method not in ("percentile", "none"):
        msg = (
            f"a forecast has intervals of its own predictive distribution, not {plan.interval.method} ones; "
            "leave out --interval"
        )
        raise UsageError(msg)
    stopped = any(c.code == "success-stopped" for c in cautions)
    found = forecast(
        counts,
        KNOTS,
        level=plan.interval.level,
        seed=plan.interval.seed,
        estimand="population",
        stopped=stopped,
    )
    if found.refused:
        return unidentified(found.refused)
    own = [c for c in found.cautions if c.code not in {known.code for known in cautions}]
    if evidence.cluster is not None:
        text = "the forecast takes problems as independent; these come in clusters, so its intervals are too narrow."
        own.append(Caution("clusters-ignored", text))
    derived: dict[str, Estimate] = {}
    for name, member in found.members.items():
        derived[f"weight_{name}"] = Estimate(member.weight)
        derived[f"backtest_error_{name}"] = Estimate(member.backtest_error)
    draws = None
    if plan.interval.method == "percentile":
        rows = (
            np.linspace(0, len(found.draws) - 1, min(_KEPT, len(found.draws))).round().astype(int)
        )
        whole = np.zeros((len(rows), len(KNOTS)), dtype=bool)
        draws = Replicates(found.draws[rows].round(_DIGITS), ~whole[:, 0], whole)
    return Core(found.estimate, "ok", own, statistics(), draws, derived=derived)
