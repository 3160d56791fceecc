"""Speculative decoding: a draft proposes g tokens, the target verifies them in one step.

Leviathan, Kalman and Matias (2023), Fast Inference from Transformers via Speculative Decoding
(arXiv 2211.17192). alpha is the chance that the target accepts a drafted token, taken as independent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.errors import UsageError

FloatArray = NDArray[np.float64]

LONGEST = 32
"""Draft lengths that are searched."""


def expected_tokens(acceptance: ArrayLike, draft: ArrayLike) -> FloatArray:
    """Tokens that a verification yields: `(1 - alpha^(g+1)) / (1 - alpha)`; arguments broadcast.

    It is 1 at alpha = 0 and g + 1 at alpha = 1: at least the target's own token, at most one more than
    was drafted. Equation 1 of the paper.

    Raises:
        UsageError: an acceptance outside 0 to 1, or a draft length below 0.
    """
    alpha, g = _checked(acceptance, draft)
    with np.errstate(divide="ignore", invalid="ignore"):
        log = np.log(alpha)
        ratio = np.expm1((g + 1) * log) / np.expm1(log)
    return np.where(alpha == 0, 1.0, np.where(alpha == 1, g + 1, ratio))


def speedup(acceptance: ArrayLike, draft: ArrayLike, cost_ratio: ArrayLike) -> FloatArray:
    """`E / (1 + g c)` where verifying g + 1 tokens takes as long as one (theorem 3.8 of the paper).

    Args:
        acceptance: alpha.
        draft: g.
        cost_ratio: c, time of a step of the draft over one of the target.

    Raises:
        UsageError: a number out of range.
    """
    alpha, g = _checked(acceptance, draft)
    c = np.asarray(cost_ratio, dtype=np.float64)
    if not (np.isfinite(c) & (c >= 0)).all():
        raise UsageError(f"the cost ratio is {cost_ratio!r}. It must be finite, zero or more.")
    return np.asarray(expected_tokens(alpha, g) / (1 + g * c))


def operations_factor(
    acceptance: ArrayLike, draft: ArrayLike, operations_ratio: ArrayLike
) -> FloatArray:
    """Arithmetic over that of decoding without a draft: `(g c + g + 1) / E` (theorem 3.11 of the paper).

    Args:
        acceptance: alpha.
        draft: g.
        operations_ratio: c, arithmetic of a token of the draft over one of the target.
    """
    alpha, g = _checked(acceptance, draft)
    c = np.asarray(operations_ratio, dtype=np.float64)
    return np.asarray((g * c + g + 1) / expected_tokens(alpha, g))


class Draft(NamedTuple):
    """The best draft length.

    Attributes:
        length: g; 0 where a draft does not pay.
        seconds: a generated token of each sequence.
        speedup: over decoding without a draft.
    """

    length: int
    seconds: float
    speedup: float


def best_draft(
    acceptance: float,
    target: Callable[[int], float],
    draft: float,
    *,
    longest: int = LONGEST,
) -> Draft:
    """The draft length of least `(t_target(g + 1) + g t_draft) / E(g)`, over all g up to `longest`.

    With batches verification is not free: `target` says what a step of g + 1 tokens a sequence takes,
    for example `scaling.costs.roofline.Serving.verify_seconds`.

    Args:
        acceptance: alpha.
        target: seconds of a target step that verifies so many tokens a sequence.
        draft: seconds of a step of the draft.
        longest: draft lengths tried.

    Raises:
        UsageError: an acceptance outside 0 to 1, or times that are not above zero.
    """
    if not (np.isfinite(draft) and draft > 0):
        raise UsageError(f"a step of the draft takes {draft!r} s. It must be above zero.")
    lengths = np.arange(longest + 1)
    verify = np.array([float(target(int(g) + 1)) for g in lengths])
    if not (np.isfinite(verify) & (verify > 0)).all():
        raise UsageError("a step of the target must take a finite time above zero.")
    seconds = (verify + lengths * draft) / expected_tokens(acceptance, lengths)
    best = int(np.argmin(seconds))
    return Draft(best, float(seconds[best]), float(verify[0] / seconds[best]))


def _checked(acceptance: ArrayLike, draft: ArrayLike) -> tuple[FloatArray, FloatArray]:
    alpha, g = (np.asarray(x, dtype=np.float64) for x in (acceptance, draft))
    if not ((alpha >= 0) & (alpha <= 1)).all():
        raise UsageError(f"the acceptance is {acceptance!r}. It is a chance, from 0 to 1.")
    if not (np.isfinite(g) & (g >= 0)).all():
        raise UsageError(f"the draft length is {draft!r}. It must be finite, zero or more.")
    return alpha, g
