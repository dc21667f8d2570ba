"""Whether a model is compiled where that is left open, by models whose speed is known."""

import dataclasses
import re
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from test_bench import Slow

from walk import Error, Keyframe, Settings, Walk, eye, lazy, models
from walk import run as runs
from walk.lazy import MANY, LazyModel
from walk.progress import Listener, Progress
from walk.run import Run
from walk.work import Work

KEYFRAMES = (Keyframe("a fox", 1), Keyframe("an owl", 2))
FRAMES = 1000
TICK = 1 / 64  # seconds: by so much `time.monotonic` steps on Windows, before Python 3.13
PICTURE = np.arange(192, dtype=np.uint8).reshape(8, 8, 3)


class Compilable(Slow):
    """A model that takes so many seconds a batch, and so many compiled; None: that fails; 'never': it is refused;
    'broken': the compiler fails in a way of its own."""

    def __init__(self, seconds, compiled):
        super().__init__(seconds, 0)
        self.batches = 1  # the first is no slower than others
        self.compiled, self.fails = compiled, None
        self.itself = self  # as what is compiled holds itself

    def at(self, settings):
        if not settings.compile or self.settings.compile:
            return self
        if self.compiled == "never":
            raise Error("it passes block by block; give --compile off")
        fails = {None: Error("the model cannot be compiled here: no g++; give --compile off")}
        fails["broken"] = RuntimeError("out of resource: shared memory\nand more")
        other = Compilable(0 if self.compiled in fails else self.compiled, None)
        other.usual = self  # whose parts it has
        other.settings, other.fails = settings, fails.get(self.compiled)
        return other

    def denoise(self, noise, conditioning):
        if self.fails:
            raise self.fails
        return super().denoise(noise, conditioning)


