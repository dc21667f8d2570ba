"""A Walk: keyframes laid out in time. Frames <-> seconds <-> positions.

Whole frames and rationals decide where frames are, except within a segment of uneven strides, which are floats; positions
are rounded at last, so that two routes to one frame agree.
Knows no tensors: what lies between two keyframes is geometry's business.

Words that the code uses, here and in other modules:

segment: what lies between two neighbouring keyframes; segment k begins at keyframe k.
position: a point along the keyframes; 2.25 is a quarter into segment 2.
place: a point within a segment, 0 .. 1, along the path.
way: what is between two keyframes, measured as the eye sees it (0 .. 1) or, in geometry, along a curve.
stride: how far it is from one frame to the next. (Steps are a denoiser's.)
rest: frames that show one keyframe, or move so little that they look alike.
knots: the places whose pictures were seen; between them, the way is interpolated.
look: pictures that are rendered to find out where frames belong; the first look has a few of each segment.
row: one picture of a batch; on a sheet, one line of pictures.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
import numbers
import reprlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from walk import Error
from walk.keyframes import WHEN, Keyframe
from walk.rates import FPS, check_length, nearest, rate
from walk.text import format_time, plural

SECONDS_A_SEGMENT = 2  # when neither a length nor times are given
RESTING = 1 / 4  # of a segment's mean stride: frames that move less rest; after a beat they move a twelfth
# A segment's largest stride: so many mean ones, but at most this part of it. Else one onset in a silence would be a jump.
STEEPEST = 8, 1 / 3
LEAST_ROOM = Fraction(1, 4)  # of their even spacing, that keyframes have where they are moved to bars or beats
GRAIN = 2**32  # parts of a segment that places are rounded to: they are the same wherever the segment stands
HEARD_GRAIN = 2**20  # like GRAIN, for strides taken from a sound, so that no library's last bit matters
CALM = 0.01  # a change of the pulse, from one frame to the next, that is not seen
_LEAST = 1e-9  # of the largest stride: sums of less would be lost beside it


@dataclass(frozen=True)
class Walk:
    """What is shown when.

    keyframes: two or more; one, if every frame shows that one.
    positions: one for each frame, in 0 .. len(keyframes) - 1, or below len(keyframes) if closed;
        2.25 is a quarter of the way from keyframe 2 to keyframe 3.
    fps: frames a second, 0.01 to 1000; a float becomes the fraction that is meant by it, so that
        24000/1001 stays itself.
    closed: the last keyframe leads back to the first.
    smooth: no corner at keyframes.
    noise: positions of the noise alone, one for each frame, where it is paced apart; (): it goes with the prompts.
    pulse: how far each frame's noise swings out from its position, from 0 (not at all) to 1 (to another noise); ():
        nowhere.

    Any sequence will do for a tuple. Raises Error for values outside these.
    """

    keyframes: tuple[Keyframe, ...]
    positions: tuple[float, ...]
    fps: Fraction = FPS
    closed: bool = False
    smooth: bool = True
    noise: tuple[float, ...] = ()
    pulse: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        keyframes = _checked_keyframes(self.keyframes)
        if not keyframes:
            raise Error("a walk needs keyframes, and none was given")
        end = len(keyframes) - (not self.closed)
        positions, noise = (
            _checked_positions(name, getattr(self, name), end, self.closed) for name in ("positions", "noise")
        )
        if noise and len(noise) != len(positions):
            raise Error(
                f"noise has {plural(len(noise), 'position')} for {plural(len(positions), 'frame')}; it has one for "
                "each frame, or none"
            )
        pulse = _checked_pulse(self.pulse, len(positions))
        values = {"keyframes": keyframes, "positions": positions, "fps": rate(self.fps), "noise": noise, "pulse": pulse}
        values |= {"closed": bool(self.closed), "smooth": bool(self.smooth)}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @classmethod
    def through(
        cls,
        keyframes: Sequence[Keyframe],
        frames: int | None = None,
        seconds: Fraction | float | None = None,
        fps: Fraction | float | str = FPS,
        closed: bool = False,
        smooth: bool = True,
        ease: bool = False,
        moments: Sequence[Sequence[float]] = (),
        strides: Sequence[float | None] | None = None,
        noise_strides: Sequence[float | None] | None = None,
    ) -> Walk:
        """Lay keyframes out over `frames` frames or `seconds` seconds.

        Without either the walk is as long as the keyframes' times say, or two seconds for each pair.
        A keyframe arrives on the frame nearest to its time; those without a time share the room
        between their neighbours evenly. An open walk starts exactly on the first keyframe and ends
        exactly on the last (and rests there, if their times leave room); in a closed one, frame
        `frames` would be frame 0 again and is not made. At one with `until` the walk rests until then, and between two
        that are the same (but for their times) on the first of them: all of that is one picture.

        smooth: also the speed is continuous where keyframes are unevenly spaced.
        ease: slow down to rest at every keyframe.
        moments: increasing seconds, such as the bars of a song, to the nearest of which keyframes
            without a time move; where they are too few for that, the next list's, such as the beats.
        strides: for each frame how far it is from the one before it, over 0, in any unit (see walk.pace); None or ():
            all the same. Within a segment only their proportions count; one with a None among them is laid out as if there
            were no strides.
        noise_strides: those of the noise, if it is paced apart, where () means all the same; None: it goes with the prompts.

        Raises Error if the keyframes do not fit, or are not Keyframes (`walk.read_prompts` makes them), or come on beats or
        bars, which `beats_to_seconds` makes times of.
        """
        fps = rate(fps)
        keyframes = frames_to_seconds(beats_to_seconds(_checked_keyframes(keyframes), (), ()), fps)
        if len(keyframes) < 2:
            raise Error(
                "a walk needs two keyframes or more; give another prompt, or several seeds for this one (--seeds 1-3)"
            )
        _check_order(keyframes)
        count = _frame_count(keyframes, frames, seconds, fps, closed)
        stays = _stays(keyframes, count, fps, closed, _checked_moments(moments))
        same = _same_as_next(keyframes, closed)

        def laid_out(name: str, strides: Sequence[float | None] | None) -> tuple[float, ...]:
            progress = _even(stays, count, closed, smooth, ease)
            if strides is not None and not (isinstance(strides, Sequence) and not strides):
                progress = _paced(_checked_strides(name, strides, count), progress)
            return tuple(float(int(p)) if same[int(p)] else p for p in _positions(stays, count, closed, progress))

        positions = laid_out("strides", strides)
        noise = positions if noise_strides is None else laid_out("noise_strides", noise_strides)
        return cls(keyframes, positions, fps, closed, smooth, noise if noise != positions else ())

    @property
    def frames(self) -> int:
        """The number of frames. Their indices are 0 .. frames - 1."""
        return len(self.positions)

    @property
    def segments(self) -> int:
        """The number of segments; in a closed walk there is one from the last keyframe to the first, too."""
        return len(self.keyframes) - (not self.closed)

    @property
    def coordinates(self) -> list[tuple[float, ...]]:
        """What tells frames apart: the position of each, its noise's and its pulse, as far as the walk has these. Frames
        with the same coordinates are the same picture."""
        return list(zip(*filter(None, (self.positions, self.noise, self.pulse))))

    @property
    def has_own_noise(self) -> bool:
        """Whether the noise is ever anywhere but where the prompts are."""
        return bool(self.noise or self.pulse)

    @property
    def seconds(self) -> Fraction:
        """The film's length, exactly."""
        return self.frames / self.fps

    def check(self, indices: Iterable[int]) -> None:
        """Raise Error for what is not the index of a frame."""
        for index in indices:
            if not isinstance(index, numbers.Integral) or not 0 <= index < self.frames:
                raise Error(f"there is no frame {index}; the walk's frames are 0 to {self.frames - 1}")

    def segment_name(self, k: int) -> str:
        """'keyframe 3 to 4' for segment 2: people count from 1."""
        return f"keyframe {k + 1} to {(k + 1) % len(self.keyframes) + 1}"

    def with_positions(
        self, positions: Iterable[float], noise: Iterable[float] = (), pulse: Iterable[float] = ()
    ) -> Walk:
        """A walk along the same keyframes whose frames are at these positions."""
        return dataclasses.replace(self, positions=tuple(positions), noise=tuple(noise), pulse=tuple(pulse))

    def first_frames(self) -> dict[float, int]:
        """By position, the first frame that shows it. A rest that goes on from a loop's end at its beginning starts at the
        end."""
        count, last = self.frames, self.positions[-1:]
        start = 0
        if self.closed and self.positions[:1] == last:
            start = next((index for index, position in enumerate(self.positions) if (position,) != last), 0)
        return {self.positions[index % count]: index % count for index in reversed(range(start, start + count))}

    def moved(self, where: Mapping[int, Mapping[float, float]], otherwise: Walk | None = None) -> Walk:
        """The walk with frames moved within their segments.

        where: by segment, where the frame at each place goes, as places. otherwise: a walk of as many frames, from which
            frames come that are not among them; None: those stay.
        """

        def target(position: float, other: float) -> float:
            segment = int(position)
            place = where.get(segment, {}).get(position - segment) if position % 1 else None
            return other if place is None else segment + place

        other = otherwise or self
        return dataclasses.replace(
            other,
            positions=tuple(map(target, self.positions, other.positions)),
            noise=tuple(map(target, self.noise, other.noise)),
        )

    def landmarks(self) -> tuple[list[int], list[int]]:
        """Indices of the first frames that show the keyframes, and how many frames it is from each to the next."""
        first = self.first_frames()
        keys = [first[float(k)] for k in range(len(self.keyframes))]
        following = [*keys[1:], *(keys[:1] if self.closed else [])]
        return keys, [(b - a) % self.frames for a, b in zip(keys, following)]

    def reached(self, frames: Iterable[float]) -> list[int]:
        """The keyframe at which the walk arrived last, at each of these frames, which may be between two; before the first
        arrival, in a closed walk the last one, else the first."""
        arrivals = sorted((arrival, k) for k, arrival in enumerate(self.landmarks()[0]))
        found = [bisect.bisect_right(arrivals, (frame, len(arrivals))) - 1 for frame in frames]
        return [arrivals[at][1] if self.closed else max(at, 0) for at in found]

    def rests(self) -> set[int]:
        """Frames that are meant to look like the one before, or nearly: the stride into them is at most RESTING of the
        segment's mean, and their pulse stays."""
        slow = [self._is_slow(positions) for positions in filter(None, (self.positions, self.noise))]
        if self.pulse:
            slow.append([abs(b - a) < CALM for a, b in pairwise(self.pulse)])
        return {index for index, all_slow in enumerate(map(all, zip(*slow)), 1) if all_slow}

    def swings(self) -> set[int]:
        """Frames at which the pulse turns: before and after, their noise is less far out, or at both further."""
        turns = zip(self.pulse, self.pulse[1:], self.pulse[2:])
        return {
            i for i, (a, b, c) in enumerate(turns, 1) if (b - a) * (b - c) > 0 and min(abs(b - a), abs(b - c)) >= CALM
        }

    def _is_slow(self, positions: Sequence[float]) -> list[bool]:
        """For each stride from a frame to the next, whether it is a rest."""
        count, same = len(self.keyframes), _same_as_next(self.keyframes, self.closed)
        strides = [
            0.0 if same[int(a)] and b == (int(a) + 1) % count else abs(b - a)  # from one picture to the same: none
            for a, b in pairwise(positions)
        ]
        if self.closed:
            strides = [min(stride, count - stride) for stride in strides]
        moving: defaultdict[int, list[float]] = defaultdict(list)  # strides by segment
        for a, stride in zip(positions, strides):
            moving[int(a)] += [stride] * (stride > 0)
        return [stride <= RESTING * fmean(moving[int(a)] or [0.0]) for a, stride in zip(positions, strides)]

    def neighbours(self, position: float) -> tuple[tuple[int | None, ...], float]:
        """Indices of the keyframes that decide what is seen at a position, and its place between them.

        At a keyframe, that one alone and 0. Between two: both, or on a smooth path these with the
        one before and the one after (None beyond the end of an open path), and 0 < t < 1.
        """
        start = int(position)
        t = position - start
        if t == 0:
            return (start,), 0.0
        reach = range(start - 1, start + 3) if self.smooth else range(start, start + 2)
        if self.closed:
            return tuple(k % len(self.keyframes) for k in reach), t
        return tuple(k if 0 <= k < len(self.keyframes) else None for k in reach), t


