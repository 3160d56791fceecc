"""Coverage when success rates come from two Beta distributions, a hard and an easy one."""

from __future__ import annotations

import numpy as np
import sympy as sp

from scaling.core.coverage import COVERAGE, SAMPLES
from scaling.core.law import Derived, FloatArray, Law, Param, Reference
from scaling.core.rates import Beta, BetaMixture
from scaling.core.support import POSITIVE, UNIT

k = SAMPLES
w = Param("w", UNIT, "share of hard problems", typical=(0.35, 0.65))
alpha_1 = Param("alpha_1", POSITIVE, "successes' weight among hard problems", typical=(0.6, 1.5))
beta_1 = Param("beta_1", POSITIVE, "failures' weight among hard problems", typical=(20.0, 60.0))
alpha_2 = Param("alpha_2", POSITIVE, "successes' weight among easy problems", typical=(6.0, 10.0))
beta_2 = Param("beta_2", POSITIVE, "failures' weight among easy problems", typical=(3.0, 6.0))

RATES = BetaMixture(
    (Beta(w.sym, alpha_1.sym, beta_1.sym), Beta(1 - w.sym, alpha_2.sym, beta_2.sym))
)


def guess(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> FloatArray:
    """The problems below and above a quantile of the raw rate, two sizes each, shape (6, 5)."""
    order = np.argsort(c / n)
    rate, mass = ((c + 0.5) / (n + 1.0))[order], multiplicity[order]
    upto = mass.cumsum() / mass.sum()
    starts = []
    for cut in (0.3, 0.6, 0.85):
        low = upto <= max(cut, upto[0])
        high = ~low if (~low).any() else low
        means = [float(np.average(rate[part], weights=mass[part])) for part in (low, high)]
        for size in (0.5, 4.0):
            shapes = [x for m in means for x in (size * m + 0.02, size * (1 - m) + 0.02)]
            starts.append([cut, *shapes])
    return np.array(starts)


def harder_first(params: FloatArray) -> FloatArray:
    """The part with the lower mean rate first."""
    share, a, b, other_a, other_b = np.moveaxis(params, -1, 0)
    swapped = np.stack([1 - share, other_a, other_b, a, b], axis=-1)
    return np.where((a / (a + b) > other_a / (other_a + other_b))[..., None], swapped, params)


def _mean(a: Param, b: Param) -> object:
    return a.sym / (a.sym + b.sym)


LAW = Law(
    name="beta-mixture",
    meaning="success rates of problems follow a mixture of two Beta distributions, of hard and of easy problems",
    inputs=(k,),
    params=(w, alpha_1, beta_1, alpha_2, beta_2),
    output=COVERAGE,
    expression=RATES.coverage(k.sym),
    objectives=("likelihood", "penalised-likelihood"),
    guess={"counts": guess},
    claims=("increasing", "concave", "bounded"),
    references=(
        Reference(
            "Schaeffer et al. (2025), How Do Large Language Monkeys Get Their Power (Laws)?",
            "theorem 3.1: the smaller exponent at zero, min(alpha_1, alpha_2), rules for many samples",
            "2502.17578",
        ),
    ),
    rates=RATES,
    canonical=harder_first,
    limits=("one-rate", "all-or-nothing", "two-rates", "one-beta"),
    derived=(
        Derived(
            "pass_at_1",
            "mean success rate",
            w.sym * _mean(alpha_1, beta_1) + (1 - w.sym) * _mean(alpha_2, beta_2),
        ),
        Derived(
            "tail_exponent",
            "the smaller of alpha_1 and alpha_2: failure falls as k^-tail_exponent for many samples",
            sp.Min(alpha_1.sym, alpha_2.sym),
        ),
    ),
)
