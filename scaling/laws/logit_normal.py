"""Coverage when the logits of success rates follow a normal distribution: no power-law tail."""

from __future__ import annotations

import numpy as np
import sympy as sp

from scaling.core.coverage import COVERAGE, SAMPLES
from scaling.core.law import FloatArray, Law, Param, Reference
from scaling.core.rates import ATTEMPTS, SUCCESSES, Latent
from scaling.core.support import POSITIVE, REAL
from scaling.core.symbolic import log_sigmoid

k = SAMPLES
mu = Param("mu", REAL, "mean logit of the success rate", typical=(-6.0, -1.0))
sigma = Param("sigma", POSITIVE, "standard deviation of the logit", typical=(0.7, 4.0))

_x, _p = sp.Symbol("x", real=True), sp.Symbol("p", positive=True)
_kernel = sp.log(SUCCESSES + 1) - sp.log(ATTEMPTS - SUCCESSES + 1)
_known = (SUCCESSES + 1) * (ATTEMPTS - SUCCESSES + 1) / (ATTEMPTS + 2)

RATES = Latent(  # x = logit(p)
    variable=_x,
    log_density=-(((_x - mu.sym) / sigma.sym) ** 2) / 2 - sp.log(sigma.sym) - sp.log(2 * sp.pi) / 2,
    log_rate=log_sigmoid(_x),
    log_failure=log_sigmoid(-_x),
    start=(_known * _kernel + mu.sym / sigma.sym**2) / (_known + 1 / sigma.sym**2),
    reach=12 * sigma.sym + 60 * sigma.sym / (1 + sigma.sym),
)


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """Mean logit of the smoothed rates, three spreads, shape (3, 2)."""
    logit = np.log(c + 0.5) - np.log(n - c + 0.5)
    centre = float(np.average(logit, weights=multiplicity))
    return np.array([[centre - spread / 2, spread] for spread in (0.5, 1.5, 4.0)])


LAW = Law(
    name="logit-normal",
    meaning="logits of the success rates of problems follow Normal(mu, sigma); no power-law tail",
    inputs=(k,),
    params=(mu, sigma),
    output=COVERAGE,
    expression=1
    - sp.Integral(
        (1 - 1 / (1 + sp.exp(-_x))) ** k.sym
        * sp.exp(-(((_x - mu.sym) / sigma.sym) ** 2) / 2)
        / (sigma.sym * sp.sqrt(2 * sp.pi)),
        (_x, -sp.oo, sp.oo),
    ),
    objectives=("likelihood", "censored-likelihood"),
    guess={"counts": guess},
    claims=("increasing", "concave", "bounded"),
    references=(
        Reference(
            "Schaeffer et al. (2025), How Do Large Language Monkeys Get Their Power (Laws)?",
            "theorem 3.1: a density without power law at zero gives coverage without power law",
            "2502.17578",
        ),
    ),
    rates=RATES,
)
