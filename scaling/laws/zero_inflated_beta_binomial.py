"""Coverage when a share of the problems is never solved and the others' rates follow a Beta distribution."""

from __future__ import annotations

import numpy as np
import sympy as sp

from scaling.core.coverage import COUNT_OBJECTIVES, COVERAGE, SAMPLES, pooled_rate
from scaling.core.law import Derived, FloatArray, Law, Param, Reference
from scaling.core.rates import Beta, BetaMixture
from scaling.core.support import POSITIVE, UNIT
from scaling.core.symbolic import log_rising

k = SAMPLES
alpha = Param(
    "alpha",
    POSITIVE,
    "weight of hard problems among those that can be solved",
    typical=(0.1, 3.0),
)
beta = Param(
    "beta", POSITIVE, "weight of failures among those that can be solved", typical=(0.5, 60.0)
)
pi0 = Param("pi0", UNIT, "share of problems that no number of samples solves", typical=(0.05, 0.6))

RATES = BetaMixture((Beta(1 - pi0.sym, alpha.sym, beta.sym),), never=pi0.sym)


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """Four sizes of alpha, with little and with much of the unsolved share as zero mass, shape (8, 3)."""
    mean = pooled_rate(n, c, multiplicity)
    unsolved = float(np.clip(multiplicity @ (c == 0) / multiplicity.sum(), 1e-3, 0.98))
    starts = []
    for size in (0.05, 0.3, 1.0, 3.0):
        for zero in (0.1 * unsolved, 0.9 * unsolved):
            rate = min(mean / (1 - zero), 1 - 1e-6)
            starts.append([size, size * (1 - rate) / rate, zero])
    return np.array(starts)


LAW = Law(
    name="zero-inflated-beta-binomial",
    meaning="a share pi0 of problems is never solved, the success rates of the others follow Beta(alpha, beta)",
    inputs=(k,),
    params=(alpha, beta, pi0),
    output=COVERAGE,
    expression=RATES.coverage(k.sym),
    objectives=COUNT_OBJECTIVES,
    guess={"counts": guess},
    claims=("increasing", "concave", "bounded"),
    references=(
        Reference(
            "Levi (2024), A Simple Model of Inference Scaling Laws",
            "pass@k = A [1 - B(alpha+k, beta)/B(alpha, beta)] with alpha and beta exchanged; A = 1 - pi0",
            "2410.16377",
        ),
    ),
    rates=RATES,
    limits=("one-rate", "all-or-nothing", "never-and-one-rate"),
    derived=(
        Derived("ceiling", "coverage that no number of samples exceeds, 1 - pi0", 1 - pi0.sym),
        Derived(
            "pass_at_1",
            "mean success rate, (1 - pi0) alpha/(alpha+beta)",
            (1 - pi0.sym) * alpha.sym / (alpha.sym + beta.sym),
        ),
        Derived(
            "tail_exponent",
            "coverage falls short of its ceiling by tail_prefactor k^-tail_exponent for many samples",
            alpha.sym,
        ),
        Derived(
            "tail_prefactor",
            "(1 - pi0) Gamma(alpha+beta)/Gamma(beta)",
            (1 - pi0.sym) * sp.exp(log_rising(beta.sym, alpha.sym)),
        ),
    ),
)
