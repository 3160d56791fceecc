"""Log formats, one file each.

A reader is a module of this folder with a constant `READER`. It says which files are its own and
turns them into a `Scan`: relations in DuckDB whose rows are read when they are needed, not before.
Putting a file here is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.data.duck import is_number, name

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Part:
    """The rows of one file, in their order.

    Attributes:
        name: how messages call it.
        sql: a query for its rows.
        columns: column name to DuckDB type.
        line: line of the file on which a data row (from 1) stands, where that can be known.
    """

    name: str
    sql: str
    columns: Mapping[str, str]
    line: Callable[[int], int | None] = lambda _: None

    def place(self, row: int) -> str:
        """Where a data row stands, in words."""
        line = self.line(row)
        return f"{self.name}: row {row}" + (f" (line {line})" if line is not None else "")


@dataclass(frozen=True)
class Scan:
    """Rows of one or more files of one format.

    Attributes:
        format: name of the format.
        parts: one a file.
        sql: a query for all rows, in no particular order.
        columns: column name to DuckDB type, over all parts.
        notes: what the reader dropped or assumed, for the report.
        columnar: whether one column can be read without the others.
    """

    format: str
    parts: tuple[Part, ...]
    sql: str
    columns: Mapping[str, str]
    notes: tuple[str, ...] = ()
    columnar: bool = False

    @property
    def where(self) -> str:
        """How messages call the whole."""
        first = self.parts[0].name
        return first if len(self.parts) == 1 else f"{first} and {len(self.parts) - 1} more"


@dataclass(frozen=True)
class Reader:
    """One format.

    Attributes:
        name: its name, stored in reports.
        meaning: one line.
        recognises: whether a file of this path and first bytes (decompressed) is of this format.
        scan: relations over files of this format.
        general: whether it takes any table in its encoding; asked after those that know their own.
    """

    name: str
    meaning: str
    recognises: Callable[[Path, bytes], bool]
    scan: Callable[[duckdb.DuckDBPyConnection, tuple[Path, ...]], Scan]
    general: bool = False


def reader_names() -> tuple[str, ...]:
    """Names of all formats; imports none of them."""
    return tuple(sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py")))


def reader(name: str) -> Reader:
    """The reader of one format."""
    from importlib import import_module

    found: Reader = import_module(f"scaling.data.readers.{name}").READER
    return found


def join(
    form: str, parts: tuple[Part, ...], sql: str | None = None, *, columnar: bool = False
) -> Scan:
    """One scan over `parts`; a column that a part lacks is empty there, and the report says so.

    Args:
        form: name of the format.
        parts: one a file.
        sql: a query for all rows, where the format has a better one than the union.
        columnar: whether one column can be read without the others.
    """
    columns: dict[str, str] = {}
    for part in parts:
        for column, kind in part.columns.items():
            had = columns.setdefault(column, kind)
            if had != kind:  # numbers of different width meet as DOUBLE, all else as text
                columns[column] = "DOUBLE" if is_number(had) and is_number(kind) else "VARCHAR"
    notes = []
    for column in columns:
        lacking = [part.name for part in parts if column not in part.columns]
        if lacking:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            notes.append(f"column '{column}' is not in {lacking[0]}{more}; taken as empty there")
    if sql is None and len(parts) == 1:
        sql = parts[0].sql
    elif sql is None:
        sql = " UNION ALL ".join(f"({_cast(part, columns)})" for part in parts)
    return Scan(form, parts, sql, columns, tuple(notes), columnar)


def _cast(part: Part, columns: Mapping[str, str]) -> str:
    items = []
    for column, kind in columns.items():
        quoted = name(column)
        if part.columns.get(column) == kind:
            items.append(quoted)
        else:
            value = quoted if column in part.columns else "NULL"
            items.append(f"CAST({value} AS {kind}) AS {quoted}")
    return f"SELECT {', '.join(items)} FROM ({part.sql})"
