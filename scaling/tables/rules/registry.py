"""A check of a table, and the list of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Document = Mapping[str, Any]
    Problems = Iterator[tuple[str, str]]


@dataclass(frozen=True)
class Check:
    """A check: its code, the function, the guarantee behind which it stands."""

    code: str
    problems: Callable[[Document], Problems]
    guarantee: str | None
    stated: bool


CHECKS: dict[str, Check] = {}
"""Every check beyond the schema, by code, in the order in which they run."""


def check(
    code: str, *, guarantee: str | None = None, stated: bool = False
) -> Callable[[Callable[[Document], Problems]], Callable[[Document], Problems]]:
    """Register a check; `stated`: an error only where the table claims the guarantee."""

    def register(problems: Callable[[Document], Problems]) -> Callable[[Document], Problems]:
        CHECKS[code] = Check(code, problems, guarantee, stated)
        return problems

    return register
