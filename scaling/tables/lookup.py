"""Look up the compute budget of a query in a budget table.

Standard library only, and nothing of the package that wrote the table: copy this one file next to a
table and serve from it (Python 3.11 or later).

    from lookup import load

    table = load("table.json")
    decision = table.lookup({"level": "hard"}, price=2e-5)
    decision.action  # {"strategy": "best_of_n", "model": ..., "n_samples": 8}

or, at a shell, `python lookup.py table.json level=hard --price 2e-5`.

A request carries raw numbers; bins turn them into indices, bin i being [b_{i-1}, b_i). Whatever
cannot be answered by a row (table expired, feature missing or unreadable, value unknown, no row, a
predictor or model that is not the one served here) is answered by the table's fallback, with the
reason. A lookup never raises for what a request carries, takes microseconds, and a `Table` may be
shared by threads: nothing in it changes after it is made.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from bisect import bisect_right
from dataclasses import asdict, dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence

KIND = "scaling-budget-table"
_INDEXED_CELLS = 64
"""A row of more cells than this (a product of long lists) is tried by itself, not indexed."""
_UNREAD = object()
_MISSING = object()
_NUMBERS = (float, int)


class TableError(ValueError):
    """The file or document is no budget table that this reader can serve."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a query may spend.

    Attributes:
        row_id: the row that answered; None for the fallback.
        action: strategy, model, n_samples and whatever else the action caps.
        expected: value and use of resources per query that the table expects of it.
        hard_limits: caps on one request (`max_usd`, `max_total_tokens`, `timeout_s`); often empty.
        table_id: the table's content hash, to be logged with the request.
        reason: why the fallback answered; None where a row did.
    """

    row_id: str | None
    action: dict[str, Any]
    expected: dict[str, Any]
    hard_limits: dict[str, Any]
    table_id: str
    reason: str | None = None

    def to_json(self) -> str:
        """The decision as a JSON object."""
        return json.dumps(asdict(self), allow_nan=False, ensure_ascii=False, indent=1)


def parse(text: str | bytes) -> Any:
    """Read JSON strictly: no NaN, no infinity, no name twice in one object.

    Raises:
        TableError: the text is not such JSON; the message says where.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            object_pairs_hook=_unique_names,
        )
    except UnicodeDecodeError as error:
        raise TableError(f"it is not UTF-8 text ({error.reason} at byte {error.start}).") from error
    except json.JSONDecodeError as error:
        raise TableError(
            f"it is not JSON ({error.msg} at line {error.lineno}, column {error.colno})."
        ) from error
    except RecursionError as error:
        raise TableError("its JSON is nested too deeply.") from error
    except TableError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise TableError(f"it holds a number that cannot be read ({error}).") from error


