"""Adaptive sampling: which problems' next attempts teach most about coverage.

The longer log is the answer: there is no state to keep between asking and telling. How much it buys depends on
the log, and is often next to nothing; `preposterior.gain` says what to expect, and `benchmarks.ask` what was
gained on measured attempts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from scaling._version import __version__
from scaling.core import registry
from scaling.core.caution import Caution
from scaling.data.distinct import unique_counts
from scaling.data.evidence import Counts, Scalar
from scaling.errors import InputError, UsageError
from scaling.fitting.identification import not_identified
from scaling.fitting.likelihood import fit_counts
from scaling.fitting.preposterior import Gain, gain

if TYPE_CHECKING:
    from scaling.data import Sweep

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = Literal["variance", "fewest-successes"]

KIND = "scaling-ask"
SCHEMA_VERSION = "1.0"
_LAW = "beta-binomial"
_MOST = 1_000_000_000
_LEAST_SAVED = 0.05  # of the width of the interval: what adaptive attempts must bring


@dataclass(frozen=True)
class Request:
    """Attempts to add at one problem.

    Attributes:
        by: its group.
        task, problem: its name.
        n, c: attempts and successes so far.
        attempts: how many to add, at least 1.
    """

    by: Mapping[str, Scalar]
    task: str
    problem: str
    n: int
    c: int
    attempts: int


@dataclass(frozen=True)
class Ask:
    """Where the next attempts should go.

    Attributes:
        rule: `variance`, or `fewest-successes` where the counts do not say where variance lies.
        k: the number of attempts at which coverage is to be known.
        attempts: in total, the sum over `requests`.
        n_problems: problems in the log.
        requests: most attempts first; problems that get none are left out.
        gains: what the forecast of each group is expected to gain; empty where that was not asked for.
        cautions: what a reader must know.
        data: `sha256` of the sorted sufficient statistics, `format`, `rows`; empty for bare counts.
        tool: name and version.
    """

    rule: Rule
    k: int
    attempts: int
    n_problems: int
    requests: tuple[Request, ...]
    gains: tuple[Gain, ...]
    cautions: tuple[Caution, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    tool: Mapping[str, str] = field(default_factory=dict)

    @property
    def stop_rule(self) -> str:
        """What the longer log must carry: its numbers of attempts depend on results."""
        return "unknown"

    def document(self) -> dict[str, Any]:
        """As it stands in JSON."""
        head = {"schema_version": SCHEMA_VERSION, "kind": KIND, "stop_rule": self.stop_rule}
        return head | asdict(self)

    def to_json(self, *, indent: int | None = 1) -> str:
        """The ask document as text."""
        return json.dumps(self.document(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a problem that gets attempts."""
        import pandas as pd

        rows = [
            {**r.by, **{k: v for k, v in asdict(r).items() if k != "by"}} for r in self.requests
        ]
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        head = f"{self.attempts:,} attempts by {self.rule} for coverage at {self.k:,} attempts"
        notes = "".join(f"<li><b>{c.code}</b>: {c.message}</li>" for c in self.cautions)
        return f"<p>{head}</p>{self.to_frame().to_html(index=False)}<ul>{notes}</ul>"


