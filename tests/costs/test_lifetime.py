"""Training and inference together: Sardana et al., and its properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from scaling.costs.lifetime import CHINCHILLA, LossLaw, Rates, best_size, lifetime
from scaling.errors import InfeasibleError, UsageError

LOSS = CHINCHILLA.loss(13e9, CHINCHILLA.compute_optimal_tokens(13e9))


def test_the_published_example():
    """13B of Chinchilla's quality and 2e12 tokens served: a 7B model saves 1.7e22 FLOPs, 17% (Figure 1)."""
    served = lifetime(CHINCHILLA, LOSS, 13e9, generated=2e12)
    best = best_size(CHINCHILLA, LOSS, generated=2e12)
    saved = served.total - best.total
    assert float(f"{saved:.1e}") == 1.7e22
    assert round(100 * saved / served.total) == 17
    assert round(best.parameters / 1e9) == 7


def test_without_inference_the_size_is_compute_optimal():
    best = best_size(CHINCHILLA, LOSS, generated=0.0)
    assert best.parameters == pytest.approx(13e9, rel=1e-9)
    assert best.training == pytest.approx(
        6 * 13e9 * CHINCHILLA.compute_optimal_tokens(13e9), rel=1e-9
    )


@given(st.floats(9, 14), st.floats(9, 13), st.floats(1, 30))
def test_the_best_size_is_scipys(generated: float, read: float, ratio: float):
    rates = Rates(1.0, ratio / 3, ratio)
    tokens = {"generated": 10**generated, "read": 10**read, "rates": rates}
    best = best_size(CHINCHILLA, LOSS, **tokens)
    least = CHINCHILLA.least_parameters(LOSS)
    found = minimize_scalar(
        lambda x: lifetime(CHINCHILLA, LOSS, least * (1 + 10**x), **tokens).total,
        bounds=(-6, 4),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert best.total <= found.fun * (1 + 1e-9)
    assert CHINCHILLA.loss(best.parameters, best.training_tokens) == pytest.approx(LOSS)
    more = best_size(CHINCHILLA, LOSS, **{**tokens, "generated": 2 * 10**generated})
    assert more.parameters <= best.parameters * (1 + 1e-9)
    assert more.total >= best.total


def test_money():
    rates = Rates.money(
        1e15,
        training_mfu=0.4,
        reading_mfu=0.5,
        generating_mfu=0.1,
        training_price=3.6,
        inference_price=1.8,
    )
    assert rates.training == pytest.approx(1e-3 / 4e14)
    assert rates.generating == pytest.approx(5e-4 / 1e14)
    life = lifetime(CHINCHILLA, LOSS, 13e9, generated=1e12, read=1e12, rates=rates)
    assert life.inference == pytest.approx(2 * 13e9 * 1e12 * (1e-18 + 5e-18))
    # Inference that reaches a tenth of peak weighs more than its FLOPs: smaller models.
    money = best_size(CHINCHILLA, LOSS, generated=2e12, rates=rates)
    assert money.parameters < best_size(CHINCHILLA, LOSS, generated=2e12).parameters


def test_what_cannot_be():
    with pytest.raises(InfeasibleError, match="never falls below") as caught:
        best_size(CHINCHILLA, 1.6, generated=1e12)
    assert caught.value.smallest == 1.69
    with pytest.raises(InfeasibleError, match="it takes more than"):
        lifetime(CHINCHILLA, LOSS, 1e8, generated=1e12)
    with pytest.raises(UsageError, match="alpha of the loss"):
        LossLaw(1.0, 1.0, 1.0, 0.0, 0.3)
    with pytest.raises(UsageError, match="read tokens"):
        best_size(CHINCHILLA, LOSS, generated=1.0, read=-1.0)
    with pytest.raises(UsageError, match="reading_mfu"):
        Rates.money(1.0, training_mfu=0.5, reading_mfu=1.5, generating_mfu=0.1, training_price=1.0)
    with pytest.raises(UsageError, match="rate of generating"):
        Rates(generating=0.0)
