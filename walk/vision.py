"""How models see pictures beside prompts: Stable Diffusion and its kin by an IP-Adapter (Ye et al., 2023), whose attention
has layers of its own for what an image encoder tells; Flux by Redux (Black Forest Labs, 2024), which makes tokens of it
that stand beside those of the words.

Knows no walks, and not which pictures there are.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from walk import Error, downloads, images, loading
from walk.digests import Report
from walk.families import FAMILIES, Family
from walk.files import at_home
from walk.hub import (
    DECIDING,
    IP_ADAPTER,
    file_identity,
    find_file,
    folder_identity,
    is_complete,
    is_ip_adapter,
    may_be_on_hub,
    part_files,
    pipeline_of,
    read_field,
    snapshot,
    tensor_shapes,
)
from walk.images import Image
from walk.settings import Settings

EMBEDS = "ip_adapter_image_embeds"  # of a picture; with negative_ before, of none
SHOWN = "ip_adapter_shown"  # how far a picture is; 0 where there is none
KEPT = 8  # pictures, as they were read: one may stand beside every prompt
# Where encoders of pictures lie that IP-Adapters were made with, by what they read of an encoder's: the numbers that it has
# for a whole picture (its projection), or those of each patch (its last layer but one), and how many these are.
_IMAGE_ENCODERS_REPO = "h94/IP-Adapter"
_IMAGE_ENCODERS = {
    ("projection_dim", 1024): "models/image_encoder",
    ("hidden_size", 1280): "models/image_encoder",
    ("projection_dim", 1280): "sdxl_models/image_encoder",
    ("hidden_size", 1664): "sdxl_models/image_encoder",
}
_REDUX = ("feature_extractor/", "image_embedder/", "image_encoder/")  # the parts of Flux' reader of pictures


class Vision(Protocol):
    """encoders: the modules that read pictures, and are needed for nothing else."""

    encoders: list[Any]

    def join(
        self, conditioning: dict[str, Tensor], image: Image | None, wordless: bool, device: str
    ) -> dict[str, Tensor]:
        """The conditioning of a prompt, on the CPU and without a batch dimension, with that of the picture beside it, or
        of none. wordless: whether the picture stands alone. device: where the encoders are."""


def chosen(folder: Path, settings: Settings, family: Family) -> str:
    """The file, folder or hub name of what reads pictures for the model in a folder; '' if there are none. Raises Error if
    that model cannot have it."""
    name = settings.ip_adapter
    if not name:
        return ""
    if not family.vision:
        able = ", ".join(name for name, family in FAMILIES.items() if family.vision)
        raise Error(f"models of this family read no pictures beside prompts, so leave out image; it is for {able}")
    if family.vision == "ip-adapter" and loading.is_quantised(settings):
        raise Error(
            "to a quantised denoiser diffusers adds no IP-Adapter, which reads the pictures beside prompts; leave out "
            "--denoiser, or image"
        )
    if settings.image_style and not family.sees_styles:
        able = ", ".join(name for name, family in FAMILIES.items() if family.sees_styles)
        raise Error(
            f"models of this family do not tell a picture's style from the rest; leave out --image-style; it is for {able}"
        )
    field = "cross_attention_dim" if family.vision == "ip-adapter" else "joint_attention_dim"
    width = read_field(folder / family.denoiser / "config.json", field)
    if name == "own":
        if own := dict(family.readers_of_images).get(width):
            return own
        raise Error(
            f"{settings.model} reads no pictures beside prompts, for there is no usual IP-Adapter for it; give another "
            "--model, such as sd15 or sdxl, or an --ip-adapter that was made for it"
        )
    if (its := _width(name, family)) != width:
        raise Error(
            f"{name} does not fit the model: it was made for prompts of width {its}, and the model's have {width}; give "
            "another --ip-adapter"
        )
    return name


def _width(name: str, family: Family) -> int | str:
    """Of the prompts' embeddings that a reader of pictures was made for."""
    if family.vision == "redux":
        width: int = read_field(find_redux(name) / "image_embedder" / "config.json", "txt_in_features")
        return width
    shapes = tensor_shapes(find_ip_adapter(name))
    widths = {it.shape[-1] for key, it in shapes.items() if key.startswith(IP_ADAPTER) and "to_k_ip" in key}
    return widths.pop() if len(widths) == 1 else "unknown"


