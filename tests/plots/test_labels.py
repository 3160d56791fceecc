"""Fits and laws are told apart by their names."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scaling import plots


def test_fits_of_one_law_are_named_apart(laws: list[Any]) -> None:
    epl = laws[2]
    cov, brown = replace(epl, objective="cov"), replace(epl, preset="brown2024")
    assert plots.law_labels([laws[0], epl]) == ["beta-binomial", "exponentiated-power"]
    assert plots.law_labels([epl, cov, brown, brown]) == [
        "exponentiated-power (logcov)",
        "exponentiated-power (cov)",
        "exponentiated-power (brown2024) (3)",
        "exponentiated-power (brown2024) (4)",
    ]
