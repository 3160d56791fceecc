"""Look-up of catalogue entries by the names that people type."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TypeVar

from scaling.errors import UsageError

T = TypeVar("T")


def find(entries: Mapping[str, T], name: str, what: str, otherwise: str) -> T:
    """The entry of that name; case, `-`, `_` and blanks do not matter, nor does `owner/` before it.

    Args:
        entries: by name.
        name: as typed.
        what: what the entries are, for the message.
        otherwise: what to give instead of a name.

    Raises:
        UsageError: there is none; near names are listed, or all where none is near.
    """
    spelled = {_plain(key): key for key in entries}
    wanted = _plain(name.rpartition("/")[2])
    if wanted in spelled:
        return entries[spelled[wanted]]
    near = [k for k in spelled if wanted and (wanted in k or k in wanted)]
    near += [k for k in get_close_matches(wanted, spelled, n=6, cutoff=0.5) if k not in near]
    listed = ", ".join(spelled[k] for k in near) or ", ".join(entries)
    raise UsageError(
        f"there is no {what} '{name}' in the catalogue. {'Near' if near else 'Known'}: {listed}. {otherwise}"
    )


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())
