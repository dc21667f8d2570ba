"""A prompt file, or a list of prompts, becomes a tuple of Keyframes.

Knows walk's own format, and leaves those of other tools to walk.foreign and walk.lyrics. Knows no sound and no models, and
not where frames are.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import hashlib
import numbers
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from walk import Error, emphasis, foreign, images, lyrics
from walk.files import at_home, lines_of, read_text
from walk.images import Image
from walk.pace import PACES
from walk.text import either, format_time, has_control_characters, parse_time, plural

MAX_SEED = 2**63 - 1  # torch.Generator.manual_seed takes no more
WORDS = "words"  # in place of seeds: each prompt's seed follows from its words
MAX_PROMPT = 20_000  # characters; no model reads a tenth of it
WHEN = ("time", "beat", "bar", "frame")  # settings that say when; a keyframe has one of them at most
_SECTION = re.compile(r"\s*\|\s*[\w-]+\s*=")  # how a line without a prompt begins
_TENSORS = re.compile(r"\(tensors [0-9a-f]{16}\)")  # in the prompt of a keyframe of tensors
TEXT_SUFFIXES = {".txt", ".text", ".md", ".csv", ".json", ".yaml", ".yml", *lyrics.SUFFIXES}


class Subject(NamedTuple):
    """What a keyframe's picture shows, whatever noise it starts from."""

    prompt: str
    negative_prompt: str = ""
    image: Image | None = None

    @property
    def title(self) -> str:
        """Its prompt; of a picture that stands alone, in whatever style, the name of that."""
        return Path(self.image.path).name if self.image and images.ALONE in self.prompt else self.prompt


