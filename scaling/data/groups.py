"""Statistics split into what laws are fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.data.evidence import Counts, Points, ResourceUse, Scalar
from scaling.data.schema import IDENTITY, KNOBS, STOPPING, USE, WORDS, listed
from scaling.data.statistics import TRUTHS, IntArray, Key, Statistics, codes_of
from scaling.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scaling.curves import BoolArray, FloatArray

Bins = Mapping[str, Sequence[float] | int]
Where = Mapping[str, Scalar | Sequence[Scalar]]

MANY_VALUES = 20
"""A numeric class column with more values than this is binned, not split by value."""


def default_by(statistics: Statistics) -> tuple[str, ...]:
    """Those of task and model that take more than one value."""
    return several(statistics, ("task", "model"))


def several(statistics: Statistics, columns: Sequence[str]) -> tuple[str, ...]:
    """Those of some columns that are there and take more than one value."""
    return tuple(
        column
        for column in columns
        if column in statistics.keys and len(_present(statistics.keys[column])) > 1
    )


def class_columns(statistics: Statistics) -> tuple[str, ...]:
    """Columns of the user's own."""
    known = {*IDENTITY, *KNOBS, *WORDS, *STOPPING, "cluster"}
    return tuple(column for column in statistics.keys if column not in known)


def cuts(statistics: Statistics, bins: Bins | None) -> dict[str, tuple[float, ...]]:
    """Cut points of each binned column, increasing.

    Args:
        statistics: all rows, so that filters do not move the cuts.
        bins: column to its cut points, or to how many bins of equally many problems to make.

    Raises:
        UsageError: for a column that is not there or not numeric, and for cut points out of order.
    """
    found: dict[str, tuple[float, ...]] = {}
    for column, asked in (bins or {}).items():
        key = _column(statistics, column, "--bins")
        if not key.is_number:
            raise UsageError(
                f"--bins {column}: its values are words ({listed(key.levels, 5)}); bins are made of "
                "numbers. Split by the words with --by."
            )
        if isinstance(asked, (int, np.integer)):
            found[column] = _quantiles(statistics, column, int(asked))
            continue
        points = tuple(float(point) for point in asked)
        if not points or not all(np.isfinite(points)) or any(np.diff(points) <= 0):
            raise UsageError(
                f"--bins {column}: cut points {listed(points) or '(none)'} are not increasing "
                f"finite numbers. Write {column}=.2,.6 or {column}:q4."
            )
        found[column] = points
    return found


def _quantiles(statistics: Statistics, column: str, count: int) -> tuple[float, ...]:
    if count < 2:
        raise UsageError(f"--bins {column}:q{count}: quantile bins are two or more.")
    who = {c: statistics.keys[c] for c in ("task", "problem", column) if c in statistics.keys}
    codes, _ = codes_of(who, len(statistics))
    _, first = np.unique(codes, return_index=True)
    values = statistics.keys[column].values[first].astype(np.float64)
    values = values[~np.isnan(values)]
    shares = np.arange(1, count) / count
    points = np.unique(np.quantile(values, shares)) if len(values) else np.empty(0)
    points = points[points > values.min()] if len(values) else points
    if not len(points):
        raise UsageError(
            f"--bins {column}:q{count}: the column has too few values to be cut. Drop --bins."
        )
    return tuple(float(point) for point in points)


