"""What a budget table must hold beyond its JSON Schema, one function a check.

A check is a generator over a document that fits the schema; it yields where something is wrong and
what. The decorator gives it its stable code. To add one, write one function. Sums and differences
of floats are compared to a relative 1e-9.

Some checks stand behind a named guarantee. Most of those must hold in every table; four state
something that a sound table may lack (`stated=True`) and are errors only where the table claims
them.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scaling.errors import InputError
from scaling.tables.canonical import table_id
from scaling.tables.engines import ENGINES, violations
from scaling.tables.keyspace import KeySpace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Document = Mapping[str, Any]
    Problems = Iterator[tuple[str, str]]

TOLERANCE = 1e-9
"""Relative; numbers that differ by less are the same."""
_ROUNDING = 1e-14
"""Relative rounding of a written value, which a difference of two values inherits."""
_NOTHING = 1e-300
"""Differences below it are the rounding of the smallest floats."""


@dataclass(frozen=True)
class Check:
    """A check: its code, the function, the guarantee behind which it stands."""

    code: str
    problems: Callable[[Document], Problems]
    guarantee: str | None
    stated: bool


CHECKS: dict[str, Check] = {}
"""Every check beyond the schema, by code, in the order in which they run."""


def _check(
    code: str, *, guarantee: str | None = None, stated: bool = False
) -> Callable[[Callable[[Document], Problems]], Callable[[Document], Problems]]:
    """Register a check; `stated`: an error only where the table claims the guarantee."""

    def register(problems: Callable[[Document], Problems]) -> Callable[[Document], Problems]:
        CHECKS[code] = Check(code, problems, guarantee, stated)
        return problems

    return register


# The key and the rows' conditions.


@_check("feature-repeated")
def _feature_repeated(document: Document) -> Problems:
    yield from _repeated(
        (f"$.key.features[{i}].name", feature["name"])
        for i, feature in enumerate(document["key"]["features"])
    )


@_check("row-id-repeated")
def _row_id_repeated(document: Document) -> Problems:
    yield from _repeated((f"{where}.row_id", row["row_id"]) for where, row in _rows(document))


@_check("bins-order")
def _bins_order(document: Document) -> Problems:
    """Bins cut a numeric feature at strictly increasing points."""
    for i, feature in enumerate(document["key"]["features"]):
        where = f"$.key.features[{i}].bins"
        if "bins" not in feature:
            continue
        if feature["dtype"] not in {"integer", "number"}:
            yield (
                where,
                f"feature '{feature['name']}' is {feature['dtype']}; only numbers have bins.",
            )
        for low, high in pairwise(feature["bins"]):
            if not low < high:
                yield where, f"cut points must increase strictly; {high} follows {low}."


@_check("feature-values")
def _feature_values(document: Document) -> Problems:
    """Listed values are of the feature's type, and stand only where there are no bins."""
    for i, feature in enumerate(document["key"]["features"]):
        where = f"$.key.features[{i}].values"
        if "values" in feature and "bins" in feature:
            yield where, f"feature '{feature['name']}' has bins; it cannot list values too."
        for value in feature.get("values", ()):
            if not _is(value, feature["dtype"]):
                yield where, f"{value!r} is not of type {feature['dtype']}."


@_check("when-empty")
def _when_empty(document: Document) -> Problems:
    if document["key"]["features"]:
        for where, row in _rows(document):
            if not row["when"]:
                yield f"{where}.when", "the row names no feature, though the key has some."


@_check("when-feature")
def _when_feature(document: Document) -> Problems:
    names = {feature["name"] for feature in document["key"]["features"]}
    for where, row in _rows(document):
        for name in row["when"]:
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                yield f"{where}.when.{name}", f"the key has no '{name}'; it has {known}."


@_check("when-type")
def _when_type(document: Document) -> Problems:
    """Values of a condition are of the feature's type and among those that it lists."""
    for where, feature, condition in _conditions(document):
        if "bins" in feature or isinstance(condition, dict):
            continue
        for value in condition if isinstance(condition, list) else [condition]:
            if not _is(value, feature["dtype"]):
                yield where, f"{value!r} is not of type {feature['dtype']}."
            elif value not in feature.get("values", [value]):
                yield where, f"{value!r} is not among the values that the feature lists."


