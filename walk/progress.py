"""What is being done, and how far it is, for whoever wants to know.

Here nobody does: these keep it to themselves. What a terminal shows, walk.cli knows.
"""

from __future__ import annotations


class Progress:
    """Counts what is done, up to a total that may still change; a context manager.

    what: such as 'rendering'. after: seconds of work that are not worth telling of. unit: of what is counted.
    """

    def __init__(self, what: str, total: int, after: float = 0, unit: str = "frames") -> None:
        self.what, self.total, self.after, self.unit = what, total, after, unit
        self.count = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def more(self, count: int) -> None:
        self.reached(self.count + count)

    def skip(self, count: int) -> None:
        """So many need not be done after all."""
        self.expect(self.total - count)

    def expect(self, total: int) -> None:
        self.total = total

    def reached(self, count: int) -> None:
        if count > self.total:
            self.expect(count)
        self.count = count


class Listener:
    """Is told what is done."""

    def say(self, text: str) -> None:
        """A sentence, for people."""

    def progress(self, what: str, total: int, after: float = 0, unit: str = "frames") -> Progress:
        return Progress(what, total, after, unit)
