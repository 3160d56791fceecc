"""Several limits at once, against an exact solver on small problems, and what must always hold."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, milp

from scaling.allocators import Allocation, Limit, allocate
from scaling.curves import Menu, upper_hull
from scaling.errors import InfeasibleError

RESOURCES = ("tokens", "seconds", "usd")
PROBLEMS = 300


def random_menu(seed: int) -> tuple[Menu, list[Limit], np.random.Generator]:
    """Up to 8 classes, 6 actions and 3 resources; budgets between the least and the most."""
    rng = np.random.default_rng(seed)
    C, R = int(rng.integers(1, 9)), int(rng.integers(1, 4))
    sizes = rng.integers(1, 7, C)
    N = int(sizes.sum())
    whole = rng.random() < 0.5
    cost = {}
    for name in RESOURCES[:R]:
        cost[name] = rng.integers(0, 20, N) * 1.0 if whole else rng.gamma(1.0, 5.0, N)
    menu = Menu(
        key={"q": np.arange(C), "level": np.where(np.arange(C) % 2 == 0, "easy", "hard")},
        weight=rng.integers(1, 4, C) * 1.0,
        curve=np.arange(C),
        start=np.concatenate(([0], np.cumsum(sizes))),
        value=rng.random(N) if rng.random() < 0.7 else rng.integers(0, 5, N) / 4,
        cost=cost,
        action={
            "model": rng.choice(["small", "large"], N),
            "samples": np.concatenate([np.arange(1, s + 1) for s in sizes]),
        },
        skip=bool(rng.random() < 0.5),
    )
    limits = []
    for name, column in cost.items():
        least = np.minimum.reduceat(column, menu.start[:-1]) * (not menu.skip)
        most = np.maximum.reduceat(column, menu.start[:-1])
        low, high = (float(menu.weight @ x) / menu.weight.sum() for x in (least, most))
        amount = low + (high - low) * rng.uniform(0.05, 0.9)
        limits.append(Limit(name, "average", math.ceil(amount * 1024) / 1024))
    return menu, limits, rng


def exactly(menu: Menu, limits: list[Limit], objective: Any = None) -> float | None:
    """The largest weighted total of an objective (value) by scipy's MILP; None where infeasible."""
    C, N = menu.weight.size, menu.value.size
    owner = np.repeat(np.arange(C), np.diff(menu.start))
    one = (owner[None] == np.arange(C)[:, None]).astype(float)
    weight = menu.weight[owner]
    rules = [LinearConstraint(one, 0 if menu.skip else 1, 1)]
    mask = np.ones(N)
    for limit in limits:
        about = np.isin(owner, np.flatnonzero(limit.members(menu)))
        amount = limit.quantity(menu) * about
        if limit.scope == "each":
            within = (
                limit.quantity(menu) >= limit.amount
                if limit.sense == "min"
                else limit.quantity(menu) <= limit.amount
            )
            mask[about & ~within] = 0
            if limit.sense == "min" and limit.amount > 0:
                rules.append(LinearConstraint(one[limit.members(menu)], 1, 1))
            continue
        of = menu.weight[limit.members(menu)].sum()
        most = (1 - limit.percentile / 100 if limit.percentile else limit.average) * of
        slack = 0.0 if limit.is_budget else 1e-11
        if limit.sense == "min":
            rules.append(LinearConstraint((weight * amount)[None], most - slack, np.inf))
        else:
            rules.append(LinearConstraint((weight * amount)[None], -np.inf, most + slack))
    gain = weight * (menu.value if objective is None else objective)
    found = milp(
        -gain * 1e4, constraints=rules, integrality=np.ones(N), bounds=(0, mask),
        options={"mip_rel_gap": 0.0},
    )  # fmt: skip
    return None if found.x is None else float(gain @ np.rint(found.x))


def rung_of(a: Allocation, name: str) -> np.ndarray:
    """A column of the ladder per class; 0 where it does nothing."""
    column = a.ladder.value if name == "value" else a.ladder.cost[name]
    return np.where(a.chosen >= 0, column[np.maximum(a.chosen, 0)], 0.0)


def kept(a: Allocation) -> bool:
    return all(limit.is_kept(limit.realised) for limit in a.limits)


