"""What a comparison says: its rows, groups and document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from scaling.core.caution import Caution
from scaling.data.evidence import Scalar


@dataclass(frozen=True)
class Row:
    """The two at one number of samples.

    Attributes:
        samples: k.
        a, b: coverage of each on the matched problems.
        difference: a - b.
        interval: of the difference, or None.
        probability: share of resamples in which a is above b, ties counted half, or None.
        ratio: samples that b needs for a's coverage, divided by k; at least 1/k; None where b does not reach
            it within the evidence of the row.
        ratio_interval: of the ratio, or None.
        source: `counts` (unbiased, or Kaplan and Meier's for a log that stops at a success) or `law`.
        extrapolated: whether k is beyond the attempts of either.
        observed: what the counts say, where two laws are compared and k is within the attempts.
        reason: why something is missing.
    """

    samples: int
    a: float
    b: float
    difference: float
    interval: tuple[float, float] | None
    probability: float | None
    ratio: float | None
    ratio_interval: tuple[float, float] | None
    source: Literal["counts", "law"]
    extrapolated: bool
    observed: float | None = None
    reason: str | None = None


class ParameterRow(NamedTuple):
    """A parameter of one law in both fits, on the matched problems."""

    name: str
    a: float
    b: float
    difference: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class GroupComparison:
    """One pair of groups.

    Attributes:
        by: columns in which they agree.
        a, b: what each is, for people.
        same_data: whether both are fits to the same counts of the same problems: then two laws are compared.
        matched, only_a, only_b: problems in both, and in one of them.
        rows: by number of samples.
        params: differences of parameters, where both fits have the same law.
        criteria: name to the values of a and b, as the fits hold them: on all problems of each.
        cautions: what a reader must know.
    """

    by: Mapping[str, Scalar]
    a: str
    b: str
    same_data: bool
    matched: int
    only_a: int
    only_b: int
    rows: tuple[Row, ...]
    params: tuple[ParameterRow, ...]
    criteria: Mapping[str, tuple[float | None, float | None]]
    cautions: tuple[Caution, ...]

    def document(self) -> dict[str, Any]:
        """As it stands in JSON."""
        return {
            "by": dict(self.by),
            "a": self.a,
            "b": self.b,
            "same_data": self.same_data,
            "problems": {"matched": self.matched, "only_a": self.only_a, "only_b": self.only_b},
            "rows": [asdict(r) for r in self.rows],
            "params": [p._asdict() for p in self.params],
            "criteria": {name: {"a": x, "b": y} for name, (x, y) in self.criteria.items()},
            "cautions": [c.document() for c in self.cautions],
        }


@dataclass(frozen=True)
class Comparison:
    """Two fits or sweeps, compared group by group.

    Attributes:
        level: of the intervals.
        replicates: joint resamples of the matched problems.
        seed: of the resampling.
        groups: pairs that were compared.
        unpaired_a, unpaired_b: groups without a partner, for people.
    """

    level: float
    replicates: int
    seed: int
    groups: tuple[GroupComparison, ...]
    unpaired_a: tuple[str, ...]
    unpaired_b: tuple[str, ...]

    def to_json(self, *, indent: int | None = 1) -> str:
        """The comparison as text."""
        document = {
            "schema_version": "1.0",
            "kind": "scaling-comparison",
            "interval": {
                "method": "percentile",
                "level": self.level,
                "replicates": self.replicates,
                "seed": self.seed,
            },
            "estimand": "population",
            "groups": [g.document() for g in self.groups],
            "unpaired": {"a": list(self.unpaired_a), "b": list(self.unpaired_b)},
        }
        return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)

    def to_frame(self) -> Any:
        """A pandas DataFrame with one row a group and number of samples."""
        import pandas as pd

        rows = []
        for g in self.groups:
            for r in g.rows:
                low, high = r.interval or (None, None)
                rows.append(
                    {
                        **g.by,
                        "samples": r.samples,
                        "a": r.a,
                        "b": r.b,
                        "difference": r.difference,
                        "low": low,
                        "high": high,
                        "probability": r.probability,
                        "ratio": r.ratio,
                        "source": r.source,
                        "extrapolated": r.extrapolated,
                        "matched": g.matched,
                    }
                )
        return pd.DataFrame(rows)

    def _repr_html_(self) -> str:
        html: str = self.to_frame().to_html(
            index=False, float_format=lambda x: f"{x:.4g}", na_rep=""
        )
        return html
