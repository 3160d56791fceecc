"""The key space against a naive walk over representative points."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scaling.tables.keyspace import KeySpace
from scaling.tables.lookup import Table

NUMBERS = st.sampled_from([-1.5, 0.0, 0.25, 1.0, 2.0, 2.5, 3.0])
RANGES = (
    st.tuples(NUMBERS, NUMBERS)
    .filter(lambda r: r[0] < r[1])
    .flatmap(lambda r: st.sampled_from([{"gte": r[0], "lt": r[1]}, {"gte": r[0]}, {"lt": r[1]}]))
)
FEATURES = {
    "text": ({"dtype": "string"}, st.sampled_from(["a", "b", ["a", "c"]])),
    "listed": ({"dtype": "string", "values": ["a", "b"]}, st.sampled_from(["a", "b", ["a", "b"]])),
    "flag": ({"dtype": "boolean"}, st.sampled_from([True, False, [False, True]])),
    "bin": ({"dtype": "number", "bins": [0.0, 1.0]}, st.sampled_from([0, 1, 2, [0, 2], [0, 1, 2]])),
    "real": ({"dtype": "number"}, RANGES | st.sampled_from([0, 2, [1, 3]])),
    "whole": ({"dtype": "integer"}, RANGES | st.sampled_from([0, 2, [1, 3]])),
}
POINTS = {
    "text": ["a", "b", "c", "other"],
    "listed": ["a", "b"],
    "flag": [True, False],
    "bin": [-1.0, 0.0, 0.5, 1.0, 7.0],
    "real": [-9.0, -1.5, -1.0, 0.0, 1e-9, 0.25, 0.5, 1.0, 1.5, 2.0, 2.2, 2.5, 2.7, 3.0, 3.5, 9.0],
    "whole": list(range(-9, 10)),
}


def naive(feature, condition, raw):
    """Whether a raw value meets a condition, by the words of the contract."""
    if condition is None:
        return True
    if isinstance(condition, dict):
        return condition.get("gte", raw) <= raw and not condition.get("lt", raw + 1) <= raw
    named = condition if isinstance(condition, list) else [condition]
    if "bins" not in feature:
        return raw in named
    index = sum(raw >= cut for cut in feature["bins"])
    return index in named


@st.composite
def keys(draw, names=tuple(FEATURES)):
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    features = [{"name": name, **FEATURES[name][0]} for name in chosen]
    rows = draw(
        st.lists(
            st.fixed_dictionaries({}, optional={name: FEATURES[name][1] for name in chosen}),
            min_size=1,
            max_size=4,
        )
    )
    return {
        "key": {"features": features},
        "rows": [{"row_id": str(i), "when": when} for i, when in enumerate(rows)],
    }


def matches(document, point):
    return {
        i
        for i, row in enumerate(document["rows"])
        if all(
            naive(feature, row["when"].get(feature["name"]), raw)
            for feature, raw in zip(document["key"]["features"], point, strict=True)
        )
    }


def points(document):
    axes = [POINTS[feature["name"]] for feature in document["key"]["features"]]
    return [(a,) for a in axes[0]] if len(axes) == 1 else [(a, b) for a in axes[0] for b in axes[1]]


@given(keys())
def test_overlaps_and_gaps_are_those_of_a_naive_walk(document):
    found = [matches(document, point) for point in points(document)]
    overlapping = {row for rows in found if len(rows) > 1 for row in rows}
    space = KeySpace(document)
    assert {row for pair in space.overlaps() for row in pair} == overlapping
    assert (space.gap() is None) == all(found)


@given(keys())
def test_a_lookup_finds_what_the_naive_walk_finds(document):
    entry = {
        "action": {"strategy": "single", "model": "m", "n_samples": 1},
        "expected": {"value": {"mean": 0.5}, "resources": {"tokens": {"mean": 100.0}}},
    }
    rows = [{**each, **entry, "ladder": [entry]} for each in document["rows"]]
    table = Table(
        {
            **document,
            "schema_version": "1.0",
            "kind": "scaling-budget-table",
            "table_id": "",
            "objective": {"maximise": "coverage", "priced_resource": "tokens"},
            "rows": rows,
            "fallback": entry,
        }
    )
    names = [feature["name"] for feature in document["key"]["features"]]
    for point in points(document):
        expected = matches(document, point)
        found = table.lookup(dict(zip(names, point, strict=True))).row_id
        assert (found is None) == (not expected)
        assert found is None or int(found) in expected
