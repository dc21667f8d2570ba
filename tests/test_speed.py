"""Even speed: what is looked at, and where the frames are put."""

import dataclasses
import functools
import math
import re
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import scipy.interpolate
import tiny
import torch
from PIL import Image

import walk
from walk import Error, Keyframe, Settings, Walk, cli, eye, models, outlook, pace, probe, read_prompts, speed
from walk.check import check
from walk.lazy import LazyModel
from walk.manifest import read_manifest
from walk.render import render
from walk.replay import read_recipe
from walk.run import Run
from walk.work import Work

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")

SETTINGS = Settings(width=16, height=16, steps=10, guidance=1.0, batch=8)


def a_walk(frames=121, prompts="abc", **options):
    return Walk.through([Keyframe(prompt, i) for i, prompt in enumerate(prompts)], frames=frames, **options)


def a_model(sharpness=8.0):
    """A picture for each position whose change is slow at keyframes and sudden half-way, as of real models."""

    def picture(walk, position):
        start = int(position)
        a, b = (
            np.random.default_rng(ord(walk.keyframes[k % len(walk.keyframes)].prompt)).uniform(0, 255, (16, 16, 3))
            for k in (start, start + 1)
        )
        t = position - start
        mix = 1 / (1 + np.exp(-4 * sharpness * (t - 0.5))) if 0 < t < 1 else t
        return ((1 - mix) * a + mix * b).astype(np.uint8)

    return picture


def paced(walk, picture, chunk=8, **how):
    """A evener that has seen all it wants, each time while the next are made; the pictures; how many it named when."""
    made, named = {}, []
    evener = speed.Evener(walk, lambda position: eye.features(made[position]), **how)
    before = []
    while (wanted := evener.next_batch(chunk)) or before:
        assert not made.keys() & set(wanted), "wanted again"
        made |= {position: picture(walk, position) for position in wanted}
        evener.saw(before)
        before = wanted
        named.append(len(wanted))
    return evener, made, named


def evened(walk, picture, **how):
    return paced(walk, picture, **how)[0].walk


def steps(walk, picture):
    pictures = [eye.features(picture(walk, position)) for position in walk.positions]
    pictures += pictures[:1] if walk.closed else []
    return np.array([eye.distance(a, b) for a, b in pairwise(pictures)])


@pytest.mark.parametrize("way", [dict(), dict(smooth=False), dict(closed=True, frames=120), dict(frames=31)], ids=str)
def test_frames_look_evenly_far_apart(way):
    walk, picture = a_walk(**way), a_model()
    evener, made, _ = paced(walk, picture)
    plain, even = steps(walk, picture), steps(evener.walk, picture)
    assert plain.max() / np.median(plain) > 5
    assert even.max() / np.median(even) < 1.6
    assert even.var() < plain.var() / 10
    assert set(evener.walk.positions) <= made.keys(), "the film is not rendered yet"
    assert len(made) < 1.2 * walk.frames


def test_it_does_not_depend_on_the_family(tmp_path):
    tiny.lumina2(tmp_path)
    model = models.load(Settings(model=str(tmp_path), steps=2, width=64, height=64))
    walk = a_walk(31, "ab")

    def picture(walk, position):
        part = dataclasses.replace(walk, positions=(position,))
        return next(pictures for _, pictures in render(model, part, [0]))

    evener, made, _ = paced(walk, picture)
    made |= {position: picture(walk, position) for position in {*walk.positions, *evener.walk.positions} - made.keys()}
    for distance in (lambda a, b: eye.distance(*map(eye.features, (a, b))), lambda a, b: (a - b * 1.0).std()):
        plain, even = (
            np.array([distance(made[p], made[q]) for p, q in pairwise(w.positions)]) for w in (walk, evener.walk)
        )
        assert even.var() / even.mean() ** 2 < 0.6 * plain.var() / plain.mean() ** 2
        assert even.max() / np.median(even) < 1.5


@pytest.mark.parametrize("way", [dict(), dict(closed=True, frames=120), dict(ease=True)], ids=str)
def test_length_and_arrivals_stay_as_they_were(way):
    walk = a_walk(**way)
    even = evened(walk, a_model())
    assert even == dataclasses.replace(walk, positions=even.positions)
    assert [p for p in even.positions if p % 1 == 0] == [p for p in walk.positions if p % 1 == 0]
    assert all(even.positions[i] == p for i, p in enumerate(walk.positions) if p % 1 == 0)
    assert all(a < b for a, b in pairwise(even.positions))


def test_an_edit_moves_no_frame_of_a_segment_that_it_does_not_touch():
    before, after = a_walk(prompts="abcde", smooth=False), a_walk(prompts="abXde", smooth=False)
    moved_before, moved_after = (evened(w, a_model()).positions for w in (before, after))
    untouched = [i for i, p in enumerate(before.positions) if p <= 1 or p >= 3]
    assert [moved_before[i] for i in untouched] == [moved_after[i] for i in untouched]
    assert moved_before != moved_after


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_the_walk_does_not_depend_on_how_much_is_rendered_at_a_time(chunk):
    walk = a_walk(prompts="abcd")
    assert evened(walk, a_model(), chunk=chunk) == evened(walk, a_model())


def test_what_is_wanted_fills_whole_batches():
    # Segments do not wait for each other: what one of them wants next goes with what is left of another's.
    walk = a_walk(241, "abcde")
    _, _, named = paced(walk, a_model())
    assert max(named) == 8
    assert sum(count > 0 for count in named) <= 1.15 * walk.frames / 8
    assert named.count(0) <= 3, "it waits while there is something to do"


