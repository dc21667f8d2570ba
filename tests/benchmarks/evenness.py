"""Even speed: random triples of prompts, as a film with equal steps along the path and as one with even speed.

python tests/benchmarks/evenness.py [--triples 20] [--frames 61] [--seed 0] [--path smooth] [--model toybox]

Reports, by root mean square of sRGB levels and by walk.eye's distance, the variance of the steps
(PDV; Karras et al.'s perceptual path length, CVPR 2019, is their sum) and the largest step over the median;
and what the even film costs more than the other: of pictures, of batches and of processor time.
"""

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from walk import Settings, Walk, eye, hub, models, read_prompts, speed
from walk.render import render

BACKGROUNDS = ["white", "blue", "pink", "teal", "red", "purple", "yellow", "green"]


def rms(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.mean((a.astype(float) - b.astype(float)) ** 2)))


def by_eye(a: np.ndarray, b: np.ndarray) -> float:
    return 100 * eye.distance(eye.features(a), eye.features(b))


def figures(pictures: Sequence[np.ndarray], distance: Callable[[np.ndarray, np.ndarray], float]) -> tuple[float, float]:
    """PDV, and the largest step over the median."""
    steps = [distance(a, b) for a, b in pairwise(pictures)]
    return float(np.var(steps)), max(steps) / statistics.median(steps)


def rendered(model: models.Model, walk: Walk, positions: Sequence[float]) -> list[np.ndarray]:
    part = Walk(walk.keyframes, tuple(positions), walk.fps, walk.closed, walk.smooth)
    pictures = dict(render(model, part, range(part.frames)))
    return [pictures[index] for index in range(part.frames)]


def evenly(model: models.Model, walk: Walk) -> tuple[list[np.ndarray], int, int]:
    """The pictures of an even film, how many were made for it, and in how many batches."""
    made: dict[float, np.ndarray] = {}
    batch, batches = model.settings.batch or 1, 0

    def make(positions: Sequence[float]) -> None:
        nonlocal batches
        made.update(zip(positions, rendered(model, walk, positions)))
        batches += math.ceil(len(positions) / batch)

    evener = speed.Evener(walk, lambda position: eye.features(made[position]))
    before: list[float] = []
    while (wanted := evener.next_batch(batch)) or before:
        make(wanted)
        evener.saw(before)
        before = wanted
    if rest := sorted(set(evener.walk.positions) - set(made)):
        make(rest)
    return [made[position] for position in evener.walk.positions], len(made), batches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=20)
    parser.add_argument("--frames", type=int, default=61)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--path", default="smooth", choices=["smooth", "slerp"])
    parser.add_argument("--model", default="toybox")
    options = parser.parse_args()

    model = models.load(Settings(model=options.model))
    text = (hub.find_model("toybox") / "words.txt").read_text("utf-8")
    things = [line for line in text.split("# Things:")[1].split("#")[0].splitlines() if line]
    draw = random.Random(options.seed)
    rows = []
    for number in range(options.triples):
        prompts = [f"a {draw.choice(things)} on a {draw.choice(BACKGROUNDS)} background" for _ in range(3)]
        walk = Walk.through(read_prompts(prompts, 3 * number), options.frames, smooth=options.path == "smooth")
        begun = time.process_time()
        plain = rendered(model, walk, walk.positions)
        between = time.process_time()
        even, made, batches = evenly(model, walk)
        seconds = time.process_time() - between
        usual = math.ceil(walk.frames / (model.settings.batch or 1))
        row = {
            "more_pictures": made / walk.frames - 1,
            "more_batches": batches / usual - 1,
            "more_time": seconds / (between - begun) - 1,
        }
        for name, distance in (("rms", rms), ("eye", by_eye)):
            (before, jump), (after, largest) = figures(plain, distance), figures(even, distance)
            row |= {f"{name}_pdv": before / after, f"{name}_before": jump, f"{name}_largest": largest}
        rows.append(row)
        print(
            f"{number + 1}: {prompts}: " + ", ".join(f"{name} {value:.3g}" for name, value in row.items()), flush=True
        )
    result = {f"median_{name}": round(statistics.median(row[name] for row in rows), 3) for name in rows[0]}
    for name in ("rms", "eye"):
        result[f"{name}_largest_up_to_2.2"] = sum(row[f"{name}_largest"] <= 2.2 for row in rows)
    settings = {name: getattr(options, name) for name in ("triples", "frames", "seed", "path", "model")}
    print(json.dumps({**settings, **result}))


if __name__ == "__main__":
    main()
