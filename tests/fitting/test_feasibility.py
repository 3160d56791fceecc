"""Which curves are coverage curves, and fits that are held to be one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import mpmath
import numpy as np
import pytest

import scaling
from scaling.core import registry
from scaling.errors import InputError, NotUsableError, UsageError
from scaling.fitting import passk
from scaling.fitting.feasibility import (
    check_feasible,
    concave_from,
    constrained_fit,
    doubling,
    exact_curve,
    solve_feasible,
)
from scaling.fitting.objectives import solve_curve
from scaling.fitting.plan import Plan
from scaling.fitting.result import IntervalSpec

LAW = registry.law("exponentiated-power")
PUBLISHED = json.loads(
    (Path(__file__).parent.parent / "golden" / "brown2024_figure5.json").read_text()
)["rows"]
GEMMA = (-2.45, -0.38)  # Gemma-2B on MATH, Brown et al. (2024), figure 5


def population(alpha, beta):
    """Coverage of success rates from Beta(alpha, beta), exact."""

    def coverage(k):
        a, b = mpmath.mpf(alpha), mpmath.mpf(beta)
        return 1 - mpmath.beta(a, b + k) / mpmath.beta(a, b)

    return coverage


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda r: f"{r['task']} {r['model']}")
def test_published_fits(row):
    found = check_feasible(exact_curve(LAW, [float(row["a"]), float(row["b"])]))
    assert found.level == ("doubling" if row["task"] == "MATH" else None)
    assert found.feasible is (row["task"] != "MATH")


def test_a_fit_that_passes_the_doubling_inequality_fails_at_order_four():
    assert doubling(*GEMMA) == pytest.approx(0.567, abs=5e-4)
    found = check_feasible(exact_curve(LAW, GEMMA))
    assert (found.level, found.k, found.order) == ("order 4", 0, 10)
    assert found.amount == pytest.approx(0.0068, abs=5e-5)
    r = 1 - np.concatenate(([0.0], np.exp(GEMMA[0] * np.arange(1, 5.0) ** GEMMA[1])))
    assert found.amount == pytest.approx(-(r @ [1, -4, 6, -4, 1]))
    assert "order 4" in found.message
    assert "0.00678" in found.message
    assert check_feasible(exact_curve(LAW, GEMMA), order=3).feasible


def test_an_order_that_float64_cannot_see():
    # Llama-3-8B-Instruct on MATH fails at order 31, where differences of float64 values are noise.
    theta = np.array([-1.33, -0.43])
    assert check_feasible(exact_curve(LAW, theta), order=30).feasible
    found = check_feasible(exact_curve(LAW, theta), order=40)
    assert (found.level, found.k) == ("order 31", 0)
    values = LAW.value(theta, {"samples": np.arange(1, 65)})
    assert check_feasible(values, order=40).feasible


@pytest.mark.parametrize("shape", [(0.3, 12.0), (0.05, 0.2), (3.0, 1.0), (2.0, 500.0)])
def test_populations_never_fail(shape):
    assert check_feasible(population(*shape), order=60).feasible
    values = np.array([float(population(*shape)(k)) for k in range(1, 65)])
    assert check_feasible(values, order=30).feasible  # rounding is no failure


def test_unbiased_pass_at_k_never_fails():
    rng = np.random.default_rng(0)
    c = rng.binomial(30, rng.beta(0.3, 3, 40))
    assert check_feasible(passk.coverage(np.full(40, 30), c, np.arange(1, 31)), order=30).feasible


@pytest.mark.parametrize(
    ("values", "level", "k", "amount"),
    [
        ([0.3, 0.4, 0.35], "increasing", 2, 0.05),
        ([0.1, 0.25, 0.3], "doubling", 0, 0.05),
        ([0.2, 0.3, 0.5], "concave", 1, 0.1),
        ([0.4, 0.7, 0.8], "order 3", 0, 0.1),
    ],
)
def test_levels_and_amounts(values, level, k, amount):
    found = check_feasible(values)
    assert (found.feasible, found.level, found.k) == (False, level, k)
    assert found.amount == pytest.approx(amount)


def test_errors_of_the_values_are_no_failure():
    noisy = np.array([0.1, 0.203, 0.28])
    assert check_feasible(noisy).level == "doubling"
    assert check_feasible(noisy, tolerance=0.005).feasible


@pytest.mark.parametrize(
    ("values", "word"),
    [([0.2], "two"), ([[0.2, 0.3]], "shape"), ([0.2, np.nan], "k = 2"), ([1.2, 0.3], "k = 1")],
)
def test_no_curve_is_refused(values, word):
    with pytest.raises(InputError, match=word):
        check_feasible(values)


def test_wrong_options_are_refused():
    for wrong in ({"order": 0}, {"largest": 1}, {"tolerance": np.nan}):
        with pytest.raises(UsageError, match="order"):
            check_feasible([0.1, 0.2], **wrong)


def test_laws_without_an_exact_form_are_evaluated_in_float64():
    curve = exact_curve(registry.law("beta-binomial"), [0.3, 12.0])
    assert isinstance(curve(3), float)
    assert check_feasible(curve, order=20).feasible


def test_closed_forms():
    assert doubling(-7.59, -0.18) == pytest.approx(0.890, abs=5e-4)
    assert doubling(-3.92, -0.35) == pytest.approx(0.844, abs=5e-4)
    assert concave_from(-7.59, -0.18) == pytest.approx(2.26, abs=5e-3)
    assert concave_from(-3.92, -0.35) == pytest.approx(1.05, abs=5e-3)
    rng = np.random.default_rng(1)
    a, b = -np.exp(rng.uniform(-2, 3, 200)), -np.exp(rng.uniform(-3, 1, 200))
    c1, c2 = np.exp(a), np.exp(a * 2**b)
    np.testing.assert_array_equal(doubling(a, b) <= np.log(2), c2 <= 2 * c1)

    def curvature(k):
        h = 1e-3 * k
        return sum(w * np.exp(a * (k + d * h) ** b) for w, d in ((1, -1), (-2, 0), (1, 1)))

    k = concave_from(a, b)
    seen = np.exp(a * k**b) > 1e-200  # the curve is above 0 in float64
    assert seen.sum() > 100
    assert (curvature(1.2 * k)[seen] < 0).all()
    assert (curvature(0.8 * k)[seen] > 0).all()
    # for this law, doubling is concavity on whole numbers
    assert (k[doubling(a, b) <= np.log(2)] <= 1).all()


def shares(seed, problems=40, largest=50):
    """A coverage curve of few problems, of one of three kinds, at log-spaced k."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        p = rng.beta(*np.exp(rng.normal([-0.5, 1.5], 1.0)), problems)
    elif seed % 3 == 1:
        low = 10 ** -rng.uniform(2, 4) * rng.random(problems)
        p = np.where(rng.random(problems) < 0.5, rng.beta(20, rng.uniform(2, 20), problems), low)
    else:
        p = 10 ** -rng.uniform(0.5, 3) * np.exp(rng.normal(0, 0.1, problems))
    k = passk.log_grid(largest).astype(float)
    return k, np.mean(1 - (1 - np.clip(p, 1e-6, 0.5)[:, None]) ** k, axis=0)