@pytest.mark.parametrize(
    "way", [dict(), dict(frames=40), dict(frames=9), dict(ease=True), dict(sharpness=40.0)], ids=str
)
def test_the_first_look_is_part_of_the_film(way):
    picture = a_model(way.pop("sharpness", 8.0))
    walk = a_walk(**way)
    first, made, _ = paced(walk, picture, further=False)
    assert made.keys() <= set(evened(walk, picture).positions)
    assert made.keys() <= set(first.walk.positions)
    assert len(first.walk.positions) == walk.frames


def test_of_a_walk_along_the_path_a_few_frames_are_looked_at():
    walk = a_walk(121)
    evener, made, _ = paced(walk, a_model(), even=False)
    assert evener.walk == walk
    assert made.keys() <= set(walk.positions)
    assert len(made) == 2 * speed.FIRST + 3


def test_what_is_predicted_is_what_comes():
    walk, picture = a_walk(), a_model()
    evener, *_ = paced(walk, picture)
    for some in (walk, evener.walk):
        expected, told = steps(some, picture), np.array(speed.predicted_steps(some, evener.distances))
        assert len(told) == len(expected)
        assert told.sum() == pytest.approx(expected.sum(), rel=0.1)
        assert np.corrcoef(told, expected)[0, 1] > 0.9 or expected.std() < 0.3 * expected.mean()


@pytest.mark.parametrize("share", [0, 0.25, 1])
def test_what_is_predicted_of_prompts_and_noise_that_go_their_own_ways_is_each_ones_share(share):
    walk = dataclasses.replace(a_walk(), noise=a_walk(ease=True).positions)
    evener, *_ = paced(a_walk(), a_model())
    prompts, noise = (
        np.array(speed.predicted_steps(dataclasses.replace(walk, positions=way, noise=()), evener.distances))
        for way in (walk.positions, walk.noise)
    )
    told = speed.predicted_steps(walk, evener.distances, dict.fromkeys(range(walk.segments), share))
    assert told == pytest.approx(list((1 - share) * prompts + share * noise))


def test_a_swing_adds_to_the_way_at_right_angles_as_far_as_it_shows_there():
    walk = Walk([Keyframe(name, 0) for name in "abc"], [0.0, 0.5, 1.0, 1.5], 24, closed=True, pulse=[0.25, 1, 0, 0.5])
    distances = [(k / 2, 3.0) for k in range(6)]
    told = speed.predicted_steps(walk, distances, swings={0.0: [0.0] * 3, 0.5: [2.0, 4.0, 0.0], 1.0: [4.0, 5.0, 0.0]})
    assert told == pytest.approx([np.hypot(3, 3), np.hypot(3, 4.5), np.hypot(3, 4), np.hypot(9, 1)])


def test_a_loop_that_begins_within_a_segment_is_predicted_as_it_comes():
    keyframes = [Keyframe("a", 0, time=0.5), Keyframe("b", 1), Keyframe("c", 2)]
    walk, picture = Walk.through(keyframes, frames=72, fps=24, closed=True), a_model()
    assert walk.positions[0] > 2
    evener, *_ = paced(walk, picture)
    even = steps(evener.walk, picture)
    for distances in (evener.distances, list(zip(evener.walk.positions, even))):
        told, expected = np.array(speed.predicted_steps(walk, distances)), steps(walk, picture)
        assert told.sum() == pytest.approx(expected.sum(), rel=0.1)
        assert told.max() == pytest.approx(expected.max(), rel=0.15)


def test_a_film_tells_what_it_would_have_been_along_the_path():
    walk, picture = a_walk(), a_model()
    even = evened(walk, picture)
    told = speed.predicted_steps(walk, list(zip(even.positions, steps(even, picture))))
    assert max(told) == pytest.approx(max(steps(walk, picture)), rel=0.15)


def test_where_more_happens_there_are_more_frames():
    positions = np.array(evened(a_walk(), a_model()).positions)
    assert np.sum((positions > 0.375) & (positions < 0.625)) > 0.8 * np.sum((positions > 0) & (positions < 1))


def test_a_walk_that_rests_stays_as_it_is():
    walk = a_walk(prompts="aa")
    assert evened(walk, a_model()) == walk


def test_segments_of_a_frame_stay_as_they_are():
    walk = a_walk(5)
    evener, *_ = paced(walk, a_model())
    assert evener.walk == walk
    assert speed.predicted_steps(walk, evener.distances) == pytest.approx(list(steps(walk, a_model())), rel=0.01)


def test_a_cut_from_keyframe_to_keyframe_is_told_as_large_as_it_is():
    walk, picture = a_walk(30, prompts="abcd"), a_model()
    positions = [*walk.positions[:11], 2.0, *[p for p in walk.positions if p > 2]]  # from b to c at one stroke
    positions = [p for p in positions if not 1 < p < 2]
    walk = dataclasses.replace(walk, positions=positions)
    evener, *_ = paced(walk, picture)
    cuts = speed.cuts(walk, [picture(walk, float(k)) for k in range(4)])
    assert [position for position, _ in cuts] == [1.0]
    expected = steps(evener.walk, picture)
    told = np.array(speed.predicted_steps(evener.walk, [*evener.distances, *cuts]))
    cut = int(np.argmax(expected))
    assert evener.walk.positions[cut : cut + 2] == (1.0, 2.0)
    assert told[cut] == pytest.approx(expected[cut], rel=0.01)
    assert np.median(told) == pytest.approx(np.median(expected), rel=0.2)


def test_what_is_done_when_stays_with_the_pace():
    eased = evened(a_walk(ease=True), a_model())
    quick = steps(eased, a_model())
    assert quick[:3].max() < quick[25:35].min() / 2  # slow at the keyframe, though even to the eye


