"""When a denoiser's calls are recorded and played back. What a GPU makes of it: test_gpu."""

import pytest
import torch

from walk import cuda_graphs, machine

POOL = (0, 1)


class Denoiser(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0), requires_grad=False)
        self.calls = 0

    def forward(self, sample, timestep, context=None, return_dict=True):
        self.calls += 1
        return (sample * self.weight + timestep, context)


class Recording:
    """Instead of a GPU's: it knows what was handed to it last, and not what it was recorded with."""

    made = 0

    def __init__(self, usual, args, more, pool):
        assert pool == POOL
        Recording.made += 1

    def play(self, tensors):
        sample, timestep, *_ = tensors
        return (sample * 2 + timestep, None)


@pytest.fixture
def denoiser(monkeypatch):
    monkeypatch.setattr(cuda_graphs, "_Recording", Recording)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: POOL)
    Recording.made = 0
    return Denoiser()


def asked(denoiser, rows=2, at=1.0):
    made, _ = denoiser(torch.ones(rows, 3), torch.tensor(at), return_dict=False)
    assert torch.equal(made, torch.full((rows, 3), 2.0 + at))


def test_a_call_that_comes_again_is_played_back_as_soon_as_it_is_known_what_pictures_take(denoiser):
    recorder = cuda_graphs.Recorder(denoiser, lambda: True)
    for step in range(3):
        asked(denoiser, at=step)
    assert denoiser.calls == 3
    recorder.ready = True
    for step in range(3):
        asked(denoiser, at=step)
    assert (denoiser.calls, Recording.made) == (3, 1)


def test_other_shapes_are_other_recordings_and_there_are_but_so_many(denoiser, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST", 2)
    cuda_graphs.Recorder(denoiser, lambda: True).ready = True
    for _ in range(3):
        for rows in (1, 2, 3):
            asked(denoiser, rows)
    assert (denoiser.calls, Recording.made) == (2 + 3, 2)


def test_without_room_nothing_is_recorded(denoiser):
    cuda_graphs.Recorder(denoiser, lambda: False).ready = True
    for _ in range(3):
        asked(denoiser)
    assert (denoiser.calls, Recording.made) == (3, 0)


@pytest.mark.parametrize(("free", "room"), [(19, True), (18, False)])
def test_there_is_room_where_twice_of_what_pictures_take_is_left(monkeypatch, free, room):
    """Of 12 that torch has, 10 are a model; a picture takes 10 more."""
    held = {"mem_get_info": (free, 80), "memory_allocated": 10, "memory_reserved": 12, "max_memory_allocated": 20}
    for name, value in held.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert machine.has_room("cuda") is room


def test_what_cannot_be_recorded_is_called_as_usual_and_leaves_nothing(denoiser, monkeypatch):
    recorder = cuda_graphs.Recorder(denoiser, lambda: True)
    recorder.ready = True
    for _ in range(2):
        asked(denoiser, rows=1)

    def fails(*_):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graphs, "_Recording", fails)
    for _ in range(3):
        asked(denoiser, rows=2)
    assert denoiser.calls == 1 + 3
    assert not recorder.recordings
    monkeypatch.setattr(cuda_graphs, "_Recording", Recording)
    asked(denoiser, rows=2)
    assert Recording.made == 1, "it is tried once"


def test_a_tensor_that_lies_elsewhere_is_not_played_back(denoiser):
    cuda_graphs.Recorder(denoiser, lambda: True).ready = True
    for _ in range(3):
        made, _ = denoiser(torch.ones(1), torch.tensor(1.0), context=torch.empty(1, device="meta"))
        assert made.item() == 3
    assert Recording.made == 0


def test_with_smaller_batches_it_begins_anew(denoiser):
    recorder = cuda_graphs.Recorder(denoiser, lambda: True)
    recorder.ready = True
    for _ in range(2):
        asked(denoiser, rows=2)
    recorder.pool = "of memory"
    recorder.stop()
    recorder.restart()
    assert recorder.pool is None, "torch refuses one from which everything is gone"
    for _ in range(3):
        asked(denoiser, rows=1)
    assert (denoiser.calls, Recording.made) == (1 + 3, 1), "when it is known what pictures take"
    recorder.ready = True
    asked(denoiser, rows=1)
    assert (denoiser.calls, Recording.made) == (1 + 3, 2)


def test_it_can_be_removed(denoiser):
    recorder = cuda_graphs.Recorder(denoiser, lambda: True)
    recorder.ready = True
    for _ in range(2):
        asked(denoiser)
    recorder.remove()
    recorder.remove()
    for _ in range(3):
        asked(denoiser)
    assert (denoiser.calls, Recording.made) == (1 + 3, 1)
    assert not recorder.recordings, "they hold a GPU's memory"
    assert denoiser.forward.__func__ is Denoiser.forward
