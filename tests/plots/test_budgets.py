"""Each budget of a frontier shows what it buys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from scaling import plots
from scaling.allocators import Limit, frontier
from scaling.errors import NotUsableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_chart_of_budgets_shows_value_bound_and_even_spend(
    fit: Any, tmp_path: Path, rows: Callable[..., Any]
) -> None:
    found = frontier(fit, "tokens", points=6, limits=[Limit("samples", "each", 8)])
    chart = plots.budgets(found)
    drawn = rows(chart)
    for name, field in (("best allocation", "value"), ("no allocation exceeds", "bound")):
        line = {row["budget"]: row["value"] for row in drawn if row["what"] == name}
        assert line == {point.budget: getattr(point, field) for point in found.points}
    assert any(row["what"] == "even spend" for row in drawn)
    assert {row["price"] for row in drawn} == {point.price for point in found.points}
    assert chart.to_dict()["title"]["subtitle"] == ["Also held: samples:each at most 8"]
    six = plots.budgets(replace(found, limits=found.limits * 6)).to_dict()["title"]["subtitle"]
    assert (len(six), six[-1]) == (5, "and 2 more")
    plots.save(chart, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_text().startswith("<svg")
    nothing = replace(found, points=(replace(found.points[0], budget=0.0),))
    with pytest.raises(NotUsableError, match="above 0"):
        plots.budgets(nothing)
