"""Where a model lies: found without the hub where it can be, and said in time where it cannot."""

import re
import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import diffusers
import huggingface_hub.errors as refused
import numpy as np
import pytest
import tiny
import torch
from huggingface_hub import HfApi, constants
from oracle import load, pictures
from safetensors.torch import load_file, save_file

from walk import Error, Keyframe, Settings, downloads, hub, models
from walk.catalogue import CATALOGUE, find_entry

FOX = Keyframe("a red fox", seed=3)
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _forget_what_was_found():
    for found in (hub.find_model, hub.find_lora, hub.find_decoder, hub.find_denoiser):
        found.cache_clear()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, with the hub off."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def fetch(cache, folder, revision="main", repo="org/tiny"):
    """Lay a model out as huggingface_hub 2.4 does when it downloads one; a commit gets no ref."""
    home = cache / f"models--{repo.replace('/', '--')}"
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
    assert hub.find_model(f"org/tiny@{revision}") == folder
    for other in ("org/tiny", "org/tiny@v2"):
        with pytest.raises(Error, match="org/tiny is not on this machine and the hub is switched off"):
            hub.find_model(other)


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
        hub.find_model("org/tiny")


def test_a_tokenizers_words_are_nothing_without_its_merges(tmp_path):
    """As where a program has downloaded *.json and *.safetensors of Stable Diffusion, which has no tokenizer.json."""
    (tmp_path / "tokenizer").mkdir()
    for name, complete in (("tokenizer_config.json", False), ("vocab.json", False), ("merges.txt", True)):
        (tmp_path / "tokenizer" / name).write_text("{}")
        assert hub.is_complete(tmp_path / "tokenizer") == complete


def test_a_text_encoder_is_not_complete_for_its_tokenizers_files(tmp_path):
    """As Nucleus-Image has them beside it, too."""
    part = tmp_path / "text_encoder"
    part.mkdir()
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        (part / name).write_text("{}")
    assert not hub.is_complete(part)
    (part / "model.safetensors").touch()
    assert hub.is_complete(part)


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


def refusal(kind, status=0):
    return kind("refused", response=SimpleNamespace(headers={}, request=None, status_code=status))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (ConnectionError("Name or service not known"), "org/big is not on this machine and the hub does not answer"),
        (
            refusal(refused.HfHubHTTPError, 401),
            "org/big is not on this machine and the hub refuses to tell of it (HTTP 401)",
        ),
        (
            refusal(refused.HfHubHTTPError, 503),
            "org/big is not on this machine and the hub refuses to tell of it (HTTP 503)",
        ),
        (refusal(refused.GatedRepoError), "org/big is gated; accept its licence at https://huggingface.co/org/big,"),
        (refusal(refused.RepositoryNotFoundError), "the hub has no org/big, or it is private (hf auth login)"),
        (refusal(refused.RevisionNotFoundError), "org/big has no revision v9 on the hub"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value[-12:],
)
def test_what_the_hub_refuses_is_said(ask, answer, message):
    ask(answer)
    with pytest.raises(Error) as caught:
        hub.find_model("org/big@v9")
    assert str(caught.value).startswith(message)


def test_a_hub_that_does_not_answer_is_given_up_in_time(ask, monkeypatch):
    over = threading.Event()
    usual = downloads.TIMEOUT  # seconds
    ask(lambda: over.wait(30))
    monkeypatch.setattr(downloads, "TIMEOUT", 0.2)
    assert usual < 10
    begun = time.monotonic()
    with pytest.raises(Error, match="org/big is not on this machine and the hub does not answer; go online, or choose"):
        hub.find_model("org/big")
    assert time.monotonic() - begun < 2
    over.set()


