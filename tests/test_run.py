"""The run folder: nothing is lost, nothing damaged is used, nothing is rendered twice."""

import dataclasses
import errno
import json
import multiprocessing
import os
import random
import re
import signal
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from unittest import mock

import filelock
import numpy as np
import pytest
from PIL import Image

from walk import Error, Keyframe, Settings, Walk, film, png, recipe, video
from walk.manifest import Manifest, fingerprints, read_manifest
from walk.probe import read_metadata
from walk.run import Run, ages, alike, films, unused

SETTINGS = Settings("fake", 16, 16, 1, 1.0, "fake", "cpu", "float32", batch=4, weights="fake", software=("fake 1",))


def a_walk(frames=12, prompts="abc", **options):
    return Walk.through([Keyframe(prompt, i) for i, prompt in enumerate(prompts)], frames=frames, **options)


def elsewhere(walk):
    """Its frames a little before where they were asked for, but for keyframes."""
    return dataclasses.replace(walk, positions=tuple(p and p - 0.01 * (p % 1 > 0) for p in walk.positions))


def picture(run, index):
    """A picture that only this frame has: a function of all that its fingerprint covers."""
    rng = np.random.default_rng(int(run.fingerprints[index], 16))
    return rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)


def render_all(run):
    """Render what is missing; returns how many that were."""
    missing = run.missing()
    for index in missing:
        run.save(index, picture(run, index))
    return len(missing)


def test_a_finished_run_has_nothing_to_do_and_its_frames_are_the_pictures(tmp_path):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        assert run.missing() == list(range(12))
        render_all(run)
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        assert run.missing() == []
        for index, path in enumerate(run.frames()):
            assert (np.asarray(Image.open(path)) == picture(run, index)).all()


def test_a_run_may_be_closed_in_another_thread_than_it_was_opened_in(tmp_path):
    with ThreadPoolExecutor(1) as other:
        opened = other.submit(Run, tmp_path / "film.walk", a_walk(), SETTINGS).result()
        with pytest.raises(Error, match="open in this program already"):
            Run(tmp_path / "film.walk", a_walk(), SETTINGS)
        opened.close()
        Run(tmp_path / "film.walk", a_walk(), SETTINGS).close()


@pytest.mark.parametrize(
    "left_open",
    [{"steps": None}, {"guidance": None}, {"dtype": "auto", "batch": None}, {"weights": "", "software": ()}],
    ids=str,
)
def test_settings_that_leave_pixels_open_are_refused_before_frames_of_two_models_meet(tmp_path, left_open):
    with pytest.raises(Error, match=rf"^these settings are not complete: they lack {', '.join(left_open)}; give model"):
        Run(tmp_path / "film.walk", a_walk(), dataclasses.replace(SETTINGS, **left_open))
    assert not (tmp_path / "film.walk").exists()


def test_a_model_in_the_place_of_its_settings_is_refused(tmp_path):
    with pytest.raises(Error, match=r"^a Model is not Settings; give model\.settings$"):
        Run(tmp_path / "film.walk", a_walk(), type("Model", (), {})())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((8, 16, 3), np.uint8), "frame 3 is uint8 (8, 16, 3); this run's pictures are uint8 (16, 16, 3)"),
        (np.zeros((16, 16), np.uint8), "frame 3 is uint8 (16, 16); this run's pictures are uint8 (16, 16, 3)"),
        (np.zeros((16, 16, 3)), "frame 3 is float64 (16, 16, 3); this run's pictures are uint8 (16, 16, 3)"),
    ],
    ids=["part", "grey", "floats"],
)
def test_what_is_no_picture_of_this_run_is_not_kept(tmp_path, given, said):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        with pytest.raises(Error) as caught:
            run.save(3, given)
        assert str(caught.value) == said
        assert run.count() == 0


def test_a_picture_of_pillows_is_kept_as_it_is(tmp_path):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        run.save(3, Image.fromarray(picture(run, 3)))
        assert (run.picture(3) == picture(run, 3)).all()


