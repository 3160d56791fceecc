"""Laws of cost fitted to measured runtimes: one group to one `GroupFit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.core.law import Law
from scaling.core.profiled import INTERPOLATED, Profiled
from scaling.core.prompt_times import BETA, OVERHEAD, prompt_name
from scaling.data.evidence import Runtimes
from scaling.errors import InputError, UsageError
from scaling.fitting import idealized, linear_cost, work_columns
from scaling.fitting.objectives import statistics
from scaling.fitting.plan import Plan
from scaling.fitting.result import Estimate, GroupFit, Status

FloatArray = NDArray[np.float64]

KEPT_DRAWS = 1_000
KEPT_POINTS = 1_000
_EXACT = 1e-9  # relative errors below this are rounding
_MOST_LOST = 0.02  # share of replicates that may run off and leave the others usable

_ORDER = {"component-cost": (0, 2, 3, 1), "kinetics-cost": (0, 1)}
"""Columns of the linear laws in the order in which they claim what they share: steps, K, F, then W."""


def fit_runtimes(plan: Plan, evidence: Runtimes) -> GroupFit:
    """One law of cost, one group.

    Raises:
        UsageError: an interval that runtimes cannot have, or rows without what the law needs.
    """
    if plan.interval.method not in ("percentile", "none"):
        msg = (
            f"runtimes have percentile intervals (resampled settings), not {plan.interval.method} ones; "
            "leave out --interval, or give none"
        )
        raise UsageError(msg)
    if isinstance(plan.law, Profiled):
        return _profiled(plan, plan.law, evidence)
    return _of_work(plan, evidence)


# -- idealized runtime ---------------------------------------------------------------------------------


def _profiled(plan: Plan, law: Profiled, evidence: Runtimes) -> GroupFit:
    p, o = (_required(evidence, name) for name in ("input_tokens", "output_tokens"))
    for name in ("batch", "tp", "context"):
        values = np.unique(evidence.inputs.get(name, np.ones(1)))
        if len(values) > 1:
            msg = (
                f"the rows of {_label(evidence)} have {len(values)} values of {name} ({values[0]:g} to "
                f"{values[-1]:g}), and an idealized runtime is of one. Fit --by {name}, or filter with "
                f"--where {name}={values[0]:g}."
            )
            raise UsageError(msg)
    objective = plan.objective.name
    sized = p > 0
    cells = idealized.cells_of(
        p[sized], o[sized], evidence.seconds[sized], least=objective == "denoised"
    )
    cautions = []
    if not sized.all():
        text = f"{int((~sized).sum())} rows without prompt tokens were left out."
        cautions.append(Caution("settings-left-out", text))
    points = {"input_tokens": cells.p, "output_tokens": cells.o}
    too_many = len(cells.lengths[0]) > idealized.MOST_LENGTHS and objective != INTERPOLATED
    solution, said = None, list[Caution]()
    if not too_many and len(cells.p):
        cells, said = idealized.screened(cells)
        estimator = {
            "differences": idealized.by_differences,
            "denoised": idealized.by_denoised,
            INTERPOLATED: idealized.by_additive,
        }[objective]
        solution, more = estimator(cells)
        said += more
    cautions += said
    if solution is None or not solution.beta > 0:
        why = _no_slope(cells, solution, too_many=too_many)
        cautions.append(Caution("not-identified", why))
        return _group(plan, evidence, law, None, cautions, points=(points, None))
    if (solution.prompt <= 0).any():
        worst = solution.lengths[int(np.argmin(solution.prompt))]
        text = (
            f"the prompt time at {worst:g} tokens comes out at zero or below: generating alone explains its "
            "runtimes. It is taken as 0."
        )
        cautions.append(Caution("at-bound", text))
        solution = solution._replace(prompt=np.maximum(solution.prompt, 0.0))
    overhead = [] if solution.overhead is None else [solution.overhead]
    names = [BETA, *([OVERHEAD] if overhead else []), *map(prompt_name, solution.lengths)]
    theta = np.array([solution.beta, *overhead, *solution.prompt])
    draws = _idealized_draws(plan, solution, cells, cautions)
    sized_law = law.fitted(names, objective)
    fitted = sized_law.value(theta, {"input_tokens": cells.p, "output_tokens": cells.o})
    x, y = solution.x, solution.y
    centred = y - (0 if solution.through else y.mean())
    slope_loss = float(
        np.sum((centred - solution.beta * (x - (0 if solution.through else x.mean()))) ** 2)
    )
    total = float(centred @ centred)
    fit = _errors(evidence_value=cells.t, fitted=fitted) | {
        "loss": slope_loss,
        "r_squared": 1 - slope_loss / total if total > 0 and objective != INTERPOLATED else None,
    }
    points = {"input_tokens": cells.p, "output_tokens": cells.o}
    return _group(
        plan, evidence, sized_law, theta, cautions, points=(points, cells.t), draws=draws, fit=fit
    )


def _no_slope(
    cells: idealized.Cells, solution: idealized.Solution | None, *, too_many: bool
) -> str:
    if not len(cells.p):
        return "no row has prompt tokens."
    if too_many:
        return (
            f"the log has {len(cells.lengths[0]):,} prompt lengths: requests as they came, no profile of a few "
            "lengths. --objective additive fits such a log."
        )
    if solution is None:
        return (
            "no prompt length was seen at two output lengths, so what a generated token takes cannot be told from "
            "what the prompt takes. Profile each prompt length at several output lengths; --objective additive "
            "takes a log of many unlike requests."
        )
    return "runtimes do not rise with the tokens generated, so a token has no time of its own."


def _idealized_draws(
    plan: Plan, solution: idealized.Solution, cells: idealized.Cells, cautions: list[Caution]
) -> FloatArray | None:
    if plan.interval.method == "none":
        return None
    rng = np.random.default_rng([plan.interval.seed, 7])
    found = idealized.replicates(
        solution, cells, plan.interval.replicates, plan.interval.level, rng
    )
    if found is None:
        text = "the runtimes do not scatter about the law, or are too few, so there is no interval."
        cautions.append(Caution("no-scatter", text))
        return None
    if len(np.unique(solution.unit)) < idealized.FEWEST_LENGTHS:
        text = (
            f"fewer than {idealized.FEWEST_LENGTHS} prompt lengths were seen at several output lengths; intervals "
            "resample single settings and tend to be too narrow."
        )
        cautions.append(Caution("few-settings", text))
    beta, prompt = found[:, :1], np.maximum(found[:, 1:], 0.0)
    if solution.overhead is None:
        return np.hstack([beta, prompt])
    overhead = np.maximum(prompt[:, :1] + solution.overhead - beta, 0.0)
    return np.hstack([beta, overhead, prompt])


# -- costs that are linear in work ---------------------------------------------------------------------


def _of_work(plan: Plan, evidence: Runtimes) -> GroupFit:
    law = plan.law
    wanted = tuple(i.column for i in law.inputs)
    inputs, computed = work_columns.of_rows(wanted, evidence)
    t = evidence.seconds
    columns = [inputs[c] for c in wanted]
    kinetics = law.name == "kinetics-cost"
    design = np.column_stack(columns)
    cautions: list[Caution] = []
    if computed:
        text = (
            "FLOPs and bytes were computed from the shapes of the models in the catalogue: bf16 weights and KV, "
            "weights read once a step by the whole batch, one accelerator of each tensor-parallel group."
        )
        cautions.append(Caution("work-computed", text))
    points = (inputs, t)
    settings = len(np.unique(design, axis=0))
    if settings <= design.shape[1]:
        text = f"{settings} settings for {design.shape[1]} coefficients leave nothing to check them by. Measure more."
        cautions.append(Caution("not-identified", text))
        return _group(plan, evidence, law, None, cautions, points=points)
    drawn = plan.interval.method != "none"
    rng = np.random.default_rng([plan.interval.seed, 8])
    found = linear_cost.fit_linear(
        design,
        t,
        _ORDER[law.name],
        plan.interval.replicates if drawn else 0,
        plan.interval.level,
        rng,
    )
    coefficients, draws = found.coefficients, found.draws if len(found.draws) else None
    why = _gate(law, evidence, found, kinetics=kinetics)
    if why:
        cautions.append(Caution("not-identified", why))
        fit = statistics(loss=found.loss) | {"condition": _finite(found.condition)}
        return _group(plan, evidence, law, None, cautions, points=points, fit=fit)
    null = []
    if not kinetics and found.left_out[1]:
        text = (
            "weight reads are a combination of the other terms in these rows (one model, one tensor-parallel "
            "degree), so t0 holds both and w is taken as 0. Measure several models or degrees to tell them apart."
        )
        cautions.append(Caution("confounded-terms", text))
        null = ["w"]
    theta, draws = (coefficients, draws) if not kinetics else _intensity(coefficients, draws)
    fitted = law.value(theta, inputs)
    fit = _errors(t, fitted) | {
        "loss": found.loss,
        "mape": float(np.mean(np.abs(fitted - t) / t)),
        "condition": _finite(found.condition),
    }
    if draws is not None and np.ptp(draws / np.where(theta > 0, theta, 1), axis=0).max() < _EXACT:
        text = "the runtimes do not scatter about the law, or are too few, so there is no interval."
        cautions.append(Caution("no-scatter", text))
        draws = None
    return _group(
        plan, evidence, law, theta, cautions, points=points, draws=draws, fit=fit, null=null
    )


def _gate(
    law: Law, evidence: Runtimes, found: linear_cost.LinearFit, *, kinetics: bool
) -> str | None:
    """Why these rows do not tell the coefficients, or None."""
    alike = [name for name, values in evidence.inputs.items() if len(np.unique(values)) == 1]
    held = f" ({', '.join(alike)} never vary)" if alike else ""
    if kinetics and found.left_out.any():
        return (
            f"FLOPs and bytes are proportional in these rows{held}, so s and I cannot be told apart. Measure several "
            "batch sizes at several context lengths."
        )
    if kinetics and not found.coefficients[0] > 0:
        return (
            "runtimes follow the bytes alone, so no intensity is too large. Measure larger batches at short contexts, "
            "where arithmetic takes the time."
        )
    if not kinetics and found.left_out[2:].any():
        lost = ", ".join(law.names[j] for j in (2, 3) if found.left_out[j])
        return (
            f"the column of {lost} is a combination of the others in these rows{held}. Measure several batch sizes "
            "at several context lengths."
        )
    return None


def _intensity(
    coefficients: FloatArray, draws: FloatArray | None
) -> tuple[FloatArray, FloatArray | None]:
    """(s, I) from the coefficients of FLOPs and bytes."""
    theta = np.array([coefficients[0], coefficients[1] / coefficients[0]])
    if draws is None:
        return theta, None
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = draws[:, 1] / draws[:, 0]
    return theta, np.column_stack([draws[:, 0], np.where(np.isnan(ratio), np.inf, ratio)])


# -- common ----------------------------------------------------------------------------------------------


def _group(
    plan: Plan,
    evidence: Runtimes,
    law: Law,
    theta: FloatArray | None,
    cautions: list[Caution],
    *,
    points: tuple[Mapping[str, FloatArray], FloatArray | None],
    draws: FloatArray | None = None,
    fit: dict[str, float | None] | None = None,
    null: Sequence[str] = (),
) -> GroupFit:
    status: Status = "ok" if theta is not None else "not-identified"
    names = [*law.names, *(d.name for d in law.derived)]
    estimates = dict.fromkeys(names, Estimate(None))
    if theta is not None:
        estimates = _estimates(plan, law, theta, draws, cautions, null)
    kept = None
    if draws is not None:
        whole = np.isfinite(draws).all(axis=1)
        kept = draws[whole][:KEPT_DRAWS] if whole.mean() >= 1 - _MOST_LOST else None
    return GroupFit(
        law=law.name,
        by=evidence.by,
        n_problems=0,
        n_samples=len(evidence.seconds),
        params={n: estimates[n] for n in law.names},
        derived={d.name: estimates[d.name] for d in law.derived},
        fit=statistics() | (fit or {}),
        counts=None,
        points=None if points[1] is None else _thinned(points[0], points[1]),
        problems=None,
        max_n=0,
        reach=0,
        stop_rule=None,
        stop_batch=None,
        model=evidence.model,
        draws=kept,
        resources={},
        status=status,
        cautions=tuple(dict.fromkeys(cautions)),
    )


def _estimates(
    plan: Plan,
    law: Law,
    theta: FloatArray,
    draws: FloatArray | None,
    cautions: list[Caution],
    null: Sequence[str],
) -> dict[str, Estimate]:
    with np.errstate(divide="ignore", invalid="ignore"):
        values = dict(zip(law.names, theta, strict=True)) | law.derive(theta)
        spread = (
            {} if draws is None else dict(zip(law.names, draws.T, strict=True)) | law.derive(draws)
        )
    out = {}
    level = plan.interval.level
    for name, value in values.items():
        interval, se = None, None
        if name in spread and name not in null and np.isfinite(value):
            each = np.where(np.isnan(spread[name]), np.inf, spread[name])
            low, high = np.quantile(each, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
            if not (np.isfinite(low) and np.isfinite(high)):
                text = f"the data do not limit {name} above, so it has no interval."
                cautions.append(Caution("open-interval", text))
            elif low < high:
                interval = (float(low), float(high))
                se = float(each.std()) if np.isfinite(each).all() else None
        at_bound = name in law.names and not value > 0
        if at_bound and name not in null and not name.startswith("prompt("):
            text = f"the estimate of {name} is 0, the least that it may be: these rows show no such cost."
            cautions.append(Caution("at-bound", text))
        out[name] = Estimate(_finite(float(value)), interval, se, at_bound)
    return out


def _errors(evidence_value: FloatArray, fitted: FloatArray) -> dict[str, float | None]:
    gap = np.abs(fitted - evidence_value)
    return statistics(
        mae=float(gap.mean()), sd_abs_error=float(gap.std()), max_abs_residual=float(gap.max())
    )


def _thinned(
    inputs: Mapping[str, FloatArray], value: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """At most `KEPT_POINTS` rows, the ends of every input among them."""
    rows = np.linspace(0, len(value) - 1, min(len(value), KEPT_POINTS)).round().astype(int)
    ends = [end(v) for v in inputs.values() for end in (np.argmin, np.argmax)]
    chosen = np.unique([*rows, *ends])
    return {name: v[chosen] for name, v in inputs.items()}, value[chosen]


def _required(evidence: Runtimes, name: str) -> FloatArray:
    if name not in evidence.inputs:
        msg = (
            f"an idealized runtime needs the column {name} (also spelled num_{name}); the log has "
            f"{', '.join(evidence.inputs) or 'no sizes'}. Rename with --map theirs={name}."
        )
        raise InputError(msg)
    return evidence.inputs[name]


def _label(evidence: Runtimes) -> str:
    return ", ".join(f"{k}={v}" for k, v in evidence.by.items()) or "the log"


def _finite(x: float) -> float | None:
    return x if np.isfinite(x) else None
