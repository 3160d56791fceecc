"""`scaling fit --siblings` and `scaling allocate --gate`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest


def write(path: Path, model: str, n: int, c, task: str = "t") -> Path:
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["model", "task", "problem", "n", "c"])
        out.writerows([model, task, f"p{i}", n, x] for i, x in enumerate(c))
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    rng = np.random.default_rng(0)
    rate = rng.beta(0.3, 10.0, 60)
    other = np.clip(2 * rate, 0, 1)
    return (
        write(tmp_path / "own.csv", "a", 16, rng.binomial(16, rate)),
        write(tmp_path / "one.csv", "b", 100, rng.binomial(100, other)),
        write(tmp_path / "two.csv", "c", 100, rng.binomial(100, rate)),
    )


def test_from_logs_to_a_table_by_problem(run, files, tmp_path: Path) -> None:
    own, one, two = files
    fit, table = tmp_path / "fit.json", tmp_path / "table.json"
    done = run(
        "fit", own, "--law", "beta-binomial", "--interval", "none",
        "--siblings", one, "--siblings", two, "-o", fit,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "of difficulty is shared; correlations b " in done.stdout
    assert "--class problem" in done.stdout
    document = json.loads(fit.read_text())
    assert document["siblings"]["rows"] == 120
    assert [s["model"] for s in document["groups"][0]["transfer"]["siblings"]] == ["b", "c"]
    asked = ("--class", "problem", "--budget", 8, "--unit", "samples", "--allow-skip", "-o", table)
    assert run("allocate", fit, *asked).exit_code == 0
    plain = json.loads(table.read_text())
    assert run("table", "check", table).exit_code == 0
    done = run("allocate", fit, *asked, "--gate")
    assert done.exit_code == 0, done.output
    assert run("table", "check", table).exit_code == 0
    gated = json.loads(table.read_text())
    said = {c["code"] for row in gated["rows"] for c in row["cautions"]}
    assert said & {"gate-open", "gate-closed"}
    assert "gate-not-run" not in said
    assert "gate-not-run" in {c["code"] for c in plain["rows"][0]["cautions"]}


def test_wrong_siblings_are_exit_code_2_and_write_nothing(run, files, tmp_path: Path) -> None:
    own, one, _ = files
    fit = tmp_path / "fit.json"
    stranger = write(tmp_path / "stranger.csv", "b", 10, [1, 2, 3], task="else")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("model,problem,speed\nb,p0,3\n")
    for path, law, words in (
        (stranger, "beta-binomial", "match on task and problem"),
        (own, "beta-binomial", "only a, which is the model that is fitted"),
        (wrong, "beta-binomial", "wrong.csv"),
        (tmp_path / "none.csv", "beta-binomial", "none.csv"),
        (one, "exponentiated-power", "beta-binomial"),
    ):
        done = run("fit", own, "--law", law, "--interval", "none", "--siblings", path, "-o", fit)
        assert done.exit_code == 2, (path, done.output)
        assert words in done.stderr
        assert not fit.exists()
    done = run("fit", own, "--law", "beta-binomial", "--siblings", one, "-o", one)
    assert done.exit_code == 2


def test_raw_rates_of_alike_problems_become_an_even_table(run, tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", "a", 16, np.random.default_rng(1).binomial(16, 0.05, 80))
    table = tmp_path / "table.json"
    done = run(
        "allocate", log, "--values", "plugin", "--class", "problem", "--budget", 8,
        "--unit", "samples", "--allow-skip", "--gate", "-o", table,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "gate-closed" in done.stdout
    assert run("table", "check", table).exit_code == 0
    rows = json.loads(table.read_text())["rows"]
    assert {row["action"]["n_samples"] for row in rows} == {8}
