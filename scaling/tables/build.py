"""From an allocation to a budget table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling._version import __version__
from scaling.allocators.explain import HOPELESS, hopeless
from scaling.allocators.limit import VALUE
from scaling.curves import RESOURCES
from scaling.data.schema import PROBE
from scaling.errors import InputError, UsageError, did_you_mean
from scaling.tables.canonical import table_id
from scaling.tables.check import (
    SCHEMA_VERSION,
    guarantees,
    schema,
)
from scaling.tables.engines import ENGINES
from scaling.tables.lookup import KIND, abstention
from scaling.tables.rules import realised, relative_gap
from scaling.tables.table import BudgetTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from scaling.allocators.allocation import Allocation
    from scaling.allocators.limit import Limit
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
MOST_ROWS = 20_000
"""Rows of a table; beyond that a server wants classes of queries, not a list of them."""
_HARD_LIMITS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "usd": ("max_usd", float),
    "tokens": ("max_total_tokens", math.floor),
    "seconds": ("timeout_s", float),
}


def build(
    allocation: Allocation,
    *,
    created: datetime | str | None = None,
    valid_until: datetime | str | None = None,
    targets: Sequence[str] = (),
) -> BudgetTable:
    """The table that serves an allocation.

    One row per class. Its ladder is the class's reduced menu, marginals recomputed for the rungs
    written: value per unit of the priced resource over the rung before, and over doing nothing for
    the first. That first marginal is null where the rung is free, and where it would be below the
    next: such a rung is served only because doing nothing is not on offer.

    Where sampling stops at the first accepted sample, the action's `stop_rule` says when to give up:
    after `failures` samples that were not accepted. What the next ones gain per unit of the priced
    resource, on the belief that these failures leave, is its `threshold`: at a price above it they
    do not pay. At another price the ladder has the rung, and so the number of failures.

    A class that does nothing has the action `abstain`, which stands before its ladder, not on it.
    A class whose group is unusable gets the fallback, as a ladder of one rung, with a caution; where
    its own costs are known they are written, and its value is null and counts as 0. Each
    guarantee is `verified` where its check, run on the finished document, holds.

    Args:
        allocation: what to serve.
        created: when; the clock, in UTC, where None. It is no part of the table's identity.
        valid_until: after which consumers use the fallback only; never, where None.
        targets: serving targets (`scaling.tables.engines.ENGINES`) whose limits the actions are
            checked against.

    Returns:
        The table; the same allocation gives the same text but for `created`.

    Raises:
        InputError: an action column that has no place in the table, a number that is not finite,
            an instant that cannot be read, or more than 20,000 classes.
        UsageError: an unknown serving target.
    """
    for engine in targets:
        if engine not in ENGINES:
            raise UsageError(
                f"Unknown serving target '{engine}'. Targets: {', '.join(sorted(ENGINES))}."
                f"{did_you_mean(engine, ENGINES)}"
            )
    began = _instant("created", datetime.now(UTC) if created is None else created)
    ends = None if valid_until is None else _instant("valid_until", valid_until)
    if ends is not None and ends <= began:
        raise InputError(
            f"valid_until {_text(ends)} is not after created {_text(began)}. Give a later instant."
        )
    menu = allocation.ladder
    if len(menu.weight) > MOST_ROWS:
        raise InputError(
            f"The allocation has {len(menu.weight):,} classes, and a table at most {MOST_ROWS:,} rows. Allocate by "
            "group (--class group, --bins), or take the allocation itself with Allocation.to_frame()."
        )
    _refuse_foreign_actions(menu)
    features = _features(menu)
    rows = _Rows(allocation, features).written()
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": KIND,
        "table_id": "",
        "created": _text(began),
        "valid_until": None if ends is None else _text(ends),
        **({"targets": list(dict.fromkeys(targets))} if targets else {}),
        "objective": {
            "maximise": menu.maximise,
            "value_per_correct": None,
            "priced_resource": allocation.priced_resource,
            "constraints": [],
            "certificate": {
                "value": _finite(allocation.value, "the allocation's value"),
                "bound": _finite(allocation.bound, "the allocation's bound"),
                "relative_gap": relative_gap(allocation.value, allocation.bound),
                "uniform_value": _or_null(allocation.uniform_value),
            },
            **({"risk": risk} if (risk := _plain(allocation.risk())) else {}),
        },
        "key": {"features": list(features.values())},
        "rows": rows,
        "fallback": _fallback(allocation) | {"marginal": None},
        "guarantees": [],
        "provenance": {
            "tool": {"name": "scaling", "version": __version__, "git": None},
            "fits": _plain(menu.provenance.get("fits", [])),
            "data": _plain(menu.provenance.get("data", [])),
            "prices": _plain(menu.provenance.get("prices")),
            "cost_model": _plain(menu.provenance.get("cost_model")),
            "seed": allocation.seed,
        },
    }
    for limit in allocation.limits:
        constraint = _constraint(limit, menu, rows)
        constraint["realised"] = realised(document, constraint)
        document["objective"]["constraints"].append(constraint)
    if allocation.target is not None:
        target = allocation.target
        document["objective"]["target"] = {
            "value": target.value,
            "resource": target.resource,
            "cost": target.cost,
            "bound": target.bound,
            "relative_gap": target.relative_gap,
        }
    document["guarantees"] = [
        {"property": name, "verified": False, "detail": wrong}
        if wrong
        else {"property": name, "verified": True}
        for name, wrong in guarantees(document).items()
    ]
    document["table_id"] = table_id(document)
    return BudgetTable.from_document(document)


class _Rows:
    """The rows of a table, entries of a shared curve built once."""

    def __init__(self, allocation: Allocation, features: Mapping[str, dict[str, Any]]) -> None:
        self._allocation = allocation
        self._menu = allocation.ladder
        self._features = features
        self._ladders: dict[int, list[dict[str, Any]]] = {}
        self._split = {each.class_index: each for each in allocation.split}
        self._hopeless = hopeless(allocation)
        self._limits = [(limit, limit.members(self._menu)) for limit in allocation.limits]
        self._common_limits = _hard_limits(x for x in allocation.limits if not x.where)
        # Of what is said of the whole, that some classes are served the fallback, or beyond the
        # data, goes to the rows of those classes.
        said = _cautions([*allocation.cautions, *self._menu.cautions.get(-1, ())])
        self._common = [each for each in said if each["code"] not in _OF_SOME_ROWS]
        self._extrapolated = [each for each in said if each["code"] == "extrapolated"]

    def _hard_limits(self, c: int) -> dict[str, float]:
        """The caps on every request of a class."""
        if not any(limit.where for limit, _ in self._limits):
            return self._common_limits
        return _hard_limits(limit for limit, about in self._limits if about[c])

    def _may_abstain(self, c: int) -> bool:
        """Whether a class may be served nothing: not where it must be worth something."""
        return bool(self._menu.skip) and not any(
            limit.sense == "min" and limit.scope == "each" and limit.amount > 0 and about[c]
            for limit, about in self._limits
        )

    def written(self) -> list[dict[str, Any]]:
        menu = self._menu
        weight = np.asarray(menu.weight, dtype=np.float64)
        weight = weight / math.fsum(weight)
        ids = _row_ids(menu, self._features)
        return [
            {"row_id": ids[c], "when": self._when(c), "weight": float(weight[c])} | self._served(c)
            for c in range(len(weight))
        ]

    def _when(self, c: int) -> dict[str, Any]:
        return {
            feature["name"]: _condition(self._menu.key[column][c], feature)
            for column, feature in self._features.items()
        }

    def _served(self, c: int) -> dict[str, Any]:
        """Action, expectation, ladder and what qualifies them, for one class."""
        menu, chosen = self._menu, int(self._allocation.chosen[c])
        cautions: list[Any] = [*menu.cautions.get(c, ()), *self._common]
        if chosen == -2:
            return self._fallback_row(c, cautions)
        first = int(menu.start[menu.curve[c]])
        may_abstain = self._may_abstain(c)
        ladder = self._ladder(int(menu.curve[c]), may_abstain=may_abstain)
        shares = {chosen: 1.0}
        if c in self._split:
            divided = self._split[c]
            shares = {int(divided.lower): 1 - divided.share, int(divided.upper): divided.share}
        main = max(shares, key=lambda rung: shares[rung])  # of equal shares the lower rung
        entry = abstention(ladder[0]["expected"]) if main == -1 else ladder[main - first]
        row: dict[str, Any] = {
            "action": entry["action"],
            "expected": entry["expected"],
            "marginal": entry.get("marginal"),
        }
        if hard_limits := self._hard_limits(c):
            row["hard_limits"] = hard_limits
        if c in self._split:
            row["split"] = [
                {"rung": rung - first, "share": float(share)}
                for rung, share in sorted(shares.items())
                if rung >= 0
            ]
        if self._hopeless[c]:
            cautions.append(HOPELESS)
        beyond = menu.extrapolated is not None and any(
            menu.extrapolated[rung] for rung in shares if rung >= 0
        )
        if beyond:
            cautions += self._extrapolated
        spread = [rung["expected"]["value"] for rung in ladder]
        if any(rung["action"]["model"] == UNKNOWN_MODEL for rung in ladder):
            cautions.append(_UNNAMED)
        if _off_centre(menu, first, first + len(ladder)):
            cautions.append(_OFF_CENTRE)
        if main in (-1, first):
            cautions += self._little_to_gain(ladder[0], nothing=main == -1)
        regret = self._allocation.regret
        if regret is not None and (told := regret.row(c)) is not None:
            row["uncertainty"] = told
        return row | {
            "guarantee": "asymptotic" if any("interval" in each for each in spread) else "none",
            "support": {**self._support(c), "extrapolated": beyond},
            "cautions": _cautions(cautions),
            "ladder": ladder,
            "may_abstain": may_abstain,
        }

    def _little_to_gain(self, rung: dict[str, Any], *, nothing: bool) -> list[dict[str, str]]:
        """Says of a class that its cheapest action gains less than the price, where it does."""
        resource, price = self._allocation.priced_resource, self._allocation.price or 0.0
        value, use = (
            rung["expected"]["value"]["mean"],
            rung["expected"]["resources"][resource]["mean"],
        )
        if not price * use > value * (1 + 1e-9):
            return []
        end = "so it gets nothing" if nothing else "but doing nothing is not on offer"
        message = (
            f"the first action gains {value / use:.3g} per unit of {resource}, less than the "
            f"{price:.3g} that it buys elsewhere, {end}."
        )
        return [{"code": "little-to-gain", "message": message}]

    def _fallback_row(self, c: int, cautions: list[Any]) -> dict[str, Any]:
        """A class whose group is unusable: the fallback is all that it is offered."""
        skip, resource = bool(self._menu.skip), self._allocation.priced_resource
        hard_limits = self._hard_limits(c)
        entry = _fallback(self._allocation, c)
        unknown = entry["expected"]["value"]["mean"] is None
        rung = _with_marginals([entry], resource, may_abstain=skip)[0]
        return {
            **rung,
            **({"hard_limits": hard_limits} if hard_limits else {}),
            "guarantee": "none",
            "cautions": _cautions([_UNKNOWN if unknown else _UNUSABLE, *cautions]),
            "ladder": [rung],
            "may_abstain": skip,
        }

    def _ladder(self, curve: int, *, may_abstain: bool) -> list[dict[str, Any]]:
        if curve not in self._ladders:
            menu = self._menu
            rungs = range(int(menu.start[curve]), int(menu.start[curve + 1]))
            # Where a limit on each query leaves no action, doing nothing is all there is.
            self._ladders[curve] = _with_marginals(
                [_rung(menu, r) for r in rungs] or [abstention({"resources": menu.cost})],
                self._allocation.priced_resource,
                may_abstain=may_abstain,
            )
        return self._ladders[curve]

    def _support(self, c: int) -> dict[str, Any]:
        """What stands behind a class; a negative count is an unknown one."""
        return {
            name: int(count[c]) for name, count in self._menu.support.items() if int(count[c]) >= 0
        }


_OF_SOME_ROWS = {"fallback-served", "extrapolated"}
_UNUSABLE = {
    "code": "fallback-served",
    "message": "no usable fit stands behind this class; it is served the fallback.",
}
_UNKNOWN = {
    "code": "fallback-served",
    "message": "no usable fit stands behind this class; it is served the fallback. What it gains is "
    "not known, and counts as 0 in the certificate.",
}
_UNNAMED = {
    "code": "model-unnamed",
    "message": f"the log names no model; '{UNKNOWN_MODEL}' stands for it. Put your model there.",
}
_OFF_CENTRE = {
    "code": "interval-excludes-mean",
    "message": "the interval of a rung does not hold its mean and was left out.",
}


def _features(menu: Menu) -> dict[str, dict[str, Any]]:
    """The key's features by class column; a column whose bins have no cut point tells nothing."""
    features: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for column, values in menu.key.items():
        cuts = menu.bins.get(column)
        if cuts is not None and len(cuts) == 0:
            continue
        name = _unique(_identifier(column), names, "_")
        feature: dict[str, Any] = {"name": name, "dtype": _dtype(column, values, cuts)}
        if name != column:
            feature["path"] = column
        if column == PROBE:
            feature["source"] = "probe"
        if cuts is not None:
            feature["bins"] = [_finite(cut, f"a cut point of '{column}'") for cut in cuts]
        elif feature["dtype"] != "number":
            feature["values"] = sorted({_condition(value, feature) for value in values})
        features[column] = feature
    return features


