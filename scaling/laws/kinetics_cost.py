"""Runtime as FLOPs plus an intensity times the bytes moved: eFLOPs at a rate."""

from __future__ import annotations

import sympy as sp

from scaling.core.law import Derived, Law, Param, Reference
from scaling.core.runtime import BYTES, FLOPS, SECONDS
from scaling.core.support import POSITIVE

F, M = FLOPS, BYTES
s = Param("s", POSITIVE, "seconds of one FLOP", (1e-15, 1e-14), unit="s/FLOP")
I = Param("I", POSITIVE, "FLOPs that take as long as one byte", (50.0, 600.0), unit="FLOP/byte")

LAW = Law(
    name="kinetics-cost",
    meaning="seconds of some work: its FLOPs plus I times its bytes, at s seconds a FLOP",
    inputs=(F, M),
    params=(s, I),
    output=SECONDS,
    expression=s.sym * (F.sym + I.sym * M.sym),
    objectives=("relative",),
    guess={},
    claims=("increasing",),
    references=(
        Reference(
            "Sadhukhan et al. (2025), Kinetics: Rethinking Test-Time Scaling Laws",
            "equation 4, eFLOPs; here with both coefficients fitted to measured seconds",
            "2506.05333",
        ),
    ),
    derived=(
        Derived("flops_per_second", "arithmetic rate, 1 / s", 1 / s.sym),
        Derived("bytes_per_second", "bandwidth, 1 / (s I)", sp.Integer(1) / (s.sym * I.sym)),
    ),
)
