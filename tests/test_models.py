"""Models: a keyframe's frame is the pipeline's own picture, and whatever is wrong with a model is said."""

import contextlib
import dataclasses
import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import diffusers
import numpy as np
import pytest
import tiny
import torch
from oracle import assert_the_same, levels, load, pictures, plain
from safetensors.torch import load_file, save_file

from walk import Error, Keyframe, Settings, Walk, cuda_graphs, doctor, hub, loading, machine, models, offload, reading
from walk.render import render

FOX = Keyframe("a red fox", seed=3)
OWL, BOATS = Keyframe("an owl", 5), Keyframe("two boats", 9, negative_prompt="rain")


@pytest.fixture(autouse=True)
def _forget_what_was_found():
    hub.find_model.cache_clear()
    hub.find_lora.cache_clear()


@pytest.fixture(scope="module")
def tiny_folder(whole_folder):
    return whole_folder


@pytest.fixture
def folder(tiny_folder, tmp_path):
    """A copy of the tiny model, to be damaged."""
    return shutil.copytree(tiny_folder, tmp_path / "model")


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# A keyframe's picture


@pytest.mark.parametrize(
    ("prediction", "scheduler", "guidance", "negative"),
    [
        ("epsilon", "PNDMScheduler", 7.5, ""),
        ("epsilon", "DDIMScheduler", 7.5, "blurry"),
        ("v_prediction", "DDIMScheduler", 7.5, "blurry"),
        ("epsilon", "PNDMScheduler", 1.0, "blurry"),
        ("epsilon", "PNDMScheduler", 0.0, ""),
    ],
)
def test_a_keyframe_is_the_plain_pipelines_picture(tmp_path, prediction, scheduler, guidance, negative):
    folder = tiny.stable_diffusion(tmp_path, prediction=prediction, scheduler=scheduler)
    keyframe = dataclasses.replace(FOX, negative_prompt=negative)
    expected = plain(folder, keyframe, num_inference_steps=4, guidance_scale=guidance)
    assert_the_same(pictures(load(folder, guidance=guidance), keyframe)[0], expected)


@pytest.mark.parametrize("keyframe", [Keyframe("a red apple", 1), Keyframe("a green frog at night", 2, "trees")])
def test_a_keyframe_of_the_built_in_model_is_the_plain_pipelines_picture(keyframe):
    expected = plain(hub.find_model("toybox"), keyframe, num_inference_steps=3, guidance_scale=3.0)
    assert_the_same(pictures(load("toybox", steps=3, guidance=3.0), keyframe)[0], expected)


def test_a_keyframe_of_another_size_is_the_plain_pipelines_picture(tiny_folder):
    expected = plain(tiny_folder, FOX, num_inference_steps=4, width=48, height=24)
    picture = pictures(load(tiny_folder, width=48, height=24), FOX)[0]
    assert picture.shape == (24, 48, 3)
    assert_the_same(picture, expected)


@pytest.fixture(scope="module")
def with_its_own_scheduler(tiny_folder):
    """The plain pipeline's picture."""
    return plain(tiny_folder, FOX, num_inference_steps=3, guidance_scale=3.0)


