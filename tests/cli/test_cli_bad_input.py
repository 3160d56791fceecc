"""Every kind of bad input: exit 2, one message that names it, nothing written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAD = "model,task,problem,n,c\n"


FILES = {
    "empty file": (b"", ["empty"]),
    "header only": (HEAD.encode(), ["row"]),
    "missing column": (b"model,task,problem,n,num_corect\nm,t,p1,10,3\n", ["'c'", "num_corect"]),
    "c above n": ((HEAD + "m,t,p1,10,3\nm,t,p2,10,11\n").encode(), ["11", "10", "row 2"]),
    "negative": ((HEAD + "m,t,p1,10,-1\n").encode(), ["-1", "c"]),
    "fractional": ((HEAD + "m,t,p1,10,2.5\n").encode(), ["2.5", "c"]),
    "nan": ((HEAD + "m,t,p1,10,nan\n").encode(), ["nan", "c"]),
    "infinite": ((HEAD + "m,t,p1,inf,1\n").encode(), ["inf", "n"]),
    "text in a number column": (
        (HEAD + "m,t,p1,10,3\nm,t,p2,ten,3\n").encode(),
        ["n is 'ten'", "row 2"],
    ),
    "duplicate problem": ((HEAD + "m,t,p1,10,3\nm,t,p1,10,4\n").encode(), ["p1"]),
    "duplicate attempt": (
        b"model,task,problem,attempt,correct\nm,t,p1,0,1\nm,t,p1,1,0\nm,t,p1,1,1\n",
        ["p1", "1"],
    ),
    "graded attempts": (
        b"model,task,problem,attempt,correct\nm,t,p1,0,0.5\nm,t,p1,1,1\n",
        ["0.5", "threshold"],
    ),
    "binary rubbish": (bytes(range(256)) * 64, ["counts.csv"]),
    "ragged rows": ((HEAD + "m,t,p1,10,3\nm,t,p2,10\nm,t,p3,10,3,9,9\n").encode(), ["counts.csv"]),
}


@pytest.mark.parametrize("command", ["describe", "fit", "allocate"])
@pytest.mark.parametrize("what", FILES)
def test_bad_file(run, tmp_path: Path, command: str, what: str) -> None:
    content, said = FILES[what]
    source = tmp_path / "counts.csv"
    source.write_bytes(content)
    out = tmp_path / "out" / "document.json"
    out.parent.mkdir()
    args = {
        "describe": (source,),
        "fit": (source, "--law", "beta-binomial", "--interval", "none", "-o", out),
        "allocate": (source, "--budget", 4, "--unit", "samples", "-o", out),
    }[command]
    done = run(command, *args)
    refused(done)
    for word in said:
        assert word in done.stderr
    assert not list(out.parent.iterdir())


def refused(done) -> None:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 or "Usage:" in done.stderr
    assert "unexpected error" not in done.stderr


def test_no_such_file_names_the_near_one(run, counts: Path) -> None:
    done = run("fit", counts.with_name("count.csv"), "--law", "beta-binomial")
    refused(done)
    assert "no such file" in done.stderr
    assert "counts.csv" in done.stderr


def test_unknown_law_lists_the_laws(run, counts: Path) -> None:
    done = run("fit", counts, "--law", "beta-binomal")
    refused(done)
    assert "exponentiated-power" in done.stderr
    assert "Did you mean 'beta-binomial'" in done.stderr


@pytest.mark.parametrize(
    ("law", "option", "value", "listed"),
    [
        ("beta-binomial", "--objective", "logcov", "likelihood"),
        ("exponentiated-power", "--objective", "likelyhood", "logcov, cov, loglog"),
        ("exponentiated-power", "--preset", "brown2023", "brown2024"),
    ],
)
def test_unknown_objective_or_preset(run, counts, law, option, value, listed) -> None:
    done = run("fit", counts, "--law", law, option, value)
    refused(done)
    assert listed in done.stderr
    assert value in done.stderr


@pytest.mark.parametrize("place", ["no/such/folder/fit.json", ".", "counts.csv/fit.json"])
def test_output_that_cannot_be_written(run, counts: Path, place: str) -> None:
    before = sorted(p.name for p in counts.parent.rglob("*"))
    done = run("fit", counts, "--law", "beta-binomial", "-o", counts.parent / place)
    refused(done)
    assert "Cannot write" in done.stderr
    assert sorted(p.name for p in counts.parent.rglob("*")) == before


@pytest.mark.parametrize("command", ["fit", "predict", "allocate", "weights"])
@pytest.mark.parametrize("how", ["plain", "dotted", "link", "hard link"])
def test_output_that_is_an_input(run, fit: Path, levels: Path, command: str, how: str) -> None:
    source = levels if command == "fit" else fit
    budget = ("--budget", 4, "--unit", "samples")
    if command == "weights":
        source = fit.with_name("weights.csv")
        source.write_text("level,weight\neasy,1\nhard,1\n")
    out = source
    if how == "dotted":
        (source.parent / "in").mkdir()
        out = source.parent / "in" / ".." / source.name
    elif how == "link":
        out = source.with_name("link")
        out.symlink_to(source)
    elif how == "hard link":
        out = source.with_name("hard-link")
        out.hardlink_to(source)
    before = source.read_bytes()
    args = {
        "fit": ("fit", source, "--law", "beta-binomial", "--interval", "none"),
        "predict": ("predict", source, "--at", "samples=3"),
        "allocate": ("allocate", source, *budget),
        "weights": ("allocate", fit, *budget, "--weights", source),
    }[command]
    done = run(*args, "-o", out)
    refused(done)
    assert f"-o {out}" in done.stderr
    assert "another name" in done.stderr
    assert source.read_bytes() == before


def test_output_that_a_glob_reads(run, counts: Path) -> None:
    before = counts.read_bytes()
    args = ("--law", "beta-binomial", "--interval", "none")
    done = run("fit", counts.parent / "*.csv", *args, "-o", counts)
    refused(done)
    assert str(counts) in done.stderr
    assert counts.read_bytes() == before
    # A file that is there and is not read may be written anew.
    out = counts.with_name("fit.json")
    out.write_text("old")
    assert run("fit", counts.parent / "*.csv", *args, "-o", out).exit_code == 0
    assert out.read_text() != "old"


def test_output_that_standard_input_comes_from(fit: Path) -> None:
    before = fit.read_bytes()
    command = [sys.executable, "-m", "scaling", "predict", "-", "--at", "samples=3", "-o", str(fit)]
    with fit.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "standard input" in done.stderr
    assert fit.read_bytes() == before


def test_a_dash_is_no_output(
    run, fit: Path, levels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for args in (
        ("fit", levels, "--law", "beta-binomial"),
        ("predict", fit, "--at", "samples=3"),
        ("allocate", fit, "--budget", 4, "--unit", "samples"),
    ):
        done = run(*args, "-o", "-")
        refused(done)
        assert "--json" in done.stderr
    assert not (tmp_path / "-").exists()


def test_output_is_refused_before_the_log_is_read(run, tmp_path: Path) -> None:
    done = run("fit", tmp_path / "absent.csv", "--law", "beta-binomial", "-o", tmp_path / "x" / "f")
    refused(done)
    assert "Cannot write" in done.stderr


def test_a_failed_run_keeps_the_old_file(run, tmp_path: Path) -> None:
    source, out = tmp_path / "counts.csv", tmp_path / "fit.json"
    source.write_text(HEAD + "m,t,p1,10,11\n")
    out.write_text("as it was")
    refused(run("fit", source, "--law", "beta-binomial", "-o", out))
    assert out.read_text() == "as it was"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--by", "levl"], ["levl", "Did you mean 'level'"]),
        (["--by", "level,"], ["--by", "empty"]),
        (["--bins", "level"], ["--bins level", "q4"]),
        (["--bins", "level=.6,.2"], ["increase"]),
        (["--bins", "level=a"], ["'a'", "not a number"]),
        (["--bins", "level=nan"], ["finite"]),
        (["--where", "level"], ["column=value"]),
        (["--where", "level=hrad"], ["hrad", "Did you mean 'hard'"]),
        (["--where", "levl=hard"], ["levl"]),
        (["--map", "c"], ["--map", "name=value"]),
        (["--map", "nosuch=c"], ["nosuch"]),
        (["--map", "level=a,level=b"], ["level", "twice"]),
        (["--level", "95"], ["95", "between 0 and 1"]),
        (["--replicates", "3"], ["3"]),
        (["--interval", "bayes"], ["bayes", "percentile"]),
        (["--min-attempts", "31"], ["31"]),
        (["--seed", "-1"], ["-1"]),
        (["--threshold", "2"], ["2"]),
    ],
)
def test_bad_option_of_fit(run, levels: Path, args: list[str], said: list[str]) -> None:
    done = run("fit", levels, "--law", "beta-binomial", *args)
    refused(done)
    for word in said:
        assert word in done.stderr


def test_profile_interval_of_a_curve_objective(run, counts: Path) -> None:
    done = run("fit", counts, "--law", "exponentiated-power", "--interval", "profile")
    refused(done)
    assert "percentile" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "kind"),
        ("[1, 2", "JSON"),
        ('{"kind": "scaling-fit", "law": NaN}', "NaN"),
        ('{"kind": "scaling-fit"}', "schema"),
        ('{"kind": "scaling-budget-table"}', "scaling-budget-table"),
    ],
)
def test_predict_refuses_what_is_no_fit(run, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "fit.json"
    path.write_text(content)
    done = run("predict", path, "--at", "samples=1")
    refused(done)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--at"),
        (["--at", "samples=1", "--target", ".5"], "either"),
        (["--at", "samples"], "column=value"),
        (["--at", "samples=x"], "not a number"),
        (["--at", "samples=0"], "at least 1"),
        (["--at", "documents=3"], "documents"),
        (["--target", "1.5"], "1.5"),
        (["--target", "nan"], "nan"),
        (["--target", ".5", "--estimand", "benchmark"], "population"),
    ],
)
def test_bad_option_of_predict(run, fit: Path, args: list[str], said: str) -> None:
    done = run("predict", fit, *args)
    refused(done)
    assert said in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "no budget"),
        (["--budget", "4"], "unit"),
        (["--unit", "samples"], "budget"),
        (["--budget", "-4", "--unit", "samples"], "-4"),
        (["--budget", "inf", "--unit", "samples"], "inf"),
        (["--budget", "four", "--unit", "samples"], "four"),
        (["--budget", "4", "--unit", "sampels"], "Did you mean 'samples'"),
        (["--budget", "4", "--unit", "usd"], "--usd-per-sample"),
        (["--budget", "4", "--unit", "samples", "--per", "total"], "--queries"),
        (["--budget", "4", "--unit", "samples", "--limit", "samples:all=3"], "all"),
        (["--budget", "4", "--unit", "samples", "--limit", "samples"], "RESOURCE"),
        (["--budget", "4", "--unit", "samples", "--price-in", "3"], "--input-tokens"),
        (["--budget", "4", "--unit", "samples", "--tokens-per-sample", "x"], "'x'"),
        (["--budget", "4", "--unit", "samples", "--weights", "no.csv"], "no.csv"),
        (["--budget", "4", "--unit", "samples", "--class", "query"], "query"),
    ],
)
def test_bad_option_of_allocate(run, fit: Path, args: list[str], said: str) -> None:
    out = fit.with_name("table.json")
    done = run("allocate", fit, *args, "-o", out)
    refused(done)
    assert said in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty"),
        ("\ufeff", "empty"),
        ("level,share\neasy,1\n", "weight"),
        ("level,weight\n", "row"),
        ("level,weight\neasy,1\nhard\n", "fields"),
        ("level,weight\neasy,1\n", "hard"),
        ("level,weight\neasy,1\nhard,none\n", "none"),
        ("level,weight\neasy,1\nhard,1\nharder,1\n", "harder"),
    ],
)
def test_bad_weights(run, fit: Path, content: str, said: str) -> None:
    path = fit.with_name("weights.csv")
    path.write_text(content)
    done = run("allocate", fit, "--budget", 4, "--unit", "samples", "--weights", path)
    refused(done)
    assert said in done.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--class", "problem"),
        ("--values", "plugin"),
        ("--extrapolate",),
        ("--check-duplicates",),
        ("--threshold", "0.5"),
    ],
)
def test_options_that_say_nothing_of_a_menu(run, fit: Path, option: tuple[str, ...]) -> None:
    menu, out = fit.with_name("menu.csv"), fit.with_name("table.json")
    menu.write_text("level,samples,value\neasy,1,0.5\neasy,2,0.6\nhard,1,0.1\nhard,2,0.2\n")
    args = ("--budget", 1, "--unit", "samples", "-o", out)
    done = run("allocate", menu, *args, *option)
    refused(done)
    assert " ".join(option) in done.stderr
    assert "menu rows" in done.stderr
    assert not out.exists()
    assert run("allocate", menu, *args, "--class", "group").exit_code == 0


def test_allocate_refuses_a_table(run, table: Path) -> None:
    done = run("allocate", table, "--budget", 4, "--unit", "samples")
    refused(done)
    assert "budget table" in done.stderr


@pytest.mark.parametrize("command", ["check", "lookup"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[", b"\xff\xfe\x00", b'{"kind": 1}'])
def test_table_refuses_what_is_no_table(run, tmp_path: Path, command: str, content: bytes) -> None:
    path = tmp_path / "table.json"
    path.write_bytes(content)
    done = run("table", command, path)
    refused(done)
    assert "table.json" in done.stderr


def test_lookup_refuses_a_feature_without_a_value(run, table: Path) -> None:
    done = run("table", "lookup", table, "level")
    refused(done)
    assert "column=value" in done.stderr or "name=value" in done.stderr.lower()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(run, counts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    done = run("fit", counts, "--law", "beta-binomial", "-o", folder / "fit.json")
    refused(done)
    assert "Cannot write" in done.stderr
