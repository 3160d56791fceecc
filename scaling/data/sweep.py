"""A logged sweep, reduced to per-problem statistics."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.data import groups
from scaling.data.duck import connect, name, text
from scaling.data.evidence import Counts, Points, Runtimes
from scaling.data.groups import Bins, Where
from scaling.data.schema import KNOBS, PROBE, STOP_RULES, USE, WORDS, Kind, listed
from scaling.data.statistics import RANGE, Statistics, added, codes_of, fetch_keys, joined
from scaling.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

    from scaling.costs import SampleCosts
    from scaling.curves import Menu
    from scaling.data.readers import Part

_METADATA = "scaling_sweep"
_VERSION = 1


@dataclass(frozen=True)
class Report:
    """What reading a log came across.

    Attributes:
        missing: attempts without a verdict, errors among them.
        truncated: attempts cut off at a limit; they keep their verdict.
        without_verdict: problems (under one setting) that have no attempt with a verdict.
        notes: what was left out or assumed, in sentences.
    """

    missing: int = 0
    truncated: int = 0
    without_verdict: int = 0
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, statistics: Statistics, notes: Sequence[str] = ()) -> Report:
        """Counts from statistics."""
        numbers = statistics.numbers

        def total(column: str) -> int:
            return int(numbers[column].sum()) if column in numbers else 0

        empty = int((numbers["n"] == 0).sum()) if "n" in numbers else 0
        return cls(total("missing"), total("truncated"), empty, tuple(dict.fromkeys(notes)))


@dataclass(frozen=True, eq=False)
class Sweep:
    """Logged attempts as sufficient statistics: one row for each problem under each setting.

    Made by `scaling.read`. Immutable. Two sweeps of equal `sha256` hold the same evidence.

    Attributes:
        kind: "attempts", "counts", "curve" or "runtime".
        format: "csv", "parquet", "jsonl", "frame", ...: where it came from.
        rows: rows read.
        sources: files read.
        statistics: the columns.
        report: what was dropped, missing, truncated or assumed.
        opened: what was given to be read, as a command line names it; nothing for a table in memory.
        options: the options of the command line that read it so, such as `--map solved=c`.
    """

    kind: Kind
    format: str
    rows: int
    sources: tuple[str, ...]
    statistics: Statistics
    report: Report
    opened: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rules = self.statistics.keys.get("stop_rule")
        for rule in () if rules is None else rules.levels:
            if rule and rule not in STOP_RULES:
                raise InputError(
                    f"{listed(self.sources, 2)}: stop_rule is '{rule}'; it is one of "
                    f"{listed(STOP_RULES)}, or empty.{did_you_mean(str(rule), STOP_RULES)}"
                )

    @property
    def provenance(self) -> dict[str, Any]:
        """`sha256`, `format` and `rows`, as fits, menus and tables carry them."""
        return {"sha256": self.sha256, "format": self.format, "rows": self.rows}

    @property
    def class_columns(self) -> tuple[str, ...]:
        """Columns of the user's own, by which a gateway may tell queries apart."""
        return groups.class_columns(self.statistics)

    @property
    def knob_columns(self) -> tuple[str, ...]:
        """Settings that a budget can choose."""
        return tuple(c for c in (*KNOBS, *WORDS) if c in self.statistics.keys)

    @cached_property
    def sha256(self) -> str:
        """Digest of the sorted statistics.

        It covers what laws and menus are made of: keys, n, c, accepted, and totals of resources.
        So it does not depend on the order of rows, on how files were cut, or on whether attempts or
        their counts were read. Problems without a verdict do not enter.
        """
        statistics = self.statistics
        if "n" in statistics.numbers:
            statistics = statistics.take(np.flatnonzero(statistics.numbers["n"] > 0))
        left_out = {"rows", "missing", "truncated", *RANGE, *(f"{r}_sq" for r in USE)}
        columns = sorted(set(statistics.numbers) - left_out)
        digest = hashlib.sha256()

        def add(label: str, *parts: bytes) -> None:
            for part in (label.encode(), *parts):
                digest.update(len(part).to_bytes(8, "little"))
                digest.update(part)

        for label, key in statistics.keys.items():
            used, codes = np.unique(key.codes, return_inverse=True)
            levels = json.dumps(key.items(used))
            add(label, levels.encode(), codes.astype("<i8").tobytes())
        for label in columns:
            values = statistics.numbers[label]
            add(label, values.astype("<i8" if values.dtype.kind == "i" else "<f8").tobytes())
        return digest.hexdigest()

    def groups(
        self,
        by: Sequence[str] | None = None,
        *,
        bins: Bins | None = None,
        where: Where | None = None,
        min_attempts: int | None = None,
    ) -> tuple[Counts | Points, ...]:
        """Splits the sweep into what laws are fitted to, sorted by group.

        Args:
            by: group columns; None takes those of task and model that have several values, and
                the binned columns; an empty list pools everything.
            bins: column to increasing cut points (bin `i` is `[b_{i-1}, b_i)`, its index is the
                group's value), or to a number of quantile bins with equally many problems. `pass1`
                makes bins from outcomes, cross-fitted (see `scaling.data.probe`).
            where: column to the value (or values) to keep.
            min_attempts: problems with fewer attempts are dropped, and counted.

        Returns:
            Counts for attempts and counts, Points for curves. Rows of one problem that fall into
            one group are added up; the columns in which they differ stand in `Counts.pooled`.
            Groups of which nothing is left are left out.

        Raises:
            UsageError: for a column or value that does not exist, a numeric class column of more
                than 20 values without bins, or rows of runtimes.
            InputError: where no problem is left, or a group holds several stop rules.
        """
        if self.kind == "runtime":
            raise UsageError(
                "rows of runtimes have no verdicts: no law of accuracy or coverage can be fitted to "
                "them. They are for fitting costs: --law idealized-runtime, component-cost or "
                "kinetics-cost."
            )
        if self.kind == "curve":
            if min_attempts is not None:
                raise UsageError("--min-attempts: points of a curve have no attempts. Drop it.")
            return groups.split_points(self.statistics, by, bins=bins, where=where)
        statistics = self._binnable(bins)
        return groups.split_counts(
            statistics,
            by,
            bins=bins,
            where=where,
            min_attempts=min_attempts,
            probed=statistics is not self.statistics,
        )

    def runtimes(
        self,
        by: Sequence[str] | None = None,
        *,
        bins: Bins | None = None,
        where: Where | None = None,
    ) -> tuple[Runtimes, ...]:
        """Splits measured runtimes into what laws of cost are fitted to, sorted by group.

        Args:
            by: group columns, sizes such as `tp` or `batch` among them; None takes those of model and
                hardware that have several values.
            bins: as in `groups`.
            where: column to the value (or values) to keep.

        Raises:
            UsageError: for a column or value that does not exist, or a sweep of another kind.
        """
        if self.kind != "runtime":
            raise UsageError(
                f"the sweep holds {self.kind}, and a law of cost is fitted to measured runtimes: rows with "
                "runtime_s (or runtime_ms), and input_tokens, output_tokens, batch, context, tp."
            )
        from scaling.data.runtimes import split_runtimes

        return split_runtimes(self.statistics, by, bins=bins, where=where)

    def cuts(self, bins: Bins | None) -> dict[str, tuple[float, ...]]:
        """The cut points that `groups` uses for `bins`."""
        return groups.cuts(self._binnable(bins), bins)

    def _binnable(self, bins: Bins | None) -> Statistics:
        """The statistics, with the column of outcomes where bins of it are asked for."""
        if PROBE not in (bins or {}) or PROBE in self.statistics.keys or self.kind == "curve":
            return self.statistics
        from scaling.data.probe import probed

        return probed(self.statistics)

    def merge(self, other: Sweep) -> Sweep:
        """This sweep and another of the same kind, as one.

        Attempts and counts of one problem under one setting are added up: shards of one log give
        what the whole log gives. Where both sweeps know their attempt numbers, the ranges of one
        problem must not overlap; counts carry no numbers, and reading one file twice cannot be
        seen.

        Raises:
            InputError: for different kinds, overlapping attempts, or a point given in both.
        """
        if self.kind != other.kind:
            raise InputError(
                f"{listed(self.sources, 1)} holds {self.kind} and {listed(other.sources, 1)} holds "
                f"{other.kind}; only sweeps of one kind merge."
            )
        _refuse_overlap(self, other)
        statistics = joined((self.statistics, other.statistics))
        together = self.opened and other.opened and self.options == other.options
        if self.kind != "runtime":
            statistics = added(statistics)
        return Sweep(
            kind=self.kind,
            format=self.format if self.format == other.format else "merged",
            rows=self.rows + other.rows,
            sources=(*self.sources, *other.sources),
            statistics=statistics,
            report=Report.of(statistics, (*self.report.notes, *other.report.notes)),
            opened=(*self.opened, *other.opened) if together else (),
            options=self.options if together else (),
        )

    def menu(
        self,
        *,
        values: str = "plugin",
        classes: str = "group",
        by: Sequence[str] | None = None,
        costs: SampleCosts | None = None,
        skip: bool = False,
        extrapolate: bool = False,
    ) -> Menu:
        """What each class of query can buy, by the raw rates; see `scaling.data.plugin`."""
        from scaling.data.plugin import plugin_menu

        return plugin_menu(
            self,
            values=values,
            classes=classes,
            by=by,
            costs=costs,
            skip=skip,
            extrapolate=extrapolate,
        )

    def describe(self) -> dict[str, Any]:
        """What is in the sweep, as a JSON document."""
        from scaling.data.describe import describe

        return describe(self)

    def to_frame(self) -> pd.DataFrame:
        """The statistics, one row for each problem under each setting."""
        import pandas as pd

        return pd.DataFrame(self._columns())

    def to_json(self) -> str:
        """`describe()` as JSON text."""
        return json.dumps(self.describe(), indent=2, allow_nan=False, ensure_ascii=False)

    def save(self, path: str | Path) -> Path:
        """Writes the statistics to a Parquet file that `scaling.read` takes back as this sweep.

        Raises:
            InputError: where the file cannot be written; nothing is left behind.
        """
        target = Path(path)
        if target.suffix not in {".parquet", ".pq"}:
            raise InputError(
                f"{target}: sweeps are saved as Parquet; name it {target.stem}.parquet."
            )
        about = {
            "version": _VERSION,
            "kind": self.kind,
            "format": self.format,
            "rows": self.rows,
            "sources": self.sources,
            "keys": tuple(self.statistics.keys),
            "notes": self.report.notes,
        }
        import duckdb

        partial = target.with_name(f".{target.name}.partial")
        with connect() as con:
            try:
                con.register(
                    "columns",
                    {
                        label: values.astype(object) if values.dtype.kind == "U" else values
                        for label, values in self._columns().items()
                    },
                )
                con.execute(
                    f"COPY (SELECT * FROM columns) TO {text(str(partial))} (FORMAT parquet, "
                    f"KV_METADATA {{{_METADATA}: {text(json.dumps(about))}}})"
                )
                partial.replace(target)
            except (duckdb.Error, OSError) as error:
                partial.unlink(missing_ok=True)
                reason = str(error).split("\n")[0]
                raise InputError(
                    f"{target}: cannot be written ({reason}). Choose a folder that exists and is "
                    "writable."
                ) from None
        return target

    def _columns(self) -> dict[str, np.ndarray[Any, Any]]:
        statistics = self.statistics
        labels = {label: key.levels[key.codes] for label, key in statistics.keys.items()}
        return labels | dict(statistics.numbers)

    def _repr_html_(self) -> str:
        from html import escape

        from scaling.data.describe import description_rows

        rows = "".join(
            f"<tr><th>{escape(label)}</th><td>{escape(shown)}</td></tr>"
            for label, shown in description_rows(self.describe())
        )
        return f"<table><caption>Sweep</caption>{rows}</table>"


