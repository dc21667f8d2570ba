"""Interpolated frames: how far they look from what the model makes there, and what they save.

python tests/benchmarks/interpolation.py [--every 2 3 4] [--frames 145] [--interpolator blend rife.pkl ...]

For each spacing and interpolator: the distance, to the eye, of interpolated frames from the pictures that the built-in model
makes at their positions, in median steps of the film whose frames are all rendered; the largest step over the median in the
film of both; and how many pictures were rendered.
"""

import argparse
import json
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

from walk import Settings, Walk, eye, flags, interpolate, models, read_prompts
from walk.between import Thinned, thinned
from walk.interpolate import Interpolator, Network
from walk.render import render
from walk.run import Run
from walk.work import Work

PROMPTS = Path(__file__).parents[2] / "examples" / "night.txt"


def pictures_of(model: models.Model, walk: Walk, indices: list[int]) -> dict[int, np.ndarray]:
    return dict(render(model, walk, indices))


def even(model: models.Model, it: Thinned) -> tuple[Walk, list[np.ndarray], int]:
    """The walk of rendered frames, even to the eye, their pictures, and how many were made for them."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Run(Path(folder, "a.walk"), it.walk, model.settings, decided=False) as run,
        Work(run, model) as work,
    ):
        run = work.evenly(run)
        work.finished(run)
        return run.walk, [run.picture(index) for index in range(run.walk.frames)], len(work.rendered)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    return eye.distance(eye.features(a), eye.features(b))


def steps(pictures: list[np.ndarray]) -> list[float]:
    return [eye.distance(a, b) for a, b in pairwise(map(eye.features, pictures))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--frames", type=int, default=145)
    parser.add_argument("--interpolator", nargs="+", default=[flags.BLEND])
    options = parser.parse_args()

    model = models.load(Settings())
    walk = Walk.through(read_prompts(str(PROMPTS)), frames=options.frames)
    _, whole, made = even(model, thinned(walk))
    usual = statistics.median(steps(whole))
    told = [{"every": 1, "rendered": made, "largest": round(max(steps(whole)) / usual, 2)}]
    for every in options.every:
        it = thinned(walk, every)
        sparse, rendered, made = even(model, it)
        full = it.filled(sparse)
        between = [index for index, spot in enumerate(it.spots) if spot.share]
        true = pictures_of(model, full, between)
        for name in options.interpolator:
            network = Network(None, name, name) if name == flags.BLEND else interpolate.read(Path(name))
            interpolator = Interpolator(network, model.settings)
            shown, begun = [], time.perf_counter()
            for before, after, share in it.spots:
                a, b = rendered[before], rendered[after]
                shown.append(interpolator(a, b, share) if share else a)
            seconds = time.perf_counter() - begun
            off = [distance(shown[index], true[index]) / usual for index in between]
            nearest = [min(distance(rendered[it.spots[i][j]], true[i]) for j in (0, 1)) / usual for i in between]
            told.append({
                "every": every, "interpolator": name, "rendered": made,
                "off": round(statistics.median(off), 3), "furthest": round(max(off), 2),
                "nearest_rendered": round(statistics.median(nearest), 3),
                "largest": round(max(steps(shown)) / statistics.median(steps(shown)), 2),
                "seconds_each": round(seconds / max(len(between), 1), 4),
            })  # fmt: skip
            print(told[-1], flush=True)
    print(json.dumps({"frames": options.frames, "films": told}))


if __name__ == "__main__":
    main()
