"""Pictures to latents and back: trains the autoencoder, then encodes the pool that the denoiser learns from.

    python autoencoder.py --config cpu_small --data ~/toybox-data

With --start FOLDER the autoencoder of that pipeline is taken as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyramid
import torch
from config import Config, arguments
from data import Studio
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional
from training import Training

CHUNK = 2000  # pictures that are encoded to one file
SCALE = 0.18215  # of latents, so that their deviation is 1; Stable Diffusion's own


def build(config: Config) -> AutoencoderKL:
    depth = len(config.autoencoder_channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=config.autoencoder_channels,
        layers_per_block=1,
        latent_channels=config.latent_channels,
        norm_num_groups=4,
        mid_block_add_attention=False,
        sample_size=config.size,
        scaling_factor=SCALE,
    )


def difference(a: Tensor, b: Tensor) -> Tensor:
    """Of colours and of edges, at two sizes: edges are what L1 alone would blur."""
    loss = torch.zeros((), device=a.device)
    for weight in (1.0, 0.5):
        d = a - b
        loss = loss + weight * (d.abs().mean() + d.diff(dim=2).abs().mean() + d.diff(dim=3).abs().mean())
        a, b = functional.avg_pool2d(a, 2), functional.avg_pool2d(b, 2)
    return loss


def train(vae: AutoencoderKL, studio: Studio, path: Path, config: Config, minutes: float) -> None:
    training = Training(path, [vae], 1e-3, minutes, decay=1e-3)
    studio.generator.manual_seed(training.step)
    for _ in training:
        x = studio.compose(studio.labels(config, 8)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            latents = vae.encode(x).latent_dist
            y = vae.decode(latents.sample()).sample
        kl = (latents.mean**2 + latents.var - 1 - latents.logvar).float().mean() / 2
        off = difference(x, y.float())
        training.learn(off + 1e-4 * kl, len(x), off=off, decibel=decibel(x, y.float()))


def decibel(x: Tensor, y: Tensor) -> Tensor:
    """Peak signal to noise of pictures in -1 to 1."""
    return -10 * ((x - y.clamp(-1, 1)) / 2).square().mean((1, 2, 3)).log10().mean()


@torch.no_grad()
def standardise(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Fold mean and deviation of each latent channel into the layers beside the latents, which then are of
    mean 0 and deviation 1 / SCALE."""
    latents = vae.encode(pictures).latent_dist.mean
    c, mean, size = latents.shape[1], latents.mean((0, 2, 3)), latents.std((0, 2, 3)) * SCALE
    into, out = vae.quant_conv, vae.post_quant_conv
    into.weight[:c] /= size.view(-1, 1, 1, 1)
    into.bias[:c] = (into.bias[:c] - mean) / size
    into.bias[c:] -= 2 * size.log()
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= size.view(1, -1, 1, 1)


@torch.no_grad()
def encode(vae: nn.Module, work: Path, device: str, config: Config) -> None:
    """The pool, in files of CHUNK pictures; those that are there stay."""
    folder = work / "latents"
    folder.mkdir(exist_ok=True)
    for chunk in range(-(-config.pool // CHUNK)):
        path = folder / f"{chunk:04}.npz"
        if path.exists():
            continue
        studio = Studio(work, device, seed=1000 + chunk)
        labels = studio.labels(config, CHUNK)
        parts = []
        for some in labels.split(50 if device == "cpu" else 500):
            x = studio.compose(some).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device, torch.bfloat16):
                parts.append(vae.encode(x).latent_dist.mean.float() * vae.config.scaling_factor)
        latents = torch.cat(parts).half().cpu().numpy()
        np.savez(path.with_suffix(".part.npz"), latents=latents, labels=labels.cpu().numpy())
        os.replace(path.with_suffix(".part.npz"), path)
        print(f"{(chunk + 1) * CHUNK} pictures encoded, deviation {latents.astype(np.float32).std():.3f}", flush=True)


def main() -> None:
    options = arguments(__doc__, start="", minutes=0.0)
    config: Config = options.config
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.start:
        vae = AutoencoderKL.from_pretrained(options.start, subfolder="vae", torch_dtype=torch.float32)
    else:
        vae = build(config)
        pyramid.start(vae)
    vae.to(options.device, memory_format=torch.channels_last)
    if not options.start:
        studio = Studio(options.work, options.device)
        train(vae, studio, options.work / "autoencoder.pt", config, options.minutes or config.autoencoder_minutes)
        studio.generator.manual_seed(0)
        standardise(vae, studio.compose(studio.labels(config, 256)))
    with torch.no_grad():
        fresh = Studio(options.work, options.device, fresh=True)
        x = fresh.compose(fresh.labels(config, 64, apart=False))
        y = vae.decode(vae.encode(x).latent_dist.mean).sample
        print(f"{decibel(x, y):.1f} dB on fresh backgrounds", flush=True)
    vae.to(memory_format=torch.contiguous_format).save_pretrained(options.work / "vae")
    encode(vae.to(memory_format=torch.channels_last), options.work, options.device, config)


if __name__ == "__main__":
    main()