def load(
    path: str | os.PathLike[str],
    *,
    predictors: Mapping[str, str] | None = None,
    models: Collection[str] | None = None,
) -> Table:
    """Read a table from a JSON file; the arguments are those of `Table`.

    Raises:
        TableError: the file cannot be read, or is no budget table.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or error
        raise TableError(
            f"Cannot read {path}: {cause}. Give the path of a budget table."
        ) from error
    try:
        return Table(parse(content), predictors=predictors, models=models)
    except TableError as error:
        raise TableError(f"Cannot serve {path}: {error}") from error


class Axis:
    """One feature of the key: how a raw value becomes a code, and which codes a condition names.

    A number becomes the index of the cell that it falls in. The cells are the feature's bins or,
    without bins, what the ranges of all rows cut the line into; a single value v of a numeric
    feature is the range from v to the next number. Text and booleans are their own codes, and so
    are integers that no row gives a range for.

    Attributes:
        name: the feature's name in the table.
        cuts: the cut points of a numeric feature, cell i being [cuts[i - 1], cuts[i]); None where
            values are their own codes.
        values: the values that exist, where the table lists them.
    """

    __slots__ = ("_binned", "_dtype", "_known", "_path", "_predictor", "cuts", "name", "values")

    def __init__(self, feature: Mapping[str, Any], conditions: Iterable[Any]) -> None:
        self.name: str = feature["name"]
        self.values: Sequence[Any] | None = feature.get("values")
        self.cuts: list[float] | None = None
        self._known = None if self.values is None else frozenset(self.values)
        self._dtype: str = feature["dtype"]
        self._path: str = feature.get("path", self.name)
        self._predictor: Mapping[str, Any] | None = feature.get("predictor")
        self._binned = "bins" in feature
        if self._binned:
            self.cuts = list(feature["bins"])
            return
        conditions = [condition for condition in conditions if condition is not None]
        ranged = any(isinstance(condition, dict) for condition in conditions)
        if self._dtype == "number" or (self._dtype == "integer" and ranged):
            edges = {edge for each in conditions for span in self._spans(each) for edge in span}
            self.cuts = sorted(edges - {-math.inf, math.inf})

    def cells(self, condition: Any) -> Collection[Hashable] | None:
        """The codes that a row's condition names; None where it names none and all match."""
        if condition is None:
            return None
        if self.cuts is None or self._binned:
            return condition if isinstance(condition, list) else (condition,)
        codes = [
            range(
                0 if low == -math.inf else bisect_right(self.cuts, low),
                len(self.cuts) + 1 if high == math.inf else bisect_right(self.cuts, high),
            )
            for low, high in self._spans(condition)
        ]
        return codes[0] if len(codes) == 1 else tuple(code for some in codes for code in some)

    def code(self, features: Mapping[str, Any], predictors: Mapping[str, str] | None) -> Hashable:
        """The code of a request's value.

        Raises:
            TableError: the value is missing, unreadable or unknown, or its predictor is another.
        """
        if self.name in features:
            raw = features[self.name]
        elif self._path in features:
            raw = features[self._path]
        else:
            given = ", ".join(map(str, features)) or "nothing"
            raise TableError(f"feature '{self.name}' is missing (given: {given})")
        if self._predictor is not None and predictors is not None:
            running = predictors.get(self._predictor["name"])
            if running != self._predictor["sha256"]:
                raise TableError(
                    f"predictor '{self._predictor['name']}' of feature '{self.name}' is "
                    f"{running or 'not running'}; the table was made with "
                    f"{self._predictor['sha256']}"
                )
        value = self._read(raw)
        if self.cuts is not None:
            return bisect_right(self.cuts, value)
        if self._known is not None and self.values is not None and value not in self._known:
            known = ", ".join(map(str, self.values[:8])) + (", ..." if self.values[8:] else "")
            raise TableError(f"{self.name}={raw!r} is not one of {known}")
        return value  # type: ignore[no-any-return]

    def _read(self, raw: Any) -> Any:
        """The value as the feature's type, from what a request or a command line carries."""
        try:
            if hasattr(raw, "item"):  # scalars of array libraries
                raw = raw.item()
            if self._dtype == "string":
                if isinstance(raw, int) and not isinstance(raw, bool):
                    return str(raw)
                if isinstance(raw, str):
                    return raw
            elif self._dtype == "boolean":
                if isinstance(raw, bool):
                    return raw
                return {"true": True, "false": False}[raw.lower()]
            else:
                number = _number(raw)
                if self._dtype == "number" or self._binned:
                    return number
                if number == int(number):
                    return int(number)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            pass
        wanted = {"string": "text", "boolean": "true or false", "integer": "a whole number"}
        raise TableError(f"{self.name}={raw!r} is not {wanted.get(self._dtype, 'a finite number')}")

    def _spans(self, condition: Any) -> list[tuple[float, float]]:
        """The half-open ranges [low, high) of a condition on a numeric feature without bins."""
        if isinstance(condition, dict):
            return [(condition.get("gte", -math.inf), condition.get("lt", math.inf))]
        values = condition if isinstance(condition, list) else [condition]
        if self._dtype == "integer":
            return [(value, value + 1) for value in values]
        return [(value, math.nextafter(value, math.inf)) for value in values]


