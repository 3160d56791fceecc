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
from scaling.curves import Menu
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
    code = "gate-closed"
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
        code = "gate-open"
        message = (
            f"The gain over the even spend was {shown}, at a budget that parts of the log can "
            "score."
        )
    return Verdict(code == "gate-open", gain, error, {"code": code, "message": message})


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
    """Mean gain and its standard error at each of `_budgets`."""
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
    budgets: list[list[Limit]] = []
    trials: list[list[FloatArray]] = []
    places: _Places | None = None
    rng = np.random.default_rng(seed)
    for _ in range(CUTS):
        left = [g.counts for g in groups]
        for _ in range(PARTS):
            part = [_part(g.counts, rest, rng) for g, rest in zip(groups, left, strict=True)]
            held = [_less(g.counts, taken) for g, taken in zip(groups, part, strict=True)]
            left = [_less(rest, taken) for rest, taken in zip(left, part, strict=True)]
            menu = _trained(source, part, [g.rows for g in groups], options)
            if not budgets:
                budgets = _budgets(menu, limits, most, reach, given)
                trials = [[] for _ in budgets]
            for asked, gains in zip(budgets, trials, strict=True):
                chosen = allocate(menu, limits=asked, **given)
                even = allocate(menu, limits=asked, **given, evenly=True)
                places = places or _Places.of(chosen.ladder, held, options["classes"])
                gains.append(places.gain(chosen, even, held))
    assert places is not None  # noqa: S101 - CUTS, PARTS and the budgets are one or more
    return [places.mean(np.mean(gains, axis=0)) for gains in trials]


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


def _budgets(
    menu: Menu,
    limits: Sequence[Limit],
    most: float,
    reach: float,
    options: Mapping[str, Any],
) -> list[list[Limit]]:
    """The limits on a quarter of the budget, and on the most of it that can be scored, smallest first.

    The most is that of which the even spend is half of `most` samples or less. On offer at a share of the
    budget are as many samples as the same share of `reach`, up to `most`.
    """
    scale = 1.0
    found: list[list[Limit]] = []
    while scale > 1e-6 and not (found and scale < 1 / PARTS):
        asked = _scaled(limits, scale, min(most, reach * scale))
        try:
            even = allocate(menu, limits=asked, **options, evenly=True)
        except InfeasibleError:
            break
        rung = even.chosen[even.chosen >= 0]
        if not len(rung) or 2 * even.ladder.action["samples"][rung].max() <= most:
            found.append(asked)
        scale /= 2
    if not found:
        raise _CannotRunError(
            "the budget cannot be cut down to what part of the attempts can score"
        )
    return [found[-1], found[0]] if len(found) > 1 else found


def _scaled(limits: Sequence[Limit], scale: float, most: float) -> list[Limit]:
    """The limits on a share of the budget, with at most so many samples a query."""
    out = [
        limit if limit.scope == "each" else replace(limit, amount=limit.amount * scale)
        for limit in limits
    ]
    return [*out, Limit("samples", "each", max(most, 1.0))]


