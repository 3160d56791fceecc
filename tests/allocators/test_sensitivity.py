from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling.allocators import Limit, allocate
from scaling.allocators.sensitivity import priced_by_intensity, sensitivity
from scaling.curves import Menu


def two_models(skip: bool = False) -> Menu:
    """One model computes much, the other moves much: which is cheaper hangs on the intensity."""
    return Menu(
        key={"level": np.array(["easy", "hard"])},
        weight=np.array([1.0, 3.0]),
        curve=np.array([0, 1]),
        start=np.array([0, 3, 6]),
        value=np.array([0.1, 0.5, 0.52, 0.05, 0.3, 0.31]),
        cost={
            "flops": np.array([1.0, 1000.0, 10.0] * 2),
            "bytes": np.array([0.0, 1.0, 5.0] * 2),
            "eflops": np.array([1.0, 1300.0, 1510.0] * 2),
            "samples": np.ones(6),
        },
        action={"model": np.array(["none", "computes", "moves"] * 2)},
        skip=skip,
        provenance={"cost_model": {"name": "kinetics", "intensity": 300.0}},
    )


def test_a_switch_is_seen_at_the_intensities_where_it_pays():
    menu = two_models()
    a = allocate(menu, 1300.0, unit="eflops")
    assert set(a.ladder.action["model"][a.chosen]) == {"computes"}
    rows = a.ladder.provenance["cost_model"]["sensitivity"]
    by = {row["intensity"]: row for row in rows}
    # at 150, 1150 eFLOPs buy "moves" at 760; from 250 on it is the dearer one
    assert by[150.0]["changed_share"] == 1
    assert by[150.0]["gain"] == pytest.approx((0.02 * 1 + 0.01 * 3) / 4)
    assert by[150.0]["spent_eflops"] == 1000 + 150
    for dear in (300.0, 400.0, 600.0):
        assert by[dear] == {
            "intensity": dear,
            "spent_eflops": 1000 + dear,
            "changed_share": 0.0,
            "gain": 0.0,
        }


def test_unusable_classes_and_doing_nothing_take_no_part():
    menu = two_models(skip=True)
    half = replace(menu, curve=np.array([0, -1]))
    rows = sensitivity(half, half, np.array([1, -2]))
    assert rows[0]["changed_share"] == 1
    nothing = sensitivity(menu, menu, np.array([-1, -1]))
    assert {row["spent_eflops"] for row in nothing} == {0.0}
    assert {row["gain"] for row in nothing} == {0.0}


def test_limits_on_each_query_are_kept():
    menu = two_models()
    menu = replace(menu, cost={**menu.cost, "samples": np.array([1.0, 1.0, 2.0] * 2)})
    rows = sensitivity(menu, menu, np.array([1, 4]), (Limit("samples", "each", 1.0),))
    assert {row["gain"] for row in rows} == {0.0}


def test_only_costs_that_charge_a_byte_are_looked_at():
    menu = two_models()
    assert priced_by_intensity(menu, "eflops")
    assert not priced_by_intensity(menu, "samples")
    assert not priced_by_intensity(replace(menu, provenance={}), "eflops")
    a = allocate(menu, 1.0, unit="samples")
    assert "sensitivity" not in a.ladder.provenance["cost_model"]
