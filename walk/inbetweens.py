"""A film's frames between those that are rendered, interpolated: kept in the run folder until the film is made.

Joins walk.run, walk.between and walk.interpolate; renders nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from walk import Error, downloads, flags, hub, interpolate, png
from walk.between import Spot, Thinned
from walk.files import at_home, writing
from walk.interpolate import Interpolator, Network
from walk.manifest import canonical
from walk.order import Order
from walk.progress import Listener, in_bytes
from walk.run import Run, put, saving
from walk.settings import BUILT_IN

FOLDER = "between"  # within the film's run folder
_KEY = "walk-interpolated"  # the PNG's text chunk
_NAME = re.compile(r"[0-9a-f]{16}\.png")


def find_network(order: Order, listener: Listener) -> Network | None:
    """What is to make the frames between rendered ones, if any are. The hub's is downloaded."""
    if order.thinned.is_whole:
        return None
    name = order.flags.get("interpolator", flags.OWN)
    if name == flags.OWN:  # the built-in model's pictures hardly move: mixed, they are nearer to what it would make
        name = flags.BLEND if order.settings.model == BUILT_IN else hub.INTERPOLATOR
    if name == flags.BLEND:
        return Network(None, name, name)
    try:
        with in_bytes(listener) as report, downloads.reporting(report):
            path = hub.find_interpolator(name)
    except Error as error:
        if name != hub.INTERPOLATOR:
            raise
        raise Error(f"{error}; or mix frames, with --interpolator blend") from None
    return interpolate.read(path)._replace(name=path.name if at_home(name).is_file() else name)


class Inbetweens:
    """All frames of a film, of which a run holds those that are rendered."""

    def __init__(self, shown: Run, thinned: Thinned, interpolator: Interpolator, folder: Path) -> None:
        """shown: the run of the rendered frames alone, or of these enlarged. folder: the film's run folder."""
        self.shown, self.spots, self.interpolator = shown, thinned.spots, interpolator
        self.folder = folder / FOLDER
        software = *shown.settings.software, interpolator.how
        self.settings = dataclasses.replace(shown.settings, software=software)
        self.fingerprints = [self._fingerprint(spot) for spot in self.spots]

    def _fingerprint(self, spot: Spot) -> str:
        a, b = (self.shown.fingerprints[number] for number in spot[:2])
        if not spot.share or a == b:
            return a
        return hashlib.sha256(canonical([self.interpolator.how, a, b, spot.share])).hexdigest()[:16]

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.fingerprints[index]}.png"

    def _is_made(self, index: int) -> bool:
        return self.fingerprints[index] != self.shown.fingerprints[self.spots[index].before]

    @property
    def made(self) -> set[Path]:
        """The files of frames that are interpolated, be they there or not."""
        return {self._path(index) for index in range(len(self.spots)) if self._is_made(index)}

    def make(self, listener: Listener, indices: Sequence[int] | None = None) -> list[Path]:
        """Interpolate all frames, or those of these, that are missing; returns the files of these. All rendered ones that
        they need are there."""
        wanted = range(len(self.spots)) if indices is None else indices
        unique = {self.fingerprints[index]: index for index in wanted if self._is_made(index)}
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
        for path in self.folder.glob(".*.part"):  # what a killed process left half-written
            with contextlib.suppress(OSError):
                path.unlink()
        missing = [
            index for name, index in sorted(unique.items(), key=lambda item: item[1])
            if not png.is_whole(self._path(index), _KEY, name)
        ]  # fmt: skip
        if len(missing) < len(unique) and missing:
            listener.say(f"{len(unique) - len(missing)} of {len(unique)} frames are interpolated already")
        with listener.progress("interpolating", len(missing), after=2) as progress, saving(self._save) as save:
            for index, picture in self._pictures(missing):
                save(index, picture)
                progress.more(1)
        return [self._path(index) for index in missing]

    def _pictures(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        pairs = [self.spots[index][:2] for index in indices]
        numbers = [number for number, _ in groupby(number for pair, _ in groupby(pairs) for number in pair)]
        reading, held = zip(numbers, self.shown.pictures(numbers)), dict[int, np.ndarray]()
        for index, (before, after) in zip(indices, pairs):  # one picture is mostly read for each pair
            while not {before, after} <= held.keys():
                number, picture = next(reading)
                held = {**dict([*held.items()][-1:]), number: picture}
            yield index, self.interpolator(held[before], held[after], self.spots[index].share)

    def _save(self, index: int, picture: np.ndarray) -> None:
        put(self._path(index), png.encode(picture, {_KEY: self.fingerprints[index]}))

    def frames(self, indices: Sequence[int] | None = None) -> list[Path]:
        """All frames of the film in its order, or these. Raises Error if any is missing."""
        wanted = range(len(self.spots)) if indices is None else indices
        numbers = sorted({self.spots[index].before for index in wanted if not self._is_made(index)})
        rendered = dict(zip(numbers, self.shown.frames(numbers)))
        paths = [self._path(index) if self._is_made(index) else rendered[self.spots[index].before] for index in wanted]
        if lost := next((path for path in dict.fromkeys(paths) if not path.is_file()), None):
            raise Error(f"{lost} was removed meanwhile; run the same command again")
        return paths


def forget(folder: Path, paths: Iterable[Path] | None = None) -> None:
    """Remove all interpolated frames in a run folder, or these: the film has them, and they are soon made again."""
    with contextlib.suppress(OSError):
        for path in (folder / FOLDER).iterdir() if paths is None else paths:
            if _NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)
        (folder / FOLDER).rmdir()