@_check("when-bin")
def _when_bin(document: Document) -> Problems:
    """A condition on a feature with bins names bin indices in range."""
    for where, feature, condition in _conditions(document):
        if "bins" not in feature or isinstance(condition, dict):
            continue
        last = len(feature["bins"])
        for index in condition if isinstance(condition, list) else [condition]:
            if not _is(index, "integer") or not 0 <= index <= last:
                yield where, f"{index!r} is no bin; their indices are 0 to {last}."


@_check("when-range")
def _when_range(document: Document) -> Problems:
    """A range stands on a numeric feature without bins and is not empty."""
    for where, feature, condition in _conditions(document):
        if not isinstance(condition, dict):
            continue
        if "bins" in feature:
            yield where, "the feature has bins: name their indices, not a range."
        elif feature["dtype"] not in {"integer", "number"}:
            yield where, f"the feature is {feature['dtype']}: only numbers have ranges."
        if not condition.get("gte", -math.inf) < condition.get("lt", math.inf):
            yield where, f"gte {condition['gte']} is not below lt {condition['lt']}."


@_check("rows-overlap", guarantee="rows_disjoint")
def _rows_overlap(document: Document) -> Problems:
    """No query matches two rows."""
    if not _sound_conditions(document):
        return
    ids = [row["row_id"] for row in document["rows"]]
    told: set[tuple[int, int]] = set()
    for first, second in KeySpace(document).overlaps():
        if (first, second) not in told:
            told.add((first, second))
            yield f"$.rows[{second}].when", f"row '{ids[second]}' overlaps row '{ids[first]}'."


@_check("key-space-gap", guarantee="rows_cover_key_space", stated=True)
def _key_space_gap(document: Document) -> Problems:
    """Every value that the key allows has a row."""
    if not _sound_conditions(document):
        yield "$.rows", "the conditions are not sound, so their cover cannot be told."
    elif (gap := KeySpace(document).gap()) is not None:
        yield "$.rows", f"no row serves {gap}; such queries get the fallback."


def _sound_conditions(document: Document) -> bool:
    """Whether the key and the conditions can be read as cells; other checks tell what is wrong."""
    return all(next(CHECKS[code].problems(document), None) is None for code in _CONDITION_CHECKS)


# Weights and numbers.


@_check("weights")
def _weights(document: Document) -> Problems:
    total = math.fsum(row["weight"] for _, row in _rows(document))
    if abs(total - 1) > TOLERANCE:
        yield "$.rows", f"the weights sum to {total!r}, not to 1."


@_check("share-range")
def _share_range(document: Document) -> Problems:
    """Accuracy, coverage and other shares lie in [0, 1], with their intervals."""
    for where, name, estimate in _estimates(document):
        if name in _SHARES:
            for value in (estimate["mean"], *estimate.get("interval", ())):
                if value is not None and not 0 <= value <= 1:
                    yield where, f"{value!r} is not in [0, 1]."


@_check("interval")
def _interval(document: Document) -> Problems:
    """An interval is ordered and holds its mean."""
    for where, _, estimate in _estimates(document):
        if "interval" not in estimate:
            continue
        low, high = estimate["interval"]
        mean = estimate["mean"]
        if low > high:
            yield f"{where}.interval", f"{low!r} is above {high!r}."
        elif mean is not None and not low <= mean <= high:
            yield f"{where}.interval", f"[{low!r}, {high!r}] does not hold the mean {mean!r}."


@_check("mean-missing")
def _mean_missing(document: Document) -> Problems:
    """A mean is null exactly where the quantity is said not to exist."""
    for where, _, estimate in _estimates(document):
        if (estimate["mean"] is None) != estimate.get("infeasible", False):
            yield where, f"mean is {estimate['mean']!r}; null and `infeasible: true` go together."


@_check("resource-negative")
def _resource_negative(document: Document) -> Problems:
    """Resources, latency and the cost of a right answer are zero or more, with their intervals."""
    for where, name, estimate in _estimates(document):
        if name != "value" and name not in _SHARES:
            for value in (estimate["mean"], *estimate.get("interval", ())):
                if value is not None and value < 0:
                    yield where, f"{value!r} is negative."


