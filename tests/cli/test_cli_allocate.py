"""allocate, table check and table lookup by the command line."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path

import pytest

from scaling.cli.allocated import _place
from scaling.cli.table import _example
from scaling.tables.lookup import Axis

BUDGET = ("--budget", 800, "--unit", "tokens")


def document(done) -> dict:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout, parse_constant=pytest.fail)


def test_report_says_value_price_and_assumptions(run, fit: Path) -> None:
    out = fit.with_name("t.json")
    done = run("allocate", fit, *BUDGET, "-o", out)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    certificate = json.loads(out.read_text())["objective"]["certificate"]
    for words in (
        "800 tokens a query, on average",
        f"coverage {certificate['value']:#.4g}",
        f"{certificate['uniform_value']:#.4g} if spent evenly",
        "100 tokens more a query would buy about",
        "oracle verifier",
        "fallback",
        f"scaling table check {out}",
    ):
        assert words in done.stdout
    assert done.stdout.endswith(f"wrote {out}\n")


def test_json_is_the_table(run, fit: Path, table: Path) -> None:
    ours, written = document(run("allocate", fit, *BUDGET, "--json")), json.loads(table.read_text())
    ours.pop("created")
    written.pop("created")
    assert ours == written


def test_spends_no_more_than_the_budget(run, fit: Path) -> None:
    for budget in (100, 150, 800, 2999):
        table = document(run("allocate", fit, "--budget", budget, "--unit", "tokens", "--json"))
        (limit,) = table["objective"]["constraints"]
        assert limit["realised"] <= budget


def test_infeasible_exits_4_and_names_the_smallest_budget(run, fit: Path) -> None:
    out = fit.with_name("t.json")
    done = run("allocate", fit, "--budget", 99, "--unit", "tokens", "-o", out)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert "100" in done.stderr
    assert not out.exists()
    skipped = document(
        run("allocate", fit, "--budget", 99, "--unit", "tokens", "--allow-skip", "--json")
    )
    assert any(row.get("may_abstain") for row in skipped["rows"])


def test_per_total_is_the_average_times_the_queries(run, fit: Path) -> None:
    each = document(run("allocate", fit, *BUDGET, "--json"))
    total = document(
        run(
            *("allocate", fit, "--budget", 80_000, "--unit", "tokens", "--per", "total"),
            *("--queries", 100, "--json"),
        )
    )
    assert [r["action"] for r in total["rows"]] == [r["action"] for r in each["rows"]]
    assert total["objective"]["constraints"][0]["scope"] == "total"


def test_limit_is_what_budget_and_unit_are_short_for(run, fit: Path) -> None:
    short = document(run("allocate", fit, *BUDGET, "--json"))
    long = document(run("allocate", fit, "--limit", "tokens:average=800", "--json"))
    assert long["table_id"] == short["table_id"]
    capped = document(run("allocate", fit, *BUDGET, "--limit", "samples:each=5", "--json"))
    assert max(r["action"]["n_samples"] for r in capped["rows"]) <= 5


def test_split_uses_the_rest(run, fit: Path) -> None:
    args = ("allocate", fit, "--budget", 777, "--unit", "tokens")
    left = document(run(*args, "--json"))["objective"]["constraints"][0]["realised"]
    split = document(run(*args, "--split", "--json"))
    assert left < 777
    assert split["objective"]["constraints"][0]["realised"] == pytest.approx(777, rel=1e-9)
    assert sum(bool(row.get("split")) for row in split["rows"]) == 1
    assert "--split" in run(*args).stdout


def test_extrapolate_goes_beyond_the_log(run, fit: Path) -> None:
    args = ("allocate", fit, "--budget", 100, "--unit", "samples", "--json")
    within, beyond = document(run(*args)), document(run(*args, "--extrapolate"))
    assert max(r["action"]["n_samples"] for r in within["rows"]) == 30
    assert max(r["action"]["n_samples"] for r in beyond["rows"]) > 30
    assert any(r["support"]["extrapolated"] for r in beyond["rows"])


def test_prices_make_dollars(run, fit: Path) -> None:
    args = ("allocate", fit, "--budget", 0.004, "--unit", "usd", "--price-out", 4, "--json")
    table = document(run(*args))
    # 100 tokens a sample at $4 a million: $0.0004 a sample.
    for row in table["rows"]:
        assert row["expected"]["resources"]["usd"]["mean"] == pytest.approx(
            4e-4 * row["action"]["n_samples"]
        )
    prices = table["provenance"]["prices"]
    assert (prices["source"], prices["as_of"]) == ("user", None)
    prompt = ("--price-in", 1, "--input-tokens", 400)
    billed = document(run(*args, *prompt))
    once = document(run(*args, *prompt, "--prompt-once"))
    assert billed["rows"][0]["expected"]["resources"]["usd"]["mean"] == pytest.approx(
        8e-4 * billed["rows"][0]["action"]["n_samples"]
    )
    assert once["rows"][0]["expected"]["resources"]["usd"]["mean"] == pytest.approx(
        4e-4 + 4e-4 * once["rows"][0]["action"]["n_samples"]
    )


def test_costs_by_model(run, counts: Path) -> None:
    args = ("allocate", counts, "--values", "plugin", "--budget", 1000, "--unit", "tokens")
    cheap = document(run(*args, "--tokens-per-sample", "small=10,large=1000", "--json"))
    assert cheap["rows"][0]["action"]["model"] == "small"
    missing = run(*args, "--tokens-per-sample", "small=10")
    assert missing.exit_code == 2
    assert "large" in missing.stderr


def test_weights_are_the_traffic(run, fit: Path) -> None:
    weights = fit.with_name("weights.csv")
    weights.write_text("weight,level\n9,hard\n1,easy\n")
    table = document(run("allocate", fit, *BUDGET, "--weights", weights, "--json"))
    assert {r["when"]["level"]: r["weight"] for r in table["rows"]} == pytest.approx(
        {"hard": 0.9, "easy": 0.1}
    )


def test_a_log_is_fitted_first_and_says_so(run, levels: Path) -> None:
    done = run("allocate", levels, *BUDGET, "--json")
    table = document(done)
    assert table["provenance"]["fits"][0]["law"] == "beta-binomial"
    assert "fitting beta-binomial" in done.stderr
    assert "--law NAME" in done.stderr


def test_raw_rates_are_cautioned(run, levels: Path) -> None:
    done = run("allocate", levels, *BUDGET, "--values", "plugin")
    assert done.exit_code == 0, done.output
    assert "plugin-values" in done.stdout
    assert "fitting" not in done.stderr


@pytest.mark.parametrize("values", ["posterior", "plugin"])
def test_budget_for_each_problem(run, fit: Path, values: str) -> None:
    args = ("allocate", fit, "--class", "problem", "--values", values)
    table = document(run(*args, "--budget", 4, "--unit", "samples", "--json"))
    assert len(table["rows"]) == 80
    total = document(run(*args, "--budget", 320, "--unit", "samples", "--per", "total", "--json"))
    assert [r["action"] for r in total["rows"]] == [r["action"] for r in table["rows"]]
    said = run(*args, "--budget", 4, "--unit", "samples").stdout
    assert "and 40 more classes" in said


MENU = [
    ("level", "model", "value", "usd"),
    ("easy", "small", 0.6, 0.001),
    ("easy", "large", 0.8, 0.01),
    ("hard", "small", 0.1, 0.001),
    ("hard", "large", 0.5, 0.01),
]


@pytest.fixture(params=["csv", "jsonl"])
def menu(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"menu.{request.param}"
    with path.open("w", newline="") as file:
        if request.param == "csv":
            csv.writer(file).writerows(MENU)
        else:
            for row in MENU[1:]:
                file.write(json.dumps(dict(zip(MENU[0], row, strict=True))) + "\n")
    return path


def test_a_menu_is_allocated_without_a_fit(run, menu: Path) -> None:
    # 0.006 a query on average: one of the two levels gets the large model, where it buys most.
    table = document(run("allocate", menu, "--budget", 0.006, "--unit", "usd", "--json"))
    assert {r["when"]["level"]: r["action"]["model"] for r in table["rows"]} == {
        "easy": "small",
        "hard": "large",
    }
    assert table["objective"]["certificate"]["value"] == pytest.approx(0.55)
    said = run("allocate", menu, "--budget", 0.006, "--unit", "usd").stdout
    assert "oracle" not in said
    assert "$0.006 a query" in said


def test_standard_input_may_be_any_of_them(run, fit: Path, menu: Path, levels: Path) -> None:
    for source, budget in (
        (fit, BUDGET),
        (levels, BUDGET),
        (menu, ("--budget", 0.006, "--unit", "usd")),
    ):
        piped = run("allocate", "-", *budget, "--json", stdin=source.read_bytes())
        named = run("allocate", source, *budget, "--json")
        assert document(piped)["table_id"] == document(named)["table_id"]


def test_table_and_fit_by_standard_input(run, fit: Path, table: Path) -> None:
    content = table.read_bytes()
    assert run("table", "check", "-", stdin=content).exit_code == 0
    for args, source in (
        (("table", "lookup", "{}", "level=hard"), table),
        (("predict", "{}", "--at", "samples=3"), fit),
    ):
        named = run(*(str(source) if a == "{}" else a for a in args))
        piped = run(*("-" if a == "{}" else a for a in args), stdin=source.read_bytes())
        assert named.exit_code == 0
        assert piped.stdout == named.stdout
    refused = run("predict", "-", "--at", "samples=3", stdin=b"\xff")
    assert refused.exit_code == 2
    assert "UTF-8" in refused.stderr


def test_two_menus_join_on_the_class(run, tmp_path: Path) -> None:
    paths = []
    for model in ("small", "large"):
        path = tmp_path / f"{model}.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([MENU[0], *(r for r in MENU if r[1] == model)])
        paths.append(path)
    table = document(run("allocate", *paths, "--budget", 0.006, "--unit", "usd", "--json"))
    assert table["objective"]["certificate"]["value"] == pytest.approx(0.55)


def test_fits_of_two_models_merge_into_one_menu(run, counts: Path) -> None:
    paths = []
    for model in ("small", "large"):
        path = counts.with_name(f"{model}.json")
        done = run(
            *("fit", counts, "--law", "beta-binomial", "--interval", "none", "--by", "model"),
            *("--where", f"model={model}", "-o", path),
        )
        assert done.exit_code == 0, done.output
        paths.append(path)
    table = document(run("allocate", *paths, *BUDGET, "--json"))
    assert len(table["rows"]) == 1
    assert len(table["provenance"]["fits"]) == 2


def test_same_seed_same_table_but_for_created(run, fit: Path) -> None:
    args = ("allocate", fit, *BUDGET, "--json")
    one, two = document(run(*args)), document(run(*args))
    assert one.pop("created")
    assert two.pop("created")
    assert one == two


def test_unusable_class_gets_the_fallback(run, levels: Path) -> None:
    with levels.open("a") as file:
        file.writelines(f"never{i},never,30,0,3000\n" for i in range(20))
    fit = levels.with_name("fit.json")
    args = ("fit", levels, "--law", "beta-binomial", "--by", "level", "--replicates", 50)
    assert run(*args, "-o", fit).exit_code == 0
    done = run("allocate", fit, *BUDGET)
    assert "(fallback)" in done.stdout
    table = document(run("allocate", fit, *BUDGET, "--json"))
    rows = {r["when"]["level"]: r for r in table["rows"]}
    assert rows["never"]["action"] == table["fallback"]["action"]
    assert rows["never"]["cautions"]


def test_check_lists_guarantees(run, table: Path) -> None:
    done = run("table", "check", table)
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "rows disjoint" in done.stdout
    assert f"scaling table lookup {table} level=" in done.stdout


def pasted(run, done):
    """Run the command that a report ends with."""
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("next ")]
    return run(*shlex.split(line.removeprefix("next"))[1:])


def test_next_commands_can_be_pasted(run, fit: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    fit.rename("a fit.json")
    args = ("--limit", "tokens:average=777", "--limit", "samples:each=9", "--split")
    kept = pasted(run, run("allocate", "a fit.json", *args))
    assert kept.exit_code == 0, kept.output
    ours = document(run("allocate", "a fit.json", *args, "--json"))
    assert json.loads(Path("table.json").read_text())["table_id"] == ours["table_id"]
    Path("table.json").rename("a table.json")
    found = pasted(run, run("table", "check", "a table.json"))
    assert found.exit_code == 0, found.output
    assert "fallback" not in found.stdout


@pytest.mark.parametrize(
    ("cuts", "index", "low", "high"),
    [([0.12, 0.5], 0, 0, 0.12), ([0.12, 0.5], 2, 0.5, 1), ([0, 0.5], 0, -2, 0), ([0, 1], 1, 0, 1)],
)
def test_example_of_a_bin_lies_in_it(cuts, index: int, low: float, high: float) -> None:
    feature = {"name": "pass1", "dtype": "number", "bins": cuts}
    document = {"key": {"features": [feature]}, "rows": [{"when": {"pass1": index}}]}
    (word,) = _example(document)
    value = float(word.removeprefix("pass1="))
    assert low <= value < high
    assert Axis(feature, []).code({"pass1": value}, None) == index


@pytest.mark.parametrize("condition", [{"lt": 5}, {"gte": 5}, {"lt": 0}, {"gte": 1, "lt": 5}])
@pytest.mark.parametrize("dtype", ["integer", "number"])
def test_example_of_a_range_lies_in_it(condition: dict[str, int], dtype: str) -> None:
    feature = {"name": "size", "dtype": dtype}
    document = {"key": {"features": [feature]}, "rows": [{"when": {"size": condition}}]}
    (word,) = _example(document)
    axis = Axis(feature, [condition])
    assert axis.code({"size": word.removeprefix("size=")}, None) in axis.cells(condition)


def test_what_is_unspent_within_the_log(run, fit: Path, tmp_path: Path) -> None:
    args = ("--budget", 100, "--unit", "samples")
    hint = "--extrapolate offers more samples"
    for source in (fit, fit.with_name("levels.csv")):
        said = " ".join(run("allocate", source, *args).stdout.split())
        assert f"more budget buys nothing, of those within the log; {hint}" in said
        assert "would buy nothing within the log" in said
    limited = run("allocate", fit, *args, "--limit", "samples:each=5").stdout
    assert "of those within the log and the limits;" in " ".join(limited.split())
    beyond = run("allocate", fit, "--budget", 1000, "--unit", "samples", "--extrapolate").stdout
    beyond = " ".join(beyond.split())
    assert "more budget buys nothing" in beyond
    menu = tmp_path / "menu.csv"
    menu.write_text("samples,value\n1,0.5\n2,0.6\n")
    whole = " ".join(run("allocate", menu, *args).stdout.split())
    assert "more budget buys nothing" in whole
    for text in (beyond, whole):
        assert "within the log" not in text
        assert hint not in text


def test_a_caution_names_its_group() -> None:
    assert _place("all queries", {"group": "model=small"}) == "all queries: model=small"
    assert _place("all queries", {"group": {"model": "small"}}) == "all queries: model=small"
    assert _place("level=hard", {"group": "level=hard"}) == "level=hard"
    assert _place("level=hard", {}) == "level=hard"
    assert _place("", {"group": "model=small"}) == "model=small"


def test_the_fit_that_a_log_gets_is_said_with_its_options(run, levels: Path) -> None:
    levels.write_text(levels.read_text().replace("problem,", "question,"))
    done = run("allocate", levels, *BUDGET, "--map", "question=problem", "--values", "posterior")
    assert done.exit_code == 0, done.output
    assert f"scaling fit {levels} --map question=problem --law NAME" in done.stderr


def test_check_exits_5_and_lists_findings(run, table: Path) -> None:
    wrong = json.loads(table.read_text())
    wrong["rows"][0]["weight"] += 0.25
    table.write_text(json.dumps(wrong))
    done = run("table", "check", table)
    assert done.exit_code == 5
    assert "$.rows" in done.stdout or "weight" in done.stdout
    assert "Do not serve" in done.stderr
    as_json = run("table", "check", table, "--json")
    assert as_json.exit_code == 5
    report = json.loads(as_json.stdout)
    assert report["ok"] is False
    assert report["findings"]


def test_lookup_answers_from_the_row(run, table: Path) -> None:
    rows = {r["when"]["level"]: r for r in json.loads(table.read_text())["rows"]}
    for level, row in rows.items():
        found = document(run("table", "lookup", table, f"level={level}", "--json"))
        assert found["action"] == row["action"]
        assert found["reason"] is None
    said = run("table", "lookup", table, "level=hard").stdout
    assert f"n_samples={rows['hard']['action']['n_samples']}" in said


def test_lookup_at_a_price_follows_the_ladder(run, table: Path) -> None:
    def samples(price: float) -> int:
        found = run("table", "lookup", table, "level=hard", "--price", price, "--json")
        return document(found)["action"]["n_samples"]

    taken = [samples(price) for price in (0, 1e-5, 1e-4, 1e-3, 1)]
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], taken[-1]) == (30, 1)


@pytest.mark.parametrize("features", [[], ["level=unheard-of"], ["tier=gold"]])
def test_lookup_of_the_unknown_is_the_fallback(run, table: Path, features: list[str]) -> None:
    done = run("table", "lookup", table, *features)
    assert done.exit_code == 0
    assert "fallback" in done.stdout
    found = document(run("table", "lookup", table, *features, "--json"))
    assert found["row_id"] is None
    assert "level" in found["reason"]


def test_flops_come_from_the_shape_of_the_model(run, fit: Path) -> None:
    shape = ("--parameters", 8e9, "--layers", 32, "--width", 4096, "--input-tokens", 300)
    done = run("allocate", fit, "--budget", 2e13, "--unit", "flops", *shape, "--json")
    table = document(done)
    rung = table["rows"][0]["ladder"][0]
    samples, tokens = rung["action"]["n_samples"], 100
    prompt = 2 * 8e9 * 300 + 2 * 32 * 4096 * 300 * 301
    sample = 2 * 8e9 * tokens + 2 * 32 * 4096 * tokens * (tokens + 1 + 2 * 300)
    used = rung["expected"]["resources"]["flops"]["mean"]
    assert used == pytest.approx(prompt + samples * sample, rel=1e-12)
    (limit,) = table["objective"]["constraints"]
    assert limit["realised"] <= 2e13


def test_flops_without_a_shape_name_the_flags(run, fit: Path) -> None:
    done = run("allocate", fit, "--budget", 2e13, "--unit", "flops")
    assert done.exit_code == 2
    assert "--parameters, --layers, --width" in done.stderr
    done = run("allocate", fit, "--budget", 2e13, "--unit", "flops", "--parameters", 8e9)
    assert done.exit_code == 2
    assert "--layers" in done.stderr


def test_stopping_at_success_buys_more_for_the_same_budget(run, fit: Path) -> None:
    plain = document(run("allocate", fit, *BUDGET, "--json"))
    stopped = document(run("allocate", fit, *BUDGET, "--until-success", "--json"))
    value = [t["objective"]["certificate"]["value"] for t in (plain, stopped)]
    assert value[1] > value[0] + 0.02
    (limit,) = stopped["objective"]["constraints"]
    assert limit["realised"] <= 800
    assert {r["action"]["stop_rule"]["kind"] for r in stopped["rows"]} == {"first_accepted"}
    assert "until one is right" in run("allocate", fit, *BUDGET, "--until-success").stdout


def test_a_verifier_that_errs_is_worth_less(run, fit: Path, tmp_path: Path) -> None:
    stopped = document(run("allocate", fit, *BUDGET, "--until-success", "--json"))
    path = tmp_path / "table.json"
    done = run("allocate", fit, *BUDGET, "--until-accepted", "0.9,0.02", "-o", path)
    assert done.exit_code == 0
    assert "until one is accepted" in done.stdout
    assert "accepts 0.9 of right, 0.02 of wrong" in done.stdout
    assert run("table", "check", path).exit_code == 0
    table = json.loads(path.read_text())
    assert table["objective"]["maximise"] == "accuracy"
    value = [t["objective"]["certificate"]["value"] for t in (table, stopped)]
    assert value[0] < value[1]
    for row in table["rows"]:
        assert row["action"]["strategy"] == "resample"
        assert row["action"]["stop_rule"]["failures"] == row["action"]["n_samples"]
    perfect = document(run("allocate", fit, *BUDGET, "--until-accepted", "1,0", "--json"))
    assert perfect["objective"]["certificate"]["value"] == pytest.approx(value[1], rel=1e-9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("0.9", "give two numbers"),
        ("0.9,often", "wrong samples"),
        ("0.1,0.9", "to be read the other way round"),
    ],
)
def test_verifiers_that_cannot_be_read(run, fit: Path, given: str, message: str) -> None:
    done = run("allocate", fit, *BUDGET, "--until-accepted", given)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_who_is_funded_is_said_where_doing_nothing_is_on_offer(run, levels: Path) -> None:
    options = ("--class", "problem", "--budget", 100, "--unit", "tokens", "--allow-skip")
    done = run("allocate", levels, *options)
    assert done.exit_code == 0, done.output
    assert "of 80 classes" in done.stdout


# --- table diff --------------------------------------------------------------------------------


def test_diff_says_what_moved_and_why(run, fit: Path, table: Path) -> None:
    new = fit.with_name("new.json")
    run("allocate", fit, "--budget", 1600, "--unit", "tokens", "-o", new)
    done = run("table", "diff", table, new)
    assert done.exit_code == 0, done.output
    for words in ("constraints: tokens:average limit 800 → 1,600", "the shadow price moved"):
        assert words in done.stdout
    found = document(run("table", "diff", table, new, "--json"))
    assert found["kind"] == "scaling-table-diff"
    assert {row["status"] for row in found["rows"]} == {"changed"}
    assert {cause for row in found["rows"] for cause in row["causes"]} == {"price"}
    same = run("table", "diff", table, table)
    assert same.exit_code == 0
    assert "all 2 rows serve what they served" in same.stdout


def test_diff_of_what_is_no_table(run, fit: Path, table: Path) -> None:
    for args, words in (
        ((table, fit), "no budget table"),
        ((table, "nowhere.json"), "nowhere.json"),
        (("-", "-"), "standard input"),
        ((table,), "NEW.json"),
    ):
        done = run("table", "diff", *args)
        assert done.exit_code == 2
        assert words in done.stderr
        assert done.stdout == ""


# --- why, and for whom -------------------------------------------------------------------------


def test_explain_says_why_a_class_got_what_it_got(run, fit: Path) -> None:
    done = run("allocate", fit, *BUDGET, "--explain", "level=hard", "--explain", "easy")
    assert done.exit_code == 0, done.output
    for words in ("why level=hard", "why level=easy", "times the price", "bought at a budget"):
        assert words in " ".join(done.stdout.split())
    assert "--explain" not in next(x for x in done.stdout.splitlines() if x.startswith("next"))
    found = document(run("allocate", fit, *BUDGET, "--explain", "hard", "--json"))
    (one,) = found["classes"]
    assert one["class"] == {"level": "hard"}
    assert one["next"]["cost"] > one["got"]["cost"]
    wrong = run("allocate", fit, *BUDGET, "--explain", "level=hart", "-o", fit.with_name("x.json"))
    assert wrong.exit_code == 2
    assert "Did you mean 'level=hard'" in wrong.stderr
    assert not fit.with_name("x.json").exists()


def test_a_table_for_a_serving_target(run, fit: Path) -> None:
    found = document(run("allocate", fit, *BUDGET, "--target", "vllm", "--json"))
    assert found["targets"] == ["vllm"]
    assert (
        "limits of the serving targets are kept"
        in run("allocate", fit, *BUDGET, "--target", "vllm").stdout
    )
    wrong = run("allocate", fit, *BUDGET, "--target", "vlm")
    assert wrong.exit_code == 2
    assert "Did you mean 'vllm'" in wrong.stderr


def test_hopeless_classes_are_named(run, tmp_path: Path) -> None:
    menu = tmp_path / "menu.csv"
    rows = ["level,samples,value,tokens"]
    rows += [f"fine,{k},{1 - 0.5**k},{100 * k}" for k in range(1, 9)]
    rows += [f"dead,{k},{0.001 * k},{100 * k}" for k in range(1, 9)]
    menu.write_text("\n".join(rows))
    done = run("allocate", menu, "--budget", 250, "--unit", "tokens")
    assert done.exit_code == 0, done.output
    line = next(x for x in done.stdout.splitlines() if x.startswith("hopeless"))
    assert "1 of 2 classes" in line
    assert "level=dead" in done.stdout
    rich = run("allocate", menu, "--budget", 750, "--unit", "tokens").stdout
    assert not any(x.startswith("hopeless") for x in rich.splitlines())


# --- risk --------------------------------------------------------------------------------------


def test_regret_is_told_and_stands_in_the_table(run, fit: Path, table: Path) -> None:
    assert "regret" in run("allocate", fit, *BUDGET).stdout
    found = json.loads(table.read_text())
    told = found["objective"]["risk"]
    assert told["draws"] == 60
    assert 0 <= told["regret"]["mean"] <= told["regret"]["q95"]
    assert all(0 <= row["uncertainty"]["p_best"] <= 1 for row in found["rows"])
    problems = document(run("allocate", fit, *BUDGET, "--class", "problem", "--json"))
    assert "risk" not in problems["objective"]
    asked = document(
        run(
            *("allocate", fit, *BUDGET, "--class", "problem", "--regret", "--draws", 50),
            *("--seed", 3, "--json"),
        )
    )
    assert asked["objective"]["risk"]["draws"] == 50
    assert asked["objective"]["risk"]["seed"] == 3


def test_cvar_and_confidence_in_the_cost(run, fit: Path) -> None:
    out = fit.with_name("t.json")
    done = run("allocate", fit, *BUDGET, "--cvar", 0.9, "--cost-confidence", 0.95, "-o", out)
    assert done.exit_code == 0, done.output
    text = " ".join(done.stdout.split())
    for words in ("over the worst 0.1 of 60 draws", "with probability 0.95", "risk-averse"):
        assert words in text
    objective = json.loads(out.read_text())["objective"]
    assert objective["risk"]["cvar"]["level"] == 0.9
    assert objective["constraints"][0]["confidence"] == 0.95
    assert run("table", "check", out).exit_code == 0


def test_a_table_of_caution_differs_by_it(run, fit: Path, table: Path) -> None:
    out = fit.with_name("t.json")
    run("allocate", fit, *BUDGET, "--cvar", 0.9, "--cost-confidence", 0.95, "-o", out)
    found = document(run("table", "diff", table, out, "--json"))
    assert [each["what"] for each in found["inputs"]] == ["constraints", "cvar"]
    assert found["inputs"][0]["after"]["tokens:average"]["confidence"] == 0.95


def test_risk_that_cannot_be_asked(run, fit: Path, tmp_path: Path) -> None:
    menu = tmp_path / "menu.csv"
    menu.write_text("level,samples,value,tokens\nhard,1,0.5,100\n")
    for args, words in (
        ((fit, *BUDGET, "--cvar", "1.5"), "1.5"),
        ((fit, *BUDGET, "--cvar", "nan"), "nan"),
        ((fit, *BUDGET, "--cost-confidence", "2"), "0.5"),
        ((fit, *BUDGET, "--draws", "1"), "two or more"),
        ((fit, *BUDGET, "--cvar", "0.9", "--split"), "not divided"),
        ((fit, *BUDGET, "--cost-confidence", "0.9", "--until-success"), "--until-success"),
        ((menu, *BUDGET, "--cvar", "0.9"), "joint draws"),
        ((menu, *BUDGET, "--cost-confidence", "0.9"), "standard errors"),
    ):
        done = run("allocate", *args)
        assert done.exit_code == 2, args
        assert words in done.stderr
        assert done.stdout == ""