def test_kicks_stay_on_their_frames():
    beats = [0.5 * i for i in range(1, 10)]
    keyframes = [Keyframe(prompt, i) for i, prompt in enumerate("abc")]
    moves = pace.on_beats(beats, 121, Fraction(24))
    walk = Walk.through(keyframes, frames=121, strides=moves, noise_strides=moves)
    evener, made, _ = paced(walk, a_model())
    asked = np.diff([0.0, *walk.positions])
    shown = np.concatenate([[0.0], steps(evener.walk, a_model())])
    for beat in beats:
        at = round(24 * beat)
        around = slice(at - 5, at + 6)
        assert np.argmax(asked[around]) == 5
        assert abs(np.argmax(shown[around]) - 5) <= 1
    assert len(made) < 1.3 * walk.frames


def test_no_frames_are_lost_in_a_jump():
    """The model flips from one picture to another, which no frame can come between; elsewhere it glides."""

    def picture(walk, position):
        level = 40 + 60 * position + 80 * (position > 0.7310585)
        return (level + np.random.default_rng(0).uniform(0, 1, (64, 64, 3))).astype(np.uint8)

    walk = a_walk(49, "ab")
    evener, made, _ = paced(walk, picture)
    shown = steps(evener.walk, picture)
    assert shown.max() > 5 * np.median(shown)
    assert np.sum(np.abs(np.array(evener.walk.positions) - 0.7310585) < 0.005) <= 3
    assert len(made) < walk.frames + 20, "what it takes to see that it is one, however long the film"


def test_a_preview_names_the_time_of_what_may_be_a_jump():
    def picture(walk, position):
        level = 40 + 10 * position + 120 * (position > 1.52)
        return (level + np.random.default_rng(0).uniform(0, 1, (64, 64, 3))).astype(np.uint8)

    walk = a_walk(97, "abc")
    first, _, _ = paced(walk, picture, further=False)
    (note,) = outlook.turns(first.original, first.distances)
    assert outlook.turns(first.original, first.distances, {k: "bar" for k in range(9)}) == []
    at, what = note.split(": ", 1)
    assert re.fullmatch(
        r"9\d% of the change from keyframe 2 to 3 comes at once; a prompt in between would soften it", what
    )
    after = paced(walk, picture)[0].walk  # where the film itself will show it
    assert float(at.split(":")[1]) == pytest.approx(sum(p <= 1.52 for p in after.positions) / 24, abs=0.5)
    glides, _, _ = paced(walk, lambda walk, position: picture(walk, position / 2), further=False)
    assert outlook.turns(glides.original, glides.distances) == []


@pytest.mark.parametrize("width", [1e-2, 1e-3, 1e-4])
def test_what_turns_within_a_thousandth_of_a_step_is_no_jump(width):
    """Most of the change is done within about this share of the way: along the path, between two frames."""

    def picture(walk, position):
        level = 40 + 30 * position + 120 / (1 + np.exp(-np.clip((position - 0.7310585) / width, -50, 50)))
        return (level + np.random.default_rng(0).uniform(0, 1, (64, 64, 3))).astype(np.uint8)

    walk = a_walk(97, "ab")
    assert eye.unevenness(steps(walk, picture)) > 20
    evener, made, _ = paced(walk, picture)
    assert eye.unevenness(steps(evener.walk, picture)) < 1.5
    assert len(made) < walk.frames + 20


def test_noise_that_is_paced_apart_is_moved_along():
    walk = a_walk(97, "abc")
    noise = tuple(p**2 / 2 for p in walk.positions)
    apart = dataclasses.replace(walk, noise=noise)
    evener, made, _ = paced(apart, a_model())
    assert len(made) <= 3 + 2 * speed.FIRST + 0.1 * walk.frames, "these pictures are no frames"
    assert evener.walk.positions != walk.positions
    moved = dict(zip(walk.positions, evener.walk.positions)) | dict(zip(noise, evener.walk.noise))
    assert [moved[p] for p in sorted(moved)] == sorted(moved.values()), "one way for both"


@pytest.mark.parametrize(("settings", "quick"), [(1, 1), (4, 4), (10, 5), (20, 5), (30, 6), (50, 10)])
def test_a_quick_look_takes_fewer_steps(settings, quick):
    assert outlook.quick(dataclasses.replace(SETTINGS, steps=settings)).steps == quick


def test_a_long_film_is_paced_in_no_time_and_in_little_memory():
    walk = a_walk(2001, "abc")
    looks = 0

    def picture(walk, position):
        nonlocal looks
        looks += 1
        return a_model()(walk, position)

    evener, made, _ = paced(walk, picture, chunk=64)
    assert len(made) == looks < 1.1 * walk.frames
    assert set(evener.walk.positions) <= made.keys()


def glide(position):
    """Where a picture is on a line that goes on for ever: slow at keyframes, fast between them."""
    t = position % 1
    return position - np.sin(2 * np.pi * t) / 7


