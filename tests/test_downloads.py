"""Files of the hub, brought from one on this machine: whole, with progress, stopped at once."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import fakehub
import pytest
import torch
from huggingface_hub import constants, file_download, snapshot_download
from oracle import levels, pictures

from walk import Error, Keyframe, downloads, hub, models
from walk.settings import Settings


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for found in (hub.find_model, hub.find_lora, hub.find_decoder, hub.find_denoiser):
        found.cache_clear()
    return tmp_path / "hub"


@pytest.fixture
def server(cache, tmp_path, monkeypatch):
    with fakehub.running(monkeypatch) as it:
        yield it


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_pipeline_is_brought_whole_and_nothing_else(server, tiny_folder, tmp_path, capfd):
    home = shutil.copytree(tiny_folder, tmp_path / "home")
    for name in ("own.safetensors", "unet/old.bin", "unet/a.fp16.safetensors", "safety_checker/config.json", "a.png"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_bytes(b"not wanted")
    server.repositories["org/tiny"] = home
    told = []
    with downloads.reporting(lambda *how: told.append(how)):
        folder = hub.find_model("org/tiny")
    assert files(folder) == files(tiny_folder)
    assert all((folder / name).read_bytes() == (tiny_folder / name).read_bytes() for name in files(tiny_folder))
    assert {what for what, _, _ in told} == {"downloading org/tiny"}
    assert told[-1][2] >= (folder / "unet" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert all(0 <= done <= size for _, done, size in told)
    assert capfd.readouterr() == ("", "")


def test_what_judges_pictures_is_neither_brought_nor_missed(server, tiny_folder, tmp_path):
    """As Stable Diffusion 1.5 has it, with what reads pictures for it."""
    home = shutil.copytree(tiny_folder, tmp_path / "home")
    index = json.loads((home / "model_index.json").read_text())
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    (home / "model_index.json").write_text(json.dumps(index))
    (home / "feature_extractor").mkdir()
    (home / "feature_extractor" / "preprocessor_config.json").write_text("{}")
    server.repositories["org/tiny"] = home
    model = models.load(Settings(model="org/tiny", device="cpu", width=32, height=32, steps=1))
    assert model.pipe.feature_extractor is None
    assert files(hub.find_model("org/tiny")) == files(tiny_folder)


def test_where_no_links_can_be_made_what_is_there_needs_no_room(server, tiny_folder, monkeypatch):
    monkeypatch.setattr(file_download, "are_symlinks_supported", lambda cache_dir=None: False)
    server.repositories["org/tiny"] = tiny_folder
    listing = downloads.look_up("org/tiny", None, "")
    folder = downloads.download(listing, [name for name in listing.files if name != "vae/config.json"])
    assert not (folder / "unet" / "config.json").is_symlink()
    free = 2 * listing.files["vae/config.json"].size
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    assert (downloads.download(listing, list(listing.files)) / "vae" / "config.json").is_file()


def test_what_the_hubs_client_moves_to_a_shared_store_has_arrived(tmp_path):
    """As huggingface_hub 2.4 does with each file that comes by its Xet, once it is whole."""
    home, stored = tmp_path / "models--org--tiny", tmp_path / "blobs" / "ab" / "abcd"
    blob, link = home / "blobs" / "1234", home / "snapshots" / "main" / "a.safetensors"
    for path in (stored, blob, link):
        path.parent.mkdir(parents=True)
    stored.write_bytes(bytes(1000))
    blob.symlink_to(stored)
    link.symlink_to(blob)
    assert downloads._size(home) == 1000


def test_half_precision_is_taken_where_there_is_no_other(server, tiny_folder, tmp_path):
    home = shutil.copytree(tiny_folder, tmp_path / "home")
    for part in ("unet", "vae"):
        (weights,) = (home / part).glob("*.safetensors")
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    shutil.copy(home / "text_encoder/model.safetensors", home / "text_encoder/model.fp16.safetensors")
    server.repositories["org/half"] = home
    folder = hub.find_model("org/half")
    assert files(folder) == [name for name in files(home) if name != "text_encoder/model.safetensors"]


def test_of_weights_in_two_forms_those_in_half_precision_are_brought_and_load(server, tiny_folder, tmp_path):
    """As Stable Diffusion XL has them."""
    import diffusers

    home = shutil.copytree(tiny_folder, tmp_path / "home")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipe.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    for weights in (tmp_path / "half").glob("*/*.fp16.safetensors"):
        if weights.parent.name != "text_encoder":  # a part may have but one
            shutil.copy(weights, home / weights.parent.name)
    server.repositories["org/both"] = home
    settings = Settings(model="org/both", device="cpu", width=32, height=32, steps=2)
    model = models.load(settings)
    folder = hub.find_model("org/both")
    full = {f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae")}
    assert files(folder) == [name for name in files(home) if name not in full]
    assert "fp16" in model.settings.weights
    assert hub.is_downloaded("org/both")
    fox = Keyframe("a fox", 3)
    own = pictures(models.load(dataclasses.replace(settings, model=str(tiny_folder))), fox)[0]
    assert 0 < levels(pictures(model, fox)[0], own) <= 2


def test_of_shards_in_two_forms_the_usual_ones_are_brought_with_their_index(server, tiny_folder, tmp_path):
    """As Stable Diffusion 3.5's third text encoder has them."""
    import diffusers

    home = shutil.copytree(tiny_folder, tmp_path / "home")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    shutil.rmtree(home / "unet")
    for form in (None, "fp16"):
        pipe.unet.save_pretrained(home / "unet", max_shard_size="100KB", variant=form)
    assert (home / "unet" / "diffusion_pytorch_model.safetensors.index.fp16.json").exists()
    server.repositories["org/shards"] = home
    folder = hub.find_model("org/shards")
    assert files(folder) == [name for name in files(home) if "fp16" not in name]
    assert len(list(folder.glob("unet/*-of-*.safetensors"))) > 1
    for index in (home / "unet").glob("*fp16.json"):  # as other programs bring it
        shutil.copy(index, folder / "unet")
    assert hub.is_downloaded("org/shards")
    next(folder.glob("unet/*-00002-of-*.safetensors")).unlink()
    assert not hub.is_downloaded("org/shards")


