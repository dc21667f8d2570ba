"""Where a model lies: in the package, in a folder, in the hub's cache or on the hub; and what tells it from others.

Knows files, and nothing of what is in a pipeline.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from walk import Error
from walk.settings import BUILT_IN

HUB_TIMEOUT = 5  # seconds that the hub has to answer
ACCEPTED = (
    "a model is toybox (built in), a diffusers folder, or a hub id such as stable-diffusion-v1-5/stable-diffusion-v1-5"
)
_DECIDING = (".json", ".txt", ".model", ".safetensors")
_UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
_ELSEWHERE = "choose a model that is here (toybox is built in)"


@functools.lru_cache
def find(name: str) -> Path:
    """The model's folder; from the hub, it is downloaded unless it is on this machine already."""
    if name == BUILT_IN:
        return Path(__file__).parent / "toybox"
    with contextlib.suppress(OSError, RuntimeError):  # too long for a path, or ~nobody
        path = Path(name).expanduser()
        if path.is_dir():
            if not (path / "model_index.json").is_file():
                raise Error(f"{path} is a folder without a model_index.json; {ACCEPTED}")
            return path
        if path.is_file():
            raise Error(f"{path} is a file; {ACCEPTED}")
    repo, at, revision = name.partition("@")
    named = not at or (re.fullmatch(r"[\w./-]+", revision) and ".." not in revision)
    if repo.count("/") != 1 or not _is_hub_id(repo) or not named:
        raise Error(f"there is no model '{name}' here; {ACCEPTED}")
    return _cached(repo, revision or None) or _download(repo, revision or None)


def _is_hub_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _cached(repo: str, revision: str | None) -> Path | None:
    """The snapshot on this machine, if all of its parts are there: asking the hub could only change it."""
    from huggingface_hub import try_to_load_from_cache

    index = try_to_load_from_cache(repo, "model_index.json", revision=revision)
    if not isinstance(index, str):
        return None
    folder = Path(index).parent
    parts = [name for name, value in read_json(Path(index)).items() if isinstance(value, list) and any(value)]
    return folder if all(_is_complete(folder / part) for part in parts if part not in _UNUSED) else None


def _is_complete(part: Path) -> bool:
    """Whether a part of a pipeline has its configuration and, if it has weights, all of them."""
    if not any(part.glob("*config.json")):
        return False
    if (part / "tokenizer_config.json").exists():
        return any(part.glob("tokenizer.json")) or any(part.glob("vocab.json"))
    if (part / "config.json").exists() and not any(part.glob("*.safetensors")):
        return False
    shards = {
        name for index in part.glob("*.safetensors.index.json") for name in read_json(index)["weight_map"].values()
    }
    return all((part / shard).exists() for shard in shards)


def _download(repo: str, revision: str | None) -> Path:
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise Error(f"{repo} is not on this machine and the hub is switched off (HF_HUB_OFFLINE); {_ELSEWHERE}")
    _ask_hub(repo, revision)
    from diffusers import DiffusionPipeline  # takes seconds to import
    from huggingface_hub.errors import GatedRepoError

    try:
        return Path(DiffusionPipeline.download(repo, revision=revision, use_safetensors=True, safety_checker=None))
    except GatedRepoError:
        raise _gated(repo) from None
    except Exception as error:  # of whichever HTTP library the hub's client uses
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Error(f"{repo} could not be downloaded: {reason}; run the same command to go on") from error


def _ask_hub(repo: str, revision: str | None) -> None:
    """Raise Error if the hub has no such model, or does not answer; its own client tries for half a minute."""
    import huggingface_hub.errors as hub
    from huggingface_hub import HfApi

    try:
        _within(HUB_TIMEOUT, lambda: HfApi().model_info(repo, revision=revision, timeout=HUB_TIMEOUT))
    except hub.GatedRepoError:
        raise _gated(repo) from None
    except hub.RevisionNotFoundError:
        raise Error(f"{repo} has no revision {revision} on the hub") from None
    except hub.RepositoryNotFoundError:
        raise Error(f"the hub has no model {repo}, or it is private (hf auth login); {ACCEPTED}") from None
    except Exception:
        raise Error(f"{repo} is not on this machine and the hub does not answer; go online, or {_ELSEWHERE}") from None


def _within(seconds: float, ask: Callable[[], object]) -> None:
    """Call it in a thread that nobody need wait for; raises what it raises, or TimeoutError."""
    answer: Future[object] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    answer.result(seconds)


def answers() -> bool:
    """Whether models can be downloaded; takes a few seconds at most."""
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        _within(
            HUB_TIMEOUT, lambda: HfApi().model_info("stable-diffusion-v1-5/stable-diffusion-v1-5", timeout=HUB_TIMEOUT)
        )
    except Exception:
        return False
    return True


def _gated(repo: str) -> Error:
    return Error(f"{repo} is gated; accept its licence at https://huggingface.co/{repo}, then run hf auth login")


def identity(folder: Path) -> str:
    """What tells these weights from any others: the hub's commit, or a digest of the files."""
    if folder.parent.name == "snapshots" and re.fullmatch(r"[0-9a-f]{40}", folder.name):
        return f"commit {folder.name}"
    digest = hashlib.sha256()
    files = [folder / "model_index.json", *(p for p in folder.glob("*/**/*") if p.suffix in _DECIDING)]
    for path in sorted(files):
        digest.update(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"sha256 {digest.hexdigest()}"


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise Error(f"{path} is missing; {ACCEPTED}") from None
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