def test_the_hub_is_not_asked_for_a_model_that_is_here(ask, cache, tiny_folder):
    ask(AssertionError("asked"))
    folder = fetch(cache, tiny_folder)
    assert hub.find_model("org/tiny") == folder


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("modular_model_index.json", " but that of a modular pipeline, which walk cannot make; a model is"),
        ("other.safetensors", "; a model is"),
    ],
)
def test_a_folder_that_is_no_pipeline_is_refused(tmp_path, file, why):
    (tmp_path / file).write_text("{}")
    with pytest.raises(Error, match=f" is a folder without a model_index.json{why} "):
        hub.find_model(str(tmp_path))


def test_a_part_of_a_pipeline_is_said_to_be_one(tiny_folder):
    for part in ("unet", "model_index.json"):
        with pytest.raises(Error, match=f"; give .*{re.escape(str(tiny_folder))}$"):
            hub.find_model(str(tiny_folder / part))


def test_a_folder_that_does_not_load_for_lack_of_a_library_says_so(monkeypatch, tmp_path):
    folder = tiny.qwen_image21(tmp_path)
    (folder / "processor" / "processor_config.json").write_text('{"processor_class": "Qwen3VLProcessor"}')
    index = (folder / "model_index.json").read_text()
    (folder / "model_index.json").write_text(index.replace("LlavaProcessor", "Qwen3VLProcessor"))
    monkeypatch.setattr(hub.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Error, match="needs a library that is not here; pip install torchvision, from where torch is"):
        models.load(Settings(model=str(folder), device="cpu"))


def test_a_folder_with_one_lora_in_it_is_that_lora(tmp_path):
    (tmp_path / "pytorch_lora_weights.safetensors").touch()
    assert hub.find_lora(str(tmp_path)) == tmp_path / "pytorch_lora_weights.safetensors"
    (tmp_path / "other.safetensors").touch()
    hub.find_lora.cache_clear()
    with pytest.raises(Error, match=r"has 2 files of weights \(other.safetensors, pytorch_lora_weights.safetensors\)"):
        hub.find_lora(str(tmp_path))


def test_weights_that_are_there_in_half_precision_only_are_found_and_load(cache, tiny_folder, tmp_path):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipe.to(torch.float16).save_pretrained(tmp_path / "half", variant="fp16")
    assert (tmp_path / "half/unet/diffusion_pytorch_model.fp16.safetensors").exists()
    fetch(cache, tmp_path / "half")
    model = models.load(Settings(model="org/tiny", steps=1, width=32, height=32))
    assert model.settings.weights == f"commit {COMMIT} fp16", "the full weights of this commit make other pictures"
    weights = {"half": model.pipe.unet.state_dict(), "own": pipe.unet.state_dict()}
    for name, tensor in weights["own"].items():
        assert torch.equal(tensor.float(), weights["half"][name])
    assert hub.is_downloaded("org/tiny")


def test_of_two_forms_of_the_weights_the_full_one_is_taken(tiny_folder):
    assert hub.weights_variant(tiny_folder) is None
    assert (
        hub._shared_variant(
            ["unet/a.safetensors", "unet/a.fp16.safetensors", "vae/b.safetensors", "c.fp16.safetensors"]
        )
        is None
    )
    assert hub._shared_variant(["unet/a.safetensors", "vae/b.fp16-00001-of-00002.safetensors"]) == "fp16"
    assert hub._shared_variant(["unet/a.bf16.safetensors", "vae/model-00001-of-00002.bf16.safetensors"]) == "bf16"
    assert (
        hub._shared_variant(["unet/a.fp16.safetensors", "unet/a.bf16.safetensors", "vae/b.bf16.safetensors"]) == "bf16"
    )
    assert hub._shared_variant(["unet/a-00001-of-00002.safetensors"]) is None


def test_weights_in_bfloat16_only_load(tiny_folder, tmp_path):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipe.to(torch.bfloat16).save_pretrained(tmp_path / "half", variant="bf16")
    assert pictures(load(tmp_path / "half", dtype="bfloat16"), FOX)[0].std() > 10


