"""Closed forms: the optimal action by formula, with the menu from which the engine finds the same.

A closed form is a module of this folder with a constant `CLOSED_FORM`. It takes the parameters of a
law and gives the best action over the reals and over whole numbers, what they are worth, the marginal
value, and how far the optimality conditions are from holding. Putting a file here is enough;
`scaling.testing.check_allocator` solves each one's menu with the engine and compares.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from scaling.allocators.limit import Limit
    from scaling.core.law import Reference
    from scaling.curves import FloatArray, Menu

    Action = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Optimum:
    """The best action of a closed form for C classes.

    Attributes:
        action: knob to shape (C,), over the reals.
        whole: the same over whole numbers (or over the sizes that exist), infinite where more is
            always better.
        value: of `action`, as `ClosedForm.value` has it: larger is better.
        whole_value: of `whole`; at most `value`.
        price: what one more unit of the budget is worth at `action`; 0 where no budget binds.
        residual: largest relative violation of the optimality conditions at `action`.
        cautions: what to know before acting on it.
    """

    action: Action
    whole: Action
    value: float
    whole_value: float
    price: float
    residual: float
    cautions: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As plain data; infinite numbers are null."""
        return {
            "action": {name: _listed(column) for name, column in self.action.items()},
            "whole": {name: _listed(column) for name, column in self.whole.items()},
            "value": _finite(self.value),
            "whole_value": _finite(self.whole_value),
            "price": _finite(self.price),
            "residual": _finite(self.residual),
            "cautions": list(self.cautions),
        }

    def to_json(self) -> str:
        """`document` as JSON text."""
        return json.dumps(self.document(), allow_nan=False, ensure_ascii=False)


@dataclass(frozen=True)
class ClosedForm:
    """One closed form.

    Attributes:
        name: kebab-case; its file has underscores.
        meaning: one line.
        formula: as text, in the symbols of the source.
        references: sources with the place of the formula.
        solve: parameters by keyword to the optimum.
        value: of an action, and parameters by keyword: what is maximised. `sum` over classes.
        menu: parameters by keyword to a menu and the limit under which `allocate` solves the same
            problem: its classes are those of the action, each of weight 1, its action columns the
            knobs. Values are those of the objective, moved and scaled into [0, 1].
        examples: parameters, for the contract check.
    """

    name: str
    meaning: str
    formula: str
    references: tuple[Reference, ...]
    solve: Callable[..., Optimum]
    value: Callable[..., float]
    menu: Callable[..., tuple[Menu, Limit]]
    examples: tuple[Mapping[str, Any], ...]


def closed_form_names() -> tuple[str, ...]:
    """Names of all closed forms; imports none of them."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return tuple(sorted(file.stem.replace("_", "-") for file in files))


def closed_form(name: str) -> ClosedForm:
    """The closed form of that name.

    Raises:
        UsageError: listing those that exist.
    """
    from importlib import import_module

    names = closed_form_names()
    if name not in names:
        raise UsageError(
            f"There is no closed form '{name}'; there are {', '.join(names)}."
            f"{did_you_mean(name, names)}"
        )
    found: ClosedForm = import_module(
        f"scaling.allocators.closed_forms.{name.replace('-', '_')}"
    ).CLOSED_FORM
    return found


def curves_menu(
    curves: Sequence[tuple[FloatArray, FloatArray, Action]], resource: str, **fields: Any
) -> Menu:
    """A menu of C classes of weight 1.

    Args:
        curves: for each class values in [0, 1], costs and action columns of its rungs.
        resource: what costs are of.
        **fields: further fields of `Menu`.
    """
    from scaling.curves import Menu

    sizes = [value.size for value, _, _ in curves]
    C = len(curves)
    return Menu(
        key={"class": np.arange(C)},
        weight=np.ones(C),
        curve=np.arange(C),
        start=np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        value=np.concatenate([value for value, _, _ in curves]),
        cost={resource: np.concatenate([cost for _, cost, _ in curves]).astype(np.float64)},
        action={
            name: np.concatenate([action[name] for _, _, action in curves]) for name in curves[0][2]
        },
        **fields,
    )


def numbers(
    name: str,
    given: ArrayLike,
    *,
    least: float = 0.0,
    most: float = math.inf,
    open_: bool = True,
    size: int | None = None,
) -> FloatArray:
    """Parameters of the classes as an array of shape (C,); one number stands for all of `size`.

    Raises:
        InputError: another shape, or a number out of range (`least` itself excluded where `open_`);
            its place is named.
    """
    column = np.atleast_1d(np.asarray(given, dtype=np.float64))
    if size is not None and column.size == 1:
        column = np.full(size, column[0])
    if column.ndim != 1 or not column.size or (size is not None and column.size != size):
        raise InputError(
            f"{name} has shape {np.shape(given)}. Give one number, or one for each of "
            f"{size or 'the'} classes."
        )
    low = column > least if open_ else column >= least
    wrong = np.flatnonzero(~(low & (column <= most) & np.isfinite(column)))
    if wrong.size:
        bound = f"{'above' if open_ else 'at least'} {least:g}"
        bound += "" if math.isinf(most) else f" and at most {most:g}"
        raise InputError(f"{name}[{wrong[0]}] is {column[wrong[0]]}. It must be {bound}.")
    return column


def number(name: str, given: float, **bounds: Any) -> float:
    """One parameter; the bounds are those of `numbers`."""
    return float(numbers(name, given, size=1, **bounds)[0])


def _listed(column: NDArray[Any]) -> list[Any]:
    return [_finite(item) if isinstance(item, float) else item for item in column.tolist()]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
