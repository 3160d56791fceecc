"""`scaling predict`: what a fit says of other budgets, or of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import NotUsableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.fitting.prediction import Prediction


@click.command("predict", cls=Command)
@click.argument("path", metavar="FIT.json")
@click.option("--at", multiple=True, metavar="INPUT=X,...", help="Predict here. Repeatable.")
@click.option("--target", type=float, metavar="V", help="Find the samples that reach this value.")
@click.option(
    "--estimand",
    type=click.Choice(["population", "benchmark"]),
    default="population",
    show_default=True,
    help="New problems like these, or these problems with new samples.",
)
@click.option(
    "--beyond",
    type=click.Choice(["forecast", "law"]),
    default="forecast",
    show_default=True,
    help="Who answers beyond the evidence: the forecaster, or the law itself.",
)
@options.output("F", "Write the prediction document.")
@options.as_json
def command(
    path: str,
    *,
    at: tuple[str, ...],
    target: float | None,
    estimand: Any,
    beyond: Any,
    output: Path | None,
    as_json: bool,
) -> None:
    r"""Predict with a fit.

    \b
    scaling predict fit.json --at samples=1,10,100
    scaling predict fit.json --at samples=64 --estimand benchmark
    scaling predict fit.json --target 0.9
    scaling predict runtimes.json --at input_tokens=512,output_tokens=1,64

    FIT.json is a file that `scaling fit -o` wrote, or - for standard input. A prediction
    beyond the evidence is marked as extrapolated. Where the log's counts are known, it is the
    forecaster that answers there, not the law: several models, weighed by how well they foretell the
    log itself, with an interval that holds where any one law may not. --beyond law asks the law.
    """
    if bool(at) == (target is not None):
        raise UsageError("give either --at samples=1,10,100 or --target 0.9.")
    if target is not None and estimand == "benchmark":
        raise UsageError("--target answers for the population only; leave out --estimand.")
    inputs = options.settings(at, "--at")
    lengths = {len(values) for values in inputs.values()}
    if len(lengths - {1}) > 1:
        raise UsageError("--at: give as many values of one input as of the other, or one.")
    options.check_output(output, [path])

    from scaling.fitting.result import FitResult

    stdin = path == "-"
    fit = FitResult.from_json(options.standard_input()) if stdin else FitResult.load(path)
    if target is not None:
        found = fit.target(options.finite(str(target), "--target"))
    else:
        found = fit.predict(estimand=estimand, beyond=beyond, **inputs)
    text = show.document(found.to_json())
    options.give(text, output, lambda: report(found), as_json=as_json)
    if not fit.usable:
        raise NotUsableError(f"{path}: no group is usable. {fit.groups[0].why_not()}")


def report(found: Prediction) -> None:
    """What a person reads of a prediction."""
    fit = found.fit
    spec = fit.interval
    show.line("law", f"{fit.law} by {fit.objective}; data {fit.data['sha256'][:12]}")
    by = list(dict.fromkeys(name for row in found.rows for name in row.by))
    at = list(dict.fromkeys(name for row in found.rows for name in row.at))
    asked = [found.quantity, *at]
    show.table(
        (*by, *at, found.quantity, f"{spec.level:.0%} interval", "beyond the evidence"),
        (
            (
                *(str(row.by.get(name, "")) for name in by),
                *(show.amount(row.at.get(name)) for name in at),
                show.number(row.estimate),
                show.interval(row.interval, 3),
                f"extrapolated by {row.method}" * row.extrapolated,
            )
            for row in found.rows[: show.MOST_ROWS]
        ),
        numbers=asked,
    )
    show.more(len(found.rows), "predictions")
    meaning = {
        "population": "new problems from the same population",
        "benchmark": "these problems, with new samples",
    }
    if fit.timed:
        show.line(
            "estimand",
            "the runtime that the law gives; intervals are of it, not of single requests",
        )
        beyond_law = "outside the sizes that were measured, intervals hold only if the law does"
        _notes(found, beyond_law)
        return
    for estimand in dict.fromkeys(row.estimand for row in found.rows):
        show.line("estimand", f"{estimand}: {meaning[estimand]}")
    _notes(
        found,
        "extrapolated predictions go beyond the attempts in the log, and their intervals hold "
        "only if the law does",
    )


def _notes(found: Prediction, beyond_law: str) -> None:
    """Why something is missing, and who answers beyond the evidence."""
    reasons: dict[str, list[str]] = {}
    for row in found.rows:
        if row.reason:
            where = reasons.setdefault(row.reason, [])
            if show.place(row.by) not in where:
                where.append(show.place(row.by))
    for reason, where in reasons.items():
        show.line("note", f"{'; '.join(where[:3])}: {reason}")
    beyond = {row.method for row in found.rows if row.extrapolated}
    if "law" in beyond:
        show.line("note", beyond_law)
    if "forecast" in beyond:
        show.line(
            "note",
            "beyond the attempts in the log the forecast answers, not the law: several models, weighed "
            "by a backtest on this log; --beyond law asks the law",
        )
