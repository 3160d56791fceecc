"""describe, fit and predict by the command line."""

from __future__ import annotations

import csv
import gzip
import json
import shlex
from pathlib import Path

import numpy as np
import pytest

HEAD = "model,task,problem,n,c\n"
DEGENERATE = {
    "one problem": HEAD + "m,t,p,10,3\n",
    "all zero": HEAD + "".join(f"m,t,p{i},10,0\n" for i in range(20)),
    "all solved": HEAD + "".join(f"m,t,p{i},10,10\n" for i in range(20)),
    "one attempt": HEAD + "".join(f"m,t,p{i},1,{i % 2}\n" for i in range(20)),
}


def test_describe_says_what_is_in_a_log(run, counts: Path) -> None:
    done = run("describe", counts)
    assert done.exit_code == 0
    for word in ("counts", "small", "large", "math", "2,400", "tokens"):
        assert word in done.stdout
    assert f"scaling fit {counts} --law beta-binomial --by model -o fit.json" in done.stdout


def next_command(done) -> list[str]:
    """The words of the command that a report ends with."""
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("next ")]
    words = shlex.split(line.removeprefix("next"))
    assert words[0] == "scaling"
    return words[1:]


def test_what_describe_says_next_reads_the_log_in_the_same_way(run, tmp_path: Path) -> None:
    source = tmp_path / "their log.csv"
    rows = "".join(f"m,p{i},{a},{(a < i % 5) / 2}\n" for i in range(30) for a in range(4))
    source.write_text("model,question,attempt,grade\n" + rows)
    renamed = ("--threshold", 0.5, "--map", "question=problem,grade=correct")
    words = next_command(run("describe", source, *renamed))
    assert words[-2:] == ["-o", "fit.json"]
    done = run(*words[:-2], "--interval", "none", "--json")
    assert done.exit_code == 0, done.output


def test_fit_that_is_not_kept_says_how_to_keep_the_same(run, levels: Path, monkeypatch) -> None:
    monkeypatch.chdir(levels.parent)
    source = levels.rename(levels.with_name("a log.csv"))
    args = (
        *("--law", "exponentiated-power", "--by", "level", "--where", "level=hard"),
        *("--objective", "cov", "--interval", "none", "--min-attempts", 20, "--seed", 3),
        *("--map", "tokens=cost_tokens"),
    )
    done = run("fit", source, *args, "--replicates", 1000)
    words = next_command(done)
    assert run(*words).exit_code == 0
    kept = json.loads(Path("fit.json").read_text())
    shown = json.loads(run("fit", source, *args, "--json").stdout)
    assert {**kept, "created": None} == {**shown, "created": None}
    assert "--replicates" not in words  # the default


def test_a_cut_in_the_next_command_of_fit(run, levels: Path) -> None:
    text = levels.read_text().replace("problem,", "problem,size,").splitlines()
    rows = [f"{r.split(',', 1)[0]},{i},{r.split(',', 1)[1]}" for i, r in enumerate(text[1:])]
    levels.write_text("\n".join([text[0], *rows]) + "\n")
    args = ("--law", "beta-binomial", "--by", "size", "--bins", "size=20,60", "--interval", "none")
    words = next_command(run("fit", levels, *args))
    assert words == ["fit", str(levels), *args, "-o", "fit.json"]


def test_fit_by_default_groups_by_model(run, counts: Path) -> None:
    done = run("fit", counts, "--law", "beta-binomial", "--interval", "none", "--json")
    groups = json.loads(done.stdout)["groups"]
    assert [g["by"] for g in groups] == [{"model": "large"}, {"model": "small"}]
    assert all(p["interval"] is None for g in groups for p in g["params"].values())


def test_fit_prints_the_law_the_data_and_the_intervals(run, counts: Path) -> None:
    out = counts.with_name("fit.json")
    done = run("fit", counts, "--law", "beta-binomial", "--replicates", 60, "-o", out)
    document = json.loads(out.read_text())
    assert document["interval"] == {
        "method": "percentile",
        "level": 0.95,
        "replicates": 60,
        "seed": 0,
    }
    said = done.stdout
    for word in ("1 - B(alpha, beta+k)", "likelihood", "95% percentile", "k=30"):
        assert word in said
    assert document["data"]["sha256"][:12] in said
    alpha = document["groups"][0]["params"]["alpha"]
    assert f"{alpha['estimate']:#.4g} [{alpha['interval'][0]:#.3g}, " in said
    # About eight samples of the dearest group, which uses 200 tokens a sample.
    assert f"next        scaling allocate {out} --budget 2000 --unit tokens -o table.json" in said
    assert said.endswith(f"wrote {out}\n")


