"""A run's frames become its film, with its recipe in it; it never replaces a film that was not made from this run.

Joins walk.run, walk.recipe and walk.video; renders nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from walk import Error, Settings, Walk, __version__, digests, ffmpeg, recipe, video
from walk.files import reading
from walk.probe import Metadata, read_metadata
from walk.run import Run, films, made_of_films
from walk.settings import BUILT_IN
from walk.sounds import Sound

ROUGH = Metadata("", "a rough cut, made by walk")  # by which a rough cut is known


class Shown(Protocol):
    """Pictures that a film shows in place of a run's own: as many, or more."""

    @property
    def settings(self) -> Settings: ...

    fingerprints: list[str]

    def frames(self) -> list[Path]: ...


def make(
    run: Run,
    out: Path | str,
    metadata: Metadata | None = None,
    sound: Sound | None = None,
    report: Callable[[int], object] = lambda count: None,
    shown: Shown | None = None,
    **look: Any,
) -> Path:
    """Make the film of a run that has all its frames, and note in the run folder that it was made from there. Returns the
    film's path.

    metadata: what the film says of itself; None: its recipe and its chapters (`describe`), or nothing for a
        `Run(describe=False)`.
    sound, report, look: as `walk.video.encode` takes them; look is size, quality and codec.
    shown: other pictures, which are shown instead, such as a run of the same frames, enlarged.

    Raises Error if frames are missing, if `out` must not be overwritten (`check_free`), or if the film cannot be made.
    """
    out = Path(out)
    check_free(out, run.folder)
    video.validate(out, **look, sound=sound is not None, fps=run.walk.fps)
    frames = (shown or run).frames()
    run.claim(out.name)
    metadata = metadata or _default_metadata(run, out, sound, shown, look)
    digest = ""

    def placing(part: Path) -> None:
        """Note both digests: a kill may come before or after the film replaces an earlier one."""
        nonlocal digest
        digest = _digest(part)
        if is_beside(out, run.folder):
            run.record_film(out.name, f"{films(run.folder).get(out.name, '')} {digest}".strip())

    video.encode(frames, out, run.walk.fps, metadata=metadata, sound=sound, report=report, placing=placing, **look)
    if is_beside(out, run.folder):
        run.record_film(out.name, digest, _fingerprint(shown or run, run.walk.fps, metadata, sound, look))
    return out


def is_finished(
    run: Run,
    out: Path | str,
    metadata: Metadata | None = None,
    sound: Sound | None = None,
    shown: Shown | None = None,
    **look: Any,
) -> bool:
    """Whether `out` is already the film that `make` would make."""
    out = Path(out)
    if not is_beside(out, run.folder) or not out.exists():
        return False
    metadata = metadata or _default_metadata(run, out, sound, shown, look)
    fingerprint = _fingerprint(shown or run, run.walk.fps, metadata, sound, look)
    return made_of_films(run.folder).get(out.name) == fingerprint and films(run.folder).get(out.name) == _digest(out)


def _fingerprint(
    shown: Shown, fps: Fraction, metadata: Metadata | None, sound: Sound | None, look: Mapping[str, Any]
) -> str:
    """A digest of all that decides a film's bytes."""
    sound_key = sound and (sound.rate, sound.layout, hashlib.sha256(np.ascontiguousarray(sound.samples)).hexdigest())
    program = shutil.which(ffmpeg.program()[0]) or ""
    encoded_by = __version__, program, os.stat(program).st_mtime_ns
    texts = metadata and (metadata.title, metadata.comment, metadata.chapters)
    key = [shown.fingerprints, fps, texts, sound_key, sorted(look.items()), encoded_by]
    return hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()


def _default_metadata(
    run: Run, out: Path, sound: Sound | None, shown: Shown | None, look: Mapping[str, Any]
) -> Metadata | None:
    """What the film says of itself if nothing else is given; None for a run that describes nothing."""
    if not run.describe:
        return None
    positions = {} if sound else _position_flags(run)
    # By default the command enlarges the built-in model's pictures.
    upscale = "none" if shown is None and run.settings.model == BUILT_IN else None
    audio = out.name if sound else None  # a sound without a file can be read from the film from then on
    chosen = {**positions, "loop": run.walk.closed, "audio": audio, "upscale": upscale, **look}
    flags = {name: value for name, value in chosen.items() if value is not None and value is not False}
    return describe(run.walk, as_shown(run, shown), flags, positions=not positions)


