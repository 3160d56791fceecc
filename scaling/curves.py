"""Menus: what each class of query can buy, where laws and costs meet."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from scaling.core.files import write_text
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from scaling.costs.per_sample import LinearCost

    OwnCost = tuple[tuple[Mapping[str, Any], LinearCost], ...]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

RESOURCES = ("samples", "tokens", "usd", "flops", "bytes", "eflops", "seconds", "joules")
"""Resource names, used alike everywhere; tokens are generated tokens, prompt excluded."""

LARGEST = 200_000_000
"""Most rungs of a menu that is made here."""

LADDER_RUNGS = 64
"""Most rungs that a ladder holds."""

_PAIRS = 4096
"""Pairs of curves that are compared at a time."""

_BLOCK = 1 << 16
"""Rungs whose hulls are made at a time: what that takes fits into the cache."""


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
        if not self.key:
            return "all queries"
        return ", ".join(f"{column}={values[index]}" for column, values in self.key.items())

    def action_of(self, rung: int) -> dict[str, Any]:
        """The action columns of one rung, as plain Python values."""
        return {column: plain(values[rung]) for column, values in self.action.items()}

    def columns(self) -> dict[str, list[Any]]:
        """The menu as rows, column by column: one row for each class and action on offer to it.

        What `scaling.read_menu` reads: class and action columns, `value`, `value_se` where known, a column
        for each resource, `weight` and `maximise`. Unusable classes have no row.
        """
        served = np.flatnonzero(self.curve >= 0)
        low, high = self.start[self.curve[served]], self.start[self.curve[served] + 1]
        rung, owner = _ranges(low, high), np.repeat(served, high - low)
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


def distinct(codes: IntArray) -> tuple[IntArray, IntArray]:
    """Sorted distinct values of non-negative integers, and each one's place among them."""
    most = int(codes.max(initial=0)) + 1
    if most > 1 << 24:
        values, places = np.unique(codes, return_inverse=True)
        return values, places.astype(np.int64)
    present = np.zeros(most, dtype=bool)  # a table beats a sort where the codes are small
    present[codes] = True
    return np.flatnonzero(present), (np.cumsum(present) - 1)[codes]


# --- validation ------------------------------------------------------------------------------


def validate(menu: Menu) -> Menu:
    """Check that a menu is whole.

    Returns:
        The menu.

    Raises:
        InputError: shapes that do not fit, a weight that is not positive, a value or cost that is
            not a finite number or out of range, an unknown resource, or two classes with one key.
            The message names the class, the rung and the value.
    """
    C, N, M = menu.weight.size, menu.value.size, menu.start.size - 1
    if C == 0:
        raise InputError("The menu has no class. Give at least one row.")
    if not menu.key and C > 1:
        raise InputError(
            f"The menu has {C} classes and no column that tells them apart. Add class columns."
        )
    columns = {
        "curve": (menu.curve, C),
        **{f"key column {k}": (v, C) for k, v in menu.key.items()},
        **{f"cost {k}": (v, N) for k, v in menu.cost.items()},
        **{f"action column {k}": (v, N) for k, v in menu.action.items()},
        **{f"support {k}": (v, C) for k, v in menu.support.items()},
    }
    for name, (array, length) in columns.items():
        if array.shape != (length,):
            raise InputError(f"The menu's {name} has shape {array.shape}; it must be ({length},).")
    if M < 0 or menu.start[0] != 0 or menu.start[-1] != N or bool((np.diff(menu.start) < 0).any()):
        raise InputError(
            f"The menu's curves must start at 0, never step back, and end at its {N} rungs."
        )
    bad = np.flatnonzero(~(np.isfinite(menu.weight) & (menu.weight > 0)))
    if bad.size:
        raise InputError(
            f"Class {menu.class_name(int(bad[0]))} has weight {menu.weight[bad[0]]}. "
            "A weight is a positive number; leave out classes without traffic."
        )
    bad = np.flatnonzero((menu.curve < -1) | (menu.curve >= M))
    if bad.size:
        raise InputError(
            f"Class {menu.class_name(int(bad[0]))} points to curve {menu.curve[bad[0]]}; "
            f"the menu has curves 0 to {M - 1}, and -1 for a class that cannot be used."
        )
    for resource in menu.cost:
        if resource not in RESOURCES:
            raise InputError(
                f"Unknown resource '{resource}' in the menu. Resources: {', '.join(RESOURCES)}."
            )
    in_range = (menu.value >= -1e-9) & (menu.value <= 1 + 1e-9)  # false for NaN
    _refuse(menu, ~in_range, menu.value, "value", "a number from 0 to 1")
    for resource, cost in menu.cost.items():
        wrong = ~(np.isfinite(cost) & (cost >= 0))
        _refuse(menu, wrong, cost, resource, "a finite number, zero or more")
    _refuse_draws(menu)
    _refuse_own_cost(menu)
    _refuse_twins(menu)
    return menu


