"""`scaling allocate --frontier`: value against budget, as a table, a document or a chart."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from scaling.cli import options, show
from scaling.cli.allocated import amount_of, limit_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scaling.allocators.frontier import Frontier
    from scaling.curves import Menu, MenuSource

CHARTS = (".html", ".png", ".svg")


def give(
    sources: Sequence[Menu | MenuSource],
    unit: str,
    budgets: Sequence[float] | None,
    how: Mapping[str, Any],
    output: Path | None,
    *,
    as_json: bool,
    inputs: Sequence[str],
    within_log: bool,
) -> None:
    """Compute a frontier, write it where asked, and print it.

    Args:
        sources: what is allocated.
        unit: the resource whose budget is varied.
        budgets: at which; None for a grid.
        how: the other options of `scaling.allocators.frontier.frontier`.
        output: where to; a chart where it ends in .html, .png or .svg, else the document.
        as_json: print the document.
        inputs: as they were given, for the next command.
        within_log: actions stop at the most attempts of a log.
    """
    from scaling.allocators.frontier import frontier

    with show.progress("allocating") as progress:
        found = frontier(sources, unit, budgets, **how, progress=progress)
    text = show.document(found.to_json())
    again = options.again("output", "as_json", "as_frontier", "budgets")
    middle = found.points[len(found.points) // 2].budget
    following = f"scaling allocate {shlex.join(inputs)} {again} --budget {show.amount(middle, 4)} -o table.json"
    if output is not None and output.suffix.lower() in CHARTS:
        from scaling import plots

        plots.save(plots.budgets(found), output)
        options.give(text, None, lambda: report(found, following), as_json=as_json)
        show.wrote(output, as_json=as_json)
        return
    options.give(
        text, output, lambda: report(found, following, within_log=within_log), as_json=as_json
    )


def report(found: Frontier, following: str, *, within_log: bool = False) -> None:
    """What a person reads of a frontier."""
    what = found.maximise
    show.line(
        "maximise", f"{what}, the mean a query, at {len(found.points)} budgets of {found.resource}"
    )
    for limit in found.limits:
        show.line("limit", limit_of(limit))
    rows = [
        (
            show.amount(point.budget, 5),
            show.number(point.value) + "*" * point.carried,
            show.number(point.bound),
            f"{point.relative_gap:.1e}",
            show.MISSING if point.price is None else show.number(point.price, 3),
            show.MISSING if point.uniform_value is None else show.number(point.uniform_value),
        )
        for point in found.points
    ]
    head = (found.resource, what, "at most", "gap", "price", "even spend")
    show.table(head, rows[: show.MOST_ROWS], numbers=head)
    show.more(len(rows), "budgets")
    if any(point.carried for point in found.points):
        show.line(
            "*", "the allocation of a smaller budget, which is worth more than that found here"
        )
    last = found.points[-1]
    if last.price == 0:
        more = amount_of(last.budget, found.resource)
        show.line(
            "most", f"beyond {more} a query nothing is gained" + " within the log" * within_log
        )
    show.cautions(("", c["code"], c["message"]) for c in found.cautions)
    show.following(following)
