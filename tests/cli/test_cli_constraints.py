"""Limits of every kind, target values, frontiers and the exact method by the command line."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from scaling.allocators import Limit
from scaling.cli.constraints import read
from scaling.errors import InputError

MENU = [
    ("level", "model", "samples", "value", "usd", "seconds"),
    ("easy", "small", 1, 0.6, 0.001, 1),
    ("easy", "small", 4, 0.75, 0.004, 1.5),
    ("easy", "large", 1, 0.8, 0.01, 3),
    ("easy", "large", 4, 0.9, 0.04, 4),
    ("hard", "small", 1, 0.1, 0.001, 1.2),
    ("hard", "small", 4, 0.22, 0.004, 2),
    ("hard", "large", 1, 0.4, 0.01, 4),
    ("hard", "large", 4, 0.6, 0.04, 6),
]
EVERYTHING = """
[[limit]]
resource = "usd"
max = 0.025

[[limit]]
resource = "seconds"
scope = "p50"
max = 4

[[value]]
min = 0.4
where = { level = "hard" }

[[value]]
scope = "each"
min = 0.3
where = { level = ["easy", "hard"] }

[[share]]
action = { model = "large" }
min = 0.2
max = 0.5
"""


@pytest.fixture
def menu(tmp_path: Path) -> Path:
    path = tmp_path / "menu.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(MENU)
    return path


@pytest.fixture
def toml(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "limits.toml"
        path.write_text(text)
        return path

    return write


def document(done) -> dict:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout, parse_constant=pytest.fail)


def test_limits_on_the_line_and_in_a_file_are_the_same(run, menu: Path, toml) -> None:
    file = document(run("allocate", menu, "--constraints", toml(EVERYTHING), "--json"))
    line = document(
        run(
            *("allocate", menu, "--limit", "usd=0.025", "--limit", "seconds:p50=4"),
            *("--floor", "level=hard:0.4", "--min-value", "level=easy|hard:0.3"),
            *("--max-share", "large=0.5", "--min-share", "large=0.2", "--json"),
        )
    )
    ours, theirs = (d["objective"]["constraints"] for d in (file, line))
    assert sorted(map(json.dumps, ours)) == sorted(map(json.dumps, theirs))
    assert file["rows"] == line["rows"]
    actions = {row["when"]["level"]: row["action"]["model"] for row in line["rows"]}
    assert actions == {"easy": "small", "hard": "large"}
    kinds = {(c["resource"], c["scope"], c["sense"]) for c in ours}
    assert kinds == {
        ("usd", "average", "max"), ("seconds", "percentile", "max"), ("accuracy", "average", "min"),
        ("accuracy", "each", "min"), ("share", "average", "max"), ("share", "average", "min"),
    }  # fmt: skip


def test_the_table_of_many_limits_is_sound_and_the_report_names_them(run, menu: Path, toml) -> None:
    out = menu.with_name("t.json")
    done = run("allocate", menu, "--constraints", toml(EVERYTHING), "-o", out)
    assert done.exit_code == 0, done.output
    assert run("table", "check", out).exit_code == 0
    for words in (
        "$0.025 a query, on average",
        "4 seconds at the p50 of queries",
        "mean value, over level=hard at least 0.4; it is",
        "value, over level=easy|hard at least 0.3 for every class",
        "share of model=large at most 0.5; it is",
    ):
        assert words in done.stdout


def test_every_table_says_what_its_limits_realise_and_cost(run, menu: Path) -> None:
    table = document(run("allocate", menu, "--limit", "usd=0.02", "--limit", "seconds=3", "--json"))
    usd, seconds = table["objective"]["constraints"]
    assert (usd["resource"], seconds["resource"]) == ("usd", "seconds")
    assert usd["realised"] <= 0.02
    assert seconds["realised"] <= 3
    assert seconds["shadow_price"] > 0
    assert usd["shadow_price"] == 0


def test_target_value_spends_the_least(run, menu: Path) -> None:
    args = ("allocate", menu, "--target-value", 0.55, "--unit", "usd")
    table = document(run(*args, "--json"))
    target = table["objective"]["target"]
    # by hand: small for easy at one or four samples, large for hard once: (0.75 + 0.4) / 2 = 0.575
    assert target["cost"] == pytest.approx((0.004 + 0.01) / 2)
    assert target["bound"] <= target["cost"]
    assert table["objective"]["certificate"]["value"] == pytest.approx(0.575)
    said = run(*args).stdout
    assert "accuracy of at least 0.5500: $0.007 a query" in said
    both = run(*args, "--budget", 1)
    assert both.exit_code == 2
    assert "least cost" in both.stderr
    never = run("allocate", menu, "--target-value", 0.9, "--unit", "usd")
    assert never.exit_code == 4
    assert "value would have to be at most 0.75" in never.stderr


def test_exact_is_never_worse(run, menu: Path) -> None:
    args = ("allocate", menu, "--limit", "usd=0.02", "--limit", "seconds=3", "--json")
    price, exact = document(run(*args)), document(run(*args, "--method", "exact"))
    value, best = (d["objective"]["certificate"]["value"] for d in (price, exact))
    assert best >= value
    assert exact["objective"]["certificate"]["relative_gap"] < 1e-9


def test_contradictions_exit_4_and_say_what_would_have_to_give(run, menu: Path) -> None:
    args = ("allocate", menu, "--limit", "usd=0.02", "--floor", "level=hard:0.6")
    out = menu.with_name("t.json")
    done = run(*args, "--limit", "seconds:p95=2", "-o", out)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert not out.exists()
    assert "seconds:p95=2 and value of level=hard>=0.6" in done.stderr
    done = run(*args)
    assert done.exit_code == 4
    assert "usd would have to be at least 0.0205" in done.stderr
    assert "value of level=hard would have to be at most 0.4" in done.stderr
    mended = ("allocate", menu, "--limit", "usd=0.0205", "--floor", "level=hard:0.6")
    assert run(*mended).exit_code == 0


def test_frontier_as_table_document_and_chart(run, menu: Path) -> None:
    args = ("allocate", menu, "--frontier", "--unit", "usd", "--limit", "seconds=3")
    said = run(*args)
    assert said.exit_code == 0, said.output
    assert "25 budgets of usd" in said.stdout
    (line,) = [x for x in said.stdout.splitlines() if x.startswith("next ")]
    assert run(*shlex.split(line.removeprefix("next"))[1:-2]).exit_code == 0
    found = document(run(*args, "--json"))
    assert found["kind"] == "scaling-frontier"
    values = [point["value"] for point in found["points"]]
    assert values == sorted(values)
    few = document(run(*args, "--budgets", "0.002,0.01", "--json"))
    assert [point["budget"] for point in few["points"]] == [0.002, 0.01]
    out = menu.with_name("f.json")
    assert run(*args, "-o", out).stdout.endswith(f"wrote {out}\n")
    assert json.loads(out.read_text())["points"] == found["points"]
    for name, begins in (("f.svg", b"<svg"), ("f.png", b"\x89PNG"), ("f.html", b"<!DOCTYPE html>")):
        chart = menu.with_name(name)
        assert run(*args, "--budgets", "0.002,0.01", "-o", chart).exit_code == 0
        assert chart.read_bytes().lstrip().startswith(begins)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--frontier",), "--unit"),
        (("--frontier", "--unit", "usd", "--budget", 1), "--budget 1 has no place"),
        (("--frontier", "--unit", "usd", "--target-value", 0.5), "has no place"),
        (("--frontier", "--unit", "usd", "--budgets", "1,x"), "'x' is not a number"),
        (("--frontier", "--unit", "joules"), "no cost in joules"),
        (("--budgets", "1,2", "--unit", "usd"), "Add --frontier"),
        (("--limit", "usd:p=3"), "scope 'p'"),
        (("--limit", "usd:p101=3"), "scope 'p101'"),
        (("--limit", "value=0.3"), "--min-value"),
        (("--limit", "usd=1", "--floor", "level=hard"), "'level=hard' is not a number"),
        (("--limit", "usd=1", "--floor", "lvl=hard:0.2"), "Did you mean 'level'"),
        (("--limit", "usd=1", "--floor", "level=hrd:0.2"), "Did you mean 'hard'"),
        (("--limit", "usd=1", "--floor", "1.2"), "from 0 to 1"),
        (("--limit", "usd=1", "--max-share", "large"), "a model and a share"),
        (("--limit", "usd=1", "--max-share", "lage=0.2"), "Did you mean 'large'"),
        (("--limit", "usd=1", "--min-share", "large=1.2"), "from 0 to 1"),
        (("--target-value", 0.5), "has no unit"),
        (("--target-value", "nan", "--unit", "usd"), "finite"),
        (("--target-value", 1.5, "--unit", "usd"), "from 0 to 1"),
        (("--limit", "usd=1", "--method", "best"), "best"),
    ],
)
def test_bad_options(run, menu: Path, args, words) -> None:
    done = run("allocate", menu, *args)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no limit stands in it"),
        ("[[limt]]\nresource='usd'\nmax=1", "Did you mean 'limit'"),
        ("[limit]\nresource='usd'\nmax=1", "double brackets"),
        ("[[limit]]\nresource='usd'\nmx=1", "no key 'mx'"),
        ("[[limit]]\nresource='usd'\nmaxx=1", "Did you mean 'max'"),
        ("[[limit]]\nresource='usd'", "has no amount"),
        ("[[limit]]\nmax=1", "has no resource"),
        ("[[limit]]\nresource='usdd'\nmax=1", "Did you mean 'usd'"),
        ("[[limit]]\nresource='value'\nmax=1", "stands in [[value]]"),
        ("[[limit]]\nresource='usd'\nmax='1'", "must be a number"),
        ("[[limit]]\nresource='usd'\nmax=true", "must be a number"),
        ("[[limit]]\nresource='usd'\nmax=nan", "nan"),
        ("[[limit]]\nresource=3\nmax=1", "must be text"),
        ("[[limit]]\nresource='usd'\nscope='total'\nmax=1", "number of queries"),
        ("[[limit]]\nresource='usd'\nscope='total'\nqueries=1.5\nmax=1", "whole number"),
        ("[[value]]\nmax=0.5", "no key 'max'"),
        ("[[value]]\nmin=0.5\nwhere='hard'", "columns and values"),
        ("[[value]]\nmin=0.5\nscope='p95'", "percentile"),
        ("[[share]]\nmax=0.5", "action that is named"),
        ("[[limit\n", "TOML"),
    ],
)
def test_bad_files_of_constraints(run, menu: Path, toml, text: str, words: str) -> None:
    path = toml(text)
    done = run("allocate", menu, "--budget", 1, "--unit", "usd", "--constraints", path)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_and_one_that_is_the_output(run, menu: Path, toml) -> None:
    done = run("allocate", menu, "--constraints", menu.with_name("none.toml"))
    assert done.exit_code == 2
    assert "o such file" in done.stderr
    path = toml("[[limit]]\nresource='usd'\nmax=1")
    done = run("allocate", menu, "--constraints", path, "-o", path)
    assert done.exit_code == 2
    assert "also read" in done.stderr


def test_read_gives_one_limit_for_each_amount(toml) -> None:
    found = read(str(toml(EVERYTHING)))
    assert found[0] == Limit("usd", "average", 0.025)
    assert found[2] == Limit("value", "average", 0.4, sense="min", where={"level": ("hard",)})
    assert [limit.sense for limit in found[-2:]] == ["max", "min"]
    total = toml('[[limit]]\nresource = "usd"\nscope = "total"\nmax = 5')
    assert read(str(total), queries=10)[0].average == 0.5
    with pytest.raises(InputError, match="number of queries"):
        read(str(total))