@pytest.mark.parametrize("keyframes", [lambda frames: 3, lambda frames: frames // 24 + 1], ids=["few", "many"])
def test_work_grows_as_a_film_does(monkeypatch, keyframes):
    work = 0

    def counted(function, weight):
        def wrapper(*args):
            nonlocal work
            work += weight(*args)
            return function(*args)

        return wrapper

    monkeypatch.setattr(speed, "distance", lambda a, b: abs(a - b))
    monkeypatch.setattr(speed._Segment, "_position", counted(speed._Segment._position, lambda *_: 1))
    monkeypatch.setattr(speed, "_monotone", counted(speed._monotone, lambda x, *_: len(x)))
    amounts = []
    for frames in (241, 961):
        work, before = 0, []
        walk = a_walk(frames, "abcdefgh" * (keyframes(frames) // 8) + "abcdefgh"[: keyframes(frames) % 8])
        evener = speed.Evener(walk, glide)
        while (wanted := evener.next_batch(8)) or before:
            evener.saw(before)
            before = wanted
        for some in (walk, evener.walk):
            speed.predicted_steps(some, evener.distances)
        amounts.append(work)
    assert amounts[1] < 5 * amounts[0], "four times the frames; after each batch all of the film is gone over again"


@pytest.mark.parametrize("chunk", [1, 8, 50])
@pytest.mark.parametrize("way", [dict(), dict(closed=True), dict(frames=61)], ids=str)
def test_keyframes_come_first_then_segments_take_turns_and_in_a_turn_what_is_wanted_longest(monkeypatch, way, chunk):
    monkeypatch.setattr(speed, "distance", lambda a, b: min(abs(a - b), 11 - abs(a - b)))  # also where a loop closes
    monkeypatch.setattr(speed, "TOGETHER", 100)
    walk = a_walk(**{"frames": 400, "prompts": "abcdefghijk"} | way)
    turns = math.ceil(walk.frames / 100)
    evener = speed.Evener(walk, glide)
    lists, named, before = {}, set(), []

    @functools.cache
    def turn(p):
        """Of the segment that a picture is of; keyframes are seen before others."""
        if not p % 1:
            return -1
        return sum(position < int(p) for position in walk.positions) * turns // walk.frames

    while True:
        waiting = [p for p in evener.unseen() if p not in named]
        latest = max(lists.values(), default=0) + 1
        lists |= {p: latest for p in waiting if p not in lists}
        waiting.sort(key=lambda p: (turn(p), lists[p]))
        whole = len(waiting) >= chunk or not before
        wanted = evener.next_batch(chunk)
        assert wanted == (waiting[:chunk] if whole else [])
        if not wanted and not before:
            break
        evener.saw(before)
        named.update(wanted)
        before = wanted
    assert named >= set(evener.walk.positions)


def test_hardly_a_picture_is_read_again(monkeypatch):
    looks = 0

    def look(position):
        nonlocal looks
        looks += 1
        return glide(position)

    monkeypatch.setattr(speed, "distance", lambda a, b: abs(a - b))
    evener, before, count = speed.Evener(a_walk(2000, "abcdefghijklmnopqrstuvwxyzab"), look), [], 0
    while (wanted := evener.next_batch(8)) or before:
        evener.saw(before)
        before = wanted
        count += len(wanted)
    assert looks < 1.1 * count


def test_the_interpolation_is_scipys():
    rng = np.random.default_rng(3)
    x, y = np.cumsum(rng.uniform(0.1, 1, (2, 9)), axis=1)
    expected = scipy.interpolate.PchipInterpolator(x, y)
    at = np.linspace(x[1], x[-2], 50)  # SciPy chooses other slopes at the very ends
    assert speed._monotone(x, y)(at) == pytest.approx(expected(at), abs=1e-12)


def test_the_command_does_not_look_twice(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "--frames", "40", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    assert cli.main(command) == 0
    film = (tmp_path / "film.mp4").read_bytes()
    assert "rendering" in capfd.readouterr().err
    frames = tmp_path / "film.walk" / "frames"
    made = {path.name: path.read_bytes() for path in frames.iterdir()}

    with monkeypatch.context() as patch:
        patch.setattr(speed, "Evener", None)  # what was decided is in the manifest
        assert cli.main(command) == 0
    assert not re.search("loading the model|rendering", capfd.readouterr().err)
    assert (tmp_path / "film.mp4").read_bytes() == film

    for gone in (list(made)[::3], list(made)):
        for name in gone:
            (frames / name).unlink()
        assert cli.main(command) == 0
        assert (tmp_path / "film.mp4").read_bytes() == film
        assert {path.name: path.read_bytes() for path in frames.iterdir()} == made


def test_of_a_finished_film_only_what_is_lost_is_rendered_and_said_to_be(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "a fox", "--frames", "60", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    assert cli.main(command) == 0
    film, frames = (tmp_path / "film.mp4").read_bytes(), sorted((tmp_path / "film.walk" / "frames").iterdir())
    frames[7].unlink()
    frames[30].write_bytes(frames[30].read_bytes()[:-9])
    capfd.readouterr()
    assert cli.main(command) == 0
    told = capfd.readouterr().err
    assert "58 of 60 frames are in film.walk already, 1 damaged and made again\n" in told
    assert re.search("rendering: [12] of 2 pictures", told)
    assert (tmp_path / "film.mp4").read_bytes() == film


class Rows:
    """A model whose pictures show in which row of their batch they were made, as where threads share them unevenly."""

    def __init__(self, settings):
        self.settings = settings

    def at(self, settings):
        return Rows(settings)

    def notes(self, keyframe):
        return []

    def encode(self, keyframe):
        return {"prompt_embeds": torch.full((2, 3), float(len(keyframe.prompt)))}

    def noise(self, seed):
        return torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed))

    def denoise(self, noise, conditioning):
        return noise

    def decode(self, latents, exact=False):
        pictures = (latents.mean(1) * 40 + 128).clamp(0, 240).byte()
        pictures[:, 0, 0] = torch.arange(len(latents)).byte()
        return lambda: pictures[..., None].expand(-1, -1, -1, 3).contiguous()


@pytest.mark.parametrize("kept", [2, 3, 1000], ids=lambda kept: f"one of {kept}")
def test_a_lost_frame_takes_the_row_that_it_had(tmp_path, tiny_folder, monkeypatch, kept):
    settings = models.complete(Settings(model=str(tiny_folder), width=16, height=16, batch=8, device="cpu"))
    monkeypatch.setattr(models, "load", Rows)
    monkeypatch.setattr(models, "complete", lambda *_: settings)
    walk = Walk.through(read_prompts(["a fox", "an owl at night", "a boat"]), frames=60)

    def made():
        with Run(tmp_path, walk, settings, decided=False) as run, Work(run, LazyModel(settings)) as work:
            return {path.name: path.read_bytes() for path in work.finished(work.evenly(run))}

    film = made()
    frames = sorted((tmp_path / "frames").iterdir())
    for number, path in enumerate(frames):
        if number % kept:
            path.unlink()
    assert made() == film


def test_a_frame_that_cannot_be_saved_is_an_error_though_none_is_safe(tmp_path, monkeypatch, tiny_folder):
    settings = models.complete(Settings(model=str(tiny_folder), width=16, height=16, device="cpu"))
    monkeypatch.setattr(models, "load", Rows)
    monkeypatch.setattr(models, "complete", lambda *_: settings)

    def full(*_):
        raise Error("the disk is full")

    monkeypatch.setattr(Run, "save", full)
    walk = Walk.through(read_prompts(["a fox", "an owl"]), frames=4)
    with (
        pytest.raises(Error, match=r"^the disk is full$"),
        Run(tmp_path, walk, settings) as run,
        Work(run, LazyModel(settings)) as work,
    ):
        work.make(run)


def succeeds(command):
    assert cli.main(command) == 0


def test_an_edit_is_said_to_keep_what_it_keeps(tmp_path, monkeypatch, tiny_folder, once, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--frames", "97", "--path", "slerp", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    once("97 frames", lambda: succeeds(["--prompts", "a cat", "a dog", "a fox", "a cow", "a hen", *command]))
    before = {path.name for path in (tmp_path / "film.walk" / "frames").iterdir()}
    capfd.readouterr()
    assert cli.main(["--prompts", "a cat", "a dog", "a fox", "a cow", "a bee", *command]) == 0
    told = capfd.readouterr().err
    after = {path.name for path in (tmp_path / "film.walk" / "frames").iterdir()}
    made = len(after - before)
    assert 24 <= made <= 30, "one segment of four"
    assert "73 of 97 frames are in film.walk already" in told
    assert re.search(r"rendering: \d+ of 24 pictures", told)


def test_what_an_edit_keeps_is_read_before_it_is_said_to_be_there(tmp_path, monkeypatch, tiny_folder, once, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--frames", "97", "--path", "slerp", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    once("97 frames", lambda: succeeds(["--prompts", "a cat", "a dog", "a fox", "a cow", "a hen", *command]))
    for frame in sorted((tmp_path / "film.walk" / "frames").iterdir())[1:60:29]:
        frame.write_bytes(frame.read_bytes()[:-9])
    capfd.readouterr()
    assert cli.main(["--prompts", "a cat", "a dog", "a fox", "a cow", "a bee", *command]) == 0
    told = capfd.readouterr().err
    assert "70 of 97 frames are in film.walk already, 3 damaged and made again" in told
    assert re.search(r"rendering: \d+ of 27 pictures", told)


def test_all_that_a_preview_of_a_long_film_has_seen_is_said_to_be_there(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "TOGETHER", 12)
    command = ["--prompts", "a cat", "a dog", "a fox", "--frames", "41", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1", "--batch", "1"]
    assert cli.main(["preview", *command]) == 0
    there = len([*(tmp_path / "film.walk" / "frames").iterdir()])
    capfd.readouterr()
    assert cli.main(command) == 0
    assert f"{there} of 41 frames are in film.walk already" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("prompts", "flags", "here", "most"),
    [
        (["a dog", "a fox", "a cow", "a hen"], ["--frames", "37"], 37, 1.2),
        (["a cat", "a dog", "a bee", "a fox", "a cow", "a hen"], ["--frames", "61"], 49 - 11, 1.2),
        (["a cat", "a dog", "a fox", "a cow", "a hen"], ["--frames", "49", "--ease"], 33, 1.4),
    ],
    ids=["one prompt less", "one more", "another timing"],
)
def test_where_keyframes_come_and_go_it_is_said_what_stays(
    tmp_path, monkeypatch, whole_folder, once, capfd, prompts, flags, here, most
):
    monkeypatch.chdir(tmp_path)
    command = ["--path", "slerp", "--size", "32", "--model", str(whole_folder), "--steps", "1", "--seeds", "7"]
    command += ["--out", "film.mp4"]
    first = ["--prompts", "a cat", "a dog", "a fox", "a cow", "a hen", "--frames", "49", *command]
    once("49 frames", lambda: succeeds(first))
    before = len([*(tmp_path / "film.walk" / "frames").iterdir()])
    capfd.readouterr()
    assert cli.main(["--prompts", *prompts, *flags, *command]) == 0
    told = capfd.readouterr().err
    there = int(re.search(rf"(\d+) of {flags[1]} frames are in film.walk already", told)[1])
    assert here <= there <= here + 6, "of the old ones some serve by chance"
    made = len([*(tmp_path / "film.walk" / "frames").iterdir()]) - before
    assert 0.8 * (int(flags[1]) - there) <= made <= most * (int(flags[1]) - there)


@pytest.fixture
def draft(tmp_path, monkeypatch, tiny_folder, once):
    """The command of a film of 61 frames; film.mp4 is a draft of it, of 31."""
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "a fox", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    once("draft", lambda: succeeds([*command, "--frames", "31", "--fps", "12"]))
    return [*command, "--frames", "61"]


def pictures(folder="film.walk"):
    return {path.name: path.read_bytes() for path in Path(folder, "frames").iterdir()}


def stopped(command, monkeypatch, count):
    """Runs it until so many frames are saved; returns how many were."""
    save, saved = Run.save, []

    def until(run, index, picture):
        if len(saved) >= count:
            raise KeyboardInterrupt
        save(run, index, picture)
        saved.append(index)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "save", until)
        assert cli.main(command) == 130
    return len(saved)


# One speed throughout


class Grey(models.Model):
    """A picture as light as its prompt says."""

    settings = Settings(
        *("grey", 16, 16, 1, 1.0, "none", "cpu", "float32", 8), weights="grey 1", software=("torch",)
    )  # fmt: skip

    def encode(self, keyframe):
        return {"light": torch.tensor([float(keyframe.prompt)])}

    def noise(self, seed):
        return torch.zeros(1)

    def denoise(self, noise, conditioning):
        return conditioning["light"]

    def decode(self, latents, exact=False):
        return lambda: torch.stack([self.picture(light) for light in latents[:, 0].tolist()])

    @staticmethod
    def picture(light):
        picture = torch.full((16, 16, 3), round(light), dtype=torch.uint8)
        picture[0, :2] = torch.tensor([[0], [255]])  # or it would be of one colour
        return picture


LIGHTS = ["0", "20", "30", "90", "200", "210"]


@pytest.mark.parametrize("closed", [False, True])
def test_keyframes_come_where_one_speed_brings_them(empty_folder, closed):
    def made(how):
        """(frames of each way from one keyframe to the next, the mean step in each)."""
        walk.make(LIGHTS, Grey(), frames=211, speed=how, loop=closed, path="slerp", out=f"{how}/", quiet=True)
        seen = [eye.features(np.asarray(Image.open(path))) for path in sorted(Path(how).iterdir())]
        keys, ways = read_manifest(f"{how}.walk").walk.landmarks()
        steps = [eye.distance(a, b) for a, b in pairwise(seen + seen[:1])]
        return ways, [np.mean(steps[key : key + way]) for key, way in zip(keys, ways)]

    seen = [eye.features(Grey.picture(int(light)).numpy()) for light in LIGHTS + LIGHTS[:closed]]
    lengths = np.array([eye.distance(a, b) for a, b in pairwise(seen)])
    ways, means = made("constant")
    np.testing.assert_allclose(ways, lengths / lengths.sum() * sum(ways), atol=2)
    assert max(means) < 1.3 * min(means)
    ways, means = made("even")
    assert max(ways) - min(ways) <= 1
    assert max(means) > 5 * min(means)


def test_a_film_at_one_speed_is_made_again_and_gone_on_with(empty_folder, monkeypatch, tiny_folder, capfd):
    command = ["--prompts", "a cat", "a dog | time=0.5", "a fox", "an owl", "--frames", "60", "--size", "32", "--speed"]
    command += ["constant", "--model", str(tiny_folder), "--steps", "1"]
    assert cli.main([*command, "--out", "undisturbed.mp4"]) == 0
    assert "at one speed, keyframes come " in capfd.readouterr().err
    for more in (0, 5, 20, 20, 10):
        stopped([*command, "--out", "film.mp4"], monkeypatch, more)
    assert cli.main([*command, "--out", "film.mp4"]) == 0
    film = Path("undisturbed.mp4").read_bytes()
    assert Path("film.mp4").read_bytes() == film
    assert read_manifest("film.walk").walk.first_frames()[1.0] == 12
    assert cli.main(["replay", "film.mp4"]) == 0
    assert Path("film-again.mp4").read_bytes() == film
    # Times that were found are found again for another length.
    assert [line.split(" | ")[2:] for line in read_recipe("film.mp4").prompts] == [[], ["time=0.5"], [], []]
    assert cli.main(["replay", "film.mp4", "--frames", "90", "--out", "longer.mp4"]) == 0
    assert read_manifest("longer.walk").walk.landmarks()[0][2] > 12 + 20
    capfd.readouterr()
    assert cli.main(["preview", *command, "--out", "film.mp4"]) == 0
    assert "all frames are there already" in capfd.readouterr().err


def test_a_preview_at_one_speed_renders_what_the_film_does(empty_folder, tiny_folder, capfd):
    command = ["--prompts", "a cat", "a dog", "a fox", "--frames", "90", "--size", "32", "--speed", "constant"]
    command += ["--model", str(tiny_folder), "--steps", "1", "--out", "film.mp4"]
    assert cli.main(["preview", *command]) == 0
    before = pictures()
    assert cli.main(command) == 0
    alone = [*command[:-1], "alone.mp4"]
    assert cli.main(alone) == 0
    assert before.keys() <= pictures().keys() == {path.name for path in Path("alone.walk/frames").iterdir()}


def test_a_drafts_frames_serve_in_the_film(draft, capfd):
    before = pictures()
    capfd.readouterr()
    assert cli.main(draft) == 0
    there = int(re.search(r"(\d+) of 61 frames are in film.walk already", capfd.readouterr().err)[1])
    made = len(pictures()) - len(before)
    assert 61 - there <= made <= 1.3 * (61 - there)
    assert made < 0.8 * 61, "else nearly all are rendered"
    assert cli.main([word.replace("film.mp4", "fresh.mp4") for word in draft]) == 0
    one, other = (eye.unevenness(check(Path(name)).steps) for name in ("film.mp4", "fresh.mp4"))
    assert one < max(1.2 * other, 2)
    shown = read_manifest("film.walk").walk.positions
    assert len({*shown}) == 61
    assert [shown[k] for k in (0, 30, 60)] == [0, 1, 2]


def test_stops_after_a_draft_change_nothing(draft, monkeypatch, capfd):
    shutil.copytree("film.walk", "undisturbed.walk")
    shutil.copy("film.mp4", "undisturbed.mp4")
    Path("undisturbed.walk/films").write_text(Path("film.walk/films").read_text().replace("film", "undisturbed"))
    assert cli.main([word.replace("film.mp4", "undisturbed.mp4") for word in draft]) == 0
    for more in (3, 12, 12):
        stopped(draft, monkeypatch, more)
    assert cli.main(draft) == 0
    assert pictures() == pictures("undisturbed.walk")
    assert Path("film.mp4").read_bytes() == Path("undisturbed.mp4").read_bytes()
    # And a frame that gets lost is made again as it was.
    frames = sorted(Path("film.walk/frames").iterdir())
    for frame in frames[7::16]:
        frame.unlink()
    Path("film.mp4").unlink()
    assert cli.main(draft) == 0
    assert pictures() == pictures("undisturbed.walk")
    assert Path("film.mp4").read_bytes() == Path("undisturbed.mp4").read_bytes()


def test_a_film_of_which_there_was_a_draft_is_made_again_from_itself_alone(draft, capfd):
    assert cli.main(draft) == 0
    assert cli.main(["replay", "film.mp4", "--out", "again.mp4"]) == 0
    assert read_manifest("again.walk").walk.positions == read_manifest("film.walk").walk.positions
    assert {*pictures("again.walk")} <= {*pictures()}
    assert cli.main(["replay", "film.mp4", "--out", "chat.gif", "--run", "film.walk"]) == 0
    assert "61 of 61 frames are in film.walk already" in capfd.readouterr().err
    # What is changed of it is laid out anew, and as long as it was.
    assert cli.main(["replay", "film.mp4", "--ease", "--out", "eased.mp4"]) == 0
    assert len(probe.timestamps(Path("eased.mp4"))[0]) == 61


def test_back_and_forth_between_rates_and_prompts_renders_nothing_and_changes_nothing(draft, capfd):
    """Though each film uses the frames of the one before."""
    commands = [
        [*draft[:-1], "31", "--fps", "12"],
        draft,
        [word.replace("a fox", "an owl") for word in draft],
        [*draft, "--speed", "path"],
    ]
    made = []
    for command in commands:
        assert cli.main(command) == 0
        made.append((Path("film.mp4").read_bytes(), read_manifest("film.walk").walk.positions))
    before = pictures()
    capfd.readouterr()
    for k in (1, 0, 2, 0, 1, 3):
        assert cli.main(commands[k]) == 0
        assert read_manifest("film.walk").walk.positions == made[k][1]
        assert Path("film.mp4").read_bytes() == made[k][0]
    assert pictures() == before
    assert "rendering" not in capfd.readouterr().err


def test_an_edit_of_a_film_of_which_there_was_a_draft_moves_nothing_elsewhere(draft):
    assert cli.main([*draft[:-1], "31", "--path", "slerp"]) == 0
    assert cli.main([*draft, "--path", "slerp"]) == 0
    before = read_manifest("film.walk").walk.positions
    draft[draft.index("a fox")] = "an owl"
    assert cli.main([*draft, "--path", "slerp"]) == 0
    after = read_manifest("film.walk").walk.positions
    assert after[:31] == before[:31]
    assert after[31:] != before[31:]
    assert cli.main(["replay", "film.mp4", "--out", "again.mp4"]) == 0
    assert read_manifest("again.walk").walk.positions == after


def test_another_rate_is_another_film_of_the_same_frames(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "--frames", "24", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    assert cli.main(command) == 0
    frames = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "film.walk" / "frames").iterdir()}
    assert cli.main([*command, "--fps", "12"]) == 0
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "film.walk" / "frames").iterdir()} == frames
    times, *_ = probe.timestamps(tmp_path / "film.mp4")
    assert times == [Fraction(i, 12) for i in range(24)]
    capfd.readouterr()
    assert cli.main(["info", "film.mp4"]) == 0
    assert "--fps 12" in capfd.readouterr().out


def test_an_even_film_after_one_along_the_path_is_even(tmp_path, monkeypatch, tiny_folder):
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "--frames", "24", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder)]
    positions = []
    for flags in ([], ["--speed", "path"], []):
        assert cli.main([*command, *flags, "--steps", "1"]) == 0
        positions.append(read_manifest(tmp_path / "film.walk").walk.positions)
    assert positions[0] == positions[2] != positions[1]