def _refuse_overlap(one: Sweep, other: Sweep) -> None:
    """Attempt numbers of one problem may not overlap, nor may a point be given twice."""
    both = joined((one.statistics, other.statistics))
    codes, _ = codes_of(both.keys, len(both))
    cut = len(one.statistics)
    _, a, b = np.intersect1d(codes[:cut], codes[cut:], return_indices=True)
    b = b + cut
    if one.kind == "curve":
        if len(a):
            raise InputError(
                f"the point {both.label(int(a[0]))} is in {listed(one.sources, 1)} and in "
                f"{listed(other.sources, 1)}; a point of a curve is one row. Drop one."
            )
    elif all(column in both.numbers for column in RANGE):
        first, last = (both.numbers[column] for column in RANGE)
        overlap = np.flatnonzero((first[a] <= last[b]) & (first[b] <= last[a]))
        if len(overlap):
            i, j = int(a[overlap[0]]), int(b[overlap[0]])
            raise InputError(
                f"{both.label(i)} has attempts {first[i]} to {last[i]} in {listed(one.sources, 1)} "
                f"and {first[j]} to {last[j]} in {listed(other.sources, 1)}; they may be the same. "
                "Read the logs together (scaling.read takes a list), so that every attempt is "
                "compared, or number the attempts on."
            )


