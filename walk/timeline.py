"""A Walk: keyframes laid out in time. Frames <-> seconds <-> positions.

Whole frames and rationals decide where frames are, but for paces, which were heard or given as numbers; places are
rounded at last, so that two routes to one frame agree.
Knows no tensors: what lies between two keyframes is geometry's business.
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
RESTING = 1 / 4  # of the mean step between two keyframes; after a beat it is a twelfth
STEEPEST = 8, 1 / 3  # times the mean step; or of the way, of few frames: one onset in a silence would be a jump
GRAIN = 2**32  # parts of a segment that places are rounded to: a segment's are the same wherever it stands
CALM = 0.01  # of a pulse, from one frame to the next, is not seen
_LEAST = 1e-9  # of the largest step: sums of less would be lost beside it
_HEARD = 2**20  # the same of places that were heard, so that no library's last bit matters


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
    pulse: how far the noise of each frame swings out from there, 0 .. 1: not at all, to another noise; (): of none.

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
        keyframes = _keyframes(self.keyframes)
        if not keyframes:
            raise Error("a walk needs keyframes, and none was given")
        end = len(keyframes) - (not self.closed)
        positions, noise = (_places(name, getattr(self, name), end, self.closed) for name in ("positions", "noise"))
        if noise and len(noise) != len(positions):
            raise Error(
                f"noise has {plural(len(noise), 'position')} for {plural(len(positions), 'frame')}; it has one for "
                "each frame, or none"
            )
        pulse = _pulse(self.pulse, len(positions))
        given = {"keyframes": keyframes, "positions": positions, "fps": rate(self.fps), "noise": noise, "pulse": pulse}
        given |= {"closed": bool(self.closed), "smooth": bool(self.smooth)}
        for name, value in given.items():
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
        steps: Sequence[float] | None = None,
        noise_steps: Sequence[float] | None = None,
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
        steps: for each frame how much of the way is done from the one before it, over 0, in any unit
            (see walk.pace); None or (): evenly. Within a segment only their proportions count.
        noise_steps: the noise's, if it is paced apart, so that () is evenly; None: it goes with the prompts.

        Raises Error if the keyframes do not fit, or are none (`walk.read_prompts` makes them), or lie on beats or bars, which
        `beats_to_seconds` makes times of.
        """
        fps = rate(fps)
        keyframes = frames_to_seconds(beats_to_seconds(_keyframes(keyframes), (), ()), fps)
        if len(keyframes) < 2:
            raise Error(
                "a walk needs two keyframes or more; give another prompt, or several seeds for this one (--seeds 1-3)"
            )
        _check_order(keyframes)
        count = _frame_count(keyframes, frames, seconds, fps, closed)
        stays = _stays(keyframes, count, fps, closed, _moments(moments))
        following = [*keyframes[1:], keyframes[0] if closed else None]
        same = [b is not None and a.identity == b.identity for a, b in zip(keyframes, following)]

        def places(name: str, how: Sequence[float] | None) -> tuple[float, ...]:
            if how is None or (isinstance(how, Sequence) and not how):
                done = _even(stays, count, closed, smooth, ease)
            else:
                done = _paced(_steps(name, how, count))
            return tuple(float(int(p)) if same[int(p)] else p for p in _positions(stays, count, closed, done))

        positions = places("steps", steps)
        noise = positions if noise_steps is None else places("noise_steps", noise_steps)
        return cls(keyframes, positions, fps, closed, smooth, noise if noise != positions else ())

    @property
    def frames(self) -> int:
        """How many there are. Their indices are 0 .. frames - 1."""
        return len(self.positions)

    @property
    def segments(self) -> int:
        """How many ways there are from one keyframe to the next; in a closed walk, from the last to the first, too."""
        return len(self.keyframes) - (not self.closed)

    @property
    def coordinates(self) -> list[tuple[float, ...]]:
        """What tells frames apart: the position of each, its noise's and its pulse, as far as the walk has these. Frames
        with the same coordinates are the same picture."""
        return list(zip(*filter(None, (self.positions, self.noise, self.pulse))))

    @property
    def wavers(self) -> bool:
        """Whether the noise is anywhere but where the prompts are."""
        return bool(self.noise or self.pulse)

    @property
    def seconds(self) -> Fraction:
        """How long the film is, exactly."""
        return self.frames / self.fps

    def check(self, indices: Iterable[int]) -> None:
        """Raises Error for what is not the index of a frame."""
        for index in indices:
            if not isinstance(index, numbers.Integral) or not 0 <= index < self.frames:
                raise Error(f"there is no frame {index}; the walk's frames are 0 to {self.frames - 1}")

    def leg(self, k: int) -> str:
        """'keyframe 3 to 4': what lies after keyframe k, counted from 0, for people, who count from 1."""
        return f"keyframe {k + 1} to {(k + 1) % len(self.keyframes) + 1}"

    def path(self, positions: Iterable[float], noise: Iterable[float] = (), pulse: Iterable[float] = ()) -> Walk:
        """The same path, shown at other positions."""
        return dataclasses.replace(self, positions=tuple(positions), noise=tuple(noise), pulse=tuple(pulse))

    def firsts(self) -> dict[float, int]:
        """By position, the first frame that shows it; of a rest from a loop's end to its beginning, the one at the end."""
        count, last = self.frames, self.positions[-1:]
        begun = 0
        if self.closed and self.positions[:1] == last:
            begun = next((index for index, position in enumerate(self.positions) if (position,) != last), 0)
        return {self.positions[index % count]: index % count for index in reversed(range(begun, begun + count))}

    def moved(self, where: Mapping[int, Mapping[float, float]], otherwise: Walk | None = None) -> Walk:
        """With frames elsewhere within their segments.

        where: by segment, each 0 .. 1 of the way, where the frame of a place goes. otherwise: a walk of as many frames, in
            which the others are; None: they stay.
        """

        def place(position: float, other: float) -> float:
            start = int(position)
            to = where.get(start, {}).get(position - start) if position % 1 else None
            return other if to is None else start + to

        other = otherwise or self
        return dataclasses.replace(
            other,
            positions=tuple(map(place, self.positions, other.positions)),
            noise=tuple(map(place, self.noise, other.noise)),
        )

    def landmarks(self) -> tuple[list[int], list[int]]:
        """Indices of the frames that show the keyframes, and how many frames it is from each to the next."""
        first = self.firsts()
        keys = [first[float(k)] for k in range(len(self.keyframes))]
        following = [*keys[1:], *(keys[:1] if self.closed else [])]
        return keys, [(b - a) % self.frames for a, b in zip(keys, following)]

    def rests(self) -> set[int]:
        """Frames that are meant to look like the one before, or nearly: of its way between two keyframes the walk goes
        less than RESTING of the usual step into them."""
        slow = [self._slow(places) for places in filter(None, (self.positions, self.noise))]
        if self.pulse:
            slow.append([abs(b - a) < CALM for a, b in pairwise(self.pulse)])
        return {index for index, all_of_it in enumerate(zip(*slow), 1) if all(all_of_it)}

    def _slow(self, places: Sequence[float]) -> list[bool]:
        """Of the steps from each frame to the next."""
        steps = [abs(b - a) for a, b in pairwise(places)]
        if self.closed:
            steps = [min(step, len(self.keyframes) - step) for step in steps]
        moving: defaultdict[int, list[float]] = defaultdict(list)
        for a, step in zip(places, steps):
            moving[int(a)] += [step] * (step > 0)
        return [step <= RESTING * fmean(moving[int(a)] or [0.0]) for a, step in zip(places, steps)]

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


