"""What tells a file from any other: its SHA-256. That of a large file is remembered as long as the file does not
change, since reading a model of many gigabytes for it takes longer than loading it. Knows nothing of what files hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

LARGE = 2**27  # bytes; smaller files are read in no time
BLOCK = 2**20

Report = Callable[[str, int, int], object]  # what is done, how many bytes are, and how many there are


def of_file(path: Path, report: Report = lambda what, done, size: None) -> str:
    """A file's digest, 64 hexadecimal digits. report: called now and then while a large file is read."""
    status = path.stat()
    if status.st_size < LARGE:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    # Whatever changes a file's content changes the last of these; except on Windows, where it is the time of creation.
    state = str(path.resolve()), status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    record = cache() / "digests" / hashlib.sha256(repr(state).encode("utf-8", "surrogateescape")).hexdigest()
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if re.fullmatch("[0-9a-f]{64}", known := record.read_text("ascii")):
            return known
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            report(f"reading {path.name}", done, status.st_size)
    with contextlib.suppress(OSError):  # where there is no room for it, it is read again next time
        record.parent.mkdir(parents=True, exist_ok=True)
        part = record.with_suffix(f".{os.getpid()}")
        part.write_text(digest.hexdigest(), "ascii")
        os.replace(part, record)
    return digest.hexdigest()


def cache() -> Path:
    """The folder of what walk need not find out again. It may not exist, and it may be impossible to create it."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "walk"
    except RuntimeError:  # there is no home
        return Path(os.devnull) / "walk"
