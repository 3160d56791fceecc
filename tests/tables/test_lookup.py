from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling.errors import InputError
from scaling.tables import BudgetTable, lookup
from scaling.tables.lookup import Table, TableError, load, parse

HASH = "sha256:" + "0" * 64


def entry(model="m", samples=1, value=0.5, tokens=100.0, **more):
    return {
        "action": {"strategy": "best_of_n", "model": model, "n_samples": samples},
        "expected": {"value": {"mean": value}, "resources": {"tokens": {"mean": tokens}}},
        **more,
    }


def row(row_id, when, **more):
    rung = entry(marginal=0.005)
    return {"row_id": row_id, "when": when, "weight": 1.0, "ladder": [rung], **rung, **more}


def served(features, rows, **more):
    """A document with as much in it as a lookup needs."""
    return {
        "schema_version": "1.0",
        "kind": "scaling-budget-table",
        "table_id": HASH,
        "objective": {"maximise": "coverage", "constraints": [], "priced_resource": "tokens"},
        "key": {"features": features},
        "rows": rows,
        "fallback": entry(model="plain"),
        **more,
    }


LEVEL = {"name": "level", "dtype": "string", "values": ["easy", "hard"]}
BINNED = {"name": "p", "dtype": "number", "bins": [0.2, 0.6]}
SIMPLE = served(
    [LEVEL, BINNED],
    [
        row(f"{level}-{i}", {"level": level, "p": i}, hard_limits={"max_usd": 1.5})
        for level in LEVEL["values"]
        for i in range(3)
    ],
)


@pytest.mark.parametrize(
    ("p", "row_id"),
    [
        (-5, "easy-0"), (0.1999, "easy-0"), (0.2, "easy-1"), ("0.2", "easy-1"), (0.6, "easy-2"),
        ("6e-1", "easy-2"), (10**400, "easy-2"), (np.float64(0.3), "easy-1"), (np.int64(0), "easy-0"),
    ],
)  # fmt: skip
def test_raw_numbers_fall_into_half_open_bins(p, row_id):
    decision = Table(SIMPLE).lookup({"level": "easy", "p": p})
    assert (decision.row_id, decision.reason) == (row_id, None)
    assert decision.hard_limits == {"max_usd": 1.5}
    assert decision.table_id == HASH


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        ({"p": 0.1}, "feature 'level' is missing (given: p)"),
        ({}, "feature 'level' is missing (given: nothing)"),
        ({"level": "odd", "p": 0.1}, "level='odd' is not one of easy, hard"),
        ({"level": 3.5, "p": 0.1}, "level=3.5 is not text"),
        ({"level": "easy", "p": "high"}, "p='high' is not a finite number"),
        ({"level": "easy", "p": float("nan")}, "p=nan is not a finite number"),
        ({"level": "easy", "p": "inf"}, "p='inf' is not a finite number"),
        ({"level": "easy", "p": None}, "p=None is not a finite number"),
        ({"level": "easy", "p": True}, "p=True is not a finite number"),
        ({"level": "easy", "p": [1]}, "p=[1] is not a finite number"),
        ({"level": ["easy"], "p": 1}, "level=['easy'] is not text"),
    ],
)
def test_what_no_row_can_answer_gets_the_fallback_and_the_reason(features, reason):
    decision = Table(SIMPLE).lookup(features)
    assert decision.row_id is None
    assert decision.action["model"] == "plain"
    assert decision.reason == reason


def test_names_that_the_table_does_not_use_are_ignored():
    assert Table(SIMPLE).lookup({"level": "easy", "p": 0, "tenant": "x"}).row_id == "easy-0"


def test_a_request_may_use_the_original_name_of_a_feature():
    feature = {**LEVEL, "path": "Level (1-2)"}
    table = Table(served([feature], [row("r", {"level": "easy"})]))
    assert table.lookup({"Level (1-2)": "easy"}).row_id == "r"
    assert table.lookup({"level": "easy"}).row_id == "r"


