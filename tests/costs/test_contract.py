"""Every cost option in the registry passes every contract check."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scaling.core import registry
from scaling.costs import LinearCost, SampleCosts
from scaling.testing import COST_CHECKS, check_cost

OPTIONS = registry.cost_options()


@pytest.mark.parametrize("check", COST_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", OPTIONS)
def test_contract(name, check):
    check(OPTIONS[name])


def test_the_options_are_found():
    assert {"flops", "kinetics", "per-sample"} <= set(OPTIONS)


@dataclass(frozen=True)
class Wrong(SampleCosts):
    fixed: float = 0.0
    each: float = 1.0
    resource: str = "flops"

    def of(self, model, measured):  # noqa: ARG002 - one for all
        return LinearCost(
            {self.resource: self.fixed},
            {"samples": 1.0, "tokens": measured.get("tokens", 1.0), self.resource: self.each},
        )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"each": float("nan")}, "flops is nan"),
        ({"each": -1.0}, "flops is -1"),
        ({"resource": "heat"}, "'heat' is no resource"),
        ({"resource": "usd"}, "dollars without a source"),
    ],
)
def test_wrong_options_are_found_out(change, words):
    check_cost(Wrong())
    with pytest.raises(AssertionError, match=words):
        check_cost(Wrong(**change))
