"""Limits by the command line: options for what fits a line, and a TOML file for the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options
from scaling.errors import InputError, ScalingError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from scaling.allocators.limit import Limit

_KEYS = {
    "limit": ("resource", "scope", "max", "min", "queries", "where"),
    "value": ("scope", "min", "where"),
    "share": ("action", "max", "min", "where"),
}
_EXAMPLE = 'for example [[limit]] with resource = "usd" and max = 0.01'


def given(command: Any) -> Any:
    """The options that state limits."""
    for option in reversed(
        (
            click.option(
                "--limit",
                "limits",
                multiple=True,
                metavar="RESOURCE[:SCOPE]=X",
                help="A further limit; SCOPE is average, each, total, or a percentile of queries: "
                "seconds:p95=2. Repeatable.",
            ),
            click.option(
                "--min-value",
                "min_values",
                multiple=True,
                metavar="[COL=VALUE,...:]X",
                help="Every class (of these) gets an action worth at least X. Repeatable.",
            ),
            click.option(
                "--floor",
                "floors",
                multiple=True,
                metavar="[COL=VALUE,...:]X",
                help="The mean value over these classes is at least X: level=hard:0.5. Repeatable.",
            ),
            click.option(
                "--max-share",
                "max_shares",
                multiple=True,
                metavar="MODEL=X",
                help="The model serves at most this share of the queries. Repeatable.",
            ),
            click.option(
                "--min-share",
                "min_shares",
                multiple=True,
                metavar="MODEL=X",
                help="The model serves at least this share of the queries. Repeatable.",
            ),
            click.option(
                "--constraints",
                metavar="FILE.toml",
                help="Limits in a file: tables [[limit]], [[value]] and [[share]].",
            ),
        )
    ):
        command = option(command)
    return command


def asked(
    *,
    limits: Sequence[str],
    min_values: Sequence[str],
    floors: Sequence[str],
    max_shares: Sequence[str],
    min_shares: Sequence[str],
    constraints: str | None,
    queries: int | None,
) -> list[Limit]:
    """All limits that the options and the file state."""
    from scaling.allocators import Limit

    found = [Limit.parse(text, queries=queries) for text in limits]
    found += [_value(text, "--min-value", "each") for text in min_values]
    found += [_value(text, "--floor", "average") for text in floors]
    found += [_share(text, "--max-share", "max") for text in max_shares]
    found += [_share(text, "--min-share", "min") for text in min_shares]
    if constraints is not None:
        found += read(constraints, queries=queries)
    return found


def _value(text: str, flag: str, scope: str) -> Limit:
    from scaling.allocators import Limit

    about, _, amount = text.rpartition(":")
    classes = options.pairs(about, flag) if about else {}
    where = {name: tuple(values.split("|")) for name, values in classes.items()}
    return Limit("value", scope, options.finite(amount, f"{flag} {text}"), sense="min", where=where)


def _share(text: str, flag: str, sense: Any) -> Limit:
    from scaling.allocators import Limit

    model, equals, amount = text.rpartition("=")
    if not equals or not model:
        raise UsageError(f"{flag} {text}: give a model and a share, as in large=0.3.")
    share = options.finite(amount, f"{flag} {text}, read as the share of model '{model}'")
    return Limit("share", amount=share, sense=sense, action={"model": model})


def read(path: str, *, queries: int | None = None) -> list[Limit]:
    """The limits of a TOML file.

        [[limit]]                  # use of a resource
        resource = "seconds"
        scope = "p95"              # average (the default), each, total, or a percentile
        max = 2.0                  # or min

        [[value]]                  # what the answers are worth
        min = 0.5
        scope = "average"          # over these classes together; or each of them
        where = { level = "hard" } # classes; all where left out; a list for several values

        [[share]]                  # of queries that get such an action
        action = { model = "large" }
        max = 0.3                  # or min, or both

    A total takes `queries`, by default that of the command. Keys that are not known are refused.

    Raises:
        InputError: no TOML, an unknown table or key, or a limit that cannot be; its place is named.
    """
    import tomllib

    try:
        with Path(path).open("rb") as file:
            document = tomllib.load(file)
    except (OSError, ValueError) as error:  # a TOML error is a ValueError, as bad UTF-8 is
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--constraints {path}: {cause[:1].lower() + cause[1:]}. "
            f"Give a TOML file of limits, {_EXAMPLE}."
        ) from error
    found: list[Limit] = []
    for kind, tables in document.items():
        if kind not in _KEYS:
            raise InputError(
                f"--constraints {path}: there is no table [[{kind}]]; the tables are "
                f"{', '.join(f'[[{name}]]' for name in _KEYS)}.{did_you_mean(kind, _KEYS)}"
            )
        if not (isinstance(tables, list) and all(isinstance(each, dict) for each in tables)):
            raise InputError(
                f"--constraints {path}: write [[{kind}]] before its keys, in double brackets: "
                "there may be several."
            )
        for number, table in enumerate(tables, start=1):
            place = f"--constraints {path}, [[{kind}]] {number}"
            try:
                found += _limits(kind, table, place, queries)
            except InputError:
                raise
            except ScalingError as error:
                raise InputError(f"{place}: {error}") from error
    if not found:
        raise InputError(f"--constraints {path}: no limit stands in it. Give one, {_EXAMPLE}.")
    return found


def _limits(kind: str, table: Mapping[str, Any], place: str, queries: int | None) -> list[Limit]:
    """The limits of one table: one, or two where it has a least and a most."""
    from scaling.allocators import Limit

    known = _KEYS[kind]
    for name in table:
        if name not in known:
            raise InputError(
                f"{place}: there is no key '{name}'; the keys are {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
    senses: list[Any] = [sense for sense in ("max", "min") if sense in table]
    if not senses:
        needs = "min" if kind == "value" else "max or min"
        raise InputError(f"{place}: it has no amount. Give {needs}.")
    if kind == "limit" and "resource" not in table:
        raise InputError(f'{place}: it has no resource. Give one, as in resource = "usd".')
    for name in ("resource", "scope"):
        if not isinstance(table.get(name, ""), str):
            raise InputError(f"{place}: {name} is {table[name]!r}. It must be text.")
    resource = table.get("resource", kind)
    if kind == "limit" and resource in ("value", "share"):
        raise InputError(f"{place}: a limit on {resource} stands in [[{resource}]].")
    scope = table.get("scope", "average")
    total = table.get("queries", queries)
    if isinstance(total, bool) or not isinstance(total, int | None):
        raise InputError(f"{place}: queries is {total!r}. It must be a whole number.")
    return [
        Limit(
            resource,
            scope,
            _number(table[sense], f"{place}: {sense}"),
            total if scope == "total" else None,
            sense=sense,
            where={name: _values(each) for name, each in _table(table, "where", place).items()},
            action=_table(table, "action", place),
        )
        for sense in senses
    ]


def _number(amount: Any, what: str) -> float:
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        raise InputError(f"{what} is {amount!r}. It must be a number.")
    return float(amount)


def _table(table: Mapping[str, Any], name: str, place: str) -> dict[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, dict):
        raise InputError(
            f'{place}: {name} is {found!r}. Give columns and values, as in {{ level = "hard" }}.'
        )
    return found


def _values(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, list) else (given,)