@pytest.mark.parametrize(
    ("dtype", "when", "raw", "hit"),
    [
        ("integer", 3, 3, True), ("integer", 3, "3", True), ("integer", 3, 3.0, True),
        ("integer", 3, "3.0", True), ("integer", 3, 3.5, False), ("integer", 3, "x", False),
        ("integer", 1, True, False), ("integer", [2, 3], np.int32(2), True),
        ("integer", {"gte": 2, "lt": 4}, "3", True), ("integer", {"gte": 2, "lt": 4}, 4, False),
        ("integer", 3, 1e400, False),
        ("boolean", True, True, True), ("boolean", True, "true", True), ("boolean", False, "False", True),
        ("boolean", True, 1, False), ("boolean", True, np.bool_(True), True), ("boolean", True, "yes", False),
        ("string", "3", "3", True), ("string", "3", 3, True), ("string", "True", True, False),
        ("string", ["a", "b"], "b", True), ("string", "a", np.str_("a"), True), ("string", "a", "A", False),
        ("number", {"gte": 0.5}, 0.5, True), ("number", {"lt": 0.5}, 0.5, False),
        ("number", 2, 2.0, True), ("number", 2, 2.0000001, False), ("number", {"lt": 0.5}, "-1e300", True),
    ],
)  # fmt: skip
def test_values_are_read_as_the_type_of_the_feature(dtype, when, raw, hit):
    table = Table(served([{"name": "x", "dtype": dtype}], [row("r", {"x": when})]))
    decision = table.lookup({"x": raw})
    assert (decision.row_id == "r") is hit
    assert (decision.reason is None) is hit


def test_a_row_that_does_not_name_a_feature_matches_any_of_it_and_none():
    table = Table(
        served(
            [LEVEL, BINNED], [row("any", {"level": "easy"}), row("low", {"level": "hard", "p": 0})]
        )
    )
    assert table.lookup({"level": "easy", "p": "?"}).row_id == "any"
    assert table.lookup({"level": "easy"}).row_id == "any"
    assert table.lookup({"level": "hard", "p": 0.1}).row_id == "low"
    assert table.lookup({"level": "hard", "p": 0.9}).reason == "no row for level='hard', p=0.9"


def test_a_table_without_features_has_one_row_for_all():
    assert Table(served([], [row("all", {})])).lookup({"x": 1}).row_id == "all"


def test_rows_of_very_many_cells_are_found_too():
    names = [f"v{i}" for i in range(100)]
    table = Table(
        served(
            [{"name": "x", "dtype": "string"}, {"name": "n", "dtype": "integer"}],
            [
                row("wide", {"x": names, "n": {"gte": 0, "lt": 10}}),
                *(row(f"n{i}", {"x": names[i], "n": {"gte": 10 + i}}) for i in range(100)),
            ],
        )
    )
    assert table.lookup({"x": "v99", "n": 9}).row_id == "wide"
    assert table.lookup({"x": "v99", "n": 109}).row_id == "n99"
    assert table.lookup({"x": "v99", "n": 108}).row_id is None


def test_after_valid_until_there_is_only_the_fallback():
    end = datetime(2026, 1, 31, tzinfo=UTC)
    table = Table({**SIMPLE, "valid_until": "2026-01-31T00:00:00Z"})
    query = {"level": "easy", "p": 0}
    assert table.lookup(query, now=end).row_id == "easy-0"
    late = table.lookup(query, now=end + timedelta(seconds=1))
    assert late.row_id is None
    assert late.reason == "the table expired at 2026-01-31T00:00:00Z"
    assert Table({**SIMPLE, "valid_until": "1999-01-01T00:00:00Z"}).lookup(query).row_id is None
    assert Table({**SIMPLE, "valid_until": None}).lookup(query).row_id == "easy-0"


def test_another_predictor_or_an_unknown_model_means_the_fallback():
    feature = {**BINNED, "predictor": {"name": "probe", "sha256": "a" * 64}}
    document = served([feature], [row("r", {"p": [0, 1, 2]})])
    query = {"p": 0.3}
    assert Table(document, predictors={"probe": "a" * 64}).lookup(query).row_id == "r"
    other = Table(document, predictors={"probe": "b" * 64}).lookup(query)
    assert other.row_id is None
    assert other.reason is not None
    assert "predictor 'probe'" in other.reason
    assert Table(document, models=["m"]).lookup(query).row_id == "r"
    assert Table(document, models=["plain"]).lookup(query).reason == (
        "model 'm' of row 'r' is not served here"
    )


LADDER = [
    entry(samples=1, value=0.3, tokens=100.0, marginal=3e-3),
    entry(samples=2, value=0.4, tokens=200.0, marginal=1e-3),
    entry(samples=4, value=0.45, tokens=400.0, marginal=2.5e-4),
]


def climb(**more):
    return Table(served([], [row("r", {}, **LADDER[1], ladder=LADDER, **more)]))


@pytest.mark.parametrize(
    ("price", "samples"),
    [(None, 2), (0, 4), (2.5e-4, 4), (2.6e-4, 2), ("1e-3", 2), (2e-3, 1), (3e-3, 1), (0.1, 1)],
)
def test_a_live_price_serves_the_last_rung_that_is_worth_it(price, samples):
    assert climb().lookup({}, price).action["n_samples"] == samples


