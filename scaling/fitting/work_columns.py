"""Work columns of runtime rows: FLOPs and bytes as the log states them, or from the shape of the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from scaling.costs import work
from scaling.data.catalogue.models import model as find_model
from scaling.data.evidence import Runtimes
from scaling.data.schema import SIZES, WORK
from scaling.errors import UsageError, did_you_mean

FloatArray = NDArray[np.float64]

_SIZES = (
    "batch and context (decode steps), or input_tokens and output_tokens (requests); output_tokens beside "
    "context are that many steps from it"
)


def stated(
    wanted: tuple[str, ...], inputs: Mapping[str, FloatArray]
) -> dict[str, FloatArray] | None:
    """The wanted work columns that a log states itself; `bytes` is also the sum of its parts, `steps` one."""
    known = dict(inputs)
    if known:
        known.setdefault("steps", np.ones_like(next(iter(known.values()))))
    if "bytes" not in known and {"weight_bytes", "kv_bytes"} <= set(known):
        known["bytes"] = known["weight_bytes"] + known["kv_bytes"]
    return {c: known[c] for c in wanted} if set(wanted) <= set(known) else None


def of_rows(wanted: tuple[str, ...], evidence: Runtimes) -> tuple[dict[str, FloatArray], bool]:
    """The wanted work columns of each row, and whether they were computed from the models' shapes.

    Raises:
        UsageError: the log states neither work nor sizes, or names a model that the catalogue lacks.
    """
    found = stated(wanted, evidence.inputs)
    if found is not None:
        return found, False
    out = {c: np.empty(len(evidence.seconds)) for c in wanted}
    for name in np.unique(evidence.models):
        rows = evidence.models == name
        part = of_sizes(wanted, str(name), {c: v[rows] for c, v in evidence.inputs.items()})
        for column, values in part.items():
            out[column][rows] = values
    return out, True


def of_sizes(
    wanted: tuple[str, ...], name: str | None, inputs: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """The wanted work columns of one model, bf16, weights read once a step; sizes broadcast.

    Raises:
        UsageError: sizes that say nothing of work, or a model that has no name or is not in the catalogue.
    """
    sizes = {c: np.asarray(v, dtype=np.float64) for c, v in inputs.items() if c in SIZES}
    if not name:
        raise UsageError(
            f"{', '.join(wanted)} are not given, and there is no single model to compute them from. Name the model "
            f"(a column 'model', a group of one model), or give {', '.join(wanted)}."
        )
    try:
        shape = find_model(name)
    except UsageError as error:
        raise UsageError(
            f"{error} Or state the work of each row in columns {', '.join(wanted)}."
        ) from None
    batch, tp = sizes.get("batch", np.ones(1)), sizes.get("tp", np.ones(1))
    if "context" in sizes:
        found = work.decode(
            shape,
            batch=batch,
            context=sizes["context"],
            steps=sizes.get("output_tokens", np.ones(1)),
            tensor_parallel=tp,
        )
    elif {"input_tokens", "output_tokens"} <= set(sizes):
        found = work.request(
            shape,
            batch=batch,
            input_tokens=sizes["input_tokens"],
            output_tokens=sizes["output_tokens"],
            tensor_parallel=tp,
        )
    else:
        raise UsageError(
            f"the sizes {', '.join(sizes) or '(none)'} do not say what was run. Work follows from {_SIZES}."
        )
    return {column: getattr(found, column) for column in wanted}


def are_sizes(wanted: tuple[str, ...], inputs: Mapping[str, object]) -> bool:
    """Whether settings of a law of work are given as sizes of what is run, not as work.

    Raises:
        UsageError: for a name that is neither.
    """
    if not set(wanted) <= set(WORK) or set(inputs) <= set(wanted):
        return False
    for name in inputs:
        if name not in SIZES:
            msg = (
                f"no input '{name}'; give {', '.join(wanted)}, or what follows from the model's shape: "
                f"{', '.join(SIZES)}.{did_you_mean(name, (*wanted, *SIZES))}"
            )
            raise UsageError(msg)
    return True
