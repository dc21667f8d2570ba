"""Reads files that people name and write; writes files of our own so that they are whole at any instant.

Knows nothing of what is in them.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import functools
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from walk import Error

MAX_FILE_BYTES = 1 << 20  # no file of prompts is larger than a megabyte
# Seconds to wait before trying again to put a file in its place: on Windows, virus scanners hold new ones open.
PAUSES = (0.01, 0.05, 0.2, 0.5) if os.name == "nt" else ()
HOLDS = (5, 32)  # Windows' errors where another program has a file open: access denied, and a sharing violation
# Errors of file systems that cannot make a folder's changes last at once, such as network shares.
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def at_home(path: str | Path) -> Path:
    """With the home folder for ~; an unknown user's ~name is left unchanged, and so does not exist."""
    return Path(os.path.expanduser(path))


@contextlib.contextmanager
def _blaming(what: str, more: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Error(f"{what} ({error.strerror or error}){held_note(error)}{more}") from None


def held_note(error: OSError) -> str:
    """What may be wrong where Windows only says that access is denied, as the end of a sentence; else ''."""
    return "; if another program has it open, close it there" if getattr(error, "winerror", None) in HOLDS else ""


def reading(path: Path, more: str = "") -> contextlib.AbstractContextManager[None]:
    """Turns an OSError into the Error 'PATH cannot be read (why)'. more: is appended to it."""
    return _blaming(f"{path} cannot be read", more)


def writing(path: Path, more: str = "") -> contextlib.AbstractContextManager[None]:
    """Turns an OSError into the Error 'PATH cannot be written (why)'. more: is appended to it."""
    return _blaming(f"{path} cannot be written", more)


def read_text(path: Path, expected: str, hint: str = "") -> str:
    """The text of a small file that somebody wrote. Raises Error, which says what was expected, and for a file that
    does not exist also the hint."""
    if os.path.isdir(path):
        raise Error(f"{path} is a folder; {expected}")
    data = read_up_to(MAX_FILE_BYTES + 1, path, expected, f"{path} does not exist; {expected}{hint}")
    return _text(str(path), data, expected)


def read_up_to(most: int, path: Path, expected: str, absent: str) -> bytes:
    """What a file that somebody named holds, up to so many bytes. Raises Error, which says what was expected, and for a
    file that does not exist nothing but `absent`."""
    with reading(path, f"; {expected}"):
        try:
            with path.open("rb") as file:
                return file.read(most)
        except FileNotFoundError:
            raise Error(absent) from None


@functools.cache
def read_input(name: str, expected: str) -> str:
    """As `read_text`, from standard input; the same again, however often it is called."""
    if sys.stdin is None:  # if it was closed
        raise Error(f"{name} is closed; {expected}")
    return _text(name, sys.stdin.buffer.read(MAX_FILE_BYTES + 1), expected)


def _text(name: str, data: bytes, expected: str) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise Error(f"{name} is larger than a megabyte; {expected}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as Windows PowerShell's > writes it
        with contextlib.suppress(UnicodeDecodeError):
            data = data.decode("utf-16").encode("utf-8", "surrogatepass")
    if data.startswith(b"{\\rtf"):  # as TextEdit of macOS and WordPad save what is written
        raise Error(f"{name} is formatted text (RTF); save it as plain text: {expected}")
    if b"\0" in data:
        raise Error(f"{name} is a binary file; {expected}")
    try:
        return data.decode("utf-8").replace("\N{BOM}", "")  # several, where files that had one each were joined
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", data[: error.start])) + 1
        raise Error(f"{name}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; {expected}") from None


def lines_of(path: Path | str, text: str) -> list[tuple[str, str]]:
    """(where, line) of every line that is not blank or a comment; where is 'PATH:NUMBER'."""
    lines = [(f"{path}:{number}", line) for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1)]
    return [(where, line) for where, line in lines if line.strip() and not line.lstrip().startswith("#")]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is, at every instant and after a power cut, either whole or as it was."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")  # others may write it, too
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            flush(file.fileno())
        replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def flush(handle: int) -> None:
    """Wait until what was written to a file is on the disk. On macOS `os.fsync` leaves it in the drive's own memory."""
    if sys.platform == "darwin":
        import fcntl

        with contextlib.suppress(OSError):  # as on some network drives
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
    os.fsync(handle)


def replace(part: Path, path: Path) -> None:
    """Put a file or a folder in the place of another file."""
    for pause in PAUSES:
        try:
            return os.replace(part, path)
        except PermissionError:
            time.sleep(pause)
    os.replace(part, path)


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder last. Windows has no such call and needs none."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if error.errno not in UNABLE:
                raise
        finally:
            os.close(handle)
