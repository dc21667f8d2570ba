"""A film's frames, enlarged: kept in a run folder within the film's, so that none of them is lost either.

Joins walk.run and walk.upscale; renders nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np

from walk import png
from walk.manifest import FILE, Manifest, fingerprints
from walk.progress import Listener
from walk.run import UPSCALED, Run, finished
from walk.text import plural
from walk.upscale import NoRoomError, Upscaler

T = TypeVar("T")


class Larger:
    """The frames of a run, enlarged; a context manager. `run` is theirs, of which some may be missing."""

    def __init__(self, run: Run, upscaler: Upscaler, size: tuple[int, int]) -> None:
        """size: (width, height) of what is kept."""
        self.small, self.size = run, size
        self.upscaler, _ = _as_before(run, upscaler, size)
        self.run = Run(run.folder / UPSCALED, run.walk, self.upscaler.at(size), run.describe)

    def __enter__(self) -> Larger:
        self.run.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.run.__exit__(*error)

    def count(self) -> int:
        """How many are enlarged."""
        return self.run.count()

    def enlarge(self, listener: Listener) -> None:
        """All that are missing; of the small ones none may be. Where tiles find no room, all of them in smaller ones."""
        _in_tiles(self.upscaler, lambda upscaler: self._enlarge(upscaler, listener), listener)

    def _enlarge(self, upscaler: Upscaler, listener: Listener) -> None:
        if upscaler is not self.upscaler:
            self.upscaler = upscaler
            self.run = self.run.keep(Manifest(self.small.walk, upscaler.at(self.size)))
        unread = len(self.run.unread())
        with listener.progress("reading enlarged frames", unread, after=2) as progress:
            missing = self.run.missing(report=lambda: progress.more(1))
        if self.run.damaged:
            listener.say(f"{plural(len(self.run.damaged), 'enlarged frame')} damaged and made again")
        if missing and self.count():
            listener.say(f"{self.count()} of {self.run.walk.frames} frames are enlarged already")
        with listener.progress("enlarging", len(missing), after=2) as progress, self.run.saver() as save:
            for index, picture in zip(missing, _one_ahead(self.small.picture, missing)):
                save(index, upscaler(picture, self.size))
                progress.more(1)


def _one_ahead(read: Callable[[int], T], indices: Sequence[int]) -> Iterator[T]:
    """What is read of each; of the next one meanwhile, so that a GPU does not wait for the disk."""
    with ThreadPoolExecutor(1) as aside:
        coming: list[Future[T]] = []
        for index in indices:
            coming.append(aside.submit(read, index))
            if len(coming) > 1:
                yield coming.pop(0).result()
        for last in coming:
            yield last.result()


def forget(run: Run) -> None:
    """The film is of the frames as they are: those that are enlarged are of no use to it."""
    (run.folder / UPSCALED / FILE).unlink(missing_ok=True)


class Trial(NamedTuple):
    """One picture, enlarged; and what the frames of a run will take that are not yet: seconds, and bytes of their files."""

    picture: np.ndarray
    seconds: float
    bytes: int


def trial(run: Run, upscaler: Upscaler, size: tuple[int, int], picture: np.ndarray, listener: Listener) -> Trial:
    """Enlarges a picture twice: the first time is slow."""
    upscaler, missing = _as_before(run, upscaler, size)

    def timed(upscaler: Upscaler) -> Trial:
        upscaler(picture, size)
        progress.more(1)
        begun = time.monotonic()
        large = upscaler(picture, size)
        data = png.encode(large, {})
        return Trial(large, missing * (time.monotonic() - begun), missing * len(data))

    with listener.progress("timing the upscaler", 2, after=2, unit="pictures") as progress:
        return _in_tiles(upscaler, timed, listener)


def _in_tiles(upscaler: Upscaler, work: Callable[[Upscaler], T], listener: Listener) -> T:
    """What is done with an upscaler; where its tiles find no room, once more with smaller ones."""
    while True:
        try:
            return work(upscaler)
        except NoRoomError:
            fewer = upscaler.smaller()
            if fewer is None:
                raise
        listener.say(f"tiles of {upscaler.tile} pixels do not fit in memory; going on with {fewer.tile}")
        upscaler = fewer


def _as_before(run: Run, upscaler: Upscaler, size: tuple[int, int]) -> tuple[Upscaler, int]:
    """In the tiles of most frames that are there, which still serve: the larger ones may have found no room after them.
    And how many pictures are missing."""
    there = finished(run.folder / UPSCALED).keys()
    left = [(len(set(fingerprints(run.walk, it.at(size))) - there), it) for it in _tilings(upscaler)]
    missing, best = min(left, key=lambda each: each[0])
    return best, missing


def _tilings(upscaler: Upscaler | None) -> Iterator[Upscaler]:
    while upscaler is not None:
        yield upscaler
        upscaler = upscaler.smaller()
