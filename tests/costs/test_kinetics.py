"""The Kinetics cost against published and independently computed values, and the cost option."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.costs import (
    CostModel,
    KineticsCosts,
    Request,
    attention_share,
    break_even_length,
    kinetics,
)
from scaling.costs.kv_reads import published_block, published_top_k, reads
from scaling.data.catalogue.hardware import hardware
from scaling.data.catalogue.models import KINETICS_PARAMETERS, model
from scaling.errors import UsageError

H100 = hardware("h100_sxm")

# Infini-AI-Lab/Kinetics@c1eafe3, cost_model/best_of_N/compare_sparse_numTrials.ipynb, printed rows of
# Qwen3-8B on AIME24: prompt, KV budget, trials; tokens of 32 samples; compute and memory in
# Tera-eFLOPs. Where the prompt is longer than the budget its length does not matter: None.
PUBLISHED_ROWS = [
    (218, 256, 1, 344138, 177.779911, 228.413344),
    (128, 512, 1, 220630, 115.060594, 298.914251),
    (212, 1024, 1, 146456, 77.925878, 416.069001),
    (None, 32, 1, 386309, 197.969774, 32.042014),
    (None, 64, 1, 728128, 373.569455, 120.787698),
    (None, 128, 1, 205690, 105.772852, 68.243005),
    (None, 128, 2, 946615, 973.563796, 628.128276),
    (218, 256, 2, 344138, 355.559823, 456.826687),
]


def priced(name, P, l, N, *, parameters=None, intensity=562.5, mode="exact", **sparse):
    cost = kinetics(
        model(name),
        parameters=parameters or KINETICS_PARAMETERS.get(name),
        intensity=intensity,
        mode=mode,
    )
    return cost.price(Request(P, l, N, **sparse))


@pytest.mark.parametrize("row", PUBLISHED_ROWS)
def test_printed_rows(row):
    """The mean over 32 samples; only their total was recovered, and the cost is linear in it here."""
    P, B, N, tokens, compute, memory = row
    b = priced("Qwen3-8B", B if P is None else P, tokens / 32, N, mode="published", kv_budget=B)
    assert float(b.flops) / 1e12 == pytest.approx(compute, abs=6e-7)  # printed digits
    assert 562.5 * float(b.bytes) / 1e12 == pytest.approx(memory, abs=6e-7)


@pytest.mark.parametrize(
    ("name", "phi"),
    [
        ("Qwen3-0.6B", 711),
        ("Qwen3-1.7B", 263),
        ("Qwen3-4B", 172),
        ("Qwen3-14B", 52),
        ("Qwen3-32B", 38),
        ("Qwen3-30B-A3B", 138),
    ],
)
def test_attention_dwarfs_the_weights(name, phi):
    """32,768 tokens after 128; the project page of Kinetics says 10 to 1,000 times."""
    cost = kinetics(model(name), parameters=KINETICS_PARAMETERS.get(name))
    assert round(float(attention_share(cost, Request(128, 32_768)))) == phi


def test_seconds_of_a_b200():
    """The plots of Kinetics: 10^5 Tera-eFLOPs are 22 s at 4500 TFLOP/s."""
    fp8 = replace(kinetics(model("Qwen3-8B")), hardware=hardware("b200_sxm"), dtype="fp8")
    b = fp8.price(Request(256, 8192, 32))
    assert b.seconds == pytest.approx(float(b.eflops) / 4.5e15, rel=1e-12)
    assert float(b.seconds) * 1e17 / float(b.eflops) == pytest.approx(22.2, abs=0.05)


@pytest.mark.parametrize(
    ("P", "l", "B", "excess"),
    [(218, 10_754, 256, 0.0003), (128, 8192, 1024, 0.084), (128, 512, 1024, 2.45)],
)
def test_the_published_sign_errs_as_stated(P, l, B, excess):
    """Spec cost 1.3: relative error of the published top-k cost of Qwen3-8B."""
    exact, published = (
        float(priced("Qwen3-8B", P, l, 1, mode=mode, kv_budget=B).eflops)
        for mode in ("exact", "published")
    )
    assert published / exact - 1 == pytest.approx(excess, rel=0.05)


def test_the_published_sum_of_blocks_can_be_negative():
    assert published_block(0.0, np.array(10.0), np.array(1000.0)) < 0
    assert reads(0.0, np.array(10.0), np.array(1000.0), 0.0) == 50


@given(P=st.integers(0, 3000), l=st.integers(1, 3000), B=st.integers(1, 7000))
def test_published_forms_are_exact_where_they_claim_to_be(P, l, B):
    exact = reads(float(P), np.array(float(l)), np.array(float(B)), 0.0)
    if B <= P:
        assert published_top_k(P, l, B) == pytest.approx(exact)
    if P + l >= B:
        assert published_block(P, l, B) == pytest.approx(exact)
    # an integral by many rectangles
    u = (np.arange(20_000) + 0.5) * l / 20_000
    assert exact == pytest.approx(np.minimum(B, P + u).sum() * l / 20_000, rel=1e-6)


def test_break_even_length_is_where_the_two_are_equal():
    cost = kinetics(model("Qwen3-8B"), intensity=300.0)
    length = break_even_length(cost)
    assert attention_share(cost, Request(0, length)) == pytest.approx(1.0)
    with pytest.raises(UsageError, match="do not see the whole context"):
        break_even_length(kinetics(model("gpt-oss-20b")))


def test_published_mode_is_for_what_was_published():
    for name in ("gpt-oss-20b", "DeepSeek-V3"):
        with pytest.raises(UsageError, match="Use the exact mode"):
            kinetics(model(name), mode="published")
    with pytest.raises(UsageError, match="gradients are of the exact mode"):
        priced("Qwen3-8B", 1, 1, 1, mode="published").gradient()


@given(P=st.integers(0, 4000), l=st.integers(1, 4000), N=st.integers(1, 64), I=st.floats(100, 600))
def test_the_core_reduces_to_the_published_formula(P, l, N, I):
    """Spec cost 1.2, as written there."""
    m, p = model("Qwen3-14B"), 14.77e9
    h_q, h_kv = 40 * 128 * 40, 8 * 128 * 40
    compute = N * (2 * p * l + 4 * h_q * (P * l + l * l / 2))
    moved = 4 * h_kv * (P * l + N * l * l / 2)
    for mode in ("exact", "published"):
        b = kinetics(m, parameters=p, intensity=I, mode=mode).price(Request(P, l, N))
        assert b.eflops == pytest.approx(compute + I * moved, rel=1e-13)


# --- reference data ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def entries(reference_data):
    rows = json.loads((reference_data / "cost" / "reference_costs.json").read_text())
    return {row["id"]: row for row in rows}


def of(entries, prefix):
    found = [row for name, row in entries.items() if name.startswith(prefix)]
    assert found
    return found


def given_request(i, **sparse):
    return priced(
        i["model"],
        i["L_in"],
        i["L_out"],
        i["n_trials"],
        parameters=i["P"],
        intensity=i["intensity"],
        **sparse,
    )


@pytest.mark.reference
def test_reference_dense(entries):
    for row in of(entries, "kinetics_dense"):
        i, e = row["inputs"], row["expected"]
        for mode in ("exact", "published"):
            b = given_request(i, mode=mode)
            found = {
                "compute_flops": b.flops,
                "kv_bytes": b.bytes,
                "eflops": b.eflops,
                "tera_eflops": b.eflops / 1e12,
                "b200_seconds": b.eflops / 4.5e15,
                "memory_fraction": 1 - b.flops / b.eflops,
                "attention_to_param_ratio_phi": attention_share(b.cost, b.request),
            }
            assert set(found) == set(e)
            for name, value in found.items():
                assert value == pytest.approx(e[name], rel=row["rtol"]), (row["id"], name)


@pytest.mark.reference
def test_reference_sparse(entries):
    for row in of(entries, "kinetics_sparse"):
        i, e, rtol = row["inputs"], row["expected"], row["rtol"]
        P, l, B = (np.array(float(i[k])) for k in ("L_in", "L_out", "kv_budget"))
        assert reads(P, l, B, 0.0) == pytest.approx(e["kv_exact"], rel=rtol)
        assert published_top_k(P, l, B) == pytest.approx(e["kv_published_topk"], rel=rtol)
        assert published_block(P, l, B) == pytest.approx(e["kv_block_form"], rel=rtol)
        assert (published_block(P, l, B) == reads(P, l, B, 0.0)) == e["block_form_valid"]
        for mode, name in (("exact", "exact"), ("published", "published_topk")):
            b = given_request(i, mode=mode, kv_budget=i["kv_budget"])
            assert b.eflops / 1e12 == pytest.approx(e[f"tera_eflops_{name}"], rel=rtol)
        blocks = given_request(i, mode="published", kv_budget=i["kv_budget"], block=1)
        search = sum(v for k, v in blocks.parts("eflops").items() if "search" in k)
        assert (blocks.eflops - search) / 1e12 == pytest.approx(
            e["tera_eflops_block_form_without_search"], rel=rtol
        )


@pytest.mark.reference
def test_reference_blocks(entries):
    for row in of(entries, "kinetics_block_topk"):
        i, e = row["inputs"], row["expected"]
        B = i["local"] + i["block_size"] * i["block_topk"]
        b = given_request(i, mode="published", kv_budget=B, block=i["block_size"])
        found = {"compute_flops": b.flops, "kv_bytes": b.bytes, "tera_eflops": b.eflops / 1e12}
        for name, value in found.items():
            assert value == pytest.approx(e[name], rel=row["rtol"]), (row["id"], name)
        smooth = given_request(i, mode="exact", kv_budget=B, block=i["block_size"])
        assert smooth.eflops == pytest.approx(float(b.eflops), rel=1e-3)


@pytest.mark.reference
def test_reference_published_rows(entries):
    for row in of(entries, "kinetics_published_row"):
        i, e = row["inputs"], row["expected"]
        B = i["kv_budget"]
        b = priced(
            i["model"],
            B if i["L_in"] is None else i["L_in"],
            i["sum_gen_tokens_over_32"] / 32,
            i["n_trials"],
            parameters=i["P"],
            intensity=i["intensity"],
            mode="published",
            kv_budget=B,
        )
        found = {
            "compute_tera": b.flops / 1e12,
            "memory_tera": i["intensity"] * b.bytes / 1e12,
            "total_tera": b.eflops / 1e12,
        }
        for name, value in found.items():
            assert value == pytest.approx(e[name], rel=row["rtol"]), (row["id"], name)


@pytest.mark.reference
def test_reference_rows_of_the_file_are_those_typed_here(reference_data):
    with (reference_data / "cost" / "kinetics_qwen3_8b_published_cost_rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    typed = {(B, N, tokens, c, m) for _, B, N, tokens, c, m in PUBLISHED_ROWS}
    assert typed == {
        (
            int(r["kv_budget"]),
            int(r["n_trials"]),
            int(r["recovered_sum_gen_tokens_over_32"]),
            float(r["compute_tera"]),
            float(r["memory_tera_eflops"]),
        )
        for r in rows
    }


@pytest.mark.reference
def test_reference_caches(entries):
    row = entries["kv_bytes_32k"]
    for name, value in row["expected"].items():
        gib = name.endswith("_GiB")
        m = model(name.removesuffix("_GiB"))
        held = m.kv_elements * row["inputs"]["bytes_per_element"] * row["inputs"]["tokens"]
        assert held / (2**30 if gib else 1) == pytest.approx(value, rel=row["rtol"])
    row = entries["kv_growth_per_param_doubling"]
    names = row["inputs"]["models"]
    slope = np.polyfit(
        np.log2([KINETICS_PARAMETERS[n] for n in names]),
        np.log2([2 * model(n).kv_elements for n in names]),
        1,
    )[0]
    assert slope == pytest.approx(row["expected"]["slope"], rel=row["rtol"])
    assert 2**slope == pytest.approx(row["expected"]["factor"], rel=row["rtol"])


@pytest.mark.reference
def test_reference_exact_counts(entries):
    for row in of(entries, "exact_flops"):
        i, e = row["inputs"], row["expected"]
        m = model(i["model"])
        assert (m.linear_weights, m.lm_head, m.attention_flops) == (
            i["W_linear"],
            i["lm_head"],
            i["a_c"],
        )
        prefill = CostModel(m).price(Request(i["S"], 0)).flops
        decode = CostModel(m, prefill="cached").price(Request(i["S"], 1)).flops
        assert prefill / 1e12 == pytest.approx(e["prefill_tflops"], rel=row["rtol"])
        assert decode / 1e12 == pytest.approx(e["decode_tflops"], rel=row["rtol"])
    row = entries["third_party_exact_flops"]
    S, checked = row["inputs"]["S"], 0
    for name, value in row["expected"].items():
        m = next(model(n) for n in NAMES_BY_LENGTH if name.startswith(n.lower() + "-"))
        what = name.removeprefix(m.name.lower() + "-")
        found = {
            f"prefill-{S}": CostModel(m).price(Request(S, 0)).flops / 1e12,
            f"decode-b1-s{S}": CostModel(m, prefill="cached").price(Request(S, 1)).flops / 1e12,
            "weights-GiB": 2 * m.total_parameters / 2**30,
            f"kv-{S}-GiB": 2 * m.kv_elements * S / 2**30,
        }
        assert found[what] == pytest.approx(value, rel=row["rtol"]), name
        checked += 1
    assert checked == len(row["expected"]) > 0


NAMES_BY_LENGTH = ("Qwen3-235B-A22B", "Qwen3-30B-A3B", "Qwen3-32B", "Qwen3-8B")


@pytest.mark.reference
def test_reference_latent_attention_and_experts(entries):
    row = entries["mla_deepseek_v3"]
    i, m = row["inputs"], model("DeepSeek-V3")
    assert (m.layers, m.query_heads) == (i["n_layers"], i["n_heads"])
    found = {
        "kv_elements_per_token": m.kv_elements,
        "kv_bytes_bf16": 2 * m.kv_elements,
        "attn_flops_per_query_per_cached": m.attention_flops,
        "attn_intensity_flop_per_byte": m.attention_flops / (2 * m.kv_elements),
        "gqa_equiv_groups": m.layer_kv_elements / (2 * 128),
    }
    assert found == pytest.approx(row["expected"], rel=row["rtol"])
    for row in of(entries, "moe_distinct"):
        i = row["inputs"]
        moe = replace(model("Qwen3-30B-A3B"), experts=i["E"], experts_per_token=i["k"])
        found = moe.distinct_experts(i["tokens"])
        assert found == pytest.approx(row["expected"]["distinct"], rel=row["rtol"])


# --- the cost option ---------------------------------------------------------------------------

OPTION = KineticsCosts(
    input_tokens=300.0, tokens_per_sample=2000.0, definition=CostModel(model("Qwen3-8B"), H100)
)


@pytest.mark.parametrize("sparse", [{}, {"kv_budget": 512.0}, {"kv_budget": 512.0, "block": 16.0}])
def test_samples_cost_what_the_core_says(sparse):
    linear = replace(OPTION, **sparse).of(None, {}).at(np.array([1, 7, 64]))
    priced_ = OPTION.definition.price(Request(300, 2000, [1, 7, 64], **sparse))
    for resource in ("flops", "bytes", "eflops", "seconds", "joules"):
        np.testing.assert_allclose(linear[resource], getattr(priced_, resource), rtol=1e-10)
    assert linear["tokens"].tolist() == [2000, 14_000, 128_000]
    assert "usd" not in linear


@pytest.mark.parametrize("sd", [500.0, 4000.0])
def test_a_spread_of_lengths_costs_what_the_second_moment_says(sd):
    """The cost is quadratic in the length, so two lengths of the right spread are exact."""
    mean = OPTION.of(None, {})
    spread = replace(OPTION, tokens_sd=sd).of(None, {})
    m = model("Qwen3-8B")
    extra = m.attention_flops * sd**2 / 2
    assert spread.per_sample["flops"] - mean.per_sample["flops"] == pytest.approx(extra)
    assert spread.fixed["flops"] == pytest.approx(mean.fixed["flops"])


def test_an_hourly_price_gives_dollars_unless_they_are_given():
    dear = replace(OPTION.definition, hardware=replace(H100, price_per_hour=2.0))
    option = replace(OPTION, definition=dear)
    cost = option.of(None, {})
    assert cost.per_sample["usd"] == pytest.approx(cost.per_sample["seconds"] * 2 / 3600)
    assert option.prices["overrides"] == {"price_per_hour": {"h100_sxm": 2.0}}
    assert OPTION.prices is None
    given_ = replace(option, usd_per_sample=0.5)
    assert given_.of(None, {}).per_sample["usd"] == 0.5
    assert given_.prices["overrides"]["usd_per_sample"] == 0.5


def test_models_have_shapes_of_their_own():
    two = {n: CostModel(model(n), H100) for n in ("Qwen3-8B", "Qwen3-0.6B")}
    option = replace(OPTION, definition=two)
    large, small = (option.of(n, {}).per_sample["eflops"] for n in two)
    assert large > small
    with pytest.raises(UsageError, match=r"no shape for model x.*Qwen3-0\.6B, Qwen3-8B"):
        option.of("x", {})
    record = option.cost_model
    json.dumps(record, allow_nan=False)
    assert set(record["models"]) == set(two)
    assert record["intensity"] == H100.intensity()
    assert option.at_intensity(300.0).cost_model["intensity"] == 300


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"definition": None}, "--model-config"),
        ({"input_tokens": None}, "--input-tokens"),
        ({"block": 16.0}, "--kv-budget"),
        ({"kv_budget": 0.0}, "--kv-budget is 0"),
        ({"tokens_sd": -1.0}, "--tokens-sd is -1"),
        (
            {
                "definition": kinetics(model("Qwen3-8B"), mode="published"),
                "kv_budget": 64.0,
                "block": 8.0,
            },
            "rounded down",
        ),
        ({"definition": CostModel(model("Qwen3-30B-A3B"), H100, n_share=8)}, "--n-share"),
    ],
)
def test_what_is_missing_is_named(change, words):
    with pytest.raises(UsageError, match=words):
        replace(OPTION, **change)


def test_the_log_may_hold_the_tokens():
    option = replace(OPTION, tokens_per_sample=None)
    assert option.of(None, {"tokens": 2000.0}).per_sample == OPTION.of(None, {}).per_sample
    with pytest.raises(UsageError, match="--tokens-per-sample"):
        option.of(None, {})
