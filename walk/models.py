"""Every model family behind encode / noise / denoise / decode, by one adapter and the table of walk.families.

A family is chosen by the pipeline class that a model's `model_index.json` names.

Never hears of walks, frames or run folders. Where a model lies, walk.hub knows, walk.loading how it is loaded, and
walk.reading how it reads prompts.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import importlib.metadata
import inspect
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle

from walk import (
    Error,
    OutOfMemoryError,
    downloads,
    emphasis,
    graphs,
    layout,
    loading,
    machine,
    offload,
    reading,
    schedule,
)
from walk.catalogue import known
from walk.digests import Report
from walk.families import Family
from walk.hub import field, find, identity, read_json
from walk.keyframes import Keyframe
from walk.notes import leftover, shortened, unknown
from walk.settings import BUILT_IN, Settings

Conditioning = reading.Conditioning

BUILT_IN_WEIGHTS = "sha256 a03921264584a567039a912e8bcce21175ef86d6931b03260bffbacfb29658b6"
CHANGEABLE = ("steps", "guidance", "batch")  # of a model that is loaded
LATEST = 0.8  # of the steps that a model was trained in: denoising that begins later leaves noise in the picture


class Model(Protocol):
    """What a family has to offer. Everything that enters and leaves is batch first.

    A model of your own derives from this: complete `settings` (`Settings.left_open` names what they lack) and `encode`,
    `noise`, `denoise` and `decode` are enough. See examples/own_model.py.
    """

    settings: Settings
    remarks: Sequence[str] = ()  # notes on the model itself, in sentences for the user

    def at(self, settings: Settings) -> Model:
        """The same weights with other steps, guidance or batch: the model's settings with these replaced. Or compiled,
        and then this is of no more use.

        Raises Error for anything else that differs, since it would need loading."""
        if dataclasses.replace(settings, batch=self.settings.batch) != self.settings:
            raise Error(f"{type(self).__name__} has no settings but its own, and another batch; give model.settings")
        other = copy.copy(self)
        other.settings = settings
        return other

    def notes(self, keyframe: Keyframe) -> list[str]:
        """What of a prompt the model will not understand, in sentences for the user."""
        return []

    @abstractmethod
    def encode(self, keyframe: Keyframe) -> Conditioning:
        """The conditioning of one keyframe on the CPU, without a batch dimension: what is interpolated in
        floating point, and masks of integers: ones for the tokens that the model hears, then zeros.

        If some prompts have more tokens than others, the model hears tokens no more for being said twice.

        It follows from the words and the settings, by which frames are found again; embeddings that do not are
        keyframes of walk.given."""

    @abstractmethod
    def noise(self, seed: int) -> Tensor:
        """The Gaussian start of one picture, such as (channels, height, width), float32 on the CPU: one
        seed, one tensor, on every device. With it goes whatever other noise the picture is made of.

        Called in another thread while `denoise` is at work."""

    @abstractmethod
    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents from as much noise and conditioning."""

    @abstractmethod
    def decode(self, latents: Tensor, exact: bool = False) -> Callable[[], Tensor]:
        """A function that waits for pictures (batch, height, width, 3), uint8 on the CPU. One that fails is of one
        colour: black where it is not finite. exact: in float32, where less overflows."""


def check(model: object, *names: str) -> None:
    """Raise Error for what is not a model, as somebody may have written it or taken something else for one."""
    if missing := [name for name in names if getattr(model, name, None) is None]:
        raise Error(
            f"{type(model).__name__} has no {', '.join(missing)}, so it is not a model; models.load loads one, and one of "
            "your own derives from walk.models.Model"
        )


def complete(settings: Settings, report: Report = lambda what, done, size: None) -> Settings:
    """Fill in what the settings leave to the model and the machine. Loads no weights, but downloads what is not here.

    report: called with what is done, such as 'downloading org/name', and of how many bytes of how many, while files are
        downloaded, and large ones are read.
    Raises Error if the model is not there, not supported, or cannot make what is asked.
    """
    with downloads.telling(report):
        return _completed(settings, report)


