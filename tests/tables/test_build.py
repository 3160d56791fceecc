from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.allocators import Limit, allocate
from scaling.costs import LinearCost
from scaling.curves import Menu
from scaling.errors import InputError, UsageError
from scaling.tables.build import build

CREATED = "2026-01-31T12:00:00Z"
SAMPLES = np.array([1, 2, 4, 8, 16])


def tabled(menu, budget, unit="tokens", **options):
    """The document of the table of an allocation, which passes every check."""
    table = build(allocate(menu, budget, unit=unit, **options), created=CREATED)
    assert table.check().findings == ()
    return table.document


def by_id(document):
    return {row["row_id"]: row for row in document["rows"]}


def test_a_row_says_what_its_class_gets(table, allocation):
    document = table.document
    rows = by_id(document)
    assert list(rows) == [
        "hard-difficulty-0", "hard-difficulty-1", "hard-difficulty-2",
        "easy-difficulty-0", "easy-difficulty-1", "easy-difficulty-2",
    ]  # fmt: skip
    assert [row["weight"] for row in document["rows"]] == [0.15, 0.1, 0.25, 0.05, 0.2, 0.25]
    menu, c = allocation.ladder, 1
    rung = int(allocation.chosen[c])
    row = rows["hard-difficulty-1"]
    assert row["when"] == {"level": "hard", "difficulty": 1}
    assert row["action"]["n_samples"] == menu.action["samples"][rung]
    assert row["action"]["model"] == "m-8b"
    assert row["expected"]["coverage"] == row["expected"]["value"]
    assert row["expected"]["value"]["mean"] == menu.value[rung]
    assert row["expected"]["value"]["interval"] == menu.interval[rung].tolist()
    assert row["expected"]["resources"]["tokens"] == {"mean": menu.cost["tokens"][rung]}
    assert row["expected"]["assumes_oracle_verifier"] is True
    assert row["guarantee"] == "asymptotic"
    assert row["support"] == {"n_problems": 40, "max_observed_n": 64, "extrapolated": False}


def test_the_certificate_and_the_constraints_are_those_of_the_allocation(table, allocation):
    objective = table.document["objective"]
    assert objective["maximise"] == "coverage"
    assert objective["priced_resource"] == "tokens"
    assert objective["certificate"]["value"] == allocation.value
    assert objective["certificate"]["bound"] == allocation.bound
    assert math.isclose(objective["certificate"]["relative_gap"], allocation.relative_gap)
    assert objective["certificate"]["uniform_value"] == allocation.uniform_value
    budget, cap = objective["constraints"]
    assert budget["realised"] == pytest.approx(1000, rel=1e-12)  # a divided class uses it up
    assert budget["shadow_price"] == allocation.price
    assert (cap["scope"], cap["realised"], cap["shadow_price"]) == ("each", 8, None)


def test_guarantees_are_what_the_checks_found(table):
    stated = {each["property"]: each["verified"] for each in table.document["guarantees"]}
    assert stated == dict(table.check().guarantees)
    assert "engine_limits_respected" not in stated


def test_a_table_for_a_serving_target_says_whether_its_limits_are_kept(allocation):
    table = build(allocation, created=CREATED, targets=["vllm", "its-hub"])
    assert table.document["targets"] == ["vllm", "its-hub"]
    assert table.check().findings == ()
    assert table.check().guarantees["engine_limits_respected"]
    with pytest.raises(UsageError, match="Did you mean 'vllm'"):
        build(allocation, targets=["vlm"])


def test_a_table_for_a_target_that_cannot_do_it_says_so(coverage_menu):
    menu = coverage_menu([0.1], key={}, skip=False)
    menu = replace(menu, action={**menu.action, "thinking_tokens": np.full(5, 100)})
    table = build(allocate(menu, 1000, unit="tokens"), created=CREATED, targets=["anthropic"])
    stated = {each["property"]: each for each in table.document["guarantees"]}
    assert not stated["engine_limits_respected"]["verified"]
    assert "at least 1024, not 100" in stated["engine_limits_respected"]["detail"]
    assert table.check().findings == ()


