"""`scaling drift`: whether attempts at a problem are alike from first to last."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from scaling.cli import options, show
from scaling.cli.frame import Command

ALARM = 5
"""Exit code where drift is seen."""


@click.command("drift", cls=Command)
@click.argument("sources", nargs=-1, required=True, metavar="LOG...")
@options.as_json
@click.option(
    "--map",
    "rename",
    multiple=True,
    metavar="THEIRS=OURS,...",
    help="Rename columns of the file: --map solved=correct,question=problem.",
)
@click.option(
    "--threshold",
    type=float,
    metavar="X",
    help="Count an attempt as correct when its score is at least X.",
)
def command(
    sources: tuple[str, ...], *, as_json: bool, rename: tuple[str, ...], threshold: float | None
) -> None:
    r"""Test whether attempts at a problem are exchangeable, as every law of coverage assumes.

    Needs attempt rows. Three things are looked at, all given the number of successes of each problem: a
    trend of success over the attempts, the spread between first and second half, and correlation of
    attempts 1, 2 and 128 apart. Exit code 5 where one of them is beyond chance (5%, for all tests
    together).

    \b
    scaling drift log.csv
    scaling drift 'runs/*.parquet' --json
    """
    from scaling.data.outcomes import ordered_outcomes
    from scaling.fitting.drift import attempt_drift_test

    with show.waiting(f"reading {', '.join(sources)}"):
        outcomes = ordered_outcomes(
            list(sources), rename=options.renames(rename) or None, threshold=threshold
        )
    found = [
        (dict(by), attempt_drift_test(part.bits, part.indptr, stop_rule=part.stop_rule))
        for by, part in outcomes.groups()
    ]
    if as_json:
        import json

        groups: list[dict[str, Any]] = []
        for by, drift in found:
            fields = asdict(drift)
            for name in ("autocorrelation", "autocorrelation_p_value"):
                fields[name] = {str(lag): value for lag, value in fields[name].items()}
            groups.append({"by": by, **fields, "seen": drift.seen()})
        document = {"kind": "scaling-drift", "schema_version": "1.0", "groups": groups}
        click.echo(show.document(json.dumps(document, indent=1)), nl=False)
    else:
        for by, drift in found:
            label = ", ".join(f"{k}={v}" for k, v in by.items()) or "all data"
            show.line(label, drift.message)
    if any(drift.seen() for _, drift in found):
        click.get_current_context().exit(ALARM)