def _completed(settings: Settings, report: Report) -> Settings:
    folder = _folder(settings)
    _, family = loading.family_of(folder)
    device = machine.device(settings.device)
    if settings.low_memory and not device.startswith("cuda"):
        raise Error(f"--low-memory spares a GPU's memory, and {device} has none of its own; leave it out")
    libraries = loading.libraries(settings)
    loading.check_denoiser(folder, settings, family)
    loading.check_decoder(folder, settings, family)
    if settings.compile:
        loading.check_compiles(family, device)
    multiple, width, height = _sizes(folder)
    filled = dataclasses.replace(
        settings,
        width=_size("width", settings.width or width, multiple),
        height=_size("height", settings.height or height, multiple),
        device=device,
        weights=identity(
            settings.model,
            settings.loras(),
            loading.other_decoder(settings, family),
            settings.denoiser,
            report,
        ),
        software=tuple(f"{name} {importlib.metadata.version(name)}" for name in libraries),
    )
    if filled.scheduler is not None:
        loading.scheduler(folder, filled)  # which raises Error if it cannot be made
    steps, own = _recommended(settings.model, folder, family)
    guidance = own if filled.guidance is None else filled.guidance
    dtype = machine.dtype(filled, family.dtype)
    wide = dtype == "float16" and loading.widens(settings, family)
    return dataclasses.replace(
        filled,
        steps=filled.steps or steps,
        guidance=guidance,
        scheduler=str(loading.sampler(folder, filled.scheduler)),
        dtype=dtype,
        batch=filled.batch
        or (
            1
            if family.one_at_a_time
            else machine.batch(filled, family.negatives and guidance > family.unguided_up_to, wide)
        ),
    )


def check_compiles(settings: Settings) -> None:
    """Raise Error if it is known that the model cannot be compiled on this machine, or had better not be."""
    loading.check_compiles(loading.family_of(_folder(settings))[1], settings.device)


def load(settings: Settings | str = BUILT_IN) -> Model:
    """The model, on its device; of a name, with whatever settings are its own. Raises Error like `complete`, and if the
    weights do not load.

    For an NVIDIA GPU it sets torch.backends.cudnn.deterministic for the whole process, else the last bit might be another
    in every run. To compile, it sets TORCHINDUCTOR_CACHE_DIR for the process, unless it is set, to keep the programs.

    A pipeline that is in memory, with a UNet that you have trained, is loaded from where it was saved:

        pipe.save_pretrained("mine")
        model = models.load(Settings(model="mine"))

    There is no shorter way, since frames of two models would be mixed: what a living pipeline makes also depends on
    hooks, attention processors and scales of adapters, which no digest of its weights tells apart. What is loaded is
    what the files say, and they are its identity. Whatever else has the methods of a `Model`, `walk.render` renders.
    """
    if not isinstance(settings, Settings):
        settings = Settings(settings)
    if settings.left_open():
        settings = dataclasses.replace(complete(settings), compile=bool(settings.compile))
    folder = _folder(settings)
    machine.check_process()
    machine.steady(settings.device)
    return Pipeline(folder, settings)


def built_in_is_whole() -> bool:
    return identity(BUILT_IN) == BUILT_IN_WEIGHTS


def native_size(settings: Settings) -> tuple[int, int]:
    """(width, height) that the model was trained for, in pixels."""
    return _sizes(_folder(settings))[1:]


def unusual(settings: Settings) -> list[str]:
    """Notes on steps or guidance that a model was not made for."""
    folder = _folder(settings)
    family = loading.family_of(folder)[1]
    _, own = _recommended(settings.model, folder, family)
    guidance = own if settings.guidance is None else settings.guidance
    garish = f"the model was made for no guidance: with --guidance {guidance:g} pictures may be garish"
    return [garish] * (own <= family.unguided_up_to < guidance) + _late(folder, settings)


def _late(folder: Path, settings: Settings) -> list[str]:
    """A note if so few steps leave out the first ones, in which a picture takes shape."""
    scheduler, steps = loading.scheduler(folder, settings), settings.steps or 1
    if scheduler.config.get("timestep_spacing") != "leading" or 1 - 1 / steps >= LATEST:
        return []
    scheduler.set_timesteps(steps)
    first, count = int(scheduler.timesteps[0]), scheduler.config.num_train_timesteps
    if first > LATEST * count:
        return []
    return [
        f"with so few --steps as {steps}, denoising begins at {first} of {count}, and much noise stays; give "
        "--scheduler :timestep_spacing=trailing"
    ]


