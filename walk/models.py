"""Every model family behind encode / noise / denoise / decode. The only file that imports diffusers.

A model is a folder in diffusers' format: the built-in one, one on this machine, or one from the
Hugging Face hub. Its family is chosen by the pipeline class that its `model_index.json` names.

Never hears of walks, frames or run folders, nor of where a model lies.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import difflib
import functools
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from walk import Error
from walk.hub import field, find, identity, read_json
from walk.keyframes import Keyframe
from walk.settings import BUILT_IN, Settings

Conditioning = dict[str, Tensor]  # its keys are keyword names of the pipeline's __call__

BUILT_IN_WEIGHTS = "sha256 b7943fb6c49dfbc040f90a2daa7d2702dd65c6bac3061e93d1613f2ffa142920"
_FILLERS = ("and", "with", "to", "by", "at", "near", "next", "over", "for", "from", "is", "as", "no", "its")


class Model(Protocol):
    """What a family has to offer. Everything that enters and leaves is batch first."""

    settings: Settings

    def at(self, settings: Settings) -> Model:
        """The same weights with other steps or another batch size."""

    def notes(self, keyframe: Keyframe) -> list[str]:
        """What of a prompt the model will not understand, in sentences for the user."""

    def encode(self, keyframe: Keyframe) -> Conditioning:
        """The conditioning of one keyframe: float32 tensors on the CPU, without a batch dimension."""

    def noise(self, seed: int) -> Tensor:
        """The Gaussian start of one picture, (channels, height, width), float32 on the CPU: one seed,
        one tensor, on every device."""

    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents (batch, channels, height, width) from as much noise and conditioning."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pictures (batch, height, width, 3), uint8 on the CPU. One that is not finite is black."""


def complete(settings: Settings) -> Settings:
    """Fill in what the settings leave to the model and the machine. Loads no weights.

    Raises Error if the model is not there, not supported, or cannot make what is asked.
    """
    folder = find(settings.model)
    family = _family(folder)
    scale, width, height = family.sizes(folder)
    scale = max(scale, 8)  # which pipelines insist on
    filled = dataclasses.replace(
        settings,
        width=_size("width", settings.width or width, scale),
        height=_size("height", settings.height or height, scale),
        device=_device(settings.device),
        weights=identity(folder),
        software=tuple(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "diffusers", "transformers")),
    )
    steps, guidance = (10, 3.0) if settings.model == BUILT_IN else (family.steps, family.guidance)
    return dataclasses.replace(
        filled,
        steps=filled.steps or steps,
        guidance=guidance if filled.guidance is None else float(filled.guidance),
        scheduler=_scheduler(folder, filled.scheduler).__name__,
        dtype=_dtype(filled),
        batch=filled.batch or _batch(filled),
    )


def load(settings: Settings) -> Model:
    """The model, on its device. Raises Error like `complete`, and if the weights do not load."""
    if not settings.weights:
        settings = complete(settings)
    folder = find(settings.model)
    if settings.device.startswith("cuda"):
        # The fastest algorithm may differ from run to run, and with it the last bit.
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    return _family(folder)(folder, settings)


def devices() -> list[tuple[str, str, str]]:
    """(name, what it is, the dtype that it would use) of every device here, the preferred one first."""
    found = []
    for name in _devices():
        settings = Settings(device=name)
        if name.startswith("cuda"):
            properties = torch.cuda.get_device_properties(name)
            about = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
        else:
            about = f"{torch.get_num_threads()} threads" if name == "cpu" else "Apple GPU"
        found.append((name, about, _dtype(settings)))
    return found


def built_in_is_whole() -> bool:
    return identity(find(BUILT_IN)) == BUILT_IN_WEIGHTS


def native_size(settings: Settings) -> tuple[int, int]:
    """(width, height) that the model was trained for, in pixels."""
    folder = find(settings.model)
    return _family(folder).sizes(folder)[1:]


