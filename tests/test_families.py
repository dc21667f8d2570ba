"""Every family: a keyframe's frame is the plain pipeline's own picture, and what lies between moves without a jump."""

import dataclasses
import functools
import importlib.util
import itertools
import json
import os
import shutil
from pathlib import Path
from unittest import mock

import diffusers
import numpy as np
import pytest
import sentencepiece
import tiny
import torch
from oracle import levels, load, mean, pictures
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils._pytree import tree_leaves
from transformers import BertTokenizer

from walk import Error, Keyframe, Settings, Walk, families, hub, loading, machine, models
from walk.given import Given
from walk.render import inputs, render

FOX = Keyframe("a red fox", seed=3)
KEYFRAMES = (FOX, Keyframe("an owl in the rain", 5), Keyframe("two boats", 9))
SHORT = Walk.through(KEYFRAMES, frames=5)
SIZE = {"width": 64, "height": 32}
BUILDERS = {
    "StableDiffusionPipeline": tiny.stable_diffusion,
    "LatentConsistencyModelPipeline": tiny.latent_consistency,
    "StableDiffusionXLPipeline": tiny.stable_diffusion_xl,
    "KolorsPipeline": tiny.kolors,
    "StableDiffusion3Pipeline": tiny.stable_diffusion_3,
    "FluxPipeline": tiny.flux,
    "Flux2Pipeline": tiny.flux2,
    "Flux2KleinPipeline": tiny.flux2_klein,
    "ChromaPipeline": tiny.chroma,
    "ErnieImagePipeline": tiny.ernie_image,
    "PixArtAlphaPipeline": tiny.pixart_alpha,
    "PixArtSigmaPipeline": tiny.pixart_sigma,
    "BriaPipeline": tiny.bria,
    "HunyuanDiTPipeline": tiny.hunyuan_dit,
    "SanaPipeline": tiny.sana,
    "SanaSprintPipeline": tiny.sana_sprint,
    "ZImagePipeline": tiny.z_image,
    "QwenImagePipeline": tiny.qwen_image,
    "QwenImage21Pipeline": tiny.qwen_image21,
    "NucleusMoEImagePipeline": tiny.nucleus,
    "Krea2Pipeline": tiny.krea2,
    "CogView3PlusPipeline": tiny.cogview3,
    "CogView4Pipeline": tiny.cogview4,
    "OvisImagePipeline": tiny.ovis_image,
    "PRXPipeline": tiny.prx,
    "Lumina2Pipeline": tiny.lumina2,
    "AuraFlowPipeline": tiny.aura_flow,
}
STOCHASTIC = {
    "LatentConsistencyModelPipeline",
    "HunyuanDiTPipeline",
    "SanaSprintPipeline",
}  # their schedulers draw noise at each step
LARGE_BATCHES = {"StableDiffusionPipeline", "StableDiffusion3Pipeline"}  # a UNet and a transformer, tried with them
EVERY = pytest.mark.parametrize("name", BUILDERS)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Where each family's tiny pipeline lies, built when first asked for."""
    root = tmp_path_factory.mktemp("families")
    return functools.cache(lambda name: BUILDERS[name](root / name))


@pytest.fixture(scope="session")
def model(home):
    """Loaded ones, by name and settings."""
    loaded = functools.cache(lambda name: load(home(name), **SIZE, steps=2, batch=1))
    return lambda name, **settings: loaded(name).at(dataclasses.replace(loaded(name).settings, **settings))


@functools.cache
def plain_pipe(folder):
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def plain(folder, keyframe, steps=2, guidance=None, **call):
    """The same picture as any user of diffusers makes it, without us."""
    pipe = plain_pipe(folder)
    pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    name = type(pipe).__name__
    call = {"generator": torch.Generator().manual_seed(keyframe.seed)} | call
    if keyframe.negative_prompt:
        call["negative_prompt"] = keyframe.negative_prompt
    elif name.startswith("QwenImage"):
        call["negative_prompt"] = " "  # as its makers do; without, it has no guidance
    if guidance is not None:
        call["true_cfg_scale" if name.startswith("QwenImage") else "guidance_scale"] = guidance
    if name.startswith(("PixArt", "HunyuanDiT", "Sana", "PRX")):
        call["use_resolution_binning"] = False
    return opaque(pipe(prompt=keyframe.prompt, num_inference_steps=steps, **SIZE, **call).images[0])


def opaque(image):
    """As an array; before white, if it can be seen through."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return np.asarray(image)


def test_every_family_has_a_tiny_pipeline():
    assert set(BUILDERS) == set(families.FAMILIES)


@EVERY
def test_its_parts_are_found_whole(home, name):
    """Options that are lists, too, as Krea 2's layers, are no parts."""
    parts = hub._parts(home(name))
    assert {"scheduler", "vae"} < {*parts}
    assert all(hub.is_complete(home(name) / part) for part in parts)


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - STOCHASTIC))
def test_a_keyframe_is_the_plain_pipelines_picture(home, model, name):
    expected = plain(home(name), FOX, guidance=families.FAMILIES[name].guidance)
    assert levels(pictures(model(name), FOX)[0], expected) <= 1
    other = dataclasses.replace(FOX, prompt="an owl in the rain")
    assert levels(pictures(model(name), other)[0], expected) > 1


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - STOCHASTIC))
def test_a_keyframe_without_guidance_is_the_plain_pipelines_picture(home, model, name):
    off = families.FAMILIES[name].unguided_up_to
    assert levels(pictures(model(name, guidance=off), FOX)[0], plain(home(name), FOX, guidance=off)) <= 1


