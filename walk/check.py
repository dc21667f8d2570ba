"""A finished film, read again as a player would: is anything in it that nobody meant?

moviepy reads its pictures, as any program would that has not made them. Knows no walks and no music: any film can be
checked.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby, pairwise
from pathlib import Path
from statistics import mean, median, pvariance
from typing import NamedTuple

import numpy as np

from walk import Error, eye, ffmpeg, films
from walk.text import clock

JUMP = 3  # times what is around it; with three frames cut out of an even walk, a step is four times as large
LEAST = 1.5  # times the usual step; less is no jump, however little is around it
NEAR = Fraction(5, 2)  # seconds; around a step
BLACK = 4  # levels; no pixel is lighter
FLAT = 2  # levels; no pixel is further from another
SAME = 0.02  # of the mean step: less is the same picture, encoded again
REST = 3  # times the same picture again, or more, are meant
DOUBLED = 0.05  # of the smaller step beside it: less, and only once or twice, is not
# What an encoder adds to a picture that stands still, is 0.14 levels of the mean at most and 5.9 where most changes
# (H.264 at 17 to 40, grain or plain); and 0.2 and 5 is the least in films that visibly glide, but there it adds up.
UNSEEN = 0.25  # levels, of the mean difference, and
FAINT = 6  # levels, of what changes most: less, nobody can see
MOVES = 16  # levels, of what changes most; less can be too little for an encoder
STILLS = 5  # rests that are listed one by one
SIDE = 64  # pixels; pictures are compared at about this size
QUICK, SLOW = Fraction(1, 500), 1  # seconds from frame to frame; outside these ffmpeg guesses the rate, often wrongly
TICK = Fraction(1, 500)  # seconds; some containers count in milliseconds


@dataclass(frozen=True)
class Report:
    """facts: what the film is, a line each. size: (width, height). fps: frames a second, usually; 0: nobody
    can say. faults: (seconds, what is wrong there). times: of its frames, in seconds.
    steps: how far each frame but the first looks from the one before, as walk.eye.distance says; 0 where nothing can be
    seen to move; of a loop, also the first from the last. still: the share of the film's seconds in which it rests."""

    facts: tuple[str, ...]
    size: tuple[int, int]
    fps: float
    faults: tuple[tuple[float, str], ...]
    times: tuple[float, ...]
    steps: tuple[float, ...]
    still: float

    @property
    def largest(self) -> float:
        """The largest step over the usual (median) one; 0 where nothing moves."""
        return eye.unevenness(self.steps)

    @property
    def ppl(self) -> float:
        """Perceptual path length: all steps together, of which one from black to white is 100."""
        return 100 * sum(self.steps)

    @property
    def pdv(self) -> float:
        """Perceptual distance variance, of the same steps."""
        return 100**2 * pvariance(self.steps) if self.steps else 0.0

    def movement(self, uneven: bool = False, along: str = "") -> str:
        """In words. uneven: it is meant to be. along: how it would be with equal steps along the path."""
        largest = f"the largest step from frame to frame is {self.largest:.1f} times the usual{along}; " * (not uneven)
        return f"movement, to the eye: {largest}PPL {self.ppl:.0f}, PDV {self.pdv:{'.0f' if self.pdv > 99 else '.2g'}}"


class _Frame(NamedTuple):
    """What is kept of a frame, in levels: the lightest, the largest range of a colour, and the mean and the
    largest difference from the frame before and the mean one from that before it (0 where there is none).
    unseen: whether nobody sees that difference. near: nor all that has changed since one that they did see."""

    lightest: float
    range: float
    step: float
    most: float
    past: float
    seen: float  # by the eye
    unseen: bool
    near: bool


