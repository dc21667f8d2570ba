"""Frames: each is a function of its place in the walk alone, whichever others are asked for."""

import dataclasses
import math
import weakref
import zlib
from fractions import Fraction
from unittest import mock

import numpy as np
import pytest
import torch

from walk import Error, Keyframe, OutOfMemoryError, Settings, Walk, models
from walk.render import KEPT, PAUSES, PULSE, Renderer, inputs, render
from walk.run import Run
from walk.work import Work

BATCH = 4
KEYFRAMES = [Keyframe("a fox", 1), Keyframe("an owl", 2, "rain"), Keyframe("a boat", 3), Keyframe("a mill", 4)]


class Fake:
    """A model whose pictures are the very bytes of what they were made from: `parts` reads them back."""

    def __init__(self):
        self.settings = Settings(batch=BATCH)
        self.encoded = []  # keyframes
        self.batches = []  # what denoise was given

    def encode(self, keyframe):
        self.encoded.append(keyframe)
        random = torch.Generator().manual_seed(zlib.crc32(f"{keyframe.prompt}|{keyframe.negative_prompt}".encode()))
        shapes = {"prompt_embeds": (5, 3), "negative_prompt_embeds": (5, 3), "pooled_prompt_embeds": (6,)}
        return {name: torch.randn(shape, generator=random) for name, shape in shapes.items()}

    def noise(self, seed):
        return torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(seed))

    def denoise(self, noise, conditioning):
        self.batches.append({"noise": noise} | conditioning)
        names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds")
        return torch.cat([noise.flatten(1), *(conditioning[name].flatten(1) for name in names)], 1)

    def decode(self, latents, exact=False):
        return lambda: latents.view(torch.uint8).reshape(len(latents), 4, -1, 3)


def parts(picture):
    """The noise and the conditioning that the Fake made a picture from."""
    noise, positive, negative, pooled = np.split(picture.reshape(-1).view(np.float32), [24, 39, 54])
    return noise, positive.reshape(5, 3), negative.reshape(5, 3), pooled


class Bare:
    """A model whose pictures are the bytes of its latents, so that not a bit of them is lost."""

    def __init__(self, model):
        self.settings, self.encode, self.noise, self.denoise = model.settings, model.encode, model.noise, model.denoise

    def decode(self, latents):
        return lambda: latents.view(torch.uint8).flatten(2).unsqueeze(-1).expand(-1, -1, -1, 3)


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    settings = {"steps": 2, "batch": BATCH, "device": "cpu", "scheduler": "EulerAncestralDiscreteScheduler"}
    return models.load(Settings(model=str(tiny_folder), **settings))


@pytest.fixture(params=["fake", "tiny"])
def model(request):
    return Fake() if request.param == "fake" else request.getfixturevalue("tiny")


def film(model, walk, indices=None):
    """The pictures, by index."""
    return dict(render(model, walk, range(walk.frames) if indices is None else indices))


def assert_same(picture, expected):
    np.testing.assert_array_equal(picture, expected, strict=True)


# A frame is a function of its place


@pytest.mark.parametrize("way", [{}, {"smooth": False}, {"closed": True}], ids=str)
def test_any_frames_in_any_order_are_those_of_the_whole_film(model, way):
    walk = Walk.through(KEYFRAMES[:3], frames=11, **way)  # the last batch is a short one
    whole = film(model, walk)
    for indices in ([10], [3, 1], [7, 2, 9, 0, 5], list(range(10, -1, -1))):
        some = list(render(model, walk, indices))
        assert sorted(index for index, _ in some) == sorted(indices)
        for index, picture in some:
            assert_same(picture, whole[index])


@pytest.mark.parametrize("index", [7, -1, 1.5])
def test_a_frame_that_the_walk_does_not_have_is_refused_before_anything_is_rendered(index):
    model = Fake()
    with pytest.raises(Error, match=f"^there is no frame {index}; the walk's frames are 0 to 6$"):
        list(render(model, Walk.through(KEYFRAMES, frames=7), [0, index]))
    assert not model.batches


