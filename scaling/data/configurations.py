"""Menus of model, trials, length and KV budget, from counts at each configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.core.special import log_choose
from scaling.costs.kinetics import two_lengths
from scaling.costs.workload import Request
from scaling.curves import Menu, validate
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from scaling.costs.inference import CostModel

    FloatArray = NDArray[np.float64]

TRIALS = (1, 2, 4, 8, 16, 32)


def configurations_menu(
    problem: ArrayLike,
    model: ArrayLike,
    n: ArrayLike,
    c: ArrayLike,
    *,
    input_tokens: ArrayLike,
    output_tokens: ArrayLike,
    costs: Mapping[str, CostModel],
    tokens_sd: ArrayLike = 0.0,
    thinking_tokens: ArrayLike | None = None,
    kv_budget: ArrayLike | None = None,
    block: float | None = None,
    trials: Sequence[int] = TRIALS,
    key: Mapping[str, ArrayLike] | None = None,
) -> Menu:
    """What every problem gets from every configuration, priced by the shape of its model.

    Each row is one problem under one configuration: n attempts, of which c are right. N trials of it cover
    `1 - C(n - c, N) / C(n, N)` (Chen et al. 2021, arXiv 2107.03374, section 2.1); more trials than attempts are left
    out, as counts say nothing of them.

    Args:
        problem: label, shape (R,).
        model: label, shape (R,).
        n: attempts, shape (R,).
        c: successes, shape (R,).
        input_tokens: of the prompt; broadcast to (R,), as all below.
        output_tokens: mean generated tokens of a sample.
        tokens_sd: their standard deviation.
        costs: model to what its inference costs.
        thinking_tokens: the cap on a sample's length, where one was set; an action column.
        kv_budget: cached tokens that a step reads, 0 for all; an action column.
        block: tokens of a block, where budgets are filled by scoring blocks.
        trials: numbers of samples on offer.
        key: further class columns, shape (R,), the same for all rows of a problem.

    Returns:
        a menu of one class a problem, equally weighted.

    Raises:
        InputError: columns that do not fit each other, or counts out of range; the row is named.
        UsageError: no costs for a model.
    """
    labels, models = np.asarray(problem).astype(str), np.asarray(model).astype(str)
    R = labels.size
    if not R or labels.shape != (R,):
        raise InputError(f"configurations have shape {labels.shape}; give one row a configuration.")
    numbers = {
        "n": n,
        "c": c,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "tokens_sd": tokens_sd,
        "thinking_tokens": 0 if thinking_tokens is None else thinking_tokens,
        "kv_budget": 0 if kv_budget is None else kv_budget,
    }
    rows = {name: _column(name, value, R) for name, value in numbers.items()}
    bad = np.flatnonzero(~((rows["c"] <= rows["n"]) & (rows["n"] >= 1)))
    if bad.size or models.shape != (R,):
        at = int(bad[0]) if bad.size else 0
        raise InputError(
            f"row {at + 1} ({labels[at]}): c is {rows['c'][at]:g} and n {rows['n'][at]:g}. Counts are "
            "0 <= c <= n with n at least 1, and every row has a model."
        )
    unpriced = sorted(set(models.tolist()) - set(costs))
    if unpriced:
        raise UsageError(
            f"no costs for model {unpriced[0]}; there are for {', '.join(sorted(costs))}."
        )
    N = np.array(sorted(set(trials)), dtype=np.float64)
    there = rows["n"][:, None] >= N
    row, trial = np.nonzero(there)
    value = -np.expm1(
        log_choose(rows["n"][row] - rows["c"][row], N[trial]) - log_choose(rows["n"][row], N[trial])
    )
    value = np.where(rows["n"][row] - rows["c"][row] < N[trial], 1.0, value)
    amounts = _priced(rows, models, N, costs, block)
    cost = {name: table[row, trial] for name, table in amounts.items()}
    names, place = np.unique(labels, return_inverse=True)
    order = np.lexsort((cost["eflops"], place[row]))
    row, trial = row[order], trial[order]
    action: dict[str, NDArray[Any]] = {
        "model": models[row],
        "samples": N[trial].astype(np.int64),
    }
    for name, given in (("thinking_tokens", thinking_tokens), ("kv_budget", kv_budget)):
        if given is not None:
            action[name] = rows[name][row].astype(np.int64)
    first = np.unique(place, return_index=True)[1]
    start = np.searchsorted(place[row], np.arange(names.size + 1))
    return validate(
        Menu(
            key={
                "problem": names,
                **{k: np.asarray(v)[first] for k, v in (key or {}).items()},
            },
            weight=np.ones(names.size),
            curve=np.arange(names.size),
            start=start.astype(np.int64),
            value=np.clip(value[order], 0.0, 1.0),
            cost={name: column[order] for name, column in cost.items()},
            action=action,
            maximise="coverage",
            estimand="benchmark",
            provenance={
                "cost_model": {
                    "name": "kinetics",
                    **_shared([costs[m].document() for m in sorted(set(models.tolist()))]),
                }
            },
        )
    )


def _column(name: str, value: ArrayLike, rows: int) -> FloatArray:
    """One number a row."""
    try:
        column = np.broadcast_to(np.asarray(value, dtype=np.float64), (rows,))
    except ValueError:
        raise InputError(
            f"{name} has shape {np.shape(value)}; give one number a row, {rows} in all."
        ) from None
    wrong = np.flatnonzero(~(np.isfinite(column) & (column >= 0)))
    if wrong.size:
        raise InputError(
            f"row {int(wrong[0]) + 1}: {name} is {column[wrong[0]]}. It must be a finite number, zero or more."
        )
    return column


def _priced(
    rows: Mapping[str, FloatArray],
    models: NDArray[np.str_],
    N: FloatArray,
    costs: Mapping[str, CostModel],
    block: float | None,
) -> dict[str, FloatArray]:
    """Resource to shape (R, K)."""
    R = models.size
    units = ["flops", "bytes", "eflops"]
    everywhere = [costs[m].hardware for m in set(models.tolist())]
    units += ["seconds"] if all(h is not None for h in everywhere) else []
    units += ["joules"] if all(h is not None and h.tdp is not None for h in everywhere) else []
    out = {unit: np.empty((R, N.size)) for unit in units}
    lengths, share = two_lengths(rows["output_tokens"], rows["tokens_sd"])
    for name in np.unique(models):
        for dense in (True, False):
            mine = np.flatnonzero((models == name) & ((rows["kv_budget"] == 0) == dense))
            if not mine.size:
                continue
            priced = costs[str(name)].price(
                Request(
                    input_tokens=rows["input_tokens"][mine, None, None],
                    output_tokens=lengths[mine][:, None, :],
                    samples=N[None, :, None],
                    kv_budget=None if dense else rows["kv_budget"][mine, None, None],
                    block=None if dense else block,
                )
            )
            for unit in units:
                out[unit][mine] = (getattr(priced, unit) * share[mine][:, None, :]).sum(axis=-1)
    tokens = rows["output_tokens"][:, None] * N
    return {"samples": np.broadcast_to(N, (R, N.size)), "tokens": tokens, **out}


def _shared(records: list[dict[str, Any]]) -> dict[str, Any]:
    """What all the definitions have in common."""
    return {k: v for k, v in records[0].items() if all(r[k] == v for r in records)}
