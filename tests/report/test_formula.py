"""Formulas are written as in a textbook, and still say what the law computes."""

from __future__ import annotations

from xml.dom import minidom

import numpy as np
import pytest

from scaling.core.law import Law
from scaling.core.registry import law, law_names
from scaling.report.formula import characters, latex, mathml, textbook


def middle(declared: Law) -> list[float]:
    return [float(np.mean(p.typical)) for p in declared.params]


@pytest.mark.parametrize("name", law_names())
def test_written_formula_has_the_value_of_the_law(name: str) -> None:
    import sympy as sp

    declared = law(name)
    at = middle(declared)
    given = {i: 7.0 + n for n, i in enumerate(declared.inputs)}
    numbers = dict(zip((p.symbol for p in declared.params), at, strict=True))
    numbers |= {i.symbol: x for i, x in given.items()}
    written = textbook(declared).replace(sp.UnevaluatedExpr, lambda x: x)
    written = written.subs({sp.Symbol(s): sp.Float(x) for s, x in numbers.items()})
    inputs = {i.column: np.array([x]) for i, x in given.items()}
    expected = declared.value(np.array(at), inputs)[0]
    assert float(written.evalf(5)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", law_names())
def test_mathml_is_well_formed_and_readable(name: str) -> None:
    text = mathml(law(name)).replace("&minus;", "−").replace("&InvisibleTimes;", "")
    for entity, sign in (("&pi;", "π"), ("&infin;", "∞"), ("&#x222B;", "∫")):
        text = text.replace(entity, sign)
    tree = minidom.parseString(text)  # noqa: S318 - made by this package
    words = [
        "".join(child.nodeValue or "" for child in element.childNodes)
        for tag in ("mi", "mn")
        for element in tree.getElementsByTagName(tag)
    ]
    output = law(name).output.name
    assert words[0] == output
    assert not {word for word in words if len(word) > 3} - {output, "prompt(1)"}
    assert "-1" not in words


def test_terms_stand_as_one_would_write_them() -> None:
    zero_inflated = latex(law("zero-inflated-beta-binomial"))
    assert zero_inflated.startswith(
        r"\mathrm{coverage}(k) = \left(1 - \pi_{0}\right) \left(1 - \frac{"
    )
    assert r"w \left(1 - \frac{" in latex(law("beta-mixture"))
    assert r"\left(x - \mu\right)^{2}" in latex(law("logit-normal"))
    assert r"\left(1 - s u\right)^{k}" in latex(law("scaled-beta-binomial"))
    assert latex(law("exponentiated-power")) == r"\mathrm{coverage}(k) = e^{a k^{b}}"


def test_characters_fit_a_terminal() -> None:
    for name in law_names():
        lines = characters(law(name)).split("\n")
        inputs = ", ".join(i.symbol for i in law(name).inputs)
        assert sum(f"{law(name).output.name}({inputs}) = " in line for line in lines) == 1
        assert max(map(len, lines)) <= 100
        assert all(line == line.rstrip() for line in lines)