@_check("value-differs")
def _value_differs(document: Document) -> Problems:
    """Where accuracy or coverage is maximised, that is the value, and both are told alike."""
    name = document["objective"]["maximise"]
    if name not in _SHARES:
        return
    for where, entry in _entries(document):
        value, same = _value(entry), _share(entry, name)
        if name in entry["expected"] and not _close(value, same):
            yield f"{where}.expected.value", f"{value!r}, but the {name} is {same!r}."


@_check("hard-limit")
def _hard_limit(document: Document) -> Problems:
    """No entry is expected to use more than the caps that stand on every request of it."""
    for where, row in _rows(document):
        for _, entry in _served(row):
            limits = {**row.get("hard_limits", {}), **entry.get("hard_limits", {})}
            yield from _above_caps(where, entry, limits)
    fallback = document["fallback"]
    yield from _above_caps("$.fallback", fallback, fallback.get("hard_limits", {}))


def _above_caps(where: str, entry: Mapping[str, Any], limits: Mapping[str, float]) -> Problems:
    for name, resource in _CAPPED.items():
        use = _mean(entry, resource)
        # a cap on tokens is a whole number, and the mean may lie between two
        cap = limits.get(name, math.inf) + (1 if resource == "tokens" else 0)
        if use is not None and use > cap * (1 + TOLERANCE):
            yield (
                f"{where}.hard_limits.{name}",
                f"{limits[name]!r}, but {use!r} {resource} are expected.",
            )


# Ladders.


@_check("ladder-order", guarantee="cost_nonincreasing_in_price")
def _ladder_order(document: Document) -> Problems:
    """Rungs increase strictly in the priced resource.

    A dearer price serves an earlier rung, so that spending then never rises with the price.
    """
    resource = document["objective"]["priced_resource"]
    for where, ladder in _ladders(document):
        if resource is None:
            if len(ladder) > 1:
                yield where, "a ladder of several rungs needs a priced_resource to order them."
            continue
        used = [_mean(rung, resource) for rung in ladder]
        for i, use in enumerate(used):
            if use is None:
                yield f"{where}[{i}]", f"the rung does not say how many {resource} it uses."
        for i, (low, high) in enumerate(pairwise(used), 1):
            if low is not None and high is not None and not low < high:
                yield f"{where}[{i}]", f"{resource} must increase strictly; {high!r} after {low!r}."


@_check("ladder-value", guarantee="ladder_concave")
def _ladder_value(document: Document) -> Problems:
    for where, ladder in _ladders(document):
        for i, (low, high) in enumerate(pairwise(map(_value, ladder)), 1):
            if low is not None and high is not None and high < low:
                yield f"{where}[{i}]", f"the value falls from {low!r} to {high!r}."


@_check("oracle-unmarked")
def _oracle_unmarked(document: Document) -> Problems:
    """Coverage counts a query as solved when any sample is right, so something must recognise it."""
    if document["objective"]["maximise"] != "coverage":
        return
    for where, entry in _entries(document):
        several = entry["action"]["n_samples"] > 1
        if several and entry["expected"].get("assumes_oracle_verifier") is not True:
            yield (
                f"{where}.expected",
                "coverage of several samples without assumes_oracle_verifier.",
            )


@_check("ladder-marginal", guarantee="ladder_concave")
def _ladder_marginal(document: Document) -> Problems:
    """A marginal is the value gained over the rung before, per unit of the priced resource.

    Null stands where it is not defined: without priced resource, on a free first rung, or on a
    first rung that is served in any case (the row may not abstain).
    """
    resource = document["objective"]["priced_resource"]
    for where, row in _rows(document):
        before: tuple[float | None, float | None] = (0.0, 0.0)
        for i, rung in enumerate(row["ladder"]):
            at = f"{where}.ladder[{i}].marginal"
            now = (_value(rung), _mean(rung, resource))
            claimed = rung.get("marginal")
            if resource is None:
                if claimed is not None:
                    yield at, f"{claimed!r} without a priced_resource; it must be null."
                continue
            (low, used), (high, use) = before, now
            before = now
            if low is None or used is None or high is None or use is None or use < used:
                continue
            if claimed is None:
                if not (i == 0 and (use == 0 or not row.get("may_abstain", False))):
                    yield at, f"it is null; the rung gains {high - low!r} for {use - used!r}."
            elif abs(claimed * (use - used) - (high - low)) > _slack(low, high):
                yield (
                    at,
                    (f"{claimed!r} is not the gain {high - low!r} for {use - used!r} {resource}."),
                )


