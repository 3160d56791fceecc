"""What a fit does not know of its menu: draws of the values, errors of the costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.core import registry
from scaling.costs import SampleCosts
from scaling.curves import Menu, plain
from scaling.data.schema import ACTION_COLUMNS
from scaling.errors import UsageError
from scaling.fitting.menu import _matches, _serves
from scaling.fitting.result import FitResult, GroupFit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

POSTERIOR_DRAWS = 256
"""Draws of the success rates of single problems, where no number is asked for."""

MOST_RATES = 100_000_000
"""Rates that are held at a time: problems by draws."""


@dataclass(frozen=True)
class FitDraws:
    """Values of a fit's menu under joint draws (`scaling.curves.ValueDraws`).

    Population values: the law at the bootstrap replicates of the rung's group, the replicates of
    different groups independent of one another. A group with fewer replicates than draws uses them
    again; one without any has its value under every draw. Single problems: the law of sampling at
    rates drawn from each problem's posterior given its counts, at the fitted parameters,
    `1 - (1 - p)^k`, independent from problem to problem.

    Attributes:
        fit: the fit.
        count: draws.
        seed: of the posterior draws.
    """

    fit: FitResult
    count: int
    seed: int

    def of(self, menu: Menu) -> FloatArray:
        """Shape (N, D); NaN for rungs of other fits.

        Raises:
            UsageError: more problems by draws than fit into memory.
        """
        out = np.full((menu.value.size, self.count), np.nan)
        for index, curve in enumerate(menu.curve.tolist()):
            if curve < 0:
                continue
            rungs = np.arange(menu.start[curve], menu.start[curve + 1])
            for number, group in enumerate(self.fit.groups):
                if not group.usable or not _serves(group, menu, index):
                    continue
                mine = rungs[_matches(_by(group), menu, rungs)]
                if mine.size:
                    k = menu.action["samples"][mine].astype(np.float64)
                    if menu.estimand == "benchmark":
                        place = self._places[number].get(_problem(menu, index))
                        if place is not None:
                            out[mine] = -np.expm1(np.outer(k, self._log_failures[number][place]))
                    else:
                        out[mine] = self._population(group, k)
        return out

    def _population(self, group: GroupFit, k: FloatArray) -> FloatArray:
        law = registry.law(self.fit.law)
        if group.draws is None:
            return np.repeat(law.value(group.theta, {"samples": k})[:, None], self.count, axis=1)
        used = np.arange(self.count) % len(group.draws)
        values: FloatArray = law.value(group.draws, {"samples": k})
        return values[used].T

    @cached_property
    def _places(self) -> list[dict[tuple[str | None, str], int]]:
        """For each group, its problems by task and name, and by name alone."""
        out: list[dict[tuple[str | None, str], int]] = []
        for group in self.fit.groups:
            named: dict[tuple[str | None, str], int] = {}
            if group.problems is not None:
                pairs = zip(group.problems.task, group.problems.problem, strict=True)
                for place, (task, problem) in enumerate(pairs):
                    named[str(task), str(problem)] = place
                    named[None, str(problem)] = place
            out.append(named)
        return out

    @cached_property
    def _log_failures(self) -> list[FloatArray]:
        """For each group, `log(1 - p)` of every problem and draw, shape (P, D)."""
        law, out = registry.law(self.fit.law), []
        for number, group in enumerate(self.fit.groups):
            problems = group.problems
            if problems is None or not group.usable:
                out.append(np.zeros((0, self.count)))
                continue
            if len(problems.n) * self.count > MOST_RATES:
                raise UsageError(
                    f"{len(problems.n):,} problems by {self.count:,} draws are too many. "
                    "Ask for fewer draws, or allocate by group (--class group)."
                )
            rng = np.random.default_rng([self.seed, number])
            n, c = np.tile(problems.n, self.count), np.tile(problems.c, self.count)
            rates = law.draw_rates(group.theta, n, c, rng).reshape(self.count, -1)
            with np.errstate(divide="ignore"):
                out.append(np.maximum(np.log1p(-rates.T), -1e300))
        return out


def draws(fit: FitResult, count: int | None, seed: int, *, classes: str) -> FitDraws | None:
    """See `FitResult.draws`."""
    kept = [len(g.draws) for g in fit.groups if g.usable and g.draws is not None]
    if classes == "problem":
        return FitDraws(fit, count or POSTERIOR_DRAWS, seed)
    return FitDraws(fit, count or max(kept), seed) if kept else None


@dataclass(frozen=True)
class FitCostErrors:
    """Errors of the costs of a fit's menu (`scaling.curves.CostErrors`).

    What a sample uses is measured with a standard error that has problems as its units; se sqrt(P)
    is then how much the mean use of a problem's samples differs from problem to problem. Both grow
    in proportion to the samples. Costs that follow from what was measured (dollars of tokens) take
    their errors along, to first order; what was given by hand is exact.
    """

    fit: FitResult
    costs: SampleCosts

    def of(self, menu: Menu, resource: str) -> tuple[IntArray, FloatArray, FloatArray]:
        """Group, standard error and spread of each rung, each of shape (N,)."""
        size = menu.value.size
        group_of = np.full(size, -1, dtype=np.int64)
        se, spread = np.zeros(size), np.zeros(size)
        errors = [self._per_sample(group, resource) for group in self.fit.groups]
        for index, curve in enumerate(menu.curve.tolist()):
            if curve < 0:
                continue
            rungs = np.arange(menu.start[curve], menu.start[curve + 1])
            for number, group in enumerate(self.fit.groups):
                if not _serves(group, menu, index):
                    continue
                mine = rungs[_matches(_by(group), menu, rungs)]
                k = menu.action["samples"][mine]
                group_of[mine] = number
                se[mine] = k * errors[number]
                spread[mine] = k * errors[number] * np.sqrt(max(group.n_problems, 1))
        return group_of, se, spread

    def _per_sample(self, group: GroupFit, resource: str) -> float:
        means = {name: use.mean for name, use in group.resources.items()}
        base = self.costs.of(group.model, means).per_sample.get(resource, 0.0)
        square = 0.0
        for name, use in group.resources.items():
            if use.se:
                moved = self.costs.of(group.model, {**means, name: use.mean + use.se})
                square += (moved.per_sample.get(resource, base) - base) ** 2
        return float(np.sqrt(square))


def _by(group: GroupFit) -> dict[str, Any]:
    """The action columns of a group's rungs."""
    own = {column: value for column, value in group.by.items() if column in ACTION_COLUMNS}
    return {**own, "model": group.model or ""}


def _problem(menu: Menu, index: int) -> tuple[str | None, str]:
    """Task, where the menu tells tasks apart, and name of a class that is a problem."""
    task: Mapping[str, Any] = {n: plain(menu.key[n][index]) for n in ("task",) if n in menu.key}
    return task.get("task"), str(plain(menu.key["problem"][index]))
