from __future__ import annotations

import numpy as np
import pytest

import scaling


@pytest.fixture
def sweep_of():
    """A sweep of counts, one problem for each pair of n and c."""

    def make(n, c, **columns):
        size = len(n)
        table = {
            "task": ["t"] * size,
            "model": ["m"] * size,
            "problem": [str(i) for i in range(size)],
            "n": list(map(int, n)),
            "c": list(map(int, c)),
            **columns,
        }
        import pandas as pd

        return scaling.read(pd.DataFrame(table))

    return make


@pytest.fixture(scope="session")
def monkeys(reference_data):
    """The two files of exact counts of Brown et al. (2024)."""
    return {
        "MATH": scaling.read(reference_data / "coverage" / "monkeys_pythia_math_counts.csv"),
        "CodeContests": scaling.read(
            reference_data / "coverage" / "monkeys_codecontests_counts.csv"
        ),
    }


@pytest.fixture
def simulated(sweep_of):
    """Counts of problems whose success rates follow a Beta distribution."""

    def make(alpha, beta, problems, attempts, seed):
        rng = np.random.default_rng(seed)
        c = rng.binomial(attempts, rng.beta(alpha, beta, problems))
        return sweep_of(np.full(problems, attempts), c)

    return make
