"""A run folder: manifest and finished frames, safe against a kill at any instant. Knows no tensors.

film.walk/
  walk.json    what made the newest film (walk.manifest)
  frames/      00002.4100000000-<fingerprint>.png, by position; frames of earlier walks are kept
  films        names and digests of the films that were made from here
  walks/       the same as walk.json of earlier films, too, so that going back moves no frame
  quick/       such a folder for the pictures of a quick preview
  upscaled/    such a folder for the frames, enlarged by --upscale
  sound-*.json what walk.music heard
  lock         held by the process that works here
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from weakref import WeakValueDictionary

import filelock
import numpy as np
from PIL import Image

from walk import Error, manifest, png
from walk.files import reading, write_whole, writing
from walk.manifest import Manifest, fingerprints, read_manifest
from walk.settings import Settings
from walk.timeline import GRAIN, Walk

UPSCALED = "upscaled"  # a folder within
WRITERS = max(2, min(16, os.cpu_count() or 1))  # threads, which mostly wait for the disk
WAITING = 32  # frames on their way to the disk, at most,
HELD = 2**30  # and bytes of their pictures
_NAME = re.compile(r"\d+\.\d+-([0-9a-f]{16})\.png")
_KEY = "walk-fingerprint"  # the PNG's text chunk
_OPEN: WeakValueDictionary[Path, filelock.FileLock] = WeakValueDictionary()  # by folders that this process opened


class Run:
    """An open run folder; a context manager. Only one process can have it open."""

    def __init__(
        self, folder: Path | str, walk: Walk, settings: Settings, describe: bool = True, decided: bool = True
    ) -> None:
        """Open or create. `settings` are complete ones (`walk.models.complete`). If `describe`, each
        frame says in its PNG what made it: the keyframes around it, its place, and the settings.
        decided=False: where the frames belong is still to be found out; `decide` is called then, or the film is made
        of them as they are.

        Raises Error if another Run or process has it open or it cannot be written, and for settings that are not
        complete, with what they lack: what they leave to the model would not be told apart from frame to frame.
        """
        if not isinstance(settings, Settings):
            raise Error(f"a {type(settings).__name__} is not Settings; give model.settings")
        if left := settings.left_open():
            raise Error(
                f"these settings are not complete: they lack {', '.join(left)}; give model.settings, or for a model of "
                "your own all of them"
            )
        self.folder = Path(folder)
        self.describe = describe
        self._hold(Manifest(walk, settings), decided)
        self._frames = self.folder / "frames"
        self._new = not (self.folder / "lock").exists()
        with writing(self.folder, "; give another --out"):
            self._frames.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.folder / "lock", thread_local=False)  # any may close it
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                lock = _OPEN.get(self.folder.resolve())
                if lock is not None and lock.is_locked:
                    raise Error(f"{self.folder} is open in this program already; close that Run first") from None
                raise busy(self.folder) from None
        try:
            self._sweep()
            self.before = _newest(self.folder, settings) or Manifest(walk, settings)  # which tells nothing
            if decided:
                self._write(self.folder / manifest.FILE, self.manifest.text())
        except BaseException:
            self._lock.release()
            raise
        _OPEN[self.folder.resolve()] = self._lock

    def close(self) -> None:
        """Let others open the folder. Nothing is lost: whatever was saved is on the disk."""
        self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        if kind is not None and self._new and not self._finished:  # what has failed at once leaves nothing behind
            with contextlib.suppress(OSError):  # but what was heard, which took its time
                self._frames.rmdir()
                shutil.rmtree(self._kept().parent, ignore_errors=True)
                for name in (manifest.FILE, "lock"):
                    (self.folder / name).unlink(missing_ok=True)
                self.folder.rmdir()
        self.close()

    def _hold(self, its: Manifest, decided: bool) -> None:
        self.manifest = its  # what makes the frames
        self.fingerprints = fingerprints(its.walk, its.settings)
        self.rows = dict(zip(self.fingerprints, its.rows))  # which of its batch a frame takes, if not as its index says
        self._decided = decided

    @property
    def walk(self) -> Walk:
        return self.manifest.walk

    @property
    def settings(self) -> Settings:
        return self.manifest.settings

    def at(self, walk: Walk) -> Run:
        """The same open folder, for the frames of another walk."""
        return self.of(Manifest(walk, self.settings), decided=False)

    def of(self, its: Manifest, decided: bool = True) -> Run:
        """The same open folder, for the frames that this manifest tells of."""
        other = copy.copy(self)
        other._hold(its, decided)
        return other

    def decide(self, walk: Walk, rows: Mapping[str, int], refined: bool = False) -> Run:
        """The same open folder, for the film: that is where its frames belong.

        rows: by fingerprint, which row of its batch each frame takes. They have been rendered in another order than
        the film's, and one that gets lost has to take its row again.
        refined: where they belong follows from an earlier film, too, so that nobody can find it out again.
        """
        noted = tuple(rows[name] for name in fingerprints(walk, self.settings))
        return self.keep(Manifest(walk, self.settings, self.walk, noted, refined))

    def keep(self, decided: Manifest) -> Run:
        """The same open folder, for the film of which this was decided, now or before."""
        self._write(self._kept(), decided.text())
        self._write(self.folder / manifest.FILE, decided.text())
        return self.of(decided)

    def decided(self) -> Manifest | None:
        """For the film, if it was decided before of a walk with the same frames to begin with."""
        return decided(self.folder, self.walk, self.settings)

    def _kept(self) -> Path:
        return _kept(self.folder, self.fingerprints)

    def promising(self) -> set[str]:
        """Fingerprints of frames that are here and will serve this walk, as far as can be told before it is decided
        where its frames belong: those of the film before that an edit has not changed."""
        known = self.before.belongs(self.walk)
        told = {
            name
            for name, *places in zip(
                fingerprints(self.walk.moved(known), self.settings),
                *filter(None, (self.walk.positions, self.walk.noise)),
            )
            if all(int(place) in known or not place % 1 for place in places)
        }
        return told & self._finished.keys()

    def unread(self, names: Iterable[str] | None = None) -> list[str]:
        """Fingerprints of this walk's frames, or of these, that were found here, and have not been read to tell whether
        they are whole."""
        names = dict.fromkeys(self.fingerprints if names is None else names)
        return [name for name in names if name in self._finished and name not in self._checked]

    def read(self, names: Iterable[str] | None = None, report: Callable[[], object] = lambda: None) -> None:
        """This walk's frames that were found, or these, once. A damaged one is removed. report: called for each."""
        for name in self.unread(names):
            self._checked.add(name)
            path = self._finished[name]
            with reading(path):
                whole = png.is_whole(path, _KEY, name)
            if not whole:
                self.damaged.append(path.name)
                del self._finished[name]
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise Error(f"{path} is damaged and cannot be removed ({error.strerror})") from None
            report()

    def missing(self, among: Sequence[int] | None = None, report: Callable[[], object] = lambda: None) -> list[int]:
        """Indices of the frames to render, of all or among some. Of frames that are the same picture, the first.

        Every frame of this walk that was found is read, once. A damaged one is removed, and so is missing.
        report: called for each that was read.
        """
        self.read(report=report)
        first: dict[str, int] = {}
        for index in range(self.walk.frames) if among is None else among:
            if self.fingerprints[index] not in self._finished:
                first.setdefault(self.fingerprints[index], index)
        return list(first.values())

    def save(self, index: int, picture: np.ndarray) -> None:
        """Write one frame, (height, width, 3) uint8; when this returns, a kill cannot lose it.

        Raises Error if the disk is full, for a picture of another size or kind than the settings say, and for an index
        that the walk does not have.
        """
        self.walk.check([index])
        picture = np.asarray(picture)
        shape = self.settings.height, self.settings.width, 3
        if picture.shape != shape or picture.dtype != np.uint8:
            raise Error(f"frame {index} is {picture.dtype} {picture.shape}; this run's pictures are uint8 {shape}")
        fingerprint = self.fingerprints[index]
        texts = {_KEY: fingerprint}
        if self.describe:
            texts["walk"] = manifest.canonical([self.settings.deciding(), *manifest.place(self.walk, index)]).decode()
        path = self._frames / f"{self.walk.positions[index]:016.10f}-{fingerprint}.png"  # which tells GRAINs apart
        self._write(path, png.encoded(picture, texts))
        self._checked.add(fingerprint)
        self._finished[fingerprint] = path

    @contextlib.contextmanager
    def saver(self) -> Iterator[SaveFrame]:
        """`save`, done in the background; on leaving, all frames are safe. Errors come with the next
        frame, or on leaving."""
        with ThreadPoolExecutor(WRITERS) as pool:
            save = SaveFrame(self, pool)
            try:
                yield save
            finally:
                save.wait(0)

    def frames(self) -> list[Path]:
        """The film's frames in its order; only when none is missing."""
        missing = self.missing()
        if missing:
            raise Error(f"{len(missing)} of {self.walk.frames} frames are missing in {self.folder}")
        return [self._finished[fingerprint] for fingerprint in self.fingerprints]

    def claim(self, name: str) -> None:
        """Say that a film of this name is made from here, of this walk, before it is."""
        if not self._decided:
            self._write(self.folder / manifest.FILE, self.manifest.text())
        self.made(name, films(self.folder).get(name, ""))

    def made(self, name: str, digest: str, made_of: str = "") -> None:
        """Say what tells a film that was made from here from any other file of its name; of two, with a space between,
        where one is about to take the other's place. made_of: what tells it from what else can be made from here."""
        self._write(self.folder / "films", json.dumps(films(self.folder) | {name: digest}).encode())
        if made_of:
            self._write(self.folder / "made", json.dumps(made_of_films(self.folder) | {name: made_of}).encode())

    def picture(self, index: int) -> np.ndarray:
        """A finished frame, (height, width, 3) uint8. Raises Error if somebody has taken it away."""
        path = self._finished[self.fingerprints[index]]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except OSError as error:
            raise Error(f"{path} cannot be read ({error.strerror or 'it is damaged'})") from None

    def size(self) -> float:
        """Bytes that a frame takes, on average over the finished ones."""
        sizes = [path.stat().st_size for path in self._finished.values()]
        return sum(sizes) / max(len(sizes), 1)

    def count(self) -> int:
        """How many frames of this walk are finished."""
        return sum(fingerprint in self._finished for fingerprint in self.fingerprints)

    def here(self, names: Iterable[str]) -> set[str]:
        """Those of these fingerprints, of any walk, whose frames are finished."""
        return self._finished.keys() & names

    def _sweep(self) -> None:
        """Take stock of the frames, and remove what a killed process left half-written."""
        self._checked: set[str] = set()
        self.damaged: list[str] = []  # frames that were
        self._finished = finished(self.folder)
        for folder in (self._frames, self.folder, self._kept().parent):
            for path in folder.glob(".*.part*"):
                with contextlib.suppress(OSError):  # what cannot be removed does no harm
                    path.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        try:
            if path.parent != self.folder:  # which nobody makes again if it was taken away
                path.parent.mkdir(exist_ok=True)
            write_whole(path, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Error(f"the disk is full: {path} was not written") from None
            raise Error(f"{path} cannot be written ({error.strerror})") from None


class SaveFrame:
    """Call it with (index, picture). pool: of threads, to write in."""

    def __init__(self, run: Run, pool: ThreadPoolExecutor) -> None:
        self._run, self._pool = run, pool
        self._waiting: list[Future[None]] = []

    def at(self, run: Run) -> SaveFrame:
        """For the frames of another walk in the same folder."""
        other = copy.copy(self)
        other._run = run
        return other

    def __call__(self, index: int, picture: np.ndarray) -> Future[None]:
        """When it is done, the frame is safe."""
        saved = self._pool.submit(self._run.save, index, picture)
        self._waiting.append(saved)
        self.wait(min(WAITING, HELD // max(picture.nbytes, 1)))
        return saved

    def wait(self, allowed: int) -> None:
        """Until no more than this many frames are on their way to the disk."""
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0].done()):
            self._waiting.pop(0).result()


def finished(folder: Path) -> dict[str, Path]:
    """The frames in a run folder, by fingerprint; unread, so some may be damaged."""
    paths = sorted((folder / "frames").iterdir()) if (folder / "frames").is_dir() else []
    return {match[1]: path for path in paths if (match := _NAME.fullmatch(path.name))}


def by_place(folder: Path, walk: Walk, settings: Settings) -> dict[float, Path]:
    """The frames in a run folder that lie on this walk's path, by position, wherever on it this walk has its own; those
    whose noise is where the prompts are. Nobody is disturbed who works there."""
    there = finished(folder)
    end = walk.segments - (1 / GRAIN if walk.closed else 0)
    told = {round(float(path.name.partition("-")[0]) * GRAIN) / GRAIN: name for name, path in there.items()}
    places = [place for place in sorted(told) if place <= end]
    names = fingerprints(walk.with_positions(places), settings)
    return {place: there[name] for place, name in zip(places, names) if name in there}


def by_index(folder: Path, walk: Walk, settings: Settings) -> dict[int, Path]:
    """The frames of a walk that are in a run folder."""
    there = finished(folder)
    return {index: there[name] for index, name in enumerate(fingerprints(walk, settings)) if name in there}


def decided(folder: Path, walk: Walk, settings: Settings) -> Manifest | None:
    """Where the frames of a walk belong, if that was decided before of one with the same frames to begin with."""
    with contextlib.suppress(Error, OSError):
        kept = manifest.read(_kept(folder, fingerprints(walk, settings)))
        # Two lists of keyframes can ask for the same frames, where a keyframe is there twice.
        if kept.asked and manifest.told(kept.walk) == manifest.told(walk):
            found = dataclasses.replace(walk, positions=kept.walk.positions, noise=kept.walk.noise)
            return dataclasses.replace(kept, walk=found, settings=settings, asked=walk)
    return None


def newest(folder: Path, walk: Walk, settings: Settings) -> Manifest | None:
    """Of the newest film in a run folder, if it is of these keyframes, whenever they come, of as many frames, and of these
    settings."""
    made = _newest(folder, settings)
    same = made and manifest.told(made.walk) == manifest.told(walk) and made.walk.frames == walk.frames
    return made if same else None


def is_whole(frame: Path) -> bool:
    """Whether every byte of a finished frame is there."""
    name = frame.stem.rpartition("-")[2]
    try:
        return png.is_whole(frame, _KEY, name)
    except PermissionError:
        return False


def _kept(folder: Path, names: Sequence[str]) -> Path:
    return folder / "walks" / f"{_digest(names)}.json"


def _newest(folder: Path, settings: Settings) -> Manifest | None:
    """Of the newest film in a run folder, if it was of the same settings."""
    with contextlib.suppress(Error):
        made = read_manifest(folder)
        if made.settings.deciding() == settings.deciding():
            return made
    return None


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(manifest.canonical(names)).hexdigest()[:16]


def busy(folder: Path) -> Error:
    return Error(f"another walk is at work in {folder}; wait for it, or give another --out")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else can open a run folder meanwhile, if it is one. Raises Error if a process has it open."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # one that cannot be written can still be read
            try:
                if os.path.isfile(folder / "lock"):
                    held.enter_context(filelock.FileLock(folder / "lock").acquire(timeout=0))
            except filelock.Timeout:
                raise busy(folder) from None
        yield


def films(folder: Path) -> dict[str, str]:
    """By name, the digests of the films that were made from a run folder; '' where one was begun and none was put there;
    two, where one may have taken the other's place."""
    return _texts(folder / "films")


def made_of_films(folder: Path) -> dict[str, str]:
    """By name, what those films were made of."""
    return _texts(folder / "made")


def _texts(path: Path) -> dict[str, str]:
    try:
        return {str(name): str(text) for name, text in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def alike(folder: Path, walk: Walk, settings: Settings) -> Path | None:
    """For a run folder that has no frames, another beside it whose newest film is of the same ones."""
    if finished(folder):
        return None
    names = fingerprints(walk, settings)
    for other in sorted(folder.parent.glob("*.walk")):
        with contextlib.suppress(Error, OSError):
            made = read_manifest(other)
            if made.walk.frames != walk.frames or made.settings.deciding() != settings.deciding():
                continue
            there = fingerprints(made.walk, made.settings)
            wanted = there == names or (made.asked and fingerprints(made.asked, made.settings) == names)
            if wanted and finished(other).keys() & there:
                return other
    return None


def ages(folder: Path) -> tuple[str, list[str]]:
    """Of the films beside a run folder that were made from it, the newest ('' if none was made since its walk was
    written down), and the others."""
    beside = folder.absolute().parent
    made = {name: (beside / name).stat().st_mtime_ns for name in films(folder) if (beside / name).exists()}
    newest = max(made, key=made.__getitem__, default="")
    noted = folder / manifest.FILE
    if newest and (not noted.is_file() or made[newest] < noted.stat().st_mtime_ns):
        newest = ""
    return newest, [name for name in made if name != newest]


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[list[Path]]:
    """Finished frames that the newest walk in a run folder does not use, and those of quick previews, which no film does.
    Meanwhile nobody else can open the folder.

    Not those that were made since: a walk that is begun writes its manifest when it is known where its frames belong, so
    that a folder may have none yet. Raises Error if the folder is not a run folder, or a process is at work in it.
    """
    quick, upscaled = folder / "quick", folder / UPSCALED
    with alone(folder), alone(quick), alone(upscaled):
        if (os.path.isdir(quick) or os.path.isfile(folder / "lock")) and not os.path.isfile(folder / manifest.FILE):
            yield [*finished(quick).values()]
            return
        made, noted = read_manifest(folder), (folder / manifest.FILE).stat().st_mtime_ns
        left = []
        for where in (folder, upscaled):
            used = set()
            if os.path.isfile(where / manifest.FILE):
                used = {*fingerprints(made.walk, read_manifest(where).settings)}
            there = finished(where).items()
            left += [path for name, path in there if name not in used and path.stat().st_mtime_ns < noted]
        yield [*left, *finished(quick).values()]
