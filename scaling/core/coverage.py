"""What the laws of coverage share: their input, their output, and what a count law may be fitted by."""

from __future__ import annotations

import numpy as np

from scaling.core.law import FloatArray, Input, Output

SAMPLES = Input("k", column="samples", unit="attempts")
COVERAGE = Output("coverage", "share of problems solved by at least one of k samples", (0.0, 1.0))
COUNT_OBJECTIVES = (
    "likelihood",
    "penalised-likelihood",
    "censored-likelihood",
    "penalised-censored-likelihood",
)


def pooled_rate(n: FloatArray, c: FloatArray, multiplicity: FloatArray) -> float:
    """The success rate of all attempts together, kept off zero and one."""
    return float(np.clip((multiplicity @ c) / (multiplicity @ n), 1e-6, 1 - 1e-6))
