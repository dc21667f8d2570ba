"""Planted faults are found where they are, and nothing is found in a good film."""

import dataclasses
import functools
import json
import math
import os
import re
import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from unittest import mock

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from walk import Error, Keyframe, Settings, Walk, cli, ffmpeg, probe, sheet, sounds, video
from walk import check as checking
from walk.check import check
from walk.film import describe

FPS = Fraction(25)


def a_film(folder, plant=lambda pictures: pictures, name="film.mp4", metadata=None, codec=None, fps=FPS, size=64):
    """A disc that glides over a gradient, 40 frames, with something done to them. size: None: as large as usual."""
    planted = tuple(picture.tobytes() for picture in plant([*disc()]))
    for file, data in files_of(planted, name, metadata, codec, fps, size).items():
        (folder / file).write_bytes(data)
    return folder / name


@functools.cache
def disc():
    y, x = np.mgrid[:64, :64]
    ground = np.stack([x * 3, y * 3, 120 + 0 * x], axis=-1)
    places = [(x - 12 - i) ** 2 + (y - 32) ** 2 < 100 for i in range(40)]
    return [np.where(inside[..., None], (230, 60, 40), ground).astype(np.uint8) for inside in places]


@functools.cache
def files_of(pictures, name, metadata, codec, fps, size):
    """{name: bytes} of the film and its frames, made once for all tests that want the same."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paths = [folder / f"{i:03d}.png" for i in range(len(pictures))]
        for path, picture in zip(paths, pictures):
            Image.frombytes("RGB", (64, 64), picture).save(path, compress_level=0)
        video.encode(paths, folder / name, fps, size=size, codec=codec, metadata=metadata)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def replaced(index, picture):
    return lambda pictures: [*pictures[:index], picture, *pictures[index + 1 :]]


@pytest.mark.parametrize(
    ("name", "codec", "size"),
    [
        ("film.mp4", None, None),
        ("film.webm", None, 64),
        ("film.mov", None, 64),
        ("film.gif", None, 64),
        ("film.mov", "hap", 64),
        ("film.mov", "dxv", 64),
    ],
)
def test_nothing_is_wrong_with_a_good_film(tmp_path, name, codec, size):
    report = check(a_film(tmp_path, name=name, codec=codec, size=size))
    assert report.faults == ()
    assert len(repr(report)) < 300  # without a number for each frame, which a notebook would show
    assert report.facts[0] == f"40 frames of {size or 512}x{size or 512}, 1.60 s, 25 a second"
    usual = {".mp4": "h264", ".webm": "vp9", ".mov": "prores", ".gif": "gif"}[Path(name).suffix]
    assert re.fullmatch(rf"{codec or usual}, \d+\.\d MB \(\d+\.\d Mbit/s\), colours: .+", report.facts[1])


RATES = ["24000/1001", "30", "120", "7/3"]  # between two thousandths; nearly every tick; and slower than all


@pytest.mark.parametrize(
    ("name", "count", "rates"),
    [
        ("film.webm", 2, RATES),
        ("film.webm", 10, RATES),
        ("film.webm", 60, ["24000/1001", "60000/1001", "120"]),
        ("film.mp4", 10, ["30000/1001", "7/3"]),
    ],
)
def test_a_films_rate_is_what_it_is_even_where_it_counts_milliseconds(tmp_path, name, count, rates):
    for fps in map(Fraction, rates):
        report = check(scenery(np.arange(count) * 0.05, tmp_path, fps, name=name))
        assert report.facts[0] == f"{count} frames of 64x64, {float(count / fps):.2f} s, {float(fps):.6g} a second"
        assert report.faults == ()


@pytest.mark.parametrize("fps", ["1/10", "1/5", "1000"])
@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.mov"])
def test_every_picture_of_a_film_is_seen_once_however_slow_or_fast(tmp_path, name, fps):
    report = check(scenery(np.arange(8) * 0.05, tmp_path, Fraction(fps), name=name))
    assert report.faults == ()
    assert report.still == 0
    assert min(report.steps) > 0.5 * max(report.steps)


@pytest.mark.parametrize(("delay", "count"), [(17, 13), (33, 37), (9, 13), (50, 13)])
def test_every_picture_of_a_gif_is_seen_once_whatever_its_delay(tmp_path, delay, count):
    """At some, ffmpeg would give others than there are."""
    report = check(a_film(tmp_path, lambda pictures: pictures[:count], "film.gif", fps=Fraction(100, delay)))
    assert report.faults == ()
    assert report.still == 0
    assert report.facts[0].startswith(f"{count} frames of 64x64, {count * delay / 100:.2f} s, ")


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_every_picture_of_a_film_at_uneven_moments_is_seen_once(tmp_path, name):
    """As of a screen or a telephone, which show a picture as long as nothing moves."""
    greys = np.arange(10) * 20 + 20
    lines = []
    for i, (grey, seconds) in enumerate(zip(greys, [0.04, 0.04, 0.2, 0.3, 0.04, 0.04, 0.5, 0.04, 0.04, 0.1])):
        picture = np.full((64, 64, 3), grey, np.uint8)
        picture[8:16, 8:16] = 255
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
        lines += [f"file '{i}.png'", f"duration {seconds}"]
    (tmp_path / "list").write_text("\n".join(lines))
    film = tmp_path / name
    coded = ["-fps_mode", "passthrough", "-c:v", "libx264", "-pix_fmt", "yuv420p", film]
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-f", "concat", "-i", tmp_path / "list"]
    subprocess.run([*ffmpeg, *coded], check=True)
    report = check(film)
    assert len(report.steps) == 9
    assert min(report.steps) > 0.5 * max(report.steps), "else some are seen twice"
    assert {fault for _, fault in report.faults} == {"the frame comes too early or too late"}


def test_a_film_that_runs_slower_than_it_says_has_the_rate_at_which_it_runs(tmp_path):
    film, slow = scenery(np.arange(60) * 0.05, tmp_path, 30, name="film.webm"), tmp_path / "slow.webm"
    slower = ["-c", "copy", "-bsf:v", "setts=ts=TS*1.01", slow]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", film, *slower], check=True)
    assert probe.stream_info(slow)[1] == 30
    rate = float(re.findall(r"([\d.]+) a second", check(slow).facts[0])[0])
    assert rate == pytest.approx(30 / 1.01, rel=1e-3)


@pytest.mark.parametrize("fps", [24, 30, 60])
def test_a_frame_at_an_uneven_moment_is_found_and_hides_no_rate(tmp_path, fps):
    film, late = scenery(np.arange(40) * 0.05, tmp_path, fps, name="film.webm"), tmp_path / "late.webm"
    later = ["-c", "copy", "-bsf:v", "setts=ts=TS+if(gte(N\\,20)\\,4)", late]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", film, *later], check=True)
    report = check(late)
    assert report.facts[0].endswith(f", {fps} a second")
    ((time, said),) = report.faults
    assert time == pytest.approx(20 / fps + 0.004, abs=0.001)
    assert said == "the frame comes too early or too late"


def test_a_black_frame_is_found_at_its_time(tmp_path):
    faults = check(a_film(tmp_path, replaced(10, np.zeros((64, 64, 3), np.uint8)))).faults
    assert (0.4, "the frame is black") in faults


def test_a_frame_of_one_colour_is_found_at_its_time(tmp_path):
    faults = check(a_film(tmp_path, replaced(20, np.full((64, 64, 3), 90, np.uint8)))).faults
    assert (0.8, "the frame is of one colour") in faults


def test_a_doubled_frame_is_found_at_its_time(tmp_path):
    faults = check(a_film(tmp_path, lambda pictures: [*pictures[:16], pictures[15], *pictures[17:]], size=None)).faults
    assert (0.64, "the frame repeats the one before") in faults


def test_a_jump_is_found_at_its_time(tmp_path):
    (fault,) = check(a_film(tmp_path, lambda pictures: [*pictures[:25], *(p[::-1] for p in pictures[25:])])).faults
    assert fault[0] == 1.0
    assert fault[1].startswith("the picture jumps: ")


@functools.cache
def wave_parts():
    """How fast each of twelve waves goes; and the waves, as they are at the start and a quarter of a turn later."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64] / 64
    waves = [(*rng.normal(0, 8, 2), rng.uniform(0, 6), rng.normal(0, 1.5), rng.normal(0, 25, 3)) for _ in range(12)]
    parts = [
        turned(kx * x + ky * y + phase)[..., None] * colour
        for turned in (np.sin, np.cos)
        for kx, ky, phase, _, colour in waves
    ]
    return np.array([speed for _, _, _, speed, _ in waves]), np.reshape(parts, (24, -1))


