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
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from heapq import heappop, heappush
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from walk.eye import Features, distance, features
from walk.timeline import GRAIN, Walk, by_segment

FIRST = 7  # pictures inside a segment that a first look takes, at most,
LEAST = 4  # and frames that there are for each of them, at least
WIDE = 3  # mean steps; between two pictures further apart than that another one is looked at
FINE = 512  # if so small a part (1 / FINE) of a mean step along the path looks WIDE, the model jumps there
PRICE = 0.15  # of a picture that becomes no frame, in squares of a step's logarithm
# The same for an earlier film's: so that all of them serve a film of twice as many frames, where they fit, but not one of
# 1.2 times as many, which would stutter.
EARLIER_PRICE = 0.03
REACH = 7  # pictures among which the next frame is looked for,
CLOSE = 0.3  # or all that are within this part of a step for each of them, as beside a jump
STEADY = 0.05  # of the way is spread evenly along the path, whatever the pictures say
BEAT = 5  # times the step before or after it: such a step is meant, and pictures from within it would blur it
LOST = 0.25  # of the pictures looked at between beats are expected to become no frames,
LOST_EARLIER = 0.5  # and of an earlier film's frames
SHARE = 0.1  # pictures per frame that are looked at where none of them can become one
KEPT = 224  # pictures whose features stay in memory
TOGETHER = 256  # frames, of whole segments, are looked at before others: their features mostly stay in memory


def first_look_count(frames: float) -> int:
    """How many pictures a first look takes of a segment with so many frames inside."""
    count = FIRST
    while count > frames / LEAST:
        count //= 2
    return count


class Earlier(NamedTuple):
    """What is known of a segment from before: the places that an earlier film's frames were asked for at, and the
    places where they ended up, both in order. Or places of pictures that were only looked at; `asked` is empty then."""

    asked: list[float]
    pictures: list[float]


