"""What the rows of a table come to under a constraint; the builder counts with it, too."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from scaling.tables.rules.document import (
    SHARES,
    TOLERANCE,
    mean_of,
    rows_of,
    served_by,
    share_of,
    value_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from scaling.tables.rules.registry import Document


def realised(document: Document, constraint: Mapping[str, Any]) -> float | None:
    """What the rows that a constraint is about come to, in its scope.

    `average`: weighted mean of expected use; `total`: the mean times `queries`; `each`: the largest
    use of any row (the smallest for `sense: min`); `percentile`: the smallest use that at most
    100 - percentile percent of the weight exceeds. A divided row counts by its shares; a value that
    is not known counts as 0 in a mean.

    Returns:
        None where the rows do not say, or the scope is one class.
    """
    name, scope = constraint["resource"], constraint["scope"]
    lacking = (scope == "percentile" and "percentile" not in constraint) or (
        name == "share" and "action" not in constraint
    )
    if scope == "class" or lacking:
        return None
    about = set(constraint["rows"]) if "rows" in constraint else None
    terms: list[tuple[float, float]] = []
    for _, row in rows_of(document):
        if about is not None and row["row_id"] not in about:
            continue
        left = 1.0
        for share, entry in served_by(row):
            amount = _amount(document, constraint, entry)
            if amount is None and name == document["objective"]["maximise"] and scope != "each":
                amount = 0.0
            if amount is None:
                return None
            terms.append((row["weight"] * share, amount))
            left -= share
        if left > TOLERANCE:  # the rest of a divided row does nothing
            terms.append((row["weight"] * left, 0.0))
    if not terms:
        return None
    if scope == "each":
        amounts = [amount for _, amount in terms]
        return max(amounts) if constraint["sense"] == "max" else min(amounts)
    total = math.fsum(weight for weight, _ in terms)
    if scope == "percentile":
        return _percentile(terms, total, constraint["percentile"])
    average = math.fsum(weight * amount for weight, amount in terms)
    if about is not None:
        average /= total
    queries: int | None = constraint.get("queries")
    if scope == "average":
        return average
    return None if queries is None else average * queries


def _amount(
    document: Document, constraint: Mapping[str, Any], entry: Mapping[str, Any]
) -> float | None:
    """What a constraint counts of an entry."""
    name = constraint["resource"]
    if name == "share":
        wanted = constraint["action"].items()
        return float(all(entry["action"].get(field) == value for field, value in wanted))
    if name == document["objective"]["maximise"]:
        return value_of(entry)
    if name in SHARES:
        return share_of(entry, name)
    return mean_of(entry, name)


def _percentile(terms: list[tuple[float, float]], total: float, percent: float) -> float:
    """The smallest amount that at most 100 - `percent` percent of the weight exceeds."""
    above = 0.0
    most = (1 - percent / 100 + TOLERANCE) * total
    for weight, amount in sorted(terms, key=lambda term: -term[1]):
        above += weight
        if above > most:
            return amount
    return 0.0


def relative_gap(value: float, bound: float) -> float:
    """(bound - value) / bound, never negative; 0 where both are 0."""
    return max(bound - value, 0.0) / abs(bound) if bound else 0.0
