"""How long a command takes to answer, against the imports that it could not do without."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import best_of, process, row

if TYPE_CHECKING:
    from benchmarks.harness import Row

SCALING = Path(sys.executable).with_name("scaling")


def measure() -> list[Row]:
    rows = [against_import("scaling --help", ["--help"], "import numpy", bar=1.0)]
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "counts.csv")
        write_counts(counts)
        for law in ("beta-binomial", "exponentiated-power"):
            fit = ["fit", str(counts), "--law", law, "--interval", "none"]
            fit += ["-o", str(Path(folder, "fit.json"))]
            job = f"scaling fit --law {law}, 128 problems"
            rows.append(against_import(job, fit, "import jax, scipy.optimize", bar=1 / 3))
    return rows


def against_import(job: str, arguments: list[str], imports: str, *, bar: float) -> Row:
    ours_s, rival_s = best_of(
        process([SCALING, *arguments]), process([sys.executable, "-c", imports]), repeats=7
    )
    return row(job, ours_s, f"python -c '{imports}'", rival_s, bar=bar, note="whole processes")


def write_counts(path: Path) -> None:
    rng = np.random.default_rng(0)
    correct = rng.binomial(10_000, rng.beta(0.3, 5.0, 128))
    lines = [f"math,m,p{i},10000,{c}" for i, c in enumerate(correct)]
    path.write_text("\n".join(["task,model,problem,n,c", *lines]) + "\n", encoding="utf-8")
