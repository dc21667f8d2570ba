"""Look-ups and downloads, with a time limit, progress and a prompt stop. Knows no pipelines."""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import os
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from walk import Error
from walk.digests import Report

TIMEOUT = 5  # seconds that the hub has to answer
PAUSE = 0.25  # seconds between two looks at how much has arrived
PATIENCE = 2  # seconds that a stopped download has to end
OFFLINE_REMEDY = "go online, or choose a model that is here (toybox is built in)"

_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextlib.contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Within, downloads are reported: what is done, how many bytes have arrived, and of how many. Elsewhere the hub's
    own client shows its bars."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def is_id(name: str) -> bool:
    """Whether this is a valid name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


class File(NamedTuple):
    """size: in bytes, 0 if the hub does not say. blob: the name under which the hub's cache keeps its content."""

    size: int
    blob: str


class Repository(NamedTuple):
    """What the hub has under a name. revision: None for the newest. pipeline: the class that the hub says it holds, ''
    if it does not say."""

    name: str
    revision: str | None
    commit: str
    files: dict[str, File]
    pipeline: str


def look_up(repo: str, revision: str | None, accepted: str, offline_remedy: str = OFFLINE_REMEDY) -> Repository:
    """What the hub says of a repository, within seconds; its own client tries for half a minute.

    accepted, offline_remedy: what to do if the hub has none, or does not answer; they end the Error's sentence.
    """
    import huggingface_hub.errors as hub
    from huggingface_hub import HfApi, constants

    def model_info() -> Any:
        return HfApi().model_info(repo, revision=revision, timeout=TIMEOUT, files_metadata=True)

    if constants.HF_HUB_OFFLINE:
        raise Error(f"{_absent(repo)} and the hub is switched off (HF_HUB_OFFLINE); {offline_remedy}")
    try:
        about = _in_thread(model_info).result(TIMEOUT)
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
        raise Error(f"{_absent(repo)} and the hub does not answer; {offline_remedy}") from None
    files = {
        str(file.rfilename): File(file.size or 0, str(file.lfs.sha256 if file.lfs else file.blob_id))
        for file in about.siblings or ()
    }
    pipeline = ((about.config or {}).get("diffusers") or {}).get("_class_name") or ""
    return Repository(repo, revision, str(about.sha), files, str(pipeline))


def hub_answers() -> bool:
    """Whether models can be downloaded; takes a few seconds at most."""
    with contextlib.suppress(Error):
        look_up("stable-diffusion-v1-5/stable-diffusion-v1-5", None, "")
        return True
    return False


def cached(repo: str, patterns: list[str]) -> Path | None:
    """The repository's folder on this machine, with whichever of its files are there; None if none are."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, allow_patterns=patterns, local_files_only=True))
    except (OSError, ValueError):  # the hub's own error for that is both
        return None


def cached_whole(repo: str, names: list[str]) -> Path | None:
    """The repository's folder on this machine, if all of these files are there."""
    folder = cached(repo, names)
    return folder if folder and all((folder / name).is_file() for name in names) else None


