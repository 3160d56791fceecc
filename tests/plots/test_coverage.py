"""Points and curves are those of the fits, and what lies beyond the data is marked so."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scaling
from scaling import plots
from scaling.errors import NotUsableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTEMPTS = 16


def test_points_are_unbiased_pass_at_k(
    fit: Any,
    counts: Callable[..., Any],
    rows: Callable[..., Any],
) -> None:
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


def test_curve_and_band_are_the_fits(fit: Any, rows: Callable[..., Any]) -> None:
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


def test_curve_ends_with_the_data_unless_told(fit: Any, rows: Callable[..., Any]) -> None:
    assert max(row["samples"] for row in rows(plots.coverage(fit))) == ATTEMPTS
    drawn = rows(plots.coverage(fit, until=100))
    dashed = [row["samples"] for row in drawn if row["part"] == "extrapolated"]
    assert (min(dashed), max(dashed)) == (ATTEMPTS, 100)
    assert "Dashed" in str(plots.coverage(fit, until=100).to_dict()["title"])
    assert "Dashed" not in str(plots.coverage(fit).to_dict()["title"])
    with pytest.raises(UsageError, match="until=0"):
        plots.coverage(fit, until=0)


def test_no_band_without_an_interval(counts: Callable[..., Any], rows: Callable[..., Any]) -> None:
    import pandas as pd

    sweep = scaling.read(pd.DataFrame(counts()))
    bare = scaling.fit(sweep, "beta-binomial", by=["level"], interval="none")
    chart = plots.coverage(bare)
    assert not [row for row in rows(chart) if "lower" in row]
    assert "interval" not in str(chart.to_dict()["title"])


def test_more_models_than_colours_become_panels(
    counts: Callable[..., Any],
    fitted: Callable[..., Any],
    rows: Callable[..., Any],
) -> None:
    names = tuple(f"m{i}" for i in range(len(plots.PALETTE) + 1))
    drawn = rows(plots.coverage(fitted(counts(names), replicates=40)))
    assert {row["colour"] for row in drawn} == {""}
    assert len({row["panel"] for row in drawn}) == 2 * len(names)


def test_group_that_cannot_be_used_has_points_only(
    counts: Callable[..., Any],
    fitted: Callable[..., Any],
    rows: Callable[..., Any],
) -> None:
    columns = counts()
    columns["c"] = [
        0 if level == "hard" else c for c, level in zip(columns["c"], columns["level"], strict=True)
    ]
    drawn = rows(plots.coverage(fitted(columns, replicates=40)))
    assert {row["part"] for row in drawn if row["panel"] == "level hard"} == {"observed"}
    assert {row["part"] for row in drawn if row["panel"] == "level easy"} == {"observed", "fitted"}


def test_same_fit_same_chart(fit: Any) -> None:
    assert plots.coverage(fit).to_dict() == plots.coverage(fit).to_dict()


def test_nothing_to_draw(fit: Any) -> None:
    with pytest.raises(NotUsableError, match="no group"):
        plots.coverage(replace(fit, groups=()))


def test_several_laws_share_points_and_have_a_colour_each(
    laws: list[Any], rows: Callable[..., Any]
) -> None:
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
    assert scale["domain"] == [fit.law for fit in laws]
    assert len(set(scale["range"])) == len(laws)
    assert line["encoding"]["color"]["scale"]["range"][-1] == "#D55E00"


def test_band_is_the_forecasts_beyond_the_data(laws: list[Any], rows: Callable[..., Any]) -> None:
    drawn = rows(plots.coverage(laws, level=0.8))
    banded = [row for row in drawn if "lower" in row]
    assert {(row["colour"], row["part"]) for row in banded} == {("forecast", "extrapolated")}
    for group in laws[3].groups:
        mine = [row for row in banded if row["panel"] == f"level {group.by['level']}"]
        low, high = group.band(np.array([row["samples"] for row in mine]), 0.8)
        np.testing.assert_allclose([row["lower"] for row in mine], low)
        np.testing.assert_allclose([row["upper"] for row in mine], high)


def test_extrapolation_is_shaded_from_the_most_attempts_and_says_so(
    laws: list[Any], tmp_path: Path, rows: Callable[..., Any]
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


def test_without_a_forecast_curves_end_with_the_data(
    laws: list[Any], rows: Callable[..., Any]
) -> None:
    drawn = rows(plots.coverage(laws[:3]))
    assert max(row["samples"] for row in drawn) == ATTEMPTS
    assert {row["part"] for row in drawn} == {"fitted", "observed"}
    assert {row["colour"] for row in drawn if "lower" in row} == {"beta-binomial"}
    far = rows(plots.coverage(laws[:3], until=100))
    assert {row["part"] for row in far} == {"fitted", "observed", "extrapolated", "beyond"}


def test_no_curve_goes_further_where_the_forecast_refuses(
    laws: list[Any], rows: Callable[..., Any]
) -> None:
    refused = replace(laws[3].groups[0], status="not-identified")
    forecast = replace(laws[3], groups=(refused, laws[3].groups[1]))
    chart = plots.coverage([*laws[:3], forecast])
    parts = {(row["panel"], row["part"]) for row in rows(chart)}
    assert ("level hard", "beyond") in parts
    assert ("level easy", "beyond") not in parts
    assert ("level easy", "extrapolated") not in parts
    assert "forecast (1 of 2 groups)" in str(chart.to_dict()["title"])


def test_one_chart_is_of_one_log(laws: list[Any]) -> None:
    other = replace(laws[1], data=dict(laws[1].data) | {"sha256": "0" * 64})
    with pytest.raises(UsageError, match="000000000000"):
        plots.coverage([laws[0], other])
    with pytest.raises(UsageError, match="same groups"):
        plots.coverage([laws[0], replace(laws[1], groups=laws[1].groups[:1])])
    with pytest.raises(UsageError, match="at most 8"):
        plots.coverage([laws[0]] * 9)
    with pytest.raises(UsageError, match="no fit"):
        plots.coverage([])


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