def _same_as_next(keyframes: Sequence[Keyframe], closed: bool) -> list[bool]:
    """For each keyframe, whether the one that the walk goes to from there is the same picture."""
    following = [*keyframes[1:], keyframes[0] if closed else None]
    return [b is not None and a.identity == b.identity for a, b in zip(keyframes, following)]


def beats_to_seconds(
    keyframes: Sequence[Keyframe], beats: Sequence[float], bars: Sequence[float], where: str = "", remedy: str = ""
) -> tuple[Keyframe, ...]:
    """The keyframes with seconds in place of beats and bars.

    beats, bars: the seconds of each. where: the sound or the tempo that they are from, if there is one. remedy: for
    errors, what may help where the film is too short for one.
    Raises Error for a beat or a bar that is not there.
    """
    times = {"beat": beats, "bar": bars}

    def second(k: int, does: str, name: str, number: float) -> float:
        return second_of(f"{keyframe_name(keyframes, k)} {does}", name, number, times[name], where, remedy)

    return _to_seconds(keyframes, tuple(times), second)


def second_of(what: str, name: str, number: float, times: Sequence[float], where: str = "", remedy: str = "") -> float:
    """The second of a beat or a bar, as `name` says. times: of all of them. what: for errors, 'keyframe 2 is at'; where,
    remedy: as `beats_to_seconds` takes them. Raises Error for one that is not there."""
    seconds = [*times, *[2 * times[-1] - times[-2] for _ in times[1:2]]]  # the last one is as long as the one before
    if number > len(seconds):
        has = f"the film has {plural(len(times), name)}{remedy}"
        if not seconds and where:
            has = f"no {name}s are heard in what the film plays of {where}"
        elif not seconds:
            has = "there are none without a sound or a tempo; give --audio or --bpm"
        raise Error(f"{what} {name} {number:g}, but {has}")
    i, part = int(number) - 1, number % 1
    return seconds[i] + part * (seconds[min(i + 1, len(seconds) - 1)] - seconds[i])


