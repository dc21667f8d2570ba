"""Schedulers plan once and make the same pictures; a GPU that renders a film is not waited for."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler, LCMScheduler
from oracle import load
from test_families import KEYFRAMES, film
from torch.utils import backend_registration

from walk import Error, Walk, loading, schedule

ELSEWHERE = Path(__file__).with_name("elsewhere.py")
FETCHED = "machine.py: here = there.cpu()"
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
    walk = Walk.through(KEYFRAMES, frames=5)
    monkeypatch.setattr(schedule, "draws", lambda scheduler, steps: 0)
    found = names(folder)
    assert len(found) > 10
    for name in found:
        ours = film(load(folder, scheduler=name, steps=2, batch=2), walk)
        with monkeypatch.context() as patch:
            patch.setattr(schedule, "keep", lambda scheduler: lambda noises: None)
            plain = film(load(folder, scheduler=name, steps=2, batch=2), walk)
        for index, picture in plain.items():
            np.testing.assert_array_equal(ours[index], picture)


@pytest.mark.parametrize(
    ("kind", "draws"), [(LCMScheduler, 2), (EulerAncestralDiscreteScheduler, 3), (DDIMScheduler, 0)]
)
def test_what_a_scheduler_draws_on_its_way_is_what_it_is_given(kind, draws):
    plain, ours = kind(), kind()
    assert schedule.draws(ours, 3) == draws
    give = schedule.keep(ours)
    generator = torch.Generator().manual_seed(0)
    give([torch.randn(2, 4, 2, 2, generator=generator) for _ in range(draws)])
    made = []
    for scheduler in (plain, ours):
        scheduler.set_timesteps(3)
        made.append(torch.ones(2, 4, 2, 2))
        drawing = torch.Generator().manual_seed(0)
        for timestep in scheduler.timesteps:
            made[-1] = scheduler.step(made[-1] / 2, timestep, made[-1], generator=drawing).prev_sample
    assert torch.equal(*made)


def test_another_number_of_steps_is_planned_anew():
    scheduler = DDIMScheduler()
    schedule.keep(scheduler)
    for steps in (4, 2, 4):
        scheduler.set_timesteps(steps, device="cpu")
        assert len(scheduler.timesteps) == steps


def test_a_schedule_whose_first_timesteps_are_one_is_followed_from_its_beginning():
    scheduler = DPMSolverMultistepScheduler(
        use_karras_sigmas=True, rescale_betas_zero_snr=True, beta_schedule="scaled_linear", beta_end=0.012
    )
    schedule.keep(scheduler)
    scheduler.set_timesteps(30)
    assert scheduler.timesteps[0] == scheduler.timesteps[1]
    sample = torch.ones(1, 4, 2, 2)
    for timestep in scheduler.timesteps:
        sample = scheduler.step(sample / 2, timestep, sample).prev_sample
    assert scheduler.step_index == 30
    assert sample.isfinite().all()
