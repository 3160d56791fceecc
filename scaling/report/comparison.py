"""Several fits of one log side by side: the figure, the table, and which to believe."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from scaling import plots
from scaling.errors import NotUsableError, UsageError
from scaling.report.html import Cell, Markup, escape, items, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from scaling.fitting.result import FitResult, GroupFit

ALIKE = 1.05
"""Held-out errors up to this multiple of the lowest are not told apart."""
_LISTED = 12  # groups whose best laws are named one by one


def families(fits: Sequence[FitResult]) -> list[list[FitResult]]:
    """The fits that share data and groups, two or more at a time, the lowest held-out error first."""
    found: dict[object, list[FitResult]] = {}
    for fit in fits:
        found.setdefault((fit.data["sha256"], plots.group_keys(fit)), []).append(fit)
    return [sorted(family, key=_mean_error) for family in found.values() if len(family) > 1]


def section(fits: Sequence[FitResult], draw: Callable[[Any], str]) -> str:
    """The comparison of fits of the same data and groups.

    Args:
        fits: as `families` gives them.
        draw: makes a figure of the page from a chart.
    """
    parts = [f"<section><h2>{len(fits)} laws of the same log</h2>"]
    try:
        parts.append(draw(plots.coverage(fits)))
    except (NotUsableError, UsageError) as error:
        parts.append(f"<p>{escape(str(error))}</p>")
    within, groups, beyond = verdict(fits)
    parts.append(f"<h3>Which to believe</h3><p>{escape(within)}</p>")
    parts += [items(groups)] if groups else []
    parts.append(f"<p>{escape(beyond)}</p>")
    parts.append(f'<div class="dense">{_table(fits)}</div>')
    return "\n".join([*parts, "</section>"])


class Verdict(NamedTuple):
    """Which law to believe, in sentences: within the data, there by group, and beyond."""

    within: str
    groups: list[str]
    beyond: str


def verdicts(fits: Sequence[FitResult]) -> list[Verdict]:
    """Which law to believe, one verdict for each log that two or more of the fits share."""
    return [verdict(family) for family in families(fits)]


def verdict(fits: Sequence[FitResult]) -> Verdict:
    """Which law to believe, and why.

    Args:
        fits: of the same data and groups.
    """
    said = []
    for first in fits[0].groups:
        ranked = [(error, name) for error, name, _, _ in _ranked(fits, first) if error is not None]
        if ranked:
            lowest = ranked[0][0]
            alike = [name for error, name in ranked if error <= ALIKE * lowest]
            other = ranked[len(alike) :]
            rest = f"; next {other[0][1]}, {other[0][0]:.4f}" if other else ""
            place = plots.place_label(first.by, fits[0].bins) or "all problems"
            best = " or ".join(filter(None, (", ".join(alike[:-1]), alike[-1])))
            said.append(f"{place}: {best} (held-out error {lowest:.4f}{rest}).")
    if not said:
        within = "Within the data, none: no law has an error on problems that it did not see."
        return Verdict(within, [], _beyond(fits))
    within = (
        "Within the data, the law with the lowest error on problems that it did not see. "
        f"Errors within {ALIKE - 1:.0%} of the lowest are not told apart."
    )
    if len(said) > _LISTED:
        said = [*said[:_LISTED], f"And {len(said) - _LISTED} more groups: see the table."]
    return Verdict(within, said, _beyond(fits))


def _beyond(fits: Sequence[FitResult]) -> str:
    forecast = next((fit for fit in fits if fit.law == plots.FORECAST), None)
    if forecast is None:
        return (
            "Beyond the data, none of these: their agreement with the log says nothing of larger "
            "numbers of samples. Fit the law forecast to the same log."
        )
    text = (
        "Beyond the data, the forecast: it weighs several models by how well they foretold this "
        "very log, and its interval is the one made for predictions there. The other laws' dashed "
        "lines are what each would say alone."
    )
    lost = [
        plots.place_label(group.by, forecast.bins) or "all problems"
        for group in forecast.groups
        if not group.usable
    ]
    return f"{text} It gives none for {'; '.join(lost)}." if lost else text


def _table(fits: Sequence[FitResult]) -> str:
    columns = list(dict.fromkeys(name for group in fits[0].groups for name in group.by))
    head = [
        *columns,
        "law",
        "objective",
        "log-likelihood",
        "AIC",
        "BIC",
        "held-out error",
        "status, cautions",
    ]
    rows: list[list[Cell]] = []
    for first in fits[0].groups:
        ranked = _ranked(fits, first)
        lowest = ranked[0][0]
        key: list[Cell] = [
            plots.column_label(name, first.by[name], fits[0].bins) if name in first.by else ""
            for name in columns
        ]
        for error, name, fit, group in ranked:
            good = error is not None and lowest is not None and error <= ALIKE * lowest
            codes = {caution.code: None for caution in group.cautions}
            codes.pop(group.status, None)
            shown = "–" if error is None else f"{error:.4f}"
            rows.append(
                [
                    *key,
                    name,
                    fit.objective,
                    *(_tenths(group.fit.get(x)) for x in ("log_likelihood", "aic", "bic")),
                    Markup(f"<b>{shown}</b>") if good else shown,
                    Markup(f'{group.status} <span class="codes">{escape(", ".join(codes))}</span>'),
                ]
            )
            key = [""] * len(columns)
    start = len(columns) + 2
    return (
        f"{table(head, rows, range(start, start + 4))}"
        '<p class="soft">Bold: the lowest held-out error of the group, and those not told apart '
        "from it. The held-out error is the mean absolute error in coverage on problems that the "
        "fit did not see (five folds). AIC and BIC compare laws fitted by the same likelihood "
        "only. What a caution means stands in the section of its law.</p>"
    )


def _tenths(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}"


def _ranked(
    fits: Sequence[FitResult], wanted: GroupFit
) -> list[tuple[float | None, str, FitResult, GroupFit]]:
    """One group of each fit, by held-out error; last those that have none."""
    found = []
    for fit, name in zip(fits, plots.law_labels(fits), strict=True):
        group = next(group for group in fit.groups if dict(group.by) == dict(wanted.by))
        error = group.fit.get("held_out_mae") if group.usable else None
        found.append((error, name, fit, group))
    return sorted(found, key=lambda one: float("inf") if one[0] is None else one[0])


def _mean_error(fit: FitResult) -> float:
    """The mean held-out error over groups, infinite where one has none."""
    errors = [group.fit.get("held_out_mae") if group.usable else None for group in fit.groups]
    known = [error for error in errors if error is not None]
    return sum(known) / len(known) if known and len(known) == len(errors) else float("inf")