def frames_to_seconds(keyframes: Sequence[Keyframe], fps: Fraction) -> tuple[Keyframe, ...]:
    """The keyframes with seconds in place of frames, at this rate."""
    return _to_seconds(keyframes, ("frame",), lambda k, does, name, number: float(Fraction(number) / fps))


def check_rests(keyframes: Sequence[Keyframe]) -> None:
    """Raise Error for a keyframe that rests until some time without a time of its own, which might come later than that."""
    for k, keyframe in enumerate(keyframes):
        if k and keyframe.until is not None and all(getattr(keyframe, name) is None for name in WHEN):
            raise Error(f"{keyframe_name(keyframes, k)} is to rest, but it is not said from when; give it a time, too")


def space_by_length(
    keyframes: Sequence[Keyframe], lengths: Sequence[float], frames: int, fps: Fraction, closed: bool = False
) -> tuple[Keyframe, ...]:
    """The keyframes with times for those that have none, so that between two that have one, segments last in proportion to
    their lengths. A segment without a length, between two keyframes of the same picture, is a rest, and lasts as long as
    with even spacing.

    lengths: of each segment, in any unit. frames, fps, closed: the film's, in which they fit.
    """
    at, until = _frame_times(keyframes, frames, fps, closed)
    timed = list(keyframes)
    known = [(k, nearest(x)) for k, x in enumerate(at) if x is not None]
    for (a, arrival), (b, end) in pairwise(known):
        start = nearest(until[a] or Fraction(0)) or arrival
        rest = Fraction(end - start, b - a)
        between = [Fraction(length) for length in lengths[a:b]]
        still = between.count(Fraction(0))
        share = (end - start - rest * still) / sum(between) if still < b - a else Fraction(0)
        exact, frame = Fraction(start), start
        for k, length in zip(range(a + 1, b), between):
            exact += length * share or rest
            frame = min(max(nearest(exact), frame + 1), end - (b - k))
            if frame < frames:  # of a loop that begins late, the last come after its end, and stay where they are
                timed[k] = dataclasses.replace(timed[k], time=round(float(frame / fps), 6))
    return tuple(timed)


