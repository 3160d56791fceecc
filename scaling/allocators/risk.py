"""What the uncertainty of values means for an allocation: its regret over joint draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.curves import BoolArray, FloatArray, IntArray, Menu, ValueDraws
from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation
    from scaling.allocators.limit import Limit

RUNGS = 64
"""Most rungs of a class and model that are compared under the draws."""

_BLOCK = 8_000_000
"""Values, rungs by draws, that are held at a time."""

CHEAP = _BLOCK // RUNGS
"""Classes by draws up to which the regret is told unasked."""

_MOST = 2_000_000_000
"""Values, rungs by draws, beyond which the answer would take minutes."""

_REACH = math.log(1e4)
_STEPS = 26
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Risk:
    """How uncertainty enters an allocation.

    Attributes:
        cvar: maximise the mean value over the worst `1 - cvar` of the draws instead of over all.
        cost_confidence: keep average and total limits with this probability, not on average only.
        regret: tell the regret over draws; None where it is cheap (classes are groups).
        draws: joint draws; as many as the fit kept (256 for problems) where None.

    Raises:
        UsageError: a number that is out of range.
    """

    cvar: float | None = None
    cost_confidence: float | None = None
    regret: bool | None = None
    draws: int | None = None

    def __post_init__(self) -> None:
        if self.cvar is not None and not 0 <= self.cvar < 1:
            raise UsageError(
                f"The level of the CVaR is {self.cvar}. It must be from 0 to below 1: "
                "0.9 is the mean over the worst tenth of the draws, 0 that over all."
            )
        if self.cost_confidence is not None and not 0.5 <= self.cost_confidence < 1:
            raise UsageError(
                f"The confidence in the cost is {self.cost_confidence}. It must be from 0.5, where "
                "limits hold on average, to below 1."
            )
        if self.draws is not None and self.draws < 2:
            raise UsageError(f"{self.draws} draws tell nothing of a spread. Give two or more.")

    @classmethod
    def of(cls, given: Risk | Mapping[str, Any] | None) -> Risk:
        """From a mapping such as `{"cvar": 0.9}`.

        Raises:
            UsageError: an unknown name, or a number that is out of range.
        """
        if given is None or isinstance(given, Risk):
            return given or cls()
        known = list(cls.__dataclass_fields__)
        unknown = next((name for name in given if name not in known), None)
        if unknown is not None:
            raise UsageError(f"Unknown risk option '{unknown}'. Options: {', '.join(known)}.")
        return cls(**given)


@dataclass(frozen=True)
class Regret:
    """What better knowledge would have gained, over joint draws of the values.

    The regret of an allocation under a draw is the value of the best allocation under it, within
    the same limits, less its own. The best one is replaced by its Lagrange dual, so that regret is
    never understated but for actions that were thinned out (64 a class and model are compared).

    Attributes:
        draws: how many.
        mean, q90, q95: mean and quantiles over the draws.
        p_best: shape (C,), share of the draws in which a class's action is the best one at the
            shadow price; NaN where a class is served the fallback.
        of_class: shape (C,), mean over the draws of what the best action at the shadow price has
            more, net of its price.
        of_class_q95: shape (C,), its 95% quantile.
        seed: of posterior draws.
    """

    draws: int
    mean: float
    q90: float
    q95: float
    p_best: FloatArray
    of_class: FloatArray
    of_class_q95: FloatArray
    seed: int

    def document(self) -> dict[str, float]:
        """Mean and quantiles."""
        return {"mean": self.mean, "q90": self.q90, "q95": self.q95}

    def row(self, index: int) -> dict[str, float] | None:
        """What the budget table says of a class; None where it is served the fallback."""
        if math.isnan(self.p_best[index]):
            return None
        return {
            "p_best": float(self.p_best[index]),
            "regret": float(self.of_class[index]),
            "regret_q95": float(self.of_class_q95[index]),
        }


@dataclass(frozen=True)
class Scenarios:
    """Joint draws of the values of an allocation's menu, by whoever has them.

    Attributes:
        count: D.
        sources: each answers for its own rungs; what none does has one value under all draws.
    """

    count: int
    sources: tuple[ValueDraws, ...]

    def of(self, menu: Menu) -> FloatArray:
        """Shape (N, D), for a part of the menu in which every class has a curve of its own."""
        same = np.broadcast_to(menu.value[:, None], (menu.value.size, self.count))
        out = np.array(same if menu.draws is None else menu.draws)
        for source in self.sources:
            values = source.of(menu)
            known = ~np.isnan(values)
            out[known] = values[known]
        return out


def scenarios(
    sources: Sequence[Any], menu: Menu, risk: Risk, *, classes: str, seed: int
) -> Scenarios | None:
    """The draws of a menu's values; None where no source has any.

    Raises:
        UsageError: a number of draws that a menu's own does not fit.
    """
    if menu.draws is not None:
        count = menu.draws.shape[1]
        if risk.draws not in (None, count):
            raise UsageError(f"The menu has {count} draws of its values, not {risk.draws}.")
        counts: list[int] = [count]
        able = [s for s in sources if not isinstance(s, Menu) and hasattr(s, "draws")]
        found = [s.draws(count, seed, classes=classes) for s in able]
    else:
        able = [s for s in sources if not isinstance(s, Menu) and hasattr(s, "draws")]
        found = [s.draws(risk.draws, seed, classes=classes) for s in able]
        counts = [each.count for each in found if each is not None]
        if len(set(counts)) > 1:
            found = [s.draws(max(counts), seed, classes=classes) for s in able]
    if not counts:
        return None
    return Scenarios(max(counts), tuple(each for each in found if each is not None))


def regret(allocation: Allocation, draws: Scenarios, *, seed: int = 0) -> Regret:
    """The regret of an allocation over joint draws of the values.

    Under a draw d, with the weights w (sum W), prices λ of the limits and their budgets B,
    `max(min_s s λ·B + Σ w_i max_j (v_ij - s λ·c_ij) - Σ w_i v_i(x_i), 0) / W`; the scale s of the
    prices is searched within a factor of 10^4 of the allocation's own, and at 0.

    Raises:
        UsageError: more classes, rungs and draws than can be compared in minutes.
    """
    menu = allocation.menu
    if menu is None:
        raise UsageError("This allocation holds no menu, so its regret cannot be told.")
    problem = _Compared.of(allocation, menu, draws)
    size = int(problem.usable.size) * RUNGS * draws.count
    if size > _MOST:
        raise UsageError(
            f"The regret of {problem.usable.size:,} classes over {draws.count:,} draws is too much "
            "to compute. Ask for fewer draws, or allocate by group (--class group)."
        )
    return problem.regret(seed)


@dataclass(frozen=True)
class _Offer:
    """Some classes with what is on offer to them under the draws."""

    classes: IntArray
    weight: FloatArray
    start: IntArray  # of each class's rungs
    values: FloatArray  # (n, D)
    cost: FloatArray  # (n,), at the shadow prices
    own: FloatArray  # (classes, D), value of what they get
    own_cost: FloatArray  # (classes,)


@dataclass
class _Compared:
    """An allocation beside all that its classes were offered."""

    allocation: Allocation
    menu: Menu
    draws: Scenarios
    usable: IntArray
    prices: Mapping[str, float]
    binds: bool
    budget: float  # of all usable classes, at the prices
    total: float
    held: list[_Offer] | None = None
    rungs: dict[int, IntArray] = field(default_factory=dict)  # of each curve, thinned

    @classmethod
    def of(cls, allocation: Allocation, menu: Menu, draws: Scenarios) -> _Compared:
        limits = [x for x in allocation.limits if x.is_budget and x.free > 0]
        binds = any(x.price for x in limits)
        prices: dict[str, float] = {}
        budget = 0.0
        total = math.fsum(menu.weight.tolist())
        for limit in limits:  # where none binds, in a scale of its own, so that prices can be tried
            price = (limit.price or 0.0) if binds else 1 / limit.free
            prices[limit.resource] = prices.get(limit.resource, 0.0) + price
            budget += price * limit.free * total
        usable = np.flatnonzero((menu.curve >= 0) & (allocation.chosen != -2))
        lost = np.setdiff1d(np.arange(menu.curve.size), usable).tolist()
        for index in lost:
            cost = allocation.fallback.cost_of(index)
            aside = math.fsum(price * cost[name] for name, price in prices.items())
            budget -= float(menu.weight[index]) * aside
        return cls(allocation, menu, draws, usable, prices, binds, max(budget, 0.0), total)

    def regret(self, seed: int) -> Regret:
        D, C = self.draws.count, self.menu.curve.size
        own, at_price = np.zeros(D), 1.0 if self.binds else 0.0
        p_best, mean, q95 = (np.full(C, np.nan) for _ in range(3))
        for offer in self._offers():
            own += offer.weight @ offer.own
            net = self._best(offer, np.full(D, at_price))
            mine = offer.own - at_price * offer.own_cost[:, None]
            behind = np.maximum(net - mine, 0.0)
            p_best[offer.classes] = (behind <= 1e-12).mean(axis=1)
            mean[offer.classes] = behind.mean(axis=1)
            q95[offer.classes] = np.quantile(behind, 0.95, axis=1)
        lost = np.maximum(self._bound() - own, 0.0) / self.total
        low, high = np.quantile(lost, [0.9, 0.95])
        return Regret(D, float(lost.mean()), float(low), float(high), p_best, mean, q95, seed)

    def _bound(self) -> FloatArray:
        """The smallest dual bound of each draw, by golden section on the logarithm of the scale."""
        D = self.draws.count
        best = np.minimum(self._dual(np.zeros(D)), self._dual(np.ones(D)))
        if not self.prices:
            return best
        low, high = np.full(D, -_REACH), np.full(D, _REACH)
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        at_left, at_right = self._dual(np.exp(left)), self._dual(np.exp(right))
        for _ in range(_STEPS):
            best = np.minimum(best, np.minimum(at_left, at_right))
            lower = at_left < at_right
            low, high = np.where(lower, low, left), np.where(lower, right, high)
            point = np.where(lower, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
            value = self._dual(np.exp(point))
            left, right = np.where(lower, point, right), np.where(lower, left, point)
            at_left, at_right = (
                np.where(lower, value, at_right),
                np.where(lower, at_left, value),
            )
        return np.minimum(best, np.minimum(at_left, at_right))

    def _dual(self, scale: FloatArray) -> FloatArray:
        """The Lagrange dual of each draw at these scales of the prices, shape (D,)."""
        out = scale * self.budget
        for offer in self._offers():
            out = out + offer.weight @ self._best(offer, scale)
        return out

    def _best(self, offer: _Offer, scale: FloatArray) -> FloatArray:
        """Value of the best action net of its price, shape (classes, D)."""
        net = offer.values - offer.cost[:, None] * scale
        best: FloatArray = np.maximum.reduceat(net, offer.start, axis=0)
        return np.maximum(best, 0.0) if self.menu.skip else best

    def _offers(self) -> Iterator[_Offer]:
        """All usable classes, some at a time; held where they are few."""
        if self.held is not None:
            yield from self.held
            return
        each = max(1, _BLOCK // (RUNGS * self.draws.count))
        parts = range(0, self.usable.size, each)
        made = (self._offer(self.usable[at : at + each]) for at in parts)
        if len(parts) == 1:
            self.held = list(made)
            yield from self.held
        else:
            yield from made

    def _offer(self, classes: IntArray) -> _Offer:
        menu, ladder = self.menu, self.allocation.ladder
        cost, allowed = self._cost(menu), within_each(menu, self.allocation.limits)
        for curve in {int(menu.curve[c]) for c in classes} - self.rungs.keys():
            self.rungs[curve] = thinned(menu, curve, allowed, cost)
        picked = [self.rungs[int(menu.curve[c])] for c in classes]
        offered = own_curves(menu, classes, picked)
        chosen, share = self._chosen(classes)
        mine = own_curves(ladder, classes, chosen)
        values, got = self.draws.of(offered), self.draws.of(mine)
        own, own_cost = np.zeros((classes.size, self.draws.count)), np.zeros(classes.size)
        cost = self._cost(mine)
        for i in range(classes.size):
            for rung, part in zip(range(mine.start[i], mine.start[i + 1]), share[i], strict=True):
                own[i] += part * got[rung]
                own_cost[i] += part * cost[rung]
        # what a class gets is on offer to it too, though thinning may have left it out
        return _Offer(
            classes,
            menu.weight[classes],
            *_appended(offered.start, values, self._cost(offered), own, own_cost),
            own,
            own_cost,
        )

    def _chosen(self, classes: IntArray) -> tuple[list[IntArray], list[list[float]]]:
        """The ladder rungs that classes get, each with its share; none for doing nothing."""
        divided = {part.class_index: part for part in self.allocation.split}
        rungs, shares = [], []
        for c in classes.tolist():
            parts = [(int(self.allocation.chosen[c]), 1.0)]
            if c in divided:
                parts = [
                    (divided[c].lower, 1 - divided[c].share), (divided[c].upper, divided[c].share)
                ]  # fmt: skip
            parts = [(rung, share) for rung, share in parts if rung >= 0]
            rungs.append(np.array([rung for rung, _ in parts], dtype=np.int64))
            shares.append([share for _, share in parts])
        return rungs, shares

    def _cost(self, menu: Menu) -> FloatArray:
        total = np.zeros(menu.value.size)
        for name, price in self.prices.items():
            total += price * menu.cost[name]
        return total


def _appended(
    start: IntArray, values: FloatArray, cost: FloatArray, own: FloatArray, own_cost: FloatArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Rungs of classes with one more at the end of each: start (classes,), values and cost."""
    ends = start[1:]
    return (
        start[:-1] + np.arange(ends.size),
        np.insert(values, ends, own, axis=0),
        np.insert(cost, ends, own_cost),
    )


