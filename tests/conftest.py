import copy
import dataclasses
import functools
import gc
import importlib.metadata
import inspect
import os
import shutil
import signal
import sys
import types
import weakref
from unittest import mock

import pytest

# Before anything imports huggingface_hub or torch.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the cores are shared by processes of tests
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # on busy cores, threads that spin are a hundred times slower

# Which versions there are does not change meanwhile, and is asked for each film.
importlib.metadata.version = functools.cache(importlib.metadata.version)

_signature, _known_signatures = inspect.signature, weakref.WeakKeyDictionary()


def _signature_once(function, **how):
    """What a function takes does not change either; diffusers asks for it several times for each part of a model."""
    if how or type(function) is not types.FunctionType:
        return _signature(function, **how)
    if function not in _known_signatures:
        _known_signatures[function] = _signature(function)
    return _known_signatures[function]


inspect.signature = _signature_once

# Files of tests that take more than ten seconds, the longest first.
LONGEST = (
    *("families", "commands", "check", "music", "video", "models", "speed", "schedule"),
    *("cli", "audio", "downloads", "upscale", "readme", "sheet", "roughcut"),
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The longest files first: one of them that is begun last has a core for itself, and the others none of it."""
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def _no_group_offloading(module):
    raise ValueError


def pytest_collection_finish():
    """What was imported stays: to look through it for garbage, again and again, took an eighth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20)
    if "tiny" in sys.modules:
        # Nothing here is offloaded in groups; to look through all parts of a model for it, several times for each
        # batch, took a tenth of the time of denoising.
        from diffusers.hooks import group_offloading

        group_offloading._get_group_onload_device = _no_group_offloading


@pytest.fixture(scope="module", autouse=True)
def _files_need_not_outlast_a_power_cut(request):
    """So nobody waits for disks, but where it is tried that one does; a file that is closed is an error all the same."""
    if request.module.__name__ == "test_files":
        yield
    else:
        with mock.patch.object(os, "fsync", os.fstat):
            yield


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny Stable Diffusion with the fewest parts, for commands; not to be changed."""
    import tiny  # takes seconds to import

    return tiny.stable_diffusion(tmp_path_factory.mktemp("models") / "tiny", fewest=True)


@pytest.fixture(scope="session")
def whole_folder(tmp_path_factory):
    """One with all parts; not to be changed."""
    import tiny

    return tiny.stable_diffusion(tmp_path_factory.mktemp("models") / "whole")


@pytest.fixture(scope="module")
def _loaded():
    return {}


@pytest.fixture
def shared_weights(request, monkeypatch, _loaded):
    """The weights of a model are loaded once for all tests of a file, but for those that are marked fresh. Whatever else
    is of a model, its scheduler too, is new at each load."""
    if request.node.get_closest_marker("fresh"):
        return
    from walk import channels_last, loading

    load, apply = loading.load, channels_last.apply

    def shared(folder, settings):
        if settings.device != "cpu" or settings.compile:
            return load(folder, settings)
        key = folder, dataclasses.replace(settings, steps=None, guidance=None, batch=None, width=None, height=None)
        if key not in _loaded:
            _loaded[key] = load(folder, settings)
        pipe, notes = _loaded[key]
        pipe = copy.copy(pipe)
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        return pipe, notes

    def once(part):
        if not hasattr(part, "lies_channels_last"):  # which a part that is shared does from its first load on
            apply(part)
            part.lies_channels_last = True

    monkeypatch.setattr(loading, "load", shared)
    monkeypatch.setattr(channels_last, "apply", once)


@pytest.fixture
def unwatched(request, monkeypatch):
    """Films are made, but not read once more as a player would, to be told of their movement and their faults: that takes
    a sixth of all the time. Tests for which it matters are marked watched."""
    if not request.node.get_closest_marker("watched"):
        monkeypatch.setattr("walk.commands._watch", lambda *_: None)


@pytest.fixture(scope="module")
def _made(tmp_path_factory):
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def once(_made):
    """Has a function make something in the working directory, which was empty; for the file's other tests that want what
    has the same name, it is copied."""

    def of(name, make):
        if (kept := _made / name).exists():
            shutil.copytree(kept, ".", dirs_exist_ok=True)
        else:
            make()
            shutil.copytree(".", kept)

    return of


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """To run the command in. `main` also sets handlers and variables for its process, which is this one."""
    monkeypatch.chdir(tmp_path)
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        monkeypatch.setenv(name, "error")
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    handlers = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
