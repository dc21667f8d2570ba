"""walk against the loop that one would write with diffusers: a call of the pipeline a frame.

    python tests/benchmarks/plain_loop.py [--frames 32] [--rounds 5]

Both make the same film of the built-in model (same keyframes, same path, same steps), each frame a
PNG, then an MP4. They take turns in one process with the model loaded before the clock starts.
The ratio is of the loop's time to walk's, so over 1 means that walk is faster.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from walk import Settings, Walk, hub, models, read_prompts, video
from walk.geometry import slerp
from walk.render import render
from walk.run import Run

PROMPTS = ["a rocket in space", "an alien in a galaxy", "a panda in a forest"]
STEPS, GUIDANCE = 4, 1.0


def plain_loop(pipe: StableDiffusionPipeline, walk: Walk, folder: Path) -> list[Path]:
    """As found in tutorials: embed each prompt, interpolate, call the pipeline, save, assemble."""
    embeds = [pipe.encode_prompt(keyframe.prompt, "cpu", 1, False)[0] for keyframe in walk.keyframes]
    noises = [
        torch.randn(1, 8, 16, 16, generator=torch.Generator().manual_seed(keyframe.seed)) for keyframe in walk.keyframes
    ]
    paths = []
    for index, position in enumerate(walk.positions):
        a = min(int(position), len(embeds) - 2)
        t = position - a
        noise = slerp(noises[a].flatten(), noises[a + 1].flatten(), t).reshape(noises[a].shape)
        image = pipe(
            prompt_embeds=slerp(embeds[a], embeds[a + 1], t),
            latents=noise,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
        ).images[0]
        paths.append(folder / f"{index:06d}.png")
        image.save(paths[-1])
    writer = imageio_ffmpeg.write_frames(str(folder / "film.mp4"), (512, 512), fps=24)
    writer.send(None)
    for path in paths:
        writer.send(np.ascontiguousarray(Image.open(path).resize((512, 512), Image.Resampling.LANCZOS)))
    writer.close()
    return paths


def with_walk(model: models.Model, walk: Walk, folder: Path) -> list[Path]:
    with Run(folder / "film.walk", walk, model.settings) as run:
        with run.saver() as save:
            for index, picture in render(model, walk, run.missing()):
                save(index, picture)
        video.encode(run.frames(), folder / "film.mp4", walk.fps)
        return run.frames()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    walk = Walk.through(read_prompts(PROMPTS), frames=options.frames, smooth=False)
    pipe = StableDiffusionPipeline.from_pretrained(hub.find("toybox"), requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    model = models.load(Settings(steps=STEPS, guidance=GUIDANCE))
    times: dict[str, list[float]] = {"plain loop": [], "walk": []}
    difference = 0.0
    for number in range(options.rounds + 1):  # the first is for warming up
        with tempfile.TemporaryDirectory() as folder:
            frames = {}
            for name, make in (
                ("plain loop", lambda f: plain_loop(pipe, walk, f)),
                ("walk", lambda f: with_walk(model, walk, f)),
            ):
                place = Path(folder) / name
                place.mkdir()
                begun = time.perf_counter()
                frames[name] = make(place)
                if number:
                    times[name].append(time.perf_counter() - begun)
            pairs = zip(frames["plain loop"], frames["walk"])
            difference = max(
                np.abs(np.asarray(Image.open(a), int) - np.asarray(Image.open(b), int)).max() for a, b in pairs
            )
        if number:
            print(f"round {number}: plain loop {times['plain loop'][-1]:.2f} s, walk {times['walk'][-1]:.2f} s")
    ratios = [a / b for a, b in zip(times["plain loop"], times["walk"])]
    print(
        json.dumps(
            {
                "frames": options.frames,
                "frames_a_second": {name: round(options.frames / statistics.median(t), 2) for name, t in times.items()},
                "ratio": round(statistics.median(ratios), 2),
                "largest_pixel_difference": int(difference),
            }
        )
    )


if __name__ == "__main__":
    main()
