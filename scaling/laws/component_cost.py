"""Runtime as a sum of what steps take besides their work, weight reads, KV reads and arithmetic."""

from __future__ import annotations

from scaling.core.law import Derived, Law, Param, Reference
from scaling.core.runtime import FLOPS, KV_BYTES, SECONDS, STEPS, WEIGHT_BYTES
from scaling.core.support import POSITIVE

n, W, K, F = STEPS, WEIGHT_BYTES, KV_BYTES, FLOPS
t0 = Param("t0", POSITIVE, "seconds of a step besides its work", (1e-4, 1e-2), unit="s")
w = Param("w", POSITIVE, "seconds of reading one byte of weights", (2e-13, 2e-12), unit="s/byte")
k = Param("k", POSITIVE, "seconds of reading one byte of KV cache", (2e-13, 2e-12), unit="s/byte")
f = Param("f", POSITIVE, "seconds of one FLOP", (1e-15, 1e-14), unit="s/FLOP")

LAW = Law(
    name="component-cost",
    meaning="seconds of some work: steps, weight reads, KV reads and arithmetic, each at its rate",
    inputs=(n, W, K, F),
    params=(t0, w, k, f),
    output=SECONDS,
    expression=t0.sym * n.sym + w.sym * W.sym + k.sym * K.sym + f.sym * F.sym,
    objectives=("relative",),
    guess={},
    claims=("increasing",),
    references=(
        Reference(
            "Williams, Waterman and Patterson (2009), Roofline",
            "section 3, arithmetic and memory traffic as the terms of runtime; here they add up",
        ),
    ),
    derived=(
        Derived("weight_bytes_per_second", "bandwidth of weight reads, 1 / w", 1 / w.sym),
        Derived("kv_bytes_per_second", "bandwidth of KV reads, 1 / k", 1 / k.sym),
        Derived("flops_per_second", "arithmetic rate, 1 / f", 1 / f.sym),
        Derived("intensity", "FLOPs that take as long as one byte of KV, k / f", k.sym / f.sym),
    ),
)
