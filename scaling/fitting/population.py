"""The population of success rates behind a log of counts: a prior with a power-law tail, and its posterior.

A problem's success rate is p = U^(1/gamma) with U ~ Beta(a, b), McDonald's (1984) generalised beta of the
first kind, or zero with probability `never`. Near zero P(rate < p) ~ A p^alpha with alpha = gamma a and
A = 1 / (a B(a, b)), so -log coverage falls as the power alpha of the number of attempts (Schaeffer et al.
2025, theorem 3.1). With gamma = alpha^(1-s) the shape s runs from 0, Kumaraswamy's distribution, whose
coverage is close to an exponentiated power law, to 1, the beta.

The rates live on one grid of cells, so that the likelihood of any population is a product of two tables:
what the population puts into the cells, and how well each cell explains the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.special import log_rising, rising_derivative
from scaling.data.distinct import UniqueCounts

FloatArray = NDArray[np.float64]

# Cells of the logit of the rate. Coverage is right up to about 1e9 attempts.
_EDGES = np.arange(-240, 121) / 10.0
_CENTRES = (_EDGES[1:] + _EDGES[:-1]) / 2
_LOG_RATE = -np.logaddexp(0.0, -_CENTRES)
_LOG_MISS = -np.logaddexp(0.0, _CENTRES)
_LOG_EDGE = -np.logaddexp(0.0, -_EDGES)

# The prior. Published exponents of coverage curves run from .08 to .46 and prefactors from .75 to 7.6
# (Brown et al. 2024, figure 5); tail exponents of beta fits to the same logs go down to .015.
TAIL_EXPONENT = (np.log(0.15), 1.0)  # mean and standard deviation of log alpha
_PREFACTOR = (np.log(2.5), 0.75)  # of log A
# One population in twenty has problems that are never solved, in any share. With more, every log that is
# extended looks as if it were near its ceiling, which a small exponent says as well.
_NEVER = np.r_[0.0, np.arange(0.05, 1.0, 0.1)]
_LOG_NEVER_PRIOR = np.log(np.r_[0.95, np.full(10, 0.005)])

_PILOT = 4096  # populations drawn from the prior
_PARTICLES = 1200  # populations drawn from each proposal
_ROUNDS = 3
_FREEDOM = 6.0  # of the Student t that proposes
_LEAST = 60.0  # effective number of particles behind a proposal
_MAX_LOG_B = 25.0


class Populations(NamedTuple):
    """N populations: coordinates (N, 3), their cell masses (N, J) and log prior densities (N,)."""

    coordinates: FloatArray
    mass: FloatArray
    log_prior: FloatArray


@dataclass(frozen=True)
class Posterior:
    """Draws of the population given counts.

    Attributes:
        mass: share of the solvable problems in each cell of rates, shape (D, J).
        never: share of problems with rate zero, shape (D,).
        tail_exponent: alpha, shape (D,).
    """

    mass: FloatArray
    never: FloatArray
    tail_exponent: FloatArray

    def unsolved(self, k: ArrayLike) -> FloatArray:
        """E (1-p)^k of each draw, shape (D, K), for `k` of shape (K,)."""
        table = np.exp(np.outer(_LOG_MISS, np.asarray(k, dtype=np.float64)))
        return np.asarray(self.never[:, None] + (1 - self.never[:, None]) * (self.mass @ table))

    def left(self, n: ArrayLike, k: ArrayLike) -> FloatArray:
        """Chance that a problem unsolved in n attempts is still unsolved in k >= n, shape (D, K)."""
        return np.asarray(self.unsolved(k) / np.maximum(self.unsolved(n), 1e-300))

    def rates(self, size: int, rng: np.random.Generator) -> FloatArray:
        """Success rates of `size` problems of each draw's population, shape (D, size)."""
        rows = np.empty((len(self.mass), size))
        for row, mass in zip(rows, self.mass, strict=True):
            row[:] = np.exp(_LOG_RATE)[rng.choice(len(mass), size, p=mass / mass.sum())]
        return np.where(rng.random(rows.shape) < self.never[:, None], 0.0, rows)


