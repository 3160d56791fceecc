"""Count rows (one a problem), curve rows (one a point) and runtime rows as columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaling.data.attempts import two_clusters
from scaling.data.checks import Check, either, empty, no_number, number, places, refuse
from scaling.data.duck import is_plain, is_text, name
from scaling.data.schema import (
    IDENTITY,
    LONGEST_LABEL,
    MILLISECONDS,
    NUMERIC,
    SIZES,
    STOPPING,
    TEXT,
    USE,
    WORK,
    Layout,
)
from scaling.data.statistics import (
    TRUTHS,
    Statistics,
    added,
    codes_of,
    fetch_keys,
    numeric_text,
    ordered,
)
from scaling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from scaling.data.readers import Scan

_COUNT = "it must be a whole number, 0 or more. Correct the row or drop it."
_AMOUNT = "it must be a finite number, not negative, or empty where unknown. Correct the row."
_TABLE = "typed"


def read_counts(
    con: duckdb.DuckDBPyConnection, scan: Scan, layout: Layout
) -> tuple[Statistics, list[str]]:
    """Per-problem statistics of count rows, and notes for the report.

    Raises:
        InputError: for a row that breaks a rule of count rows; for two rows about one problem.
    """
    whole = [c for c in ("n", "c", "accepted", "accepted_correct") if c in layout.column]
    checks = [_filled(layout, "problem")]
    for column in whole:
        if column in {"n", "c"}:
            checks.append(_filled(layout, column))
        checks += _whole(scan, layout, column)
    for column in (*USE, *_knobs(layout)):
        checks += _amount(scan, layout, column)
    for part, of in (("c", "n"), ("accepted", "n"), ("accepted_correct", "accepted")):
        checks += _part_of(scan, layout, part, of)
    statistics, notes = _read(con, scan, layout, checks, whole, USE)
    numbers = dict(statistics.numbers)
    numbers["rows"], numbers["missing"] = numbers["n"], np.zeros(len(statistics), np.int64)
    for resource in USE:
        if resource in numbers:
            known = ~np.isnan(numbers[resource])
            numbers[f"{resource}_n"] = np.where(known, numbers["n"], 0)
            numbers[resource] = np.where(known, numbers[resource], 0.0)
    statistics = Statistics(statistics.keys, numbers)
    _once(con, scan, layout, statistics)
    _one_cluster(scan, statistics)
    return added(statistics), notes


def read_curve(
    con: duckdb.DuckDBPyConnection, scan: Scan, layout: Layout
) -> tuple[Statistics, list[str]]:
    """Points of curves, and notes for the report.

    Raises:
        InputError: for a row that breaks a rule of curve rows.
    """
    theirs, kind = layout.column["accuracy"], scan.columns[layout.column["accuracy"]]
    value = number(theirs, kind)
    rule = "an accuracy is a number between 0 and 1 (divide per cents by 100). Correct the row."
    wrong = f"{no_number(theirs, kind)} OR coalesce({value} NOT BETWEEN 0 AND 1, false)"
    checks = [_filled(layout, "accuracy"), Check(wrong, {"accuracy": theirs}, rule)]
    for column in _knobs(layout):
        checks += [_filled(layout, column), *_amount(scan, layout, column)]
    whole = [c for c in ("queries",) if c in layout.column]
    for column in whole:
        checks += [_filled(layout, column), *_whole(scan, layout, column)]
    statistics, notes = _read(con, scan, layout, checks, whole, ("accuracy",))
    return added_points(scan, statistics), notes


def read_runtime(
    con: duckdb.DuckDBPyConnection, scan: Scan, layout: Layout
) -> tuple[Statistics, list[str]]:
    """Measured runtimes in seconds, and notes for the report.

    Raises:
        InputError: for a row that breaks a rule of runtime rows.
    """
    present = [c for c in (*SIZES, *WORK, "runtime_s", MILLISECONDS) if c in layout.column]
    checks = [_filled(layout, c) for c in present]
    for column in present:
        checks += _amount(scan, layout, column)
        if column not in {"input_tokens", "output_tokens", "context", *WORK}:
            checks.append(_above_zero(scan, layout, column))
    statistics, notes = _read(con, scan, layout, checks, (), present, grouped=False)
    numbers = dict(statistics.numbers)
    if MILLISECONDS in numbers:
        numbers["runtime_s"] = numbers.pop(MILLISECONDS) / 1000
        notes.append(f"column '{layout.column[MILLISECONDS]}' holds milliseconds: divided by 1,000")
    keys = ordered(statistics.keys)
    codes, _ = codes_of(keys, len(statistics))
    order = np.lexsort([*(numbers[c] for c in sorted(numbers)), codes])
    return Statistics(keys, numbers).take(order), notes


def added_points(scan: Scan, statistics: Statistics) -> Statistics:
    """Sorted points; one point is given once."""
    statistics = Statistics(ordered(statistics.keys), statistics.numbers)
    codes, count = codes_of(statistics.keys, len(statistics))
    if count < len(statistics):
        twice = int(np.flatnonzero(np.bincount(codes) > 1)[0])
        row = int(np.flatnonzero(codes == twice)[0])
        raise InputError(
            f"{scan.where}: the point {statistics.label(row)} is given more than once; a point of a "
            "curve is one row. Drop the copies, or add the column that tells them apart."
        )
    return statistics.take(np.argsort(codes, kind="stable"))


def _filled(layout: Layout, column: str) -> Check:
    theirs = layout.column[column]
    rule = f"every row has a value for {column}. Fill it in, or drop the row."
    return Check(empty(theirs), {column: theirs}, rule)


def _whole(scan: Scan, layout: Layout, column: str) -> list[Check]:
    theirs = layout.column[column]
    kind = scan.columns[theirs]
    value = number(theirs, kind)
    wrong = f"{value} < 0 OR {value} <> floor({value}) OR {value} > 9e15"
    broken = f"{no_number(theirs, kind)} OR coalesce({wrong}, false)"
    return [Check(broken, {column: theirs}, _COUNT)]


def _amount(scan: Scan, layout: Layout, column: str) -> list[Check]:
    if column not in layout.column:
        return []
    theirs = layout.column[column]
    kind = scan.columns[theirs]
    broken = f"{no_number(theirs, kind)} OR coalesce({number(theirs, kind)} < 0, false)"
    return [Check(broken, {column: theirs}, _AMOUNT)]


def _above_zero(scan: Scan, layout: Layout, column: str) -> Check:
    theirs = layout.column[column]
    value = number(theirs, scan.columns[theirs])
    rule = (
        f"{column} is above zero. Correct the row, or drop it: what failed took no time of its own."
    )
    return Check(f"coalesce({value} <= 0, false)", {column: theirs}, rule)


def _part_of(scan: Scan, layout: Layout, part: str, of: str) -> list[Check]:
    if part not in layout.column or of not in layout.column:
        return []
    shown = {column: layout.column[column] for column in (part, of)}
    low, high = (number(theirs, scan.columns[theirs]) for theirs in shown.values())
    rule = f"{part} cannot exceed {of}. Correct the row, or the columns' names (--map)."
    return [Check(f"coalesce({low} > {high}, false)", shown, rule)]


def _knobs(layout: Layout) -> list[str]:
    return [c for c in NUMERIC if c in layout.column]


def _read(
    con: duckdb.DuckDBPyConnection,
    scan: Scan,
    layout: Layout,
    checks: list[Check],
    whole: Sequence[str],
    real: Iterable[str],
    *,
    grouped: bool = True,
) -> tuple[Statistics, list[str]]:
    notes = list(layout.notes)
    labels = {}
    own = []
    for column in (*IDENTITY, "cluster", *STOPPING, *layout.knobs, *sorted(layout.classes)):
        if column not in layout.column:
            continue
        kind = scan.columns[layout.column[column]]
        if column in _knobs(layout):
            labels[column] = "DOUBLE"
        elif column in TEXT or column == "hardware":
            labels[column] = "VARCHAR"
        elif not is_plain(kind):
            notes.append(f"column '{column}' holds lists or records: left out")
        else:
            labels[column] = kind
            own.append(column)
    items = []
    for column, kind in labels.items():
        theirs = layout.column[column]
        value = number(theirs, scan.columns[theirs]) if column in _knobs(layout) else name(theirs)
        items.append(f"CAST({value} AS {kind}) AS {name(column)}")
    amounts = [c for c in real if c in layout.column]
    for column in (*whole, *amounts):
        theirs = layout.column[column]
        items.append(f"{number(theirs, scan.columns[theirs])} AS {name('number ' + column)}")
    items.append(f"({either(checks)}) AS bad")
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {_TABLE} AS SELECT {', '.join(items)} FROM ({scan.sql})"
    )
    rows, bad = con.execute(f"SELECT count(*), count_if(bad) FROM {_TABLE}").fetchone() or (0, 0)
    if not rows:
        raise InputError(f"{scan.where}: there is a header but no row; nothing to read.")
    if bad:
        refuse(con, scan, checks)
    for column in tuple(own):
        quoted = f"max(length(CAST({name(column)} AS VARCHAR)))"
        longest = (con.execute(f"SELECT {quoted} FROM {_TABLE}").fetchone() or (None,))[0]
        if longest is None or longest > LONGEST_LABEL:
            del labels[column]
            own.remove(column)
            what = "is empty" if longest is None else "holds long texts, no labels"
            notes.append(f"column '{column}' {what}: left out")
    numeric = numeric_text(con, _TABLE, tuple(c for c in own if is_text(labels[c])))
    missing = [c for c in ("task", "model") if grouped and c not in labels]
    for column in missing:
        con.execute(f"ALTER TABLE {_TABLE} ADD COLUMN {column} VARCHAR DEFAULT ''")
        labels[column] = "VARCHAR"
    keys = fetch_keys(con, _TABLE, labels, numeric)
    fetched = con.execute(
        "SELECT "
        + ", ".join(
            [f"CAST({name('number ' + c)} AS BIGINT) AS {name(c)}" for c in whole]
            + [f"CAST({name('number ' + c)} AS DOUBLE) AS {name(c)}" for c in amounts]
        )
        + f" FROM {_TABLE}"
    ).fetchnumpy()
    numbers = {
        column: np.ma.filled(values, np.nan) if np.ma.isMaskedArray(values) else np.asarray(values)
        for column, values in fetched.items()
    }
    return Statistics(keys, numbers), notes


def _once(
    con: duckdb.DuckDBPyConnection, scan: Scan, layout: Layout, statistics: Statistics
) -> None:
    """Refuses two rows about one problem under one setting."""
    codes, count = codes_of(statistics.keys, len(statistics))
    if count == len(statistics):
        return
    twice = int(np.flatnonzero(np.bincount(codes, minlength=count) > 1)[0])
    row = int(np.flatnonzero(codes == twice)[0])
    about = {
        column: statistics.keys[column].item(int(statistics.keys[column].codes[row]))
        for column in statistics.keys
        if column in layout.column
    }
    same: dict[str, object] = {}
    for column, value in about.items():
        theirs = layout.column[column]
        if isinstance(value, str):
            said = f"coalesce(CAST({name(theirs)} AS VARCHAR), '')"
            truth = value in TRUTHS and column not in TEXT
            same[f"lower({said}) = ?" if truth else f"{said} = ?"] = value
        else:
            as_number = number(theirs, scan.columns[theirs])
            same[f"CAST({as_number} AS DOUBLE) IS NOT DISTINCT FROM ?"] = value
    where = places(con, scan, {layout.column[column] for column in about}, same)
    raise InputError(
        f"{where}: {statistics.label(row)} stands in two rows; a problem has one row for each model "
        "and setting. Drop the copy, add the column that tells the rows apart, or read shards of "
        "one log one by one and merge them."
    )


def _one_cluster(scan: Scan, statistics: Statistics) -> None:
    if "cluster" not in statistics.keys:
        return
    who = {c: statistics.keys[c] for c in ("task", "problem")}
    codes, count = codes_of(who, len(statistics))
    cluster = statistics.keys["cluster"]
    low, high = np.full(count, len(cluster.levels)), np.full(count, -1)
    np.minimum.at(low, codes, cluster.codes)
    np.maximum.at(high, codes, cluster.codes)
    if np.any(low != high):
        worst = int(np.flatnonzero(low != high)[0])
        row = int(np.flatnonzero(codes == worst)[0])
        task, problem = (str(statistics.keys[c].values[row]) for c in ("task", "problem"))
        one, other = str(cluster.levels[low[worst]]), str(cluster.levels[high[worst]])
        raise InputError(two_clusters(scan.where, task, problem, one, other))
