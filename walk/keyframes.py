"""A prompt file, or a list of prompts, becomes a tuple of Keyframes.

Knows the text format and nothing else: no frames, no frame rates, no sound, no models.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import json
import math
import numbers
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from walk import Error, emphasis, lyrics
from walk.files import at_home, lines_of, read_text
from walk.text import clock, either, format_time, has_control_characters, parse_time, plural

MAX_SEED = 2**63 - 1  # torch.Generator.manual_seed takes no more
WORDS = "words"  # in place of seeds: each prompt's comes from its words
MAX_PROMPT = 20_000  # characters; no model reads a tenth of it
WHEN = ("time", "beat", "bar", "frame")  # settings that say when, of which a keyframe has one
_TENSORS = re.compile(r"\(tensors [0-9a-f]{16}\)")
TEXT_SUFFIXES = {".txt", ".text", ".md", ".csv", ".json", ".yaml", ".yml", *lyrics.SUFFIXES}


@dataclass(frozen=True)
class Keyframe:
    """One place that a walk passes through, and nothing that a line of a prompt file could not say.

    prompt: what the picture shows. Tabs, line breaks and several spaces are but spaces.
    seed: of the Gaussian noise that the picture starts from, 0 .. 2**63 - 1.
    negative_prompt: what the picture is guided away from.
    time: seconds of the film at which the walk arrives here; None: wherever there is room.
    until: seconds of the film until which it rests here; None: it goes on at once. until_in: what these are in place of
        seconds, 'beat', 'bar' or 'frame'.
    beat, bar: in place of a time, counted from 1; 2.5 is half-way between the second and the third.
        `walk.timeline.timed` makes times of them.
    frame: in place of a time, counted from 0. `walk.timeline.framed` makes a time of it.

    Raises Error for values outside these, and for a weight such as (red:9) that is too much.
    """

    prompt: str
    seed: int
    negative_prompt: str = ""
    time: float | None = None
    until: float | None = None
    beat: float | None = None
    bar: float | None = None
    frame: int | None = None
    until_in: str = "time"

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise Error(f"prompt {self.prompt!r} is empty or no text; it says what the picture shows")
        if not isinstance(self.negative_prompt, str):
            raise Error(f"negative prompt {self.negative_prompt!r} is not text; '' is none")
        object.__setattr__(self, "prompt", _checked_prompt(self.prompt))
        object.__setattr__(self, "negative_prompt", _plain("negative prompt", self.negative_prompt))
        object.__setattr__(self, "seed", _checked_seed(self.seed))
        _check_weights("prompt", self.prompt)
        _check_weights("negative prompt", self.negative_prompt)
        if self.until_in not in WHEN:
            raise Error(f"until_in {self.until_in!r} is unknown; it is {either(WHEN)}")
        for name, low in (("time", 0), ("until", self.until_in in ("beat", "bar")), ("beat", 1), ("bar", 1)):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, numbers.Real) and low <= float(value) < math.inf):
                raise Error(f"{name} {value!r} is out of range; it is a number from {int(low)}, or None")
            object.__setattr__(self, name, None if value is None else float(value))
        if self.frame is not None:
            if not isinstance(self.frame, numbers.Integral) or self.frame < 0:
                raise Error(f"frame {self.frame!r} is out of range; it is a whole number from 0, or None")
            object.__setattr__(self, "frame", int(self.frame))
        arrives = getattr(self, self.until_in)
        if arrives is not None and self.until is not None and self.until <= arrives:
            raise Error(
                f"until {self.until:g} is not after its {self.until_in} {arrives:g}; a keyframe rests until later"
            )

    @property
    def identity(self) -> tuple[str, str, int]:
        """What of it decides pixels."""
        return self.prompt, self.negative_prompt, self.seed


class _Line(NamedTuple):
    where: str  # for errors: 'a.txt:3'
    keyframe: Keyframe
    seed: int | None  # None: it says none, and so of the negative prompt
    negative: str | None


def read_prompts(
    prompts: str | Path | Sequence[str | Keyframe],
    seed: int = 0,
    seeds: Sequence[int] | int | str | None = None,
    negative: str = "",
    style: str = "{}",
    tell: Callable[[str], object] = lambda note: None,
    fps: Fraction | None = None,
) -> tuple[Keyframe, ...]:
    """Keyframes from a prompt file, from one prompt, or from a sequence of prompts.

    A file has one prompt a line; blank lines and lines that begin with `#` are skipped. A prompt
    may end in settings: `a fox in the snow | seed=7 | time=1:02.5 | negative=blurry`, `beat=32`,
    `bar=9` or `frame=48` in place of a time, and `until=1:05`, or `until=bar=11`, to rest there. `(red:1.3)` counts for
    more than other words, with what `walk.emphasis` knows of it.

    Keyframes among the prompts are lines that say all this already.

    The lines of a song (.lrc, .srt, .vtt) are prompts at their times, with what `walk.lyrics` knows of them. Where every
    prompt begins with a frame's number or a time, as other tools write them, it comes there.

    seed: keyframe i gets seed + i, unless its line has a seed of its own.
    seeds: instead of `seed`: one for each prompt, one for all prompts, or several for one prompt. "words": a prompt and its
        negative prompt have a seed of their own (or that of a line with the same), wherever they stand; another `seed`
        gives them others.
    negative: the negative prompt of every keyframe that has none of its own.
    style: what every prompt is put into, at its {}: 'an oil painting of {}'.
    tell: called with what is made of frame numbers or times before all prompts, in a sentence.
    fps: frames a second of timecodes, 00:00:02:13, which stand for times; None: there are none.

    Raises Error, which names file and line and says what was expected.
    """
    for name, text in (("negative prompt", negative), ("style", style)):
        if not isinstance(text, str):
            raise Error(f"{name} {text!r} is not text")
    seed = _checked_seed(seed)
    given = list(_given(prompts))
    if fps and (decoded := _decoded(given, fps)) != given:
        tell(f"timecodes are read at {float(fps):.6g} frames a second, as --fps says")
        given = decoded
    given, note = _scheduled(given, fps)
    if note:
        tell(note)
    texts = [(where, text) for where, text in given if isinstance(text, str)]
    for where, text in texts:
        _check_text(where, text)
    _check_no_data(texts)
    lines = [_line(where, each) for where, each in given]
    _check_weights("negative prompt", negative)
    _check_weights("style", style)
    negative, style = (_plain(name, text) for name, text in (("negative prompt", negative), ("style", style)))
    if style.startswith("#"):
        raise Error(f"style '{style[:60]}' begins with #, which makes a prompt a comment")
    if "{}" not in style:
        raise Error(f"style '{style[:60]}' has no {{}} in it, where the prompt goes, as in 'an oil painting of {{}}'")
    _check_times(lines)
    listed = isinstance(seeds, Collection) and not isinstance(seeds, (Mapping, Set))  # which are in no order of theirs
    if seeds != WORDS if isinstance(seeds, str) else not (listed or isinstance(seeds, (numbers.Integral, type(None)))):
        raise Error(f"seeds '{str(seeds)[:60]}': give whole numbers, or '{WORDS}'")
    if seeds is not None and not isinstance(seeds, str):
        lines, chosen = _pair(lines, [seeds] if isinstance(seeds, numbers.Integral) else seeds)  # type: ignore[arg-type,list-item]
    else:
        counted = _by_words(lines, seed, negative) if seeds == WORDS else range(seed, seed + len(lines))
        chosen = [own if line.seed is None else line.seed for own, line in zip(counted, lines)]
    return tuple(
        dataclasses.replace(
            line.keyframe,
            prompt=style.replace("{}", line.keyframe.prompt),
            seed=value,
            negative_prompt=negative if line.negative is None else line.negative,
        )
        for line, value in zip(lines, chosen)
    )


def read_lines(lines: Sequence[str]) -> tuple[Keyframe, ...]:
    """Keyframes from lines of a prompt file that say all of themselves, as a recipe's do: a time before the words of each
    is words. Raises Error like `read_prompts`."""
    read = []
    for where, text in _given(list(lines)):
        assert isinstance(text, str)
        _check_text(where, text)
        read.append(_line(where, text))
    _check_times(read)
    return tuple(line.keyframe for line in read)


def _checked_prompt(text: str) -> str:
    """As a film's recipe says it in a line, and reads it again."""
    _check_text("prompt", text)
    prompt, settings = _parse("prompt", text)
    if settings:
        raise Error(
            f"prompt {text[:60]!r} has settings in it; give them as the keyframe's own, or the line to read_prompts"
        )
    return prompt