def beats_to_seconds(
    keyframes: Sequence[Keyframe], beats: Sequence[float], bars: Sequence[float], where: str = ""
) -> tuple[Keyframe, ...]:
    """The keyframes with seconds in place of beats and bars, of which the seconds are given.

    Raises Error for a beat or a bar that is not there. where: the sound or the tempo, if there is one.
    """
    known = {"beat": beats, "bar": bars}
    # The last one is as long as the one before.
    ended = {name: [*some, *[2 * some[-1] - some[-2] for _ in some[1:2]]] for name, some in known.items()}

    def second(k: int, does: str, name: str, number: float) -> float:
        seconds = ended[name]
        if number > len(seconds):
            has = f"the film has {plural(len(known[name]), name)}"
            if not seconds and where:
                has = f"no {name}s are heard in what the film plays of {where}"
            elif not seconds:
                has = "there are none without a sound or a tempo; give --audio or --bpm"
            raise Error(f"{_name(keyframes, k)} {does} {name} {number:g}, but {has}")
        at, part = int(number) - 1, number % 1
        return seconds[at] + part * (seconds[min(at + 1, len(seconds) - 1)] - seconds[at])

    return _retimed(keyframes, tuple(known), second)


def frames_to_seconds(keyframes: Sequence[Keyframe], fps: Fraction) -> tuple[Keyframe, ...]:
    """The keyframes with seconds in place of frames, at this rate."""
    return _retimed(keyframes, ("frame",), lambda k, does, name, number: float(Fraction(number) / fps))


