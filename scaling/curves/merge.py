"""Merging menus: a class gets the actions of every menu that lists it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.curves.arrays import FloatArray, IntArray, distinct, ranges
from scaling.curves.menu import Menu, OwnCost, class_name
from scaling.errors import InputError

_PAIRS = 4096
"""Pairs of curves that are compared at a time."""


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
    _refuse_unlike(menus)
    resources = _common_resources(menus)
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
    take = ranges(low.T.reshape(-1), high.T.reshape(-1))
    start = np.concatenate(([0], np.cumsum((high - low).sum(axis=0)))).astype(np.int64)

    def gather(columns: Sequence[NDArray[Any]]) -> NDArray[Any]:
        if all(c.size and _one_value(c) for c in columns):
            firsts = [column[0] for column in columns]
            if len({(first.dtype.kind, first.item()) for first in firsts}) == 1:
                return np.broadcast_to(firsts[0], take.shape)
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


def _refuse_unlike(menus: Sequence[Menu]) -> None:
    """Raise where menus differ in what all parts of a menu have in common."""
    head = menus[0]
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


def _common_resources(menus: Sequence[Menu]) -> list[str]:
    """Resources that every menu prices; raises where there are none."""
    resources = [name for name in menus[0].cost if all(name in m.cost for m in menus)]
    if not resources:
        raise InputError(
            "Menus cannot be merged: no resource is priced in all of them "
            f"({'; '.join(', '.join(m.cost) for m in menus)})."
        )
    return resources


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
        rungs.append(ranges(low, high))
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
    whose = class_name(key, int(example[met[owner[0][at]]]))
    rung, other = int(rungs[0][at]), int(rungs[1][theirs[first]])
    raise InputError(
        f"Two inputs offer class {whose} the same action "
        f"({one.action_name(rung) or 'they have no action columns'}), worth {one.value[rung]} and "
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
    if _one_value(column):
        column = column[:1]
    elif column.dtype.kind in "iub":  # sorting millions of equal strings is slow
        column = np.unique(column)
    return set(column.tolist())


def _one_value(column: NDArray[Any]) -> bool:
    """Whether a column is one value at every rung, stored once."""
    return column.strides == (0,)


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
