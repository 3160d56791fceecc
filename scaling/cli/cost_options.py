"""Options that say what inference costs, for the commands that price it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scaling.cli import options
from scaling.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from scaling.costs import CostModel, Hardware, ModelConfig

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


def _composition(text: str) -> Any:
    from scaling.costs import Composition

    name, colon, exponent = text.partition(":")
    if name == "fitted" or (colon and name != "p-norm"):
        raise UsageError(f"--composition {text}: give additive, max, p-norm or p-norm:P.")
    if colon:
        return Composition("p-norm", options.finite(exponent, "--composition p-norm"))
    rule: Any = name  # refused there if it is none
    return Composition(rule)
