"""Every law in the registry passes every contract check."""

from __future__ import annotations

import numpy as np
import pytest

from scaling.core import registry
from scaling.testing import LAW_CHECKS


@pytest.mark.parametrize("check", LAW_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", registry.law_names())
def test_contract(name, check):
    check(registry.law(name), np.random.default_rng(0))


@pytest.mark.parametrize("name", registry.law_names())
def test_name_is_the_file_name(name):
    assert registry.law(name).name == name
