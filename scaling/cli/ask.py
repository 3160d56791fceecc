"""`scaling ask`: which problems to attempt next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scaling.fitting.asking import Ask
    from scaling.fitting.preposterior import Gain


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
    "--simulated",
    type=int,
    default=8,
    show_default=True,
    help="Results behind the expected gain; 0 for none (fast).",
)
@click.option(
    "--level", type=float, default=0.95, show_default=True, help="Of the forecast's interval."
)
@options.seed
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
    simulated: int,
    level: float,
    seed: int,
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
    scaling ask log.csv --attempts 1000 --k 10000 --json

    Attempts are placed so that the variance of the estimate of coverage at K is least, given what the
    counts say of each problem's success rate. What that is expected to bring is simulated from the log: the
    width of the forecast's interval after these attempts, and after as many spread evenly. Where that is next
    to nothing, a caution says so: even attempts keep every estimator valid. On public logs, grown in nine
    rounds, the forecast's error fell by 4 to 34%, its interval hardly.

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
    with show.progress("ask") as progress:
        found = ask(
            sweep,
            attempts,
            k=k,
            simulated=simulated,
            level=level,
            seed=seed,
            by=columns,
            where=kept or None,
            progress=progress,
        )
    text = show.document(found.to_json())
    logs = shlex.join(sources)
    options.give(text, output, lambda: report(found, logs), as_json=as_json)


def report(found: Ask, logs: str) -> None:
    """What a person reads of an ask."""
    how = "where variance lies" if found.rule == "variance" else f"by {found.rule}"
    show.line(
        "ask",
        f"{logs}: {found.attempts:,} attempts {how}, for coverage at {found.k:,} attempts",
    )
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
    _gains(found.gains)
    show.cautions(("", c.code, c.message) for c in found.cautions)
    show.line("tell", "add the new attempts to the log, with their results, and ask again")


def _gains(gains: Sequence[Gain]) -> None:
    """What the attempts are expected to bring the forecast of each group."""
    if not gains:
        return
    by = list(dict.fromkeys(name for g in gains for name in g.by))
    numbers = ("now", "even", "where variance lies", "saved")
    show.heading(
        f"width of the {gains[0].level:.0%} interval of coverage at {gains[0].k:,} attempts"
    )
    show.table(
        (*by, *numbers, "noise of the difference"),
        (
            (
                *(str(g.by.get(n, "")) for n in by),
                *(show.number(x, 3) for x in (g.now, g.even, g.adaptive)),
                show.MISSING if g.saved is None else f"{g.saved:+.1%}",
                g.reason or show.number(g.difference_se, 2),
            )
            for g in gains[: show.MOST_ROWS]
        ),
        numbers=numbers,
    )
    show.more(len(gains), "groups")
    simulated = max(g.simulated for g in gains)
    if simulated:
        show.line(
            "expected",
            f"mean over {simulated} results simulated from what the counts say of each problem, after these "
            "attempts spread evenly or placed where variance lies",
        )
