"""Reader of Hugging Face `config.json` files: strict, and nothing that costs is guessed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.costs.model_config import LatentAttention, LinearAttention, ModelConfig
from scaling.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import os

_HARMLESS = frozenset(
    (
        *("architectures", "auto_map", "transformers_version", "torch_dtype", "dtype", "use_cache"),
        *("bos_token_id", "eos_token_id", "pad_token_id", "pretraining_tp", "initializer_range"),
        *(
            "rms_norm_eps",
            "attention_dropout",
            "embd_pdrop",
            "resid_pdrop",
            "original_max_position",
        ),
        *(
            "rope_theta",
            "rope_scaling",
            "rope_parameters",
            "rope_interleave",
            "rope_local_base_freq",
        ),
        *("partial_rotary_factor", "query_pre_attn_scalar", "initial_context_length"),
        *("attn_logit_softcapping", "final_logit_softcapping", "swiglu_limit"),
        *("router_aux_loss_coef", "router_jitter_noise", "output_router_logits", "norm_topk_prob"),
        *("routed_scaling_factor", "n_group", "topk_group", "seq_aux", "aux_loss_alpha", "ep_size"),
        *("original_max_position_embeddings", "num_nextn_predict_layers", "qk_head_dim"),
        *("quantization_config", "keys_to_ignore_at_inference", "id2label", "label2id"),
    )
)
"""Fields that change no cost here. Extra prediction layers do not run in ordinary decoding, and how
weights are stored is an option of the cost model."""

_KINDS = {
    "full_attention": "full",
    "sliding_attention": "sliding",
    "linear_attention": "linear",
}


class _Fields:
    """The fields of one file; what was asked for is remembered."""

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        self.content, self.where = content, where
        self.asked: set[str] = set()
        self.missing: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        value = self.content.get(name)
        return default if value is None else value

    def whole(self, *names: str, default: int | None = None) -> int:
        """A whole number under one of its spellings."""
        for name in names:
            value = self.get(name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InputError(
                    f"{self.where}: {name} is {value!r}. It must be a whole number, zero or more."
                )
            return value
        if default is None:
            self.missing.append(" or ".join(names))
            return 1
        return default

    def flag(self, name: str, default: bool | None = None) -> bool:
        value = self.get(name, default)
        if value is None:
            self.missing.append(name)
        elif not isinstance(value, bool):
            raise InputError(f"{self.where}: {name} is {value!r}. It must be true or false.")
        return bool(value)

    def refuse(self, name: str, value: Any, allowed: str) -> None:
        raise InputError(f"{self.where}: {name} is {value!r}. What is known here: {allowed}.")


def read(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    name: str | None = None,
    head_dim: int | None = None,
) -> ModelConfig:
    """See `ModelConfig.read`."""
    content, where, default = _content(source)
    model_type = content.get("model_type")
    if not isinstance(model_type, str) or model_type not in LAYOUTS:
        hint = (
            " It holds a text_config: give that object."
            if isinstance(content.get("text_config"), Mapping)
            else did_you_mean(str(model_type), LAYOUTS)
        )
        raise InputError(
            f"{where}: model_type is {model_type!r}; the layouts known are "
            f"{', '.join(sorted(LAYOUTS))}.{hint} Others are declared in Python: scaling.costs.ModelConfig."
        )
    if head_dim is not None:
        if content.get("head_dim") not in (None, head_dim):
            raise InputError(
                f"{where}: head_dim is {content['head_dim']} in the file and {head_dim} as given. "
                "Leave one out."
            )
        content = {**content, "head_dim": head_dim}
    f = _Fields(content, where)
    f.asked.add("model_type")
    common: dict[str, Any] = {
        "layers": f.whole("num_hidden_layers"),
        "width": f.whole("hidden_size"),
        "query_heads": f.whole("num_attention_heads"),
        "ffn_width": f.whole("intermediate_size"),
        "vocabulary": f.whole("vocab_size"),
        "max_context": f.whole("max_position_embeddings", default=0) or None,
        "source": where,
    }
    given = {**common, **LAYOUTS[model_type](f, common)}
    if f.missing:
        head = "head_dim" in f.missing
        raise InputError(
            f"{where}: {', '.join(f.missing)} missing. "
            + (
                "The head dimension is not derived from hidden_size and the number of heads, which is "
                "wrong for many models: look it up and give --head-dim N (head_dim=N in Python)."
                if head
                else f"A model of type {model_type} needs it; complete the file."
            )
        )
    unknown = sorted(
        k
        for k, v in content.items()
        if k not in f.asked | _HARMLESS
        and not k.startswith("_")
        and not isinstance(v, str)
        and bool(v)
    )
    if unknown:
        raise InputError(
            f"{where}: not known for model_type {model_type}: {', '.join(unknown)}. Such a field may "
            "change what the model costs. Remove it from a copy of the file where it does not."
        )
    return ModelConfig(name=name or default or model_type, **given)


def _content(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[dict[str, Any], str, str]:
    """The parsed object, where it stands, and a name for the model."""
    if isinstance(source, Mapping):
        return dict(source), "config", str(source.get("_name_or_path") or "").rpartition("/")[2]
    path = Path(source)
    if path.is_dir():
        path /= "config.json"
    try:
        parsed = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{path}: {cause}. Give the config.json of a Hugging Face model."
        ) from error
    if not isinstance(parsed, dict):
        raise InputError(
            f"{path}: not a JSON object. Give the config.json of a Hugging Face model."
        )
    folder = path.resolve().parent.name if path.name == "config.json" else path.stem
    return parsed, str(path), folder


# --- layouts -----------------------------------------------------------------------------------

Common = Mapping[str, Any]


def _heads(f: _Fields) -> dict[str, Any]:
    return {"kv_heads": f.whole("num_key_value_heads"), "head_dim": f.whole("head_dim")}


def _kinds(f: _Fields, layers: int, period: int | None = None) -> dict[str, Any]:
    """How layers attend: a list in the file, a pattern, or a window for all or for the last ones."""
    window = f.whole("sliding_window", default=0) or None
    listed = f.get("layer_types")
    switched = f.get("use_sliding_window")
    from_layer = f.whole("max_window_layers", default=0)
    if listed is not None:
        wrong = [k for k in listed if k not in _KINDS] if isinstance(listed, list) else [listed]
        if wrong:
            f.refuse("layer_types", wrong[0], ", ".join(_KINDS))
        kinds = tuple(_KINDS[k] for k in listed)
    elif switched is False or window is None:
        return {}
    elif period:
        kinds = tuple("sliding" if (i + 1) % period else "full" for i in range(layers))
    else:
        first = from_layer if switched else 0
        kinds = ("full",) * min(first, layers) + ("sliding",) * max(0, layers - first)
    if "sliding" not in kinds:
        window = None
    every = kinds == ("full",) * layers
    return {} if every else {"kinds": kinds, "window": window}


def _llama(f: _Fields, c: Common) -> dict[str, Any]:
    heads, d = _heads(f), c["width"]
    vectors = 2 * d
    if f.flag("attention_bias", default=False):
        vectors += (c["query_heads"] + 2 * heads["kv_heads"]) * heads["head_dim"] + d
    if f.flag("mlp_bias", default=False):
        vectors += 2 * c["ffn_width"] + d
    return {
        **heads,
        **_kinds(f, c["layers"]),
        "tied_embeddings": f.flag("tie_word_embeddings"),
        "layer_vectors": vectors,
    }


def _qwen2(f: _Fields, c: Common) -> dict[str, Any]:
    given = _llama(f, c)
    bias = (c["query_heads"] + 2 * given["kv_heads"]) * given["head_dim"]
    return {**given, "layer_vectors": 2 * c["width"] + bias}


def _qwen3(f: _Fields, c: Common) -> dict[str, Any]:
    given = _llama(f, c)
    return {**given, "layer_vectors": given["layer_vectors"] + 2 * given["head_dim"]}


def _gemma(norms_of_heads: int, period: int) -> Callable[[_Fields, Common], dict[str, Any]]:
    def layout(f: _Fields, c: Common) -> dict[str, Any]:
        heads = _heads(f)
        every = f.whole("sliding_window_pattern", default=period)
        return {
            **heads,
            **_kinds(f, c["layers"], every),
            "tied_embeddings": f.flag("tie_word_embeddings", default=True),
            "layer_vectors": 4 * c["width"] + norms_of_heads * heads["head_dim"],
        }

    return layout


def _experts(f: _Fields, *, width: str) -> dict[str, Any]:
    return {
        "experts": f.whole("num_experts", "num_local_experts", "n_routed_experts"),
        "experts_per_token": f.whole("num_experts_per_tok", "experts_per_token"),
        "expert_width": f.whole(width),
    }


def _mixtral(f: _Fields, c: Common) -> dict[str, Any]:
    return {**_llama(f, c), **_experts(f, width="intermediate_size")}


def _sparse_step(f: _Fields) -> int:
    """Dense layers of a Qwen mixture, named one by one."""
    if f.whole("decoder_sparse_step", default=1) != 1:
        f.refuse("decoder_sparse_step", f.get("decoder_sparse_step"), "1")
    return len(f.get("mlp_only_layers", []))


def _qwen3_moe(f: _Fields, c: Common) -> dict[str, Any]:
    experts = _experts(f, width="moe_intermediate_size")
    return {**_qwen3(f, c), **experts, "dense_layers": _sparse_step(f)}


def _qwen3_next(f: _Fields, c: Common) -> dict[str, Any]:
    given = _qwen3_moe(f, c)
    d = c["width"]
    linear = LinearAttention(
        key_heads=f.whole("linear_num_key_heads"),
        value_heads=f.whole("linear_num_value_heads"),
        key_dim=f.whole("linear_key_head_dim"),
        value_dim=f.whole("linear_value_head_dim"),
        convolution=f.whole("linear_conv_kernel_dim"),
    )
    if "kinds" not in given:
        every = f.whole("full_attention_interval")
        given["kinds"] = tuple("linear" if (i + 1) % every else "full" for i in range(c["layers"]))
    f.asked.add("full_attention_interval")
    return {
        **given,
        "linear": linear,
        "gated_attention": True,
        "shared_width": f.whole("shared_expert_intermediate_size"),
        "shared_gate": True,
        "linear_vectors": 2 * d + 2 * linear.value_heads + linear.value_dim,
    }


def _gpt_oss(f: _Fields, c: Common) -> dict[str, Any]:
    given = _llama(f, c)
    experts = _experts(f, width="intermediate_size")
    f.asked.add("experts_per_token")  # some files spell it twice
    d = c["width"]
    return {
        **given,
        **experts,
        "layer_vectors": given["layer_vectors"] + c["query_heads"] + experts["experts"],
        "expert_vectors": 2 * experts["expert_width"] + d,
    }


def _deepseek(*, biased_router: bool) -> Callable[[_Fields, Common], dict[str, Any]]:
    def layout(f: _Fields, c: Common) -> dict[str, Any]:
        f.asked.update(("num_key_value_heads", "head_dim"))  # neither is what is cached
        if f.flag("attention_bias", default=False):
            f.refuse("attention_bias", True, "false")
        if f.whole("moe_layer_freq", default=1) != 1:
            f.refuse("moe_layer_freq", f.get("moe_layer_freq"), "1")
        latent = LatentAttention(
            kv_rank=f.whole("kv_lora_rank"),
            rope_dim=f.whole("qk_rope_head_dim"),
            nope_dim=f.whole("qk_nope_head_dim"),
            value_dim=f.whole("v_head_dim"),
            query_rank=f.whole("q_lora_rank", default=0) or None,
        )
        experts = _experts(f, width="moe_intermediate_size")
        norms = 2 * c["width"] + latent.kv_rank + (latent.query_rank or 0)
        return {
            **experts,
            "kv_heads": None,
            "head_dim": None,
            "latent": latent,
            "shared_width": f.whole("n_shared_experts", default=0) * experts["expert_width"],
            "dense_layers": f.whole("first_k_dense_replace", default=0),
            "tied_embeddings": f.flag("tie_word_embeddings"),
            "layer_vectors": norms,
            "router_vectors": experts["experts"] if biased_router else 0,
        }

    return layout


LAYOUTS: Mapping[str, Callable[[_Fields, Common], dict[str, Any]]] = {
    "llama": _llama,
    "mistral": _llama,
    "phi3": _llama,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "qwen3_next": _qwen3_next,
    "mixtral": _mixtral,
    "gemma2": _gemma(0, 2),
    "gemma3_text": _gemma(2, 6),
    "gpt_oss": _gpt_oss,
    "deepseek_v2": _deepseek(biased_router=False),
    "deepseek_v3": _deepseek(biased_router=True),
    "kimi_k2": _deepseek(biased_router=True),
}
"""`model_type` to its layout."""
