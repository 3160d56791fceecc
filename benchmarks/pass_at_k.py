"""Coverage curve of 10^6 problems at 50 k: unique counts against the published loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import best_of, row, seconds
from scaling.fitting.passk import coverage

if TYPE_CHECKING:
    from benchmarks.harness import Row

PROBLEMS = 1_000_000
PART = 500


def product_loop(n: int, c: int, k: int) -> float:
    """Chen et al. (2021), figure 3."""
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def measure() -> list[Row]:
    return [against_loop(n) for n in (200, 10_000)]


def against_loop(attempts: int) -> Row:
    rng = np.random.default_rng(0)
    n = np.full(PROBLEMS, attempts)
    c = rng.binomial(n, rng.beta(0.3, 5.0, PROBLEMS))
    k = np.round(np.linspace(1, attempts, 50)).astype(np.int64)
    part: list[float] = []

    def loop() -> None:
        curves = [[product_loop(attempts, int(x), int(j)) for j in k] for x in c[:PART]]
        part[:] = np.mean(curves, axis=0).tolist()

    ours_s, *_ = best_of(lambda: coverage(n, c, k))
    rival_s = seconds(loop)
    # A fast wrong answer is no answer.
    np.testing.assert_allclose(coverage(n[:PART], c[:PART], k), part, rtol=0, atol=1e-10)
    return row(
        f"pass@k, 10^6 problems, 50 k, n = {attempts:,}",
        ours_s,
        "product loop of Chen et al.",
        rival_s * PROBLEMS / PART,
        bar=10_000,
        note=f"loop timed on {PART} problems, scaled",
    )
