"""What is in a sweep, in words and numbers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.data.groups import (
    MANY_VALUES,
    default_by,
    looks_success_stopped,
    several,
    split_counts,
)
from scaling.data.schema import USE, listed
from scaling.data.statistics import Statistics, codes_of

if TYPE_CHECKING:
    from scaling.data.statistics import Key
    from scaling.data.sweep import Sweep

_SHOWN = 20


def describe(sweep: Sweep) -> dict[str, Any]:
    """A JSON document: kind, models, tasks, problems, attempts, solved share, use, columns, next.

    Shares and means are per problem first, then over problems.
    """
    statistics = sweep.statistics
    document: dict[str, Any] = {
        "kind": sweep.kind,
        "format": sweep.format,
        "sources": list(sweep.sources),
        "rows": sweep.rows,
        "sha256": sweep.sha256,
        "tasks": _values(statistics.keys.get("task")),
        "models": _values(statistics.keys.get("model")),
        "knobs": {c: _column(statistics.keys[c]) for c in sweep.knob_columns},
        "class_columns": {c: _column(statistics.keys[c]) for c in sweep.class_columns},
        "report": {
            "missing": sweep.report.missing,
            "truncated": sweep.report.truncated,
            "without_verdict": sweep.report.without_verdict,
            "notes": list(sweep.report.notes),
        },
    }
    if sweep.kind in {"attempts", "counts"}:
        document |= _counted(sweep)
    elif sweep.kind == "curve":
        accuracy = statistics.numbers["accuracy"]
        document["points"] = len(statistics)
        document["accuracy"] = {"min": float(accuracy.min()), "max": float(accuracy.max())}
    else:
        seconds = statistics.numbers["runtime_s"]
        document["points"] = len(statistics)
        document["runtime_s"] = {"min": float(seconds.min()), "max": float(seconds.max())}
        document["sizes"] = {
            column: {
                "min": float(values.min()),
                "max": float(values.max()),
                "distinct": len(np.unique(values)),
            }
            for column, values in statistics.numbers.items()
            if column != "runtime_s"
        }
    document["next"] = _next(sweep, document)
    return document


def _counted(sweep: Sweep) -> dict[str, Any]:
    n = sweep.statistics.numbers["n"]
    n = n[n > 0]
    if not len(n):
        return {"problems": 0, "attempts": 0, "attempts_per_problem": None, "groups": []}
    statistics = Statistics(
        {c: key for c, key in sweep.statistics.keys.items() if c not in {"stop_batch", "stop_cap"}},
        sweep.statistics.numbers,
    )
    rule = ("stop_rule",) if "stop_rule" in statistics.keys else ()
    found = split_counts(statistics, (*default_by(statistics), *rule))
    who = {c: sweep.statistics.keys[c] for c in ("task", "problem")}
    _, problems = codes_of(who, len(sweep.statistics))
    rates = [
        {
            "by": dict(group.by),
            "problems": len(group.n),
            "attempts": int(group.n.sum()),
            "mean_rate": float(np.mean(group.c / group.n)),
            "solved": float(np.mean(group.c > 0)),
            "stop_rule": group.stop_rule,
            "looks_success_stopped": group.stop_rule is None and looks_success_stopped(group),
            "resources": {
                r: {"mean": use.mean, "se": use.se, "n": use.n}
                for r, use in group.resources.items()
            },
        }
        for group in found
    ]
    return {
        "problems": problems,
        "attempts": int(sweep.statistics.numbers["n"].sum()),
        "attempts_per_problem": {
            "min": int(n.min()),
            "median": float(np.median(n)),
            "max": int(n.max()),
        },
        "groups": rates,
    }


def _values(key: Key | None) -> list[Any]:
    if key is None:
        return []
    return [key.item(int(code)) for code in np.unique(key.codes) if key.item(int(code)) != ""]


def _column(key: Key) -> dict[str, Any]:
    used = np.unique(key.codes)
    values = [key.item(int(code)) for code in used]
    present = [value for value in values if value is not None and value != ""]
    document: dict[str, Any] = {"distinct": len(present), "missing": len(present) < len(values)}
    if key.is_number and len(present) > MANY_VALUES:
        document["range"] = [min(present), max(present)]
    else:
        document["values"] = present[:_SHOWN]
    return document


def _next(sweep: Sweep, document: Mapping[str, Any]) -> str:
    """The command to type next, or what to look at where no law can be fitted."""
    source = shlex.join((*(sweep.opened or ("SWEEP",)), *sweep.options))
    if sweep.kind == "runtime":
        return _next_of_runtimes(sweep, source)
    if document.get("problems") == 0:
        column = "correct" if sweep.kind == "attempts" else "n"
        return f"look at the column '{column}': no attempt has a verdict, so no law can be fitted"
    by = list(default_by(sweep.statistics))
    bins = ""
    for column, about in document["class_columns"].items():
        if "," in column or (about["missing"] and sweep.statistics.keys[column].is_number):
            continue  # --by parts its columns at commas, and takes no number that is missing
        if "values" in about and 1 < about["distinct"] <= MANY_VALUES:
            by.append(column)
        elif "range" in about and not bins:
            by.append(column)
            bins = f" --bins {shlex.quote(f'{column}:q4')}"
    law = "exponentiated-power" if sweep.kind == "curve" else "beta-binomial"
    grouped = f" --by {shlex.quote(','.join(by))}" if by else ""
    return f"scaling fit {source} --law {law}{grouped}{bins} -o fit.json"


def _next_of_runtimes(sweep: Sweep, source: str) -> str:
    sizes = set(sweep.statistics.numbers)
    by = ",".join(several(sweep.statistics, ("model", "hardware")))
    grouped = f" --by {by}" if by else ""
    if {"input_tokens", "output_tokens"} <= sizes and "context" not in sizes:
        return f"scaling fit {source} --law idealized-runtime{grouped} -o fit.json"
    if {"flops", "bytes"} <= sizes or {"batch", "context"} <= sizes:
        return f"scaling fit {source} --law kinetics-cost{grouped} -o fit.json"
    return (
        "add the sizes of what was run: input_tokens and output_tokens of requests, or batch and context of "
        "decode steps; runtimes alone fit no law"
    )


def description_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A description as label and text, for tables that people read."""
    shown = [
        ("kind", f"{document['kind']} ({document['format']}, {document['rows']:,} rows)"),
        ("sha256", document["sha256"][:16]),
        ("tasks", listed(document["tasks"], 8) or "one, without a name"),
        ("models", listed(document["models"], 8) or "one, without a name"),
    ]
    if document.get("attempts_per_problem"):
        per = document["attempts_per_problem"]
        spread = f"{per['min']:,} to {per['max']:,}, median {per['median']:,g}"
        shown.append(("problems", f"{document['problems']:,}"))
        shown.append(("attempts", f"{document['attempts']:,}; per problem {spread}"))
        shown += [_group_row(group) for group in document["groups"]]
    elif "points" in document:
        shown.append(("points", f"{document['points']:,}"))
    for column in (c for c in ("runtime_s", *document.get("sizes", ())) if "sizes" in document):
        about = document["runtime_s"] if column == "runtime_s" else document["sizes"][column]
        values = f", {about['distinct']:,} values" if "distinct" in about else ""
        shown.append((column, f"{about['min']:g} to {about['max']:g}{values}"))
    for part, label in (("knobs", "knob"), ("class_columns", "class column")):
        for column, about in document[part].items():
            said = (
                f"{about['range'][0]:g} to {about['range'][1]:g}, {about['distinct']:,} values"
                if "range" in about
                else listed(about["values"], 8)
            )
            shown.append((f"{label} {column}", said))
    report = document["report"]
    missing = (
        f"{report['missing']:,} attempts without a verdict, {report['truncated']:,} truncated, "
        f"{report['without_verdict']:,} problems without any verdict"
    )
    shown.append(("missing", missing))
    shown += [("note", note) for note in report["notes"]]
    shown.append(("next", document["next"]))
    return shown


def _group_row(group: Mapping[str, Any]) -> tuple[str, str]:
    said = f"one sample solves {group['mean_rate']:.2%}, {group['solved']:.2%} solved at least once"
    for resource in USE:
        if resource in group["resources"]:
            said += f", {group['resources'][resource]['mean']:.4g} {resource} a sample"
    if group["stop_rule"]:
        said += f", stop rule {group['stop_rule']}"
    if group["looks_success_stopped"]:
        said += ", looks stopped at the first success"
    return ", ".join(str(value) for value in group["by"].values()) or "all", said
