from __future__ import annotations

import json

import numpy as np
import pytest

from scaling.curves import action_words
from scaling.errors import InputError


def test_a_menu_is_saved_as_json_lines_too(menu, tmp_path):
    given_se = np.array([0.01, np.nan])
    one = menu([[0.1, 0.2]], [[1, 2]], value_se=given_se)
    rows = one.save(tmp_path / "menu.jsonl").read_text().splitlines()
    assert [json.loads(row, parse_constant=pytest.fail) for row in rows] == [
        {"level": "a", "tokens": 1.0, "model": "m", "samples": 1, "value": 0.1, "value_se": 0.01,
         "weight": 1.0, "maximise": "accuracy"},
        {"level": "a", "tokens": 2.0, "model": "m", "samples": 2, "value": 0.2,
         "weight": 1.0, "maximise": "accuracy"},
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"\.csv or \.jsonl"):
        one.save(tmp_path / "menu.parquet")


def test_an_action_is_named_in_words():
    assert action_words({"model": "large", "samples": 1}) == "large, 1 sample"
    assert (
        action_words({"model": "m", "strategy": "majority_vote", "samples": 1024})
        == "m, strategy majority_vote, 1,024 samples"
    )
    assert action_words({"model": "", "effort": "high"}) == "effort high"
    assert action_words({"model": "", "effort": ""}) == "the only action"
