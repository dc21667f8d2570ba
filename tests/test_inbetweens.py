"""Films of which not every frame is rendered, as a user makes them."""

import re
import shutil
from pathlib import Path

import fakehub
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from scipy.io import wavfile
from test_interpolate import rife
from test_upscale import compact

from walk import Error, cli, commands, hub, interpolate, manifest, probe, recipe, replay
from walk.run import Run

pytestmark = pytest.mark.usefixtures("shared_weights", "unwatched", "empty_folder")

PROMPTS = ["a red apple", "a green frog", "an owl"]


@pytest.fixture
def walk(tiny_folder, capsys):
    """(stdout, stderr) of a command that ends with this status."""

    def of(*arguments, prompts=PROMPTS, status=0):
        command = [*map(str, arguments)]
        if prompts:
            command += ["--prompts", *prompts, "--model", str(tiny_folder), "--steps", "1"]
            command += ["--size", "32"] * ("--size" not in arguments)
            command += ["--interpolator", "blend"] * (
                "--interpolate" in arguments and "--interpolator" not in arguments
            )
        assert cli.main(command) == status, capsys.readouterr().err
        out, err = capsys.readouterr()
        return out.removesuffix("\n"), err

    return of


def pictures(folder):
    return [np.asarray(Image.open(path)) for path in sorted(Path(folder).glob("*.png"))]


def rendered(folder="film.walk"):
    return {path.name: path.stat().st_mtime_ns for path in Path(folder, "frames").glob("*.png")}


def stopped_at(monkeypatch, count):
    """Interpolating is stopped before so many pictures. Returns the shares of those that are asked for."""
    between, shares = interpolate.Interpolator.__call__, []

    def stopped(self, a, b, share):
        shares.append(share)
        if len(shares) == count:
            raise KeyboardInterrupt
        return between(self, a, b, share)

    monkeypatch.setattr(interpolate.Interpolator, "__call__", stopped)
    return shares