@pytest.mark.parametrize(
    ("name", "scheduler", "options"),
    [
        ("dpmsolvermultistep", "DPMSolverMultistepScheduler", {}),
        ("DPM++ 2M Karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
        ("dpmpp_2m_sde", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        ("Euler a", "EulerAncestralDiscreteScheduler", {}),
        ("DPM2 a Karras", "KDPM2AncestralDiscreteScheduler", {"use_karras_sigmas": True}),
        ("LCM", "LCMScheduler", {}),
        ("TCDScheduler", "TCDScheduler", {}),
        (":timestep_spacing=trailing", "PNDMScheduler", {"timestep_spacing": "trailing"}),
    ],
)
def test_a_keyframe_with_another_scheduler_is_the_plain_pipelines_picture(
    tiny_folder, with_its_own_scheduler, name, scheduler, options
):
    expected = plain(tiny_folder, FOX, scheduler, options, num_inference_steps=3, guidance_scale=3.0)
    assert levels(expected, with_its_own_scheduler) > 1
    model = load(tiny_folder, steps=3, guidance=3.0, scheduler=name)
    assert_the_same(pictures(model, FOX)[0], expected)
    assert_the_same(pictures(models.load(model.settings), FOX)[0], expected)  # as a recipe would name it


def test_guidance_that_a_model_was_not_made_for_is_noted():
    for guidance, notes in (
        (1.0, []),
        (3.0, ["the model was made for no guidance: with --guidance 3 pictures may be garish"]),
    ):
        assert models.unusual(models.complete(Settings(guidance=guidance))) == notes


def test_steps_too_few_to_begin_with_noise_are_noted(tiny_folder):
    settings = Settings(model=str(tiny_folder))
    notes = {steps: models.unusual(dataclasses.replace(settings, steps=steps)) for steps in (1, 4, 5)}
    assert notes[1] == [
        "with so few --steps as 1, denoising begins at 1 of 1000, and much noise stays; give "
        "--scheduler :timestep_spacing=trailing"
    ]
    assert "begins at 751 of 1000" in notes[4][0]
    assert not notes[5]
    assert not models.unusual(dataclasses.replace(settings, steps=1, scheduler=":timestep_spacing=trailing"))


def test_prompt_seed_negative_prompt_guidance_and_steps_are_all_seen(tiny_folder):
    model = load(tiny_folder)
    (picture,) = pictures(model, FOX)
    for change in ({"prompt": "a blue fox"}, {"seed": 4}, {"negative_prompt": "blurry"}):
        assert levels(pictures(model, dataclasses.replace(FOX, **change))[0], picture) > 1, change
    for change in ({"guidance": 1.0}, {"steps": 5}):
        assert levels(pictures(load(tiny_folder, **change), FOX)[0], picture) > 1, change


@pytest.mark.parametrize(
    "settings",
    [{}, {"batch": 1}, {"dtype": "bfloat16"}, pytest.param({"device": "cuda"}, marks=pytest.mark.gpu)],
    ids=str,
)
def test_one_seed_is_one_noise_whatever_the_settings(tiny_folder, settings):
    torch.rand(1)  # the global state of randomness is neither used ...
    state = torch.get_rng_state()
    noise = models.load(Settings(model=str(tiny_folder), **settings)).noise(7)
    assert torch.equal(noise, torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(7)))
    assert torch.equal(torch.get_rng_state(), state)  # ... nor touched


@pytest.mark.parametrize(
    "scheduler", ["EulerAncestralDiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DDPMScheduler"]
)
def test_a_stochastic_schedulers_picture_does_not_depend_on_its_batch_mates(tiny_folder, scheduler):
    model = load(tiny_folder, scheduler=scheduler)
    first = pictures(model, FOX, OWL, BOATS)[0]
    np.testing.assert_array_equal(pictures(model, FOX, BOATS, FOX)[0], first)
    # Another row's sums are ordered otherwise: the last bits differ, but it is given the same noise.
    assert levels(pictures(model, BOATS, OWL, FOX)[2], first) <= 1


def test_on_a_cpu_pictures_are_decoded_a_few_at_a_time_in_parts_of_one_size(tiny_folder, monkeypatch):
    model = load(tiny_folder)
    whole = {count: pictures(model, *[FOX, OWL, BOATS, FOX][:count]) for count in (3, 4)}
    monkeypatch.setattr(models, "DECODED_PIXELS", 2 * 32 * 32)
    decode, sizes = model.pipe.vae.decode, []
    monkeypatch.setattr(model.pipe.vae, "decode", lambda latents: sizes.append(len(latents)) or decode(latents))
    for count, expected in whole.items():
        assert levels(pictures(model, *[FOX, OWL, BOATS, FOX][:count]), expected) <= 1
    assert sizes == [1, 1, 1, 2, 2]


def test_a_stochastic_scheduler_keeps_its_noise_from_frame_to_frame_so_nothing_flickers(tiny_folder):
    model = load(tiny_folder, scheduler="EulerAncestralDiscreteScheduler")
    conditioning = {name: torch.stack([c, c * 1.001]) for name, c in model.encode(FOX).items()}
    now, then = model.decode(model.denoise(torch.stack([model.noise(3)] * 2), conditioning))().numpy()
    assert levels(now, then) <= 3


def test_with_other_steps_a_stochastic_scheduler_has_the_noise_of_a_model_loaded_for_them(tiny_folder):
    few, many = (load(tiny_folder, scheduler="EulerAncestralDiscreteScheduler", steps=steps) for steps in (2, 5))
    assert torch.equal(few.at(many.settings).noise(7), many.noise(7))
    assert torch.equal(many.at(few.settings).noise(7), few.noise(7))


def test_not_a_number_becomes_black_in_its_own_picture_only(tiny_folder):
    model = load(tiny_folder)
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = model.decode(latents)()
    latents[1, 2, 3, 4] = float("nan")
    assert torch.equal(model.decode(latents)()[0], whole[0])
    assert not model.decode(latents)()[1].any()


def test_a_picture_whose_decoding_overflows_is_decoded_again_in_float32(tiny_folder, monkeypatch):
    model = load(tiny_folder, dtype="bfloat16", batch=3)
    vae, decode = model.pipe.vae, model.pipe.vae.decode

    def overflowing(latents):
        decoded = decode(latents)
        if vae.dtype != torch.float32:
            decoded.sample[1] = float("inf")
        return decoded

    walk = Walk.through([FOX, OWL], frames=3)
    whole = dict(render(model, walk, range(3)))
    monkeypatch.setattr(vae, "decode", overflowing)
    again = dict(render(model, walk, range(3)))
    assert vae.dtype == torch.bfloat16
    for index in (0, 2):
        np.testing.assert_array_equal(again[index], whole[index])
    assert 0 < levels(again[1], whole[1]) < 16  # bfloat16 rounds to about that


# Where the parts are


def test_text_encoders_leave_the_gpu_once_the_prompts_are_read(tiny_folder, monkeypatch):
    model = load(tiny_folder)
    moves = []
    monkeypatch.setattr(model.pipe.text_encoder, "to", moves.append)
    there = "cpu"
    monkeypatch.setattr(type(model.pipe.text_encoder), "device", property(lambda _: torch.device(there)))
    model.encode(FOX)
    model.denoise(model.noise(3)[None], {name: tensor[None] for name, tensor in model.encode(FOX).items()})
    assert moves == []  # on the CPU, nothing moves

    model.settings, model.reader.device = dataclasses.replace(model.settings, device="cuda:1"), "cuda:1"
    monkeypatch.setattr(model.reader, "_read", lambda keyframe, guided: {})
    monkeypatch.setattr(model.textless_pipe, "to", lambda device: moves.append(f"the others to {device}"))
    monkeypatch.setattr(machine, "reset_peak", lambda device: None)
    model.encode(OWL)
    assert moves == ["cuda:1"]
    there = "cuda:1"
    model.encode(BOATS)
    assert moves == ["cuda:1"]
    with pytest.raises((RuntimeError, AssertionError), match=r"CUDA|cuda|NVIDIA"):
        model.denoise(model.noise(3)[None], {})
    assert moves == ["cuda:1", "cpu", "the others to cuda:1"], "there may be no room for all"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("cpu", r"cpu has too little memory for the text encoders of .*; try another --model$"),
        ("encode", r"cuda has too little memory for the text encoders of .*; try --device cpu or another --model$"),
        (
            "denoise",
            r"cuda has too little memory for .*; try --low-memory, a quantised --denoiser \(.gguf\), --device cpu or another --model$",
        ),
    ],
)
def test_a_model_that_finds_no_room_says_what_to_try(tiny_folder, monkeypatch, where, message):
    model = load(tiny_folder)
    full = mock.Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
    conditioning = {name: tensor[None] for name, tensor in model.encode(FOX).items()}
    monkeypatch.setattr(model.pipe.text_encoder, "forward" if where == "cpu" else "to", full)
    if where != "cpu":
        model.settings, model.reader.device = dataclasses.replace(model.settings, device="cuda"), "cuda"
    monkeypatch.setattr(model.textless_pipe, "to", full)
    with pytest.raises(Error, match=message):
        model.denoise(model.noise(3)[None], conditioning) if where == "denoise" else model.encode(OWL)


