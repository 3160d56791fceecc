"""Actions, stop rules, the fallback, and what serving engines allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling.tables.engines import ENGINES, violations
from scaling.tables.rules.document import (
    TOLERANCE,
    entries_of,
    is_close,
    ladders_of,
    mean_of,
    rows_of,
    served_by,
)
from scaling.tables.rules.registry import check

if TYPE_CHECKING:
    from scaling.tables.rules.registry import Document, Problems


@check("model")
def _model(document: Document) -> Problems:
    """Every strategy but doing nothing and asking a person needs a model."""
    for where, entry in entries_of(document):
        action = entry["action"]
        if action["strategy"] not in _IDLE and not action["model"]:
            yield f"{where}.action.model", f"strategy {action['strategy']} needs a model."
        if action["strategy"] == "abstain" and action["model"] is not None:
            yield f"{where}.action.model", f"abstain needs none; it names {action['model']!r}."


@check("single-samples")
def _single_samples(document: Document) -> Problems:
    """A single sample is one, doing nothing draws none, and every other strategy at least one."""
    for where, entry in entries_of(document):
        strategy, n = entry["action"]["strategy"], entry["action"]["n_samples"]
        if strategy == "single" and n != 1:
            yield f"{where}.action.n_samples", f"single takes 1 sample, not {n}."
        elif strategy == "abstain" and n != 0:
            yield f"{where}.action.n_samples", f"abstain takes no sample, not {n}."
        elif strategy not in _IDLE and n == 0:
            yield f"{where}.action.n_samples", f"{strategy} needs at least 1 sample, not 0."


@check("stop-rule")
def _stop_rule(document: Document) -> Problems:
    """A stop rule has what it needs: a threshold, or a verifier that accepts."""
    for where, entry in entries_of(document):
        rule = entry["action"].get("stop_rule", {"kind": "none"})
        at = f"{where}.action.stop_rule"
        if rule["kind"] in {"vote_margin", "posterior", "marginal_value"}:
            if "threshold" not in rule:
                yield at, f"{rule['kind']} needs a threshold."
        elif rule["kind"] == "first_accepted" and not entry["action"].get("verifier_model"):
            yield at, "first_accepted needs a verifier_model."


@check("stop-failures")
def _stop_failures(document: Document) -> Problems:
    """Failures end the sampling where the samples do."""
    for where, entry in entries_of(document):
        rule, n = entry["action"].get("stop_rule", {}), entry["action"]["n_samples"]
        if rule.get("failures", n) != n:
            yield f"{where}.action.stop_rule.failures", f"{rule['failures']} of {n} samples."
        if "failures" in rule and rule["kind"] != "first_accepted":
            yield f"{where}.action.stop_rule.failures", f"{rule['kind']} does not count failures."


@check("stop-threshold")
def _stop_threshold(document: Document) -> Problems:
    """At first_accepted the threshold is what the next rung gains per unit: where to give up."""
    for where, ladder in ladders_of(document):
        for i, rung in enumerate(ladder):
            rule = rung["action"].get("stop_rule", {"kind": "none"})
            if rule["kind"] != "first_accepted" or "threshold" not in rule:
                continue
            at = f"{where}[{i}].action.stop_rule.threshold"
            following = ladder[i + 1].get("marginal") if i + 1 < len(ladder) else None
            if following is None:
                yield at, f"{rule['threshold']!r}, and no rung after it has a marginal."
            elif not is_close(rule["threshold"], following):
                yield at, f"{rule['threshold']!r}; the next rung gains {following!r} per unit."


@check("fallback-dear", guarantee="fallback_not_dearest", stated=True)
def _fallback_dear(document: Document) -> Problems:
    """The fallback costs no more than the dearest row."""
    resource = document["objective"]["priced_resource"]
    where = "$.fallback.expected.resources"
    use = mean_of(document["fallback"], resource)
    if use is None:
        yield where, "the fallback does not say what it uses of the priced resource."
        return
    served = [entry for _, row in rows_of(document) for _, entry in (*served_by(row), (1, row))]
    dearest = max((mean_of(entry, resource) or 0.0 for entry in served), default=0.0)
    if use > dearest * (1 + TOLERANCE):
        yield where, f"the fallback uses {use!r} {resource}; the dearest row uses {dearest!r}."


@check("engine-limits", guarantee="engine_limits_respected", stated=True)
def _engine_limits(document: Document) -> Problems:
    """Every action is one that all the serving targets which the table names can do."""
    targets = document.get("targets", ())
    if not targets:
        yield "$.targets", "no serving target is named with limits to respect."
    for i, target in enumerate(targets):
        if target not in ENGINES:
            known = ", ".join(sorted(ENGINES))
            yield f"$.targets[{i}]", f"the limits of '{target}' are not known, only of {known}."
            continue
        for where, entry in entries_of(document):
            for name, what in violations(target, entry["action"]):
                yield f"{where}.action.{name}", what


_IDLE = frozenset({"abstain", "escalate_human"})