@_check("ladder-concave", guarantee="ladder_concave")
def _ladder_concave(document: Document) -> Problems:
    for where, ladder in _ladders(document):
        rungs = [(i, rung) for i, rung in enumerate(ladder) if rung.get("marginal") is not None]
        for (_, low), (i, high) in pairwise(rungs):
            above, below = low["marginal"], high["marginal"]
            use = _mean(high, document["objective"]["priced_resource"])
            rounding = (_ROUNDING * abs(_value(high) or 0.0) + _NOTHING) / use if use else 0.0
            if below > above * (1 + TOLERANCE) + rounding:
                yield f"{where}[{i}].marginal", f"{below!r} is above {above!r} of the rung before."


@_check("row-marginal")
def _row_marginal(document: Document) -> Problems:
    """The row's marginal is that of its action's rung."""
    for where, row in _rows(document):
        if row.get("marginal") is None:
            continue
        rung = next((each for each in row["ladder"] if _same(row, each)), None)
        if rung is not None and not _close(row["marginal"], rung.get("marginal")):
            yield (
                f"{where}.marginal",
                f"{row['marginal']!r}; its rung has {rung.get('marginal')!r}.",
            )


@_check("action-off-ladder", guarantee="action_on_ladder")
def _action_off_ladder(document: Document) -> Problems:
    """The row's action is a rung of its ladder (of its split), with the same numbers.

    Doing nothing stands before the first rung of a row that may abstain: it is not written on the
    ladder, and costs and is worth nothing.
    """
    for where, row in _rows(document):
        if _is_abstention(row):
            continue
        rungs = row["ladder"]
        if row.get("split"):
            rungs = [rungs[p["rung"]] for p in row["split"] if p["rung"] < len(rungs)]
        if not any(_same(row, rung) for rung in rungs):
            yield (
                f"{where}.action",
                (
                    f"the action of row '{row['row_id']}' is no rung of its "
                    f"{'split' if row.get('split') else 'ladder'} with the same expected numbers."
                ),
            )


@_check("split")
def _split(document: Document) -> Problems:
    """Shares of a divided row name rungs once and sum to 1, or less where the rest abstains."""
    for where, row in _rows(document):
        split = row.get("split")
        if not split:
            continue
        yield from _repeated((f"{where}.split[{i}].rung", p["rung"]) for i, p in enumerate(split))
        for i, part in enumerate(split):
            if part["rung"] >= len(row["ladder"]):
                yield (
                    f"{where}.split[{i}].rung",
                    (f"there is no rung {part['rung']}; the last is {len(row['ladder']) - 1}."),
                )
        total = math.fsum(part["share"] for part in split)
        may_abstain = row.get("may_abstain", False)
        if total > 1 + TOLERANCE or (total < 1 - TOLERANCE and not may_abstain):
            yield f"{where}.split", f"the shares sum to {total!r}, not to 1."


# Constraints and certificate.


@_check("constraint-parts")
def _constraint_parts(document: Document) -> Problems:
    """A constraint has what its scope and resource need, and is about rows that exist."""
    ids = {row["row_id"] for _, row in _rows(document)}
    for i, constraint in enumerate(document["objective"]["constraints"]):
        where = f"$.objective.constraints[{i}]"
        for needs, part in ((constraint["scope"] == "percentile", "percentile"),
                            (constraint["resource"] == "share", "action")):  # fmt: skip
            if needs and part not in constraint:
                yield where, f"a constraint on {constraint['resource']} lacks its {part}."
        for row_id in constraint.get("rows", ()):
            if row_id not in ids:
                yield f"{where}.rows", f"there is no row '{row_id}'."


@_check("target")
def _target(document: Document) -> Problems:
    """The cost of a target is that of the rows, at least its bound, and the gap is between them."""
    target = document["objective"].get("target")
    if target is None:
        return
    where = "$.objective.target"
    cost, bound = target["cost"], target["bound"]
    actual = _average(document, lambda entry: _mean(entry, target["resource"]))
    if actual is not None and not _close(cost, actual):
        yield f"{where}.cost", f"{cost!r}; the rows come to {actual!r}."
    if bound > cost * (1 + TOLERANCE):
        yield f"{where}.bound", f"{bound!r} is above the cost {cost!r}."
    stated = (cost - bound) / cost if cost > 0 else 0.0
    if abs(target["relative_gap"] - stated) > 0.01 * abs(stated) + TOLERANCE:
        yield f"{where}.relative_gap", f"{target['relative_gap']!r}; it is {stated!r}."


