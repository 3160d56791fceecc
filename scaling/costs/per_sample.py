"""What a number of samples costs: the cost options `samples`, `tokens` and `prices`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from scaling.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FLAGS: Mapping[str, str] = {
    "tokens": "--tokens-per-sample",
    "flops": "--parameters, --layers, --width and --input-tokens",
    "usd": "--usd-per-sample, or --price-in, --price-out and --input-tokens",
    "bytes": "--cost kinetics, --model-config and --input-tokens",
    "eflops": "--cost kinetics, --model-config, --hardware and --input-tokens",
    "joules": "--cost kinetics, --model-config, --hardware and --input-tokens",
}
"""Resource to the option that supplies it where the log does not."""

T = TypeVar("T")

PerModel = float | Mapping[str, float] | None
"""A number, or one number a model."""


@dataclass(frozen=True)
class LinearCost:
    """Cost that is linear in the number of samples.

    Attributes:
        fixed: resource to its use per query, however many samples are drawn.
        per_sample: resource to its use per sample.
    """

    fixed: Mapping[str, float]
    per_sample: Mapping[str, float]

    def at(self, samples: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
        """Cost of `samples` samples, `fixed + per_sample samples`, by resource; same shape."""
        return {
            resource: self.fixed.get(resource, 0.0) + each * samples.astype(np.float64)
            for resource, each in self.per_sample.items()
        }


@dataclass(frozen=True)
class SampleCosts:
    """Costs of a sample as given by the user; what is not given is taken from the log.

    Every number may instead be a mapping from model to number.

    Attributes:
        tokens_per_sample: generated tokens, thinking included.
        usd_per_sample: dollars, prompt included.
        price_in: dollars per million prompt tokens.
        price_out: dollars per million generated tokens.
        input_tokens: prompt tokens of one query.
        prompt_once: whether the prompt is billed once a query instead of once a sample.

    Raises:
        UsageError: a number that is negative or not finite, or dollars given in two ways.
    """

    tokens_per_sample: PerModel = None
    usd_per_sample: PerModel = None
    price_in: PerModel = None
    price_out: PerModel = None
    input_tokens: PerModel = None
    prompt_once: bool = False

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                if value is not None and not (math.isfinite(value) and value >= 0):
                    raise UsageError(
                        f"{_flag(name)} is {value}. It must be a finite number, zero or more."
                    )
        if self.usd_per_sample is not None and self._priced:
            raise UsageError(
                "Dollars are given twice: --usd-per-sample, and --price-in or --price-out. "
                "Give one of the two."
            )
        if self.prompt_once and self.price_in is None:
            raise UsageError("--prompt-once says how --price-in is billed. Give --price-in too.")

    @property
    def _priced(self) -> bool:
        return self.price_in is not None or self.price_out is not None

    def of(self, model: str | None, measured: Mapping[str, float]) -> LinearCost:
        """Cost of a sample of one model.

        Dollars from prices are `price_in input_tokens / 10^6 + price_out tokens / 10^6` a sample;
        with `prompt_once` the first term is paid once a query.

        Args:
            model: the model, None where unknown.
            measured: mean use per sample by resource.

        Raises:
            UsageError: a number that is needed is missing for this model; the flag is named.
        """
        fixed: dict[str, float] = {}
        per_sample = {
            "samples": 1.0,
            **{k: float(v) for k, v in measured.items() if k != "samples"},
        }
        tokens = self._number("tokens_per_sample", model)
        if tokens is not None:
            per_sample["tokens"] = tokens
        usd = self._number("usd_per_sample", model)
        if usd is not None:
            per_sample["usd"] = usd
        if self._priced:
            prompt, completion = self._number("price_in", model), self._number("price_out", model)
            per_sample["usd"] = 0.0
            if prompt is not None:
                length = self._number("input_tokens", model)
                if length is None:
                    raise UsageError(
                        "--price-in needs the length of the prompt. Add --input-tokens N."
                    )
                (fixed if self.prompt_once else per_sample)["usd"] = prompt * length / 1e6
            if completion is not None:
                per_sample["usd"] += completion * tokens_of(per_sample, "--price-out") / 1e6
        return LinearCost(fixed, per_sample)

    def _number(self, name: str, model: str | None) -> float | None:
        given = getattr(self, name)
        if not isinstance(given, Mapping):
            return None if given is None else float(given)
        if model not in given:
            known = ", ".join(sorted(given))
            raise UsageError(
                f"{_flag(name)} has no number for model {model or '(unknown)'}; it has: {known}. "
                f"Add {model or 'MODEL'}=NUMBER, or give one number for all."
            )
        return float(given[model])

    @property
    def prices(self) -> dict[str, Any] | None:
        """Provenance of dollars given by hand, as the budget table wants it; None without any."""
        if self.usd_per_sample is None and not self._priced:
            return None
        return {
            "source": "user",
            "version": "by hand",
            "as_of": None,
            "currency": "USD",
            "overrides": self._given(),
        }

    @property
    def cost_model(self) -> dict[str, Any]:
        """Name of the cost option and every assumption behind it, for the record."""
        given = {"prices": self.prices, "tokens": self.tokens_per_sample, "samples": 1}
        name = next(option for option, value in given.items() if value is not None)
        assumed = {} if self.price_in is None else {"prompt_once": self.prompt_once}
        return {"name": name, **self._given(), **assumed}

    def _given(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in _NUMBERS}
        return {
            name: dict(value) if isinstance(value, Mapping) else float(value)
            for name, value in given.items()
            if value is not None
        }


def of_model(
    given: T | Mapping[str, T] | None, model: str | None, missing: str, remedy: str = ""
) -> T:
    """What is given for a model, or for all of them.

    Raises:
        UsageError: models are told apart and this one is not among them; `missing` and `remedy` say of what.
    """
    assert given is not None  # noqa: S101 - cost options refuse that at construction
    if not isinstance(given, Mapping):
        return given
    if model is None or model not in given:
        raise UsageError(
            f"{missing} model {model or '(unknown)'}; it has: {', '.join(sorted(given))}.{remedy}"
        )
    return given[model]


def of_shape(given: T | Mapping[str, T] | None, model: str | None) -> T:
    """`of_model` of what --model-config gave."""
    remedy = f" Add {model or 'MODEL'}=NAME."
    return of_model(given, model, "--model-config has no shape for", remedy)


def tokens_of(per_sample: Mapping[str, float], asking: str) -> float:
    """Generated tokens of a sample, which an option asks for.

    Raises:
        UsageError: they are neither logged nor given.
    """
    if "tokens" not in per_sample:
        raise UsageError(
            f"{asking} needs the generated tokens of a sample, which the log does not hold. "
            "Add --tokens-per-sample N."
        )
    return per_sample["tokens"]


_NUMBERS = ("tokens_per_sample", "usd_per_sample", "price_in", "price_out", "input_tokens")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


EXAMPLE = SampleCosts(tokens_per_sample=1_000.0, price_in=1.0, price_out=4.0, input_tokens=200.0)
"""For the contract check."""
