"""`scaling plan`: what more problems and what more attempts buy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import InputError, NotUsableError, UsageError

if TYPE_CHECKING:
    from scaling.data.evidence import Counts
    from scaling.fitting.planning import SamplingPlan
    from scaling.fitting.result import GroupFit


@click.command("plan", cls=Command)
@click.argument("source", metavar="FIT.json|COUNTS")
@click.option("--k", "k", type=click.IntRange(min=1), required=True, help="Coverage at k samples.")
@click.option(
    "--problems", metavar="P,...", help="Numbers of problems. Default: as many, twice as many."
)
@click.option(
    "--attempts",
    metavar="N,...",
    help="Attempts at each problem. Default: as many as now, twice, four times; k at least.",
)
@click.option("--se", type=float, metavar="X", help="Find the cheapest log of this error.")
@click.option("--problem-cost", type=float, default=0.0, show_default=True, metavar="X")
@click.option("--attempt-cost", type=float, default=1.0, show_default=True, metavar="X")
@click.option("--by", metavar="COLS|none", help="Groups of a log, as in `scaling fit`.")
@options.output("F", "Write the plan document.")
@options.as_json
@options.reading
def command(
    source: str,
    *,
    k: int,
    problems: str | None,
    attempts: str | None,
    se: float | None,
    problem_cost: float,
    attempt_cost: float,
    by: str | None,
    output: Path | None,
    as_json: bool,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
) -> None:
    r"""What more problems and what more attempts buy for the error of coverage at k.

    \b
    scaling plan fit.json --k 100
    scaling plan counts.csv --k 10 --problems 100,200 --attempts 50,100
    scaling plan fit.json --k 100 --se 0.02 --problem-cost 20

    From a fit of a count law, variances are the law's; from a log, they are estimated without bias while it has
    2k attempts at each problem. More attempts reach further in k, and lower the error for new problems to a
    floor; more problems lower it without one. Exit code 3 where no group can be planned for.
    """
    designs = _given(problems, "--problems"), _given(attempts, "--attempts")
    options.check_output(output, [source])

    from scaling.fitting.planning import dumps, plan

    groups: list[tuple[GroupFit | Counts, int, int]] = []
    if _is_fit(source):
        flags = {"by": by, "rename": rename, "threshold": threshold, "check": check_duplicates}
        if any(flags.values()):
            raise UsageError(
                "--by, --map, --threshold and --check-duplicates are for logs; a fit has its groups."
            )
        from scaling.fitting.result import FitResult

        stdin = source == "-"
        fit = FitResult.from_json(options.standard_input()) if stdin else FitResult.load(source)
        for g in fit.groups:
            fewest = g.max_n if g.counts is None else int(g.counts.n.min())
            groups.append((g, g.n_problems, fewest))
    else:
        from scaling.data.evidence import Counts

        sweep = options.read_sweep(
            (source,), rename=rename, check_duplicates=check_duplicates, threshold=threshold
        )
        options.notes(sweep)
        for counts in sweep.groups(options.columns(by)):
            if not isinstance(counts, Counts):
                raise InputError(
                    f"{source} holds points of a curve, which do not say how problems differ. Give counts per problem."
                )
            groups.append((counts, len(counts.n), int(counts.n.min())))

    plans: list[SamplingPlan] = []
    refused: list[NotUsableError] = []

    def add(of: GroupFit | Counts, now: int, fewest: int) -> None:
        P = designs[0] or [now, 2 * now]
        n = designs[1] or sorted({max(k, fewest * times) for times in (1, 2, 4)})
        costs = {"cost_per_problem": problem_cost, "cost_per_attempt": attempt_cost}
        try:
            plans.append(plan(P, n, k, from_=of, target_se=se, **costs))
        except NotUsableError as error:
            refused.append(error)

    for group in groups:
        add(*group)
    if not plans:
        raise NotUsableError(f"{source}: {refused[0]}")
    text = show.document(dumps(plans))
    options.give(text, output, lambda: report(plans), as_json=as_json)
    for error in refused:
        show.message(f"note: {error}")


def _given(text: str | None, flag: str) -> list[float] | None:
    return None if text is None else options.numbers(text, flag)


def _is_fit(source: str) -> bool:
    if source == "-":
        return True
    if not Path(source).is_file():
        return False  # a glob, or a name that reading will complain about
    return options.stated_kind(Path(source)) == "scaling-fit"


def report(plans: list[SamplingPlan]) -> None:
    """What a person reads of plans."""
    first = plans[0]
    show.line(
        "question", f"the standard error of coverage at k = {first.k:,}, for logs of other sizes"
    )
    by = list(dict.fromkeys(name for p in plans for name in p.by))
    heads = ("problems", "attempts", "error", "floor", "these problems", "cost")
    rows = [
        (
            *(str(p.by.get(name, "")) for name in by),
            show.amount(d.problems),
            show.amount(d.attempts),
            *(show.number(x, 3) for x in (d.se, d.floor, d.se_benchmark)),
            show.amount(d.cost),
        )
        for p in plans
        for d in p.designs
    ]
    show.table((*by, *heads), rows[: show.MOST_ROWS], numbers=heads)
    show.more(len(rows), "designs")
    show.lines(
        [
            ("error", "of coverage as that of new problems from the same population"),
            ("floor", "of this error, with ever more attempts at as many problems"),
            ("these problems", "error of coverage of the same problems under new attempts"),
        ]
    )
    for p in plans:
        where = f"{show.place(p.by)}: " if p.by else ""
        show.line(
            "coverage",
            f"{where}{show.number(p.coverage)} at k = {p.k:,}; variances by {_SOURCES.get(p.source, p.source)}",
        )
        if p.cheapest is not None:
            d = p.cheapest
            show.line(
                "cheapest",
                f"{where}{d.problems:,} problems with {d.attempts:,} attempts each: error {show.number(d.se, 3)}, "
                f"cost {show.amount(d.cost)}",
            )
    show.cautions(
        (show.place(p.by) if p.by else "", c.code, c.message) for p in plans for c in p.cautions
    )


_SOURCES = {
    "counts": "the counts, without bias",
    "npmle": "nonparametric maximum likelihood",
}
