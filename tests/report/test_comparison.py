"""Several laws of one log: one figure, one table, and which to believe."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import scaling
from scaling import report
from scaling.report.comparison import families, verdict

LAWS = ("beta-binomial", "logit-normal", "exponentiated-power", "forecast")


@pytest.fixture(scope="module")
def laws() -> list[Any]:
    """Three laws and the forecast of one log of two levels, in the order of LAWS."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(11)
    lines = [
        {"level": level, "problem": f"{level}-{i}", "n": 50, "c": int(rng.binomial(50, p))}
        for level, hardness in (("easy", 1.0), ("hard", 6.0))
        for i, p in enumerate(rng.beta(0.6, hardness, 40))
    ]
    sweep = scaling.read(pd.DataFrame(lines))
    return [scaling.fit(sweep, law, by=["level"], replicates=40, seed=1) for law in LAWS]


def with_errors(fit: Any, *errors: float | None) -> Any:
    """The fit with these held-out errors, by group."""
    groups = [
        replace(group, fit=dict(group.fit) | {"held_out_mae": error})
        for group, error in zip(fit.groups, errors, strict=True)
    ]
    return replace(fit, groups=tuple(groups))


def text(page: str) -> str:
    from html.parser import HTMLParser

    class Reader(HTMLParser):
        said = ""

        def handle_data(self, data: str) -> None:
            self.said += data

    reader = Reader()
    reader.feed(page)
    return " ".join(reader.said.split())


def test_lowest_held_out_error_is_believed(laws: list[Any]) -> None:
    a, b, c, forecast = laws
    fits = [
        with_errors(a, 0.02, 0.03),
        with_errors(b, 0.0209, 0.01),
        with_errors(c, 0.0211, 0.02),
        forecast,
    ]
    found = verdict(fits)
    easy, hard = found.groups
    assert easy.startswith("level easy: beta-binomial or logit-normal (held-out error 0.0200; ")
    assert easy.endswith("; next exponentiated-power, 0.0211).")
    assert hard == (
        "level hard: logit-normal (held-out error 0.0100; next exponentiated-power, 0.0200)."
    )
    assert found.beyond.startswith("Beyond the data, the forecast")
    assert verdict(fits[:3]).beyond.startswith("Beyond the data, none of these")


def test_unusable_groups_are_not_believed(laws: list[Any]) -> None:
    a, b, c, forecast = laws
    lost = replace(a.groups[0], status="not-identified")
    best = with_errors(replace(a, groups=(lost, a.groups[1])), 0.001, 0.001)
    found = verdict([best, b, c])
    assert "beta-binomial" not in found.groups[0]
    assert found.groups[1].startswith("level hard: beta-binomial (")
    refused = replace(forecast.groups[1], status="not-identified")
    partly = replace(forecast, groups=(forecast.groups[0], refused))
    assert verdict([a, partly]).beyond.endswith("It gives none for level hard.")
    nothing = verdict([with_errors(fit, None, None) for fit in laws[:2]])
    assert nothing.within.startswith("Within the data, none")
    assert nothing.groups == []


def test_families_are_of_one_log_best_first(laws: list[Any]) -> None:
    a, b, c, forecast = laws
    other = replace(b, data=dict(b.data) | {"sha256": "0" * 64})
    assert families([a, other]) == []
    assert families([a]) == []
    (family,) = families([with_errors(a, 0.2, 0.2), other, with_errors(c, 0.1, 0.2), forecast])
    assert [fit.law for fit in family] == ["exponentiated-power", "beta-binomial", "forecast"]


def test_page_has_the_figure_the_table_and_the_verdict(laws: list[Any]) -> None:
    page = report.render(fits=laws)
    said = text(page)
    (found,) = report.verdicts(laws)
    for sentence in (found.within, *found.groups, found.beyond):
        assert sentence in said
    assert page.count("<figure") == len(laws) + 1
    assert page.count(">extrapolation<") == 3  # two panels of all laws, one of the forecast alone
    for fit in laws[:2]:
        for group in fit.groups:
            for name in ("log_likelihood", "aic", "bic"):
                assert f"{group.fit[name]:,.1f}" in said
            assert f"{group.fit['held_out_mae']:.4f}" in said
    assert "scaling report fit1.json fit2.json fit3.json fit4.json -o report.html" in said
    assert "Scaling report: 4 laws" in said
    assert "Dashed curves go beyond the evidence of the log." in said


def test_forecast_shows_coverage_not_its_knots(laws: list[Any]) -> None:
    forecast = laws[3]
    said = text(report.render(fits=forecast))
    assert "c(1)" not in said
    group = forecast.groups[0]
    assert f"{group.curve(100)[0]:.1%}" in said
    low, high = group.band(100, 0.95)
    assert f"[{low[0]:.1%}, {high[0]:.1%}] beyond the log" in said
    for name, weight in group.derived.items():
        if name.startswith("weight_"):
            assert name.removeprefix("weight_").replace("-", " ") in said
            assert f"{weight.estimate:.1%}" in said


def test_missing_intervals_and_bounds_are_said(laws: list[Any]) -> None:
    fit = laws[0]
    params = dict(fit.groups[0].params)
    params["alpha"] = replace(params["alpha"], estimate=3.25e7, interval=None, at_bound=True)
    fit = replace(fit, groups=(replace(fit.groups[0], params=params), fit.groups[1]))
    said = text(report.render(fits=fit))
    assert "3.25e+07 at the bound no interval" in said
    bare = replace(fit, interval=replace(fit.interval, method="none"))
    assert "no interval" not in text(report.render(fits=bare)).replace("no intervals", "")


def test_more_laws_than_colours_are_refused_in_words(laws: list[Any]) -> None:
    said = text(report.render(fits=[laws[2]] * 9))
    assert "9 fits in one chart cannot be told apart" in said
    assert "exponentiated-power (logcov) (9)" in said
