"""How fast a model's frames are made on this machine, and where the time goes. Prints nothing.

Times what a film's frames go through, too: `render`, and the way onto the disk.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from walk import machine, models
from walk.keyframes import Keyframe
from walk.rates import FPS, MAX_FRAMES
from walk.render import render
from walk.run import Run
from walk.timeline import SECONDS_A_SEGMENT, Walk

KEYFRAMES = (Keyframe("a red apple on a table", 1), Keyframe("a green frog in the rain", 2))
SECONDS = 5.0  # are timed at least, after the first batch,
LEAST = 3  # and so many batches;
MOST = 300  # at most so many


@dataclass(frozen=True)
class Measured:
    """Seconds that `frames` frames took after a first batch. What is not denoising or decoding is idle.

    Frames are written while others are made, so writing is no part of the other times unless the disk is too slow.
    """

    frames: int
    first: float  # until the first pictures are made: with what is slow only once, and on GPUs most of the second batch
    encode: float  # of one prompt
    denoise: float
    decode: float  # with the copy from the GPU
    write: float  # as if frames were written one after the other
    total: float

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.total

    @property
    def idle(self) -> float:
        return max(0.0, self.total - self.denoise - self.decode)

    def film(self, frames: int) -> float:
        """Seconds that this many frames of a film will take, with keyframes as usual, without loading the model."""
        keyframes = 1 + frames / (SECONDS_A_SEGMENT * FPS)
        return float(keyframes) * self.encode + self.first + frames / self.rate


def measure(
    model: models.Model, folder: Path, seconds: float = SECONDS, report: Callable[[], object] = lambda: None
) -> Measured:
    """Render until enough time has passed, into a run folder that the caller is to remove.

    seconds: are timed at least, after the first batch. report: called for each batch.
    """
    parts: defaultdict[str, float] = defaultdict(float)  # seconds
    batch = model.settings.batch or 1
    # Prompts that have not been encoded before, as those of KEYFRAMES may have been, so that encoding is timed.
    keyframes = [dataclasses.replace(each, prompt=f"{each.prompt}, timed") for each in KEYFRAMES]
    walk = Walk.through(keyframes, frames=min(MOST * batch, MAX_FRAMES))
    # 1. The first batch, in which libraries choose their algorithms and memory is allocated.
    pictures = render(_timed(model, parts), walk, range(walk.frames))
    begun = time.perf_counter()
    first = [next(pictures) for _ in range(batch)]
    report()
    warmed = time.perf_counter() - begun - parts["encode"]
    encode = parts.pop("encode") / len(KEYFRAMES)
    parts.clear()

    # 2. Whole batches.
    def timed_saves(pictures: Iterator[tuple[int, np.ndarray]]) -> tuple[int, float]:
        """How many frames were made, and in how many seconds."""
        begun, count = time.perf_counter(), 0
        with run.saver() as save:
            for count, (index, picture) in enumerate(pictures, 1):
                save(index, picture)
                if count % batch:
                    continue
                report()
                if count >= LEAST * batch and time.perf_counter() - begun > seconds:
                    break
        return count, time.perf_counter() - begun

    with Run(folder, walk, model.settings) as run:
        count, total = timed_saves(pictures)
        denoise, decode = (parts[name] / count for name in ("denoise", "decode"))
        if model.settings.device != "cpu":  # once more, without waiting for each part
            count, total = timed_saves(render(model, walk, range(batch, walk.frames)))

        # 3. What writing takes, by itself.
        begun = time.perf_counter()
        run.save(*first[0])
        write = (time.perf_counter() - begun) * count
    return Measured(count, warmed, encode, denoise * count, decode * count, write, total)


def _timed(model: models.Model, seconds: dict[str, float]) -> models.Model:
    """The model, counting its seconds by part. It waits for each part to end, as a film on a GPU does not."""

    def counting(name: str) -> Callable[..., Any]:
        part = getattr(model, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.perf_counter()
            result = part(*arguments, **named)
            machine.wait(model.settings.device)
            seconds[name] += time.perf_counter() - begun
            return result

        return timed

    timed = copy.copy(model)
    for name in ("encode", "denoise", "decode"):
        setattr(timed, name, counting(name))
    return timed
