"""The fit document: everything a result knows, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.core import registry
from scaling.core.caution import Caution
from scaling.data.evidence import ResourceUse
from scaling.errors import InputError, UsageError
from scaling.fitting.copula import Log
from scaling.fitting.passk import UniqueCounts
from scaling.fitting.result import Estimate, FitResult, GroupFit, IntervalSpec, Problems
from scaling.fitting.transfer import Sibling, Transfer

if TYPE_CHECKING:
    import os

SCHEMA_VERSION = "1.0"
KIND = "scaling-fit"


def schema() -> dict[str, Any]:
    """The JSON Schema of fit documents."""
    from importlib.resources import files

    out: dict[str, Any] = json.loads(
        files("scaling.fitting").joinpath("fit.schema.json").read_text("utf-8")
    )
    return out


def head(fit: FitResult, kind: str) -> dict[str, Any]:
    """What fit and prediction documents begin with."""
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": kind,
        "law": fit.law,
        "objective": fit.objective,
        "preset": fit.preset,
        "interval": {
            "method": fit.interval.method,
            "level": fit.interval.level,
            "replicates": fit.interval.replicates,
            "seed": fit.interval.seed,
        },
        "data": dict(fit.data),
        **({} if fit.siblings is None else {"siblings": dict(fit.siblings)}),
        "bins": {k: list(v) for k, v in fit.bins.items()},
        "tool": dict(fit.tool),
    }


def dumps(fit: FitResult, *, indent: int | None = 1) -> str:
    """The document as text; numbers without a value are null, never NaN."""
    document = {**head(fit, KIND), "groups": [_group(g) for g in fit.groups]}
    return json.dumps(document, indent=indent, allow_nan=False, ensure_ascii=False)


def _estimate(e: Estimate) -> dict[str, Any]:
    return {
        "estimate": e.estimate,
        "interval": list(e.interval) if e.interval else None,
        "se": e.se,
        "at_bound": e.at_bound,
    }


def _group(g: GroupFit) -> dict[str, Any]:
    evidence: dict[str, Any] = {
        "counts": None if g.counts is None else np.stack(g.counts, axis=1).tolist(),
        "max_n": g.max_n,
        "reach": g.reach,
        "stop_rule": g.stop_rule,
        "stop_batch": g.stop_batch,
    }
    if g.problems is not None:
        columns = (
            g.problems.task.tolist(),
            g.problems.problem.tolist(),
            g.problems.n.tolist(),
            g.problems.c.tolist(),
        )
        evidence["problems"] = [
            {"task": t, "problem": p, "n": n, "c": c} for t, p, n, c in zip(*columns, strict=True)
        ]
        if g.problems.cluster is not None:
            for row, family in zip(evidence["problems"], g.problems.cluster.tolist(), strict=True):
                row["cluster"] = family
    if g.points is not None:
        evidence["points"] = {
            "inputs": {name: v.tolist() for name, v in g.points[0].items()},
            "value": g.points[1].tolist(),
        }
    document = {
        "by": dict(g.by),
        "n_problems": g.n_problems,
        "n_samples": g.n_samples,
        "model": g.model,
        "params": {n: _estimate(e) for n, e in g.params.items()},
        "derived": {n: _estimate(e) for n, e in g.derived.items()},
        "fit": dict(g.fit),
        "evidence": evidence,
        "draws": None if g.draws is None else {"names": list(g.params), "values": g.draws.tolist()},
        "resources": {n: {"mean": r.mean, "se": r.se, "n": r.n} for n, r in g.resources.items()},
        "converged": g.converged,
        "status": g.status,
        "cautions": [c.document() for c in g.cautions],
    }
    if g.transfer is not None:
        t = g.transfer
        document["transfer"] = {
            "rates": t.rates.tolist(),
            "mass": t.mass.tolist(),
            "shared": t.shared,
            "explained": t.explained,
            "siblings": [
                {
                    "model": s.model,
                    "counts": np.stack(s.log, axis=1).tolist(),
                    "correlation": s.correlation,
                }
                for s in t.siblings
            ],
        }
    return document


def load(path: str | os.PathLike[str]) -> FitResult:
    """Read a fit document from a file."""
    file = Path(path)
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        msg = f"no such file: {file}. Write a fit document with `scaling fit SWEEP --law NAME -o {file.name}`."
        raise InputError(msg) from None
    except (OSError, UnicodeDecodeError) as error:
        msg = f"cannot read {file}: {error}"
        raise InputError(msg) from None
    return loads(text, str(file))


def loads(text: str, name: str = "the text given") -> FitResult:
    """A result from the text of a fit document.

    Raises:
        InputError: not JSON, not a fit document, or one that breaks its schema.
    """

    def refuse(constant: str) -> Any:
        msg = f"{name} holds {constant}, which JSON does not allow; a missing number is null"
        raise InputError(msg)

    try:
        document = json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        msg = f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise InputError(msg) from None
    if not isinstance(document, Mapping) or document.get("kind") != KIND:
        kind = document.get("kind") if isinstance(document, Mapping) else None
        msg = f"{name} is not a fit document: its kind is {kind!r}, not '{KIND}'. `scaling fit` writes them."
        raise InputError(msg)
    _validate(document, name)
    groups = []
    for i, g in enumerate(document["groups"]):
        try:
            groups.append(_read_group(document["law"], document["objective"], g))
        except (LookupError, OverflowError, TypeError, ValueError) as error:
            msg = f"{name}: group {i} does not hold together ({error}). Write the document anew with `scaling fit`."
            raise InputError(msg) from None
    return FitResult(
        law=document["law"],
        objective=document["objective"],
        preset=document.get("preset"),
        interval=IntervalSpec(**document["interval"]),
        groups=tuple(groups),
        data=document["data"],
        bins={k: tuple(v) for k, v in document.get("bins", {}).items()},
        tool=document["tool"],
        siblings=document.get("siblings"),
    )


def _validate(document: Mapping[str, Any], name: str) -> None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(schema()).iter_errors(document))
    if error is not None:
        message = error.message if len(error.message) < 200 else error.message[:200] + "..."
        msg = f"{name} breaks the schema of fit documents at {error.json_path}: {message} (see `scaling schema fit`)"
        raise InputError(msg)
    law = registry.law(document["law"])
    for i, g in enumerate(document["groups"]):
        try:
            law.fitted(tuple(g["params"]), document["objective"])
        except UsageError as error:
            msg = f"{name}: group {i} has other parameters: {error}"
            raise InputError(msg) from None


def _read_group(law: str, objective: str, g: Mapping[str, Any]) -> GroupFit:
    evidence = g["evidence"]
    counts = problems = points = draws = None
    if evidence["counts"] is not None:
        counts = UniqueCounts(*np.array(evidence["counts"], dtype=np.int64).reshape(-1, 3).T)
        if np.any(counts.c > counts.n):
            raise ValueError("more successes than attempts")
    if "problems" in evidence:
        rows = evidence["problems"]
        problems = Problems(
            np.array([r["task"] for r in rows], dtype=str),
            np.array([r["problem"] for r in rows], dtype=str),
            np.array([r["n"] for r in rows], dtype=np.int64),
            np.array([r["c"] for r in rows], dtype=np.int64),
            np.array([r["cluster"] for r in rows], dtype=np.int64)
            if all("cluster" in r for r in rows)
            else None,
        )
    if "points" in evidence:
        inputs = {k: np.array(v, dtype=float) for k, v in evidence["points"]["inputs"].items()}
        points = (inputs, np.array(evidence["points"]["value"], dtype=float))
    order = registry.law(law).fitted(tuple(g["params"]), objective).names
    if g["draws"] is not None:
        columns = [g["draws"]["names"].index(n) for n in order]
        draws = np.array(g["draws"]["values"], dtype=float).reshape(-1, len(order))[:, columns]
    return GroupFit(
        law=law,
        by=g["by"],
        n_problems=g["n_problems"],
        n_samples=g["n_samples"],
        params={n: _read_estimate(g["params"][n]) for n in order},
        derived={n: _read_estimate(e) for n, e in g["derived"].items()},
        fit=g["fit"],
        counts=counts,
        points=points,
        problems=problems,
        max_n=evidence["max_n"],
        reach=evidence.get("reach", evidence["max_n"]),
        stop_rule=evidence["stop_rule"],
        stop_batch=evidence.get("stop_batch"),
        model=g.get("model"),
        draws=draws,
        resources={n: ResourceUse(**r) for n, r in g["resources"].items()},
        status=g["status"],
        cautions=tuple(Caution(**c) for c in g["cautions"]),
        transfer=None if "transfer" not in g else _read_transfer(g["transfer"], problems),
    )


def _read_transfer(t: Mapping[str, Any], problems: Problems | None) -> Transfer:
    rates, mass = np.array(t["rates"], dtype=float), np.array(t["mass"], dtype=float)
    if problems is None or mass.shape != (len(problems.n), len(rates)):
        raise ValueError("transfer does not hold one row a problem and one column a rate")
    if np.any(np.abs(mass.sum(axis=1) - 1) > 1e-6):
        raise ValueError("a posterior in transfer does not add up to one")
    siblings = tuple(
        Sibling(s["model"], Log(*np.array(s["counts"], dtype=np.int64).T), s["correlation"])
        for s in t["siblings"]
    )
    if any(len(s.log.n) != len(mass) or np.any(s.log.c > s.log.n) for s in siblings):
        raise ValueError("a sibling does not hold one pair of attempts and successes a problem")
    return Transfer(rates, mass, t["shared"], t["explained"], siblings)


def _read_estimate(e: Mapping[str, Any]) -> Estimate:
    interval = e["interval"]
    return Estimate(
        e["estimate"], tuple(interval) if interval else None, e.get("se"), e.get("at_bound", False)
    )
