"""A group of samples of one prompt, and the sums over its tokens that every cost is linear in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.costs.kv_reads import (
    Cap,
    published_block,
    published_top_k,
    reads,
    slope_in_cap,
    slope_in_length,
)
from scaling.errors import UsageError

if TYPE_CHECKING:
    from scaling.costs.model_config import ModelConfig, Span

FloatArray = NDArray[np.float64]

_CHUNK = 1 << 14
"""Configurations that are priced at a time: their sums stay in the processor's cache."""


@dataclass(frozen=True)
class Request:
    """N samples of one prompt, decoded in lock-step; the arguments broadcast to many configurations.

    Attributes:
        input_tokens: L_in, tokens of the prompt.
        output_tokens: generated tokens of each sample.
        samples: N, at least 1.
        kv_budget: B, cached tokens that a step reads at most; None for all of them.
        block: tokens of a block, where the budget is filled by scoring one key vector a block; None
            where finding the tokens costs nothing, as in an oracle top-k or a window.
        lengths: instead of `output_tokens` and `samples`, the length of every sample along the last
            axis; zero adds nothing.
        share_prompt: whether the cached prompt is read once a step for all samples. With a budget each
            sample reads tokens of its own, and nothing is shared.

    Raises:
        UsageError: a number that is negative, not finite or, of samples and budgets, below 1; or
            lengths beside output tokens.
    """

    input_tokens: ArrayLike
    output_tokens: ArrayLike | None = None
    samples: ArrayLike = 1
    kv_budget: ArrayLike | None = None
    block: ArrayLike | None = None
    lengths: ArrayLike | None = None
    share_prompt: bool = True
    shape: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if (self.output_tokens is None) == (self.lengths is None):
            raise UsageError("give output_tokens, or lengths of every sample, and not both.")
        if self.block is not None and self.kv_budget is None:
            raise UsageError("block says how a KV budget is filled. Give kv_budget too.")
        least = {"input_tokens": 0, "output_tokens": 0, "lengths": 0}
        for name in ("input_tokens", "output_tokens", "lengths", "samples", "kv_budget", "block"):
            given = getattr(self, name)
            if given is None:
                continue
            array = np.asarray(given)
            low = least.get(name, 1)
            # one pass each way; a NaN fails both
            if array.size and not (array.min() >= low and array.max() < np.inf):
                wrong = array[~((array >= low) & (array < np.inf))]
                raise UsageError(
                    f"{name.replace('_', ' ')} is {wrong.flat[0]}. It must be a finite number, {low} or more."
                )
            object.__setattr__(self, name, array)
        names = ("input_tokens", "samples", "output_tokens", "kv_budget", "block")
        shapes = [np.shape(getattr(self, name)) for name in names]
        if self.lengths is not None:
            shapes.append(np.shape(self.lengths)[:-1])
            object.__setattr__(self, "samples", np.asarray(np.shape(self.lengths)[-1]))
        object.__setattr__(self, "shape", np.broadcast_shapes(*shapes))

    @property
    def shares(self) -> bool:
        """Whether samples read one cached prompt."""
        return self.share_prompt and self.kv_budget is None

    def evaluate(self, rules: Rules, function: Callable[[Sums], FloatArray]) -> FloatArray:
        """A function of the sums, over all configurations, some thousands at a time.

        Returns:
            shape `shape`.
        """
        size = int(np.prod(self.shape))
        if size <= _CHUNK or self.lengths is not None:
            return np.asarray(function(self._sums(rules, self._whole()))).reshape(self.shape)
        out = np.empty(size)
        for part, columns in self._parts(size):
            out[part] = function(self._sums(rules, columns))
        return out.reshape(self.shape)

    def _whole(self) -> dict[str, FloatArray | None]:
        found: dict[str, FloatArray | None] = {}
        for name in _COLUMNS:
            given = getattr(self, name)
            found[name] = (
                None
                if given is None
                else np.broadcast_to(np.asarray(given, dtype=np.float64), self.shape)
            )
        if self.lengths is not None:
            lengths = np.asarray(self.lengths, dtype=np.float64)
            found["lengths"] = np.broadcast_to(lengths, (*self.shape, lengths.shape[-1]))
        return found

    def _parts(self, size: int) -> Iterator[tuple[slice, dict[str, FloatArray | None]]]:
        flat: dict[str, NDArray[np.generic] | None] = {}
        for name in _COLUMNS:
            given = getattr(self, name)
            if given is None or np.ndim(given) == 0:
                flat[name] = None if given is None else np.asarray(given, dtype=np.float64)
            else:
                flat[name] = np.broadcast_to(given, self.shape).reshape(-1)
        for start in range(0, size, _CHUNK):
            part = slice(start, min(start + _CHUNK, size))
            yield (
                part,
                {
                    name: None
                    if column is None
                    else np.asarray(column if column.ndim == 0 else column[part], dtype=np.float64)
                    for name, column in flat.items()
                },
            )

    def _sums(self, rules: Rules, columns: dict[str, FloatArray | None]) -> Sums:
        return Sums(rules, self.share_prompt, **columns)  # type: ignore[arg-type]


