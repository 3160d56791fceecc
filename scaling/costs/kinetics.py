"""Compute plus memory traffic of repeated, long or sparse decoding: the cost option `kinetics`.

Sadhukhan et al. (2025), Kinetics: Rethinking Test-Time Scaling Laws, arXiv 2506.05333, equation 4, with
the D of that formula read as the cached elements of a token over all layers, `2 n_kv d_h L`, and its
factors of 2 in the memory term as the 2 bytes of bf16: only so does it equal the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.costs.hardware import Hardware
from scaling.costs.inference import KINETICS_INTENSITY, CostModel, Mode
from scaling.costs.model_config import ModelConfig
from scaling.costs.per_sample import LinearCost, PerModel, SampleCosts, of_shape, tokens_of
from scaling.costs.workload import Request
from scaling.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

INTENSITIES = (150.0, 200.0, 300.0, 400.0, 500.0, 600.0)
"""FLOPs a byte at which conclusions are looked at again: accelerators range from 150 to 600."""


def kinetics(
    model: ModelConfig,
    *,
    parameters: float | None = None,
    intensity: float = KINETICS_INTENSITY,
    mode: Mode = "exact",
) -> CostModel:
    """The accounting of Kinetics: integrals over the generated tokens, and of memory the caches' reads.

    With L_in, L_out, N and budget B:

        dense   N (2 P L_out + a_c (L_in L_out + L_out^2 / 2)) + I a_m (L_in L_out + N L_out^2 / 2)
        sparse  N (2 P L_out + a_c K + I a_m K),  K = integral of min(B, L_in + u), u from 0 to L_out

    Args:
        model: the shape.
        parameters: P; the active parameters of the model where not given. The authors' are in
            `scaling.data.catalogue.models.KINETICS_PARAMETERS`.
        intensity: I.
        mode: "exact", or "published": sparse attention as the authors' code has it, which adds
            `max(0, B - L_in)^2 / 2` to `B L_out` for top-k where it should take it away, takes it away
            for blocks also where the context never reaches B, and rounds the number of blocks down.
    """
    return CostModel(
        model,
        mode=mode,
        intensity=intensity,
        parameters=float(model.active_parameters) if parameters is None else parameters,
        sum="continuous",
        prefill="cached",
        kv_writes=False,
    )


def attention_share(cost: CostModel, request: Request) -> FloatArray:
    """Phi: what attention costs in decoding, compute and memory, over the work on the weights.

    For Kinetics, `[2 r L_in D + (r + I) D L_out + 2 I L_in D / N] / (2 P)` with `r = n_q / n_kv` and
    `D` the cached elements of a token. The paper drops the last term.
    """
    parts = cost.price(request).parts("eflops")
    weights = parts.pop("decode weights")
    attention = sum(v for k, v in parts.items() if k in _ATTENTION)
    return np.asarray(attention / weights)


_ATTENTION = ("decode attention", "generated cache reads", "prompt cache reads", "cache reads")


def break_even_length(cost: CostModel) -> float:
    """L*: generated tokens of one sample without a prompt whose attention costs what the weights cost.

    `4 P / (a_c + I a_m)`, in the continuous sum and without windows or a budget.

    Raises:
        UsageError: a model with windows or states.
    """
    if cost.model.kinds:
        raise UsageError(
            f"{cost.model.name} has layers that do not see the whole context, so no single length."
        )
    weights = cost.parameters if cost.parameters is not None else cost.model.matmul_parameters
    a_m = cost.kv_bytes * (1 + cost.kv_scale) * cost.model.kv_elements
    a_m *= cost.model.kv_replication(cost.tensor_parallel)
    return 4 * weights / (cost.model.attention_flops + cost.charged_intensity * a_m)


@dataclass(frozen=True)
class KineticsCosts(SampleCosts):
    """Everything that `SampleCosts` says, and FLOPs, bytes, eFLOPs, seconds, joules and dollars.

    The samples of a query share its prompt: prefill and, without a KV budget, the reads of the prompt's
    cache are the fixed part. `tokens_sd` puts back what the mean length leaves out of a cost that is
    quadratic in the length: the cost is averaged over two lengths that have this mean and spread.

    Attributes:
        definition: what inference costs, for one model or by model.
        kv_budget: cached tokens that a step reads at most.
        block: tokens of a block, where the budget is filled by scoring one key vector a block.
        tokens_sd: standard deviation of the generated tokens of a sample, 0 where not given.

    Raises:
        UsageError: no definition, no prompt length, a number out of range, or a definition whose cost
            is not linear in the samples: rounded blocks, or experts read by few tokens.
    """

    definition: CostModel | Mapping[str, CostModel] | None = None
    kv_budget: PerModel = None
    block: PerModel = None
    tokens_sd: PerModel = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.definition is None or self.input_tokens is None:
            missing = "--model-config" if self.definition is None else "--input-tokens"
            raise UsageError(
                "--cost kinetics needs the shape of the model and the length of the prompt. "
                f"Add {missing}."
            )
        if self.block is not None and self.kv_budget is None:
            raise UsageError("--block says how a KV budget is filled. Add --kv-budget.")
        for name, least in (("kv_budget", 1.0), ("block", 1.0), ("tokens_sd", 0.0)):
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                if value is not None and not (math.isfinite(value) and value >= least):
                    raise UsageError(
                        f"--{name.replace('_', '-')} is {value}. It must be a finite number, {least:g} or more."
                    )
        for each in self._definitions().values():
            if each.mode == "published" and self.block is not None:
                raise UsageError(
                    "published blocks are rounded down, so that samples do not add up. Use exact mode."
                )
            if each.model.experts and math.isfinite(each.n_share):
                raise UsageError(
                    f"{each.model.name}: the experts that a step reads are not linear in the samples. "
                    "Leave out --n-share."
                )

    def _definitions(self) -> Mapping[str, CostModel]:
        given = self.definition
        if isinstance(given, Mapping):
            return given
        assert given is not None  # noqa: S101 - refused at construction
        return {given.model.name: given}

    def of(self, model: str | None, measured: Mapping[str, float]) -> LinearCost:
        """Cost of a sample of one model, everything that its accelerator is known for among it.

        Raises:
            UsageError: a number that is needed is missing for this model; the flag is named.
        """
        base = super().of(model, measured)
        mean = tokens_of(base.per_sample, "--cost kinetics")
        cost = of_shape(self.definition, model)
        sd = self._number("tokens_sd", model) or 0.0
        lengths, share = two_lengths(mean, sd)
        priced = cost.price(
            Request(
                input_tokens=self._number("input_tokens", model) or 0.0,
                output_tokens=lengths[:, None],
                samples=np.array([1.0, 2.0]),
                kv_budget=self._number("kv_budget", model),
                block=self._number("block", model),
            )
        )
        fixed, each = dict(base.fixed), dict(base.per_sample)
        for resource in self._resources(cost, base):
            name = "dollars" if resource == "usd" else resource
            one, two = share @ getattr(priced, name)
            fixed[resource] = max(0.0, float(2 * one - two))
            each[resource] = float(two - one)
        return LinearCost(fixed, each)

    def _resources(self, cost: CostModel, base: LinearCost) -> list[str]:
        names = ["flops", "bytes", "eflops"]
        if cost.hardware is None:
            return names
        names.append("seconds")
        names += ["joules"] if cost.hardware.tdp is not None else []
        priced = cost.hardware.price_per_hour is not None and "usd" not in base.per_sample
        return names + (["usd"] if priced else [])

    @property
    def prices(self) -> dict[str, Any] | None:
        """Provenance of dollars, an accelerator's price an hour among them; None without any."""
        by_hour = {
            cost.hardware.name: cost.hardware.price_per_hour
            for cost in self._definitions().values()
            if cost.hardware is not None and cost.hardware.price_per_hour is not None
        }
        given = super().prices
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
        definitions = {name: each.document() for name, each in sorted(self._definitions().items())}
        whose = {name: each.pop("model") for name, each in definitions.items()}
        common = next(iter(definitions.values()))
        same = {k: v for k, v in common.items() if all(d[k] == v for d in definitions.values())}
        own = {
            name: {**{k: v for k, v in d.items() if k not in same}, "shape": whose[name]}
            for name, d in definitions.items()
        }
        given = {
            name: dict(value) if isinstance(value, Mapping) else float(value)
            for name in ("kv_budget", "block", "tokens_sd")
            if (value := getattr(self, name)) is not None
        }
        return {
            **super().cost_model,
            "name": "kinetics",
            **same,
            **given,
            "models": own,
        }

    def at_intensity(self, intensity: float) -> KineticsCosts:
        """The same costs with another charge for a byte."""
        if isinstance(self.definition, CostModel):
            return replace(self, definition=replace(self.definition, intensity=intensity))
        again = {k: replace(v, intensity=intensity) for k, v in self._definitions().items()}
        return replace(self, definition=again)


def two_lengths(mean: ArrayLike, sd: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Two lengths of this mean and standard deviation, and their shares; none is negative.

    Returns:
        both of the broadcast shape with a last axis of 2.
    """
    m, s = np.broadcast_arrays(*(np.asarray(x, dtype=np.float64) for x in (mean, sd)))
    with np.errstate(divide="ignore", invalid="ignore"):
        none = np.where(s > m, s**2 / (m**2 + s**2), 0.5)
        few, many = np.maximum(m - s, 0.0), np.where(s > m, m / (1 - none), m + s)
    many = np.where(m == 0, 0.0, many)
    return np.stack([few, many], axis=-1), np.stack([none, 1 - none], axis=-1)


EXAMPLE = KineticsCosts(
    tokens_per_sample=1_000.0,
    input_tokens=200.0,
    tokens_sd=600.0,
    definition=CostModel(
        ModelConfig("example", 2, 64, 4, 2, 16, 128, 1000, tied_embeddings=True),
        Hardware("example", {"bf16": 1e12}, 1e10, tdp=100.0, price_per_hour=2.0),
    ),
)
"""For the contract check."""