def ask(
    log: Sweep | Counts,
    attempts: int,
    *,
    k: int | None = None,
    simulated: int = 8,
    level: float = 0.95,
    seed: int = 0,
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    progress: Callable[[float], None] | None = None,
) -> Ask:
    """Name the problems whose next attempts teach most about coverage at `k`.

    They minimise the variance of the estimate of coverage at k from n_i + b_i attempts. By the
    delta method that is 1/P^2 times the sum of k^2 p_i (1-p_i)^(2k-1) / (n_i + b_i), least where n_i + b_i
    is in proportion to sqrt(p_i (1-p_i)^(2k-1)) (Kazdan et al. 2025, theorem 1). In place of the unknown
    rates stands the posterior mean of p_i (1-p_i)^(2k-1) under a beta-binomial fitted to the group, a
    ratio of moments. The allocation in whole attempts is exact.

    Where the counts do not identify the beta-binomial, each attempt goes to the problem with fewest successes,
    of those to the one with fewest attempts (Kazdan et al. 2025, dynamic sampling); within one ask no result is
    known, so the problems with fewest successes are raised to one level of attempts.

    What the attempts are expected to bring the forecast is simulated against as many spread evenly
    (`preposterior.gain`); where its interval is not narrower by a twentieth, and beyond noise, a caution says so.
    Problems of all groups are asked together; each group's coverage counts the same.

    Args:
        log: a sweep, or the counts of one group.
        attempts: how many to place, in all.
        k: attempts at which coverage is to be known; by default ten times the most at any problem.
        simulated: results behind the expected gain; 0 for none.
        level: of the interval whose width is to shrink.
        seed: of the simulation.
        by: columns whose values make the groups; by default those of task and model that take more than one.
        where: column to the value to keep.
        progress: called with the share of the work done.

    Raises:
        UsageError: for a number out of range.
        InputError: for a log without counts.
    """
    for name, value in (("attempts", attempts), ("k", k)):
        if value is not None and not 1 <= value <= _MOST:
            raise UsageError(
                f"{name} must be a whole number between 1 and {_MOST:,}, not {value:,}."
            )
    if simulated and not 2 <= simulated <= 10_000:
        raise UsageError(
            f"simulated results must be 0 (no expected gain) or between 2 and 10,000, not {simulated}"
        )
    if not 0 < level < 1:
        raise UsageError(f"a level lies between 0 and 1, not at {level:g}; 0.95 is usual")
    found = (log,) if isinstance(log, Counts) else log.groups(by, where=where)
    groups = [g for g in found if isinstance(g, Counts)]
    if not groups:
        raise InputError(
            "asking needs attempts, or counts (n, c) of problems, and the sweep holds points of a curve."
        )
    n, c = (np.concatenate([getattr(g, name) for g in groups]) for name in ("n", "c"))
    target = 10 * int(n.max()) if k is None else int(k)
    cautions = [_ADAPTIVE]
    rule: Rule = "variance"
    parts = [uncertainty(g.n, g.c, target) for g in groups]
    why = next((part for part in parts if isinstance(part, str)), None)
    if why:
        rule = "fewest-successes"
        text = f"no posterior says where variance lies, so fewest-successes was used: {why}"
        cautions.append(Caution("not-identified", text))
        added = fewest_successes(n, c, attempts)
    else:
        sizes = [p / len(p) ** 2 for p in parts if not isinstance(p, str)]
        added = least_variance(np.concatenate(sizes), n, attempts)
    gains = _gains(groups, added, attempts, target, level, simulated, seed, progress)
    cautions += _little(gains)
    names = [(g.by, str(t), str(p)) for g in groups for t, p in zip(g.task, g.problem, strict=True)]
    order = [int(i) for i in np.argsort(-added, kind="stable") if added[i]]
    return Ask(
        rule=rule,
        k=target,
        attempts=int(attempts),
        n_problems=len(n),
        requests=tuple(
            Request(*names[i], n=int(n[i]), c=int(c[i]), attempts=int(added[i])) for i in order
        ),
        gains=gains,
        cautions=tuple(cautions),
        data={} if isinstance(log, Counts) else log.provenance,
        tool={"name": "scaling", "version": __version__},
    )


_ADAPTIVE = Caution(
    "adaptive-sampling",
    "in the longer log the number of attempts at a problem depends on their results: give it "
    "stop_rule=unknown, fit a count law (its likelihood stays valid) and forecast with it; the "
    "unbiased curve of pass@k, and curve objectives, are biased there.",
)


def _gains(
    groups: Sequence[Counts],
    added: IntArray,
    attempts: int,
    k: int,
    level: float,
    simulated: int,
    seed: int,
    progress: Callable[[float], None] | None,
) -> tuple[Gain, ...]:
    if not simulated:
        return ()
    report = progress or (lambda _: None)
    ends = np.cumsum([len(g.n) for g in groups])
    even = evenly(np.concatenate([g.n for g in groups]), attempts)
    shares = zip(groups, np.split(added, ends[:-1]), np.split(even, ends[:-1]), strict=True)
    return tuple(
        gain(
            *share,
            k,
            level=level,
            simulated=simulated,
            seed=seed,
            progress=lambda done, i=i: report((i + done) / len(groups)),  # type: ignore[misc]
        )
        for i, share in enumerate(shares)
    )


