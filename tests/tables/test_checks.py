from __future__ import annotations

import json
from copy import deepcopy

import pytest
from jsonschema import Draft202012Validator

from scaling.tables import BudgetTable
from scaling.tables.canonical import table_id
from scaling.tables.check import check, guarantees, report, schema
from scaling.tables.rules import CHECKS


def _set(*path_and_value):
    """A mutation that puts a value at a path."""
    *path, last, value = path_and_value

    def mutate(document):
        place = document
        for step in path:
            place = place[step]
        place[last] = value

    return mutate


def _also(*mutations):
    def mutate(document):
        for each in mutations:
            each(document)

    return mutate


def _swap_rungs(document):
    ladder = document["rows"][0]["ladder"]
    ladder[0], ladder[1] = ladder[1], ladder[0]


def _level_rung(document):
    """The last rung's value is that of the rung before, and a little less."""
    ladder = document["rows"][0]["ladder"]
    ladder[-1]["expected"]["value"]["mean"] = ladder[-2]["expected"]["value"]["mean"] - 1e-6


def _convex(document):
    """A ladder whose marginals are right, and rise."""
    row = document["rows"][0]
    low, high = row["ladder"][:2]
    del row["ladder"][2:]
    for rung, value, tokens, marginal in ((low, 0.1, 300, 0.1 / 300), (high, 0.9, 600, 0.8 / 300)):
        rung["expected"]["value"] = {"mean": value}
        rung["expected"]["resources"]["tokens"] = {"mean": tokens}
        rung["marginal"] = marginal


def _halve_marginal(document):
    document["rows"][2]["ladder"][0]["marginal"] /= 2


def _remove_row(document):
    weight = document["rows"].pop()["weight"]
    document["rows"][0]["weight"] += weight


LIMITS_KEPT = {"property": "engine_limits_respected", "verified": True}

MUTATIONS = {
    "non-finite": _set("objective", "certificate", "value", float("nan")),
    "schema": _set("rows", 0, "action", "strategy", "guess"),
    "feature-repeated": lambda d: d["key"]["features"].append(d["key"]["features"][0]),
    "row-id-repeated": lambda d: d["rows"][1].update(row_id=d["rows"][0]["row_id"]),
    "bins-order": _set("key", "features", 1, "bins", [0.6, 0.6]),
    "feature-values": _set("key", "features", 0, "values", ["hard", "easy", 3]),
    "when-empty": _set("rows", 0, "when", {}),
    "when-feature": _set("rows", 0, "when", "tier", "gold"),
    "when-type": _set("rows", 0, "when", "level", 3),
    "when-bin": _set("rows", 0, "when", "difficulty", 3),
    "when-range": _set("rows", 0, "when", "difficulty", {"gte": 0.1, "lt": 0.2}),
    "rows-overlap": _set("rows", 0, "when", "difficulty", [0, 1]),
    "key-space-gap": _remove_row,
    "weights": _set("rows", 0, "weight", 0.9),
    "share-range": _set("rows", 2, "expected", "coverage", "interval", [-0.1, 1.0]),
    "interval": _set("rows", 0, "expected", "value", "interval", [1.0, 0.0]),
    "mean-missing": _set("fallback", "expected", "coverage", "mean", None),
    "resource-negative": _set("fallback", "expected", "resources", "tokens", "mean", -1),
    "value-differs": _set("fallback", "expected", "coverage", "mean", 0.999),
    "hard-limit": _set("rows", 2, "hard_limits", {"max_total_tokens": 100}),
    "ladder-order": _swap_rungs,
    "ladder-value": _level_rung,
    "oracle-unmarked": _set("rows", 2, "ladder", 1, "expected", "assumes_oracle_verifier", False),
    "ladder-marginal": _halve_marginal,
    "ladder-concave": _convex,
    "row-marginal": _set("rows", 2, "marginal", 0.5),
    "action-off-ladder": _set("rows", 2, "action", "n_samples", 99),
    "split": lambda d: next(r for r in d["rows"] if r.get("split"))["split"][0].update(share=0.99),
    "constraint-parts": _set("objective", "constraints", 0, "rows", ["nobody"]),
    "target": _set(
        "objective",
        "target",
        {"value": 0.1, "resource": "tokens", "cost": 1.0, "bound": 1.0, "relative_gap": 0.0},
    ),
    "realised": _set("objective", "constraints", 0, "realised", 1.0),
    "limit": _set("objective", "constraints", 0, "limit", 100.0),
    "certificate": _set("objective", "certificate", "bound", 0.1),
    "below-uniform": _set("objective", "certificate", "uniform_value", 0.99),
    "risk": _set(
        "objective", "risk", {"draws": 9, "regret": {"mean": 0.1, "q90": 0.3, "q95": 0.2}}
    ),
    "net-value": _set("objective", "maximise", "net_value"),
    "model": _set("rows", 0, "ladder", 0, "action", "model", None),
    "single-samples": _set(
        "fallback", "action", {"strategy": "single", "model": "m", "n_samples": 2}
    ),
    "stop-rule": _set("fallback", "action", "stop_rule", {"kind": "posterior"}),
    "stop-failures": _set(
        "fallback", "action", "stop_rule", {"kind": "first_accepted", "failures": 99}
    ),
    "stop-threshold": _set(
        "rows", 2, "ladder", 1, "action", "stop_rule", {"kind": "first_accepted", "threshold": 0.5}
    ),
    "fallback-dear": _set("fallback", "expected", "resources", "tokens", "mean", 1e6),
    "engine-limits": lambda d: d["guarantees"].append(LIMITS_KEPT),
    "date-time": _set("created", "2026-02-30T12:00:00Z"),
    "valid-until": _set("valid_until", "2026-01-31T13:00:00+02:00"),
    "guarantee-repeated": lambda d: d["guarantees"].append(d["guarantees"][0]),
    "table-id": _set("table_id", "sha256:" + "0" * 64),
}