def within_each(menu: Menu, limits: Sequence[Limit]) -> BoolArray | None:
    """Which rungs keep the limits on each query, shape (N,); None where there are none."""
    allowed: BoolArray | None = None
    for limit in limits:
        if limit.scope == "each" and limit.resource in menu.cost and not limit.where:
            within = menu.cost[limit.resource] <= limit.amount
            allowed = within if allowed is None else allowed & within
    return allowed


def own_curves(menu: Menu, classes: IntArray, rungs: Sequence[IntArray]) -> Menu:
    """The part of a menu that has these classes, each with a curve of its own of these rungs."""
    take = np.concatenate([*rungs, np.zeros(0, dtype=np.int64)]).astype(np.int64)
    start = np.concatenate(([0], np.cumsum([each.size for each in rungs]))).astype(np.int64)

    def part(column: Any) -> Any:
        return None if column is None else column[take]

    return replace(
        menu,
        key={name: column[classes] for name, column in menu.key.items()},
        weight=menu.weight[classes],
        curve=np.arange(classes.size),
        start=start,
        value=menu.value[take],
        cost={name: column[take] for name, column in menu.cost.items()},
        action={name: column[take] for name, column in menu.action.items()},
        value_se=part(menu.value_se),
        interval=part(menu.interval),
        extrapolated=part(menu.extrapolated),
        draws=part(menu.draws),
        support={name: column[classes] for name, column in menu.support.items()},
        cautions={},
        unusable_cost={},
    )


