"""How the time of arithmetic and the time of memory traffic make up the time of both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from scaling.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

RULES = ("additive", "max", "p-norm", "fitted")
FITTED = ("constant", "flops", "weights", "kv")


@dataclass(frozen=True)
class Composition:
    """Seconds from the seconds of arithmetic `c` and of memory traffic `m`.

    `additive`: `c + m`, nothing overlaps (Kinetics). `max`: perfect overlap, a lower bound. `p-norm`:
    `(c^p + m^p)^(1/p)`, between the two. `fitted`: `constant + flops F + weights B_w + kv B_kv`, with
    coefficients in seconds, seconds a FLOP and seconds a byte, as a fit of measured times gives them.

    Attributes:
        name: one of `RULES`.
        exponent: p, at least 1; of the p-norm.
        coefficients: by name of `FITTED`; those left out are 0.

    Raises:
        UsageError: an unknown rule, an exponent below 1, or coefficients that are negative or unknown.
    """

    name: Literal["additive", "max", "p-norm", "fitted"] = "additive"
    exponent: float = 2.0
    coefficients: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise UsageError(f"composition is {self.name!r}. It must be one of {', '.join(RULES)}.")
        if not (math.isfinite(self.exponent) and self.exponent >= 1):
            raise UsageError(f"the exponent of the p-norm is {self.exponent}; it starts at 1.")
        for name, value in self.coefficients.items():
            if name not in FITTED or not math.isfinite(value) or value < 0:
                raise UsageError(
                    f"fitted coefficient {name} is {value}. They are {', '.join(FITTED)}, in seconds "
                    "a unit, zero or more."
                )
        if (self.name == "fitted") != bool(self.coefficients):
            raise UsageError("a fitted composition needs coefficients, and only it does.")

    @property
    def label(self) -> str:
        """As the command line takes it: `additive`, `p-norm:2`."""
        return f"p-norm:{self.exponent:g}" if self.name == "p-norm" else self.name

    def seconds(self, compute: FloatArray, memory: FloatArray) -> FloatArray:
        """`additive`, `max` or `p-norm` of two times; same shapes."""
        if self.name == "additive":
            return np.asarray(compute + memory)
        larger = np.maximum(compute, memory)
        if self.name == "max":
            return np.asarray(larger)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(larger > 0, np.minimum(compute, memory) / larger, 0.0)
        # log1p and the larger one taken out: no overflow at large p
        return np.asarray(larger * np.exp(np.log1p(share**self.exponent) / self.exponent))

    def slopes(self, compute: FloatArray, memory: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Derivatives of `seconds` in both; where both are equal the larger one is arithmetic."""
        if self.name == "additive":
            return np.ones_like(compute), np.ones_like(memory)
        if self.name == "max":
            first = (compute >= memory).astype(np.float64)
            return first, 1 - first
        whole = np.maximum(self.seconds(compute, memory), np.finfo(float).tiny)
        power = self.exponent - 1
        return np.asarray((compute / whole) ** power), np.asarray((memory / whole) ** power)
