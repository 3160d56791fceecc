"""FLOPs exchange, visual tokens, sleep time, chain length and retries against their sources."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from scaling.allocators import allocate
from scaling.allocators.closed_forms import (
    cot_length,
    flops_exchange,
    retry_cap,
    sleep_time,
    vlm_tokens,
)
from scaling.core.special import log_beta_ratio
from scaling.errors import InfeasibleError, InputError, UsageError

# --- FLOPs exchange --------------------------------------------------------------------------


@given(st.floats(1.01, 50), st.floats(0.01, 100), st.floats(1, 6))
def test_exchanges_and_their_inverses(M, R, kappa):
    m = flops_exchange.samples(M, R, kappa)
    assert flops_exchange.larger(m, R, kappa) == pytest.approx(M, rel=1e-9)
    assert flops_exchange.even_ratio(m, M, kappa) == pytest.approx(R, rel=1e-6)
    # 6 N D_pre and κ N D_inf, counted out
    training, inference = 6.0, kappa * R
    assert M * (training + inference) == pytest.approx(training + m * inference, rel=1e-12)


def test_published_exchange():
    """Snell et al. 2024: R = .16, .79, 22 with budgets of 256, 64, 16 samples and M about 14."""
    found = [flops_exchange.even_ratio(m, 14.185) for m in (256, 64, 16)]
    assert [round(R, 2) for R in found[:2]] == [0.16, 0.79]
    assert round(found[2]) == 22


def test_the_better_buy():
    # an easy bin is worth sampling, a hopeless one is not
    easy = flops_exchange.solve(2.0, 2.0, 0.8, 14.0, 0.79)
    hard = flops_exchange.solve(0.02, 4.0, 0.4, 14.0, 22.0)
    assert easy.whole["model"].tolist() == ["small"]
    assert easy.whole["samples"].tolist() == [math.floor(flops_exchange.samples(14, 0.79))]
    assert hard.whole["model"].tolist() == ["large"]
    assert hard.price == 0
    step = 1e-4
    up, down = (
        flops_exchange.value(
            {"model": ["small"], "samples": [easy.action["samples"][0] + d]}, 2, 2, 0
        )
        for d in (step, -step)
    )
    assert (up - down) / (2 * step) == pytest.approx(easy.price, rel=1e-6)
    with pytest.raises(InputError, match="samples are the dearer ones"):
        flops_exchange.even_ratio(3, 4)
    with pytest.raises(InputError, match=r"M\[0\] is 0\.5"):
        flops_exchange.samples(0.5, 1)


@pytest.mark.reference
def test_reference_exchange(reference_data):
    values = json.loads((reference_data / "saturation" / "reference_values.json").read_text())
    rows = values["snell_exchange"]["rows"]
    assert len(rows) == 24
    for row in rows:
        assert flops_exchange.samples(row["M"], row["R"]) == pytest.approx(row["m"], rel=1e-12)
    check = values["snell_exchange"]["consistency_check"]
    for m, R, M in zip(
        check["budgets"], check["published_R"], check["M_solved_from_each"], strict=True
    ):
        assert flops_exchange.larger(m, R) == pytest.approx(M, rel=1e-12)


# --- visual tokens ---------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.floats(0.01, 0.3),
    st.floats(0.005, 0.3),
    st.floats(0, 200),
    st.floats(1e9, 1e13),
    st.floats(0.1, 1),
)
def test_no_other_number_of_tokens_is_better(a, b, text, budget, K):
    best = vlm_tokens.solve(a, b, K, text, budget)
    V = np.geomspace(1, 576, 2001)
    error = K * (budget / (2e9 * (text + V))) ** -a * V**-b
    assert 1 - best.value <= error.min() * (1 + 1e-12)
    assert best.residual < 1e-9
    step = 1e-5
    up, down = (vlm_tokens.solve(a, b, K, text, budget * (1 + d)).value for d in (step, -step))
    assert (up - down) / (2 * step * budget) == pytest.approx(best.price, rel=1e-5)


def test_the_published_optimum():
    """Li et al. 2024: exponents .077 and .015, 50 text tokens; without text one token is best."""
    assert vlm_tokens.best_tokens(0.077, 0.015, 50) == pytest.approx(12.0968, abs=5e-5)
    assert vlm_tokens.best_tokens(0.077, 0.015, 0) == 1
    # text in pictures: the tokens matter more than the model
    assert vlm_tokens.best_tokens(0.028, 0.039, 50) == 576
    # the floor and the scale move nothing
    one, other = (
        vlm_tokens.solve(0.077, 0.015, K, 50, 1e12, D).action["visual_tokens"]
        for K, D in ((0.6, 0.0), (0.3, 0.2))
    )
    assert one == pytest.approx(other)


def test_models_that_exist():
    sizes = [0.5, 1.8, 4, 7]
    for budget in np.geomspace(6e10, 2e13, 25):
        best = vlm_tokens.solve(0.0709, 0.0151, 0.59, 50, budget, 0.05, sizes=sizes)
        N, V = best.whole["parameters"][0], best.whole["visual_tokens"][0]
        every = [
            1 - (0.59 * n**-0.0709 * v**-0.0151 + 0.05)
            for n in sizes
            for v in range(1, 577)
            if 2e9 * n * (50 + v) <= budget
        ]
        assert best.whole_value == pytest.approx(max(every), rel=1e-12)
        assert N in sizes
        assert int(V) == V
        table, limit = vlm_tokens.menu(0.0709, 0.0151, 0.59, 50, budget, 0.05, sizes=sizes)
        assert allocate(table, limits=[limit]).value == pytest.approx(best.whole_value, rel=1e-12)
    with pytest.raises(InfeasibleError, match=r"5\.1e\+10 would do") as caught:
        vlm_tokens.solve(0.0709, 0.0151, 0.59, 50, 1e9, sizes=sizes)
    assert caught.value.smallest == 5.1e10
    with pytest.raises(InputError, match="high is 0"):
        vlm_tokens.best_tokens(0.1, 0.05, 50, 1, 0)


@pytest.mark.reference
def test_reference_tokens(reference_data):
    values = json.loads((reference_data / "rag_vlm" / "reference_fits.json").read_text())["vlm"]
    grid, told = values["released_grid_full_search_best"], values["V_star_Q50"]
    published = values["published"]
    assert vlm_tokens.best_tokens(published["alpha"], published["beta"], 50) == pytest.approx(
        told["published_exponents"], rel=1e-12
    )
    assert vlm_tokens.best_tokens(grid["alpha"], grid["beta"], 50) == pytest.approx(
        told["full_grid_best"], rel=1e-9
    )


# --- sleep time ------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 30_000), st.floats(0, 900)),
        min_size=1,
        max_size=4,
        unique_by=lambda x: x[0],
    ),
    st.floats(100, 800),
    st.lists(st.floats(0, 50), min_size=1, max_size=5),
    st.floats(0.5, 20),
)
def test_no_plan_saves_more(plans, plain, queries, ratio):
    S, b = zip(*plans, strict=True)
    best = sleep_time.solve(S, b, plain, queries, ratio)
    for i, Q in enumerate(queries):
        savings = [0.0, *(Q * ratio * (plain - y) - x for x, y in plans)]
        chosen = best.whole["sleep_tokens"][i]
        mine = 0.0 if not chosen else savings[1 + list(S).index(int(chosen))]
        assert mine == pytest.approx(max(savings), rel=1e-9, abs=1e-9)


def test_sleeping_pays_from_the_break_even_on():
    best = sleep_time.solve([5000], [100], 500, [12, 13], 1)
    assert best.whole["sleep_tokens"].tolist() == [0, 5000]
    assert best.action["queries"].tolist() == [12.5, 12.5]
    assert best.whole["queries"].tolist() == [13, 13]
    assert best.value == 13 * 400 - 5000
    # at the very break-even both cost the same, and the one that sleeps less is taken
    even = sleep_time.solve([4000], [100], 500, [10], 1)
    assert even.whole["sleep_tokens"].tolist() == [0]
    assert even.whole["queries"].tolist() == [11]
    never = sleep_time.solve([1000], [700], 600, [50])
    assert never.document()["whole"]["queries"] == [None]
    assert never.cautions == ("no plan saves tokens",)
    # E[Q] over contexts, some never asked about, is what counts (not E[1/Q] over those asked)
    assert sleep_time.cost_per_query(20_000, 200, 5, 10) == pytest.approx(2000 + 4000)
    with pytest.raises(InputError, match="positive and differ"):
        sleep_time.solve([0], [1], 10, [1])
    with pytest.raises(InputError, match="queries of a context are positive"):
        sleep_time.cost_per_query(1, 1, 0)


@pytest.mark.reference
def test_reference_sleep(reference_data):
    values = json.loads((reference_data / "saturation" / "reference_values.json").read_text())
    for row in values["sleep_time"]["rows"]:
        plan = row["S"], row["b_test"]
        assert sleep_time.cost_per_query(*plan, row["Q"], row["t"]) == pytest.approx(row["cost"])
        found = sleep_time.break_even(*plan, row["b0"], row["t"])
        assert found == pytest.approx([row["Q_star"]], rel=1e-12)
        chosen = sleep_time.solve(*plan, row["b0"], row["Q"], row["t"]).whole["sleep_tokens"][0]
        assert (chosen > 0) == (row["ratio"] > 1)


# --- chain length ----------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.floats(1, 60), st.floats(0.5, 8), st.floats(0.02, 0.9))
def test_no_other_length_is_better(T, M, sigma):
    best = cot_length.solve(T, M, sigma)
    lengths = [
        {"iterations": [n]} for n in range(1, 3 * math.ceil(best.action["iterations"][0]) + 9)
    ]
    values = [cot_length.value(each, T, M, sigma) for each in lengths]
    assert best.whole_value == pytest.approx(max(values), rel=1e-12)
    assert best.value >= best.whole_value - 1e-12


def test_harder_tasks_need_more_steps_and_better_models_fewer():
    def steps(T: float, M: float, sigma: float) -> float:
        return cot_length.solve(T, M, sigma).action["iterations"][0]

    assert steps(20, 1, 0.1) == pytest.approx(2 * steps(10, 1, 0.1))
    assert steps(10, 2, 0.1) == pytest.approx(steps(10, 1, 0.1) / 2)
    assert steps(10, 1, 0.2) < steps(10, 1, 0.1)
    with pytest.raises(InputError, match=r"sigma\[0\] is 1\.0"):
        steps(1, 1, 1.0)
    with pytest.raises(UsageError, match="too many for a menu"):
        cot_length.menu(1e6, 0.1, 0.001)


@pytest.mark.reference
def test_reference_lengths(reference_data):
    values = json.loads((reference_data / "saturation" / "reference_values.json").read_text())
    for row in values["cot_length_lambertw"]["rows"]:
        best = cot_length.solve(row["T"], row["M"], row["sigma"])
        assert best.action["iterations"][0] == pytest.approx(row["N_star"], rel=1e-12)
        assert best.value == pytest.approx(row["log_accuracy_at_star"], rel=1e-12)


# --- retries ---------------------------------------------------------------------------------


@settings(max_examples=80)
@given(
    st.floats(0.05, 5) | st.just(1.0), st.floats(0.2, 30), st.floats(0.01, 5), st.floats(0.01, 200)
)
def test_no_other_number_of_retries_is_cheaper(alpha, beta, attempt, takeover):
    best = retry_cap.solve(alpha, beta, attempt, takeover)
    cap = int(best.whole["samples"][0])
    assume(cap < 20_000)
    K = np.arange(2 * cap + 50)
    missed = np.exp(log_beta_ratio(alpha, beta, K))
    costs = attempt * np.concatenate(([0.0], np.cumsum(missed)[:-1])) + takeover * missed
    assert -best.whole_value == pytest.approx(costs.min(), rel=1e-9)
    assert retry_cap.expected_cost(K, alpha, beta, attempt, takeover) == pytest.approx(
        costs, rel=1e-7
    )
    assert best.value >= best.whole_value - 1e-9 * abs(best.value)
    assert best.residual < 1e-9


def test_retries_by_brute_force():
    """Of Beta(.2955, 12.365) at H / C = 200: 47, where the leading order a H / C says 59."""
    assert retry_cap.solve(0.2955, 12.365, 1.0, 200.0).whole["samples"].tolist() == [47]
    # never worth a try: the first success is too unlikely
    assert retry_cap.solve(0.2, 50.0, 1.0, 10.0).whole["samples"].tolist() == [0]
    with pytest.raises(UsageError, match="too many for a menu"):
        retry_cap.menu(1.0, 1.0, 1e-6, 1.0)
    with pytest.raises(InputError, match=r"attempt\[0\] is 0\.0"):
        retry_cap.solve(1.0, 1.0, 0.0, 1.0)
