"""Options that say what inference costs, for the commands that price it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options
from scaling.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from scaling.costs import CostModel, Hardware, KineticsCosts, ModelConfig

_STORED = ("bf16", "fp8", "int8", "fp4", "int4")

SETTINGS = (
    "mode",
    "intensity",
    "composition",
    "dtype",
    "weight_dtype",
    "kv_dtype",
    "n_share",
    "tensor_parallel",
    "price_per_hour",
    "head_dim",
)
"""Names of the options that `pricing` adds."""


def pricing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a definition of what inference costs."""
    for option in (
        click.option(
            "--head-dim",
            type=click.IntRange(min=1),
            metavar="N",
            help="Head dimension, where a config.json lacks it.",
        ),
        click.option(
            "--price-per-hour", metavar="X", help="Dollars an accelerator-hour: usd is a resource."
        ),
        click.option(
            "--tp",
            "tensor_parallel",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            metavar="N",
            help="Accelerators that share the model.",
        ),
        click.option(
            "--n-share",
            metavar="N",
            help="Requests that share a step's weight reads. Default: so many that weights cost nothing.",
        ),
        click.option(
            "--kv-dtype",
            type=click.Choice(_STORED),
            default="bf16",
            show_default=True,
            help="How caches are stored.",
        ),
        click.option(
            "--weight-dtype",
            type=click.Choice(_STORED),
            default="bf16",
            show_default=True,
            help="How weights are stored.",
        ),
        click.option(
            "--dtype",
            type=click.Choice(_STORED[:4]),
            default="bf16",
            show_default=True,
            help="Of the arithmetic: whose peak counts.",
        ),
        click.option(
            "--composition",
            default="additive",
            show_default=True,
            metavar="additive|max|p-norm:P",
            help="How arithmetic and memory make up the time.",
        ),
        click.option(
            "--intensity", metavar="I", help="FLOPs charged a byte. Default: peak over bandwidth."
        ),
        click.option(
            "--mode",
            type=click.Choice(["exact", "published"]),
            default="exact",
            show_default=True,
            help="published: as the code of Kinetics counts.",
        ),
    ):
        command = option(command)
    return command


def positive(text: str, flag: str) -> float:
    """Read a number above zero."""
    value = options.finite(text, flag)
    if value <= 0:
        raise UsageError(f"{flag} is {text}. It must be above zero.")
    return value


def shape(text: str, head_dim: int | None = None) -> ModelConfig:
    """The shape of a model: a name of the catalogue, or the path of a `config.json`."""
    from scaling.costs import ModelConfig
    from scaling.data.catalogue.models import model

    if text.endswith(".json") or Path(text).exists():
        return ModelConfig.read(text, head_dim=head_dim)
    return model(text)


def accelerator(text: str, price_per_hour: str | None = None) -> Hardware:
    """An accelerator of the catalogue, with a price where one is given."""
    from scaling.data.catalogue.hardware import hardware

    found = hardware(text)
    if price_per_hour is None:
        return found
    price = positive(price_per_hour, "--price-per-hour")
    return replace(found, price_per_hour=price, sources={"price_per_hour": "user"})


def definition(
    model: ModelConfig, hardware: Hardware | None, *, prefill: Any = "once", **settings: Any
) -> CostModel:
    """What inference costs, from the settings that `pricing` reads."""
    from scaling.costs import CostModel
    from scaling.costs.hardware import DTYPE_BYTES
    from scaling.data.catalogue.models import KINETICS_PARAMETERS

    published = settings["mode"] == "published"
    n_share, intensity = settings["n_share"], settings["intensity"]
    found = CostModel(
        model,
        hardware,
        mode=settings["mode"],
        intensity=None if intensity is None else positive(intensity, "--intensity"),
        dtype=settings["dtype"],
        weight_bytes=DTYPE_BYTES[settings["weight_dtype"]],
        kv_bytes=DTYPE_BYTES[settings["kv_dtype"]],
        prefill=prefill,
        n_share=float("inf") if n_share is None else positive(n_share, "--n-share"),
        parameters=KINETICS_PARAMETERS.get(model.name) if published else None,
        tensor_parallel=settings["tensor_parallel"],
        composition=_composition(settings["composition"]),
    )
    if hardware is not None:
        hardware.peak(found.dtype)  # refuses a dtype that it lacks
    return found


