"""A rough cut: which of the finished pictures each frame of a film shows, while others are still to be made.

Places in, places out; knows no pictures and no files.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import groupby, pairwise
from typing import Any


def cut(
    places: Sequence[float], finished: Collection[float], turn: float = math.inf, spreading: bool = False
) -> list[float]:
    """For each frame the place of a finished picture: its own, or the nearest.

    places: of the frames, 0 and more. finished: places of pictures, one or more. turn: in a closed walk, the place that
        is the first once more.
    spreading: pictures are being spread so that neighbours look equally far apart, and where the frames go is not known
        yet. Then between two finished keyframes (whole places), a frame that is to have done a quarter of the way shows
        the picture that has a quarter of the finished ones before it.
    """
    known = sorted(finished)
    around = [known[-1] - turn, *known, known[0] + turn]  # infinitely far, where nothing leads back

    def nearest(place: float) -> float:
        at = bisect_left(around, place)
        a, b = around[at - 1], around[at]
        return known[(at - 1 if b - place < place - a else at - 2) % len(known)]

    def by_rank(place: float) -> float:
        start = int(place)
        end = float(start + 1 if start + 1 < turn else 0)
        if not place % 1 or start not in finished or end not in finished:
            return nearest(place)
        segment = [*known[bisect_left(known, start) : bisect_left(known, start + 1)], end]
        return segment[round(place % 1 * (len(segment) - 1))]

    return [by_rank(place) if spreading else nearest(place) for place in places]


def longest_hold(places: Sequence[Any], shown: Sequence[Any]) -> int:
    """The most frames for which one picture stands in for others; a walk's own rests do not count."""
    moving = [True, *(a != b for a, b in pairwise(places))]
    return max(sum(moves for moves, _ in held) for _, held in groupby(zip(moving, shown), key=lambda each: each[1]))
