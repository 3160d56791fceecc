"""plan by the command line."""

from __future__ import annotations

import json
from pathlib import Path


def test_plan_of_a_fit(run, fit: Path) -> None:
    done = run("plan", fit, "--k", 10)
    assert done.exit_code == 0, done.output
    for word in ("easy", "hard", "floor", "these problems", "beta-binomial"):
        assert word in done.stdout
    # 40 problems with 30 attempts each: as many and twice as many problems, up to four times the attempts
    document = json.loads(run("plan", fit, "--k", 10, "--json").stdout)
    designs = {(d["problems"], d["attempts"]) for d in document["groups"][0]["designs"]}
    assert designs == {(p, n) for p in (40, 80) for n in (30, 60, 120)}


def test_plan_of_a_log(run, counts: Path, tmp_path: Path) -> None:
    out = tmp_path / "plan.json"
    args = (
        "--k",
        10,
        "--problems",
        "100,200",
        "--attempts",
        "50",
        "--se",
        0.05,
        "--problem-cost",
        20,
    )
    done = run("plan", counts, *args, "-o", out)
    assert done.exit_code == 0, done.output
    assert "cheapest" in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {out}"
    groups = json.loads(out.read_text())["groups"]
    assert [g["by"] for g in groups] == [{"model": "large"}, {"model": "small"}]
    for g in groups:
        assert g["source"] == "counts"
        assert len(g["designs"]) == 2
        assert g["cheapest"]["se"] <= 0.05
    assert run("plan", counts, "--k", 10, "--by", "none").exit_code == 0


def test_a_fit_can_be_piped(run, fit: Path) -> None:
    done = run("plan", "-", "--k", 10, "--json", stdin=fit.read_bytes())
    assert done.stdout == run("plan", fit, "--k", 10, "--json").stdout


def test_beyond_half_the_attempts_the_plan_says_so(run, counts: Path) -> None:
    done = run("plan", counts, "--k", 30)
    assert done.exit_code == 0
    assert "extrapolated" in done.stdout


def test_what_is_refused(run, fit: Path, counts: Path, tmp_path: Path) -> None:
    for args, word in (
        ((fit, "--k", 10, "--attempts", 5), "n >= k"),
        ((fit, "--k", 10, "--by", "level"), "a fit has its groups"),
        ((fit, "--k", 10, "--attempts", "many"), "not a number"),
        ((tmp_path / "none.csv", "--k", 1), "none.csv"),
        ((counts, "--k", 1, "-o", counts), "overwritten"),
    ):
        done = run("plan", *args)
        assert done.exit_code == 2, done.output
        assert word in done.stderr


def test_a_log_without_differences_exits_3(run, tmp_path: Path) -> None:
    source = tmp_path / "zero.csv"
    source.write_text("task,problem,n,c\n" + "".join(f"t,p{i},10,0\n" for i in range(20)))
    done = run("plan", source, "--k", 2)
    assert done.exit_code == 3
    assert "same coverage" in done.stderr
