"""Which problem to sample next: orders of attempts, replayed on rates, counts and logs.

A problem tells of itself only, and only by how often it has failed. So a rule for what to sample
next is a list of (problem, attempt), gone through once: what is solved by then is passed over. A
list sorted by an index that falls from attempt to attempt is the best rule there is; where it does
not fall, the index is the slope of the concave hull of what the attempts win against what they cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from scaling.allocators.repeated_sampling import checked_costs, checked_rates
from scaling.allocators.stop_at_success import Simulated
from scaling.curves import upper_hull
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from scaling.curves import BoolArray, FloatArray, IntArray, Menu

_LARGEST = 200_000_000


@dataclass(frozen=True)
class Order:
    """Attempts in the order in which they are due, N of them.

    Attributes:
        problem: shape (N,).
        attempt: shape (N,), from 1; each problem's rise.
        index: shape (N,), what the attempt wins per unit of cost where it is made, never rising: it
            is the price up to which it pays. NaN where the order has another reason.
    """

    problem: IntArray
    attempt: IntArray
    index: FloatArray

    def worth(self, price: float) -> Order:
        """The attempts that pay at a price per unit of cost: the marginal-value stop rule."""
        keep = self.index >= price
        return Order(self.problem[keep], self.attempt[keep], self.index[keep])


def round_robin_order(problems: int, most: int) -> Order:
    """Every problem in turn, `most` times: Reset and Discard (arXiv 2601.21522).

    The best order where costs are equal and one prior holds for all.
    """
    attempt, problem = np.divmod(np.arange(_within(problems, most)), problems)
    return Order(problem, attempt + 1, np.full(problem.size, np.nan))


def rate_order(p: ArrayLike, most: int, cost: ArrayLike | None = None) -> Order:
    """Known rates, best p / cost first: known rates have no memory, so problem after problem.

    Args:
        p: success rates, shape (P,).
        most: attempts of each problem at most.
        cost: of an attempt, shape (P,); 1 where None.

    Raises:
        InputError: no problem, a rate outside [0, 1], or a cost that is not positive.
        UsageError: the list would be too long.
    """
    rate = checked_rates(p)
    index = _per_cost(rate, cost)
    _within(rate.size, most)
    problem = np.repeat(np.argsort(-index, kind="stable"), most)
    attempt = np.tile(np.arange(1, most + 1), rate.size)
    return Order(problem, attempt, index[problem])


def posterior_order(
    alpha: ArrayLike, beta: ArrayLike, most: int, cost: ArrayLike | None = None
) -> Order:
    """Rates Beta(α_i, β_i) each: attempt j+1 has the index `α / (α + β + j) / cost`.

    After c successes in n logged attempts and a Beta(a, b) prior, α = a + c and β = b + n - c. The
    index falls in j, so that the greedy choice is the Gittins choice, and the list is the best of
    all rules at equal costs; for one prior and no log it is a round robin.

    Args:
        alpha: positive, shape (P,).
        beta: likewise.
        most: attempts of each problem at most.
        cost: of an attempt, shape (P,); 1 where None.

    Raises:
        InputError: shapes that differ, a parameter or cost that is not positive.
        UsageError: the list would be too long.
    """
    a, b = np.atleast_1d(np.asarray(alpha, float)), np.atleast_1d(np.asarray(beta, float))
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise InputError(f"alpha has shape {a.shape} and beta {b.shape}. Give one each a problem.")
    wrong = np.flatnonzero(~((a > 0) & (b > 0) & np.isfinite(a) & np.isfinite(b)))
    if wrong.size:
        i = int(wrong[0])
        raise InputError(
            f"The posterior of problem {i} is Beta({a[i]}, {b[i]}). Both numbers are positive: a "
            "prior's, plus successes and failures."
        )
    _within(a.size, most)
    index = _per_cost(a, cost)[:, None] / ((a + b)[:, None] + np.arange(most))
    problem = np.repeat(np.arange(a.size), most)
    attempt = np.tile(np.arange(1, most + 1), a.size)
    return _sorted(problem, attempt, index.reshape(-1), attempt)


def index_order(menu: Menu, resource: str = "samples") -> Order:
    """The order of a menu of stopped sampling, one class a problem.

    A stopped menu (`until_success`, `until_accepted`) says what k attempts win and cost in
    expectation. From the hull of one against the other follows the index of each attempt, the best
    win per cost that any plan from it on can have: the Gittins index of an arm that only its own
    failures tell of. Attempts that share a step of the hull stay together. Attempts past the last
    vertex win nothing and are left out, so a curve that peaks is never followed past its peak.

    Args:
        menu: one run of numbers of samples a class; classes count alike.
        resource: what attempts cost.

    Raises:
        UsageError: the menu's sampling does not stop, it lacks the resource, a class has a choice of
            other actions, or the list would be too long.
    """
    stopped = set(np.unique(menu.action["stop_rule"])) if "stop_rule" in menu.action else set()
    if stopped != {"first_accepted"} or "samples" not in menu.action:
        raise UsageError(
            "An order of attempts needs a menu whose sampling stops at the first success. Give "
            "until_success(menu) or until_accepted(menu, right, wrong)."
        )
    if resource not in menu.cost:
        raise UsageError(f"The menu has no cost in {resource}; it has: {', '.join(menu.cost)}.")
    samples = menu.action["samples"]
    usable = np.flatnonzero(menu.curve >= 0)
    low, high = menu.start[menu.curve[usable]], menu.start[menu.curve[usable] + 1]
    most = high - low
    _within(1, int(most.sum()))
    ends = samples[np.maximum(high - 1, 0)]
    if (most == 0).any() or (ends != most).any() or (samples[low] != 1).any():
        broken = int(usable[np.flatnonzero((most == 0) | (ends != most) | (samples[low] != 1))[0]])
        raise UsageError(
            f"Class {menu.class_name(broken)} has a choice of other actions than the number of "
            "samples. An order is over attempts of one kind: leave one model and one setting a class."
        )
    hull = upper_hull(menu.value, menu.cost[resource], menu.start, nothing=True)
    parts = []
    for problem, curve in zip(usable.tolist(), menu.curve[usable].tolist(), strict=True):
        vertices = slice(int(hull.start[curve]) + 1, int(hull.start[curve + 1]))
        ends = samples[hull.index[vertices]]
        if not ends.size:
            continue
        attempt = np.arange(1, int(ends[-1]) + 1)
        step = np.searchsorted(ends, attempt)
        parts.append(
            (np.full(attempt.size, problem), attempt, hull.slope[vertices][step], ends[step])
        )
    if not parts:
        return Order(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return _sorted(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _sorted(problem: IntArray, attempt: IntArray, index: FloatArray, until: IntArray) -> Order:
    """By index; of equal ones the problem tried least, and steps of one hull stay whole."""
    order = np.lexsort((attempt, problem, until, -index))
    return Order(problem[order], attempt[order], index[order])


def _per_cost(rate: FloatArray, cost: ArrayLike | None) -> FloatArray:
    return rate if cost is None else rate / checked_costs(cost, rate.size)


def _within(problems: int, most: int) -> int:
    """How long the list is."""
    if most < 1 or problems < 1:
        raise UsageError(f"An order of {most} attempts of {problems} problems. Give one or more.")
    if problems * most > _LARGEST:
        raise UsageError(
            f"An order of {most:,} attempts of {problems:,} problems is too long. Give fewer attempts."
        )
    return problems * most


# --- replay ----------------------------------------------------------------------------------


class Stops(NamedTuple):
    """When sampling a problem to its end would have stopped, in R passes over P problems.

    Attributes:
        attempt: shape (R, P), the attempt that was accepted first; one more than there are where
            none was.
        right: shape (R, P), whether what was accepted is right.
        most: shape (P,), attempts that there are.
    """

    attempt: IntArray
    right: BoolArray
    most: IntArray


def stops_of_rates(
    p: ArrayLike,
    most: int,
    *,
    right: ArrayLike = 1.0,
    wrong: ArrayLike = 0.0,
    replicates: int = 1000,
    seed: int = 0,
) -> Stops:
    """Simulated passes at known rates.

    Args:
        p: success rates, shape (P,).
        most: attempts of each problem.
        right: probability that a right sample is accepted, one number or shape (P,).
        wrong: that a wrong one is, likewise.
        replicates: passes.
        seed: of the simulation.

    Raises:
        InputError: no problem, or a rate outside [0, 1].
        UsageError: fewer than one pass or attempt, or too many.
    """
    rate = checked_rates(p)
    t, f = (checked_rates(np.broadcast_to(each, rate.shape)) for each in (right, wrong))
    _within(rate.size, replicates)
    accepted = rate * t + (1 - rate) * f
    rng = np.random.default_rng(seed)
    attempt = np.full((replicates, rate.size), _within(1, most) + 1)
    ever = accepted > 0
    drawn = rng.geometric(accepted[ever], (replicates, int(ever.sum())))
    attempt[:, ever] = np.minimum(drawn, most + 1)
    precision = np.divide(rate * t, accepted, out=np.zeros_like(rate), where=ever)
    correct = rng.random(attempt.shape) < precision
    return Stops(attempt, correct & (attempt <= most), np.full(rate.size, most))


def stops_of_counts(
    n: ArrayLike,
    accepted: ArrayLike,
    right: ArrayLike | None = None,
    *,
    replicates: int = 1000,
    seed: int = 0,
) -> Stops:
    """Passes over logged attempts in random order, without replacement, from the counts alone.

    `P(no accept in k) = C(n-A, k) / C(n, k)`, and the first accepted is any of the accepted ones.

    Args:
        n: logged attempts, shape (P,).
        accepted: how many of them were accepted (correct ones, where the verifier is perfect).
        right: how many of the accepted ones are right; all where None.
        replicates: passes.
        seed: of the order.

    Raises:
        InputError: shapes that differ, or counts that are not 0 <= right <= accepted <= n, n >= 1.
        UsageError: fewer than one pass, or too many.
    """
    tried, kept = np.asarray(n), np.asarray(accepted)
    good = kept if right is None else np.asarray(right)
    if not (tried.shape == kept.shape == good.shape and tried.ndim == 1 and tried.size):
        raise InputError(
            f"Counts have shapes {tried.shape}, {kept.shape} and {good.shape}. Give one each a problem."
        )
    wrong = np.flatnonzero(~((good >= 0) & (good <= kept) & (kept <= tried) & (tried >= 1)))
    if wrong.size:
        i = int(wrong[0])
        raise InputError(
            f"Problem {i} has {tried[i]} attempts, {kept[i]} accepted, {good[i]} right. It must be "
            "0 <= right <= accepted <= attempts, and one attempt at least."
        )
    _within(tried.size, replicates)
    rng = np.random.default_rng(seed)
    attempt = np.empty((replicates, tried.size), dtype=np.int64)
    for i, (size, hits) in enumerate(zip(tried.tolist(), kept.tolist(), strict=True)):
        k = np.arange(size)
        survives = np.cumprod(np.maximum(size - hits - k, 0) / (size - k))  # none in k + 1
        attempt[:, i] = np.searchsorted(-survives, -rng.random(replicates), side="right") + 1
        attempt[:, i] = np.where(hits > 0, attempt[:, i], size + 1)
    precision = np.divide(good, kept, out=np.zeros(kept.size), where=kept > 0)
    correct = rng.random(attempt.shape) < precision
    return Stops(attempt, correct & (attempt <= tried), tried.astype(np.int64))


def stops_of_log(
    accepted: NDArray[np.bool_], bounds: ArrayLike, right: NDArray[np.bool_] | None = None
) -> Stops:
    """One pass over a log in its own order.

    Args:
        accepted: verdicts, problem after problem, shape (A,): `Outcomes.bits` where the verifier is
            perfect.
        bounds: where each problem's begin and end, shape (P + 1,): `Outcomes.indptr`.
        right: whether each is right, shape (A,); where None, what is accepted is.

    Raises:
        InputError: bounds that do not rise from 0 to A, or a problem without attempts.
    """
    at = np.asarray(bounds, dtype=np.int64)
    verdict = np.asarray(accepted, dtype=bool)
    truth = verdict if right is None else np.asarray(right, dtype=bool)
    if (
        at.ndim != 1
        or at.size < 2
        or at[0] != 0
        or at[-1] != verdict.size
        or (np.diff(at) < 1).any()
    ):
        raise InputError(
            "The bounds of a log rise from 0 to the number of attempts, one problem or more, each "
            "with one attempt or more."
        )
    if truth.shape != verdict.shape:
        raise InputError(f"right has shape {truth.shape}; the log has {verdict.size} attempts.")
    most = np.diff(at)
    place = np.where(verdict, np.arange(verdict.size), verdict.size)
    first = np.minimum.reduceat(place, at[:-1])
    found = first < at[1:]
    attempt = np.where(found, first - at[:-1], most) + 1
    correct = found & truth[np.minimum(first, verdict.size - 1)]
    return Stops(attempt[None], correct[None], most)


def replay(
    order: Order, stops: Stops, budget: ArrayLike, cost: ArrayLike | None = None
) -> Simulated:
    """Share of problems that are served a right sample, by what is spent in all (coverage@cost).

    The order is gone through until the next attempt does not fit; problems that have stopped are
    passed over. Where the order ends before the budget, the rest is not spent.

    Args:
        order: what is due when.
        stops: passes, all problems that the order names among them.
        budget: totals over all problems, any shape.
        cost: of an attempt, shape (P,); 1 where None.

    Returns:
        Mean and standard error over the passes, each of the shape of `budget`; the error is NaN for
        one pass.

    Raises:
        UsageError: a budget that is no number or negative, or an order that names a problem or an
            attempt that is not there.
        InputError: costs that are not positive.
    """
    R, P = stops.attempt.shape
    price = np.ones(P) if cost is None else checked_costs(cost, P)
    total = np.asarray(budget, dtype=np.float64)
    if not (total >= 0).all():
        raise UsageError(
            f"The budget is {total[~(total >= 0)].flat[0]:g}. It must be zero or more."
        )
    if order.problem.size and int(order.problem.max()) >= P:
        raise UsageError(f"The order names problem {order.problem.max()}; there are {P}.")
    beyond = np.flatnonzero(order.attempt > stops.most[order.problem])
    if beyond.size:
        i = int(beyond[0])
        raise UsageError(
            f"The order has attempt {order.attempt[i]} of problem {order.problem[i]}, of which there "
            f"are {stops.most[order.problem[i]]}. Make an order of fewer attempts, or more attempts."
        )
    each = price[order.problem]
    wins = np.empty((R, total.size))
    for r in range(R):
        last = stops.attempt[r, order.problem]
        made = order.attempt <= last
        spent = np.cumsum(each * made)
        won = np.cumsum((order.attempt == last) & stops.right[r, order.problem])
        reached = np.searchsorted(spent, total.reshape(-1) * (1 + 1e-12), side="right")
        wins[r] = np.concatenate(([0], won))[reached] / P
    se = wins.std(axis=0, ddof=1) / np.sqrt(R) if R > 1 else np.full(total.size, np.nan)
    return Simulated(wins.mean(axis=0).reshape(total.shape), se.reshape(total.shape))
