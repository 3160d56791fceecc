"""What the core derives from a declaration."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import sympy as sp

from scaling.core import registry
from scaling.core.law import Input, Law, Output, Param, Reference
from scaling.core.support import NEGATIVE, POSITIVE, REAL, UNIT, Support
from scaling.errors import UsageError
from scaling.testing import check_law

EPL = registry.law("exponentiated-power")
BB = registry.law("beta-binomial")


def declared(expression, **changes):
    k = Input("k", "samples", "attempts")
    p = Param("p", UNIT, "rate", typical=(0.1, 0.5))
    fields = {
        "name": "trial",
        "meaning": "for tests",
        "inputs": (k,),
        "params": (p,),
        "output": Output("coverage", "share solved", (0.0, 1.0)),
        "expression": expression(k.sym, p.sym),
        "objectives": ("cov",),
        "guess": {"curve": lambda _, __: np.array([[0.3]])},
        "claims": ("increasing", "concave", "bounded"),
        "references": (Reference("a test", "here"),),
    }
    return Law(**(fields | changes))


def test_an_unknown_function_is_refused_when_the_law_is_declared():
    with pytest.raises(UsageError, match=r"uses the function 'erf'.*known are.*FUNCTIONS"):
        declared(lambda k, p: sp.erf(p * k))


def test_a_new_law_gets_value_gradient_inverse_and_marginal():
    law = declared(lambda k, p: 1 - (1 - p) ** k)
    k = np.array([1.0, 2.0, 5.0])
    np.testing.assert_allclose(law.value([0.25], {"samples": k}), 1 - 0.75**k, rtol=1e-14)
    np.testing.assert_allclose(
        law.gradient([0.25], {"samples": k})[:, 0], k * 0.75 ** (k - 1), rtol=1e-12
    )
    np.testing.assert_allclose(
        law.marginal([0.25], {"samples": k}, "samples"), 0.25 * 0.75**k, rtol=1e-12
    )
    assert law.inverse([0.25], 0.5) == 3  # 1 - .75^3 = .578, 1 - .75^2 = .4375
    # TTSPM: smallest N with F p (1-p)^N <= eps is ceil(ln(eps/p) / ln(1-p)) (arXiv 2505.20522).
    for p, eps in [(0.25, 0.01), (0.05, 1e-3), (0.9, 1e-4)]:
        assert law.saturation([p], eps) == np.ceil(np.log(eps / p) / np.log1p(-p))


def test_claims_that_do_not_hold_are_found():
    falling = declared(lambda k, p: p / k)
    with pytest.raises(AssertionError, match="falls in samples"):
        check_law(falling)


def test_a_reference_without_a_place_is_found():
    law = declared(
        lambda k, p: 1 - (1 - p) ** k, references=(Reference("a paper", ""),), objectives=()
    )
    with pytest.raises(AssertionError, match="say where"):
        check_law(law)


def test_latex_is_in_textbook_functions():
    assert EPL.latex() == r"\mathrm{coverage}(k) = e^{a k^{b}}"
    assert r"\Gamma" in BB.latex()
    assert "expm" not in BB.latex()


def test_inverse_at_the_edges():
    assert EPL.inverse([-1.0, -0.5], np.exp(-1.0)) == 1
    assert BB.inverse([0.3, 12.0], 1 - 1e-300) == np.inf
    several = EPL.inverse([[-3.9, -0.35], [-7.0, -0.2]], 0.5)
    assert several.shape == (2,)
    for theta, k in zip([[-3.9, -0.35], [-7.0, -0.2]], several, strict=True):
        np.testing.assert_array_less(EPL.value(theta, {"samples": [k - 1]}), 0.5)
        assert EPL.value(theta, {"samples": [k]})[0] >= 0.5


def test_saturation_of_a_curve_that_starts_convex():
    theta = [-7.6, -0.18]
    k = np.arange(1, 5_000)
    gains = EPL.marginal(theta, {"samples": k}, "samples")
    expected = k[gains > 1e-4].max() + 1
    assert EPL.saturation(theta, 1e-4) == expected
    with pytest.raises(UsageError, match="above 0"):
        EPL.saturation(theta, 0.0)


def test_inputs_are_named_when_wrong():
    with pytest.raises(UsageError, match=r"no input 'sample'.*Did you mean 'samples'"):
        EPL.value([-1, -0.5], {"sample": [1]})
    with pytest.raises(UsageError, match="needs a value of 'samples'"):
        EPL.value([-1, -0.5], {})


def test_objectives_and_presets_are_named_when_wrong():
    with pytest.raises(UsageError, match="accepts logcov, cov, loglog"):
        EPL.objective("likelihood")
    with pytest.raises(UsageError, match="Did you mean 'brown2024'"):
        EPL.preset("brown2023")
    with pytest.raises(UsageError, match="Did you mean 'beta-binomial'"):
        registry.law("beta-binomal")


def test_flags_of_published_fits():
    # Brown et al. (2024), figure 5: Pythia-70M and -12B on MATH; Llama-3-8B-Instruct on CodeContests.
    assert [f.code for f in EPL.flagged([-7.59, -0.18])] == ["infeasible-curve"]
    assert [f.code for f in EPL.flagged([-3.92, -0.35])] == ["infeasible-curve"]
    assert EPL.flagged([-3.88, -0.11]) == []


@pytest.mark.parametrize("support", [REAL, POSITIVE, NEGATIVE, UNIT, Support(2.0, 5.0)])
def test_support_maps_both_ways(support):
    u = np.linspace(-4, 4, 9)
    x = support.bound(u)
    assert all(support.contains(float(v)) for v in x)
    np.testing.assert_allclose(support.free(x), u, atol=1e-12)
    symbol = sp.Symbol("u", real=True)
    np.testing.assert_allclose(
        [float(support.expression(symbol).subs(symbol, v)) for v in u], x, rtol=1e-12
    )


def test_beta_binomial_is_stable_at_the_homogeneous_limit():
    # alpha = 1e8: all problems have one rate, and coverage is 1 - (1-p)^k.
    k = np.array([1.0, 10.0, 1000.0])
    value = BB.value([1e8, 9e8], {"samples": k})
    np.testing.assert_allclose(value, -np.expm1(k * np.log1p(-0.1)), rtol=1e-4)


def test_jax_gives_float64_in_a_process_with_x64_off():
    code = """
