"""The timed lines of a song (.lrc, .srt, .vtt) become lines of a prompt file.

Knows the three formats; what a line of a prompt file means, walk.keyframes knows.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise, takewhile
from pathlib import PurePath
from typing import NamedTuple

from walk import Error

SUFFIXES: tuple[str, ...] = (".lrc", ".srt", ".vtt")
PAUSE = 1  # seconds from a subtitle's end to the next one that count as a pause: most gaps are not even a tenth

# LRC has no hours: its times are mm:ss.xx, and some tools write a colon before the hundredths, too. So only where a
# fraction follows three parts is the first of them hours.
_LRC = re.compile(r"\s*\[(?:(\d{1,3}):(?=\d+:\d+[.:]))?(\d{1,3}):(\d{1,2}(?:[.:]\d{1,3})?)\]")
_CLOCK = r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:[,.]\d{1,3})?)"
_CUE_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->(?:\s*{_CLOCK})?")
_OFFSET = re.compile(r"\s*\[offset:\s*([+-]?\d{1,7})\s*\]", re.IGNORECASE)
_LINE_END = re.compile(r"\r\n|\r|\n")
_SETTINGS = re.compile(r"(\|\s*(seed|negative|pace|pulse|image)\s*=[^|]*)+$")  # at the end of a line
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


class _Line(NamedTuple):
    """What is sung."""

    time: Decimal
    number: int  # of the file's line
    words: str
    settings: str = ""  # ' | seed=7', as a prompt file has them
    until: Decimal | None = None  # when a pause begins after it

    @property
    def is_section(self) -> bool:
        """Whether it has settings for all lines after it, and no words."""
        return bool(self.settings and not self.words)

    @property
    def prompt(self) -> str:
        """As a prompt file has it."""
        if self.is_section:
            return self.settings.strip()
        return f"{self.words}{self.settings} | time={self.time:f}" + (
            "" if self.until is None else f" | until={self.until:f}"
        )


class _Cue(NamedTuple):
    """A subtitle."""

    number: int  # of the file's line with its times
    start: Decimal
    end: Decimal | None
    lines: list[str]


def prompt_lines(text: str, where: str) -> list[tuple[str, str]]:
    """(place, line of a prompt file) for every line that is sung; `where` names the file.

    A line may end in settings, `| seed=7 | image=fox.jpg | pace=bar | pulse=0.5`. Tags within a line are left out, of
    subtitles also `asides`, and what is sung at one moment is one line. Settings without words are for all lines from their
    time on. An empty line is a pause: from its time on the picture of the line before turns into the next. So is a gap of a
    PAUSE or more between subtitles, from the end of the first on; and the last one is shown to its end.

    Raises Error if there are no times, or nothing is sung.
    """
    suffix = PurePath(where).suffix.lower()
    read = _lrc(text) if suffix == ".lrc" else _subtitles(text, suffix)
    sung = sorted(read, key=lambda line: (line.time, not line.is_section))
    if not sung:
        raise Error(f"{where} has no line with a time; expected is something like {_EXAMPLES[suffix]}")
    lines: list[_Line] = []
    sections: list[_Line] = []
    for line in sung:
        last = lines[-1] if lines else None
        if line.is_section:
            sections.append(line)
        elif line.words and last and last.time == line.time:
            words, settings = f"{last.words} {line.words}", last.settings
            settings += line.settings if line.settings != settings else ""
            lines[-1] = last._replace(words=words, settings=settings, until=None)
        elif line.words:
            lines.append(line)
        elif last and last.until is None and line.time > last.time:
            lines[-1] = last._replace(until=line.time)
    if not lines:
        raise Error(f"{where} has times, but no words{' outside brackets' * bool(asides(text, where))}")
    sections = [section for section in sections if section.time <= lines[-1].time]
    entries = sorted([*sections, *lines], key=lambda line: line.time)
    return [(f"{where}:{line.number}", line.prompt) for line in entries]


def asides(text: str, where: str) -> list[str]:
    """The lines of subtitles that are in brackets as a whole, [MUSIC PLAYING] or (Chorus): they tell what is heard, but
    nobody sings them. In .lrc files they may be sung, too."""
    suffix = PurePath(where).suffix.lower()
    cues = () if suffix == ".lrc" else _cues(text, suffix)
    return [_words(match[0]) for cue in cues for match in _ASIDE.finditer("\n".join(cue.lines))]


def _lrc(text: str) -> Iterator[_Line]:
    """A line that is sung several times has several times before it."""
    offset = Decimal(0)
    for number, line in enumerate(_LINE_END.split(text), 1):
        if match := _OFFSET.match(line):
            offset = Decimal(match[1]) / 1000  # milliseconds by which the words come sooner
        times = []
        while match := _LRC.match(line):
            times.append(_seconds(match))
            line = line[match.end() :]
        if not times and line.lstrip().startswith("|"):
            times.append(offset)  # settings from the beginning on
        for time in times:
            yield _Line(max(time - offset, Decimal(0)), number, *_with_settings(_TAGS.sub(" ", line)))


def _subtitles(text: str, suffix: str) -> Iterator[_Line]:
    """With an empty line where a pause begins."""
    sung: list[_Cue] = []
    for cue in _cues(text, suffix):
        words, settings = _with_settings(_ASIDE.sub(" ", "\n".join(cue.lines)))
        if words:
            sung.append(cue)
        # What is only heard is no pause in what is sung: at 0 none can begin.
        yield _Line(cue.start if words or settings else Decimal(0), cue.number, words, settings)
    end = Decimal(0)
    for cue, following in pairwise(sorted(sung, key=lambda cue: cue.start)):
        end = max(end, cue.start, following.start if cue.end is None else cue.end)  # an earlier one may last longer
        if following.start - end >= PAUSE:
            yield _Line(end, 0, "")
    if sung and (last := max(sung, key=lambda cue: cue.start)).end is not None:
        yield _Line(max(end, last.end), 0, "")


def _cues(text: str, suffix: str) -> Iterator[_Cue]:
    """Subtitles. What comes between them in .vtt (its name, notes, styles) is behind an empty line."""
    lines = _LINE_END.split(text)
    starts = [(number, match) for number, line in enumerate(lines) if (match := _CUE_TIMES.match(line))]
    cues: list[_Cue] = []
    for (number, match), (following, _) in zip(starts, [*starts[1:], (len(lines) + 1, None)]):
        words = lines[number + 1 : following]
        if suffix == ".vtt":
            words = list(takewhile(bool, words))
        elif following <= len(lines) and words and words[-1].strip().isdigit():
            words.pop()  # the next one's number
        spoken = [" ".join(line.split()) for line in _spoken("\n".join(words)).split("\n") if line.strip()]
        cues.append(_Cue(number + 1, _seconds(match), _seconds(match, 4) if match[5] else None, spoken))
    return _unrolled(cues) if suffix == ".vtt" and _WORD_TIME.search(text) else iter(cues)


def _unrolled(cues: list[_Cue]) -> Iterator[_Cue]:
    """Without the line that each repeats above its own from the one before, as YouTube's captions do."""
    for before, cue in pairwise([_Cue(0, Decimal(0), None, []), *cues]):
        repeats = before.end is not None and cue.start <= before.end and cue.lines[:1] == before.lines[-1:]
        if cue.lines[repeats:] or not cue.lines:
            yield cue._replace(lines=cue.lines[repeats:])


