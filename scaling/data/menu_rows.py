"""Menu rows: class columns, action columns, a value and its cost in each resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling.curves import RESOURCES, Menu
from scaling.data.checks import Check, either, empty, no_number, number, refuse
from scaling.data.duck import connect, is_plain, is_text, name
from scaling.data.schema import KNOBS, WORDS, listed, renamed
from scaling.data.statistics import Key, codes_of, fetch_keys, numeric_text
from scaling.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    from numpy.typing import NDArray

    from scaling.data.readers import Scan

_TABLE = "menu_rows"
_OTHER_UNITS = {
    "cost": "usd",
    "price": "usd",
    "dollars": "usd",
    "cost_usd": "usd",
    "latency": "seconds",
    "latency_s": "seconds",
    "runtime_s": "seconds",
    "time": "seconds",
    "output_tokens": "tokens",
    "energy": "joules",
}


def read_menu(
    source: Any,
    rename: Mapping[str, str] | None = None,
    *,
    maximise: Literal["accuracy", "coverage"] = "accuracy",
) -> Menu:
    """Reads a menu: one row for each class and action.

    Columns: `value` in [0, 1]; at least one of `samples, tokens, usd, flops, bytes, eflops, seconds,
    joules`, the expected use per query; `model` and knobs, which make the action (`samples` is both
    a knob and a resource, and 1 or more: doing nothing is an option of `allocate`); where known
    `value_se`, `weight`, a class's share of the traffic, and `maximise`, what the values are; all
    other columns name the class. Rungs of a class are sorted by `samples` or the first resource.

    Args:
        source: as for `scaling.read`.
        rename: {theirs: ours}.
        maximise: what `value` is, where no column says so.

    Raises:
        InputError: for a missing column or value, a negative or infinite number, a column of an
            unknown unit, less than one sample, the same action twice in a class, or several weights of one class.
    """
    from scaling.data.read import open_scan

    with connect() as con, open_scan(con, source) as scan:
        return _menu(con, scan, rename, maximise)


def _menu(
    con: duckdb.DuckDBPyConnection,
    scan: Scan,
    rename: Mapping[str, str] | None,
    maximise: Literal["accuracy", "coverage"],
) -> Menu:
    where = scan.where
    column = renamed(tuple(scan.columns), rename, where)
    if "value" not in column:
        raise InputError(
            f"{where}: no column 'value', the expected value of an action; columns seen: "
            f"{listed(column)}.{did_you_mean('value', column)} Rename with --map theirs=value."
        )
    actions = [c for c in ("model", *KNOBS, *WORDS) if c in column]
    resources = [r for r in RESOURCES if r in column]
    if "maximise" in column:
        maximise = _maximise(con, scan, column["maximise"])
    taken = {"value", "value_se", "weight", "maximise", *RESOURCES, *actions}
    classes = [c for c in column if c not in taken]
    for own in classes:
        kind = scan.columns[column[own]]
        unit = _OTHER_UNITS.get(own.lower())
        if unit is not None:
            raise InputError(
                f"{where}: column '{own}' is no resource; resources are {listed(RESOURCES)}. "
                f"Rename it with --map {own}={unit} if that is its unit, or drop it."
            )
        if not is_plain(kind):
            raise InputError(
                f"{where}: column '{own}' holds lists or records; a class is a text or a whole "
                "number. Drop the column."
            )

    if not resources:
        near = next((hint for own in classes if (hint := did_you_mean(own, RESOURCES))), "")
        raise InputError(
            f"{where}: no column of a resource; a menu has at least one of {listed(RESOURCES)}. "
            f"Columns seen: {listed(column)}.{near} Rename with --map theirs=tokens."
        )

    def typed(c: str) -> str:
        return number(column[c], scan.columns[column[c]])

    checks = []
    amounts = [*resources, *(c for c in ("value_se", "weight", *KNOBS) if c in column)]
    amounts = list(dict.fromkeys(amounts))
    for c in ("value", *resources):
        rule = "every action has a value and a cost in each resource. Fill it in."
        checks.append(Check(empty(column[c]), {c: column[c]}, rule))
    kind = scan.columns[column["value"]]
    outside = f"coalesce({typed('value')} NOT BETWEEN 0 AND 1, false)"
    rule = "a value is a number between 0 and 1 (divide per cents by 100)."
    checks.append(
        Check(f"{no_number(column['value'], kind)} OR {outside}", {"value": column["value"]}, rule)
    )
    for c in amounts:
        broken = (
            f"{no_number(column[c], scan.columns[column[c]])} OR coalesce({typed(c)} < 0, false)"
        )
        checks.append(Check(broken, {c: column[c]}, "it must be a finite number, not negative."))
    for c in (c for c in KNOBS if c in column):
        broken = f"coalesce({typed(c)} <> floor({typed(c)}), false)"
        checks.append(Check(broken, {c: column[c]}, "a knob is a whole number."))
    if "samples" in column:
        rule = (
            "a menu starts at one sample. Drop the row; --allow-skip puts doing nothing on offer, "
            "at value 0 and cost 0."
        )
        none = f"coalesce({typed('samples')} = 0, false)"
        checks.append(Check(none, {"samples": column["samples"]}, rule))

    labels: dict[str, str] = {}
    for c in (*classes, *(a for a in actions if a not in KNOBS)):
        labels[c] = (
            "VARCHAR" if c in {"model", "task", "problem", *WORDS} else scan.columns[column[c]]
        )
    items = [f"{name(column[c])} AS {name(c)}" for c in labels]
    items += [f"CAST({typed(c)} AS DOUBLE) AS {name('number ' + c)}" for c in ("value", *amounts)]
    con.execute(
        f"CREATE TEMP TABLE {_TABLE} AS SELECT {', '.join(items)}, ({either(checks)}) AS bad "
        f"FROM ({scan.sql})"
    )
    rows, bad = con.execute(f"SELECT count(*), count_if(bad) FROM {_TABLE}").fetchone() or (0, 0)
    if not rows:
        raise InputError(f"{where}: there is a header but no row; a menu has a row per action.")
    if bad:
        refuse(con, scan, checks)
    asked = tuple(c for c in classes if is_text(labels[c]) and c not in {"task", "problem"})
    numeric = numeric_text(con, _TABLE, asked)
    keys = fetch_keys(con, _TABLE, labels, numeric)
    fetched = con.execute(
        "SELECT "
        + ", ".join(f"{name('number ' + c)} AS {name(c)}" for c in ("value", *amounts))
        + f" FROM {_TABLE}"
    ).fetchnumpy()
    numbers = {
        c: np.asarray(np.ma.filled(values, np.nan), np.float64) for c, values in fetched.items()
    }
    for c in classes:
        if keys[c].levels.dtype.kind == "f":
            raise InputError(
                f"{where}: column '{c}' holds fractions or gaps ({keys[c].levels[0]:g}, ...), and "
                "is no resource; a class is a text or a whole number (the index of a bin). Rename "
                f"it to one of {listed(RESOURCES)} with --map {c}=tokens, or drop it."
            )
    return _assembled(where, keys, numbers, classes, actions, resources, int(rows), maximise)


def _maximise(
    con: duckdb.DuckDBPyConnection, scan: Scan, theirs: str
) -> Literal["accuracy", "coverage"]:
    found = con.execute(
        f"SELECT DISTINCT CAST({name(theirs)} AS VARCHAR) FROM ({scan.sql}) ORDER BY 1"
    ).fetchall()
    if found == [("coverage",)]:
        return "coverage"
    if found != [("accuracy",)]:
        raise InputError(
            f"{scan.where}: maximise is {listed([str(value) for (value,) in found])}; it is accuracy or coverage, "
            "the same in every row."
        )
    return "accuracy"


def _assembled(
    where: str,
    keys: Mapping[str, Key],
    numbers: Mapping[str, NDArray[np.float64]],
    classes: list[str],
    actions: list[str],
    resources: list[str],
    rows: int,
    maximise: Literal["accuracy", "coverage"],
) -> Menu:
    of, count = codes_of({c: keys[c] for c in classes}, rows)
    knobs = [a for a in actions if a in KNOBS]
    settings = {"class": Key(np.arange(count), of)}
    settings |= {a: keys[a] for a in actions if a not in KNOBS}
    for knob in knobs:
        levels, codes = np.unique(numbers[knob], return_inverse=True)
        settings[knob] = Key(levels, codes.astype(np.int64))
    code, distinct = codes_of(settings, rows)

    def about(row: int) -> str:
        shown = {c: keys[c].item(int(keys[c].codes[row])) for c in classes}
        shown |= {a: settings[a].item(int(settings[a].codes[row])) for a in actions}
        return ", ".join(f"{c}={v}" for c, v in shown.items() if v not in {"", None})

    if distinct < rows:
        row = int(np.flatnonzero(np.bincount(code)[code] > 1)[0])
        raise InputError(
            f"{where}: the action {about(row) or '(without a name)'} stands in several rows; an "
            "action is one row of its class. Drop the copy, or add the column (model or a knob of "
            f"{listed(KNOBS)}) that tells the actions apart."
        )
    for knob in knobs:
        gaps = np.flatnonzero(np.isnan(numbers[knob]))
        if len(gaps):
            raise InputError(
                f"{where}: {knob} is empty for {about(int(gaps[0])) or 'an action'}; every action "
                "has a value for each knob. Fill it in (0 for unused)."
            )
    order = np.lexsort([code, numbers[resources[0]], of])
    of = of[order]
    start = np.searchsorted(of, np.arange(count + 1)).astype(np.int64)
    top = order[start[:-1]]
    weight = np.ones(count)
    if "weight" in numbers:
        weights = numbers["weight"][order]
        weight = weights[start[:-1]]
        differs = np.flatnonzero(~(weights == weight[of]))
        if len(differs):
            raise InputError(
                f"{where}: the weight of {about(int(order[differs[0]])) or 'the class'} is "
                f"{weights[differs[0]]:g}, and {weight[of[differs[0]]]:g} in another row of its "
                "class; a class has one weight. Correct the column."
            )
        if not weight.sum() > 0:
            raise InputError(f"{where}: all weights are 0; give some class a share of the traffic.")
    return Menu(
        key={c: keys[c].values[top] for c in classes},
        weight=weight,
        curve=np.arange(count, dtype=np.int64),
        start=start,
        value=numbers["value"][order],
        cost={r: numbers[r][order] for r in resources},
        action={
            a: numbers[a][order].astype(np.int64) if a in KNOBS else keys[a].values[order]
            for a in actions
        },
        maximise=maximise,
        value_se=numbers["value_se"][order] if "value_se" in numbers else None,
    )
