"""Prompts as other tools write them become lines of a prompt file: Deforum's JSON, a time or a frame's number before each
prompt, the labels of an audio editor, the timecodes of an editing program.

Knows these formats; what a prompt line means, walk.keyframes knows.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from walk import Error
from walk.text import clock, parse_time, quoted

# (where, text) of each prompt. What is no text, a Keyframe, is passed on as it is.
Entries = list[tuple[str, Any]]

_CLOCK = r"(?:\d{1,3}:[0-5]\d|\d{1,3}):[0-5]\d(?:\.\d+)?"
_TIMED = re.compile(
    rf"""\s*(?:
        (?P<bracket>\[)?(?P<clock>{_CLOCK})(?(bracket)\]|(?![\d:]))
        |(?P<seconds>(?:0|[1-9]\d*)(?:\.\d+)?)\ ?s(?:ec(?:onds?)?)?\b
        |(?P<label>\d+\.\d+)\t\d+\.\d+\t
        |["']?(?P<frame>\d+(?:\.\d+)?)["']?\s*:
    )[\s:,–-]*(?P<prompt>.*)""",
    re.VERBOSE | re.DOTALL,
)
# As editing programs write it: the last number counts frames, and after ; some numbers are left out.
_CODE = r"(?P<hours>\d\d?):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)(?P<drops>[:;])(?P<frames>\d\d\d?)(?!\d|:\d)"
_LEADING_TIMECODE = re.compile(rf"""\s*["'[]?{_CODE}""")
_TIMECODE_SETTING = re.compile(rf"(?P<name>\|\s*(?:time|until)\s*=\s*){_CODE}")
_DATA = re.compile(  # what is not quite JSON: a line of brackets, a list on one line, Deforum's notebook on one line
    r"""\s*(?:[][{}(),]+|\[\s*["'].*["']\s*(?:,\s*)?\]|\{\s*\d+\s*:\s*["'].*)\s*""", re.DOTALL
)


def as_lines(entries: Entries, fps: Fraction | None, tell: Callable[[str], object]) -> Entries:
    """The prompts as lines of a prompt file, where another tool wrote them; others as they are.

    fps: frames a second of timecodes; None: there are none. tell: called with what was made of them, in a sentence.
    """
    if fps and (clocked := _without_timecodes(entries, fps)) != entries:
        tell(f"timecodes are read at {float(fps):.6g} frames a second, as --fps says")
        entries = clocked
    entries, note = _without_schedule(entries, fps)
    if note:
        tell(note)
    return entries


# A time or a frame's number before each prompt


class _Timed(NamedTuple):
    """A prompt with a time or a frame's number before it."""

    where: str
    text: str
    kind: str  # clock, tag (a clock in brackets, as in a song's [0:02]), seconds, label (an audio editor's) or frame
    written: str  # the time, or the frame's number, as a prompt file takes it
    at: float
    prompt: str

    @property
    def unit(self) -> str:
        """The setting of a prompt file: time or frame."""
        return "frame" if self.kind == "frame" else "time"

    @property
    def line(self) -> str:
        """As a prompt file has it."""
        quoted = re.fullmatch(r"""(["'])((?:(?!\1).)*)\1,?""", self.prompt.strip(), re.DOTALL)
        prompt, _, negative = (quoted[2] if quoted else self.prompt).partition(" --neg ")
        setting = f" | negative={negative.strip()}" if negative.strip() else ""
        return f"{prompt.strip()}{setting} | {self.unit}={self.written}"


def _timed(where: str, text: str) -> _Timed | None:
    match = _TIMED.match(text)
    if not match:
        return None
    kind = next(name for name in ("clock", "seconds", "label", "frame") if match[name])
    written = match[kind]
    at = parse_time(written) if kind == "clock" else float(written)
    if kind == "frame":
        written = written.partition(".")[0]
    return _Timed(where, text, "tag" if match["bracket"] else kind, written, at, match["prompt"])


def _without_schedule(entries: Entries, fps: Fraction | None) -> tuple[Entries, str]:
    """The prompts with `frame=` or `time=` in place of the frame's number (Deforum's) or the time before each, where these
    rise from 0; others as they are. And what was made of them, in a sentence, or ''.

    1984: a book, 6:00 at dawn, 80s neon are words. Raises Error for a song's [0:02] before some, and for a list's numbers.
    """
    texts = [(where, text) for where, text in entries if isinstance(text, str)]
    _check_no_timecodes(texts, fps)
    data, more = _schedule(texts)
    if isinstance(data, tuple):
        texts = [(texts[0][0], f"{key}: {value}") for key, value in data if isinstance(value, str)]
    texts = [(where, text) for where, text in texts if text.strip() not in ("{", "}")]
    candidates = [_timed(where, text) for where, text in texts]
    _check_labels(texts, candidates)

    found = [timed for timed in candidates if timed]
    rising = len(found) > 1 and all(a.at < b.at for a, b in pairwise(found))
    complete = len(found) == len(texts) == len(data or texts) and all(isinstance(text, str) for _, text in entries)
    if rising and complete:
        first = found[0]
        numbers = "frame numbers" if first.unit == "frame" else "times"
        if not first.at:
            if first.unit == "frame" and [timed.at for timed in found] == [*range(len(found))]:
                raise Error(
                    f"{first.where}: numbers before prompts, each one more than the last, are not read; leave them out, "
                    f"or write '{found[1].line[:60]}' for a frame"
                )
            note = f"the {numbers} before the prompts are read as {first.unit}={more}"
            return [(timed.where, timed.line) for timed in found], note
        if data or first.kind == "label":
            raise Error(f"{first.where}: the first of the prompts by {numbers} is at {first.at:g}; it has to be at 0")
        if first.kind != "tag":
            return entries, f"the {numbers} before the prompts are words to the model, since the first is not 0"
    for timed in found:
        if timed.kind == "tag":
            raise Error(
                f"{timed.where}: times before some of the prompts are not read; write '{timed.line[:60]}' for "
                f"'{timed.text.strip()[:60]}', or leave times out"
            )
    return entries, _why_words(texts, candidates)


def _why_words(texts: Sequence[tuple[str, str]], candidates: Sequence[_Timed | None]) -> str:
    """Why times are words to the model in a list that begins like one with times; '' of any other list."""
    first = candidates[0] if len(candidates) > 1 else None
    if first is None or first.at:
        return ""
    numbers = "frame numbers" if first.unit == "frame" else "times"
    others = (where for (where, _), timed in zip(texts, candidates) if timed is None or timed.unit != first.unit)
    lacking = next(others, "")
    why = f"{lacking} has none that can be read" if lacking else "they do not rise"
    return f"the {numbers} before the prompts are words to the model, since {why}"


def _check_labels(texts: Sequence[tuple[str, str]], candidates: Sequence[_Timed | None]) -> None:
    """Raise Error for labels of an audio editor that are no prompts at times: as words they would be nonsense."""
    before: _Timed | None = None
    for (where, text), label in zip(texts, candidates):
        if label is None or label.kind != "label":
            if before:
                raise Error(
                    f"{where}: among labels that an audio editor has exported, this is none: {text.strip()[:60]!r}"
                )
            continue
        if before and label.at <= before.at:
            raise Error(f"{where}: the label is at {label.written}, not after the one before; they must increase")
        if not label.prompt.strip():
            raise Error(f"{where}: the label at {label.written} is empty; write a prompt into it")
        before = label


# Timecodes


def _without_timecodes(entries: Entries, fps: Fraction) -> Entries:
    """The prompts with times in place of timecodes, where all begin with one, or settings have them. Such a list may begin
    at a whole hour, as an editing program's timeline does."""
    codes = [_LEADING_TIMECODE.match(text) if isinstance(text, str) else None for _, text in entries]
    first_hour = 0
    if len(codes) > 1 and all(codes):
        leading = [(where, code) for (where, _), code in zip(entries, codes) if code]
        first_hour = int(leading[0][1]["hours"])
        entries = list(_clocked(leading, fps, first_hour))

    def with_times(where: str, text: str) -> str:
        return _TIMECODE_SETTING.sub(lambda code: code["name"] + clock(_seconds(where, code, fps, first_hour), 6), text)

    return [(where, with_times(where, text) if isinstance(text, str) else text) for where, text in entries]


def _clocked(leading: Sequence[tuple[str, re.Match[str]]], fps: Fraction, first_hour: int) -> Iterator[tuple[str, str]]:
    """The lines with times in place of the timecodes that they begin with."""
    before = None
    for where, code in leading:
        time, rest = _seconds(where, code, fps, first_hour), code.string[code.end() :].lstrip("]")
        written = code[0].strip(" [\"'")
        if before is None and time:
            raise Error(f"{where}: the first timecode is {written}; it has to be 00:00:00:00, or a whole hour")
        if before is not None and time <= before:
            raise Error(f"{where}: the timecode {written} is not after the one before; they must increase")
        if _LEADING_TIMECODE.match(rest):
            raise Error(f"{where}: a second timecode follows the first; until when it rests is written | until=")
        yield where, f"{clock(time, 6)} {rest}"
        before = time


def _seconds(where: str, code: re.Match[str], fps: Fraction, first_hour: int) -> Fraction:
    """The time of a timecode, counted from this hour. Drop-frame ones (SMPTE ST 12-1), at 30000/1001 or twice that, leave
    out the first two or four numbers of each minute but every tenth, and so keep to the clock."""
    hours, minutes, seconds, frames = (int(code[name]) for name in ("hours", "minutes", "seconds", "frames"))
    rate, minute = round(fps), 60 * hours + minutes
    dropped = rate // 15 if code["drops"] == ";" and fps.denominator == 1001 and rate % 30 == 0 else 0
    unknown = f"there is no timecode {code['hours']}:{code['minutes']}:{code['seconds']}{code['drops']}{code['frames']}"
    if frames >= rate:
        raise Error(f"{where}: {unknown} at {float(fps):.6g} frames a second; give another --fps")
    if not seconds and minute % 10 and frames < dropped:
        raise Error(f"{where}: {unknown}; drop-frame timecodes leave that number out")

    def frames_before(minutes: int) -> int:
        return 60 * rate * minutes - dropped * (minutes - minutes // 10)

    time = (frames_before(minute) - frames_before(60 * first_hour) + rate * seconds + frames) / fps
    if time < 0:
        raise Error(f"{where}: {unknown} in a list that begins at hour {first_hour}")
    return time


def _check_no_timecodes(texts: Sequence[tuple[str, str]], fps: Fraction | None) -> None:
    """Raise Error for a timecode before a prompt that is left: without one before every prompt, or a rate, it has no time."""
    for where, text in texts:
        if code := _LEADING_TIMECODE.match(text):
            bare = (other for other, text in texts if not _LEADING_TIMECODE.match(text))
            lacking = next((f", and {other} has none" for other in bare), "")
            remedy = f"is a timecode{lacking}; begin every line with one, or end this one in | time="
            raise Error(f"{where}: {code[0].strip()} {remedy if fps else _in_place_of(code)}")


def timecode_remedy(text: str) -> str:
    """Of a timecode in place of a time: what it is, and what to write for it. '' for what is none."""
    code = _LEADING_TIMECODE.fullmatch(text)
    return _in_place_of(code) if code else ""


def _in_place_of(code: re.Match[str]) -> str:
    frame = int(code["frames"]) + 25 * (60 * (60 * int(code["hours"]) + int(code["minutes"])) + int(code["seconds"]))
    return (
        f"is a timecode, and it is not known of how many frames a second; write the frame, at 25 | frame={frame}, say"
    )


# What other tools write of a picture


_INFOTEXT = re.compile(r"(?:^|(?<=\s))(?:Negative prompt:|Steps: \d+, (?=[A-Z]))", re.MULTILINE)
_PARAMETER = re.compile(r"\b(Negative prompt|Steps|Sampler|Schedule type|CFG scale|Seed|Size|Clip skip):(?=([^,\n]*))")
_FLAGS = {"Steps": "--steps", "Sampler": "--scheduler", "CFG scale": "--guidance", "Clip skip": "--clip-skip"}


def check_no_infotext(texts: Sequence[tuple[str, str]]) -> None:
    """Raise Error for the text that AUTOMATIC1111's web UI puts beside a picture: a model would draw its settings."""
    for where, text in texts:
        if found := _INFOTEXT.search(text):
            whole = "\n".join(text for _, text in texts)
            told = {name: value.strip() for name, value in reversed(_PARAMETER.findall(whole[whole.index(found[0]) :]))}
            raise Error(
                f"{where}: '{found[0].strip()}' begins what another tool tells of a picture, which is not read; in its "
                f"place {' and '.join(_remedies(told))}"
            )


def _remedies(told: dict[str, str]) -> list[str]:
    """What to do in place of another tool's settings."""
    line = " | negative=..." * ("Negative prompt" in told) + f" | seed={told.get('Seed')}" * ("Seed" in told)
    if (schedule := told.get("Schedule type", "Automatic")) != "Automatic" and "Sampler" in told:
        told["Sampler"] += f" {schedule}"
    flags = [f"{flag} {quoted(told[name])}" for name, flag in _FLAGS.items() if name in told]
    if size := re.fullmatch(r"(\d+)x(\d+)", told.get("Size", "")):
        flags.append(f"--width {size[1]} --height {size[2]}")
    return [f"end the prompt's line in{line}"] * bool(line) + [f"give {' '.join(flags)}"] * bool(flags)


# JSON


def check_no_data(texts: Sequence[tuple[str, str]]) -> None:
    """Raise Error for JSON: a model would draw it."""
    data, _ = _schedule(texts)
    if isinstance(data, tuple) and all(isinstance(value, str) for _, value in data):
        odd = [key for key, _ in data if not re.fullmatch(r"\s*\d+(\.\d+)?\s*", key)]
        if odd and len(odd) < len(data):
            raise Error(f"{texts[0][0]}: '{odd[0][:60]}' is not the number of a frame; expressions are not read")
    for where, text in texts:
        if data is not None or _DATA.fullmatch(text) or _json(text) is not None:
            raise Error(
                f"{where}: JSON and the like are not read; write the prompts alone, in a file one a line, "
                "with times as in 'an owl | time=SECONDS'"
            )


def _schedule(texts: Sequence[tuple[str, str]]) -> tuple[Any, str]:
    """What JSON the prompts are, as `_json` has it: of a file of Deforum's settings the prompts, and then the end of a
    note on the others."""
    data = _json("\n".join(text for _, text in texts))
    prompts = dict(data).get("prompts") if isinstance(data, tuple) else None
    if not isinstance(prompts, tuple):
        return data, ""
    return prompts, "; none of the file's other settings is read" * (len(data) > 1)


def _json(text: str) -> Any:
    """An object, as a tuple of pairs, or a list; None for anything else."""
    if text.lstrip().startswith(("{", "[")):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text, object_pairs_hook=tuple)
    return None