def _little(gains: Sequence[Gain]) -> list[Caution]:
    """Says so, where attempts placed by variance are not expected to bring the forecast more than even ones."""
    out = []
    for g in gains:
        if g.saved is None or (g.told and g.saved >= _LEAST_SAVED):
            continue
        where = ", ".join(f"{k}={v}" for k, v in g.by.items())
        said = f"{abs(g.saved):.1%} {'narrower' if g.saved > 0 else 'wider'}"
        text = (
            f"{where}{': ' * bool(where)}the forecast's interval is expected to be {said} than after as many attempts "
            f"spread evenly{'' if g.told else ', no more than the noise of the simulation'}: next to nothing. "
            "Even attempts keep unbiased pass@k and fits of curves valid."
        )
        out.append(Caution("little-gained", text))
    return out


def evenly(n: IntArray, attempts: int) -> IntArray:
    """Attempts to add, shape (P,): as many at each problem, what is left over where there are fewest."""
    each, over = divmod(attempts, len(n))
    added = np.full(len(n), each, dtype=np.int64)
    added[np.argsort(n, kind="stable")[:over]] += 1
    return added


def uncertainty(n: IntArray, c: IntArray, k: int) -> FloatArray | str:
    """Posterior mean of p (1-p)^(2k-1) of each problem, shape (P,).

    Under the law fitted to these counts it is m(n+2k, c+1) / m(n, c), with m(n, c) = E p^c (1-p)^(n-c).

    Args:
        n: attempts, shape (P,).
        c: successes, shape (P,).
        k: number of attempts at which coverage is to be known.

    Returns:
        Why there is none, where the counts do not identify the law.
    """
    counts = unique_counts(n, c)
    law = registry.law(_LAW)
    found = fit_counts(law, counts)
    why = not_identified(law, counts, float(found.log_likelihood[0]))
    if why:
        return why
    theta = list(law.bound(found.coordinates[0]))
    tries, solved = counts.n.astype(float), counts.c.astype(float)
    more = law.log_moment(theta, tries + 2 * k, solved + 1)
    return np.exp(more - law.log_moment(theta, tries, solved))[counts.place(n, c)]


def least_variance(size: FloatArray, n: IntArray, attempts: int) -> IntArray:
    """Whole numbers b of sum `attempts` that minimise sum of size / (n + b), exactly, shape (P,).

    One more attempt at a problem gains size / ((n+b) (n+b+1)), less with every attempt, so that all gains
    above one price are taken. The price is found by bisection; what is left goes to the next gains.

    Args:
        size: non-negative, shape (P,).
        n: attempts so far, shape (P,), at least 1.
        attempts: to place.
    """
    if not size.max() > 0:
        return fewest_successes(n, np.zeros_like(n), attempts)
    relative = size / size.max()

    def taken(log_price: float) -> IntArray:
        # Steps m -> m+1 with size / (m (m+1)) >= price have m <= sqrt(1/4 + size/price) - 1/2.
        with np.errstate(over="ignore"):
            last = np.floor(np.sqrt(0.25 + relative / np.exp(log_price)) - 0.5)
        steps: IntArray = np.clip(last + 1 - n, 0, 2 * attempts).astype(np.int64)
        return steps

    low = -2 * np.log(float(n.max()) + attempts + 2.0)  # here the largest alone takes more than all
    high = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        if taken(middle).sum() > attempts:
            low = middle
        else:
            high = middle
    added = taken(high)
    while (left := attempts - int(added.sum())) > 0:
        gain = relative / ((n + added) * (n + added + 1.0))
        added[np.argsort(-gain, kind="stable")[:left]] += 1
    return added


def fewest_successes(n: IntArray, c: IntArray, attempts: int) -> IntArray:
    """Attempts to add, shape (P,): one by one to the fewest successes, then the fewest attempts.

    Args:
        n: attempts so far, shape (P,).
        c: successes, shape (P,).
        attempts: to place.
    """
    chosen = np.flatnonzero(c == c.min())
    chosen = chosen[np.argsort(n[chosen], kind="stable")]
    have = n[chosen]
    # How many of the problems with fewest attempts are raised: as long as the next is below the level.
    needed = np.arange(1, len(have) + 1) * have - np.cumsum(have)
    raised = int(np.searchsorted(needed, attempts, side="right"))
    total = int(have[:raised].sum()) + attempts
    level, over = divmod(total, raised)
    added = np.zeros(len(n), dtype=np.int64)
    added[chosen[:raised]] = level - have[:raised]
    added[chosen[:over]] += 1
    return added
