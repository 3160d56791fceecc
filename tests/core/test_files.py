from __future__ import annotations

from pathlib import Path

import pytest

from scaling.core.files import ensure_writable, write_bytes, write_text
from scaling.errors import InputError


def test_writes_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    assert write_text(target, "α\n") == target
    assert target.read_bytes() == "α\n".encode()
    write_bytes(target, b"second")
    assert target.read_bytes() == b"second"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_keeps_the_mode_of_the_file_it_replaces(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")
    target.chmod(0o640)
    write_text(target, "new")
    assert target.stat().st_mode & 0o777 == 0o640


def test_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    target.write_text("old")

    def full(_path: Path, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(InputError, match="no space left on device"):
        write_text(target, "new")
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_ensure_writable_leaves_no_trace(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["", "absent/a.json", "file/a.json", "a\0b"])
def test_refuses_what_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file")
    for write in (ensure_writable, lambda path: write_text(path, "x")):
        with pytest.raises(InputError, match="Cannot write"):
            write(tmp_path / place)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
