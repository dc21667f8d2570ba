"""Finds models in the package, a folder, a file, the hub's cache or on the hub, from which it downloads them; so also
LoRAs, denoisers, decoders and upscalers. Tells the identity of their weights.

Reads what files say of a pipeline, but loads none.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import hashlib
import importlib.util
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from walk import Error, digests, downloads
from walk.catalogue import CATALOGUE, MOVED, find_entry
from walk.families import FAMILIES, RENAMED, WITHOUT
from walk.files import at_home, reading
from walk.settings import BUILT_IN
from walk.text import either

ACCEPTED = (
    "a model is toybox (built in), a short name such as sdxl (walk models lists them), a diffusers folder, "
    "a .safetensors checkpoint, or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)
# Suffixes: of a pipeline's texts (.jinja: the template by which an encoder is asked), of all files that decide pixels,
# and of files of weights.
_TEXTS = (".json", ".txt", ".model", ".jinja")
DECIDING = (*_TEXTS, ".safetensors")
_WEIGHTS = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
EMBEDDINGS = (".safetensors", ".pt", ".bin")  # of files of embeddings
_DENOISERS = ("transformer", "unet")  # the names that pipelines have for theirs
_USUAL_FILE = "diffusion_pytorch_model.safetensors"  # a repository may have others, in other forms or for other tools
# Names of tensors in a checkpoint: two of Stable Diffusion 2's; how those of a VAE begin, and those of text encoders.
_SD2_KEYS = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
_SD2_LAST = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_VAE = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "first_stage_model.", "vae.")
CHECKPOINT_VAE = ("first_stage_model.", "vae.")  # those of a VAE that is a part of a whole checkpoint
_TRAINING = ("loss.", "model_ema.")  # of what some VAEs were trained with, and kept
_TEXT_ENCODERS = ("cond_stage_model.", "conditioner.", "text_encoders.")
# How a text encoder's begin, and in which names nothing is between that and its layers.
CLIP = "cond_stage_model.transformer."
BARE_CLIP = (f"{CLIP}embeddings.", f"{CLIP}encoder.")
# Parts that other tools add to a model, by how names of their tensors begin.
_NO_MODELS = {
    "a ControlNet": r"control_model\.|controlnet_cond_embedding\.|control_layers\.|controlnet_",
    "a motion module (AnimateDiff)": r".*\bmotion_modules\.",
}
# How names of tensors begin in files that read pictures (IP-Adapters), which are added to a model.
IP_ADAPTER = ("ip_adapter.", "image_proj.")
INTERPOLATOR = "Comfy-Org/frame_interpolation/frame_interpolation/rife_v4.26.safetensors"  # the usual one
# Models that diffusers recognises, by words in their names, and whose pipelines are of no family here.
_FROM_PICTURES = {
    "inpaint": "an inpainting model",
    "-Fill-": "an inpainting model",
    "-Depth-": "a model of Flux's tools",
    "refiner": "a refiner",
    "pix2pix": "an editing model",
    "x4-upscaler": "an upscaling model",
}
BUNDLED = "bundle_emb."  # how names of embeddings begin that a LoRA brings with it
HALF = "fp16"  # the variant of weights in which GPUs compute anyway; they are half the download
EMBEDDING = 4  # a file of fewer tensors is an embedding (textual inversion): no model has so few
# What ComfyUI's scaled fp8, bitsandbytes and Nunchaku store beside weights that mean nothing without it.
_SCALED = re.compile(r"scaled_fp8|comfy_quant|\.(scale_weight|weight_scale(_2)?|absmax|qweight|wscales)$")


@functools.lru_cache
def find_model(name: str, denoiser: bool = True) -> Path:
    """The model's folder; from the hub, it is downloaded unless it is on this machine.

    For a single checkpoint: a folder that describes its parts, without their weights.
    denoiser: whether its own one is wanted, with its weights; another one needs only its configuration.
    """
    if name == BUILT_IN:
        return Path(__file__).parent / "toybox"
    if name.endswith(".gguf"):
        raise Error(f"{name} is a denoiser alone; {_as_denoiser(name, 'flux-dev')}")
    path = at_home(name)
    is_model = os.path.isfile(path / "model_index.json")
    if os.path.isdir(path) and (is_model or not find_entry(name)):  # not any folder that happens to be called 'sdxl'
        if not is_model:
            with _reading(path):
                modular = _modular(*os.listdir(path))
            above = f"; give {path.parent}" if (path.parent / "model_index.json").is_file() else f"; {ACCEPTED}"
            raise Error(f"{path} is a folder without a model_index.json{modular}{above}")
        return path
    if file := find_checkpoint(name):
        return _description(file)
    if not find_entry(name):
        _check_beside(name, (".safetensors",), f"there is no model '{name}' here")
    repo, revision = _hub_id(name)
    return _cached(repo, revision, denoiser) or _download(repo, revision, denoiser)


def find_checkpoint(name: str) -> Path | None:
    """The file, if the model is a single one; from the hub, 'org/name/file.safetensors', it is downloaded unless it is
    on this machine."""
    path = at_home(name)
    if name == BUILT_IN:
        return None
    if os.path.isfile(path):
        return path
    of_hub = re.fullmatch(r"[^/.~][^/:]*/[^/]+/.+\.safetensors", name)
    return find_file(name, (".safetensors",), f"there is no file {name}", ACCEPTED) if of_hub else None


def is_downloaded(repo: str) -> bool:
    """Whether one of the hub's models is on this machine, with all of its parts."""
    with contextlib.suppress(Error):  # of damaged files the user hears when the model is used
        return _cached(repo, None) is not None
    return False


