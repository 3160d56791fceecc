"""compare by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def fits(run, counts: Path, tmp_path: Path) -> dict[str, Path]:
    """Fits of the same log: each model, both, and another law for one."""
    made = {}
    for name, args in {
        "small": ("--where", "model=small"),
        "large": ("--where", "model=large"),
        "both": ("--by", "model"),
        "power": ("--where", "model=small", "--law", "exponentiated-power"),
    }.items():
        made[name] = tmp_path / f"{name}.json"
        law = () if "--law" in args else ("--law", "beta-binomial")
        done = run("fit", counts, *law, *args, "--interval", "none", "-o", made[name])
        assert done.exit_code == 0, done.output
    return made


FAST = ("--replicates", 60)


def test_two_models(run, fits, tmp_path: Path) -> None:
    out = tmp_path / "comparison.json"
    done = run(
        "compare", fits["large"], fits["small"], "--at", "samples=1,10,200", *FAST, "-o", out
    )
    assert done.exit_code == 0, done.output
    for word in ("40 matched", "a - b", "a above b", "b needs", "extrapolated", "alpha"):
        assert word in done.stdout
    assert done.stdout.splitlines()[-1] == f"wrote {out}"
    (group,) = json.loads(out.read_text())["groups"]
    assert [row["samples"] for row in group["rows"]] == [1, 10, 200]
    assert [row["source"] for row in group["rows"]] == ["counts", "counts", "law"]
    for row in group["rows"]:
        assert row["difference"] == pytest.approx(row["a"] - row["b"])
        low, high = row["interval"]
        assert low < row["difference"] < high


def test_models_of_one_fit(run, fits) -> None:
    args = ("--at", "samples=5", *FAST, "--json")
    one = run("compare", fits["both"], "--models", "large,small", *args)
    two = run("compare", fits["large"], fits["small"], *args)
    assert one.exit_code == 0, one.output

    def rows(done):
        return json.loads(done.stdout)["groups"][0]["rows"]

    assert rows(one) == rows(two)
    assert run("compare", fits["both"], *args).exit_code == 0  # its only two


def test_two_laws(run, fits) -> None:
    done = run("compare", fits["small"], fits["power"], *FAST)
    assert done.exit_code == 0, done.output
    for word in ("beta-binomial", "exponentiated-power", "observed", "left out of the fit", "AIC"):
        assert word in done.stdout


def test_a_fit_can_be_piped(run, fits) -> None:
    done = run("compare", "-", fits["small"], *FAST, "--json", stdin=fits["large"].read_bytes())
    plain = run("compare", fits["large"], fits["small"], *FAST, "--json")
    assert done.stdout == plain.stdout


def test_what_is_refused(run, fits, counts: Path, tmp_path: Path) -> None:
    small, both, pooled = fits["small"], fits["both"], tmp_path / "pooled.json"
    options = ("--law", "beta-binomial", "--by", "none", "--interval", "none")
    assert run("fit", counts, *options, "-o", pooled).exit_code == 0
    for args, word in (
        ((small,), "has groups of the models small"),
        ((pooled,), "is not by model"),
        ((both, "--models", "small,huge"), "large, small"),
        ((small, small, small), "not 3 fits"),
        ((small, fits["large"], "--models", "a,b"), "--models"),
        (("-", "-"), "once"),
        ((small, small, "--at", "tokens=3"), "samples=K"),
        ((small, small, "--at", "samples=x"), "not a number"),
        ((small, small, "--at", "samples=0"), "not 0"),
        ((small, counts), "not JSON"),
        ((small, "none.json"), "none.json"),
        ((small, fits["large"], "-o", small), "overwritten"),
    ):
        done = run("compare", *args)
        assert done.exit_code == 2, done.output
        assert word in done.stderr


def test_nothing_to_compare_exits_3(run, tmp_path: Path) -> None:
    logs = {}
    for name, n in (("five", 5), ("ten", 10)):
        source = tmp_path / f"{name}.csv"
        source.write_text("task,problem,n,c\n" + "".join(f"t,p{i},{n},0\n" for i in range(20)))
        logs[name] = tmp_path / f"{name}.json"
        assert run("fit", source, "--law", "beta-binomial", "-o", logs[name]).exit_code == 3
    done = run("compare", logs["five"], logs["ten"], "--at", "samples=50")
    assert done.exit_code == 3
    assert "nothing can be said" in done.stderr