@dataclass(frozen=True)
class Keyframe:
    """One picture that a walk passes through: what a line of a prompt file can say, and no more.

    prompt: what the picture shows. Tabs, line breaks and several spaces become one space.
    seed: of the Gaussian noise that the picture starts from, 0 .. 2**63 - 1.
    negative_prompt: what the picture is guided away from.
    time: seconds of the film at which the walk arrives here; None: wherever there is room.
    until: seconds of the film until which it rests here; None: it goes on at once.
    until_in: the unit of `until`: 'time' (seconds), 'beat', 'bar' or 'frame'.
    pace: how the walk moves from here to the next keyframe, one of `walk.pace.PACES`; None: as it does elsewhere.
    pulse: how far the noise swings with the music from here to the next keyframe, 0 .. 1; None: as it does elsewhere.
    beat, bar: in place of a time, counted from 1; 2.5 is half-way between the second and the third.
        `walk.timeline.beats_to_seconds` makes times of them.
    frame: in place of a time, counted from 0. `walk.timeline.frames_to_seconds` makes a time of it.
    image: a picture that it is to resemble, too (an image prompt): a file's name, or as `walk.images.find` finds it.

    Raises Error for values outside these, and for a weight that is too much, such as (red:9).
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
    pace: str | None = None
    pulse: float | None = None
    image: Image | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", _checked_image(self.image))
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise Error(f"prompt {self.prompt!r} is empty or no text; it says what the picture shows")
        if not isinstance(self.negative_prompt, str):
            raise Error(f"negative prompt {self.negative_prompt!r} is not text; '' is none")
        object.__setattr__(self, "prompt", _checked_prompt(self.prompt))
        object.__setattr__(self, "negative_prompt", _one_line("negative prompt", self.negative_prompt))
        object.__setattr__(self, "seed", _checked_seed(self.seed))
        _check_weights("prompt", self.prompt)
        _check_weights("negative prompt", self.negative_prompt)
        if self.until_in not in WHEN:
            raise Error(f"until_in {self.until_in!r} is unknown; it is {either(WHEN)}")
        lowest = {"time": 0, "until": int(self.until_in in ("beat", "bar")), "beat": 1, "bar": 1, "pulse": 0}
        for name, low in lowest.items():
            value, most = getattr(self, name), 1.0 if name == "pulse" else sys.float_info.max
            if value is not None and not (isinstance(value, numbers.Real) and low <= float(value) <= most):
                to = " to 1" * (most == 1)
                raise Error(f"{name} {value!r} is out of range; it is a number from {low}{to}, or None")
            object.__setattr__(self, name, None if value is None else float(value))
        if self.pace is not None and self.pace not in PACES:
            raise Error(f"pace {self.pace!r} is unknown; it is {either(PACES)}, or None")
        if self.frame is not None:
            if not isinstance(self.frame, numbers.Integral) or self.frame < 0:
                raise Error(f"frame {self.frame!r} is out of range; it is a whole number from 0, or None")
            object.__setattr__(self, "frame", int(self.frame))
        arrival = getattr(self, self.until_in)
        if arrival is not None and self.until is not None and self.until <= arrival:
            raise Error(
                f"until {self.until:g} is not after its {self.until_in} {arrival:g}; a keyframe rests until later"
            )

    @property
    def subject(self) -> Subject:
        return Subject(self.prompt, self.negative_prompt, self.image)

    @property
    def identity(self) -> tuple[str | float, ...]:
        """What decides its pixels."""
        return self.prompt, self.negative_prompt, self.seed, *(self.image.identity if self.image else ())

    @property
    def title(self) -> str:
        return self.subject.title

    @property
    def wordless(self) -> bool:
        """Whether it is a picture that stands alone, in no style."""
        return self.image is not None and self.prompt == images.ALONE


class _Line(NamedTuple):
    """A line of a prompt file, read."""

    where: str  # for errors: 'a.txt:3'
    keyframe: Keyframe
    seed: int | None  # None: the line sets none
    negative: str | None  # None: the line sets none
    sets_image: bool = False  # if perhaps to none


def read_prompts(
    prompts: str | Path | Sequence[str | Path | Keyframe],
    seed: int = 0,
    seeds: Sequence[int] | int | str | None = None,
    negative: str = "",
    style: str = "{}",
    tell: Callable[[str], object] = lambda note: None,
    fps: Fraction | None = None,
    image: str | Path | Image = "",
) -> tuple[Keyframe, ...]:
    """Keyframes from a prompt file, from one prompt, or from a sequence of prompts; or from pictures.

    A file has one prompt a line; blank lines and lines that begin with `#` are skipped. A prompt
    may end in settings: `a fox in the snow | seed=7 | time=1:02.5 | negative=blurry`, `beat=32`,
    `bar=9` or `frame=48` in place of a time, and `until=1:05`, or `until=bar=11`, to rest there; `pace=bar` and `pulse=0.5`
    say how it moves from there to the next keyframe. `| pace=bar | pulse=0.5 | negative=blurry`, or some of these, without a
    prompt, is for all lines after it that say nothing else, up to the next such line. `(red:1.3)` counts for more than other
    words; `walk.emphasis` has the notation.

    Keyframes among the prompts are as lines that set all of this.

    `a fox | image=fox.jpg` is to resemble a picture, too, whose file is beside the prompt file, or else where its name
    says. A picture's file name alone is a prompt; a folder is the pictures in it.

    The lines of a song (.lrc, .srt, .vtt) are prompts at their times, see `walk.lyrics`. Where every prompt begins with a
    frame's number or a time, as other tools write them, that is when it comes, see `walk.foreign`.

    seed: keyframe i gets seed + i, unless its line has a seed of its own.
    seeds: instead of `seed`: one for each prompt, one for all prompts, or several for one prompt. "words": each prompt,
        with its negative prompt, has a seed of its own wherever it stands (or that of a line with the same words);
        another `seed` gives all of them others.
    negative: the negative prompt of every keyframe that has none of its own.
    style: what every prompt is put into, at its {}: 'an oil painting of {}'.
    tell: called with what was made of frame numbers or times before all prompts, and if `image` is of no use, in a
        sentence.
    fps: frames a second of timecodes, 00:00:02:13, which stand for times; None: there are none.
    image: a picture for every keyframe that has none of its own; '' is none.

    Raises Error, which names file and line and says what was expected.
    """
    for name, text in (("negative prompt", negative), ("style", style)):
        if not isinstance(text, str):
            raise Error(f"{name} {text!r} is not text")
    seed = _checked_seed(seed)
    entries = _as_lines(list(_entries(prompts)), fps, tell)
    texts = [(where, text) for where, text in entries if isinstance(text, str)]
    for where, text in texts:
        _check_text(where, text)
    foreign.check_no_data(texts)
    foreign.check_no_infotext(texts)
    file = prompt_file(prompts)
    lines = list(_lines(entries, file.parent if file and not os.path.isdir(file) else None))
    shared = _checked_image(image)
    _check_weights("negative prompt", negative)
    _check_weights("style", style)
    negative, style = _one_line("negative prompt", negative), _checked_style(style)
    _check_times(lines)
    lines, chosen = _seeded(lines, seed, seeds, negative)
    keyframes = tuple(
        dataclasses.replace(
            line.keyframe,
            prompt=style.replace("{}", line.keyframe.prompt),
            seed=value,
            negative_prompt=negative if line.negative is None else line.negative,
            image=line.keyframe.image if line.sets_image else shared,
        )
        for line, value in zip(lines, chosen)
    )
    if shared and all(it.image != shared for it in keyframes):
        tell(f"every prompt has a picture of its own, or none, so --image {image} is not used")
    return keyframes


def read_moment(text: str) -> tuple[str, float]:
    """(unit, number) of a moment of a film, such as 1:02.5, bar=9, beat=32 or frame=48; the unit is one of WHEN. Raises
    ValueError for anything else."""
    name, _, number = text.rpartition("=")
    unit = name.strip().lower() or "time"
    if unit not in WHEN:
        raise ValueError(text)
    try:
        return unit, _PARSERS[unit](text, number.strip())
    except Error:
        raise ValueError(text) from None


def read_lines(lines: Sequence[str]) -> tuple[Keyframe, ...]:
    """Keyframes from lines of a prompt file that leave nothing to defaults, as a recipe's do. A time or a frame's number
    before a prompt is part of it here. Opens no files. Raises Error like `read_prompts`."""
    read = []
    for where, text in _entries(list(lines)):
        assert isinstance(text, str)
        _check_text(where, text)
        read.append(_line(where, text, opening=False))
    _check_times(read)
    return tuple(line.keyframe for line in read)


def _checked_prompt(text: str) -> str:
    """The prompt as a line of a film's recipe holds it."""
    _check_text("prompt", text)
    prompt, settings = _parse("prompt", text)
    if settings:
        raise Error(
            f"prompt {text[:60]!r} has settings in it; give them as the keyframe's own, or the line to read_prompts"
        )
    return prompt


