"""What a law is fitted to: the sufficient statistics of one group of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Scalar = str | int | float | bool


@dataclass(frozen=True)
class ResourceUse:
    """Mean use of one resource per sample.

    Attributes:
        mean: over problems, of each problem's mean use per sample: what a sample costs for a query drawn as
            the problems are, however many attempts each of them was given.
        se: its standard error with problems (clusters) as the units, None from one problem.
        n: samples with a reading.
    """

    mean: float
    se: float | None
    n: int


@dataclass(frozen=True)
class Counts:
    """Attempts and successes of `P` problems.

    Attributes:
        by: the group's columns.
        task, problem: names, shape (P,).
        n: attempts with a verdict, shape (P,), all >= 1.
        c: correct ones, shape (P,), 0 <= c <= n.
        cluster: families of related problems, shape (P,), or None.
        stop_rule: "fixed", "until_success", "until_success_batched", or None where unknown.
        stop_batch: attempts in a batch, where attempts stop by batches.
        stop_cap: the most attempts a problem could get, where given.
        resources: use per sample, by resource name.
        model: the one model that made the attempts, None where it has no name or there are several.
        pooled: columns over which attempts of one problem were added up (several models, say).
        probed: whether the group is a bin made from outcomes; each problem then counts once for each half
            of its attempts.
        dropped: problems left out for having no verdict or fewer attempts than asked for.
    """

    by: Mapping[str, Scalar]
    task: NDArray[np.str_]
    problem: NDArray[np.str_]
    n: NDArray[np.int64]
    c: NDArray[np.int64]
    cluster: NDArray[np.str_] | None = None
    stop_rule: str | None = None
    resources: Mapping[str, ResourceUse] = field(default_factory=dict)
    model: str | None = None
    pooled: tuple[str, ...] = ()
    probed: bool = False
    dropped: int = 0
    stop_batch: int | None = None
    stop_cap: int | None = None


@dataclass(frozen=True)
class Points:
    """Points of one curve, where no counts per problem are known.

    Attributes:
        by: the group's columns.
        inputs: knob columns (`samples` among them), each of shape (K,).
        value: accuracy, coverage or score at each point, shape (K,).
        queries: problems behind each point, shape (K,), or None where unknown.
        model: the one model behind the points, None where it has no name or there are several.
    """

    by: Mapping[str, Scalar]
    inputs: Mapping[str, NDArray[np.float64]]
    value: NDArray[np.float64]
    queries: NDArray[np.int64] | None = None
    model: str | None = None


@dataclass(frozen=True)
class Runtimes:
    """Measured runtimes.

    Attributes:
        by: the group's columns.
        inputs: sizes of what was run, `input_tokens`, `output_tokens`, `batch`, `context`, `tp` and work
            counted already (`flops`, `bytes`, `weight_bytes`, `kv_bytes`), those that the log has; each of
            shape (R,).
        seconds: shape (R,), all above 0.
        models: the model of each row, shape (R,); empty text where it has none.
        hardware: the one accelerator, None where it has no name or there are several.
    """

    by: Mapping[str, Scalar]
    inputs: Mapping[str, NDArray[np.float64]]
    seconds: NDArray[np.float64]
    models: NDArray[np.str_]
    hardware: str | None = None

    @property
    def model(self) -> str | None:
        """The one model, None where it has no name or there are several."""
        names = np.unique(self.models)
        return (str(names[0]) or None) if len(names) == 1 else None


Evidence = Counts | Points | Runtimes