def _to_seconds(
    keyframes: Sequence[Keyframe], units: Sequence[str], second: Callable[[int, str, str, float], float]
) -> tuple[Keyframe, ...]:
    """The keyframes with seconds in place of these units. second: by index, what the keyframe does then ('is at'), unit and
    number."""
    result = []
    for k, keyframe in enumerate(keyframes):
        changes: dict[str, Any] = {}
        for name in units:
            if (number := getattr(keyframe, name)) is not None:
                changes |= {name: None, "time": round(second(k, "is at", name, number), 6)}
            if keyframe.until_in == name and keyframe.until is not None:
                changes |= {"until_in": "time", "until": round(second(k, "rests until", name, keyframe.until), 6)}
        try:
            result.append(dataclasses.replace(keyframe, **changes) if changes else keyframe)
        except Error:  # its rest would end before it arrives
            unit = next(name for name in WHEN if getattr(keyframe, name) is not None)
            until, arrival = (
                format_time(number) if name == "time" else f"{name} {number:g}"
                for name, number in ((keyframe.until_in, keyframe.until or 0.0), (unit, getattr(keyframe, unit)))
            )
            raise Error(
                f"{keyframe_name(keyframes, k)} is to rest until {until}, which is not after {arrival}"
            ) from None
    return tuple(result)


