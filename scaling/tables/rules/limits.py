"""Constraints, what the rows come to, and the certificate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaling.tables.rules.document import TOLERANCE, is_close, mean_of, rows_of, served_by, value_of
from scaling.tables.rules.realised import realised, relative_gap
from scaling.tables.rules.registry import check

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from scaling.tables.rules.registry import Document, Problems


@check("constraint-parts")
def _constraint_parts(document: Document) -> Problems:
    """A constraint has what its scope and resource need, and is about rows that exist."""
    ids = {row["row_id"] for _, row in rows_of(document)}
    for i, constraint in enumerate(document["objective"]["constraints"]):
        where = f"$.objective.constraints[{i}]"
        for needs, part in ((constraint["scope"] == "percentile", "percentile"),
                            (constraint["resource"] == "share", "action")):  # fmt: skip
            if needs and part not in constraint:
                yield where, f"a constraint on {constraint['resource']} lacks its {part}."
        for row_id in constraint.get("rows", ()):
            if row_id not in ids:
                yield f"{where}.rows", f"there is no row '{row_id}'."


@check("target")
def _target(document: Document) -> Problems:
    """The cost of a target is that of the rows, at least its bound, and the gap is between them."""
    target = document["objective"].get("target")
    if target is None:
        return
    where = "$.objective.target"
    cost, bound = target["cost"], target["bound"]
    actual = _average(document, lambda entry: mean_of(entry, target["resource"]))
    if actual is not None and not is_close(cost, actual):
        yield f"{where}.cost", f"{cost!r}; the rows come to {actual!r}."
    if bound > cost * (1 + TOLERANCE):
        yield f"{where}.bound", f"{bound!r} is above the cost {cost!r}."
    stated = (cost - bound) / cost if cost > 0 else 0.0
    if abs(target["relative_gap"] - stated) > 0.01 * abs(stated) + TOLERANCE:
        yield f"{where}.relative_gap", f"{target['relative_gap']!r}; it is {stated!r}."


@check("realised", guarantee="constraints_satisfied")
def _realised(document: Document) -> Problems:
    """What a constraint says is realised is what the rows use."""
    for i, constraint in enumerate(document["objective"]["constraints"]):
        claimed = constraint.get("realised")
        if claimed is None:
            continue
        actual = realised(document, constraint)
        if actual is not None and not is_close(claimed, actual):
            yield (
                f"$.objective.constraints[{i}].realised",
                (f"{claimed!r}; the rows come to {actual!r} {constraint['resource']}."),
            )


@check("limit", guarantee="constraints_satisfied")
def _limit(document: Document) -> Problems:
    """The rows as written, not a relaxation of them, keep every limit."""
    for i, constraint in enumerate(document["objective"]["constraints"]):
        where = f"$.objective.constraints[{i}]"
        if constraint["scope"] == "total" and constraint.get("queries") is None:
            yield where, "a total needs the number of queries."
            continue
        amount = realised(document, constraint)
        amount = constraint.get("realised") if amount is None else amount
        if amount is None:
            yield where, f"nothing says how much {constraint['resource']} is used."
            continue
        limit, slack = constraint["limit"], TOLERANCE * abs(constraint["limit"])
        if constraint["sense"] == "max" and amount > limit + slack:
            yield where, f"{amount!r} {constraint['resource']} is above the limit {limit!r}."
        margin = constraint.get("margin", 0.0)
        if (
            constraint["sense"] == "max"
            and margin
            and limit + slack >= amount > limit + slack - margin
        ):
            yield where, f"{amount!r} and the margin {margin!r} are above the limit {limit!r}."
        if constraint["sense"] == "min" and amount < limit - slack:
            yield where, f"{amount!r} {constraint['resource']} is below the limit {limit!r}."


@check("certificate")
def _certificate(document: Document) -> Problems:
    """The value is that of the rows, at most its bound, and the gap is the one between them.

    The value of a row that is not known (null) counts as 0.
    """
    certificate = document["objective"].get("certificate")
    if certificate is None:
        return
    where = "$.objective.certificate"
    value = certificate["value"]
    actual = _average(document, lambda entry: value_of(entry) or 0.0)
    if actual is not None and not is_close(value, actual):
        yield f"{where}.value", f"{value!r}; the rows come to {actual!r}."
    yield from _above_bound(where, certificate)


@check("below-uniform", guarantee="not_worse_than_uniform", stated=True)
def _below_uniform(document: Document) -> Problems:
    """The table is worth at least what spending the same evenly is worth."""
    certificate = document["objective"].get("certificate", {})
    uniform = certificate.get("uniform_value")
    where = "$.objective.certificate.uniform_value"
    if uniform is None:
        yield where, "the value of spending evenly is not given, so nothing can be claimed."
    elif certificate["value"] < uniform - TOLERANCE * abs(uniform):
        yield where, f"spending evenly is worth {uniform!r}, the table {certificate['value']!r}."


@check("risk")
def _risk(document: Document) -> Problems:
    """Quantiles of the regret increase, and a CVaR is at most its bound and has the gap it states."""
    risk = document["objective"].get("risk", {})
    where = "$.objective.risk"
    regret = risk.get("regret")
    if regret is not None and regret["q90"] > regret["q95"] + TOLERANCE:
        yield f"{where}.regret", f"q90 {regret['q90']!r} is above q95 {regret['q95']!r}."
    cvar = risk.get("cvar")
    if cvar is not None:
        yield from _above_bound(f"{where}.cvar", cvar)
    for at, row in rows_of(document):
        if "uncertainty" in row and not risk:
            yield f"{at}.uncertainty", "objective.risk does not say over which draws."


@check("net-value")
def _net_value(document: Document) -> Problems:
    objective = document["objective"]
    if objective["maximise"] == "net_value" and objective.get("value_per_correct") is None:
        yield "$.objective.value_per_correct", "net_value needs what a correct answer is worth."


def _above_bound(where: str, certified: Mapping[str, Any]) -> Problems:
    """A value above its bound, and a gap that is not the one between them."""
    value, bound, gap = certified["value"], certified["bound"], certified["relative_gap"]
    if bound < value - TOLERANCE * abs(value):
        yield f"{where}.bound", f"{bound!r} is below the value {value!r}."
    stated = relative_gap(value, bound)
    if abs(gap - stated) > 0.01 * stated + TOLERANCE:  # a gap may be rounded
        yield f"{where}.relative_gap", f"{gap!r}; (bound - value) / bound is {stated!r}."


def _average(
    document: Document, quantity: Callable[[Mapping[str, Any]], float | None]
) -> float | None:
    """The mean per query under the weights; None where a row that is served does not say."""
    terms = []
    for _, row in rows_of(document):
        for share, entry in served_by(row):
            amount = quantity(entry)
            if amount is None:
                return None
            terms.append(row["weight"] * share * amount)
    return math.fsum(terms)
