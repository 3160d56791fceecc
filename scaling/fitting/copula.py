"""Success rates of several models on the same problems: beta margins under a Gaussian copula.

Model j's rate on problem i is p_ij = F_j^-1(Φ(u_ij)), F_j a beta distribution, and u_i ~ N(0, R) over the
models. With R = 1 each model stands alone and the posterior of a rate is the beta-binomial's. The counts
enter through cells of u: what the beta posterior puts into a cell over what the beta prior does, exact for
any number of attempts. Expectation propagation (Minka 2001) makes each problem's posterior of u Gaussian
in turn; EM over problems gives R.

R is drawn to the family R0_jk = ρ exp(-δ |s_j - s_k|) with s the log of the mean rate: models of like ability
find like problems hard. ρ and δ are averaged over, given the moments of the last step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_EDGES = np.linspace(-6.0, 6.0, 121)  # cells of u
_CENTRES = (_EDGES[1:] + _EDGES[:-1]) / 2
_WITHIN = (_EDGES[1] - _EDGES[0]) ** 2 / 12  # variance of u in a cell
_NOTHING = 1e-40  # products of numbers below it would be subnormal, which is slow
_LOG_NOTHING = -92.0
_UNSEEN = 1e-12  # rates this near to 0 or 1 are 0 or 1 to any log

_SPREAD = (np.log(0.2), 1.0)  # of log alpha: centre and scale of a t with two degrees of freedom
_OWN_SPREAD = 0.5  # of a model's log alpha about that of all the models
_PSEUDO = 30.0  # problems that the family R0 is worth
_RHO = np.array([0.3, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 0.98])
_DELTA = np.array([0.0, 0.05, 0.1, 0.2, 0.35, 0.6])
_ROUNDS = 30
_DAMPING = 0.8
_MOST = 0.97  # of a model's variance that the others may explain


class Log(NamedTuple):
    """Attempts and successes of one model, each of shape (P,); n = 0 where it has none."""

    n: IntArray
    c: IntArray

    def take(self, rows: IntArray | slice) -> Log:
        """Some problems."""
        return Log(self.n[rows], self.c[rows])

    @property
    def log_mean(self) -> float:
        """Log of the share of successes, half a one added."""
        return float(np.log((self.c.sum() + 0.5) / (self.n.sum() + 1.0)))


class Distinct(NamedTuple):
    """Distinct (n, c) of shape (U,), how often each occurs, and which each problem has, shape (P,)."""

    n: FloatArray
    c: FloatArray
    times: FloatArray
    place: IntArray

    @classmethod
    def of(cls, log: Log) -> Distinct:
        """Of a log."""
        pairs, place, times = np.unique(
            np.stack([log.n, log.c]), axis=1, return_inverse=True, return_counts=True
        )
        n, c = pairs.astype(np.float64)
        return cls(n, c, times.astype(np.float64), place.reshape(-1))


class Coupling(NamedTuple):
    """What EM found: the correlations, and the Gaussian sites that stand for the counts.

    Attributes:
        R: shape (J, J).
        centre: the mean of the family that R is drawn to, shape (J, J).
        precision, shift: of the sites, shape (P, J): exp(-precision u^2 / 2 + shift u).
    """

    R: FloatArray
    centre: FloatArray
    precision: FloatArray
    shift: FloatArray

    @classmethod
    def blank(cls, R: FloatArray, P: int) -> Coupling:
        """Before the counts of P problems are seen."""
        return cls(R, R, np.full((P, len(R)), 1e-3), np.zeros((P, len(R))))


def log_evidence(n: ArrayLike, c: ArrayLike, alpha: ArrayLike, beta: ArrayLike) -> FloatArray:
    """Log E p^c (1-p)^(n-c) under Beta(alpha, beta)."""
    from scipy.special import betaln

    n, c, alpha, beta = (np.asarray(x, dtype=np.float64) for x in (n, c, alpha, beta))
    return np.asarray(betaln(alpha + c, beta + n - c) - betaln(alpha, beta))


def common_spread(logs: Sequence[Distinct], log_mean: Sequence[float]) -> float:
    """Mean of log alpha where models share it and each has a mean of its own, profiled out."""
    log_alpha = np.linspace(np.log(0.01), np.log(300.0), 50)
    near = np.linspace(-1.2, 1.2, 13)
    total = -1.5 * np.log1p(((log_alpha - _SPREAD[0]) / _SPREAD[1]) ** 2 / 2)
    for log, mean in zip(logs, log_mean, strict=True):
        alpha, beta = beta_of(log_alpha[:, None, None], (mean + near)[:, None])
        total += (log_evidence(log.n, log.c, alpha, beta) @ log.times).max(axis=1)
    weight = np.exp(total - total.max())
    return float(weight @ log_alpha / weight.sum())


def beta_of(log_alpha: FloatArray, log_mean: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Alpha and beta of a beta distribution by the logs of alpha and of its mean."""
    mean = np.minimum(np.exp(log_mean), 0.999)
    alpha = np.exp(log_alpha)
    return alpha, alpha * (1 - mean) / mean


