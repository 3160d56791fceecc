"""Accelerators: peaks, bandwidths, capacities, power, and what other sources state otherwise.

Facts re-typed from the sources named. Peaks are dense: spec sheets that quote structured sparsity state
twice as much.
"""

from __future__ import annotations

from collections.abc import Mapping

from scaling.costs.hardware import Hardware
from scaling.data.catalogue.conflicts import Conflict
from scaling.data.catalogue.lookup import find

_AIC = "ai-dynamo/aiconfigurator@095f58a systems/{}.yaml"
_VIEWER = "hahnyuan/LLM-Viewer@472f71f hardwares/hardware_params.py"
_GENZ = "abhibambhaniya/GenZ-LLM-Analyzer@091bdd0 Systems/system_configs.py"
_KINETICS = "Infini-AI-Lab/Kinetics@af7fa57 cost_model"
_ERDIL = "ege-erdil/inference-economics@589a102, notebook cell 2"

GIB = 2.0**30


def _system(
    name: str,
    peaks: Mapping[str, float],
    bandwidth: float,
    capacity_gib: float,
    tdp: float,
    links: tuple[float, float],
) -> Hardware:
    """Peaks in TFLOP/s, bandwidth and links in GB/s, as the source has them."""
    return Hardware(
        name=name,
        flops={dtype: value * 1e12 for dtype, value in peaks.items()},
        bandwidth=bandwidth * 1e9,
        capacity=capacity_gib * GIB,
        intra_node=links[0] * 1e9,
        inter_node=links[1] * 1e9,
        tdp=float(tdp),
        source=_AIC.format(name),
    )


def _other(
    name: str,
    bf16: float,
    bandwidth: float,
    source: str,
    *,
    int8: float | None = None,
    capacity_gib: float | None = None,
) -> Hardware:
    peaks = {"bf16": bf16 * 1e12} | ({} if int8 is None else {"int8": int8 * 1e12})
    return Hardware(
        name=name,
        flops=peaks,
        bandwidth=bandwidth * 1e9,
        capacity=None if capacity_gib is None else capacity_gib * GIB,
        source=source,
    )


_ENTRIES = (
    _system("a100_sxm", {"bf16": 312, "int8": 624}, 2039, 80, 400, (300, 25)),
    _system("a100_pcie", {"bf16": 312, "int8": 624}, 1935, 80, 300, (32, 25)),
    _system("h100_sxm", {"bf16": 989, "fp8": 1978, "int8": 1978}, 3350, 80, 700, (450, 50)),
    _system("h100_pcie", {"bf16": 756.5, "fp8": 1513, "int8": 1513}, 2000, 80, 350, (64, 50)),
    _system("h200_sxm", {"bf16": 989, "fp8": 1978, "int8": 1978}, 4800, 141, 700, (450, 50)),
    _system(
        "b200_sxm",
        {"bf16": 2250, "fp8": 4500, "fp4": 9000, "int8": 4500},
        *(7700, 180, 1000, (900, 100)),
    ),
    _system(
        "b300_sxm",
        {"bf16": 2250, "fp8": 4500, "fp4": 14_000, "int8": 153.5},
        *(7750, 288_400_343_040 / GIB, 1100, (900, 100)),
    ),
    _system(
        "gb200",
        {"bf16": 2500, "fp8": 5000, "fp4": 10_000, "int8": 5000},
        *(8000, 198_674_743_296 / GIB, 1200, (900, 900)),
    ),
    _system(
        "gb300",
        {"bf16": 2500, "fp8": 5000, "fp4": 15_000, "int8": 165},
        *(8000, 298_013_687_808 / GIB, 1400, (900, 900)),
    ),
    _system(
        "l40s",
        {"bf16": 362.05, "fp8": 733, "int8": 733},
        *(864, 48_305_799_168 / GIB, 350, (32, 50)),
    ),
    _system("l4", {"bf16": 121, "fp8": 242, "int8": 242}, 300, 24, 72, (32, 25)),
    _system(
        "rtx_pro_6000_server",
        {
            "bf16": 467.800534963698,
            "fp8": 935.601069927397,
            "fp4": 1871.202139854795,
            "int8": 935.601069927397,
        },
        *(1792, 102_641_958_912 / GIB, 600, (64, 50)),
    ),
    _other("a100_40g", 312, 1555, _VIEWER, int8=624),
    _other("v100", 112, 900, _VIEWER, int8=62),
    _other("a6000", 154.8385, 768, _VIEWER, int8=309.7),
    _other("a40", 149.7, 696, _VIEWER, int8=299.3),
    _other("l40", 181, 864, _VIEWER, int8=362),
    _other("tpu_v4", 275, 1228, _GENZ, capacity_gib=32),
    _other("tpu_v5e", 197, 820, _GENZ, capacity_gib=16),
    _other("tpu_v5p", 459, 2765, _GENZ, capacity_gib=95),
    _other("tpu_v6", 926, 1640, _GENZ, capacity_gib=32),
    _other("mi300x", 1307, 5300, _GENZ, capacity_gib=192),
    _other("gaudi3", 1835, 3675, _GENZ, capacity_gib=128),
)

HARDWARE: Mapping[str, Hardware] = {entry.name: entry for entry in _ENTRIES}

CONFLICTS: Mapping[str, tuple[Conflict, ...]] = {
    "h100_sxm": (
        Conflict("bf16", 989.5e12, _VIEWER),
        Conflict("int8", 1979e12, _VIEWER),
        Conflict("bandwidth", 3072e9, _VIEWER, "3 TB/s with a factor of 1024"),
        Conflict("bf16", 1000e12, _ERDIL, "rounded"),
        Conflict("fp8", 2000e12, _ERDIL, "rounded"),
        Conflict("bandwidth", 3300e9, _ERDIL, "rounded"),
        Conflict("capacity", 80e9, _ERDIL, "GB instead of GiB"),
        Conflict("price_per_hour", 2.1, _ERDIL, "3.15 times 2/3; no other source has a price"),
        Conflict(
            "bf16",
            1000e12,
            "microsoft/vidur@7d47513",
            "rounded; it also divides by 2^40 for tera, so that its utilisation reads 9.05% low",
        ),
    ),
    "h100_pcie": (Conflict("bandwidth", 2048e9, _VIEWER, "2 TB/s with a factor of 1024"),),
    "b200_sxm": (
        Conflict("bandwidth", 8000e9, _KINETICS),
        Conflict(
            "intensity",
            562.5,
            _KINETICS,
            "4500 TFLOP/s is the peak of fp8, yet its KV cache has 2 bytes an element; "
            "bf16 throughout gives 281 at 8.0 TB/s and 292 at 7.7 TB/s",
        ),
    ),
    "gb200": (
        Conflict("bandwidth", 7700e9, _AIC.format("b200_sxm"), "states this of a B200"),
        Conflict("bf16", 2250e12, _AIC.format("b200_sxm"), "states this of a B200"),
    ),
}
"""Accelerator to what other sources state otherwise; none of these is used."""


def hardware(name: str) -> Hardware:
    """A known accelerator.

    Raises:
        UsageError: there is none of that name; near names are listed.
    """
    return find(
        HARDWARE,
        name,
        "accelerator",
        "Others are declared in Python: scaling.costs.Hardware.",
    )