def codes(document):
    return {finding.code for finding in check(document)}


def test_every_check_has_a_mutation_below():
    assert set(MUTATIONS) == {"non-finite", "schema", *CHECKS}


def test_a_built_table_passes_every_check(document):
    assert check(document) == []
    found = report(document)
    assert found.ok
    assert all(found.guarantees.values())
    assert json.loads(found.to_json()) == {
        "ok": True, "findings": [], "guarantees": dict(found.guarantees),
    }  # fmt: skip


@pytest.mark.parametrize("code", MUTATIONS)
def test_a_check_finds_what_it_is_for(document, code):
    MUTATIONS[code](document)
    if code not in {"table-id", "non-finite"}:
        document["table_id"] = table_id(document)
    found = [finding for finding in check(document) if finding.code == code]
    assert found, f"{code} is not among {codes(document)}"
    assert all(finding.where.startswith("$") and finding.message for finding in found)


def test_a_finding_says_where(document):
    document["rows"][2]["action"]["n_samples"] = 99
    document["table_id"] = table_id(document)
    (finding,) = check(document)
    assert finding.code == "action-off-ladder"
    assert finding.where == "$.rows[2].action"
    assert document["rows"][2]["row_id"] in finding.message


MORE = {
    "a range without end on text": ("when-range", _set("rows", 0, "when", "level", {"gte": 1})),
    "a boolean as a bin": ("when-bin", _set("rows", 0, "when", "difficulty", True)),
    "a value that is not listed": ("when-type", _set("rows", 0, "when", "level", "odd")),
    "bins on text": ("bins-order", _set("key", "features", 0, "bins", [1])),
    "a null marginal": ("ladder-marginal", _set("rows", 2, "ladder", 1, "marginal", None)),
    "a rung without the priced resource": (
        "ladder-order",
        lambda d: d["rows"][0]["ladder"][0]["expected"]["resources"].pop("tokens"),
    ),
    "no priced resource": ("ladder-order", _set("objective", "priced_resource", None)),
    "a share of a rung that is not there": (
        "split",
        lambda d: next(r for r in d["rows"] if r.get("split"))["split"][0].update(rung=40),
    ),
    "an interval without its mean": (
        "interval",
        _set("rows", 0, "ladder", 0, "expected", "value", "interval", [0.98, 0.99]),
    ),
    "a gap that is not the gap": (
        "certificate",
        _set("objective", "certificate", "relative_gap", 0.25),
    ),
    "a value that is not the rows'": (
        "certificate",
        _set("objective", "certificate", "value", 0.3),
    ),
    "a least accuracy that is missed": (
        "limit",
        lambda d: d["objective"]["constraints"].append(
            {"resource": "tokens", "scope": "average", "sense": "min", "limit": 1e6}
        ),
    ),
    "a total for no number of queries": (
        "limit",
        lambda d: d["objective"]["constraints"].append(
            {"resource": "tokens", "scope": "total", "sense": "max", "limit": 1e9}
        ),
    ),
    "a latency that nothing states": (
        "limit",
        lambda d: d["objective"]["constraints"].append(
            {"resource": "latency_p95_s", "scope": "each", "sense": "max", "limit": 1e9}
        ),
    ),
    "the first accepted, by whom": (
        "stop-rule",
        _set("fallback", "action", "stop_rule", {"kind": "first_accepted"}),
    ),
    "failures that a posterior counts": (
        "stop-failures",
        _set(
            "rows", 0, "action", "stop_rule", {"kind": "posterior", "threshold": 1, "failures": 1}
        ),
    ),
    "a threshold at the end of the ladder": (
        "stop-threshold",
        _set(
            *("rows", 2, "ladder", -1, "action", "stop_rule"),
            {"kind": "first_accepted", "failures": 1, "threshold": 0.5},
        ),
    ),
    "an abstaining model": (
        "model",
        _set("fallback", "action", {"strategy": "abstain", "model": "m", "n_samples": 0}),
    ),
    "an instant without a zone": ("date-time", _set("valid_until", "2026-03-01T12:00:00")),
    "a day that is none": (
        "date-time",
        _set("provenance", "data", 0, "collected", "2026-02-30"),
    ),
    "abstention where it is not allowed": (
        "action-off-ladder",
        _also(
            _set("rows", 0, "may_abstain", False),
            _set("rows", 0, "action", {"strategy": "abstain", "model": None, "n_samples": 0}),
        ),
    ),
    "a guarantee of a uniform value that is not given": (
        "below-uniform",
        _set("objective", "certificate", "uniform_value", None),
    ),
    "an accuracy that the rung does not have": (
        "action-off-ladder",
        _also(
            _set("rows", 2, "expected", "ceiling", {"mean": 0.9}),
            _set("rows", 2, "ladder", 2, "expected", "ceiling", {"mean": 0.8}),
            _set("rows", 2, "ladder", 1, "expected", "ceiling", {"mean": 0.8}),
            _set("rows", 2, "ladder", 0, "expected", "ceiling", {"mean": 0.8}),
        ),
    ),
    "a negative latency": (
        "resource-negative",
        _set("rows", 0, "expected", "latency_s", {"mean": -1}),
    ),
    "a fallback above its own cap": (
        "hard-limit",
        _set("fallback", "hard_limits", {"max_total_tokens": 1}),
    ),
    "a margin that does not fit": ("limit", _set("objective", "constraints", 0, "margin", 10.0)),
    "a CVaR above its bound": (
        "risk",
        _set(
            "objective",
            "risk",
            {"draws": 9, "cvar": {"level": 0.9, "value": 0.5, "bound": 0.4, "relative_gap": 0}},
        ),
    ),
    "a gap of a CVaR that is not the gap": (
        "risk",
        _set(
            "objective",
            "risk",
            {"draws": 9, "cvar": {"level": 0.9, "value": 0.5, "bound": 0.6, "relative_gap": 0}},
        ),
    ),
    "an uncertainty over no draws": (
        "risk",
        _set("rows", 0, "uncertainty", {"p_best": 0.5, "regret": 0.1}),
    ),
    "an abstention with samples": (
        "single-samples",
        _set("fallback", "action", {"strategy": "abstain", "model": None, "n_samples": 3}),
    ),
    "a vote of nobody": (
        "single-samples",
        _set("fallback", "action", {"strategy": "self_consistency", "model": "m", "n_samples": 0}),
    ),
    "a target of unknown limits": (
        "engine-limits",
        _also(_set("targets", ["abacus"]), lambda d: d["guarantees"].append(LIMITS_KEPT)),
    ),
    "an unknown field": ("schema", _set("rows", 0, "colour", "red")),
}


