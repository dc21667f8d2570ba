"""Beats that were written down: a text file with a beat a line, as walk and other programs write it.

Knows no sounds.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from walk import Error
from walk.audio import Rhythm
from walk.files import lines_of, read_text
from walk.text import parse_time

_EXPECTED = "a file of beats is text with the seconds of one beat a line"


def as_file(rhythm: Rhythm, meter: int, name: str, start: float = 0.0) -> str:
    """Beats as `listen` hears them and `read_beats` reads them: each with its number in its bar, also before the first.
    Where another tempo begins within a bar, that one is longer.

    name: of the sound, for a comment. start: in it, in seconds, of what was heard."""
    number = -rhythm.beats.index(rhythm.bars[0]) % meter if rhythm.bars else 0
    lines, bars = [], {*rhythm.bars}
    for time in rhythm.beats:
        number = 1 if time in bars else number + 1
        lines.append(f"{start + time:.4f}\t{number}")
    return "\n".join([f"# {name}: seconds, and the beat in the bar", *lines])


def read_beats(path: Path) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    """(beats, bars) in seconds from a text file, one beat a line; bars None where it does not say.

    Times are seconds or minutes:seconds, first in the line; what follows after a tab, comma, semicolon or
    space is ignored (Audacity's and Sonic Visualiser's labels), unless every line has a whole number there
    and some a 1: the beat's number in its bar (madmom, BeatNet, Beat This!). Blank lines and lines that
    begin with # are skipped, and so is a header before the first time.

    Raises Error with file and line.
    """
    times: list[float] = []
    numbers: list[str] = []
    commas: list[tuple[str, str, str]] = []  # what may be whole seconds and a beat's number, or have a decimal comma
    for where, line in lines_of(path, read_text(path, _EXPECTED)):
        if whole := re.match(r"(\d+),(\d+)(?![\d.:])", line):
            commas.append((where, line, whole[2]))
        fields = [field.strip().strip('"') for field in re.split(r"[\t,;]|\s+", line.strip())]
        try:
            time = parse_time(fields[0])
        except ValueError:
            if not times and not re.search(r"\d", line):
                continue
            raise Error(f"{where}: '{line[:40]}' does not begin with a time; {_EXPECTED}") from None
        if times and time <= times[-1] and not commas:
            raise Error(f"{where}: {fields[0]} is not after {times[-1]:g}; beats must increase from line to line")
        times.append(time)
        numbers.append(fields[-1] if len(fields) > 1 else "")
    rises = all(a < b for a, b in pairwise(times))
    if commas and not (rises and len(commas) == len(times) and _count_up([number for *_, number in commas])):
        where, line, _ = commas[0]
        raise Error(f"{where}: '{line[:40]}' has a decimal comma; write seconds with a point, as in 12.5")
    if len(times) < 2:
        raise Error(f"{path} has {'one beat' if times else 'no beats'} in it; {_EXPECTED}")
    numbered = all(re.fullmatch(r"[1-9]\d?(\.0)?", number) for number in numbers)
    bars = tuple(time for time, number in zip(times, numbers) if float(number) == 1) if numbered else ()
    return tuple(times), bars or None


def _count_up(numbers: list[str]) -> bool:
    """Whether these are the numbers of beats in their bars."""
    counts = [int(number) for number in numbers]
    plain = all(re.fullmatch(r"[1-9]\d?", number) for number in numbers)
    return plain and all(b in (1, a + 1) for a, b in pairwise(counts))
