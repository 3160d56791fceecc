"""Difficulty transfer: a posterior of each problem's success rate from its own attempts and other models'.

The copula of `scaling.fitting.copula` says what the other models' counts leave open about the place of each
problem among its like. The target's own counts then weigh accounts of how far difficulty is shared, and
beta margins; the posterior is the average over both. One account is that nothing is shared: the empirical
Bayes of `beta-binomial` with its parameters integrated out. So siblings that do not foretell the target's
counts drop out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.fitting.copula import (
    Coupling,
    Distinct,
    Log,
    Place,
    beta_of,
    cell_rates,
    common_spread,
    coupled,
    likelihood,
    log_evidence,
    margin,
    propagated,
    rate_within,
    seen_by_others,
)

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

RATES = np.concatenate(([0.0], np.geomspace(1e-6, 1.0, 100)))
"""Atoms that posteriors are written on."""

# How the target's correlations with its siblings may be, and the prior probability of it: those of the
# family that the siblings keep to among themselves, or those fitted to the target's own counts too (which
# is optimistic), times a strength. Where it is inverted, the names do not match: that counts as none.
_ACCOUNTS = (
    ("family", 0.0, 0.1),
    ("family", 0.25, 0.05),
    ("family", 0.5, 0.1),
    ("family", 0.75, 0.15),
    ("family", 1.0, 0.2),
    ("fitted", 1.0, 0.2),
    ("family", -0.5, 0.1),
    ("family", -1.0, 0.1),
)
_STRENGTH = np.array([strength for _, strength, _ in _ACCOUNTS])
_LOG_PRIOR = np.log([prior for *_, prior in _ACCOUNTS])

_LEARNT = 512  # problems that the hyperparameters are learnt from, at most
_BLOCK = 2048  # problems at a time
_SWEEPS = 10
_SPREAD = 0.5  # prior scale of log alpha about that of all the models
_MEAN = 2.0  # of the log mean rate about the siblings'
# In these units, with long tails: problems may be nearly alike, whatever the siblings say.
_ALPHAS = np.array([-2.0, -1.33, -0.67, 0.0, 0.67, 1.33, 2.0, 3.5, 6.0, 9.0])
_LOG_ALPHA_PRIOR = np.log(np.gradient(_ALPHAS)) - 1.5 * np.log1p(_ALPHAS**2 / 2)  # t, 2 degrees
_MEANS = np.linspace(-2.4, 2.4, 9)  # standard errors
_KEPT = 0.01  # of the weight of the likeliest, below which a margin is left out


@dataclass(frozen=True)
class Sibling:
    """What another model's log was worth.

    Attributes:
        model: its name.
        log: its counts, in the order of the target's problems.
        correlation: of its places with the target's, as fitted; None where that was not positive and the
            log was left out.
    """

    model: str
    log: Log
    correlation: float | None


@dataclass(frozen=True)
class Transfer:
    """Posteriors of the success rates of P problems.

    Attributes:
        rates: atoms, increasing from 0 to 1, shape (G,).
        mass: posterior probability of each atom, shape (P, G).
        shared: posterior probability that the siblings find hard what the target finds hard.
        explained: share of the variance of places that the siblings' rates would explain if known.
        siblings: whose logs were there.
    """

    rates: FloatArray
    mass: FloatArray
    shared: float
    explained: float
    siblings: tuple[Sibling, ...] = ()

    def coverage(self, samples: ArrayLike) -> FloatArray:
        """E 1 - (1-p)^k of each problem, shape (P, K)."""
        k = np.asarray(samples, dtype=np.float64)
        with np.errstate(divide="ignore"):
            miss = np.log1p(-self.rates)
        return np.minimum(self.mass @ -np.expm1(miss[:, None] * k), 1.0)


def transfer(own: Log, siblings: Sequence[Log], names: Sequence[str] = ()) -> Transfer:
    """Posteriors of the target's success rates.

    Args:
        own: the target's counts.
        siblings: other models' counts of the same problems in the same order; n = 0 where there are none.
        names: the siblings' models.
    """
    names = names or [str(j) for j in range(len(siblings))]
    logs = [own, *siblings]
    rows = _learnt_from(logs)
    some = [Distinct.of(log.take(rows)) for log in logs]
    means = [log.log_mean for log in logs]
    spread = common_spread(some, means)
    margins = [margin(log, mean, spread) for log, mean in zip(some, means, strict=True)]
    found, used = _coupled(some, means, margins)
    if found is None:
        nowhere = Place(np.zeros(len(own.n)), np.zeros(len(own.n)), 0.0)
        places = {"family": nowhere, "fitted": nowhere}
    else:
        places = _places(found, [siblings[j] for j in used], [margins[j + 1] for j in used])
    grid = _Margins(Distinct.of(own), spread, means, margins[0])
    weight = grid.weigh(places, rows)
    mass = grid.average(places, weight)
    account = weight.sum(axis=0)
    explained = [places[kind].explained for kind, *_ in _ACCOUNTS]
    correlation = {} if found is None else dict(zip(used, found.R[0, 1:].tolist(), strict=True))
    return Transfer(
        RATES,
        mass,
        0.0 if found is None else float(account[_STRENGTH > 0].sum()),
        float(account @ (_STRENGTH**2 * explained)),
        tuple(
            Sibling(name, log, correlation.get(j))
            for j, (name, log) in enumerate(zip(names, siblings, strict=True))
        ),
    )


def _learnt_from(logs: Sequence[Log]) -> IntArray:
    """Problems that hyperparameters are learnt from: of those with siblings, where there are any."""
    rows = np.flatnonzero(np.any([log.n > 0 for log in logs[1:]], axis=0))
    if not len(rows):
        rows = np.arange(len(logs[0].n))
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _LEARNT)).astype(np.int64)]


def _coupled(
    some: Sequence[Distinct], means: Sequence[float], margins: Sequence[tuple[float, float]]
) -> tuple[Coupling | None, list[int]]:
    """The coupling of the target with those siblings whose correlations with it are positive."""
    used = list(range(len(some) - 1))
    while used:
        rows = [0, *(j + 1 for j in used)]
        table = np.stack([_explained(some[j], margins[j]) for j in rows], axis=1)
        found = coupled(table, np.array([means[j] for j in rows]))
        right = [j for j, r in zip(used, found.R[0, 1:], strict=True) if r > 0]
        if len(right) == len(used):
            return found, used
        used = right
    return None, []


def _places(
    found: Coupling, siblings: Sequence[Log], margins: Sequence[tuple[float, float]]
) -> dict[str, Place]:
    """What the siblings say of each problem, by the kinds of `_ACCOUNTS`."""
    parts: dict[str, list[Place]] = {"family": [], "fitted": []}
    R = found.R[1:, 1:]
    for at in range(0, len(siblings[0].n), _BLOCK):
        logs = [Distinct.of(log.take(slice(at, at + _BLOCK))) for log in siblings]
        table = np.stack([_explained(x, m) for x, m in zip(logs, margins, strict=True)], axis=1)
        sites = propagated(Coupling.blank(R, len(table)), table, _SWEEPS)
        parts["family"].append(seen_by_others(sites, found.centre[0, 1:]))
        parts["fitted"].append(seen_by_others(sites, found.R[0, 1:]))
    return {
        kind: Place(
            np.concatenate([p.centre for p in some]),
            np.concatenate([p.unsure for p in some]),
            some[0].explained,
        )
        for kind, some in parts.items()
    }


def _explained(log: Distinct, beta: tuple[float, float]) -> FloatArray:
    """Likelihoods of the cells for each problem, the largest of each at one, shape (P, K)."""
    table = likelihood(log, *beta, cell_rates(*beta))
    table /= table.max(axis=1, keepdims=True)
    return np.asarray(table[log.place])


class _Margins:
    """The target's beta margins on a grid of log alpha and log mean, and how each explains its counts."""

    def __init__(
        self, own: Distinct, spread: float, means: Sequence[float], best: tuple[float, float]
    ) -> None:
        self.own = own
        error = np.sqrt(1 / (own.times @ own.c + 1) + 1 / (best[0] * own.times.sum()))
        about = float(np.mean(means[1:] or means))
        log_alpha = spread + _SPREAD * _ALPHAS[:, None]
        log_mean = means[0] + min(float(error), 1.5) * _MEANS
        log_prior = _LOG_ALPHA_PRIOR[:, None] - 0.5 * ((log_mean - about) / _MEAN) ** 2
        self.log_prior = log_prior.ravel()
        shape = log_prior.shape
        alpha, beta = (np.broadcast_to(x, shape).ravel() for x in beta_of(log_alpha, log_mean))
        pairs = list(zip(alpha.tolist(), beta.tolist(), strict=True))
        edges = [cell_rates(*pair) for pair in pairs]
        self.table = [likelihood(own, *p, e) for p, e in zip(pairs, edges, strict=True)]
        self.atoms = [rate_within(e) for e in edges]
        self.log_evidence = log_evidence(own.n, own.c, alpha[:, None], beta[:, None])

    def weigh(self, places: dict[str, Place], rows: IntArray) -> FloatArray:
        """Posterior probability of each margin with each account, shape (H, A)."""
        mine = self.own.place[rows]
        order = np.argsort(mine, kind="stable")
        alike = np.split(order, np.flatnonzero(np.diff(mine[order])) + 1)
        priors = [places[kind].cells(x, rows) for kind, x, _ in _ACCOUNTS]
        log = np.empty((len(self.table), len(priors)))
        for h, table in enumerate(self.table):
            for a, cells in enumerate(priors):
                found = [cells[group] @ table[mine[group[0]]] for group in alike]
                log[h, a] = np.log(np.maximum(np.concatenate(found), 1e-300)).sum()
        log += self.log_evidence[:, mine].sum(axis=1)[:, None]
        log += self.log_prior[:, None] + _LOG_PRIOR
        weight = np.exp(log - log.max())
        weight[:, 0] += weight[:, _STRENGTH < 0].sum(axis=1)
        weight[:, _STRENGTH < 0] = 0.0
        return np.asarray(weight / weight.sum())

    def average(self, places: dict[str, Place], weight: FloatArray) -> FloatArray:
        """Posteriors of the rates averaged over margins and accounts, shape (P, G)."""
        P = len(self.own.place)
        out = np.zeros((P, len(RATES)))
        kept = weight > _KEPT * weight.max()
        for at in range(0, P, _BLOCK):
            part = slice(at, at + _BLOCK)
            mine = self.own.place[part]
            priors = [places[kind].cells(x, part) for kind, x, _ in _ACCOUNTS]
            for h in np.flatnonzero(kept.any(axis=1)).tolist():
                known, total = self.table[h][mine], np.zeros((len(mine), len(self.atoms[h])))
                for a in np.flatnonzero(kept[h]).tolist():
                    cells = priors[a] * known
                    total += cells * (weight[h, a] / cells.sum(axis=1))[:, None]
                out[part] += total @ _onto_atoms(self.atoms[h])
        return np.asarray(
            np.round(out / out.sum(axis=1, keepdims=True), 9)
        )  # what a fit document keeps


def _onto_atoms(rates: FloatArray) -> FloatArray:
    """Splits each rate between the atoms beside it so that its mean stays, shape (K, G)."""
    low = np.clip(np.searchsorted(RATES, rates, side="right") - 1, 0, len(RATES) - 2)
    share = (rates - RATES[low]) / (RATES[low + 1] - RATES[low])
    out = np.zeros((len(rates), len(RATES)))
    rows = np.arange(len(rates))
    out[rows, low], out[rows, low + 1] = 1 - share, share
    return out
