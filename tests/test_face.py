"""The pinned lines of the face, and that it is lazy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import scaling


def test_importing_the_package_imports_no_room() -> None:
    code = "import sys, scaling; print(*sys.modules)"
    root = str(Path(scaling.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root
    )
    loaded = set(done.stdout.split())
    assert {m for m in loaded if m.startswith("scaling")} == {"scaling", "scaling._version"}
    assert not loaded & {"numpy", "jax", "pandas", "click"}


@pytest.mark.parametrize("name", scaling.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(scaling, name) is not None
    assert name in dir(scaling)


def test_no_other_name() -> None:
    with pytest.raises(AttributeError, match="fitt"):
        scaling.fitt  # noqa: B018


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from scaling.data import samples

    path = tmp_path_factory.mktemp("face") / "log.csv"
    samples.write(path)
    return path


def test_the_pinned_lines(log: Path) -> None:
    s = scaling.read(log)
    f = scaling.fit(s, "beta-binomial", by=["level", "model"], seed=0)
    p = f.predict(samples=[1, 10, 100])
    a = scaling.allocate(f, budget=4000, unit="tokens")
    t = a.table()
    t.save(log.with_name("table.json"))
    found = scaling.BudgetTable.load(log.with_name("table.json")).lookup(level="hard")

    assert len(f.groups) == 6
    assert len(p.rows) == 18
    assert a.spent["tokens"] <= 4000
    assert found.reason is None
    assert found.action["n_samples"] >= 1
    for result in (s, f, p, a, t):
        assert len(result.to_frame()) > 0
        assert result._repr_html_().lstrip().startswith("<")
        json.loads(result.to_json(), parse_constant=pytest.fail)


def test_module_runs_as_a_command() -> None:
    root = str(Path(scaling.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "scaling", "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=root,
    )
    assert done.stdout == f"scaling, version {scaling.__version__}\n"
