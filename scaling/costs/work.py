"""FLOPs and bytes of decode steps and of prefill on one accelerator: what rooflines and fits divide by.

Symbols: b sequences in a step, c context, W_r parameters that a step reads, b_w and b_kv bytes of a weight
and of a cached element. Everything is divided by the tensor-parallel degree; KV heads that are copied
count as often as they are copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.costs.kv_reads import reads
from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.costs.model_config import ModelConfig

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """Work of one accelerator, all of one shape.

    Attributes:
        flops: arithmetic.
        weight_bytes: weights read, once for all sequences of a step.
        kv_bytes: KV cache read, and written in prefill.
        steps: forward passes, one after the other.
    """

    flops: FloatArray
    weight_bytes: FloatArray
    kv_bytes: FloatArray
    steps: FloatArray

    @property
    def bytes(self) -> FloatArray:
        """Everything moved."""
        return self.weight_bytes + self.kv_bytes

    def __add__(self, other: Work) -> Work:
        return Work(
            self.flops + other.flops,
            self.weight_bytes + other.weight_bytes,
            self.kv_bytes + other.kv_bytes,
            self.steps + other.steps,
        )


@dataclass(frozen=True)
class Precision:
    """Bytes of a weight and of a cached element; bf16 both where not given."""

    weight: float = 2.0
    kv: float = 2.0

    def __post_init__(self) -> None:
        for name in ("weight", "kv"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise UsageError(f"bytes of a {name} element are {value}. They must be above zero.")


BF16 = Precision()


def decode(
    model: ModelConfig,
    *,
    batch: ArrayLike,
    context: ArrayLike,
    steps: ArrayLike = 1,
    tensor_parallel: ArrayLike = 1,
    precision: Precision = BF16,
) -> Work:
    """Consecutive decode steps; arguments broadcast.

    A step of b sequences that each attend to c tokens takes `b (2 P + a_c c)` FLOPs and reads
    `b_w W_r(b) + b b_kv e_kv c` bytes, where P are the active parameters, a lookup-only embedding left
    out and norms counted with them (less than 1e-4 of P). Step i attends to `c + i - 1` tokens, in
    layers with a window to no more than it.

    Args:
        model: its shape.
        batch: b, sequences.
        context: c, tokens that the first step attends to, its own included.
        steps: how many.
        tensor_parallel: accelerators that share the model.
        precision: bytes of weights and KV.

    Raises:
        UsageError: an argument that is negative or not finite, or fewer accelerators than one.
    """
    b, c, n, tp = _checked(
        batch=batch, context=context, steps=steps, tensor_parallel=tensor_parallel
    )
    seen = _attended(model, c, n)
    active = model.active_parameters - (0 if model.tied_embeddings else model.embedding_parameters)
    flops = b * (n * (2.0 * active + model.state_flops) + model.layer_attention_flops * seen)
    state = 2.0 * n * model.state_elements  # read and written
    cached = model.layer_kv_elements * seen * _copies(model, tp) + state
    weights = n * precision.weight * model.read_parameters(b)
    return Work(flops / tp, weights / tp, b * precision.kv * cached / tp, n)


def attention(
    model: ModelConfig,
    *,
    batch: ArrayLike,
    context: ArrayLike,
    steps: ArrayLike = 1,
    tensor_parallel: ArrayLike = 1,
    precision: Precision = BF16,
) -> Work:
    """The part of `decode` that is attention to the cache; arguments as there."""
    b, c, n, tp = _checked(
        batch=batch, context=context, steps=steps, tensor_parallel=tensor_parallel
    )
    seen = _attended(model, c, n)
    moved = b * precision.kv * model.layer_kv_elements * seen * _copies(model, tp)
    flops = b * model.layer_attention_flops * seen
    return Work(flops / tp, np.zeros(b.shape), moved / tp, n)


def prefill(
    model: ModelConfig,
    *,
    batch: ArrayLike,
    tokens: ArrayLike,
    tensor_parallel: ArrayLike = 1,
    precision: Precision = BF16,
) -> Work:
    """Reading prompts and giving the first token of each; arguments broadcast.

    `b [2 W p + a_p p (p+1) / 2 + 2 V d]` FLOPs, where W are the matmul weights without the output
    projection; weights are read once, and the KV cache of the prompts is written.

    Raises:
        UsageError: an argument that is negative or not finite, or fewer accelerators than one.
    """
    b, p, tp = _checked(batch=batch, tokens=tokens, tensor_parallel=tensor_parallel)
    pairs = model.layer_prefill_flops * _attended(model, np.ones_like(p), p)
    each = p * (2.0 * model.linear_weights + model.state_flops)
    flops = b * (each + pairs + 2.0 * model.lm_head * (p > 0))
    written = model.kv_elements * p * _copies(model, tp) + model.state_elements
    weights = precision.weight * model.read_parameters(b * p)
    moved = b * precision.kv * written * (p > 0)
    return Work(flops / tp, weights / tp, moved / tp, np.ones_like(p))


def request(
    model: ModelConfig,
    *,
    input_tokens: ArrayLike,
    output_tokens: ArrayLike,
    batch: ArrayLike = 1,
    tensor_parallel: ArrayLike = 1,
    precision: Precision = BF16,
) -> Work:
    """Requests of one size run together: `prefill`, then a decode step for each token but the first."""
    o = np.maximum(np.asarray(output_tokens, dtype=np.float64) - 1, 0)
    shared: dict[str, Any] = {
        "batch": batch,
        "tensor_parallel": tensor_parallel,
        "precision": precision,
    }
    context = np.asarray(input_tokens, dtype=np.float64) + 1
    return prefill(model, tokens=input_tokens, **shared) + decode(
        model, context=context, steps=o, **shared
    )


def _attended(model: ModelConfig, first: FloatArray, steps: FloatArray) -> FloatArray:
    """Sum over layers and steps of the tokens attended to: first, first + 1, ..., each at most the window."""
    total = np.zeros(first.shape)
    for layers, window in model.spans:
        total = total + layers * reads(first - 1, steps, window, 1.0)
    return total


def _copies(model: ModelConfig, tp: FloatArray) -> FloatArray:
    heads = 1 if model.kv_heads is None else model.kv_heads
    return np.maximum(1.0, tp / heads)


def _checked(**given: ArrayLike) -> list[FloatArray]:
    out = []
    for name, value in given.items():
        array = np.asarray(value, dtype=np.float64)
        least = 1.0 if name == "tensor_parallel" else 0.0
        wrong = ~(np.isfinite(array) & (array >= least))
        if wrong.any():
            raise UsageError(
                f"{name} is {array[wrong].flat[0]:g}. It must be finite, at least {least:g}."
            )
        out.append(array)
    return list(np.broadcast_arrays(*out))
