"""Cautions that follow from the evidence alone."""

from __future__ import annotations

import numpy as np

from scaling.core.caution import Caution
from scaling.core.objective import Objective
from scaling.data.evidence import Counts


def of_evidence(objective: Objective, evidence: Counts, batch: int | None) -> list[Caution]:
    """What the counts of a group give away: pooling, stopping, unequal or thin evidence.

    Args:
        objective: what is minimised.
        evidence: the group.
        batch: attempts in a batch, where the curve is Kaplan and Meier's.
    """
    from scaling.data import looks_success_stopped

    out = []
    curve = objective.observation.name == "curve"
    if evidence.pooled:
        code = "pooled-models" if "model" in evidence.pooled else "pooled-settings"
        text = f"attempts of one problem under several values of {', '.join(evidence.pooled)} were added up."
        out.append(Caution(code, text))
    if evidence.probed:
        text = (
            "bins of pass1 are made from outcomes: half of the attempts at a problem chose its bin, the other half is "
            "fitted, and the same exchanged, so that n_problems counts halves. Serving by them needs a probe of each "
            "query, whose cost no budget here contains."
        )
        out.append(Caution("outcome-bins", text))
    if evidence.dropped:
        text = f"{evidence.dropped} problems without a verdict, or with too few attempts, were left out."
        out.append(Caution("dropped-problems", text))
    if np.ptp(evidence.n) > 0 and curve and batch is None:
        text = (
            f"problems have between {evidence.n.min()} and {evidence.n.max()} attempts; the curve is fitted up "
            "to the fewest, so that every problem counts at every point."
        )
        out.append(Caution("unequal-n", text))
    stopped = evidence.stop_rule in ("until_success", "until_success_batched")
    if stopped or (evidence.stop_rule in (None, "unknown") and looks_success_stopped(evidence)):
        text = "attempts stop" if stopped else "attempts seem to stop"
        if batch is not None:
            text += (
                " at the first success. Coverage is Kaplan and Meier's, from the attempts to the first success; "
                "unbiased pass@k and c/n do not hold for such a log."
            )
        elif curve:
            text += (
                " at the first success. Unbiased pass@k does not hold for such a log and overstates coverage; "
                "a count law (beta-binomial) is valid."
            )
        else:
            text += (
                " at the first success, without a batch that they keep to. The likelihood is valid; the unbiased "
                "curve that errors are measured against is not."
            )
        out.append(Caution("success-stopped", text))
    if int((evidence.c >= 2).sum()) < 2:
        text = "fewer than two problems were solved twice, so the tail that extrapolation rests on is hardly seen."
        out.append(Caution("few-solved", text))
    return out