def scenery(places, folder, fps, plant=lambda pictures: pictures, name="film.mp4", sound=None):
    """A film of smooth waves of colour, which move by these places."""
    speeds, waves = wave_parts()

    def picture(place):
        levels = np.concatenate([np.cos(speeds * place), np.sin(speeds * place)]) @ waves
        return np.clip(np.round(120 + levels), 0, 255).astype(np.uint8).reshape(64, 64, 3)

    paths = []
    for i, shown in enumerate(plant([picture(place) for place in places])):
        paths.append(folder / f"{i:03d}.png")
        Image.fromarray(shown).save(paths[-1], compress_level=0)
    video.encode(paths, folder / name, Fraction(fps), size=64, sound=sound)
    return folder / name


def kicks(fps, seconds, fade, every=0.5, rest=0.01):
    """Where a film is that starts on each beat and slows down, by a factor of e in this number of frames."""
    steps = np.full(int(fps * seconds), rest)
    for beat in np.arange(0, seconds, every):
        for i in range(round(beat * fps), len(steps)):
            steps[i] += math.exp(-(i - round(beat * fps)) / fade)
    return np.cumsum(steps) * 0.3


FOREIGN = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)


@pytest.mark.parametrize(("fps", "fade"), [(24, 4), (30, 2), (60, 4), (60, 0.2)])  # 0.2: all in one frame
def test_kicks_on_the_beat_are_no_jumps(tmp_path, fps, fade):
    assert check(scenery(kicks(fps, 2, fade), tmp_path, fps)).faults == ()


