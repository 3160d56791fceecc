"""An allocation stands on the line of the best ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scaling
from scaling import plots
from scaling.allocators import Limit
from scaling.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_frontier_passes_through_the_allocation(allocation: Any, rows: Callable[..., Any]) -> None:
    drawn = rows(plots.frontier(allocation))
    line = [row for row in drawn if row["what"] == "best allocation"]
    cost, value = (np.array([row[name] for row in line]) for name in ("cost", "value"))
    slope = np.diff(value) / np.diff(cost)
    assert (np.diff(cost) > 0).all()
    assert (slope >= 0).all()
    assert (np.diff(slope) <= 1e-12).all()
    (mine,) = [row for row in drawn if row["what"] == "this allocation"]
    assert mine["value"] <= np.interp(mine["cost"], cost, value) + 1e-9
    assert np.interp(3000, cost, value) == pytest.approx(allocation.bound, rel=1e-6)
    (even,) = [row for row in drawn if row["what"] == "even spend"]
    assert even["value"] <= mine["value"]


def test_frontier_needs_one_average_limit(fit: Any) -> None:
    both = scaling.allocate(fit, budget=3000, unit="tokens", limits=(Limit("samples", "each", 8),))
    with pytest.raises(UsageError, match="exactly one limit"):
        plots.frontier(both)
