"""Contract checks that laws, closed forms and cost options must pass, usable on your own.

    from scaling.testing import check_allocator, check_cost, check_law
    check_law(my_law)
    check_allocator(my_closed_form)
    check_cost(my_costs)

Each check is a function of a law and a random generator, of a closed form, or of a cost option; it
raises `AssertionError` saying what failed. `LAW_CHECKS`, `ALLOCATOR_CHECKS` and `COST_CHECKS` list
them, for a test that is parametrised over members and checks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scaling.allocators import allocate
from scaling.allocators.closed_forms import ClosedForm, Optimum
from scaling.core.law import Law
from scaling.costs.per_sample import SampleCosts
from scaling.curves import RESOURCES
from scaling.data.evidence import Counts, Evidence, Points, Runtimes

FloatArray = NDArray[np.float64]
Check = Callable[[Law, np.random.Generator], None]

DRAWS = 50
POINTS = 30


def random_params(law: Law, rng: np.random.Generator, size: int = DRAWS) -> FloatArray:
    """Parameters from the declared typical ranges, evenly in free coordinates, shape (size, p)."""
    columns = []
    for p in law.params:
        low, high = (float(p.support.free(x)) for x in p.typical)
        columns.append(p.support.bound(rng.uniform(min(low, high), max(low, high), size)))
    return np.stack(columns, axis=-1)


def grid(law: Law, points: int = POINTS) -> dict[str, FloatArray]:
    """Values of the inputs over their declared grids, all rising together."""
    return {i.column: np.geomspace(*i.grid, points) for i in law.inputs}


def value_is_finite_and_in_range(law: Law, rng: np.random.Generator) -> None:
    """On the grid, for random parameters."""
    value = law.value(random_params(law, rng), grid(law))
    assert np.isfinite(value).all(), "the law is not finite everywhere on its grid"
    low, high = law.output.range
    assert (value >= low - 1e-12).all(), f"the law falls below {low}: {value.min()}"
    assert (value <= high + 1e-12).all(), f"the law exceeds {high}: {value.max()}"


def gradients_agree(law: Law, rng: np.random.Generator) -> None:
    """The symbolic gradient equals that of JAX and central differences."""
    import jax

    inputs = grid(law, 7)
    columns = law.columns(inputs)
    for theta in random_params(law, rng, 5):
        symbolic = law.gradient(theta, inputs)
        with jax.enable_x64(True):
            by_jax = np.asarray(jax.jacfwd(law.jax_value())(theta, *columns))
        np.testing.assert_allclose(symbolic, by_jax, rtol=1e-7, atol=1e-10)
        for i in range(len(theta)):
            step = np.zeros_like(theta)
            step[i] = 1e-4 * abs(theta[i])
            difference = (law.value(theta + step, inputs) - law.value(theta - step, inputs)) / (
                2 * step[i]
            )
            np.testing.assert_allclose(symbolic[:, i], difference, rtol=1e-4, atol=1e-7)


def claims_hold(law: Law, rng: np.random.Generator) -> None:
    """Increasing, concave and bounded mean what they say, in every input."""
    params = random_params(law, rng)
    for chosen in law.inputs:
        whole = np.unique(np.round(np.geomspace(*chosen.grid, POINTS)))
        middle = {
            i.column: np.full(len(whole), float(np.sqrt(i.grid[0] * i.grid[1]))) for i in law.inputs
        }
        inputs = middle | {chosen.column: whole}
        first = law.marginal(params, inputs, chosen.column)
        if "increasing" in law.claims:
            assert (first >= -1e-12).all(), f"the law falls in {chosen.column}"
        if "concave" in law.claims:
            later = law.marginal(params, inputs | {chosen.column: whole + 1}, chosen.column)
            assert (later <= first + 1e-12).all(), f"the law is not concave in {chosen.column}"
    if "bounded" in law.claims:
        assert np.isfinite(law.output.range).all(), "a bounded law needs a finite range"


def guess_is_inside(law: Law, rng: np.random.Generator) -> None:
    """Starting points lie strictly inside the support, also on poor data."""
    starts = []
    if "curve" in law.guess:
        inputs = grid(law)
        curves = [law.value(t, inputs) for t in random_params(law, rng, 5)]
        low, high = law.output.range
        curves += [np.full(POINTS, low), np.full(POINTS, high), np.full(POINTS, (low + high) / 2)]
        starts += [law.guess["curve"](law.columns(inputs), c) for c in curves]
    if "counts" in law.guess:
        n, ones = np.full(3, 10.0), np.ones(3)
        starts += [
            law.guess["counts"](n, np.array(c), ones)
            for c in ([0.0, 0, 0], [10.0, 10, 10], [0.0, 5, 9])
        ]
    for rows in starts:
        for row in np.atleast_2d(rows):
            for p, x in zip(law.params, row, strict=True):
                assert p.support.contains(float(x)), (
                    f"the guess {p.symbol} = {x} is not inside {p.support}"
                )


def coordinates_round_trip(law: Law, rng: np.random.Generator) -> None:
    """Free coordinates lead back to the parameters."""
    params = random_params(law, rng)
    np.testing.assert_allclose(law.bound(law.free(params)), params, rtol=1e-12)


def inverse_is_smallest(law: Law, rng: np.random.Generator) -> None:
    """The budget for a target reaches it, and one less does not."""
    if len(law.inputs) != 1 or "increasing" not in law.claims:
        return
    name = law.inputs[0].column
    for theta in random_params(law, rng, 10):
        target = float(law.value(theta, {name: [37.0]})[0])
        found = float(law.inverse(theta, target * (1 - 1e-9)))
        assert law.value(theta, {name: [found]})[0] >= target * (1 - 1e-9), (
            "the budget misses its target"
        )
        if found > 1:
            before = law.value(theta, {name: [found - 1]})[0]
            assert before < target * (1 - 1e-9), "a smaller budget reaches the target too"


def counts_sum_to_one(law: Law, rng: np.random.Generator) -> None:
    """The probabilities of 0 .. n successes add up to one."""
    if law.rates is None:
        return
    for theta in random_params(law, rng, 5):
        total = count_probabilities(law, theta, 12).sum()
        assert abs(total - 1) < 1e-9, f"the probabilities of the counts add up to {total}"


def count_probabilities(law: Law, theta: FloatArray, n: int) -> FloatArray:
    """Probability of c = 0 .. n successes of one problem, shape (n + 1,)."""
    from scaling.core.special import log_rising

    c = np.arange(n + 1.0)
    terms = law.count_terms(*law.free(theta), np.array([float(n)]), c)
    return np.asarray(np.exp(terms[0] + log_rising(n - c + 1.0, c) - log_rising(1.0, c)))


def fit_recovers(law: Law, rng: np.random.Generator) -> None:
    """Simulated from the law and fitted, the parameters lie in their intervals; the document round-trips."""
    from scaling.fitting import FitResult, fit

    theta = law.bound(law.free(np.array([p.typical for p in law.params]).T).mean(axis=0))
    evidence = _simulated(law, theta, rng)
    sweep: Any = SimpleNamespace(
        groups=lambda *_, **__: (evidence,),
        runtimes=lambda *_, **__: (evidence,),
        provenance={"sha256": "0" * 64, "format": "simulated", "rows": 1},
    )
    for name in law.objectives:
        # A very high level: this is a check of the machinery; coverage is checked by simulation elsewhere.
        result = fit(sweep, law.name, objective=name, level=0.9999, replicates=400)
        (group,) = result.groups
        assert group.status == "ok", f"objective {name}: {group.why_not()}"
        assert FitResult.from_json(result.to_json()).to_json() == result.to_json()
        if isinstance(evidence, Runtimes):  # its parameters may be those of the log
            own = law.fitted(tuple(group.params), name)
            np.testing.assert_allclose(
                own.value(group.theta, evidence.inputs), evidence.seconds, rtol=1e-5
            )
            continue
        for p, truth in zip(law.params, theta, strict=True):
            found = group.params[p.symbol]
            assert found.estimate is not None
            if found.interval is None and any(c.code == "open-interval" for c in group.cautions):
                continue  # one resample in ten thousand sets no limit
            if found.interval is None:  # a noiseless curve
                np.testing.assert_allclose(found.estimate, truth, rtol=1e-5)
            else:
                low, high = found.interval
                assert low <= truth <= high, (
                    f"objective {name}: {p.symbol} = {truth} is not in [{low}, {high}]"
                )


def _simulated(law: Law, theta: FloatArray, rng: np.random.Generator) -> Evidence:
    if law.timed:
        axes = [np.unique(np.round(np.geomspace(*i.grid, 6))) for i in law.inputs]
        mesh = [m.ravel() for m in np.meshgrid(*axes)]
        inputs = dict(zip((i.column for i in law.inputs), mesh, strict=True))
        seconds = law.value(theta, inputs)
        return Runtimes({}, inputs, seconds, np.full(len(seconds), ""))
    if law.rates is None:
        inputs = {i.column: np.unique(np.round(np.geomspace(*i.grid, POINTS))) for i in law.inputs}
        return Points(by={}, inputs=inputs, value=law.value(theta, inputs))
    n, problems = 50, 400
    c = rng.choice(n + 1, p=_normalised(count_probabilities(law, theta, n)), size=problems)
    names = np.arange(problems).astype(str)
    return Counts(by={}, task=np.full(problems, "t"), problem=names, n=np.full(problems, n), c=c)


def _normalised(p: FloatArray) -> FloatArray:
    return np.asarray(p / p.sum())


def references_have_a_place(law: Law, rng: np.random.Generator) -> None:
    """Every law names a source and where in it the formula stands."""
    del rng
    assert law.references, "the law names no source"
    for r in law.references:
        assert r.text, "a reference without a title"
        assert r.place, f"{r.text}: say where in it the formula stands"


LAW_CHECKS: tuple[Check, ...] = (
    value_is_finite_and_in_range,
    gradients_agree,
    claims_hold,
    guess_is_inside,
    coordinates_round_trip,
    inverse_is_smallest,
    counts_sum_to_one,
    fit_recovers,
    references_have_a_place,
)


def check_law(law: Law, *, seed: int = 0) -> None:
    """Run every check on a law.

    Args:
        law: the law; `fit_recovers` needs it in the registry.
        seed: of the random parameters.

    Raises:
        AssertionError: saying what failed.
    """
    for check in LAW_CHECKS:
        check(law, np.random.default_rng(seed))


# --- closed forms ----------------------------------------------------------------------------

AllocatorCheck = Callable[[ClosedForm], None]


def _solved(form: ClosedForm) -> list[tuple[dict[str, Any], Optimum]]:
    assert form.examples, "the closed form has no examples to be checked on"
    return [(dict(example), form.solve(**example)) for example in form.examples]


def optimality_holds(form: ClosedForm) -> None:
    """The residual of the optimality conditions is rounding."""
    for example, best in _solved(form):
        assert 0 <= best.residual < 1e-9, f"{example}: the residual is {best.residual}"


def values_are_those_of_the_actions(form: ClosedForm) -> None:
    """Both values are what `value` says of the actions, and the reals are worth no less."""
    for example, best in _solved(form):
        for action, told in ((best.action, best.value), (best.whole, best.whole_value)):
            found = form.value(action, **example)
            assert math.isclose(found, told, rel_tol=1e-12, abs_tol=1e-12), (
                f"{example}: {dict(action)} is worth {found}, not {told}"
            )
        slack = 1e-9 * (1 + abs(best.value))
        assert best.whole_value <= best.value + slack, (
            f"{example}: whole numbers are worth {best.whole_value}, more than {best.value}"
        )
        assert best.price >= 0, f"{example}: the marginal value is {best.price}"


def engine_finds_the_same(form: ClosedForm) -> None:
    """`allocate`, given the menu, finds nothing better and nothing worse than the whole numbers.

    The menu's other rungs are worth no more where the engine says so: its bound is the certificate.
    """
    for example, best in _solved(form):
        menu, limit = form.menu(**example)
        found = allocate(menu, limits=[limit])
        ladder = found.ladder
        action = {name: column[found.chosen] for name, column in ladder.action.items()}
        theirs = form.value(action, **example)
        assert math.isclose(theirs, best.whole_value, rel_tol=1e-9, abs_tol=1e-9), (
            f"{example}: the engine's {action} is worth {theirs}; the closed form's "
            f"{dict(best.whole)} {best.whole_value}"
        )
        for name, column in best.whole.items():
            if name in action:
                assert column.shape == action[name].shape, f"{example}: {name} has {column.shape}"


def documents_are_json(form: ClosedForm) -> None:
    """The result is JSON without NaN or Infinity, and the same each time."""
    for example, best in _solved(form):
        text = best.to_json()
        assert json.loads(text) == best.document(), f"{example}: the document changes on its way"
        assert form.solve(**example).to_json() == text, f"{example}: two solves differ"


def formula_has_a_place(form: ClosedForm) -> None:
    """The formula, its source and where it stands there."""
    assert form.meaning, "the closed form has no meaning"
    assert form.formula, "the closed form states no formula"
    assert form.references, "the closed form names no source"
    for r in form.references:
        assert r.text, "a reference without a title"
        assert r.place, f"{r.text}: say where in it the formula stands"


ALLOCATOR_CHECKS: tuple[AllocatorCheck, ...] = (
    optimality_holds,
    values_are_those_of_the_actions,
    engine_finds_the_same,
    documents_are_json,
    formula_has_a_place,
)


def check_allocator(form: ClosedForm) -> None:
    """Run every check on a closed form, over its examples.

    Raises:
        AssertionError: saying what failed.
    """
    for check in ALLOCATOR_CHECKS:
        check(form)


# --- cost options ------------------------------------------------------------------------------

CostCheck = Callable[[SampleCosts], None]

_LOGGED = {"tokens": 800.0, "seconds": 3.0}
"""What a log may know of a sample."""


def costs_are_resources(costs: SampleCosts) -> None:
    """Finite amounts, zero or more, of resources that menus know; every sample is one sample."""
    for measured in ({}, _LOGGED):
        cost = costs.of(None, measured)
        assert cost.per_sample.get("samples") == 1.0, "a sample must cost one sample"
        for resource, amount in (*cost.fixed.items(), *cost.per_sample.items()):
            assert resource in RESOURCES, f"{resource!r} is no resource"
            assert math.isfinite(amount), f"{resource} is {amount}"
            assert amount >= 0, f"{resource} is {amount}"
        unpriced = set(cost.fixed) - set(cost.per_sample)
        assert not unpriced, f"{unpriced} cost a query and no sample, so that no menu shows them"


def samples_cost_their_number(costs: SampleCosts) -> None:
    """`fixed + per_sample N`: more samples cost more, and together no more than each alone."""
    N = np.arange(1, 65)
    cost = costs.of(None, _LOGGED)
    for resource, amount in cost.at(N).items():
        assert amount.shape == N.shape, f"{resource} has shape {amount.shape}"
        assert (np.diff(amount) >= 0).all(), f"more samples cost less in {resource}"
        assert (amount <= N * amount[0] * (1 + 1e-12)).all(), (
            f"{resource}: samples together cost more than each alone"
        )


def more_tokens_cost_more(costs: SampleCosts) -> None:
    """Where a log knows the tokens, longer samples cost no less."""
    few, many = (costs.of(None, {"tokens": t}).per_sample for t in (500.0, 1_000.0))
    for resource, amount in few.items():
        assert many[resource] >= amount, f"more tokens cost less in {resource}"


def costs_are_recorded(costs: SampleCosts) -> None:
    """The record is JSON without NaN or Infinity and has a name; prices say where they come from."""
    record = json.loads(json.dumps(costs.cost_model, allow_nan=False))
    assert record == costs.cost_model, "the record changes on its way through JSON"
    assert record.get("name"), "the record does not name the cost option"
    prices = costs.prices
    if prices is not None:
        assert {"source", "version", "as_of", "currency"} <= set(prices), "prices lack their source"
        json.dumps(prices, allow_nan=False)
    if "usd" in costs.of(None, {}).per_sample:
        assert prices is not None, "dollars without a source"


COST_CHECKS: tuple[CostCheck, ...] = (
    costs_are_resources,
    samples_cost_their_number,
    more_tokens_cost_more,
    costs_are_recorded,
)


def check_cost(costs: SampleCosts) -> None:
    """Run every check on a cost option whose numbers are all given.

    Raises:
        AssertionError: saying what failed.
    """
    for check in COST_CHECKS:
        check(costs)