_COLUMNS = ("input_tokens", "output_tokens", "samples", "kv_budget", "block")


@dataclass(frozen=True)
class Rules:
    """What of a cost model the sums depend on.

    Attributes:
        model: the shape.
        own: 1 where sums are discrete, 0 where continuous.
        published: whether to sum as the public code of Kinetics does.
        prefills: how often a prompt is processed: "once", "each" or "cached".
        n_share: requests that share a decode step.
        skew: of the routing to experts.
        read_parameters: parameters read in a step, where not those of the model.
    """

    model: ModelConfig
    own: float = 1.0
    published: bool = False
    prefills: str = "once"
    n_share: float = np.inf
    skew: float = 0.0
    read_parameters: float | None = None


@dataclass
class Sums:
    """Sums over the tokens of a chunk of configurations, each computed when it is asked for.

    Keys: `prompts` (prompts processed), `prompt_tokens`, `prompt_pairs` (a query token with the
    tokens it sees, while prefilling), `tokens` (generated, all samples), `own` (cached generated
    tokens read), `each` (cached prompt tokens that samples see), `read` (those that memory delivers),
    `selected` (cached tokens read under a budget, of the prompt or generated), `scored` and
    `scored_read` (key vectors of blocks seen and delivered), `step_weights` and `prompt_weights`
    (parameters read). Those of attention are by span.
    """

    rules: Rules
    share_prompt: bool
    input_tokens: FloatArray
    output_tokens: FloatArray | None
    samples: FloatArray
    kv_budget: FloatArray | None = None
    block: FloatArray | None = None
    lengths: FloatArray | None = None

    def __post_init__(self) -> None:
        self._seen: dict[tuple[str, Span | None], FloatArray] = {}
        self._ragged = self.lengths is not None
        # of every sample, and of the sample that decodes longest
        self._length: FloatArray = np.asarray(
            self.lengths if self.lengths is not None else self.output_tokens
        )
        self._longest = self._length.max(axis=-1) if self._ragged else self._length
        budget = () if self.kv_budget is None else np.shape(self.kv_budget)
        block = () if self.block is None else np.shape(self.block)
        known = map(np.shape, (self.input_tokens, self.samples, self._longest))
        self.shape = np.broadcast_shapes(*known, budget, block)

    def value(self, key: str, span: Span | None = None) -> FloatArray:
        """One of the sums, shape of the chunk."""
        if (key, span) not in self._seen:
            found = getattr(self, f"_{key}")
            self._seen[key, span] = found() if span is None else found(span)
        return self._seen[key, span]

    def _all(self, of_one: FloatArray) -> FloatArray:
        """Summed over the samples."""
        return np.asarray(of_one.sum(axis=-1) if self._ragged else of_one * self.samples)

    def _wide(self, value: FloatArray) -> FloatArray:
        return value[..., None] if self._ragged and np.ndim(value) else value

    # --- prefill -------------------------------------------------------------------------------

    def _prompts(self) -> FloatArray:
        once = np.where(self.input_tokens > 0, 1.0, 0.0)
        if self.rules.prefills == "cached":
            return np.zeros_like(once)
        return np.asarray(once * self.samples if self.rules.prefills == "each" else once)

    def _prompt_tokens(self) -> FloatArray:
        return self._per_prompt(self.input_tokens)

    def _per_prompt(self, amount: FloatArray) -> FloatArray:
        """What each processed prompt takes; no prompt takes nothing already."""
        if self.rules.prefills == "once":
            return amount
        return np.asarray(self.value("prompts") * amount)

    def _prompt_pairs(self, span: Span) -> FloatArray:
        pairs = reads(0.0, self.input_tokens, _window(span), self.rules.own)
        return self._per_prompt(pairs)

    # --- decode --------------------------------------------------------------------------------

    def _tokens(self) -> FloatArray:
        return self._all(self._length)

    def _selected(self, span: Span) -> FloatArray:
        before, budget = self._wide(self.input_tokens), self._wide(np.asarray(self.kv_budget))
        if self.rules.published:
            form = published_top_k if self.block is None else published_block
            return self._all(form(before, self._length, budget))
        cap = budget if span.window is None else np.minimum(budget, span.window)
        return self._all(reads(before, self._length, cap, self.rules.own))

    def _own(self, span: Span) -> FloatArray:
        return self._all(reads(0.0, self._length, _window(span), self.rules.own))

    def _seen_prompt(self, length: FloatArray, before: FloatArray, cap: Cap) -> FloatArray:
        if cap is None:
            return np.asarray(before * length)
        own = self.rules.own
        return reads(before, length, cap, own) - reads(0.0, length, cap, own)

    def _each(self, span: Span) -> FloatArray:
        if span.window is None and not self._ragged:
            return np.asarray(self.value("tokens") * self.input_tokens)
        before = self._wide(self.input_tokens)
        return self._all(self._seen_prompt(self._length, before, _window(span)))

    def _read(self, span: Span) -> FloatArray:
        if not self.share_prompt:
            return self.value("each", span)
        return self._seen_prompt(self._longest, self.input_tokens, _window(span))

    # --- search --------------------------------------------------------------------------------

    def _scored(self, span: Span) -> FloatArray:
        if self.rules.published:
            return self._floored(1.0) * self.samples
        return np.asarray(
            (self.value("own", span) + self.value("each", span)) / np.asarray(self.block)
        )

    def _scored_read(self, span: Span) -> FloatArray:
        if self.rules.published:
            return self._floored(self.samples)
        return np.asarray(
            (self.value("own", span) + self.value("read", span)) / np.asarray(self.block)
        )

    def _floored(self, samples: FloatArray | float) -> FloatArray:
        """`floor((2 L_in + samples l) / block) l / 2`: half, as a key vector is half of K and V."""
        length = self._longest
        blocks = np.floor((2 * self.input_tokens + samples * length) / np.asarray(self.block))
        return np.asarray(blocks * length / 2)

    # --- weights -------------------------------------------------------------------------------

    def _read_of(self, tokens: FloatArray) -> FloatArray:
        given = self.rules.read_parameters
        if given is not None:
            return np.full(np.shape(tokens), given)
        return self.rules.model.read_parameters(tokens, skew=self.rules.skew)

    def _step_weights(self) -> FloatArray:
        share = self.rules.n_share
        return np.asarray(self._read_of(self.samples * share) * self._longest / share)

    def _prompt_weights(self) -> FloatArray:
        share = self.rules.n_share
        tokens = np.asarray(self.input_tokens * share)
        return np.asarray(self._read_of(tokens) * self.value("prompts") / share)

    # --- derivatives ---------------------------------------------------------------------------

    def slopes(self, key: str, span: Span | None = None) -> tuple[FloatArray, ...]:
        """Derivatives of a sum in the length, the samples and the budget; equal lengths only."""
        N, l, P = self.samples, self._length, self.input_tokens
        zero = np.zeros(
            np.broadcast(N, l, P, self.kv_budget if self.kv_budget is not None else P).shape
        )
        each = self.rules.prefills == "each"
        if key in ("prompts", "prompt_tokens", "prompt_pairs", "prompt_weights"):
            return zero, zero + (self.value(key, span) / N if each else 0.0), zero
        if key == "tokens":
            return zero + N, zero + l, zero
        if key == "step_weights":
            share, m = self.rules.n_share, self.rules.model
            experts = m.moe_layers * (m.expert_weights + m.expert_vectors)
            if self.rules.read_parameters is not None or not experts:
                in_samples = zero
            else:
                in_samples = zero + experts * l * m.distinct_slope(N * share, skew=self.rules.skew)
            return zero + self._read_of(N * share) / share, in_samples, zero
        assert span is not None  # noqa: S101 - what is left is of a span
        own = self.rules.own
        if key == "selected":
            budget = np.asarray(self.kv_budget)
            cap = budget if span.window is None else np.minimum(budget, span.window)
            binds = 1.0 if span.window is None else np.where(budget < span.window, 1.0, 0.0)
            in_cap = N * binds * slope_in_cap(P, l, cap, own)
            in_length = N * slope_in_length(P, l, cap, own)
            return zero + in_length, zero + reads(P, l, cap, own), zero + in_cap
        window = _window(span)
        in_length = slope_in_length(0.0, l, window, own)
        prompt_in_length = slope_in_length(P, l, window, own) - in_length
        mine = N * in_length, reads(0.0, l, window, own)
        theirs = N * prompt_in_length, self._seen_prompt(l, P, window)
        shared = (prompt_in_length, zero) if self.share_prompt else theirs
        parts = {
            "own": (mine,),
            "each": (theirs,),
            "read": (shared,),
            "scored": (mine, theirs),
            "scored_read": (mine, shared),
        }[key]
        scale = np.asarray(self.block) if key.startswith("scored") else 1.0
        in_length, in_samples = (zero + sum(part[i] for part in parts) / scale for i in range(2))
        return in_length, in_samples, zero


def _window(span: Span) -> float | None:
    return None if span.window is None else float(span.window)
