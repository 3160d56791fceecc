"""scaling passk by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_a_table_of_measures(run, counts: Path) -> None:
    done = run("passk", counts, "--k", "1,10", "--all", "--at-least", "2,0.5", "--attempts")
    assert done.exit_code == 0, done.output
    for said in (
        "pass@k",
        "pass^k",
        "at least 2 of k",
        "at least 50% of k",
        "attempts",
        "unbiased",
    ):
        assert said in done.stdout
    assert "new problems from the same population" in done.stdout


def test_the_document_is_printed_and_written(run, counts: Path, tmp_path: Path) -> None:
    path = tmp_path / "passk.json"
    done = run("passk", counts, "--k", "1,4", "--estimand", "benchmark", "-o", path)
    assert done.stdout.splitlines()[-1] == f"wrote {path}"
    printed = run("passk", counts, "--k", "1,4", "--estimand", "benchmark", "--json")
    assert printed.stdout == path.read_text()
    document = json.loads(printed.stdout, parse_constant=pytest.fail)
    assert document["estimand"] == "benchmark"
    rows = document["groups"][0]["rows"]
    assert [row["k"] for row in rows] == [1, 4]
    assert all(row["interval"][0] < row["estimate"] < row["interval"][1] for row in rows)


def test_the_best_of_k_scores(run, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = [f"p{i},{j},{j % 2},{i + j / 10}" for i in range(4) for j in range(6)]
    log.write_text("\n".join(["problem,attempt,correct,reward", *rows, ""]))
    args = ("passk", log, "--k", "1,6", "--scores", "--map", "reward=score", "--json")
    (group,) = json.loads(run(*args).stdout)["groups"]
    best = {r["k"]: r["estimate"] for r in group["rows"] if r["measure"] == "best-score"}
    assert best == pytest.approx({1: 1.75, 6: 2.0})
    done = run("passk", log, "--scores")
    assert done.exit_code == 2
    assert "--map reward=score" in done.stderr


def test_beyond_the_attempts_exit_3_or_bounds(run, counts: Path) -> None:
    done = run("passk", counts, "--k", "100000")
    assert done.exit_code == 3
    assert "some problem has only" in done.stderr
    done = run("passk", counts, "--k", "100000", "--bounds")
    assert done.exit_code == 0, done.output
    assert "bounds" in done.stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--k", "0"), "whole number from 1 on"),
        (("--k", "ten"), "'ten' is not a number"),
        (("--at-least", "2.5"), "at least 2.5 of k"),
        (("--level", "95"), "level lies between 0 and 1"),
        (("--estimand", "both"), "'both' is not one of"),
        (("--by", "colour"), "colour"),
    ],
)
def test_bad_input_exits_2_and_writes_nothing(run, counts: Path, args, said) -> None:
    out = counts.with_name("out.json")
    done = run("passk", counts, *args, "-o", out)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not out.exists()
