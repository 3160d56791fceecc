"""Charts show what the results say, and their files load nothing from the network."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scaling
from scaling import plots
from scaling.allocators import Limit
from scaling.errors import InputError, NotUsableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

ATTEMPTS = 16


def counts(models: tuple[str, ...] = ("small", "large")) -> dict[str, list[Any]]:
    """Counts of 40 problems at two levels for each model, from fixed Beta populations."""
    rng = np.random.default_rng(7)
    columns: dict[str, list[Any]] = {
        "level": [],
        "model": [],
        "problem": [],
        "n": [],
        "c": [],
        "tokens": [],
    }
    for level, hardness in (("easy", 1.0), ("hard", 5.0)):
        for rank, model in enumerate(models):
            rate = rng.beta(0.6 + 0.3 * rank, hardness, 40)
            for i, p in enumerate(rate):
                columns["level"].append(level)
                columns["model"].append(model)
                columns["problem"].append(f"{level}-{i}")
                columns["n"].append(ATTEMPTS)
                columns["c"].append(int(rng.binomial(ATTEMPTS, p)))
                columns["tokens"].append(float(ATTEMPTS * 400 * (1 + 2 * rank)))
    return columns


def fitted(columns: dict[str, list[Any]], replicates: int = 60) -> Any:
    import pandas as pd

    sweep = scaling.read(pd.DataFrame(columns))
    return scaling.fit(sweep, "beta-binomial", by=["level", "model"], replicates=replicates, seed=1)


@pytest.fixture(scope="module")
def fit() -> Any:
    return fitted(counts())


@pytest.fixture(scope="module")
def allocation(fit: Any) -> Any:
    return scaling.allocate(fit, budget=3000, unit="tokens")


def rows(chart: Any) -> list[dict[str, Any]]:
    (data,) = chart.to_dict()["datasets"].values()
    return list(data)


def test_points_are_unbiased_pass_at_k(fit: Any) -> None:
    columns = counts()
    drawn = [row for row in rows(plots.coverage(fit)) if row["part"] == "observed"]
    assert len(drawn) > 20
    for row in drawn:
        solved = [
            c
            for c, level, model in zip(
                columns["c"], columns["level"], columns["model"], strict=True
            )
            if (f"level {level}", model) == (row["panel"], row["colour"])
        ]
        k = row["samples"]
        expected = np.mean(
            [1 - math.comb(ATTEMPTS - c, k) / math.comb(ATTEMPTS, k) for c in solved]
        )
        assert row["coverage"] == pytest.approx(expected, abs=1e-12)


def test_curve_and_band_are_the_fits(fit: Any) -> None:
    drawn = rows(plots.coverage(fit, level=0.8))
    for group in fit.groups:
        mine = [
            row
            for row in drawn
            if row["part"] == "fitted"
            and row["panel"] == f"level {group.by['level']}"
            and row["colour"] == group.by["model"]
        ]
        k = np.array([row["samples"] for row in mine])
        assert (k.min(), k.max()) == (1, ATTEMPTS)
        low, high = group.band(k, 0.8)
        np.testing.assert_allclose([row["coverage"] for row in mine], group.curve(k))
        np.testing.assert_allclose([row["lower"] for row in mine], low)
        np.testing.assert_allclose([row["upper"] for row in mine], high)


def test_curve_ends_with_the_data_unless_told(fit: Any) -> None:
    assert max(row["samples"] for row in rows(plots.coverage(fit))) == ATTEMPTS
    drawn = rows(plots.coverage(fit, until=100))
    dashed = [row["samples"] for row in drawn if row["part"] == "extrapolated"]
    assert (min(dashed), max(dashed)) == (ATTEMPTS, 100)
    assert "Dashed" in str(plots.coverage(fit, until=100).to_dict()["title"])
    assert "Dashed" not in str(plots.coverage(fit).to_dict()["title"])
    with pytest.raises(UsageError, match="until=0"):
        plots.coverage(fit, until=0)


def test_no_band_without_an_interval() -> None:
    import pandas as pd

    sweep = scaling.read(pd.DataFrame(counts()))
    bare = scaling.fit(sweep, "beta-binomial", by=["level"], interval="none")
    chart = plots.coverage(bare)
    assert not [row for row in rows(chart) if "lower" in row]
    assert "interval" not in str(chart.to_dict()["title"])


def test_more_models_than_colours_become_panels() -> None:
    names = tuple(f"m{i}" for i in range(len(plots.PALETTE) + 1))
    drawn = rows(plots.coverage(fitted(counts(names), replicates=40)))
    assert {row["colour"] for row in drawn} == {""}
    assert len({row["panel"] for row in drawn}) == 2 * len(names)


def test_group_that_cannot_be_used_has_points_only() -> None:
    columns = counts()
    columns["c"] = [
        0 if level == "hard" else c for c, level in zip(columns["c"], columns["level"], strict=True)
    ]
    drawn = rows(plots.coverage(fitted(columns, replicates=40)))
    assert {row["part"] for row in drawn if row["panel"] == "level hard"} == {"observed"}
    assert {row["part"] for row in drawn if row["panel"] == "level easy"} == {"observed", "fitted"}


def test_menu_marks_what_was_chosen(allocation: Any) -> None:
    chart = plots.menu(allocation)
    spec = chart.to_dict()
    drawn = rows(chart)
    ladder = allocation.ladder
    for index, level in enumerate(ladder.key["level"]):
        mine = [row for row in drawn if row["panel"] == f"level {level}"]
        marked = [row for row in mine if row["chosen"]]
        rung = int(allocation.chosen[index])
        assert [row["value"] for row in marked] == [ladder.value[rung]]
        assert [row["cost"] for row in marked] == [ladder.cost["tokens"][rung]]
        assert str(ladder.action["model"][rung]) in marked[0]["action"]
    assert "3,000 generated tokens" in str(spec["title"])
    rule = spec["spec"]["layer"][0]["encoding"]["x"]
    assert rule == {"datum": 3000.0, "type": "quantitative"}


def test_menu_draws_the_heaviest_classes(allocation: Any) -> None:
    chart = plots.menu(allocation, classes=1)
    assert len({row["panel"] for row in rows(chart)}) == 1
    assert "The 1 classes with most weight, of 2." in str(chart.to_dict()["title"])


def test_frontier_passes_through_the_allocation(allocation: Any) -> None:
    drawn = rows(plots.frontier(allocation))
    line = [row for row in drawn if row["what"] == "best allocation"]
    cost, value = (np.array([row[name] for row in line]) for name in ("cost", "value"))
    slope = np.diff(value) / np.diff(cost)
    assert (np.diff(cost) > 0).all()
    assert (slope >= 0).all()
    assert (np.diff(slope) <= 1e-12).all()
    (mine,) = [row for row in drawn if row["what"] == "this allocation"]
    assert mine["value"] <= np.interp(mine["cost"], cost, value) + 1e-9
    assert np.interp(3000, cost, value) == pytest.approx(allocation.bound, rel=1e-6)
    (even,) = [row for row in drawn if row["what"] == "even spend"]
    assert even["value"] <= mine["value"]


def test_frontier_needs_one_average_limit(fit: Any) -> None:
    both = scaling.allocate(fit, budget=3000, unit="tokens", limits=(Limit("samples", "each", 8),))
    with pytest.raises(UsageError, match="exactly one limit"):
        plots.frontier(both)


@pytest.mark.parametrize("ending", ["png", "svg", "html", "json"])
def test_save(fit: Any, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"chart.{ending}"
    chart = plots.coverage(fit)
    plots.save(chart, path)
    content = path.read_bytes()
    start = {"png": b"\x89PNG", "svg": b"<svg", "html": b"<!DOCTYPE html>", "json": b"{"}[ending]
    assert content.lstrip().startswith(start)
    assert b"NaN" not in content or ending in {"png", "html"}
    if ending == "html":
        assert b'src="http' not in content
        assert b'href="http' not in content
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_save_refuses(fit: Any, tmp_path: Path) -> None:
    chart = plots.coverage(fit)
    with pytest.raises(UsageError, match=r"chart\.gif"):
        plots.save(chart, tmp_path / "chart.gif")
    with pytest.raises(InputError, match="absent"):
        plots.save(chart, tmp_path / "absent" / "chart.svg")
    assert list(tmp_path.iterdir()) == []


def test_same_fit_same_chart(fit: Any) -> None:
    assert plots.coverage(fit).to_dict() == plots.coverage(fit).to_dict()


def test_nothing_to_draw(fit: Any) -> None:
    from dataclasses import replace

    with pytest.raises(NotUsableError, match="no group"):
        plots.coverage(replace(fit, groups=()))


LAWS = ("beta-binomial", "logit-normal", "exponentiated-power", "forecast")


@pytest.fixture(scope="module")
def laws() -> list[Any]:
    """Three laws and the forecast of one log, in the order of LAWS."""
    import pandas as pd

    sweep = scaling.read(pd.DataFrame(counts(("small",))))
    return [scaling.fit(sweep, law, by=["level"], replicates=40, seed=1) for law in LAWS]


def test_several_laws_share_points_and_have_a_colour_each(laws: list[Any]) -> None:
    chart = plots.coverage(laws)
    drawn = [row for row in rows(chart) if row["part"] != "beyond"]
    for fit in laws:
        for group in fit.groups:
            mine = [
                row
                for row in drawn
                if row["colour"] == fit.law and row["panel"] == f"level {group.by['level']}"
            ]
            curve = [row for row in mine if row["part"] in {"fitted", "extrapolated"}]
            k = np.array([row["samples"] for row in curve])
            assert (k.min(), k.max()) == (1, 10 * ATTEMPTS)
            np.testing.assert_allclose([row["coverage"] for row in curve], group.curve(k))
    points = [row for row in drawn if row["part"] == "observed"]
    assert {row["colour"] for row in points} == {"forecast"}
    for group in laws[0].groups:
        at = [row["samples"] for row in points if row["panel"] == f"level {group.by['level']}"]
        assert len(at) == len(set(at))
        assert (min(at), max(at)) == (1, ATTEMPTS)
    (line,) = [
        layer
        for layer in chart.to_dict()["spec"]["layer"]
        if layer["mark"].get("type") == "line" and "strokeDash" not in layer["mark"]
    ]
    scale = line["encoding"]["color"]["scale"]
    assert scale["domain"] == list(LAWS)
    assert len(set(scale["range"])) == len(LAWS)
    assert line["encoding"]["color"]["scale"]["range"][-1] == "#D55E00"


def test_band_is_the_forecasts_beyond_the_data(laws: list[Any]) -> None:
    drawn = rows(plots.coverage(laws, level=0.8))
    banded = [row for row in drawn if "lower" in row]
    assert {(row["colour"], row["part"]) for row in banded} == {("forecast", "extrapolated")}
    for group in laws[3].groups:
        mine = [row for row in banded if row["panel"] == f"level {group.by['level']}"]
        low, high = group.band(np.array([row["samples"] for row in mine]), 0.8)
        np.testing.assert_allclose([row["lower"] for row in mine], low)
        np.testing.assert_allclose([row["upper"] for row in mine], high)


def test_extrapolation_is_shaded_from_the_most_attempts_and_says_so(
    laws: list[Any], tmp_path: Path
) -> None:
    chart = plots.coverage(laws)
    beyond = [row for row in rows(chart) if row["part"] == "beyond"]
    assert [row["panel"] for row in beyond] == ["level easy", "level hard"]
    assert {(row["samples"], row["last"]) for row in beyond} == {(ATTEMPTS, 10 * ATTEMPTS)}
    for row in beyond:
        high = [
            other.get("upper", other["coverage"])
            for other in rows(chart)
            if other["panel"] == row["panel"] and "coverage" in other
        ]
        assert row["top"] > max(high)
    plots.save(chart, tmp_path / "chart.svg")
    drawing = (tmp_path / "chart.svg").read_text("utf-8")
    assert drawing.count(">extrapolation<") == 2
    assert "prediction interval of the forecast" in drawing
    plots.save(plots.coverage(laws[0]), tmp_path / "chart.svg")
    assert "extrapolation" not in (tmp_path / "chart.svg").read_text("utf-8")


def test_without_a_forecast_curves_end_with_the_data(laws: list[Any]) -> None:
    drawn = rows(plots.coverage(laws[:3]))
    assert max(row["samples"] for row in drawn) == ATTEMPTS
    assert {row["part"] for row in drawn} == {"fitted", "observed"}
    assert {row["colour"] for row in drawn if "lower" in row} == {"beta-binomial"}
    far = rows(plots.coverage(laws[:3], until=100))
    assert {row["part"] for row in far} == {"fitted", "observed", "extrapolated", "beyond"}


def test_no_curve_goes_further_where_the_forecast_refuses(laws: list[Any]) -> None:
    from dataclasses import replace

    refused = replace(laws[3].groups[0], status="not-identified")
    forecast = replace(laws[3], groups=(refused, laws[3].groups[1]))
    chart = plots.coverage([*laws[:3], forecast])
    parts = {(row["panel"], row["part"]) for row in rows(chart)}
    assert ("level hard", "beyond") in parts
    assert ("level easy", "beyond") not in parts
    assert ("level easy", "extrapolated") not in parts
    assert "forecast (1 of 2 groups)" in str(chart.to_dict()["title"])


def test_one_chart_is_of_one_log(laws: list[Any]) -> None:
    from dataclasses import replace

    other = replace(laws[1], data=dict(laws[1].data) | {"sha256": "0" * 64})
    with pytest.raises(UsageError, match="000000000000"):
        plots.coverage([laws[0], other])
    with pytest.raises(UsageError, match="same groups"):
        plots.coverage([laws[0], replace(laws[1], groups=laws[1].groups[:1])])
    with pytest.raises(UsageError, match="at most 8"):
        plots.coverage([laws[0]] * 9)
    with pytest.raises(UsageError, match="no fit"):
        plots.coverage([])


def test_fits_of_one_law_are_named_apart(laws: list[Any]) -> None:
    from dataclasses import replace

    epl = laws[2]
    cov, brown = replace(epl, objective="cov"), replace(epl, preset="brown2024")
    assert plots.law_labels([laws[0], epl]) == ["beta-binomial", "exponentiated-power"]
    assert plots.law_labels([epl, cov, brown, brown]) == [
        "exponentiated-power (logcov)",
        "exponentiated-power (cov)",
        "exponentiated-power (brown2024) (3)",
        "exponentiated-power (brown2024) (4)",
    ]


def test_points_of_a_success_stopped_log_are_not_called_unbiased() -> None:
    import pandas as pd

    rng = np.random.default_rng(4)
    first = rng.geometric(rng.beta(1.0, 4.0, 60))
    frame = pd.DataFrame(
        {
            "problem": [f"p{i}" for i in range(60)],
            "n": np.minimum(first, 20),
            "c": (first <= 20).astype(int),
            "stop_rule": "until_success",
        }
    )
    fit = scaling.fit(scaling.read(frame), "beta-binomial", by=[], replicates=40)
    assert "unbiased" not in str(plots.coverage(fit).to_dict()["title"])


def test_a_chart_of_budgets_shows_value_bound_and_even_spend(fit: Any, tmp_path: Path) -> None:
    from scaling.allocators import frontier

    found = frontier(fit, "tokens", points=6, limits=[Limit("samples", "each", 8)])
    chart = plots.budgets(found)
    drawn = rows(chart)
    for name, field in (("best allocation", "value"), ("no allocation exceeds", "bound")):
        line = {row["budget"]: row["value"] for row in drawn if row["what"] == name}
        assert line == {point.budget: getattr(point, field) for point in found.points}
    assert any(row["what"] == "even spend" for row in drawn)
    assert {row["price"] for row in drawn} == {point.price for point in found.points}
    assert "samples:each" in str(chart.to_dict()["title"]["subtitle"])
    plots.save(chart, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_text().startswith("<svg")
    nothing = replace(found, points=(replace(found.points[0], budget=0.0),))
    with pytest.raises(NotUsableError, match="above 0"):
        plots.budgets(nothing)
