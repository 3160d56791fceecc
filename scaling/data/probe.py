"""Bins made from outcomes: how often a first look at a problem succeeds.

A bin that is made from the attempts it is then judged on makes easy bins look too easy and hard ones too
hard. So the attempts at each problem are parted at random into halves, and cross-fitted: a problem's
success rate in one half chooses its bin, its other half is what a law sees there, and the same with
the halves exchanged. A gateway can know such a bin only by probing a query first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scaling.data.schema import PROBE, USE
from scaling.data.statistics import Key, Statistics, codes_of, key
from scaling.errors import InputError

FloatArray = NDArray[np.float64]
_SEED = 0


def probed(statistics: Statistics) -> Statistics:
    """Every row twice, each time with one half of its attempts and the column `pass1` of the other.

    `pass1` is the success rate of a problem over all its rows (models, settings) in the half that is not
    counted. Both halves of a problem stay in one cluster. Which attempts are in which half is drawn with
    a fixed seed, so the same sweep always gives the same bins.

    Args:
        statistics: rows with counts.

    Raises:
        InputError: no problem has two attempts.
    """
    n, c = statistics.numbers["n"], statistics.numbers["c"]
    who = {label: statistics.keys[label] for label in ("task", "problem")}
    problem, problems = codes_of(who, len(statistics))
    first = n // 2
    solved = np.random.default_rng(_SEED).hypergeometric(c, n - c, first)
    halves = ((first, solved), (n - first, c - solved))
    parts, rates = [], []
    for own, (counted, looked_at) in enumerate((halves, halves[::-1])):
        tries = np.bincount(problem, looked_at[0], problems)[problem]
        right = np.bincount(problem, looked_at[1], problems)[problem]
        kept = np.flatnonzero((tries > 0) & (counted[0] > 0))
        parts.append((own, kept, counted))
        rates.append(right[kept] / tries[kept])
    rows = np.concatenate([kept for _, kept, _ in parts])
    if not len(rows):
        raise InputError(
            f"--bins {PROBE}: bins made from outcomes need two attempts at a problem, one to choose its bin and one "
            "to judge it there. Log more attempts, or bin by a column of your own."
        )
    numbers = {
        "n": np.concatenate([counted[0][kept] for _, kept, counted in parts]),
        "c": np.concatenate([counted[1][kept] for _, kept, counted in parts]),
    }
    share = numbers["n"] / n[rows]
    for resource in (r for r in USE if r in statistics.numbers):
        for column in (resource, f"{resource}_n"):
            numbers[column] = statistics.numbers[column][rows] * share
    keys = {label: column.take(rows) for label, column in statistics.keys.items()}
    keys["cluster"] = _clusters(statistics, who).take(rows)
    half = np.concatenate([np.full(len(kept), own) for own, kept, _ in parts])
    levels = [
        f"{name} (half {side})" for name in keys["problem"].levels.tolist() for side in (1, 2)
    ]
    keys["problem"] = Key(np.array(levels), 2 * keys["problem"].codes + half)
    keys[PROBE] = key(np.concatenate(rates))
    return Statistics(keys, numbers)


def _clusters(statistics: Statistics, who: dict[str, Key]) -> Key:
    """Families of problems where the log names them, else the problems themselves."""
    codes, count = codes_of(who, len(statistics))
    own = Key(np.array([f"problem {i}" for i in range(count)]), codes)
    named = statistics.keys.get("cluster")
    if named is None:
        return own
    return key(np.where(named.values == "", own.values, named.values))
