"""The key and the rows' conditions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from scaling.tables.keyspace import KeySpace
from scaling.tables.rules.document import repeated, rows_of
from scaling.tables.rules.registry import CHECKS, check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaling.tables.rules.registry import Document, Problems


@check("feature-repeated")
def _feature_repeated(document: Document) -> Problems:
    yield from repeated(
        (f"$.key.features[{i}].name", feature["name"])
        for i, feature in enumerate(document["key"]["features"])
    )


@check("row-id-repeated")
def _row_id_repeated(document: Document) -> Problems:
    yield from repeated((f"{where}.row_id", row["row_id"]) for where, row in rows_of(document))


@check("bins-order")
def _bins_order(document: Document) -> Problems:
    """Bins cut a numeric feature at strictly increasing points."""
    for i, feature in enumerate(document["key"]["features"]):
        where = f"$.key.features[{i}].bins"
        if "bins" not in feature:
            continue
        if feature["dtype"] not in {"integer", "number"}:
            yield (
                where,
                f"feature '{feature['name']}' is {feature['dtype']}; only numbers have bins.",
            )
        for low, high in pairwise(feature["bins"]):
            if not low < high:
                yield where, f"cut points must increase strictly; {high} follows {low}."


@check("feature-values")
def _feature_values(document: Document) -> Problems:
    """Listed values are of the feature's type, and stand only where there are no bins."""
    for i, feature in enumerate(document["key"]["features"]):
        where = f"$.key.features[{i}].values"
        if "values" in feature and "bins" in feature:
            yield where, f"feature '{feature['name']}' has bins; it cannot list values too."
        for value in feature.get("values", ()):
            if not _is(value, feature["dtype"]):
                yield where, f"{value!r} is not of type {feature['dtype']}."


@check("when-empty")
def _when_empty(document: Document) -> Problems:
    if document["key"]["features"]:
        for where, row in rows_of(document):
            if not row["when"]:
                yield f"{where}.when", "the row names no feature, though the key has some."


@check("when-feature")
def _when_feature(document: Document) -> Problems:
    names = {feature["name"] for feature in document["key"]["features"]}
    for where, row in rows_of(document):
        for name in row["when"]:
            if name not in names:
                known = ", ".join(sorted(names)) or "none"
                yield f"{where}.when.{name}", f"the key has no '{name}'; it has {known}."


@check("when-type")
def _when_type(document: Document) -> Problems:
    """Values of a condition are of the feature's type and among those that it lists."""
    for where, feature, condition in _conditions(document):
        if "bins" in feature or isinstance(condition, dict):
            continue
        for value in condition if isinstance(condition, list) else [condition]:
            if not _is(value, feature["dtype"]):
                yield where, f"{value!r} is not of type {feature['dtype']}."
            elif value not in feature.get("values", [value]):
                yield where, f"{value!r} is not among the values that the feature lists."


@check("when-bin")
def _when_bin(document: Document) -> Problems:
    """A condition on a feature with bins names bin indices in range."""
    for where, feature, condition in _conditions(document):
        if "bins" not in feature or isinstance(condition, dict):
            continue
        last = len(feature["bins"])
        for index in condition if isinstance(condition, list) else [condition]:
            if not _is(index, "integer") or not 0 <= index <= last:
                yield where, f"{index!r} is no bin; their indices are 0 to {last}."


@check("when-range")
def _when_range(document: Document) -> Problems:
    """A range stands on a numeric feature without bins and is not empty."""
    for where, feature, condition in _conditions(document):
        if not isinstance(condition, dict):
            continue
        if "bins" in feature:
            yield where, "the feature has bins: name their indices, not a range."
        elif feature["dtype"] not in {"integer", "number"}:
            yield where, f"the feature is {feature['dtype']}: only numbers have ranges."
        if not condition.get("gte", -math.inf) < condition.get("lt", math.inf):
            yield where, f"gte {condition['gte']} is not below lt {condition['lt']}."


@check("rows-overlap", guarantee="rows_disjoint")
def _rows_overlap(document: Document) -> Problems:
    """No query matches two rows."""
    if not _sound_conditions(document):
        return
    ids = [row["row_id"] for row in document["rows"]]
    told: set[tuple[int, int]] = set()
    for first, second in KeySpace(document).overlaps():
        if (first, second) not in told:
            told.add((first, second))
            yield f"$.rows[{second}].when", f"row '{ids[second]}' overlaps row '{ids[first]}'."


@check("key-space-gap", guarantee="rows_cover_key_space", stated=True)
def _key_space_gap(document: Document) -> Problems:
    """Every value that the key allows has a row."""
    if not _sound_conditions(document):
        yield "$.rows", "the conditions are not sound, so their cover cannot be told."
    elif (gap := KeySpace(document).gap()) is not None:
        yield "$.rows", f"no row serves {gap}; such queries get the fallback."


def _sound_conditions(document: Document) -> bool:
    """Whether the key and the conditions can be read as cells; other checks tell what is wrong."""
    return all(next(CHECKS[code].problems(document), None) is None for code in _CONDITION_CHECKS)


_CONDITION_CHECKS = (
    "feature-repeated",
    "bins-order",
    "feature-values",
    "when-feature",
    "when-type",
    "when-bin",
    "when-range",
)


def _conditions(document: Document) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
    """Each condition on a feature that exists."""
    features = {feature["name"]: feature for feature in document["key"]["features"]}
    for where, row in rows_of(document):
        for name, condition in row["when"].items():
            if name in features:
                yield f"{where}.when.{name}", features[name], condition


def _is(value: Any, dtype: str) -> bool:
    """Whether a value named in a table is of a feature's type; a number is named as an integer."""
    if dtype in {"integer", "number"}:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, {"string": str, "boolean": bool}[dtype])
