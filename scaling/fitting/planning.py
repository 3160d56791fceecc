"""Planning a log: what more problems and what more attempts buy for the error of coverage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scaling.core.caution import Caution
from scaling.data.distinct import unique_counts
from scaling.data.evidence import Counts, Scalar
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting.passk import pass_at_k
from scaling.fitting.result import FitResult, GroupFit

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_CANDIDATES = 200  # numbers of attempts among which the cheapest design is sought
_FARTHEST = 100.0  # times k: the most attempts of a design that is sought
_MOST_K = 100_000
_NONE = 1e-12  # a variance below this is rounding


class Design(NamedTuple):
    """A log that could be made.

    Attributes:
        problems: how many.
        attempts: at each of them.
        se: standard error of coverage for new problems, sqrt((B + W(n)) / P).
        se_benchmark: for these problems, sqrt(W(n) / P).
        floor: what `se` falls to with ever more attempts, sqrt(B / P).
        cost: P (cost of a problem + n cost of an attempt).
    """

    problems: int
    attempts: int
    se: float
    se_benchmark: float
    floor: float
    cost: float


@dataclass(frozen=True)
class SamplingPlan:
    """Designs with their errors.

    Attributes:
        by: the group's columns.
        k: number of attempts whose coverage is wanted.
        coverage: expected at k.
        between: B, the variance over problems of 1 - (1-p)^k.
        source: where the variances come from: a law's name, `counts` (unbiased) or `npmle`.
        designs: as asked for.
        target_se: the standard error that was asked for, or None.
        cheapest: the design of least cost with `se` at most `target_se`, or None.
        cautions: what a reader must know.
    """

    by: Mapping[str, Scalar]
    k: int
    coverage: float
    between: float
    source: str
    designs: tuple[Design, ...]
    target_se: float | None
    cheapest: Design | None
    cautions: tuple[Caution, ...]

    def document(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "by": dict(self.by),
            "k": self.k,
            "coverage": self.coverage,
            "between": self.between,
            "source": self.source,
            "designs": [d._asdict() for d in self.designs],
            "target_se": self.target_se,
            "cheapest": self.cheapest._asdict() if self.cheapest else None,
            "cautions": [c.document() for c in self.cautions],
        }

    def to_json(self, *, indent: int | None = 1) -> str:
        """The plan as text."""
        return dumps([self], indent=indent)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a design."""
        import pandas as pd

        return pd.DataFrame([{**self.by, "k": self.k, **d._asdict()} for d in self.designs])

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(index=False, float_format=lambda x: f"{x:.4g}")
        return html


def dumps(plans: list[SamplingPlan], *, indent: int | None = 1) -> str:
    """A plan document of one or several groups, as text."""
    document = {
        "schema_version": "1.0",
        "kind": "scaling-plan",
        "groups": [p.document() for p in plans],
    }
    return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)


def plan(
    problems: ArrayLike,
    attempts: ArrayLike,
    k: int,
    *,
    from_: FitResult | GroupFit | Counts,
    target_se: float | None = None,
    cost_per_problem: float = 0.0,
    cost_per_attempt: float = 1.0,
) -> SamplingPlan:
    """The error of coverage(k) for logs of P problems with n attempts each.

    Var(mean) = (B + W(n)) / P. With q = 1 - p, B = Var q^k between problems and W(n) the mean over problems of
    Var(pass@k | p), that of a U-statistic (Hoeffding 1948):
        W(n) = sum_j Pr(J = j) E q^(2k-j) - E q^(2k),
    where J, hypergeometric, is the overlap of two draws of k of the n attempts. At k = 1 this is E p(1-p) / n. So more
    attempts lower the error of a population no further than to sqrt(B / P), and n >= k is needed at all.

    All moments E q^i are taken from the law that was fitted; from counts, they are estimated without bias while the
    fewest attempts at any problem are at least 2k, and by nonparametric maximum likelihood beyond.

    Args:
        problems: numbers of problems, whole and >= 1.
        attempts: numbers of attempts at each, whole and >= k; every pair is a design.
        k: whole and >= 1.
        from_: a fit of a count law with one group, one group of it, or counts.
        target_se: a standard error; the cheapest design that has it is sought among about 200 log-spaced
            numbers of attempts from k to 100 k.
        cost_per_problem: in any unit.
        cost_per_attempt: in the same unit.

    Raises:
        InputError: for designs, k, costs or a target out of range.
        UsageError: for a fit of several groups, or of a law of curves.
        NotUsableError: where the group is not usable, or no problem differs from the others.
    """
    if not (isinstance(k, int | np.integer) and 1 <= k <= _MOST_K):
        raise InputError(f"k is a whole number from 1 to {_MOST_K:,}, not {k}")
    P, n = _whole(problems, "problems", 1), _whole(attempts, "attempts", int(k))
    for name, cost in (("problem", cost_per_problem), ("attempt", cost_per_attempt)):
        if not (np.isfinite(cost) and cost >= 0):
            raise InputError(f"the cost per {name} is a finite number >= 0, not {cost}")
    if target_se is not None and not 0 < target_se < 1:
        raise InputError(f"a standard error of coverage lies between 0 and 1, not at {target_se:g}")
    spread = _spread(from_, int(k))

    def design(problems: int, attempts: int) -> Design:
        within = float(spread.within(np.array([attempts]))[0])
        return Design(
            problems,
            attempts,
            float(np.sqrt((spread.between + within) / problems)),
            float(np.sqrt(within / problems)),
            float(np.sqrt(spread.between / problems)),
            problems * (cost_per_problem + attempts * cost_per_attempt),
        )

    cheapest = None
    if target_se is not None:
        tried = np.unique(
            np.concatenate([n, np.geomspace(k, _FARTHEST * k, _CANDIDATES).astype(np.int64)])
        )
        needed = np.ceil((spread.between + spread.within(tried)) / target_se**2)
        best = int(np.argmin(needed * (cost_per_problem + tried * cost_per_attempt)))
        cheapest = design(max(int(needed[best]), 1), int(tried[best]))
    return SamplingPlan(
        by=dict(spread.by),
        k=int(k),
        coverage=spread.coverage,
        between=spread.between,
        source=spread.source,
        designs=tuple(design(int(p), int(a)) for p in P for a in n),
        target_se=target_se,
        cheapest=cheapest,
        cautions=spread.cautions,
    )