def test_the_same_allocation_gives_the_same_text_but_for_created(allocation, table):
    assert build(allocation, created=CREATED).to_json() == table.to_json()
    later = build(allocation, created="2031-05-05T05:05:05Z")
    assert later.to_json() == table.to_json().replace(CREATED, "2031-05-05T05:05:05Z")
    now = build(allocation).document
    assert now["table_id"] == table.table_id
    assert now["created"].endswith("Z")


def test_one_class_without_columns_is_the_row_all(coverage_menu):
    document = tabled(coverage_menu([0.3], key={}), 700)
    assert document["key"] == {"features": []}
    (row,) = document["rows"]
    assert (row["row_id"], row["when"], row["weight"]) == ("all", {}, 1.0)
    assert row["action"] == {
        "strategy": "best_of_n", "model": "m-8b", "n_samples": 2, "stop_rule": {"kind": "none"},
    }  # fmt: skip
    assert row["ladder"][0]["action"] == {"strategy": "single", "model": "m-8b", "n_samples": 1}


def test_marginals_are_gains_per_unit_over_the_rung_before(coverage_menu):
    (row,) = tabled(coverage_menu([0.3], key={}), 700)["rows"]
    value = [0.0, *(1 - 0.7**SAMPLES)]
    tokens = [0.0, *(SAMPLES * 300.0)]
    expected = np.diff(value) / np.diff(tokens)
    assert [rung["marginal"] for rung in row["ladder"]] == pytest.approx(expected, rel=1e-12)
    assert row["marginal"] == row["ladder"][1]["marginal"]


def test_a_first_rung_that_is_no_good_buy_has_no_marginal(coverage_menu):
    """A prompt that is paid once makes the first sample dearer than the next."""
    cost = {"tokens": 5000 + SAMPLES * 100.0}
    menu = coverage_menu([0.3], key={}, cost=cost)
    (row,) = tabled(menu, 5200)["rows"]
    assert row["ladder"][0]["marginal"] is None
    assert row["ladder"][1]["marginal"] == pytest.approx((0.51 - 0.3) / 100)
    (row,) = tabled(menu, 5200, allow_skip=True)["rows"]
    assert row["ladder"][0]["marginal"] is not None


def test_doing_nothing_stands_before_the_ladder_not_on_it(coverage_menu):
    menu = coverage_menu([0.0001, 0.5], key={"level": ["hopeless", "easy"]}, skip=True)
    document = tabled(menu, 600)
    row = by_id(document)["hopeless"]
    assert row["action"] == {"strategy": "abstain", "model": None, "n_samples": 0}
    assert row["expected"]["value"] == {"mean": 0.0}
    assert row["expected"]["resources"] == {"samples": {"mean": 0.0}, "tokens": {"mean": 0.0}}
    assert row["may_abstain"] is True
    assert row["marginal"] is None
    assert [rung["action"]["n_samples"] for rung in row["ladder"]] == [1, 2, 4, 8, 16]


def test_an_unusable_class_gets_the_fallback_and_says_so(coverage_menu):
    menu = coverage_menu([0.3, 0.5], key={"level": ["odd", "easy"]})
    menu = replace(
        menu, curve=np.array([-1, 1]), cautions={0: ({"code": "few-solved", "message": "2"},)}
    )
    document = tabled(menu, 700)
    row = by_id(document)["odd"]
    assert row["action"] == document["fallback"]["action"]
    assert row["expected"] == document["fallback"]["expected"]
    assert len(row["ladder"]) == 1
    assert row["guarantee"] == "none"
    assert [each["code"] for each in row["cautions"]][:2] == ["fallback-served", "few-solved"]
    assert "fallback-served" not in [each["code"] for each in by_id(document)["easy"]["cautions"]]


