"""`scaling overlay`: whether models of a family trace one curve, each at its own pace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Command
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from scaling.fitting.overlay import EqualExponents, Overlay, Shifted

RATIOS = (1, 10, 100)


@click.command("overlay", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="SWEEP...")
@click.option("--by", metavar="COLS", help="Columns whose values are laid over each other.")
@click.option("--where", multiple=True, metavar="COL=VALUE,...", help="Only these rows.")
@click.option("--anchor", type=float, metavar="C", help="Coverage at which all are aligned.")
@click.option(
    "--objective",
    type=click.Choice(["logcov", "cov", "loglog"]),
    default="logcov",
    show_default=True,
    help="Of the exponentiated power laws whose exponents are tested.",
)
@click.option("--replicates", type=int, default=1000, show_default=True, help="Resamples.")
@options.output("F", "Write the document.")
@options.as_json
@options.reading
@options.seed
def command(
    sources: tuple[str, ...],
    *,
    by: str | None,
    where: tuple[str, ...],
    anchor: float | None,
    objective: str,
    replicates: int,
    output: Path | None,
    as_json: bool,
    rename: tuple[str, ...],
    check_duplicates: bool,
    threshold: float | None,
    seed: int,
) -> None:
    r"""Shift coverage curves onto each other, and test whether their exponents are equal.

    Each curve is shifted by k0, the number of samples that brings it to the anchor: by default the best
    single-sample coverage of all (Brown et al. 2024, section 3.2). Curves of one shape then agree at the
    same multiple of k0. The test fits exponentiated power laws with one shared exponent and with separate
    ones; problems are resampled jointly over the models.

    \b
    scaling overlay sweep.csv --by model
    scaling overlay sweep.csv --where task=MATH --anchor 0.02 --json
    """
    from scaling.data.evidence import Counts
    from scaling.fitting.overlay import equal_exponents, overlay
    from scaling.fitting.passk import log_grid, unique_counts

    options.check_output(output, sources)
    sweep = options.read_sweep(
        sources, rename=rename, check_duplicates=check_duplicates, threshold=threshold
    )
    groups = sweep.groups(options.columns(by), where=options.each_pair(where, "--where") or None)
    counts = {show.place(g.by): g for g in groups if isinstance(g, Counts)}
    if len(counts) < 2:
        msg = (
            f"{', '.join(sources)}: {len(counts)} group of problems with counts, and an overlay needs two or "
            "more. Give a log of several models, or --by COLS."
        )
        raise InputError(msg)
    laid = overlay(
        {name: unique_counts(g.n, g.c) for name, g in counts.items()},
        anchor=anchor,
        ratios=sorted({*RATIOS, *log_grid(1_000_000, 60).tolist()}),
    )
    with show.waiting("testing exponents"):
        test = equal_exponents(counts, objective=objective, replicates=replicates, seed=seed)
    options.give(
        show.document(_document(laid, test)), output, lambda: report(laid, test), as_json=as_json
    )


def _document(laid: Overlay, test: EqualExponents) -> dict[str, Any]:
    return {
        "kind": "scaling-overlay",
        "schema_version": "1.0",
        "anchor": laid.anchor,
        "curves": [
            {
                "group": each.label,
                "k0": each.k0,
                "samples": each.k.tolist(),
                "coverage": each.coverage.tolist(),
            }
            for each in laid.curves
        ],
        "beyond": list(laid.beyond),
        "equal_exponents": {
            "exponents": dict(test.exponents),
            "errors": dict(test.errors),
            "shared": test.shared,
            "statistic": test.statistic,
            "p_value": test.p_value,
            "replicates": test.replicates,
            "method": test.method,
        },
    }


def report(laid: Overlay, test: EqualExponents) -> None:
    """What a person reads of an overlay."""
    show.line("anchor", f"coverage {show.number(laid.anchor)}, to which each curve is shifted")
    heads = tuple(f"at {ratio} k0" for ratio in RATIOS)
    show.table(
        ("group", "k0", *heads, "exponent b", "se"),
        (
            (
                each.label,
                f"{each.k0:,}",
                *(show.number(_at(each, ratio)) for ratio in RATIOS),
                show.number(test.exponents[each.label]),
                show.number(test.errors[each.label]),
            )
            for each in laid.curves
        ),
        numbers=("k0", *heads, "exponent b", "se"),
    )
    for name in laid.beyond:
        show.line(
            "note", f"{name} never reaches the anchor within its attempts, so it is not shifted"
        )
    verdict = (
        "the data tell the exponents apart"
        if test.p_value < 0.05
        else ("the data do not tell the exponents apart")
    )
    show.line(
        "exponents",
        f"one for all: b = {show.number(test.shared)}; p = {test.p_value:.3g} that they are equal: {verdict}",
    )
    show.line("test", test.method)


def _at(curve: Shifted, ratio: int) -> float | None:
    """Coverage of a shifted curve at a multiple of its k0, None beyond its attempts."""
    known = dict(zip(curve.k.tolist(), curve.coverage.tolist(), strict=True))
    return known.get(ratio * curve.k0)
