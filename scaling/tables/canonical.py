"""The canonical form of a budget table: its content hash, and the numbers that it may hold."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from scaling.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEFT_OUT = frozenset({"table_id", "created", "extensions"})


def table_id(document: Mapping[str, Any]) -> str:
    """`sha256:` and the SHA-256 of the table's canonical JSON (RFC 8785, JCS).

    `table_id`, `created` and `extensions` are left out, so that the same budgets have the same
    identity whenever they are written and whoever annotates them.

    Raises:
        InputError: the document holds what canonical JSON does not: NaN, an infinity, an integer
            beyond 2^53.
    """
    import rfc8785

    content = {name: value for name, value in document.items() if name not in _LEFT_OUT}
    try:
        return "sha256:" + hashlib.sha256(rfc8785.dumps(content)).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise InputError(
            f"The table has no canonical JSON form: {error}. "
            "Its numbers must be finite and its integers within 2^53."
        ) from error


def finite(value: Any, what: str) -> float:
    """A number that JSON has.

    Raises:
        InputError: NaN or an infinity; `what` says of what.
    """
    number = float(value)
    if not math.isfinite(number):
        raise InputError(f"{what[:1].upper()}{what[1:]} is {number}. It must be a finite number.")
    return number