def _one_line(name: str, text: str) -> str:
    """The text with single spaces. Raises Error, which calls it `name`, for what a setting of a line cannot hold."""
    text = " ".join(text.split())
    if "|" in text or has_control_characters(text):
        raise Error(f"{name} {text[:60]!a} has a bar or control characters; it is plain text")
    return text


def _checked_style(style: str) -> str:
    style = _one_line("style", style)
    if style.startswith("#"):
        raise Error(f"style '{style[:60]}' begins with #, which makes a prompt a comment")
    if "{}" not in style:
        raise Error(f"style '{style[:60]}' has no {{}} in it, where the prompt goes, as in 'an oil painting of {{}}'")
    return style


def _checked_image(image: Any) -> Image | None:
    """The image, found by its file's name, or read from JSON."""
    if image is None or image == "":
        return None
    if isinstance(image, (str, os.PathLike)):
        return images.find(os.fspath(image))
    if isinstance(image, (Image, list)) and [type(part) for part in image[:2]] == [str, str] and len(image) == 3:
        if isinstance(image[2], numbers.Real) and 0 <= float(image[2]) <= 1:
            return Image(image[0], image[1], float(image[2]))
        raise Error(f"the weight of {image[0]}, {image[2]!r}, is out of range; it is a number from 0 to 1")
    raise Error(f"image {image!r} is no file's name; give the path of a picture")


def _checked_seed(seed: int) -> int:
    """The seed as a Python integer, whichever library's it is."""
    if not isinstance(seed, numbers.Integral) or not 0 <= seed <= MAX_SEED:
        random = ", and none is drawn at random" * (seed == -1)  # which it means in other tools
        raise Error(f"seed {seed!r} is out of range; seeds are whole numbers from 0 to {MAX_SEED}{random}")
    return int(seed)


# Prompts that stand for tensors


def tensor_prompt(name: str, digest: str) -> str:
    """The prompt of a keyframe of tensors (`walk.given`): a name, and a digest that tells them from all others.

    digest: 16 hexadecimal digits. Raises Error for a name that no line of a prompt file can have."""
    _check_text("the name of tensors", name)
    return f"{_one_line('the name of tensors', name)} (tensors {digest})"