class _Spread(NamedTuple):
    by: Mapping[str, Scalar]
    coverage: float
    between: float
    within: Callable[[IntArray], FloatArray]
    source: str
    cautions: tuple[Caution, ...]


def _spread(of: FitResult | GroupFit | Counts, k: int) -> _Spread:
    if isinstance(of, FitResult):
        if len(of.groups) != 1:
            labels = "; ".join(g.label() for g in of.groups[:3])
            raise UsageError(
                f"the fit has {len(of.groups)} groups ({labels}, ...); plan for one of fit.groups at a time"
            )
        of = of.groups[0]
    if isinstance(of, GroupFit):
        return _from_law(of, k)
    if isinstance(of, Counts):
        return _from_counts(of, k)
    raise UsageError(f"a plan is made from a fit or counts, not from a {type(of).__name__}")


def _from_law(group: GroupFit, k: int) -> _Spread:
    from scaling.core import registry

    law = registry.law(group.law)
    if law.rates is None:
        raise UsageError(
            f"law '{law.name}' does not say how problems differ; plan from a count law (beta-binomial), or from counts"
        )
    theta = group.theta
    moments = np.exp(law.log_moment(theta, np.arange(k, 2 * k + 1, dtype=np.float64), 0.0))
    cautions: tuple[Caution, ...] = ()
    if k > group.reach:
        text = (
            f"coverage at k = {k:,} is beyond the {group.reach:,} attempts of the log: it and its variances are "
            "the law's."
        )
        cautions = (Caution("extrapolated", text),)
    return _made(group.by, moments, float(moments[0] ** 2), group.law, cautions)


def _from_counts(counts: Counts, k: int) -> _Spread:
    powers = np.arange(k, 2 * k + 1)
    distinct = unique_counts(counts.n, counts.c)
    if 2 * k <= counts.n.min() and len(counts.n) > 1:
        failed = 1 - pass_at_k(distinct.n[:, None], distinct.c[:, None], powers)
        m, P = distinct.multiplicity, len(counts.n)
        # Of the square of a mean, the mean over pairs of different problems is unbiased.
        square = ((m @ failed[:, 0]) ** 2 - m @ failed[:, 0] ** 2) / (P * (P - 1))
        return _made(counts.by, m @ failed / P, float(square), "counts", ())
    from scaling.fitting.npmle import npmle

    moments = 1 - npmle(distinct).coverage(powers)
    why = (
        f"variances at k = {k:,} need up to 2k = {2 * k:,} attempts at each problem, and the log has "
        f"{counts.n.min():,}: beyond these the nonparametric estimate answers, which the data hardly limit there."
    )
    return _made(
        counts.by,
        moments,
        float(moments[0] ** 2),
        "npmle",
        (Caution("extrapolated", why),),
    )


def _made(
    by: Mapping[str, Scalar],
    moments: FloatArray,
    square: float,
    source: str,
    cautions: tuple[Caution, ...],
) -> _Spread:
    """Variances from E q^i, i = k..2k, and the square of E q^k."""
    k = len(moments) - 1
    between = max(float(moments[-1]) - square, 0.0)
    overlap = np.arange(k + 1)

    def within(n: IntArray) -> FloatArray:
        pairs = np.array([_overlap(int(a), k) @ moments[k - overlap] for a in n])
        return np.asarray(np.maximum(pairs - moments[-1], 0.0))

    if between + float(within(np.array([k]))[0]) < _NONE:
        raise NotUsableError(
            "every problem has the same coverage in these counts, so how much logs vary is not known; log a few more "
            "problems or attempts first"
        )
    return _Spread(by, 1 - float(moments[0]), between, within, source, cautions)


def _overlap(n: int, k: int) -> FloatArray:
    """Pr(J = j), j = 0..k: the overlap of two draws of k out of n."""
    from scipy.special import gammaln

    j = np.arange(k + 1.0)
    alone = n - 2 * k + j  # of the n, in neither draw
    log = (
        2 * (gammaln(k + 1.0) - gammaln(k - j + 1))
        - gammaln(j + 1)
        + 2 * gammaln(n - k + 1.0)
        - gammaln(np.maximum(alone, 0) + 1)
        - gammaln(n + 1.0)
    )
    share = np.where(alone >= 0, np.exp(log), 0.0)
    return np.asarray(share / share.sum())


def _whole(values: ArrayLike, what: str, least: int) -> IntArray:
    given = np.atleast_1d(np.asarray(values, dtype=np.float64))
    wrong = ~((given >= least) & (given == np.floor(given)) & (given <= 2**53))
    if wrong.any() or not given.size:
        shown = f"{given[wrong][0]:g}" if given.size else "nothing"
        why = "; pass@k needs n >= k" if what == "attempts" else ""
        raise InputError(f"{what} are whole numbers from {least} on, not {shown}{why}")
    return given.astype(np.int64)
