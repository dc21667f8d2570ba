"""walk part: some of a film's frames, which are the film's own, and the sound that they have in it."""

from pathlib import Path

import numpy as np
import pytest
import tiny
from scipy.io import wavfile

from walk import cli, manifest, probe, run
from walk.sounds import read_sound

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched")

PROMPTS = ["a red apple", "a green frog", "an owl", "a fox"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.stable_diffusion(tmp_path_factory.mktemp("part") / "model")


@pytest.fixture
def walk(model, tmp_path, monkeypatch, capsys):
    """(stdout, stderr) of a command that ends with this status."""
    monkeypatch.chdir(tmp_path)

    def of(*arguments, prompts=PROMPTS, status=0, out="film.mp4"):
        cheap = ["--model", str(model), "--steps", "1", "--width", "32", "--height", "32", "--size", "32"]
        assert cli.main([*map(str, arguments), "--prompts", *prompts, *cheap, "--out", out]) == status
        return capsys.readouterr()

    return of


def finished():
    return {path.name: path.read_bytes() for path in Path("film.walk/frames").iterdir()}


@pytest.mark.parametrize(
    ("flags", "prompts"),
    [
        ([], PROMPTS),
        (["--loop"], PROMPTS),
        (["--speed", "path"], PROMPTS),
        (["--speed", "constant"], PROMPTS),
        (["--bpm", "120"], [*PROMPTS[:3], "a fox | pulse=0.5 | pace=bar", "a boat"]),
    ],
)
def test_a_part_has_the_very_frames_of_the_film_and_makes_few_others(walk, flags, prompts):
    command = [*flags, "--seconds", "8", "--fps", "6"]
    out, _ = walk("part", "--from", "1.5", "--to", "0:04", *command, prompts=prompts)
    assert out == "film.part.mp4\n"
    assert len(probe.timestamps(Path("film.part.mp4")).times) == 15
    before = finished()
    walk(*command, prompts=prompts)
    made = manifest.read_manifest(Path("film.walk"))
    own = run.by_index(Path("film.walk"), made.walk, made.settings)
    names = [own[index].name for index in range(made.walk.frames)]
    assert set(names[9:24]) <= before.keys()
    assert before.items() <= finished().items()
    assert len(before) < 0.75 * len(finished())


def test_a_part_of_a_finished_film_renders_nothing(walk):
    walk("--frames", "25")
    before = finished()
    walk("part", "--from", "frame=10", "--frames", "25")
    assert finished() == before
    assert len(probe.timestamps(Path("film.part.mp4")).times) == 15
    _, err = walk("part", "--to", "frame=1", "--frames", "25")  # a keyframe alone
    assert len(probe.timestamps(Path("film.part.mp4")).times) == 1
    assert "of them 1 frame, from 0 s to 0.04 s" in err


def test_that_a_parts_frames_are_in_another_folder_is_said_before_they_are_rendered(walk):
    walk("--frames", "25")
    _, err = walk("part", "--from", "frame=10", "--frames", "25", out="teaser.mp4")
    assert "note: film.walk has these frames; --run film.walk uses them" in err.splitlines()
    walk("part", "--from", "frame=10", "--frames", "25", "--run", "film.walk", out="other.mp4")
    assert Path("other.part.mp4").read_bytes() == Path("teaser.part.mp4").read_bytes()


def test_a_part_between_bars_plays_what_the_film_plays_there(walk):
    seconds = np.arange(8 * 8000) / 8000
    rising = np.sin(2 * np.pi * (200 * seconds + 40 * seconds**2)).astype(np.float32) / 2
    wavfile.write("song.wav", 8000, rising)
    walk(
        "part",
        "--from",
        "bar=2",
        "--to",
        "bar=3.5",
        "--audio",
        "song.wav",
        "--bpm",
        "120",
        "--offset",
        "0",
        "--fps",
        "6",
    )
    assert len(probe.timestamps(Path("film.part.mp4")).times) == 18
    heard = read_sound(Path("film.part.mp4"))
    assert heard.seconds == pytest.approx(3, abs=0.05)
    played = np.interp(np.arange(2, 4.9, 1 / heard.rate), seconds, rising)
    assert np.corrcoef(played, heard.samples[: len(played), 0])[0, 1] > 0.9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "give --from, --to or both, such as --from bar=9 --to bar=17; without them, walk makes the whole film"),
        (["--from", "bar=2"], "--from bar=2 needs a sound or a tempo; give --audio, --bpm or --beats, or a time"),
        (["--from", "x=2"], "--from x=2 is not valid; give a time, such as 1:02.5, or bar=9, beat=32 or frame=48"),
        (["--from", "5"], "--from 0:05 is after the film's end; it lasts 2 s, 48 frames"),
        (["--from", "2"], "the film's end, 2 s, is not after --from 0:02; give a later --to, or an earlier --from"),
        (["--from", "1", "--to", "0.5"], "--to 0:00.5 is not after --from 0:01; give a later --to, or an earlier --from"),
        (["--from", "frame=50"], "--from frame=50 (0:02.08) is after the film's end; it lasts 2 s, 48 frames"),
        (["--bpm", "120", "--from", "beat=3", "--to", "beat=2"], "--to beat=2 (0:00.5) is not after --from beat=3 (0:01); give a later --to, or an earlier --from"),
        (["--bpm", "120", "--to", "bar=9"], "--to is at bar 9, but the film has 1 bar"),
    ],
)  # fmt: skip
def test_a_part_that_the_film_does_not_have_is_refused(walk, flags, message):
    _, err = walk("part", *flags, "--seconds", "2", status=2)
    assert err.splitlines()[-1] == f"walk: {message}"
    assert not list(Path().iterdir())


def test_a_part_takes_the_place_of_no_film(walk):
    Path("film.part.mp4").write_bytes(b"mine")
    _, err = walk("part", "--to", "1", "--seconds", "2", status=2)
    assert "film.part.mp4 exists and is not" in err
    assert Path("film.part.mp4").read_bytes() == b"mine"
