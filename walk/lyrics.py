"""The timed lines of a song (.lrc, .srt, .vtt) become lines of a prompt file.

Knows the three formats; what a prompt line means, walk.keyframes knows.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import chain, pairwise, takewhile
from pathlib import PurePath

from walk import Error

SUFFIXES: tuple[str, ...] = (".lrc", ".srt", ".vtt")
PAUSE = 1  # seconds between two subtitles in which the picture has time to become the next; most are not even a tenth

# LRC has no hours: its times are mm:ss.xx, and some tools write a colon before the hundredths, too. Only what has a
# fraction after three parts is told in hours.
_LRC = re.compile(r"\s*\[(?:(\d{1,3}):(?=\d+:\d+[.:]))?(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)\]")
_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[,.]\d{1,3})?)"
_SHOWN = re.compile(rf"\s*{_CLOCK}\s*-->(?:\s*{_CLOCK})?")
_OFFSET = re.compile(r"\s*\[offset:\s*([+-]?\d{1,7})\s*\]", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")
_TAGS = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # word times <01:02.50>, <i>, <v Speaker>, {\an8}
_WORD_TIME = re.compile(r"<[\d:]+\.\d{3}>")
_NOTES = re.compile("[♪♫♬♩]")
_ENTITY = re.compile(r"&#?\w+;")  # without the semicolon it may be a word: &not
_DASH = re.compile(r"^[ \t]*[-‐–—]+(?!\d)", re.MULTILINE)  # before what a speaker says
_ASIDE = re.compile(r"^((?:\[[^][]*\]|\([^()]*\)) ?)+$", re.MULTILINE)  # [MUSIC PLAYING], (Chorus)
_EXAMPLES = {
    ".lrc": "[01:02.50] words",
    ".srt": "1, then 00:01:02,500 --> 00:01:05,000",
    ".vtt": "01:02.500 --> 01:05.000",
}


def prompt_lines(text: str, where: str) -> list[tuple[str, str]]:
    """(place, line of a prompt file) for every line that is sung; `where` names the file.

    Tags within a line are left out, of subtitles also `asides`, and what is sung at one moment is one line. An empty
    line is a pause: until its time the picture of the line before rests. So does a subtitle's to its end, if the next
    leaves it a PAUSE to become the next one's.

    Raises Error if there are no times, or nothing is sung.
    """
    suffix = PurePath(where).suffix.lower()
    sung = sorted(_lrc(text) if suffix == ".lrc" else _subtitles(text, suffix), key=lambda line: line[0])
    if not sung:
        raise Error(f"{where} has no line with a time; expected is something like {_EXAMPLES[suffix]}")
    lines: list[tuple[Decimal, int, str, Decimal | None]] = []  # time, number, words, until
    for time, number, words in sung:
        if words and lines and lines[-1][0] == time:
            lines[-1] = (time, lines[-1][1], f"{lines[-1][2]} {words}", None)
        elif words:
            lines.append((time, number, words, None))
        elif lines and lines[-1][3] is None and time > lines[-1][0]:
            lines[-1] = (*lines[-1][:3], time)
    if not lines:
        raise Error(f"{where} has times, but no words{' outside brackets' * bool(asides(text, where))}")
    return [
        (f"{where}:{number}", f"{words} | time={time:f}" + ("" if until is None else f" | until={until:f}"))
        for time, number, words, until in lines
    ]


def asides(text: str, where: str) -> list[str]:
    """The lines of subtitles that are in brackets as a whole, [MUSIC PLAYING] or (Chorus): they tell what is heard, but
    nobody sings them. In .lrc files they may be sung, too."""
    suffix = PurePath(where).suffix.lower()
    cues = () if suffix == ".lrc" else _cues(text, suffix)
    return [_plain(match[0]) for _, _, _, lines in cues for match in _ASIDE.finditer("\n".join(lines))]


def _lrc(text: str) -> Iterator[tuple[Decimal, int, str]]:
    """(seconds, number of the line, words). A line that is sung several times has several tags."""
    offset = Decimal(0)
    for number, line in enumerate(_LINE_END.split(text), 1):
        if match := _OFFSET.match(line):
            offset = Decimal(match[1]) / 1000  # milliseconds by which the words come sooner
        times = []
        while match := _LRC.match(line):
            times.append(_seconds(match))
            line = line[match.end() :]
        for time in times:
            yield max(time - offset, Decimal(0)), number, _plain(_TAGS.sub(" ", line))


def _subtitles(text: str, suffix: str) -> Iterator[tuple[Decimal, int, str]]:
    """As `_lrc`; with an empty line where a pause begins."""
    shown: list[tuple[Decimal, Decimal | None]] = []  # from when to when
    for number, start, end, lines in _cues(text, suffix):
        words = _plain(_ASIDE.sub(" ", "\n".join(lines)))
        if words:
            shown.append((start, end))
        yield start, number, words
    over = Decimal(0)
    for (start, end), (after, _) in pairwise(sorted(shown, key=lambda times: times[0])):
        over = max(over, start, after if end is None else end)  # an earlier one may last longer
        if after - over >= PAUSE:
            yield over, 0, ""


_Cue = tuple[int, Decimal, Decimal | None, list[str]]  # the number of its line, from when to when, and what it says


def _cues(text: str, suffix: str) -> Iterator[_Cue]:
    """Subtitles. What comes between them in .vtt (its name, notes, styles) is behind an empty line."""
    lines = _LINE_END.split(text)
    starts = [(number, match) for number, line in enumerate(lines) if (match := _SHOWN.match(line))]
    cues: list[_Cue] = []
    for (number, match), (following, _) in zip(starts, [*starts[1:], (len(lines) + 1, None)]):
        words = lines[number + 1 : following]
        if suffix == ".vtt":
            words = list(takewhile(bool, words))
        elif following <= len(lines) and words and words[-1].strip().isdigit():
            words.pop()  # the next one's number
        said = [" ".join(line.split()) for line in _spoken("\n".join(words)).split("\n") if line.strip()]
        cues.append((number + 1, _seconds(match), _seconds(match, 4) if match[5] else None, said))
    return _unrolled(cues) if suffix == ".vtt" and _WORD_TIME.search(text) else iter(cues)


def _unrolled(cues: list[_Cue]) -> Iterator[_Cue]:
    """Without the line that each leaves standing above its own, as YouTube's captions do."""
    for (_, _, over, before), (number, start, end, lines) in pairwise(chain([(0, Decimal(0), None, [])], cues)):
        stands = over is not None and start <= over and lines[:1] == before[-1:]
        if lines[stands:] or not lines:
            yield number, start, end, lines[stands:]


def _seconds(match: re.Match[str], first: int = 1) -> Decimal:
    rest = match[first + 2].replace(",", ".").replace(":", ".")
    return int(match[first] or 0) * 3600 + int(match[first + 1]) * 60 + Decimal(rest)


def _spoken(text: str) -> str:
    """Lines of a subtitle without tags, notes, and dashes before what each speaker says."""
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), _TAGS.sub(" ", text))
    return _DASH.sub("", _NOTES.sub(" ", text))


def _plain(text: str) -> str:
    """Without notes, and what a prompt file would take for its own."""
    text = re.sub(r":(?=\s*[\d.]+\))", " ", _NOTES.sub(" ", text))  # (at 2:30) is not a weight
    return " ".join(text.replace("|", "/").split()).lstrip("# ")
