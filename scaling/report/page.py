"""The report: what was fitted, how well, what it can buy, and what it rests on."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling import plots
from scaling._version import __version__
from scaling.core.files import ensure_writable, write_text
from scaling.core.registry import law as find_law
from scaling.core.tabulated import Tabulated
from scaling.curves import action_words
from scaling.errors import NotUsableError, UsageError
from scaling.report import comparison
from scaling.report.formula import mathml
from scaling.report.html import Cell, Markup, escape, interval, items, number, percent, table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path

    from scaling.allocators.allocation import Allocation
    from scaling.fitting.result import FitResult, GroupFit

_ERRORS = {
    "mae": "mean abs. error",
    "max_abs_residual": "largest error",
    "held_out_mae": "held-out error",
    "aic": "AIC",
}
CLASSES = 40
"""Classes shown one by one; beyond, the ones with most weight."""


def write(
    path: str | PathLike[str],
    *,
    fits: FitResult | Sequence[FitResult] = (),
    allocation: Allocation | None = None,
    title: str | None = None,
) -> Path:
    """Write the report as one HTML file that loads nothing from the network.

    Args:
        path: where to; the file is replaced whole.
        fits: one fit, or several; those of the same data and groups are also compared.
        allocation: budgets made from them.
        title: the page's title; by default it names the laws.

    Returns:
        The path.

    Raises:
        UsageError: neither a fit nor an allocation is given.
        InputError: the file cannot be written.
    """
    ensure_writable(path)
    return write_text(path, render(fits=fits, allocation=allocation, title=title))


def render(
    *,
    fits: FitResult | Sequence[FitResult] = (),
    allocation: Allocation | None = None,
    title: str | None = None,
) -> str:
    """The report as a string; the same inputs give the same bytes.

    Raises:
        UsageError: neither a fit nor an allocation is given.
    """
    results = tuple(fits) if isinstance(fits, Sequence) else (fits,)
    if not results and allocation is None:
        raise UsageError("a report needs a fit or an allocation; give fits=..., allocation=...")
    if title is None:
        laws = list(dict.fromkeys(fit.law for fit in results))
        named = " and ".join(laws) if len(laws) < 3 else f"{len(laws)} laws"
        title = f"Scaling report: {named}" if laws else "Compute budgets"
    charts = _Charts()
    sections = [_head(title, results, allocation)]
    if allocation is not None:
        sections.append(_budgets(allocation, charts))
    sections += [
        comparison.section(family, charts.figure) for family in comparison.families(results)
    ]
    sections += [_fit(fit, charts) for fit in results]
    sections.append(_assumptions(results, allocation))
    sections.append(_reproduce(results, allocation))
    return _page(title, "\n".join(sections), charts)


class _Charts:
    """Charts of the page: a drawing in the text, and its data for the interactive form."""

    def __init__(self) -> None:
        self.specs: list[dict[str, Any]] = []

    def figure(self, chart: Any) -> str:
        """The place of one chart; the drawing stands there until the script replaces it."""
        import vl_convert

        spec = chart.to_dict()
        # The page decides on colours, so that the dark and the printed page read as well.
        spec["background"] = None
        ink = {"labelColor": "currentColor", "titleColor": "currentColor"}
        for part in ("axis", "legend", "header"):
            spec["config"].setdefault(part, {}).update(ink)
        spec["config"].setdefault("title", {}).update(
            color="currentColor", subtitleColor="currentColor"
        )
        self.specs.append(spec)
        drawing = vl_convert.vegalite_to_svg(
            json.dumps(spec, allow_nan=False), vl_version=plots.vegalite_version()
        )
        return f'<figure data-chart="chart-{len(self.specs)}"><div>{drawing}</div></figure>'


def _page(title: str, body: str, charts: _Charts) -> str:
    here = files("scaling.report")
    style = here.joinpath("style.css").read_text("utf-8")
    scripts = []
    if charts.specs:
        scripts = [_vega(plots.vegalite_version()), here.joinpath("embed.js").read_text("utf-8")]
    # The browser itself refuses any other script and any request; Vega compiles expressions (eval).
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed} 'unsafe-eval'"
        if scripts
        else "default-src 'none'; style-src 'unsafe-inline'"
    )
    data = "\n".join(
        f'<script type="application/json" id="chart-{i}">{_json(spec)}</script>'
        for i, spec in enumerate(charts.specs, 1)
    )
    code = "\n".join(f"<script>{script}</script>" for script in scripts)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
{body}
{data}
{code}
</body>
</html>
"""


