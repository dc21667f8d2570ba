"""A run folder: manifest and finished frames, safe against a kill at any instant. Knows no tensors.

    film.walk/
      walk.json    the newest film's walk, settings and versions, and a digest of the walk that was asked for
      frames/      00002.410000-<fingerprint>.png, by position; frames of earlier walks are kept
      films        names and digests of the films that were made from here
      walks/       <digest of a walk that was asked for>.json: where its frames belong, so that going back moves none
      quick/       such a folder for the pictures of a quick preview
      sound-*.json what walk.music heard
      lock         held by the process that works here

A frame is found by its fingerprint, a digest of all that decides its pixels. So whatever gives a
frame other pixels gives it another name, and whatever does not (fps, a longer film, a prompt
elsewhere in the walk) finds it again.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import functools
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import filelock
import numpy as np
from PIL import Image

from walk import Error, __version__, png
from walk.files import write_whole
from walk.keyframes import Keyframe
from walk.settings import Settings
from walk.timeline import Walk

WRITERS = max(2, min(16, os.cpu_count() or 1))  # threads, which mostly wait for the disk
WAITING = 32  # frames on their way to the disk, at most
_NAME = re.compile(r"[\d.]+-([0-9a-f]{16})\.png")
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
        self.walk = self.asked = walk  # asked: as it was before it was decided where its frames belong
        self.settings = settings
        self.describe = describe
        self.fingerprints = fingerprints(walk, settings)
        self.rows: dict[str, int] = {}  # by fingerprint, which of its batch a frame takes, if its index does not tell
        self.refined = False  # whether where they belong follows from an earlier film, too
        self._frames = self.folder / "frames"
        self._decided = decided
        try:
            self._frames.mkdir(parents=True, exist_ok=True)
            self._lock = filelock.FileLock(self.folder / "lock", thread_local=False)  # any may close it
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            lock = _OPEN.get(self.folder.resolve())
            if lock is not None and lock.is_locked:
                raise Error(f"{self.folder} is open in this program already; close that Run first") from None
            raise busy(self.folder) from None
        except OSError as error:
            raise Error(f"{self.folder} cannot be written ({error.strerror}); give another --out") from None
        try:
            self._sweep()
            if decided:
                self._write(self.folder / "walk.json", _manifest(walk, settings))
        except BaseException:
            self._lock.release()
            raise
        _OPEN[self.folder.resolve()] = self._lock

    def close(self) -> None:
        """Let others open the folder. Nothing is lost: whatever was saved is on the disk."""
        self._lock.release()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def at(self, walk: Walk) -> Run:
        """The same open folder, for the frames of another walk."""
        other = copy.copy(self)
        other.walk = other.asked = walk
        other.fingerprints, other.rows = fingerprints(walk, self.settings), {}
        other._decided = False
        return other

    def decide(self, walk: Walk, rows: Mapping[str, int], refined: bool = False) -> Run:
        """The same open folder, for the film: that is where its frames belong.

        rows: by fingerprint, which row of its batch each frame takes. They have been rendered in another order than
        the film's, and one that gets lost has to take its row again.
        refined: where they belong follows from an earlier film, too, so that nobody can find it out again.
        """
        decided = self.at(walk)
        decided._decided, decided.asked, decided.refined = True, self.walk, refined
        decided.rows = {name: rows[name] for name in decided.fingerprints}
        noted = [rows[name] for name in decided.fingerprints]
        places = {"rows": noted, "refined": refined, "positions": walk.positions, "noise": walk.noise}
        kept = self._kept()
        kept.parent.mkdir(exist_ok=True)
        self._write(kept, _canonical({"told": _told(walk), **places}))
        self._write(self.folder / "walk.json", _manifest(walk, self.settings, self, noted, refined))
        return decided

    def decided(self) -> Run | None:
        """The same open folder, for the film, if it was decided before of a walk with the same frames to begin with."""
        with contextlib.suppress(Error, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            kept = json.loads(self._kept().read_bytes())
            rows, batch = kept["rows"], self.settings.batch or 1
            # Two lists of keyframes can ask for the same frames, where a keyframe is there twice.
            same = _canonical(kept["told"]) == _canonical(_told(self.walk))
            if same and len(rows) == self.walk.frames and all(isinstance(it, int) and 0 <= it < batch for it in rows):
                walk = dataclasses.replace(self.walk, positions=kept["positions"], noise=kept["noise"])
                decided = self.at(walk)
                decided.rows = dict(zip(decided.fingerprints, rows))
                decided.refined = bool(kept["refined"])
                return decided
        return None

    def _kept(self) -> Path:
        return self.folder / "walks" / f"{_digest(self.fingerprints)}.json"

    def promising(self) -> set[str]:
        """Fingerprints of frames that are here and will serve this walk, as far as can be told before it is decided
        where its frames belong: those of the film before that an edit has not changed."""
        known, names = self._known(), fingerprints(self.foreseen(self.walk), self.settings)
        told = {
            name
            for name, *places in zip(names, *filter(None, (self.walk.positions, self.walk.noise)))
            if all(int(place) in known or not place % 1 for place in places)
        }
        return told & self._finished.keys()

    def foreseen(self, walk: Walk) -> Walk:
        """A walk of as many frames, with those that an edit has not changed where it was decided that they belong."""
        known = self._known()

        def belongs(asked: float, otherwise: float) -> float:
            start = int(asked)
            return start + known[start][asked - start] if asked % 1 and start in known else otherwise

        return dataclasses.replace(
            walk,
            positions=tuple(map(belongs, self.walk.positions, walk.positions)),
            noise=tuple(map(belongs, self.walk.noise, walk.noise)),
        )

    def _known(self) -> dict[int, dict[float, float]]:
        """By segment of this walk, where its frames' places belong: what was decided of the film before, where that had
        a segment with the same keyframes around it and frames at the same places."""
        asked, decided = self._before()
        there = {segment: start for start, segment in enumerate(_segments(asked))} if asked else {}
        return {start: decided[there[it]] for start, it in enumerate(_segments(self.walk)) if it in there}

    def earlier(self) -> dict[int, dict[float, float]]:
        """By segment of this walk, the places that the film before asked for in one with the same keyframes around it,
        with as many frames or others; and where these belong."""
        asked, decided = self._before()
        if not asked or asked.noise or self.walk.noise:
            return {}
        there = {told: decided[start] for start, told in reversed([*enumerate(_around(asked))])}
        return {start: dict(sorted(there.get(told, {}).items())) for start, told in enumerate(_around(self.walk))}

    def _before(self) -> tuple[Walk | None, dict[int, dict[float, float]]]:
        """The walk that was asked for by the film before, if that was even and of the same settings; and by its segments,
        where its frames' places belong."""
        try:
            before, settings = read_manifest(self.folder)
            noted = _noted(self.folder)
            asked = dataclasses.replace(before, positions=noted.positions, noise=noted.noise)
        except Error:
            return None, {}
        if settings.deciding() != self.settings.deciding() or asked.frames != before.frames:
            return None, {}
        decided: defaultdict[int, dict[float, float]] = defaultdict(dict)
        for old, new in zip(asked.positions + asked.noise, before.positions + before.noise):
            if old % 1:
                decided[int(old)][old - int(old)] = new - int(old)
        return asked, decided

    def was_refined(self) -> bool:
        """Whether places that are kept of the film before followed from an earlier one."""
        return _noted(self.folder).refined and bool(self.earlier())

    def rows_before(self) -> dict[str, int]:
        """By fingerprint, the row of its batch that each frame of the film before took, as far as it was noted."""
        with contextlib.suppress(Error):
            return dict(zip(fingerprints(*read_manifest(self.folder)), _noted(self.folder).rows))
        return {}

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
            try:
                whole = png.is_whole(path, _KEY, name)
            except PermissionError as error:
                raise Error(f"{path} cannot be read ({error.strerror})") from None
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
            texts["walk"] = _canonical([self.settings.deciding(), *_place(self.walk, index)]).decode()
        path = self._frames / f"{self.walk.positions[index]:012.6f}-{fingerprint}.png"
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
            self._write(self.folder / "walk.json", _manifest(self.walk, self.settings))
        self.made(name, films(self.folder).get(name, ""))

    def made(self, name: str, digest: str) -> None:
        """Say what tells a film that was made from here from any other file of its name; of two, with a space between,
        where one is about to take the other's place."""
        self._write(self.folder / "films", json.dumps(films(self.folder) | {name: digest}).encode())

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

    def has(self, index: int) -> bool:
        """Whether this frame is finished."""
        return self.fingerprints[index] in self._finished

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
            write_whole(path, data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise Error(f"the disk is full: {path} was not written") from None
            raise Error(f"{path} cannot be written ({error.strerror})") from None


class SaveFrame:
    """Call it with (index, picture). pool: of threads, to write in."""

    def __init__(self, run: Run, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self._run = run
        self._waiting: list[Future[None]] = []

    def at(self, run: Run) -> SaveFrame:
        """For the frames of another walk in the same folder."""
        other = copy.copy(self)
        other._run = run
        return other

    def __call__(self, index: int, picture: np.ndarray) -> Future[None]:
        """When it is done, the frame is safe."""
        saved = self.pool.submit(self._run.save, index, picture)
        self._waiting.append(saved)
        self.wait(WAITING)
        return saved

    def wait(self, allowed: int) -> None:
        """Until no more than this many frames are on their way to the disk."""
        while self._waiting and (len(self._waiting) > allowed or self._waiting[0].done()):
            self._waiting.pop(0).result()


def finished(folder: Path) -> dict[str, Path]:
    """The frames in a run folder, by fingerprint; unread, so some may be damaged."""
    paths = sorted((folder / "frames").iterdir()) if (folder / "frames").is_dir() else []
    return {match[1]: path for path in paths if (match := _NAME.fullmatch(path.name))}


def fingerprints(walk: Walk, settings: Settings) -> list[str]:
    """For each frame a digest, 16 hexadecimal digits, of everything that decides its pixels."""
    settled = _settled(settings)
    result = []
    for index in range(walk.frames):
        digest = settled.copy()
        digest.update(_canonical(_place(walk, index)))
        result.append(digest.hexdigest()[:16])
    return result


@functools.lru_cache
def _settled(settings: Settings) -> Any:
    return hashlib.sha256(_canonical(settings.deciding()))


def _place(walk: Walk, index: int) -> list[object]:
    """The keyframes around a frame, and how far it is between them; the same of its noise, if that is elsewhere."""
    place: list[object] = []
    for positions in filter(None, (walk.positions, walk.noise)):
        places, t = walk.neighbours(positions[index])
        around = [None if k is None else walk.keyframes[k] for k in places]
        place += [[None if k is None else k.identity for k in around], t]
    return place if place[:2] != place[2:] else place[:2]


def _told(walk: Walk) -> list[object]:
    """What positions are positions on."""
    return [walk.closed, walk.smooth, *(keyframe.identity for keyframe in walk.keyframes)]


class _Noted(NamedTuple):
    """Of the film in a manifest, before it was decided where its frames belong: a digest of those that were asked for,
    and their places; each frame's row in its batch; and whether where they belong followed from an earlier film, too."""

    asked: str = ""
    rows: tuple[int, ...] = ()
    refined: bool = False
    positions: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()


def _noted(folder: Path) -> _Noted:
    try:
        noted = json.loads((folder / "walk.json").read_text("utf-8"))
        rows, batch = tuple(noted["rows"]), noted["settings"]["batch"]
        places = (tuple(map(float, noted[name])) for name in ("asked_positions", "asked_noise"))
        if all(isinstance(row, int) and 0 <= row < batch for row in rows):
            return _Noted(str(noted["asked"]), rows, bool(noted["refined"]), *places)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        pass
    return _Noted()


def _segments(walk: Walk) -> list[object]:
    """Of each what decides where its frames belong: the keyframes around it, and the places that were asked for."""
    inside: defaultdict[int, list[tuple[str, float]]] = defaultdict(list)
    for name, some in (("path", walk.positions), ("noise", walk.noise)):
        for position in some:
            if position % 1:
                inside[int(position)].append((name, position - int(position)))
    return [(told, tuple(inside[start])) for start, told in enumerate(_around(walk))]


def _around(walk: Walk) -> list[tuple[tuple[str, str, int] | None, ...]]:
    """Of each segment the keyframes around it."""
    around = [walk.neighbours(start + 0.5)[0] for start in range(walk.segments)]
    return [tuple(None if k is None else walk.keyframes[k].identity for k in some) for some in around]


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256(_canonical(names)).hexdigest()[:16]


def busy(folder: Path) -> Error:
    return Error(f"another walk is at work in {folder}; wait for it, or give another --out")


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else can open a run folder meanwhile, if it is one. Raises Error if a process has it open."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # one that cannot be written can still be read
            try:
                if (folder / "lock").is_file():
                    held.enter_context(filelock.FileLock(folder / "lock").acquire(timeout=0))
            except filelock.Timeout:
                raise busy(folder) from None
        yield


def films(folder: Path) -> dict[str, str]:
    """By name, the digests of the films that were made from a run folder; '' where one was begun and none was put there;
    two, where one may have taken the other's place."""
    try:
        return {str(name): str(digest) for name, digest in json.loads((folder / "films").read_bytes()).items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


def alike(folder: Path, walk: Walk, settings: Settings) -> Path | None:
    """For a run folder that has no frames, another beside it whose newest film is of the same ones."""
    if finished(folder):
        return None
    names = fingerprints(walk, settings)
    asked = _digest(names)
    for other in sorted(folder.parent.glob("*.walk")):
        with contextlib.suppress(Error, OSError):
            if _noted(other).asked == asked or fingerprints(*read_manifest(other)) == names:
                return other
    return None


def ages(folder: Path) -> tuple[str, list[str]]:
    """Of the films beside a run folder that were made from it, the newest ('' if none was made since its walk was
    written down), and the others."""
    beside = folder.absolute().parent
    made = {name: (beside / name).stat().st_mtime_ns for name in films(folder) if (beside / name).exists()}
    newest = max(made, key=made.__getitem__, default="")
    if newest and made[newest] < (folder / "walk.json").stat().st_mtime_ns:
        newest = ""
    return newest, [name for name in made if name != newest]


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[list[Path]]:
    """Finished frames that the newest walk in a run folder does not use, and those of quick previews, which no film does.
    Meanwhile nobody else can open the folder.

    Not those that were made since: a walk that is begun writes its manifest when it is known where its frames belong.
    Raises Error if the folder is not a run folder, or a process is at work in it.
    """
    quick = folder / "quick"
    with alone(folder), alone(quick):
        walk, settings = read_manifest(folder)
        used, noted = set(fingerprints(walk, settings)), (folder / "walk.json").stat().st_mtime_ns
        there = finished(folder).items()
        left = [path for name, path in there if name not in used and path.stat().st_mtime_ns < noted]
        yield [*left, *finished(quick).values()]


def read_manifest(folder: Path | str) -> tuple[Walk, Settings]:
    """The walk and the settings of a run folder. Raises Error if it has none, or they are damaged."""
    path = Path(folder) / "walk.json"
    try:
        data = json.loads(path.read_text("utf-8"))
        keyframes = tuple(Keyframe(**keyframe) for keyframe in data["keyframes"])
        if not re.fullmatch(r"\d{1,20}(/\d{1,20})?", data["fps"]):  # 1e99999999 would be worked out
            raise ValueError(data["fps"])
        places = tuple(data["positions"]), Fraction(data["fps"]), data["closed"], data["smooth"], tuple(data["noise"])
        walk = Walk(keyframes, *places)
        return walk, Settings(**data["settings"] | {"software": tuple(data["settings"]["software"])})
    except OSError:
        raise Error(f"{folder} is not a run folder: it has no walk.json; give the FILM.walk beside a film") from None
    except (Error, ValueError, TypeError, KeyError, AttributeError, RecursionError, ZeroDivisionError) as error:
        raise Error(f"{path} is damaged ({error})") from None


def _manifest(
    walk: Walk, settings: Settings, asked: Run | None = None, rows: Sequence[int] = (), refined: bool = False
) -> bytes:
    """asked: before it was decided where the frames belong."""
    before = {"asked": _digest(asked.fingerprints), "rows": rows, "refined": refined} if asked else {}
    before |= {"asked_positions": asked.walk.positions, "asked_noise": asked.walk.noise} if asked else {}
    return json.dumps(
        {
            "version": __version__,
            "keyframes": [dataclasses.asdict(keyframe) for keyframe in walk.keyframes],
            "positions": walk.positions,
            "fps": str(walk.fps),
            "closed": walk.closed,
            "smooth": walk.smooth,
            "noise": walk.noise,
            "settings": dataclasses.asdict(settings),
            **before,
        },
        indent=1,
        ensure_ascii=False,
    ).encode()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