def test_a_stop_before_a_finished_films_frames_are_read_counts_them_all(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "--frames", "40", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    assert cli.main(command) == 0

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "record", stop)
    assert cli.main(command) == 130
    assert "stopped; 40 of 40 frames are safe in film.walk" in capfd.readouterr().err


def test_a_film_that_is_stopped_just_before_its_end_is_said_to_be_there(tmp_path, monkeypatch, tiny_folder, capfd):
    """Before, a film of 60,000 frames with a fiftieth to be made was said to have 4,686 of them, and 44 minutes left."""
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "a fox", "--frames", "97", "--size", "32", "--out", "film.mp4"]
    command += ["--model", str(tiny_folder), "--steps", "1"]

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Run, "decide", stop)
        assert cli.main(command) == 130
    safe = int(re.search(r"stopped; (\d+) of 97 frames are safe", capfd.readouterr().err)[1])
    lost = sorted(pictures())[10:90:20]
    for name in lost:
        (tmp_path / "film.walk" / "frames" / name).unlink()
    assert cli.main(command) == 0
    told = capfd.readouterr().err
    assert 97 - len(lost) - 1 <= int(re.search(r"(\d+) of 97 frames are in film.walk already", told)[1]) < safe
    assert int(re.search(r"rendering: \d+ of (\d+) pictures", told)[1]) <= len(lost) + 1