@_check("realised", guarantee="constraints_satisfied")
def _realised(document: Document) -> Problems:
    """What a constraint says is realised is what the rows use."""
    for i, constraint in enumerate(document["objective"]["constraints"]):
        claimed = constraint.get("realised")
        if claimed is None:
            continue
        actual = realised(document, constraint)
        if actual is not None and not _close(claimed, actual):
            yield (
                f"$.objective.constraints[{i}].realised",
                (f"{claimed!r}; the rows come to {actual!r} {constraint['resource']}."),
            )


@_check("limit", guarantee="constraints_satisfied")
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


@_check("certificate")
def _certificate(document: Document) -> Problems:
    """The value is that of the rows, at most its bound, and the gap is the one between them.

    The value of a row that is not known (null) counts as 0.
    """
    certificate = document["objective"].get("certificate")
    if certificate is None:
        return
    where = "$.objective.certificate"
    value, bound, gap = certificate["value"], certificate["bound"], certificate["relative_gap"]
    actual = _average(document, lambda entry: _value(entry) or 0.0)
    if actual is not None and not _close(value, actual):
        yield f"{where}.value", f"{value!r}; the rows come to {actual!r}."
    if bound < value - TOLERANCE * abs(value):
        yield f"{where}.bound", f"{bound!r} is below the value {value!r}."
    stated = relative_gap(value, bound)
    if abs(gap - stated) > 0.01 * stated + TOLERANCE:  # a gap may be rounded
        yield f"{where}.relative_gap", f"{gap!r}; (bound - value) / bound is {stated!r}."


@_check("below-uniform", guarantee="not_worse_than_uniform", stated=True)
def _below_uniform(document: Document) -> Problems:
    """The table is worth at least what spending the same evenly is worth."""
    certificate = document["objective"].get("certificate", {})
    uniform = certificate.get("uniform_value")
    where = "$.objective.certificate.uniform_value"
    if uniform is None:
        yield where, "the value of spending evenly is not given, so nothing can be claimed."
    elif certificate["value"] < uniform - TOLERANCE * abs(uniform):
        yield where, f"spending evenly is worth {uniform!r}, the table {certificate['value']!r}."


@_check("risk")
def _risk(document: Document) -> Problems:
    """Quantiles of the regret increase, and a CVaR is at most its bound and has the gap it states."""
    risk = document["objective"].get("risk", {})
    where = "$.objective.risk"
    regret = risk.get("regret")
    if regret is not None and regret["q90"] > regret["q95"] + TOLERANCE:
        yield f"{where}.regret", f"q90 {regret['q90']!r} is above q95 {regret['q95']!r}."
    cvar = risk.get("cvar")
    if cvar is not None:
        value, bound, gap = cvar["value"], cvar["bound"], cvar["relative_gap"]
        if bound < value - TOLERANCE * abs(value):
            yield f"{where}.cvar.bound", f"{bound!r} is below the value {value!r}."
        stated = relative_gap(value, bound)
        if abs(gap - stated) > 0.01 * stated + TOLERANCE:
            yield f"{where}.cvar.relative_gap", f"{gap!r}; (bound - value) / bound is {stated!r}."
    for at, row in _rows(document):
        if "uncertainty" in row and not risk:
            yield f"{at}.uncertainty", "objective.risk does not say over which draws."


@_check("net-value")
def _net_value(document: Document) -> Problems:
    objective = document["objective"]
    if objective["maximise"] == "net_value" and objective.get("value_per_correct") is None:
        yield "$.objective.value_per_correct", "net_value needs what a correct answer is worth."


# Actions.


@_check("model")
def _model(document: Document) -> Problems:
    """Every strategy but doing nothing and asking a person needs a model."""
    for where, entry in _entries(document):
        action = entry["action"]
        if action["strategy"] not in _IDLE and not action["model"]:
            yield f"{where}.action.model", f"strategy {action['strategy']} needs a model."
        if action["strategy"] == "abstain" and action["model"] is not None:
            yield f"{where}.action.model", f"abstain needs none; it names {action['model']!r}."


