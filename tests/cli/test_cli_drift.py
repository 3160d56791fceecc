"""scaling drift by the command line."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest


@pytest.fixture
def attempts(tmp_path):
    """Writes attempt rows whose success rate moves by `slope` from first to last attempt."""

    def write(slope, name="log.csv"):
        rng = np.random.default_rng(3)
        path = tmp_path / name
        with path.open("w", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["problem", "attempt", "correct"])
            for i, p in enumerate(rng.uniform(0.2, 0.8, 30)):
                rate = np.clip(p + slope * np.linspace(-0.5, 0.5, 60), 0, 1)
                right = (rng.random(60) < rate).astype(int)
                out.writerows((f"p{i}", j, x) for j, x in enumerate(right))
        return path

    return write


def test_exchangeable_attempts_exit_0(run, attempts):
    done = run("drift", attempts(0.0))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("all data")


def test_drifting_attempts_exit_5_and_say_which_way(run, attempts):
    done = run("drift", attempts(0.4), "--json")
    assert done.exit_code == 5
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    (group,) = document["groups"]
    assert document["kind"] == "scaling-drift"
    assert group["seen"]
    assert group["z"] > 4
    assert set(group["autocorrelation"]) == {"1", "2"}  # 60 attempts have no lag of 128


def test_counts_have_no_order(run, counts):
    done = run("drift", counts)
    assert done.exit_code == 2
    assert "attempt" in done.stderr


def test_an_empty_file_is_refused(run, tmp_path):
    path = tmp_path / "empty.csv"
    path.write_text("")
    done = run("drift", path)
    assert done.exit_code == 2
    assert "Traceback" not in done.output