@pytest.mark.parametrize("begun", ["text_encoder/*fp16*.json", "text_encoder/*fp16*"])
def test_shards_of_another_form_that_are_not_all_there_are_not_loaded(server, tiny_folder, tmp_path, begun):
    """As a program leaves them that was stopped while it downloaded Stable Diffusion 3.5."""
    import diffusers

    home = shutil.copytree(tiny_folder, tmp_path / "home")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    shutil.rmtree(home / "text_encoder")
    for form in (None, "fp16"):
        pipe.text_encoder.save_pretrained(home / "text_encoder", max_shard_size="20KB", variant=form)
    pipe.vae.to(torch.float16).save_pretrained(home / "vae", variant="fp16")
    server.repositories["org/shards"] = home
    folder = Path(snapshot_download("org/shards", allow_patterns=[begun], ignore_patterns=["*-00002-of-*"]))
    assert list(folder.glob(begun))
    model = models.load(Settings(model="org/shards", device="cpu", width=32, height=32, steps=1))
    assert (folder / "vae/diffusion_pytorch_model.fp16.safetensors").exists()
    own = pipe.text_encoder.state_dict()
    assert all(torch.equal(own[name], tensor) for name, tensor in model.pipe.text_encoder.state_dict().items())


def test_of_a_model_with_another_denoiser_its_own_is_not_brought(server, tiny_folder):
    server.repositories["org/tiny"] = tiny_folder
    folder = hub.find_model("org/tiny", denoiser=False)
    assert files(folder) == [name for name in files(tiny_folder) if name != "unet/diffusion_pytorch_model.safetensors"]