@EVERY
def test_embeddings_that_a_program_has_changed_make_keyframes(model, name):
    given = Given(model(name))
    again = given.encode(given.keyframe("again", given.encode(FOX)))
    for part, tensor in given.encode(FOX).items():
        np.testing.assert_array_equal(again[part], tensor.float() if tensor.is_floating_point() else tensor)
    half = given.keyframe("half", mean(given, *KEYFRAMES[:2]), seed=3)
    between = given.keyframe("between", inputs(given, Walk.through(KEYFRAMES, 5), 1)[1], given.noise(3))
    seen = pictures(given, half), pictures(given, between), pictures(given, FOX)
    assert min(levels(a[0], b[0]) for a, b in itertools.combinations(seen, 2)) > 0


@pytest.mark.parametrize(
    "name", [name for name, family in families.FAMILIES.items() if family.negatives and name != "Flux2KleinPipeline"]
)
def test_a_keyframe_with_a_negative_prompt_is_the_plain_pipelines_picture(home, model, name):
    keyframe = dataclasses.replace(FOX, negative_prompt="blurry and dark")
    expected = plain(home(name), keyframe, guidance=families.FAMILIES[name].guidance)
    assert levels(pictures(model(name), keyframe)[0], expected) <= 1


@pytest.mark.parametrize("name", sorted(STOCHASTIC))
@pytest.mark.parametrize("steps", [1, 2])
def test_a_keyframe_of_a_stochastic_family_is_the_plain_pipelines_with_the_noise_of_its_steps(home, model, name, steps):
    call = {"intermediate_timesteps": None} if name == "SanaSprintPipeline" and steps == 1 else {}
    expected = plain(home(name), FOX, steps, families.FAMILIES[name].guidance, **call)
    assert levels(pictures(model(name, steps=steps), FOX)[0], expected) <= 1


def test_a_turbo_models_one_step_draws_no_noise_though_its_scheduler_is_stochastic(tmp_path):
    folder = tiny.stable_diffusion_xl(tmp_path, "EulerAncestralDiscreteScheduler")
    expected = plain(folder, FOX, steps=1, guidance=0.0)
    assert levels(pictures(load(folder, steps=1, guidance=0.0, **SIZE), FOX)[0], expected) <= 1


def film(model, walk, indices=None):
    return dict(render(model, walk, range(walk.frames) if indices is None else indices))


@pytest.fixture(scope="module")
def short_film(model):
    """That of a family in batches of a size, made once: of five frames, with keyframes at 0, 2 and 4."""
    return functools.cache(lambda name, batch: film(model(name, batch=batch), SHORT))


@EVERY
def test_a_frame_hardly_depends_on_the_batch(short_film, name):
    for batch in (3, 8) if name in LARGE_BATCHES else (3,):
        for index, picture in short_film(name, 1).items():
            assert levels(short_film(name, batch)[index], picture) <= 1


@EVERY
def test_some_of_the_frames_are_the_same_bytes_as_in_the_whole_film(model, short_film, name):
    for indices in ([1], [4, 3, 2]):
        for index, picture in film(model(name, batch=3), SHORT, indices).items():
            np.testing.assert_array_equal(picture, short_film(name, 3)[index])


@EVERY
def test_the_keyframe_of_a_walk_is_the_keyframes_own_picture(model, short_film, name):
    assert levels(short_film(name, 1)[2], pictures(model(name), KEYFRAMES[1])[0]) <= 1


class Recorder:
    """A model that keeps what frames are made from."""

    def __init__(self, model):
        self.settings, self.encode, self.noise = model.settings, model.encode, model.noise
        self.made = []

    def denoise(self, noise, conditioning):
        self.made.append({"noise": noise[0]} | {name: tensor[0] for name, tensor in conditioning.items()})
        return noise

    def decode(self, latents):
        return lambda: torch.arange(len(latents) * 6, dtype=torch.uint8).reshape(-1, 1, 2, 3)


@EVERY
def test_everything_that_a_frame_is_made_from_moves_without_a_jump(model, name):
    recorder = Recorder(model(name))
    keyframes = [dataclasses.replace(k, negative_prompt=word) for k, word in zip(KEYFRAMES, ("", "fog", "a cat"))]
    film(recorder, Walk.through(keyframes, frames=25))
    family = families.FAMILIES[name]
    names = {name for name in family.returns if name}
    assert names | {f"{name}_{i}" for name in names for i in range(2, family.readers + 1)} <= set(recorder.made[0])
    for part, first in recorder.made[0].items():
        if not first.is_floating_point():
            continue
        steps = torch.stack([(b[part] - a[part]).norm() for a, b in zip(recorder.made, recorder.made[1:])])
        assert steps.min() > 0, f"{part} rests"
        assert steps.max() < 3 * steps.mean(), f"{part} jumps"


