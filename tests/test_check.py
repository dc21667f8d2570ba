"""Planted faults are found where they are, and nothing is found in a good film."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from walk import Error, cli, video
from walk.check import check

FPS = Fraction(25)


def a_film(folder, plant=lambda pictures: pictures, name="film.mp4", metadata=None):
    """A disc that glides over a gradient, 40 frames, with something done to them."""
    y, x = np.mgrid[:64, :64]
    ground = np.stack([x * 3, y * 3, 120 + 0 * x], axis=-1)
    pictures = []
    for i in range(40):
        disc = (x - 12 - i) ** 2 + (y - 32) ** 2 < 100
        pictures.append(np.where(disc[..., None], (230, 60, 40), ground).astype(np.uint8))
    paths = []
    for i, picture in enumerate(plant(pictures)):
        paths.append(folder / f"{i:03d}.png")
        Image.fromarray(picture).save(paths[-1])
    video.encode(paths, folder / name, FPS, metadata=metadata)
    return folder / name


def replaced(index, picture):
    return lambda pictures: [*pictures[:index], picture, *pictures[index + 1 :]]


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.mov", "film.gif"])
def test_nothing_is_wrong_with_a_good_film(tmp_path, name):
    report = check(a_film(tmp_path, name=name))
    assert report.faults == ()
    assert report.facts[0] == "40 frames of 512x512, 1.60 s, 25 a second"


def test_a_black_frame_is_found_at_its_time(tmp_path):
    faults = check(a_film(tmp_path, replaced(10, np.zeros((64, 64, 3), np.uint8)))).faults
    assert (0.4, "the frame is black") in faults


def test_a_frame_of_one_colour_is_found_at_its_time(tmp_path):
    faults = check(a_film(tmp_path, replaced(20, np.full((64, 64, 3), 90, np.uint8)))).faults
    assert (0.8, "the frame is of one colour") in faults


def test_a_doubled_frame_is_found_at_its_time(tmp_path):
    faults = check(a_film(tmp_path, lambda pictures: [*pictures[:16], pictures[15], *pictures[17:]])).faults
    assert (0.64, "the frame is the one before again") in faults


def test_a_jump_is_found_at_its_time(tmp_path):
    (fault,) = check(a_film(tmp_path, lambda pictures: [*pictures[:25], *(p[::-1] for p in pictures[25:])])).faults
    assert fault[0] == 1.0
    assert fault[1].startswith("the picture jumps: ")


def test_a_prompt_that_looks_like_ffmpegs_report_leads_nobody_astray(tmp_path):
    hostile = "Duration: 99:99:99.99, start: x\n  Stream #0:7: Video: lies, 3x3, 1 fps\n  Metadata:"
    report = check(a_film(tmp_path, metadata=video.Metadata(hostile, hostile, ((Fraction(0), hostile),))))
    assert report.faults == ()


def test_what_is_no_film_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(Error, match=r"is no film that ffmpeg can read$"):
        check(tmp_path / "film.mp4")


def test_the_command_says_when_and_exits_with_1(tmp_path, capsys):
    film = a_film(tmp_path, replaced(10, np.zeros((64, 64, 3), np.uint8)))
    assert cli.main(["check", str(film)]) == 1
    assert "0:00.400  the frame is black" in capsys.readouterr().out
    assert cli.main(["check", str(a_film(tmp_path))]) == 0
    assert capsys.readouterr().out.endswith("nothing is wrong\n")


def test_the_doctor_finds_this_machine_able(capsys):
    assert cli.main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "cpu: " in out
    assert "libx264" in out
    assert "toybox, the built-in model, is whole" in out