@pytest.mark.parametrize("way", [{}, {"smooth": False}, {"closed": True, "noise_strides": [1, 3] * 3}], ids=str)
def test_what_a_frame_is_made_from_makes_its_very_pixels(tiny, way):
    model = tiny.at(dataclasses.replace(tiny.settings, batch=1))
    walk = Walk.through(KEYFRAMES[:3], frames=6, **way)
    for index, picture in film(model, walk).items():
        noise, conditioning = inputs(model, walk, index)
        assert noise.shape == model.noise(0).shape
        assert {name: tensor.shape for name, tensor in conditioning.items()} == {
            name: tensor.shape for name, tensor in model.encode(KEYFRAMES[0]).items()
        }
        latents = model.denoise(noise[None], {name: tensor[None] for name, tensor in conditioning.items()})
        assert_same(model.decode(latents)()[0].numpy(), picture)


def test_a_frame_that_the_walk_does_not_have_is_made_from_nothing():
    with pytest.raises(Error, match=r"^there is no frame 7; the walk's frames are 0 to 6$"):
        inputs(Fake(), Walk.through(KEYFRAMES, frames=7), 7)


def test_a_frame_does_not_depend_on_its_batch_mates(model):
    walk = Walk.through(KEYFRAMES, frames=12)
    alone = film(model, walk, [5])[5]
    for mates in ([0, 1, 2], [11, 8, 6], [5, 5, 5], []):
        assert_same(film(model, walk, [5, *mates])[5], alone)


def test_a_frame_always_takes_the_same_row_of_its_batch():
    walk = Walk.through(KEYFRAMES, frames=11)

    def rows(indices):
        model, places = Fake(), {}
        pictures = film(model, walk, indices)
        for index, picture in pictures.items():
            (noise, *_) = parts(picture)
            batches = [batch["noise"].flatten(1).numpy() for batch in model.batches]
            places[index] = {row for batch in batches for row in range(BATCH) if np.array_equal(batch[row], noise)}
        return places

    whole = rows(range(11))
    for indices in ([9], [1, 2, 3, 4], [0, 4, 8, 10]):
        for index, row in rows(indices).items():
            assert min(whole[index]) in row


def test_not_a_bit_of_the_latents_depends_on_which_frames_are_asked_for(tiny):
    walk = Walk.through(KEYFRAMES, frames=2 * BATCH)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        whole, rest = film(Bare(tiny), walk), film(Bare(tiny), walk, range(3, 2 * BATCH))
    finally:
        torch.set_num_threads(threads)
    for index, picture in rest.items():
        assert_same(picture, whole[index])


