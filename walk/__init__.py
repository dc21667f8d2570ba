"""Films that walk through what a text-to-image diffusion model knows.

The public names. Importing this module is cheap: torch and diffusers are only imported by
`walk.models`, `walk.geometry` and `walk.render`, which a library user imports by name.
"""


class Error(Exception):
    """Something the user can mend; the message says what was given, what is accepted and where."""


class OutOfMemoryError(Error):
    """So many frames at a time, `batch`, need more memory than there is."""

    def __init__(self, batch: int) -> None:
        self.batch = batch
        many = f"{batch} frames at a time need more memory than there is; try --batch {batch // 2}"
        super().__init__(
            many
            if batch > 1
            else "a frame needs more memory than there is; try a smaller --width and --height, or --low_memory"
        )


from walk.keyframes import Keyframe, read_prompts  # noqa: E402  (they raise Error)
from walk.settings import Settings  # noqa: E402
from walk.timeline import Walk  # noqa: E402

__version__ = "0.1.0"
__all__ = ["Error", "Keyframe", "OutOfMemoryError", "Settings", "Walk", "__version__", "read_prompts"]
