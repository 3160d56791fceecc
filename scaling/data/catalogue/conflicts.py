"""Where sources disagree: the figure that stands, and those that others state."""

from __future__ import annotations

from typing import NamedTuple


class Conflict(NamedTuple):
    """A figure that another source states otherwise.

    Attributes:
        figure: the field that it is about; for a peak, its dtype.
        value: what that source states.
        source: which.
        note: why it is not taken, where known.
    """

    figure: str
    value: float
    source: str
    note: str = ""
