"""Latency against price of decoding on many accelerators, with the network in it.

Erdil (2025), Inference economics of language models (arXiv 2506.04645, section 3): a step launches four
kernels a layer, reduces activations over the accelerators, and takes the longer of arithmetic and memory
traffic. Shapes are exact here: experts that a batch touches by their own share instead of a whole-number
quotient, and every activation at its precision, where the code that accompanies the paper lacks it for
queries, keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.costs import work
from scaling.costs.collectives import nccl
from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.costs.hardware import Hardware
    from scaling.costs.model_config import ModelConfig

FloatArray = NDArray[np.float64]

LAUNCHES = 4
"""Kernels of a layer that run one after the other."""
STAGES = (1, 2, 4, 6)
"""Pipeline stages that are tried."""


@dataclass(frozen=True)
class Cluster:
    """A model on many accelerators.

    Attributes:
        model: its shape.
        hardware: the accelerator, its links among what is known.
        node: accelerators of a node.
        launch: seconds of starting a kernel.
        precision: bytes of weights and of the cache.
        activation: bytes of an activation.
        dtype: whose peak arithmetic rate counts.
        compute_efficiency, memory_efficiency: shares of peak that are reached.
        overlap: whether traffic inside and between nodes overlap.

    Raises:
        UsageError: a number out of range, or a figure that the accelerator lacks.
    """

    model: ModelConfig
    hardware: Hardware
    node: int = 8
    launch: float = 4e-6
    precision: work.Precision = work.BF16
    activation: float = 2.0
    dtype: str = "bf16"
    compute_efficiency: float = 1.0
    memory_efficiency: float = 1.0
    overlap: bool = False

    def __post_init__(self) -> None:
        self.hardware.peak(self.dtype)
        for figure in ("intra_node", "inter_node"):
            self.hardware.known(figure)
        for name in ("compute_efficiency", "memory_efficiency"):
            if not 0 < getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} is {getattr(self, name)}. It is a share of peak, above 0 and at most 1."
                )
        if self.node < 1 or not self.launch >= 0 or not self.activation > 0:
            raise UsageError(
                f"node is {self.node}, launch {self.launch} s, activation {self.activation} bytes: a node "
                "has at least one accelerator, a launch takes zero or more, an activation more than zero."
            )

    def step_seconds(
        self, accelerators: ArrayLike, batch: ArrayLike, context: ArrayLike, *, tokens: int = 1
    ) -> FloatArray:
        """Seconds of a decode step by the fastest layout; arguments broadcast. Infinite where nothing fits.

        `4 L t_launch + sum t_c + max(bytes / (n W), FLOPs / (n F))`, with t_c by NCCL: in one dimension two
        all-reduces a layer over all accelerators, in two dimensions four over rows of sqrt(n). Pipeline
        stages divide the batch, and each part reads the weights again.

        Args:
            accelerators: n.
            batch: b, sequences.
            context: cached tokens of each.
            tokens: of each sequence in the step, more than one when a draft is verified.

        Raises:
            UsageError: a number that is not finite or too small.
        """
        n, b, c = (np.asarray(x, dtype=np.float64) for x in (accelerators, batch, context))
        for name, value, least in (("accelerators", n, 1), ("batch", b, 0), ("context", c, 0)):
            if not (np.isfinite(value) & (value >= least)).all():
                raise UsageError(f"{name} must be finite, at least {least}.")
        n, b, c = np.broadcast_arrays(n, b, c)
        best = np.full(n.shape, np.inf)
        for stages in STAGES:
            for square in (False, True):
                with np.errstate(invalid="ignore"):
                    found = self._layout(
                        np.maximum(n / stages, 1), b, c, stages, tokens, square=square
                    )
                usable = (n >= stages) & (b >= stages) | (stages == 1)
                best = np.where(usable, np.minimum(best, found), best)
        caches = self.precision.kv * self.model.kv_elements * b * c
        held = self.precision.weight * self.model.total_parameters + caches
        return np.where(held <= n * self.hardware.known("capacity"), best, np.inf)

    def _layout(
        self,
        degree: FloatArray,
        b: FloatArray,
        c: FloatArray,
        stages: int,
        tokens: int,
        *,
        square: bool,
    ) -> FloatArray:
        m = self.model
        part = b / stages
        ranks = np.sqrt(degree) if square else degree
        nodes = np.minimum(np.ceil(degree / self.node), degree)
        nodes = np.minimum(np.sqrt(nodes), ranks) if square else nodes
        sizes = self._reduced(square=square)
        exchange = np.zeros(degree.shape)
        intra, inter = (self.hardware.known(f) for f in ("intra_node", "inter_node"))
        for words in sizes:
            size = words / (degree / ranks) * part * tokens * self.activation
            exchange = exchange + m.layers * nccl(
                size, ranks, nodes, intra=intra, inter=inter, overlap=self.overlap
            )
        if stages > 1:
            size = m.width * part * tokens * self.activation / degree
            hop = nccl(size, 2, 2, intra=intra, inter=inter, all_reduce=False)
            exchange = exchange + (stages - 1) * hop
        n = degree * stages
        flops = work.decode(m, batch=b * tokens, context=c + (tokens - 1) / 2).flops
        moved = stages * self._moved(part, c, tokens, degree)
        F = self.hardware.peak(self.dtype) * self.compute_efficiency
        W = self.hardware.bandwidth * self.memory_efficiency
        return np.asarray(
            LAUNCHES * m.layers * self.launch
            + exchange
            + np.maximum(moved / (n * W), flops / (n * F))
        )

    def _reduced(self, *, square: bool) -> tuple[float, ...]:
        """Elements of a token that a layer reduces, collective by collective."""
        m = self.model
        visited = max(m.experts_per_token, 1)
        wide = m.expert_width if m.experts else m.ffn_width
        if not square:
            return (m.width, visited * m.width)
        return (self._projected, m.width, visited * 2 * wide, visited * m.width)

    @property
    def _projected(self) -> float:
        """Elements of a token's queries, keys and values in one layer."""
        m = self.model
        if m.latent is not None:
            head = m.latent.nope_dim + m.latent.rope_dim
            return float(m.query_heads * (2 * head + m.latent.value_dim))
        assert m.head_dim is not None  # noqa: S101 - known without latent attention
        assert m.kv_heads is not None  # noqa: S101
        return float((m.query_heads + 2 * m.kv_heads) * m.head_dim)

    def _moved(self, b: FloatArray, c: FloatArray, tokens: int, degree: FloatArray) -> FloatArray:
        """Bytes of weights, cache and activations of one part of the batch, on all its accelerators."""
        m, t = self.model, b * tokens
        weights = self.precision.weight * m.read_parameters(t)
        cache = self.precision.kv * m.kv_elements * c * b
        heads = m.query_heads * (m.head_dim if m.latent is None else m.latent.value_dim)  # type: ignore[operator]
        wide, visited = (m.expert_width, m.experts_per_token) if m.experts else (m.ffn_width, 1)
        matrices = (
            (self._projected, m.width, 1.0),
            (m.width, heads, 1.0),
            (wide, m.width, 2.0 * visited),
            (m.width, wide, 1.0 * visited),
        )
        activations = np.zeros(t.shape)
        for rows, columns, times in matrices:
            along = np.clip(np.sqrt(rows * degree / columns), 1, degree)
            activations = activations + times * t * (along * columns + degree / along * rows)
        return np.asarray(weights + cache + m.layers * self.activation * activations)