def usual_weight(settings: Settings, family: Family) -> float:
    """How much pictures count, unless something else is asked for."""
    return 1.0 if family.vision == "redux" or settings.image_style else 0.6


def identity(name: str, settings: Settings, family: Family, report: Report) -> str:
    """What a reader of pictures is known by, as `walk.hub.identity` tells a model's weights."""
    by = repr(settings.image_weight).removesuffix(".0") + " style" * settings.image_style
    if family.vision == "redux":
        return f"redux {folder_identity(find_redux(name), report)}:{by}"
    file = find_ip_adapter(name)
    encoder = [f"image encoder {file_identity(part, report)}" for part in part_files(find_image_encoder(file))]
    return ", ".join([f"ip-adapter {file_identity(file, report)}:{by}", *encoder])


def add(pipe: Any, folder: Path, settings: Settings, family: Family) -> Vision | None:
    """Have a pipeline see pictures, if its settings say so."""
    if not (name := chosen(folder, settings, family)):
        return None
    with loading.quiet():
        return Redux(name, settings) if family.vision == "redux" else IPAdapter(pipe, name, settings)


def as_arguments(conditioning: dict[str, Tensor], guided: bool) -> dict[str, Any]:
    """The conditioning of a batch as a pipeline takes it: of each IP-Adapter one tensor, with guidance those of no picture
    first. As the last of each embedding's numbers it tells how far a picture is shown, for `_Shown`."""
    if EMBEDS not in conditioning:
        return conditioning
    others = {name: it for name, it in conditioning.items() if not name.endswith((EMBEDS, SHOWN))}
    both = [conditioning[name] for name in (f"negative_{EMBEDS}", EMBEDS)]
    shown = conditioning[SHOWN].view(-1, *[1] * (both[0].ndim - 1)).expand(*both[0].shape[:-1], 1)
    none, some = (torch.cat([it, shown.to(it.dtype)], -1) for it in both)
    return others | {EMBEDS: [torch.cat([none, some]) if guided else some]}


def _once(read: Callable[[Image | None, str], Tensor]) -> Callable[[Image | None, str], Tensor]:
    """A function of a picture and a device that is called but once for a picture, whatever its weight."""
    kept = functools.lru_cache(KEPT)(read)
    return lambda image, device: kept(image and image._replace(weight=1.0), device)


def _opened(image: Image | None) -> Any:
    return images.load(image) if image else images.blank()


class IPAdapter:
    def __init__(self, pipe: Any, name: str, settings: Settings) -> None:
        from safetensors.torch import load_file
        from transformers import CLIPVisionModelWithProjection

        file, dtype = find_ip_adapter(name), getattr(torch, settings.dtype)
        folder = find_image_encoder(file)
        with loading.blaming(folder, "CLIPVisionModelWithProjection"):
            pipe.register_modules(
                image_encoder=loading.load_encoder(folder, CLIPVisionModelWithProjection, dtype, None)
            )
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in load_file(file).items():
            part, _, rest = key.partition(".")
            parts.setdefault(part, {})[rest] = tensor
        try:
            pipe.load_ip_adapter([parts], subfolder="", weight_name="", image_encoder_folder=None)
            pipe.set_ip_adapter_scale(_scale(pipe.unet, settings))
            _check_used(parts["ip_adapter"], pipe.unet)
            loading.check_whole({"it": pipe.unet})
        except Exception as error:
            why = loading.reason(error)
            raise Error(f"the IP-Adapter {file} does not fit the model: {why}; give another --ip-adapter") from error
        pipe.unet.encoder_hid_proj = _Shown(pipe.unet.encoder_hid_proj)
        pipe.unet.register_forward_pre_hook(_with_own_images, with_kwargs=True)
        self.pipe, self.encoders = pipe, [pipe.image_encoder]
        self.read = _once(self._read)

    def _read(self, image: Image | None, device: str) -> Tensor:
        """The embeddings of no picture, and of this one."""
        embeddings: Tensor = self.pipe.prepare_ip_adapter_image_embeds(_opened(image), None, device, 1, True)[0]
        return embeddings.cpu()

    def join(
        self, conditioning: dict[str, Tensor], image: Image | None, wordless: bool, device: str
    ) -> dict[str, Tensor]:
        none, some = self.read(image, device)
        shown = none.new_full((1,), image.weight if image else 0.0)
        return conditioning | {f"negative_{EMBEDS}": none, EMBEDS: some if image else none, SHOWN: shown}