def other_downloads() -> list[str]:
    """Hub ids of models on this machine that have no short name, of known families and with all of their parts."""
    from huggingface_hub import constants

    repos = []
    for home in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        repo = home.name.removeprefix("models--").replace("--", "/")
        with contextlib.suppress(Error):
            folder = _cached(repo, None) if downloads.is_id(repo) and not find_entry(repo) else None
            if folder and pipeline_of(folder) in FAMILIES:
                repos.append(repo)
    return repos


def _hub_id(name: str) -> tuple[str, str | None]:
    """(repository, revision) of a model that is neither a file nor a folder."""
    repo, at, revision = re.sub(r"^https?://(huggingface\.co|hf\.co)/|/$", "", name).partition("@")
    entry = find_entry(repo)
    repo = entry.repo if entry else repo
    is_valid = not at or (re.fullmatch(r"[\w./-]+", revision) and ".." not in revision)
    if "://" in repo or ("://" in name and name.endswith(_WEIGHTS)):
        raise Error(f"{name} is an address; download its file, and give that as --model")
    if name.endswith(_WEIGHTS):
        raise Error(f"there is no file {name}; {ACCEPTED}")
    if repo.count("/") != 1 or not downloads.is_id(repo) or not is_valid:
        near = difflib.get_close_matches(name.lower(), [entry.name for entry in CATALOGUE], n=3)
        raise Error(
            f"there is no model '{name}' here" + (f"; did you mean {either(near)}?" if near else f"; {ACCEPTED}")
        )
    return repo, revision or None


# The hub's cache


def _cached(repo: str, revision: str | None, denoiser: bool = True) -> Path | None:
    """The snapshot on this machine, if all of its parts are there: asking the hub could only change it."""
    unweighted = () if denoiser else _DENOISERS
    folder = snapshot(repo, revision)
    complete = folder and all(is_complete(folder / part, part not in unweighted) for part in _parts(folder))
    return folder if complete else None


def _cached_description(repo: str) -> Path | None:
    """The snapshot on this machine, if it has every part's configuration."""
    folder = snapshot(repo)
    return folder if folder and all(is_complete(folder / part, weights=False) for part in _parts(folder)) else None


