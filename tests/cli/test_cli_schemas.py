"""Documents against their schemas: real ones fit, and nothing that breaks one does."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

import scaling
from scaling.allocators import Limit, PriceController, allocate, allocate_stream, frontier
from scaling.allocators.explain import STANDINGS, explain
from scaling.allocators.explain import document as explanations
from scaling.allocators.query_menus import Coverage
from scaling.cli.schema import SCHEMAS
from scaling.curves import Menu, over_samples
from scaling.data.catalogue.hardware import HARDWARE
from scaling.data.catalogue.models import NAMES
from scaling.tables.build import build
from scaling.tables.diff import CAUSES, diff

CLOSED = (
    *("prediction", "cost", "allocation", "frontier", "explanation", "stream"),
    *("controller", "diff"),
)
"""Schemas that allow nothing that they do not name."""

OPTIONAL = {
    "prediction": {"siblings"},
    "allocation": {"regret", "cvar"},
    "diff": {"queries", "confidence"},
    "cost": {
        *("kv_heads", "head_dim", "ffn_width", "tied_embeddings", "experts", "experts_per_token"),
        *("expert_width", "shared_width", "shared_gate", "dense_layers", "latent", "linear"),
        *("kinds", "window", "gated_attention", "layer_vectors", "linear_vectors"),
        *("router_vectors", "expert_vectors", "max_context"),
        *("capacity", "intra_node", "inter_node", "tdp", "price_per_hour"),
    },
}
"""Fields that a document may lack."""

ROOT = Path(scaling.__file__).parent
TOKENS = ("--budget", "800", "--unit", "tokens")


def schema_of(name: str) -> dict[str, Any]:
    return json.loads(ROOT.joinpath(*SCHEMAS[name]).read_text(encoding="utf-8"))


def faults(name: str, document: Any) -> list[str]:
    found = Draft202012Validator(schema_of(name)).iter_errors(document)
    return [f"{each.json_path}: {each.message}" for each in found]


def printed(done: Any) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout, parse_constant=pytest.fail)


def plain(document: Any) -> Any:
    """What is read back of what is written."""
    return json.loads(json.dumps(document, allow_nan=False))


# --- what breaks a document --------------------------------------------------------------------


def answering(schema: dict[str, Any], part: dict[str, Any], value: Any) -> dict[str, Any]:
    """What a value answers to in a part of a schema: references followed, alternatives chosen."""
    if "$ref" in part:
        return answering(schema, schema["$defs"][part["$ref"].rpartition("/")[2]], value)
    for each in part.get("oneOf", ()):
        if Draft202012Validator({**each, "$defs": schema.get("$defs", {})}).is_valid(value):
            return answering(schema, each, value)
    return part


def broken(schema: dict[str, Any], document: Any) -> Iterator[tuple[str, Any]]:
    """The document with one required field less, one unknown more, or one of a wrong type.

    Of the entries of a list, or of what has no name of its own, the first stands for all.
    """

    def changed(path: tuple[Any, ...], change: Callable[[Any], None]) -> Any:
        whole = copy.deepcopy(document)
        at = whole
        for step in path:
            at = at[step]
        change(at)
        return whole

    def walk(part: dict[str, Any], value: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
        part = answering(schema, part, value)
        where = "$" + "".join(f".{step}" for step in path)
        if isinstance(value, dict):
            named = part.get("properties", {})
            for name in part.get("required", ()):
                yield f"{where} without {name}", changed(path, lambda at, n=name: at.pop(n))
            if part.get("additionalProperties") is False:
                yield f"{where} with more", changed(path, lambda at: at.update(surprise=1))
            rest = part.get("additionalProperties")
            free = [name for name in value if name not in named][:1]
            for name in [*(n for n in value if n in named), *free]:
                inner = named.get(name, rest)
                if not isinstance(inner, dict) or not set(inner) - {"description"}:
                    continue
                yield (
                    f"{where}.{name} of a wrong type",
                    changed(path, lambda at, n=name: at.update({n: [["surprise"]]})),
                )
                yield from walk(inner, value[name], (*path, name))
        elif isinstance(value, list) and value and "items" in part:
            yield (
                f"{where}[0] of a wrong type",
                changed(path, lambda at: at.__setitem__(0, [["surprise"]])),
            )
            yield from walk(part["items"], value[0], (*path, 0))

    yield from walk(schema, document, ())


def hold(name: str, document: Any, *, least: int = 10) -> None:
    """The document fits its schema, and none that is broken does."""
    assert not faults(name, document)
    check = Draft202012Validator(schema_of(name))
    tried = 0
    for what, wrong in broken(schema_of(name), document):
        assert not check.is_valid(wrong), f"{name}: {what}"
        tried += 1
    assert tried >= least


# --- the schemas -------------------------------------------------------------------------------


def nodes(part: Any, path: str = "$") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(part, dict):
        yield path, part
        for name, each in part.items():
            yield from nodes(each, f"{path}.{name}")
    elif isinstance(part, list):
        for i, each in enumerate(part):
            yield from nodes(each, f"{path}[{i}]")


@pytest.mark.parametrize("name", CLOSED)
def test_every_field_says_what_it_is(name: str) -> None:
    whole = schema_of(name)
    for path, part in nodes(whole):
        if path.endswith(".if"):
            continue
        for field, each in part.get("properties", {}).items():
            means = each.get("items", each) if "description" not in each else each
            if "$ref" in means:
                means = whole["$defs"][means["$ref"].rpartition("/")[2]]
            assert means.get("description"), f"{path}.{field}"


@pytest.mark.parametrize("name", CLOSED)
def test_closed_and_nothing_optional_that_is_always_there(name: str) -> None:
    optional = set()
    for path, part in nodes(schema_of(name)):
        if part.get("type") != "object" or path.endswith(".properties"):
            continue
        if "properties" in part and part.get("additionalProperties") is not False:
            assert name == "diff"  # a part of a divided row is an action and a share
            assert set(part["properties"]) == {"share"}
        optional |= set(part.get("properties", ())) - set(part.get("required", ()))
    assert optional == OPTIONAL.get(name, set())


def test_every_kind_of_document_has_a_schema() -> None:
    kinds = {schema_of(name)["properties"].get("kind", {}).get("const") for name in SCHEMAS}
    stated = re.compile(r'(?:"kind": |KIND = |head\(self\.fit, )"(scaling-[a-z-]+)"')
    written = {
        kind
        for source in ROOT.rglob("*.py")
        for kind in stated.findall(source.read_text(encoding="utf-8"))
    }
    assert written == kinds - {None}


def test_enumerations_are_those_of_the_code() -> None:
    rows = schema_of("diff")["properties"]["rows"]["items"]["properties"]
    assert rows["causes"]["items"]["enum"] == list(CAUSES)
    classes = schema_of("explanation")["properties"]["classes"]["items"]["properties"]
    assert classes["standing"]["enum"] == list(STANDINGS)


# --- on the command line -----------------------------------------------------------------------


@pytest.fixture
def both(run, counts: Path) -> Path:
    """A fit document of two models."""
    path = counts.with_name("both.json")
    args = ("--law", "beta-binomial", "--by", "model", "--replicates", 40, "-o", path)
    assert run("fit", counts, *args).exit_code == 0
    return path


@pytest.mark.parametrize(
    "args",
    [
        ("--at", "samples=1,10,1000"),
        ("--at", "samples=4", "--estimand", "benchmark"),
        ("--at", "samples=1000", "--beyond", "law"),
        ("--target", "0.9"),
        ("--target", "0.999999"),
    ],
)
def test_predictions(run, fit: Path, args: tuple[str, ...]) -> None:
    found = printed(run("predict", fit, *args, "--json"))
    hold("prediction", found)
    if "0.999999" in args:
        assert any(row["reason"] for group in found["groups"] for row in group["predictions"])


def test_predictions_of_a_group_that_is_not_usable(run, tmp_path: Path) -> None:
    path, log = tmp_path / "f.json", tmp_path / "one.csv"
    log.write_text("problem,n,c\na,4,0\nb,4,0\nc,4,0\n")
    run("fit", log, "--law", "beta-binomial", "--replicates", 40, "-o", path)
    done = run("predict", path, "--at", "samples=2", "--beyond", "law", "--json")
    assert done.exit_code == 3
    found = json.loads(done.stdout)
    assert found["groups"][0]["predictions"][0]["estimate"] is None
    hold("prediction", found)


@pytest.mark.parametrize(
    ("args", "explained"),
    [
        (TOKENS, ("easy", "hard")),
        ((*TOKENS, "--allow-skip", "--split"), ("hard",)),
        (("--budget", "50", "--unit", "tokens", "--allow-skip"), ("hard",)),
        (("--budget", "1e6", "--unit", "tokens"), ("easy",)),
        ((*TOKENS, "--limit", "usd=0.002", "--usd-per-sample", "0.001",
          "--tokens-per-sample", "100"), ("easy", "hard")),
        (("--target-value", "0.6", "--unit", "tokens"), ("hard",)),
        ((*TOKENS, "--cvar", "0.9"), ("easy",)),
    ],
)  # fmt: skip
def test_explanations(run, fit: Path, args: tuple[str, ...], explained: tuple[str, ...]) -> None:
    asked = [word for name in explained for word in ("--explain", name)]
    found = printed(run("allocate", fit, *args, *asked, "--json"))
    assert [each["class"] for each in found["classes"]] == [{"level": name} for name in explained]
    assert found["maximise"] == "coverage"
    hold("explanation", found)


def test_explanations_of_one_class_of_two_models(run, both: Path) -> None:
    found = printed(run("allocate", both, *TOKENS, "--explain", "all", "--json"))
    assert found["classes"][0]["class"] == {}
    hold("explanation", found)


@pytest.mark.parametrize(
    "args",
    [
        ("--unit", "tokens"),
        ("--unit", "tokens", "--allow-skip", "--split", "--limit", "samples:p90=9"),
        ("--unit", "samples", "--limit", "tokens=900", "--limit", "tokens:each=2000",
         "--floor", "level=hard:0.1", "--budgets", "3,5,9"),
        ("--unit", "samples", "--limit", "tokens:total=90000", "--queries", "100"),
    ],
)  # fmt: skip
def test_frontiers(run, fit: Path, args: tuple[str, ...]) -> None:
    if "--queries" in args:
        # a frontier has no number of queries: a total beside it is refused
        assert run("allocate", fit, "--frontier", *args, "--json").exit_code == 2
        return
    hold("frontier", printed(run("allocate", fit, "--frontier", *args, "--json")))


@pytest.mark.parametrize(
    "args",
    [
        ("--budget", "1600", "--unit", "tokens"),
        ("--budget", "4", "--unit", "samples", "--allow-skip", "--split"),
        (*TOKENS, "--limit", "samples:p90=9", "--limit", "samples:each=20", "--floor", "0.3"),
        (*TOKENS, "--cvar", "0.9", "--cost-confidence", "0.95"),
        (*TOKENS, "--seed", "3", "--per", "total", "--queries", "10", "--budget", "9000"),
    ],
)
def test_diffs(run, fit: Path, table: Path, args: tuple[str, ...]) -> None:
    new = fit.with_name("new.json")
    assert run("allocate", fit, *args, "-o", new).exit_code == 0
    for pair in ((table, new), (new, table)):
        found = printed(run("table", "diff", *pair, "--json"))
        assert found["inputs"]
        hold("diff", found)


def test_diffs_of_tables_of_other_classes(run, both: Path, table: Path) -> None:
    new = both.with_name("new.json")
    assert run("allocate", both, "--budget", 1600, "--unit", "tokens", "-o", new).exit_code == 0
    found = printed(run("table", "diff", table, new, "--json"))
    assert {row["status"] for row in found["rows"]} == {"added", "removed"}
    hold("diff", found)
    same = printed(run("table", "diff", table, table, "--json"))
    assert same["same"]
    hold("diff", same)


COST = ("--in", "300", "--out", "8000", "--samples", "4", "--json")


@pytest.mark.parametrize("name", NAMES)
def test_costs_of_every_model(run, name: str) -> None:
    assert not faults("cost", printed(run("cost", name, "h200_sxm", *COST, "--tp", 64)))


@pytest.mark.parametrize("name", list(HARDWARE))
def test_costs_on_every_accelerator(run, name: str) -> None:
    dtype = "bf16" if "bf16" in HARDWARE[name].flops else next(iter(HARDWARE[name].flops))
    found = printed(run("cost", "Qwen3-0.6B", name, *COST, "--dtype", dtype))
    assert not faults("cost", found)
    assert (found["totals"]["joules"] is None) == (HARDWARE[name].tdp is None)


@pytest.mark.parametrize(
    "args",
    [
        ("--kv-budget", "1024", "--block", "16", "--apart"),
        ("--mode", "published", "--n-share", "8"),
        ("--composition", "p-norm:2", "--price-per-hour", "4", "--intensity", "200"),
        ("--composition", "max", "--dtype", "fp8", "--kv-dtype", "fp4", "--prefill", "each"),
    ],
)
def test_costs_of_other_settings(run, args: tuple[str, ...]) -> None:
    found = printed(run("cost", "Qwen3-8B", "h100_sxm", *COST, *args))
    assert (found["totals"]["usd"] is None) == ("--price-per-hour" not in args)
    hold("cost", found, least=40)


# --- in Python ---------------------------------------------------------------------------------


def menu(**fields: Any) -> Menu:
    k = np.arange(1, 25)
    return over_samples(
        -np.expm1(np.log1p(-np.array([0.5, 0.1, 0.004]))[:, None] * k),
        k,
        **{
            "key": {"level": np.array(["easy", "medium", "hard"])},
            "weight": np.array([5.0, 3.0, 2.0]),
            "curve": np.array([0, 1, 2]),
            "cost": {"samples": k * 1.0, "tokens": k * 500.0, "seconds": k * 2.0},
            "model": "m",
            **fields,
        },
    )


BUDGET = Limit("tokens", "average", 2500)
LIMITS: dict[str, tuple[Limit, ...]] = {
    "one": (BUDGET,),
    "several": (BUDGET, Limit("seconds", "each", 30.0), Limit("samples", "p60", 8.0)),
    "total": (Limit("tokens", "total", 25e4, 100),),
    "floor": (BUDGET, Limit("value", "average", 0.2, sense="min", where={"level": ("medium",)})),
    "share": (BUDGET, Limit("share", "average", 0.1, sense="min", action={"model": "m"})),
    "each": (Limit("tokens", "each", 4000.0),),
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
def test_allocations_and_their_explanations(limits: tuple[Limit, ...]) -> None:
    for made in (menu(), menu(curve=np.array([0, 1, -1]))):
        found = allocate(made, limits=limits)
        hold("allocation", json.loads(found.to_json()), least=40)
        hold("explanation", plain(explanations(found, [explain(found, i) for i in range(3)])))


def test_explanations_where_several_resources_have_a_price() -> None:
    k = np.arange(1, 25)
    made = menu(cost={"tokens": k * 500.0, "seconds": 1 + np.log(k)})
    found = allocate(made, limits=[BUDGET, Limit("seconds", "average", 2.28)])
    assert sum(bool(limit.price) for limit in found.limits) == 2
    told = plain(explanations(found, [explain(found, i) for i in range(3)]))
    assert {each["resource"] for each in told["classes"]} == {None}
    hold("explanation", told)
    hold("allocation", json.loads(found.to_json()), least=40)


def test_divided_skipped_exact_and_for_a_value() -> None:
    divided = json.loads(allocate(menu(), 2600.5, unit="tokens", split=True).to_json())
    assert any(row["split"] for row in divided["rows"])
    hold("allocation", divided, least=40)
    idle = json.loads(allocate(menu(), 600, unit="tokens", allow_skip=True).to_json())
    assert {row["status"] for row in idle["rows"]} == {"chosen", "abstain"}
    hold("allocation", idle, least=40)
    exact = json.loads(allocate(menu(), 2500, unit="tokens", method="exact").to_json())
    assert exact["risk"] is None
    hold("allocation", exact, least=40)
    cheapest = json.loads(allocate(menu(), unit="tokens", target=0.6).to_json())
    assert cheapest["target"]["value"] == 0.6
    hold("allocation", cheapest, least=40)


def test_allocations_that_are_not_sure(fit: Path) -> None:
    source = scaling.FitResult.load(fit)
    for risk in ({}, {"cvar": 0.9}, {"cvar": 0.9, "regret": False}, {"cost_confidence": 0.9}):
        found = json.loads(scaling.allocate(source, 800, unit="tokens", risk=risk).to_json())
        assert set(found["risk"] or ()) >= ({"cvar"} if "cvar" in risk else set())
        hold("allocation", found, least=40)


def test_frontiers_of_menus() -> None:
    hold("frontier", plain(frontier(menu(), "tokens", points=4).document()))
    hold(
        "frontier",
        plain(frontier(menu(), "tokens", [600.0, 900.0], limits=LIMITS["several"][1:]).document()),
    )


@pytest.mark.parametrize("per", ["query", "total"])
@pytest.mark.parametrize("counted", [True, False])
def test_streams(per: Any, counted: bool) -> None:
    rates = np.random.default_rng(3).beta(0.4, 2.0, 300)
    for budget in (450.0, 2e4):
        source = Coverage(rates, np.full(300, 100.0), np.arange(8))
        amount = budget if per == "query" else 300 * budget
        found = allocate_stream(source, amount, unit="tokens", per=per, count_nonhull=counted)
        told = json.loads(found.to_json())
        assert sum(told["queries_by_rung"]) == told["queries"] == 300
        hold("stream", told)


@pytest.mark.parametrize("hard", [True, False])
def test_states_of_a_controller(hard: bool) -> None:
    table = build(allocate(menu(), 2500, unit="tokens"))
    for document in (table.document, build(allocate(menu(), 1e6, unit="tokens")).document):
        state = PriceController.of_table(document, budget=1e6, queries=400, hard=hard)
        hold("controller", json.loads(state.to_json()))
        for used in (0.0, 500.0, 1e5):
            state.charge(used)
        state.plan(100)
        hold("controller", json.loads(state.to_json()))


def test_diffs_of_rows_that_come_go_and_move() -> None:
    old = allocate(menu(), 2500, unit="tokens", split=True)
    two = menu(key={"level": np.array(["easy", "medium", "new"])}, weight=np.array([4.0, 3.0, 3.0]))
    for limits in LIMITS.values():
        new = allocate(two, limits=limits, allow_skip=True)
        found = plain(diff(build(old), build(new)).document())
        assert {"added", "removed"} < {row["status"] for row in found["rows"]}
        hold("diff", found)


def test_diffs_of_tables_of_another_resource_and_value() -> None:
    other = menu(maximise="accuracy")
    old = build(allocate(menu(), 2500, unit="tokens"))
    found = plain(diff(old, build(allocate(other, 20, unit="seconds"))).document())
    assert {"maximise", "priced resource", "constraints"} <= {x["what"] for x in found["inputs"]}
    for i in range(len(found["inputs"])):
        wrong = copy.deepcopy(found)
        wrong["inputs"][i]["after"] = [["surprise"]]
        assert faults("diff", wrong)
    assert found["maximise"] == {"before": "coverage", "after": "accuracy"}
    assert found["priced_resource"] == {"before": "tokens", "after": "seconds"}
    hold("diff", found)
