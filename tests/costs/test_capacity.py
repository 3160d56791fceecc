from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.costs import CostModel
from scaling.costs.capacity import USABLE, ensure_fits, footprint, smallest_degree
from scaling.data.catalogue.hardware import hardware
from scaling.data.catalogue.models import model
from scaling.errors import InfeasibleError, UsageError

H100 = hardware("h100_sxm")


def cost(name="Qwen3-8B", accelerator=H100, **more):
    return CostModel(model(name), accelerator, **more)


def test_what_a_request_holds():
    """Kinetics page: 32,768 tokens of Qwen3-32B are 8 GiB of cache."""
    found = footprint(cost("Qwen3-32B"), input_tokens=768, output_tokens=32_000)
    assert found.caches == 8 * 2**30
    assert found.weights == 2 * model("Qwen3-32B").total_parameters
    assert found.usable == 0.9 * 80 * 2**30


def test_the_prompt_is_held_once_where_it_is_shared():
    shared = footprint(cost(), input_tokens=100, output_tokens=10, samples=4).caches
    apart = footprint(cost(), input_tokens=100, output_tokens=10, samples=4, share_prompt=False)
    token = 2 * model("Qwen3-8B").kv_elements
    assert shared == (100 + 40) * token
    assert apart.caches == 4 * 110 * token


def test_windows_hold_no_more_than_they_see():
    m = model("gpt-oss-20b")  # 12 layers see 128 tokens
    found = footprint(cost("gpt-oss-20b"), input_tokens=1000, output_tokens=0)
    assert found.caches == 2 * m.layer_kv_elements * 12 * (1000 + 128)


def test_all_experts_are_held():
    found = footprint(cost("Qwen3-30B-A3B"), input_tokens=1, output_tokens=1)
    assert found.weights == 2 * model("Qwen3-30B-A3B").total_parameters


def test_the_smallest_degree_fits_and_the_next_smaller_does_not():
    request = {"input_tokens": 300, "output_tokens": 8000}
    degree = smallest_degree(cost("DeepSeek-V3"), **request)
    assert degree == 32
    fits = [footprint(cost("DeepSeek-V3", tensor_parallel=n), **request).fits for n in (16, degree)]
    assert fits == [False, True]


def test_too_much_is_infeasible_and_says_what_fits():
    with pytest.raises(
        InfeasibleError, match=r"1,249\.9 GiB.*degree that fits is 32: --tp 32"
    ) as e:
        ensure_fits(cost("DeepSeek-V3"), input_tokens=300, output_tokens=8000)
    assert e.value.smallest == 32
    assert ensure_fits(cost(), input_tokens=300, output_tokens=8000).fits


def test_latent_caches_are_copied_so_that_no_degree_may_fit():
    with pytest.raises(InfeasibleError, match="No degree that divides the 128 query heads"):
        ensure_fits(cost("DeepSeek-V3"), input_tokens=300, output_tokens=8000, samples=400)


def test_degrees_divide_the_heads():
    small = replace(H100, capacity=8e9)
    assert smallest_degree(cost("Qwen3-14B", small), input_tokens=9, output_tokens=9) == 5


def test_an_unknown_capacity_refuses_nothing_and_knows_no_degree():
    unknown = cost(accelerator=hardware("a40"))
    assert ensure_fits(unknown, input_tokens=1e9, output_tokens=1).usable is None
    for without in (unknown, cost(accelerator=None)):
        with pytest.raises(UsageError):
            smallest_degree(without, input_tokens=1, output_tokens=1)


@given(
    P=st.integers(0, 100_000),
    l=st.integers(0, 100_000),
    N=st.integers(1, 200),
    name=st.sampled_from(["Qwen3-8B", "gpt-oss-20b", "DeepSeek-V3"]),
)
def test_a_named_degree_always_fits(P, l, N, name):
    request = {"input_tokens": P, "output_tokens": l, "samples": N}
    degree = smallest_degree(cost(name), **request)
    if degree is not None:
        found = footprint(cost(name, tensor_parallel=degree), **request)
        assert found.weights + found.caches <= USABLE * H100.capacity * degree