def margin(log: Distinct, log_mean: float, spread: float) -> tuple[float, float]:
    """Alpha and beta of one model, log alpha drawn to `spread`."""
    log_alpha = spread + _OWN_SPREAD * np.linspace(-3.0, 3.0, 25)
    means = log_mean + np.linspace(-1.2, 1.2, 25)
    alpha, beta = beta_of(log_alpha[:, None, None], means[:, None])
    total = log_evidence(log.n, log.c, alpha, beta) @ log.times
    total += -0.5 * ((log_alpha - spread) / _OWN_SPREAD)[:, None] ** 2
    i, j = np.unravel_index(int(total.argmax()), total.shape)
    return float(alpha[i, 0, 0]), float(beta[i, j, 0])


def cell_rates(alpha: float, beta: float) -> FloatArray:
    """Rates at the edges of the cells, shape (K + 1,), from 0 to 1."""
    from scipy.special import betaincinv, ndtr

    edges = np.asarray(betaincinv(alpha, beta, ndtr(_EDGES)))
    edges[0], edges[-1] = 0.0, 1.0
    return edges


def rate_within(edges: FloatArray) -> FloatArray:
    """A rate that stands for each cell, shape (K,): the geometric mean of its edges."""
    high = edges[1:]
    return np.sqrt(np.maximum(edges[:-1], 1e-3 * high) * high)


def _prior_mass(centre: FloatArray, sd: FloatArray) -> FloatArray:
    """What normal distributions of shape (P,) put into the cells, shape (P, K)."""
    from scipy.special import ndtr

    mass = np.diff(ndtr((_EDGES - centre[:, None]) / sd[:, None]), axis=1)
    return np.where(mass > _NOTHING, mass, 0.0)


def likelihood(log: Distinct, alpha: float, beta: float, edges: FloatArray) -> FloatArray:
    """Mean of p^c (1-p)^(n-c) over the prior in each cell, over its mean in all; shape (U, K)."""
    from scipy.special import betainc, ndtr

    n, c = log.n[:, None], log.c[:, None]
    share = np.diff(betainc(alpha + c, beta + n - c, edges), axis=1)
    out = share / np.diff(ndtr(_EDGES))
    # Where the edges are equal in float64, the kernel itself.
    ends = (c == 0) | (c == n)
    whole = np.exp(np.where(ends, -log_evidence(n, c, alpha, beta), 0.0))
    out = np.where(edges[1:] < _UNSEEN, np.where(c == 0, whole, 0.0), out)
    out = np.where(edges[:-1] > 1 - _UNSEEN, np.where(c == n, whole, 0.0), out)
    return np.maximum(out, 1e-30)


