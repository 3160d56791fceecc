"""The rows of a table, one a class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.allocators.explain import HOPELESS, hopeless
from scaling.tables.entries import UNKNOWN_MODEL, fallback_entry, rung_entry, with_marginals
from scaling.tables.features import condition, row_ids
from scaling.tables.lookup import abstention

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from scaling.allocators.allocation import Allocation
    from scaling.allocators.limit import Limit
    from scaling.curves import Menu


_HARD_LIMITS: Mapping[str, tuple[str, Callable[[float], float]]] = {
    "usd": ("max_usd", float),
    "tokens": ("max_total_tokens", math.floor),
    "seconds": ("timeout_s", float),
}
_OF_SOME_ROWS = {"fallback-served", "extrapolated"}
_UNUSABLE = {
    "code": "fallback-served",
    "message": "no usable fit stands behind this class; it is served the fallback.",
}
_UNKNOWN = {
    "code": "fallback-served",
    "message": "no usable fit stands behind this class; it is served the fallback. What it gains is "
    "not known, and counts as 0 in the certificate.",
}
_UNNAMED = {
    "code": "model-unnamed",
    "message": f"the log names no model; '{UNKNOWN_MODEL}' stands for it. Put your model there.",
}
_OFF_CENTRE = {
    "code": "interval-excludes-mean",
    "message": "the interval of a rung does not hold its mean and was left out.",
}


class Rows:
    """The rows of a table, entries of a shared curve built once."""

    def __init__(self, allocation: Allocation, features: Mapping[str, dict[str, Any]]) -> None:
        self._allocation = allocation
        self._menu = allocation.ladder
        self._features = features
        self._ladders: dict[int, list[dict[str, Any]]] = {}
        self._split = {each.class_index: each for each in allocation.split}
        self._hopeless = hopeless(allocation)
        self._limits = [(limit, limit.members(self._menu)) for limit in allocation.limits]
        self._common_limits = _hard_limits(x for x in allocation.limits if not x.where)
        # Of what is said of the whole, that some classes are served the fallback, or beyond the
        # data, goes to the rows of those classes.
        said = _cautions([*allocation.cautions, *self._menu.cautions.get(-1, ())])
        self._common = [each for each in said if each["code"] not in _OF_SOME_ROWS]
        self._extrapolated = [each for each in said if each["code"] == "extrapolated"]

    def _hard_limits(self, c: int) -> dict[str, float]:
        """The caps on every request of a class."""
        if not any(limit.where for limit, _ in self._limits):
            return self._common_limits
        return _hard_limits(limit for limit, about in self._limits if about[c])

    def _may_abstain(self, c: int) -> bool:
        """Whether a class may be served nothing: not where it must be worth something."""
        return bool(self._menu.skip) and not any(
            limit.sense == "min" and limit.scope == "each" and limit.amount > 0 and about[c]
            for limit, about in self._limits
        )

    def written(self) -> list[dict[str, Any]]:
        """The rows, in the order of the classes."""
        menu = self._menu
        weight = np.asarray(menu.weight, dtype=np.float64)
        weight = weight / math.fsum(weight)
        ids = row_ids(menu, self._features)
        return [
            {"row_id": ids[c], "when": self._when(c), "weight": float(weight[c])} | self._served(c)
            for c in range(len(weight))
        ]

    def _when(self, c: int) -> dict[str, Any]:
        return {
            feature["name"]: condition(self._menu.key[column][c], feature)
            for column, feature in self._features.items()
        }

    def _served(self, c: int) -> dict[str, Any]:
        """Action, expectation, ladder and what qualifies them, for one class."""
        menu, chosen = self._menu, int(self._allocation.chosen[c])
        cautions: list[Any] = [*menu.cautions.get(c, ()), *self._common]
        if chosen == -2:
            return self._fallback_row(c, cautions)
        first = int(menu.start[menu.curve[c]])
        may_abstain = self._may_abstain(c)
        ladder = self._ladder(int(menu.curve[c]), may_abstain=may_abstain)
        shares = {chosen: 1.0}
        if c in self._split:
            divided = self._split[c]
            shares = {int(divided.lower): 1 - divided.share, int(divided.upper): divided.share}
        main = max(shares, key=lambda rung: shares[rung])  # of equal shares the lower rung
        entry = abstention(ladder[0]["expected"]) if main == -1 else ladder[main - first]
        row: dict[str, Any] = {
            "action": entry["action"],
            "expected": entry["expected"],
            "marginal": entry.get("marginal"),
        }
        if hard_limits := self._hard_limits(c):
            row["hard_limits"] = hard_limits
        if c in self._split:
            row["split"] = [
                {"rung": rung - first, "share": float(share)}
                for rung, share in sorted(shares.items())
                if rung >= 0
            ]
        if self._hopeless[c]:
            cautions.append(HOPELESS)
        beyond = menu.extrapolated is not None and any(
            menu.extrapolated[rung] for rung in shares if rung >= 0
        )
        if beyond:
            cautions += self._extrapolated
        spread = [rung["expected"]["value"] for rung in ladder]
        if any(rung["action"]["model"] == UNKNOWN_MODEL for rung in ladder):
            cautions.append(_UNNAMED)
        if _off_centre(menu, first, first + len(ladder)):
            cautions.append(_OFF_CENTRE)
        if main in (-1, first):
            cautions += self._little_to_gain(ladder[0], nothing=main == -1)
        regret = self._allocation.regret
        if regret is not None and (told := regret.row(c)) is not None:
            row["uncertainty"] = told
        return row | {
            "guarantee": "asymptotic" if any("interval" in each for each in spread) else "none",
            "support": {**self._support(c), "extrapolated": beyond},
            "cautions": _cautions(cautions),
            "ladder": ladder,
            "may_abstain": may_abstain,
        }

    def _little_to_gain(self, rung: dict[str, Any], *, nothing: bool) -> list[dict[str, str]]:
        """Says of a class that its cheapest action gains less than the price, where it does."""
        resource, price = self._allocation.priced_resource, self._allocation.price or 0.0
        value, use = (
            rung["expected"]["value"]["mean"],
            rung["expected"]["resources"][resource]["mean"],
        )
        if not price * use > value * (1 + 1e-9):
            return []
        end = "so it gets nothing" if nothing else "but doing nothing is not on offer"
        message = (
            f"the first action gains {value / use:.3g} per unit of {resource}, less than the "
            f"{price:.3g} that it buys elsewhere, {end}."
        )
        return [{"code": "little-to-gain", "message": message}]

    def _fallback_row(self, c: int, cautions: list[Any]) -> dict[str, Any]:
        """A class whose group is unusable: the fallback is all that it is offered."""
        skip, resource = bool(self._menu.skip), self._allocation.priced_resource
        hard_limits = self._hard_limits(c)
        entry = fallback_entry(self._allocation, c)
        unknown = entry["expected"]["value"]["mean"] is None
        rung = with_marginals([entry], resource, may_abstain=skip)[0]
        return {
            **rung,
            **({"hard_limits": hard_limits} if hard_limits else {}),
            "guarantee": "none",
            "cautions": _cautions([_UNKNOWN if unknown else _UNUSABLE, *cautions]),
            "ladder": [rung],
            "may_abstain": skip,
        }

    def _ladder(self, curve: int, *, may_abstain: bool) -> list[dict[str, Any]]:
        if curve not in self._ladders:
            menu = self._menu
            rungs = range(int(menu.start[curve]), int(menu.start[curve + 1]))
            # Where a limit on each query leaves no action, doing nothing is all there is.
            self._ladders[curve] = with_marginals(
                [rung_entry(menu, r) for r in rungs] or [abstention({"resources": menu.cost})],
                self._allocation.priced_resource,
                may_abstain=may_abstain,
            )
        return self._ladders[curve]

    def _support(self, c: int) -> dict[str, Any]:
        """What stands behind a class; a negative count is an unknown one."""
        return {
            name: int(count[c]) for name, count in self._menu.support.items() if int(count[c]) >= 0
        }


def _off_centre(menu: Menu, low: int, high: int) -> bool:
    """Whether some rung has an interval that does not hold its mean."""
    if menu.interval is None:
        return False
    value, ends = menu.value[low:high], menu.interval[low:high]
    return bool(((value < ends[:, 0]) | (value > ends[:, 1])).any())  # false for NaN


def _hard_limits(limits: Iterable[Limit]) -> dict[str, float]:
    """The caps on every request that limits on each query come to."""
    caps: dict[str, float] = {}
    for limit in limits:
        if limit.scope == "each" and limit.sense == "max" and limit.resource in _HARD_LIMITS:
            name, rounded = _HARD_LIMITS[limit.resource]
            cap = min(rounded(limit.amount), caps.get(name, math.inf))
            if cap > 0:  # a cap of nothing leaves nothing to cap
                caps[name] = cap
    return caps


def _cautions(given: Iterable[Any]) -> list[dict[str, str]]:
    """Cautions without repetition, in the order given; the group that one is of leads its message."""
    pairs = dict.fromkeys((_field(each, "code"), _message(each)) for each in given)
    return [{"code": code, "message": message} for code, message in pairs]


def _message(caution: Any) -> str:
    message = _field(caution, "message")
    group = caution.get("group") if isinstance(caution, Mapping) else None
    return f"{group}: {message}" if group else message


def _field(caution: Any, name: str) -> str:
    return str(caution[name] if isinstance(caution, Mapping) else getattr(caution, name))
