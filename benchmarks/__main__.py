"""Runs every module of this folder that has `measure()` and prints one table of ratios.

`python -m benchmarks [NAME ...] [--json]`. Leaves with 1 where a ratio is below its bar.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.harness import ONE_THREAD

if TYPE_CHECKING:
    from benchmarks.harness import Row

NAMES = sorted(
    file.stem
    for file in Path(__file__).parent.glob("[!_]*.py")
    if "\ndef measure(" in file.read_text(encoding="utf-8")
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all")
    parser.add_argument(
        "--json", action="store_true", help="print the rows as JSON, not as a table"
    )
    chosen = parser.parse_args()
    for name in chosen.names:
        if name not in NAMES:
            parser.error(f"there is no benchmark '{name}'; there are {', '.join(NAMES)}")

    os.environ.update(ONE_THREAD)
    rows: list[Row] = []
    for name in chosen.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"benchmarks.{name}").measure()

    if chosen.json:
        print(json.dumps(rows, indent=2, allow_nan=False))
    else:
        show(rows)
    missed = [row["job"] for row in rows if below(row)]
    if missed:
        print(f"below the bar: {'; '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


def below(row: Row) -> bool:
    return row["bar"] is not None and row["ratio"] < row["bar"]


def show(rows: list[Row]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(
        caption="Ratio: the rival's time over ours, in one run; more is better. "
        f"Best of several runs after a warm-up; {os.cpu_count()} cores."
    )
    for head in ("job", "ours", "rival", "rival's", "ratio", "bar", "threads", "note"):
        table.add_column(head, justify="left" if head in {"job", "rival", "note"} else "right")
    for row in rows:
        table.add_row(
            row["job"],
            f"{row['ours_s']:.3g} s",
            row["rival"],
            f"{row['rival_s']:.3g} s",
            f"[{'red' if below(row) else 'green'}]{row['ratio']:,.3g}[/]",
            "" if row["bar"] is None else f"{row['bar']:,.3g}",
            str(row["threads"]),
            row.get("note", ""),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    sys.exit(main())