def snapshot(repo: str, revision: str | None = None) -> Path | None:
    """The snapshot on this machine; some of its parts may be missing."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(repo, "model_index.json", revision=revision)
    return Path(index).parent if isinstance(index, str) else None


def _parts(folder: Path) -> list[str]:
    """Names of the parts that a pipeline is to be loaded with."""
    index = read_json(folder / "model_index.json")
    return [name for name, value in index.items() if is_part(value) and name not in WITHOUT]


def pipeline_of(folder: Path) -> str:
    """The class of the pipeline in a folder, by the name that it has today."""
    name = str(read_json(folder / "model_index.json").get("_class_name") or "")
    return RENAMED.get(name, name)


def is_part(value: Any) -> bool:
    """Whether a value in a pipeline's `model_index.json` is a part, as [library, class]; other lists are options."""
    return isinstance(value, list) and len(value) == 2 and all(isinstance(name, str) for name in value)


def is_complete(part: Path, weights: bool = True) -> bool:
    """Whether a part of a pipeline has its configuration; and its weights, if it is one that has some, and they are
    wanted."""
    if not any(part.glob("*config.json")):
        return False
    if not weights:
        return True
    reads_prompts = part.name.startswith(("tokenizer", "processor"))  # a text encoder may have their files beside it
    if reads_prompts and (part / "tokenizer_config.json").exists():
        pair = all((part / name).exists() for name in ("vocab.json", "merges.txt"))
        alone = ("tokenizer.json", "vocab.txt", "spiece.model", "tokenizer.model")
        return pair or any((part / name).exists() for name in alone)
    return not (part / "config.json").exists() or bool(whole_variants(part))


def whole_variants(part: Path) -> set[str]:
    """The variants of which all of a part's weights are there; '' is the usual one. Of another, there may be some
    shards, or nothing but the index."""
    files = {path.name for path in part.glob("*.safetensors")}
    indices = {path.name: {*read_field(path, "weight_map").values()} for path in part.glob("*.index*.json")}
    whole = [file for file in files if not re.search(r"-\d+-of-\d+\.", file)]
    whole += [index for index, shards in indices.items() if shards <= files]
    return {_variant_of(file) for file in whole}


def weights_variant(folder: Path) -> str | None:
    """'fp16' or 'bf16', if some part has its weights only in files of that variant; else None."""
    return _shared([whole_variants(part) for part in folder.glob("*/") if part.name not in WITHOUT])


def _shared_variant(files: Iterable[str]) -> str | None:
    variants: dict[str, set[str]] = {}  # of each part's weights; '' is the usual one
    for file in files:
        part, slash, _ = file.partition("/")
        if slash and file.endswith(".safetensors") and part not in WITHOUT:
            variants.setdefault(part, set()).add(_variant_of(file))
    return _shared([*variants.values()])


def _shared(variants: Sequence[set[str]]) -> str | None:
    """The variant that all parts have that do not have the usual one."""
    unusual = [some for some in variants if some and "" not in some]
    return min(set.intersection(*unusual), default=None) if unusual else None


def _variant_of(file: str) -> str:
    """'fp16' for model.fp16.safetensors, model.fp16-00001-of-00002.safetensors and model.safetensors.index.fp16.json;
    '' for the usual one."""
    match = re.search(r"\.([a-z]\w*)(-\d+-of-\d+)?\.safetensors(\.index\.json)?$|\.index\.(\w+)\.json$", file)
    return (match[1] or match[4]) if match else ""


# Checkpoints: whole models in a single file


