"""From a menu and a budget to an allocation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from scaling.allocators import stop_at_success
from scaling.allocators.allocation import Allocation, Limit
from scaling.allocators.problem import Problem
from scaling.costs.per_sample import FLAGS
from scaling.curves import (
    FloatArray,
    Menu,
    MenuSource,
    merge,
    plain,
    validate,
)
from scaling.errors import UsageError

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
    costs: Any = None,
    gate: bool = False,
    evenly: bool = False,
    seed: int = 0,
) -> Allocation:
    """Choose an action for every class so that the budget buys the most.

    The objective is the weighted mean value per query, `sum_i w_i v_i(x_i) / sum_i w_i`, under
    `sum_i w_i c_i(x_i) / sum_i w_i <= budget`. The answer is the better of two, both of which never
    fall when the budget grows: the price solve on the concave hulls with its fill, and the even
    spend (every class its best action within the average budget). The bound is the Lagrange dual at
    the critical price. A class that no group can serve gets the fallback, and what that uses is set
    aside before the solve; where there are such classes the value can fall as the fallback gets
    dearer. Where the own costs of such a class are known (`Menu.unusable_cost`), they are what it
    uses, and its value, which is not known, counts as 0 in the value, the bound and the even spend.

    Args:
        source: a menu, or what makes one (a fit, a sweep); of several, the menus are merged.
        budget: shorthand for one limit on `unit`: average per query, or total with `per="total"`.
        unit: the resource of the budget.
        limits: further limits, or tuples of what `Limit` takes. Any number of `each`; of average
            and total limits one may bind.
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
        costs: `scaling.costs.SampleCosts`; not for a menu, which has its own.
        gate: check the gain over the even spend on held-out attempts first, and spend evenly where
            they do not show one (`scaling.policy.no_harm`).
        evenly: spend evenly: every class gets its best action within the average budget.
        seed: recorded in the result; of the gate's cuts.

    Raises:
        UsageError: options that do not go together, or a resource without a cost.
        InputError: a menu that is not whole.
        InfeasibleError: even the cheapest actions cost more than the budget; the smallest feasible
            budget is in the message and in `smallest`.
        NotUsableError: no class has a usable group.
    """
    sources = [source] if isinstance(source, Menu | MenuSource) else list(source)
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
    if until_success:
        menu = stop_at_success.until_success(menu)
    if weights is not None:
        menu = replace(menu, weight=_weights(menu, weights))
    if queries is None and classes == "problem":
        queries = menu.weight.size
    asked = _limits(menu, budget, unit, per=per, queries=queries, further=limits)

    verdict = None
    if gate:
        from scaling.policy import no_harm

        verdict = no_harm(
            sources, asked, classes=classes, values=values, weights=weights, seed=seed,
            allow_skip=allow_skip, until_success=until_success, costs=costs,
        )  # fmt: skip
        evenly = evenly or not verdict.opened

    problem = Problem.of(menu, asked)
    averages = [limit for limit in asked if limit.scope != "each"]
    alone: list[Limit | None] = [*averages] or [None]
    for priced in alone:
        answer = problem.answer(priced, split=split, evenly=evenly)
        others = [limit for limit in averages if limit is not priced]
        if all(problem.realised(limit, answer) <= limit.amount for limit in others):
            break
    else:
        raise UsageError(
            f"More than one budget binds ({', '.join(limit.resource for limit in averages)}). "
            "Several binding average or total budgets are not supported yet: keep one of them, and "
            "give the others as limits on each query (RESOURCE:each=X)."
        )
    allocation = problem.allocation(answer, priced, split=split, seed=seed)

    from_fit = values == "posterior" and any(not isinstance(one, Menu) for one in sources)
    ladder = allocation.ladder
    for one in sources:
        if hasattr(one, "intervals"):
            ladder = one.intervals(ladder)
    said = verdict.caution if verdict else GATE_NOT_RUN if from_fit else None
    return replace(
        allocation,
        ladder=ladder,
        cautions=(*allocation.cautions, *([] if said is None else [said])),
    )


# --- reading the question --------------------------------------------------------------------


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
) -> tuple[Limit, ...]:
    """Everything that was asked for, the budget first."""
    if per not in ("query", "total"):
        raise UsageError(f"Unknown per='{per}'. A budget is per 'query' or per 'total'.")
    asked: list[Limit] = []
    if budget is not None:
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
        if limit.resource not in menu.cost:
            flag = FLAGS.get(limit.resource)
            raise UsageError(
                f"The menu has no cost in {limit.resource}; it has: {', '.join(menu.cost)}. "
                + (f"Give {flag}, or log it." if flag else "Choose one of these.")
            )
    return tuple(asked)


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
