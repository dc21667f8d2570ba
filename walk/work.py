"""The frames of a film: found in its run folder, or rendered; and where they belong, if they are to be even.

Joins a run, a model and what the eye sees (walk.run, walk.render, walk.eye, walk.speed). Knows no flags, no sound and
no films, and prints nothing: a `walk.progress.Listener` is told.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from walk import Error, eye, models, outlook, speed
from walk.eye import Features
from walk.lazy import LazyModel
from walk.models import Model
from walk.progress import Listener
from walk.render import Batch, Renderer, row
from walk.run import WRITERS, Run, by_place, fingerprint_of
from walk.speed import Earlier, Evener
from walk.text import plural
from walk.timeline import Walk, by_segment


class Look(NamedTuple):
    """What a first look at a film has shown.

    run: with its frames where they belong, as far as is known by now. pictures: of the keyframes, and then half-way from
    each to the next. distances, shares, swings: as `walk.speed.predicted_steps` takes them. missing: how many frames are
    still to be rendered.
    """

    run: Run
    pictures: list[np.ndarray]
    distances: list[tuple[float, float]]
    shares: dict[int, float]
    swings: dict[float, list[float]]
    missing: int

    @property
    def keyframes(self) -> list[np.ndarray]:
        return self.pictures[: len(self.run.walk.keyframes)]

    def steps(self, walk: Walk) -> list[float]:
        """How far apart neighbouring frames of a walk on this path will look."""
        distances = [*self.distances, *speed.cuts(self.run.walk, self.keyframes)]
        return speed.predicted_steps(walk, distances, self.shares, self.swings)


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
        """run: of the walk that is asked for. what: what the work is called."""
        self.run, self.what = run, what
        if not isinstance(model, LazyModel):
            models.check(model, "settings", "at")
            model = LazyModel(model.settings, model=model)
        self.model = model
        self.listener = listener or Listener()
        self.frames, self.has_own_noise = run.walk.frames, run.walk.has_own_noise
        self.uses = Counter(run.fingerprints)  # how many frames show each picture: a rest is one picture
        self.total = len(self.uses)  # pictures that it will take, as far as is known
        self.extra = 0  # of them those that are only looked at
        self.progress = self.listener.progress("reading frames", self.total, after=2)
        self.renderer: Renderer | None = None
        self.seconds: list[float] = []  # that a batch took
        # Pictures, by fingerprint.
        self.asked: set[str] = set()  # that were asked for
        self.reusable: set[str] = set()  # that will be asked for, and are finished
        self.rendered: set[str] = set()
        self.saving: dict[str, Future[None]] = {}  # rendered, and not on the disk yet
        self.features: dict[str, Future[Features]] = {}  # rendered, and not looked at yet
        self.rows: dict[str, int] = {}  # of those that are looked at, which row of its batch each takes
        self.keeps_features = False  # whether those that are rendered now will be looked at
        self.enlarged: Callable[[], int] | None = None  # how many of the frames are, if that has begun
        self.unused: Callable[[], int] = lambda: 0  # how many of an earlier film's frames are of no use for this one
        self._pools = contextlib.ExitStack()

    def __enter__(self) -> Work:
        self.progress.__enter__()
        self.save = self._pools.enter_context(self.run.saver())
        self.lookers = self._pools.enter_context(ThreadPoolExecutor(WRITERS))  # a look does not wait for the disk
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> None:
        self.progress.__exit__()
        try:
            self._pools.close()
        except (Error, KeyboardInterrupt) as late:
            if error is None and isinstance(late, Error) and not self.count():
                raise
            error = error or late
        enlarged = f", {self.enlarged()} of them enlarged" if self.enlarged else ""
        kept = self._kept()
        safe = f"{kept} are safe in {self.run.folder}{enlarged}; run the same command to go on"
        if not self.run.folder.is_dir():
            safe = f"{self.run.folder} was moved or removed meanwhile; put it back to go on"
        if isinstance(error, Error) and kept:
            raise Error(f"{error}; {safe}") from error
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(safe if kept else "") from None

    def count(self) -> int:
        """How many of the film's frames are finished."""
        finished = self.run.here(self.asked | self.reusable)
        if self.has_own_noise:
            return sum(self.uses.get(name, 0) for name in finished)
        serving = sum(self.uses.get(name, 1) for name in finished) - self.unused()
        return min(max(self.run.count(), serving), self.frames)

    def _kept(self) -> str:
        """'3 of 60 frames', and whatever else is finished; '' if nothing is."""
        frames, others = self.count(), 0
        if self.has_own_noise:  # else nearly all that is looked at becomes a frame, and is counted as one
            others = len(self.run.here(self.asked | self.reusable) - self.uses.keys())
        more = f" and {plural(others, 'more picture')} that may serve" if others else ""
        return f"{frames} of {self.frames} frames{more}" if frames or others else ""

    def survey(self, run: Run) -> tuple[list[float], dict[int, Earlier]]:
        """How far it is from each keyframe to the next to the eye; and the places of the few pictures of each segment
        that were looked at to tell, for `evenly`."""
        walk = run.walk
        count = speed.first_look_count(walk.frames / walk.segments)
        places = [part / (count + 1) for part in range(1, count + 1)]
        positions = [k + place for k in range(walk.segments) for place in (0.0, *places)]
        positions += [float(walk.segments)] * (not walk.closed)
        sample = run.at(walk.with_positions(positions))
        self.make(sample)
        self.settle()
        self._note_rows(sample)
        indices = [*range(len(positions)), *[0] * walk.closed]
        steps = [eye.distance(a, b) for a, b in pairwise(eye.features(sample.picture(it)) for it in indices)]
        lengths = [sum(steps[k * (count + 1) : (k + 1) * (count + 1)]) for k in range(walk.segments)]
        return lengths, {k: Earlier([], places) for k in range(walk.segments)}

    def turn_to(self, run: Run) -> None:
        """From here on, work on the frames of this walk."""
        self.run, self.uses, self.frames = run, Counter(run.fingerprints), run.walk.frames

    def evenly(self, run: Run, surveyed: Mapping[int, Earlier] | None = None) -> Run:
        """The run of the film whose frames look evenly far apart. Where they belong was decided before, or is found
        out now, by rendering most of them. surveyed: what a `survey` has seen."""
        if decided := run.decided():
            self.run = run.of(decided)  # whose frames are counted if it is stopped here
            return run.record(decided)
        evener, batch = self.spread(run, surveyed=surveyed), run.settings.batch or 1
        usual = {name: row(index, batch) for index, name in reversed([*enumerate(run.at(evener.walk).fingerprints)])}
        reused = {name: at for name, at in run.before.rows_by_name().items() if name not in self.rendered}
        refined = evener.refined or (run.before.refined and bool(run.before.related_moves(run.walk)))
        return run.decide(evener.walk, usual | self.rows | reused, refined)

    def first_look(self, run: Run, even: bool = True, surveyed: Mapping[int, Earlier] | None = None) -> Look:
        """Look at some pictures, nearly all of which are frames of the film, too. even, surveyed: as for `spread`."""
        decided = run.decided() if even else None
        evener = self.spread(run, even, further=False, surveyed=surveyed)
        known = run.before.moves(run.walk) if even else {}
        run = run.of(decided) if decided else run.at(run.walk.moved(known, evener.walk))
        walk, distances = run.walk, evener.distances
        indices = [*walk.landmarks()[0], *outlook.half_ways(walk, distances, even)]
        self.make(run, indices)
        shares = self._noise_shares(run, [position for position, _ in distances]) if walk.noise else {}
        swings = self._swings(run) if walk.pulse else {}
        self.settle()
        pictures = [run.picture(index) for index in indices]
        return Look(run, pictures, distances, shares, swings, len(run.missing()))

    def part(
        self, run: Run, indices: Sequence[int], even: bool = True, surveyed: Mapping[int, Earlier] | None = None
    ) -> Run:
        """The run of the film, with these of its frames where they belong, and on the disk. even, surveyed: as for
        `spread`. Between keyframes that lie elsewhere, it is not found out where frames belong."""
        decided, positions = run.decided() if even else None, run.walk.positions
        segments = {int(positions[index]) for index in indices if positions[index] % 1}
        if decided:
            run = run.of(decided)
        elif even and segments:
            evener = self.spread(run, surveyed=surveyed, only=segments)
            run = run.at(evener.walk)
        else:
            self.total = len({run.fingerprints[index] for index in indices})
        self.make(run, indices)
        self.settle()
        return run

    def spread(
        self,
        run: Run,
        even: bool = True,
        further: bool = True,
        surveyed: Mapping[int, Earlier] | None = None,
        only: Collection[int] | None = None,
    ) -> Evener:
        """Find out where the frames of a walk belong, and render them; the evener knows the result. If not `even`, only
        look at some; if not `further`, only at the few of a first look. only: in no segments but these."""
        near = run.before.related_moves(run.walk) if even else {}
        earlier = {k: Earlier([*known], [*known.values()]) for k, known in near.items() if known}
        # A film with equal steps along the path takes its rows by its indices, and these are frames of it.
        batch = run.settings.batch or 1
        rows = {} if even else {name: row(index, batch) for index, name in enumerate(run.fingerprints)}
        at = partial(_at, run, rows)
        evener = Evener(
            run.walk,
            lambda position: self._features_of(at([position])),
            even,
            further,
            {**(surveyed or {}), **earlier},
            only,
        )
        self.unused = lambda: evener.unused
        if only is not None:
            places = zip(run.walk.positions, run.fingerprints)
            self.total = len({name for position, name in places if int(position) in only})
        elif further:
            begun = _begun(run, earlier) if not run.walk.has_own_noise else set()
            self._read_reusable(run, begun | run.reusable() | set(at(evener.unseen()).fingerprints))
        else:
            self.total = len(evener.unseen())

        before: list[float] = []
        with ThreadPoolExecutor(1) as aside, self._keeping_features():
            wanted = evener.next_batch(batch)
            self._expect_extra(evener.extra * further)
            while wanted or before:
                following = aside.submit(self._next_batch, evener, batch, at, before)  # while these are rendered
                self.make(at(wanted))
                before, wanted = wanted, following.result()
                self._expect_extra(evener.extra * further)
        return evener

    def _next_batch(
        self, evener: Evener, size: int, at: Callable[[Sequence[float]], Run], seen: Iterable[float]
    ) -> list[float]:
        """In another thread: measure what was seen, and prepare what is wanted next."""
        evener.saw(seen)
        wanted = evener.next_batch(size)
        self._prepare(at(wanted))
        return wanted

    def _read_reusable(self, run: Run, names: set[str]) -> None:
        """Read those of these frames that are here, lest damaged ones be counted."""
        if not self.rendered:
            self.progress.expect(self.progress.count + len(run.unread(names)))
        run.read(names, self._count_read)
        self.reusable = run.here(names)

    def _expect_extra(self, extra: int) -> None:
        """Count pictures that are only looked at: they are work, too. extra: how many there are by now."""
        more = extra - self.extra
        self.extra += more
        self.total += more
        if more and self.rendered:
            self.progress.expect(self.progress.total + more)

    def _noise_shares(self, run: Run, seen: Iterable[float]) -> dict[int, float]:
        """By segment, which share of a change is the noise's. To tell, one more picture of each is made, where the
        prompts are half-way and the noise has not left its keyframe.

        seen: positions at which pictures were made, with their noise at the same place.
        """
        halves = {k: min(some, key=lambda position: abs(position - k - 0.5)) for k, some in by_segment(seen).items()}
        places = [place for k, half in halves.items() for place in ((k, k), (half, k), (half, half))]
        positions, noise = (tuple(float(place[which]) for place in places) for which in (0, 1))
        sample = run.at(run.walk.with_positions(positions, noise))
        self.make(sample)
        self.settle()
        features = [eye.features(sample.picture(index)) for index in range(len(places))]
        shares = {}
        for k, (first, moved, last) in zip(halves, zip(*[iter(features)] * 3)):
            prompts, noises = eye.distance(first, moved), eye.distance(moved, last)
            shares[k] = noises / (prompts + noises) if prompts + noises else 0.5
        return shares

    def _swings(self, run: Run) -> dict[float, list[float]]:
        """By pulse, how far from each keyframe's picture it looks: for the largest pulse of the walk and a quarter of
        it, at which one more picture of each keyframe is made."""
        keys, most = [float(k) for k in range(len(run.walk.keyframes))], max(run.walk.pulse)
        pulses = [0.0, most / 4, most]
        samples = [run.at(run.walk.with_positions(keys, pulse=[pulse] * len(keys))) for pulse in pulses]
        for sample in samples:
            self.make(sample)
        self.settle()
        features = [[eye.features(sample.picture(k)) for k in range(len(keys))] for sample in samples]
        return {pulse: [*map(eye.distance, features[0], some)] for pulse, some in zip(pulses, features)}

    def finished(self, run: Run) -> list[Path]:
        """All frames of the run's walk, on the disk, in its order; renders those that are missing."""
        self.turn_to(run)
        self.make(run, coarse_first(run.walk))
        self.settle()
        if not self.rendered:
            self._say_found()
        return run.frames()

    def release(self) -> None:
        """Give back the model's memory: nothing more is to be rendered."""
        self.renderer = None
        self.model.release()

    def make(self, run: Run, indices: Sequence[int] | None = None) -> None:
        """Render what is missing of all frames of the run's walk, or of these. The last of them may still be under way
        when this returns; `settle` waits for them, and so does a call that finds nothing missing."""
        asked = {run.fingerprints[index] for index in (range(run.walk.frames) if indices is None else indices)}
        if not self.rendered:
            self.progress.expect(self.progress.count + len(run.unread()))
        missing = run.missing(indices, self._count_read)
        missing = [index for index in missing if run.fingerprints[index] not in self.rendered]
        found = len(asked - self.asked - self.reusable) - len(missing)
        self.run = run
        self.asked |= asked
        if self.keeps_features:
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

    def _count_read(self) -> None:
        """One more frame that was found has been read."""
        if not self.rendered:
            self.progress.more(1)

    def settle(self) -> None:
        """Wait until all that was made is on the disk."""
        self._finish()
        self.save.wait(0)

    @contextlib.contextmanager
    def _keeping_features(self) -> Iterator[None]:
        """What is rendered within will be looked at, in another thread."""
        self.keeps_features = True
        try:
            yield
        except BaseException:
            promises: list[Future[Any]] = [*self.features.values(), *self.saving.values()]
            for promise in promises:  # somebody may wait for them for ever
                promise.cancel()
            raise
        finally:
            self.keeps_features = False

    def _features_of(self, run: Run) -> Features:
        """What the eye takes from the one frame of this run."""
        fingerprint = run.fingerprints[0]
        if promise := self.features.get(fingerprint):
            features = promise.result()
            del self.features[fingerprint]
            return features
        if saved := self.saving.get(fingerprint):
            saved.result()
        return eye.features(run.picture(0))

    def _prepare(self, run: Run) -> None:
        """In another thread: prepare the frames that will be rendered next."""
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
        if self.keeps_features:
            self.features |= {name: Future() for name in names}
        begun, before = time.perf_counter(), self.renderer.count
        rows = {index: run.rows[name] for index, name in zip(indices, names) if name in run.rows}
        self._store(self.renderer.render(run.walk, indices, run, rows))
        count = self.renderer.count - before
        self.seconds += [(time.perf_counter() - begun) / count] * count

    def _finish(self) -> None:
        if self.renderer is not None:
            self._store(self.renderer.finish())

    def _store(self, rendered: Iterator[tuple[Run, Batch]]) -> None:
        """Look at pictures, where that is promised, and save them."""
        for run, pictures in rendered:
            save, names = self.save.at(run), run.fingerprints
            for index, picture in pictures:  # first, since what is rendered next depends on it
                if promise := self.features.get(names[index]):
                    self.lookers.submit(_fulfil, promise, partial(eye.features, picture))
            for index, picture in pictures:
                saved = save(index, picture)
                saved.add_done_callback(partial(self._when_saved, names[index]))
            if pictures:  # else all of the batch has failed
                self.progress.more(len(pictures))

    def _when_saved(self, fingerprint: str, saved: Future[None]) -> None:
        """In a writer's thread. A failure stays, for whoever looks at the picture."""
        _fulfil(self.saving[fingerprint], saved.result)
        if not saved.cancelled() and saved.exception() is None:
            del self.saving[fingerprint]

    def _begin(self, missing: int) -> None:
        """Before the first picture is rendered."""
        self._say_found()
        self.model.loaded()
        self.model.tell_notes()
        left = max(self.total - len(self.run.here(self.asked | self.reusable)), missing)
        self.progress = self.listener.progress(self.what, left, unit="pictures").__enter__()

    def _say_found(self) -> None:
        self.progress.__exit__()  # of reading, whose bar would stand in the way
        damaged = len(self.run.damaged)
        if (kept := self._kept()) or damaged:
            again = f", {damaged} damaged and made again" if damaged else ""
            self.listener.say(f"{kept or f'0 of {self.frames} frames'} are in {self.run.folder} already{again}")


