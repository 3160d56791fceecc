"""DuckDB, bounded: the one engine that touches logged rows."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

MEMORY = "256MiB"
"""What DuckDB may hold before it spills to disk."""

THREADS = 4
"""At most; every thread holds its own hash tables and read buffers."""


@contextmanager
def connect() -> Iterator[duckdb.DuckDBPyConnection]:
    """A private in-memory database that spills to a folder of its own and fetches nothing."""
    import duckdb

    with TemporaryDirectory(prefix="scaling-") as spill:
        con = duckdb.connect(
            config={
                "memory_limit": MEMORY,
                "threads": min(THREADS, os.cpu_count() or 1),
                "temp_directory": spill,
                "autoinstall_known_extensions": False,
            }
        )
        try:
            with suppress(duckdb.InvalidInputException):  # a notebook without widgets has no bar
                con.execute("SET enable_progress_bar = false")  # it would mix with the output
            yield con
        finally:
            con.close()


def name(column: str) -> str:
    """`column` as an SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def text(value: str) -> str:
    """`value` as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def is_text(kind: str) -> bool:
    """Whether a DuckDB type holds words: their numbers are cast, and named where they fail."""
    return kind == "VARCHAR" or kind.startswith(("ENUM", "UUID"))


def is_number(kind: str) -> bool:
    """Whether a DuckDB type is a number."""
    numbers = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT")
    more = ("UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE")
    return kind in numbers or kind in more or kind.startswith("DECIMAL")


def is_plain(kind: str) -> bool:
    """Whether a DuckDB type is one value, no list or record."""
    return (
        is_text(kind) or is_number(kind) or kind == "BOOLEAN" or kind.startswith(("DATE", "TIME"))
    )
