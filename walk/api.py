"""The command in one call from Python, for programs and notebooks. Knows the flags' names, what Python writes for their
values, and models that are loaded already; all else is the command's.
"""

from __future__ import annotations

import base64
import html
import math
import numbers
import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from walk.text import without_exponent

if TYPE_CHECKING:
    from PIL import Image

    from walk.keyframes import Keyframe
    from walk.models import Model

_SHOWN = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
EMBEDDED = 2**26  # bytes of a film that a notebook is given whole; a larger one it reads from the disk


@dataclass(frozen=True)
class Film:
    """A finished film. A notebook shows it; open() and others take it for its path."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:  # for print, and for a notebook's `!ffmpeg -i {film} ...`
        return str(self.path)

    def _repr_html_(self) -> str:
        source, kind = html.escape(str(self.path)), _SHOWN.get(self.path.suffix.lower())
        if kind is None:  # a folder, or a codec that no browser plays
            return f"<code>{source}</code>"
        if self.path.is_file() and self.path.stat().st_size <= EMBEDDED:
            source = f"data:{kind};base64,{base64.b64encode(self.path.read_bytes()).decode()}"
        wide = 'style="max-width: 100%"'  # else a notebook shows a corner of a large film
        if kind == "image/gif":
            return f'<img {wide} src="{source}">'
        return f'<video controls loop {wide} src="{source}"></video>'


def make(
    prompts: str | Path | Iterable[str | Path | Keyframe], model: str | Path | Model | None = None, **flags: Any
) -> Film:
    """Make a film as `walk --prompts ...` does: told on stderr, resumed if it was begun, and checked.

    prompts: a prompt file, a prompt, or several, as text or Keyframes.
    model: as --model names one; or one that is loaded, or your own, or a `walk.given.Given`.
    flags: the command's, by their names, which `walk --help` lists: frames=200, loop=True, seeds=[1, 2, 3],
        size=(1920, 1080), low_memory=True. None and False are as if they were not given.

    Raises Error for what the command would refuse.
    """
    return Film(Path(_called("", prompts, model, flags)))


def preview(
    prompts: str | Path | Iterable[str | Path | Keyframe], model: str | Path | Model | None = None, **flags: Any
) -> Image.Image:
    """Look before the long render, as `walk preview` does: all as for `make`, whose film uses what this renders."""
    return _picture(_called("preview", prompts, model, flags))


def seeds(
    prompts: str | Path | Iterable[str | Path | Keyframe], model: str | Path | Model | None = None, **flags: Any
) -> Image.Image:
    """Each prompt from several seeds, on a numbered sheet, as `walk seeds` draws it: prompts and model as for `make`."""
    return _picture(_called("seeds", prompts, model, flags))


def _picture(path: str) -> Image.Image:
    from PIL import Image

    with Image.open(path) as picture:
        picture.load()
        return picture


def _called(command: str, prompts: Any, model: Any, given: dict[str, Any]) -> str:
    from walk import Error, Settings, commands

    if isinstance(model, (str, os.PathLike)):
        given, model = given | {"model": model}, None
    elif model is not None:
        from walk.models import check

        if isinstance(model, type):
            raise Error(f"{model.__name__} is a class and not a model; give {model.__name__}()")
        if isinstance(model, Settings):
            raise Error("Settings are not a model; give walk.models.load of them")
        check(model, "settings", "at")
        model.settings.check_complete()
    given = {name: value.tolist() if _is_numpys(value) else value for name, value in given.items()}
    words = {
        name: _word(name, value)
        for name, value in given.items()
        if value is not None and (value is not False or name == "compile")  # which is one of three
    }
    if isinstance(prompts, Iterable) and not isinstance(prompts, (str, Mapping, Set)):
        prompts = list(prompts)  # which can be read more than once
    try:
        return commands.called(command, prompts, words, model)
    except (Error, KeyboardInterrupt) as said:
        raise said.with_traceback(None) from None  # in a notebook it would stand below a hundred lines of walk's own


def _is_numpys(value: Any) -> bool:
    """Numbers of NumPy, pandas or torch, but not a class of them such as np.float16."""
    return hasattr(value, "tolist") and not isinstance(value, type)


def _is_pair(value: Any) -> bool:
    """A LoRA's file and its weight."""
    return isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], numbers.Real)


def _paired(pair: tuple[Any, ...]) -> str:
    """A file and what is said of it; None says nothing."""
    return ":".join(str(part) for part in pair if part is not None)


def _word(name: str, value: Any) -> str:
    """As it would be typed."""
    if isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    if name in ("lora", "embedding"):
        pairs = value.items() if isinstance(value, Mapping) else [value] if _is_pair(value) else value
        return ",".join(_paired(each) if isinstance(each, tuple) else _word("", each) for each in pairs)
    if isinstance(value, float):
        return (
            str(int(value)) if value.is_integer() else without_exponent(value) if math.isfinite(value) else str(value)
        )
    if isinstance(value, Fraction) and name != "fps":  # which alone is written so
        return without_exponent(float(value))
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, Iterable) and not isinstance(value, (Mapping, Set)):
        return ("x" if name == "size" else ",").join(_word("", each) for each in value)
    return str(value)