class Pipeline(Model):
    """Any of diffusers' text-to-image pipelines, through its public arguments; a `Family` tells how."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.turns = threading.RLock()  # schedulers count their steps: threads that share a model take turns
        self.dtype = getattr(torch, settings.dtype)
        _, self.family = loading.family_of(folder)
        self.pipe, self.remarks = loading.load(folder, settings)
        self.painter = loading.without_text(self.pipe)
        self.give = schedule.keep(self.painter.scheduler)
        self.draws = schedule.draws(self.pipe.scheduler, settings.steps or 1)
        self.defaults = _defaults(self.pipe)
        _, self.own_guidance = _recommended(settings.model, folder, self.family)
        if self.family.most_tokens_distilled and _is_distilled(folder, self.family):
            self.defaults["max_sequence_length"] = self.family.most_tokens_distilled
        self.scale = loading.pixels_a_latent(folder / "vae" / "config.json")
        self.denoiser: Any = getattr(self.pipe, self.family.denoiser)
        loading.bring_places(self.denoiser)
        self.reader = reading.Reader(self.pipe, self.family, self.defaults, settings.model, settings.device)
        self.scaling: dict[torch.dtype, list[Tensor]] = {}  # mean and deviation of latents
        if settings.device != "mps":  # Apple's GPUs have made wrong pictures of it (pytorch#180984)
            for part in (self.denoiser, self.pipe.vae):
                layout.channels_last(part)
        self.recorder: graphs.Recorder | None = None
        self.passes = settings.low_memory and machine.is_large(settings.device, self.denoiser)
        if settings.compile:
            self._compile()
        elif settings.device in ("cuda", "cuda:0") and not settings.low_memory and not self._waits:
            # What another GPU does would have to be recorded there; nobody has tried.
            self.recorder = graphs.Recorder(self.denoiser, lambda: machine.has_room(settings.device))

    @property
    def _waits(self) -> bool:
        """Whether the denoiser waits for a GPU: as some do, and all that bring there what they unpack weights with."""
        return self.family.syncs or loading.is_quantised(self.settings)

    def _compile(self) -> None:
        """What compilers know, they do better themselves."""
        if self.passes:
            raise Error("what passes through a GPU block by block cannot be compiled; give --compile off")
        loading.compile_parts(self.denoiser, self.pipe.vae, self.family, self.settings.device)  # which may raise Error
        for part in (self.denoiser, self.pipe.vae):
            layout.as_usual(part)
        if self.recorder:
            self.recorder.remove()

    def at(self, settings: Settings) -> Pipeline:
        compiles = bool(settings.compile and not self.settings.compile)
        for name, asked in vars(settings).items():
            loaded = asked if name == "compile" and compiles else getattr(self.settings, name)
            if asked is None or (asked != loaded and name not in CHANGEABLE):
                raise Error(
                    f"the model is loaded with {name} {loaded!r}, not {asked!r}; only {', '.join(CHANGEABLE)} can be "
                    "changed, as in dataclasses.replace(model.settings, steps=2)"
                )
        with self.turns:
            return self._at(settings, compiles)

    def _at(self, settings: Settings, compiles: bool) -> Pipeline:
        if compiles:
            self._compile()
        elif self.recorder and settings.batch != self.settings.batch:  # a smaller one, for want of room
            machine.forget_most(settings.device)
            self.recorder.restart()
        other = copy.copy(self)
        other.settings = settings
        other.draws = schedule.draws(self.pipe.scheduler, settings.steps or 1)
        return other

    def notes(self, keyframe: Keyframe) -> list[str]:
        notes = []
        for name, text in (("prompt", keyframe.prompt), ("negative prompt", keyframe.negative_prompt)):
            if cut := self.reader.cut(text):
                notes.append(f"the {name} is too long for the model, which does not read {shortened(cut)}")
            notes += map(leftover, emphasis.leftovers(text))
        if keyframe.negative_prompt and not self.family.negatives:
            notes.append("the model takes no negative prompt, so it has no effect")
        elif keyframe.negative_prompt and not self._guided:
            notes.append(
                "the model works without guidance, so the negative prompt has no effect"
                if self.own_guidance <= self.family.unguided_up_to
                else f"with guidance {self.settings.guidance:g} the negative prompt has no effect; give --guidance, over "
                f"{self.family.unguided_up_to:g}"
            )
        if self.settings.model == BUILT_IN:
            notes += unknown(keyframe.prompt)
        return notes

    @property
    def _guided(self) -> bool:
        return self.family.negatives and (self.settings.guidance or 0) > self.family.unguided_up_to

    def encode(self, keyframe: Keyframe) -> Conditioning:
        with self.turns:
            return self.reader.encode(keyframe, self._guided)

    def noise(self, seed: int) -> Tensor:
        """For a scheduler that draws noise at its steps, (1 + draws, ...): the start, and what comes then of the seed."""
        generator = torch.Generator().manual_seed(seed)
        with self.turns:
            start = self._start(generator)
        if not self.draws:
            return start
        return torch.stack([start, *(torch.randn(start.shape, generator=generator) for _ in range(self.draws))])

    def _start(self, generator: torch.Generator) -> Tensor:
        height, width = self.settings.height or 0, self.settings.width or 0
        channels = self.denoiser.config.in_channels
        if self.family.latents == "list":
            return torch.randn(channels, height // self.scale, width // self.scale, generator=generator).flatten(1).mT
        if self.family.latents == "packed":
            made = self.pipe.prepare_latents(1, channels // 4, height, width, torch.float32, "cpu", generator)
            start: Tensor = made[0][0] if isinstance(made, tuple) else made[0]  # Flux returns coordinates, too
            return start
        scale = self.scale * (2 if self.family.latents == "patched" else 1)
        return torch.randn(channels, height // scale, width // scale, generator=generator)

    @torch.inference_mode()
    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        with self.turns, self._compiling():
            return self._roomier(lambda: self._denoise(noise, conditioning))

    def _compiling(self, seldom: bool = False) -> contextlib.AbstractContextManager[Any]:
        """seldom: what is within is not worth a program of its own."""
        if not self.settings.compile:
            return contextlib.nullcontext()
        return torch.compiler.set_stance("force_eager") if seldom else loading.compiling()

    def _roomier(self, work: Callable[[], Tensor]) -> Tensor:
        """Where it finds no room beside recordings, once more without them."""
        if self.recorder and self.recorder.recordings:
            try:
                return work()
            except RuntimeError as error:
                if not machine.is_out_of_memory(error):
                    raise
            self.recorder.stop()  # here, where the error no longer holds what fills the memory
        return work()

    def _denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        self.reader.pause()
        self._move_painter()
        if not self.settings.low_memory:
            return self._painted(noise, conditioning)
        if not self.passes and not self.settings.compile:
            full = OutOfMemoryError(self.settings)  # of several frames, fewer may find room
            alone = machine.room(full) if len(noise) == 1 else contextlib.nullcontext()
            with contextlib.suppress(OutOfMemoryError), alone, self._lent():
                return self._painted(noise, conditioning)
            self.passes = True  # which decides no pixel
        with self._lent():
            return self._painted(noise, conditioning)

    def _move_painter(self) -> None:
        """With the first batch, when the text encoders have left: many GPUs have no room for both. To spare memory, only
        what decodes, which is small, and by which most pipelines tell where they work."""
        device, part = self.settings.device, self.pipe.vae if self.settings.low_memory else self.painter
        if part.device.type != device.split(":")[0]:
            with machine.room(OutOfMemoryError(self.settings, whole=True)), torch.inference_mode(False):
                part.to(device)
            machine.forget_most(device)  # text encoders took more

    @contextlib.contextmanager
    def _lent(self) -> Iterator[None]:
        """The denoiser, on the GPU as long as it works there."""
        with contextlib.ExitStack() as lent:
            with machine.room(OutOfMemoryError(self.settings, whole=True)):
                bring = offload.passed if self.passes else offload.lent
                lent.enter_context(bring(self.denoiser, self.settings.device))
            yield

    def _painted(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        noise = noise.to(self.settings.device, torch.float32 if self.family.float32 else self.dtype)
        # By these masks, rows are cut: to read them on a GPU, one would wait for it.
        here = {name for name in conditioning if self.family.ragged and name.endswith("_mask")}
        conditioning = {
            name: _inferred(tensor if name in here else self._there(name, tensor))
            for name, tensor in conditioning.items()
        }
        noise = _inferred(noise)
        if not self.family.one_at_a_time:
            return self._denoised(noise, conditioning)
        rows: list[dict[str, Any]] = [
            {name: tensor[row : row + 1] for name, tensor in conditioning.items()} for row in range(len(noise))
        ]
        if self.family.ragged:
            rows = [_without_padding(row) for row in rows]
        if self.family.listed:
            rows = [{name: list(tensor) for name, tensor in row.items()} for row in rows]
        return torch.cat([self._denoised(noise[i : i + 1], row) for i, row in enumerate(rows)])

    def _denoised(self, noise: Tensor, conditioning: dict[str, Any]) -> Tensor:
        settings = self.settings
        if self.draws:
            noise, *steps = noise.unbind(1)
            self.give(steps)
        call: dict[str, Any] = {
            "latents": noise,
            "height": settings.height,
            "width": settings.width,
            "num_inference_steps": settings.steps,
            self.family.guidance_name: max(settings.guidance or 0.0, self.family.least_guidance),
            # Of what is drawn beside: one a frame, else frames depend on their batch; one seed, else the film flickers.
            "generator": [torch.Generator().manual_seed(0) for _ in noise],
            "output_type": "latent",
        }
        own = self.defaults
        if "negative_prompt" in own:
            call["negative_prompt"] = None  # some pipelines take the empty one for a second one
        if "use_resolution_binning" in own:
            call["use_resolution_binning"] = False  # pictures are made at the size that was asked for
        sigmas = self.pipe.config.get("sample_sigmas")
        if sigmas and len(sigmas) != settings.steps:  # else the pipeline would take no others
            call["sigmas"] = [1 - step / (settings.steps or 1) for step in range(settings.steps or 1)]
        if "intermediate_timesteps" in own and settings.steps != 2:
            call["intermediate_timesteps"] = None  # which Sana-Sprint has for two steps only
        try:
            return self.painter(**conditioning, **call).images
        except (ValueError, IndexError) as error:  # as of a size for which it has no places
            raise Error(f"a {type(self.painter).__name__} cannot make this: {loading.reason(error)}") from error

    def _there(self, name: str, tensor: Tensor) -> Tensor:
        dtype = self.dtype if tensor.is_floating_point() else self.reader.masks.get(name.removeprefix("negative_"))
        # From a CPU's memory to a GPU's a copy need not wait for what the GPU is doing.
        return tensor.to(self.settings.device, dtype, non_blocking=self.settings.device.startswith("cuda"))

    @torch.inference_mode()
    def decode(self, latents: Tensor, exact: bool = False) -> Callable[[], Tensor]:
        with self.turns:
            return self._decode(latents, exact)

    def _decode(self, latents: Tensor, exact: bool) -> Callable[[], Tensor]:
        vae, dtype = self.pipe.vae, self.pipe.vae.dtype
        if self.recorder:
            self.recorder.ready = True  # after the first pictures, when it is known what they take
        try:
            if exact:
                vae.to(torch.float32)
            with self._compiling(seldom=exact):
                pictures = self._roomier(lambda: vae.decode(self._unscaled(latents.to(vae.dtype))).sample)
        finally:
            if exact:
                vae.to(dtype)
        if pictures.ndim == 5:  # of a VAE for videos
            pictures = pictures[:, :, 0]
        finite = pictures.isfinite().all(dim=(1, 2, 3), keepdim=True)
        pictures = (pictures.float() / 2 + 0.5).clamp(0, 1)
        if pictures.shape[1] == 4:  # what can be seen through, before white, as its makers do it
            pictures = pictures[:, :3] * pictures[:, 3:] + 1 - pictures[:, 3:]
        pictures = torch.where(finite, pictures, 0).mul(255).round()
        return machine.brought(pictures.to(torch.uint8).permute(0, 2, 3, 1).contiguous())

    def _unscaled(self, latents: Tensor) -> Tensor:
        """As the VAE has learned them; the denoiser learned them with mean 0 and deviation 1."""
        config = self.pipe.vae.config
        if latents.ndim == 3:
            side = self.scale * (1 if self.family.latents == "list" else 2)
            latents = _unpacked(latents, (self.settings.height or 0) // side, (self.settings.width or 0) // side)
        if self.family.latents == "patched":
            return _smoothed(latents, self.pipe.vae, self.family.epsilon)
        if self.family.latents == "packed":
            latents = pixel_shuffle(latents, 2)
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean is None or deviation is None:
            latents = latents / config.scaling_factor
            return latents + config.shift_factor if config.get("shift_factor") else latents
        if latents.dtype not in self.scaling:  # brought to a GPU once, for which one waits
            self.scaling[latents.dtype] = [latents.new_tensor(value).view(1, -1, 1, 1) for value in (mean, deviation)]
        mean, deviation = self.scaling[latents.dtype]
        latents = latents * deviation / config.get("scaling_factor", 1) + mean
        return latents.unsqueeze(2) if hasattr(config, "temperal_downsample") else latents


def _defaults(pipe: Any) -> dict[str, Any]:
    """The arguments of a pipeline's `__call__` that need not be given."""
    parameters = inspect.signature(pipe.__call__).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _inferred(tensor: Tensor) -> Tensor:
    """Within inference mode: as what is made of it will be. A compiler makes other programs for other tensors."""
    return tensor if tensor.is_inference() else tensor.clone()


