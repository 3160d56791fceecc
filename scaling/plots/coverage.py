"""The chart of coverage against samples, of one fit or of several laws of one log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import NotUsableError, UsageError
from scaling.plots.labels import FORECAST, column_label, law_labels, place_label
from scaling.plots.style import (
    ALONE,
    FORECAST_COLOUR,
    GREY,
    INK,
    LAW_COLOURS,
    PALETTE,
    SHAPES,
    SMALL,
    colour_and_shape,
    log_axis,
    log_scale,
    panels,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from scaling.fitting.result import FitResult, GroupFit

_GRID = 48  # points on a curve, at most
_MARKS = 16  # observed points, at most
_WORD = "extrapolation"
_WORD_WIDTH = 72  # pixels
_COMPARED = (360, 230)  # pixels of a panel with several laws


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
    # The forecast is drawn lead, below the lines that it is compared with.
    order = sorted(range(len(fits)), key=lambda i: fits[i].law != FORECAST)
    lead = fits[order[0]]
    level = lead.interval.level if level is None else level
    hue, named = _hue(lead)
    places = [named]  # of each fit, by group: the names of its colour and of its panel
    if several:
        places = [
            [(name, place_label(group.by, each.bins)) for group in each.groups]
            for name, each in zip(names, fits, strict=True)
        ]
    ends = _ends(lead, [panel for _, panel in places[order[0]]], until)
    banded = {"fitted", "extrapolated"}
    if several and lead.law == FORECAST:
        banded = {"extrapolated"}

    rows: list[dict[str, Any]] = []
    reach: dict[str, int] = {}  # the largest number of attempts in each panel
    for i in order:
        leads = i == order[0]
        for group, (colour, panel) in zip(fits[i].groups, places[i], strict=True):
            found = _curve_rows(group, level, ends[panel], banded if leads else ())
            found += _point_rows(group) if leads else []
            rows += [row | {"panel": panel, "colour": colour} for row in found]
            reach[panel] = max(reach.get(panel, 1), group.max_n)
    if not rows:
        raise NotUsableError("no group of this fit has points to draw; see the cautions of the fit")
    alone = len({row["panel"] for row in rows}) == 1
    size = ALONE if alone else _COMPARED if several else SMALL
    rows += _beyond_rows(rows, reach, size[0], shared=not several)

    import altair as alt

    if several:
        colour, width = _law_lines(fits, names, order)
        shape = alt.value(SHAPES[0])
    else:
        colour, shape = colour_and_shape(hue, [name for name, _ in places[0]])
        width = alt.value(2)
    layers = _layers(rows, level, colour, shape, width, several=several)
    subtitle = _subtitle(fits, names, rows, level, names[order[0]])
    title = "Coverage against samples"
    return panels(layers, rows, title, subtitle, size=size, alike=not several)


def _refuse_mixed(fits: Sequence[FitResult]) -> None:
    if not fits:
        raise UsageError("there is no fit to draw; give one fit, or several of the same data")
    most = len(LAW_COLOURS) + (FORECAST in {fit.law for fit in fits})
    if len(fits) > most:
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


def _hue(fit: FitResult) -> tuple[str | None, list[tuple[str, str]]]:
    """The column told by colour, and for each group its colour's name and its panel's."""
    groups = [group.by for group in fit.groups]
    columns = list(dict.fromkeys(name for by in groups for name in by))
    hue = "model" if "model" in columns else columns[-1] if columns else None
    if hue is not None and len({by.get(hue) for by in groups}) > len(PALETTE):
        hue = None
    places = []
    for by in groups:
        rest = {name: by[name] for name in by if name != hue}
        colour = "" if hue is None or hue not in by else column_label(hue, by[hue], fit.bins)
        places.append((colour, place_label(rest, fit.bins)))
    return hue, places


def _ends(fit: FitResult, names: Sequence[str], until: int | None) -> dict[str, int | None]:
    """How far the curves of each panel go: a usable forecast reaches ten times the attempts."""
    ends: dict[str, int | None] = dict.fromkeys(names, until)
    if until is None and fit.law == FORECAST:
        far = 10 * max((group.max_n for group in fit.groups), default=1)
        for panel, group in zip(names, fit.groups, strict=True):
            ends[panel] = far if group.usable else ends[panel]
    return ends


def _point_rows(group: GroupFit) -> list[dict[str, Any]]:
    """Unbiased points, about evenly far apart on the logarithmic axis."""
    k, share = group.observed(_MARKS)
    if not k.size:
        return []
    near = np.searchsorted(k, np.geomspace(k[0], k[-1], _MARKS))
    return [
        {"part": "observed", "samples": int(k[i]), "coverage": float(share[i])}
        for i in np.unique(np.minimum(near, k.size - 1))
    ]


def _curve_rows(
    group: GroupFit, level: float, until: int | None, banded: Collection[str]
) -> list[dict[str, Any]]:
    """A curve to the end of its evidence and on to `until`, with the band of the named parts."""
    if not group.usable:
        return []
    rows: list[dict[str, Any]] = []
    pieces = [("fitted", _steps(1, group.reach))]
    if until is not None and until > group.reach:
        pieces.append(("extrapolated", _steps(group.reach, until)))
    for part, at in pieces:
        curve = group.curve(at)
        band = group.band(at, level) if part in banded else None
        for i in np.flatnonzero(np.isfinite(curve)):
            row: dict[str, Any] = {"part": part, "samples": int(at[i]), "coverage": float(curve[i])}
            if band is not None and np.isfinite(band[0][i]) and np.isfinite(band[1][i]):
                row |= {"lower": float(band[0][i]), "upper": float(band[1][i])}
            rows.append(row)
    return rows


def _steps(first: int, last: int) -> Any:
    """Whole numbers, about evenly far apart on the logarithmic axis."""
    return np.unique(np.rint(np.geomspace(first, last, _GRID)).astype(np.int64))


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


def _layers(
    rows: Sequence[Mapping[str, Any]],
    level: float,
    colour: Any,
    shape: Any,
    width: Any,
    *,
    several: bool,
) -> list[Any]:
    import altair as alt

    last = max(row["samples"] for row in rows)
    x = alt.X(
        "samples:Q", title="samples per problem", scale=log_scale(1, last), axis=log_axis(last)
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
        .encode(x=x, y=y, color=alt.value(INK) if several else colour, shape=shape, tooltip=at)
        .transform_filter("datum.part == 'observed'"),
    ]
    if not any(row["part"] == "beyond" for row in rows):
        return layers
    beyond = chart.transform_filter("datum.part == 'beyond'")
    start = alt.Tooltip("samples:Q", format=",d", title="most attempts logged")
    word = beyond.mark_text(
        text=_WORD, align="left", baseline="top", dx=4, dy=2, fontSize=10, color=INK, opacity=0.75
    )
    return [
        beyond.mark_rect(color=GREY, opacity=0.15).encode(x=x, x2="last:Q"),
        beyond.mark_rule(color=INK, opacity=0.7).encode(x=x, tooltip=[start]),
        word.encode(x=alt.X("word:Q"), y=alt.Y("top:Q")),
        *layers,
    ]


def _law_lines(
    fits: Sequence[FitResult], names: Sequence[str], order: Sequence[int]
) -> tuple[Any, Any]:
    """The colour and the width of each law; what is drawn later is thinner, to hide no other."""
    import altair as alt

    plain = iter(LAW_COLOURS)
    colours = [FORECAST_COLOUR if fit.law == FORECAST else next(plain) for fit in fits]
    legend = alt.Legend(
        columns=3, symbolType="stroke", symbolStrokeWidth=3, labelLimit=0, columnPadding=14
    )
    scale = alt.Scale(domain=list(names), range=colours)
    widths = alt.Scale(
        type="ordinal",
        domain=[names[i] for i in order],
        range=np.linspace(min(1 + 0.4 * len(fits), 3.6), 1.3, len(fits)).round(2).tolist(),
    )
    return (
        alt.Color("colour:N", title=None, scale=scale, legend=legend),
        alt.StrokeWidth("colour:N", scale=widths, legend=None),
    )


def _subtitle(
    fits: Sequence[FitResult],
    names: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    level: float,
    banded: str,
) -> list[str]:
    """What points, lines and the band are, the band being that of the law named `banded`."""
    fit = fits[0]
    stopped = any(
        caution.code == "success-stopped"
        for each in fits
        for group in each.groups
        for caution in group.cautions
    )
    points = "share solved in the log" if stopped else "unbiased pass@k of the log"
    if len(fits) == 1:
        told = "" if fit.objective in ("likelihood", FORECAST) else f", objective {fit.objective}"
        subtitle = [f"Law {fit.law}{told}. Points: {points}"]
        band = f"Band: {level:.0%} interval over problems ({fit.interval.method})"
    else:
        subtitle = [f"Points: {points}. Lines: the fitted laws"]
        band = f"Band: {level:.0%} interval of {banded}"
    if banded == FORECAST:
        band = f"Band: {level:.0%} prediction interval of the forecast"
    if any("lower" in row for row in rows):
        subtitle.append(band)
    if any(row["part"] == "extrapolated" for row in rows):
        subtitle.append("Dashed: beyond the evidence of the law. Shaded: beyond the log")
    if len(fits) > 1:
        count = len(fit.groups)
        lost = [sum(not group.usable for group in each.groups) for each in fits]
        where = [
            f"{name} ({n} of {count} groups)" if count > 1 else name
            for name, n in zip(names, lost, strict=True)
            if n
        ]
        if where:
            subtitle.append(f"No line where a law is not usable: {', '.join(where)}")
    return subtitle
