"""Repeated sampling with a verifier in the loop: a problem that is solved is sampled no more.

Two orders of attempts under one total budget (`sequential` has the general ones), and menus whose
cost is what is used until the first success, or until a verifier that errs accepts. Coverage as a
function of the total number of attempts is the coverage@cost of Meir et al. (2026), Reset and
Discard, arXiv 2601.21522.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaling.allocators.repeated_sampling import checked_costs, checked_rates
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from scaling.curves import BoolArray, FloatArray, IntArray, Menu

_NEGLIGIBLE = 1e-18
_BLOCK = 1_000_000
_FORGOTTEN = 1e-22


def best_p_first(p: ArrayLike, budget: ArrayLike, cost: ArrayLike | None = None) -> FloatArray:
    """Expected coverage of always sampling the unsolved problem with the largest p / cost.

    Known rates have no memory, so that is one problem after the other, each until it is solved.
    Problem j of that order is solved where `S_j = sum_{i<=j} c_i G_i <= budget`, with geometric
    attempts `G_i`; coverage is the mean of `P(S_j <= budget)`. The distribution of `S_j` follows
    from that of `S_{j-1}` by `f_j(t) = p f_{j-1}(t-c) + (1-p) f_j(t-c)`: exact, every term
    positive, in time P times the budget.

    No order has more coverage where all costs are equal. A sample of problem i wins `p_i / c_i`
    per unit spent, whoever decides to draw it, so expected wins are the expectation of
    `sum_i (p_i / c_i) spent_i` with `spent_i <= c_i G_i`; best first is the greedy solution of
    that continuous knapsack on every path. With unequal costs this order stops at the first sample
    that does not fit; that loses less than `max(p)` problems against any other.

    Args:
        p: success rates, shape (P,).
        budget: totals over all problems, whole numbers, any shape.
        cost: of a sample of each problem, whole numbers, shape (P,); 1 where None.

    Returns:
        Expected share of problems solved, of the shape of `budget`.

    Raises:
        InputError: no problem, a rate outside [0, 1], or a cost that is no positive whole number.
        UsageError: a budget that is negative or not whole.
    """
    from scipy.signal import lfilter

    rate, total = checked_rates(p), _checked_budget(budget)
    price = np.ones(rate.size) if cost is None else checked_costs(cost, rate.size)
    c = price.astype(np.int64)
    broken = np.flatnonzero(c != price)
    if broken.size:
        raise InputError(
            f"The cost of a sample of problem {broken[0]} is {price[broken[0]]}. "
            "Costs are whole numbers here; give all, and the budget, in a smaller unit."
        )
    unit = int(np.gcd.reduce(c))
    c, total = c // unit, total // unit
    density = np.zeros(int(total.max(initial=0)) + 1)  # of what the problems so far have used
    density[0] = 1.0
    solved = np.zeros_like(density)
    for i in np.argsort(-rate / c, kind="stable").tolist():
        if rate[i] == 0:
            break
        # one column for each remainder of the spend by the cost
        columns = np.pad(density, (0, -density.size % c[i])).reshape(-1, c[i])
        after = lfilter([0.0, rate[i]], [1.0, rate[i] - 1.0], columns, axis=0)
        density = after.reshape(-1)[: density.size]
        if density.sum() < _NEGLIGIBLE:
            break
        solved += density
    return np.asarray(np.cumsum(solved)[total] / rate.size)


class Simulated(NamedTuple):
    """Expected coverage by simulation.

    Attributes:
        coverage: share of problems solved, mean over replicates.
        se: its standard error.
    """

    coverage: FloatArray
    se: FloatArray


def round_robin(
    p: ArrayLike, budget: ArrayLike, *, replicates: int = 4000, seed: int = 0
) -> Simulated:
    """Coverage of going round the unsolved problems in their order, one attempt each.

    Reset and Discard (arXiv 2601.21522). Where rates are not known, and one Beta(α, β) prior holds
    for all problems, this is the best order: after j failures the next attempt succeeds with
    probability `α / (α + β + j)`, which falls in j, so the problem tried least is the best one.

    Simulated, since what has been spent depends on who was solved when. Attempts to success are
    geometric; the rest is counted, so a replicate costs a sort of P numbers.

    Args:
        p: success rates, shape (P,); they decide the outcomes and not the order.
        budget: totals of attempts over all problems, whole numbers, any shape.
        replicates: simulated passes; every budget uses the same ones.
        seed: of the simulation.

    Returns:
        Mean and standard error, each of the shape of `budget`.

    Raises:
        InputError: no problem, or a rate outside [0, 1].
        UsageError: a budget that is negative or not whole, or fewer than two replicates.
    """
    rate, total = checked_rates(p), _checked_budget(budget)
    if replicates < 2:
        raise UsageError(f"replicates is {replicates}. A standard error needs two or more.")
    rng = np.random.default_rng(seed)
    budgets = total.reshape(-1)
    never = int(budgets.max(initial=0)) + 1
    solvable = rate > 0
    sums = np.zeros((2, budgets.size))
    block = max(1, _BLOCK // rate.size)
    for begin in range(0, replicates, block):
        size = min(block, replicates - begin)
        attempts = np.full((size, rate.size), never)
        drawn = rng.geometric(rate[solvable], (size, int(solvable.sum())))
        attempts[:, solvable] = np.minimum(drawn, never)
        share = _solved(attempts, budgets) / rate.size
        sums += share.sum(axis=0), (share**2).sum(axis=0)
    mean, square = sums / replicates
    variance = np.maximum(square - mean**2, 0.0) / (replicates - 1)
    return Simulated(mean.reshape(total.shape), np.sqrt(variance).reshape(total.shape))


def _solved(attempts: IntArray, budgets: IntArray) -> IntArray:
    """Problems that a round robin solves, shape (R, K), given attempts to success, shape (R, P)."""
    R, P = attempts.shape
    ordered = np.sort(attempts, axis=1)
    used = np.concatenate([np.zeros((R, 1), dtype=np.int64), np.cumsum(ordered, axis=1)], axis=1)
    # total after the round in which the m-th problem falls; the others have had as many attempts
    total = used[:, 1:] + ordered * np.arange(P - 1, -1, -1)
    out = np.empty((R, budgets.size), dtype=np.int64)
    for k, budget in enumerate(budgets.tolist()):
        fallen = (total <= budget).sum(axis=1)
        rest = budget - used[np.arange(R), fallen]
        rounds, left = np.divmod(rest, np.maximum(P - fallen, 1))
        unsolved = attempts > rounds[:, None]
        reached = np.cumsum(unsolved, axis=1) <= left[:, None]
        last = unsolved & reached & (attempts == rounds[:, None] + 1)
        out[:, k] = fallen + last.sum(axis=1)
    return out


def _checked_budget(budget: ArrayLike) -> IntArray:
    given = np.asarray(budget, dtype=np.float64)
    wrong = ~((given >= 0) & (given < 2**53) & (given == np.floor(given)))
    if wrong.any():
        raise UsageError(
            f"The budget is {given[wrong].flat[0]:g}. It must be a whole number, zero or more."
        )
    return given.astype(np.int64)


def until_success(menu: Menu) -> Menu:
    """The same actions at what they cost when sampling stops at the first success.

    Of at most k samples, sample j+1 is drawn where the first j failed: the cost becomes
    `cost(1) + sum_{j=1}^{k-1} (1 - coverage(j)) (cost(j+1) - cost(j))`, the value stays. It is
    linear in coverage, so expected coverage (over draws, or over a posterior) gives expected cost.
    What the next sample is worth is then the chance that it succeeds after the failures so far:
    constant where the rate is known, falling where it is not. So `allocate` takes the best rates
    first, or the problems that have failed least, under a budget that holds on average.

    A failed sample is taken to cost what a right one does, and every right one to be recognised.
    The action column `stop_rule` says `first_accepted`. Costs of unusable classes stay those of all
    samples, the most that they can be.

    Args:
        menu: coverage by number of samples, every number from 1 on.

    Raises:
        UsageError: the menu does not maximise coverage, has no samples, or stops already.
        InputError: numbers of samples are left out; the class and the numbers are named.
    """
    begins = _run_starts(menu)
    missed = np.concatenate(([0.0], 1.0 - np.clip(menu.value[:-1], 0.0, 1.0)))
    return replace(
        menu,
        cost=_cost_where_drawn(menu, begins, missed),
        action={**menu.action, "stop_rule": _everywhere(menu, "first_accepted")},
    )


def until_accepted(menu: Menu, right: float, wrong: float, *, verifier: str | None = None) -> Menu:
    """The same actions where sampling stops at the first sample that a verifier accepts.

    The accepted sample is served; where all k are rejected nothing is, which counts as not right. A
    sample of a problem with rate p is rejected with probability `(1-t) + (t-f)(1-p)`, where t and f
    are the probabilities that a right and a wrong sample are accepted. What the menu tells of the
    rates, `E(1-p)^i = 1 - coverage(i)`, gives the rest, all terms positive:

        E rejected^j = sum_i C(j, i) (1-t)^(j-i) (t-f)^i E(1-p)^i, and so E[rejected^j p]
        value(k) = t sum_{j<k} E[rejected^j p]
        cost(k) = cost(1) + sum_{j=1}^{k-1} E rejected^j (cost(j+1) - cost(j))

    With t = 1 and f = 0 that is `until_success`. The value is the accuracy of `acc(K) = E[p t / a
    (1 - (1-a)^K)]`, a = 1 - rejected (Stroebl et al. 2024, arXiv 2411.17501); it stays below its
    ceiling however many are drawn. The k-th sample is worth `t E[p | k-1 rejected]` where it is
    drawn, which falls in k.

    The two probabilities hold for all problems alike; rates pooled over problems that differ in
    them are not these (the same source, and `closed_forms.verifier_cap` for problems of their own).
    A rejected sample is taken to cost what an accepted one does, the verifier's work included.

    Args:
        menu: coverage by number of samples, every number from 1 on.
        right: t, probability that the verifier accepts a right sample.
        wrong: f, probability that it accepts a wrong one, at most t.
        verifier: what the table calls it; by default a text with the two probabilities.

    Returns:
        A menu that maximises accuracy, with the strategy `resample`. Standard errors and intervals
        of coverage are left out.

    Raises:
        UsageError: the menu does not maximise coverage, has no samples, or stops already; or the
            probabilities are outside [0, 1], or a wrong sample is accepted more often than a right.
        InputError: numbers of samples are left out; the class and the numbers are named.
    """
    if not 0 <= wrong <= right <= 1 or right == 0:
        raise UsageError(
            f"The verifier accepts {right} of the right samples and {wrong} of the wrong ones. Both "
            "are from 0 to 1, the first is positive, and the second at most the first: a verifier "
            "that prefers wrong samples is to be read the other way round."
        )
    begins = _run_starts(menu)
    runs = np.append(np.flatnonzero(begins), menu.value.size)
    length = np.diff(runs)
    drawn, gained = np.empty(menu.value.size), np.empty(menu.value.size)
    for K in np.unique(length).tolist():  # runs of one length at once
        at = runs[:-1][length == K][:, None] + np.arange(K)
        missed = np.pad(
            1.0 - np.clip(menu.value[at], 0.0, 1.0), ((0, 0), (1, 0)), constant_values=1
        )
        drawn[at] = _rejected(missed[:, :-1], 1 - right, right - wrong)
        solved = np.maximum(-np.diff(missed), 0.0)  # interpolated coverage may be off by rounding
        gained[at] = right * _rejected(solved, 1 - right, right - wrong)
    named = verifier or f"accepts {right:g} of right, {wrong:g} of wrong samples"
    return replace(
        menu,
        maximise="accuracy",
        value=np.minimum(_sums(gained, begins), 1.0),
        value_se=None,
        interval=None,
        cost=_cost_where_drawn(menu, begins, drawn),
        action={
            **menu.action,
            "strategy": _everywhere(menu, "resample"),
            "verifier_model": _everywhere(menu, named),
            "stop_rule": _everywhere(menu, "first_accepted"),
        },
    )


def _rejected(moments: FloatArray, stay: float, move: float) -> FloatArray:
    """`E[(stay + move q)^k g(q)]` for k = 0 .. K-1, from `E[q^i g(q)]`, each of shape (runs, K).

    That is `(stay + move)^k` times the mean of `E[q^i g(q)]` over i ~ Binomial(k, move / (stay +
    move)), whose weights follow from those of k-1; weights below 1e-22 are let go.
    """
    out = np.zeros_like(moments)
    total, scale = stay + move, 1.0
    weight, low = np.ones(1), 0
    for k in range(moments.shape[1]):
        out[:, k] = scale * (moments[:, low : low + weight.size] @ weight)
        scale *= total
        if scale == 0:
            break
        weight = (np.append(stay * weight, 0.0) + np.append(0.0, move * weight)) / total
        kept = np.flatnonzero(weight > _FORGOTTEN)
        weight = weight[kept[0] : kept[-1] + 1]
        low += int(kept[0])
    return out


def _cost_where_drawn(menu: Menu, begins: BoolArray, drawn: FloatArray) -> dict[str, FloatArray]:
    """Expected cost by resource, given how likely it is that each rung's last sample is drawn."""
    return {
        resource: _sums(np.where(begins, amount, drawn * np.diff(amount, prepend=0.0)), begins)
        for resource, amount in menu.cost.items()
    }


