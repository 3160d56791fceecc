"""A synthetic sweep: three levels of difficulty, two models, many attempts.

Rates of success follow published coverage laws (Brown et al., "Large Language Monkeys",
arXiv:2407.21787, Fig. 5): `log coverage(k) = a k^b` with

    easy   MATH          Llama-3-8B-Instruct (-1.33, -0.43)   Llama-3-70B-Instruct (-0.75, -0.46)
    hard   CodeContests  Llama-3-8B-Instruct (-3.88, -0.11)   Llama-3-70B-Instruct (-2.52, -0.11)
    medium the easy curve shifted along the axis of samples by a factor of 4, `a' = a 4^|b|`:
           within a family such curves overlay (section 3.2 of the paper)

A problem's rate is drawn from Beta(alpha, beta) with `alpha = |b|`, the exponent that governs the
tail of failures (Schaeffer et al., arXiv:2502.17578), and the mean `exp(a)`, the law's value at one
sample. One latent difficulty ties the two models together (Gaussian copula, correlation 0.9).
Lengths of answers are lognormal; their means are assumed, not published.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from scaling.data.duck import connect, name, text
from scaling.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

PROBLEMS = 200
ATTEMPTS = 64
CORRELATION = 0.9
SPREAD = 0.5
"""Standard deviation of the logarithm of an answer's length."""

_SHIFT = 4.0
LAW = {
    ("easy", "small-synthetic"): (-1.33, -0.43),
    ("easy", "large-synthetic"): (-0.75, -0.46),
    ("medium", "small-synthetic"): (-1.33 * _SHIFT**0.43, -0.43),
    ("medium", "large-synthetic"): (-0.75 * _SHIFT**0.46, -0.46),
    ("hard", "small-synthetic"): (-3.88, -0.11),
    ("hard", "large-synthetic"): (-2.52, -0.11),
}
"""(a, b) of `log coverage(k) = a k^b`, by level and model."""

TOKENS = {
    ("easy", "small-synthetic"): 250.0,
    ("easy", "large-synthetic"): 750.0,
    ("medium", "small-synthetic"): 500.0,
    ("medium", "large-synthetic"): 1500.0,
    ("hard", "small-synthetic"): 1000.0,
    ("hard", "large-synthetic"): 3000.0,
}
"""Mean tokens of an answer, assumed: the large model thinks three times as long."""


def levels(seed: int = 0) -> dict[str, NDArray[Any]]:
    """Attempt rows: 3 levels x 200 problems x 2 models x 64 attempts.

    Args:
        seed: of the generator; the same seed gives the same rows.

    Returns:
        Columns `task, model, problem, level, attempt, correct, output_tokens`, each of shape
        (76800,).
    """
    from scipy.special import betaincinv, ndtr

    rng = np.random.default_rng(seed)
    columns: dict[str, list[NDArray[Any]]] = {c: [] for c in _COLUMNS}
    shape = (PROBLEMS, ATTEMPTS)
    latent: dict[str, NDArray[np.float64]] = {}
    for (level, model), (a, b) in LAW.items():
        if level not in latent:
            latent[level] = rng.standard_normal(PROBLEMS)
        own = rng.standard_normal(PROBLEMS)
        ease = CORRELATION * latent[level] + np.sqrt(1 - CORRELATION**2) * own
        rate = betaincinv(-b, -b * np.expm1(-a), ndtr(ease))
        correct = rng.random(shape) < rate[:, None]
        location = np.log(TOKENS[level, model]) - SPREAD**2 / 2
        tokens = np.maximum(np.rint(rng.lognormal(location, SPREAD, shape)), 1)
        names = np.array([f"{level}-{index:03d}" for index in range(PROBLEMS)])
        columns["task"].append(np.full(correct.size, "synthetic"))
        columns["model"].append(np.full(correct.size, model))
        columns["problem"].append(np.repeat(names, ATTEMPTS))
        columns["level"].append(np.full(correct.size, level))
        columns["attempt"].append(np.tile(np.arange(ATTEMPTS), PROBLEMS))
        columns["correct"].append(correct.astype(np.int64).ravel())
        columns["output_tokens"].append(tokens.astype(np.int64).ravel())
    return {column: np.concatenate(parts) for column, parts in columns.items()}


_COLUMNS = ("task", "model", "problem", "level", "attempt", "correct", "output_tokens")


def write(path: str | Path, seed: int = 0) -> Path:
    """Writes `levels(seed)` to a CSV (".csv", ".csv.gz") or Parquet (".parquet") file.

    Raises:
        InputError: for another ending, and where the file cannot be written; nothing is left
            behind.
    """
    from pathlib import Path

    import duckdb

    target = Path(path)
    forms = {
        ".csv": "FORMAT csv, HEADER true",
        ".gz": "FORMAT csv, HEADER true, COMPRESSION gzip",
        ".parquet": "FORMAT parquet",
    }
    form = forms.get(target.suffix)
    if form is None:
        raise InputError(f"{target}: written as .csv, .csv.gz or .parquet; choose one of these.")
    partial = target.with_name(f".{target.name}.partial")
    columns = {c: v.astype(object) if v.dtype.kind == "U" else v for c, v in levels(seed).items()}
    with connect() as con:
        try:
            con.register("rows", columns)
            chosen = ", ".join(map(name, _COLUMNS))
            con.execute(f"COPY (SELECT {chosen} FROM rows) TO {text(str(partial))} ({form})")
            partial.replace(target)
        except (duckdb.Error, OSError) as error:
            partial.unlink(missing_ok=True)
            raise InputError(
                f"{target}: cannot be written ({str(error).splitlines()[0]}). Choose a folder that "
                "exists and is writable."
            ) from None
    return target