def _scale(unet: Any, settings: Settings) -> Any:
    """How much pictures count in each layer: for their style alone only in the second of SDXL's first block upwards (Wang
    et al., 'InstantStyle', 2024)."""
    weight = settings.image_weight
    if not settings.image_style:
        return weight
    return {"up": {"block_0": [weight if i == 1 else 0.0 for i in range(len(unet.up_blocks[0].attentions))]}}


def _check_used(tensors: Mapping[str, Tensor], unet: Any) -> None:
    """Raise ValueError for tensors that diffusers leaves out, such as those for a UNet of more layers, or of LoRAs."""
    taken = 2 * sum(hasattr(processor, "to_k_ip") for processor in unet.attn_processors.values())  # keys and values
    if len(tensors) != taken:
        raise ValueError(f"it has {len(tensors)} weights for attention, and the model takes {taken}")


class _Shown(torch.nn.Module):
    """An IP-Adapter's projection, whose tokens count as far as the picture is shown. Tokens of zeros add nothing to
    attention: without a picture, all is as the prompt alone would have it."""

    def __init__(self, projection: Any) -> None:
        super().__init__()
        self.projection = projection

    @property
    def image_projection_layers(self) -> Any:
        """By which pipelines tell what to ask their image encoder for."""
        return self.projection.image_projection_layers

    def forward(self, embeddings: list[Tensor]) -> list[Tensor]:
        tokens = self.projection([it[..., :-1] for it in embeddings])
        shown = [it[:, :, :1, -1:] if it.ndim == 4 else it[:, :, -1:, None] for it in embeddings]
        return [some * weight for some, weight in zip(tokens, shown)]


