"""What differs between a small model on two cores, a middling one, and the shipped one, from a GPU."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

TOYBOX = Path(__file__).parents[2] / "walk" / "toybox"


@dataclasses.dataclass(frozen=True)
class Config:
    """Minutes are of training; a script that is killed and started again goes on with what is left of them."""

    size: int = 128  # pixels of a picture's side
    things: int = 245  # the first so many of things.txt
    lookalikes: int = 255  # things that only the judge knows, so that outline and colour alone don't convince it
    colours: int = 16  # the first so many of scenes.COLOURS
    scenes: int = 16  # the first so many of scenes.SCENES
    pool: int = 40_000  # pictures that are composed and encoded once
    classifier_minutes: float = 20
    classifier_channels: tuple[int, ...] = (32, 64, 128, 192)
    autoencoder_minutes: float = 36
    autoencoder_channels: tuple[int, ...] = (32, 32, 64, 128)
    latent_channels: int = 8
    denoiser_minutes: float = 120
    decoder_minutes: float = 16
    distill_minutes: float = 20
    upscaler_minutes: float = 45
    upscaler_pairs: int = 8_000
    upscaler_channels: int = 32
    upscaler_layers: int = 8
    denoiser_channels: tuple[int, ...] = (64, 128, 192)
    denoiser_layers: int = 1
    batch: int = 32
    rate: float = 1e-3  # the denoiser's peak learning rate
    workers: int = 0  # processes that write captions, for a GPU that would wait for them


CONFIGS = {
    "cpu_small": Config(
        size=64,
        things=24,
        lookalikes=72,
        colours=4,
        scenes=4,
        pool=8_000,
        classifier_minutes=2,
        autoencoder_minutes=3,
        denoiser_minutes=6,
        decoder_minutes=1,
        distill_minutes=2,
        upscaler_minutes=4,
        upscaler_pairs=2_000,
    ),
    "cpu_full": Config(),
    "gpu_large": Config(
        pool=400_000,
        classifier_minutes=3,
        autoencoder_minutes=5,
        denoiser_minutes=4.3,
        decoder_minutes=2,
        distill_minutes=1.25,
        denoiser_channels=(96, 192, 288),
        batch=512,
        workers=12,
    ),
}


def arguments(about: str | None, **more: object) -> argparse.Namespace:
    """The flags that all scripts share (`config`, `work`: its folder under --data), and more with their defaults."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--config", choices=CONFIGS, default="cpu_small")
    parser.add_argument("--data", type=Path, required=True, help="a folder for all that is downloaded and trained")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="of the CPU")
    for name, default in more.items():
        kind = type(default) if default is not None else str
        parser.add_argument(f"--{name}", type=kind, default=default)
    options = parser.parse_args()
    options.work = options.data / options.config
    options.work.mkdir(parents=True, exist_ok=True)
    options.config = CONFIGS[options.config]
    return options
