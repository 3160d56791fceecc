"""The chart of where an allocation stands among those of every budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.curves import upper_hull
from scaling.errors import UsageError
from scaling.plots.labels import UNITS
from scaling.plots.style import ALONE, PALETTE, cost_axis, themed, value_axis

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation


def frontier(allocation: Allocation) -> Any:
    """Value of the best allocation against the average budget, with this one marked.

    The line joins the optimal allocations of every budget (all classes' hull steps, best first);
    the marks are this allocation and the same budget spent evenly.

    Args:
        allocation: what `scaling.allocate` returned, under one average budget.

    Returns:
        An altair chart.

    Raises:
        UsageError: several limits hold, so that no single line describes the budgets.
    """
    budget = average_budget(allocation)
    if budget is None:
        raise UsageError(
            "a frontier needs exactly one limit, an average or a total; this allocation has "
            f"{len(allocation.limits)}; draw plots.menu(allocation) instead"
        )
    resource, maximise = allocation.priced_resource, allocation.ladder.maximise
    best, mine, even = "best allocation", "this allocation", "even spend"
    cost, value = _hull_steps(allocation)
    rows: list[dict[str, Any]] = [
        {"cost": float(c), "value": float(v), "what": best}
        for c, v in zip(cost, value, strict=True)
    ]
    rows += [
        {"cost": budget, "value": allocation.uniform_value, "what": even},
        {"cost": allocation.spent[resource], "value": allocation.value, "what": mine},
    ]
    # A logarithmic axis has no place for what costs nothing.
    rows = [row for row in rows if row["cost"] > 0 and row["value"] is not None]

    import altair as alt

    unit = UNITS.get(resource, resource)
    kinds = [best, mine, even]
    # As in the chart of budgets, where both have the even spend.
    colours = alt.Scale(domain=kinds, range=[PALETTE[0], PALETTE[2], PALETTE[1]])
    shapes = alt.Scale(domain=kinds, range=["stroke", "circle", "square"])
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        x=cost_axis("cost", f"{unit} per query, on average", [row["cost"] for row in rows]),
        y=value_axis(maximise).scale(zero=False),
        tooltip=[
            alt.Tooltip("what:N", title=" "),
            alt.Tooltip("value:Q", format=".1%", title=maximise),
            alt.Tooltip("cost:Q", format=",.4~g", title=f"{unit} per query"),
        ],
        color=alt.Color("what:N", title=None, scale=colours),
        shape=alt.Shape("what:N", title=None, scale=shapes),
    )
    layers = [
        chart.mark_line(strokeWidth=2).transform_filter(f"datum.what == '{best}'"),
        chart.mark_point(size=80, filled=True, opacity=1).transform_filter(
            f"datum.what != '{best}'"
        ),
    ]
    title = alt.TitleParams(
        "What a budget buys", subtitle=["Classes weighted as in the allocation"]
    )
    return themed(alt.layer(*layers, title=title, width=ALONE[0], height=ALONE[1]))


def average_budget(allocation: Allocation) -> float | None:
    """The budget per query where one limit alone holds, else None."""
    if len(allocation.limits) != 1:
        return None
    limit = allocation.limits[0]
    return limit.average if limit.is_budget else None


def _hull_steps(allocation: Allocation) -> tuple[Any, Any]:
    """Mean cost and value per query of all hull steps taken best first; shapes (S + 1,)."""
    ladder, resource = allocation.ladder, allocation.priced_resource
    share = ladder.weight / ladder.weight.sum()
    usable = ladder.curve >= 0
    on_curve = np.bincount(ladder.curve[usable], share[usable], ladder.start.size - 1)
    hull = upper_hull(ladder.value, ladder.cost[resource], ladder.start, nothing=ladder.skip)
    weight = np.repeat(on_curve, np.diff(hull.start))
    point = np.stack([hull.cost, hull.value]) * weight
    is_first = np.zeros(weight.size, dtype=bool)
    is_first[hull.start[:-1][np.diff(hull.start) > 0]] = True
    # Classes without a usable fit are served the fallback, whatever the budget.
    fallback = allocation.fallback
    lost = np.flatnonzero(~usable).tolist()
    each = [(fallback.cost_of(i).get(resource, 0.0), fallback.value_of(i) or 0.0) for i in lost]
    served = share[~usable] @ np.array(each).reshape(-1, 2)
    origin = point[:, is_first].sum(axis=1) + served
    step = np.diff(point, axis=1)[:, ~is_first[1:]]
    order = np.argsort(-hull.slope[~is_first], kind="stable")
    path = origin[:, None] + np.cumsum(np.insert(step[:, order], 0, 0.0, axis=1), axis=1)
    keep = np.unique(np.linspace(0, path.shape[1] - 1, 400).astype(int))
    return path[0, keep], path[1, keep]