def test_every_batch_has_the_models_one_shape():
    for indices in (range(11), [3], [9, 2]):
        model = Fake()
        film(model, Walk.through(KEYFRAMES, frames=11), indices)
        assert len(model.batches) == -(-len(indices) // BATCH)
        for batch in model.batches:
            assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == {
                "noise": (BATCH, 1, 4, 6),
                "prompt_embeds": (BATCH, 5, 3),
                "negative_prompt_embeds": (BATCH, 5, 3),
                "pooled_prompt_embeds": (BATCH, 6),
            }


# A GPU works by itself


class Gpu(Fake):
    """Says when it is given work, and when somebody waits for its pictures."""

    def __init__(self):
        super().__init__()
        self.settings = Settings(batch=BATCH, device="cuda", low_memory=True)  # whose frames begin on the CPU
        self.events = []

    def decode(self, latents, exact=False):
        number = len(self.batches)
        self.events.append(("begun", number))

        def wait():
            self.events.append(("waited for", number))
            return super(Gpu, self).decode(latents)()

        return wait


def test_a_gpu_has_its_next_batch_before_anybody_waits_for_the_last():
    walk, model = Walk.through(KEYFRAMES, frames=7 * BATCH), Gpu()
    renderer, landed = Renderer(model), []
    for first in (0, 2 * BATCH, 3 * BATCH):  # calls one after the other
        landed += renderer.render(walk, range(first, first + 2 * BATCH if first else 2 * BATCH), first)
    landed += renderer.finish()
    assert model.events[0] == ("begun", 1)
    for number in range(1, 6):
        assert model.events.index(("begun", number + 1)) < model.events.index(("waited for", number))
    assert [first for first, _ in landed] == [0, 0, 8, 8, 12, 12]
    whole = film(Fake(), walk)
    for _, pictures in landed:
        for index, picture in pictures:
            assert_same(picture, whole[index])


def test_a_gpu_reads_all_prompts_before_its_first_frame():
    model = Gpu()
    next(Renderer(model).render(Walk.through(KEYFRAMES, frames=13), range(2 * BATCH)))
    assert model.encoded == KEYFRAMES


# What a frame is made of


@pytest.mark.parametrize("way", [{}, {"smooth": False}, {"closed": True}, {"ease": True}], ids=str)
def test_a_frame_on_a_keyframe_is_the_keyframes_own_picture(model, way):
    walk = Walk.through(KEYFRAMES, frames=13, **way)
    on = {index: int(p) for index, p in enumerate(walk.positions) if p == int(p)}
    assert sorted(on.values()) == [0, 1, 2, 3]
    for index, picture in film(model, walk, list(on)).items():
        keyframe = walk.keyframes[on[index]]
        conditioning = {name: torch.stack([c] * BATCH) for name, c in model.encode(keyframe).items()}
        own = model.decode(model.denoise(torch.stack([model.noise(keyframe.seed)] * BATCH), conditioning))()
        assert_same(picture, own[0].numpy())


def test_halfway_between_two_keyframes_everything_is_halfway():
    a, between, b = (parts(picture) for picture in film(Fake(), Walk.through(KEYFRAMES[:2], frames=3)).values())

    def halfway(x, y):
        """On the great circle between two vectors, or between each two of a list of tokens."""
        r, s = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (x, y))
        middle = x / r + y / s
        return middle / np.linalg.norm(middle, axis=-1, keepdims=True) * (r + s) / 2

    for x, mid, y in zip(a, between, b):
        assert not np.allclose(x, y)
        np.testing.assert_allclose(mid, halfway(x, y), rtol=1e-5, atol=1e-6)


def test_a_shared_seed_keeps_the_noise_still_and_a_shared_prompt_the_conditioning():
    for way in ({}, {"smooth": False}, {"closed": True}):
        still = [dataclasses.replace(keyframe, seed=7) for keyframe in KEYFRAMES]
        for picture in film(Fake(), Walk.through(still, frames=13, **way)).values():
            assert_same(parts(picture)[0], Fake().noise(7).flatten().numpy())
        same = [Keyframe("a fox", seed) for seed in range(3)]
        first, *others = (parts(p)[1:] for p in film(Fake(), Walk.through(same, frames=13, **way)).values())
        for other in others:
            for tensor, expected in zip(other, first):
                assert_same(tensor, expected)


def test_each_prompt_with_its_negative_prompt_is_encoded_once():
    model = Fake()
    another = dataclasses.replace(KEYFRAMES[0], negative_prompt="snow")
    again = dataclasses.replace(KEYFRAMES[0], seed=9)  # another seed is no other conditioning
    film(model, Walk.through([*KEYFRAMES, another, again], frames=23))
    assert model.encoded == [*KEYFRAMES, another]


@pytest.mark.parametrize(
    ("way", "indices", "needed"),
    [
        ({}, [0], [0]),
        ({}, [4], [2]),
        ({"smooth": False}, [1], [0, 1]),
        ({"smooth": True}, [1], [0, 1, 2]),
        ({"smooth": False}, [0, 2], [0, 1]),
        ({}, [], []),
    ],
)
def test_only_keyframes_that_are_seen_are_encoded(way, indices, needed):
    model = Fake()
    film(model, Walk.through(KEYFRAMES, frames=7, **way), indices)
    assert [KEYFRAMES.index(keyframe) for keyframe in model.encoded] == needed


# The round of a closed walk


def test_after_a_closed_walks_last_frame_would_come_its_first(model):
    closed = film(model, Walk.through(KEYFRAMES, frames=8, closed=True, smooth=False))
    there_and_back = film(model, Walk.through([*KEYFRAMES, KEYFRAMES[0]], frames=9, smooth=False))
    for index, picture in closed.items():
        assert_same(picture, there_and_back[index])
    assert_same(there_and_back[8], closed[0])


