"""Time of exchanging activations between accelerators: ring and NCCL all-reduce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.errors import UsageError

FloatArray = NDArray[np.float64]


class Protocol(NamedTuple):
    """One protocol of NCCL: seconds a rank inside a node, a doubling of nodes, at all; share of the bandwidth."""

    rank: float
    node: float
    base: float
    bandwidth: float


NCCL: Mapping[str, Protocol] = {
    "LL": Protocol(0.6e-6, 5e-6, 6.8e-6, 0.5),
    "LL128": Protocol(1.25e-6, 8.5e-6, 14e-6, 0.95),
    "Simple": Protocol(28e-6, 28e-6, 0.0, 1.0),
}
"""Constants as in ege-erdil/inference-economics@589a102, which has them from the NCCL tests."""

HOP, START = 1.9e-6, 5e-6
"""Seconds of a ring's hop and of starting it: defaults of abhibambhaniya/GenZ-LLM-Analyzer@091bdd0."""


def ring_all_reduce(
    size: ArrayLike, ranks: ArrayLike, bandwidth: float, *, hop: float = HOP, start: float = START
) -> FloatArray:
    """`2 (n-1)/n M / W + 2 (n-1) t_hop + t_0` seconds, 0 for one rank; arguments broadcast.

    Args:
        size: M, bytes that each rank holds.
        ranks: n.
        bandwidth: W, bytes/s of a link in one direction.
        hop: t_hop.
        start: t_0.

    Raises:
        UsageError: a size below zero, fewer ranks than one, or no bandwidth.
    """
    M, n = _checked(size, ranks, bandwidth)
    seconds = 2 * (n - 1) / n * M / bandwidth + 2 * (n - 1) * hop + start
    return np.where(n > 1, seconds, 0.0)


def nccl(
    size: ArrayLike,
    ranks: ArrayLike,
    nodes: ArrayLike,
    *,
    intra: float,
    inter: float,
    all_reduce: bool = True,
    overlap: bool = False,
) -> FloatArray:
    """Seconds of the fastest protocol of NCCL, 0 for one rank; arguments broadcast.

    Latency `m [(R/K - 1) a + b log2 K] + c`, m = 2 for all-reduce and 1 for reduce; bandwidth
    `K max(0, R/K - 1) M / (R W_intra f) + (K - 1) M / (R W_inter f)`, half of it for reduce. R ranks on K
    nodes need not be whole: a square layout of n accelerators has rows of sqrt(n).

    Args:
        size: M, bytes reduced.
        ranks: R.
        nodes: K.
        intra: W_intra, bytes/s of all-reduce inside a node.
        inter: W_inter, bytes/s between nodes.
        all_reduce: or reduce.
        overlap: whether traffic inside and between nodes overlap: the longer of the two, not their sum.

    Raises:
        UsageError: a size below zero, fewer ranks than nodes, or no bandwidth.
    """
    M, R = _checked(size, ranks, min(intra, inter))
    K = np.asarray(nodes, dtype=np.float64)
    if not (K >= 1).all() or not (K <= R).all():
        raise UsageError(f"{ranks!r} ranks on {nodes!r} nodes: from one node to one a rank.")
    m = 2.0 if all_reduce else 1.0
    best = np.full(np.broadcast_shapes(M.shape, R.shape, K.shape), np.inf)
    for protocol in NCCL.values():
        latency = m * ((R / K - 1) * protocol.rank + protocol.node * np.log2(K)) + protocol.base
        inside = K * np.maximum(0.0, R / K - 1) * M / (R * intra * protocol.bandwidth)
        between = (K - 1) * M / (R * inter * protocol.bandwidth)
        moving = np.maximum(inside, between) if overlap else inside + between
        best = np.minimum(best, latency + moving * m / 2)
    return np.where(R > 1, best, 0.0)


def tensor_parallel_seconds(
    layers: int,
    width: int,
    tokens: ArrayLike,
    degree: ArrayLike,
    bandwidth: float,
    *,
    element_bytes: float = 2.0,
    hop: float = HOP,
    start: float = START,
) -> FloatArray:
    """Seconds of a step's all-reduces under one-dimensional tensor parallelism: two a layer, in rings.

    Args:
        layers: L.
        width: d.
        tokens: of the step, over all sequences.
        degree: accelerators that share the model.
        bandwidth: bytes/s of a link in one direction.
        element_bytes: of an activation.
        hop: seconds of a ring's hop.
        start: seconds of starting a ring.
    """
    size = np.asarray(tokens, dtype=np.float64) * width * element_bytes
    return 2 * layers * ring_all_reduce(size, degree, bandwidth, hop=hop, start=start)


def _checked(size: ArrayLike, ranks: ArrayLike, bandwidth: float) -> tuple[FloatArray, FloatArray]:
    M, n = (np.asarray(x, dtype=np.float64) for x in (size, ranks))
    if not (np.isfinite(M) & (M >= 0)).all():
        raise UsageError(f"bytes to reduce are {size!r}. They must be finite, zero or more.")
    if not (np.isfinite(n) & (n >= 1)).all():
        raise UsageError(f"ranks are {ranks!r}. There is at least one.")
    if not bandwidth > 0:
        raise UsageError(
            f"the bandwidth of the links is {bandwidth:g} bytes/s. It must be above zero."
        )
    return M, n