@pytest.mark.parametrize("name", [name for name, family in families.FAMILIES.items() if family.masked or family.ragged])
def test_on_the_way_to_a_longer_prompt_its_tokens_are_heard_one_after_the_other(model, name):
    recorder = Recorder(model(name))
    film(recorder, Walk.through(KEYFRAMES, frames=49))
    mask = next(name for name in recorder.made[0] if name.endswith("mask") and not name.startswith("negative"))
    counts = [int(made[mask].sum()) for made in recorder.made]
    keys = [counts[0], counts[24], counts[48]]
    assert keys == [int(model(name).encode(keyframe)[mask].sum()) for keyframe in KEYFRAMES]
    assert keys[0] < keys[1] > keys[2]
    changes = np.diff(counts).tolist()
    assert set(changes[:24]) <= {0, 1}
    assert set(changes[24:]) <= {0, -1}
    for made, count in zip(recorder.made, counts):
        assert made[mask].tolist() == [1] * count + [0] * (len(made[mask]) - count)


def test_a_tokenizer_within_a_processor_reads_prompts_and_says_where_it_cuts_them(tmp_path):
    pytest.importorskip("torchvision", reason="the processor of Flux 2 imports it", exc_type=ImportError)
    model = load(tiny.flux2(tmp_path, processor=True), **SIZE, steps=2)
    assert levels(pictures(model, FOX)[0], plain(tmp_path, FOX)) <= 1
    assert model.notes(Keyframe("x" * 480, 0)) == ["the prompt is too long for the model, which does not read 'xxx'"]


def test_what_would_rewrite_prompts_is_left_out(home, tmp_path):
    folder = tiny.ernie_image(tmp_path, rewriter=True)
    model = load(folder, **SIZE, steps=2)
    assert model.pipe.pe is None
    assert levels(pictures(model, FOX)[0], plain(folder, FOX, use_pe=False)) <= 1


def test_a_prompt_beyond_the_most_tokens_is_cut_and_noted(model):
    ernie = model("ErnieImagePipeline")
    long = Keyframe("x" * 1030, 0)
    (note,) = ernie.notes(long)
    assert note == "the prompt is too long for the model, which does not read 'xxxxxxx'"
    cut = ernie.encode(dataclasses.replace(long, prompt="x" * 1023))
    for name, tensor in ernie.encode(long).items():
        torch.testing.assert_close(tensor, cut[name])


# What is recommended


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (functools.partial(tiny.flux, guided=True), (28, 3.5)),
        (functools.partial(tiny.flux, guided=False), (4, 0.0)),
        (functools.partial(tiny.flux2_klein, distilled=False), (50, 4.0)),
        (functools.partial(tiny.flux2_klein, distilled=True), (4, 0.0)),
        (functools.partial(tiny.krea2, distilled=False), (52, 3.5)),
        (functools.partial(tiny.krea2, distilled=True), (8, 0.0)),
        (functools.partial(tiny.qwen_image21, sigmas=[1.0, 0.8, 0.3]), (3, 1.0)),
        (functools.partial(tiny.pixart_alpha, scheduler="LCMScheduler"), (4, 0.0)),
        (tiny.sana_sprint, (2, 4.5)),
        (tiny.latent_consistency, (4, 8.5)),
    ],
)
def test_a_distilled_model_gets_its_few_steps_and_no_guidance(tmp_path, build, expected):
    done = models.complete(Settings(model=str(build(tmp_path)), device="cpu"))
    assert (done.steps, done.guidance) == expected


def test_no_guidance_is_none_where_the_pipeline_takes_no_less_than_1(model):
    off, none = (pictures(model("PRXPipeline", guidance=guidance), FOX) for guidance in (1.0, 0.0))
    np.testing.assert_array_equal(off, none)


def test_prx_says_which_library_reads_its_prompts_and_what_size_it_was_made_for(home, monkeypatch):
    model = load(home("PRXPipeline"))
    assert (model.settings.width, model.settings.height) == (64, 64)
    monkeypatch.delattr("diffusers.pipelines.prx.pipeline_prx.ftfy")  # as where it is not there
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Error, match=r" needs a library that is not here; pip install ftfy$"):
        model.encode(FOX)


def test_sigmas_that_a_model_was_made_for_are_taken_for_as_many_steps_and_no_others(tmp_path):
    folder = tiny.qwen_image21(tmp_path, sigmas=[1.0, 0.8, 0.3])
    model = load(folder, **SIZE, steps=3)
    assert levels(pictures(model, FOX)[0], plain(folder, FOX, steps=3)) <= 1
    two = model.at(dataclasses.replace(model.settings, steps=2))
    assert levels(pictures(two, FOX)[0], plain(tiny.qwen_image21(tmp_path / "without"), FOX, steps=2)) <= 1


