"""Entries of a table: an action and what is expected of it, from the rungs of a menu."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scaling.curves import RESOURCES, plain
from scaling.errors import InputError
from scaling.tables.canonical import finite
from scaling.tables.check import schema
from scaling.tables.lookup import abstention

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation
    from scaling.curves import Menu


KNOBS = {
    "samples": "n_samples",
    "thinking_tokens": "max_thinking_tokens",
    "solution_tokens": "max_solution_tokens",
    "documents": "k_documents",
    "shots": "n_shots",
    "verifications": "n_verifications",
}
"""Action columns of a menu whose field in the table has another name; the rest keep theirs."""
ORACLE = "oracle"
"""The verifier that coverage assumes: it accepts every right answer and no other."""
UNKNOWN_MODEL = "unknown"
"""Written where the log names no model: the schema asks every action that runs one for its name."""


def rung_entry(menu: Menu, rung: int) -> dict[str, Any]:
    """One rung of the menu as an entry, without its marginal."""
    value = _estimate(menu.value[rung], "a value of the menu")
    if menu.value_se is not None and math.isfinite(menu.value_se[rung]):
        value["se"] = float(menu.value_se[rung])
    if menu.interval is not None:
        low, high = (min(max(float(end), 0.0), 1.0) for end in menu.interval[rung])
        if low <= value["mean"] <= high:
            value |= {"interval": [low, high], "level": float(menu.level)}
    cost = {name: column[rung] for name, column in menu.cost.items()}
    action = {name: column[rung] for name, column in menu.action.items()}
    return _entry(menu, action, value, cost)


def fallback_entry(allocation: Allocation, c: int | None = None) -> dict[str, Any]:
    """The allocation's best single action, as an entry: for unknown queries, or an unusable class."""
    best = allocation.fallback
    if best.nothing:
        return abstention({"resources": allocation.ladder.cost})
    mean = best.value if c is None else best.value_of(c)
    value: dict[str, Any] = {"mean": None, "infeasible": True}
    if mean is not None:
        value = _estimate(mean, "the fallback's value")
    cost = best.cost if c is None else best.cost_of(c)
    return _entry(allocation.ladder, best.action, value, cost)


def _entry(
    menu: Menu, action: Mapping[str, Any], value: dict[str, Any], cost: Mapping[str, float]
) -> dict[str, Any]:
    expected: dict[str, Any] = {
        "value": value,
        menu.maximise: dict(value),
        "resources": {
            name: {"mean": finite(cost[name], f"{name} of an action")}
            for name in RESOURCES
            if name in cost
        },
    }
    if menu.estimand is not None:
        expected["estimand"] = menu.estimand
    expected["assumes_oracle_verifier"] = menu.maximise == "coverage"
    return {"action": _action(action), "expected": expected}


def _estimate(mean: float, what: str) -> dict[str, Any]:
    """A share; what rounding has put just outside [0, 1] is put back."""
    return {"mean": min(max(finite(mean, what), 0.0), 1.0)}


def _action(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Action columns of a menu as fields of a table's action."""
    values = {name: plain(value) for name, value in columns.items()}
    n = int(values.pop("samples", 1))
    model = values.pop("model", None) or UNKNOWN_MODEL
    strategy = values.pop("strategy", None)
    stop, threshold = values.pop("stop_rule", "none"), values.pop("stop_threshold", None)
    if strategy == "abstain" or n == 0:
        return {"strategy": "abstain", "model": None, "n_samples": 0}
    action = {"strategy": strategy or ("single" if n == 1 else "best_of_n"), "model": model}
    action["n_samples"] = n
    for name, value in values.items():
        action[KNOBS.get(name, name)] = None if value == "" else value
    rule: dict[str, Any] = {"kind": stop}
    if stop == "first_accepted":
        rule["failures"] = n
        action.setdefault("verifier_model", ORACLE)
    elif stop != "none" and threshold is not None:
        rule["threshold"] = finite(threshold, "a stop_threshold")
    if stop == "first_accepted" or (n > 1 and (strategy is None or stop != "none")):
        action["stop_rule"] = rule
    return action


def refuse_foreign_actions(menu: Menu) -> None:
    """Raise for an action column, or a value in one, that the table has no place for."""
    fields: dict[str, Any] = schema()["$defs"]["action"]["properties"]
    for column, values in menu.action.items():
        if column in {"model", "samples", "stop_threshold"}:
            continue
        field = KNOBS.get(column, column)
        if field not in fields:
            known = sorted({*KNOBS, *fields} - set(KNOBS.values()))
            raise InputError(
                f"Action column '{column}' has no place in a budget table. "
                f"Rename it to one of {', '.join(known)}, or leave it out."
            )
        from jsonschema import Draft202012Validator

        allowed_by = fields[field]["properties"]["kind"] if field == "stop_rule" else fields[field]
        validator = Draft202012Validator(allowed_by)
        for value in dict.fromkeys(plain(each) for each in values):
            allowed = value == "" or validator.is_valid(value)
            if not allowed:
                message = next(validator.iter_errors(value)).message
                raise InputError(f"Action column '{column}' holds {value!r}: {message}.")


def with_marginals(
    ladder: list[dict[str, Any]], resource: str, *, may_abstain: bool
) -> list[dict[str, Any]]:
    """The ladder with each rung's marginal value per unit of `resource`."""
    value = [0.0, *(rung["expected"]["value"]["mean"] for rung in ladder)]  # null: not known
    use = [0.0, *(rung["expected"]["resources"][resource]["mean"] for rung in ladder)]
    marginals: list[float | None] = [
        finite((high - low) / (after - before), f"the marginal value per {resource} of an action")
        if high is not None and after > before
        else None
        for (low, high), (before, after) in zip(pairwise(value), pairwise(use), strict=True)
    ]
    for rung, after, next_marginal in zip(ladder, ladder[1:], marginals[1:], strict=False):
        if next_marginal is not None and _only_more_samples(rung["action"], after["action"]):
            rung["action"]["stop_rule"]["threshold"] = next_marginal
    if len(ladder) > 1 and not may_abstain and (marginals[0] or 0.0) < (marginals[1] or 0.0):
        marginals[0] = None
    return [rung | {"marginal": m} for rung, m in zip(ladder, marginals, strict=True)]


def _only_more_samples(action: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether sampling goes on from one action to the other, and stops when a sample is accepted."""
    apart = {"n_samples", "stop_rule", "strategy"}
    rest = [{k: v for k, v in each.items() if k not in apart} for each in (action, after)]
    return action.get("stop_rule", {}).get("kind") == "first_accepted" and rest[0] == rest[1]
