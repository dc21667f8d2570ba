"""Frame indices become pictures, in batches. Touches no disk and never learns which model it has."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from walk import Error, OutOfMemoryError
from walk.geometry import Way, path
from walk.models import Conditioning, Model
from walk.timeline import Walk

SEGMENTS = 8  # between two keyframes each; what is known of their ways stays in memory,
KEPT = 2**24  # as long as these are no more numbers


def render(model: Model, walk: Walk, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, picture) for every index, about in that order; pictures are (height, width, 3) uint8.

    A picture depends on its index alone and not on which others are asked for: every batch has the
    one shape that the model's settings name (rows that nobody asks for are filled), and a frame always
    takes the same row, since where threads share the work each row may be rounded otherwise.

    Raises Error for a picture that is of one colour all over, which a model that has failed returns,
    and OutOfMemoryError if a batch is too large.
    """
    start = _Start(model, walk, indices)
    place = {index: number for number, index in enumerate(indices)}
    for rows, noise, conditioning in _prepared(start, batches(indices, model.settings.batch or 1)):
        pictures = _pictures(model, noise, conditioning)
        for index in sorted((index for index in rows if index is not None), key=place.__getitem__):
            picture = pictures[rows.index(index)]
            if (picture == picture[0, 0]).all():
                raise Error(
                    f"the picture {_where(walk, index)} came out {'one colour' if picture.any() else 'black'}, as when numbers overflow in "
                    f"{model.settings.dtype}; try --dtype float32, another --scheduler or a lower --guidance"
                )
            yield index, picture


def _where(walk: Walk, index: int) -> str:
    position = walk.positions[index]
    start, part = int(position), position % 1
    after = (start + 1) % len(walk.keyframes) + 1
    return f"{part:.0%} of the way from keyframe {start + 1} to {after}" if part else f"of keyframe {start + 1}"


def _pictures(model: Model, noise: Tensor, conditioning: Conditioning) -> np.ndarray:
    try:
        return model.decode(model.denoise(noise, conditioning)).numpy()
    except RuntimeError as error:
        # Of the class alone one cannot tell: Apple's GPUs and CPUs only say it.
        full = re.search("out of memory|allocate memory", str(error))
        if not isinstance(error, torch.OutOfMemoryError) and not full:
            raise
    raise OutOfMemoryError(len(noise))  # here, where the error no longer holds what fills the memory


def _prepared(start: _Start, rows: list[list[int | None]]) -> Iterator[tuple[list[int | None], Tensor, Conditioning]]:
    """Each batch with what it is made from; while a GPU works on one, the next is prepared."""
    if start.model.settings.device == "cpu":  # two crowds of threads would fight for its cores
        yield from ((each, *start.batch(each)) for each in rows)
        return
    with ThreadPoolExecutor(1) as ahead:
        following = [ahead.submit(start.batch, each) for each in rows[:1]]
        for number, each in enumerate(rows):
            following += [ahead.submit(start.batch, later) for later in rows[number + 1 : number + 2]]
            yield each, *following.pop(0).result()


