"""The general core against loops over tokens, and the properties that costs must have."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.costs import Composition, CostModel, ModelConfig, Request
from scaling.data.catalogue.hardware import hardware
from scaling.data.catalogue.models import model
from scaling.errors import UsageError

H100 = hardware("h100_sxm")
SHAPES = ("Qwen3-8B", "DeepSeek-V3", "gpt-oss-20b", "Mixtral-8x7B")
HYBRID = ModelConfig.read(
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
    }
)


def shape(name):
    return HYBRID if name == "hybrid" else model(name)


def looped(m, P, lengths, *, B=None, block=None, shared=True, kv_bytes=2.0):
    """FLOPs and cache bytes, token by token, layer by layer, sample by sample."""
    flops, moved = 0.0, 0.0
    kinds = m.kinds or ("full",) * m.layers
    for layer in kinds:
        if layer == "linear":
            flops += m.linear.state_flops * (P + sum(lengths))
            moved += 2 * kv_bytes * m.linear.state_elements * sum(lengths)
            continue
        window = m.window if layer == "sliding" else np.inf
        for s in range(1, P + 1):
            flops += m.layer_prefill_flops * min(window, s)
        moved += kv_bytes * m.layer_kv_elements * (P + sum(lengths))
        for step in range(1, max(lengths, default=0) + 1):
            active = [l for l in lengths if l >= step]
            cap = min(window, np.inf if B is None else B)
            mine = min(cap, step)
            prompt = min(cap, P + step) - mine
            flops += len(active) * m.layer_attention_flops * (mine + prompt)
            readers = 1 if shared and B is None else len(active)
            moved += kv_bytes * m.layer_kv_elements * (len(active) * mine + readers * prompt)
            if block is not None:
                own = min(window, step)
                before = min(window, P + step) - own
                flops += len(active) * m.layer_search_flops * (own + before) / block
                readers = 1 if shared else len(active)
                vectors = (len(active) * own + readers * before) / block
                moved += kv_bytes * m.layer_search_elements * vectors
    if P:
        flops += 2 * m.linear_weights * P + 2 * m.lm_head
    flops += 2 * m.matmul_parameters * sum(lengths)
    return flops, moved


@pytest.mark.parametrize("name", [*SHAPES, "hybrid"])
@pytest.mark.parametrize("P", [0, 3, 150])
@pytest.mark.parametrize(
    "sparse", [{}, {"B": 7}, {"B": 40, "block": 8}, {"shared": False}, {"B": 9, "shared": False}]
)
def test_discrete_sums_equal_a_loop_over_the_tokens(name, P, sparse):
    m = shape(name)
    request = {
        "kv_budget": sparse.get("B"),
        "block": sparse.get("block"),
        "share_prompt": sparse.get("shared", True),
    }
    equal = CostModel(m).price(Request(P, 11, 3, **request))
    np.testing.assert_allclose(
        (equal.flops, equal.bytes), looped(m, P, [11] * 3, **sparse), rtol=1e-12
    )
    ragged = CostModel(m).price(Request(P, lengths=[0, 200, 11, 1], **request))
    np.testing.assert_allclose(
        (ragged.flops, ragged.bytes), looped(m, P, [0, 200, 11, 1], **sparse), rtol=1e-12
    )


def test_given_lengths_that_are_equal_are_a_number_of_samples():
    for sparse in ({}, {"kv_budget": 30}, {"kv_budget": 32, "block": 16}):
        a = CostModel(model("gpt-oss-20b"), H100).price(Request(100, 50, 4, **sparse))
        b = CostModel(model("gpt-oss-20b"), H100).price(Request(100, lengths=[50] * 4, **sparse))
        parts = b.parts("eflops")
        for name, value in a.parts("eflops").items():
            assert value == pytest.approx(parts[name], rel=1e-12), name


def test_many_configurations_are_each_alone():
    rng = np.random.default_rng(0)
    P, l = rng.integers(0, 500, 40_000), rng.integers(0, 900, 40_000)
    N, B = rng.integers(1, 9, (40_000)), rng.integers(1, 700, (40_000))
    cost = CostModel(model("gpt-oss-20b"), H100, n_share=32)
    whole = cost.price(Request(P, l, N, kv_budget=B))
    for i in rng.integers(0, 40_000, 5):
        alone = cost.price(Request(P[i], l[i], N[i], kv_budget=B[i]))
        for unit in ("flops", "weight_bytes", "kv_bytes", "eflops", "seconds"):
            assert getattr(whole, unit)[i] == pytest.approx(float(getattr(alone, unit)), rel=1e-13)


def test_arguments_broadcast():
    grid = CostModel(model("Qwen3-8B"), H100).price(
        Request(100, np.arange(1, 4)[:, None], np.array([1, 2]))
    )
    assert grid.eflops.shape == (3, 2)
    assert grid.gradient()["samples"].shape == (3, 2)
    one = CostModel(model("Qwen3-8B"), H100).price(Request(100, 3, 2))
    assert grid.eflops[2, 1] == one.eflops
    assert CostModel(model("Qwen3-8B"), H100).price(Request([], 3)).eflops.shape == (0,)


@pytest.mark.parametrize(
    ("name", "prefill", "decode"),
    [
        ("Qwen3-8B", 133.594323354, 0.019968623),
        ("Qwen3-32B", 581.651796853, None),
        ("Qwen3-30B-A3B", 71.128501977, 0.012526551),
        ("Qwen3-235B-A22B", 446.535841087, None),
    ],
)
def test_published_counts_of_8192_tokens(name, prefill, decode):
    """bojieli/ai-infra-book, calculations/results/README.md."""
    price = CostModel(model(name)).price
    assert price(Request(8192, 0)).flops / 1e12 == pytest.approx(prefill, rel=1e-9)
    if decode is not None:
        one = CostModel(model(name), prefill="cached").price(Request(8192, 1)).flops
        assert one / 1e12 == pytest.approx(decode, rel=1e-7)


# --- properties --------------------------------------------------------------------------------

requests = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(0, 5000),
        "output_tokens": st.integers(1, 5000),
        "samples": st.integers(1, 64),
        "kv_budget": st.none() | st.integers(1, 12_000),
    }
)
costs = st.builds(
    CostModel,
    st.sampled_from([*map(model, SHAPES), HYBRID]),
    st.just(H100),
    sum=st.sampled_from(["discrete", "continuous"]),
    prefill=st.sampled_from(["once", "each", "cached"]),
    n_share=st.sampled_from([float("inf"), 1.0, 32.0]),
)


@given(cost=costs, request=requests)
def test_more_of_anything_costs_more(cost, request):
    before = cost.price(Request(**request)).eflops
    for knob in ("input_tokens", "output_tokens", "samples", "kv_budget"):
        if request[knob] is None:
            continue
        after = cost.price(Request(**{**request, knob: request[knob] + 1})).eflops
        # with every layer's window or budget filled, a longer prompt is free where it is cached
        free = knob == "kv_budget" or (knob == "input_tokens" and cost.prefill == "cached")
        assert after >= before if free else after > before, knob


@given(cost=costs, request=requests)
def test_more_parameters_cost_more(cost, request):
    small, large = (
        replace(cost, parameters=P).price(Request(**request)).eflops for P in (1e9, 1.1e9)
    )
    assert large > small


@given(cost=costs, request=requests)
def test_a_budget_saves_and_one_of_the_whole_context_saves_nothing(cost, request):
    request = {**request, "kv_budget": None, "samples": 1}  # with one sample nothing is shared
    dense = cost.price(Request(**request))
    whole = request["input_tokens"] + request["output_tokens"]
    for B in (1, whole // 2 + 1, whole):
        sparse = cost.price(Request(**{**request, "kv_budget": B}))
        assert sparse.flops <= dense.flops * (1 + 1e-12)
        assert sparse.bytes <= dense.bytes * (1 + 1e-12)
    assert sparse.eflops == pytest.approx(dense.eflops, rel=1e-12)


@given(cost=costs, request=requests)
def test_samples_together_cost_no_more_than_alone(cost, request):
    together = cost.price(Request(**request)).eflops
    alone = request["samples"] * cost.price(Request(**{**request, "samples": 1})).eflops
    assert together <= alone * (1 + 1e-12)
    if cost.n_share == float("inf"):
        nothing = {**request, "input_tokens": 0}
        alone = request["samples"] * cost.price(Request(**{**nothing, "samples": 1})).eflops
        assert cost.price(Request(**nothing)).eflops == pytest.approx(alone, rel=1e-12)
        unshared = replace(cost, prefill="each").price(Request(**request, share_prompt=False))
        one = replace(cost, prefill="each").price(Request(**{**request, "samples": 1}))
        assert unshared.eflops == pytest.approx(request["samples"] * one.eflops, rel=1e-12)


@given(cost=costs, request=requests)
def test_additive_time_lies_between_overlap_and_its_double(cost, request):
    by = {
        name: replace(cost, composition=Composition(name, 3.0)).price(Request(**request)).seconds
        for name in ("additive", "max", "p-norm")
    }
    assert by["max"] <= by["p-norm"] * (1 + 1e-12) <= by["additive"] * (1 + 1e-9)
    assert by["additive"] <= 2 * by["max"] * (1 + 1e-12)
    b = cost.price(Request(**request))
    assert by["additive"] == pytest.approx(b.eflops / H100.peak())
    overlap = np.maximum(b.flops / H100.peak(), b.bytes / H100.bandwidth)
    assert by["max"] == pytest.approx(overlap)
    more = replace(cost, intensity=562.5).price(Request(**request))
    assert more.eflops / H100.peak() >= overlap


@given(request=requests)
def test_prefill_is_charged_once(request):
    cost = CostModel(model("Qwen3-8B"), H100)
    one = cost.price(Request(**{**request, "samples": 1})).parts()
    many = cost.price(Request(**request)).parts()
    for name in ("prefill weights", "prefill attention"):
        assert one[name] == many[name]
    assert not any(
        "prefill" in n for n in replace(cost, prefill="cached").price(Request(1, 1)).parts()
    )


@given(request=requests)
def test_sums_and_integrals_differ_by_less_than_a_token(request):
    discrete, continuous = (
        CostModel(model("Qwen3-8B"), H100, sum=s, prefill="cached").price(Request(**request)).eflops
        for s in ("discrete", "continuous")
    )
    gap, rounding = discrete - continuous, 1e-14 * discrete
    assert -rounding <= gap <= discrete / request["output_tokens"] + rounding


@settings(max_examples=200)
@given(
    cost=costs,
    request=requests,
    of=st.sampled_from(["flops", "bytes", "eflops", "seconds"]),
    rule=st.sampled_from(
        [
            Composition(),
            Composition("max"),
            Composition("p-norm", 2.5),
            Composition("fitted", coefficients={"constant": 1, "flops": 2e-15, "kv": 3e-13}),
        ]
    ),
    block=st.none() | st.just(16),
)
def test_gradients_equal_differences(cost, request, of, rule, block):
    cost = replace(cost, composition=rule)
    request = {k: v for k, v in request.items() if v is not None}
    if "kv_budget" in request:
        request["block"] = block
        P, l, B = (request[k] for k in ("input_tokens", "output_tokens", "kv_budget"))
        if min(abs(B - P), abs(B - P - l), B, abs(B - l), abs(B - 128)) < 1:
            request["kv_budget"] += 2  # not at a kink, where derivatives are one-sided
            B += 2
        if min(abs(B - P), abs(B - P - l), abs(B - l), abs(B - 128)) < 1:
            return
    for cap in (128,):  # nor at a window of gpt-oss
        P, l = request["input_tokens"], request["output_tokens"]
        if min(abs(cap - P), abs(cap - P - l), abs(cap - l)) < 1:
            return
    found = cost.price(Request(**request)).gradient(of)
    assert set(found) == {k for k in ("output_tokens", "samples", "kv_budget") if k in request}
    for knob, slope in found.items():
        at, step = request[knob], 1e-3 if knob != "samples" else 1e-4
        low = at - step if at - step >= 1 else at
        values = [
            float(getattr(cost.price(Request(**{**request, knob: x})), of))
            for x in (low, at + step)
        ]
        difference = (values[1] - values[0]) / (at + step - low)
        scale = max(abs(float(slope)), values[1] * 1e-9 / step)
        assert abs(float(slope) - difference) <= 2e-3 * scale, knob


def test_the_budget_has_no_slope_where_none_is_given():
    assert set(CostModel(model("Qwen3-8B"), H100).price(Request(1, 1)).gradient()) == {
        "output_tokens",
        "samples",
    }


def test_marginal_cost_of_a_token():
    """`2P + a_c (L_in + t) + I a_m (L_in / N + t)` a sample, spec 1.4."""
    m, I = model("Qwen3-8B"), 300.0
    cost = CostModel(m, intensity=I, parameters=8.19e9, kv_writes=False, sum="continuous")
    slope = cost.price(Request(700, 1000, 4)).gradient()["output_tokens"] / 4
    expected = 2 * 8.19e9 + m.attention_flops * 1700 + I * 2 * m.kv_elements * (700 / 4 + 1000)
    assert slope == pytest.approx(expected, rel=1e-12)


# --- weights, quantisation, accelerators -------------------------------------------------------


def test_weights_are_read_once_a_step_and_shared():
    m = model("Qwen3-8B")
    alone = CostModel(m, H100, n_share=1).price(Request(0, 100, 5)).weight_bytes
    assert alone == 2 * (m.total_parameters - m.embedding_parameters) * 100
    assert CostModel(m, H100, n_share=50).price(Request(0, 100, 5)).weight_bytes == alone / 50
    assert CostModel(m, H100).price(Request(0, 100, 5)).weight_bytes == 0
    assert CostModel(m, H100, n_share=1).price(Request(9, 0)).weight_bytes == alone / 100


def test_experts_are_read_as_samples_visit_them():
    m = model("Qwen3-30B-A3B")
    one, many = (
        float(CostModel(m, H100, n_share=1).price(Request(0, 1, N)).weight_bytes) for N in (1, 4096)
    )
    assert one == 2 * (m.active_parameters - m.embedding_parameters)
    assert many == pytest.approx(2 * (m.total_parameters - m.embedding_parameters))
    skewed = CostModel(m, H100, n_share=1, routing_skew=1.0).price(Request(0, 1, 16)).weight_bytes
    assert one < skewed < CostModel(m, H100, n_share=1).price(Request(0, 1, 16)).weight_bytes


def test_quantised_values_weigh_less_and_bring_scales():
    m = model("Qwen3-8B")
    whole, half = (
        CostModel(m, H100, kv_bytes=b, kv_scale=s).price(Request(10, 10)).kv_bytes
        for b, s in ((2.0, 0.0), (0.5, 1 / 16))
    )
    assert half == pytest.approx(whole * 0.25 * (1 + 1 / 16))
    weights = CostModel(m, H100, n_share=1, weight_bytes=0.5, weight_scale=0.125)
    assert weights.price(Request(0, 1)).weight_bytes == pytest.approx(
        0.5625 * (m.total_parameters - m.embedding_parameters)
    )


def test_accelerators_share_the_work_and_copy_caches_where_heads_run_out():
    m = model("Qwen3-8B")
    one, eight, sixteen = (
        CostModel(m, H100, tensor_parallel=n).price(Request(500, 500)) for n in (1, 8, 16)
    )
    assert eight.seconds == pytest.approx(one.seconds / 8)
    assert sixteen.kv_bytes == 2 * one.kv_bytes
    assert eight.joules == pytest.approx(one.joules)
    assert one.joules == pytest.approx(one.seconds * 700)


def test_dollars_are_hours_at_a_price():
    priced = replace(H100, price_per_hour=3.6)
    b = CostModel(model("Qwen3-8B"), priced, tensor_parallel=2).price(Request(500, 500))
    assert b.dollars == pytest.approx(2 * b.seconds / 1000)
    with pytest.raises(UsageError, match="no price per hour"):
        _ = CostModel(model("Qwen3-8B"), H100).price(Request(1, 1)).dollars


def test_a_fitted_composition_prices_with_its_coefficients():
    fitted = Composition(
        "fitted", coefficients={"constant": 0.01, "weights": 1e-12, "kv": 2e-12, "flops": 3e-15}
    )
    b = CostModel(model("Qwen3-8B"), n_share=4, composition=fitted).price(Request(100, 200, 3))
    assert b.seconds == pytest.approx(
        0.01 + 1e-12 * b.weight_bytes + 2e-12 * b.kv_bytes + 3e-15 * b.flops
    )


def test_parts_add_up_and_the_largest_is_named():
    b = CostModel(model("gpt-oss-20b"), H100, n_share=8).price(
        Request(5000, 300, 4, kv_budget=512, block=16)
    )
    for unit in ("flops", "bytes", "eflops"):
        assert sum(b.parts(unit).values()) == pytest.approx(getattr(b, unit), rel=1e-13)
    name, share = b.dominant()
    assert b.parts("eflops")[name] == max(b.parts("eflops").values())
    assert share == pytest.approx(float(b.parts("eflops")[name] / b.eflops))
    document = b.document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert b.to_frame().shape[0] == 1


def test_the_record_holds_every_assumption():
    document = CostModel(model("Qwen3-8B"), H100).document()
    json.dumps(document, allow_nan=False)
    assert document["n_share"] is None
    assert document["intensity"] == H100.intensity()


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"input_tokens": -1, "output_tokens": 1}, "input tokens is -1"),
        ({"input_tokens": 1, "output_tokens": np.nan}, "output tokens is nan"),
        ({"input_tokens": 1, "output_tokens": [1, np.inf]}, "output tokens is inf"),
        ({"input_tokens": 1, "output_tokens": 1, "samples": 0}, "samples is 0.*1 or more"),
        ({"input_tokens": 1, "output_tokens": 1, "kv_budget": 0}, "kv budget is 0"),
        ({"input_tokens": 1, "output_tokens": 1, "block": 16}, "Give kv_budget"),
        ({"input_tokens": 1}, "and not both"),
        ({"input_tokens": 1, "output_tokens": 1, "lengths": [1]}, "and not both"),
    ],
)
def test_requests_that_make_no_sense_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        Request(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "fast"}, "exact, published"),
        ({"prefill": "twice"}, "once, each, cached"),
        ({"intensity": 0.0}, "above zero"),
        ({"kv_scale": -0.1}, "zero or more"),
        ({"n_share": np.nan}, "n_share is nan"),
        ({"tensor_parallel": 0}, "starts at 1"),
    ],
)
def test_cost_models_that_make_no_sense_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        CostModel(model("Qwen3-8B"), **given)


def test_what_needs_an_accelerator_says_so():
    b = CostModel(model("Qwen3-8B")).price(Request(1, 1))
    with pytest.raises(UsageError, match="an accelerator or an intensity"):
        _ = b.eflops
    with pytest.raises(UsageError, match="need an accelerator"):
        _ = CostModel(model("Qwen3-8B"), intensity=300).price(Request(1, 1)).seconds
    with pytest.raises(UsageError, match="flops, bytes or eflops"):
        b.parts("usd")
    with pytest.raises(UsageError, match="one"):
        CostModel(model("Qwen3-8B"), H100).price(Request([1, 2], 1)).document()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": "sum"}, "additive, max, p-norm, fitted"),
        ({"name": "p-norm", "exponent": 0.5}, "starts at 1"),
        ({"name": "fitted"}, "needs coefficients"),
        ({"name": "max", "coefficients": {"kv": 1.0}}, "needs coefficients"),
        ({"name": "fitted", "coefficients": {"heat": 1.0}}, "heat"),
        ({"name": "fitted", "coefficients": {"kv": -1.0}}, "kv is -1"),
    ],
)
def test_compositions_that_make_no_sense_are_refused(given, words):
    with pytest.raises(UsageError, match=words):
        Composition(**given)


def test_a_p_norm_survives_large_exponents_and_nothing():
    high = Composition("p-norm", 500.0)
    assert high.seconds(np.array(1e-9), np.array(2e-9)) == pytest.approx(2e-9)
    assert high.seconds(np.array(0.0), np.array(0.0)) == 0
