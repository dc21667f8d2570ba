"""Image prompts: a user's pictures, which stand beside prompts. Found by their names, known by their bytes, and opened.

Knows no models, and nothing of prompts.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import io
import math
import os
import re
import warnings
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from walk import Error
from walk.files import at_home, read_up_to, reading
from walk.text import has_control_characters, without_exponent

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif"),  # without the library for them, they are refused, not left out of a folder or taken for words
)
# The words beside a picture that stands alone: those of the method's authors, in their examples.
ALONE = "best quality, high quality"
# A name and a weight; a picture's name and what was meant for a weight, but is none; and how a recipe tells a picture.
_WEIGHT = re.compile(r"(.*\S):(\d+(?:\.\d*)?|\.\d+)")
_NO_WEIGHT = re.compile(rf"(.+(?:{'|'.join(map(re.escape, SUFFIXES))})) ?: ?\S+", re.IGNORECASE)
_TOLD = re.compile(r"(.+) sha256:([0-9a-f]{16})")
_SHEET = re.compile(r"\.(preview|seeds(-from-\d+)?)\.png$")
_ACCEPTED = "give a picture, such as a .png, .jpg or .webp"
_TOO_LARGE = "too large; a model sees a few hundred pixels of it"
# Among those that Pillow reads there are others, such as EPS, which it has a program run.
_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "HEIF")
LONGEST = 50  # times as long as wide
_HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1")  # how such files begin, after their first four bytes
MOST_BYTES = 1 << 29  # of a picture's file; those of the largest cameras have half of it


class Image(NamedTuple):
    """path: as it was given. digest: of the file's bytes, the first 16 hexadecimal digits of its SHA-256. weight: how much
    it counts, from 0 to 1, where 1 is as much as `Settings.image_weight` says."""

    path: str
    digest: str
    weight: float = 1.0

    def __str__(self) -> str:
        """As `find` reads it again, wherever the file may be."""
        bare = self.weight == 1 and not _WEIGHT.fullmatch(self.path)  # a file may be called fox.jpg:0.5
        weight = "" if bare else f":{without_exponent(self.weight)}"
        return f"{self.path}{weight} sha256:{self.digest}"

    @property
    def identity(self) -> tuple[str | float, ...]:
        """What decides pixels of it."""
        return (self.digest,) if self.weight == 1 else (self.digest, self.weight)


def is_name(text: str, folder: Path | None = None) -> bool:
    """Whether a prompt is the name of a picture's file; one that has blanks in it only if there is such a file, in this
    folder or else in the current one."""
    name, _ = _weighed(text)
    return name.lower().endswith(SUFFIXES) and (not re.search(r"\s", name) or os.path.isfile(place(name, folder)))


def stem(text: str) -> str:
    """What a film of this picture is called."""
    return Path(_weighed(text)[0]).stem


def inside(folder: Path) -> list[Path]:
    """A folder's pictures in the order of their names, 2.jpg before 10.jpg and a.jpg; without the sheets that walk has
    drawn of them there."""
    with reading(folder):
        paths = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[:1] != "."]
    return sorted((path for path in paths if not _SHEET.search(path.name)), key=_natural)


def _natural(path: Path) -> tuple[list[str | int], str]:
    """For names in the order in which people count: what is between their numbers is compared as text."""
    parts = re.split(r"(\d+)", path.name.lower())  # text, number, text, ...
    return [int(part) if part.isdecimal() else part for part in parts], path.name


def find(text: str, folder: Path | None = None) -> Image:
    """The picture that a file name means, in this folder or else in the current one. Text that tells a digest, too, as
    `Image` writes it, opens no file.

    Raises Error if there is no such file, or no picture in it, or if no line of a prompt file can have its name."""
    if image := told(text):
        return image
    if "://" in text:
        raise Error(f"{text[:80]} is an address; save the picture, and give its file")
    check_name(text)
    name, weight = (text, 1.0) if os.path.isfile(place(text, folder)) else _weighed(text)
    if not weight <= 1:
        given = text[len(name) :].strip(": ")[:40]
        raise Error(f"the weight of {name}, {given}, is out of range; it is a number from 0 to 1, as in {name}:0.5")
    path = place(name, folder)
    data = _read(path)
    _opened(path, data)
    return Image(str(path), _digest(data), weight)


def _weighed(text: str) -> tuple[str, float]:
    """(name, weight) of a picture, as in fox.jpg:0.5; the weight is NaN where there is none, as in fox.jpg:50%."""
    if match := _WEIGHT.fullmatch(text):
        return match[1], float(match[2])
    match = _NO_WEIGHT.fullmatch(text)
    return (match[1], math.nan) if match else (text, 1.0)


def check_name(text: str) -> None:
    """Raise Error for a picture's name that no line of a prompt file can have."""
    if "|" in text or text != " ".join(text.split()) or has_control_characters(text):
        raise Error(f"{text[:80]!a} has a bar, control characters or several blanks in a row; rename the picture")