def _checked_seed(seed: int) -> int:
    """As Python's own integer, whichever library's it is."""
    if not isinstance(seed, numbers.Integral) or not 0 <= seed <= MAX_SEED:
        raise Error(f"seed {seed!r} is out of range; seeds are whole numbers from 0 to {MAX_SEED}")
    return int(seed)


# Prompts that stand for tensors


def of_tensors(name: str, digest: str) -> str:
    """The prompt of a keyframe of tensors (`walk.given`), by which nothing but they can make its picture.

    digest: 16 hexadecimal digits. Raises Error for a name that no line of a prompt file can have."""
    _check_text("the name of tensors", name)
    return f"{_plain('the name of tensors', name)} (tensors {digest})"


def check_words(keyframes: Iterable[Keyframe]) -> None:
    """Raise Error for a prompt that stands for tensors: as words it would be another picture."""
    for keyframe in keyframes:
        if _TENSORS.search(keyframe.prompt):
            raise Error(
                f"'{keyframe.prompt}' stands for tensors, which only the program that made them has; run that again, "
                "or write words in its place"
            )


def _plain(name: str, text: str) -> str:
    text = " ".join(text.split())
    if "|" in text or has_control_characters(text):
        raise Error(f"{name} {text[:60]!a} has a bar or control characters; it is plain text")
    return text