def thinned(menu: Menu, curve: int, allowed: BoolArray | None, cost: FloatArray) -> IntArray:
    """Rungs of a curve, at most 64 for each setting of its actions but the number of samples.

    Both ends stay, and of the rest those nearest to equal ratios of cost.
    """
    rungs = np.arange(menu.start[curve], menu.start[curve + 1])
    if allowed is not None:
        rungs = rungs[allowed[rungs]]
    if rungs.size <= RUNGS:
        return rungs
    others = [c[rungs] for name, c in menu.action.items() if name != "samples"]
    code = np.zeros(rungs.size, dtype=np.int64)
    for column in others:
        places = np.unique(column, return_inverse=True)[1]
        code = np.unique(code * (int(places.max()) + 1) + places, return_inverse=True)[1]
    kept = []
    for kind in range(int(code.max()) + 1):
        mine = rungs[code == kind]
        if mine.size <= RUNGS:
            kept.append(mine)
            continue
        mine = mine[np.argsort(cost[mine], kind="stable")]
        low = cost[mine[0]] if cost[mine[0]] > 0 else cost[mine[-1]] / mine.size
        targets = np.geomspace(max(low, 1e-300), max(cost[mine[-1]], 2e-300), RUNGS)
        near = np.clip(np.searchsorted(cost[mine], targets), 0, mine.size - 1)
        kept.append(mine[np.unique(np.concatenate(([0], near, [mine.size - 1])))])
    return np.sort(np.concatenate(kept))
