"""Costs that are linear in work: nonnegative coefficients by least squares of relative errors.

Replicates resample settings (distinct sizes) with all their trials: trials of one setting share what the
law misses there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from scaling.fitting.few_units import widened

FloatArray = NDArray[np.float64]

ALIKE = 1e-3
"""A column is told apart from others where this share of it, weighted, is not a combination of theirs."""


class LinearFit(NamedTuple):
    """Coefficients of q columns.

    Attributes:
        coefficients: shape (q,), zero or more; zero for columns left out.
        left_out: columns that the kept ones before them explain, shape (q,).
        condition: condition number of the kept columns, each scaled to norm one.
        loss: sum of squared relative errors.
        draws: of coefficients, shape (R, q); empty where there are fewer than three settings.
    """

    coefficients: FloatArray
    left_out: NDArray[np.bool_]
    condition: float
    loss: float
    draws: FloatArray


def confounded(columns: FloatArray, order: tuple[int, ...]) -> NDArray[np.bool_]:
    """Columns (R, q) of norm one that those before them in `order` explain, shape (q,)."""
    left_out = np.zeros(columns.shape[1], dtype=bool)
    basis: list[FloatArray] = []
    for j in order:
        rest = columns[:, j].copy()
        for vector in (*basis, *basis):  # twice, against rounding
            rest -= vector * (vector @ rest)
        norm = float(np.linalg.norm(rest))
        if norm < ALIKE:
            left_out[j] = True
        else:
            basis.append(rest / norm)
    return left_out


def fit_linear(
    design: FloatArray,
    seconds: FloatArray,
    order: tuple[int, ...],
    replicates: int,
    level: float,
    rng: np.random.Generator,
) -> LinearFit:
    """Minimise sum ((t - X c) / t)^2 over c >= 0.

    Args:
        design: X, shape (R, q).
        seconds: t, shape (R,).
        order: in which columns claim what they share; later ones are left out.
        replicates: resamples of settings, widened where there are few (`few_units`).
        level: of the interval that they are for.
        rng: of the resamples.
    """
    from scipy.optimize import nnls

    scale = np.linalg.norm(design / seconds[:, None], axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    weighted = design / seconds[:, None] / scale
    left_out = confounded(weighted, order)
    kept = np.flatnonzero(~left_out)
    x = weighted[:, kept]
    found, rest = nnls(x, np.ones(len(x)))
    coefficients = np.zeros(design.shape[1])
    coefficients[kept] = found / scale[kept]

    _, setting = np.unique(design, axis=0, return_inverse=True)
    setting = setting.reshape(-1)
    count = int(setting.max()) + 1
    draws = np.zeros((replicates if count >= 3 else 0, design.shape[1]))
    if len(draws):
        augmented = np.column_stack([x, np.ones(len(x))])
        grams = np.zeros((count, augmented.shape[1] ** 2))
        np.add.at(
            grams, setting, (augmented[:, :, None] * augmented[:, None, :]).reshape(len(x), -1)
        )
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates) @ grams
        for row, gram in zip(
            draws, drawn.reshape(replicates, *[augmented.shape[1]] * 2), strict=True
        ):
            values, vectors = np.linalg.eigh(gram)  # as few rows as there are columns, same minimum
            root = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
            row[kept] = nnls(root[:, :-1], root[:, -1])[0] / scale[kept]
        draws = np.maximum(widened(draws, coefficients, count, len(kept), level), 0.0)
    return LinearFit(coefficients, left_out, float(np.linalg.cond(x)), float(rest**2), draws)
