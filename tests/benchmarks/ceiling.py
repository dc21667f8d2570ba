"""How many frames a second everything beside the model allows, with a model that takes next to no time.

    python tests/benchmarks/ceiling.py [--side 512] [--frames 300] [--rounds 3]

The whole command makes a film of two pictures that lie ready in memory and are blended: frames are placed, written durably, assembled
and watched. No model, on whatever GPU, gets more frames a second out of this machine.
"""

import argparse
import contextlib
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from walk import Settings, cli, models, video
from walk.keyframes import Keyframe

PROMPTS = ["a rocket in space", "an alien in a galaxy", "a moon in a starry night", "a panda in a forest", "a fox"]


class Ready:
    """A model whose pictures are blends of two; how much of each, is what is interpolated."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        height, width = settings.height or 0, settings.width or 0
        generator = np.random.default_rng(0)

        def picture() -> Tensor:
            """Smooth, with a little noise."""
            coarse = Image.fromarray(generator.integers(0, 256, (height // 16, width // 16, 3), np.uint8))
            smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
            return torch.from_numpy((smooth + generator.normal(0, 3, smooth.shape)).clip(0, 255).astype(np.float32))

        self.ends = picture(), picture()

    def at(self, settings: Settings) -> "Ready":
        return self

    def notes(self, keyframe: Keyframe) -> list[str]:
        return []

    def encode(self, keyframe: Keyframe) -> models.Conditioning:
        return {"prompt_embeds": torch.rand(77, 2, generator=torch.Generator().manual_seed(keyframe.seed))}

    def noise(self, seed: int) -> Tensor:
        return torch.randn(4, 64, 64, generator=torch.Generator().manual_seed(seed))

    def denoise(self, noise: Tensor, conditioning: models.Conditioning) -> Tensor:
        return conditioning["prompt_embeds"][:, 0, 0]

    def decode(self, latents: Tensor, exact: bool = False) -> Callable[[], Tensor]:
        pictures = torch.stack([torch.lerp(*self.ends, part).byte() for part in latents.clamp(0, 1).tolist()])
        return lambda: pictures


def measured(side: int, frames: int) -> dict[str, float]:
    """Seconds until the last frame was rendered, until the film was made, and until it was watched."""
    begun = time.perf_counter()
    marks: dict[str, float] = {}
    encode = video.encode

    def marked(*arguments: object, **named: object) -> None:
        marks["rendered"] = time.perf_counter() - begun
        encode(*arguments, **named)  # type: ignore[arg-type]
        marks["made"] = time.perf_counter() - begun

    video.encode = marked  # type: ignore[assignment]
    flags = ["--width", str(side), "--height", str(side), "--frames", str(frames), "--quiet", "--out", "film.mp4"]
    with contextlib.redirect_stdout(io.StringIO()):
        status = cli.main(["--prompts", *PROMPTS, *flags])
    video.encode = encode
    assert status == 0
    return marks | {"watched": time.perf_counter() - begun}


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        yield
        os.chdir(before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    ready = Ready(models.complete(Settings(width=options.side, height=options.side)))
    models.load = lambda settings: ready  # type: ignore[assignment]
    rounds = []
    for number in range(options.rounds + 1):  # the first is for warming up
        with elsewhere():
            marks = measured(options.side, options.frames if number else 20)
        if number:
            rounds.append(marks)
            print(f"round {number}: " + ", ".join(f"{name} after {mark:.2f} s" for name, mark in marks.items()))
    marks = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    print(
        json.dumps(
            {
                "side": options.side,
                "frames": options.frames,
                "cores": os.cpu_count(),
                "rendered_a_second": round(options.frames / marks["rendered"], 1),
                "made_a_second": round(options.frames / (marks["made"] - marks["rendered"]), 1),
                "watched_a_second": round(options.frames / (marks["watched"] - marks["made"]), 1),
                "all_a_second": round(options.frames / marks["watched"], 1),
            }
        )
    )


if __name__ == "__main__":
    main()
