"""Tables in memory: pandas, or anything that speaks the Arrow stream interface (polars, pyarrow)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling.data.readers import Part, Reader, Scan, join
from scaling.errors import InputError

if TYPE_CHECKING:
    import duckdb

_TABLE = "frame"


class _Stream:
    """Hands out Arrow streams of a table, and nothing else that DuckDB would rather use."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def is_frame(source: object) -> bool:
    """Whether `source` is a table in memory."""
    return hasattr(source, "__arrow_c_stream__") or _is_pandas(source)


def scan_frame(con: duckdb.DuckDBPyConnection, table: Any) -> Scan:
    """A scan over a table in memory, without a copy where it can be read more than once."""
    if _is_pandas(table):
        odd = [column for column in table.columns if not isinstance(column, str)]
        if odd:
            raise InputError(
                f"the frame: column {odd[0]!r} has no text name; name the columns, for example "
                "with frame.reset_index() or frame.set_axis([...], axis=1)."
            )
        con.register(_TABLE, table)
    elif hasattr(table, "__len__") or hasattr(table, "num_rows"):
        con.register(_TABLE, _Stream(table))
    else:  # a stream that can be read once
        con.register("stream", _Stream(table))
        con.execute(f"CREATE TEMP TABLE {_TABLE} AS SELECT * FROM stream")
    sql = f"SELECT * FROM {_TABLE}"
    columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE {sql}").fetchall()}
    return join("frame", (Part("the frame", sql, columns),), columnar=True)


def _is_pandas(source: object) -> bool:
    kind = type(source)
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] == "pandas"


def _no_files(con: duckdb.DuckDBPyConnection, paths: object) -> Scan:
    del con
    raise InputError(f"a table in memory is given as it is, not as the path {paths}")


READER = Reader("frame", "a pandas, polars or Arrow table in memory", lambda *_: False, _no_files)
