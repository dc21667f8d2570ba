"""Frame indices become pictures, in batches. Touches no disk and never learns which model it has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from walk import Error, OutOfMemoryError
from walk.geometry import along
from walk.keyframes import Keyframe
from walk.models import Conditioning, Model
from walk.timeline import Walk


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


def _between(points: Sequence[Tensor | None], t: float) -> Tensor:
    """A part of the conditioning of one keyframe, or between two of them."""
    first = next(point for point in points if point is not None)
    if first.is_floating_point():
        return along(points, t)
    a, b = (first, first) if len(points) == 1 else points[len(points) // 2 - 1 : len(points) // 2 + 1]
    assert a is not None
    assert b is not None
    return _mask_between(a, b, t)


def _mask_between(a: Tensor, b: Tensor, t: float) -> Tensor:
    """From a mask to another, one token after the other.

    Were all tokens of both heard from the first frame after a keyframe to the last before the next, pictures
    would jump there: in small random models of five families, two to seven times as far as they do now at the
    most. (Z-Image jumps either way, where its own padding, to multiples of 32 tokens, grows.)
    """
    heard = round(torch.lerp(a.sum().double(), b.sum().double(), t).item())
    return torch.where(torch.arange(len(a)) < heard, torch.maximum(a, b), torch.minimum(a, b))


class _Start:
    """Noise and conditioning of any of these frames. What belongs to a keyframe is made once, and prompts
    are all read before the first frame, so that a model can then put its text encoders away."""

    def __init__(self, model: Model, walk: Walk, indices: Sequence[int]) -> None:
        self.model = model
        self.walk = walk
        self.conditionings: dict[tuple[str, str], Conditioning] = {}
        self.noises: dict[int, Tensor] = {}
        for keyframe in dict.fromkeys(
            k for index in indices for k in self._near(walk.positions[index])[0] if k is not None
        ):
            key = (keyframe.prompt, keyframe.negative_prompt)
            if key not in self.conditionings:
                self.conditionings[key] = model.encode(keyframe)

    def batch(self, rows: Sequence[int | None]) -> tuple[Tensor, Conditioning]:
        """For these frames; where there is none, any of them is as good."""
        any_index = next(index for index in rows if index is not None)
        noises, conditionings = zip(*(self.of(any_index if index is None else index) for index in rows))
        return torch.stack(noises), {name: torch.stack([c[name] for c in conditionings]) for name in conditionings[0]}

    def of(self, index: int) -> tuple[Tensor, Conditioning]:
        # Noise is one point on one sphere; of a conditioning, every token is a point on its own.
        keyframes, t = self._near((self.walk.noise or self.walk.positions)[index])
        noises = [None if k is None else self._noise(k.seed) for k in keyframes]
        shape = next(noise.shape for noise in noises if noise is not None)
        noise = along([None if noise is None else noise.flatten() for noise in noises], t).reshape(shape)
        keyframes, t = self._near(self.walk.positions[index])
        conditionings = [None if k is None else self.conditionings[k.prompt, k.negative_prompt] for k in keyframes]
        names = next(c for c in conditionings if c is not None)
        return noise, {name: _between([None if c is None else c[name] for c in conditionings], t) for name in names}

    def _near(self, position: float) -> tuple[list[Keyframe | None], float]:
        """The keyframes that a place on the path is made from, and how far it is between them."""
        places, t = self.walk.neighbours(position)
        return [None if k is None else self.walk.keyframes[k] for k in places], t

    def _noise(self, seed: int) -> Tensor:
        if seed not in self.noises:
            self.noises[seed] = self.model.noise(seed)
        return self.noises[seed]
