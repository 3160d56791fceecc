"""What `read` takes, and that the form of a log never changes its evidence."""

from __future__ import annotations

import gzip
import io
import json
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scaling.data import Counts, read
from scaling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from scaling.data import Sweep


@pytest.fixture
def log() -> pd.DataFrame:
    """600 attempts on 20 problems by two models, with everything that a log can hold."""
    rng = np.random.default_rng(3)
    n = 600
    frame = pd.DataFrame(
        {
            "model": np.tile(np.repeat(["007", "large"], 15), 20),
            "problem": np.repeat(np.arange(20), 30),
            "attempt": np.tile(np.arange(15), 40),
            "correct": rng.integers(0, 2, n).astype(float),
            "output_tokens": rng.integers(1, 99, n),
            "cost_usd": rng.random(n),
            "level": np.repeat(rng.choice(["easy", "hard"], 20), 30),
            "difficulty": np.repeat(rng.random(20), 30),
            "truncated": rng.random(n) < 0.1,
            "error": np.where(rng.random(n) < 0.05, "timeout", ""),
        }
    )
    frame.loc[3, "correct"] = np.nan
    return frame


def _equal(one: Sweep, other: Sweep) -> None:
    assert one.sha256 == other.sha256
    pd.testing.assert_frame_equal(one.to_frame(), other.to_frame(), rtol=1e-12)


@pytest.mark.parametrize("form", ["shuffled", "reversed", "polars", "arrow", "stream", "columns"])
def test_frames_agree(log: pd.DataFrame, form: str) -> None:
    rows = {c: log[c].tolist() for c in log} | {
        "correct": [None if np.isnan(v) else v for v in log["correct"]]
    }
    table = {
        "shuffled": lambda: log.sample(frac=1, random_state=1),
        "reversed": lambda: log[::-1],
        "polars": lambda: pl.DataFrame(rows),
        "arrow": lambda: pa.table(rows),
        "stream": lambda: pa.table(rows).to_reader(max_chunksize=50),
        "columns": lambda: log[sorted(log)],
    }[form]()
    _equal(read(table), read(log))


@pytest.mark.parametrize("form", [pl.DataFrame, pa.table, pd.DataFrame])
def test_a_column_without_any_value_is_empty(form: Callable[..., object]) -> None:
    sweep = read(form({"problem": ["a"], "attempt": [0], "correct": [1], "level": [None]}))
    assert sweep.report.notes == ("column 'level' is empty: left out",)


