"""Coverage when success rates are s times a Beta variable, so that none exceeds s."""

from __future__ import annotations

import numpy as np
import sympy as sp

from scaling.core.coverage import COUNT_OBJECTIVES, COVERAGE, SAMPLES, pooled_rate
from scaling.core.law import Derived, FloatArray, Law, Param, Reference
from scaling.core.rates import ATTEMPTS, SUCCESSES, TINY, Latent
from scaling.core.special import log_scaled_beta_moment
from scaling.core.support import POSITIVE, UNIT
from scaling.core.symbolic import log_gamma, log_rising, log_sigmoid

k = SAMPLES
alpha = Param(
    "alpha",
    POSITIVE,
    "weight of hard problems; failure falls as k^-alpha for many samples",
    typical=(0.1, 2.0),
)
beta = Param("beta", POSITIVE, "how rates thin out towards s", typical=(0.5, 6.0))
s = Param("s", UNIT, "largest success rate of any problem", typical=(0.1, 0.7))

_x, _u = sp.Symbol("x", real=True), sp.Symbol("u", positive=True)
_easy = (SUCCESSES + alpha.sym + 1) / (
    alpha.sym + beta.sym + SUCCESSES + (ATTEMPTS - SUCCESSES) * s.sym + 2
)

RATES = Latent(  # x = logit(p/s)
    variable=_x,
    log_density=alpha.sym * log_sigmoid(_x)
    + beta.sym * log_sigmoid(-_x)
    - log_gamma(alpha.sym)
    - log_gamma(beta.sym)
    + log_gamma(alpha.sym + beta.sym),
    log_rate=sp.log(s.sym) + log_sigmoid(_x),
    log_failure=sp.log(1 - s.sym + s.sym * sp.exp(log_sigmoid(-_x)) + TINY),
    start=sp.log(_easy) - sp.log(1 - _easy),
    reach=60 + 40 / alpha.sym + 40 / beta.sym,
    exact=log_scaled_beta_moment,
)


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """Three sizes of alpha and two scales above the largest raw rate, shape (6, 3)."""
    mean = pooled_rate(n, c, multiplicity)
    top = float((c / n).max())
    starts = []
    for factor in (1.1, 2.0):
        scale = float(np.clip(factor * top, min(1.05 * mean, 0.99), 0.99))
        rate = min(mean / scale, 0.99)
        starts += [[size, size * (1 - rate) / rate, scale] for size in (0.05, 0.3, 1.0)]
    return np.array(starts)


LAW = Law(
    name="scaled-beta-binomial",
    meaning="success rates of problems are s times a Beta(alpha, beta) variable",
    inputs=(k,),
    params=(alpha, beta, s),
    output=COVERAGE,
    expression=1
    - sp.Integral(
        (1 - s.sym * _u) ** k.sym * _u ** (alpha.sym - 1) * (1 - _u) ** (beta.sym - 1), (_u, 0, 1)
    )
    / (sp.gamma(alpha.sym) * sp.gamma(beta.sym) / sp.gamma(alpha.sym + beta.sym)),
    objectives=COUNT_OBJECTIVES,
    guess={"counts": guess},
    claims=("increasing", "concave", "bounded"),
    references=(
        Reference(
            "Schaeffer et al. (2025), How Do Large Language Monkeys Get Their Power (Laws)?",
            "the scaled beta-binomial distribution of success rates; exponent alpha, prefactor times s^-alpha",
            "2502.17578",
        ),
    ),
    rates=RATES,
    limits=("one-rate", "all-or-nothing", "never-and-one-rate"),
    derived=(
        Derived(
            "pass_at_1",
            "mean success rate, s alpha/(alpha+beta)",
            s.sym * alpha.sym / (alpha.sym + beta.sym),
        ),
        Derived(
            "tail_exponent",
            "failure falls as tail_prefactor k^-tail_exponent for many samples",
            alpha.sym,
        ),
        Derived(
            "tail_prefactor",
            "Gamma(alpha+beta)/Gamma(beta) s^-alpha",
            sp.exp(log_rising(beta.sym, alpha.sym) - alpha.sym * sp.log(s.sym)),
        ),
    ),
)