@pytest.mark.parametrize("part", range(6))
def test_random_small_problems_against_the_exact_solver(part):
    feasible = 0
    for seed in range(part, PROBLEMS, 6):
        menu, limits, _ = random_menu(seed)
        best = exactly(menu, limits)
        if best is None:
            with pytest.raises(InfeasibleError):
                allocate(menu, limits=limits)
            with pytest.raises(InfeasibleError):
                allocate(menu, limits=limits, method="exact")
            continue
        feasible += 1
        total = menu.weight.sum()
        best /= total
        a = allocate(menu, limits=limits)
        x = allocate(menu, limits=limits, method="exact")
        assert x.value == pytest.approx(best, abs=1e-9)
        assert x.method == "exact"
        for each in (a, x):
            assert each.bound >= best - 1e-9
            assert each.value <= best + 1e-9
            assert each.value <= each.bound
            for limit in each.limits:
                used = math.fsum(menu.weight * rung_of(each, limit.resource)) / total
                assert limit.realised == used <= limit.amount
                assert limit.price >= 0
        if len(limits) == 1:
            hull = upper_hull(menu.value, menu.cost["tokens"], menu.start, nothing=menu.skip)
            rise = np.diff(hull.value, prepend=np.nan) * np.repeat(menu.weight, np.diff(hull.start))
            critical = rise[~np.isnan(hull.slope) & (hull.slope == a.price)]
            assert a.bound - a.value <= critical.max(initial=0.0) / total + 1e-12
    assert feasible > PROBLEMS / 6 * 0.8


