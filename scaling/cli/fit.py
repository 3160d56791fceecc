"""`scaling fit`: a law with its uncertainty, from a log."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import NotUsableError

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.core.law import Law
    from scaling.fitting.result import Estimate, FitResult, GroupFit


@click.command("fit", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="SWEEP...")
@click.option("--law", required=True, metavar="NAME", help="`scaling laws` lists them.")
@options.output("FIT.json", "Write the fit document.")
@options.as_json
@options.by
@click.option(
    "--bins",
    multiple=True,
    metavar="COL=.2,.6|COL:q4",
    help="Cut points, or a number of quantile bins, of a numeric column; pass1:q4 bins by outcome.",
)
@options.where
@click.option("--objective", metavar="NAME", help="What is minimised. Default: the law's first.")
@click.option("--preset", metavar="NAME", help="A published recipe, such as brown2024.")
@click.option(
    "--interval",
    type=click.Choice(["percentile", "bca", "jackknife", "profile", "none"]),
    default="percentile",
    show_default=True,
    help="Bootstrap over problems (plain, or corrected for bias and skewness), jackknife, profile "
    "likelihood, or no intervals.",
)
@click.option("--replicates", type=int, default=1000, show_default=True)
@click.option("--level", type=float, default=0.95, show_default=True)
@click.option(
    "--min-attempts", type=int, metavar="M", help="Leave out problems with fewer attempts."
)
@click.option(
    "--siblings",
    multiple=True,
    metavar="SWEEP",
    help="Other models' logs of the same problems, for budgets of single problems. Repeatable.",
)
@options.seed
@options.reading
@click.option("--strict", is_flag=True, help="Exit 3 where any group is not usable.")
def command(
    sources: tuple[str, ...],
    *,
    law: str,
    output: Path | None,
    as_json: bool,
    by: str | None,
    bins: tuple[str, ...],
    where: tuple[str, ...],
    objective: str | None,
    preset: str | None,
    interval: str,
    replicates: int,
    level: float,
    min_attempts: int | None,
    siblings: tuple[str, ...],
    seed: int,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
    strict: bool,
) -> None:
    r"""Fit a law to a log, group by group.

    \b
    scaling fit log.csv --law beta-binomial -o fit.json
    scaling fit log.csv --law beta-binomial --by level,model
    scaling fit counts.csv --law exponentiated-power --preset brown2024 --by model
    scaling fit counts.csv --law beta-binomial --siblings others.csv -o fit.json
    cat counts.csv | scaling fit - --law beta-binomial --json
    scaling fit runtimes.csv --law idealized-runtime --by model

    SWEEP is a file (CSV, Parquet, JSON lines; .gz too), a glob, or - for standard input; several
    are read as one. Exit code 3 where no group is usable; the document is written and says why.
    """
    from scaling.core.registry import law as declared

    # What can be refused at once is refused before the log is read.
    model = declared(law)
    model.objective(objective)
    if preset:
        model.preset(preset)
    columns, cuts = options.columns(by), options.bins(bins)
    kept = options.each_pair(where, "--where")
    options.check_output(output, (*sources, *siblings))

    import scaling

    sweep = options.read_sweep(
        sources, rename=rename, check_duplicates=check_duplicates, threshold=threshold
    )
    options.notes(sweep)
    others = None
    if siblings:
        others = options.read_sweep(
            siblings, rename=rename, check_duplicates=check_duplicates, threshold=threshold
        )
        options.notes(others)
    with show.progress(f"fitting {law}") as progress:
        result = scaling.fit(
            sweep,
            law,
            columns,
            objective=objective,
            preset=preset,
            interval=interval,
            replicates=replicates,
            level=level,
            seed=seed,
            bins=cuts or None,
            where=kept or None,
            min_attempts=min_attempts,
            siblings=others,
            progress=progress,
        )
    text = show.document(result.to_json())
    path, logs = str(output) if output else None, shlex.join(sources)
    keep = f"scaling fit {logs} {options.again('output', 'as_json')} -o fit.json"
    options.give(text, output, lambda: report(result, path, logs, keep), as_json=as_json)
    refused = [g for g in result.groups if not g.usable]
    if refused and (strict or not result.usable):
        count = "no group is usable" if not result.usable else f"{len(refused)} not usable"
        raise NotUsableError(
            f"{count} of {len(result.groups)}: {refused[0].why_not()} "
            + "More problems, or more attempts at each, would help." * (not result.timed)
        )


def report(result: FitResult, path: str | None, source: str, keep: str) -> None:
    """What a person reads of a fit.

    Args:
        result: the fit.
        path: where its document is, None where it is not kept.
        source: the logs, as the command names them.
        keep: the command that keeps the document.
    """
    from scaling.core.registry import FORECASTERS
    from scaling.core.registry import law as declared

    law = declared(result.law)
    timed = result.timed
    data = result.data
    groups = result.groups
    show.line("law", f"{law.name}: {law.meaning}")
    recipe = f" (preset {result.preset})" if result.preset else ""
    show.line("objective", f"{result.objective}{recipe}: {law.objective(result.objective).formula}")
    show.line(
        "data",
        f"{source}: {data['rows']:,} rows ({data['format']}), sha256 {data['sha256'][:12]}; "
        f"{sum(g.n_samples for g in groups):,} {'runtimes' if timed else 'attempts'} in {len(groups)} group(s)",
    )
    spec = result.interval
    if spec.method != "none":
        drawn = f", {spec.replicates:,} replicates, seed {spec.seed}" if spec.replicates else ""
        show.line("intervals", f"{spec.level:.0%} {spec.method}{drawn}")
    for name, cuts in result.bins.items():
        show.line("bins", f"{name} cut at {', '.join(show.amount(c) for c in cuts)}")

    if timed:
        from scaling.cli import runtimes

        runtimes.report(result, law, path, keep)
        return
    by = list(dict.fromkeys(name for g in groups for name in g.by))
    names = law.names
    if law.name in FORECASTERS:  # its parameters are the curve, which follows
        names = tuple(
            dict.fromkeys(n for g in groups for n in g.derived if n.startswith("weight_"))
        )
    _groups_table(
        groups,
        by,
        ("problems", "attempts", *names),
        lambda g: (
            f"{g.n_problems:,}",
            f"{g.n_samples:,}",
            *(_estimate({**g.params, **g.derived}[n]) for n in names),
        ),
    )
    _curve_table(result, law, by)
    quality = {
        "mae": "mean |error|",
        "sd_abs_error": "sd",
        "max_abs_residual": "max",
        "held_out_mae": "held out",
        "log_likelihood": "log-likelihood",
        "aic": "AIC",
    }
    shown = [n for n in quality if any(g.fit.get(n) is not None for g in groups)]
    if shown:
        show.line(
            "fit",
            "the law against the unbiased curve of the log; held out: on problems left out of the "
            "fit, five folds",
        )
        _groups_table(
            groups,
            by,
            tuple(quality[n] for n in shown),
            lambda g: tuple(show.number(g.fit.get(n)) for n in shown),
        )
    _siblings(groups)
    show.cautions(
        ("" if len(groups) == 1 else g.label(), c.code, c.message)
        for g in groups
        for c in g.cautions
    )
    if result.usable:
        budget = _budget([g for g in groups if g.usable])
        single = "--class problem " * any(g.transfer is not None for g in groups)
        allocate = f"scaling allocate {shlex.quote(path or '')} {single}{budget} -o table.json"
        show.following(allocate if path else keep)


def _siblings(groups: tuple[GroupFit, ...]) -> None:
    """What other models' logs were worth, by group."""
    for g in groups:
        if g.transfer is None:
            continue
        named = ", ".join(
            f"{s.model} {'left out' if s.correlation is None else show.number(s.correlation, 2)}"
            for s in g.transfer.siblings
        )
        of = "" if len(groups) == 1 else f"{g.label()}: "
        show.line(
            "siblings",
            f"{of}{g.transfer.explained:.0%} of difficulty is shared; correlations {named}",
        )


