"""Samples over problems of known success rates: the closed form, and who gets none.

With rate `p` a problem's coverage after `b` samples is `1 - (1-p)^b`, and sample `j` adds
`p (1-p)^(j-1)`, which decreases. So greedy is exact for whole samples of one cost, and so it is
for a Beta posterior, whose marginal values `B(a+1, b+j-1) / B(a, b)` decrease too. That is what
`allocate` does with a menu by problem; here is what the menu engine lacks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from scaling.allocators.allocation import Allocation
    from scaling.curves import FloatArray

_NEVER = 1e-280  # a rate this small is 0 here; its reciprocal would overflow


class WaterFilling(NamedTuple):
    """Samples that need not be whole.

    Attributes:
        samples: b, shape (P,).
        coverage: mean of `1 - (1-p)^b`; no whole numbers of samples within the budget have more.
        price: coverage per unit of budget per problem at the optimum, 0 where nothing can be won.
        residual: largest relative violation of the optimality (KKT) conditions.
    """

    samples: FloatArray
    coverage: float
    price: float
    residual: float


def water_filling(p: ArrayLike, budget: float, cost: ArrayLike | None = None) -> WaterFilling:
    """Maximise `sum_i 1 - (1-p_i)^b_i` over real `b_i >= 0` with `sum_i c_i b_i <= budget`.

    At price `λ` a problem gets `b_i = max(0, log(λ c_i / h_i) / log(1-p_i))` with
    `h_i = -log(1-p_i)`. What that spends is piecewise linear in `log λ`, so the price comes from
    the sorted break points and not from a search. A problem with `p = 1` needs a vanishing share
    of a sample here: it gets 0 and counts as solved.

    Args:
        p: success rates, shape (P,).
        budget: total over the problems, in the unit of `cost`.
        cost: of a sample of each problem, shape (P,); 1 where None.

    Raises:
        InputError: no problem, a rate outside [0, 1], or a cost that is not positive.
        UsageError: a budget that is negative or not finite.
    """
    rate = checked_rates(p)
    c = np.ones_like(rate) if cost is None else checked_costs(cost, rate.size)
    if not (np.isfinite(budget) and budget >= 0):
        raise UsageError(f"The budget is {budget}. It must be a finite number, zero or more.")
    samples = np.zeros_like(rate)
    open_ = np.flatnonzero((rate > _NEVER) & (rate < 1))
    if not open_.size:
        return WaterFilling(samples, float((rate == 1).mean()), 0.0, 0.0)
    h = -np.log1p(-rate[open_])
    first = np.log(h / c[open_])  # log of the first marginal value per unit of cost
    need = c[open_] / h  # budget that lowers the log of the marginal value by one
    order = np.argsort(-first, kind="stable")
    ranked, total = first[order], np.cumsum(need[order])
    spent = np.concatenate(([0.0], np.cumsum(total[:-1] * -np.diff(ranked))))  # at each break
    at = max(int((spent < budget).sum()) - 1, 0)
    # logs of marginal values over that of the price; the difference of ranks first, for its digits
    above = (first - ranked[at]) + (budget - spent[at]) / total[at]
    samples[open_] = np.maximum(above, 0.0) / h
    price = float(np.exp(ranked[at] - (budget - spent[at]) / total[at]))

    solved = np.where(rate == 1, 1.0, 0.0)
    solved[open_] = -np.expm1(-h * samples[open_])
    marginal = np.exp(above - h * samples[open_])  # relative to the price
    running = samples[open_] > 0
    violations = [
        float(np.abs(marginal[running] - 1).max(initial=0.0)),
        float(np.maximum(marginal[~running] - 1, 0).max(initial=0.0)),
        abs(float(c @ samples) / budget - 1) if budget > 0 else float(samples.max()),
    ]
    return WaterFilling(samples, float(solved.mean()), price, max(violations))


def checked_rates(p: ArrayLike) -> FloatArray:
    """Success rates as an array of shape (P,).

    Raises:
        InputError: there is none, or one is outside [0, 1]; its place is named.
    """
    rate = np.asarray(p, dtype=np.float64)
    if rate.ndim != 1 or not rate.size:
        raise InputError(f"Success rates have shape {rate.shape}. Give one for each problem, (P,).")
    wrong = np.flatnonzero(~((rate >= 0) & (rate <= 1)))
    if wrong.size:
        raise InputError(
            f"The success rate of problem {wrong[0]} is {rate[wrong[0]]}. It must be from 0 to 1; "
            "divide counts by the attempts."
        )
    return rate


def checked_costs(cost: ArrayLike, problems: int) -> FloatArray:
    """Costs of a sample as an array of shape (P,).

    Raises:
        InputError: another shape, or a cost that is not a positive number; its place is named.
    """
    c = np.asarray(cost, dtype=np.float64)
    if c.shape != (problems,):
        raise InputError(
            f"Costs of a sample have shape {c.shape}. Give one for each problem, ({problems},)."
        )
    wrong = np.flatnonzero(~(np.isfinite(c) & (c > 0)))
    if wrong.size:
        raise InputError(
            f"The cost of a sample of problem {wrong[0]} is {c[wrong[0]]}. "
            "It must be a positive number."
        )
    return c


class Funding(NamedTuple):
    """Who gets anything: what maximising the mean takes from hard problems.

    Attributes:
        funded: classes that get an action.
        unfunded: classes that do nothing.
        share: share of the queries that get an action.
        most: largest mean use of the priced resource by a class, per query.
    """

    funded: int
    unfunded: int
    share: float
    most: float


def funding(allocation: Allocation) -> Funding:
    """How many classes an allocation leaves without any action, and the most that one gets.

    Only where doing nothing is on offer can a class go unfunded. A divided class counts as funded
    where any of its queries is; one that is served the fallback, where that is not doing nothing.
    """
    menu, resource = allocation.ladder, allocation.priced_resource
    cost, fallback = menu.cost[resource], allocation.fallback
    served = np.ones(allocation.chosen.size)
    use = np.zeros(allocation.chosen.size)
    for c, rung in enumerate(allocation.chosen.tolist()):
        if rung >= 0:
            use[c] = cost[rung]
        elif rung == -2 and not fallback.nothing:
            use[c] = fallback.cost_of(c)[resource]
        else:
            served[c] = 0.0
    for part in allocation.split:
        lower = cost[part.lower] if part.lower >= 0 else 0.0
        served[part.class_index] = 1.0 if part.lower >= 0 else part.share
        use[part.class_index] = part.share * cost[part.upper] + (1 - part.share) * lower
    funded = int((served > 0).sum())
    weight = menu.weight / menu.weight.sum()
    return Funding(funded, served.size - funded, float(weight @ served), float(use.max()))
