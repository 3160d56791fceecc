"""What an accelerator can do: arithmetic, bandwidth, capacity, power and price, each with its source."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scaling.errors import InputError, UsageError

DTYPE_BYTES: Mapping[str, float] = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5, "int4": 0.5}
"""Bytes of one element; fp16 is bf16 here, and int4 is stored only: no peak is listed for it."""

FIGURES = (
    "bandwidth",
    "capacity",
    "intra_node",
    "inter_node",
    "tdp",
    "price_per_hour",
)


@dataclass(frozen=True)
class Hardware:
    """One accelerator.

    Attributes:
        name: as users type it.
        flops: dtype to peak dense FLOP/s, without structured sparsity.
        bandwidth: W, memory bytes/s.
        capacity: memory in bytes.
        intra_node, inter_node: link bytes/s of one accelerator in one direction.
        tdp: watts.
        price_per_hour: dollars.
        source: where the figures come from.
        sources: figure to a source of its own, where it differs; a dtype names its peak.

    Raises:
        InputError: a figure that is not a positive finite number, or an unknown dtype.
    """

    name: str
    flops: Mapping[str, float]
    bandwidth: float
    capacity: float | None = None
    intra_node: float | None = None
    inter_node: float | None = None
    tdp: float | None = None
    price_per_hour: float | None = None
    source: str = "user"
    sources: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted(set(self.flops) - set(DTYPE_BYTES))
        if unknown or not self.flops:
            raise InputError(
                f"{self.name}: peaks are given for {', '.join(unknown) or 'no dtype'}; "
                f"dtypes are {', '.join(DTYPE_BYTES)}."
            )
        given = {**{k: getattr(self, k) for k in FIGURES}, **self.flops}
        for name, value in given.items():
            if value is None and name != "bandwidth":
                continue
            if value is None or not math.isfinite(value) or value <= 0:
                raise InputError(f"{self.name}: {name} is {value}. It must be a positive number.")

    def peak(self, dtype: str = "bf16") -> float:
        """F: peak FLOP/s of a dtype.

        Raises:
            UsageError: no peak is known; those known are listed.
        """
        if dtype not in self.flops:
            raise UsageError(
                f"{self.name} has no peak for {dtype}; it has {', '.join(sorted(self.flops))}."
            )
        return self.flops[dtype]

    def intensity(self, dtype: str = "bf16") -> float:
        """F / W: FLOPs that take as long as one byte of memory."""
        return self.peak(dtype) / self.bandwidth

    def known(self, figure: str) -> float:
        """A figure that not every entry has.

        Raises:
            UsageError: it is not known here; the message says how to give it.
        """
        value: float | None = getattr(self, figure)
        if value is None:
            raise UsageError(
                f"{self.name} has no {figure.replace('_', ' ')} here. "
                f"Give it: dataclasses.replace(hardware, {figure}=X)."
            )
        return value

    def source_of(self, figure: str) -> str:
        """Where a figure comes from; a dtype names its peak."""
        return self.sources.get(figure, self.source)

    def document(self) -> dict[str, Any]:
        """The figures for the record, those unknown left out."""
        given = {k: getattr(self, k) for k in FIGURES if getattr(self, k) is not None}
        return {"name": self.name, "flops": dict(self.flops), **given, "source": self.source}
