"""A film's frames, enlarged: they are kept in a run folder within the film's, so that none of them is lost either.

Joins walk.run and walk.upscale; renders nothing.
"""

from __future__ import annotations

import time

import numpy as np

from walk import Error, OutOfMemoryError, png
from walk.manifest import Manifest
from walk.progress import Listener
from walk.run import UPSCALED, Run
from walk.upscale import Upscaler


def opened(run: Run, upscaler: Upscaler, size: tuple[int, int]) -> Run:
    """The run of the same frames, enlarged to this (width, height)."""
    return Run(run.folder / UPSCALED, run.walk, upscaler.at(size), run.describe)


def enlarge(run: Run, larger: Run, upscaler: Upscaler, listener: Listener) -> Run:
    """Enlarge all frames of a run, of which none is missing, that are missing in the other one, which `opened` has. Where
    tiles find no room, all of them in smaller ones. Returns the run of these."""
    size = larger.settings.width or 0, larger.settings.height or 0
    while True:
        try:
            _enlarge(run, larger, upscaler, size, listener)
            return larger
        except OutOfMemoryError:
            fewer = upscaler.smaller()
        if fewer is None:
            raise Error("the upscaler finds no room in memory; give another --upscale, or --device cpu")
        listener.say(f"tiles of {upscaler.tile} pixels do not fit in memory; going on with {fewer.tile}")
        upscaler = fewer
        larger = larger.keep(Manifest(run.walk, upscaler.at(size)))


def trial(upscaler: Upscaler, picture: np.ndarray, size: tuple[int, int]) -> tuple[float, int]:
    """Seconds that a picture takes, and bytes of its file; of the second, since a network is slow at first."""
    upscaler(picture, size)
    begun = time.monotonic()
    large = png.encoded(upscaler(picture, size), {})
    return time.monotonic() - begun, len(large)


def _enlarge(run: Run, larger: Run, upscaler: Upscaler, size: tuple[int, int], listener: Listener) -> None:
    if not (missing := larger.missing()):
        return
    with listener.progress("enlarging", len(missing)) as progress, larger.saver() as save:
        for index in missing:
            save(index, upscaler(run.picture(index), size))
            progress.more(1)
