"""What the hub has, asked for and brought: answered in time, with progress, stopped at once. Knows no pipelines."""

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
PAUSE = 0.25  # seconds from one look at how much has arrived to the next
PATIENCE = 2  # seconds for a download to end that is stopped
ELSEWHERE = "go online, or choose a model that is here (toybox is built in)"

_report: ContextVar[Report | None] = ContextVar("report", default=None)


@contextlib.contextmanager
def telling(report: Report) -> Iterator[None]:
    """What is downloaded within is reported: called with what is done, the bytes that have arrived, and all of them.
    Elsewhere the hub's own client shows it."""
    token = _report.set(report)
    try:
        yield
    finally:
        _report.reset(token)


def is_id(name: str) -> bool:
    """Whether a repository can be called so."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


class File(NamedTuple):
    """size: in bytes, 0 where nobody says. blob: what the hub's cache calls it, whatever names it has."""

    size: int
    blob: str


class Repository(NamedTuple):
    """What the hub has under a name. revision: None: the newest. pipeline: the class that it says it holds, '' if it does
    not say."""

    name: str
    revision: str | None
    commit: str
    files: dict[str, File]
    pipeline: str


def ask(repo: str, revision: str | None, accepted: str, elsewhere: str = ELSEWHERE) -> Repository:
    """What it is, within seconds; the hub's own client tries for half a minute.

    accepted, elsewhere: what to do if it is not there, or the hub does not answer, which ends the Error's sentence.
    """
    import huggingface_hub.errors as hub
    from huggingface_hub import HfApi, constants

    def known() -> Any:
        return HfApi().model_info(repo, revision=revision, timeout=TIMEOUT, files_metadata=True)

    if constants.HF_HUB_OFFLINE:
        raise Error(f"{_absent(repo)} and the hub is switched off (HF_HUB_OFFLINE); {elsewhere}")
    try:
        about = _beside(known).result(TIMEOUT)
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
        raise Error(f"{_absent(repo)} and the hub does not answer; {elsewhere}") from None
    files = {
        str(file.rfilename): File(file.size or 0, str(file.lfs.sha256 if file.lfs else file.blob_id))
        for file in about.siblings or ()
    }
    holds = ((about.config or {}).get("diffusers") or {}).get("_class_name") or ""
    return Repository(repo, revision, str(about.sha), files, str(holds))


def answers() -> bool:
    """Whether models can be downloaded; takes a few seconds at most."""
    with contextlib.suppress(Error):
        ask("stable-diffusion-v1-5/stable-diffusion-v1-5", None, "")
        return True
    return False


def here(repo: str, patterns: list[str]) -> Path | None:
    """Where the files of these names are on this machine, if any of the repository's are."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo, allow_patterns=patterns, local_files_only=True))
    except (OSError, ValueError):  # its own class for that is both
        return None


def bring(it: Repository, names: Collection[str]) -> Path:
    """Where these of its files are on this machine, once all of them are.

    Raises Error for what does not arrive. Stopped, it does not wait for a file's end; what is whole is kept.
    """
    from huggingface_hub import constants, snapshot_download

    home = Path(constants.HF_HUB_CACHE) / f"models--{it.name.replace('/', '--')}"
    patterns = [glob.escape(name) for name in names]
    missing = {file.blob: file.size for file in map(it.files.__getitem__, names) if not _is_held(home, file)}
    size = sum(missing.values())
    _check_room(it.name, home, size)
    before, others, stop = _held(home), _begun(home), threading.Event()
    bars: Any = _stoppable(stop)
    how = {"revision": it.revision, "allow_patterns": patterns, "tqdm_class": bars}
    with _quietly() if (report := _report.get()) else contextlib.nullcontext():
        done = _beside(lambda: Path(snapshot_download(it.name, **how)))
        try:
            while not done.done():
                concurrent.futures.wait([done], PAUSE)
                if report:
                    report(f"downloading {it.name}", min(max(_held(home) - before, 0), size), size)
        except BaseException as error:
            stop.set()
            concurrent.futures.wait([done], PATIENCE)
            for path in _begun(home) - others:  # newer clients give them random names, and never go on with them
                with contextlib.suppress(OSError):
                    path.unlink()
            if not isinstance(error, KeyboardInterrupt):
                raise
            kept = f"what has arrived of {it.name} whole is kept; run the same command to go on"
            raise KeyboardInterrupt(kept) from None
    try:
        folder: Path = done.result()
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise _failed(it.name, error) from error
    if not all(os.path.exists(folder / name) for name in names):  # some clients then give what is there
        raise _failed(it.name, ConnectionError("the hub stopped answering"))
    return folder


def _stoppable(stop: threading.Event) -> type:
    """Bars for the hub's client that end what they show, where they are told how far it is."""
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


def _held(home: Path) -> int:
    """Bytes of a repository that have arrived."""
    size = 0
    for folder, _, files in os.walk(home):
        for file in files:
            with contextlib.suppress(OSError):  # it may have got its name meanwhile
                size += os.lstat(os.path.join(folder, file)).st_size
    return size


def _is_held(home: Path, file: File) -> bool:
    return os.path.exists(home / "blobs" / file.blob)


def _begun(home: Path) -> set[Path]:
    """Files of which a part has arrived."""
    with contextlib.suppress(OSError):
        return {*home.glob("blobs/*.????????.incomplete")}
    return set()


def _check_room(repo: str, home: Path, size: int) -> None:
    """Raise Error where there is less room than that."""
    above = next(folder for folder in (home, *home.parents) if os.path.exists(folder))
    with contextlib.suppress(OSError):
        if (free := shutil.disk_usage(above).free) < size:
            raise Error(
                f"{repo} needs {size / 1e9:.1f} GB, and {home.parent} has room for {free / 1e9:.1f}; make room, or let "
                "HF_HOME name a folder on another disk"
            )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the bars and advice of the hub's client."""
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
        logging,
    )

    off, verbosity = are_progress_bars_disabled(), logging.get_verbosity()
    disable_progress_bars()
    logging.set_verbosity(50)  # as Python's logging has it: nothing but what ends the program
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if not off:
            enable_progress_bars()


def _beside(work: Callable[[], Any]) -> Future[Any]:
    """In a thread that nobody need wait for."""
    promise: Future[Any] = Future()

    def run() -> None:
        try:
            promise.set_result(work())
        except BaseException as error:
            promise.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return promise


def _absent(repo: str) -> str:
    folder = os.path.dirname(repo)
    return (
        f"{repo} is not on this machine" if not os.path.isdir(folder) else f"there is no {repo} in the folder {folder}"
    )


def _gated(repo: str) -> Error:
    return Error(f"{repo} is gated; accept its licence at https://huggingface.co/{repo}, then run hf auth login")