def check_rests(keyframes: Sequence[Keyframe]) -> None:
    """Raise Error for one that rests until a time, but without one from when, which `space_by_length` might put after it."""
    for k, keyframe in enumerate(keyframes):
        if k and keyframe.until is not None and all(getattr(keyframe, name) is None for name in WHEN):
            raise Error(f"{_name(keyframes, k)} is to rest, but it is not said from when; give it a time, too")


def space_by_length(
    keyframes: Sequence[Keyframe], lengths: Sequence[float], frames: int, fps: Fraction, closed: bool = False
) -> tuple[Keyframe, ...]:
    """The keyframes with times for those that have none, so that between two that have one each way takes as long as it is
    long. A way without a length, where two are the same picture, is a rest, which lasts as long as even spacing has it.

    lengths: of each way from one keyframe to the next, in any unit. frames, fps, closed: the film's, in which they fit.
    """
    at, until = _told(keyframes, frames, fps, closed)
    timed = list(keyframes)
    given = [(k, nearest(x)) for k, x in enumerate(at) if x is not None]
    for (a, arrival), (b, end) in pairwise(given):
        start = nearest(until[a] or Fraction(0)) or arrival
        rest = Fraction(end - start, b - a)
        some = [Fraction(length) for length in lengths[a:b]]
        still = some.count(Fraction(0))
        share = (end - start - rest * still) / sum(some) if still < b - a else Fraction(0)
        done, frame = Fraction(start), start
        for k, length in zip(range(a + 1, b), some):
            done += length * share or rest
            frame = min(max(nearest(done), frame + 1), end - (b - k))
            if frame < frames:  # of a loop that begins late, the last come after its end, and stay where they are
                timed[k] = dataclasses.replace(timed[k], time=round(float(frame / fps), 6))
    return tuple(timed)


def _retimed(
    keyframes: Sequence[Keyframe], units: Sequence[str], second: Callable[[int, str, str, float], float]
) -> tuple[Keyframe, ...]:
    """The keyframes with seconds in place of these units. second: of (index, what the keyframe does then, unit, how many)."""
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
        except Error:  # it was to rest until before that
            unit = next(name for name in WHEN if getattr(keyframe, name) is not None)
            until, arrives = (
                format_time(number) if name == "time" else f"{name} {number:g}"
                for name, number in ((keyframe.until_in, keyframe.until or 0.0), (unit, getattr(keyframe, unit)))
            )
            raise Error(f"{_name(keyframes, k)} is to rest until {until}, which is not after {arrives}") from None
    return tuple(result)


