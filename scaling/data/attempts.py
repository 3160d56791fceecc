"""Attempt rows reduced to per-problem statistics in one bounded pass.

Duplicates of one attempt are screened in the same pass: for every problem (under each setting) the
count, minimum, maximum, sum and exclusive or of the attempt numbers must be those of consecutive
distinct numbers. Where they are not, the rows in question are compared exactly. The screen can miss
duplicates whose numbers imitate a full range in all five: attempts 0, 0, 3, 3 pass for 0, 1, 2, 3.
`check_duplicates=True` compares all rows exactly, at the price of a second pass.

Sums of measured resources are fixed-point (tokens to 1e-6, dollars to 1e-12, seconds to 1e-9), so
that the order of rows and the number of threads never change a digit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.data.checks import Check, either, empty, flag, no_number, number, places, refuse
from scaling.data.duck import is_number, is_plain, is_text, name, text
from scaling.data.schema import IDENTITY, LONGEST_LABEL, NUMERIC, STOPPING, TEXT, USE, Layout
from scaling.data.statistics import RANGE, Statistics, added, fetch_keys, numeric_text
from scaling.errors import InputError

if TYPE_CHECKING:
    import duckdb

    from scaling.data.readers import Scan

CONDITION_LEVELS = 20
"""A column of the user's own that differs within a problem tells settings apart if it has at most
so many values; beyond that it is taken for a trace of the single attempt and left out."""

_FIXED_POINT = {"tokens": "DECIMAL(18, 6)", "usd": "DECIMAL(18, 12)", "seconds": "DECIMAL(18, 9)"}
_NO_ERROR = "('', '0', 'false', 'none', 'null', 'nan')"


def reduce_attempts(
    con: duckdb.DuckDBPyConnection,
    scan: Scan,
    layout: Layout,
    *,
    check_duplicates: bool = False,
    threshold: float | None = None,
) -> tuple[Statistics, list[str]]:
    """Per-problem statistics of attempt rows, and notes for the report.

    Args:
        con: the database of `scan`.
        scan: the rows.
        layout: which column plays which part.
        check_duplicates: compare all attempts exactly.
        threshold: a verdict counts as correct from here on; None admits only 0 and 1.

    Raises:
        InputError: for a row that breaks a rule of attempt rows, duplicates included.
    """
    return _Reduction(con, scan, layout, threshold).run(check_duplicates=check_duplicates)


class _Reduction:
    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        scan: Scan,
        layout: Layout,
        threshold: float | None,
    ) -> None:
        self.con, self.scan, self.layout, self.threshold = con, scan, layout, threshold
        self.notes = list(layout.notes)
        self.attempt = layout.column.get("attempt")
        self.bounds: dict[str, tuple[int, int]] = {}
        self.full: set[str] = set()
        self.constant: dict[str, str] = {}
        self.fixed = tuple(
            column
            for column in (*IDENTITY, "cluster", *STOPPING, *layout.knobs)
            if column in layout.column
        )
        self.own: list[str] = []
        for column in layout.classes:
            if is_plain(scan.columns[layout.column[column]]):
                self.own.append(column)
            else:
                self.notes.append(f"column '{column}' holds lists or records: left out")

    def kind(self, column: str) -> str:
        return self.scan.columns[self.layout.column[column]]

    def raw(self, column: str) -> str:
        return name(self.layout.column[column])

    def key(self, column: str) -> str:
        """The expression that rows are grouped by."""
        if column in NUMERIC:
            return number(self.layout.column[column], self.kind(column))
        return self.raw(column)

    @property
    def failed(self) -> str | None:
        """Condition: the attempt ended in an error."""
        if "error" not in self.layout.column:
            return None
        kind, quoted = self.kind("error"), self.raw("error")
        if is_text(kind):
            return f"lower(coalesce({quoted}, '')) NOT IN {_NO_ERROR}"
        if is_number(kind):
            return f"coalesce({quoted}, 0) <> 0"
        if kind == "BOOLEAN":
            return f"coalesce({quoted}, false)"
        return f"{quoted} IS NOT NULL"

    @property
    def verdict(self) -> str:
        value = flag(self.layout.column["correct"], self.kind("correct"))
        return value if self.threshold is None else f"CAST({value} >= {self.threshold} AS TINYINT)"

    def survey(self) -> None:
        """Bounds and gaps of number columns, and texts that never change, ahead of the pass.

        What is known of whole columns need not be looked at row by row. Where a column can be read
        by itself this costs next to nothing (Parquet files state the bounds of their numbers).
        """
        if not self.scan.columnar:
            return
        column = self.layout.column
        whole = [c for c in column if c not in self.layout.classes and _is_whole(self.kind(c))]
        gaps = [c for c in ("problem", "attempt", "correct", *USE.values()) if c in column]
        items = [f"{f}({self.raw(c)})" for c in whole for f in ("min", "max")]
        items += [f"count({self.raw(c)}) = count(*)" for c in gaps]
        known = self.ask(f"SELECT {', '.join(items)} FROM ({self.scan.sql})")
        for index, c in enumerate(whole):
            if known[2 * index] is not None:
                self.bounds[c] = (int(known[2 * index]), int(known[2 * index + 1]))
        self.full = {c for c, yes in zip(gaps, known[2 * len(whole) :], strict=True) if yes}
        texts = [c for c in self.fixed if c != "problem" and is_text(self.kind(c))]
        if texts:
            items = [
                f"CASE WHEN count({self.raw(c)}) = count(*) AND min({self.raw(c)}) = "
                f"max({self.raw(c)}) THEN min({self.raw(c)}) END"
                for c in texts
            ]
            same = self.ask(f"SELECT {', '.join(items)} FROM ({self.scan.sql})")
            self.constant = {c: v for c, v in zip(texts, same, strict=True) if v is not None}

    def ask(self, sql: str) -> tuple[Any, ...]:
        return self.con.execute(sql).fetchone() or ()

    def within(self, column: str, low: float, high: float) -> bool:
        """Whether all values are known to lie between two bounds."""
        return (
            column in self.bounds
            and low <= self.bounds[column][0] <= self.bounds[column][1] <= high
        )

    def checks(self) -> list[Check]:
        """What every row must keep, and is not known to keep."""
        rules: list[Check] = []
        for column, rule in (("problem", _PROBLEM), ("attempt", _ATTEMPT)):
            if column in self.layout.column and column not in self.full:
                theirs = self.layout.column[column]
                rules.append(Check(empty(theirs), {column: theirs}, rule))
        for column in ("correct", "accepted", "truncated"):
            if column in self.layout.column and not self.within(column, 0, 1):
                rules += self.flag_check(column)
        for column in (*USE.values(), "input_tokens", "cached_tokens", "reasoning_tokens"):
            if column in self.layout.column and not self.within(column, 0, np.inf):
                rules += self.amount_check(column, _AMOUNT)
        for column in NUMERIC:
            if column in self.layout.column and not self.within(column, 0, np.inf):
                rules += self.amount_check(column, _KNOB.format(self.layout.column[column]))
        for part, of in (("reasoning_tokens", "output_tokens"), ("cached_tokens", "input_tokens")):
            if part in self.layout.column and of in self.layout.column:
                rules.append(self.order_check(part, of))
        return rules

    def flag_check(self, column: str) -> list[Check]:
        theirs, kind = self.layout.column[column], self.kind(column)
        if kind == "BOOLEAN":
            return []
        value = flag(theirs, kind)
        if column == "correct" and self.threshold is not None:
            allowed = f"({value} BETWEEN 0 AND 1)"
            rule = "a score lies between 0 and 1, and is empty where there is none."
        else:
            allowed = f"({value} IN (0, 1))"
            rule = "a verdict is 0 or 1 (or true, false), and empty where there is none."
            if column == "correct":
                rule += " Graded scores between 0 and 1 need a threshold (--threshold 0.5)."
        broken = f"{name(theirs)} IS NOT NULL AND coalesce(NOT {allowed}, true)"
        return [Check(broken, {column: theirs}, rule)]

    def amount_check(self, column: str, rule: str) -> list[Check]:
        theirs, kind = self.layout.column[column], self.kind(column)
        value = number(theirs, kind)
        broken = f"{no_number(theirs, kind)} OR coalesce({value} < 0, false)"
        checks = [Check(broken, {column: theirs}, rule)]
        exact = {USE[resource]: form for resource, form in _FIXED_POINT.items()}.get(column)
        if exact is not None and not _is_whole(kind):
            broken = f"{value} IS NOT NULL AND TRY_CAST({value} AS {exact}) IS NULL"
            rule = f"it is too large to be summed exactly (as {exact}). Check its unit."
            checks.append(Check(broken, {column: theirs}, rule))
        return checks

    def order_check(self, part: str, whole: str) -> Check:
        shown = {column: self.layout.column[column] for column in (part, whole)}
        low, high = (number(theirs, self.kind(column)) for column, theirs in shown.items())
        rule = f"{part} are part of {whole} and cannot exceed them. Correct the row."
        return Check(f"coalesce({low} > {high}, false)", shown, rule)

    def run(self, *, check_duplicates: bool) -> tuple[Statistics, list[str]]:
        con = self.con
        con.execute("SET preserve_insertion_order = false")  # less memory in the pass
        self.survey()
        checks = self.checks()
        self.reduce((), checks)
        rows, bad = con.execute("SELECT sum(rows), sum(bad) FROM reduced").fetchone() or (0, 0)
        if not rows:
            raise InputError(
                f"{self.scan.where}: there is a header but no row; a sweep of attempts has one "
                "row per attempt."
            )
        if bad:
            refuse(con, self.scan, checks)
        conditions = self.conditions()
        if conditions:
            self.reduce(conditions, checks)
        self.one_cluster()
        self.duplicates(conditions, everything=check_duplicates)
        con.execute("SET preserve_insertion_order = true")  # columns are fetched one by one
        return self.fetch(conditions), self.notes

    def reduce(self, conditions: tuple[str, ...], checks: list[Check]) -> None:
        """One pass over the rows into the table `reduced`."""
        keys = (*self.fixed, *conditions)
        failed = self.failed
        ran = "" if failed is None else f" FILTER (WHERE NOT ({failed}))"
        verdict = self.verdict
        items = [
            f"{text(self.constant[c]) if c in self.constant else self.key(c)} AS {name(c)}"
            for c in keys
        ]
        items.append("count(*) AS rows")
        items.append(f"{self.count('correct', verdict, ran)} AS n")
        items.append(f"coalesce(sum({verdict}){ran}, 0) AS c")
        bad = f"count(*) FILTER (WHERE {either(checks)})" if checks else "0"
        items.append(f"{bad} AS bad")
        column = self.layout.column
        if "truncated" in column:
            value = flag(column["truncated"], self.kind("truncated"))
            items.append(f"count(*) FILTER (WHERE {value} = 1) AS truncated")
        if "accepted" in column:
            value = flag(column["accepted"], self.kind("accepted"))
            judged = f"{value} = 1 AND {verdict} IS NOT NULL" + (
                "" if failed is None else f" AND NOT ({failed})"
            )
            items.append(f"count(*) FILTER (WHERE {judged}) AS accepted")
            items.append(f"count(*) FILTER (WHERE {judged} AND {verdict} = 1) AS accepted_correct")
        for resource, measured in USE.items():
            if measured in column:
                items += self.sums(resource, measured, ran)
        if self.attempt is not None:
            value = self.attempt_number
            items += [
                f"{self.count('attempt', value, '')} AS numbered",
                f"min({value}) AS attempt_first",
                f"max({value}) AS attempt_last",
                f"sum({value}) AS attempt_sum",
                f"bit_xor({value}) AS attempt_xor",
            ]
        for own in self.own:
            if own not in conditions:
                items.append(f"min({self.raw(own)}) AS {name(own)}")
                items.append(
                    f"min({self.raw(own)}) IS DISTINCT FROM max({self.raw(own)}) "
                    f"OR count({self.raw(own)}) NOT IN (0, count(*)) AS {name('varies ' + own)}"
                )
        grouped = ", ".join(self.key(column) for column in keys if column not in self.constant)
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE reduced AS SELECT {', '.join(items)} "
            f"FROM ({self.scan.sql}) GROUP BY {grouped}"
        )

    @property
    def attempt_number(self) -> str:
        quoted = self.raw("attempt")
        if _is_whole(self.kind("attempt")):
            narrow = self.within("attempt", 0, 2**30)  # summed faster
            return f"TRY_CAST({quoted} AS {'INTEGER' if narrow else 'BIGINT'})"
        value = f"TRY_CAST({quoted} AS DOUBLE)"
        return f"CASE WHEN {value} = floor({value}) THEN TRY_CAST({quoted} AS BIGINT) END"

    def count(self, column: str, value: str, ran: str) -> str:
        """How many rows have a value; all of them, where that is known."""
        sure = column in self.full and _is_whole(self.kind(column)) and not ran
        return "count(*)" if sure else f"count({value}){ran}"

    def sums(self, resource: str, column: str, ran: str) -> list[str]:
        kind = self.kind(column)
        value = number(self.layout.column[column], kind)
        exact = value if _is_whole(kind) else f"TRY_CAST({value} AS {_FIXED_POINT[resource]})"
        square = f"CAST({value} AS DOUBLE) * CAST({value} AS DOUBLE)"
        return [
            f"coalesce(sum({exact}){ran}, 0) AS {resource}",
            f"{self.count(column, value, ran)} AS {resource}_n",
            f"coalesce(sum({square}){ran}, 0) AS {resource}_sq",
        ]

    def conditions(self) -> tuple[str, ...]:
        """Columns of the user's own that tell settings apart; the rest is dropped, aloud."""
        kept = []
        for column in tuple(self.own):
            longest, varies = self.con.execute(
                f"SELECT max(length(CAST({name(column)} AS VARCHAR))), "
                f"bool_or({name('varies ' + column)}) FROM reduced"
            ).fetchone() or (0, False)
            if longest is None:
                self.own.remove(column)
                self.notes.append(f"column '{column}' is empty: left out")
            elif longest > LONGEST_LABEL:
                self.own.remove(column)
                self.notes.append(f"column '{column}' holds long texts, no labels: left out")
            elif varies:
                levels = self.con.execute(
                    f"SELECT count(*) FROM (SELECT DISTINCT {self.raw(column)} "
                    f"FROM ({self.scan.sql}) LIMIT {CONDITION_LEVELS + 1})"
                ).fetchone() or (0,)
                if levels[0] <= CONDITION_LEVELS:
                    kept.append(column)
                else:
                    self.own.remove(column)
                    self.notes.append(
                        f"column '{column}' differs from attempt to attempt in more than "
                        f"{CONDITION_LEVELS} values: left out"
                    )
        return tuple(kept)

    def one_cluster(self) -> None:
        if "cluster" not in self.layout.column:
            return
        task = "task" if "task" in self.fixed else "''"
        found = self.con.execute(
            f"SELECT {task}, problem, min(cluster), max(cluster) FROM reduced GROUP BY 1, 2 "
            "HAVING min(cluster) <> max(cluster) ORDER BY ALL LIMIT 1"
        ).fetchone()
        if found is not None:
            raise InputError(two_clusters(self.scan.where, *(str(value) for value in found)))

    def duplicates(self, conditions: tuple[str, ...], *, everything: bool) -> None:
        """Compares attempt numbers exactly where the screen fails (or everywhere).

        Raises:
            InputError: naming the first attempt that is logged twice, with its rows.
        """
        if self.attempt is None:
            self.notes.append(
                "no column 'attempt': rows are numbered in the order of the file, and duplicates "
                "cannot be found"
            )
            return
        keys = (*self.fixed, *conditions)
        suspects = "true" if everything else _SUSPECT
        count = self.con.execute(f"SELECT count(*) FROM reduced WHERE {suspects}").fetchone()
        if not count or not count[0]:
            return
        chosen = ", ".join(f"{self.key(column)} AS {name(column)}" for column in keys)
        rows = f"SELECT {chosen}, {name(self.attempt)} AS attempt FROM ({self.scan.sql})"
        same = " AND ".join(f"rows.{name(c)} IS NOT DISTINCT FROM r.{name(c)}" for c in keys)
        semi = (
            "" if everything else f"SEMI JOIN (SELECT * FROM reduced WHERE {suspects}) r ON {same}"
        )
        found = self.con.execute(
            f"SELECT {', '.join('rows.' + name(c) for c in keys)}, rows.attempt, count(*) AS times "
            f"FROM ({rows}) rows {semi} GROUP BY ALL HAVING count(*) > 1 ORDER BY ALL LIMIT 1"
        ).fetchone()
        if found is None:
            return
        *values, attempt, times = found
        about = dict(zip(keys, values, strict=True)) | {"attempt": attempt}
        said = ", ".join(f"{c}={v}" for c, v in about.items() if v is not None)
        raise InputError(
            f"{self.places(about)}: {said} is logged {times} times; an attempt is one row. Drop the "
            "copies, or, if the rows differ in a setting, give it as a column."
        )

    def places(self, about: dict[str, object]) -> str:
        """Where the first two rows about one attempt stand."""
        same = {f"{self.key(column)} IS NOT DISTINCT FROM ?": about[column] for column in about}
        needed = {self.layout.column[column] for column in about}
        return places(self.con, self.scan, needed, same)

    def fetch(self, conditions: tuple[str, ...]) -> Statistics:
        """The table `reduced` as sorted columns."""
        own = tuple(column for column in self.own if column not in conditions)
        labels = (*self.fixed, *sorted((*own, *conditions)))
        kinds = {column: "DOUBLE" if column in NUMERIC else self.kind(column) for column in labels}
        kinds |= {column: "VARCHAR" for column in labels if column in TEXT}
        asked = tuple(c for c in labels if c in self.own and is_text(kinds[c]))
        numeric = numeric_text(self.con, "reduced", asked)
        for column in ("task", "model"):
            if column not in kinds:
                kinds[column] = "VARCHAR"
                self.con.execute(f"ALTER TABLE reduced ADD COLUMN {column} VARCHAR DEFAULT ''")
        keys = fetch_keys(self.con, "reduced", kinds, numeric)
        columns = [row[0] for row in self.con.execute("DESCRIBE reduced").fetchall()]
        whole = [c for c in columns if c in _WHOLE or c.endswith("_n")]
        real = [c for r in USE for c in (r, f"{r}_sq") if c in columns]
        items = [f"CAST({name(c)} AS BIGINT) AS {name(c)}" for c in whole]
        items += [f"CAST({name(c)} AS DOUBLE) AS {name(c)}" for c in real]
        if self.attempt is not None:
            known = self.con.execute(
                "SELECT bool_and(numbered = rows AND attempt_first IS NOT NULL) FROM reduced"
            ).fetchone()
            if known and known[0]:
                items += [f"CAST({column} AS BIGINT) AS {column}" for column in RANGE]
        fetched = self.con.execute(f"SELECT {', '.join(items)} FROM reduced").fetchnumpy()
        numbers = {column: np.asarray(values) for column, values in fetched.items()}
        numbers["missing"] = numbers["rows"] - numbers["n"]
        return added(Statistics(keys, numbers))