def definitions(
    shapes: str | None,
    hardware: str | None,
    *,
    head_dim: int | None,
    price_per_hour: str | None,
    **settings: Any,
) -> CostModel | dict[str, CostModel] | None:
    """One definition, or one a model from `model=NAME,...`; None where no shape is given."""
    if shapes is None:
        return None
    where = None if hardware is None else accelerator(hardware, price_per_hour)
    if where is None and price_per_hour is not None:
        raise UsageError("--price-per-hour is that of an accelerator. Add --hardware.")
    if "=" not in shapes:
        return definition(shape(shapes, head_dim), where, **settings)
    named = options.pairs(shapes, "--model-config")
    return {m: definition(shape(text, head_dim), where, **settings) for m, text in named.items()}


def kinetics(
    definition: CostModel | dict[str, CostModel] | None,
    given: dict[str, Any],
    *,
    prompt_once: bool,
) -> KineticsCosts:
    """The cost option `kinetics`; shapes given by hand are refused, which it takes from the models."""
    from scaling.costs import KineticsCosts

    for name in ("parameters", "layers", "width"):
        if name in given:
            raise UsageError(
                f"--{name} and --cost kinetics both give the shape of the model. Leave out --{name}."
            )
    return KineticsCosts(**given, definition=definition, prompt_once=prompt_once)


def _composition(text: str) -> Any:
    from scaling.costs import Composition

    name, colon, exponent = text.partition(":")
    if name == "fitted" or (colon and name != "p-norm"):
        raise UsageError(f"--composition {text}: give additive, max, p-norm or p-norm:P.")
    if colon:
        return Composition("p-norm", options.finite(exponent, "--composition p-norm"))
    rule: Any = name  # refused there if it is none
    return Composition(rule)


def assumptions(record: Mapping[str, Any]) -> Iterator[str]:
    """Every choice behind the numbers, defaults included, from the record of a cost model."""
    from scaling.cli import show

    rule = {
        "additive": "arithmetic and memory traffic do not overlap (additive)",
        "max": "arithmetic and memory traffic overlap perfectly (max)",
    }.get(
        record["composition"], f"arithmetic and memory traffic compose by {record['composition']}"
    )
    yield (
        f"{record['mode']} mode, {record['sum']} sums; {rule}; "
        f"{show.amount(record['intensity'], 4)} FLOPs charged a byte"
    )
    weights = (
        "weight reads are spread over a large batch and cost nothing"
        if record["n_share"] is None
        else f"weight reads are shared by {show.amount(record['n_share'])} requests"
    )
    yield (
        f"{record['dtype']} arithmetic, {show.amount(record['weight_bytes'])} bytes a weight, "
        f"{show.amount(record['kv_bytes'])} a cached element; {weights}"
    )
    prefill = {
        "once": "the prompt is processed once",
        "each": "the prompt is processed once a sample",
        "cached": "the prompt's cache is there already",
    }[record["prefill"]]
    yield f"{prefill}; samples decode in lock-step"
    if "models" in record:
        shapes = (f"{name} is {each['shape']['name']}" for name, each in record["models"].items())
        own = "" if "tokens_per_sample" in record else "; samples have their mean tokens of the log"
        yield ", ".join(shapes) + own


def sensitivity(rows: Sequence[Mapping[str, float]]) -> str:
    """What of an allocation hangs on the charge for a byte."""
    least, most = rows[0]["intensity"], rows[-1]["intensity"]
    moved = max(rows, key=lambda row: row["changed_share"])
    if not moved["changed_share"]:
        return (
            f"at {least:.0f} to {most:.0f} FLOPs a byte every query would get the same for as much"
        )
    gain = max(row["gain"] for row in rows)
    return (
        f"at {least:.0f} to {most:.0f} FLOPs a byte up to {moved['changed_share']:.0%} of the queries "
        f"(at {moved['intensity']:.0f}) would get another action for as much, worth {100 * gain:.2g} points"
    )
