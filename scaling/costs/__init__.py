"""Cost models: what an action uses of each resource."""

from __future__ import annotations

from scaling.costs.breakdown import CostBreakdown
from scaling.costs.composition import Composition
from scaling.costs.flops import FlopsCosts, inference_flops
from scaling.costs.hardware import Hardware
from scaling.costs.idealized_runtime import IdealizedRuntimeCosts, RuntimeProfile
from scaling.costs.inference import CostModel
from scaling.costs.kinetics import KineticsCosts, attention_share, break_even_length, kinetics
from scaling.costs.model_config import LatentAttention, LinearAttention, ModelConfig
from scaling.costs.per_sample import LinearCost, SampleCosts
from scaling.costs.roofline import RooflineCosts, Serving
from scaling.costs.workload import Request

__all__ = [
    "Composition",
    "CostBreakdown",
    "CostModel",
    "FlopsCosts",
    "Hardware",
    "IdealizedRuntimeCosts",
    "KineticsCosts",
    "LatentAttention",
    "LinearAttention",
    "LinearCost",
    "ModelConfig",
    "Request",
    "RooflineCosts",
    "RuntimeProfile",
    "SampleCosts",
    "Serving",
    "attention_share",
    "break_even_length",
    "inference_flops",
    "kinetics",
]
