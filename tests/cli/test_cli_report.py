"""report by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def epl(run: Any, levels: Path, tmp_path: Path) -> Path:
    """A second law of the log of `fit`."""
    path = tmp_path / "epl.json"
    args = ("--law", "exponentiated-power", "--by", "level", "--replicates", 40)
    done = run("fit", levels, *args, "-o", path)
    assert done.exit_code == 0, done.output
    return path


def test_one_page_of_several_fits(run: Any, fit: Path, epl: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("report", fit, epl, "-o", page, "--title", "Two <laws>")
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(f"wrote {page}\n")
    said = " ".join(done.stdout.split())
    assert "beta-binomial by likelihood" in said
    assert "exponentiated-power by logcov" in said
    assert "2 of 2 groups usable" in said
    assert "level easy:" in said
    assert "Beyond the data, none of these" in said
    text = page.read_text("utf-8")
    assert "<title>Two &lt;laws&gt;</title>" in text
    assert "2 laws of the same log" in text
    assert 'src="http' not in text


def test_one_fit_from_standard_input(run: Any, fit: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = run("report", "-", "-o", page, stdin=fit.read_bytes())
    assert done.exit_code == 0, done.output
    assert "believe" not in done.stdout
    assert "beta-binomial" in page.read_text("utf-8")


def test_nothing_usable_is_written_and_exits_3(run: Any, tmp_path: Path) -> None:
    log, fit, page = (tmp_path / name for name in ("log.csv", "fit.json", "report.html"))
    log.write_text("problem,n,c\n" + "".join(f"p{i},8,0\n" for i in range(9)))
    assert run("fit", log, "--law", "beta-binomial", "-o", fit).exit_code == 3
    done = run("report", fit, "-o", page)
    assert done.exit_code == 3
    assert "no group of any fit is usable" in done.stderr
    assert "not-identified" in page.read_text("utf-8")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "-o is missing"),
        (("-o", "report.png"), "end the name in .html"),
        (("-", "-", "-o", "report.html"), "given twice"),
        (("absent.json", "-o", "report.html"), "no such file: absent.json"),
        (("-o", "absent/report.html"), "Cannot write"),
    ],
)
def test_refuses(
    run: Any, fit: Path, tmp_path: Path, monkeypatch: Any, args: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    done = run("report", fit, *args)
    assert done.exit_code == 2
    assert message in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_input_is_not_overwritten_and_must_be_a_fit(run: Any, fit: Path, tmp_path: Path) -> None:
    content = fit.read_bytes()
    other = tmp_path / "fit.html"
    other.write_bytes(content)
    done = run("report", other, "-o", other)
    assert done.exit_code == 2
    assert "also read" in done.stderr
    assert other.read_bytes() == content
    wrong = tmp_path / "table.json"
    wrong.write_text(json.dumps({"kind": "budget-table"}))
    done = run("report", fit, wrong, "-o", tmp_path / "report.html")
    assert done.exit_code == 2
    assert "not a fit document" in done.stderr
    assert not (tmp_path / "report.html").exists()
