"""The catalogues against the reference folder, figure by figure."""

from __future__ import annotations

import json

import pytest

from scaling.data.catalogue.hardware import HARDWARE, hardware
from scaling.data.catalogue.models import KINETICS_PARAMETERS, NAMES, model

FIGURES = {
    "bandwidth": "hbm_bytes_per_s",
    "capacity": "hbm_capacity_bytes",
    "tdp": "tdp_watt",
    "intra_node": "intra_node_bytes_per_s",
    "inter_node": "inter_node_bytes_per_s",
}
COUNTS = {
    "total_parameters": "total_params",
    "active_parameters": "active_params",
    "embedding_parameters": "embedding_params",
    "kv_elements": "kv_elements_per_token",
    "attention_flops": "attn_flops_per_query_per_cached_token",
}


@pytest.mark.reference
def test_counts_of_every_model(reference_data):
    rows = json.loads((reference_data / "cost" / "model_configs.json").read_text())
    assert {row["name"] for row in rows} == set(NAMES)
    for row in rows:
        m = model(row["name"])
        for ours, theirs in COUNTS.items():
            assert getattr(m, ours) == row[theirs], (m.name, ours)
        assert m.attention == row["attention"]
        unabsorbed = row.get("attn_flops_per_query_per_cached_token_unabsorbed")
        assert m.prefill_flops == (unabsorbed or m.attention_flops)
        published = row.get("kinetics_P_billion")
        assert KINETICS_PARAMETERS.get(m.name) == (published and pytest.approx(published * 1e9))


@pytest.mark.reference
def test_figures_of_every_accelerator(reference_data):
    rows = json.loads((reference_data / "cost" / "hardware.json").read_text())
    seen = set()
    for row in rows:
        name = (
            row["name"].rpartition(":")[2].removeprefix("nvidia_").lower().replace("tpuv", "tpu_v")
        )
        if name not in HARDWARE or (":" in row["name"] and name in seen):
            continue  # another source on the same accelerator: a conflict
        seen.add(name)
        entry = hardware(name)
        for ours, theirs in FIGURES.items():
            assert getattr(entry, ours) == row.get(theirs), (name, ours)
        for dtype in ("bf16", "fp8", "fp4", "int8"):
            assert entry.flops.get(dtype) == row.get(f"{dtype}_flops"), (name, dtype)
    assert seen == set(HARDWARE)


PUBLISHED = {
    # billions, total and active, as the models' names and cards state them
    "Qwen3-30B-A3B": (30.53, 3.35),
    "Qwen3-235B-A22B": (235.1, 22.19),
    "DeepSeek-V3": (671.0, 37.55),
    "Mixtral-8x7B": (46.7, 12.9),
    "gpt-oss-120b": (116.8, 5.71),
    "Llama-3.1-8B": (8.03, 8.03),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_match_published_names(name):
    total, active = PUBLISHED[name]
    assert model(name).total_parameters / 1e9 == pytest.approx(total, rel=2e-3)
    assert model(name).active_parameters / 1e9 == pytest.approx(active, rel=2e-3)