def test_a_closed_walk_may_begin_at_any_of_its_keyframes(model):
    begun = film(model, Walk.through(KEYFRAMES, frames=8, closed=True))
    turned = film(model, Walk.through(KEYFRAMES[1:] + KEYFRAMES[:1], frames=8, closed=True))
    for index, picture in turned.items():
        assert_same(picture, begun[(index + 2) % 8])


def test_a_pulse_turns_the_noise_toward_the_same_one_wherever_it_comes_and_nothing_else():
    walk = Walk(tuple(KEYFRAMES), (0.0, 0.25, 1.0, 1.0, 1.5), Fraction(24))
    pulsing = dataclasses.replace(walk, pulse=(0.5, 0.3, 1.0, 0.0, 1.0))
    plain, swung = (dict(render(Fake(), some, range(5))) for some in (walk, pulsing))
    assert_same(swung[3], plain[3])
    other = Fake().noise(PULSE).flatten().numpy()
    for index, part in enumerate(pulsing.pulse):
        (before, *words), (noise, *same) = parts(plain[index]), parts(swung[index])
        angle = part * math.pi / 2
        np.testing.assert_allclose(noise, math.cos(angle) * before + math.sin(angle) * other, atol=1e-6)
        for a, b in zip(words, same):
            np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(parts(swung[2])[0], parts(swung[4])[0], atol=1e-6)
    assert_same(dict(render(Fake(), pulsing, [1]))[1], swung[1])


# Black


class Failing(Fake):
    """Every picture between keyframes 1 and 2 fails."""

    def decode(self, latents, exact=False):
        pictures = super().decode(latents)()
        lit = [(latents[:, :24] - self.noise(seed).flatten()).abs().amax(1) == 0 for seed in (1, 2)]
        pictures[~(lit[0] | lit[1])] = 0
        return lambda: pictures


def test_a_black_picture_is_an_error_that_names_its_place_and_loses_none_before_it():
    walk = Walk(tuple(KEYFRAMES), (0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.5, 1.0), Fraction(24))
    frames = render(Failing(), walk, [7, 5, 4, 3, 2, 6, 1])
    assert {next(frames)[0] for _ in range(3)} == {7, 5, 4}
    with pytest.raises(
        Error,
        match=r"^the picture 50% of the way from keyframe 2 to 3 came out black, as when numbers overflow in auto; try --dtype "
        r"float32, another --scheduler",
    ):
        next(frames)


def test_a_picture_of_one_colour_is_an_error_too():
    class Grey(Fake):
        def decode(self, latents, exact=False):
            return lambda: torch.full((len(latents), 8, 8, 3), 127, dtype=torch.uint8)

    with pytest.raises(Error, match=r"^the picture of keyframe 1 came out one colour, as when numbers overflow"):
        film(Grey(), Walk.through(KEYFRAMES, frames=5))
    exact = Grey()
    exact.settings = dataclasses.replace(exact.settings, dtype="float32")
    with pytest.raises(Error, match=r"overflow in float32; try another --scheduler or a lower --guidance$"):
        film(exact, Walk.through(KEYFRAMES, frames=5))


def test_a_picture_with_one_lit_dot_is_not_black():
    class Dark(Fake):
        def decode(self, latents, exact=False):
            pictures = torch.zeros(len(latents), 8, 8, 3, dtype=torch.uint8)
            pictures[:, 5, 5, 2] = 1
            return lambda: pictures

    assert len(film(Dark(), Walk.through(KEYFRAMES, frames=5))) == 5


# Memory


class Small(Fake):
    """Has room for so many frames at a time."""

    room = 2
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    def denoise(self, noise, conditioning):
        if len(noise) > self.room:
            raise self.error
        return super().denoise(noise, conditioning)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
        RuntimeError("Invalid buffer size: 8.21 GB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 20 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
    ],
    ids=lambda error: str(error)[-30:],
)
def test_a_batch_that_finds_no_room_says_how_large_it_was(error):
    model = Small()
    model.error = error
    with pytest.raises(
        OutOfMemoryError, match=r"^4 frames at a time need more memory than there is; try --batch 2$"
    ) as caught:
        film(model, Walk.through(KEYFRAMES, frames=5))
    assert caught.value.batch == 4
    model.settings = Settings(batch=2)
    assert len(film(model, Walk.through(KEYFRAMES, frames=5))) == 5


