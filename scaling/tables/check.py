"""Checking a budget table: the JSON Schema, then every rule beyond it."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from scaling.tables.rules import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA_VERSION = "1.0"
_SHOWN = 20
"""Findings listed for one check; a last one counts the rest."""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a table.

    Attributes:
        code: which check found it, stable.
        where: its JSON path, such as `$.rows[0].ladder[1].marginal`.
        message: what is wrong, with the values.
    """

    code: str
    where: str
    message: str


@dataclass(frozen=True)
class Report:
    """What `check` found.

    Attributes:
        findings: what is wrong; empty for a sound table.
        guarantees: every property that a check stands behind, and whether the table has it; empty
            where the document does not fit the schema, so that nothing can be told.
    """

    findings: tuple[Finding, ...]
    guarantees: Mapping[str, bool]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def to_json(self) -> str:
        """The report as a JSON object `{ok, findings, guarantees}`."""
        return json.dumps({"ok": self.ok, **asdict(self)}, ensure_ascii=False, indent=1)


def check(document: Any) -> list[Finding]:
    """Everything that is wrong with a table, most basic first.

    Args:
        document: a parsed table, or whatever was found in its place.

    Returns:
        The findings; none for a sound table. Where the document does not fit the schema, or holds
        a number that is not finite, only that is told: nothing else can be.
    """
    return list(report(document).findings)


def report(document: Any) -> Report:
    """The findings of `check`, with the guarantees that the table has."""
    for basic in (_non_finite, _schema):
        if found := tuple(basic(document)):
            return Report(found, {})
    claimed = {each["property"] for each in document["guarantees"] if each["verified"]}
    findings: list[Finding] = []
    for each in CHECKS.values():
        if each.stated and each.guarantee not in claimed:
            continue
        problems = list(each.problems(document))
        findings += [Finding(each.code, *problem) for problem in problems[:_SHOWN]]
        if problems[_SHOWN:]:
            more = f"and {len(problems[_SHOWN:])} more of this kind."
            findings.append(Finding(each.code, "$", more))
    held = {name: wrong is None for name, wrong in guarantees(document).items()}
    return Report(tuple(findings), held)


def guarantees(document: Mapping[str, Any]) -> dict[str, str | None]:
    """Each guarantee that a check stands behind: None where it holds, else what is wrong.

    The document must fit the schema. Of serving targets nothing is told where it names none.
    """
    wrong: dict[str, str | None] = {}
    for each in CHECKS.values():
        if each.guarantee == "engine_limits_respected" and not document.get("targets"):
            continue
        if each.guarantee is not None and wrong.get(each.guarantee) is None:
            _, wrong[each.guarantee] = next(each.problems(document), ("", None))
    return wrong


def schema() -> dict[str, Any]:
    """The JSON Schema of a budget table (2020-12)."""
    from importlib.resources import files

    text = files("scaling.tables").joinpath("budget_table.schema.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _non_finite(document: Any) -> Iterator[Finding]:
    """NaN and infinities, which JSON does not have."""
    for where, value in _walk(document, "$"):
        if isinstance(value, float) and not math.isfinite(value):
            yield Finding("non-finite", where, f"{value} is not JSON; what does not exist is null.")


def _schema(document: Any) -> Iterator[Finding]:
    """The JSON Schema; fields unknown to it pass in a table of a newer minor version."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    newer = _newer(document)
    validator = extend(
        Draft202012Validator, {"$ref": _once(Draft202012Validator.VALIDATORS["$ref"])}
    )
    found = validator(schema()).iter_errors(document)  # in an order that hashing decides
    for error in sorted(found, key=_place):
        if newer and error.validator == "additionalProperties":
            continue
        message = error.message if len(error.message) <= 300 else error.message[:300] + " ..."
        yield Finding("schema", error.json_path, message)


def _place(error: Any) -> tuple[list[str], str]:
    path = [f"{step:09}" if isinstance(step, int) else step for step in error.absolute_path]
    return path, error.message


def _once(validate: Any) -> Any:
    """`$ref`, which passes over what it has found valid before: most rungs of a large table."""
    valid: set[tuple[str, str]] = set()

    def ref(validator: Any, ref: str, instance: Any, schema: Any) -> Iterator[Any]:
        seen = (ref, json.dumps(instance))
        if seen not in valid:
            errors = list(validate(validator, ref, instance, schema))
            if not errors:
                valid.add(seen)
            yield from errors

    return ref


def _newer(document: Any) -> bool:
    version = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"1\.[0-9]{1,9}", version):
        return False
    return int(version[2:]) > int(SCHEMA_VERSION[2:])


def _walk(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every leaf of a document with its JSON path."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _walk(each, f"{where}.{name}")
    elif isinstance(value, list):
        for i, each in enumerate(value):
            yield from _walk(each, f"{where}[{i}]")
    else:
        yield where, value
