"""Coverage when single-attempt success rates follow a Beta distribution over problems."""

from __future__ import annotations

import numpy as np
import sympy as sp
from sympy.codegen.cfunctions import expm1

from scaling.core.law import (
    ATTEMPTS,
    SUCCESSES,
    Derived,
    FloatArray,
    Input,
    Law,
    Output,
    Param,
    Reference,
)
from scaling.core.support import POSITIVE
from scaling.core.symbolic import log_beta_ratio, log_rising

k = Input("k", column="samples", unit="attempts")
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


def _coverage(successes: sp.Expr, failures: sp.Expr) -> sp.Expr:
    # 1 - B(alpha, beta + k) / B(alpha, beta)
    return -expm1(log_beta_ratio(successes, failures, k.sym))


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """Three sizes of alpha at the pooled mean success rate, shape (3, 2)."""
    mean = float(np.clip((multiplicity @ c) / (multiplicity @ n), 1e-6, 1 - 1e-6))
    return np.array([[size, size * (1 - mean) / mean] for size in (0.05, 0.3, 1.0)])


_alpha, _beta, _n, _c = alpha.sym, beta.sym, ATTEMPTS, SUCCESSES

LAW = Law(
    name="beta-binomial",
    meaning="success rates of problems follow Beta(alpha, beta); coverage 1 - B(alpha, beta+k)/B(alpha, beta)",
    inputs=(k,),
    params=(alpha, beta),
    output=Output("coverage", "share of problems solved by at least one of k samples", (0.0, 1.0)),
    expression=_coverage(_alpha, _beta),
    objectives=("likelihood",),
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
    counts=log_rising(_alpha, _c) + log_rising(_beta, _n - _c) - log_rising(_alpha + _beta, _n),
    posterior=_coverage(_alpha + _c, _beta + _n - _c),
    posterior_beta=(_alpha + _c, _beta + _n - _c),
    derived=(
        Derived("pass_at_1", "mean success rate, alpha/(alpha+beta)", _alpha / (_alpha + _beta)),
    ),
)
