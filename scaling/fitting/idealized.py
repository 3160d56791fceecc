"""Idealized runtime from profiled requests: a time for each prompt length and one for each further token.

A profile is a grid of prompt lengths p and output lengths o. T(p, o) is the median of its trials (their
least, where the log is of a shared service). Narayanan et al. (2023), arXiv 2305.02440.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.core.caution import Caution
from scaling.fitting.few_units import widened

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

FAR, LEAST_SHARE = 8.0, 0.25
"""A cell is an outlier where it is this many robust deviations, and this share of its fit, off the lines."""
FEWEST_LENGTHS = 5
"""Prompt lengths from which on intervals of beta come from resampling them, and not single cells."""
MOST_LENGTHS = 200
"""Prompt lengths up to which a log is taken for a profile; beyond, requests came as they came."""
MOST_OUTPUTS = 60
"""Cells of one prompt length whose slopes are compared when outliers are looked for."""
KNOTS = 8
"""Prompt lengths at which prompt times are fitted, where few lengths were profiled at several outputs."""


class Cells(NamedTuple):
    """Distinct (p, o), sorted, with T and the number of trials; each of shape (C,)."""

    p: FloatArray
    o: FloatArray
    t: FloatArray
    trials: IntArray

    def take(self, rows: NDArray[np.bool_]) -> Cells:
        """Some of them."""
        return Cells(self.p[rows], self.o[rows], self.t[rows], self.trials[rows])

    @property
    def lengths(self) -> tuple[FloatArray, IntArray]:
        """Distinct prompt lengths (P,), and the index of each cell's (C,)."""
        levels, index = np.unique(self.p, return_inverse=True)
        return levels, index


class Solution(NamedTuple):
    """Idealized runtime.

    Attributes:
        lengths, prompt: prompt lengths and their times, each of shape (P,).
        beta: seconds of a further token.
        overhead: seconds of a request besides its tokens, None where it is not told apart.
        x, y, unit: the regression that gave beta: y on x by cells, and the prompt length of each.
        through: whether it has no intercept, as x and y are what prompt times leave unexplained.
    """

    lengths: FloatArray
    prompt: FloatArray
    beta: float
    overhead: float | None
    x: FloatArray
    y: FloatArray
    unit: IntArray
    through: bool