def test_above_every_marginal_a_row_abstains_where_it_may():
    decision = climb(may_abstain=True).lookup({}, 0.1)
    assert decision.row_id == "r"
    assert decision.action == {"strategy": "abstain", "model": None, "n_samples": 0}
    assert decision.expected["resources"] == {"tokens": {"mean": 0.0}}
    assert climb(may_abstain=True).lookup({}, 3e-3).action["n_samples"] == 1


def test_a_free_first_rung_is_worth_any_price():
    free = entry(samples=1, tokens=0.0, marginal=None)
    table = Table(served([], [row("r", {}, ladder=[free], may_abstain=True)]))
    assert table.lookup({}, 1e9).action["strategy"] == "best_of_n"


@pytest.mark.parametrize("price", ["dear", -1, float("nan"), float("inf"), True])
def test_a_price_that_is_none_gets_the_fallback(price):
    decision = climb().lookup({}, price)
    assert decision.row_id is None
    assert decision.reason == f"price={price!r} is not a finite number of at least 0"


def test_without_a_priced_resource_a_price_changes_nothing():
    document = climb().document
    document = {**document, "objective": {**document["objective"], "priced_resource": None}}
    assert Table(document).lookup({}, 0.1).action["n_samples"] == 2


@given(st.lists(st.floats(0, 1e-1), min_size=2, max_size=30))
def test_spending_never_rises_with_the_price(table, prices):
    server = Table(parse(table.to_json()))
    for level, p in [("easy", 0.1), ("easy", 0.9), ("hard", 0.3)]:
        spent = [
            server.lookup({"level": level, "difficulty": p}, price).expected["resources"]["tokens"][
                "mean"
            ]
            for price in sorted(prices)
        ]
        assert all(low >= high for low, high in pairwise(spent))


def test_a_divided_row_is_served_by_its_shares():
    split = [{"rung": 0, "share": 0.25}, {"rung": 2, "share": 0.75}]
    table = climb(split=split)
    drawn = [table.lookup({}, draw=i / 1000).action["n_samples"] for i in range(1000)]
    assert drawn == [1] * 250 + [4] * 750
    at_random = [table.lookup({}).action["n_samples"] for _ in range(400)]
    assert 40 <= at_random.count(1) <= 160  # within six standard errors of a quarter
    assert at_random.count(1) + at_random.count(4) == 400
    assert table.lookup({}, 0.0, draw=0.1).action["n_samples"] == 4  # a price decides instead
    with pytest.raises(TableError, match="not in"):
        table.lookup({}, draw=1.0)


def test_what_the_shares_leave_abstains():
    table = climb(split=[{"rung": 0, "share": 0.25}], may_abstain=True)
    drawn = [table.lookup({}, draw=i / 8).action["strategy"] for i in range(8)]
    assert drawn == ["best_of_n"] * 2 + ["abstain"] * 6


def test_a_decision_is_the_callers_own():
    table = Table(SIMPLE)
    for query in ({"level": "easy", "p": 0}, {}):
        before = table.lookup(query)
        changed = table.lookup(query)
        changed.action.clear()
        changed.expected["resources"]["tokens"]["mean"] = -1
        changed.hard_limits["max_usd"] = 0
        assert table.lookup(query) == before


