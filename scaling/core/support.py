"""Where a parameter may lie, and the map to coordinates without bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

EDGE = float(np.log(1e9))  # beyond this, a coordinate between two finite ends stands for the end


@dataclass(frozen=True)
class Support:
    """An open interval (lower, upper), either end of which may be infinite.

    Coordinates without bounds `u`: x = lower + e^u, x = upper - e^u, x = lower + (upper-lower)/(1+e^-u),
    or x = u, according to which ends are finite. Between two finite ends, |u| >= `EDGE` is the end itself.
    """

    lower: float = -np.inf
    upper: float = np.inf

    def __str__(self) -> str:
        """As mathematicians write it."""
        ends = (
            ("-∞" if self.lower == -np.inf else f"{self.lower:g}"),
            ("∞" if self.upper == np.inf else f"{self.upper:g}"),
        )
        return f"({ends[0]}, {ends[1]})"

    def contains(self, x: float) -> bool:
        """Whether `x` lies strictly inside."""
        return bool(self.lower < x < self.upper)

    @property
    def closed(self) -> bool:
        """Whether both ends are finite: they are then limits that an estimate may take."""
        return bool(np.isfinite(self.lower) and np.isfinite(self.upper))

    def free(self, x: ArrayLike) -> FloatArray:
        """The unconstrained coordinate of `x`."""
        x = np.asarray(x, dtype=np.float64)
        if self.closed:
            share = (x - self.lower) / (self.upper - self.lower)
            with np.errstate(divide="ignore"):
                return np.asarray(np.clip(np.log(share) - np.log1p(-share), -EDGE, EDGE))
        if np.isfinite(self.lower):
            return np.asarray(np.log(x - self.lower))
        if np.isfinite(self.upper):
            return np.asarray(np.log(self.upper - x))
        return x

    def bound(self, u: ArrayLike) -> FloatArray:
        """The inverse of `free`."""
        u = np.asarray(u, dtype=np.float64)
        if self.closed:
            inside = self.lower + (self.upper - self.lower) / (1.0 + np.exp(-u))
            return np.where(np.abs(u) < EDGE, inside, np.where(u < 0, self.lower, self.upper))
        if np.isfinite(self.lower):
            return np.asarray(self.lower + np.exp(u))
        if np.isfinite(self.upper):
            return np.asarray(self.upper - np.exp(u))
        return u

    def expression(self, u: Any) -> Any:
        """`bound` as a SymPy expression of the symbol `u`."""
        import sympy as sp

        if self.closed:
            return sp.nsimplify(self.lower) + sp.nsimplify(self.upper - self.lower) / (
                1 + sp.exp(-u)
            )
        if np.isfinite(self.lower):
            return sp.nsimplify(self.lower) + sp.exp(u)
        if np.isfinite(self.upper):
            return sp.nsimplify(self.upper) - sp.exp(u)
        return u


REAL = Support()
POSITIVE = Support(lower=0.0)
NEGATIVE = Support(upper=0.0)
UNIT = Support(0.0, 1.0)
