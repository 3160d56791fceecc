"""What the steps of a fit hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.core.law import Law
from scaling.core.objective import Objective
from scaling.fitting.result import Estimate, IntervalSpec, Status

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Progress = Callable[[float], None]


class Replicates(NamedTuple):
    """Refits of R resamples.

    Attributes:
        coordinates: free coordinates, shape (R, p).
        fitted: shape (R,), whether the row has a fit.
        unbounded: shape (R, p), whether a parameter stands for an infinite one: the resample does not limit
            it, and the optimiser stopped somewhere on the way.
    """

    coordinates: FloatArray
    fitted: BoolArray
    unbounded: BoolArray


class LeftOut(NamedTuple):
    """Refits with one problem or cluster left out.

    Attributes:
        coordinates: free coordinates, shape (U, p).
        multiplicity: how many of the units have this refit, shape (U,).
    """

    coordinates: FloatArray
    multiplicity: FloatArray


Refit = Callable[[FloatArray], Replicates]
"""From weights of the distinct counts, shape (R, U), to their refits."""


@dataclass(frozen=True)
class Plan:
    """What is fitted, by what, and how its uncertainty is had.

    Attributes:
        law: the law.
        objective: what is minimised.
        points: log-spaced points of a curve.
        interval: method, level, replicates and seed.
        progress: told the share of the group's work that is done.
        feasible: whether curves are held to c(2) <= 2 c(1).
    """

    law: Law
    objective: Objective
    points: int
    interval: IntervalSpec
    progress: Progress
    feasible: bool = False


@dataclass(frozen=True)
class Core:
    """What an objective yields for one group.

    Attributes:
        coordinates: free coordinates, shape (p,); None where the group has no fit.
        status: see `GroupFit`.
        cautions: what was noticed on the way.
        fit: statistics of the fit.
        draws: bootstrap replicates, or None.
        ends: profile intervals in free coordinates by parameter; infinite where the data set no end.
        derived: what is reported beside the law's own derived quantities.
        left_out: refits without one problem (or cluster) each, or None.
    """

    coordinates: FloatArray | None
    status: Status
    cautions: list[Caution]
    fit: dict[str, float | None]
    draws: Replicates | None = None
    ends: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    left_out: LeftOut | None = None
    derived: Mapping[str, Estimate] = field(default_factory=dict)
