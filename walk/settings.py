"""Everything but the walk itself that decides a pixel, each with its default.

Knows no models: `walk.models.complete` fills in what is None here.
"""

from __future__ import annotations

import dataclasses
import math
import numbers
import os
import re
from dataclasses import dataclass
from typing import Any

from walk import Error

BUILT_IN = "toybox"
LARGEST = 8192  # pixels of a side
DTYPES = ("float32", "float16", "bfloat16")

# Raised by one when the same walk and settings give other pixels than before, so that a run that an older version began
# is rendered again, rather than mixed.
ALGORITHM = 3  # the noise of stochastic schedulers' steps is the keyframes', too

# Settings that name files, or repositories of the hub.
_NAMES = ("model", "lora", "embedding", "ip_adapter", "decoder", "denoiser")
_LORA = re.compile(r"(.+?)(?::(-?\d+(?:\.\d*)?|-?\.\d+))?")
# The colon of C:\ is before no word; nor is that before a number, which is meant for a weight, or before a file's suffix.
_EMBEDDING = re.compile(r"(.+?)(?::(?!-?[\d.]+$|.*\.(?:safetensors|pt|bin)$)([^:/\\]+))?")
_RANGES = {  # of whole numbers
    **dict.fromkeys(("width", "height"), (8, LARGEST)),
    "steps": (1, 1000),
    "batch": (1, 1024),
    "clip_skip": (1, 12),  # layers of the text encoder of Stable Diffusion 1
}


