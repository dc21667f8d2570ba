"""Files of beats: text with a beat a line, as walk and other programs write it.

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
    """The text of a file of beats, as `read_beats` reads it: each with its number in its bar, even before the first bar
    line. Where another tempo begins within a bar, that bar is longer.

    rhythm: as `walk.audio.listen` returns it. name: of the sound, for a comment. start: where the rhythm begins in the
    sound, in seconds.
    """
    number = -rhythm.beats.index(rhythm.bars[0]) % meter if rhythm.bars else 0
    lines, bars = [], {*rhythm.bars}
    for time in rhythm.beats:
        number = 1 if time in bars else number + 1
        lines.append(f"{start + time:.4f}\t{number}")
    return "\n".join([f"# {name}: seconds, and the beat in the bar", *lines])


def read_beats(path: Path) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
    """(beats, bars) in seconds from a text file with one beat a line; bars are None if it does not say where they begin.

    Each line begins with a time in seconds or minutes:seconds. What follows after a tab, comma, semicolon or space is
    ignored (Audacity's and Sonic Visualiser's labels), unless every line ends in a whole number, and some in 1: the
    beat's number in its bar (madmom, BeatNet, Beat This!). Blank lines, lines that begin with # and a header before the
    first time are skipped.

    Raises Error with file and line.
    """
    times: list[float] = []
    numbers: list[str] = []
    # (where, line, number) of lines that may have a decimal comma, or whole seconds and a beat's number.
    commas: list[tuple[str, str, str]] = []
    for where, line in lines_of(path, read_text(path, _EXPECTED)):
        if match := re.match(r"(\d+),(\d+)(?![\d.:])", line):
            commas.append((where, line, match[2]))
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
    increasing = all(a < b for a, b in pairwise(times))
    if commas and not (increasing and len(commas) == len(times) and _count_up([number for *_, number in commas])):
        where, line, _ = commas[0]
        raise Error(f"{where}: '{line[:40]}' has a decimal comma; write seconds with a point, as in 12.5")
    if len(times) < 2:
        raise Error(f"{path} has {'one beat' if times else 'no beats'} in it; {_EXPECTED}")
    numbered = all(re.fullmatch(r"[1-9]\d?(\.0)?", number) for number in numbers)
    bars = tuple(time for time, number in zip(times, numbers) if float(number) == 1) if numbered else ()
    return tuple(times), bars or None


def _count_up(numbers: list[str]) -> bool:
    """Whether these can be the numbers of beats in their bars: each is 1 or one more than the one before."""
    counts = [int(number) for number in numbers]
    plain = all(re.fullmatch(r"[1-9]\d?", number) for number in numbers)
    return plain and all(b in (1, a + 1) for a, b in pairwise(counts))
