"""The no-harm gate: a table leaves the even spend only where held-out attempts show a gain.

The attempts at each problem are cut at random into four parts. Each part in turn is fitted and allocated; the
other three score what it chose against the even spend of the same budget, by unbiased pass@k. All of it is
repeated over several cuts, and the gain of a problem is its mean over them; problems are the units of its
standard error.

Two budgets are tested. Harm comes from spending much more than was logged, so the first keeps the ratio of
budget to log: a quarter of it. Harm also comes where an even spend leaves little to gain, which a quarter does
not show, so the second is the most that the attempts can score: three quarters of n attempts score at most that
many samples, no query gets more in the test, and the even spend is at most half of that. The gate opens where
the gain at one of the two exceeds `NEEDED` standard errors and the second does not lose.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.allocators.allocate import allocate
from scaling.allocators.allocation import Allocation
from scaling.allocators.limit import Limit
from scaling.curves import Menu, plain
from scaling.data.evidence import Counts
from scaling.data.plugin import plugin_menu
from scaling.data.schema import ACTION_COLUMNS
from scaling.data.sweep import Sweep
from scaling.errors import InfeasibleError, NotUsableError
from scaling.fitting.fit import refitted
from scaling.fitting.passk import pass_at_k
from scaling.fitting.result import FitResult

if TYPE_CHECKING:
    from scaling.curves import MenuSource

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PARTS = 4
"""Parts of a cut, each fitted in turn."""

CUTS = 2
"""Random cuts into parts."""

NEEDED = 2.33
"""Standard errors by which the gain must exceed zero: one-sided 99%."""


@dataclass(frozen=True)
class Verdict:
    """What the gate found.

    Attributes:
        opened: whether the allocation may leave the even spend.
        gain: mean gain over the even spend on held-out attempts, None where the gate could not run.
        error: its standard error.
        caution: code and message for the table.
    """

    opened: bool
    gain: float | None
    error: float | None
    caution: Mapping[str, str]


class _CannotRunError(Exception):
    """Says why."""


def no_harm(
    sources: Sequence[Menu | MenuSource],
    limits: Sequence[Limit],
    *,
    seed: int = 0,
    **options: Any,
) -> Verdict:
    """Whether held-out attempts show a gain of an allocation over the even spend.

    Args:
        sources: what is allocated from: one fit whose evidence holds counts by problem, or one sweep.
        limits: of the allocation.
        seed: of the cuts.
        **options: of `allocate`: classes, values, weights, allow_skip, extrapolate, until_success, costs.
    """
    try:
        tested = _gains(sources, limits, seed, options)
    except _CannotRunError as reason:
        message = (
            f"The no-harm gate could not run: {reason}. This allocation was not checked against "
            "held-out attempts."
        )
        return Verdict(True, None, None, {"code": "gate-not-run", "message": message})
    except NotUsableError:
        message = (
            "Part of the attempts does not identify the law, so no gain over the even spend could be shown; the budget "
            "is spent evenly."
        )
        return Verdict(False, None, None, {"code": "gate-closed", "message": message})
    gain, error = max(tested, key=lambda found: found[0] - NEEDED * found[1])
    largest = tested[-1][0]
    shown = f"{100 * gain:+.2f} points on held-out attempts, standard error {100 * error:.2f}"
    opened, code = False, "gate-closed"
    if gain <= NEEDED * error:
        message = (
            f"Held-out attempts do not show a gain over the even spend ({shown}), so the budget is spent evenly. More "
            "attempts at each problem may show one."
        )
    elif largest < 0:
        message = (
            f"A part of the budget gains over its even spend ({shown}), but the most of it that they can score "
            f"loses {-100 * largest:.2f}, so the budget is spent evenly."
        )
    else:
        opened, code = True, "gate-open"
        message = (
            f"The gain over the even spend was {shown}, at a budget that parts of the log can "
            "score."
        )
    return Verdict(opened, gain, error, {"code": code, "message": message})


@dataclass(frozen=True)
class _Group:
    """Counts of one group, and the rows of the fit's problems that they are."""

    counts: Counts
    rows: IntArray


