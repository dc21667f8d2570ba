"""Words, numbers and times as people write and read them.

Knows no files, and not what any text means.
"""

from __future__ import annotations

import re
import shlex
import sys
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

_DIRECTIONS = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}


def parse_time(text: str) -> float:
    """Seconds from '12.5', '1:02.5', '90:00' or '1:02:03.5'. Raises ValueError for anything else."""
    match = re.fullmatch(
        r"(?:(?:(\d{1,6}):(?=[0-5]?\d:))?(\d{1,6}):(?=[0-5]?\d(?!\d)))?(\d{1,9}(?:\.\d*)?|\.\d+)", text.strip()
    )
    if not match:
        raise ValueError(text)
    return int(match[1] or 0) * 3600 + int(match[2] or 0) * 60 + float(match[3])


def format_time(seconds: float) -> str:
    """'8.04 s' or '1:02.5', for people."""
    return f"{seconds:.3g} s" if seconds < 60 else short_clock(seconds)


def clock(seconds: float | Fraction, digits: int = 3) -> str:
    """'1:02.500': a place in a film, as a player shows it."""
    minutes, rest = divmod(round(seconds * 10**digits), 60 * 10**digits)
    return f"{minutes}:{rest / 10**digits:0{digits + 3}.{digits}f}"


def short_clock(seconds: float) -> str:
    """'0:02' or '0:02.67'."""
    return clock(seconds, 2).rstrip("0").removesuffix(".")


def short(seconds: float | Fraction) -> str:
    """Seconds to the millisecond, without zeros at the end."""
    return f"{float(seconds):.3f}".rstrip("0").rstrip(".")


def without_exponent(number: float) -> str:
    """The number without an exponent, which prompt files and flags do not take."""
    return format(Decimal(repr(float(number))), "f")


def has_control_characters(text: str) -> bool:
    """Whether a terminal might obey some of it: escapes, changes of direction, halves of surrogate pairs."""
    return any(unicodedata.category(letter) in ("Cc", "Cs") or letter in _DIRECTIONS for letter in text)


def as_flag(name: str) -> str:
    """The flag as it is typed: --low-memory. (With _ it is the same flag.)"""
    return "--" + name.replace("_", "-")


def as_word(path: Path) -> str:
    """The path as it can be typed: after ./ where it begins like a flag."""
    return f"./{path}" if str(path).startswith("-") else str(path)


def quoted(word: str) -> str:
    """The word as it is typed into a shell; on Windows into cmd, too, for which single quotes are letters like others."""
    if sys.platform != "win32":
        return shlex.quote(word)
    if re.fullmatch(r"[\w.:/\\+-]+", word):
        return word
    return '"' + re.sub(r'(\\*)"', r'\1\1\\"', word) + "\\" * (len(word) - len(word.rstrip("\\"))) + '"'


def plural(count: int, noun: str) -> str:
    """'1 frame', '2 frames'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def either(names: Sequence[str]) -> str:
    """'a, b or c'."""
    return _listed(names, "or")


def together(names: Sequence[str]) -> str:
    """'a, b and c'."""
    return _listed(names, "and")


def _listed(names: Sequence[str], word: str) -> str:
    return f" {word} ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
