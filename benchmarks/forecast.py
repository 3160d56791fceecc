"""How well coverage is forecast: protocol P1 on measured attempts, and intervals on simulated populations.

`python -m benchmarks.forecast [--data FOLDER] [--seeds 20] [--seed0 0] [--populations 300] [--json]`

Each configuration has 10,000 attempts at each problem. Those of the published sweeps are finished models;
the checkpoints are models early in training, whose curves bend where the others' are straight. The first 100
or 1,000 attempts in a random order (hypergeometric thinning of the counts) forecast the share solved within
10,000. Errors are means over thinnings, then over configurations; thinnings with fewer than two solved
problems are left out. The simulated populations are beta distributions fitted to the configurations in turn,
with new problems and new attempts in each; the kinds in `OTHER` keep the interval honest where no member of
the pool is right.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.data.distinct import unique_counts
from scaling.fitting import forecast_curves
from scaling.fitting.forecast import forecast
from scaling.fitting.least_squares import least_squares
from scaling.fitting.passk import coverage, log_grid

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

TARGET = 10_000
SIZES = (100, 1_000)
CHECKPOINTS = "pythia_checkpoints_math_counts.csv.gz"
FILES = ("monkeys_pythia_math_counts.csv", "monkeys_codecontests_counts.csv")
OURS = "forecast"
OTHER = ("scaled beta", "Kumaraswamy", "logit-normal", "beta mixture", "zero-inflated beta")


class Run(NamedTuple):
    """Counts after `size` attempts, and the share of problems solved within the target."""

    name: str
    size: int
    counts: IntArray
    truth: float


class Score(NamedTuple):
    """Of one method at one size: the columns of the table."""

    mae: float
    bias: float
    worst: float
    covered: float
    least_covered: float
    interval_score: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecast", description=__doc__)
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SCALING_REFERENCE_DATA", default)
    )
    parser.add_argument("--seeds", type=int, default=20, help="thinnings of each configuration")
    parser.add_argument("--seed0", type=int, default=0, help="first seed")
    parser.add_argument("--populations", type=int, default=300, help="simulated, 0 for none")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    known = configurations(chosen.data)
    report = {"measured": score(measured(known, chosen.seeds, chosen.seed0), rivals=True)}
    early = checkpoints(chosen.data)
    report["checkpoints"] = score(measured(early, chosen.seeds, chosen.seed0), rivals=True)
    if chosen.populations:
        share = max(1, chosen.populations // len(known))
        report["beta populations"] = score(simulated(known, share, chosen.seed0), rivals=False)
        for kind in OTHER:
            runs = simulated(known, max(1, share // 5), chosen.seed0, kind)
            report[f"{kind} populations"] = score(runs, rivals=False)
    if chosen.json:
        print(json.dumps(_document(report), indent=2, allow_nan=False))
    else:
        show(report)
    return 0


def configurations(folder: Path) -> dict[str, IntArray]:
    """Successes in 10,000 attempts at each problem, by task and model."""
    found: dict[str, list[int]] = {}
    for file in FILES:
        with (folder / "coverage" / file).open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if int(row["num_samples"]) == TARGET:
                    name = f"{row['task']} {row['model']}"
                    found.setdefault(name, []).append(int(row["num_correct"]))
    return {name: np.array(c) for name, c in found.items()}


def checkpoints(folder: Path) -> dict[str, IntArray]:
    """Successes in 10,000 attempts by models early in training, where most problems have as many.

    Of more attempts 10,000 are taken at random, once; problems with fewer are left out, and so are models
    that solve less than four.
    """
    rows: dict[str, list[tuple[int, int]]] = {}
    with gzip.open(folder / "coverage" / CHECKPOINTS, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            pair = (int(row["num_samples"]), int(row["num_correct"]))
            rows.setdefault(row["model"], []).append(pair)
    rng = np.random.default_rng(0)
    found = {}
    for name, pairs in rows.items():
        n, c = np.array(pairs).T
        enough = n >= TARGET
        first = rng.hypergeometric(c[enough], (n - c)[enough], TARGET)
        if enough.mean() >= 0.6 and (first > 0).sum() >= 4:
            found[name] = first
    return found


def measured(known: dict[str, IntArray], seeds: int, seed0: int) -> Iterator[Run]:
    """First attempts of random orders of the attempts made."""
    for i, (name, c) in enumerate(known.items()):
        for seed in range(seed0, seed0 + seeds):
            yield from thinned(name, c, np.random.default_rng([seed, i]))


def simulated(
    known: dict[str, IntArray], each: int, seed0: int, kind: str = "beta"
) -> Iterator[Run]:
    """Attempts at new problems of populations like the configurations'."""
    for i, (name, c) in enumerate(known.items()):
        alpha, beta = beta_binomial(c, TARGET)
        for seed in range(each):
            rng = np.random.default_rng([seed0, i, seed, 1])
            rates = population(kind, alpha, beta, c.max() / TARGET, len(c), rng)
            yield from thinned(name, rng.binomial(TARGET, rates), rng)