@pytest.mark.parametrize(
    ("name", "width", "multiple"),
    [
        ("SanaPipeline", 48, 32),
        ("FluxPipeline", 34, 8),
        ("HunyuanDiTPipeline", 40, 16),
        ("Lumina2Pipeline", 40, 16),
        ("CogView4Pipeline", 40, 16),
        ("PRXPipeline", 34, 8),
        ("QwenImage21Pipeline", 48, 32),
    ],
)
def test_a_size_that_the_family_cannot_make_is_refused(home, name, width, multiple):
    with pytest.raises(Error, match=rf"width {width} is not possible with this model; .* \(multiples of {multiple}\)"):
        models.complete(Settings(model=str(home(name)), width=width))


# What is noted of prompts


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("StableDiffusionXLPipeline", 4 * 14),
        ("StableDiffusion3Pipeline", 255),
        ("FluxPipeline", 511),
        ("HunyuanDiTPipeline", 255),
        ("Lumina2Pipeline", 223),
    ],
)
def test_only_what_no_encoder_reads_is_noted_as_cut(model, name, limit):
    words = "x" * (limit + 3)  # a token each, beside those that begin and end a prompt
    assert model(name).notes(Keyframe(words[:limit], 0)) == []
    (note,) = model(name).notes(Keyframe(words, 0))
    assert note == "the prompt is too long for the model, which does not read 'xxx'"


def test_a_negative_prompt_that_is_not_heard_is_noted(model):
    keyframe = dataclasses.replace(FOX, negative_prompt="fog")
    assert model("FluxPipeline").notes(keyframe) == ["the model takes no negative prompt, so it has no effect"]
    assert model("SanaPipeline").notes(keyframe) == []
    (note,) = model("SanaPipeline", guidance=1.0).notes(keyframe)
    assert note == "with guidance 1 the negative prompt has no effect; give --guidance, over 1"


def test_a_picture_is_denoised_twice_where_zeros_stand_for_a_negative_prompt_that_is_not_heard(home, model):
    cogview3 = model("CogView3PlusPipeline")
    deaf = ["the model takes no negative prompt, so it has no effect"]
    assert cogview3.notes(dataclasses.replace(FOX, negative_prompt="fog")) == deaf
    for guidance, guided in ((5.0, True), (1.0, False)):
        with mock.patch.object(machine, "batch", return_value=1) as batch:
            models.complete(Settings(model=str(home("CogView3PlusPipeline")), device="cpu", guidance=guidance))
        assert batch.call_args.args[1] == guided


# Other decoders


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "StableDiffusionXLPipeline", "FluxPipeline"])
def test_a_tiny_decoder_is_the_plain_pipelines_with_that_decoder(home, tmp_path, name):
    folder = tiny.decoder(tmp_path)
    pipe = diffusers.DiffusionPipeline.from_pretrained(home(name))
    pipe.vae = diffusers.AutoencoderTiny.from_pretrained(folder)
    generator = torch.Generator().manual_seed(FOX.seed)
    guidance = families.FAMILIES[name].guidance
    image = pipe(FOX.prompt, generator=generator, num_inference_steps=2, guidance_scale=guidance, **SIZE).images[0]
    model = load(home(name), **SIZE, steps=2, decoder=str(folder))
    assert levels(pictures(model, FOX)[0], np.asarray(image)) <= 1
    assert model.settings.deciding() != load(home(name), **SIZE, steps=2).settings.deciding()


def test_another_decoder_is_another_model(home, tmp_path):
    name = "StableDiffusionPipeline"
    folders = [tiny.decoder(tmp_path / str(seed), seed) for seed in (1, 2)]
    chosen = [Settings(model=str(home(name)), decoder=str(decoder)) for decoder in ("own", *folders)]
    assert len({models.complete(settings).weights for settings in chosen}) == 3
    file = folders[0] / "config.json"
    before = models.complete(chosen[1]).weights
    file.write_text(file.read_text().replace('"scaling_factor": 1.0', '"scaling_factor": 2.0'))
    assert models.complete(chosen[1]).weights != before


@pytest.mark.parametrize("name", ["StableDiffusionPipeline", "StableDiffusionXLPipeline"])
def test_another_vae_decodes_what_the_plain_pipeline_would_with_it(home, tmp_path, name):
    folder = tiny.vae(tmp_path / "vae", 5, tmp_path / "original.safetensors")
    pipe = diffusers.DiffusionPipeline.from_pretrained(home(name))
    pipe.vae = diffusers.AutoencoderKL.from_pretrained(folder, scaling_factor=pipe.vae.config.scaling_factor)
    config = json.loads((folder / "config.json").read_text()) | {"scaling_factor": pipe.vae.config.scaling_factor}
    (folder / "config.json").write_text(json.dumps(config))
    generator = torch.Generator().manual_seed(FOX.seed)
    guidance = families.FAMILIES[name].guidance
    image = pipe(FOX.prompt, generator=generator, num_inference_steps=2, guidance_scale=guidance, **SIZE).images[0]
    own = load(home(name), **SIZE, steps=2)
    assert levels(pictures(own, FOX)[0], np.asarray(image)) > 10
    file, original = folder / "diffusion_pytorch_model.safetensors", tmp_path / "original.safetensors"
    for form in (folder, file, original):
        model = load(home(name), **SIZE, steps=2, decoder=str(form))
        assert levels(pictures(model, FOX)[0], np.asarray(image)) <= 1, form
        assert model.settings.deciding() != own.settings.deciding(), form


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_vae_that_lacks_weights_is_refused(home, tmp_path, form):
    """diffusers would leave what is missing without a value, or at random."""
    folder = tiny.vae(tmp_path / "vae", 0)
    file = folder / "diffusion_pytorch_model.safetensors"
    save_file({name: it for name, it in load_file(file).items() if "mid_block" not in name}, file)
    with pytest.raises(
        Error, match=r"does not load as a AutoencoderKL: (it has no .*mid_block|some of its weights are mi)"
    ):
        load(home("StableDiffusionPipeline"), **SIZE, steps=2, decoder=str(folder if form == "folder" else file))


