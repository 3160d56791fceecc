"""What is bought with budgets by problem: protocol P2 on measured rates, and on populations that do harm.

`python -m benchmarks.allocation_p2 [--data FOLDER] [--seeds 3] [--seed0 0] [--attempts 100]
[--cells 16,16 16,64 64,16] [--checkpoints] [--gate] [--hostile N] [--json]`

A log of m attempts at each problem (binomial, or hypergeometric thinning of 10,000) and logs of 100 attempts
of the other models of the task decide how b attempts a problem are spent on the same problems. The value is
the expected coverage of these attempts at the measured rates; the score is the share of the gap between the
even spend and the best spend with rates known that is closed, a ratio of means over configurations. All
methods go through the same `allocate`. The rival is a beta regression on the mean logit success of the other
models, by its mode on a grid. No rule that sees the counts alone beats the posterior under the rates of these
very problems in no order (`counts, prior known`).

Hostile populations: alike problems, all-or-nothing ones, two kinds of them, and siblings that agree among
themselves on an order that is reversed or shuffled.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import scaling
from benchmarks.forecast import TARGET, configurations
from scaling.allocators import Limit
from scaling.curves import Menu, over_samples
from scaling.fitting.menu import posteriors
from scaling.fitting.result import GroupFit
from scaling.policy import no_harm

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

CELLS = ((16, 16), (16, 64), (64, 16))
FAMILIES = ("alike", "all-or-nothing", "two kinds", "reversed siblings", "shuffled siblings")
CEILING = "counts, prior known"
TOKENS = "300B"  # of the checkpoints that are one family


class Draw(NamedTuple):
    """Rates of the problems, the target's successes in m attempts, and its siblings' logs as (n, c)."""

    name: str
    rate: FloatArray
    m: int
    c: IntArray
    siblings: tuple[tuple[int, IntArray], ...]


class Row(NamedTuple):
    """What a method gained over the even spend, and what knowing the rates would."""

    name: str
    m: int
    b: int
    method: str
    gain: float
    room: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.allocation_p2", description=__doc__)
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("SCALING_REFERENCE_DATA", default)
    )
    parser.add_argument("--seeds", type=int, default=3, help="logs of each configuration")
    parser.add_argument("--seed0", type=int, default=0, help="first seed")
    parser.add_argument("--attempts", type=int, default=100, help="of a sibling at each problem")
    parser.add_argument("--cells", nargs="*", type=_cell, default=CELLS, metavar="M,B")
    parser.add_argument("--checkpoints", action="store_true", help="the checkpoints as a task too")
    parser.add_argument("--gate", action="store_true", help="with the no-harm gate too")
    parser.add_argument("--hostile", type=int, default=0, help="draws of each hostile family")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    report: dict[str, list[Row]] = {}
    tasks = measured_rates(chosen.data) | (
        {"MATH checkpoints": checkpoints(chosen.data)} if chosen.checkpoints else {}
    )
    for task, rates in tasks.items() if chosen.seeds else ():
        report[task] = []
        for draw in logs(task, rates, chosen):
            report[task] += rows(draw, chosen.cells, gate=chosen.gate)
    for family in FAMILIES if chosen.hostile else ():
        report[family] = []
        for seed in range(chosen.seed0, chosen.seed0 + chosen.hostile):
            for m in sorted({m for m, _ in chosen.cells}):
                report[family] += rows(hostile(family, m, seed), chosen.cells, gate=chosen.gate)
    if chosen.json:
        print(json.dumps({k: [r._asdict() for r in v] for k, v in report.items()}, indent=1))
    else:
        show(report)
    return 0


def _cell(text: str) -> tuple[int, int]:
    m, b = text.split(",")
    return int(m), int(b)


def measured_rates(folder: Path) -> dict[str, dict[str, FloatArray]]:
    """Rates by task and model."""
    out: dict[str, dict[str, FloatArray]] = {}
    for name, c in configurations(folder).items():
        task, model = name.split(" ", 1)
        out.setdefault(task, {})[model] = c / TARGET
    return out


def checkpoints(folder: Path) -> dict[str, FloatArray]:
    """Rates of the checkpoints of one age. Their problems are not those of the other MATH file."""
    found: dict[str, dict[str, float]] = {}
    path = folder / "coverage" / "pythia_checkpoints_math_counts.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row["model"].endswith(f"_{TOKENS}"):
                share = int(row["num_correct"]) / int(row["num_samples"])
                found.setdefault(row["model"], {})[row["problem"]] = share
    return {
        model: np.array([rate[p] for p in sorted(rate)])
        for model, rate in found.items()
        if any(rate.values())
    }


def logs(task: str, rates: dict[str, FloatArray], chosen: argparse.Namespace) -> Iterator[Draw]:
    """Logs of each model of a task in turn, the others as its siblings."""
    for i, (model, rate) in enumerate(rates.items()):
        for seed in range(chosen.seed0, chosen.seed0 + chosen.seeds):
            rng = np.random.default_rng([seed, i])
            others = tuple(
                (chosen.attempts, rng.binomial(chosen.attempts, other))
                for name, other in rates.items()
                if name != model
            )
            for m in sorted({m for m, _ in chosen.cells}):
                yield Draw(f"{task} {model}", rate, m, rng.binomial(m, rate), others)


def hostile(family: str, m: int, seed: int, problems: int = 128, models: int = 4) -> Draw:
    """A draw of a family in which acting can do harm."""
    rng = np.random.default_rng([seed, FAMILIES.index(family), m])

    def spread() -> FloatArray:
        alpha, mean = np.exp(rng.uniform(np.log([0.02, 5e-4]), np.log([0.5, 0.1])))
        return rng.beta(alpha, alpha * (1 - mean) / mean, problems)

    if family == "alike":
        rate = np.full(problems, np.exp(rng.uniform(np.log(1e-3), np.log(0.5))))
    elif family == "all-or-nothing":
        rate = (rng.random(problems) < rng.uniform(0.05, 0.95)).astype(float)
    elif family == "two kinds":
        low, high = np.exp(rng.uniform(np.log(1e-3), np.log(0.9), 2))
        rate = np.where(rng.random(problems) < rng.uniform(0.1, 0.9), low, high)
    else:
        rate = spread()
    order = rng.permutation(problems)
    if family == "reversed siblings":
        order = np.argsort(np.argsort(-rate, kind="stable"))
    others = tuple((100, rng.binomial(100, np.sort(spread())[order])) for _ in range(models))
    return Draw(family, rate, m, rng.binomial(m, rate), others)


def rows(draw: Draw, cells: tuple[tuple[int, int], ...], *, gate: bool) -> Iterator[Row]:
    """What each method gains on one draw."""
    own = _sweep([("target", draw.m, draw.c)])
    others = _sweep([(f"sibling {j}", n, c) for j, (n, c) in enumerate(draw.siblings)])
    alone = scaling.fit(own, "beta-binomial", interval="none")
    joint = scaling.fit(own, "beta-binomial", interval="none", siblings=others)
    values = {
        "empirical Bayes": _posterior(alone.groups[0], draw),
        "beta regression": beta_regression(draw),
        "ours": _posterior(joint.groups[0], draw),
        CEILING: ceiling(draw),
    }
    for m, b in cells:
        if m != draw.m:
            continue
        even = _coverage(draw.rate, np.full(len(draw.rate), b))
        room = _coverage(draw.rate, spent(known(draw.rate), len(draw.rate), b)) - even
        for method, value in values.items():
            gain = _coverage(draw.rate, spent(value, len(draw.rate), b)) - even
            yield Row(draw.name, m, b, method, gain, room)
            if gate and method in ("empirical Bayes", "ours"):
                fit = joint if method == "ours" else alone
                kept = gain if _opened(fit, b) else 0.0
                yield Row(draw.name, m, b, f"{method}, gate", kept, room)


def _sweep(logs: list[tuple[str, int, IntArray]]) -> scaling.Sweep:
    import pandas as pd

    return scaling.read(
        pd.concat(
            [
                pd.DataFrame(
                    {"task": "t", "model": model, "problem": np.arange(len(c)).astype(str)}
                    | {"n": n, "c": c}
                )
                for model, n, c in logs
            ]
        )
    )


def _opened(fit: scaling.FitResult, b: int) -> bool:
    options: dict[str, Any] = {
        "classes": "problem",
        "values": "posterior",
        "allow_skip": True,
        "extrapolate": True,
    }
    return no_harm([fit], [Limit("samples", "average", float(b))], **options).opened


def _posterior(group: GroupFit, draw: Draw) -> Callable[[IntArray], FloatArray]:
    """Posterior coverage at the fitted beta, or with its parameters integrated out where it has none."""
    found = posteriors(group)
    if found is not None:
        assert group.problems is not None  # noqa: S101
        back = np.argsort([int(p) for p in group.problems.problem])
        return lambda k: found.coverage(k)[back]
    alpha, beta = group.theta
    return _beta(alpha + draw.c, beta + draw.m - draw.c)


def _beta(alpha: FloatArray, beta: FloatArray) -> Callable[[IntArray], FloatArray]:
    """1 - E (1-p)^k for beta posteriors of shape (P,)."""
    from scipy.special import betaln

    def value(k: IntArray) -> FloatArray:
        whole = betaln(alpha, beta)
        return np.asarray(-np.expm1(betaln(alpha[:, None], beta[:, None] + k) - whole[:, None]))

    return value


def known(rate: FloatArray) -> Callable[[IntArray], FloatArray]:
    """1 - (1-p)^k."""
    with np.errstate(divide="ignore"):
        miss = np.log1p(-rate)
    return lambda k: np.asarray(-np.expm1(miss[:, None] * k))


def ceiling(draw: Draw) -> Callable[[IntArray], FloatArray]:
    """Posterior coverage where the rates are known but for which problem has which: all that counts can tell."""
    from scipy.special import xlog1py, xlogy

    log = xlogy(draw.c[:, None], draw.rate) + xlog1py(draw.m - draw.c[:, None], -draw.rate)
    weight = np.exp(log - log.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    covered = known(draw.rate)
    return lambda k: np.asarray(weight @ covered(k))


def beta_regression(draw: Draw) -> Callable[[IntArray], FloatArray]:
    """p_i ~ Beta(mu_i phi, (1-mu_i) phi), logit mu_i = a + s z_i, at the mode on a grid."""
    from scipy.special import expit, gammaln

    z = np.mean([np.log((c + 0.5) / (n - c + 0.5)) for n, c in draw.siblings], axis=0)
    z = (z - z.mean()) / max(float(z.std()), 1e-9)
    a, s = np.linspace(-10, 0, 41)[:, None, None], np.linspace(-0.5, 4, 19)[None, :, None]
    mean = np.clip(expit(a + s * z), 1e-9, 1 - 1e-9)
    solved, best, found = draw.c > 0, -np.inf, (mean[0, 0], 1.0)
    for phi in np.exp(np.linspace(-1.5, 6, 16)):
        one, two = mean * phi, (1 - mean) * phi
        log = (gammaln(two + draw.m - draw.c) - gammaln(two)).sum(axis=-1)
        few = one[..., solved]
        log += (gammaln(few + draw.c[solved]) - gammaln(few)).sum(axis=-1)
        log -= len(draw.c) * float(gammaln(phi + draw.m) - gammaln(phi))
        i, j = np.unravel_index(int(log.argmax()), log.shape)
        if log[i, j] > best:
            best, found = float(log[i, j]), (mean[i, j], float(phi))
    mean, phi = found
    return _beta(mean * phi + draw.c, (1 - mean) * phi + draw.m - draw.c)


def spent(value: Callable[[IntArray], FloatArray], problems: int, b: int) -> IntArray:
    """Samples of each problem at an average of b."""
    most = 16 * b
    while True:
        k = np.arange(1, min(most, problems * b) + 1)
        allocation = scaling.allocate(_menu(value(k), k), float(b), unit="samples")
        rung = allocation.chosen
        got = np.where(rung >= 0, allocation.ladder.action["samples"][np.maximum(rung, 0)], 0)
        if got.max() < k[-1] or len(k) == problems * b:
            return got
        most *= 4


def _menu(value: FloatArray, k: IntArray) -> Menu:
    P = len(value)
    return over_samples(
        np.clip(value, 0.0, 1.0),
        k,
        key={"problem": np.arange(P)},
        weight=np.ones(P),
        curve=np.arange(P),
        cost={"samples": k.astype(float)},
        skip=True,
    )


def _coverage(rate: FloatArray, samples: IntArray) -> float:
    return float(np.mean(1 - (1 - rate) ** samples))


def show(report: dict[str, list[Row]]) -> None:
    for title, found in report.items():
        _table(title, found)
        for name in dict.fromkeys(r.name for r in found):
            if name != title and len({r.name for r in found}) > 1:
                _table(f"  {name}", [r for r in found if r.name == name])
    real = [r for title, some in report.items() if title not in FAMILIES for r in some]
    wrong = [r for title, some in report.items() if title in FAMILIES for r in some]
    for title, found in (("all configurations", real), ("all hostile families", wrong)):
        if found:
            _table(title, found)


def _table(title: str, found: list[Row]) -> None:
    cells = list(dict.fromkeys((r.m, r.b) for r in found))
    print(f"\n{title}")
    print(f"{'gap closed at (m, b)':24}" + "".join(f"{c!s:>10}" for c in cells), end="")
    print(f"{'mean loss':>11}{'worse > .001':>14}{'worst':>9}")
    for method in dict.fromkeys(r.method for r in found):
        mine = [r for r in found if r.method == method]
        print(f"{method:24}", end="")
        for cell in cells:
            some = [r for r in mine if (r.m, r.b) == cell]
            room = sum(r.room for r in some)
            closed = sum(r.gain for r in some) / room if room > 1e-9 else 0.0
            print(f"{closed:10.3f}", end="")
        gains = np.array([r.gain for r in mine])
        print(f"{-np.minimum(gains, 0).mean():11.5f}{(gains < -0.001).mean():14.2%}", end="")
        print(f"{gains.min():9.4f}")


if __name__ == "__main__":
    sys.exit(main())
