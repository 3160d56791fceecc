from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scaling.costs import LinearCost
from scaling.curves import merge, over_samples, validate
from scaling.errors import InputError


def test_merge_joins_actions_by_key(menu):
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


def test_merge_serves_a_class_that_one_menu_cannot(menu):
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


def test_merge_tells_knobs_apart_that_print_alike():
    given_knobs = [0.1234567891, 0.1234567892]
    parts = [
        over_samples(
            np.array([[0.1, 0.2]]),
            np.array([1, 2]),
            key={},
            weight=np.ones(1),
            curve=np.zeros(1, dtype=int),
            cost={"samples": np.array([1.0, 2.0])},
            knobs={"temperature": knob},
        )
        for knob in given_knobs
    ]
    assert merge(parts).action["temperature"].tolist() == np.repeat(given_knobs, 2).tolist()


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
def test_merge_refuses_what_does_not_fit(menu, change):
    one = menu([[0.1, 0.2]], [[1, 2]])
    with pytest.raises(InputError, match="cannot be merged"):
        merge([one, replace(one, **change)])


def test_merge_refuses_the_same_action_of_a_class(menu):
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


def test_merge_keeps_what_is_known_of_the_cost_of_unusable_classes(menu):
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


def test_merge_keeps_the_group_of_a_caution(menu):
    lost = {"code": "not-identified", "message": "no attempt was right", "group": "model=z"}
    one = menu([[0.1, 0.2]], [[1, 2]])
    other = replace(one, curve=np.array([-1]), cautions={0: (lost,)})
    assert merge([one, other]).cautions == {0: (lost,)}
