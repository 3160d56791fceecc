"""The split of tokens: optimal, at one price, in whole numbers; the published one; schedules."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators.closed_forms.token_split import SCHEDULES, scheduled, solve, value
from scaling.errors import InfeasibleError, InputError, UsageError

parts = st.lists(
    st.tuples(st.floats(0.1, 10), st.floats(0.1, 4), st.floats(0.1, 3)), min_size=1, max_size=4
)


@settings(max_examples=60)
@given(parts, st.floats(5, 1e5))
def test_one_price_for_all(parameters, budget):
    c, beta, w = (np.array(each) for each in zip(*parameters, strict=True))
    best = solve(c, beta, budget, w)
    b = best.action["thinking_tokens"]
    assert b.sum() == pytest.approx(budget, rel=1e-12)
    assert w * c * beta * b ** -(1 + beta) == pytest.approx(best.price, rel=1e-9)
    assert best.residual < 1e-9
    # the price is what one more token buys
    step = budget * 1e-5
    more, less = (solve(c, beta, budget + d, w).value for d in (step, -step))
    assert (more - less) / (2 * step) == pytest.approx(best.price, rel=1e-4)


@settings(max_examples=30)
@given(parts, st.integers(4, 14))
def test_whole_tokens_by_enumeration(parameters, budget):
    c, beta, w = (np.array(each) for each in zip(*parameters, strict=True))
    best = solve(c, beta, budget, w)
    found = best.whole["thinking_tokens"]
    assert found.sum() <= budget
    assert found.min() >= 1
    every = [
        value({"thinking_tokens": np.array(n)}, c, beta, w)
        for n in product(range(1, budget + 1), repeat=c.size)
        if sum(n) <= budget
    ]
    assert best.whole_value == pytest.approx(max(every), rel=1e-12)


def test_bounds():
    best = solve([1.0, 1.0], [0.25, 2.0], 300, low=[10, 40], high=[200, 300])
    assert best.action["thinking_tokens"] == pytest.approx([200, 100])
    # with room to spare everybody gets the most, and more buys nothing
    full = solve([1.0, 1.0], [0.25, 2.0], 900, low=0, high=[200, 300])
    assert full.action["thinking_tokens"].tolist() == [200, 300]
    assert full.price == 0
    tight = solve([1.0, 1.0], [0.25, 2.0], 60, low=[10, 50])
    assert tight.action["thinking_tokens"] == pytest.approx([10, 50])
    assert solve([2.0], [0.5], 33.3).action["thinking_tokens"] == pytest.approx([33.3])


def test_the_published_split_is_optimal_for_one_exponent_only():
    """spec of Plan-and-Budget: with exponents .25, .5, 2 the order of the optimum is reversed."""
    even = solve([1, 2, 4], [0.5] * 3, 600, rule="published")
    assert even.residual < 1e-12
    assert even.action["thinking_tokens"] == pytest.approx(
        solve([1, 2, 4], [0.5] * 3, 600).action["thinking_tokens"], rel=1e-9
    )
    theirs = solve([1, 1, 1], [0.25, 0.5, 2.0], 600, rule="published")
    mine = solve([1, 1, 1], [0.25, 0.5, 2.0], 600)
    assert theirs.residual > 0.5
    assert -theirs.value == pytest.approx(0.4021, abs=5e-5)
    assert -mine.value == pytest.approx(0.2993, abs=5e-5)
    assert np.argsort(theirs.action["thinking_tokens"]).tolist() == [0, 1, 2]
    assert np.argsort(mine.action["thinking_tokens"]).tolist() == [2, 1, 0]


def test_what_cannot_be_split():
    with pytest.raises(InputError, match=r"beta\[1\] is -1\.0"):
        solve([1, 1], [1, -1], 10)
    with pytest.raises(InputError, match="w has shape"):
        solve([1, 1], [1, 1], 10, [1, 2, 3])
    with pytest.raises(InputError, match=r"high\[0\] is 3\.0"):
        solve([1, 1], 1, 10, low=5, high=3)
    with pytest.raises(InfeasibleError, match="below the 12 that low asks for"):
        solve([1, 1], 1, 10, low=6)
    with pytest.raises(InfeasibleError, match="too few for one or more"):
        solve([1, 1, 1], 1, 2.5)
    with pytest.raises(UsageError, match="Unknown rule 'best'"):
        solve([1], 1, 10, rule="best")
    with pytest.raises(UsageError, match="has no bounds"):
        solve([1], 1, 10, rule="published", low=1)
    with pytest.raises(UsageError, match="Unknown schedule"):
        scheduled([1], 10, "steep")
    with pytest.raises(InputError, match="All credits are zero"):
        scheduled([0, 0], 10, "linear")
    with pytest.raises(UsageError, match=r"total is 2\.5"):
        scheduled([1], 2.5, "linear")


@pytest.mark.reference
def test_reference_splits(reference_data):
    values = json.loads((reference_data / "saturation" / "reference_values.json").read_text())
    for row in values["bbam_allocation_vectors"]["rows"]:
        arguments = row["c"], row["beta"], row["B"], row["w"]
        mine = solve(*arguments)
        assert mine.action["thinking_tokens"] == pytest.approx(row["exact_alloc"], rel=1e-8)
        assert -mine.value == pytest.approx(row["exact_objective"], rel=1e-12)
        theirs = solve(*arguments, rule="published")
        assert theirs.action["thinking_tokens"] == pytest.approx(
            row["published_closed_form_alloc"], rel=1e-12
        )
        assert -theirs.value == pytest.approx(row["published_closed_form_objective"], rel=1e-12)
    rows = values["pandb_schedule_vectors"]["rows"]
    assert len(rows) * len(SCHEDULES) == 25
    for row in rows:
        for kind in SCHEDULES:
            assert scheduled(row["credits"], row["total"], kind).tolist() == row[kind]