def excerpt(keyframes: Sequence[Keyframe], start: float, seconds: float, pause: float = 0.0) -> tuple[Keyframe, ...]:
    """Of keyframes that all have times those from `start` on, with times from there; and before them the
    one that is shown at its beginning. A rest ends at the latest such a pause before the end."""
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
    """By segment, those of some positions that are between its keyframes, as they come."""
    found: defaultdict[int, list[float]] = defaultdict(list)
    for position in positions:
        if position % 1:
            found[int(position)].append(position)
    return found


def _keyframes(given: Any) -> tuple[Keyframe, ...]:
    some: tuple[Any, ...] = (given,) if isinstance(given, (str, Path)) else tuple(given)
    for each in some:
        if not isinstance(each, Keyframe):
            raise Error(f"{str(each)!r} is not a keyframe; read_prompts makes keyframes of a prompt file or of prompts")
    return some


def _places(name: str, given: Sequence[float], end: int, closed: bool) -> tuple[float, ...]:
    """As a tuple of floats. In a closed walk the end is the beginning. There may be a million, so each check
    is one call for all."""
    places = given
    if type(places) is not tuple or set(map(type, places)) - {float}:
        try:
            places = tuple(map(float, given))
        except (TypeError, ValueError, OverflowError):
            raise Error(f"{name} are numbers, one for each frame; not {reprlib.repr(given)}") from None
    if not places:
        return ()
    least, most, total = min(places), max(places), sum(places)  # where nan is overlooked by others, a sum tells
    if least >= 0 and (most < end if closed else most <= end) and not math.isnan(total):
        return places
    wrong = next(place for place in places if not (0 <= place < end or (place == end and not closed)))
    to = "below" if closed else "at most"
    raise Error(
        f"{name}: {wrong:g} is out of range; with {plural(end + (not closed), 'keyframe')} they are from 0, {to} {end}"
    )


def _pulse(given: Sequence[float], count: int) -> tuple[float, ...]:
    try:
        pulse = tuple(map(float, given))
    except (TypeError, ValueError, OverflowError):
        pulse = (math.nan,)
    if pulse and (len(pulse) != count or not all(0 <= part <= 1 for part in pulse)):
        raise Error(f"pulse has a number from 0 to 1 for each of {plural(count, 'frame')}; not {reprlib.repr(given)}")
    return pulse if any(pulse) else ()


def _check_order(keyframes: Sequence[Keyframe]) -> None:
    timed = [(k, keyframe.time) for k, keyframe in enumerate(keyframes) if keyframe.time is not None]
    for (before, earlier), (k, time) in pairwise(timed):
        if time < earlier:
            raise Error(
                f"{_name(keyframes, k)} is at {format_time(time)}, before {_name(keyframes, before)} at "
                f"{format_time(earlier)}; times must increase from keyframe to keyframe"
            )


def _frame_count(
    keyframes: Sequence[Keyframe],
    frames: int | None,
    seconds: Fraction | float | None,
    fps: Fraction,
    closed: bool,
) -> int:
    if frames is not None and not isinstance(frames, numbers.Integral):
        raise Error(f"frames {frames!r} is not a whole number")
    if seconds is not None:
        if not isinstance(seconds, numbers.Real) or not 0 < seconds < math.inf:
            raise Error(f"seconds {seconds!r} is not a length; it is a number over 0")
        asked = nearest((seconds if isinstance(seconds, Fraction) else Fraction(float(seconds))) * fps)
        if frames is not None and frames != asked:
            raise Error(
                f"{frames} frames and {float(seconds):g} seconds ({asked} frames) do not agree; give one of them"
            )
        frames = asked
    if frames is None:
        times = [(k, keyframe.until or keyframe.time) for k, keyframe in enumerate(keyframes)]
        last, time = next(((k, time) for k, time in reversed(times) if time is not None), (0, 0.0))
        untimed = len(keyframes) - 1 - last + closed
        end = nearest((_exact(time) + untimed * SECONDS_A_SEGMENT) * fps)
        frames = end if closed else end + 1
    if frames < len(keyframes):
        long = f" ({float(seconds):g} s at {float(fps):g} a second)" if seconds is not None else ""
        raise Error(
            f"{len(keyframes)} keyframes do not fit in {plural(frames, 'frame')}{long}; give at least one frame for each"
        )
    check_length(frames)
    return frames


