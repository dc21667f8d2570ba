"""A rough cut: which of the pictures that are there each frame of a film shows, while others are still to be made.

Places in, places out; knows no pictures and no files.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Sequence
from itertools import groupby, pairwise
from typing import Any


def cut(
    places: Sequence[float], there: Collection[float], turn: float = math.inf, spreading: bool = False
) -> list[float]:
    """For each frame the place of a picture that is there: its own, or the nearest.

    places: of the frames, 0 and more. there: of pictures, one or more. turn: the place that is the first once more, of a
        walk that is closed.
    spreading: pictures are being spread so that neighbours look equally far apart, and where the frames go is not known
        yet: between two keyframes (whole places) that are there, a frame that is to have done a quarter of the way shows
        the picture that a quarter of those there come before.
    """
    known = sorted(there)
    around = [known[-1] - turn, *known, known[0] + turn]  # infinitely far, where nothing leads back

    def nearest(place: float) -> float:
        at = bisect_left(around, place)
        a, b = around[at - 1], around[at]
        return known[(at - 1 if b - place < place - a else at - 2) % len(known)]

    def ranked(place: float) -> float:
        start = int(place)
        end = float(start + 1 if start + 1 < turn else 0)
        if not place % 1 or start not in there or end not in there:
            return nearest(place)
        some = [*known[bisect_left(known, start) : bisect_left(known, start + 1)], end]
        return some[round(place % 1 * (len(some) - 1))]

    return [ranked(place) if spreading else nearest(place) for place in places]


def longest_hold(places: Sequence[Any], shown: Sequence[Any]) -> int:
    """For how many frames at most one picture stands in for others: a walk's own rests do not count."""
    moving = [True, *(a != b for a, b in pairwise(places))]
    return max(sum(moves for moves, _ in some) for _, some in groupby(zip(moving, shown), key=lambda each: each[1]))