def posterior(counts: UniqueCounts, rng: np.random.Generator, *, draws: int = 1000) -> Posterior:
    """Draws of the population given counts, by adaptive importance sampling.

    Starts from draws of the prior and moves a Student t onto the posterior in three rounds, tempered
    while few particles carry the weight (Oh and Berger 1992; Cappe et al. 2004).

    Args:
        counts: distinct (n, c). Success-stopped counts may be used as they are: their likelihood has the
            same kernel.
        rng: of the particles and the draws.
        draws: how many.
    """
    kernel, scale = explain(counts)
    found = _pilot()
    weight = log_likelihood(counts, found.mass, kernel, scale) + _LOG_NEVER_PRIOR
    log_weight = np.logaddexp.reduce(weight, axis=1)
    for _ in range(_ROUNDS):
        found, log_proposal = _propose(found.coordinates, log_weight, rng)
        weight = log_likelihood(counts, found.mass, kernel, scale) + _LOG_NEVER_PRIOR
        log_weight = np.logaddexp.reduce(weight, axis=1) + found.log_prior - log_proposal
    weight += (found.log_prior - log_proposal)[:, None]
    return _resample(found, weight, rng, draws)


def pilot_left(counts: UniqueCounts, n: ArrayLike, k: ArrayLike) -> FloatArray:
    """Posterior mean of `Posterior.left` from draws of the prior alone, shape (K,): rough, and fast."""
    kernel, scale = explain(counts)
    found = _pilot()
    weight = _normalised(log_likelihood(counts, found.mass, kernel, scale) + _LOG_NEVER_PRIOR)
    chosen = weight > 1e-6
    row, zero = np.nonzero(chosen)
    some = Posterior(found.mass[row], _NEVER[zero], np.exp(found.coordinates[row, 0]))
    return np.asarray(weight[chosen] @ some.left(n, k) / weight[chosen].sum())


def rates_given(counts: UniqueCounts, rng: np.random.Generator, draws: int) -> FloatArray:
    """Success rates of the problems given their counts, shape (draws, P), problems in the order of the counts.

    Under the posterior mean of the population from draws of the prior alone.
    """
    kernel, scale = explain(counts)
    found = _pilot()
    weight = _normalised(log_likelihood(counts, found.mass, kernel, scale) + _LOG_NEVER_PRIOR)
    mass, zero = (weight @ (1 - _NEVER)) @ found.mass, float(weight.sum(axis=0) @ _NEVER)
    rates = np.r_[np.exp(_LOG_RATE), 0.0]
    columns = []
    for j, many in enumerate(counts.multiplicity):
        never = zero * np.exp(-scale[j]) if counts.c[j] == 0 else 0.0
        share = np.r_[kernel[j] * mass, never]
        columns.append(rng.choice(rates, (draws, many), p=share / share.sum()))
    return np.concatenate(columns, axis=1)


def explain(counts: UniqueCounts) -> tuple[FloatArray, FloatArray]:
    """How well each cell of rates explains each distinct count.

    The mean over the cell of p^c (1-p)^(n-c), which at 10,000 attempts is narrower than a cell.

    Returns:
        The table (U, J), each row scaled to a largest value of one, and the logarithm of the scale (U,).
    """
    from scipy.special import betainc, betaln

    n, c = counts.n[:, None].astype(float), counts.c[:, None].astype(float)
    log = c * _LOG_RATE + (n - c) * _LOG_MISS
    inner = (counts.c > 0) & (counts.c < counts.n)
    if inner.any():
        a, b = c[inner], (n - c)[inner]
        share = np.diff(betainc(a, b, np.exp(_LOG_EDGE)), axis=1)
        kept = share > 1e-200
        exact = np.log(np.where(kept, share, 1.0)) + betaln(a, b) - np.log(np.diff(_EDGES))
        log[inner] = np.where(kept, exact, log[inner])
    scale = log.max(axis=1)
    return np.exp(log - scale[:, None]), scale


def log_likelihood(
    counts: UniqueCounts, mass: FloatArray, kernel: FloatArray, scale: FloatArray
) -> FloatArray:
    """Log-likelihood of N populations for each share of problems that are never solved, shape (N, Z).

    Without binomial coefficients: sum over problems of log INT p^c (1-p)^(n-c) dD(p).
    """
    multiplicity = counts.multiplicity.astype(float)
    log = np.log(np.maximum(mass @ kernel.T, 1e-300)) + scale
    solved = counts.c > 0
    total = np.outer(log[:, solved] @ multiplicity[solved], np.ones(len(_NEVER)))
    total += multiplicity[solved].sum() * np.log1p(-_NEVER)
    with np.errstate(divide="ignore"):
        never, may = np.log(_NEVER), np.log1p(-_NEVER)
    for j in np.flatnonzero(~solved):
        total += multiplicity[j] * np.logaddexp(never, may + log[:, j, None])
    return total


