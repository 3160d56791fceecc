from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling.errors import InputError
from scaling.tables.canonical import table_id


def ecmascript(number: float) -> str:
    """Number::toString of ECMAScript, from the shortest digits that Python's repr finds."""
    if number == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).rstrip("0")
    n = len(digits) + exponent  # the decimal point stands after n digits
    k = len(text)
    if k <= n <= 21:
        shown = text + "0" * (n - k)
    elif 0 < n <= 21:
        shown = f"{text[:n]}.{text[n:]}"
    elif -6 < n <= 0:
        shown = "0." + "0" * -n + text
    else:
        e = f"e{n - 1:+d}"
        shown = text + e if k == 1 else f"{text[0]}.{text[1:]}{e}"
    return "-" * sign + shown


def jcs(value: object) -> str:
    """RFC 8785 by its own words."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        return "{" + ",".join(f"{jcs(name)}:{jcs(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, float):
        return ecmascript(value)
    return json.dumps(value, ensure_ascii=False)


def test_the_id_of_a_table_is_the_hash_of_its_canonical_form(document):
    stated = document["table_id"]
    for name in ("table_id", "created", "extensions"):
        document.pop(name, None)
    assert stated == "sha256:" + hashlib.sha256(jcs(document).encode()).hexdigest()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["kind", "é", "z", "\U0001f600", "\ufb33"]), JSON))
def test_any_document_hashes_as_the_rfc_says(document):
    assert table_id(document) == "sha256:" + hashlib.sha256(jcs(document).encode()).hexdigest()


def test_the_id_ignores_when_and_by_whom_a_table_was_written_but_nothing_else(document):
    before = table_id(document)
    document |= {"created": "2030-01-01T00:00:00Z", "extensions": {"note": 1}, "table_id": "x"}
    assert table_id(document) == before
    document["rows"][0]["weight"] += 1e-12
    assert table_id(document) != before


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 2**53])
def test_what_canonical_json_does_not_hold_is_refused(bad):
    with pytest.raises(InputError, match="canonical"):
        table_id({"seed": bad})