def _without_padding(row: Conditioning) -> dict[str, Any]:
    """Of a batch of one, the tokens in the masks."""
    return {
        name: tensor[:, : int(row[f"{name}_mask"].sum())] for name, tensor in row.items() if not name.endswith("_mask")
    }


def _unpacked(latents: Tensor, rows: int, columns: int) -> Tensor:
    """A list of latents or of patches, (batch, rows times columns, channels), to (batch, channels, rows, columns)."""
    return latents.mT.reshape(len(latents), -1, rows, columns)


def _smoothed(latents: Tensor, vae: Any, epsilon: float | None) -> Tensor:
    """Flux 2's patches of 2x2, whose channels the VAE has learned to bring to mean 0 and deviation 1, as it decodes
    them. Some pipelines do so themselves."""
    if latents.shape[1] == vae.config.latent_channels:
        return latents
    mean = vae.bn.running_mean.to(latents).view(1, -1, 1, 1)
    variance = vae.bn.running_var.to(latents).view(1, -1, 1, 1)
    epsilon = vae.config.batch_norm_eps if epsilon is None else epsilon
    return pixel_shuffle(latents * (variance + epsilon).sqrt() + mean, 2)


# What the model allows


def _folder(settings: Settings) -> Path:
    return find(settings.model, settings.denoiser == "own")