def test_same_seed_same_bytes(run, counts: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        run("fit", counts, "--law", "beta-binomial", "--replicates", 50, "-o", tmp_path / name)
        texts.append((tmp_path / name).read_bytes())
    other = run("fit", counts, "--law", "beta-binomial", "--replicates", 50, "--seed", 1, "--json")
    assert texts[0] == texts[1]
    assert other.stdout.encode() != texts[0]


def test_json_and_file_hold_the_same(run, counts: Path, tmp_path: Path) -> None:
    done = run(
        *("fit", counts, "--law", "beta-binomial", "--interval", "none", "--json"),
        *("-o", tmp_path / "fit.json"),
    )
    assert done.stdout == (tmp_path / "fit.json").read_text()
    assert done.stderr == f"wrote {tmp_path / 'fit.json'}\n"


def test_standard_input_gives_what_the_file_gives(run, counts: Path) -> None:
    args = ("--law", "beta-binomial", "--interval", "none", "--json")
    by_name = json.loads(run("fit", counts, *args).stdout)
    piped = json.loads(run("fit", "-", *args, stdin=counts.read_bytes()).stdout)
    packed = json.loads(run("fit", "-", *args, stdin=gzip.compress(counts.read_bytes())).stdout)
    assert by_name == piped == packed


def test_shards_by_glob_or_by_name_give_what_the_whole_gives(run, counts: Path) -> None:
    head, *lines = counts.read_text().splitlines(keepends=True)
    for i in range(3):
        counts.with_name(f"shard{i}.csv").write_text("".join([head, *lines[i::3]]))
    args = ("--law", "beta-binomial", "--interval", "none", "--json")
    whole = json.loads(run("fit", counts, *args).stdout)
    for sources in (
        [counts.with_name("shard*.csv")],
        [counts.with_name(f"shard{i}.csv") for i in (2, 0, 1)],
    ):
        assert json.loads(run("fit", *sources, *args).stdout)["groups"] == whole["groups"]


def test_where_keeps_the_rows_of_one_value(run, counts: Path) -> None:
    args = ("--law", "beta-binomial", "--interval", "none", "--json")
    both = json.loads(run("fit", counts, *args).stdout)["groups"]
    one = json.loads(run("fit", counts, *args, "--where", "model=small", "--by", "model").stdout)
    assert one["groups"] == [g for g in both if g["by"] == {"model": "small"}]


def test_by_none_pools(run, counts: Path) -> None:
    done = run(
        *("fit", counts, "--law", "beta-binomial", "--interval", "none", "--by", "none", "--json")
    )
    (group,) = json.loads(done.stdout)["groups"]
    assert group["by"] == {}
    assert "pooled-models" in {c["code"] for c in group["cautions"]}


def test_map_renames_columns(run, counts: Path) -> None:
    theirs = counts.with_name("theirs.csv")
    rest = counts.read_text().partition("\n")[2]
    theirs.write_text("llm,task,question,total,right,tokens\n" + rest)
    args = ("--law", "beta-binomial", "--interval", "none", "--json")
    done = run(
        *("fit", theirs, *args, "--map", "llm=model,question=problem"),
        *("--map", "total=n,right=c"),
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads(run("fit", counts, *args).stdout)


@pytest.mark.parametrize(
    ("spec", "cuts"), [("difficulty=.5", [0.5]), ("difficulty:q3", None), ("difficulty=.3,.6", 2)]
)
def test_bins(run, tmp_path: Path, spec: str, cuts: object) -> None:
    rng = np.random.default_rng(2)
    path = tmp_path / "counts.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["problem", "difficulty", "n", "c"])
        for i, d in enumerate(rng.uniform(size=90)):
            out.writerow([f"p{i}", round(d, 6), 20, rng.binomial(20, rng.beta(1, 1 + 3 * d))])
    args = ("fit", path, "--law", "beta-binomial", "--interval", "none", "--by", "difficulty")
    refused = run(*args)
    assert refused.exit_code == 2
    assert "--bins" in refused.stderr
    document = json.loads(run(*args, "--bins", spec, "--json").stdout)
    points = document["bins"]["difficulty"]
    assert [g["by"]["difficulty"] for g in document["groups"]] == list(range(len(points) + 1))
    if isinstance(cuts, list):
        assert points == cuts
    assert sum(g["n_problems"] for g in document["groups"]) == 90


# Ten attempts at one problem have a curve, which a curve law describes: the next test.
@pytest.mark.parametrize(
    ("what", "law"),
    [(what, "beta-binomial") for what in DEGENERATE]
    + [(what, "exponentiated-power") for what in DEGENERATE if what != "one problem"],
)
def test_nothing_identified_exits_3_with_a_document(run, tmp_path, what: str, law: str) -> None:
    source, out = tmp_path / "counts.csv", tmp_path / "fit.json"
    source.write_text(DEGENERATE[what])
    done = run("fit", source, "--law", law, "--replicates", 50, "-o", out)
    assert done.exit_code == 3, done.output
    assert "no group is usable" in done.stderr
    assert "Traceback" not in done.output
    (group,) = json.loads(out.read_text(), parse_constant=pytest.fail)["groups"]
    assert group["status"] != "ok"
    for p in group["params"].values():
        assert p["estimate"] is None
        assert p["interval"] is None
    assert {c["code"] for c in group["cautions"]} & {"not-identified", "not-converged"}

    predicted = run("predict", out, "--at", "samples=2", "--json")
    assert predicted.exit_code == 3
    row = json.loads(predicted.stdout)["groups"][0]["predictions"][0]
    assert (row["estimate"], row["interval"]) == (None, None)
    assert row["reason"]

    table = tmp_path / "table.json"
    allocated = run("allocate", out, "--budget", 4, "--unit", "samples", "-o", table)
    assert allocated.exit_code == 3
    assert not table.exists()


def test_one_problem_has_no_invented_interval(run, tmp_path: Path) -> None:
    source = tmp_path / "counts.csv"
    source.write_text(DEGENERATE["one problem"])
    done = run("fit", source, "--law", "exponentiated-power", "--replicates", 50, "--json")
    (group,) = json.loads(done.stdout)["groups"]
    assert all(p["interval"] is None for p in group["params"].values())
    assert group["cautions"]


def test_strict_exits_3_where_one_group_is_not_usable(run, counts: Path) -> None:
    with counts.open("a") as file:
        file.writelines(f"none,math,p{i},30,0,3000\n" for i in range(20))
    args = ("fit", counts, "--law", "beta-binomial", "--interval", "none")
    assert run(*args).exit_code == 0
    strict = run(*args, "--strict")
    assert strict.exit_code == 3
    assert "model=none" in strict.stderr


def test_predict_marks_what_lies_beyond_the_evidence(run, fit: Path) -> None:
    done = run("predict", fit, "--at", "samples=1,30,31", "--json")
    rows = json.loads(done.stdout)["groups"][0]["predictions"]
    assert [r["extrapolated"] for r in rows] == [False, False, True]
    assert all(r["interval"][0] < r["estimate"] < r["interval"][1] for r in rows)
    said = run("predict", fit, "--at", "samples=1,30,31").stdout
    assert said.count("extrapolated by forecast") == 2  # one a group


def test_predict_target_is_where_the_law_reaches_it(run, fit: Path) -> None:
    found = json.loads(run("predict", fit, "--target", "0.5", "--json").stdout)
    assert found["quantity"] == "samples"
    for group in found["groups"]:
        k = group["predictions"][0]["estimate"]
        at = json.loads(
            run("predict", fit, "--at", f"samples={k},{max(1, k - 1)}", "--json").stdout
        )
        (same,) = [g for g in at["groups"] if g["by"] == group["by"]]
        here, before = (p["estimate"] for p in same["predictions"])
        assert here >= 0.5
        assert before < 0.5 or k == 1


def test_predict_benchmark_differs_from_population(run, fit: Path) -> None:
    rows = {
        estimand: json.loads(
            run("predict", fit, "--at", "samples=8", "--estimand", estimand, "--json").stdout
        )["groups"][0]["predictions"][0]
        for estimand in ("population", "benchmark")
    }
    assert rows["benchmark"]["estimand"] == "benchmark"
    widths = {k: r["interval"][1] - r["interval"][0] for k, r in rows.items()}
    assert widths["benchmark"] < widths["population"]


@pytest.mark.reference
def test_brown2024_prints_the_published_coefficients(run, reference_data: Path) -> None:
    # Brown et al. (2024), figure 5: a, b and the error of Pythia-70M and Pythia-12B on MATH.
    source = reference_data / "coverage" / "monkeys_pythia_math_counts.csv"
    done = run(
        *("fit", source, "--law", "exponentiated-power", "--preset", "brown2024"),
        *("--by", "model", "--interval", "none"),
    )
    assert done.exit_code == 0, done.output
    for model, a, b in (("Pythia 70M", "-7.59", "-0.18"), ("Pythia 12B", "-3.92", "-0.35")):
        line = next(x for x in done.stdout.splitlines() if x.strip().startswith(model))
        cells = line.removeprefix(" " + model).split()
        assert [f"{float(x):.2f}" for x in cells[2:4]] == [a, b]
