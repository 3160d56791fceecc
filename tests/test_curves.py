from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.costs import LinearCost
from scaling.curves import Menu, ladder, merge, over_samples, upper_hull, validate
from scaling.errors import InputError

small = settings(max_examples=200, derandomize=True, deadline=None)


def menu(value, cost, *, samples=None, **fields):
    """One class for each row of `value`, named a, b, c, ..."""
    value, cost = np.asarray(value, dtype=float), np.asarray(cost, dtype=float)
    M, K = value.shape
    defaults = {
        "key": {"level": np.array(list("abcdefghij"[:M]))},
        "weight": np.ones(M),
        "curve": np.arange(M),
        "start": np.arange(0, M * K + 1, K),
        "value": value.reshape(-1),
        "cost": {"tokens": cost.reshape(-1)},
        "action": {
            "model": np.full(M * K, "m"),
            "samples": np.tile(np.arange(1, K + 1) if samples is None else samples, M),
        },
    }
    return Menu(**{**defaults, **fields})


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
)  # value in fortieths, cost


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
        monkeypatch.setattr("scaling.curves._BLOCK", block)
        parts = upper_hull(value, cost, start, allowed=allowed, nothing=nothing)
        for name in ("index", "start", "value", "cost", "slope"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


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
def test_validation_names_the_place(change, words):
    with pytest.raises(InputError) as caught:
        validate(replace(menu([[0.1, 0.2], [0.3, 0.4]], [[1, 2], [1, 2]]), **change))
    for word in words:
        assert word in str(caught.value)


def test_over_samples_lays_curves_out():
    value = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    built = over_samples(
        value,
        np.array([1, 2, 3]),
        key={"problem": np.array(["p", "q", "r"])},
        weight=np.ones(3),
        curve=np.array([1, 0, 1]),
        cost={"samples": np.array([1.0, 2, 3])},
        model="m",
        extrapolated=np.array([False, False, True]),
    )
    validate(built)
    assert built.maximise == "coverage"
    assert built.value[built.start[1] : built.start[2]].tolist() == [0.4, 0.5, 0.6]
    assert built.action_of(4) == {"model": "m", "samples": 2}
    assert built.extrapolated is not None
    assert built.extrapolated.tolist() == [False, False, True] * 2


def test_merge_joins_actions_by_key():
    first = menu([[0.1, 0.2], [0.3, 0.4]], [[1, 2], [1, 2]], weight=np.array([5.0, 1.0]))
    other = menu(
        [[0.6, 0.7], [0.8, 0.9]],
        [[10, 20], [30, 40]],
        key={"level": np.array(["b", "z"])},
        weight=np.array([3.0, 2.0]),
        action={"model": np.full(4, "big"), "samples": np.array([1, 2, 1, 2])},
        skip=True,
        cautions={1: ({"code": "x", "message": "y"},), -1: ({"code": "m", "message": "n"},)},
    )
    joined = validate(merge([first, other]))
    assert joined.key["level"].tolist() == ["a", "b", "z"]
    assert joined.weight.tolist() == [5.0, 3.0, 2.0]
    assert joined.skip
    assert set(joined.cautions) == {2, -1}

    def offer(index):
        m = joined.curve[index]
        part = slice(joined.start[m], joined.start[m + 1])
        return list(
            zip(joined.action["model"][part].tolist(), joined.value[part].tolist(), strict=True)
        )

    assert offer(0) == [("m", 0.1), ("m", 0.2)]
    assert offer(1) == [("m", 0.3), ("m", 0.4), ("big", 0.6), ("big", 0.7)]
    assert offer(2) == [("big", 0.8), ("big", 0.9)]


def test_merge_serves_a_class_that_one_menu_cannot():
    first = menu([[0.1, 0.2]], [[1, 2]], curve=np.array([-1]))
    other = menu([[0.6, 0.7]], [[10, 20]])
    joined = merge([first, other])
    assert joined.curve.tolist() == [0]
    assert joined.value.tolist() == [0.6, 0.7]
    assert merge([first, first]).curve.tolist() == [-1]


def test_merge_shares_combinations_of_curves():
    C = 1000
    rng = np.random.default_rng(1)
    parts = [
        over_samples(
            rng.random((3, 4)),
            np.arange(1, 5),
            key={"problem": np.arange(C)},
            weight=np.ones(C),
            curve=rng.integers(0, 3, C),
            cost={"samples": np.arange(1.0, 5.0)},
            model=model,
        )
        for model in ("a", "b")
    ]
    joined = merge(parts)
    assert joined.start.size - 1 == 9
    for i in range(0, C, 97):
        m = joined.curve[i]
        expected = [p.value[p.start[p.curve[i]] : p.start[p.curve[i] + 1]] for p in parts]
        got = joined.value[joined.start[m] : joined.start[m + 1]]
        assert got.tolist() == np.concatenate(expected).tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"key": {"other": np.array(["a"])}},
        {"maximise": "coverage"},
        {"bins": {"level": (0.5,)}},
        {"action": {"samples": np.array([1, 2])}},
        {"cost": {"usd": np.ones(2)}},
        {"level": 0.9},
    ],
)
def test_merge_refuses_what_does_not_fit(change):
    one = menu([[0.1, 0.2]], [[1, 2]])
    with pytest.raises(InputError, match="cannot be merged"):
        merge([one, replace(one, **change)])


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


