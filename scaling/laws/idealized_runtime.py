"""Runtime of a request as a profiled prompt time plus a constant time a generated token."""

from __future__ import annotations

from scaling.core.law import Reference
from scaling.core.profiled import Profiled, param
from scaling.core.prompt_times import BETA, prompt_name
from scaling.core.runtime import GENERATED_TOKENS, PROMPT_TOKENS, SECONDS

p, o = PROMPT_TOKENS, GENERATED_TOKENS
beta, first = param(BETA), param(prompt_name(1))

# As declared it has one profiled length, 1; a fit has those of its log (`Profiled.fitted`).
LAW = Profiled(
    name="idealized-runtime",
    meaning="seconds of a request: its prompt, by profiled length, plus beta for each further token",
    inputs=(p, o),
    params=(beta, first),
    output=SECONDS,
    expression=first.sym * p.sym + beta.sym * (o.sym - 1),
    objectives=("differences", "denoised", "additive"),
    guess={},
    claims=("increasing",),
    references=(
        Reference(
            "Narayanan et al. (2023), Cheaply Estimating Inference Efficiency Metrics for Autoregressive "
            "Transformer Models",
            "section 3, runtime as a sum of prompt and output; the estimator and the scaling from the "
            "next profiled length as in the code that accompanies it",
            "2305.02440",
        ),
    ),
)