def test_a_folder_named_like_a_model_does_not_hide_it(tiny_folder, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    Path("sdxl").mkdir()
    with pytest.raises(Error, match=r"stable-diffusion-xl-base-1\.0 is not on this machine"):
        hub.find_model("sdxl")
    hub.find_model.cache_clear()
    shutil.copytree(tiny_folder, "sdxl", dirs_exist_ok=True)
    assert hub.find_model("sdxl") == Path("sdxl")


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


# Short names


@pytest.mark.parametrize(
    "name", ["sd-turbo", "stabilityai/sd-turbo", "sd-turbo@main", f"stabilityai/sd-turbo@{COMMIT}"]
)
def test_a_short_name_is_its_hub_ids_model_with_its_makers_steps_and_guidance(cache, tiny_folder, name):
    folder = fetch(cache, tiny_folder, repo="stabilityai/sd-turbo")
    assert hub.find_model(name) == folder
    done = models.complete(Settings(model=name, device="cpu"))
    assert (done.steps, done.guidance) == (1, 0.0)
    asked = models.complete(Settings(model=name, device="cpu", steps=3, guidance=2.0))
    assert (asked.steps, asked.guidance) == (3, 2.0)


def test_a_repository_has_its_short_name_by_the_name_that_it_had_before_too():
    assert find_entry("THUDM/CogView4-6B") == find_entry("cogview4") == find_entry("zai-org/CogView4-6B@main")


def test_a_misspelt_short_name_is_mended(cache):
    for name, meant in (("sdx-turbo", "sdxl-turbo"), ("SDXL", "sdxl")):
        with pytest.raises(Error, match=rf"^there is no model '{name}' here; did you mean .*\b{meant}\b.*\?$"):
            hub.find_model(name)


def test_short_names_are_those_of_families_that_walk_knows_and_are_all_different():
    names = [name for entry in CATALOGUE for name in (entry.name, entry.repo)]
    assert len(set(names)) == len(names)
    assert not any(
        "/" in entry.name or Settings(steps=entry.steps, guidance=entry.guidance).lora for entry in CATALOGUE
    )


def test_whether_a_model_is_on_this_machine_is_known_without_the_hub(cache, tiny_folder):
    assert not hub.is_downloaded("stabilityai/sd-turbo")
    folder = fetch(cache, tiny_folder, repo="stabilityai/sd-turbo")
    assert hub.is_downloaded("stabilityai/sd-turbo")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    assert not hub.is_downloaded("stabilityai/sd-turbo")


def test_what_else_is_on_this_machine_is_known_by_its_hub_id(cache, tiny_folder, tmp_path):
    assert hub.other_downloads() == []
    fetch(cache, tiny_folder, repo="org/mine")
    fetch(cache, tiny_folder, repo="stabilityai/sd-turbo")  # which has a short name
    (fetch(cache, tiny_folder, repo="org/half") / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    fetch(cache, tmp_path / "home", repo="org/other")
    (cache / "models--org--name (copy)").mkdir()
    assert hub.other_downloads() == ["org/mine"]


@pytest.mark.parametrize(
    ("damaged", "text"), [("model_index.json", '{"_class_na'), ("unet/x.safetensors.index.json", "{}")]
)
def test_a_damaged_model_is_not_here_and_hides_no_other(cache, tiny_folder, damaged, text):
    fetch(cache, tiny_folder, repo="stabilityai/sdxl-turbo")
    file = fetch(cache, tiny_folder, repo="stabilityai/sd-turbo") / damaged
    file.unlink(missing_ok=True)
    file.write_text(text)
    assert not hub.is_downloaded("stabilityai/sd-turbo")
    assert hub.is_downloaded("stabilityai/sdxl-turbo")


# Single files


@pytest.fixture
def checkpoint(tiny_folder, tmp_path):
    """The tiny model in one file."""
    return tiny.as_checkpoint(tiny_folder, tmp_path / "own.safetensors")


def describe(tiny_folder, folder):
    """A copy without weights."""
    return shutil.copytree(tiny_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))


def test_a_checkpoint_that_comes_after_it_was_asked_for_is_found(checkpoint, tiny_folder, tmp_path):
    describe(tiny_folder, tmp_path / "new")
    with pytest.raises(Error, match=r"there is no file .*new\.safetensors"):
        hub.find_model(str(tmp_path / "new.safetensors"))
    shutil.copy(checkpoint, tmp_path / "new.safetensors")
    assert hub.find_model(str(tmp_path / "new.safetensors")) == tmp_path / "new"


def test_a_single_checkpoint_is_the_same_model_as_its_parts(checkpoint, tiny_folder):
    describe(tiny_folder, checkpoint.with_suffix(""))
    model = load(checkpoint)
    np.testing.assert_array_equal(pictures(model, FOX), pictures(load(tiny_folder), FOX))
    assert models.complete(model.settings) == model.settings


def test_a_checkpoint_of_novelais_names_is_the_same_model(checkpoint, tiny_folder):
    describe(tiny_folder, checkpoint.with_suffix(""))
    tensors = load_file(checkpoint)
    save_file({name.replace("transformer.text_model.", "transformer."): it for name, it in tensors.items()}, checkpoint)
    np.testing.assert_array_equal(pictures(load(checkpoint), FOX), pictures(load(tiny_folder), FOX))


def test_a_checkpoint_that_says_what_it_predicts_is_believed(checkpoint, tiny_folder):
    describe(tiny_folder, checkpoint.with_suffix(""))
    nothing = torch.zeros(0)
    save_file(load_file(checkpoint) | {"v_pred": nothing, "ztsnr": nothing}, checkpoint)
    config = load(checkpoint, scheduler="DDIMScheduler").pipe.scheduler.config
    assert config.prediction_type == "v_prediction"
    assert config.rescale_betas_zero_snr
    assert config.timestep_spacing == "trailing"


@pytest.mark.parametrize(("said", "kind"), [("v", "v_prediction"), ("epsilon", "epsilon")])
def test_a_checkpoint_that_says_in_its_metadata_what_it_predicts_is_believed(checkpoint, tiny_folder, said, kind):
    describe(tiny_folder, checkpoint.with_suffix(""))
    save_file(load_file(checkpoint), checkpoint, metadata={"modelspec.prediction_type": said})
    assert load(checkpoint).pipe.scheduler.config.prediction_type == kind


@pytest.mark.parametrize(
    ("context", "spread", "kind"), [(1024, 0.02, "epsilon"), (1024, 0.2, "v_prediction"), (768, 0.2, None)]
)
def test_the_two_kinds_of_stable_diffusion_2_are_told_apart(tmp_path, context, spread, kind):
    block = "model.diffusion_model.{}.transformer_blocks.0.{}"
    tensors = {
        block.format("input_blocks.2.1", "attn2.to_k.weight"): torch.zeros(320, context, dtype=torch.float16),
        block.format("output_blocks.11.1", "norm1.bias"): torch.linspace(-1, 1, 320).half() * spread,
    }
    save_file(tensors, tmp_path / "sd.safetensors")
    assert hub.checkpoint_scheduler(tmp_path / "sd.safetensors").get("prediction_type") == kind


def test_a_checkpoint_is_described_by_the_model_that_it_resembles(checkpoint, cache, tiny_folder):
    described = fetch(cache, tiny_folder, repo="stable-diffusion-v1-5/stable-diffusion-v1-5")
    for weights in described.glob("*/*.safetensors"):
        weights.unlink()
    np.testing.assert_array_equal(pictures(load(checkpoint), FOX), pictures(load(tiny_folder), FOX))


_UNION = ("layers.14.adaLN_modulation.0", "noise_refiner.0.before_proj", "layers.0.attention.to_q", "layers.1.a")


def test_a_file_that_is_no_checkpoint_says_what_it_is(checkpoint, cache, tmp_path):
    whole = load_file(checkpoint)
    vae = {name.removeprefix("first_stage_model."): it for name, it in whole.items() if name.startswith("first_")}
    told_of_word = "is an embedding; give it as --embedding .*word.safetensors, and what it was made for as --model"
    for name, tensors, told in (
        (
            "vae",
            vae,
            "is a VAE alone; give it as --decoder .*vae.safetensors, and the model that it belongs to as --model",
        ),
        (
            "trained",
            vae | {"loss.logvar": torch.zeros(()), "model_ema.decay": torch.zeros(())},
            "is a VAE alone; give it as --decoder",
        ),
        ("canny", {"control_model.time_embed.0.weight": torch.zeros(1)}, "is a ControlNet, which walk does not know"),
        (
            "union",  # Z-Image's, whose weights diffusers asks for when it is to recognise it
            {f"control_{name}.weight": torch.zeros(1) for name in _UNION},
            "is a ControlNet, which walk does not know; give a whole checkpoint",
        ),
        ("word", {"emb_params": torch.zeros(2, 768)}, told_of_word),
    ):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        with pytest.raises(Error, match=rf"{name}\.safetensors {told}"):
            hub.find_model(str(tmp_path / f"{name}.safetensors"))
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(Error, match=r"own\.safetensors is cut off, after .* of .* MB; download it again"):
        hub.find_model(str(checkpoint))
    checkpoint.rename(tmp_path / "own.ckpt")
    with pytest.raises(Error, match=r"own\.ckpt may hold programs, which walk does not run; take the model's"):
        hub.find_model(str(tmp_path / "own.ckpt"))


def test_a_damaged_model_of_the_hubs_says_what_to_remove(cache, tiny_folder):
    weights = fetch(cache, tiny_folder) / "unet" / "diffusion_pytorch_model.safetensors"
    weights.resolve().write_bytes(b"\0" * 1000)
    with pytest.raises(
        Error, match=rf"; remove {re.escape(str(cache))}/models--org--tiny, and it is downloaded again$"
    ):
        load("org/tiny")


@pytest.mark.parametrize(("channels", "what"), [(9, "an inpainting model"), (8, "an editing model")])
def test_a_checkpoint_that_works_on_pictures_is_refused_before_any_download(checkpoint, cache, channels, what):
    wide = {"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, channels, 3, 3)}
    save_file(load_file(checkpoint) | wide, checkpoint)
    with pytest.raises(Error, match=rf"own\.safetensors is {what}, which works on other pictures, and walk has none"):
        hub.find_model(str(checkpoint))


def test_a_checkpoint_without_a_description_says_what_to_do(checkpoint, cache):
    with pytest.raises(Error) as caught:
        hub.find_model(str(checkpoint))
    repo = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert str(caught.value) == (
        f"{checkpoint} needs the configuration of a model: {repo} is not on this machine and the hub is switched off "
        "(HF_HUB_OFFLINE); go online once, or lay a folder own with a diffusers configuration beside it"
    )


def test_a_checkpoint_without_a_description_says_so_where_the_hub_does_not_answer(checkpoint, cache, ask):
    ask(lambda: failing(OSError("no way"))())
    with pytest.raises(
        Error, match=r"needs the configuration of a model: .* the hub does not answer; go online once, or lay"
    ):
        hub.find_model(str(checkpoint))


def test_a_checkpoint_of_other_weights_is_another_model(checkpoint, tiny_folder):
    describe(tiny_folder, checkpoint.with_suffix(""))
    seen = {hub.identity(str(checkpoint))}
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    seen.add(hub.identity(str(checkpoint)))
    next(checkpoint.with_suffix("").glob("scheduler/*")).write_text("{}")
    seen.add(hub.identity(str(checkpoint)))
    assert len(seen) == 3


def test_a_damaged_checkpoint_is_said_to_be(checkpoint):
    checkpoint.write_bytes(b"<html>not found</html>")
    with pytest.raises(Error, match=r"own\.safetensors is damaged"):
        hub.find_model(str(checkpoint))


@pytest.mark.parametrize("lost", ["model.diffusion_model.out.2.weight", "first_stage_model.quant_conv.bias"])
def test_a_checkpoint_that_lacks_weights_is_refused(checkpoint, tiny_folder, lost):
    describe(tiny_folder, checkpoint.with_suffix(""))
    tensors = load_file(checkpoint)
    del tensors[lost]
    save_file(tensors, checkpoint)
    with pytest.raises(Error, match="does not load as a StableDiffusionPipeline: "):
        load(checkpoint)


def test_a_checkpoint_without_a_vae_takes_another(checkpoint, cache, tiny_folder, tmp_path):
    """As those on Civitai whose name ends in noVAE. What is wrong with a file is no fault of its description."""
    described = fetch(cache, tiny_folder, repo="stable-diffusion-v1-5/stable-diffusion-v1-5")
    tiny.vae(tmp_path / "vae", 0, tmp_path / "vae.safetensors")
    tensors = load_file(checkpoint)
    save_file({name: it for name, it in tensors.items() if not name.startswith("first_stage_model.")}, checkpoint)
    with pytest.raises(Error, match=r"own\.safetensors has no VAE; give one as --decoder"):
        load(checkpoint)
    model = load(checkpoint, decoder=str(tmp_path / "vae.safetensors"))
    other = load(described, decoder=str(tmp_path / "vae.safetensors"))
    np.testing.assert_array_equal(pictures(model, FOX), pictures(other, FOX))
    save_file({name: it for name, it in tensors.items() if not name.startswith("cond_stage_model.t")}, checkpoint)
    save_file(load_file(checkpoint) | {"cond_stage_model.other": torch.zeros(1)}, checkpoint)
    with pytest.raises(Error, match=r"^\S*own\.safetensors does not load as a Stable.*appear to be missing[^;]*$"):
        load(checkpoint)


# LoRAs


def test_a_lora_is_a_file_or_the_only_one_of_a_repository(cache, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "style.safetensors").touch()
    assert hub.find_lora(str(home / "style.safetensors")) == home / "style.safetensors"
    folder = fetch(cache, home, repo="org/style")
    assert hub.find_lora("org/style") == hub.find_lora("org/style/style.safetensors") == folder / "style.safetensors"
    (home / "other.safetensors").touch()
    fetch(cache, home, repo="org/two")
    with pytest.raises(
        Error, match=r"org/two has 2 files of weights \(other.safetensors, style.safetensors\); give one"
    ):
        hub.find_lora("org/two")
    assert hub.find_lora("org/two/other.safetensors").name == "other.safetensors"


@pytest.mark.parametrize("name", ["nosuch", "nosuch.safetensors", "a b/c", "org/x/y.bin", "/nosuch/x.safetensors"])
def test_what_is_no_lora_is_refused(cache, name):
    with pytest.raises(Error, match=r"there is no LoRA '.*' here; a LoRA is a \.safetensors file, or a hub id"):
        hub.find_lora(name)


def test_what_is_nearly_a_lora_is_mended(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("style.safetensors").touch()
    for name, hint in (
        ("style", "did you mean style.safetensors?"),
        ("<lora:style:0.8>", "write style.safetensors:0.8"),
        ("style.safetensors:abc", "its weight 'abc' is no number; write style.safetensors:0.8, say"),
    ):
        with pytest.raises(Error) as caught:
            hub.find_lora(name)
        assert str(caught.value) == f"there is no LoRA '{name}' here; {hint}"


@pytest.mark.parametrize(
    ("find", "file"),
    [
        (hub.find_lora, "Lora/style.safetensors"),
        (hub.find_embedding, "embeddings/EasyNegative.pt"),
        (hub.find_decoder, "VAE/vae-ft-mse.safetensors"),
        (hub.find_upscaler, "ESRGAN/4x-UltraSharp.pth"),
        (hub.find_model, "Stable-diffusion/realisticVision.safetensors"),
    ],
)
def test_a_file_named_as_other_tools_list_it_is_not_sought_on_the_hub(cache, tmp_path, monkeypatch, find, file):
    monkeypatch.chdir(tmp_path)
    Path(file).parent.mkdir()
    Path(file).touch()
    with pytest.raises(Error, match=rf"here; did you mean {re.escape(file)}\?$"):
        find(str(Path(file).with_suffix("")))


def test_of_several_files_one_is_named_as_it_can_be_given(tmp_path):
    for suffix in ("pt", "safetensors"):
        (tmp_path / f"EasyNegative.{suffix}").touch()
    with pytest.raises(Error, match=rf"has 2 files of .*; give one, as {re.escape(str(tmp_path))}/EasyNegative\.pt$"):
        hub.find_embedding(str(tmp_path))


def test_a_short_name_means_its_model_even_beside_a_file_of_that_name(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sdxl.safetensors").touch()
    with pytest.raises(Error, match="hub is switched off"):
        hub.find_model("sdxl")


def test_a_lora_of_the_hubs_that_is_not_here_says_so(cache):
    with pytest.raises(Error, match="org/style is not on this machine and the hub is switched off"):
        hub.find_lora("org/style")


@pytest.mark.parametrize("name", ["unet.x.lora_A.weight", "lycoris_x.lokr_w1", "diffusion_model.x.hada_w1_a"])
def test_a_lora_given_for_a_model_says_where_it_belongs(cache, tmp_path, name):
    save_file({name: torch.zeros(1)}, tmp_path / "style.safetensors")
    with pytest.raises(Error, match=f"is a LoRA; give it as --lora {re.escape(str(tmp_path))}"):
        hub.find_model(str(tmp_path / "style.safetensors"))


# Denoisers in files of their own


def test_a_denoiser_is_a_file_here_or_one_of_a_repositorys(cache, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "it-Q4_K_S.gguf").touch()
    assert hub.find_denoiser(str(home / "it-Q4_K_S.gguf")) == home / "it-Q4_K_S.gguf"
    (home / "it-Q8_0.gguf").touch()
    folder = fetch(cache, home, repo="org/packed")
    assert hub.find_denoiser("org/packed/it-Q8_0.gguf") == folder / "it-Q8_0.gguf"
    with pytest.raises(
        Error, match=r"has 2 files of weights \(it-Q4_K_S.gguf, it-Q8_0.gguf\); give one, as org/packed/"
    ):
        hub.find_denoiser("org/packed")


def test_a_library_that_does_not_fit_is_named(monkeypatch):
    class Broken:
        def __getattr__(self, name):
            raise RuntimeError(
                f"Failed to import diffusers.{name} because of the following error:\ncannot import name 'InterpolationMode' "
                "from 'torchvision.transforms' (/lib/torchvision/transforms/__init__.py)"
            )

    monkeypatch.setitem(sys.modules, "diffusers", Broken())
    assert str(hub.missing_requirement("sdxl", "StableDiffusionXLPipeline")) == (
        "diffusers cannot import StableDiffusionXLPipeline: cannot import name 'InterpolationMode' from "
        "'torchvision.transforms'; install that library again, from where torch is from"
    )


@pytest.mark.parametrize("name", ["nosuch", "nosuch.gguf", "org/x/y.bin", "/nosuch/x.gguf", __file__])
def test_what_is_no_denoiser_is_refused(cache, name):
    with pytest.raises(Error) as caught:
        hub.find_denoiser(name)
    absent = f"{name} is of another kind" if name == __file__ else f"there is no denoiser '{name}' here"
    assert str(caught.value) == (
        f"{absent}; it is own, or a .safetensors or .gguf file, or one on the hub, as org/name/file.gguf"
    )


def test_of_a_model_with_another_denoiser_its_own_need_not_be_here(cache, tiny_folder, tmp_path):
    folder = fetch(cache, tiny_folder)
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    (other,) = (tiny_folder / "unet").glob("*.safetensors")
    weights.unlink()
    model = load("org/tiny", denoiser=other)
    np.testing.assert_array_equal(pictures(model, FOX), pictures(load(tiny_folder), FOX))
    with pytest.raises(Error, match="org/tiny is not on this machine and the hub is switched off"):
        hub.find_model("org/tiny")


def test_a_denoiser_given_for_a_model_says_how_it_is_given(checkpoint, cache, tmp_path):
    for name in (str(tmp_path / "it.gguf"), "org/packed/it.gguf"):
        with pytest.raises(Error) as caught:
            hub.find_model(name)
        assert str(caught.value) == (
            f"{name} is a denoiser alone; give it as --denoiser {name}, and as --model what it was made from, such as "
            "flux-dev"
        )
    tensors = {name: it for name, it in load_file(checkpoint).items() if name.startswith("model.diffusion_model.")}
    save_file(tensors, tmp_path / "unet.safetensors")
    with pytest.raises(Error) as caught:
        hub.find_model(str(tmp_path / "unet.safetensors"))
    assert f"has no text encoder; if it is a denoiser alone, give it as --denoiser {tmp_path}" in str(caught.value)
    assert str(caught.value).endswith("what it was made from, such as stable-diffusion-v1-5/stable-diffusion-v1-5")


def test_a_denoiser_of_a_checkpoints_names_is_the_same_model(checkpoint, tiny_folder):
    np.testing.assert_array_equal(
        pictures(load(tiny_folder, denoiser=checkpoint), FOX), pictures(load(tiny_folder), FOX)
    )


@pytest.mark.parametrize("extra", ["scaled_fp8", "model.diffusion_model.out.2.scale_weight", "out.2.weight.absmax"])
def test_numbers_that_mean_nothing_without_a_scale_are_refused(checkpoint, tiny_folder, extra):
    save_file(load_file(checkpoint) | {extra: torch.ones(1)}, checkpoint)
    for given in ({"model": str(checkpoint)}, {"model": str(tiny_folder), "denoiser": str(checkpoint)}):
        with pytest.raises(Error, match=r"holds scaled \(quantised\) weights \(.*\), which diffusers does not read"):
            models.complete(Settings(**given))


# What is no model


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch", "there is no model 'nosuch' here; a model is toybox (built in), a short name such as sdxl"),
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
        hub.find_model(name)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("file", ["unet/config.json", "text_encoder/model.safetensors"])
def test_a_model_that_may_not_be_read_is_refused(tiny_folder, tmp_path, file):
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    (folder / file).unlink()
    (folder / file).mkdir()  # which nobody can read as a file, not even root, who may read everything
    with pytest.raises(Error) as caught:
        models.complete(Settings(model=str(folder), device="cpu"))
    assert str(caught.value) == f"{folder / file} cannot be read (Is a directory)"


def test_a_folder_without_a_decoder_is_refused(tmp_path):
    with pytest.raises(Error) as caught:
        hub.find_decoder(str(tmp_path))
    assert str(caught.value).startswith(
        f"{tmp_path} holds no VAE; a decoder is own, tiny, a VAE's .safetensors file, or"
    )


def test_a_model_whose_chats_are_put_otherwise_is_another(tiny_folder, tmp_path):
    """Encoders that are chat models read prompts through a template, which transformers keeps in a file of its own."""
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    names = set()
    for template in ("", "{{ messages }}", "{{ messages[0] }}"):
        (folder / "tokenizer" / "chat_template.jinja").write_text(template)
        names.add(models.complete(Settings(model=str(folder), device="cpu")).weights)
    assert len(names) == 3
