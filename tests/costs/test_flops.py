"""The closed form is the paper's double sum, and FLOPs are a resource like any other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.costs.flops import FlopsCosts, inference_flops, inference_flops_exact
from scaling.errors import UsageError

LLAMA_8B = {"parameters": 8_030_261_248, "layers": 32, "width": 4096}


def summed(parameters, layers, width, prompt, decode, samples):
    """Brown et al. (2024), section 2.3, token by token."""

    def f(t):
        return 2 * (parameters + 2 * layers * width * t)

    first = sum(f(t) for t in range(1, prompt + 1))
    return first + samples * sum(f(t + prompt) for t in range(1, decode + 1))


def test_published_sum_exactly():
    exact = inference_flops_exact(**LLAMA_8B, input_tokens=512, output_tokens=256, samples=100)
    assert exact == 428037862588416 == summed(*LLAMA_8B.values(), 512, 256, 100)
    near = inference_flops(**LLAMA_8B, input_tokens=512, output_tokens=256, samples=100)
    assert near == exact  # below 2^53, so float64 holds it


@given(
    st.integers(1, 10**12),
    st.integers(1, 200),
    st.integers(1, 20_000),
    st.integers(0, 60),
    st.integers(0, 60),
    st.integers(1, 10**6),
)
def test_closed_form_is_the_sum(N, layers, width, prompt, decode, samples):
    exact = inference_flops_exact(
        N, layers, width, input_tokens=prompt, output_tokens=decode, samples=samples
    )
    assert exact == summed(N, layers, width, prompt, decode, samples)
    lengths = {"input_tokens": prompt, "output_tokens": decode}
    near = inference_flops(N, layers, width, **lengths, samples=samples)
    assert near == pytest.approx(exact, rel=1e-14)
    each = inference_flops_exact(N, layers, width, **lengths, samples=samples, prompt_once=False)
    assert each == samples * summed(N, layers, width, prompt, decode, 1)


def test_arrays_broadcast():
    k = np.array([1, 10, 100])
    out = inference_flops(
        np.array([8e9, 7e10])[:, None], 32, 4096, input_tokens=100, output_tokens=50, samples=k
    )
    assert out.shape == (2, 3)
    assert out.dtype == np.float64
    # linear in the number of samples
    assert np.diff(out)[:, 1] == pytest.approx(10 * np.diff(out)[:, 0], rel=1e-14)
    with pytest.raises(UsageError, match="samples is -1"):
        inference_flops(8e9, 32, 4096, input_tokens=1, output_tokens=1, samples=[1, -1])


def test_flops_of_samples_are_a_linear_cost():
    costs = FlopsCosts(**LLAMA_8B, input_tokens=512, tokens_per_sample=256)
    k = np.array([1, 7, 100])
    lengths = {"input_tokens": 512, "output_tokens": 256}
    once = costs.of("m", {}).at(k)
    assert once["flops"] == pytest.approx(inference_flops(**LLAMA_8B, **lengths, samples=k))
    assert once["tokens"].tolist() == [256, 1792, 25600]
    each = FlopsCosts(**LLAMA_8B, input_tokens=512, tokens_per_sample=256, prefill_once=False)
    assert each.of("m", {}).at(k)["flops"] == pytest.approx(
        inference_flops(**LLAMA_8B, **lengths, samples=k, prompt_once=False)
    )


def test_spread_of_lengths_counts():
    lengths = np.random.default_rng(0).integers(1, 2000, 4000)
    exact = inference_flops(**LLAMA_8B, input_tokens=300, output_tokens=lengths).mean()
    given = {**LLAMA_8B, "input_tokens": 300}
    measured = {"tokens": float(lengths.mean())}
    spread = FlopsCosts(**given, tokens_sd=float(lengths.std())).of(None, measured)
    assert float(spread.at(np.array([1]))["flops"][0]) == pytest.approx(exact, rel=1e-12)
    even = FlopsCosts(**given).of(None, measured)
    short = 1 - float(even.at(np.array([1]))["flops"][0]) / exact
    assert 0.001 < short < 0.02  # what the mean length alone leaves out


def test_each_model_has_its_shape():
    costs = FlopsCosts(
        parameters={"s": 8e9, "l": 7e10},
        layers={"s": 32, "l": 80},
        width={"s": 4096, "l": 8192},
        input_tokens=100,
        price_out=2.0,
    )
    small, large = (costs.of(m, {"tokens": 200.0, "seconds": 3.0}) for m in "sl")
    assert 8 < large.per_sample["flops"] / small.per_sample["flops"] < 9
    assert small.per_sample["usd"] == pytest.approx(4e-4)
    assert small.per_sample["seconds"] == 3.0
    with pytest.raises(UsageError, match="no number for model other"):
        costs.of("other", {"tokens": 200.0})


def test_every_assumption_is_recorded():
    costs = FlopsCosts(**LLAMA_8B, input_tokens=512, tokens_per_sample=256)
    said = json.loads(json.dumps(costs.cost_model, allow_nan=False))
    assert said == {
        "name": "flops", "tokens_per_sample": 256, "input_tokens": 512, "tokens_sd": 0,
        "prefill_once": True, **LLAMA_8B,
    }  # fmt: skip
    assert costs.prices is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": None, "layers": None}, "--layers, --width"),
        ({"input_tokens": None}, "--input-tokens"),
        ({"parameters": 0}, "--parameters is 0.*above zero"),
        ({"layers": {"m": float("nan")}}, "--layers is nan"),
        ({"tokens_sd": -1}, "--tokens-sd is -1.*zero or more"),
        ({"tokens_per_sample": float("inf")}, "--tokens-per-sample is inf"),
    ],
)
def test_bad_shapes(change, words):
    with pytest.raises(UsageError, match=words):
        FlopsCosts(**{**LLAMA_8B, "input_tokens": 512, **change})


def test_lengths_of_samples_are_needed():
    with pytest.raises(UsageError, match="--tokens-per-sample"):
        FlopsCosts(**LLAMA_8B, input_tokens=512).of("m", {"seconds": 1.0})