def _sizes(folder: Path) -> tuple[int, int, int]:
    """(what sides are multiples of, width, height that the model was trained for), in pixels."""
    _, family = loading.family_of(folder)
    scale = loading.pixels_a_latent(folder / "vae" / "config.json")
    multiple = max(scale * family.patch, family.multiple)
    if pixels := read_json(folder / "model_index.json").get("default_sample_size"):
        return multiple, pixels, pixels
    size = family.sample or field(folder / family.denoiser / "config.json", "sample_size")
    height, width = (size, size) if isinstance(size, int) else size
    return multiple, width * scale, height * scale


def _recommended(model: str, folder: Path, family: Family) -> tuple[int, float]:
    """(steps, guidance)"""
    if entry := known(model):
        return entry.steps, entry.guidance
    if sigmas := read_json(folder / "model_index.json").get("sample_sigmas"):
        return len(sigmas), family.guidance
    if family.distilled is not None and _is_distilled(folder, family):
        return family.distilled[-1], 0.0
    return family.steps, family.guidance


def _is_distilled(folder: Path, family: Family) -> bool:
    file, name, value, _ = family.distilled or ("model_index.json", "", True, 0)
    return bool(read_json(folder / file).get(name) == value)


def _size(name: str, pixels: int, scale: int) -> int:
    if pixels % scale:
        near = max(scale, pixels // scale * scale)
        raise Error(
            f"{name} {pixels} is not possible with this model; nearest are {near} and {near + scale} (multiples of {scale})"
        )
    return pixels