@pytest.mark.parametrize(("part", "method"), [("unet", "forward"), ("vae", "decode")])
def test_what_finds_no_room_beside_recordings_is_done_without_them(tiny_folder, monkeypatch, part, method):
    model = load(tiny_folder, steps=2)
    conditioning = {name: tensor[None] for name, tensor in model.encode(FOX).items()}

    def picture():
        return model.decode(model.denoise(model.noise(3)[None], conditioning))()

    usual = picture()
    owner = getattr(model.pipe, part)
    works = getattr(owner, method)
    model.recorder = cuda_graphs.Recorder(torch.nn.Linear(1, 1), lambda: True)
    model.recorder.recordings["some"] = object()

    def full(*args, **more):
        if model.recorder.recordings:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return works(*args, **more)

    monkeypatch.setattr(owner, method, full)
    assert torch.equal(picture(), usual)
    assert not model.recorder.able
    monkeypatch.setattr(owner, method, mock.Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory")))
    with pytest.raises(torch.OutOfMemoryError):
        picture()


def test_with_smaller_batches_recording_begins_anew(tiny_folder, monkeypatch):
    """By what they take, not by what the larger ones took, which found no room."""
    model, forgotten = load(tiny_folder), []
    monkeypatch.setattr(machine, "reset_peak", forgotten.append)
    model.recorder = cuda_graphs.Recorder(torch.nn.Linear(1, 1), lambda: True)
    model.recorder.stop()
    assert not model.at(dataclasses.replace(model.settings, steps=9)).recorder.able
    assert model.at(dataclasses.replace(model.settings, batch=1)).recorder.able
    assert forgotten == ["cpu"]


def test_a_vae_is_what_it_was_after_it_failed_in_float32(tiny_folder, monkeypatch):
    model = load(tiny_folder, dtype="bfloat16", steps=1)
    latents = model.denoise(model.noise(3)[None], {name: tensor[None] for name, tensor in model.encode(FOX).items()})
    usual = model.decode(latents)()
    with monkeypatch.context() as patched:
        patched.setattr(model.pipe.vae, "decode", mock.Mock(side_effect=RuntimeError("out of memory")))
        with pytest.raises(RuntimeError):
            model.decode(latents, exact=True)
    assert torch.equal(model.decode(latents)(), usual)


@pytest.mark.parametrize(("short", "moved"), [(0, ["cuda:1"]), (1, [])], ids=["fit", "do not fit"])
def test_text_encoders_that_a_gpu_has_no_room_for_read_on_the_cpu(tiny_folder, monkeypatch, short, moved):
    usual = load(tiny_folder)
    size = sum(tensor.nbytes for tensor in usual.pipe.text_encoder.parameters())
    gpu = SimpleNamespace(total_memory=size + machine.SPARE - short)
    monkeypatch.setattr(machine, "_devices", lambda: ["cuda:1", "cpu"])
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: gpu)
    model = models.load(Settings(model=str(tiny_folder), device="cuda:1", dtype="float32"))
    moves = []
    monkeypatch.setattr(model.pipe.text_encoder, "to", moves.append)
    if not short:
        monkeypatch.setattr(model.reader, "_read", lambda keyframe, guided: {})
    for name, tensor in model.encode(FOX).items():
        assert torch.equal(tensor, usual.encode(FOX)[name])
    assert moves == moved


def test_a_part_that_is_larger_than_a_gpu_passes_through_it_block_by_block():
    part, together = torch.nn.Module(), []
    part.first = torch.nn.Linear(4, 4)
    part.blocks, part.more = (torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(3)) for _ in range(2))
    every = [*part.blocks, *part.more]
    before = [(it, it.device) for it in part.parameters()]
    x = torch.zeros(1, 4, device="meta")
    with offload.block_by_block(part, "meta"):
        for block in every + every:
            x = part.first(block(x))
            together.append(sum(other.weight.is_meta for other in every))
    assert together == [1] * 12, "when one has got its work, it goes, and the next is brought"
    with contextlib.suppress(TypeError), offload.block_by_block(part, "meta"):
        every[0](None)
    assert all(one is other and one.device == device for other, (one, device) in zip(part.parameters(), before))
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in every)


def test_a_part_that_was_lent_is_back_without_a_copy():
    part = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    before = [*part.parameters(), *part.buffers()]
    with offload.on_gpu(part, "meta"):
        assert {tensor.device.type for tensor in (*part.parameters(), *part.buffers())} == {"meta"}
    assert len(before) == 7
    assert all(one is other for one, other in zip(before, [*part.parameters(), *part.buffers()]))


def test_a_negative_prompt_is_kept_once(tiny_folder):
    model = load(tiny_folder)
    fox, owl = (model.encode(keyframe)["negative_prompt_embeds"] for keyframe in (FOX, OWL))
    assert fox is owl
    assert fox is not model.encode(dataclasses.replace(FOX, negative_prompt="fog"))["negative_prompt_embeds"]


def test_a_prompt_is_read_once_whatever_the_steps(tiny_folder, monkeypatch):
    model = load(tiny_folder)
    read = []
    forward = model.pipe.text_encoder.forward
    monkeypatch.setattr(model.pipe.text_encoder, "forward", lambda ids, **_: read.append(len(ids)) or forward(ids, **_))
    with_guidance = model.encode(FOX)
    assert model.at(dataclasses.replace(model.settings, steps=9)).encode(FOX).keys() == with_guidance.keys()
    assert len(read) == 2  # the prompt, and the negative one
    model.encode(dataclasses.replace(FOX, negative_prompt="fog"))
    assert model.at(dataclasses.replace(model.settings, guidance=1.0)).encode(FOX).keys() == {"prompt_embeds"}
    assert len(read) == 2 + 2 + 1


