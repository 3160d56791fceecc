"""Rules that rows must keep, as SQL, and the message that names the first row that breaks one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from scaling.data.duck import is_number, is_text, name
from scaling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from scaling.data.readers import Part, Scan


@dataclass(frozen=True)
class Check:
    """One rule.

    Attributes:
        broken: SQL condition, never null, true where a row breaks the rule.
        shown: canonical name to source column, the values that the message quotes.
        rule: what is allowed and what to do.
    """

    broken: str
    shown: dict[str, str]
    rule: str


def number(column: str, kind: str) -> str:
    """`column` as a number in SQL; null where a text is none."""
    quoted = name(column)
    if is_number(kind):
        return quoted
    if kind == "BOOLEAN":
        return f"CAST({quoted} AS TINYINT)"
    return f"TRY_CAST({quoted} AS DOUBLE)"


def flag(column: str, kind: str) -> str:
    """`column` as 0 or 1 in SQL; words true and false are understood."""
    if not is_text(kind):
        return number(column, kind)
    quoted = name(column)
    return (
        f"CASE lower({quoted}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 "
        f"ELSE TRY_CAST({quoted} AS DOUBLE) END"
    )


def no_number(column: str, kind: str, *, value: str | None = None) -> str:
    """Condition: something stands in `column`, but no finite number."""
    value = value or number(column, kind)
    if kind in {"FLOAT", "DOUBLE"}:
        return f"coalesce(NOT isfinite({value}), false)"
    if is_number(kind) or kind == "BOOLEAN":
        return "false"
    return f"({name(column)} IS NOT NULL AND coalesce(NOT isfinite({value}), true))"


def empty(column: str) -> str:
    """Condition: nothing stands in `column`."""
    return f"{name(column)} IS NULL"


def either(checks: Sequence[Check]) -> str:
    """Condition: a row breaks any of the rules."""
    return " OR ".join(f"({check.broken})" for check in checks) or "false"


def refuse(con: duckdb.DuckDBPyConnection, scan: Scan, checks: Sequence[Check]) -> NoReturn:
    """Names the first row that breaks a rule.

    Raises:
        InputError: always.
    """
    con.execute("SET preserve_insertion_order = true")
    for part in scan.parts:
        there = [c for c in checks if set(c.shown.values()) <= set(part.columns)]
        if not there:
            continue
        numbered = _numbered(part)
        found = con.execute(
            f'SELECT min("row number") FROM ({numbered}) WHERE {either(there)}'
        ).fetchone()
        if found is None or found[0] is None:
            continue
        row = int(found[0])
        for check in there:
            shown = ", ".join(f"CAST({name(c)} AS VARCHAR)" for c in check.shown.values())
            values = con.execute(
                f'SELECT {shown} FROM ({numbered}) WHERE "row number" = {row} AND ({check.broken})'
            ).fetchone()
            if values is not None:
                said = " and ".join(
                    f"{_named(ours, theirs)} is {_quoted(value)}"
                    for (ours, theirs), value in zip(check.shown.items(), values, strict=True)
                )
                raise InputError(f"{part.place(row)}: {said}; {check.rule}")
    raise InputError(  # a column that is missing from some files only
        f"{scan.where}: {'; '.join(sorted({check.rule for check in checks}))} Some of the files "
        "lack a column that the others have."
    )


def places(
    con: duckdb.DuckDBPyConnection, scan: Scan, needed: set[str], same: Mapping[str, object]
) -> str:
    """Where the first two rows stand that meet conditions, for messages.

    Args:
        con: the database of `scan`.
        scan: the rows.
        needed: columns that the conditions use.
        same: condition with one parameter, to its value.
    """
    con.execute("SET preserve_insertion_order = true")
    found: list[str] = []
    for part in scan.parts:
        if not needed <= set(part.columns):
            continue
        rows = con.execute(
            f'SELECT "row number" FROM ({_numbered(part)}) WHERE {" AND ".join(same)} '
            "ORDER BY 1 LIMIT 2",
            list(same.values()),
        ).fetchall()
        found += [part.place(int(row)) for (row,) in rows]
    return " and ".join(found[:2]) if found else scan.where


def _numbered(part: Part) -> str:
    return f'SELECT *, row_number() OVER () AS "row number" FROM ({part.sql})'


def _named(ours: str, theirs: str) -> str:
    return ours if ours == theirs else f"{ours} (column '{theirs}')"


def _quoted(value: str | None) -> str:
    if value is None:
        return "empty"
    return f"'{value[:80]}'"
