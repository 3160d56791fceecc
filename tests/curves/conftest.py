from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from scaling.curves import Menu


def _menu(value, cost, *, samples=None, **fields):
    """One class for each row of `value`, named a, b, c, ..."""
    value, cost = np.asarray(value, dtype=float), np.asarray(cost, dtype=float)
    M, K = value.shape
    defaults = {
        "key": {"level": np.array(list("abcdefghij"[:M]))},
        "weight": np.ones(M),
        "curve": np.arange(M),
        "start": np.arange(0, M * K + 1, K),
        "value": value.reshape(-1),
        "cost": {"tokens": cost.reshape(-1)},
        "action": {
            "model": np.full(M * K, "m"),
            "samples": np.tile(np.arange(1, K + 1) if samples is None else samples, M),
        },
    }
    return Menu(**{**defaults, **fields})


@pytest.fixture(scope="session")
def menu() -> Callable[..., Menu]:
    """Menus of one class for each row of values."""
    return _menu