def excerpt(keyframes: Sequence[Keyframe], start: float, seconds: float, pause: float = 0.0) -> tuple[Keyframe, ...]:
    """The keyframes, all of which have times, from `start` on, with times counted from there; and before them the one that
    is shown at `start`. A rest ends `pause` before the end at the latest."""
    end = start + seconds
    times = [keyframe.time or 0.0 for keyframe in keyframes]
    first = max(bisect.bisect_right(times, start) - 1, 0)
    part = []
    for keyframe in keyframes[first : bisect.bisect_left(times, end)]:
        until = None if keyframe.until is None else round(min(keyframe.until, end - pause) - start, 6)
        time = max(round((keyframe.time or 0.0) - start, 6), 0.0)
        part.append(
            dataclasses.replace(keyframe, time=time, until=until if until is not None and until > time else None)
        )
    return tuple(part)


def by_segment(positions: Iterable[float]) -> dict[int, list[float]]:
    """The positions between keyframes by their segment, in the given order."""
    segments: defaultdict[int, list[float]] = defaultdict(list)
    for position in positions:
        if position % 1:
            segments[int(position)].append(position)
    return segments


def _checked_keyframes(keyframes: Any) -> tuple[Keyframe, ...]:
    listed: tuple[Any, ...] = (keyframes,) if isinstance(keyframes, (str, Path)) else tuple(keyframes)
    for each in listed:
        if not isinstance(each, Keyframe):
            raise Error(f"{str(each)!r} is not a keyframe; read_prompts makes keyframes of a prompt file or of prompts")
    return listed


def _checked_positions(name: str, values: Sequence[float], end: int, closed: bool) -> tuple[float, ...]:
    """As a tuple of floats. In a closed walk the end is the beginning. There may be a million, so each check
    is one call for all."""
    positions = values
    if type(positions) is not tuple or set(map(type, positions)) - {float}:
        try:
            positions = tuple(map(float, values))
        except (TypeError, ValueError, OverflowError):
            raise Error(f"{name} are numbers, one for each frame; not {reprlib.repr(values)}") from None
    if not positions:
        return ()
    least, most, total = min(positions), max(positions), sum(positions)  # only a sum is sure to tell nan
    if least >= 0 and (most < end if closed else most <= end) and not math.isnan(total):
        return positions
    wrong = next(x for x in positions if not (0 <= x < end or (x == end and not closed)))
    to = "below" if closed else "at most"
    raise Error(
        f"{name}: {wrong:g} is out of range; with {plural(end + (not closed), 'keyframe')} they are from 0, {to} {end}"
    )


def _checked_pulse(values: Sequence[float], count: int) -> tuple[float, ...]:
    try:
        pulse = tuple(map(float, values))
    except (TypeError, ValueError, OverflowError):
        pulse = (math.nan,)
    if pulse and (len(pulse) != count or not all(0 <= part <= 1 for part in pulse)):
        raise Error(f"pulse has a number from 0 to 1 for each of {plural(count, 'frame')}; not {reprlib.repr(values)}")
    return pulse if any(pulse) else ()