def test_ladder_of_a_worthless_curve_keeps_its_cheapest_rung():
    full = menu([[0.0, 0.0], [0.1, 0.2]], [[2, 1], [1, 2]], skip=True)
    hull = upper_hull(full.value, full.cost["tokens"], full.start, nothing=True)
    reduced, chosen = ladder(full, hull, np.array([0, 1]), "tokens")
    assert chosen.tolist() == [-1, 1]
    assert reduced.cost["tokens"].tolist() == [1.0, 1.0, 2.0]


def test_ladder_carries_the_columns_of_its_rungs():
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


def test_merge_refuses_the_same_action_of_a_class():
    one = menu([[0.1, 0.2], [0.3, 0.4]], [[1, 2], [1, 2]])
    key = {"level": np.array(["b", "z"])}
    other = menu([[0.9], [0.8]], [[1], [1]], key=key, samples=[2])
    with pytest.raises(InputError) as caught:
        merge([one, other])
    message = str(caught.value)
    assert "class level=b the same action (model=m, samples=2), worth 0.4 and 0.9" in message
    with pytest.raises(InputError, match=r"class level=a .*model=m, samples=1"):
        merge([one, one])
    apart = menu([[0.9], [0.8]], [[1], [1]], key=key, samples=[3])
    assert (merge([one, apart]).curve >= 0).all()
    bare = menu([[0.5]], [[1]], key={}, action={})
    with pytest.raises(InputError, match=r"all queries the same action .*no action columns"):
        merge([bare, bare])


def test_merge_keeps_what_is_known_of_the_cost_of_unusable_classes():
    own = [(({"model": m}, LinearCost({}, {"tokens": t})),) for m, t in (("a", 5.0), ("b", 7.0))]
    parts = [
        menu(
            [[0.1, 0.2]] * 2,
            [[1, 2]] * 2,
            key={"level": np.array(levels)},
            curve=np.array(curve),
            action={"model": np.full(4, model), "samples": np.array([1, 2, 1, 2])},
            unusable_cost=dict.fromkeys(np.flatnonzero(np.array(curve) < 0).tolist(), known),
        )
        for levels, curve, model, known in (
            (["x", "y"], [-1, -1], "a", own[0]),
            (["z", "y"], [-1, -1], "b", own[1]),
            (["w", "z"], [0, 1], "c", ()),
        )
    ]
    joined = validate(merge(parts))
    assert joined.key["level"].tolist() == ["x", "y", "z", "w"]
    assert joined.unusable_cost == {0: own[0], 1: (*own[0], *own[1])}


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
def test_costs_of_an_unusable_class_are_checked(given_cost, message):
    with pytest.raises(InputError, match=message):
        validate(menu([[0.1, 0.2]], [[1, 2]], unusable_cost=given_cost))


def test_merge_keeps_the_group_of_a_caution():
    lost = {"code": "not-identified", "message": "no attempt was right", "group": "model=z"}
    one = menu([[0.1, 0.2]], [[1, 2]])
    other = replace(one, curve=np.array([-1]), cautions={0: (lost,)})
    assert merge([one, other]).cautions == {0: (lost,)}


def test_a_menu_is_saved_as_json_lines_too(tmp_path):
    given_se = np.array([0.01, np.nan])
    one = menu([[0.1, 0.2]], [[1, 2]], value_se=given_se)
    rows = one.save(tmp_path / "menu.jsonl").read_text().splitlines()
    assert [json.loads(row, parse_constant=pytest.fail) for row in rows] == [
        {"level": "a", "tokens": 1.0, "model": "m", "samples": 1, "value": 0.1, "value_se": 0.01,
         "weight": 1.0, "maximise": "accuracy"},
        {"level": "a", "tokens": 2.0, "model": "m", "samples": 2, "value": 0.2,
         "weight": 1.0, "maximise": "accuracy"},
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"\.csv or \.jsonl"):
        one.save(tmp_path / "menu.parquet")
