"""Files that are written whole or not at all."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Replaces a file by what the body writes to the temporary path that it is given.

    Whoever reads, and whenever the process is killed, the file is the old one or the new one.

    Args:
        path: the file; its folder is made when it does not exist.

    Yields:
        ``PATH.tmp`` beside it, to be written and closed. Its bytes are on the disk before it is
        renamed. When the body raises it is removed, and the old file stays.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with named(path):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def named(path: str | os.PathLike) -> Iterator[None]:
    """An error of the system within it names the file; a full disk does not say whose it was."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not error.filename:
            error.filename = str(path)
        raise


def lock(folder: str | os.PathLike, name: str) -> TextIO:
    """Makes a folder this process's own, until what is returned is closed or the process ends.

    Args:
        folder: made when it does not exist; it holds ``.lock``.
        name: what is written there, as the user calls it.

    Raises:
        ValueError: another process has it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ValueError(f"another process writes {name!r}") from None
    return file
