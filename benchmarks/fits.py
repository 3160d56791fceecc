"""Refits of the laws and their likelihoods, against what a user would write with SciPy or mpmath."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import best_of, row, seconds
from scaling.core import registry
from scaling.core.special import log_scaled_beta_moment, trigamma
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
    return [
        *curve_refits(counts, weights),
        *count_refits(counts, weights),
        scaled_beta_likelihood(),
        scaled_beta_fit(),
        polygamma(),
    ]


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


def scaled_beta_counts() -> passk.UniqueCounts:
    """128 problems of 10,000 attempts, one pair (n, c) each but for chance."""
    rng = np.random.default_rng(2)
    rates = 0.07 * rng.beta(0.3, 4.0, PROBLEMS)
    return passk.unique_counts(np.full(PROBLEMS, ATTEMPTS), rng.binomial(ATTEMPTS, rates))


def scaled_beta_likelihood() -> Row:
    """The exact all-positive sum, against Gauss's hypergeometric function with 100 digits.

    E p^c (1-p)^(n-c) = s^c B(alpha+c, beta) / B(alpha, beta) 2F1(c-n, alpha+c; alpha+beta+c; s). The rival takes one
    problem after the other, as the published code does; ours the distinct counts, as the fit does.
    """
    import mpmath

    counts = scaled_beta_counts()
    c = np.repeat(counts.c, counts.multiplicity)
    alpha, beta, s = 0.28, 3.9, 0.066

    def exact(successes: int) -> mpmath.mpf:
        with mpmath.workdps(100):
            a, b, scale = mpmath.mpf(alpha), mpmath.mpf(beta), mpmath.mpf(s)
            ratio = mpmath.beta(a + successes, b) / mpmath.beta(a, b)
            series = mpmath.hyp2f1(successes - ATTEMPTS, a + successes, a + b + successes, scale)
            return mpmath.log(scale**successes * ratio * series)

    part = [int(x) for x in np.sort(c)[:: PROBLEMS // 8]]
    ours = log_scaled_beta_moment(alpha, beta, s, ATTEMPTS, part)
    worst = max(abs(float(exact(x)) - float(y)) for x, y in zip(part, ours, strict=True))
    ours_s, rival_s = best_of(
        lambda: counts.multiplicity @ log_scaled_beta_moment(alpha, beta, s, ATTEMPTS, counts.c),
        lambda: [exact(x) for x in part],
        repeats=3,
    )
    return row(
        f"scaled beta likelihood, {PROBLEMS} problems of {ATTEMPTS:,} attempts",
        ours_s,
        "mpmath hyp2f1, 100 digits",
        rival_s * PROBLEMS / len(part),
        bar=1000,
        note=f"{len(counts.c)} distinct counts; rival timed on {len(part)} problems and scaled; "
        f"largest difference {worst:.0e}",
    )


def scaled_beta_fit() -> Row:
    """A whole fit with 1,000 bootstrap replicates, against a SciPy loop over the same likelihood."""
    from types import SimpleNamespace

    from scipy.optimize import minimize
    from scipy.special import gammaln, xlog1py

    from scaling.data.evidence import Counts
    from scaling.fitting import fit

    law, counts = registry.law("scaled-beta-binomial"), scaled_beta_counts()
    c = np.repeat(counts.c, counts.multiplicity)
    names = np.arange(PROBLEMS).astype(str)
    evidence = Counts(
        by={}, task=np.full(PROBLEMS, "t"), problem=names, n=np.full(PROBLEMS, ATTEMPTS), c=c
    )
    sweep: Any = SimpleNamespace(
        groups=lambda *_, **__: (evidence,), provenance={"sha256": "", "format": "", "rows": 0}
    )
    start = fit_counts(law, counts).coordinates[0]
    rng = np.random.default_rng(3)
    weights = rng.multinomial(PROBLEMS, counts.multiplicity / PROBLEMS, size=4).astype(float)

    j = np.arange(ATTEMPTS + 1.0)
    factorial = gammaln(j + 1)

    def negative(u: FloatArray, w: FloatArray) -> float:
        # The sum over j of all-positive terms, from three tables of log-gammas and slices of them.
        alpha, beta, s = law.bound(u)
        easy, both = gammaln(beta + j), gammaln(alpha + beta + j)
        scale, rest = j * np.log(s), xlog1py(j, -s)
        total = 0.0
        for c, weight in zip(counts.c, w, strict=True):
            if weight:
                lost = ATTEMPTS - c
                up, down = slice(0, lost + 1), slice(lost, None, -1)
                terms = (
                    easy[up] - both[c:] - factorial[up] - factorial[down] + scale[up] + rest[down]
                )
                top = terms.max()
                whole = top + np.log(np.exp(terms - top).sum()) + factorial[lost]
                total += weight * (whole + c * np.log(s) + gammaln(alpha + c))
        fixed = gammaln(alpha + beta) - gammaln(alpha) - gammaln(beta)
        return -float(total + w.sum() * fixed)

    def loop() -> None:
        for w in weights:
            minimize(negative, start, args=(w,), method="L-BFGS-B")

    ours_s = best_of(lambda: fit(sweep, law.name, replicates=1000), repeats=2)[0]
    rival_s = best_of(loop, repeats=1)[0]
    return row(
        "scaled-beta-binomial, fit with 1,000 replicates",
        ours_s,
        "scipy L-BFGS-B loop over the sum, log-gamma tables",
        rival_s * 1000 / len(weights),
        bar=20,
        note=f"{len(counts.n)} distinct counts; rival timed on {len(weights)} replicates and scaled",
    )


def polygamma() -> Row:
    """Trigamma, which the Hessians need, at the sizes they need it."""
    from scipy.special import zeta

    x = np.random.default_rng(1).uniform(0.05, 10_000, (250, 120))
    ours_s, rival_s = best_of(lambda: trigamma(x), lambda: zeta(2, x), repeats=20)
    return row("trigamma of 30,000 numbers", ours_s, "scipy.special.zeta(2, x)", rival_s, bar=1)
