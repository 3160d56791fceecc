from __future__ import annotations

import numpy as np

from scaling.curves import over_samples, validate


def test_over_samples_lays_curves_out():
    value = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]])
    built = over_samples(
        value,
        np.array([1, 2, 3]),
        key={"problem": np.array(["p", "q", "r"])},
        weight=np.ones(3),
        curve=np.array([1, 0, 1]),
        cost={"samples": np.array([1.0, 2, 3])},
        model="m",
        extrapolated=np.array([False, False, True]),
    )
    validate(built)
    assert built.maximise == "coverage"
    assert built.value[built.start[1] : built.start[2]].tolist() == [0.4, 0.5, 0.6]
    assert built.action_of(4) == {"model": "m", "samples": 2}
    assert built.extrapolated is not None
    assert built.extrapolated.tolist() == [False, False, True] * 2
