"""Errors for the person who reads them.

A message says what was wrong, the offending value and where it stands, what is allowed, and what to
do next. The command line prints it in one line and leaves with `exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ScalingError(ValueError):
    """Base of every error that this package raises on purpose."""

    exit_code: ClassVar[int] = 2


class InputError(ScalingError):
    """A file, table or value that cannot be used as given."""


class UsageError(ScalingError):
    """An option, name or combination that does not exist."""


class NotUsableError(ScalingError):
    """No group of a fit can answer: not identified or not converged."""

    exit_code = 3


class InfeasibleError(ScalingError):
    """No allocation meets the constraints.

    Attributes:
        smallest: the smallest feasible amount of the budgeted resource, average per query.
        relaxed: where limits contradict each other, each limit that could give to the amount at
            which, with the others as they are, everything is feasible.
    """

    exit_code = 4

    def __init__(
        self,
        message: str,
        *,
        smallest: float | None = None,
        relaxed: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(message)
        self.smallest = smallest
        self.relaxed = dict(relaxed or {})


class CheckError(ScalingError):
    """A check that was asked for failed."""

    exit_code = 5


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the nearest of `options`, or an empty string."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(options), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
