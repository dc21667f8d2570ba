"""A run's frames become its film: with its recipe in it, and never in place of one that was not made from there.

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
from pathlib import Path
from typing import Any

import numpy as np

from walk import Error, Settings, Walk, __version__, digests, ffmpeg, recipe, video
from walk.files import reading
from walk.films import Metadata, read_metadata
from walk.run import Run, films, made_of_films
from walk.settings import BUILT_IN
from walk.sounds import Sound

ROUGH = Metadata("", "a rough cut, made by walk")  # what it says of itself


def make(
    run: Run,
    out: Path | str,
    metadata: Metadata | None = None,
    sound: Sound | None = None,
    report: Callable[[int], object] = lambda count: None,
    shown: Run | None = None,
    **look: Any,
) -> Path:
    """Make the film of a run, of which no frame is missing, and note in its folder that it is made from there. Returns its
    path.

    metadata: what it says of itself; None: its recipe and its chapters (`described`), unless the run is to describe
        nothing (`Run(describe=False)`).
    sound, report, look: as `walk.video.encode` takes them: size, quality, codec.
    shown: the run of other pictures of these frames, which are shown in their place.

    Raises Error if frames are missing, if something else lies where the film would (`check_free`), or if it cannot be
    made.
    """
    out = Path(out)
    check_free(out, run.folder)
    video.validate(out, **look, sound=sound is not None, fps=run.walk.fps)
    frames = (shown or run).frames()
    run.claim(out.name)
    metadata = metadata or _described(run, out, sound, shown, look)
    made = ""

    def placing(part: Path) -> None:
        """A kill may come before or after the film has taken the place of the one before."""
        nonlocal made
        made = _digest(part)
        if is_beside(out, run.folder):
            run.record_film(out.name, f"{films(run.folder).get(out.name, '')} {made}".strip())

    video.encode(frames, out, run.walk.fps, metadata=metadata, sound=sound, report=report, placing=placing, **look)
    if is_beside(out, run.folder):
        run.record_film(out.name, made, _made_of(shown or run, metadata, sound, look))
    return out


def is_finished(
    run: Run,
    out: Path | str,
    metadata: Metadata | None = None,
    sound: Sound | None = None,
    shown: Run | None = None,
    **look: Any,
) -> bool:
    """Whether `make` would make the film once more that is there."""
    out = Path(out)
    if not is_beside(out, run.folder) or not out.exists():
        return False
    made_of = _made_of(shown or run, metadata or _described(run, out, sound, shown, look), sound, look)
    return made_of_films(run.folder).get(out.name) == made_of and films(run.folder).get(out.name) == _digest(out)


def _made_of(run: Run, metadata: Metadata | None, sound: Sound | None, look: Mapping[str, Any]) -> str:
    """What decides a film's bytes, in short."""
    heard = sound and (sound.rate, sound.layout, hashlib.sha256(np.ascontiguousarray(sound.samples)).hexdigest())
    program = shutil.which(ffmpeg.program()[0]) or ""
    encoded_by = __version__, program, os.stat(program).st_mtime_ns
    said = metadata and (metadata.title, metadata.comment, metadata.chapters)
    what = [run.fingerprints, run.walk.fps, said, heard, sorted(look.items()), encoded_by]
    return hashlib.sha256(repr(what).encode("utf-8", "surrogatepass")).hexdigest()


def _described(run: Run, out: Path, sound: Sound | None, shown: Run | None, look: Mapping[str, Any]) -> Metadata | None:
    """What the film says of itself, unless it is to say nothing."""
    if not run.describe:
        return None
    # Of a sound that came from nowhere, the film itself is the file from then on.
    spread = {} if sound else _spread(run)
    # Unless told, the command enlarges the built-in model's.
    small = "none" if shown is None and run.settings.model == BUILT_IN else None
    chosen = {**spread, "loop": run.walk.closed, "audio": out.name if sound else None, "upscale": small, **look}
    flags = {name: value for name, value in chosen.items() if value is not None and value is not False}
    return described(run.walk, as_shown(run, shown), flags, positions=not spread)