import numpy as np, jax
from scaling.core import registry
from scaling.testing import gradients_agree
law = registry.law("beta-binomial")
assert law.value([0.3, 12.0], {"samples": [1.0]}).dtype == np.float64
gradients_agree(law, np.random.default_rng(0))
assert not jax.config.jax_enable_x64
assert jax.numpy.ones(1).dtype == jax.numpy.float32
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_laws_imports_none():
    code = (
        "import sys; from scaling.core import registry; assert 'beta-binomial' in registry.law_names();"
        "registry.families(); assert 'sympy' not in sys.modules and 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_targets_far_out_keep_their_digits():
    # 1 - B(a, b+k)/B(a, b) with mpmath at 50 digits: .85730 at k = 1e15 for a = .065037, b = 100.078447.
    theta = [0.0650369512, 100.078447]
    value = BB.value(theta, {"samples": [1e13, 1e14, 1e15]})
    assert value[2] == pytest.approx(0.85730, abs=2e-5)
    assert (np.diff(value) > 0).all()
    k = float(BB.saturation([0.2955, 12.36], 1e-10))
    gains = BB.marginal([0.2955, 12.36], {"samples": [k - 1, k]}, "samples")
    assert gains[1] <= 1e-10 < gains[0] * (1 + 1e-6)


def test_saturation_where_no_step_is_worth_it():
    assert EPL.saturation([-20.0, -0.3], 0.9) == 1