class Evener:
    """Finds out, while a film is rendered, where its frames belong.

        before = []
        while (wanted := evener.next_batch(size)) or before:
            ...  # render them, and meanwhile, or afterwards,
            evener.saw(before)
            before = wanted

    `evener.walk` is then the walk with the same arrivals, and between them frames that look evenly far
    apart. How much of the way between two keyframes is done at each moment stays as it was, too: what changes is that
    the way is measured by the eye. By then the frames are rendered, except those that an earlier film had and those
    whose noise goes its own way. In segments with too few frames, they stay where they are.
    """

    def __init__(
        self,
        walk: Walk,
        features_at: Callable[[float], Features],
        even: bool = True,
        further: bool = True,
        earlier: Mapping[int, Earlier] | None = None,
        only: Collection[int] | None = None,
    ) -> None:
        """features_at: of the picture at a position that was seen. even: whether to move frames, or only to
        look at some. further: whether to go beyond a first look at a few pictures of each segment.
        earlier: by segment, the frames that a film before had in it. If it had as many, all are kept; if it had another
        number, as a draft at half the rate has, those that serve. only: look at no segments but these, of which each has
        the frames that it would have among all."""
        self.original = walk
        self._seen: set[float] = set()
        self._pending: set[float] = set()  # positions that were handed out and not seen yet
        cached_features_at = lru_cache(KEPT)(features_at)
        cycle = len(walk.keyframes)  # in a closed walk, the position that is 0 once more

        @lru_cache(None)
        def distance_between(a: float, b: float) -> float:
            return distance(cached_features_at(a % cycle), cached_features_at(b % cycle))

        paths, noises = _places(walk.positions), _places(walk.noise)
        if only is not None:
            paths = {start: places for start, places in paths.items() if start in only}
        before = [0, *accumulate(len(places) + 1 for places in paths.values())]
        groups = math.ceil(before[-1] / TOGETHER)
        self._groups = {start: count * groups // before[-1] for start, count in zip(paths, before)}
        self._segments = [
            _Segment(
                start,
                cycle,
                places,
                noise=noises.get(start, []) if walk.has_own_noise else None,
                distance_between=distance_between,
                even=even,
                further=further,
                earlier=(earlier or {}).get(start),
            )
            for start, places in paths.items()
        ]
        # Whether where frames belong depends on what an earlier film asked for.
        self.refined = any(it.earlier and it.earlier.asked != it.places for it in self._segments)
        self.extra = 0  # pictures that were asked for and become no frames, as far as is known by now
        self._ready = [*self._segments]  # segments of which all that they asked for was seen
        self._waiting: defaultdict[float, list[_Segment]] = defaultdict(list)  # segments, by position they wait for
        self._queued: set[float] = set()  # positions, now or before
        self._queue: list[tuple[int, int, float]] = []  # a heap of (group, order, position)

    def next_batch(self, size: int) -> list[float]:
        """The positions to be seen next, each handed out only once; none when enough is known.

        size: how many are rendered together. Fewer are handed out only if nothing is still to be seen that was handed
        out before; until then there may be none.
        """
        self._advance()
        if len(self._queue) < size and self._pending:
            return []
        positions = [heappop(self._queue)[-1] for _ in range(min(size, len(self._queue)))]
        self._pending.update(positions)
        return positions

    def unseen(self) -> list[float]:
        """All positions to be seen next, as far as is known by now."""
        self._advance()
        return list(_unseen(self._segments))

    def saw(self, positions: Iterable[float]) -> None:
        """Take note that these positions, which were handed out, have been rendered."""
        shown = defaultdict(list)
        for position in positions:
            self._seen.add(position)
            self._pending.discard(position)
            for segment in self._waiting.pop(position, []):
                shown[segment].append(segment.unseen.pop(position))
        for segment in sorted(shown, key=lambda segment: segment.start):
            segment.compare(shown[segment], self._seen)
            if not segment.unseen:
                self._ready.append(segment)

    def _advance(self) -> None:
        """Let segments that have seen all they asked for ask for more. Only these: if all were gone over after each
        batch, that would take longer and longer with the film's length."""
        for segment in self._ready:
            before = segment.extra
            segment.advance(self._seen)
            self.extra += segment.extra - before
            for position in segment.unseen:
                self._waiting[position].append(segment)
        # All keyframes, so that a prompt that is not as it was meant is seen at once. Then what has been wanted for
        # longest, but of some segments first, and then of the next ones: features are compared while in memory.
        for position, segment in _unseen(self._ready).items():
            if position not in self._queued:
                group = self._groups[segment.start] if position % 1 else -1
                heappush(self._queue, (group, len(self._queued), position))
                self._queued.add(position)
        self._ready = []

    @property
    def walk(self) -> Walk:
        """With its frames where they belong, as far as is known by now."""
        return self.original.moved({segment.start: segment.moved for segment in self._segments})

    @property
    def unused(self) -> int:
        """How many of an earlier film's frames serve nowhere, as far as is known by now. Before a segment is decided,
        as many are expected to serve as it needs; between beats, about half of them."""

        def lost(it: _Segment, earlier: Earlier) -> int:
            if it.moved:
                return len({*earlier.pictures} - {*it.moved.values()})
            serving = min(len(earlier.pictures), len(it.places))
            return len(earlier.pictures) - (round(serving * (1 - LOST_EARLIER)) if it.has_beats else serving)

        return sum(lost(it, it.earlier) for it in self._segments if it.earlier)

    @property
    def distances(self) -> list[tuple[float, float]]:
        """(position, how far from it the next looks) of what was seen, in order."""
        return [(segment.start + a, d) for segment in self._segments for a, _, d in segment.gaps()]


class _Reached(NamedTuple):
    """How a knot is best reached as a certain frame: at which cost, and from which knot as which frame."""

    cost: float
    knot: int
    frame: int


class _Segment:
    """What lies between two keyframes. A place in it is 0 .. 1, and so is the share of the way that is done."""

    def __init__(
        self,
        start: int,
        cycle: int,
        places: list[float],
        noise: list[float] | None,
        distance_between: Callable[[float, float], float],
        even: bool,
        further: bool,
        earlier: Earlier | None,
    ) -> None:
        """places: of the frames, on the path: how much of the way is to be done in each. noise: the same of their
        noise; None where it goes with the prompts."""
        self.start, self.cycle = start, cycle
        self.distance_between, self.even, self.further = distance_between, even, further
        self.places = places
        self.noise = noise
        self.done = [0.0, *self.places, 1.0]
        steps = [b - a for a, b in pairwise(self.done)]
        self.has_beats = any(max(a, b) > BEAT * min(a, b) for a, b in pairwise(steps))
        self.moved: dict[float, float] = {}  # where the frame of each place belongs
        too_few = earlier is None or len(earlier.pictures) < min(FIRST, len(self.places) / LEAST)
        too_few |= len(self.places) < LEAST
        self.earlier = None if too_few or noise is not None or not even else earlier
        self.knots: list[float] = []  # places that were seen, in order
        self.unseen: dict[float, float] = {}  # positions that are waited for, and their places
        self._requests = self._find_frames()
        self._requested = next(self._requests, [])
        self._pictures: list[float] = []  # places that were seen or requested, in order
        self.extra = 0  # of them those that become no frames, as far as is known by now

    def advance(self, seen: set[float]) -> None:
        """Find out what to see next, if all that was requested was seen."""
        while self._requested and seen.issuperset(map(self._position, self._requested)):
            self.knots = sorted({*self.knots, *self._requested})
            self._requested = next(self._requests, [])
        self.unseen = {p: place for place in self._requested if (p := self._position(place)) not in seen}
        self._pictures = sorted({*self.knots, *self._requested})
        extra = len({*self._pictures} - {0.0, 1.0, *self.moved.values()})
        if not self.moved and self.noise is None:  # of noise that goes its own way none becomes one
            lost = LOST_EARLIER if self.earlier else LOST
            extra = round(extra * lost) if self.has_beats and self._requested else 0
        self.extra = extra

    def compare(self, places: list[float], seen: set[float]) -> None:
        """Measure the gaps beside places that were just seen, while the features of both ends are in memory."""
        for place in sorted(places):
            at = bisect_left(self._pictures, place)
            for a, b in pairwise(self._pictures[max(at - 1, 0) : at + 2]):
                if {self._position(a), self._position(b)} <= seen:
                    self.distance_between(self.start + a, self.start + b)

    def gaps(self) -> list[tuple[float, float, float]]:
        """(from, to, distance) between each two neighbours that were seen."""
        return [(a, b, self.distance_between(self.start + a, self.start + b)) for a, b in pairwise(self.knots)]

    def _position(self, place: float) -> float:
        return (self.start + place) % self.cycle

    def _find_frames(self) -> Iterator[list[float]]:
        """Set `moved`. Yields lists of places to be seen, and goes on when they have been."""
        # 1. As before, if an earlier film had these frames.
        if self.earlier and self.earlier.asked == self.places and self.further:
            self.moved = dict(zip(self.places, self.earlier.pictures))
            return
        # 2. A first look.
        count = first_look_count(len(self.places))
        among = self.earlier.pictures if self.earlier else self.places
        first = [among[(i + 1) * len(among) // (count + 1)] for i in range(count)]
        if self.earlier and self.further:
            first = among
        yield [0.0, *(first or self.places), 1.0]
        if not self.even or not count:
            return
        # 3. More, where neighbours are far apart; but not without end, as where a picture changes in many small jumps.
        most = max(count, LEAST, len(self.places) * (1 if self.noise is None else SHARE))
        while self.further and len(self.knots) - 2 < most and (wide := self._within_wide_gaps()):
            yield wide
        # 4. The frames; where their noise goes its own way, none of them is a picture that was seen.
        if self.noise is not None:
            way = self._way()
            if way is not None:
                places = sorted({*self.places, *self.noise})
                self.moved = dict(zip(places, self._places_at(way, places)))
            return
        kept = set() if self.has_beats or self.earlier else {*first}
        for _ in range(1 if self.has_beats or not self.further else 2):  # again when the frames themselves were seen
            places = self._frame_places(kept)
            self.moved = dict(zip(self.places, places))
            if self.earlier:
                kept = {*places} & {*self.earlier.pictures}
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
        jumps = (lengths <= self._least_gap()) & (steps > WIDE / frames)
        steps[jumps] = 1 / frames
        way = np.concatenate([[0.0], np.cumsum(steps)])
        return way / way[-1]

    def _least_gap(self) -> float:
        """Between knots no further apart on the path than this, no other is looked for."""
        return max(1 / (FINE * (len(self.done) - 1)), 2 / GRAIN)

    def _within_wide_gaps(self) -> list[float]:
        """Places of frames that are half-way between neighbours WIDE apart; between those twice as far, of two more."""
        way = self._way()
        if way is None:
            return []
        frames = np.interp(way, self.done, range(len(self.done)))  # numbers of, at the knots
        indices = set()
        for (a, b), (x, y) in zip(pairwise(self.knots), pairwise(frames)):
            if y - x > WIDE and b - a > self._least_gap():
                parts = 4 if y - x > 2 * WIDE else 2
                indices |= {round(x + (y - x) * part / parts) for part in range(1, parts)}
        knots = {*self.knots}
        return [place for place in self._places_at(way, [self.done[i] for i in sorted(indices)]) if place not in knots]

    def _frame_places(self, kept: set[float]) -> list[float]:
        """The places of the frames: knots where they serve (those in `kept` in any case), and others between them.

        A knot that becomes a frame takes another share of the way than that frame was to have, and so
        do those up to the next. Of all choices the best is taken (shortest path, R. Bellman 1958): the one with
        the least squared logarithm of step by step to be had, over all frames, and a price for each knot left out.
        """
        way = self._way()
        if way is None:
            return self.places
        spread = 1
        while (chosen := self._chosen_knots(way, kept, spread)) is None:
            spread *= 2
        done: list[float] = []  # at each frame
        for (j, h), (k, i) in pairwise(chosen):
            stretch = (way[k] - way[j]) / (self.done[i] - self.done[h])
            done += [*(way[j] + stretch * (asked - self.done[h]) for asked in self.done[h + 1 : i]), way[k]]
        places = self._places_at(way, done)
        for k, i in chosen[1:]:
            places[i - 1] = self.knots[k]
        return places[:-1]

    def _chosen_knots(self, way: np.ndarray, kept: set[float], spread: int) -> list[tuple[int, int]] | None:
        """(knot, frame) pairs, from the keyframe's to the next one's; None if `kept` find no room within `spread`
        frames of where they belong."""
        known = {*self.earlier.pictures} if self.earlier else set()
        price = [
            0.0,
            *accumulate(EARLIER_PRICE if knot in known else PRICE for knot in self.knots),
        ]  # of all before a knot
        ideal = np.interp(way, self.done, range(len(self.done)))  # the frame, with a fraction, that each knot would be
        frames, before = self._frames_near(ideal, kept, spread), self._knots_before(ideal, kept, spread)
        best: list[dict[int, _Reached]] = [{0: _Reached(0.0, 0, 0)}]  # for each knot, by frame
        for k in range(1, len(self.knots)):
            best.append({})
            for i in frames[k]:
                choices = [
                    (cost + price[k] - price[j + 1] + self._strain(way[k] - way[j], h, i), j, h)
                    for j in before[k]
                    for h, (cost, _, _) in best[j].items()
                    if h < i
                ]
                if choices:
                    best[k][i] = _Reached(*min(choices))
        knot, frame = len(self.knots) - 1, len(self.done) - 1
        if not best[knot]:
            return None
        chosen = [(knot, frame)]
        while knot:
            _, knot, frame = best[knot][frame]
            chosen.append((knot, frame))
        return chosen[::-1]

    def _frames_near(self, ideal: np.ndarray, kept: set[float], spread: int) -> list[range]:
        """The frames that each knot may become: those near its ideal one that leave room for the kept knots on either
        side of it."""
        is_kept = np.array([knot in kept for knot in self.knots])
        kept_by = np.cumsum(is_kept)
        room = 1 + kept_by - is_kept, len(self.places) - (kept_by[-1] - kept_by)
        low = np.clip(np.floor(ideal).astype(int) - spread, *room).tolist()
        high = np.clip(np.ceil(ideal).astype(int) + spread, *room).tolist()
        inner = [range(a, b + 1) for a, b in zip(low[1:-1], high[1:-1])]
        last = len(self.done) - 1
        return [range(1), *inner, range(last, last + 1)]

    def _knots_before(self, ideal: np.ndarray, kept: set[float], spread: int) -> list[range]:
        """For each knot those that may be the frame before it: within reach, and none beyond one that is kept."""
        knots = np.arange(len(self.knots))
        first = np.minimum(
            np.searchsorted(ideal, ideal - CLOSE * REACH * spread), np.maximum(knots - REACH * spread, 0)
        ).tolist()
        last_kept = [0, *accumulate((k if knot in kept else 0 for k, knot in enumerate(self.knots)), max)]
        return [range(max(a, b), k) for k, (a, b) in enumerate(zip(first, last_kept))]

    def _strain(self, way: float, h: int, i: int) -> float:
        """What it costs that the steps from frame h to frame i share so much of the way. Slow ones count for less."""
        asked = self.done[i] - self.done[h]
        return min(i - h, asked * (len(self.done) - 1)) * math.log(way / asked) ** 2

    def _places_at(self, way: np.ndarray, done: Sequence[float]) -> list[float]:
        """Where so much of the way is done. Only 0 and 1 become the keyframes' own places."""
        places = _monotone(way, np.array(self.knots))(np.array(done)).tolist()
        inner = ((min(max(round(place * GRAIN), 1), GRAIN - 1)) / GRAIN for place in places)
        return [place if 0 < by < 1 else float(by) for place, by in zip(inner, done)]


def predicted_steps(
    walk: Walk,
    distances: Sequence[tuple[float, float]],
    noise: Mapping[int, float] | None = None,
    swings: Mapping[float, Sequence[float]] | None = None,
) -> list[float]:
    """How far apart each two neighbouring frames will look; in a closed walk also the last and the first.

    distances: (position, how far from it the next looks), in any order, of pictures that were seen, the keyframes
    at both ends of a segment among them, and `cuts`. A segment of which nobody saw the inside counts as still.
    noise: by segment, which share of a change is the noise's, where that goes its own way; half, where nobody knows.
    swings: by how far the noise swings out, 0 the first, how far from each keyframe's picture it looks; in between,
        nobody looked.
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

    def way_to(position: float) -> float:
        """From the first keyframe on."""
        start = int(position)
        return before[bisect_left(starts, start)] + (float(ways[start](position % 1)) if start in ways else 0.0)

    total = before[-1]

    def steps_of(positions: Sequence[float]) -> list[float]:
        way = [way_to(position) for position in (*positions, *positions[: walk.closed])]
        return [b - a if b >= a else b - a + total for a, b in pairwise(way)]

    steps = steps_of(walk.positions)
    if walk.noise:
        shares = [(noise or {}).get(int(position), 0.5) for position in walk.positions]
        steps = [(1 - x) * a + x * b for x, a, b in zip(shares, steps, steps_of(walk.noise))]
    if swings and walk.pulse:
        turns = pairwise((*walk.pulse, *walk.pulse[: walk.closed]))
        pulses, looks = [*swings], np.array([[*some, some[0]] for some in swings.values()])
        between = [looks[:, int(at)] + at % 1 * (looks[:, int(at) + 1] - looks[:, int(at)]) for at in walk.positions]
        swung = [np.interp(abs(b - a), pulses, here) for here, (a, b) in zip(between, turns)]
        steps = [math.hypot(*both) for both in zip(steps, swung)]
    return steps


def cuts(walk: Walk, keyframes: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """(position, how far from it the next looks) of keyframes from which the walk goes to the next at one stroke.

    keyframes: their pictures.
    """
    within = by_segment(walk.positions)
    at_once = [(k, (k + 1) % len(keyframes)) for k in range(walk.segments) if k not in within]
    return [(float(a), distance(features(keyframes[a]), features(keyframes[b]))) for a, b in at_once]


def _places(positions: Sequence[float]) -> dict[int, list[float]]:
    """By segment, the places of frames inside it, in order; none where nothing moves."""
    return {start: sorted({it % 1 for it in some}) for start, some in sorted(by_segment(positions).items())}


def _unseen(segments: Iterable[_Segment]) -> dict[float, _Segment]:
    """Positions in the film's order, each with the first segment that waits for it."""
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