def _position_flags(run: Run) -> dict[str, object]:
    """The flags with which the command puts the frames at their positions; none if a program chose these positions, or
    they depend on an earlier film."""
    asked = run.manifest.asked or run.walk
    for ease in () if run.manifest.refined else (False, True):
        with contextlib.suppress(Error):
            walk = Walk.through(asked.keyframes, asked.frames, None, asked.fps, asked.closed, asked.smooth, ease)
            if walk == asked:
                return {"speed": "path" if run.walk == asked else "even", "ease": ease}
    return {}


def as_shown(run: Run, shown: Shown | None) -> Settings:
    """A run's settings, with the software that made the pictures shown in place of its own, if there are any."""
    return dataclasses.replace(run.settings, software=(shown or run).settings.software)


def check_free(out: Path, folder: Path) -> None:
    """Raise Error if a film would replace what was not made from this run folder, or was changed since. The folder notes
    names and digests only of films beside it, so one that lies elsewhere is never replaced."""
    with reading(out, ", so it is not overwritten; give another --out"):
        taken = out.exists() and not (out.is_dir() and not video.pictures_of(out))  # an empty folder is free
        if taken and not folder.is_dir():
            raise Error(
                f"{out} exists and has no {folder.name} beside it, so it is not overwritten; move it, or give another --out"
            )
        known = films(folder) if is_beside(out, folder) else {}
        if taken and out.name not in known:
            raise Error(
                f"{out} exists, and {folder.name} has made no film of that name, so it is not overwritten; move it, or "
                "give another --out"
            )
        if taken and _digest(out) not in known[out.name].split():
            raise Error(
                f"{out} is not as {folder.name} made it, so it is not overwritten; move it, or give another --out"
            )
    if os.path.exists(folder) and not folder.is_dir():
        raise Error(f"{folder} cannot be written ({os.strerror(errno.ENOTDIR)}); give another --out")
    if os.path.exists(folder) and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):  # as with somebody else's folder
        raise Error(f"{folder} cannot be written ({os.strerror(errno.EACCES)}); give another --out")


def check_rough(out: Path) -> None:
    """Raise Error if a rough cut would replace anything but a rough cut."""
    with contextlib.suppress(Error):
        if not out.exists() or read_metadata(out) == ROUGH:
            return
    raise Error(f"{out} exists and is not a rough cut, so it is not overwritten; move it, or give another --out")


def is_beside(out: Path, folder: Path) -> bool:
    """Whether a film lies beside a run folder, which then knows it by its name."""
    return out.absolute().parent.resolve() == folder.absolute().parent.resolve()


def _digest(out: Path) -> str:
    """The digest of a film, or of the names, sizes and times of a folder's pictures: these can be many gigabytes, and
    retouching one changes its size or time."""
    if not out.is_dir():
        return digests.of_file(out)
    pictures = [(name, (out / name).stat()) for name in video.pictures_of(out)]
    return hashlib.sha256(repr([(name, it.st_size, it.st_mtime_ns) for name, it in pictures]).encode()).hexdigest()


def describe(
    walk: Walk,
    settings: Settings,
    flags: Mapping[str, object],
    positions: bool = True,
    rendered: tuple[int, ...] = (),
) -> Metadata:
    """What the film of a walk says of itself: a title, its recipe, and a chapter for each keyframe that a frame shows.

    walk, settings: complete ones, as they were rendered. flags: the command's, which decide the film beside these.
    positions: whether the recipe lists where each frame is, as it must unless keyframes and flags determine that.
    rendered: the frames that were not interpolated, if any were.
    """
    path = "smooth" if walk.smooth else "slerp"
    deciding = {"frames": walk.frames, "fps": walk.fps, "path": path, **flags}
    places = recipe.Positions(walk.positions, walk.noise, walk.pulse, rendered) if positions else None
    text = recipe.to_text(recipe.compose(walk.keyframes, deciding, settings, places))
    first_frames = walk.first_frames()
    uses = Counter(keyframe.title for keyframe in walk.keyframes)
    titles = [it.title + f" (seed {it.seed})" * (uses[it.title] > 1) for it in walk.keyframes]
    starts = [(first_frames.get(float(k)), title) for k, title in enumerate(titles)]
    chapters = sorted((index / walk.fps, title) for index, title in starts if index is not None)
    return Metadata(f"{walk.keyframes[0].title} – {walk.keyframes[-1].title}", text, tuple(chapters))
