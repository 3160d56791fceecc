"""describe, fit and predict on measured runtimes, by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    path = tmp_path / "runtimes.csv"
    lines = ["model,num_input_tokens,num_output_tokens,runtime_s"]
    for name, beta in (("anthropic-52B", 0.0537), ("davinci", 0.0814)):
        lines += [
            f"{name},{p},{o},{beta * (o + p / 500) + 0.001 * (p * o % 3):.3f}"
            for p in (1, 16, 64, 256, 512, 1024)
            for o in (1, 2, 4, 8, 16, 32, 64)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_from_the_log_to_a_prediction(run, profile: Path, tmp_path: Path):
    described = run("describe", profile)
    assert described.exit_code == 0
    assert (
        f"scaling fit {profile} --law idealized-runtime --by model -o fit.json" in described.stdout
    )
    fit = tmp_path / "fit.json"
    done = run("fit", profile, "--law", "idealized-runtime", "--by", "model", "-o", fit)
    assert done.exit_code == 0, done.output
    for word in ("84 runtimes in 2 group(s)", "anthropic-52B", "beta", "prompt(p)", "R²"):
        assert word in done.stdout
    assert f"scaling predict {fit} --at input_tokens=512,output_tokens=1,64" in done.stdout
    document = json.loads(fit.read_text())
    slopes = [round(g["params"]["beta"]["estimate"], 3) for g in document["groups"]]
    assert slopes == [0.054, 0.081]
    asked = run("predict", fit, "--at", "input_tokens=512,output_tokens=1,64")
    assert asked.exit_code == 0, asked.output
    assert asked.stdout.count("512") == 4
    assert "intervals are of it" in asked.stdout
    page = tmp_path / "page.html"
    assert run("report", fit, "-o", page).exit_code == 0
    assert "idealized-runtime" in page.read_text()


def test_what_cannot_be_done_with_runtimes(run, profile: Path, tmp_path: Path):
    refused = run("fit", profile, "--law", "beta-binomial")
    assert refused.exit_code == 2
    assert "idealized-runtime" in refused.stderr
    assert run("fit", profile, "--law", "idealized-runtime", "--interval", "profile").exit_code == 2
    fit = tmp_path / "fit.json"
    run("fit", profile, "--law", "idealized-runtime", "--interval", "none", "-o", fit)
    assert run("predict", fit, "--target", 3).exit_code == 2
    assert run("allocate", fit, "--budget", 3, "--unit", "samples").exit_code == 2


def test_a_profile_without_slopes_leaves_with_three(run, tmp_path: Path):
    path = tmp_path / "flat.csv"
    path.write_text("input_tokens,output_tokens,latency_ms\n16,8,100\n32,8,120\n64,8,150\n")
    done = run("fit", path, "--law", "idealized-runtime", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["groups"][0]["status"] == "not-identified"
    assert "two output lengths" in done.stderr
    assert "More problems" not in done.stderr


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("512", "give it as"),
        ("input_tokens=1,input_tokens=2", "given twice"),
        ("input_tokens=1,two", "not a number"),
        ("input_tokens=1,2,output_tokens=1,2,3", "as many values"),
        ("input_tokens=5", "output_tokens"),
    ],
)
def test_settings_that_cannot_be_read(run, profile: Path, tmp_path: Path, at, said):
    fit = tmp_path / "fit.json"
    run("fit", profile, "--law", "idealized-runtime", "--interval", "none", "-o", fit)
    done = run("predict", fit, "--at", at)
    assert done.exit_code == 2
    assert said in done.stderr


def allocate(run, counts: Path, *more):
    log = ("allocate", counts, "--values", "plugin", "--budget", 50, "--unit", "seconds")
    return run(*log, *more, "--json")


def test_budgets_in_profiled_seconds(run, profile: Path, counts: Path, tmp_path: Path):
    fit = tmp_path / "runtimes.json"
    text = profile.read_text().replace("anthropic-52B", "small").replace("davinci", "large")
    profile.write_text(text)
    run("fit", profile, "--law", "idealized-runtime", "-o", fit)
    asked = ("--cost", "idealized-runtime", "--runtimes", fit, "--input-tokens", 512)
    done = allocate(run, counts, *asked, "--accelerators", 8, "--price-per-hour", 4.096)
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    text = json.dumps(record)
    assert '"idealized-runtime"' in text
    assert '"rule": "published"' in text
    missing = allocate(run, counts, "--cost", "idealized-runtime", "--input-tokens", 512)
    assert missing.exit_code == 2
    assert "--runtimes" in missing.stderr


def test_budgets_in_roofline_seconds(run, counts: Path):
    asked = ("--cost", "roofline", "--model-config", "Qwen3-8B", "--hardware", "h100_sxm")
    done = allocate(run, counts, *asked, "--batch", 32, "--input-tokens", 200)
    assert done.exit_code == 0, done.output
    assert '"roofline"' in done.stdout
    assert allocate(run, counts, *asked, "--input-tokens", 200).exit_code == 2
    full = allocate(run, counts, *asked, "--batch", 100_000, "--input-tokens", 2000)
    assert full.exit_code == 4
    assert "Lower --batch" in full.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--batch", 3), "Add --cost roofline"),
        (("--cost", "roofline", "--kv-budget", 9), "belongs to another cost model"),
        (("--cost", "kinetics", "--accelerators", 9), "Add --cost idealized-runtime"),
        (("--cost", "roofline", "--layers", 9, "--model-config", "Qwen3-8B"), "--layers"),
        (("--cost", "roofline", "--model-config", "Qwen3-8B"), "--hardware"),
        (("--cost", "idealized-runtime", "--runtimes", "nowhere.json"), "nowhere.json"),
    ],
)
def test_cost_options_that_do_not_go_together(run, counts: Path, options, said):
    done = allocate(run, counts, *options)
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_fit_of_another_law_is_no_profile(run, counts: Path, tmp_path: Path):
    fit = tmp_path / "fit.json"
    run("fit", counts, "--law", "beta-binomial", "--interval", "none", "-o", fit)
    done = allocate(
        run, counts, "--cost", "idealized-runtime", "--runtimes", fit, "--input-tokens", 9
    )
    assert done.exit_code == 2
    assert "is a fit of beta-binomial" in done.stderr
