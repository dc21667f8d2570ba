"""Where a model lies: found without the hub where it can be, and said in time where it cannot."""

import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import diffusers
import huggingface_hub.errors as refused
import numpy as np
import pytest
from huggingface_hub import HfApi, constants
from oracle import load, pictures

from walk import Error, Keyframe, hub

FOX = Keyframe("a red fox", seed=3)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _forget_what_was_found():
    hub.find.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, with the hub off."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fetch(cache, folder, revision="main"):
    """Lay a model out as huggingface_hub 2.4 does when it downloads org/tiny; a commit gets no ref."""
    home = cache / "models--org--tiny"
    for path in (p for p in folder.rglob("*") if p.is_file()):
        link = home / "snapshots" / COMMIT / path.relative_to(folder)
        blob = home / "blobs" / f"{link.parent.name}-{link.name}"
        for place in (link, blob):
            place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link.symlink_to(blob)
    if revision != COMMIT:
        (home / "refs" / revision).parent.mkdir(parents=True, exist_ok=True)
        (home / "refs" / revision).write_text(COMMIT)
    return home / "snapshots" / COMMIT


def test_a_model_in_the_hubs_cache_works_with_the_hub_off(cache, tiny_folder):
    fetch(cache, tiny_folder)
    model = load("org/tiny")
    assert model.settings.weights == f"commit {COMMIT}"
    np.testing.assert_array_equal(pictures(model, FOX), pictures(load(tiny_folder), FOX))


@pytest.mark.parametrize("revision", ["v1.5", "refs/pr/2", COMMIT])
def test_a_revision_is_found_in_the_hubs_cache(cache, tiny_folder, revision):
    folder = fetch(cache, tiny_folder, revision)
    assert hub.find(f"org/tiny@{revision}") == folder
    for other in ("org/tiny", "org/tiny@v2"):
        with pytest.raises(Error, match="org/tiny is not on this machine and the hub is switched off"):
            hub.find(other)


@pytest.mark.parametrize(
    "lost",
    [
        "model_index.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "tokenizer/tokenizer.json",
        "scheduler/scheduler_config.json",
    ],
)
def test_an_incomplete_snapshot_is_no_model(cache, tiny_folder, lost):
    (fetch(cache, tiny_folder) / lost).unlink()
    with pytest.raises(Error, match="org/tiny is not on this machine and the hub is switched off"):
        hub.find("org/tiny")


# The hub


@pytest.fixture
def ask(cache, monkeypatch):
    """Switch the hub on, with this answer: an exception to raise, or a function."""

    def answers(answer):
        def model_info(self, *args, **kwargs):
            if isinstance(answer, Exception):
                raise answer
            return answer()

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(HfApi, "model_info", model_info)

    return answers


def refusal(kind):
    return kind("refused", response=SimpleNamespace(headers={}, request=None))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ConnectionError("Name or service not known"), "org/big is not on this machine and the hub does not answer"),
        (refusal(refused.HfHubHTTPError), "org/big is not on this machine and the hub does not answer"),
        (refusal(refused.GatedRepoError), "org/big is gated; accept its licence at https://huggingface.co/org/big,"),
        (refusal(refused.RepositoryNotFoundError), "the hub has no model org/big, or it is private (hf auth login)"),
        (refusal(refused.RevisionNotFoundError), "org/big has no revision v9 on the hub"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_hub_refuses_is_said(ask, answer, message):
    ask(answer)
    with pytest.raises(Error) as caught:
        hub.find("org/big@v9")
    assert str(caught.value).startswith(message)


def test_a_hub_that_does_not_answer_is_given_up_in_time(ask, monkeypatch):
    over = threading.Event()
    ask(lambda: over.wait(30))
    monkeypatch.setattr(hub, "HUB_TIMEOUT", 0.2)
    begun = time.monotonic()
    with pytest.raises(Error, match="org/big is not on this machine and the hub does not answer; go online, or choose"):
        hub.find("org/big")
    assert time.monotonic() - begun < 2
    over.set()
    assert hub.HUB_TIMEOUT < 10  # seconds


def test_the_hub_is_not_asked_for_a_model_that_is_here(ask, cache, tiny_folder):
    ask(AssertionError("asked"))
    folder = fetch(cache, tiny_folder)
    assert hub.find("org/tiny") == folder


@pytest.fixture
def download(ask, monkeypatch):
    """Let the hub have org/tiny, and this download it."""

    def by(function):
        ask(lambda: SimpleNamespace(sha=COMMIT))
        monkeypatch.setattr(diffusers.DiffusionPipeline, "download", function)

    return by


def test_what_was_downloaded_is_found_again_with_the_hub_off(download, cache, tiny_folder, monkeypatch):
    download(lambda repo, revision=None, **_: fetch(cache, tiny_folder, revision or "main"))
    folder = hub.find("org/tiny")
    hub.find.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.find("org/tiny") == folder


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


def test_a_broken_download_is_said_and_how_to_go_on(download):
    download(failing(TimeoutError("The read operation timed out")))
    with pytest.raises(Error) as caught:
        hub.find("org/tiny")
    reason = "The read operation timed out; run the same command to go on"
    assert str(caught.value) == f"org/tiny could not be downloaded: {reason}"


def test_a_gated_models_files_say_where_to_accept_the_licence(download):
    download(failing(refusal(refused.GatedRepoError)))
    with pytest.raises(Error, match="org/tiny is gated; accept its licence at"):
        hub.find("org/tiny")


# What is no model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "there is no model 'nosuch' here; a model is toybox (built in), a diffusers folder, or a hub id"),
        ("./models/x", "there is no model './models/x' here; a model is"),
        ("/nosuch/folder", "there is no model '/nosuch/folder' here; a model is"),
        ("a/b/c", "there is no model 'a/b/c' here; a model is"),
        (str(Path(__file__).parent), f"{Path(__file__).parent} is a folder without a model_index.json; a model is"),
        (__file__, f"{__file__} is a file; a model is"),
        *(
            (name, f"there is no model '{name}' here; a model is")
            for name in ("org/a--b", "org/-a", "org/a.", "org/a.git", "~nosuchuser/x", "x" * 5000)
        ),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_model_is_refused_with_what_is(cache, name, message):
    with pytest.raises(Error) as caught:
        hub.find(name)
    assert str(caught.value).startswith(message)
