"""`scaling cost`, and the cost option `kinetics` of `scaling allocate`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaling.costs import CostModel, Request
from scaling.data.catalogue.hardware import hardware
from scaling.data.catalogue.models import model

ASK = ("--in", 300, "--out", 8000)
CONFIG = {
    "model_type": "llama",
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 512,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
}


def document(done) -> dict:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout, parse_constant=pytest.fail)


def test_json_is_the_core(run):
    found = document(run("cost", "Qwen3-8B", "h100_sxm", *ASK, "--samples", 16, "--json"))
    priced = CostModel(model("Qwen3-8B"), hardware("h100_sxm")).price(Request(300, 8000, 16))
    assert found["totals"] == priced.document()["totals"]
    assert found["kind"] == "scaling-cost"
    assert [row["intensity"] for row in found["sensitivity"]] == [150, 200, 300, 400, 500, 600]
    eflops = [row["eflops"] for row in found["sensitivity"]]
    assert eflops == sorted(eflops)


def test_report_names_every_default_and_what_dominates(run):
    done = run("cost", "Qwen3-8B", "h100_sxm", *ASK, "--samples", 16)
    assert done.exit_code == 0
    for words in (
        "generated cache reads, 90% of the eFLOPs",
        "additive",
        "exact mode, discrete sums",
        "spread over a large batch and cost",
        "bf16 arithmetic, 2 bytes a weight, 2 a cached element",
        "the prompt is processed once",
        "at 150 to 600 FLOPs a byte",
        "of 72.0 GiB usable",
        "h100_sxm, not taken: bf16 9.895e+14, int8 1.979e+15",
        "--cost kinetics --model-config Qwen3-8B --hardware h100_sxm --input-tokens 300",
    ):
        assert words in " ".join(done.stdout.split()), words


def test_settings_reach_the_core(run):
    found = document(
        run(
            *("cost", "Qwen3-30B-A3B", "b200_sxm", *ASK, "--json", "--dtype", "fp8"),
            *("--kv-dtype", "fp8", "--weight-dtype", "fp4", "--n-share", 8, "--tp", 2),
            *("--composition", "p-norm:3", "--price-per-hour", 4, "--prefill", "cached"),
            *("--kv-budget", 512, "--block", 16, "--intensity", 333),
        )
    )
    record = found["cost_model"]
    assert record["composition"] == "p-norm:3"
    assert (record["weight_bytes"], record["kv_bytes"], record["n_share"]) == (0.5, 1.0, 8.0)
    assert (record["dtype"], record["tensor_parallel"], record["intensity"]) == ("fp8", 2, 333.0)
    assert found["totals"]["usd"] == pytest.approx(found["totals"]["seconds"] * 2 * 4 / 3600)
    assert found["totals"]["weight_bytes"] > 0
    assert not any("prefill" in part for part in found["flops"])


def test_published_mode_takes_the_published_parameters(run):
    """Reference cost kinetics_dense_Qwen3-8B_256_8192_32, Tera-eFLOPs."""
    asked = ("--in", 256, "--out", 8192, "--samples", 32, "--mode", "published", "--json")
    found = document(run("cost", "Qwen3-8B", "b200_sxm", *asked))
    assert found["totals"]["eflops"] == pytest.approx(94201.2078615429e12, rel=1e-12)


def test_a_config_file(run, tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    missing = run("cost", path, "h100_sxm", *ASK)
    assert missing.exit_code == 2
    assert "head_dim missing" in missing.stderr
    assert "--head-dim N" in missing.stderr
    given = run("cost", path, "h100_sxm", *ASK, "--head-dim", 32, "-o", tmp_path / "cost.json")
    assert given.exit_code == 0, given.output
    assert given.stdout.endswith(f"wrote {tmp_path / 'cost.json'}\n")
    assert json.loads((tmp_path / "cost.json").read_text())["cost_model"]["model"]["head_dim"] == 32


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("Qwen3-9B", "h100_sxm", *ASK), 2, "Near: Qwen3-8B"),
        (("Qwen3-8B", "h100", *ASK), 2, "Near: h100_sxm, h100_pcie"),
        (("nowhere/config.json", "h100_sxm", *ASK), 2, "No such file"),
        (("DeepSeek-V3", "h100_sxm", *ASK), 4, "--tp 32"),
        (("Qwen3-8B", "h100_sxm", "--in", "x", "--out", 1), 2, "'x' is not a number"),
        (("Qwen3-8B", "h100_sxm", "--in", -1, "--out", 1), 2, "input tokens is -1"),
        (("Qwen3-8B", "h100_sxm", *ASK, "--dtype", "fp4"), 2, "no peak for fp4"),
        (("Qwen3-8B", "h100_sxm", *ASK, "--block", 16), 2, "Give kv_budget"),
        (("Qwen3-8B", "h100_sxm", *ASK, "--intensity", 0), 2, "--intensity is 0"),
        (("Qwen3-8B", "h100_sxm", *ASK, "--composition", "sum"), 2, "additive, max, p-norm"),
        (("Qwen3-8B", "h100_sxm", *ASK, "--composition", "max:2"), 2, "p-norm:P"),
        (("gpt-oss-20b", "h100_sxm", *ASK, "--mode", "published"), 2, "Use the exact mode"),
        (("Qwen3-8B", "h100_sxm", *ASK, "-o", "-"), 2, "-o -"),
    ],
)
def test_bad_input_is_one_message(run, words, code, said):
    done = run("cost", *words)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.output


# --- allocate ----------------------------------------------------------------------------------


@pytest.fixture
def fit(run, counts: Path) -> Path:
    """A fit document by model; samples of the large one have 200 tokens, of the small one 100."""
    path = counts.with_name("fit.json")
    words = ("--law", "beta-binomial", "--by", "model", "--replicates", 60)
    assert run("fit", counts, *words, "-o", path).exit_code == 0
    return path


KINETICS = ("--cost", "kinetics", "--input-tokens", 200, "--hardware", "h100_sxm")
SHAPES = ("--model-config", "small=Qwen3-0.6B,large=Qwen3-8B")
BUDGET = ("--budget", 1e14, "--unit", "eflops")


def test_a_table_priced_by_kinetics_is_sound_and_holds_its_assumptions(run, fit: Path):
    out = fit.with_name("t.json")
    done = run("allocate", fit, *BUDGET, *KINETICS, *SHAPES, "-o", out)
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    for words in (
        "at 150 to 600 FLOPs a byte",
        "additive",
        "large is Qwen3-8B, small is Qwen3-0.6B",
        "samples have their mean tokens of the log",
        "seconds",
    ):
        assert words in said, words
    assert run("table", "check", out).exit_code == 0
    table = json.loads(out.read_text())
    record = table["provenance"]["cost_model"]
    assert (record["name"], record["mode"], record["dtype"]) == ("kinetics", "exact", "bf16")
    assert record["hardware"]["name"] == "h100_sxm"
    assert [row["intensity"] for row in record["sensitivity"]] == [150, 200, 300, 400, 500, 600]
    for row in record["sensitivity"]:
        assert 0 <= row["changed_share"] <= 1
        assert row["gain"] >= 0


def test_samples_cost_what_the_core_says(run, fit: Path):
    table = document(run("allocate", fit, *BUDGET, *KINETICS, *SHAPES, "--json"))
    (row,) = table["rows"]
    name, N = row["action"]["model"], row["action"].get("n_samples", 1)
    shape, tokens = {"small": ("Qwen3-0.6B", 100), "large": ("Qwen3-8B", 200)}[name]
    priced = CostModel(model(shape), hardware("h100_sxm")).price(Request(200, tokens, N))
    used = row["expected"]["resources"]
    assert used["eflops"]["mean"] == pytest.approx(float(priced.eflops), rel=1e-9)
    assert used["joules"]["mean"] == pytest.approx(float(priced.joules), rel=1e-9)


def test_an_hourly_price_makes_dollars(run, fit: Path):
    asked = ("--budget", 0.001, "--unit", "usd", "--price-per-hour", 2, "--json")
    table = document(run("allocate", fit, *KINETICS, *SHAPES, *asked))
    assert table["provenance"]["prices"]["overrides"] == {"price_per_hour": {"h100_sxm": 2.0}}
    assert table["provenance"]["cost_model"]["sensitivity"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*KINETICS,), "--model-config"),
        (("--cost", "kinetics", *SHAPES), "--input-tokens"),
        (SHAPES, "Add --cost kinetics"),
        (("--hardware", "h100_sxm"), "Add --cost kinetics"),
        (("--mode", "published"), "Add --cost kinetics"),
        ((*KINETICS, "--model-config", "small=Qwen3-8B"), "no shape for model large"),
        ((*KINETICS, *SHAPES, "--layers", 3), "Leave out --layers"),
        ((*KINETICS, *SHAPES, "--block", 3), "Add --kv-budget"),
        (("--cost", "kinetics", "--input-tokens", 9, *SHAPES), "--hardware, --intensity"),
        (
            ("--cost", "kinetics", "--input-tokens", 9, *SHAPES, "--price-per-hour", 2),
            "Add --hardware",
        ),
    ],
)
def test_what_kinetics_needs_is_named(run, fit: Path, words, said):
    done = run("allocate", fit, *BUDGET, *words)
    assert done.exit_code == 2
    assert said in done.stderr
    assert "Traceback" not in done.output


def test_without_an_accelerator_an_intensity_will_do(run, fit: Path):
    asked = ("--cost", "kinetics", "--input-tokens", 9, *SHAPES, "--intensity", 300, "--json")
    table = document(run("allocate", fit, *BUDGET, *asked))
    used = table["rows"][0]["expected"]["resources"]
    assert "seconds" not in used
    assert used["eflops"]["mean"] > 0