def _sums(step: FloatArray, begins: BoolArray) -> FloatArray:
    """Running sums, run by run: one over all would lose digits."""
    runs = np.split(step, np.flatnonzero(begins)[1:])
    return np.concatenate([np.cumsum(run) for run in runs])


def _everywhere(menu: Menu, text: str) -> NDArray[np.str_]:
    return np.broadcast_to(np.asarray(text), menu.value.shape)


def _run_starts(menu: Menu) -> BoolArray:
    """Rungs at which one sample of another action or curve begins, shape (N,).

    Raises:
        UsageError: the menu is not of coverage by samples, or stops already.
        InputError: numbers of samples are left out.
    """
    if menu.maximise != "coverage" or "samples" not in menu.action:
        raise UsageError(
            "Stopping at the first success needs a menu of coverage by number of samples; this one "
            f"maximises {menu.maximise} over {', '.join(menu.action) or 'no action'}."
        )
    if "stop_rule" in menu.action:
        raise UsageError("The menu has a stop rule already. Give the menu of all samples.")
    begins = np.zeros(menu.value.size, dtype=np.bool_)
    begins[:1] = True
    begins[menu.start[:-1][np.diff(menu.start) > 0]] = True
    for name, column in menu.action.items():
        if name != "samples":
            begins[1:] |= column[1:] != column[:-1]
    samples = menu.action["samples"]
    expected = np.where(begins, 1, np.concatenate(([0], samples[:-1])) + 1)
    wrong = np.flatnonzero(samples != expected)
    if wrong.size:
        rung = int(wrong[0])
        curve = int(np.searchsorted(menu.start, rung, side="right")) - 1
        classes = np.flatnonzero(menu.curve == curve)
        whose = menu.class_name(int(classes[0])) if classes.size else f"curve {curve}"
        raise InputError(
            f"{whose}: {samples[rung]} samples stand where {expected[rung]} must. What is used until "
            "the first success needs the coverage of every number of samples, from 1 and in order."
        )
    return begins
