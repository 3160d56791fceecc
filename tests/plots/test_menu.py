"""A menu marks what the allocation chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

import scaling
from scaling import plots
from scaling.data.menu_rows import read_menu

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


def test_actions_with_settings_in_words_are_drawn(rows: Callable[..., Any]) -> None:
    table = pd.DataFrame(
        {
            "level": "a",
            "strategy": ["single", "best_of_n", "majority_vote"],
            "samples": [1, 4, 1024],
            "value": [0.3, 0.5, 0.6],
            "tokens": [100.0, 400.0, 1e5],
        }
    )
    allocation = scaling.allocate(read_menu(table), 500, unit="tokens")
    drawn = [row["action"] for row in rows(plots.menu(allocation))]
    assert drawn[-1] == "1,024 samples, strategy majority_vote"


def test_menu_draws_the_heaviest_classes(allocation: Any, rows: Callable[..., Any]) -> None:
    chart = plots.menu(allocation, classes=1)
    assert len({row["panel"] for row in rows(chart)}) == 1
    assert "The 1 classes with most weight, of 2." in str(chart.to_dict()["title"])
