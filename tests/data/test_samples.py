"""The synthetic sweep: seeded, labelled, and of the published laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from scaling.data import Counts, read
from scaling.data.samples import levels, write
from scaling.data.samples.levels import LAW, TOKENS
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    one, other, third = (tmp_path / f"{i}.csv" for i in range(3))
    write(one)
    write(other, seed=0)
    write(third, seed=1)
    assert one.read_bytes() == other.read_bytes() != third.read_bytes()
    write(tmp_path / "x.parquet")
    write(tmp_path / "x.csv.gz")
    digests = {read(tmp_path / name).sha256 for name in ("0.csv", "x.parquet", "x.csv.gz")}
    assert len(digests) == 1


def test_rates_and_lengths_are_those_of_the_laws() -> None:
    columns = levels(seed=4)
    assert {len(values) for values in columns.values()} == {76_800}
    assert all("synthetic" in name for name in np.unique(columns["model"]))
    for (level, model), (a, _) in LAW.items():
        rows = (columns["level"] == level) & (columns["model"] == model)
        rate = columns["correct"][rows].reshape(200, 64).mean(axis=1)
        # four standard errors, with problems as the units
        assert abs(rate.mean() - np.exp(a)) < 4 * rate.std() / np.sqrt(200)
        tokens = columns["output_tokens"][rows]
        assert tokens.mean() == pytest.approx(TOKENS[level, model], rel=0.03)
        assert tokens.min() >= 1


def test_a_problem_is_as_hard_for_both_models(tmp_path: Path) -> None:
    path = write(tmp_path / "log.csv")
    large, small = read(path).groups(["model"], where={"level": "easy"})
    assert isinstance(large, Counts)
    assert isinstance(small, Counts)
    assert large.problem.tolist() == small.problem.tolist()
    assert np.corrcoef(large.c, small.c)[0, 1] > 0.6
    names = read(path).to_frame().groupby("problem")["level"].nunique()
    assert (names == 1).all()


def test_bad_targets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose one of these"):
        write(tmp_path / "x.txt")
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "nowhere" / "x.csv")
    assert list(tmp_path.iterdir()) == []
