"""Does the picture move with the sound? Click tracks as films of the built-in model, read again.

python tests/benchmarks/pulse.py [--steps 4] [--seconds 6] [--rates 30 25 23.976 60] [--tempi 60 97 128 180]

With --pace beat: of how many clicks the largest change between two frames near it is within a frame of it.
With --pace energy: the rank correlation (Spearman) between the change into each frame and the onsets there, as a
meter with a fall of a tenth of a second shows them (of clicks alone nine frames in ten have none).
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import scipy.stats
import soundfile

from walk import audio, cli, eye, sounds
from walk.rates import parse_fps

RATE = 44100
PROMPTS = ["a red apple on a blue background", "a green frog on a yellow background", "a fox in a forest"]


def clicks(path: Path, bpm: float, seconds: float) -> np.ndarray:
    """Writes short decaying bursts of noise, of random strength; returns their times."""
    generator = np.random.default_rng(int(bpm))
    samples = np.zeros(round(seconds * RATE))
    burst = generator.normal(size=RATE // 50) * np.exp(-np.arange(RATE // 50) / 150) * 0.25
    times = np.arange(0.25, seconds - 0.05, 60 / bpm)
    for time in times:
        start = round(time * RATE)
        samples[start : start + len(burst)] += burst * generator.uniform(0.5, 1)
    soundfile.write(path, samples, RATE)
    return times


def changes(film: Path) -> np.ndarray:
    """How far each frame looks from the one before; the first, from itself."""
    reader = imageio_ffmpeg.read_frames(str(film))
    width, height = next(reader)["size"]
    seen = [eye.features(np.frombuffer(data, np.uint8).reshape(height, width, 3)) for data in reader]
    return np.array([0.0, *(eye.distance(a, b) for a, b in pairwise(seen))])


def followed(envelope: np.ndarray, frames: int, rate: Fraction) -> np.ndarray:
    """The onset envelope at each frame, as a meter shows it: up at once, down to 1/e in a tenth of a second."""
    times = np.arange(len(envelope)) / audio.ENVELOPE_RATE
    shown = (np.arange(frames)[:, None] + 0.5) / float(rate)
    past = np.where(times <= shown, envelope * np.exp((times - shown) / 0.1), 0)
    return past.max(axis=1)


def made(folder: Path, pace: str, fps: str, steps: int) -> np.ndarray:
    out = folder / f"{pace}.mp4"
    command = ["--prompts", *PROMPTS, "--audio", str(folder / "clicks.wav"), "--pace", pace, "--fps", fps]
    with contextlib.redirect_stdout(open(os.devnull, "w")):
        status = cli.main([*command, "--steps", str(steps), "--size", "128", "--out", str(out), "--quiet"])
    assert status == 0
    return changes(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rates", nargs="+", default=["30", "25", "23.976", "60"])
    parser.add_argument("--tempi", nargs="+", type=float, default=[60, 97, 128, 180])
    options = parser.parse_args()

    hits, correlations = [], []
    for fps in options.rates:
        for bpm in options.tempi:
            with tempfile.TemporaryDirectory() as name:
                folder, rate = Path(name), parse_fps(fps)
                times = clicks(folder / "clicks.wav", bpm, options.seconds)
                change = made(folder, "beat", fps, options.steps)
                near = int(rate * Fraction(60 / bpm) / 2)  # half a beat
                at = [int(Fraction(time) * rate + Fraction(1, 2)) for time in times]
                peaks = [
                    max(frame - near, 0) + int(np.argmax(change[max(frame - near, 0) : frame + near])) for frame in at
                ]
                hit = [abs(peak - frame) <= 1 for peak, frame in zip(peaks, at)]
                change = made(folder, "energy", fps, options.steps)
                envelope = audio.listen(sounds.read_sound(folder / "clicks.wav")).envelope
                onsets = followed(np.array(envelope), len(change), rate)
                correlation = float(scipy.stats.spearmanr(change[1:], onsets[1:])[0])
            hits += hit
            correlations.append(correlation)
            print(f"{fps} fps, {bpm:g} bpm: {sum(hit)} of {len(hit)} clicks; correlation {correlation:.2f}", flush=True)
    result = {
        "clicks": len(hits),
        "within_a_frame": round(statistics.mean(hits), 4),
        "correlation_median": round(statistics.median(correlations), 3),
        "correlation_least": round(min(correlations), 3),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
