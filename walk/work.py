"""The frames of a film: found in its run folder, or rendered; and where they belong, if they are to be even.

Joins a run, a model and what the eye sees (walk.run, walk.render, walk.speed). Knows no flags, no sound and no films,
and prints nothing: a `walk.progress.Listener` is told.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from walk import Error, Settings, Walk, machine, models, speed
from walk.bench import KEYFRAMES
from walk.keyframes import Keyframe
from walk.models import Model
from walk.progress import Listener, Progress
from walk.render import Batch, Renderer, render, row
from walk.run import WRITERS, Run, fingerprints, finished
from walk.speed import Features, Pacer
from walk.text import format_time, plural

NOTES = 8  # that are said; a preview draws them all
LARGER = 2  # times as many pixels as a model was made for: worth a warning

# Compiling takes minutes and gains little, or up to a half: it is tried for renders as long as these.
COMPILED = ("cuda",)  # devices; a CPU gains nothing
LONG = 15 * 60.0  # seconds
MANY = 40  # batches, of which up to eight are then rendered for nothing
GAIN = 0.03  # of the time, that is worth keeping what is compiled


class LazyModel:
    """A model that is found at once, and loaded when the first picture is to be rendered."""

    def __init__(
        self,
        settings: Settings,
        listener: Listener | None = None,
        keyframes: Sequence[Keyframe] = (),
        folder: Path | None = None,
        frames: int = 0,
        model: Model | None = None,
    ) -> None:
        """settings: what is not set is filled in. keyframes: that it will render. frames: how many.
        folder: a run folder; its frames shall serve, even if they were rendered in smaller batches, or compiled.
        model: one with these settings that is loaded already, whose notes are for whoever loaded it to ask for.

        Raises Error like `walk.models.complete`.
        """
        self.listener = listener or Listener()
        self.keyframes = keyframes
        self.seconds = 0.0  # that it took to be there
        self._model, self._told = model, model is not None
        if model is not None:
            self.settings = model.settings
            return
        with contextlib.ExitStack() as shown:
            files: dict[Path, Progress] = {}

            def reading(path: Path, done: int, size: int) -> None:
                if path not in files:
                    bar = self.listener.progress(f"reading {path.name}", size >> 20, after=2, unit="MiB")
                    files[path] = shown.enter_context(bar)
                files[path].reached(done >> 20)

            self.settings = models.complete(settings, reading)
        if folder is not None and keyframes:
            self.settings = _as_before(self.settings, settings.batch is None, keyframes, folder)
        if self.settings.compile is None:
            self._choose(frames)

    def loaded(self) -> Model:
        if self._model is None:
            compiling = ", and compiling it with the first pictures" if self.settings.compile else ""
            self.listener.say("loading the model" + compiling)
            begun = time.monotonic()
            self._model = models.load(self.settings)
            self.seconds += time.monotonic() - begun
        return self._model

    def _choose(self, frames: int) -> None:
        """Whether to compile the model for so many frames: by trying, since neither how long that takes nor what it gains
        can be told from the model and the machine."""
        compiled = dataclasses.replace(self.settings, compile=True)
        self.settings = dataclasses.replace(self.settings, compile=False)
        if frames < MANY * (self.settings.batch or 1) or self.settings.device.split(":")[0] not in COMPILED:
            return
        for keyframe in self.keyframes:  # while the text encoders have the GPU for themselves
            self.loaded().encode(keyframe)
        usual = self._rate(self.loaded(), "timing the model")
        if frames / usual < LONG:
            self.listener.say(f"not compiled: the frames take {format_time(round(frames / usual))} as it is")
            return
        begun = time.monotonic()
        try:
            other = self.loaded().at(compiled)
        except Error as error:
            self.listener.say(f"not compiled: {str(error).partition(';')[0]}")
            return
        try:
            faster = self._rate(other, "compiling the model, and timing it")
        except Error as error:  # also for want of memory, of which there is enough as it was
            self.listener.say(f"not compiled: {str(error).partition(';')[0]}")
        else:
            took, saved = time.monotonic() - begun, frames / usual - frames / faster
            rates = f"{faster:.3g} frames a second instead of {usual:.3g}"
            if saved > GAIN * frames / usual:
                self.settings, self._model = compiled, other
                self.listener.say(
                    f"compiled in {format_time(round(took))}: {rates}, which saves {format_time(round(saved))}"
                )
                return
            self.listener.say(f"not compiled: {rates}")
        del other  # what is compiled stays so
        self._model = None
        gc.collect()  # else it fills the memory that it is to be loaded into again: it holds itself

    def _rate(self, model: Model, what: str) -> float:
        """Frames a second, of the third batch. A GPU has begun with the next one when it hands one out."""
        batch, begun = model.settings.batch or 1, 0.0
        walk = Walk.through(KEYFRAMES, frames=4 * batch)
        with self.listener.progress(what, 3 * batch) as progress:
            for count, _ in enumerate(render(model, walk, range(walk.frames)), 1):
                progress.reached(count)
                if count == 2 * batch:
                    begun = time.monotonic()
                if count == 3 * batch:
                    break
        rate = batch / (time.monotonic() - begun)
        machine.wait(model.settings.device)
        return rate

    def notes(self) -> list[str]:
        """What of its prompts the model will not understand, and whether it was made for other pictures."""
        model = self.loaded()
        noted: defaultdict[str, list[int]] = defaultdict(list)  # each with the keyframes that it is of
        for k, keyframe in enumerate(self.keyframes):
            for note in model.notes(keyframe):
                noted[note].append(k + 1)
        notes = [f"{_those(numbers, len(self.keyframes))}: {note}" for note, numbers in noted.items()]
        asked, native = (self.settings.width, self.settings.height), models.native_size(self.settings)
        if asked != native:
            made = f"the model was made for {native[0]}x{native[1]}, not {asked[0]}x{asked[1]}"
            larger = math.prod(map(int, asked)) >= LARGER * math.prod(native)  # type: ignore[arg-type]
            notes.append(made + ": such pictures may be noise, or show things twice; --size enlarges a film" * larger)
        if late := models.late(self.settings):
            notes.append(late)
        if self.settings.device == "cpu":
            notes += machine.unusable().values()
        return notes

    def tell_notes(self) -> None:
        """Once."""
        if self._told:
            return
        self._told = True
        notes = self.notes()
        for note in notes[:NOTES]:
            self.listener.say(f"note: {note}")
        if notes[NOTES:]:
            self.listener.say(f"note: {plural(len(notes) - NOTES, 'more note')} of this kind")


def _those(numbers: Sequence[int], of: int) -> str:
    """'keyframe 2', 'keyframes 2, 3', 'every keyframe'."""
    if len(numbers) == of > 1:
        return "every keyframe"
    return f"keyframe{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _as_before(settings: Settings, free: bool, keyframes: Sequence[Keyframe], folder: Path) -> Settings:
    """As most of the keyframes' pictures in a run folder were made, which still serve: with a smaller batch, if that is
    free to choose, or compiled, if that is. The larger batch may have found no room after them. Few pictures, as a
    preview leaves them, decide nothing of compiling."""
    there = finished(folder)
    walk = Walk(tuple(keyframes), tuple(map(float, range(len(keyframes)))), Fraction(1))
    batches = [settings.batch or 1]
    while free and batches[0] > 1:
        batches.insert(0, batches[0] // 2)
    compiles = (True, False) if settings.compile is None else (settings.compile,)
    able = [dataclasses.replace(settings, batch=batch, compile=it) for batch in batches for it in compiles]
    most, best = max(((len(there.keys() & set(fingerprints(walk, it))), it) for it in able), key=lambda each: each[0])
    if settings.compile is None and not best.compile and len(there) < MANY * (best.batch or 1):
        best = dataclasses.replace(best, compile=None)
    return best if most else settings


class Work:
    """The frames of a film: found or rendered, with progress. A context manager; whatever ends it, an Error or
    KeyboardInterrupt, says how much is kept.

        with Run(folder, walk, model.settings, decided=False) as run, Work(run, model) as work:
            run = work.evenly(run)
            frames = work.finished(run)
    """

    def __init__(
        self, run: Run, model: LazyModel | Model, listener: Listener | None = None, what: str = "rendering"
    ) -> None:
        """run: of the walk that is asked for. what: the work is called."""
        self.run, self.what = run, what
        if not isinstance(model, LazyModel):
            models.check(model, "settings", "at")
            model = LazyModel(model.settings, model=model)
        self.model = model
        self.listener = listener or Listener()
        self.frames = run.walk.frames
        self.shown = Counter(run.fingerprints)  # by how many frames: a rest is one picture
        self.total = len(self.shown)  # pictures that it will take, as far as is known
        self.progress = self.listener.progress("reading frames", self.total, after=2)
        self.besides = 0  # of them those that are only looked at
        self.asked: set[str] = set()  # fingerprints
        self.rendered: dict[str, Future[None]] = {}  # by fingerprint; done when on the disk
        self.features: dict[str, Future[Features]] = {}  # of those rendered that were not looked at
        self.looking = False
        self.renderer: Renderer | None = None
        self.seconds: list[float] = []  # that a batch took
        self.kept: set[str] = set()  # fingerprints that will be asked for, and are there
        self.rows: dict[str, int] = {}  # by fingerprint, of what is looked at
        self._saving = contextlib.ExitStack()

    def __enter__(self) -> Work:
        self.progress.__enter__()
        self.save = self._saving.enter_context(self.run.saver())
        self.eyes = self._saving.enter_context(ThreadPoolExecutor(WRITERS))  # a look does not wait for the disk
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self.progress.__exit__()
        try:
            self._saving.close()
        except (Error, KeyboardInterrupt) as late:
            if error is None and isinstance(late, Error) and not self.count():
                raise
            error = error or late
        kept = f"{self.count()} of {self.frames} frames are safe in {self.run.folder}; run the same command to go on"
        if not self.run.folder.is_dir():
            kept = f"{self.run.folder} was moved or removed meanwhile; put it back to go on"
        if isinstance(error, Error) and self.count():
            raise Error(f"{error}; {kept}") from error
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(kept) from None

    def count(self) -> int:
        """How many of the frames are there."""
        there = sum(self.shown.get(name, 1) for name in self.run.here(self.asked | self.kept))
        return min(max(self.run.count(), there), self.frames)

    def evenly(self, run: Run) -> Run:
        """The run of the film whose frames look evenly far apart. Where they belong was decided before, or is found
        out now, by rendering most of them."""
        if decided := run.decided():
            self.run = decided  # whose frames are counted if it is stopped here
            return run.decide(decided.walk, decided.rows)
        walk, batch = self.spread(run).walk, run.settings.batch or 1
        usual = {name: row(index, batch) for index, name in reversed([*enumerate(run.at(walk).fingerprints)])}
        return run.decide(walk, usual | {name: at for name, at in self.rows.items() if name in usual})

    def spread(self, run: Run, even: bool = True, further: bool = True) -> Pacer:
        """What has found out where the frames of a walk belong, and rendered them; or, if not `even`, has only
        looked at some; if not `further`, at the few of a first look."""

        batch = run.settings.batch or 1
        # A film along the path takes its rows by its indices, and these are frames of it.
        rows = {} if even else {name: row(index, batch) for index, name in enumerate(run.fingerprints)}

        def at(*positions: float) -> Run:
            there = run.at(dataclasses.replace(run.walk, positions=positions, noise=()))
            there.rows = {name: rows[name] for name in there.fingerprints if name in rows}
            return there

        pacer = Pacer(run.walk, lambda position: self._look(at(position)), even, further)
        if further:
            found = run.promising() | set(at(*pacer.unseen()).fingerprints)
            self.progress.expect(self.progress.count + len(run.unread(found)))
            run.read(found, self._read)  # else damaged ones would be said to be here
            self.kept = run.here(found)
        else:
            self.total = len(pacer.unseen())

        def following(seen: list[float]) -> list[float]:
            pacer.saw(seen)
            wanted = pacer.wanted(batch)
            self._prepare(at(*wanted))
            return wanted

        def expect() -> None:
            """Pictures that are only looked at are work, too."""
            more = (pacer.besides if further else 0) - self.besides
            self.besides += more
            self.total += more
            if more and self.rendered:
                self.progress.expect(self.progress.total + more)

        before: list[float] = []
        with ThreadPoolExecutor(1) as aside, self._looked_at():
            wanted = pacer.wanted(batch)
            expect()
            while wanted or before:
                after = aside.submit(following, before)  # while these are rendered
                self.make(at(*wanted))
                before, wanted = wanted, after.result()
                expect()
        return pacer

    def noise_shares(self, run: Run, seen: Iterable[float]) -> dict[int, float]:
        """By segment, which share of a change is the noise's: seen in one picture more of each, where the prompts are
        half-way and the noise has not left.

        seen: positions of pictures that were made, of prompts and noise at once.
        """
        inside = defaultdict(list)
        for position in seen:
            if position % 1:
                inside[int(position)].append(position)
        halves = {k: min(some, key=lambda position: abs(position - k - 0.5)) for k, some in inside.items()}
        places = [place for k, half in halves.items() for place in ((k, k), (half, k), (half, half))]
        positions, noise = (tuple(float(place[which]) for place in places) for which in (0, 1))
        there = run.at(dataclasses.replace(run.walk, positions=positions, noise=noise))
        self.make(there)
        self.settle()
        features = [speed.features(there.picture(index)) for index in range(len(places))]
        shares = {}
        for k, (first, moved, last) in zip(halves, zip(*[iter(features)] * 3)):
            prompts, noises = speed.distance(first, moved), speed.distance(moved, last)
            shares[k] = noises / (prompts + noises) if prompts + noises else 0.5
        return shares

    def finished(self, run: Run) -> list[Path]:
        """All frames of the run's walk, on the disk, in its order."""
        self.shown = Counter(run.fingerprints)
        self.make(run)
        self.settle()
        if not self.rendered:
            self._say_found()
        return run.frames()

    def make(self, run: Run, indices: Sequence[int] | None = None) -> None:
        """All frames of the run's walk, or these. They may still be on their way, at most until nothing is missing in
        a call to come."""
        asked = {run.fingerprints[index] for index in (range(run.walk.frames) if indices is None else indices)}
        if not self.rendered:
            self.progress.expect(self.progress.count + len(run.unread()))
        missing = [index for index in run.missing(indices, self._read) if run.fingerprints[index] not in self.rendered]
        found = len(asked - self.asked - self.kept) - len(missing)
        self.run = run
        self.asked |= asked
        if self.looking:
            for index, name in enumerate(run.fingerprints):
                self.rows.setdefault(name, row(index, run.settings.batch or 1))
        if self.rendered:
            self.progress.skip(found)
        elif missing:
            self._begin(len(missing))
        if missing:
            self._render(missing)
        else:
            self._finish()

    def _read(self) -> None:
        """One more frame that was found has been read."""
        if not self.rendered:
            self.progress.more(1)

    def settle(self) -> None:
        """Until everything is on the disk."""
        self._finish()
        self.save.wait(0)

    @contextlib.contextmanager
    def _looked_at(self) -> Iterator[None]:
        """What is made meanwhile will be looked at, in another thread."""
        self.looking = True
        try:
            yield
        except BaseException:
            promised: list[Future[Any]] = [*self.features.values(), *self.rendered.values()]
            for promise in promised:  # somebody may wait for them for ever
                promise.cancel()
            raise
        finally:
            self.looking = False

    def _look(self, run: Run) -> Features:
        """What the eye takes from the one frame of this run."""
        fingerprint = run.fingerprints[0]
        if features := self.features.get(fingerprint):
            seen = features.result()
            del self.features[fingerprint]
            return seen
        if saved := self.rendered.get(fingerprint):
            saved.result()
        return speed.features(run.picture(0))

    def _prepare(self, run: Run) -> None:
        """In another thread: frames that will be made next."""
        if self.renderer is not None:
            self.renderer.prepare(run.walk, [i for i in range(run.walk.frames) if not run.has(i)])

    def _render(self, indices: Sequence[int]) -> None:
        run = self.run
        if self.renderer is None:
            self.renderer = Renderer(self.model.loaded().at(run.settings))
        names = [run.fingerprints[index] for index in indices]
        self.rendered |= {name: Future() for name in names}
        if self.looking:
            self.features |= {name: Future() for name in names}
        begun, before = time.monotonic(), self.renderer.count
        rows = {index: run.rows[name] for index, name in zip(indices, names) if name in run.rows}
        self._keep(self.renderer.render(run.walk, indices, run, rows))
        count = self.renderer.count - before
        self.seconds += [(time.monotonic() - begun) / count] * count

    def _finish(self) -> None:
        if self.renderer is not None:
            self._keep(self.renderer.finish())

    def _keep(self, rendered: Iterator[tuple[Run, Batch]]) -> None:
        for run, pictures in rendered:
            save, names = self.save.at(run), run.fingerprints
            for index, picture in pictures:  # first, since what is rendered next depends on it
                if features := self.features.get(names[index]):
                    self.eyes.submit(_keep_promise, features, partial(speed.features, picture))
            for index, picture in pictures:
                saved = save(index, picture)
                saved.add_done_callback(partial(_pass_on, self.rendered[names[index]]))
            self.progress.more(len(pictures))

    def _begin(self, missing: int) -> None:
        self._say_found()
        self.model.loaded()
        self.model.tell_notes()
        left = max(self.total - len(self.run.here(self.asked | self.kept)), missing)
        self.progress = self.listener.progress(self.what, left, unit="pictures").__enter__()

    def _say_found(self) -> None:
        self.progress.__exit__()  # of reading, whose bar would stand in the way
        damaged = len(self.run.damaged)
        if self.count() or damaged:
            again = f", {damaged} damaged and made again" if damaged else ""
            self.listener.say(f"{self.count()} of {self.frames} frames are in {self.run.folder} already{again}")


def _keep_promise(promise: Future[Any], made: Callable[[], Any]) -> None:
    if promise.set_running_or_notify_cancel():
        try:
            promise.set_result(made())
        except BaseException as error:  # else whoever waits for it never hears
            promise.set_exception(error)


def _pass_on(promise: Future[None], saved: Future[None]) -> None:
    _keep_promise(promise, saved.result)