def test_a_divided_class_lists_its_shares(coverage_menu):
    menu = coverage_menu([0.3], key={})
    (row,) = tabled(menu, 1050, split=True)["rows"]
    assert row["split"] == [{"rung": 1, "share": 0.25}, {"rung": 2, "share": 0.75}]
    assert row["action"]["n_samples"] == 4  # the larger share
    (row,) = tabled(menu, 75, split=True, allow_skip=True)["rows"]
    assert row["split"] == [{"rung": 0, "share": 0.25}]  # the rest does nothing
    assert row["action"]["strategy"] == "abstain"


def test_limits_on_every_query_become_hard_limits(coverage_menu):
    menu = coverage_menu(
        [0.3, 0.5],
        key={"level": ["hard", "easy"]},
        cost={"tokens": SAMPLES * 300.0, "usd": SAMPLES * 0.01, "seconds": SAMPLES * 2.0},
    )
    limits = [
        Limit("tokens", "each", 3000),
        Limit("tokens", "each", 2500.9),
        Limit("usd", "each", 1.5),
        Limit("seconds", "each", 60),
    ]
    for row in tabled(menu, 1200, limits=limits)["rows"]:
        assert row["hard_limits"] == {"max_total_tokens": 2500, "max_usd": 1.5, "timeout_s": 60}
        assert row["ladder"][-1]["action"]["n_samples"] == 8


def test_a_class_that_a_limit_leaves_nothing_does_nothing(coverage_menu):
    menu = coverage_menu([0.3], key={}, skip=True)
    document = tabled(menu, 700, limits=[Limit("tokens", "each", 0), Limit("samples", "each", 9)])
    (row,) = document["rows"]
    assert row["action"]["strategy"] == "abstain"
    assert [rung["action"]["strategy"] for rung in row["ladder"]] == ["abstain"]
    assert "hard_limits" not in row


def test_a_total_says_for_how_many_queries(coverage_menu):
    menu = coverage_menu([0.3, 0.5], key={"level": ["hard", "easy"]})
    (constraint,) = tabled(menu, 60_000, per="total", queries=50)["objective"]["constraints"]
    assert (constraint["scope"], constraint["queries"]) == ("total", 50)
    assert constraint["realised"] <= 60_000
    assert constraint["realised"] == pytest.approx(60_000)


@pytest.mark.parametrize(
    ("column", "values", "dtype", "when", "covered"),
    [
        ("n", np.array([3, 5]), "integer", [3, 5], True),
        ("n", np.array([3.0, 5.0]), "integer", [3, 5], True),
        ("n", np.array([True, False]), "boolean", [True, False], True),
        ("n", np.array(["3", "b"], dtype=object), "string", ["3", "b"], True),
        (
            "n", np.array([0.25, 2.0]), "number",
            [{"gte": 0.25, "lt": math.nextafter(0.25, 1)}, {"gte": 2.0, "lt": math.nextafter(2, 3)}],
            False,
        ),
    ],
)  # fmt: skip
def test_features_take_the_type_of_their_column(
    coverage_menu, column, values, dtype, when, covered
):
    table = build(
        allocate(coverage_menu([0.1, 0.2], key={column: values}), 700, unit="tokens"),
        created=CREATED,
    )
    document = table.document
    assert document["key"]["features"][0]["dtype"] == dtype
    assert [row["when"][column] for row in document["rows"]] == when
    for i, value in enumerate(values.tolist()):
        assert table.lookup({column: value}).row_id == document["rows"][i]["row_id"]
        assert table.lookup({column: str(value)}).row_id == document["rows"][i]["row_id"]
    stated = {each["property"]: each for each in document["guarantees"]}["rows_cover_key_space"]
    assert stated["verified"] is covered
    assert ("detail" in stated) is not covered
    assert table.check().ok


def test_a_column_of_mixed_values_is_refused(coverage_menu):
    menu = coverage_menu([0.1, 0.2], key={"n": np.array(["a", 3], dtype=object)})
    with pytest.raises(InputError, match="'n' mixes int, str"):
        build(allocate(menu, 700, unit="tokens"))


