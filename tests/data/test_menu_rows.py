"""Menu rows in, a menu out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

from scaling.curves import over_samples
from scaling.data import read_menu
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def test_rungs_of_a_class_stand_together_cheapest_first() -> None:
    frame = pl.DataFrame(
        {
            "level": ["hard", "easy", "hard", "easy", "easy"],
            "model": ["m", "m", "m", "m", "n"],
            "samples": [4, 1, 1, 4, 1],
            "tokens": [400.0, 100.0, 100.0, 400.0, 900.0],
            "value": [0.3, 0.5, 0.1, 0.75, 0.625],
            "weight": [3.0, 1.0, 3.0, 1.0, 1.0],
        }
    )
    menu = read_menu(frame, maximise="coverage")
    assert menu.key["level"].tolist() == ["easy", "hard"]
    assert menu.weight.tolist() == [1, 3]
    assert menu.start.tolist() == [0, 3, 5]
    assert menu.value.tolist() == [0.5, 0.625, 0.75, 0.1, 0.3]
    assert menu.cost["samples"].tolist() == [1, 1, 4, 1, 4]
    assert menu.cost["tokens"].tolist() == [100, 900, 400, 100, 400]
    assert menu.action["model"].tolist() == ["m", "n", "m", "m", "m"]
    assert menu.action["samples"].dtype == np.int64
    assert menu.maximise == "coverage"
    shuffled = read_menu(frame.sample(fraction=1, shuffle=True, seed=1))
    np.testing.assert_array_equal(shuffled.value, menu.value)


def test_a_menu_is_read_as_it_was_saved(tmp_path: Path) -> None:
    value = 1 - (1 - np.array([[0.1], [0.4]])) ** np.array([1, 2, 4])
    menu = over_samples(
        value,
        np.array([1, 2, 4]),
        key={"level": np.array(["easy", 'hard, "odd"'])},
        weight=np.array([3.0, 1.0]),
        curve=np.array([1, 0]),
        cost={"samples": np.array([1.0, 2, 4]), "tokens": np.array([10.5, 21, 42])},
        model="m",
        value_se=value / 10,
    )
    menu.save(tmp_path / "menu.csv")
    again = read_menu(tmp_path / "menu.csv")
    assert again.maximise == "coverage"
    assert again.columns() == menu.columns()
    assert len(menu.to_frame()) == 6
    with pytest.raises(InputError, match=r"ends in \.csv"):
        menu.save(tmp_path / "menu.xlsx")


def test_a_menu_of_one_class(tmp_path: Path) -> None:
    path = tmp_path / "menu.csv"
    path.write_text("thinking_tokens,tokens,accuracy\n1024,900,.4\n0,50,.2\n")
    menu = read_menu(path, rename={"accuracy": "value"})
    assert dict(menu.key) == {}
    assert menu.weight.tolist() == [1]
    assert menu.action["thinking_tokens"].tolist() == [0, 1024]
    assert menu.value_se is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("level,tokens,valu\na,1,.5\n", "no column 'value'.*Did you mean 'valu'"),
        ("level,value\na,.5\n", "no column of a resource"),
        ("level,token,value\na,1,.5\n", "Did you mean 'tokens'"),
        ("level,tokens,cost,value\na,1,2,.5\n", "--map cost=usd"),
        ("level,tokens,foo,value\na,1,2.5,.5\n", "'foo' holds fractions"),
        ("level,tokens,value\na,1,.5\na,1,.7\n", "level=a stands in several rows"),
        ("level,tokens,value\na,1,5\n", r"row 1 \(line 2\): value is '5'"),
        ("level,tokens,value\na,1,nan\n", "value is 'nan'"),
        ("level,tokens,value\na,-1,.5\n", "tokens is '-1'"),
        ("level,tokens,value\na,inf,.5\n", "tokens is 'inf'"),
        ("level,tokens,value\na,,.5\n", "tokens is empty"),
        ("level,tokens,samples,value\na,1,1.5,.5\n", "samples is '1.5'; a knob is a whole number"),
        ("level,tokens,value,value_se\na,1,.5,-.1\n", "value_se is '-.1'"),
        ("level,samples,value,weight\na,1,.5,2\na,2,.5,3\n", "a class has one weight"),
        ("level,samples,value,weight\na,1,.5,0\n", "all weights are 0"),
        ("level,samples,documents,value\na,1,,.5\n", "documents is empty"),
        ("level,samples,value\n", "header but no row"),
        (
            "level,samples,value\na,1,.5\na,0,0\n",
            r"row 2 \(line 3\): samples is '0'; a menu starts at one sample.*--allow-skip",
        ),
        ("samples,value,maximise\n1,.5,speed\n", "maximise is speed; it is accuracy or coverage"),
    ],
)
def test_menus_that_cannot_be(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "menu.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_menu(path)
    assert "menu.csv" in str(caught.value)