def constrained_menu(seed: int) -> tuple[Menu, list[Limit]]:
    """A small problem with limits of every kind, most of them binding."""
    menu, limits, rng = random_menu(seed)
    limits = limits[: int(rng.integers(1, len(limits) + 1))]
    name = limits[0].resource
    amounts = np.sort(menu.cost[name])
    kinds = rng.permutation(6)[:2].tolist()
    if 0 in kinds:
        limits.append(Limit(name, f"p{rng.choice([50, 75, 90])}", float(rng.choice(amounts))))
    if 1 in kinds:
        where = {"level": ("hard",)} if menu.weight.size > 1 else {}
        floor = round(float(rng.uniform(0.1, 0.6)), 3)
        limits.append(Limit("value", "average", floor, sense="min", where=where))
    if 2 in kinds:
        share = {"model": str(rng.choice(menu.action["model"]))}
        sense = "max" if rng.random() < 0.5 else "min"
        limits.append(
            Limit("share", amount=float(rng.uniform(0.1, 0.7)), sense=sense, action=share)
        )
    if 3 in kinds:
        limits.append(Limit(name, "each", float(amounts[-1 - amounts.size // 4])))
    if 4 in kinds:
        limits.append(Limit("value", "each", float(rng.uniform(0, 0.3)), sense="min"))
    if 5 in kinds:
        limits.append(Limit(name, "average", float(rng.uniform(2, 8)), where={"level": ("easy",)}))
    return menu, limits


@pytest.mark.parametrize("part", range(3))
def test_limits_of_every_kind_against_the_exact_solver(part):
    solved = refused = 0
    for seed in range(1000 + part, 1120, 3):
        menu, limits = constrained_menu(seed)
        best = exactly(menu, limits)
        if best is None:
            refused += 1
            with pytest.raises(InfeasibleError) as caught:
                allocate(menu, limits=limits)
            relaxation_is_enough_and_the_least(menu, limits, caught.value)
            continue
        solved += 1
        best /= menu.weight.sum()
        for method in ("price", "exact"):
            a = allocate(menu, limits=limits, method=method)
            assert kept(a)
            assert a.bound >= best - 1e-9
            assert a.value <= best + 1e-9
            if method == "exact":
                assert a.value == pytest.approx(best, abs=1e-9)
            table = a.table(created="2026-01-31T12:00:00Z")
            assert table.check().findings == ()
            stated = table.document["objective"]["constraints"]
            for limit, constraint in zip(a.limits, stated, strict=True):
                assert constraint["realised"] == pytest.approx(limit.realised, rel=1e-9, abs=1e-12)
    assert solved > 15
    assert refused > 2


def relaxation_is_enough_and_the_least(
    menu: Menu, limits: list[Limit], error: InfeasibleError
) -> None:
    """Each amount that the error names makes everything feasible, and a little less does not."""
    for limit in limits:
        if limit.words not in error.relaxed or "besides" in str(error):
            continue
        others = [each for each in limits if each is not limit]
        amount = error.relaxed[limit.words]
        assert exactly(menu, [*others, replace(limit, amount=amount)]) is not None, str(error)
        nearer = amount * (1.001 if limit.sense == "min" else 0.999)
        if 0 < nearer <= 1 or (nearer > 0 and limit.sense == "max" and limit.resource in menu.cost):
            assert exactly(menu, [*others, replace(limit, amount=nearer)]) is None, str(error)


@pytest.mark.parametrize("part", range(2))
def test_the_least_cost_of_a_value(part):
    reached = 0
    for seed in range(part, 60, 2):
        menu, limits, rng = random_menu(seed)
        total = menu.weight.sum()
        top = np.maximum.reduceat(menu.value, menu.start[:-1]) @ menu.weight / total
        value = round(float(top * rng.uniform(0.4, 0.95)), 6)
        others = limits[1:]
        floor = Limit("value", amount=value, sense="min")
        best = exactly(menu, [floor, *others], -menu.cost["tokens"])
        options: dict[str, Any] = {"target": value, "unit": "tokens", "limits": others}
        if best is None:
            with pytest.raises(InfeasibleError):
                allocate(menu, **options)
            continue
        reached += 1
        least = -best / total
        a, x = allocate(menu, **options), allocate(menu, **options, method="exact")
        assert x.target.cost == pytest.approx(least, abs=1e-9)
        for each in (a, x):
            assert each.value >= value - 1e-12
            assert each.target.bound <= least + 1e-9
            assert each.target.cost >= least - 1e-9
            assert each.target.cost == each.spent["tokens"]
            assert kept(each)
            table = each.table(created="2026-01-31T12:00:00Z")
            assert table.check().findings == ()
            assert table.document["objective"]["target"]["cost"] == each.target.cost
        # what is spent buys no more than the bound on value says
        most = exactly(menu, [Limit("tokens", amount=a.target.cost * (1 + 1e-12)), *others])
        assert a.bound >= most / total - 1e-9
    assert reached > 15


def test_the_bound_never_falls_when_a_budget_grows():
    grown = 0
    for seed in range(40):
        menu, limits, _ = random_menu(seed)
        if len(limits) == 1:
            continue
        bound = 0.0
        for factor in np.linspace(1, 1.5, 5):
            more = [replace(limits[0], amount=limits[0].amount * factor), *limits[1:]]
            try:
                found = allocate(menu, limits=more).bound
            except InfeasibleError:
                assert bound == 0.0
                continue
            assert found >= bound - 1e-9
            grown += found > bound + 1e-9
            bound = found
    assert grown > 20


def test_three_binding_budgets_leave_a_gap_that_is_nothing_beside_the_value():
    rng = np.random.default_rng(0)
    queries, k = 5000, np.unique(np.round(np.geomspace(1, 1000, 24)).astype(int))
    p = rng.beta(0.3, 3, queries).clip(1e-5, 0.99)
    each = lambda low, high, shape: np.outer(rng.uniform(low, high, queries), shape).reshape(-1)  # noqa: E731
    menu = Menu(
        key={"q": np.arange(queries)},
        weight=np.ones(queries),
        curve=np.arange(queries),
        start=np.arange(0, queries * k.size + 1, k.size),
        value=-np.expm1(np.log1p(-p)[:, None] * k).reshape(-1),
        cost={
            "tokens": each(100, 500, k),
            "seconds": each(1, 5, np.ceil(k / 16)),
            "bytes": each(1, 9, np.sqrt(k)),
        },
        action={"samples": np.tile(k, queries)},
        skip=True,
    )
    alone = allocate(menu, 2400, unit="tokens").spent
    limits = [Limit("tokens", amount=2400)]
    limits += [Limit(name, amount=0.85 * alone[name]) for name in ("seconds", "bytes")]
    a = allocate(menu, limits=limits)
    assert all(limit.price > 0 and limit.realised <= limit.amount for limit in a.limits)
    assert a.relative_gap <= 1e-4
