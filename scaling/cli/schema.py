"""`scaling schema`: the JSON Schemas of the files that go in and out."""

from __future__ import annotations

import click

from scaling.cli.frame import Command

SCHEMAS = {
    "fit": ("fitting", "fit.schema.json"),
    "menu": ("data", "menu.schema.json"),
    "table": ("tables", "budget_table.schema.json"),
    "passk": ("fitting", "passk.schema.json"),
    "comparison": ("fitting", "comparison.schema.json"),
    "backtest": ("fitting", "backtest.schema.json"),
    "plan": ("fitting", "plan.schema.json"),
    "ask": ("fitting", "ask.schema.json"),
    "overlay": ("fitting", "overlay.schema.json"),
    "drift": ("fitting", "drift.schema.json"),
}
"""Documents and files by name; `compare` writes a comparison."""


@click.command("schema", cls=Command)
@click.argument("kind", type=click.Choice(list(SCHEMAS)))
def command(kind: str) -> None:
    r"""Print the JSON Schema (2020-12) of a document that a command writes, or of menu rows.

    \b
    scaling schema table > budget_table.schema.json

    \b
    fit, table       what `fit` and `allocate` write
    menu             one row of a menu of one's own, an input of `allocate`
    comparison       what `compare` writes
    passk, backtest, plan, ask, overlay, drift
                     what the commands of these names write, or print with --json
    """
    from importlib.resources import files

    # Through the top package, so that the room that owns the schema is not imported.
    text = files("scaling").joinpath(*SCHEMAS[kind]).read_text(encoding="utf-8")
    click.echo(text.rstrip("\n"))