def test_names_that_are_no_identifiers_are_slugged_and_stay_distinct(coverage_menu):
    key = {"Level (1-5)": ["a b", "a/b"], "level_1_5": ["x", "x"], "2nd": ["é", "é"], "ok_": [1, 1]}
    document = tabled(coverage_menu([0.1, 0.2], key=key), 700)
    features = [(f["name"], f.get("path")) for f in document["key"]["features"]]
    assert features == [
        ("level_1_5", "Level (1-5)"),
        ("level_1_5_2", "level_1_5"),
        ("feature_2nd", "2nd"),
        ("ok_", None),
    ]
    assert [row["row_id"] for row in document["rows"]] == [
        "a-b-x-feature_2nd-ok_-1",
        "a-b-x-feature_2nd-ok_-1-2",
    ]


def test_bins_without_a_cut_point_tell_nothing(coverage_menu):
    menu = coverage_menu([0.1], key={"p": [0]}, bins={"p": ()})
    document = tabled(menu, 700)
    assert document["key"]["features"] == []
    assert document["rows"][0]["row_id"] == "all"


def test_knobs_become_fields_of_the_action(coverage_menu):
    knobs = {
        "thinking_tokens": 512, "solution_tokens": 64, "documents": 3, "shots": 2,
        "verifications": 4, "iterations": 5, "visual_tokens": 6, "kv_budget": 7,
    }  # fmt: skip
    menu = coverage_menu([0.3], key={})
    N = menu.value.size
    action = {**menu.action, **{name: np.full(N, value) for name, value in knobs.items()}}
    action |= {"strategy": np.full(N, "self_consistency"), "effort": np.full(N, "high")}
    (row,) = tabled(replace(menu, action=action, maximise="accuracy"), 700)["rows"]
    assert row["action"] == {
        "strategy": "self_consistency", "model": "m-8b", "n_samples": 2, "effort": "high",
        "max_thinking_tokens": 512, "max_solution_tokens": 64, "k_documents": 3, "n_shots": 2,
        "n_verifications": 4, "iterations": 5, "visual_tokens": 6, "kv_budget": 7,
    }  # fmt: skip
    assert row["expected"]["accuracy"] == row["expected"]["value"]
    assert row["expected"]["assumes_oracle_verifier"] is False


def test_a_menu_without_samples_takes_one():
    menu = Menu(
        key={},
        weight=np.ones(1),
        curve=np.zeros(1, dtype=int),
        start=np.array([0, 2]),
        value=np.array([0.4, 0.6]),
        cost={"usd": np.array([0.1, 0.5])},
        action={"model": np.array(["small", "large"])},
    )
    (row,) = tabled(menu, 0.3, unit="usd")["rows"]
    assert row["action"] == {"strategy": "single", "model": "small", "n_samples": 1}
    assert [rung["action"]["model"] for rung in row["ladder"]] == ["small", "large"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("colour", 1, "no place in a budget table"),
        ("effort", "ultra", "'ultra'"),
        ("shots", -1, "-1"),
    ],
)
def test_actions_that_the_table_has_no_words_for_are_refused(coverage_menu, column, value, message):
    menu = coverage_menu([0.3], key={})
    menu = replace(menu, action={**menu.action, column: np.full(menu.value.size, value)})
    with pytest.raises(InputError, match=f"Action column '{column}'.*{message}"):
        build(allocate(menu, 700, unit="tokens"))


def test_a_log_without_a_model_is_said_to_have_none(coverage_menu):
    menu = coverage_menu([0.3], key={})
    menu = replace(menu, action={**menu.action, "model": np.full(menu.value.size, "")})
    (row,) = tabled(menu, 700)["rows"]
    assert row["action"]["model"] == "unknown"
    assert "model-unnamed" in [each["code"] for each in row["cautions"]]


def test_an_interval_that_does_not_hold_its_mean_is_left_out_and_said_so(coverage_menu):
    menu = coverage_menu([0.3], key={})
    interval = menu.interval.copy()
    interval[1] = [0.9, 0.95]
    interval[2] = np.nan
    (row,) = tabled(replace(menu, interval=interval), 700)["rows"]
    assert ["interval" in rung["expected"]["value"] for rung in row["ladder"]] == [
        True, False, False, True, True,
    ]  # fmt: skip
    assert "interval-excludes-mean" in [each["code"] for each in row["cautions"]]
    (row,) = tabled(replace(menu, interval=None, value_se=menu.value * 0.1), 700)["rows"]
    assert row["guarantee"] == "none"
    assert row["expected"]["value"]["se"] == pytest.approx(0.051)


