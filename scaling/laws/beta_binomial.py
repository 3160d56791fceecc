"""Coverage when single-attempt success rates follow a Beta distribution over problems."""

from __future__ import annotations

import numpy as np
import sympy as sp

from scaling.core.coverage import COUNT_OBJECTIVES, COVERAGE, SAMPLES, pooled_rate
from scaling.core.law import Derived, FloatArray, Law, Param, Reference
from scaling.core.rates import Beta, BetaMixture
from scaling.core.support import POSITIVE
from scaling.core.symbolic import log_rising

k = SAMPLES
alpha = Param(
    "alpha",
    POSITIVE,
    "weight of hard problems; failure falls as k^-alpha for many samples",
    typical=(0.03, 3.0),
)
beta = Param(
    "beta",
    POSITIVE,
    "weight of failures; the mean success rate is alpha/(alpha+beta)",
    typical=(0.5, 60.0),
)
RATES = BetaMixture((Beta(sp.Integer(1), alpha.sym, beta.sym),))


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """Three sizes of alpha at the pooled mean success rate, shape (3, 2)."""
    mean = pooled_rate(n, c, multiplicity)
    return np.array([[size, size * (1 - mean) / mean] for size in (0.05, 0.3, 1.0)])


LAW = Law(
    name="beta-binomial",
    meaning="success rates of problems follow Beta(alpha, beta); coverage 1 - B(alpha, beta+k)/B(alpha, beta)",
    inputs=(k,),
    params=(alpha, beta),
    output=COVERAGE,
    expression=RATES.coverage(k.sym),
    objectives=COUNT_OBJECTIVES,
    guess={"counts": guess},
    claims=("increasing", "concave", "bounded"),
    references=(
        Reference(
            "Kazdan et al. (2025), Efficient Prediction of Pass@k Scaling in Large Language Models",
            "beta-binomial likelihood of raw counts and its pass@k",
            "2510.05197",
        ),
        Reference(
            "Schaeffer et al. (2025), How Do Large Language Monkeys Get Their Power (Laws)?",
            "theorem 3.1: the exponent is the density's exponent at zero, here alpha",
            "2502.17578",
        ),
    ),
    rates=RATES,
    derived=(
        Derived(
            "pass_at_1", "mean success rate, alpha/(alpha+beta)", alpha.sym / (alpha.sym + beta.sym)
        ),
        Derived(
            "tail_exponent",
            "failure falls as tail_prefactor k^-tail_exponent for many samples",
            alpha.sym,
        ),
        Derived(
            "tail_prefactor",
            "Gamma(alpha+beta)/Gamma(beta)",
            sp.exp(log_rising(beta.sym, alpha.sym)),
        ),
    ),
)
