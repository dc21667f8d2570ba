"""The whole command with the built-in model, from pressing return: the first pictures, and the film's path.

python tests/benchmarks/command.py [--frames 200] [--rounds 3]
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

PROMPTS = ["a rocket in space", "an alien in a galaxy", "a moon in a starry night", "a panda in a forest"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    first: list[float] = []
    whole: list[float] = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "walk", "--prompts", *PROMPTS, "--frames", str(options.frames)]
            begun = time.perf_counter()
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert process.stderr is not None
            shown = [time.perf_counter() - begun for line in process.stderr if line.startswith("rendering")]
            assert process.wait() == 0
            first.append(shown[0])
            whole.append(time.perf_counter() - begun)
        print(f"round {number + 1}: first pictures after {first[-1]:.1f} s, film after {whole[-1]:.1f} s")
    print(
        json.dumps(
            {
                "frames": options.frames,
                "first_picture_seconds": round(statistics.median(first), 1),
                "film_seconds": round(statistics.median(whole), 1),
            }
        )
    )


if __name__ == "__main__":
    main()