def cells_of(p: FloatArray, o: FloatArray, t: FloatArray, *, least: bool = False) -> Cells:
    """One cell a (p, o): the median of its trials, or their least."""
    pairs, index, count = np.unique(
        np.stack([p, o], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    index = index.reshape(-1)
    order = np.lexsort([t, index])
    first = np.searchsorted(index[order], np.arange(len(pairs)))
    low, high = order[first + (count - 1) // 2], order[first + count // 2]
    value = t[order[first]] if least else (t[low] + t[high]) / 2
    return Cells(pairs[:, 0], pairs[:, 1], value, count)


def screened(cells: Cells) -> tuple[Cells, list[Caution]]:
    """The cells without outliers.

    The line of each prompt length has the median of all slopes between cells of one length, and passes
    through the median of its cells. Lengths with fewer than four cells are kept whole.
    """
    lengths, unit = cells.lengths
    slopes = [
        (t[j] - t[i]) / (o[j] - o[i])
        for k in range(len(lengths))
        for o, t in [_some(cells.o[unit == k], cells.t[unit == k])]
        for i, j in [np.triu_indices(len(o), 1)]
    ]
    found = np.concatenate([*slopes, np.empty(0)])
    if not len(found):
        return cells, []
    slope = float(np.median(found))
    rest = cells.t - slope * cells.o
    middle = np.array([np.median(rest[unit == k]) for k in range(len(lengths))])
    off = np.abs(rest - middle[unit])
    enough = np.bincount(unit)[unit] >= 4
    scale = 1.4826 * float(np.median(off[enough])) if enough.any() else 0.0
    line = middle[unit] + slope * cells.o
    out = enough & (off > FAR * scale) & (off > LEAST_SHARE * np.abs(line))
    if not out.any():
        return cells, []
    i = int(np.flatnonzero(out)[0])
    text = (
        f"{int(out.sum())} of {len(out)} settings are far off the line of their prompt length and were left out, "
        f"for example {cells.p[i]:g} + {cells.o[i]:g} tokens: {cells.t[i]:.4g} s, where the line has {line[i]:.4g} s."
    )
    return cells.take(~out), [Caution("outliers-left-out", text)]


def _some(o: FloatArray, t: FloatArray) -> tuple[FloatArray, FloatArray]:
    rows = np.unique(np.linspace(0, len(o) - 1, min(len(o), MOST_OUTPUTS)).round().astype(int))
    return o[rows], t[rows]


def _slope(x: FloatArray, y: FloatArray) -> float:
    centred = x - x.mean()
    return float(centred @ y / (centred @ centred))


def by_differences(cells: Cells) -> tuple[Solution | None, list[Caution]]:
    """The published estimator: the slope of T(p, o) - T(p, 1) on o, with an intercept, over all p.

    Where a length was not profiled at one token, its cell of the fewest tokens stands for T(p, 1), and
    its prompt time is that cell less beta times the tokens beyond the first. Lengths with one cell give a
    prompt time, and say nothing of beta.
    """
    lengths, unit = cells.lengths
    first = np.searchsorted(unit, np.arange(len(lengths)))  # cells are sorted by p, then o
    known = np.bincount(unit)[unit] > 1
    x, y = cells.o - cells.o[first][unit], cells.t - cells.t[first][unit]
    if not known.any():
        return None, []
    beta = _slope(x[known], y[known])
    beyond = np.maximum(cells.o[first] - 1, 0)
    prompt = cells.t[first] - beta * beyond
    cautions = []
    if beyond.any():
        text = (
            f"{int((beyond > 0).sum())} of {len(lengths)} prompt lengths were not profiled at one generated token; "
            "their time is that of the fewest tokens profiled, less beta for each beyond the first."
        )
        cautions.append(Caution("first-token-missing", text))
    return Solution(lengths, prompt, beta, None, x[known], y[known], unit[known], False), cautions


def by_denoised(cells: Cells) -> tuple[Solution | None, list[Caution]]:
    """The published variant for a shared service, whose noise only adds: `cells` hold least trials.

    prompt(p) is the value at one token of the line through the cells of each length, at least that of the
    shortest length; beta as in `by_differences`; what the shortest prompt takes beyond beta is overhead.
    """
    lengths, unit = cells.lengths
    count = np.bincount(unit)
    many = count > 1
    if not many.any():
        return None, []
    at_one, own = np.empty(len(lengths)), np.zeros(len(lengths))
    for k in np.flatnonzero(many):
        o, t = cells.o[unit == k], cells.t[unit == k]
        own[k] = _slope(o, t)
        at_one[k] = t.mean() - own[k] * (o.mean() - 1)
    pooled = float(np.median(own[many]))
    for k in np.flatnonzero(~many):
        at_one[k] = (cells.t - pooled * (cells.o - 1))[unit == k][0]
    at_one = np.maximum(at_one, at_one[0])
    used = many[unit]
    x, y = cells.o, cells.t - at_one[unit]
    beta = _slope(x[used], y[used])
    overhead = max(float(at_one[0]) - beta, 0.0)
    prompt = at_one - overhead
    return Solution(lengths, prompt, beta, overhead, x[used], y[used], unit[used], False), []


def by_additive(cells: Cells) -> tuple[Solution | None, list[Caution]]:
    """Least squares of relative errors of prompt(p) + (o - 1) beta; prompt times then made monotone.

    Each length has a time of its own where at least half of the cells stand at lengths with several;
    otherwise prompt(p) is piecewise linear between quantiles of the lengths.
    """
    from scipy.optimize import isotonic_regression

    lengths, unit = cells.lengths
    several = np.bincount(unit)[unit] > 1
    more, cautions = np.maximum(cells.o - 1, 0), list[Caution]()
    own = 2 * several.sum() >= len(unit) and len(lengths) <= MOST_LENGTHS
    if not own:
        shares = np.linspace(0, 1, min(KNOTS, max(2, len(cells.p) // 5)))
        lengths = np.unique(np.quantile(cells.p, shares, method="inverted_cdf"))
        text = (
            f"few prompt lengths were seen at several output lengths, so prompt times are fitted at {len(lengths)} "
            "lengths, with straight lines between them."
        )
        cautions.append(Caution("prompts-by-knots", text))
    basis = hats(lengths, cells.p) / cells.t[:, None]
    both = np.column_stack([more, cells.t]) / cells.t[:, None]
    # What the prompt does not explain of tokens and runtimes; beta is the slope between the rests.
    scale = np.linalg.norm(basis, axis=0)
    of_basis, *_ = np.linalg.lstsq(basis / scale, both, rcond=None)
    x, y = (both - basis / scale @ of_basis).T
    if not x @ x > 1e-12 * (both[:, 0] @ both[:, 0]):
        return None, []
    beta = float(x @ y / (x @ x))
    prompt = (of_basis[:, 1] - beta * of_basis[:, 0]) / scale
    made = isotonic_regression(prompt, weights=scale**2).x
    if np.abs(made - prompt).max() > 0.05 * np.abs(prompt).max():
        text = (
            "prompt times that fall with length were averaged with their neighbours: a longer prompt is not read "
            "faster."
        )
        cautions.append(Caution("prompts-made-monotone", text))
    group = unit if own else np.arange(len(unit))
    return Solution(lengths, np.asarray(made), beta, None, x, y, group, True), cautions


def hats(knots: FloatArray, p: FloatArray) -> FloatArray:
    """Piecewise-linear basis at `knots`, flat outside, shape (R, K)."""
    return np.stack([np.interp(p, knots, row) for row in np.eye(len(knots))], axis=1)


def replicates(
    solution: Solution, cells: Cells, count: int, level: float, rng: np.random.Generator
) -> FloatArray | None:
    """Draws of (beta, prompt times), shape (count, 1 + P); None where nothing varies.

    beta: whole prompt lengths are drawn with replacement, as the cells of one share T(p, 1); single cells
    where there are fewer than `FEWEST_LENGTHS`; widened where they are few. Prompt times: each times
    1 + e, with e drawn from the deviations of cells, relative to T, from the line of slope beta of their own length.
    """
    units, unit = np.unique(solution.unit, return_inverse=True)
    if len(units) < FEWEST_LENGTHS:
        unit = np.arange(len(unit))
        units = unit
    if len(units) < 3:
        return None
    x, y = solution.x, solution.y
    sums = np.stack(
        [np.bincount(unit, v, len(units)) for v in (np.ones_like(x), x, y, x * x, x * y)]
    )
    drawn = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=count) @ sums.T
    n, sx, sy, sxx, sxy = drawn.T
    if solution.through:
        sx, sy = np.zeros_like(sx), np.zeros_like(sy)
    spread = sxx - sx * sx / n
    with np.errstate(divide="ignore", invalid="ignore"):
        beta = np.where(spread > 1e-12 * sxx, (sxy - sx * sy / n) / spread, solution.beta)
    beta = widened(beta, np.array(solution.beta), len(units), 1 if solution.through else 2, level)
    errors = relative_errors(cells, solution.beta)
    shape = (count, len(solution.lengths))
    noise = rng.choice(errors, shape) if len(errors) else np.zeros(shape)
    draws = np.column_stack([beta, solution.prompt * (1 + noise)])
    scale = np.abs(draws).max()
    return draws if np.ptp(draws, axis=0).max() > 1e-12 * scale else None


def relative_errors(cells: Cells, beta: float) -> FloatArray:
    """Deviations of cells from the line of their prompt length over T, widened for the lines' own freedom."""
    _, unit = cells.lengths
    count = np.bincount(unit)
    rest, weight = cells.t - beta * cells.o, cells.t**-2.0
    line = np.bincount(unit, weight * rest) / np.bincount(unit, weight)
    inside = count[unit] > 1
    free = int(inside.sum()) - int((count > 1).sum()) - 1
    if free < 1:
        return np.empty(0)
    relative = (rest - line[unit]) / cells.t
    return np.asarray(relative[inside] * np.sqrt(inside.sum() / free))