def _refuse(menu: Menu, wrong: BoolArray, column: FloatArray, name: str, allowed: str) -> None:
    """Raise for the first rung where `wrong` holds."""
    rungs = np.flatnonzero(wrong)
    if not rungs.size:
        return
    rung = int(rungs[0])
    curve = int(np.searchsorted(menu.start, rung, side="right")) - 1
    classes = np.flatnonzero(menu.curve == curve)
    whose = f"Class {menu.class_name(int(classes[0]))}" if classes.size else f"Curve {curve}"
    action = ", ".join(f"{k}={v}" for k, v in menu.action_of(rung).items())
    raise InputError(
        f"{whose}, rung {rung - int(menu.start[curve])} ({action}): {name} is {column[rung]}. "
        f"It must be {allowed}."
    )


def _refuse_draws(menu: Menu) -> None:
    """Raise where values under draws do not fit the rungs, or are no values."""
    if menu.draws is None:
        return
    if menu.draws.ndim != 2 or menu.draws.shape[0] != menu.value.size or not menu.draws.shape[1]:
        raise InputError(
            f"The menu's draws have shape {menu.draws.shape}; they must be ({menu.value.size}, D), "
            "one or more draws of every rung's value."
        )
    wrong = ~((menu.draws >= -1e-9) & (menu.draws <= 1 + 1e-9))  # true for NaN
    one = menu.draws[np.arange(len(wrong)), wrong.argmax(axis=1)]
    bad = np.asarray(wrong.any(axis=1), dtype=bool)
    _refuse(menu, bad, one, "a draw of its value", "a number from 0 to 1")


def _refuse_own_cost(menu: Menu) -> None:
    """Raise where the cost of an unusable class is of no class, or no number."""
    sound: set[int] = set()
    for index, pairs in menu.unusable_cost.items():
        if not 0 <= index < menu.curve.size:
            raise InputError(
                f"The menu's unusable_cost names class {index}; "
                f"the menu has classes 0 to {menu.curve.size - 1}."
            )
        if id(pairs) in sound:  # one group's problems share theirs
            continue
        sound.add(id(pairs))
        for _, cost in pairs:
            for resource, amount in (*cost.fixed.items(), *cost.per_sample.items()):
                if not (np.isfinite(amount) and amount >= 0):
                    raise InputError(
                        f"Class {menu.class_name(index)}: its own cost in {resource} is {amount}. "
                        "It must be a finite number, zero or more."
                    )


def _refuse_twins(menu: Menu) -> None:
    """Raise where two classes have one key."""
    if not menu.key:
        return
    columns = list(menu.key.values())
    if len(columns) == 1 and columns[0].dtype.kind in "iu":
        ordered = np.sort(columns[0])
        if bool((ordered[1:] != ordered[:-1]).all()):
            return
    rows = [column.tolist() for column in columns]
    seen = rows[0] if len(rows) == 1 else list(zip(*rows, strict=True))
    if len(set(seen)) == len(seen):
        return
    first: set[Any] = set()
    for index, row in enumerate(seen):
        if row in first:
            raise InputError(
                f"Two classes of the menu are {menu.class_name(index)}. Each class is listed once; "
                "merge menus that offer different actions for the same class."
            )
        first.add(row)


# --- concave hull ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Hull:
    """The rungs of each curve that some price selects, cheapest first.

    Attributes:
        index: shape (H,), rungs of the menu; -1 is doing nothing (value 0, cost 0).
        start: shape (M + 1,), the vertices of curve `m` are `index[start[m]:start[m + 1]]`.
        value, cost: shape (H,), both strictly increasing along a curve.
        slope: shape (H,), value per unit of cost over the vertex before, non-increasing along a
            curve; NaN at the first vertex.
    """

    index: IntArray
    start: IntArray
    value: FloatArray
    cost: FloatArray
    slope: FloatArray