def _check_order(keyframes: Sequence[Keyframe]) -> None:
    timed = [(k, keyframe.time) for k, keyframe in enumerate(keyframes) if keyframe.time is not None]
    for (before, earlier), (k, time) in pairwise(timed):
        if time < earlier:
            raise Error(
                f"{keyframe_name(keyframes, k)} is at {format_time(time)}, before {keyframe_name(keyframes, before)} at "
                f"{format_time(earlier)}; times must increase from keyframe to keyframe"
            )


def _frame_count(
    keyframes: Sequence[Keyframe],
    frames: int | None,
    seconds: Fraction | float | None,
    fps: Fraction,
    closed: bool,
) -> int:
    """The number of frames: as given, or that of the film's length, or as many as the keyframes' times need."""
    why = ""
    if frames is not None and not isinstance(frames, numbers.Integral):
        raise Error(f"frames {frames!r} is not a whole number")
    if seconds is not None:
        if not isinstance(seconds, numbers.Real) or not 0 < seconds < math.inf:
            raise Error(f"seconds {seconds!r} is not a length; it is a number over 0")
        count = nearest((seconds if isinstance(seconds, Fraction) else Fraction(float(seconds))) * fps)
        if frames is not None and frames != count:
            raise Error(
                f"{frames} frames and {float(seconds):g} seconds ({count} frames) do not agree; give one of them"
            )
        frames = count
    if frames is None:
        times = [(k, keyframe.until or keyframe.time) for k, keyframe in enumerate(keyframes)]
        last, time = next(((k, time) for k, time in reversed(times) if time is not None), (0, 0.0))
        untimed = len(keyframes) - 1 - last + closed
        end = nearest((_exact(time) + untimed * SECONDS_A_SEGMENT) * fps)
        frames = end if closed else end + 1
        why = f"{keyframe_name(keyframes, last)} comes at {format_time(time)}" if time else ""
    if frames < len(keyframes):
        long = f" ({float(seconds):g} s at {float(fps):g} a second)" if seconds is not None else ""
        raise Error(
            f"{len(keyframes)} keyframes do not fit in {plural(frames, 'frame')}{long}; give at least one frame for each"
        )
    check_length(frames, why)
    return frames


def _checked_moments(lists: Sequence[Sequence[float]]) -> list[list[float]]:
    try:
        moments = [[float(second) for second in some] for some in lists]
        if all(math.isfinite(second) for some in moments for second in some):
            return moments
        raise ValueError
    except (TypeError, ValueError):
        raise Error(f"moments are lists of seconds, such as [bars, beats]; not {reprlib.repr(lists)}") from None


def _checked_strides(name: str, values: Sequence[float | None], count: int) -> list[float | None]:
    """As floats, at such a scale that sums neither overflow nor lose the smallest."""
    try:
        strides = [None if stride is None else float(stride) for stride in values]
    except (TypeError, ValueError):
        strides = []
    told = [stride for stride in strides if stride is not None]
    if len(strides) != count or not all(0 < stride < math.inf for stride in told):
        raise Error(f"{name} are numbers over 0, one for each of {count} frames; not {reprlib.repr(values)}")
    scale = math.frexp(max(told, default=1.0))[1]  # by a power of two, which changes no digit
    return [None if stride is None else max(math.ldexp(stride, -scale), _LEAST) for stride in strides]


def _exact(time: float) -> Fraction:
    """The time as it was written: 0.1 is a tenth."""
    return Fraction(repr(float(time)))


def _frame_times(
    keyframes: Sequence[Keyframe], count: int, fps: Fraction, closed: bool
) -> tuple[list[Fraction | None], list[Fraction | None]]:
    """When each keyframe comes, and until when it rests, in frames that need not be whole; None where it does not say.

    Unless they say otherwise, the first comes at 0 and an open walk's last at its end. A closed walk's end is one more."""
    at = [None if keyframe.time is None else _exact(keyframe.time) * fps for keyframe in keyframes]
    until = [None if keyframe.until is None else _exact(keyframe.until) * fps for keyframe in keyframes]
    first = at[0] = at[0] or Fraction(0)
    if closed:
        at.append(first + count)
    elif at[-1] is None:
        at[-1] = Fraction(count - 1)
    return at, until


