"""Whether a model is compiled where that is left open, by models whose speed is known."""

import dataclasses
import re
import time

import numpy as np
import pytest
from test_bench import Slow

from walk import Error, Keyframe, Settings, Walk, models, work
from walk.progress import Listener
from walk.run import Run
from walk.work import LazyModel

KEYFRAMES = (Keyframe("a fox", 1), Keyframe("an owl", 2))
FRAMES = 1000


class Compilable(Slow):
    """A model that takes so many seconds a batch, and so many compiled; None: it cannot be."""

    def __init__(self, seconds, compiled):
        super().__init__(seconds, 0)
        self.batches = 1  # the first is no slower than others
        self.compiled = compiled

    def at(self, settings):
        if not settings.compile or self.settings.compile:
            return self
        if self.compiled is None:
            raise Error("the model cannot be compiled here: no g++; leave out --compile")
        other = Compilable(self.compiled, None)
        other.settings = settings
        return other


@pytest.fixture
def found(monkeypatch):
    """What is found for a film, what was said, and which settings models were loaded with."""
    monkeypatch.setattr(work, "LONG", 15.0)

    def of(seconds, compiled, frames=FRAMES, folder=None, compile=None):
        loaded, said, listener = [], [], Listener()
        listener.say = said.append

        def load(settings):
            loaded.append(settings.compile)
            return Compilable(seconds, compiled)

        complete = dataclasses.replace(Compilable(0, 0).settings, compile=compile)
        monkeypatch.setattr(models, "complete", lambda settings, report: complete)
        monkeypatch.setattr(models, "load", load)
        return LazyModel(Settings("slow", compile=compile), listener, KEYFRAMES, folder, frames), said, loaded

    return of


def test_a_long_film_is_rendered_compiled_if_that_is_faster(found):
    model, said, loaded = found(0.1, 0.02)
    assert model.settings.compile is True
    assert model.loaded().settings == model.settings
    assert loaded == [False]
    assert "compiled in " in said[-1]
    rate, usual = float(said[-1].split(": ")[1].split()[0]), float(said[-1].split(",")[0].split()[-1])
    assert rate == pytest.approx(100, rel=0.3)
    assert usual == pytest.approx(20, rel=0.3)


@pytest.mark.parametrize(
    ("compiled", "told"),
    [
        (0.1, r"not compiled: [\d.]+ frames a second instead of [\d.]+"),
        (None, "not compiled: the model cannot be compiled here: no g\\+\\+"),
    ],
)
def test_what_compiling_does_not_make_faster_is_loaded_again_as_it_was(found, compiled, told):
    model, said, loaded = found(0.1, compiled)
    assert model.settings.compile is False
    assert re.fullmatch(told, said[-1])
    model.loaded()
    assert loaded == [False, False]


def test_short_films_are_rendered_as_they_are(found):
    model, said, loaded = found(0.01, 0.001)
    assert model.settings.compile is False
    assert said[-1].startswith("not compiled: the frames take ")
    model.loaded()
    assert loaded == [False]
    model, said, loaded = found(0.1, 0.01, frames=20)
    assert model.settings.compile is False
    assert said == loaded == []


@pytest.mark.parametrize("compiled", [True, False])
def test_a_film_that_was_begun_goes_on_as_it_was(found, tmp_path, compiled):
    settings = dataclasses.replace(Compilable(0, 0).settings, compile=compiled)
    with Run(tmp_path, Walk.through(KEYFRAMES, frames=9), settings, decided=False) as run:
        run.save(0, np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    begun = time.monotonic()
    model, said, loaded = found(5, 5, folder=tmp_path)
    assert model.settings == settings
    assert said == loaded == []
    assert time.monotonic() - begun < 5


def test_what_was_asked_for_is_done(found):
    for compile in (True, False):
        model, _, loaded = found(5, 5, compile=compile)
        assert model.settings.compile is compile
        assert loaded == []
