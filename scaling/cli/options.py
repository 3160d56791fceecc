"""Options that several commands share, and how their values are read."""

from __future__ import annotations

import glob
import os
import re
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scaling.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from scaling.data.sweep import Sweep

Bins = dict[str, tuple[float, ...] | int]

_KIND = re.compile(rb'"kind"\s*:\s*"(scaling-[a-z-]+)"')
_HEAD = 4096

as_json = click.option(
    "--json", "as_json", is_flag=True, help="Print the document on standard output, nothing else."
)
seed = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Same seed, same bytes.",
)


def output(metavar: str, text: str) -> Callable[[Any], Any]:
    """The option `-o`."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, allow_dash=False),
        metavar=metavar,
        help=text,
    )


def check_output(path: Path | None, inputs: Sequence[str]) -> None:
    """Refuse, before any work, an output that is one of the inputs or that cannot be written.

    Args:
        path: what `-o` gives, None where it is not given.
        inputs: paths, globs and - of everything that the command reads.

    Raises:
        UsageError: `-o -`, or an output that is also read.
        InputError: no file can be written there.
    """
    from scaling.core.files import ensure_writable

    if path is None:
        return
    if str(path) == "-":
        raise UsageError(
            "-o -: a document is written to a file, and - is no name of one. Give the name of a "
            "file; or leave out -o: --json prints the document on standard output."
        )
    if path.exists():
        there = path.stat()
        for name, found in _read_from(inputs):
            if os.path.samestat(found, there):
                raise UsageError(
                    f"-o {path}: this file is also read ({name}), and would be overwritten. "
                    "Give the output another name."
                )
    ensure_writable(path)


def _read_from(inputs: Sequence[str]) -> Iterator[tuple[str, os.stat_result]]:
    """The files that exist among the inputs, globs expanded, and a file on standard input."""
    for given in inputs:
        if given == "-":
            try:
                yield "standard input", os.fstat(sys.stdin.fileno())
            except (OSError, ValueError):  # closed, or no file of the system
                continue
        elif Path(given).exists():
            yield given, Path(given).stat()
        else:
            # Path.glob takes no absolute patterns
            for match in glob.glob(given, recursive=True):  # noqa: PTH207
                if Path(match).exists():
                    yield match, Path(match).stat()


def given() -> dict[str, list[str]]:
    """The options of the running command that were given and are not the default, as words."""
    ctx = click.get_current_context()
    found: dict[str, list[str]] = {}
    for option in ctx.command.params:
        name = str(option.name)
        if not isinstance(option, click.Option) or name not in ctx.params:
            continue
        if ctx.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        flag, value = option.opts[0], ctx.params[name]
        if option.is_flag:
            found[name] = [flag]
        elif option.multiple:
            found[name] = [word for each in value for word in (flag, str(each))]
        elif value != option.default:
            found[name] = [flag, str(value)]
    return found


def again(*left_out: str) -> str:
    """The options of the running command once more, to be pasted.

    Args:
        *left_out: names of parameters to leave out.
    """
    kept = (words for name, words in given().items() if name not in left_out)
    return shlex.join(word for words in kept for word in words)


def pairs(text: str, flag: str) -> dict[str, str]:
    """Read `a=b,c=d`."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise UsageError(f"{flag} {text}: '{part}' is not of the form name=value.")
        if name.strip() in found:
            raise UsageError(f"{flag} {text}: '{name.strip()}' is given twice.")
        found[name.strip()] = value.strip()
    return found


def each_pair(values: Sequence[str], flag: str) -> dict[str, str]:
    """Read a repeated `name=value`, where the value may hold commas and equals signs."""
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{flag} {text}: give it as column=value.")
        if name in found:
            raise UsageError(f"{flag}: '{name}' is given twice; one value a column.")
        found[name] = value
    return found


def settings(values: Sequence[str], flag: str) -> dict[str, list[float]]:
    """Read a repeated `a=1,10,b=5`: numbers belong to the name before them."""
    found: dict[str, list[float]] = {}
    for text in values:
        name = ""
        for part in text.split(","):
            head, equals, value = part.partition("=")
            if equals:
                name = head.strip()
                if not name or name in found:
                    problem = f"'{name}' is given twice" if name else "a name is empty"
                    raise UsageError(f"{flag} {text}: {problem}; give {flag} samples=1,10,100.")
                found[name] = []
            elif not name:
                raise UsageError(
                    f"{flag} {text}: give it as column=value, such as samples=1,10,100."
                )
            found[name].append(finite(value if equals else part, f"{flag} {name}"))
    return found


