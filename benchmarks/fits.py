"""Ten thousand refits of each law, against the loop over SciPy that a user would write."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import best_of, row, seconds
from scaling.core import registry
from scaling.core.special import trigamma
from scaling.fitting import passk
from scaling.fitting.least_squares import least_squares
from scaling.fitting.likelihood import CountLikelihood, fit_counts, maximise

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.harness import Row

FloatArray = NDArray[np.float64]

REPLICATES = 10_000
PROBLEMS, ATTEMPTS = 128, 10_000


def measure() -> list[Row]:
    rng = np.random.default_rng(0)
    c = rng.binomial(ATTEMPTS, rng.beta(0.3, 12.0, PROBLEMS))
    counts = passk.unique_counts(np.full(PROBLEMS, ATTEMPTS), c)
    weights = rng.multinomial(PROBLEMS, counts.multiplicity / PROBLEMS, size=REPLICATES).astype(
        float
    )
    return [*curve_refits(counts, weights), *count_refits(counts, weights), polygamma()]


def curve_refits(counts: passk.UniqueCounts, weights: FloatArray) -> list[Row]:
    """The exponentiated power law on resampled coverage curves of 19 points."""
    law = registry.law("exponentiated-power")
    k = passk.log_grid(ATTEMPTS).astype(float)
    curves = passk.curve(counts, k, weights / PROBLEMS)
    start = law.guess["curve"]([k], curves.mean(axis=0))[0]
    rows = []
    for name, model, link in (
        ("logcov", lambda k, a, b: a * k**b, np.log),
        ("cov", lambda k, a, b: np.exp(a * k**b), np.asarray),
    ):
        targets = link(curves)
        compile_s = seconds(partial(law.linked, law.objective(name)))
        linked = law.linked(law.objective(name))
        ours_s, rival_s = best_of(
            partial(least_squares, linked, [k], targets, law.free(start)),
            partial(_loop, model, k, targets[:1000], start),
            repeats=3,
        )
        note = f"rival timed on 1,000 and scaled; formula to code once: {compile_s:.3f} s"
        job = f"exponentiated-power {name}, {REPLICATES:,} refits"
        rows.append(
            row(job, ours_s, "scipy curve_fit loop", rival_s * REPLICATES / 1000, bar=25, note=note)
        )
    return rows


def _loop(
    model: Callable[..., FloatArray], k: FloatArray, targets: FloatArray, start: FloatArray
) -> None:
    from scipy.optimize import curve_fit

    for y in targets:
        curve_fit(model, k, y, p0=start)


def count_refits(counts: passk.UniqueCounts, weights: FloatArray) -> list[Row]:
    """The beta-binomial on resampled counts, against BFGS with the analytic gradient."""
    from scipy.optimize import minimize
    from scipy.special import betaln, psi

    law = registry.law("beta-binomial")
    start = fit_counts(law, counts).coordinates[0]
    likelihood = CountLikelihood(law, counts)
    n, c = float(ATTEMPTS), counts.c.astype(float)

    def negative(u: FloatArray, w: FloatArray) -> tuple[float, FloatArray]:
        a, b = np.exp(u)
        value = w @ (betaln(a + c, b + n - c) - betaln(a, b))
        both = psi(a + b) - psi(a + b + n)
        slope = np.array(
            [w @ (psi(a + c) - psi(a) + both) * a, w @ (psi(b + n - c) - psi(b) + both) * b]
        )
        return -float(value), -slope

    def loop() -> None:
        for w in weights[:200]:
            minimize(negative, start, args=(w,), jac=True, method="BFGS")

    ours_s, rival_s = best_of(lambda: maximise(likelihood, weights, start), loop, repeats=2)
    return [
        row(
            f"beta-binomial, {REPLICATES:,} refits",
            ours_s,
            "scipy BFGS, analytic gradient",
            rival_s * REPLICATES / 200,
            bar=3,
            note=f"{len(counts.n)} distinct counts; rival timed on 200 and scaled",
        )
    ]


def polygamma() -> Row:
    """Trigamma, which the Hessians need, at the sizes they need it."""
    from scipy.special import zeta

    x = np.random.default_rng(1).uniform(0.05, 10_000, (250, 120))
    ours_s, rival_s = best_of(lambda: trigamma(x), lambda: zeta(2, x), repeats=20)
    return row("trigamma of 30,000 numbers", ours_s, "scipy.special.zeta(2, x)", rival_s, bar=1)