@cache
def _vega(version: str) -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)
    return bundle.replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(spec: dict[str, Any]) -> str:
    # "<" would let a name in the data close the script element.
    return json.dumps(spec, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _head(title: str, fits: Sequence[FitResult], allocation: Allocation | None) -> str:
    text = (
        "A scaling law says how the share of problems solved grows with the compute spent on each. "
        "Here it was fitted to a log of attempts, problem by problem"
    )
    if allocation is not None:
        text += (
            ", and used to decide how much each class of query may spend, "
            "so that the whole budget buys the most"
        )
    problems = sum(group.n_problems for fit in fits[:1] for group in fit.groups)
    samples = sum(group.n_samples for fit in fits[:1] for group in fit.groups)
    data = (
        f'<p class="soft">{number(samples)} attempts on {number(problems)} problems '
        f"(counted once per group), {len(fits[0].groups)} group{'s' * (len(fits[0].groups) != 1)}.</p>"
        if fits
        else ""
    )
    return f'<header><h1>{escape(title)}</h1><p class="lead">{escape(text)}.</p>{data}</header>'


def _budgets(allocation: Allocation, charts: _Charts) -> str:
    resource = allocation.priced_resource
    unit = plots.UNITS.get(resource, resource)
    maximise = allocation.ladder.maximise
    tiles = [(percent(allocation.value), f"{maximise} with these budgets")]
    if allocation.uniform_value is not None:
        gain = 100 * (allocation.value - allocation.uniform_value)
        tiles.append((percent(allocation.uniform_value), "the same budget spent evenly"))
        tiles.append((f"{gain:+.1f} points", "gain over the even spend"))
    limit = next((x for x in allocation.limits if x.is_budget and x.resource == resource), None)
    if limit is not None and limit.price is not None and limit.amount > 0:
        step = 10.0 ** math.floor(math.log10(limit.average / 2))
        tiles.append(
            (
                f"{100 * limit.price * step:+.2f} points",
                f"for {number(step)} more {unit} a query (the shadow price)",
            )
        )
    boxes = "".join(
        f'<div class="tile"><b>{escape(big)}</b><span>{escape(small)}</span></div>'
        for big, small in tiles
    )
    parts = [
        "<section><h2>Budgets</h2>",
        f'<div class="tiles">{boxes}</div>',
        _class_table(allocation),
    ]
    for draw in (plots.menu, plots.frontier):
        try:
            parts.append(charts.figure(draw(allocation)))
        except (NotUsableError, UsageError):
            continue
    parts.append(_certificate(allocation))
    parts.append(_cautions([(None, allocation.cautions)]))
    return "\n".join([*parts, "</section>"])


def _class_table(allocation: Allocation) -> str:
    ladder, resource = allocation.ladder, allocation.priced_resource
    unit = plots.UNITS.get(resource, resource)
    share = ladder.weight / ladder.weight.sum()
    order = np.sort(np.argsort(-share, kind="stable")[:CLASSES])
    level = f"{ladder.level:.0%} interval"
    head = [*ladder.key, "share of queries", "action", ladder.maximise, level, f"{unit} per query"]
    rows: list[list[Cell]] = []
    splits = {split.class_index: split for split in allocation.split}
    for index in map(int, order):
        label, value, ends, cost = _outcome(allocation, index, int(allocation.chosen[index]))
        if index in splits:
            split = splits[index]
            upper, lower = (_outcome(allocation, index, r) for r in (split.upper, split.lower))
            label = f"{upper[0]} for {percent(split.share)} of queries, else {lower[0]}"
            value = split.share * (upper[1] or 0.0) + (1 - split.share) * (lower[1] or 0.0)
            cost = split.share * upper[3] + (1 - split.share) * lower[3]
            ends = None
        key = [plots.column_label(name, c[index], ladder.bins) for name, c in ladder.key.items()]
        rows.append(
            [
                *key,
                percent(float(share[index])),
                label,
                "unknown" if value is None else percent(value),
                interval(ends, share=True),
                number(cost),
            ]
        )
    numeric = [len(ladder.key), *range(len(ladder.key) + 2, len(head))]
    out = table(head, rows, numeric)
    if share.size > order.size:
        out += f'<p class="soft">The {order.size} classes with most weight, of {share.size:,}.</p>'
    return out


def _outcome(
    allocation: Allocation, index: int, rung: int
) -> tuple[str, float | None, tuple[float, float] | None, float]:
    """Action, value, interval and cost of a ladder rung, of nothing (-1), of the fallback (-2)."""
    ladder, resource = allocation.ladder, allocation.priced_resource
    if rung == -1:
        return "nothing", 0.0, None, 0.0
    if rung == -2:
        fallback = allocation.fallback
        return (
            "the fallback",
            fallback.value_of(index),
            None,
            fallback.cost_of(index).get(resource, 0.0),
        )
    ends = None
    if ladder.interval is not None and np.isfinite(ladder.interval[rung]).all():
        ends = (float(ladder.interval[rung][0]), float(ladder.interval[rung][1]))
    value, cost = float(ladder.value[rung]), float(ladder.cost[resource][rung])
    return action_words(ladder.action_of(rung)), value, ends, cost


def _certificate(allocation: Allocation) -> str:
    lines: list[Cell] = [
        f"Value {percent(allocation.value)}.",
        f"No allocation on this menu exceeds {percent(allocation.bound)} (dual bound).",
        f"Relative gap {number(allocation.relative_gap)}.",
    ]
    for limit in allocation.limits:
        side = "at least" if limit.sense == "min" else "at most"
        text = f"Limit on {limit.words}: {side} {number(limit.amount)}"
        if limit.realised is not None:
            text += f"; realised {number(limit.realised)}"
        lines.append(text + ".")
    if allocation.unspent_cause:
        lines.append(
            f"Not spent: {number(allocation.unspent)} per query. {allocation.unspent_cause}"
        )
    lines.append(
        f"{allocation.n_menu:,} actions were on offer; {allocation.n_nonhull:,} of them lie below "
        "the concave hull and can never be the best use of a budget."
    )
    return f"<h3>Certificate</h3>{items(lines)}"


def _fit(fit: FitResult, charts: _Charts) -> str:
    law = find_law(fit.law)
    used = [group for group in fit.groups if group.usable]
    tabulated = isinstance(law, Tabulated)
    parts = [
        f"<section><h2>Law: {escape(fit.law)}</h2>",
        f"<p>{escape(law.meaning[:1].upper() + law.meaning[1:])}.</p>",
    ]
    if not tabulated:
        parts.append(f'<div class="formula">{mathml(law)}</div>')
        parts.append(
            items(
                Markup(f"<code>{escape(param.symbol)}</code> {escape(param.meaning)}")
                for param in law.params
            )
        )
    parts.append(_data_line(fit))
    try:
        if not fit.timed:
            parts.append(charts.figure(plots.coverage(fit)))
    except NotUsableError as error:
        parts.append(f"<p>{escape(str(error))}</p>")
    parts.append(_values(fit) if tabulated else _parameters(fit))
    if used:
        parts.append(_quality(fit))
    parts.append(_cautions([(_name(group, fit.bins), group.cautions) for group in fit.groups]))
    sources = [f"{source.text}: {source.place}." for source in law.references]
    parts.append(f"<h3>Sources</h3>{items(sources)}</section>")
    return "\n".join(parts)


def _data_line(fit: FitResult) -> str:
    spec = fit.interval
    how = f"objective {fit.objective}" + (f", preset {fit.preset}" if fit.preset else "")
    if spec.method == "none":
        how += "; no intervals were asked for"
    elif isinstance(find_law(fit.law), Tabulated):
        how += f"; {spec.level:.0%} prediction intervals, seed {spec.seed}"
    else:
        how += f"; {spec.level:.0%} intervals by {spec.method}"
        if spec.replicates:
            units = "settings" if fit.timed else "problems"
            how += f" ({spec.replicates:,} resamples of {units}, seed {spec.seed})"
    data = f"{fit.data['format']}, {number(fit.data['rows'])} rows"
    return (
        f'<p class="data">Data: {escape(data)}, '
        f"sha256 <code>{escape(str(fit.data['sha256']))}</code>. Fit: {escape(how)}.</p>"
    )


def _name(group: GroupFit, bins: Mapping[str, tuple[float, ...]]) -> str:
    return plots.place_label(group.by, bins) or "all problems"


def _key(
    group: GroupFit, columns: Sequence[str], bins: Mapping[str, tuple[float, ...]]
) -> list[Cell]:
    by = group.by
    return [plots.column_label(name, by[name], bins) if name in by else "" for name in columns]


def _parameters(fit: FitResult) -> str:
    columns = _columns(fit)
    names = list(
        dict.fromkeys(name for group in fit.groups for name in (*group.params, *group.derived))
    )
    rows: list[list[Cell]] = []
    for group in fit.groups:
        row: list[Cell] = _key(group, columns, fit.bins)
        for name in names:
            estimate = group.params.get(name) or group.derived.get(name)
            row.append(_estimate(estimate, wanted=fit.interval.method != "none"))
        rows.append([*row, "" if group.usable else group.status])
    head = [*columns, *(name.replace("_", " ") for name in names), ""]
    numeric = range(len(columns), len(columns) + len(names))
    note = (
        ""
        if fit.interval.method == "none"
        else f'<p class="soft">In brackets: {fit.interval.level:.0%} intervals.</p>'
    )
    return f"<h3>Parameters</h3>{table(head, rows, numeric)}{note}"


def _estimate(estimate: Any, *, wanted: bool) -> Cell:
    if estimate is None or estimate.estimate is None:
        return None
    text = _short(estimate.estimate)
    if estimate.at_bound:
        text += " <b>at the bound</b>"
    if estimate.interval is not None:
        low, high = map(_short, estimate.interval)
        text += f' <span class="ends">[{low}, {high}]</span>'
    elif wanted:
        text += ' <span class="ends">no interval</span>'
    return Markup(text)


def _short(value: float) -> str:
    """A parameter, which may be out by orders of magnitude: no more than ten characters."""
    return number(value) if abs(value) < 1e5 else f"{value:.4g}"


def _values(fit: FitResult) -> str:
    """Coverage at powers of ten, for a law that is known by its values alone."""
    columns = _columns(fit)
    last = 10 * max((group.max_n for group in fit.groups), default=1)
    at = 10 ** np.arange(len(str(last)), dtype=np.int64)
    rows: list[list[Cell]] = []
    for group in fit.groups:
        row: list[Cell] = _key(group, columns, fit.bins)
        if not group.usable:
            rows.append([*row, *("" for _ in at), group.status])
            continue
        curve, band = group.curve(at), group.band(at, fit.interval.level)
        for i, k in enumerate(at.tolist()):
            if not np.isfinite(curve[i]):
                row.append(None)
                continue
            text = percent(float(curve[i]))
            if band is not None:
                ends = (float(band[0][i]), float(band[1][i]))
                text += f' <span class="ends">{interval(ends, share=True)}</span>'
            text += ' <span class="ends"><b>beyond the log</b></span>' * (k > group.reach)
            row.append(Markup(text))
        rows.append([*row, ""])
    head = [*columns, *(f"{k:,}" for k in at.tolist()), ""]
    return (
        f"<h3>Coverage by samples per problem</h3>"
        f"{table(head, rows, range(len(columns), len(head) - 1))}"
        f'<p class="soft">In brackets: {fit.interval.level:.0%} prediction intervals.</p>'
        f"{_members(fit)}"
    )


def _members(fit: FitResult) -> str:
    """The models that a forecast weighs."""
    columns = _columns(fit)
    rows: list[list[Cell]] = []
    for group in fit.groups:
        key = _key(group, columns, fit.bins)
        for name, weight in group.derived.items():
            member = name.removeprefix("weight_")
            if member == name or weight.estimate is None:
                continue
            error = group.derived.get(f"backtest_error_{member}")
            shown = None if error is None or error.estimate is None else f"{error.estimate:.4f}"
            rows.append([*key, member.replace("-", " "), percent(weight.estimate), shown])
            key = [""] * len(columns)
    if not rows:
        return ""
    head = [*columns, "member", "weight", "error in the backtest"]
    return (
        f"<h3>What the forecast weighs</h3>{table(head, rows, (len(head) - 2, len(head) - 1))}"
        '<p class="soft">The backtest forecasts this very log from a tenth of its attempts; its '
        "error is the root mean square in coverage.</p>"
    )


def _columns(fit: FitResult) -> list[str]:
    return list(dict.fromkeys(name for group in fit.groups for name in group.by))


def _quality(fit: FitResult) -> str:
    columns = _columns(fit)
    head = [*columns, "problems", "attempts", "most per problem", *_ERRORS.values()]
    rows: list[list[Cell]] = [
        [
            *_key(group, columns, fit.bins),
            number(group.n_problems),
            number(group.n_samples),
            number(group.max_n),
            *(number(group.fit.get(name)) for name in _ERRORS),
        ]
        for group in fit.groups
    ]
    start = len(columns)
    return (
        f"<h3>Data and fit</h3>{table(head, rows, range(start, len(head)))}"
        '<p class="soft">Errors are in coverage, between the curve and the unbiased points of the '
        "same range of samples: on problems that the fit saw, and on those that it did not (five "
        "folds). They say nothing of larger numbers of samples.</p>"
    )


def _cautions(found: Sequence[tuple[str | None, Sequence[Any]]]) -> str:
    where: dict[tuple[str, str], list[str]] = {}
    for name, cautions in found:
        for caution in cautions:
            where.setdefault(_caution(caution), []).extend([name] if name else [])
    if not where:
        return ""
    lines = [
        Markup(
            f"<b>{escape(code)}</b>: {escape(message)}"
            + (f" <span class='soft'>({escape('; '.join(names))})</span>" if names else "")
        )
        for (code, message), names in where.items()
    ]
    return f'<div class="cautions"><h3>Cautions</h3>{items(lines)}</div>'


def _caution(caution: Any) -> tuple[str, str]:
    if isinstance(caution, dict):
        return caution["code"], caution["message"]
    return caution.code, caution.message


def _assumptions(fits: Sequence[FitResult], allocation: Allocation | None) -> str:
    lines = ["Attempts at one problem are independent, with one success rate."]
    if fits:
        lines.append(
            "Problems are the unit of evidence: intervals come from resampling problems or from "
            "the likelihood of their counts. They answer for new problems like these, and say "
            "nothing of a change in the traffic or in the model."
        )
        lines.append(
            "Dashed curves go beyond the evidence of the log. Of the intervals there, only the "
            "forecast's is made for it; those of a law hold if the law does."
            if any(fit.law == plots.FORECAST for fit in fits)
            else "Curves end with the evidence of the log."
        )
    if allocation is not None:
        if allocation.ladder.maximise == "coverage":
            lines.append(
                "Coverage counts a query as solved when any sample is right. What is served "
                "reaches it only with a verifier that finds the right one; with a weaker one it "
                "is a ceiling."
            )
        lines.append("The share of each class among future queries is its weight above.")
        lines.append("A sample costs its class's mean, whatever the number of samples.")
    return f"<section><h2>What is assumed</h2>{items(lines)}</section>"


def _reproduce(fits: Sequence[FitResult], allocation: Allocation | None) -> str:
    names = ["fit.json"] if len(fits) == 1 else [f"fit{i + 1}.json" for i in range(len(fits))]
    lines = [f"{_fit_command(fit)} -o {name}" for fit, name in zip(fits, names, strict=True)]
    if fits and allocation is None:
        lines.append(f"scaling report {' '.join(names)} -o report.html")
    if allocation is not None and allocation.limits:
        limits = list(allocation.limits)
        target = allocation.target
        given = []
        if target is not None:
            given.append(f"--target-value {_exact(target.value)} --unit {target.resource}")
            limits = limits[1:]
        given += [
            option + (f" --queries {limit.queries}" if limit.queries else "")
            for limit in limits
            if (option := limit.option) is not None
        ]
        if any(limit.option is None for limit in limits):
            given.append("--constraints constraints.toml")
        said = " ".join(given)
        lines.append(f"scaling allocate fit.json {said} --seed {allocation.seed} -o table.json")
    return (
        "<section><h2>How to reproduce</h2>"
        f"<p>With scaling {escape(__version__)} and the log whose digest stands above "
        "(<code>SWEEP</code> is its file):</p>"
        f"<pre>{escape(chr(10).join(lines))}</pre></section>"
    )


def _fit_command(fit: FitResult) -> str:
    import shlex

    columns = _columns(fit)
    words = ["scaling", "fit", "SWEEP", "--law", fit.law, "--by", ",".join(columns) or "none"]
    for column, cuts in fit.bins.items():
        words += ["--bins", f"{column}={','.join(map(_exact, cuts))}"]
    if fit.preset:
        words += ["--preset", fit.preset]
    elif len(find_law(fit.law).objectives) > 1:
        words += ["--objective", fit.objective]
    words += ["--interval", fit.interval.method]
    if fit.interval.replicates:
        words += ["--replicates", str(fit.interval.replicates)]
    words += ["--level", _exact(fit.interval.level), "--seed", str(fit.interval.seed)]
    return shlex.join(words)


def _exact(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