def test_only_a_vae_that_overflows_in_half_precision_decodes_in_float32(home, tmp_path):
    name, folder = "StableDiffusionXLPipeline", tiny.vae(tmp_path / "vae", 0)
    family, config = families.FAMILIES[name], json.loads((folder / "config.json").read_text())

    def widens(decoder, name=name):
        return loading.decodes_in_float32(Settings(str(home(name)), decoder=str(decoder)), families.FAMILIES[name])

    assert family.upcast
    assert widens("own")
    assert widens(folder)
    assert not widens(tiny.decoder(tmp_path / "tiny"))
    (folder / "config.json").write_text(json.dumps({"_class_name": config["_class_name"]}))
    assert widens(folder)  # which is usual
    (folder / "config.json").write_text(json.dumps(config | {"force_upcast": False}))
    assert not widens(folder)
    assert not widens("own", "StableDiffusionPipeline")


def test_a_decoder_that_is_not_there_or_is_none_is_refused(home, tmp_path):
    def refused(name, decoder):
        with pytest.raises(Error) as caught:
            models.complete(Settings(model=str(home(name)), decoder=decoder))
        return str(caught.value)

    assert refused("SanaPipeline", "tiny").startswith(
        "there is no tiny decoder for this model; there is one for Stable"
    )
    assert refused("StableDiffusionPipeline", "nosuch").startswith(
        "there is no decoder 'nosuch' here; a decoder is own, tiny,"
    )
    assert refused("StableDiffusionPipeline", "no such " * 40).startswith("there is no decoder 'no such ")
    text = home("StableDiffusionPipeline") / "text_encoder"
    assert refused("StableDiffusionPipeline", str(text)).startswith(f"{text} holds no VAE; a decoder is own, tiny")
    assert refused("StableDiffusionPipeline", str(vae := home("SanaPipeline") / "vae")).startswith(
        f"{vae} is not for this model: it is of AutoencoderDC, and the model takes AutoencoderKL or AutoencoderTiny"
    )
    vae = home("StableDiffusion3Pipeline") / "vae"
    wide = json.loads((vae / "config.json").read_text())["latent_channels"]
    whole = tmp_path / "whole.safetensors"
    decodes = {"first_stage_model.decoder.conv_in.weight": torch.zeros(8, wide, 3, 3)}
    save_file(decodes | {"first_stage_model.encoder.conv_in.weight": torch.zeros(1)}, whole)
    for name in (vae, whole):
        assert refused("StableDiffusionPipeline", str(name)) == (
            f"{name} is not for this model: it decodes latents of {wide} channels, and this model's have 4; give another "
            "--decoder"
        )
    save_file(decodes, half := tmp_path / "half.safetensors")
    assert "it is not a whole VAE" in refused("StableDiffusionPipeline", str(half))
    assert "diffusers reads no AutoencoderKLFlux2 from" in refused("Flux2Pipeline", str(half))
    for name, other, told in (
        ("x", {"scaling_factor": 0.13025}, "its scaling_factor is 0.13025, and this model's is 0.18215"),
        ("y", {"shift_factor": 0.1}, "its shift_factor is 0.1, and this model's is 0"),
        ("w", {"block_out_channels": 3}, "is damaged (block_out_channels is no list)"),
        ("z", {"block_out_channels": [4, 4, 8]}, "it makes 4x4 pixels of a latent, and this model's are 2x2"),
    ):
        config = tiny.vae(tmp_path / name, 0) / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | other))
        assert told in refused("StableDiffusionPipeline", str(config.parent))
    save_file({"model.diffusion_model.x": torch.zeros(1)}, whole)
    hub.find_decoder.cache_clear()
    assert refused("StableDiffusionPipeline", str(whole)).startswith(f"{whole} holds no VAE alone; a decoder is own")


# Other denoisers

ALONE = sorted(
    set(BUILDERS)
    - {"PixArtAlphaPipeline", "PixArtSigmaPipeline", "NucleusMoEImagePipeline", "CogView4Pipeline", "OvisImagePipeline"}
    - {"BriaPipeline", "HunyuanDiTPipeline", "CogView3PlusPipeline", "PRXPipeline"}
)  # of which diffusers reads files of a denoiser alone


