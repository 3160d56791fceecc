"""A curve known at fixed numbers of samples: the form that a forecast takes among the laws."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import sympy as sp

from scaling.core.coverage import COVERAGE
from scaling.core.law import FloatArray, Input, Law, Param, Reference
from scaling.core.support import REAL

LAST = 1_000_000
"""The largest number of samples of a forecast."""
KNOTS = np.unique(np.round(np.geomspace(1, LAST, 73))).astype(np.int64)
"""Numbers of samples at which the curve is known: 12 a decade, whole."""


class Tabulated(Law):
    """A law whose parameters are its own values at `KNOTS`.

    In between it is a cubic in log k whose slopes are those of parabolas through neighbours, cut to at
    most three times the flatter secant, which keeps it monotone (Fritsch and Carlson 1980). Beyond the
    last knot it stays flat.
    """

    @cached_property
    def _value(self) -> Callable[..., list[Any]]:
        x = np.log(KNOTS.astype(np.float64))
        gap = np.diff(x)
        at_most = range(len(gap))

        def value(*given: FloatArray) -> list[FloatArray]:
            *columns, k = (np.asarray(g, dtype=np.float64) for g in given)
            k = np.minimum(k, LAST)
            table = np.stack(np.broadcast_arrays(*columns), axis=-1)
            secant = np.diff(table, axis=-1) / gap
            left, right = secant[..., :-1], secant[..., 1:]
            inner = (left * gap[1:] + right * gap[:-1]) / (gap[1:] + gap[:-1])
            ends = 2 * secant[..., [0, -1]] - inner[..., [0, -1]]
            slope = np.concatenate([ends[..., :1], inner, ends[..., 1:]], axis=-1)
            flattest = np.minimum(secant[..., [0, *at_most]], secant[..., [*at_most, -1]])
            slope = np.clip(slope, 0.0, 3 * np.maximum(flattest, 0.0))
            shape = np.broadcast_shapes(table.shape[:-1], k.shape)
            at = np.broadcast_to(
                np.clip(np.searchsorted(KNOTS, k, "right") - 1, 0, len(gap) - 1), shape
            )

            def pick(values: FloatArray, place: Any) -> FloatArray:
                whole = np.broadcast_to(values, (*shape, values.shape[-1]))
                return np.take_along_axis(whole, place[..., None], axis=-1)[..., 0]

            h = gap[at]
            t = (np.log(k) - x[at]) / h
            rise = pick(secant, at)
            first, second = pick(slope, at), pick(slope, at + 1)
            bend = (first - rise) * (1 - t) - (second - rise) * t
            return [pick(table, at) + t * h * (rise + (1 - t) * bend)]

        return value


k = Input("k", column="samples", unit="attempts", grid=(1.0, float(LAST)))

FORECAST = Tabulated(
    name="forecast",
    meaning="coverage forecast by several models, weighed by how well they foretell this very log",
    inputs=(k,),
    params=tuple(
        Param(f"c({knot})", REAL, f"coverage at {knot:,} samples", typical=(0.1, 0.9))
        for knot in KNOTS.tolist()
    ),
    output=COVERAGE,
    expression=sp.Symbol("C_k"),
    objectives=("forecast",),
    guess={},
    claims=("increasing", "bounded"),
    references=(
        Reference(
            "scaling.fitting.forecast",
            "the members, their weights and the calibration of the interval",
        ),
    ),
)
