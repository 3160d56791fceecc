"""A menu marks what the allocation chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling import plots

if TYPE_CHECKING:
    from collections.abc import Callable


def test_menu_marks_what_was_chosen(allocation: Any, rows: Callable[..., Any]) -> None:
    chart = plots.menu(allocation)
    spec = chart.to_dict()
    drawn = rows(chart)
    ladder = allocation.ladder
    for index, level in enumerate(ladder.key["level"]):
        mine = [row for row in drawn if row["panel"] == f"level {level}"]
        marked = [row for row in mine if row["chosen"]]
        rung = int(allocation.chosen[index])
        assert [row["value"] for row in marked] == [ladder.value[rung]]
        assert [row["cost"] for row in marked] == [ladder.cost["tokens"][rung]]
        assert str(ladder.action["model"][rung]) in marked[0]["action"]
    assert "3,000 generated tokens" in str(spec["title"])
    rule = spec["spec"]["layer"][0]["encoding"]["x"]
    assert rule == {"datum": 3000.0, "type": "quantitative"}


def test_menu_draws_the_heaviest_classes(allocation: Any, rows: Callable[..., Any]) -> None:
    chart = plots.menu(allocation, classes=1)
    assert len({row["panel"] for row in rows(chart)}) == 1
    assert "The 1 classes with most weight, of 2." in str(chart.to_dict()["title"])