def test_what_is_said_of_the_whole_menu_stands_on_every_row_it_concerns(coverage_menu):
    menu = coverage_menu(
        [0.01, 0.9],
        key={"level": ["hard", "easy"]},
        cautions={-1: ({"code": "plugin-values", "message": "raw"},)},
        extrapolated=np.tile(SAMPLES > 4, 2),
    )
    rows = by_id(tabled(menu, 2700))
    assert rows["hard"]["action"]["n_samples"] == 16
    assert [each["code"] for each in rows["hard"]["cautions"]] == ["plugin-values", "extrapolated"]
    assert [each["code"] for each in rows["easy"]["cautions"]] == ["plugin-values"]
    assert rows["hard"]["support"] == {"extrapolated": True}
    assert rows["easy"]["support"] == {"extrapolated": False}


def test_provenance_is_the_menus(coverage_menu):
    given_ = {
        "fits": [{"law": "beta-binomial", "sha256": "a" * 64, "objective": "likelihood"}],
        "prices": {"source": "user", "version": "by hand", "as_of": None, "currency": "USD"},
        "cost_model": {"name": "prices", "price_in": {"m": np.float64(2.5)}},
    }
    document = tabled(coverage_menu([0.3], key={}, provenance=given_), 700, seed=7)
    provenance = document["provenance"]
    assert provenance["fits"] == given_["fits"]
    assert provenance["data"] == []
    assert provenance["prices"] == given_["prices"]
    assert provenance["cost_model"] == {"name": "prices", "price_in": {"m": 2.5}}
    assert provenance["seed"] == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"created": "yesterday"}, "created yesterday is no instant"),
        ({"created": "2026-01-01T00:00:00"}, "time zone"),
        ({"created": CREATED, "valid_until": CREATED}, "not after created"),
        ({"created": CREATED, "valid_until": "soon"}, "valid_until soon"),
    ],
)
def test_instants_must_be_instants_in_order(allocation, options, message):
    with pytest.raises(InputError, match=message):
        build(allocation, **options)


def test_valid_until_is_written_in_utc(allocation):
    table = build(allocation, created=CREATED, valid_until="2026-03-01T02:00:00+02:00")
    assert table.document["valid_until"] == "2026-03-01T00:00:00Z"
    assert table.check().ok


@st.composite
def menus(draw):
    """Small menus of any shape: costs and values in no order, several models, unusable classes."""
    C = draw(st.integers(1, 5))
    sizes = draw(st.lists(st.integers(1, 6), min_size=C, max_size=C))
    N = sum(sizes)
    shares = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0])
    costs = st.floats(1e-6, 50) | st.sampled_from([0.0, 1.0, 2.0])
    curve = [draw(st.sampled_from([c, c, c, -1])) if c else c for c in range(C)]
    return Menu(
        key={"level": np.array([f"l{c}" for c in range(C)])} if C > 1 else {},
        weight=np.array(draw(st.lists(st.floats(0.01, 10), min_size=C, max_size=C))),
        curve=np.array(curve),
        start=np.concatenate(([0], np.cumsum(sizes))),
        value=np.array(draw(st.lists(shares, min_size=N, max_size=N))),
        cost={
            "tokens": np.array(draw(st.lists(costs, min_size=N, max_size=N))),
            "usd": np.array(draw(st.lists(costs, min_size=N, max_size=N))),
        },
        action={
            "model": np.array(draw(st.lists(st.sampled_from(["a", "b"]), min_size=N, max_size=N))),
            "samples": np.array(draw(st.lists(st.integers(1, 9), min_size=N, max_size=N))),
        },
        skip=draw(st.booleans()),
        unusable_cost={
            c: (
                (
                    {"model": draw(st.sampled_from("abc"))},
                    LinearCost({}, {"tokens": draw(costs) / 9}),
                ),
            )
            for c in range(C)
            if curve[c] < 0 and draw(st.booleans())
        },
    )


