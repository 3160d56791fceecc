"""Distributions of success rates over problems, declared.

A count law says how single-attempt success rates p are spread over problems. All else follows from
m(n, c) = E p^c (1-p)^(n-c): the probability of the counts of a problem is C(n, c) m(n, c), coverage
is 1 - m(k, 0), and the coverage that k more attempts give a problem with known counts is
1 - m(n+k, c) / m(n, c).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import sympy as sp
from numpy.typing import NDArray
from sympy.codegen.cfunctions import expm1

from scaling.core.symbolic import (
    compile_jax,
    compile_numpy,
    log_add_exp,
    log_beta_ratio,
    log_if_zero,
    log_rising,
    log_sigmoid,
)

FloatArray = NDArray[np.float64]

ATTEMPTS, SUCCESSES = sp.Symbol("n", positive=True), sp.Symbol("c", nonnegative=True)
"""Symbols of the counts of one problem."""

TINY = sp.Float(1e-300)
"""Keeps the logarithm of a failure rate finite where a rate of one leaves nothing."""


class Beta(NamedTuple):
    """A share of the problems, whose success rates follow Beta(alpha, beta)."""

    share: sp.Expr
    alpha: sp.Expr
    beta: sp.Expr


@dataclass(frozen=True)
class BetaMixture:
    """Success rates from Beta distributions, and a share of problems that are never solved.

    Attributes:
        parts: the Beta distributions with their shares.
        never: share of problems with success rate zero, or None.
    """

    parts: tuple[Beta, ...]
    never: sp.Expr | None = None

    @property
    def formulas(self) -> tuple[sp.Expr, ...]:
        """All formulas, for checking."""
        return (self.log_moment(),)

    def coverage(self, k: sp.Expr) -> sp.Expr:
        """1 - E (1-p)^k."""
        return -sum(
            part.share * expm1(log_beta_ratio(part.alpha, part.beta, k)) for part in self.parts
        )

    def log_shares(self) -> list[sp.Expr]:
        """Logarithm of share times m(n, c), for every part, the unsolvable problems last."""
        n, c = ATTEMPTS, SUCCESSES
        out = [
            sp.log(part.share)
            + log_rising(part.alpha, c)
            + log_rising(part.beta, n - c)
            - log_rising(part.alpha + part.beta, n)
            for part in self.parts
        ]
        return out if self.never is None else [*out, sp.log(self.never) + log_if_zero(c)]

    def log_moment(self) -> sp.Expr:
        """Logarithm of m(n, c)."""
        first, *others = self.log_shares()
        for other in others:
            first = log_add_exp(first, other)
        return first

    def posterior(self, k: sp.Expr) -> sp.Expr:
        """1 - m(n+k, c) / m(n, c)."""
        n, c = ATTEMPTS, SUCCESSES
        whole = self.log_moment()
        return sum(
            -sp.exp(log_share - whole) * expm1(log_beta_ratio(part.alpha + c, part.beta + n - c, k))
            for part, log_share in zip(self.parts, self.log_shares(), strict=False)
        )

    def sampler(self, arguments: Sequence[sp.Symbol]) -> Callable[..., FloatArray]:
        """A function of parameters (p,), n and c (P,) and a generator: one posterior draw a problem."""
        n, c = ATTEMPTS, SUCCESSES
        parts = [f for part in self.parts for f in (part.alpha + c, part.beta + n - c)]
        compiled = compile_numpy([*arguments, n, c], [*self.log_shares(), *parts])

        def draw(theta: FloatArray, n: FloatArray, c: FloatArray, rng: Any) -> FloatArray:
            with np.errstate(divide="ignore"):
                values = [np.broadcast_to(v, n.shape) for v in compiled(*theta, n, c)]
            count = len(self.parts) + (self.never is not None)
            share, betas = np.array(values[:count]), values[count:]
            share = np.exp(share - share.max(axis=0))
            chosen = (rng.random(n.shape) * share.sum(axis=0) > share.cumsum(axis=0)).sum(axis=0)
            out = np.zeros(n.shape)
            for i in range(len(self.parts)):
                mine = chosen == i
                out[mine] = rng.beta(betas[2 * i][mine], betas[2 * i + 1][mine])
            return out

        return draw


@dataclass(frozen=True)
class Latent:
    """Success rates as a function of a latent variable with a density, for laws without closed form.

    m(n, c) is an integral over the latent variable x, which runs over the real line. It is taken by the
    trapezoidal rule after x = centre + width sinh(t), exact to about 1e-9: spacing is fine where the
    counts decide and grows towards the tails. The centre is the mode of the integrand times p / (1+e^x),
    so that a long flat tail has its nodes where it ends, not in its middle.

    Attributes:
        variable: the latent variable x, on the scale of a logit.
        log_density: its log-density, in x and the parameters.
        log_rate, log_failure: log p and log(1-p), in x and the parameters.
        start: where the search for the centre starts, in the parameters, n and c.
        reach: how far from the centre, on either side, the integrand is below 1e-17 of its height.
        exact: log m as a function of parameters, n and c, where another way is exact for whole n.
    """

    variable: sp.Symbol
    log_density: sp.Expr
    log_rate: sp.Expr
    log_failure: sp.Expr
    start: sp.Expr
    reach: sp.Expr
    exact: Callable[..., FloatArray] | None = None

    NODES: ClassVar[int] = 80
    STEPS: ClassVar[int] = 12  # of Newton's method towards the centre, at most
    NEAR: ClassVar[float] = 0.1  # square of the last step in widths: the centre need not be exact

    @property
    def formulas(self) -> tuple[sp.Expr, ...]:
        """All formulas, for checking."""
        return self.log_density, self.log_rate, self.log_failure, self.start, self.reach

    def subs(self, substitution: Mapping[sp.Symbol, sp.Expr]) -> Latent:
        """The same in other parameters."""
        changed = (f.subs(substitution) for f in self.formulas)
        return Latent(self.variable, *changed)

    def integrand(self) -> sp.Expr:
        """Logarithm of density times p^c (1-p)^(n-c)."""
        n, c = ATTEMPTS, SUCCESSES
        return self.log_density + c * self.log_rate + (n - c) * self.log_failure

    def quadrature(
        self,
        arguments: Sequence[sp.Symbol],
        others: Sequence[sp.Expr] = (),
        xp: Any = np,
    ) -> Callable[..., tuple[Any, list[Any]]]:
        """The integrand at the nodes of its own quadrature.

        Args:
            arguments: the parameters' symbols.
            others: further expressions to evaluate at the nodes.
            xp: NumPy, or jax.numpy inside `jax.enable_x64(True)`.

        Returns:
            A function of arguments, n and c that gives the logarithm of weight times integrand, of shape
            (J, ...), and the other expressions.
        """
        given, x = [*arguments, ATTEMPTS, SUCCESSES], self.variable
        value = self.integrand()
        narrowed = value + self.log_rate + log_sigmoid(-x)
        compiler = compile_numpy if xp is np else compile_jax
        place = compiler(given, [self.start, self.reach])
        search = compiler([*given, x], [sp.diff(narrowed, x), sp.diff(narrowed, x, 2)])
        evaluate = compiler([*given, x], [value, *others])

        def run(*values: Any) -> tuple[Any, list[Any]]:
            shape = np.broadcast_shapes(*(np.shape(v) for v in values))
            start, reach = place(*values)
            centre, precision = xp.broadcast_to(start, shape), 1.0
            for _ in range(self.STEPS):
                slope, curvature = search(*values, centre)
                precision = xp.maximum(-curvature, 0.25)
                step = xp.clip(slope / precision, -1.5, 1.5)
                centre = centre + step
                if xp is np and (step * step * precision).max(initial=0.0) < self.NEAR:
                    break
            width = 1.0 / xp.sqrt(precision)
            last = xp.arcsinh(reach / width)
            if xp is not np:  # nodes stand still: the integral does not depend on where they are
                from jax.lax import stop_gradient

                centre, width, last = (stop_gradient(v) for v in (centre, width, last))
            t = xp.linspace(-1.0, 1.0, self.NODES).reshape(-1, *(1,) * len(shape)) * last
            weight = xp.log(width * xp.cosh(t) * 2.0 * last / (self.NODES - 1))
            log_integrand, *rest = evaluate(*values, centre + width * xp.sinh(t))
            return log_integrand + weight, rest

        return run

    def terms(self, arguments: Sequence[sp.Symbol], order: int) -> Callable[..., list[FloatArray]]:
        """Logarithm of m(n, c) with its derivatives, as a function of arguments, n and c.

        The function gives [value, first derivatives, upper triangle of the second], up to `order`.
        """
        u, value = list(arguments), self.integrand()
        first = [sp.diff(value, x) for x in u] if order else []
        pairs = [(i, j) for i in range(len(u)) for j in range(i, len(u))] if order > 1 else []
        second = [sp.diff(first[i], u[j]) for i, j in pairs]
        run = self.quadrature(u, [*first, *second])

        def terms(*values: FloatArray) -> list[FloatArray]:
            with np.errstate(divide="ignore", under="ignore"):
                log_weight, derivatives = run(*values)
                top = log_weight.max(axis=0)
                weight = np.exp(log_weight - top)
                total = weight.sum(axis=0)
                weight /= total
                slopes, curvatures = derivatives[: len(first)], derivatives[len(first) :]

                def mean(f: Any) -> FloatArray:
                    return np.asarray((weight * f).sum(axis=0))

                means = [mean(f) for f in slopes]
                out = [top + np.log(total), *means]
                for (i, j), f in zip(pairs, curvatures, strict=True):
                    out.append(mean(f + slopes[i] * slopes[j]) - means[i] * means[j])
                return out

        return terms

    def sampler(self, arguments: Sequence[sp.Symbol]) -> Callable[..., FloatArray]:
        """A function of parameters (p,), n and c (P,) and a generator: one posterior draw a problem.

        Draws follow the distribution function over the nodes, with log p interpolated in between.
        """
        run = self.quadrature(arguments, [self.log_rate])

        def draw(theta: FloatArray, n: FloatArray, c: FloatArray, rng: Any) -> FloatArray:
            pairs, place = np.unique(np.stack([n, c]), axis=1, return_inverse=True)
            with np.errstate(divide="ignore", under="ignore"):
                log_weight, (log_rate,) = run(*theta, *pairs)
            weight = np.exp(log_weight - log_weight.max(axis=0))
            upto = weight.cumsum(axis=0) - 0.5 * weight
            log_rate = np.broadcast_to(log_rate, weight.shape)
            out = np.empty(n.shape)
            for i in range(pairs.shape[1]):
                mine = place == i
                at = rng.random(int(mine.sum())) * weight[:, i].sum()
                out[mine] = np.exp(np.interp(at, upto[:, i], log_rate[:, i]))
            return out

        return draw