def test_one_frame_in_n_is_rendered_and_the_others_are_mixed_of_them(walk):
    """Against a film of which all are rendered: at equal steps, keyframes and every third frame are its own."""
    even = ["--frames", 25, "--speed", "path"]
    _, err = walk(*even, "--interpolate", 3, "--out", "film/")
    assert "3 keyframes, 25 frames, 9 of which are rendered, 1.04 s" in err
    walk(*even, "--out", "whole/")
    mixed, whole = pictures("film"), pictures("whole")
    assert len(mixed) == len(whole) == 25
    assert len(rendered()) == 9
    for index in range(0, 25, 3):
        np.testing.assert_array_equal(mixed[index], whole[index])
    for index, share in ((1, 1 / 3), (2, 2 / 3), (13, 1 / 3), (23, 2 / 3)):
        a, b = (whole[frame].astype(float) for frame in (index // 3 * 3, index // 3 * 3 + 3))
        np.testing.assert_allclose(mixed[index], a + share * (b - a), atol=0.51)
    assert not Path("film.walk/between").exists()


@pytest.mark.parametrize("flags", [[], ["--loop"], ["--speed", "constant"], ["--path", "slerp", "--ease"]])
def test_it_is_even_to_the_eye_with_a_fraction_of_the_pictures(walk, flags):
    walk("--frames", 49, "--interpolate", 3, "--out", "film.mp4", *flags)
    assert len(rendered()) <= 49 / 3 * 1.2 + 3
    assert len(probe.timestamps(Path("film.mp4")).times) == 49
    made = manifest.read_manifest("film.walk")
    assert made.asked != made.walk, "frames were moved"
    keys = [float(k) for k in range(3)]
    assert {*keys} <= {*made.walk.positions}


@pytest.mark.watched
def test_only_of_a_film_that_is_even_to_the_eye_it_is_said_how_uneven_it_would_be_otherwise(walk):
    command = ["--frames", 97, "--interpolate", 3, "--out", "film.mp4"]
    _, err = walk(*command, "--speed", "path")
    assert "movement, to the eye: the largest step from frame to frame is " in err
    assert "equal steps along the path" not in err
    assert "(equal steps along the path: " in walk(*command)[1]


def test_a_network_makes_them_out_of_its_file(walk):
    save_file(rife("4.6"), "net.safetensors")  # which finds no movement, and takes half of each
    walk("--frames", 9, "--speed", "path", "--interpolate", 4, "--interpolator", "net.safetensors", "--out", "film/")
    made = pictures("film")
    for index in (1, 2, 3):
        np.testing.assert_allclose(made[index], (made[0].astype(float) + made[4]) / 2, atol=0.51)
    walk(
        *("--frames", 9, "--speed", "path", "--interpolate", 4, "--interpolator", "net.safetensors"),
        *("--out", "film.mp4", "--run", "film.walk"),
    )
    told = recipe.interpolator(replay.read_recipe("film.mp4"))
    assert told == interpolate.read(Path("net.safetensors")).digest


def test_the_usual_network_is_the_hubs_and_is_brought_once(walk, tmp_path, monkeypatch):
    owner, name, file = hub.INTERPOLATOR.split("/", 2)
    home = tmp_path / "home"
    (home / file).parent.mkdir(parents=True)
    save_file(rife(), home / file)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with fakehub.running(monkeypatch) as server:
        server.repositories[f"{owner}/{name}"] = home
        walk("--frames", 9, "--interpolate", 2, "--interpolator", "own", "--out", "film.mp4")
        assert server.downloaded() == [hub.INTERPOLATOR]
        asked = len(server.requests)
        walk("--frames", 13, "--interpolate", 2, "--interpolator", "own", "--out", "film.mp4")
        assert len(server.requests) == asked, "it is on this machine now"
    assert f"--interpolate 2 --interpolator {hub.INTERPOLATOR}" in walk("info", "film.mp4", prompts=())[0]


def test_where_the_usual_network_cannot_be_had_it_says_what_needs_none(walk, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    _, err = walk("--frames", 9, "--interpolate", 2, "--interpolator", "own", "--out", "b.mp4", status=2)
    assert err.endswith("; or mix frames, with --interpolator blend\n")


def test_the_built_in_model_needs_none(capsys):
    assert cli.main(["--prompts", *PROMPTS[:2], "--frames", "9", "--interpolate", "2", "--upscale", "none", "--out", "toys.mp4", "--steps", "1"]) == 0  # fmt: skip
    assert dict(replay.read_recipe("toys.mp4").flags)["interpolator"] == "blend"


def test_a_stop_while_it_interpolates_loses_nothing(walk, monkeypatch):
    command = ["--frames", 33, "--interpolate", 4, "--out", "film.mp4"]
    walk(*command)
    undisturbed = Path("film.mp4").read_bytes()
    shutil.rmtree("film.walk")
    Path("film.mp4").unlink()
    shares = stopped_at(monkeypatch, 11)
    _, err = walk(*command, status=130)
    assert "9 of 9 frames are safe in film.walk; run the same command to go on" in err
    kept = sorted(Path("film.walk/between").glob("*.png"))
    assert len(kept) == 10
    kept[3].write_bytes(kept[3].read_bytes()[:-20])  # damaged meanwhile
    before = rendered()
    Path("film.walk/between/.a.png.1.part").write_bytes(b"half")
    _, err = walk(*command)
    assert "9 of 24 frames are interpolated already" in err
    assert len(shares) == 11 + 15
    assert rendered() == before
    assert Path("film.mp4").read_bytes() == undisturbed
    assert not Path("film.walk/between").exists()


def test_after_a_kill_when_the_film_is_made_what_was_interpolated_for_it_is_removed(walk, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    command = ["--frames", 9, "--interpolate", 4, "--speed", "path", "--out", "film.mp4"]
    with monkeypatch.context() as patched:
        patched.setattr("walk.inbetweens.forget", killed)
        walk(*command, status=130)
    assert len(list(Path("film.walk/between").iterdir())) == 6
    other = Path("film.walk/between/0123456789abcdef.png")  # of another film
    other.write_bytes(b"")
    assert "film.mp4 is finished already" in walk(*command)[1]
    assert [*Path("film.walk/between").iterdir()] == [other]
    other.unlink()
    walk(*command)
    assert not Path("film.walk/between").exists()


def test_a_part_leaves_what_a_stopped_film_has_and_lets_nobody_remove_what_it_needs(walk, monkeypatch):
    command = ["--frames", 33, "--interpolate", 4, "--speed", "path", "--out", "film.mp4"]
    part = ["part", "--from", "frame=2", "--to", "frame=11", *command]
    stopped_at(monkeypatch, 5)
    walk(*command, status=130)
    kept = sorted(Path("film.walk/between").glob("*.png"))
    assert len(kept) == 4
    save_cut = commands._save_cut

    def as_another_walk_begins(pictures, *others):
        save_cut(pictures, *others)
        assert len(list(Path("film.walk/between").glob("*.png"))) == 8
        monkeypatch.setattr("walk.commands._save_cut", save_cut)
        with pytest.raises(Error, match=r"^film\.walk is open in this program already"):
            Run("film.walk", manifest.read_manifest("film.walk").walk, manifest.read_manifest("film.walk").settings)

    monkeypatch.setattr("walk.commands._save_cut", as_another_walk_begins)
    walk(*part)
    assert sorted(Path("film.walk/between").glob("*.png")) == kept
    assert "4 of 24 frames are interpolated already" in walk(*command)[1]


def test_a_film_of_another_size_or_rate_of_interpolation_renders_what_it_lacks(walk):
    walk("--frames", 25, "--interpolate", 2, "--speed", "path", "--out", "film.mp4")
    before = rendered()
    _, err = walk("--frames", 25, "--interpolate", 2, "--speed", "path", "--out", "film.mp4", "--quality", 30)
    assert rendered() == before
    assert "13 of 13 frames are in film.walk already" in err
    walk("--frames", 25, "--interpolate", 4, "--speed", "path", "--out", "film.mp4")
    assert rendered() == before
    walk("--frames", 25, "--speed", "path", "--out", "film.mp4")
    assert before.items() <= rendered().items()
    assert len(rendered()) == 25
    _, err = walk("--frames", 25, "--speed", "path", "--out", "film.mp4")
    assert "film.mp4 is finished already" in err


def test_an_edit_renders_only_what_it_changes(walk):
    four = [*PROMPTS, "a fox", "a boat"]
    walk("--frames", 65, "--interpolate", 4, "--path", "slerp", "--out", "film.mp4", prompts=four)
    before = rendered()
    walk("--frames", 65, "--interpolate", 4, "--path", "slerp", "--out", "film.mp4", prompts=[*four[:4], "a cake"])
    assert before.items() <= rendered().items()
    assert len(rendered()) - len(before) <= 65 / 4 / 4 * 1.5 + 2


@pytest.fixture
def song():
    seconds = np.arange(4 * 8000) / 8000
    clicks = np.sin(2 * np.pi * 440 * seconds) * (seconds % 0.5 < 0.05)
    wavfile.write("song.wav", 8000, clicks.astype(np.float32) / 2)


MUSIC = ["--audio", "song.wav", "--bpm", 120, "--offset", 0, "--fps", 20, "--pace", "beat", "--pulse", 0.4]


def test_it_moves_to_music_and_is_made_again_the_same(walk, song):
    walk(*MUSIC, "--interpolate", 3, "--out", "film.mp4", prompts=[*PROMPTS, "a fox"])
    made = replay.read_recipe("film.mp4")
    assert len(made.positions.path) == 80
    assert len(made.positions.rendered) == manifest.read_manifest("film.walk").walk.frames < 45
    _, err = walk("replay", "film.mp4", "--run", "film.walk", "--out", "again.mp4", "--audio", "song.wav", prompts=())
    assert "frames are in film.walk already" in err
    assert "rendering" not in err
    again = replay.read_recipe("again.mp4")
    assert again.positions == made.positions
    folders = []
    for name in ("film", "again"):
        walk("replay", f"{name}.mp4", "--run", "film.walk", "--out", f"{name}-pictures/", prompts=())
        folders.append(pictures(f"{name}-pictures"))
    np.testing.assert_array_equal(*folders)
    # Another spacing keeps frames where they are.
    walk("replay", "film.mp4", "--run", "film.walk", "--out", "whole.mp4", "--interpolate", 1, prompts=())
    whole = replay.read_recipe("whole.mp4")
    assert whole.positions.path == made.positions.path
    assert "interpolator" not in dict(whole.flags)


def test_an_interpolator_that_a_replay_has_no_use_for_is_refused(walk, song):
    walk(*MUSIC, "--out", "film.mp4")
    refused = "--interpolator makes frames between rendered ones, and all are rendered; give --interpolate 2, too"
    assert refused in walk("replay", "film.mp4", "--interpolator", "blend", prompts=(), status=2)[1]
    walk("replay", "film.mp4", "--interpolator", "blend", "--interpolate", 2, prompts=())


def test_the_sound_lands_on_rendered_keyframes(walk, song):
    walk(
        *MUSIC,
        "--interpolate",
        4,
        "--out",
        "film.mp4",
        prompts=["a red apple", "a frog | beat=3", "an owl | beat=6", "a fox"],
    )
    made = replay.read_recipe("film.mp4")
    assert [made.positions.path.index(float(k)) for k in range(3)] == [0, 20, 50]
    assert {0, 20, 50} <= {*made.positions.rendered}


def test_a_part_has_the_frames_of_the_film(walk):
    part, command = ["part", "--from", "frame=10", "--to", "frame=31"], ["--frames", 49, "--interpolate", 3]
    walk(*command, "--out", "film.mp4")
    before = rendered()
    walk(*part, *command, "--out", "film.mp4")
    assert rendered() == before
    assert len(probe.timestamps(Path("film.part.mp4")).times) == 21
    assert not Path("film.walk/between").exists()
    walk(*part, *command, "--speed", "path", "--out", "other.mp4")
    assert len(rendered("other.walk")) == 8  # 9, 12, ..., 30


def test_a_rough_cut_and_a_preview_are_of_the_whole_film(walk):
    command = ["--frames", 49, "--interpolate", 4, "--out", "film.mp4"]
    _, err = walk("preview", *command)
    assert re.search(r"the film: about .* more, ", err)
    assert len(rendered()) < 13
    walk("rough", *command)
    assert len(probe.timestamps(Path("film.rough.mp4")).times) == 49
    walk(*command)
    _, err = walk("rough", *command)
    assert "13 pictures for 49 frames" in err
    assert "all frames are there already" in walk("preview", *command)[1]


def test_a_preview_counts_the_room_for_what_is_interpolated(walk):
    told = []
    for number, flags in enumerate(([], ["--interpolate", 4])):
        command = ["--frames", 193, *flags, "--out", f"{number}.mp4"]
        told.append(float(re.search(r"more, ([\d.]+) MB of frames", walk("preview", *command)[1])[1]))
    assert told[1] == pytest.approx(told[0], abs=0.15)


def test_a_rough_cut_needs_no_interpolator(walk):
    """As where the run folder was copied to another machine."""
    save_file(rife("4.6"), "net.safetensors")
    command = ["--frames", 9, "--interpolate", 2, "--interpolator", "net.safetensors", "--out", "film.mp4"]
    walk(*command)
    Path("net.safetensors").unlink()
    walk("rough", *command)
    assert "there is no interpolator 'net.safetensors' here" in walk("part", "--from", 0, *command, status=2)[1]


def test_a_preview_counts_the_time_of_what_is_interpolated_and_of_no_rests(walk, monkeypatch):
    monkeypatch.setattr(interpolate.Interpolator, "seconds", lambda *_: 10.0)
    command = ["--frames", 33, "--interpolate", 4, "--speed", "path", "--out", "film.mp4"]
    held = [
        "a red apple | frame=0 | until=1",
        "an owl | frame=32",
    ]  # 24 frames of one picture, and then 6 between 3 rendered ones
    assert "about 1:00 more, 1:00 of it to interpolate, " in walk("preview", *command, prompts=held)[1]

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("walk.film.make", stopped)
    walk(*command, prompts=held, status=130)
    assert "about 1:00 more, 1:00 of it to interpolate, " in walk("preview", *command, prompts=held)[1]


def test_a_film_of_one_speed_counts_what_it_renders_and_its_rough_cut_has_keyframes_when_the_film_has(
    walk, monkeypatch
):
    """Where one speed brings them, segments have other lengths than those that are rendered at even spacing."""
    near = ["a red apple | seed=1", "a red apples | seed=1", "an owl | seed=5", "a fox | seed=9"]
    command = ["--frames", 49, "--speed", "constant", "--interpolate", 4, "--out", "film.mp4"]
    _, err = walk(*command, prompts=near)
    assert "4 keyframes, 49 frames, about 13 of which are rendered" in err
    count = manifest.read_manifest("film.walk").walk.frames
    assert count != 13
    told = f"{count} of {count} frames are in film.walk already"
    assert told in walk(*command, "--quality", 30, prompts=near)[1]
    cut = []
    monkeypatch.setattr("walk.commands._save_cut", lambda pictures, *_: cut.extend(pictures))
    _, err = walk("rough", *command, prompts=near)
    assert "note: keyframes are spaced evenly" not in err
    starts = [int(start * 24) for start, _ in probe.read_metadata(Path("film.mp4")).chapters]
    assert starts != [0, 16, 32, 48]
    assert [cut[start].name[:6] for start in starts] == ["00000.", "00001.", "00002.", "00003."]
    assert all(cut[start].name[6:16] == "0000000000" for start in starts)


def test_enlarged_frames_are_interpolated_rather_than_interpolated_ones_enlarged(walk, monkeypatch):
    save_file(compact(), "twice.safetensors")
    asked = []
    between = interpolate.Interpolator.__call__

    def seen(self, a, b, t):
        asked.append(a.shape)
        return between(self, a, b, t)

    monkeypatch.setattr(interpolate.Interpolator, "__call__", seen)
    walk(
        *("--frames", 17, "--interpolate", 4, "--speed", "path", "--out", "film/"),
        *("--upscale", "twice.safetensors", "--size", 64),
    )
    made = pictures("film")
    assert len(made) == 17
    assert made[1].shape == (64, 64, 3) == asked[0]
    assert len(asked) == 12
    assert len(list(Path("film.walk/upscaled/frames").glob("*.png"))) == 5
    np.testing.assert_allclose(made[1], made[0] + 0.25 * (made[4].astype(float) - made[0]), atol=0.51)


def test_a_film_of_one_keyframe_and_one_of_two_frames(walk):
    walk("--frames", 2, "--interpolate", 4, "--out", "film.mp4", prompts=PROMPTS[:2])
    assert len(probe.timestamps(Path("film.mp4")).times) == 2
    assert len(rendered()) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--interpolate", 0], "--interpolate 0 is not valid; give a whole number from 1 to 16"),
        (["--interpolate", 17], "--interpolate 17 is not valid; give a whole number from 1 to 16"),
        (["--interpolator", "blend"], "--interpolator makes frames between rendered ones, and all are rendered; give --interpolate 2, too"),
        (["--interpolate", 2, "--interpolator", "no.pth"], "there is no interpolator 'no.pth' here; it is own, blend, a .safetensors, .pth or .pkl file, or one on the hub, as org/name/file.safetensors"),
        (["--interpolate", 2, "--interpolator", "x.safetensors"], "x.safetensors is no interpolator that is known: it is not RIFE, in one of the versions from 4.0 to 4.26; give another --interpolator"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_rendered(walk, flags, message):
    save_file(compact(), "x.safetensors")
    _, err = walk("--frames", 9, "--out", "film.mp4", *flags, status=2)
    assert err.splitlines()[-1].endswith(message)
    assert not Path("film.walk").exists()


def test_a_replay_tells_of_a_network_that_is_not_here_or_is_another(walk):
    save_file(rife("4.6"), "net.safetensors")
    walk("--frames", 9, "--interpolate", 2, "--interpolator", "net.safetensors", "--out", "film.mp4")
    save_file(rife("4.6", masks=[1, 0, 0, 0]), "net.safetensors")
    _, err = walk("replay", "film.mp4", prompts=())
    assert "note: the interpolator is not the one that made some of that film's frames, so they will differ" in err
    Path("net.safetensors").unlink()
    _, err = walk("replay", "film.mp4", "--out", "b.mp4", prompts=(), status=2)
    assert "film.mp4 was interpolated by net.safetensors, which is not here, and films carry no folders; give --interpolator PATH, or blend" in err  # fmt: skip
    walk("replay", "film.mp4", "--out", "c.mp4", "--interpolator", "blend", prompts=())
    walk("replay", "film.mp4", "--out", "d.mp4", "--interpolate", 1, prompts=())


@pytest.mark.parametrize(("model", "interpolator"), [("toybox", None), ("sd15", "blend")])
def test_what_is_usual_for_the_built_in_model_is_not_taken_over_to_another(model, interpolator):
    flags = {"model": model, "frames": "9", "fps": "24", "interpolate": "2", "interpolator": "blend"}
    made = recipe.Recipe(("a fox | seed=0", "an owl | seed=1"), tuple(flags.items()), ("walk 1", "sha256 1"))
    again, _ = replay.replayed("film.mp4", made, {"model": "sdxl"}, another=True)
    assert again.get("interpolator") == interpolator
    assert again["interpolate"] == 2


def test_frames_without_texts_are_exported_without_any(walk):
    walk("--frames", 9, "--interpolate", 2, "--no-metadata", "--out", "film/")
    for path in Path("film").glob("*.png"):
        with Image.open(path) as picture:
            assert not picture.info