def _dtype(column: str, values: np.ndarray[Any, Any], cuts: Sequence[float] | None) -> str:
    if cuts is not None:
        return "number"
    kinds = {type(_scalar(value)) for value in values}
    if kinds == {str} and _are_truths({str(value) for value in values}):
        return "boolean"
    for kind, name in ((bool, "boolean"), (int, "integer"), (str, "string")):
        if kinds == {kind}:
            return name
    if kinds <= {int, float}:
        whole = all(float(value).is_integer() for value in values)
        return "integer" if whole else "number"
    raise InputError(
        f"Class column '{column}' mixes {', '.join(sorted(kind.__name__ for kind in kinds))}. "
        "A column holds text, whole numbers, numbers or booleans only."
    )


def _are_truths(texts: set[str]) -> bool:
    """Whether these are true and false in letters, none of them spelled in two ways."""
    lower = {text.lower() for text in texts}
    return lower <= {"true", "false"} and len(lower) == len(texts)


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _identifier(column: str) -> str:
    """The column's name as a feature's name: lower case letters, digits and underscores."""
    if re.fullmatch("[a-z][a-z0-9_]*", column):
        return column
    slug = re.sub("[^a-z0-9]+", "_", column.lower()).strip("_")
    return slug if slug[:1].isalpha() else f"feature_{slug}".rstrip("_")