@pytest.mark.parametrize("fps", [24, 60])
def test_a_foreign_frame_is_found_among_kicks(tmp_path, fps):
    (fault,) = check(scenery(kicks(fps, 2, 3), tmp_path, fps, replaced(fps + 7, FOREIGN))).faults
    assert fault[0] == pytest.approx((fps + 7) / fps)
    assert fault[1] == "the picture jumps away and back"


def test_a_frame_that_a_pulse_makes_unlike_the_others_is_no_fault(tmp_path):
    film = scenery(kicks(24, 3, 3), tmp_path, 24, replaced(31, FOREIGN))
    assert check(film, swings={31}).faults == ()
    assert len(check(film, swings={30, 32}).faults) == 1


def test_a_jump_is_as_large_as_the_speed_that_is_drawn_of_it(tmp_path):
    report = check(scenery(np.delete(np.arange(75) / 20, [41, 42, 43]), tmp_path, 25))
    ((_, fault),) = report.faults
    assert fault == f"the picture jumps: {report.largest:.1f} times the usual step"


@pytest.mark.parametrize("name", ["film.mp4", "film.webm"])
def test_three_frames_cut_out_of_a_smooth_film_are_found_where_they_were(tmp_path, name):
    places = np.cumsum(0.05 + 0.01 * np.sin(np.arange(75) / 25))
    (fault,) = check(scenery(np.delete(places, [41, 42, 43]), tmp_path, 25, name=name)).faults
    assert fault[0] == pytest.approx(41 / 25)
    assert fault[1].startswith("the picture jumps: ")


def test_each_of_several_faults_is_found(tmp_path):
    def plant(pictures):
        pictures[20], pictures[40] = FOREIGN, np.zeros_like(FOREIGN)
        pictures[55] = pictures[54]
        return pictures

    places = np.delete(np.arange(80) * 0.1, [70, 71, 72])
    faults = check(scenery(places, tmp_path, 25, plant)).faults
    assert [round(time * 25) for time, _ in faults] == [20, 40, 40, 55, 70]


def test_a_rest_is_a_fact_and_one_or_two_frames_again_are_a_fault(tmp_path):
    moving = np.arange(20) * 0.1
    rest = np.concatenate([moving, np.full(25, moving[-1]), moving + moving[-1] + 0.1])
    report = check(scenery(rest, tmp_path, 25))
    assert report.faults == ()
    assert "still from 0:00.8 to 0:01.8" in report.facts
    assert report.still == pytest.approx(26 / 65, abs=0.02)
    for again in (1, 2):
        places = np.concatenate([moving, np.full(again, moving[-1]), moving + moving[-1] + 0.1])
        report = check(scenery(places, tmp_path, 25))
        assert [fault for _, fault in report.faults] == ["the frame repeats the one before"] * again
        assert report.faults[0][0] == pytest.approx(20 / 25)
        assert not [fact for fact in report.facts if fact.startswith("still")]


