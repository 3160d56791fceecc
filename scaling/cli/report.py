"""`scaling report`: fits on one page, with the figure of all that share a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import NotUsableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@click.command("report", cls=Command)
@click.argument("paths", nargs=-1, required=True, metavar="FIT.json...")
@options.output("REPORT.html", "Write the page. Required.")
@click.option("--title", metavar="TEXT", help="The title of the page. Default: the laws.")
def command(paths: tuple[str, ...], *, output: Path | None, title: str | None) -> None:
    r"""Write fits as one HTML page that loads nothing from the network.

    \b
    scaling report fit.json -o report.html
    scaling report beta-binomial.json logit-normal.json forecast.json -o report.html

    Each FIT.json is a file that `scaling fit -o` wrote; one may be - for standard input. Fits of
    one log come in one figure and one table, which say which law to believe; a forecast among
    them (`scaling fit --law forecast`) draws its interval beyond the data.
    """
    if output is None:
        raise UsageError("a report is written to a file, and -o is missing; add -o report.html.")
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"-o {output}: a report is an HTML page; end the name in .html.")
    if paths.count("-") > 1:
        raise UsageError("standard input (-) is given twice, and holds one fit; give files.")
    options.check_output(output, paths)

    from scaling import report
    from scaling.fitting.result import FitResult

    fits = [
        FitResult.from_json(options.standard_input()) if path == "-" else FitResult.load(path)
        for path in paths
    ]
    with show.waiting("drawing the page"):
        report.write(output, fits=fits, title=title)
    for fit in fits:
        usable = sum(group.usable for group in fit.groups)
        show.line(
            "law",
            f"{fit.law} by {fit.objective}; data {fit.data['sha256'][:12]}; "
            f"{usable} of {len(fit.groups)} groups usable",
        )
    for found in report.verdicts(fits):
        show.line("believe", "\n".join([found.within, *found.groups, found.beyond]))
    show.wrote(output, as_json=False)
    if not any(fit.usable for fit in fits):
        reason = fits[0].groups[0].why_not() if fits[0].groups else "it has no groups."
        raise NotUsableError(f"{output} is written, and no group of any fit is usable. {reason}")