def check(
    film: Path | str,
    report: Callable[[int], object] = lambda count: None,
    rests: Collection[int] = frozenset(),
    see: Callable[[int, np.ndarray], object] = lambda index, picture: None,
    closed: bool = False,
) -> Report:
    """Read a film from its first frame to its last. Raises Error if it is not a film.

    report: called with the number of frames read so far.
    rests: indices of frames that are meant to look like the one before (`Walk.rests`), which is no fault of theirs.
    see: called with each frame's index and its picture, (height, width, 3) uint8.
    closed: the first frame follows the last.
    """
    film = Path(film)
    (times, (width, height), _), track = films.tracks(film)
    if not times:
        raise Error(f"{film} has no whole frame")
    gaps = [b - a for a, b in pairwise(times)]
    odd = bool(gaps) and (max(gaps) > 1.5 * min(gaps) or not QUICK <= median(gaps) <= SLOW)
    frames, seam = _seen(film, len(times), odd, report, see)
    silent = track is not None and ffmpeg.silent(film)
    tick, rate, codec, colours = films.told(film)
    usual = _every(gaps, tick, rate)
    end = times[-1] + usual
    resting = list(_resting(frames[1:]))
    measured = [frame.step for frame in frames[1:]]
    steps = [0.0 if rests else step for step, rests in zip(measured, resting)]
    foreign = list(_foreign(frames, steps))
    for index in foreign:
        steps[index - 1 : index + 1] = measured[index - 1 : index + 1] = [frames[index + 1].past / 2] * 2
    still_for = list(_rests(steps, [*times, end]))
    fps = float(1 / usual) if usual else 0.0
    facts = (
        f"{len(times)} frames of {width}x{height}, {float(end):.2f} s, {f'{fps:.6g}' if usual else '?'} a second",
        f"{codec}, {_size(film.stat().st_size, end)}, colours: {colours}",
        _sound(track, silent),
        *_listed(still_for),
    )
    faults = [*_uneven(times, usual), *_alone(frames, times), *_apart(track, end, usual)]
    faults += [(float(times[index]), "the picture jumps away and back") for index in foreign]
    faults += [*_doubled(measured, frames, times, rests), *_jumps(steps, times, [frame.unseen for frame in frames[1:]])]
    seen = [0.0 if rests else frame.seen for frame, rests in zip(frames[1:], resting)]
    seen += [seam] if closed and seen else []
    still = float(sum((b - a for a, b in still_for), Fraction(0)) / (end - times[0])) if still_for else 0.0
    return Report(facts, (width, height), fps, tuple(sorted(faults)), tuple(map(float, times)), tuple(seen), still)


# What a player sees and hears


def _seen(
    film: Path, count: int, odd: bool, report: Callable[[int], object], see: Callable[[int, np.ndarray], object]
) -> tuple[list[_Frame], float]:
    from moviepy import VideoFileClip

    try:
        with films.bare_copy(film, odd) as copy, VideoFileClip(str(copy.absolute()), audio=False) as clip:
            return _frames(_pictures(clip.reader, count, see), report)
    except (OSError, KeyError, ValueError) as error:
        why = ffmpeg.complaint(film) or str(error).partition("\n")[0]  # after it comes what ffmpeg said of the copy
        raise Error(f"{film} cannot be played: {why}") from None