def test_stops_while_it_looks_change_nothing(tmp_path, monkeypatch, tiny_folder, capfd):
    monkeypatch.chdir(tmp_path)
    command = ["--prompts", "a cat", "a dog", "a fox", "--frames", "60", "--size", "32"]
    command += ["--model", str(tiny_folder), "--steps", "1"]
    assert cli.main([*command, "--out", "undisturbed.mp4"]) == 0
    saved = 0
    for more in (0, 5, 20, 20, 10):  # at last those that lie between the ones looked at
        before = saved
        saved += stopped([*command, "--out", "film.mp4"], monkeypatch, more)
        told = capfd.readouterr().err
        safe = rf"{saved} of 60 frames are safe in film\.walk" if saved else "nothing was begun, and nothing is lost"
        assert re.search(f"stopped; {safe}", told)
        assert before == 0 or f"{before} of 60 frames are in film.walk already" in told
        assert not (tmp_path / "film.mp4").exists()
    assert cli.main([*command, "--out", "film.mp4"]) == 0
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "undisturbed.mp4").read_bytes()
    assert pictures() == pictures("undisturbed.walk")


@pytest.mark.parametrize(("even", "batches"), [(False, 10), (True, 12)])
def test_what_is_left_is_so_many_batches_and_the_making_of_the_film(even, batches):
    left = outlook.seconds_left(a_walk(), SETTINGS, even, 80, [1.0, 2.0, 30.0], (1000, 1000))
    assert left == pytest.approx((batches + 1) * 2.0 + 121 * outlook.ENCODING * 1e6)


