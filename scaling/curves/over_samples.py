"""Menus over numbers of samples: the coverage curves of one group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.curves.arrays import BoolArray, FloatArray, IntArray
from scaling.curves.menu import Menu
from scaling.errors import UsageError

_MOST_RUNGS = 200_000_000


def refuse_too_large(curves: int, samples: int) -> None:
    """Raise before a matrix of curves by numbers of samples is made that would not fit into memory.

    Raises:
        UsageError: more than 2 x 10^8 rungs.
    """
    if curves * samples > _MOST_RUNGS:
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
        start=np.arange(M + 1, dtype=np.int64) * K,
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
