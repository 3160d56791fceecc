"""From files, globs, standard input and tables in memory to a `Sweep`."""

from __future__ import annotations

import glob
import gzip
import re
import shutil
import sys
import zlib
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from scaling.data import attempts, counts
from scaling.data.duck import connect
from scaling.data.readers import Scan, reader, reader_names
from scaling.data.readers.frame import is_frame, scan_frame
from scaling.data.schema import layout, listed
from scaling.data.sweep import Report, Sweep, is_saved, load_saved
from scaling.errors import InputError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import duckdb

_HEAD = 1 << 16
_GZIP = b"\x1f\x8b"
_SPOOLED = re.compile(r"\S*standard input(\.gz)?")


def read(
    source: Any,
    *,
    kind: str | None = None,
    rename: Mapping[str, str] | None = None,
    check_duplicates: bool = False,
    threshold: float | None = None,
) -> Sweep:
    """Reads logged attempts, counts per problem, points of curves or measured runtimes.

    Args:
        source: a path, a glob, "-" for standard input, a list of them, or a pandas, polars or Arrow
            table. CSV, Parquet and JSON lines are told apart by content, plain or gzipped.
        kind: "attempts", "counts", "curve" or "runtime"; recognised from the columns where None.
        rename: {theirs: ours}, for columns that are called otherwise.
        check_duplicates: compare all attempts exactly, and not only those that fail the screen.
        threshold: graded verdicts count as correct from here on; without it they are refused.

    Returns:
        The sweep, reduced to per-problem statistics.

    Raises:
        InputError: for anything that cannot be used as given; the message names file, row and
            column, says what is allowed and what to do.
        UsageError: for an option that does not exist.
    """
    if threshold is not None and not 0 < threshold <= 1:
        raise UsageError(f"the threshold is {threshold}; a verdict counts from above 0 up to 1.")
    opened = _opened_as(source)
    with connect() as con, _opened(con, source) as scans:
        saved = [
            scan.format == "parquet" and is_saved(con, part)
            for scan in scans
            for part in scan.parts
        ]
        if all(saved):
            sweep = load_saved(con, scans[0].parts[0])
            for part in [part for scan in scans for part in scan.parts][1:]:
                sweep = sweep.merge(load_saved(con, part))
            return replace(sweep, opened=opened)
        if any(saved) or len(scans) > 1:
            forms = sorted({scan.format for scan in scans})
            raise InputError(
                f"{scans[0].where}: the files are of several kinds ({listed(forms)}"
                f"{', saved sweeps among them' if any(saved) else ''}); read them one by one and "
                "merge the sweeps."
            )
        sweep = _sweep(con, scans[0], kind, rename, check_duplicates, threshold)
        options = _options(rename, threshold) if opened else ()
        return replace(sweep, opened=opened, options=options)


def _opened_as(source: Any) -> tuple[str, ...]:
    """How a command line names what is read; nothing for a table in memory."""
    if is_frame(source):
        return ()
    return tuple(str(item) for item in (source if isinstance(source, (list, tuple)) else [source]))


def _options(rename: Mapping[str, str] | None, threshold: float | None) -> tuple[str, ...]:
    """The options of the command line without which the log would not read the same."""
    options: list[str] = []
    if rename:
        options += ["--map", ",".join(f"{theirs}={ours}" for theirs, ours in rename.items())]
    if threshold is not None:
        options += ["--threshold", str(threshold)]
    return tuple(options)


def _sweep(
    con: duckdb.DuckDBPyConnection,
    scan: Scan,
    kind: str | None,
    rename: Mapping[str, str] | None,
    check_duplicates: bool,
    threshold: float | None,
) -> Sweep:
    parts = layout(tuple(scan.columns), where=scan.where, kind=kind, rename=rename)
    with _errors_of_engine(scan):
        if parts.kind == "attempts":
            statistics, notes = attempts.reduce_attempts(
                con, scan, parts, check_duplicates=check_duplicates, threshold=threshold
            )
            rows = int(statistics.numbers["rows"].sum())
        else:
            readers = {
                "counts": counts.read_counts,
                "curve": counts.read_curve,
                "runtime": counts.read_runtime,
            }
            statistics, notes = readers[parts.kind](con, scan, parts)
            rows = len(statistics)
    return Sweep(
        kind=parts.kind,
        format=scan.format,
        rows=rows,
        sources=tuple(_SPOOLED.sub("standard input", part.name) for part in scan.parts),
        statistics=statistics,
        report=Report.of(statistics, (*scan.notes, *notes)),
    )


@contextmanager
def open_scan(con: duckdb.DuckDBPyConnection, source: Any) -> Iterator[Scan]:
    """The rows of `source`, all of one format."""
    with _opened(con, source) as scans:
        if len(scans) > 1:
            forms = listed(sorted({scan.format for scan in scans}))
            raise InputError(f"{scans[0].where}: files of several formats ({forms}); read one.")
        with _errors_of_engine(scans[0]):
            yield scans[0]


