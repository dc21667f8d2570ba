"""What a first look at a walk tells about the film: what to show of it, what may surprise, and how long it will take.

Walks and numbers in, sentences and numbers out; knows no pictures and no models.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Collection, Sequence
from fractions import Fraction
from itertools import groupby
from statistics import median

from walk.rates import nearest
from walk.settings import Settings
from walk.text import clock, short_clock
from walk.timeline import Walk

HURRY = 2.5  # times as fast as the median segment is worth a warning
TURN = 0.6  # of the change between two keyframes, if it comes between two pictures of a first look, is worth a note
STILL = 0.5  # of a film at rest is worth a note
RESTS = 1.0  # seconds; shorter rests are its rhythm
FLICKER = 0.25  # seconds from a keyframe to the next: if that is shorter,
FLASHES = 3  # and more often than this, the film is seen to flicker, which harms some people
HELD = 2.0  # seconds that the end stands still for, because a last keyframe came early, are worth a note, too
BETWEEN = 0.25  # of a film's rests are worth a note if they are between keyframes
_EARLY = ", after the last keyframe; one without a time would come at the end"
SPARE = 0.15  # more batches at even speed: some pictures become no frames, and some batches have empty rows
ENCODING = 45e-9  # seconds that encoding and checking a pixel take on two cores


def quick(settings: Settings) -> Settings:
    """Settings for a first look: a fifth of the steps, but no fewer than five."""
    steps = settings.steps or 1
    return dataclasses.replace(settings, steps=max(min(steps, 5), steps // 5))


def half_ways(walk: Walk, distances: Sequence[tuple[float, float]], even: bool = True) -> list[int]:
    """The frame about half-way from each keyframe to the next, at one of the positions that were seen if possible.

    distances: (position, how far from it the next looks), in order, of pictures that were seen. even: half-way to the
        eye, where an even film is when half of the time has passed, or on a beat between two; else along the path.
    """
    inside, (keys, _), found = _inside(walk), walk.landmarks(), []
    ways: defaultdict[int, dict[float, float]] = defaultdict(dict)  # by segment, how far it is to each position
    lengths: defaultdict[int, float] = defaultdict(float)
    for position, distance in distances:
        ways[int(position)][position] = lengths[int(position)]
        lengths[int(position)] += distance
    for k in range(walk.segments):
        known = [index for index in inside[k] if walk.positions[index] in ways[k]]
        some, far = known or inside[k] or [keys[k]], bool(known) and even and lengths[k]
        parts = {i: ways[k][walk.positions[i]] / far if far else walk.positions[i] - k for i in some}
        found.append(min(some, key=lambda index: (abs(parts[index] - 0.5), index)))
    return found


def hurries(walk: Walk, steps: Sequence[float], music: bool = False) -> list[str]:
    """Notes on segments that change much faster than the rest, unless a pace or pulse of their own explains it.

    steps: how much changes from each frame to the next. music: whether that decides when keyframes come."""
    remedy = "give it more time" + ", as --speed constant does" * (not music)
    rounds = [*steps, *steps]  # a closed walk's segments may run past its last frame
    speeds = [sum(rounds[key : key + length]) / length for key, length in zip(*walk.landmarks())]
    usual, own = median(speeds), [it.pace is not None or it.pulse is not None for it in walk.keyframes]
    return [
        f"{walk.segment_name(k)} is {speed / usual:.1f} times as fast as the rest; {remedy}"
        for k, speed in enumerate(speeds)
        if len(speeds) > 2 and speed > HURRY * usual > 0 and not own[k]
    ]


def turns(walk: Walk, distances: Sequence[tuple[float, float]], meant: Collection[int] = ()) -> list[str]:
    """Notes on segments of which nearly all comes between two neighbouring pictures of a first look: it may be a steep
    turn, or a jump that no frame can come between.

    distances: (position, how far from it the next looks), in order, of pictures that were seen. meant: segments that are
        to change so.
    """
    notes, inside = [], _inside(walk)
    seen: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for position, distance in distances:
        seen[int(position)].append((position, distance))
    for start in range(walk.segments):
        gaps = seen[start]
        at, most = max(gaps, key=lambda gap: gap[1], default=(0.0, 0.0))
        share = most / (sum(distance for _, distance in gaps) or 1)
        later = [index for index in inside[start] if walk.positions[index] > at]
        if len(gaps) > 3 and share > TURN and later and start not in meant:
            notes.append(
                f"{clock(min(later) / walk.fps)}: {share:.0%} of the change from {walk.segment_name(start)} comes at once; a prompt in "
                "between would soften it"
            )
    return notes


def surprises(
    walk: Walk, rests: Sequence[float] = (), music: bool = False, landing: Collection[int] | None = None
) -> list[str]:
    """Notes on what the walk alone tells. rests: where it is meant to rest, in seconds. music: whether it has beats.
    landing: the keyframes from which on it rests so; None: all."""
    notes = [(not rests and standstill_note(walk, music)) or _end_note(walk)]
    if walk.first_frames().keys() >= set(map(float, range(len(walk.keyframes)))):  # it shows every keyframe
        notes += [_flicker_note(walk), _between_note(walk, rests, landing)]
    return [note for note in notes if note]


def _flicker_note(walk: Walk) -> str:
    """A note if keyframes follow each other too fast; else ''. WCAG 2.2, 2.3.1, allows three flashes in any second."""
    keys, lengths = walk.landmarks()
    following = [*walk.keyframes[1:], walk.keyframes[0]]
    quick = [
        (keys[k], length / float(walk.fps))
        for k, length in enumerate(lengths)
        if length < FLICKER * walk.fps and walk.keyframes[k].identity != following[k].identity
    ]
    if len(quick) <= FLASHES:
        return ""
    usual = median(seconds for _, seconds in quick)
    return (
        f"{len(quick)} keyframes are followed by the next within {FLICKER:g} s, usually {usual:.2f}, first at "
        f"{clock(quick[0][0] / walk.fps, 1)}: that flickers; give them more time"
    )


def _between_note(walk: Walk, rests: Sequence[float], landing: Collection[int] | None) -> str:
    """A note if the film lands between keyframes much of the time; else ''."""
    frames = [nearest(Fraction(time) * walk.fps) for time in rests]
    at = walk.positions
    landed = [i for i in frames if i == 0 or (0 < i < walk.frames and at[i] != at[i - 1])]  # else it is held
    off = [i for i in landed if at[i] % 1]
    if not off or len(off) < BETWEEN * len(landed):
        return ""
    first = short_clock(float(off[0] / walk.fps))
    count = len(walk.keyframes if landing is None else landing)
    remedy = f"a line that ends in | time={first} puts a prompt there"
    if count > len(landed):
        remedy = f"for {count} prompts, that is too few rests: leave out {count - len(landed)}"
    where = f"{len(landed)} times, {len(off)} of them between keyframes, first"
    if len(landed) == 1:
        where = "once, between keyframes,"
    return (
        f"the film rests {where} at {first}, where it shows a mixture; {remedy}, and --ease in place of a pace slows "
        "down at keyframes alone"
    )


def standstill_note(walk: Walk, music: bool = False) -> str:
    """A note if a film will stand still for most of its length; else ''."""
    resting = walk.rests()
    rests = [list(frames) for rests, frames in groupby(range(walk.frames), resting.__contains__) if rests]
    long = [rest for rest in rests if len(rest) >= min(RESTS * walk.fps, STILL * walk.frames)]
    share = sum(map(len, long)) / walk.frames
    if share < STILL:
        return ""
    longest = max(long, key=len)
    ends = longest[-1] == walk.frames - 1 and 0 <= _last_arrival(walk) - longest[0] + 1 < len(longest) / 2
    what = _EARLY * ends
    return (
        f"the film stands still for {share:.0%} of its length, longest from {clock((longest[0] - 1) / walk.fps, 1)} to "
        f"{clock((longest[-1] + 1) / walk.fps, 1)}{what}{'; with --pulse 0.5 it pulses meanwhile' * music}"
    )


def _last_arrival(walk: Walk) -> int:
    """The frame at which the last keyframe is there; after the film's end if it never is."""
    return walk.first_frames().get(len(walk.keyframes) - 1.0, walk.frames)


