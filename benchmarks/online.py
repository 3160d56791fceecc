"""The price controller on a simulated day of 100,000 queries.

Five classes whose success rates follow Beta distributions, up to 256 samples that stop at the first
success, 2,000 tokens a query on average. The table was made for yesterday's mix. A query's rate, its
attempts and the length of its samples are drawn, so what it uses is known only afterwards. Hindsight
is the exact solve for the queries that came.

`python -m benchmarks.online` prints budgets and values; `python -m benchmarks online` the speed.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import best_of, row, seconds
from scaling.allocators import allocate, until_success
from scaling.allocators.online import PriceController
from scaling.allocators.online_replay import arrivals_of, play, use_until_success
from scaling.core.special import log_beta_ratio
from scaling.curves import Menu, over_samples

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Row
    from scaling.allocators.online_replay import Replayed
    from scaling.curves import IntArray

CLASSES = np.array([(3.0, 1.0), (1.0, 1.5), (0.5, 3.0), (0.3, 8.0), (0.2, 20.0)])
TOKENS = np.array([300.0, 500.0, 800.0, 1000.0, 1200.0])
YESTERDAY = np.array([0.3, 0.3, 0.2, 0.15, 0.05])
QUERIES, RATE = 100_000, 2000.0
HOUR = np.arange(24)


def measure() -> list[Row]:
    """Serving at the moving price against solving anew for each query."""
    menu = day_menu()
    arrivals = stationary()
    part = 50

    def resolve() -> None:
        for t in range(part):
            counts = np.bincount(arrivals[t:], minlength=5).astype(np.float64)
            allocate(replace(menu, weight=counts), RATE, unit="tokens")

    def ours() -> Replayed:
        return play(menu, arrivals, controller(menu), use=uses(menu, arrivals))

    ours_s, *_ = best_of(ours, repeats=3)
    rival_s = seconds(resolve) * QUERIES / part
    return [
        row(
            f"serve {QUERIES:,} queries at the moving price",
            ours_s,
            "scaling.allocate for each query anew",
            rival_s,
            note=f"rival timed on {part} queries and scaled; ours with hindsight and simulation",
        )
    ]


def day_menu() -> Menu:
    """What the classes are offered, weighted as yesterday."""
    k = np.arange(1, 257)
    menu = over_samples(
        np.array([-np.expm1(log_beta_ratio(a, b, k)) for a, b in CLASSES]),
        k,
        key={"level": np.arange(5)},
        weight=YESTERDAY,
        curve=np.arange(5),
        cost={"samples": k.astype(np.float64)},
        skip=True,
    )
    tokens = np.outer(TOKENS, k).reshape(-1)
    return until_success(replace(menu, cost={**menu.cost, "tokens": tokens}))


def controller(menu: Menu, step: float = 1.0, *, hard: bool = False) -> PriceController:
    """Warm-started from the solve for yesterday's mix."""
    price = allocate(menu, RATE, unit="tokens").price
    return PriceController(RATE * QUERIES, QUERIES, price or 0.0, step, hard)


def uses(menu: Menu, arrivals: IntArray, seed: int = 1) -> Callable[[int, int], float]:
    """Tokens of each query: rates, attempts to success and lengths (mean 1, sd .53) drawn."""
    rng = np.random.default_rng(seed)
    a, b = CLASSES[arrivals].T
    p = np.maximum(rng.beta(a, b), 1e-9)
    return use_until_success(
        menu, rng.geometric(p), TOKENS[arrivals] * rng.lognormal(-0.125, 0.5, arrivals.size)
    )


def stationary(seed: int = 0) -> IntArray:
    """Yesterday's mix all day, the same number of queries every hour."""
    return arrivals_of(YESTERDAY[None], np.array([QUERIES]), seed=seed)


def drifting(seed: int = 0, queries: int = QUERIES) -> IntArray:
    """Hard queries come towards the evening, when most come; on the whole more than yesterday."""
    evening = 0.5 + 0.5 * np.sin((HOUR - 9) / 24 * 2 * np.pi)
    mix = YESTERDAY * (1 + evening[:, None] * np.array([-0.9, -0.4, 1.5, 1.0, 0.5]))
    volume = 1 + 0.8 * np.sin((HOUR - 9) / 24 * 2 * np.pi)
    count = np.floor(volume / volume.sum() * queries).astype(np.int64)
    count[-1] += queries - count.sum()
    return arrivals_of(mix, count, seed=seed)


def main() -> None:
    """Print what is spent and won."""
    menu = day_menu()
    print(
        f"{'day':44} {'step':>5} {'spend':>8} {'regret':>8} {'kept price: spend':>18} {'µs/query':>9}"
    )

    def report(
        day: str,
        arrivals: IntArray,
        step: float = 1.0,
        *,
        hard: bool = False,
        forecast: Callable[[int], int | None] | None = None,
    ) -> None:
        start = time.perf_counter()
        found = play(
            menu,
            arrivals,
            controller(menu, step, hard=hard),
            use=uses(menu, arrivals),
            forecast=forecast,
        )
        each = (time.perf_counter() - start) / arrivals.size * 1e6
        print(
            f"{day:44} {step:5g} {found.off_budget:+8.2%} {found.regret:8.2%} "
            f"{found.static_spent / found.budget - 1:+18.2%} {each:9.1f}"
        )

    for step in (0.25, 1.0, 4.0):
        report("stationary", stationary(), step)
    for step in (0.25, 1.0, 4.0):
        report("mix and volume drift", drifting(), step)
    more = drifting(queries=QUERIES * 6 // 5)
    report("drift, 20% more queries than foretold", more)
    report("the same, forecast corrected every hour", more, forecast=_hourly(more.size))
    report("the same as foretold, hard stop", more, hard=True)


def _hourly(queries: int) -> Callable[[int], int | None]:
    """The right number of queries to come, told from a quarter of the day on."""
    every = queries // 24
    return lambda t: queries - t if t % every == 0 and t >= queries // 4 else None


if __name__ == "__main__":
    main()