@pytest.mark.parametrize("shards", [{"max_shard_size": "50KB"}, {}], ids=["shards", "single"])
def test_where_shards_or_twins_are_twice_as_large_those_in_half_precision_are_brought(
    server, tiny_folder, tmp_path, shards
):
    """As PixArt-Alpha has them, as shards; and Sana of 1600M, as one file beside full ones in shards and as one."""
    import diffusers

    home = shutil.copytree(tiny_folder, tmp_path / "home")
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipe.unet.save_pretrained(tmp_path / "full", max_shard_size="100KB")
    pipe.unet.to(torch.float16).save_pretrained(home / "unet", variant="fp16", **shards)
    for path in (tmp_path / "full").iterdir():
        shutil.copy(path, home / "unet")
    server.repositories["org/both"] = home
    model = models.load(Settings(model="org/both", device="cpu", width=32, height=32, steps=1))
    kept = [name for name in files(home) if "unet" not in name or "fp16" in name or name == "unet/config.json"]
    assert files(hub.find_model("org/both")) == kept
    own = pipe.unet.state_dict()
    assert all(torch.equal(own[name].float(), tensor) for name, tensor in model.pipe.unet.state_dict().items())


def test_what_another_program_has_begun_in_full_is_gone_on_with_in_full(server, tiny_folder, tmp_path):
    from huggingface_hub import snapshot_download

    home = shutil.copytree(tiny_folder, tmp_path / "home")
    for part in ("unet", "vae"):
        full = home / part / "diffusion_pytorch_model.safetensors"
        full.with_suffix(".fp16.safetensors").write_bytes(full.read_bytes()[: full.stat().st_size // 2])
    server.repositories["org/both"] = home
    snapshot_download("org/both", allow_patterns=["*.json", "unet/diffusion_pytorch_model.safetensors"])
    assert files(hub.find_model("org/both")) == files(tiny_folder)


def test_a_model_without_safetensors_is_refused(server, tiny_folder, tmp_path):
    home = shutil.copytree(tiny_folder, tmp_path / "home")
    (weights,) = (home / "vae").glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    server.repositories["org/tiny"] = home
    with pytest.raises(Error, match="org/tiny has no weights as safetensors for its vae, and others may hold programs"):
        hub.find_model("org/tiny")


@pytest.mark.parametrize(
    ("names", "instead"),
    [
        (["q4.gguf", "q8.gguf"], "it holds denoisers, such as q4.gguf, of which one can be given as --denoiser"),
        (["pytorch_lora_weights.safetensors"], "it holds a LoRA, which can be given as --lora"),
    ],
)
def test_a_repository_that_holds_something_else_says_what(server, tmp_path, names, instead):
    for name in names:
        (tmp_path / "home" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "home" / name).touch()
    server.repositories["org/other"] = tmp_path / "home"
    with pytest.raises(Error, match=f"^org/other is not a pipeline in .* no model_index.json; {instead}$"):
        hub.find_model("org/other")


def test_a_pipeline_that_is_not_supported_is_refused_before_it_is_brought(server, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    server.repositories["org/other"] = tmp_path / "home"
    for name, why in (
        ("KandinskyPipeline", "org/other holds KandinskyPipeline; supported are StableDiffusionPipeline, "),
        ("Flux2Pipeline", "org/other needs a library that is not here; pip install torchvision, from"),
    ):
        (tmp_path / "home" / "model_index.json").write_text(json.dumps({"_class_name": name}))
        monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(Error, match=f"^{why}"):
            hub.find_model("org/other")
    assert server.downloaded() == []


def test_what_was_brought_is_found_again_with_the_hub_off(server, tiny_folder, monkeypatch):
    server.repositories["org/tiny"] = tiny_folder
    folder = hub.find_model("org/tiny")
    hub.find_model.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert hub.find_model("org/tiny") == folder


def test_a_hub_that_stops_answering_is_told_of_and_no_file_is_missing_in_silence(server, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "a.safetensors").touch()
    server.repositories["org/loras"] = tmp_path / "home"
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **how: str(tmp_path / "nothing"))
    with pytest.raises(
        Error, match="org/loras could not be downloaded: the hub stopped answering; what is whole is kept"
    ):
        hub.find_lora("org/loras/a.safetensors")


def test_a_stop_within_a_program_ends_the_download_too_and_leaves_others_alone(server, tmp_path, cache):
    """As in a notebook, where the process lives on."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "a.safetensors").write_bytes(b"\0" * 400_000)
    server.repositories["org/slow"], server.pace = tmp_path / "home", 200_000
    other = cache / "models--org--slow" / "blobs" / "a.01234567.incomplete"
    other.parent.mkdir(parents=True)
    other.touch()

    def stop(*_):
        raise KeyboardInterrupt

    with (
        downloads.reporting(stop),
        pytest.raises(KeyboardInterrupt, match="what has arrived of org/slow whole is kept"),
    ):
        hub.find_lora("org/slow/a.safetensors")
    assert list(cache.rglob("*.incomplete")) == [other]
    server.pace = None
    assert hub.find_lora("org/slow/a.safetensors").stat().st_size == 400_000


def test_what_is_here_under_another_name_needs_no_room(server, tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    for name in ("a.safetensors", "same.safetensors"):
        (tmp_path / "home" / name).write_bytes(b"0" * 1000)
    server.repositories["org/loras"] = tmp_path / "home"
    hub.find_lora("org/loras/a.safetensors")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    assert hub.find_lora("org/loras/same.safetensors").stat().st_size == 1000


def test_a_gated_models_files_say_where_to_accept_the_licence(server, tiny_folder):
    server.repositories["org/tiny"], server.gated = tiny_folder, True
    with pytest.raises(Error, match=r"^org/tiny is gated; accept its licence at https://huggingface.co/org/tiny, then"):
        hub.find_model("org/tiny")


def test_a_download_that_breaks_is_said_and_how_to_go_on(server, tiny_folder, monkeypatch):
    def broken(*_, **__):
        raise TimeoutError("The read operation timed out")

    server.repositories["org/tiny"] = tiny_folder
    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    with pytest.raises(Error) as caught:
        hub.find_model("org/tiny")
    assert str(caught.value) == (
        "org/tiny could not be downloaded: The read operation timed out; what is whole is kept: run the same command to "
        "go on"
    )


def test_of_many_files_of_weights_none_is_brought_until_one_is_named(server, tmp_path):
    (tmp_path / "home").mkdir()
    for bits in range(2, 9):
        (tmp_path / "home" / f"flux-Q{bits}.gguf").touch()
    server.repositories["org/packed"] = tmp_path / "home"
    with pytest.raises(Error, match=r"^org/packed has 7 files of weights \(flux-Q2.gguf, .*, \.\.\.\); give one, as "):
        hub.find_denoiser("org/packed")
    assert server.downloaded() == []


def test_one_file_of_a_repository_is_brought_and_a_wrong_name_is_told_of(server, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    for name in ("a.safetensors", "b.safetensors", "b.txt"):
        (home / name).write_text(name)
    server.repositories["org/loras"] = home
    with pytest.raises(Error, match=r"^org/loras has no c\.safetensors; it has a\.safetensors, b\.safetensors$"):
        hub.find_lora("org/loras/c.safetensors")
    assert hub.find_lora("org/loras/b.safetensors").read_text() == "b.safetensors"
    assert server.downloaded() == ["org/loras/b.safetensors"]
    hub.find_lora.cache_clear()
    server.status = 500
    assert hub.find_lora("org/loras/b.safetensors").read_text() == "b.safetensors", "it is here"


def test_a_checkpoint_of_the_hubs_is_a_model(server, tiny_folder, tmp_path):
    import tiny

    (tmp_path / "home").mkdir()
    tiny.as_checkpoint(tiny_folder, tmp_path / "home" / "own.safetensors")
    server.repositories["org/one"] = tmp_path / "home"
    server.repositories["stable-diffusion-v1-5/stable-diffusion-v1-5"] = tiny_folder
    made = models.complete(Settings("org/one/own.safetensors"))
    assert "checkpoint sha256 " in made.weights
    assert [name for name in server.downloaded() if name.endswith(".safetensors")] == ["org/one/own.safetensors"]


def test_a_name_that_is_a_files_is_not_looked_for_on_the_hub(server):
    for find in (hub.find_model, hub.find_lora, hub.find_decoder, hub.find_denoiser):
        with pytest.raises(Error, match=r"there is no .*loras/nosuch\.safetensors"):
            find("loras/nosuch.safetensors")
    assert server.requests == []


def test_an_address_of_the_hubs_is_a_model_too(server, tiny_folder):
    server.repositories["org/tiny"] = tiny_folder
    folder = hub.find_model("org/tiny")
    assert hub.find_model("https://huggingface.co/org/tiny") == hub.find_model("https://hf.co/org/tiny/") == folder
    for address in ("https://civitai.com/models/4384", "https://hf.co/a/b/resolve/main/c.safetensors"):
        with pytest.raises(Error, match="is an address; download its file, and give that as --model"):
            hub.find_model(address)


@pytest.mark.parametrize(("status", "remedy"), [(401, "run hf auth login"), (429, "try again later"), (502, "try")])
def test_a_hub_that_refuses_says_so(server, status, remedy):
    server.status = status
    with pytest.raises(Error, match=rf"refuses to tell of it \(HTTP {status}\); {remedy}"):
        hub.find_model("org/tiny")


def test_what_has_no_room_is_not_begun(server, tiny_folder, monkeypatch, cache):
    server.repositories["org/tiny"] = tiny_folder
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with pytest.raises(
        Error, match=r"^org/tiny needs 0\.0 GB, and .* has room for 0\.0; make room, or let HF_HOME name"
    ):
        hub.find_model("org/tiny")
    assert server.downloaded() == []


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_a_stop_ends_a_download_at_once_and_keeps_what_is_whole(server, tiny_folder, cache, tmp_path):
    home = shutil.copytree(tiny_folder, tmp_path / "home")
    (home / "vae" / "more.safetensors").write_bytes(b"\0" * 8_000_000)
    server.repositories["org/slow"] = home
    server.pace = 200_000  # bytes a second: this would take 40 s
    stop = """
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which whoever runs in the background does not hear
        from huggingface_hub import constants
        constants.HUGGINGFACE_CO_URL_TEMPLATE = sys.argv[1] + "/{repo_id}/resolve/{revision}/{filename}"
        from walk import cli
        sys.argv[1:] = ["--prompts", "a", "b", "--frames", "3", "--model", "org/slow", "--out", "film.mp4"]
        cli.process()
    """
    told = {"HF_ENDPOINT": server.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1"}
    where = {"env": {**os.environ, **told, "HF_HUB_OFFLINE": "0"}, "cwd": tmp_path, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(stop), server.url], text=True, **where) as process:
        begun = time.monotonic()
        while not list(cache.rglob("vae/config.json")) or not list(cache.rglob("*.incomplete")):
            assert time.monotonic() - begun < 60
            time.sleep(0.05)
        time.sleep(0.5)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - begun < 20, "and not the forty seconds that the file takes"
    assert process.returncode == 130
    assert err.splitlines()[-1] == (
        "walk: stopped; what has arrived of org/slow whole is kept; run the same command to go on"
    )
    assert list(cache.rglob("vae/config.json"))
    assert not list(cache.rglob("*.incomplete"))