def _description(path: Path) -> Path:
    """The folder that describes a checkpoint's parts: the one of its name beside it, or that of a model like it."""
    if path.name == "model_index.json":
        raise Error(f"{path} is a file; give its folder, {path.parent}")
    if path.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise Error(f"{path} may hold programs, which walk does not run; take the model's .safetensors file")
    if path.suffix != ".safetensors":
        raise Error(f"{path} is a file; {ACCEPTED}")
    shapes, beside = tensor_shapes(path), path.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    if is_lora(shapes):
        raise Error(f"{path} is a LoRA; give it as --lora {path}, and the model that it belongs to as --model")
    if _is_vae(shapes):
        raise Error(f"{path} is a VAE alone; give it as --decoder {path}, and the model that it belongs to as --model")
    if is_ip_adapter(shapes):
        raise Error(f"{path} is an IP-Adapter; give it as --ip-adapter, and the model that it belongs to as --model")
    if other := next((it for it, mark in _NO_MODELS.items() if any(re.match(mark, name) for name in shapes)), None):
        raise Error(f"{path} is {other}, which walk does not know; give a whole checkpoint")
    if len(shapes) < EMBEDDING:
        raise Error(f"{path} is an embedding; give it as --embedding {path}, and what it was made for as --model")
    from diffusers.loaders import single_file_utils

    recognise: Any = single_file_utils.fetch_diffusers_config
    repo = recognise(shapes)["pretrained_model_name_or_path"]
    repo = MOVED.get(repo, repo)
    if what := next((what for word, what in _FROM_PICTURES.items() if word in repo), None):
        raise Error(f"{path} is {what}, which works on other pictures, and walk has none; give another checkpoint")
    if not any(name.startswith(_TEXT_ENCODERS) for name in shapes):
        raise Error(f"{path} has no text encoder; if it is a denoiser alone, {_as_denoiser(str(path), repo)}")
    return _cached_description(repo) or _download_description(repo, path)


def _as_denoiser(name: str, model: str) -> str:
    return f"give it as --denoiser {name}, and as --model what it was made from, such as {model}"


def is_lora(names: Iterable[str]) -> bool:
    """Whether tensors are a LoRA's or one of its kin (LoHa, LoKr), by what trainers call them."""
    return any(re.search("lora|lycoris|hada_w|lokr_w", name) for name in names)


def is_ip_adapter(names: Iterable[str]) -> bool:
    """Whether tensors are an IP-Adapter's, by what its authors call them."""
    return {f"{name.split('.')[0]}." for name in names} >= {*IP_ADAPTER}


def _is_vae(names: Iterable[str]) -> bool:
    """Whether tensors are a VAE's, and no more than what it was trained with besides."""
    own = [name for name in names if not name.startswith(_TRAINING)]
    return bool(own) and all(name.startswith(_VAE) for name in own)


