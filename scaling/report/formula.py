"""A law's formula as MathML, which browsers draw by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling.core.law import Law


def mathml(law: Law) -> str:
    """The law as an equation in presentation MathML."""
    import sympy as sp

    formula = law.formula()
    # A symbol that is known to be negative would be printed as 1 / k^-b.
    formula = formula.subs({symbol: sp.Symbol(symbol.name) for symbol in formula.free_symbols})
    inputs = "<mo>,</mo>".join(sp.mathml(i.sym, printer="presentation") for i in law.inputs)
    equation = (
        f"<mi>{law.output.name}</mi><mo>(</mo>{inputs}<mo>)</mo><mo>=</mo>"
        f"{sp.mathml(formula, printer='presentation')}"
    )
    for bracket in "()":
        equation = equation.replace(f"<mo>{bracket}</mo>", f'<mo stretchy="false">{bracket}</mo>')
    equation = equation.replace("<mo>-</mo>", "<mo>&minus;</mo>").replace("&ExponentialE;", "e")
    return f'<math display="block" style="text-align:left">{equation}</math>'