class StableDiffusion:
    """Stable Diffusion 1.x and 2.x (Rombach et al., CVPR 2022)."""

    steps = 30
    guidance = 7.5

    def __init__(self, folder: Path, settings: Settings) -> None:
        from diffusers import StableDiffusionPipeline

        self.settings = settings
        self.dtype = getattr(torch, settings.dtype)
        with _loading(folder, "StableDiffusionPipeline"):
            text_encoder = _text_encoder(folder / "text_encoder", self.dtype)
            loader: Any = StableDiffusionPipeline
            self.pipe = loader.from_pretrained(
                folder,
                text_encoder=text_encoder,
                safety_checker=None,
                requires_safety_checker=False,
                dtype=self.dtype,
                use_safetensors=True,
                local_files_only=True,
            )
            self.pipe.to(settings.device)
            _check_tokenizer(self.pipe.tokenizer, text_encoder.config)
        self.pipe.scheduler = _scheduler(folder, settings.scheduler).from_config(self.pipe.scheduler.config)
        self.pipe.set_progress_bar_config(disable=True)
        self.pipe.unet.to(memory_format=torch.channels_last)  # a sixth faster on CPUs, more on tensor cores
        self.pipe.vae.to(memory_format=torch.channels_last)

    def at(self, settings: Settings) -> StableDiffusion:
        other = copy.copy(self)
        other.settings = settings
        return other

    @staticmethod
    def sizes(folder: Path) -> tuple[int, int, int]:
        """(pixels a latent, width, height) that the model was trained for."""
        scale = 2 ** (len(field(folder / "vae" / "config.json", "block_out_channels")) - 1)
        size = field(folder / "unet" / "config.json", "sample_size")
        height, width = (size, size) if isinstance(size, int) else size
        return scale, width * scale, height * scale

    def notes(self, keyframe: Keyframe) -> list[str]:
        tokenizer = self.pipe.tokenizer
        ids = tokenizer(keyframe.prompt).input_ids
        notes = []
        if len(ids) > tokenizer.model_max_length:
            cut = tokenizer.decode(ids[tokenizer.model_max_length - 1 : -1]).strip()
            notes.append(f"the prompt is too long for the model, which does not read '{cut}'")
        if self.settings.model == BUILT_IN:
            notes += [_unknown(word) for word in _words(keyframe.prompt) if word not in {*_vocabulary(), *_FILLERS}]
        return notes

    @torch.inference_mode()
    def encode(self, keyframe: Keyframe) -> Conditioning:
        guided = (self.settings.guidance or 0) > 1
        positive, negative = self.pipe.encode_prompt(
            keyframe.prompt, self.settings.device, 1, guided, keyframe.negative_prompt or None
        )
        conditioning = {"prompt_embeds": positive}
        if guided:
            conditioning["negative_prompt_embeds"] = negative
        return {name: tensor[0].float().cpu() for name, tensor in conditioning.items()}

    def noise(self, seed: int) -> Tensor:
        scale = self.pipe.vae_scale_factor
        sides = [side // scale for side in (self.settings.height, self.settings.width) if side]
        return torch.randn(self.pipe.unet.config.in_channels, *sides, generator=torch.Generator().manual_seed(seed))

    @torch.inference_mode()
    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        to = {"device": self.settings.device, "dtype": self.dtype}
        return self.pipe(
            **{name: tensor.to(**to) for name, tensor in conditioning.items()},
            latents=noise.to(**to),
            height=self.settings.height,
            width=self.settings.width,
            num_inference_steps=self.settings.steps,
            guidance_scale=self.settings.guidance,
            # Stochastic schedulers draw from these: one a frame, else frames depend on their batch;
            # one seed, else the film flickers.
            generator=[torch.Generator().manual_seed(0) for _ in noise],
            output_type="latent",
        ).images

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        vae = self.pipe.vae
        pictures = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
        pictures = (pictures.float() / 2 + 0.5) * pictures.isfinite().all(dim=(1, 2, 3), keepdim=True)
        pictures = pictures.nan_to_num(0).clamp(0, 1).mul(255).round()
        return pictures.to(torch.uint8).permute(0, 2, 3, 1).cpu()


FAMILIES = {"StableDiffusionPipeline": StableDiffusion}


def _family(folder: Path) -> type[StableDiffusion]:
    name = read_json(folder / "model_index.json").get("_class_name")
    if not isinstance(name, str) or name not in FAMILIES:
        raise Error(f"{folder} holds {name or 'no pipeline'}; supported are {', '.join(FAMILIES)}")
    return FAMILIES[name]


@contextlib.contextmanager
def _loading(folder: Path, name: str) -> Iterator[None]:
    """What fails within is the folder's fault: a damaged file, or a part that is not there."""
    try:
        yield
    except Error:
        raise
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Error(f"{folder} does not load as a {name}: {reason}") from error


def _text_encoder(folder: Path, dtype: torch.dtype) -> Any:
    """transformers fills what a file lacks with random numbers, others at each load."""
    from transformers import CLIPTextModel

    read_json(folder / "config.json")
    loader: Any = CLIPTextModel
    encoder, info = loader.from_pretrained(
        folder, dtype=dtype, use_safetensors=True, local_files_only=True, output_loading_info=True
    )
    if info["missing_keys"]:
        raise ValueError(f"{folder.name} has no {min(info['missing_keys'])}")
    return encoder


def _check_tokenizer(tokenizer: Any, encoder: Any) -> None:
    """transformers makes a useless tokenizer where its files are missing, and says nothing."""
    if len(tokenizer) < encoder.vocab_size:
        raise ValueError(
            f"the tokenizer knows {len(tokenizer)} of {encoder.vocab_size} words; is tokenizer.json missing?"
        )
    if tokenizer.model_max_length > encoder.max_position_embeddings:
        raise ValueError("the tokenizer has no limit; is tokenizer_config.json missing?")


def _words(text: str) -> dict[str, None]:
    """In their order, each once."""
    return dict.fromkeys(re.findall(r"[^\W\d_]+", re.sub(r"['’]s\b", "", text.lower())))


@functools.lru_cache
def _vocabulary() -> dict[str, None]:
    """Every word of the captions that the built-in model learned from."""
    lines = (find(BUILT_IN) / "words.txt").read_text("utf-8").splitlines()
    return _words(" ".join(line for line in lines if not line.startswith("#")))


def _unknown(word: str) -> str:
    near = difflib.get_close_matches(word, sorted(_vocabulary()), n=1, cutoff=0.75)
    return f"the built-in model has never seen '{word}'" + (f"; it knows '{near[0]}'" if near else "")


# What the machine and the model allow


def _devices() -> list[str]:
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _device(name: str) -> str:
    kinds = _devices()
    if name == "auto":
        return kinds[0].split(":")[0]
    if name not in kinds and f"{name}:0" not in kinds:
        raise Error(f"there is no device {name} here; there is {', '.join(kinds)}")
    return name


def _dtype(settings: Settings) -> str:
    """float16 where it is the fast one. On CPUs float32: bfloat16 needs recent ones to be faster,
    and moves each pixel by half a level on average."""
    if settings.dtype != "auto":
        return settings.dtype
    return "float16" if settings.device.startswith("cuda") else "float32"


def _batch(settings: Settings) -> int:
    """By picture size alone: the same settings are then the same batch on every machine."""
    pixels = (settings.width or 512) * (settings.height or 512)
    return max(1, min(8, 4 * 512 * 512 // pixels))


def _size(name: str, pixels: int, scale: int) -> int:
    if pixels % scale:
        near = max(scale, pixels // scale * scale)
        raise Error(
            f"{name} {pixels} is not possible with this model; nearest are {near} and {near + scale} (multiples of {scale})"
        )
    return pixels


def _scheduler(folder: Path, name: str | None) -> Any:
    """The scheduler's class: the model's own, or the named one if it can stand in for it."""
    import diffusers

    config = folder / "scheduler" / "scheduler_config.json"
    own = getattr(diffusers, str(field(config, "_class_name")), None)
    if own is None:
        raise Error(f"{config} names a scheduler that diffusers {diffusers.__version__} does not have")
    if name is None:
        return own
    # Not those that lack their libraries, nor the one that draws noise from no generator of ours.
    able = [c for c in own._get_compatibles() if not hasattr(c, "_backends") and c.__name__ != "DPMSolverSDEScheduler"]
    possible = {c.__name__: c for c in able}
    for candidate, scheduler in possible.items():
        short = re.sub("(discrete|multistep)?scheduler$", "", candidate.lower())  # euler, dpmsolver, ddim
        if name.lower() in (candidate.lower(), candidate.lower().removesuffix("scheduler"), short):
            return scheduler
    raise Error(f"scheduler '{name}' is unknown or does not fit this model; these do: {', '.join(sorted(possible))}")