def upper_hull(
    value: FloatArray,
    cost: FloatArray,
    start: IntArray,
    *,
    allowed: BoolArray | None = None,
    nothing: bool | BoolArray = False,
) -> Hull:
    """Upper concave hull of every curve against one resource.

    A hull begins at the cheapest rung (of equally cheap ones the most valuable) and ends at the
    cheapest of the most valuable ones. Rungs on a straight part of the hull belong to it: they make
    the steps smaller.

    Args:
        value: shape (N,).
        cost: shape (N,), of the resource that is priced.
        start: shape (M + 1,), where curves begin.
        allowed: shape (N,), rungs on offer; all where None.
        nothing: put doing nothing (value 0, cost 0) before every curve, or before those curves where
            it is true, shape (M,).
    """
    M = start.size - 1
    idle = np.broadcast_to(nothing, (M,))
    cuts = np.unique(np.append(np.searchsorted(start, np.arange(0, value.size, _BLOCK)), M))
    if cuts.size <= 2:
        return _upper_hull(value, cost, start, allowed=allowed, nothing=idle)
    parts = []
    for first, last in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        rungs = slice(int(start[first]), int(start[last]))
        hull = _upper_hull(
            value[rungs],
            cost[rungs],
            start[first : last + 1] - rungs.start,
            allowed=None if allowed is None else allowed[rungs],
            nothing=idle[first:last],
        )
        hull.index[hull.index >= 0] += rungs.start
        parts.append(hull)
    length = np.concatenate([np.diff(part.start) for part in parts])
    return Hull(
        np.concatenate([part.index for part in parts]),
        np.concatenate(([0], np.cumsum(length, dtype=np.int64))),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.cost for part in parts]),
        np.concatenate([part.slope for part in parts]),
    )


def _upper_hull(
    value: FloatArray,
    cost: FloatArray,
    start: IntArray,
    *,
    allowed: BoolArray | None,
    nothing: BoolArray,
) -> Hull:
    """Hulls of some of the curves, all at once."""
    M = start.size - 1
    curve = np.repeat(np.arange(M), np.diff(start))
    index = np.arange(value.size)
    if allowed is not None:
        index, curve = index[allowed], curve[allowed]
    v, c = value[index], cost[index]
    idle = np.flatnonzero(nothing)
    if idle.size:
        first = np.searchsorted(curve, idle)
        index, v, c = np.insert(index, first, -1), np.insert(v, first, 0), np.insert(c, first, 0)
        curve = np.insert(curve, first, idle)
    same = curve[1:] == curve[:-1]
    if bool((same & (c[1:] <= c[:-1])).any()):
        order = np.lexsort((-v, c, curve))
        index, v, c, curve = index[order], v[order], c[order], curve[order]
        same = curve[1:] == curve[:-1]
    if bool((same & (v[1:] <= v[:-1])).any()):
        best = _undominated(v, curve)
        index, v, c, curve = index[best], v[best], c[best], curve[best]
    corner = _concave(v, c, curve)
    index, v, c, curve = index[corner], v[corner], c[corner], curve[corner]
    begin = np.searchsorted(curve, np.arange(M + 1)).astype(np.int64)
    slope = np.concatenate(([np.nan], _slopes(v, c, curve)))[: v.size]
    rising = np.flatnonzero(slope[1:] > slope[:-1]) + 1
    for m in np.unique(curve[rising]):  # straight parts, up to rounding
        part = slice(begin[m] + 1, begin[m + 1])
        slope[part] = np.minimum.accumulate(slope[part])
    return Hull(index, begin, v, c, slope)


def _slopes(v: FloatArray, c: FloatArray, curve: IntArray) -> FloatArray:
    """Value per cost between neighbours, NaN between curves; shape (n - 1,)."""
    same = curve[1:] == curve[:-1]
    slope = np.full(same.shape, np.nan)
    with np.errstate(over="ignore"):
        np.divide(np.diff(v), np.diff(c), out=slope, where=same)
    return np.minimum(slope, np.finfo(np.float64).max)


def _undominated(v: FloatArray, curve: IntArray) -> BoolArray:
    """Which points beat every earlier point of their curve."""
    ranks, rank = np.unique(v, return_inverse=True)
    height = curve * ranks.size + rank  # rises from curve to curve: one running maximum serves all
    keep = np.ones(v.size, dtype=bool)
    keep[1:] = (curve[1:] != curve[:-1]) | (height[1:] > np.maximum.accumulate(height)[:-1])
    return keep