def _end_note(walk: Walk) -> str:
    """A note if the film's end stands still for long, and no keyframe says that it should; else ''."""
    start = _last_arrival(walk)
    held = range(start + 1, walk.frames)
    if (
        walk.closed
        or walk.keyframes[-1].until is not None
        or len(held) < HELD * walk.fps
        or not walk.rests().issuperset(held)
    ):
        return ""
    return f"the film stands still from {clock(start / walk.fps, 1)} to its end at {clock(walk.frames / walk.fps, 1)}{_EARLY}"


def _inside(walk: Walk) -> defaultdict[int, list[int]]:
    """By keyframe, the frames between it and the next."""
    inside = defaultdict(list)
    for index, position in enumerate(walk.positions):
        if position % 1:
            inside[int(position)].append(index)
    return inside


def seconds_left(
    walk: Walk, settings: Settings, even: bool, missing: int, batches: Sequence[float], size: tuple[int, int]
) -> float:
    """What rendering the missing frames and making the film will take, without loading the model.

    missing: how many frames are. batches: the seconds that some batches took. size: (width, height) of the film.
    """
    more = missing * (1 + SPARE * even)
    rendering = (math.ceil(more / (settings.batch or 1)) + 1) * median(batches)
    return rendering + walk.frames * size[0] * size[1] * ENCODING