@pytest.mark.parametrize("name", ALONE)
def test_a_quantised_denoiser_makes_the_pictures_of_what_is_left_of_its_weights(home, tmp_path, name):
    part = families.FAMILIES[name].denoiser
    path = tiny.quantised(home(name), part, tmp_path / "it.gguf")
    packed, left = (
        load(home(name), **SIZE, steps=2, denoiser=path.with_suffix(it)) for it in (".gguf", ".safetensors")
    )
    assert any(parameter.dtype == torch.uint8 for parameter in packed.denoiser.parameters())
    assert levels(pictures(packed, FOX)[0], pictures(left, FOX)[0]) <= 1


@pytest.mark.parametrize("name", ["StableDiffusionXLPipeline", "FluxPipeline"])
def test_another_denoiser_is_the_plain_pipelines_with_that_denoiser(home, tmp_path, name):
    part = families.FAMILIES[name].denoiser
    pipe = diffusers.DiffusionPipeline.from_pretrained(home(name))
    other = getattr(pipe, part)
    with torch.no_grad():
        next(other.parameters()).mul_(1.5)
    other.save_pretrained(tmp_path / "other")
    generator = torch.Generator().manual_seed(FOX.seed)
    guidance = families.FAMILIES[name].guidance
    image = pipe(FOX.prompt, generator=generator, num_inference_steps=2, guidance_scale=guidance, **SIZE).images[0]
    model = load(home(name), **SIZE, steps=2, denoiser=tmp_path / "other")
    assert levels(pictures(model, FOX)[0], np.asarray(image)) <= 1
    own = load(home(name), **SIZE, steps=2)
    assert levels(pictures(own, FOX)[0], np.asarray(image)) > 1
    assert model.settings.deciding() != own.settings.deciding()


def test_loras_stand_beside_quantised_weights(home, tmp_path):
    name = "StableDiffusionPipeline"
    path = tiny.quantised(home(name), "unet", tmp_path / "it.gguf")
    lora = f"{tiny.lora(home(name), tmp_path / 'style.safetensors', 1)}:0.8"
    packed, left = (
        pictures(load(home(name), denoiser=path.with_suffix(it), lora=lora), FOX)[0] for it in (".gguf", ".safetensors")
    )
    assert levels(packed, left) <= 1
    assert levels(packed, pictures(load(home(name), denoiser=path), FOX)[0]) > 1


def test_a_denoiser_that_cannot_be_read_is_refused(home, tmp_path, monkeypatch):
    def refused(name, file):
        with pytest.raises(Error) as caught:
            load(home(name), denoiser=file)
        return str(caught.value)

    quantised = tiny.quantised(home("FluxPipeline"), "transformer", tmp_path / "it.gguf")
    alien = refused("StableDiffusionPipeline", quantised)
    assert alien.startswith(f"{quantised} does not load as a UNet2DConditionModel: ")
    assert refused("PixArtSigmaPipeline", quantised) == (
        "diffusers reads no PixArtTransformer2DModel from a file of its own; leave out --denoiser"
    )
    schnell = tiny.flux(tmp_path / "schnell", guided=False)
    with pytest.raises(Error, match=r"it\.gguf has guidance built in, and the model has not; give what it was made"):
        models.complete(Settings(model=str(schnell), denoiser=str(quantised)))
    (tmp_path / "damaged.gguf").write_bytes(b"<html>not found</html>")
    assert "damaged.gguf does not load as a" in refused("FluxPipeline", tmp_path / "damaged.gguf")
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None)
    assert refused("FluxPipeline", quantised) == "a .gguf file needs a library that is not here; pip install gguf"


# As they are published


def test_stable_diffusion_3_without_its_largest_text_encoder(home, tmp_path):
    pipe = diffusers.StableDiffusion3Pipeline.from_pretrained(
        home("StableDiffusion3Pipeline"), text_encoder_3=None, tokenizer_3=None
    )
    pipe.save_pretrained(tmp_path)
    model = load(tmp_path, **SIZE, steps=2)
    generator = torch.Generator().manual_seed(FOX.seed)
    expected = pipe(FOX.prompt, generator=generator, num_inference_steps=2, guidance_scale=7.0, **SIZE).images[0]
    assert levels(pictures(model, FOX)[0], np.asarray(expected)) <= 1
    heavier = model.encode(dataclasses.replace(FOX, prompt="a (red:1.5) fox"))["prompt_embeds"]
    assert not torch.equal(heavier, model.encode(FOX)["prompt_embeds"])


def test_a_text_encoder_of_diffusers_own_without_some_of_its_weights_is_refused(home, tmp_path):
    folder = shutil.copytree(home("KolorsPipeline"), tmp_path / "model")
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    weights = load_file(file)
    del weights["encoder.layers.0.mlp.dense_h_to_4h.weight"]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(Error, match=r"text_encoder has no encoder\.layers\.0\.mlp\.dense_h_to_4h\.weight$"):
        load(folder)