def _concave(v: FloatArray, c: FloatArray, curve: IntArray) -> IntArray:
    """Which points lie on the hull, as indices; cost and value rise strictly along a curve.

    A point below the chord of two others is no vertex, whatever becomes of those two. So all such
    points go at once, and then again those that come to lie below the chord of their neighbours.
    """
    slope = _slopes(v, c, curve)
    with np.errstate(over="ignore"):
        below = np.flatnonzero(slope[1:] > slope[:-1] * (1 + 1e-12)) + 1  # NaN between curves
    left = np.ones(v.size, dtype=bool)
    left[below] = False
    changed = np.zeros(int(curve.max(initial=0)) + 1, dtype=bool)
    changed[curve[below]] = True
    rest = np.flatnonzero(left & changed[curve])
    left[rest] = _linked(v[rest], c[rest], curve[rest])
    return np.flatnonzero(left)


def _linked(v: FloatArray, c: FloatArray, curve: IntArray) -> BoolArray:
    """Which points lie on the hull, by unlinking those below the chord of their neighbours.

    Only neighbours of points that went are looked at again. Where that takes very many rounds, the
    curves that still change are walked one by one.
    """
    left = np.ones(v.size, dtype=bool)
    before, after = np.arange(v.size) - 1, np.arange(v.size) + 1
    inner = np.zeros(v.size, dtype=bool)
    inner[1:-1] = (curve[2:] == curve[1:-1]) & (curve[:-2] == curve[1:-1])
    look = np.flatnonzero(inner)
    for _ in range(2000):
        a, b = before[look], after[look]
        rise = (v[look] - v[a]) * (c[b] - c[look])
        going = look[rise * (1 + 1e-12) < (v[b] - v[look]) * (c[look] - c[a])]
        if not going.size:
            return left
        # of a row of neighbours every other one goes now, so that the links stay whole
        place = np.arange(going.size)
        head = np.ones(going.size, dtype=bool)
        head[1:] = before[going[1:]] != going[:-1]
        odd = (place - np.maximum.accumulate(np.where(head, place, 0))) % 2 == 1
        gone = going[~odd]
        left[gone] = False
        after[before[gone]] = after[gone]
        before[after[gone]] = before[gone]
        look = np.unique(np.concatenate((before[gone], after[gone], going[odd])))
        look = look[inner[look]]
    busy = np.zeros(int(curve.max(initial=0)) + 1, dtype=bool)
    busy[curve[look]] = True
    for m in np.flatnonzero(busy):
        points = np.flatnonzero(left & (curve == m))
        left[points] = False
        left[_chain(points.tolist(), v, c)] = True
    return left


def _chain(points: list[int], v: FloatArray, c: FloatArray) -> list[int]:
    """Vertices among the points of one curve, one after the other (Andrew's monotone chain)."""
    chain: list[int] = []
    for point in points:
        while len(chain) > 1:
            a, b = chain[-2], chain[-1]
            rise = (v[b] - v[a]) * (c[point] - c[b])
            if rise * (1 + 1e-12) >= (v[point] - v[b]) * (c[b] - c[a]):
                break
            chain.pop()
        chain.append(point)
    return chain


# --- building --------------------------------------------------------------------------------


def refuse_too_large(curves: int, samples: int) -> None:
    """Raise before a matrix of curves by numbers of samples is made that would not fit into memory.

    Raises:
        UsageError: more than 2 x 10^8 rungs.
    """
    if curves * samples > LARGEST:
        raise UsageError(
            f"A menu of {curves:,} different problems by {samples:,} numbers of samples is too large. Allocate by "
            "group (--class group), or leave out rare large numbers of attempts."
        )


