"""Even speed for the eye: frames placed so that neighbours look equally far apart.

Equal steps along the path are not equal steps for the eye: a model rests near each keyframe, then
turns one thing into the other within a few frames. So a film is rendered from the coarse to the fine:
some pictures of each segment, more of them where neighbours differ most, and at last those between,
where by then they are known to belong. Nearly every picture becomes a frame of the film.

Knows pictures and positions; makes no picture and touches no disk. What it does in a segment depends
on that segment alone, and on the frames that an earlier film had in it, so that an edit elsewhere moves nothing.
"""

from __future__ import annotations

import math
import mmap
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from walk.timeline import GRAIN, Walk, by_segment

FIRST = 7  # frames that are looked at inside a segment, to begin with
LEAST = 4  # frames for each of them
WIDE = 3  # steps; two pictures further apart than that have another one looked at between them
FINE = 512  # parts of a mean step along the path; if so little of it is WIDE, the model jumps
PRICE = 0.15  # of a picture that becomes no frame, in squares of a step's logarithm
EARLIER = 0.03  # the same of an earlier film's: at twice its frames all serve, at 1.2 times they would stutter
REACH = 7  # the next frame is looked for among so many pictures,
CLOSE = 0.3  # or among all that are within this part of a step for each of them, as beside a jump
STILL = 0.1  # of the mean step: less is none, as where a walk rests
STEADY = 0.05  # of the way is spread evenly along the path, whatever the pictures say
BEAT = 5  # times the step before or after it: such a step is meant, and pictures from within it would blur it
LOST_EARLIER = 0.5  # of an earlier film's frames between beats serve nowhere: so many are expected to
LOST = 0.25  # of the pictures looked at between beats become no frames: so many of them are expected to
SHARE = 0.1  # pictures a frame, where none of them can become one
KEPT = 224  # pictures of which the features stay in memory
TOGETHER = 256  # frames, of whole segments, are looked at before others: their features mostly stay in memory
SEEN = 128  # pixels on a picture's short side, or up to twice as many, are what is looked at
ONE = 2**14  # as which 1 is kept, in 16 bits: no two of our numbers are further apart than 2
CONTRAST = 0.1  # of OKLab: where a detail's contrast begins to saturate

# sRGB levels to linear light; that to cones; their cube roots to OKLab (Ottosson 2020).
_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_M1 = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_M2 = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)


def first_look(frames: float) -> int:
    """At how many pictures of a segment with so many frames inside."""
    count = FIRST
    while count > frames / LEAST:
        count //= 2
    return count


class Earlier(NamedTuple):
    """Frames that an earlier film had in a segment: which places were asked for, and where they belong, in order. Or
    pictures that were looked at before, for which no places were asked."""

    asked: list[float]
    belong: list[float]