@settings(max_examples=60, deadline=None)
@given(menus(), st.floats(0, 60), st.booleans())
def test_every_allocation_has_a_table_that_passes_every_check(menu, spare, split):
    cheapest = sum(
        float(w) * float(menu.cost["tokens"][menu.start[m] : menu.start[m + 1]].min())
        for w, m in zip(menu.weight, menu.curve, strict=True)
        if m >= 0
    ) / float(menu.weight.sum())
    budget = spare + (0 if menu.skip and spare else cheapest + 60)
    table = build(allocate(menu, budget, unit="tokens", split=split), created=CREATED)
    assert table.check().findings == ()


def test_a_million_classes_are_no_table(coverage_menu):
    menu = coverage_menu([0.2], key={"problem": ["p"]})
    many = replace(
        menu,
        key={"problem": np.arange(20_001).astype(str)},
        weight=np.ones(20_001),
        curve=np.zeros(20_001, dtype=np.int64),
    )
    with pytest.raises(InputError, match=r"20,001 classes.*at most 20,000 rows.*--class group"):
        build(allocate(many, 2, unit="samples"))


def test_the_value_of_an_unusable_class_with_costs_of_its_own_is_null(coverage_menu):
    menu = coverage_menu([0.3, 0.5], key={"level": ["odd", "easy"]})
    known = (({"model": "m-8b"}, LinearCost({}, {"samples": 1.0, "tokens": 350.0})),)
    menu = replace(menu, curve=np.array([-1, 1]), unusable_cost={0: known})
    table = build(allocate(menu, 700, unit="tokens"), created=CREATED)
    assert table.check().findings == ()
    row = by_id(table.document)["odd"]
    assert row["action"] == table.document["fallback"]["action"]
    assert row["expected"]["value"] == {"mean": None, "infeasible": True}
    assert row["expected"]["resources"]["tokens"] == {"mean": 350.0 * row["action"]["n_samples"]}
    assert row["marginal"] is None
    assert "not known" in row["cautions"][0]["message"]
    easy = by_id(table.document)["easy"]["expected"]["value"]["mean"]
    assert table.document["objective"]["certificate"]["value"] == pytest.approx(easy / 2)
    assert table.lookup(level="odd").expected == row["expected"]


@pytest.mark.parametrize("spelled", [["true", "false"], ["True", "False"], [True, False]])
def test_true_and_false_in_letters_are_booleans(coverage_menu, spelled):
    menu = coverage_menu([0.3, 0.5], key={"verified": spelled})
    table = build(allocate(menu, 700, unit="tokens"), created=CREATED)
    assert table.check().findings == ()
    (feature,) = table.document["key"]["features"]
    assert (feature["dtype"], feature["values"]) == ("boolean", [False, True])
    assert [row["when"] for row in table.document["rows"]] == [
        {"verified": True},
        {"verified": False},
    ]
    for sent in (True, "true", "True", "TRUE", np.True_):
        assert table.lookup(verified=sent).row_id == "verified-true"
    for sent in (False, "false", "False"):
        assert table.lookup(verified=sent).row_id == "verified-false"


def test_text_that_is_not_only_true_and_false_stays_text(coverage_menu):
    for values in (["true", "maybe"], ["true", "True"]):
        menu = coverage_menu([0.3, 0.5], key={"verified": values})
        document = tabled(menu, 700)
        assert document["key"]["features"][0]["dtype"] == "string"
        assert len(document["rows"]) == 2


def test_the_group_of_a_caution_leads_its_message(coverage_menu):
    lost = {"code": "not-identified", "message": "no attempt was right", "group": "model=z"}
    (row,) = tabled(replace(coverage_menu([0.3], key={}), cautions={0: (lost,)}), 700)["rows"]
    assert row["cautions"] == [
        {"code": "not-identified", "message": "model=z: no attempt was right"}
    ]
