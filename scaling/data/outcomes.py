"""Verdicts of single attempts in their order: what counts forget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scaling.data.attempts import _Reduction
from scaling.data.checks import no_number, number
from scaling.data.duck import connect, is_text, name, text
from scaling.data.evidence import Scalar
from scaling.data.read import open_scan, read
from scaling.data.schema import NUMERIC, TEXT, Layout, layout, listed
from scaling.data.statistics import Key, codes_of, fetch_keys
from scaling.data.sweep import Sweep, is_saved
from scaling.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    import duckdb

    from scaling.data.readers import Scan

IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Verdicts of P problems (under each setting), in the order of the attempts.

    Attributes:
        keys: task, model, problem, then the settings and class columns of the log, each of length P.
        indptr: where each problem's verdicts begin and end, shape (P + 1,).
        bits: right or wrong (of `attempt_scores`: the scores), shape (indptr[-1],).
    """

    keys: Mapping[str, Key]
    indptr: IntArray
    bits: NDArray[Any]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def stop_rule(self) -> str | None:
        """Of the log, None where it is unknown.

        Raises:
            InputError: where problems have different ones.
        """
        if "stop_rule" not in self.keys:
            return None
        rules = np.unique(self.keys["stop_rule"].values).tolist()
        if len(rules) > 1:
            raise InputError(
                f"the outcomes were stopped by several rules ({listed(r or 'unknown' for r in rules)}); take "
                "them apart with groups(['stop_rule'])."
            )
        return None if not rules or rules[0] in ("", "unknown") else str(rules[0])

    def take(self, rows: NDArray[Any]) -> Outcomes:
        """Some problems, by index."""
        start, length = self.indptr[rows], np.diff(self.indptr)[rows]
        bounds = np.concatenate([[0], np.cumsum(length)])
        inside = np.repeat(start - bounds[:-1], length) + np.arange(bounds[-1])
        return Outcomes(
            {label: column.take(rows) for label, column in self.keys.items()},
            bounds,
            self.bits[inside],
        )

    def groups(
        self, by: Sequence[str] | None = None
    ) -> Iterator[tuple[dict[str, Scalar | None], Outcomes]]:
        """The problems of each combination of values, with these values.

        Args:
            by: columns; None takes those of task and model that have several values.

        Raises:
            UsageError: for a column that is not there.
        """
        if by is None:
            by = [c for c in ("task", "model") if len(np.unique(self.keys[c].codes)) > 1]
        for column in by:
            if column not in self.keys:
                raise UsageError(
                    f"no column '{column}' to group outcomes by; there are {listed(self.keys)}."
                    f"{did_you_mean(column, self.keys)}"
                )
        chosen = {column: self.keys[column] for column in by}
        codes, count = codes_of(chosen, len(self))
        for code in range(count):
            rows = np.flatnonzero(codes == code)
            yield {c: k.item(int(k.codes[rows[0]])) for c, k in chosen.items()}, self.take(rows)


def attempt_scores(
    source: Any, *, rename: Mapping[str, str] | None = None, threshold: float | None = None
) -> Outcomes:
    """The column `score` of a log of attempts, as `ordered_outcomes` gives its verdicts.

    Attempts without a score are left out.

    Raises:
        InputError: for a log without single attempts, or without scores that are numbers.
        UsageError: for a sweep whose files are not known.
    """
    return _ordered(source, rename, threshold, scores=True)


def ordered_outcomes(
    source: Any, *, rename: Mapping[str, str] | None = None, threshold: float | None = None
) -> Outcomes:
    """Verdicts of a log of attempts, in the order of their numbers.

    A sweep keeps counts only, so its files are read again. Attempts without a verdict are left out, as in the
    counts. Without a column `attempt` the order is that of the rows in the file.

    Args:
        source: a sweep that was read from files, or whatever `scaling.read` takes.
        rename: {theirs: ours}; a sweep knows its own.
        threshold: graded verdicts count as correct from here on; a sweep knows its own.

    Raises:
        InputError: for a log that holds no single attempts, whose order is not known, or that has changed since
            the sweep was read.
        UsageError: for a sweep whose files are not known.
    """
    return _ordered(source, rename, threshold, scores=False)


def _ordered(
    source: Any, rename: Mapping[str, str] | None, threshold: float | None, *, scores: bool
) -> Outcomes:
    if isinstance(source, Sweep):
        sweep, source = source, _files(source)
        rename, threshold = _options(sweep.options)
    else:
        sweep = read(source, rename=rename, threshold=threshold)
    if sweep.kind != "attempts":
        raise InputError(
            f"{listed(sweep.sources, 1) or 'the table'} holds {sweep.kind}, which have no order; outcomes need one row "
            "an attempt (problem, attempt, correct)."
        )
    with connect() as con, open_scan(con, source) as scan:
        if scan.format == "parquet" and any(is_saved(con, part) for part in scan.parts):
            raise InputError(
                f"{scan.where}: a saved sweep keeps counts, not the order of attempts; read the log itself."
            )
        parts = layout(tuple(scan.columns), where=scan.where, kind="attempts", rename=rename)
        if scores and "score" not in parts.column:
            raise InputError(
                f"{scan.where}: there is no column 'score'; name the one that holds them, as in --map reward=score."
            )
        found = _fetch(con, scan, parts, sweep, threshold, scores=scores)
    if scores:
        return found
    n = np.diff(found.indptr)
    c = np.add.reduceat(np.append(found.bits, 0).astype(np.int64), found.indptr[:-1]) * (n > 0)
    told = sweep.statistics.numbers["n"], sweep.statistics.numbers["c"]
    if not (np.array_equal(n, told[0]) and np.array_equal(c, told[1])):
        raise InputError(
            f"{scan.where}: the verdicts are not those that the sweep was made of; the file has changed. Read it again."
        )
    return found