@pytest.mark.parametrize("name", MORE)
def test_checks_find_the_rarer_faults(document, name):
    code, mutate = MORE[name]
    mutate(document)
    document["table_id"] = table_id(document)
    assert code in codes(document)


@pytest.mark.parametrize(
    ("prop", "mutate"),
    [
        ("rows_cover_key_space", _remove_row),
        ("fallback_not_dearest", MUTATIONS["fallback-dear"]),
        ("not_worse_than_uniform", MUTATIONS["below-uniform"]),
    ],
)
def test_some_guarantees_are_errors_only_where_they_are_claimed(document, prop, mutate):
    code = next(each.code for each in CHECKS.values() if each.guarantee == prop)
    mutate(document)
    assert code in codes(document)
    assert not report(document).guarantees[prop]
    for each in document["guarantees"]:
        each["verified"] = each["verified"] and each["property"] != prop
    assert code not in codes(document)


@pytest.mark.parametrize(
    ("target", "field", "value"),
    [
        ("anthropic", "max_thinking_tokens", 512),
        ("openai", "max_thinking_tokens", 4096),
        ("gemini", "cap", "hard"),
        ("gemini", "effort", "max"),
        ("its-hub", "n_samples", 1001),
    ],
)
def test_engine_limits_are_kept_or_not(document, target, field, value):
    document["targets"] = [target, "vllm"]
    document["guarantees"].append(LIMITS_KEPT)
    document["table_id"] = table_id(document)
    assert check(document) == []
    assert report(document).guarantees["engine_limits_respected"]
    document["fallback"]["action"][field] = value
    found = [each for each in check(document) if each.code == "engine-limits"]
    assert [each.where for each in found] == [f"$.fallback.action.{field}"]
    assert str(value) in found[0].message
    document["targets"] = ["vllm"]
    assert "engine-limits" not in codes(document)