def place(text: str, folder: Path | None) -> Path:
    """Where a file is that may be in this folder, or else where its name says."""
    path = at_home(text)
    return beside if folder is not None and os.path.isfile(beside := folder / path) else path


def told(text: str) -> Image | None:
    """The picture that text tells with its digest; None if it does not. Opens no file."""
    if not (match := _TOLD.fullmatch(text)):
        return None
    name, weight = _weighed(match[1])
    return Image(name, match[2], weight) if weight <= 1 else None


def moved(image: Image, folder: Path) -> Image:
    """The same picture in this folder, if it is no longer where its name says, or another one is there."""
    here, name = at_home(image.path), PureWindowsPath(image.path).name  # which ends a path of any system
    near = [path for path in (here, folder / image.path, folder / name) if os.path.isfile(path)]
    path = next((path for path in near if _is_in(path, image)), next(iter(near), here))
    return image if path == here else image._replace(path=str(path))


def _is_in(path: Path, image: Image) -> bool:
    with contextlib.suppress(Error):
        return _digest(_read(path)) == image.digest
    return False


def load(image: Image) -> Any:
    """The picture (PIL, RGB) as it is to be seen: turned as the camera was held, and on white where it is transparent.

    Raises Error if its file is not there, is damaged, or is not the one that was meant."""
    return _decoded(at_home(image.path), _checked(image))


def check(image: Image) -> None:
    """Raise Error like `load`, in less time where it can."""
    _decoded(at_home(image.path), _checked(image), roughly=True)


def blank() -> Any:
    """A picture of nothing, which a model has to be shown to know what no picture is."""
    import PIL.Image

    return PIL.Image.new("RGB", (64, 64))


def _read(path: Path) -> bytes:
    if os.path.isdir(path):
        raise Error(f"{path} is a folder; give one picture in it")
    if os.path.exists(path) and not os.path.isfile(path):  # a device has no end, and a pipe may have no beginning
        raise Error(f"{path} is no file; {_ACCEPTED}")
    data = read_up_to(MOST_BYTES + 1, path, _ACCEPTED, f"there is no picture {path}")
    if len(data) > MOST_BYTES:
        raise Error(f"{path} is {_TOO_LARGE}")
    return data


def _checked(image: Image) -> bytes:
    """What is in its file, if that is the one that was meant."""
    data = _read(at_home(image.path))
    if _digest(data) != image.digest:
        raise Error(
            f"{image.path} is not the picture that was meant, whose SHA-256 begins with {image.digest}; to take the one "
            "that is here, leave out sha256: and what follows it"
        )
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _opened(path: Path, data: bytes) -> Any:
    import PIL.Image

    _learn_heic()
    known = [name for name in _FORMATS if name in PIL.Image.OPEN]  # older ones know no AVIF
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)
            picture = PIL.Image.open(io.BytesIO(data), formats=known)
    except MemoryError:
        raise
    except Exception as error:
        kind = f"no picture; {_ACCEPTED}"
        if isinstance(error, PIL.Image.DecompressionBombError):
            kind = _TOO_LARGE
        elif data[4:12] in _HEIC and "HEIF" in known:
            kind = "HEIC that cannot be read, or is damaged; save it as JPEG"
        elif data[4:12] in _HEIC:
            kind = "HEIC, which needs a library that is not here; pip install pillow-heif, or save it as JPEG"
        raise Error(f"{path} is {kind}") from None
    if max(picture.size) > LONGEST * min(picture.size):  # whose short side would be enlarged to hundreds of pixels
        raise Error("{} is {}x{} pixels, of which a model would see next to nothing".format(path, *picture.size))
    return picture


@functools.cache
def _learn_heic() -> None:
    """Have Pillow know all of its formats, and HEIC, as iPhones have it, if the library for that is here."""
    import PIL.Image

    PIL.Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()


def _decoded(path: Path, data: bytes, roughly: bool = False) -> Any:
    """roughly: with as few pixels as the format allows, of which a JPEG's cost little."""
    import PIL.Image
    import PIL.ImageOps

    picture = _opened(path, data)
    try:
        if roughly:
            picture.draft(picture.mode, (1, 1))
        picture = _in_eight_bits(path, PIL.ImageOps.exif_transpose(picture))
        if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = PIL.Image.alpha_composite(PIL.Image.new("RGBA", picture.size, "white"), picture)
        return picture.convert("RGB")
    except (Error, MemoryError):
        raise
    except Exception as error:  # Pillow reads no more than the header before, and raises many kinds
        raise Error(f"{path} is damaged ({error})") from None


def _in_eight_bits(path: Path, picture: Any) -> Any:
    """Of a grey picture in 16 bits, as scanners and depth maps have them, the upper eight: Pillow would take all that is
    above 255 for white."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    values = picture.convert("I").getextrema() if picture.mode != "F" else (-1, -1)
    if not 0 <= values[0] <= values[1] < 1 << 16:
        raise Error(f"{path} has more than 16 bits for a colour; save it with 8")
    return picture.convert("I").point(lambda value: value * (1 / 257)).convert("L")
