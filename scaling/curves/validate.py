"""Validation of a menu: what is refused, and where it stands."""

from __future__ import annotations

from typing import Any

import numpy as np

from scaling.curves.arrays import BoolArray, FloatArray
from scaling.curves.menu import RESOURCES, Menu
from scaling.errors import InputError


def validate(menu: Menu) -> Menu:
    """Check that a menu is whole.

    Returns:
        The menu.

    Raises:
        InputError: shapes that do not fit, a weight that is not positive, a value or cost that is
            not a finite number or out of range, an unknown resource, or two classes with one key.
            The message names the class, the rung and the value.
    """
    C, M = menu.weight.size, menu.start.size - 1
    if C == 0:
        raise InputError("The menu has no class. Give at least one row.")
    if not menu.key and C > 1:
        raise InputError(
            f"The menu has {C} classes and no column that tells them apart. Add class columns."
        )
    _refuse_shapes(menu)
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
    _refuse_rung(menu, _off_range(menu.value), menu.value, "value", "a number from 0 to 1")
    for resource, cost in menu.cost.items():
        wrong = ~(np.isfinite(cost) & (cost >= 0))
        _refuse_rung(menu, wrong, cost, resource, "a finite number, zero or more")
    _refuse_draws(menu)
    _refuse_own_cost(menu)
    _refuse_repeated_keys(menu)
    return menu


def _refuse_shapes(menu: Menu) -> None:
    """Raise where columns do not fit each other, or curves do not lie back to back."""
    C, N, M = menu.weight.size, menu.value.size, menu.start.size - 1
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


def _refuse_rung(menu: Menu, wrong: BoolArray, column: FloatArray, name: str, allowed: str) -> None:
    """Raise for the first rung where `wrong` holds."""
    rungs = np.flatnonzero(wrong)
    if not rungs.size:
        return
    rung = int(rungs[0])
    curve = int(np.searchsorted(menu.start, rung, side="right")) - 1
    classes = np.flatnonzero(menu.curve == curve)
    whose = f"Class {menu.class_name(int(classes[0]))}" if classes.size else f"Curve {curve}"
    raise InputError(
        f"{whose}, rung {rung - int(menu.start[curve])} ({menu.action_name(rung)}): "
        f"{name} is {column[rung]}. It must be {allowed}."
    )


def _off_range(value: FloatArray) -> BoolArray:
    """Which values are NaN, or outside [0, 1] by more than rounding."""
    return ~((value >= -1e-9) & (value <= 1 + 1e-9))


def _refuse_draws(menu: Menu) -> None:
    """Raise where values under draws do not fit the rungs, or are no values."""
    if menu.draws is None:
        return
    if menu.draws.ndim != 2 or menu.draws.shape[0] != menu.value.size or not menu.draws.shape[1]:
        raise InputError(
            f"The menu's draws have shape {menu.draws.shape}; they must be ({menu.value.size}, D), "
            "one or more draws of every rung's value."
        )
    wrong = _off_range(menu.draws)
    one = menu.draws[np.arange(len(wrong)), wrong.argmax(axis=1)]
    bad = np.asarray(wrong.any(axis=1), dtype=bool)
    _refuse_rung(menu, bad, one, "a draw of its value", "a number from 0 to 1")


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


def _refuse_repeated_keys(menu: Menu) -> None:
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