def test_a_frame_that_is_meant_to_rest_is_no_fault_and_one_that_is_doubled_is(tmp_path):
    """On a beat's eve a walk hardly moves: what it does can be less than a level of 256."""
    places = 4 * kicks(24, 3, 3, rest=0.05)
    walk = Walk([Keyframe("a", 0), Keyframe("b", 1)], places / places[-1], Fraction(24))

    def plant(pictures):
        for index in (23, 50):  # before the beat of the third half-second; on its way from the fifth
            pictures[index] = pictures[index - 1]
        return pictures

    film = scenery(places, tmp_path, 24, plant, "film.mov")
    again = "the frame repeats the one before"
    assert [(round(time * 24), said) for time, said in check(film).faults] == [(23, again), (50, again)]
    assert [round(time * 24) for time, _ in check(film, rests=walk.rests()).faults] == [50]


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.mov"])
def test_what_an_encoder_adds_to_a_still_picture_is_no_movement(tmp_path, name):
    """H.264's first frames differ by up to twenty times the median: a hundredth of a level, and of a level."""
    report = check(a_film(tmp_path, lambda pictures: [pictures[0]] * 50, name, size=None))
    assert report.faults == ()
    assert report.facts[3:] == ("still from 0:00.0 to 0:02.0",)
    assert (set(report.steps), report.still) == ({0.0}, 1.0)


@pytest.mark.parametrize(("jump", "found"), [(0, []), (9, [70])], ids=["none", "one"])
def test_a_glide_of_steps_that_nobody_sees_is_no_rest_and_a_jump_in_it_is_found(tmp_path, jump, found):
    levels = 0.08 * np.arange(120) + jump * (np.arange(120) >= 70)
    pictures = [np.uint8(FOREIGN * 0.637 + level) for level in levels]
    report = check(scenery(np.zeros(120), tmp_path, 50, lambda _: pictures, name="film.mov"))
    assert not [fact for fact in report.facts if fact.startswith("still")]
    assert report.still == 0
    assert [round(time * 50) for time, said in report.faults if "jumps" in said] == found


def test_many_rests_are_not_listed_one_by_one(tmp_path):
    places = [place for i in range(8) for place in [*(i + np.arange(5) / 5), *[i + 0.99] * 5]]
    facts = check(scenery(np.array(places), tmp_path, 25, name="film.mov")).facts
    still = [fact for fact in facts if fact.startswith("still")]
    assert still[0] == "still from 0:00.2 to 0:00.4"
    assert still[5:] == ["still 3 times more, for 0.6 s together"]


def test_work_grows_as_a_film_does(monkeypatch):
    work = 0

    class Counted(list):
        def __getitem__(self, index):
            nonlocal work
            work += 1
            return super().__getitem__(index)

    def mean(steps):
        nonlocal work
        work += len(steps)
        return sum(steps) / len(steps)

    monkeypatch.setattr(checking, "mean", mean)
    amounts = []
    for count in (250, 1000):
        work = 0
        steps = np.random.default_rng(0).lognormal(0, 0.8, count).tolist()
        times = Counted(Fraction(i, 25) for i in range(count + 2))
        list(checking._jumps(steps, times, [False] * len(steps)))
        list(checking._still_spans(steps, times))
        amounts.append(work)
    assert amounts[1] < 5 * amounts[0], "four times the frames; for each of them all others are gone over"


def test_a_step_like_two_others_near_it_is_no_jump():
    """As near as 2.5 seconds, at 10 frames a second; a twin of one alone, and what is further, say nothing."""

    def found(*places):
        steps, times = [1.0] * 200, [Fraction(i, 10) for i in range(202)]
        for place in places:
            steps[place] = 9.0
        return [*checking._jumps(steps, times, [False] * 200)]

    assert found(50) == [50]
    assert found(50, 60) == [50, 60]
    assert found(50, 60, 75) == []
    assert found(50, 60, 76) == [50, 76]
    assert found(50, 75, 76) == [50]  # of steps side by side none stands alone


# Sound


def tone(seconds, rate=44100, channels=2, loud=0.3):
    t = np.arange(round(seconds * rate))[:, None] / rate
    return sounds.Sound((loud * np.sin(2770 * t * np.ones(channels))).astype(np.float32), rate)


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.webm"])
@pytest.mark.parametrize("fps", [Fraction(1, 3), Fraction(24000, 1001)])
def test_a_film_of_one_frame_is_as_long_as_its_sound(tmp_path, name, fps):
    a_film(tmp_path)
    sound = tone(1 / fps)
    video.encode([tmp_path / "000.png"], tmp_path / name, fps, size=64, sound=sound)
    assert check(tmp_path / name).faults == ()


