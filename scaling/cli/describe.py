"""`scaling describe`: what is in a log."""

from __future__ import annotations

import click

from scaling.cli import options, show
from scaling.cli.frame import Command


@click.command("describe", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="LOG...")
@options.as_json
@options.reading
def command(
    sources: tuple[str, ...],
    *,
    as_json: bool,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
) -> None:
    r"""Say what is in a log: kind of rows, models, problems, attempts, share solved.

    \b
    scaling describe log.csv
    scaling describe 'runs/*.jsonl.gz' --map question=problem
    zcat log.csv.gz | scaling describe - --json
    """
    sweep = options.read_sweep(
        sources, rename=rename, check_duplicates=check_duplicates, threshold=threshold
    )
    if as_json:
        click.echo(show.document(sweep.to_json()), nl=False)
        return
    from scaling.data.describe import description_rows

    found = sweep.describe()
    show.lines(row for row in description_rows(found) if row[0] != "next")
    show.following(found["next"])
