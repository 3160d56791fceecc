from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.costs import LinearAttention, ModelConfig
from scaling.costs.huggingface import LAYOUTS
from scaling.data.catalogue.models import model
from scaling.errors import InputError, UsageError

QWEN3 = {
    "architectures": ["Qwen3ForCausalLM"],
    "attention_bias": False,
    "head_dim": 128,
    "hidden_act": "silu",
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "max_position_embeddings": 40960,
    "max_window_layers": 28,
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_hidden_layers": 28,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-06,
    "rope_theta": 1000000,
    "sliding_window": None,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
    "vocab_size": 151936,
}


def hybrid(**changed):
    return ModelConfig.read(
        {
            "model_type": "qwen3_next",
            "num_hidden_layers": 8,
            "hidden_size": 64,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 32,
            "intermediate_size": 100,
            "vocab_size": 1000,
            "tie_word_embeddings": False,
            "num_experts": 16,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 24,
            "shared_expert_intermediate_size": 20,
            "full_attention_interval": 4,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 16,
            "linear_value_head_dim": 8,
            "linear_conv_kernel_dim": 4,
            **changed,
        }
    )


def test_file_folder_and_content_read_alike(tmp_path):
    folder = tmp_path / "Tiny-0.6B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN3))
    read = ModelConfig.read(folder / "config.json")
    assert read.name == "Tiny-0.6B"
    assert read == ModelConfig.read(folder)
    assert replace(read, name="", source="") == replace(
        ModelConfig.read(QWEN3, name="x"), name="", source=""
    )
    # The published name of this shape.
    assert read.total_parameters == 596_049_920
    assert read.head_dim == 128 != read.width // read.query_heads


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head_dim": None}, ["head_dim missing", "--head-dim"]),
        ({"num_key_value_heads": None}, ["num_key_value_heads missing"]),
        ({"model_type": "qwen33"}, ["'qwen33'", "Did you mean 'qwen3'"]),
        ({"model_type": None}, ["model_type is None", "llama"]),
        ({"cross_layer_sharing": 2}, ["cross_layer_sharing", "may change what the model costs"]),
        ({"hidden_size": "1024"}, ["hidden_size is '1024'", "whole number"]),
        ({"num_hidden_layers": 0}, ["layers is 0", "at least 1"]),
        ({"num_attention_heads": 12}, ["query_heads is 12", "multiple of kv_heads 8"]),
        ({"tie_word_embeddings": "yes"}, ["'yes'", "true or false"]),
        ({"layer_types": ["full_attention"] * 27}, ["kinds", "one of"]),
        ({"layer_types": ["chunked_attention"] * 28}, ["chunked_attention", "sliding_attention"]),
    ],
)
def test_what_is_not_known_is_named(change, words):
    with pytest.raises(InputError) as error:
        ModelConfig.read({**QWEN3, **change})
    for word in words:
        assert word in str(error.value)


def test_all_missing_fields_are_named_at_once():
    with pytest.raises(InputError, match=r"hidden_size.*vocab_size.*num_key_value_heads.*head_dim"):
        ModelConfig.read({"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4})


def test_a_head_dimension_can_be_given_but_not_against_the_file():
    without = {k: v for k, v in QWEN3.items() if k != "head_dim"}
    assert ModelConfig.read(without, head_dim=128).head_dim == 128
    with pytest.raises(InputError, match="128 in the file and 64"):
        ModelConfig.read(QWEN3, head_dim=64)


def test_text_of_an_unknown_field_changes_nothing():
    assert ModelConfig.read({**QWEN3, "made_by": "us", "_private": 3, "extra": None}).layers == 28


@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"config\.json"):
        ModelConfig.read(path)


def test_no_such_file():
    with pytest.raises(InputError, match="No such file"):
        ModelConfig.read("/nowhere/config.json")


def test_an_inner_text_configuration_is_pointed_at():
    with pytest.raises(InputError, match="text_config: give that object"):
        ModelConfig.read({"model_type": "vision", "text_config": QWEN3})


# --- windows -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sliding"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, 28),
        ({"model_type": "qwen2", "sliding_window": 4096, "use_sliding_window": False}, 0),
        (
            {
                "model_type": "qwen2",
                "sliding_window": 4096,
                "use_sliding_window": True,
                "max_window_layers": 20,
            },
            8,
        ),
        ({"model_type": "gemma2", "sliding_window": 4096, "use_sliding_window": None}, 14),
        (
            {
                "model_type": "gemma3_text",
                "sliding_window": 512,
                "use_sliding_window": None,
                "sliding_window_pattern": 6,
            },
            24,
        ),
    ],
)
def test_windows(change, sliding):
    content = {k: v for k, v in QWEN3.items() if k not in ("use_sliding_window", "sliding_window")}
    m = ModelConfig.read({**content, **change})
    assert m.kinds.count("sliding") == sliding
    assert sum(span.layers for span in m.spans) == 28


def test_windows_of_gpt_oss_alternate():
    assert model("gpt-oss-20b").spans == ((12, None), (12, 128))


# --- counts ------------------------------------------------------------------------------------