def over_samples(
    value: FloatArray,
    samples: IntArray,
    *,
    key: Mapping[str, NDArray[Any]],
    weight: FloatArray,
    curve: IntArray,
    cost: Mapping[str, FloatArray],
    model: str = "",
    knobs: Mapping[str, Any] | None = None,
    value_se: FloatArray | None = None,
    extrapolated: BoolArray | None = None,
    **fields: Any,
) -> Menu:
    """A coverage menu of one group, whose action is the number of samples.

    Args:
        value: shape (M, K), coverage of curve `m` at `samples[k]`.
        samples: shape (K,), strictly increasing, from 1.
        key: class columns, each of shape (C,).
        weight: shape (C,).
        curve: shape (C,), rows of `value`; -1 where a class cannot be used.
        cost: resource to shape (K,), expected use at `samples[k]`.
        model: the group's model, "" where unknown.
        knobs: further action columns that are the same at every rung.
        value_se: shape (M, K) or None.
        extrapolated: shape (K,) or None, sample counts beyond the data.
        **fields: further fields of `Menu`.
    """
    M, K = value.shape
    repeat = {"model": model, **(knobs or {})}
    return Menu(
        key=key,
        weight=weight,
        curve=curve,
        start=np.arange(0, M * K + 1, K, dtype=np.int64) if K else np.zeros(M + 1, dtype=np.int64),
        value=np.ascontiguousarray(value, dtype=np.float64).reshape(-1),
        cost={name: np.tile(amount, M).astype(np.float64) for name, amount in cost.items()},
        action={
            # a column of one value takes no memory
            **{name: np.broadcast_to(np.asarray(v), (M * K,)) for name, v in repeat.items()},
            "samples": np.tile(samples, M).astype(np.int64),
        },
        value_se=None if value_se is None else value_se.reshape(-1),
        extrapolated=None if extrapolated is None else np.tile(extrapolated, M),
        **{"maximise": "coverage", **fields},
    )


