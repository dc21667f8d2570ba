"""Frame indices become pictures, in batches. Touches no disk and never learns which model it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from walk import Error
from walk.geometry import along
from walk.keyframes import Keyframe
from walk.models import Conditioning, Model
from walk.timeline import Walk


def render(model: Model, walk: Walk, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, picture) for every index, about in that order; pictures are (height, width, 3) uint8.

    A picture depends on its index alone and not on which others are asked for: every batch has the
    one shape that the model's settings name (rows that nobody asks for are filled), and a frame always
    takes the same row, since where threads share the work each row may be rounded otherwise.

    Raises Error for a picture that is black all over, which a model that has failed returns.
    """
    start = _Start(model, walk)
    place = {index: number for number, index in enumerate(indices)}
    for rows in batches(indices, model.settings.batch or 1):
        chosen = [index for index in rows if index is not None]
        noises, conditionings = zip(*(start.of(chosen[0] if index is None else index) for index in rows))
        conditioning = {name: torch.stack([c[name] for c in conditionings]) for name in conditionings[0]}
        pictures = model.decode(model.denoise(torch.stack(noises), conditioning)).numpy()
        for index in sorted(chosen, key=place.__getitem__):
            picture = pictures[rows.index(index)]
            if not picture.any():
                raise Error(
                    f"frame {index} came out black, as when numbers overflow in {model.settings.dtype}; "
                    "try --dtype float32, another --scheduler or a lower --guidance"
                )
            yield index, picture


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
    would jump there: three to six times as far in our measurements of small random models.
    """
    heard = round(torch.lerp(a.sum().double(), b.sum().double(), t).item())
    return torch.where(torch.arange(len(a)) < heard, torch.maximum(a, b), torch.minimum(a, b))


class _Start:
    """Noise and conditioning of any frame; what belongs to a keyframe is made once, when first needed."""

    def __init__(self, model: Model, walk: Walk) -> None:
        self.model = model
        self.walk = walk
        self.conditionings: dict[tuple[str, str], Conditioning] = {}
        self.noises: dict[int, Tensor] = {}

    def of(self, index: int) -> tuple[Tensor, Conditioning]:
        places, t = self.walk.neighbours(self.walk.positions[index])
        keyframes = [None if k is None else self.walk.keyframes[k] for k in places]
        noises = [None if k is None else self._noise(k.seed) for k in keyframes]
        shape = next(noise.shape for noise in noises if noise is not None)
        # Noise is one point on one sphere; of a conditioning, every token is a point on its own.
        noise = along([None if noise is None else noise.flatten() for noise in noises], t).reshape(shape)
        conditionings = [None if k is None else self._conditioning(k) for k in keyframes]
        names = next(c for c in conditionings if c is not None)
        return noise, {name: _between([None if c is None else c[name] for c in conditionings], t) for name in names}

    def _noise(self, seed: int) -> Tensor:
        if seed not in self.noises:
            self.noises[seed] = self.model.noise(seed)
        return self.noises[seed]

    def _conditioning(self, keyframe: Keyframe) -> Conditioning:
        key = (keyframe.prompt, keyframe.negative_prompt)
        if key not in self.conditionings:
            self.conditionings[key] = self.model.encode(keyframe)
        return self.conditionings[key]
