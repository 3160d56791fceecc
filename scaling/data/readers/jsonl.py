"""One JSON object a line, plain or gzipped.

Values are read as text and cast later, as in a CSV file; a key that a line lacks is empty there.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from scaling.data.duck import text
from scaling.data.readers import Part, Reader, Scan, join
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    import duckdb

_LARGEST_LINE = 8 * 1024 * 1024


def _recognises(path: Path, head: bytes) -> bool:
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} or ".jsonl" in path.suffixes


def _refuse_line(path: Path) -> None:
    """Names the first line that is no JSON object."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                if not line.strip() or isinstance(json.loads(line), dict):
                    continue
                said = "no JSON object"
            except ValueError as error:
                said = f"no JSON ({error})"
            raise InputError(
                f"{path}: line {number} is {said}; a sweep in JSON lines has one object a line, "
                'such as {"problem": "p1", "n": 100, "c": 7}. An array of objects becomes lines '
                "with: jq -c '.[]'."
            ) from None


def _scan(con: duckdb.DuckDBPyConnection, paths: tuple[Path, ...]) -> Scan:
    import duckdb

    parts = []
    for path in paths:
        file = f"{text(str(path))}, maximum_object_size={_LARGEST_LINE}"
        try:
            found = con.execute(
                f"SELECT DISTINCT json_keys(json) FROM read_ndjson_objects({file})"
            ).fetchall()
        except duckdb.Error:
            _refuse_line(path)
            raise
        if not all(keys for (keys,) in found):
            _refuse_line(path)
        names = sorted({key for (keys,) in found for key in keys})
        columns = ", ".join(f"{text(name)}: 'VARCHAR'" for name in names)
        sql = f"SELECT * FROM read_json({file}, format='newline_delimited', columns={{{columns}}})"
        parts.append(Part(str(path), sql, dict.fromkeys(names, "VARCHAR")))
    return join("jsonl", tuple(parts))


READER = Reader("jsonl", "JSON lines, plain or gzipped", _recognises, _scan, general=True)
