"""A model of your own; here it is a formula without weights.

    python examples/own_model.py

Makes waves.mp4, even to the eye. After a stop, run it again, and it goes on.
"""

import torch

import walk
from walk.models import Model

SIDE = 256


class Waves(Model):
    """Rings on water, red, green and blue: a prompt's length says how many, and noise around which places."""

    settings = walk.Settings(
        **{"model": "waves", "width": SIDE, "height": SIDE, "batch": 8, "device": "cpu", "dtype": "float32"},
        **{"steps": 1, "guidance": 1.0, "scheduler": "none"},  # unused by a formula, but every run records them
        weights="waves 1",  # identifies the frames: if you change the formula, change the number
        software=(f"torch {torch.__version__}",),
    )

    def encode(self, keyframe):
        return {"rings": torch.tensor([float(len(keyframe.prompt))])}

    def noise(self, seed):
        return torch.randn(3, 2, generator=torch.Generator().manual_seed(seed))  # a place for each colour

    def denoise(self, noise, conditioning):  # all have a batch dimension in front
        y, x = torch.meshgrid(*[torch.linspace(-1, 1, SIDE)] * 2, indexing="ij")
        far = torch.hypot(x[..., None] - noise[:, None, None, :, 0], y[..., None] - noise[:, None, None, :, 1])
        return torch.cos(conditioning["rings"][:, None, None] * far)

    def decode(self, latents, exact=False):
        return lambda: (127.5 * latents + 127.5).byte()  # (batch, height, width, 3)


if __name__ == "__main__":
    walk.make(["a pond", "a lake in the rain", "the sea"], Waves(), frames=48, out="waves.mp4")
