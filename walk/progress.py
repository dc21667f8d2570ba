"""What is being done, and how far it is, for whoever wants to know.

A `Listener` ignores it; `Bars` shows it, and is the only thing outside the command that prints.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from walk.text import plural

NOTES = 8  # of one kind that are said
PLAIN_SECONDS = 10  # between lines of progress where nothing can be drawn


class Progress:
    """Counts what is done, up to a total that may still change; a context manager.

    what: such as 'rendering'. after: seconds; progress of shorter work is not shown. unit: of what is counted.
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

    def expect(self, total: int) -> None:
        self.total = total

    def reached(self, count: int) -> None:
        if count > self.total:
            self.expect(count)
        self.count = count


class Listener:
    """Receives progress, and ignores it."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.waits = False  # whether it was told that libraries take long to import

    def say(self, text: str) -> None:
        """A sentence, for people."""

    def note(self, text: str) -> None:
        """Say something that may be worth knowing."""
        self.say(f"note: {text}")

    def notes(self, texts: Sequence[str]) -> None:
        """Say several of one kind; of many, the first."""
        for text in texts[:NOTES]:
            self.note(text)
        if more := len(texts[NOTES:]):
            self.note(f"{plural(more, 'more note')} of this kind")

    def progress(self, what: str, total: int, after: float = 0, unit: str = "frames") -> Progress:
        return Progress(what, total, after, unit)


@contextlib.contextmanager
def in_bytes(listener: Listener) -> Iterator[Callable[[str, int, int], None]]:
    """A function that takes reports in bytes: of what is done, such as 'reading x.safetensors', how many are done, and
    how many there are."""
    with contextlib.ExitStack() as entered:
        bars: dict[str, Progress] = {}

        def report(what: str, done: int, size: int) -> None:
            if what not in bars:
                bars[what] = entered.enter_context(listener.progress(what, size >> 20, after=2, unit="MiB"))
            if size >> 20 != bars[what].total:
                bars[what].expect(size >> 20)
            bars[what].reached(done >> 20)

        yield report


class Bars(Listener):
    """Shows progress on stderr: as bars on a terminal and in a notebook, elsewhere as a line now and then.

    with Run("film.walk", walk, model.settings) as run, Work(run, model, Bars()) as work:
        work.finished(run)
    """

    def say(self, text: str) -> None:
        # Lest the text continue a bar's line; unless tqdm has been imported, there is no bar.
        tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
        with tqdm.external_write_mode(sys.stderr) if tqdm else contextlib.nullcontext():
            print(text, file=sys.stderr, flush=True)

    def progress(self, what: str, total: int, after: float = 0, unit: str = "frames") -> Progress:
        return _Bar(what, total, after, unit)


class _Bar(Progress):
    def __enter__(self) -> _Bar:
        self.begun = self.last_line = time.monotonic()
        self.bar: Any = None
        self.first: tuple[int, float] | None = None  # the first count, and when: what came before took its own time
        if not self.after:
            self._draw()
        return self

    def _draw(self) -> None:
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        if self.total and (terminal or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm

            # Without its own `delay`: a refresh would draw it earlier, and then no line break would end it.
            how: dict[str, Any] = {"initial": self.count, "unit": f" {self.unit}", "dynamic_ncols": True}
            with contextlib.suppress(OSError, AttributeError, ValueError):
                if not os.get_terminal_size(sys.stderr.fileno()).columns:  # as where a terminal does not know its size
                    how |= {"dynamic_ncols": False, "ncols": 80, "nrows": 24}
            self.bar = tqdm(desc=self.what, total=self.total, file=sys.stderr, **how)

    def expect(self, total: int) -> None:
        super().expect(total)
        if self.bar is not None:
            self.bar.total = total
            if hasattr(self.bar, "container"):  # in a notebook, where tqdm keeps drawing up to its first total
                self.bar.container.children[1].max = total
            self.bar.refresh()

    def reached(self, count: int) -> None:
        super().reached(count)
        now = time.monotonic()
        self.first = self.first or (count, now)
        if self.bar is None and now - self.begun >= self.after:
            self._draw()
        if self.bar is not None:
            self.bar.update(count - self.bar.n)
        elif now - self.last_line > PLAIN_SECONDS or (self.last_line == self.begun and not self.after):
            self.last_line = now
            base, since = self.first if self.first and self.first[0] < count else (0, self.begun)
            rate = (count - base) / max(now - since, 1e-9)
            left = round((self.total - count) / max(rate, 1e-9))
            pace = f"{rate:.3g} a second, {left // 60}:{left % 60:02d} left"
            Bars().say(f"{self.what}: {count} of {self.total} {self.unit}, {pace}")

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
