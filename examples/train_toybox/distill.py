"""Fewer steps: a student learns in STEPS steps without guidance where the denoiser gets in twelve with it.

    python distill.py --config cpu_small --data ~/toybox-data

Progressive distillation (Salimans & Ho, ICLR 2022; of guided models: Meng et al., CVPR 2023) in one go: of each
walk of the teacher from noise to latents, the student learns the stretches between its own few moments as one DDIM
step each. Half of the conditionings lie between two captions, as they do in the films that this model is for.
The student takes the denoiser's place; the text encoder stays as it is.
"""

from __future__ import annotations

import copy
import random

import data
import torch
from config import Config, arguments
from denoiser import load, scheduler, tokenizer
from diffusers import DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn import functional
from training import Training
from transformers import CLIPTextModel

STEPS = 4  # of the student
WITHIN = 3  # steps of the teacher within one of the student's
GUIDANCE = 4.0  # of the teacher
KEPT = 64  # batches of the teacher's walks that the student learns from
REUSED = 8  # batches that the student learns from for each new one


class Teacher:
    """Walks from noise to latents with guidance."""

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel, config: Config, device: str) -> None:
        self.unet, self.text, self.device = unet, text, device
        self.known, self.places, self.words = data.things(config), data.backgrounds(config), tokenizer()
        self.empty = self.tell([""])

    def tell(self, captions: list[str]) -> Tensor:
        ids = self.words(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text(ids.to(self.device)).last_hidden_state

    def captions(self, rng: random.Random, n: int) -> list[str]:
        return [data.caption(rng, rng.choice(self.known), rng.choice(self.places)) for _ in range(n)]

    @torch.no_grad()
    def walks(self, rng: random.Random, n: int) -> tuple[Tensor, Tensor]:
        """(n, tokens, width) conditionings and (STEPS + 1, n, ...) latents at the student's moments."""
        told = self.tell(self.captions(rng, n))
        other = self.tell(self.captions(rng, n // 2))
        told[: n // 2] = torch.lerp(told[: n // 2], other, torch.rand(n // 2, 1, 1, device=self.device))
        both = torch.cat([self.empty.expand(n, -1, -1), told])
        sampler = DPMSolverMultistepScheduler.from_config(scheduler().config)
        sampler.set_timesteps(STEPS * WITHIN)
        side = self.unet.config.sample_size
        x = torch.randn(n, self.unet.config.in_channels, side, side, device=self.device)
        seen = [x]
        for k, t in enumerate(sampler.timesteps):
            y = torch.cat([x, x]).contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device, torch.bfloat16):
                v = self.unet(y, t.to(self.device), both).sample.float()
            free, held = v.chunk(2)
            x = sampler.step(free + GUIDANCE * (held - free), t, x).prev_sample
            if (k + 1) % WITHIN == 0:
                seen.append(x)
        return told, torch.stack(seen)


def moments() -> tuple[Tensor, Tensor, Tensor]:
    """(STEPS,) timesteps of the student, and the signal and the noise at these and in the end, (STEPS + 1,) each."""
    student = scheduler()
    student.set_timesteps(STEPS)
    alphas = torch.cat([student.alphas_cumprod[student.timesteps], torch.ones(1)])
    return student.timesteps, alphas.sqrt(), (1 - alphas).sqrt()


def velocity(x: Tensor, y: Tensor, k: Tensor, signal: Tensor, noise: Tensor) -> Tensor:
    """What a DDIM step from x at moment k would need for getting to y at moment k + 1."""
    a, s, b, z = (part.view(-1, 1, 1, 1) for part in (signal[k], noise[k], signal[k + 1], noise[k + 1]))
    return (y - (a * b + s * z) * x) / (a * z - s * b)


def main() -> None:
    options = arguments(__doc__, start="", minutes=0.0, rate=2e-4, compile=0)
    config: Config = options.config
    device, work, batch = options.device, options.work, options.config.batch
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    unet, text = load(options.start or work)
    unet.to(device, memory_format=torch.channels_last)
    text.to(device).eval()
    if device == "cpu":
        unet.set_attn_processor(AttnProcessor())
    student = copy.deepcopy(unet)
    if options.compile:
        student.compile()
        unet.compile()
    training = Training(
        work / "distill.pt", [student], options.rate, options.minutes or config.distill_minutes, decay=0.0
    )
    torch.manual_seed(training.step)
    rng = random.Random(training.step)
    teacher = Teacher(unet.requires_grad_(False), text.requires_grad_(False), config, device)
    steps, signal, noise = (part.to(device) for part in moments())
    told, seen = teacher.walks(random.Random(-1), batch)  # never learned from
    kept_told = told.new_empty(KEPT, *told.shape)
    kept_seen = seen.new_empty(STEPS + 1, KEPT, *seen.shape[1:])
    new = 0  # walks that were kept so far, in batches
    k = torch.arange(batch, device=device) % STEPS
    for _ in training:
        if training.step % REUSED == 0 or not new:
            kept_told[new % KEPT], kept_seen[:, new % KEPT] = teacher.walks(rng, batch)
            new += 1
        of = torch.randint(min(new, KEPT), (batch,), device=device)
        which = torch.randint(batch, (batch,), device=device)
        words, x, y = kept_told[of, which], kept_seen[k, of, which], kept_seen[k + 1, of, which]
        with torch.autocast(device, torch.bfloat16):
            v = student(x.contiguous(memory_format=torch.channels_last), steps[k], words).sample.float()
        training.learn(functional.mse_loss(v, velocity(x, y, k, signal, noise)), batch)
        if training.step % 200 == 0:
            print(f"step {training.step}: {compare(student, told, seen):.4f} off", flush=True)
    print(f"the average: {compare(student, told, seen):.4f} off", flush=True)
    student.to(memory_format=torch.contiguous_format).save_pretrained(work / "student")


@torch.no_grad()
def compare(student: UNet2DConditionModel, told: Tensor, seen: Tensor) -> float:
    """How far the student's latents are from the teacher's on walks all of its own: mean square."""
    sampler, x = scheduler(), seen[0]
    sampler.set_timesteps(STEPS)
    for t in sampler.timesteps:
        with torch.autocast(x.device.type, torch.bfloat16):
            v = student(x.contiguous(memory_format=torch.channels_last), t.to(x.device), told).sample.float()
        x = sampler.step(v, t, x).prev_sample
    return float(functional.mse_loss(x, seen[-1]))


if __name__ == "__main__":
    main()