def _spread(run: Run) -> dict[str, object]:
    """The flags with which the command puts the frames where they are; none if a program has put them elsewhere, or an
    earlier film had a part in it."""
    asked = run.manifest.asked or run.walk
    for ease in () if run.manifest.refined else (False, True):
        with contextlib.suppress(Error):
            walk = Walk.through(asked.keyframes, asked.frames, None, asked.fps, asked.closed, asked.smooth, ease)
            if walk == asked:
                return {"speed": "path" if run.walk == asked else "even", "ease": ease}
    return {}


def as_shown(run: Run, shown: Run | None) -> Settings:
    """A run's settings, with the software that made what is shown in its frames' place."""
    return dataclasses.replace(run.settings, software=(shown or run).settings.software)


def check_free(out: Path, folder: Path) -> None:
    """Raise Error if a film would replace what was not made from this run folder, or was changed since. That notes names
    and digests: of films beside it, so one that lies elsewhere is never replaced."""
    with reading(out, ", so it is not overwritten; give another --out"):
        taken = out.exists() and not (out.is_dir() and not video.pictures_of(out))  # by more than an empty folder
        if taken and not folder.is_dir():
            raise Error(
                f"{out} exists and has no {folder.name} beside it, so it is not overwritten; move it, or give another --out"
            )
        made = films(folder) if is_beside(out, folder) else {}
        if taken and out.name not in made:
            raise Error(
                f"{out} exists, and {folder.name} has made no film of that name, so it is not overwritten; move it, or "
                "give another --out"
            )
        if taken and _digest(out) not in made[out.name].split():
            raise Error(
                f"{out} is not as {folder.name} made it, so it is not overwritten; move it, or give another --out"
            )
    if os.path.exists(folder) and not folder.is_dir():
        raise Error(f"{folder} cannot be written ({os.strerror(errno.ENOTDIR)}); give another --out")
    if os.path.exists(folder) and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):  # as somebody else's
        raise Error(f"{folder} cannot be written ({os.strerror(errno.EACCES)}); give another --out")


def check_rough(out: Path) -> None:
    """Raise Error if a rough cut would replace what is none."""
    with contextlib.suppress(Error):
        if not out.exists() or read_metadata(out) == ROUGH:
            return
    raise Error(f"{out} exists and is not a rough cut, so it is not overwritten; move it, or give another --out")


def is_beside(out: Path, folder: Path) -> bool:
    """Whether a film lies beside a run folder, which knows those that do by their names."""
    return out.absolute().parent.resolve() == folder.absolute().parent.resolve()


def _digest(out: Path) -> str:
    """Of a film, or of a folder of pictures: of their names, sizes and times, since they can be many gigabytes, and
    whoever retouches one changes these."""
    if not out.is_dir():
        return digests.of_file(out)
    pictures = [(name, (out / name).stat()) for name in video.pictures_of(out)]
    return hashlib.sha256(repr([(name, it.st_size, it.st_mtime_ns) for name, it in pictures]).encode()).hexdigest()


def described(walk: Walk, settings: Settings, flags: Mapping[str, object], positions: bool = True) -> Metadata:
    """What the film of a walk says of itself: a title, its recipe, and a chapter for each keyframe that a frame shows.

    walk, settings: complete ones, as they were rendered. flags: of the command, which decide the film beside these.
    positions: the recipe holds where each frame is, as it must where keyframes and flags do not tell.
    """
    path = "smooth" if walk.smooth else "slerp"
    deciding = {"frames": walk.frames, "fps": walk.fps, "path": path, **flags}
    told = recipe.Positions(walk.positions, walk.noise, walk.pulse) if positions else None
    made = recipe.compose(walk.keyframes, deciding, settings, told)
    first = walk.first_frames()
    often = Counter(keyframe.prompt for keyframe in walk.keyframes)
    titles = [it.prompt + f" (seed {it.seed})" * (often[it.prompt] > 1) for it in walk.keyframes]
    shown = [(first.get(float(k)), title) for k, title in enumerate(titles)]
    starts = sorted((index / walk.fps, prompt) for index, prompt in shown if index is not None)
    title = f"{walk.keyframes[0].prompt} – {walk.keyframes[-1].prompt}"
    return Metadata(title, recipe.to_text(made), tuple(starts))