def test_where_most_of_a_film_stands_still_nothing_hurries():
    walk = a_walk(61, "abcd")
    assert outlook.hurries(walk, [0.0] * 40 + [1.0] * 20) == []


def test_a_part_that_is_three_times_as_fast_as_the_rest_is_told_of():
    walk = a_walk(61, "abcd")
    (note,) = outlook.hurries(walk, [1.0] * 20 + [3.0] * 20 + [1.0] * 20)
    assert note == "keyframe 2 to 3 is 3.0 times as fast as the rest; give it more time, as --speed constant does"
    (note,) = outlook.hurries(walk, [1.0] * 20 + [3.0] * 20 + [1.0] * 20, music=True)
    assert note.endswith("; give it more time")
    assert outlook.hurries(walk, [1.0] * 20 + [2.0] * 20 + [1.0] * 20) == []
    wild = dataclasses.replace(walk.keyframes[1], pulse=0.8)
    walk = dataclasses.replace(walk, keyframes=(walk.keyframes[0], wild, *walk.keyframes[2:]))
    assert outlook.hurries(walk, [1.0] * 20 + [3.0] * 20 + [1.0] * 20) == [], "it is meant to"


def test_half_way_is_a_frame_that_was_seen_if_one_was():
    walk = a_walk(21, "ab")
    assert outlook.half_ways(walk, []) == [10]
    seen = [(0.0, 1.0), (walk.positions[3], 1.0), (walk.positions[14], 0.5)]
    assert outlook.half_ways(walk, seen, even=False) == [14]
    assert outlook.half_ways(walk, seen) == [3], "to the eye"


