"""What a person reads of an allocation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaling.cli import cost_options, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from scaling.allocators.allocation import Allocation, Target
    from scaling.allocators.limit import Limit
    from scaling.curves import Menu

_LOOSE = 1e-3
_FEW = 200
_ONE = {
    "samples": "sample",
    "tokens": "token",
    "usd": "dollar",
    "flops": "FLOP",
    "bytes": "byte",
    "eflops": "equivalent FLOP",
    "seconds": "second",
    "joules": "joule",
}


def amount_of(amount: float, resource: str, digits: int = 6) -> str:
    """An amount in words."""
    if resource == "usd":
        return f"${show.amount(amount, digits)}"
    return f"{show.amount(amount, digits)} {_ONE[resource]}" + "s" * (amount != 1)


def report(
    allocation: Allocation,
    following: str,
    *,
    within_log: bool,
    further: Callable[[], None] = lambda: None,
) -> None:
    """What a person reads of an allocation.

    Args:
        allocation: the answer.
        following: the command to type next.
        within_log: actions stop at the most attempts of a log, and --extrapolate offers more.
        further: prints what else was asked for, before the next command.
    """
    from scaling.allocators import funding
    from scaling.cli.explanation import hopeless_line, risk_lines
    from scaling.curves import action_words

    menu = allocation.ladder
    what = menu.maximise.replace("_", " ")
    show.line("maximise", f"{what}, the mean a query over {_classes(menu)}")
    several = sum(limit.scope != "each" for limit in allocation.limits) > 1
    if allocation.target is not None:
        show.line("target", _target(allocation.target, what))
    for limit in allocation.limits[allocation.target is not None :]:
        show.line("budget" if limit.is_budget else "limit", _limit(limit, several=several))
    used = ", ".join(amount_of(x, name, 4) for name, x in allocation.spent.items())
    show.line("spent", f"{used} a query")
    if allocation.unspent_cause:
        left = amount_of(allocation.unspent, allocation.priced_resource, 3)
        show.line("unspent", f"{left} a query: {_unspent(allocation, within_log)}")
    show.line("value", _value(allocation, what))
    if allocation.relative_gap > _LOOSE and allocation.chosen.size <= _FEW:
        show.line("", "the gap is that of few classes; --method exact closes it in small problems")
    price = _price(allocation, what, within_log)
    if price:
        show.line("more", price)
    risk_lines(allocation)
    _chosen(allocation)
    if menu.skip:
        got = funding(allocation)
        show.line("funded", f"{got.funded:,} of {got.funded + got.unfunded:,} classes")
    fallback = allocation.fallback
    if not fallback.nothing:
        cost = ", ".join(amount_of(x, name, 4) for name, x in fallback.cost.items())
        show.line(
            "fallback",
            f"{action_words(fallback.action)}, for queries of no class here: {what} "
            f"{show.number(fallback.value)}, {cost}",
        )
    if allocation.n_nonhull:
        named = "; ".join(action_words(each) for each in allocation.nonhull[:3])
        rest = allocation.n_nonhull - min(3, len(allocation.nonhull))
        show.line(
            "left out",
            f"{allocation.n_nonhull:,} of {allocation.n_menu:,} actions are off the concave hull, "
            f"so no price selects them: {named}" + (f" and {rest:,} more" if rest else ""),
        )
    hopeless_line(allocation)
    for assumption in assumed(menu):
        show.line("assumed", assumption)
    rows = (menu.provenance.get("cost_model") or {}).get("sensitivity")
    if rows:
        show.line("intensity", cost_options.sensitivity(rows))
    show.cautions(
        (
            *(("", c["code"], c["message"]) for c in allocation.cautions),
            *(
                (_place("" if i < 0 else menu.class_name(i), c), c["code"], c["message"])
                for i, found in menu.cautions.items()
                for c in found
            ),
        )
    )
    further()
    show.following(following)


def _unspent(allocation: Allocation, within_log: bool) -> str:
    """Why something is left; best actions are the best of those on offer."""
    if allocation.price != 0 or not within_log:
        return str(allocation.unspent_cause)
    limited = any(limit.scope == "each" for limit in allocation.limits)
    return (
        f"{allocation.unspent_cause}, of those within the log{' and the limits' * limited}; "
        "--extrapolate offers more samples"
    )


def _place(name: str, caution: Mapping[str, Any]) -> str:
    """The class that a caution is about, and the group of it where the caution names one."""
    group = caution.get("group")
    if not group:
        return name
    said = show.place(group) if isinstance(group, dict) else str(group)
    return said if name in ("", said) else f"{name}: {said}"


def _classes(menu: Menu) -> str:
    if not menu.key:
        return "all queries"
    return f"{menu.weight.size:,} classes ({', '.join(menu.key)})"


def _target(target: Target, what: str) -> str:
    cost = amount_of(target.cost, target.resource)
    least = amount_of(target.bound, target.resource)
    return (
        f"{what} of at least {show.number(target.value)}: {cost} a query; no allocation that is worth "
        f"as much costs less than {least} (relative gap {target.relative_gap:.1e})"
    )


def _limit(limit: Limit, *, several: bool) -> str:
    """A limit, what is reached, and, where there are several, the price of those that bind."""
    text = limit_of(limit)
    if limit.realised is not None and not limit.is_budget and limit.scope != "each":
        known = limit.resource in _ONE
        reached = show.number(limit.realised)
        text += f"; it is {amount_of(limit.realised, limit.resource) if known else reached}"
    if several and limit.price:
        per = f" a {_ONE[limit.resource]}" if limit.is_budget else ""
        text += f"; binds, shadow price {show.number(limit.price, 3)}{per}"
    return text


def limit_of(limit: Limit) -> str:
    """What is asked for, in words."""
    about = f", over {limit.words.partition(' of ')[2]}" if limit.where else ""
    side = "at least" if limit.sense == "min" else "at most"
    if limit.resource not in _ONE:
        whom = " for every class" if limit.scope == "each" else ""
        name = limit.words if limit.resource == "share" else f"mean value{about}"
        name = f"value{about}" if whom else name
        return f"{name} {side} {show.amount(limit.amount)}{whom}"
    amount = amount_of(limit.amount, limit.resource)
    if limit.confidence is not None:
        kept = amount_of(limit.margin, limit.resource, 3)
        how = f"with probability {limit.confidence:g}: {kept} kept free for the error of the costs"
        if limit.scope == "average":
            return f"{amount} a query on average, {how}"
        return f"{amount} in total over {limit.queries:,} queries, {how}"
    if limit.percentile is not None:
        rest = show.amount(100 - limit.percentile)
        return f"{amount} at the {limit.scope} of queries: at most {rest}% are expected to use more{about}"
    if limit.scope == "average":
        least = " or more" if limit.sense == "min" else ""
        return f"{amount}{least} a query, on average{about}"
    if limit.scope == "each":
        return f"{amount} {side} for any query{about}"
    each = amount_of(limit.average, limit.resource)
    return f"{amount} in total over {limit.queries:,} queries, {each} a query"


def _value(allocation: Allocation, what: str) -> str:
    even = allocation.uniform_value
    text = f"{what} {show.number(allocation.value)}; "
    if even is None:
        text += "the even spend is not possible within this budget"
    else:
        gain = 100 * (allocation.value - even)
        text += f"{show.number(even)} if spent evenly ({gain:+.2f} points)"
    return (
        f"{text}; no allocation within the budget exceeds {show.number(allocation.bound)} "
        f"(relative gap {allocation.relative_gap:.1e})"
    )


def _price(allocation: Allocation, what: str, within_log: bool) -> str | None:
    """The shadow price for a round step of about the budget's size."""
    price = allocation.price
    budget = next(
        (
            limit.average
            for limit in allocation.limits
            if limit.is_budget and limit.resource == allocation.priced_resource
        ),
        0.0 if allocation.target is None else allocation.target.cost,
    )
    if price is None or budget <= 0:
        return None
    step = 10.0 ** math.floor(math.log10(budget))
    unit = amount_of(step, allocation.priced_resource)
    if price == 0:
        several = sum(limit.scope != "each" for limit in allocation.limits) > 1
        return f"{unit} more a query would buy nothing" + (
            " alone" if several else " within the log" * within_log
        )
    each = f"{show.number(price, 3)} a {_ONE[allocation.priced_resource]}"
    return (
        f"{unit} more a query would buy about {show.number(price * step, 3)} {what} "
        f"(shadow price {each})"
    )


