"""A menu: what each class of query can buy, and what sources of menus offer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scaling.core.files import write_text
from scaling.curves.arrays import BoolArray, FloatArray, IntArray, ranges
from scaling.errors import InputError

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from scaling.costs.per_sample import LinearCost

OwnCost: TypeAlias = "tuple[tuple[Mapping[str, Any], LinearCost], ...]"
"""What the actions of a class cost: pairs of action columns, and the cost of samples of such an action."""

RESOURCES = ("samples", "tokens", "usd", "flops", "bytes", "eflops", "seconds", "joules")
"""Resource names, used alike everywhere; tokens are generated tokens, prompt excluded."""


@dataclass(frozen=True)
class Menu:
    """For each class of query, the actions on offer with their values and costs.

    Curves are stored back to back; classes with the same curve share it. `C` classes, `M` curves,
    `N` rungs in all.

    Attributes:
        key: class columns, each of shape (C,); no column where there is one class only.
        weight: shape (C,), how much of the traffic a class is (any positive scale; number of
            problems where known).
        curve: shape (C,), which curve serves a class; -1 where its group is unusable.
        start: shape (M + 1,), the rungs of curve `m` are `start[m]:start[m + 1]`, cheapest first
            in no particular resource.
        value: shape (N,), expected value of a rung per query, in [0, 1] for coverage and accuracy.
        cost: resource name to shape (N,), expected use per query.
        action: action columns to shape (N,): `model` (strings, "" where unknown), `samples` and
            other knobs (integers).
        maximise: what `value` is.
        bins: class column to the cut points of its bins, where `key` holds bin indices.
        skip: whether doing nothing (value 0, cost 0) is on offer.
        value_se: shape (N,) or None.
        interval: shape (N, 2) or None, at `level`; NaN where a rung has none.
        extrapolated: shape (N,) or None, rungs beyond the data.
        support: `n_problems`, `n_samples`, `max_observed_n` to shape (C,), where known.
        estimand: which question the values answer (these problems, or new ones like them).
        cautions: class index to its cautions, each with `code` and `message`; -1 for the menu.
            Where groups were merged, `group` may name the one that is meant (`model=large`).
        provenance: `fits`, `data`, `prices`, `cost_model`, `seed` as the budget table wants them.
        unusable_cost: index of an unusable class to what actions cost it: pairs of action columns
            other than `samples`, and the cost of samples of such an action. Of several pairs that
            an action fits, the first holds. What a listed class gains is taken as unknown; what no
            pair says of its cost, and a class that is not listed, is as the other classes are.
        draws: shape (N, D) or None, the value of a rung under each of D joint draws of what is not
            known; `value` is their mean.
    """

    key: Mapping[str, NDArray[Any]]
    weight: FloatArray
    curve: IntArray
    start: IntArray
    value: FloatArray
    cost: Mapping[str, FloatArray]
    action: Mapping[str, NDArray[Any]]
    maximise: Literal["accuracy", "coverage"] = "accuracy"
    bins: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    skip: bool = False
    value_se: FloatArray | None = None
    interval: FloatArray | None = None
    level: float = 0.95
    extrapolated: BoolArray | None = None
    support: Mapping[str, IntArray] = field(default_factory=dict)
    estimand: Literal["benchmark", "population"] | None = None
    cautions: Mapping[int, tuple[Mapping[str, str], ...]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    unusable_cost: Mapping[int, OwnCost] = field(default_factory=dict)
    draws: FloatArray | None = None

    def class_name(self, index: int) -> str:
        """`level=hard, task=MATH`, or `all queries` where there is one class only."""
        return class_name(self.key, index)

    def key_of(self, index: int) -> dict[str, Any]:
        """The class columns of one class, as plain Python values."""
        return {column: plain(values[index]) for column, values in self.key.items()}

    def action_of(self, rung: int) -> dict[str, Any]:
        """The action columns of one rung, as plain Python values."""
        return {column: plain(values[rung]) for column, values in self.action.items()}

    def action_name(self, rung: int) -> str:
        """`model=m, samples=2`; empty where there are no action columns."""
        return ", ".join(f"{column}={value}" for column, value in self.action_of(rung).items())

    def regrouped(self, rung: IntArray, start: IntArray, curve: IntArray) -> Menu:
        """The menu with other curves, made of its own rungs.

        Args:
            rung: shape (N,), rungs of this menu, curve after curve; one may stand in several.
            start: shape (M + 1,), where the new curves begin.
            curve: shape (C,), which new curve serves a class; -1 where it is unusable.
        """
        return replace(
            self,
            curve=curve,
            start=start,
            value=self.value[rung],
            cost={name: column[rung] for name, column in self.cost.items()},
            action={name: column[rung] for name, column in self.action.items()},
            value_se=None if self.value_se is None else self.value_se[rung],
            interval=None if self.interval is None else self.interval[rung],
            extrapolated=None if self.extrapolated is None else self.extrapolated[rung],
            draws=None if self.draws is None else self.draws[rung],
        )

    def columns(self) -> dict[str, list[Any]]:
        """The menu as rows, column by column: one row for each class and action on offer to it.

        What `scaling.read_menu` reads: class and action columns, `value`, `value_se` where known, a column
        for each resource, `weight` and `maximise`. Unusable classes have no row.
        """
        served = np.flatnonzero(self.curve >= 0)
        low, high = self.start[self.curve[served]], self.start[self.curve[served] + 1]
        rung, owner = ranges(low, high), np.repeat(served, high - low)
        out = {name: column[owner].tolist() for name, column in self.key.items()}
        # samples are both: as an action they are whole numbers
        for columns in (self.cost, self.action):
            out |= {name: column[rung].tolist() for name, column in columns.items()}
        out["value"] = self.value[rung].tolist()
        if self.value_se is not None:
            out["value_se"] = self.value_se[rung].tolist()
        out["weight"] = self.weight[owner].tolist()
        out["maximise"] = [self.maximise] * len(rung)
        return out

    def to_frame(self) -> Any:
        """`columns()` as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.columns())

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the rows, which `scaling.read_menu` and `scaling allocate` read.

        A path that ends in .csv gets CSV, one in .jsonl an object a line.

        Intervals, support and provenance stay behind: a menu file says what is on offer, not how it is
        known. Allocate from the fit to keep them.

        Raises:
            InputError: the path ends in neither .csv nor .jsonl, or cannot be written.
        """
        import csv
        import io
        import json
        import math

        if not str(path).endswith((".csv", ".jsonl")):
            raise InputError(
                f"{path}: a menu is written as CSV or JSON lines; give a name that ends in .csv or "
                ".jsonl. For other formats take to_frame()."
            )
        columns = self.columns()
        rows = zip(*columns.values(), strict=True)
        text = io.StringIO()
        if str(path).endswith(".jsonl"):
            for row in rows:
                named = dict(zip(columns, row, strict=True))
                if not math.isfinite(named.get("value_se", 0.0)):
                    del named["value_se"]  # not known here
                text.write(json.dumps(named, allow_nan=False, ensure_ascii=False) + "\n")
            return write_text(path, text.getvalue())
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        return write_text(path, text.getvalue())


@runtime_checkable
class MenuSource(Protocol):
    """What `allocate` takes besides a menu: a fit or a sweep.

    A source may also have `intervals(menu) -> Menu`, which fills `interval` for a small menu;
    `draws(count, seed)`, a `ValueDraws` or None; and `cost_errors(costs)`, a `CostErrors`.
    """

    def menu(self, *, values: str, classes: str, costs: Any, skip: bool, extrapolate: bool) -> Menu:
        """The menu of this source."""
        ...


class ValueDraws(Protocol):
    """Joint draws of what a source does not know of the values of its rungs."""

    @property
    def count(self) -> int:
        """D, how many."""
        ...

    def of(self, menu: Menu) -> FloatArray:
        """Values under each draw, shape (N, D); NaN for rungs of other sources.

        Args:
            menu: a part of a menu of this source, every class with a curve of its own.
        """
        ...


class CostErrors(Protocol):
    """What a source does not know of the costs of its rungs."""

    def of(self, menu: Menu, resource: str) -> tuple[IntArray, FloatArray, FloatArray]:
        """Group of the source, standard error and spread, each of shape (N,).

        The standard error is of the mean use, and common to all rungs of a group in proportion; the
        spread is the standard deviation of one query's use about the mean. Rungs of other sources
        have group -1 and no error.
        """
        ...


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python value that JSON knows."""
    return value.item() if isinstance(value, np.generic) else value


def action_words(action: Mapping[str, Any]) -> str:
    """An action in words: `large, 8 samples`."""
    parts = [str(action["model"])] if action.get("model") else []
    for name, value in action.items():
        if value == "first_accepted":
            errs = action.get("strategy") == "resample"
            parts.append("until one is accepted" if errs else "until one is right")
        elif value == "resample" or name == "verifier_model":
            continue
        elif name != "model" and value not in (None, ""):
            one = name.replace("_", " ")
            one = one.removesuffix("s") if value == 1 else one
            parts.append(f"{value:,} {one}" if isinstance(value, int) else f"{one} {value}")
    return ", ".join(parts) or "the only action"


def class_name(key: Mapping[str, NDArray[Any]], index: int) -> str:
    """`level=hard, task=MATH`, or `all queries` where there are no class columns."""
    return ", ".join(f"{column}={values[index]}" for column, values in key.items()) or "all queries"