class Table:
    """A budget table, indexed for lookup.

    Args:
        document: the parsed table. It is used as it is: do not change it afterwards.
        predictors: name to SHA-256 of the predictors that run here; a feature whose predictor is
            another counts as unreadable. None checks nothing.
        models: the models that are served here; an action of another model is answered by the
            fallback. None checks nothing.

    Raises:
        TableError: the document is no budget table of version 1.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        *,
        predictors: Mapping[str, str] | None = None,
        models: Collection[str] | None = None,
    ) -> None:
        if not isinstance(document, dict) or document.get("kind") != KIND:
            seen = document.get("kind") if isinstance(document, dict) else type(document).__name__
            raise TableError(f"it is no budget table: its kind is {seen!r}, not '{KIND}'.")
        if not str(document.get("schema_version")).startswith("1."):
            raise TableError(
                f"it has schema_version {document.get('schema_version')!r}; this reader knows 1.x."
            )
        self.document = document
        self._predictors = predictors
        self._models = None if models is None else frozenset(models)
        try:
            self._index()
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, TableError):
                raise
            raise TableError(
                f"it does not hold together ({type(error).__name__}: {error}). "
                "`scaling table check` names what is wrong."
            ) from error

    def _index(self) -> None:
        document = self.document
        self.table_id: str = document["table_id"]
        self._rows: list[dict[str, Any]] = document["rows"]
        self._fallback_entry: dict[str, Any] = document["fallback"]
        until = document.get("valid_until")
        self._until = until
        self._expires = None if until is None else datetime.fromisoformat(until).timestamp()
        priced = document["objective"]["priced_resource"]
        maximise = document["objective"].get("maximise", _MISSING)
        if not isinstance(maximise, str):
            raise _faulty("$.objective.maximise", maximise, "text")
        if not isinstance(self.table_id, str):
            raise _faulty("$.table_id", self.table_id, "text")
        _refuse_partial("$.fallback", self._fallback_entry)
        for number, row in enumerate(self._rows):
            _refuse_partial(f"$.rows[{number}]", row)
        self._priced: str | None = priced
        self._marginals = [
            [_worth(rung, priced) for rung in row["ladder"]] if priced else [] for row in self._rows
        ]
        self._axes = axes(document)
        # Rows that name the same features share one dictionary from codes to row; most tables
        # have one. The few rows of very many cells are tried one by one.
        self._exact: dict[tuple[int, ...], dict[tuple[Hashable, ...], int]] = {}
        self._wide: list[tuple[int, list[tuple[int, Collection[Hashable]]]]] = []
        for number, row in enumerate(self._rows):
            named = [
                (place, cells)
                for place, axis in enumerate(self._axes)
                if (cells := axis.cells(row["when"].get(axis.name))) is not None
            ]
            if math.prod(len(cells) for _, cells in named) > _INDEXED_CELLS:
                self._wide.append(
                    (number, [(p, c if isinstance(c, range) else frozenset(c)) for p, c in named])
                )
                continue
            rows = self._exact.setdefault(tuple(place for place, _ in named), {})
            for key in product(*(cells for _, cells in named)):
                rows.setdefault(key, number)

    def lookup(
        self,
        features: Mapping[str, Any],
        price: float | str | None = None,
        *,
        now: datetime | None = None,
        draw: float | None = None,
    ) -> Decision:
        """The budget of one query.

        Args:
            features: what is known of the query, by feature name (or by its `path`): raw numbers,
                also as text. Names that the table does not use are ignored.
            price: live price L of the priced resource, in value per unit. The last rung of the
                row's ladder whose marginal is at least L is served; where there is none, nothing
                (`abstain`) if the row may abstain, else its cheapest rung. Without it, the row's
                own action.
            now: the present instant, with its time zone, to test `valid_until` by; the clock where
                None.
            draw: a number in [0, 1), uniform over queries (a hash of the query's identity, say), that
                tells which share of a divided row this query belongs to; drawn at random where None,
                so that the shares, and with them the budget, hold over many queries.

        Returns:
            The decision; its `reason` says why, where the fallback answers.

        Raises:
            TableError: `draw` is outside [0, 1).
        """
        if draw is not None and not 0 <= draw < 1:
            raise TableError(f"draw={draw!r} is not in [0, 1).")
        if self._expires is not None:
            instant = time.time() if now is None else now.timestamp()
            if instant > self._expires:
                return self._fallback(f"the table expired at {self._until}")
        limit: float | None = None
        if price is not None:
            try:
                limit = _number(price)
            except (TypeError, ValueError):
                limit = -1.0
            if limit < 0:
                return self._fallback(f"price={price!r} is not a finite number of at least 0")
        codes: list[Hashable] = []
        unread: list[str] = []
        for axis in self._axes:
            try:
                codes.append(axis.code(features, self._predictors))
            except TableError as error:
                codes.append(_UNREAD)
                unread.append(str(error))
        number = self._match(codes)
        if number is None:
            shown = ", ".join(f"{a.name}={features[a.name]!r}" for a in self._axes if not unread)
            return self._fallback(unread[0] if unread else f"no row for {shown}")
        row = self._rows[number]
        entry = self._entry(row, self._marginals[number], limit, draw)
        model = entry["action"].get("model")
        if self._models is not None and model is not None and model not in self._models:
            return self._fallback(f"model '{model}' of row '{row['row_id']}' is not served here")
        return Decision(
            row_id=row["row_id"],
            action=copy_json(entry["action"]),
            expected=copy_json(entry["expected"]),
            hard_limits=copy_json(entry.get("hard_limits") or row.get("hard_limits") or {}),
            table_id=self.table_id,
        )

    def _match(self, codes: list[Hashable]) -> int | None:
        for places, rows in self._exact.items():
            number = rows.get(tuple([codes[place] for place in places]))
            if number is not None:
                return number
        for number, named in self._wide:
            if all(codes[place] in cells for place, cells in named):
                return number
        return None

    def _entry(
        self, row: dict[str, Any], marginals: list[float], price: float | None, draw: float | None
    ) -> dict[str, Any]:
        ladder: list[dict[str, Any]] = row["ladder"]
        if price is not None and self._priced is not None:
            for rung in reversed(range(len(ladder))):
                if marginals[rung] >= price:
                    return ladder[rung]
            last: dict[str, Any] = ladder[0]
        elif row.get("split"):
            left = random.random() if draw is None else draw  # noqa: S311
            for part in row["split"]:
                last = ladder[part["rung"]]
                left -= part["share"]
                if left < 0:
                    return last
            # here the query is of those that the shares leave over
        else:
            return row
        return abstention(row["expected"]) if row.get("may_abstain") else last

    def _fallback(self, reason: str) -> Decision:
        entry = self._fallback_entry
        return Decision(
            row_id=None,
            action=copy_json(entry["action"]),
            expected=copy_json(entry["expected"]),
            hard_limits=copy_json(entry.get("hard_limits") or {}),
            table_id=self.table_id,
            reason=reason,
        )


def axes(document: Mapping[str, Any]) -> list[Axis]:
    """The axes of a table's key space, in the order of its features.

    Raises:
        TableError: a row names a feature that the key does not have.
    """
    features = document["key"]["features"]
    names = {feature["name"] for feature in features}
    for row in document["rows"]:
        for name in row["when"]:
            if name not in names:
                raise TableError(
                    f"row '{row['row_id']}' names feature '{name}', which the key does not have."
                )
    return [
        Axis(feature, (row["when"].get(feature["name"]) for row in document["rows"]))
        for feature in features
    ]


def abstention(expected: Mapping[str, Any]) -> dict[str, Any]:
    """Doing nothing, as an entry: value 0, at no cost in the resources that `expected` names."""
    return {
        "action": {"strategy": "abstain", "model": None, "n_samples": 0},
        "expected": {
            "value": {"mean": 0.0},
            "resources": {name: {"mean": 0.0} for name in expected["resources"]},
        },
    }


def copy_json(value: Any) -> Any:
    """A copy that shares nothing with `value`, so that a caller may change what it was given."""
    if isinstance(value, dict):
        return {name: copy_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [copy_json(each) for each in value]
    return value


def _refuse_partial(where: str, entry: Any) -> None:
    """Meet now what a lookup, or who shows its answer, would trip over: a part that is missing."""
    _refuse_entry(where, entry)
    rungs = entry.get("ladder", ())
    for number, rung in enumerate(rungs):
        if not _is_plainly_whole(rung):
            _refuse_entry(f"{where}.ladder[{number}]", rung)
    if "when" in entry:
        entry["row_id"], rungs[0]
    for part in entry.get("split") or ():
        part["share"] + 0.0, rungs[part["rung"]]


def _is_plainly_whole(rung: Any) -> bool:
    """Whether a rung surely passes `_refuse_entry`; a table has many, and nearly all do."""
    try:
        expected = rung["expected"]
        value = expected["value"]
        low, high = value.get("interval", (0, 0))
        numbers = [value["mean"], *[used["mean"] for used in expected["resources"].values()]]
        return (
            type(rung["action"]) is dict
            and type(low) in _NUMBERS
            and type(high) in _NUMBERS
            and all([type(number) in _NUMBERS for number in numbers])  # noqa: C419  (faster)
            and "hard_limits" not in rung
        )
    except (AttributeError, LookupError, TypeError, ValueError):
        return False


def _refuse_entry(where: str, entry: Any) -> None:
    """Raise where an entry has no action, or says not what is expected of it."""
    action = _part(where, entry, "action")
    if not isinstance(action, dict):
        raise _faulty(f"{where}.action", action, "an object")
    if not isinstance(entry.get("hard_limits") or {}, dict):
        raise _faulty(f"{where}.hard_limits", entry["hard_limits"], "an object")
    expected = _part(where, entry, "expected")
    where = f"{where}.expected"
    value = _part(where, expected, "value")
    _refuse_estimate(where, "value", value)
    band = value.get("interval")
    if band is not None and not (
        isinstance(band, list) and len(band) == 2 and all(map(_is_number, band))
    ):
        raise _faulty(f"{where}.value.interval", band, "two numbers")
    resources = _part(where, expected, "resources")
    if not isinstance(resources, dict):
        raise _faulty(f"{where}.resources", resources, "an object")
    for name, used in resources.items():
        _refuse_estimate(where, f"resources.{name}", used)


def _refuse_estimate(where: str, name: str, estimate: Any) -> None:
    mean = _part(f"{where}.{name}", estimate, "mean")
    if mean is not None and not _is_number(mean):
        raise _faulty(f"{where}.{name}.mean", mean, "a number or null")


def _part(where: str, whole: Any, name: str) -> Any:
    if not isinstance(whole, dict):
        raise _faulty(where, whole, "an object")
    part = whole.get(name, _MISSING)
    if part is _MISSING:
        raise _faulty(f"{where}.{name}", part, "there")
    return part


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _faulty(where: str, value: Any, allowed: str) -> TableError:
    seen = "missing" if value is _MISSING else json.dumps(value)[:60]
    return TableError(
        f"{where} is {seen}; it must be {allowed}. `scaling table check` names all that is wrong."
    )


def _worth(rung: Mapping[str, Any], resource: str) -> float:
    """The marginal of a rung; a free one is worth any price, an undefined one none."""
    marginal: float | None = rung.get("marginal")
    if marginal is not None:
        return marginal
    use = rung["expected"]["resources"].get(resource, {}).get("mean")
    return math.inf if use == 0 else -math.inf


def _number(raw: Any) -> float:
    if isinstance(raw, bool) or raw is None:
        raise TypeError
    if isinstance(raw, str):
        try:
            raw = int(raw)
        except ValueError:
            raw = float(raw)
    if not isinstance(raw, int):
        raw = float(raw)
        if not math.isfinite(raw):
            raise ValueError
    return raw  # type: ignore[no-any-return]


def _refuse_constant(name: str) -> float:
    raise TableError(f"it holds {name}, which JSON does not allow; what does not exist is null.")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise TableError(f"it holds {text}, which is beyond the largest number.")
    return value


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise TableError(f"it names '{twice}' twice in one object.")
    return names


def main(arguments: list[str] | None = None) -> int:
    """`python lookup.py TABLE.json name=value ... [--price L] [--draw U]`: prints the decision.

    Returns:
        0, also where the fallback answers; 2 for a file or argument that cannot be used.
    """
    import argparse

    parser = argparse.ArgumentParser(prog="lookup.py", description=__doc__.split("\n", 1)[0])
    parser.add_argument("table", help="budget table (JSON)")
    parser.add_argument("features", nargs="*", metavar="name=value", help="what is known")
    parser.add_argument("--price", help="live price of the priced resource, in value per unit")
    parser.add_argument("--draw", type=float, help="number in [0, 1) for a divided row")
    options = parser.parse_intermixed_args(arguments)
    for feature in options.features:
        if "=" not in feature:
            parser.error(f"'{feature}' is not of the form name=value")
    features = dict(feature.split("=", 1) for feature in options.features)
    try:
        decision = load(options.table).lookup(features, options.price, draw=options.draw)
    except TableError as error:
        parser.error(str(error))
    sys.stdout.write(decision.to_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
