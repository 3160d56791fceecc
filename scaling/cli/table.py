"""`scaling table`: check a budget table, look a query up in it, or compare two."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Group
from scaling.errors import CheckError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.tables import BudgetTable


@click.group("table", cls=Group)
def command() -> None:
    r"""Check a budget table, look up what a query may spend, or compare two tables.

    \b
    scaling table check table.json
    scaling table lookup table.json level=hard
    scaling table diff old.json new.json
    """


@command.command("check")
@click.argument("path", metavar="TABLE.json")
@options.as_json
def check(path: str, *, as_json: bool) -> None:
    r"""Check a table: its schema, and what no schema can say.

    \b
    scaling table check table.json

    Exit code 5 where something is wrong; each finding has a code, a place and a message.
    """
    table = _load(path)
    report = table.check()
    if as_json:
        click.echo(show.document(report.to_json()), nl=False)
    elif report.ok:
        held = [name.replace("_", " ") for name, holds in report.guarantees.items() if holds]
        show.line("sound", f"{path}, {table.table_id}")
        for name in held:
            show.line("holds", name)
        for name, holds in report.guarantees.items():
            if not holds:
                show.line("not held", name.replace("_", " "))
        words = ["scaling", "table", "lookup", path, *_example(table.document)]
        show.following(shlex.join(words))
    else:
        show.table(
            ("finding", "where", "what is wrong"),
            ((f.code, f.where, f.message) for f in report.findings),
        )
    if not report.ok:
        raise CheckError(
            f"{path}: {len(report.findings)} finding(s). Do not serve this table; "
            "write it anew with `scaling allocate`."
        )


@command.command("lookup")
@click.argument("path", metavar="TABLE.json")
@click.argument("features", nargs=-1, metavar="NAME=VALUE...")
@click.option(
    "--price", metavar="L", help="Live price of the priced resource, in value per unit: 2e-5."
)
@click.option(
    "--draw",
    type=click.FloatRange(0, 1, max_open=True),
    help="Number in [0, 1) that tells which share of a divided class the query is in.",
)
@options.as_json
def lookup(
    path: str, features: tuple[str, ...], *, price: str | None, draw: float | None, as_json: bool
) -> None:
    r"""Look up what a query may spend.

    \b
    scaling table lookup table.json level=hard
    scaling table lookup table.json level=hard --price 2e-5

    What no row answers gets the fallback, with the reason, and exit code 0.
    """
    known = options.each_pair(features, "NAME=VALUE")
    table = _load(path)
    decision = table.lookup(known, price, draw=draw)
    if as_json:
        click.echo(show.document(decision.to_json()), nl=False)
        return
    show.line("row", decision.row_id or f"fallback: {decision.reason}")
    row: dict[str, Any] = next(
        (r for r in table.document["rows"] if r["row_id"] == decision.row_id), {}
    )
    if row.get("split") and price is None:
        shares = ", ".join(
            f"{part['share']:.1%} of its queries {_words(row['ladder'][part['rung']]['action'])}"
            for part in row["split"]
        )
        how = "drawn at random, --draw U repeats it" if draw is None else f"--draw {draw:g}"
        show.line("divided", f"{shares}; this answer: {how}")
    show.line("action", _words(decision.action))
    expected = decision.expected
    maximised = table.document["objective"]["maximise"].replace("_", " ")
    value = expected["value"]
    band = show.interval(value["interval"]) if value.get("interval") else ""
    oracle = ", if every right answer is recognised" * bool(expected.get("assumes_oracle_verifier"))
    show.line("value", f"{maximised} {show.number(value['mean'])} {band}".rstrip() + oracle)
    spent = (
        f"{show.amount(each['mean'], 4)} {name}" for name, each in expected["resources"].items()
    )
    show.line("cost", ", ".join(spent) + " expected a query")
    if decision.hard_limits:
        show.line("limits", _words(decision.hard_limits))
    show.line("table", decision.table_id)


@command.command("diff")
@click.argument("old", metavar="OLD.json")
@click.argument("new", metavar="NEW.json")
@options.as_json
def diff(old: str, new: str, *, as_json: bool) -> None:
    r"""Tell what moved from one table to another, and why.

    \b
    scaling table diff old.json new.json

    A row's action moves with the shadow price, with what its actions are worth or cost, or with
    both; each row says which. Exit code 0 whether or not the tables differ.
    """
    from scaling.tables.diff import diff as difference

    if old == new == "-":
        raise UsageError("only one of the two tables can be read from standard input.")
    before, after = _load(old), _load(new)
    found = difference(before, after)
    if as_json:
        click.echo(show.document(found.document()), nl=False)
        return
    show.line("old", f"{old}, {found.old}")
    show.line("new", f"{new}, {found.new}")
    what = after.document["objective"]["maximise"].replace("_", " ")
    show.line("value", f"{what} {_moved(found.value)}")
    for name, pair in found.prices.items():
        if pair["before"] is not None or pair["after"] is not None:
            show.line("price", f"of {name}: {_moved(pair)}")
    for each in found.inputs:
        show.line("input", f"{each['what']}: {_before_after(each['before'], each['after'])}")
    moved = [row for row in found.rows if row["status"] != "same"]
    if not moved:
        show.line("rows", f"all {len(found.rows):,} rows serve what they served")
        return
    show.line("rows", f"{len(moved):,} of {len(found.rows):,} rows are not what they were")
    resource = after.document["objective"]["priced_resource"] or "cost"
    show.table(
        ("row", "action before", "action after", what, resource, "why"),
        (
            (
                row["row_id"],
                _served(row["action"]["before"]),
                _served(row["action"]["after"], row["action"]["before"]),
                _step(row["value"]),
                _step(row["cost"]),
                row["why"],
            )
            for row in moved[: show.MOST_ROWS]
        ),
    )
    show.more(len(moved), "rows")


def _moved(pair: Mapping[str, float | None]) -> str:
    """`0.6123 before, 0.6312 after (+3.1%)`."""
    before, after = pair["before"], pair["after"]
    text = f"{show.number(before)} before, {show.number(after)} after"
    if before and after is not None:
        text += f" ({100 * (after / before - 1):+.3g}%)" if before != after else " (the same)"
    return text


def _step(pair: Mapping[str, float | None]) -> str:
    before, after = show.amount(pair["before"], 4), show.amount(pair["after"], 4)
    return before if before == after else f"{before} → {after}"


def _served(action: Any, before: Any = None) -> str:
    if action is None:
        return show.MISSING
    if action == before:
        return "the same"
    if isinstance(action, list):
        return "; ".join(f"{part['share']:.1%} of it {_served(_less(part))}" for part in action)
    return _words(_less(action))


def _less(action: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in action.items() if name not in ("share", "strategy")}


def _before_after(before: Any, after: Any) -> str:
    """The parts of two plain values that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = [n for n in {**before, **after} if before.get(n) != after.get(n)]
        return ", ".join(f"{n} {_before_after(before.get(n), after.get(n))}" for n in names)
    return f"{_plainly(before)} → {_plainly(after)}"


