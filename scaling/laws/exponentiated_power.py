"""Coverage as an exponentiated power law of the number of samples."""

from __future__ import annotations

import numpy as np
import sympy as sp

from scaling.core.coverage import COVERAGE, SAMPLES
from scaling.core.law import Derived, Flag, FloatArray, Law, Param, Preset, Reference
from scaling.core.support import NEGATIVE

k = SAMPLES
a = Param("a", NEGATIVE, "log of the coverage at one sample", typical=(-8.0, -0.3))
b = Param(
    "b", NEGATIVE, "exponent: how fast -log coverage falls with samples", typical=(-0.9, -0.05)
)


def guess(inputs: list[FloatArray], value: FloatArray) -> FloatArray:
    """Least squares of log(-log c) on log k, pulled inside the support; shape (1, 2)."""
    x, c = np.log(inputs[0]), np.clip(value, 1e-12, 1 - 1e-12)
    slope, intercept = np.polyfit(x, np.log(-np.log(c)), 1)
    return np.array([[-np.exp(intercept), min(slope, -1e-3)]])


LAW = Law(
    name="exponentiated-power",
    meaning="coverage rises with samples as exp(a k^b)",
    inputs=(k,),
    params=(a, b),
    output=COVERAGE,
    expression=sp.exp(a.sym * k.sym**b.sym),
    objectives=("logcov", "cov", "loglog"),
    guess={"curve": guess},
    claims=("increasing", "bounded"),
    references=(
        Reference(
            "Brown et al. (2024), Large Language Monkeys: Scaling Inference Compute with Repeated Sampling",
            "equations 2 and 3; fitting in appendix C.1",
            "2407.21787",
        ),
        Reference(
            "Schaeffer et al. (2025), How Do Large Language Monkeys Get Their Power (Laws)?",
            "section 3, -log pass@k as a power law of k",
            "2502.17578",
        ),
    ),
    derived=(Derived("pass_at_1", "coverage at one sample, exp(a)", sp.exp(a.sym)),),
    flags=(
        Flag(
            "infeasible-curve",
            "no set of problems has this coverage curve: it promises more from the second sample than "
            "the first can bring, c(2) > 2 c(1), that is -a (1 - 2^b) > ln 2. Between the data points it is "
            "still a fit; allocations use its concave envelope, and a count law (beta-binomial) does not "
            "have this defect.",
            -a.sym * (1 - 2**b.sym) - sp.log(2),
        ),
    ),
    presets={
        "brown2024": Preset(
            "least squares on log coverage at 20 log-spaced whole numbers of samples, which reproduces the "
            "coefficients printed in Brown et al. (2024), figure 5",
            objective="logcov",
            points=20,
        ),
        "feasible": Preset(
            "least squares on log coverage among the curves that do not promise more from the second sample than "
            "from the first, c(2) <= 2 c(1)",
            objective="logcov",
            points=20,
            feasible=True,
        ),
    },
)
