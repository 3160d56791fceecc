"""A small log, its fits and an allocation, and the rows that a chart holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scaling

if TYPE_CHECKING:
    from collections.abc import Callable

ATTEMPTS = 16


def _counts(models: tuple[str, ...] = ("small", "large")) -> dict[str, list[Any]]:
    """Counts of 40 problems at two levels for each model, from fixed Beta populations."""
    rng = np.random.default_rng(7)
    names = ("level", "model", "problem", "n", "c", "tokens")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for level, hardness in (("easy", 1.0), ("hard", 5.0)):
        for rank, model in enumerate(models):
            rate = rng.beta(0.6 + 0.3 * rank, hardness, 40)
            for i, p in enumerate(rate):
                columns["level"].append(level)
                columns["model"].append(model)
                columns["problem"].append(f"{level}-{i}")
                columns["n"].append(ATTEMPTS)
                columns["c"].append(int(rng.binomial(ATTEMPTS, p)))
                columns["tokens"].append(float(ATTEMPTS * 400 * (1 + 2 * rank)))
    return columns


def _fitted(columns: dict[str, list[Any]], replicates: int = 60) -> Any:
    import pandas as pd

    sweep = scaling.read(pd.DataFrame(columns))
    return scaling.fit(sweep, "beta-binomial", by=["level", "model"], replicates=replicates, seed=1)


@pytest.fixture(scope="session")
def counts() -> Callable[..., Any]:
    """Columns of counts, of given models."""
    return _counts


@pytest.fixture(scope="session")
def fitted() -> Callable[..., Any]:
    """Fits of columns by level and model."""
    return _fitted


@pytest.fixture(scope="session")
def fit() -> Any:
    return _fitted(_counts())


@pytest.fixture(scope="session")
def allocation(fit: Any) -> Any:
    return scaling.allocate(fit, budget=3000, unit="tokens")


@pytest.fixture(scope="session")
def laws() -> list[Any]:
    """Three laws and the forecast of one log."""
    import pandas as pd

    sweep = scaling.read(pd.DataFrame(_counts(("small",))))
    names = ("beta-binomial", "logit-normal", "exponentiated-power", "forecast")
    return [scaling.fit(sweep, law, by=["level"], replicates=40, seed=1) for law in names]


@pytest.fixture(scope="session")
def rows() -> Callable[..., Any]:
    """The rows that a chart holds."""

    def held(chart: Any) -> list[dict[str, Any]]:
        (data,) = chart.to_dict()["datasets"].values()
        return list(data)

    return held