@pytest.mark.parametrize("index", [12, -1])
def test_a_frame_that_the_walk_does_not_have_is_not_kept(tmp_path, index):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        with pytest.raises(Error, match=f"^there is no frame {index}; the walk's frames are 0 to 11$"):
            run.save(index, picture(run, 0))
        assert run.count() == 0


@pytest.mark.parametrize(
    "harm",
    [
        *({"positions": [0.0, 9.0]}, {"positions": [None]}, {"fps": "0"}, {"noise": [0.0]}, {"keyframes": []}),
        {"keyframes": [{"prompt": "a", "seed": 1, "time": 10**400}]},
        *(
            {"settings": dataclasses.asdict(SETTINGS) | wrong}
            for wrong in (
                *({"guidance": 10**400}, {"weights": []}, {"software": [[]]}, {"low_memory": []}, {"compile": []}),
                *({"scheduler": "\ud800"}, {"weights": "\ud800"}, {"scheduler": 3}),
            )
        ),
    ],
)
def test_a_manifest_whose_walk_is_none_is_damaged(tmp_path, harm):
    with Run(tmp_path, a_walk(), SETTINGS):
        pass
    manifest = tmp_path / "walk.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | harm))
    with pytest.raises(Error, match=r"walk.json is damaged \("):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "harm", [{"rows": [0]}, {"rows": [9] * 12}, {"asked_positions": [0.0]}, {"asked_positions": [-1.0] * 12}]
)
def test_a_manifest_that_knows_not_where_its_frames_were_asked_for_is_damaged(tmp_path, harm):
    with Run(tmp_path, a_walk(), SETTINGS, decided=False) as run:
        moved = elsewhere(a_walk())
        run.decide(moved, dict.fromkeys(fingerprints(moved, SETTINGS), 0))
    manifest = tmp_path / "walk.json"
    assert read_manifest(tmp_path).asked == a_walk()
    manifest.write_text(json.dumps(json.loads(manifest.read_text("utf-8")) | harm))
    with pytest.raises(Error, match=r"walk.json is damaged \("):
        read_manifest(tmp_path)


def test_the_manifest_says_what_was_asked_and_answered(tmp_path):
    walk = a_walk(fps=Fraction(24000, 1001), closed=True)
    with Run(tmp_path / "film.walk", walk, SETTINGS):
        pass
    manifest = json.loads((tmp_path / "film.walk" / "walk.json").read_text("utf-8"))
    assert manifest["positions"] == list(walk.positions)
    assert manifest["fps"] == "24000/1001"
    assert [keyframe["prompt"] for keyframe in manifest["keyframes"]] == ["a", "b", "c"]
    assert manifest["settings"] == dataclasses.asdict(SETTINGS) | {"software": ["fake 1"]}