_PROBLEM = "every attempt names its problem. Fill it in, or drop the row."
_ATTEMPT = (
    "every attempt has its number. Fill it in, or drop the column 'attempt' (duplicates can then "
    "not be found)."
)
_AMOUNT = "an amount is a finite number, not negative, and empty where it is unknown."
_KNOB = (
    "a knob is a finite number, not negative. Correct it, or rename the column if it is something "
    "else (--map {}=other)."
)
_WHOLE = ("rows", "n", "c", "truncated", "accepted", "accepted_correct")

# Consecutive distinct numbers a..b: count, sum and exclusive or are known in closed form.
_XOR = "CASE ({0}) % 4 WHEN 0 THEN ({0}) WHEN 1 THEN 1 WHEN 2 THEN ({0}) + 1 ELSE 0 END"
_SUSPECT = (
    "coalesce(numbered <> rows OR attempt_first < 0 "
    "OR CAST(attempt_last AS HUGEINT) - attempt_first + 1 <> rows "
    "OR attempt_sum * 2 <> (CAST(attempt_first AS HUGEINT) + attempt_last) * rows "
    "OR attempt_xor <> xor("
    f"CASE WHEN attempt_first > 0 THEN {_XOR.format('attempt_first - 1')} ELSE 0 END, "
    f"{_XOR.format('attempt_last')}), true)"
)


def _is_whole(kind: str) -> bool:
    return is_number(kind) and not kind.startswith(("FLOAT", "DOUBLE", "DECIMAL"))


def two_clusters(where: str, task: str, problem: str, one: str, other: str) -> str:
    """Message for a problem that is said to be in two clusters."""
    of = f" of task {text(task)}" if task else ""
    return (
        f"{where}: problem {text(problem)}{of} is in clusters {text(one)} and {text(other)}; a "
        "problem belongs to one family. Correct the column 'cluster'."
    )