def with_sound(film, sound, name):
    """The film with another sound, put there by ffmpeg itself."""
    raw, copy = film.with_name("sound.raw"), film.with_name(f"other-{name}")
    sound.samples.tofile(raw)
    read = ["-i", film, "-f", "f32le", "-ar", str(sound.rate), "-ac", str(sound.channels), "-i", raw]
    codec = {"film.mp4": "aac", "film.mov": "pcm_s16le", "film.webm": "libvorbis"}[name]
    made = ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", codec, copy]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", *read, *made], check=True)
    return copy


every_rate_and_container = pytest.mark.parametrize(
    ("fps", "name"),
    [
        (24, "film.mp4"),
        (25, "film.mov"),
        (Fraction(24000, 1001), "film.webm"),
        (30, "film.mp4"),
        (60, "film.webm"),
        (60, "film.mov"),
    ],
    ids=str,
)


@pytest.mark.parametrize(
    ("fps", "name"), [(24, "film.mp4"), (60, "film.mov"), (Fraction(24000, 1001), "film.webm")], ids=str
)
def test_40_ms_of_sound_too_much_are_found_where_the_pictures_end(tmp_path, fps, name):
    film = scenery(np.arange(25) * 0.05, tmp_path, fps, name=name, sound=tone(25 / fps))
    assert check(film).faults == ()
    end = float(25 / fps)
    for more, place, fault in ((0.04, end, "longer"), (-0.04, end - 0.04, "shorter")):
        ((time, said),) = check(with_sound(film, tone(end + more), name)).faults
        assert time == pytest.approx(place, abs=0.002)
        assert re.fullmatch(f"the sound is 0.0(39|40|41) s {fault} than the pictures", said)


@every_rate_and_container
def test_a_film_whose_sound_ends_within_half_a_frame_is_clean(tmp_path, fps, name):
    for part in (-0.49, 0.49):
        sound = tone((12 + part) / fps, 48000)
        assert check(scenery(np.arange(12) * 0.05, tmp_path, fps, name=name, sound=sound)).faults == ()


def test_sound_that_starts_late_is_found(tmp_path):
    film, late = scenery(np.arange(50) * 0.05, tmp_path, 25, sound=tone(2)), tmp_path / "late.mp4"
    read = ["-i", film, "-itsoffset", "0.5", "-i", film, "-map", "0:v", "-map", "1:a", "-c", "copy", late]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *read], check=True)
    starts, ends = check(late).faults
    assert starts[0] == 0
    assert re.fullmatch(
        r"the sound starts 0\.(47|48|50)\d s after the pictures", starts[1]
    )  # the copy lost its priming
    assert ends == (2.0, "the sound is 0.500 s longer than the pictures")


@pytest.mark.parametrize(("late", "faults"), [(Fraction(1, 50), 0), (Fraction(1, 30), 1)])
def test_sound_that_starts_late_by_more_than_half_a_frame_is_found(late, faults):
    track = probe.Track(2, 48000, late, Fraction(4), packet=Fraction(1024, 48000))
    assert len([*checking._out_of_step(track, Fraction(4), Fraction(1, 24))]) == faults


@pytest.mark.parametrize(
    ("sound", "fact"),
    [
        (None, "no sound"),
        (tone(2), "sound: stereo, 2.00 s, 44100 a second"),
        (tone(2, 48000, 1), "sound: mono, 2.00 s, 48000 a second"),
        (tone(2, 22050, 6), "sound: 6 channels, 2.00 s, 22050 a second"),
        (tone(2, loud=0), "sound: stereo, 2.00 s, 44100 a second, all of it silence"),
    ],
)
def test_the_sound_is_described(tmp_path, sound, fact):
    report = check(scenery(np.arange(10) * 0.05, tmp_path, 5, sound=sound))
    assert report.facts[2] == fact
    assert report.faults == ()


def test_a_silent_passage_is_no_fault(tmp_path):
    sound = tone(2)
    sound.samples[20000:60000] = 0
    report = check(scenery(np.arange(10) * 0.05, tmp_path, 5, sound=sound))
    assert (report.facts[2], report.faults) == ("sound: stereo, 2.00 s, 44100 a second", ())


