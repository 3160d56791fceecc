"""Parquet files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling.data.duck import text
from scaling.data.readers import Part, Reader, Scan, join
from scaling.data.schema import refuse_alike

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb


def _recognises(path: Path, head: bytes) -> bool:
    del path
    return head.startswith(b"PAR1")


def _scan(con: duckdb.DuckDBPyConnection, paths: tuple[Path, ...]) -> Scan:
    parts = []
    for path in paths:
        refuse_alike(_names(con, path), str(path))  # DuckDB would rename the second of them
        sql = f"SELECT * FROM read_parquet({text(str(path))})"
        described = con.execute(f"DESCRIBE {sql}").fetchall()
        parts.append(Part(str(path), sql, {row[0]: row[1] for row in described}))
    alike = all(list(part.columns.items()) == list(parts[0].columns.items()) for part in parts)
    files = ", ".join(text(str(path)) for path in paths)
    whole = f"SELECT * FROM read_parquet([{files}])"
    return join("parquet", tuple(parts), whole if alike else None, columnar=True)


def _names(con: duckdb.DuckDBPyConnection, path: Path) -> list[str]:
    """Names of the columns as the file has them, without the fields inside of them."""
    query = f"SELECT name, coalesce(num_children, 0) FROM parquet_schema({text(str(path))})"
    (_, columns), *rest = con.execute(query).fetchall()
    found = []
    fields = iter(rest)  # every field stands before its own
    for _ in range(columns):
        name, inside = next(fields)
        found.append(name)
        while inside:
            inside += next(fields)[1] - 1
    return found


READER = Reader("parquet", "Parquet tables", _recognises, _scan)
