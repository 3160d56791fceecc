"""`scaling compare`: two models on the same problems, or two laws on the same data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import NotUsableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.fitting.comparison import Comparison, GroupComparison, Row
    from scaling.fitting.result import FitResult

_CRITERIA = {
    "held_out_mae": ("error on problems left out of the fit", "lower"),
    "aic": ("AIC", "lower"),
    "bic": ("BIC", "lower"),
    "log_likelihood": ("log-likelihood", "higher"),
}


@click.command("compare", cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="FIT.json [FIT.json]")
@click.option("--at", multiple=True, metavar="samples=K,...", help="Compare at these k.")
@click.option(
    "--models", metavar="A,B", help="With one fit by model: the two models. Default: its only two."
)
@click.option("--replicates", type=int, default=1000, show_default=True, help="Joint resamples.")
@click.option("--level", type=float, default=0.95, show_default=True)
@options.seed
@options.output("F", "Write the comparison document.")
@options.as_json
def command(
    paths: tuple[str, ...],
    *,
    at: tuple[str, ...],
    models: str | None,
    replicates: int,
    level: float,
    seed: int,
    output: Path | None,
    as_json: bool,
) -> None:
    r"""Compare two fits, group by group.

    \b
    scaling compare small.json large.json --at samples=1,10,100
    scaling compare fit.json --models small,large
    scaling compare beta.json power.json

    Two models are compared on the problems that both attempted: these are resampled together, so that
    what makes a problem hard for both drops out of the difference. Fits of two laws to the same
    counts show which one to believe on your data. Exit code 3 where nothing could be compared.
    """
    inputs = options.each_pair(at, "--at")
    for name in inputs:
        if name != "samples":
            raise UsageError(f"--at {name}: fits are compared at samples=K,...")
    k = options.numbers(inputs["samples"], "--at samples") if inputs else None
    if len(paths) > 2 or (len(paths) == 2 and models):
        raise UsageError(
            "give two fits, or one fit by model and --models A,B; "
            f"not {len(paths)} fits{' and --models' * bool(models)}."
        )
    if paths.count("-") > 1:
        raise UsageError("standard input can be read once; give - for one of the two fits.")
    options.check_output(output, paths)

    from scaling.fitting.compare import compare

    fits = [_load(path) for path in paths]
    if len(fits) == 1:
        fits = list(_of_models(fits[0], paths[0], models))
    with show.progress("comparing") as progress:
        found = compare(
            *fits, k=k, replicates=replicates, seed=seed, level=level, progress=progress
        )
    text = show.document(found.to_json())
    options.give(text, output, lambda: report(found), as_json=as_json)
    if not any(g.rows for g in found.groups):
        why = found.groups[0].cautions[0].message if found.groups[0].cautions else ""
        raise NotUsableError(f"no group could be compared. {why}")


def _load(path: str) -> FitResult:
    from scaling.fitting.result import FitResult

    return FitResult.from_json(options.standard_input()) if path == "-" else FitResult.load(path)


def _of_models(fit: FitResult, path: str, models: str | None) -> tuple[FitResult, FitResult]:
    """One fit by model, taken apart into those of two models."""
    there = list(dict.fromkeys(str(g.by["model"]) for g in fit.groups if "model" in g.by))
    chosen = [m.strip() for m in models.split(",")] if models else there
    if len(chosen) != 2 or chosen[0] == chosen[1] or not set(chosen) <= set(there):
        shown = f"has groups of the models {', '.join(there)}" if there else "is not by model"
        raise UsageError(
            f"{path} {shown}. Give two fits; or one fit by model and two of its models: --models A,B."
        )

    def of(model: str) -> FitResult:
        return replace(fit, groups=tuple(g for g in fit.groups if str(g.by.get("model")) == model))

    return of(chosen[0]), of(chosen[1])


def report(found: Comparison) -> None:
    """What a person reads of a comparison."""
    for g in found.groups:
        _group(g, found)
    for side, names in (("a", found.unpaired_a), ("b", found.unpaired_b)):
        if names:
            show.line("note", f"only in {side}, and not compared: {'; '.join(names)}")


def _group(g: GroupComparison, found: Comparison) -> None:
    if g.by:
        show.heading(show.place(g.by))
    show.lines([("a", g.a), ("b", g.b)])
    left = [f"{x} only in {side}" for side, x in (("a", g.only_a), ("b", g.only_b)) if x]
    show.line("problems", ", ".join([f"{g.matched:,} matched", *left]))
    show.line(
        "intervals",
        f"{found.level:.0%} of the difference, {found.replicates:,} joint resamples, seed {found.seed}",
    )
    if g.rows:
        (_laws if g.same_data else _models)(g.rows)
    if g.params:
        heads = ("parameter", "a", "b", "a - b", "interval")
        show.table(
            heads,
            (
                (p.name, *map(show.number, (p.a, p.b, p.difference)), show.interval(p.interval, 3))
                for p in g.params
            ),
            numbers=heads[1:],
        )
    known = {name: pair for name, pair in g.criteria.items() if pair != (None, None)}
    if known:
        show.table(
            ("criterion", "a", "b", "better"),
            (
                (_CRITERIA[x][0], *map(show.number, pair), _better(x, pair))
                for x, pair in known.items()
            ),
            numbers=("a", "b"),
        )
    show.cautions(("", c.code, c.message) for c in g.cautions)


def _models(rows: tuple[Row, ...]) -> None:
    heads = ("samples", "a", "b", "a - b", "interval", "a above b", "b needs")
    show.table(
        (*heads, "by"),
        (
            (
                show.amount(r.samples),
                *(show.number(x) for x in (r.a, r.b, r.difference)),
                show.interval(r.interval, 3),
                show.MISSING if r.probability is None else f"{r.probability:.1%}",
                _needs(r),
                r.source + ", extrapolated" * r.extrapolated,
            )
            for r in rows
        ),
        numbers=heads,
    )
    show.line("a above b", "share of the resamples in which a has the higher coverage")
    show.line("b needs", "so many times the samples of a for the coverage of a")


def _laws(rows: tuple[Row, ...]) -> None:
    heads = ("samples", "observed", "a", "b", "a - b", "interval")
    show.table(
        (*heads, "beyond the evidence"),
        (
            (
                show.amount(r.samples),
                *(show.number(x) for x in (r.observed, r.a, r.b, r.difference)),
                show.interval(r.interval, 3),
                "extrapolated" * r.extrapolated,
            )
            for r in rows
        ),
        numbers=heads,
    )


def _needs(r: Row) -> str:
    if r.ratio is None:
        return "more than there are" if r.source == "counts" else "no number suffices"
    band = f" {show.interval(r.ratio_interval, 3)}" if r.ratio_interval else ""
    return f"{show.number(r.ratio, 3)}x{band}"


def _better(name: str, pair: tuple[float | None, float | None]) -> str:
    a, b = pair
    if a is None or b is None or a == b:
        return show.MISSING
    return "a" if (a < b) == (_CRITERIA[name][1] == "lower") else "b"
