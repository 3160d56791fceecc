"""What is shipped: one importable package, complete, with its version and its command."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import scaling

ROOT = Path(__file__).parent.parent
LINKS = ("fitting", "allocators", "data")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def build(target, folder):
    # The backend itself: an isolated build would go to the network for it.
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build("sdist", tmp_path_factory.mktemp("sdist"))


def sources():
    """Files of the package as the tree has them."""
    files = (f for f in (ROOT / "scaling").rglob("*") if f.is_file())
    return {str(f.relative_to(ROOT)) for f in files if f.suffix != ".pyc"}


def test_wheel_holds_one_top_level_package_and_all_of_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    metadata = f"inference_scaling-{scaling.__version__}.dist-info"
    assert {name.split("/")[0] for name in names} == {"scaling", metadata}
    assert {name for name in names if name.startswith("scaling/")} == sources()
    assert "scaling/py.typed" in names
    assert "scaling/tables/budget_table.schema.json" in names
    assert "scaling/fitting/fit.schema.json" in names
    assert f"{metadata}/licenses/LICENSE" in names


def test_wheel_metadata(wheel):
    archive = zipfile.ZipFile(wheel)
    (folder,) = {n.split("/")[0] for n in archive.namelist() if ".dist-info/" in n}
    metadata = archive.read(f"{folder}/METADATA").decode()
    assert "\nName: inference-scaling\n" in metadata
    assert f"\nVersion: {scaling.__version__}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0\n" in metadata
    assert "\nRequires-Python: >=3.11\n" in metadata
    entry_points = archive.read(f"{folder}/entry_points.txt").decode()
    assert "[console_scripts]\nscaling = scaling.cli:main" in entry_points


def test_unpacked_wheel_runs_by_itself(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")  # noqa: S202 - built above
    code = (
        "import scaling, scaling.cli; from scaling.core.registry import law_names;"
        "print(scaling.__file__, *law_names()); scaling.cli.main(['--version'])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert str(tmp_path / "site" / "scaling" / "__init__.py") in run.stdout
    assert "beta-binomial" in run.stdout
    assert scaling.__version__ in run.stdout


def test_sdist_holds_what_is_needed_to_build_and_test_and_no_links(sdist):
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members)
    names = {member.name.split("/", 1)[1] for member in members}
    assert {name for name in names if name.startswith("scaling/")} == sources()
    assert {name.split("/")[0] for name in names}.isdisjoint({*LINKS, "build", "dist"})
    assert {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"} <= names
    assert "tests/test_package.py" in names


def test_top_level_links_lead_into_the_package():
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: archives leave the links out")
    for name in LINKS:
        assert (ROOT / name).readlink() == Path("scaling", name)


def test_constraints_are_plain_pins_that_cover_the_declared_dependencies():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = {}
    for line in lines:
        match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)==([\w.+!]+)", line)
        assert match, f"not a plain pin: {line!r}"
        pins[canonicalize_name(match[1])] = match[2]
    assert len(pins) == len(lines)
    declared = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        if name != PROJECT["name"]:
            assert name in pins, f"constraints.txt does not pin {name}"
            assert requirement.specifier.contains(pins[name]), f"{name}=={pins[name]}"
