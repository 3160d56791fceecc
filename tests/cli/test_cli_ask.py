"""scaling ask by the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest


def test_ask_names_problems_and_adds_up(run, counts: Path) -> None:
    args = ("ask", counts, "--attempts", 60, "--simulated", 0)
    done = run(*args)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())  # lines may wrap
    for said in ("60 attempts where variance lies", "attempts to add", "stop_rule=unknown"):
        assert said in text
    document = json.loads(run(*args, "--json").stdout, parse_constant=pytest.fail)
    assert document["kind"] == "scaling-ask"
    assert document["stop_rule"] == "unknown"
    requests = document["requests"]
    assert sum(r["attempts"] for r in requests) == 60
    with counts.open() as file:
        solved = {(r["model"], r["problem"]): int(r["c"]) for r in csv.DictReader(file)}
    # At ten times the attempts, what counts is who is hardly ever solved.
    asked = [solved[r["by"]["model"], r["problem"]] for r in requests]
    assert np.mean(asked) < np.mean(list(solved.values())) / 2


def test_telling_is_the_longer_log(run, counts: Path) -> None:
    # Ask, put the attempts into the log as failures, ask again: the next problems come.
    def ask(path: Path) -> list:
        done = run("ask", path, "--attempts", 5, "--simulated", 0, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["requests"]

    first = ask(counts)
    with counts.open() as file:
        rows = list(csv.DictReader(file))
    for request in first:
        (row,) = [
            r
            for r in rows
            if r["model"] == request["by"]["model"] and r["problem"] == request["problem"]
        ]
        row["n"] = str(int(row["n"]) + request["attempts"])
    longer = counts.with_name("longer.csv")
    with longer.open("w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        out.writeheader()
        out.writerows(rows)
    second = ask(longer)

    def names(requests: list) -> set:
        return {(r["by"]["model"], r["problem"]) for r in requests}

    assert not names(first) & names(second)


def test_variance_takes_k_and_writes_the_document(run, counts: Path, tmp_path: Path) -> None:
    path = tmp_path / "ask.json"
    done = run("ask", counts, "--attempts", 40, "--simulated", 0, "--k", 100, "-o", path)
    assert done.exit_code == 0, done.output
    assert "coverage at 100 attempts" in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {path}"
    document = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert document["rule"] == "variance"
    assert document["k"] == 100
    assert sum(r["attempts"] for r in document["requests"]) == 40


def test_what_is_expected_is_said(run, counts: Path) -> None:
    args = ("ask", counts, "--attempts", 400, "--simulated", 2, "--where", "model=small")
    done = run(*args)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    for said in ("width of the 95% interval of coverage at", "2 results simulated", "saved"):
        assert said in text


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "--attempts"),
        (("--attempts", 0), "attempts must be a whole number"),
        (("--attempts", 5, "--k", 0), "k must be a whole number"),
        (("--attempts", 5, "--simulated", 1), "between 2 and 10,000, not 1"),
        (("--attempts", 5, "--by", "colour"), "colour"),
    ],
)
def test_bad_input_exits_2_and_writes_nothing(run, counts: Path, args, said) -> None:
    out = counts.with_name("out.json")
    done = run("ask", counts, *args, "-o", out)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not out.exists()
