"""What the whole command takes beside the model: time outside it, and memory as a film grows.

    python tests/benchmarks/resources.py [--frames 200 2000] [--rounds 3]

Each film of the built-in model is made by a fresh process. Time outside the model is what passes from the first
denoising to the last decoding while neither goes on, at the model's own steps and the first number of frames.
Memory is the largest of Python's and ffmpeg's, for both numbers of frames, at a single step.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile

PROMPTS = ["a rocket in space", "an alien in a galaxy", "a moon in a starry night", "a panda in a forest", "a fox"]
CHILD = """
import json, resource, sys, time
from walk import cli, models

spans = []


def timed(part):
    def run(*arguments):
        begun = time.perf_counter()
        result = part(*arguments)
        spans.append((begun, time.perf_counter()))
        return result

    return run


models.Pipeline.denoise = timed(models.Pipeline.denoise)
models.Pipeline.decode = timed(models.Pipeline.decode)
assert cli.main(sys.argv[1:]) == 0
memory = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
within = sum(end - begun for begun, end in spans)
print(json.dumps([1 - within / (spans[-1][1] - spans[0][0]), memory / 1024]))
"""


def made(*flags: str) -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        child = [sys.executable, "-c", CHILD, "--prompts", *PROMPTS, "--out", "film.mp4", "--quiet", *flags]
        result = subprocess.run(child, cwd=folder, capture_output=True, text=True, check=True)
    return list(json.loads(result.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs=2, default=[200, 2000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    few, many = map(str, options.frames)
    outside, memory = [], []
    for number in range(options.rounds):
        outside.append(made("--frames", few)[0])
        memory.append([made("--frames", count, "--steps", "1")[1] for count in (few, many)])
        print(
            f"round {number + 1}: {outside[-1]:.1%} outside the model; {memory[-1][0]:.0f} and {memory[-1][1]:.0f} MB"
        )
    print(
        json.dumps(
            {
                "frames": options.frames,
                "outside_the_model": round(statistics.median(outside), 4),
                "megabytes": [round(statistics.median(each)) for each in zip(*memory)],
                "memory_ratio": round(statistics.median(b / a for a, b in memory), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
