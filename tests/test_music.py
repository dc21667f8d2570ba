"""Films that move to a sound: as long as it, arriving on its bars, the same after a stop, and closing with it."""

import contextlib
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import threading
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from benchmarks import beats
from PIL import Image

from walk import (
    Error,
    Walk,
    audio,
    beatfile,
    check,
    cli,
    commands,
    manifest,
    music,
    order,
    outlook,
    pace,
    probe,
    recipe,
    replay,
    sheet,
)
from walk.ffmpeg import program
from walk.keyframes import read_prompts
from walk.progress import Listener
from walk.sounds import read_sound

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")

RATE = 22050
ABC = ["a red apple", "a green frog", "a blue whale"]


def drums(bpm=120, beats=16, channels=1, lead=0.0):
    """A deep drum where a bar begins, a snare on each second beat, and hats between: (n, channels)."""
    generator = np.random.default_rng(0)
    samples = np.zeros(round((lead + beats * 60 / bpm) * RATE))
    k = np.arange(RATE // 5) / RATE
    kick = np.sin(2 * np.pi * (50 * k - 3 * np.exp(-30 * k))) * np.exp(-14 * k)
    snare = generator.normal(size=len(k)) * np.exp(-25 * k) * 0.4
    hat = generator.normal(size=len(k)) * np.exp(-90 * k) * 0.15
    for i in range(2 * beats):
        start = round((lead + i * 30 / bpm) * RATE)
        hit = hat if i % 2 else (kick * (1 if i % 8 == 0 else 0.6) if i % 4 == 0 else snare)
        samples[start : start + len(k)] += hit[: len(samples) - start]
    return np.repeat(0.7 * samples[:, None] / np.abs(samples).max(), channels, axis=1)


@pytest.fixture(scope="session")
def song(tmp_path_factory):
    """Eight seconds at 120 beats a minute."""
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    soundfile.write(path, drums(), RATE)
    return path


@pytest.fixture(autouse=True)
def _in_an_empty_folder(empty_folder):
    """Before any other fixture."""


@pytest.fixture
def walk(tiny_folder, capsys):
    """(stdout, the lines of stderr) of a command with a tiny model, few steps and small films."""

    def of(*arguments, status=0, prompts=ABC, model=True):
        cheap = ["--model", str(tiny_folder), "--steps", "1", "--speed", "path"] * model
        if model and "--size" not in arguments:
            cheap += ["--size", "32"]
        done = cli.main([*map(str, arguments), *(["--prompts", *prompts] if prompts else []), *cheap])
        out, err = capsys.readouterr()
        assert done == status, err
        return out.removesuffix("\n"), err.splitlines()

    return of


@pytest.fixture
def asked(walk, monkeypatch):
    """(the walk that a command's flags ask for, the lines of stderr); it is not rendered."""

    def of(*arguments, prompts=ABC):
        orders = []

        def read(chosen, listener, *more):
            orders.append(read_order(chosen, listener, *more))
            raise Error("that was it")

        read_order = order.read_order
        with monkeypatch.context() as patch:
            patch.setattr(order, "read_order", read)
            _, err = walk(*arguments, prompts=prompts, model=False, status=2)
        assert err.pop() == "walk: that was it"
        return orders[0].walk, err

    return of


def test_the_beats_that_are_heard_are_written_as_a_file_of_beats(song, walk, asked):
    (written, err) = walk("beats", song, prompts=(), model=False)
    assert err == ["listening to song.wav", "song.wav: 120 beats a minute (or 60: --bpm 60)"]
    Path("beats.txt").write_text(written)
    beats, bars = beatfile.read_beats(Path("beats.txt"))
    heard = audio.listen(read_sound(song))
    assert (beats, bars) == (heard.beats, heard.bars)
    assert len(bars) == 4
    assert asked("--audio", song, "--beats", "beats.txt")[0] == asked("--audio", song)[0]


@pytest.mark.parametrize(
    ("offset", "meter", "numbers"), [("1", 4, "34123412"), ("0", 3, "12312312"), ("1.5", 5, "34512345")]
)
def test_written_beats_are_numbered_in_their_bars_from_before_the_first(song, walk, offset, meter, numbers):
    written, _ = walk("beats", song, "--bpm", 120, "--offset", offset, "--meter", meter, prompts=(), model=False)
    lines = written.splitlines()
    assert lines[0] == "# song.wav: seconds, and the beat in the bar"
    assert "".join(line.split("\t")[1] for line in lines[1:9]) == numbers
    assert [float(line.split("\t")[0]) for line in lines[1:5]] == [0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize(("bpm", "told"), [(87, "87 beats a minute (or 174: --bpm 174)"), (100, "100 beats a minute")])
def test_the_tempo_that_was_heard_is_told_with_the_other_one_that_it_might_be(walk, bpm, told):
    soundfile.write("drums.wav", drums(bpm, beats=32), RATE)
    _, err = walk("beats", "drums.wav", prompts=(), model=False)
    assert err[-1] == f"drums.wav: {told}"
    _, err = walk("beats", "drums.wav", "--bpm", bpm, prompts=(), model=False)
    assert err == ["listening to drums.wav"]


def test_beats_of_a_part_are_those_of_a_film_of_it_and_written_in_the_songs_time(walk, asked):
    """Of twelve seconds at 100 beats a minute, four bars at 130 follow, and are heard alone."""
    soundfile.write("two.wav", np.concatenate([drums(100, beats=20), drums(130)]), RATE)
    part = ("--start", "12", "--seconds", "7")
    written, err = walk("beats", "two.wav", *part, prompts=(), model=False)
    assert err[-1] == "two.wav: 130 beats a minute (or 65: --bpm 65)"
    Path("beats.txt").write_text(written)
    beats, bars = beatfile.read_beats(Path("beats.txt"))
    assert beats == pytest.approx(12 + np.arange(16) * 60 / 130, abs=0.01)
    assert bars == beats[::4]
    film = ("--audio", "two.wav", *part)
    assert asked(*film, "--beats", "beats.txt")[0] == asked(*film)[0]
    assert walk("beats", "two.wav", *part, "--offset", beats[1], prompts=(), model=False)[0].splitlines()[2][-1] == "1"


@pytest.mark.parametrize("start", [0, 12, 25])
def test_beats_of_a_part_are_those_of_the_song_where_its_tempo_drifts(walk, start):
    """Heard on their own, with no more than eight seconds to tell the tempo, they are up to 73 ms off."""
    samples, grid = drums(124, beats=96)[:, 0], np.arange(0, 45, 1e-3)
    even = grid + 0.1 * np.sin(2 * np.pi * grid / 15)  # where in the song it would be at one tempo
    moments = np.arange(len(samples)) / RATE
    drifting = np.interp(np.interp(moments, grid, even), moments, samples)
    soundfile.write("drummer.wav", drifting, RATE)
    beats = np.interp(np.arange(96) * 60 / 124, even, grid)
    written, _ = walk("beats", "drummer.wav", "--start", start, "--seconds", 8, prompts=(), model=False)
    found = [float(line.split("\t")[0]) for line in written.splitlines()[1:]]
    expected = beats[(beats > start - 0.02) & (beats < start + 7.98)]
    assert found == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "text",
    ["0,5 1,25 2,5 3,75", "0,1 0,2 0,3", "0,000 0,500 1,000", "0,5 9.0", "1,5,2 9.0", "3,75;1 4,25;2", "1,0 2,0"],
)
def test_decimal_commas_are_told_from_the_numbers_of_beats(text):
    lines = text.split()
    Path("beats.txt").write_text("\n".join(lines))
    with pytest.raises(Error, match=rf"^beats\.txt:1: '{lines[0]}' has a decimal comma; write seconds with a point"):
        beatfile.read_beats(Path("beats.txt"))


@pytest.mark.parametrize(
    ("text", "bars"), [("1,3 2,4 3,1 4,2", (3.0,)), ("1,1 2,2 3,1", (1.0, 3.0)), ("0.5,1 1.0,2", (0.5,))]
)
def test_numbers_of_beats_may_follow_a_comma(text, bars):
    Path("beats.txt").write_text(text.replace(" ", "\n"))
    assert beatfile.read_beats(Path("beats.txt"))[1] == bars


def test_beats_of_two_tempi_are_told_and_read_again_with_their_bars(walk, asked):
    soundfile.write("two.wav", np.concatenate([drums(100, beats=32), drums(140, beats=44)]), RATE)
    written, err = walk("beats", "two.wav", prompts=(), model=False)
    assert err[-1] == "two.wav: 100-140 beats a minute"
    Path("beats.txt").write_text(written)
    beats, bars = beatfile.read_beats(Path("beats.txt"))
    assert beats == pytest.approx([*np.arange(32) * 0.6, *(19.2 + np.arange(44) * 60 / 140)], abs=0.01)
    assert bars == beats[::4]
    assert asked("--audio", "two.wav")[1][1] == "two.wav: 38.1 s, 100-140 beats a minute, 19 bars"


def test_of_silence_no_beats_are_written(walk):
    soundfile.write("silence.wav", np.zeros(RATE), RATE)
    _, err = walk("beats", "silence.wav", prompts=(), model=False, status=2)
    assert err[-1] == "walk: no beats are heard in silence.wav; give --bpm, if you know its tempo"


def positions(folder="film.walk"):
    return manifest.read_manifest(Path(folder)).walk.positions


def arrivals(made):
    """Seconds at which the film first shows each keyframe."""
    return [float(made.positions.index(k) / made.fps) for k in range(len(made.keyframes))]


def told(film):
    """(frames, rate, sound's channels, its rate, its seconds) as PyAV reads them."""
    with av.open(str(film)) as container:
        fps, sound = container.streams.video[0].average_rate, container.streams.audio[0]
        channels, rate = sound.channels, sound.rate
        seconds = sum(frame.samples for frame in container.decode(sound)) / rate
    with av.open(str(film)) as container:
        return sum(1 for _ in container.decode(video=0)), fps, channels, rate, seconds


def packets(film):
    """All that is shown and heard of a film, and when, as it is written in it; not what it says of itself."""
    with av.open(film) as container:
        return [(one.stream.type, one.pts, bytes(one)) for one in container.demux(video=0, audio=0)]


# the film


def test_a_film_is_as_long_as_its_sound_and_keyframes_arrive_on_bars(walk, song):
    out, err = walk("--audio", song, "--out", "film.mp4")
    assert out == "film.mp4"
    assert "song.wav: 8 s, 120 beats a minute, 4 bars" in err
    frames, fps, channels, rate, seconds = told(out)
    assert (frames, fps, channels, rate) == (192, 24, 1, RATE)
    assert abs(seconds - 8) < 1024 / RATE
    made = manifest.read_manifest(Path("film.walk")).walk
    assert arrivals(made) == [0, pytest.approx(4, abs=1 / 24), pytest.approx(191 / 24)]


def test_a_part_of_the_sound_gives_a_film_of_that_part(walk, song):
    walk("--audio", song, "--start", "2.5", "--seconds", "3", "--fps", "25", "--out", "film.mov")
    frames, fps, _, _, seconds = told("film.mov")
    assert (frames, fps, seconds) == (75, 25, 3)
    with av.open("film.mov") as film:
        heard = np.concatenate([frame.to_ndarray().reshape(-1) for frame in film.decode(audio=0)])
    expected = soundfile.read(song)[0][round(2.5 * RATE) : round(5.5 * RATE)]
    np.testing.assert_allclose(heard / 2**31, expected, atol=1e-4)


def test_keyframes_arrive_on_the_beats_and_bars_that_they_name(asked, song):
    prompts = ["a red apple", "a green frog | beat=6", "a blue whale | bar=3", "a red apple | time=5.1"]
    made, _ = asked("--audio", song, "--seconds", "6", "--fps", "30", prompts=prompts)
    assert arrivals(made) == pytest.approx([0, 2.5, 4, 5.1], abs=0.5 / 30 + 0.01)


@pytest.mark.parametrize("pace", ["even", "energy", "beat"])
def test_every_pace_moves_always_forward_and_arrives(asked, song, pace):
    made, _ = asked("--audio", song, "--seconds", "4", "--pace", pace)
    steps = np.diff(made.positions)
    assert (steps > 0).all()
    assert made.positions[-1] == 2
    on_beats = steps[11::12].mean() / np.delete(steps, range(11, len(steps), 12)).mean()
    assert on_beats > (3 if pace == "beat" else 1.5) if pace != "even" else on_beats == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("bpm", [80, 120, 174])
@pytest.mark.parametrize("loop", [False, True])
def test_a_film_lands_on_bars_and_rests_there(asked, bpm, loop):
    made, err = asked(
        *f"--bpm {bpm} --bars 3 --pace bar --fps 30".split(), *["--loop"] * loop, prompts=[*ABC, "d"][: 4 - loop]
    )
    end = [float(len(made.keyframes))] * loop
    way, bar = [*made.positions, *end], 4 * 60 / bpm * 30  # frames
    for k in range(3):
        at, quarter, half, last = (way[round((k + part) * bar)] for part in (0, 0.25, 0.5, 0.9))
        assert at == k, "a keyframe comes on each bar"
        assert quarter - k < 0.08
        assert half - k < 0.15
        assert last - k < 0.7
    assert not [line for line in err if "rests" in line or "stands still" in line]


def test_a_film_that_hardly_reacts_is_not_said_to_rest(walk):
    made = walk("--bpm", "120", "--bars", "2", "--pace", "beat", "--react", "0.1", "--fps", "4", "--out", "film.mp4")[1]
    assert not [line for line in made if "rests" in line]
    made = walk("--bpm", "120", "--bars", "2", "--pace", "beat", "--fps", "4", "--out", "film.mp4")[1]
    assert (
        "note: the film rests 8 times, 6 of them between keyframes, first at 0:00.5, where it shows a mixture"
        in "\n".join(made)
    )


def test_a_loop_of_a_single_bar_moves_into_its_end(asked):
    made, _ = asked("--bpm", "120", "--bars", "1", "--pace", "bar", "--loop", prompts=ABC[:2])
    steps = np.diff([*made.positions, 2.0])
    assert steps[-6:].sum() > 4 * steps[:6].sum()


def test_the_noise_can_kick_while_prompts_glide(asked, song):
    made, _ = asked("--audio", song, "--seconds", "2", "--pace", "even", "--pace-noise", "beat")
    assert np.diff(made.noise).max() > 4 * np.median(np.diff(made.noise))
    assert np.diff(made.positions).max() < 1.5 * np.median(np.diff(made.positions))


def test_noise_that_is_paced_apart_is_even_to_the_eye_too(tiny_folder, song):
    flags = ["--prompts", *ABC, "--audio", str(song), "--seconds", "3", "--pace", "even", "--pace-noise", "beat"]
    flags += ["--model", str(tiny_folder), "--steps", "1", "--size", "32", "--out", "film.mp4"]
    assert cli.main(["preview", "--quick", *flags]) == cli.main(flags) == 0
    made = manifest.read_manifest(Path("film.walk")).walk
    assert len(made.noise) == len(made.positions) == 72
    assert [made.noise.index(k) for k in range(3)] == [made.positions.index(k) for k in range(3)]
    assert made.positions != Walk.through(made.keyframes, 72, fps=made.fps).positions, "nothing was moved"


def test_a_pulse_is_as_strong_as_what_sets_in_and_fades(asked, song):
    made, _ = asked("--audio", song, "--seconds", "4", "--pace", "even", "--pulse", "0.4")
    plain, _ = asked("--audio", song, "--seconds", "4", "--pace", "even")
    assert made.positions == plain.positions
    assert 0.39 < max(made.pulse) <= 0.4
    rises = {index for index, (a, b) in enumerate(pairwise((0.0, *made.pulse))) if b > a}
    assert {*range(0, 96, 12)} <= rises, "on each beat"
    fading = [b / a for index, (a, b) in enumerate(pairwise(made.pulse), 1) if index not in rises and a > 0.05]
    assert fading == pytest.approx([math.exp(-1 / (0.12 * 24))] * len(fading), rel=0.01)
    assert asked("--audio", song, "--seconds", "4", "--pace", "even", "--pulse", "0")[0] == plain


@pytest.mark.parametrize("loop", [False, True])
def test_each_prompt_may_have_a_pace_of_its_own(asked, song, loop):
    flags = ["--audio", song, *["--loop"] * loop, "--fps", "30"]
    own = ["a | pace=bar", "b", "c | pace=beat", "d | pace=even", "e"]
    mixed, _ = asked(*flags, prompts=own)
    of_all = {name: asked(*flags, "--pace", name, prompts=[*"abcde"])[0] for name in ("bar", "energy", "beat", "even")}
    for k, name in enumerate(["bar", "energy", "beat", "even", *["energy"] * loop]):
        part, whole = ([p for p in walk.positions if k <= p < k + 1] for walk in (mixed, of_all[name]))
        assert part == whole, name
        assert len(part) > 10


def test_a_pace_of_a_prompt_is_its_noises_too_unless_that_has_its_own(asked, song):
    own = ["a", "b | pace=beat", "c"]
    assert asked("--audio", song, "--pace", "even", prompts=own)[0].noise == ()
    made, _ = asked("--audio", song, "--pace", "even", "--pace-noise", "even", prompts=own)
    assert made.noise == asked("--audio", song, "--pace", "even")[0].positions != made.positions


def test_verses_stay_calm_where_choruses_pulse_and_what_sets_in_fades_after_them(asked, song):
    made, _ = asked("--audio", song, "--pace", "even", prompts=["verse", "chorus | pulse=0.8", "verse two"])
    whole, _ = asked("--audio", song, "--pace", "even", "--pulse", "0.8", prompts=[*"abc"])
    start, end = 96, 191  # a loop would go on; this is an open walk, whose last keyframe is its end
    assert not any(made.pulse[:start])
    assert made.pulse[start + 5 : end] == whole.pulse[start + 5 : end]
    calm, _ = asked("--audio", song, "--pulse", "0.8", prompts=["a", "b | time=2 | pulse=0", "c"])
    loud, _ = asked("--audio", song, "--pulse", "0.8", prompts=["a", "b | time=2", "c"])
    assert calm.pulse[:48] == loud.pulse[:48]
    fading = [calm.pulse[47] * math.exp(-i / (0.12 * 24)) for i in range(1, 13)]
    assert calm.pulse[48:60] == pytest.approx(fading, abs=1e-4), "it is not cut off"
    assert max(calm.pulse[80:]) < 0.001


def test_a_pulse_is_that_of_the_prompt_that_is_shown_also_of_the_last_one_and_while_it_is_held(asked):
    for lines, wild in (
        (["a", "b | bar=2 | pulse=1"], range(48, 144)),
        (["a | pulse=1", "b | bar=2 | pulse=0"], range(48)),
        (["a", "b | bar=2 | until=bar=3 | pulse=1", "c | bar=3.5"], range(48, 120)),
    ):
        made, _ = asked("--bpm", "120", "--bars", "3", "--pace", "even", prompts=lines)
        assert [i for i, pulse in enumerate(made.pulse) if pulse > 0.9] == [*wild[::48]], "on each bar"


def test_on_beats_on_which_a_picture_is_held_no_mixture_is_shown(walk, monkeypatch):
    orders = []
    monkeypatch.setattr(
        order, "read_order", lambda *given, real=order.read_order: orders.append(real(*given)) or orders[-1]
    )
    held = ["a fox", "a frog | beat=2 | pace=beat", "an owl | beat=3"]
    _, err = walk("--bpm", "120", "--bars", "2", "--fps", "8", "--out", "film.mp4", prompts=held)
    assert not [line for line in err if "mixture" in line]
    rest = ["a fox | pace=beat", "a frog | bar=2 | until=bar=4 | pace=beat", "an owl | bar=5"]
    _, err = walk("--bpm", "120", "--bars", "5", "--fps", "8", "--out", "film.mp4", prompts=rest)
    assert [line for line in err if line.startswith("note: the film rests 9 times, 6 of them between keyframes")]


def test_a_film_rests_on_the_beats_or_bars_of_those_prompts_that_say_so(walk, monkeypatch):
    orders = []
    monkeypatch.setattr(
        order, "read_order", lambda *given, real=order.read_order: orders.append(real(*given)) or orders[0]
    )
    lines = ["a | pace=bar", "b | bar=3 | pace=beat", "c | bar=4 | pace=even", "d | bar=6"]
    walk("--bpm", "120", "--bars", "6", "--fps", "4", "--out", "film.mp4", prompts=lines)
    # The end of a segment is on its last landing, its beginning on the one before.
    assert orders[0].rests == (0.0, 2.0, 4.0, 4.5, 5.0, 5.5, 6.0)


def test_prompts_without_a_pace_that_rests_are_not_too_many_for_the_rests(walk):
    lines = ["a", "b | time=2", "c | time=4.5 | until=7.5 | pace=bar", "d | time=8.5", "e"]
    _, err = walk("--bpm", "120", "--bars", "5", "--fps", "8", "--out", "film.mp4", prompts=lines)
    (note,) = [line for line in err if "mixture" in line]
    told = "note: the film rests once, between keyframes, at 0:08, where it shows a mixture; a line that ends in | time=0:08"
    assert note.startswith(told)


def test_a_films_prompts_keep_their_paces_and_pulses(walk, song):
    lines = ["a red apple | pace=beat", "a green frog | pulse=0.25", "a blue whale"]
    walk("--audio", song, "--seconds", "2", "--fps", "8", "--out", "film.mp4", prompts=lines)
    written = walk("info", "film.mp4", prompts=None, model=False)[0]
    assert "a red apple | seed=0 | pace=beat\na green frog | seed=1 | pulse=0.25\na blue whale | seed=2" in written
    before = manifest.read_manifest(Path("film.walk")).walk
    Path("again.txt").write_text(written)
    walk("--audio", song, "--seconds", "2", "--fps", "8", "--out", "again.mp4", prompts=["again.txt"])
    assert manifest.read_manifest(Path("again.walk")).walk == before
    assert cli.main(["replay", "film.mp4", "--fps", "12", "--run", "twelve.walk"]) == 0
    again = manifest.read_manifest(Path("twelve.walk")).walk
    assert again.keyframes == before.keyframes
    assert any(again.pulse)
    assert not any(again.pulse[:11])


def test_a_replay_follows_a_stem_if_a_prompts_pace_or_pulse_does(song):
    told = {"frames": "3", "fps": "24", "audio": str(song), "pace": "even", "listen": "low", "react": "0.5"}
    for setting, kept in (("pulse=0.5", {"listen"}), ("pace=energy", {"listen", "react"}), ("pace=even", set())):
        made = recipe.Recipe((f"a fox | seed=0 | {setting}", "an owl | seed=1"), tuple(told.items()), ("walk 0",))
        assert {"listen", "react"} & replay.replayed("film.mp4", made, {})[0].keys() == kept


def test_a_replay_with_another_pulse_tells_that_prompts_keep_their_own():
    lines = ("a fox | seed=0 | pulse=0.5", "an owl | seed=1 | pace=bar", "a frog | seed=2 | pulse=0.2")
    made = recipe.Recipe(lines, (("frames", "3"),), ("walk 0",))
    kept = "which they keep; walk info tells the prompts, to change them"
    assert replay.told_own_movement(made, {"pulse": 0.0}) == f"2 prompts have a pulse of their own, {kept}"
    assert replay.told_own_movement(made, {"pace": "even"}).startswith(
        "1 prompt has a pace of its own, which it keeps; "
    )
    assert replay.told_own_movement(made, {"fps": 12}) == ""


def test_a_part_pulses_as_it_does_in_the_whole_song(asked):
    quiet, loud = hits(80, [0.5, 1.5], seconds=2.0, level=0.1), hits(80, [0.5, 1.5], seconds=2.0)
    soundfile.write("song.wav", np.concatenate([quiet, loud]), RATE)
    how = ["--audio", "song.wav", "--pace", "even", "--pulse", "0.5"]
    whole, part = asked(*how)[0], asked(*how, "--seconds", "2")[0]
    assert part.pulse[:40] == whole.pulse[:40]
    assert max(whole.pulse[:40]) < 0.5 * max(whole.pulse)


def test_a_loop_pulses_on_where_it_begins_again():
    envelope = [0.0] * 100
    envelope[98] = 1.0
    once, round_ = (pace.strengths(envelope, 100, 25, Fraction(25), closed) for closed in (False, True))
    assert once == [0] * 25
    assert round_[0] == 1, "it is nearest to the frame after the last"
    assert pace.strikes([0.0, 0.99], 25, Fraction(25), closed=True)[0] == 1
    envelope[98], envelope[90] = 0.0, 1.0
    fading = math.exp(-1 / (0.12 * 25))
    again = pace.strengths(envelope, 100, 25, Fraction(25), closed=True)
    assert again[:2] == pytest.approx([fading**2, fading**3], rel=0.01)


def test_a_film_that_pulses_goes_on_in_the_smaller_batch_that_it_was_begun_in(walk):
    how = ["--bpm", "120", "--bars", "1", "--pulse", "0.5", "--fps", "12", "--out", "film.mp4"]
    walk(*how, "--batch", "4")
    there = {path: path.stat().st_mtime_ns for path in Path("film.walk/frames").iterdir()}
    walk(*how)
    assert {path: path.stat().st_mtime_ns for path in Path("film.walk/frames").iterdir()} == there


def test_a_tempo_and_written_beats_have_a_pulse_too(asked):
    Path("beats.txt").write_text("0.5\n1\n1.5\n2\n")
    for how in (["--bpm", "120", "--seconds", "2"], ["--beats", "beats.txt"]):
        pulse = asked(*how, "--pace", "even", "--pulse", "1")[0].pulse
        assert [index for index, part in enumerate(pulse) if part > 0.5 and pulse[index - 1] < 0.5][-3:] == [12, 24, 36]
        assert max(pulse) == 1


def test_what_lies_wholly_before_the_beats_has_no_pulse(asked):
    Path("beats.txt").write_text("5\n5.5\n6\n")
    assert asked("--beats", "beats.txt", "--seconds", "2", "--pace", "even", "--pulse", "1")[0].pulse == ()


def test_a_pulse_alone_follows_what_is_listened_to_and_a_replay_does_too(asked, song):
    how = ["--audio", song, "--seconds", "4", "--pace", "even", "--pulse", "1"]
    assert asked(*how, "--listen", "low")[0].pulse != asked(*how)[0].pulse != ()
    told = {"frames": "3", "fps": "24", "audio": str(song), "pace": "even", "pulse": "1", "listen": "low"}
    made = recipe.Recipe(("a fox | seed=0", "an owl | seed=1"), tuple(told.items()), ("walk 0",))
    assert replay.replayed("film.mp4", made, {})[0]["listen"] == "low"


def test_a_film_that_is_checked_is_not_expected_to_rest_where_it_pulses():
    places = recipe.Positions((0.0, 0.0, 0.0, 0.0, 1.0), pulse=(0.0, 0.5, 0.495, 0.1, 0.0))
    made = recipe.Recipe(("a fox | seed=0", "an owl | seed=1"), (("frames", "5"),), ("walk 0",), places)
    assert replay.told_walk(made, 5).rests() == {2}


def test_a_resting_film_pulses_and_is_made_again_frame_for_frame(walk, song):
    how = ["--audio", song, "--seconds", "2", "--pace", "bar", "--align", "off", "--fps", "12", "--width", "64"]
    rested = ["a red apple", "a green frog | time=0.5 | until=1.5", "a blue whale"]
    walk(*how, "--out", "still.mp4", prompts=rested)
    walk(*how, "--out", "film.mp4", "--pulse", "0.6", prompts=rested)
    still, pulsing = (check.check(Path(name)).steps[7:16] for name in ("still.mp4", "film.mp4"))
    assert max(still) < 0.001 < 0.01 < max(pulsing)
    cli.main(["replay", "film.mp4"])
    frames, again = (
        {path.name for path in Path(name, "frames").iterdir()} for name in ("film.walk", "film-again.walk")
    )
    assert again <= frames
    assert len(again) > 20
    made = manifest.read_manifest(Path("film-again.walk")).walk
    assert made.pulse == manifest.read_manifest(Path("film.walk")).walk.pulse != ()


def test_a_pulse_costs_few_pictures_and_its_film_moves_as_its_preview_drew(tiny_folder, song, monkeypatch):
    drawn = []
    monkeypatch.setattr(sheet, "preview", lambda *given, real=sheet.preview: drawn.append(given) or real(*given))
    how = ["--prompts", *ABC, "--audio", str(song), "--seconds", "4", "--pulse", "0.6", "--pace", "even"]
    how += ["--model", str(tiny_folder), "--steps", "1", "--size", "32", "--out", "film.mp4"]
    assert cli.main(["preview", *how]) == cli.main(how) == 0
    there = len(list(Path("film.walk/frames").iterdir()))
    assert 96 <= there < 96 * 1.35
    made = manifest.read_manifest(Path("film.walk")).walk
    assert made.frames == 96
    predicted, seen = np.array(drawn[0][3]), np.array(check.check(Path("film.mp4")).steps)
    assert np.corrcoef(predicted, seen)[0, 1] > 0.7


def test_a_tempo_alone_makes_a_film_of_whole_bars(asked):
    made, err = asked("--bpm", "120", "--bars", "3", "--pace", "beat")
    assert "120 beats a minute: 6 s, 3 bars" in err
    assert arrivals(made) == [0, 2, 143 / 24]  # half-way is 2.98 s
    assert "120 beats a minute: 2 s, 1 bar" in asked("--bpm", "120", prompts=ABC[:2])[1]
    assert made.frames == 144


@pytest.mark.parametrize(
    ("prompts", "flags", "seconds", "arrive"),
    [
        (["a cat", "a dog", "a fox"], [], 4, [0, 2, 4]),
        (["a cat", "a dog | time=3", "a fox | time=6"], [], 6, [0, 3, 6]),
        (["a cat", "a dog | time=3", "a fox"], [], 6, [0, 3, 6]),
        (["a cat | beat=1", "a dog | bar=2", "a fox | bar=4"], [], 8, [0, 2, 6]),
        (["a cat", "a dog", "a fox | beat=14"], [], 8, [0, 4, 6.5]),
        (["a cat", "a dog", "a fox | bar=4"], ["--loop"], 8, [0, 2, 6]),
        (["a cat", "a dog", "a fox | time=3 | until=7"], ["--meter", "3"], 7.5, [0, 1.5, 3]),
    ],
    ids=str,
)
def test_to_a_tempo_alone_a_film_is_as_long_as_its_prompts_times_ask(asked, prompts, flags, seconds, arrive):
    made, _ = asked("--bpm", "120", *flags, prompts=prompts)
    assert made.frames == 24 * seconds
    assert arrivals(made) == pytest.approx(arrive, abs=0.05)


@pytest.mark.parametrize(("loop", "enough"), [(True, 5), (False, 4)])
def test_where_bars_are_too_few_for_the_prompts_it_is_said_how_many_would_do(asked, loop, enough):
    flags = ["--bpm", "120", "--pace", "bar", *["--loop"] * loop]
    prompts = [*ABC, "an owl", "a castle"]
    _, err = asked(*flags, "--bars", "3", prompts=prompts)
    assert f"since there are too few bar lines; --bars {enough} has one for each" in "\n".join(err)
    _, err = asked(*flags, "--bars", enough, prompts=prompts)
    assert not [line for line in err if "too few" in line]


def test_how_many_bars_it_is_long_is_told_and_where_a_loop_stumbles(asked, song):
    _, err = asked("--audio", song)
    assert err[1] == "song.wav: 8 s, 120 beats a minute, 4 bars"
    _, err = asked("--audio", song, "--seconds", "5")
    assert err[1] == "song.wav: 5 s, 120 beats a minute, 2.5 bars"
    _, err = asked("--bpm", "110", "--seconds", "5", "--loop")
    assert err[:2] == [
        "110 beats a minute: 5 s, 2.3 bars",
        "note: the loop is 2.3 bars long, so the beat stumbles where it begins again; --bars 2 ends on a bar line",
    ]
    _, err = asked("--bpm", "120", "--seconds", "3.3", "--loop")
    assert err[1].endswith(
        "the loop is 1.6 bars long, so the beat stumbles where it begins again; --bars 2 ends on a bar line"
    )
    _, err = asked("--bpm", "128", "--frames", "30", "--loop")
    assert err[:2] == [
        "128 beats a minute: 1.25 s",
        "note: the loop is 2.7 beats long, so the beat stumbles where it begins again; --bars 1 lasts 1.88 s",
    ]
    _, err = asked("--bpm", "120", "--frames", "36", "--loop")
    assert not [line for line in err if "stumbles" in line], "three beats"
    _, err = asked("--bpm", "110", "--bars", "2", "--loop")
    assert not [line for line in err if "stumbles" in line]
    _, err = asked("--bpm", "120", "--seconds", "205")
    assert err[0] == "120 beats a minute: 3:25, 102.5 bars"
    _, err = asked("--bpm", "120", "--seconds", "5.94", "--loop")
    assert "the loop is about 3 bars long, so" in err[1]
    _, err = asked("--audio", song, "--bpm", "120", "--offset", "1.8", "--seconds", "7", "--loop")
    bars = re.search(r"--bars (\d+) ends on a bar line", "".join(err))[1]
    made, _ = asked("--audio", song, "--bpm", "120", "--offset", "1.8", "--bars", bars, "--loop")
    assert made.frames == 48 * int(bars)


def test_keyframes_for_which_there_are_too_few_bars_are_counted(asked, song):
    _, err = asked("--audio", song, prompts=[*ABC, "a castle", "a boat", "a moon"])
    assert "note: 4 of 6 keyframes are moved to beats between bar lines, since there are too few bar lines" in err
    _, err = asked("--audio", song, "--bars", "1", prompts=[*"abcdef"])
    assert (
        "note: 4 of 6 keyframes come between bar lines, 4 of them between beats, since there are too few bar lines; "
        "--bars 5 has one for each" in err
    )
    _, err = asked("--audio", song)
    assert not [line for line in err if line.startswith("note:")]


def test_where_a_part_of_a_song_has_no_such_bar_it_is_said_how_to_see_a_part_of_its_film(walk, song):
    whole = walk("--audio", song, prompts=["a", "b | bar=9"], status=2)[1][-1]
    assert whole == "walk: keyframe 2 ('b') is at bar 9, but the film has 4 bars"
    part = walk("--audio", song, "--start", "2", prompts=["a", "b | bar=9"], status=2)[1][-1]
    assert part.endswith(
        "'b') is at bar 9, but the film has 3 bars; to see a part of a longer film, give its own command with walk part --from"
    )
    order = walk("--audio", song, "--start", "2", prompts=["a | bar=2 | until=beat=3", "b"], status=2)[1][-1]
    assert order == "walk: keyframe 1 ('a') is to rest until beat 3, which is not after bar 2", "that is no remedy here"


def test_keyframes_for_which_there_are_too_few_beats_are_counted(asked):
    moved = ["--bpm", "120", "--bars", "2", "--pace", "beat", "--align", "beat"]
    made, err = asked(*moved, prompts=[*"abcdefghij"])
    assert "note: 7 of 10 keyframes come between beats, since there are too few" in err
    (note,) = outlook.surprises(made, [beat / 2 for beat in range(8)], music=True)
    assert "for 10 prompts, that is too few rests: leave out 2, and" in note
    _, err = asked(*moved, prompts=[*"abcdefgh"])
    assert not [line for line in err if line.startswith("note:")]


def test_a_prompt_at_the_time_that_is_said_leaves_one_rest_less_between_keyframes(asked):
    flags = ["--bpm", "124", "--offset", "1.3", "--seconds", "16.5", "--pace", "bar"]
    bars, prompts, counts = [1.3 + k * 240 / 124 for k in range(8)], [*"abcde"], []
    made, _ = asked(*flags, prompts=prompts)
    while notes := outlook.surprises(made, bars, music=True):
        note = re.search(r"rests 8 times, (\d) of them between .* ends in \| (time=0:(.*?)) puts a prompt", notes[0])
        counts.append(int(note[1]))
        prompts.insert(sum(at < float(note[3]) for at in arrivals(made)), f"{len(prompts)} | {note[2]}")
        made, _ = asked(*flags, prompts=prompts)
    assert counts[0] > 3
    assert counts == [*range(counts[0], counts[0] - len(counts), -1)]


def test_a_number_of_frames_is_a_part_of_the_sound(asked, song):
    made, _ = asked("--audio", song, "--frames", "100")
    assert made.frames == 100


def test_the_frames_that_a_film_was_told_to_have_are_as_many_as_its_sound_lasts(asked, walk):
    soundfile.write("short.wav", drums()[: round(1.99 * RATE)], RATE)
    assert asked("--audio", "short.wav")[0].frames == 48 == asked("--audio", "short.wav", "--frames", "48")[0].frames
    _, err = walk("--audio", "short.wav", "--frames", "49", model=False, status=2)
    assert err[-1] == "walk: --frames 49 is more than short.wav lasts from there, 48 frames; give fewer"


def test_bars_of_three_are_noted_unless_they_are_asked_for(asked, walk, tmp_path):
    sound, *_ = beats.song(beats.HELD_OUT["waltz"], 100, RATE, seconds=16, seed=1)
    soundfile.write("waltz.wav", sound.samples, RATE)
    note = "note: it sounds like three beats in a bar; if it has, give --meter 3"
    assert note in asked("--audio", "waltz.wav")[1]
    assert note in walk("beats", "waltz.wav", prompts=(), model=False)[1]
    assert note not in asked("--audio", "waltz.wav", "--meter", "3")[1]
    folder = ["--audio", "waltz.wav", "--out", "told.mp4"]
    assert note in asked(*folder)[1]
    assert note not in asked(*folder, "--meter", "4")[1]
    assert note in asked(*folder)[1]


def test_whether_bars_are_of_three_is_heard_in_the_part_that_is_played(asked, tmp_path):
    four, three = (
        beats.song(style, 100, RATE, seconds=30, seed=1)[0].samples
        for style in (beats.TUNED["rock"], beats.HELD_OUT["waltz"])
    )
    soundfile.write("turns.wav", np.concatenate([four, three]), RATE)
    assert any("three beats" in line for line in asked("--audio", "turns.wav", "--start", "40", "--seconds", "16")[1])
    assert not any(
        "three beats" in line for line in asked("--audio", "turns.wav", "--start", "5", "--seconds", "16")[1]
    )


def test_lines_of_a_song_are_shown_when_they_are_sung(asked, song):
    Path("song.lrc").write_text(
        "[00:01.00]a red apple\n[00:03.00]a frog\n[00:04.00]\n[00:06.00]a whale\n[00:09.00]a cat\n"
    )
    made, _ = asked("--audio", song, "--start", "2", "--seconds", "6", "--style", "{} in oil", prompts=["song.lrc"])
    assert [(k.prompt, k.time, k.until) for k in made.keyframes] == [
        ("a red apple in oil", 0, None),
        ("a frog in oil", 1, 2),
        ("a whale in oil", 4, None),
    ]
    assert made.positions[24:49] == (1.0,) * 25


# loops


def test_a_loop_of_bars_is_a_whole_number_of_frames_and_closes_with_its_sound(walk, tmp_path):
    soundfile.write("song.wav", drums(bpm=112, beats=20, channels=2, lead=0.4), RATE)
    _, err = walk(
        "--audio", "song.wav", "--loop", "--bars", "4", "--bpm", "112", "--offset", "0.4", "--out", "film.mov"
    )
    (said,) = [line for line in err if "the loop of" in line]
    assert said == "note: 4 bars are 8.571 s; the loop of 206 frames plays 0.14 % slower"
    frames, _, channels, rate, seconds = told("film.mov")
    assert (frames, channels, rate) == (206, 2, RATE)
    assert seconds == pytest.approx(206 / 24, abs=1 / RATE)
    with av.open("film.mov") as film:
        heard = np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in film.decode(audio=0)]) / 2**31
    twice = np.abs(np.diff(np.concatenate([heard, heard]), axis=0)).max(axis=1)
    assert twice[len(heard) - 1] <= np.percentile(twice, 99)
    made = manifest.read_manifest(Path("film.walk")).walk
    steps = np.diff([*made.positions, 3.0])
    assert 0 < steps[-1] <= steps.max()