@pytest.mark.parametrize(
    "name", ["x.csv", "x.csv.gz", "x.parquet", "x.jsonl", "x.jsonl.gz", "x.tsv"]
)
def test_files_agree(log: pd.DataFrame, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if ".jsonl" in name:
        rows = [
            {k: None if v != v else v for k, v in row.items()}  # noqa: PLR0124 (not a number)
            for row in log.to_dict("records")
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    elif name == "x.parquet":
        log.to_parquet(path)
    else:
        log.to_csv(path, index=False, sep="\t" if name == "x.tsv" else ",")
    sweep = read(path)
    _equal(sweep, read(log))
    assert sweep.sources == (str(path),)
    assert sweep.kind == "attempts"
    assert sweep.rows == 600


def test_what_is_missing_is_counted_not_wrong(log: pd.DataFrame) -> None:
    sweep = read(log)
    failed = log["error"] != ""
    verdict = log["correct"].notna() & ~failed
    assert sweep.report.missing == int((~verdict).sum())
    assert sweep.report.truncated == int(log["truncated"].sum())
    assert int(sweep.statistics.numbers["n"].sum()) == int(verdict.sum())
    assert int(sweep.statistics.numbers["c"].sum()) == int(log["correct"][verdict].sum())
    tokens = int(log["output_tokens"][~failed].sum())
    assert sweep.statistics.numbers["tokens"].sum() == tokens
    squares = (log["output_tokens"][~failed] ** 2).sum()
    assert sweep.statistics.numbers["tokens_sq"].sum() == squares
    np.testing.assert_allclose(
        sweep.statistics.numbers["usd"].sum(), log["cost_usd"][~failed].sum(), rtol=1e-9
    )
    assert sweep.class_columns == ("difficulty", "level")


@pytest.mark.parametrize("kind", ["attempts", "counts"])
def test_what_is_true_or_false_is_one_label_in_every_form(tmp_path: Path, kind: str) -> None:
    about = {"correct": [1, 0, 1, 0]} if kind == "attempts" else {"n": [9] * 4, "c": [1] * 4}
    code = [True, False, None, True]
    frame = pl.DataFrame({"model": ["True", "b"] * 2, "problem": list("abcd"), **about})
    log = frame.with_columns(code=pl.Series(code), same=pl.Series([True] * 4))
    log.write_parquet(tmp_path / "x.parquet")
    log.write_ndjson(tmp_path / "x.jsonl")
    log.to_pandas().to_csv(tmp_path / "x.csv", index=False)
    loud = [None if value is None else str(value).upper() for value in code]
    sweeps = [read(tmp_path / name) for name in ("x.parquet", "x.jsonl", "x.csv")]
    sweeps += [read(log.to_pandas()), read(log.with_columns(code=pl.Series(loud)))]
    for sweep in sweeps:
        assert sweep.sha256 == sweeps[0].sha256
        assert sweep.describe()["class_columns"]["code"]["values"] == ["false", "true"]
        assert sweep.describe()["class_columns"]["same"]["values"] == ["true"]
        assert sweep.describe()["models"] == ["True", "b"]  # a name stays as it is
        for asked in (True, "True", "true"):
            (group,) = sweep.groups(["code"], where={"code": asked})
            assert isinstance(group, Counts)
            assert group.problem.tolist() == ["a", "d"]


def test_true_in_two_spellings_is_one_problem(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("problem,correct,code\na,1,True\na,0,true\nb,1,false\n")
    assert read(path).statistics.numbers["n"].tolist() == [2, 1]
    path.write_text("problem,n,c,code\na,2,1,True\nb,2,1,false\na,2,1,true\n")
    with pytest.raises(InputError, match=r"row 1 \(line 2\) and .*row 3 \(line 4\): .*code=true"):
        read(path)


def test_glob_list_and_standard_input(
    log: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [log.iloc[:100], log.iloc[100:350], log.iloc[350:]]
    for index, part in enumerate(parts):
        part.to_csv(tmp_path / f"part{index}.csv", index=False)
    whole = read(log)
    _equal(read(str(tmp_path / "part*.csv")), whole)
    _equal(read([tmp_path / f"part{index}.csv" for index in (2, 0, 1)]), whole)
    text = log.to_csv(index=False).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    _equal(read("-"), whole)


def test_files_may_lack_a_column_and_the_report_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("problem,n,c,tokens\na,4,1,80\n")
    (tmp_path / "b.csv").write_text("c,problem,n\n2,b,4\n")
    sweep = read(str(tmp_path / "*.csv"))
    assert any("tokens" in note and "b.csv" in note for note in sweep.report.notes)
    (group,) = sweep.groups()
    assert isinstance(group, Counts)
    assert group.c.tolist() == [1, 2]
    assert group.resources["tokens"].mean == 20
    assert group.resources["tokens"].n == 4


def test_csv_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(
        b'\xef\xbb\xbfmodel,problem,n,c,note\r\n007,"a, ""b""",10,2,\r\n1e3,"c\nd",10,3,\r\n\r\n'
    )
    sweep = read(path)
    assert sweep.to_frame()["model"].tolist() == ["007", "1e3"]
    assert sweep.to_frame()["problem"].tolist() == ['a, "b"', "c\nd"]
    assert any("'note' is empty" in note for note in sweep.report.notes)


def test_thousands_of_empty_cells_before_the_first_number(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    lines = [f"p{i},10,3,{'' if i < 30_000 else '20'}" for i in range(30_002)]
    path.write_text("problem,n,c,tokens\n" + "\n".join(lines) + "\n")
    (group,) = read(path).groups()
    assert isinstance(group, Counts)
    assert group.resources["tokens"].mean == 2
    assert group.resources["tokens"].n == 20


def test_aliases_and_map(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("question,num_samples,solved,model\na,10,3,m\n")
    sweep = read(path, rename={"question": "problem", "solved": "c"})
    assert sweep.kind == "counts"
    assert sweep.statistics.numbers["c"].tolist() == [3]
    for n, c in (("n", "c"), ("num_samples", "num_correct"), ("attempts", "successes")):
        path.write_text(f"problem,{n},{c}\na,10,3\n")
        assert read(path).statistics.numbers["n"].tolist() == [10]


def test_verdicts_in_words_and_scores_with_a_threshold() -> None:
    rows = {"problem": ["a"] * 4, "attempt": [0, 1, 2, 3]}
    words = read(pl.DataFrame(rows | {"correct": ["true", "False", "1", None]}))
    assert words.statistics.numbers["c"].tolist() == [2]
    assert words.report.missing == 1
    scores = read(pl.DataFrame(rows | {"correct": [0.2, 0.5, 0.9, 1.0]}), threshold=0.5)
    assert scores.statistics.numbers["c"].tolist() == [3]


def test_accepted_attempts_are_counted() -> None:
    frame = pl.DataFrame(
        {
            "problem": ["a"] * 5,
            "attempt": range(5),
            "correct": [1, 0, 1, 0, None],
            "accepted": [True, True, False, None, True],
        }
    )
    numbers = read(frame).statistics.numbers
    assert numbers["n"].tolist() == [4]
    assert numbers["accepted"].tolist() == [2]
    assert numbers["accepted_correct"].tolist() == [1]


def test_settings_split_rows_and_traces_are_left_out() -> None:
    frame = pl.DataFrame(
        {
            "problem": ["a"] * 60,
            "attempt": [i // 2 for i in range(60)],
            "temperature": [0.7, 1.0] * 30,
            "seed": list(range(60)),
            "prompt": ["long " * 100] * 60,
            "messages": [[1, 2]] * 60,
            "correct": [1, 0] * 30,
        }
    )
    sweep = read(frame)
    assert sweep.class_columns == ("temperature",)
    assert sweep.statistics.numbers["n"].tolist() == [30, 30]
    notes = " ".join(sweep.report.notes)
    for column in ("seed", "prompt", "messages"):
        assert f"'{column}'" in notes
    (pooled,) = sweep.groups()
    assert isinstance(pooled, Counts)
    assert pooled.pooled == ("temperature",)
    assert pooled.n.tolist() == [60]


def test_attempts_without_numbers_are_read_aloud(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("problem,correct\na,1\na,1\n")
    sweep = read(path)
    assert any("no column 'attempt'" in note for note in sweep.report.notes)
    assert sweep.statistics.numbers["n"].tolist() == [2]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["x", "y"]), st.text("abcé ,\"'", min_size=1, max_size=3)),
        st.lists(st.booleans(), min_size=1, max_size=6),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_attempts_and_their_counts_are_one_sweep(
    outcomes: dict[tuple[str, str], list[bool]], random: object
) -> None:
    rows = [
        (model, problem, attempt, int(correct))
        for (model, problem), verdicts in outcomes.items()
        for attempt, correct in enumerate(verdicts)
    ]
    random.shuffle(rows)  # type: ignore[attr-defined]
    attempts = pl.DataFrame(rows, ["model", "problem", "attempt", "correct"], orient="row")
    counts = pl.DataFrame(
        [(model, problem, len(v), sum(v)) for (model, problem), v in outcomes.items()],
        ["model", "problem", "n", "c"],
        orient="row",
    )
    one, other = read(attempts), read(counts)
    assert one.sha256 == other.sha256
    for a, b in zip(one.groups(["model"]), other.groups(["model"]), strict=True):
        assert isinstance(a, Counts)
        assert isinstance(b, Counts)
        assert a.by == b.by
        np.testing.assert_array_equal(a.problem, b.problem)
        np.testing.assert_array_equal(a.n, b.n)
        np.testing.assert_array_equal(a.c, b.c)


@pytest.mark.reference
def test_real_counts(reference_data: Path) -> None:
    folder = reference_data / "coverage"
    sweep = read(folder / "monkeys_pythia_math_counts.csv")
    assert sweep.kind == "counts"
    assert [group.by for group in sweep.groups()] == [
        {"model": f"Pythia {size}"} for size in ("12B", "160M", "70M")
    ]
    small = sweep.groups()[1]
    assert isinstance(small, Counts)
    assert len(small.n) == 128
    assert set(small.n.tolist()) == {10_000}
    # Brown et al. (2024), section 3.1: pass@1 of Pythia-160M on MATH is 0.27 %, pass@10k 57 %
    assert np.mean(small.c / small.n) == pytest.approx(0.002673, abs=5e-7)
    assert np.mean(small.c > 0) == pytest.approx(0.5703, abs=5e-5)
    checkpoints = read(folder / "pythia_checkpoints_math_counts.csv.gz")
    assert checkpoints.rows == 9097
    assert len(checkpoints.groups()) == 72


@pytest.mark.reference
def test_real_attempts_and_counts_agree(reference_data: Path) -> None:
    folder = reference_data / "coverage"
    packed = np.load(folder / "monkeys_codecontests_outcomes_packed.npz")
    models, problems = packed["models"], packed["problems"]
    bits = np.unpackbits(packed["bits"].reshape(-1, packed["bits"].shape[-1]), axis=1)
    n = 500
    rows = bits[: len(problems), :n]
    log = pa.table(
        {
            "task": pa.array(["CodeContests"] * rows.size),
            "model": pa.array([str(models[0])] * rows.size),
            "problem": np.repeat(problems[0] if problems.ndim > 1 else problems, n),
            "attempt": np.tile(np.arange(n), len(rows)),
            "correct": rows.ravel(),
        }
    )
    sweep = read(log)
    counts = pl.DataFrame(
        {
            "task": "CodeContests",
            "model": str(models[0]),
            "problem": (problems[0] if problems.ndim > 1 else problems).tolist(),
            "n": n,
            "c": rows.sum(axis=1).tolist(),
        }
    )
    assert sweep.sha256 == read(counts).sha256
