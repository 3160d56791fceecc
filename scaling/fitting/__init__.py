"""From a sweep to a law with honest uncertainty."""

from __future__ import annotations

from scaling.fitting.fit import fit
from scaling.fitting.passk import coverage, pass_at_k
from scaling.fitting.prediction import Prediction, PredictionRow
from scaling.fitting.result import Estimate, FitResult, GroupFit, IntervalSpec

__all__ = [
    "Estimate",
    "FitResult",
    "GroupFit",
    "IntervalSpec",
    "Prediction",
    "PredictionRow",
    "coverage",
    "fit",
    "pass_at_k",
]
