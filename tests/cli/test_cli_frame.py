"""What every command shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import scaling
from scaling.cli import main
from scaling.errors import InputError

ROOT = str(Path(scaling.__file__).parent.parent)
COMMANDS = [
    "describe",
    "passk",
    "drift",
    "overlay",
    "fit",
    "predict",
    "compare",
    "backtest",
    "plan",
    "ask",
    "cost",
    "allocate",
    "table",
    "report",
    "laws",
    "schema",
    "demo",
]
HEAVY = {"jax", "pandas", "scipy", "sympy", "duckdb", "altair"}


def modules_after(*args: str, cwd: Path) -> set[str]:
    """Top-level packages in memory after a command, in a process of its own."""
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from scaling.cli import main\n"
        "done = CliRunner().invoke(main, sys.argv[1:])\n"
        "assert done.exit_code == 0, done.output\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": ROOT},
        check=True,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "args", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)]
)
def test_help_imports_next_to_nothing(args: list[str], tmp_path: Path) -> None:
    assert not modules_after(*args, cwd=tmp_path) & {*HEAVY, "numpy", "rich", "jsonschema"}


@pytest.mark.parametrize("command", ["check", "lookup"])
def test_tables_are_served_without_jax_or_pandas(command: str, table: Path) -> None:
    rest = ["level=hard"] if command == "lookup" else []
    found = modules_after("table", command, str(table), *rest, cwd=table.parent)
    assert not found & {*HEAVY, "numpy"}
    found = modules_after("table", command, str(table), *rest, "--json", cwd=table.parent)
    assert "rich" not in found


def test_help_lists_the_commands_in_order(run) -> None:
    done = run("--help")
    assert done.exit_code == 0
    listed = [line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines()[1:]]
    assert listed == COMMANDS


@pytest.mark.parametrize(
    "command", [[c] for c in COMMANDS] + [["table", "check"], ["table", "lookup"]]
)
def test_help_shows_examples_before_options(run, command: list[str]) -> None:
    done = run(*command, "--help")
    assert done.exit_code == 0
    example = f"\n  scaling {' '.join(command)}"
    assert example in done.stdout
    assert done.stdout.index(example) < done.stdout.index("Options:")
    assert "\b" not in done.stdout
    assert "\\b" not in done.stdout


def test_version(run) -> None:
    assert scaling.__version__ in run("--version").stdout


def test_unknown_command_names_the_near_one(run) -> None:
    done = run("alocate")
    assert done.exit_code == 2
    assert "Did you mean 'allocate'" in done.stderr
    assert done.stdout == ""


def test_unknown_option_exits_2(run) -> None:
    done = run("fit", "--lwa", "x")
    assert done.exit_code == 2
    assert "--law" in done.stderr


def broken(*_: object, **__: object) -> None:
    raise ZeroDivisionError("a fault\nof two lines")


def test_unexpected_fault_is_one_line(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling.core.registry.law", broken)
    done = run("laws", "beta-binomial")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr == (
        "unexpected error: ZeroDivisionError: a fault of two lines; "
        "run again with --debug and report it\n"
    )


@pytest.mark.parametrize(
    "args", [["--debug", "laws", "beta-binomial"], ["laws", "beta-binomial", "--debug"]]
)
def test_debug_lets_the_traceback_through(args, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scaling.core.registry.law", broken)
    assert isinstance(CliRunner().invoke(main, args).exception, ZeroDivisionError)


def test_debug_lets_the_traceback_of_bad_input_through() -> None:
    done = CliRunner().invoke(main, ["describe", "absent.csv", "--debug"])
    assert isinstance(done.exception, InputError)


def test_interrupt_exits_130(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("scaling.core.registry.law", interrupted)
    done = run("laws", "beta-binomial")
    assert done.exit_code == 130
    assert done.stdout == ""


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"TERM": "xterm-256color"}])
def test_piped_output_has_no_escape_codes(counts: Path, environment: dict[str, str]) -> None:
    plain = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    args = ("--law", "beta-binomial", "--replicates", "50", "-o", counts.with_name("fit.json"))
    done = subprocess.run(
        [sys.executable, "-m", "scaling", "fit", counts, *args],
        capture_output=True,
        env=plain | environment | {"PYTHONPATH": ROOT},
        check=True,
    )
    assert b"\x1b" not in done.stdout + done.stderr
    assert done.stderr == b""
    last = done.stdout.decode().rstrip("\n").splitlines()[-1]
    assert last == f"wrote {counts.with_name('fit.json')}"


def test_no_color_is_honoured_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from scaling.cli import show

    class Terminal:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            return len(text)

        def flush(self) -> None:
            pass

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert show.console().color_system is None or show.console().no_color
    monkeypatch.delenv("NO_COLOR")
    assert not show.console().no_color


def test_json_of_every_command_is_one_document(run, fit: Path, table: Path, levels: Path) -> None:
    budget = ("--budget", 800, "--unit", "tokens")
    for args in (
        ("describe", levels),
        ("fit", levels, "--law", "beta-binomial", "--interval", "none", "-o", fit.parent / "f"),
        ("predict", fit, "--at", "samples=1,10", "-o", fit.parent / "p"),
        ("predict", fit, "--target", "0.5"),
        ("allocate", fit, *budget, "-o", fit.parent / "t"),
        ("allocate", levels, *budget),
        ("cost", "Qwen3-8B", "h100_sxm", "--in", 9, "--out", 9),
        ("table", "check", table),
        ("table", "lookup", table, "level=hard"),
        ("table", "lookup", table, "level=unheard-of"),
        ("laws",),
        ("laws", "beta-binomial"),
    ):
        done = run(*args, "--json")
        assert done.exit_code == 0, done.output
        assert isinstance(json.loads(done.stdout, parse_constant=pytest.fail), dict)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (None, "—"),
        (float("nan"), "—"),
        (0.0, "0"),
        (-0.1823, "-0.1823"),
        (-0.2, "-0.2000"),
        (7.5924, "7.592"),
        (1489.3, "1,489"),
        (2_743_636.0, "2,743,636"),
        (1.5e-7, "1.500e-07"),
        (3.2e15, "3.200e+15"),
    ],
)
def test_estimates_for_people(x: float | None, text: str) -> None:
    from scaling.cli import show

    assert show.number(x) == text


@pytest.mark.parametrize(
    ("x", "text"), [(4000, "4,000"), (0.02, "0.02"), (1234.5, "1,234.5"), (1e13, "1e+13")]
)
def test_amounts_for_people(x: float, text: str) -> None:
    from scaling.cli import show

    assert show.amount(x) == text


def test_a_caution_of_several_groups_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    from scaling.cli import show

    show.cautions([(f"g{i}", "at-bound", "at its bound") for i in range(5)])
    out = capsys.readouterr().out
    assert out.count("at its bound") == 1
    assert "g0; g1; g2 and 2 more" in out


def test_numbers_are_never_cut_off(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from scaling.cli import show

    monkeypatch.setenv("COLUMNS", "30")
    rows = [("a long label of a group", "0.1234 [0.1000, 0.2000]", "0.5678 [0.5000, 0.6000]")]
    show.table(("group", "k=1", "k=10"), rows, numbers=("k=1", "k=10"))
    said = capsys.readouterr().out
    for cell in rows[0]:
        assert cell in said
