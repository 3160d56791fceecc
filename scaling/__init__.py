"""From logged inference-time sweeps to scaling laws, and from laws to per-query compute budgets.

The corridor: `read` a log, `fit` a law to it, `allocate` a budget over it, write the table that a
server loads. Each name below is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scaling._version import __version__

if TYPE_CHECKING:
    from scaling.allocators import Allocation, allocate
    from scaling.costs import SampleCosts
    from scaling.curves import Menu
    from scaling.data import Sweep, read, read_menu
    from scaling.errors import (
        CheckError,
        InfeasibleError,
        InputError,
        NotUsableError,
        ScalingError,
        UsageError,
    )
    from scaling.fitting import FitResult, fit
    from scaling.fitting.asking import ask
    from scaling.fitting.backtest import backtest
    from scaling.fitting.compare import compare
    from scaling.fitting.planning import plan
    from scaling.tables import BudgetTable

__all__ = [
    "Allocation",
    "BudgetTable",
    "CheckError",
    "FitResult",
    "InfeasibleError",
    "InputError",
    "Menu",
    "NotUsableError",
    "SampleCosts",
    "ScalingError",
    "Sweep",
    "UsageError",
    "__version__",
    "allocate",
    "ask",
    "backtest",
    "compare",
    "fit",
    "plan",
    "read",
    "read_menu",
]

_HOME = {
    "Allocation": "scaling.allocators",
    "BudgetTable": "scaling.tables",
    "FitResult": "scaling.fitting",
    "Menu": "scaling.curves",
    "SampleCosts": "scaling.costs",
    "Sweep": "scaling.data",
    "allocate": "scaling.allocators",
    "ask": "scaling.fitting.asking",
    "backtest": "scaling.fitting.backtest",
    "compare": "scaling.fitting.compare",
    "fit": "scaling.fitting",
    "plan": "scaling.fitting.planning",
    "read": "scaling.data",
    "read_menu": "scaling.data",
} | dict.fromkeys(
    (
        "CheckError",
        "InfeasibleError",
        "InputError",
        "NotUsableError",
        "ScalingError",
        "UsageError",
    ),
    "scaling.errors",
)


def __getattr__(name: str) -> Any:
    """Import a public name from its room on first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'scaling' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
