"""Films that walk through what a text-to-image diffusion model knows.

The public names. Importing this module is cheap: torch and diffusers are only imported by
`walk.models`, `walk.geometry` and `walk.render`, which a library user imports by name.
"""


class Error(Exception):
    """Something the user can mend; the message says what was given, what is accepted and where."""


from walk.keyframes import Keyframe, read_prompts  # noqa: E402  (they raise Error)
from walk.settings import Settings  # noqa: E402
from walk.timeline import Walk  # noqa: E402

__version__ = "0.1.0"
__all__ = ["Error", "Keyframe", "Settings", "Walk", "__version__", "read_prompts"]
