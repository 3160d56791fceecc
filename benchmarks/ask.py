"""Whether adaptive attempts help a forecast: `scaling ask` against even attempts, at equal budgets.

`python -m benchmarks.ask [--data FOLDER] [--seeds 10] [--seed0 0] [--sizes 100,1000] [--start 0.1]
[--rounds 9] [--json]`

Each configuration has 10,000 attempts at each problem. A log starts with a share of the budget, spread evenly,
and grows round by round by the rule, with results drawn without replacement from the attempts made
(hypergeometric), until 100 or 1,000 attempts a problem are spent on average. Then it forecasts the share
solved within 10,000. `variance` is `scaling ask`, `fewest-successes` the dynamic sampling of Kazdan et al.
(2025). Forecasters: `forecast` (ours), its population
member alone, which knows no curve, and the beta-binomial. Errors are means over seeds, then over
configurations; `vs even` is the paired difference of absolute errors with its standard error over seeds.
Logs of which one has fewer than two problems solved are left out under all rules.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.forecast import TARGET, configurations
from scaling.core import registry
from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.fitting.asking import evenly, fewest_successes, least_variance, uncertainty
from scaling.fitting.forecast import forecast
from scaling.fitting.likelihood import fit_counts

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = Callable[[IntArray, IntArray, int], IntArray]

EVEN = "even"


def variance(n: IntArray, c: IntArray, attempts: int) -> IntArray:
    size = uncertainty(n, c, TARGET)
    if isinstance(size, str):
        return fewest_successes(n, c, attempts)
    return least_variance(size, n, attempts)


RULES: dict[str, Rule] = {
    EVEN: lambda n, _, attempts: evenly(n, attempts),
    "variance": variance,
    "fewest-successes": fewest_successes,
}


class Row(NamedTuple):
    """Of one rule and forecaster; widths and scores of intervals are None where it has none."""

    size: int
    rule: str
    forecaster: str
    runs: int
    mae: float
    bias: float
    worst: float
    versus_even: float
    se: float
    covered: float | None
    width: float | None
    interval_score: float | None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ask", description=__doc__)
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SCALING_REFERENCE_DATA", default)
    )
    parser.add_argument("--seeds", type=int, default=10, help="logs of each configuration")
    parser.add_argument("--seed0", type=int, default=0, help="first seed")
    parser.add_argument("--sizes", default="100,1000", help="attempts a problem, on average")
    parser.add_argument("--start", type=float, default=0.1, help="share of them spread evenly")
    parser.add_argument("--rounds", type=int, default=9, help="in which the rest is spent")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    known = configurations(chosen.data)
    seeds = range(chosen.seed0, chosen.seed0 + chosen.seeds)
    rows = [
        row
        for size in map(int, chosen.sizes.split(","))
        for row in compared(known, size, seeds, chosen.start, chosen.rounds)
    ]
    if chosen.json:
        print(json.dumps([row._asdict() for row in rows], indent=1, allow_nan=False))
    else:
        show(rows)
    return 0


def grown(
    successes: IntArray,
    rule: Rule,
    size: int,
    start: float,
    rounds: int,
    rng: np.random.Generator,
) -> tuple[IntArray, IntArray]:
    """Attempts and successes of a log of `size` attempts a problem on average."""
    problems = len(successes)
    n, c = (np.zeros(problems, dtype=np.int64) for _ in range(2))
    first = round(start * size)
    ends = np.linspace(first, size, rounds + 1).round().astype(int) * problems
    for total in np.diff(ends, prepend=0).tolist():
        added = rule(n, c, total) if n.any() else evenly(n, total)
        added = np.minimum(added, TARGET - n)
        c = c + rng.hypergeometric(successes - c, (TARGET - n) - (successes - c), added)
        n = n + added
    return n, c


def compared(
    known: dict[str, IntArray],
    size: int,
    seeds: range,
    start: float,
    rounds: int,
) -> list[Row]:
    """Error, width and score of every rule and forecaster, by configuration and seed."""
    runs: dict[tuple[str, str], dict[str, list[tuple[float, ...]]]] = {}
    for i, (name, successes) in enumerate(known.items()):
        truth = float(np.mean(successes > 0))
        for seed in seeds:
            logs = {
                rule: unique_counts(
                    *grown(successes, place, size, start, rounds, np.random.default_rng([seed, i]))
                )
                for rule, place in RULES.items()
            }
            if any(log.multiplicity[log.c > 0].sum() < 2 for log in logs.values()):
                continue
            for rule, log in logs.items():
                for forecaster, (point, low, high) in forecasts(log).items():
                    missed = max(low - truth, truth - high, 0.0)
                    row = (point - truth, high - low, missed <= 1e-9, high - low + 40 * missed)
                    runs.setdefault((rule, forecaster), {}).setdefault(name, []).append(row)
    return [
        _row(size, rule, forecaster, named, runs[EVEN, forecaster])
        for (rule, forecaster), named in runs.items()
    ]


def forecasts(log: UniqueCounts) -> dict[str, tuple[float, float, float]]:
    """Estimate and ends of the interval by forecaster; NaN where it has no interval."""
    out = {}
    for name, stopped in (("forecast", False), ("population alone", True)):
        found = forecast(log, [TARGET], stopped=stopped)
        out[name] = (float(found.estimate[0]), float(found.low[0]), float(found.high[0]))
    law = registry.law("beta-binomial")
    theta = law.bound(fit_counts(law, log).coordinates)
    point = float(law.value(theta, {"samples": np.array([TARGET])})[0, 0])
    return {**out, "beta-binomial": (point, np.nan, np.nan)}


def _row(
    size: int,
    rule: str,
    forecaster: str,
    named: dict[str, list[tuple[float, ...]]],
    even: dict[str, list[tuple[float, ...]]],
) -> Row:
    tables = [np.array(rows, dtype=float) for rows in named.values()]
    errors = [np.abs(t[:, 0]) for t in tables]
    paired = [
        e - np.abs(np.array(other, dtype=float)[:, 0])
        for e, other in zip(errors, even.values(), strict=True)
    ]
    several = [p for p in paired if len(p) > 1]
    noise = sum(p.var(ddof=1) / len(p) for p in several) ** 0.5 / max(len(several), 1)
    banded = np.isfinite(tables[0][0, 1])
    covered, width, score = (
        float(np.mean([t[:, j].mean() for t in tables])) if banded else None for j in (2, 1, 3)
    )
    return Row(
        size,
        rule,
        forecaster,
        sum(map(len, errors)),
        float(np.mean([e.mean() for e in errors])),
        float(np.mean([t[:, 0].mean() for t in tables])),
        float(max(e.mean() for e in errors)),
        float(np.mean([p.mean() for p in paired])),
        float(noise),
        covered,
        width,
        score,
    )


def show(rows: list[Row]) -> None:
    for size in dict.fromkeys(row.size for row in rows):
        print(f"\n{size} attempts a problem on average, coverage at {TARGET:,}")
        print(f"{'rule':18}{'forecaster':18}{'runs':>5}{'MAE':>8}{'bias':>8}{'worst':>7}", end="")
        print(f"{'vs even':>9}{'se':>7}{'covered':>9}{'width':>7}{'score':>7}")
        for r in rows:
            if r.size != size:
                continue
            print(f"{r.rule:18}{r.forecaster:18}{r.runs:5}{r.mae:8.4f}{r.bias:+8.3f}", end="")
            print(f"{r.worst:7.3f}{r.versus_even:+9.4f}{r.se:7.4f}", end="")
            if r.width is not None:
                print(f"{r.covered:9.3f}{r.width:7.3f}{r.interval_score:7.3f}", end="")
            print()


if __name__ == "__main__":
    sys.exit(main())