@pytest.fixture
def found(monkeypatch):
    """What is found for a film, what was said, and which settings models were loaded with."""
    monkeypatch.setattr(lazy, "LONG", 15.0)
    monkeypatch.setattr(lazy, "COMPILED", ("cpu",))
    now = [0.0]  # a clock of its own, so that a busy machine makes nothing slower
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now[-1] + seconds))
    monkeypatch.setattr(time, "perf_counter", lambda: now[-1])
    monkeypatch.setattr(time, "monotonic", lambda: now[-1] // TICK * TICK)

    def of(seconds, compiled, frames=FRAMES, folder=None, compile=None, check_compiles=lambda settings: None):
        loaded, there, said, listener = [], [], [], Listener()
        listener.say = said.append

        def load(settings):
            assert not any(model() for model in there), "there is room for one"
            loaded.append(settings.compile)
            model = Compilable(seconds, compiled)
            there.append(weakref.ref(model))
            return model

        complete = dataclasses.replace(Compilable(0, 0).settings, compile=compile)
        monkeypatch.setattr(models, "complete", lambda settings, report: complete)
        monkeypatch.setattr(models, "load", load)
        monkeypatch.setattr(models, "check_compiles", check_compiles)
        return LazyModel(Settings("slow", compile=compile), listener, KEYFRAMES, folder, frames), said, loaded

    return of


def test_a_long_film_is_rendered_compiled_if_that_is_faster(found):
    model, said, loaded = found(0.1, 0.02)
    assert model.settings.compile is True
    assert model.loaded().settings == model.settings
    assert loaded == [False]
    assert "compiled in " in said[-1]
    rate, usual = float(said[-1].split(": ")[1].split()[0]), float(said[-1].split(",")[0].split()[-1])
    assert rate == pytest.approx(100)
    assert usual == pytest.approx(20)


@pytest.mark.parametrize(
    ("compiled", "told", "loads"),
    [
        (0.1, r"not compiled: [\d.]+ frames a second instead of [\d.]+", 2),
        (None, "not compiled: the model cannot be compiled here: no g\\+\\+", 2),
        ("never", "not compiled: it passes block by block", 1),
        ("broken", "not compiled: out of resource: shared memory", 2),
    ],
)
def test_what_compiling_does_not_make_faster_is_loaded_again_as_it_was(found, compiled, told, loads):
    model, said, loaded = found(0.1, compiled)
    assert model.settings.compile is False
    assert re.fullmatch(told, said[-1])
    model.loaded()
    assert loaded == [False] * loads


def test_short_films_are_rendered_as_they_are(found):
    model, said, loaded = found(0.01, 0.001)
    assert model.settings.compile is False
    assert said[-1].startswith("not compiled: the frames take ")
    model.loaded()
    assert loaded == [False]
    model, said, loaded = found(0.1, 0.01, frames=20)
    assert model.settings.compile is False
    assert said == loaded == []


def test_batches_that_take_no_tick_of_the_clock_are_timed_too(found):
    model, said, _ = found(0.001, 0.0005)
    assert model.settings.compile is False
    assert said[-1].startswith("not compiled: the frames take ")


def test_what_cannot_be_compiled_is_not_timed_first(found):
    def refused(settings):
        raise Error("there is no triton; pip install triton")

    model, said, loaded = found(0.1, 0.02, check_compiles=refused)
    assert model.settings.compile is False
    assert said == ["not compiled: there is no triton"]
    assert loaded == []


def test_where_nothing_is_gained_by_it_nothing_is_tried(found, monkeypatch):
    monkeypatch.setattr(lazy, "COMPILED", ("cuda",))
    model, said, loaded = found(0.1, 0.02)
    assert model.settings.compile is False
    assert said == loaded == []


@pytest.mark.parametrize("compiled", [True, False])
def test_a_film_that_was_begun_goes_on_as_it_was(found, tmp_path, compiled):
    settings = dataclasses.replace(Compilable(0, 0).settings, compile=compiled)
    with Run(tmp_path, Walk.through(KEYFRAMES, frames=99), settings, decided=False) as run:
        for index in range(1 if compiled else MANY * settings.batch):
            run.save(index, PICTURE)
    begun = time.monotonic()
    model, said, loaded = found(5, 5, folder=tmp_path)
    assert model.settings == settings
    assert said == loaded == []
    assert time.monotonic() - begun < 5


def test_a_few_pictures_such_as_a_previews_are_no_reason_to_render_a_long_film_as_it_is(found, tmp_path):
    settings = dataclasses.replace(Compilable(0, 0).settings, compile=False)
    with Run(tmp_path, Walk.through(KEYFRAMES, frames=9), settings, decided=False) as run:
        run.save(0, PICTURE)
    model, _, _ = found(0.1, 0.02, folder=tmp_path)
    assert model.settings.compile is True


def test_prompts_are_read_before_anything_else_has_the_gpu(found, monkeypatch):
    order = []
    for name in ("encode", "denoise"):
        usual = getattr(Compilable, name)
        monkeypatch.setattr(Compilable, name, lambda *args, name=name, usual=usual: order.append(name) or usual(*args))
    found(0.1, 0.02)
    assert order[: len(KEYFRAMES)] == ["encode"] * len(KEYFRAMES)


def test_notes_are_told_once():
    model, said, listener = Mixed(0.5), [], Listener()
    listener.say = said.append
    model.notes = lambda keyframe: ["the model knows no foxes"]
    lazily = LazyModel(model.settings, listener, KEYFRAMES, model=model)
    lazily.tell_notes()
    lazily.tell_notes()
    assert said == ["note: every keyframe: the model knows no foxes"]


@pytest.mark.parametrize(
    ("foxes", "named"),
    [(16, ", ".join(map(str, range(1, 17)))), (1500, "1, 2, 3, 4, 5, 6, 7, 8 and 1492 more")],
)
def test_a_note_of_very_many_keyframes_names_the_first(foxes, named):
    """Before, of 3,000 prompts each note was a line of thousands of numbers."""
    model, said, listener = Mixed(0.5), [], Listener()
    listener.say = said.append
    model.notes = lambda keyframe: ["the model knows no foxes"] * (keyframe.prompt == "a fox")
    keyframes = [Keyframe("a fox", 1)] * foxes + [Keyframe("an owl", 1)]
    LazyModel(model.settings, listener, keyframes, model=model).tell_notes()
    assert said == [f"note: keyframes {named}: the model knows no foxes"]


def test_what_was_asked_for_is_done(found):
    for compile in (True, False):
        model, _, loaded = found(5, 5, compile=compile)
        assert model.settings.compile is compile
        assert loaded == []


class Mixed(Slow):
    """A model whose pictures are lighter by what is in the prompt, and by so much of what is in the noise."""

    def __init__(self, share):
        super().__init__(0, 0)
        self.share = share

    def at(self, settings):
        return self

    def encode(self, keyframe):
        return {"prompt_embeds": torch.tensor([[1.0, 0.0], [0.0, 1.0]])[keyframe.seed % 2][None]}

    def noise(self, seed):
        return torch.tensor([[1.0, 0.0], [0.0, 1.0]])[seed % 2][None]

    def denoise(self, noise, conditioning):
        return torch.lerp(conditioning["prompt_embeds"][:, 0, 0], noise[:, 0, 0], self.share)

    def decode(self, latents, exact=False):
        grain = torch.rand(64, 64, 3, generator=torch.Generator().manual_seed(0))
        return lambda: torch.stack([100 * grain + 150 * level for level in latents.clamp(0, 1)]).byte()


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_how_much_of_a_change_is_the_noises_is_seen_in_a_picture_more_of_each_segment(tmp_path, share):
    model = Mixed(share)
    model.settings = dataclasses.replace(model.settings, width=64, height=64)
    walk = Walk.through([*KEYFRAMES, Keyframe("a fox", 3)], frames=9)
    walk = dataclasses.replace(walk, noise=tuple(float(int(position)) for position in walk.positions))
    seen = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0]
    with Run(tmp_path, walk, model.settings) as run, Work(run, model) as frames:
        frames.make(run.at(dataclasses.replace(walk, positions=tuple(seen), noise=())))
        before = len(frames.rendered)
        assert frames._noise_shares(run, seen) == pytest.approx({0: share, 1: share}, abs=0.03)
        assert len(frames.rendered) == before + 2


