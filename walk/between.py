"""Which frames of a film are rendered, and which lie between two of these, to be interpolated.

Of every few frames one is rendered: where the walk moves fast they lie close together, where it rests far apart. So each
interpolated frame is as far on the way between two rendered ones as it is on the path. Keyframes are always rendered, and
so are the frames at which a pulse turns. Which ones are, between two keyframes, depends on the frames there alone.

Knows positions, no pictures.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import NamedTuple

from walk import Error
from walk.timeline import CALM, Walk

TINY = 1e-6  # of a stride, that sums may be off
GRAIN = 2**16  # parts of the way between two pictures: a frame is found there again, whatever the last bit of a sum


class Spot(NamedTuple):
    """Where a frame is: on the way from one rendered frame to another, by their numbers among these. share: of the way,
    below 1; at 0 it is the first of them."""

    before: int
    after: int
    share: float


@dataclass(frozen=True)
class Thinned:
    """A walk of which not every frame is rendered. full: all of its frames. rendered: the indices of those that are."""

    full: Walk
    rendered: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every frame is rendered."""
        return len(self.rendered) == self.full.frames

    @cached_property
    def walk(self) -> Walk:
        """The rendered frames alone, at the full walk's rate, which is not theirs."""
        if self.is_whole:
            return self.full
        some = ([each[index] for index in self.rendered] if each else () for each in _coordinates(self.full))
        return self.full.with_positions(*some)

    @cached_property
    def spots(self) -> tuple[Spot, ...]:
        """Where each frame is."""
        done = _done(self.full)
        spots, turn = [], len(self.rendered)
        for index in range(self.full.frames):
            number = bisect_right(self.rendered, index) - 1
            start, after = self.rendered[number], (number + 1) % turn
            end = self.rendered[number + 1] if number + 1 < turn else len(done) - 1  # of a loop, where it begins again
            way = done[end] - done[start]
            share = round((done[index] - done[start]) / way * GRAIN) / GRAIN if way else 0.0
            spots.append(Spot(after, after, 0.0) if share >= 1 else Spot(number, after if share else number, share))
        return tuple(spots)

    def filled(self, moved: Walk) -> Walk:
        """All frames, where `moved` has those that are rendered, and the others between them."""
        if self.is_whole:
            return moved
        turn = len(moved.keyframes) * moved.closed

        def between(positions: Sequence[float], cycle: int) -> Iterator[float]:
            for before, after, share in self.spots if positions else ():
                a, b = positions[before], positions[after]
                at = a + share * (b + cycle * (b < a) - a) if share else a
                yield at - cycle if cycle and at >= cycle else at

        return moved.with_positions(*map(between, _coordinates(moved), (turn, turn, 0)))

    def needed(self, indices: Iterable[int]) -> list[int]:
        """The numbers of the rendered frames that these frames are, or are between."""
        return sorted({number for index in indices for number in self.spots[index][:2]})


def thinned(walk: Walk, every: int = 1, rendered: Sequence[int] = ()) -> Thinned:
    """A walk of which about one frame in `every` is rendered. rendered: which ones, where that is known.

    Raises Error for some that it does not have."""
    if every == 1:
        return Thinned(walk, tuple(range(walk.frames)))
    if rendered:
        walk.check(rendered)
        if rendered[0] or any(b <= a for a, b in pairwise(rendered)):
            raise Error("rendered frames are given in order, from 0 on")
        return Thinned(walk, tuple(rendered))
    done, corners, found = _done(walk), _corners(walk), set[int]()
    turns = sorted(_turns(walk.pulse, walk.closed) - {*corners})
    for start, end in pairwise([*corners, *[walk.frames] * walk.closed]):
        stride = (done[end] - done[start]) / -(-(end - start) // every)
        between = turns[bisect_right(turns, start) : bisect_left(turns, end)]
        for a, b in pairwise([start, *between, end]):
            found.add(a)
            way = done[b] - done[a]
            parts = math.ceil(way / stride - TINY) if stride else 1
            for part in range(1, parts):
                at = done[a] + way * part / parts
                index = bisect_left(done, at, a + 1, b)
                nearest = index - (at - done[index - 1] < done[index] - at)
                if a < nearest < b:
                    found.add(nearest)
    return Thinned(walk, tuple(sorted({*found, *corners})))


def _coordinates(walk: Walk) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    return walk.positions, walk.noise, walk.pulse


def _done(walk: Walk) -> list[float]:
    """How much has changed on the path up to each frame; of a closed walk also up to its end. From one keyframe to the
    next it is 1; of that, and of a pulse, the noise alone counts for half."""
    cycle, changes = len(walk.keyframes) * walk.closed, [0.0] * (walk.frames - (not walk.closed))
    weights = (0.5, 0.5, 0.5) if walk.noise else (1.0, 0.0, 0.5)
    for positions, turn, weight in zip(_coordinates(walk), (cycle, cycle, 0), weights):
        for index, (a, b) in enumerate(pairwise((*positions, *positions[: walk.closed]))):
            changes[index] += weight * ((b - a) % turn if turn else abs(b - a))
    return [0.0, *accumulate(changes)]


def _corners(walk: Walk) -> list[int]:
    """The first frame and an open walk's last, and the first and the last of those that show a keyframe, or its noise."""
    corners = {0} | ({walk.frames - 1} if not walk.closed else set())
    for positions in filter(None, (walk.positions, walk.noise)):
        ends = (positions[-1:] if walk.closed else (-1.0,)) + positions + (positions[:1] if walk.closed else (-1.0,))
        for index, (before, at, after) in enumerate(zip(ends, positions, ends[2:])):
            if not at % 1 and not before == at == after:
                corners.add(index)
    return sorted(corners)


def _turns(pulse: Sequence[float], closed: bool) -> set[int]:
    """Frames at which a pulse turns: from each to the next it rises or falls, but for what is not seen. Of several at the
    top the first, and of several at the bottom the last, so that it rises as fast as it does."""
    count, start = len(pulse), pulse.index(max(pulse)) if pulse and closed else 0
    turns, low, high = set[int](), start, start
    rises: bool | None = None
    for index in ((start + passed) % count for passed in range(count + (closed and count > 0))):
        low = index if pulse[index] <= pulse[low] else low
        high = index if pulse[index] > pulse[high] else high
        if rises is not True and pulse[index] - pulse[low] >= CALM:
            turns.add(low)
            rises, high = True, index
        elif rises is not False and pulse[high] - pulse[index] >= CALM:
            turns.add(high)
            rises, low = False, index
    return turns
