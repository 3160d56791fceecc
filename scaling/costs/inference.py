"""What a group of samples costs: FLOPs, bytes, eFLOPs, seconds, joules and dollars, term by term."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from scaling.costs.breakdown import CostBreakdown
from scaling.costs.composition import Composition
from scaling.costs.hardware import Hardware
from scaling.costs.kv_reads import Sum
from scaling.costs.model_config import ModelConfig, Span
from scaling.costs.workload import Request, Rules
from scaling.errors import UsageError

Mode = Literal["exact", "published"]
Prefill = Literal["once", "each", "cached"]
Kind = Literal["flops", "weights", "kv"]

KINETICS_INTENSITY = 562.5
"""FLOPs a byte that the Kinetics code charges: 4500 TFLOP/s over 8 TB/s of a B200."""


class Term(NamedTuple):
    """One part of the cost: `coefficient` times a sum over the tokens of a request.

    Attributes:
        name: of the part; terms of one name are shown together.
        kind: FLOPs, bytes of weights, or bytes of caches.
        coefficient: FLOPs or bytes a token, pair, read or step.
        key: the sum, see `scaling.costs.workload.Sums`.
        span: the layers that it is summed for, where it is one of attention.
    """

    name: str
    kind: Kind
    coefficient: float
    key: str
    span: Span | None = None


@dataclass(frozen=True)
class CostModel:
    """One definition of what inference costs.

    For N samples of l tokens after a prompt of P tokens (`W`: matmul weights a token uses; `V d`: output
    projection; `a_c`: attention FLOPs a pair; `a_m`: cached bytes a token; `b_w`: bytes a weight):

        FLOPs  2 W P + 2 V d + a_c P (P + 1) / 2                       prefill, once
               N l 2 (W + V d) + N a_c sum_t (P + t)                   decode
        bytes  a_m (N sum_t t + l P) + a_m (P + N l)                   caches read, and written
               b_w (parameters read in a step) l / n_share             weights
        eFLOPs FLOPs + I bytes

    Prefill attention sees no budget. Activations, norms and softmax are not counted.
    With `mode="published"` the sums are those of the public code of Kinetics (Sadhukhan et al., arXiv
    2506.05333): integrals, no prefill, no weight reads, no cache writes, and its errors where attention
    is sparse.

    Attributes:
        model: the shape.
        hardware: the accelerator; needed for seconds, joules and dollars.
        mode: "exact", or "published" to reproduce Kinetics.
        intensity: I, FLOPs charged a byte; the accelerator's `F / W` where not given, 562.5 in
            published mode.
        dtype: whose peak is F.
        weight_bytes, kv_bytes: bytes of a weight and of a cached element.
        weight_scale, kv_scale: what scales of quantised values add, as a share.
        sum: "discrete" equals a loop over the tokens; "continuous" its integral.
        prefill: whether the prompt is processed once a request, once a sample, or never.
        n_share: requests that share a decode step and its weight reads; infinite: weights cost nothing.
        kv_writes: whether writing caches counts.
        parameters: weights that a token is multiplied with, instead of those of the model.
        tensor_parallel: accelerators that share the model; caches are copied where heads run out.
        routing_skew: exponent of the experts' popularity; 0 is uniform.
        composition: how arithmetic and memory make up the time.

    Raises:
        UsageError: a number out of range, or published mode for a model with windows or states.
    """

    model: ModelConfig
    hardware: Hardware | None = None
    mode: Mode = "exact"
    intensity: float | None = None
    dtype: str = "bf16"
    weight_bytes: float = 2.0
    kv_bytes: float = 2.0
    weight_scale: float = 0.0
    kv_scale: float = 0.0
    sum: Sum = "discrete"
    prefill: Prefill = "once"
    n_share: float = math.inf
    kv_writes: bool = True
    parameters: float | None = None
    tensor_parallel: int = 1
    routing_skew: float = 0.0
    composition: Composition = field(default_factory=Composition)

    def __post_init__(self) -> None:
        choices = {
            "mode": ("exact", "published"),
            "sum": ("discrete", "continuous"),
            "prefill": ("once", "each", "cached"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}. It must be one of {', '.join(allowed)}."
                )
        positive = ("intensity", "weight_bytes", "kv_bytes", "n_share", "parameters")
        for name in (*positive, "weight_scale", "kv_scale", "routing_skew"):
            value = getattr(self, name)
            if value is None or (name == "n_share" and value == math.inf):
                continue
            if not math.isfinite(value) or value < 0 or (value == 0 and name in positive):
                least = "above zero" if name in positive else "zero or more"
                raise UsageError(f"{name} is {value}. It must be a finite number, {least}.")
        self.model.kv_replication(self.tensor_parallel)  # refuses a degree below 1
        if self.mode == "published" and (self.model.kinds or self.model.latent):
            raise UsageError(
                f"{self.model.name}: the published formulas of Kinetics know neither windows, states "
                "nor latent attention. Use the exact mode."
            )

    @property
    def charged_intensity(self) -> float:
        """I: FLOPs charged a byte.

        Raises:
            UsageError: neither an intensity nor an accelerator is given.
        """
        if self.intensity is not None:
            return self.intensity
        if self.mode == "published":
            return KINETICS_INTENSITY
        if self.hardware is None:
            raise UsageError(
                "eFLOPs need what a byte costs. Give an accelerator or an intensity (--hardware, --intensity)."
            )
        return self.hardware.intensity(self.dtype)

    @property
    def rules(self) -> Rules:
        """What the sums depend on."""
        published = self.mode == "published"
        return Rules(
            model=self.model,
            own=1.0 if self.sum == "discrete" and not published else 0.0,
            published=published,
            prefills="cached" if published else self.prefill,
            n_share=math.inf if published else self.n_share,
            skew=self.routing_skew,
            read_parameters=self.parameters,
        )

    def terms(self, *, budgeted: bool, searched: bool) -> tuple[Term, ...]:
        """The parts of the cost.

        Args:
            budgeted: whether a KV budget limits what is read.
            searched: whether blocks are scored to fill it.
        """
        m, published = self.model, self.mode == "published"
        head = 0.0 if self.parameters is not None else float(m.lm_head)
        linear = float(m.linear_weights) if self.parameters is None else self.parameters
        if published and self.parameters is None:
            head, linear = 0.0, float(m.active_parameters)
        element = self.kv_bytes * (1 + self.kv_scale) * m.kv_replication(self.tensor_parallel)
        found = [Term("decode weights", "flops", 2 * (linear + head), "tokens")]
        if not published and self.prefill != "cached":
            found += [
                Term("prefill weights", "flops", 2 * linear, "prompt_tokens"),
                Term("prefill weights", "flops", 2 * head, "prompts"),
            ]
        if m.linear_layers:
            found += [
                Term("decode states", "flops", float(m.state_flops), "tokens"),
                Term("prefill states", "flops", float(m.state_flops), "prompt_tokens"),
                Term("states read and written", "kv", 2 * element * m.state_elements, "tokens"),
            ]
        for span in m.spans:
            pair, token = (
                float(span.layers * m.layer_attention_flops),
                element * span.layers * m.layer_kv_elements,
            )
            if budgeted:  # whose tokens are selected is not known
                found += [
                    Term("decode attention", "flops", pair, "selected", span),
                    Term("cache reads", "kv", token, "selected", span),
                ]
            else:
                found += [
                    Term("decode attention", "flops", pair, "own", span),
                    Term("decode attention", "flops", pair, "each", span),
                    Term("generated cache reads", "kv", token, "own", span),
                    Term("prompt cache reads", "kv", token, "read", span),
                ]
            if not published and self.prefill != "cached":
                each = float(span.layers * m.layer_prefill_flops)
                found.append(Term("prefill attention", "flops", each, "prompt_pairs", span))
            if searched:
                vector = element * span.layers * m.layer_search_elements
                score = float(span.layers * m.layer_search_flops)
                found += [
                    Term("block search", "flops", score, "scored", span),
                    Term("block search reads", "kv", vector, "scored_read", span),
                ]
        if self.kv_writes and not published:
            found += [
                Term("cache writes", "kv", element * m.kv_elements, "tokens"),
                Term("cache writes", "kv", element * m.kv_elements, "prompt_tokens"),
            ]
        if math.isfinite(self.n_share) and not published:
            weight = self.weight_bytes * (1 + self.weight_scale)
            found += [
                Term("decode weight reads", "weights", weight, "step_weights"),
                Term("prefill weight reads", "weights", weight, "prompt_weights"),
            ]
        return tuple(found)

    def price(self, request: Request) -> CostBreakdown:
        """What a request costs; nothing is computed before it is asked for.

        All configurations of the request are priced in one pass.
        """
        terms = self.terms(
            budgeted=request.kv_budget is not None, searched=request.block is not None
        )
        return CostBreakdown(self, request, terms)

    def document(self) -> dict[str, Any]:
        """Every assumption, for the record. An infinite `n_share` is null."""
        return {
            "mode": self.mode,
            "composition": self.composition.label,
            "intensity": self.charged_intensity,
            "dtype": self.dtype,
            "weight_bytes": self.weight_bytes * (1 + self.weight_scale),
            "kv_bytes": self.kv_bytes * (1 + self.kv_scale),
            "sum": "continuous" if self.mode == "published" else self.sum,
            "prefill": self.rules.prefills,
            "n_share": None if math.isinf(self.rules.n_share) else self.n_share,
            "kv_writes": self.kv_writes and self.mode != "published",
            "parameters": self.parameters,
            "tensor_parallel": self.tensor_parallel,
            "routing_skew": self.routing_skew,
            "model": self.model.document(),
            "hardware": None if self.hardware is None else self.hardware.document(),
        }
