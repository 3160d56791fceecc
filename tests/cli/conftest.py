from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from scaling.cli import main

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """The real command, in this process; standard output and error apart."""

    def invoke(*args: Any, stdin: bytes | str | None = None) -> Result:
        return CliRunner(env={"COLUMNS": "120"}).invoke(
            main, [str(a) for a in args], input=stdin, prog_name="scaling", catch_exceptions=False
        )

    return invoke


def write_counts(path: Path, models: dict[str, tuple[float, float]], problems: int = 40) -> Path:
    """Counts of 30 attempts a problem, success rates Beta(alpha, beta) by model."""
    rng = np.random.default_rng(5)
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["model", "task", "problem", "n", "c", "tokens"])
        for number, (model, (alpha, beta)) in enumerate(models.items()):
            for i, c in enumerate(rng.binomial(30, rng.beta(alpha, beta, problems))):
                out.writerow([model, "math", f"p{i}", 30, c, 30 * 100 * (number + 1)])
    return path


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    """A count file of two models; the second is better and uses twice the tokens."""
    return write_counts(tmp_path / "counts.csv", {"small": (0.4, 2.0), "large": (0.8, 1.2)})


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """A count file of one model with a class column of two levels."""
    rng = np.random.default_rng(6)
    path = tmp_path / "levels.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["problem", "level", "n", "c", "tokens"])
        for level, (alpha, beta) in {"easy": (1.5, 1.0), "hard": (0.3, 2.0)}.items():
            for i, c in enumerate(rng.binomial(30, rng.beta(alpha, beta, 40))):
                out.writerow([f"{level}{i}", level, 30, c, 3000])
    return path


@pytest.fixture
def fit(run: Run, levels: Path, tmp_path: Path) -> Path:
    """A fit document by level."""
    path = tmp_path / "fit.json"
    done = run(
        *("fit", levels, "--law", "beta-binomial", "--by", "level", "--replicates", 60, "-o", path)
    )
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture
def table(run: Run, fit: Path, tmp_path: Path) -> Path:
    """A budget table of 800 tokens a query."""
    path = tmp_path / "table.json"
    done = run("allocate", fit, "--budget", 800, "--unit", "tokens", "-o", path)
    assert done.exit_code == 0, done.output
    return path
