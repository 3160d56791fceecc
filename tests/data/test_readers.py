"""The registry of log formats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaling.data.readers import reader, reader_names


def test_every_file_of_the_folder_is_a_reader() -> None:
    assert {"csv", "frame", "jsonl", "parquet"} <= set(reader_names())
    for name in reader_names():
        assert reader(name).name == name
        assert reader(name).meaning


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"problem,n,c\n", "csv"),
        (b'{"problem": 1}\n', "jsonl"),
        (b"\xef\xbb\xbf {}", "jsonl"),
        (b"PAR1\x15\x04", "parquet"),
        (b"PK\x03\x04\x00", None),
    ],
)
def test_formats_are_told_apart_by_content(head: bytes, name: str | None) -> None:
    found = [n for n in reader_names() if reader(n).recognises(Path("log"), head)]
    assert found == ([] if name is None else [name])


def test_the_room_imports_nothing_heavy() -> None:
    code = (
        "import sys, scaling.data; "
        "print([m for m in ('duckdb', 'pandas', 'jax', 'scipy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
