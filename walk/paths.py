"""Where a film, its run folder and its sheets are written. Refuses what cannot be written, and what would replace
something that walk has not made.

Knows names and folders; writes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from walk import Error, formats, images, png
from walk.keyframes import Keyframe, prompt_file
from walk.text import either, quoted

SHEET = ("Software", "walk")  # the PNG text chunk by which a sheet is known for walk's: keyword and text
LONGEST_SLUG = 60  # letters
LONGEST_NAME = 220  # bytes of the 255 that file systems take: there has to be room for a temporary name


def film_and_run(chosen: dict[str, Any]) -> tuple[Path, Path]:
    """The film that flags name, or that is named after its prompts; and its run folder: --run, or the one beside it."""
    out, folder = _film(chosen)
    out = _as_spelled(out)
    return out, _named_run(chosen["run"], out) if "run" in chosen else folder


def _film(chosen: dict[str, Any]) -> tuple[Path, Path]:
    """The film, and the usual folder of its frames."""
    prompts = chosen["prompts"]
    if "out" in chosen:
        out = expanded(chosen["out"])
        if chosen["out"].endswith(("/", os.sep)) and out.name:
            if out.suffix:
                better = f"{out.with_name(out.name.replace('.', '_'))}/"
                raise Error(f"--out {out}/: the name of a folder of PNG files has no dot in it; give {better}, say")
            return out, out.with_name(out.name + ".walk")
    elif file := prompt_file(prompts):
        out = Path(own_name(file) + ".mp4")
    else:
        out = Path(slug(prompts) + ".mp4")
    with contextlib.suppress(OSError):  # a name too long for the file system is refused later
        if out.is_dir():
            pictures = out if out.name and not out.suffix else out / "frames"
            raise Error(
                f"--out {out} is a folder; give the film's name, such as {out / 'film.mp4'}, or {pictures}/ for PNG files"
            )
    if not out.suffix and out.name == out.name.strip("."):  # a folder's has no dot either
        raise Error(f"{out}: a film's name ends in {either(formats.SUFFIXES)}; for a folder of PNG files, write {out}/")
    return out, out.with_suffix(".walk")


def own_name(file: Path) -> str:
    """What a film or a sheet is called after a prompt file, or a folder of pictures, which may be ./ and have dots."""
    return os.path.basename(os.path.abspath(file)) if os.path.isdir(file) else file.stem


def _as_spelled(out: Path) -> Path:
    """The film's path with its name as it is spelled there: run folders know films by their names, and on Windows and
    macOS Film.mp4 is also found as film.mp4, and an ö also as two characters."""

    def plain(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    with contextlib.suppress(OSError):
        names = os.listdir(out.parent)
        if out.name not in names and out.exists():
            return out.with_name(next((name for name in names if plain(name) == plain(out.name)), out.name))
    return out


def _named_run(name: str, out: Path) -> Path:
    """A run folder of several films. It lies beside them, since it notes their names without folders."""
    from walk.film import is_beside

    folder = expanded(name, "--run")
    if folder.suffix != ".walk":
        raise Error(f"--run {folder}: a run folder's name ends in .walk, as in {folder.name or 'film'}.walk")
    check_writable(folder, "--run")
    if not is_beside(out, folder):
        raise Error(
            f"--run {folder} is not beside {out}, and knows the films that are made from it by their names; give --out "
            f"{quoted(str(folder.with_name(out.name)))}"
        )
    return folder


def rough_cut(out: Path, kind: str = "rough") -> Path:
    """The name of a film's rough cut, of this kind. Raises Error if it cannot be written, or would replace what is no
    rough cut."""
    from walk.film import check_rough

    out = out.with_name(f"{out.stem}.{kind}{out.suffix or '.mp4'}")
    check_writable(out)
    check_rough(out)
    return out


def slug(prompts: str | Path | Keyframe | Sequence[str | Keyframe]) -> str:
    """A file's name from all of the prompts, so that films of other prompts do not replace each other."""
    listed = [prompts] if isinstance(prompts, (str, Path, Keyframe)) else prompts
    texts = [it.title if isinstance(it, Keyframe) else str(it) for it in listed]
    texts = [re.split(r"\s*\|\s*[\w-]+\s*=", text)[0] for text in texts]  # without their settings
    words = " ".join(images.stem(text) if images.is_name(text) else text for text in texts)
    name = re.sub(r"\W+", "-", words.lower()).strip("-") or "film"
    if len(name) <= LONGEST_SLUG:
        return name
    return f"{name[: LONGEST_SLUG - 7].strip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def expanded(path: str, flag: str = "--out") -> Path:
    """With the home folder in place of ~. Raises Error for that of a user who is not there. flag: that named it."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise Error(f"{path} cannot be written: there is no such home folder; give another {flag}") from None


def check_film(out: Path, folder: Path) -> None:
    """Raise Error if the film cannot be written, or would replace what walk has not made, or is being made already."""
    from walk.film import check_free
    from walk.run import locked

    check_writable(out)
    check_free(out, folder)
    with locked(folder):  # or an Error before anything heavy is loaded
        pass


def check_sheet(out: Path) -> None:
    """Raise Error if a sheet cannot be written, or would replace a picture that is no sheet."""
    if out.suffix.lower() != ".png":
        raise Error(f"{out}: a sheet's name ends in .png, as in sheet.png")
    check_writable(out)
    with contextlib.suppress(OSError):
        if not out.exists() or png.is_whole(out, *SHEET):
            return
    raise Error(f"{out} exists and is not a sheet of walk's, so it is not overwritten; give another --out")


def check_writable(out: Path, flag: str = "--out") -> None:
    if len(os.fsencode(out.name)) > LONGEST_NAME:
        raise Error(f"{out} cannot be written ({os.strerror(errno.ENAMETOOLONG)}); give another {flag}")
    above = out.absolute().parents
    parent = next((parent for parent in above if os.path.exists(parent)), above[-1])  # of a drive there may be none
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise Error(f"{out} cannot be written: {parent} is not a folder that you may write to; give another {flag}")


def check_is_film(path: str) -> None:
    """Raise Error for a folder; for one of frames that walk has exported, with what to do."""
    if os.path.isdir(path) and os.path.isdir(f"{Path(path)}.walk"):
        raise Error(
            f"{Path(path)} is a folder of frames, which has no recipe and no rate; its command with --out "
            f"{Path(path)}.mp4 makes a film of them"
        )
    if os.path.isdir(path):
        raise Error(f"{path} is a folder; give a film, {either(formats.SUFFIXES)}")


def no_frames(folder: Path) -> Error:
    """Of a film of which there is nothing to look at yet."""
    return Error(f"no frames of this film are in {folder}; a rough cut is made while, or after, some are rendered")