def population(
    kind: str, alpha: float, beta: float, top: float, problems: int, rng: np.random.Generator
) -> FloatArray:
    """Success rates of problems; `alpha`, `beta` of the beta fit and `top`, the largest rate seen."""
    if kind == "scaled beta":
        return np.asarray(min(1.0, 1.5 * top) * rng.beta(alpha, min(beta, 2.0), problems))
    if kind == "Kumaraswamy":
        exponent = alpha**0.7
        strength = (1 + beta) ** (alpha / 2) * 2
        return np.asarray((1 - rng.random(problems) ** (1 / strength)) ** (1 / exponent))
    if kind == "logit-normal":
        centre = np.log(alpha / (alpha + beta)) - 2
        return np.asarray(1 / (1 + np.exp(-rng.normal(centre, 3.0, problems))))
    if kind == "beta mixture":
        easy = rng.random(problems) < 0.1
        return np.where(easy, rng.beta(1.0, 5.0, problems), rng.beta(2 * alpha, 2 * beta, problems))
    rates = rng.beta(2 * alpha, beta, problems)
    if kind == "zero-inflated beta":
        return np.where(rng.random(problems) < 0.25, 0.0, rates)
    return np.asarray(rng.beta(alpha, beta, problems))


def thinned(name: str, c: IntArray, rng: np.random.Generator) -> Iterator[Run]:
    truth, left, have = float(np.mean(c > 0)), c, TARGET
    for size in reversed(SIZES):
        left, have = rng.hypergeometric(left, have - left, size), size
        if (left > 0).sum() >= 2:
            yield Run(name, size, left, truth)


def score(runs: Iterator[Run], *, rivals: bool) -> dict[int, dict[str, Score]]:
    """By size and method."""
    rows: dict[int, dict[str, dict[str, list[tuple[float, ...]]]]] = {n: {} for n in SIZES}
    for run in runs:
        counts = unique_counts(np.full(len(run.counts), run.size), run.counts)
        got = forecast(counts, [TARGET])
        points = rival_forecasts(run) if rivals else {}
        points = {OURS: float(got.estimate[0]), **points}
        for method, point in points.items():
            low, high = (point, point) if method != OURS else (got.low[0], got.high[0])
            missed = max(low - run.truth, run.truth - high, 0.0)
            missed = missed if missed > 1e-9 else 0.0
            row = (point - run.truth, float(missed == 0), high - low + missed * 2 / 0.05)
            rows[run.size].setdefault(method, {}).setdefault(run.name, []).append(row)
    return {
        size: {method: _score(named) for method, named in methods.items()}
        for size, methods in rows.items()
    }


def _score(named: dict[str, list[tuple[float, ...]]]) -> Score:
    tables = [np.array(rows) for rows in named.values()]
    errors = [float(np.abs(t[:, 0]).mean()) for t in tables]
    bias, covered, width = (np.mean([t[:, j].mean() for t in tables]) for j in range(3))
    least = min(float(t[:, 1].mean()) for t in tables)
    return Score(
        float(np.mean(errors)), float(bias), max(errors), float(covered), least, float(width)
    )


