"""Every closed form in the registry passes every contract check."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaling.allocators.closed_forms import closed_form, closed_form_names
from scaling.core import registry
from scaling.errors import UsageError
from scaling.testing import ALLOCATOR_CHECKS, check_allocator


@pytest.mark.parametrize("check", ALLOCATOR_CHECKS, ids=lambda c: c.__name__)
@pytest.mark.parametrize("name", closed_form_names())
def test_contract(name, check):
    check(closed_form(name))


@pytest.mark.parametrize("name", closed_form_names())
def test_name_is_the_file_name(name):
    assert closed_form(name).name == name
    assert closed_form(name).meaning


def test_the_registry_knows_them():
    assert set(registry.families()["closed forms"]) == set(closed_form_names())
    with pytest.raises(UsageError, match=r"token-split.*Did you mean 'sleep-time'"):
        closed_form("sleeptime")


def test_a_wrong_form_is_found_out():
    form = closed_form("saturation-point")

    def greedy(**example):
        best = form.solve(**example)
        return replace(best, whole={"samples": best.whole["samples"] + 1})

    with pytest.raises(AssertionError, match="is worth"):
        check_allocator(replace(form, solve=greedy))
    with pytest.raises(AssertionError, match=r"the residual is 0\.5"):
        check_allocator(replace(form, solve=lambda **e: replace(form.solve(**e), residual=0.5)))
    with pytest.raises(AssertionError, match="no examples"):
        check_allocator(replace(form, examples=()))
    with pytest.raises(AssertionError, match="names no source"):
        check_allocator(replace(form, references=()))
