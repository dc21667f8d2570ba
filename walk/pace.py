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

METER = 4  # beats in a bar
PACES = ("even", "energy", "beat")
REACT = {"energy": 0.8, "beat": 1.0}  # how far from even speed
LEAST = 0.03  # of even speed: never quite still
KICK = 0.12  # seconds in which a move fades to 1/e; on fast beats, a fifth of one
GAP = 2.5  # usual beats without any: there the picture glides


def on_beats(beats: Sequence[float], frames: int, fps: Fraction, react: float = REACT["beat"]) -> list[float]:
    """Steps that are largest into the frame nearest to each beat, and fade until the next.

    beats: increasing seconds. Returns one step for each frame, over 0, of mean 1: the way from the
    frame before it. Without a pulse, before the first beat, and in long gaps between beats, it is even.
    """
    at = sorted({int(beat * fps + Fraction(1, 2)) for beat in map(Fraction, beats) if beat >= 0})
    if len(at) < 2:
        return [1.0] * frames
    usual = median(float(b - a) for a, b in pairwise(at))
    fade = min(KICK * float(fps), usual / 5)
    kick = [math.exp(-i / fade) for i in range(int(usual * GAP) + 1)]
    glide = sum(kick[: max(1, int(usual))]) / usual
    steps = [0.0] * frames
    for start, end in pairwise([-1, *at, frames]):
        for frame in range(max(start, 0), min(end, frames)):
            fast = kick[frame - start] if start >= 0 and frame - start < len(kick) else 0.0
            steps[frame] = fast + (glide if start < 0 or end - start > usual * GAP else 0.0)
    return _mixed(steps, react)


def with_energy(
    envelope: Sequence[float], rate: float, frames: int, fps: Fraction, react: float = REACT["energy"]
) -> list[float]:
    """Steps that follow the strength of a sound's onsets.

    envelope: 0 or more, `rate` values a second from time 0 on. A frame has the strongest of what is
    nearer to it than to other frames, or what the frames before have left: onsets fade like beats.
    Returns as `on_beats`; in silence all is even.
    """
    steps, left, fading = [], 0.0, math.exp(-1 / (KICK * float(fps)))
    for frame in range(frames):
        first, last = (math.ceil(max(2 * frame + side, 0) * Fraction(rate) / (2 * fps)) for side in (-1, 1))
        left = max(left * fading, *envelope[first : max(last, first + 1)], 0.0)
        steps.append(left)
    return _mixed(steps, react)


def _mixed(steps: list[float], react: float) -> list[float]:
    """Of even speed and these steps, at a mean of 1."""
    mean = sum(steps) / max(len(steps), 1)
    if not mean:
        return [1.0] * len(steps)
    react *= 1 - LEAST
    return [1 - react + react * step / mean for step in steps]