def _seconds(match: re.Match[str], first: int = 1) -> Decimal:
    """Of hours, minutes and seconds, three groups of a match from this one on."""
    rest = match[first + 2].replace(",", ".").replace(":", ".")
    return int(match[first] or 0) * 3600 + int(match[first + 1]) * 60 + Decimal(rest)


def _spoken(text: str) -> str:
    """A subtitle's lines without tags, musical notes, and the dashes before what each speaker says."""
    text = _ENTITY.sub(lambda match: html.unescape(match[0]), _TAGS.sub(" ", text))
    return _DASH.sub("", _NOTES.sub(" ", text))


def _with_settings(text: str) -> tuple[str, str]:
    """A line's words, and the settings in which it ends."""
    match = _SETTINGS.search(text)
    if text.lstrip().startswith("|") and not (match and not text[: match.start()].strip()):
        return " ".join(text.split()), ""  # which is no settings, as a prompt file's reader will say
    settings = [f" | {' '.join(each.split())}" for each in match[0].split("|")[1:]] if match else []
    return _words(text[: match.start()] if match else text), "".join(settings)


def _words(text: str) -> str:
    """The words alone, without musical notes, and without what a prompt file would take for its notation."""
    text = re.sub(r":(?=\s*[\d.]+\))", " ", _NOTES.sub(" ", text))  # (at 2:30) is not a weight
    return " ".join(text.replace("|", "/").split()).lstrip("# ")
