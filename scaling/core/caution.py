"""Cautions: what a reader must know before believing a number. Codes are stable."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caution:
    """A stable code and a sentence."""

    code: str
    message: str

    def document(self) -> dict[str, str]:
        """As it stands in JSON."""
        return {"code": self.code, "message": self.message}
