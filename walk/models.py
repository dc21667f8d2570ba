"""Every model family behind encode / noise / denoise / decode, by one adapter and the table of walk.families.

From a model's name to a picture:
1. walk.hub finds the model's folder, or downloads it; `model_index.json` in it names diffusers' class of pipeline.
2. That class is a row of walk.families: what its pipelines return, take and recommend. A new family is a new row (and a
   tiny pipeline in tests/tiny.py, which tests/test_families.py takes all of this way).
3. `complete` fills in what the settings leave open, from the row and the model's configurations.
4. walk.loading makes the pipeline, and `Pipeline`, the adapter, a model of it.
5. `Pipeline.encode` has walk.reading ask the pipeline's `encode_prompt` for the conditioning of a prompt.
6. `Pipeline.noise` draws the noise of a seed, in the shape in which the pipeline takes latents.
7. `Pipeline.denoise` hands both to the pipeline, as keyword arguments of its `__call__`, and gets latents.
8. `Pipeline.decode` brings the latents to the scale that the VAE has learned, and has it make pictures.

Knows no walks, frames or run folders.
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
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from walk import (
    Error,
    OutOfMemoryError,
    channels_last,
    cuda_graphs,
    downloads,
    embeddings,
    emphasis,
    loading,
    machine,
    offload,
    reading,
    schedule,
    vision,
)
from walk.catalogue import find_entry
from walk.digests import Report
from walk.families import Family
from walk.hub import find_model, identity, read_field, read_json
from walk.keyframes import Keyframe
from walk.notes import leftover, shortened, unknown
from walk.settings import BUILT_IN, Settings

Conditioning = reading.Conditioning
T = TypeVar("T")

BUILT_IN_WEIGHTS = "sha256 a03921264584a567039a912e8bcce21175ef86d6931b03260bffbacfb29658b6"
CHANGEABLE = ("steps", "guidance", "batch")  # settings of a model that is loaded
DECODED_PIXELS = 2**15  # at a time, on a CPU: two pictures of the built-in model's; eight took a sixth longer
LATEST = 0.8  # of the timesteps that a model was trained with: denoising that begins below leaves noise in the picture


class Model(Protocol):
    """What makes pictures of prompts. `denoise` and `decode` take and return tensors with the batch dimension first.

    A model of your own derives from this. It needs complete `settings` (`Settings.left_open` names what they lack),
    `encode`, `noise`, `denoise` and `decode`. See examples/own_model.py.
    """

    settings: Settings
    remarks: Sequence[str] = ()  # notes on the model itself, in sentences for the user

    def at(self, settings: Settings) -> Model:
        """The same weights with other steps, guidance or batch: `settings` are the model's own, but for these. Or else
        compiled; then the old model is no longer of use.

        Raises Error for anything else that differs, since that would have to be loaded."""
        if dataclasses.replace(settings, batch=self.settings.batch) != self.settings:
            raise Error(f"{type(self).__name__} has no settings but its own, and another batch; give model.settings")
        other = copy.copy(self)
        other.settings = settings
        return other

    def notes(self, keyframe: Keyframe) -> list[str]:
        """Notes on what the model will not understand of a keyframe, in sentences for the user."""
        return ["the model may not see the picture beside the prompt, of which it says nothing"] * bool(keyframe.image)

    @abstractmethod
    def encode(self, keyframe: Keyframe) -> Conditioning:
        """The conditioning of one keyframe on the CPU, without a batch dimension: tensors of floating point, which are
        interpolated, and masks of integers, ones for the tokens that the model hears, then zeros.

        If prompts differ in their number of tokens, a token that is said twice must count no more than one said once.

        It must follow from the words and the settings alone, since finished frames are found again by these; for
        embeddings that do not, there are the keyframes of walk.given."""

    @abstractmethod
    def noise(self, seed: int) -> Tensor:
        """The Gaussian noise that one picture starts from, such as (channels, height, width), float32 on the CPU: the
        same for a seed on every device. All other noise that goes into the picture is part of it.

        Called in another thread while `denoise` is at work."""

    @abstractmethod
    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents from noise and conditioning of the same batch size."""

    @abstractmethod
    def decode(self, latents: Tensor, exact: bool = False) -> Callable[[], Tensor]:
        """A function that waits for pictures (batch, height, width, 3), uint8 on the CPU, and returns them. A picture
        that fails is of one colour: black if its values are not finite. exact: in float32, where less overflows."""


