"""What an accelerator does in practice: KV bandwidth and arithmetic rate from timed kernels.

A kernel time alone divides work that the caller knows; nothing is fitted. Small kernels are bound by
their launch and tell neither rate, so a threshold keeps the large ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.errors import InputError, NotUsableError, UsageError

FloatArray = NDArray[np.float64]

LEAST_KV_BYTES = 1e9
LEAST_ROWS = 4096


@dataclass(frozen=True)
class Rate:
    """A rate over kernels.

    Attributes:
        median: of the kernels above the threshold.
        best: the fastest of them.
        interval: of the median, by order statistics (binomial), at 95%; None from fewer than six.
        kernels: how many.
    """

    median: float
    best: float
    interval: tuple[float, float] | None
    kernels: int


def kv_bandwidth(
    batch: ArrayLike,
    context: ArrayLike,
    seconds: ArrayLike,
    *,
    kv_heads: ArrayLike,
    head_dim: ArrayLike = 128,
    bytes_per_element: float = 2.0,
    least: float = LEAST_KV_BYTES,
) -> Rate:
    """Bytes/s at which decode attention reads its cache: `2 b c n_kv d_h bytes / t`.

    Args:
        batch: sequences of each kernel, shape (K,) as all others.
        context: cached tokens of a sequence.
        seconds: the kernel's time.
        kv_heads: KV heads on the accelerator.
        head_dim: their dimension.
        bytes_per_element: of the cache, 2 for bf16.
        least: kernels that read fewer bytes are left out.

    Raises:
        InputError: a time or size that is not above zero.
        NotUsableError: no kernel reads that much.
    """
    b, c, t, n, d = _positive(
        batch=batch, context=context, seconds=seconds, kv_heads=kv_heads, head_dim=head_dim
    )
    moved = 2 * b * c * n * d * bytes_per_element
    return _rate(moved, t, moved > least, f"reads more than {least:g} bytes")


def matmul_rate(
    m: ArrayLike, n: ArrayLike, k: ArrayLike, seconds: ArrayLike, *, least: int = LEAST_ROWS
) -> Rate:
    """FLOP/s of matrix products of (m, k) and (k, n): `2 m n k / t`.

    Args:
        m: rows (tokens), shape (K,) as all others.
        n: columns of the weight.
        k: inner dimension.
        seconds: the kernel's time.
        least: products of fewer rows are left out, as weight reads bound them.

    Raises:
        InputError: a time or size that is not above zero.
        NotUsableError: no product has that many rows.
    """
    rows, columns, inner, t = _positive(m=m, n=n, k=k, seconds=seconds)
    return _rate(2 * rows * columns * inner, t, rows >= least, f"has {least} rows or more")


def effective_intensity(arithmetic: Rate, bandwidth: Rate) -> float:
    """FLOPs that take as long as a byte of KV cache: the ratio of the two medians."""
    return arithmetic.median / bandwidth.median


def _rate(work: FloatArray, t: FloatArray, kept: NDArray[np.bool_], rule: str) -> Rate:
    if not kept.any():
        raise NotUsableError(
            f"none of {len(t)} kernels {rule}. Time larger ones, or lower `least`."
        )
    rates = np.sort(work[kept] / t[kept])
    return Rate(float(np.median(rates)), float(rates[-1]), _median_interval(rates), len(rates))


def _median_interval(ordered: FloatArray) -> tuple[float, float] | None:
    from scipy.stats import binom

    low = int(binom.ppf(0.025, len(ordered), 0.5)) - 1
    if low < 0 or ordered[low] == ordered[-1 - low]:
        return None
    return float(ordered[low]), float(ordered[-1 - low])


def _positive(**given: ArrayLike) -> list[FloatArray]:
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in given.items()}
    for name, value in arrays.items():
        wrong = ~(np.isfinite(value) & (value > 0))
        if wrong.any():
            where = f" at row {int(np.flatnonzero(wrong)[0])}" if value.ndim else ""
            raise InputError(f"{name} is {value[wrong].flat[0]:g}{where}. It must be above zero.")
    try:
        return [np.atleast_1d(x) for x in np.broadcast_arrays(*arrays.values())]
    except ValueError:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in arrays.items())
        raise UsageError(f"columns have different lengths: {shapes}.") from None
