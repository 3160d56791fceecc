"""The chart of what each budget of a frontier buys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling.errors import NotUsableError
from scaling.plots.labels import UNITS, amount_label
from scaling.plots.style import ALONE, PALETTE, cost_axis, themed, value_axis

if TYPE_CHECKING:
    from scaling.allocators.frontier import Frontier

_LIMITS = 4  # in the subtitle, at most


def budgets(frontier: Frontier) -> Any:
    """Value against budget: the best allocation, its bound and the even spend at each budget.

    Args:
        frontier: what `scaling.allocators.frontier.frontier` returned.

    Returns:
        An altair chart; the price at each point is in its tooltip.

    Raises:
        NotUsableError: no point has a budget above 0.
    """
    names = {
        "value": "best allocation",
        "bound": "no allocation exceeds",
        "uniform_value": "even spend",
    }
    rows: list[dict[str, Any]] = [
        {
            "budget": point.budget,
            "value": float(number),
            "what": name,
            **({} if point.price is None else {"price": point.price}),
        }
        for point in frontier.points
        for field, name in names.items()
        if (number := getattr(point, field)) is not None and point.budget > 0
    ]
    if not rows:
        raise NotUsableError("no point of this frontier has a budget above 0 to draw")

    import altair as alt

    unit = UNITS.get(frontier.resource, frontier.resource)
    kinds = list(names.values())
    colours = alt.Scale(domain=kinds, range=[PALETTE[0], PALETTE[7], PALETTE[1]])
    dashes = alt.Scale(domain=kinds, range=[[1, 0], [4, 4], [1, 0]])
    legend = alt.Legend(symbolType="stroke", symbolStrokeWidth=2)
    at = [row["budget"] for row in rows]
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        x=cost_axis("budget", f"{unit} per query, on average", at),
        y=value_axis(frontier.maximise).scale(zero=False),
        color=alt.Color("what:N", title=None, scale=colours, legend=legend),
        strokeDash=alt.StrokeDash("what:N", title=None, scale=dashes, legend=legend),
        tooltip=[
            alt.Tooltip("what:N", title=" "),
            alt.Tooltip("budget:Q", format=",.4~g", title=f"{unit} per query"),
            alt.Tooltip("value:Q", format=".2%", title=frontier.maximise),
            alt.Tooltip("price:Q", format=".3~g", title=f"price, {frontier.maximise} per unit"),
        ],
    )
    bound = f"datum.what == '{names['bound']}'"
    layers = [
        chart.mark_line(strokeWidth=1).transform_filter(bound),
        chart.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=28)).transform_filter(
            f"!({bound})"
        ),
    ]
    held = [
        f"Also held: {limit.words} at {'least' if limit.sense == 'min' else 'most'} "
        f"{amount_label(limit.amount)}"
        for limit in frontier.limits[:_LIMITS]
    ]
    if len(frontier.limits) > _LIMITS:
        held.append(f"and {len(frontier.limits) - _LIMITS:,} more")
    title = alt.TitleParams(
        "What a budget buys", subtitle=held or ["At each budget, spent at best"]
    )
    return themed(alt.layer(*layers, title=title, width=ALONE[0], height=ALONE[1]))
