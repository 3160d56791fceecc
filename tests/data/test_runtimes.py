"""Runtime rows: what is read, refused, described and split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scaling
from scaling.data import read
from scaling.errors import InputError, UsageError


def rows(**columns: list[object]) -> pd.DataFrame:
    base = {"model": ["a", "b"], "num_input_tokens": [10, 20], "num_output_tokens": [1, 2]}
    return pd.DataFrame(base | {"runtime_s": [0.5, 1.5]} | columns)


def test_milliseconds_become_seconds_aloud():
    frame = rows().drop(columns="runtime_s").assign(latency_ms=[500.0, 1500.0])
    sweep = read(frame)
    assert sweep.statistics.numbers["runtime_s"].tolist() == [0.5, 1.5]
    assert any("milliseconds" in note for note in sweep.report.notes)
    assert sweep.sha256 == read(rows()).sha256
    with pytest.raises(InputError, match="two units"):
        read(rows(latency_ms=[500.0, 1500.0]))


def test_digest_does_not_depend_on_the_order_of_rows():
    assert read(rows()).sha256 == read(rows().iloc[[1, 0]].copy()).sha256
    assert read(rows()).sha256 != read(rows(runtime_s=[0.5, 1.6])).sha256


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("runtime_s", 0.0, "above zero"),
        ("runtime_s", -1.0, "negative"),
        ("runtime_s", None, "has a value for runtime_s"),
        ("num_input_tokens", float("inf"), "finite"),
        ("tp", 0, "above zero"),
        ("batch", "two", "finite number"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, column, value, said):
    frame = rows(**{column: [1, value]})
    frame.to_csv(tmp_path / "log.csv", index=False)
    with pytest.raises(InputError, match=said) as caught:
        read(tmp_path / "log.csv")
    assert "line 3" in str(caught.value) or "row" in str(caught.value)


def test_describe_names_sizes_and_the_law():
    about = read(rows()).describe()
    assert about["sizes"]["input_tokens"] == {"min": 10.0, "max": 20.0, "distinct": 2}
    assert "--law idealized-runtime --by model" in about["next"]
    steps = rows().drop(columns=["num_input_tokens", "num_output_tokens"])
    assert "kinetics-cost" in read(steps.assign(batch=[1, 2], context=[8, 9])).describe()["next"]
    assert "add the sizes" in read(steps).describe()["next"]


def test_groups_by_model_hardware_and_sizes():
    frame = rows(hardware=["x", "y"], tp=[1, 2])
    groups = read(frame).runtimes()
    assert [g.by for g in groups] == [
        {"model": "a", "hardware": "x"},
        {"model": "b", "hardware": "y"},
    ]
    assert (groups[0].model, groups[0].hardware) == ("a", "x")
    assert groups[0].seconds.tolist() == [0.5]
    assert [g.by["tp"] for g in read(frame).runtimes(["tp"])] == [1.0, 2.0]
    (one,) = read(frame).runtimes([], where={"tp": 2})
    assert one.inputs["input_tokens"].tolist() == [20]
    (both,) = read(frame).runtimes([])
    assert both.model is None
    with pytest.raises(UsageError, match="no column 'modle'"):
        read(frame).runtimes(["modle"])


def test_laws_and_rows_that_do_not_go_together_are_refused():
    counts = pd.DataFrame({"problem": ["p"], "n": [3], "c": [1]})
    with pytest.raises(UsageError, match="measured runtimes"):
        scaling.fit(read(counts), "idealized-runtime")
    with pytest.raises(UsageError, match="idealized-runtime"):
        scaling.fit(read(rows()), "beta-binomial")
    with pytest.raises(UsageError, match="no attempts"):
        scaling.fit(read(rows()), "idealized-runtime", min_attempts=3)


def test_saved_and_merged(tmp_path: Path):
    sweep = read(rows())
    again = read(sweep.save(tmp_path / "r.parquet"))
    assert again.sha256 == sweep.sha256
    assert np.allclose(sweep.merge(again).statistics.numbers["runtime_s"].sum(), 4.0)
