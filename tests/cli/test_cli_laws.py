"""laws, schema and demo by the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.cli.schema import SCHEMAS
from scaling.core.registry import law_names


def test_laws_lists_every_law(run) -> None:
    said = run("laws").stdout
    for name in law_names():
        assert name in said


@pytest.mark.parametrize("name", law_names())
def test_a_law_shows_formula_parameters_and_sources(run, name: str) -> None:
    from scaling.core.registry import law

    said = run("laws", name).stdout
    declared = law(name)
    for p in declared.params:
        assert p.meaning[:40] in said
    for reference in declared.references:
        assert reference.text[:30] in said
    assert f"--law {name}" in said


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_schema_is_a_schema(run, kind: str) -> None:
    from jsonschema import Draft202012Validator

    done = run("schema", kind)
    Draft202012Validator.check_schema(json.loads(done.stdout))


def test_documents_fit_their_schemas(run, fit: Path, table: Path) -> None:
    from jsonschema import validate

    for kind, path in (("fit", fit), ("table", table)):
        validate(json.loads(path.read_text()), json.loads(run("schema", kind).stdout))


def exact(part: Any) -> Any:
    """A schema that allows nothing that it does not name."""
    if isinstance(part, list):
        return [exact(each) for each in part]
    if not isinstance(part, dict):
        return part
    out = {name: exact(each) for name, each in part.items()}
    if "properties" in part and part.get("type") == "object":
        out.setdefault("additionalProperties", False)
    return out


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("passk", ("passk", "COUNTS", "--k", "1,4,90", "--all", "--at-least", "2", "--bounds")),
        ("passk", ("passk", "COUNTS", "--estimand", "benchmark", "--attempts", "--by", "none")),
        ("comparison", ("compare", "FIT", "--at", "samples=1,10,100", "--replicates", "40")),
        ("backtest", ("backtest", "COUNTS", "--laws", "loglog,uniform-prior,kazdan", "--cut", "5",
                      "--target", "20", "--thinnings", "2", "--replicates", "40")),
        ("plan", ("plan", "FIT", "--k", "10", "--se", "0.05")),
        ("plan", ("plan", "COUNTS", "--k", "5")),
        ("ask", ("ask", "COUNTS", "--attempts", "50", "--simulated", "0")),
        ("ask", ("ask", "COUNTS", "--attempts", "80", "--simulated", "2", "--where", "model=small")),
        ("overlay", ("overlay", "COUNTS", "--replicates", "100")),
        ("drift", ("drift", "LOG")),
    ],
)  # fmt: skip
def test_what_a_command_prints_fits_its_schema(run, counts: Path, kind: str, args) -> None:
    from jsonschema import Draft202012Validator

    fit, log = counts.with_name("fit.json"), counts.with_name("log.csv")
    if "FIT" in args:
        run("fit", counts, "--law", "beta-binomial", "--replicates", 40, "-o", fit)
    rng = np.random.default_rng(1)
    rows = [f"p{i},{j},{int(rng.random() < 0.4)}" for i in range(8) for j in range(200)]
    log.write_text("\n".join(["problem,attempt,correct", *rows, ""]))
    paths = {"COUNTS": counts, "FIT": fit, "LOG": log}
    done = run(*(paths.get(word, word) for word in args), "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    schema = exact(json.loads(run("schema", kind).stdout))
    errors = [
        f"{e.json_path}: {e.message}" for e in Draft202012Validator(schema).iter_errors(document)
    ]
    assert not errors


@pytest.mark.parametrize(
    ("row", "fits"),
    [
        ({"level": "hard", "model": "m", "samples": 4, "value": 0.5, "tokens": 400.5}, True),
        ({"value": 0.5, "usd": 0}, True),
        ({"value": 1.5, "usd": 1}, False),
        ({"value": 0.5}, False),
        ({"usd": 1}, False),
        ({"value": 0.5, "usd": -1}, False),
        ({"value": 0.5, "samples": 1.5}, False),
    ],
)
def test_menu_schema_agrees_with_the_reader(run, tmp_path, row: dict, fits: bool) -> None:
    from jsonschema import Draft202012Validator

    import scaling

    schema = json.loads(run("schema", "menu").stdout)
    assert Draft202012Validator(schema).is_valid(row) is fits
    path = tmp_path / "menu.jsonl"
    path.write_text(json.dumps(row) + "\n")
    if fits:
        assert scaling.read_menu(path).value.tolist() == [row["value"]]
    else:
        with pytest.raises(scaling.InputError):
            scaling.read_menu(path)


def test_unknown_schema(run) -> None:
    done = run("schema", "sweep")
    assert done.exit_code == 2
    assert "menu" in done.stderr


def test_demo_leaves_every_file_and_commands_to_paste(run, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    done = run("demo", folder)
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in folder.iterdir()) == [
        "fit.json",
        "log.csv",
        "report.html",
        "table.json",
    ]
    assert done.stdout.endswith(f"wrote {folder / 'report.html'}\n")
    pasted = [x for x in done.stdout.splitlines() if x.startswith("$ scaling ")]
    names = [shlex.split(x)[2:4] for x in pasted]
    assert [n[0] for n in names] == ["describe", "fit", "predict", "allocate", "table", "table"]
    assert "if spent evenly" in done.stdout
    assert "1,000 tokens more a query" in done.stdout
    assert "oracle verifier" in done.stdout
    # The table that the demo wrote is what the pasted command writes.
    args = shlex.split(next(x for x in pasted if " allocate " in x))[2:]
    before = json.loads((folder / "table.json").read_text())
    assert run(*args).exit_code == 0
    assert json.loads((folder / "table.json").read_text())["table_id"] == before["table_id"]
    page = (folder / "report.html").read_text()
    assert before["rows"][0]["action"]["model"] in page


def test_demo_refuses_a_folder_that_cannot_be(run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("demo", tmp_path / "file" / "demo")
    assert done.exit_code == 2
    assert "Cannot make the folder" in done.stderr


def test_forecast_is_listed_without_its_knots(run) -> None:
    assert "\n forecast " in run("laws").stdout
    said = run("laws", "forecast").stdout
    assert "from c(1) to c(1000000)" in said
    assert "c(10)" not in said
    assert "--law forecast" in said
    record = json.loads(run("laws", "forecast", "--json").stdout)
    assert record["formula"] is None


def test_formula_is_drawn_and_given_in_latex(run) -> None:
    said = run("laws", "beta-mixture").stdout
    assert "(1 - w)⋅⎜1 - " in said
    assert r"LaTeX       \mathrm{coverage}(k) = w \left(1 - " in said
