"""How much of the way is done in each frame: evenly, with a sound's energy, or on its beats.

Numbers in, numbers out: knows neither sounds nor keyframes. walk.timeline spreads the frames of each
segment by these steps, so only their proportions count, and every keyframe arrives when it should.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import median

PACES = ("even", "energy", "beat", "bar")
REACT = {"energy": 0.8, "beat": 1.0, "bar": 1.0}  # how far from even speed
LEAST = 0.03  # of even speed: never quite still
FADE = 0.12  # seconds in which what an onset moves fades to 1/e
KICK = 0.1  # seconds in which a move to a beat grows e-fold; on fast beats at most a fifth of one
SWING = 1 / 7  # of a bar in which a move to one does: faster, a step would be steeper than walk.timeline has them
GAP = 2.5  # usual beats without any: there the picture glides


def on_beats(
    beats: Sequence[float], frames: int, fps: Fraction, react: float = REACT["beat"], kick: float = KICK
) -> list[float]:
    """Steps that grow towards each beat, are largest into the frame nearest to it, and rest from there on.

    So a beat is when the picture arrives, as a ball does on the ground, and what it rests on until the next one nears is
    what it has arrived at: a keyframe, if that comes on a beat. (Moves that begin on the beat and fade would pass the
    keyframe at their fastest, and rest on what is half of it and half of the next.)

    beats: increasing seconds. kick: as KICK. Returns one step for each frame, over 0, of mean 1: the way from the
    frame before it. Without a pulse, before the first beat, and in long gaps between beats, it is even. The film's end
    is arrived at like a beat.
    """
    at = sorted({int(beat * fps + Fraction(1, 2)) for beat in map(Fraction, beats) if beat >= 0})
    if len(at) < 2:
        return [1.0] * frames
    usual = median(float(b - a) for a, b in pairwise(at))
    growth = min(kick * float(fps), usual / 5)
    move = [math.exp(-i / growth) for i in range(int(usual * GAP) + 1)]  # by frames before the beat
    glide = sum(move[: max(1, int(usual))]) / usual
    steps = [glide] * frames
    for start, end in pairwise([at[0] - 1, *at, frames]):
        for frame in range(start + 1, min(end + 1, frames)):
            fast = move[end - frame] if end - frame < len(move) else 0.0
            steps[frame] = fast + (glide if end - start > usual * GAP else 0.0)
    return _mixed(steps, react)


def on_bars(
    bars: Sequence[float], seconds: float, frames: int, fps: Fraction, react: float = REACT["bar"]
) -> list[float]:
    """The same for bars, and for the film's end, lest one of a single bar has no pulse. seconds: the film lasts."""
    pulse = [*bars, seconds]
    usual = median([b - a for a, b in pairwise(pulse)] or [seconds])
    return on_beats(pulse, frames, fps, react, SWING * usual)


def with_energy(
    envelope: Sequence[float], rate: float, frames: int, fps: Fraction, react: float = REACT["energy"]
) -> list[float]:
    """Steps that follow the strength of a sound's onsets.

    envelope, rate: as `strengths` takes them. Returns as `on_beats`; in silence all is even.
    """
    return _mixed(strengths(envelope, rate, frames, fps), react)


def strengths(envelope: Sequence[float], rate: float, frames: int, fps: Fraction, closed: bool = False) -> list[float]:
    """How strong a sound is at each frame; closed: also after the last one, where it begins again.

    envelope: 0 or more, `rate` values a second from time 0 on. A frame has the strongest of what is
    nearer to it than to other frames, or what the frames before have left: what an onset moves fades.
    """
    edges = [math.ceil(max(2 * frame - 1, 0) * Fraction(rate) / (2 * fps)) for frame in range(frames + 1)]
    peaks = [max((*envelope[first : max(last, first + 1)], 0.0)) for first, last in pairwise(edges)]
    result, left, fading = [0.0] * frames, 0.0, math.exp(-1 / (FADE * float(fps)))
    for _ in range(1 + closed):
        for frame, peak in enumerate(peaks):
            left = result[frame] = max(left * fading, peak)
        if closed and peaks:  # what is nearest to the frame after the last
            peaks[0] = max((peaks[0], *envelope[edges[-1] :]))
    return result


def strikes(beats: Sequence[float], frames: int, fps: Fraction, closed: bool = False) -> list[float]:
    """The same of beats that are known without a sound: each is 1."""
    at = {int(beat * fps + Fraction(1, 2)) for beat in map(Fraction, beats) if beat >= 0}
    return strengths([float(frame in at) for frame in range(frames + 1)], float(fps), frames, fps, closed)


def _mixed(steps: list[float], react: float) -> list[float]:
    """Of even speed and these steps, at a mean of 1."""
    mean = sum(steps) / max(len(steps), 1)
    if not mean:
        return [1.0] * len(steps)
    react *= 1 - LEAST
    return [1 - react + react * step / mean for step in steps]
