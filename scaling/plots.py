"""Charts of a fit and of an allocation, as altair objects.

Colours are those of Okabe and Ito (2008), told apart with any kind of colour vision; models also
differ in shape. Nothing here reads data from outside: every chart holds its own numbers.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.core.files import write_bytes, write_text
from scaling.curves import upper_hull
from scaling.errors import NotUsableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from scaling.allocators.allocation import Allocation
    from scaling.allocators.frontier import Frontier
    from scaling.curves import Menu
    from scaling.fitting.result import FitResult, GroupFit

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C6D31", "#737373")
SHAPES = ("circle", "square", "diamond", "triangle-up", "cross", "triangle-down", "stroke", "wedge")
UNITS = {
    "samples": "samples",
    "tokens": "generated tokens",
    "usd": "US dollars",
    "flops": "FLOPs",
    "bytes": "bytes moved",
    "eflops": "equivalent FLOPs",
    "seconds": "seconds",
    "joules": "joules",
}
FORECAST = "forecast"
"""The law that is fitted for numbers of samples beyond the data."""
_LAW_COLOURS = (
    "#0072B2",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#8C6D31",
    "#737373",
    "#5B4FC9",
)
_FORECAST_COLOUR = "#D55E00"
_INK = "currentColor"  # black on paper, light on a dark page
_GRID = 48
_MARKS = 16
_WORD = "extrapolation"
_WORD_WIDTH = 72  # pixels


def coverage(
    fit: FitResult | Sequence[FitResult], *, level: float | None = None, until: int | None = None
) -> Any:
    """Coverage against samples: unbiased points, fitted curves and an interval band.

    Points are the unbiased pass@k of the logged attempts; they share attempts, so they scatter
    together. With one fit, groups differ by colour in one column (`model` where there is one) and
    by panel in the others, and every curve has its band. With several, each law has a colour and
    each group a panel with its own scale; the only band is that of the forecast beyond the data,
    or without a forecast that of the first fit.

    Beyond the data the panel is shaded from a rule at the largest number of attempts, and says
    "extrapolation". A curve is dashed from the end of its own evidence.

    Args:
        fit: a fitted coverage law, or several fits of the same groups of the same data.
        level: the level of the band; by default that of its fit.
        until: how far to draw the curves, in samples. By default they end with the data, or where
            a forecast is among the fits, at ten times the largest number of attempts.

    Returns:
        An altair chart.

    Raises:
        NotUsableError: no group has points or a curve to draw.
        UsageError: `until` is below 1; several fits that differ in data or groups, or that are
            more than there are colours.
    """
    fits = tuple(fit) if isinstance(fit, Sequence) else (fit,)
    if until is not None and until < 1:
        raise UsageError(f"until={until!r} is no number of samples; give an integer from 1 up")
    _refuse_mixed(fits)
    several = len(fits) > 1
    names = law_labels(fits)
    # The forecast is drawn first, below the lines that it is compared with.
    order = sorted(range(len(fits)), key=lambda i: fits[i].law != FORECAST)
    banded = fits[order[0]]
    forecast = banded if banded.law == FORECAST else None
    level = banded.interval.level if level is None else level
    hue, named = _hue(fits[0])
    places = [named]
    if several:
        places = [
            [(name, place_label(group.by, each.bins)) for group in each.groups]
            for name, each in zip(names, fits, strict=True)
        ]
    ends = dict.fromkeys((panel for _, panel in places[order[0]]), until)
    if until is None and forecast is not None:
        far = 10 * max((group.max_n for group in forecast.groups), default=1)
        groups = zip(places[order[0]], forecast.groups, strict=True)
        ends |= {panel: far for (_, panel), group in groups if group.usable}

    rows: list[dict[str, Any]] = []
    reach: dict[str, int] = {}  # the largest number of attempts in each panel
    for i in order:
        bands: Collection[str] = ("fitted", "extrapolated")
        if several:
            bands = () if i != order[0] else ("extrapolated",) if forecast else bands
        for group, (colour, panel) in zip(fits[i].groups, places[i], strict=True):
            found = _curve_rows(group, level, ends[panel], bands)
            found += _point_rows(group) if i == order[0] else []
            rows += [row | {"panel": panel, "colour": colour} for row in found]
            reach[panel] = max(reach.get(panel, 1), group.max_n)
    if not rows:
        raise NotUsableError("no group of this fit has points to draw; see the cautions of the fit")
    alone = len({row["panel"] for row in rows}) == 1
    size = (520, 300) if alone else (360, 230) if several else (220, 190)
    rows += _beyond_rows(rows, reach, size[0], shared=not several)

    import altair as alt

    if several:
        colour, shape = _law_colour(names, fits), alt.value("circle")
        # What is drawn later is thinner, so that a law stays visible below its like.
        scale = alt.Scale(
            type="ordinal",
            domain=[names[i] for i in order],
            range=np.linspace(min(1 + 0.4 * len(fits), 3.6), 1.3, len(fits)).round(2).tolist(),
        )
        width: Any = alt.StrokeWidth("colour:N", scale=scale, legend=None)
    else:
        colour, shape, width = _colour(hue, named), _shape(hue, named), alt.value(2)
    layers = _coverage_layers(rows, level, colour, shape, width, several=several)
    subtitle = _coverage_subtitle(fits, rows, level, names[order[0]])
    title = "Coverage against samples"
    return _panels(layers, rows, title, subtitle, size=size, alike=not several)


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
    rows: list[dict[str, Any]] = []
    for index in order:
        rows += _menu_rows(allocation, int(index))
    # A logarithmic axis has no place for an action that costs nothing.
    rows = [row for row in rows if row["cost"] > 0]

    import altair as alt

    named = [(row["model"], row["panel"]) for row in rows]
    hue = "model" if any(model for model, _ in named) else None
    costs = [row["cost"] for row in rows]
    unit = UNITS.get(resource, resource)
    x = alt.X(
        "cost:Q",
        title=f"{unit} per query",
        scale=_log_scale(min(costs), max(costs), padding=6),
        axis=_log_axis(),
    )
    y = alt.Y("value:Q", title=f"{ladder.maximise} per query", axis=alt.Axis(format="%"))
    colour, shape = _colour(hue, named), _shape(hue, named)
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
        chart.mark_line(strokeWidth=1, color="#8a8a8a").encode(x=x, y=y),
        chart.mark_area(opacity=0.14, color="#8a8a8a")
        .encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q")
        .transform_filter("isValid(datum.lower)"),
        marks.mark_point(size=22, filled=True, opacity=0.75),
        marks.mark_point(size=170, filled=True, opacity=1).transform_filter("datum.chosen"),
    ]
    subtitle = ["Small: actions on the hull. Large: chosen."]
    if any("lower" in row for row in rows):
        subtitle.append(f"Shade: {ladder.level:.0%} interval of the value")
    budget = _average_budget(allocation)
    if budget is not None and budget > 0:
        layers.insert(
            0,
            # Aggregated, or one line would be drawn for every row.
            chart.mark_rule(strokeDash=[4, 4], color="#8a8a8a")
            .transform_aggregate(rows="count()")
            .encode(x=alt.X(datum=budget, type="quantitative")),
        )
        subtitle[0] += f" Dashed: {_amount(budget)} {unit} for every query alike."
    served = int((ladder.curve >= 0).sum())
    if served > order.size:
        subtitle.append(f"The {order.size} classes with most weight, of {served:,}.")
    return _panels(layers, rows, "What each class can buy", subtitle)


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
    budget = _average_budget(allocation)
    if budget is None:
        raise UsageError(
            "a frontier needs exactly one limit, an average or a total; this allocation has "
            f"{len(allocation.limits)}; draw plots.menu(allocation) instead"
        )
    resource = allocation.priced_resource
    cost, value = _frontier(allocation)
    low, high = float(cost[cost > 0].min()), float(cost.max())
    rows: list[dict[str, Any]] = [
        {"cost": float(c), "value": float(v), "what": "best allocation"}
        for c, v in zip(cost, value, strict=True)
        if c > 0
    ]
    spent = allocation.spent[resource]
    rows += [
        {"cost": budget, "value": allocation.uniform_value, "what": "even spend"},
        {"cost": spent, "value": allocation.value, "what": "this allocation"},
    ]
    rows = [row for row in rows if row["cost"] > 0 and row["value"] is not None]

    import altair as alt

    unit = UNITS.get(resource, resource)
    maximise = allocation.ladder.maximise
    x = alt.X(
        "cost:Q",
        title=f"{unit} per query, on average",
        scale=_log_scale(min(low, budget, spent or budget), max(high, budget), padding=6),
        axis=_log_axis(),
    )
    y = alt.Y("value:Q", title=f"{maximise} per query", axis=alt.Axis(format="%"))
    tips = [
        alt.Tooltip("what:N", title=" "),
        alt.Tooltip("value:Q", format=".1%", title=maximise),
        alt.Tooltip("cost:Q", format=",.4~g", title=f"{unit} per query"),
    ]
    kinds = ["best allocation", "this allocation", "even spend"]
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        x=x,
        y=y,
        tooltip=tips,
        color=alt.Color("what:N", title=None, scale=alt.Scale(domain=kinds, range=PALETTE[:3])),
        shape=alt.Shape(
            "what:N",
            title=None,
            scale=alt.Scale(domain=kinds, range=["stroke", "circle", "square"]),
        ),
    )
    layers = [
        chart.mark_line(strokeWidth=2).transform_filter("datum.what == 'best allocation'"),
        chart.mark_point(size=110, filled=True, opacity=1).transform_filter(
            "datum.what != 'best allocation'"
        ),
    ]
    title = alt.TitleParams(
        "What a budget buys", subtitle=["Classes weighted as in the allocation"]
    )
    return _style(alt.layer(*layers, title=title, width=520, height=300))


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
    rows = [
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
    at = [point.budget for point in frontier.points if point.budget > 0]
    x = alt.X(
        "budget:Q",
        title=f"{unit} per query, on average",
        scale=_log_scale(min(at), max(at), padding=6),
        axis=_log_axis(),
    )
    y = alt.Y(
        "value:Q",
        title=f"{frontier.maximise} per query",
        axis=alt.Axis(format="%"),
        scale=alt.Scale(zero=False),
    )
    kinds = list(names.values())
    colours = [PALETTE[0], PALETTE[7], PALETTE[1]]
    chart = alt.Chart(alt.InlineData(values=rows)).encode(
        x=x,
        y=y,
        color=alt.Color("what:N", title=None, scale=alt.Scale(domain=kinds, range=colours)),
        tooltip=[
            alt.Tooltip("what:N", title=" "),
            alt.Tooltip("budget:Q", format=",.4~g", title=f"{unit} per query"),
            alt.Tooltip("value:Q", format=".2%", title=frontier.maximise),
            alt.Tooltip("price:Q", format=".3~g", title=f"price, {frontier.maximise} per unit"),
        ],
    )
    bound = "datum.what == 'no allocation exceeds'"
    layers = [
        chart.mark_line(strokeDash=[4, 4], strokeWidth=1).transform_filter(bound),
        chart.mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=28)).transform_filter(
            f"!({bound})"
        ),
    ]
    held = [f"Also held: {limit.words}" for limit in frontier.limits[:4]]
    title = alt.TitleParams(
        "What a budget buys", subtitle=held or ["At each budget, spent at best"]
    )
    return _style(alt.layer(*layers, title=title, width=520, height=300))


def save(chart: Any, path: str | Path) -> None:
    """Write a chart as `.html` (loads nothing from the network), `.png`, `.svg` or `.json`.

    Args:
        chart: an altair chart.
        path: where to; the ending chooses the format. The file is replaced whole.

    Raises:
        UsageError: the ending is none of these.
        InputError: the file cannot be written.
    """
    from pathlib import Path as FilePath

    path = FilePath(path)
    ending = path.suffix.lower()
    if ending not in {".html", ".png", ".svg", ".json"}:
        raise UsageError(
            f"cannot write a chart as '{path.name}'; end the name in .html, .png, .svg or .json"
        )
    import vl_convert

    spec = json.dumps(chart.to_dict(), allow_nan=False)
    version = vegalite_version()
    if ending == ".png":
        write_bytes(path, vl_convert.vegalite_to_png(spec, vl_version=version, scale=2))
    elif ending == ".svg":
        write_text(path, vl_convert.vegalite_to_svg(spec, vl_version=version))
    elif ending == ".html":
        write_text(path, vl_convert.vegalite_to_html(spec, vl_version=version, bundle=True))
    else:
        write_text(path, json.dumps(chart.to_dict(), allow_nan=False, indent=1) + "\n")


def vegalite_version() -> str:
    """The Vega-Lite version that altair writes for, as vl-convert spells it ("6.4")."""
    import altair as alt

    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])


def law_labels(fits: Sequence[FitResult]) -> list[str]:
    """What to call each fit among the others: its law, and what tells it from its like."""
    names = [fit.law for fit in fits]
    for told in (
        [fit.preset or fit.objective for fit in fits],
        [str(i) for i in range(1, len(fits) + 1)],
    ):
        names = [
            f"{name} ({tell})" if names.count(name) > 1 else name
            for name, tell in zip(names, told, strict=True)
        ]
    return names


def _refuse_mixed(fits: Sequence[FitResult]) -> None:
    if not fits:
        raise UsageError("there is no fit to draw; give one fit, or several of the same data")
    most = len(_LAW_COLOURS) + (FORECAST in {fit.law for fit in fits})
    if len(fits) > 1 and len(fits) > most:
        raise UsageError(
            f"{len(fits)} fits in one chart cannot be told apart; give at most {most} at a time"
        )
    first = fits[0]
    for fit in fits[1:]:
        if fit.data["sha256"] != first.data["sha256"]:
            raise UsageError(
                "one chart shows fits of the same data, and these have the digests "
                f"{first.data['sha256'][:12]} ({first.law}) and {fit.data['sha256'][:12]} "
                f"({fit.law}); draw them apart, or fit both laws to one log"
            )
        if group_keys(fit) != group_keys(first):
            raise UsageError(
                f"one chart shows fits of the same groups, and those of {first.law} and {fit.law} "
                "differ; fit both with the same --by, --bins and --where"
            )


def group_keys(fit: FitResult) -> frozenset[Any]:
    """The groups of a fit with their evidence, whatever their order."""
    bins = tuple(sorted(fit.bins.items()))
    return frozenset(
        (tuple(sorted(group.by.items())), group.n_problems, group.n_samples, bins)
        for group in fit.groups
    )


def _coverage_subtitle(
    fits: Sequence[FitResult], rows: Sequence[Mapping[str, Any]], level: float, banded: str
) -> list[str]:
    first = fits[0]
    stopped = any(
        caution.code == "success-stopped"
        for fit in fits
        for group in fit.groups
        for caution in group.cautions
    )
    points = "share solved in the log" if stopped else "unbiased pass@k of the log"
    if len(fits) == 1:
        objective = (
            "" if first.objective in ("likelihood", FORECAST) else f", objective {first.objective}"
        )
        subtitle = [f"Law {first.law}{objective}. Points: {points}"]
        band = f"Band: {level:.0%} interval over problems ({first.interval.method})"
    else:
        subtitle = [f"Points: {points}. Lines: the fitted laws"]
        band = f"Band: {level:.0%} interval of {banded}"
    if banded == FORECAST:
        band = f"Band: {level:.0%} prediction interval of the forecast"
    if any("lower" in row for row in rows):
        subtitle.append(band)
    if any(row["part"] == "extrapolated" for row in rows):
        subtitle.append("Dashed: beyond the evidence of the law. Shaded: beyond the log")
    lost = {
        name: sum(not group.usable for group in fit.groups)
        for name, fit in zip(law_labels(fits), fits, strict=True)
    }
    if len(fits) > 1 and any(lost.values()):
        count = len(first.groups)
        where = (
            f"{name} ({n} of {count} groups)" if count > 1 else name
            for name, n in lost.items()
            if n
        )
        subtitle.append(f"No line where a law is not usable: {', '.join(where)}")
    return subtitle


def _point_rows(group: GroupFit) -> list[dict[str, Any]]:
    k, share = group.observed(_MARKS)
    if not k.size:
        return []
    near = np.searchsorted(k, np.geomspace(k[0], k[-1], _MARKS))
    return [
        {"part": "observed", "samples": int(k[i]), "coverage": float(share[i])}
        for i in np.unique(np.minimum(near, k.size - 1))
    ]


def _curve_rows(
    group: GroupFit, level: float, until: int | None, bands: Collection[str]
) -> list[dict[str, Any]]:
    if not group.usable:
        return []
    rows: list[dict[str, Any]] = []
    pieces = [("fitted", _steps(1, group.reach))]
    if until is not None and until > group.reach:
        pieces.append(("extrapolated", _steps(group.reach, until)))
    for part, at in pieces:
        curve = group.curve(at)
        band = group.band(at, level) if part in bands else None
        for i in np.flatnonzero(np.isfinite(curve)):
            row: dict[str, Any] = {
                "part": part,
                "samples": int(at[i]),
                "coverage": float(curve[i]),
            }
            if band is not None and np.isfinite(band[0][i]) and np.isfinite(band[1][i]):
                row |= {"lower": float(band[0][i]), "upper": float(band[1][i])}
            rows.append(row)
    return rows


def _beyond_rows(
    rows: Sequence[Mapping[str, Any]], reach: Mapping[str, int], width: int, *, shared: bool
) -> list[dict[str, Any]]:
    """Where each panel is shaded: from the most attempts to the end of the axis.

    `top` is above the highest curve, so that the word stands clear of them; `word` is where it
    begins, further left where the shaded part is narrower than the word.
    """
    last = max(row["samples"] for row in rows)
    high: dict[str, float] = {}
    for row in rows:
        value = row.get("upper", row["coverage"])
        for name in reach if shared else (row["panel"],):
            high[name] = max(high.get(name, 0.0), value)
    drawn = {row["panel"] for row in rows if row["part"] == "extrapolated"}
    return [
        {
            "part": "beyond",
            "panel": name,
            "samples": start,
            "last": last,
            "top": 1.1 * high[name],
            "word": min(start, last ** (1 - _WORD_WIDTH / width)),
        }
        for name, start in reach.items()
        if name in drawn and start < last
    ]


def _coverage_layers(
    rows: Sequence[Mapping[str, Any]],
    level: float,
    colour: Any,
    shape: Any,
    width: Any,
    *,
    several: bool,
) -> list[Any]:
    import altair as alt

    last = max(row["samples"] for row in rows if row["part"] != "beyond")
    x = alt.X(
        "samples:Q", title="samples per problem", scale=_log_scale(1, last), axis=_log_axis(last)
    )
    y = alt.Y(
        "coverage:Q",
        title="coverage (share solved)",
        axis=alt.Axis(format="%", tickCount=6),
        scale=alt.Scale(nice=False, zero=True),
    )
    at = [alt.Tooltip("samples:Q", format=",d"), alt.Tooltip("coverage:Q", format=".1%")]
    tips = [
        *([alt.Tooltip("colour:N", title="law")] if several else []),
        *at,
        alt.Tooltip("lower:Q", format=".1%", title=f"{level:.0%} from"),
        alt.Tooltip("upper:Q", format=".1%", title="to"),
    ]
    chart = alt.Chart()
    lines = chart.encode(x=x, y=y, color=colour, tooltip=tips, strokeWidth=width)
    layers = [
        chart.mark_area(opacity=0.25 if several else 0.18)
        .encode(x=x, y=alt.Y("lower:Q"), y2="upper:Q", color=colour)
        .transform_filter("isValid(datum.lower)"),
        lines.mark_line().transform_filter("datum.part == 'fitted'"),
        lines.mark_line(strokeDash=[5, 4]).transform_filter("datum.part == 'extrapolated'"),
        chart.mark_point(size=20 if several else 26, filled=True, opacity=0.9)
        .encode(x=x, y=y, color=alt.value(_INK) if several else colour, shape=shape, tooltip=at)
        .transform_filter("datum.part == 'observed'"),
    ]
    if not any(row["part"] == "beyond" for row in rows):
        return layers
    beyond = chart.transform_filter("datum.part == 'beyond'")
    start = alt.Tooltip("samples:Q", format=",d", title="most attempts logged")
    word = beyond.mark_text(
        text=_WORD, align="left", baseline="top", dx=4, dy=2, fontSize=10, color=_INK, opacity=0.75
    )
    return [
        beyond.mark_rect(color="#8a8a8a", opacity=0.15).encode(x=x, x2="last:Q"),
        beyond.mark_rule(color=_INK, opacity=0.7).encode(x=x, tooltip=[start]),
        word.encode(x=alt.X("word:Q"), y=alt.Y("top:Q")),
        *layers,
    ]


def _menu_rows(allocation: Allocation, index: int) -> list[dict[str, Any]]:
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
            "model": str(ladder.action["model"][rung]) if "model" in ladder.action else "",
            "action": action_label(ladder, rung),
            "chosen": rung == chosen,
        }
        row["colour"] = row["model"]
        if ladder.interval is not None and np.isfinite(ladder.interval[rung]).all():
            row["lower"], row["upper"] = (float(end) for end in ladder.interval[rung])
        rows.append(row)
    return rows


def place_label(by: Mapping[str, Any], bins: Mapping[str, tuple[float, ...]]) -> str:
    """A group or class in words: "level hard, difficulty 0.2 to 0.6"."""
    return ", ".join(f"{name} {column_label(name, item, bins)}" for name, item in by.items())


def column_label(name: str, item: Any, bins: Mapping[str, tuple[float, ...]]) -> str:
    """A value of a group or class column; a bin index becomes its range, "0.2 to 0.6"."""
    cuts = bins.get(name)
    if cuts is None:
        return str(item)
    index = int(item)
    if index == 0:
        return f"< {cuts[0]:g}"
    if index == len(cuts):
        return f"≥ {cuts[-1]:g}"
    return f"{cuts[index - 1]:g} to {cuts[index]:g}"


def action_label(menu: Menu, rung: int) -> str:
    """An action in words: "large, 8 samples"."""
    words = []
    for name, column in menu.action.items():
        item = column[rung]
        if name == "model":
            words += [str(item)] if item else []
        else:
            plural = name.replace("_", " ")
            words.append(f"{int(item):,} {plural.removesuffix('s') if item == 1 else plural}")
    return ", ".join(words)


def _frontier(allocation: Allocation) -> tuple[Any, Any]:
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


def _average_budget(allocation: Allocation) -> float | None:
    """The budget per query where one limit alone holds, else None."""
    if len(allocation.limits) != 1:
        return None
    limit = allocation.limits[0]
    return limit.average if limit.is_budget else None


def _hue(fit: FitResult) -> tuple[str | None, list[tuple[str, str]]]:
    """The column told by colour, and for each group its colour's name and its panel's."""
    groups = [group.by for group in fit.groups]
    columns = list(dict.fromkeys(name for by in groups for name in by))
    hue = "model" if "model" in columns else columns[-1] if columns else None
    if hue is not None and len({by.get(hue) for by in groups}) > len(PALETTE):
        hue = None
    named = []
    for by in groups:
        rest = {name: by[name] for name in by if name != hue}
        colour = "" if hue is None or hue not in by else column_label(hue, by[hue], fit.bins)
        named.append((colour, place_label(rest, fit.bins)))
    return hue, named


def _amount(number: float) -> str:
    return f"{number:,.4g}" if number < 1e4 else f"{number:,.0f}"


def _steps(first: int, last: int) -> Any:
    return np.unique(np.rint(np.geomspace(first, last, _GRID)).astype(np.int64))


def _log_scale(low: float, high: float, padding: int = 0) -> Any:
    import altair as alt

    # One lone value would leave the axis without extent.
    return alt.Scale(
        type="log",
        domain=[low, high] if high > low else [low / 2, low * 2],
        nice=False,
        padding=padding,
    )


def _log_axis(last: float | None = None) -> Any:
    """The axis of `_log_scale`; up to `last` it has ticks at powers of ten alone."""
    import altair as alt

    if last is not None and last >= 100:
        values = [10**power for power in range(len(str(int(last))))]
        return alt.Axis(format="~s", values=values, grid=False, labelOverlap="greedy")
    return alt.Axis(format="~s", tickCount=5, grid=False, labelOverlap="greedy")


def _colour(hue: str | None, named: Sequence[tuple[str, str]]) -> Any:
    import altair as alt

    if hue is None:
        return alt.value(PALETTE[0])
    names = sorted({colour for colour, _ in named})
    scale = alt.Scale(domain=names, range=list(_cycle(PALETTE, len(names))))
    return alt.Color("colour:N", title=hue, scale=scale)


def _shape(hue: str | None, named: Sequence[tuple[str, str]]) -> Any:
    import altair as alt

    if hue is None:
        return alt.value(SHAPES[0])
    names = sorted({colour for colour, _ in named})
    scale = alt.Scale(domain=names, range=list(_cycle(SHAPES, len(names))))
    return alt.Shape("colour:N", title=hue, scale=scale)


def _law_colour(names: Sequence[str], fits: Sequence[FitResult]) -> Any:
    import altair as alt

    plain = iter(_LAW_COLOURS)
    colours = [_FORECAST_COLOUR if fit.law == FORECAST else next(plain) for fit in fits]
    legend = alt.Legend(
        columns=3, symbolType="stroke", symbolStrokeWidth=3, labelLimit=0, columnPadding=14
    )
    scale = alt.Scale(domain=list(names), range=colours)
    return alt.Color("colour:N", title=None, scale=scale, legend=legend)


def _cycle(items: Sequence[str], count: int) -> Sequence[str]:
    return [items[i % len(items)] for i in range(count)]


def _panels(
    layers: list[Any],
    rows: list[dict[str, Any]],
    title: str,
    subtitle: list[str],
    *,
    size: tuple[int, int] | None = None,
    alike: bool = True,
) -> Any:
    """One chart a panel; `alike` where all have the same vertical scale."""
    import altair as alt

    data = alt.InlineData(values=rows)
    head = alt.TitleParams(title, subtitle=subtitle)
    names = list(dict.fromkeys(row["panel"] for row in rows))
    width, height = size or ((520, 300) if len(names) == 1 else (220, 190))
    if len(names) == 1:
        head.subtitle = subtitle if names == [""] else [names[0], *subtitle]
        return _style(alt.layer(*layers, data=data, title=head, width=width, height=height))
    facet = alt.Facet("panel:N", title=None, sort=names)
    inner = alt.layer(*layers, width=width, height=height)
    columns = 2 if len(names) in {2, 4} or width > 220 else 3
    chart = inner.facet(facet=facet, data=data, columns=columns, title=head)
    if not alike:
        chart = chart.resolve_scale(y="independent")
    if len(names) % columns:  # the empty places would have an axis too
        chart = chart.resolve_axis(x="independent")
    return _style(chart)


def _style(chart: Any) -> Any:
    return (
        chart.configure_view(strokeOpacity=0)
        .configure_axis(gridColor="#8a8a8a", gridOpacity=0.2, domainOpacity=0.6, tickOpacity=0.6)
        .configure_title(
            anchor="start", fontSize=15, subtitleFontSize=12, subtitlePadding=4, offset=12
        )
        .configure_legend(
            orient="top", direction="horizontal", titleOrient="left", symbolSize=80, symbolOpacity=1
        )
        .configure_header(labelFontSize=12, labelFontWeight="bold", labelAnchor="start")
    )