def coupled(table: FloatArray, ability: FloatArray) -> Coupling:
    """Correlations and sites from likelihoods of cells.

    Args:
        table: shape (P, J, K), all ones where a model has no attempt.
        ability: log of each model's mean rate, shape (J,).
    """
    P, J, _ = table.shape
    family = _family(ability)
    inverse, log_det = np.linalg.inv(family), np.linalg.slogdet(family)[1]
    R = family[len(_DELTA)]
    found = Coupling.blank(R, P)
    for step in range(_ROUNDS):
        found = propagated(found, table, 6 if step == 0 else 2)
        S, mean = _moments(found.R, found.precision, found.shift)
        M = (S + mean[:, :, None] * mean[:, None]).mean(axis=0)
        scale = np.sqrt(np.diag(M))
        M /= scale * scale[:, None]
        log = -0.5 * P * (log_det + np.einsum("kij,ji->k", inverse, M))
        weight = np.exp(log - log.max())
        centre = np.einsum("k,kij->ij", weight / weight.sum(), family)
        R = (P * M + _PSEUDO * centre) / (P + _PSEUDO)
        settled = np.abs(R - found.R).max() < 3e-3
        found = found._replace(R=0.999 * R + 0.001 * np.eye(J), centre=centre)
        if settled:
            break
    return found


def propagated(found: Coupling, table: FloatArray, sweeps: int) -> Coupling:
    """Sites after some sweeps of expectation propagation, R held."""
    precision, shift = found.precision, found.shift
    for _ in range(sweeps):
        S, mean = _moments(found.R, precision, shift)
        variance = np.einsum("pii->pi", S)
        cavity = np.maximum(1 / variance - precision, 1e-3)
        lever = mean / variance - shift  # cavity mean times its precision
        centre = (lever / cavity)[..., None]
        log_cavity = -0.5 * (_CENTRES - centre) ** 2 * cavity[..., None]
        tilted = np.exp(np.maximum(log_cavity, _LOG_NOTHING)) * table
        total = np.maximum(tilted.sum(axis=-1), 1e-300)
        first = tilted @ _CENTRES / total
        second = np.maximum(tilted @ _CENTRES**2 / total - first**2, 0.0) + _WITHIN
        wider = 1 / second <= cavity  # the counts say nothing here
        new = np.where(wider, 1e-6, np.minimum(1 / second - cavity, 1e4))
        move = np.where(wider, 0.0, first * (new + cavity) - lever)
        precision = (1 - _DAMPING) * precision + _DAMPING * new
        shift = (1 - _DAMPING) * shift + _DAMPING * move
    return found._replace(precision=precision, shift=shift)


class Place(NamedTuple):
    """A model's u given the other models' counts: N(centre, 1 - explained + unsure).

    Attributes:
        centre: shape (P,).
        unsure: variance of `centre` that is left by the others' counts, shape (P,).
        explained: share of the variance that the others' rates would explain if they were known.
    """

    centre: FloatArray
    unsure: FloatArray
    explained: float

    def cells(self, strength: float, part: slice | IntArray) -> FloatArray:
        """Mass in the cells of some problems, the correlations times `strength`, shape (P, K)."""
        variance = 1 - strength**2 * (self.explained - self.unsure[part])
        sd = np.sqrt(np.maximum(variance, 1e-6))
        return _prior_mass(strength * self.centre[part], sd)


def seen_by_others(others: Coupling, row: FloatArray) -> Place:
    """What the counts of some models leave open about the u of one more.

    Args:
        others: their correlations and sites.
        row: its correlations with them, shape (J,).
    """
    S, mean = _moments(others.R, others.precision, others.shift)
    slope = np.linalg.solve(others.R, row)
    explained = float(slope @ row)
    if explained > _MOST:  # a row that R has no room for
        slope *= np.sqrt(_MOST / explained)
        explained = _MOST
    unsure = np.einsum("i,pij,j->p", slope, S, slope)
    return Place(mean @ slope, unsure, explained)


def _moments(
    R: FloatArray, precision: FloatArray, shift: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Covariance (P, J, J) and mean (P, J) of u under prior and sites."""
    S = np.linalg.inv(np.linalg.inv(R) + precision[:, :, None] * np.eye(len(R)))
    return np.asarray(S), np.asarray(np.einsum("pij,pj->pi", S, shift))


def _family(ability: FloatArray) -> FloatArray:
    """R0 for each rho and delta, shape (len(rho) len(delta), J, J)."""
    apart = np.abs(np.subtract.outer(ability, ability))
    rho, delta = (x.reshape(-1, 1, 1) for x in np.meshgrid(_RHO, _DELTA, indexing="ij"))
    out = rho * np.exp(-delta * apart)
    out[:, np.arange(len(ability)), np.arange(len(ability))] = 1.0
    return np.asarray(out)