def _moments(given: Sequence[Sequence[float]]) -> list[list[float]]:
    try:
        moments = [[float(second) for second in some] for some in given]
        if all(math.isfinite(second) for some in moments for second in some):
            return moments
        raise ValueError
    except (TypeError, ValueError):
        raise Error(f"moments are lists of seconds, such as [bars, beats]; not {reprlib.repr(given)}") from None


def _steps(name: str, given: Sequence[float], count: int) -> list[float]:
    try:
        steps = [float(step) for step in given]
    except (TypeError, ValueError):
        steps = []
    if len(steps) != count or not all(0 < step < math.inf for step in steps):
        raise Error(f"{name} are numbers over 0, one for each of {count} frames; not {reprlib.repr(given)}")
    scale = math.frexp(max(steps))[1]  # by a power of two, which changes no digit
    return [max(math.ldexp(step, -scale), _LEAST) for step in steps]


def _exact(time: float) -> Fraction:
    return Fraction(repr(float(time)))  # as it was written: 0.1 is a tenth


def _told(
    keyframes: Sequence[Keyframe], count: int, fps: Fraction, closed: bool
) -> tuple[list[Fraction | None], list[Fraction | None]]:
    """When keyframes are to come, and until when to rest, in frames, as far as that is said. The first comes at 0 and an open
    walk's last at its end, if nothing is; a closed walk's end is one more."""
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
    """The first and the last frame that show each keyframe; a closed walk's end, too, as one more."""
    at, until = _told(keyframes, count, fps, closed)
    for stays, times in (("is at", at), ("rests until", until)):
        for k, x in enumerate(times[: len(keyframes)]):
            if x is not None and nearest(x) > count - closed:  # an open walk's last frame is its end
                length = format_time(float(count / fps))
                ends = f"a loop of {length} begins again there"
                if nearest(x) > count:
                    ends = f"the film is {length} long, {plural(count, 'frame')}"
                raise Error(
                    f"{_name(keyframes, k)} {stays} {format_time(float(x / fps))}, frame {nearest(x)}, but {ends}; give an "
                    "earlier time, or a longer film"
                )
    arrivals = _aligned(at, until, [[_exact(moment) * fps for moment in some] for some in moments])
    leaves = [a if x is None else nearest(x) for a, x in zip(arrivals, [*until, None])]
    if not closed:
        arrivals, leaves = ([min(frame, count - 1) for frame in some] for some in (arrivals, leaves))
    for k, (a, b) in enumerate(pairwise(zip(arrivals, leaves))):
        if a[1] >= b[0]:
            after = (k + 1) % len(keyframes)
            if a[0] < b[0]:
                raise Error(
                    f"{_name(keyframes, k)} rests until {_name(keyframes, after)} is there; give an earlier until="
                )
            raise Error(
                f"{_name(keyframes, k)} and {_name(keyframes, after)} would be shown on the same frame; "
                "give them more room: a later time, more frames, or a higher fps"
            )
    return list(zip(arrivals, leaves))


def _aligned(
    at: Sequence[Fraction | None], until: Sequence[Fraction | None], moments: Sequence[Sequence[Fraction]]
) -> list[int]:
    """The frames of what is given, and between them those of the nearest moments, if there are enough."""
    even = _fill(at, until)
    arrivals = [nearest(x) for x in even]
    given = [k for k, x in enumerate(at) if x is not None]
    for a, b in pairwise(given):
        for some in filter(None, moments):
            moved = [nearest(_closest(some, x)) for x in even[a + 1 : b]]
            tried = [arrivals[a], *moved, arrivals[b]]
            if all(x < y for x, y in pairwise(tried)):
                arrivals[a + 1 : b] = moved
                break
    return arrivals