def _gains(
    sources: Sequence[Menu | MenuSource],
    limits: Sequence[Limit],
    seed: int,
    options: Mapping[str, Any],
) -> list[tuple[float, float]]:
    """Mean gain and its standard error at each of the budgets of `_scales`."""
    if len(sources) != 1 or not isinstance(sources[0], FitResult | Sweep):
        raise _CannotRunError("it needs one fit or one log, not a menu or several inputs")
    source = sources[0]
    if not all(limit.is_budget or limit.scope == "each" for limit in limits):
        raise _CannotRunError("it is for budgets, not for floors, shares and percentiles")
    if options.get("until_success") or options.get("until_accepted"):
        raise _CannotRunError(
            "it scores fixed numbers of samples, not those that stop at a success"
        )
    if (
        isinstance(source, FitResult)
        and options.get("values") == "posterior"
        and source.objective != "likelihood"
    ):
        raise _CannotRunError(
            f"the law was fitted by {source.objective}; parts are refitted by likelihood only"
        )
    whole = _groups(source)
    groups, attempts = _testable(whole)
    most = float(attempts - attempts // PARTS)
    reach = np.inf if options.get("extrapolate") else attempts
    if options.get("weights") is not None and any(
        len(g.rows) < len(w.rows) for g, w in zip(groups, whole, strict=True)
    ):
        raise _CannotRunError("weights are given, and some problems have fewer attempts than most")
    given = {k: v for k, v in options.items() if k != "costs"}  # the menu has them
    trials: dict[float, dict[tuple[Any, ...], list[FloatArray]]] = {}
    weight: dict[tuple[Any, ...], float] = {}
    rng = np.random.default_rng(seed)
    for _ in range(CUTS):
        left = [g.counts for g in groups]
        for _ in range(PARTS):
            part = [_part(g.counts, rest, rng) for g, rest in zip(groups, left, strict=True)]
            held = [_less(g.counts, taken) for g, taken in zip(groups, part, strict=True)]
            left = [_less(rest, taken) for rest, taken in zip(left, part, strict=True)]
            menu = _trained(source, part, [g.rows for g in groups], options)
            trials = trials or {s: {} for s in _scales(menu, limits, most, reach, given)}
            for scale, trial in trials.items():
                asked = _scaled(limits, scale, min(most, reach * scale))
                chosen = allocate(menu, limits=asked, **given)
                even = allocate(menu, limits=asked, **given, evenly=True)
                for key, w, gains in _scored(chosen, even, held, options["classes"]):
                    trial.setdefault(key, []).append(gains)
                    weight[key] = w
    return [_mean(trial, weight) for trial in trials.values()]


def _part(whole: Counts, left: Counts, rng: np.random.Generator) -> Counts:
    """A part of the attempts, of those that are left."""
    size = whole.n // PARTS
    return replace(whole, n=size, c=rng.hypergeometric(left.c, left.n - left.c, size))


def _less(counts: Counts, taken: Counts) -> Counts:
    return replace(counts, n=counts.n - taken.n, c=counts.c - taken.c)


def _groups(source: FitResult | Sweep) -> list[_Group]:
    if isinstance(source, Sweep):
        found = [g for g in source.groups() if isinstance(g, Counts)]
        if not found:
            raise _CannotRunError("points of a curve have no attempts to hold out")
        return [_Group(g, np.arange(len(g.n))) for g in found]
    out = []
    for g in source.groups:
        p = g.problems
        if p is None:
            raise _CannotRunError(f"the fit of {g.label()} holds no counts by problem")
        counts = Counts(g.by, p.task, p.problem, p.n, p.c, None, g.stop_rule, g.resources, g.model)
        out.append(_Group(counts, np.arange(len(p.n))))
    return out


def _testable(groups: list[_Group]) -> tuple[list[_Group], int]:
    """Problems with as many attempts as most have, and how many these are."""
    from scaling.data.groups import looks_success_stopped

    for g in groups:
        rule = g.counts.stop_rule
        if rule not in (None, "fixed", "unknown") or (
            rule != "fixed" and looks_success_stopped(g.counts)
        ):
            raise _CannotRunError(
                "attempts stop at the first success, so parts of them are not alike"
            )
    usual = int(np.median(np.concatenate([g.counts.n for g in groups])))
    if usual < PARTS:
        raise _CannotRunError(f"most problems have {usual} attempts or fewer; it needs four")
    out = []
    for g in groups:
        rows = np.flatnonzero(g.counts.n >= usual)
        if not len(rows):
            raise _CannotRunError(
                f"no problem of one group has the {usual} attempts that others have"
            )
        c = g.counts
        taken = replace(c, task=c.task[rows], problem=c.problem[rows], n=c.n[rows], c=c.c[rows])
        out.append(_Group(taken, rows))
    return out, usual


def _trained(
    source: FitResult | Sweep,
    counts: Sequence[Counts],
    rows: Sequence[IntArray],
    options: Mapping[str, Any],
) -> Menu:
    """What part of the attempts promises."""
    asked: dict[str, Any] = {
        "classes": options["classes"],
        "costs": options.get("costs"),
        "skip": options.get("allow_skip", False),
        "extrapolate": True,  # what is on offer is kept to its share of the budget by `_scaled`
    }
    if options["values"] == "plugin" or isinstance(source, Sweep):
        return plugin_menu(counts, bins=getattr(source, "bins", None), **asked)
    fit = refitted(source, counts, rows, classes=asked["classes"])
    return fit.menu(values=options["values"], **asked)


def _scales(
    menu: Menu,
    limits: Sequence[Limit],
    most: float,
    reach: float,
    options: Mapping[str, Any],
) -> list[float]:
    """What to multiply the budget by: a quarter, and the most of which the even spend is half of `most` or less."""
    scale = 1.0
    found: list[float] = []
    while scale > 1e-6 and not (found and scale < 1 / PARTS):
        try:
            asked = _scaled(limits, scale, min(most, reach * scale))
            even = allocate(menu, limits=asked, **options, evenly=True)
        except InfeasibleError:
            break
        rung = even.chosen[even.chosen >= 0]
        if not len(rung) or 2 * even.ladder.action["samples"][rung].max() <= most:
            found.append(scale)
        scale /= 2
    if not found:
        raise _CannotRunError(
            "the budget cannot be cut down to what part of the attempts can score"
        )
    return sorted({found[0], found[-1]})


def _scaled(limits: Sequence[Limit], scale: float, most: float) -> list[Limit]:
    """The limits on a share of the budget, with at most so many samples a query."""
    out = [
        limit if limit.scope == "each" else replace(limit, amount=limit.amount * scale)
        for limit in limits
    ]
    return [*out, Limit("samples", "each", max(most, 1.0))]


def _scored(
    chosen: Allocation, even: Allocation, held: Sequence[Counts], classes: str
) -> Iterator[tuple[tuple[Any, ...], float, FloatArray]]:
    """Class, weight and the gain of each of its problems on held-out attempts."""
    where = {}
    for counts in held:
        own = {k: v for k, v in counts.by.items() if k not in ACTION_COLUMNS}
        action = _action({"model": counts.model or "", **counts.by})
        where[(tuple(sorted(own.items())), action)] = counts
    for i, weight in enumerate(chosen.ladder.weight.tolist()):
        key = {name: plain(values[i]) for name, values in chosen.ladder.key.items()}
        if chosen.chosen[i] == -2 or even.chosen[i] == -2:
            gains = np.zeros(1)  # served the fallback either way
        else:
            gains = _value(chosen, i, key, where, classes) - _value(even, i, key, where, classes)
        yield tuple(key.items()), weight, gains


def _value(
    allocation: Allocation,
    index: int,
    key: Mapping[str, Any],
    where: Mapping[Any, Counts],
    classes: str,
) -> FloatArray:
    """Pass@k of each problem of a class on held-out attempts, for the action it gets."""
    rung = int(allocation.chosen[index])
    action = allocation.ladder.action_of(rung) if rung >= 0 else {}
    own = {k: v for k, v in key.items() if classes == "group" or k not in ("task", "problem")}
    candidates = [
        counts
        for (by, knobs), counts in where.items()
        if own.items() >= {k: v for k, v in by if k != "task" or k in own}.items()
        and (rung < 0 or knobs == _action(action))
    ]
    for counts in candidates:
        mine = np.arange(len(counts.n))
        if classes == "problem":
            same = counts.problem == str(key["problem"])
            if "task" in key:
                same &= counts.task == str(key["task"])
            mine = np.flatnonzero(same)
        if len(mine):
            if rung < 0:
                return np.zeros(len(mine))
            return pass_at_k(counts.n[mine], counts.c[mine], action["samples"])
    raise _CannotRunError("a class has no held-out attempts for the action that it gets")


def _action(columns: Mapping[str, Any]) -> tuple[Any, ...]:
    """Action columns other than samples, in one order."""
    named = {k: columns[k] for k in ACTION_COLUMNS if k in columns and k != "samples"}
    return tuple(sorted((k, v) for k, v in named.items() if v != ""))


def _mean(
    trial: Mapping[tuple[Any, ...], Sequence[FloatArray]], weight: Mapping[tuple[Any, ...], float]
) -> tuple[float, float]:
    """Weighted mean gain over classes and its standard error, problems as the units."""
    total = sum(weight.values())
    if all(len(g) == 1 for gains in trial.values() for g in gains):  # classes are problems
        each = np.array([np.mean(gains) for gains in trial.values()])
        share = np.array([weight[key] for key in trial]) / total
        gain = float(share @ each)
        P = len(each)
        return gain, float(np.sqrt(P / max(P - 1, 1) * (share**2 @ (each - gain) ** 2)))
    gain, variance = 0.0, 0.0
    for key, gains in trial.items():
        size = max(len(g) for g in gains)
        own = np.mean([np.broadcast_to(g, size) for g in gains], axis=0)
        part = weight[key] / total
        gain += part * float(own.mean())
        variance += part**2 * float(own.var(ddof=1)) / len(own) if len(own) > 1 else 0.0
    return gain, float(np.sqrt(variance))
