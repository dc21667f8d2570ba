"""Twice as large: a small network learns to enlarge what the model paints, with clean edges.

    python upscaler.py --config cpu_small --data ~/toybox-data

It learns from pairs: a picture, and what the model makes of half of it (reduced, encoded, made noisy, and denoised in
the last one or two of its steps), which is as soft as all that it paints, and of the same thing at the same place. First
by the difference alone, then against a critic, which learns to tell enlarged pictures from real ones: those of pairs, and
of what the model has painted from noise, where there is no telling what it should be (Ledig et al., SRGAN, CVPR 2017).

It is laid into the exported pipeline's folder, where walk finds it. With --model FOLDER it learns from another one, and
is laid beside its checkpoints.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Iterator
from pathlib import Path

import data
import numpy as np
import torch
from autoencoder import decibel, difference
from config import Config, arguments
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional
from training import Training

from walk.upscale import Compact

STEPS = (1, 2, 1, 4)  # the last so many of the model's steps, batch by batch; all of them: from noise alone
BATCH = 16
PATCH = 56  # pixels of a side that are learned from at once
ALONE = 0.3  # of the minutes, without a critic
KEPT = 4  # of what the model painted from noise, squares of so many pixels keep their colours


def critic() -> nn.Sequential:
    """One number for each square of 4x4 pixels, high where it takes its surroundings for real."""
    layers: list[nn.Module] = []
    channels, sizes, strides = (3, 32, 48, 64, 96, 96, 1), (3, 4, 3, 4, 3, 3), (1, 2, 1, 2, 1, 1)
    for (a, b), size, stride in zip(itertools.pairwise(channels), sizes, strides):
        layer = nn.Conv2d(a, b, size, stride, 1)
        nn.init.kaiming_normal_(layer.weight, 0.2)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def paint(pipe: StableDiffusionPipeline, captions: list[str], pictures: Tensor, steps: int) -> Tensor:
    """What the model makes of pictures in so many steps. Of all of its steps, they do not matter."""
    scheduler, scale = pipe.scheduler, pipe.vae.config.scaling_factor
    ids = pipe.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    heard = pipe.text_encoder(ids.to(pictures.device)).last_hidden_state
    times = scheduler.timesteps[-steps:]
    latents = pipe.vae.encode(pictures).latent_dist.mean.float() * scale
    noise = torch.randn_like(latents)
    whole = steps == len(scheduler.timesteps)
    latents = noise if whole else scheduler.add_noise(latents, noise, times[:1].expand(len(latents)))
    for t in times:
        latents = scheduler.step(pipe.unet(latents, t, heard).sample.float(), t, latents).prev_sample
    return pipe.vae.decode(latents / scale).sample.float()


def prepare(pipe: StableDiffusionPipeline, work: Path, config: Config, device: str) -> dict[str, np.ndarray]:
    """By name: 'small' and 'large', pairs of pictures; and 'own', what the model painted from noise. Made once."""
    paths = {name: work / f"{name}.npy" for name in ("small", "large", "own")}
    if not all(path.exists() for path in paths.values()):
        studio, rng = data.Studio(work, device), random.Random(0)
        known, places = data.things(config), data.backgrounds(config)
        made: dict[str, list[Tensor]] = {name: [] for name in paths}
        for number in range(config.upscaler_pairs // BATCH):
            labels, steps = studio.labels(config, BATCH), STEPS[number % len(STEPS)]
            captions = [data.caption(rng, known[i], places[j]) for i, j in labels.tolist()]
            large = studio.compose(labels)
            with torch.autocast(device, torch.bfloat16):
                small = paint(pipe, captions, functional.avg_pool2d(large, 2), steps)
            for name, pictures in (
                {"own": small}.items() if steps == max(STEPS) else {"small": small, "large": large}.items()
            ):
                made[name].append(((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().cpu())
            if number % 20 == 0:
                print(f"{number * BATCH} of {config.upscaler_pairs} pairs", flush=True)
        for name, path in paths.items():
            np.save(part := path.with_suffix(".part.npy"), torch.cat(made[name]).numpy())
            os.replace(part, path)
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def patches(rng: np.random.Generator, some: list[np.ndarray], count: int, device: str) -> Iterator[Tensor]:
    """Of each some patches, 0 to 1, from the same places of the same pictures; the first are PATCH pixels wide."""
    chosen = np.sort(rng.choice(len(some[0]), count, replace=False))
    y, x = rng.integers(0, some[0].shape[2] - PATCH + 1, 2)
    mirrored = rng.random() < 0.5
    for pictures in some:
        scale = pictures.shape[2] // some[0].shape[2]
        rows, columns = (slice(scale * at, scale * (at + PATCH)) for at in (y, x))
        found = torch.from_numpy(pictures[chosen][:, :, rows, columns].copy()).to(device).float() / 255
        yield (found.flip(3) if mirrored else found).contiguous(memory_format=torch.channels_last)


def alone(net: Compact, pool: dict[str, np.ndarray], path: Path, minutes: float, device: str) -> None:
    training = Training(path, [net], 1e-3, minutes, decay=0.0)
    rng = np.random.default_rng(training.step)
    for _ in training:
        small, large = patches(rng, [pool["small"], pool["large"]], BATCH, device)
        with torch.autocast(device, torch.bfloat16):
            made = net(small)
        training.learn(difference(made.float(), large), BATCH, decibel=decibel(2 * made.float() - 1, 2 * large - 1))


def sharpened(net: Compact, pool: dict[str, np.ndarray], work: Path, minutes: float, device: str) -> None:
    judge = critic().to(device, memory_format=torch.channels_last)
    training = Training(work / "sharp.pt", [net], 3e-4, minutes, decay=0.0, momentum=0.5)
    judging = Training(work / "critic.pt", [judge], 3e-4, 2 * minutes, momentum=0.5)
    rng, half = np.random.default_rng(training.step), BATCH // 2
    last = net.body[-1].weight
    for _ in zip(training, judging):
        small, large = patches(rng, [pool["small"], pool["large"]], half, device)
        (own,) = patches(rng, [pool["own"]], half, device)
        _, real = patches(rng, [pool["small"], pool["large"]], half, device)
        judge.requires_grad_(False)
        with torch.autocast(device, torch.bfloat16):
            made = net(torch.cat([small, own])).float()
            doubt = -judge(3 * made - 1.5).float().mean()
        off = difference(made[:half], large)
        kept = difference(functional.avg_pool2d(made[half:], KEPT), functional.avg_pool2d(own, KEPT // 2))
        # The critic's gradient is made as large as the difference's (Esser et al., 'Taming Transformers', CVPR 2021).
        a, b = (torch.autograd.grad(it, last, retain_graph=True)[0].norm() for it in (off, doubt))
        weight = min(1, training.step / 300) * (a / (b + 1e-5)).clamp(max=100).detach()
        training.learn(off + kept + weight * doubt, BATCH, off=off, doubt=doubt)
        judge.requires_grad_(True)
        seen = torch.cat([large[: half // 2], real, made.detach()])
        with torch.autocast(device, torch.bfloat16):
            true, false = judge(3 * seen - 1.5).float().split([half // 2 + half, BATCH])
        # The hinge loss (Lim and Ye, 'Geometric GAN', 2017).
        judging.learn(functional.relu(1 - true).mean() + functional.relu(1 + false).mean(), BATCH)


def main() -> None:
    options = arguments(__doc__, minutes=0.0, model="")
    config: Config = options.config
    device, minutes = options.device, options.minutes or config.upscaler_minutes
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    work = options.work / "upscaler"
    if not (work / "fresh_backgrounds.npy").exists():
        work.mkdir(exist_ok=True)
        data.prepare(options.data, work, config, 2 * config.size)
    pipe = StableDiffusionPipeline.from_pretrained(options.model or options.work / "model").to(device)
    pipe.scheduler.set_timesteps(max(STEPS))
    for part in (pipe.unet, pipe.vae):
        part.to(memory_format=torch.channels_last)
    pool = prepare(pipe, work, config, device)
    net = Compact.untrained(config.upscaler_channels, config.upscaler_layers, 2).to(device)
    alone(net, pool, work / "alone.pt", ALONE * minutes, device)
    sharpened(net, pool, work, (1 - ALONE) * minutes, device)
    weights = {name: weight.half().contiguous().cpu() for name, weight in net.state_dict().items()}
    save_file(weights, (work if options.model else options.work / "model") / "upscaler.safetensors")


if __name__ == "__main__":
    main()