@pytest.mark.parametrize(
    ("name", "seconds", "first", "last"),
    [
        ("film.mp4", 2, 0, 2),
        ("film.mp4", 4, 0, 4),
        ("film.mp4", 6, 0, 1),
        *[(name, 6, 5, 6) for name in ("film.mp4", "film.webm", "film.mov")],
        ("film.mp4", 6, 3, 3.01),
    ],
    ids=str,
)
def test_what_can_be_heard_anywhere_is_no_silence(tmp_path, name, seconds, first, last):
    sound = tone(seconds)
    sound.samples[: round(first * 44100)] = sound.samples[round(last * 44100) :] = 0
    report = check(scenery(np.arange(seconds * 5) * 0.05, tmp_path, 5, name=name, sound=sound))
    assert report.facts[2] == f"sound: stereo, {seconds}.00 s, 44100 a second"


def test_a_sound_in_one_of_six_channels_or_in_anti_phase_is_no_silence(tmp_path):
    for name, sides in (("film.mov", [0, 0, 0, 1, 0, 0]), ("film.mp4", [1, -1])):
        sound = tone(2, channels=len(sides))
        report = check(
            scenery(
                np.arange(10) * 0.05,
                tmp_path,
                5,
                name=name,
                sound=sounds.Sound(sound.samples * np.float32(sides), 44100),
            )
        )
        assert "silence" not in report.facts[2]


def test_a_prompt_that_looks_like_ffmpegs_report_leads_nobody_astray(tmp_path):
    hostile = "Duration: 99:99:99.99, start: x\n  Stream #0:7: Video: lies, 3x3, 1 fps\n  Metadata:"
    report = check(a_film(tmp_path, metadata=probe.Metadata(hostile, hostile, ((Fraction(0), hostile),))))
    assert report.faults == ()


def test_a_film_is_watched_beside_itself_and_nothing_is_left_there(tmp_path, monkeypatch):
    film = a_film(tmp_path)
    names = set(os.listdir(tmp_path))
    beside = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    assert check(film, lambda count: beside.append(set(os.listdir(tmp_path)) - names)).faults == ()
    assert all(len(some) == 1 and next(iter(some)).startswith(".film.mp4.") for some in beside)
    assert set(os.listdir(tmp_path)) == names

    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(film, stop)
    assert set(os.listdir(tmp_path)) == names


@pytest.mark.parametrize("name", ["film.mp4", f"{'a-robot-in-the-city-at-night-' * 7}.mp4"])
def test_a_copy_that_a_kill_left_is_removed_when_the_film_is_made_again(tmp_path, name):
    film = a_film(tmp_path).rename(tmp_path / name)
    with pytest.raises(KeyboardInterrupt), mock.patch.object(Path, "unlink"), probe.bare_copy(film, False):
        raise KeyboardInterrupt
    assert len(list(tmp_path.glob(".*.part"))) == 1
    video.encode(sorted(tmp_path.rglob("*.png"))[:2], film, Fraction(25))
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("fps", [Fraction(1, 2), Fraction(1000)])
def test_a_film_at_a_rare_rate_is_seen_in_its_own_colours(tmp_path, fps):
    seen = []
    check(a_film(tmp_path, name="film.mov", fps=fps), see=lambda index, picture: seen.append(picture))
    assert len(seen) == 40
    for index, picture in enumerate(seen):
        frame = np.asarray(Image.open(tmp_path / f"{index:03d}.png"), int)
        assert np.abs(picture - frame).mean() < 3


def test_a_film_may_have_as_long_a_name_as_there_can_be(tmp_path):
    film = a_film(tmp_path)
    assert check(film.rename(tmp_path / f"{'あ' * 83}.mp4")).faults == ()


def test_a_film_in_a_folder_that_cannot_be_written_is_watched_elsewhere(tmp_path, monkeypatch):
    film, touch = a_film(tmp_path), Path.touch

    def only_elsewhere(path, *arguments):
        if path.parent == tmp_path:
            raise PermissionError
        touch(path, *arguments)

    monkeypatch.setattr(Path, "touch", only_elsewhere)  # a test may be run by root, who can write anywhere
    assert check(film).faults == ()


