"""The canonical columns of a sweep: what each kind of row must and may hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from scaling.errors import InputError, UsageError, did_you_mean

Kind = Literal["attempts", "counts", "curve", "runtime"]
KINDS: tuple[Kind, ...] = get_args(Kind)

IDENTITY = ("task", "model", "problem")
"""What an attempt was about; always text."""

KNOBS = (
    "samples",
    "thinking_tokens",
    "solution_tokens",
    "documents",
    "shots",
    "iterations",
    "visual_tokens",
    "parameters",
    "verifications",
    "kv_budget",
)
"""Numbers that a budget can choose."""

WORDS = ("strategy", "effort", "budget_kind")
"""Settings that a budget can choose, or that say how it was enforced, in words."""

ACTION_COLUMNS = ("model", *KNOBS, *WORDS)
"""Columns that an action is made of; a group's other columns tell classes of queries apart."""

PROBE = "pass1"
"""The column that `--bins` makes from outcomes where the log has none of that name."""

STOPPING = ("stop_rule", "stop_batch", "stop_cap")
STOP_RULES = ("fixed", "until_success", "until_success_batched", "unknown")

TEXT = (*IDENTITY, "cluster", "stop_rule", *WORDS)
"""Labels that stay text, whatever they look like: a model may be called "007"."""

NUMERIC = (*KNOBS, "stop_batch", "stop_cap")
"""Labels that are always numbers."""

LONGEST_LABEL = 200
"""A column of the user's own with longer texts is content, not labels."""

USE = {"tokens": "output_tokens", "usd": "cost_usd", "seconds": "latency_s"}
"""Resource names to the attempt columns that measure them."""

PER_ATTEMPT = (
    "attempt",
    "correct",
    "accepted",
    "score",
    "answer",
    "input_tokens",
    "cached_tokens",
    "output_tokens",
    "reasoning_tokens",
    "verifier_tokens",
    "tool_calls",
    "cost_usd",
    "latency_s",
    "truncated",
    "error",
)
"""Columns that differ from attempt to attempt by nature, and so are never class columns."""

ALIASES: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    "attempts": {
        "output_tokens": ("tokens",),
        "cost_usd": ("usd",),
        "latency_s": ("seconds",),
    },
    "counts": {"n": ("num_samples", "attempts"), "c": ("num_correct", "successes")},
    "curve": {"accuracy": ("score",)},
    "runtime": {
        "input_tokens": ("num_input_tokens",),
        "output_tokens": ("num_output_tokens",),
        "runtime_s": ("latency_s",),
        "runtime_ms": ("latency_ms",),
    },
}

MILLISECONDS = "runtime_ms"
"""Runtimes by this name are divided by 1,000; a sweep holds seconds."""

SIZES = ("input_tokens", "output_tokens", "batch", "context", "tp")
"""Sizes of what a runtime row measured."""
WORK = ("flops", "bytes", "weight_bytes", "kv_bytes", "steps")
"""Work that a runtime row states itself."""

MEANING = {
    "problem": "which problem a row is about",
    "correct": "the verdict of an attempt, 0 or 1",
    "n": "attempts with a verdict",
    "c": "correct attempts",
    "accuracy": "the value at a point of the curve",
    "runtime_s": "seconds",
    "value": "expected value of an action",
}

_REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "attempts": ("problem", "correct"),
    "counts": ("problem", "n", "c"),
    "curve": ("accuracy",),
    "runtime": ("runtime_s",),
}

_OWN: Mapping[Kind, tuple[str, ...]] = {
    "attempts": (*PER_ATTEMPT, "cluster"),
    "counts": ("n", "c", "accepted", "accepted_correct", "cluster", *USE),
    "curve": ("accuracy", "queries"),
    "runtime": (*SIZES, *WORK, "runtime_s", MILLISECONDS),
}


_ALIKE = 0.6
"""From here on one name may be a slip for another."""

RESERVED = frozenset(
    (
        *("n", "c", "rows", "missing", "truncated", "accepted", "accepted_correct", "bad"),
        *("numbered", "attempt_first", "attempt_last", "attempt_sum", "attempt_xor"),
        *(f"{resource}{part}" for resource in USE for part in ("", "_n", "_sq")),
    )
)
"""Names of statistics; a column of the user's own cannot bear one."""