class Pacer:
    """Finds out, while a film is rendered, where its frames belong.

        before = []
        while (wanted := pacer.wanted(batch)) or before:
            ...  # render them, and meanwhile, or then,
            pacer.saw(before)
            before = wanted

    `pacer.walk` is then the walk with the same arrivals, and between them frames that look evenly far
    apart. They are rendered, but for those of segments with too few of them, which stay where they are.
    How much of the way between two keyframes is done at each moment stays as it was, too: what changes
    is that the way is measured by the eye.
    """

    def __init__(
        self,
        walk: Walk,
        look: Callable[[float], Features],
        even: bool = True,
        further: bool = True,
        earlier: Mapping[int, Earlier] | None = None,
    ) -> None:
        """look: `features` of the picture at a position that was seen. even: whether to move frames, or only to
        look at some. further: whether to go beyond a first look, of a few pictures in each segment.
        earlier: by segment, the frames that a film before had in it. Of as many, all are kept; of another number, such as
        a draft's at half the rate, those that serve."""
        self.asked = walk
        self._seen: set[float] = set()
        self._named: set[float] = set()  # and not seen yet
        seen = lru_cache(KEPT)(look)
        turn = len(walk.keyframes)

        @lru_cache(None)
        def apart(a: float, b: float) -> float:
            return distance(seen(a % turn), seen(b % turn))

        paths, noises = _places(walk.positions), _places(walk.noise)
        before = [0, *accumulate(len(places) + 1 for places in paths.values())]
        turns = math.ceil(before[-1] / TOGETHER)
        self._turns = {start: count * turns // before[-1] for start, count in zip(paths, before)}
        self._segments = [
            _Segment(
                start,
                turn,
                places,
                noise=noises.get(start, []) if walk.has_own_noise else None,
                apart=apart,
                even=even,
                further=further,
                earlier=(earlier or {}).get(start),
            )
            for start, places in paths.items()
        ]
        # Whether where frames belong depends on what others were asked for before.
        self.refined = any(it.earlier and it.earlier.asked != it.places for it in self._segments)
        self.besides = 0  # pictures that were asked for and become no frames, as far as is known by now
        self._ready = [*self._segments]  # of which all that they asked for was seen
        self._fresh: list[_Segment] = []  # of which nothing is in the queue yet
        self._waiting: defaultdict[float, list[_Segment]] = defaultdict(list)  # for a position
        self._listed: set[float] = set()
        self._queue: list[tuple[float, int, float]] = []  # a heap: what comes first, in which order, a position

    def wanted(self, batch: int) -> list[float]:
        """The positions to be seen next, of which none was named before; none when enough is known.

        batch: that many are rendered together. Fewer are named only if nothing that was named has yet to be seen;
        until then there may be none.
        """
        self._go_on()
        # All keyframes, so that a prompt that is not as it was meant is seen at once. Then what has been wanted for longest,
        # but of some segments first, and then of the next ones: features are compared while they are in memory.
        for position, segment in _unseen(self._fresh).items():
            if position not in self._listed:
                turn = self._turns[segment.start] if position % 1 else -1
                heappush(self._queue, (turn, len(self._listed), position))
                self._listed.add(position)
        self._fresh = []
        if len(self._queue) < batch and self._named:
            return []
        named = [heappop(self._queue)[-1] for _ in range(min(batch, len(self._queue)))]
        self._named.update(named)
        return named

    def unseen(self) -> list[float]:
        """All positions to be seen next, as far as is known by now."""
        self._go_on()
        return list(_unseen(self._segments))

    def saw(self, positions: Iterable[float]) -> None:
        """positions: that were named."""
        shown = defaultdict(list)
        for position in positions:
            self._seen.add(position)
            self._named.discard(position)
            for segment in self._waiting.pop(position, []):
                shown[segment].append(segment.unseen.pop(position))
        for segment in sorted(shown, key=lambda segment: segment.start):
            segment.compare(shown[segment], self._seen)
            if not segment.unseen:
                self._ready.append(segment)

    def _go_on(self) -> None:
        """Only segments that have seen all they asked for: a look at each, after each batch, would take longer and
        longer with the film."""
        for segment in self._ready:
            before = segment.besides
            segment.go_on(self._seen)
            self.besides += segment.besides - before
            for position in segment.unseen:
                self._waiting[position].append(segment)
        self._fresh += self._ready
        self._ready = []

    @property
    def walk(self) -> Walk:
        """With what is known by now."""
        return self.asked.moved({segment.start: segment.moved for segment in self._segments})

    @property
    def unused(self) -> int:
        """How many of an earlier film's frames serve nowhere, as far as is known by now; else as many as there are to be
        do, but of those between beats about half."""

        def lost(it: _Segment, earlier: Earlier) -> int:
            if it.moved:
                return len({*earlier.belong} - {*it.moved.values()})
            serving = min(len(earlier.belong), len(it.places))
            return len(earlier.belong) - (round(serving * (1 - LOST_EARLIER)) if it.beats else serving)

        return sum(lost(it, it.earlier) for it in self._segments if it.earlier)

    @property
    def distances(self) -> list[tuple[float, float]]:
        """(position, how far from it the next looks) of what was seen, in order."""
        return [(segment.start + a, d) for segment in self._segments for a, _, d in segment.gaps()]


class _Segment:
    """What is between two keyframes. A place in it is 0 .. 1, and so is what is done of the way."""

    def __init__(
        self,
        start: int,
        turn: int,
        places: list[float],
        noise: list[float] | None,
        apart: Callable[[float, float], float],
        even: bool,
        further: bool,
        earlier: Earlier | None,
    ) -> None:
        self.start, self.turn = start, turn
        self.apart, self.even, self.further = apart, even, further
        self.places = places  # of the frames, on the path: how much of the way is to be done in each
        self.noise = noise
        self.done = [0.0, *self.places, 1.0]
        steps = [b - a for a, b in pairwise(self.done)]
        self.beats = any(max(a, b) > BEAT * min(a, b) for a, b in pairwise(steps))
        self.moved: dict[float, float] = {}  # where the frame of each place belongs
        few = len(self.places) < LEAST or earlier is None or len(earlier.belong) < min(FIRST, len(self.places) / LEAST)
        self.earlier = None if few or noise is not None or not even else earlier
        self.knots: list[float] = []  # places that were seen
        self.unseen: dict[float, float] = {}  # positions that are waited for, and their places
        self._rounds = self._look()
        self._asked = next(self._rounds, [])
        self._around: list[float] = []  # places that were seen or asked for
        self.besides = 0  # of them those that become no frames, as far as is known by now

    def go_on(self, seen: set[float]) -> None:
        """What to see next, if all that was asked for was seen."""
        while self._asked and seen.issuperset(map(self._position, self._asked)):
            self.knots = sorted({*self.knots, *self._asked})
            self._asked = next(self._rounds, [])
        self.unseen = {p: place for place in self._asked if (p := self._position(place)) not in seen}
        self._around = sorted({*self.knots, *self._asked})
        left = len({*self._around} - {0.0, 1.0, *self.moved.values()})
        if not self.moved and self.noise is None:  # of noise that goes its own way none becomes one
            lost = LOST_EARLIER if self.earlier else LOST
            left = round(left * lost) if self.beats and self._asked else 0
        self.besides = left

    def compare(self, places: list[float], seen: set[float]) -> None:
        """What was just seen with its neighbours, as soon as they were, too, when their features are still in memory."""
        for place in sorted(places):
            at = bisect_left(self._around, place)
            for a, b in pairwise(self._around[max(at - 1, 0) : at + 2]):
                if {self._position(a), self._position(b)} <= seen:
                    self.apart(self.start + a, self.start + b)

    def gaps(self) -> list[tuple[float, float, float]]:
        """(from, to, distance) between each two neighbours that were seen."""
        return [(a, b, self.apart(self.start + a, self.start + b)) for a, b in pairwise(self.knots)]

    def _position(self, place: float) -> float:
        return (self.start + place) % self.turn

    def _look(self) -> Iterator[list[float]]:
        """Yields the places to be seen; goes on when they have been."""
        count = first_look(len(self.places))
        if self.earlier and self.earlier.asked == self.places and self.further:
            self.moved = dict(zip(self.places, self.earlier.belong))
            return
        among = self.earlier.belong if self.earlier else self.places
        first = [among[(i + 1) * len(among) // (count + 1)] for i in range(count)]
        if self.earlier and self.further:
            first = among
        yield [0.0, *(first or self.places), 1.0]
        if not self.even or not count:
            return
        # Of a picture that changes in many small jumps, each would be looked for.
        most = max(count, LEAST, len(self.places) * (1 if self.noise is None else SHARE))
        while self.further and len(self.knots) - 2 < most and (wide := self._wide()):
            yield wide
        if self.noise is not None:
            way = self._way()
            if way is not None:
                places = sorted({*self.places, *self.noise})
                self.moved = dict(zip(places, self._at(way, places)))
            return
        kept = set() if self.beats or self.earlier else {*first}
        for _ in range(1 if self.beats or not self.further else 2):  # again when the frames themselves were seen
            places = self._placed(kept)
            self.moved = dict(zip(self.places, places))
            if self.earlier:
                kept = {*places} & {*self.earlier.belong}
            knots = {*self.knots}
            unseen = [place for place in places if place not in knots]
            if unseen and self.further:
                yield unseen

    def _way(self) -> np.ndarray | None:
        """How much of the way is done at each knot; None where nothing moves.

        A jump, which no frame can come between, counts as one frame's step, lest others rest beside it.
        """
        lengths, distances = np.diff(self.knots), np.array([d for *_, d in self.gaps()])
        if not distances.any():
            return None
        steps = STEADY * lengths + (1 - STEADY) * distances / distances.sum()
        frames = len(self.done) - 1
        jumps = (lengths <= self._least()) & (steps > WIDE / frames)
        steps[jumps] = 1 / frames
        way = np.concatenate([[0.0], np.cumsum(steps)])
        return way / way[-1]

    def _least(self) -> float:
        """Of the way along the path: where two knots are no further apart, no other is looked for between them."""
        return max(1 / (FINE * (len(self.done) - 1)), 2 / GRAIN)

    def _wide(self) -> list[float]:
        """Where frames belong that are half-way between neighbours WIDE apart; between those much further, two more."""
        way = self._way()
        if way is None:
            return []
        frames = np.interp(way, self.done, range(len(self.done)))
        indices = set()
        for (a, b), (x, y) in zip(pairwise(self.knots), pairwise(frames)):
            if y - x > WIDE and b - a > self._least():
                parts = 4 if y - x > 2 * WIDE else 2
                indices |= {round(x + (y - x) * part / parts) for part in range(1, parts)}
        knots = {*self.knots}
        return [place for place in self._at(way, [self.done[i] for i in sorted(indices)]) if place not in knots]

    def _placed(self, kept: set[float]) -> list[float]:
        """The places of the frames: knots where they serve (those to be kept, anyway), and others between them.

        A knot that becomes a frame takes another share of the way than that frame was to have, and so
        do those up to the next. Of all choices the best is taken (shortest path, R. Bellman 1958): with
        the least squared logarithm of step by step to be had, over all frames, and a price for each knot left out.
        """
        way = self._way()
        if way is None:
            return self.places
        spread = 1
        while (chosen := self._chosen(way, kept, spread)) is None:
            spread *= 2
        ways: list[float] = []  # done at each frame
        for (j, h), (k, i) in pairwise(chosen):
            share = (way[k] - way[j]) / (self.done[i] - self.done[h])
            ways += [*(way[j] + share * (done - self.done[h]) for done in self.done[h + 1 : i]), way[k]]
        places = self._at(way, ways)
        for k, i in chosen[1:]:
            places[i - 1] = self.knots[k]
        return places[:-1]

    def _chosen(self, way: np.ndarray, kept: set[float], spread: int) -> list[tuple[int, int]] | None:
        """(knot, frame) pairs, from the keyframe's to the next one's; None if `kept` find no room within `spread`
        frames of where they belong."""
        last = len(self.knots) - 1
        ideal = np.interp(way, self.done, range(len(self.done)))
        reach = np.searchsorted(ideal, ideal - CLOSE * REACH * spread)
        kept_by = np.cumsum([knot in kept for knot in self.knots])
        known = {*self.earlier.belong} if self.earlier else set()
        price = [0.0, *accumulate(EARLIER if knot in known else PRICE for knot in self.knots)]  # of all before a knot
        best: list[dict[int, tuple[float, int, int]]] = [{0: (0.0, 0, 0)}]  # of each knot, by frame: cost, and whence
        for k in range(1, last + 1):
            room = 1 + kept_by[k - 1], len(self.places) - (kept_by[-1] - kept_by[k])
            low, high = np.clip((math.floor(ideal[k]) - spread, math.ceil(ideal[k]) + spread), *room)
            best.append({})
            for i in range(low, high + 1) if k < last else [len(self.done) - 1]:
                ways = []
                for j in range(k - 1, min(reach[k], max(k - REACH * spread, 0)) - 1, -1):
                    ways += [
                        (cost + price[k] - price[j + 1] + self._strain(way[k] - way[j], h, i), j, h)
                        for h, (cost, _, _) in best[j].items()
                        if h < i
                    ]
                    if self.knots[j] in kept:
                        break
                if ways:
                    best[k][i] = min(ways)
        if not best[last]:
            return None
        chosen = [(last, len(self.done) - 1)]
        while chosen[-1][0]:
            chosen.append(best[chosen[-1][0]][chosen[-1][1]][1:])
        return chosen[::-1]

    def _strain(self, way: float, h: int, i: int) -> float:
        """Of the steps from frame h to frame i, if they share so much of the way. Slow ones count for less."""
        asked = self.done[i] - self.done[h]
        return min(i - h, asked * (len(self.done) - 1)) * math.log(way / asked) ** 2

    def _at(self, way: np.ndarray, done: Sequence[float]) -> list[float]:
        """Where so much of the way is done; only what is done at a keyframe is the keyframe."""
        places = _monotone(way, np.array(self.knots))(np.array(done)).tolist()
        inner = ((min(max(round(place * GRAIN), 1), GRAIN - 1)) / GRAIN for place in places)
        return [place if 0 < by < 1 else float(by) for place, by in zip(inner, done)]


def predicted(
    walk: Walk,
    distances: Sequence[tuple[float, float]],
    noise: Mapping[int, float] | None = None,
    swings: Mapping[float, Sequence[float]] | None = None,
) -> list[float]:
    """How far apart each two neighbouring frames will look; in a closed walk also the last and the first.

    distances: (position, how far from it the next looks), in any order, of pictures that were seen, the keyframes
    at both ends of a segment among them, and `cuts`. A segment of which nobody saw the inside counts as still.
    noise: by segment, which share of a change is the noise's, where that goes its own way; half, where nobody knows.
    swings: by how far the noise swings out, 0 the first, how far from each keyframe's picture it looks.
    """
    gaps: defaultdict[int, dict[float, float]] = defaultdict(dict)
    for position, d in sorted(distances):
        gaps[int(position)][position % 1] = max(d, 1e-9)
    ways, lengths = {}, [0.0]
    within = by_segment(walk.positions)
    starts = [start for start in range(walk.segments) if len(gaps[start]) > (start in within)]
    for start in starts:
        way = np.cumsum([0.0, *gaps[start].values()])
        ways[start] = _monotone(np.array([*gaps[start], 1.0]), way)
        lengths.append(float(way[-1]))
    before = list(accumulate(lengths))

    def done(position: float) -> float:
        """Of the way, from the first keyframe on."""
        start = int(position)
        return before[bisect_left(starts, start)] + (float(ways[start](position % 1)) if start in ways else 0.0)

    total = before[-1]

    def steps(positions: Sequence[float]) -> list[float]:
        ways_done = [done(position) for position in (*positions, *positions[: walk.closed])]
        return [b - a if b >= a else b - a + total for a, b in pairwise(ways_done)]

    found = steps(walk.positions)
    if walk.noise:
        shares = [(noise or {}).get(int(position), 0.5) for position in walk.positions]
        found = [(1 - x) * a + x * b for x, a, b in zip(shares, found, steps(walk.noise))]
    if swings and walk.pulse:
        turns = pairwise((*walk.pulse, *walk.pulse[: walk.closed]))
        pulses, looks = [*swings], np.array([*swings.values()])
        swung = [np.interp(abs(b - a), pulses, looks[:, int(at)]) for at, (a, b) in zip(walk.positions, turns)]
        found = [math.hypot(*both) for both in zip(found, swung)]
    return found


def cuts(walk: Walk, keyframes: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """(position, how far from it the next looks) of keyframes from which the walk goes to the next at one stroke.

    keyframes: their pictures.
    """
    within = by_segment(walk.positions)
    at_once = [(k, (k + 1) % len(keyframes)) for k in range(walk.segments) if k not in within]
    return [(float(a), distance(features(keyframes[a]), features(keyframes[b]))) for a, b in at_once]


class Features(NamedTuple):
    """What the eye takes from a picture, for `distance`."""

    rows: np.ndarray  # (3, n), int16
    levels: np.ndarray  # (height, width, 3), int16


def features(picture: np.ndarray) -> Features:
    """Of a picture (height, width, 3; uint8).

    Both in ONEs. levels: of sRGB, 0 .. 1.
    rows: a normalised Laplacian pyramid (V. Laparra, J. Balle, A. Berardino & E. P. Simoncelli, 'Perceptual
    image quality assessment using a normalized Laplacian pyramid', 2016) of OKLab (B. Ottosson, 'A
    perceptual color space for image processing', 2020): on every scale z is what 2x2 means f leave
    out of x, and y is z adapted to the contrast around it.
    """
    step = max(1, min(picture.shape[:2]) // SEEN)
    levels = reduced(picture, step)
    light = reduced(_LINEAR.take(picture), step)
    with np.errstate(divide="ignore"):  # of black; its root comes out as 0
        roots = np.exp(np.log(_M1 @ light.reshape(-1, 3).T) / np.float32(3))  # several times as fast as cbrt
    x = (_M2 @ roots).reshape(3, *light.shape[:2])
    rows = []
    while min(x.shape[1:]) >= 16:
        _, h, w = x.shape
        z = x[:, : h // 2 * 2, : w // 2 * 2].reshape(3, h // 2, 2, w // 2, 2).copy()
        f = _of_fours(z)
        z -= f[:, :, None, :, None]
        contrast = np.sqrt(_of_fours(z[0] ** 2 + z[1] ** 2 + z[2] ** 2))
        z /= (1 + contrast / CONTRAST)[:, None, :, None]
        rows.append(z.reshape(3, -1))
        x = f
    rows.append(x.reshape(3, -1))
    return _apart(np.rint(np.concatenate(rows, axis=1) * np.float32(ONE)), np.rint(levels * np.float32(ONE / 255)))


def _apart(rows: np.ndarray, levels: np.ndarray) -> Features:
    """In pages of their own: among arrays that come and go, what stays leaves holes, and memory grows with the film."""
    kept = np.frombuffer(mmap.mmap(-1, 2 * (rows.size + levels.size)), np.int16)
    kept[: rows.size] = rows.ravel()
    kept[rows.size :] = levels.ravel()
    return Features(kept[: rows.size].reshape(rows.shape), kept[rows.size :].reshape(levels.shape))


def distance(a: Features, b: Features) -> float:
    """How much the eye sees change between two pictures: a metric, 0 for nothing and 1 from black to white.

    The mean of two: each scale's mean colour difference, summed, which agrees with FLIP, a model of how the
    eye compares two pictures; and the root mean square of the levels, which weighs large changes of a few
    places as ColorVideoVDP does, a model of how it sees one follow the other (tests/benchmarks/distances.py).
    """
    rows = (a.rows - b.rows).astype(np.float32)
    rows *= rows
    scales = np.sqrt(rows[0] + rows[1] + rows[2]) @ _weights(*a.levels.shape[:2])
    levels = (a.levels - b.levels).astype(np.float32).ravel()
    return float(scales + math.sqrt(levels @ levels / levels.size)) / (2 * ONE)


@lru_cache
def _weights(height: int, width: int) -> np.ndarray:
    """Of each place in a row, that every scale counts by its mean."""
    parts = []
    while min(height, width) >= 16:
        height, width = height // 2, width // 2
        parts.append(np.full(4 * height * width, 1 / (4 * height * width), np.float32))
    return np.concatenate([*parts, np.full(height * width, 1 / (height * width), np.float32)])


def reduced(x: np.ndarray, step: int) -> np.ndarray:
    """Means, float32, of step x step pixels (height, width, channels); an incomplete last row or column is left out."""
    h, w, channels = x.shape[0] // step, x.shape[1] // step, x.shape[2]
    rows = x[: h * step, : w * step].reshape(h, step, w, step, channels)
    lines = sum((rows[:, i] for i in range(1, step)), start=rows[:, 0].astype(np.float32))  # numpy's mean is slow
    return sum((lines[:, :, i] for i in range(1, step)), start=lines[:, :, 0]) / np.float32(step * step)


def unevenness(steps: Sequence[float]) -> float:
    """The largest step over the median of those that move; 0 where nothing moves."""
    still = STILL * sum(steps) / max(len(steps), 1)
    moving = [step for step in steps if step > still]
    return max(moving) / float(np.median(moving)) if moving else 0.0


def _of_fours(x: np.ndarray) -> np.ndarray:
    """Means over 2x2: of (..., h, 2, w, 2)."""
    columns = x[..., 0, :, :] + x[..., 1, :, :]
    return (columns[..., 0] + columns[..., 1]) / np.float32(4)


def _places(positions: Sequence[float]) -> dict[int, list[float]]:
    """By keyframe, the places of frames between it and the next, in order; none where nothing moves."""
    return {start: sorted({it % 1 for it in some}) for start, some in sorted(by_segment(positions).items())}


def _unseen(segments: Iterable[_Segment]) -> dict[float, _Segment]:
    """In the film's order, each with the first segment that waits for it."""
    found: dict[float, _Segment] = {}
    for segment in sorted(segments, key=lambda segment: segment.start):
        for position in segment.unseen:
            found.setdefault(position, segment)
    return found


def _monotone(x: np.ndarray, y: np.ndarray) -> Callable[[Any], Any]:
    """Monotone cubic interpolation (Fritsch & Butland 1984), of one or many; x and y increase."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    w = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    d = np.concatenate([slope[:1], (w[0] + w[1]) / (w[0] / slope[:-1] + w[1] / slope[1:]), slope[-1:]])

    def y_at(at: Any) -> Any:
        k = np.minimum(np.searchsorted(x, at, side="right") - 1, len(h) - 1)
        t = (at - x[k]) / h[k]
        a, b = d[k] * h[k], d[k + 1] * h[k]
        rise = y[k + 1] - y[k]
        return y[k] + t * (a + t * (3 * rise - 2 * a - b + t * (a + b - 2 * rise)))

    return y_at
