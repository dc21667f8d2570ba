"""`walk`, and `python -m walk`: the command, from its first moment."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def process() -> NoReturn:
    """The command, which may be stopped while its modules are still on their way."""
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115  (None where it was closed; print takes stdout then)
    try:
        from walk import cli

        cli.process()
    except KeyboardInterrupt:
        print("\nwalk: stopped", file=sys.stderr, flush=True)
        os._exit(130)


if __name__ == "__main__":
    process()