def _begun(run: Run, known: Collection[int]) -> set[str]:
    """Fingerprints of pictures on this run's path that are finished: a film that was stopped before it was decided where
    its frames belong asks for all of them again. Of each segment no more than it has frames, since some were only looked
    at. known: segments of which an earlier film tells what serves."""
    placed, wanted = by_place(run.folder, run.walk, run.settings), by_segment({*run.walk.positions})
    return {
        fingerprint_of(placed[place])
        for k, places in by_segment(placed).items()
        if k not in known
        for place in places[: len(wanted.get(k, ()))]
    }


def _at(run: Run, rows: Mapping[str, int], positions: Sequence[float]) -> Run:
    """For the frames at these positions on a run's path. rows: by fingerprint, of those whose row is not as usual."""
    other = run.at(run.walk.with_positions(positions))
    other.rows = {name: rows[name] for name in other.fingerprints if name in rows}
    return other


def coarse_first(walk: Walk) -> list[int]:
    """The frames of a walk, those of keyframes first and then from the coarse to the fine, so that there is soon
    something to be seen of all of it. In a few rounds, each in the film's order: what is known of the path between two
    keyframes is soon needed again."""
    rounds = dict.fromkeys(range(walk.frames), 0)
    for stride in (2, 4, 8, 16):
        rounds |= dict.fromkeys(range(0, walk.frames, stride), -stride)
    rounds |= dict.fromkeys((i for i, position in enumerate(walk.positions) if not position % 1), -32)
    return sorted(rounds, key=lambda index: (rounds[index], index))


def _fulfil(promise: Future[Any], compute: Callable[[], Any]) -> None:
    if promise.set_running_or_notify_cancel():
        try:
            promise.set_result(compute())
        except BaseException as error:  # else whoever waits for it never hears
            promise.set_exception(error)
