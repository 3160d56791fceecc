"""What `diff` tells of two tables."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scaling.allocators import Limit, allocate
from scaling.errors import InputError
from scaling.tables import BudgetTable
from scaling.tables.build import build
from scaling.tables.diff import CAUSES, diff

CREATED = "2026-01-31T12:00:00Z"
LEVELS = {"level": np.array(["easy", "medium", "hard"])}


@pytest.fixture
def menu(coverage_menu):
    return coverage_menu([0.5, 0.1, 0.02], key=LEVELS)


def tabled(menu, budget=1500, **options):
    return build(allocate(menu, budget, unit="tokens", **options), created=CREATED)


def by_id(difference):
    return {row["row_id"]: row for row in difference.rows}


def test_a_table_does_not_differ_from_itself(menu):
    one = tabled(menu)
    found = diff(one, tabled(menu))
    assert found.same
    assert found.inputs == ()
    assert {row["status"] for row in found.rows} == {"same"}
    assert json.loads(json.dumps(found.document(), allow_nan=False))["kind"] == "scaling-table-diff"


def test_a_larger_budget_moves_rows_by_the_price_alone(menu):
    one, two = tabled(menu), tabled(menu, 3000)
    found = diff(one, two)
    assert [each["what"] for each in found.inputs] == ["constraints"]
    assert found.inputs[0]["after"] == {"tokens:average": {"limit": 3000.0}}
    pair = found.prices["tokens:average"]
    assert pair["after"] < pair["before"]
    moved = [row for row in found.rows if row["action"]["before"] != row["action"]["after"]]
    assert moved
    for row in moved:
        assert row["causes"] == ["price"]
        assert row["why"] == CAUSES["price"]
        assert row["cost"]["after"] > row["cost"]["before"]
        assert row["value"]["after"] > row["value"]["before"]


def test_limits_that_differ_in_what_they_are_about_are_told_apart(coverage_menu):
    samples = np.array([1, 2, 4, 8, 16])
    menu = coverage_menu(
        [0.5, 0.1, 0.02], key=LEVELS, cost={"tokens": samples * 300.0, "seconds": samples * 1.0}
    )
    model = {"model": "m-8b"}

    def limited(*limits):
        given = [Limit("tokens", "average", 1500), *limits]
        return build(allocate(menu, limits=given), created=CREATED)

    one = limited(
        Limit("seconds", "p60", 9.0),
        Limit("seconds", "p90", 9.0),
        Limit("share", "average", 1.0, action=model),
        Limit("share", "average", 0.5, action=model, sense="min"),
    )
    two = limited(Limit("seconds", "p80", 9.0))
    found = diff(one, two)
    assert list(found.prices) == [
        "tokens:average",
        "seconds:p60",
        "seconds:p90",
        "share:average (model=m-8b)",
        "share:average:min (model=m-8b)",
        "seconds:p80",
    ]
    (each,) = found.inputs
    assert list(each["after"]) == ["tokens:average", "seconds:p80"]
    assert not diff(limited(Limit("seconds", "p60", 9.0)), two).same


def test_what_values_and_costs_are_of_is_stated(menu):
    found = diff(tabled(menu), tabled(menu, 3000))
    assert found.maximise == {"before": "coverage", "after": "coverage"}
    assert found.priced_resource == {"before": "tokens", "after": "tokens"}


def test_rows_whose_actions_are_worth_other_than_before(menu, coverage_menu):
    better = coverage_menu([0.5, 0.1, 0.2], key=LEVELS)
    found = by_id(diff(tabled(menu), tabled(better)))
    assert "values" in found["hard"]["causes"]
    assert "costs" not in found["hard"]["causes"]
    for name in ("easy", "medium"):  # their own curves did not move
        assert set(found[name]["causes"]) <= {"price", "leftover"}


def test_the_cause_is_what_alone_gives_the_new_action(coverage_menu):
    """Against the tables themselves, asked at each other's price."""
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(40):
        rates, factor = rng.uniform(0.01, 0.6, 3), rng.choice([0.7, 1.0, 1.3], 3)
        other = coverage_menu((rates * factor).clip(0, 1).tolist(), key=LEVELS)
        one = tabled(coverage_menu(rates.tolist(), key=LEVELS), rng.uniform(400, 3000))
        two = tabled(other, rng.uniform(400, 3000))
        found = diff(one, two)
        price = found.prices["tokens:average"]
        for row, scale in zip(found.rows, factor, strict=True):
            same = row["action"]["before"] == row["action"]["after"]
            if same or scale == 1 or price["before"] == price["after"]:
                continue
            by_price = one.lookup(row["when"], price["after"]).action == row["action"]["after"]
            by_curve = two.lookup(row["when"], price["before"]).action == row["action"]["after"]
            causes = set(row["causes"])
            seen |= causes
            if causes == {"price"}:
                assert by_price
                assert not by_curve
            elif "price" not in causes:
                assert by_curve
                assert not by_price
            else:
                assert by_price == by_curve
    assert {"price", "values"} <= seen