def _budget(groups: list[GroupFit]) -> str:
    """A budget that these groups have evidence for: about eight samples a query."""
    samples = min(8, *(g.reach for g in groups), *(g.max_n for g in groups))
    if not all("tokens" in g.resources for g in groups):
        return f"--budget {samples} --unit samples"
    mean = max(g.resources["tokens"].mean for g in groups)
    return f"--budget {float(f'{samples * mean:.1g}'):.0f} --unit tokens"


def _groups_table(groups: tuple[GroupFit, ...], by: list[str], columns: Any, cells: Any) -> None:
    show.table(
        (*by, *columns),
        ((*(str(g.by.get(n, "")) for n in by), *cells(g)) for g in groups[: show.MOST_ROWS]),
        numbers=columns,
    )
    show.more(len(groups), "groups")


def _curve_table(result: FitResult, law: Law, by: list[str]) -> None:
    """The output at a few numbers of samples: of a law where every group has evidence."""
    from scaling.core.registry import FORECASTERS

    usable = [g for g in result.groups if g.usable]
    if [i.column for i in law.inputs] != ["samples"] or not usable:
        return
    reach = min(g.reach for g in usable)
    at = sorted({k for k in (1, 10, 100) if k < reach} | {reach})
    if law.name in FORECASTERS:
        at += [k for k in (10 * reach, 100 * reach) if k <= law.inputs[0].grid[1]]
    rows: dict[str, list[str]] = {}
    for row in result.predict(samples=at).rows:
        cell = show.number(row.estimate, 3)
        if row.interval:
            cell += f" {show.interval(row.interval, 3)}"
        rows.setdefault(show.place(row.by), []).append(cell)
    whose = f"by the {law.name}" if law.name in FORECASTERS else "by the law"
    show.line(law.output.name, f"{law.output.meaning}; for new problems like these, {whose}")
    heads = tuple(f"k={k:,}" for k in at)
    _groups_table(result.groups, by, heads, lambda g: tuple(rows[show.place(g.by)]))


def _estimate(e: Estimate) -> str:
    band = f" {show.interval(e.interval, 3)}" if e.interval else ""
    return show.number(e.estimate) + band + " at bound" * e.at_bound
