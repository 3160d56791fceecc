"""Comma- or tab-separated text, plain or gzipped; the first line names the columns.

Every field is read as text and cast later, so that a bad one can be named, and a model called
"007" keeps its name. Nothing is sniffed but the separator, from the header alone.
"""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, BinaryIO

from scaling.data.duck import name as quoted
from scaling.data.duck import text
from scaling.data.readers import Part, Reader, Scan, join
from scaling.data.schema import refuse_alike
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

_SEPARATORS = (",", "\t", ";", "|")


def _recognises(path: Path, head: bytes) -> bool:
    del path
    return (
        b"\0" not in head
        and not head.startswith(b"PAR1")
        and head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in {b"{", b"["}
    )


def _open(path: Path) -> io.TextIOWrapper:
    raw: BinaryIO = path.open("rb")
    if raw.read(2) == b"\x1f\x8b":
        raw.close()
        return io.TextIOWrapper(gzip.open(path, "rb"), "utf-8-sig", newline="")
    raw.seek(0)
    return io.TextIOWrapper(raw, "utf-8-sig", newline="")


def _header(path: Path) -> tuple[tuple[str, ...], str]:
    """Column names and the separator: the one that splits the first line most."""
    with _open(path) as file:
        line = ""
        while line.count('"') % 2 or not line.strip():
            more = file.readline()
            if not more:
                break
            line = line + more if line.strip() else more
    if not line.strip():
        raise InputError(
            f"{path}: the file is empty; a sweep has a header line and one row per attempt, "
            "problem or point."
        )
    split = {sep: next(csv.reader([line], delimiter=sep, strict=False)) for sep in _SEPARATORS}
    separator = max(_SEPARATORS, key=lambda sep: len(split[sep]))
    names = tuple(name.strip() for name in split[separator])
    for index, name in enumerate(names):
        if not name:
            raise InputError(
                f"{path}: column {index + 1} of the header has no name; columns seen: "
                f"{', '.join(n or '(none)' for n in names)}. Name every column in the first line."
            )
    return names, separator


def _line(path: Path, separator: str, row: int) -> int | None:
    with _open(path) as file:
        rows = csv.reader(file, delimiter=separator)
        seen = -1  # the header
        try:
            for fields in rows:
                seen += bool(fields)
                if seen == row:
                    return rows.line_num
        except csv.Error:
            pass
    return None


def _query(paths: tuple[Path, ...], names: tuple[str, ...], separator: str) -> str:
    files = ", ".join(text(str(path)) for path in paths)
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(names)))
    chosen = ", ".join(f"c{index} AS {quoted(name)}" for index, name in enumerate(names))
    options = "auto_detect=false, header=true, strict_mode=true, quote='\"', escape='\"'"
    return (
        f"SELECT {chosen} FROM read_csv([{files}], delim={text(separator)}, {options}, "
        f"columns={{{columns}}})"
    )


def _scan(con: duckdb.DuckDBPyConnection, paths: tuple[Path, ...]) -> Scan:
    del con
    parts = []
    heads = []
    for path in paths:
        names, separator = _header(path)
        heads.append((names, separator))
        refuse_alike(names, str(path))
        parts.append(
            Part(
                str(path),
                _query((path,), names, separator),
                dict.fromkeys(names, "VARCHAR"),
                lambda row, path=path, separator=separator: _line(path, separator, row),  # type: ignore[misc]
            )
        )
    alike = len(set(heads)) == 1
    return join("csv", tuple(parts), _query(paths, *heads[0]) if alike else None)


READER = Reader(
    "csv", "comma- or tab-separated text, plain or gzipped", _recognises, _scan, general=True
)
