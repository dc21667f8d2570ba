"""Makes a film without the command, from the parts that the command uses, so that you can combine them in other ways.

    python examples/library.py

Makes library.mp4 from two keyframes, and prints how far each frame is from the one before.
"""

import numpy as np

from walk import Walk, film, models, read_prompts
from walk.render import render
from walk.run import Run

keyframes = read_prompts(["a frog on a yellow background", "a red heart on a pink background"], seed=1)
walk = Walk.through(keyframes, frames=32, fps=16, closed=True)
model = models.load()

with Run("library.walk", walk, model.settings) as run:
    before = None
    for index, picture in render(model, walk, run.missing()):
        run.save(index, picture)
        if before is not None:
            change = np.sqrt(np.mean((picture.astype(float) - before) ** 2))
            print(f"frame {index}: position {walk.positions[index]:.3f}, changed by {change:.1f} levels")
        before = picture
    film.make(run, "library.mp4")