def check(model: object, *names: str) -> None:
    """Raise Error for something that is not a model, since it lacks one of these attributes."""
    if missing := [name for name in names if getattr(model, name, None) is None]:
        if hasattr(model, "save_pretrained"):  # see `load`
            raise Error(
                f"a {type(model).__name__} in memory cannot be given; save it by save_pretrained('mine'), and give "
                "model='mine'"
            )
        raise Error(
            f"{type(model).__name__} has no {', '.join(missing)}, so it is not a model; models.load loads one, and one of "
            "your own derives from walk.models.Model"
        )


def complete(settings: Settings, report: Report = lambda what, done, size: None) -> Settings:
    """Fill in what the settings leave to the model and the machine. Loads no weights, but downloads missing files.

    report: called while files are downloaded, and large ones are read: with what is done, such as 'downloading
        org/name', how many bytes are done, and of how many.
    Raises Error if the model is not found, not supported, or cannot make such pictures.
    """
    with downloads.reporting(report):
        return _complete(settings, report)


def _complete(settings: Settings, report: Report) -> Settings:
    folder = _folder(settings)
    _, family = loading.family_of(folder)
    device = machine.device(settings.device)
    # 1. Refuse what cannot be made
    if settings.low_memory and not device.startswith("cuda"):
        raise Error(f"--low-memory spares a GPU's memory, and {device} has none of its own; leave it out")
    libraries = loading.libraries(settings)
    loading.check_denoiser(folder, settings, family)
    loading.check_decoder(folder, settings, family)
    if settings.compile:
        loading.check_compiles(family, device)
    loading.check_skips(folder, settings, family)
    seen_by = vision.chosen(folder, settings, family)
    if seen_by and settings.image_weight is None:
        settings = dataclasses.replace(settings, image_weight=vision.usual_weight(settings, family))
    # 2. Size, device and identity
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
            settings.embeddings(),
        )
        + (f", {vision.identity(seen_by, settings, family, report)}" if seen_by else ""),
        software=tuple(f"{name} {importlib.metadata.version(name)}" for name in libraries),
    )
    # 3. What depends on these
    if filled.scheduler is not None:
        loading.scheduler(folder, filled)  # only to raise Error if it cannot be made
    steps, recommended = _recommended(settings.model, folder, family)
    guidance = recommended if filled.guidance is None else filled.guidance
    dtype = machine.dtype(filled, family.dtype)
    wide = dtype == "float16" and loading.decodes_in_float32(settings, family)
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
            else machine.batch(filled, (family.negatives or family.zeroed) and guidance > family.unguided_up_to, wide)
        ),
    )


def check_compiles(settings: Settings) -> None:
    """Raise Error if it is known that the model cannot be compiled on this machine, or had better not be."""
    loading.check_compiles(loading.family_of(_folder(settings))[1], settings.device)


def load(settings: Settings | str = BUILT_IN) -> Model:
    """The model, on its device; by its name alone, with the settings that are its own. Raises Error like `complete`,
    and if the weights do not load.

    For an NVIDIA GPU it sets torch.backends.cudnn.deterministic for the whole process, else the last bit might differ
    from run to run. To compile, it sets TORCHINDUCTOR_CACHE_DIR for the process, unless it is set, to keep the
    programs.

    A pipeline that you have in memory, with a UNet that you have trained, is to be saved and loaded from there:

        pipe.save_pretrained("mine")
        model = models.load(Settings(model="mine"))

    There is no shorter way, since frames of two models could be mixed: what a pipeline in memory makes also depends on
    hooks, attention processors and scales of adapters, which no digest of its weights tells apart. A model that is
    loaded is what its files say, and they are its identity. Anything else that has the methods of a `Model` can be
    given to `walk.render`.
    """
    if not isinstance(settings, Settings):
        settings = Settings(settings)
    if settings.left_open():
        settings = dataclasses.replace(complete(settings), compile=bool(settings.compile))
    folder = _folder(settings)
    machine.check_process()
    machine.make_deterministic(settings.device)
    return Pipeline(folder, settings)


