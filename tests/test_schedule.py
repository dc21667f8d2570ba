"""Schedulers plan once and make the same pictures; a GPU that renders a film is not waited for."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
)
from oracle import load
from test_families import KEYFRAMES, film
from torch.utils import backend_registration

from walk import Error, Settings, Walk, loading, models, schedule
from walk.render import render

ELSEWHERE = Path(__file__).with_name("elsewhere.py")
FETCHED = "machine.py: copy = tensor.cpu()"
KEYFRAMES_BROUGHT = "render.py: return tensor.to(self.device, torch.float32) if tensor.is_floating_point() else tensor"
# Their pipelines have GPUs wait for something themselves, before the first step.
WAITING = {
    "StableDiffusionXLPipeline": ("add_time_ids.to(device)",),
    "FluxPipeline": ("text_ids = ", "return latent_image_ids"),
    "StableDiffusionPipeline --low_memory": ("each |= {name: ", "noise = noise.to("),
    "FluxPipeline --low_memory small": (
        "text_ids = ",
        "return latent_image_ids",
        "each |= {name: ",
        "noise = noise.to(",
    ),
    "CogView4Pipeline": ("original_size = ", "target_size = ", "crops_coords_top_left = "),
    "LatentConsistencyModelPipeline": ("w_embedding = ",),
}
NOT_WAITING = (
    "StableDiffusionPipeline",
    "StableDiffusion3Pipeline",
    "PixArtSigmaPipeline",
    "SanaPipeline",
    "Krea2Pipeline",
    "PRXPipeline",
)


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no such devices",
)
def test_on_a_device_of_its_own_a_film_is_the_same_and_nothing_waits_between_its_batches():
    command = [sys.executable, str(ELSEWHERE), *WAITING, *NOT_WAITING]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr[-3000:]
    for name, (apart, waits) in json.loads(done.stdout.splitlines()[-1]).items():
        assert apart <= 1, name
        usual = {where for where in waits if where.endswith((FETCHED, KEYFRAMES_BROUGHT))}
        assert len(usual) == (1 if "--low_memory" in name else 2), name  # whose keyframes stay here
        others = waits.keys() - usual
        assert not [where for where in others if not any(line in where for line in WAITING.get(name, ()))], (
            name,
            waits,
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("schedulers") / "model")


def names(folder):
    with pytest.raises(Error) as error:
        loading.sampler(folder, "none of them")
    return str(error.value).split("these fit: ")[1].split(", ")


def test_every_scheduler_makes_the_pictures_that_it_makes_without_us(folder, monkeypatch):
    walk = Walk.through(KEYFRAMES[:2], frames=2)  # two batches, of which the second follows the plan of the first
    monkeypatch.setattr(schedule, "count_draws", lambda scheduler, steps: 0)
    found = names(folder)
    assert len(found) > 10
    pipe = load(folder).pipe

    def made(name):
        settings = Settings(model=str(folder), device="cpu", scheduler=name, steps=2, batch=1)
        pipe.scheduler = loading.scheduler(folder, settings)
        return film(models.load(settings), walk)

    monkeypatch.setattr(loading, "load", lambda folder, settings: (pipe, []))  # only schedulers differ
    for name in found:
        ours = made(name)
        with monkeypatch.context() as patch:
            patch.setattr(schedule, "Planner", lambda scheduler: SimpleNamespace(give=lambda noises: None))
            plain = made(name)
        for index, picture in plain.items():
            np.testing.assert_array_equal(ours[index], picture)


def test_apples_gpus_are_given_no_float64(monkeypatch):
    scheduler = KDPM2DiscreteScheduler(use_karras_sigmas=True)
    schedule.Planner(scheduler)
    brought, usual = [], torch.Tensor.to

    def to(tensor, *where, **how):
        if "mps" not in map(str, (*where, how.get("device"))):
            return usual(tensor, *where, **how)
        brought.append(
            next((each for each in (*where, how.get("dtype")) if isinstance(each, torch.dtype)), tensor.dtype)
        )
        return usual(tensor, brought[-1])

    monkeypatch.setattr(torch.Tensor, "to", to)
    scheduler.set_timesteps(3, device="mps")
    assert brought == [torch.float32]


@pytest.mark.parametrize(
    ("kind", "draws"), [(LCMScheduler, 2), (EulerAncestralDiscreteScheduler, 3), (DDIMScheduler, 0)]
)
def test_what_a_scheduler_draws_on_its_way_is_what_it_is_given(kind, draws):
    plain, ours = kind(), kind()
    assert schedule.count_draws(ours, 3) == draws
    schedule.Planner(ours).give(noises(draws, seed=0))
    assert torch.equal(stepped(ours), stepped(plain, seed=0))


def noises(draws, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, 2, 2, generator=generator) for _ in range(draws)]


def stepped(scheduler, seed=None):
    """What three steps make of ones, with noise of a seed unless another is given."""
    scheduler.set_timesteps(3)
    generator = torch.Generator().manual_seed(9 if seed is None else seed)
    sample = torch.ones(2, 4, 2, 2)
    for timestep in scheduler.timesteps:
        scheduler.scale_model_input(sample, timestep)  # else some complain
        sample = scheduler.step(sample / 2, timestep, sample, generator=generator).prev_sample
    return sample


def test_in_two_threads_schedulers_draw_each_their_own_noise_and_others_as_ever():
    both = threading.Barrier(2, timeout=60)

    def made(seed):
        scheduler = EulerAncestralDiscreteScheduler()
        usual = scheduler.step

        def step(*args, **how):
            both.wait()  # each is within its step when either draws
            made = usual(*args, **how)
            both.wait()
            return made

        scheduler.step = step
        schedule.Planner(scheduler).give(noises(3, seed))
        return stepped(scheduler)

    alone = [stepped(EulerAncestralDiscreteScheduler(), seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as threads:
        together = [*threads.map(made, (0, 1))]
    others = [stepped(EulerAncestralDiscreteScheduler(), seed) for seed in (0, 1)]
    for seed in (0, 1):
        assert torch.equal(together[seed], alone[seed])
        assert torch.equal(others[seed], alone[seed])


@pytest.mark.parametrize("build", [tiny.flux, tiny.qwen_image])
def test_where_steps_follow_from_the_pictures_size_stochastic_ones_make_the_same_frames_in_every_run(tmp_path, build):
    folder, walk = build(tmp_path), Walk.through(KEYFRAMES, frames=5)
    settings = {"scheduler": ":stochastic_sampling=true", "steps": 3, "batch": 1, "width": 64, "height": 32}
    whole = film(load(folder, **settings), walk)
    torch.manual_seed(99)
    for index, picture in render(load(folder, **settings), walk, [3, 0]):
        np.testing.assert_array_equal(picture, whole[index])
    usual = film(load(folder, **settings | {"scheduler": None}), walk)
    assert (usual[3] != whole[3]).any()


def test_noise_that_nobody_gave_or_seeded_is_refused():
    """It would be another in every run."""
    scheduler = LCMScheduler()
    schedule.Planner(scheduler).give(noises(1, seed=0))
    scheduler.set_timesteps(3)
    sample = torch.ones(2, 4, 2, 2)
    scheduler.step(sample, scheduler.timesteps[0], sample)
    with pytest.raises(Error, match=r"^LCMScheduler draws noise of its own, .*; give another --scheduler$"):
        scheduler.step(sample, scheduler.timesteps[1], sample)


def test_another_number_of_steps_is_planned_anew():
    scheduler = DDIMScheduler()
    schedule.Planner(scheduler)
    for steps in (4, 2, 4):
        scheduler.set_timesteps(steps, device="cpu")
        assert len(scheduler.timesteps) == steps


def test_a_schedule_whose_first_timesteps_are_one_is_followed_from_its_beginning():
    scheduler = DPMSolverMultistepScheduler(
        use_karras_sigmas=True, rescale_betas_zero_snr=True, beta_schedule="scaled_linear", beta_end=0.012
    )
    schedule.Planner(scheduler)
    scheduler.set_timesteps(30)
    assert scheduler.timesteps[0] == scheduler.timesteps[1]
    sample = torch.ones(1, 4, 2, 2)
    for timestep in scheduler.timesteps:
        sample = scheduler.step(sample / 2, timestep, sample).prev_sample
    assert scheduler.step_index == 30
    assert sample.isfinite().all()
