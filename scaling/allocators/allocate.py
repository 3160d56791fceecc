"""From a menu and a budget to an allocation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from scaling.allocators import confidence, cvar, result, stop_at_success
from scaling.allocators.allocation import Allocation
from scaling.allocators.limit import SHARE, VALUE, Limit
from scaling.allocators.problem import Answer, Problem
from scaling.allocators.risk import CHEAP, Risk, Scenarios, regret, scenarios
from scaling.allocators.sensitivity import with_sensitivity
from scaling.costs.per_sample import FLAGS
from scaling.curves import (
    FloatArray,
    Menu,
    MenuSource,
    merge,
    plain,
    validate,
)
from scaling.errors import InfeasibleError, UsageError, did_you_mean

Weights = Mapping[Any, float] | Iterable[Mapping[str, Any]]

GATE_NOT_RUN = {
    "code": "gate-not-run",
    "message": "The no-harm gate was not run: this allocation was not checked against held-out "
    "attempts (--gate does it).",
}


def allocate(
    source: Menu | MenuSource | Sequence[Menu | MenuSource],
    budget: float | None = None,
    *,
    unit: str | None = None,
    limits: Iterable[Limit | tuple[Any, ...]] = (),
    per: Literal["query", "total"] = "query",
    queries: int | None = None,
    classes: Literal["group", "problem"] = "group",
    values: Literal["posterior", "plugin"] = "posterior",
    weights: Weights | None = None,
    allow_skip: bool = False,
    split: bool = False,
    extrapolate: bool = False,
    until_success: bool = False,
    until_accepted: tuple[float, float] | None = None,
    costs: Any = None,
    target: float | None = None,
    method: Literal["price", "exact"] = "price",
    risk: Risk | Mapping[str, Any] | None = None,
    gate: bool = False,
    evenly: bool = False,
    seed: int = 0,
) -> Allocation:
    """Choose an action for every class so that the budget buys the most.

    The objective is the weighted mean value per query, `sum_i w_i v_i(x_i) / sum_i w_i`, under the
    limits. One budget, `sum_i w_i c_i(x_i) / sum_i w_i <= budget`, has one price: the answer is the
    better of two, both of which never fall when the budget grows: the price solve on the concave hulls
    with its fill, and the even spend (every class its best action within the average budget). Where
    several limits bind, each has its price (`prices.solve`), and the mixture of answers that is best at
    the prices is mended into one action a class (`repair.repair`); there more of one budget may buy
    a little less, which `frontier` sets right. The bound is always the Lagrange dual at the best prices.

    With a target the roles are swapped: the least of one resource for at least that mean value.

    A class that no group can serve gets the fallback, and what that uses is set aside before the solve;
    where there are such classes the value can fall as the fallback gets dearer. Where the own costs of
    such a class are known (`Menu.unusable_cost`), they are what it uses, and its value, which is not
    known, counts as 0 in the value, the bound and the even spend. A minimum value per class is not asked
    of such a class.

    Args:
        source: a menu, or what makes one (a fit, a sweep); of several, the menus are merged.
        budget: shorthand for one limit on `unit`: average per query, or total with `per="total"`.
        unit: the resource of the budget.
        limits: further limits, or tuples of what `Limit` takes; any number of any kind.
        per: what `budget` is for.
        queries: for how many queries a total is; the number of classes where classes are problems.
        classes: one class a group, or one a problem.
        values: posterior means of a fit, or raw rates.
        weights: class to weight: a mapping from class value (a tuple of several class columns), or
            rows of class columns and `weight`. By default the menu's own.
        allow_skip: doing nothing (value 0, cost 0) is on offer.
        split: divide one class between two neighbouring actions, which uses the budget up.
        extrapolate: put actions beyond the data on the menu.
        until_success: a verifier in the loop stops sampling at the first success, so that actions
            cost what is used until then, in expectation (`stop_at_success.until_success`).
        until_accepted: the same with a verifier that errs: the probabilities that it accepts a right
            sample and a wrong one. Values are then accuracies (`stop_at_success.until_accepted`).
        costs: `scaling.costs.SampleCosts`; not for a menu, which has its own.
        target: the mean value to reach with the least of `unit`, in the place of a budget.
        method: `price`, or `exact`: branch and bound (scipy's HiGHS), for small problems.
        risk: how uncertainty enters, a `Risk` or its options as a mapping: `{"cvar": 0.9}` maximises
            the mean value over the worst tenth of the draws, `{"cost_confidence": 0.95}` keeps the
            limits with that probability, `{"regret": True}` tells the regret over draws also where
            classes are problems, `{"draws": 500}` says of how many.
        gate: check the gain over the even spend on held-out attempts first, and spend evenly where
            they do not show one (`scaling.policy.no_harm`).
        evenly: spend evenly: every class gets its best action within the average budget.
        seed: recorded in the result; that of posterior draws and of the gate's cuts.

    Raises:
        UsageError: options that do not go together, a resource without a cost, or a problem too large
            for the exact method.
        InputError: a menu that is not whole.
        InfeasibleError: even the cheapest actions cost more than the budget, or limits contradict each
            other; the message names them and the smallest changes that make them feasible, of which
            the first is in `smallest`.
        NotUsableError: no class has a usable group.
    """
    sources = [source] if isinstance(source, Menu | MenuSource) else list(source)
    menu = whole_menu(
        sources, values=values, classes=classes, costs=costs, allow_skip=allow_skip,
        extrapolate=extrapolate, until_success=until_success, until_accepted=until_accepted,
        weights=weights,
    )  # fmt: skip
    if queries is None and classes == "problem":
        queries = menu.weight.size
    asked = _limits(menu, budget, unit, per=per, queries=queries, further=limits, target=target)
    if method not in ("price", "exact"):
        raise UsageError(f"Unknown method '{method}'. Methods: price, exact.")

    wanted = Risk.of(risk)
    verdict = None
    if gate:
        if target is not None or wanted.cvar is not None or method != "price":
            raise UsageError(
                "The gate compares an allocation of a budget with its even spend. Leave out the target value, "
                "the CVaR and the exact method, or the gate (--gate)."
            )
        from scaling.policy import no_harm

        verdict = no_harm(
            sources, asked, classes=classes, values=values, weights=weights, seed=seed,
            allow_skip=allow_skip, extrapolate=extrapolate, until_success=until_success,
            until_accepted=until_accepted, costs=costs,
        )  # fmt: skip
        evenly = evenly or not verdict.opened
    drawn: Scenarios | None = None
    if target is not None and (wanted.regret or wanted.cvar or wanted.cost_confidence):
        raise UsageError(
            "Regret, CVaR and a confidence in the cost are for a budget, not for a target value. "
            "Leave out one of the two."
        )
    tell = wanted.regret
    if tell is None:
        tell = classes == "group" and target is None
    if until_accepted is not None:  # draws are of coverage, and values then are not
        if wanted.regret or wanted.cvar is not None:
            raise UsageError(
                "Regret and CVaR are not known for a verifier that errs (--until-accepted). Leave "
                "out one of the two."
            )
        tell = False
    if (tell or wanted.cvar is not None) and (values == "posterior" or menu.draws is not None):
        drawn = scenarios(sources, menu, wanted, classes=classes, seed=seed)
    if drawn is None and (wanted.regret or wanted.cvar is not None):
        raise UsageError(
            "Regret and CVaR need joint draws of the values, which these inputs do not have. Fit "
            "with replicates (scaling fit --replicates 1000), or give a menu with draws."
        )
    if wanted.regret is None and drawn is not None:
        tell = tell and menu.curve.size * drawn.count <= CHEAP
    if wanted.cvar is not None and split:
        raise UsageError(
            "A class is not divided where CVaR is maximised. Leave out one of the two."
        )

    def within(limits: tuple[Limit, ...]) -> Allocation:
        if wanted.cvar is not None and drawn is not None:
            return cvar.solve(
                menu,
                drawn,
                wanted.cvar,
                lambda part: _answered(part, limits, None, method=method, split=False),
                seed=seed,
            )
        priced, answer, problem = _answered(
            menu, limits, None if target is None else unit,
            method=method, split=split, evenly=evenly,
        )  # fmt: skip
        return result.allocation(problem, answer, priced, split=split and not evenly, seed=seed)

    if wanted.cost_confidence is None:
        allocation = within(asked)
    else:
        errors = confidence.errors_of(
            sources, costs, until_success=until_success or until_accepted is not None
        )
        allocation = confidence.solve(menu, asked, errors, wanted.cost_confidence, within)

    from_fit = values == "posterior" and any(not isinstance(one, Menu) for one in sources)
    ladder = allocation.ladder
    for one in sources:
        if hasattr(one, "intervals") and until_accepted is None:  # they are those of coverage
            ladder = one.intervals(ladder)
    allocation = replace(allocation, menu=menu)
    said = verdict.caution if verdict else GATE_NOT_RUN if from_fit else None
    ladder = with_sensitivity(ladder, allocation)
    return replace(
        allocation,
        ladder=ladder,
        regret=regret(allocation, drawn, seed=seed) if tell and drawn is not None else None,
        cautions=(*allocation.cautions, *([] if said is None else [said])),
    )


def _answered(
    menu: Menu,
    limits: tuple[Limit, ...],
    target: str | None,
    *,
    method: str,
    split: bool,
    evenly: bool = False,
) -> tuple[Limit | None, Answer, Problem]:
    """The budget that is priced, the answer, and the problem.

    One budget has its own solve, and where it alone binds among several limits, that solve is tried
    too. Several prices are for the rest.
    """
    from scaling.allocators import conflict, constrained

    problem = Problem.of(menu, limits, target)
    rows = [limit for limit in limits if limit.scope != "each"]
    if evenly:
        return _even(problem, rows)
    priced = target is None and method == "price"
    if priced and (not rows or (len(rows) == 1 and rows[0].is_budget)):
        alone = rows[0] if rows else None
        try:
            return alone, problem.answer(alone, split=split), problem
        except InfeasibleError:
            if len(limits) == 1:
                raise
            raise conflict.explain(problem) from None
    found = constrained.answer(problem, method=method, split=split)
    if found is None:
        raise conflict.explain(problem)
    budgets = [limit for limit in limits if limit.is_budget]
    binding = [limit for limit, price in zip(limits, found.prices or (), strict=True) if price]
    if priced and len(binding) <= 1 and all(limit.is_budget for limit in binding):
        alone = next(iter([*binding, *budgets]), None)
        other = problem.answer(alone, split=split)
        if problem.keeps(other) and problem.worth(other) >= problem.worth(found):
            return alone, other, problem
    resource = None if target is not None else problem.resource_of(None)
    return next((b for b in budgets if b.resource == resource), None), found, problem


def _even(problem: Problem, rows: Sequence[Limit]) -> tuple[Limit, Answer, Problem]:
    """The even spend of the first budget."""
    budget = next((limit for limit in rows if limit.is_budget), None)
    if budget is None:
        raise UsageError("An even spend is of a budget. Give one (--budget X --unit RESOURCE).")
    answer = problem.answer(budget, split=False, evenly=True)
    if not problem.keeps(answer):
        raise UsageError(
            "The even spend does not keep every limit that is not a budget. Leave out the floors, "
            "shares and percentiles, or the even spend (--gate)."
        )
    return budget, answer, problem


# --- reading the question --------------------------------------------------------------------


def whole_menu(
    sources: Sequence[Menu | MenuSource],
    *,
    values: str,
    classes: str,
    costs: Any,
    allow_skip: bool,
    extrapolate: bool,
    until_success: bool,
    until_accepted: tuple[float, float] | None,
    weights: Weights | None,
) -> Menu:
    """The one menu that all sources make, as `allocate` takes it; arguments as there."""
    menu = merge(
        [
            _menu(
                one,
                values=values,
                classes=classes,
                costs=costs,
                skip=allow_skip,
                extrapolate=extrapolate,
            )
            for one in sources
        ]
    )
    menu = replace(menu, skip=menu.skip or allow_skip)
    if until_success and until_accepted is not None:
        raise UsageError(
            "Sampling stops at the first success or at the first accepted sample, not at both. Give "
            "until_success for a verifier without error, or until_accepted (--until-accepted)."
        )
    if until_success:
        menu = stop_at_success.until_success(menu)
    if until_accepted is not None:
        menu = stop_at_success.until_accepted(menu, *until_accepted)
    return menu if weights is None else replace(menu, weight=_weights(menu, weights))


def _menu(
    source: Menu | MenuSource,
    *,
    values: str,
    classes: str,
    costs: Any,
    skip: bool,
    extrapolate: bool,
) -> Menu:
    if not isinstance(source, Menu):
        return validate(
            source.menu(
                values=values, classes=classes, costs=costs, skip=skip, extrapolate=extrapolate
            )
        )
    if costs is not None:
        raise UsageError("Costs were given for a menu, which has its own. Leave the costs out.")
    return validate(source)


def _limits(
    menu: Menu,
    budget: float | None,
    unit: str | None,
    *,
    per: str,
    queries: int | None,
    further: Iterable[Limit | tuple[Any, ...]],
    target: float | None = None,
) -> tuple[Limit, ...]:
    """Everything that was asked for, the budget first."""
    if per not in ("query", "total"):
        raise UsageError(f"Unknown per='{per}'. A budget is per 'query' or per 'total'.")
    asked: list[Limit] = []
    if target is not None:
        if budget is not None or per == "total":
            raise UsageError(
                "A target value and a budget were given. For the most value, give the budget; for the "
                "least cost, the target and the resource (--target-value V --unit RESOURCE), and "
                "further budgets as limits."
            )
        if unit is None:
            raise UsageError(
                f"The target value {target} has no unit. Name the resource of which the least is to "
                f"be spent with unit= (--unit); the menu has: {', '.join(menu.cost)}."
            )
        asked.append(Limit(VALUE, "average", float(target), sense="min"))
        _has_cost(menu, unit)
    elif budget is not None:
        if unit is None:
            raise UsageError(
                f"The budget {budget} has no unit. Name its resource with unit= (--unit); the menu "
                f"has: {', '.join(menu.cost)}."
            )
        if per == "query":
            asked.append(Limit(unit, "average", float(budget)))
        else:
            asked.append(Limit(unit, "total", float(budget), queries))
    elif unit is not None:
        raise UsageError(f"The unit {unit} has no budget. Give both (--budget X --unit {unit}).")
    for item in further:
        limit = item if isinstance(item, Limit) else Limit(*item)
        asked.append(limit)
    if not asked:
        raise UsageError("No budget. Give budget and unit (--budget X --unit RESOURCE), or limits.")
    for limit in asked:
        if limit.resource not in (VALUE, SHARE):
            _has_cost(menu, limit.resource)
    return tuple(asked)


def _has_cost(menu: Menu, resource: str) -> None:
    if resource in menu.cost:
        return
    flag = FLAGS.get(resource)
    raise UsageError(
        f"The menu has no cost in {resource}; it has: {', '.join(menu.cost)}. "
        + (f"Give {flag}, or log it." if flag else "Choose one of these.")
        + did_you_mean(resource, menu.cost)
    )


def _weights(menu: Menu, given: Weights) -> FloatArray:
    """One positive weight a class, in the menu's order."""
    columns = list(menu.key)
    table: dict[tuple[str, ...], float] = {}
    if isinstance(given, Mapping):
        items = [(k if isinstance(k, tuple) else (k,), w) for k, w in given.items()]
    else:
        items = []
        for number, row in enumerate(given, start=1):
            missing = [name for name in (*columns, "weight") if name not in row]
            if missing:
                raise UsageError(
                    f"Row {number} of the weights has no column {', '.join(missing)}. "
                    f"A row needs: {', '.join((*columns, 'weight'))}."
                )
            items.append((tuple(row[name] for name in columns), row["weight"]))
    for name, weight in items:
        label = ", ".join(map(str, name))
        try:
            number_ = float(weight)
        except (TypeError, ValueError):
            number_ = math.nan
        if not (math.isfinite(number_) and number_ > 0):
            raise UsageError(f"The weight of {label} is {weight}. It must be a positive number.")
        if tuple(map(str, name)) in table:
            raise UsageError(f"Two weights are given for {label}. Give one.")
        table[tuple(map(str, name))] = number_
    keys = [
        tuple(str(plain(menu.key[name][i])) for name in columns) for i in range(menu.weight.size)
    ]
    unknown = table.keys() - set(keys)
    if unknown:
        raise UsageError(
            f"A weight is given for {', '.join(min(unknown))}, which is no class of the menu. "
            f"Classes: {'; '.join(', '.join(k) for k in keys[:10])}."
        )
    absent = [k for k in keys if k not in table]
    if absent:
        raise UsageError(
            f"No weight is given for {', '.join(absent[0])} ({len(absent)} of {len(keys)} classes "
            "have none). Give every class a weight."
        )
    return np.array([table[k] for k in keys])
