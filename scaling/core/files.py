"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from scaling.errors import InputError


def ensure_writable(path: str | os.PathLike[str]) -> Path:
    """Check that a file can be written at `path`, before the work that leads to it.

    Returns:
        The path.

    Raises:
        InputError: `path` is a folder, its folder does not exist, or it takes no new file.
    """
    target, temporary = _open_beside(path)
    temporary.unlink()
    return target


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to a temporary file in the same folder and rename it to `path`.

    Returns:
        The path.

    Raises:
        InputError: the file cannot be written; `path` is then as it was.
    """
    target, temporary = _open_beside(path)
    try:
        temporary.write_bytes(content)
        temporary.chmod(_mode(target))
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _refused(target, error) from error
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` as UTF-8, as `write_bytes` does."""
    return write_bytes(path, text.encode("utf-8"))


def _open_beside(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The target, and a new empty file in its folder."""
    target = Path(path)
    if target.is_dir():
        raise InputError(f"Cannot write {target}: it is a folder. Give the name of a file.")
    if target.exists() and not os.access(target, os.W_OK):
        raise InputError(f"Cannot write {target}: the file is read-only. Give another name.")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:64]}.", dir=target.parent)
    except (OSError, ValueError) as error:
        raise _refused(target, error) from error
    os.close(handle)
    return target, Path(name)


def _mode(target: Path) -> int:
    """The mode of the file that stands there, or of a new file under this process's mask."""
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _refused(target: Path, error: Exception) -> InputError:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return InputError(
        f"Cannot write {target}: {cause[:1].lower() + cause[1:]}. "
        "Give a path in an existing folder that you may write to."
    )
