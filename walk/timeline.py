"""A Walk: keyframes laid out in time. Frames <-> seconds <-> positions.

All arithmetic is exact (whole frames and rationals), so that two routes to one frame agree.
Knows no tensors: what lies between two keyframes is geometry's business.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from walk import Error
from walk.keyframes import Keyframe, format_time, plural

FPS = Fraction(24)
SECONDS_A_SEGMENT = 2  # when neither a length nor times are given
MAX_FRAMES = 1_000_000  # eleven hours

# How people write the rates of NTSC video, whose true values are multiples of 1000/1001.
_NTSC = {"23.976": 24, "23.98": 24, "29.97": 30, "47.95": 48, "59.94": 60, "119.88": 120}


@dataclass(frozen=True)
class Walk:
    """What is shown when.

    keyframes: two or more.
    positions: one for each frame, in 0 .. len(keyframes) - 1, or below len(keyframes) if closed;
        2.25 is a quarter of the way from keyframe 2 to keyframe 3.
    fps: frames a second; never a float, so that 24000/1001 stays itself.
    closed: the last keyframe leads back to the first.
    smooth: no corner at keyframes.
    """

    keyframes: tuple[Keyframe, ...]
    positions: tuple[float, ...]
    fps: Fraction
    closed: bool = False
    smooth: bool = True

    @classmethod
    def through(
        cls,
        keyframes: Sequence[Keyframe],
        frames: int | None = None,
        seconds: Fraction | float | None = None,
        fps: Fraction | float = FPS,
        closed: bool = False,
        smooth: bool = True,
        ease: bool = False,
    ) -> Walk:
        """Lay keyframes out over `frames` frames or `seconds` seconds.

        Without either the walk is as long as the keyframes' times say, or two seconds for each pair.
        A keyframe arrives on the frame nearest to its time; those without a time share the room
        between their neighbours evenly. An open walk starts exactly on the first keyframe and ends
        exactly on the last (and rests there, if their times leave room); in a closed one, frame
        `frames` would be frame 0 again and is not made.

        smooth: also the speed is continuous where keyframes are unevenly spaced.
        ease: slow down to rest at every keyframe.

        Raises Error if the keyframes do not fit.
        """
        keyframes = tuple(keyframes)
        fps = Fraction(fps)
        if len(keyframes) < 2:
            raise Error("a walk needs two keyframes or more; give another prompt, or several seeds for this one")
        if not 0 < fps <= 1000:
            raise Error(f"fps {fps} is out of range; it is a number over 0, up to 1000")
        count = _frame_count(keyframes, frames, seconds, fps, closed)
        arrivals = _arrivals(keyframes, count, fps, closed)
        positions = _positions(arrivals, count, closed, smooth, ease)
        return cls(keyframes, tuple(positions), fps, closed, smooth)

    @property
    def frames(self) -> int:
        return len(self.positions)

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.fps

    def neighbours(self, position: float) -> tuple[tuple[int | None, ...], float]:
        """The keyframes that decide what is seen at a position, and how far it is between them.

        At a keyframe, that one alone and 0. Between two: both, or on a smooth path these with the
        one before and the one after (None beyond the end of an open path), and 0 < t < 1.
        """
        at = int(position)
        t = position - at
        if t == 0:
            return (at,), 0.0
        reach = range(at - 1, at + 3) if self.smooth else range(at, at + 2)
        if self.closed:
            return tuple(k % len(self.keyframes) for k in reach), t
        return tuple(k if 0 <= k < len(self.keyframes) else None for k in reach), t


def parse_fps(text: str) -> Fraction:
    """A rate from '25', '23.976' (meaning 24000/1001) or '24000/1001'. Raises ValueError."""
    if text in _NTSC:
        return Fraction(_NTSC[text] * 1000, 1001)
    if not re.fullmatch(r"\d{1,7}(\.\d{1,6})?|\d{1,7}/0*[1-9]\d{0,6}", text):
        raise ValueError(text)
    return Fraction(text)


def _nearest(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def _frame_count(
    keyframes: Sequence[Keyframe],
    frames: int | None,
    seconds: Fraction | float | None,
    fps: Fraction,
    closed: bool,
) -> int:
    if seconds is not None:
        asked = _nearest(Fraction(seconds) * fps)
        if frames is not None and frames != asked:
            raise Error(
                f"{frames} frames and {float(seconds):g} seconds ({asked} frames) do not agree; give one of them"
            )
        frames = asked
    if frames is None:
        timed = [(k, keyframe.time) for k, keyframe in enumerate(keyframes) if keyframe.time is not None]
        last, time = timed[-1] if timed else (0, 0.0)
        untimed = len(keyframes) - 1 - last + closed
        end = _nearest((_exact(time) + untimed * SECONDS_A_SEGMENT) * fps)
        frames = end if closed else end + 1
    if frames < len(keyframes):
        raise Error(
            f"{len(keyframes)} keyframes do not fit in {plural(frames, 'frame')}; give at least one frame for each"
        )
    if frames > MAX_FRAMES:
        raise Error(f"{frames} frames are too many; the limit is {MAX_FRAMES}")
    return frames


def _exact(time: float) -> Fraction:
    return Fraction(repr(float(time)))  # as it was written: 0.1 is a tenth


def _arrivals(keyframes: Sequence[Keyframe], count: int, fps: Fraction, closed: bool) -> list[int]:
    """The frame on which each keyframe is shown; a closed walk's end, too, as one more."""
    at = [None if keyframe.time is None else _exact(keyframe.time) * fps for keyframe in keyframes]
    for k, x in enumerate(at):
        if x is not None and x > count - closed:  # an open walk's last frame also stands for its end
            raise Error(
                f"{_name(keyframes, k)} is at {format_time(float(x / fps))}, but the film is "
                f"{format_time(float(count / fps))} long; give an earlier time, or a longer film"
            )
    first = at[0] = at[0] or Fraction(0)
    if closed:
        at.append(first + count)
    elif at[-1] is None:
        at[-1] = Fraction(count - 1)
    arrivals = [_nearest(x) for x in _fill(at)]
    if not closed:
        arrivals[-1] = min(arrivals[-1], count - 1)
    for k, (a, b) in enumerate(pairwise(arrivals)):
        if a >= b:
            after = (k + 1) % len(keyframes)
            raise Error(
                f"{_name(keyframes, k)} and {_name(keyframes, after)} would be shown on the same frame; "
                "give them more room: a later time, more frames, or a higher fps"
            )
    return arrivals


