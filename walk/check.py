"""A finished film, read again as a player reads it: is there anything in it that nobody meant?

moviepy reads its pictures, as a program that did not make them. Knows no walks and no music: any film can be checked.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from statistics import mean, median, pvariance
from typing import NamedTuple

import numpy as np

from walk import Error, eye, ffmpeg, probe
from walk.flashes import ALLOWED, Flashes
from walk.text import clock, plural

# A change is the mean difference between a frame's picture and the one before, in levels of 0 to 255.
JUMP = 3  # times the changes around it; with three frames cut out of an even walk, a change is four times as large
FEWEST = 6  # changes: of fewer, none is usual
LEAST = 1.5  # times the usual change; less is no jump, however little is around it
NEAR = Fraction(5, 2)  # seconds; around a change
BLACK = 4  # levels; no pixel is lighter
FLAT = 2  # levels; the most by which pixels differ
SAME = 0.02  # of the mean change; less is the same picture, encoded again
REST = 3  # repeats of a picture; so many or more are meant
DOUBLED = 0.05  # of the smaller change beside it; less, and only once or twice, is not meant
# What an encoder adds to a picture that stands still is 0.14 levels on average at most, and 5.9 where it adds most
# (H.264 at 17 to 40, grain or plain). In films that visibly glide these are 0.2 and 5 at least, but there they add up.
UNSEEN = 0.25  # levels on average, and
FAINT = 6  # levels where most changes: less, nobody can see
MOVES = 16  # levels where most changes; less can be too little for an encoder
LISTED = 5  # rests, or parts that flash, that are listed one by one
SIDE = 64  # pixels; pictures are compared at about this size
QUICK, SLOW = Fraction(1, 500), 1  # seconds from frame to frame; outside these ffmpeg guesses the rate, often wrongly
TICK = Fraction(1, 500)  # seconds; some containers count in milliseconds


@dataclass(frozen=True)
class Report:
    """What was found in a film.

    facts: what the film is, a line each.
    size: (width, height).
    fps: frames a second, usually; 0: unknown.
    faults: (seconds, what is wrong there).
    times: of its frames, in seconds.
    steps: how different each frame but the first looks from the one before (walk.eye.distance); 0 where nothing can be
        seen to move; of a loop, also the first from the last.
    still: the share of the film's seconds in which it rests.
    flashing: (start, end, flashes in a second at most), in seconds, of each part that flashes more often than is safe
        for people with photosensitive epilepsy (walk.flashes). That may be meant, so it is no fault.
    """

    facts: tuple[str, ...]
    size: tuple[int, int]
    fps: float
    faults: tuple[tuple[float, str], ...]
    times: tuple[float, ...] = field(repr=False)  # a notebook would show thousands of numbers
    steps: tuple[float, ...] = field(repr=False)
    still: float
    flashing: tuple[tuple[float, float, int], ...]

    @property
    def largest(self) -> float:
        """The largest step over the median step; 0 where nothing moves."""
        return eye.unevenness(self.steps)

    @property
    def ppl(self) -> float:
        """Perceptual path length: the sum of all steps, where one from black to white is 100."""
        return 100 * sum(self.steps)

    @property
    def pdv(self) -> float:
        """Perceptual distance variance: that of the steps, on the same scale."""
        return 100**2 * pvariance(self.steps) if self.steps else 0.0

    def movement(self, uneven: bool = False, along: str = "") -> str:
        """The movement, in words. uneven: it is meant to be. along: what it would be with equal steps along the path."""
        largest = f"the largest step from frame to frame is {self.largest:.1f} times the usual{along}; " * (not uneven)
        return f"movement, to the eye: {largest}PPL {self.ppl:.0f}, PDV {self.pdv:{'.0f' if self.pdv > 99 else '.2g'}}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Where it flashes, a line each."""
        return tuple(_flashing(self.flashing))


class _Frame(NamedTuple):
    """What is kept of a frame, in levels unless otherwise stated; 0 where there is no frame before to compare with.

    lightest: its lightest colour.
    range: the largest range of a colour.
    change, largest_change: the mean and the largest difference from the frame before.
    change_in_two: the mean difference from the frame before that.
    distance: how different it looks from the frame before (walk.eye.distance).
    unseen: whether nobody can see the change.
    still: nor has anything visible changed since the last change that could be seen.
    """

    lightest: float
    range: float
    change: float
    largest_change: float
    change_in_two: float
    distance: float
    unseen: bool
    still: bool


