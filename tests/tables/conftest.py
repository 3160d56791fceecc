from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from scaling.allocators import Allocation, Limit, allocate
from scaling.curves import Menu
from scaling.tables import BudgetTable
from scaling.tables.build import build

CREATED = "2026-01-31T12:00:00Z"
SAMPLES = np.array([1, 2, 4, 8, 16])


def _coverage_menu(
    rates: list[float], *, key: dict[str, Any], cost: dict[str, Any] | None = None, **fields: Any
) -> Menu:
    """One curve `1 - (1 - rate)^k` a class, at 300 tokens a sample."""
    M, K = len(rates), SAMPLES.size
    given = {"samples": SAMPLES * 1.0, "tokens": SAMPLES * 300.0} if cost is None else cost
    value = (1 - (1 - np.array(rates)[:, None]) ** SAMPLES).reshape(-1)
    return Menu(
        **{
            "key": {name: np.array(column) for name, column in key.items()},
            "weight": np.ones(M),
            "curve": np.arange(M),
            "start": np.arange(0, M * K + 1, K),
            "value": value,
            "cost": {name: np.tile(amount, M) for name, amount in given.items()},
            "action": {"model": np.full(M * K, "m-8b"), "samples": np.tile(SAMPLES, M)},
            "maximise": "coverage",
            "estimand": "population",
            "interval": np.stack([value * 0.9, np.sqrt(value)], axis=1),
            **fields,
        }
    )


@pytest.fixture(scope="session")
def coverage_menu() -> Callable[..., Menu]:
    """Menus of one curve a class."""
    return _coverage_menu


@pytest.fixture(scope="session")
def allocation() -> Allocation:
    """Six classes (a level and a binned difficulty), one of them divided, doing nothing allowed."""
    menu = _coverage_menu(
        [0.02, 0.2, 0.7, 0.001, 0.1, 0.5],
        key={"level": ["hard"] * 3 + ["easy"] * 3, "difficulty": [0, 1, 2] * 2},
        bins={"difficulty": (0.2, 0.6)},
        weight=np.array([3.0, 2, 5, 1, 4, 5]),
        skip=True,
        support={"n_problems": np.full(6, 40), "max_observed_n": np.full(6, 64)},
        provenance={"data": [{"sha256": "0" * 64, "format": "csv", "rows": 240}]},
    )
    return allocate(menu, 1000, unit="tokens", limits=[Limit("samples", "each", 8)], split=True)


@pytest.fixture(scope="session")
def table(allocation: Allocation) -> BudgetTable:
    return build(allocation, created=CREATED)


@pytest.fixture
def document(table: BudgetTable) -> Any:
    return json.loads(table.to_json())
