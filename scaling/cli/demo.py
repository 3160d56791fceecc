"""`scaling demo`: the whole journey on a synthetic log, in one folder."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from scaling.cli import show
from scaling.cli.frame import Command
from scaling.errors import InputError

BUDGET = 4000


@click.command("demo", cls=Command)
@click.argument("folder", metavar="[DIR]", default="scaling-demo", type=click.Path(path_type=Path))
@click.pass_context
def command(ctx: click.Context, folder: Path) -> None:
    r"""Walk from a log to a served table, and leave every file in one folder.

    \b
    scaling demo
    scaling demo /tmp/demo

    The log is synthetic: three levels of difficulty, two models, drawn from published laws. Each
    command is printed before it runs, so that it can be pasted.
    """
    from scaling.data import samples

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise InputError(
            f"Cannot make the folder {folder}: {cause[:1].lower() + cause[1:]}. "
            "Give a folder that you may write to."
        ) from error
    log, fit, table = (folder / name for name in ("log.csv", "fit.json", "table.json"))
    page = folder / "report.html"

    def step(sentence: str, *args: str | Path) -> None:
        show.heading(sentence)
        words = [str(arg) for arg in args]
        click.echo("$ scaling " + " ".join(map(shlex.quote, words)) + "\n")
        root = ctx.find_root().command
        with root.make_context("scaling", words, parent=None) as inner:
            root.invoke(inner)

    samples.write(log)
    step(
        "A log to begin with: synthetic attempts of two models at three levels of difficulty.",
        "describe",
        log,
    )
    step(
        "A law for each level and model. Coverage is the share of problems that k samples solve; "
        "its interval comes from resampling problems, not points of one curve.",
        *("fit", log, "--law", "beta-binomial", "--by", "level,model", "-o", fit),
    )
    step(
        "What the fit says of other budgets. A number beyond the attempts in the log is marked as "
        "extrapolated.",
        *("predict", fit, "--at", "samples=1,8,64,256"),
    )
    step(
        f"{BUDGET:,} tokens a query, spent where they buy the most: which model and how many "
        "samples at each level, the even spend beside it, what one more thousand tokens would "
        "buy, and what is assumed.",
        *("allocate", fit, "--budget", str(BUDGET), "--unit", "tokens", "-o", table),
    )
    step(
        "Before a table is served: its schema, and everything that the schema cannot say.",
        *("table", "check", table),
    )
    step(
        "What a gateway asks for each query, in microseconds and with the standard library alone.",
        *("table", "lookup", table, "level=hard"),
    )
    _report(page, fit)
    show.heading("The same as one page, which loads nothing from the network.")
    show.wrote(page, as_json=False)


def _report(page: Path, fit: Path) -> None:
    import scaling
    from scaling import report

    result = scaling.FitResult.load(fit)
    allocation = scaling.allocate(result, BUDGET, unit="tokens")
    with show.waiting("drawing the page"):
        report.write(
            page, fits=[result], allocation=allocation, title="scaling demo (synthetic log)"
        )
