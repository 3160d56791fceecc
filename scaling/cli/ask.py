"""`scaling ask`: which problems to attempt next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.fitting.asking import Ask, Rule


@click.command("ask", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="SWEEP...")
@click.option("--attempts", type=int, required=True, metavar="N", help="How many to place, in all.")
@click.option(
    "--k",
    type=int,
    metavar="K",
    help="Attempts at which coverage is to be known. Default: ten times the most in the log.",
)
@click.option(
    "--rule",
    type=click.Choice(["fewest-successes", "variance"]),
    default="fewest-successes",
    show_default=True,
    help="How attempts are placed; see below.",
)
@options.output("F", "Write the ask document.")
@options.as_json
@options.by
@options.where
@options.reading
def command(
    sources: tuple[str, ...],
    *,
    attempts: int,
    k: int | None,
    rule: Rule,
    output: Path | None,
    as_json: bool,
    by: str | None,
    where: tuple[str, ...],
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
) -> None:
    r"""Name the problems whose next attempts teach most about coverage.

    \b
    scaling ask log.csv --attempts 1000
    scaling ask log.csv --attempts 1000 --rule variance --k 10000 --json

    fewest-successes gives each attempt to the problem with fewest successes, then fewest attempts.
    variance minimises the variance of the estimate of coverage at K, given what the counts say of each
    problem's success rate. On public logs both lower the error of a beta-binomial forecast by no more
    than a fifth against the same attempts spread evenly, and by less where there are few.

    To tell, add the new attempts to the log and ask again: there is no other state. Small asks learn
    from each other, large ones do not. In the longer log the number of attempts at a problem depends
    on results: give it stop_rule=unknown and fit a count law; the unbiased curve is biased there.
    """
    columns = options.columns(by)
    kept = options.each_pair(where, "--where")
    options.check_output(output, sources)

    from scaling.fitting.asking import ask

    sweep = options.read_sweep(
        sources, rename=rename, check_duplicates=check_duplicates, threshold=threshold
    )
    options.notes(sweep)
    with show.waiting("asking"):
        found = ask(sweep, attempts, k=k, rule=rule, by=columns, where=kept or None)
    text = show.document(found.to_json())
    logs = shlex.join(sources)
    options.give(text, output, lambda: report(found, logs), as_json=as_json)


def report(found: Ask, logs: str) -> None:
    """What a person reads of an ask."""
    at = f", for coverage at {found.k:,} attempts" if found.k else ""
    show.line("ask", f"{logs}: {found.attempts:,} attempts by {found.rule}{at}")
    by = list(dict.fromkeys(name for r in found.requests for name in r.by))
    named = [n for n in ("task", "problem") if n not in by]
    if all(not r.task for r in found.requests):
        named = [n for n in named if n != "task"]
    numbers = ("n", "c", "attempts to add")
    show.table(
        (*by, *named, *numbers),
        (
            (
                *(str(r.by.get(n, "")) for n in by),
                *(str(getattr(r, n)) for n in named),
                *(f"{x:,}" for x in (r.n, r.c, r.attempts)),
            )
            for r in found.requests[: show.MOST_ROWS]
        ),
        numbers=numbers,
    )
    show.more(len(found.requests), "problems")
    left = found.n_problems - len(found.requests)
    show.line(
        "total",
        f"{found.attempts:,} attempts at {len(found.requests):,} problems; {left:,} get none",
    )
    show.cautions(("", c.code, c.message) for c in found.cautions)
    show.line("tell", "add the new attempts to the log, with their results, and ask again")
