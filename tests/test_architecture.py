"""ARCHITECTURE.md says what is there, and listing what is there imports none of it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scaling.core import registry

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")


def test_inventory_is_current():
    _, between, _ = re.split("|".join(map(re.escape, registry.MARKERS)), TEXT)
    assert between.strip() == registry.markdown(), "out of date; run `make inventory`"


def test_inventory_lists_what_the_folders_hold():
    # Named here once more: a registry that finds nothing would agree with an empty table.
    members = {family: set(found) for family, found in registry.families().items()}
    assert members["laws"] >= {"beta-binomial", "exponentiated-power"}
    assert members["readers"] >= {"csv", "jsonl", "parquet"}
    assert "per-sample" in members["cost models"]
    assert "price" in members["allocators"]
    assert all(text for found in registry.families().values() for text in found.values())


def test_every_room_stands_on_a_floor():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    floors = contract["contracts"][0]["layers"]
    listed = {room for floor in floors for room in re.findall(r"\w+", floor)}
    rooms = {
        f.stem
        for f in (ROOT / "scaling").iterdir()
        if f.suffix == ".py" or (f / "__init__.py").is_file()
    }
    assert rooms - {"__init__", "__main__", "_version"} <= listed
    drawn = re.search(r"```text\n(cli .*?)```", TEXT, re.DOTALL)
    assert drawn, "ARCHITECTURE.md does not draw the floors"
    # The linter takes "(room)" for a room that need not exist yet.
    assert [re.split(r" {2,}", line)[0] for line in drawn[1].splitlines()] == [
        floor.strip("()") for floor in floors
    ]


@pytest.mark.parametrize(
    "code",
    [
        "import scaling",
        "from scaling.core import registry; registry.families()",
        "import scaling.tables.lookup",
        "import scaling.cli",
    ],
)
def test_light_entrances_import_nothing_heavy(code):
    heavy = {"jax", "pandas", "scipy", "sympy", "duckdb", "altair", "statsmodels", "jsonschema"}
    code += "; import sys; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert heavy.isdisjoint(run.stdout.split())
