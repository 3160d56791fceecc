"""What moved between two budget tables, and why."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scaling.errors import InputError
from scaling.tables.lookup import abstention

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scaling.tables.table import BudgetTable

_SAME = 1e-9
"""Relative; numbers that differ by less are the same."""

CAUSES: Mapping[str, str] = {
    "price": "the shadow price moved",
    "values": "what its actions are worth changed",
    "costs": "what its actions cost changed",
    "menu": "the actions on offer changed",
    "leftover": "what was left of the budget is filled another way",
    "objective": "what is maximised, or priced, is another thing",
    "traffic": "its share of the traffic changed",
}
"""Causes of a row's change, by code."""


@dataclass(frozen=True)
class Difference:
    """What moved from one table to another.

    Attributes:
        old, new: their `table_id`.
        maximise: what values are, before and after.
        priced_resource: what costs are of, before and after; those of rows are of the latter.
        inputs: what went into the tables and is not the same, each with `what`, `before`, `after`.
        value: certified value before and after, None where a table has none.
        prices: each limit's shadow price before and after, by its name.
        rows: one a row of either table: `row_id`, `when`, `status` (`same`, `changed`, `added`,
            `removed`), and before and after of `action`, `value`, `cost` (priced resource) and
            `weight`; `causes`, codes of `CAUSES`, and `why`, in words.
    """

    old: str
    new: str
    maximise: Mapping[str, str]
    priced_resource: Mapping[str, str | None]
    inputs: tuple[Mapping[str, Any], ...]
    value: Mapping[str, float | None]
    prices: Mapping[str, Mapping[str, float | None]]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def same(self) -> bool:
        """Whether the two tables serve the same budgets with the same expectations."""
        return not self.inputs and all(row["status"] == "same" for row in self.rows)

    def document(self) -> dict[str, Any]:
        """The difference as plain data (`kind: "scaling-table-diff"`)."""
        return {
            "schema_version": "1.0",
            "kind": "scaling-table-diff",
            "old": self.old,
            "new": self.new,
            "same": self.same,
            "maximise": dict(self.maximise),
            "priced_resource": dict(self.priced_resource),
            "inputs": [dict(each) for each in self.inputs],
            "value": dict(self.value),
            "prices": {name: dict(pair) for name, pair in self.prices.items()},
            "rows": [dict(row) for row in self.rows],
        }


def diff(old: BudgetTable, new: BudgetTable) -> Difference:
    """What moved from `old` to `new`, and why.

    Rows are the same where they serve the same queries (`when`). A row changed where its action,
    what is expected of it, or its share of the traffic did. Why its action changed is told by two
    questions to the ladders: what the old ladder serves at the new shadow price, and what the new
    ladder serves at the old one. The change that alone gives the new action is the cause; both are
    where each, or neither, does.

    Raises:
        InputError: a table that does not hold together.
    """
    one, two = old.document, new.document
    try:
        return Difference(
            old.table_id,
            new.table_id,
            _stated(one, two, "maximise"),
            _stated(one, two, "priced_resource"),
            tuple(_inputs(one, two)),
            {"before": _certified(one), "after": _certified(two)},
            _shadow_prices(one, two),
            tuple(_rows(one, two)),
        )
    except (AttributeError, LookupError, TypeError) as error:
        raise InputError(
            f"A table does not hold together ({type(error).__name__}: {error}). "
            "`scaling table check` names what is wrong."
        ) from error


# --- what went in ------------------------------------------------------------------------------


