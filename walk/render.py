"""Frame indices become pictures, in batches. Touches no disk and never learns which model it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from walk import Error
from walk.geometry import along
from walk.keyframes import Keyframe
from walk.models import Conditioning, Model
from walk.timeline import Walk


def render(model: Model, walk: Walk, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index, picture) for every index, in that order; pictures are (height, width, 3) uint8.

    A picture depends on its place in the walk alone: not on which others are asked for, since every
    batch has the one shape that the model's settings name (a short one is filled up).

    Raises Error for a picture that is black all over, which a model that has failed returns.
    """
    batch = model.settings.batch
    assert batch is not None
    start = _Start(model, walk)
    for first in range(0, len(indices), batch):
        chosen = list(indices[first : first + batch])
        filled = chosen + chosen[-1:] * (batch - len(chosen))
        noises, conditionings = zip(*(start.of(index) for index in filled))
        conditioning = {name: torch.stack([c[name] for c in conditionings]) for name in conditionings[0]}
        pictures = model.decode(model.denoise(torch.stack(noises), conditioning)).numpy()
        for index, picture in zip(chosen, pictures):
            if not picture.any():
                raise Error(
                    f"frame {index} came out black, as when numbers overflow in {model.settings.dtype}; "
                    "try --dtype float32, another --scheduler or a lower --guidance"
                )
            yield index, picture


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
        return noise, {name: along([None if c is None else c[name] for c in conditionings], t) for name in names}

    def _noise(self, seed: int) -> Tensor:
        if seed not in self.noises:
            self.noises[seed] = self.model.noise(seed)
        return self.noises[seed]

    def _conditioning(self, keyframe: Keyframe) -> Conditioning:
        key = (keyframe.prompt, keyframe.negative_prompt)
        if key not in self.conditionings:
            self.conditionings[key] = self.model.encode(keyframe)
        return self.conditionings[key]
