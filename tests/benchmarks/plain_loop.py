"""walk against the loop that one would write with diffusers: a call of the pipeline a frame.

    python tests/benchmarks/plain_loop.py [--frames 32] [--rounds 5]
    python tests/benchmarks/plain_loop.py --architecture sd15 [--side 512] [--steps 30] [--alone] [--compile]

Both make the same film (same keyframes, same path, same steps), each frame a PNG, then an MP4: of the built-in
model, or of a real architecture with random weights. They take turns in one process with the model loaded before the
clock starts. The ratio is of the loop's time to walk's, so over 1 means that walk is faster. With --alone, the
denoiser and the decoder, both compiled, run by themselves, too, on batches that lie ready: frames of theirs are
what walk's are a share of.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import architectures
import diffusers
import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image
from torch.autograd import DeviceType

from walk import Settings, Walk, formats, hub, machine, models, read_prompts, video
from walk.geometry import slerp
from walk.render import render
from walk.run import Run

PROMPTS = ["a rocket in space", "an alien in a galaxy", "a panda in a forest"]


def loaded(folder: Path, settings: Settings) -> Any:
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=getattr(torch, settings.dtype))
    if settings.decoder != "own":
        pipe.vae = diffusers.AutoencoderTiny.from_pretrained(settings.decoder, dtype=pipe.vae.dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def plain_loop(pipe: Any, walk: Walk, settings: Settings, folder: Path, count: int) -> list[Path]:
    """As found in tutorials: embed each prompt, interpolate, call the pipeline, save, assemble; the first frames."""
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    guided = (settings.guidance or 0) > 1
    device = pipe.unet.device
    encoded = []
    for keyframe in walk.keyframes:
        made = pipe.encode_prompt(
            keyframe.prompt, device=device, num_images_per_prompt=1, do_classifier_free_guidance=guided
        )
        encoded.append({name: tensor for name, tensor in zip(names, made) if tensor is not None})
    shape = (pipe.unet.config.in_channels, *_sides(pipe, settings))
    noises = [torch.randn(1, *shape, generator=torch.Generator().manual_seed(k.seed)) for k in walk.keyframes]
    paths = []
    for index, position in enumerate(walk.positions[:count]):
        a = min(int(position), len(encoded) - 2)
        t = position - a
        noise = slerp(noises[a].flatten(), noises[a + 1].flatten(), t).reshape(noises[a].shape)
        image = pipe(
            **{name: slerp(tensor, encoded[a + 1][name], t) for name, tensor in encoded[a].items()},
            latents=noise.to(device, pipe.unet.dtype),
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            height=settings.height,
            width=settings.width,
        ).images[0]
        paths.append(folder / f"{index:06d}.png")
        image.save(paths[-1])
    size = formats.film_size((settings.width or 0, settings.height or 0))
    writer = imageio_ffmpeg.write_frames(str(folder / "film.mp4"), size, fps=24)
    writer.send(None)
    for path in paths:
        writer.send(np.ascontiguousarray(Image.open(path).resize(size, Image.Resampling.LANCZOS)))
    writer.close()
    return paths


def _sides(pipe: Any, settings: Settings) -> tuple[int, int]:
    return (settings.height or 0) // pipe.vae_scale_factor, (settings.width or 0) // pipe.vae_scale_factor


def with_walk(model: models.Model, walk: Walk, folder: Path) -> list[Path]:
    with Run(folder / "film.walk", walk, model.settings) as run:
        with run.saver() as save:
            for index, picture in render(model, walk, run.missing()):
                save(index, picture)
        video.encode(run.frames(), folder / "film.mp4", walk.fps)
        return run.frames()


def alone(model: Any, folder: Path, walk: Walk) -> Callable[[], None]:
    """As many batches of denoising and decoding as a film needs, compiled, of what lies ready on the device."""
    settings = model.settings
    pipe = loaded(folder, settings).to(settings.device)
    batch, guided = settings.batch or 1, (settings.guidance or 0) > 1
    rows = batch * (2 if guided else 1)
    noise = torch.stack([model.noise(0)] * batch).to(settings.device, model.dtype)
    conditioning = {name: torch.stack([c] * rows) for name, c in model.encode(walk.keyframes[0]).items()}
    embeddings = conditioning["prompt_embeds"].to(settings.device, model.dtype)
    more: dict[str, Any] = {}
    if "pooled_prompt_embeds" in conditioning:
        times = torch.tensor([[settings.height, settings.width, 0, 0, settings.height, settings.width]] * rows)
        pooled = conditioning["pooled_prompt_embeds"].to(settings.device, model.dtype)
        more["added_cond_kwargs"] = {"text_embeds": pooled, "time_ids": times.to(settings.device, model.dtype)}
    unet = torch.compile(pipe.unet.to(memory_format=torch.channels_last))
    decode = torch.compile(pipe.vae.to(memory_format=torch.channels_last).decode)
    step = noise.new_tensor(500.0)

    @torch.inference_mode()
    def run() -> None:
        for _ in range(-(-walk.frames // batch)):
            latents = noise
            for _ in range(settings.steps or 1):
                both = torch.cat([latents] * 2) if guided else latents
                latents = unet(both, step, embeddings, **more).sample[:batch]
            pictures = decode(latents).sample
        pictures.cpu()

    return run


def idle(work: Callable[[], object]) -> float:
    """Which share of the time from its first kernel to its last a GPU does nothing."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    events = [event for event in profile.profiler.kineto_results.events() if event.device_type() == DeviceType.CUDA]
    spans = sorted((event.start_ns(), event.start_ns() + event.duration_ns()) for event in events)
    busy, done = 0, spans[0][0]
    for start, end in spans:
        busy += max(0, end - max(start, done))
        done = max(done, end)
    return 1 - busy / (done - spans[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", choices=["toybox", *architectures.ARCHITECTURES], default="toybox")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    for name in ("side", "steps", "batch"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--plain", type=int, help="frames of the plain loop, if fewer are enough")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--compile", action="store_true", help="walk's model, too")
    parser.add_argument("--home", type=Path, help="where the architecture lies, or is to be kept")
    options = parser.parse_args()

    walk = Walk.through(read_prompts(PROMPTS), frames=options.frames, smooth=False)
    asked: dict[str, Any] = {"width": options.side, "height": options.side, "batch": options.batch}
    with tempfile.TemporaryDirectory() as home:
        if options.architecture == "toybox":
            folder, steps, guidance = hub.find_model("toybox"), 4, 1.0
        else:
            steps, guidance, decoder = architectures.ARCHITECTURES[options.architecture]
            folder = architectures.build(options.architecture, options.home or Path(home), torch.float16)
            asked |= {"model": str(folder), "decoder": "own" if decoder == "own" else str(folder.with_name("taesd"))}
        asked |= {name: getattr(options, name) for name in ("device", "dtype", "compile")}
        asked["steps"] = options.steps or steps
        settings = models.complete(Settings(guidance=guidance, **asked))
        model = models.load(settings)
        pipe = loaded(folder, settings).to(settings.device)
        some = min(options.plain or walk.frames, walk.frames)
        ways: dict[str, Callable[[Path], list[Path] | None]] = {
            "plain loop": lambda place: plain_loop(pipe, walk, settings, place, some),
            "walk": lambda place: with_walk(model, walk, place),
        }
        if options.alone:
            by_itself = alone(model, folder, walk)
            ways["model alone"] = lambda place: by_itself()
        measure(options, settings, ways, {"plain loop": some})


def measure(
    options: argparse.Namespace, settings: Settings, ways: dict[str, Callable[[Path], Any]], made: dict[str, int]
) -> None:
    """made: the frames of a way that makes fewer."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    difference = 0
    for number in range(options.rounds + 1):  # the first is for warming up
        with tempfile.TemporaryDirectory() as folder:
            frames = {}
            for name, make in ways.items():
                (place := Path(folder) / name).mkdir()
                torch.backends.cudnn.deterministic = name == "walk"  # as walk has it, and as others find it
                begun = time.perf_counter()
                frames[name] = make(place)
                machine.wait(settings.device)
                if number:
                    times[name].append((time.perf_counter() - begun) / made.get(name, options.frames))
            for a, b in zip(frames["plain loop"], frames["walk"]):
                apart = np.abs(np.asarray(Image.open(a), int) - np.asarray(Image.open(b), int)).max()
                difference = max(difference, int(apart))
        if number:
            print(f"round {number}: " + ", ".join(f"{name} {taken[-1]:.3g} s a frame" for name, taken in times.items()))

    more = {}
    if settings.device.startswith("cuda"):
        with tempfile.TemporaryDirectory() as folder:
            more["gpu_idle"] = round(idle(lambda: ways["walk"](Path(folder))), 3)

    def ratio(one: str, other: str) -> float:
        return round(statistics.median(a / b for a, b in zip(times[one], times[other])), 3)

    print(
        json.dumps(
            {
                "architecture": options.architecture,
                **{
                    name: getattr(settings, name)
                    for name in ("width", "height", "steps", "batch", "device", "dtype", "compile")
                },
                "frames": options.frames,
                "frames_a_second": {name: round(1 / statistics.median(t), 2) for name, t in times.items()},
                "ratio": ratio("plain loop", "walk"),
                **({"of_the_model_alone": ratio("model alone", "walk")} if options.alone else {}),
                "largest_pixel_difference": difference,
                **more,
            }
        )
    )


if __name__ == "__main__":
    main()