def check(
    film: str | os.PathLike[str],
    report: Callable[[int], object] = lambda count: None,
    rests: Collection[int] = frozenset(),
    swings: Collection[int] = frozenset(),
    see: Callable[[int, np.ndarray], object] = lambda index, picture: None,
    closed: bool = False,
) -> Report:
    """Read a film from its first frame to its last. Raises Error if it is not a film.

    report: called with the number of frames read so far.
    rests: indices of frames that are meant to look like the one before (`Walk.rests`), which is no fault of theirs.
    swings: indices of frames that may be unlike those before and after them (`Walk.swings`).
    see: called with each frame's index and its picture, (height, width, 3) uint8.
    closed: the first frame follows the last.
    """
    # 1. Read it.
    film = Path(film)
    (times, (width, height), _), track = probe.tracks(film)
    if not times:
        raise Error(f"{film} has no whole frame")
    gaps = [b - a for a, b in pairwise(times)]
    odd = bool(gaps) and (max(gaps) > 1.5 * min(gaps) or not QUICK <= median(gaps) <= SLOW)
    flashes = Flashes(closed)
    frames, seam = _read(film, times, odd, report, see, flashes)
    silent = track is not None and ffmpeg.is_silent(film)
    tick, rate, codec, colours = probe.stream_info(film)
    interval = _interval(gaps, tick, rate)
    end = times[-1] + interval

    # 2. How its pictures change. Where it rests they do not; to and from a foreign picture, half of what they do across it.
    resting = list(_resting(frames[1:]))
    measured = [frame.change for frame in frames[1:]]
    changes = [0.0 if still else change for change, still in zip(measured, resting)]
    foreign = [index for index in _foreign(frames, changes) if index not in swings]
    for index in foreign:
        changes[index - 1 : index + 1] = measured[index - 1 : index + 1] = [frames[index + 1].change_in_two / 2] * 2
    still_spans = list(_still_spans(changes, [*times, end]))

    # 3. What it is, and what is wrong with it.
    fps = float(1 / interval) if interval else 0.0
    facts = (
        f"{len(times)} frames of {width}x{height}, {float(end):.2f} s, {f'{fps:.6g}' if interval else '?'} a second",
        f"{codec}, {_size(film.stat().st_size, end)}, colours: {colours}",
        _sound(track, silent),
        *_listed(still_spans),
    )
    faults = [*_mistimed(times, interval), *_blank(frames, times), *_out_of_step(track, end, interval)]
    faults += [(float(times[index]), "the picture jumps away and back") for index in foreign]
    unseen = [frame.unseen for frame in frames[1:]]
    faults += _repeated(measured, frames, times, rests)
    steps = [0.0 if still else frame.distance for frame, still in zip(frames[1:], resting)]
    steps += [seam] if closed and steps else []
    jumps = _jumps(changes, times, unseen) if len(changes) >= FEWEST else ()
    usual = eye.usual(steps)
    faults += [
        (float(times[i + 1]), f"the picture jumps: {steps[i] / usual:.1f} times the usual step") for i in jumps if usual
    ]
    share = float(sum((b - a for a, b in still_spans), Fraction(0)) / (end - times[0])) if still_spans else 0.0
    shown, flashing = tuple(map(float, times)), flashes.spans(float(end))
    return Report(facts, (width, height), fps, tuple(sorted(faults)), shown, tuple(steps), share, flashing)


# What a player sees and hears


def _read(
    film: Path,
    times: Sequence[Fraction],
    odd: bool,
    report: Callable[[int], object],
    see: Callable[[int, np.ndarray], object],
    flashes: Flashes,
) -> tuple[list[_Frame], float]:
    """As `_frames`. odd: as `probe.bare_copy` takes it."""
    from moviepy import VideoFileClip

    try:
        with probe.bare_copy(film, odd) as copy, VideoFileClip(str(copy.absolute()), audio=False) as clip:
            return _frames(_pictures(clip.reader, times, see, flashes), report)
    except (OSError, KeyError, ValueError) as error:
        why = ffmpeg.complaint(film) or str(error).partition("\n")[0]  # after it comes what ffmpeg said of the copy
        raise Error(f"{film} cannot be played: {why}") from None


