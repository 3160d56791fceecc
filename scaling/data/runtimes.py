"""Runtime rows split into what laws of cost are fitted to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scaling.data.evidence import Runtimes
from scaling.data.groups import Bins, Where, _by, _group_keys, _value, cuts, selected, several
from scaling.data.schema import SIZES, WORK
from scaling.data.statistics import Statistics, codes_of, key


def split_runtimes(
    statistics: Statistics,
    by: Sequence[str] | None,
    *,
    bins: Bins | None = None,
    where: Where | None = None,
) -> tuple[Runtimes, ...]:
    """Runtimes by group; see `Sweep.runtimes`."""
    sizes = {c: key(statistics.numbers[c]) for c in SIZES if c in statistics.numbers}
    everything = Statistics({**sizes, **statistics.keys}, statistics.numbers)
    if by is None:
        by = (*several(statistics, ("model", "hardware")), *(bins or ()))
    columns = _by(everything, by, bins)
    rows = everything.take(np.flatnonzero(selected(everything, where)))
    keys = _group_keys(rows, columns, cuts(everything, bins))
    group, count = codes_of(keys, len(rows))
    found = []
    for index in range(count):
        inside = np.flatnonzero(group == index)
        members = rows.take(inside)
        found.append(
            Runtimes(
                by={c: _value(keys[c], int(inside[0]), c) for c in keys},
                inputs={c: members.numbers[c] for c in (*SIZES, *WORK) if c in members.numbers},
                seconds=members.numbers["runtime_s"],
                models=_names(members, "model"),
                hardware=_one(members, "hardware"),
            )
        )
    return tuple(found)


def _names(rows: Statistics, column: str) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    if column not in rows.keys:
        return np.full(len(rows), "", dtype=np.str_)
    return np.asarray(rows.keys[column].values, dtype=np.str_)


def _one(rows: Statistics, column: str) -> str | None:
    names = np.unique(_names(rows, column))
    return (str(names[0]) or None) if len(names) == 1 else None
