from __future__ import annotations

import pytest

from scaling.costs import Hardware
from scaling.data.catalogue.hardware import CONFLICTS, HARDWARE, hardware
from scaling.data.catalogue.models import CONFLICTS as MODEL_CONFLICTS
from scaling.data.catalogue.models import KINETICS_PARAMETERS, NAMES, model
from scaling.errors import InputError, UsageError


def test_intensity_is_peak_over_bandwidth():
    """H100 SXM, bf16: 989 TFLOP/s over 3.35 TB/s, 295 FLOP/byte."""
    assert hardware("h100_sxm").intensity() == pytest.approx(295.2238805970149, rel=1e-12)
    assert hardware("b200_sxm").intensity("fp8") == pytest.approx(584.4155844155844, rel=1e-12)


@pytest.mark.parametrize("name", ["H100-SXM", "h100 sxm", "H100_sxm"])
def test_spelling_does_not_matter(name):
    assert hardware(name).name == "h100_sxm"


def test_owner_of_a_model_does_not_matter():
    assert model("Qwen/Qwen3-8B").name == "Qwen3-8B"


def test_near_names_are_listed():
    with pytest.raises(UsageError, match=r"'h100'.*h100_sxm, h100_pcie"):
        hardware("h100")
    with pytest.raises(UsageError, match=r"Qwen3-8B.*config\.json"):
        model("qwen3-9b")


def test_all_names_are_listed_where_none_is_near():
    with pytest.raises(UsageError, match=r"Known: Qwen3-0\.6B.*gpt-oss-120b"):
        model("zzz")
    with pytest.raises(UsageError, match=r"Known: a100_sxm.*gaudi3"):
        hardware("")


def test_missing_figures_are_named():
    with pytest.raises(UsageError, match="a40 has no capacity here"):
        hardware("a40").known("capacity")
    with pytest.raises(UsageError, match="no peak for fp4; it has bf16, fp8, int8"):
        hardware("h100_sxm").peak("fp4")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"flops": {}}, "no dtype"),
        ({"flops": {"fp16": 1.0}}, "fp16"),
        ({"bandwidth": 0.0}, "bandwidth is 0"),
        ({"capacity": float("nan")}, "capacity is nan"),
        ({"flops": {"bf16": -1.0}}, "bf16 is -1"),
    ],
)
def test_figures_are_positive(change, word):
    with pytest.raises(InputError, match=word):
        Hardware(**{"name": "x", "flops": {"bf16": 1.0}, "bandwidth": 1.0, **change})


def test_sources_stand_behind_every_figure():
    mine = Hardware("x", {"bf16": 1.0}, 1.0, source="sheet", sources={"tdp": "measured"})
    assert (mine.source_of("tdp"), mine.source_of("bf16")) == ("measured", "sheet")
    for name, entry in HARDWARE.items():
        assert "@" in entry.source, name
    for name in NAMES:
        assert model(name).source.count("@") or "LLMRoofline" in model(name).source


def test_conflicts_are_about_entries_and_differ_from_them():
    for name, found in CONFLICTS.items():
        for each in found:
            standing = (
                HARDWARE[name].intensity("fp8")
                if each.figure == "intensity"
                else HARDWARE[name].flops.get(each.figure)
                or getattr(HARDWARE[name], each.figure, None)
            )
            assert standing != each.value, (name, each)
            assert each.source
    assert set(MODEL_CONFLICTS) | set(KINETICS_PARAMETERS) <= set(NAMES)


def test_unused_figures_are_left_out_of_the_record():
    assert "capacity" not in hardware("a40").document()
    assert hardware("h100_sxm").document()["flops"]["bf16"] == 989e12