def download(repo: Repository, names: Collection[str]) -> Path:
    """The repository's folder on this machine, once these of its files are all there.

    Raises Error for what does not arrive. Stopped, it does not wait for a file's end; whole files are kept.
    """
    from huggingface_hub import constants, snapshot_download

    # 1. How much is missing, and whether there is room for it
    home = Path(constants.HF_HUB_CACHE) / f"models--{repo.name.replace('/', '--')}"
    patterns = [glob.escape(name) for name in names]
    missing = {repo.files[name].blob: repo.files[name].size for name in names if not _is_cached(home, repo, name)}
    size = sum(missing.values())
    _check_room(repo.name, home, size)
    # 2. Download it in a thread, and report how much has arrived
    bytes_before, begun_before, stop = _size(home), _incomplete(home), threading.Event()
    bars: Any = _stoppable(stop)
    how = {"revision": repo.revision, "allow_patterns": patterns, "tqdm_class": bars}
    with _quiet() if (report := _report.get()) else contextlib.nullcontext():
        snapshot = _in_thread(lambda: Path(snapshot_download(repo.name, **how)))
        try:
            while not snapshot.done():
                concurrent.futures.wait([snapshot], PAUSE)
                if report:
                    report(f"downloading {repo.name}", min(max(_size(home) - bytes_before, 0), size), size)
        except BaseException as error:
            stop.set()
            concurrent.futures.wait([snapshot], PATIENCE)
            for path in _incomplete(home) - begun_before:  # newer clients name them at random, and never resume them
                with contextlib.suppress(OSError):
                    path.unlink()
            if not isinstance(error, KeyboardInterrupt):
                raise
            kept = f"what has arrived of {repo.name} whole is kept; run the same command to go on"
            raise KeyboardInterrupt(kept) from None
    # 3. See that all of it is there
    try:
        folder: Path = snapshot.result()
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise _failed(repo.name, error) from error
    if not all(os.path.exists(folder / name) for name in names):  # after an error, some clients return what is there
        raise _failed(repo.name, ConnectionError("the hub stopped answering"))
    return folder


def _stoppable(stop: threading.Event) -> type:
    """A class of bars for the hub's client, which end a download at their next update once it is to stop."""
    from huggingface_hub.utils import tqdm  # type: ignore[attr-defined]

    class Bar(tqdm):
        def update(self, *arguments: Any) -> Any:
            if stop.is_set():
                raise InterruptedError("stopped")
            return super().update(*arguments)

    return Bar


def _failed(repo: str, error: Exception) -> Error:
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error, GatedRepoError):
        return _gated(repo)
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Error(f"{repo} could not be downloaded: {reason}; what is whole is kept: run the same command to go on")


def _size(home: Path) -> int:
    """How many bytes of a repository have arrived. The hub's client lays a whole file into a store that repositories
    share, and leaves links to it here."""
    files = {os.path.realpath(os.path.join(folder, file)) for folder, _, files in os.walk(home) for file in files}
    size = 0
    for file in files:
        with contextlib.suppress(OSError):  # it may have been renamed meanwhile
            size += os.stat(file).st_size
    return size


def _is_cached(home: Path, repo: Repository, name: str) -> bool:
    """Whether a file is there: among the blobs, or, where no links can be made, as for most users of Windows, in the
    snapshot, to which the hub's client then moves it."""
    places = f"blobs/{repo.files[name].blob}", f"snapshots/{repo.commit}/{name}"
    return any(os.path.exists(home / place) for place in places)


def _incomplete(home: Path) -> set[Path]:
    """Files of which only a part has arrived."""
    with contextlib.suppress(OSError):
        return {*home.glob("blobs/*.????????.incomplete")}
    return set()


def _check_room(repo: str, home: Path, size: int) -> None:
    """Raise Error if a disk has less room than this many bytes."""
    existing = next(folder for folder in (home, *home.parents) if os.path.exists(folder))
    with contextlib.suppress(OSError):
        if (free := shutil.disk_usage(existing).free) < size:
            raise Error(
                f"{repo} needs {size / 1e9:.1f} GB, and {home.parent} has room for {free / 1e9:.1f}; make room, or let "
                "HF_HOME name a folder on another disk"
            )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within, the hub's client shows no bars and no advice."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    off, verbosity = are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(50)  # Python's CRITICAL: only what ends the program
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if not off:
            enable_progress_bars()


def _in_thread(work: Callable[[], Any]) -> Future[Any]:
    """The result to come of work in a thread for which the program does not wait when it ends."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _absent(repo: str) -> str:
    folder = os.path.dirname(repo)
    return (
        f"{repo} is not on this machine" if not os.path.isdir(folder) else f"there is no {repo} in the folder {folder}"
    )


def _gated(repo: str) -> Error:
    return Error(f"{repo} is gated; accept its licence at https://huggingface.co/{repo}, then run hf auth login")
