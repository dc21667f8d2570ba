"""A film's frames, enlarged: kept in a run folder within the film's, so that none of them is lost either.

Joins walk.run and walk.upscale; renders nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from walk import png
from walk.manifest import FILE, Manifest, fingerprints
from walk.progress import Listener
from walk.run import UPSCALED, Run, best_served
from walk.text import plural
from walk.upscale import NoRoomError, Upscaler

T = TypeVar("T")


class Larger:
    """The frames of a run, enlarged; a context manager. `run` holds the enlarged ones; some may be missing."""

    def __init__(self, run: Run, upscaler: Upscaler, size: tuple[int, int]) -> None:
        """size: (width, height) of the enlarged frames."""
        self.small, self.size = run, size
        self.upscaler, _ = _as_enlarged_before(run, upscaler, size)
        self.run = Run(run.folder / UPSCALED, run.walk, self.upscaler.at(size), run.describe)

    def __enter__(self) -> Larger:
        self.run.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.run.__exit__(*error)

    def count(self) -> int:
        """How many frames are enlarged."""
        return self.run.count()

    def enlarge(self, listener: Listener) -> None:
        """Enlarge all that are missing; none of the small frames may be. If tiles do not fit in memory, all are
        enlarged in smaller ones."""
        _in_tiles(self.upscaler, lambda upscaler: self._enlarge(upscaler, listener), listener)

    def _enlarge(self, upscaler: Upscaler, listener: Listener) -> None:
        if upscaler is not self.upscaler:
            self.upscaler = upscaler
            self.run = self.run.record(Manifest(self.small.walk, upscaler.at(self.size)))
        unread = len(self.run.unread())
        with listener.progress("reading enlarged frames", unread, after=2) as progress:
            missing = self.run.missing(report=lambda: progress.more(1))
        if self.run.damaged:
            listener.say(f"{plural(len(self.run.damaged), 'enlarged frame')} damaged and made again")
        if missing and self.count():
            listener.say(f"{self.count()} of {self.run.walk.frames} frames are enlarged already")
        with listener.progress("enlarging", len(missing), after=2) as progress, self.run.saver() as save:
            for index, picture in zip(missing, self.small.pictures(missing)):
                save(index, upscaler(picture, self.size))
                progress.more(1)


def forget(run: Run) -> None:
    """Record that the film is of the frames as they are, so that it does not use the enlarged ones."""
    (run.folder / UPSCALED / FILE).unlink(missing_ok=True)


class Trial(NamedTuple):
    """One picture, enlarged; and what the frames that are not enlarged yet will take: seconds, and bytes of files."""

    picture: np.ndarray
    seconds: float
    bytes: int


def trial(run: Run, upscaler: Upscaler, size: tuple[int, int], picture: np.ndarray, listener: Listener) -> Trial:
    """Enlarge a picture twice, since the first time is slow."""
    upscaler, missing = _as_enlarged_before(run, upscaler, size)

    def timed(upscaler: Upscaler) -> Trial:
        upscaler(picture, size)
        progress.more(1)
        begun = time.perf_counter()
        large = upscaler(picture, size)
        data = png.encode(large, {})
        return Trial(large, missing * (time.perf_counter() - begun), missing * len(data))

    with listener.progress("timing the upscaler", 2, after=2, unit="pictures") as progress:
        return _in_tiles(upscaler, timed, listener)


def _in_tiles(upscaler: Upscaler, work: Callable[[Upscaler], T], listener: Listener) -> T:
    """The result of work with an upscaler; if its tiles do not fit in memory, work is done again with smaller ones."""
    while True:
        try:
            return work(upscaler)
        except NoRoomError:
            smaller = upscaler.smaller()
            if smaller is None:
                raise
        listener.say(f"tiles of {upscaler.tile} pixels do not fit in memory; going on with {smaller.tile}")
        upscaler = smaller


def _as_enlarged_before(run: Run, upscaler: Upscaler, size: tuple[int, int]) -> tuple[Upscaler, int]:
    """The upscaler with the tiles in which most of the frames were enlarged, so that these serve: larger tiles may not
    have fitted in memory. And how many pictures are missing."""
    names = {it: set(fingerprints(run.walk, it.at(size))) for it in _tilings(upscaler)}
    best, count = best_served(run.folder / UPSCALED, names)
    return best, len(names[best]) - count


def _tilings(upscaler: Upscaler | None) -> Iterator[Upscaler]:
    """An upscaler, and the same with ever smaller tiles."""
    while upscaler is not None:
        yield upscaler
        upscaler = upscaler.smaller()