def test_threads_share_a_table():
    table = Table(SIMPLE)
    queries = [
        {"level": level, "p": p / 10} for level in ("easy", "hard", "odd") for p in range(10)
    ]
    alone = [table.lookup(query, 1e-3) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda query: table.lookup(query, 1e-3), queries * 20)) == alone * 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[1, 2", "not JSON"),
        ("3", "kind is 'int'"),
        ("{}", "kind is None"),
        ('{"kind": "scaling-fit"}', "kind is 'scaling-fit'"),
        ('{"kind": "scaling-budget-table", "schema_version": "2.0"}', "knows 1.x"),
        ('{"kind": "scaling-budget-table", "schema_version": "1.0"}', "does not hold together"),
        ('{"weight": NaN}', "holds NaN"),
        ('{"weight": -Infinity}', "holds -Infinity"),
        ('{"weight": 1e999}', "beyond the largest"),
        ('{"kind": 1, "kind": 2}', "'kind' twice"),
        ("1" * 5000, "cannot be read"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_a_reason(tmp_path, text, message):
    path = tmp_path / "table.json"
    path.write_text(text)
    with pytest.raises(TableError, match=r"Cannot serve .*table\.json") as caught:
        load(path)
    assert message in str(caught.value)


def test_binary_rubbish_and_missing_files_are_refused(tmp_path):
    path = tmp_path / "table.json"
    path.write_bytes(b"\x93NUMPY\xff\xfe")
    with pytest.raises(TableError, match="not UTF-8"):
        load(path)
    with pytest.raises(TableError, match=r"Cannot read .*No such file"):
        load(tmp_path / "none.json")


@pytest.mark.parametrize(
    "broken",
    [
        {"rows": None},
        {"key": {"features": [{"name": "level"}]}},
        {"rows": [row("r", {"tier": 1})]},
        {"rows": [row("r", {}, split=[{"rung": 7, "share": 1}])]},
        {"rows": [row("r", {}, ladder=[])]},
        {"rows": [row("r", {}, action=None)]},
        {"fallback": {}},
        {"valid_until": "tomorrow"},
    ],
)
def test_a_table_that_does_not_hold_together_is_refused_before_it_serves(broken):
    with pytest.raises(TableError):
        Table({**SIMPLE, **broken})


@pytest.fixture
def alone(tmp_path, table):
    """The one file and a table, with nothing else around."""
    shutil.copy(Path(lookup.__file__), tmp_path / "lookup.py")
    table.save(tmp_path / "table.json")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-I", "-S", "lookup.py", "table.json", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("arguments", "features", "options"),
    [
        (["level=hard", "difficulty=0.5"], {"level": "hard", "difficulty": 0.5}, {}),
        (
            ["--price", "2e-5", "level=easy", "difficulty=0.1"],
            {"level": "easy", "difficulty": 0.1},
            {"price": 2e-5},
        ),
        (
            ["level=easy", "difficulty=0.1", "--price", "1"],
            {"level": "easy", "difficulty": 0.1},
            {"price": 1},
        ),
        (["level=odd", "difficulty=1"], {"level": "odd", "difficulty": "1"}, {}),
        ([], {}, {}),
    ],
)
def test_the_file_serves_a_table_when_copied_alone(alone, table, arguments, features, options):
    done = alone(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    expected = table.lookup(features, **options)
    assert json.loads(done.stdout) == json.loads(expected.to_json())


@pytest.mark.parametrize("arguments", [["level"], ["level=hard", "--draw", "2"]])
def test_alone_it_refuses_bad_arguments_in_one_message(alone, arguments):
    done = alone(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_looking_up_and_checking_import_nothing_heavy(tmp_path, table):
    path = table.save(tmp_path / "table.json")
    code = (
        "import sys\n"
        "from scaling.tables import BudgetTable\n"
        f"table = BudgetTable.load({str(path)!r})\n"
        "table.lookup(level='hard', difficulty=0.5)\n"
        "assert 'jsonschema' not in sys.modules\n"
        "assert table.check().ok\n"
        "print(sorted({'jax', 'numpy', 'pandas', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 3))
def test_many_rows_are_told_apart_by_their_keys(seed, width):
    rng = np.random.default_rng(seed)
    names = [f"k{i}" for i in range(width)]
    chosen = np.unique(rng.integers(0, 30, (300, width)), axis=0).tolist()
    rows = [row("-".join(map(str, key)), dict(zip(names, key, strict=True))) for key in chosen]
    table = Table(served([{"name": name, "dtype": "integer"} for name in names], rows))
    for key in rng.integers(0, 30, (50, width)).tolist():
        expected = "-".join(map(str, key)) if key in chosen else None
        assert table.lookup(dict(zip(names, key, strict=True))).row_id == expected


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("objective", "maximise"), None, "$.objective.maximise is null; it must be text"),
        (("rows", 0, "ladder", 0, "expected", "value"), ..., "ladder[0].expected.value is missing"),
        (("rows", 0, "expected", "value"), 3, "$.rows[0].expected.value is 3; it must be an obj"),
        (("rows", 0, "expected", "value", "mean"), "x", 'value.mean is "x"; it must be a number'),
        (("rows", 0, "expected", "value", "interval"), [1], "interval is [1]; it must be two"),
        (("rows", 0, "expected", "resources", "tokens"), None, "resources.tokens is null"),
        (("rows", 0, "hard_limits"), [1], "$.rows[0].hard_limits is [1]"),
        (("fallback", "action"), ..., "$.fallback.action is missing"),
        (("table_id",), 7, "$.table_id is 7; it must be text"),
    ],
)
def test_a_damaged_document_is_refused_by_place(document, place, value, message):
    *parents, last = place
    whole = document
    for name in parents:
        whole = whole[name]
    if value is ...:
        del whole[last]
    else:
        whole[last] = value
    table = BudgetTable.from_document(document)
    with pytest.raises(InputError) as caught:
        table.lookup(level="hard", difficulty=0.1)
    assert message in str(caught.value)
    assert "scaling table check" in str(caught.value)
