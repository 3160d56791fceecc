"""What an allocation is: the action of every class, its price and its certificate."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from scaling.allocators.limit import Limit
from scaling.curves import IntArray, Menu

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from scaling.allocators.cvar import TailValue
    from scaling.allocators.risk import Regret
    from scaling.tables import BudgetTable


@dataclass(frozen=True)
class Split:
    """One class divided between two neighbouring rungs of its ladder.

    Attributes:
        class_index: the class.
        lower: ladder rung that the rest of its queries get; -1 for doing nothing.
        upper: ladder rung that a share of its queries gets.
        share: that share, in (0, 1).
    """

    class_index: int
    lower: int
    upper: int
    share: float


@dataclass(frozen=True)
class Fallback:
    """The best single action for every query, served where no class matches.

    Attributes:
        action: action columns; empty where it is doing nothing, or where the menu has none.
        value: weighted mean over the usable classes that offer it.
        cost: resource to weighted mean use per query, over the same classes.
        offered: share of the usable classes' weight that offers it.
        nothing: whether it is doing nothing.
        own_cost: index of an unusable class whose own costs are known to what it uses there, by
            resource. What such a class gains is not known.
    """

    action: Mapping[str, Any]
    value: float
    cost: Mapping[str, float]
    offered: float = 1.0
    nothing: bool = False
    own_cost: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    def value_of(self, index: int) -> float | None:
        """What an unusable class gains by it; None where that is not known."""
        return None if index in self.own_cost and not self.nothing else self.value

    def cost_of(self, index: int) -> Mapping[str, float]:
        """What an unusable class uses by it, by resource."""
        return self.own_cost.get(index, self.cost)


@dataclass(frozen=True)
class Target:
    """What the least cost for a value comes to.

    Attributes:
        value: what the mean value per query had to be at least.
        resource: of what the least is spent.
        cost: what is spent, per query.
        bound: no allocation within the limits that is worth as much costs less (weak duality).
        relative_gap: `(cost - bound) / cost`.
        price: value per unit of the resource at the optimum; one more unit of value costs
            `1 / price`.
    """

    value: float
    resource: str
    cost: float
    bound: float
    relative_gap: float
    price: float


@dataclass(frozen=True)
class Allocation:
    """The action chosen for every class, with the certificate of the choice.

    Attributes:
        ladder: the menu's classes, each with at most 64 hull rungs that rise strictly in the priced
            resource; the chosen rung and its neighbours on the hull are among them.
        chosen: shape (C,), rung of `ladder` that a class gets; -1 for doing nothing, -2 where its
            group is unusable and it is served the fallback.
        split: the class that is divided, where asked for.
        limits: what was asked for, with what is used and the shadow price.
        priced_resource: the resource in which ladders are priced.
        value: weighted mean value per query; a value that is not known counts as 0, here and in
            `bound` and `uniform_value`.
        bound: no allocation within the limits has a larger value (weak duality).
        relative_gap: `(bound - value) / bound`.
        uniform_value: value of the even spend, where every query may use at most the average
            budget; None where some class has no action that cheap.
        n_menu: rungs on offer within the limits on each query.
        n_nonhull: rungs on offer that no price selects.
        nonhull: some of their actions by name, at most 20.
        spent: resource to mean use per query.
        unspent: what is left of the average budget of the priced resource, per query.
        unspent_cause: why it is left, None where nothing is.
        fallback: the best single action that the average budget affords.
        cautions: what to know before acting on this, each with `code` and `message`.
        seed: recorded; the solve draws no random number.
        status: "optimal": no better within the gap.
        target: where the least cost for a value was asked for, what it comes to; the certificate of
            value is then for what is spent.
        method: `price`, or `exact` where a solver has proved the answer best.
        menu: what it was chosen from; no part of its documents.
        regret: over joint draws of the values, where there are any.
        cvar: what was maximised instead of the mean value, where asked for.
    """

    ladder: Menu
    chosen: IntArray
    split: tuple[Split, ...]
    limits: tuple[Limit, ...]
    priced_resource: str
    value: float
    bound: float
    relative_gap: float
    uniform_value: float | None
    n_menu: int
    n_nonhull: int
    nonhull: tuple[Mapping[str, Any], ...]
    spent: Mapping[str, float]
    unspent: float
    unspent_cause: str | None
    fallback: Fallback
    cautions: tuple[Mapping[str, str], ...] = field(default=())
    seed: int | None = None
    status: Literal["optimal"] = "optimal"
    target: Target | None = None
    method: Literal["price", "exact"] = "price"
    menu: Menu | None = field(default=None, repr=False, compare=False)
    regret: Regret | None = field(default=None, repr=False)
    cvar: TailValue | None = None

    @property
    def price(self) -> float | None:
        """Shadow price of the priced resource: what one more unit a query buys."""
        if self.target is not None:
            return self.target.price
        for limit in self.limits:
            if limit.is_budget and limit.resource == self.priced_resource:
                return limit.price
        return None

    def table(self, **options: Any) -> BudgetTable:
        """The budget table that a server loads; options as `scaling.tables.build.build` takes."""
        from scaling.tables.build import build

        return build(self, **options)

    def rows(self, most: int | None = None) -> list[dict[str, Any]]:
        """One row a class: key, share of traffic, status, action, value, interval, use, split.

        Args:
            most: rows to return; all where None.
        """
        menu, total = self.ladder, math.fsum(self.ladder.weight.tolist())
        divided = {part.class_index: part for part in self.split}
        rows: list[dict[str, Any]] = []
        for index, rung in enumerate(self.chosen[:most].tolist()):
            row: dict[str, Any] = {
                "class": menu.key_of(index),
                "weight": float(menu.weight[index]) / total,
                "status": {-1: "abstain", -2: "fallback"}.get(rung, "chosen"),
                **self._outcome(rung, index),
                "split": None,
            }
            if index in divided:
                part = divided[index]
                row["split"] = {"share": part.share, **self._outcome(part.upper, index)}
            rows.append(row)
        return rows

    def _outcome(self, rung: int, index: int) -> dict[str, Any]:
        """Action, value, interval and use of a class's rung, of doing nothing, or the fallback."""
        if rung == -2:
            f = self.fallback
            return {
                "action": dict(f.action),
                "value": f.value_of(index),
                "interval": None,
                "cost": dict(f.cost_of(index)),
            }
        if rung == -1:
            nothing = dict.fromkeys(self.ladder.cost, 0.0)
            return {"action": {}, "value": 0.0, "interval": None, "cost": nothing}
        menu = self.ladder
        band = None if menu.interval is None else [float(x) for x in menu.interval[rung]]
        return {
            "action": menu.action_of(rung),
            "value": float(menu.value[rung]),
            "interval": None if band is None or not all(map(math.isfinite, band)) else band,
            "cost": {name: float(column[rung]) for name, column in menu.cost.items()},
        }

    def to_frame(self) -> pd.DataFrame:
        """One row a class: key and action columns, value, interval, use of every resource.

        A divided class has a second row, and `share` says how much of it each row serves.
        """
        import pandas as pd

        flat: list[dict[str, Any]] = []
        for row in self.rows():
            part = row.pop("split")
            share = 1.0 if part is None else 1 - part["share"]
            flat.append(self._flat({**row, "share": share}))
            if part is not None:
                flat.append(self._flat({**row, "status": "chosen", **part}))
        columns = [*self.ladder.key, "weight", "share", "status", *self.ladder.action]
        columns += ["value", "low", "high", *self.ladder.cost]
        return pd.DataFrame(flat, columns=list(dict.fromkeys(columns)))

    @staticmethod
    def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
        low, high = row["interval"] or (None, None)
        return {
            **row["cost"], **row["action"], **row["class"],
            "weight": row["weight"], "share": row["share"], "status": row["status"],
            "value": row["value"], "low": low, "high": high,
        }  # fmt: skip

    def document(self) -> dict[str, Any]:
        """The allocation as plain data (`kind: "scaling-allocation"`), without NaN or Infinity."""
        from scaling._version import __version__

        return {
            "schema_version": "1.0",
            "kind": "scaling-allocation",
            "status": self.status,
            "maximise": self.ladder.maximise,
            "estimand": self.ladder.estimand,
            "priced_resource": self.priced_resource,
            "limits": [
                {
                    "resource": limit.resource,
                    "scope": limit.scope,
                    "amount": limit.amount,
                    "queries": limit.queries,
                    "realised": limit.realised,
                    "price": limit.price,
                    "sense": limit.sense,
                    "where": {name: list(values) for name, values in limit.where.items()},
                    "action": dict(limit.action),
                    "confidence": limit.confidence,
                    "margin": limit.margin,
                }
                for limit in self.limits
            ],
            "method": self.method,
            "target": None if self.target is None else asdict(self.target),
            "certificate": {
                "value": self.value,
                "bound": self.bound,
                "relative_gap": self.relative_gap,
                "uniform_value": self.uniform_value,
            },
            "risk": self.risk() or None,
            "spent": dict(self.spent),
            "unspent": self.unspent,
            "unspent_cause": self.unspent_cause,
            "menu": {
                "rungs": self.n_menu,
                "nonhull": self.n_nonhull,
                "nonhull_actions": [dict(action) for action in self.nonhull],
            },
            "rows": self.rows(),
            "fallback": {
                "action": dict(self.fallback.action),
                "value": self.fallback.value,
                "cost": dict(self.fallback.cost),
                "offered": self.fallback.offered,
                "nothing": self.fallback.nothing,
            },
            "cautions": [dict(caution) for caution in self.cautions],
            "seed": self.seed,
            "tool": {"name": "scaling", "version": __version__},
        }

    def risk(self) -> dict[str, Any]:
        """What the uncertainty of the values means, as the budget table has it; empty where unknown."""
        known = self.regret or self.cvar
        if known is None:
            return {}
        told: dict[str, Any] = {"draws": known.draws, "seed": known.seed}
        if self.regret is not None:
            told["regret"] = self.regret.document()
        if self.cvar is not None:
            told["cvar"] = self.cvar.document()
        return told

    def to_json(self) -> str:
        """`document` as JSON text."""
        return json.dumps(self.document(), allow_nan=False, ensure_ascii=False, indent=1)

    def _repr_html_(self) -> str:
        from html import escape

        lines = [
            f"{self.ladder.maximise} {self.value:.4f}, at most {self.bound:.4f} within the budget",
            "even spend: "
            + ("not feasible" if self.uniform_value is None else f"{self.uniform_value:.4f}"),
        ]
        lines += [
            f"{limit.words}: {limit.realised:.6g}, {limit.sense} {limit.amount:.6g}"
            + ("" if limit.price is None else f", one more buys {limit.price:.3g}")
            for limit in self.limits
            if limit.realised is not None
        ]
        lines += [caution["message"] for caution in self.cautions]
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        table = self.to_frame().head(50).to_html(index=False, na_rep="", border=0)
        return f"<div><strong>Allocation</strong><ul>{items}</ul>{table}</div>"