def rival_forecasts(run: Run) -> dict[str, float]:
    """Point forecasts of what people use: curve fits, their mean, and the beta-binomial."""
    n = np.full(len(run.counts), run.size)
    k = log_grid(run.size).astype(float)
    c = np.clip(coverage(n, run.counts, k), 1e-12, 1 - 1e-9)[None]
    loglog = forecast_curves.unweighted(k, c)
    logcov = forecast_curves.on_log_coverage(k, c)
    out = {
        "log-log OLS": 1 - float(loglog.unsolved([TARGET])[0, 0]),
        "EPL logcov": 1 - float(logcov.unsolved([TARGET])[0, 0]),
        "EPL cov": epl_cov(k, c),
    }
    out["mean of the three"] = float(np.mean(list(out.values())))
    for name, bounds in (("beta-binomial", (1e-6, 1e6)), ("same, Kazdan's bounds", (0.01, 100.0))):
        alpha, beta = beta_binomial(run.counts, run.size, bounds)
        out[name] = 1 - float(np.exp(_log_beta_ratio(alpha, beta, TARGET)))
    return out


def epl_cov(k: FloatArray, c: FloatArray) -> float:
    """exp(-A k^-b) by least squares of the coverage itself, from the log-log line."""
    slope, intercept = np.polyfit(np.log(k), np.log(-np.log(c[0])), 1)

    def model(u: FloatArray, v: FloatArray, x: FloatArray) -> list[FloatArray]:
        b = np.exp(v)
        log = -np.exp(u - b * x)
        return [np.exp(log), np.exp(log) * log, -np.exp(log) * log * b * x]

    start = np.array([intercept, np.log(max(-slope, 1e-3))])
    u, v = least_squares(model, [np.log(k)], c, start).coordinates[0]
    return float(np.exp(-np.exp(u - np.exp(v) * np.log(TARGET))))


def beta_binomial(
    c: IntArray, n: int, bounds: tuple[float, float] = (1e-6, 1e6)
) -> tuple[float, float]:
    """Maximum likelihood alpha and beta."""
    from scipy.optimize import minimize
    from scipy.special import betaln

    values, many = np.unique(c, return_counts=True)

    def loss(u: FloatArray) -> float:
        a, b = np.exp(u)
        return -float(many @ (betaln(values + a, n - values + b) - betaln(a, b)))

    edge = [tuple(np.log(bounds))] * 2
    mean = max(float(c.mean()) / n, 1e-6)
    starts = [np.clip(np.log([a, a * (1 - mean) / mean]), *edge[0]) for a in (0.05, 0.3, 1.0)]
    fits = [minimize(loss, s, method="L-BFGS-B", bounds=edge) for s in starts]
    alpha, beta = np.exp(min(fits, key=lambda f: f.fun).x)
    return float(alpha), float(beta)


def _log_beta_ratio(alpha: float, beta: float, k: int) -> float:
    from scipy.special import betaln

    return float(betaln(alpha, beta + k) - betaln(alpha, beta))


def _document(report: dict[str, dict[int, dict[str, Score]]]) -> object:
    return {
        kind: {str(n): {m: s._asdict() for m, s in methods.items()} for n, methods in sizes.items()}
        for kind, sizes in report.items()
    }


def show(report: dict[str, dict[int, dict[str, Score]]]) -> None:
    for kind, sizes in report.items():
        for size, methods in sizes.items():
            print(f"\n{kind}, first {size} attempts, coverage at {TARGET:,}")
            print(f"{'':24}{'MAE':>8}{'bias':>8}{'worst':>8}{'covered':>9}{'least':>7}{'score':>8}")
            for method, s in methods.items():
                print(f"{method:24}{s.mae:8.4f}{s.bias:+8.3f}{s.worst:8.3f}", end="")
                if method == OURS:
                    print(f"{s.covered:9.3f}{s.least_covered:7.2f}{s.interval_score:8.3f}", end="")
                print()


if __name__ == "__main__":
    sys.exit(main())