def split_counts(
    statistics: Statistics,
    by: Sequence[str] | None,
    *,
    bins: Bins | None = None,
    where: Where | None = None,
    min_attempts: int | None = None,
    probed: bool = False,
) -> tuple[Counts, ...]:
    """Counts per problem, by group; see `Sweep.groups`."""
    everything = statistics
    columns = _by(statistics, by, bins)
    statistics = statistics.take(np.flatnonzero(selected(statistics, where)))
    keys = _group_keys(statistics, columns, cuts(everything, bins))
    if min_attempts is not None and min_attempts < 1:
        raise UsageError(f"--min-attempts {min_attempts}: at least 1.")

    group, groups = codes_of(keys, len(statistics))
    who = {"group": Key(np.unique(group), group)}
    who |= {c: statistics.keys[c] for c in ("task", "problem")}
    codes, count = codes_of(who, len(statistics))
    order = np.argsort(codes, kind="stable")
    first = np.searchsorted(codes[order], np.arange(count))
    top = order[first]  # one row of each problem

    def total(column: str) -> NDArray[Any]:
        values: NDArray[Any] = statistics.numbers[column][order]
        return np.add.reduceat(values, first) if len(first) else values

    n, c = total("n"), total("c")
    enough = n >= (min_attempts or 1)
    pooled = _pooled(statistics, order, first, exclude={*columns, "task", "problem", "cluster"})
    use = {r: (total(r), total(f"{r}_n")) for r in USE if r in statistics.numbers}

    found = []
    edge = np.searchsorted(group[top], np.arange(groups + 1))
    edge_rows = np.searchsorted(group[order], np.arange(groups + 1))
    for index in range(groups):
        inside = slice(edge[index], edge[index + 1])
        kept = edge[index] + np.flatnonzero(enough[inside])
        if not len(kept):
            continue
        rows = top[kept]
        by_values = {column: _value(keys[column], rows[0], column) for column in keys}
        members = order[edge_rows[index] : edge_rows[index + 1]]
        cluster = _clusters(statistics, rows)
        found.append(
            Counts(
                by=by_values,
                task=statistics.keys["task"].take(rows).values,
                problem=statistics.keys["problem"].take(rows).values,
                n=n[kept],
                c=c[kept],
                cluster=cluster,
                stop_rule=_stop_rule(statistics, members, by_values),
                model=_one_model(statistics, members),
                stop_batch=_one_number(statistics, members, "stop_batch", by_values),
                stop_cap=_one_number(statistics, members, "stop_cap", by_values),
                resources=_resources(use, kept, cluster),
                pooled=tuple(label for label, segments in pooled.items() if segments[kept].any()),
                dropped=int(edge[index + 1] - edge[index]) - len(kept),
                probed=probed,
            )
        )
    if not found:
        _refuse_no_verdict(everything, n, where)
        least = f"{min_attempts or 1} attempt{'s' if (min_attempts or 1) > 1 else ''}"
        raise InputError(
            f"no problem has {least} with a verdict; the largest number is {int(n.max())}. Lower "
            f"--min-attempts{' or loosen --where' if where else ''}."
        )
    return tuple(found)


def _refuse_no_verdict(everything: Statistics, n: IntArray, where: Where | None) -> None:
    """Says which column to look at, where no problem has any attempt with a verdict.

    Raises:
        InputError: where that is so.
    """
    if n.max(initial=0) > 0:
        return
    if everything.numbers["n"].any():
        filters = ", ".join(f"{c}={v}" for c, v in (where or {}).items())
        raise InputError(
            f"--where {filters}: no attempt that it keeps has a verdict; the sweep has others. "
            "Loosen it."
        )
    logged = int(everything.numbers["missing"].sum()) if "missing" in everything.numbers else 0
    if logged:
        raise InputError(
            f"no attempt has a verdict: in every row ({logged:,} read) the column 'correct' is "
            "empty or the column 'error' is filled in. Look at these two; a law needs verdicts of 0 or 1. "
            "If another column holds them, rename it: --map correct=other,theirs=correct."
        )
    raise InputError(
        f"no attempt has a verdict: the column 'n' is 0 in every row ({len(everything):,} read). Look "
        "at it; a law needs problems with at least one attempt. If another column holds the numbers "
        "of attempts, rename it: --map n=other,theirs=n."
    )


def split_points(
    statistics: Statistics,
    by: Sequence[str] | None,
    *,
    bins: Bins | None = None,
    where: Where | None = None,
) -> tuple[Points, ...]:
    """Points of curves, by group; see `Sweep.groups`."""
    everything = statistics
    columns = _by(statistics, by, bins)
    statistics = statistics.take(np.flatnonzero(selected(statistics, where)))
    keys = _group_keys(statistics, columns, cuts(everything, bins))
    group, count = codes_of(keys, len(statistics))
    knobs = [c for c in KNOBS if c in statistics.keys]
    found = []
    for index in range(count):
        members = statistics.take(np.flatnonzero(group == index))
        by_values = {
            column: _value(keys[column], int(np.flatnonzero(group == index)[0]), column)
            for column in keys
        }
        at = {c: members.keys[c] for c in knobs if c not in columns}
        codes, distinct = codes_of(at, len(members))
        if distinct < len(members):
            varied = [
                c
                for c in members.keys
                if c not in {*knobs, *columns} and len(_present(members.keys[c])) > 1
            ]
            row = int(np.flatnonzero(np.bincount(codes)[codes] > 1)[0])
            raise UsageError(
                f"several points stand at {members.label(row, tuple(at))}"
                f"{_of(by_values)}; a curve has one. Split them with --by "
                f"{listed(varied) or 'a column that tells them apart'}, or filter with --where."
            )
        found.append(
            Points(
                by=by_values,
                inputs={c: column.values.astype(np.float64) for c, column in at.items()},
                value=members.numbers["accuracy"],
                queries=members.numbers.get("queries"),
                model=_one_model(members, np.arange(len(members))),
            )
        )
    return tuple(found)