def _stated(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What either table's objective says of `name`."""
    return {"before": old["objective"][name], "after": new["objective"][name]}


def _inputs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is not the same of everything that a table was made from."""
    for what, read in _READ.items():
        before, after = read(old), read(new)
        if not _alike(before, after):
            yield {"what": what, "before": before, "after": after}


def _fits(document: Mapping[str, Any], *names: str) -> list[Any]:
    fits = document["provenance"]["fits"]
    found = [" ".join(str(fit[name]) for name in names if fit.get(name)) for fit in fits]
    return sorted(dict.fromkeys(found))


def _limits(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        _named(each): {
            name: each[name] for name in ("limit", "queries", "confidence") if name in each
        }
        for each in document["objective"]["constraints"]
    }


def _named(constraint: Mapping[str, Any]) -> str:
    """`tokens:average`, `seconds:p95`, as the command line names a limit; what else it is about follows."""
    percentile = constraint.get("percentile")
    scope = constraint["scope"] if percentile is None else f"p{percentile:g}"
    sense = "" if constraint["sense"] == "max" else ":min"
    action = ", ".join(f"{name}={value}" for name, value in constraint.get("action", {}).items())
    about = constraint.get("detail") or action
    return f"{constraint['resource']}:{scope}{sense}" + (f" ({about})" if about else "")


def _cvar_level(document: Mapping[str, Any]) -> Any:
    return document["objective"].get("risk", {}).get("cvar", {}).get("level")


_READ: Mapping[str, Any] = {
    "maximise": lambda d: d["objective"]["maximise"],
    "priced resource": lambda d: d["objective"]["priced_resource"],
    "constraints": _limits,
    "cvar": _cvar_level,
    "law": lambda d: _fits(d, "law", "objective"),
    "fit": lambda d: _fits(d, "sha256"),
    "data": lambda d: sorted(each["sha256"] for each in d["provenance"]["data"]),
    "token prices": lambda d: d["provenance"]["prices"],
    "cost model": lambda d: d["provenance"].get("cost_model"),
    "key": lambda d: [{k: f.get(k) for k in ("name", "bins")} for f in d["key"]["features"]],
    "seed": lambda d: d["provenance"]["seed"],
    "tool": lambda d: d["provenance"]["tool"]["version"],
}
"""What a table was made from, in the order in which differences are told."""


def _certified(document: Mapping[str, Any]) -> float | None:
    value: float | None = document["objective"].get("certificate", {}).get("value")
    return value


def _shadow_prices(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, dict[str, float | None]]:
    found: dict[str, dict[str, float | None]] = {}
    for side, document in (("before", old), ("after", new)):
        for each in document["objective"]["constraints"]:
            pair = found.setdefault(_named(each), {"before": None, "after": None})
            pair[side] = each.get("shadow_price")
    return found


# --- the rows ----------------------------------------------------------------------------------


def _rows(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every row of either table, in the order of the new one; those that went come last."""
    before = {_place(row): row for row in old["rows"]}
    prices = _price(old), _price(new)
    resource = new["objective"]["priced_resource"]
    other = any(old["objective"][n] != new["objective"][n] for n in ("maximise", "priced_resource"))
    for row in new["rows"]:
        was = before.pop(_place(row), None)
        if was is None:
            yield _alone(row, resource, "after", "added", "no row served these queries")
        else:
            yield _moved(was, row, resource, prices, other=other)
    for row in before.values():
        yield _alone(row, resource, "before", "removed", "no row serves these queries now")


def _place(row: Mapping[str, Any]) -> str:
    return json.dumps(row["when"], sort_keys=True)


def _alone(
    row: Mapping[str, Any], resource: str | None, side: str, status: str, why: str
) -> dict[str, Any]:
    told = {"before": None, "after": None}
    value, cost = _expected(row, resource)
    return {
        "row_id": row["row_id"],
        "when": row["when"],
        "status": status,
        "action": {**told, side: _acts(row)},
        "value": {**told, side: value},
        "cost": {**told, side: cost},
        "weight": {**told, side: row["weight"]},
        "causes": [],
        "why": why,
    }


def _moved(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    resource: str | None,
    prices: tuple[float | None, float | None],
    *,
    other: bool,
) -> dict[str, Any]:
    told: dict[str, Any] = {"row_id": new["row_id"], "when": new["when"], "status": "same"}
    (v0, c0), (v1, c1) = _expected(old, resource), _expected(new, resource)
    told |= {
        "action": {"before": _acts(old), "after": _acts(new)},
        "value": {"before": v0, "after": v1},
        "cost": {"before": c0, "after": c1},
        "weight": {"before": old["weight"], "after": new["weight"]},
    }
    acts = _alike(_acts(old), _acts(new))
    curve = _curve(old, new, resource)
    if other:
        causes = ["objective"] if not acts else []
    elif acts:
        causes = [] if _alike(v0, v1) and _alike(c0, c1) else curve
    else:
        causes = _causes(old, new, prices, curve)
    if not _alike(old["weight"], new["weight"]):
        causes = [*causes, "traffic"]
    changed = not (acts and _alike(v0, v1) and _alike(c0, c1) and not causes)
    told["status"] = "changed" if changed else "same"
    told["causes"] = causes
    told["why"] = "; ".join(CAUSES[cause] for cause in causes)
    return told


def _causes(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    prices: tuple[float | None, float | None],
    curve: list[str],
) -> list[str]:
    """Why a row has another action."""
    moved = not _alike(*prices)
    if not moved:
        return curve or ["leftover"]
    if not curve:
        return ["price"]
    price_alone = _at(old, prices[1]) == new["action"]
    curve_alone = _at(new, prices[0]) == new["action"]
    if price_alone == curve_alone:
        return ["price", *curve]
    return ["price"] if price_alone else curve


def _curve(old: Mapping[str, Any], new: Mapping[str, Any], resource: str | None) -> list[str]:
    """What is not the same of two ladders; thinned rungs between their ends do not count."""
    ours = {json.dumps(rung["action"], sort_keys=True): rung for rung in old["ladder"]}
    theirs = {json.dumps(rung["action"], sort_keys=True): rung for rung in new["ladder"]}
    found = []
    common = [(ours[name], theirs[name]) for name in ours if name in theirs]
    expected = [(_numbers(a, resource), _numbers(b, resource)) for a, b in common]
    if not all(_alike(a[0], b[0]) for a, b in expected):
        found.append("values")
    if not all(_alike(a[1], b[1]) for a, b in expected):
        found.append("costs")
    ends = [(table["ladder"][i]["action"]) for table in (old, new) for i in (0, -1)]
    skip = old.get("may_abstain", False) != new.get("may_abstain", False)
    if skip or ends[:2] != ends[2:] or not common:
        found.append("menu")
    return found


def _at(row: Mapping[str, Any], price: float | None) -> Any:
    """The action that a row's ladder serves at a price."""
    for rung in reversed(row["ladder"]):
        if price is not None and (rung.get("marginal") or 0.0) >= price:
            return rung["action"]
    if row.get("may_abstain"):
        return abstention(row["expected"])["action"]
    return row["ladder"][0]["action"]


def _price(document: Mapping[str, Any]) -> float | None:
    """The shadow price of the priced resource."""
    for each in document["objective"]["constraints"]:
        price: float | None = each.get("shadow_price")
        if each["resource"] == document["objective"]["priced_resource"] and price is not None:
            return price
    return None


def _acts(row: Mapping[str, Any]) -> Any:
    """What a row serves: its action, or its parts where it is divided."""
    if not row.get("split"):
        return row["action"]
    return [
        {"share": part["share"], **row["ladder"][part["rung"]]["action"]} for part in row["split"]
    ]


def _expected(row: Mapping[str, Any], resource: str | None) -> tuple[float | None, float | None]:
    """Mean value and use of a row as it is served."""
    parts = [(1.0, row)]
    if row.get("split"):
        parts = [(part["share"], row["ladder"][part["rung"]]) for part in row["split"]]
    each = [(share, *_numbers(entry, resource)) for share, entry in parts]
    return _mean([(s, v) for s, v, _ in each]), _mean([(s, c) for s, _, c in each])


def _mean(parts: Sequence[tuple[float, float | None]]) -> float | None:
    known = [share * x for share, x in parts if x is not None]
    return math.fsum(known) if len(known) == len(parts) else None


def _numbers(entry: Mapping[str, Any], resource: str | None) -> tuple[float | None, float | None]:
    expected = entry["expected"]
    used = expected["resources"].get(resource, {"mean": None})
    return expected["value"]["mean"], used["mean"]


def _alike(one: Any, other: Any) -> bool:
    """Equality, of numbers up to rounding."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        if isinstance(one, bool) or isinstance(other, bool):
            return one is other
        return math.isclose(one, other, rel_tol=_SAME, abs_tol=1e-15)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)
