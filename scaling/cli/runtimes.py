"""What people read of a law of cost fitted to runtimes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from scaling.cli import show

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from scaling.core.law import Law
    from scaling.fitting.result import Estimate, FitResult, GroupFit

_QUALITY = {
    "mae": "mean |error| s",
    "max_abs_residual": "max s",
    "mape": "mean |error| / t",
    "r_squared": "R²",
    "condition": "condition",
}
_PROMPTS = 12
"""Prompt lengths of a group that are printed."""


def report(result: FitResult, law: Law, path: str | None, keep: str) -> None:
    """Parameters, prompt times and errors by group, then cautions and the next command."""
    groups = result.groups
    by = list(dict.fromkeys(name for g in groups for name in g.by))
    names = [p for p in dict.fromkeys(n for g in groups for n in g.params) if "(" not in p]
    names += [d.name for d in law.derived]
    _table(
        groups,
        by,
        ("rows", *names),
        lambda g: (
            f"{g.n_samples:,}",
            *(_estimate({**g.params, **g.derived}.get(n)) for n in names),
        ),
    )
    if any("(" in name for name in law.names):
        _prompts(groups, by)
    shown = [n for n in _QUALITY if any(g.fit.get(n) is not None for g in groups)]
    if shown:
        show.line(
            "fit", "the law against the measured runtimes; of trials of one setting, their median"
        )
        _table(
            groups,
            by,
            tuple(_QUALITY[n] for n in shown),
            lambda g: tuple(show.number(g.fit.get(n)) for n in shown),
        )
    show.cautions(
        ("" if len(groups) == 1 else g.label(), c.code, c.message)
        for g in groups
        for c in g.cautions
    )
    if result.usable:
        show.following(f"scaling predict {shlex.quote(path)} --at {_at(law)}" if path else keep)


def _prompts(groups: tuple[GroupFit, ...], by: list[str]) -> None:
    show.line("prompt", "seconds of reading a prompt of p tokens and generating the first")
    rows, longest = [], 0
    for g in groups:
        lengths = [n for n in g.params if "(" in n]
        longest = max(longest, len(lengths))
        for name in lengths[:: max(1, -(-len(lengths) // _PROMPTS))]:
            if g.params[name].estimate is not None:
                cell = (name.removeprefix("prompt(").removesuffix(")"), _estimate(g.params[name]))
                rows.append((*(str(g.by.get(n, "")) for n in by), *cell))
    show.table((*by, "p", "prompt(p)"), rows[: show.MOST_ROWS], numbers=("p", "prompt(p)"))
    if longest > _PROMPTS or len(rows) > show.MOST_ROWS:
        show.line("", "not all profiled lengths are shown; --json has all")


def _at(law: Law) -> str:
    known = {
        "input_tokens": "512",
        "output_tokens": "1,64",
        "flops": "1e15",
        "bytes": "1e12",
        "weight_bytes": "1e10",
        "kv_bytes": "1e11",
        "steps": "1",
    }
    return ",".join(f"{i.column}={known[i.column]}" for i in law.inputs)


def _table(
    groups: tuple[GroupFit, ...],
    by: list[str],
    columns: Sequence[str],
    cells: Callable[[GroupFit], tuple[str, ...]],
) -> None:
    show.table(
        (*by, *columns),
        ((*(str(g.by.get(n, "")) for n in by), *cells(g)) for g in groups[: show.MOST_ROWS]),
        numbers=columns,
    )
    show.more(len(groups), "groups")


def _estimate(e: Estimate | None) -> str:
    if e is None or e.estimate is None:
        return show.MISSING
    band = f" [{_figure(e.interval[0])}, {_figure(e.interval[1])}]" if e.interval else ""
    return _figure(e.estimate) + band + " at bound" * e.at_bound


def _figure(x: float) -> str:
    return show.number(x) if 1e-4 <= abs(x) < 1e6 or x == 0 else f"{x:.4g}"