def _closest(moments: Sequence[Fraction], x: Fraction) -> Fraction:
    i = bisect.bisect_left(moments, x)
    return min(moments[max(i - 1, 0) : i + 1], key=lambda moment: abs(moment - x))


def _fill(at: Sequence[Fraction | None], until: Sequence[Fraction | None]) -> list[Fraction]:
    """Even spacing between what is given, from the end of its rest on. The first and the last are given."""
    given = [k for k, x in enumerate(at) if x is not None]
    filled = [at[given[0]] or Fraction(0)]
    for a, b in pairwise(given):
        start, end = until[a] or at[a] or Fraction(0), at[b] or Fraction(0)
        filled += [start + (end - start) * Fraction(k - a, b - a) for k in range(a + 1, b + 1)]
    return filled


def _name(keyframes: Sequence[Keyframe], k: int) -> str:
    prompt = keyframes[k].prompt
    return f"keyframe {k + 1} ('{prompt if len(prompt) <= 40 else prompt[:39] + '…'}')"


# Of the way in a segment (its number, a frame, the segment's first and last frame), 0 .. 1.
_Share = Callable[[int, int, int, int], Fraction | float]


def _positions(stays: list[tuple[int, int]], count: int, closed: bool, progress: _Share) -> list[float]:
    positions: list[float] = []
    for k, ((arrival, leave), (end, _)) in enumerate(pairwise(stays)):
        positions += [float(k)] * (leave - arrival)
        parts = (round(progress(k, i, leave, end) * GRAIN) for i in range(leave, end))
        positions += [k + min(max(part, i > leave), GRAIN - 1) / GRAIN for i, part in enumerate(parts, leave)]
    if closed:  # frames before the first arrival are the end of the round
        turn = stays[0][0] % count
        return positions[count - turn :] + positions[: count - turn]
    last = len(stays) - 1
    return [0.0] * stays[0][0] + positions + [float(last)] * (count - stays[-1][0])


def _even(stays: list[tuple[int, int]], count: int, closed: bool, smooth: bool, ease: bool) -> _Share:
    slopes = _slopes(stays, count, closed)

    def progress(k: int, frame: int, start: int, end: int) -> Fraction:
        length = end - start
        t = Fraction(frame - start, length)
        if ease:
            return t * t * (3 - 2 * t)
        return _hermite(t, slopes[k] * length, slopes[k + 1] * length) if smooth else t

    return progress


def _paced(steps: Sequence[float]) -> _Share:
    """Within each segment the way done grows with the steps, and evenly besides if one were too steep."""
    twice = [*steps, *steps]  # a closed walk's segments may run past its last frame
    done = [0.0, *accumulate(twice)]

    @lru_cache(None)
    def besides(start: int, end: int) -> float:
        """What each step of a segment is given, so that the largest is no more than STEEPEST; of few, one may be."""
        some = twice[start + 1 : end + 1]
        times, part = STEEPEST
        most = min(times / len(some), part)
        room = most * len(some) - 1
        return max(0.0, max(some) - most * sum(some)) / room if room > 2 else 0.0

    def progress(k: int, frame: int, start: int, end: int) -> float:
        more = besides(start, end)
        part, whole = (done[at + 1] - done[start + 1] + more * (at - start) for at in (frame, end))
        return round(part / whole * _HEARD) / _HEARD

    return progress


def _slopes(stays: list[tuple[int, int]], count: int, closed: bool) -> list[Fraction]:
    """Keyframes a frame, at each keyframe: continuous speed that never overshoots; 0 where the walk rests.

    Fritsch & Butland, 'A method for constructing local monotone piecewise cubic interpolants',
    SIAM J. Sci. Stat. Comput. 5 (1984): a weighted harmonic mean of the neighbouring speeds. Even
    spacing gives exactly even speed.
    """
    lengths = [b[0] - a[1] for a, b in pairwise(stays)]
    rests = [a < b for a, b in stays]
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