@pytest.mark.parametrize("lead", [0, 0.4])
@pytest.mark.parametrize(("fps", "percent"), [(24, "0.14 % slower"), (25, "0.13 % faster")])
def test_a_loop_beats_on_evenly_where_it_begins_again(tmp_path, lead, fps, percent):
    soundfile.write("song.wav", drums(bpm=112, beats=40, lead=lead), RATE)
    how = {"closed": True, "bars": 4, "bpm": Fraction(112), "offset": Fraction(str(lead))}
    loop = music.hear(Path("song.wav"), music.Request(Fraction(fps), **how), tmp_path)
    assert loop.notes[0].endswith(percent)
    assert abs(len(loop.sound.samples) - loop.seconds * RATE) <= 0.5
    assert np.diff([*loop.rhythm.beats, loop.seconds]) == pytest.approx(float(loop.seconds) / 16, abs=2e-4)
    twice = np.abs(np.tile(loop.sound.samples[:, 0], 2))
    for beat in (0, 4, 8, 12, 16, 20):  # a kick, and a moment before nothing yet
        at = round(float(loop.seconds) * beat / 16 * RATE)
        assert twice[at : at + RATE // 50].max() > 0.3
        assert at == 0 or twice[at - RATE // 40 : at - 40].max() < 0.03


def test_a_sound_of_exactly_so_many_bars_is_enough_for_them():
    soundfile.write("loop.wav", drums(beats=16), RATE)
    heard = music.hear(
        Path("loop.wav"), music.Request(Fraction(24), closed=True, bars=4, bpm=Fraction(120)), Path("film.walk")
    )
    assert (heard.seconds, len(heard.sound.samples), heard.notes) == (8, 8 * RATE, ())


@pytest.mark.parametrize("channels", [1, 2])
def test_a_bar_line_where_the_film_ends_is_no_bar_and_one_where_it_begins_is(channels, tmp_path):
    """Heard a millisecond too soon or too late, as beats are."""
    t = np.arange(4 * RATE) / RATE
    with_tone = np.column_stack([drums(beats=8)[:, 0], 0.3 * np.sin(6283 * t)])[:, :channels]
    soundfile.write("four.wav", with_tone, RATE)
    soundfile.write("twelve.wav", np.concatenate([with_tone] * 3), RATE)
    for name, part in (("four.wav", {}), ("twelve.wav", {"start": Fraction(4), "seconds": Fraction(4)})):
        rhythm = music.hear(Path(name), music.Request(Fraction(24), offset=Fraction(0), **part), tmp_path).rhythm
        assert (len(rhythm.beats), len(rhythm.bars)) == (8, 2)
        assert rhythm.beats[0] == pytest.approx(0, abs=0.01)
    heard = audio.Rhythm((1.9995, 2.5, 3.0, 3.5, 3.9991), (1.9995, 3.9991), ())
    assert music._within(heard, 2.0, 2.0) == audio.Rhythm((0.0, 0.5, 1.0, 1.5), (0.0,), ())


def test_the_user_knows_better_where_a_beat_is(tmp_path):
    """Hats between the beats are louder than what is on them."""
    soundfile.write("song.wav", drums(beats=24, lead=0.35), RATE)
    heard = music.hear(Path("song.wav"), music.Request(Fraction(24)), tmp_path).rhythm
    for start in (0, 4):
        how = {"start": Fraction(start), "offset": Fraction("0.6")}
        moved = music.hear(Path("song.wav"), music.Request(Fraction(24), **how), tmp_path).rhythm
        assert np.diff(moved.beats) == pytest.approx(np.median(np.diff(heard.beats)), abs=1e-3)
        assert (np.array(moved.bars) + start) % 2 == pytest.approx(0.6, abs=0.01)


# what is followed


def hits(hertz, times, seconds=8.0, rate=RATE, level=0.5):
    """A sound that is struck at these times: (n,)."""
    samples = np.zeros(round(seconds * rate))
    k = np.arange(rate // 6) / rate
    for time in times:
        start = round(time * rate)
        samples[start : start + len(k)] += (level * np.sin(2 * np.pi * hertz * k) * np.exp(-30 * k))[
            : len(samples) - start
        ]
    return samples


def ordered(**chosen):
    """(the steps of a film's prompts, of its noise, what was told), each step where it ends."""
    told = []
    listener = Listener()
    listener.say = told.append
    asked = order.read_order({"prompts": ABC, "audio": "song.wav", "out": "film.mp4"} | chosen, listener)
    steps = [np.diff(positions, prepend=0) for positions in (asked.walk.positions, asked.walk.noise)]
    return *steps, told


def at(steps, times, fps=24):
    return steps[[round(time * fps) for time in times]]


KICKS, HATS = np.arange(0.75, 8, 1), np.arange(1.25, 8, 1)


@pytest.fixture
def kicks_and_hats():
    """song.wav, and its hats.wav at another rate."""
    soundfile.write("song.wav", hits(60, KICKS) + hits(8000, HATS, level=0.2), RATE)
    soundfile.write("hats.wav", hits(8000, HATS, rate=48000, level=0.1), 48000)


@pytest.mark.usefixtures("kicks_and_hats")
@pytest.mark.parametrize(
    ("listen", "fast", "slow"), [("low", KICKS, HATS), ("high", HATS, KICKS), ("hats.wav", HATS, KICKS)]
)
def test_the_walk_moves_with_what_it_listens_to(listen, fast, slow):
    steps, _, _ = ordered(listen=listen)
    assert at(steps, fast).min() > 5 * at(steps, slow).max()
    steps, noise, _ = ordered(listen=listen, pace="even", pace_noise="energy", align="off")
    assert at(noise, fast).min() > 5 * at(noise, slow).max()
    assert steps[1:].max() < 1.5 * steps[1:].min()


def test_a_stem_is_in_the_time_of_its_song(song):
    """Of which the film plays from the first bar line after 1 s on."""
    shutil.copy(song, "song.wav")
    soundfile.write("stem.wav", hits(300, [0.5, 1.7, 2.8, 4.3, 5.2, 6.9]), RATE)
    chosen = {"start": Fraction(1), "bars": 2}
    steps, _, _ = ordered(listen="stem.wav", **chosen)
    assert len(steps) == 4 * 24
    assert (np.flatnonzero(steps[1:] > 2.5 * steps[:-1]) + 1)[1:].tolist() == [19, 55, 77], "0.8, 2.3 and 3.2 s"
    heard = [
        music.hear(Path("song.wav"), music.Request(Fraction(24), **chosen, listen=it), Path("heard"))
        for it in (None, "stem.wav")
    ]
    assert heard[0].rhythm.beats == heard[1].rhythm.beats
    assert (heard[0].rhythm.bars, heard[0].start) == (heard[1].rhythm.bars, heard[1].start)
    assert max(heard[1].rhythm.envelope) == 1


@pytest.mark.usefixtures("kicks_and_hats")
def test_after_its_end_a_stem_is_silent_which_is_said():
    soundfile.write("short.wav", hits(300, [0.5, 1.5], seconds=2.5), RATE)
    steps, _, told = ordered(listen="short.wav")
    assert "note: short.wav ends 5.5 s before the film does, and is silent from there on" in told
    assert at(steps, [1.5])[0] > 5 * steps[3 * 24 : 4 * 24].max()
    soundfile.write("nearly.wav", hits(300, [0.5, 1.5], seconds=7.97), RATE)
    for listen in ("nearly.wav", "hats.wav", "low"):
        assert not [line for line in ordered(listen=listen)[2] if line.startswith("note: ")]


@pytest.mark.usefixtures("kicks_and_hats")
def test_a_stem_that_is_as_long_as_another_song_is_noted():
    def notes(seconds):
        soundfile.write("stem.wav", hits(300, [0.5, 1.5], seconds=seconds), RATE)
        return [line for line in ordered(listen="stem.wav", seconds=Fraction(2))[2] if line.startswith("note: ")]

    for seconds in (2.5, 12):
        said = f"stem.wav lasts {seconds} s, and song.wav 8 s: it is followed as if both began together"
        assert notes(seconds) == [f"note: {said}"]
    assert notes(8.3) == ["note: stem.wav lasts 8.3 s, and song.wav 8 s: it is followed as if both began together"]
    assert notes(7.9) == notes(8.1) == []


@pytest.mark.usefixtures("kicks_and_hats")
def test_what_was_heard_of_each_is_kept_and_known_by_its_contents(monkeypatch):
    soundfile.write("other.wav", hits(300, HATS + 0.1), RATE)
    walks = {
        listen: ordered(**{"listen": listen} if listen else {})[0] for listen in ("", "low", "hats.wav", "other.wav")
    }
    asked = [
        hashlib.sha256(Path("song.wav").read_bytes()).hexdigest(),
        *["0", "None", "None", "False", "4", "None", "None", "None"],
    ]
    before = f"sound-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.json"  # as it always was
    kept = {path.name for path in Path("film.walk").glob("sound-*.json")}
    assert before in kept
    assert len(kept) == 4

    def fail(*_):
        raise AssertionError("it listened again")

    monkeypatch.setattr(audio, "listen", fail)
    monkeypatch.setattr(audio, "strength", fail)
    Path("hats.wav").rename("renamed.wav")
    for listen, steps in walks.items():
        again, _, _ = ordered(**{"listen": listen.replace("hats", "renamed")} if listen else {})
        assert (again == steps).all()


def test_what_was_heard_for_a_loop_at_one_rate_is_not_taken_for_another(tmp_path):
    soundfile.write("song.wav", drums(), RATE)
    for fps in map(Fraction, (24, 7)):
        heard = music.hear(Path("song.wav"), music.Request(fps, closed=True, seconds=Fraction("3.1")), tmp_path)
        assert heard.seconds == round(Fraction("3.1") * fps) / fps


@pytest.mark.usefixtures("kicks_and_hats")
def test_a_file_may_be_named_like_a_range():
    shutil.copy("hats.wav", "low")
    assert (ordered(listen="./low")[0] == ordered(listen="hats.wav")[0]).all()
    assert (ordered(listen="low")[0] != ordered(listen="./low")[0]).any()
    assert [order._without_folder(it) for it in ("low", "./low", "stems/hats.wav")] == ["low", "./low", "hats.wav"]


# what is kept


def test_a_sound_is_heard_once(walk, song, monkeypatch):
    walk("--audio", song, "--seconds", "2", "--out", "film.mp4")
    before = packets("film.mp4")

    def listen(*_):
        raise AssertionError("it listened again")

    monkeypatch.setattr(audio, "listen", listen)
    moved = shutil.copy(song, "elsewhere.wav")
    _, err = walk("--audio", moved, "--seconds", "2", "--out", "film.mp4")
    assert "48 of 48 frames are in film.walk already" in err
    assert packets("film.mp4") == before


def test_what_was_heard_is_heard_again_where_it_was_lost(walk, song):
    command = ["--audio", song, "--seconds", "2", "--fps", "6", "--out", "film.mp4"]
    walk(*command)
    before = Path("film.mp4").read_bytes()
    (kept,) = Path("film.walk").glob("sound-*.json")
    for damage in (None, "{", '{"rhythm": []}', "[" * 100_000):
        kept.unlink() if damage is None else kept.write_text(damage)
        Path("film.mp4").unlink()
        _, err = walk(*command)
        assert {"listening to song.wav", "12 of 12 frames are in film.walk already"} <= set(err)
        assert Path("film.mp4").read_bytes() == before


def test_a_film_that_was_cut_is_refused_before_anything_is_rendered(walk, song):
    walk("--audio", song, "--seconds", "2", "--out", "film.mp4")
    ffmpeg = [*program(), "-i", "film.mp4", "-t", "1", "-map_metadata", "0", "-c", "copy", "cut.mp4"]
    subprocess.run(ffmpeg, check=True)
    _, err = walk("replay", "cut.mp4", prompts=None, model=False, status=2)
    assert re.fullmatch(
        r"walk: cut\.mp4 has been cut since it was made: its sound lasts 1\.\d+ s, and its recipe is that of a film of 2 s; "
        "give the song that it was made with, as --audio",
        err[-1],
    )
    assert not Path("cut-again.walk").exists()


def test_how_far_it_reacts_can_be_not_at_all_where_a_film_eases(walk, song):
    walk("--audio", song, "--seconds", "1", "--ease", "--out", "film.mp4")
    walk("replay", "film.mp4", "--pace", "energy", "--react", "0", prompts=None, model=False)
    assert dict(replay.read_recipe("film-again.mp4").flags)["react"] == "0.0"


def test_a_broken_song_is_said_to_be_before_its_beats(walk, song):
    Path("half.wav").write_bytes(song.read_bytes()[: song.stat().st_size // 2])
    _, err = walk("beats", "half.wav", prompts=None, model=False)
    assert err[0] == "note: half.wav is damaged: parts of its sound cannot be read"


@pytest.mark.fresh
def test_a_film_with_music_is_made_again_from_itself_alone(walk, song):
    walk("--audio", song, "--start", "1", "--bars", "2", "--pace", "beat", "--out", "film.mov")
    out, _ = walk("replay", "film.mov", "--out", "again.mov", prompts=None, model=False)
    assert positions("again.walk") == positions("film.walk")
    frames = [
        {p.name: p.read_bytes() for p in Path(folder, "frames").iterdir()} for folder in ("film.walk", "again.walk")
    ]
    assert frames[0] == frames[1]
    assert told(out)[2:] == told("film.mov")[2:]


def test_a_film_that_follows_a_stem_is_made_again(walk, song, monkeypatch):
    shutil.copy(song, "song.wav")
    soundfile.write("stem.wav", hits(300, [1.3, 2.2, 2.9]), RATE)
    rest = ["--fps", "12", "--size", "32"]
    walk("--audio", "song.wav", "--listen", "stem.wav", "--start", "1", "--seconds", "2", *rest, "--out", "film.mp4")
    told, _ = walk("info", "film.mp4", prompts=None, model=False)
    (line,) = re.findall("^# walk (.*)", told, re.MULTILINE)
    assert "--listen stem.wav " in line
    Path("film-again.txt").write_text(told)
    walk(*shlex.split(line), "--out", "told.mp4", prompts=None, model=False)
    assert positions("told.walk") == positions("film.walk")

    Path("stem.wav").rename("moved.wav")  # no file that a film names is opened
    walk("replay", "film.mp4", "--out", "again.mp4", prompts=None, model=False)
    assert positions("again.walk") == positions("film.walk")
    refused = "walk: {} is followed in the time of the sound that {} was made with; give both, as --listen and --audio"
    for more, stem in (
        (["film.mp4", "--loop"], "stem.wav"),
        (["again.mp4", "--loop"], "stem.wav"),
        (["film.mp4", "--audio", "song.wav"], "stem.wav"),
        (["film.mp4", "--listen", "moved.wav"], "moved.wav"),
    ):
        _, err = walk("replay", *more, "--out", "no.mp4", prompts=None, model=False, status=2)
        assert err[-1] == refused.format(stem, more[0])
    both = ["--listen", "moved.wav", "--audio", "song.wav"]
    walk("replay", "film.mp4", *both, "--out", "both.mp4", prompts=None, model=False)
    assert positions("both.walk") == positions("film.walk")
    asked = []
    monkeypatch.setattr(commands, "film", lambda **chosen: asked.append(chosen.get("listen")) or "new.mp4")
    for more in (["--pace", "beat"], ["--listen", "mid"], []):
        walk("replay", "film.mp4", *more, prompts=None, model=False)
    assert asked == [None, "mid", "stem.wav"]


def test_a_range_is_followed_again_in_the_films_own_sound(walk, asked, song):
    rest = ["--audio", song, "--listen", "high", "--fps", "6", "--size", "32", "--align", "off"]
    walk(*rest, "--out", "film.mov")
    loop, _ = asked(*rest, "--loop", "--out", "loop.mov")
    again, _ = asked("replay", "film.mov", "--loop", "--out", "again.mov", prompts=None)
    assert again.positions == pytest.approx(loop.positions, abs=0.01)


def test_a_film_with_music_at_another_rate_keeps_its_length(walk, song):
    walk("--audio", song, "--start", "1", "--seconds", "2", "--out", "film.mp4")
    out, _ = walk("replay", "film.mp4", "--fps", "12", "--out", "again.mp4", prompts=None, model=False)
    assert told(out)[:2] == (24, 12)


@pytest.mark.parametrize(
    "how",
    [["--offset", "0.5"], ["--offset", "0.5", "--start", "1"], ["--offset", "1.5", "--start", "1"], ["--bars", "2"]],
    ids=" ".join,
)
def test_a_film_at_another_rate_keeps_the_bars_that_it_was_told(walk, asked, song, how):
    rest = ["--align", "bar", "--pace", "even"]
    walk("--audio", song, "--bpm", "120", "--fps", "6", *how, *rest, "--out", "film.mp4")
    after, _ = asked("replay", "film.mp4", "--fps", "12", "--out", "again.mp4", prompts=None)
    before = manifest.read_manifest(Path("film.walk")).walk
    keys, again = ([key / float(made.fps) for key in made.landmarks()[0]] for made in (before, after))
    assert again[:-1] == pytest.approx(keys[:-1], abs=1 / 12), "the last one is at the end"


def test_bars_that_are_counted_from_before_a_film_are_asked_for(walk, asked, song):
    walk("--audio", song, "--start", "1", "--offset", "0.5", "--fps", "6", "--out", "film.mp4")
    _, err = walk("replay", "film.mp4", "--fps", "12", "--out", "no.mp4", prompts=None, model=False, status=2)
    assert err[-1] == (
        "walk: film.mp4 moves to bars that are counted from before it begins; give where in it a bar begins, as --offset"
    )
    asked("replay", "film.mp4", "--fps", "12", "--offset", "1.5", "--out", "new.mp4", prompts=None)


# a preview


def test_a_preview_shows_the_sound_below_the_speed(walk, song):
    from PIL import Image

    without, _ = walk("preview", "--seconds", "4", "--out", "a.mp4")
    with_sound, _ = walk("preview", "--seconds", "4", "--audio", song, "--out", "b.mp4")
    assert Image.open(with_sound).height > Image.open(without).height + 100


# what is refused


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--audio", "no.mp3"], "no.mp3 cannot be read (No such file or directory)"),
        (["--audio", "~nosuchuser/a.wav"], "~nosuchuser/a.wav cannot be read (No such file or directory)"),
        (["--audio", "silent.wav", "--pace", "beat"], "no beats are heard in silent.wav, and --pace beat moves on them; give --bpm, or another --pace"),
        (["--audio", "silent.wav", "--bars", "2"], "no beats are heard in silent.wav there, and so no bars; give --bpm, or --seconds for --bars"),
        (["--audio", "text.mp3"], "text.mp3 is not a sound that ffmpeg can read"),
        (["--audio", "song.wav", "--start", "20"], "start 20 s is past the end; song.wav lasts 8 s"),
        (["--audio", "song.wav", "--start", "20", "--loop"], "start 20 s is past the end; song.wav lasts 8 s"),
        (["--audio", "song.wav", "--frames", "100", "--bars", "4"], "--frames 100 does not agree with --bars 4, which lasts 192 frames; drop --frames"),
        (["--audio", "song.wav", "--frames", "10", "--seconds", "3"], "--frames 10 does not agree with --seconds 3, which lasts 72 frames; drop --frames"),
        (["--audio", "song.wav", "--offset", "8.5"], "--offset 8.5 s is past the end; song.wav lasts 8 s"),
        (["--audio", "song.wav", "--seconds", "4", "--bpm", "120", "--offset", "1:00"], "--offset 60 s is past the end; song.wav lasts 8 s"),
        (["--audio", "song.wav", "--bars", "9"], "song.wav has 4 whole bars there, and --bars asks for 9; give --bars 4"),
        (["--audio", "song.wav", "--bars", "2", "--seconds", "4"], "--seconds and --bars were both given; give one of them"),
        (["--audio", "song.wav", "--seconds", "0"], "--seconds 0 is not valid; give seconds (12.5) or minutes:seconds (1:02.5), over 0"),
        (["--audio", "song.wav", "--start", "-1"], "--start -1 is not valid; give seconds (12.5) or minutes:seconds (1:02.5)"),
        (["--audio", "song.wav", "--react", "2"], "--react 2 is not valid; give a number from 0 to 1"),
        (["--audio", "song.wav", "--pace", "fast"], "--pace fast is not valid; give even, energy, beat or bar"),
        (["--audio", "song.wav", "--pace", "even", "--react", "0.4"], "--react says how far the pace departs from even; give --pace energy, beat or bar, too"),
        (["--audio", "song.wav", "--ease", "--pace", "beat"], "--ease and --pace were both given; give one of them"),
        (["--audio", "song.wav", "--bpm", "3000"], "--bpm 3000 is not valid; give a number from 20 to 400"),
        (["--audio", "song.wav", "--bpm", "90", "--beats", "b.txt"], "--bpm and --beats were both given; give one of them"),
        (["--beats", "numbered.txt", "--frames", "6", "--pace", "beat"], "none of the beats in numbered.txt comes in the 0.25 s of the film, and --pace beat moves on them; make it longer, or give another --pace"),
        (["--audio", "song.wav", "--beats", "numbered.txt", "--start", "4", "--pace-noise", "bar"], "none of the beats in numbered.txt comes in the 4 s of the film, and --pace-noise bar moves on them; give another part, or another --pace-noise"),
        (["--audio", "song.wav", "--beats", "numbered.txt", "--start", "4", "--bars", "1"], "none of the beats in numbered.txt comes in the part, and so no bars; give --seconds for --bars"),
        (["--audio", "silent.wav", "--bpm", "20", "--bars", "1"], "silent.wav has 0 whole bars there, and --bars asks for 1; give --seconds for --bars"),
        (["--beats", "numbered.txt", "--meter", "3"], "numbered.txt says itself which beats begin a bar; leave out --meter"),
        *[
            ([*given, "--speed", "constant"], "--speed constant says when keyframes come, and so does a sound or a tempo; give one of them")
            for given in (["--audio", "song.wav"], ["--bpm", "120"], ["--beats", "numbered.txt"])
        ],
        (["--pace", "energy"], "--pace energy follows a sound; give --audio"),
        (["--pace", "beat"], "--pace beat needs beats; give --audio, --bpm or --beats"),
        (["--start", "3"], "--start says where in a sound to begin; give --audio, too"),
        (["--meter", "3"], "--meter needs a sound or a tempo; give --audio, or --bpm"),
        (["--bpm", "90", "--meter", "65"], "--meter 65 is not valid; give a whole number up to 64"),
        (["--pulse", "0.5"], "--pulse needs a sound or a tempo; give --audio, or --bpm"),
        (["--bpm", "90", "--start", "3"], "--start says where in a sound to begin; give --audio, too"),
        (["--align", "bar"], "--align needs a sound or a tempo; give --audio, or --bpm"),
        (["--listen", "low"], "--listen says what of a sound is followed; give --audio, too"),
        (["--bpm", "90", "--listen", "drums.wav"], "--listen says what of a sound is followed; give --audio, too"),
        (["--audio", "song.wav", "--listen", "low", "--pace", "beat"], "--listen says whose energy is followed; give --pace energy, --pace-noise energy or --pulse, too"),
        (["--audio", "song.wav", "--listen", "low", "--ease"], "--listen says whose energy is followed; give --pace energy, --pace-noise energy or --pulse, too"),
        (["--audio", "song.wav", "--listen", "bass"], "bass cannot be read (No such file or directory); give a sound file, or low, mid or high"),
        (["--audio", "song.wav", "--listen", "~nosuchuser/a.wav"], "~nosuchuser/a.wav cannot be read (No such file or directory); give a sound file, or low, mid or high"),
        (["--audio", "song.wav", "--listen", "."], ". cannot be read (Is a directory); give a sound file, or low, mid or high"),
        (["--audio", "song.wav", "--listen", "text.mp3"], "text.mp3 is not a sound that ffmpeg can read"),
        (["--audio", "song.wav", "--start", "4", "--listen", "short.wav"], "there is nothing to follow in short.wav from 4 s to 8 s, which the film plays; give another --listen"),
        (["--audio", "song.wav", "--start", "1", "--seconds", "2", "--listen", "silent.wav"], "there is nothing to follow in silent.wav from 1 s to 3 s, which the film plays; give another --listen"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_refused_before_a_model_is_looked_for(walk, song, flags, message):
    shutil.copy(song, "song.wav")
    Path("text.mp3").write_text("la la la")
    Path("numbered.txt").write_text("0.5\t1\n1.0\t2\n1.5\t1\n")
    soundfile.write("short.wav", drums(beats=2), RATE)
    soundfile.write("silent.wav", np.zeros(8 * RATE), RATE)
    before = set(Path().iterdir())
    out, err = walk(*flags, model=False, status=2)
    assert out == ""
    assert err[-1] == f"walk: {message}"
    assert "toybox" not in "".join(err)
    assert set(Path().iterdir()) == before


@pytest.fixture
def pipe(tmp_path):
    """Makes one with this in it, once, as <(...) does; what it returns is its name."""
    if not hasattr(os, "mkfifo"):
        pytest.skip("there are no pipes with names")
    writers = []

    def fill(data):
        with contextlib.suppress(BrokenPipeError):
            Path("pipe").write_bytes(data)

    def filled(data):
        os.mkfifo("pipe")
        writers.append(threading.Thread(target=fill, args=(data,)))
        writers[-1].start()
        return "pipe"

    yield filled
    for writer in writers:
        while writer.is_alive():  # where nobody has read it
            os.close(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK))
            writer.join(0.05)


def test_beats_come_through_a_pipe(walk, pipe):
    walk("--beats", pipe(b"0.5\n1.0\n1.5\n2.0\n"), "--meter", "3", "--out", "film.mp4")
    assert len(positions("film.walk")) == 48


@pytest.mark.parametrize("flags", [["--audio"], ["--audio", "song.wav", "--listen"], ["beats"], ["check"]], ids=str)
def test_a_sound_or_a_film_that_cannot_be_read_twice_is_refused(walk, song, pipe, flags):
    shutil.copy(song, "song.wav")
    prompts = {} if flags[0] == "--audio" else {"prompts": None}
    _, err = walk(*flags, pipe(Path("song.wav").read_bytes()), model=False, status=2, **prompts)
    assert err[-1] == "walk: pipe is a pipe, and would be read more than once; give a file"


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (["a cat", "a dog | beat=3"], "keyframe 2 ('a dog') is at beat 3, but there are none without a sound or a tempo; give --audio or --bpm"),
        (["a cat | until=3", "a dog"], "prompt 1: until= says how long to rest, but not from when; add time=, beat=, bar= or frame="),
        (["a cat | frame=3 | time=1", "a dog"], "prompt 1: time= and frame= are both given; keep one"),
        (["a cat | frame=3", "a dog | frame=3"], "prompt 2: frame 3 is not after 3 (prompt 1); frames must increase from keyframe to keyframe"),
        (["a cat | frame=1.5", "a dog"], "prompt 1: frame '1.5' is not possible; they are whole numbers, counted from 0"),
        (["a cat | beat=3 | bar=1", "a dog"], "prompt 1: beat= and bar= are both given; keep one"),
        (["a cat | beat=0", "a dog"], "prompt 1: beat '0' is not possible; they are counted from 1, and 2.5 is half-way on"),
        (["a cat | bar=3", "a dog | bar=2"], "prompt 2: bar 2 is not after 3 (prompt 1); bars must increase from keyframe to keyframe"),
        (["a cat | time=3 | until=2", "a dog"], "prompt 1: until 2 s is not after its time 3 s"),
        (["a cat | pace=beat", "a dog"], "keyframe 1 ('a cat') has pace=beat, which needs a sound or a tempo; give --audio, or --bpm"),
        (["a cat", "a dog | pace=energy"], "keyframe 2 ('a dog') has pace=energy, which follows a sound; give --audio"),
        (["a cat | pulse=.5", "a dog"], "keyframe 1 ('a cat') has pulse=0.5, which needs a sound or a tempo; give --audio, or --bpm"),
        (["a cat | pace=fast", "a dog"], "prompt 1: pace 'fast' is unknown; write even, energy, beat or bar"),
        (["a cat | pulse=2", "a dog"], "prompt 1: pulse '2' is not possible; write a number from 0 to 1"),
        (["a cat | pulse=", "a dog"], "prompt 1: pulse '' is not possible; write a number from 0 to 1"),
    ],
    ids=str,
)  # fmt: skip
def test_musical_settings_that_cannot_be_are_refused(walk, prompts, message):
    _, err = walk(prompts=prompts, model=False, status=2)
    assert err[-1] == f"walk: {message}"


def test_a_prompt_moves_on_no_beats_where_none_are_heard(walk):
    soundfile.write("silent.wav", np.zeros(2 * RATE), RATE)
    _, err = walk("--audio", "silent.wav", prompts=["a cat | pace=bar", "a dog"], model=False, status=2)
    assert err[-1].endswith(
        "no beats are heard in silent.wav, and pace=bar moves on them; give --bpm, or another pace="
    )


def test_a_recipe_with_positions_elsewhere_is_refused():
    from walk import Settings, recipe

    made = recipe.compose(read_prompts(ABC), {"frames": 3, "fps": 24}, Settings(), recipe.Positions((0.0, 1.0, 2.0)))
    data = json.loads(recipe.to_text(made))
    assert recipe.from_text(json.dumps(data), "f.mp4").positions == recipe.Positions((0.0, 1.0, 2.0))
    pulsing = json.dumps({**data, "positions": [[0, 1, 2], [], [0, 0.5, 1]]})
    assert recipe.from_text(pulsing, "f.mp4").positions == recipe.Positions((0.0, 1.0, 2.0), (), (0.0, 0.5, 1.0))
    hostile = (
        [0, 1],
        [[0, 1], []],
        [[0, 1, 3], []],
        [[0, 1, -1], []],
        [[0, 1, "2"], []],
        [[0, 1, 2], [1]],
        "x",
        [[0, 1, True], []],
        [[0, 1, 1e999], []],
        [[0, 1, 2], [], [0, 1]],
        [[0, 1, 2], [], [0, 1, 1.5]],
        [[0, 1, 2], [], [], []],
    )
    for wrong in hostile:
        with pytest.raises(Error, match="positions are not places"):
            recipe.from_text(json.dumps({**data, "positions": wrong}), "f.mp4")
    thin = recipe.from_text(json.dumps({**data, "rendered": [0, 2]}), "f.mp4").positions
    assert thin == recipe.Positions((0.0, 1.0, 2.0), rendered=(0, 2))
    for wrong in ("x", [0, 3], [1, 2], [0, 2, 1], [0, 0, 2], [-1, 0], [0, True], [0, 1.0], [[0]], {"0": 2}):
        with pytest.raises(Error, match="rendered are not frames of it"):
            recipe.from_text(json.dumps({**data, "rendered": wrong}), "f.mp4")
    loop = {**data, "flags": data["flags"] | {"loop": "True"}, "positions": [[0, 1, 2.5], []]}
    assert recipe.from_text(json.dumps(loop), "f.mp4").positions == recipe.Positions((0.0, 1.0, 2.5))
    with pytest.raises(Error, match="positions are not places"):  # where it begins again
        recipe.from_text(json.dumps({**loop, "positions": [[0, 1, 3], []]}), "f.mp4")
    del data["flags"]["fps"]
    with pytest.raises(Error, match="positions are not places"):
        recipe.from_text(json.dumps(data), "f.mp4")


# What has no room for it, and what is not shown


@pytest.mark.parametrize(("out", "fps"), [("film.gif", 25), ("film/", 24)])
def test_a_silent_loop_is_timed_to_a_song(walk, song, out, fps):
    """As VJs export them: the pictures move to the sound, which is left to others."""
    _, err = walk("--audio", song, "--loop", "--bars", "2", "--pace", "beat", "--size", "64", "--out", out)
    assert (
        f"note: {'.gif' if fps == 25 else 'a folder'} has no sound: the film moves to song.wav without playing it"
        in err
    )
    made = manifest.read_manifest(Path("film.walk")).walk
    assert (made.frames, made.fps) == (4 * fps, fps), "two bars of two seconds"
    steps = np.diff(made.positions)
    assert max(steps) > 5 * np.median(steps), "it kicks"


def test_a_silent_gif_is_made_again_without_the_song(walk, song):
    shutil.copy(song, "song.wav")
    how = ["--loop", "--bars", "2", "--pace", "beat", "--fps", "10", "--size", "64"]
    walk("--audio", "song.wav", *how, "--out", "film.gif")
    film = Path("film.gif").read_bytes()
    told, _ = walk("info", "film.gif", prompts=None, model=False)
    Path("film-again.txt").write_text(told)
    (line,) = re.findall("^# walk (.*)", told, re.MULTILINE)
    walk(*shlex.split(line), "--out", "told.gif", prompts=None, model=False)
    assert Path("told.gif").read_bytes() == film

    Path("song.wav").unlink()
    out, _ = walk("replay", "film.gif", prompts=None, model=False)
    assert out == "film-again.gif"
    with Image.open(out) as again, Image.open("film.gif") as first:
        assert again.n_frames == first.n_frames
        assert again.tobytes() == first.tobytes()
    _, err = walk("replay", "film.gif", "--fps", "20", prompts=None, model=False, status=2)
    assert err[-1] == "walk: film.gif has no sound to move to; give the one that it was made with as --audio"


def test_lines_come_when_they_are_sung_though_the_film_begins_with_a_bar(asked, song):
    Path("song.lrc").write_text("[00:00.00]a fox\n[00:03.00]an owl\n[00:05.50]a boat\n")
    made, _ = asked("--audio", song, "--start", "1", "--bars", "2", prompts=["song.lrc"])  # from 2 s on
    assert arrivals(made) == pytest.approx([0, 1, 3.5], abs=1 / 24)


def test_lines_that_come_after_the_end_are_counted(walk, asked, song):
    Path("song.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\na fox\n\n2\n00:00:02,000 --> 00:00:03,000\nan owl\n\n"
        "3\n00:00:08,000 --> 00:00:09,000\na boat\n"
    )
    _, err = asked("--audio", song, prompts=["song.srt"])
    assert "note: 1 of 3 lines comes after the film's end, and is not shown" in err
    _, err = walk("--audio", song, "--start", "3", "--seconds", "4", "--out", "b.mp4", prompts=["song.srt"], status=2)
    assert err[-1] == (
        "walk: of 3 lines 1 comes in the 4 s of song.wav that the film plays, and a walk needs two; give another "
        "--start, or a longer part"
    )


def test_a_song_without_its_sound_is_as_long_as_its_lines_or_as_flags_say(asked):
    Path("song.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\na fox\n\n2\n00:00:02,000 --> 00:00:04,000\nan owl\n\n"
        "3\n00:00:06,000 --> 00:00:09,000\na boat\n"
    )
    whole, _ = asked(prompts=["song.srt"])
    assert arrivals(whole) == [0, 2, 6]
    assert float(whole.frames / whole.fps) == pytest.approx(9, abs=1 / 12)
    part, err = asked("--seconds", "3", prompts=["song.srt"])
    assert arrivals(part) == [0, 2]
    assert part.frames == 3 * part.fps
    assert "note: 1 of 3 lines comes after the film's end, and is not shown" in err


def test_of_lines_that_are_refused_nothing_is_left(asked, walk, song):
    Path("song.lrc").write_text("[01:00.00]a fox\n[01:03.00]an owl\n")
    walk("--audio", song, "--out", "film.mp4", prompts=["song.lrc"], model=False, status=2)
    assert [path.name for path in Path().iterdir()] == ["song.lrc"]
    asked("--audio", song, "--out", "film.mp4")  # which leaves what was heard
    walk("--audio", song, "--out", "film.mp4", prompts=["song.lrc"], model=False, status=2)
    assert len(list(Path("film.walk").iterdir())) == 1


def test_subtitles_in_brackets_are_said_to_be_left_out(asked, song):
    def note(*more):
        said = ["a fox", "an owl", *more]
        cues = (f"00:0{i}.000 --> 00:0{i}.900\n{words}\n" for i, words in enumerate(said, 1))
        Path("song.vtt").write_text("\n".join(["WEBVTT\n", *cues]))
        made, err = asked("--audio", song, prompts=["song.vtt"])
        assert [(k.prompt, k.time) for k in made.keyframes] == [("a fox", 1), ("an owl", 2)]
        return [line for line in err if line.startswith("note:")]

    assert note() == []
    assert note("(Chorus)") == ["note: 1 line stands in brackets in song.vtt, '(Chorus)', and is left out"]
    said = "note: 2 lines stand in brackets in song.vtt, such as '[MUSIC PLAYING]', and are left out"
    assert note("[MUSIC PLAYING]", "(Chorus)") == [said]


def test_what_is_louder_than_a_film_can_be_is_counted(asked):
    loud = drums()
    loud[1000:1213] = 1.53 * np.sign(loud[1000:1213])
    for subtype, notes in (
        (
            "FLOAT",
            [
                "note: loud.wav is louder than full scale (peak 1.53): 213 samples will be clipped; lower its level first"
            ],
        ),
        ("PCM_16", []),  # which has cut them off already
    ):
        soundfile.write("loud.wav", loud, RATE, subtype=subtype)
        assert [line for line in asked("--audio", "loud.wav")[1] if line.startswith("note:")] == notes
    soundfile.write("loud.wav", drums() / 0.7, RATE, subtype="FLOAT")  # as loud as can be
    assert not [line for line in asked("--audio", "loud.wav")[1] if line.startswith("note:")]


def test_a_command_that_names_files_without_their_folders_says_so(walk, song, tmp_path):
    stems = tmp_path / "stems"
    stems.mkdir()
    soundfile.write(stems / "drums.wav", drums(), RATE)
    for listen, told in (
        (stems / "drums.wav", "run this beside song.wav and drums.wav, or write their folders, too"),
        ("low", "run this beside song.wav, or write its folder, too"),
    ):
        walk("--audio", song, "--seconds", "1", "--fps", "6", "--listen", listen, "--out", "film.mp4")
        assert (
            walk("info", "film.mp4", prompts=(), model=False)[0].splitlines()[2]
            == f"# a film carries no folders: {told}"
        )
    walk("--frames", "4", "--out", "film.mp4")
    assert "folder" not in walk("info", "film.mp4", prompts=(), model=False)[0]


def test_in_a_loop_the_last_line_leaves_time_to_become_the_first(asked, song):
    Path("song.srt").write_text(
        "1\n00:00:00,000 --> 00:00:01,000\na fox\n\n2\n00:00:03,000 --> 00:00:09,000\nan owl\n\n"
        "3\n00:00:12,000 --> 00:00:13,000\na boat\n"
    )
    made, _ = asked("--audio", song, prompts=["song.srt"])
    assert made.positions[72:] == (1.0,) * 120
    made, _ = asked("--audio", song, "--loop", prompts=["song.srt"])
    assert [frame for frame, position in enumerate(made.positions) if position == 1] == [*range(72, 169)]


@pytest.mark.watched
def test_a_film_that_mostly_stands_still_says_so(walk, song):
    prompts = ["a red apple", "a green frog | bar=2"]
    _, err = walk("--audio", song, "--fps", "12", "--out", "film.mp4", prompts=prompts)
    (note,) = [line for line in err if "stands still" in line]
    assert re.fullmatch(
        r"note: the film stands still for 7\d% of its length, longest from 0:02\.\d to 0:08\.\d, after the last keyframe; "
        "one without a time would come at the end; with --pulse 0.5 it pulses meanwhile",
        note,
    )
    assert err.index(note) < err.index("loading the model")
    _, err = walk("preview", "--audio", song, "--fps", "12", "--out", "film.mp4", prompts=prompts)
    assert note in err
    assert not [line for line in err if "times the usual" in line]


def test_a_film_that_stands_still_at_its_end_says_so(asked):
    def told(*flags, last="an owl | bar=4"):
        made, _ = asked("--bpm", "120", "--bars", "5", *flags, prompts=["a fox", "a frog | bar=2", last])
        return [note for note in outlook.surprises(made, [2.0] * ("bar" in flags)) if "stands still" in note]

    note = "the film stands still from 0:06.0 to its end at 0:10.0, after the last keyframe; one without a time would come at"
    assert told() == told("--pace", "bar") == [f"{note} the end"]
    assert told("--loop") == told(last="an owl | bar=4 | until=bar=6") == told(last="an owl | bar=5.5") == []


@pytest.mark.watched
def test_a_rest_between_beats_is_no_doubled_frame_and_one_on_the_way_is(walk, song, monkeypatch):
    """Both are shown like the frames before them: 26 comes two after a beat, 35 is the last before one."""
    pictures = check._pictures

    def doubled(*given):
        shown = None
        for index, picture in enumerate(pictures(*given)):
            shown = shown if index in (26, 35) else picture
            yield shown

    monkeypatch.setattr(check, "_pictures", doubled)
    flags = ["--audio", song, "--seconds", "2", "--bpm", "120", "--offset", "0", "--pace", "beat", "--align", "off"]
    _, err = walk(*flags, "--out", "film.mp4", prompts=[*ABC, "an owl", "a castle"])
    told, _ = walk("check", "film.mp4", prompts=(), model=False, status=1)
    again = "0:01.458  the frame repeats the one before"
    assert [line for line in err if "repeats" in line] == [f"note: {again}"]
    assert [line for line in told.splitlines() if "repeats" in line] == [again]


def test_a_film_to_a_tempo_stays_as_long_as_it_was_asked_to_be_when_it_is_replayed_otherwise(walk):
    walk("--frames", "20", "--bpm", "120", "--pace", "beat", "--out", "a.mp4")
    walk("replay", "a.mp4", "--react", "0.5", "--out", "b.mp4", prompts=())
    assert len(probe.timestamps(Path("b.mp4"))[0]) == 20


def test_beats_in_samples_instead_of_seconds_are_refused_at_once(walk):
    Path("beats.txt").write_text("".join(f"{22050 * i}\n" for i in range(1, 480)))
    _, err = walk("--beats", "beats.txt", "--pace", "beat", model=False, status=2)
    assert err[-1] == "walk: 253486800 frames are too many; the limit is 1000000"


def test_a_film_that_is_made_again_as_a_gif_keeps_its_tempo(walk):
    flags = ["--bpm", "120", "--bars", "1", "--loop", "--pace", "beat", "--fps", "12", "--size", "64"]
    walk(*flags, "--out", "film.mp4")
    walk("replay", "film.mp4", "--out", "film.gif", prompts=None)
    times, *_ = probe.timestamps(Path("film.gif"))
    assert len(times) * Fraction(2, 25) == 2, "two seconds are a bar, at 12.5 frames a second as at 12"
    told, _ = walk("info", "film.gif", prompts=None, model=False)
    assert "--fps 25/2" in told


def test_in_a_gif_keyframes_come_when_they_are_asked_to():
    """Which cannot show 24 frames a second: at 25, they came 4 % too soon."""
    chosen = {"prompts": ["a | time=0", "b | time=2", "c | time=2.52"], "out": "film.gif"}
    walk = order.read_order(chosen, Listener()).walk
    assert walk.seconds == Fraction(64, 25)
    assert [index / walk.fps for index in walk.landmarks()[0]] == [0, 2, Fraction(63, 25)]


def test_a_film_to_a_file_of_beats_is_not_moved_without_it(walk):
    Path("beats.txt").write_text("".join(f"{i / 2}\n" for i in range(5)))
    walk("--beats", "beats.txt", "--fps", "8", "--size", "64", "--out", "film.mp4")
    walk("replay", "film.mp4", "--out", "again.mp4", prompts=None, model=False)
    assert (
        manifest.read_manifest(Path("again.walk")).walk.positions
        == manifest.read_manifest(Path("film.walk")).walk.positions
    )
    _, err = walk("replay", "film.mp4", "--fps", "9", prompts=None, model=False, status=2)
    said = "moves to the beats in beats.txt, which it does not carry; give that file as --beats"
    assert err[-1] == f"walk: film.mp4 {said}"
    _, err = walk("replay", "again.mp4", "--fps", "9", prompts=None, model=False, status=2)
    assert err[-1] == f"walk: again.mp4 {said}"
    walk("replay", "film.mp4", "--fps", "9", "--beats", "beats.txt", prompts=None, model=False)


def test_bars_of_a_tempo_begin_at_its_first_bar_line():
    heard = music.tempo(music.Request(Fraction(24), bars=2, bpm=Fraction(120), offset=Fraction(3, 2)))
    assert (heard.start, heard.seconds) == (Fraction(3, 2), 4)
    assert heard.rhythm.bars == (0, 2)


@pytest.mark.usefixtures("kicks_and_hats")
def test_a_stem_that_is_damaged_is_told_of():
    soundfile.write("stem.flac", hits(300, [0.5, 1.5, 2.5, 3.5]), RATE)
    Path("stem.flac").write_bytes(Path("stem.flac").read_bytes()[:-1000])
    _, _, told = ordered(listen="stem.flac", seconds=Fraction(2))
    assert any("stem.flac breaks off" in line or "stem.flac is damaged" in line for line in told)