def test_costs_menus_and_traffic_are_told_apart(menu):
    dearer = replace(menu, cost={**menu.cost, "tokens": menu.cost["tokens"] * 1.5})
    found = diff(tabled(menu), tabled(dearer, 2250))
    assert all("costs" in row["causes"] for row in found.rows)
    assert all("values" not in row["causes"] for row in found.rows)

    capped = diff(tabled(menu, 4000), tabled(menu, 4000, limits=[("samples", "each", 4)]))
    assert "menu" in by_id(capped)["hard"]["causes"]
    assert "samples:each" in capped.inputs[0]["after"]

    heavier = diff(tabled(menu), tabled(menu, weights={"easy": 8, "medium": 1, "hard": 1}))
    assert all("traffic" in row["causes"] for row in heavier.rows)


def test_rows_that_came_and_went(menu, coverage_menu):
    other = coverage_menu([0.5, 0.1, 0.3], key={"level": np.array(["easy", "medium", "odd"])})
    found = by_id(diff(tabled(menu), tabled(other)))
    assert found["odd"]["status"] == "added"
    assert found["odd"]["action"]["before"] is None
    assert found["hard"]["status"] == "removed"
    assert found["hard"]["value"]["after"] is None


def test_what_is_maximised_is_a_cause_of_its_own(menu):
    other = replace(menu, maximise="accuracy")
    found = diff(tabled(menu), tabled(other, 3000))
    assert found.inputs[0] == {"what": "maximise", "before": "coverage", "after": "accuracy"}
    moved = [row for row in found.rows if row["action"]["before"] != row["action"]["after"]]
    assert moved
    assert all(row["causes"] == ["objective"] for row in moved)


def test_data_fits_and_prices_of_tokens_are_inputs(menu):
    def made(digest, price, law="beta-binomial"):
        provenance = {
            "data": [{"sha256": digest * 64, "format": "csv", "rows": 3}],
            "fits": [{"law": law, "sha256": digest * 64}],
            "prices": {
                "source": "user", "version": "by hand", "as_of": None, "currency": "USD",
                "overrides": {"price_out": price},
            },
        }  # fmt: skip
        return tabled(replace(menu, provenance=provenance))

    found = diff(made("0", 3.0), made("1", 4.0))
    assert [each["what"] for each in found.inputs] == ["fit", "data", "token prices"]
    assert not found.same
    law = diff(made("0", 3.0), made("0", 3.0, "logit-normal"))
    assert [each["what"] for each in law.inputs] == ["law"]


def test_a_divided_row_is_told_by_its_parts(menu):
    found = diff(tabled(menu, 1550), tabled(menu, 1550, split=True))
    divided = [row for row in found.rows if isinstance(row["action"]["after"], list)]
    assert len(divided) == 1
    shares = [part["share"] for part in divided[0]["action"]["after"]]
    assert sum(shares) == pytest.approx(1)
    assert divided[0]["cost"]["after"] > divided[0]["cost"]["before"]


def test_a_table_that_does_not_hold_together(menu):
    one = tabled(menu)
    document = one.document
    del document["rows"][0]["expected"]["value"]
    with pytest.raises(InputError, match="scaling table check"):
        diff(one, BudgetTable.from_document(document))