@dataclass(frozen=True)
class _Places:
    """Where the problems of each class stand in the counts of all groups, one after the other.

    Attributes:
        weight: of each class, shape (C,).
        owner: the class of each of its problems, shape (R,).
        of_action: by action columns, the place of each of them, shape (R,); -1 where that group lacks it.
    """

    weight: FloatArray
    owner: IntArray
    of_action: Mapping[tuple[Any, ...], IntArray]

    @classmethod
    def of(cls, menu: Menu, groups: Sequence[Counts], classes: str) -> _Places:
        """Of the classes of a menu; of a group, the problems that all its actions were tried on."""
        ends = np.cumsum([0, *(len(g.n) for g in groups)]).tolist()
        features = [{k: v for k, v in g.by.items() if k not in ACTION_COLUMNS} for g in groups]
        by_task = "task" in menu.key
        names = [
            {(t if by_task else "", p): at + i for i, (t, p) in enumerate(_names(g))}
            for g, at in zip(groups, ends, strict=False)
        ]
        owner: list[int] = []
        rows: list[dict[int, int]] = []  # by group, the place of one problem
        for i in range(len(menu.weight)):
            key = menu.key_of(i)
            if classes == "problem":
                asked = (str(key["task"]) if by_task else "", str(key["problem"]))
                key = {k: v for k, v in key.items() if k not in ("task", "problem")}
            mine = [
                j
                for j, by in enumerate(features)
                if key.items() >= {k: v for k, v in by.items() if k != "task" or k in key}.items()
            ]
            if classes == "problem":
                found = [{j: names[j][asked] for j in mine if asked in names[j]}]
            else:
                shared = (
                    [n for n in names[mine[0]] if all(n in names[j] for j in mine)] if mine else []
                )
                found = [{j: names[j][name] for j in mine} for name in shared]
            owner += [i] * len(found)
            rows += found
        of_action: dict[tuple[Any, ...], IntArray] = {}
        for j, g in enumerate(groups):
            action = _action({"model": g.model or "", **g.by})
            place = np.array([row.get(j, -1) for row in rows], dtype=np.int64)
            known = of_action.get(action, np.full(len(rows), -1))
            of_action[action] = np.where(place < 0, known, place)
        return cls(menu.weight, np.array(owner, dtype=np.int64), of_action)

    def passed(self, allocation: Allocation, held: Sequence[Counts]) -> FloatArray:
        """Pass@k of each problem on held-out attempts, for the action that its class gets; shape (R,)."""
        menu, rung = allocation.ladder, allocation.chosen[self.owner]
        some = np.flatnonzero(rung >= 0)
        units, unit = np.unique(rung[some], return_inverse=True)
        number = {action: i for i, action in enumerate(self.of_action)}
        code = [number.get(_action(menu.action_of(r)), len(number)) for r in units.tolist()]
        table = np.stack([*self.of_action.values(), np.full(len(rung), -1)])
        place = np.full(len(rung), -1)
        place[some] = table[np.array(code, dtype=np.int64)[unit], some]
        if (place[some] < 0).any():
            raise _CannotRunError("a class has no held-out attempts for the action that it gets")
        n, c = (np.concatenate([getattr(g, x) for g in held]) for x in ("n", "c"))
        samples = menu.action["samples"][np.maximum(rung, 0)]
        out = np.zeros(len(rung))  # nothing and the fallback count as nothing
        out[some] = pass_at_k(n[place[some]], c[place[some]], samples[some])
        return out

    def gain(self, chosen: Allocation, even: Allocation, held: Sequence[Counts]) -> FloatArray:
        """What each problem gains over the even spend, shape (R,)."""
        lost = (chosen.chosen == -2) | (even.chosen == -2)  # served the fallback either way
        gains = self.passed(chosen, held) - self.passed(even, held)
        return np.where(lost[self.owner], 0.0, gains)

    def mean(self, gains: FloatArray) -> tuple[float, float]:
        """Weighted mean gain over classes and its standard error, problems as the units."""
        C = len(self.weight)
        size = np.bincount(self.owner, minlength=C)
        each = np.bincount(self.owner, gains, C) / np.maximum(size, 1)
        share = self.weight / self.weight.sum()
        gain = float(share @ each)
        if size.max(initial=0) <= 1:  # classes are problems
            return gain, float(np.sqrt(C / max(C - 1, 1) * (share**2 @ (each - gain) ** 2)))
        around = np.bincount(self.owner, (gains - each[self.owner]) ** 2, C)
        return gain, float(np.sqrt(share**2 @ (around / np.maximum(size * (size - 1), 1))))


def _names(counts: Counts) -> Iterator[tuple[str, str]]:
    return zip(counts.task.tolist(), counts.problem.tolist(), strict=True)


def _action(columns: Mapping[str, Any]) -> tuple[Any, ...]:
    """Action columns other than samples, in one order."""
    named = {k: columns[k] for k in ACTION_COLUMNS if k in columns and k != "samples"}
    return tuple(sorted((k, v) for k, v in named.items() if v != ""))