@contextmanager
def _opened(con: duckdb.DuckDBPyConnection, source: Any) -> Iterator[tuple[Scan, ...]]:
    """Scans over the sources, one a format."""
    if is_frame(source):
        yield (scan_frame(con, source),)
        return
    with TemporaryDirectory(prefix="scaling-") as folder:
        try:
            yield scans_of(con, paths_of(source, Path(folder)))
        except InputError as error:
            raise InputError(_SPOOLED.sub("standard input", str(error))) from None


def paths_of(source: Any, folder: Path) -> tuple[Path, ...]:
    """The files that `source` names; standard input is spooled to `folder`."""
    if isinstance(source, (str, Path)):
        listing = [source]
    elif isinstance(source, (list, tuple)) and source:
        listing = list(source)
    else:
        raise InputError(
            f"cannot read a {type(source).__name__}; give a path, a glob, '-', a list of them, or a "
            "pandas, polars or Arrow table."
        )
    paths: list[Path] = []
    for item in listing:
        if not isinstance(item, (str, Path)):
            raise InputError(
                f"a list of sources holds a {type(item).__name__}; it may hold paths, globs and '-'."
            )
        if str(item) == "-":
            start = sys.stdin.buffer.read(2)
            path = folder / ("standard input.gz" if start == _GZIP else "standard input")
            with path.open("wb") as file:
                file.write(start)
                shutil.copyfileobj(sys.stdin.buffer, file)
            paths.append(path)
        else:
            paths.extend(_matched(str(item)))
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"{path}: named twice; every file is read once. Drop one mention.")
        seen.add(path.resolve())
    return tuple(paths)


def _matched(item: str) -> list[Path]:
    path = Path(item)
    if path.is_dir():
        raise InputError(
            f"{item}: a folder; name the files in it, for example with a glob: {path / '*.parquet'}"
        )
    if path.exists():
        return [path]
    if any(sign in item for sign in "*?["):
        # Path.glob takes no absolute patterns
        found = sorted(Path(match) for match in glob.glob(item, recursive=True))  # noqa: PTH207
        files = [match for match in found if match.is_file()]
        if files:
            return files
        raise InputError(f"{item}: no file matches.{_nearby(path)}")
    raise InputError(f"{item}: no such file.{_nearby(path)}")


def _nearby(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f" There is no folder {folder} either."
    names = [file.name for file in folder.iterdir() if file.is_file()]
    near = did_you_mean(path.name, names)
    return near or " Check the path and the working directory."


def scans_of(con: duckdb.DuckDBPyConnection, paths: tuple[Path, ...]) -> tuple[Scan, ...]:
    """Tells the formats apart by content and opens each with its reader."""
    readers = sorted((reader(name) for name in reader_names()), key=lambda r: r.general)
    formats: dict[str, list[Path]] = {}
    for path in paths:
        head = _head(path)
        if not head.strip():
            raise InputError(
                f"{path}: the file is empty; a sweep has a header and one row per attempt, problem "
                "or point."
            )
        format_ = next((r.name for r in readers if r.recognises(path, head)), None)
        if format_ is None or (format_ != "parquet" and not _is_text(head)):
            raise InputError(
                f"{path}: neither UTF-8 text nor Parquet; a sweep is a CSV, JSON lines or Parquet "
                "file. Unpack archives, and save text as UTF-8."
            )
        formats.setdefault(format_, []).append(path)
    scans = []
    for name, files in formats.items():
        scan = Scan(name, (), "", {})
        with _errors_of_engine(scan, files):
            scans.append(reader(name).scan(con, tuple(files)))
    return tuple(scans)


def _head(path: Path) -> bytes:
    """The first bytes, decompressed."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(_GZIP):
            with gzip.open(path, "rb") as packed:
                head = packed.read(_HEAD)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: cannot be read ({error}). Check that the file is whole and readable."
        ) from None
    return head


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) == _HEAD  # a character cut at the end
    return True


@contextmanager
def _errors_of_engine(scan: Scan, files: list[Path] | None = None) -> Iterator[None]:
    """Turns what DuckDB says about a broken file into one sentence."""
    import duckdb

    where = scan.where if scan.parts else ", ".join(str(file) for file in files or ())
    try:
        yield
    except duckdb.Error as error:
        raise InputError(_said(str(error), where)) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where}: not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from None


def _said(message: str, where: str) -> str:
    file = re.search(r"file = (.+)", message)
    line = re.search(r"CSV Error on Line: (\d+)", message)
    counted = re.search(r"Expected Number of Columns: (\d+) Found: (\d+)", message)
    place = (file.group(1).strip() if file else where) + (f": line {line.group(1)}" if line else "")
    if counted:
        return (
            f"{place}: {counted.group(2)} fields where the header has {counted.group(1)}; every row "
            "has as many as the header. Mend the row, and quote fields that hold the separator."
        )
    if "state machine" in message:
        return (
            f"{place}: line ends or quotes are mixed. Save the file with one kind of line end, and double "
            "the quotes inside quoted fields."
        )
    if "unterminated quote" in message:
        return f"{place}: a quote is opened and never closed. Close or double it."
    if "unicode" in message.lower() or "utf-8" in message.lower():
        return f"{place}: not UTF-8 text. Save the file as UTF-8."
    first = message.strip().split("\n")[0]
    return f"{place}: cannot be read: {first} Check that the file is whole and of its format."
