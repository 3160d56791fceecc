"""`scaling schema`: the JSON Schemas of the files that go in and out."""

from __future__ import annotations

import click

from scaling.cli.frame import Command

SCHEMAS = {
    "fit": ("fitting", "fit.schema.json"),
    "menu": ("data", "menu.schema.json"),
    "table": ("tables", "budget_table.schema.json"),
    "prediction": ("fitting", "prediction.schema.json"),
    "passk": ("fitting", "passk.schema.json"),
    "comparison": ("fitting", "comparison.schema.json"),
    "backtest": ("fitting", "backtest.schema.json"),
    "plan": ("fitting", "plan.schema.json"),
    "ask": ("fitting", "ask.schema.json"),
    "overlay": ("fitting", "overlay.schema.json"),
    "drift": ("fitting", "drift.schema.json"),
    "cost": ("costs", "cost.schema.json"),
    "allocation": ("allocators", "allocation.schema.json"),
    "frontier": ("allocators", "frontier.schema.json"),
    "explanation": ("allocators", "explanation.schema.json"),
    "stream": ("allocators", "stream.schema.json"),
    "controller": ("allocators", "controller.schema.json"),
    "diff": ("tables", "diff.schema.json"),
}
"""Room and file of the schema of each document, by name."""


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
    passk, backtest, plan, ask, overlay, drift, cost
                     what the commands of these names write, or print with --json
    prediction       what `predict` writes
    frontier         what `allocate --frontier` writes
    explanation      what `allocate --explain CLASS --json` prints
    diff             what `table diff --json` prints
    allocation, stream, controller
                     what to_json gives in Python of an Allocation, of what
                     allocate_stream returns, and of a PriceController
    """
    from importlib.resources import files

    # Through the top package, so that the room that owns the schema is not imported.
    text = files("scaling").joinpath(*SCHEMAS[kind]).read_text(encoding="utf-8")
    click.echo(text.rstrip("\n"))