@_check("single-samples")
def _single_samples(document: Document) -> Problems:
    """A single sample is one, doing nothing draws none, and every other strategy at least one."""
    for where, entry in _entries(document):
        strategy, n = entry["action"]["strategy"], entry["action"]["n_samples"]
        if strategy == "single" and n != 1:
            yield f"{where}.action.n_samples", f"single takes 1 sample, not {n}."
        elif strategy == "abstain" and n != 0:
            yield f"{where}.action.n_samples", f"abstain takes no sample, not {n}."
        elif strategy not in _IDLE and n == 0:
            yield f"{where}.action.n_samples", f"{strategy} needs at least 1 sample, not 0."


@_check("stop-rule")
def _stop_rule(document: Document) -> Problems:
    """A stop rule has what it needs: a threshold, or a verifier that accepts."""
    for where, entry in _entries(document):
        rule = entry["action"].get("stop_rule", {"kind": "none"})
        at = f"{where}.action.stop_rule"
        if rule["kind"] in {"vote_margin", "posterior", "marginal_value"}:
            if "threshold" not in rule:
                yield at, f"{rule['kind']} needs a threshold."
        elif rule["kind"] == "first_accepted" and not entry["action"].get("verifier_model"):
            yield at, "first_accepted needs a verifier_model."


@_check("stop-failures")
def _stop_failures(document: Document) -> Problems:
    """Failures end the sampling where the samples do."""
    for where, entry in _entries(document):
        rule, n = entry["action"].get("stop_rule", {}), entry["action"]["n_samples"]
        if rule.get("failures", n) != n:
            yield f"{where}.action.stop_rule.failures", f"{rule['failures']} of {n} samples."
        if "failures" in rule and rule["kind"] != "first_accepted":
            yield f"{where}.action.stop_rule.failures", f"{rule['kind']} does not count failures."


@_check("stop-threshold")
def _stop_threshold(document: Document) -> Problems:
    """At first_accepted the threshold is what the next rung gains per unit: where to give up."""
    for where, ladder in _ladders(document):
        for i, rung in enumerate(ladder):
            rule = rung["action"].get("stop_rule", {"kind": "none"})
            if rule["kind"] != "first_accepted" or "threshold" not in rule:
                continue
            at = f"{where}[{i}].action.stop_rule.threshold"
            following = ladder[i + 1].get("marginal") if i + 1 < len(ladder) else None
            if following is None:
                yield at, f"{rule['threshold']!r}, and no rung after it has a marginal."
            elif not _close(rule["threshold"], following):
                yield at, f"{rule['threshold']!r}; the next rung gains {following!r} per unit."


@_check("fallback-dear", guarantee="fallback_not_dearest", stated=True)
def _fallback_dear(document: Document) -> Problems:
    """The fallback costs no more than the dearest row."""
    resource = document["objective"]["priced_resource"]
    where = "$.fallback.expected.resources"
    use = _mean(document["fallback"], resource)
    if use is None:
        yield where, "the fallback does not say what it uses of the priced resource."
        return
    served = [entry for _, row in _rows(document) for _, entry in (*_served(row), (1, row))]
    dearest = max((_mean(entry, resource) or 0.0 for entry in served), default=0.0)
    if use > dearest * (1 + TOLERANCE):
        yield where, f"the fallback uses {use!r} {resource}; the dearest row uses {dearest!r}."


@_check("engine-limits", guarantee="engine_limits_respected", stated=True)
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
        for where, entry in _entries(document):
            for name, what in violations(target, entry["action"]):
                yield f"{where}.action.{name}", what


# Instants, claims, identity.


@_check("date-time")
def _date_time(document: Document) -> Problems:
    """Instants are RFC 3339 with a time zone, days are ISO 8601."""
    prices = document["provenance"]["prices"] or {}
    instants = {
        "$.created": document["created"],
        "$.valid_until": document.get("valid_until"),
        "$.provenance.prices.as_of": prices.get("as_of"),
    }
    for where, text in instants.items():
        if text is not None and _instant(text) is None:
            yield where, f"{text!r} is no date-time such as 2026-01-31T12:00:00Z."
    days = [
        (f"$.provenance.data[{i}].collected", data["collected"])
        for i, data in enumerate(document["provenance"]["data"])
        if "collected" in data
    ]
    for where, row in _rows(document):
        collected = row.get("support", {}).get("collected", ())
        days += [(f"{where}.support.collected", day) for day in collected]
    for where, text in days:
        if not _is_day(text):
            yield where, f"{text!r} is no date such as 2026-01-31."


