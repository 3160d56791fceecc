from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling.costs import LinearCost
from scaling.curves import validate
from scaling.errors import InputError


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": np.array([0.1, np.nan, 0.2, 0.3])}, ["a", "rung 1", "nan", "samples=2"]),
        ({"value": np.array([0.1, 0.2, 1.2, 0.3])}, ["b", "rung 0", "1.2", "0 to 1"]),
        ({"cost": {"tokens": np.array([1.0, 2, 3, -4])}}, ["b", "rung 1", "-4"]),
        ({"cost": {"tokens": np.array([1.0, np.inf, 3, 4])}}, ["a", "rung 1", "inf"]),
        ({"cost": {"euros": np.ones(4)}}, ["euros", "tokens"]),
        ({"weight": np.array([1.0, 0.0])}, ["b", "0.0", "positive"]),
        ({"curve": np.array([0, 7])}, ["b", "7"]),
        ({"start": np.array([0, 2, 5])}, ["4 rungs"]),
        ({"key": {"level": np.array(["a", "a"])}}, ["level=a"]),
        ({"key": {"level": np.array([3, 3])}}, ["level=3"]),
        ({"key": {}}, ["2 classes"]),
        ({"action": {"samples": np.ones(3, dtype=int)}}, ["samples", "(3,)"]),
    ],
)
def test_validation_names_the_place(menu, change, words):
    with pytest.raises(InputError) as caught:
        validate(replace(menu([[0.1, 0.2], [0.3, 0.4]], [[1, 2], [1, 2]]), **change))
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("given_cost", "message"),
    [
        ({3: ()}, "names class 3; the menu has classes 0 to 0"),
        (
            {0: (({}, LinearCost({}, {"tokens": np.nan})),)},
            "level=a: its own cost in tokens is nan",
        ),
        ({0: (({}, LinearCost({"usd": -1.0}, {})),)}, "own cost in usd is -1"),
    ],
)
def test_costs_of_an_unusable_class_are_checked(menu, given_cost, message):
    with pytest.raises(InputError, match=message):
        validate(menu([[0.1, 0.2]], [[1, 2]], unusable_cost=given_cost))
