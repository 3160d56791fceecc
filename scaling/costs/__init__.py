"""Cost models: what an action uses of each resource."""

from __future__ import annotations

from scaling.costs.flops import FlopsCosts, inference_flops
from scaling.costs.hardware import Hardware
from scaling.costs.model_config import LatentAttention, LinearAttention, ModelConfig
from scaling.costs.per_sample import LinearCost, SampleCosts

__all__ = [
    "FlopsCosts",
    "Hardware",
    "LatentAttention",
    "LinearAttention",
    "LinearCost",
    "ModelConfig",
    "SampleCosts",
    "inference_flops",
]