def merge(menus: Sequence[Menu]) -> Menu:
    """Join menus on the class key: a class gets the actions of every menu that lists it.

    The weight of a class is the largest of its weights. Classes that combine the same curves share
    the combination. A class is unusable only where no menu can serve it. Resources that some menu
    lacks are left out.

    Raises:
        InputError: the menus differ in class columns, action columns, bins, level, or in what they
            maximise, have no resource in common, or two of them offer a class the same action.
    """
    if not menus:
        raise InputError("No menu to merge. Give at least one.")
    head = menus[0]
    if len(menus) == 1:
        return head
    for other in menus[1:]:
        for what, ours, theirs in (
            ("class columns", sorted(head.key), sorted(other.key)),
            ("action columns", sorted(head.action), sorted(other.action)),
            ("what they maximise", head.maximise, other.maximise),
            ("bins", dict(head.bins), dict(other.bins)),
            ("the level of their intervals", head.level, other.level),
        ):
            if ours != theirs:
                raise InputError(
                    f"Menus cannot be merged: they differ in {what} ({ours} and {theirs}). "
                    "Make them alike, or allocate them one by one."
                )
    resources = [name for name in head.cost if all(name in m.cost for m in menus)]
    if not resources:
        raise InputError(
            "Menus cannot be merged: no resource is priced in all of them "
            f"({'; '.join(', '.join(m.cost) for m in menus)})."
        )
    key, places = _join_keys(menus)
    C = int(max(int(p.max()) for p in places)) + 1
    weight = np.zeros(C)
    combination = np.zeros(C, dtype=np.int64)
    served = np.full((len(menus), C), -1, dtype=np.int64)
    for i, (menu, place) in enumerate(zip(menus, places, strict=True)):
        np.maximum.at(weight, place, menu.weight)
        served[i, place] = menu.curve
        code = combination * menu.start.size + (served[i] + 1)
        combination = distinct(code)[1]
    _, example = np.unique(combination, return_index=True)
    parts = served[:, example]  # (menus, combinations)
    usable = (parts >= 0).any(axis=0)
    curve = np.where(usable, np.cumsum(usable) - 1, -1)[combination]
    parts = parts[:, usable]
    _refuse_same_action(menus, parts, key, np.asarray(example)[usable])

    # rungs of all menus back to back, then gathered combination by combination
    shift = np.concatenate(([0], np.cumsum([m.value.size for m in menus])))
    low = np.zeros(parts.shape, dtype=np.int64)
    high = np.zeros(parts.shape, dtype=np.int64)
    for i, menu in enumerate(menus):
        has = parts[i] >= 0
        low[i, has] = menu.start[parts[i, has]] + shift[i]
        high[i, has] = menu.start[parts[i, has] + 1] + shift[i]
    take = _ranges(low.T.reshape(-1), high.T.reshape(-1))
    start = np.concatenate(([0], np.cumsum((high - low).sum(axis=0)))).astype(np.int64)

    def gather(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        ends = [column[:1] for column in columns]
        if all(c.size and c.strides == (0,) for c in columns) and len(set(map(str, ends))) == 1:
            return np.broadcast_to(ends[0][0], take.shape)
        return np.concatenate(columns)[take]

    def optional(name: str) -> Any:
        columns = [getattr(menu, name) for menu in menus]
        return gather(columns) if all(c is not None for c in columns) else None

    beyond = [
        np.zeros(m.value.size, dtype=bool) if m.extrapolated is None else m.extrapolated
        for m in menus
    ]
    return Menu(
        key=key,
        weight=weight,
        curve=curve,
        start=start,
        value=gather([m.value for m in menus]),
        cost={name: gather([m.cost[name] for m in menus]) for name in resources},
        action={name: gather([m.action[name] for m in menus]) for name in head.action},
        maximise=head.maximise,
        bins=head.bins,
        skip=any(m.skip for m in menus),
        value_se=optional("value_se"),
        interval=optional("interval"),
        level=head.level,
        extrapolated=gather(beyond) if any(m.extrapolated is not None for m in menus) else None,
        draws=_merge_draws(menus, take),
        support=_merge_support(menus, places, C),
        estimand=head.estimand if len({m.estimand for m in menus}) == 1 else None,
        cautions=_merge_cautions(menus, places),
        provenance=_merge_provenance([m.provenance for m in menus]),
        unusable_cost=_merge_own_cost(menus, places, curve),
    )


def _refuse_same_action(
    menus: Sequence[Menu],
    parts: IntArray,
    key: Mapping[str, NDArray[Any]],
    example: IntArray,
) -> None:
    """Raise where two menus offer one class the same action.

    Args:
        menus: what is merged.
        parts: shape (menus, combinations), the curves that are combined; -1 for none.
        key: class columns of the joined menu.
        example: a class of each combination.
    """
    both = np.flatnonzero((parts >= 0).sum(axis=0) > 1)
    for j in range(len(menus)):
        for i in range(j):
            met = both[(parts[i, both] >= 0) & (parts[j, both] >= 0)]
            if not met.size or _actions_differ(menus[i], menus[j]):
                continue
            # each pair of curves once, whatever else their combinations hold
            width = int(parts[j].max()) + 1
            _, first = np.unique(parts[i, met] * width + parts[j, met], return_index=True)
            for low in range(0, first.size, _PAIRS):
                _refuse_same_rung(
                    menus[i], menus[j], parts[[i, j]], met[first[low : low + _PAIRS]], key, example
                )


def _refuse_same_rung(
    one: Menu,
    two: Menu,
    parts: IntArray,
    met: IntArray,
    key: Mapping[str, NDArray[Any]],
    example: IntArray,
) -> None:
    """Raise where an action is in both curves of one of the combinations `met`."""
    rungs, owner = [], []
    for menu, curves in ((one, parts[0, met]), (two, parts[1, met])):
        low, high = menu.start[curves], menu.start[curves + 1]
        rungs.append(_ranges(low, high))
        owner.append(np.repeat(np.arange(met.size), high - low))
    code = np.concatenate(owner)
    for name, column in one.action.items():
        values = np.concatenate((column[rungs[0]], two.action[name][rungs[1]]))
        places = np.unique(values, return_inverse=True)[1]
        code = code * (int(places.max(initial=0)) + 1) + places
        code = np.unique(code, return_inverse=True)[1]
    cut = rungs[0].size
    common, ours, theirs = np.intersect1d(code[:cut], code[cut:], return_indices=True)
    if not common.size:
        return
    first = int(np.argmin(ours))
    at = int(ours[first])
    index = int(example[met[owner[0][at]]])
    whose = ", ".join(f"{name}={column[index]}" for name, column in key.items())
    rung, other = int(rungs[0][at]), int(rungs[1][theirs[first]])
    action = ", ".join(f"{name}={value}" for name, value in one.action_of(rung).items())
    raise InputError(
        f"Two inputs offer class {whose or 'all queries'} the same action "
        f"({action or 'they have no action columns'}), worth {one.value[rung]} and "
        f"{two.value[other]}. A class is offered an action once: leave one of the inputs out, or "
        "tell their actions apart by model or another action column."
    )


def _actions_differ(one: Menu, other: Menu) -> bool:
    """Whether some action column has no value in common, so that no action is in both menus."""
    return any(
        _values(column).isdisjoint(_values(other.action[name]))
        for name, column in one.action.items()
    )


def _values(column: NDArray[Any]) -> set[Any]:
    """The distinct values of a column."""
    if column.strides == (0,):  # one value at every rung
        column = column[:1]
    elif column.dtype.kind in "iub":  # sorting millions of equal strings is slow
        column = np.unique(column)
    return set(column.tolist())


def _join_keys(menus: Sequence[Menu]) -> tuple[dict[str, NDArray[Any]], list[IntArray]]:
    """Columns of the joined classes, in the order of their first mention, and each menu's place."""
    head = menus[0]
    sizes = [menu.weight.size for menu in menus]
    columns = {name: np.concatenate([m.key[name] for m in menus]) for name in head.key}
    code = np.zeros(sum(sizes), dtype=np.int64)
    for column in columns.values():
        values, inverse = np.unique(column, return_inverse=True)
        code = np.unique(code * values.size + inverse, return_inverse=True)[1].astype(np.int64)
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    key = {name: column[np.sort(first)] for name, column in columns.items()}
    return key, np.split(rank[inverse], np.cumsum(sizes)[:-1])


def _ranges(low: IntArray, high: IntArray) -> IntArray:
    """`arange(low[i], high[i])` for every `i`, back to back."""
    length = high - low
    before = np.cumsum(length) - length
    return np.repeat(low - before, length) + np.arange(int(length.sum()))


def _merge_draws(menus: Sequence[Menu], take: IntArray) -> FloatArray | None:
    """Draws of all menus; a menu without them keeps its values under every draw.

    Raises:
        InputError: menus with different numbers of draws.
    """
    counts = {m.draws.shape[1] for m in menus if m.draws is not None}
    if not counts:
        return None
    if len(counts) > 1:
        raise InputError(
            f"Menus cannot be merged: they have {' and '.join(map(str, sorted(counts)))} draws. "
            "Give all the same number of joint draws."
        )
    shape = (counts.pop(),)
    parts = [
        np.broadcast_to(m.value[:, None], m.value.shape + shape) if m.draws is None else m.draws
        for m in menus
    ]
    return np.concatenate(parts)[take]


def _merge_support(
    menus: Sequence[Menu], places: Sequence[IntArray], C: int
) -> dict[str, IntArray]:
    """Problems and largest n: the largest of the parts; samples: their sum."""
    support: dict[str, IntArray] = {}
    for name in menus[0].support:
        if not all(name in m.support for m in menus):
            continue
        combine = np.add if name == "n_samples" else np.maximum
        column = np.zeros(C, dtype=np.int64)
        for menu, place in zip(menus, places, strict=True):
            combine.at(column, place, menu.support[name])
        support[name] = column
    return support


def _merge_cautions(
    menus: Sequence[Menu], places: Sequence[IntArray]
) -> dict[int, tuple[Mapping[str, str], ...]]:
    cautions: dict[int, tuple[Mapping[str, str], ...]] = {}
    for menu, place in zip(menus, places, strict=True):
        for index, given in menu.cautions.items():
            target = -1 if index == -1 else int(place[index])
            before = cautions.get(target, ())
            cautions[target] = (*before, *(c for c in given if c not in before))
    return cautions


def _merge_own_cost(
    menus: Sequence[Menu], places: Sequence[IntArray], curve: IntArray
) -> dict[int, OwnCost]:
    """Costs of the classes that no menu can serve, one menu's after the other's."""
    merged: dict[int, OwnCost] = {}
    joined: dict[tuple[int, int], OwnCost] = {}  # classes with the same parts share the whole
    for menu, place in zip(menus, places, strict=True):
        for index, pairs in menu.unusable_cost.items():
            target = int(place[index])
            if curve[target] != -1:
                continue
            before = merged.get(target)
            if before is None:
                merged[target] = pairs
                continue
            both = (id(before), id(pairs))
            if both not in joined:
                joined[both] = (*before, *pairs)
            merged[target] = joined[both]
    return merged


def _merge_provenance(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lists are joined without repetition; of the rest the first that is not null stays."""
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            before = merged.get(name)
            if isinstance(value, list) and isinstance(before, list):
                merged[name] = [*before, *(item for item in value if item not in before)]
            elif before is None:
                merged[name] = value
    return merged


# --- ladders ---------------------------------------------------------------------------------


def ladder(
    menu: Menu,
    hull: Hull,
    position: IntArray,
    resource: str,
    *,
    allowed: BoolArray | None = None,
) -> tuple[Menu, IntArray]:
    """The menu reduced to at most 64 hull rungs a curve, for serving.

    Kept of a longer hull: both ends, the class's own vertex and its neighbours, and vertices that
    stand nearest to equal ratios of cost in between. Classes of one curve with different own
    vertices get ladders of their own where the hull is longer than that. A curve whose hull is
    doing nothing alone keeps its cheapest rung.

    Args:
        menu: the full menu.
        hull: its hull in the priced resource.
        position: shape (C,), each class's vertex, counted from the start of its curve's hull; any
            value where the class is unusable.
        resource: the priced resource.
        allowed: shape (N,), rungs on offer; all where None.

    Returns:
        The reduced menu, and the classes' rungs in it, shape (C,): -1 for doing nothing, -2 for an
        unusable class.
    """
    length = np.diff(hull.start)
    idle = np.zeros(length.size, dtype=np.int64)  # 1 where the hull begins with doing nothing
    idle[length > 0] = hull.index[hull.start[:-1][length > 0]] == -1
    usable = menu.curve >= 0
    own = np.where(usable, menu.curve, 0)
    apart = length[own] - idle[own] > LADDER_RUNGS
    width = int(length.max(initial=0)) + 1
    code = own * (width + 1) + np.where(apart, position + 1, 0)
    units, inverse = distinct(code[usable])
    curves, chosen = units // (width + 1), units % (width + 1) - 1

    picked: list[IntArray] = []
    for m, p in zip(curves.tolist(), chosen.tolist(), strict=True):
        low, high = int(hull.start[m] + idle[m]), int(hull.start[m + 1])
        if low == high:
            picked.append(_cheapest(menu, m, resource, allowed))
        elif high - low <= LADDER_RUNGS:
            picked.append(np.arange(low, high))
        else:
            picked.append(_spread(hull.cost, low, high, int(hull.start[m]) + p))
    start = np.concatenate(([0], np.cumsum([p.size for p in picked]))).astype(np.int64)
    vertex = np.concatenate(picked) if picked else np.zeros(0, dtype=np.int64)
    # a cheapest rung that is no vertex is marked by its complement
    rung = np.where(vertex >= 0, hull.index[np.maximum(vertex, 0)], ~vertex)

    unit = np.full(menu.curve.size, -1, dtype=np.int64)
    unit[usable] = inverse
    at = np.full(menu.curve.size, -2, dtype=np.int64)
    wanted = np.where(usable, hull.start[own] + position, 0)
    nothing = usable & (position < idle[own])
    at[nothing] = -1
    acting = np.flatnonzero(usable & ~nothing)
    offset = hull.index.size + 1
    place = np.repeat(np.arange(len(picked)), np.diff(start)) * offset + np.maximum(vertex, 0)
    at[acting] = np.searchsorted(place, unit[acting] * offset + wanted[acting])
    reduced = replace(
        menu,
        curve=unit,
        start=start,
        value=menu.value[rung],
        cost={name: column[rung] for name, column in menu.cost.items()},
        action={name: column[rung] for name, column in menu.action.items()},
        value_se=None if menu.value_se is None else menu.value_se[rung],
        interval=None if menu.interval is None else menu.interval[rung],
        extrapolated=None if menu.extrapolated is None else menu.extrapolated[rung],
        draws=None if menu.draws is None else menu.draws[rung],
    )
    return reduced, at


def _spread(cost: FloatArray, low: int, high: int, own: int) -> IntArray:
    """At most 64 of the vertices `low:high`, both ends and the neighbours of `own` among them."""
    kept = {low, high - 1, *(p for p in (own - 1, own, own + 1) if low <= p < high)}
    begin = cost[low] if cost[low] > 0 else cost[low + 1]
    targets = np.geomspace(begin, cost[high - 1], LADDER_RUNGS - 5)
    near = np.clip(np.searchsorted(cost[low:high], targets), 0, high - low - 1) + low
    return np.array(sorted(kept | set(near.tolist())), dtype=np.int64)


def _cheapest(menu: Menu, curve: int, resource: str, allowed: BoolArray | None) -> IntArray:
    """The complement of the cheapest rung of a curve; empty where no rung is allowed."""
    rungs = np.arange(menu.start[curve], menu.start[curve + 1])
    if allowed is not None:
        rungs = rungs[allowed[rungs]]
    order = np.lexsort((-menu.value[rungs], menu.cost[resource][rungs]))
    return ~rungs[order[:1]]
