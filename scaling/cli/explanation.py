"""What a person reads of why a class got what it got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.explain import STANDINGS
from scaling.cli import show
from scaling.cli.allocated import amount_of
from scaling.curves import action_words

if TYPE_CHECKING:
    from scaling.allocators.allocation import Allocation
    from scaling.allocators.explain import Explanation, Step


def hopeless_line(allocation: Allocation) -> None:
    """Name the classes that get the least because nothing helps them enough; none, no line."""
    from scaling.allocators import hopeless

    menu = allocation.ladder
    found = np.flatnonzero(hopeless(allocation))
    if not found.size:
        return
    heaviest = found[np.lexsort((found, -menu.weight[found]))][:3].tolist()
    names = "; ".join(menu.class_name(i) for i in heaviest)
    rest = f" and {found.size - 3:,} more" if found.size > 3 else ""
    show.line(
        "hopeless",
        f"{found.size:,} of {menu.weight.size:,} classes get the least on offer: no action gains "
        f"them enough for its cost, and none is worth even 0.5: {names}{rest}",
    )


def risk_lines(allocation: Allocation) -> None:
    """What not knowing the values better costs, and what caution reached."""
    what = allocation.ladder.maximise.replace("_", " ")
    if (tail := allocation.cvar) is not None:
        show.line(
            "cvar",
            f"{what} {show.number(tail.value)} on average over the worst {1 - tail.level:.3g} of "
            f"{tail.draws:,} draws, at most {show.number(tail.bound)} (relative gap "
            f"{tail.relative_gap:.1e}); {show.number(tail.of_mean_optimum)} where the mean is maximised",
        )
    if (lost := allocation.regret) is not None:
        show.line(
            "regret",
            f"knowing the values would gain at most {show.number(lost.mean, 2)} {what} on average, "
            f"{show.number(lost.q95, 2)} in 95% of {lost.draws:,} draws",
        )


def explanation(found: Explanation, what: str) -> None:
    """Why one class got what it got.

    Args:
        found: the explanation.
        what: the name of the value.
    """

    def cost(amount: float) -> str:
        if found.resource is None:
            return f"{show.number(amount, 3)} {what} at the prices of the resources"
        return amount_of(amount, found.resource, 4)

    def worth(step: Step) -> str:
        action = "nothing" if step.action is None else action_words(step.action)
        return f"{action}: {what} {show.number(step.value)} for {cost(step.cost)}"

    def each(marginal: float | None) -> str:
        return f"{show.number(marginal, 3)} a unit"

    show.heading(f"why {found.name}: {100 * found.weight:.3g}% of the traffic")
    filled = "its last step was bought with what was left over, below the price"
    show.line("because", filled if found.fills else STANDINGS[found.standing])
    if found.price:
        show.line("price", f"{each(found.price)} of {found.resource or 'cost at the prices'}")
    if found.got is not None:
        show.line("gets", worth(found.got) + _step(found.got, found, each))
    if found.below is not None:
        show.line("below", worth(found.below))
    if found.next is not None:
        show.line("next", worth(found.next) + _step(found.next, found, each))
        if found.next.budget is not None and found.resource is not None:
            budget = amount_of(found.next.budget, found.resource, 4)
            show.line("", f"bought at a budget of about {budget} a query")
    if found.best is not None and found.best not in (found.got, found.next):
        show.line("best", worth(found.best))
    if found.n_nonhull:
        named = "; ".join(action_words(action) for action in found.nonhull[:5])
        more = f" and {found.n_nonhull - 5:,} more" if found.n_nonhull > 5 else ""
        show.line(
            "left out",
            f"{found.n_nonhull:,} of its {found.rungs:,} actions are off the concave hull, so no "
            f"price selects them: {named}{more}",
        )


def _step(step: Step, found: Explanation, each: Any) -> str:
    """What a step gains, against the price."""
    if step.marginal is None:
        return ", the least on offer"
    text = f"; {show.number(step.gain, 3)} more than the step before, {each(step.marginal)}"
    if not found.price:
        return text
    return f"{text} ({show.number(step.marginal / found.price, 3)} times the price)"


def engine_limits(text: str) -> None:
    """Whether the serving targets that a table names can do all that it asks."""
    import json

    for each in json.loads(text)["guarantees"] if text else ():
        if each["property"] == "engine_limits_respected":
            said = "kept" if each["verified"] else f"not kept: {each['detail']}"
            show.line("targets", f"the limits of the serving targets are {said}")
