"""Tables in memory: pandas, or anything that speaks the Arrow stream interface (polars, pyarrow)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling.data.duck import name
from scaling.data.readers import Part, Reader, Scan, join
from scaling.data.schema import refuse_alike
from scaling.errors import InputError

if TYPE_CHECKING:
    import duckdb

_TABLE = "frame"
_WHERE = "the frame"
_NO_TYPE = '"NULL"'


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
                f"{_WHERE}: column {odd[0]!r} has no text name; name the columns, for example "
                "with frame.reset_index() or frame.set_axis([...], axis=1)."
            )
    if _is_pandas(table) and not len(table.columns):
        raise InputError(
            f"{_WHERE}: it has no column; a sweep has one row per attempt, problem or point."
        )
    refuse_alike(_names(table), _WHERE)  # DuckDB would rename the second of them
    if _is_pandas(table):
        con.register(_TABLE, table.copy() if _runs_backwards(table) else table)
    elif hasattr(table, "__len__") or hasattr(table, "num_rows"):
        con.register(_TABLE, _Stream(table))
    else:  # a stream that can be read once
        con.register("stream", _Stream(table))
        con.execute(f"CREATE TEMP TABLE {_TABLE} AS SELECT * FROM stream")
    columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE {_TABLE}").fetchall()}
    items = []
    for column, kind in columns.items():  # a column without any value may have no type
        untyped = kind == _NO_TYPE
        items.append(f"CAST(NULL AS VARCHAR) AS {name(column)}" if untyped else name(column))
        columns[column] = "VARCHAR" if untyped else kind
    sql = f"SELECT {', '.join(items)} FROM {_TABLE}"
    return join("frame", (Part(_WHERE, sql, columns),), columnar=True)


def _is_pandas(source: object) -> bool:
    kind = type(source)
    return kind.__name__ == "DataFrame" and kind.__module__.split(".")[0] == "pandas"


def _runs_backwards(table: Any) -> bool:
    """Whether a column is a reversed view, which DuckDB cannot read."""
    import numpy as np

    return any(
        isinstance(kind, np.dtype) and table[column].to_numpy().strides[0] < 0
        for column, kind in table.dtypes.items()
    )


def _names(table: Any) -> tuple[str, ...]:
    """Column names as the table has them."""
    names: Any = getattr(getattr(table, "schema", None), "names", None)
    if names is None:
        names = getattr(table, "columns", ())
    listed = names() if callable(names) else names
    return tuple(each for each in listed if isinstance(each, str))


def _no_files(con: duckdb.DuckDBPyConnection, paths: object) -> Scan:
    del con
    raise InputError(f"a table in memory is given as it is, not as the path {paths}")


READER = Reader("frame", "a pandas, polars or Arrow table in memory", lambda *_: False, _no_files)