def _chosen(allocation: Allocation) -> None:
    from scaling.tables.build import MOST_ROWS

    key = list(allocation.ladder.key)
    resources = list(allocation.spent)
    rows = []
    for row in allocation.rows(show.MOST_ROWS):
        named = [str(row["class"][name]) for name in key] or ["all queries"]
        share = show.number(100 * row["weight"], 3) + "%"
        rows.append((*named, share, *_outcome(row, row["status"], resources)))
        if (part := row["split"]) is not None:
            of = f"{100 * part['share']:.3g}% of it"
            rows.append((*([""] * len(named)), of, *_outcome(part, "chosen", resources)))
    head = (*(key or ["class"]), "share", "action", allocation.ladder.maximise, "interval")
    numbers = ("share", allocation.ladder.maximise, *resources)
    show.table((*head, *resources), rows, numbers=numbers)
    classes = allocation.chosen.size
    in_table = classes <= MOST_ROWS
    show.more(classes, "classes", "--json" if in_table else "Allocation.to_frame() in Python")


def _outcome(row: Mapping[str, Any], status: str, resources: Sequence[str]) -> tuple[str, ...]:
    from scaling.curves import action_words

    nothing = not row["action"] and not any(row["cost"].values())
    action = "nothing" if nothing else action_words(row["action"])
    return (
        action + " (fallback)" * (status == "fallback"),
        show.number(row["value"]),
        show.interval(row["interval"], 3),
        *(show.amount(row["cost"].get(name), 4) for name in resources),
    )


def assumed(menu: Menu) -> Iterator[str]:
    """What must be true for the numbers to mean what they say."""
    if menu.maximise == "coverage":
        yield (
            "an oracle verifier: a query counts as solved when any of its samples is right, "
            "so something must recognise the right one"
        )
    if "first_accepted" in menu.action.get("stop_rule", ()):
        for verifier in dict.fromkeys(menu.action.get("verifier_model", [])):
            yield (
                f"sampling stops at the first sample that a verifier accepts, which {verifier}, of "
                "every problem alike; where all are rejected none is served"
            )
        if "verifier_model" not in menu.action:
            yield "sampling stops at the first right sample; a wrong one costs what a right one does"
    if menu.estimand == "population":
        yield "queries are like the problems of the log (the population estimand)"
    elif menu.estimand == "benchmark":
        yield "queries are these very problems, asked anew (the benchmark estimand)"
    cost = menu.provenance.get("cost_model")
    if cost and "models" in cost:
        yield from cost_options.assumptions(cost)
    elif cost and set(menu.cost) != {"samples"}:
        given = {k.replace("_", " "): v for k, v in cost.items() if k != "name"}
        named = ", ".join(f"{k} {_plainly(v)}" for k, v in given.items())
        rest = "a sample uses what it used on average in the log"
        yield f"{named}, as given; else {rest}" if given else rest


def _plainly(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={show.amount(v)}" for k, v in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return show.amount(value) if isinstance(value, int | float) else str(value)
