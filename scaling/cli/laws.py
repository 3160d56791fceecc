"""`scaling laws`: what may be fitted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Command

if TYPE_CHECKING:
    from scaling.core.law import Law


@click.command("laws", cls=Command)
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, *, as_json: bool) -> None:
    r"""List the laws, or show one with its formula, parameters and sources.

    \b
    scaling laws
    scaling laws beta-binomial
    """
    from scaling.core.registry import FORECASTERS, law, law_names

    chosen = [law(n) for n in ([name] if name else (*law_names(), *FORECASTERS))]
    if as_json:
        records = [_record(each) for each in chosen]
        click.echo(show.document(records[0] if name else {"laws": records}), nl=False)
    elif name:
        _one(chosen[0])
    else:
        show.table(
            ("law", "meaning", "inputs", "objectives", "presets"),
            (
                (
                    each.name,
                    each.meaning,
                    ", ".join(i.column for i in each.inputs),
                    ", ".join(each.objectives),
                    ", ".join(each.presets) or show.MISSING,
                )
                for each in chosen
            ),
        )
        show.following(f"scaling laws {chosen[0].name}")


def _one(law: Law) -> None:
    from scaling.core.tabulated import Tabulated
    from scaling.report.formula import characters, latex

    show.line("law", f"{law.name}: {law.meaning}")
    tabulated = isinstance(law, Tabulated)
    if tabulated:
        first, last = law.params[0], law.params[-1]
        show.line(
            "formula",
            f"none: {law.output.name} itself at {len(law.params)} numbers of samples, from "
            f"{first.symbol} to {last.symbol}, and a monotone cubic in between",
        )
    else:
        show.line("formula", characters(law))
        show.line("LaTeX", latex(law))
    show.line("output", f"{law.output.name}: {law.output.meaning}")
    show.line("claims", ", ".join(law.claims) or show.MISSING)
    show.table(("input", "column", "unit"), ((i.symbol, i.column, i.unit) for i in law.inputs))
    if not tabulated:
        show.table(
            ("parameter", "support", "unit", "meaning"),
            ((p.symbol, str(p.support), p.unit, p.meaning) for p in law.params),
        )
    if law.derived:
        show.table(("derived", "meaning"), ((d.name, d.meaning) for d in law.derived))
    show.table(
        ("objective", "needs", "minimises"),
        (
            (o.name, o.observation.meaning, o.formula)
            for o in (law.objective(name) for name in law.objectives)
        ),
    )
    if law.presets:
        show.table(("preset", "meaning"), ((n, p.meaning) for n, p in law.presets.items()))
    for reference in law.references:
        arxiv = f", arXiv:{reference.arxiv}" if reference.arxiv else ""
        show.line("source", f"{reference.text}{arxiv}: {reference.place}")
    show.following(f"scaling fit SWEEP --law {law.name} -o fit.json")


def _record(law: Law) -> dict[str, Any]:
    from scaling.core.tabulated import Tabulated
    from scaling.report.formula import latex

    return {
        "name": law.name,
        "meaning": law.meaning,
        "formula": None if isinstance(law, Tabulated) else latex(law),
        "output": {
            "name": law.output.name,
            "meaning": law.output.meaning,
            "range": [end if math.isfinite(end) else None for end in law.output.range],
        },
        "inputs": [{"symbol": i.symbol, "column": i.column, "unit": i.unit} for i in law.inputs],
        "params": [
            {"symbol": p.symbol, "support": str(p.support), "unit": p.unit, "meaning": p.meaning}
            for p in law.params
        ],
        "derived": {d.name: d.meaning for d in law.derived},
        "objectives": list(law.objectives),
        "presets": {n: p.meaning for n, p in law.presets.items()},
        "claims": list(law.claims),
        "references": [
            {"text": r.text, "place": r.place, "arxiv": r.arxiv} for r in law.references
        ],
    }