def brute(k, c, objective):
    """Smallest loss on a fine grid of feasible (a, b)."""
    b = -np.geomspace(2e-3, 8, 500)[:, None, None]
    most = np.log(2) / (1 - 2**b)
    a = -np.minimum(most, np.geomspace(0.02, 60, 600)[None, :, None])
    log_c = (a * k**b).astype(float)
    if objective == "cov":
        residual = np.exp(log_c) - c
    elif objective == "logcov":
        residual = log_c - np.log(c)
    else:
        residual = np.log(-log_c) - np.log(-np.log(c))
    return np.einsum("abk,abk->ab", residual, residual).min()


@pytest.mark.parametrize("objective", ["logcov", "cov", "loglog"])
def test_no_feasible_curve_is_nearer(objective):
    bound = 0
    for seed in range(6):
        k, c = shares(seed)
        found = constrained_fit(k, c, objective)
        assert doubling(found.a, found.b)[0] <= np.log(2)
        best = brute(k, c, objective)
        assert found.loss[0] <= best * (1 + 1e-9)
        assert found.loss[0] > 0.8 * best  # and the brute force did come near
        bound += int(found.bound[0])
    assert 0 < bound < 6


def test_a_feasible_optimum_is_left_as_it_is():
    k, c = shares(1)
    plan = Plan(LAW, LAW.objective("cov"), 20, IntervalSpec("none", 0.95, 0, 0), lambda _: None)
    free, held = solve_curve(plan, [k], c[None]), solve_feasible(plan, [k], c[None])
    assert doubling(*LAW.bound(free.coordinates)[0]) < np.log(2)
    for x, y in zip(free, held, strict=True):
        np.testing.assert_array_equal(x, y)


def test_many_curves_at_once_are_each_fitted():
    k, _ = shares(0)
    curves = np.stack([shares(seed)[1] for seed in range(9)])
    together = constrained_fit(k, curves)
    for row, curve in enumerate(curves):
        alone = constrained_fit(k, curve)
        np.testing.assert_allclose(
            [together.a[row], together.b[row], together.loss[row]],
            [alone.a[0], alone.b[0], alone.loss[0]],
            rtol=1e-5,
            atol=1e-12,
        )
    assert together.bound.any()
    assert not together.bound.all()


def test_homogeneous_problems_meet_the_boundary():
    # One success rate for all: coverage is nearly proportional to k, the most that the inequality allows.
    k = passk.log_grid(30).astype(float)
    found = constrained_fit(k, -np.expm1(k * np.log1p(-1e-4)))
    assert found.bound[0]
    assert doubling(found.a, found.b)[0] <= np.log(2)
    assert not LAW.flagged([found.a[0], found.b[0]])
    fitted = LAW.value([found.a[0], found.b[0]], {"samples": [1, 2]})
    assert fitted[1] == pytest.approx(2 * fitted[0], rel=1e-9)