def _with_own_images(unet: Any, args: Any, more: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The arguments of a UNet, with a picture for each row of the batch. Its pipeline repeats what it is given for them,
    as if they had one picture between them, and attention would take the surplus for further pictures of each row."""
    rows, parts = len(args[0]), more["added_cond_kwargs"]["image_embeds"]
    times = len(parts[0]) // rows
    if times > 1:  # with guidance, first those for no picture are repeated, and then the others
        own = [part.unflatten(0, (rows // times, times, times))[:, 0].flatten(0, 1) for part in parts]
        more = more | {"added_cond_kwargs": more["added_cond_kwargs"] | {"image_embeds": own}}
    return args, more


class Redux:
    def __init__(self, name: str, settings: Settings) -> None:
        from diffusers import FluxPriorReduxPipeline
        from transformers import SiglipVisionModel

        loader: Any = FluxPriorReduxPipeline
        folder, dtype = find_redux(name), getattr(torch, settings.dtype)
        with loading.blaming(folder, "FluxPriorReduxPipeline"):
            encoder = loading.load_encoder(folder / "image_encoder", SiglipVisionModel, dtype, None)
            self.pipe: Any = loader.from_pretrained(
                folder, image_encoder=encoder, dtype=dtype, use_safetensors=True, local_files_only=True
            )
            loading.check_whole(self.pipe.components)
        self.weight, self.encoders = settings.image_weight or 0.0, [self.pipe.image_encoder, self.pipe.image_embedder]
        self.read = _once(self._read)

    def _read(self, image: Image | None, device: str) -> Tensor:
        """The tokens of a picture."""
        tokens: Tensor = self.pipe.image_embedder(self.pipe.encode_image(_opened(image), device, 1)).image_embeds[0]
        return tokens.cpu()

    def join(
        self, conditioning: dict[str, Tensor], image: Image | None, wordless: bool, device: str
    ) -> dict[str, Tensor]:
        """No picture is zeros in the place of its tokens, as no words are zeros in Redux' own pipeline."""
        if wordless:
            conditioning = {name: torch.zeros_like(tensor) for name, tensor in conditioning.items()}
        words = conditioning["prompt_embeds"]
        weight = self.weight * image.weight if image else 0.0
        seen = weight * self.read(image, device).to(words.dtype)
        return conditioning | {"prompt_embeds": torch.cat([words, seen])}


# Where it is found


@functools.lru_cache
def find_ip_adapter(name: str) -> Path:
    """The file of what reads pictures; from the hub, 'org/name/file.safetensors', it is downloaded unless it is on this
    machine."""
    kinds = "own, a .safetensors file, or one on the hub, as org/name/file.safetensors"
    path = find_file(name, (".safetensors",), f"there is no IP-Adapter '{name}' here", f"it is {kinds}")
    if not is_ip_adapter(tensor_shapes(path)):
        raise Error(f"{path} is no IP-Adapter; it is {kinds}")
    return path


@functools.lru_cache
def find_image_encoder(ip_adapter: Path) -> Path:
    """The folder of the encoder of pictures that an IP-Adapter was made with: `image_encoder` beside its file, or that of
    its authors on the hub, which is downloaded unless it is on this machine.

    Raises Error for one that reads other encoders."""
    reads = _reads(ip_adapter)
    beside = ip_adapter.parent / "image_encoder"
    # In the hub's cache, after a download that was stopped, its configuration is there and its weights are not.
    known_to_lack = reads in _IMAGE_ENCODERS and not [*beside.glob("*.safetensors")]
    if os.path.isdir(beside) and not known_to_lack and read_field(beside / "config.json", reads[0]) == reads[1]:
        return beside
    if reads not in _IMAGE_ENCODERS:
        raise Error(
            f"{ip_adapter} reads an encoder of pictures that walk does not know; lay it beside the file, as a folder "
            "image_encoder"
        )
    where = _IMAGE_ENCODERS[reads]
    wanted = [f"{where}/config.json", f"{where}/model.safetensors"]
    folder = downloads.cached_whole(_IMAGE_ENCODERS_REPO, wanted)
    if not folder:
        remedy = f"lay {where.replace('models/', '')} beside {ip_adapter.name}"
        listing = downloads.look_up(_IMAGE_ENCODERS_REPO, None, remedy, f"go online, or {remedy}")
        if lost := [file for file in wanted if file not in listing.files]:
            raise Error(f"{listing.name} has no {lost[0]} any more; {remedy}")
        folder = downloads.download(listing, wanted)
    return folder / where


@functools.lru_cache
def find_redux(name: str) -> Path:
    """The folder of what reads pictures for Flux (Redux); from the hub, it is downloaded unless it is on this machine."""
    accepted = "for Flux it is own, or a folder or hub id of a FluxPriorReduxPipeline in diffusers' format"
    folder = at_home(name)
    if not os.path.isdir(folder):
        if not may_be_on_hub(name) or "/" not in name:
            raise Error(f"there is no '{name}' here that reads pictures; {accepted}")
        cached = snapshot(name)
        if cached and all(is_complete(cached / part) for part in _REDUX):
            return cached
        listing = downloads.look_up(name, None, accepted, "go online, or give a folder that is here")
        if "model_index.json" not in listing.files:
            raise Error(f"{name} holds no FluxPriorReduxPipeline; {accepted}")
        parts = [file for file in listing.files if file.startswith(_REDUX) and file.endswith(DECIDING)]
        folder = downloads.download(listing, ["model_index.json", *parts])
    if not (folder / "model_index.json").is_file() or pipeline_of(folder) != "FluxPriorReduxPipeline":
        raise Error(f"{name} holds no FluxPriorReduxPipeline; {accepted}")
    return folder


def _reads(ip_adapter: Path) -> tuple[str, int]:
    """Which of an encoder's numbers an IP-Adapter reads, by their name in its configuration, and how many."""
    layers = {name.removeprefix(IP_ADAPTER[1]): it.shape for name, it in tensor_shapes(ip_adapter).items()}
    kinds = {"proj": "projection_dim", "proj_in": "hidden_size"}
    if "proj.3.weight" in layers:  # the authors' 'full'; those for faces have a first layer of the same name
        kinds["proj.0"] = "hidden_size"
    for name, what in kinds.items():
        if len(shape := layers.get(f"{name}.weight", ())) == 2:
            return what, shape[1]
    raise Error(f"{ip_adapter} does not read a picture's whole, but faces, say; give another --ip-adapter")
