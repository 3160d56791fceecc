"""A law's formula for people: MathML for browsers, LaTeX for papers, characters for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling.core.law import Law


def mathml(law: Law) -> str:
    """The law as an equation in presentation MathML, which browsers draw by themselves."""
    import sympy as sp
    from sympy.printing.mathml import MathMLPresentationPrinter

    class Printer(MathMLPresentationPrinter):  # type: ignore[misc]
        def _print_UnevaluatedExpr(self, expr: Any) -> Any:  # noqa: N802
            return self._print(expr.args[0])

    def write(part: Any) -> str:
        return str(Printer({"order": "none"}).doprint(part))

    # Fonts without mathematics do not lower an index; the character for it is low by itself.
    formula = textbook(law)
    lowered = {symbol: sp.Symbol(sp.pretty(symbol)) for symbol in formula.atoms(sp.Symbol)}
    inputs = "<mo>,</mo>".join(write(i.sym) for i in law.inputs)
    equation = (
        f"<mi>{law.output.name}</mi><mo>(</mo>{inputs}<mo>)</mo><mo>=</mo>"
        f"{write(_renamed(formula, lowered))}"
    )
    for bracket in "()":
        equation = equation.replace(f"<mo>{bracket}</mo>", f'<mo stretchy="false">{bracket}</mo>')
    for theirs, ours in (
        ("<mo>-</mo>", "<mo>&minus;</mo>"),
        ("&ExponentialE;", "e"),
        ("<mo>&dd;</mo>", '<mspace width="0.2em"/><mi>d</mi>'),
    ):
        equation = equation.replace(theirs, ours)
    return f'<math display="block" style="text-align:left">{equation}</math>'


def latex(law: Law) -> str:
    """The law as an equation in LaTeX."""
    import sympy as sp

    inputs = ", ".join(sp.latex(i.sym) for i in law.inputs)
    return rf"\mathrm{{{law.output.name}}}({inputs}) = {sp.latex(textbook(law), order='none')}"


def characters(law: Law) -> str:
    """The law as an equation drawn in characters, over several lines."""
    from sympy.printing.pretty.pretty import PrettyPrinter

    inputs = ", ".join(i.symbol for i in law.inputs)
    printer = PrettyPrinter({"use_unicode": True, "order": "none", "wrap_line": False})
    drawn = printer._print(textbook(law)).left(f"{law.output.name}({inputs}) = ")  # noqa: SLF001
    return "\n".join(line.rstrip() for line in drawn[0].split("\n"))


def textbook(law: Law) -> Any:
    """The formula with its terms as one would write them: `1 - x`, not `-(x - 1)`.

    It is for printing alone: evaluated again, SymPy would bring back its own order.
    """
    import sympy as sp

    formula = law.formula()
    # A symbol that is known to be negative would be printed as 1 / k^-b.
    return _written(formula.xreplace({x: sp.Symbol(x.name) for x in formula.atoms(sp.Symbol)}))


def _written(part: Any) -> Any:
    import sympy as sp

    if not part.args:
        return part
    if isinstance(part, sp.Add):
        terms = sorted(part.args, key=_is_negative)
        return sp.Add(*map(_written, terms), evaluate=False)
    if isinstance(part, sp.Mul):
        number, rest = part.as_independent(*part.free_symbols, as_Add=False)
        factors = list(sp.Mul.make_args(rest))
        for i, factor in enumerate(factors):
            if number.is_negative and isinstance(factor, sp.Add) and factor.args[0] == -1:
                number, factors[i] = -number, sp.Add(*(-term for term in factor.args))
        numbers = [number] if number != 1 else []
        if not (number.is_rational or (number**2).is_rational):  # sqrt(2) / (2 sqrt(pi))
            numbers = [sp.Pow(1 / number**2, -sp.Rational(1, 2), evaluate=False)]
        factors = [_shielded(factor) for factor in factors]
        if not numbers and len(factors) == 1:
            return factors[0]
        return sp.Mul(*numbers, *factors, evaluate=False)
    if isinstance(part, sp.Pow | sp.exp):
        return part.func(*map(_written, part.args), evaluate=False)
    return part.func(*map(_written, part.args))


def _shielded(factor: Any) -> Any:
    """A factor; the exponential of something negative is not to be printed as a denominator."""
    import sympy as sp

    if isinstance(factor, sp.exp) and _is_negative(factor.args[0]):
        return sp.exp(sp.UnevaluatedExpr(_written(factor.args[0])), evaluate=False)
    return _written(factor)


def _is_negative(term: Any) -> bool:
    return bool(term.as_coeff_Mul()[0].is_negative)


def _renamed(part: Any, names: dict[Any, Any]) -> Any:
    """Symbols replaced, everything else left as it is written."""
    import sympy as sp

    if not part.args:
        return names.get(part, part)
    args = [_renamed(arg, names) for arg in part.args]
    unevaluated = isinstance(part, sp.Add | sp.Mul | sp.Pow | sp.exp)
    return part.func(*args, evaluate=False) if unevaluated else part.func(*args)