def _pictures(reader: object, count: int, see: Callable[[int, np.ndarray], object]) -> Iterator[np.ndarray]:
    """Every picture, reduced: (about SIDE, about SIDE, 3), float32 levels."""
    for index in range(count):
        picture = reader.last_read if index == 0 else reader.read_frame()  # type: ignore[attr-defined]
        see(index, picture)
        yield eye.block_means(picture, max(1, min(picture.shape[:2]) // SIDE))


def _frames(pictures: Iterator[np.ndarray], report: Callable[[int], object]) -> tuple[list[_Frame], float]:
    """Of a film of any length, with no more than four pictures at a time; and how far the last looks from the first."""
    frames: list[_Frame] = []
    before: list[np.ndarray] = []
    first: eye.Features | None = None
    last: eye.Features | None = None
    anchor = np.zeros(1)
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
    return bool(change.mean() <= UNSEEN and change.max() <= FAINT)


def _size(size: int, seconds: Fraction) -> str:
    return f"{size / 1e6:.1f} MB" + (f" ({8 * size / 1e6 / float(seconds):.1f} Mbit/s)" if seconds else "")


def _sound(track: films.Track | None, silent: bool) -> str:
    if track is None:
        return "no sound"
    channels = {1: "mono", 2: "stereo"}.get(track.channels, f"{track.channels} channels")
    length = f"{float(track.end - track.start):.2f} s"
    return f"sound: {channels}, {length}, {track.rate} a second" + ", all of it silence" * silent


# When it is shown and heard


def _every(gaps: Sequence[Fraction], tick: Fraction, rate: Fraction | None) -> Fraction:
    """Seconds from a frame to the next, usually.

    What the film says, if its frames agree: in thousandths of a second, 30 a second are 33 or 34 apart.
    """
    usual = median(gaps or [Fraction(1)])
    even = [gap for gap in gaps if abs(gap - usual) <= TICK]
    if tick > TICK or not usual or not even:
        return usual
    each = sum(even, Fraction(0)) / len(even)
    rounded = tick * (1 + len(gaps) - len(even)) / len(even)  # of those side by side only both ends together
    return 1 / rate if rate and abs(each - 1 / rate) <= rounded else each


def _uneven(times: Sequence[Fraction], usual: Fraction) -> Iterator[tuple[float, str]]:
    for before, time in pairwise(times):
        if abs(time - before - usual) > TICK:
            yield float(time), "the frame comes too early or too late"


def _apart(track: films.Track | None, end: Fraction, frame: Fraction) -> Iterator[tuple[float, str]]:
    """Where the sound starts or ends without the pictures, by more than half a frame and more than a packet."""
    if track is None:
        return
    slack = max(frame / 2, track.packet) + TICK
    if track.start > slack:
        yield 0.0, f"the sound starts {float(track.start):.3f} s after the pictures"
    if abs(track.end - end) > slack:
        longer = "longer" if track.end > end else "shorter"
        yield float(min(track.end, end)), f"the sound is {float(abs(track.end - end)):.3f} s {longer} than the pictures"


# What a picture shows


def _alone(frames: Sequence[_Frame], times: Sequence[Fraction]) -> Iterator[tuple[float, str]]:
    for frame, time in zip(frames, times):
        if frame.lightest <= BLACK:
            yield float(time), "the frame is black"
        elif frame.range <= FLAT:
            yield float(time), "the frame is of one colour"


# How it changes. A step is the mean difference between a frame and the next.


def _still(steps: Sequence[float]) -> float:
    """The largest step that is no movement."""
    return SAME * mean(steps) if steps else 0.0


def _usual(steps: Sequence[float]) -> float:
    """The median step, of those that move."""
    still = _still(steps)
    return median([step for step in steps if step > still] or [0.0])


def _resting(frames: Sequence[_Frame]) -> Iterator[bool]:
    """Whether each frame shows what the one before does: a film that glides too slowly for each of its steps to be
    seen moves all the same."""
    for unseen, run in groupby(frames, lambda frame: frame.unseen):
        some = list(run)
        yield from [unseen and all(frame.near for frame in some)] * len(some)


def _rests(steps: Sequence[float], times: Sequence[Fraction]) -> Iterator[tuple[Fraction, Fraction]]:
    """Where the film stands still, from when to when. times: the film's end, too."""
    place, most = 0, _still(steps)
    for still, run in groupby(steps, lambda step: step <= most):
        first, place = place, place + len(list(run))
        if still and place - first >= REST:
            yield times[first], times[place + 1]


def _listed(rests: Sequence[tuple[Fraction, Fraction]]) -> Iterator[str]:
    for start, end in rests[:STILLS]:
        yield f"still from {clock(start, 1)} to {clock(end, 1)}"
    if more := rests[STILLS:]:
        yield f"still {len(more)} times more, for {float(sum(end - start for start, end in more)):.1f} s together"


def _doubled(
    steps: Sequence[float], frames: Sequence[_Frame], times: Sequence[Fraction], rests: Collection[int]
) -> Iterator[tuple[float, str]]:
    """Frames that are shown twice or three times while all moves, and is meant to."""
    for first in range(len(steps)):
        for last in range(first + 1, min(first + REST, len(steps) + 1)):
            around = [i for i in (first - 1, last) if 0 <= i < len(steps)]
            moving = around and min(frames[i + 1].most for i in around) > MOVES
            if moving and max(steps[first:last]) <= DOUBLED * min(steps[i] for i in around):
                again = (index for index in range(first + 1, last + 1) if index not in rests)
                yield from ((float(times[index]), "the frame repeats the one before") for index in again)


def _foreign(frames: Sequence[_Frame], steps: Sequence[float]) -> Iterator[int]:
    """Frames after which the film goes on as if they had not been."""
    usual = _usual(steps)
    for index in range(1, len(frames) - 1):
        least = min(steps[index - 1 : index + 1])
        if frames[index].unseen or frames[index + 1].unseen:
            continue
        if least > JUMP * usual and least > JUMP * frames[index + 1].past:
            yield index


def _jumps(steps: Sequence[float], times: Sequence[Fraction], unseen: Sequence[bool]) -> Iterator[tuple[float, str]]:
    """Steps that stand alone, but for those that nobody sees.

    In a film that moves with music some steps are large, too, but they fade over a few frames, or there
    are others like them near. A jump has one other near it at most.
    """
    usual = _usual(steps)
    kicks = [i for i, step in enumerate(steps) if step > 2 * min(_beside(steps, i), default=step)]
    kicks = [i for i in kicks if steps[i] >= max(_beside(steps, i))]
    moments, sizes = [times[kick] for kick in kicks], [steps[kick] for kick in kicks]
    for index, step in enumerate(steps):
        if unseen[index] or step <= LEAST * usual or step <= JUMP * max(_beside(steps, index), default=step):
            continue
        time = times[index]
        before = slice(bisect_left(moments, time - NEAR), bisect_left(moments, time))
        after = slice(bisect_right(moments, time), bisect_right(moments, time + NEAR))
        near = sorted(sizes[before] + sizes[after])
        if step > JUMP * max(near[-2:-1], default=0):
            yield float(times[index + 1]), f"the picture jumps: {step / usual:.1f} times the usual step"


def _beside(steps: Sequence[float], index: int) -> Sequence[float]:
    return [*steps[max(index - 1, 0) : index], *steps[index + 1 : index + 2]]
