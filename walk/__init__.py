"""Films that walk through what a text-to-image diffusion model knows.

The public names. Importing this module is cheap: torch and diffusers come with modules that a library user imports by
name, such as `walk.models` and `walk.render`.
"""

from __future__ import annotations


class Error(Exception):
    """Something the user can mend; the message says what was given, what is accepted and where."""


class OutOfMemoryError(Error):
    """So many frames at a time, `batch`, need more memory than there is. `instead`: settings that need less, if any are
    left."""

    def __init__(self, settings: Settings, whole: bool = False) -> None:
        """whole: the model finds no room, however few the frames are."""
        self.batch = settings.batch or 1
        self.instead: dict[str, int] = {}
        sparing = settings.device.startswith("cuda") and not settings.low_memory
        if sparing:
            self.instead = {"low_memory": True, "batch": self.batch}  # which could become another by itself
        if whole:
            less = "--low-memory, " * sparing + "a quantised --denoiser (.gguf), " * (settings.denoiser == "own")
            what = f"{settings.device} has too little memory for {settings.model}; try {less}--device cpu or another --model"
        elif self.batch == 1:
            less = ", or --low-memory" * sparing
            what = f"a frame needs more memory than there is; try a smaller --width and --height{less}"
        else:
            self.instead = {"batch": self.batch // 2}
            what = f"{self.batch} frames at a time need more memory than there is; try --batch {self.batch // 2}"
        super().__init__(what)


from walk.api import Film, make, preview, seeds  # noqa: E402
from walk.keyframes import Keyframe, read_prompts  # noqa: E402  (they raise Error)
from walk.settings import Settings  # noqa: E402
from walk.timeline import Walk  # noqa: E402

__version__ = "0.1.0"
__all__ = [
    "Error",
    "Film",
    "Keyframe",
    "OutOfMemoryError",
    "Settings",
    "Walk",
    "__version__",
    "make",
    "preview",
    "read_prompts",
    "seeds",
]