@dataclass(frozen=True)
class Settings:
    """How pictures are made.

    model: 'toybox' (built in), a short name ('sdxl'), a local diffusers folder, a .safetensors checkpoint, or
        a hub id ('org/name', 'org/name@revision').
    width, height: pixels; None: what the model was trained for.
    steps: denoising steps; None: the model's own.
    guidance: classifier-free guidance scale, 1 or less (of some models 0): off; None: the model's own.
    scheduler: as `walk.samplers.chosen` reads it, such as 'Euler a' or
        'EulerDiscreteScheduler:timestep_spacing=trailing'; None: the model's own.
    device: 'auto', 'cpu', 'cuda', 'cuda:1', 'mps'.
    dtype: 'auto', 'float32', 'float16' or 'bfloat16'.
    batch: frames denoised together; None: by picture size, and the GPU. It decides pixels (by about 1e-4, since
        other matrix shapes round differently), so it is kept with the run.
    weights, software: identity of the model's files, and versions of the libraries; found, not chosen. A model of your
        own says here which one it is: whatever changes its pictures must change these, else old frames are found again.
    lora: .safetensors files or hub ids with commas between, each with its weight: 'a.safetensors:0.8,org/b'.
    embedding: files of words' embeddings (textual inversion), or hub ids, with commas between, each with the word that
        stands for it in prompts, if that is not its own: 'a.safetensors:word,org/b'.
    clip_skip: which layer of the text encoder is read, counted from the last, which is 1.
    ip_adapter: what reads the pictures beside prompts: 'own', the usual one of the model's family; an IP-Adapter's
        .safetensors file, or 'org/name/file.safetensors' of the hub; for Flux, Redux' folder or hub id; '': nothing, and
        there are no pictures.
    image_weight: how much these pictures count, from 0 to 1; None: 0.6, or with Flux, and of styles, 1.
    image_style: of these pictures, only the style counts.
    low_memory: parts of the model are on the GPU only while they work. Decides no pixel.
    compile: the denoiser and the decoder are compiled (torch.compile), which rounds differently, about as another batch
        does. None: if the frames to render repay it, which `walk.lazy.LazyModel` finds out.
    decoder: 'own', 'tiny' (the family's TAESD: faster, a little softer), or another VAE: a .safetensors file, or a
        folder or hub id in diffusers' format.
    denoiser: 'own', or a .safetensors or .gguf file with another one (of the hub's, 'org/name/file.gguf').

    Raises Error for values outside these.
    """

    model: str = BUILT_IN
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch: int | None = None
    weights: str = ""
    software: tuple[str, ...] = ()
    lora: str = ""
    embedding: str = ""
    clip_skip: int = 1
    ip_adapter: str = ""
    image_weight: float | None = None
    image_style: bool = False
    low_memory: bool = False
    compile: bool | None = False
    decoder: str = "own"
    denoiser: str = "own"

    def __post_init__(self) -> None:
        for name in _NAMES:  # a Path is accepted, too
            object.__setattr__(self, name, _name(name, getattr(self, name)))
        object.__setattr__(self, "device", str(self.device))  # torch's devices are accepted, too, and its dtypes
        object.__setattr__(self, "dtype", str(self.dtype).removeprefix("torch."))
        if self.scheduler is not None:
            object.__setattr__(self, "scheduler", _name("scheduler", self.scheduler))
        if self.clip_skip is None:  # by which diffusers means the last layer
            object.__setattr__(self, "clip_skip", 1)
        for name, (low, high) in _RANGES.items():
            object.__setattr__(self, name, _whole(name, getattr(self, name), low, high))
        if self.guidance is not None:
            if not (_is_number(self.guidance) and 0 <= self.guidance <= 100):
                raise Error(f"guidance {self.guidance} is out of range; it is a number from 0 to 100")
            object.__setattr__(self, "guidance", float(self.guidance))
        if self.image_weight is not None:
            if not (_is_number(self.image_weight) and 0 <= self.image_weight <= 1):
                raise Error(f"image_weight {self.image_weight} is out of range; it is a number from 0 to 1")
            object.__setattr__(self, "image_weight", float(self.image_weight))
        if self.dtype not in ("auto", *DTYPES):
            raise Error(f"dtype '{self.dtype}' is unknown; it is auto, {', '.join(DTYPES)}")
        if self.device.split(":")[0] not in ("auto", "cpu", "cuda", "mps"):
            raise Error(f"device '{self.device}' is unknown; it is auto, cpu, cuda, cuda:1 or mps")
        for name in _NAMES:
            if any("\ud800" <= letter <= "\udfff" for letter in getattr(self, name)):
                raise Error(f"{name} {getattr(self, name)!a} is not UTF-8 text; give its file another name")

    def left_open(self) -> list[str]:
        """Names of settings left to the model and the machine: `walk.models.complete` fills in all but `compile`."""
        unset = (None, "auto", "", ())
        may_stay = ("model", "lora", "embedding", "ip_adapter", *(() if self.ip_adapter else ("image_weight",)))
        return [name for name, value in vars(self).items() if value in unset and name not in may_stay]

    def check_complete(self) -> None:
        """Raise Error for settings that leave something open, naming what."""
        if left := self.left_open():
            software = "; software is what computes the pictures, such as ('torch 2.13',)" * ("software" in left)
            raise Error(
                f"these settings are not complete: they lack {', '.join(left)}; give model.settings, or for a model of "
                f"your own all of them{software}"
            )

    def loras(self) -> list[tuple[str, float]]:
        """(name, weight) of each LoRA; the weight is 1 unless it is given."""
        return [(match[1], float(match[2] or 1)) for match in _each(_LORA, self.lora)]

    def embeddings(self) -> list[tuple[str, str]]:
        """(name, word) of each embedding; the word is '' unless it is given."""
        return [(match[1], match[2] or "") for match in _each(_EMBEDDING, self.embedding)]

    def deciding(self) -> dict[str, Any]:
        """The settings that decide pixels, as plain data: the model by its identity, not by its name or place."""
        values = dataclasses.asdict(self)
        values["model"] = self.weights
        values["device"] = self.device.split(":")[0]  # cuda:0 and cuda:1 are taken to be alike
        # The identity is the model's, and has theirs.
        seen = ("ip_adapter", "image_weight", "image_style")
        for name in ("weights", "lora", "embedding", *seen, "decoder", "denoiser", "low_memory"):
            del values[name]
        for name, usual in (("compile", False), ("clip_skip", 1)):
            if values[name] in (usual, None):
                del values[name]
        return values | {"algorithm": ALGORITHM}


def _each(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """The parts of a text between its commas; one file may have commas in its name."""
    whole = pattern.fullmatch(text.strip())
    texts = [text] if whole and os.path.isfile(whole[1]) else text.split(",")
    matches = [pattern.fullmatch(each.strip()) for each in texts if each.strip()]
    return [match for match in matches if match]


def _name(setting: str, value: object) -> str:
    """A setting's text; of a path, its own. Raises Error for anything else."""
    try:
        return os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        several = "; of several, put commas between" * (setting in ("lora", "embedding"))
        raise Error(f"{setting} {value!r} is not text{several}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _whole(name: str, value: object, low: int, high: int) -> int | None:
    """A whole number of any library's as Python's own. Raises Error for anything else, and out of range."""
    if value is None:
        return None
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or not low <= int(value) <= high:
        raise Error(f"{name} {value} is out of range; it is a whole number from {low} to {high}")
    return int(value)
