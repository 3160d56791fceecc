"""The report says what the results say, loads nothing, and runs no text of the user's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import scaling
from scaling import report
from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>'\"&"


def sweep(hard: str = "hard") -> Any:
    """Counts of 40 problems at two levels for two models, from fixed Beta populations."""
    import pandas as pd

    rng = np.random.default_rng(7)
    lines = [
        {
            "level": level,
            "model": model,
            "problem": f"{level}-{i}",
            "n": 16,
            "c": int(rng.binomial(16, p)),
            "tokens": 16 * tokens,
        }
        for level, hardness in (("easy", 1.0), (hard, 5.0))
        for model, tokens in (("small", 400.0), ("large", 1200.0))
        for i, p in enumerate(rng.beta(0.5 + tokens / 2000, hardness, 40))
    ]
    return scaling.read(pd.DataFrame(lines))


def made(data: Any) -> tuple[Any, Any]:
    fit = scaling.fit(data, "beta-binomial", by=["level", "model"], replicates=40, seed=1)
    return fit, scaling.allocate(fit, budget=3000, unit="tokens", seed=1)


@pytest.fixture(scope="module")
def results() -> tuple[Any, Any]:
    return made(sweep())


@pytest.fixture(scope="module")
def page(results: tuple[Any, Any]) -> str:
    fit, allocation = results
    return report.render(fits=fit, allocation=allocation)


class Reader(HTMLParser):
    """Collects elements, scripts, styles and the text that a person sees."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.style = ""
        self.text = ""
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._inside.append(tag)
            if tag == "script":
                self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"}:
            assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._inside[-1:] == ["script"]:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self._inside[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def test_loads_nothing(page: str) -> None:
    reader = read(page)
    for tag, attributes in reader.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert not (attributes.get(name) or "").startswith(("http", "//")), (tag, attributes)
        assert "url(http" not in (attributes.get("style") or "")
    assert "@import" not in reader.style
    assert "url(" not in reader.style
    # What is ours among the scripts calls for nothing; Vega's own loader has nothing to load.
    (own,) = [
        text for kind, text in reader.scripts if kind is None and "querySelectorAll(" in text[:200]
    ]
    assert not re.search(r"fetch|import|XMLHttpRequest|https?:", own)
    for kind, text in reader.scripts:
        if kind == "application/json":
            assert '"url"' not in text


def test_policy_allows_its_own_scripts_only(page: str) -> None:
    reader = read(page)
    (policy,) = [
        attributes["content"]
        for tag, attributes in reader.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    run = [text for kind, text in reader.scripts if kind is None]
    assert len(run) == 2
    for text in run:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "script-src 'unsafe-inline'" not in policy
    assert "http" not in policy


def test_every_figure_has_a_drawing_and_its_data(page: str) -> None:
    reader = read(page)
    figures = [a["data-chart"] for tag, a in reader.elements if tag == "figure"]
    stored = {
        a["id"] for tag, a in reader.elements if tag == "script" and a.get("type") is not None
    }
    assert figures == ["chart-1", "chart-2", "chart-3"]
    assert set(figures) == stored
    assert [tag for tag, _ in reader.elements].count("svg") == 3
    for kind, text in reader.scripts:
        if kind is not None:
            assert json.loads(text)["$schema"].startswith("https://vega.github.io/schema/vega-lite")


def test_says_what_the_results_say(page: str, results: tuple[Any, Any]) -> None:
    fit, allocation = results
    text = read(page).text
    assert fit.data["sha256"] in text
    assert f"{allocation.value:.1%}" in text
    assert f"{allocation.uniform_value:.1%}" in text
    for group in fit.groups:
        for name, estimate in group.params.items():
            assert name in text
            assert f"{estimate.estimate:.4g}" in text
            assert f"[{estimate.interval[0]:.4g}, {estimate.interval[1]:.4g}]" in text
        for caution in group.cautions:
            assert caution.code in text
    assert "--law beta-binomial" in text
    assert "--seed 1" in text


def test_formula_is_markup_not_text(page: str) -> None:
    reader = read(page)
    assert [tag for tag, _ in reader.elements].count("math") == 1
    assert "mfrac" in {tag for tag, _ in reader.elements}


def test_text_of_the_user_stays_text() -> None:
    fit, allocation = made(sweep(HOSTILE))
    reader = read(report.render(fits=fit, allocation=allocation, title=HOSTILE))
    tags = [tag for tag, _ in reader.elements]
    assert "img" not in tags
    assert tags.count("script") == 5
    for _, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")]
    assert HOSTILE in reader.text
    assert [kind for kind, _ in reader.scripts].count(None) == 2


def test_same_inputs_same_bytes(results: tuple[Any, Any], page: str) -> None:
    fit, allocation = results
    assert report.render(fits=fit, allocation=allocation) == page


def test_fit_without_allocation_and_the_reverse(results: tuple[Any, Any]) -> None:
    fit, allocation = results
    assert "Certificate" not in read(report.render(fits=[fit])).text
    alone = read(report.render(allocation=allocation)).text
    assert "Certificate" in alone
    assert "Parameters" not in alone
    with pytest.raises(UsageError, match="fit or an allocation"):
        report.render()


def test_group_that_cannot_be_used_is_shown_as_such() -> None:
    import pandas as pd

    lines = [
        {"level": level, "problem": f"{level}-{i}", "n": 8, "c": c if level == "easy" else 0}
        for level in ("easy", "hopeless")
        for i, c in enumerate([0, 1, 1, 2, 3, 4, 6, 7, 8, 0])
    ]
    data = scaling.read(pd.DataFrame(lines))
    fit = scaling.fit(data, "beta-binomial", by=["level"], replicates=40)
    text = read(report.render(fits=fit)).text
    assert "not-identified" in text
    assert "nan" not in text.lower().split()


def test_write(results: tuple[Any, Any], page: str, tmp_path: Path) -> None:
    fit, allocation = results
    path = tmp_path / "report.html"
    assert report.write(path, fits=fit, allocation=allocation) == path
    assert path.read_text("utf-8") == page
    with pytest.raises(InputError, match="absent"):
        report.write(tmp_path / "absent" / "report.html", fits=fit)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_divided_class_and_nothing_are_said(results: tuple[Any, Any]) -> None:
    fit, _ = results
    divided = scaling.allocate(fit, budget=1050, unit="tokens", split=True)
    (split,) = divided.split
    text = read(report.render(allocation=divided)).text
    assert f"for {split.share:.1%} of queries, else" in text
    scarce = scaling.allocate(fit, budget=250, unit="tokens", allow_skip=True)
    assert -1 in scarce.chosen
    page = read(report.render(allocation=scarce))
    assert "nothing" in page.text
    assert "spent evenly" in page.text


def test_bins_are_shown_as_ranges() -> None:
    import pandas as pd

    rng = np.random.default_rng(3)
    lines = [
        {
            "difficulty": float(d),
            "problem": f"p{i}",
            "n": 16,
            "c": int(rng.binomial(16, rng.beta(1, 1 + 6 * d))),
            "tokens": 6400.0,
        }
        for i, d in enumerate(rng.uniform(0, 1, 90))
    ]
    data = scaling.read(pd.DataFrame(lines))
    fit = scaling.fit(
        data, "beta-binomial", by=["difficulty"], bins={"difficulty": (0.3, 0.7)}, replicates=40
    )
    text = read(report.render(fits=fit, allocation=scaling.allocate(fit, 1000, unit="tokens"))).text
    for label in ("< 0.3", "0.3 to 0.7", "≥ 0.7"):
        assert label in text
    assert "--bins difficulty=0.3,0.7" in text


def test_formulas_of_all_laws_are_written_as_declared() -> None:
    from scaling.core.registry import law, law_names
    from scaling.report.formula import mathml

    for name in law_names():
        text = re.sub(r"<[^>]*>", "", mathml(law(name)))
        assert text.startswith(law(name).output.name)
        assert "log_rising" not in text
        assert "expm1" not in text
    # e to the a k^b, with no fraction made of the negative exponent.
    assert "mfrac" not in mathml(law("exponentiated-power"))
