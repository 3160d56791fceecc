"""FLOPs of repeated sampling with a dense transformer: the cost option `flops`.

Brown et al. (2024), Large Language Monkeys, section 2.3: a token at context length L takes
`f(L) = 2 (N + 2 layers d L)` FLOPs, and K samples of D tokens after a prompt of P tokens take
`sum_{t=1..P} f(t) + K sum_{t=1..D} f(t + P)`. Nothing here knows of memory traffic or batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.costs.per_sample import LinearCost, PerModel, SampleCosts
from scaling.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


def inference_flops(
    parameters: ArrayLike,
    layers: ArrayLike,
    width: ArrayLike,
    *,
    input_tokens: ArrayLike,
    output_tokens: ArrayLike,
    samples: ArrayLike = 1,
    prompt_once: bool = True,
) -> FloatArray:
    """FLOPs of `samples` samples of one query; all arguments broadcast.

    The sums in closed form: `2 N P + 2 layers d P (P + 1)` for the prompt and
    `2 N D + 2 layers d D (D + 1 + 2 P)` for each sample. Grouped-query attention changes neither.

    Args:
        parameters: N, weights of the model.
        layers: transformer layers.
        width: d, the model dimension.
        input_tokens: P, tokens of the prompt.
        output_tokens: D, generated tokens of each sample.
        samples: K.
        prompt_once: whether the prompt is processed once a query, as where samples share a cache,
            instead of once a sample, as where each is a call of its own.

    Returns:
        float64; for scalars of shape (). `inference_flops_exact` keeps every digit.

    Raises:
        UsageError: an argument that is negative or not finite.
    """
    named = {
        "parameters": parameters,
        "layers": layers,
        "width": width,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "samples": samples,
    }
    given = {name: np.asarray(value, dtype=np.float64) for name, value in named.items()}
    for name, value in given.items():
        wrong = ~(np.isfinite(value) & (value >= 0))
        if wrong.any():
            raise UsageError(
                f"{name} is {value[wrong].flat[0]}. It must be a finite number, zero or more."
            )
    N, n_layers, d, P, D, K = given.values()
    prompt, sample = _prompt(N, n_layers * d, P), _sample(N, n_layers * d, P, D)
    return np.asarray((1.0 if prompt_once else K) * prompt + K * sample)


def inference_flops_exact(
    parameters: int,
    layers: int,
    width: int,
    *,
    input_tokens: int,
    output_tokens: int,
    samples: int = 1,
    prompt_once: bool = True,
) -> int:
    """`inference_flops` in whole numbers, exact beyond the 53 bits of a float64."""
    prompt = _prompt(parameters, layers * width, input_tokens)
    sample = _sample(parameters, layers * width, input_tokens, output_tokens)
    return int((1 if prompt_once else samples) * prompt + samples * sample)


# A stands for layers d. Any covers exact integers and arrays alike.
def _prompt(N: Any, A: Any, P: Any) -> Any:
    return 2 * N * P + 2 * A * P * (P + 1)


def _sample(N: Any, A: Any, P: Any, D: Any) -> Any:
    return 2 * N * D + 2 * A * D * (D + 1 + 2 * P)


@dataclass(frozen=True)
class FlopsCosts(SampleCosts):
    """Everything that `SampleCosts` says, and the resource `flops` from the shape of the model.

    FLOPs are linear in the number of samples: the prompt is the fixed part, and a sample costs the
    mean of `2 N D + 2 layers d D (D + 1 + 2 P)` over its length D. That is quadratic in D, so at
    the mean length alone it leaves out `2 layers d Var(D)`: about 1% of an 8B model's FLOPs at
    1,000 tokens with a standard deviation of 800. `tokens_sd` puts it back; prompts are taken to
    be of one length. Every number may instead be a mapping from model to number.

    Attributes:
        parameters: weights of the model.
        layers: transformer layers.
        width: the model dimension.
        tokens_sd: standard deviation of the generated tokens of a sample, 0 where not given.
        prefill_once: whether the prompt is processed once a query instead of once a sample.

    Raises:
        UsageError: one of `parameters, layers, width, input_tokens` is missing, or a number is out
            of range.
    """

    parameters: PerModel = None
    layers: PerModel = None
    width: PerModel = None
    tokens_sd: PerModel = None
    prefill_once: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        missing = [name for name in (*_SHAPE, "input_tokens") if getattr(self, name) is None]
        if missing:
            flags = ", ".join("--" + name.replace("_", "-") for name in missing)
            raise UsageError(
                f"FLOPs need the shape of the model and the length of the prompt. Add {flags}."
            )
        for name in (*_SHAPE, "tokens_sd"):
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                if value is None:
                    continue
                if not math.isfinite(value) or value < 0 or (name in _SHAPE and value == 0):
                    least = "above zero" if name in _SHAPE else "zero or more"
                    raise UsageError(
                        f"--{name.replace('_', '-')} is {value}. It must be a finite number, {least}."
                    )

    def of(self, model: str | None, measured: Mapping[str, float]) -> LinearCost:
        """Cost of a sample of one model, FLOPs among the resources.

        Raises:
            UsageError: a number that is needed is missing for this model; the flag is named.
        """
        base = super().of(model, measured)
        if "tokens" not in base.per_sample:
            raise UsageError(
                "FLOPs need the generated tokens of a sample, which the log does not hold. "
                "Add --tokens-per-sample N."
            )
        N, layers, d, P, sd = (
            self._number(name, model) or 0.0 for name in (*_SHAPE, "input_tokens", "tokens_sd")
        )
        A, D = layers * d, base.per_sample["tokens"]
        prompt, sample = float(_prompt(N, A, P)), float(_sample(N, A, P, D) + 2 * A * sd**2)
        if self.prefill_once:
            return LinearCost({**base.fixed, "flops": prompt}, {**base.per_sample, "flops": sample})
        return LinearCost(base.fixed, {**base.per_sample, "flops": prompt + sample})

    @property
    def cost_model(self) -> dict[str, Any]:
        """Name of the cost option and every assumption behind it, for the record."""
        shape: dict[str, Any] = {}
        for name in (*_SHAPE, "tokens_sd"):
            given = getattr(self, name)
            shape[name] = dict(given) if isinstance(given, Mapping) else float(given or 0.0)
        return {
            **super().cost_model,
            "name": "flops",
            **shape,
            "prefill_once": self.prefill_once,
        }


_SHAPE = ("parameters", "layers", "width")

EXAMPLE = FlopsCosts(
    tokens_per_sample=1_000.0, input_tokens=200.0, parameters=8e9, layers=32.0, width=4096.0
)
"""For the contract check."""