def finite(text: str, flag: str) -> float:
    """Read a finite number."""
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"{flag}: '{text}' is not a number.") from None
    if value - value != 0:
        raise UsageError(f"{flag}: {text} is not allowed; give a finite number.")
    return value


def numbers(text: str, flag: str) -> list[float]:
    """Read `1,10,100`; a number may be written 1e4."""
    return [finite(part, flag) for part in text.split(",")]


def columns(text: str | None) -> list[str] | None:
    """Read `--by`: column names, `none` for one group, None for the default."""
    if text is None:
        return None
    if text == "none":
        return []
    found = [part.strip() for part in text.split(",")]
    if "" in found:
        raise UsageError(
            f"--by {text}: a column name is empty. Give --by level,model or --by none."
        )
    return found


def bins(values: Sequence[str]) -> Bins:
    """Read `COL=.2,.6` (cut points) and `COL:q4` (that many quantile bins).

    Raises:
        UsageError: neither form, cut points that do not increase, or fewer than two quantile bins.
    """
    found: Bins = {}
    for text in values:
        name, equals, cuts = text.partition("=")
        column, colon, quantiles = text.rpartition(":q")
        if equals and name:
            points = tuple(numbers(cuts, f"--bins {text}"))
            if any(b <= a for a, b in pairwise(points)):
                raise UsageError(f"--bins {text}: cut points must increase.")
            found[name] = points
        elif colon and column and quantiles.isdigit() and int(quantiles) > 1:
            found[column] = int(quantiles)
        else:
            raise UsageError(
                f"--bins {text}: give cut points, as in difficulty=.2,.6, "
                "or a number of quantile bins, as in difficulty:q4."
            )
    return found


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that read a log."""
    for option in (
        click.option(
            "--threshold",
            type=float,
            metavar="X",
            help="Count an attempt as correct when its score is at least X.",
        ),
        click.option(
            "--check-duplicates",
            is_flag=True,
            help="Check every row for duplicates exactly, not by the screen alone.",
        ),
        click.option(
            "--map",
            "rename",
            multiple=True,
            metavar="THEIRS=OURS,...",
            help="Rename columns of the file: --map solved=correct,question=problem.",
        ),
    ):
        command = option(command)
    return command


by = click.option(
    "--by",
    metavar="COLS|none",
    help="Columns that make the groups. Default: those of task and model with several values.",
)
where = click.option(
    "--where", multiple=True, metavar="COL=VALUE", help="Keep these rows. Repeatable."
)


def stated_kind(path: Path) -> str | None:
    """The `kind` of this package that a JSON document states in its first lines, None where none."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    stated = _KIND.search(head) if head.lstrip().startswith(b"{") else None
    return stated.group(1).decode() if stated else None


def renames(given: Sequence[str]) -> dict[str, str]:
    """Read `--map theirs=ours,...`."""
    return pairs(",".join(given), "--map") if given else {}


def read_sweep(
    sources: Sequence[str],
    *,
    rename: Sequence[str] = (),
    check_duplicates: bool = False,
    threshold: float | None = None,
) -> Sweep:
    """Read one or several logs as one sweep."""
    import scaling
    from scaling.cli import show

    names = renames(rename)
    with show.waiting(f"reading {', '.join(sources)}"):
        return scaling.read(
            list(sources) if len(sources) > 1 else sources[0],
            rename=names or None,
            check_duplicates=check_duplicates,
            threshold=threshold,
        )


def notes(sweep: Sweep) -> None:
    """Say on standard error what reading left out or assumed."""
    from scaling.cli import show

    found = sweep.report
    said = {
        "attempts without a verdict (errors among them) are missing, not wrong": found.missing,
        "attempts were cut off at a limit; they keep their verdict": found.truncated,
        "problems have no attempt with a verdict and are left out": found.without_verdict,
    }
    for text in [*(f"{n:,} {what}" for what, n in said.items() if n), *found.notes]:
        show.message(f"note: {text}")


def standard_input() -> str:
    """The text of standard input, for a path of `-`."""
    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"standard input is not UTF-8 text (byte {error.start}). Give a JSON document."
        ) from error


def give(text: str, path: Path | None, report: Callable[[], None], *, as_json: bool) -> None:
    """Write a document where asked, then print it or its report, and say last where it is.

    The file comes first, so that it stands although nobody reads the report to its end.
    """
    from scaling.cli import show
    from scaling.core.files import write_text

    if path:
        write_text(path, text)
    if as_json:
        click.echo(text, nl=False)
    else:
        report()
    if path:
        show.wrote(path, as_json=as_json)
