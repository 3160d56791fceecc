"""A law declares; this module derives.

A law states its formula in SymPy, its inputs, parameters, objectives, claims and sources. From that
follow, once and for all laws: NumPy and JAX functions with gradients, the map to coordinates without
bounds, LaTeX, the marginal value, the inverse (budget for a target) and the saturation point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import sympy as sp
from numpy.typing import ArrayLike, NDArray
from sympy.codegen.cfunctions import expm1, log1p

from scaling.core.objective import OBJECTIVES, RUNTIMES, Objective, objective
from scaling.core.rates import ATTEMPTS, SUCCESSES, BetaMixture, Latent
from scaling.core.support import Support
from scaling.core.symbolic import compile_jax, compile_numpy, log_beta_ratio, refuse_unknown
from scaling.errors import UsageError, did_you_mean

FloatArray = NDArray[np.float64]
Claim = Literal["increasing", "concave", "bounded"]
Limit = Literal["one-rate", "all-or-nothing", "never-and-one-rate", "two-rates", "one-beta"]


@dataclass(frozen=True)
class Input:
    """A variable of the law.

    Attributes:
        symbol: as in the paper.
        column: its column in a sweep, and the name at the interface.
        unit: for people.
        grid: lowest and highest value at which the contract checks evaluate the law.
    """

    symbol: str
    column: str
    unit: str
    grid: tuple[float, float] = (1.0, 1e4)

    @property
    def sym(self) -> sp.Symbol:
        """The SymPy symbol."""
        return sp.Symbol(self.symbol, positive=True)


@dataclass(frozen=True)
class Param:
    """A parameter.

    Attributes:
        symbol: as in the paper; also its name in results.
        support: where it may lie.
        meaning: one line.
        unit: "1" where it has none.
        typical: a range inside the support from which the contract checks draw.
    """

    symbol: str
    support: Support
    meaning: str
    typical: tuple[float, float]
    unit: str = "1"

    @property
    def sym(self) -> sp.Symbol:
        """The SymPy symbol, with the signs that its support implies."""
        positive = self.support.lower >= 0
        negative = self.support.upper <= 0
        return sp.Symbol(
            self.symbol,
            real=True,
            **({"positive": True} if positive else {"negative": True} if negative else {}),
        )


@dataclass(frozen=True)
class Output:
    """What the law gives, and the range it must stay in."""

    name: str
    meaning: str
    range: tuple[float, float]


@dataclass(frozen=True)
class Reference:
    """A source, with the place of the formula in it."""

    text: str
    place: str
    arxiv: str | None = None


@dataclass(frozen=True)
class Derived:
    """A quantity that is a function of the parameters alone."""

    name: str
    meaning: str
    expression: sp.Expr


@dataclass(frozen=True)
class Flag:
    """A caution that holds where `expression` > 0."""

    code: str
    message: str
    expression: sp.Expr


@dataclass(frozen=True)
class Preset:
    """A recipe: objective, number of log-spaced points of the curve, and whether c(2) <= 2 c(1) is kept."""

    meaning: str
    objective: str
    points: int
    feasible: bool = False


@dataclass(frozen=True)
class Law:
    """A scaling law, declared.

    Attributes:
        name: kebab-case, as users type it; its file has underscores.
        meaning: one line.
        inputs, params, output: its variables.
        expression: the output as a formula of inputs and params.
        objectives: what it may be fitted by, the default first.
        guess: observation name to a function that gives starting points inside the support, shape
            (S, p): for `curve` of (inputs, values), for `counts` of (n, c, multiplicity).
        claims: what holds for every parameter inside the support.
        references: sources with the place of the formula.
        rates: how success rates are spread over problems; None for a law of curves. From it follow the
            likelihood of counts and what the law says of single problems; where it is `Latent`, also
            the output, and `expression` is for people.
        derived: functions of the parameters that are reported beside them.
        limits: simpler distributions of success rates that the law comes to at its ends; where one of them
            explains the counts as well, the law is not identified.
        canonical: maps parameters of shape (..., p) to those of the same law that are reported, where several
            say the same.
        flags: cautions that depend on the parameters alone.
        presets: published recipes by name.
    """

    name: str
    meaning: str
    inputs: tuple[Input, ...]
    params: tuple[Param, ...]
    output: Output
    expression: sp.Expr
    objectives: tuple[str, ...]
    guess: Mapping[str, Callable[..., FloatArray]]
    claims: tuple[Claim, ...]
    references: tuple[Reference, ...]
    rates: BetaMixture | Latent | None = None
    derived: tuple[Derived, ...] = ()
    limits: tuple[Limit, ...] = ("one-rate", "all-or-nothing")
    canonical: Callable[[FloatArray], FloatArray] | None = None
    flags: tuple[Flag, ...] = ()
    presets: Mapping[str, Preset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        formulas = [] if isinstance(self.rates, Latent) else [self.expression]
        formulas += self.rates.formulas if self.rates else ()
        formulas += [d.expression for d in self.derived] + [f.expression for f in self.flags]
        for formula in formulas:
            refuse_unknown(self.name, formula)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(p.symbol for p in self.params)

    def fitted(self, names: Sequence[str], objective: str) -> Law:
        """The law with the parameters of one fit; it is another one where they depend on the data.

        Raises:
            UsageError: for names that are not those of its parameters.
        """
        del objective
        if set(names) != set(self.names):
            msg = f"law '{self.name}' has the parameters {sorted(self.names)}, not {sorted(names)}"
            raise UsageError(msg)
        return self

    def latex(self) -> str:
        """The law as an equation in LaTeX."""
        left = rf"\mathrm{{{self.output.name}}}({', '.join(i.symbol for i in self.inputs)})"
        return f"{left} = {sp.latex(self.formula())}"

    def formula(self) -> sp.Expr:
        """The law in textbook functions, for people."""
        plain = self.expression.replace(
            log_beta_ratio,
            lambda a, b, k: sp.log(
                sp.gamma(b + k) * sp.gamma(a + b) / sp.gamma(b) / sp.gamma(a + b + k)
            ),
        )
        return plain.replace(expm1, lambda x: sp.exp(sp.logcombine(x)) - 1).replace(
            log1p, lambda x: sp.log(1 + x)
        )

    @property
    def timed(self) -> bool:
        """Whether it is fitted to measured runtimes, not to verdicts."""
        return any(OBJECTIVES[name].observation is RUNTIMES for name in self.objectives)

    def objective(self, name: str | None = None) -> Objective:
        """The objective `name`, by default the law's first.

        Raises:
            UsageError: where the law does not accept it.
        """
        return objective(name or self.objectives[0], self.name, self.objectives)

    def preset(self, name: str) -> Preset:
        """A published recipe.

        Raises:
            UsageError: listing those that exist.
        """
        if name not in self.presets:
            known = ", ".join(self.presets) or "none"
            msg = f"law '{self.name}' has no preset '{name}'; it has: {known}.{did_you_mean(name, self.presets)}"
            raise UsageError(msg)
        return self.presets[name]

    def columns(self, inputs: Mapping[str, ArrayLike]) -> list[FloatArray]:
        """The inputs in declared order, as float arrays.

        Raises:
            UsageError: where one is missing or unknown.
        """
        known = [i.column for i in self.inputs]
        for name in inputs:
            if name not in known:
                msg = (
                    f"law '{self.name}' has no input '{name}'; its inputs are {', '.join(known)}."
                    f"{did_you_mean(name, known)}"
                )
                raise UsageError(msg)
        for name in known:
            if name not in inputs:
                msg = f"law '{self.name}' needs a value of '{name}'; its inputs are {', '.join(known)}."
                raise UsageError(msg)
        return [np.asarray(inputs[name], dtype=np.float64) for name in known]

    # -- derived functions ------------------------------------------------------------------------

    @cached_property
    def _symbols(self) -> list[sp.Symbol]:
        return [p.sym for p in self.params]

    @cached_property
    def _inputs(self) -> list[sp.Symbol]:
        return [i.sym for i in self.inputs]

    @cached_property
    def _value(self) -> Callable[..., list[Any]]:
        if isinstance(self.rates, Latent):
            return lambda *given: [-np.expm1(self.log_moment(given[:-1], given[-1], 0.0))]
        return compile_numpy([*self._symbols, *self._inputs], [self.expression])

    def log_moment(
        self,
        params: Sequence[FloatArray] | FloatArray,
        n: FloatArray | float,
        c: FloatArray | float,
        *,
        exact: bool = False,
    ) -> FloatArray:
        """Logarithm of E p^c (1-p)^(n-c) under a count law; all arguments broadcast.

        Args:
            params: one array a parameter.
            n: attempts.
            c: successes.
            exact: by the law's exact formula where it has one, instead of quadrature: far slower.
        """
        if exact and isinstance(self.rates, Latent) and self.rates.exact:
            return self.rates.exact(*params, n, c)
        with np.errstate(divide="ignore"):  # a share may be zero
            (out,) = self._log_moment(*params, n, c)
        return np.asarray(out)

    @cached_property
    def _log_moment(self) -> Callable[..., list[Any]]:
        if self.rates is None:
            raise UsageError(self._says_nothing_of_problems())
        if isinstance(self.rates, Latent):
            return self.rates.terms(self._symbols, 0)
        return compile_numpy([*self._symbols, ATTEMPTS, SUCCESSES], [self.rates.log_moment()])

    @cached_property
    def _gradient(self) -> Callable[..., list[Any]]:
        if isinstance(self.rates, Latent):
            terms = self.rates.terms(self._symbols, 1)

            def gradient(*given: FloatArray) -> list[FloatArray]:
                log_fail, *slopes = terms(*given, 0.0)
                return [-np.exp(log_fail) * slope for slope in slopes]

            return gradient
        return compile_numpy(
            [*self._symbols, *self._inputs], [sp.diff(self.expression, s) for s in self._symbols]
        )

    def value(self, params: ArrayLike, inputs: Mapping[str, ArrayLike]) -> FloatArray:
        """The output.

        Args:
            params: shape (..., p).
            inputs: each of shape (K,).

        Returns:
            Shape (..., K).
        """
        theta = np.asarray(params, dtype=np.float64)
        columns = self.columns(inputs)
        (out,) = self._value(*(theta[..., i, None] for i in range(len(self.params))), *columns)
        shape = (*theta.shape[:-1], *np.broadcast_shapes(*(c.shape for c in columns)))
        return np.broadcast_to(np.asarray(out) + 0.0, shape)  # no minus zero

    def gradient(self, params: ArrayLike, inputs: Mapping[str, ArrayLike]) -> FloatArray:
        """Derivatives of the output in the parameters, shape (..., K, p)."""
        theta = np.asarray(params, dtype=np.float64)
        columns = self.columns(inputs)
        parts = self._gradient(*(theta[..., i, None] for i in range(len(self.params))), *columns)
        shape = (*theta.shape[:-1], *np.broadcast_shapes(*(c.shape for c in columns)))
        return np.stack([np.broadcast_to(g, shape) for g in parts], axis=-1)

    def jax_value(self) -> Callable[..., Any]:
        """The output as a JAX function of (params of shape (p,), inputs...)."""
        p = len(self.params)
        if isinstance(self.rates, Latent):
            import jax
            import jax.numpy as jnp

            run = self.rates.quadrature(self._symbols, xp=jnp)

            def value(params: Any, k: Any) -> Any:
                log_integrand, _ = run(*(params[i] for i in range(p)), k, 0.0)
                return -jnp.expm1(jax.scipy.special.logsumexp(log_integrand, axis=0))

            return value
        function = compile_jax([*self._symbols, *self._inputs], [self.expression])
        return lambda params, *inputs: function(*(params[i] for i in range(p)), *inputs)[0]

    def marginal(
        self, params: ArrayLike, inputs: Mapping[str, ArrayLike], column: str
    ) -> FloatArray:
        """What one more unit of an input buys: value(x + 1) - value(x), shape (..., K)."""
        more = {
            name: np.asarray(v, dtype=np.float64) + (name == column) for name, v in inputs.items()
        }
        return self.value(params, more) - self.value(params, inputs)

    def inverse(self, params: ArrayLike, target: float, *, most: int = 2**53) -> FloatArray:
        """Smallest whole number of the one input at which the output reaches `target`.

        Args:
            params: shape (..., p); the law must claim to be increasing and have one input.
            target: the value to reach.
            most: the largest number tried.

        Returns:
            Shape (...), infinite where the target is beyond reach.
        """
        self._single_increasing_input("the budget for a target")
        theta = np.asarray(params, dtype=np.float64).reshape(-1, len(self.params))

        def reached(x: FloatArray) -> NDArray[np.bool_]:
            return self._paired(theta, x) >= target

        out = _first_true(reached, len(theta), most)
        return out.reshape(np.shape(params)[:-1])

    def saturation(self, params: ArrayLike, gain: float, *, most: int = 2**40) -> FloatArray:
        """Smallest whole number N of the one input from which one more buys at most `gain`.

        With a law that is not concave at its start, the last such number: beyond it no step buys more.

        Args:
            params: shape (..., p).
            gain: the marginal value that is no longer worth a unit, > 0.
            most: the largest number tried.
        """
        if not gain > 0:
            msg = (
                f"the gain that ends a curve must be above 0, not {gain!r}; give for example 0.001."
            )
            raise UsageError(msg)
        name = self._single_increasing_input("a saturation point")
        theta = np.asarray(params, dtype=np.float64).reshape(-1, len(self.params))

        def step(x: FloatArray) -> FloatArray:
            return self._paired(theta, x + 1) - self._paired(theta, x)

        # A curve that starts convex has its steepest step inside; concave from there on.
        start = np.ones(len(theta))
        if "concave" not in self.claims:
            scan = np.unique(np.round(np.geomspace(1, 1e6, 200)))
            steps = self.marginal(theta, {name: scan}, name)
            start = scan[np.argmax(steps, axis=-1)]
        found = start - 1 + _first_true(lambda x: step(start - 1 + x) <= gain, len(theta), most)
        return np.where(step(start) <= gain, 1.0, found).reshape(np.shape(params)[:-1])

    def _single_increasing_input(self, what: str) -> str:
        if len(self.inputs) != 1 or "increasing" not in self.claims:
            msg = (
                f"law '{self.name}' has no single increasing input, so {what} is not defined for it"
            )
            raise UsageError(msg)
        return self.inputs[0].column

    def _paired(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        # One input value for each row of parameters.
        (out,) = self._value(*theta.T, x)
        return np.broadcast_to(out, x.shape)

    def derive(self, params: ArrayLike) -> dict[str, FloatArray]:
        """The derived quantities, each of shape (...)."""
        theta = np.asarray(params, dtype=np.float64)
        if not self.derived:
            return {}
        with np.errstate(over="ignore"):  # a prefactor of a law near its limits
            values = self._derived(*(theta[..., i] for i in range(len(self.params))))
        return {
            d.name: np.broadcast_to(v, theta.shape[:-1]).astype(np.float64)
            for d, v in zip(self.derived, values, strict=True)
        }

    @cached_property
    def _derived(self) -> Callable[..., list[Any]]:
        return compile_numpy(self._symbols, [d.expression for d in self.derived])

    def flagged(self, params: ArrayLike) -> list[Flag]:
        """The flags that hold at one parameter vector."""
        theta = np.asarray(params, dtype=np.float64)
        if not self.flags:
            return []
        return [f for f, v in zip(self.flags, self._flags(*theta), strict=True) if v > 0]

    @cached_property
    def _flags(self) -> Callable[..., list[Any]]:
        return compile_numpy(self._symbols, [f.expression for f in self.flags])

    def free(self, params: ArrayLike) -> FloatArray:
        """Unconstrained coordinates, shape (..., p)."""
        theta = np.asarray(params, dtype=np.float64)
        return np.stack([p.support.free(theta[..., i]) for i, p in enumerate(self.params)], axis=-1)

    def bound(self, coordinates: ArrayLike) -> FloatArray:
        """Parameters from unconstrained coordinates, shape (..., p)."""
        u = np.asarray(coordinates, dtype=np.float64)
        return np.stack([p.support.bound(u[..., i]) for i, p in enumerate(self.params)], axis=-1)

    def linked(self, chosen: Objective) -> Callable[..., list[Any]]:
        """For a curve objective: the transformed output and its Jacobian in free coordinates.

        Takes p coordinates and the inputs, returns [value, d value / d u_1, ...].
        """
        if chosen.name not in self._linked:
            u, substitution = self._coordinates()
            value = chosen.transform(self.expression).subs(substitution)
            value = sp.expand_log(value, force=True)
            outputs = [value, *(sp.diff(value, x) for x in u)]
            self._linked[chosen.name] = compile_numpy([*u, *self._inputs], outputs)
        return self._linked[chosen.name]

    @cached_property
    def _linked(self) -> dict[str, Callable[..., list[Any]]]:
        # Compiled once an objective: a fit asks for it again for every block of replicates.
        return {}

    @cached_property
    def count_terms(self) -> Callable[..., list[Any]]:
        """Log-probability of counts with its gradient and the upper triangle of its Hessian.

        Takes p free coordinates, n and c; returns 1 + p + p(p+1)/2 arrays.
        """
        if self.rates is None:
            msg = f"law '{self.name}' is fitted to curves; it has no likelihood of counts"
            raise UsageError(msg)
        u, substitution = self._coordinates()
        if isinstance(self.rates, Latent):
            return self.rates.subs(substitution).terms(u, 2)
        value = self.rates.log_moment().subs(substitution)
        first = [sp.diff(value, x) for x in u]
        second = [sp.diff(first[i], u[j]) for i in range(len(u)) for j in range(i, len(u))]
        return compile_numpy([*u, ATTEMPTS, SUCCESSES], [value, *first, *second])

    def posterior_value(
        self, params: ArrayLike, n: ArrayLike, c: ArrayLike, inputs: Mapping[str, ArrayLike]
    ) -> FloatArray:
        """The output for problems with known counts.

        Args:
            params: shape (p,).
            n: attempts, shape (U,).
            c: successes, shape (U,).
            inputs: each of shape (K,).

        Returns:
            Shape (U, K).

        Raises:
            UsageError: for a law of curves.
        """
        columns = self.columns(inputs)
        theta = np.asarray(params, dtype=np.float64)
        attempts, successes = (np.asarray(x, dtype=np.float64)[:, None] for x in (n, c))
        if isinstance(self.rates, Latent):
            more = self.log_moment(theta, attempts + columns[0], successes)
            return -np.expm1(np.minimum(more - self.log_moment(theta, attempts, successes), 0.0))
        with np.errstate(divide="ignore"):  # a share may be zero
            (out,) = self._posterior(*theta, attempts, successes, *columns)
        return np.clip(
            np.asarray(out, dtype=np.float64), 0.0, 1.0
        )  # but for rounding it lies there

    @cached_property
    def _posterior(self) -> Callable[..., list[Any]]:
        if not isinstance(self.rates, BetaMixture):
            raise UsageError(self._says_nothing_of_problems())
        arguments = [*self._symbols, ATTEMPTS, SUCCESSES, *self._inputs]
        return compile_numpy(arguments, [self.rates.posterior(self._inputs[0])])

    def draw_rates(
        self, params: ArrayLike, n: ArrayLike, c: ArrayLike, rng: np.random.Generator
    ) -> FloatArray:
        """One draw of the success rate of each problem given its counts, shape (P,).

        Args:
            params: shape (p,).
            n: attempts, shape (P,).
            c: successes, shape (P,).
            rng: source of randomness.

        Raises:
            UsageError: for a law of curves.
        """
        theta = np.asarray(params, dtype=np.float64)
        attempts, successes = (np.asarray(x, dtype=np.float64) for x in (n, c))
        return self._draw(theta, attempts, successes, rng)

    @cached_property
    def _draw(self) -> Callable[..., FloatArray]:
        if self.rates is None:
            raise UsageError(self._says_nothing_of_problems())
        return self.rates.sampler(self._symbols)

    def _says_nothing_of_problems(self) -> str:
        return (
            f"law '{self.name}' says nothing of single problems; a count law (beta-binomial) does"
        )

    def _coordinates(self) -> tuple[list[sp.Symbol], dict[sp.Symbol, sp.Expr]]:
        u = [sp.Symbol(f"u_{p.symbol}", real=True) for p in self.params]
        return u, {p.sym: p.support.expression(x) for p, x in zip(self.params, u, strict=True)}


def _first_true(
    reached: Callable[[FloatArray], NDArray[np.bool_]], rows: int, most: int
) -> FloatArray:
    # Smallest whole x >= 1 with reached(x), for each row, by doubling and halving.
    low, high = np.zeros(rows), np.ones(rows)
    done = reached(high)
    while not done.all() and high[~done].min() < most:
        low = np.where(done, low, high)
        high = np.where(done, high, np.minimum(high * 2, most))
        done = reached(high)
    while ((high - low > 1) & done).any():
        middle = np.where(done & (high - low > 1), np.floor((low + high) / 2), high)
        yes = reached(middle)
        high, low = np.where(yes, middle, high), np.where(yes, low, middle)
    return np.where(done, high, np.inf)
