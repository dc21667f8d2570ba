"""Even speed for the eye: positions moved so that neighbouring frames look equally far apart.

Equal steps along the path are not equal steps for the eye: a model rests near each keyframe, then
turns one thing into the other within a few frames. A pilot looks at some pictures of each segment,
made with fewer steps, and then at more of them where two neighbours differ most; their distances
say how the frames are to be spread.

Knows pictures and positions; makes no picture and touches no disk. What it says of a segment depends
on that segment alone, so that an edit elsewhere moves nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from walk.settings import Settings
from walk.timeline import GRAIN, Walk

SHARE = 0.14  # of the film's denoising and decoding that a pilot may take, about
MOST = 12  # probes inside a segment; more changed little
FIRST = 3  # of them to begin with
THEN = 2  # in every round after that
DECODING = 3  # denoising steps that take about as long as decoding
STEADY = 0.1  # of the way is spread evenly along the path, whatever the pictures say
SEEN = 256  # pixels on a picture's short side, or up to twice as many, are what is looked at
CONTRAST = 0.1  # of OKLab: where a detail's contrast begins to saturate

# sRGB levels to linear light; that to cones; their cube roots to OKLab (Ottosson 2020).
_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(np.float32)
_M1 = np.array(
    [
        [0.4122214708, 0.2119034982, 0.0883024619],
        [0.5363325363, 0.6806995451, 0.2817188376],
        [0.0514459929, 0.1073969566, 0.6299787005],
    ],
    np.float32,
)
_M2 = np.array(
    [
        [0.2104542553, 1.9779984951, 0.0259040371],
        [0.7936177850, -2.4285922050, 0.7827717662],
        [-0.0040720468, 0.4505937099, -0.8086757660],
    ],
    np.float32,
)


def pilot_settings(settings: Settings) -> Settings:
    """What the pilot's pictures are made with: a fifth of the steps, but no fewer than five."""
    steps = settings.steps or 1
    return dataclasses.replace(settings, steps=max(min(steps, 5), steps // 5), batch=min(settings.batch or 1, 4))


def wanted(walk: Walk, settings: Settings, seen: Mapping[float, np.ndarray]) -> list[float]:
    """The positions that the pilot has to look at next, in order; none when it has seen enough.

    seen: `features` of the pictures that it has seen, by position.
    """
    positions: set[float] = set()
    for start, length in _segments(walk):
        inside = [position for position in seen if start < position < start + 1]
        allowed = _probes(length, settings) - len(inside)
        if allowed <= 0:
            continue
        if inside:
            widest = sorted(_gaps(walk, start, seen), key=lambda gap: -gap[2])[: min(THEN, allowed)]
            positions |= {start + (a + b) / 2 for a, b, _ in widest}
        else:
            first = min(FIRST, allowed)
            positions |= {float(start), _end(walk, start)} - set(seen)
            positions |= {start + (i + 1) / (first + 1) for i in range(first)}
    return sorted(positions)


def most(walk: Walk, settings: Settings) -> int:
    """How many pictures the pilot will look at, at most."""
    inside = [_probes(length, settings) for _, length in _segments(walk)]
    return sum(inside) + len(walk.keyframes) * any(inside)


def even(walk: Walk, seen: Mapping[float, np.ndarray]) -> Walk:
    """The walk with the same arrivals, and between them its frames as far apart as the pilot saw fit.

    How much of the way between two keyframes is done at each moment stays as it was: what changes is
    that the way is measured by the eye. A segment of which the pilot saw nothing stays as it is.
    """
    warps = {start: _warp(_gaps(walk, start, seen)) for start, _ in _segments(walk)}

    def moved(position: float) -> float:
        start = int(position)
        warp = warps.get(start)
        t = position - start
        return start + round(float(_monotone(*warp, t)) * GRAIN) / GRAIN if t and warp is not None else position

    noise = tuple(map(moved, walk.noise))  # which looks as if it went alone along the same way
    return dataclasses.replace(walk, positions=tuple(map(moved, walk.positions)), noise=noise)


def predicted(walk: Walk, *looks: Mapping[float, np.ndarray]) -> list[float]:
    """How far apart each two neighbouring frames will look; in a closed walk also the last and the first.

    looks: features by position, of the pilot's pictures and, for segments too short for a pilot, of
    others; each segment is judged by the first that saw its inside, since pictures of different steps
    do not compare. One of which nobody saw the inside counts as still.
    """
    ways = {}
    for start, _ in _segments(walk):
        gaps = next((gaps for seen in looks if len(gaps := _gaps(walk, start, seen)) > 1), [])
        if gaps:
            rises = [max(distance, 1e-9) for *_, distance in gaps]
            ways[start] = np.array([0.0, *(b for _, b, _ in gaps)]), np.cumsum([0.0, *rises])

    def done(position: float) -> float:
        """Of the way, from the first keyframe on."""
        before = sum(way[-1] for start, (_, way) in ways.items() if start < int(position))
        inside = _monotone(*ways[int(position)], position % 1) if int(position) in ways else 0.0
        return float(before + inside)

    turn = float(len(walk.keyframes))
    total = sum(way[-1] for _, way in ways.values())

    def steps(positions: Sequence[float]) -> list[float]:
        places = [*positions, positions[0] + turn] if walk.closed else positions
        ways_done = [done(p % turn) + (total if p >= turn else 0) if walk.closed else done(p) for p in places]
        return [b - a if b >= a else b - a + total for a, b in pairwise(ways_done)]

    if walk.noise:  # how much of a change is the noise's, nobody has seen: half of it, say
        return [(a + b) / 2 for a, b in zip(steps(walk.positions), steps(walk.noise))]
    return steps(walk.positions)


def features(picture: np.ndarray) -> np.ndarray:
    """What the eye takes from a picture (height, width, 3; uint8): rows (n, 3), float32, for `distance`.

    A normalised Laplacian pyramid (V. Laparra, J. Balle, A. Berardino & E. P. Simoncelli, 'Perceptual
    image quality assessment using a normalized Laplacian pyramid', 2016) of OKLab (B. Ottosson, 'A
    perceptual color space for image processing', 2020): on every scale z is what 2x2 means f leave
    out of x, and y is z adapted to the contrast around it. Rows are weighted so that each scale counts
    by its mean. Chosen by tests/benchmarks/distances.py.
    """
    step = max(1, min(picture.shape[:2]) // SEEN)
    x = np.cbrt(_reduced(_LINEAR[picture], step) @ _M1) @ _M2
    rows = []
    while min(x.shape[:2]) >= 16:
        f = _reduced(x, 2)
        z = x[: 2 * f.shape[0], : 2 * f.shape[1]] - _doubled(f)
        contrast = np.sqrt(_reduced((z * z).sum(axis=-1, keepdims=True), 2))
        y = z / (1 + _doubled(contrast) / CONTRAST)
        rows.append(3 / y.size * y.reshape(-1, 3))
        x = f
    return np.concatenate([*rows, 3 / x.size * x.reshape(-1, 3)])


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """How much the eye sees change between two pictures, of whose `features` this is a metric: each
    scale's mean colour difference, summed. 0: nothing; black to white: 1."""
    return float(np.linalg.norm(a - b, axis=1).sum())


def unevenness(steps: Sequence[float]) -> float:
    """The largest step over the median; 0 where nothing moves."""
    usual = float(np.median(steps)) if len(steps) else 0.0
    return max(steps) / usual if usual else 0.0


def _reduced(x: np.ndarray, step: int) -> np.ndarray:
    """Means of step x step pixels; an incomplete last row or column is left out."""
    h, w = x.shape[0] // step, x.shape[1] // step
    return x[: h * step, : w * step].reshape(h, step, w, step, -1).mean((1, 3))


def _doubled(x: np.ndarray) -> np.ndarray:
    return x.repeat(2, axis=0).repeat(2, axis=1)


def _segments(walk: Walk) -> list[tuple[int, int]]:
    """(keyframe that it starts from, frames inside) of every segment."""
    inside: dict[int, int] = {}
    for position in walk.positions:
        if position % 1:
            inside[int(position)] = inside.get(int(position), 0) + 1
    return sorted(inside.items())


def _end(walk: Walk, start: int) -> float:
    return float((start + 1) % len(walk.keyframes))


def _probes(inside: int, settings: Settings) -> int:
    """How many pictures inside a segment the pilot may look at."""
    cost = ((pilot_settings(settings).steps or 1) + DECODING) / ((settings.steps or 1) + DECODING)
    return max(0, min(MOST, int(SHARE * inside / cost) - 1))  # one looks at the keyframe


def _gaps(walk: Walk, start: int, seen: Mapping[float, np.ndarray]) -> list[tuple[float, float, float]]:
    """(from, to, distance) between each two neighbours that were seen, within 0 .. 1 of a segment."""
    places = [(position - start, seen[position]) for position in sorted(seen) if start <= position < start + 1]
    if len(places) < 2 or places[0][0] != 0 or _end(walk, start) not in seen:
        return []
    places.append((1.0, seen[_end(walk, start)]))
    return [(a, b, distance(p, q)) for (a, p), (b, q) in pairwise(places)]


def _warp(gaps: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray] | None:
    """The way done (0 .. 1) at places of a segment (0 .. 1); None where nothing moves."""
    total = sum(distance for *_, distance in gaps)
    if not total:
        return None
    steps = [STEADY * (b - a) + (1 - STEADY) * distance / total for a, b, distance in gaps]
    return np.cumsum([0.0, *steps]), np.array([0.0, *(b for _, b, _ in gaps)])


def _monotone(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Monotone cubic interpolation (Fritsch & Butland 1984); x and y increase."""
    h, slope = np.diff(x), np.diff(y) / np.diff(x)
    w = 2 * h[1:] + h[:-1], h[1:] + 2 * h[:-1]
    d = np.concatenate([slope[:1], (w[0] + w[1]) / (w[0] / slope[:-1] + w[1] / slope[1:]), slope[-1:]])
    k = min(int(np.searchsorted(x, at, side="right")) - 1, len(h) - 1)
    t = (at - x[k]) / h[k]
    a, b = d[k] * h[k], d[k + 1] * h[k]
    rise = y[k + 1] - y[k]
    return y[k] + t * (a + t * (3 * rise - 2 * a - b + t * (a + b - 2 * rise)))
