"""Allocators: from menus and a budget to an action for every class."""

from __future__ import annotations

from scaling.allocators.allocate import allocate
from scaling.allocators.allocation import Allocation, Fallback, Split, Target
from scaling.allocators.explain import explain, find_class, hopeless
from scaling.allocators.frontier import Frontier, frontier
from scaling.allocators.limit import Limit
from scaling.allocators.online import PriceController
from scaling.allocators.policy_curves import (
    PolicyCurves,
    budget_exponents,
    policy_curves,
    thresholds,
)
from scaling.allocators.query_menus import (
    ConcaveMenus,
    Coverage,
    PosteriorCoverage,
    QueryMenus,
    Rows,
)
from scaling.allocators.repeated_sampling import funding, water_filling
from scaling.allocators.risk import Regret, Risk
from scaling.allocators.sequential import (
    index_order,
    posterior_order,
    rate_order,
    replay,
    round_robin_order,
)
from scaling.allocators.stop_at_success import (
    best_p_first,
    round_robin,
    until_accepted,
    until_success,
)
from scaling.allocators.stream import StreamAllocation, allocate_stream

__all__ = [
    "Allocation",
    "ConcaveMenus",
    "Coverage",
    "Fallback",
    "Frontier",
    "Limit",
    "PolicyCurves",
    "PosteriorCoverage",
    "PriceController",
    "QueryMenus",
    "Regret",
    "Risk",
    "Rows",
    "Split",
    "StreamAllocation",
    "Target",
    "allocate",
    "allocate_stream",
    "best_p_first",
    "budget_exponents",
    "explain",
    "find_class",
    "frontier",
    "funding",
    "hopeless",
    "index_order",
    "policy_curves",
    "posterior_order",
    "rate_order",
    "replay",
    "round_robin",
    "round_robin_order",
    "thresholds",
    "until_accepted",
    "until_success",
    "water_filling",
]
