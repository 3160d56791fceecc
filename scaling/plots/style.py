"""What charts share: palette, shapes, scales, axes, panels and theme.

Colours are those of Okabe and Ito (2008), told apart with any kind of colour vision; models also
differ in shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#737373")
LAW_COLOURS = (
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#8C6D31",
    "#737373",
    "#5B4FC9",
)
"""Of laws in one chart; `FORECAST_COLOUR` is kept for the forecast."""
FORECAST_COLOUR = "#D55E00"
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "stroke", "wedge")
INK = "currentColor"  # black on paper, light on a dark page
GREY = "#8a8a8a"
ALONE = (520, 300)
"""Width and height of a chart of one panel, in pixels."""
SMALL = (220, 190)
"""Width and height of each of several panels."""


def log_scale(low: float, high: float, padding: int = 0) -> Any:
    """A logarithmic scale from `low` to `high`, with `padding` pixels at its ends."""
    import altair as alt

    # One lone value would leave the axis without extent.
    return alt.Scale(
        type="log",
        domain=[low, high] if high > low else [low / 2, low * 2],
        nice=False,
        padding=padding,
    )


def log_axis(last: float | None = None) -> Any:
    """The axis of `log_scale`; up to `last` it has ticks at powers of ten alone."""
    import altair as alt

    ticks: dict[str, Any] = {"tickCount": 10}
    if last is not None and last >= 100:
        ticks = {"values": [10**power for power in range(len(str(int(last))))]}
    # Below 1 a prefix would mislead: $10m is ten million to most.
    plain = "datum.value < 1 ? format(datum.value, '.3~g') : format(datum.value, '~s')"
    return alt.Axis(labelExpr=plain, grid=False, labelOverlap="greedy", labelSeparation=4, **ticks)


def cost_axis(field: str, title: str, costs: Sequence[float]) -> Any:
    """The horizontal axis of what is spent, over all of `costs`."""
    import altair as alt

    scale = log_scale(min(costs), max(costs), padding=6)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=log_axis())


def value_axis(maximise: str) -> Any:
    """The vertical axis of what is bought."""
    import altair as alt

    return alt.Y("value:Q", title=f"{maximise} per query", axis=alt.Axis(format="%"))


def colour_and_shape(title: str | None, names: Iterable[str]) -> tuple[Any, Any]:
    """A colour and a shape for each name in the field `colour`; one of each without a title."""
    import altair as alt

    if title is None:
        return alt.value(PALETTE[0]), alt.value(SHAPES[0])
    domain = sorted(set(names))
    legend = alt.Legend(symbolStrokeWidth=0)  # some marks have an outline

    def scale(items: Sequence[str]) -> Any:
        return alt.Scale(domain=domain, range=[items[i % len(items)] for i in range(len(domain))])

    return (
        alt.Color("colour:N", title=title, scale=scale(PALETTE), legend=legend),
        alt.Shape("colour:N", title=title, scale=scale(SHAPES), legend=legend),
    )


def panels(
    layers: Sequence[Any],
    rows: Sequence[dict[str, Any]],
    title: str,
    subtitle: list[str],
    *,
    size: tuple[int, int] | None = None,
    alike: bool = True,
) -> Any:
    """One chart for each `panel` of the rows; `alike` where all have the same vertical scale."""
    import altair as alt

    data = alt.InlineData(values=rows)
    head = alt.TitleParams(title, subtitle=subtitle)
    names = list(dict.fromkeys(row["panel"] for row in rows))
    width, height = size or (ALONE if len(names) == 1 else SMALL)
    if len(names) == 1:
        head.subtitle = subtitle if names == [""] else [names[0], *subtitle]
        return themed(alt.layer(*layers, data=data, title=head, width=width, height=height))
    facet = alt.Facet("panel:N", title=None, sort=names)
    inner = alt.layer(*layers, width=width, height=height)
    columns = 2 if len(names) in {2, 4} or width > SMALL[0] else 3
    chart = inner.facet(facet=facet, data=data, columns=columns, title=head)
    if not alike:
        chart = chart.resolve_scale(y="independent")
    if len(names) % columns:  # the empty places would have an axis too
        chart = chart.resolve_axis(x="independent")
    return themed(chart)


def themed(chart: Any) -> Any:
    """The chart with the fonts, lines and legend that all charts have."""
    return (
        chart.configure_view(strokeOpacity=0)
        .configure_axis(gridColor=GREY, gridOpacity=0.2, domainOpacity=0.6, tickOpacity=0.6)
        .configure_title(
            anchor="start", fontSize=15, subtitleFontSize=12, subtitlePadding=4, offset=12
        )
        .configure_legend(
            orient="top", direction="horizontal", titleOrient="left", symbolSize=80, symbolOpacity=1
        )
        .configure_header(labelFontSize=12, labelFontWeight="bold", labelAnchor="start")
    )