# Where the text comes from


def prompt_file(prompts: str | Path | Sequence[str | Keyframe]) -> Path | None:
    """The file that is meant, if one is: a Path, or a string that names a file or looks like one."""
    if isinstance(prompts, str) and prompts.strip() and (looks_like_a_file(prompts) or os.path.isfile(prompts)):
        prompts = Path(prompts)
    if not isinstance(prompts, Path):
        return None
    return at_home(prompts)


def _given(prompts: Any) -> Iterator[tuple[str, str | Keyframe]]:
    """(where, text) of every prompt; a Keyframe in place of its text."""
    path = prompt_file(prompts)
    if path is not None:
        yield from _file_lines(path)
        return
    for number, prompt in enumerate(_listed(prompts), 1):
        if not isinstance(prompt, (str, Keyframe)):
            raise Error(f"prompt {number} is {str(prompt)[:60]!r}, which is not text")
        yield f"prompt {number}", prompt


def _listed(prompts: Any) -> list[Any]:
    if isinstance(prompts, Mapping):
        raise Error("prompts in a dict are not read; give a list, with times as in 'an owl | time=SECONDS'")
    if not isinstance(prompts, (Iterable, Keyframe)):
        raise Error(f"{prompts!r} is not a prompt; give a prompt file, or the prompts themselves")
    listed = [prompts] if isinstance(prompts, (str, Keyframe)) else list(prompts)
    if not listed:
        raise Error("no prompts were given; give a prompt file, or the prompts themselves")
    return listed


def _check_text(where: str, prompt: str) -> None:
    if not prompt.strip():
        raise Error(f"{where} is empty")
    if any("\ud800" <= letter <= "\udfff" for letter in prompt):
        raise Error(f"{where} is not UTF-8 text")
    if prompt.lstrip().startswith("#"):
        raise Error(f"{where} begins with #, which makes it a comment")


def looks_like_a_file(text: str) -> bool:
    """Whether a user who wrote this meant a file, which must then exist."""
    has_spaces = bool(re.search(r"\s", text))
    has_folder = re.match(r"(~|\.\.?)?[/\\]", text) or (not has_spaces and re.search(r"[/\\]", text))
    has_suffix = not has_spaces and re.search(r"\w\.[A-Za-z]\w*$", text)
    return bool(has_folder or has_suffix or Path(text).suffix.lower() in TEXT_SUFFIXES)


def _file_lines(path: Path) -> Iterator[tuple[str, str]]:
    expected = "a prompt file is UTF-8 text with one prompt a line"
    hint = "" if path.suffix.lower() in TEXT_SUFFIXES else "; a prompt that looks like a file goes into one"
    text = read_text(path, expected, hint)
    if path.suffix.lower() in lyrics.SUFFIXES:
        yield from lyrics.prompt_lines(text, str(path))
        return
    prompts = lines_of(path, text)
    if not prompts:
        only = "only comments and blank lines" if text.strip() else "nothing"
        raise Error(f"{path} has {only} in it; {expected}")
    yield from prompts