@pytest.mark.parametrize("times", [2, 4])
def test_a_gpu_that_others_fill_for_a_moment_is_waited_for(monkeypatch, times):
    walk, model, pauses = Walk.through(KEYFRAMES, frames=3 * BATCH), Gpu(), []
    monkeypatch.setattr("walk.render.time.sleep", pauses.append)
    denoise, calls = model.denoise, []

    def filled(noise, conditioning):
        calls.append(len(noise))
        if 2 <= len(calls) < 2 + times:
            raise Small.error
        return denoise(noise, conditioning)

    model.denoise = filled
    if times > len(PAUSES):
        with pytest.raises(OutOfMemoryError):
            film(model, walk)
    else:
        expected = film(Fake(), walk)
        for index, picture in film(model, walk).items():
            assert_same(picture, expected[index])
        assert len(calls) == 3 + times
    assert pauses == list(PAUSES[:times])


def test_a_gpu_without_room_for_a_first_batch_is_not_waited_for(monkeypatch):
    model, pauses = Gpu(), []
    monkeypatch.setattr("walk.render.time.sleep", pauses.append)
    model.denoise = mock.Mock(side_effect=Small.error)
    with pytest.raises(OutOfMemoryError):
        film(model, Walk.through(KEYFRAMES, frames=5))
    assert pauses == []


def test_what_finds_no_room_beside_a_batch_is_made_after_it(monkeypatch):
    walk = Walk.through(KEYFRAMES, frames=5)
    expected = film(Fake(), walk)
    renderer = Renderer(Fake())
    made = dict(pair for _, batch in renderer.render(walk, [0]) for pair in batch)
    with monkeypatch.context() as patch:
        patch.setattr(renderer.inputs, "_compute", mock.Mock(side_effect=Small.error))
        renderer.prepare(walk, [1, 2])
    made |= dict(pair for _, batch in renderer.render(walk, [1, 2, 3, 4]) for pair in batch)
    assert {index: picture.tobytes() for index, picture in made.items()} == {
        index: picture.tobytes() for index, picture in expected.items()
    }


def test_another_error_keeps_its_traceback():
    model = Small()
    model.error = RuntimeError("required rank 4 tensor to use channels_last memory format")
    with pytest.raises(RuntimeError, match="required rank 4"):
        film(model, Walk.through(KEYFRAMES, frames=5))


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("around", [(0, 2), (2, 0), (None, 2), (0, None)], ids=str)
def test_all_that_pictures_are_made_from_rests_between_keyframes_that_are_the_same(smooth, around):
    """So that a walk may show one picture there (`Walk.through`): that of the keyframe."""
    before, after = ([] if k is None else [KEYFRAMES[k]] for k in around)
    walk = Walk([*before, KEYFRAMES[1], KEYFRAMES[1], *after], [0.0] * 5, 24, smooth=smooth)
    walk = dataclasses.replace(walk, positions=[len(before) + t for t in (0, 1e-6, 0.3, 0.5, 0.99)])
    first, *rest = [{"noise": noise, **parts} for noise, parts in (inputs(Fake(), walk, i) for i in range(5))]
    for made in rest:
        for name, tensor in first.items():
            torch.testing.assert_close(made[name], tensor, rtol=1e-6, atol=1e-6)


def test_indices_may_come_from_a_generator():
    walk = Walk.through([Keyframe("a", 0), Keyframe("b", 1)], frames=3)
    assert [index for index, _ in render(Fake(), walk, (i for i in (0, 2)))] == [0, 2]


