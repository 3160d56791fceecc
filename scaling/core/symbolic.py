"""The one table of functions that laws may use, and the compiler from formulas to code.

A formula is declared in SymPy. From it come a NumPy function (float64, for prediction and for
fitting in batches) and a JAX function (for automatic differentiation). A function that is not in
`FUNCTIONS` is refused when the law is declared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp
from sympy.codegen.cfunctions import expm1, log1p

from scaling.core import special
from scaling.errors import UsageError


class log_rising(sp.Function):  # type: ignore[misc]  # noqa: N801
    """lnΓ(x+n) - lnΓ(x), the logarithm of the rising factorial; differentiable in `x`."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> Any:
        """Derivative in `x`; the laws here never differentiate in `n`."""
        if argindex != 1:
            raise sp.ArgumentIndexError(self, argindex)
        return rising_derivative(1, *self.args)


class rising_derivative(sp.Function):  # type: ignore[misc]  # noqa: N801
    """Derivative of `log_rising` in `x`; the first argument is its order."""

    nargs = 3

    def fdiff(self, argindex: int = 2) -> Any:
        """The next derivative in `x`."""
        if argindex != 2:
            raise sp.ArgumentIndexError(self, argindex)
        order, x, n = self.args
        return rising_derivative(order + 1, x, n)


class log_beta_ratio(sp.Function):  # type: ignore[misc]  # noqa: N801
    """ln B(a, b+k) - ln B(a, b); differentiable in `a` and `b`."""

    nargs = 3

    def fdiff(self, argindex: int = 1) -> Any:
        """Derivative in `a` or `b`."""
        a, b, k = self.args
        if argindex == 1:
            return -rising_derivative(1, a + b, k)
        if argindex == 2:
            return rising_derivative(1, b, k) - rising_derivative(1, a + b, k)
        raise sp.ArgumentIndexError(self, argindex)


class log_add_exp(sp.Function):  # type: ignore[misc]  # noqa: N801
    """ln(e^x + e^y)."""

    nargs = 2

    def fdiff(self, argindex: int = 1) -> Any:
        """Derivative in `x` or `y`."""
        if argindex not in (1, 2):
            raise sp.ArgumentIndexError(self, argindex)
        return sp.exp(self.args[argindex - 1] - self)


class log_sigmoid(sp.Function):  # type: ignore[misc]  # noqa: N801
    """-ln(1 + e^-x)."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        """Derivative, 1/(1 + e^x)."""
        if argindex != 1:
            raise sp.ArgumentIndexError(self, argindex)
        return sp.exp(log_sigmoid(-self.args[0]))


class log_gamma(sp.Function):  # type: ignore[misc]  # noqa: N801
    """lnΓ(x) for x > 0."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        """Derivative, the digamma function."""
        if argindex != 1:
            raise sp.ArgumentIndexError(self, argindex)
        return gamma_derivative(1, self.args[0])


class gamma_derivative(sp.Function):  # type: ignore[misc]  # noqa: N801
    """Derivative of `log_gamma`; the first argument is its order, 1 or 2."""

    nargs = 2

    def fdiff(self, argindex: int = 2) -> Any:
        """The next derivative."""
        if argindex != 2:
            raise sp.ArgumentIndexError(self, argindex)
        order, x = self.args
        return gamma_derivative(order + 1, x)


class log_if_zero(sp.Function):  # type: ignore[misc]  # noqa: N801
    """0 where the argument is 0, else minus infinity; for a point mass, of counts only."""

    nargs = 1


def _jax_log_if_zero(x: Any) -> Any:
    import jax.numpy as jnp

    return jnp.where(x == 0, 0.0, -jnp.inf)


def _jax(name: str) -> Callable[..., Any]:
    def function(*arguments: Any) -> Any:
        import jax

        return {"log_sigmoid": jax.nn.log_sigmoid, "log_gamma": jax.scipy.special.gammaln}[name](
            *arguments
        )

    return function


def _jax_log_beta_ratio(a: Any, b: Any, k: Any) -> Any:
    return _jax_log_rising(b, k) - _jax_log_rising(a + b, k)


def _jax_log_rising(x: Any, n: Any) -> Any:
    from jax.scipy.special import gammaln

    return gammaln(x + n) - gammaln(x)


# SymPy function: (NumPy implementation, JAX implementation or its name in jax.numpy). Functions that
# stand only in derivatives need no JAX form: JAX differentiates by itself.
FUNCTIONS: dict[
    type[sp.Function], tuple[Callable[..., Any] | str, Callable[..., Any] | str | None]
] = {
    sp.exp: ("exp", "exp"),
    sp.log: ("log", "log"),
    expm1: ("expm1", "expm1"),
    log1p: ("log1p", "log1p"),
    log_rising: (special.log_rising, _jax_log_rising),
    rising_derivative: (special.rising_derivative, None),
    log_beta_ratio: (special.log_beta_ratio, _jax_log_beta_ratio),
    log_add_exp: (np.logaddexp, "logaddexp"),
    log_sigmoid: (special.log_sigmoid, _jax("log_sigmoid")),
    log_gamma: (special.log_gamma, _jax("log_gamma")),
    gamma_derivative: (special.gamma_derivative, None),
    log_if_zero: (special.log_if_zero, _jax_log_if_zero),
}


def refuse_unknown(law: str, expression: sp.Expr) -> None:
    """Refuse a formula with a function that `FUNCTIONS` does not hold.

    Raises:
        UsageError: naming the function and the law.
    """
    for node in sp.preorder_traversal(expression):
        if isinstance(node, sp.Function) and type(node) not in FUNCTIONS:
            known = ", ".join(sorted(f.__name__ for f in FUNCTIONS))
            msg = (
                f"law '{law}' uses the function '{type(node).__name__}', which has no implementation here; "
                f"known are {known}. Add it to FUNCTIONS in scaling/core/symbolic.py with its gradient."
            )
            raise UsageError(msg)


def _powers_as_exponentials(expression: sp.Expr) -> sp.Expr:
    """Write k**b as exp(b log k): one exponential, and log k is shared by all rows."""
    return expression.replace(
        lambda e: e.is_Pow and bool(e.exp.free_symbols),
        lambda e: sp.exp(e.exp * sp.log(e.base)),
    )


def compile_numpy(
    arguments: Sequence[sp.Symbol], expressions: Sequence[sp.Expr]
) -> Callable[..., list[Any]]:
    """A function of arrays (broadcast against each other) that returns one array an expression."""
    return _compile(arguments, expressions, {f: i for f, (i, _) in FUNCTIONS.items()}, "numpy")


def compile_jax(
    arguments: Sequence[sp.Symbol], expressions: Sequence[sp.Expr]
) -> Callable[..., list[Any]]:
    """The same in JAX; call it inside `jax.enable_x64(True)`."""
    import jax.numpy as jnp

    table = {f: getattr(jnp, i) if isinstance(i, str) else i for f, (_, i) in FUNCTIONS.items()}
    return _compile(arguments, expressions, table, "jax")


def _compile(
    arguments: Sequence[sp.Symbol],
    expressions: Sequence[sp.Expr],
    table: Mapping[type[sp.Function], Any],
    printer: str,
) -> Callable[..., list[Any]]:
    own = {f.__name__: i for f, i in table.items() if callable(i)}
    prepared = [_powers_as_exponentials(e) for e in expressions]
    function: Callable[..., list[Any]] = sp.lambdify(
        list(arguments), prepared, modules=[own, printer], cse=True
    )
    return function