def check_no_tensors(keyframes: Iterable[Keyframe]) -> None:
    """Raise Error for a prompt that stands for tensors: as words it would be another picture."""
    for keyframe in keyframes:
        if _TENSORS.search(keyframe.prompt):
            raise Error(
                f"'{keyframe.prompt}' stands for tensors, which only the program that made them has; run that again, "
                "or write words in its place"
            )


# Where the text comes from


def prompt_file(prompts: str | Path | Sequence[str | Path | Keyframe]) -> Path | None:
    """The prompt file, or folder of pictures, if prompts are a Path, or a string that names one or looks like it; else
    None."""
    if isinstance(prompts, str) and prompts.strip():
        is_folder = prompts.endswith(("/", os.sep)) and os.path.isdir(prompts)
        if is_folder or looks_like_a_file(prompts) or os.path.isfile(prompts):
            prompts = Path(prompts)
    if not isinstance(prompts, Path) or images.is_name(str(prompts)):
        return None
    return at_home(prompts)


def _entries(prompts: Any) -> Iterator[tuple[str, str | Keyframe]]:
    """(where, text or Keyframe) for every prompt."""
    path = prompt_file(prompts)
    if path is not None and os.path.isdir(path):
        if not (pictures := images.inside(path)):
            raise Error(
                f"{path} is a folder without pictures; give a prompt file, or a folder of .png, .jpg or .webp files"
            )
        yield from ((str(picture), str(picture)) for picture in pictures)
        return
    if path is not None:
        yield from _file_lines(path)
        return
    for number, prompt in enumerate(_listed(str(prompts) if isinstance(prompts, Path) else prompts), 1):
        if isinstance(prompt, Path) and images.is_name(str(prompt)):
            prompt = str(prompt)
        if not isinstance(prompt, (str, Keyframe)):
            raise Error(f"prompt {number} is {str(prompt)[:60]!r}, which is not text")
        yield f"prompt {number}", prompt


def _listed(prompts: Any) -> list[Any]:
    """One prompt or several as a list."""
    if isinstance(prompts, Mapping):
        raise Error("prompts in a dict are not read; give a list, with times as in 'an owl | time=SECONDS'")
    if isinstance(prompts, Set):  # of text, its order changes from process to process
        raise Error("prompts in a set have no order; give a list")
    if not isinstance(prompts, (Iterable, Keyframe)):
        raise Error(f"{prompts!r} is not a prompt; give a prompt file, or the prompts themselves")
    listed = [prompts] if isinstance(prompts, (str, Keyframe)) else list(prompts)
    if not listed:
        raise Error("no prompts were given; give a prompt file, or the prompts themselves")
    return listed


def _check_text(where: str, prompt: str) -> None:
    """Raise Error for what cannot be a line of a prompt file with a prompt in it."""
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
    """(where, text) for every prompt of a file."""
    expected = "a prompt file is UTF-8 text with one prompt a line"
    hint = (
        ""
        if path.suffix.lower() in TEXT_SUFFIXES
        else "; a prompt that looks like a file's name is written into a file"
    )
    text = read_text(path, expected, hint)
    if path.suffix.lower() in lyrics.SUFFIXES:
        yield from lyrics.prompt_lines(text, str(path))
        return
    prompts = lines_of(path, text)
    if not prompts:
        only = "only comments and blank lines" if text.strip() else "nothing"
        raise Error(f"{path} has {only} in it; {expected}")
    yield from prompts


# What a line says


def _as_lines(entries: foreign.Entries, fps: Fraction | None, tell: Callable[[str], object]) -> foreign.Entries:
    """As `foreign.as_lines`, with lines without a prompt among those of another tool."""
    apart = {i: (where, text) for i, (where, text) in enumerate(entries) if _SECTION.match(str(text))}
    others = [entry for i, entry in enumerate(entries) if i not in apart]
    lines = foreign.as_lines(others, fps, tell)
    if apart and len(lines) != len(others):
        where, text = next(iter(apart.values()))
        raise Error(f"{where}: '{text.strip()[:60]}' has no place in JSON")
    for i, entry in apart.items():
        lines.insert(i, entry)
    return lines