def selected(statistics: Statistics, where: Where | None) -> BoolArray:
    """Rows that a filter keeps.

    Raises:
        UsageError: for a column or value that is not there.
    """
    keep = np.ones(len(statistics), np.bool_)
    for column, wanted in (where or {}).items():
        key = _column(statistics, column, "--where")
        values = [wanted] if isinstance(wanted, (str, int, float)) else list(wanted)
        codes = [_code(key, column, value) for value in values]
        keep &= np.isin(key.codes, codes)
    if where and not keep.any():
        raise UsageError(
            f"--where {', '.join(f'{c}={v}' for c, v in where.items())} leaves no row; the values "
            "exist, but not together. Loosen the filter."
        )
    return keep


def looks_success_stopped(counts: Counts) -> bool:
    """Whether attempts seem to have stopped at the first success.

    So it looks where numbers of attempts differ, every problem below the largest number is solved, and
    most solved problems are below it (or all are solved, exactly once each). Then c/n and pass@k by the
    hypergeometric formula are biased, as n depends on the outcomes. Up to 2% fewer attempts count as the
    largest number: verdicts get lost.

    Args:
        counts: one group.
    """
    solved = counts.c > 0
    short = counts.n < 0.98 * counts.n.max(initial=0)
    if not short.any() or not solved[short].all():
        return False
    if solved.all():
        return bool((counts.c == 1).all())
    return bool(2 * (solved & short).sum() > solved.sum())


def _by(statistics: Statistics, by: Sequence[str] | None, bins: Bins | None) -> tuple[str, ...]:
    binned = tuple(bins or ())
    if by is None:
        return (*default_by(statistics), *binned)
    columns = (by,) if isinstance(by, str) else tuple(by)
    for column in columns:
        key = _column(statistics, column, "--by")
        own = column in class_columns(statistics)
        many = len(_present(key)) > MANY_VALUES
        if own and key.is_number and many and column not in binned:
            raise UsageError(
                f"--by {column}: a number with {len(_present(key))} values; a group for each would "
                f"hold next to nothing. Cut it with --bins {column}:q4 or --bins {column}=A,B."
            )
    for column in binned:
        if column not in columns:
            raise UsageError(f"--bins {column}: the column is not in --by; add it.")
    return tuple(dict.fromkeys(columns))


def _column(statistics: Statistics, column: str, option: str) -> Key:
    if column not in statistics.keys:
        names = tuple(statistics.keys)
        raise UsageError(
            f"{option}: no column '{column}'; there are {listed(names)}."
            f"{did_you_mean(column, names)}"
        )
    return statistics.keys[column]


def _code(key: Key, column: str, value: Scalar) -> int:
    levels = _present(key)
    if key.is_number:
        try:
            same = levels[key.levels[levels] == float(value)]
        except ValueError:
            same = levels[:0]
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        same = levels[key.levels[levels] == text]
        if not len(same) and text.lower() in TRUTHS:
            same = levels[key.levels[levels] == text.lower()]
    if len(same) != 1:
        names = [str(level) for level in key.levels[levels]]
        raise UsageError(
            f"--where {column}={value}: no such value; there are {listed(names, 20)}."
            f"{did_you_mean(str(value), names)}"
        )
    return int(same[0])


def _present(key: Key) -> IntArray:
    """Codes that occur."""
    return np.flatnonzero(np.bincount(key.codes, minlength=len(key.levels)))


