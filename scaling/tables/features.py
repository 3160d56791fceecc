"""From class columns to the features of a table's key, and what each row asks of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.curves import plain
from scaling.data.schema import PROBE
from scaling.errors import InputError
from scaling.tables.canonical import finite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scaling.curves import Menu


def features_of(menu: Menu) -> dict[str, dict[str, Any]]:
    """The key's features by class column; a column whose bins have no cut point tells nothing."""
    features: dict[str, dict[str, Any]] = {}
    names: set[str] = set()
    for column, values in menu.key.items():
        cuts = menu.bins.get(column)
        if cuts is not None and len(cuts) == 0:
            continue
        name = _unique(_identifier(column), names, "_")
        feature: dict[str, Any] = {"name": name, "dtype": _dtype(column, values, cuts)}
        if name != column:
            feature["path"] = column
        if column == PROBE:
            feature["source"] = "probe"
        if cuts is not None:
            feature["bins"] = [finite(cut, f"a cut point of '{column}'") for cut in cuts]
        elif feature["dtype"] != "number":
            feature["values"] = sorted({condition(value, feature) for value in values})
        features[column] = feature
    return features


def _dtype(column: str, values: np.ndarray[Any, Any], cuts: Sequence[float] | None) -> str:
    if cuts is not None:
        return "number"
    kinds = {type(plain(value)) for value in values}
    if kinds == {str} and _are_truths({str(value) for value in values}):
        return "boolean"
    for kind, name in ((bool, "boolean"), (int, "integer"), (str, "string")):
        if kinds == {kind}:
            return name
    if kinds <= {int, float}:
        whole = all(float(value).is_integer() for value in values)
        return "integer" if whole else "number"
    raise InputError(
        f"Class column '{column}' mixes {', '.join(sorted(kind.__name__ for kind in kinds))}. "
        "A column holds text, whole numbers, numbers or booleans only."
    )


def _are_truths(texts: set[str]) -> bool:
    """Whether these are true and false in letters, none of them spelled in two ways."""
    lower = {text.lower() for text in texts}
    return lower <= {"true", "false"} and len(lower) == len(texts)


def _identifier(column: str) -> str:
    """The column's name as a feature's name: lower case letters, digits and underscores."""
    if re.fullmatch("[a-z][a-z0-9_]*", column):
        return column
    slug = re.sub("[^a-z0-9]+", "_", column.lower()).strip("_")
    return slug if slug[:1].isalpha() else f"feature_{slug}".rstrip("_")


def _unique(name: str, taken: set[str], joint: str) -> str:
    """`name`, or `name` and the first number from 2 that makes it new; it is then taken."""
    number, unique = 2, name
    while unique in taken:
        unique = f"{name}{joint}{number}"
        number += 1
    taken.add(unique)
    return unique


def condition(value: Any, feature: Mapping[str, Any]) -> Any:
    """What a class's row asks of a feature."""
    value = plain(value)
    if feature["dtype"] == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if "bins" in feature or feature["dtype"] == "integer":
        return int(value)
    if feature["dtype"] == "number":  # the schema names no fractions: from v to the next number
        low = finite(value, f"a value of '{feature['name']}'")
        return {"gte": low, "lt": math.nextafter(low, math.inf)}
    return value


def row_ids(menu: Menu, features: Mapping[str, dict[str, Any]]) -> list[str]:
    """Readable and unique: `math-hard`, `level-3`; `all` where there is no feature."""
    ids: list[str] = []
    taken: set[str] = set()
    for c in range(len(menu.weight)):
        parts = []
        for column, feature in features.items():
            value = plain(menu.key[column][c])
            if feature["dtype"] == "boolean":
                value = condition(value, feature)
            part = str(value) if isinstance(value, str) else f"{feature['name']}-{value}".lower()
            parts.append(re.sub("[^A-Za-z0-9._]+", "-", part).strip("-") or feature["name"])
        ids.append(_unique("-".join(parts) or "all", taken, "-"))
    return ids