# What is not a prompt, but how other tools write several

_CLOCK = r"(?:\d{1,3}:[0-5]\d|\d{1,3}):[0-5]\d(?:\.\d+)?"
_TIMED = re.compile(
    rf"""\s*(?:
        (?P<tag>\[)?(?P<clock>{_CLOCK})(?(tag)\]|(?![\d:]))
        |(?P<seconds>(?:0|[1-9]\d*)(?:\.\d+)?)\ ?s(?:ec(?:onds?)?)?\b
        |(?P<label>\d+\.\d+)\t\d+\.\d+\t
        |["']?(?P<frame>\d+(?:\.\d+)?)["']?\s*:
    )[\s:,–-]*(?P<prompt>.*)""",
    re.VERBOSE | re.DOTALL,
)
# As editing programs write it: the last number counts frames, and after ; some numbers are left out.
_CODE = r"(?P<hours>\d\d?):(?P<minutes>[0-5]\d):(?P<seconds>[0-5]\d)(?P<drops>[:;])(?P<frames>\d\d\d?)(?!\d|:\d)"
_TIMECODE = re.compile(rf"""\s*["'[]?{_CODE}""")
_SET = re.compile(rf"(?P<set>\|\s*(?:time|until)\s*=\s*){_CODE}")
_DATA = re.compile(  # what is not quite JSON: a line of brackets, a list on one line, Deforum's notebook on one line
    r"""\s*(?:[][{}(),]+|\[\s*["'].*["']\s*(?:,\s*)?\]|\{\s*\d+\s*:\s*["'].*)\s*""", re.DOTALL
)


def _scheduled(
    given: list[tuple[str, str | Keyframe]], fps: Fraction | None = None
) -> tuple[list[tuple[str, str | Keyframe]], str]:
    """Prompts as other tools schedule them, a frame's number (Deforum's) or a time before each from 0 on, as lines of
    ours; others as they are. And what is made of them, in a sentence, or ''.

    1984: a book, 6:00 at dawn, 80s neon are words. Raises Error for a song's [0:02] before some, and for a list's numbers.
    """
    texts = [(where, text) for where, text in given if isinstance(text, str)]
    for where, text in texts:
        if code := _TIMECODE.match(text):
            bare = next((f", and {other} has none" for other, text in texts if not _TIMECODE.match(text)), "")
            remedy = f"is a timecode{bare}; begin every line with one, or end this one in | time="
            raise Error(f"{where}: {code[0].strip()} {remedy if fps else _of_timecode(code)}")
    whole = _json("\n".join(text for _, text in texts))
    if isinstance(whole, tuple):
        texts = [(texts[0][0], f"{key}: {value}") for key, value in whole if isinstance(value, str)]
    texts = [each for each in texts if each[1].strip() not in ("{", "}")]
    _check_labels(texts)
    found = [(where, match) for where, text in texts if (match := _TIMED.match(text))]
    times = [
        parse_time(m["clock"]) if m["clock"] else float(m["seconds"] or m["label"] or m["frame"]) for _, m in found
    ]
    rising = len(found) > 1 and all(earlier < later for earlier, later in pairwise(times))
    all_of_them = len(found) == len(texts) == len(whole or texts) and not any(
        isinstance(it, Keyframe) for _, it in given
    )
    before = "frame numbers" if found and found[0][1]["frame"] else "times"
    if rising and all_of_them and times[0] and not found[0][1]["tag"]:
        if whole or found[0][1]["label"]:
            raise Error(f"{texts[0][0]}: the first of the prompts by {before} is at {times[0]:g}; it has to be at 0")
        return given, f"the {before} before the prompts are words to the model, since the first is not 0"
    if rising and all_of_them and not times[0]:
        if found[0][1]["frame"] and times == [*range(len(times))]:
            raise Error(
                f"{found[0][0]}: numbers before prompts, each one more than the last, are not read; leave them out, or "
                f"write '{_line_of(found[1][1])[:60]}' for a frame"
            )
        read = "frame" if found[0][1]["frame"] else "time"
        return [
            (where, _line_of(match)) for where, match in found
        ], f"the {before} before the prompts are read as {read}="
    for where, match in found:
        if match["tag"]:
            raise Error(
                f"{where}: times before some of the prompts are not read; write '{_line_of(match)[:60]}' for "
                f"'{match.string.strip()[:60]}', or leave times out"
            )
    return given, ""


