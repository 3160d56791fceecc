"""`scaling passk`: what the attempts themselves say, without a law."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import NotUsableError

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.fitting.observed import GroupObserved, Observation, Observed
    from scaling.fitting.result import Estimand

_ESTIMANDS = {
    "population": "new problems from the same population",
    "benchmark": "these problems under new attempts",
}


@click.command("passk", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="SWEEP...")
@click.option("--k", default="1,10,100", show_default=True, metavar="K,...", help="Attempts.")
@click.option("--all", "all_right", is_flag=True, help="Also pass^k: all of k attempts are right.")
@click.option(
    "--at-least",
    metavar="G,...",
    help="Also the chance that G of k are right; below 1, that share of k (G-Pass@k).",
)
@click.option(
    "--attempts", is_flag=True, help="Also attempts spent up to the first success, at most k."
)
@click.option(
    "--scores",
    is_flag=True,
    help="Also the expected largest of k scores: needs attempt rows with a column score.",
)
@click.option(
    "--bounds",
    is_flag=True,
    help="Also the least and most pass@k that the counts allow, beyond the attempts too.",
)
@click.option(
    "--estimand",
    type=click.Choice(list(_ESTIMANDS)),
    default="population",
    show_default=True,
    help="What intervals are for: new problems, or these with new attempts.",
)
@click.option("--level", type=float, default=0.95, show_default=True)
@options.output("F", "Write the document.")
@options.as_json
@options.by
@options.where
@click.option(
    "--min-attempts", type=int, metavar="M", help="Leave out problems with fewer attempts."
)
@options.seed
@options.reading
def command(
    sources: tuple[str, ...],
    *,
    k: str,
    all_right: bool,
    at_least: str | None,
    attempts: bool,
    scores: bool,
    bounds: bool,
    estimand: Estimand,
    level: float,
    output: Path | None,
    as_json: bool,
    by: str | None,
    where: tuple[str, ...],
    min_attempts: int | None,
    seed: int,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
) -> None:
    r"""Estimate pass@k from the attempts themselves, without a law.

    \b
    scaling passk log.csv --k 1,10,100
    scaling passk log.csv --k 1,8 --all --at-least 4,0.75 --attempts
    scaling passk log.csv --k 1000 --bounds

    Estimates are unbiased, means over problems; where attempts stop at the first success, they are Kaplan
    and Meier's. Intervals come from problems (or clusters, where the log names them). There is no estimate
    beyond the attempts: --bounds shows what is known there, `scaling fit` and `scaling predict` what a
    law says. Exit code 3 where there is neither for any k.
    """
    numbers = options.numbers(k, "--k")
    least = options.numbers(at_least, "--at-least") if at_least else []
    columns, kept = options.columns(by), options.each_pair(where, "--where")
    options.check_output(output, sources)

    from scaling.fitting.observed import observe

    sweep = options.read_sweep(
        sources, rename=rename, check_duplicates=check_duplicates, threshold=threshold
    )
    options.notes(sweep)
    with show.waiting("estimating"):
        best = None
        if scores:
            from scaling.data.outcomes import attempt_scores

            names = options.renames(rename) or None
            best = attempt_scores(list(sources), rename=names, threshold=threshold)
        found = observe(
            sweep,
            numbers,
            all_right=all_right,
            at_least=least,
            attempts=attempts,
            bounds=bounds,
            scores=best,
            estimand=estimand,
            level=level,
            seed=seed,
            by=columns,
            where=kept or None,
            min_attempts=min_attempts,
        )
    text = show.document(found.to_json())
    logs = shlex.join(sources)
    options.give(text, output, lambda: report(found, logs), as_json=as_json)
    rows = [row for g in found.groups for row in g.rows]
    if all(row.estimate is None and row.bounds is None for row in rows):
        raise NotUsableError(f"nothing could be estimated: {rows[0].reason}.")


def report(found: Observation, logs: str) -> None:
    """What a person reads of observed pass@k."""
    show.line("passk", f"{logs}: estimates from the attempts, without a law")
    show.line("intervals", f"{found.level:.0%}, {found.estimand}: {_ESTIMANDS[found.estimand]}")
    for g in found.groups:
        _group(g)


def _group(g: GroupObserved) -> None:
    if g.by:
        show.heading(show.place(g.by))
    fewest, most = g.attempts
    tried = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
    units = f" in {g.units:,} clusters" if g.units < g.n_problems else ""
    how = "unbiased" if g.estimator == "unbiased" else "Kaplan and Meier"
    show.line("log", f"{g.n_problems:,} problems{units}, {tried} attempts each; {how}")
    numbers = ["k", "estimate", "interval"]
    bounded = any(row.bounds for row in g.rows)
    numbers += ["bounds"] * bounded
    show.table(
        ("measure", *numbers, ""),
        (
            (
                _name(row),
                f"{row.k:,}",
                show.number(row.estimate),
                show.interval(row.interval, 3),
                *([show.interval(row.bounds, 3) if row.bounds else ""] * bounded),
                row.reason or "",
            )
            for row in g.rows
        ),
        numbers=numbers,
    )
    show.cautions(("", c.code, c.message) for c in g.cautions)


def _name(row: Observed) -> str:
    if row.at_least is None:
        return row.measure
    share = row.at_least < 1
    return f"at least {f'{row.at_least:.0%}' if share else f'{row.at_least:g}'} of k"