def test_noise_of_many_keyframes_does_not_fill_the_memory(monkeypatch):
    """That of a sampler which draws at each of 30 steps is 4 MB a keyframe, and was kept for all of them."""
    monkeypatch.setattr("walk.render.KEPT", KEPT // 20)
    model = Fake()
    there = []

    def noise(seed):
        there.append(weakref.ref(made := torch.full((1, 4, 6), float(seed)).expand(31, 100, 4, 6).contiguous()))
        return made

    model.noise = noise
    walk = Walk.through([Keyframe("a", seed) for seed in range(40)], frames=79)
    renderer = Renderer(model)
    renderer.inputs.read(walk, range(79))
    for index in range(79):
        renderer.inputs.batch(walk, [index])
        renderer.inputs.prepared = {}
    assert sum(ref() is not None for ref in there) < 30


def test_whoever_prepares_a_batch_while_its_prompts_are_read_waits_for_the_next_one(monkeypatch):
    model, walk = Fake(), Walk.through(KEYFRAMES, frames=7)
    renderer = Renderer(model)
    encode, room = model.encode, []

    def encoded(keyframe):
        made = encode(keyframe)
        for tensor in made.values():  # the size of what was encoded is asked for when all of it is there
            tensor.numel = lambda: room.append(renderer.prepare(walk, range(7))) or 15
        return made

    monkeypatch.setattr(model, "encode", encoded)
    rendered = [*renderer.render(walk, range(7)), *renderer.finish()]
    assert sorted(index for _, pictures in rendered for index, _ in pictures) == [*range(7)]
    assert room


class Own(models.Model):
    """The least that is a model."""

    settings = Fake().settings
    encode, noise, denoise, decode = Fake.encode, Fake.noise, Fake.denoise, Fake.decode
    encoded, batches = [], []


def test_a_model_of_ones_own_needs_no_more_than_settings_and_four_functions():
    model, walk = Own(), Walk.through(KEYFRAMES, frames=7)
    for index, picture in film(model, walk).items():
        assert_same(picture, film(Fake(), walk)[index])
    smaller = dataclasses.replace(model.settings, batch=2)
    assert (model.at(smaller).settings, model.settings.batch) == (smaller, BATCH)
    assert model.notes(KEYFRAMES[0]) == []
    with pytest.raises(Error, match=r"^Own has no settings but its own, and another batch; give model\.settings$"):
        model.at(dataclasses.replace(model.settings, steps=2))

    class Half(models.Model):
        encode = noise = denoise = Fake.encode

    with pytest.raises(TypeError, match="decode"):
        Half()


def test_what_is_no_model_is_told_what_it_lacks(tmp_path):
    walk = Walk.through(KEYFRAMES, frames=7)
    with pytest.raises(
        Error, match=r"^Settings has no settings, encode, noise, denoise, decode, so it is not a model; mod"
    ):
        film(Settings(), walk)
    complete = Settings("a", 8, 8, 1, 1.0, "none", "cpu", "float32", 4, "a", ("a",))
    with Run(tmp_path, walk, complete) as run, pytest.raises(Error, match=r"^Bare has no at, so it is not a model; "):
        Work(run, Bare(Fake()))


@pytest.mark.parametrize(
    ("decoded", "told"),
    [
        (lambda pictures: pictures, "returned a Tensor; it returns a function that waits for pictures"),
        (lambda pictures: None, "returned a NoneType"),
        (
            lambda pictures: pictures.numpy,
            r"made a ndarray; pictures are torch.uint8 \(4, height, width, 3\) on the CPU",
        ),
        (lambda pictures: pictures.float, r"made torch.float32 \(4, 4, 20, 3\) on cpu; pictures are torch.uint8"),
        (lambda pictures: lambda: pictures.movedim(-1, 1), r"made torch.uint8 \(4, 3, 4, 20\) on cpu"),
        (lambda pictures: lambda: pictures[:1], r"made torch.uint8 \(1, 4, 20, 3\) on cpu"),
        (lambda pictures: lambda: pictures[0], r"made torch.uint8 \(4, 20, 3\) on cpu"),
    ],
)
def test_what_decode_returns_instead_of_a_function_for_pictures_is_told(decoded, told):
    model = Fake()
    decode = model.decode
    model.decode = lambda latents: decoded(decode(latents)())
    with pytest.raises(Error, match=f"^decode of Fake {told}"):
        film(model, Walk.through(KEYFRAMES, frames=7))