def _lines(entries: foreign.Entries, folder: Path | None) -> Iterator[_Line]:
    """The lines that have prompts, with what lines without one say for all after them. folder: where pictures are."""
    section: dict[str, Any] = {}
    unused = ""  # where the last line without a prompt is, if no prompt comes after it
    for where, entry in entries:
        if isinstance(entry, str) and _SECTION.match(entry):
            section |= _section(where, entry, folder)
            unused = where
        else:
            yield _line(where, entry, section, folder)
            unused = ""
    if unused:
        raise Error(f"{unused}: settings without a prompt are for all prompts after them, and there are none")


def _section(where: str, text: str, folder: Path | None) -> dict[str, Any]:
    """What a line without a prompt says for all after it."""
    _, fields = _split(where, text)
    if other := [name for name in fields if name not in _IN_SECTIONS]:
        raise Error(
            f"{where}: there is no prompt before {other[0]}=; pace=, pulse=, negative= and image= can do without, and are then "
            "for all prompts after them"
        )
    _check_weights(where, fields.get("negative", ""))
    settings = {name: _PARSERS[name](where, value) for name, value in fields.items()}
    return settings | ({"image": _find_image(where, settings["image"], folder)} if "image" in settings else {})


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """Names the line in what is wrong with a picture."""
    try:
        yield
    except Error as error:
        raise Error(f"{where}: {error}") from None


def _find_image(where: str, name: str, folder: Path | None) -> Image | None:
    with _at(where):
        return images.find(name, folder) if name else None


def _line(
    where: str,
    entry: str | Keyframe,
    section: Mapping[str, Any] | None = None,
    folder: Path | None = None,
    opening: bool = True,
) -> _Line:
    """section: what is set for it, if it sets nothing else. folder: where pictures are. opening: whether they may be
    opened, or else must be told with their digests."""
    if isinstance(entry, Keyframe):  # whoever made it may have left its negative prompt out
        return _Line(where, entry, entry.seed, entry.negative_prompt or None, entry.image is not None)
    if opening and images.is_name(entry, folder) and os.path.isfile(images.place(entry, folder)):
        with _at(where):
            images.check_name(entry)  # which might else be read as another's, or as words
    prompt, settings = _parse(where, entry)
    if opening and images.is_name(prompt, folder):
        if "image" in settings:
            raise Error(f"{where}: {prompt} and image= are two pictures; keep one, or write words before the bar")
        prompt, settings["image"] = images.ALONE, prompt
    if "image" in settings:
        name = settings["image"]
        if not opening and not images.told(name):
            raise Error(f"{where}: the picture {name[:60]} is told without its digest")
        settings["image"] = _find_image(where, name, folder)
    settings = {**(section or {}), **settings}
    seed, negative = settings.pop("seed", None), settings.pop("negative", None)
    for text in (prompt, negative or ""):  # Keyframe checks this and `until`, too, but knows no line to name
        _check_weights(where, text)
    unit, until = settings.get("until_in", "time"), settings.get("until")
    arrival, show = settings.get(unit), _formatter(unit)
    if arrival is not None and until is not None and until <= arrival:
        raise Error(f"{where}: until {show(until)} is not after its {unit} {show(arrival)}")
    keyframe = Keyframe(prompt, seed or 0, negative or "", **settings)
    return _Line(where, keyframe, seed, negative, "image" in settings)


def _parse(where: str, text: str) -> tuple[str, dict[str, Any]]:
    """A prompt and the values of the settings at its end."""
    prompt, fields = _split(where, text)
    _check_settings(where, prompt, fields)
    until: dict[str, Any] = {}
    if counted := re.fullmatch(r"(beat|bar|frame)\s*=\s*(.*)", fields.get("until", "")):
        until = {"until_in": counted[1], "until": _PARSERS[counted[1]](where, counted[2])}
        del fields["until"]
    return prompt, {name: _PARSERS[name](where, value) for name, value in fields.items()} | until