@pytest.mark.parametrize(
    ("k", "c", "word"),
    [
        ([1, 2, 3], [0.1, 0.2], "shape"),
        ([1, 1, 3], [0.1, 0.2, 0.3], "different"),
        ([0, 1, 3], [0.1, 0.2, 0.3], "from 1"),
        ([1, 2, 3], [0.0, 0.2, 0.3], "row 0"),
        ([1, 2, 3], [[0.1, 0.2, 0.3], [0.1, 0.2, 1.3]], "row 1"),
        ([1, 2, 3], [0.1, np.nan, 0.3], "row 0"),
        ([1], [0.1], "1 point"),
    ],
)
def test_what_cannot_be_fitted_is_refused(k, c, word):
    with pytest.raises(InputError, match=word):
        constrained_fit(k, c)


def test_other_laws_and_objectives_are_refused():
    with pytest.raises(UsageError, match="logcov, cov, loglog"):
        constrained_fit([1, 2, 3], [0.1, 0.2, 0.3], "likelihood")
    law = replace(LAW, name="other")
    plan = Plan(law, LAW.objective("cov"), 20, IntervalSpec("none", 0.95, 0, 0), lambda _: None)
    with pytest.raises(UsageError, match="other"):
        solve_feasible(plan, [np.array([1.0, 2.0])], np.array([[0.1, 0.2]]))


def test_a_fit_that_does_not_settle_is_refused(monkeypatch):
    import scaling.fitting.feasibility as module

    def unsettled(*arguments):
        found = solve_curve(*arguments)
        return found._replace(converged=np.zeros_like(found.converged))

    monkeypatch.setattr(module, "solve_feasible", unsettled)
    with pytest.raises(NotUsableError, match="row 0"):
        constrained_fit([1, 2, 3], [0.1, 0.15, 0.2])


@pytest.mark.reference
def test_infeasible_fits_are_allocated_through_their_envelope(monkeys):
    fit = scaling.fit(
        monkeys["MATH"],
        "exponentiated-power",
        by=[],
        where={"model": "Pythia 70M"},
        interval="none",
    )
    (group,) = fit.groups
    assert "infeasible-curve" in [c.code for c in group.cautions]
    menu = fit.menu(skip=True)
    assert menu.value[1] > 2 * menu.value[0]
    found = scaling.allocate(fit, budget=2, unit="samples", allow_skip=True, split=True)
    # the best value per sample is at six; two samples a query are six for a third of the queries
    chord = menu.value[5] * 2 / 6
    assert np.argmax(menu.value / menu.cost["samples"]) == 5
    assert menu.value[1] < chord
    assert found.value == pytest.approx(chord, rel=1e-12)
    assert found.bound == pytest.approx(chord, rel=1e-12)
    assert found.price == pytest.approx(menu.value[5] / 6, rel=1e-12)


@pytest.mark.reference
@pytest.mark.parametrize("objective", ["logcov", "cov", "loglog"])
def test_constrained_fits_of_real_curves(monkeys, objective):
    free = scaling.fit(monkeys["MATH"], "exponentiated-power", objective=objective, interval="none")
    for group in free.groups:
        problems = group.problems
        k = passk.log_grid(10_000)
        found = constrained_fit(k, passk.coverage(problems.n, problems.c, k), objective)
        assert found.bound[0]
        assert found.loss[0] > group.fit["loss"]
        assert not LAW.flagged([found.a[0], found.b[0]])


@pytest.mark.parametrize(("b", "order"), [(-0.38, "order 4"), (-0.11, None)])
def test_a_fit_names_the_order_at_which_its_curve_fails(b, order):
    # Brown et al. (2024), figure 5: Gemma-2B on MATH has a = -2.45, b = -.38, which fails at order 4.
    import pandas as pd

    k = np.arange(1, 65)
    table = pd.DataFrame({"samples": k, "coverage": np.exp(-2.45 * k**b)})
    curve = scaling.read(table, rename={"coverage": "accuracy"})
    (group,) = scaling.fit(curve, "exponentiated-power", interval="none").groups
    said = [c.message for c in group.cautions if c.code == "infeasible-order"]
    assert len(said) == (order is not None)
    assert order is None or order in said[0]


@pytest.mark.reference
def test_the_preset_is_the_constrained_fit(monkeys):
    sweep = monkeys["MATH"]
    fitted = scaling.fit(sweep, "exponentiated-power", preset="feasible", replicates=100)
    for group in fitted.groups:
        problems = group.problems
        k = passk.log_grid(10_000)
        found = constrained_fit(k, passk.coverage(problems.n, problems.c, k))
        assert group.params["a"].estimate == pytest.approx(found.a[0], rel=1e-9)
        assert group.params["b"].estimate == pytest.approx(found.b[0], rel=1e-9)
        codes = {c.code for c in group.cautions}
        assert "at-bound" in codes
        assert "infeasible-curve" not in codes
        assert np.all(doubling(*group.draws.T) <= np.log(2))
    assert scaling.FitResult.from_json(fitted.to_json()).preset == "feasible"
