"""Training and inference over a model's life: the size that reaches a loss at the least total.

Sardana, Portes, Doubov and Frankle (2024), Beyond Chinchilla-Optimal (arXiv 2401.00448): minimise
`6 N D_tr + 2 N D_inf` over N and D_tr with `E + A N^-alpha + B D_tr^-beta` at a given loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaling.errors import InfeasibleError, UsageError


@dataclass(frozen=True)
class LossLaw:
    """`L(N, D) = E + A N^-alpha + B D^-beta`: parameters N, training tokens D.

    Attributes:
        E: irreducible loss.
        A, alpha: of parameters.
        B, beta: of tokens.

    Raises:
        UsageError: a coefficient that is not above zero; E may be zero.
    """

    E: float
    A: float
    B: float
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        for name in ("E", "A", "B", "alpha", "beta"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (value == 0 and name != "E"):
                raise UsageError(
                    f"{name} of the loss is {value}. It must be above zero (E may be 0)."
                )

    def loss(self, parameters: float, tokens: float) -> float:
        """L(N, D)."""
        return float(self.E + self.A * parameters**-self.alpha + self.B * tokens**-self.beta)

    def least_parameters(self, loss: float) -> float:
        """Parameters with which endless data reach a loss: `(A / (l - E))^(1/alpha)`.

        Raises:
            InfeasibleError: no model reaches it.
        """
        if loss <= self.E:
            raise InfeasibleError(
                f"a loss of {loss:g} is out of reach: it never falls below E = {self.E:g}.",
                smallest=self.E,
            )
        return float((self.A / (loss - self.E)) ** (1 / self.alpha))

    def tokens_for(self, parameters: float, loss: float) -> float:
        """Training tokens with which N parameters reach a loss, infinite where they never do."""
        left = loss - self.E - self.A * parameters**-self.alpha
        return float((left / self.B) ** (-1 / self.beta)) if left > 0 else math.inf

    def compute_optimal_tokens(self, parameters: float) -> float:
        """D at which N is the size of least training compute: `(beta B / (alpha A N^-alpha))^(1/beta)`."""
        slope = self.alpha * self.A * parameters**-self.alpha
        return float((self.beta * self.B / slope) ** (1 / self.beta))


CHINCHILLA = LossLaw(E=1.69, A=406.4, B=410.7, alpha=0.336, beta=0.283)
"""Hoffmann et al. (2022), approach 3, with exponents to three digits: with .34 and .28, as printed, the
example of Sardana et al. does not come out."""


@dataclass(frozen=True)
class Rates:
    """Units of cost a FLOP of training, of reading prompts and of generating.

    All 1 for FLOPs. In money: dollars an accelerator-second over FLOP/s that are reached; generation
    reaches far fewer than training does.

    Raises:
        UsageError: a rate that is not above zero.
    """

    training: float = 1.0
    reading: float = 1.0
    generating: float = 1.0

    def __post_init__(self) -> None:
        for name in ("training", "reading", "generating"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise UsageError(f"the rate of {name} is {value}. It must be above zero.")

    @classmethod
    def money(
        cls,
        peak: float,
        *,
        training_mfu: float,
        reading_mfu: float,
        generating_mfu: float,
        training_price: float,
        inference_price: float | None = None,
        inference_peak: float | None = None,
    ) -> Rates:
        """Dollars a FLOP: `price / (3600 peak MFU)`.

        Args:
            peak: FLOP/s of an accelerator in training.
            training_mfu: share of peak that training reaches.
            reading_mfu: share of peak that reading prompts reaches.
            generating_mfu: share of peak that generating reaches.
            training_price: dollars an accelerator-hour.
            inference_price: the same at inference; that of training where not given.
            inference_peak: FLOP/s at inference (fewer bits); that of training where not given.
        """
        price = training_price if inference_price is None else inference_price
        served = peak if inference_peak is None else inference_peak
        for name, share in (
            ("training_mfu", training_mfu),
            ("reading_mfu", reading_mfu),
            ("generating_mfu", generating_mfu),
        ):
            if not 0 < share <= 1:
                raise UsageError(
                    f"{name} is {share}. It is a share of peak, above 0 and at most 1."
                )
        return cls(
            training_price / 3600 / (peak * training_mfu),
            price / 3600 / (served * reading_mfu),
            price / 3600 / (served * generating_mfu),
        )


FLOPS = Rates()


@dataclass(frozen=True)
class Life:
    """One size over its life.

    Attributes:
        parameters: N.
        training_tokens: D_tr.
        training, inference: cost of each, in the units of the rates.
    """

    parameters: float
    training_tokens: float
    training: float
    inference: float

    @property
    def total(self) -> float:
        """Of both."""
        return self.training + self.inference


def lifetime(
    law: LossLaw,
    loss: float,
    parameters: float,
    *,
    generated: float,
    read: float = 0.0,
    rates: Rates = FLOPS,
) -> Life:
    """Cost of a model of N parameters that is trained to a loss and then served.

    `6 N D_tr r_t + 2 N D_read r_r + 2 N D_generated r_g`.

    Args:
        law: of the loss.
        loss: to be reached.
        parameters: N.
        generated: tokens generated over its life.
        read: prompt tokens over its life.
        rates: cost of a FLOP.

    Raises:
        InfeasibleError: so few parameters never reach the loss; the fewest that do are `smallest`.
        UsageError: tokens that are negative or not finite.
    """
    for name, value in (("generated", generated), ("read", read)):
        if not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} tokens are {value}. They must be finite, zero or more.")
    tokens = law.tokens_for(parameters, loss)
    if not math.isfinite(tokens):
        least = law.least_parameters(loss)
        raise InfeasibleError(
            f"{parameters:.4g} parameters never reach a loss of {loss:g}; it takes more than {least:.4g}.",
            smallest=least,
        )
    served = 2 * parameters * (read * rates.reading + generated * rates.generating)
    return Life(parameters, tokens, 6 * parameters * tokens * rates.training, served)


def best_size(
    law: LossLaw, loss: float, *, generated: float, read: float = 0.0, rates: Rates = FLOPS
) -> Life:
    """The size of least total cost among those that reach a loss; arguments as in `lifetime`.

    In log N the derivative of the total over N changes sign once, where
    `r_t 6 D (1 - alpha A N^-alpha / (beta B D^-beta)) + 2 (r_r D_read + r_g D_generated) = 0`: more
    parameters beyond that save too little data. Found by bisection.

    Raises:
        InfeasibleError: no model reaches the loss.
    """
    least = law.least_parameters(loss)
    lifetime(law, loss, 2 * least, generated=generated, read=read)  # refuses bad numbers
    served = 2 * (read * rates.reading + generated * rates.generating)

    def rising(parameters: float) -> bool:
        tokens = law.tokens_for(parameters, loss)
        if not math.isfinite(tokens):
            return False
        ratio = law.alpha * law.A * parameters**-law.alpha / (law.beta * law.B * tokens**-law.beta)
        return bool(6 * rates.training * tokens * (1 - ratio) + served > 0)

    low = high = math.log(least)
    while not rising(math.exp(high)):
        low, high = high, high + 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(math.exp(middle)) else (middle, high)
    return lifetime(law, loss, math.exp(high), generated=generated, read=read, rates=rates)
