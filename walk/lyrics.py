"""The timed lines of a song (.lrc, .srt) become lines of a prompt file.

Knows the two formats; what a prompt line means, walk.keyframes knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise

from walk import Error

SUFFIXES = (".lrc", ".srt")
PAUSE = 1  # seconds between two subtitles in which the picture has time to become the next; most are not even a tenth

_LRC = re.compile(r"\s*\[(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)\]")
_CLOCK = r"(\d{1,3}):(\d{1,2}):(\d{1,2}(?:[,.]\d{1,3})?)"
_SRT = re.compile(rf"\s*{_CLOCK}\s*-->(?:\s*{_CLOCK})?")
_OFFSET = re.compile(r"\s*\[offset:\s*([+-]?\d{1,7})\s*\]", re.IGNORECASE)


def prompt_lines(text: str, where: str) -> list[tuple[str, str]]:
    """(place, line of a prompt file) for every line that is sung; `where` names the file.

    Tags within a line are left out, and what is sung at one moment is one line. An empty line is a
    pause: until its time the picture of the line before rests. So does a subtitle's to its end, if the next
    leaves it a PAUSE to become the next one's.

    Raises Error if there are no times, or nothing is sung.
    """
    sung = sorted(_srt(text) if where.lower().endswith(".srt") else _lrc(text), key=lambda line: line[0])
    if not sung:
        example = "1, then 00:01:02,500 --> 00:01:05,000" if where.lower().endswith(".srt") else "[01:02.50] words"
        raise Error(f"{where} has no line with a time; expected is, for example, {example}")
    lines: list[tuple[Decimal, int, str, Decimal | None]] = []  # time, number, words, until
    for time, number, raw in sung:
        words = _words(raw)
        if words and lines and lines[-1][0] == time:
            lines[-1] = (time, lines[-1][1], f"{lines[-1][2]} {words}", None)
        elif words:
            lines.append((time, number, words, None))
        elif lines and lines[-1][3] is None and time > lines[-1][0]:
            lines[-1] = (*lines[-1][:3], time)
    if not lines:
        raise Error(f"{where} has times, but no words")
    return [
        (f"{where}:{number}", f"{words} | time={time:f}" + ("" if until is None else f" | until={until:f}"))
        for time, number, words, until in lines
    ]


def _lrc(text: str) -> Iterator[tuple[Decimal, int, str]]:
    """(seconds, number of the line, words). A line that is sung several times has several tags."""
    offset = Decimal(0)
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        if match := _OFFSET.match(line):
            offset = Decimal(match[1]) / 1000  # milliseconds by which the words come sooner
        times = []
        while match := _LRC.match(line):
            times.append(_seconds(match))
            line = line[match.end() :]
        for time in times:
            yield max(time - offset, Decimal(0)), number, line


def _srt(text: str) -> Iterator[tuple[Decimal, int, str]]:
    """As `_lrc`; with an empty line where a pause begins."""
    lines = re.split(r"\r\n|\r|\n", text)
    starts = [(number, match) for number, line in enumerate(lines) if (match := _SRT.match(line))]
    shown: list[tuple[Decimal, Decimal | None]] = []  # from when to when
    for (number, match), (following, _) in zip(starts, [*starts[1:], (len(lines) + 1, None)]):
        words = lines[number + 1 : following]
        if following <= len(lines) and words and words[-1].strip().isdigit():
            words.pop()  # the next one's number
        if _words(" ".join(words)):
            shown.append((_seconds(match), _seconds(match, 4) if match[4] else None))
        yield _seconds(match), number + 1, " ".join(words)
    over = Decimal(0)
    for (start, end), (after, _) in pairwise(sorted(shown, key=lambda times: times[0])):
        over = max(over, start, after if end is None else end)  # an earlier one may last longer
        if after - over >= PAUSE:
            yield over, 0, ""


def _seconds(match: re.Match[str], first: int = 1) -> Decimal:
    rest = match[first + 2].replace(",", ".").replace(":", ".")
    return int(match[first] or 0) * 3600 + int(match[first + 1]) * 60 + Decimal(rest)


def _words(text: str) -> str:
    """Without word times <01:02.50>, tags <i> and {\\an8}, notes, and what a prompt file would take for its own."""
    text = re.sub(r"<[^<>]*>|\{\\[^{}]*\}|[♪♫♬♩]", " ", text)
    text = re.sub(r":(?=\s*[\d.]+\))", " ", text)  # (at 2:30) is no weight
    return " ".join(text.replace("|", "/").split()).lstrip("# ")