def tensor_shapes(path: Path) -> dict[str, Any]:
    """The tensors of a safetensors file by name, as its header has them: nothing but their `shape`. Raises Error if no
    pipeline could read them."""
    try:
        with _reading(path), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 1 << 27)))
            size = os.fstat(file.fileno()).st_size
        header.pop("__metadata__", None)
        shapes = {name: SimpleNamespace(shape=it["shape"]) for name, it in header.items()}
        whole = 8 + length + max((it["data_offsets"][1] for it in header.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise Error(f"{path} is damaged (it does not begin as safetensors files do)") from error
    if size < whole:
        raise Error(f"{path} is cut off, after {size / 1e6:.4g} of {whole / 1e6:.4g} MB; download it again")
    if scaled := next(filter(_SCALED.search, shapes), None):
        raise Error(
            f"{path} holds scaled (quantised) weights ({scaled}), which diffusers does not read; take one in "
            "bf16, fp16 or plain fp8, or a .gguf as --denoiser"
        )
    return shapes


def checkpoint_scheduler(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its scheduler's configuration: by empty tensors whose names trainers have agreed upon,
    or by the metadata that Stability AI's 'Model Metadata Standard' names; or else, for the two kinds of Stable
    Diffusion 2, which have the same shapes, by how large some weights are. (ComfyUI tells them apart in this way.)
    """
    from safetensors import safe_open

    shapes = tensor_shapes(path)
    config = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}
    if "v_pred" in shapes:
        return config | {"prediction_type": "v_prediction"}
    with safe_open(path, "pt") as file:
        # Of this only: what is merged from others may keep a word of theirs, but that is what they predict by default.
        if (file.metadata() or {}).get("modelspec.prediction_type") in ("v", "v_prediction"):
            return config | {"prediction_type": "v_prediction"}
        if _SD2_LAST in shapes and _SD2_KEYS in shapes and shapes[_SD2_KEYS].shape[-1] == 1024:
            velocity = file.get_tensor(_SD2_LAST).float().std(correction=0).item() > 0.09
            return config | {"prediction_type": "v_prediction" if velocity else "epsilon"}
    return config


def _download_description(repo: str, path: Path) -> Path:
    try:
        listing = downloads.look_up(repo, None, ACCEPTED)
    except Error as error:
        why, _, remedy = str(error).partition("; ")
        remedy = "go online once" if remedy == downloads.OFFLINE_REMEDY else remedy.partition("; ")[0]
        raise Error(
            f"{path} needs the configuration of a model: {why}; {remedy}, or lay a folder {path.stem} with a diffusers "
            "configuration beside it"
        ) from None
    return downloads.download(
        listing, [name for name in listing.files if name.count("/") < 2 and name.endswith(_TEXTS)]
    )


# Other files of weights


@functools.lru_cache
def find_lora(name: str) -> Path:
    """A LoRA's file; from the hub, 'org/name' or 'org/name/file.safetensors', it is downloaded unless it is on this
    machine."""
    accepted = "a LoRA is a .safetensors file, or a hub id"
    if prompted := re.fullmatch(r"<lora:([^:>]+)(:[^:>]+)?>", name):
        accepted = f"write {prompted[1]}.safetensors{prompted[2] or ''}"
    elif weighted := re.fullmatch(r"(.+\.safetensors):(.*)", name):
        accepted = f"its weight '{weighted[2]}' is no number; write {weighted[1]}:0.8, say"
    return find_file(name, (".safetensors",), f"there is no LoRA '{name}' here", accepted)


@functools.lru_cache
def find_embedding(name: str) -> Path:
    """An embedding's file; from the hub, 'org/name' or 'org/name/file.safetensors', it is downloaded unless it is on
    this machine."""
    accepted = "an embedding is a .safetensors, .pt or .bin file, or a hub id"
    if weighted := re.fullmatch(r"(.+):(-?[\d.]+)", name):
        accepted = f"it takes no weight; leave out :{weighted[2]}, and write (WORD:{weighted[2]}) in prompts"
    elif name == "embedding":  # as ComfyUI writes it, with a word after it
        accepted = "give the file alone, without embedding: before it"
    return find_file(name, EMBEDDINGS, f"there is no embedding '{name}' here", accepted)


@functools.lru_cache
def find_denoiser(name: str) -> Path:
    """A denoiser's single file; from the hub, 'org/name/file.gguf', it is downloaded unless it is on this machine."""
    kinds = "a .safetensors or .gguf file, or one on the hub, as org/name/file.gguf"
    return find_file(name, (".safetensors", ".gguf"), f"there is no denoiser '{name}' here", f"it is own, or {kinds}")


def find_upscaler(name: str) -> Path:
    """An upscaler's file; from the hub, 'org/name/file.safetensors', it is downloaded unless it is on this machine."""
    kinds = "own, none, a .safetensors or .pth file, or one on the hub, as org/name/file.safetensors"
    return find_file(name, (".safetensors", ".pth"), f"there is no upscaler '{name}' here", f"it is {kinds}")


def find_interpolator(name: str) -> Path:
    """RIFE's file; from the hub, 'org/name/file.safetensors', it is downloaded unless it is on this machine."""
    kinds = "own, blend, a .safetensors, .pth or .pkl file, or one on the hub, as org/name/file.safetensors"
    return find_file(
        name, (".safetensors", ".pth", ".pkl"), f"there is no interpolator '{name}' here", f"it is {kinds}"
    )


def find_own_upscaler(model: str) -> Path | None:
    """The upscaler's file in a model's folder on this machine, if there is one."""
    folder = find_model(BUILT_IN) if model == BUILT_IN else at_home(model)
    path = folder / "upscaler.safetensors"
    return path if os.path.isfile(path) else None


def find_file(name: str, suffixes: tuple[str, ...], absent: str, accepted: str) -> Path:
    """The file of weights that a name means: a file, the only one in a folder, or one on the hub. Raises Error, which
    says `absent`, and what is accepted."""
    with contextlib.suppress(OSError):
        path = at_home(name)
        if path.is_file() and path.suffix in suffixes:
            return path
        if path.is_file():
            absent = f"{name} is of another kind"
        if path.is_dir() and (inside := [file for file in path.iterdir() if file.suffix in suffixes]):
            return path / _only([file.name for file in inside], str(path), suffixes)  # as diffusers saves one
    _check_beside(name, suffixes, absent)
    repo, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    if "/" not in name or not may_be_on_hub(repo) or os.path.exists(name) or (file and not file.endswith(suffixes)):
        raise Error(f"{absent}; {accepted}")
    folder = downloads.cached(repo, [file or f"*{suffix}" for suffix in suffixes])
    paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*")] if folder else []
    if folder and (fitting := [path for path in paths if path.endswith(suffixes) and path == (file or path)]):
        return folder / _only(fitting, repo, suffixes)
    listing = downloads.look_up(repo, None, accepted, f"go online, or give {suffixes[0]} files that are here")
    fitting = [path for path in listing.files if path.endswith(suffixes)]
    if file and file not in fitting:
        raise Error(f"{repo} has no {file}; it has {_some(fitting)}")
    file = file or _only(fitting, repo, suffixes)  # before several are downloaded, of which one is meant
    return downloads.download(listing, [file]) / file


def _check_beside(name: str, suffixes: tuple[str, ...], absent: str) -> None:
    """Raise Error for a name without its suffix, as other tools list files: on the hub there may be one like it."""
    if beside := next((f"{name}{suffix}" for suffix in suffixes if os.path.isfile(at_home(f"{name}{suffix}"))), ""):
        raise Error(f"{absent}; did you mean {beside}?")


def may_be_on_hub(name: str) -> bool:
    """Whether the hub may have a repository of that name: not if it is the name of a file."""
    return downloads.is_id(name) and not name.endswith(_WEIGHTS)


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:5]) + ", ..." * (len(names) > 5) or "none"


def _only(files: list[str], where: str, suffixes: tuple[str, ...]) -> str:
    if len(files) == 1:
        return files[0]
    example = min(files, default=f"FILE{suffixes[0]}")
    raise Error(f"{where} has {len(files)} files of weights ({_some(files)}); give one, as {where}/{example}")


@functools.lru_cache
def find_decoder(name: str) -> Path:
    """A decoder's folder, in diffusers' format, or its file; from the hub, it is downloaded unless it is on this
    machine."""
    accepted = "a decoder is own, tiny, a VAE's .safetensors file, or a folder or hub id of a VAE in diffusers' format"
    folder = at_home(name)
    if name.endswith(".safetensors") or os.path.isfile(folder):
        path = find_file(name, (".safetensors",), f"there is no decoder '{name}' here", accepted)
        if not _is_vae(tensor_shapes(path)):
            raise Error(f"{path} holds no VAE alone; {accepted}")
        return path
    if not os.path.isdir(folder):
        _check_beside(name, (".safetensors",), f"there is no decoder '{name}' here")
        if not may_be_on_hub(name) or "/" not in name:
            raise Error(f"there is no decoder '{name}' here; {accepted}")
        wanted = ["config.json", _USUAL_FILE]
        if cached := downloads.cached_whole(name, wanted):
            folder = cached
        else:
            listing = downloads.look_up(name, None, accepted, "go online, or leave out --decoder")
            folder = downloads.download(listing, [file for file in listing.files if file in wanted])
    config = folder / "config.json"
    kind = str(read_json(config).get("_class_name", "")) if config.is_file() else ""
    if not kind.startswith("Autoencoder"):
        raise Error(f"{name} holds no VAE" + f", but {kind}" * bool(kind) + f"; {accepted}")
    return folder


# Downloads of whole models


def _download(repo: str, revision: str | None, denoiser: bool) -> Path:
    """The model's folder, downloaded. denoiser: with its weights."""
    listing = downloads.look_up(repo, revision, ACCEPTED)
    if "model_index.json" not in listing.files:
        raise Error(
            f"{repo} is not a pipeline in diffusers' format, for it has no model_index.json{_instead(listing.files)}"
        )
    if listing.pipeline:  # before anything is downloaded for nothing
        _check_supported(repo, RENAMED.get(listing.pipeline, listing.pipeline))
    folder = downloads.download(listing, ["model_index.json"])
    _check_supported(repo, pipeline_of(folder))
    variant, parts = _shared_variant(listing.files), _parts(folder)
    if missing := [part for part in parts if not any(name.startswith(f"{part}/") for name in listing.files)]:
        raise Error(f"{repo} has no {missing[0]}, which its model_index.json names")
    begun_in_full = any((folder / part / _USUAL_FILE).exists() for part in _DENOISERS)  # by another program
    files = _files_of(parts, listing.files, variant, () if denoiser else _DENOISERS, halves=not begun_in_full)
    downloads.download(listing, ["model_index.json", *files])
    if missing := [part for part in parts if not is_complete(folder / part, denoiser or part not in _DENOISERS)]:
        raise Error(
            f"{repo} has no weights as safetensors for its {missing[0]}, and others may hold programs; {ACCEPTED}"
        )
    return folder


def _files_of(
    parts: Sequence[str],
    files: Mapping[str, downloads.File],
    variant: str | None,
    unweighted: Sequence[str],
    halves: bool,
) -> Iterator[str]:
    """Which of a repository's files make up these parts. variant: of weights that do not all come in the usual form.
    unweighted: parts of which no weights are wanted. halves: whether those in half precision are to be preferred."""
    weights: dict[str, list[str]] = {}
    for file in files:
        part = file.partition("/")[0]
        if part in parts and ".safetensors" in file:  # or the index of some
            weights.setdefault(part, []).extend([file] * (part not in unweighted))
        elif part in parts and file.endswith(_TEXTS):
            yield file
    for some in weights.values():
        usual = [file for file in some if not _variant_of(file)]
        chosen = [file for file in some if variant and _variant_of(file) == variant]
        if halves and not variant and usual:
            half = _half(usual[0], some)
            sizes = [sum(files[file].size for file in form) for form in (half, usual)]
            chosen = half if sizes[0] <= 0.75 * sizes[1] else []  # else the usual ones are in half precision, too
        yield from chosen or usual


def _half(file: str, some: Sequence[str]) -> list[str]:
    """Of a part's files of weights, those in half precision, by the names that diffusers and transformers know: a
    single one, or shards with their index. file: a usual one."""
    stem = re.sub(r"(-\d+-of-\d+)?\.safetensors.*", "", file)
    single, index = f"{stem}.{HALF}.safetensors", f"{stem}.safetensors.index.{HALF}.json"
    return [single] * (single in some) or [file for file in some if index in some and _variant_of(file) == HALF]


def _check_supported(repo: str, pipeline: str) -> None:
    if pipeline not in FAMILIES:
        raise Error(f"{repo} holds {pipeline or 'no pipeline'}; supported are {', '.join(FAMILIES)}")
    if missing := missing_requirement(repo, pipeline):
        raise missing


def _instead(files: Iterable[str]) -> str:
    """What a repository without a pipeline holds instead, and what to do with it; the end of a sentence."""
    if modular := _modular(*files):
        return f"{modular}; {ACCEPTED}"
    if ggufs := [file for file in files if file.endswith(".gguf")]:
        return f"; it holds denoisers, such as {ggufs[0]}, of which one can be given as --denoiser"
    if any("lora" in file.lower() for file in files if file.endswith(".safetensors")):
        return "; it holds a LoRA, which can be given as --lora"
    return f"; {ACCEPTED}"


def missing_requirement(model: str, name: str) -> Error | None:
    """The error to raise if a pipeline of this class cannot be made: diffusers does not have the class, or a library
    that reads its prompts is not installed."""
    import diffusers

    try:
        has_class = hasattr(diffusers, name)
    except Exception as error:  # as of a torchvision that is another torch's
        why = str(error).strip().splitlines()[-1].partition(" (/")[0]
        return Error(f"diffusers cannot import {name}: {why}; install that library again, from where torch is from")
    if not has_class:
        return Error(
            f"{model} needs a {name}, which diffusers {diffusers.__version__} does not have; pip install -U diffusers"
        )
    library = FAMILIES[name].needs
    if not library or importlib.util.find_spec(library):
        return None
    where = ", from where torch is from" if library == "torchvision" else ""
    return Error(f"{model} needs a library that is not here; pip install {library}{where}")


def _modular(*files: str) -> str:
    return " but that of a modular pipeline, which walk cannot make" if "modular_model_index.json" in files else ""


# Identity


def identity(
    model: str,
    loras: Iterable[tuple[str, float]] = (),
    decoder_name: str = "",
    denoiser_name: str = "own",
    report: digests.Report = lambda what, done, size: None,
    embeddings: Iterable[tuple[str, str]] = (),
) -> str:
    """What these weights are known by, as no others are: the hub's commit, or a digest of the files.

    embeddings: (name, word) of each.
    report: as for `walk.digests.of_file`.
    """
    digest = functools.partial(file_identity, report=report)
    own = denoiser_name == "own"
    parts = [model_identity(model, own, report)]
    if not own:
        parts.append(f"denoiser {digest(find_denoiser(denoiser_name))}")
    parts += [f"lora {digest(find_lora(name))}:{repr(weight).removesuffix('.0')}" for name, weight in loras]
    for name, word in embeddings:
        file = find_embedding(name)
        parts.append(f"embedding {digest(file)}:{word or file.stem}")  # the word may be the file's name
    if decoder_name:
        path = find_decoder(decoder_name)
        parts += [f"decoder {digest(file)}" for file in (part_files(path) if path.is_dir() else [path])]
    return ", ".join(parts)


def model_identity(model: str, own: bool = True, report: digests.Report = lambda what, done, size: None) -> str:
    """The first part of an `identity`: the model's own. own: whether its own denoiser is wanted, too."""
    parts = [folder_identity(find_model(model, own), report)]
    if file := find_checkpoint(model):
        parts.append(f"checkpoint {file_identity(file, report)}")
    return ", ".join(parts)


def part_files(folder: Path) -> list[Path]:
    """The files of a pipeline's part that decide pixels."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors"))


def file_identity(path: Path, report: digests.Report) -> str:
    with reading(path):
        return f"sha256 {digests.of_file(path, report)}"


def folder_identity(folder: Path, report: digests.Report) -> str:
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        variant = weights_variant(folder)  # which is loaded, unless the usual one is on this machine, too
        return f"commit {folder.name}" + (f" {variant}" if variant else "")
    files = [folder / "model_index.json", *(p for p in folder.glob("*/**/*") if p.suffix in DECIDING)]
    digest = hashlib.sha256()
    for path in sorted(files):
        with _reading(path):
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
            digest.update(path.read_bytes() if size < digests.LARGE else digests.of_file(path, report).encode())
    return f"sha256 {digest.hexdigest()}"


# A model's files


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """As `walk.files.reading`, and a missing file is an Error, too."""
    with reading(path):
        try:
            yield
        except FileNotFoundError:
            raise Error(f"{path} is missing") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises Error for a file that is missing or damaged."""
    try:
        with _reading(path):
            value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise Error(f"{path} is damaged ({error})") from None
    if not isinstance(value, dict):
        raise Error(f"{path} is damaged (it holds no JSON object)")
    return value


def read_field(path: Path, name: str) -> Any:
    """A field of the object in a JSON file. Raises Error if it is missing, too."""
    value = read_json(path).get(name)
    if value is None:
        raise Error(f"{path} is damaged (it has no {name})")
    return value
