"""Bad input: one message that says what, where, what is allowed and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scaling.data import read
from scaling.errors import InputError, UsageError

H = "model,problem,n,c\n"
A = "problem,attempt,correct,output_tokens\n"
ROWS_THEN_TEXT = H + "".join(f"a,{i},10,2\n" for i in range(3000)) + "a,z,ten,2\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ["the file is empty"]),
        ("\n\n", ["the file is empty"]),
        (H, ["header but no row"]),
        (A, ["header but no row"]),
        (
            "model,problem,num_sample,c\na,1,2,1\n",
            ["'n'", "num_sample, c", "Did you mean 'num_sam"],
        ),
        ("model,n,c\na,1,1\n", ["no column 'problem'", "model, n, c"]),
        ("problem,corect\n1,1\n", ["'correct'", "Did you mean 'corect'"]),
        ("problem,attempt,corect\n1,0,1\n", ["no column 'correct'", "Did you mean 'corect'"]),
        ("problem,attempt,passed\n1,0,1\n", ["no column 'correct'"]),
        ("problem,num_sampls,num_corect\n1,2,1\n", ["no column 'n'", "mean 'num_sampls'"]),
        ("problm,corect\n1,1\n", ["no column 'problem'", "Did you mean 'problm'"]),
        ("model,acuracy\na,.5\n", ["no column 'accuracy'", "Did you mean 'acuracy'"]),
        ("foo,bar\n1,2\n", ["no rows of a sweep", "foo, bar"]),
        (H + "a,1,10,2\na,2,10,12\n", ["row 2 (line 3)", "c is '12'", "n is '10'"]),
        (H + "a,1,-10,2\n", ["row 1 (line 2)", "n is '-10'", "whole number"]),
        (H + "a,1,10,2.5\n", ["c is '2.5'", "whole number"]),
        (H + "a,1,nan,2\n", ["n is 'nan'"]),
        (H + "a,1,10,inf\n", ["c is 'inf'"]),
        (H + "a,1,1e300,1\n", ["n is '1e300'"]),
        (H + "a,1,,2\n", ["n is empty"]),
        (H + "a,,3,2\n", ["problem is empty"]),
        (ROWS_THEN_TEXT, ["row 3001 (line 3002)", "n is 'ten'"]),
        (H + '"a\nb",1,10,2\na,1,x,2\n', ["row 2 (line 4)", "n is 'x'"]),
        (H + "a,1,10,2\nb,1,10,2\na,1,10,3\n", ["row 1 (line 2)", "row 3 (line 4)", "model=a"]),
        (H + "a,1,10,2\na,2,10\n", ["line 3", "3 fields", "4"]),
        (H + "a,1,10,2,5\n", ["line 2", "5 fields", "4"]),
        (H + 'a,"1,10,2\n', ["line 2", "quote"]),
        ("problem,n,num_samples,c\n1,2,2,1\n", ["two spellings of 'n'", "num_samples"]),
        ("problem,n,n,c\n1,2,2,1\n", ["'n' stands twice"]),
        ("problem,N,n,c\n1,2,2,1\n", ["differ in case only"]),
        ("problem,,n,c\n1,2,2,1\n", ["column 2", "no name"]),
        ("problem,n,c,correct\n1,2,1,1\n", ["one kind of rows", "--map"]),
        ("problem,n,correct\n1,2,1\n", ["--map correct=c", "--map n=other"]),
        ("level,samples,value\na,1,.5\n", ["a menu, not a sweep"]),
        ("model,problem,n,c,cluster\na,1,2,1,x\nb,1,2,1,y\n", ["clusters 'x' and 'y'"]),
        (
            "problem,n,c,stop_rule\n1,2,1,fixd\n",
            ["'fixd'", "until_success", "Did you mean 'fixed'"],
        ),
        ("problem,n,c,tokens\n1,2,1,-5\n", ["tokens is '-5'"]),
        ("problem,n,c,accepted\n1,2,1,3\n", ["accepted is '3'"]),
        ("problem,n,c,thinking_tokens\n1,2,1,many\n", ["thinking_tokens is 'many'"]),
        (A + "1,0,0.5,9\n", ["correct is '0.5'", "--threshold"]),
        (A + "1,0,yes,9\n", ["correct is 'yes'", "true, false"]),
        (A + "1,0,nan,9\n", ["correct is 'nan'"]),
        (A + "1,0,1,-3\n", ["output_tokens is '-3'"]),
        (A + "1,0,1,1e30\n", ["output_tokens is '1e30'", "too large"]),
        (A + ",0,1,3\n", ["problem is empty"]),
        (A + "1,,1,3\n", ["attempt is empty"]),
        (
            A + "1,0,1,3\n1,1,0,3\n1,0,1,3\n",
            ["row 1 (line 2)", "row 3 (line 4)", "attempt=0", "2 times"],
        ),
        (A + "1,x,1,3\n1,y,0,3\n1,x,1,3\n", ["attempt=x", "2 times"]),
        ("problem,attempt,correct,output_tokens,reasoning_tokens\n1,0,1,3,4\n", ["cannot exceed"]),
        ("samples,accuracy\n1,50\n", ["accuracy is '50'", "between 0 and 1"]),
        ("samples,accuracy\n1,.5\n1,.6\n", ["the point samples=1", "more than once"]),
        ("samples,accuracy\n,.5\n", ["samples is empty"]),
        ("accuracy,foo\n.5,1\n", ["no knob column", "samples"]),
        ("samples,accuracy,score\n1,.5,.5\n", ["two spellings of 'accuracy'"]),
    ],
)
def test_messages(tmp_path: Path, content: str, said: list[str]) -> None:
    path = tmp_path / "sweep.csv"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "sweep.csv" in message
    assert "\n" not in message
    for part in said:
        assert part in message
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.csv"]


@pytest.mark.parametrize(
    "content",
    [
        np.random.default_rng(0).bytes(3000),
        b"PK\x03\x04" + bytes(100),
        b"PAR1" + bytes(300),
        b"\x1f\x8bxxxx",
        "problem,n,c\né,1,1\n".encode("latin1"),
        b"problem,n,c\n" + b"a,1,1\n" * 20_000 + b"\xff\xfe,1,1\n",
        b'{"problem": 1, "n": 2, "c": 1}\n{"problem":\n',
        b"[1, 2]\n",
        b"{}\n",
        b'\xef\xbb\xbf{"problem": 1, "n": 2, "c": 1}\n',
        b'[{"problem": 1, "n": 2, "c": 1}]\n',
    ],
    ids=[
        "noise",
        "zip",
        "parquet",
        "gzip",
        "latin1",
        "late latin1",
        "cut json",
        "array",
        "nothing",
        "mark",
        "objects",
    ],
)
def test_rubbish_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sweep.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(path)
    assert "sweep.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_of_json_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"problem": "a", "n": 2, "c": 1}\n{"problem": "b", "n": 2, "c": 3}\n')
    with pytest.raises(InputError, match="row 2: c is '3' and n is '2'"):
        read(path)


def test_rows_of_frames_are_named() -> None:
    with pytest.raises(InputError, match="the frame: row 2: n is '-1'"):
        read(pl.DataFrame({"problem": ["a", "b"], "n": [1, -1], "c": [0, 0]}))
    with pytest.raises(InputError, match="n is empty"):
        read(pd.DataFrame({"problem": ["a", "b"], "n": [1, None], "c": [0, 0]}))
    with pytest.raises(InputError, match=r"correct is '2'"):
        read(pl.DataFrame({"problem": ["a"], "attempt": [0], "correct": [2]}))
    with pytest.raises(InputError, match="has no text name"):
        read(pd.DataFrame([[1, 2]]))


@pytest.mark.parametrize(
    ("second", "said"), [("correct", "'correct' stands twice"), ("Correct", "differ in case only")]
)
@pytest.mark.parametrize("form", ["pandas", "arrow", "stream", "parquet"])
def test_two_columns_of_one_name(tmp_path: Path, form: str, second: str, said: str) -> None:
    names = ["about", "problem", "attempt", "correct", second]
    table = pa.table([[{"correct": 1, "in": [{"correct": 1}]}], ["a"], [0], [1], [0]], names=names)
    if form == "parquet":
        pq.write_table(table, tmp_path / "x.parquet")
    source = {
        "pandas": lambda: pd.DataFrame([[1, "a", 0, 1, 0]], columns=names),
        "arrow": lambda: table,
        "stream": table.to_reader,
        "parquet": lambda: tmp_path / "x.parquet",
    }[form]
    with pytest.raises(InputError, match=said) as caught:
        read(source())
    assert ("x.parquet" if form == "parquet" else "the frame") in str(caught.value)


def test_fields_of_a_record_are_no_columns(tmp_path: Path) -> None:
    rows = {"about": [{"n": 1, "in": [{"c": 1}]}], "problem": ["a"], "n": [2], "c": [1]}
    pq.write_table(pa.table(rows), tmp_path / "x.parquet")
    assert read(tmp_path / "x.parquet").statistics.numbers["n"].tolist() == [2]


def test_the_bad_file_of_many_is_named(tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.csv").write_text(H + f"a,{index},10,{2 if index < 2 else 20}\n")
    with pytest.raises(InputError, match=r"2\.csv: row 1 \(line 2\): c is '20'"):
        read(str(tmp_path / "*.csv"))
    (tmp_path / "2.csv").write_text(H + "a,1,10,2\n")
    with pytest.raises(InputError, match=r"1\.csv: row 1 .* and .*2\.csv: row 1"):
        read(str(tmp_path / "*.csv"))


def test_sources_that_do_not_exist(tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text(H + "a,1,10,2\n")
    with pytest.raises(InputError, match=r"no such file\. Did you mean 'counts\.csv'"):
        read(tmp_path / "count.csv")
    with pytest.raises(InputError, match="no file matches"):
        read(str(tmp_path / "*.parquet"))
    with pytest.raises(InputError, match="a folder"):
        read(tmp_path)
    with pytest.raises(InputError, match="There is no folder"):
        read(tmp_path / "nowhere" / "x.csv")
    with pytest.raises(InputError, match="named twice"):
        read([tmp_path / "counts.csv", str(tmp_path / "counts.csv")])
    for source in (3, None, [], [3]):
        with pytest.raises(InputError, match=r"paths|give a path"):
            read(source)


def test_options_that_do_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(H + "a,1,10,2\n")
    with pytest.raises(UsageError, match="Did you mean 'counts'"):
        read(path, kind="count")
    with pytest.raises(UsageError, match="threshold"):
        read(path, threshold=0)
    with pytest.raises(InputError, match=r"'modle' that is not there.*Did you mean 'model'"):
        read(path, rename={"modle": "model"})
    with pytest.raises(InputError, match="both called 'n'"):
        read(path, rename={"c": "n"})


def test_the_screen_and_the_exact_check() -> None:
    """Attempts 0, 0, 3, 3 imitate 0, 1, 2, 3 in count, bounds, sum and exclusive or."""
    rows = {"problem": ["a"] * 4, "attempt": [0, 0, 3, 3], "correct": [0, 1, 0, 1]}
    read(pl.DataFrame(rows))
    with pytest.raises(InputError, match="attempt=0 is logged 2 times"):
        read(pl.DataFrame(rows), check_duplicates=True)
    rows["attempt"] = [5, 9, 12, 3]  # gaps are compared exactly, and are no duplicates
    assert read(pl.DataFrame(rows)).statistics.numbers["n"].tolist() == [4]
    rows["attempt"] = [5, 9, 12, 9]
    with pytest.raises(InputError, match="attempt=9 is logged 2 times"):
        read(pl.DataFrame(rows))


@pytest.mark.parametrize("start", [0, 7, 2**31 - 3, 2**63 - 4])
def test_large_attempt_numbers_are_screened(start: int) -> None:
    rows = {"problem": ["a"] * 4, "correct": [0, 1, 0, 1]}
    whole = pl.Series("attempt", [start, start + 1, start + 2, start + 3], dtype=pl.Int64)
    assert read(pl.DataFrame(rows).with_columns(whole)).statistics.numbers["n"].tolist() == [4]
    twice = pl.Series("attempt", [start, start + 1, start + 1, start + 3], dtype=pl.Int64)
    with pytest.raises(InputError, match=f"attempt={start + 1} is logged 2 times"):
        read(pl.DataFrame(rows).with_columns(twice))


def test_attempt_numbers_beyond_64_bits_are_compared_exactly() -> None:
    rows = {"problem": ["a"] * 2, "correct": [0, 1]}
    big = pl.Series("attempt", [2**64 - 1, 2**64 - 2], dtype=pl.UInt64)
    assert read(pl.DataFrame(rows).with_columns(big)).statistics.numbers["n"].tolist() == [2]
    big = pl.Series("attempt", [2**64 - 1, 2**64 - 1], dtype=pl.UInt64)
    with pytest.raises(InputError, match="is logged 2 times"):
        read(pl.DataFrame(rows).with_columns(big))


def test_a_table_without_columns_is_refused() -> None:
    import pandas as pd

    with pytest.raises(InputError, match="it has no column"):
        read(pd.DataFrame())