def test_a_table_of_a_newer_minor_version_may_have_fields_that_are_not_known_here(document):
    document["rows"][0]["colour"] = "red"
    document["schema_version"] = "1.9"
    document["table_id"] = table_id(document)
    assert check(document) == []


@pytest.mark.parametrize("thing", [None, [], 3, "table", {}, {"kind": "scaling-fit"}])
def test_what_is_no_table_fails_the_schema_and_nothing_else_is_tried(thing):
    found = check(thing)
    assert found
    assert {finding.code for finding in found} == {"schema"}


def test_findings_of_the_schema_stand_in_one_order(document):
    document["rows"] = [deepcopy(document["rows"][0]) for _ in range(11)]
    for row in document["rows"]:
        used = row["expected"]["resources"]
        row["expected"]["resources"] = dict.fromkeys(sorted(used, reverse=True))
    places = [each.where for each in check(document)]
    names = sorted(used)
    assert len(names) > 1
    assert places == [f"$.rows[{i}].expected.resources.{n}" for i in range(11) for n in names]


def test_many_findings_of_one_kind_are_counted(document):
    document["rows"] = [deepcopy(document["rows"][0]) for _ in range(60)]
    found = [each for each in check(document) if each.code == "row-id-repeated"]
    assert len(found) == 21
    assert "39 more" in found[-1].message


def test_guarantees_say_what_is_wrong(document):
    _remove_row(document)
    wrong = guarantees(document)["rows_cover_key_space"]
    assert wrong is not None
    assert "level = 'easy', difficulty >= 0.6" in wrong


def test_the_shipped_schema_is_a_schema():
    Draft202012Validator.check_schema(schema())
    assert schema()["$id"] == "urn:scaling:budget-table:1.0"


def test_a_table_read_back_is_as_sound(table):
    assert BudgetTable.from_json(table.to_json()).check() == table.check()
