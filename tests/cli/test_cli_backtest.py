"""scaling backtest by the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

HEAD = "model,task,problem,n,c\n"
QUICK = ("--thinnings", 3, "--replicates", 40)


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    """Counts of 400 attempts at 50 problems of two models."""
    rng = np.random.default_rng(8)
    path = tmp_path / "deep.csv"
    rows = [
        f"{model},t,p{i},400,{c}\n"
        for model, alpha in (("small", 0.3), ("large", 0.6))
        for i, c in enumerate(rng.binomial(400, rng.beta(alpha, 4, 50)))
    ]
    path.write_text(HEAD + "".join(rows))
    return path


def test_a_backtest_prints_truth_scores_and_the_next_command(run, deep: Path) -> None:
    laws = ("--laws", "loglog,solved-so-far", "--cut", 40, "--target", "100,400")
    done = run("backtest", deep, *laws, *QUICK, "--by", "model", "--map", "tries=attempts")
    assert done.exit_code == 2  # a renaming that names no column
    done = run("backtest", deep, *laws, *QUICK, "--by", "model")
    assert done.exit_code == 0, done.output
    out = done.stdout
    for said in ("sd of truth", "floor", "model=small", "ranking at 100", "ranking at 400"):
        assert said in out
    assert "within noise" in out or "behind the first" in out
    (line,) = [x for x in out.splitlines() if x.startswith("next ")]
    words = shlex.split(line.removeprefix("next"))
    expected = ("fit", str(deep), "--law", "exponentiated-power", "--objective", "loglog")
    assert words == ["scaling", *expected, "--by", "model", "-o", "fit.json"]
    assert run(*words[1:-2], "--interval", "none", "--json").exit_code == 0


def test_json_is_the_document_and_the_file_the_same(run, deep: Path, tmp_path: Path) -> None:
    path = tmp_path / "backtest.json"
    laws = ("--laws", "beta-binomial", "--cut", 40, "--target", "4e2")
    done = run("backtest", deep, *laws, *QUICK, "--json", "-o", path)
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert path.read_text() == done.stdout
    assert done.stderr.splitlines()[-1] == f"wrote {path}"
    assert document["kind"] == "scaling-backtest"
    assert document["targets"] == [400]
    assert [g["by"] for g in document["groups"]] == [{"model": "large"}, {"model": "small"}]
    assert document["groups"][0]["scores"][0]["n_intervals"] == 3


def test_compare_runs_every_published_rival(run, deep: Path) -> None:
    done = run(
        *("backtest", deep, "--compare", "--laws", "loglog", "--cut", 40, "--target", 400),
        *("--thinnings", 2, "--replicates", 0, "--where", "model=small", "--json"),
    )
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert document["laws"][0] == "loglog"
    assert {
        *("forecast", "brown", "schaeffer", "kazdan", "beta-binomial", "semilog"),
        *("zero-inflated-beta-binomial", "curve-mean"),
    } <= set(document["laws"])
    assert len(document["ranking"]) == len(document["laws"])


def test_where_nothing_can_be_scored_the_exit_code_is_3(run, tmp_path: Path) -> None:
    log = tmp_path / "hard.csv"
    log.write_text(HEAD + "".join(f"m,t,p{i},1000,{int(i == 0)}\n" for i in range(30)))
    out = tmp_path / "out.json"
    done = run("backtest", log, "--laws", "brown", "--cut", 10, "--target", 1000, "-o", out)
    assert done.exit_code == 3
    assert "fewer than 2 of 30 problems" in done.stderr
    assert json.loads(out.read_text())["groups"][0]["scores"] == []


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--cut", 40, "--target", 400), "--compare"),
        (("--laws", "loglogg", "--cut", 40, "--target", 400), "Did you mean 'loglog'"),
        (("--laws", "loglog", "--cut", 40, "--target", 401), "largest possible target is 400"),
        (("--laws", "loglog", "--cut", 400, "--target", 500), "largest possible cut is 399"),
        (("--laws", "loglog", "--cut", 40, "--target", 40), "target above 40"),
        (("--laws", "loglog", "--cut", 40, "--target", "99.5"), "no whole number"),
        (("--laws", "loglog", "--cut", 40, "--target", "many"), "is not a number"),
        (("--laws", "loglog", "--target", 400), "--cut"),
    ],
)
def test_bad_input_exits_2_and_writes_nothing(run, deep: Path, args, said) -> None:
    out = deep.with_name("out.json")
    done = run("backtest", deep, *args, "-o", out)
    assert done.exit_code == 2
    assert said in done.stderr
    assert done.stdout == ""
    assert not out.exists()


def test_success_stopped_logs_are_refused_with_the_reason(run, tmp_path: Path) -> None:
    log = tmp_path / "stopped.csv"
    rows = [(3, 1), (8, 1), (14, 1), (2, 1), (40, 0), (40, 0), (40, 0)]
    log.write_text(HEAD + "".join(f"m,t,p{i},{n},{c}\n" for i, (n, c) in enumerate(rows)))
    done = run("backtest", log, "--laws", "brown", "--cut", 2, "--target", 30)
    assert done.exit_code == 2
    assert "first success" in done.stderr