def usd_per_million(
    accelerators: ArrayLike, batch: ArrayLike, seconds: ArrayLike, price_per_hour: float
) -> FloatArray:
    """Dollars of a million generated tokens: `10^6 price n t / (3600 b)`; arguments broadcast.

    Args:
        accelerators: n.
        batch: b, tokens that a step generates.
        seconds: t, of a step.
        price_per_hour: dollars an accelerator-hour.
    """
    n, b, t = (np.asarray(x, dtype=np.float64) for x in (accelerators, batch, seconds))
    return np.asarray(1e6 * price_per_hour * n * t / (3600 * b))


class Offer(NamedTuple):
    """One point of a frontier: accelerators, batch, tokens a second of a sequence, dollars a million tokens."""

    accelerators: int
    batch: int
    tokens_per_second: float
    usd_per_million: float


def frontier(
    cluster: Cluster,
    context: float,
    price_per_hour: float,
    *,
    most_accelerators: int = 1024,
    most_batch: int = 16_384,
) -> tuple[Offer, ...]:
    """The offers that no other beats in both speed and price, the cheapest first.

    Accelerators and batches are powers of two up to the given ones.
    """
    n = 2 ** np.arange(int(np.log2(most_accelerators)) + 1)
    b = 2 ** np.arange(int(np.log2(most_batch)) + 1)
    mesh_n, mesh_b = (x.ravel() for x in np.meshgrid(n, b))
    seconds = cluster.step_seconds(mesh_n, mesh_b, context)
    price = usd_per_million(mesh_n, mesh_b, seconds, price_per_hour)
    order = np.lexsort([seconds, price])
    offers, fastest = [], np.inf
    for i in order[np.isfinite(seconds[order])]:
        if seconds[i] < fastest:
            fastest = seconds[i]
            offers.append(
                Offer(int(mesh_n[i]), int(mesh_b[i]), float(1 / seconds[i]), float(price[i]))
            )
    return tuple(offers)
