"""The frames of a film: found in its run folder, or rendered; and where they belong, if they are to be even.

Joins a run, a model and what the eye sees (walk.run, walk.render, walk.speed). Knows no flags, no sound and no films,
and prints nothing: a `walk.progress.Listener` is told.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from walk import Error, models, outlook, speed
from walk.lazy import LazyModel
from walk.models import Model
from walk.progress import Listener
from walk.render import Batch, Renderer, row
from walk.run import WRITERS, Run
from walk.speed import Earlier, Features, Pacer
from walk.timeline import Walk, by_segment


class Look(NamedTuple):
    """A first look at a film. run: with its frames where they belong, as far as is known by now. along: its walk with equal
    steps along the path. pictures: those of the keyframes, and then those half-way from each to the next.
    distances, shares, swings: as `walk.speed.predicted` takes them. missing: how many of its frames are."""

    run: Run
    along: Walk
    pictures: list[np.ndarray]
    distances: list[tuple[float, float]]
    shares: dict[int, float]
    swings: dict[float, list[float]]
    missing: int

    @property
    def keyframes(self) -> list[np.ndarray]:
        return self.pictures[: len(self.along.keyframes)]

    def steps(self, walk: Walk) -> list[float]:
        """How far apart neighbouring frames of a walk on this path will look."""
        distances = [*self.distances, *speed.cuts(self.run.walk, self.keyframes)]
        return speed.predicted(walk, distances, self.shares, self.swings)


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
        self.rendered: set[str] = set()  # fingerprints
        self.saving: dict[str, Future[None]] = {}  # of them those that are not on the disk yet
        self.features: dict[str, Future[Features]] = {}  # of those rendered that were not looked at
        self.looking = False
        self.renderer: Renderer | None = None
        self.seconds: list[float] = []  # that a batch took
        self.kept: set[str] = set()  # fingerprints that will be asked for, and are there
        self.rows: dict[str, int] = {}  # by fingerprint, of what is looked at
        self.enlarged: Callable[[], int] | None = None  # how many of the frames are, if that has begun
        self.unused: Callable[[], int] = lambda: 0  # how many of an earlier film's frames may serve nowhere
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
        enlarged = f", {self.enlarged()} of them enlarged" if self.enlarged else ""
        kept = f"{self.count()} of {self.frames} frames are safe in {self.run.folder}{enlarged}; run the same command to go on"
        if not self.run.folder.is_dir():
            kept = f"{self.run.folder} was moved or removed meanwhile; put it back to go on"
        if isinstance(error, Error) and self.count():
            raise Error(f"{error}; {kept}") from error
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(kept if self.count() else "") from None

    def count(self) -> int:
        """How many of the frames are there."""
        there = sum(self.shown.get(name, 1) for name in self.run.here(self.asked | self.kept)) - self.unused()
        return min(max(self.run.count(), there), self.frames)

    def survey(self, run: Run) -> tuple[list[float], dict[int, Earlier]]:
        """How long each way from one keyframe to the next is to the eye, and what was looked at to tell: a few pictures of
        each, for `evenly`."""
        walk = run.walk
        count = speed.first_look(walk.frames / walk.segments)
        places = [part / (count + 1) for part in range(1, count + 1)]
        positions = [k + place for k in range(walk.segments) for place in (0.0, *places)]
        positions += [float(walk.segments)] * (not walk.closed)
        there = run.at(walk.with_positions(positions))
        self.make(there)
        self.settle()
        self._note_rows(there)
        indices = [*range(len(positions)), *[0] * walk.closed]
        steps = [speed.distance(a, b) for a, b in pairwise(speed.features(there.picture(it)) for it in indices)]
        lengths = [sum(steps[k * (count + 1) : (k + 1) * (count + 1)]) for k in range(walk.segments)]
        return lengths, {k: Earlier([], places) for k in range(walk.segments)}

    def turn_to(self, run: Run) -> None:
        """From here on it is about the frames of this walk, of as many."""
        self.run, self.shown = run, Counter(run.fingerprints)

    def evenly(self, run: Run, looked: Mapping[int, Earlier] | None = None) -> Run:
        """The run of the film whose frames look evenly far apart. Where they belong was decided before, or is found
        out now, by rendering most of them. looked: what a `survey` has seen."""
        if decided := run.decided():
            self.run = run.of(decided)  # whose frames are counted if it is stopped here
            return run.keep(decided)
        pacer, batch = self.spread(run, looked=looked), run.settings.batch or 1
        usual = {name: row(index, batch) for index, name in reversed([*enumerate(run.at(pacer.walk).fingerprints)])}
        found = {name: at for name, at in run.before.rows_of().items() if name not in self.rendered}
        refined = pacer.refined or (run.before.refined and bool(run.before.near(run.walk)))
        return run.decide(pacer.walk, usual | self.rows | found, refined)

    def first_look(self, run: Run, even: bool = True, looked: Mapping[int, Earlier] | None = None) -> Look:
        """At some pictures, of which nearly all are frames of the film, too. even, looked: as for `spread`."""
        decided = run.decided() if even else None
        pacer = self.spread(run, even, further=False, looked=looked)
        known = run.before.belongs(run.walk) if even else {}
        run = run.of(decided) if decided else run.at(run.walk.moved(known, pacer.walk))
        walk, distances = run.walk, pacer.distances
        indices = [*walk.landmarks()[0], *outlook.half_ways(walk, distances, even)]
        self.make(run, indices)
        shares = self._noise_shares(run, [position for position, _ in distances]) if walk.noise else {}
        swings = self._swings(run) if walk.pulse else {}
        self.settle()
        pictures = [run.picture(index) for index in indices]
        return Look(run, pacer.asked, pictures, distances, shares, swings, len(run.missing()))

    def spread(
        self, run: Run, even: bool = True, further: bool = True, looked: Mapping[int, Earlier] | None = None
    ) -> Pacer:
        """What has found out where the frames of a walk belong, and rendered them; or, if not `even`, has only
        looked at some; if not `further`, at the few of a first look."""

        batch = run.settings.batch or 1
        # A film along the path takes its rows by its indices, and these are frames of it.
        rows = {} if even else {name: row(index, batch) for index, name in enumerate(run.fingerprints)}

        def at(*positions: float) -> Run:
            there = run.at(run.walk.with_positions(positions))
            there.rows = {name: rows[name] for name in there.fingerprints if name in rows}
            return there

        near = run.before.near(run.walk) if even else {}
        earlier = {**(looked or {}), **{k: Earlier([*known], [*known.values()]) for k, known in near.items() if known}}
        pacer = Pacer(run.walk, lambda position: self._look(at(position)), even, further, earlier)
        self.unused = lambda: pacer.unused
        if further:
            found = run.promising() | set(at(*pacer.unseen()).fingerprints)
            if not self.rendered:
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

    def _noise_shares(self, run: Run, seen: Iterable[float]) -> dict[int, float]:
        """By segment, which share of a change is the noise's: seen in one picture more of each, where the prompts are
        half-way and the noise has not left.

        seen: positions of pictures that were made, of prompts and noise at once.
        """
        halves = {k: min(some, key=lambda position: abs(position - k - 0.5)) for k, some in by_segment(seen).items()}
        places = [place for k, half in halves.items() for place in ((k, k), (half, k), (half, half))]
        positions, noise = (tuple(float(place[which]) for place in places) for which in (0, 1))
        there = run.at(run.walk.with_positions(positions, noise))
        self.make(there)
        self.settle()
        features = [speed.features(there.picture(index)) for index in range(len(places))]
        shares = {}
        for k, (first, moved, last) in zip(halves, zip(*[iter(features)] * 3)):
            prompts, noises = speed.distance(first, moved), speed.distance(moved, last)
            shares[k] = noises / (prompts + noises) if prompts + noises else 0.5
        return shares

    def _swings(self, run: Run) -> dict[float, list[float]]:
        """By pulse, how far it looks from each keyframe's picture: of the largest pulse of the walk and of a quarter of it,
        of which one picture more of each keyframe is made."""
        keys, most = [float(k) for k in range(len(run.walk.keyframes))], max(run.walk.pulse)
        pulses = [0.0, most / 4, most]
        there = [run.at(run.walk.with_positions(keys, pulse=[pulse] * len(keys))) for pulse in pulses]
        for each in there:
            self.make(each)
        self.settle()
        features = [[speed.features(each.picture(k)) for k in range(len(keys))] for each in there]
        return {pulse: [*map(speed.distance, features[0], some)] for pulse, some in zip(pulses, features)}

    def finished(self, run: Run) -> list[Path]:
        """All frames of the run's walk, on the disk, in its order."""
        self.turn_to(run)
        self.make(run, coarse_first(run.walk))
        self.settle()
        if not self.rendered:
            self._say_found()
        return run.frames()

    def release(self) -> None:
        """Nothing more is to be rendered."""
        self.renderer = None
        self.model.release()

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
            self._note_rows(run)
        if self.rendered:
            self.progress.expect(self.progress.total - found)
        elif missing:
            self._begin(len(missing))
        if missing:
            self._render(missing)
        else:
            self._finish()

    def _note_rows(self, run: Run) -> None:
        for index, name in enumerate(run.fingerprints):
            self.rows.setdefault(name, row(index, run.settings.batch or 1))

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
            promised: list[Future[Any]] = [*self.features.values(), *self.saving.values()]
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
        if saved := self.saving.get(fingerprint):
            saved.result()
        return speed.features(run.picture(0))

    def _prepare(self, run: Run) -> None:
        """In another thread: frames that will be made next."""
        if self.renderer is not None:
            here = run.here(run.fingerprints)
            self.renderer.prepare(run.walk, [i for i, name in enumerate(run.fingerprints) if name not in here])

    def _render(self, indices: Sequence[int]) -> None:
        run = self.run
        if self.renderer is None:
            self.renderer = Renderer(self.model.loaded().at(run.settings))
        names = [run.fingerprints[index] for index in indices]
        self.rendered.update(names)
        self.saving |= {name: Future() for name in names}
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
                saved.add_done_callback(partial(self._saved, names[index]))
            if pictures:  # else all of the batch has failed
                self.progress.more(len(pictures))

    def _saved(self, fingerprint: str, saved: Future[None]) -> None:
        """In a writer's thread. What failed stays, for whoever looks at it."""
        _keep_promise(self.saving[fingerprint], saved.result)
        if not saved.cancelled() and saved.exception() is None:
            del self.saving[fingerprint]

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


def coarse_first(walk: Walk) -> list[int]:
    """The frames of a walk, those of keyframes first, and then from the coarse to the fine, so that soon there is something
    to be seen of all of it. In a few rounds, each in the film's order: what is known of the ways between keyframes is
    needed again soon."""
    rounds = dict.fromkeys(range(walk.frames), 0)
    for stride in (2, 4, 8, 16):
        rounds |= dict.fromkeys(range(0, walk.frames, stride), -stride)
    rounds |= dict.fromkeys((i for i, position in enumerate(walk.positions) if not position % 1), -32)
    return sorted(rounds, key=lambda index: (rounds[index], index))


def _keep_promise(promise: Future[Any], made: Callable[[], Any]) -> None:
    if promise.set_running_or_notify_cancel():
        try:
            promise.set_result(made())
        except BaseException as error:  # else whoever waits for it never hears
            promise.set_exception(error)
