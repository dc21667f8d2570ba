"""What bench tells of a model's speed, by models whose speed is known."""

import dataclasses
import time

import pytest
import torch

from walk import Settings, machine
from walk.bench import Measured, measure


class Slow:
    """Takes so many seconds for each part."""

    at = notes = None

    def __init__(self, denoise, decode, batch=2):
        size = {"width": 8, "height": 8, "batch": batch}
        self.settings = Settings("slow", steps=1, guidance=1.0, scheduler="none", device="cpu", dtype="float32", **size)
        self.settings = dataclasses.replace(self.settings, weights="slow", software=("slow 1",))
        self.parts = denoise, decode
        self.batches = 0

    def encode(self, keyframe):
        time.sleep(0.05)
        return {"prompt_embeds": torch.ones(2, 3)}

    def noise(self, seed):
        return torch.randn(1, 2, 3, generator=torch.Generator().manual_seed(seed))

    def denoise(self, noise, conditioning):
        self.batches += 1
        time.sleep(self.parts[0] + (self.batches == 1))
        return noise

    def decode(self, latents):
        time.sleep(self.parts[1])
        pictures = torch.arange(len(latents) * 192).to(torch.uint8)
        return lambda: pictures.reshape(len(latents), 8, 8, 3)


def test_the_time_of_each_part_is_told_and_the_slow_first_batch_is_kept_apart(tmp_path):
    measured = measure(Slow(0.08, 0.04), tmp_path, seconds=0.5)
    batches = measured.frames / 2
    assert batches >= 3
    assert measured.denoise == pytest.approx(0.08 * batches, rel=0.3)
    assert measured.decode == pytest.approx(0.04 * batches, rel=0.3)
    assert measured.encode == pytest.approx(0.05, rel=0.5)
    assert measured.first > 1
    assert 0.5 < measured.total < 2
    assert measured.denoise + measured.decode + measured.idle == pytest.approx(measured.total)
    assert measured.rate == pytest.approx(2 / 0.12, rel=0.4)
    assert measured.write > 0


def test_where_work_goes_on_by_itself_the_rate_is_that_of_a_film_in_which_nobody_waits_for_each_part(
    tmp_path, monkeypatch
):
    waits = []
    monkeypatch.setattr(machine, "wait", lambda device: waits.append(device) or time.sleep(0.1))
    model = Slow(0.01, 0.01)
    model.settings = dataclasses.replace(model.settings, device="mps")
    model.encode = lambda keyframe: {"prompt_embeds": torch.ones(2, 3)}
    measured = measure(model, tmp_path, seconds=0.1)
    assert set(waits) == {"mps"}
    assert measured.rate == pytest.approx(2 / 0.02, rel=0.5)
    assert measured.denoise / measured.frames == pytest.approx(0.11 / 2, rel=0.3)


def test_a_films_time_is_told_from_the_rate():
    measured = Measured(frames=10, first=2.0, encode=0.5, denoise=3.0, decode=1.0, write=0.1, total=5.0)
    assert measured.rate == 2
    assert measured.idle == 1
    assert measured.film(96) == 3 * 0.5 + 2 + 48  # with a keyframe at each end and one half-way