def _unique(name: str, taken: set[str], joint: str) -> str:
    """`name`, or `name` and the first number from 2 that makes it new; it is then taken."""
    number, unique = 2, name
    while unique in taken:
        unique = f"{name}{joint}{number}"
        number += 1
    taken.add(unique)
    return unique


def _condition(value: Any, feature: Mapping[str, Any]) -> Any:
    """What a class's row asks of a feature."""
    value = _scalar(value)
    if feature["dtype"] == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if "bins" in feature or feature["dtype"] == "integer":
        return int(value)
    if feature["dtype"] == "number":  # the schema names no fractions: from v to the next number
        low = _finite(value, f"a value of '{feature['name']}'")
        return {"gte": low, "lt": math.nextafter(low, math.inf)}
    return value


def _row_ids(menu: Menu, features: Mapping[str, dict[str, Any]]) -> list[str]:
    """Readable and unique: `math-hard`, `level-3`; `all` where there is no feature."""
    ids: list[str] = []
    taken: set[str] = set()
    for c in range(len(menu.weight)):
        parts = []
        for column, feature in features.items():
            value = _scalar(menu.key[column][c])
            if feature["dtype"] == "boolean":
                value = _condition(value, feature)
            part = str(value) if isinstance(value, str) else f"{feature['name']}-{value}".lower()
            parts.append(re.sub("[^A-Za-z0-9._]+", "-", part).strip("-") or feature["name"])
        ids.append(_unique("-".join(parts) or "all", taken, "-"))
    return ids


