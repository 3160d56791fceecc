"""The best value by budget: hindsight a query, one action for all, one a bin, and the priced optimum.

A cap on what each query may cost is what Kinetics plots (Sadhukhan et al. 2025, arXiv 2506.05333): the best
action of every query by hindsight, which nobody can serve. What can be served stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from scaling.costs.kinetics import INTENSITIES
from scaling.curves import upper_hull, validate
from scaling.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from scaling.curves import FloatArray, IntArray, Menu

POLICIES = ("oracle", "bins", "uniform", "priced")
"""`oracle`: the best action of each query within the cap, chosen in hindsight. `bins`: one action for all
queries of a bin. `uniform`: one action for all. `priced`: within the average, one price for everybody, an
upper bound on what any allocation over these queries reaches."""

_CELLS = 20_000_000
"""Entries of a table that are held at once."""


class Step(NamedTuple):
    """Where the best model changes.

    Attributes:
        budget: the first budget at which it is best.
        model: which.
        value: what it reaches there.
    """

    budget: float
    model: str
    value: float


def walk(budgets: ArrayLike, value: Mapping[str, ArrayLike]) -> list[Step]:
    """The best model along the budgets; while it is tied, a model stays.

    Args:
        budgets: shape (T,), rising.
        value: model to shape (T,).

    Returns:
        the steps, from the first budget at which some model is worth more than nothing.
    """
    names = list(value)
    table = np.array([np.asarray(value[name], dtype=np.float64) for name in names])
    steps: list[Step] = []
    now = -1
    for t, budget in enumerate(np.asarray(budgets, dtype=np.float64)):
        best = float(table[:, t].max())
        if best > 0 and (now < 0 or table[now, t] < best):
            now = int(table[:, t].argmax())
            steps.append(Step(float(budget), names[now], best))
    return steps


def moving_average(value: ArrayLike, width: int = 3) -> FloatArray:
    """Means over `width` neighbours, fewer at the ends; Kinetics smooths its curves so.

    It hides crossings and makes others, so nothing here smooths unless asked.
    """
    v = np.asarray(value, dtype=np.float64)
    ones = np.ones(width)
    return np.asarray(np.convolve(v, ones, "same") / np.convolve(np.ones_like(v), ones, "same"))


@dataclass(frozen=True)
class PolicyCurves:
    """What budgets buy under several policies, side by side.

    Attributes:
        resource: what is budgeted.
        budgets: shape (T,).
        value: policy to shape (T,), the weighted mean over the queries; a query that no action fits
            counts 0.
        by_model: policy to model to shape (T,), with actions of that model only; `priced` has none.
        choice: policy to shape (T, C), rungs of the menu, -1 for none; `priced` has none.
        held_out: whether values are those of another half than actions were chosen on.
    """

    resource: str
    budgets: FloatArray
    value: Mapping[str, FloatArray]
    by_model: Mapping[str, Mapping[str, FloatArray]]
    choice: Mapping[str, IntArray]
    held_out: bool

    def walk(self, policy: str = "oracle") -> list[Step]:
        """The best model along the budgets, under one policy."""
        if policy not in self.by_model:
            raise UsageError(f"policy {policy!r} has no models; {', '.join(self.by_model)} have.")
        return walk(self.budgets, self.by_model[policy])

    def to_frame(self) -> Any:
        """One row a budget, one column a policy."""
        import pandas as pd

        return pd.DataFrame({self.resource: self.budgets, **self.value})


def policy_curves(
    menu: Menu,
    budgets: ArrayLike,
    *,
    resource: str = "eflops",
    bins: ArrayLike | None = None,
    held_out: Menu | None = None,
) -> PolicyCurves:
    """The best value by budget under every policy.

    A budget caps the cost of each query: `value(C) = mean_q v_q(x_q) [c_q(x_q) <= C]`, where x_q is free
    (`oracle`), one a bin, or one for all. So `oracle >= bins >= uniform` where actions are scored on what
    they were chosen on. `priced` instead keeps the average within C.

    Args:
        menu: one class a query; actions of several queries are the same where all their columns are.
        budgets: shape (T,).
        resource: what is budgeted.
        bins: shape (C,), the bin of each query, of what is known before spending; without them there
            is no policy `bins`.
        held_out: the same menu with values from attempts that no choice saw. Give it: hindsight on the
            attempts that are scored flatters every policy, and the oracle most.

    Raises:
        UsageError: a resource that the menu lacks, budgets that are not positive, bins of another length,
            or a held-out menu with other actions.
        InputError: a menu that is not whole.
    """
    validate(menu)
    if resource not in menu.cost:
        raise UsageError(f"The menu has no cost in {resource}; it has: {', '.join(menu.cost)}.")
    asked = np.atleast_1d(np.asarray(budgets, dtype=np.float64))
    if not (np.isfinite(asked) & (asked > 0)).all():
        raise UsageError(f"Budgets must be positive numbers; the smallest is {asked.min()}.")
    table = _Table.of(menu, resource, held_out)
    models = menu.action.get("model")
    groups: dict[str, NDArray[Any]] = {"uniform": np.zeros(table.weight.size, dtype=np.int64)}
    if bins is not None:
        given = np.asarray(bins)
        if given.shape != (menu.weight.size,):
            raise UsageError(
                f"bins have shape {given.shape}; one bin for each of the {menu.weight.size} queries."
            )
        groups = {"bins": np.unique(given[table.classes], return_inverse=True)[1], **groups}
    value, choice = {}, {}
    by_model: dict[str, dict[str, FloatArray]] = {}
    names = [] if models is None else list(dict.fromkeys(models.tolist()))
    own = {str(name): np.asarray(table.model == name) for name in names}
    value["oracle"], choice["oracle"] = table.oracle(asked)
    by_model["oracle"] = {name: table.oracle(asked, only)[0] for name, only in own.items()}
    for policy, group in groups.items():
        value[policy], choice[policy] = table.grouped(asked, group)
        by_model[policy] = {
            name: table.grouped(asked, group, only)[0] for name, only in own.items()
        }
    value["priced"] = table.priced(menu, asked, resource)
    return PolicyCurves(resource, asked, value, by_model, choice, held_out is not None)


@dataclass(frozen=True)
class _Table:
    """Queries by distinct actions.

    Attributes:
        classes: shape (Q,), the classes that are served.
        weight: shape (Q,), adding up to the share of the traffic that they are.
        cost: shape (Q, A), infinite where an action is not on offer.
        value, scored: shape (Q, A), what choices are made by and what they are scored by.
        rung: shape (Q, A), of the menu.
        model: shape (A,).
    """

    classes: IntArray
    weight: FloatArray
    cost: FloatArray
    value: FloatArray
    scored: FloatArray
    rung: IntArray
    model: NDArray[Any]

    @classmethod
    def of(cls, menu: Menu, resource: str, held_out: Menu | None) -> _Table:
        scored = menu.value
        if held_out is not None:
            validate(held_out)
            same = held_out.value.shape == menu.value.shape and all(
                np.array_equal(menu.action[k], held_out.action.get(k, np.empty(0)))
                for k in menu.action
            )
            if not same or not np.array_equal(menu.start, held_out.start):
                raise UsageError(
                    "The held-out menu offers other actions. Make both of the same configurations."
                )
            scored = held_out.value
        columns = [np.unique(v, return_inverse=True)[1] for v in menu.action.values()]
        rows = np.stack(columns, axis=1) if columns else np.zeros((menu.value.size, 1), np.int64)
        _, first, action = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        action = action.reshape(-1)
        classes = np.flatnonzero(menu.curve >= 0)
        shape = classes.size, first.size
        if math.prod(shape) > _CELLS:
            raise UsageError(
                f"{shape[0]:,} queries times {shape[1]:,} actions are more than {_CELLS:,} cells. "
                "Give a sample of the queries, or fewer actions."
            )
        found = cls(
            classes=classes,
            weight=menu.weight[classes] / menu.weight.sum(),
            cost=np.full(shape, np.inf),
            value=np.zeros(shape),
            scored=np.zeros(shape),
            rung=np.full(shape, -1),
            model=menu.action["model"][first] if "model" in menu.action else np.zeros(first.size),
        )
        for q, c in enumerate(classes):
            rungs = np.arange(menu.start[menu.curve[c]], menu.start[menu.curve[c] + 1])
            at = action[rungs]
            found.cost[q, at] = menu.cost[resource][rungs]
            found.value[q, at], found.scored[q, at] = menu.value[rungs], scored[rungs]
            found.rung[q, at] = rungs
        return found

    def oracle(
        self, budgets: FloatArray, only: NDArray[np.bool_] | None = None
    ) -> tuple[FloatArray, IntArray]:
        """Each query its best action within the cap: a running maximum along rising costs."""
        cost = self.cost if only is None else self.cost[:, only]
        value = self.value if only is None else self.value[:, only]
        scored = self.scored if only is None else self.scored[:, only]
        rung = self.rung if only is None else self.rung[:, only]
        total = np.zeros(budgets.size)
        chosen = np.full((budgets.size, cost.shape[0]), -1)
        for q in range(cost.shape[0]):
            order = np.lexsort((-value[q], cost[q]))
            v = value[q, order]
            leads = np.concatenate(([True], v[1:] > np.maximum.accumulate(v)[:-1]))
            best = order[np.maximum.accumulate(np.where(leads, np.arange(v.size), 0))]
            last = np.searchsorted(cost[q, order], budgets, side="right") - 1
            fits = last >= 0
            total[fits] += self.weight[q] * scored[q, best[last[fits]]]
            chosen[fits, q] = rung[q, best[last[fits]]]
        return total, chosen

    def grouped(
        self, budgets: FloatArray, group: IntArray, only: NDArray[np.bool_] | None = None
    ) -> tuple[FloatArray, IntArray]:
        """One action for all queries of a group; those that it is too dear for count 0."""
        cost = self.cost if only is None else self.cost[:, only]
        rung = self.rung if only is None else self.rung[:, only]
        gain = self.weight[:, None] * (self.value if only is None else self.value[:, only])
        scored = self.weight[:, None] * (self.scored if only is None else self.scored[:, only])
        total = np.zeros(budgets.size)
        chosen = np.full((budgets.size, cost.shape[0]), -1)
        for g in np.unique(group):
            mine = np.flatnonzero(group == g)
            for t, budget in enumerate(budgets):
                fits = cost[mine] <= budget
                best = int((gain[mine] * fits).sum(axis=0).argmax())
                total[t] += float((scored[mine, best] * fits[:, best]).sum())
                chosen[t, mine] = np.where(fits[:, best], rung[mine, best], -1)
        return total, chosen

    def priced(self, menu: Menu, budgets: FloatArray, resource: str) -> FloatArray:
        """The concave envelope of what averages buy: `sum_q w_q hull_q` filled by falling slope."""
        hull = upper_hull(menu.value, menu.cost[resource], menu.start, nothing=True)
        first, last = hull.start[menu.curve[self.classes]], hull.start[menu.curve[self.classes] + 1]
        steps = [np.arange(a + 1, b) for a, b in zip(first, last, strict=True)]
        each = np.repeat(self.weight, [s.size for s in steps])
        at = np.concatenate([*steps, np.empty(0, dtype=np.int64)])
        order = np.argsort(-hull.slope[at], kind="stable")
        spent = np.cumsum((each * (hull.cost[at] - hull.cost[at - 1]))[order])
        gained = np.cumsum((each * (hull.value[at] - hull.value[at - 1]))[order])
        start = float(self.weight @ hull.value[first])
        return np.asarray(start + np.interp(budgets, np.append(0.0, spent), np.append(0.0, gained)))


# --- what hangs on the intensity, and how knobs grow with the budget ------------------------------


class Threshold(NamedTuple):
    """The model that a frontier stays with.

    Attributes:
        intensity: FLOPs charged a byte.
        model: which holds the largest part of the budgets, on a log scale.
        share: that part, of the budgets at which anything is solved.
        steps: where the best model changes.
    """

    intensity: float
    model: str
    share: float
    steps: tuple[Step, ...]


def thresholds(
    menu: Menu,
    *,
    policy: str = "oracle",
    intensities: Sequence[float] = INTENSITIES,
    points: int = 100,
    bins: ArrayLike | None = None,
) -> list[Threshold]:
    """The threshold model at other charges for a byte.

    Kinetics calls a size the threshold up to which a larger model beats more tokens. Here it is the model
    that is best over the largest part of the budgets, from the cheapest action to the dearest on a log
    scale.

    Args:
        menu: with `flops` and `bytes` among its costs, and `model` among its actions.
        policy: whose frontier.
        intensities: FLOPs a byte.
        points: budgets on the grid.
        bins: for the policy `bins`.

    Raises:
        UsageError: a menu without those costs, or without models.
    """
    if not {"flops", "bytes"} <= set(menu.cost) or "model" not in menu.action:
        raise UsageError(
            "Thresholds need models, and flops and bytes among the costs: price the menu by a cost model."
        )
    found = []
    for intensity in intensities:
        eflops = menu.cost["flops"] + intensity * menu.cost["bytes"]
        budgets = np.geomspace(max(eflops.min(), np.finfo(float).tiny), eflops.max(), points)
        again = replace(menu, cost={**menu.cost, "eflops": eflops})
        steps = policy_curves(again, budgets, bins=bins).walk(policy)
        ends = [*(s.budget for s in steps[1:]), float(budgets[-1])]
        held: dict[str, float] = {}
        for step, end in zip(steps, ends, strict=False):
            held[step.model] = held.get(step.model, 0.0) + math.log(end / step.budget)
        best = max(held, key=lambda name: held[name], default="")
        whole = sum(held.values())
        share = held[best] / whole if whole > 0 else 1.0
        found.append(Threshold(intensity, best, share, tuple(steps)))
    return found


class Exponent(NamedTuple):
    """A knob as a power of the budget, `knob ~ C^estimate`.

    Attributes:
        estimate: least-squares slope of log mean knob on log budget.
        interval: percentiles over queries drawn anew, at `level`; None where fewer than two queries.
        level: of the interval.
        doubling: what twice the budget multiplies the knob by, `2^estimate`.
        budgets: how many points the slope is of.
    """

    estimate: float
    interval: tuple[float, float] | None
    level: float
    doubling: float
    budgets: int


def exponent_of_doubling(factor: float) -> float:
    """The exponent that multiplies by `factor` when the budget doubles: `log2 factor`."""
    if not factor > 0:
        raise UsageError(f"A factor is a positive number; {factor} is not.")
    return math.log2(factor)


def budget_exponents(
    menu: Menu,
    found: PolicyCurves,
    knobs: Mapping[str, ArrayLike],
    *,
    policy: str = "oracle",
    feasible: float = 0.5,
    replicates: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Exponent]:
    """How the knobs of the chosen actions grow with the budget.

    Queries are the units: intervals come from drawing queries anew, never from the points of one curve.
    Where cache reads dominate, a budget goes into `KV budget x generated tokens`, so that the two exponents
    add up to about 1.

    Args:
        menu: that `found` is of.
        found: its curves.
        knobs: name to shape (N,), a positive number for each rung, such as its `kv_budget`, or its samples
            times its tokens.
        policy: whose choices.
        feasible: share of the queries that must have an action at a budget for it to count.
        replicates: draws of the queries.
        level: of the intervals.
        seed: of the draws.

    Raises:
        UsageError: a policy without choices, a knob of another length or not positive, or fewer than three
            budgets at which enough queries have an action.
    """
    if policy not in found.choice:
        raise UsageError(f"policy {policy!r} has no choices; {', '.join(found.choice)} have.")
    chosen = found.choice[policy]
    served = np.flatnonzero(menu.curve >= 0)
    weight = menu.weight[served]
    there = chosen >= 0
    usable = (there @ weight) / weight.sum() >= feasible
    if usable.sum() < 3:
        raise UsageError(
            f"At {int(usable.sum())} of {usable.size} budgets {feasible:.0%} of the queries have an action; "
            "a slope needs three. Give larger budgets."
        )
    x = np.log(found.budgets[usable])
    x = x - x.mean()
    draws = np.random.default_rng(seed).multinomial(
        served.size, np.full(served.size, 1 / served.size), size=replicates
    )
    out = {}
    for name, given in knobs.items():
        column = np.asarray(given, dtype=np.float64)
        if column.shape != menu.value.shape or not (column > 0).all():
            raise UsageError(
                f"knob {name} has shape {column.shape}; give a positive number for each of the "
                f"{menu.value.size} rungs."
            )
        at = np.where(there, column[np.maximum(chosen, 0)], 0.0)[usable]
        present = there[usable]

        def slope(mass: FloatArray, at: FloatArray = at, present: Any = present) -> FloatArray:
            with np.errstate(divide="ignore", invalid="ignore"):
                y = np.log((mass @ at.T) / (mass @ present.T))
            return np.asarray(y @ x / (x @ x))

        estimate = float(slope(weight[None])[0])
        ends = None
        if served.size > 1 and replicates:
            drawn = slope(draws * weight)
            drawn = drawn[np.isfinite(drawn)]
            low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
            ends = (float(low), float(high))
        out[name] = Exponent(estimate, ends, level, 2.0**estimate, int(usable.sum()))
    return out
