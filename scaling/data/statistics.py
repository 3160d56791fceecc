"""Per-problem sufficient statistics as columns: what every kind of log is reduced to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.data.duck import is_number, name
from scaling.data.evidence import Scalar
from scaling.data.schema import IDENTITY, TEXT, USE

if TYPE_CHECKING:
    import duckdb

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

TRUTHS = ("false", "true")
"""How a label that is true or false is written, whatever case the log has."""

RANGE = ("attempt_first", "attempt_last")
"""Smallest and largest attempt number of a row; they do not add."""


@dataclass(frozen=True)
class Key:
    """A column of labels: row `i` is `levels[codes[i]]`.

    Attributes:
        levels: sorted distinct values, text or numbers; a missing number is NaN and comes last.
        codes: index into `levels`, one a row.
    """

    levels: NDArray[Any]
    codes: IntArray

    @property
    def values(self) -> NDArray[Any]:
        """One value a row."""
        taken: NDArray[Any] = self.levels[self.codes]
        return taken

    @property
    def is_number(self) -> bool:
        """Whether the labels are numbers."""
        return self.levels.dtype.kind in "iuf"

    def take(self, rows: NDArray[Any]) -> Key:
        """The same column at other rows."""
        return Key(self.levels, self.codes[rows])

    def item(self, code: int) -> Scalar | None:
        """A level as a plain Python value; None where missing."""
        value = self.levels[code].item()
        return None if isinstance(value, float) and np.isnan(value) else value

    def items(self, codes: NDArray[Any]) -> list[Scalar | None]:
        """Levels as plain Python values."""
        values = self.levels[codes].tolist()
        return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN


def key(values: NDArray[Any]) -> Key:
    """Labels of an array."""
    levels, codes = np.unique(values, return_inverse=True)
    return Key(levels, codes.astype(np.int64))


@dataclass(frozen=True)
class Statistics:
    """Rows sorted by their keys, one for each problem under each setting.

    Attributes:
        keys: task, model, problem first, then the other columns that tell rows apart.
        numbers: column name to numbers, one a row.
    """

    keys: Mapping[str, Key]
    numbers: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.numbers.values())))

    def take(self, rows: NDArray[Any]) -> Statistics:
        """Some rows, by mask or index."""
        return Statistics(
            {label: column.take(rows) for label, column in self.keys.items()},
            {label: column[rows] for label, column in self.numbers.items()},
        )

    def label(self, row: int, columns: tuple[str, ...] | None = None) -> str:
        """What a row is about, for messages."""
        shown = []
        for column in columns or tuple(self.keys):
            value = self.keys[column].item(int(self.keys[column].codes[row]))
            if value not in {"", None}:
                shown.append(f"{column}={value}")
        return ", ".join(shown)


def codes_of(keys: Mapping[str, Key], rows: int) -> tuple[IntArray, int]:
    """One code per distinct combination of `keys`, in sorted order, and how many there are."""
    codes = np.zeros(rows, np.int64)
    count = min(rows, 1)
    for column in keys.values():
        width = max(len(column.levels), 1)
        if count * width > np.iinfo(np.int64).max // 2:
            codes, count = _dense(codes, count)
        codes, count = codes * width + column.codes, count * width
    return _dense(codes, count)


def _dense(codes: IntArray, count: int) -> tuple[IntArray, int]:
    if count <= 4 * len(codes) + 1024:  # a table of all combinations is small: no sort
        seen = np.zeros(count, np.bool_)
        seen[codes] = True
        place = np.cumsum(seen) - 1
        return place[codes], int(seen.sum())
    levels, dense = np.unique(codes, return_inverse=True)
    return dense.astype(np.int64), len(levels)


def fetch_keys(
    con: duckdb.DuckDBPyConnection, table: str, columns: Mapping[str, str], numeric: set[str]
) -> dict[str, Key]:
    """Columns of a DuckDB table as labels; what is true or false is text in lower case.

    Args:
        con: the database.
        table: its name.
        columns: column name to DuckDB type.
        numeric: text columns to be read as numbers.
    """
    keys: dict[str, Key] = {}
    for column, kind in columns.items():
        number = is_number(kind) or column in numeric
        wanted = f"CAST({name(column)} AS {'DOUBLE' if number else 'VARCHAR'})"
        wanted = wanted if number else f"coalesce({wanted}, '')"
        fetched = con.execute(f"SELECT {wanted} AS v FROM {table}").fetchnumpy()["v"]
        if number:
            values = np.asarray(np.ma.filled(fetched, np.nan), np.float64)
            if np.all(np.isfinite(values) & (values == np.floor(values)) & (abs(values) < 2**53)):
                values = values.astype(np.int64)
            keys[column] = key(values)
        else:
            words = _words(fetched)
            keys[column] = words if column in TEXT else _truths(words)
    return keys


def _words(values: NDArray[np.object_]) -> Key:
    """Labels of texts: by hashing where they repeat, by sorting where they do not."""
    listed = values.tolist()
    distinct = set(listed)
    if len(distinct) > len(listed) // 4:
        return key(np.asarray(values, np.str_))
    levels = sorted(distinct)
    place = {level: index for index, level in enumerate(levels)}
    codes = np.fromiter(map(place.__getitem__, listed), np.int64, len(listed))
    return Key(np.asarray(levels, np.str_), codes)


def _truths(words: Key) -> Key:
    """Labels that are all true or false, in any case, as "true" and "false": every source agrees."""
    lower = [level.lower() for level in words.levels.tolist()]
    if not set(lower) <= {"", *TRUTHS}:
        return words
    levels, place = np.unique(np.asarray(lower, np.str_), return_inverse=True)
    return Key(levels, place.astype(np.int64)[words.codes])


_NUMERIC = (
    "{0} IS NULL OR coalesce(isfinite(TRY_CAST({0} AS DOUBLE)), false) "
    r"AND NOT regexp_matches({0}, '^\s*[+-]?0[0-9]')"
)


def numeric_text(con: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...]) -> set[str]:
    """Text columns that hold numbers only: "0.3" and "12", not "007" and not nothing at all."""
    if not columns:
        return set()
    tests = ", ".join(f"bool_and({_NUMERIC.format(name(column))})" for column in columns)
    row = con.execute(f"SELECT {tests} FROM {table}").fetchone()
    return {column for column, yes in zip(columns, row or (), strict=True) if yes}


def joined(parts: tuple[Statistics, ...]) -> Statistics:
    """Rows of several statistics below each other, labels made common.

    Columns of labels that a part lacks are empty there. Columns of numbers that say nothing unless
    every row has them are kept only where every part has them.
    """
    columns = list(dict.fromkeys(label for part in parts for label in part.keys))
    keys: dict[str, Key] = {}
    for column in columns:
        number = all(part.keys[column].is_number for part in parts if column in part.keys)
        pieces = []
        for part in parts:
            if column not in part.keys:
                pieces.append(np.full(len(part), np.nan if number else ""))
            elif number:
                pieces.append(part.keys[column].values)
            else:
                pieces.append(part.keys[column].values.astype(np.str_))
        keys[column] = key(np.concatenate(pieces))
    numbers: dict[str, NDArray[Any]] = {}
    for column in dict.fromkeys(label for part in parts for label in part.numbers):
        if all(column in part.numbers for part in parts):
            numbers[column] = np.concatenate([part.numbers[column] for part in parts])
        elif column in {"missing", "truncated"} or column.split("_")[0] in USE:
            some = next(part.numbers[column] for part in parts if column in part.numbers)
            numbers[column] = np.concatenate(
                [part.numbers.get(column, np.zeros(len(part), some.dtype)) for part in parts]
            )
    return Statistics(keys, numbers)


def ordered(keys: Mapping[str, Key]) -> dict[str, Key]:
    """Task, model, problem, then the others by name, so that the order of rows is one."""
    names = [c for c in IDENTITY if c in keys] + sorted(c for c in keys if c not in IDENTITY)
    return {column: keys[column] for column in names}


def added(rows: Statistics) -> Statistics:
    """Sorted by keys, with the numbers of equal keys added up."""
    rows = Statistics(ordered(rows.keys), rows.numbers)
    codes, count = codes_of(rows.keys, len(rows))
    order = np.argsort(codes, kind="stable")
    if count == len(rows):
        return rows.take(order)
    first = np.searchsorted(codes[order], np.arange(count))
    out = {}
    for label, column in rows.numbers.items():
        if label == RANGE[0]:
            out[label] = np.minimum.reduceat(column[order], first)
        elif label == RANGE[1]:
            out[label] = np.maximum.reduceat(column[order], first)
        else:
            out[label] = np.add.reduceat(column[order], first)
    return Statistics(
        {label: column.take(order[first]) for label, column in rows.keys.items()}, out
    )