def _rung(menu: Menu, rung: int) -> dict[str, Any]:
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


def _fallback(allocation: Allocation, c: int | None = None) -> dict[str, Any]:
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
            name: {"mean": _finite(cost[name], f"{name} of an action")}
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
    return {"mean": min(max(_finite(mean, what), 0.0), 1.0)}


def _action(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Action columns of a menu as fields of a table's action."""
    values = {name: _scalar(value) for name, value in columns.items()}
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
        rule["threshold"] = _finite(threshold, "a stop_threshold")
    if stop == "first_accepted" or (n > 1 and (strategy is None or stop != "none")):
        action["stop_rule"] = rule
    return action


def _refuse_foreign_actions(menu: Menu) -> None:
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
        for value in dict.fromkeys(_scalar(each) for each in values):
            allowed = value == "" or validator.is_valid(value)
            if not allowed:
                message = next(validator.iter_errors(value)).message
                raise InputError(f"Action column '{column}' holds {value!r}: {message}.")


def _with_marginals(
    ladder: list[dict[str, Any]], resource: str, *, may_abstain: bool
) -> list[dict[str, Any]]:
    """The ladder with each rung's marginal value per unit of `resource`."""
    value = [0.0, *(rung["expected"]["value"]["mean"] for rung in ladder)]  # null: not known
    use = [0.0, *(rung["expected"]["resources"][resource]["mean"] for rung in ladder)]
    marginals: list[float | None] = [
        _finite((high - low) / (after - before), f"the marginal value per {resource} of an action")
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


def _off_centre(menu: Menu, low: int, high: int) -> bool:
    """Whether some rung has an interval that does not hold its mean."""
    if menu.interval is None:
        return False
    value, ends = menu.value[low:high], menu.interval[low:high]
    return bool(((value < ends[:, 0]) | (value > ends[:, 1])).any())  # false for NaN


def _constraint(limit: Limit, menu: Menu, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A limit as a constraint; what the rows realise is filled in when they stand."""
    constraint: dict[str, Any] = {
        "resource": menu.maximise if limit.resource == VALUE else limit.resource,
        "scope": limit.scope if limit.percentile is None else "percentile",
        "sense": limit.sense,
        "limit": _finite(limit.amount, f"the limit on {limit.resource}"),
        "realised": None,
        "shadow_price": _or_null(limit.price),
    }
    if limit.confidence is not None:
        constraint |= {"confidence": limit.confidence, "margin": limit.margin}
    if limit.scope == "total":
        constraint["queries"] = limit.queries
    if limit.percentile is not None:
        constraint["percentile"] = limit.percentile
    if limit.action:
        constraint["action"] = {
            KNOBS.get(name, name): _scalar(value) for name, value in limit.action.items()
        }
    about = limit.members(menu)
    if limit.scope == "each" and limit.resource == VALUE:
        about &= menu.curve >= 0  # nothing is known of the others
    if not about.all():
        constraint["rows"] = [row["row_id"] for row, of in zip(rows, about, strict=True) if of]
        constraint["detail"] = limit.words
    return constraint


def _hard_limits(limits: Iterable[Limit]) -> dict[str, float]:
    """The caps on every request that limits on each query come to."""
    caps: dict[str, float] = {}
    for limit in limits:
        if limit.scope == "each" and limit.sense == "max" and limit.resource in _HARD_LIMITS:
            name, rounded = _HARD_LIMITS[limit.resource]
            cap = min(rounded(limit.amount), caps.get(name, math.inf))
            if cap > 0:  # a cap of nothing leaves nothing to cap
                caps[name] = cap
    return caps


def _cautions(given: Iterable[Any]) -> list[dict[str, str]]:
    """Cautions without repetition, in the order given; the group that one is of leads its message."""
    pairs = dict.fromkeys((_field(each, "code"), _message(each)) for each in given)
    return [{"code": code, "message": message} for code, message in pairs]


def _message(caution: Any) -> str:
    message = _field(caution, "message")
    group = caution.get("group") if isinstance(caution, Mapping) else None
    return f"{group}: {message}" if group else message


def _field(caution: Any, name: str) -> str:
    return str(caution[name] if isinstance(caution, Mapping) else getattr(caution, name))


def _finite(value: Any, what: str) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{what[:1].upper()}{what[1:]} is {number}. It must be a finite number.")
    return number


def _or_null(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """What JSON knows: null for what is no number, lists for sequences and arrays."""
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(each) for each in value]
    value = _scalar(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _instant(name: str, given: datetime | str) -> datetime:
    """An instant in UTC, to the second."""
    try:
        instant = datetime.fromisoformat(given) if isinstance(given, str) else given
        aware = instant.tzinfo is not None
    except ValueError:
        aware = False
    if not aware:
        raise InputError(
            f"{name} {given} is no instant with a time zone. Give one such as 2026-01-31T12:00:00Z."
        )
    return instant.astimezone(UTC).replace(microsecond=0)


def _text(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