def _split(where: str, text: str) -> tuple[str, dict[str, str]]:
    """A prompt and its settings, both as text. A bar that no `name=` follows belongs to the prompt."""
    text = " ".join(text.split())  # tabs and line breaks, too, are spaces
    if has_control_characters(text):
        raise Error(f"{where}: {text[:60]!a} has control characters")
    prompt, *fields = text.split("|")
    settings: dict[str, str] = {}
    for field in fields:
        match = re.match(r"\s*([\w-]+)\s*=(.*)", field, re.DOTALL)
        almost = re.match(
            rf"\s*({'|'.join(_PARSERS)})\s*:\s*(.*)|\s*(?:(seed|beat|bar|frame|pulse)\s+([\d.]+)|(pace)\s+({'|'.join(PACES)}))\s*$",
            field,
            re.DOTALL,
        )
        if match:
            name = match[1]
            if name in settings:
                raise Error(f"{where}: {name} is set twice")
            settings[name] = match[2].strip()
        elif almost:
            name, value = (next(filter(None, some), "") for some in (almost.groups()[::2], almost.groups()[1::2]))
            raise Error(f"{where}: '{field.strip()}' looks like a setting; write {name}={value.strip()}")
        elif settings:
            what = f"'{field.strip()}'" if field.strip() else "a bar"
            raise Error(f"{where}: {what} comes after {name}=; settings go at the end of the line")
        else:
            prompt += "|" + field
    prompt = prompt.strip()
    for name, value in (("prompt", prompt), *settings.items()):
        if len(value) > MAX_PROMPT:
            raise Error(f"{where}: the {name} has {len(value)} characters; at most {MAX_PROMPT} are possible")
    return prompt, settings


def _check_settings(where: str, prompt: str, settings: Mapping[str, str]) -> None:
    """Raise Error for settings of which some are unknown, or which do not go together."""
    if not prompt:
        raise Error(f"{where}: there is no prompt before the settings")
    unknown = [name for name in settings if name not in _PARSERS]
    if unknown:
        near = ["time"] if unknown[0] in ("at", "t") else difflib.get_close_matches(unknown[0].lower(), _PARSERS, n=1)
        hint = f"; did you mean {near[0]}=?" if near else ""
        raise Error(f"{where}: unknown setting {unknown[0]}={hint} (settings are {_SETTINGS})")
    arrivals = [name for name in WHEN if name in settings]
    if len(arrivals) > 1:
        raise Error(f"{where}: {arrivals[0]}= and {arrivals[1]}= are both given; keep one")
    if "until" in settings and not arrivals:
        raise Error(f"{where}: until= says how long to rest, but not from when; add time=, beat=, bar= or frame=")


