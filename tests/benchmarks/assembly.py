"""Assembling finished frames into a film: does time grow in proportion, and memory not at all?

    python tests/benchmarks/assembly.py [--frames 200 800] [--rounds 3]

Frames of 512x512 are made once; each film is made by a fresh process, in turns. Memory is the
largest of Python's and ffmpeg's.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

CHILD = """
import resource, sys, time
from fractions import Fraction
from pathlib import Path
from walk import video
folder, count = Path(sys.argv[1]), int(sys.argv[2])
frames = [folder / f"{i % 100}.png" for i in range(count)]
begun = time.perf_counter()
video.encode(frames, folder / "film.mp4", Fraction(24))
seconds = time.perf_counter() - begun
memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(seconds, memory)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs=2, default=[200, 800])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    seconds: dict[int, list[float]] = {count: [] for count in options.frames}
    memory: dict[int, list[float]] = {count: [] for count in options.frames}
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        base = np.asarray(Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).resize((612, 512)))
        for i in range(100):  # a picture that glides by
            Image.fromarray(base[:, i : i + 512]).save(Path(folder) / f"{i}.png", compress_level=1)
        for number in range(options.rounds):
            for count in options.frames:
                child = [sys.executable, "-c", CHILD, folder, str(count)]
                figures = subprocess.run(child, capture_output=True, text=True, check=True).stdout.split()
                seconds[count].append(float(figures[0]))
                memory[count].append(int(figures[1]) / 1024)
                print(f"round {number + 1}: {count} frames in {seconds[count][-1]:.2f} s, {memory[count][-1]:.0f} MB")
    few, many = options.frames
    print(
        json.dumps(
            {
                "frames": [few, many],
                "seconds": [round(statistics.median(seconds[count]), 2) for count in (few, many)],
                "time_ratio": round(statistics.median(b / a for a, b in zip(seconds[few], seconds[many])), 2),
                "megabytes": [round(statistics.median(memory[count])) for count in (few, many)],
                "memory_ratio": round(statistics.median(b / a for a, b in zip(memory[few], memory[many])), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