def _plainly(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plainly, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{n} {_plainly(v)}" for n, v in value.items() if v is not None) or "none"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return show.amount(value)
    if value is None:
        return "none"
    digest = isinstance(value, str) and len(value) == 64
    return f"{value[:12]}…" if digest else str(value)


def _load(path: str) -> BudgetTable:
    from scaling.tables import BudgetTable

    if path == "-":
        return BudgetTable.from_json(options.standard_input())
    return BudgetTable.load(path)


def _words(fields: Mapping[str, Any]) -> str:
    fields = {k: v for k, v in fields.items() if v not in (None, {"kind": "none"})}
    return ", ".join(f"{name}={value}" for name, value in fields.items())


def _example(document: Mapping[str, Any]) -> list[str]:
    """Arguments of a lookup that the first row answers."""
    features = {f["name"]: f for f in document["key"]["features"]}
    words = []
    for name, value in document["rows"][0]["when"].items():
        first = value[0] if isinstance(value, list) else value
        cuts = features[name].get("bins")
        if cuts:  # what a row names is the number of a bin, what a request carries is a value
            first = cuts[first - 1] if first else _below(cuts[0])
        elif isinstance(first, dict):
            whole = features[name]["dtype"] == "integer"
            first = first["gte"] if "gte" in first else _below(first["lt"], whole=whole)
        words.append(f"{name}={first}")
    return words


def _below(cut: float, *, whole: bool = False) -> float:
    """A likely value below a cut: half of one above 0, so that shares and sizes stay possible."""
    value = cut / 2 if cut > 0 else cut - 1
    return math.floor(value) if whole else value
