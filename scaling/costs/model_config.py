"""What a model costs by its shape: weights, cached elements and attention FLOPs of each layer.

Symbols of the formulas: `d` width, `L` layers, `n_q, n_kv` query and KV heads, `d_h` head dimension,
`V` vocabulary. One multiply-add is 2 FLOPs. Counts are exact integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    import os

FloatArray = NDArray[np.float64]

KINDS = ("full", "sliding", "linear")
"""How a layer attends: to everything, to a window, or through a state of constant size."""


@dataclass(frozen=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    Attributes:
        kv_rank: d_c, cached latent of a token.
        rope_dim: d_r, cached rotary key of a token, shared by the heads.
        nope_dim: d_n, the part of a head's query and key without rotation.
        value_dim: d_v, a head's value.
        query_rank: of the compressed query; None where queries are not compressed.
    """

    kv_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    query_rank: int | None = None


@dataclass(frozen=True)
class LinearAttention:
    """A gated delta rule: the cache is a matrix a head, whatever the context (arXiv 2412.06464).

    Attributes:
        key_heads, value_heads: heads of queries and keys, and of values.
        key_dim, value_dim: of one head.
        convolution: tokens that the short convolution sees.
    """

    key_heads: int
    value_heads: int
    key_dim: int
    value_dim: int
    convolution: int

    @property
    def channels(self) -> int:
        """Channels of the short convolution: queries, keys and values side by side."""
        return 2 * self.key_heads * self.key_dim + self.value_heads * self.value_dim

    @property
    def state_elements(self) -> int:
        """Elements of the state of one sequence in one layer, the convolution's tail included."""
        state = self.value_heads * self.key_dim * self.value_dim
        return state + self.channels * (self.convolution - 1)

    @property
    def state_flops(self) -> int:
        """FLOPs of a token in one layer besides its weights: decay, read, write and query the state."""
        return 7 * self.value_heads * self.key_dim * self.value_dim


