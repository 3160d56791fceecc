"""`scaling backtest`: how forecasters would have done on the user's own log."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import NotUsableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from scaling.fitting.backtest_result import Backtest, GroupBacktest, Rank, Score

FITS = {
    "forecast": "--law forecast",
    "brown": "--law exponentiated-power --objective logcov",
    "epl-cov": "--law exponentiated-power --objective cov",
    "loglog": "--law exponentiated-power --objective loglog",
}
"""The options of `scaling fit` that fit what a forecaster fits; count laws go by their own names."""
_OWN = (
    *("output", "as_json", "laws", "compare", "cut", "target"),
    *("thinnings", "replicates", "seed", "level"),
)


@click.command("backtest", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="SWEEP...")
@click.option("--laws", metavar="A,B", help="Forecasters to score; see below.")
@click.option("--compare", is_flag=True, help="Score every published rival, and rank them.")
@click.option("--cut", type=int, required=True, metavar="N", help="Attempts a forecaster sees.")
@click.option(
    "--target",
    required=True,
    metavar="K,...",
    help="Numbers of attempts to forecast, above the cut.",
)
@click.option(
    "--thinnings", type=int, default=20, show_default=True, help="Random choices of the cut."
)
@options.output("F", "Write the backtest document.")
@options.as_json
@options.by
@click.option("--bins", multiple=True, metavar="COL=.2,.6|COL:q4", help="As in `scaling fit`.")
@options.where
@click.option("--level", type=float, default=0.95, show_default=True)
@click.option(
    "--replicates",
    type=int,
    default=200,
    show_default=True,
    help="Of the bootstrap that gives a law its interval; 0 for none.",
)
@click.option(
    "--min-attempts", type=int, metavar="M", help="Leave out problems with fewer attempts."
)
@options.seed
@options.reading
def command(
    sources: tuple[str, ...],
    *,
    laws: str | None,
    compare: bool,
    cut: int,
    target: str,
    thinnings: int,
    output: Path | None,
    as_json: bool,
    by: str | None,
    bins: tuple[str, ...],
    where: tuple[str, ...],
    level: float,
    replicates: int,
    min_attempts: int | None,
    seed: int,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
) -> None:
    r"""Forecast what the log already knows, from a part of it, and score the forecasts.

    \b
    scaling backtest log.csv --laws forecast,beta-binomial --cut 100 --target 1000
    scaling backtest log.csv --compare --cut 100 --target 1000,10000 -o backtest.json

    The attempts at each problem are thinned at random to the cut, each law is fitted to what is left,
    and its coverage at the target is held against pass@k of all attempts. That truth is one draw: how
    far it scatters by itself, and how small an error anybody could reach, is printed beside the scores.

    \b
    Forecasters: forecast (ours), brown, epl-cov, loglog, curve-mean, schaeffer, kazdan,
    beta-binomial, zero-inflated-beta-binomial, semilog, uniform-prior, solved-so-far (all of
    these by --compare), and every other count law of `scaling laws`; those take minutes for
    their intervals. Exit code 3 where no group could be scored.
    """
    from scaling.fitting.rivals import COMPARED, rival

    # What can be refused at once is refused before the log is read.
    names = [part.strip() for part in laws.split(",")] if laws else []
    if not names and not compare:
        raise UsageError("give --laws forecast,beta-binomial, or --compare for every rival.")
    names = list(dict.fromkeys(rival(n).name for n in (*names, *(COMPARED if compare else ()))))
    targets = [_whole(x, "--target") for x in options.numbers(target, "--target")]
    columns, cuts = options.columns(by), options.bins(bins)
    kept = options.each_pair(where, "--where")
    options.check_output(output, sources)

    from scaling.fitting.backtest import backtest

    sweep = options.read_sweep(
        sources, rename=rename, check_duplicates=check_duplicates, threshold=threshold
    )
    options.notes(sweep)
    with show.progress("backtest") as progress:
        found = backtest(
            sweep,
            names,
            cut,
            targets,
            thinnings=thinnings,
            level=level,
            replicates=replicates,
            seed=seed,
            by=columns,
            bins=cuts or None,
            where=kept or None,
            min_attempts=min_attempts,
            progress=progress,
        )
    text = show.document(found.to_json())
    logs = shlex.join(sources)
    options.give(text, output, lambda: report(found, logs), as_json=as_json)
    if not found.usable:
        raise NotUsableError(f"no group could be scored: {found.groups[0].reason}")


def _whole(x: float, flag: str) -> int:
    if x != int(x):
        raise UsageError(f"{flag}: {x:g} is no whole number of attempts.")
    return int(x)


def report(found: Backtest, logs: str) -> None:
    """What a person reads of a backtest."""
    shown = ", ".join(f"{k:,}" for k in found.targets)
    show.line(
        "backtest",
        f"{logs}: fitted to {found.cut:,} attempts at each problem, scored at {shown}; "
        f"{found.thinnings} thinnings, seed {found.seed}",
    )
    by = list(dict.fromkeys(name for g in found.groups for name in g.by))
    _truths(found.groups, by)
    for group in found.groups:
        if group.scores:
            _scores(group, found)
    if len(found.laws) > 1 and found.ranking:
        for samples in found.targets:
            _ranking([r for r in found.ranking if r.samples == samples], found)
    if found.ranking:
        words = ("scaling fit", logs, _fit(found), options.again(*_OWN), "-o fit.json")
        show.following(" ".join(word for word in words if word))


def _fit(found: Backtest) -> str:
    """How `scaling fit` is told to fit the first at the largest target.

    Our own forecaster stands in where it is within noise of the first, or the first cannot be fitted.
    """
    from scaling.core.registry import law_names

    ranks = [r for r in found.ranking if r.samples == found.targets[-1]]
    as_good = any(r.law == "forecast" and r.within_noise for r in ranks)
    first = "forecast" if as_good else ranks[0].law
    return FITS.get(first) or f"--law {first if first in law_names() else 'forecast'}"


def _truths(groups: Sequence[GroupBacktest], by: list[str]) -> None:
    """What is known before anybody forecasts: the truth, its own noise, the attainable error."""
    numbers = ("problems", "runs", "truth", "sd of truth", "floor: rates", "floor: population")
    show.table(
        (*by, "k", *numbers),
        (
            (
                *(str(g.by.get(n, "")) for n in by),
                f"{t.samples:,}",
                f"{g.n_problems:,}",
                f"{g.n_runs:,}",
                *(show.number(x, 3) for x in (t.truth, t.truth_sd)),
                *(show.number(x, 2) for x in (t.mae_known_rates, t.mae_known_population)),
            )
            for g in groups
            for t in g.targets
        ),
        numbers=("k", *numbers),
    )
    show.line(
        "floor",
        "mean absolute error of one who knows every success rate, and of one who knows only how they "
        "are spread; nobody can be expected to do better. The truth is one draw, with the sd shown",
    )
    for g in groups:
        if g.reason:
            show.line("skipped", g.reason)
        elif g.problems_dropped or g.runs_dropped:
            show.line(
                "left out",
                f"{g.label()}: {g.problems_dropped:,} problems without attempts beyond the cut, "
                f"{g.runs_dropped:,} thinnings with fewer than two problems solved",
            )


def _scores(group: GroupBacktest, found: Backtest) -> None:
    for samples in found.targets:
        rows = [s for s in group.scores if s.samples == samples]
        known = [s.mae for s in rows if s.mae is not None]
        show.heading(f"{group.label()}, forecast of {samples:,} attempts")
        failed = any(s.failed for s in rows)
        numbers = (
            *("bias", "mean |error|", "rms", "of log(1-c)"),
            *(f"{found.level:.0%} hold", "width", "interval score", *(["failed"] * failed)),
        )
        show.table(
            ("law", *numbers),
            [(*_cells(s), *([f"{s.failed}"] * failed)) for s in rows],
            numbers=numbers,
            bold={i for i, s in enumerate(rows) if known and s.mae == min(known)},
        )


def _cells(s: Score) -> tuple[str, ...]:
    held = show.MISSING if s.interval_coverage is None else f"{s.interval_coverage:.0%}"
    errors = (s.bias, s.mae, s.rmse, s.log_mae)
    return s.law, *map(_error, errors), held, _error(s.mean_width), _error(s.interval_score)


def _error(x: float | None) -> str:
    return show.MISSING if x is None else f"{x:.4f}"


def _ranking(ranks: Sequence[Rank], found: Backtest) -> None:
    scored = sum(bool(g.scores) for g in found.groups)
    over = f", mean over {scored} groups" if scored > 1 else ""
    show.heading(f"ranking at {ranks[0].samples:,} attempts{over}")
    numbers = ("mean |error|", "behind the first", f"{found.level:.0%} interval")
    show.table(
        ("place", "law", *numbers, ""),
        [
            (
                str(i + 1) if r.mae is not None else show.MISSING,
                r.law,
                _error(r.mae),
                _error(r.behind) if i else "",
                f"[{r.interval[0]:.4f}, {r.interval[1]:.4f}]" if r.interval else "",
                "within noise" if i and r.within_noise else "",
            )
            for i, r in enumerate(ranks)
        ],
        numbers=("place", *numbers),
        bold={0},
    )
    again = "runs, groups and truths" if scored > 1 else "runs and the truth"
    text = f"pairs of errors on the same runs, with {again} drawn again"
    if scored > 1 and scored < 6:
        text += f"; {scored} groups are few, so take the intervals as a sketch"
    show.line("noise", text)
