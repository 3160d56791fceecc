"""Seconds of serving by the roofline, at a batch: the cost option `roofline`.

A step takes at least the larger of its arithmetic at peak rate and its traffic at peak bandwidth
(Williams, Waterman and Patterson 2009). Taken over the whole step this is a lower bound; taken by
operation and added up it is a higher one, as operations run one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.costs import work
from scaling.costs.capacity import USABLE
from scaling.costs.collectives import tensor_parallel_seconds
from scaling.costs.kinetics import two_lengths
from scaling.costs.per_sample import LinearCost, PerModel, SampleCosts, of_shape, tokens_of
from scaling.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from scaling.costs.hardware import Hardware
    from scaling.costs.model_config import ModelConfig

FloatArray = NDArray[np.float64]
Bound = Literal["whole", "operations"]


@dataclass(frozen=True)
class Serving:
    """A model on accelerators.

    Attributes:
        model: its shape.
        hardware: the accelerator.
        tensor_parallel: accelerators that share the model.
        precision: bytes of weights and KV.
        dtype: whose peak arithmetic rate counts.
        bound: "whole" (one maximum over the step) or "operations" (weights and attention apart, added).
        compute_efficiency, memory_efficiency: shares of peak that are reached.
        launch: seconds a step besides its work.
        collectives: whether the all-reduces of tensor parallelism count, at the links of the accelerator.

    Raises:
        UsageError: a number out of range, or a peak or link that the accelerator lacks.
    """

    model: ModelConfig
    hardware: Hardware
    tensor_parallel: int = 1
    precision: work.Precision = work.BF16
    dtype: str = "bf16"
    bound: Bound = "whole"
    compute_efficiency: float = 1.0
    memory_efficiency: float = 1.0
    launch: float = 0.0
    collectives: bool = False

    def __post_init__(self) -> None:
        self.hardware.peak(self.dtype)
        if self.bound not in ("whole", "operations"):
            raise UsageError(f"the bound is {self.bound!r}. It must be whole or operations.")
        for name in ("compute_efficiency", "memory_efficiency"):
            value = getattr(self, name)
            if not 0 < value <= 1:
                raise UsageError(
                    f"{name} is {value}. It is a share of peak, above 0 and at most 1."
                )
        if not (math.isfinite(self.launch) and self.launch >= 0):
            raise UsageError(f"launch is {self.launch} s. It must be finite, zero or more.")
        if self.tensor_parallel < 1 or self.tensor_parallel != int(self.tensor_parallel):
            raise UsageError(
                f"the tensor-parallel degree is {self.tensor_parallel}; it starts at 1."
            )
        if self.collectives and self.tensor_parallel > 1:
            self.hardware.known("intra_node")

    # -- one step ------------------------------------------------------------------------------------

    def seconds(self, done: work.Work) -> FloatArray:
        """`max(FLOPs / (e_F F), bytes / (e_W W))`: the bound of the whole work, without launch."""
        F = self.hardware.peak(self.dtype) * self.compute_efficiency
        W = self.hardware.bandwidth * self.memory_efficiency
        return np.maximum(done.flops / F, done.bytes / W)

    def decode_seconds(
        self, batch: ArrayLike, context: ArrayLike, steps: ArrayLike = 1
    ) -> FloatArray:
        """Seconds of decode steps of `batch` sequences, the first at `context`; arguments broadcast.

        Over several steps the bound is taken at their mean context, where it lies between the extremes;
        for the bound of the whole work this is exact unless the steps change sides.
        """
        done = work.decode(
            self.model,
            batch=batch,
            context=context,
            steps=steps,
            tensor_parallel=self.tensor_parallel,
            precision=self.precision,
        )
        n = np.asarray(steps, dtype=np.float64)
        moved = self._exchange(np.asarray(batch, dtype=np.float64))
        return np.asarray(
            self._bounded(done, self._attention(batch, context, n)) + n * (moved + self.launch)
        )

    def verify_seconds(self, batch: float, context: float, tokens: int) -> float:
        """Seconds of a step in which each sequence brings `tokens` tokens: what verifying a draft takes.

        Weights and caches are read once; arithmetic is that of all the tokens.
        """
        one = work.decode(
            self.model,
            batch=batch,
            context=context,
            tensor_parallel=self.tensor_parallel,
            precision=self.precision,
        )
        many = work.decode(
            self.model,
            batch=batch * tokens,
            context=context + (tokens - 1) / 2,
            tensor_parallel=self.tensor_parallel,
            precision=self.precision,
        )
        done = work.Work(many.flops, many.weight_bytes, one.kv_bytes, one.steps)
        moved = self._exchange(np.asarray(batch * tokens, dtype=np.float64))
        return float(self.seconds(done) + moved + self.launch)

    def prefill_seconds(self, batch: ArrayLike, tokens: ArrayLike) -> FloatArray:
        """Seconds until prompts of `tokens` tokens have given their first token; arguments broadcast."""
        done = work.prefill(
            self.model,
            batch=batch,
            tokens=tokens,
            tensor_parallel=self.tensor_parallel,
            precision=self.precision,
        )
        moved = self._exchange(np.asarray(batch) * np.asarray(tokens, dtype=np.float64))
        return np.asarray(self.seconds(done) + moved + self.launch)

    def request_seconds(
        self, batch: ArrayLike, input_tokens: ArrayLike, output_tokens: ArrayLike
    ) -> FloatArray:
        """Seconds of `batch` requests run together: prefill, and a step for each token but the first."""
        more = np.maximum(np.asarray(output_tokens, dtype=np.float64) - 1, 0)
        start = np.asarray(input_tokens, dtype=np.float64) + 1
        return np.asarray(
            self.prefill_seconds(batch, input_tokens) + self.decode_seconds(batch, start, more)
        )

    def _bounded(self, done: work.Work, attention: work.Work) -> FloatArray:
        if self.bound == "whole":
            return self.seconds(done)
        rest = work.Work(
            done.flops - attention.flops,
            done.weight_bytes,
            done.kv_bytes - attention.kv_bytes,
            done.steps,
        )
        return np.asarray(self.seconds(rest) + self.seconds(attention))

    def _attention(self, batch: ArrayLike, context: ArrayLike, steps: FloatArray) -> work.Work:
        return work.attention(
            self.model,
            batch=batch,
            context=context,
            steps=steps,
            tensor_parallel=self.tensor_parallel,
            precision=self.precision,
        )

    def _exchange(self, tokens: FloatArray) -> FloatArray:
        if not self.collectives or self.tensor_parallel == 1:
            return np.zeros(tokens.shape)
        link = self.hardware.known("intra_node")
        return tensor_parallel_seconds(
            self.model.layers, self.model.width, tokens, self.tensor_parallel, link
        )

    # -- throughput, money, limits --------------------------------------------------------------------

    def tokens_per_second(self, batch: ArrayLike, context: ArrayLike) -> FloatArray:
        """Generated tokens a second of all sequences together."""
        return np.asarray(np.asarray(batch) / self.decode_seconds(batch, context))

    def usd_per_million(
        self, batch: ArrayLike, context: ArrayLike, price_per_hour: float | None = None
    ) -> FloatArray:
        """Dollars of a million generated tokens: `10^6 price n / (3600 tokens/s)`.

        Args:
            batch: sequences in a step.
            context: tokens that each attends to.
            price_per_hour: dollars an accelerator-hour; the accelerator's own where not given.

        Raises:
            UsageError: no price is known.
        """
        price = self.hardware.known("price_per_hour") if price_per_hour is None else price_per_hour
        rate = self.tokens_per_second(batch, context)
        return np.asarray(1e6 * price * self.tensor_parallel / (3600 * rate))

    @property
    def compute_bound_batch(self) -> float:
        """Batch from which weights read at `context` 0 take less time than the arithmetic: `I b_w / 2`."""
        rate = self.compute_efficiency / self.memory_efficiency
        return self.hardware.intensity(self.dtype) * rate * self.precision.weight / 2

    @property
    def kv_bound_context(self) -> float:
        """Context beyond which no batch is bound by arithmetic, infinite where attention itself is.

        `2 (W + V d) / (I a_m - a_c)`: there the cache of a sequence takes longer to read than its token
        to compute.
        """
        m = self.model
        rate = self.compute_efficiency / self.memory_efficiency
        I = self.hardware.intensity(self.dtype) * rate
        slope = I * self.precision.kv * m.kv_elements * m.kv_replication(self.tensor_parallel)
        slope -= m.attention_flops
        return 2.0 * m.matmul_parameters / slope if slope > 0 else math.inf

    def largest_batch(self, tokens: float) -> int:
        """Sequences of `tokens` tokens, prompt included, whose caches fit beside the weights.

        `b (L_in + L_out) a_m + b_w P <= 0.9` of the memory.

        Raises:
            InfeasibleError: not even one fits; the smallest tensor-parallel degree that holds it is named.
            UsageError: the capacity of the accelerator is not known.
        """
        free, each = self._room(self.tensor_parallel, tokens)
        if free >= each:
            return int(free // each) if each > 0 else 2**53
        degree = self.smallest_degree(tokens)
        way = f"The smallest degree that fits is {degree}." if degree else "No degree fits."
        raise InfeasibleError(
            f"{self.model.name} on {self.tensor_parallel} {self.hardware.name}: no sequence of "
            f"{tokens:g} tokens fits beside the weights. {way}",
            smallest=degree,
        )

    def smallest_degree(self, tokens: float, batch: float = 1) -> int | None:
        """The smallest tensor-parallel degree, of those dividing the query heads, that holds `batch` sequences."""
        heads = self.model.query_heads
        for degree in range(1, heads + 1):
            free, each = self._room(degree, tokens)
            if heads % degree == 0 and free >= batch * each:
                return degree
        return None

    def _room(self, degree: int, tokens: float) -> tuple[float, float]:
        m = self.model
        held = sum(
            layers * (tokens if window is None else min(tokens, window))
            for layers, window in m.spans
        )
        each = m.layer_kv_elements * held * m.kv_replication(degree) + m.state_elements
        memory = USABLE * self.hardware.known("capacity") * degree
        return memory - self.precision.weight * m.total_parameters, self.precision.kv * each

    def batch_within(self, context: float, seconds: float) -> int:
        """The largest batch whose decode step takes at most `seconds` and whose caches fit.

        Raises:
            InfeasibleError: a batch of one takes longer; what it takes is `smallest`.
        """
        one = float(self.decode_seconds(1, context))
        if one > seconds:
            raise InfeasibleError(
                f"{self.model.name} on {self.tensor_parallel} {self.hardware.name}: a step of one sequence at "
                f"{context:g} tokens takes {one:.4g} s, more than {seconds:g} s. Share the model among more "
                "accelerators, or allow more time.",
                smallest=one,
            )
        most = self.largest_batch(context) if self.hardware.capacity is not None else 2**40
        low, high = 1, 1
        while high < most and float(self.decode_seconds(high, context)) <= seconds:
            low, high = high, min(2 * high, most)
        if float(self.decode_seconds(high, context)) <= seconds:
            return high
        while high - low > 1:
            middle = (low + high) // 2
            fits = float(self.decode_seconds(middle, context)) <= seconds
            low, high = (middle, high) if fits else (low, middle)
        return low

    def document(self) -> dict[str, Any]:
        """Every assumption, for the record."""
        return {
            "tensor_parallel": self.tensor_parallel,
            "dtype": self.dtype,
            "weight_bytes": self.precision.weight,
            "kv_bytes": self.precision.kv,
            "bound": self.bound,
            "compute_efficiency": self.compute_efficiency,
            "memory_efficiency": self.memory_efficiency,
            "launch": self.launch,
            "collectives": self.collectives,
            "hardware": self.hardware.document(),
            "shape": self.model.document(),
        }


@dataclass(frozen=True)
class RooflineCosts(SampleCosts):
    """Everything that `SampleCosts` says, and seconds, FLOPs and bytes of a sample served at a batch.

    Resources are those of one sample: accelerator-seconds are the step's time times the accelerators,
    divided by the sequences of the step. Each sample reads its own prompt, or the prompt is read once a
    query.

    Attributes:
        serving: the model on its accelerators, one or by model.
        batch: sequences in a step.
        tokens_sd: standard deviation of the generated tokens of a sample, 0 where not given; seconds are
            quadratic in the length.
        prefill_once: whether the prompt is processed once a query instead of once a sample.

    Raises:
        UsageError: no serving, no prompt length, or a number out of range.
    """

    serving: Serving | Mapping[str, Serving] | None = None
    batch: PerModel = None
    tokens_sd: PerModel = None
    prefill_once: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, flag in (
            ("serving", "--model-config and --hardware"),
            ("batch", "--batch"),
            ("input_tokens", "--input-tokens"),
        ):
            if getattr(self, name) is None:
                raise UsageError(f"--cost roofline needs {name.replace('_', ' ')}. Add {flag}.")
        for name, least in (("batch", 1.0), ("tokens_sd", 0.0)):
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                if value is not None and not (math.isfinite(value) and value >= least):
                    raise UsageError(
                        f"--{name.replace('_', '-')} is {value}. It must be a finite number, {least:g} or more."
                    )

    def of(self, model: str | None, measured: Mapping[str, float]) -> LinearCost:
        """Cost of a sample of one model, accelerator-seconds among the resources.

        Raises:
            UsageError: a number that is needed is missing for this model; the flag is named.
            InfeasibleError: the batch does not fit into the memory.
        """
        base = super().of(model, measured)
        D = tokens_of(base.per_sample, "--cost roofline")
        serving = of_shape(self.serving, model)
        b, P, sd = (self._number(n, model) or 0.0 for n in ("batch", "input_tokens", "tokens_sd"))
        if serving.hardware.capacity is not None:
            self._refuse_full(serving, b, P + D)
        tp, fixed, each = serving.tensor_parallel, dict(base.fixed), dict(base.per_sample)
        shared: dict[str, Any] = {
            "tensor_parallel": tp,
            "precision": serving.precision,
        }
        read = work.prefill(serving.model, batch=b, tokens=P, **shared)
        lengths, share = two_lengths(max(D - 1, 0.0), sd)
        made = work.decode(serving.model, batch=b, context=P + 1, steps=lengths, **shared)
        parts = {
            "seconds": (
                float(serving.prefill_seconds(b, P)),
                float(share @ serving.decode_seconds(b, P + 1, lengths)),
            ),
            "flops": (float(read.flops), float(share @ made.flops)),
            "bytes": (float(read.bytes), float(share @ made.bytes)),
        }
        for resource, part in parts.items():
            prompt, sample = (x * tp / b for x in part)
            fixed[resource] = prompt if self.prefill_once else 0.0
            each[resource] = sample if self.prefill_once else prompt + sample
        hardware = serving.hardware
        if hardware.tdp is not None:
            fixed["joules"], each["joules"] = (
                hardware.tdp * part["seconds"] for part in (fixed, each)
            )
        if hardware.price_per_hour is not None and "usd" not in each:
            fixed["usd"], each["usd"] = (
                hardware.price_per_hour / 3600 * part["seconds"] for part in (fixed, each)
            )
        return LinearCost(fixed, each)

    def _refuse_full(self, serving: Serving, batch: float, tokens: float) -> None:
        most = serving.largest_batch(tokens)
        if batch <= most:
            return
        degree = serving.smallest_degree(tokens, batch)
        way = f"; {degree} accelerators hold it" if degree else ""
        raise InfeasibleError(
            f"--batch {batch:g}: {serving.model.name} on {serving.tensor_parallel} {serving.hardware.name} holds "
            f"{most:,} sequences of {tokens:g} tokens{way}. Lower --batch.",
            smallest=degree,
        )

    @property
    def prices(self) -> dict[str, Any] | None:
        """Provenance of dollars, an accelerator's price an hour among them; None without any."""
        given = super().prices
        by_hour = {
            s.hardware.name: s.hardware.price_per_hour
            for s in self._servings().values()
            if s.hardware.price_per_hour is not None
        }
        if given is not None or not by_hour:
            return given
        return {
            "source": "user",
            "version": "by hand",
            "as_of": None,
            "currency": "USD",
            "overrides": {"price_per_hour": by_hour},
        }

    @property
    def cost_model(self) -> dict[str, Any]:
        """Name of the cost option and every assumption behind it, for the record."""
        return {
            **super().cost_model,
            "name": "roofline",
            "batch": dict(self.batch) if isinstance(self.batch, Mapping) else self.batch,
            "tokens_sd": dict(self.tokens_sd)
            if isinstance(self.tokens_sd, Mapping)
            else self.tokens_sd or 0.0,
            "prefill_once": self.prefill_once,
            "models": {name: s.document() for name, s in sorted(self._servings().items())},
        }

    def _servings(self) -> Mapping[str, Serving]:
        given = self.serving
        assert given is not None  # noqa: S101 - refused at construction
        return {given.model.name: given} if isinstance(given, Serving) else given


def _example() -> RooflineCosts:
    from scaling.costs.hardware import Hardware
    from scaling.costs.model_config import ModelConfig

    shape = ModelConfig("example", 2, 64, 4, 2, 16, 128, 1000, tied_embeddings=True)
    hardware = Hardware(
        "example", {"bf16": 1e12}, 1e10, capacity=1e9, tdp=100.0, price_per_hour=2.0
    )
    return RooflineCosts(
        tokens_per_sample=1_000.0,
        input_tokens=200.0,
        tokens_sd=600.0,
        serving=Serving(shape, hardware),
        batch=16.0,
    )


EXAMPLE = _example()
"""For the contract check."""
