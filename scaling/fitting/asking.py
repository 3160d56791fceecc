"""Adaptive sampling: which problems' next attempts teach most about coverage.

The longer log is the answer: there is no state to keep between asking and telling.

What it buys is little. On five public configurations (Brown et al. 2024) grown in ten rounds from 10 to
100 attempts a problem, Kazdan's estimator missed pass@1,000 and pass@10,000 by .034 and .062 with even
allocation, by .034 and .060 with `fewest-successes` and by .033 and .059 with `variance` at k = 10,000
(30 seeds); grown from 100 to 1,000 attempts by .011 and .036, .009 and .032, .009 and .030 (10 seeds).
Even allocation keeps the number of attempts fixed, and with it what forecasts from the unbiased curve
may use. The default is the rule without a parameter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from scaling._version import __version__
from scaling.core import registry
from scaling.core.caution import Caution
from scaling.data.distinct import unique_counts
from scaling.data.evidence import Counts, Scalar
from scaling.errors import InputError, UsageError, did_you_mean
from scaling.fitting.identification import not_identified
from scaling.fitting.likelihood import fit_counts

if TYPE_CHECKING:
    from scaling.data import Sweep

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Rule = Literal["variance", "fewest-successes"]

KIND = "scaling-ask"
SCHEMA_VERSION = "1.0"
RULES: tuple[Rule, ...] = ("variance", "fewest-successes")
_LAW = "beta-binomial"
_MOST = 1_000_000_000


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
        rule: `variance` or `fewest-successes`.
        k: the number of attempts at which coverage is to be known; None where the rule has none.
        attempts: in total, the sum over `requests`.
        n_problems: problems in the log.
        requests: most attempts first; problems that get none are left out.
        cautions: what a reader must know.
        data: `sha256` of the sorted sufficient statistics, `format`, `rows`; empty for bare counts.
        tool: name and version.
    """

    rule: Rule
    k: int | None
    attempts: int
    n_problems: int
    requests: tuple[Request, ...]
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
        at = "" if self.k is None else f" for coverage at {self.k:,} attempts"
        head = f"{self.attempts:,} attempts by {self.rule}{at}"
        notes = "".join(f"<li><b>{c.code}</b>: {c.message}</li>" for c in self.cautions)
        return f"<p>{head}</p>{self.to_frame().to_html(index=False)}<ul>{notes}</ul>"


def ask(
    log: Sweep | Counts,
    attempts: int,
    *,
    k: int | None = None,
    rule: Rule = "fewest-successes",
    by: Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> Ask:
    """Name the problems whose next attempts teach most about coverage at `k`.

    `variance` minimises the variance of the estimate of coverage at k from n_i + b_i attempts. By the
    delta method that is 1/P^2 times the sum of k^2 p_i (1-p_i)^(2k-1) / (n_i + b_i), least where n_i + b_i
    is in proportion to sqrt(p_i (1-p_i)^(2k-1)) (Kazdan et al. 2025, theorem 1). In place of the unknown
    rates stands the posterior mean of p_i (1-p_i)^(2k-1) under a beta-binomial fitted to the group, a
    ratio of moments. The allocation in whole attempts is exact.

    `fewest-successes` gives each attempt to the problem with fewest successes, of those to the one with
    fewest attempts (Kazdan et al. 2025, dynamic sampling); within one ask no result is known, so it raises
    the problems with fewest successes to one level of attempts.

    Problems of all groups are asked together; each group's coverage counts the same.

    Args:
        log: a sweep, or the counts of one group.
        attempts: how many to place, in all.
        k: attempts at which coverage is to be known; by default ten times the most at any problem.
        rule: one of the two.
        by: columns whose values make the groups; by default those of task and model that take more than one.
        where: column to the value to keep.

    Raises:
        UsageError: for a rule or number that does not exist.
        InputError: for a log without counts.
    """
    if rule not in RULES:
        msg = f"there is no rule '{rule}'; it is {' or '.join(RULES)}.{did_you_mean(str(rule), RULES)}"
        raise UsageError(msg)
    for name, value in (("attempts", attempts), ("k", k)):
        if value is not None and not 1 <= value <= _MOST:
            raise UsageError(
                f"{name} must be a whole number between 1 and {_MOST:,}, not {value:,}."
            )
    found = (log,) if isinstance(log, Counts) else log.groups(by, where=where)
    groups = [g for g in found if isinstance(g, Counts)]
    if not groups:
        raise InputError(
            "asking needs attempts, or counts (n, c) of problems, and the sweep holds points of a curve."
        )
    n, c = (np.concatenate([getattr(g, name) for g in groups]) for name in ("n", "c"))
    target = 10 * int(n.max()) if k is None else int(k)
    cautions, used = [_ADAPTIVE], rule
    if rule == "variance":
        parts = [uncertainty(g.n, g.c, target) for g in groups]
        why = next((part for part in parts if isinstance(part, str)), None)
        if why:
            used = "fewest-successes"
            text = f"no posterior says where variance lies, so fewest-successes was used: {why}"
            cautions.append(Caution("not-identified", text))
        else:
            sizes = [p / len(p) ** 2 for p in parts if not isinstance(p, str)]
            added = least_variance(np.concatenate(sizes), n, attempts)
    if used == "fewest-successes":
        added = fewest_successes(n, c, attempts)
    names = [(g.by, str(t), str(p)) for g in groups for t, p in zip(g.task, g.problem, strict=True)]
    order = [int(i) for i in np.argsort(-added, kind="stable") if added[i]]
    return Ask(
        rule=used,
        k=target if used == "variance" else None,
        attempts=int(attempts),
        n_problems=len(n),
        requests=tuple(
            Request(*names[i], n=int(n[i]), c=int(c[i]), attempts=int(added[i])) for i in order
        ),
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