def _group_keys(
    statistics: Statistics, columns: Sequence[str], points: Mapping[str, tuple[float, ...]]
) -> dict[str, Key]:
    keys = {}
    for column in columns:
        key = statistics.keys[column]
        missing = key.is_number and np.isnan(key.levels[key.codes].astype(np.float64))
        if np.any(missing):
            raise UsageError(
                f"--by {column}: {int(np.sum(missing))} rows have no value there, for example "
                f"{statistics.label(int(np.flatnonzero(missing)[0]), IDENTITY)}. Filter them out "
                f"with --where {column}=VALUE, or fill them in."
            )
        if column in points:
            which = np.searchsorted(np.asarray(points[column]), key.levels, side="right")
            keys[column] = Key(np.arange(len(points[column]) + 1), which[key.codes])
        else:
            keys[column] = key
    return keys


def _value(key: Key, row: int, column: str) -> Scalar:
    value = key.item(int(key.codes[row]))
    if value is None:
        raise UsageError(f"--by {column}: a row has no value there.")
    return value


def _pooled(
    statistics: Statistics, order: IntArray, first: IntArray, exclude: set[str]
) -> dict[str, BoolArray]:
    """Columns over which rows of one problem are added up, and for which problems."""
    if len(first) == len(order):
        return {}
    found = {}
    for column, key in statistics.keys.items():
        if column in exclude or column in STOPPING:
            continue
        codes = key.codes[order]
        differs = np.minimum.reduceat(codes, first) != np.maximum.reduceat(codes, first)
        if differs.any():
            found[column] = differs
    return found


def _resources(
    use: Mapping[str, tuple[FloatArray, IntArray]],
    kept: IntArray,
    cluster: NDArray[np.str_] | None,
) -> dict[str, ResourceUse]:
    """Use per sample at each problem, then its mean over problems; the error from clusters of them."""
    found = {}
    for resource, (sums, readings) in use.items():
        samples: FloatArray = readings[kept].astype(np.float64)
        known = samples > 0
        if not known.any():
            continue
        each = sums[kept][known] / samples[known]
        mean = each.mean()
        residual = each - mean
        if cluster is not None:
            _, unit = np.unique(cluster[known], return_inverse=True)
            residual = np.bincount(unit, residual)
        units, se = len(residual), None
        if units > 1:
            se = float(np.sqrt(units / (units - 1) * np.sum(residual**2)) / known.sum())
        found[resource] = ResourceUse(float(mean), se, int(samples.sum()))
    return found


def _clusters(statistics: Statistics, rows: IntArray) -> NDArray[np.str_] | None:
    """Cluster of each problem; one that names none is a cluster of its own."""
    if "cluster" not in statistics.keys:
        return None
    cluster = statistics.keys["cluster"].take(rows).values
    alone = cluster == ""
    if alone.all():
        return None
    task, problem = (statistics.keys[c].take(rows).values for c in ("task", "problem"))
    own = np.char.add(np.char.add(task, "/"), problem)
    return np.where(alone, own, cluster)


def _stop_rule(statistics: Statistics, rows: IntArray, by: Mapping[str, Scalar]) -> str | None:
    key = statistics.keys.get("stop_rule")
    if key is None:
        return None
    rules = {str(key.levels[code]) or "unknown" for code in np.unique(key.codes[rows])}
    if len(rules) > 1:
        raise InputError(
            f"the group{_of(by)} holds several stop rules ({listed(sorted(rules))}); their "
            "attempts mean different things. Split them with --by stop_rule, or filter with "
            "--where."
        )
    rule = rules.pop()
    return None if rule == "unknown" else rule


def _one_model(statistics: Statistics, rows: IntArray) -> str | None:
    key = statistics.keys["model"]
    used = np.unique(key.codes[rows])
    return (str(key.levels[used[0]]) or None) if len(used) == 1 else None


def _one_number(
    statistics: Statistics, rows: IntArray, column: str, by: Mapping[str, Scalar]
) -> int | None:
    key = statistics.keys.get(column)
    if key is None:
        return None
    values = {key.item(int(code)) for code in np.unique(key.codes[rows])}
    if len(values) > 1:
        raise InputError(
            f"the group{_of(by)} holds several values of {column}; split them with --by {column}, "
            "or filter with --where."
        )
    value = values.pop()
    return None if value is None else int(value)


def _of(by: Mapping[str, Scalar]) -> str:
    return f" {', '.join(f'{c}={v}' for c, v in by.items())}" if by else ""
