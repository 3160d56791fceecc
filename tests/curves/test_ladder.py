from __future__ import annotations

from dataclasses import replace

import numpy as np

from scaling.curves import ladder, over_samples, upper_hull, validate


def test_ladder_keeps_the_chosen_rung_and_its_neighbours():
    K = 5000
    samples = np.arange(1, K + 1)
    value = -np.expm1(np.log1p(-np.array([[0.001], [0.01]])) * samples)
    full = over_samples(
        value,
        samples,
        key={"problem": np.arange(4)},
        weight=np.ones(4),
        curve=np.array([0, 0, 1, -1]),
        cost={"samples": samples.astype(float)},
    )
    hull = upper_hull(full.value, full.cost["samples"], full.start)
    reduced, chosen = ladder(full, hull, np.array([10, 4321, 0, 0]), "samples")
    validate(reduced)
    assert (np.diff(reduced.start) <= 64).all()
    assert reduced.action["samples"][chosen[:3]].tolist() == [11, 4322, 1]
    assert chosen[3] == -2
    for i, n in ((0, 11), (1, 4322)):
        rungs = reduced.action["samples"][
            reduced.start[reduced.curve[i]] : reduced.start[reduced.curve[i] + 1]
        ]
        assert {n - 1, n, n + 1, 1, K} <= set(rungs.tolist())
        assert (np.diff(rungs) > 0).all()


def test_ladder_of_a_worthless_curve_keeps_its_cheapest_rung(menu):
    full = menu([[0.0, 0.0], [0.1, 0.2]], [[2, 1], [1, 2]], skip=True)
    hull = upper_hull(full.value, full.cost["tokens"], full.start, nothing=True)
    reduced, chosen = ladder(full, hull, np.array([0, 1]), "tokens")
    assert chosen.tolist() == [-1, 1]
    assert reduced.cost["tokens"].tolist() == [1.0, 1.0, 2.0]


def test_ladder_carries_the_columns_of_its_rungs(menu):
    full = menu([[0.1, 0.05, 0.2]], [[1, 2, 3]])
    full = replace(
        full,
        value_se=np.array([0.01, 0.02, 0.03]),
        interval=np.array([[0, 0.2], [0, 0.3], [0.1, 0.4]]),
        extrapolated=np.array([False, False, True]),
    )
    hull = upper_hull(full.value, full.cost["tokens"], full.start)
    reduced, _ = ladder(full, hull, np.array([1]), "tokens")
    assert reduced.value.tolist() == [0.1, 0.2]
    assert reduced.value_se is not None
    assert reduced.value_se.tolist() == [0.01, 0.03]
    assert reduced.interval is not None
    assert reduced.interval.tolist() == [[0, 0.2], [0.1, 0.4]]
    assert reduced.extrapolated is not None
    assert reduced.extrapolated.tolist() == [False, True]
