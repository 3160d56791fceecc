"""Value against budget, with the price at each point."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.allocators.allocate import GATE_NOT_RUN, Weights, allocate, whole_menu
from scaling.allocators.limit import Limit
from scaling.curves import Menu, MenuSource
from scaling.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from scaling.allocators.allocation import Allocation

MOST = 1000
"""Points of a frontier."""
_WIDEST = 1e3
"""From the largest budget of a frontier that begins with nothing to its smallest."""


@dataclass(frozen=True)
class Point:
    """The best allocation of one budget.

    Attributes:
        budget: average per query.
        value: of the allocation, mean per query.
        bound: no allocation of this budget has a larger value.
        relative_gap: `(bound - value) / bound`.
        price: shadow price of the budget: value per unit of it.
        uniform_value: value of spending it evenly; None where some class has no action that cheap.
        spent: resource to mean use per query.
        carried: whether this is the allocation of a smaller budget, because that found for this one
            was worth less; it keeps all the limits here too.
    """

    budget: float
    value: float
    bound: float
    relative_gap: float
    price: float | None
    uniform_value: float | None
    spent: Mapping[str, float]
    carried: bool = False


@dataclass(frozen=True)
class Frontier:
    """Value against the budget of one resource; both value and bound never fall along it.

    Attributes:
        resource: whose budget is varied.
        maximise: what the value is.
        estimand: which question the values answer.
        limits: what holds besides.
        points: budgets in increasing order.
        cautions: what to know before acting on this.
        seed: recorded.
    """

    resource: str
    maximise: str
    estimand: str | None
    limits: tuple[Limit, ...]
    points: tuple[Point, ...]
    cautions: tuple[Mapping[str, str], ...] = field(default=())
    seed: int | None = None

    def document(self) -> dict[str, Any]:
        """The frontier as plain data (`kind: "scaling-frontier"`), without NaN or Infinity."""
        from scaling._version import __version__

        return {
            "schema_version": "1.0",
            "kind": "scaling-frontier",
            "maximise": self.maximise,
            "estimand": self.estimand,
            "resource": self.resource,
            "limits": [
                {
                    "resource": limit.resource,
                    "scope": limit.scope,
                    "sense": limit.sense,
                    "amount": limit.amount,
                    "queries": limit.queries,
                    "where": {name: list(values) for name, values in limit.where.items()},
                    "action": dict(limit.action),
                }
                for limit in self.limits
            ],
            "points": [asdict(point) for point in self.points],
            "cautions": [dict(caution) for caution in self.cautions],
            "seed": self.seed,
            "tool": {"name": "scaling", "version": __version__},
        }

    def to_json(self) -> str:
        """`document` as JSON text."""
        return json.dumps(self.document(), allow_nan=False, ensure_ascii=False, indent=1)

    def to_frame(self) -> pd.DataFrame:
        """One row a point."""
        import pandas as pd

        rows = []
        for point in self.points:
            row = asdict(point)
            rows.append({**row, **{f"spent_{k}": v for k, v in row.pop("spent").items()}})
        return pd.DataFrame(rows).drop(columns="spent")

    def _repr_html_(self) -> str:
        table = self.to_frame().to_html(index=False, na_rep="", border=0)
        return f"<div><strong>Frontier</strong>{table}</div>"


def frontier(
    source: Menu | MenuSource | Sequence[Menu | MenuSource],
    unit: str,
    budgets: Sequence[float] | None = None,
    *,
    points: int = 25,
    limits: Iterable[Limit | tuple[Any, ...]] = (),
    values: Literal["posterior", "plugin"] = "posterior",
    classes: Literal["group", "problem"] = "group",
    weights: Weights | None = None,
    allow_skip: bool = False,
    split: bool = False,
    extrapolate: bool = False,
    until_success: bool = False,
    until_accepted: tuple[float, float] | None = None,
    costs: Any = None,
    method: Literal["price", "exact"] = "price",
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Frontier:
    """The best value for each of several average budgets of one resource.

    Where several limits bind, the repaired answer of a larger budget may be worth less than that of a
    smaller one; then the smaller one's is carried on. The bound of a budget is the least of its own
    and those of larger budgets.

    Args:
        source: as `scaling.allocate` takes it.
        unit: the resource whose budget is varied.
        budgets: averages per query; where None, `points` of them in equal ratios, from the smallest
            feasible one (a thousandth of the largest where nothing need be spent) to that beyond
            which nothing is gained.
        points: how many.
        limits: what holds besides, at every point.
        values: this and the others as `scaling.allocate` takes them.
        classes: likewise.
        weights: likewise.
        allow_skip: likewise.
        split: likewise.
        extrapolate: likewise.
        until_success: likewise.
        until_accepted: likewise.
        costs: likewise.
        method: likewise.
        seed: likewise.
        progress: called with the share done.

    Raises:
        UsageError: a budget that is negative or not finite, or none.
        InfeasibleError: the smallest budget is too small, or the other limits contradict each other.
    """
    sources = [source] if isinstance(source, Menu | MenuSource) else list(source)
    menu = whole_menu(
        sources, values=values, classes=classes, costs=costs, allow_skip=allow_skip,
        extrapolate=extrapolate, until_success=until_success, until_accepted=until_accepted,
        weights=weights,
    )  # fmt: skip
    others = tuple(limit if isinstance(limit, Limit) else Limit(*limit) for limit in limits)

    def best(budget: float) -> Allocation:
        return allocate(
            menu, budget, unit=unit, limits=others, split=split, method=method, seed=seed
        )

    at = _grid(menu, best, unit, points) if budgets is None else sorted(set(map(float, budgets)))
    if not 1 <= len(at) <= MOST:
        raise UsageError(f"A frontier has {len(at)} budgets. Give from 1 to {MOST}.")
    found: list[Point] = []
    cautions: dict[str, Mapping[str, str]] = {}
    for done, budget in enumerate(at):
        allocation = best(budget)
        found.append(_point(allocation, budget, found[-1] if found else None))
        cautions |= {caution["code"]: caution for caution in allocation.cautions}
        if progress is not None:
            progress((done + 1) / len(at))
    if values == "posterior" and any(not isinstance(one, Menu) for one in sources):
        cautions[GATE_NOT_RUN["code"]] = GATE_NOT_RUN
    least = np.inf
    for i in reversed(range(len(found))):
        point = found[i]
        least = min(least, max(point.bound, point.value))
        gap = (least - point.value) / least if least > 0 else 0.0
        found[i] = replace(point, bound=max(least, point.value), relative_gap=max(gap, 0.0))
    return Frontier(
        unit, menu.maximise, menu.estimand, others, tuple(found), tuple(cautions.values()), seed
    )


def _point(allocation: Allocation, budget: float, before: Point | None) -> Point:
    point = Point(
        budget, allocation.value, allocation.bound, allocation.relative_gap,
        allocation.limits[0].price,
        allocation.uniform_value,
        dict(allocation.spent),
    )  # fmt: skip
    if before is None or before.value <= point.value:
        return point
    return replace(point, value=before.value, spent=before.spent, carried=True)


def _grid(menu: Menu, best: Callable[[float], Allocation], unit: str, points: int) -> list[float]:
    """Budgets in equal ratios from the smallest feasible one to that where nothing more is gained."""
    if points < 2:
        raise UsageError(f"points is {points}. A frontier has two or more.")
    if unit not in menu.cost:
        best(0.0)  # says what is wrong
    most = float(menu.cost[unit].max(initial=0.0))
    high = best(most).spent[unit]
    try:
        best(0.0)
        low = 0.0
    except InfeasibleError as error:
        low = error.relaxed.get(unit, 0.0)
        if low <= 0:
            raise
    if high <= low:
        return [max(low, high)]
    inner = np.geomspace(low if low > 0 else high / _WIDEST, high, points).tolist()
    # the ends as they were found, not as logarithms give them back
    return [low if low > 0 else inner[0], *inner[1:-1], high]