class Span(NamedTuple):
    """Layers that attend alike.

    Attributes:
        layers: how many.
        window: cached tokens that a query sees at most; None for all of them.
    """

    layers: int
    window: int | None


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a decoder-only transformer.

    Attributes:
        name: as users type it.
        layers, width, vocabulary: L, d, V.
        query_heads: n_q.
        kv_heads, head_dim: n_kv, d_h; None under latent attention, which has neither.
        ffn_width: of the gated MLP of a dense layer.
        tied_embeddings: whether one matrix embeds and unembeds.
        experts: routed experts of a mixture layer, 0 for a dense model.
        experts_per_token, expert_width: how many of them a token visits, and their width.
        shared_width: width of the experts that every token visits, together.
        shared_gate: whether a scalar gate weighs the shared expert.
        dense_layers: layers without experts, in a mixture.
        latent: of multi-head latent attention.
        linear: of the layers of kind "linear".
        kinds: how each layer attends, shape (L,), of `KINDS`; empty where all are "full".
        window: cached tokens that a "sliding" layer sees.
        gated_attention: whether queries come with an output gate of their own size.
        layer_vectors: elements of norms and biases of a layer, experts left out.
        linear_vectors: the same of a layer of kind "linear".
        router_vectors: elements of biases of a mixture layer's router.
        expert_vectors: elements of biases of one routed expert.
        max_context: positions that the model was made for.
        source: where the numbers come from.

    Raises:
        InputError: a number out of range, or numbers that contradict each other; the field is named.
    """

    name: str
    layers: int
    width: int
    query_heads: int
    kv_heads: int | None
    head_dim: int | None
    ffn_width: int
    vocabulary: int
    tied_embeddings: bool
    experts: int = 0
    experts_per_token: int = 0
    expert_width: int = 0
    shared_width: int = 0
    shared_gate: bool = False
    dense_layers: int = 0
    latent: LatentAttention | None = None
    linear: LinearAttention | None = None
    kinds: tuple[str, ...] = ()
    window: int | None = None
    gated_attention: bool = False
    layer_vectors: int = 0
    linear_vectors: int = 0
    router_vectors: int = 0
    expert_vectors: int = 0
    max_context: int | None = None
    source: str = "user"

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name in _COUNTED and (isinstance(value, bool) or not isinstance(value, int)):
                self._refuse(each.name, value, "a whole number")
            if each.name in _POSITIVE and value is not None and value < 1:
                self._refuse(each.name, value, "at least 1")
            if each.name in _COUNTED and value < 0:
                self._refuse(each.name, value, "zero or more")
        if (self.latent is None) == (self.kv_heads is None or self.head_dim is None):
            wanted = "given, or latent attention be" if self.latent is None else "None beside"
            raise InputError(
                f"{self.name}: kv_heads is {self.kv_heads} and head_dim {self.head_dim}; both must be "
                f"{wanted} latent. A head dimension is read, never derived from the width."
            )
        if self.kv_heads is not None and self.query_heads % self.kv_heads:
            self._refuse("query_heads", self.query_heads, f"a multiple of kv_heads {self.kv_heads}")
        if self.experts and not (0 < self.experts_per_token <= self.experts):
            self._refuse("experts_per_token", self.experts_per_token, f"1 to {self.experts}")
        if self.experts and self.expert_width < 1:
            self._refuse("expert_width", self.expert_width, "at least 1")
        if self.dense_layers > self.layers:
            self._refuse("dense_layers", self.dense_layers, f"at most the {self.layers} layers")
        if not self.ffn_width and (not self.experts or self.dense_layers):
            self._refuse("ffn_width", self.ffn_width, "at least 1: some layers are dense")
        if self.kinds and (len(self.kinds) != self.layers or set(self.kinds) - set(KINDS)):
            self._refuse("kinds", self.kinds, f"one of {', '.join(KINDS)} a layer")
        if "sliding" in self.kinds and self.window is None:
            self._refuse("window", None, "given where a layer is sliding")
        if "linear" in self.kinds and self.linear is None:
            self._refuse("linear", None, "given where a layer is linear")

    def _refuse(self, name: str, value: Any, allowed: str) -> None:
        raise InputError(f"{self.name}: {name} is {value!r}. It must be {allowed}.")

    @classmethod
    def read(
        cls,
        source: str | os.PathLike[str] | Mapping[str, Any],
        *,
        name: str | None = None,
        head_dim: int | None = None,
    ) -> ModelConfig:
        """From a Hugging Face `config.json`: a file, the folder that holds it, or its content.

        Args:
            source: the file or the parsed object.
            name: of the model; the file's folder, or `model_type`, where not given.
            head_dim: for files that lack it. It is never derived from the width.

        Raises:
            InputError: no such file, no JSON object, an unknown `model_type`, a field that is
                missing, contradicts another or may change the cost in a way not known here. All
                such fields are named.
        """
        from scaling.costs.huggingface import read

        return read(source, name=name, head_dim=head_dim)

    # --- attention -----------------------------------------------------------------------------

    @property
    def spans(self) -> tuple[Span, ...]:
        """Layers with a KV cache, by window."""
        if not self.kinds:
            return (Span(self.layers, None),)
        full, sliding = self.kinds.count("full"), self.kinds.count("sliding")
        found = (Span(full, None), Span(sliding, self.window))
        return tuple(span for span in found if span.layers)

    @property
    def linear_layers(self) -> int:
        """Layers whose cache is a state of constant size."""
        return self.kinds.count("linear")

    @property
    def attention_layers(self) -> int:
        """Layers with a KV cache."""
        return self.layers - self.linear_layers

    @property
    def attention(self) -> str:
        """`mha`, `gqa`, `mqa` or `mla`."""
        if self.latent is not None:
            return "mla"
        if self.kv_heads == self.query_heads:
            return "mha"
        return "mqa" if self.kv_heads == 1 else "gqa"

    @property
    def layer_kv_elements(self) -> int:
        """Cached elements of a token in one layer: `2 n_kv d_h`; MLA `d_c + d_r`."""
        if self.latent is not None:
            return self.latent.kv_rank + self.latent.rope_dim
        return 2 * _known(self.kv_heads) * _known(self.head_dim)

    @property
    def kv_elements(self) -> int:
        """e_kv: cached elements of a token, all layers that cache tokens."""
        return self.attention_layers * self.layer_kv_elements

    @property
    def layer_attention_flops(self) -> int:
        """Decode FLOPs of a (query, cached token) pair in one layer.

        `4 n_q d_h`; MLA with absorbed projections `2 n_q (2 d_c + d_r)`.
        """
        if self.latent is not None:
            return 2 * self.query_heads * (2 * self.latent.kv_rank + self.latent.rope_dim)
        return 4 * self.query_heads * _known(self.head_dim)

    @property
    def layer_prefill_flops(self) -> int:
        """Prefill FLOPs of a (query, cached token) pair in one layer.

        As in decode, but MLA does not absorb there: `2 n_q (d_n + d_r + d_v)`.
        """
        if self.latent is not None:
            m = self.latent
            return 2 * self.query_heads * (m.nope_dim + m.rope_dim + m.value_dim)
        return self.layer_attention_flops

    @property
    def attention_flops(self) -> int:
        """a_c: decode FLOPs of a (query, cached token) pair, all layers that cache tokens."""
        return self.attention_layers * self.layer_attention_flops

    @property
    def prefill_flops(self) -> int:
        """Prefill FLOPs of a (query, cached token) pair, all layers that cache tokens."""
        return self.attention_layers * self.layer_prefill_flops

    @property
    def layer_search_flops(self) -> int:
        """FLOPs of scoring one key vector in one layer: `2 n_q d_h`; MLA `2 n_q (d_c + d_r)`."""
        if self.latent is not None:
            return 2 * self.query_heads * self.layer_kv_elements
        return 2 * self.query_heads * _known(self.head_dim)

    @property
    def layer_search_elements(self) -> int:
        """Elements of one key vector in one layer: `n_kv d_h`; MLA `d_c + d_r`."""
        return self.layer_kv_elements if self.latent is not None else self.layer_kv_elements // 2

    @property
    def state_elements(self) -> int:
        """Elements of the states of one sequence, all linear layers."""
        return 0 if self.linear is None else self.linear_layers * self.linear.state_elements

    @property
    def state_flops(self) -> int:
        """FLOPs of a token on the states, all linear layers."""
        return 0 if self.linear is None else self.linear_layers * self.linear.state_flops

    def kv_replication(self, tensor_parallel: int = 1) -> float:
        """Copies of the KV cache over the accelerators that share a model: `max(1, tp / n_kv)`.

        Heads are divided among them as far as there are heads; a latent is one for all heads, and
        every accelerator holds it whole.
        """
        if tensor_parallel < 1:
            raise UsageError(f"the tensor-parallel degree is {tensor_parallel}; it starts at 1.")
        return max(1.0, tensor_parallel / (1 if self.kv_heads is None else self.kv_heads))

    # --- weights -------------------------------------------------------------------------------

    @property
    def moe_layers(self) -> int:
        """Layers with routed experts."""
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def lm_head(self) -> int:
        """`V d`: weights of the output projection."""
        return self.vocabulary * self.width

    @property
    def embedding_parameters(self) -> int:
        """`V d`: the input embedding, a lookup and no matmul."""
        return self.vocabulary * self.width

    @property
    def expert_weights(self) -> int:
        """Matmul weights of one routed expert in one layer: `3 d d_e`."""
        return 3 * self.width * self.expert_width

    @property
    def shared_weights(self) -> int:
        """Matmul weights that every token uses, output projection left out."""
        d = self.width
        attention = self.attention_layers * self._attention_weights()
        if self.linear is not None:
            m = self.linear
            values = m.value_heads * m.value_dim
            each = d * (m.channels + values + 2 * m.value_heads)  # q, k, v, gate; decay and rate
            each += m.channels * m.convolution + values * d
            attention += self.linear_layers * each
        dense = (self.layers - self.moe_layers) * 3 * d * self.ffn_width
        mixture = d * self.experts + 3 * d * self.shared_width + d * self.shared_gate
        return attention + dense + self.moe_layers * mixture

    def _attention_weights(self) -> int:
        d, n = self.width, self.query_heads
        if self.latent is None:
            heads = n * (2 if self.gated_attention else 1) + 2 * _known(self.kv_heads) + n
            return d * heads * _known(self.head_dim)
        m = self.latent
        query = n * (m.nope_dim + m.rope_dim)
        compressed = d * query if m.query_rank is None else d * m.query_rank + m.query_rank * query
        cached = d * (m.kv_rank + m.rope_dim) + m.kv_rank * n * (m.nope_dim + m.value_dim)
        return compressed + cached + n * m.value_dim * d

    @property
    def linear_weights(self) -> int:
        """W: matmul weights that one token uses, router in, embedding and output projection out."""
        return self.shared_weights + self.moe_layers * self.experts_per_token * self.expert_weights

    @property
    def matmul_parameters(self) -> int:
        """`W + V d`: what a generated token is multiplied with."""
        return self.linear_weights + self.lm_head

    @property
    def total_parameters(self) -> int:
        """All parameters, norms and biases included; what memory must hold."""
        routed = self.moe_layers * self.experts * (self.expert_weights + self.expert_vectors)
        return self.shared_weights + routed + self._always

    @property
    def active_parameters(self) -> int:
        """Parameters that one token uses, embeddings, norms and biases included."""
        return self.linear_weights + self._always + self._active_vectors

    @property
    def _always(self) -> int:
        """Embeddings, norms and biases outside the experts."""
        embeddings = self.lm_head * (1 if self.tied_embeddings else 2)
        vectors = self.attention_layers * self.layer_vectors + self.moe_layers * self.router_vectors
        return embeddings + vectors + self.linear_layers * self.linear_vectors + self.width

    @property
    def _active_vectors(self) -> int:
        return self.moe_layers * self.experts_per_token * self.expert_vectors

    def distinct_experts(self, tokens: ArrayLike, *, skew: float = 0.0) -> FloatArray:
        """Expected number of experts of one layer that `tokens` tokens visit; shape of `tokens`.

        `sum_j 1 - (1 - p_j)^b`, where the inclusion probabilities `p_j = min(1, c j^-skew)` add up
        to k; independent tokens. With no skew this is `E (1 - (1 - k/E)^b)`.

        Raises:
            UsageError: fewer tokens than none, or a negative skew.
        """
        b = np.asarray(tokens, dtype=np.float64)
        if not np.isfinite(skew) or skew < 0 or not (np.isfinite(b) & (b >= 0)).all():
            raise UsageError(
                f"tokens are {tokens!r} and the skew of the routing is {skew}; "
                "both must be finite, zero or more."
            )
        E, k = self.experts, self.experts_per_token
        if not E:
            return np.zeros(b.shape)
        if skew == 0:
            # log1p keeps the digits of few tokens among many experts; k = E visits all at once
            share = np.log1p(-k / E) if k < E else -np.inf
            return np.asarray(np.where(b > 0, -E * np.expm1(np.maximum(b, 1e-300) * share), 0.0))
        chance = _inclusion(np.arange(1.0, E + 1) ** -skew, k)
        with np.errstate(divide="ignore", invalid="ignore"):
            missed = np.where(b[..., None] > 0, b[..., None] * np.log1p(-chance), 0.0)
        return np.asarray(-np.expm1(missed).sum(axis=-1))

    def distinct_slope(self, tokens: ArrayLike, *, skew: float = 0.0) -> FloatArray:
        """Derivative of `distinct_experts` in the tokens: `-sum_j (1 - p_j)^b log(1 - p_j)`."""
        b = np.asarray(tokens, dtype=np.float64)
        if not self.experts:
            return np.zeros(b.shape)
        weight = np.arange(1.0, self.experts + 1) ** -skew
        chance = _inclusion(weight, self.experts_per_token)
        missed = np.log1p(-chance[chance < 1])
        return np.asarray(-(np.exp(b[..., None] * missed) * missed).sum(axis=-1))

    def read_parameters(self, tokens: ArrayLike, *, skew: float = 0.0) -> FloatArray:
        """Parameters read in a step of `tokens` tokens: the shared ones, and the distinct experts.

        The input embedding is left out where it is a matrix of its own: a step looks up rows of it.
        """
        each = self.expert_weights + self.expert_vectors
        fixed = self.shared_weights + self._always
        fixed -= 0 if self.tied_embeddings else self.embedding_parameters
        return fixed + self.moe_layers * each * self.distinct_experts(tokens, skew=skew)

    def document(self) -> dict[str, Any]:
        """The numbers for the record; those of no meaning to the model left out."""
        given = asdict(self)
        return {k: v for k, v in given.items() if v not in (None, 0, False, ()) or k == "name"}


def _known(value: int | None) -> int:
    assert value is not None  # noqa: S101 - refused at construction
    return value


def _inclusion(weight: FloatArray, k: int) -> FloatArray:
    """`min(1, c weight)` that adds up to k; `weight` falls."""
    for certain in range(k + 1):  # the heaviest are visited by every token
        rest = weight[certain:]
        c = (k - certain) / rest.sum() if rest.size else 0.0
        if rest.size == 0 or c * rest[0] <= 1:
            return np.concatenate([np.ones(certain), c * rest])
    return np.minimum(1.0, weight)  # pragma: no cover - k of k are certain at the latest


_COUNTED = (
    "layers",
    "width",
    "query_heads",
    "ffn_width",
    "vocabulary",
    "experts",
    "experts_per_token",
    "expert_width",
    "shared_width",
    "dense_layers",
    "layer_vectors",
    "linear_vectors",
    "router_vectors",
    "expert_vectors",
)
_POSITIVE = ("layers", "width", "query_heads", "vocabulary", "kv_heads", "head_dim", "window")
