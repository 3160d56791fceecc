"""Reading logs: 10^7 attempts to per-problem statistics, duplicates screened.

The rival is the shortest DuckDB query that anyone would write: how many attempts, how many correct,
how many tokens, by problem. It checks nothing, screens nothing and keeps no squares.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import best_of, peak_mib, row

if TYPE_CHECKING:
    from benchmarks.harness import Row

ROWS, PROBLEMS = 10_000_000, 100_000
COUNT_ROWS = 1_000_000
MOST_MIB = 400


def _write(folder: Path) -> tuple[str, str]:
    """Synthetic logs: attempts in random order as Parquet, counts as CSV."""
    import duckdb

    attempts, counts = str(folder / "attempts.parquet"), str(folder / "counts.csv")
    with duckdb.connect() as con:
        con.execute("SELECT setseed(0.5)")
        con.execute(
            "COPY (SELECT 'math' AS task, 'm' AS model, 'p' || lpad(CAST(p AS VARCHAR), 6, '0') AS "
            "problem, a AS attempt, CAST(random() < 0.3 AS INTEGER) AS correct, "
            "CAST(200 + 800 * random() AS INTEGER) AS output_tokens "
            f"FROM (SELECT range AS p FROM range({PROBLEMS})), "
            f"(SELECT range AS a FROM range({ROWS // PROBLEMS})) ORDER BY random()) "
            f"TO '{attempts}'"
        )
        con.execute(
            "COPY (SELECT 'm' || (i % 4) AS model, 'p' || (i // 4) AS problem, 100 AS n, "
            f"i * 7919 % 101 AS c FROM range({COUNT_ROWS}) t(i)) TO '{counts}' (HEADER)"
        )
    return attempts, counts


def measure() -> list[Row]:
    """Attempts against a plain aggregation, counts against pandas; best of three each."""
    import duckdb
    import pandas as pd

    from scaling.data import read
    from scaling.data.duck import THREADS

    threads = min(THREADS, os.cpu_count() or 1)

    def plain() -> object:
        with duckdb.connect(config={"threads": threads}) as con:
            return con.execute(
                "SELECT problem, count(*) AS n, sum(correct) AS c, sum(output_tokens) AS t "
                f"FROM '{attempts}' GROUP BY problem"
            ).fetchnumpy()

    def frame() -> object:
        rows = pd.read_csv(counts)
        if rows.duplicated(["model", "problem"]).any():
            raise ValueError
        return [part[["n", "c"]].to_numpy() for _, part in rows.groupby("model")]

    with tempfile.TemporaryDirectory(prefix="scaling-bench-") as folder:
        attempts, counts = _write(Path(folder))
        ours, theirs = best_of(lambda: read(attempts), plain, repeats=3)
        peak = peak_mib(f"from scaling.data import read\nread({attempts!r})")
        if peak > MOST_MIB:
            raise MemoryError(f"reading 10^7 attempts took {peak:.0f} MiB, over {MOST_MIB}")
        grouped, by_pandas = best_of(lambda: read(counts).groups(["model"]), frame, repeats=3)
    return [
        row(
            "10^7 Parquet attempts (10^5 problems): reduced, checked, screened for duplicates",
            ours,
            "plain DuckDB aggregation by problem",
            theirs,
            bar=0.5,
            threads=threads,
            note=f"peak {peak:.0f} MiB, interpreter included, must stay under {MOST_MIB}",
        ),
        row(
            "10^6 count rows (CSV): read, checked, grouped",
            grouped,
            "pandas read_csv, duplicated, groupby",
            by_pandas,
            threads=threads,
            note="pandas on one thread, checks duplicates only",
        ),
    ]
