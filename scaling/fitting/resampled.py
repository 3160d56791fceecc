"""Coverage of one side of a comparison on resamples of its problems: by its counts, and by its law refitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scaling.core import registry
from scaling.data.distinct import UniqueCounts, unique_counts
from scaling.fitting.pairing import Side
from scaling.fitting.passk import log_grid
from scaling.fitting.stopped import curve, stopping_batch

if TYPE_CHECKING:
    from scaling.core.law import Law

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_GRID = 60  # points of the curve on which equal coverage is sought


Refit = Callable[[FloatArray], tuple[FloatArray, BoolArray]]


class Curves:
    """Coverage of one side on resamples of the matched problems, by its counts and by its law."""

    def __init__(self, side: Side, rows: IntArray) -> None:
        self.side = side
        n, c = side.n[rows], side.c[rows]
        self.counts = unique_counts(n, c)
        self.batch = stopping_batch(self.counts, side.stop_rule, side.stop_batch)
        self.reach = int(n.max() if self.batch else n.min())
        self.place = self.counts.place(n, c)
        grid = log_grid(self.reach // (self.batch or 1), _GRID) * (self.batch or 1)
        self.grid = grid if len(grid) and grid[0] >= 1 else np.array([1])
        self.law, self.refit = _refitted(side, self.counts)

    def weights(self, table: FloatArray, place: IntArray) -> FloatArray:
        """From weights of the joint counts (R, Q) to those of this side's (R, U)."""
        order = np.argsort(place, kind="stable")
        first = np.searchsorted(place[order], np.arange(len(self.counts.n)))
        return np.asarray(np.add.reduceat(table[:, order], first, axis=1))

    def by_counts(self, w: FloatArray, k: IntArray) -> FloatArray:
        """Shape (R, K), NaN where the counts do not tell."""
        return curve(self.counts, k, w / w.sum(axis=1, keepdims=True), self.batch)


def _refitted(side: Side, counts: UniqueCounts) -> tuple[Law | None, Refit | None]:
    """The side's law, and a function from weights (R, U) to parameters (R, p) and whether there are any."""
    g = side.group
    if g is None or not g.usable or g.law in registry.FORECASTERS:
        return None, None
    from scaling.core.objective import OBJECTIVES

    law, objective = registry.law(g.law), OBJECTIVES[str(side.objective)]
    start = law.free(g.theta)
    if objective.observation.name == "counts":
        from scaling.fitting.likelihood import CountLikelihood, canonical, maximise, unbounded

        likelihood = CountLikelihood(law, counts, objective)

        def by_likelihood(w: FloatArray) -> tuple[FloatArray, BoolArray]:
            found = maximise(likelihood, w, start)
            coordinates = canonical(law, found.coordinates)
            away = unbounded(law, coordinates).any(axis=1)
            return law.bound(coordinates), found.converged | away

        return law, by_likelihood

    from scaling.fitting.fit import POINTS
    from scaling.fitting.objectives import solver
    from scaling.fitting.passk import mean_of, pass_at_k
    from scaling.fitting.plan import Plan
    from scaling.fitting.result import IntervalSpec

    recipe = law.preset(side.preset) if side.preset else None
    points = recipe.points if recipe else POINTS
    no_interval, feasible = IntervalSpec("none", 0.95, 0, 0), bool(recipe and recipe.feasible)
    plan = Plan(law, objective, points, no_interval, lambda _: None, feasible)
    solve = solver(plan)
    grid = log_grid(int(counts.n.min()), points)
    table = pass_at_k(counts.n[:, None], counts.c[:, None], grid[None, :])

    def by_curve(w: FloatArray) -> tuple[FloatArray, BoolArray]:
        curves = mean_of(w / w.sum(axis=1, keepdims=True), table)
        top = curves < 1 if objective.link == "log-log" else curves <= 1
        known = np.all((curves > 0) & top, axis=1) & (np.ptp(curves, axis=1) > 0)
        out, fitted = np.full((len(w), len(start)), np.nan), np.zeros(len(w), dtype=bool)
        if known.any():
            found = solve(plan, [grid.astype(float)], curves[known], start)
            out[known], fitted[known] = law.bound(found.coordinates), found.converged
        return out, fitted

    return law, by_curve