def _pictures(
    reader: object, times: Sequence[Fraction], see: Callable[[int, np.ndarray], object], flashes: Flashes
) -> Iterator[np.ndarray]:
    """Every picture, reduced to float32 levels of shape (about SIDE, about SIDE, 3)."""
    for index, time in enumerate(times):
        picture = reader.last_read if index == 0 else reader.read_frame()  # type: ignore[attr-defined]
        see(index, picture)
        reduced = eye.block_means(picture, max(1, min(picture.shape[:2]) // SIDE))
        flashes.see(float(time), reduced)
        yield reduced


def _frames(pictures: Iterator[np.ndarray], report: Callable[[int], object]) -> tuple[list[_Frame], float]:
    """(frames, how different the last looks from the first). Holds no more than four pictures at a time."""
    frames: list[_Frame] = []
    before: list[np.ndarray] = []  # the last two pictures
    first: eye.Features | None = None
    last: eye.Features | None = None
    anchor = np.zeros(1)  # the picture after the last change that could be seen
    for picture in pictures:
        features = eye.features(picture.round().astype(np.uint8))
        first = first or features
        change = np.abs(picture - before[-1]) if before else np.zeros(1)
        if not (unseen := bool(before) and _is_unseen(change)):
            anchor = picture
        frame = _Frame(
            float(picture.max()),
            float(np.ptp(picture.reshape(-1, 3), axis=0).max()),
            float(change.mean()),
            float(change.max()),
            float(np.abs(picture - before[0]).mean()) if len(before) > 1 else 0.0,
            eye.distance(last, features) if last else 0.0,
            unseen,
            unseen and _is_unseen(np.abs(picture - anchor)),
        )
        frames.append(frame)
        before, last = [*before[-1:], picture], features
        report(len(frames))
    return frames, eye.distance(last, first) if first and last else 0.0


def _is_unseen(change: np.ndarray) -> bool:
    """Whether nobody can see this difference between two pictures."""
    return bool(change.mean() <= UNSEEN and change.max() <= FAINT)


def _size(size: int, seconds: Fraction) -> str:
    return f"{size / 1e6:.1f} MB" + (f" ({8 * size / 1e6 / float(seconds):.1f} Mbit/s)" if seconds else "")


def _sound(track: probe.Track | None, silent: bool) -> str:
    if track is None:
        return "no sound"
    channels = {1: "mono", 2: "stereo"}.get(track.channels, f"{track.channels} channels")
    length = f"{float(track.end - track.start):.2f} s"
    return f"sound: {channels}, {length}, {track.rate} a second" + ", all of it silence" * silent


def _flashing(spans: Sequence[tuple[float, float, int]]) -> Iterator[str]:
    harm = f"; more than {ALLOWED} can harm people with photosensitive epilepsy (WCAG 2.3.1)"
    for start, end, most in spans[:LISTED]:
        yield f"flashes up to {most} times a second from {clock(start, 1)} to {clock(end, 1)}{harm}"
        harm = ""
    if more := spans[LISTED:]:
        most = max(most for _, _, most in more)
        between = f"from {clock(more[0][0], 1)} to {clock(more[-1][1], 1)}"
        yield f"flashes up to {most} times a second in {plural(len(more), 'place')} more, {between}"


# When frames are shown and sound is heard


def _interval(gaps: Sequence[Fraction], tick: Fraction, rate: Fraction | None) -> Fraction:
    """Seconds from a frame to the next, usually.

    This is what the film says, if its frames agree: counted in milliseconds, 30 a second are 33 or 34 apart.

    gaps: as measured. tick: the unit in which the film counts time. rate: the frames a second that it says it has.
    """
    usual = median(gaps or [1 / rate if rate and tick <= TICK else Fraction(1)])  # of a GIF's only frame, nobody knows
    even = [gap for gap in gaps if abs(gap - usual) <= TICK]
    if tick > TICK or not usual or not even:
        return usual
    mean_gap = sum(even, Fraction(0)) / len(even)
    rounded = tick * (1 + len(gaps) - len(even)) / len(even)  # in a row of gaps only the two ends are rounded
    return 1 / rate if rate and abs(mean_gap - 1 / rate) <= rounded else mean_gap


def _mistimed(times: Sequence[Fraction], interval: Fraction) -> Iterator[tuple[float, str]]:
    for before, time in pairwise(times):
        if abs(time - before - interval) > TICK:
            yield float(time), "the frame comes too early or too late"


def _out_of_step(track: probe.Track | None, end: Fraction, interval: Fraction) -> Iterator[tuple[float, str]]:
    """Where the sound starts or ends without the pictures, by more than half a frame and more than a packet."""
    if track is None:
        return
    slack = max(interval / 2, track.packet) + TICK
    if track.start > slack:
        yield 0.0, f"the sound starts {float(track.start):.3f} s after the pictures"
    if abs(track.end - end) > slack:
        longer = "longer" if track.end > end else "shorter"
        yield float(min(track.end, end)), f"the sound is {float(abs(track.end - end)):.3f} s {longer} than the pictures"


# What a picture shows


def _blank(frames: Sequence[_Frame], times: Sequence[Fraction]) -> Iterator[tuple[float, str]]:
    for frame, time in zip(frames, times):
        if frame.lightest <= BLACK:
            yield float(time), "the frame is black"
        elif frame.range <= FLAT:
            yield float(time), "the frame is of one colour"


# How pictures change


def _still_limit(changes: Sequence[float]) -> float:
    """The largest change that is no movement."""
    return SAME * mean(changes) if changes else 0.0


def _usual(changes: Sequence[float]) -> float:
    """The median change, of those that are movement."""
    limit = _still_limit(changes)
    return median([change for change in changes if change > limit] or [0.0])


def _resting(frames: Sequence[_Frame]) -> Iterator[bool]:
    """Whether each frame shows what the one before does. (A film that glides too slowly for each change to be seen moves
    all the same.)"""
    for unseen, group in groupby(frames, lambda frame: frame.unseen):
        run = list(group)
        yield from [unseen and all(frame.still for frame in run)] * len(run)


def _still_spans(changes: Sequence[float], times: Sequence[Fraction]) -> Iterator[tuple[Fraction, Fraction]]:
    """(start, end) of each rest of the film, in seconds. times: of the frames, and of the film's end."""
    index, limit = 0, _still_limit(changes)
    for still, run in groupby(changes, lambda change: change <= limit):
        first, index = index, index + len(list(run))
        if still and index - first >= REST:
            yield times[first], times[index + 1]


def _listed(rests: Sequence[tuple[Fraction, Fraction]]) -> Iterator[str]:
    for start, end in rests[:LISTED]:
        yield f"still from {clock(start, 1)} to {clock(end, 1)}"
    if more := rests[LISTED:]:
        yield f"still {len(more)} times more, for {float(sum(end - start for start, end in more)):.1f} s together"


def _repeated(
    changes: Sequence[float], frames: Sequence[_Frame], times: Sequence[Fraction], rests: Collection[int]
) -> Iterator[tuple[float, str]]:
    """Frames that repeat the one before, once or twice, where the film moves and is meant to."""
    for first in range(len(changes)):
        for last in range(first + 1, min(first + REST, len(changes) + 1)):
            around = [i for i in (first - 1, last) if 0 <= i < len(changes)]
            moving = around and min(frames[i + 1].largest_change for i in around) > MOVES
            if moving and max(changes[first:last]) <= DOUBLED * min(changes[i] for i in around):
                again = (index for index in range(first + 1, last + 1) if index not in rests)
                yield from ((float(times[index]), "the frame repeats the one before") for index in again)


def _foreign(frames: Sequence[_Frame], changes: Sequence[float]) -> Iterator[int]:
    """Indices of frames that belong to another picture: after them the film goes on as if they had not been there."""
    usual = _usual(changes)
    for index in range(1, len(frames) - 1):
        least = min(changes[index - 1 : index + 1])
        if frames[index].unseen or frames[index + 1].unseen:
            continue
        if least > JUMP * usual and least > JUMP * frames[index + 1].change_in_two:
            yield index


def _jumps(changes: Sequence[float], times: Sequence[Fraction], unseen: Sequence[bool]) -> Iterator[int]:
    """The indices of changes that stand alone, but for those that nobody sees.

    In a film that moves with music some changes are large, too, but they fade over a few frames, or there
    are others like them near. A jump has one other near it at most.
    """
    usual = _usual(changes)
    kicks = [i for i, change in enumerate(changes) if change > 2 * min(_neighbours(changes, i), default=change)]
    kicks = [i for i in kicks if changes[i] >= max(_neighbours(changes, i))]
    moments, sizes = [times[kick] for kick in kicks], [changes[kick] for kick in kicks]
    for index, change in enumerate(changes):
        around = max(_neighbours(changes, index), default=change)
        if unseen[index] or change <= LEAST * usual or change <= JUMP * around:
            continue
        time = times[index]
        before = slice(bisect_left(moments, time - NEAR), bisect_left(moments, time))
        after = slice(bisect_right(moments, time), bisect_right(moments, time + NEAR))
        near = sorted(sizes[before] + sizes[after])
        if change > JUMP * max(near[-2:-1], default=0):
            yield index


def _neighbours(changes: Sequence[float], index: int) -> Sequence[float]:
    """The changes before and after this one."""
    return [*changes[max(index - 1, 0) : index], *changes[index + 1 : index + 2]]
