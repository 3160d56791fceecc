"""Cost models: what an action uses of each resource."""

from __future__ import annotations

from scaling.costs.flops import FlopsCosts, inference_flops
from scaling.costs.per_sample import LinearCost, SampleCosts

__all__ = ["FlopsCosts", "LinearCost", "SampleCosts", "inference_flops"]
