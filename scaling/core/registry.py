"""What exists: one file a member, listed without importing any.

`python -m scaling.core.registry` prints the inventory as Markdown.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from scaling.core.law import Law

ROOT = Path(__file__).parent.parent


FORECASTERS = ("forecast",)
"""What users name as a law and is none: it weighs several."""


def law_names() -> tuple[str, ...]:
    """Names of all laws, in alphabetical order."""
    return tuple(sorted(f.stem.replace("_", "-") for f in (ROOT / "laws").glob("[!_]*.py")))


def law(name: str) -> Law:
    """The law of that name.

    Raises:
        UsageError: listing those that exist.
    """
    if name in FORECASTERS:
        from scaling.core.tabulated import FORECAST

        return FORECAST
    if name not in law_names():
        names = (*law_names(), *FORECASTERS)
        known = ", ".join(names)
        msg = f"there is no law '{name}'; the laws are {known}.{did_you_mean(name, names)}"
        raise UsageError(msg)
    module = importlib.import_module(f"scaling.laws.{name.replace('-', '_')}")
    found: Law = module.LAW
    return found


def cost_options() -> dict[str, Any]:
    """Cost options by file name, each as its module's `EXAMPLE`: all numbers given, to be checked."""
    found = {}
    for name in families()["cost models"]:
        module = importlib.import_module(f"scaling.costs.{name.replace('-', '_')}")
        if hasattr(module, "EXAMPLE"):
            found[name] = module.EXAMPLE
    return found


FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "laws": ("laws", ()),
    "cost models": (
        "costs",
        (
            *(
                "breakdown",
                "capacity",
                "collectives",
                "composition",
                "hardware",
                "huggingface",
                "kv_reads",
                "model_config",
            ),
            "work",
            "workload",
        ),
    ),
    "allocators": (
        "allocators",
        (
            "actions",
            "allocate",
            "allocation",
            "bracket",
            "explain",
            "risk",
            "cvar",
            "confidence",
            "conflict",
            "constrained",
            "frontier",
            "limit",
            "linear",
            "masks",
            "online_replay",
            "policy_curves",
            "problem",
            "query_menus",
            "repair",
            "result",
            "sensitivity",
        ),
    ),
    "closed forms": ("allocators/closed_forms", ()),
    "readers": ("data/readers", ()),
    "exports": ("tables/export", ()),
}
"""Family to its folder and to the files there that are not members."""


def families() -> dict[str, dict[str, str]]:
    """Every member of every family with the first line of its docstring, read without importing."""
    out: dict[str, dict[str, str]] = {}
    for family, (folder, others) in FAMILIES.items():
        files = sorted(f for f in (ROOT / folder).glob("[!_]*.py") if f.stem not in others)
        out[family] = {f.stem.replace("_", "-"): _first_line(f) for f in files}
    return out


def _first_line(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return docstring.split("\n", maxsplit=1)[0]


def markdown() -> str:
    """The inventory as a Markdown table."""
    lines = ["| family | member | what it is |", "|---|---|---|"]
    for family, members in families().items():
        lines += [f"| {family} | `{name}` | {text} |" for name, text in members.items()]
        if not members:
            lines.append(f"| {family} | | none yet |")
    return "\n".join(lines)


MARKERS = "<!-- inventory: begin -->", "<!-- inventory: end -->"


def main(arguments: list[str]) -> None:
    """Print the inventory, or with `--write FILE` put it between the markers of FILE."""
    if arguments[:1] != ["--write"]:
        print(markdown())  # noqa: T201
        return
    file = Path(arguments[1])
    before, rest = file.read_text("utf-8").split(MARKERS[0])
    after = rest.split(MARKERS[1])[1]
    file.write_text(f"{before}{MARKERS[0]}\n{markdown()}\n{MARKERS[1]}{after}", "utf-8")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
