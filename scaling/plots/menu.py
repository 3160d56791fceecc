"""The chart of what each class of query can buy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.curves import action_words
from scaling.errors import NotUsableError
from scaling.plots.frontier import average_budget
from scaling.plots.labels import UNITS, amount_label, place_label
from scaling.plots.style import GREY, INK, colour_and_shape, cost_axis, panels, value_axis

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation


def menu(allocation: Allocation, *, classes: int = 12) -> Any:
    """Value against cost for each class of query, with the chosen action and the even spend.

    Small marks are the actions on the concave hull, large ones those chosen; a dashed line stands
    at the average budget, where every class would be if all spent the same.

    Args:
        allocation: what `scaling.allocate` returned.
        classes: at most so many panels; the classes with most weight are drawn.

    Returns:
        An altair chart.

    Raises:
        NotUsableError: no class has an action to draw.
    """
    ladder, resource = allocation.ladder, allocation.priced_resource
    order = np.argsort(-ladder.weight, kind="stable")
    order = np.sort(order[ladder.curve[order] >= 0][:classes])
    if order.size == 0:
        raise NotUsableError("no class of this allocation has a menu to draw")
    # A logarithmic axis has no place for an action that costs nothing.
    rows = [row for index in order for row in _rows(allocation, int(index)) if row["cost"] > 0]
    unit = UNITS.get(resource, resource)
    budget = average_budget(allocation)
    banded = any("lower" in row for row in rows)

    import altair as alt

    models = {row["colour"] for row in rows}
    colour, shape = colour_and_shape("model" if any(models) else None, models)
    x = cost_axis("cost", f"{unit} per query", [row["cost"] for row in rows])
    y = value_axis(ladder.maximise)
    tips = [
        alt.Tooltip("action:N", title="action"),
        alt.Tooltip("value:Q", format=".1%", title=ladder.maximise),
        alt.Tooltip("lower:Q", format=".1%", title=f"{ladder.level:.0%} from"),
        alt.Tooltip("upper:Q", format=".1%", title="to"),
        alt.Tooltip("cost:Q", format=",.4~g", title=f"{unit} per query"),
    ]
    chart = alt.Chart()
    marks = chart.encode(x=x, y=y, color=colour, shape=shape, tooltip=tips)
    layers = [
        chart.mark_line(strokeWidth=1, color=GREY).encode(x=x, y=y),
        chart.mark_area(opacity=0.14, color=GREY)
        .encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q")
        .transform_filter("isValid(datum.lower)"),
        marks.mark_point(size=22, filled=True, opacity=0.75),
        marks.mark_point(
            size=100, filled=True, opacity=1, stroke=INK, strokeWidth=1.5
        ).transform_filter("datum.chosen"),
    ]
    subtitle = ["Small: actions on the hull. Large, outlined: chosen."]
    if banded:
        subtitle.append(f"Shade: {ladder.level:.0%} interval of the value")
    if budget is not None and budget > 0:
        layers.insert(
            0,
            # Aggregated, or one line would be drawn for every row.
            chart.mark_rule(strokeDash=[4, 4], color=GREY)
            .transform_aggregate(rows="count()")
            .encode(x=alt.X(datum=budget, type="quantitative")),
        )
        subtitle[0] += f" Dashed: {amount_label(budget)} {unit} for every query alike."
    served = int((ladder.curve >= 0).sum())
    if served > order.size:
        subtitle.append(f"The {order.size} classes with most weight, of {served:,}.")
    return panels(layers, rows, "What each class can buy", subtitle)


def _rows(allocation: Allocation, index: int) -> list[dict[str, Any]]:
    """One row for each rung of a class's ladder."""
    ladder = allocation.ladder
    curve = int(ladder.curve[index])
    key = {name: column[index] for name, column in ladder.key.items()}
    panel = place_label(key, ladder.bins) or "all queries"
    chosen = int(allocation.chosen[index])
    if chosen < 0:
        panel += ": nothing" if chosen == -1 else ": fallback"
    rows = []
    for rung in range(int(ladder.start[curve]), int(ladder.start[curve + 1])):
        row: dict[str, Any] = {
            "panel": panel,
            "cost": float(ladder.cost[allocation.priced_resource][rung]),
            "value": float(ladder.value[rung]),
            "colour": str(ladder.action["model"][rung]) if "model" in ladder.action else "",
            "action": action_words(ladder.action_of(rung)),
            "chosen": rung == chosen,
        }
        if ladder.interval is not None and np.isfinite(ladder.interval[rung]).all():
            row["lower"], row["upper"] = (float(end) for end in ladder.interval[rung])
        rows.append(row)
    return rows