@_check("valid-until")
def _valid_until(document: Document) -> Problems:
    until = document.get("valid_until")
    if until is None:
        return
    created, end = _instant(document["created"]), _instant(until)
    if created is not None and end is not None and end <= created:
        yield "$.valid_until", f"{until} is not after {document['created']}."


@_check("guarantee-repeated")
def _guarantee_repeated(document: Document) -> Problems:
    yield from _repeated(
        (f"$.guarantees[{i}].property", each["property"])
        for i, each in enumerate(document["guarantees"])
    )


@_check("table-id")
def _table_id(document: Document) -> Problems:
    try:
        actual = table_id(document)
    except InputError as error:
        yield "$", str(error)
        return
    if document["table_id"] != actual:
        yield "$.table_id", f"{document['table_id']}; the content's hash is {actual}."


# What the checks, and the builder, count.


def realised(document: Document, constraint: Mapping[str, Any]) -> float | None:
    """What the rows that a constraint is about come to, in its scope.

    `average`: weighted mean of expected use; `total`: the mean times `queries`; `each`: the largest
    use of any row (the smallest for `sense: min`); `percentile`: the smallest use that at most
    100 - percentile percent of the weight exceeds. A divided row counts by its shares; a value that
    is not known counts as 0 in a mean.

    Returns:
        None where the rows do not say, or the scope is one class.
    """
    name, scope = constraint["resource"], constraint["scope"]
    lacking = (scope == "percentile" and "percentile" not in constraint) or (
        name == "share" and "action" not in constraint
    )
    if scope == "class" or lacking:
        return None
    about = set(constraint["rows"]) if "rows" in constraint else None
    terms: list[tuple[float, float]] = []
    for _, row in _rows(document):
        if about is not None and row["row_id"] not in about:
            continue
        left = 1.0
        for share, entry in _served(row):
            amount = _amount(document, constraint, entry)
            if amount is None and name == document["objective"]["maximise"] and scope != "each":
                amount = 0.0
            if amount is None:
                return None
            terms.append((row["weight"] * share, amount))
            left -= share
        if left > TOLERANCE:  # the rest of a divided row does nothing
            terms.append((row["weight"] * left, 0.0))
    if not terms:
        return None
    if scope == "each":
        amounts = [amount for _, amount in terms]
        return max(amounts) if constraint["sense"] == "max" else min(amounts)
    total = math.fsum(weight for weight, _ in terms)
    if scope == "percentile":
        return _percentile(terms, total, constraint["percentile"])
    average = math.fsum(weight * amount for weight, amount in terms)
    if about is not None:
        average /= total
    queries: int | None = constraint.get("queries")
    if scope == "average":
        return average
    return None if queries is None else average * queries


def _amount(
    document: Document, constraint: Mapping[str, Any], entry: Mapping[str, Any]
) -> float | None:
    """What a constraint counts of an entry."""
    name = constraint["resource"]
    if name == "share":
        wanted = constraint["action"].items()
        return float(all(entry["action"].get(field) == value for field, value in wanted))
    if name == document["objective"]["maximise"]:
        return _value(entry)
    if name in _SHARES:
        return _share(entry, name)
    return _mean(entry, name)


def _percentile(terms: list[tuple[float, float]], total: float, percent: float) -> float:
    """The smallest amount that at most 100 - `percent` percent of the weight exceeds."""
    above = 0.0
    most = (1 - percent / 100 + TOLERANCE) * total
    for weight, amount in sorted(terms, key=lambda term: -term[1]):
        above += weight
        if above > most:
            return amount
    return 0.0


def relative_gap(value: float, bound: float) -> float:
    """(bound - value) / bound, never negative; 0 where both are 0."""
    return max(bound - value, 0.0) / abs(bound) if bound else 0.0


def _served(row: Mapping[str, Any]) -> list[tuple[float, Mapping[str, Any]]]:
    """The entries that a row serves without a live price, each with its share of the queries.

    What the shares of a split leave over abstains, and counts nothing.
    """
    if not row.get("split"):
        return [(1.0, row)]
    last = len(row["ladder"]) - 1
    return [(part["share"], row["ladder"][min(part["rung"], last)]) for part in row["split"]]


