"""Verdicts in the order of attempts, read again from the log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.data import read
from scaling.data.outcomes import Outcomes, ordered_outcomes
from scaling.errors import InputError, UsageError
from scaling.fitting.drift import attempt_drift_test


def log(seed: int = 0) -> pd.DataFrame:
    """Two models, three problems, two temperatures, seven attempts; some failed, in no order."""
    rng = np.random.default_rng(seed)
    rows = [
        (model, f"p{problem}", temperature, attempt, int(rng.random() < 0.4), failed)
        for model in ("a", "b")
        for problem in range(3)
        for temperature in (0.2, 0.8)
        for attempt in range(7)
        for failed in ["timeout" if rng.random() < 0.1 else ""]
    ]
    columns = ["model", "problem", "temperature", "attempt", "correct", "error"]
    return pd.DataFrame(rows, columns=columns).sample(frac=1, random_state=seed)


def expected(table: pd.DataFrame) -> list[bool]:
    kept = table[table.error == ""].sort_values(["model", "problem", "temperature", "attempt"])
    return [bool(x) for x in kept.correct]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_order_is_that_of_the_attempts(tmp_path: Path, suffix: str) -> None:
    table = log()
    path = tmp_path / f"log.{suffix}"
    if suffix == "csv":
        table.to_csv(path, index=False)
    else:
        table.to_parquet(path, index=False)
    sweep = read(path)
    found = ordered_outcomes(sweep)
    assert found.bits.tolist() == expected(table)
    numbers = sweep.statistics.numbers
    assert np.diff(found.indptr).tolist() == numbers["n"].tolist()
    assert len(found) == 12
    for column, key in sweep.statistics.keys.items():
        assert list(found.keys[column].values) == list(key.values)


def test_a_table_in_memory_is_given_itself() -> None:
    table = log()
    assert ordered_outcomes(table).bits.tolist() == expected(table)
    with pytest.raises(UsageError, match="give the log itself"):
        ordered_outcomes(read(table))


def test_groups_take_models_apart() -> None:
    table = log()
    parts = {str(by["model"]): part for by, part in ordered_outcomes(table).groups()}
    for model, part in parts.items():
        assert part.bits.tolist() == expected(table[table.model == model])
    whole = list(ordered_outcomes(table).groups([]))
    assert [(by, len(part)) for by, part in whole] == [({}, 12)]
    with pytest.raises(UsageError, match="Did you mean 'temperature'"):
        list(ordered_outcomes(table).groups(["temprature"]))


def test_options_of_the_sweep_are_used_again(tmp_path: Path) -> None:
    table = log().rename(columns={"correct": "grade"})
    table["grade"] = np.where(table.grade == 1, 0.75, 0.25)
    path = tmp_path / "log.csv"
    table.to_csv(path, index=False)
    sweep = read(path, rename={"grade": "correct"}, threshold=0.5)
    assert ordered_outcomes(sweep).bits.tolist() == expected(log())


def test_without_numbers_the_order_is_that_of_the_file(tmp_path: Path) -> None:
    table = pd.DataFrame({"problem": list("babab"), "correct": [1, 0, 0, 1, 0]})
    path = tmp_path / "log.csv"
    table.to_csv(path, index=False)
    found = ordered_outcomes(path)
    assert list(found.keys["problem"].values) == ["a", "b"]
    assert found.bits.tolist() == [False, True, True, False, False]
    table.to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(InputError, match="Number the attempts"):
        ordered_outcomes([path, tmp_path / "more.csv"])


def test_a_problem_without_a_verdict_has_no_outcomes() -> None:
    table = pd.DataFrame(
        {
            "problem": ["a", "b", "b", "c"],
            "attempt": [0, 0, 1, 0],
            "correct": [1.0, None, None, 0.0],
        }
    )
    found = ordered_outcomes(table)
    assert found.indptr.tolist() == [0, 1, 1, 2]
    assert found.bits.tolist() == [True, False]


def test_counts_have_no_order(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds counts"):
        ordered_outcomes(pd.DataFrame({"problem": ["a"], "n": [3], "c": [1]}))
    path = tmp_path / "log.csv"
    log().to_csv(path, index=False)
    saved = read(path).save(tmp_path / "sweep.parquet")
    with pytest.raises(InputError, match="keeps counts"):
        ordered_outcomes(read(saved))


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    table = log()
    path = tmp_path / "log.csv"
    table.to_csv(path, index=False)
    sweep = read(path)
    table.assign(correct=1 - table.correct).to_csv(path, index=False)
    with pytest.raises(InputError, match="has changed"):
        ordered_outcomes(sweep)


def test_the_stop_rule_comes_along() -> None:
    table = pd.DataFrame(
        {
            "problem": list("aab"),
            "attempt": [0, 1, 0],
            "correct": [0, 1, 1],
            "stop_rule": "until_success",
        }
    )
    found = ordered_outcomes(table)
    assert found.stop_rule == "until_success"
    with pytest.raises(InputError, match="order says nothing"):
        attempt_drift_test(found.bits, found.indptr, stop_rule=found.stop_rule)
    assert ordered_outcomes(log()).stop_rule is None
    mixed = ordered_outcomes(table.assign(stop_rule=["fixed", "fixed", "until_success"]))
    assert isinstance(mixed, Outcomes)
    with pytest.raises(InputError, match="several rules"):
        _ = mixed.stop_rule


@pytest.mark.reference
def test_real_outcomes_survive_the_trip(reference_data: Path, tmp_path: Path) -> None:
    packed = np.load(reference_data / "coverage" / "monkeys_pythia_math_outcomes_packed.npz")
    bits = np.unpackbits(packed["bits"][2], axis=1)[:, :200]
    table = pd.DataFrame(
        {
            "problem": np.repeat(packed["problems"], 200),
            "attempt": np.tile(np.arange(200), len(bits)),
            "correct": bits.ravel(),
        }
    )
    table.to_parquet(tmp_path / "log.parquet", index=False)
    found = ordered_outcomes(read(tmp_path / "log.parquet"))
    order = np.argsort(packed["problems"].astype(str), kind="stable")
    np.testing.assert_array_equal(found.bits, bits[order].ravel().astype(bool))
    drift = attempt_drift_test(found.bits, found.indptr, stop_rule=found.stop_rule)
    assert drift == attempt_drift_test(bits[order])
