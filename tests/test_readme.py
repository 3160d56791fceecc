"""Every block of the README that can run is run, in order, in one folder."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_blocks_are_of_known_kinds() -> None:
    kinds = [kind for kind, _ in BLOCKS]
    assert set(kinds) == {"console", "python", "sh"}
    assert kinds.count("python") >= 4
    assert kinds.count("console") == 1


def test_python_then_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from click.testing import CliRunner

    from scaling.cli import main

    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for kind, text in BLOCKS:
        if kind == "python":
            exec(compile(text, "README.md", "exec"), names)  # noqa: S102
    printed = capsys.readouterr().out.splitlines()
    promised = re.findall(r"^#> (.*)$", README, re.MULTILINE)
    assert len(promised) == 2
    assert [line for line in promised if line not in printed] == []
    assert (tmp_path / "report.html").stat().st_size > 0
    assert (tmp_path / "coverage.svg").read_text("utf-8").startswith("<svg")
    (tmp_path / "table.json").unlink()

    commands = [
        line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.strip()
    ]
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "scaling"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        assert "level=hard" not in arguments or "hard" in result.output, line
    assert (tmp_path / "table.json").stat().st_size > 0


def test_make_has_the_two_commands() -> None:
    console = next(text for kind, text in BLOCKS if kind == "console")
    targets = [line.split("#")[0].split()[1] for line in console.splitlines()]
    assert targets == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"no target {target} in Makefile"


def test_links_lead_somewhere() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_law_table_names_the_laws_that_exist() -> None:
    from scaling.core.registry import law_names

    section = README.split("## Which law")[1].split("\n## ")[0]
    named = set(re.findall(r"^\|[^|]*\| `([a-z-]+)` \|", section, re.MULTILINE))
    assert named == set(law_names())


def test_every_caution_is_documented_and_every_documented_one_exists() -> None:
    kebab = re.compile(r"[a-z]+(-[a-z]+)+|extrapolated")

    def codes(node: ast.AST) -> set[str]:
        return {
            part.value
            for part in ast.walk(node)
            if isinstance(part, ast.Constant)
            and isinstance(part.value, str)
            and kebab.fullmatch(part.value)
        }

    raised: set[str] = set()
    for path in (ROOT / "scaling").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="Caution" | "Flag"), args=[first, *_]):
                    raised |= codes(first)
                case ast.Dict():
                    for key, value in zip(node.keys, node.values, strict=True):
                        if isinstance(key, ast.Constant) and key.value == "code":
                            raised |= codes(value)
                case ast.Assign(targets=[ast.Name(id="code")], value=value):
                    raised |= codes(value)
    page = (ROOT / "docs" / "cautions.md").read_text("utf-8")
    documented = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert raised == set(documented)
