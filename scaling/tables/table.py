"""A budget table in Python."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.core.files import write_text
from scaling.errors import InputError
from scaling.tables.check import Report, report
from scaling.tables.lookup import KIND, Decision, Table, TableError, copy_json, parse

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping
    from datetime import datetime

    import pandas as pd


_SHOWN = 50
"""Rows shown in a notebook."""


@dataclass(frozen=True, repr=False)
class BudgetTable:
    """What is served: rows from query features to compute budgets.

    A table may be wrong (`check` tells), as long as it is a table; it never changes.

    Attributes:
        text: the document as JSON.
    """

    text: str

    def __post_init__(self) -> None:
        self._document  # noqa: B018  (refuse what is no table now, not at the first lookup)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> BudgetTable:
        """Read a table from a JSON file.

        Raises:
            InputError: the file cannot be read, or is no budget table.
        """
        try:
            content = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"Cannot read {path}: {cause[:1].lower() + cause[1:]}. "
                "Give the path of a budget table (JSON)."
            ) from error
        try:
            return cls(content.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is no budget table: it is not UTF-8 text (byte {error.start}). "
                "Give a file that `scaling allocate -o` wrote."
            ) from error
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> BudgetTable:
        """Read a table from JSON text.

        Raises:
            InputError: the text is no budget table.
        """
        return cls(text)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> BudgetTable:
        """Take a parsed table.

        Raises:
            InputError: the document is no budget table, or holds a NaN or an infinity.
        """
        try:
            text = _layout(document)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"The document is not JSON: {error}. Numbers must be finite; what does not exist "
                "is null."
            ) from error
        return cls(text + "\n")

    def to_json(self) -> str:
        """The document as JSON; the same table gives the same text."""
        return self.text

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the table whole or not at all.

        Returns:
            The path.

        Raises:
            InputError: the file cannot be written; nothing has changed then.
        """
        return write_text(path, self.text)

    @property
    def document(self) -> dict[str, Any]:
        """The table as a parsed document: a copy, to do with as you like."""
        document: dict[str, Any] = copy_json(self._document)
        return document

    @property
    def table_id(self) -> str:
        """The table's content hash, as the document states it."""
        return str(self._document.get("table_id"))

    def lookup(
        self,
        features: Mapping[str, Any] | None = None,
        /,
        price: float | str | None = None,
        *,
        now: datetime | None = None,
        draw: float | None = None,
        **named: Any,
    ) -> Decision:
        """The budget of one query: `table.lookup(level="hard")`.

        Args:
            features: what is known of the query, as a mapping; for names that are no Python names
                or that this method uses itself.
            price: live price of the priced resource; see `scaling.tables.lookup.Table.lookup`.
            now: the present instant, for `valid_until`; the clock where None.
            draw: a number in [0, 1) that tells which share of a divided row the query belongs to.
            named: features by keyword.

        Returns:
            The decision; its `reason` says why, where the fallback answers.

        Raises:
            InputError: the table cannot be served from, or `draw` is outside [0, 1).
        """
        try:
            return self._served.lookup({**(features or {}), **named}, price, now=now, draw=draw)
        except TableError as error:
            raise InputError(f"Cannot look up: {error}") from error

    def check(self) -> Report:
        """Everything wrong with the table, and which guarantees it has."""
        return report(self._document)

    def to_frame(self) -> pd.DataFrame:
        """One line a row: its features, action, what is expected of it and its weight.

        Columns are `row_id`, the features, `weight`, the fields of the action, `value` with
        `value_low` and `value_high`, one column per resource, and `marginal`. Conditions stand as
        the table has them: bin indices for features with bins.
        """
        import pandas as pd

        return pd.DataFrame(self._lines())

    def __repr__(self) -> str:
        return f"BudgetTable({self.table_id})"

    def _repr_html_(self) -> str:
        from html import escape

        lines = self._lines()
        objective = self._document["objective"]
        names = list(dict.fromkeys(name for line in lines for name in line))
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>"
            + "".join(f"<td>{escape(_show(line.get(name)))}</td>" for name in names)
            + "</tr>"
            for line in lines[:_SHOWN]
        )
        limits = "; ".join(
            f"{each['resource']} {each['scope']} {'≤' if each['sense'] == 'max' else '≥'} "
            f"{each['limit']:g}"
            for each in objective["constraints"]
        )
        rest = len(lines) - _SHOWN
        more = f"<p>and {rest} more rows</p>" if rest > 0 else ""
        return (
            f"<p><b>Budget table</b> {escape(self.table_id[:19])}… maximises "
            f"{escape(objective['maximise'])}; {escape(limits)}</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"
        )

    def _lines(self) -> list[dict[str, Any]]:
        try:
            return [_line(row) for row in self._document["rows"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(
                f"The table does not hold together ({type(error).__name__}: {error}). "
                "`scaling table check` names what is wrong."
            ) from error

    @cached_property
    def _document(self) -> dict[str, Any]:
        try:
            document = parse(self.text)
        except TableError as error:
            raise InputError(
                f"This is no budget table: {error} Give a file that `scaling allocate -o` wrote."
            ) from error
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind != KIND:
            raise InputError(
                f"This is no budget table: its kind is {kind!r}, not '{KIND}'. "
                "Give a file that `scaling allocate -o` wrote."
            )
        return document  # type: ignore[no-any-return]

    @cached_property
    def _served(self) -> Table:
        return Table(self._document)


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without nesting; a feature of the name of another column is `when_` that name."""
    expected = row["expected"]
    low, high = expected["value"].get("interval", (None, None))
    line = {
        "weight": row["weight"],
        **row["action"],
        "value": expected["value"]["mean"],
        "value_low": low,
        "value_high": high,
        **{name: used["mean"] for name, used in expected["resources"].items()},
        "marginal": row.get("marginal"),
    }
    when = {f"when_{k}" if k in line or k == "row_id" else k: v for k, v in row["when"].items()}
    return {"row_id": row["row_id"], **when, **line}


def _layout(value: Any, depth: int = 0) -> str:
    """JSON with one field of a row, or one rung of a ladder, on a line: short, and good to diff."""
    if value and isinstance(value, dict) and depth < 3:
        items = [f"{_compact(name)}: {_layout(each, depth + 1)}" for name, each in value.items()]
        left, right = "{}"
    elif value and isinstance(value, list) and depth < 4:
        items = [_layout(each, depth + 1) for each in value]
        left, right = "[]"
    else:
        return _compact(value)
    line = "\n" + " " * depth
    return f"{left}{line} " + f",{line} ".join(items) + line + right


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _show(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
