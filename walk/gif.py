"""The comment of a GIF, which holds the recipe of such a film. Knows nothing of what a comment says.

(GIF89a specification, https://www.w3.org/Graphics/GIF/spec-gif89a.txt, sections 18, 24 and 26)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_EXTENSION, _COMMENT, _APPLICATION = 0x21, 0xFE, 0xFF
_BLOCK = 255  # bytes of data in a block at most


def comment(path: Path) -> str | None:
    """The comment before a GIF's first picture; '' if there is none; None if the file is not a GIF."""
    try:
        with path.open("rb") as file:
            _skip_head(file)
            while (kind := _extension(file)) is not None:
                data = b"".join(_blocks(file))
                if kind == _COMMENT:
                    return data.decode("utf-8")
    except (OSError, ValueError):
        return None
    return ""


def put_comment(path: Path, text: str) -> None:
    """Insert a comment before a GIF's first picture, after the extension that tells players how often to play it."""
    data = text.encode("utf-8")
    parts = [data[i : i + _BLOCK] for i in range(0, len(data), _BLOCK)]
    extension = bytes([_EXTENSION, _COMMENT]) + b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    with path.open("rb+") as file:
        _skip_head(file)
        at = file.tell()
        while _extension(file) == _APPLICATION:
            list(_blocks(file))
            at = file.tell()
        file.seek(at)
        rest = file.read()
        file.seek(at)
        file.write(extension + rest)


def _skip_head(file: BinaryIO) -> None:
    """Raises ValueError if the file is not a GIF."""
    head = file.read(13)
    if head[:6] not in (b"GIF87a", b"GIF89a") or len(head) < 13:
        raise ValueError("no GIF")
    if head[10] & 0x80:  # a colour table for all pictures
        file.seek(3 << ((head[10] & 7) + 1), os.SEEK_CUR)


def _extension(file: BinaryIO) -> int | None:
    """The kind of the extension that begins here; None for a picture or the end."""
    head = file.read(2)
    return head[1] if len(head) == 2 and head[0] == _EXTENSION else None


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """The blocks of an extension's data. Raises ValueError where the file breaks off."""
    while True:
        size = file.read(1)
        data = file.read(size[0]) if size else b""
        if not size or len(data) < size[0]:
            raise ValueError("it breaks off")
        if not data:
            return
        yield data
