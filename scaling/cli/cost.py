"""`scaling cost`: what a group of samples costs, term by term."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import cost_options, options, show
from scaling.cli.frame import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from scaling.costs import CostBreakdown
    from scaling.costs.capacity import Footprint

_UNITS = {"flops": "FLOPs", "bytes": "bytes", "seconds": "seconds", "joules": "joules"}


@click.command("cost", cls=Command)
@click.argument("model", metavar="MODEL")
@click.argument("hardware", metavar="HARDWARE")
@click.option("--in", "input_tokens", required=True, metavar="N", help="Tokens of the prompt.")
@click.option("--out", "output_tokens", required=True, metavar="N", help="Tokens of each sample.")
@click.option(
    "--samples", type=click.IntRange(min=1), default=1, show_default=True, help="Of one prompt."
)
@click.option("--kv-budget", metavar="N", help="Cached tokens that a step reads at most.")
@click.option("--block", metavar="N", help="Fill the budget by scoring blocks of N tokens.")
@click.option("--apart", is_flag=True, help="Samples do not share the cached prompt.")
@click.option(
    "--prefill",
    type=click.Choice(["once", "each", "cached"]),
    default="once",
    show_default=True,
    help="Whether the prompt is processed once, once a sample, or was before.",
)
@cost_options.pricing
@options.output("F", "Write the cost document.")
@options.as_json
def command(
    model: str,
    hardware: str,
    *,
    input_tokens: str,
    output_tokens: str,
    samples: int,
    kv_budget: str | None,
    block: str | None,
    apart: bool,
    prefill: str,
    output: Path | None,
    as_json: bool,
    head_dim: int | None,
    price_per_hour: str | None,
    **settings: Any,
) -> None:
    r"""What samples of one prompt cost: FLOPs, bytes, eFLOPs, seconds, joules and dollars.

    \b
    scaling cost Qwen3-8B h100_sxm --in 300 --out 8000 --samples 16
    scaling cost Qwen3-8B h100_sxm --in 300 --out 8000 --samples 16 --kv-budget 1024 --block 16
    scaling cost path/to/config.json b200_sxm --in 300 --out 8000 --dtype fp8 --price-per-hour 4

    MODEL is a name of the catalogue or a config.json. eFLOPs are FLOPs plus intensity times bytes. Exit
    code 4 where weights and caches exceed the memory; the smallest --tp that fits is named.
    """
    numbers: dict[str, Any] = {
        "input_tokens": options.finite(input_tokens, "--in"),
        "output_tokens": options.finite(output_tokens, "--out"),
        "kv_budget": None if kv_budget is None else options.finite(kv_budget, "--kv-budget"),
        "block": None if block is None else options.finite(block, "--block"),
    }
    options.check_output(output, [])

    from scaling.costs import Request
    from scaling.costs.capacity import ensure_fits

    cost = cost_options.definition(
        cost_options.shape(model, head_dim),
        cost_options.accelerator(hardware, price_per_hour),
        prefill=prefill,
        **settings,
    )
    request = Request(**numbers, samples=samples, share_prompt=not apart)
    room = ensure_fits(
        cost,
        input_tokens=numbers["input_tokens"],
        output_tokens=numbers["output_tokens"],
        samples=samples,
        share_prompt=not apart,
        requests=1 if math.isinf(cost.n_share) else cost.n_share,
    )
    priced = cost.price(request)
    asked = {**numbers, "samples": samples, "share_prompt": request.shares}
    text = show.document(document(priced, asked, room)) if output or as_json else ""
    options.give(
        text, output, lambda: report(priced, asked, room, model, hardware), as_json=as_json
    )


def document(priced: CostBreakdown, asked: Mapping[str, Any], room: Footprint) -> dict[str, Any]:
    """The cost document."""
    from scaling._version import __version__

    return {
        "schema_version": "1.0",
        "kind": "scaling-cost",
        "request": dict(asked),
        **priced.document(),
        "memory": room.document(),
        "sensitivity": list(sensitivity(priced)),
        "cost_model": {"name": "kinetics", **priced.cost.document()},
        "tool": {"name": "scaling", "version": __version__},
    }


def sensitivity(priced: CostBreakdown) -> Iterator[dict[str, Any]]:
    """What it is in eFLOPs, and the largest part at other charges for a byte."""
    from scaling.costs.kinetics import INTENSITIES

    for intensity in INTENSITIES:
        again = replace(priced.cost, intensity=intensity).price(priced.request)
        name, share = again.dominant()
        yield {
            "intensity": intensity,
            "eflops": float(again.eflops),
            "dominant": {"term": name, "share_of_eflops": share},
        }


def report(
    priced: CostBreakdown, asked: Mapping[str, Any], room: Footprint, model: str, hardware: str
) -> None:
    """What a person reads of a cost."""
    found, cost = priced.document(), priced.cost
    m, h = cost.model, cost.hardware
    assert h is not None  # noqa: S101 - the command has one
    heads = f"{m.query_heads} heads" + (f" over {m.kv_heads}" if m.kv_heads else "")
    active = "" if not m.experts else f", {m.active_parameters / 1e9:,.2f} B active"
    show.line(
        "model",
        f"{m.name}: {m.total_parameters / 1e9:,.2f} B parameters{active}; {m.layers} layers, "
        f"{m.attention.upper()} ({heads}), {cost.kv_bytes * m.kv_elements / 1024:,.1f} KiB of cache a token",
    )
    show.line(
        "hardware",
        f"{room.degree} {h.name}: {h.peak(cost.dtype) / 1e12:,.0f} TFLOP/s in {cost.dtype}, "
        f"{h.bandwidth / 1e12:,.2f} TB/s",
    )
    sparse = (
        "" if asked["kv_budget"] is None else f", {asked['kv_budget']:,.0f} cached tokens a step"
    )
    show.line(
        "request",
        f"{asked['samples']:,} samples of {asked['output_tokens']:,.0f} tokens after "
        f"{asked['input_tokens']:,.0f}{sparse}",
    )
    eflops = priced.parts("eflops")
    rows = [
        (
            name,
            _short(found["flops"].get(name)),
            _short(found["bytes"].get(name)),
            _short(float(value)),
            f"{float(value) / found['totals']['eflops']:.1%}" if found["totals"]["eflops"] else "",
        )
        for name, value in eflops.items()
    ]
    totals = found["totals"]
    whole = [_short(totals[k]) for k in ("flops", "bytes", "eflops")]
    rows.append(("all", whole[0], whole[1], whole[2], ""))
    numbers = ("FLOPs", "bytes", "eFLOPs", "share")
    show.table(("part", *numbers), rows, numbers=numbers)
    also = [f"{_short(totals[k])} {unit}" for k, unit in _UNITS.items() if totals[k] is not None]
    also += [] if totals["usd"] is None else [f"${show.amount(totals['usd'], 4)}"]
    show.line("in all", ", ".join(also))
    largest = found["dominant"]
    show.line("dominates", f"{largest['term']}, {largest['share_of_eflops']:.0%} of the eFLOPs")
    show.line("intensity", _sensitivity(priced))
    if room.usable is not None:
        show.line(
            "memory",
            f"weights {room.weights / 2**30:,.1f} GiB and caches {room.caches / 2**30:,.1f} GiB of "
            f"{room.usable / 2**30:,.1f} GiB usable",
        )
    show.lines([("assumed", text) for text in cost_options.assumptions(cost.document())])
    for text in _conflicts(m.name, h.name):
        show.line("sources", text)
    head = f"--head-dim {m.head_dim} " if Path(model).exists() and m.head_dim else ""
    show.following(
        "scaling allocate fit.json --budget X --unit eflops --cost kinetics "
        f"--model-config {model} {head}--hardware {hardware} --input-tokens {asked['input_tokens']:.0f}"
    )


def _short(amount: float | None) -> str:
    return show.MISSING if amount is None else f"{amount:,.4g}"


def _sensitivity(priced: CostBreakdown) -> str:
    rows = list(sensitivity(priced))
    first, last = rows[0], rows[-1]
    names = list(dict.fromkeys(row["dominant"]["term"] for row in rows))
    return (
        f"at {first['intensity']:.0f} to {last['intensity']:.0f} FLOPs a byte: "
        f"{_short(first['eflops'])} to {_short(last['eflops'])} eFLOPs; "
        f"the largest part is {', then '.join(names)}"
    )


def _conflicts(model: str, hardware: str) -> Iterator[str]:
    """What other sources state of the model and the accelerator."""
    from scaling.data.catalogue import hardware as accelerators
    from scaling.data.catalogue import models

    for name, found in (
        (model, models.CONFLICTS.get(model, ())),
        (hardware, accelerators.CONFLICTS.get(hardware, ())),
    ):
        for source in dict.fromkeys(c.source for c in found):
            mine = [c for c in found if c.source == source]
            said = ", ".join(f"{c.figure.replace('_', ' ')} {_short(c.value)}" for c in mine)
            yield f"{name}, not taken: {said} ({source})"
