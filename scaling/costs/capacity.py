"""Whether weights and caches fit into the memory of the accelerators, and how many it takes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scaling.errors import InfeasibleError, UsageError

if TYPE_CHECKING:
    from scaling.costs.inference import CostModel

USABLE = 0.9
"""Share of the memory that weights and caches may fill; activations and the runtime take the rest."""


@dataclass(frozen=True)
class Footprint:
    """Memory of one request, on all the accelerators that share the model.

    Attributes:
        weights: bytes of all parameters, experts included.
        caches: bytes of KV caches and states, copies included.
        usable: bytes that they may fill; None where the capacity is not known.
        degree: accelerators that share the model.
    """

    weights: float
    caches: float
    usable: float | None
    degree: int

    @property
    def fits(self) -> bool:
        """Whether there is room, as far as the capacity is known."""
        return self.usable is None or self.weights + self.caches <= self.usable

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "weight_bytes": self.weights,
            "cache_bytes": self.caches,
            "usable_bytes": self.usable,
            "tensor_parallel": self.degree,
        }


def footprint(
    cost: CostModel,
    *,
    input_tokens: float,
    output_tokens: float,
    samples: float = 1,
    share_prompt: bool = True,
    requests: float = 1,
) -> Footprint:
    """Memory at the last step: `b_w P_total + a_m (L_in + N L_out)` a request, windows honoured.

    A KV budget saves reads and no room: any token may be chosen next.

    Args:
        cost: the definition; its accelerator and tensor-parallel degree.
        input_tokens: of one request.
        output_tokens: of each of its samples.
        samples: of one request.
        share_prompt: whether the prompt is held once.
        requests: that are served at once.
    """
    m = cost.model
    held = 0.0
    for span in m.spans:
        cap = math.inf if span.window is None else float(span.window)
        whole = min(cap, input_tokens + output_tokens)
        own = min(cap, output_tokens)
        tokens = samples * own + (1 if share_prompt else samples) * (whole - own)
        held += span.layers * m.layer_kv_elements * tokens
    held = held * m.kv_replication(cost.tensor_parallel) + samples * m.state_elements
    hardware = cost.hardware
    known = hardware is not None and hardware.capacity is not None
    return Footprint(
        weights=cost.weight_bytes * (1 + cost.weight_scale) * m.total_parameters,
        caches=requests * cost.kv_bytes * (1 + cost.kv_scale) * held,
        usable=USABLE * hardware.known("capacity") * cost.tensor_parallel  # type: ignore[union-attr]
        if known
        else None,
        degree=cost.tensor_parallel,
    )


def smallest_degree(cost: CostModel, **request: Any) -> int | None:
    """The smallest tensor-parallel degree that divides the query heads and leaves room, None if none.

    Args:
        cost: the definition; its own degree does not matter.
        **request: as `footprint` takes it.

    Raises:
        UsageError: the capacity of the accelerator is not known.
    """
    if cost.hardware is None:
        raise UsageError("a degree that fits needs an accelerator. Give hardware.")
    cost.hardware.known("capacity")
    heads = cost.model.query_heads
    for degree in range(1, heads + 1):
        if heads % degree == 0 and footprint(replace(cost, tensor_parallel=degree), **request).fits:
            return degree
    return None


def ensure_fits(cost: CostModel, **request: Any) -> Footprint:
    """The footprint of a request that fits.

    Raises:
        InfeasibleError: weights and caches exceed the memory; the smallest degree that fits is named,
            and is `smallest`.
    """
    found = footprint(cost, **request)
    if found.fits or found.usable is None or cost.hardware is None:
        return found
    degree = smallest_degree(cost, **request)
    way = (
        f"The smallest tensor-parallel degree that fits is {degree}: --tp {degree}."
        if degree
        else f"No degree that divides the {cost.model.query_heads} query heads fits: store weights or "
        "caches in fewer bytes, or take fewer samples."
    )
    raise InfeasibleError(
        f"{cost.model.name} on {cost.tensor_parallel} {cost.hardware.name}: weights of "
        f"{found.weights / 2**30:,.1f} GiB and caches of {found.caches / 2**30:,.1f} GiB exceed the "
        f"{found.usable / 2**30:,.1f} GiB usable ({USABLE:.0%} of the memory). {way}",
        smallest=degree,
    )