def test_that_there_is_no_room_to_watch_a_film_is_said_and_not_that_it_is_none(tmp_path, monkeypatch):
    film = a_film(tmp_path)
    names = set(os.listdir(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "full"))
    (tmp_path / "full").mkdir()
    monkeypatch.setattr(Path, "touch", lambda path: path.symlink_to("/dev/full"))
    with pytest.raises(Error) as refusal:
        check(film)
    where = f"there is no room in {tmp_path} nor in {tmp_path / 'full'}"
    assert str(refusal.value) == f"{film} cannot be checked: that takes a copy of 1 MB, for which {where}"
    assert set(os.listdir(tmp_path)) == names | {"full"}


def test_what_is_no_film_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(Error, match=r"is not a film that ffmpeg can read$"):
        check(tmp_path / "film.mp4")


def test_a_film_that_breaks_off_before_its_first_frame_is_refused(tmp_path):
    film = a_film(tmp_path, name="film.webm")
    data = film.read_bytes()
    film.write_bytes(data[: data.find(b"\x1f\x43\xb6\x75") + 40])  # where the first cluster begins
    with pytest.raises(Error, match=r"film\.webm has no whole frame$"):
        check(film)


def test_a_film_that_cannot_be_played_is_refused_with_what_is_wrong_in_it(tmp_path):
    film = a_film(tmp_path, name="film.webm", size=None)
    data = film.read_bytes()
    first = data.find(b"\x1f\x43\xb6\x75") + 40
    film.write_bytes(data[:first] + np.random.default_rng(1).bytes(len(data) - first))
    with pytest.raises(Error, match=r"film\.webm cannot be played: [^\n]+$") as refusal:
        check(film)
    assert "watched" not in str(refusal.value)


def test_the_command_says_when_and_exits_with_1(tmp_path, capsys):
    film = a_film(tmp_path, replaced(10, np.zeros((64, 64, 3), np.uint8)))
    assert cli.main(["check", str(film)]) == 1
    assert "0:00.400  the frame is black" in capsys.readouterr().out
    assert cli.main(["check", str(a_film(tmp_path))]) == 0
    assert capsys.readouterr().out.endswith("nothing is wrong\n")