def _files(sweep: Sweep) -> list[str]:
    if not sweep.opened or "-" in sweep.opened:
        held = "standard input" if sweep.opened else "a table in memory, or from logs read apart"
        raise UsageError(
            f"the sweep was made of {held}, so its attempts cannot be read again; give the log itself: "
            "ordered_outcomes(log)."
        )
    return list(sweep.opened)


def _options(given: Sequence[str]) -> tuple[dict[str, str] | None, float | None]:
    """The options that a sweep was read with."""
    said = dict(zip(given[::2], given[1::2], strict=True))
    pairs = said.get("--map", "")
    rename = dict(pair.split("=", 1) for pair in pairs.split(",")) if pairs else None
    return rename, float(said["--threshold"]) if "--threshold" in said else None


def _fetch(
    con: duckdb.DuckDBPyConnection,
    scan: Scan,
    parts: Layout,
    sweep: Sweep,
    threshold: float | None,
    *,
    scores: bool,
) -> Outcomes:
    rows = _Reduction(con, scan, parts, threshold)
    value = f"CAST({rows.verdict} AS TINYINT)"
    if scores:
        theirs, kind = parts.column["score"], rows.kind("score")
        value, bad = f"CAST({number(theirs, kind)} AS DOUBLE)", no_number(theirs, kind)
        wrong = con.execute(f"SELECT {name(theirs)} FROM ({scan.sql}) WHERE {bad}").fetchone()
        if wrong:
            raise InputError(
                f"{scan.where}: column '{theirs}' holds '{wrong[0]}'; a score is a finite number, and empty where "
                "there is none."
            )
    known = sweep.statistics.keys
    columns = [c for c in known if c in parts.column]
    sql, position = scan.sql, rows.attempt_number if rows.attempt is not None else '"row number"'
    if rows.attempt is None:
        if len(scan.parts) > 1:
            raise InputError(
                f"{scan.where}: without a column 'attempt' the order of attempts in several files is not known. "
                "Number the attempts, or read one file."
            )
        sql = f'SELECT *, row_number() OVER () AS "row number" FROM ({scan.parts[0].sql})'
    chosen = ", ".join(f"{rows.key(c)} AS {name(c)}" for c in columns)
    ran = "true" if rows.failed is None else f"NOT ({rows.failed})"
    con.execute(
        f"CREATE TEMP TABLE settings AS SELECT *, row_number() OVER () AS setting FROM "
        f"(SELECT DISTINCT {chosen} FROM ({sql})) ORDER BY setting"
    )
    same = " AND ".join(f"s.{name(c)} IS NOT DISTINCT FROM r.{name(c)}" for c in columns)
    # The sort spills to disk; what comes back is one byte an attempt.
    con.execute(
        f"CREATE TEMP TABLE verdicts AS SELECT s.setting, r.verdict, r.position FROM "
        f"(SELECT {chosen}, {value} AS verdict, {position} AS position "
        f"FROM ({sql}) WHERE {ran}) r JOIN settings s ON {same} WHERE r.verdict IS NOT NULL"
    )
    kinds = {c: "DOUBLE" if c in NUMERIC else rows.kind(c) for c in columns}
    kinds |= {c: "VARCHAR" for c in columns if c in TEXT}
    for column in known:
        if column not in kinds:
            con.execute(
                f"ALTER TABLE settings ADD COLUMN {name(column)} VARCHAR DEFAULT {text('')}"
            )
            kinds[column] = "VARCHAR"
    numeric = {c for c in columns if is_text(kinds[c]) and known[c].is_number}
    keys = fetch_keys(con, "settings", {c: kinds[c] for c in known}, numeric)
    order = np.argsort(codes_of(keys, len(next(iter(keys.values())).codes))[0], kind="stable")
    counted = con.execute(
        "SELECT count(verdict) AS n FROM settings s LEFT JOIN verdicts v USING (setting) "
        "GROUP BY setting ORDER BY setting"
    ).fetchnumpy()["n"]
    bits = con.execute("SELECT verdict FROM verdicts ORDER BY setting, position").fetchnumpy()
    bounds = np.concatenate([[0], np.cumsum(np.asarray(counted, np.int64))])
    found = np.asarray(bits["verdict"]).astype(np.float64 if scores else np.bool_)
    return Outcomes(keys, bounds, found).take(order)