def batches(indices: Sequence[int], batch: int) -> list[list[int | None]]:
    """The batches that render these frames: the frame of each row, None where there is none.

    Neighbours are in different rows, and so are, as far as possible, frames at even distances, such as
    a preview's: rows that nobody asks for are work for nothing.
    """
    rows: list[list[int]] = [[] for _ in range(batch)]
    for index in indices:
        rows[(index + 3 * (index // batch)) % batch].append(index)
    return [list(frames) for frames in zip_longest(*rows)]


def _way(points: Sequence[Tensor | None]) -> Way:
    """Of a part of the conditioning, through some keyframes."""
    first = next(point for point in points if point is not None)
    if first.is_floating_point():
        return path(points)
    a, b = (first, first) if len(points) == 1 else points[len(points) // 2 - 1 : len(points) // 2 + 1]
    assert a is not None
    assert b is not None
    return functools.partial(_mask_between, a, b)


def _mask_between(a: Tensor, b: Tensor, t: float) -> Tensor:
    """From a mask to another, one token after the other.

    Were all tokens of both heard from the first frame after a keyframe to the last before the next, pictures
    would jump there: in small random models of five families, two to seven times as far as they do now at the
    most. (Z-Image jumps either way, where its own padding, to multiples of 32 tokens, grows.)
    """
    heard = round(torch.lerp(a.sum().double(), b.sum().double(), t).item())
    return torch.where(torch.arange(len(a)) < heard, torch.maximum(a, b), torch.minimum(a, b))


class _Start:
    """Noise and conditioning of any of these frames. What belongs to a keyframe, or to what lies between two, is made
    once, and prompts are all read before the first frame, so that a model can then put its text encoders away."""

    def __init__(self, model: Model, walk: Walk, indices: Sequence[int]) -> None:
        self.model = model
        self.walk = walk
        settings = model.settings
        # A long prompt for a large encoder takes a CPU longer than a GPU needs for the picture.
        self.device = settings.device if settings.device.startswith("cuda") and not settings.low_memory else "cpu"
        self.conditionings: dict[tuple[str, str], Conditioning] = {}
        self.noises: dict[int, Tensor] = {}
        for k in dict.fromkeys(k for index in indices for k in walk.neighbours(walk.positions[index])[0]):
            if k is not None and (key := self._key(k)) not in self.conditionings:
                encoded = model.encode(walk.keyframes[k])
                self.conditionings[key] = {name: self._there(tensor) for name, tensor in encoded.items()}
        largest = max((sum(t.numel() for t in c.values()) for c in self.conditionings.values()), default=1)
        segments = max(1, min(SEGMENTS, KEPT // largest))
        self.noise_way = functools.lru_cache(segments)(self._noise_way)
        self.ways = functools.lru_cache(segments)(self._ways)

    def batch(self, rows: Sequence[int | None]) -> tuple[Tensor, Conditioning]:
        """For these frames; where there is none, any of them is as good."""
        any_index = next(index for index in rows if index is not None)
        noises, conditionings = zip(*(self.of(any_index if index is None else index) for index in rows))
        return torch.stack(noises), {name: torch.stack([c[name] for c in conditionings]) for name in conditionings[0]}

    def of(self, index: int) -> tuple[Tensor, Conditioning]:
        places, t = self.walk.neighbours((self.walk.noise or self.walk.positions)[index])
        noise = self.noise_way(tuple(places))(t)
        places, t = self.walk.neighbours(self.walk.positions[index])
        return noise, {name: way(t) for name, way in self.ways(tuple(places)).items()}

    def _noise_way(self, places: Sequence[int | None]) -> Way:
        """Through keyframes. Noise is one point on one sphere."""
        noises = [None if k is None else self._noise(self.walk.keyframes[k].seed) for k in places]
        shape = next(noise.shape for noise in noises if noise is not None)
        way = path([None if noise is None else noise.flatten() for noise in noises])
        return lambda t: way(t).reshape(shape)

    def _ways(self, places: Sequence[int | None]) -> dict[str, Way]:
        """Through keyframes. Of a conditioning, every token is a point on its own."""
        conditionings = [None if k is None else self.conditionings[self._key(k)] for k in places]
        names = next(c for c in conditionings if c is not None)
        return {name: _way([None if c is None else c[name] for c in conditionings]) for name in names}

    def _key(self, k: int) -> tuple[str, str]:
        keyframe = self.walk.keyframes[k]
        return keyframe.prompt, keyframe.negative_prompt

    def _noise(self, seed: int) -> Tensor:
        if seed not in self.noises:
            self.noises[seed] = self._there(self.model.noise(seed))
        return self.noises[seed]

    def _there(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device) if tensor.is_floating_point() else tensor