def test_a_picture_that_comes_twice_is_looked_at_twice_while_the_disk_is_slow(tmp_path, monkeypatch):
    """As where a chorus comes back."""
    saved, save = threading.Event(), Run.save
    monkeypatch.setattr(runs, "WAITING", 1)
    monkeypatch.setattr(Run, "save", lambda *frame: saved.wait(20) and save(*frame))
    model = Mixed(0.5)
    model.settings = dataclasses.replace(model.settings, width=64, height=64, batch=8)
    walk = Walk.through(KEYFRAMES, frames=8)
    with (
        ThreadPoolExecutor(2) as others,
        Run(tmp_path, walk, model.settings) as run,
        Work(run, model) as frames,
        frames._keeping_features(),
    ):
        made = others.submit(frames.make, run)
        while not frames.features:
            time.sleep(0.01)
        last = run.at(dataclasses.replace(walk, positions=walk.positions[-1:]))
        first = frames._features_of(last)
        second = others.submit(frames._features_of, last)
        time.sleep(0.1)
        assert not made.done()
        saved.set()
        assert eye.distance(first, second.result(20)) == 0


@pytest.mark.parametrize(
    ("whole", "told"),
    [
        (False, r"film/frames/.*\.png cannot be read \(No such file or directory\); \d+ of 60 frames are safe"),
        (True, r"cannot be (read|written) \(.*\); .*film was moved or removed meanwhile; put it back to go on"),
    ],
)
def test_whoever_takes_away_what_is_rendered_meanwhile_is_told_so(tmp_path, monkeypatch, whole, told):
    folder, model = tmp_path / "film", Mixed(0.5)
    model.settings = dataclasses.replace(model.settings, width=64, height=64, batch=4)
    look = Work._features_of

    def looked(work, run):
        work.settle()
        for number, path in enumerate([folder] if whole else list(folder.glob("frames/*.png"))):
            path.rename(tmp_path / str(number))
        work.features.clear()
        return look(work, run)

    monkeypatch.setattr(Work, "_features_of", looked)
    walk = Walk.through(KEYFRAMES, frames=60)
    with pytest.raises(Error, match=told), Run(folder, walk, model.settings) as run, Work(run, model) as work:
        work.evenly(run)


def test_frames_that_were_the_same_picture_until_they_were_moved_are_counted_as_they_are(tmp_path):
    model, said, listener = Mixed(0.5), [], Listener()
    listener.say = said.append
    model.settings = dataclasses.replace(model.settings, width=64, height=64)
    model.notes = lambda keyframe: []
    asked = Walk.through(KEYFRAMES[:1] * 3, frames=9, smooth=False)
    moved = dataclasses.replace(asked, positions=(0.0, 0.25, 0.5, 0.75, 1.0, 1.3, 1.6, 1.8, 2.0))
    with Run(tmp_path, asked, model.settings) as run, Work(run, model, listener) as work:
        film = run.decide(moved, dict.fromkeys(run.at(moved).fingerprints, 0))
        for index in range(4):
            film.save(index, np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))
        work.finished(film)
    assert said == [f"6 of 9 frames are in {tmp_path} already"]


