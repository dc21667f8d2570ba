"""How far along its way a film moves in each frame: evenly, with a sound's energy, or on its beats.

Numbers in, numbers out: knows neither sounds nor keyframes. walk.timeline spreads the frames of each segment by these
steps, so only their proportions count, and every keyframe arrives when it should.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

PACES = ("even", "energy", "beat", "bar")
REACT = {"energy": 0.8, "beat": 1.0, "bar": 1.0}  # how far from even speed
LEAST = 0.03  # of even speed: the picture is never quite still
FADE = 0.12  # seconds in which the movement after an onset fades to 1/e
KICK = 0.1  # seconds in which the movement to a beat grows e-fold; on fast beats a fifth of a beat at most
SWING = 1 / 7  # of a bar, in which the movement to one grows e-fold: less would be steeper than walk.timeline allows
GAP = 2.5  # median beats; in longer gaps the picture glides


def on_beats(
    beats: Sequence[float], frames: int, fps: Fraction, react: float = REACT["beat"], kick: float = KICK
) -> list[float]:
    """Steps that grow towards each beat, are largest into the frame nearest to it, and are small from there on.

    So the picture arrives on the beat, like a ball on the ground, and until the next beat nears it rests where it arrived:
    on a keyframe, if that comes on a beat. (If it moved off on the beat, it would pass the keyframe at its fastest, and
    rest half-way between that and the next.)

    beats: in seconds, increasing. kick: as KICK. Returns one step for each frame: the way from the frame before it, above 0
    and of mean 1. Steps are even without a pulse, before the first beat, and in long gaps between beats. The film's end
    counts as a beat.
    """
    at = sorted({int(beat * fps + Fraction(1, 2)) for beat in map(Fraction, beats) if beat >= 0})
    if len(at) < 2:
        return [1.0] * frames
    beat = median(float(b - a) for a, b in pairwise(at))  # frames
    growth = min(kick * float(fps), beat / 5)
    move = [math.exp(-i / growth) for i in range(int(beat * GAP) + 1)]  # by frames before the beat
    glide = sum(move[: max(1, int(beat))]) / beat
    steps = [glide] * frames
    for start, end in pairwise([at[0] - 1, *at, frames]):
        for frame in range(start + 1, min(end + 1, frames)):
            fast = move[end - frame] if end - frame < len(move) else 0.0
            steps[frame] = fast + (glide if end - start > beat * GAP else 0.0)
    return _mixed(steps, react)


def on_bars(
    bars: Sequence[float], seconds: float, frames: int, fps: Fraction, react: float = REACT["bar"]
) -> list[float]:
    """The same for bars, and for the film's end, so that a film of a single bar has a pulse. seconds: the film's length."""
    pulse = [*bars, seconds]
    bar = median([b - a for a, b in pairwise(pulse)] or [seconds])
    return on_beats(pulse, frames, fps, react, SWING * bar)


def with_energy(
    envelope: Sequence[float], rate: float, frames: int, fps: Fraction, react: float = REACT["energy"]
) -> list[float]:
    """Steps that follow the strength of a sound's onsets.

    envelope, rate: as `strengths` takes them. Returns steps as `on_beats` does; in silence they are even.
    """
    return _mixed(strengths(envelope, rate, frames, fps), react)


def strengths(
    envelope: Sequence[float],
    rate: float,
    frames: int,
    fps: Fraction,
    closed: bool = False,
    shares: Sequence[float] = (),
) -> list[float]:
    """How strong a sound is at each frame: the largest value that is nearer to it than to other frames, or what is left of
    earlier ones, which fade.

    envelope: 0 or more, `rate` values a second from time 0 on. closed: what is left after the last frame goes on fading in
    the first. shares: for each frame, what of the strength at it counts; (): all of it. What fades of it is not cut off
    where the next share is less.
    """
    edges = [math.ceil(max(2 * frame - 1, 0) * Fraction(rate) / (2 * fps)) for frame in range(frames + 1)]
    shares = shares or [1.0] * frames
    peaks = [
        share * max((*envelope[first : max(last, first + 1)], 0.0))
        for share, (first, last) in zip(shares, pairwise(edges))
    ]
    result, left, fading = [0.0] * frames, 0.0, math.exp(-1 / (FADE * float(fps)))
    for _ in range(1 + closed):
        for frame, peak in enumerate(peaks):
            left = result[frame] = max(left * fading, peak)
        if closed and peaks:  # what is nearest to the frame after the last, which is the first again
            peaks[0] = max((peaks[0], *(shares[0] * value for value in envelope[edges[-1] :])))
    return result


def strikes(
    beats: Sequence[float], frames: int, fps: Fraction, closed: bool = False, shares: Sequence[float] = ()
) -> list[float]:
    """The same for beats without a sound: each has strength 1."""
    at = {int(beat * fps + Fraction(1, 2)) for beat in map(Fraction, beats) if beat >= 0}
    return strengths([float(frame in at) for frame in range(frames + 1)], float(fps), frames, fps, closed, shares)


def _mixed(steps: list[float], react: float) -> list[float]:
    """A mixture of even steps and of these, with a mean of 1. react: the share of these."""
    mean = sum(steps) / max(len(steps), 1)
    if not mean:
        return [1.0] * len(steps)
    react *= 1 - LEAST
    return [1 - react + react * step / mean for step in steps]
