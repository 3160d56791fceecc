"""The command line: one file a command, imported when it is called for."""

from __future__ import annotations

import click

from scaling._version import __version__
from scaling.cli.frame import Group


@click.command(
    "scaling",
    cls=Group,
    package="scaling.cli",
    members=(
        "describe",
        "passk",
        "drift",
        "overlay",
        "fit",
        "predict",
        "compare",
        "backtest",
        "plan",
        "ask",
        "cost",
        "allocate",
        "table",
        "report",
        "laws",
        "schema",
        "demo",
    ),
)
@click.version_option(__version__, prog_name="scaling")
def main() -> None:
    r"""From logged inference-time sweeps to scaling laws and compute budgets.

    \b
    scaling demo                                             the whole journey, in one folder
    scaling describe log.csv                                 what is in a log
    scaling fit log.csv --law beta-binomial -o fit.json      a law with its uncertainty
    scaling allocate fit.json --budget 4000 --unit tokens -o table.json
    scaling table lookup table.json level=hard               what a server does with it

    Results go to standard output, messages to standard error. Exit codes: 0 done, 2 bad usage or
    input, 3 no group of the fit is usable, 4 no allocation meets the limits, 5 a check failed.
    """