def _fill(at: list[Fraction | None]) -> list[Fraction]:
    """Even spacing between what is given. The first and the last are given."""
    given = [k for k, x in enumerate(at) if x is not None]
    filled = [at[given[0]] or Fraction(0)]
    for a, b in pairwise(given):
        start, end = at[a] or Fraction(0), at[b] or Fraction(0)
        filled += [start + (end - start) * Fraction(k - a, b - a) for k in range(a + 1, b + 1)]
    return filled


def _name(keyframes: Sequence[Keyframe], k: int) -> str:
    prompt = keyframes[k].prompt
    return f"keyframe {k + 1} ('{prompt if len(prompt) <= 40 else prompt[:39] + '…'}')"


def _positions(arrivals: list[int], count: int, closed: bool, smooth: bool, ease: bool) -> list[float]:
    lengths = [b - a for a, b in pairwise(arrivals)]
    slopes = _slopes(lengths, closed, arrivals[0] > 0, arrivals[-1] < count - 1) if smooth else None
    positions: list[float] = []
    for k, length in enumerate(lengths):
        for i in range(length):
            t = Fraction(i, length)
            if ease:
                t = t * t * (3 - 2 * t)
            elif slopes is not None:
                t = _hermite(t, slopes[k] * length, slopes[k + 1] * length)
            positions.append(float(k + t))
    if closed:  # frames before the first arrival are the end of the round
        turn = arrivals[0] % count
        return positions[count - turn :] + positions[: count - turn]
    last = len(lengths)
    return [0.0] * arrivals[0] + positions + [float(last)] * (count - arrivals[-1])


def _slopes(lengths: list[int], closed: bool, rests_before: bool, rests_after: bool) -> list[Fraction]:
    """Keyframes a frame, at each keyframe: continuous speed that never overshoots.

    Fritsch & Butland, 'A method for constructing local monotone piecewise cubic interpolants',
    SIAM J. Sci. Stat. Comput. 5 (1984): a weighted harmonic mean of the neighbouring speeds. Even
    spacing gives exactly even speed.
    """
    inner = [Fraction(3 * (a + b), a * (a + 2 * b) + b * (2 * a + b)) for a, b in pairwise(lengths)]
    if closed:
        a, b = lengths[-1], lengths[0]
        seam = Fraction(3 * (a + b), a * (a + 2 * b) + b * (2 * a + b))
        return [seam, *inner, seam]
    first = Fraction(0) if rests_before else Fraction(1, lengths[0])
    last = Fraction(0) if rests_after else Fraction(1, lengths[-1])
    return [first, *inner, last]


def _hermite(t: Fraction, start: Fraction, end: Fraction) -> Fraction:
    """The cubic from 0 to 1 with these slopes at its ends."""
    return t * (start + t * (3 - 2 * start - end + t * (start + end - 2)))