def _average(
    document: Document, quantity: Callable[[Mapping[str, Any]], float | None]
) -> float | None:
    """The mean per query under the weights; None where a row that is served does not say."""
    terms = []
    for _, row in _rows(document):
        for share, entry in _served(row):
            amount = quantity(entry)
            if amount is None:
                return None
            terms.append(row["weight"] * share * amount)
    return math.fsum(terms)


_CONDITION_CHECKS = (
    "feature-repeated",
    "bins-order",
    "feature-values",
    "when-feature",
    "when-type",
    "when-bin",
    "when-range",
)
_SHARES = frozenset(
    {"accuracy", "coverage", "ceiling", "false_positive_rate", "abstain_rate"},
)
_TOLD = frozenset({"value", *_SHARES, "cost_of_pass", "latency_s"})
"""Estimates of an entry besides its resources."""
_CAPPED = {"max_usd": "usd", "max_total_tokens": "tokens", "timeout_s": "seconds"}
_IDLE = frozenset({"abstain", "escalate_human"})
_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)


def _rows(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for i, row in enumerate(document["rows"]):
        yield f"$.rows[{i}]", row


def _ladders(document: Document) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    for where, row in _rows(document):
        yield f"{where}.ladder", row["ladder"]


def _entries(document: Document) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Everything that has an action and what is expected of it."""
    for where, row in _rows(document):
        yield where, row
        for i, rung in enumerate(row["ladder"]):
            yield f"{where}.ladder[{i}]", rung
    yield "$.fallback", document["fallback"]


def _estimates(document: Document) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every estimate with its place and name."""
    for where, entry in _entries(document):
        for name, estimate in entry["expected"].items():
            if name == "resources":
                for resource, used in estimate.items():
                    yield f"{where}.expected.resources.{resource}", resource, used
            elif isinstance(estimate, dict):
                yield f"{where}.expected.{name}", name, estimate


def _conditions(document: Document) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Each condition on a feature that exists."""
    features = {feature["name"]: feature for feature in document["key"]["features"]}
    for where, row in _rows(document):
        for name, condition in row["when"].items():
            if name in features:
                yield f"{where}.when.{name}", features[name], condition


def _is(value: Any, dtype: str) -> bool:
    """Whether a value named in a table is of a feature's type; a number is named as an integer."""
    if dtype in {"integer", "number"}:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool}[dtype])


def _value(entry: Mapping[str, Any]) -> float | None:
    value: float | None = entry["expected"]["value"]["mean"]
    return value


def _mean(entry: Mapping[str, Any], resource: str | None) -> float | None:
    estimate = entry["expected"]["resources"].get(resource)
    return None if estimate is None else estimate["mean"]


def _share(entry: Mapping[str, Any], name: str) -> float | None:
    estimate = entry["expected"].get(name)
    return None if estimate is None else estimate["mean"]


def _is_abstention(row: Mapping[str, Any]) -> bool:
    idle = row["action"]["strategy"] == "abstain" and row.get("may_abstain", False)
    used = [estimate["mean"] for estimate in row["expected"]["resources"].values()]
    return bool(idle) and _value(row) == 0 and not any(used)


def _same(row: Mapping[str, Any], rung: Mapping[str, Any]) -> bool:
    """Whether a row and a rung are one action with one set of numbers.

    Of what only one of them states (an interval, the ceiling) nothing is asked.
    """
    ours, theirs = row["expected"]["resources"], rung["expected"]["resources"]
    both = [name for name in row["expected"].keys() & rung["expected"].keys() if name in _TOLD]
    return (
        row["action"] == rung["action"]
        and ours.keys() == theirs.keys()
        and all(_close(_mean(row, name), _mean(rung, name)) for name in ours)
        and all(_close(_share(row, name), _share(rung, name)) for name in both)
    )


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=_NOTHING)


def _slack(low: float, high: float) -> float:
    """How far a difference of two written values may be off."""
    return TOLERANCE * abs(high - low) + _ROUNDING * max(abs(low), abs(high)) + _NOTHING


def _repeated(named: Iterator[tuple[str, Any]]) -> Problems:
    first: dict[Any, str] = {}
    for where, name in named:
        if name in first:
            yield where, f"{name!r} stands at {first[name]} already."
        first.setdefault(name, where)


def _instant(text: str) -> datetime | None:
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10