def _parse_seed(where: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", text) or int(text) > MAX_SEED:
        raise Error(f"{where}: seed '{text}' is not a seed; write a whole number from 0 to {MAX_SEED}")
    return int(text)


def _time_parser(name: str) -> Callable[[str, str], float]:
    def parse(where: str, text: str) -> float:
        try:
            return parse_time(text)
        except ValueError:
            if remedy := foreign.timecode_remedy(text):
                raise Error(f"{where}: {name} '{text}' {remedy}") from None
            wanted = "write seconds (12.5) or minutes:seconds (1:02.5)"
            raise Error(f"{where}: {name} '{text}' is not a time; {wanted}") from None

    return parse


def _count_parser(name: str) -> Callable[[str, str], float]:
    def parse(where: str, text: str) -> float:
        if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", text) or float(text) < 1:
            raise Error(f"{where}: {name} '{text}' is not possible; they are counted from 1, and 2.5 is half-way on")
        return float(text)

    return parse


def _parse_frame(where: str, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text):
        raise Error(f"{where}: frame '{text}' is not possible; they are whole numbers, counted from 0")
    return int(text)


def _parse_pace(where: str, text: str) -> str:
    if text.lower() not in PACES:
        raise Error(f"{where}: pace '{text[:40]}' is unknown; write {either(PACES)}")
    return text.lower()


def _parse_pulse(where: str, text: str) -> float:
    if not re.fullmatch(r"[0-9]+\.?[0-9]*|\.[0-9]+", text) or float(text) > 1:
        raise Error(f"{where}: pulse '{text[:40]}' is not possible; write a number from 0 to 1")
    return float(text)


_PARSERS: dict[str, Callable[[str, str], Any]] = {
    "seed": _parse_seed,
    "time": _time_parser("time"),
    "until": _time_parser("until"),
    "beat": _count_parser("beat"),
    "bar": _count_parser("bar"),
    "frame": _parse_frame,
    "pace": _parse_pace,
    "pulse": _parse_pulse,
    "negative": lambda where, text: text,
    "image": lambda where, text: text,
}
_IN_SECTIONS = ("pace", "pulse", "negative", "image")
_SETTINGS = "seed=, time=, beat=, bar=, frame=, until=, pace=, pulse=, negative= and image="


def _check_times(lines: Sequence[_Line]) -> None:
    """Raise Error for times, beats, bars or frames that do not increase. How a time and a beat compare, only a sound tells."""
    for unit in WHEN:
        show = _formatter(unit)
        timed = [(line, at) for line in lines if (at := getattr(line.keyframe, unit)) is not None]
        for (earlier, end), (line, at) in pairwise(timed):
            if earlier.keyframe.until_in == unit:
                end = earlier.keyframe.until or end
            if at <= end:
                raise Error(
                    f"{line.where}: {unit} {show(at)} is not after {show(end)} ({earlier.where}); "
                    f"{unit}s must increase from keyframe to keyframe"
                )


def _formatter(unit: str) -> Callable[[float], str]:
    """How a number of this unit is shown."""
    return format_time if unit == "time" else "{:g}".format


def _check_weights(where: str, text: str) -> None:
    try:
        emphasis.weights(text)
    except ValueError as error:
        raise Error(
            f"{where}: a weight of {error} is too much; (words:1.3) is possible up to {emphasis.MOST:g}, and \\( is a "
            "parenthesis"
        ) from None


def _seeded(
    lines: list[_Line], seed: int, seeds: Sequence[int] | int | str | None, negative: str
) -> tuple[list[_Line], list[int]]:
    """The lines, repeated where one prompt has several seeds, and the seed of each: as `read_prompts` takes them."""
    if isinstance(seeds, numbers.Integral):
        return _paired(lines, [seeds])
    if isinstance(seeds, Collection) and not isinstance(seeds, (str, Mapping, Set)):  # sets are in no order
        return _paired(lines, seeds)
    if seeds is None:
        defaults: Sequence[int] = range(seed, seed + len(lines))
    elif isinstance(seeds, str) and seeds == WORDS:
        defaults = _seeds_from_words(lines, seed, negative)
    else:
        raise Error(f"seeds '{str(seeds)[:60]}': give whole numbers, or '{WORDS}'")
    return lines, [default if line.seed is None else line.seed for line, default in zip(lines, defaults)]


def _seeds_from_words(lines: list[_Line], seed: int, negative: str) -> list[int]:
    """Numbers that the words alone decide, in few digits, since people copy seeds; or the seed of a line with the same
    words."""
    words = [
        f"{line.keyframe.prompt}\n{negative if line.negative is None else line.negative}"
        + "".join(f"\n{part}" for part in (line.keyframe.image.identity if line.keyframe.image else ()))
        for line in lines
    ]
    known = {text: line.seed for text, line in reversed([*zip(words, lines)]) if line.seed is not None}
    hashes = [int(hashlib.sha256(text.encode()).hexdigest(), 16) % 1_000_000 for text in words]
    return [known.get(text, seed + number) for text, number in zip(words, hashes)]


def _paired(lines: list[_Line], seeds: Sequence[int]) -> tuple[list[_Line], list[int]]:
    """One seed for each prompt, or one of them repeated to match the other."""
    for line in lines:
        if line.seed is not None:
            raise Error(
                f"{line.where} has seed={line.seed}, and seeds for all prompts (--seeds) were given too; keep one"
            )
    count = max(len(lines), len(seeds))
    if len(lines) not in (1, count) or len(seeds) not in (1, count):
        raise Error(
            f"{plural(len(lines), 'prompt')} and {plural(len(seeds), 'seed')}; give one seed for each prompt, "
            "one seed for all, or several seeds for one prompt"
        )
    if len(lines) == 1 and count > 1 and any(getattr(lines[0].keyframe, name) is not None for name in WHEN):
        raise Error(f"{lines[0].where} has a time, but becomes {count} keyframes, one for each seed; drop the time")
    return lines * (count // len(lines)), list(seeds) * (count // len(seeds))
