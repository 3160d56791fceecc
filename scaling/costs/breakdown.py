"""A priced request: every term of its cost, totals in every unit, and gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.costs.inference import CostModel, Term
    from scaling.costs.workload import Request, Sums

FloatArray = NDArray[np.float64]

KNOBS = ("output_tokens", "samples", "kv_budget")
"""What gradients are taken in."""


@dataclass(frozen=True)
class CostBreakdown:
    """What a request costs. Each quantity is computed when it is asked for, shape that of the request.

    Attributes:
        cost: the definition.
        request: what was priced.
        terms: parts of the cost; a quantity is a sum of them.
    """

    cost: CostModel
    request: Request
    terms: tuple[Term, ...]

    def _total(self, terms: Iterable[Term], scale: Mapping[str, float]) -> FloatArray:
        """`sum_terms scale[kind] coefficient sum`, each sum taken once."""
        weights: dict[tuple[str, Any], float] = {}
        for t in terms:
            factor = scale.get(t.kind, 0.0) * t.coefficient
            if factor:
                weights[t.key, t.span] = weights.get((t.key, t.span), 0.0) + factor

        def combined(sums: Sums) -> FloatArray:
            out, scratch = np.zeros(sums.shape), np.empty(sums.shape)
            for (key, span), factor in weights.items():
                out += np.multiply(sums.value(key, span), factor, out=scratch)
            return out

        if not weights:
            return np.zeros(self.request.shape)
        return self.request.evaluate(self.cost.rules, combined)

    # --- terms ---------------------------------------------------------------------------------

    def parts(self, unit: str = "flops") -> dict[str, FloatArray]:
        """Each part by name, in FLOPs, bytes or eFLOPs.

        Args:
            unit: "flops" or "bytes", for the parts that have it; "eflops" for all.
        """
        scale = self._scale(unit)
        names = dict.fromkeys(t.name for t in self.terms if scale.get(t.kind))
        return {
            name: self._total([t for t in self.terms if t.name == name], scale) for name in names
        }

    def _scale(self, unit: str) -> dict[str, float]:
        if unit == "flops":
            return {"flops": 1.0}
        if unit == "bytes":
            return {"weights": 1.0, "kv": 1.0}
        if unit == "eflops":
            I = self.cost.charged_intensity
            return {"flops": 1.0, "weights": I, "kv": I}
        raise UsageError(f"unit {unit!r}: parts are in flops, bytes or eflops.")

    def dominant(self) -> tuple[str, float]:
        """The largest part in eFLOPs and its share, all configurations together."""
        parts = {name: float(values.sum()) for name, values in self.parts("eflops").items()}
        name = max(parts, key=lambda each: parts[each])
        total = sum(parts.values())
        return name, parts[name] / total if total else 0.0

    # --- totals --------------------------------------------------------------------------------

    @property
    def flops(self) -> FloatArray:
        """FLOPs."""
        return self._total(self.terms, {"flops": 1.0})

    @property
    def weight_bytes(self) -> FloatArray:
        """Bytes of weights read."""
        return self._total(self.terms, {"weights": 1.0})

    @property
    def kv_bytes(self) -> FloatArray:
        """Bytes of caches read and written."""
        return self._total(self.terms, {"kv": 1.0})

    @property
    def bytes(self) -> FloatArray:
        """Bytes of memory traffic."""
        return self._total(self.terms, {"weights": 1.0, "kv": 1.0})

    @property
    def eflops(self) -> FloatArray:
        """`FLOPs + I bytes`, whatever the composition."""
        return self._total(self.terms, self._scale("eflops"))

    @property
    def seconds(self) -> FloatArray:
        """Seconds on the accelerators that share the model, arithmetic and memory composed.

        Arithmetic takes `FLOPs / (n F)`; a byte as long as I FLOPs.

        Raises:
            UsageError: no accelerator is given.
        """
        rule = self.cost.composition
        if rule.name == "fitted":
            return rule.coefficients.get("constant", 0.0) + self._total(
                self.terms, rule.coefficients
            )
        if rule.name == "additive":
            return self.eflops / self._speed()
        return rule.seconds(*self._times())

    def _speed(self) -> float:
        hardware = self.cost.hardware
        if hardware is None:
            raise UsageError("seconds, joules and dollars need an accelerator. Give hardware.")
        return hardware.peak(self.cost.dtype) * self.cost.tensor_parallel

    def _times(self) -> tuple[FloatArray, FloatArray]:
        speed = self._speed()
        return self.flops / speed, self.bytes * self.cost.charged_intensity / speed

    @property
    def joules(self) -> FloatArray:
        """Seconds of all accelerators at their thermal design power."""
        return self.seconds * self._accelerators("tdp")

    @property
    def dollars(self) -> FloatArray:
        """Seconds of all accelerators at their hourly price."""
        return self.seconds * self._accelerators("price_per_hour") / 3600.0

    def _accelerators(self, figure: str) -> float:
        self._speed()
        assert self.cost.hardware is not None  # noqa: S101 - refused above
        return self.cost.hardware.known(figure) * self.cost.tensor_parallel

    # --- gradients -----------------------------------------------------------------------------

    def gradient(self, of: str = "eflops") -> dict[str, FloatArray]:
        """Closed-form derivatives in the length, the samples and the KV budget.

        One-sided where the budget begins to bind. In discrete sums a length between whole numbers is
        read off the closed form.

        Args:
            of: "flops", "bytes", "eflops" or "seconds".

        Returns:
            knob of `KNOBS` to shape of the request; no `kv_budget` where none is given.

        Raises:
            UsageError: published mode, whose floors have no derivative, or samples of unequal lengths.
        """
        if self.cost.mode == "published" or self.request.lengths is not None:
            raise UsageError(
                "gradients are of the exact mode with samples of equal length; "
                "published floors and given lengths have none."
            )
        if of != "seconds":
            return self._slopes(self._scale(of))
        rule = self.cost.composition
        if rule.name == "fitted":
            return self._slopes(rule.coefficients)
        flops, memory = self.gradient("flops"), self.gradient("bytes")
        speed, I = self._speed(), self.cost.charged_intensity
        by_flops, by_memory = rule.slopes(*self._times())
        return {
            knob: (by_flops * flops[knob] + by_memory * I * memory[knob]) / speed for knob in flops
        }

    def _slopes(self, scale: Mapping[str, float]) -> dict[str, FloatArray]:
        found = {}
        for i, knob in enumerate(KNOBS):
            if knob == "kv_budget" and self.request.kv_budget is None:
                continue

            def slope(sums: Sums, i: int = i) -> FloatArray:
                out: Any = 0.0
                for t in self.terms:
                    factor = scale.get(t.kind, 0.0) * t.coefficient
                    if factor:
                        out = out + factor * sums.slopes(t.key, t.span)[i]
                return np.broadcast_to(
                    np.asarray(out, dtype=np.float64), np.shape(sums.value("tokens"))
                )

            found[knob] = self.request.evaluate(self.cost.rules, slope)
        return found

    # --- for people ----------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """The cost of one configuration with every term, for JSON; null where the unit is not known.

        Raises:
            UsageError: the request has several configurations.
        """
        if self.request.shape:
            raise UsageError(
                f"the request has {int(np.prod(self.request.shape))} configurations; a document has one."
            )
        hardware = self.cost.hardware
        timed = hardware is not None or self.cost.composition.name == "fitted"
        drawn = hardware is not None and hardware.tdp is not None
        priced = hardware is not None and hardware.price_per_hour is not None
        counted = ("flops", "weight_bytes", "kv_bytes", "bytes", "eflops")
        name, share = self.dominant()
        return {
            "totals": {
                **{each: float(getattr(self, each)) for each in counted},
                "seconds": float(self.seconds) if timed else None,
                "joules": float(self.joules) if drawn else None,
                "usd": float(self.dollars) if priced else None,
            },
            "flops": {k: float(v) for k, v in self.parts("flops").items()},
            "bytes": {k: float(v) for k, v in self.parts("bytes").items()},
            "dominant": {"term": name, "share_of_eflops": share},
        }

    def to_frame(self) -> Any:
        """One row a configuration: the parts and totals in FLOPs and bytes, and eFLOPs."""
        import pandas as pd

        columns = {f"flops: {k}": v for k, v in self.parts("flops").items()}
        columns |= {f"bytes: {k}": v for k, v in self.parts("bytes").items()}
        columns |= {"flops": self.flops, "bytes": self.bytes, "eflops": self.eflops}
        return pd.DataFrame({k: np.ravel(v) for k, v in columns.items()})