def test_a_picture_of_many_small_jumps_takes_no_more_than_three_pictures_a_frame(monkeypatch):
    monkeypatch.setattr(speed, "distance", lambda a, b: abs(a - b))
    for frames in (101, 401):
        evener, before, count = speed.Evener(a_walk(frames, "ab"), lambda position: round(40 * position) / 40), [], 0
        while (wanted := evener.next_batch(8)) or before:
            evener.saw(before)
            before, count = wanted, count + len(wanted)
        assert count < 3 * frames


@pytest.mark.parametrize(
    ("until", "told"), [(4, ""), (5.5, "the film stands still for 58% of its length, longest from 0:00.0 to 0:05.8")]
)
def test_a_film_that_rests_for_more_than_half_of_it_is_told_of(until, told):
    stops = [Keyframe("a", 1, time=0, until=until), Keyframe("b", 2)]
    note = outlook.standstill_note(Walk.through(stops, seconds=10))
    assert note.startswith(told)
    assert bool(note) == bool(told)
    assert "--pulse" not in note, "which needs a sound or a tempo"


def test_keyframes_that_follow_each_other_too_fast_are_said_to_flicker():
    for count, frames, loop, told in ((40, 60, False, 39), (4, 6, False, 0), (4, 8, True, 4), (9, 49, False, 0)):
        notes = outlook.surprises(Walk.through([Keyframe("a", k) for k in range(count)], frames, closed=loop))
        assert len(notes) == bool(told)
        if told:
            assert notes[0].startswith(f"{told} keyframes are followed by the next within 0.25 s, usually 0.0")
            assert notes[0].endswith("first at 0:00.0: that flickers; give them more time")
    rests = Walk.through([Keyframe("a", k // 9) for k in range(36)], 60)  # a new picture every 0.6 s
    assert not [note for note in outlook.surprises(rests) if "flickers" in note]


def test_beats_that_a_film_rests_on_between_its_keyframes_are_counted():
    walk = Walk.through([Keyframe("a", k) for k in range(3)], 97)  # one every two seconds
    beats = [k / 2 for k in range(9)]
    (note,) = outlook.surprises(walk, beats)
    assert note.startswith(
        "the film rests 9 times, 6 of them between keyframes, first at 0:00.5, where it shows a mixture; "
    )
    assert "5 times, 2 of them" in outlook.surprises(walk, beats[::2])[0]
    five = Walk.through([Keyframe("a", k) for k in range(5)], 193)
    assert outlook.surprises(five, [0, 1, 2, 4, 6, 8]) == []
    assert outlook.surprises(walk, [0, 1, 2, 3])[0].startswith("the film rests 4 times, 2 of them between keyframes")
    assert outlook.surprises(walk) == []
