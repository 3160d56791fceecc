"""Other models' logs, matched to the problems of a group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.core.law import Law
from scaling.data.evidence import Counts, Points
from scaling.data.schema import listed
from scaling.errors import InputError, UsageError
from scaling.fitting.copula import Log
from scaling.fitting.transfer import Transfer, transfer

if TYPE_CHECKING:
    from scaling.data import Sweep

FEW = 20
"""Shared problems below which a coupling is mostly prior."""

MOST = 20_000
"""Problems of a group whose posteriors a fit document carries."""


def others_of(siblings: Sweep, law: Law, bins: Mapping[str, Any] | None) -> tuple[Counts, ...]:
    """The sibling sweep, one group a model.

    Raises:
        UsageError: a law that is not the beta-binomial, or bins made from outcomes.
        InputError: a sweep without counts per problem.
    """
    if law.name != "beta-binomial":
        msg = (
            f"siblings go with the law beta-binomial, whose margins they couple, not with {law.name}; "
            "fit --law beta-binomial, or leave out --siblings"
        )
        raise UsageError(msg)
    if "pass1" in (bins or {}):
        msg = "bins of pass1 split the attempts of a problem in halves; siblings need them whole. Drop one of the two."
        raise UsageError(msg)
    if not hasattr(siblings, "groups"):
        msg = f"siblings are a Sweep, not a {type(siblings).__name__}; read the log first: scaling.read(log)"
        raise UsageError(msg)
    if siblings.kind not in ("attempts", "counts"):
        msg = (
            f"the sibling log {listed(siblings.sources, 2)} holds rows of kind {siblings.kind}; siblings need attempts "
            "or counts (task, model, problem, n, c) of single problems"
        )
        raise InputError(msg)
    return tuple(g for g in siblings.groups(["model"]) if isinstance(g, Counts))


def matched(
    evidence: Counts | Points, others: Sequence[Counts]
) -> tuple[Transfer | None, list[Caution]]:
    """Posteriors of a group's problems, or None where no other model attempted any of them.

    Raises:
        UsageError: a group that pools several models, a curve, or too many problems.
    """
    if isinstance(evidence, Points):
        msg = "siblings tell problems apart, and the sweep holds points of a curve; give per-problem counts"
        raise UsageError(msg)
    if "model" in evidence.pooled:
        msg = "a group that pools several models has no siblings of its own; fit --by model"
        raise UsageError(msg)
    P = len(evidence.n)
    if P > MOST:
        msg = (
            f"{P:,} problems in one group; posteriors with siblings are kept of at most {MOST:,}. Split the group "
            "with --by, or filter with --where"
        )
        raise UsageError(msg)
    place = {key: i for i, key in enumerate(_keys(evidence))}
    logs, names = [], []
    for other in others:
        if other.model == evidence.model:
            continue
        pairs = [(place[k], j) for j, k in enumerate(_keys(other)) if k in place]
        if not pairs:
            continue
        mine, theirs = np.array(pairs).T
        log = Log(np.zeros(P, dtype=np.int64), np.zeros(P, dtype=np.int64))
        log.n[mine], log.c[mine] = other.n[theirs], other.c[theirs]
        logs.append(log)
        names.append(other.model or "a model without a name")
    if not logs:
        return None, []
    found = transfer(Log(evidence.n, evidence.c), logs, names)
    return found, _cautions(evidence, logs, found)


def refuse_strangers(groups: Sequence[Counts], others: Sequence[Counts]) -> None:
    """Raise: of no group did any other model attempt a problem.

    Raises:
        InputError: saying whether models or problems are to blame.
    """
    models = sorted({other.model or "(no name)" for other in others})
    targets = {group.model for group in groups}
    if {other.model for other in others} <= targets and len(targets) == 1:
        msg = (
            f"the sibling log holds only {listed(models, 5)}, which is the model that is fitted. Siblings are other "
            "models' attempts at the same problems"
        )
        raise InputError(msg)
    here, there = (
        listed([f"{t}/{p}" if t else p for t, p in _keys(some[0])[:3]], 3)
        for some in (groups, others)
    )
    msg = (
        "no problem of the log was attempted by another model of the sibling log. Rows match on task and problem: the "
        f"log has {here}, the sibling log ({listed(models, 5)}) has {there}. Name tasks and problems alike in both"
    )
    raise InputError(msg)


def _keys(evidence: Counts) -> list[tuple[str, str]]:
    return list(zip(evidence.task.tolist(), evidence.problem.tolist(), strict=True))


def _cautions(evidence: Counts, logs: Sequence[Log], found: Transfer) -> list[Caution]:
    out = []
    seen: NDArray[np.bool_] = np.any([log.n > 0 for log in logs], axis=0)
    if not seen.all():
        missing = evidence.problem[~seen].tolist()
        text = (
            f"{len(missing)} of {len(seen)} problems are in no sibling's log ({listed(missing, 5)}): their posterior "
            "rests on their own attempts."
        )
        out.append(Caution("siblings-unmatched", text))
    if int(seen.sum()) < FEW:
        text = (
            f"only {int(seen.sum())} problems are shared with a sibling; how far difficulty is shared is then mostly "
            "what the prior says."
        )
        out.append(Caution("few-shared-problems", text))
    left = [s.model for s in found.siblings if s.correlation is None]
    if found.shared < 0.5:
        text = (
            "the siblings are ignored: the order in which they find problems hard does not foretell the successes here "
            f"(probability {found.shared:.2g} that it is shared). Check that names of problems mean the same in both."
        )
        out.append(Caution("siblings-ignored", text))
    elif left:
        text = f"{listed(left, 5)} left out: no positive relation with the successes here."
        out.append(Caution("siblings-ignored", text))
    return out
