"""`scaling schema`: the JSON Schemas of the files that go in and out."""

from __future__ import annotations

import click

from scaling.cli.frame import Command

SCHEMAS = {
    "fit": ("fitting", "fit.schema.json"),
    "menu": ("data", "menu.schema.json"),
    "table": ("tables", "budget_table.schema.json"),
}


@click.command("schema", cls=Command)
@click.argument("kind", type=click.Choice(list(SCHEMAS)))
def command(kind: str) -> None:
    r"""Print the JSON Schema (2020-12) of a fit document, menu rows or a budget table.

    \b
    scaling schema table > budget_table.schema.json
    """
    from importlib.resources import files

    # Through the top package, so that the room that owns the schema is not imported.
    text = files("scaling").joinpath(*SCHEMAS[kind]).read_text(encoding="utf-8")
    click.echo(text.rstrip("\n"))