@dataclass(frozen=True)
class Layout:
    """Which column of a source plays which part.

    Attributes:
        kind: kind of rows.
        column: canonical name to the name in the source, for every column that is used.
        knobs: canonical knob columns present, settings in words included.
        classes: all other columns, under their own (renamed) names.
        reserved: columns left out because statistics bear their names.
    """

    kind: Kind
    column: Mapping[str, str]
    knobs: tuple[str, ...]
    classes: tuple[str, ...]
    reserved: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is left out, for the report."""
        if not self.reserved:
            return ()
        said = f"left out, as statistics bear these names: {listed(self.reserved)}"
        return (f"{said} (keep one with --map {self.reserved[0]}=other)",)


def renamed(
    columns: tuple[str, ...], rename: Mapping[str, str] | None, where: str
) -> dict[str, str]:
    """Names after `rename` ({theirs: ours}), each with its name in the source.

    Raises:
        InputError: for a column that is not there, and for two columns of one name.
    """
    rename = dict(rename or {})
    for theirs in rename:
        if theirs not in columns:
            raise InputError(
                f"{where}: --map names a column '{theirs}' that is not there; "
                f"columns seen: {listed(columns)}.{did_you_mean(theirs, columns)}"
            )
    names: dict[str, str] = {}
    for column in columns:
        ours = rename.get(column, column)
        if ours in names:
            raise InputError(
                f"{where}: columns '{names[ours]}' and '{column}' are both called '{ours}'; "
                "a name stands for one column. Drop one, or rename it with --map "
                f"{column}=other."
            )
        names[ours] = column
    refuse_alike(columns, where)
    return names


def refuse_alike(columns: Iterable[str], where: str) -> None:
    """Refuses two columns that an engine would not tell apart.

    Raises:
        InputError: for two columns of one name, or of names that differ in case only.
    """
    folded: dict[str, str] = {}
    for column in columns:
        other = folded.get(column.lower())
        folded[column.lower()] = column
        if other == column:
            raise InputError(
                f"{where}: column '{column}' stands twice; a name stands for one column. Rename or "
                "drop one."
            )
        if other is not None:
            raise InputError(
                f"{where}: columns '{other}' and '{column}' differ in case only; one of them would "
                "be taken for the other. Rename or drop one."
            )


def layout(
    columns: tuple[str, ...],
    *,
    where: str,
    kind: str | None = None,
    rename: Mapping[str, str] | None = None,
) -> Layout:
    """Recognises the kind of rows from their columns, and gives each column its part.

    Args:
        columns: names in the source.
        where: file (or frame) for messages.
        kind: one of `KINDS`; recognised where None.
        rename: {theirs: ours}.

    Raises:
        UsageError: for an unknown kind.
        InputError: for a column that is missing, given twice, or of two meanings.
    """
    names = renamed(columns, rename, where)
    if kind is None:
        known = recognise(tuple(names), where)
    elif kind in KINDS:
        known = kind
    else:
        raise UsageError(
            f"no kind of rows '{kind}'; there are {listed(KINDS)}.{did_you_mean(kind, KINDS)}"
        )
    found = _canonical(names, known, where)
    _one_unit(found, where)
    for need in _REQUIRED[known]:
        if need not in found and not (need == "runtime_s" and MILLISECONDS in found):
            raise InputError(_missing(need, known, tuple(names), where))
    knobs = tuple(k for k in (*KNOBS, *WORDS) if k in found)
    if known == "curve" and not any(k in KNOBS for k in knobs):
        raise InputError(
            f"{where}: no knob column beside 'accuracy'; a curve needs one of {listed(KNOBS)}. "
            f"Columns seen: {listed(names)}. Rename with --map theirs=samples."
        )
    taken = {*IDENTITY, *KNOBS, *WORDS, *STOPPING, *_OWN[known]}
    own = tuple(name for name in found if name not in taken)
    classes = tuple(name for name in own if name not in RESERVED)
    return Layout(known, found, knobs, classes, tuple(name for name in own if name in RESERVED))


def recognise(names: tuple[str, ...], where: str) -> Kind:
    """The kind of rows that have columns `names`."""
    seen = set(names)
    n, c = (_spelling(seen, "counts", name) for name in ("n", "c"))
    verdict = "correct" in seen
    if n and c and verdict:
        raise InputError(
            f"{where}: columns '{n}' and '{c}' (counts of attempts) stand beside 'correct' (the "
            "verdict of one attempt); one file holds one kind of rows. Rename what is not meant, "
            f"for example --map correct=other, or --map {n}=other."
        )
    if n and verdict:
        raise InputError(
            f"{where}: is 'correct' how many of '{n}' attempts were correct (then --map correct=c) "
            f"or the verdict of one attempt (then --map {n}=other)?"
        )
    if n or c:
        return "counts"
    if verdict:
        return "attempts"
    knob = any(k in seen for k in KNOBS)
    if _spelling(seen, "curve", "accuracy") and knob and "problem" not in seen:
        return "curve"
    timed = any(_spelling(seen, "runtime", name) for name in ("runtime_s", MILLISECONDS))
    if timed and "problem" not in seen:
        return "runtime"
    if "value" in seen:
        raise InputError(
            f"{where}: rows with a column 'value' are a menu, not a sweep; give them to allocate "
            "(scaling.data.read_menu in Python), or rename with --map value=accuracy if they are "
            "points of a curve."
        )
    if _spelling(seen, "curve", "accuracy") and "problem" not in seen:
        return "curve"
    if "problem" in seen:
        both: tuple[Kind, ...] = ("attempts", "counts")
        kind = max(both, key=lambda kind: _likeness(kind, names))
        raise InputError(_missing("n" if kind == "counts" else "correct", kind, names, where))
    if knob:
        return "curve"
    kind = max(KINDS, key=lambda kind: _likeness(kind, names))
    if _likeness(kind, names) > _ALIKE:
        need = next(need for need in _REQUIRED[kind] if need not in seen)
        raise InputError(_missing(need, kind, names, where))
    raise InputError(
        f"{where}: these are no rows of a sweep; columns seen: {listed(names)}. A sweep has "
        "problem, correct (one row an attempt), or problem, n, c (one row a problem), or a knob "
        "such as samples with accuracy (one row a point). Rename with --map theirs=ours."
    )


def listed(names: Iterable[object], limit: int = 30) -> str:
    """Names with commas, the first `limit` of them."""
    every = [str(name) for name in names]
    more = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {more} more" if more > 0 else "")


def _spelling(seen: set[str], kind: Kind, name: str) -> str | None:
    for spelled in (name, *ALIASES[kind].get(name, ())):
        if spelled in seen:
            return spelled
    return None


def _canonical(names: Mapping[str, str], kind: Kind, where: str) -> dict[str, str]:
    ours_of = {alias: ours for ours, aliases in ALIASES[kind].items() for alias in aliases}
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    for name, theirs in names.items():
        ours = ours_of.get(name, name)
        if ours in found:
            raise InputError(
                f"{where}: columns '{spelled[ours]}' and '{name}' are two spellings of '{ours}'; "
                f"keep one, or rename the other with --map {name}=other."
            )
        found[ours] = theirs
        spelled[ours] = name
    return found


def _one_unit(found: Mapping[str, str], where: str) -> None:
    if "runtime_s" in found and MILLISECONDS in found:
        raise InputError(
            f"{where}: columns '{found['runtime_s']}' and '{found[MILLISECONDS]}' are one runtime in two "
            f"units; keep one, or rename the other with --map {found[MILLISECONDS]}=other."
        )


def _likeness(kind: Kind, names: tuple[str, ...]) -> float:
    """Mean over the columns that a kind requires of how near a name comes, from 0 to 1."""
    need = _REQUIRED[kind]
    return sum(_nearest(column, kind, names)[0] for column in need) / len(need)


def _nearest(need: str, kind: Kind, names: tuple[str, ...]) -> tuple[float, str]:
    """The name nearest to a required column, and how near: 1 for itself, 0 for none."""
    from difflib import SequenceMatcher

    if need in names:
        return 1.0, need
    known = {*IDENTITY, *KNOBS, *WORDS, *STOPPING, *(c for kind in KINDS for c in _OWN[kind])}
    best = (0.0, "")
    for spelled in (need, *ALIASES[kind].get(need, ())):
        for name in names:
            if name not in known:  # what has a meaning of its own is no slip
                alike = SequenceMatcher(None, name, spelled).ratio()
                best = max(best, (alike if alike >= _ALIKE else 0.0, name))
    return best


def _near(need: str, kind: Kind, names: tuple[str, ...]) -> str:
    alike, name = _nearest(need, kind, names)
    return f" Did you mean '{name}'?" if alike else ""


def _missing(need: str, kind: Kind, names: tuple[str, ...], where: str) -> str:
    also = ALIASES[kind].get(need, ())
    spelled = f" (also spelled {listed(also)})" if also else ""
    return (
        f"{where}: no column '{need}'{spelled}, {MEANING[need]}; columns seen: {listed(names)}."
        f"{_near(need, kind, names)} Rename with --map theirs={need}."
    )
