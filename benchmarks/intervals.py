"""Whether intervals of count laws mean what they say, and whether what counts do not tell is recognised.

`python -m benchmarks.intervals [LAW ...] [--sets 200] [--replicates 200] [--seed0 0] [--unidentified] [--json]`

Coverage: 300 problems with 200 attempts from the law itself, at parameters that such a log identifies; the
share of nominal 95% intervals that hold each parameter, by method. An interval that is open on a side holds
nothing by itself: `open` counts those, and they are left out of the share. With --unidentified: 50 problems
with 20 attempts from simpler populations (`POPULATIONS`); the share of logs in which the fit says that the
law is not identified.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import scaling
from scaling.core import registry
from scaling.data.distinct import unique_counts
from scaling.fitting.identification import not_identified
from scaling.fitting.likelihood import fit_counts

FloatArray = NDArray[np.float64]

PROBLEMS, ATTEMPTS = 300, 200
METHODS = ("percentile", "bca", "profile")
TRUTHS = {
    "beta-binomial": {"alpha": 0.3, "beta": 5.0},
    "zero-inflated-beta-binomial": {"alpha": 0.8, "beta": 5.0, "pi0": 0.3},
    "scaled-beta-binomial": {"alpha": 0.5, "beta": 1.5, "s": 0.4},
    "scaled-kumaraswamy": {"alpha": 0.5, "beta": 1.5, "s": 0.4},
    "beta-mixture": {"w": 0.5, "alpha_1": 1.0, "beta_1": 30.0, "alpha_2": 8.0, "beta_2": 4.0},
    "logit-normal": {"mu": -2.0, "sigma": 2.0},
}
RATES: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "beta-binomial": lambda rng, size: rng.beta(0.3, 5.0, size),
    "zero-inflated-beta-binomial": lambda rng, size: np.where(
        rng.random(size) < 0.3, 0.0, rng.beta(0.8, 5.0, size)
    ),
    "scaled-beta-binomial": lambda rng, size: 0.4 * rng.beta(0.5, 1.5, size),
    # (p/s)^alpha follows Beta(1, beta)
    "scaled-kumaraswamy": lambda rng, size: 0.4 * rng.beta(1.0, 1.5, size) ** (1 / 0.5),
    "beta-mixture": lambda rng, size: np.where(
        rng.random(size) < 0.5, rng.beta(1.0, 30.0, size), rng.beta(8.0, 4.0, size)
    ),
    "logit-normal": lambda rng, size: 1 / (1 + np.exp(-rng.normal(-2.0, 2.0, size))),
}
"""Success rates of the law at its truth."""
POPULATIONS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "one rate": lambda _, size: np.full(size, 0.3),
    "never or one rate": lambda rng, size: np.where(rng.random(size) < 0.4, 0.0, 0.3),
    "always or never": lambda rng, size: np.where(rng.random(size) < 0.4, 0.0, 1.0),
    "one beta": lambda rng, size: rng.beta(0.5, 3.0, size),
}
DEGENERATE = {
    "beta-binomial": ("one rate", "always or never"),
    "zero-inflated-beta-binomial": ("one rate", "never or one rate", "always or never"),
    "scaled-beta-binomial": ("one rate", "never or one rate", "always or never"),
    "scaled-kumaraswamy": ("one rate", "never or one rate", "always or never"),
    "beta-mixture": ("one rate", "one beta"),
    "logit-normal": ("one rate", "always or never"),
}
"""Populations that lie at an end of each law."""


class Row(NamedTuple):
    """Of one law and method, or one law and population."""

    law: str
    case: str
    parameter: str
    share: float
    sets: int
    open: int


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intervals", description=__doc__)
    parser.add_argument("laws", nargs="*", metavar="LAW", help=f"of {', '.join(TRUTHS)}; all")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--sets", type=int, default=200, help="data sets")
    parser.add_argument("--replicates", type=int, default=200, help="of the bootstrap")
    parser.add_argument("--seed0", type=int, default=0, help="first seed")
    parser.add_argument("--unidentified", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    rows = []
    for law in chosen.laws or TRUTHS:
        if chosen.unidentified:
            rows += [recognised(law, p, chosen.sets, chosen.seed0) for p in DEGENERATE[law]]
        else:
            for method in chosen.methods.split(","):
                rows += covered(law, method, chosen.sets, chosen.replicates, chosen.seed0)
    if chosen.json:
        print(json.dumps([row._asdict() for row in rows], indent=1, allow_nan=False))
        return 0
    print(f"{'law':30}{'case':20}{'parameter':12}{'share':>7}{'sets':>6}{'open':>6}")
    for row in rows:
        print(
            f"{row.law:30}{row.case:20}{row.parameter:12}{row.share:7.3f}{row.sets:6}{row.open:6}"
        )
    return 0


def covered(name: str, method: str, sets: int, replicates: int, seed0: int) -> list[Row]:
    """Share of the closed intervals that hold the truth, by parameter."""
    truth = TRUTHS[name]
    held: dict[str, list[bool]] = {p: [] for p in truth}
    for seed in range(seed0, seed0 + sets):
        sweep = simulated(name, seed)
        (group,) = scaling.fit(sweep, name, interval=method, replicates=replicates).groups
        for parameter, value in truth.items():
            interval = group.params[parameter].interval
            if interval:
                held[parameter].append(interval[0] <= value <= interval[1])
    return [
        Row(name, method, p, float(np.mean(h)) if h else 0.0, len(h), sets - len(h))
        for p, h in held.items()
    ]


def simulated(name: str, seed: int) -> scaling.Sweep:
    """A log of counts from the law at its truth."""
    import pandas as pd

    rng = np.random.default_rng([seed, 3])
    c = rng.binomial(ATTEMPTS, RATES[name](rng, PROBLEMS))
    problems = [f"p{i}" for i in range(PROBLEMS)]
    frame = pd.DataFrame({"problem": problems, "n": ATTEMPTS, "c": c, "stop_rule": "fixed"})
    return scaling.read(frame.assign(task="t", model="m"))


def recognised(name: str, population: str, sets: int, seed0: int) -> Row:
    """Share of logs of 50 problems with 20 attempts in which the law is not identified."""
    law, found = registry.law(name), 0
    for seed in range(seed0, seed0 + sets):
        rng = np.random.default_rng([seed, 4])
        counts = unique_counts(np.full(50, 20), rng.binomial(20, POPULATIONS[population](rng, 50)))
        top = float(fit_counts(law, counts).log_likelihood[0])
        found += not_identified(law, counts, top) is not None
    return Row(name, population, "", found / sets, sets, 0)


if __name__ == "__main__":
    sys.exit(main())
