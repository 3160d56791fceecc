"""One price that follows the spending: the budget of a stream whose queries come one by one.

Standard library only: copy this one file into a gateway (Python 3.11 or later), beside `lookup.py`
and a table.

    from lookup import load
    from online import PriceController

    table = load("table.json")
    controller = PriceController.of_table(table.document, budget=4e8, queries=100_000)
    decision = table.lookup(features, price=controller.price)  # argmax of value - price * cost
    controller.charge(tokens_used)

A query gets the action with the largest value minus price times cost, which is what a table looks up
at a price. After it the price moves with what it used, `c`, against the rate `ρ`, budget per query:

    price <- price * exp(step * (c / ρ - 1) / sqrt(queries))

which is dual mirror descent with the entropy as mirror map (Balseiro, Lu and Mirrokni 2023, The Best
of Many Worlds: Dual Mirror Descent for Online Allocation Problems, Operations Research 71(1), arXiv
2011.10124, Algorithm 1): a step of order 1 / sqrt(queries) loses value of order sqrt(queries) where
queries are alike in distribution, and keeps a fixed share of the best where they are not. The same
sum bounds the spending: it misses the budget by `ρ sqrt(queries) / step * log(last price / first)`.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KIND = "scaling-price-controller"
SCHEMA_VERSION = "1.0"


class ControllerError(ValueError):
    """A controller that cannot be made of what was given, or a use that cannot be charged."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The actions of one class, cheapest first, each worth less per unit of cost than the one before.

    Attributes:
        falls: minus the value per unit of cost that each rung gains over the one before.
        cost: expected use of the priced resource.
        most: what a rung can use at most.
    """

    falls: tuple[float, ...]
    cost: tuple[float, ...]
    most: tuple[float, ...]

    @classmethod
    def of(
        cls,
        value: Sequence[float],
        cost: Sequence[float],
        most: Sequence[float] | None = None,
        *,
        skip: bool = True,
    ) -> Ladder:
        """A ladder from the values and costs of its rungs.

        Args:
            value: rising.
            cost: rising strictly.
            most: what rungs can use at most; their cost where None.
            skip: whether doing nothing is on offer; else the first rung is served at any price.

        Raises:
            ControllerError: no rung, costs that do not rise, or gains per unit that do: rungs that
                no price selects must be left out.
        """
        most = cost if most is None else most
        if not len(value) == len(cost) == len(most) > 0:
            raise ControllerError(
                f"A ladder of {len(value)} values and {len(cost)} costs. Give one each a rung."
            )
        gains = [math.inf if not skip or not cost[0] else value[0] / cost[0]]
        for rung, ((v, c), (w, d)) in enumerate(pairwise(zip(value, cost, strict=True)), 1):
            if not d > c >= 0:
                raise ControllerError(f"Rung {rung} costs {d!r} after {c!r}; costs rise strictly.")
            gains.append((w - v) / (d - c))
            if not 0 <= gains[-1] <= gains[-2] * (1 + 1e-9):
                raise ControllerError(
                    f"Rung {rung} gains {gains[-1]!r} per unit of cost after {gains[-2]!r}. No price "
                    "selects it: keep the concave hull."
                )
        falls = [-gains[0]]
        for gain in gains[1:]:
            falls.append(max(-gain, falls[-1]))  # straight parts, up to rounding
        return cls(tuple(falls), tuple(cost), tuple(most))


@dataclass(slots=True)
class PriceController:
    """The price at which the next query is served, and what it follows from.

    Attributes:
        budget: total of the priced resource.
        queries: for how many queries, the forecast.
        price: value per unit of the resource; starts as the table's shadow price.
        step: how fast the price follows the spending. Small ones follow drift late, large ones let
            single dear queries move the price; from a quarter to four the regret hardly differs
            (`python -m benchmarks.online`).
        hard: never exceed the total: `choose` offers only what is left for certain.
        spent: used so far.
        served: queries so far.
        rate: budget per query that is aimed at, `left` over the queries to come at the last `plan`.
        floor: below which the price does not fall, so that it is soon back after slack hours; a
            thousandth of the first price where not given.

    Raises:
        ControllerError: a budget, number of queries, price or step that is not positive and finite.
    """

    budget: float
    queries: int
    price: float
    step: float = 1.0
    hard: bool = False
    spent: float = 0.0
    served: int = 0
    rate: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        for name in ("budget", "queries", "price", "step"):
            value = getattr(self, name)
            if not (_is_number(value) and value > 0):
                hint = (
                    " A budget that does not bind needs no controller." if name == "price" else ""
                )
                raise ControllerError(f"{name} is {value!r}; give a positive number.{hint}")
        for name in ("spent", "served", "rate", "floor"):
            value = getattr(self, name)
            if not (_is_number(value) and value >= 0):
                raise ControllerError(f"{name} is {value!r}; it is a number, zero or more.")
        if not self.rate:
            self.rate = self.budget / self.queries
        if not self.floor:
            self.floor = self.price / 1000

    @classmethod
    def of_table(
        cls,
        document: Mapping[str, Any],
        *,
        budget: float,
        queries: int,
        step: float = 1.0,
        hard: bool = False,
    ) -> PriceController:
        """Start from a table's shadow price, or its smallest marginal where its budget is slack.

        Args:
            document: a parsed budget table.
            budget: total of the table's priced resource.
            queries: for how many queries.
            step: see the class.
            hard: see the class.

        Raises:
            ControllerError: the table prices no resource, or no rung of it has a marginal.
        """
        try:
            objective, rows = document["objective"], document["rows"]
            resource = objective["priced_resource"]
            prices = [
                each.get("shadow_price")
                for each in objective["constraints"]
                if each["resource"] == resource and each.get("shadow_price")
            ]
            marginals = [rung.get("marginal") for row in rows for rung in row["ladder"]]
        except (AttributeError, LookupError, TypeError) as error:
            raise ControllerError(
                f"The document is no budget table ({type(error).__name__}: {error})."
            ) from error
        start = prices or [min((m for m in marginals if m), default=0.0)]
        if resource is None or not start[0]:
            raise ControllerError(
                "The table prices nothing: it has no priced resource, or no rung with a marginal."
            )
        return cls(budget, queries, float(start[0]), step, hard)

    @property
    def left(self) -> float:
        """What is left of the budget; a request that cannot be capped by it must not be made."""
        return max(self.budget - self.spent, 0.0)

    def choose(self, ladder: Ladder) -> int | None:
        """The rung with the largest value - price * cost; None for nothing.

        The last rung that gains the price per unit or more, as `lookup` has it. A hard controller
        takes the best of those that what is left pays for certain, nothing where there is none, and
        so keeps the budget as long as no query uses more than its rung's `most`.
        """
        rung = bisect_right(ladder.falls, -self.price) - 1
        if self.hard:
            left = self.budget - self.spent
            while rung >= 0 and ladder.most[rung] > left:
                rung -= 1
        return rung if rung >= 0 else None

    def charge(self, used: float) -> None:
        """Count what a query used, zero where it got nothing, and move the price.

        Raises:
            ControllerError: a use that is negative or no number; nothing has changed then.
        """
        if not (used >= 0 and used < math.inf):
            raise ControllerError(f"A query used {used!r}. It must be a number, zero or more.")
        self.spent += used
        self.served += 1
        # one query moves the price by a factor of e at most, whatever it used
        moved = self.step * (used / self.rate - 1) / math.sqrt(self.queries)
        self.price = max(self.price * math.exp(min(moved, 1.0)), self.floor)

    def plan(self, remaining: int, *, budget: float | None = None) -> None:
        """Aim anew at the budget, given a better forecast of how many queries are to come.

        Without it a day of more queries than foretold overspends in proportion, and one of fewer
        underspends.

        Args:
            remaining: queries to come.
            budget: the total, spent part included, where it has changed.

        Raises:
            ControllerError: a forecast or budget that is not positive; nothing has changed then.
        """
        total = self.budget if budget is None else budget
        for name, value in (("remaining", remaining), ("budget", total)):
            if not (_is_number(value) and value > 0):
                raise ControllerError(f"{name} is {value!r}; give a positive number.")
        self.budget = total
        self.rate = max(total - self.spent, 1e-9 * total) / remaining
        self.queries = self.served + remaining

    def to_json(self) -> str:
        """The whole state."""
        head = {"schema_version": SCHEMA_VERSION, "kind": KIND}
        return json.dumps({**head, **asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> PriceController:
        """A controller that goes on where the one that wrote the text stood.

        Raises:
            ControllerError: the text is not the state of a controller.
        """
        try:
            state = json.loads(text)
            if state.pop("kind") != KIND:
                raise KeyError("kind")
            if state.pop("schema_version") != SCHEMA_VERSION:
                raise KeyError("schema_version")
            return cls(**state)
        except (AttributeError, LookupError, TypeError, json.JSONDecodeError) as error:
            raise ControllerError(
                f"The text is no state of a controller ({type(error).__name__}: {error}). Give what "
                "to_json() wrote."
            ) from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
