from __future__ import annotations

import json

import numpy as np
import pytest

from scaling.costs import SampleCosts
from scaling.errors import UsageError


def test_a_sample_is_always_a_resource():
    cost = SampleCosts().of(None, {})
    assert cost.at(np.array([1, 5])) == {"samples": pytest.approx([1, 5])}


def test_the_log_supplies_what_is_not_given():
    cost = SampleCosts().of("m", {"tokens": 812.5, "seconds": 2.0})
    assert cost.at(np.array([4]))["tokens"].tolist() == [3250.0]
    assert cost.at(np.array([4]))["seconds"].tolist() == [8.0]
    given = SampleCosts(tokens_per_sample=1000).of("m", {"tokens": 812.5})
    assert given.per_sample["tokens"] == 1000


def test_prices_per_million():
    # 2 samples: 2 x (1,000 x 3 + 500 x 15) / 10^6
    costs = SampleCosts(price_in=3, price_out=15, input_tokens=1000)
    cost = costs.of("m", {"tokens": 500.0})
    assert cost.at(np.array([2]))["usd"].tolist() == [pytest.approx(0.021)]
    once = SampleCosts(price_in=3, price_out=15, input_tokens=1000, prompt_once=True)
    assert once.of("m", {"tokens": 500.0}).at(np.array([2]))["usd"].tolist() == [
        pytest.approx(0.018)
    ]
    with pytest.raises(UsageError, match="--input-tokens"):
        SampleCosts(price_in=3, price_out=15).of("m", {"tokens": 500.0})


def test_published_dollars_of_five_attempts():
    # Brown et al. 2024, Table 1: DeepSeek-Coder-V2 at $0.0072 an attempt, 5 attempts, 300 issues
    cost = SampleCosts(usd_per_sample=0.0072).of("DeepSeek-Coder-V2", {})
    assert cost.at(np.array([5]))["usd"][0] * 300 == pytest.approx(10.8)


def test_one_number_a_model():
    costs = SampleCosts(tokens_per_sample={"a": 10, "b": 20})
    assert costs.of("b", {}).per_sample["tokens"] == 20
    with pytest.raises(UsageError, match=r"--tokens-per-sample has no number for model c.*a, b"):
        costs.of("c", {})
    with pytest.raises(UsageError, match=r"\(unknown\)"):
        costs.of(None, {})


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"price_in": 3.0}, "--input-tokens"),
        ({"price_out": 15.0}, "--tokens-per-sample"),
    ],
)
def test_a_missing_number_names_its_flag(options, flag):
    with pytest.raises(UsageError, match=flag):
        SampleCosts(**options).of("m", {})


@pytest.mark.parametrize(
    "options",
    [
        {"tokens_per_sample": -1},
        {"price_in": float("nan"), "input_tokens": 3},
        {"usd_per_sample": {"a": float("inf")}},
        {"usd_per_sample": 1, "price_out": 2},
        {"prompt_once": True},
    ],
)
def test_numbers_that_cannot_be(options):
    with pytest.raises(UsageError):
        SampleCosts(**options)


def test_provenance_echoes_what_was_assumed():
    costs = SampleCosts(price_in={"a": 3}, price_out=15, input_tokens=1000)
    prices = costs.prices
    assert prices is not None
    assert prices["source"] == "user"
    assert prices["as_of"] is None
    assert prices["currency"] == "USD"
    assert prices["overrides"]["price_in"] == {"a": 3}
    assert costs.cost_model["name"] == "prices"
    assert costs.cost_model["prompt_once"] is False
    json.dumps([prices, costs.cost_model], allow_nan=False)
    assert SampleCosts().prices is None
    assert SampleCosts().cost_model == {"name": "samples"}
    assert SampleCosts(tokens_per_sample=5).cost_model == {
        "name": "tokens",
        "tokens_per_sample": 5,
    }
