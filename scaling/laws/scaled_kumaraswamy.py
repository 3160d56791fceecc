"""Coverage when success rates follow a Kumaraswamy distribution on (0, s)."""

from __future__ import annotations

import numpy as np
import sympy as sp
from sympy.codegen.cfunctions import expm1

from scaling.core.coverage import COUNT_OBJECTIVES, COVERAGE, SAMPLES
from scaling.core.law import Derived, FloatArray, Law, Param, Reference
from scaling.core.rates import ATTEMPTS, SUCCESSES, TINY, Latent
from scaling.core.support import POSITIVE, UNIT
from scaling.core.symbolic import log_gamma, log_sigmoid

k = SAMPLES
alpha = Param(
    "alpha",
    POSITIVE,
    "weight of hard problems; failure falls as k^-alpha for many samples",
    typical=(0.1, 2.0),
)
beta = Param("beta", POSITIVE, "how rates thin out towards s", typical=(0.7, 6.0))
s = Param("s", UNIT, "largest success rate of any problem", typical=(0.1, 0.7))

_x, _p = sp.Symbol("x", real=True), sp.Symbol("p", positive=True)
_log_share = log_sigmoid(_x) / alpha.sym  # log(p/s): (p/s)^alpha follows Beta(1, beta)
_rate = (SUCCESSES + 1) / (SUCCESSES + (ATTEMPTS - SUCCESSES) * s.sym + 2)
_share = _rate**alpha.sym
_known = (
    SUCCESSES + 1
) / alpha.sym**2  # against the distribution of x itself, about -log(beta) -+ 1

RATES = Latent(  # x = logit((p/s)^alpha)
    variable=_x,
    log_density=sp.log(beta.sym) + log_sigmoid(_x) + beta.sym * log_sigmoid(-_x),
    log_rate=sp.log(s.sym) + _log_share,
    log_failure=sp.log(1 - s.sym - s.sym * expm1(_log_share) + TINY),
    start=(_known * (alpha.sym * sp.log(_rate) - sp.log(1 - _share)) - sp.log(beta.sym))
    / (_known + 1),
    reach=60 + 40 / beta.sym,
)


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """Three sizes of alpha and two scales above the largest raw rate, shape (6, 3).

    Beta is such that the share of problems with rates below 1/n is the share of unsolved ones.
    """
    unsolved = float(np.clip(multiplicity @ (c == 0) / multiplicity.sum(), 0.02, 0.98))
    top = float(np.clip((c / n).max(), 1e-6, 0.9))
    floor = 1.0 / float(n.max())
    starts = []
    for factor in (1.1, 2.0):
        scale = min(factor * top, 0.99)
        for size in (0.05, 0.3, 1.0):
            share = min(floor / scale, 0.5) ** size
            starts.append([size, max(np.log1p(-unsolved) / np.log1p(-share), 0.05), scale])
    return np.array(starts)


LAW = Law(
    name="scaled-kumaraswamy",
    meaning="success rates p of problems on (0, s) with distribution function 1 - (1 - (p/s)^alpha)^beta",
    inputs=(k,),
    params=(alpha, beta, s),
    output=COVERAGE,
    expression=1
    - sp.Integral(
        (1 - _p) ** k.sym
        * alpha.sym
        * beta.sym
        * _p ** (alpha.sym - 1)
        * s.sym**-alpha.sym
        * (1 - (_p / s.sym) ** alpha.sym) ** (beta.sym - 1),
        (_p, 0, s.sym),
    ),
    objectives=COUNT_OBJECTIVES,
    guess={"counts": guess},
    claims=("increasing", "concave", "bounded"),
    references=(
        Reference(
            "Schaeffer et al. (2025), How Do Large Language Monkeys Get Their Power (Laws)?",
            "the Kumaraswamy distribution of success rates; exponent alpha, prefactor beta Gamma(1+alpha) s^-alpha",
            "2502.17578",
        ),
    ),
    rates=RATES,
    limits=("one-rate", "all-or-nothing", "never-and-one-rate"),
    derived=(
        Derived(
            "tail_exponent",
            "failure falls as tail_prefactor k^-tail_exponent for many samples",
            alpha.sym,
        ),
        Derived(
            "tail_prefactor",
            "beta Gamma(1+alpha) s^-alpha",
            beta.sym * sp.exp(log_gamma(1 + alpha.sym) - alpha.sym * sp.log(s.sym)),
        ),
    ),
)
