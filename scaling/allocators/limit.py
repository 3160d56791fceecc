"""What an allocation must keep: limits on use, on what answers are worth, and on shares of actions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.curves import RESOURCES, BoolArray, FloatArray, Menu, plain
from scaling.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

VALUE = "value"
"""What a limit from below on what answers are worth is on, in the place of a resource."""
SHARE = "share"
"""What a limit on the share of queries that get some action is on, in the place of a resource."""
SLACK = 1e-12
"""Relative; how far shares and mean values, which are sums of fractions, may be off."""
_SCOPES = "average, each, total, or a percentile such as p95"
_PERCENTILE = re.compile(r"p(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Limit:
    """One constraint: on a resource, on value, or on the share of an action.

    With `w` the weights of the classes that it is about, `x` what they get and `q` the quantity
    (expected use of the resource, value, or 1 where the action is the one named and 0 elsewhere):

    - `average`: `sum(w q(x)) / sum(w) <= amount` (`>=` where `sense` is `min`);
    - `total`: that, times `queries`;
    - `each`: `q(x_i) <= amount` for every class, a mask on the menu;
    - `pNN`: at most 100 - NN percent of the queries may be of classes whose action is expected to
      use more than `amount`. This is a percentile over queries of *expected* use. It says nothing
      of the spread of use about its expectation: where single requests of one action differ much,
      the percentile of what is measured on requests can be larger, or smaller.

    Attributes:
        resource: one of `scaling.curves.RESOURCES`, `value`, or `share`.
        scope: `average`, `each`, `total`, or a percentile `pNN` of a resource.
        amount: the limit, zero or more.
        queries: for how many queries a total is meant; None for the other scopes.
        realised: what the allocation uses, in the same terms; for `each`, the dearest class.
        price: the shadow price at the optimum, 0 where the limit does not bind: value per unit of
            the resource; value per unit of mean value or of share asked for; for a percentile, value
            per unit of share that may exceed it. None for `each`, which is a mask on the menu. Of an
            allocation for a target value, the price of the target is the cost of a unit of value.
        sense: whether the amount is the most (`max`) or the least (`min`).
        where: class columns to the values of the classes that it is about; empty for all.
        action: of a share, the action columns that it is the share of: `{"model": "large"}`.
        confidence: probability with which a budget holds, given how well costs are known; None where
            it holds on average.
        margin: what is kept free for that, in the same terms.

    Raises:
        UsageError: an unknown resource or scope, an amount that is negative or not finite, a
            total without a number of queries, or parts that do not go together.
    """

    resource: str
    scope: str = "average"
    amount: float = 0.0
    queries: int | None = None
    realised: float | None = None
    price: float | None = None
    sense: Literal["max", "min"] = "max"
    where: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    action: Mapping[str, Any] = field(default_factory=dict)
    confidence: float | None = None
    margin: float = 0.0

    def __post_init__(self) -> None:
        known = (*RESOURCES, VALUE, SHARE)
        if self.resource not in known:
            raise UsageError(
                f"Unknown resource '{self.resource}'. Resources: {', '.join(RESOURCES)}."
                f"{did_you_mean(self.resource, known)}"
            )
        if self.scope not in {"average", "each", "total"} and self.percentile is None:
            raise UsageError(
                f"Unknown scope '{self.scope}' of the limit on {self.resource}. Scopes: {_SCOPES}."
            )
        if not (math.isfinite(self.amount) and self.amount >= 0):
            raise UsageError(
                f"The budget of {self.resource} is {self.amount}. "
                "It must be a finite number, zero or more."
                if self.resource in RESOURCES
                else f"The limit on {self.resource} is {self.amount}. It must be a number from 0 to 1."
            )
        if self.scope == "total" and (self.queries is None or self.queries < 1):
            raise UsageError(
                f"A total of {self.resource} needs the number of queries it is for. "
                "Give queries=N (--queries N), one or more."
            )
        self._refuse_mixtures()

    def _refuse_mixtures(self) -> None:
        """Raise for parts that do not go together."""
        if self.sense not in ("max", "min"):
            raise UsageError(f"Unknown sense '{self.sense}' of a limit. It is 'max' or 'min'.")
        if self.percentile is not None and (self.resource not in RESOURCES or self.sense == "min"):
            raise UsageError(
                f"A percentile ({self.scope}) is the most that a resource may use; it cannot be "
                f"{'a minimum' if self.resource in RESOURCES else f'of {self.resource}'}."
            )
        if self.scope == "total" and (self.where or self.resource not in RESOURCES):
            raise UsageError(
                f"A total is of a resource over all queries; this one is of {self.words}. "
                "Give the average instead."
            )
        if self.resource == VALUE and self.sense == "max":
            raise UsageError("A limit on value is a minimum: give sense='min'.")
        if self.resource in (VALUE, SHARE) and self.amount > 1:
            raise UsageError(
                f"The limit on {self.words} is {self.amount}. It must be a number from 0 to 1."
            )
        if self.resource == SHARE and (self.scope != "average" or not self.action):
            raise UsageError(
                "A share is of all queries together, and of an action that is named: "
                "give action={'model': NAME}, and no other scope than average."
            )
        if self.action and self.resource != SHARE:
            raise UsageError(
                f"A limit on {self.resource} is about all actions; only a share names one. "
                "Leave action out."
            )

    @classmethod
    def parse(cls, text: str, *, queries: int | None = None) -> Limit:
        """Read `RESOURCE=X` or `RESOURCE:SCOPE=X`, as the command line writes it.

        Raises:
            UsageError: the text has another form, or says something that a limit cannot be.
        """
        name, equals, amount = text.partition("=")
        resource, _, scope = name.partition(":")
        try:
            number = float(amount)
        except ValueError:
            equals = ""
            number = 0.0
        if not equals:
            raise UsageError(
                f"Cannot read the limit '{text}'. Write RESOURCE=X, RESOURCE:each=X, "
                "RESOURCE:total=X or RESOURCE:p95=X, with a number X."
            )
        if resource in (VALUE, SHARE):
            other = "--min-value" if resource == VALUE else "--max-share or --min-share"
            raise UsageError(f"--limit {text}: a limit on {resource} is given by {other}.")
        scope = scope or "average"
        return cls(resource, scope, number, queries if scope == "total" else None)

    @property
    def average(self) -> float:
        """The amount per query."""
        return self.amount if self.queries is None else self.amount / self.queries

    @property
    def percentile(self) -> float | None:
        """NN of a scope pNN; None for the other scopes."""
        found = _PERCENTILE.fullmatch(self.scope)
        number = float(found.group(1)) if found else 0.0
        return number if 0 < number < 100 else None

    @property
    def free(self) -> float:
        """The amount per query that the margin leaves."""
        return self.average - (self.margin if self.queries is None else self.margin / self.queries)

    @property
    def is_budget(self) -> bool:
        """Whether this is the most that a resource may use on average or in total, over all."""
        return (
            self.resource in RESOURCES
            and self.scope in ("average", "total")
            and self.sense == "max"
            and not self.where
        )

    @property
    def words(self) -> str:
        """What is limited, as the command line names it: `seconds:p95`, `value of level=hard`."""
        name = self.resource
        if self.action:
            name = "share of " + ", ".join(f"{k}={v}" for k, v in self.action.items())
        elif self.scope != "average" or self.resource in RESOURCES:
            name += "" if self.scope == "average" else f":{self.scope}"
        if self.where:
            parts = (f"{k}={'|'.join(map(str, v))}" for k, v in self.where.items())
            name += " of " + ", ".join(parts)
        return name

    @property
    def option(self) -> str | None:
        """The option of `scaling allocate` that says it; None where only a file of constraints can."""
        about = ",".join(f"{k}={'|'.join(map(str, v))}" for k, v in self.where.items())
        amount = repr(self.amount).removesuffix(".0")
        if self.resource == VALUE:
            flag = "--min-value" if self.scope == "each" else "--floor"
            return f"{flag} {about + ':' if about else ''}{amount}"
        if self.where:
            return None
        if self.resource == SHARE:
            return (
                f"--{self.sense}-share {self.action['model']}={amount}"
                if list(self.action) == ["model"]
                else None
            )
        return f"--limit {self.resource}:{self.scope}={amount}" if self.sense == "max" else None

    def members(self, menu: Menu) -> BoolArray:
        """Which classes of a menu this is about, shape (C,).

        Raises:
            UsageError: a class column or a value that the menu does not have.
        """
        out = np.ones(menu.weight.size, dtype=bool)
        for name, values in self.where.items():
            if name not in menu.key:
                columns = ", ".join(menu.key) or "none"
                raise UsageError(
                    f"The limit on {self.words} names the class column '{name}'; the menu's are: "
                    f"{columns}.{did_you_mean(name, menu.key)}"
                )
            column = _texts(menu.key[name])
            wanted = [str(value) for value in values]
            for value in wanted:
                if not (column == value).any():
                    seen = sorted(set(column.tolist()))
                    raise UsageError(
                        f"The limit on {self.words}: no class has {name}={value}; there are: "
                        f"{', '.join(seen[:10])}.{did_you_mean(value, seen)}"
                    )
            out &= np.isin(column, wanted)
        if not out.any():
            raise UsageError(f"The limit on {self.words} is about no class: none has all of these.")
        return out

    def quantity(self, menu: Menu) -> FloatArray:
        """What is summed, at every rung of a menu, shape (N,).

        Raises:
            UsageError: a share of an action that the menu does not have.
        """
        if self.resource == VALUE:
            return menu.value
        if self.resource != SHARE:
            cost = menu.cost[self.resource]
            return cost if self.percentile is None else (cost > self.amount).astype(np.float64)
        return self._is_action({name: menu.action.get(name) for name in self.action}, menu)

    def _is_action(self, columns: Mapping[str, NDArray[Any] | None], menu: Menu) -> FloatArray:
        out = np.ones(menu.value.size, dtype=bool)
        for name, value in self.action.items():
            column = columns[name]
            if column is None:
                raise UsageError(
                    f"The limit on the {self.words} names the action column '{name}'; the menu's "
                    f"are: {', '.join(menu.action) or 'none'}.{did_you_mean(name, menu.action)}"
                )
            same = column == (str(value) if column.dtype.kind in "UO" else value)
            if not np.any(same):
                seen = sorted({str(plain(each)) for each in column[:100_000]})
                raise UsageError(
                    f"The limit on the {self.words}: no action has {name}={value}; there are: "
                    f"{', '.join(seen[:10])}.{did_you_mean(str(value), seen)}"
                )
            out &= same
        return out.astype(np.float64)

    def of_action(
        self, action: Mapping[str, Any], value: float, cost: Mapping[str, float]
    ) -> float:
        """The quantity of one action, given its value and cost."""
        if self.resource == VALUE:
            return value
        if self.resource == SHARE:
            return float(all(action.get(k) == v for k, v in self.action.items()))
        if self.percentile is None:
            return cost[self.resource]
        return float(cost[self.resource] > self.amount)

    def is_kept(self, realised: float) -> bool:
        """Whether what is realised keeps the limit: to the last bit where it is a budget."""
        slack = 0.0 if self.is_budget or self.scope == "each" else SLACK * max(self.amount, 1e-3)
        if self.sense == "min":
            return realised >= self.amount - slack
        return realised <= self.amount + (slack if self.percentile is None else 0.0)


def _texts(column: NDArray[Any]) -> NDArray[np.str_]:
    """A class column as text."""
    if column.dtype.kind in "iub":  # few distinct numbers, as a rule
        values, place = np.unique(column, return_inverse=True)
        return np.array([str(plain(each)) for each in values])[place]
    return np.array([str(plain(each)) for each in column])


def percentile_of(weight: FloatArray, use: FloatArray, percent: float) -> float:
    """Smallest use that at most 100 - `percent` percent of the weight exceeds."""
    order = np.argsort(-use, kind="stable")
    above = np.cumsum(weight[order])  # weight of everything at least as dear
    most = (1 - percent / 100) * above[-1] + SLACK * above[-1]
    # the dearest use such that what is strictly dearer weighs little enough
    at = int(np.searchsorted(above, most, side="right"))
    return float(use[order[min(at, use.size - 1)]])