def is_saved(con: duckdb.DuckDBPyConnection, part: Part) -> bool:
    """Whether a Parquet file was written by `Sweep.save`."""
    return _about(con, part) is not None


def load_saved(con: duckdb.DuckDBPyConnection, part: Part) -> Sweep:
    """The sweep that `Sweep.save` wrote."""
    about = _about(con, part)
    if about is None or about.get("version") != _VERSION:
        raise InputError(
            f"{part.name}: a saved sweep of version {(about or {}).get('version')}; this release "
            f"reads version {_VERSION}. Save it again from the logs."
        )
    labels = {c: kind for c, kind in part.columns.items() if c in about["keys"]}
    con.execute(f"CREATE OR REPLACE TEMP TABLE saved AS {part.sql}")
    keys = fetch_keys(con, "saved", labels, set())
    others = ", ".join(name(c) for c in part.columns if c not in labels)
    fetched = con.execute(f"SELECT {others} FROM saved").fetchnumpy()
    numbers = {column: np.asarray(values) for column, values in fetched.items()}
    statistics = Statistics(keys, numbers)
    return Sweep(
        kind=about["kind"],
        format=about["format"],
        rows=about["rows"],
        sources=tuple(about["sources"]),
        statistics=statistics,
        report=Report.of(statistics, about["notes"]),
    )


def _about(con: duckdb.DuckDBPyConnection, part: Part) -> dict[str, Any] | None:
    found = con.execute(
        f"SELECT decode(value) FROM parquet_kv_metadata({text(part.name)}) "
        f"WHERE decode(key) = '{_METADATA}'"
    ).fetchone()
    return None if found is None else json.loads(found[0])
