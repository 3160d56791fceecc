"""Published facts agree with each other."""

from __future__ import annotations

import pytest

from scaling.data.catalogue.published_coverage import FLAWS, PRICED, SOLVED, total_usd


def test_totals_are_attempts_times_price():
    assert len(PRICED) == 3
    for row in PRICED:
        assert total_usd(row) == pytest.approx(row.total_usd, rel=1e-12)
        # printed to one digit behind the point
        assert total_usd(row) / total_usd(PRICED[0]) == pytest.approx(row.relative_cost, abs=0.05)
    assert total_usd(PRICED[0], problems=1) == pytest.approx(0.036)


def test_more_than_one_attempt_assumes_an_oracle():
    assert [row.assumes_oracle_verifier for row in PRICED] == [True, False, False]
    for fact in SOLVED:
        assert 0 <= fact.share <= 1
        assert fact.assumes_oracle_verifier == (fact.selection == "oracle" and fact.samples > 1)
    picked = [fact for fact in SOLVED if fact.selection != "oracle"]
    assert [fact.samples for fact in picked] == [100, 10_000]
    for fact in picked:  # coverage is an upper bound on what any selection reaches
        (bound,) = (
            each.share
            for each in SOLVED
            if each.assumes_oracle_verifier
            and (each.model, each.task, each.samples) == (fact.model, fact.task, fact.samples)
        )
        assert fact.share < bound


def test_flaws_count_problems():
    assert {flaw.task: (flaw.affected, flaw.of) for flaw in FLAWS} == {
        "SWE-bench Lite": (34, 300),
        "CodeContests": (35, 122),
        "GSM8K": (1, 128),
    }
    # section 4.2.1 prints a share
    assert round(100 * FLAWS[0].affected / FLAWS[0].of, 1) == 11.3


@pytest.mark.reference
def test_published_shares_are_those_of_the_published_counts(reference_data):
    import csv

    with (reference_data / "coverage" / "monkeys_pythia_math_counts.csv").open() as file:
        rows = [r for r in csv.DictReader(file) if r["model"] == "Pythia 160M"]
    c = [int(r["num_correct"]) / int(r["num_samples"]) for r in rows]
    first, all_ = (f.share for f in SOLVED if f.model == "Pythia-160M")
    assert round(sum(c) / len(c), 4) == first
    assert round(sum(x > 0 for x in c) / len(c), 2) == all_
