"""Films, read back by other readers than the one that wrote them."""

import resource
import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from moviepy import VideoFileClip
from PIL import Image

from walk import Error, video

# Saturated colours are where a wrong matrix or range shows most.
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]
COLOURS += [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 128, 0), (30, 90, 200), (200, 30, 90)]


def frames_of(folder, count=12, size=(64, 64)):
    """Frames whose colours say which they are."""
    paths = []
    for index in range(count):
        paths.append(folder / f"{index}.png")
        Image.new("RGB", size, COLOURS[index % len(COLOURS)]).save(paths[-1])
    return paths


def colours_in(film):
    """The mean colour of every frame, (frames, 3)."""
    reader = imageio_ffmpeg.read_frames(film)
    size = next(reader)["size"]
    return np.array([np.frombuffer(data, np.uint8).reshape(*size[::-1], 3).mean((0, 1)) for data in reader])


def probe(film):
    """What ffmpeg itself says of a film."""
    ffmpeg = imageio_ffmpeg.get_ffmpeg_exe()
    return subprocess.run([ffmpeg, "-hide_banner", "-i", str(film)], capture_output=True, text=True).stderr


def test_every_frame_is_in_the_film_in_its_place_and_colour(tmp_path):
    video.encode(frames_of(tmp_path), tmp_path / "film.mp4", Fraction(25))
    seen = colours_in(tmp_path / "film.mp4")
    assert len(seen) == 12
    assert np.abs(seen - np.array(COLOURS)).mean() < 2
    assert np.abs(seen - np.array(COLOURS)).max() < 4


def test_colours_are_tagged_as_what_they_are(tmp_path):
    video.encode(frames_of(tmp_path), tmp_path / "film.mp4", Fraction(25))
    assert "yuv420p(tv, bt709, progressive)" in probe(tmp_path / "film.mp4")


@pytest.mark.parametrize(
    "fps", [Fraction(25), Fraction(24000, 1001), Fraction(60), Fraction(25, 2), Fraction(7, 3)], ids=str
)
def test_the_rate_is_exact(tmp_path, fps):
    film = tmp_path / "film.mp4"
    video.encode(frames_of(tmp_path), film, fps)
    with VideoFileClip(str(film)) as clip:
        assert clip.duration == pytest.approx(float(12 / fps), abs=0.01)
    assert video._timestamps(film) == [i / fps for i in range(12)]


def test_a_frame_that_is_listed_twice_is_shown_twice(tmp_path):
    red, green, blue, *_ = frames_of(tmp_path)
    video.encode([red, green, green, blue], tmp_path / "film.mp4", Fraction(10))
    seen = colours_in(tmp_path / "film.mp4")
    assert np.abs(seen - np.array([COLOURS[i] for i in (0, 1, 1, 2)])).max() < 4


def test_the_film_starts_before_it_is_loaded(tmp_path):
    video.encode(frames_of(tmp_path), tmp_path / "film.mp4", Fraction(25))
    data = (tmp_path / "film.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("frame", "asked", "film"),
    [
        ((128, 128), None, (512, 512)),
        ((192, 128), None, (768, 512)),
        ((128, 136), None, (512, 544)),
        ((1024, 768), None, (1024, 768)),
        ((1024, 768), 360, (480, 360)),
        ((128, 128), 1080, (1080, 1080)),
        ((152, 128), 90, (106, 90)),
    ],
)
def test_small_pictures_are_enlarged_and_sides_are_even(frame, asked, film):
    assert video.film_size(frame, asked) == film


def test_the_film_has_the_size_that_was_asked(tmp_path):
    video.encode(frames_of(tmp_path, size=(48, 32)), tmp_path / "film.mp4", Fraction(25), size=64)
    with VideoFileClip(str(tmp_path / "film.mp4")) as clip:
        assert tuple(clip.size) == (96, 64)


def test_the_same_frames_are_the_same_bytes(tmp_path):
    frames = frames_of(tmp_path)
    video.encode(frames, tmp_path / "a.mp4", Fraction(25))
    video.encode(frames, tmp_path / "b.mp4", Fraction(25))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_lossless_is_larger_than_the_worst(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.png"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    sizes = []
    for quality in (0, 51):
        video.encode([path] * 5, tmp_path / "film.mp4", Fraction(25), quality=quality)
        sizes.append((tmp_path / "film.mp4").stat().st_size)
    assert sizes[0] > 5 * sizes[1]


def test_names_that_ffmpeg_would_misread_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = frames_of(tmp_path, 2)
    for name in ("-y.mp4", "http:film.mp4", "a %d [b].mp4", "фильм.MP4"):
        video.encode(frames, name, Fraction(25))
        assert (tmp_path / name).exists()


def test_what_ffmpeg_cannot_read_leaves_no_film_and_the_old_one_untouched(tmp_path):
    frames = frames_of(tmp_path)
    frames[5].write_bytes(b"not a picture")
    film = tmp_path / "film.mp4"
    film.write_bytes(b"the old film")
    with pytest.raises(Error, match=r"^the film that ffmpeg made has \d+ frames instead of 12$"):
        video.encode(frames, film, Fraction(25))
    assert film.read_bytes() == b"the old film"
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_said(tmp_path):
    # A limit on the size of files is the nearest that a test comes to a full disk.
    frames = frames_of(tmp_path, 40)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(Error):
            video.encode(frames, tmp_path / "film.mp4", Fraction(25))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "film.mp4").exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("planted", ["count", "rate", "size"])
def test_a_film_that_is_not_what_was_asked_is_found(tmp_path, planted):
    frames = frames_of(tmp_path)
    video.encode(frames, tmp_path / "film.mp4", Fraction(25), size=64)
    count, fps, size, message = {
        "count": (13, 25, (64, 64), "12 frames instead of 13"),
        "rate": (12, Fraction(24000, 1001), (64, 64), "frames that are not at 24000/1001 a second"),
        "size": (12, 25, (64, 66), "64x64 pixels instead of 64x66"),
    }[planted]
    with pytest.raises(Error) as refusal:
        video.check(tmp_path / "film.mp4", count, Fraction(fps), size)
    assert str(refusal.value) == f"the film that ffmpeg made has {message}"


def test_a_film_that_cannot_be_read_is_found(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(Error, match=r"^the film that ffmpeg made cannot be read"):
        video.check(tmp_path / "film.mp4", 12, Fraction(25), (64, 64))


def test_frames_handed_over_are_reported(tmp_path):
    counts = []
    video.encode(frames_of(tmp_path), tmp_path / "film.mp4", Fraction(25), report=counts.append)
    assert counts == list(range(1, 13))
