"""A run folder: manifest and finished frames, safe against a kill at any instant. Knows no tensors.

film.walk/
  walk.json    what made the newest film (walk.manifest)
  frames/      00002.4100000000-<fingerprint>.png, by position; frames of earlier walks are kept
  films        names and digests of the films that were made from here
  made         names of these films, each with a digest of what it was made of
  walks/       a walk.json for each film whose frames were moved, so that going back to it moves none
  quick/       a run folder for the pictures of a quick preview
  upscaled/    a run folder for the frames, enlarged by --upscale
  between/     interpolated frames, until the film is made
  sound-*.json what walk.music heard
  lock         held by the process that works here; on Windows it vanishes with that
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
from typing import TypeVar
from weakref import WeakValueDictionary

import filelock
import numpy as np
from PIL import Image

from walk import Error, manifest, png
from walk.files import reading, write_whole, writing
from walk.manifest import Manifest, fingerprints, read_manifest
from walk.settings import Settings
from walk.timeline import GRAIN, Walk

UPSCALED = "upscaled"  # a run folder within the film's
WRITERS = max(2, min(16, os.cpu_count() or 1))  # threads, which mostly wait for the disk
LONGEST = 80  # characters, about, of a temporary frame's name, and of the folder that it lies in if it is enlarged
WAITING = 32  # frames, at most, wait to be on the disk,
HELD = 2**30  # and bytes of their pictures
T = TypeVar("T")
_NAME = re.compile(r"\d+\.\d+-([0-9a-f]{16})\.png")
_KEY = "walk-fingerprint"  # the PNG's text chunk
_OPEN: WeakValueDictionary[Path, filelock.FileLock] = WeakValueDictionary()  # by folder that this process has opened


class Run:
    """An open run folder; a context manager. Only one process can have it open."""

    def __init__(
        self, folder: Path | str, walk: Walk, settings: Settings, describe: bool = True, decided: bool = True
    ) -> None:
        """Open or create a run folder.

        settings: complete ones (`walk.models.complete`). describe: whether each frame says in its PNG what made it:
        the keyframes around it, its place, and the settings. decided: False if it is still to be found out where the
        frames belong; then call `decide`, or make the film of the frames as they are.

        Raises Error if another Run or process has the folder open or it cannot be written; and for settings that are
        not complete, naming what they lack: fingerprints could not tell apart what they leave to the model.
        """
        if not isinstance(settings, Settings):
            raise Error(f"a {type(settings).__name__} is not Settings; give model.settings")
        settings.check_complete()
        self.folder = Path(folder)
        self.describe = describe
        self._take(Manifest(walk, settings), decided)
        self._frames = self.folder / "frames"
        self._new = not any((self.folder / name).exists() for name in ("lock", "frames"))
        with writing(self.folder, "; give another --out"):
            self._frames.mkdir(parents=True, exist_ok=True)
            _check_length(self._frames)
            self._lock = filelock.FileLock(self.folder / "lock", thread_local=False)  # any may close it
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                lock = _OPEN.get(self.folder.resolve())
                if lock is not None and lock.is_locked:
                    raise Error(f"{self.folder} is open in this program already; close that Run first") from None
                raise BusyError(self.folder) from None
        try:
            self._sweep()
            self.before = _newest(self.folder, settings) or Manifest(walk, settings)  # which tells of no other film
            if decided:
                self._write(self.folder / manifest.FILE, self.manifest.text())
        except BaseException:
            self._lock.release()
            raise
        _OPEN[self.folder.resolve()] = self._lock

    def close(self) -> None:
        """Let others open the folder. All that was saved is on the disk."""
        self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: object = None, *_: object) -> None:
        if kind is not None and self._new and not self._finished:  # a run that failed at once leaves nothing behind
            with contextlib.suppress(OSError):  # but what was heard of a sound, which took its time
                self._frames.rmdir()
                shutil.rmtree(self._decided_path().parent, ignore_errors=True)
                (self.folder / manifest.FILE).unlink(missing_ok=True)
                try:
                    (self.folder / "lock").unlink(missing_ok=True)
                except PermissionError:  # Windows removes no file that is open
                    self.close()
                self.folder.rmdir()
        self.close()

    def _take(self, its: Manifest, decided: bool) -> None:
        self.manifest = its
        self.fingerprints = fingerprints(its.walk, its.settings)
        self.rows = dict(zip(self.fingerprints, its.rows))  # of frames whose row does not follow from their index
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
        """The same open folder, for the frames of this manifest."""
        other = copy.copy(self)
        other._take(its, decided)
        return other

    def decide(self, walk: Walk, rows: Mapping[str, int], refined: bool = False) -> Run:
        """Record that the film's frames belong where this walk has them. Returns the same open folder, for that film.

        rows: by fingerprint, which row of its batch each frame takes. They have been rendered in another order than
        the film's, and one that gets lost has to take its row again.
        refined: where they belong depends on an earlier film, too, so that it cannot be found out again.
        """
        in_order = tuple(rows[name] for name in fingerprints(walk, self.settings))
        return self.record(Manifest(walk, self.settings, self.walk, in_order, refined))

    def record(self, decided: Manifest) -> Run:
        """Record where a film's frames belong, decided now or before. Returns the same open folder, for that film."""
        self._write(self._decided_path(), decided.text())
        self._write(self.folder / manifest.FILE, decided.text())
        return self.of(decided)

    def decided(self) -> Manifest | None:
        """Where the frames of this walk belong, if that was decided before."""
        return decided(self.folder, self.walk, self.settings)

    def _decided_path(self) -> Path:
        return _decided_path(self.folder, self.fingerprints)

    def reusable(self) -> set[str]:
        """Fingerprints of finished frames that will serve this walk, as far as can be told before it is decided
        where its frames belong: those of the film before that an edit has not changed."""
        known = self.before.moves(self.walk)
        names = {
            name
            for name, *places in zip(
                fingerprints(self.walk.moved(known), self.settings),
                *filter(None, (self.walk.positions, self.walk.noise)),
            )
            if all(int(place) in known or not place % 1 for place in places)
        }
        return names & self._finished.keys()

    def unread(self, names: Iterable[str] | None = None) -> list[str]:
        """Fingerprints of this walk's frames, or of these, that are here and have not been read yet to tell whether
        they are whole."""
        names = dict.fromkeys(self.fingerprints if names is None else names)
        return [name for name in names if name in self._finished and name not in self._checked]

    def read(self, names: Iterable[str] | None = None, report: Callable[[], object] = lambda: None) -> None:
        """Read this walk's frames that are here, or these, each once. Removes damaged ones. report: called for each."""
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

        Reads every frame of this walk that is here, once. A damaged one is removed, and so is missing.
        report: called for each that is read.
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
        # Ten decimals tell GRAINs apart.
        path = self._frames / f"{self.walk.positions[index]:016.10f}-{fingerprint}.png"
        self._write(path, png.encode(picture, texts))
        self._checked.add(fingerprint)
        self._finished[fingerprint] = path

    def saver(self) -> contextlib.AbstractContextManager[SaveFrame]:
        """`save` in the background; on leaving, all frames are safe. Errors come with a later call, or on leaving."""
        return saving(self.save)

    def frames(self, indices: Sequence[int] | None = None) -> list[Path]:
        """The film's frames in its order, all or these. Raises Error if any is missing."""
        missing = self.missing(indices)
        if missing:
            raise Error(f"{len(missing)} of {self.walk.frames} frames are missing in {self.folder}")
        wanted = range(self.walk.frames) if indices is None else indices
        return [self._finished[self.fingerprints[index]] for index in wanted]

    def claim(self, name: str) -> None:
        """Record, before it is made, that a film of this name will be made from here, of this walk."""
        if not self._decided:
            self._write(self.folder / manifest.FILE, self.manifest.text())
        self.record_film(name, films(self.folder).get(name, ""))

    def record_film(self, name: str, digest: str, made_of: str = "") -> None:
        """Record that a film was made from here, as the newest.

        digest: of its file; while it is about to replace an older film, the older one's digest, a space, and its own.
        made_of: the digest of all that decides its bytes."""
        others = {other: text for other, text in films(self.folder).items() if other != name}
        self._write(self.folder / "films", json.dumps(others | {name: digest}).encode())
        if made_of:
            self._write(self.folder / "made", json.dumps(made_of_films(self.folder) | {name: made_of}).encode())

    def record_newest(self, name: str) -> None:
        """Record that a film, which was made before, is the newest again."""
        self.record_film(name, films(self.folder)[name])

    def picture(self, index: int) -> np.ndarray:
        """A finished frame, (height, width, 3) uint8. Raises Error if it was removed or damaged meanwhile."""
        path = self._finished[self.fingerprints[index]]
        try:
            with Image.open(path) as image:
                return np.asarray(image.convert("RGB"))
        except OSError as error:
            raise Error(f"{path} cannot be read ({error.strerror or 'it is damaged'})") from None

    def pictures(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """`picture` of each; reads one ahead, so that a GPU does not wait for the disk."""
        with ThreadPoolExecutor(1) as aside:
            coming: list[Future[np.ndarray]] = []
            for index in indices:
                coming.append(aside.submit(self.picture, index))
                if len(coming) > 1:
                    yield coming.pop(0).result()
            for last in coming:
                yield last.result()

    def size(self) -> float:
        """Bytes of a frame's file, on average over all that are finished."""
        sizes = [path.stat().st_size for path in self._finished.values()]
        return sum(sizes) / max(len(sizes), 1)

    def count(self) -> int:
        """How many frames of this walk are finished."""
        return sum(fingerprint in self._finished for fingerprint in self.fingerprints)

    def here(self, names: Iterable[str]) -> set[str]:
        """Those of these fingerprints whose frames are finished, be they of this walk or not."""
        return self._finished.keys() & names

    def _sweep(self) -> None:
        """Take stock of the frames, and remove what a killed process left half-written."""
        self._checked: set[str] = set()  # fingerprints of frames that were read, or written here
        self.damaged: list[str] = []  # names of files that were
        self._finished = finished(self.folder)
        for folder in (self._frames, self.folder, self._decided_path().parent):
            for path in folder.glob(".*.part*"):
                with contextlib.suppress(OSError):  # what cannot be removed does no harm
                    path.unlink()

    def _write(self, path: Path, data: bytes) -> None:
        if path.parent != self.folder:  # if that itself was taken away, it is not made again
            with _blaming(path):
                path.parent.mkdir(exist_ok=True)
        put(path, data)


def put(path: Path, data: bytes) -> None:
    """Write a file of a run folder, so that it is whole at any instant. Raises Error if the disk is full, say."""
    with _blaming(path):
        write_whole(path, data)


@contextlib.contextmanager
def _blaming(path: Path) -> Iterator[None]:
    """An OSError within is raised as an Error about this file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Error(f"the disk is full: {path} was not written") from None
        raise Error(f"{path} cannot be written ({error.strerror})") from None


class SaveFrame:
    """Saves frames in threads of a pool. Call it with (index, picture)."""

    def __init__(self, save: Callable[[int, np.ndarray], None], pool: ThreadPoolExecutor) -> None:
        self._save, self._pool = save, pool
        self._waiting: list[Future[None]] = []

    def at(self, run: Run) -> SaveFrame:
        """For the frames of another walk in the same folder."""
        other = copy.copy(self)
        other._save = run.save
        return other

    def __call__(self, index: int, picture: np.ndarray) -> Future[None]:
        """The frame is safe when what this returns is done."""
        saved = self._pool.submit(self._save, index, picture)
        self._waiting.append(saved)
        self.wait(min(WAITING, HELD // max(picture.nbytes, 1)))
        return saved

    def wait(self, allowed: int) -> None:
        """Wait until no more than this many frames are on their way to the disk."""
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0].done()):
            self._waiting.pop(0).result()


@contextlib.contextmanager
def saving(save: Callable[[int, np.ndarray], None]) -> Iterator[SaveFrame]:
    """As `Run.saver`, of any function that saves a picture."""
    with ThreadPoolExecutor(WRITERS) as pool:
        frames = SaveFrame(save, pool)
        try:
            yield frames
        finally:
            frames.wait(0)


def _check_length(folder: Path) -> None:
    """Raise OSError if the paths of frames, enlarged or not, are longer than the system takes: on Windows that is 259
    characters by default, and it says of longer ones that there is no such file."""
    longest = folder / f".{os.getpid():0{LONGEST}}.part"
    try:
        longest.touch()
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # what is new is empty
            folder.rmdir()
            folder.parent.rmdir()
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)) from None
    longest.unlink(missing_ok=True)


def finished(folder: Path) -> dict[str, Path]:
    """The frames in a run folder, by fingerprint. They are not read, so some may be damaged."""
    paths = sorted((folder / "frames").iterdir()) if (folder / "frames").is_dir() else []
    return {match[1]: path for path in paths if (match := _NAME.fullmatch(path.name))}


def by_place(folder: Path, walk: Walk, settings: Settings) -> dict[float, Path]:
    """By position, all frames in a run folder that are pictures of this walk's path, whether the walk shows them or not;
    only those whose noise is at the same position. Takes no lock."""
    frames = finished(folder)
    end = walk.segments - (1 / GRAIN if walk.closed else 0)
    named = {round(float(path.name.partition("-")[0]) * GRAIN) / GRAIN: name for name, path in frames.items()}
    places = [place for place in sorted(named) if place <= end]
    names = fingerprints(walk.with_positions(places), settings)
    return {place: frames[name] for place, name in zip(places, names) if name in frames}


def by_index(folder: Path, walk: Walk, settings: Settings) -> dict[int, Path]:
    """The frames of a walk that are in a run folder."""
    frames = finished(folder)
    return {index: frames[name] for index, name in enumerate(fingerprints(walk, settings)) if name in frames}


def best_served(folder: Path, candidates: Mapping[T, Iterable[str]]) -> tuple[T, int]:
    """(candidate, count): the candidate that has most frames finished in a run folder, the first of equals; and how many.

    candidates: of each the fingerprints of its frames."""
    here = finished(folder).keys()
    counts = {candidate: len(here & set(names)) for candidate, names in candidates.items()}
    best = max(counts, key=counts.__getitem__)
    return best, counts[best]


def decided(folder: Path, walk: Walk, settings: Settings) -> Manifest | None:
    """Where the frames of a walk belong, if that was decided before for a walk that asked for the same frames."""
    with contextlib.suppress(Error, OSError):
        before = manifest.read(_decided_path(folder, fingerprints(walk, settings)))
        # Two lists of keyframes can ask for the same frames, where a keyframe is there twice.
        if before.asked and manifest.path_identity(before.walk) == manifest.path_identity(walk):
            moved = dataclasses.replace(walk, positions=before.walk.positions, noise=before.walk.noise)
            return dataclasses.replace(before, walk=moved, settings=settings, asked=walk)
    return None


def newest(folder: Path, walk: Walk, settings: Settings) -> Manifest | None:
    """The newest film in a run folder, if it is of these keyframes, whenever they come, and of these settings."""
    film = _newest(folder, settings)
    if film and manifest.path_identity(film.walk) == manifest.path_identity(walk):
        return film
    return None


def fingerprint_of(frame: Path) -> str:
    """The fingerprint of a finished frame, of which its file's name tells."""
    return frame.stem.rpartition("-")[2]


def is_whole(frame: Path) -> bool:
    """Whether every byte of a finished frame is there; False if it may not be read."""
    try:
        return png.is_whole(frame, _KEY, fingerprint_of(frame))
    except PermissionError:
        return False


def _decided_path(folder: Path, names: Sequence[str]) -> Path:
    """The file that says where the frames belong that were asked for by these fingerprints."""
    return folder / "walks" / f"{_digest(names)}.json"


def _newest(folder: Path, settings: Settings) -> Manifest | None:
    """The newest film in a run folder, if it is of the same settings."""
    with contextlib.suppress(Error):
        film = read_manifest(folder)
        if film.settings.deciding() == settings.deciding():
            return film
    return None


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(manifest.canonical(names)).hexdigest()[:16]


class BusyError(Error):
    """Another process has the run folder `folder` open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"another walk is at work in {folder}; wait for it, or give another --out")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within this, nobody else can open the run folder, if it is one. Raises BusyError if a process has it open."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # one that cannot be written can still be read
            try:
                if os.path.isfile(folder / "lock"):
                    held.enter_context(filelock.FileLock(folder / "lock").acquire(timeout=0))
            except filelock.Timeout:
                raise BusyError(folder) from None
        yield


def films(folder: Path) -> dict[str, str]:
    """By name, the digests of the films that were made from a run folder: '' where one was begun and not finished; two,
    where one may have replaced the other."""
    return _texts(folder / "films")


def made_of_films(folder: Path) -> dict[str, str]:
    """By name, the digests of what these films were made of."""
    return _texts(folder / "made")


def _texts(path: Path) -> dict[str, str]:
    try:
        return {str(name): str(text) for name, text in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def alike(folder: Path, walk: Walk, settings: Settings) -> Path | None:
    """If a run folder has no frames, another one beside it whose newest film has the same frames."""
    if finished(folder):
        return None
    names = fingerprints(walk, settings)
    for other in sorted(folder.parent.glob("*.walk")):
        with contextlib.suppress(Error, OSError):
            film = read_manifest(other)
            if film.walk.frames != walk.frames or film.settings.deciding() != settings.deciding():
                continue
            its_names = fingerprints(film.walk, film.settings)
            same = its_names == names or (film.asked and fingerprints(film.asked, film.settings) == names)
            if same and finished(other).keys() & its_names:
                return other
    return None


def ages(folder: Path) -> tuple[str, list[str]]:
    """The newest of the films beside a run folder that were made from it ('' if none was made since its walk.json was
    written), and the others."""
    beside, recorded, written = folder.absolute().parent, folder / "films", folder / manifest.FILE
    names = [*films(folder)]
    made = written.is_file() and recorded.is_file() and recorded.stat().st_mtime_ns >= written.stat().st_mtime_ns
    newest = names[-1] if names and made and (beside / names[-1]).exists() else ""
    return newest, [name for name in names if name != newest and (beside / name).exists()]


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[list[Path]]:
    """Finished frames that the newest walk in a run folder does not use, and those of quick previews, which no film
    uses. Within this, nobody else can open the folder.

    Frames made since walk.json was written are left out: a walk that is begun writes its manifest only when it is known
    where its frames belong; so a folder may not have any yet, either. Raises Error if the folder is not a run folder,
    or a process is at work in it.
    """
    quick, upscaled = folder / "quick", folder / UPSCALED
    with locked(folder), locked(quick), locked(upscaled):
        begun = os.path.isdir(quick) or os.path.isfile(folder / "lock")
        begun = begun or (os.path.isdir(folder / "frames") and bool(finished(folder)))
        if begun and not os.path.isfile(folder / manifest.FILE):
            yield [*finished(quick).values()]
            return
        newest, written = read_manifest(folder), (folder / manifest.FILE).stat().st_mtime_ns
        left = []
        for where in (folder, upscaled):
            used = set()
            if os.path.isfile(where / manifest.FILE):
                used = {*fingerprints(newest.walk, read_manifest(where).settings)}
            frames = finished(where).items()
            left += [path for name, path in frames if name not in used and path.stat().st_mtime_ns < written]
        yield [*left, *finished(quick).values()]
