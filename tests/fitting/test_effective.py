"""Effective bandwidth, arithmetic rate and intensity from timed kernels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting.effective import effective_intensity, kv_bandwidth, matmul_rate

# KV TB/s, bf16 GEMM median and best TFLOP/s, effective intensity: the data's README and cost.md section 8.
TABLE = {
    "h100_sxm": (2.96, 753, 918, 254),
    "h200_sxm": (4.19, 728, 895, 174),
    "b200_sxm": (7.05, 1523, 1891, 216),
}


@pytest.mark.reference
@pytest.mark.parametrize("system", TABLE)
def test_effective_coefficients_of_measured_kernels(reference_data: Path, system: str):
    folder = reference_data / "cost"
    attention = pd.read_csv(folder / "aic_decode_attention.csv").query("system == @system")
    attention = attention.query("kv_cache_dtype == 'bfloat16' and num_key_value_heads == 8")
    gemm = pd.read_csv(folder / "aic_gemm.csv").query(
        "system == @system and gemm_dtype == 'bfloat16'"
    )
    bandwidth = kv_bandwidth(
        attention.batch_size,
        attention.isl + attention.step,
        attention.latency_ms / 1000,
        kv_heads=attention.num_key_value_heads,
    )
    rate = matmul_rate(gemm.m, gemm.n, gemm.k, gemm.latency_ms / 1000)
    kv, median, best, intensity = TABLE[system]
    assert bandwidth.median / 1e12 == pytest.approx(kv, rel=0.03)
    assert rate.median / 1e12 == pytest.approx(median, rel=0.03)
    assert rate.best / 1e12 == pytest.approx(best, rel=0.03)
    assert effective_intensity(rate, bandwidth) == pytest.approx(intensity, rel=0.03)
    low, high = rate.interval
    assert low <= rate.median <= high
    entries = {e["id"]: e for e in json.loads((folder / "reference_costs.json").read_text())}
    entry = entries["fit_effective_coefficients"]
    name = system.removesuffix("_sxm")
    expected, rtol = entry["expected"], entry["rtol"]
    assert bandwidth.median / 1e12 == pytest.approx(expected[f"{name}_kv_TBps"], rel=rtol)
    assert rate.median / 1e12 == pytest.approx(expected[f"{name}_gemm_bf16_TFLOPS"], rel=rtol)


def test_rates_are_work_over_time():
    found = kv_bandwidth([1, 1000], [10, 10_000], [1.0, 2.0], kv_heads=8)
    assert found.kernels == 1
    assert found.interval is None
    assert found.median == found.best == 2 * 1000 * 10_000 * 8 * 128 * 2 / 2.0
    m = np.full(9, 4096)
    many = matmul_rate(m, 1, 1, 1 / np.arange(1.0, 10))
    assert many.median == 2 * 4096 * 5
    assert many.best == 2 * 4096 * 9
    assert many.interval == (2 * 4096 * 2, 2 * 4096 * 8)


def test_bad_kernels_are_named():
    with pytest.raises(InputError, match="seconds is 0 at row 1"):
        matmul_rate([4096, 4096], 2, 2, [1.0, 0.0])
    with pytest.raises(UsageError, match="different lengths"):
        matmul_rate([4096, 4096], 2, 2, [1.0, 1.0, 1.0])
    with pytest.raises(NotUsableError, match="none of 1 kernels"):
        matmul_rate([1], 2, 2, [1.0])