def test_prompts_read_before_the_first_picture_are_kept_and_the_oldest_go_when_others_are_read(
    tiny_folder, monkeypatch
):
    model, read = load(tiny_folder, steps=1), []
    monkeypatch.setattr(
        model.reader, "_encode_prompt", lambda *a, encode=model.reader._encode_prompt: read.append(a[0]) or encode(*a)
    )

    def read_of(*keyframes):
        read.clear()
        for keyframe in keyframes:
            model.encode(keyframe)
        return read[:]

    fox = model.encode(FOX)
    # Two prompts, and the negative one, which they have in common.
    monkeypatch.setattr(reading, "CACHE_BYTES", 2 * fox["prompt_embeds"].nbytes + fox["negative_prompt_embeds"].nbytes)
    boats = dataclasses.replace(BOATS, negative_prompt="")
    film = (FOX, OWL, boats)
    assert read_of(*film) == [OWL.prompt, boats.prompt]
    model.denoise(model.noise(3)[None], {name: tensor[None] for name, tensor in fox.items()})
    assert read_of(*film) == [], "the text encoders have left the GPU, which may have no room for them"
    other = dataclasses.replace(FOX, prompt="a lake")
    assert read_of(other, OWL, boats) == [other.prompt]
    assert read_of(FOX) == [FOX.prompt]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": "tinysd"}, "model 'tinysd'"),
        ({"width": 64}, "width 64"),
        ({"device": "cuda"}, "device 'cuda'"),
        ({"dtype": "bfloat16"}, "dtype 'bfloat16'"),
        ({"scheduler": "DDIMScheduler"}, "scheduler 'DDIMScheduler'"),
        ({"weights": "another"}, "weights 'another'"),
        ({"steps": None}, "steps None"),
    ],
    ids=str,
)
def test_a_loaded_model_does_not_pass_for_another(tiny_folder, settings, named):
    model = load(tiny_folder)
    name, value = named.split(" ", 1)
    with pytest.raises(Error) as caught:
        model.at(dataclasses.replace(model.settings, **settings))
    assert str(caught.value) == (
        f"the model is loaded with {name} {getattr(model.settings, name)!r}, not {value}; only steps, guidance, batch "
        "can be changed, as in dataclasses.replace(model.settings, steps=2)"
    )


def test_settings_that_leave_something_to_the_model_are_not_those_of_a_loaded_one(tiny_folder):
    with pytest.raises(Error, match=r"the model is loaded with .*replace\(model.settings, steps=2\)$"):
        load(tiny_folder).at(Settings(model=str(tiny_folder), steps=2))


# What complete() fills in


def test_the_built_in_models_own_settings_are_filled_in():
    done = models.complete(Settings(device="cpu"))
    assert (done.width, done.height, done.steps, done.guidance, done.batch) == (128, 128, 4, 1.0, 8)
    assert (done.scheduler, done.device, done.dtype) == ("DDIMScheduler", "cpu", "float32")
    assert {name.split()[0] for name in done.software} == {"torch", "diffusers", "transformers"}


def test_another_models_own_settings_are_filled_in(tiny_folder):
    done = models.complete(Settings(model=str(tiny_folder), device="cpu"))
    assert (done.width, done.height, done.steps, done.guidance) == (32, 32, 30, 7.5)
    assert (done.scheduler, done.dtype) == ("PNDMScheduler", "float32")
    assert models.complete(done) == done
    assert models.load(done).settings == done
    assert models.load(dataclasses.replace(done, steps=None)).settings == done


def test_what_was_asked_for_is_kept(tiny_folder):
    asked = {"width": 64, "height": 40, "steps": 1, "guidance": 0.0, "dtype": "bfloat16", "batch": 3}
    done = models.complete(Settings(model=str(tiny_folder), device="cpu", scheduler="ddim", **asked))
    assert {name: getattr(done, name) for name in asked} == asked
    assert done.scheduler == "DDIMScheduler"


@pytest.mark.parametrize(("side", "batch"), [(64, 8), (512, 4), (768, 1), (1024, 1), (2048, 1)])
def test_the_batch_follows_from_the_size_of_a_picture(tiny_folder, side, batch):
    assert models.complete(Settings(model=str(tiny_folder), width=side, height=side)).batch == batch


@pytest.mark.parametrize(
    ("gigabytes", "side", "more", "batch"),
    [
        (8, 512, {}, 4),
        (8, 512, {"guidance": 1.0}, 4),
        (24, 512, {}, 8),
        (24, 1024, {}, 2),
        (24, 1024, {"guidance": 1.0}, 4),
        (80, 1024, {}, 4),
        (80, 1024, {"guidance": 1.0}, 8),
        (80, 2048, {}, 1),
        (80, 1024, {"low_memory": True}, 4),
        (80, 1024, {"batch": 3}, 3),
    ],
    ids=str,
)
def test_the_batch_on_a_gpu_follows_from_its_memory_too(tiny_folder, monkeypatch, gigabytes, side, more, batch):
    monkeypatch.setattr(machine, "_devices", lambda: ["cuda:0", "cpu"])
    gpu = SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: gpu)
    asked = Settings(model=str(tiny_folder), width=side, height=side, device="cuda", **more)
    assert models.complete(asked).batch == batch


@pytest.mark.parametrize(("gigabytes", "side", "batch"), [(8, 512, 4), (16, 512, 9), (24, 512, 16), (34, 1024, 7)])
def test_what_decodes_in_float32_has_smaller_batches(monkeypatch, gigabytes, side, batch):
    gpu = SimpleNamespace(total_memory=gigabytes * 10**9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: gpu)
    assert machine.batch(Settings(width=side, height=side, device="cuda"), guided=False, wide=True) == batch