def test_a_tokenizer_of_sentencepiece_alone_is_read(home, tmp_path):
    """As PixArt and others have it."""
    folder = shutil.copytree(home("PixArtSigmaPipeline"), tmp_path / "model")
    words = json.loads((folder / "text_encoder" / "config.json").read_text("utf-8"))["vocab_size"]
    (tmp_path / "text").write_text("\n".join(Path(__file__).read_text("utf-8").split()))
    for path in (folder / "tokenizer").iterdir():
        path.unlink()
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(folder / "tokenizer" / "spiece"), vocab_size=words, minloglevel=2,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, hard_vocab_limit=False,
    )  # fmt: skip
    (folder / "tokenizer" / "spiece.vocab").unlink()
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"tokenizer_class": "T5Tokenizer", "extra_ids": 0}')
    assert pictures(load(folder, **SIZE, steps=1), FOX)[0].std() > 10


def test_a_pipeline_may_have_the_name_that_it_had_when_it_was_new(home, tmp_path):
    folder = shutil.copytree(home("Lumina2Pipeline"), tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "Lumina2Text2ImgPipeline"}))
    assert type(load(folder, **SIZE).pipe).__name__ == "Lumina2Pipeline"


@pytest.mark.parametrize("name", ["Flux2KleinPipeline", "OvisImagePipeline", "ZImagePipeline"])
def test_a_model_without_its_template_for_chats_says_so(home, tmp_path, name):
    """As where a program has downloaded *.json and *.safetensors of FLUX.2 klein."""
    folder = shutil.copytree(home(name), tmp_path / "model")
    for path in folder.glob("*/chat_template.jinja"):
        path.unlink()
    with pytest.raises(Error, match=r"model lacks chat_template\.jinja beside its tokenizer, which its prompts need$"):
        load(folder, **SIZE).encode(FOX)


def test_a_tokenizer_of_a_list_of_words_is_read(home, tmp_path):
    """BERT's, as Hunyuan-DiT has it."""
    folder = shutil.copytree(home("HunyuanDiTPipeline"), tmp_path / "model")
    words = BertTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    (folder / "tokenizer" / "tokenizer.json").unlink()
    (folder / "tokenizer" / "vocab.txt").write_text("\n".join(sorted(words, key=words.get)), "utf-8")
    assert hub.is_complete(folder / "tokenizer")
    expected = load(home("HunyuanDiTPipeline"), **SIZE).encode(FOX)["prompt_embeds"]
    assert torch.equal(load(folder, **SIZE).encode(FOX)["prompt_embeds"], expected)


@pytest.mark.parametrize(("guided", "tokens"), [(True, 512), (False, 256)])
def test_flux_schnell_reads_half_as_many_tokens(tmp_path, guided, tokens):
    """Black Forest Labs: 'max_sequence_length cannot be more than 256' for schnell."""
    model = load(tiny.flux(tmp_path, guided=guided), **SIZE)
    assert len(model.encode(FOX)["prompt_embeds"]) == tokens


@pytest.mark.parametrize("name", ["FluxPipeline", "QwenImagePipeline"])
def test_where_each_picture_has_as_many_tokens_as_it_needs_they_are_denoised_one_by_one(home, name):
    """So an empty row of a batch would cost as much as a picture, and every length a program of its own."""
    settings = models.complete(Settings(model=str(home(name)), device="cpu", **SIZE))
    alone = name == "QwenImagePipeline"
    assert settings.batch == (1 if alone else 8)
    denoiser = mock.Mock(_repeated_blocks=["Block"])
    loading.compile_parts(denoiser, mock.Mock(), families.FAMILIES[name], "cpu")
    denoiser.compile_repeated_blocks.assert_called_once_with(dynamic=alone)


@pytest.mark.parametrize(
    ("name", "width", "height"), [("StableDiffusion3Pipeline", 2048, 64), ("ZImagePipeline", 144, 272)]
)
def test_a_size_that_the_model_has_no_places_for_is_an_error_of_one_sentence(home, name, width, height):
    model = load(home(name), width=width, height=height, steps=1)
    with pytest.raises(Error, match=rf"^a {name} cannot make this: "):
        pictures(model, FOX)


# Fewer bits


@EVERY
def test_in_half_precision_a_keyframe_is_about_the_plain_pipelines_picture(home, name):
    """Half a level apart on average: bfloat16 has eight bits, and they are rounded elsewhere."""
    steps = 1 if name in STOCHASTIC else 2  # else noise is drawn, and in bfloat16 it is another
    model = load(home(name), **SIZE, steps=steps, dtype="bfloat16")
    family = families.FAMILIES[name]
    pipe = diffusers.DiffusionPipeline.from_pretrained(home(name), dtype=torch.bfloat16)
    call = {"generator": torch.Generator().manual_seed(0), family.guidance_name: family.guidance}
    call["latents"] = model._start(torch.Generator().manual_seed(FOX.seed))[None].to(
        torch.float32 if family.float32 else torch.bfloat16
    )
    if name.startswith("QwenImage"):
        call["negative_prompt"] = " "
    if name.startswith(("PixArt", "HunyuanDiT", "Sana", "PRX")):
        call["use_resolution_binning"] = False
    if name == "SanaSprintPipeline":
        call["intermediate_timesteps"] = None
    expected = opaque(pipe(prompt=FOX.prompt, num_inference_steps=steps, **SIZE, **call).images[0])
    (picture,) = pictures(model, FOX)
    assert np.abs(picture.astype(int) - expected.astype(int)).mean() < 1
    assert picture.std() > 10


