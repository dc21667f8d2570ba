"""Frame indices become pictures, in batches. Touches no disk and never learns which model it has."""

from __future__ import annotations

import collections
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from walk import Error, OutOfMemoryError, machine
from walk.geometry import Way, path, points_along, swing
from walk.keyframes import Subject
from walk.models import Conditioning, Model, check
from walk.timeline import Walk

SEGMENTS = 8  # whose paths through noise and conditionings stay in memory,
KEPT = 2**24  # if these are no more numbers than this
PAUSES = (2, 8, 20)  # seconds, before a batch for which a GPU had no memory is tried again
PULSE = 0x70756C73  # the seed of the noise toward which every frame swings

Batch = list[tuple[int, np.ndarray]]


def render(model: Model, walk: Walk, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """All of `Renderer`'s pictures, one at a time."""
    renderer = Renderer(model)
    for _, batch in itertools.chain(renderer.render(walk, indices), renderer.finish()):
        yield from batch


def inputs(model: Model, walk: Walk, index: int) -> tuple[Tensor, Conditioning]:
    """What one frame is made from: its noise and its conditioning, interpolated, without a batch dimension.

    noise: of unit variance and of the shape of `model.noise`, mostly (channels, height, width) of the latents; float32.
    conditioning: by keyword names of the pipeline's `__call__`, such as 'prompt_embeds', (tokens, d); float32, but
        masks are integers. Both are on the model's device if that is a GPU, unless `low_memory`; else on the CPU.

    The frame is what the model makes of them, as `render` does in batches (which round otherwise, by a level of 255):

        latents = model.denoise(noise[None], {name: tensor[None] for name, tensor in conditioning.items()})
        picture = model.decode(latents)()[0]  # (height, width, 3) uint8

    Raises Error for an index that the walk does not have.
    """
    walk.check([index])
    cache = _Inputs(model)
    cache.read(walk, [index])
    return cache.of(walk, index)


class Renderer:
    """Renders frames of walks, one walk after the other, and keeps what they have in common."""

    def __init__(self, model: Model) -> None:
        check(model, "settings", "encode", "noise", "denoise", "decode")
        machine.check_process()
        self.model = model
        self.inputs = _Inputs(model)
        self.ahead = 1 if self.inputs.gpu else 0  # batches; elsewhere nothing works by itself
        self.begun: collections.deque[_Begun] = collections.deque()  # batches, the oldest first
        self.count = 0  # batches that were begun

    def render(
        self, walk: Walk, indices: Sequence[int], of: Any = None, rows: Mapping[int, int] | None = None
    ) -> Iterator[tuple[Any, Batch]]:
        """Yield (of, pictures) of one batch after the other; each picture with its index, (height, width, 3) uint8.

        of: tells the caller to which call a batch belongs. rows: of frames that are not to take the usual one.

        A picture depends on its index alone and not on which others are asked for: every batch has the
        one shape that the model's settings name (rows that nobody asks for are filled), and as many tokens as each
        of its frames needs; and a frame always takes the same row, since where threads share the work each row may be
        rounded differently: that of its index, or the one in `rows`.

        A GPU always has the next batch to do when it has done one. So the last batch is yielded by the next call
        (`of` tells), or by `finish`.

        Raises Error for an index that the walk does not have, and for a picture that is of one colour all over, which
        a model that has failed returns; and OutOfMemoryError if a batch is too large.
        """
        indices = list(indices)
        walk.check(indices)
        order = {index: number for number, index in enumerate(indices)}
        self.inputs.read(walk, indices)
        for batch in self.inputs.batches(walk, indices, rows or {}):
            asked = sorted((index for index in batch if index is not None), key=order.__getitem__)
            self._begin(of, walk, batch, asked)
            self.count += 1
            while len(self.begun) > self.ahead:
                yield from self._collect()

    def _begin(self, of: Any, walk: Walk, batch: list[int | None], asked: list[int]) -> None:
        """Begin one more batch. If it does not fit in a GPU's memory though others did, wait: another program may need
        the memory only for a moment, and with a smaller batch all frames would have to be rendered again."""
        for pause in (*(PAUSES if self.inputs.gpu and self.count else ()), None):
            try:
                with machine.out_of_memory_as(OutOfMemoryError(self.model.settings)):
                    latents = self.model.denoise(*self.inputs.batch(walk, batch))
                    self.begun.append(_Begun(of, walk, batch, asked, latents, self._decode(latents)))
                return
            except OutOfMemoryError:
                if pause is None:
                    raise
            time.sleep(pause)

    def prepare(self, walk: Walk, indices: Sequence[int]) -> None:
        """In another thread: compute beforehand what these frames, which are rendered next, are made from."""
        self.inputs.prepare(walk, indices)

    def finish(self) -> Iterator[tuple[Any, Batch]]:
        """Yield what is still under way."""
        while self.begun:
            yield from self._collect()

    def _decode(self, latents: Tensor) -> Callable[[], Tensor]:
        """A function that waits for the pictures."""
        pictures: Any = self.model.decode(latents)
        if not callable(pictures):
            raise self._decode_error(
                f"returned a {type(pictures).__name__}", "it returns a function that waits for pictures"
            )
        return lambda: self._checked(pictures(), len(latents))

    def _checked(self, pictures: Any, count: int) -> Tensor:
        what = f"a {type(pictures).__name__}"
        if isinstance(pictures, Tensor):
            kind = pictures.dtype, len(pictures), pictures.ndim, pictures.shape[-1], pictures.device.type
            if kind == (torch.uint8, count, 4, 3, "cpu"):
                return pictures
            what = f"{pictures.dtype} {tuple(pictures.shape)} on {pictures.device}"
        raise self._decode_error(f"made {what}", f"pictures are torch.uint8 ({count}, height, width, 3) on the CPU")

    def _decode_error(self, what: str, instead: str) -> Error:
        return Error(f"decode of {type(self.model).__name__} {what}; {instead}")

    def _collect(self) -> Iterator[tuple[Any, Batch]]:
        """Wait for the oldest batch; yield its good pictures, then raise for bad ones."""
        it = self.begun.popleft()
        with machine.out_of_memory_as(OutOfMemoryError(self.model.settings)):
            pictures = it.pictures().numpy()
            for at, picture in enumerate(pictures):
                if _is_of_one_colour(picture):
                    # The latents may be sound, and only their decoding have overflowed. One at a time, since in float32
                    # they take twice the memory.
                    pictures[at] = self.model.decode(it.latents[at : at + 1], exact=True)().numpy()[0]
        good: Batch = []
        bad: Batch = []
        for index in it.asked:
            picture = pictures[it.rows.index(index)]
            (bad if _is_of_one_colour(picture) else good).append((index, picture))
        yield it.of, good
        if bad:
            index, picture = bad[0]
            what, dtype = "one colour" if picture.any() else "black", self.model.settings.dtype
            exact = "" if dtype == "float32" else "--dtype float32, "
            raise Error(
                f"the picture {_where(it.walk, index)} came out {what}, as when numbers overflow in {dtype}; try {exact}another "
                "--scheduler or a lower --guidance"
            )


class _Begun(NamedTuple):
    """A batch that the model has begun, and may have done.

    rows: the index of the frame in each, None where there is none. asked: these indices, in the order of the call.
    pictures: waits for them.
    """

    of: Any
    walk: Walk
    rows: list[int | None]
    asked: list[int]
    latents: Tensor
    pictures: Callable[[], Tensor]


def _is_of_one_colour(picture: np.ndarray) -> bool:
    first = picture[0, 0]
    return bool((picture[::16, ::16] == first).all() and (picture == first).all())


def _where(walk: Walk, index: int) -> str:
    position = walk.positions[index]
    start, part = int(position), position % 1
    return f"{part:.0%} of the way from {walk.segment_name(start)}" if part else f"of keyframe {start + 1}"


def batches(indices: Sequence[int], batch: int, rows: Mapping[int, int] | None = None) -> list[list[int | None]]:
    """The batches that render these frames: the frame of each row, None where there is none. rows: of some frames."""
    taken: list[list[int]] = [[] for _ in range(batch)]
    for index in indices:
        taken[(rows or {}).get(index, row(index, batch))].append(index)
    return [list(frames) for frames in itertools.zip_longest(*taken)]


def row(index: int, batch: int) -> int:
    """Which row of its batch a frame takes.

    Neighbours are in different rows, and so are, as far as possible, frames at even distances, such as
    a preview's: rows without a frame are work for nothing.
    """
    return (index + 3 * (index // batch)) % batch


def _way(points: Sequence[Tensor | None]) -> Way:
    """The way of one part of the conditioning through some keyframes."""
    first = next(point for point in points if point is not None)
    if len(points) == 1 or first.is_floating_point():
        return path(points)
    a, b = points[len(points) // 2 - 1 : len(points) // 2 + 1]
    assert a is not None
    assert b is not None
    return Way(_masks_between, (a.double(), b.double()), a.dtype)


def _masks_between(masks: tuple[Tensor, ...], t: Tensor) -> Tensor:
    """From a mask to another, one token after the other.

    Were all tokens of both heard from the first frame after a keyframe to the last before the next, pictures
    would jump there: in small random models of five families, two to seven times as far as they do now at the
    most. (Z-Image jumps either way, where its own padding, to multiples of 32 tokens, grows.)
    """
    a, b = masks
    heard = torch.lerp(a.sum(-1, keepdim=True), b.sum(-1, keepdim=True), t).round()
    return torch.where(torch.arange(a.shape[-1]) < heard, torch.maximum(a, b), torch.minimum(a, b))


class _Inputs:
    """Noise and conditioning of any frame. What belongs to a keyframe or to a segment is computed once."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.gpu = model.settings.device.startswith("cuda")
        # Interpolating a large encoder's long prompt would take a CPU longer than a GPU needs for the picture.
        self.device = model.settings.device if self.gpu and not model.settings.low_memory else "cpu"
        self.conditionings: dict[Subject, Conditioning] = {}
        self.largest = 0  # how many numbers the largest of them has
        self.prepared: dict[tuple[_Places, ...], tuple[Tensor, Conditioning]] = {}

    def read(self, walk: Walk, indices: Sequence[int]) -> None:
        """Encode prompts before the frames that need them; on a GPU all of a walk's at once, since the model may put
        its text encoders away."""
        if not self.conditionings:  # the first time
            size = self._noise(walk.keyframes[0].seed).numel()  # for stochastic samplers, of several pictures
            self.noise = functools.lru_cache(max(4, KEPT // size))(self._noise)
            self.noise_way = functools.lru_cache(max(1, min(SEGMENTS, KEPT // (4 * size))))(self._noise_way)
        needed = {k for index in indices for k in walk.neighbours(walk.positions[index])[0] if k is not None}
        for k in range(len(walk.keyframes)) if needed and self.gpu else sorted(needed):
            if (key := walk.keyframes[k].subject) not in self.conditionings:
                made = self.model.encode(walk.keyframes[k])
                if not isinstance(made, Mapping):
                    raise Error(
                        f"encode of {type(self.model).__name__} gives a {type(made).__name__}; it is to give a dict of "
                        "tensors, each by its name"
                    )
                if (size := sum(tensor.numel() for tensor in made.values())) > self.largest:
                    self.largest = size
                    self.ways = functools.lru_cache(max(1, min(SEGMENTS, KEPT // size)))(self._ways)
                self.conditionings[key] = made  # last: a thread that prepares a batch looks here for what is ready

    def batches(self, walk: Walk, indices: Sequence[int], rows: Mapping[int, int]) -> Iterator[list[int | None]]:
        """As `batches`, each of frames with equally many tokens; their prompts were read."""
        alike: dict[tuple[int, ...], list[int]] = {}
        for index in indices:
            around, _ = walk.neighbours(walk.positions[index])
            lengths = _lengths([self.conditionings[walk.keyframes[k].subject] for k in around if k is not None])
            alike.setdefault(tuple(lengths.values()), []).append(index)
        for group in alike.values():
            yield from batches(group, self.model.settings.batch or 1, rows)

    def batch(self, walk: Walk, rows: Sequence[int | None]) -> tuple[Tensor, Conditioning]:
        """For the frames of these rows; a row without one is filled with another."""
        places = _filled(walk, rows)
        return self.prepared.get(places) or self._compute(places)

    def of(self, walk: Walk, index: int) -> tuple[Tensor, Conditioning]:
        noise, conditioning = self._compute((_places(walk, index),))
        return noise[0], {name: tensor[0] for name, tensor in conditioning.items()}

    def prepare(self, walk: Walk, indices: Sequence[int]) -> None:
        known = [
            index for index in indices if self.conditionings.keys() >= {p for p in _places(walk, index).subjects if p}
        ]
        try:
            batches = [_filled(walk, rows) for rows in self.batches(walk, known, {})]
            self.prepared = {places: self._compute(places) for places in batches}
        # Mostly for want of memory beside a batch at work; when that is done, they are computed anyway.
        except RuntimeError:
            self.prepared = {}

    def _compute(self, places: Sequence[_Places]) -> tuple[Tensor, Conditioning]:
        noise = points_along([self.noise_way(place.seeds) for place in places], [place.noise_t for place in places])
        for row, place in enumerate(places):
            if place.pulse:
                noise[row] = swing(noise[row], self.noise(PULSE).flatten(), place.pulse)
        shape = self.noise(next(seed for seed in places[0].seeds if seed is not None)).shape
        ways, parts = [self.ways(place.subjects) for place in places], [place.t for place in places]
        conditioning = {name: points_along([way[name] for way in ways], parts) for name in ways[0]}
        return noise.reshape(len(places), *shape), conditioning

    def _noise_way(self, seeds: Sequence[int | None]) -> Way:
        """The way of the noise through keyframes: it is one point on one sphere."""
        return path([None if seed is None else self.noise(seed).flatten() for seed in seeds])

    def _ways(self, subjects: Sequence[Subject | None]) -> dict[str, Way]:
        """The ways of the conditioning's parts through keyframes: every token is a point of its own."""
        conditionings = [None if subject is None else self.conditionings[subject] for subject in subjects]
        lengths = _lengths([c for c in conditionings if c is not None])
        return {
            name: _way([None if c is None else _repeated(self._on_device(c[name]), length) for c in conditionings])
            for name, length in lengths.items()
        }

    def _noise(self, seed: int) -> Tensor:
        made = self.model.noise(seed)
        if not isinstance(made, Tensor):
            raise Error(f"noise of {type(self.model).__name__} gives a {type(made).__name__}; it is to give a tensor")
        return self._on_device(made)

    def _on_device(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, torch.float32) if tensor.is_floating_point() else tensor


def _lengths(conditionings: Sequence[Conditioning]) -> dict[str, int]:
    """The fewest rows of each part to which those of all conditionings can be repeated."""
    return {name: math.lcm(*(len(c[name]) for c in conditionings)) for name in conditionings[0]}


def _repeated(tensor: Tensor, length: int) -> Tensor:
    """With all rows several times: attention to such tokens is the same as to each of them once."""
    return tensor if len(tensor) == length else torch.cat([tensor] * (length // len(tensor)))


class _Places(NamedTuple):
    """Where a frame is between which seeds, how far it swings out from there, and where between which subjects."""

    seeds: tuple[int | None, ...]
    noise_t: float
    pulse: float
    subjects: tuple[Subject | None, ...]
    t: float


def _places(walk: Walk, index: int) -> _Places:
    around, noise_t = walk.neighbours((walk.noise or walk.positions)[index])
    seeds = tuple(None if k is None else walk.keyframes[k].seed for k in around)
    around, t = walk.neighbours(walk.positions[index])
    pulse = walk.pulse[index] if walk.pulse else 0.0
    return _Places(seeds, noise_t, pulse, tuple(None if k is None else walk.keyframes[k].subject for k in around), t)


def _filled(walk: Walk, rows: Sequence[int | None]) -> tuple[_Places, ...]:
    """The places of a batch's rows; a row without a frame takes those of the first frame."""
    any_index = next(index for index in rows if index is not None)
    return tuple(_places(walk, any_index if index is None else index) for index in rows)
