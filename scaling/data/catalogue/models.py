"""Shapes of published models, and the parameter counts that others state for them.

Each is read as its `config.json` would be. Facts re-typed from the sources named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from scaling.costs.model_config import ModelConfig
from scaling.data.catalogue.conflicts import Conflict
from scaling.data.catalogue.lookup import find

_AIC = "config.json of the model as kept in ai-dynamo/aiconfigurator@095f58a"
_GENZ = "abhibambhaniya/GenZ-LLM-Analyzer@091bdd0 GenZ/Models/Model_sets/alibaba.py"
_ROOFLINE = "config.json of the model as kept in feifeibear/LLMRoofline"
_KINETICS = "Infini-AI-Lab/Kinetics@af7fa57 cost_model/utils.py"


def _shape(
    model_type: str,
    layers: int,
    width: int,
    heads: tuple[int, int],
    head_dim: int | None,
    ffn: int,
    vocabulary: int,
    *,
    tied: bool = False,
    context: int | None = None,
    source: str = _AIC,
    **more: Any,
) -> tuple[dict[str, Any], str]:
    return {
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": width,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        "head_dim": head_dim,
        "intermediate_size": ffn,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": context,
        **more,
    }, source


def _qwen3(
    layers: int, width: int, heads: int, ffn: int, *, tied: bool = False, source: str = _AIC
) -> tuple[dict[str, Any], str]:
    return _shape(
        *("qwen3", layers, width, (heads, 8), 128, ffn, 151_936),
        tied=tied,
        context=40_960,
        source=source,
    )


def _mixture(experts: int, each: int, width: int) -> dict[str, Any]:
    return {
        "num_experts": experts,
        "num_experts_per_tok": each,
        "moe_intermediate_size": width,
    }


def _deepseek(experts: int, dense: int) -> dict[str, Any]:
    return {
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": experts,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": dense,
    }


def _gpt_oss(layers: int, experts: int) -> tuple[dict[str, Any], str]:
    return _shape(
        *("gpt_oss", layers, 2880, (64, 8), 64, 2880, 201_088),
        context=131_072,
        attention_bias=True,
        num_local_experts=experts,
        num_experts_per_tok=4,
        sliding_window=128,
        layer_types=["sliding_attention", "full_attention"] * (layers // 2),
    )


_V3 = _shape(
    *("deepseek_v3", 61, 7168, (128, 128), None, 18_432, 129_280),
    context=163_840,
    **_deepseek(256, 3),
)
_8X: dict[str, Any] = {"num_experts_per_tok": 2, "num_local_experts": 8}

_CONFIGS: Mapping[str, tuple[dict[str, Any], str]] = {
    "Qwen3-0.6B": _qwen3(28, 1024, 16, 3072, tied=True),
    "Qwen3-1.7B": _qwen3(28, 2048, 16, 6144, tied=True),
    "Qwen3-4B": _qwen3(36, 2560, 32, 9728, tied=True, source=_GENZ),
    "Qwen3-8B": _qwen3(36, 4096, 32, 12_288),
    "Qwen3-14B": _qwen3(40, 5120, 40, 17_408, source=_GENZ),
    "Qwen3-32B": _qwen3(64, 5120, 64, 25_600),
    "Qwen3-30B-A3B": _shape(
        *("qwen3_moe", 48, 2048, (32, 4), 128, 6144, 151_936),
        context=40_960,
        **_mixture(128, 8, 768),
    ),
    "Qwen3-235B-A22B": _shape(
        *("qwen3_moe", 94, 4096, (64, 4), 128, 12_288, 151_936),
        context=40_960,
        **_mixture(128, 8, 1536),
    ),
    "DeepSeek-V3": _V3,
    "DeepSeek-R1": _V3,
    "Kimi-K2-Instruct": _shape(
        *("kimi_k2", 61, 7168, (64, 64), None, 18_432, 163_840),
        context=131_072,
        **_deepseek(384, 1),
    ),
    "Llama-2-70B": _shape("llama", 80, 8192, (64, 8), 128, 28_672, 32_000, source=_ROOFLINE),
    "Llama-3.1-8B": _shape("llama", 32, 4096, (32, 8), 128, 14_336, 128_256, context=131_072),
    "Llama-3.1-70B": _shape("llama", 80, 8192, (64, 8), 128, 28_672, 128_256, context=131_072),
    "Llama-3.1-405B": _shape("llama", 126, 16_384, (128, 8), 128, 53_248, 128_256, context=131_072),
    "Mixtral-8x7B": _shape(
        "mixtral", 32, 4096, (32, 8), 128, 14_336, 32_000, context=32_768, **_8X
    ),
    "Mixtral-8x22B": _shape(
        "mixtral", 56, 6144, (48, 8), 128, 16_384, 32_000, context=65_536, **_8X
    ),
    "gpt-oss-20b": _gpt_oss(24, 32),
    "gpt-oss-120b": _gpt_oss(36, 128),
}

NAMES = tuple(_CONFIGS)

KINETICS_PARAMETERS: Mapping[str, float] = {
    "Qwen3-0.6B": 0.752e9,
    "Qwen3-1.7B": 2.03e9,
    "Qwen3-4B": 4.02e9,
    "Qwen3-8B": 8.19e9,
    "Qwen3-14B": 14.77e9,
    "Qwen3-32B": 32.76e9,
}
"""P as the Kinetics cost code has it: what its published costs need."""

_TWICE = "counts the tied embedding twice"
_READ = "tied or untied embeddings are inferred: only this count matches the published name"

CONFLICTS: Mapping[str, tuple[Conflict, ...]] = {
    "Qwen3-0.6B": (Conflict("parameters", 0.752e9, _KINETICS, _TWICE),),
    "Qwen3-1.7B": (Conflict("parameters", 2.03e9, _KINETICS, _TWICE),),
    "Qwen3-4B": (Conflict("tied_embeddings", 1, _GENZ, _READ),),
    "Qwen3-14B": (
        Conflict("tied_embeddings", 0, _GENZ, _READ),
        Conflict(
            "parameters",
            14.33e9,
            "Infini-AI-Lab/Kinetics@af7fa57, plotting code",
            "its cost code has 14.77e9",
        ),
    ),
    "Llama-2-70B": (
        Conflict(
            "query_heads",
            32,
            "Mutinifni/splitwise-sim@8f99e7d, model configuration",
            "config.json has 64",
        ),
    ),
}
"""Model to what other sources state otherwise."""


@cache
def _read(name: str) -> ModelConfig:
    content, source = _CONFIGS[name]
    return replace(ModelConfig.read(content, name=name), source=source)


def model(name: str) -> ModelConfig:
    """The shape of a published model.

    Raises:
        UsageError: there is none of that name; near names are listed.
    """
    found = find(
        {each: each for each in NAMES}, name, "model", "Or give the path of a config.json."
    )
    return _read(found)
