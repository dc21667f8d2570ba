"""Any film, read as it is: when its frames are shown, what is heard, what it says of itself.

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


class Pictures(NamedTuple):
    """When each of a film's frames is shown, in seconds and in order; (width, height); and the unit in which time is
    counted."""

    times: list[Fraction]
    size: tuple[int, int]
    tick: Fraction


class Track(NamedTuple):
    """A film's sound as its packets tell: from start to end, in seconds of the film, in packets of this length."""

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
    """What any film's container says of it; '' where it says nothing. Raises Error if it is not a film."""
    if said_in_gif := gif.comment(film):
        return Metadata("", said_in_gif)
    # With one frame, as it is, so that a sound file, which has none, is refused.
    text = ffmpeg.read(film, "-c", "copy", "-frames:v", "1", "-f", "ffmetadata")
    sections: list[tuple[str, dict[str, str]]] = []
    for line in re.findall(r"((?:\\.|[^\\\n])*)\n", text, re.DOTALL):
        if pair := re.match(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL):
            key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in pair.groups())
            sections[-1][1].setdefault(key.lower(), value)  # Matroska shouts its keys
        else:
            sections.append((line, {}))
    said = sections[0][1]
    chapters = [values for name, values in sections if name == "[CHAPTER]"]
    return Metadata(
        said.get("title", ""),
        said.get("comment", ""),
        tuple((Fraction(it["timebase"]) * int(it["start"]), it.get("title", "")) for it in chapters),
    )


def timestamps(film: Path) -> Pictures:
    """The pictures of any film alone. Decodes nothing."""
    return _pictures(_packets(film))


def tracks(film: Path) -> tuple[Pictures, Track | None]:
    """The pictures of any film, and the first sound. Decodes no more than that one's first packet."""
    lines = _packets(film, "-map", "0:a:0?")
    return _pictures(lines), _sound(film, lines)


def _packets(film: Path, *also: str) -> list[str]:
    return ffmpeg.read(film, *also, "-c", "copy", "-f", "framecrc").splitlines()


def _pictures(lines: list[str]) -> Pictures:
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
    said = ffmpeg.read(film, "-frames:a", "1", "-af", "ashowinfo", "-f", "null", "-loglevel", "info", track="a:0")
    channels, rate = re.findall(r" channels:(\d+) chlayout:.* rate:(\d+) ", said)[-1]
    # What is before 0 is for the decoder, and not heard.
    start = max(0, min(time for time, _ in packets)) * tick
    end = max(time + duration for time, duration in packets) * tick
    return Track(int(channels), int(rate), start, end, max(duration for _, duration in packets) * tick)


def stream_info(film: Path) -> tuple[Fraction, Fraction | None, str, str]:
    """What any film tells players: (the unit in which it counts time, the frames a second that it says it has, how to read
    its pictures, as in 'h264', and their colours, in ffmpeg's words, as in 'yuv420p, tv, bt709'). None: it does not say."""
    text = ffmpeg.shown(film)
    tick, rate, by = re.findall(r"config in time_base: (\d+/\d+), frame_rate: (\d+)/(\d+)", text)[-1]
    colours = [re.findall(rf" {key}:(\w+)", text)[-1] for key in ("fmt", "color_range", "color_space")]
    codec = re.findall(r"^  Stream #0:\d+ -> #0:0 \((\w+) ", text, re.MULTILINE)[-1]
    return Fraction(tick), Fraction(int(rate), int(by)) if int(rate) and int(by) else None, codec, ", ".join(colours)


@contextlib.contextmanager
def bare_copy(film: Path, odd: bool) -> Iterator[Path]:
    """The film's pictures without metadata, in a file for a while: readers that parse ffmpeg's report are led astray by
    a prompt that looks like one. odd: they come at uneven moments or a rare rate, which lead such readers astray, too;
    there each is shown as long as the others. It lies beside the film, where there was room for that, too, or else where
    temporary files go. Raises Error if there is no room for it, and OSError for what cannot be read.
    """
    ffmpeg.check_readable(film)
    folders = [film.parent, Path(tempfile.gettempdir())]
    for folder in folders:
        name = film.name[:40]  # a long one has no room for more
        copy = beside(folder / name, f"watched{threading.get_native_id()}")
        try:
            if ffmpeg.copied(film, copy, odd):
                yield copy
                return
        finally:
            with contextlib.suppress(OSError):
                copy.unlink()
    size = math.ceil(film.stat().st_size / 1e6)
    where = " nor in ".join(dict.fromkeys(map(str, folders)))
    raise Error(f"{film} cannot be checked: that takes a copy of {size} MB, for which there is no room in {where}")


def beside(film: Path, what: str) -> Path:
    """A hidden name for what is needed for a while, where there is room: minutes of sound can fill a small /tmp."""
    return film.with_name(f".{film.name}.{os.getpid()}.{what}.part")
