"""The files of charts load nothing from the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from scaling import plots
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("ending", ["png", "svg", "html", "json"])
def test_save(fit: Any, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"chart.{ending}"
    chart = plots.coverage(fit)
    plots.save(chart, path)
    content = path.read_bytes()
    start = {"png": b"\x89PNG", "svg": b"<svg", "html": b"<!DOCTYPE html>", "json": b"{"}[ending]
    assert content.lstrip().startswith(start)
    assert b"NaN" not in content or ending in {"png", "html"}
    if ending == "html":
        assert b'src="http' not in content
        assert b'href="http' not in content
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_save_refuses(fit: Any, tmp_path: Path) -> None:
    chart = plots.coverage(fit)
    with pytest.raises(UsageError, match=r"chart\.gif"):
        plots.save(chart, tmp_path / "chart.gif")
    with pytest.raises(InputError, match="absent"):
        plots.save(chart, tmp_path / "absent" / "chart.svg")
    assert list(tmp_path.iterdir()) == []
