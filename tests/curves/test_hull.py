from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.curves import upper_hull

small = settings(max_examples=200, derandomize=True, deadline=None)


def brute_hull(value, cost):
    """Vertices by definition: no pair of other points, and no cheaper point, is above."""
    keep = []
    for j, (v, c) in enumerate(zip(value, cost, strict=True)):
        if any(
            (w > v and d <= c) or (w >= v and d < c) or (w == v and d == c and i < j)
            for i, (w, d) in enumerate(zip(value, cost, strict=True))
        ):
            continue
        above = False
        for w, d in zip(value, cost, strict=True):
            for x, e in zip(value, cost, strict=True):
                if d < c < e and (v - w) * (e - d) < (x - w) * (c - d):
                    above = True
        if not above:
            keep.append(j)
    return sorted(keep, key=lambda j: cost[j])


points = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 30)), min_size=1, max_size=12
)  # value in sixty-fourths, cost


@small
@given(st.lists(points, min_size=1, max_size=4))
def test_hull_is_the_hull(curves):
    value = [[v / 64 for v, _ in curve] for curve in curves]
    cost = [[float(c) for _, c in curve] for curve in curves]
    start = np.concatenate(([0], np.cumsum([len(c) for c in curves])))
    hull = upper_hull(np.concatenate(value), np.concatenate(cost), start)
    for m in range(len(curves)):
        got = hull.index[hull.start[m] : hull.start[m + 1]] - start[m]
        assert got.tolist() == brute_hull(value[m], cost[m])


@small
@given(points)
def test_hull_with_nothing_starts_at_the_origin(curve):
    value = np.array([v / 64 for v, _ in curve])
    cost = np.array([float(c) for _, c in curve])
    hull = upper_hull(value, cost, np.array([0, value.size]), nothing=True)
    expected = [j - 1 for j in brute_hull([0.0, *value.tolist()], [0.0, *cost.tolist()])]
    assert hull.index.tolist() == expected


def test_hull_of_many_random_curves_is_concave_and_covers_every_point():
    rng = np.random.default_rng(5)
    value, cost = rng.random((40, 300)), np.sort(rng.random((40, 300)), axis=1)
    hull = upper_hull(value.reshape(-1), cost.reshape(-1), np.arange(0, 12001, 300))
    for m in range(40):
        part = slice(hull.start[m], hull.start[m + 1])
        slope = hull.slope[part][1:]
        assert (np.diff(slope) <= 0).all()
        assert (slope > 0).all()
        v = np.interp(cost[m], hull.cost[part], hull.value[part])
        assert (value[m] <= v + 1e-12).all()


def test_convex_then_jagged_curves_end_in_the_chain():
    # each pass takes one point off the end of a concave arc that a last steep step undercuts
    cost = np.arange(200.0)
    value = np.sqrt(cost) / 100
    value[-1] = 1.0
    hull = upper_hull(value, cost, np.array([0, 200]))
    assert hull.index.tolist() == brute_hull(value.tolist(), cost.tolist())


def test_a_dent_may_reach_back_over_thousands_of_points():
    # only the last point of the arc is ever below the chord of its neighbours
    cost = np.arange(3000.0)
    value = np.sqrt(cost) / 1e4
    value[-1] = 1.0
    twice = np.concatenate([value, value[:500]])
    hull = upper_hull(twice, np.concatenate([cost, cost[:500]]), np.array([0, 3000, 3500]))
    assert hull.index.tolist() == [0, 2999, *range(3000, 3500)]


def test_straight_lines_keep_their_points_despite_rounding():
    cost = np.arange(1.0, 65.0)
    hull = upper_hull(0.01 * cost, cost, np.array([0, 64]))
    assert hull.index.size == 64
    assert (np.diff(hull.slope[1:]) <= 0).all()


def test_masks_take_rungs_off():
    value, cost = np.array([0.1, 0.5, 0.6]), np.array([1.0, 2.0, 3.0])
    hull = upper_hull(value, cost, np.array([0, 3]), allowed=np.array([True, False, True]))
    assert hull.index.tolist() == [0, 2]


@pytest.mark.parametrize("nothing", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_hulls_do_not_depend_on_blocks(monkeypatch, nothing, masked):
    rng = np.random.default_rng(3)
    length = rng.integers(0, 9, 200)
    length[-3:] = 0
    start = np.concatenate(([0], np.cumsum(length)))
    value, cost = rng.random(start[-1]), rng.integers(0, 20, start[-1]) * 1.0
    allowed = rng.random(start[-1]) < 0.7 if masked else None
    whole = upper_hull(value, cost, start, allowed=allowed, nothing=nothing)
    for block in (1, 5, int(start[-1]) // 4, int(start[-1])):
        monkeypatch.setattr("scaling.curves.hull._BLOCK", block)
        parts = upper_hull(value, cost, start, allowed=allowed, nothing=nothing)
        for name in ("index", "start", "value", "cost", "slope"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