def test_a_hybrid_counts_what_its_matrices_hold():
    m = hybrid()
    assert m.kinds == ("linear", "linear", "linear", "full") * 2
    d, L, full, linear = 64, 8, 2, 6
    attention = d * 4 * 32 * 2 + 2 * d * 2 * 32 + 4 * 32 * d  # queries and gates; keys, values; out
    keys, values = 2 * 16, 4 * 8
    state = d * (2 * keys + 2 * values + 2 * 4) + (2 * keys + values) * 4 + values * d
    mixture = d * 16 + 3 * d * 20 + d
    assert m.shared_weights == full * attention + linear * state + L * mixture
    assert m.linear_weights == m.shared_weights + L * 2 * 3 * d * 24
    assert m.kv_elements == full * 2 * 2 * 32
    assert m.state_elements == linear * (4 * 16 * 8 + (2 * keys + values) * 3)
    vectors = full * (2 * d + 2 * 32) + linear * (2 * d + 2 * 4 + 8) + d
    assert m.total_parameters == m.shared_weights + L * 16 * 3 * d * 24 + 2 * 1000 * d + vectors


def test_grouped_queries_need_fewer_elements_than_latent_attention():
    """DeepSeek-V2, arXiv 2405.04434, table 1: the latent cache equals GQA with 2.25 groups."""
    m = model("DeepSeek-V3")
    assert m.layer_kv_elements / (2 * 128) == 2.25
    assert m.layer_attention_flops / (2 * m.layer_kv_elements) == pytest.approx(
        241.777777, rel=1e-8
    )


@pytest.mark.parametrize(
    ("name", "attention"),
    [("Qwen3-8B", "gqa"), ("DeepSeek-R1", "mla")],
)
def test_attention_is_named(name, attention):
    assert model(name).attention == attention


def test_one_head_and_as_many_heads_are_named():
    m = model("Qwen3-8B")
    assert replace(m, kv_heads=1).attention == "mqa"
    assert replace(m, kv_heads=m.query_heads).attention == "mha"


@pytest.mark.parametrize(
    ("name", "tp", "copies"),
    [("Qwen3-8B", 1, 1), ("Qwen3-8B", 8, 1), ("Qwen3-8B", 16, 2), ("DeepSeek-V3", 8, 8)],
)
def test_caches_are_copied_where_heads_run_out(name, tp, copies):
    assert model(name).kv_replication(tp) == copies


def test_the_degree_starts_at_one():
    with pytest.raises(UsageError, match="starts at 1"):
        model("Qwen3-8B").kv_replication(0)


# --- experts -----------------------------------------------------------------------------------


@given(b=st.integers(0, 5000), skew=st.floats(0, 2))
def test_distinct_experts_stay_between_those_of_one_token_and_all(b, skew):
    m = model("Qwen3-30B-A3B")
    found = float(m.distinct_experts(b, skew=skew))
    assert min(b, 1) * 8 * (1 - 1e-9) <= found <= 128
    assert found <= float(m.distinct_experts(b)) + 1e-9  # skew: fewer experts
    assert found <= float(m.distinct_experts(b + 1, skew=skew)) + 1e-12


def test_distinct_experts_equal_a_simulation():
    m = model("Mixtral-8x7B")
    rng = np.random.default_rng(0)
    seen = np.mean(
        [len({e for _ in range(3) for e in rng.choice(8, 2, replace=False)}) for _ in range(20_000)]
    )
    assert float(m.distinct_experts(3)) == pytest.approx(seen, abs=0.02)


def test_a_skewed_routing_still_visits_k_experts_a_token():
    for skew in (0.3, 1.0, 3.0):
        assert float(model("Qwen3-30B-A3B").distinct_experts(1, skew=skew)) == pytest.approx(8)


def test_a_dense_model_has_no_experts_to_visit():
    m = model("Qwen3-8B")
    assert m.distinct_experts([1, 5]).tolist() == [0, 0]
    assert m.read_parameters(7) == m.total_parameters - m.embedding_parameters


def test_all_experts_are_read_by_many_tokens():
    m = model("Qwen3-30B-A3B")
    untied = m.total_parameters - m.embedding_parameters
    assert m.read_parameters(10_000) == pytest.approx(untied)
    assert m.read_parameters(1) == m.active_parameters - m.embedding_parameters


def test_no_negative_batch():
    with pytest.raises(UsageError, match="tokens are -1"):
        model("Qwen3-30B-A3B").distinct_experts(-1)


# --- declared by hand --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"head_dim": None}, "never derived"),
        ({"experts": 4}, "experts_per_token is 0"),
        ({"experts": 4, "experts_per_token": 2}, "expert_width"),
        ({"dense_layers": 99}, "dense_layers is 99"),
        ({"ffn_width": 0}, "ffn_width is 0"),
        ({"kinds": ("sliding",) * 36}, "window is None"),
        ({"kinds": ("linear",) * 36}, "linear is None"),
        ({"layers": 3.5}, "whole number"),
        ({"width": True}, "whole number"),
    ],
)
def test_numbers_that_contradict_are_refused(change, word):
    with pytest.raises(InputError, match=word):
        replace(model("Qwen3-8B"), **change)


def test_the_record_leaves_out_what_does_not_apply():
    assert "experts" not in model("Qwen3-8B").document()
    assert model("DeepSeek-V3").document()["latent"]["kv_rank"] == 512


def test_every_layout_names_what_it_needs():
    for model_type in LAYOUTS:
        with pytest.raises(InputError, match="hidden_size"):
            ModelConfig.read({"model_type": model_type})


def test_linear_state_is_per_head():
    m = LinearAttention(2, 4, 16, 8, 4)
    assert m.channels == 2 * 2 * 16 + 4 * 8
    assert m.state_flops == 7 * 4 * 16 * 8
