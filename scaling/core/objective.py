"""What a fit minimises. The objective is part of the result: named, and stored with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from scaling.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Observation:
    """What a law is confronted with.

    Attributes:
        name: `curve` (values of the output at settings of the inputs), `counts` (attempts and
            successes of each problem) or `runtimes` (seconds of requests or steps).
        meaning: one line.
    """

    name: Literal["curve", "counts", "runtimes"]
    meaning: str


CURVE = Observation("curve", "values of the output at settings of the inputs")
COUNTS = Observation("counts", "attempts n and successes c of each problem")
RUNTIMES = Observation("runtimes", "seconds of requests or steps, with their sizes")


@dataclass(frozen=True)
class Objective:
    """A named objective.

    Attributes:
        name: what users type.
        observation: what it needs.
        formula: what is minimised, for people.
        link: for a curve, the transform of the value whose squared differences are added up.
        censor: for counts, the number of successes from which on only "at least that many" counts; None for
            counts as they are.
        prior: for counts, what times the square of log alpha is added; 1/2 is a standard normal prior on
            log alpha.
    """

    name: str
    observation: Observation
    formula: str
    link: Literal["identity", "log", "log-log"] | None = None
    censor: int | None = None
    prior: float = 0.0

    def transform(self, value: Any) -> Any:
        """The link applied to a SymPy expression."""
        import sympy as sp

        if self.link == "log":
            return sp.expand_log(sp.log(value))
        if self.link == "log-log":
            return sp.expand_log(sp.log(sp.expand_log(-sp.log(value))))
        return value


OBJECTIVES = {
    o.name: o
    for o in (
        Objective("logcov", CURVE, "sum over k of (log c(k) - log law(k))^2", "log"),
        Objective("cov", CURVE, "sum over k of (c(k) - law(k))^2", "identity"),
        Objective(
            "loglog", CURVE, "sum over k of (log(-log c(k)) - log(-log law(k)))^2", "log-log"
        ),
        Objective("forecast", COUNTS, "error of each member in a backtest on the log itself"),
        Objective("likelihood", COUNTS, "minus the log-likelihood of the counts of each problem"),
        Objective(
            "penalised-likelihood",
            COUNTS,
            "minus the log-likelihood + (log alpha)^2 / 2: a standard normal prior on log alpha",
            prior=0.5,
        ),
        Objective(
            "censored-likelihood",
            COUNTS,
            "minus the log-likelihood of the counts, five or more successes entering as 'at least five'",
            censor=5,
        ),
        Objective(
            "penalised-censored-likelihood",
            COUNTS,
            "minus the log-likelihood with 'at least five' successes + 0.1 (log alpha)^2",
            censor=5,
            prior=0.1,
        ),
        Objective(
            "differences",
            RUNTIMES,
            "sum of (T(p,o) - prompt(p) - a - beta (o - 1))^2 with prompt(p) = T(p,1): the published rule. "
            "T is the median of its trials",
        ),
        Objective(
            "denoised",
            RUNTIMES,
            "the same on the least of the trials, prompt(p) from the line through each p, overhead apart",
        ),
        Objective(
            "additive",
            RUNTIMES,
            "sum of ((T(p,o) - prompt(p) - beta (o - 1)) / T)^2, prompt(p) fitted too, then made monotone",
        ),
        Objective("relative", RUNTIMES, "sum over rows of ((t - law) / t)^2, coefficients >= 0"),
    )
}


def objective(name: str, law: str, accepted: tuple[str, ...]) -> Objective:
    """The objective `name`, if the law accepts it.

    Raises:
        UsageError: listing what the law accepts.
    """
    if name not in accepted:
        msg = (
            f"law '{law}' does not accept the objective '{name}'; it accepts {', '.join(accepted)}."
            f"{did_you_mean(name, accepted)}"
        )
        raise UsageError(msg)
    return OBJECTIVES[name]
