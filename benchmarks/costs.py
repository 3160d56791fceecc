"""A million configurations priced in one call, against a loop over the bare formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.harness import best_of, row, seconds
from scaling.costs import CostModel, Request
from scaling.data.catalogue.hardware import hardware
from scaling.data.catalogue.models import model

if TYPE_CHECKING:
    from benchmarks.harness import Row

CONFIGURATIONS = 1_000_000
PART = 100_000
BAR = 30

COST = CostModel(model("Qwen3-8B"), hardware("h100_sxm"))
W, HEAD = COST.model.linear_weights, COST.model.lm_head
A_C, A_M = COST.model.attention_flops, 2 * COST.model.kv_elements
I = COST.charged_intensity


def dense(P: int, l: int, N: int) -> float:
    """The formula as somebody would write it down: prefill once, decode, caches read and written."""
    flops = 2 * W * P + 2 * HEAD + A_C * P * (P + 1) / 2
    flops += N * (2 * (W + HEAD) * l + A_C * (P * l + l * (l + 1) / 2))
    moved = A_M * (N * l * (l + 1) / 2 + P * l) + A_M * (P + N * l)
    return flops + I * moved


def sparse(P: int, l: int, N: int, B: int) -> float:
    """With a budget of B cached tokens a step, which samples do not share."""
    x = min(max(B - P, 0), l)
    read = N * (P * x + x * (x + 1) / 2 + B * (l - x))
    flops = 2 * W * P + 2 * HEAD + A_C * P * (P + 1) / 2
    flops += N * 2 * (W + HEAD) * l + A_C * read
    return flops + I * (A_M * read + A_M * (P + N * l))


def measure() -> list[Row]:
    rng = np.random.default_rng(0)
    P, l = rng.integers(1, 4096, CONFIGURATIONS), rng.integers(1, 32_768, CONFIGURATIONS)
    N, B = rng.integers(1, 64, CONFIGURATIONS), rng.integers(32, 4096, CONFIGURATIONS)
    p, m, k, b = (x[:PART].tolist() for x in (P, l, N, B))
    priced: dict[str, list[float]] = {}

    def loop_dense() -> None:
        priced["dense"] = [dense(*each) for each in zip(p, m, k, strict=True)]

    def loop_sparse() -> None:
        priced["sparse"] = [sparse(*each) for each in zip(p, m, k, b, strict=True)]

    rows = []
    for name, budget, loop in (("dense", None, loop_dense), ("sparse", B, loop_sparse)):

        def ours(budget: object = budget) -> np.ndarray:
            return COST.price(Request(P, l, N, kv_budget=budget)).eflops  # type: ignore[arg-type]

        (ours_s,) = best_of(ours)
        rival_s = min(seconds(loop) for _ in range(3))
        # A fast wrong answer is no answer.
        np.testing.assert_allclose(ours()[:PART], priced[name], rtol=1e-12)
        rows.append(
            row(
                f"eFLOPs of 10^6 {name} configurations",
                ours_s,
                "Python loop over the bare formula",
                rival_s * CONFIGURATIONS / PART,
                bar=BAR,
                note=f"loop timed on {PART:,} configurations, scaled",
            )
        )
    return rows
