"""What people see: tables and sentences on standard output, messages on standard error."""

from __future__ import annotations

import math
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rich.console import Console

MISSING = "—"
MOST_ROWS = 40
"""Rows of a table that are printed; documents hold all."""
_PLAIN_WIDTH = 120
_WIDEST = 1000  # what a table may take where no person is watching
_LABEL = 30  # first columns up to this width are never broken


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is; plain and wide where no person is watching."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else int(os.environ.get("COLUMNS") or _PLAIN_WIDTH)
    return Console(file=stream, width=width, markup=False, highlight=False, emoji=False)


def document(content: Mapping[str, Any] | str) -> str:
    """JSON text of a document, ending in a newline."""
    import json

    if not isinstance(content, str):
        content = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    return content.rstrip("\n") + "\n"


def message(text: str) -> None:
    """One line for the person at the terminal, on standard error."""
    click.echo(text, err=True)


def wrote(path: str | Path, *, as_json: bool) -> None:
    """The path of what was written, last; on standard error where a document has standard output."""
    click.echo(f"wrote {path}", err=as_json)


def _print(renderable: Any, width: int | None = None) -> None:
    """Print without the blanks that pad lines to the width."""
    out = console()
    if width:
        out.width = width
    with out.capture() as capture:
        out.print(renderable)
    click.echo("\n".join(row.rstrip() for row in capture.get().splitlines()), color=True)


def heading(text: str) -> None:
    """A sentence before what it announces."""
    from rich.text import Text

    click.echo()
    _print(Text(text, style="bold"))


def lines(rows: Iterable[tuple[str, str]]) -> None:
    """Labelled lines of a report, each wrapped under its own text."""
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    width = max(len(label) for label, _ in rows)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=min(max(width, 10), 30), overflow="fold")
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(label, style="bold"), Text(text))
    _print(grid)


def line(label: str, text: str) -> None:
    """One labelled line of a report."""
    lines([(label, text)])


def following(command: str) -> None:
    """The command to type next, on one line, so that it can be pasted."""
    click.echo(f"{'next':<12}{command}")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Iterable[str] = (),
    bold: Collection[int] = (),
) -> None:
    """A table; the columns in `numbers` are set right, the rows in `bold` stand out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    right, rows = set(numbers), list(rows)
    out = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for index, name in enumerate(columns):
        justify: Any = "right" if name in right else "left"
        whole = name in right or (index == 0 and all(len(row[0]) <= _LABEL for row in rows))
        out.add_column(Text(name), justify=justify, overflow="fold", no_wrap=whole)
    for i, row in enumerate(rows):
        out.add_row(*(Text(cell) for cell in row), style="bold" if i in bold else None)
    there = console()
    needed = there.measure(out, options=there.options.update(max_width=_WIDEST)).maximum
    if needed > there.width and there.file.isatty():
        for column in out.columns:  # numbers are broken over lines there, never cut off
            column.no_wrap = False
    _print(out, max(needed, there.width) if not there.file.isatty() else None)


def more(rows: int, what: str, where: str = "--json") -> None:
    """Say how many rows a table left out, and where all are."""
    if rows > MOST_ROWS:
        line("", f"and {rows - MOST_ROWS:,} more {what}; {where} has all")


def cautions(found: Iterable[tuple[str, str, str]]) -> None:
    """Cautions as (where, code, message); one said of several places is printed once."""
    places: dict[tuple[str, str], list[str]] = {}
    for where, code, text in found:
        places.setdefault((code, text), []).append(where)
    for (code, text), said_of in places.items():
        named = [where for where in said_of if where]
        shown = "; ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")
        line("caution", f"{code}{f' ({shown})' if shown else ''}: {text}")


def number(x: float | None, digits: int = 4) -> str:
    """An estimate for people: `digits` significant ones, a dash where there is none."""
    if x is None or not math.isfinite(x):
        return MISSING
    if x == int(x) or abs(x) >= 10 ** (digits - 1):
        return f"{x:,.0f}" if abs(x) < 1e12 else f"{x:.{digits - 1}e}"
    return f"{x:#.{digits}g}"


def amount(x: float | None, digits: int = 6) -> str:
    """A number as somebody would type it, with `digits` significant ones at most."""
    if x is None or not math.isfinite(x):
        return MISSING
    if x == int(x) or abs(x) >= 10 ** (digits - 1):
        return f"{x:,.0f}" if abs(x) < 1e12 else f"{x:.{digits - 1}g}"
    return f"{x:,.{digits}g}"


def interval(pair: Sequence[float] | None, digits: int = 4) -> str:
    """`[lo, hi]`, or a dash where there is none."""
    if pair is None:
        return MISSING
    return f"[{number(pair[0], digits)}, {number(pair[1], digits)}]"


def place(by: Mapping[str, Any]) -> str:
    """A group or class, for people."""
    return ", ".join(f"{name}={value}" for name, value in by.items()) or "all"


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A spinner on standard error while something without a measure runs; silent off a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    with console(stderr=True).status(text):
        yield


@contextmanager
def progress(text: str) -> Iterator[Callable[[float], None] | None]:
    """A bar on standard error, fed with the share done; None off a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=1.0)
        yield lambda share: bar.update(task, completed=share)
