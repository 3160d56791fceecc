"""Seconds and dollars by profiled runtimes, `prompt(p) + (o - 1) beta`: the cost option `idealized-runtime`.

Narayanan et al. (2023), arXiv 2305.02440. One request at a time on dedicated accelerators; several samples
of a query are requests one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.prompt_times import BETA, OVERHEAD, prompt_name, prompt_shares
from scaling.costs.per_sample import LinearCost, PerModel, SampleCosts, of_model, tokens_of
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    import os

FloatArray = NDArray[np.float64]

A100_USD_PER_HOUR, V100_USD_PER_HOUR = 4.096, 3.06
"""Dollars an accelerator-hour of the paper (cloud prices of its time)."""


@dataclass(frozen=True)
class RuntimeProfile:
    """Profiled runtimes of one model.

    Attributes:
        per_token: beta, seconds of a further token.
        prompt: prompt length to seconds of reading it and generating the first token.
        overhead: seconds of a request besides its tokens.
        monotone: whether prompt times never fall with length, straight lines between profiled lengths,
            instead of the published rule (the next length up, scaled down), which falls just above each.

    Raises:
        InputError: no prompt length, or a time that is negative or not finite.
    """

    per_token: float
    prompt: Mapping[float, float]
    overhead: float = 0.0
    monotone: bool = False

    def __post_init__(self) -> None:
        if not self.prompt:
            raise InputError("a runtime profile has no prompt length. Give at least one.")
        named = {
            "per_token": self.per_token,
            "overhead": self.overhead,
            **{prompt_name(p): t for p, t in self.prompt.items()},
        }
        for name, value in named.items():
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value} s. It must be finite, zero or more.")
        if min(self.prompt) <= 0:
            raise InputError(f"a prompt length is {min(self.prompt)}. It must be above zero.")

    @classmethod
    def of_params(cls, params: Mapping[str, float], *, monotone: bool = False) -> RuntimeProfile:
        """From the parameters of a fit of `idealized-runtime`: `beta`, `overhead`, `prompt(512)`, ...

        Raises:
            InputError: no `beta`, or a name that is none of them.
        """
        prompt = {}
        for name, value in params.items():
            if name in (BETA, OVERHEAD):
                continue
            length = name.removeprefix("prompt(").removesuffix(")")
            try:
                prompt[float(length)] = value
            except ValueError:
                raise InputError(
                    f"'{name}' is no parameter of an idealized runtime; they are {BETA}, {OVERHEAD} and "
                    f"{prompt_name(512)} for each profiled length."
                ) from None
        if BETA not in params:
            raise InputError(f"the parameters have no {BETA}; they have {', '.join(params)}.")
        return cls(params[BETA], prompt, params.get(OVERHEAD, 0.0), monotone)

    @classmethod
    def of_helm(cls, document: Mapping[str, Any], *, monotone: bool = False) -> RuntimeProfile:
        """From an entry of HELM's `inference_idealized_runtimes.json`.

        Raises:
            InputError: a key is missing, or a value is no number.
        """
        try:
            prompt = {float(k): float(v) for k, v in document["runtime_for_prompt_tokens"].items()}
            beta = float(document["runtime_per_output_token"])
            return cls(beta, prompt, float(document.get("overhead", 0.0)), monotone)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"not an entry of HELM's runtimes ({error}): it has runtime_per_output_token, "
                "runtime_for_prompt_tokens {tokens: seconds} and, where known, overhead."
            ) from None

    def seconds(self, input_tokens: ArrayLike, output_tokens: ArrayLike) -> FloatArray:
        """`overhead + prompt(p) + (o - 1) beta`, the last term 0 where nothing is generated; broadcasts.

        Raises:
            UsageError: a length that is negative or not finite.
        """
        p, o = (np.asarray(x, dtype=np.float64) for x in (input_tokens, output_tokens))
        for name, value in (("input_tokens", p), ("output_tokens", o)):
            wrong = ~(np.isfinite(value) & (value >= 0))
            if wrong.any():
                raise UsageError(
                    f"{name} is {value[wrong].flat[0]}. It must be finite, zero or more."
                )
        lengths = np.array(sorted(self.prompt), dtype=np.float64)
        times = np.array([self.prompt[q] for q in sorted(self.prompt)])
        if self.monotone:
            times = np.maximum.accumulate(times)
        shares = prompt_shares(lengths, p, interpolated=self.monotone)
        prompt = sum(t * share for t, share in zip(times.tolist(), shares, strict=True))
        return np.asarray(self.overhead + prompt + self.per_token * np.maximum(o - 1, 0))

    def dollars(
        self,
        input_tokens: ArrayLike,
        output_tokens: ArrayLike,
        *,
        accelerators: float,
        price_per_hour: float = A100_USD_PER_HOUR,
    ) -> FloatArray:
        """`T n price / 3600`: the time of all accelerators; broadcasts."""
        rate = accelerators * price_per_hour / 3600
        return np.asarray(self.seconds(input_tokens, output_tokens) * rate)

    def document(self) -> dict[str, Any]:
        """The profile for the record."""
        return {
            "per_token": self.per_token,
            "overhead": self.overhead,
            "rule": "monotone" if self.monotone else "published",
            "prompt": {f"{p:.15g}": t for p, t in sorted(self.prompt.items())},
        }


def read_helm(
    source: str | os.PathLike[str], *, monotone: bool = False
) -> dict[str, RuntimeProfile]:
    """Profiles by model from a file of HELM's runtimes.

    Raises:
        InputError: no such file, no JSON object, or an entry that is no profile; it is named.
    """
    path = Path(source)
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Check the path.") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}.") from None
    if not isinstance(document, Mapping):
        raise InputError(f"{path} holds no JSON object of model to runtimes.")
    found = {}
    for name, entry in document.items():
        try:
            found[str(name)] = RuntimeProfile.of_helm(entry, monotone=monotone)
        except InputError as error:
            raise InputError(f"{path}, {name}: {error}") from None
    return found


@dataclass(frozen=True)
class IdealizedRuntimeCosts(SampleCosts):
    """Everything that `SampleCosts` says, and `seconds` of a sample by profiled runtimes.

    Runtime is linear in the generated tokens, so their mean is all that it takes; prompts are taken to be
    of one length. Each sample is a request of its own and reads its prompt.

    Attributes:
        profile: profiled runtimes of one model, or by model.
        accelerators: that serve a request; needed for dollars.
        price_per_hour: dollars an accelerator-hour; dollars are a resource where it is given.

    Raises:
        UsageError: no profile, no prompt length, a number out of range, or dollars given in two ways.
    """

    profile: RuntimeProfile | Mapping[str, RuntimeProfile] | None = None
    accelerators: PerModel = None
    price_per_hour: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.profile is None or self.input_tokens is None:
            missing = "--runtimes" if self.profile is None else "--input-tokens"
            raise UsageError(
                f"--cost idealized-runtime needs profiled runtimes and the length of the prompt. Add {missing}."
            )
        if (self.accelerators is None) != (self.price_per_hour is None):
            missing = "--accelerators" if self.accelerators is None else "--price-per-hour"
            raise UsageError(
                f"dollars of a runtime need accelerators and their price. Add {missing}."
            )
        for name in ("accelerators", "price_per_hour"):
            given = getattr(self, name)
            for value in given.values() if isinstance(given, Mapping) else (given,):
                if value is not None and not (math.isfinite(value) and value > 0):
                    raise UsageError(
                        f"--{name.replace('_', '-')} is {value}. It must be a finite number above zero."
                    )
        if self.price_per_hour is not None and super().prices is not None:
            raise UsageError(
                "Dollars are given twice: --price-per-hour, and prices of tokens or samples. Give one."
            )

    def of(self, model: str | None, measured: Mapping[str, float]) -> LinearCost:
        """Cost of a sample of one model, seconds among the resources.

        Raises:
            UsageError: a number that is needed is missing for this model; the flag is named.
        """
        base = super().of(model, measured)
        tokens = tokens_of(base.per_sample, "--cost idealized-runtime")
        profile = self._of_model(model)
        length = self._number("input_tokens", model) or 0.0
        seconds = float(profile.seconds(length, tokens))
        each = {**base.per_sample, "seconds": seconds}
        accelerators = self._number("accelerators", model)
        if accelerators is not None and self.price_per_hour is not None:
            each["usd"] = seconds * accelerators * self.price_per_hour / 3600
        return LinearCost(base.fixed, each)

    def _of_model(self, model: str | None) -> RuntimeProfile:
        return of_model(self.profile, model, "--runtimes has no profile of")

    @property
    def prices(self) -> dict[str, Any] | None:
        """Provenance of dollars, the price of an accelerator-hour among them; None without any."""
        if self.price_per_hour is None:
            return super().prices
        return {
            "source": "user",
            "version": "by hand",
            "as_of": None,
            "currency": "USD",
            "overrides": {"price_per_hour": self.price_per_hour},
        }

    @property
    def cost_model(self) -> dict[str, Any]:
        """Name of the cost option and every assumption behind it, for the record."""
        given = self.profile
        assert given is not None  # noqa: S101 - refused at construction
        profiles = (
            {"profile": given.document()}
            if isinstance(given, RuntimeProfile)
            else {"profiles": {name: each.document() for name, each in sorted(given.items())}}
        )
        money = {}
        if self.price_per_hour is not None:
            n = self.accelerators
            money = {
                "price_per_hour": self.price_per_hour,
                "accelerators": dict(n) if isinstance(n, Mapping) else n,
            }
        return {**super().cost_model, "name": "idealized-runtime", **profiles, **money}


EXAMPLE = IdealizedRuntimeCosts(
    tokens_per_sample=100.0,
    input_tokens=300.0,
    profile=RuntimeProfile(0.05, {1: 0.06, 512: 0.1}),
    accelerators=8.0,
    price_per_hour=A100_USD_PER_HOUR,
)
"""For the contract check."""