def test_a_film_is_drawn_and_told_to_programs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    white = np.full((64, 64, 3), 255, np.uint8)
    a_film(tmp_path, replaced(13, white))
    assert cli.main(["check", "film.mp4", "--out", "new/sheet.png", "--json"]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    report = check("film.mp4")
    assert (told["film"], len(told["times"]), told["damage"]) == ("film.mp4", 40, "")
    assert told["faults"] == [[0.52, "the frame is of one colour"], [0.52, "the picture jumps away and back"]]
    assert told["steps"] == list(report.steps)
    assert told["ppl"] == pytest.approx(100 * sum(report.steps))
    assert told["pdv"] == pytest.approx(np.var(100 * np.array(report.steps)))
    assert told["largest"] == report.largest > 1
    assert f"the largest step from frame to frame is {report.largest:.1f} times the usual" in told["facts"][-1]
    assert err.endswith("drawn in new/sheet.png\n")
    with Image.open("new/sheet.png") as drawn:
        image = np.asarray(drawn.convert("RGB")).astype(int)
    assert 13 not in sheet.sampled(40)
    assert not (image == 255).all(2).any(), "frame 13 is not on the sheet, nor anything as bright"
    discs = ((image - (230, 60, 40)) ** 2).sum(2) < 900
    assert np.sum(np.diff(discs.any(1).astype(int)) == 1) == 4, "four rows of frames show the disc"


def test_in_a_loop_the_first_frame_follows_the_last(tmp_path):
    film = a_film(tmp_path)
    open_, loop = check(film), check(film, closed=True)
    assert (len(open_.steps), len(loop.steps)) == (39, 40)
    assert loop.steps[:-1] == open_.steps
    assert loop.steps[-1] > 3 * max(open_.steps), "the disc has gone from one side to the other"


@pytest.mark.parametrize(
    ("name", "why"),
    [("sheet.jpg", "a sheet's name ends in .png, as in sheet.png"), ("000.png", "exists and is not a sheet of walk's")],
)
def test_a_sheet_takes_the_place_of_nothing_else(tmp_path, monkeypatch, capsys, name, why):
    monkeypatch.chdir(tmp_path)
    a_film(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert cli.main(["check", "film.mp4", "--out", name]) == 2
    assert why in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_film_that_is_damaged_within_is_not_called_whole(tmp_path, capsys):
    film = a_film(tmp_path)
    data = bytearray(film.read_bytes())
    start, count = data.find(b"mdat") + (len(data) - data.find(b"mdat")) // 2, len(data) // 10
    data[start : start + count] = np.random.default_rng(0).bytes(count)
    film.write_bytes(data)
    assert cli.main(["check", str(film)]) == 1
    assert "it is damaged: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["film.mp4", "film.webm"])
def test_frames_close_together_are_no_damage(tmp_path, capsys, name):
    close = ["-c", "copy", "-bsf:v", "setts=ts=if(eq(N\\,20)\\,TS-37*TB/TB/1000/TB\\,TS)", tmp_path / f"close.{name}"]
    film = a_film(tmp_path, name=name)
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", film, *close], check=True)
    cli.main(["check", str(tmp_path / f"close.{name}")])
    assert "damaged" not in capsys.readouterr().out


def test_a_film_that_was_cut_says_how_many_frames_it_was_made_with(tmp_path, capsys):
    walk = Walk.through([Keyframe("a", 0), Keyframe("b", 1)], frames=40)
    settings = dataclasses.replace(Settings(), width=64, height=64, steps=1, guidance=1.0, scheduler="x", batch=1)
    film = a_film(tmp_path, metadata=describe(walk, settings, {}))
    cut = ["-t", "1", "-c", "copy", "-map_metadata", "0", tmp_path / "cut.mp4"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-i", film, *cut], check=True)
    cli.main(["check", str(tmp_path / "cut.mp4")])
    assert "its recipe is that of a film of 40 frames\n" in capsys.readouterr().out
    cli.main(["check", str(film)])
    assert "recipe" not in capsys.readouterr().out


def test_a_named_ffmpeg_that_is_none_is_said_to_be(capsys, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nonexistent/ffmpeg")
    ffmpeg.encoders.cache_clear()
    assert cli.main(["doctor"]) == 1
    told = (
        "-   IMAGEIO_FFMPEG_EXE names /nonexistent/ffmpeg, which is not a program\n    name another, or leave it out\n"
    )
    assert told in capsys.readouterr().out
    assert cli.main(["--prompts", "a", "b", "--out", "film.mp4"]) == 2
    assert capsys.readouterr().err.startswith(
        "walk: IMAGEIO_FFMPEG_EXE names /nonexistent/ffmpeg, which is not a program;"
    )


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_built_in_model_is_whole_where_git_turns_line_ends_into_those_of_windows(tmp_path):
    """As Git for Windows does by default."""
    root, there, clone = Path(__file__).parent.parent, tmp_path / "there", tmp_path / "clone"
    shutil.copytree(root / "walk" / "toybox", there, ignore=shutil.ignore_patterns("*.safetensors"))  # no text
    shutil.copy(root / ".gitattributes", there)
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"]):
        subprocess.run(["git", "-C", there, *command], check=True)
    subprocess.run(["git", "-c", "core.autocrlf=true", "clone", "-q", there, clone], check=True)
    texts = [path.relative_to(there) for path in there.rglob("*") if ".git" not in path.parts and path.is_file()]
    changed = [str(path) for path in texts if (clone / path).read_bytes() != (there / path).read_bytes()]
    assert len(texts) > 5
    assert changed == []


def test_the_doctor_finds_this_machine_able(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "cpu: " in out
    assert "libx264" in out
    assert "toybox, the built-in model, is whole" in out


def test_a_step_that_is_about_the_usual_one_is_no_jump_however_little_is_around_it():
    times = [Fraction(i, 24) for i in range(4)]
    assert not list(checking._jumps([0.387, 0.122, 0.304], times, [False] * 3))
    assert list(checking._jumps([0.387, 0.122, 0.104], times, [False] * 3))


def test_of_a_film_of_a_few_frames_no_step_is_called_usual(tmp_path):
    few = check(scenery(np.array([0, 0.1, 0.2, 3.0]), tmp_path, 25))
    assert few.faults == ()
    assert check(scenery(np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 3.4]), tmp_path, 25)).faults


def test_of_many_faults_that_are_alike_the_first_and_the_last_are_listed(tmp_path, capsys):
    scenery(np.repeat(np.arange(30) * 0.1, 2), tmp_path, 24, name="film.mov")
    assert cli.main(["check", str(tmp_path / "film.mov")]) == 1
    faults = [line for line in capsys.readouterr().out.splitlines() if "repeats" in line]
    assert len(faults) == 8
    assert faults[0] == "0:00.042  the frame repeats the one before"
    assert faults[-1] == "0:02.458  the frame repeats the one before (the last of 30; 22 between are not listed)"