def test_a_scheduler_that_the_models_own_settings_do_not_fit_is_refused(home):
    message = "^EDMEulerScheduler does not fit this model: .*; give another --scheduler$"
    with pytest.raises(Error, match=message):
        load(home("StableDiffusionXLPipeline"), **SIZE, scheduler="EDMEulerScheduler")


# Compiled


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Nothing that was compiled before is found."""
    if shutil.which("g++") is None:
        pytest.skip("there is no compiler")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._inductor.config.patch(compile_threads=1):  # others would import torch first
        yield torch._inductor.config.cpp


@pytest.mark.parametrize(
    ("name", "programs"),
    [
        ("PixArtSigmaPipeline", 1 + 1),  # as a whole, and what decodes
        ("ZImagePipeline", 2 + 1),  # two kinds of blocks
        ("Krea2Pipeline", 1),  # what decodes videos is left as it is
    ],
)
def test_a_compiled_model_makes_the_same_pictures_and_is_another_model(
    home, model, compiler, monkeypatch, name, programs
):
    """All but the machine code, which takes a CPU's compiler most of a minute; tests on GPUs have it."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    compiled = load(home(name), **SIZE, steps=2, batch=1)
    compiled = compiled.at(dataclasses.replace(compiled.settings, compile=True))
    assert levels(pictures(compiled, FOX)[0], pictures(model(name), FOX)[0]) <= 1
    made = torch._dynamo.utils.counters["stats"]
    assert made["unique_graphs"] == programs
    latents = compiled.denoise(compiled.noise(3)[None], {k: v[None] for k, v in compiled.encode(FOX).items()})
    assert levels(compiled.decode(latents, exact=True)().numpy()[0], pictures(compiled, FOX)[0]) <= 1
    assert made["unique_graphs"] == programs, "another one for a frame that is seldom made"
    assert compiled.settings.deciding() != model(name).settings.deciding()


@pytest.mark.parametrize("name", ["Lumina2Pipeline", "QwenImage21Pipeline"])
def test_what_would_be_compiled_for_each_length_of_a_prompt_is_not(home, model, name):
    refused = "^models of this family would be compiled anew for each length of a prompt; give --compile off$"
    with pytest.raises(Error, match=refused):
        models.complete(Settings(model=str(home(name)), device="cpu", compile=True))
    usual = model(name)
    with pytest.raises(Error, match=refused):
        usual.at(dataclasses.replace(usual.settings, compile=True))


def test_all_that_a_denoiser_is_given_is_of_one_kind_or_there_would_be_two_programs(home, model):
    usual, kinds = model("CogView4Pipeline"), []

    def given(_, args, more):
        kinds.extend(leaf.is_inference() for leaf in tree_leaves((args, more)) if isinstance(leaf, torch.Tensor))

    hook = usual.denoiser.register_forward_pre_hook(given, with_kwargs=True)
    pictures(usual, FOX)
    hook.remove()
    assert set(kinds) == {True}


@pytest.mark.parametrize("room", [True, False])
def test_what_a_compiler_has_chosen_is_kept_where_it_can_be(tmp_path, monkeypatch, room):
    """Reboots clear the folder of temporary files, and other choices round otherwise."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    if not room:
        (tmp_path / "cache").touch()
    loading.compile_parts(mock.Mock(), mock.Mock(), families.FAMILIES["FluxPipeline"], "cpu")
    kept = os.environ.pop("TORCHINDUCTOR_CACHE_DIR", None)
    assert kept == (str(tmp_path / "cache" / "walk" / "compiled") if room else None)


@pytest.mark.parametrize(
    ("device", "error", "message"),
    [
        ("cuda", None, "nothing can be compiled for an NVIDIA GPU without triton; pip install triton, or give --com"),
        ("cpu", RuntimeError("Dynamo is not supported on Python 3.17"), "the model cannot be compiled here: Dynamo is"),
    ],
)
def test_where_torch_cannot_compile_that_is_said(monkeypatch, device, error, message):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    denoiser = mock.Mock(compile_repeated_blocks=mock.Mock(side_effect=error))
    with pytest.raises(Error) as caught:
        loading.compile_parts(denoiser, mock.Mock(), families.FAMILIES["FluxPipeline"], device)
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith("give --compile off")


def test_where_nothing_can_be_compiled_that_is_said(home, compiler, monkeypatch):
    monkeypatch.setattr(compiler, "cxx", ("no-such-compiler",))
    compiled = load(home("Krea2Pipeline"), **SIZE, steps=1, batch=1, compile=True)
    with pytest.raises(Error, match=r"^the model cannot be compiled here: .*; give --compile off$"):
        pictures(compiled, FOX)
