"""Instants, claims and the table's identity."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import TYPE_CHECKING

from scaling.errors import InputError
from scaling.tables.canonical import table_id
from scaling.tables.rules.document import repeated, rows_of
from scaling.tables.rules.registry import check

if TYPE_CHECKING:
    from scaling.tables.rules.registry import Document, Problems


@check("date-time")
def _date_time(document: Document) -> Problems:
    """Instants are RFC 3339 with a time zone, days are ISO 8601."""
    prices = document["provenance"]["prices"] or {}
    instants = {
        "$.created": document["created"],
        "$.valid_until": document.get("valid_until"),
        "$.provenance.prices.as_of": prices.get("as_of"),
    }
    for where, text in instants.items():
        if text is not None and _instant(text) is None:
            yield where, f"{text!r} is no date-time such as 2026-01-31T12:00:00Z."
    days = [
        (f"$.provenance.data[{i}].collected", data["collected"])
        for i, data in enumerate(document["provenance"]["data"])
        if "collected" in data
    ]
    for where, row in rows_of(document):
        collected = row.get("support", {}).get("collected", ())
        days += [(f"{where}.support.collected", day) for day in collected]
    for where, text in days:
        if not _is_day(text):
            yield where, f"{text!r} is no date such as 2026-01-31."


@check("valid-until")
def _valid_until(document: Document) -> Problems:
    until = document.get("valid_until")
    if until is None:
        return
    created, end = _instant(document["created"]), _instant(until)
    if created is not None and end is not None and end <= created:
        yield "$.valid_until", f"{until} is not after {document['created']}."


@check("guarantee-repeated")
def _guarantee_repeated(document: Document) -> Problems:
    yield from repeated(
        (f"$.guarantees[{i}].property", each["property"])
        for i, each in enumerate(document["guarantees"])
    )


@check("table-id")
def _table_id(document: Document) -> Problems:
    try:
        actual = table_id(document)
    except InputError as error:
        yield "$", str(error)
        return
    if document["table_id"] != actual:
        yield "$.table_id", f"{document['table_id']}; the content's hash is {actual}."


_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", flags=re.ASCII
)


def _instant(text: str) -> datetime | None:
    if not _INSTANT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        return None


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10
