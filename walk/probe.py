"""Any film, read as it is: when its frames are shown, its sound, its metadata.

Knows no run and no walk, and makes no film.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from walk import Error, ffmpeg, gif

_PACKETS = ["-c", "copy", "-f", "framecrc"]
# Of one frame, too, so that a sound file, which has none, is refused.
_TEXTS = ["-c", "copy", "-frames:v", "1", "-f", "ffmetadata"]
_WITH_SOUND = ["-map", "0:a:0?"]
LONGEST = 220  # bytes of a film's name, beside which there is room for what a temporary one adds


class Pictures(NamedTuple):
    """times: when each frame is shown, in seconds and in order. size: (width, height). tick: the unit in which the film
    counts time, in seconds."""

    times: list[Fraction]
    size: tuple[int, int]
    tick: Fraction


class Track(NamedTuple):
    """A film's sound, by its packets. rate: samples a second. start, end: in seconds of the film. packet: the length of the
    longest, in seconds."""

    channels: int
    rate: int
    start: Fraction
    end: Fraction
    packet: Fraction


@dataclass(frozen=True)
class Metadata:
    """What a film says of itself. A chapter is (start in seconds, title), and lasts until the next or the end."""

    title: str
    comment: str
    chapters: tuple[tuple[Fraction, str], ...] = ()


def read_metadata(film: Path) -> Metadata:
    """The metadata of any film, with '' for texts that it lacks. Raises Error if it is not a film."""
    if comment := gif.comment(film):
        return Metadata("", comment)
    return _metadata(ffmpeg.read(film, *_TEXTS))


def _metadata(text: str) -> Metadata:
    sections: list[tuple[str, dict[str, str]]] = []
    for line in re.findall(r"((?:\\.|[^\\\n])*)\n", text, re.DOTALL):
        if pair := re.match(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL):
            key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in pair.groups())
            sections[-1][1].setdefault(key.lower(), value)  # Matroska writes its keys in capitals
        else:
            sections.append((line, {}))
    texts = sections[0][1]
    chapters = [values for name, values in sections if name == "[CHAPTER]"]
    return Metadata(
        texts.get("title", ""),
        texts.get("comment", ""),
        tuple((Fraction(it["timebase"]) * int(it["start"]), it.get("title", "")) for it in chapters),
    )


def timestamps(film: Path) -> Pictures:
    """When the frames of any film are shown, and their size. Decodes nothing."""
    return _pictures(ffmpeg.read(film, *_PACKETS).splitlines())


def tracks(film: Path) -> tuple[Pictures, Track | None]:
    """(pictures, the first sound or None) of any film. Decodes only the first packet of the sound."""
    lines = ffmpeg.read(film, *_WITH_SOUND, *_PACKETS).splitlines()
    return _pictures(lines), _sound(film, lines)


def tracks_and_metadata(film: Path) -> tuple[Pictures, Track | None, Metadata]:
    """What `tracks` and `read_metadata` return of a film, in less time."""
    if comment := gif.comment(film):
        return *tracks(film), Metadata("", comment)
    with tempfile.TemporaryDirectory() as scratch:  # to start ffmpeg takes longer than to read
        texts = Path(scratch, "texts")
        both = [*_TEXTS, f"file:{texts}", "-map", "0:v:0", *_WITH_SOUND, *_PACKETS]
        lines = ffmpeg.read(film, *both).splitlines()
        return _pictures(lines), _sound(film, lines), _metadata(texts.read_bytes().decode(errors="replace"))


def _pictures(lines: list[str]) -> Pictures:
    """lines: one for each packet of a film's pictures, and of its sound."""
    head = dict(line[1:].split(" 0: ") for line in lines if " 0: " in line)
    tick = Fraction(head["tb"])
    width, height = map(int, head["dimensions"].split("x"))
    times = [int(line.split(",")[2]) * tick for line in lines if line.startswith("0,")]
    return Pictures(sorted(times), (width, height), tick)


def _sound(film: Path, lines: list[str]) -> Track | None:
    packets = [[int(number) for number in line.split(",")[2:4]] for line in lines if line.startswith("1,")]
    if not packets:
        return None
    head = dict(line[1:].split(" 1: ") for line in lines if " 1: " in line)
    tick = Fraction(head["tb"])
    report = ffmpeg.read(film, "-frames:a", "1", "-af", "ashowinfo", "-f", "null", "-loglevel", "info", track="a:0")
    channels, rate = re.findall(r" channels:(\d+) chlayout:.* rate:(\d+) ", report)[-1]
    # What comes before 0 is for the decoder, and is not heard.
    start = max(0, min(time for time, _ in packets)) * tick
    end = max(time + duration for time, duration in packets) * tick
    return Track(int(channels), int(rate), start, end, max(duration for _, duration in packets) * tick)


def stream_info(film: Path) -> tuple[Fraction, Fraction | None, str, str]:
    """(tick, frames a second, codec, colours) of any film, as it tells players.

    tick: the unit in which it counts time, in seconds. frames a second: None if it does not say. codec: as in 'h264'.
    colours: in ffmpeg's words, as in 'yuv420p, tv, bt709'.
    """
    text = ffmpeg.first_frame_info(film)
    tick, rate, divisor = re.findall(r"config in time_base: (\d+/\d+), frame_rate: (\d+)/(\d+)", text)[-1]
    colours = [re.findall(rf" {key}:(\w+)", text)[-1] for key in ("fmt", "color_range", "color_space")]
    codec = re.findall(r"^  Stream #0:\d+ -> #0:0 \((\w+) ", text, re.MULTILINE)[-1]
    fps = Fraction(int(rate), int(divisor)) if int(rate) and int(divisor) else None
    return Fraction(tick), fps, codec, ", ".join(colours)


@contextlib.contextmanager
def bare_copy(film: Path, odd: bool) -> Iterator[Path]:
    """A temporary file with the film's pictures but no metadata, since readers that parse ffmpeg's report are misled by a
    prompt that looks like one.

    odd: its frames come at uneven moments or at a rare rate, which misleads such readers, too; in the copy each is shown
    for as long as the others.

    The file lies beside the film if there is room, or else where temporary files go. Raises Error if there is no room at
    all, and OSError for what cannot be read.
    """
    ffmpeg.check_readable(film)
    folders = [film.parent, Path(tempfile.gettempdir())]
    for folder in folders:
        # Whole, since by it a film that is made again finds what a kill has left; unless what is added made it too long.
        name = film.name if len(os.fsencode(film.name)) <= LONGEST else film.name[:40]
        copy = temporary_path(folder / name, f"watched{threading.get_native_id()}")
        try:
            if ffmpeg.copy_pictures(film, copy, odd):
                yield copy
                return
        finally:
            with contextlib.suppress(OSError):
                copy.unlink()
    size = math.ceil(film.stat().st_size / 1e6)
    where = " nor in ".join(dict.fromkeys(map(str, folders)))
    raise Error(f"{film} cannot be checked: that takes a copy of {size} MB, for which there is no room in {where}")


def temporary_path(film: Path, purpose: str) -> Path:
    """A hidden name beside a film for a temporary file: where the film has room, while minutes of sound can fill a small
    /tmp."""
    return film.with_name(f".{film.name}.{os.getpid()}.{purpose}.part")