def _stays(
    keyframes: Sequence[Keyframe], count: int, fps: Fraction, closed: bool, moments: Sequence[Sequence[float]]
) -> list[tuple[int, int]]:
    """The first and the last frame that show each keyframe; of a closed walk also those of its end, as one more."""
    at, until = _frame_times(keyframes, count, fps, closed)
    for does, times in (("is at", at), ("rests until", until)):
        for k, x in enumerate(times[: len(keyframes)]):
            if x is not None and nearest(x) > count - closed:  # an open walk's last frame is its end
                length = format_time(float(count / fps))
                ends = f"a loop of {length} begins again there"
                if nearest(x) > count:
                    ends = f"the film is {length} long, {plural(count, 'frame')}"
                raise Error(
                    f"{keyframe_name(keyframes, k)} {does} {format_time(float(x / fps))}, frame {nearest(x)}, but {ends}; give an "
                    "earlier time, or a longer film"
                )
    arrivals = _aligned(at, until, [[_exact(moment) * fps for moment in some] for some in moments])
    departures = [a if x is None else nearest(x) for a, x in zip(arrivals, [*until, None])]
    if not closed:
        arrivals, departures = ([min(frame, count - 1) for frame in some] for some in (arrivals, departures))
    for k, ((arrival, departure), (following, _)) in enumerate(pairwise(zip(arrivals, departures))):
        if departure >= following:
            after = (k + 1) % len(keyframes)
            if arrival < following:
                raise Error(
                    f"{keyframe_name(keyframes, k)} rests until {keyframe_name(keyframes, after)} is there; give an earlier until="
                )
            raise Error(
                f"{keyframe_name(keyframes, k)} and {keyframe_name(keyframes, after)} would be shown on the same frame; "
                "give them more room: a later time, more frames, or a higher fps"
            )
    return list(zip(arrivals, departures))


def _aligned(
    at: Sequence[Fraction | None], until: Sequence[Fraction | None], moments: Sequence[Sequence[Fraction]]
) -> list[int]:
    """The frame on which each keyframe arrives: as it says, or else, if there are enough of them, that of the nearest
    moment. Moments that would bring two keyframes much closer together than even spacing are not enough."""
    even = _spaced_evenly(at, until)
    arrivals = [nearest(x) for x in even]
    known = [k for k, x in enumerate(at) if x is not None]
    for a, b in pairwise(known):
        for some in filter(None, moments):
            aligned = [nearest(_closest(some, x)) for x in even[a + 1 : b]]
            gaps = zip(pairwise([arrivals[a], *aligned, arrivals[b]]), pairwise(even[a : b + 1]))
            if all(y - x >= max(Fraction(1), LEAST_ROOM * (later - earlier)) for (x, y), (earlier, later) in gaps):
                arrivals[a + 1 : b] = aligned
                break
    return arrivals


def _closest(moments: Sequence[Fraction], x: Fraction) -> Fraction:
    i = bisect.bisect_left(moments, x)
    return min(moments[max(i - 1, 0) : i + 1], key=lambda moment: abs(moment - x))


def _spaced_evenly(at: Sequence[Fraction | None], until: Sequence[Fraction | None]) -> list[Fraction]:
    """Those without a time evenly between their neighbours that have one, from the end of a rest on. The first and the last
    have one."""
    known = [k for k, x in enumerate(at) if x is not None]
    times = [at[known[0]] or Fraction(0)]
    for a, b in pairwise(known):
        start, end = until[a] or at[a] or Fraction(0), at[b] or Fraction(0)
        times += [start + (end - start) * Fraction(k - a, b - a) for k in range(a + 1, b + 1)]
    return times


def keyframe_name(keyframes: Sequence[Keyframe], k: int) -> str:
    """'keyframe 3 ('a fox')' for keyframe 2: people count from 1."""
    prompt = keyframes[k].title
    return f"keyframe {k + 1} ('{prompt if len(prompt) <= 40 else prompt[:39] + '…'}')"


# The place in a segment, 0 .. 1, by the segment's number, a frame, and the first and last frame of the segment.
_Progress = Callable[[int, int, int, int], Fraction | float]