def built_in_is_whole() -> bool:
    """Whether the built-in model's files are those that walk came with."""
    return identity(BUILT_IN) == BUILT_IN_WEIGHTS


def native_size(settings: Settings) -> tuple[int, int]:
    """(width, height) of the pictures that the model was trained for, in pixels."""
    return _sizes(_folder(settings))[1:]


def unusual(settings: Settings) -> list[str]:
    """Notes on steps or guidance that a model was not made for."""
    folder = _folder(settings)
    family = loading.family_of(folder)[1]
    _, own = _recommended(settings.model, folder, family)
    guidance = own if settings.guidance is None else settings.guidance
    garish = f"the model was made for no guidance: with --guidance {guidance:g} pictures may be garish"
    return [garish] * (own <= family.unguided_up_to < guidance) + _late_start(folder, settings)


def _late_start(folder: Path, settings: Settings) -> list[str]:
    """A note if so few steps leave out the first timesteps, in which a picture takes shape."""
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
    """Any of diffusers' text-to-image pipelines, called through its public arguments, as its `Family` says."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.settings = settings
        self.lock = threading.RLock()  # schedulers count their steps: threads that share a model take turns
        self.dtype = getattr(torch, settings.dtype)
        _, self.family = loading.family_of(folder)
        # 1. The pipeline; and what denoises: the same without its text encoders
        self.pipe, self.remarks = loading.load(folder, settings)
        self.vision = vision.add(self.pipe, folder, settings, self.family)
        self.textless_pipe = loading.without_text(self.pipe)
        self.denoiser: Any = getattr(self.pipe, self.family.denoiser)
        self.planner = schedule.Planner(self.textless_pipe.scheduler)
        # A UNet that was distilled for guidance, as LCM's, hears no negative prompts in other pipelines, either.
        self.negatives = self.family.negatives and self.denoiser.config.get("time_cond_proj_dim") is None
        self.draws = schedule.count_draws(self.pipe.scheduler, settings.steps or 1)  # of noise, in a picture's steps
        # 2. What it says of itself
        self.defaults = _defaults(self.pipe)
        _, self.own_guidance = _recommended(settings.model, folder, self.family)
        if self.family.most_tokens_distilled and _is_distilled(folder, self.family):
            self.defaults["max_sequence_length"] = self.family.most_tokens_distilled
        self.scale = loading.pixels_per_latent(folder / "vae" / "config.json")
        self.statistics: dict[torch.dtype, list[Tensor]] = {}  # mean and deviation of latents, on the device
        # 3. Its prompts' reader
        able = bool(self.family.tokens) and "clean_caption" not in self.defaults  # which would clean the words away
        words = embeddings.add(self.pipe, settings.embeddings(), [name for name, _ in settings.loras()], able)
        self.reader = reading.Reader(self.pipe, self.family, self.defaults, settings, words, self.vision)
        # 4. What makes it faster, or lets it work in less memory
        loading.keep_positions_on_device(self.denoiser)
        if settings.device != "mps":  # Apple's GPUs have made wrong pictures so (pytorch#180984)
            for part in (self.denoiser, self.pipe.vae):
                channels_last.apply(part)
        self.recorder: cuda_graphs.Recorder | None = None
        self.by_block = settings.low_memory and machine.is_large(settings.device, self.denoiser)
        if settings.compile:
            self._compile()
        elif settings.device in ("cuda", "cuda:0") and not settings.low_memory and not self._denoiser_waits:
            # What another GPU does would have to be recorded on that one; nobody has tried.
            self.recorder = cuda_graphs.Recorder(self.denoiser, lambda: machine.has_room(settings.device))

    @property
    def _denoiser_waits(self) -> bool:
        """Whether the denoiser has to wait for a GPU: as those of some families, and all that unpack weights, with
        tables that they copy there."""
        return self.family.syncs or loading.is_quantised(self.settings)

    def _compile(self) -> None:
        """Have the model compiled, without what a compiler does better itself. Raises Error if it cannot be."""
        if self.by_block:
            raise Error("what passes through a GPU block by block cannot be compiled; give --compile off")
        loading.compile_parts(self.denoiser, self.pipe.vae, self.family, self.settings.device)
        for part in (self.denoiser, self.pipe.vae):
            channels_last.undo(part)
        if self.recorder:
            self.recorder.remove()

    def at(self, settings: Settings) -> Pipeline:
        compiles = bool(settings.compile and not self.settings.compile)
        for name, value in vars(settings).items():
            loaded = value if name == "compile" and compiles else getattr(self.settings, name)
            if value != loaded and (value is None or name not in CHANGEABLE):
                raise Error(
                    f"the model is loaded with {name} {loaded!r}, not {value!r}; only {', '.join(CHANGEABLE)} can be "
                    "changed, as in dataclasses.replace(model.settings, steps=2)"
                )
        with self.lock:
            return self._at(settings, compiles)

    def _at(self, settings: Settings, compiles: bool) -> Pipeline:
        if compiles:
            self._compile()
        elif self.recorder and settings.batch != self.settings.batch:  # a smaller one, after running out of memory
            machine.reset_peak(settings.device)
            self.recorder.restart()
        other = copy.copy(self)
        other.settings = settings
        other.draws = schedule.count_draws(self.pipe.scheduler, settings.steps or 1)
        return other

    def notes(self, keyframe: Keyframe) -> list[str]:
        notes = []
        for name, text in (("prompt", keyframe.prompt), ("negative prompt", keyframe.negative_prompt)):
            if unread := self.reader.unread(text):
                notes.append(f"the {name} is too long for the model, which does not read {shortened(unread)}")
            notes += map(leftover, emphasis.leftovers(self.reader.words.bare(text)))
        if keyframe.negative_prompt and not self.negatives:
            notes.append("the model takes no negative prompt, so it has no effect")
        elif keyframe.negative_prompt and not self._guided:
            notes.append(
                "the model works without guidance, so the negative prompt has no effect"
                if self.own_guidance <= self.family.unguided_up_to
                else f"with guidance {self.settings.guidance:g} the negative prompt has no effect; give --guidance, over "
                f"{self.family.unguided_up_to:g}"
            )
        if keyframe.wordless and self.family.vision == "ip-adapter":
            notes.append(f"a picture alone has the words '{keyframe.prompt}'; for others, write WORDS | image=FILE")
        if self.settings.model == BUILT_IN:
            notes += unknown(self.reader.words.removed(keyframe.prompt))
        return notes

    @property
    def _guided(self) -> bool:
        return self.negatives and (self.settings.guidance or 0) > self.family.unguided_up_to

    def encode(self, keyframe: Keyframe) -> Conditioning:
        with self.lock:
            return self.reader.encode(keyframe, self._guided)

    def noise(self, seed: int) -> Tensor:
        """As `Model.noise`. For a scheduler that draws noise at its steps, (1 + draws, ...): the start, then the noise
        of each draw."""
        generator = torch.Generator().manual_seed(seed)
        with self.lock:
            start = self._start(generator)
        if not self.draws:
            return start
        return torch.stack([start, *(torch.randn(start.shape, generator=generator) for _ in range(self.draws))])

    def _start(self, generator: torch.Generator) -> Tensor:
        """Noise in the shape in which the pipeline takes latents, without a batch dimension."""
        height, width = self.settings.height or 0, self.settings.width or 0
        channels = self.denoiser.config.in_channels
        if self.family.latents == "list":
            return torch.randn(channels, height // self.scale, width // self.scale, generator=generator).flatten(1).mT
        if self.family.latents == "packed":
            grid = torch.randn(channels // 4, height // self.scale, width // self.scale, generator=generator)
            return pixel_unshuffle(grid, 2).flatten(1).mT.contiguous()  # as the pipelines lay it
        scale = self.scale * (2 if self.family.latents == "patched" else 1)
        return torch.randn(channels, height // scale, width // scale, generator=generator)

    @torch.inference_mode()
    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        with self.lock, self._compiling():
            return self._with_room(lambda: self._denoise(noise, conditioning))

    def _compiling(self, seldom: bool = False) -> contextlib.AbstractContextManager[Any]:
        """Within, the model is compiled, if it is to be. seldom: such work is too rare to be worth a program."""
        if not self.settings.compile:
            return contextlib.nullcontext()
        return torch.compiler.set_stance("force_eager") if seldom else loading.compiling()

    def _with_room(self, work: Callable[[], T]) -> T:
        """The result of work; if it runs out of memory beside recordings, once more without them."""
        if self.recorder and self.recorder.recordings:
            try:
                return work()
            except RuntimeError as error:
                if not machine.is_out_of_memory(error):
                    raise
            self.recorder.stop()  # here, where the error no longer holds what fills the memory
        return work()

    def _denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """Latents from tensors on the CPU; the parts of the model are brought where they work."""
        self.reader.pause()
        self._move_pipe()
        if not self.settings.low_memory:
            return self._denoise_on_device(noise, conditioning)
        if not self.by_block and not self.settings.compile:
            # One frame that does not fit is tried block by block; of several, fewer may fit.
            error = OutOfMemoryError(self.settings)
            single = machine.out_of_memory_as(error) if len(noise) == 1 else contextlib.nullcontext()
            with contextlib.suppress(OutOfMemoryError), single, self._denoiser_on_gpu():
                return self._denoise_on_device(noise, conditioning)
            self.by_block = True  # which decides no pixel
        with self._denoiser_on_gpu():
            return self._denoise_on_device(noise, conditioning)

    def _move_pipe(self) -> None:
        """Move the pipeline to its device: with the first batch, when the text encoders have left, since many GPUs have
        no room for both. To spare memory, move only the VAE, which is small, and by which most pipelines tell their
        device."""
        device, part = self.settings.device, self.pipe.vae if self.settings.low_memory else self.textless_pipe
        if part.device.type != device.split(":")[0]:
            with machine.out_of_memory_as(OutOfMemoryError(self.settings, whole=True)), torch.inference_mode(False):
                part.to(device)
            machine.reset_peak(device)  # the text encoders' was higher

    @contextlib.contextmanager
    def _denoiser_on_gpu(self) -> Iterator[None]:
        """Within, the denoiser is on the GPU, whole or block by block."""
        with contextlib.ExitStack() as stack:
            with machine.out_of_memory_as(OutOfMemoryError(self.settings, whole=True)):
                lend = offload.block_by_block if self.by_block else offload.on_gpu
                stack.enter_context(lend(self.denoiser, self.settings.device))
            yield

    def _denoise_on_device(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        """The same, where the parts of the model have been brought: of all rows at once, or of one after the other."""
        noise = noise.to(self.settings.device, torch.float32 if self.family.float32 else self.dtype)
        # These masks stay on the CPU: rows are cut by them, and to read them on a GPU is to wait for it.
        on_cpu = {name for name in conditioning if self.family.ragged and name.endswith("_mask")}
        conditioning = {
            name: _as_inference(tensor if name in on_cpu else self._to_device(name, tensor))
            for name, tensor in conditioning.items()
        }
        noise = _as_inference(noise)
        if not self.family.one_at_a_time:
            return self._call_pipe(noise, conditioning)
        rows: list[dict[str, Any]] = [
            {name: tensor[row : row + 1] for name, tensor in conditioning.items()} for row in range(len(noise))
        ]
        if self.family.ragged:
            rows = [_without_padding(row) for row in rows]
        if self.family.listed:
            rows = [{name: list(tensor) for name, tensor in row.items()} for row in rows]
        return torch.cat([self._call_pipe(noise[i : i + 1], row) for i, row in enumerate(rows)])

    def _call_pipe(self, noise: Tensor, conditioning: dict[str, Any]) -> Tensor:
        """Latents from the pipeline itself, by the arguments of its `__call__`."""
        settings = self.settings
        if self.draws:
            noise, *steps = noise.unbind(1)
            self.planner.give(steps)
        call: dict[str, Any] = {
            "latents": noise,
            "height": settings.height,
            "width": settings.width,
            "num_inference_steps": settings.steps,
            self.family.guidance_name: max(settings.guidance or 0.0, self.family.least_guidance),
            # For noise beyond what is given: one for each frame, else frames depend on their batch; all of one seed,
            # else the film flickers.
            "generator": [torch.Generator().manual_seed(0) for _ in noise],
            "output_type": "latent",
        }
        if "negative_prompt" in self.defaults:
            call["negative_prompt"] = None  # some pipelines take '' for one that is given beside its embeddings
        if "use_resolution_binning" in self.defaults:
            call["use_resolution_binning"] = False  # make pictures at exactly this size
        sigmas = self.pipe.config.get("sample_sigmas")
        if sigmas and len(sigmas) != settings.steps:  # which would be the only ones that the pipeline takes
            call["sigmas"] = [1 - step / (settings.steps or 1) for step in range(settings.steps or 1)]
        if "intermediate_timesteps" in self.defaults and settings.steps != 2:
            call["intermediate_timesteps"] = None  # Sana-Sprint's default is for two steps only
        try:
            return self.textless_pipe(**vision.as_arguments(conditioning, self._guided), **call).images
        except (ValueError, IndexError) as error:  # as for a size for which it has no positions
            raise Error(f"a {type(self.textless_pipe).__name__} cannot make this: {loading.reason(error)}") from error

    def _to_device(self, name: str, tensor: Tensor) -> Tensor:
        masks = self.reader.mask_dtypes
        dtype = self.dtype if tensor.is_floating_point() else masks.get(name.removeprefix("negative_"))
        # A copy to a GPU's memory need not wait for what the GPU is doing.
        return tensor.to(self.settings.device, dtype, non_blocking=self.settings.device.startswith("cuda"))

    @torch.inference_mode()
    def decode(self, latents: Tensor, exact: bool = False) -> Callable[[], Tensor]:
        with self.lock:
            return self._decode(latents, exact)

    def _decode(self, latents: Tensor, exact: bool) -> Callable[[], Tensor]:
        vae, dtype = self.pipe.vae, self.pipe.vae.dtype  # for which diffusers looks through all of it
        if self.recorder:
            self.recorder.ready = True  # after the first batch, when it is known how much memory it takes
        try:
            if exact:
                vae.to(torch.float32)
            with self._compiling(seldom=exact):
                given = latents.to(torch.float32 if exact else dtype)
                parts = torch.split(given, self._decoded_together(len(latents)))
                decoded = self._with_room(lambda: [vae.decode(self._to_vae(it)).sample for it in parts])
                pictures = decoded[0] if len(decoded) == 1 else torch.cat(decoded)
        finally:
            if exact:
                vae.to(dtype)
        if pictures.ndim == 5:  # of a VAE for videos
            pictures = pictures[:, :, 0]
        finite = pictures.isfinite().all(dim=(1, 2, 3), keepdim=True)
        pictures = (pictures.float() / 2 + 0.5).clamp(0, 1)
        if pictures.shape[1] == 4:  # with transparency: on white, as the model's makers do it
            pictures = pictures[:, :3] * pictures[:, 3:] + 1 - pictures[:, 3:]
        pictures = torch.where(finite, pictures, 0).mul(255).round()
        return machine.copy_to_cpu(pictures.to(torch.uint8).permute(0, 2, 3, 1).contiguous())

    def _decoded_together(self, count: int) -> int:
        """How many of a batch's pictures are decoded at a time: on a CPU no more than its caches have room for, in parts
        of one size, else all of them."""
        if self.settings.device != "cpu":
            return count
        most = min(count, max(1, DECODED_PIXELS // ((self.settings.width or 1) * (self.settings.height or 1))))
        return next(size for size in range(most, 0, -1) if count % size == 0)

    def _to_vae(self, latents: Tensor) -> Tensor:
        """Latents in the shape and scale that the VAE has learned; the denoiser's have mean 0 and deviation 1."""
        config = self.pipe.vae.config
        if latents.ndim == 3:
            side = self.scale * (1 if self.family.latents == "list" else 2)
            latents = _unpack(latents, (self.settings.height or 0) // side, (self.settings.width or 0) // side)
        if self.family.latents == "patched":
            return _unpatch(latents, self.pipe.vae, self.family.epsilon)
        if self.family.latents == "packed":
            latents = pixel_shuffle(latents, 2)
        mean, deviation = config.get("latents_mean"), config.get("latents_std")
        if mean is None or deviation is None:
            latents = latents / config.scaling_factor
            return latents + config.shift_factor if config.get("shift_factor") else latents
        if latents.dtype not in self.statistics:  # copied to a GPU only once: that waits for it
            self.statistics[latents.dtype] = [
                latents.new_tensor(value).view(1, -1, 1, 1) for value in (mean, deviation)
            ]
        mean, deviation = self.statistics[latents.dtype]
        latents = latents * deviation / config.get("scaling_factor", 1) + mean
        return latents.unsqueeze(2) if hasattr(config, "temperal_downsample") else latents


def _defaults(pipe: Any) -> dict[str, Any]:
    """The arguments of a pipeline's `__call__` that have defaults, with these."""
    parameters = inspect.signature(pipe.__call__).parameters.values()
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _as_inference(tensor: Tensor) -> Tensor:
    """An inference tensor, as all that is made of it within inference mode will be: for tensors of both kinds, a
    compiler makes two programs."""
    return tensor if tensor.is_inference() else tensor.clone()


def _without_padding(row: Conditioning) -> dict[str, Any]:
    """The embeddings of a batch of one, each without the tokens that its mask hides."""
    return {
        name: tensor[:, : int(row[f"{name}_mask"].sum())] for name, tensor in row.items() if not name.endswith("_mask")
    }


def _unpack(latents: Tensor, rows: int, columns: int) -> Tensor:
    """A list of latents or of patches, (batch, rows times columns, channels), to (batch, channels, rows, columns)."""
    return latents.mT.reshape(len(latents), -1, rows, columns)


def _unpatch(latents: Tensor, vae: Any, epsilon: float | None) -> Tensor:
    """Latents out of Flux 2's patches of 2x2, which have mean 0 and deviation 1 in each channel by statistics of the
    VAE's own. Some pipelines return them so themselves."""
    if latents.shape[1] == vae.config.latent_channels:
        return latents
    mean = vae.bn.running_mean.to(latents).view(1, -1, 1, 1)
    variance = vae.bn.running_var.to(latents).view(1, -1, 1, 1)
    epsilon = vae.config.batch_norm_eps if epsilon is None else epsilon
    return pixel_shuffle(latents * (variance + epsilon).sqrt() + mean, 2)


# What a model's files say of it


def _folder(settings: Settings) -> Path:
    return find_model(settings.model, settings.denoiser == "own")


def _sizes(folder: Path) -> tuple[int, int, int]:
    """(the number that sides must be multiples of, width and height that the model was trained for), in pixels."""
    _, family = loading.family_of(folder)
    scale = loading.pixels_per_latent(folder / "vae" / "config.json")
    multiple = max(scale * family.patch, family.multiple)
    if pixels := read_json(folder / "model_index.json").get("default_sample_size"):
        return multiple, pixels, pixels
    size = family.sample or read_field(folder / family.denoiser / "config.json", "sample_size")
    height, width = (size, size) if isinstance(size, int) else size
    return multiple, width * scale, height * scale


def _recommended(model: str, folder: Path, family: Family) -> tuple[int, float]:
    """(steps, guidance) that the model's makers recommend."""
    if entry := find_entry(model):
        return entry.steps, entry.guidance
    if sigmas := read_json(folder / "model_index.json").get("sample_sigmas"):
        return len(sigmas), family.guidance
    if family.distilled is not None and _is_distilled(folder, family):
        return family.distilled[-1], 0.0
    return family.steps, family.guidance


def _is_distilled(folder: Path, family: Family) -> bool:
    file, name, value, _ = family.distilled or ("model_index.json", "", True, 0)
    return bool(read_json(folder / file).get(name) == value)


def _size(name: str, pixels: int, multiple: int) -> int:
    if pixels % multiple:
        near = max(multiple, pixels // multiple * multiple)
        raise Error(
            f"{name} {pixels} is not possible with this model; nearest are {near} and {near + multiple} (multiples of "
            f"{multiple})"
        )
    return pixels