@pytest.mark.parametrize("full", ["as it comes", "as it works"])
def test_a_denoiser_that_finds_no_room_as_a_whole_passes_block_by_block(tiny_folder, monkeypatch, full):
    model = load(tiny_folder)
    noise, conditioning = model.noise(1)[None], {name: it[None] for name, it in model.encode(FOX).items()}
    usual = model.denoise(noise, conditioning)
    model.settings = dataclasses.replace(model.settings, low_memory=True)
    ways, bring = [], {True: offload.block_by_block, False: offload.on_gpu}

    def brought(passes):
        @contextlib.contextmanager
        def way(part, device):
            ways.append(passes)
            with bring[passes](part, device), contextlib.ExitStack() as hooks:
                if not passes and full == "as it comes":
                    raise torch.OutOfMemoryError("CUDA out of memory")
                if not passes:
                    fails = mock.Mock(side_effect=torch.OutOfMemoryError("CUDA out of memory"))
                    hooks.callback(part.register_forward_pre_hook(fails).remove)
                yield

        return way

    monkeypatch.setattr(offload, "block_by_block", brought(True))
    monkeypatch.setattr(offload, "on_gpu", brought(False))
    for _ in range(2):
        assert torch.equal(model.denoise(noise, conditioning), usual)
    assert ways == [False, True, True]


def test_a_model_is_loaded_by_its_name_alone_and_on_torchs_device(tiny_folder):
    named = models.load(str(tiny_folder)).settings
    assert named == models.load(Settings(str(tiny_folder))).settings
    assert models.complete(Settings(str(tiny_folder), device=torch.device("cpu"))).device == "cpu"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"device": 0}, "device '0' is unknown; it is auto, cpu, cuda, cuda:1 or mps"),
        ({"scheduler": 3}, "scheduler 3 is not text"),
        ({"lora": ["a", "b"]}, "lora ['a', 'b'] is not text; of several, put commas between"),
    ],
)
def test_settings_of_another_kind_are_refused(settings, message):
    with pytest.raises(Error) as caught:
        Settings(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"width": 33}, "width 33 is not possible with this model; nearest are 32 and 40 (multiples of 8)"),
        ({"scheduler": "Magic"}, "scheduler 'Magic' is unknown or does not fit this model; these fit: Euler a, "),
        ({"device": "cuda:99"}, "there is no device cuda:99 here; there is "),
    ],
)
def test_what_the_model_or_the_machine_cannot_do_is_refused(tiny_folder, settings, message):
    with pytest.raises(Error) as caught:
        models.complete(Settings(model=str(tiny_folder), **settings))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("capability", "kinds", "usable"),
    [
        ((8, 6), "sm_75 sm_80 sm_90", True),  # as an RTX 30 does what an A100 does
        ((8, 0), "sm_75 sm_86", False),
        ((6, 0), "sm_75 sm_80 sm_90 compute_90", False),
        ((12, 0), "sm_80 sm_90a compute_90", True),  # it compiles that
        ((12, 0), "sm_80 sm_90a", False),
        ((6, 0), "", True),  # nothing is known
    ],
)
def test_a_gpu_that_torch_was_not_built_for_is_not_used_and_why_is_said(monkeypatch, capability, kinds, usable):
    gpu = SimpleNamespace(name="Tesla P100", major=capability[0], minor=capability[1])
    monkeypatch.setattr(machine, "_gpus", lambda: ["cuda:0"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_arch_list", kinds.split)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: gpu)
    assert machine.device("auto") == ("cuda" if usable else "cpu")
    if usable:
        assert machine.device("cuda") == "cuda"
        assert machine.unusable() == {}
        return
    with pytest.raises(Error, match=r"was not built for cuda:0, a Tesla P100 \(sm_\d+, not sm_.*\); install another"):
        machine.device("cuda")
    assert "install another build of torch (pytorch.org)" in [finding.remedy for finding in doctor._devices()]


def test_where_the_first_gpu_is_of_no_use_another_is_chosen(monkeypatch):
    monkeypatch.setattr(machine, "_gpus", lambda: ["cuda:0", "cuda:1"])
    monkeypatch.setattr(machine, "_lacks_kernels", lambda name: "it is too old" if name == "cuda:0" else "")
    assert machine.device("auto") == "cuda:1"
    monkeypatch.setattr(machine, "_lacks_kernels", lambda name: "")
    assert machine.device("auto") == "cuda"


@pytest.mark.parametrize(
    ("platform", "free", "share"), [("win32", 5.5e9, [(0.75, 1)]), ("win32", -1e9, [(0.0, 1)]), ("linux", 5.5e9, [])]
)
def test_on_windows_a_gpus_memory_is_not_made_up_for_with_the_computers(monkeypatch, platform, free, share):
    kept = []
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 8e9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1e9)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda *share: kept.append(share))
    for name in ("benchmark", "deterministic"):  # as it was, afterwards
        monkeypatch.setattr(torch.backends.cudnn, name, getattr(torch.backends.cudnn, name))
    machine.make_deterministic("cuda:1")
    machine.make_deterministic("cpu")
    assert kept == share


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize(
    ("build", "there", "before"), [(tiny.flux, "bfloat16", "float32"), (tiny.stable_diffusion, "float16", "float16")]
)
def test_on_a_gpu_that_has_no_bfloat16_models_trained_in_it_are_float32(
    tmp_path, monkeypatch, build, there, before, knows
):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", lambda name: asked.append(name) or contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda name: SimpleNamespace(total_memory=16 * 10**9))
    monkeypatch.setattr(torch.cuda, "get_arch_list", list)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or knows)
    settings = Settings(model=str(build(tmp_path)), device="cuda:1")
    assert models.complete(settings).dtype == (there if knows else before)
    assert asked == ["cuda:1"] * (there == "bfloat16")
    chosen = dataclasses.replace(settings, dtype="float16")
    assert models.complete(chosen).dtype == "float16"