def populations(coordinates: FloatArray) -> Populations:
    """Populations at coordinates log alpha, logit s, log b; shape (N, 3)."""
    from scipy.special import betainc, gammaln

    log_alpha, logit_s, log_b = coordinates.T
    s = np.exp(-np.logaddexp(0.0, -logit_s))
    gamma = np.exp((1 - s) * log_alpha)
    a, b = np.exp(s * log_alpha), np.exp(np.minimum(log_b, _MAX_LOG_B))
    below = betainc(a[:, None], b[:, None], np.exp(gamma[:, None] * _LOG_EDGE))
    below[:, 0], below[:, -1] = 0.0, 1.0
    log_prefactor = log_rising(b, a) - gammaln(a + 1)
    log_prior = (
        _log_normal(log_alpha, *TAIL_EXPONENT)
        - np.logaddexp(0.0, -logit_s)
        - np.logaddexp(0.0, logit_s)
        + _log_normal(log_prefactor, *_PREFACTOR)
        + np.log(b * rising_derivative(1, b, a))
    )
    inside = log_b < _MAX_LOG_B
    return Populations(coordinates, np.diff(below, axis=1), np.where(inside, log_prior, -np.inf))


@lru_cache(maxsize=1)
def _pilot() -> Populations:
    """Draws of the prior, the same in every call."""
    from scipy.special import gammaln

    rng = np.random.default_rng(0)
    log_alpha = rng.normal(*TAIL_EXPONENT, _PILOT)
    s = rng.uniform(1e-6, 1 - 1e-6, _PILOT)
    wanted = rng.normal(*_PREFACTOR, _PILOT)
    a = np.exp(s * log_alpha)
    low, high = np.full(_PILOT, -60.0), np.full(_PILOT, _MAX_LOG_B)
    for _ in range(50):  # log A rises with log b
        middle = (low + high) / 2
        short = log_rising(np.exp(middle), a) - gammaln(a + 1) < wanted
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return populations(np.stack([log_alpha, np.log(s / (1 - s)), low], axis=1))


def _propose(
    coordinates: FloatArray, log_weight: FloatArray, rng: np.random.Generator
) -> tuple[Populations, FloatArray]:
    """Particles of a Student t with the mean and covariance of the weighted ones, and its log density."""
    from scipy.special import gammaln

    weight = _tempered(log_weight)
    mean = weight @ coordinates
    centred = coordinates - mean
    covariance = 1.2 * (centred.T * weight) @ centred + 1e-8 * np.eye(3)
    root = np.linalg.cholesky(covariance)
    normal = rng.standard_normal((_PARTICLES, 3))
    stretch = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, _PARTICLES))
    standard = normal * stretch[:, None]
    log_density = (
        float(gammaln((_FREEDOM + 3) / 2) - gammaln(_FREEDOM / 2) - 1.5 * np.log(_FREEDOM * np.pi))
        - float(np.log(np.diag(root)).sum())
        - (_FREEDOM + 3) / 2 * np.log1p((standard**2).sum(axis=1) / _FREEDOM)
    )
    return populations(mean + standard @ root.T), log_density


def _tempered(log_weight: FloatArray) -> FloatArray:
    """Normalised weights, flattened until enough particles carry them."""
    low, high = 0.0, 1.0
    weight = _normalised(log_weight)
    if 1 / (weight**2).sum() >= _LEAST:
        return weight
    for _ in range(30):
        power = (low + high) / 2
        weight = _normalised(power * log_weight)
        low, high = (power, high) if 1 / (weight**2).sum() >= _LEAST else (low, power)
    return _normalised(low * log_weight)


def _normalised(log_weight: FloatArray) -> FloatArray:
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())


def _resample(
    found: Populations, log_weight: FloatArray, rng: np.random.Generator, draws: int
) -> Posterior:
    """Systematic draws from weighted particles, `log_weight` of shape (N, Z)."""
    cumulative = np.cumsum(_normalised(log_weight.ravel()))
    position = (np.arange(draws) + rng.random()) / draws * cumulative[-1]
    chosen = np.minimum(np.searchsorted(cumulative, position), len(cumulative) - 1)
    row, zero = np.divmod(rng.permutation(chosen), len(_NEVER))
    return Posterior(found.mass[row], _NEVER[zero], np.exp(found.coordinates[row, 0]))


def _log_normal(x: FloatArray, mean: float, sd: float) -> FloatArray:
    return np.asarray(-0.5 * ((x - mean) / sd) ** 2 - np.log(sd))
