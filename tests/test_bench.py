"""What bench tells of a model's speed, by models whose speed is known."""

import dataclasses
import functools
import threading
import time

import pytest
import torch

from walk import Settings, bench, machine
from walk.bench import Measured, measure
from walk.run import Run


class Clock(threading.local):
    """Seconds of which each thread knows its own: those that it slept."""

    now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Slow:
    """Takes so many seconds for each part, and a second more for its first batch."""

    def __init__(self, denoise, decode, sleep=None, device="cpu"):
        """sleep: None: as `time.sleep` is when it is called."""
        size = {"width": 8, "height": 8, "batch": 2, "device": device}
        self.settings = Settings("slow", steps=1, guidance=1.0, scheduler="none", dtype="float32", **size)
        self.settings = dataclasses.replace(self.settings, weights="slow", software=("slow 1",))
        self.sleep = sleep or (lambda seconds: time.sleep(seconds))
        self.parts = denoise, decode
        self.batches = 0

    def encode(self, keyframe):
        self.sleep(0.05)
        return {"prompt_embeds": torch.ones(2, 3)}

    def noise(self, seed):
        return torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(seed))

    def denoise(self, noise, conditioning):
        self.batches += 1
        self.sleep(self.parts[0] + (self.batches == 1))
        return noise

    def decode(self, latents):
        self.sleep(self.parts[1])
        pictures = torch.arange(len(latents) * 192).to(torch.uint8)
        return lambda: pictures.reshape(len(latents), 8, 8, 3)


@pytest.fixture
def sleep(monkeypatch):
    """A clock for the measurement which knows no time but that which is slept; saving a frame sleeps, too."""
    clock, save = Clock(), Run.save
    monkeypatch.setattr(bench, "time", clock)
    monkeypatch.setattr(Run, "save", lambda *frame: (save(*frame), clock.sleep(0.02)))
    return clock.sleep


def test_the_time_of_each_part_is_told_and_the_slow_first_batch_is_kept_apart(tmp_path, sleep):
    measured = measure(Slow(0.08, 0.04, sleep), tmp_path, seconds=0.5)
    batches = measured.frames / 2
    assert batches == 5
    assert measured.denoise == pytest.approx(0.08 * batches)
    assert measured.decode == pytest.approx(0.04 * batches)
    assert measured.encode == pytest.approx(0.05)
    assert measured.first == pytest.approx(1.12)
    assert measured.total == pytest.approx(0.12 * batches)
    assert measured.idle == pytest.approx(0, abs=1e-9)
    assert measured.rate == pytest.approx(2 / 0.12)
    assert measured.write == pytest.approx(0.02 * measured.frames)


def test_where_work_goes_on_by_itself_the_rate_is_that_of_a_film_in_which_nobody_waits_for_each_part(
    tmp_path, sleep, monkeypatch
):
    waits = []
    monkeypatch.setattr(machine, "wait", lambda device: waits.append(device) or sleep(0.1))
    model = Slow(0.01, 0.01, sleep, "mps")
    model.encode = functools.cache(model.encode)  # as models do
    measured = measure(model, tmp_path, seconds=0.1)
    assert set(waits) == {"mps"}
    assert measured.rate == pytest.approx(2 / 0.02)
    assert measured.denoise / measured.frames == pytest.approx(0.11 / 2)


def test_a_films_time_is_told_from_the_rate():
    measured = Measured(frames=10, first=2.0, encode=0.5, denoise=3.0, decode=1.0, write=0.1, total=5.0)
    assert measured.rate == 2
    assert measured.idle == 1
    assert measured.film(96) == 3 * 0.5 + 2 + 48  # with a keyframe at each end and one half-way