def _check_labels(texts: Sequence[tuple[str, str]]) -> None:
    """Raise Error for labels of an audio editor that are no prompts at times: as words they would be nonsense."""
    before = None
    for where, text in texts:
        label = _TIMED.match(text)
        if not label or not label["label"]:
            if before is not None:
                raise Error(
                    f"{where}: among labels that an audio editor has exported, this is none: {text.strip()[:60]!r}"
                )
            continue
        if before is not None and float(label["label"]) <= before:
            raise Error(f"{where}: the label is at {label['label']}, not after the one before; they must increase")
        if not label["prompt"].strip():
            raise Error(f"{where}: the label at {label['label']} is empty; write a prompt into it")
        before = float(label["label"])


def _decoded(given: Sequence[tuple[str, str | Keyframe]], fps: Fraction) -> list[tuple[str, str | Keyframe]]:
    """With times in place of timecodes, where all lines begin with one, or settings have them. Such a list may begin at a
    whole hour, as an editing program's timeline does."""
    codes = [_TIMECODE.match(text) if isinstance(text, str) else None for _, text in given]
    lines, begins = [*given], 0
    if len(codes) > 1 and all(codes):
        listed = [(where, code) for (where, _), code in zip(given, codes) if code]
        begins = int(listed[0][1]["hours"])
        lines = [*_clocked(listed, fps, begins)]

    def decoded(where: str, text: str) -> str:
        return _SET.sub(lambda code: code["set"] + clock(_moment(where, code, fps, begins), 6), text)

    return [(where, decoded(where, text) if isinstance(text, str) else text) for where, text in lines]


def _clocked(listed: Sequence[tuple[str, re.Match[str]]], fps: Fraction, begins: int) -> Iterator[tuple[str, str]]:
    """Lines with times in place of the timecodes that they begin with."""
    before = None
    for where, code in listed:
        moment, rest = _moment(where, code, fps, begins), code.string[code.end() :].lstrip("]")
        said = code[0].strip(" [\"'")
        if before is None and moment:
            raise Error(f"{where}: the first timecode is {said}; it has to be 00:00:00:00, or a whole hour")
        if before is not None and moment <= before:
            raise Error(f"{where}: the timecode {said} is not after the one before; they must increase")
        if _TIMECODE.match(rest):
            raise Error(f"{where}: a second timecode follows the first; until when it rests is written | until=")
        yield where, f"{clock(moment, 6)} {rest}"
        before = moment


def _moment(where: str, code: re.Match[str], fps: Fraction, begins: int = 0) -> Fraction:
    """The time of a timecode, counted from this hour. Drop-frame ones (SMPTE ST 12-1), at 30000/1001 or twice that, leave
    out the first two or four numbers of each minute but every tenth, and so keep to the clock."""
    hours, minutes, seconds, frames = (int(code[name]) for name in ("hours", "minutes", "seconds", "frames"))
    rate, minute = round(fps), 60 * hours + minutes
    dropped = rate // 15 if code["drops"] == ";" and fps.denominator == 1001 and rate % 30 == 0 else 0
    said = f"there is no timecode {code['hours']}:{code['minutes']}:{code['seconds']}{code['drops']}{code['frames']}"
    if frames >= rate:
        raise Error(f"{where}: {said} at {float(fps):.6g} frames a second; give another --fps")
    if not seconds and minute % 10 and frames < dropped:
        raise Error(f"{where}: {said}; drop-frame timecodes leave that number out")

    def count(minutes: int) -> int:
        return 60 * rate * minutes - dropped * (minutes - minutes // 10)

    moment = (count(minute) - count(60 * begins) + rate * seconds + frames) / fps
    if moment < 0:
        raise Error(f"{where}: {said} in a list that begins at hour {begins}")
    return moment


def _of_timecode(code: re.Match[str]) -> str:
    """What it is, and what to write in its place."""
    frame = int(code["frames"]) + 25 * (60 * (60 * int(code["hours"]) + int(code["minutes"])) + int(code["seconds"]))
    return (
        f"is a timecode, and it is not known of how many frames a second; write the frame, at 25 | frame={frame}, say"
    )


def _line_of(scheduled: re.Match[str]) -> str:
    frame = (scheduled["frame"] or "").partition(".")[0]
    time = scheduled["clock"] or scheduled["seconds"] or scheduled["label"]
    quoted = re.fullmatch(r"""(["'])((?:(?!\1).)*)\1,?""", scheduled["prompt"].strip(), re.DOTALL)
    prompt, _, negative = (quoted[2] if quoted else scheduled["prompt"]).partition(" --neg ")
    unwanted = f" | negative={negative.strip()}" if negative.strip() else ""
    return f"{prompt.strip()}{unwanted} | " + (f"frame={frame}" if frame else f"time={time}")


def _check_no_data(texts: Sequence[tuple[str, str]]) -> None:
    """Raise Error for JSON: a model would draw it."""
    whole = _json("\n".join(text for _, text in texts))
    for where, text in texts:
        if whole is not None or _DATA.fullmatch(text) or _json(text) is not None:
            raise Error(
                f"{where}: JSON and the like are not read; write the prompts alone, in a file one a line, "
                "with times as in 'an owl | time=SECONDS'"
            )


def _json(text: str) -> Any:
    """An object, as a tuple of pairs, or a list; None for anything else."""
    if text.lstrip().startswith(("{", "[")):
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text, object_pairs_hook=tuple)
    return None


