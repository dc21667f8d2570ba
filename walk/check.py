"""A finished film, read again as a player would: is anything in it that nobody meant?

moviepy decodes it, which is not what made it. Knows no walks: any film can be checked.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from walk import Error, video

JUMP = 4  # times the median step from frame to frame
BLACK = 4  # levels; no pixel is lighter
FLAT = 2  # levels; no pixel is further from another
SAME = 0.02  # of the median step: less is the same picture, encoded twice
SIDE = 64  # pixels; pictures are compared at about this size


@dataclass(frozen=True)
class Report:
    """facts: what the film is, a line each. faults: (seconds, what is wrong there)."""

    facts: tuple[str, ...]
    faults: tuple[tuple[float, str], ...]


def check(film: Path) -> Report:
    """Read a film from its first frame to its last. Raises Error if it is no film."""
    from moviepy import VideoFileClip

    times, (width, height) = video.timestamps(film)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch, "film.nut")
        video.bare_copy(film, copy)
        try:
            with VideoFileClip(str(copy), audio=False) as clip:
                small = list(_pictures(clip.reader, len(times)))
        except (OSError, KeyError, ValueError) as error:
            raise Error(f"{film} cannot be played: {error}") from None
    steps = [b - a for a, b in pairwise(times)] or [Fraction(1)]
    rate = f"{float(1 / median(steps)):.6g}" if median(steps) else "?"
    facts = (
        f"{len(times)} frames of {width}x{height}, {float(times[-1] + median(steps)):.2f} s, {rate} a second",
        f"colours: {video.colour_tags(film)}",
    )
    return Report(facts, tuple(sorted([*_uneven(times), *_alone(small, times), *_steps(small, times)])))


def _pictures(reader: object, count: int) -> Iterator[np.ndarray]:
    """Every picture, reduced: (about SIDE, about SIDE, 3), float32 levels."""
    for index in range(count):
        picture = reader.last_read if index == 0 else reader.read_frame()  # type: ignore[attr-defined]
        step = max(1, min(picture.shape[:2]) // SIDE)
        height, width = (side // step * step for side in picture.shape[:2])
        blocks = picture[:height, :width].reshape(height // step, step, width // step, step, 3)
        yield blocks.mean((1, 3), dtype=np.float32)


def _uneven(times: list[Fraction]) -> Iterator[tuple[float, str]]:
    steps = [b - a for a, b in pairwise(times)]
    usual = median(steps) if steps else Fraction(0)
    for time, step in zip(times[1:], steps):
        if abs(step - usual) > Fraction(1, 500):  # some containers count in milliseconds
            yield float(time), "the frame comes at an uneven moment"


def _alone(pictures: list[np.ndarray], times: list[Fraction]) -> Iterator[tuple[float, str]]:
    for picture, time in zip(pictures, times):
        if picture.max() <= BLACK:
            yield float(time), "the frame is black"
        elif np.ptp(picture.reshape(-1, 3), axis=0).max() <= FLAT:
            yield float(time), "the frame is of one colour"


def _steps(pictures: list[np.ndarray], times: list[Fraction]) -> Iterator[tuple[float, str]]:
    steps = [float(np.sqrt(np.mean((b - a) ** 2))) for a, b in pairwise(pictures)]
    usual = median(steps) if steps else 0.0
    for step, time in zip(steps, times[1:]):
        if step > JUMP * usual > 0:
            yield float(time), f"the picture jumps: {step / usual:.1f} times the usual step"
        elif step < SAME * usual:
            yield float(time), "the frame is the one before again"