def test_a_moved_and_renamed_model_is_the_same_model(folder):
    before = models.complete(Settings(model=str(folder)))
    moved = folder.parent / "elsewhere" / "renamed"
    moved.parent.mkdir()
    folder.rename(moved)
    assert models.complete(Settings(model=str(moved))).deciding() == before.deciding()


def test_one_other_byte_of_the_weights_or_another_setting_is_another_model(folder):
    seen = {models.complete(Settings(model=str(folder))).weights}
    for path in folder.rglob("*.safetensors"):
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        seen.add(models.complete(Settings(model=str(folder))).weights)
    edit(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    seen.add(models.complete(Settings(model=str(folder))).weights)
    assert len(seen) == 1 + 3 + 1


def test_a_pipeline_in_memory_is_a_model_of_its_own_once_it_is_saved(tiny_folder, tmp_path):
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    with torch.no_grad():
        pipe.unet.conv_out.weight *= -1
    pipe.save_pretrained(tmp_path / "mine")
    generator = torch.Generator().manual_seed(FOX.seed)
    expected = np.asarray(pipe(FOX.prompt, generator=generator, num_inference_steps=4).images[0])
    mine, before = load(tmp_path / "mine"), load(tiny_folder)
    assert_the_same(pictures(mine, FOX)[0], expected)
    assert levels(pictures(before, FOX)[0], expected) > 1
    assert mine.settings.weights != before.settings.weights


# LoRAs


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What these builders make, made once; not to be changed."""
    return functools.cache(lambda build: build(tmp_path_factory.mktemp("built")))


def test_loras_are_the_plain_pipelines_with_their_weights(tiny_folder, tmp_path):
    pytest.importorskip("peft")
    one, other = (tiny.lora(tiny_folder, tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2))
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    for name, path in (("one", one), ("other", other)):
        pipe.load_lora_weights(tmp_path, weight_name=path.name, adapter_name=name)
    pipe.set_adapters(["one", "other"], [0.5, -1.25])
    generator = torch.Generator().manual_seed(FOX.seed)
    expected = np.asarray(pipe(FOX.prompt, generator=generator, num_inference_steps=4).images[0])

    (picture,) = pictures(load(tiny_folder, lora=f"{one}:0.5,{other}:-1.25"), FOX)
    assert levels(picture, expected) <= 1
    for different in ("", str(one), f"{one}:0.5", f"{one}:0.5,{other}:1.25"):
        assert levels(pictures(load(tiny_folder, lora=different), FOX)[0], picture) > 1


WIDE = {"width": 64, "height": 32}


@pytest.fixture(scope="module")
def without_lora():
    """The picture of a folder's model, made once."""
    return functools.cache(lambda folder: pictures(load(folder, steps=2, **WIDE), FOX)[0])


@pytest.mark.parametrize(
    ("build", "parts", "norms"),
    [
        (tiny.stable_diffusion, ("text_encoder",), False),
        (tiny.stable_diffusion, ("unet", "text_encoder"), False),
        (tiny.stable_diffusion_xl, ("text_encoder",), False),
        (tiny.stable_diffusion_xl, ("text_encoder_2",), False),
        (tiny.stable_diffusion_3, ("transformer", "text_encoder", "text_encoder_2"), False),
        (tiny.flux, ("text_encoder",), False),
        (tiny.flux, ("transformer", "text_encoder"), False),
        (tiny.flux, ("transformer",), True),
    ],
)
def test_a_lora_changes_every_part_of_the_model_that_it_is_for(tmp_path, built, without_lora, build, parts, norms):
    pytest.importorskip("peft")
    folder = built(build)
    whole = tiny.lora(folder, tmp_path / "whole.safetensors", 1, parts, norms)
    model = load(folder, lora=f"{whole}:0.7", steps=2, **WIDE)
    (picture,) = pictures(model, FOX)

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.load_lora_weights(tmp_path, weight_name=whole.name, adapter_name="it")
    pipe.set_adapters("it", 0.7)
    call = {"num_inference_steps": 2, "guidance_scale": model.settings.guidance, **WIDE}
    expected = pipe(FOX.prompt, generator=torch.Generator().manual_seed(FOX.seed), **call).images[0]
    assert levels(picture, np.asarray(expected)) <= 1

    assert levels(without_lora(folder), picture) > 1
    if len(parts) > 1 or norms:  # of which one could be left out
        some = f"{tiny.lora(folder, tmp_path / 'some.safetensors', 1, parts[:1])}:0.7"
        assert levels(pictures(load(folder, lora=some, steps=2, **WIDE), FOX)[0], picture) > 1


def test_a_lora_of_which_a_part_has_no_place_in_the_model_is_said_to_be(tiny_folder, tmp_path):
    pytest.importorskip("peft")
    whole = tiny.lora(tiny_folder, tmp_path / "whole.safetensors", 1)
    assert load(tiny_folder, lora=whole).remarks == []
    weights = load_file(whole)
    first = min(weights).rpartition(".lora_")[0]
    moved = {name.replace(first, "unet.nowhere"): tensor for name, tensor in weights.items()}
    save_file(moved, tmp_path / "partial.safetensors")
    layers = len(weights) // 2
    assert load(tiny_folder, lora=tmp_path / "partial.safetensors").remarks == [
        f"of the LoRA partial.safetensors, 1 of {layers} layers have no place in the model"
    ]


def test_a_lora_of_which_diffusers_leaves_out_a_part_says_so(tiny_folder, tmp_path):
    """A DoRA, as LyCORIS and kohya's scripts save it."""
    pytest.importorskip("peft")
    name = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    size = diffusers.UNet2DConditionModel.from_pretrained(tiny_folder / "unet").config.block_out_channels[1]
    weights = {"lora_down.weight": torch.ones(2, size), "lora_up.weight": torch.ones(size, 2)}
    weights |= {"alpha": torch.tensor(2.0), "dora_scale": torch.ones(size, 1)}
    save_file({f"{name}.{part}": tensor for part, tensor in weights.items()}, tmp_path / "dora.safetensors")
    assert load(tiny_folder, lora=tmp_path / "dora.safetensors").remarks == [
        "the LoRA dora.safetensors is a DoRA, of which diffusers leaves out a part; pictures will differ"
    ]


def test_a_lora_that_cannot_be_added_to_the_model_says_why(tiny_folder, tmp_path):
    pytest.importorskip("peft")
    biased = tiny.lora(tiny_folder, tmp_path / "biased.safetensors", 1)
    weights = load_file(biased)
    biases = {f"{name[:-6]}bias": tensor[:, 0].clone() for name, tensor in weights.items() if "lora_B" in name}
    save_file(weights | biases, biased)
    with pytest.raises(
        Error, match=r"^--lora .*biased\.safetensors cannot be added to the model's weights: Impossible"
    ):
        load(tiny_folder, lora=biased)


def test_a_lora_that_goes_by_another_picture_is_refused(tmp_path):
    """As Flux's 'Control LoRAs', for which diffusers widens the model."""
    pytest.importorskip("peft")
    folder = tiny.flux(tmp_path / "model")
    weights = {"A.weight": torch.ones(2, 2 * 16), "B.weight": torch.ones(32, 2)}
    weights = {f"transformer.x_embedder.lora_{name}": tensor for name, tensor in weights.items()}
    save_file(weights, tmp_path / "depth.safetensors")
    with pytest.raises(Error, match=r"depth\.safetensors does not fit the model: it paints after another picture, and"):
        load(folder, lora=tmp_path / "depth.safetensors")


def test_a_comma_may_be_in_the_name_of_a_lora(tmp_path):
    path = tmp_path / "style, v2.safetensors"
    path.touch()
    assert Settings(lora=f"{path}:0.8").loras() == [(str(path), 0.8)]
    assert Settings(lora="a.safetensors:0.8, b").loras() == [("a.safetensors", 0.8), ("b", 1.0)]


def test_many_loras_may_have_long_names_together():
    names = [f"a_style_with_a_long_name_{i}.safetensors" for i in range(9)]
    assert Settings(lora=",".join(names)).loras() == [(name, 1.0) for name in names]


def test_another_lora_or_weight_is_another_model(tiny_folder, tmp_path):
    pytest.importorskip("peft")
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    a.write_bytes(b"a")
    b.write_bytes(b"b")

    def deciding(**settings):
        return json.dumps(models.complete(Settings(model=str(tiny_folder), **settings)).deciding())

    told_apart = ["", f"{a}", f"{b}", f"{a}:0.5", f"{a}:0.5000001", f"{a},{b}", f"{a}:0.5,{b}"]
    assert len({deciding(lora=lora) for lora in told_apart}) == len(told_apart)
    before = deciding(lora=f"{a}:1.0")
    assert before == deciding(lora=f"{a}")
    a.rename(tmp_path / "renamed.safetensors")
    hub.find_lora.cache_clear()
    assert deciding(lora=str(tmp_path / "renamed.safetensors")) == before


def test_versions_of_libraries_that_only_some_films_need_decide_only_those(tiny_folder, tmp_path):
    pytest.importorskip("peft")
    pytest.importorskip("gguf")
    (tmp_path / "a.safetensors").write_bytes(b"a")
    quantised = tiny.quantised(tiny_folder, "unet", tmp_path / "it.gguf")

    def names(**settings):
        done = models.complete(Settings(model=str(tiny_folder), **settings))
        assert all(version[:1].isdigit() for _, version in map(str.split, done.software))
        return [text.split()[0] for text in done.deciding()["software"]]

    usual = ["torch", "diffusers", "transformers"]
    assert names() == usual
    assert names(lora=tmp_path / "a.safetensors") == [*usual, "peft"]
    assert names(denoiser=quantised) == [*usual, "gguf"]
    assert names(lora=tmp_path / "a.safetensors", denoiser=quantised) == [*usual, "peft", "gguf"]
    assert names(denoiser=quantised.with_suffix(".safetensors")) == usual


def test_what_is_no_lora_of_this_model_is_refused(tiny_folder, tmp_path):
    pytest.importorskip("peft")
    save_file({"unet.nowhere.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "alien.safetensors")
    with pytest.raises(Error, match=r"the LoRA .*alien.safetensors does not fit the model: "):
        load(tiny_folder, lora=str(tmp_path / "alien.safetensors"))
    many = {f"lora_unet_down_blocks_{k}_attentions_0_proj_in.hada_w1_a": torch.zeros(2, 2) for k in range(99)}
    save_file(many, tmp_path / "loha.safetensors")
    with pytest.raises(Error, match=r"fit the model: diffusers does not read its kind \(LyCORIS, with lora") as caught:
        load(tiny_folder, lora=str(tmp_path / "loha.safetensors"))
    assert str(caught.value).count("hada") == 1
    weights = tiny.as_checkpoint(tiny_folder, tmp_path / "whole.safetensors")
    with pytest.raises(Error, match=r"whole.safetensors is no LoRA; a whole checkpoint is given as --model"):
        load(tiny_folder, lora=weights)
    weights.write_bytes(weights.read_bytes()[:-1000])
    hub.find_lora.cache_clear()
    with pytest.raises(Error, match=r"whole.safetensors is cut off, after .* of .* MB; download it again"):
        load(tiny_folder, lora=weights)


def test_what_a_library_says_is_wrong_does_not_end_before_it_is_said():
    assert loading.reason(ValueError("Error(s) in loading for UNet:\n\tsize mismatch.\n\tmore")) == (
        "Error(s) in loading for UNet: size mismatch"
    )
    assert loading.reason(ValueError("one thing.\nanother")) == "one thing"
    assert loading.reason(KeyError()) == "KeyError"


def test_paths_and_numbers_of_numpy_are_settings_like_others(tiny_folder):
    given = Settings(model=tiny_folder, steps=np.int64(3), width=np.int32(64), guidance=np.float32(2.5))
    assert given == Settings(model=str(tiny_folder), steps=3, width=64, guidance=2.5)
    assert [type(value) for value in (given.model, given.steps, given.guidance)] == [str, int, float]


def test_without_the_library_for_loras_it_is_said_how_to_get_it(tiny_folder, tmp_path, monkeypatch):
    (tmp_path / "a.safetensors").touch()
    find_spec = loading.importlib.util.find_spec
    monkeypatch.setattr(loading.importlib.util, "find_spec", lambda name: None if name == "peft" else find_spec(name))
    with pytest.raises(Error, match="a LoRA needs a library that is not here; pip install peft"):
        load(tiny_folder, lora=str(tmp_path / "a.safetensors"))


# What is wrong with a model


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def forget_a_tensor(path):
    tensors = load_file(path)
    del tensors[max(name for name in tensors if name.endswith("proj.weight"))]
    save_file(tensors, path, {"format": "pt"})


BROKEN = [
    (
        "model_index.json",
        lambda p: edit(p, _class_name="KandinskyPipeline"),
        "holds KandinskyPipeline; supported are Stable",
    ),
    ("model_index.json", lambda p: edit(p, _class_name=["pipeline", "Mine"]), "holds ['pipeline', 'Mine']; supported"),
    ("model_index.json", halve, "model_index.json is damaged"),
    ("model_index.json", lambda p: p.write_text("[]"), "model_index.json is damaged"),
    ("unet/config.json", Path.unlink, "unet/config.json is missing"),
    ("unet/config.json", halve, "unet/config.json is damaged"),
    ("vae/config.json", Path.unlink, "vae/config.json is missing"),
    ("scheduler/scheduler_config.json", halve, "scheduler/scheduler_config.json is damaged"),
    ("text_encoder/config.json", halve, "/text_encoder/config.json is damaged"),
    ("tokenizer/tokenizer.json", halve, "does not load as a StableDiffusionPipeline: Expecting "),
    ("unet/diffusion_pytorch_model.safetensors", halve, "Unable to load weights from checkpoint file"),
    ("vae/diffusion_pytorch_model.safetensors", halve, "Unable to load weights from checkpoint file"),
    ("vae/diffusion_pytorch_model.safetensors", Path.unlink, "Error no file named diffusion_pytorch_model.safetensors"),
    ("text_encoder/model.safetensors", Path.unlink, "Error no file named model.safetensors"),
    ("unet/config.json", lambda p: p.write_text("{}"), "unet/config.json"),
    ("scheduler/scheduler_config.json", lambda p: edit(p, _class_name="X"), "scheduler"),
    ("text_encoder/model.safetensors", halve, "does not load as"),
    ("text_encoder/model.safetensors", forget_a_tensor, "does not load as"),
    ("unet/diffusion_pytorch_model.safetensors", forget_a_tensor, "does not load as"),
    ("tokenizer/tokenizer_config.json", Path.unlink, "does not load as"),
    ("tokenizer/tokenizer.json", Path.unlink, "does not load as"),
]


@pytest.mark.parametrize(
    ("part", "harm", "message"),
    BROKEN,
)
def test_a_broken_model_is_refused_with_what_is_wrong(folder, part, harm, message):
    harm(folder / part)
    with pytest.raises(Error) as caught:
        load(folder)
    assert str(folder) in str(caught.value)
    assert message in str(caught.value)


def in_a_program(code):
    """(stdout, stderr) of one that has imported nothing yet, with the libraries' own defaults."""
    code = "from walk import Error, Settings, models\n" + textwrap.dedent(code)
    plain = {name: value for name, value in os.environ.items() if not name.endswith("_VERBOSITY")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=plain)
    return done.stdout, done.stderr


def test_loading_is_silent_leaves_the_libraries_as_they_were_and_says_what_is_wrong_only_in_the_error(
    folder, tiny_folder
):
    """Which can be gone on with."""
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    said, heard = in_a_program(f"""
        try:
            models.load(Settings(model={str(folder)!r}, device="cpu"))
        except Error as error:
            print(error)

        import logging
        from diffusers.utils import logging as of_diffusers
        from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars
        from transformers.utils import logging as of_transformers

        def state():
            logs = of_diffusers, of_transformers
            return [(log.get_verbosity(), log.is_progress_bar_enabled()) for log in logs], are_progress_bars_disabled()

        def stays(before):
            models.load(Settings(model={str(tiny_folder)!r}, device="cpu"))
            return state() == before

        print(stays(([(logging.WARNING, True)] * 2, False)))
        of_diffusers.set_verbosity_info()
        of_transformers.disable_progress_bar()
        print(stays(state()))
        of_transformers.enable_progress_bar()
        disable_progress_bars()
        print(stays(state()))
    """)
    wrong, *stays = said.splitlines()
    assert wrong.endswith(f"safetensors found in directory {folder}/unet"), "without a full stop"
    assert stays == ["True"] * 3
    assert heard == ""


# What a model's folder can do to its user


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("beside", [True, False], ids=["beside safetensors", "alone"])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_nothing_is_ever_unpickled(folder, part, beside):
    (weights,) = (folder / part).glob("*.safetensors")
    name = "pytorch_model.bin" if part == "text_encoder" else "diffusion_pytorch_model.bin"
    (folder / part / name).write_bytes(pickle.dumps(Bomb(folder / "exploded")))
    if beside:
        load(folder)
    else:
        weights.unlink()
        with pytest.raises(Error, match=f"Error no file named {weights.name}"):
            load(folder)
    assert not (folder / "exploded").exists()


def test_no_code_out_of_a_models_folder_is_run(folder):
    (folder / "unet" / "mine.py").write_text(f"open({str(folder / 'exploded')!r}, 'w')\nclass Mine: pass\n")
    edit(folder / "model_index.json", unet=["mine", "Mine"])
    with pytest.raises(Error, match="custom code"):
        load(folder)
    assert not (folder / "exploded").exists()
