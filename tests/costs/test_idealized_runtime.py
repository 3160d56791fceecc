"""Idealized runtime as a cost: HELM's rule, the monotone one, dollars."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.costs.idealized_runtime import (
    A100_USD_PER_HOUR,
    IdealizedRuntimeCosts,
    RuntimeProfile,
    read_helm,
)
from scaling.errors import InputError, UsageError

PROFILE = RuntimeProfile(0.081, {1: 0.084, 428: 0.176, 472: 0.175, 512: 0.178, 1024: 0.323})


@pytest.mark.reference
def test_reference_runtimes(reference_data: Path):
    folder = reference_data / "cost"
    profiles = read_helm(folder / "helm_inference_idealized_runtimes.json")
    found = [
        e
        for e in json.loads((folder / "reference_costs.json").read_text())
        if e["id"].startswith("helm_idealized_")
    ]
    assert found
    for entry in found:
        asked, expected, rtol = entry["inputs"], entry["expected"], entry["rtol"]
        profile = profiles[asked["model"]]
        size = asked["prompt_tokens"], asked["output_tokens"]
        assert profile.seconds(*size) == pytest.approx(expected["seconds"], rel=rtol)
        dollars = profile.dollars(*size, accelerators=asked["n_gpus"])
        assert dollars == pytest.approx(expected["dollars"], rel=rtol)
    denoised = read_helm(folder / "helm_inference_denoised_runtimes.json")
    large = denoised["ai21/j1-large"]
    assert large.seconds(1, 1) == pytest.approx(0.237 + 0.016)


def test_published_rule_scales_from_the_next_length_up():
    assert PROFILE.seconds(512, 1) == 0.178
    assert PROFILE.seconds(256, 1) == pytest.approx(0.176 * 256 / 428)
    assert PROFILE.seconds(2048, 1) == pytest.approx(0.323 * 2)
    assert PROFILE.seconds(512, 0) == 0.178  # nothing generated: the prompt alone
    assert PROFILE.seconds(512, 11) == pytest.approx(0.178 + 0.81)
    assert PROFILE.seconds(513, 1) < PROFILE.seconds(512, 1)  # the rule falls just above a length


@given(st.lists(st.floats(0, 4000), min_size=2, max_size=30), st.floats(0, 500))
def test_the_monotone_rule_never_falls(lengths, output):
    profile = RuntimeProfile(PROFILE.per_token, PROFILE.prompt, monotone=True)
    seconds = profile.seconds(np.sort(lengths), output)
    assert (np.diff(seconds) >= -1e-12).all()
    published = PROFILE.seconds(np.array([1, 428, 512, 1024]), output)
    same = profile.seconds(np.array([1, 428, 512, 1024]), output)
    np.testing.assert_allclose(same, published)


def test_from_the_parameters_of_a_fit():
    params = {"beta": 0.05, "overhead": 0.2, "prompt(1)": 0.05, "prompt(512)": 0.1}
    profile = RuntimeProfile.of_params(params)
    assert profile.seconds(512, 3) == pytest.approx(0.4)
    assert profile.document()["prompt"] == {"1": 0.05, "512": 0.1}
    with pytest.raises(InputError, match="no parameter"):
        RuntimeProfile.of_params({"beta": 1.0, "gamma": 2.0})
    with pytest.raises(InputError, match="no beta"):
        RuntimeProfile.of_params({"prompt(1)": 1.0})


def test_cost_of_a_sample():
    options = {"tokens_per_sample": 101.0, "input_tokens": 512.0, "profile": PROFILE}
    money = {"accelerators": 8.0, "price_per_hour": A100_USD_PER_HOUR}
    cost = IdealizedRuntimeCosts(**options, **money).of("davinci", {})
    assert cost.per_sample["seconds"] == pytest.approx(0.178 + 100 * 0.081)
    assert cost.per_sample["usd"] == pytest.approx(8.278 * 8 * 4.096 / 3600)
    assert "usd" not in IdealizedRuntimeCosts(**options).of("davinci", {}).per_sample
    assert IdealizedRuntimeCosts(**options, **money).prices["overrides"]["price_per_hour"] == 4.096
    by_model = IdealizedRuntimeCosts(**{**options, "profile": {"davinci": PROFILE}})
    assert by_model.of("davinci", {}).per_sample["seconds"] > 8
    with pytest.raises(UsageError, match="no profile of model ada"):
        by_model.of("ada", {})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input_tokens": 5.0}, "--runtimes"),
        ({"profile": PROFILE}, "--input-tokens"),
        ({"profile": PROFILE, "input_tokens": 5.0, "accelerators": 8.0}, "--price-per-hour"),
        (
            {"profile": PROFILE, "input_tokens": 5.0, "accelerators": 0.0, "price_per_hour": 1.0},
            "above zero",
        ),
        (
            {
                "profile": PROFILE,
                "input_tokens": 5.0,
                "accelerators": 8.0,
                "price_per_hour": 1.0,
                "usd_per_sample": 2.0,
            },
            "twice",
        ),
    ],
)
def test_missing_options_are_named(options, said):
    with pytest.raises(UsageError, match=said):
        IdealizedRuntimeCosts(tokens_per_sample=3.0, **options)


def test_bad_profiles_are_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"prompt\(7\) is -1"):
        RuntimeProfile(0.1, {7: -1.0})
    with pytest.raises(InputError, match="no prompt length"):
        RuntimeProfile(0.1, {})
    with pytest.raises(UsageError, match="output_tokens is nan"):
        PROFILE.seconds(1, float("nan"))
    with pytest.raises(InputError, match="cannot read"):
        read_helm(tmp_path / "none.json")
    path = tmp_path / "runtimes.json"
    path.write_text('{"m": {"runtime_per_output_token": 1}}')
    with pytest.raises(InputError, match="m: not an entry"):
        read_helm(path)
    path.write_text("[1]")
    with pytest.raises(InputError, match="no JSON object"):
        read_helm(path)
