"""What is being done, and how far it is, for whoever wants to know.

A `Listener` keeps it to itself; `Bars` shows it, and is the only one outside the command that prints.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

PLAIN_SECONDS = 10  # between lines of progress where nothing can be drawn


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

    def expect(self, total: int) -> None:
        self.total = total

    def reached(self, count: int) -> None:
        if count > self.total:
            self.expect(count)
        self.count = count


class Listener:
    """Is told what is done, from when it is made on."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.waits = False  # whether it knows that libraries take long to import

    def say(self, text: str) -> None:
        """A sentence, for people."""

    def note(self, text: str) -> None:
        """A sentence about what may surprise."""
        self.say(f"note: {text}")

    def progress(self, what: str, total: int, after: float = 0, unit: str = "frames") -> Progress:
        return Progress(what, total, after, unit)


@contextlib.contextmanager
def in_bytes(listener: Listener) -> Iterator[Callable[[str, int, int], None]]:
    """What reports bytes can be told: what is done, such as 'reading x.safetensors', of how many and of how many in all."""
    with contextlib.ExitStack() as shown:
        bars: dict[str, Progress] = {}

        def report(what: str, done: int, size: int) -> None:
            if what not in bars:
                bars[what] = shown.enter_context(listener.progress(what, size >> 20, after=2, unit="MiB"))
            if size >> 20 != bars[what].total:
                bars[what].expect(size >> 20)
            bars[what].reached(done >> 20)

        yield report


class Bars(Listener):
    """Shows it on stderr: bars on a terminal and in a notebook, elsewhere a line now and then.

    with Run("film.walk", walk, model.settings) as run, Work(run, model, Bars()) as work:
        work.finished(run)
    """

    def say(self, text: str) -> None:
        # Unless somebody has imported it, there is no bar, whose line this would go on.
        tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
        with tqdm.external_write_mode(sys.stderr) if tqdm else contextlib.nullcontext():
            print(text, file=sys.stderr, flush=True)

    def progress(self, what: str, total: int, after: float = 0, unit: str = "frames") -> Progress:
        return _Bar(what, total, after, unit)


class _Bar(Progress):
    def __enter__(self) -> _Bar:
        self.begun = self.told = time.monotonic()
        self.bar: Any = None
        if not self.after:
            self._draw()
        return self

    def _draw(self) -> None:
        terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        if self.total and (terminal or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm

            # Not its own `delay`: by a refresh it would be drawn before, and then not be ended by a line break.
            how: dict[str, Any] = {"initial": self.count, "unit": f" {self.unit}", "dynamic_ncols": True}
            with contextlib.suppress(OSError, AttributeError, ValueError):
                if not os.get_terminal_size(sys.stderr.fileno()).columns:  # which it does not know
                    how |= {"dynamic_ncols": False, "ncols": 80, "nrows": 24}
            self.bar = tqdm(desc=self.what, total=self.total, file=sys.stderr, **how)

    def expect(self, total: int) -> None:
        super().expect(total)
        if self.bar is not None:
            self.bar.total = total
            if hasattr(self.bar, "container"):  # in a notebook, where tqdm draws to the total that it was told first
                self.bar.container.children[1].max = total
            self.bar.refresh()

    def reached(self, count: int) -> None:
        super().reached(count)
        now = time.monotonic()
        if self.bar is None and now - self.begun >= self.after:
            self._draw()
        if self.bar is not None:
            self.bar.update(count - self.bar.n)
        elif now - self.told > PLAIN_SECONDS or (self.told == self.begun and not self.after):
            self.told = now
            rate = count / max(now - self.begun, 1e-9)
            left = round((self.total - count) / max(rate, 1e-9))
            pace = f"{rate:.3g} a second, {left // 60}:{left % 60:02d} left"
            Bars().say(f"{self.what}: {count} of {self.total} {self.unit}, {pace}")

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