# What a line says


def _line(where: str, given: str | Keyframe) -> _Line:
    if isinstance(given, Keyframe):  # whoever made it may have left its negative prompt out
        return _Line(where, given, given.seed, given.negative_prompt or None)
    prompt, settings = _parse(where, given)
    seed, negative = settings.pop("seed", None), settings.pop("negative", None)
    for text in (prompt, negative or ""):
        _check_weights(where, text)
    unit, until = settings.get("until_in", "time"), settings.get("until")
    arrives, show = settings.get(unit), _shown(unit)
    if arrives is not None and until is not None and until <= arrives:
        raise Error(f"{where}: until {show(until)} is not after its {unit} {show(arrives)}")
    return _Line(where, Keyframe(prompt, seed or 0, negative or "", **settings), seed, negative)


def _parse(where: str, text: str) -> tuple[str, dict[str, Any]]:
    """A prompt and the settings at its end. A bar that no `name=` follows belongs to the prompt."""
    text = " ".join(text.split())  # tabs and line breaks, too, are but spaces
    if has_control_characters(text):
        raise Error(f"{where}: {text[:60]!a} has control characters")
    prompt, *fields = text.split("|")
    settings: dict[str, str] = {}
    for field in fields:
        match = re.match(r"\s*([\w-]+)\s*=(.*)", field, re.DOTALL)
        almost = re.match(
            rf"\s*({'|'.join(_PARSERS)})\s*:\s*(.*)|\s*(seed|beat|bar|frame)\s+(\d+\s*)$", field, re.DOTALL
        )
        if match:
            name = match[1]
            if name in settings:
                raise Error(f"{where}: {name} is set twice")
            settings[name] = match[2].strip()
        elif almost:
            name, value = almost[1] or almost[3], almost[2] or almost[4]
            raise Error(f"{where}: '{field.strip()}' looks like a setting; write {name}={(value or '').strip()}")
        elif settings:
            what = f"'{field.strip()}'" if field.strip() else "a bar"
            raise Error(f"{where}: {what} comes after {name}=; settings go at the end of the line")
        else:
            prompt += "|" + field
    prompt = prompt.strip()
    for name, said in (("prompt", prompt), *settings.items()):
        if len(said) > MAX_PROMPT:
            raise Error(f"{where}: the {name} has {len(said)} characters; at most {MAX_PROMPT} are possible")
    if not prompt:
        raise Error(f"{where}: there is no prompt before the settings")
    unknown = [name for name in settings if name not in _PARSERS]
    if unknown:
        near = ["time"] if unknown[0] in ("at", "t") else difflib.get_close_matches(unknown[0], _PARSERS, n=1)
        hint = f"; did you mean {near[0]}=?" if near else ""
        raise Error(f"{where}: unknown setting {unknown[0]}={hint} (settings are {_SETTINGS})")
    places = [name for name in WHEN if name in settings]
    if len(places) > 1:
        raise Error(f"{where}: {places[0]}= and {places[1]}= are both given; keep one")
    if "until" in settings and not places:
        raise Error(f"{where}: until= says how long to rest, but not from when; add time=, beat=, bar= or frame=")
    rest: dict[str, Any] = {}
    if counted := re.fullmatch(r"(beat|bar|frame)\s*=\s*(.*)", settings.get("until", "")):
        rest = {"until_in": counted[1], "until": _PARSERS[counted[1]](where, counted[2])}
        del settings["until"]
    return prompt, {name: _PARSERS[name](where, text) for name, text in settings.items()} | rest