@pytest.mark.parametrize(("smooth", "segments"), [(False, 2), (True, 4)])
def test_an_edit_of_one_prompt_in_nine_renders_the_segments_that_it_changes(tmp_path, smooth, segments):
    before, after = (a_walk(81, prompts, smooth=smooth) for prompts in ("abcdefghi", "abcdXfghi"))
    with Run(tmp_path, before, SETTINGS) as run:
        assert render_all(run) == 81
    with Run(tmp_path, after, SETTINGS) as run:
        # Ten frames a segment: nine inside each, and the edited keyframe itself.
        assert render_all(run) == segments * 9 + 1
        first = 40 - segments // 2 * 10
        kept = [i for i, (a, b) in enumerate(zip(fingerprints(before, SETTINGS), run.fingerprints)) if a == b]
        inside = set(range(first + 1, 40 + segments // 2 * 10)) - {30, 50}
        assert set(range(81)) - set(kept) == (inside if smooth else set(range(31, 50)))
    with Run(tmp_path, before, SETTINGS) as run:
        assert run.missing() == []


def test_twice_the_frames_render_only_the_new_ones(tmp_path):
    with Run(tmp_path, a_walk(41), SETTINGS) as run:
        assert render_all(run) == 41
    with Run(tmp_path, a_walk(81), SETTINGS) as run:
        assert render_all(run) == 40


def test_another_rate_renders_nothing(tmp_path):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        render_all(run)
    with Run(tmp_path, a_walk(fps=60), SETTINGS) as run:
        assert run.missing() == []


def test_a_picture_that_rests_is_rendered_once(tmp_path):
    walk = Walk.through([Keyframe("a", 1, time=1), Keyframe("b", 2, time=2)], seconds=3, fps=10)
    with Run(tmp_path, walk, SETTINGS) as run:
        assert render_all(run) == 11
        assert run.count() == len(run.frames()) == 30


OTHERS = dict(
    width=24, height=24, steps=2, guidance=2.0, scheduler="X", dtype="float16", batch=2, weights="x", device="cuda"
)


@pytest.mark.parametrize("name", OTHERS)
def test_every_setting_that_decides_pixels_changes_the_fingerprint(name):
    other = dataclasses.replace(SETTINGS, **{name: OTHERS[name]})
    assert not set(fingerprints(a_walk(), SETTINGS)) & set(fingerprints(a_walk(), other))


@pytest.mark.parametrize("change", [dict(prompt="x"), dict(seed=9), dict(negative_prompt="x")], ids=str)
def test_everything_in_a_keyframe_that_decides_pixels_changes_the_fingerprint(change):
    walk = a_walk(3)
    other = dataclasses.replace(walk, keyframes=tuple(dataclasses.replace(k, **change) for k in walk.keyframes))
    assert not set(fingerprints(walk, SETTINGS)) & set(fingerprints(other, SETTINGS))


def test_where_the_model_lies_does_not_change_the_fingerprint():
    moved = dataclasses.replace(SETTINGS, model="elsewhere")
    assert fingerprints(a_walk(), SETTINGS) == fingerprints(a_walk(), moved)


def test_damaged_and_foreign_frames_are_rendered_again(tmp_path):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        render_all(run)
        truncated, foreign, gone, other = run.frames()[2:6]
        reference = [path.read_bytes() for path in run.frames()]
    truncated.write_bytes(truncated.read_bytes()[:-20])
    Image.new("RGB", (16, 16)).save(foreign)
    gone.unlink()
    other.write_bytes(reference[0])  # whole, but of another place
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        assert run.missing() == [2, 3, 4, 5]
        render_all(run)
        assert [path.read_bytes() for path in run.frames()] == reference


@pytest.mark.parametrize("name", ["frames", ".", "walks"])
def test_what_a_kill_left_half_written_is_removed(tmp_path, name):
    (left := tmp_path / name / ".a.part").parent.mkdir(exist_ok=True)
    left.write_bytes(b"half")
    Run(tmp_path, a_walk(), SETTINGS).close()
    assert not left.exists()


def test_what_lies_where_a_frame_would_and_cannot_be_removed_is_named(tmp_path):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        render_all(run)
        frame = run.frames()[3]
    frame.unlink()
    frame.mkdir()
    (tmp_path / "frames" / ".x.part").mkdir()
    told = rf"^{re.escape(str(frame))} is damaged and cannot be removed \("
    with Run(tmp_path, a_walk(), SETTINGS) as run, pytest.raises(Error, match=told):
        run.missing()


def test_a_frame_that_may_not_be_read_is_kept(tmp_path, monkeypatch):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        render_all(run)
        frame = run.frames()[3]

    def denied(path):  # root may read everything
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(Path, "read_bytes", denied)
    told = r"\.png cannot be read \(Permission denied\)$"
    with Run(tmp_path, a_walk(), SETTINGS) as run, pytest.raises(Error, match=told):
        run.missing()
    assert frame.exists()


def test_the_film_waits_for_its_last_frame(tmp_path):
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        run.save(0, picture(run, 0))
        with pytest.raises(Error, match=r"^11 of 12 frames are missing in "):
            run.frames()


def test_a_second_process_is_told_that_the_first_is_at_work(tmp_path):
    folder = tmp_path / "film.walk"
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    locked, done = context.Event(), context.Event()
    process = context.Process(target=_hold_lock, args=(folder / "lock", locked, done))
    process.start()
    try:
        assert locked.wait(30)
        with pytest.raises(Error) as refusal:
            Run(folder, a_walk(), SETTINGS)
    finally:
        done.set()
        process.join()
    assert str(refusal.value) == f"another walk is at work in {folder}; wait for it, or give another --out"
    assert not (folder / "walk.json").exists()
    Run(folder, a_walk(), SETTINGS).__exit__()  # it is free again


def _hold_lock(path, locked, done):
    with filelock.FileLock(path):
        locked.set()
        done.wait(30)


def test_a_disk_without_room_for_a_folder_is_said(tmp_path, monkeypatch):
    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Run(tmp_path, a_walk(), SETTINGS, decided=False) as run:
        monkeypatch.setattr(Path, "mkdir", full)
        with pytest.raises(Error, match=r"^the disk is full: .* was not written$"):
            run.decide(run.walk, dict.fromkeys(run.fingerprints, 0))


def test_a_full_disk_is_said_and_costs_no_finished_frame(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    def save_in_background(run):
        with run.saver() as save:
            save(1, picture(run, 1))

    with Run(tmp_path, a_walk(), SETTINGS) as run:
        run.save(0, picture(run, 0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(Error, match=r"^the disk is full: .* was not written$"):
                save_in_background(run)
        assert run.count() == 1
    with Run(tmp_path, a_walk(), SETTINGS) as run:
        assert run.missing() == list(range(1, 12))
        assert not list(tmp_path.rglob("*.part"))


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Error, match=r"film\.walk cannot be written \(Not a directory\); give another --out$"):
        Run(tmp_path / "file" / "film.walk", a_walk(), SETTINGS)


FRAMES = 30


def _make_film(folder):
    """What the command does, with a model that costs five milliseconds a frame."""
    with Run(folder / "film.walk", a_walk(FRAMES), SETTINGS) as run:
        missing = run.missing()
        with run.saver() as save:
            for index in missing:
                time.sleep(0.005)
                save(index, picture(run, index))
        video.encode(run.frames(), folder / "film.mp4", run.walk.fps, size=64)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes that it forks")
def test_fifty_kills_at_random_moments_lose_and_damage_nothing(tmp_path):
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    begun = time.monotonic()
    _make_film(undisturbed)
    duration = time.monotonic() - begun
    expected = (undisturbed / "film.mp4").read_bytes()

    rng, kills, films, folder = random.Random(7), 0, 0, tmp_path / "film 0"
    folder.mkdir()
    while kills < 50 or not films:  # until it is done once, so that kills come while the film itself is made, too
        duration *= 1.2 if kills >= 50 else 1  # the machine is slower by now than it was
        process = multiprocessing.get_context("fork").Process(target=_make_film, args=(folder,))
        process.start()
        process.join(rng.uniform(0, 0.6 * duration))
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.join()
        _assert_all_visible_is_whole(folder, expected)
        if (folder / "film.mp4").exists():
            assert (folder / "film.mp4").read_bytes() == expected
            films += 1
            folder = tmp_path / f"film {films}"
            folder.mkdir()
    _make_film(folder)
    assert (folder / "film.mp4").read_bytes() == expected


def _assert_all_visible_is_whole(folder: Path, expected: bytes) -> None:
    for path in folder.glob("film.walk/frames/[!.]*"):
        assert png.is_whole(path, "walk-fingerprint", path.stem.split("-")[1])
    assert all(path.read_bytes() == expected for path in folder.glob("*.mp4"))


def test_where_frames_belong_is_not_taken_from_other_keyframes_that_asked_for_the_same_frames(tmp_path):
    """A keyframe that is there twice, for a frame, asks for no other frames than one that rests. The frames were put
    between the first two of three keyframes, and the third was never shown."""
    a, c = Keyframe("an apple", 1, time=0.0), Keyframe("a frog", 2)
    options = {"frames": 18, "smooth": False}
    rests = Walk.through([dataclasses.replace(a, until=0.05), c], **options)
    twice = Walk.through([a, dataclasses.replace(a, time=0.05), c], **options)
    assert fingerprints(rests, SETTINGS) == fingerprints(twice, SETTINGS)
    with Run(tmp_path / "film.walk", rests, SETTINGS, decided=False) as run:
        run.decide(rests, dict.fromkeys(run.fingerprints, 0))
        assert run.decided() is not None
    with Run(tmp_path / "film.walk", twice, SETTINGS, decided=False) as run:
        assert run.decided() is None


def test_where_frames_belong_is_known_though_all_of_them_were_lost(tmp_path):
    moved = dataclasses.replace(a_walk(), positions=tuple(p**2 / 2 for p in a_walk().positions))
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS, decided=False) as run:
        run.decide(moved, dict.fromkeys(fingerprints(moved, SETTINGS), 0))
        decided = run.decided()
        assert decided
        assert decided.walk == moved


def test_where_frames_belong_is_taken_from_those_whose_noise_was_asked_for_at_the_same_places():
    asked = dataclasses.replace(a_walk(), noise=a_walk(ease=True).positions)
    moved = asked.moved({0: {place: place / 2 for place in asked.positions + asked.noise if 0 < place < 1}})
    made = Manifest(moved, SETTINGS, asked, (0,) * asked.frames)
    assert 0 in made.moves(asked)
    assert made.moves(dataclasses.replace(asked, noise=asked.positions)) == {}


def test_a_film_whose_noise_goes_its_own_way_tells_nothing_of_where_others_belong():
    plain = a_walk()
    asked = dataclasses.replace(plain, noise=a_walk(ease=True).positions)
    apart, together = (Manifest(elsewhere(walk), SETTINGS, walk, (0,) * 12) for walk in (asked, plain))
    assert together.related_moves(plain)
    assert apart.related_moves(plain) == apart.related_moves(asked) == together.related_moves(asked) == {}


def test_a_pulse_gives_a_frame_another_name_and_frames_without_keep_theirs(tmp_path):
    plain = a_walk()
    pulsing = dataclasses.replace(plain, pulse=(0.0, 0.5, *[0.0] * 10))
    names = fingerprints(plain, SETTINGS), fingerprints(pulsing, SETTINGS)
    assert [a == b for a, b in zip(*names)] == [True, False, *[True] * 10]
    with Run(tmp_path / "film.walk", pulsing, SETTINGS) as run:
        render_all(run)
    assert read_manifest(tmp_path / "film.walk").walk == pulsing
    assert Manifest(elsewhere(pulsing), SETTINGS, pulsing, (0,) * 12).related_moves(pulsing) == {}


def test_a_films_name_may_hold_what_looks_like_the_end_of_a_line(tmp_path):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        for name in ("a\u2028b\n\x0cc.mp4", "d.mp4", "\udcff.mp4"):
            run.claim(name)
            run.claim(name)
    assert list(films(tmp_path / "film.walk")) == ["a\u2028b\n\x0cc.mp4", "d.mp4", "\udcff.mp4"]


def test_a_folder_has_frames_that_were_asked_for_wherever_they_were_found_to_belong(tmp_path):
    asked = a_walk()
    moved = elsewhere(asked)
    with Run(tmp_path / "wide.walk", asked, SETTINGS, decided=False) as run:
        render_all(run.decide(moved, dict.fromkeys(fingerprints(moved, SETTINGS), 0)))
    assert alike(tmp_path / "small.walk", asked, SETTINGS) == tmp_path / "wide.walk"
    assert alike(tmp_path / "small.walk", moved, SETTINGS) == tmp_path / "wide.walk"


def test_what_fails_before_its_first_frame_leaves_nothing_that_was_not_there(tmp_path):
    def failing(name, frames=0, **options):
        with pytest.raises(ZeroDivisionError), Run(tmp_path / name, a_walk(), SETTINGS, **options) as run:  # noqa: PT012
            for index in range(frames):
                run.save(index, picture(run, index))
            raise ZeroDivisionError

    failing("a.walk")
    failing("b.walk", decided=False)
    Run(tmp_path / "c.walk", a_walk(), SETTINGS).close()
    failing("c.walk")
    failing("d.walk", frames=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.walk", "d.walk"]
    assert (tmp_path / "c.walk" / "walk.json").is_file()


def test_a_folder_that_has_no_frames_yet_is_not_said_to_have_them(tmp_path):
    Run(tmp_path / "other.walk", a_walk(), SETTINGS).close()
    assert alike(tmp_path / "film.walk", a_walk(), SETTINGS) is None
    Run(tmp_path / "film.walk", a_walk(), SETTINGS).close()
    assert alike(tmp_path / "film.walk", a_walk(), SETTINGS) is None


def test_a_folder_whose_films_are_gone_has_no_newest_one(tmp_path):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        run.record_film("film.mp4", "0" * 16)
    assert ages(tmp_path / "film.walk") == ("", [])


def test_the_films_of_the_folder_that_one_is_in_lie_beside_it(tmp_path, monkeypatch):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        (tmp_path / "film.mp4").write_bytes(b"film")
        run.record_film("film.mp4", "0" * 16)
    monkeypatch.chdir(tmp_path / "film.walk")
    assert ages(Path(".")) == ("film.mp4", [])


def test_the_size_of_a_frame_is_the_mean_of_those_that_are_there(tmp_path):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        assert run.size() == 0
        render_all(run)
        sizes = [path.stat().st_size for path in run.frames()]
        assert run.size() == pytest.approx(sum(sizes) / 12)


def test_a_run_that_was_closed_here_is_not_told_to_be_open_in_this_program(tmp_path):
    folder = tmp_path / "film.walk"
    closed = Run(folder, a_walk(), SETTINGS)
    closed.close()
    with (
        filelock.FileLock(folder / "lock", is_singleton=False),
        pytest.raises(Error, match="another walk is at work in"),
    ):
        Run(folder, a_walk(), SETTINGS)
    assert closed.folder == folder


def test_where_frames_of_another_model_belong_tells_nothing_of_this_ones(tmp_path):
    asked = a_walk()
    moved = elsewhere(asked)
    with Run(tmp_path / "film.walk", asked, SETTINGS, decided=False) as run:
        run.decide(moved, dict.fromkeys(fingerprints(moved, SETTINGS), 0))
    with Run(tmp_path / "film.walk", asked, SETTINGS, decided=False) as run:
        assert asked.moved(run.before.moves(asked)) == moved
    with Run(tmp_path / "film.walk", asked, dataclasses.replace(SETTINGS, weights="other"), decided=False) as run:
        assert asked.moved(run.before.moves(asked)) == asked


def test_a_film_that_was_made_again_is_the_only_one_that_may_be_replaced(tmp_path):
    out = tmp_path / "film.gif"
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        render_all(run)
        film.make(run, out, size=16)
        first = out.read_bytes()
        film.make(run, out, size=32)
        assert len(films(run.folder)["film.gif"].split()) == 1
        out.write_bytes(first)  # put back by the user, who wants to keep it
        with pytest.raises(Error, match=r"is not as film\.walk made it"):
            film.make(run, out, size=32)


def test_a_film_stays_replaceable_though_a_kill_came_before_another_took_its_place(tmp_path, monkeypatch):
    out = tmp_path / "film.gif"
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        render_all(run)
        film.make(run, out, size=16)
        with monkeypatch.context() as patch:
            patch.setattr(video, "replace", mock.Mock(side_effect=KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                film.make(run, out, size=32)
        film.make(run, out, size=32)
    assert Image.open(out).size == (32, 32)


def test_the_recipe_of_frames_that_flags_put_where_they_are_holds_no_positions(tmp_path):
    for walk, holds in ((a_walk(), False), (elsewhere(a_walk()), True)):
        out = tmp_path / f"{holds}.mp4"
        with Run(tmp_path / f"{holds}.walk", walk, SETTINGS) as run:
            render_all(run)
            film.make(run, out)
        made = recipe.from_text(read_metadata(out).comment, "film")
        assert bool(made.positions) == holds
        assert ("speed" in dict(made.flags)) != holds


def test_frames_that_were_decided_on_before_are_reusable(tmp_path):
    asked = a_walk()
    moved = elsewhere(asked)
    with Run(tmp_path / "film.walk", asked, SETTINGS, decided=False) as run:
        render_all(run.decide(moved, dict.fromkeys(fingerprints(moved, SETTINGS), 0)))
    with Run(tmp_path / "film.walk", asked, SETTINGS, decided=False) as run:
        assert run.reusable() == set(fingerprints(moved, SETTINGS))


@pytest.fixture
def locks_of_windows(monkeypatch):
    """Their files are removed when they are released (filelock's WindowsFileLock), and by nobody else before."""
    held, usual = set(), Path.unlink

    class Lock(filelock.FileLock):
        def _acquire(self):
            super()._acquire()
            held.add(Path(self.lock_file)) if self.is_locked else None

        def _release(self):
            super()._release()
            held.discard(Path(self.lock_file))
            Path(self.lock_file).unlink(missing_ok=True)

    def unlink(path, missing_ok=False):
        if path in held:
            raise PermissionError(errno.EACCES, "used by another process")
        usual(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    monkeypatch.setattr(filelock, "FileLock", Lock)


def test_a_run_that_fails_at_once_leaves_nothing_on_windows_either(tmp_path, locks_of_windows):
    with pytest.raises(Error, match="no such model"), Run(tmp_path / "film.walk", a_walk(), SETTINGS):
        raise Error("no such model")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_there_is_no_new_one_on_windows_either(tmp_path, locks_of_windows):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS):
        pass
    with pytest.raises(Error, match="no such model"), Run(tmp_path / "film.walk", a_walk(), SETTINGS):
        raise Error("no such model")
    assert read_manifest(tmp_path / "film.walk").walk == a_walk()


def test_a_film_that_was_stopped_early_has_nothing_to_prune_on_windows_either(tmp_path, locks_of_windows):
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS, decided=False) as run:
        render_all(run)
    with unused(tmp_path / "film.walk") as paths:
        assert paths == []


@pytest.mark.skipif(sys.platform == "win32", reason="has no flock")
def test_where_a_network_drive_knows_no_locks_the_folder_opens_or_the_refusal_says_so(tmp_path, monkeypatch):
    import fcntl

    refused = mock.Mock(side_effect=OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)))  # as Lustre's, by default
    monkeypatch.setattr(fcntl, "flock", refused)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of locks that are mere files
        with Run(tmp_path / "a.walk", a_walk(), SETTINGS) as run:
            assert render_all(run) == 12
    refused.side_effect = OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))  # as NFS's without its lock service
    with pytest.raises(Error, match=r"b\.walk cannot be written \(No locks available\); give another --out"):
        Run(tmp_path / "b.walk", a_walk(), SETTINGS)


def test_a_folder_whose_frames_would_have_too_long_paths_is_refused_before_any_is_rendered(tmp_path, monkeypatch):
    usual = Path.touch

    def touch(path):  # Windows takes no longer ones by default, and calls them missing
        if len(str(path)) > 259:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        usual(path)

    monkeypatch.setattr(Path, "touch", touch)
    deep = tmp_path / ("d" * (250 - len(str(tmp_path)) - len("//film.walk/frames")))
    with pytest.raises(Error) as refusal:
        Run(deep / "film.walk", a_walk(), SETTINGS)
    assert str(refusal.value) == f"{deep / 'film.walk'} cannot be written (File name too long); give another --out"
    assert not (deep / "film.walk").exists(), "else the next run would take it for a film that was begun"
    with Run(tmp_path / "film.walk", a_walk(), SETTINGS) as run:
        render_all(run)
    assert not list((tmp_path / "film.walk").rglob(".*"))