def _positions(stays: list[tuple[int, int]], count: int, closed: bool, progress: _Progress) -> list[float]:
    """The position of each frame. stays: as `_stays` returns them."""
    positions: list[float] = []
    for k, ((arrival, departure), (end, _)) in enumerate(pairwise(stays)):
        positions += [float(k)] * (departure - arrival)
        grains = (round(progress(k, frame, departure, end) * GRAIN) for frame in range(departure, end))
        positions += [k + min(max(some, i > 0), GRAIN - 1) / GRAIN for i, some in enumerate(grains)]
    if closed:  # frames before the first arrival are the end of the round
        turn = stays[0][0] % count
        return positions[count - turn :] + positions[: count - turn]
    last = len(stays) - 1
    return [0.0] * stays[0][0] + positions + [float(last)] * (count - stays[-1][0])


def _even(stays: list[tuple[int, int]], count: int, closed: bool, smooth: bool, ease: bool) -> _Progress:
    """Without strides: at even speed, or with one that changes smoothly, or slows down to rest at every keyframe."""
    slopes = _slopes(stays, count, closed)

    def progress(k: int, frame: int, start: int, end: int) -> Fraction:
        length = end - start
        t = Fraction(frame - start, length)
        if ease:
            return t * t * (3 - 2 * t)
        return _hermite(t, slopes[k] * length, slopes[k + 1] * length) if smooth else t

    return progress


def _paced(strides: Sequence[float | None], otherwise: _Progress) -> _Progress:
    """Within each segment progress follows the strides, with an even part added if one of them were too steep; or, where
    one is None, goes otherwise."""
    twice = [stride or 0.0 for stride in strides] * 2  # a closed walk's segments may run past its last frame
    done = [0.0, *accumulate(twice)]
    untold = [0, *accumulate(stride is None for stride in [*strides, *strides])]

    @lru_cache(None)
    def even_part(start: int, end: int) -> float:
        """What each stride of a segment is given, so that the largest is no steeper than STEEPEST. Where there are too few
        for that, one may be."""
        some = twice[start + 1 : end + 1]
        times, part = STEEPEST
        most = min(times / len(some), part)
        room = most * len(some) - 1
        return max(0.0, max(some) - most * sum(some)) / room if room > 2 else 0.0

    def progress(k: int, frame: int, start: int, end: int) -> Fraction | float:
        if untold[end + 1] > untold[start + 1]:
            return otherwise(k, frame, start, end)
        more = even_part(start, end)
        part, whole = (done[at + 1] - done[start + 1] + more * (at - start) for at in (frame, end))
        return round(part / whole * HEARD_GRAIN) / HEARD_GRAIN

    return progress


def _slopes(stays: list[tuple[int, int]], count: int, closed: bool) -> list[Fraction]:
    """The speed at each keyframe, in segments a frame: continuous, never overshooting; 0 where the walk rests.

    Fritsch & Butland, 'A method for constructing local monotone piecewise cubic interpolants',
    SIAM J. Sci. Stat. Comput. 5 (1984): a weighted harmonic mean of the neighbouring speeds. Even
    spacing gives exactly even speed.
    """
    lengths = [arrival - departure for (_, departure), (arrival, _) in pairwise(stays)]
    rests = [arrival < departure for arrival, departure in stays]
    if closed:
        rests[-1] = rests[0]
        lengths = [lengths[-1], *lengths, lengths[0]]
        speeds = [_speed(a, b) for a, b in pairwise(lengths)]
    else:
        rests[0] |= stays[0][0] > 0
        rests[-1] |= stays[-1][1] < count - 1
        speeds = [Fraction(1, lengths[0]), *(_speed(a, b) for a, b in pairwise(lengths)), Fraction(1, lengths[-1])]
    return [Fraction(0) if rest else speed for rest, speed in zip(rests, speeds)]


def _speed(a: int, b: int) -> Fraction:
    return Fraction(3 * (a + b), a * (a + 2 * b) + b * (2 * a + b))


def _hermite(t: Fraction, start: Fraction, end: Fraction) -> Fraction:
    """The cubic from 0 to 1 with these slopes at its ends."""
    return t * (start + t * (3 - 2 * start - end + t * (start + end - 2)))