@pytest.mark.parametrize("even", [True, False])
@pytest.mark.parametrize("frames", [36, 61])
def test_what_a_preview_leaves_has_the_rows_that_the_film_would_give_it(tmp_path, even, frames):
    """Each row of a batch may be rounded otherwise; here it shows."""
    model, walk = Mixed(0.5), Walk.through([*KEYFRAMES, Keyframe("a fox", 3)], frames=frames)
    model.settings = dataclasses.replace(model.settings, width=64, height=64, batch=4)
    model.notes = lambda keyframe: []
    model.denoise = lambda noise, conditioning: Mixed.denoise(model, noise, conditioning) + torch.arange(4) / 16

    def film(name, previewed):
        if previewed:
            with Run(tmp_path / name, walk, model.settings, decided=False) as run, Work(run, model) as work:
                work.spread(run, even, further=False)
                work.settle()
        with Run(tmp_path / name, walk, model.settings, decided=not even) as run, Work(run, model) as work:
            return [path.read_bytes() for path in work.finished(work.evenly(run) if even else run)]

    assert film("after a preview", True) == film("alone", False)


def test_a_drafts_frames_that_are_lost_from_the_film_are_made_again_as_they_were(tmp_path):
    """Each in the row that it had in the draft, where it shows."""
    model = Mixed(0.5)
    model.settings = dataclasses.replace(model.settings, width=64, height=64, batch=4)
    model.notes = lambda keyframe: []
    model.denoise = lambda noise, conditioning: Mixed.denoise(model, noise, conditioning) + torch.arange(4) / 16

    def film(frames):
        walk = Walk.through([*KEYFRAMES, Keyframe("a fox", 3)], frames=frames)
        with Run(tmp_path, walk, model.settings, decided=False) as run, Work(run, model) as work:
            return {path: path.read_bytes() for path in work.finished(work.evenly(run))}

    draft, made = film(31), film(61)
    kept = draft.keys() & made.keys()
    assert len(kept) > 10
    for path in kept:
        path.unlink()
    assert film(61) == made


@pytest.mark.parametrize("how", [{}, {"strides": 8}, {"noise_strides": 8}, {"strides": 2}], ids=str)
def test_how_many_pictures_it_will_take_is_known_before_nearly_all_are_made(tmp_path, how):
    """To the beat, pictures that were only looked at were added when all others were there: 0:00 left, twice."""
    model, told, listener = Mixed(0.5), [], Listener()
    model.settings = dataclasses.replace(model.settings, width=64, height=64, batch=4)
    model.notes = lambda keyframe: []

    class Counting(Progress):
        def reached(self, count):
            super().reached(count)
            told.append((self.count, self.total))

    listener.progress = lambda what, total, after=0, unit="frames": Counting(what, total, after, unit)
    kicks = {name: ([1.0] + [0.03] * (every - 1)) * (192 // every) for name, every in how.items()}
    walk = Walk.through([*KEYFRAMES, Keyframe("a fox", 3), Keyframe("an owl", 4)], frames=192, **kicks)
    with Run(tmp_path, walk, model.settings, decided=False) as run, Work(run, model, listener) as work:
        work.finished(work.evenly(run))
    assert told[-1][0] == told[-1][1] == len([*tmp_path.glob("frames/*.png")])
    late = [total for count, total in told if count > 0.9 * told[-1][0]]
    assert max(late) <= 1.01 * late[0]
    assert told[0][1] == pytest.approx(told[-1][0], rel=0.15)


def test_found_frames_are_counted_while_they_are_read(tmp_path):
    model, counted, said = Compilable(0, None), [], []

    class Counting(Listener):
        def say(self, text):
            said.append((text, counted[-1].count, counted[-1].total))

        def progress(self, *args, **more):
            counted.append(super().progress(*args, **more))
            return counted[-1]

    with Run(tmp_path, Walk.through(KEYFRAMES, frames=60), model.settings) as run:
        for index in range(60):
            run.save(index, PICTURE)
    next((tmp_path / "frames").iterdir()).unlink()
    with Run(tmp_path, run.walk, model.settings) as run, Work(run, model, Counting()) as work:
        work.make(run, [0])
        assert said == []
        assert (counted[0].count, counted[0].total) == (59, 59)


def test_the_noises_share_is_seen_nearest_to_half_way(tmp_path):
    model = Mixed(0.2)
    model.settings = dataclasses.replace(model.settings, width=64, height=64)
    walk = Walk.through(KEYFRAMES, frames=9)
    walk = dataclasses.replace(walk, noise=tuple(float(int(position)) for position in walk.positions))
    seen, made = [0.0, 0.125, 0.5, 0.75, 1.0], []
    with Run(tmp_path, walk, model.settings) as run, Work(run, model) as frames:
        make = frames.make
        frames.make = lambda there: made.append(there.walk) or make(there)
        frames._noise_shares(run, seen)
    assert made[0].positions == (0.0, 0.5, 0.5)
