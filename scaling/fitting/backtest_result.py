"""What a backtest found: scores, floors, ranks and the document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from scaling.data.evidence import Scalar

KIND = "scaling-backtest"
SCHEMA_VERSION = "1.0"


@dataclass(frozen=True)
class Score:
    """How one forecaster did at one target, over the runs of one group.

    Attributes:
        law: the forecaster's name.
        samples: the target K.
        n_runs: runs it gave an estimate for.
        failed: runs in which it gave none.
        bias, mae, rmse: of estimate - truth.
        log_bias, log_mae: of log(1 - estimate) - log(1 - truth), the share left unsolved; a share below
            half a problem counts as half a problem.
        n_intervals: runs with an interval; what follows is None where there are none.
        interval_coverage: share of the intervals that hold the truth.
        mean_width: of the intervals.
        interval_score: mean of width + 2/(1-level) times the distance by which the truth lies outside
            (Winkler 1972); lower is better.
    """

    law: str
    samples: int
    n_runs: int
    failed: int
    bias: float | None
    mae: float | None
    rmse: float | None
    log_bias: float | None
    log_mae: float | None
    n_intervals: int
    interval_coverage: float | None
    mean_width: float | None
    interval_score: float | None


@dataclass(frozen=True)
class Attainable:
    """What is known of one target before anybody forecasts it.

    Attributes:
        samples: the target K.
        truth: unbiased pass@K of all attempts.
        truth_sd: standard deviation of such a truth given the success rates: it is one draw.
        mae_known_rates: mean absolute error, against the share solved within K attempts, of somebody who
            knows every success rate.
        mae_known_population: of somebody who knows how the rates are spread, but not which problem has which.
    """

    samples: int
    truth: float
    truth_sd: float
    mae_known_rates: float | None
    mae_known_population: float | None


@dataclass(frozen=True)
class GroupBacktest:
    """One group.

    Attributes:
        by: the group's columns.
        n_problems: problems that took part.
        problems_dropped: problems left out for having no more than `cut` attempts.
        n_runs: thinnings scored.
        runs_dropped: thinnings in which fewer than two problems were solved.
        reason: why the group has no scores, or None.
        targets: truth and floor, one for each target.
        scores: forecaster by forecaster, target by target.
    """

    by: Mapping[str, Scalar]
    n_problems: int
    problems_dropped: int
    n_runs: int
    runs_dropped: int
    reason: str | None
    targets: tuple[Attainable, ...]
    scores: tuple[Score, ...]

    def label(self) -> str:
        """`level=hard, model=small`, or `all data`."""
        return ", ".join(f"{k}={v}" for k, v in self.by.items()) or "all data"


@dataclass(frozen=True)
class Rank:
    """The place of a forecaster at one target.

    Attributes:
        samples: the target.
        law: the forecaster.
        mae: mean over groups of the mean absolute error, None where some group has none.
        behind: paired mean difference to the first in absolute error, over runs and then groups.
        interval: of that difference, with runs, groups (if several) and truths drawn again.
        within_noise: whether the interval holds zero; the first is within its own noise.
    """

    samples: int
    law: str
    mae: float | None
    behind: float | None
    interval: tuple[float, float] | None
    within_noise: bool | None


@dataclass(frozen=True)
class Backtest:
    """Scores of forecasters on the user's own log.

    Attributes:
        laws, cut, targets, thinnings, level, replicates, seed: what was asked.
        groups: one for each group of the log.
        ranking: target by target, the best first.
        data: `sha256` of the sorted sufficient statistics, `format`, `rows`; empty for bare counts.
        tool: name and version.
    """

    laws: tuple[str, ...]
    cut: int
    targets: tuple[int, ...]
    thinnings: int
    level: float
    replicates: int
    seed: int
    groups: tuple[GroupBacktest, ...]
    ranking: tuple[Rank, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    tool: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether any group was scored."""
        return any(g.scores for g in self.groups)

    def document(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {"schema_version": SCHEMA_VERSION, "kind": KIND} | asdict(self)

    def to_json(self, *, indent: int | None = 1) -> str:
        """The backtest document as text."""
        return json.dumps(self.document(), indent=indent, ensure_ascii=False, allow_nan=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a group, forecaster and target."""
        import pandas as pd

        return pd.DataFrame([{**g.by, **asdict(score)} for g in self.groups for score in g.scores])

    def _repr_html_(self) -> str:
        frame = self.to_frame().to_html(index=False, float_format=lambda x: f"{x:.4g}", na_rep="")
        head = (
            f"cut {self.cut}, {self.thinnings} thinnings, intervals {self.level:.0%}; truth is the "
            "unbiased pass@k of all attempts"
        )
        return f"<p>{head}</p>{frame}"