def _parse_seed(where: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MAX_SEED:
        raise Error(f"{where}: seed '{text}' is not a seed; write a whole number from 0 to {MAX_SEED}")
    return int(text)


def _parse_moment(name: str) -> Callable[[str, str], float]:
    def parse(where: str, text: str) -> float:
        try:
            return parse_time(text)
        except ValueError:
            if code := _TIMECODE.fullmatch(text):
                raise Error(f"{where}: {name} '{text}' {_of_timecode(code)}") from None
            wanted = "write seconds (12.5) or minutes:seconds (1:02.5)"
            raise Error(f"{where}: {name} '{text}' is not a time; {wanted}") from None

    return parse


def _parse_count(name: str) -> Callable[[str, str], float]:
    def parse(where: str, text: str) -> float:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or float(text) < 1:
            raise Error(f"{where}: {name} '{text}' is not possible; they are counted from 1, and 2.5 is half-way on")
        return float(text)

    return parse


def _parse_frame(where: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise Error(f"{where}: frame '{text}' is not possible; they are whole numbers, counted from 0")
    return int(text)


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "seed": _parse_seed,
    "time": _parse_moment("time"),
    "until": _parse_moment("until"),
    "beat": _parse_count("beat"),
    "bar": _parse_count("bar"),
    "frame": _parse_frame,
    "negative": lambda where, text: text,
}
_SETTINGS = "seed=, time=, beat=, bar=, frame=, until= and negative="


def _check_times(lines: Sequence[_Line]) -> None:
    """Of what can be compared without hearing a sound."""
    for name in WHEN:
        show = _shown(name)
        timed = [(line, at) for line in lines if (at := getattr(line.keyframe, name)) is not None]
        for (earlier, end), (line, at) in pairwise(timed):
            if earlier.keyframe.until_in == name:
                end = earlier.keyframe.until or end
            if at <= end:
                raise Error(
                    f"{line.where}: {name} {show(at)} is not after {show(end)} ({earlier.where}); "
                    f"{name}s must increase from keyframe to keyframe"
                )


def _shown(unit: str) -> Callable[[float], str]:
    return format_time if unit == "time" else "{:g}".format


def _check_weights(where: str, text: str) -> None:
    try:
        emphasis.weights(text)
    except ValueError as error:
        raise Error(
            f"{where}: a weight of {error} is too much; (words:1.3) is possible up to {emphasis.MOST:g}, and \\( is a "
            "parenthesis"
        ) from None


def _by_words(lines: list[_Line], seed: int, negative: str) -> list[int]:
    """Numbers that their words alone decide, in few digits, since people copy seeds; or a seed that one with the same words
    has."""
    words = [f"{line.keyframe.prompt}\n{negative if line.negative is None else line.negative}" for line in lines]
    known = {said: line.seed for said, line in reversed([*zip(words, lines)]) if line.seed is not None}
    counted = [int(hashlib.sha256(said.encode()).hexdigest(), 16) % 1_000_000 for said in words]
    return [known.get(said, seed + number) for said, number in zip(words, counted)]


def _pair(lines: list[_Line], seeds: Sequence[int]) -> tuple[list[_Line], list[int]]:
    """One seed for each prompt, or one of them repeated to match the other."""
    for line in lines:
        if line.seed is not None:
            raise Error(f"{line.where} has seed={line.seed}, and seeds for all prompts were given too; keep one")
    count = max(len(lines), len(seeds))
    if len(lines) not in (1, count) or len(seeds) not in (1, count):
        raise Error(
            f"{plural(len(lines), 'prompt')} and {plural(len(seeds), 'seed')}; give one seed for each prompt, "
            "one seed for all, or several seeds for one prompt"
        )
    if len(lines) == 1 and count > 1 and any(getattr(lines[0].keyframe, name) is not None for name in WHEN):
        raise Error(f"{lines[0].where} has a time, but becomes {count} keyframes, one for each seed; drop the time")
    return lines * (count // len(lines)), list(seeds) * (count // len(seeds))
