"""Films, read back by other readers than the one that wrote them: PyAV, moviepy, Pillow, and by hand."""

import functools
import io
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from moviepy import VideoFileClip
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from test_files import watched
from test_sounds import clicks, difference, made_of, music, wav

from walk import Error, excerpts, ffmpeg, formats, probe, sounds, video
from walk.probe import Metadata
from walk.rates import nearest
from walk.sounds import Sound

# Saturated colours are where a wrong matrix or range shows most.
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255)]
COLOURS += [(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 128, 0), (30, 90, 200), (200, 30, 90)]

FILMS = [("film.mp4", "h264"), ("film.mp4", "h265"), ("film.mp4", "av1"), ("film.webm", "vp9"), ("film.webm", "av1")]
FILMS += [("film.mov", "prores"), ("film.mov", "h264"), ("film.mov", "h265")]
TEXTURES = [("film.mov", "hap"), ("film.mov", "hapq"), ("film.mov", "dxv")]  # in RGB
every_film = pytest.mark.parametrize(("name", "codec"), [*FILMS, *TEXTURES])
every_format = pytest.mark.parametrize(("name", "codec"), [*FILMS, *TEXTURES, ("film.gif", "gif")])
every_container = pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.mov"])

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)

HOSTILE = "a \"quote\" 'two' = ; # \\ \\n %s ${HOME} `x`\n[CHAPTER]\nTITLE=no\r\n;#\n\ttab 🙂👩‍🚀 שלום עולם \u202e\x1b[31m é\\"


def frames_of(folder, count=12, size=(64, 64)):
    """Frames whose colours say which they are."""
    paths = []
    for index in range(count):
        paths.append(folder / f"{index}.png")
        paths[-1].write_bytes(of_one_colour(COLOURS[index % len(COLOURS)], size))
    return paths


@functools.cache
def of_one_colour(colour, size):
    Image.new("RGB", size, colour).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def film_of(folder, name, codec, count=12, fps=Fraction(25)):
    """A film of such frames, of 64 x 64 pixels, made once for all tests that want the same."""
    (folder / name).write_bytes(_film_of(name, codec, count, fps))
    return folder / name


@functools.cache
def _film_of(name, codec, count, fps):
    with tempfile.TemporaryDirectory() as scratch:
        film = Path(scratch, name)
        video.encode(frames_of(film.parent, count), film, fps, size=64, codec=codec)
        return film.read_bytes()


def busy_frames(folder, count=6, size=(256, 192)):
    """Frames with something for every thread to do."""
    for index in range(count):
        (folder / f"busy{index}.png").write_bytes(busy(index, size))
    return [folder / f"busy{index}.png" for index in range(count)]


@functools.cache
def busy(index, size):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8))
    noise.resize(size, box=(index, 0, index + 16, 16)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def colours_in(film):
    """The mean colour of every frame, (frames, 3), as PyAV sees it."""
    with av.open(str(film)) as container:
        return np.array([frame.to_ndarray(format="rgb24").mean((0, 1)) for frame in container.decode(video=0)])


def times_in(film):
    """When each frame is shown, in seconds, by PyAV."""
    with av.open(str(film)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def said_by(film):
    """(title, comment, [(start, end, title), ...]) by PyAV."""
    with av.open(str(film)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
        chapters = [
            (one["start"] * one["time_base"], one["end"] * one["time_base"], one["metadata"].get("title", ""))
            for one in container.chapters()
        ]
        return tags.get("title"), tags.get("comment"), chapters


def gif_parts(film):
    """Of a GIF: how often it plays (0: for ever), each frame's delay, each frame's number of colours of its own."""
    data = film.read_bytes()
    assert data[:6] == b"GIF89a"
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    plays, delays, own = None, [], []
    while data[place] != 0x3B:
        if data[place] == 0x2C:
            flags = data[place + 9]
            own.append(2 << (flags & 7) if flags & 128 else 0)
            place += 10 + 3 * own[-1] + 1
        else:
            if data[place + 1] == 0xF9:
                delays.append(int.from_bytes(data[place + 4 : place + 6], "little"))
            if data[place + 3 : place + 14] == b"NETSCAPE2.0":
                plays = int.from_bytes(data[place + 16 : place + 18], "little")
            place += 2
        while data[place]:
            place += data[place] + 1
        place += 1
    return plays, delays, own


# Frames, colours, rate, size


@every_format
def test_every_frame_is_in_the_film_in_its_place_and_colour(tmp_path, name, codec):
    seen = colours_in(film_of(tmp_path, name, codec))
    assert len(seen) == 12
    assert np.abs(seen - np.array(COLOURS)).mean() < 2
    assert np.abs(seen - np.array(COLOURS)).max() < 4


def test_another_reader_sees_the_same_colours(tmp_path):
    reader = imageio_ffmpeg.read_frames(film_of(tmp_path, "film.mp4", None))
    size = next(reader)["size"]
    seen = np.array([np.frombuffer(data, np.uint8).reshape(*size[::-1], 3).mean((0, 1)) for data in reader])
    assert np.abs(seen - np.array(COLOURS)).max() < 4


@pytest.mark.parametrize(("name", "codec"), FILMS)
def test_colours_are_tagged_as_what_they_are(tmp_path, name, codec):
    with av.open(str(film_of(tmp_path, name, codec))) as container:
        next(container.decode(video=0))
        seen = container.streams.video[0].codec_context
        bt709, limited = 1, 1
        assert (seen.colorspace, seen.color_primaries, seen.color_trc, seen.color_range) == (bt709,) * 3 + (limited,)


@pytest.mark.parametrize(
    ("name", "codec", "tag", "pixels"),
    [
        ("film.mp4", None, "avc1", "yuv420p"),
        ("film.mp4", "h265", "hvc1", "yuv420p"),  # hev1 would show nothing on a Mac
        ("film.mov", "h265", "hvc1", "yuv420p"),
        ("film.mp4", "av1", "av01", "yuv420p"),
        ("film.mov", None, "apcn", "yuv422p10le"),  # Apple's code for ProRes 422
        ("film.mov", "hap", "Hap1", "rgb0"),
        ("film.mov", "hapq", "HapY", "rgb0"),
        ("film.mov", "dxv", "DXD3", "rgba"),
    ],
)
def test_players_are_told_the_codec_by_the_name_that_they_know(tmp_path, name, codec, tag, pixels):
    with av.open(str(film_of(tmp_path, name, codec))) as container:
        stream = container.streams.video[0]
        assert (stream.codec_tag, stream.codec_context.pix_fmt) == (tag, pixels)


def test_who_watches_may_go_while_a_film_is_made(tmp_path):
    """ffmpeg would wait for pictures, and we for ffmpeg."""

    def told(count):
        if count == 3:
            raise ConnectionResetError("gone")

    frames, ends = frames_of(tmp_path), []

    def make():
        with pytest.raises(ConnectionResetError, match="gone"):
            video.encode(frames, tmp_path / "film.mp4", Fraction(25), report=told)
        ends.append(sorted(path.name for path in tmp_path.glob("*film*")))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(20)
    assert ends == [[]]


@pytest.mark.parametrize(("name", "codec"), [("film.webm", "vp9"), ("film.webm", "av1")])
def test_webm_holds_the_codec_that_was_asked(tmp_path, name, codec):
    with av.open(str(film_of(tmp_path, name, codec))) as container:
        assert codec in container.streams.video[0].codec_context.codec.canonical_name


@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24000, 1001), Fraction(25, 2), Fraction(7, 3)], ids=str)
@every_container
def test_the_rate_is_exact(tmp_path, name, fps):
    film = film_of(tmp_path, name, None, fps=fps)
    off = [abs(time - index / fps) for index, time in enumerate(times_in(film))]
    assert len(off) == 12
    assert max(off) <= (Fraction(1, 2000) if name == "film.webm" else 0)  # WebM counts milliseconds
    with VideoFileClip(str(film)) as clip:
        assert clip.duration == pytest.approx(float(12 / fps), abs=0.01)


@pytest.mark.parametrize(
    ("fps", "delay"),
    [
        (25, 4),
        (24, 4),
        (30, 3),
        (40, 3),
        (60, 2),
        (1000, 2),
        (Fraction(24000, 1001), 4),
        (10, 10),
        (Fraction(1, 10), 1000),
    ],
    ids=str,
)
def test_a_gif_plays_at_the_nearest_rate_that_it_can(tmp_path, fps, delay):
    film = tmp_path / "film.gif"
    video.encode(frames_of(tmp_path, 3), film, Fraction(fps), size=64)
    assert gif_parts(film)[1] == [delay] * 3
    assert formats.shown_fps(film, Fraction(fps)) == Fraction(100, delay)


def test_only_a_gif_changes_the_rate():
    for name in ("film.mp4", "film.webm", "film.mov", "folder"):
        assert formats.shown_fps(name, Fraction(24000, 1001)) == Fraction(24000, 1001)


def test_a_gif_has_one_palette_and_plays_for_ever(tmp_path):
    film = tmp_path / "film.gif"
    frames = frames_of(tmp_path)
    video.encode(frames, film, Fraction(25), size=64)
    with Image.open(film) as picture:  # a frame that is like the one before it counts, too
        assert picture.n_frames == 12
    plays, delays, own = gif_parts(film)
    assert (plays, delays) == (0, [4] * 12)
    assert not any(own[1:])  # older versions of ffmpeg give the first frame a copy


def test_a_gif_of_many_colours_is_near_them(tmp_path):
    # 256 colours and a dither pattern: single pixels are off by more than in the other formats, and
    # their mean by a little (one level for flat colours, as above).
    frames = busy_frames(tmp_path)
    video.encode(frames, tmp_path / "film.gif", Fraction(25), size=192)
    with av.open(str(tmp_path / "film.gif")) as container:
        seen = np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], float)
    shown = np.array([np.asarray(Image.open(frame)) for frame in frames], float)
    assert np.abs(seen - shown).mean() < 16
    assert np.abs(seen.mean((1, 2)) - shown.mean((1, 2))).max() < 4


@every_format
@pytest.mark.parametrize("shown", [[0], [0, 0, 1, 1, 1, 2, 2]], ids=str)
def test_a_frame_that_is_listed_twice_is_shown_twice(tmp_path, name, codec, shown):
    frames = frames_of(tmp_path, 3)
    video.encode([frames[index] for index in shown], tmp_path / name, Fraction(10), size=64, codec=codec)
    seen = colours_in(tmp_path / name)
    assert np.abs(seen - np.array([COLOURS[index] for index in shown])).max() < 4


def test_textures_are_near_the_frames_at_sizes_of_whole_blocks_and_hapq_is_the_nearest(tmp_path):
    frames, off = busy_frames(tmp_path, 3, (270, 180)), {}
    for codec, size, shown in (("hap", 180, (272, 180)), ("hapq", 180, (272, 180)), ("dxv", 176, (256, 176))):
        video.encode(frames, tmp_path / "film.mov", Fraction(25), size=size, codec=codec)
        with av.open(str(tmp_path / "film.mov")) as container:
            packets = list(container.demux(video=0))
            assert all(packet.is_keyframe for packet in packets if packet.size)
            seen = [frame.to_ndarray(format="rgb24") for packet in packets for frame in packet.decode()]
        there = [np.asarray(Image.open(frame).resize(shown, Image.Resampling.LANCZOS), float) for frame in frames]
        off[codec] = np.abs(np.array(seen) - there).mean()
    assert max(off.values()) < 6
    assert off["hapq"] < 0.9 * off["hap"]


@pytest.mark.parametrize("name", ["film.mp4", "film.mov"])
def test_the_film_starts_before_it_is_loaded(tmp_path, name):
    said = Metadata("title", "x" * 100_000)
    video.encode(frames_of(tmp_path), tmp_path / name, Fraction(25), size=64, metadata=said)
    data = (tmp_path / name).read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("frame", "asked", "name", "film"),
    [
        ((128, 128), None, "film.mp4", (512, 512)),
        ((192, 128), None, "film.webm", (768, 512)),
        ((128, 136), None, "film.mov", (512, 544)),
        ((1024, 768), None, "film.mp4", (1024, 768)),
        ((1024, 768), 360, "film.mp4", (480, 360)),
        ((128, 128), 1080, "film.mp4", (1080, 1080)),
        ((152, 128), 90, "film.mp4", (106, 90)),
        ((152, 128), 90, "film.gif", (107, 90)),
        ((128, 128), None, "film.gif", (512, 512)),
        ((768, 1344), "1080x1920", "film.mp4", (1080, 1920)),
        ((128, 128), None, "folder", (128, 128)),
        ((152, 128), 45, "folder", (53, 45)),
    ],
)
def test_small_pictures_are_enlarged_and_sides_are_even_where_they_must(frame, asked, name, film):
    assert formats.film_size(frame, asked, name) == film


@pytest.mark.parametrize(
    ("name", "size", "film"), [("film.mp4", 64, (96, 64)), ("film.mov", 16, (24, 16)), ("film.gif", 33, (50, 33))]
)
def test_the_film_has_the_size_that_was_asked(tmp_path, name, size, film):
    video.encode(frames_of(tmp_path, 2, size=(48, 32)), tmp_path / name, Fraction(25), size=size)
    with VideoFileClip(str(tmp_path / name)) as clip:
        assert tuple(clip.size) == film


@pytest.mark.parametrize("size", ["64x112", "96x64"])
@pytest.mark.parametrize(("name", "codec"), [*FILMS, *TEXTURES, ("film.gif", "gif"), ("folder", "png")])
def test_a_film_of_both_sides_has_that_size_and_shows_the_middle_of_its_pictures(tmp_path, name, codec, size):
    """Of 72 x 120 pixels with a red edge at the left and the top, and a blue one at the right and the bottom; inside,
    a green square stays square."""
    picture = np.full((120, 72, 3), 255, np.uint8)
    picture[:6], picture[:, :6], picture[-6:], picture[:, -6:] = RED, RED, BLUE, BLUE
    picture[48:72, 24:48] = GREEN
    Image.fromarray(picture).save(tmp_path / "picture.png")
    video.encode([tmp_path / "picture.png"] * 2, tmp_path / name, Fraction(25), size=size, codec=codec)
    if codec == "png":
        (shown, _) = [np.asarray(Image.open(path)) for path in sorted((tmp_path / name).iterdir())]
    else:
        with av.open(str(tmp_path / name)) as container:
            shown = next(container.decode(video=0)).to_ndarray(format="rgb24")
    width, height = map(int, size.split("x"))
    assert shown.shape == (height, width, 3)
    where = [np.argwhere(np.abs(shown.astype(int) - colour).max(2) < 90) for colour in (RED, GREEN, BLUE)]
    (_, square, _), scale = where, max(width / 72, height / 120)
    assert np.ptp(square, axis=0) + 1 == pytest.approx([24 * scale] * 2, abs=3)
    assert square.mean(0) == pytest.approx([(height - 1) / 2, (width - 1) / 2], abs=1)
    # Of the edges of as many pixels as much is left at one side as at the other.
    middle = shown[height // 2], shown[:, width // 2]
    left = [(np.abs(line.astype(int) - colour).max(1) < 90).sum() for line in middle for colour in (RED, BLUE)]
    assert left[0] == pytest.approx(left[1], abs=1)
    assert left[2] == pytest.approx(left[3], abs=1)
    assert left[0] == pytest.approx(6 * scale - (72 * scale - width) / 2, abs=1.5)
    assert left[2] == pytest.approx(max(6 * scale - (120 * scale - height) / 2, 0), abs=1.5)


@every_format
def test_the_same_frames_are_the_same_bytes(tmp_path, name, codec):
    frames = busy_frames(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        said = Metadata("title", "comment", ((Fraction(0), "one"), (Fraction(3, 25), "two")))
        video.encode(frames, tmp_path / folder / name, Fraction(25), size=192, codec=codec, metadata=said)
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "codec", "best", "worst"),
    [("film.mp4", "h264", 1, 51), ("film.mp4", "h265", 0, 51), ("film.webm", "vp9", 0, 63), ("film.mp4", "av1", 1, 63)],
)
def test_the_best_quality_is_larger_than_the_default_and_that_than_the_worst(tmp_path, name, codec, best, worst):
    frames, film = busy_frames(tmp_path, 3), tmp_path / name
    sizes = []
    for quality in (best, None, worst):
        video.encode(frames, film, Fraction(25), size=192, quality=quality, codec=codec)
        sizes.append(film.stat().st_size)
    assert sizes[0] > 1.5 * sizes[1] > 3 * sizes[2]


def test_an_encoder_can_be_asked_for_by_the_name_that_ffmpeg_has_for_it(tmp_path):
    film = tmp_path / "film.mov"
    video.validate(film, codec="prores_aw")
    video.encode(frames_of(tmp_path, 2), film, Fraction(25), size=64, codec="prores_aw")
    assert len(colours_in(film)) == 2


def test_names_that_ffmpeg_would_misread_are_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frames = frames_of(tmp_path, 2)
    for name in ("-y.mp4", "http:film.webm", "a %d [b].gif", "фильм.MOV", "-y", "pipe:1"):
        video.encode(frames, name, Fraction(25), size=64)
        assert (tmp_path / name).exists()


# What the film says of itself


@every_container
def test_any_text_comes_back_byte_for_byte(tmp_path, name):
    said = Metadata(
        HOSTILE,
        (HOSTILE * 2000)[:100_000],
        ((Fraction(0), HOSTILE), (Fraction(3, 25), ""), (Fraction(8, 25), " ; # = \\")),
    )
    video.encode(frames_of(tmp_path), tmp_path / name, Fraction(25), size=64, metadata=said)
    title, comment, chapters = said_by(tmp_path / name)
    assert title == said.title
    assert comment == said.comment
    assert chapters == [
        (0, Fraction("0.12"), HOSTILE),
        (Fraction("0.12"), Fraction("0.32"), ""),
        (Fraction("0.32"), Fraction("0.48"), " ; # = \\"),
    ]
    assert probe.read_metadata(tmp_path / name) == said


@every_container
@pytest.mark.parametrize(
    "text", ["\\", "=", ";", "#", "\n", "\r", "\r\n", " ", "\\\\", "\\\n", "a\n\n[STREAM]\n", "[CHAPTER]"], ids=repr
)
def test_a_text_of_nothing_but_marks_comes_back(tmp_path, name, text):
    said = Metadata(text, text, ((Fraction(0), text), (Fraction(1, 25), text)))
    video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25), size=64, metadata=said)
    assert said_by(tmp_path / name) == (
        text,
        text,
        [(0, Fraction(1, 25), text), (Fraction(1, 25), Fraction(2, 25), text)],
    )


@every_container
def test_what_no_film_can_hold_is_replaced_and_not_the_end_of_the_text(tmp_path, name):
    said = Metadata("a\0b", "lone \ud800 half")
    video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25), size=64, metadata=said)
    assert said_by(tmp_path / name) == ("a\ufffdb", "lone ? half", [])


@every_container
def test_a_long_title_of_a_chapter_ends_with_a_whole_letter(tmp_path, name):
    said = Metadata("", "", ((Fraction(0), "é" * 300), (Fraction(1, 25), "x" * 300)))
    video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25), size=64, metadata=said)
    assert [title for _, _, title in said_by(tmp_path / name)[2]] == ["é" * 127, "x" * 255]


@every_container
@pytest.mark.parametrize("fps", [Fraction(24), Fraction(24000, 1001), Fraction(60), Fraction("13.37")], ids=str)
def test_a_chapter_starts_with_its_own_frame(tmp_path, name, fps):
    firsts = [0, 1, 5, 11]
    said = Metadata("title", "", tuple((first / fps, f"from {first}") for first in firsts))
    video.encode(frames_of(tmp_path), tmp_path / name, fps, size=64, metadata=said)
    times = times_in(tmp_path / name)
    chapters = said_by(tmp_path / name)[2]
    # What a player shows that goes there.
    assert [sum(time <= start for time in times) - 1 for start, _, _ in chapters] == firsts
    assert [end for _, end, _ in chapters[:-1]] == [start for start, _, _ in chapters[1:]]
    assert abs(chapters[-1][1] - 12 / fps) < Fraction(1, 500)


@every_container
def test_chapters_cover_the_film_from_its_start(tmp_path, name):
    said = Metadata("title", "", ((Fraction(1, 5), "late"), (Fraction(2, 5), "later")))
    video.encode(frames_of(tmp_path), tmp_path / name, Fraction(25), size=64, metadata=said)
    assert [(start, title) for start, _, title in said_by(tmp_path / name)[2]] == [
        (0, "late"),
        (Fraction(2, 5), "later"),
    ]


@every_film
def test_a_film_without_metadata_says_nothing(tmp_path, name, codec):
    film = film_of(tmp_path, name, codec)
    assert said_by(film) == (None, None, [])
    assert probe.read_metadata(film) == Metadata("", "")
    # Nor, by their versions and settings, who made it, when and on how many cores. Matroska wants a name.
    assert not re.findall(rb"Lav[cf]\d|x26[45] [-(]|threads=|creation_time", film.read_bytes())


@pytest.mark.parametrize(
    "comment", ["short", "ü" * 400, "x" * 255, "x" * 256, "\\x21\\xfe;" * 99], ids=lambda it: str(len(it))
)
def test_a_gif_has_room_for_the_comment_and_plays_as_without(tmp_path, comment):
    said, bare = tmp_path / "said.gif", tmp_path / "bare.gif"
    frames = frames_of(tmp_path, 4)
    video.encode(frames, said, Fraction(25), size=64, metadata=Metadata("a title", comment, ((Fraction(0), "one"),)))
    video.encode(frames, bare, Fraction(25), size=64)
    assert probe.read_metadata(said) == Metadata("", comment)
    assert probe.read_metadata(bare) == Metadata("", "")
    assert gif_parts(said) == gif_parts(bare)
    with Image.open(said) as one, Image.open(bare) as other:
        assert one.info["comment"].decode() == comment
        for number in range(4):
            one.seek(number)
            other.seek(number)
            assert one.convert("RGB").tobytes() == other.convert("RGB").tobytes()


def test_the_metadata_of_what_is_no_film_is_refused(tmp_path):
    (frame,) = frames_of(tmp_path, 1)
    (tmp_path / "notes.mp4").write_text("a shopping list")
    (tmp_path / "empty.mp4").touch()
    # ffmpeg would open what these name.
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {frame.name}\n")
    (tmp_path / "live.mp4").write_text(f"#EXTM3U\n#EXTINF:1,\n{frame.name}\n#EXT-X-ENDLIST\n")
    sound = ["-f", "lavfi", "-i", "anullsrc=duration=0.1", "-metadata", "title=a song", tmp_path / "sound.mp4"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *sound], check=True)
    for name in ("notes.mp4", "empty.mp4", "list.mp4", "live.mp4", "sound.mp4", frame.name):
        with pytest.raises(Error) as refusal:
            probe.read_metadata(tmp_path / name)
        assert str(refusal.value) == f"{tmp_path / name} is not a film that ffmpeg can read"
    for name, reason in (("nothing.mp4", "No such file or directory"), (".", "Is a directory")):
        with pytest.raises(Error) as refusal:
            probe.read_metadata(tmp_path / name)
        assert str(refusal.value) == f"{tmp_path / name} cannot be read ({reason})"


@every_film
def test_what_players_are_told_of_the_colours_can_be_read_back(tmp_path, name, codec):
    said = Metadata("color_range:pc fmt:rgb24 color_space:gbr", "")
    video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25), size=64, codec=codec, metadata=said)
    rgb = {"hap": "rgb0, pc, gbr", "hapq": "rgb0, pc, gbr", "dxv": "rgba, pc, gbr"}
    pixels = "yuv422p10le" if codec == "prores" else "yuv420p"
    assert probe.stream_info(tmp_path / name)[3] == rgb.get(codec, f"{pixels}, tv, bt709")


@every_format
def test_timestamps_are_those_that_another_reader_sees(tmp_path, name, codec):
    film = film_of(tmp_path, name, codec, fps=Fraction(24000, 1001))
    assert probe.timestamps(film)[:2] == (times_in(film), (64, 64))


# A folder of PNG files


def test_an_export_is_the_frames_as_they_are_numbered_from_zero(tmp_path):
    frames = frames_of(tmp_path)
    video.validate(tmp_path / "folder")
    video.encode(frames, tmp_path / "folder", Fraction(25), metadata=probe.Metadata("", ""))
    pictures = sorted((tmp_path / "folder").iterdir())
    assert [picture.name for picture in pictures] == [f"{index:06d}.png" for index in range(12)]
    assert [picture.read_bytes() for picture in pictures] == [frame.read_bytes() for frame in frames]
    assert not list(tmp_path.glob(".*"))


def test_an_export_without_metadata_is_the_pictures_alone(tmp_path):
    frames = frames_of(tmp_path)
    for frame in frames:
        info = PngInfo()
        info.add_text("walk", "a secret prompt")
        Image.open(frame).save(frame, pnginfo=info)
    video.encode(frames, tmp_path / "folder", Fraction(25))
    for frame, picture in zip(frames, sorted((tmp_path / "folder").iterdir())):
        assert b"secret" in frame.read_bytes()
        assert b"secret" not in picture.read_bytes()
        assert (np.asarray(Image.open(picture)) == np.asarray(Image.open(frame))).all()


def test_an_export_is_resized_when_a_size_is_asked(tmp_path):
    video.encode(frames_of(tmp_path, 3, size=(48, 32)), tmp_path / "folder", Fraction(25), size=65)
    for index in range(3):
        with Image.open(tmp_path / "folder" / f"{index:06d}.png") as picture:
            assert (picture.size, picture.getpixel((49, 32))) == ((98, 65), COLOURS[index])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_an_export_of_another_size_keeps_the_kind_of_its_pictures(tmp_path, mode):
    frame = tmp_path / "frame.png"
    Image.linear_gradient("L").convert(mode).save(frame)
    video.encode([frame], tmp_path / "folder", Fraction(25), size=128)
    with Image.open(tmp_path / "folder" / "000000.png") as picture, Image.open(frame) as whole:
        assert picture.mode == mode
        assert (np.asarray(picture) == np.asarray(whole.resize((128, 128), Image.Resampling.LANCZOS))).all()


def test_an_older_export_is_replaced_to_its_last_frame(tmp_path):
    frames = frames_of(tmp_path)
    video.encode(frames, tmp_path / "folder", Fraction(25))
    video.encode(frames[:3], tmp_path / "folder", Fraction(25))
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == ["000000.png", "000001.png", "000002.png"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("left", [".DS_Store", "Thumbs.db", "desktop.ini", "._000000.png"])
def test_an_export_that_was_looked_at_is_replaced(tmp_path, left):
    """Systems leave files in a folder that they show."""
    frames = frames_of(tmp_path, 3)
    folder = tmp_path / "folder"
    video.encode(frames, folder, Fraction(25))
    (folder / left).write_bytes(b"where its window was")
    video.validate(folder)
    video.encode(frames[:1], folder, Fraction(25))
    assert [path.name for path in folder.iterdir()] == ["000000.png"]
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("foreign", ["notes.txt", "1.png", "000007.png", ".hidden", "000001.PNG", "frames"])
def test_a_folder_with_anything_else_in_it_is_not_touched(tmp_path, foreign):
    frames = frames_of(tmp_path, 3)
    folder = tmp_path / "folder"
    video.encode(frames[:1], folder, Fraction(25))
    (folder / foreign).write_bytes(b"dear")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    message = f"{folder} has {foreign} in it, so it is not an earlier export, and is not replaced; give another name"
    for attempt in (lambda: video.validate(folder), lambda: video.encode(frames, folder, Fraction(25))):
        with pytest.raises(Error) as refusal:
            attempt()
        assert str(refusal.value) == message
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(tmp_path.glob(".*"))


def test_a_file_is_not_replaced_by_a_folder(tmp_path):
    (tmp_path / "film").write_bytes(b"dear")
    with pytest.raises(Error) as refusal:
        video.validate(tmp_path / "film")
    assert str(refusal.value) == f"{tmp_path / 'film'} cannot be written (Not a directory)"


def test_a_link_to_a_folder_is_replaced_and_not_what_it_leads_to(tmp_path):
    frames = frames_of(tmp_path, 3)
    video.encode(frames, tmp_path / "elsewhere", Fraction(25))
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    video.encode(frames[:1], tmp_path / "folder", Fraction(25))
    assert [len(list((tmp_path / name).iterdir())) for name in ("elsewhere", "folder")] == [3, 1]


@pytest.mark.parametrize("size", [None, 48])
def test_a_broken_frame_leaves_no_export_and_the_old_one_untouched(tmp_path, size):
    frames = frames_of(tmp_path)
    folder = tmp_path / "folder"
    video.encode(frames[:2], folder, Fraction(25), metadata=probe.Metadata("", ""))
    frames[5].write_bytes(frames[5].read_bytes()[:-40])
    with pytest.raises(Error) as refusal:
        video.encode(frames, folder, Fraction(25), size=size)
    assert str(refusal.value) == f"{frames[5]} is not a whole picture"
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [frame.read_bytes() for frame in frames[:2]]
    assert not list(tmp_path.glob(".*"))


def test_what_a_kill_left_is_removed_and_nothing_else(tmp_path):
    for name in (".folder.17.part", ".folder.17.old.part", ".folder.mp4.17.part"):
        video.encode(frames_of(tmp_path, 1), tmp_path / "x", Fraction(25))
        (tmp_path / "x").rename(tmp_path / name)
    (tmp_path / ".folder.mp4.18.part").write_bytes(b"half a film")
    video.encode(frames_of(tmp_path, 1), tmp_path / "folder", Fraction(25))
    assert {path.name for path in tmp_path.glob(".*")} == {".folder.mp4.17.part", ".folder.mp4.18.part"}
    video.encode(frames_of(tmp_path, 1), tmp_path / "folder.mp4", Fraction(25))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt])
def test_a_folder_that_another_was_to_replace_is_there_again(tmp_path, monkeypatch, stop):
    frames, folder = frames_of(tmp_path, 3), tmp_path / "folder"
    video.encode(frames[:2], folder, Fraction(25))
    usual = os.replace

    def replace(part, path):
        if path == folder and ".old." not in part.name:
            raise stop(5, "Input/output error")
        usual(part, path)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Error if stop is OSError else stop):
        video.encode(frames, folder, Fraction(25))
    monkeypatch.undo()
    assert len(list(folder.iterdir())) == 2
    assert not list(tmp_path.glob(".*"))
    folder.rename(tmp_path / ".folder.17.old.part")  # as a kill leaves it at that moment
    frames[1].write_bytes(b"broken")
    with pytest.raises(Error, match="is not a whole picture"):
        video.encode(frames, folder, Fraction(25))
    assert len(list(folder.iterdir())) == 2
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(sys.platform == "darwin", reason="flushes by another call")
@pytest.mark.parametrize("name", ["film.mp4", "folder"])
def test_a_film_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch, name):
    on_disk = watched(monkeypatch)
    video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25))
    assert on_disk == {name: True}


@pytest.mark.skipif(os.name != "posix", reason="no such call")
@pytest.mark.parametrize("name", ["film.mp4", "folder"])
def test_a_film_has_its_place_for_good_before_it_is_said_to_be_made(tmp_path, monkeypatch, name):
    # Else after a power cut the film before it could be there again, which its run folder no longer knows.
    done, usual, sync = [], os.replace, os.fsync

    def replace(part, path):
        usual(part, path)
        done.append(path)

    def fsync(handle):
        sync(handle)
        if os.path.samestat(os.fstat(handle), tmp_path.stat()):
            done.append("lasts")

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "fsync", fsync)
    video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25))
    assert done == [tmp_path / name, "lasts"]


def test_a_film_below_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"dear")
    with pytest.raises(Error, match=r"film\.mp4 cannot be written"):
        video.encode(frames_of(tmp_path, 1), tmp_path / "file" / "film.mp4", Fraction(25))


# What is refused before anything is rendered


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        *[
            (name, {}, f"{name}: a film's name ends in .mp4, .webm, .mov or .gif; a folder of PNG files is written FOLDER/")
            for name in ("film.avi", "film.mp4.png", "film.", "..", ".mp4", ".", "/")
        ],
        ("film.mp4", {"size": 65}, "size 65 is not possible; the film's short side is an even number from 16 to 8192"),
        ("film.mov", {"size": 14}, "size 14 is not possible; the film's short side is an even number from 16 to 8192"),
        ("film.mp4", {"size": "64x65"}, "size 64x65 is not possible; each of the film's sides is an even number from 16 to 8192"),
        ("film.mov", {"size": "1080x1920", "codec": "dxv"}, "size 1080x1920 is not possible; for dxv each of the film's sides is a multiple of 16 from 16 to 8192, such as 1088x1920"),
        ("film.mp4", {"size": "large"}, "size large is not possible; the film's short side is an even number from 16 to 8192"),
        ("film.gif", {"size": 8193}, "size 8193 is not possible; the film's short side is a number from 16 to 8192"),
        ("film.mov", {"size": 90, "codec": "hapq"}, "size 90 is not possible; for hapq the film's short side is a multiple of 4 from 16 to 8192, such as 88"),
        ("film.mov", {"size": 1080, "codec": "dxv"}, "size 1080 is not possible; for dxv the film's short side is a multiple of 16 from 16 to 8192, such as 1088"),
        ("folder", {"size": 0}, "size 0 is not possible; the film's short side is a number from 16 to 8192"),
        ("film.mp4", {"quality": 52}, "quality 52 is out of range; for h264 it is a whole number from 1 (best) to 51"),
        ("film.mov", {"quality": -1, "codec": "h265"}, "quality -1 is out of range; for h265 it is a whole number from 0 (best) to 51"),
        ("film.webm", {"quality": 64}, "quality 64 is out of range; for vp9 it is a whole number from 0 (best) to 63"),
        ("film.mov", {"quality": 17}, "quality 17 has no meaning for prores; leave it out"),
        ("film.mov", {"quality": 17, "codec": "hap"}, "quality 17 has no meaning for hap; leave it out"),
        ("film.gif", {"quality": 17}, "quality 17 has no meaning for gif; leave it out"),
        ("folder", {"quality": 17}, "quality 17 has no meaning for png; leave it out"),
        ("film.gif", {"codec": "h264"}, "codec h264 is not possible in .gif; it goes into .mp4 or .mov"),
        ("film.mov", {"codec": "dxv3"}, "codec dxv3 is not possible in .mov; did you mean dxv?"),
        ("folder", {"codec": "h264"}, "codec h264 is not possible in a folder; it goes into .mp4 or .mov"),
    ],
)  # fmt: skip
def test_what_a_format_cannot_do_is_refused_with_what_it_can(tmp_path, monkeypatch, name, given, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Error) as refusal:
        video.validate(name, **given)
    assert str(refusal.value) == message


LISTED = {"libx264": "h264", "libx264rgb": "h264", "h264_nvenc": "h264", "h264_vaapi": "h264", "libvpx-vp9": "vp9"}
LISTED |= {"libaom-av1": "av1", "prores_ks": "prores", "prores": "prores", "mpeg4": "mpeg4", "gif": "gif"}


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        ("film.mp4", "vp9", "codec vp9 is not possible in .mp4; it goes into .webm"),
        ("film.mp4", "h264_qsv", "codec h264_qsv is not possible in .mp4; this ffmpeg has h264, av1, h264_nvenc, libaom-av1 or libx264 for it"),
        ("film.mp4", "h265", "codec h265 is not possible in .mp4; this ffmpeg has h264, av1, h264_nvenc, libaom-av1 or libx264 for it"),
        ("film.mp4", "mpeg4", "codec mpeg4 is not possible in .mp4; this ffmpeg has h264, av1, h264_nvenc, libaom-av1 or libx264 for it"),
        ("film.mp4", "libx264rgb", "codec libx264rgb is not possible in .mp4; this ffmpeg has h264, av1, h264_nvenc, libaom-av1 or libx264 for it"),
        ("film.webm", "h264", "codec h264 is not possible in .webm; it goes into .mp4 or .mov"),
        ("film.mov", "hapq", "codec hapq is not possible in .mov; this ffmpeg has prores, h264, h264_nvenc, libx264 or prores_ks for it"),
        ("film.mov", "x; rm", "codec x; rm is not possible in .mov; this ffmpeg has prores, h264, h264_nvenc, libx264 or prores_ks for it"),
        ("folder", None, "codec png is not possible in a folder; this ffmpeg has none for it"),
    ],
)  # fmt: skip
def test_an_encoder_that_is_not_there_or_does_not_fit_is_refused_with_those_that_do(monkeypatch, name, codec, message):
    monkeypatch.setattr(ffmpeg, "encoders", lambda: LISTED)
    with pytest.raises(Error) as refusal:
        video.validate(name, codec=codec)
    assert str(refusal.value) == message


def test_an_encoder_without_its_hardware_is_refused_before_anything_is_rendered(tmp_path, monkeypatch):
    # As with NVENC, which ffmpeg lists on any machine.
    monkeypatch.setattr(ffmpeg, "encoders", lambda: LISTED | {"h264_none": "h264"})
    with pytest.raises(Error) as refusal:
        video.validate(tmp_path / "film.mp4", codec="h264_none")
    assert str(refusal.value) == (
        "codec h264_none does not work on this machine: ffmpeg could not make the film: Unknown encoder 'h264_none'"
    )
    assert not list(tmp_path.iterdir())


# What goes wrong while the film is made


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.mov", "film.gif"])
def test_what_ffmpeg_cannot_read_leaves_no_film_and_the_old_one_untouched(tmp_path, name):
    frames = frames_of(tmp_path)
    frames[5].write_bytes(b"not a picture")
    film = tmp_path / name
    film.write_bytes(b"the old film")
    with pytest.raises(Error, match=rf"^{frames[5]} is not a picture of the same size and kind as {frames[0]}$"):
        video.encode(frames, film, Fraction(25))
    assert film.read_bytes() == b"the old film"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["film.mp4", "film.gif"])
def test_a_frame_that_is_gone_is_named(tmp_path, name):
    frames = frames_of(tmp_path)
    frames[5].unlink()
    with pytest.raises(Error) as refusal:
        video.encode(frames, tmp_path / name, Fraction(25))
    assert str(refusal.value) == f"{frames[5]} cannot be read (No such file or directory)"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("name", ["film.mp4", "film.gif", "folder"])
def test_a_full_disk_is_said(tmp_path, name):
    # A limit on the size of files is the nearest that a test comes to a full disk.
    frames = busy_frames(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(Error):
            video.encode(frames, tmp_path / name, Fraction(25), size=192)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / name).exists()
    assert not list(tmp_path.glob(".*"))


def test_a_sound_for_which_there_is_no_room_says_so(tmp_path):
    frames, sound = frames_of(tmp_path), Sound(np.zeros((23040, 2), np.float32), 48000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(Error, match=r"film\.mp4 cannot be written \(File too large\)$"):
            video.encode(frames, tmp_path / "film.mp4", Fraction(25), sound=sound)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob(".*"))


@every_container
def test_a_film_that_is_not_what_was_asked_is_found(tmp_path, name):
    said = Metadata("title", "comment", ((Fraction(0), "start"),))
    video.encode(frames_of(tmp_path), tmp_path / name, Fraction(25), size=64, metadata=said)
    video.check(tmp_path / name, 12, Fraction(25), (64, 64), said)
    for changes, message in (
        ({"frames": 13}, "12 frames instead of 13"),
        ({"fps": Fraction(24)}, "frames that are not at 24 a second"),
        ({"size": (64, 66)}, "64x64 pixels instead of 64x66"),
        ({"metadata": Metadata("title", "Comment")}, "other metadata than it was given"),
    ):
        with pytest.raises(Error) as refusal:
            video.check(tmp_path / name, **({"frames": 12, "fps": Fraction(25), "size": (64, 64)} | changes))
        assert str(refusal.value) == f"the film that ffmpeg made has {message}"


def test_rates_that_are_nearly_the_same_are_told_apart(tmp_path):
    video.encode(frames_of(tmp_path), tmp_path / "film.mp4", Fraction(24000, 1001), size=64)
    with pytest.raises(Error, match=r"^the film that ffmpeg made has frames that are not at 2997/125 a second$"):
        video.check(tmp_path / "film.mp4", 12, Fraction("23.976"), (64, 64))


def test_a_film_that_cannot_be_read_is_found(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(Error, match=r"^the film that ffmpeg made cannot be read"):
        video.check(tmp_path / "film.mp4", 12, Fraction(25), (64, 64))


def test_text_that_looks_like_what_ffmpeg_reports_does_not_confuse_the_check(tmp_path):
    # moviepy's reader, which reads ffmpeg's report for the eye, fails on such a film.
    text = "x\n  Duration: 00:99:00\n    Stream #0:0: Video: h264, 4x4\n  Chapter #0:0: start zz\n#dimensions 0: 4x4"
    said = Metadata(text, text, ((Fraction(0), text),))
    for name in ("film.mp4", "film.webm", "film.mov"):
        video.encode(frames_of(tmp_path, 2), tmp_path / name, Fraction(25), size=64, metadata=said)


def test_frames_are_done_when_they_are_encoded(tmp_path):
    counts = []
    video.encode(frames_of(tmp_path), tmp_path / "film.mp4", Fraction(25), report=counts.append)
    assert counts[:12] == [count // 2 for count in range(1, 13)]  # x264 looks ahead at more than there are
    assert counts == sorted(counts)
    assert counts[-1] == 12
    counts.clear()
    video.encode(frames_of(tmp_path), tmp_path / "folder", Fraction(25), report=counts.append)
    assert counts == list(range(1, 13))


def test_both_passes_of_a_gif_are_half_of_the_progress(tmp_path):
    counts = []
    video.encode(frames_of(tmp_path, 4), tmp_path / "film.gif", Fraction(25), size=64, report=counts.append)
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 4)
    assert counts.count(2) >= 3  # the end of one, and the first two frames of the other


def test_every_row_of_options_is_one_that_ffmpeg_knows():
    # Where the hardware is missing, this is all that can be said.
    program = imageio_ffmpeg.get_ffmpeg_exe()
    for name in ("h264_nvenc", "hevc_nvenc", "av1_nvenc", "h264_amf", "hevc_amf"):
        if name in ffmpeg.encoders():
            text = subprocess.run(
                [program, "-hide_banner", "-h", f"encoder={name}"], capture_output=True, text=True
            ).stdout
            own = set(re.findall(r"^ +-(\S+)", text, re.M))
            given = {option[1:] for option in formats.row(name).options.split() if option.startswith("-")}
            assert given - {"b:v"} <= own


# A film with sound

SOUND_FILMS = [("film.mp4", "h264"), ("film.mov", "prores"), ("film.webm", "vp9")]
every_film_with_sound = pytest.mark.parametrize(("name", "codec"), SOUND_FILMS)


def ends_of(film):
    """When a film's pictures and its sound end, in seconds, by PyAV's packets; and the number of frames."""
    with av.open(str(film)) as container:
        packets = [packet for packet in container.demux(video=0, audio=0) if packet.size]
        tracks = [[one for one in packets if one.stream.type == kind] for kind in ("video", "audio")]
        ends = [max((one.pts + one.duration) * one.time_base for one in track) for track in tracks]
    return *ends, len(tracks[0])


def heard_in(film):
    """(samples, rate) of a film's sound, by PyAV."""
    with av.open(str(film)) as container:
        frames = [frame for frame in container.decode(audio=0)]
        assert abs(frames[0].pts * frames[0].time_base) <= Fraction(1, 1000)
        planes = [frame.to_ndarray() for frame in frames]
        channels = frames[0].layout.nb_channels
        if not frames[0].format.is_planar:
            planes = [plane.reshape(-1, channels).T for plane in planes]
        samples = np.concatenate(planes, axis=1).T
        samples = samples / 2.0**31 if samples.dtype == np.int32 else samples
        return samples, frames[0].sample_rate


@every_film_with_sound
@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (48000, 1), (22050, 6)], ids=str)
def test_sound_keeps_its_channels_its_rate_and_its_length(tmp_path, name, codec, rate, channels):
    sound = music(rate, rate, channels)
    film = tmp_path / name
    video.encode(frames_of(tmp_path, 25), film, Fraction(25), size=16, codec=codec, sound=sound)
    samples, heard = heard_in(film)
    _, seconds, _ = ends_of(film)
    assert (heard, samples.shape[1]) == (rate, channels)
    assert abs(seconds - 1) <= (Fraction(1, 500) if name == "film.webm" else 0)
    for channel in range(channels):  # in their order
        alike = [difference(sound.samples[:, channel], samples[:rate, other]) for other in range(channels)]
        assert alike[channel] == min(alike) < -15
    assert len(colours_in(film)) == 25


def tones(channels, rate=44100):
    """Another tone in each channel, for 0.6 s."""
    hertz, k = 500 + 300 * np.arange(channels), np.arange(rate * 3 // 5)
    return Sound(0.2 * np.sin(2 * np.pi * hertz * k[:, None] / rate).astype(np.float32), rate)


def powers_in(film, channels):
    """(channels, channels): how much of each channel is heard of each of those tones, 1 for all of it; by soundfile."""
    samples, rate = soundfile.read(made_of(film, "heard.wav", "-vn", "-c:a", "pcm_f32le"), always_2d=True)
    assert samples.shape[1] == channels
    spectra = np.abs(np.fft.rfft(samples[1000 : 1000 + rate // 2].T * np.hanning(rate // 2))) / (rate * 0.025)
    return spectra[:, (500 + 300 * np.arange(channels)) // 2]


@pytest.mark.parametrize(
    ("name", "codec", "channels"),
    [  # plain numbers need not be tried with as many
        (name, codec, channels)
        for name, codec in SOUND_FILMS
        for channels in ((1, 2, 3, 6, 8) if name == "film.mov" else range(1, 9))
    ],
)
def test_each_of_up_to_eight_channels_is_heard_where_it_was(tmp_path, name, codec, channels):
    sound, lost = tones(channels), name == "film.webm" and channels == 6  # Vorbis has a subwoofer among six
    video.encode(frames_of(tmp_path, 15), tmp_path / name, Fraction(25), size=16, codec=codec, sound=sound)
    heard = np.round(powers_in(tmp_path / name, channels), 1)
    expected = np.eye(channels)
    if lost:
        assert "keeps only what is below 120 Hz; .mov keeps all of it" in sounds.muffling_note(name, sound)
        expected[3] = 0
    else:
        assert sounds.muffling_note(name, sound) == ""
    assert (heard == expected).all()


@pytest.mark.parametrize("name", ["film.mp4", "film.mov"])
@pytest.mark.parametrize("layout", ["3.0", "2.1", "4.0", "quad", "5.0", "5.1", "6.1(back)", "7.1"])
def test_a_sounds_layout_stays_as_its_file_says(tmp_path, name, layout):
    channels = round(sum(map(int, layout[:3].split(".")))) if layout != "quad" else 4
    raw, source = tmp_path / "a.raw", tmp_path / "a.wav"
    music(8820, 44100, channels).samples.tofile(raw)
    read = ["-f", "f32le", "-ar", "44100", "-ch_layout", layout, "-i", raw, source]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", *read], check=True)
    sound = sounds.read_sound(source)
    assert sound.layout == layout
    video.encode(frames_of(tmp_path, 5), tmp_path / name, Fraction(25), size=16, sound=excerpts.loop(sound, 0, 8820))
    assert sounds.read_sound(tmp_path / name).layout == layout


def test_a_file_that_does_not_say_where_its_channels_are_heard_leaves_it_open(tmp_path):
    for channels in (3, 4, 6):
        assert sounds.read_sound(wav(tmp_path / "a.wav", music(4410, 44100, channels))).layout == ""


def test_a_subwoofer_keeps_its_channel_and_of_more_than_bass_is_said_what_is_lost(tmp_path):
    low, full = music(44100, 44100, 6), tones(6)
    video.encode(frames_of(tmp_path, 25), tmp_path / "film.mp4", Fraction(25), size=16, sound=low)
    assert sounds.read_sound(tmp_path / "film.mp4").layout == "5.1"
    assert [sounds.muffling_note(name, low) for name in ("a.mp4", "a.webm", "a.mov")] == ["", "", ""]
    said = Sound(full.samples, 44100, layout="5.1")
    assert [sounds.muffling_note(name, said) for name in ("a.mp4", "a.mov")] == [
        "channel 4 of 6 is a subwoofer's (5.1), of which .mp4 keeps only what is below 120 Hz; .mov keeps all of it",
        "",
    ]


@every_film_with_sound
def test_a_signal_on_the_left_stays_on_the_left(tmp_path, name, codec):
    sound = music(44100, 44100)
    sound.samples[:, 1] = 0
    video.encode(frames_of(tmp_path, 25), tmp_path / name, Fraction(25), size=16, codec=codec, sound=sound)
    samples, _ = heard_in(tmp_path / name)
    assert np.abs(samples[:, 0]).max() > 0.2
    assert np.abs(samples[:, 1]).max() == 0


@every_film_with_sound
@pytest.mark.parametrize("rate", [44100, 48000])
def test_a_click_is_heard_with_its_frame(tmp_path, name, codec, rate):
    sound = clicks(rate * 2, rate)
    video.encode(frames_of(tmp_path, 60), tmp_path / name, Fraction(30), size=16, codec=codec, sound=sound)
    samples, _ = heard_in(tmp_path / name)
    for place in np.flatnonzero(sound.samples[:, 0]):
        begin = max(place - 500, 0)
        assert abs(begin + np.argmax(np.abs(samples[begin : place + 500, 0])) - place) <= 1


@every_film_with_sound
def test_the_same_frames_and_sound_are_the_same_bytes(tmp_path, name, codec):
    frames, said = (
        busy_frames(tmp_path, 12),
        Metadata("title", "comment", ((Fraction(0), "one"), (Fraction(3, 25), "two"))),
    )
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        video.encode(frames, tmp_path / folder / name, Fraction(25), 192, None, codec, said, sound=music(21168, 44100))
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@every_container
@pytest.mark.parametrize("fps", [Fraction(25), Fraction(24000, 1001)], ids=str)
def test_sound_moves_neither_frames_nor_chapters(tmp_path, name, fps):
    said = Metadata(HOSTILE, HOSTILE, ((Fraction(0), HOSTILE), (3 / fps, "later")))
    sound = music(nearest(12 / fps * 44100), 44100)
    for film, heard in ((tmp_path / name, sound), (tmp_path / f"mute-{name}", None)):
        video.encode(frames_of(tmp_path), film, fps, size=64, metadata=said, sound=heard)
    assert times_in(tmp_path / name) == times_in(tmp_path / f"mute-{name}")
    (title, comment, chapters), (_, _, mute) = said_by(tmp_path / name), said_by(tmp_path / f"mute-{name}")
    assert (title, comment) == (HOSTILE, HOSTILE)
    assert chapters == mute


@every_container
def test_a_film_with_sound_and_without_metadata_says_nothing(tmp_path, name):
    video.encode(frames_of(tmp_path), tmp_path / name, Fraction(24), size=64, sound=music(22050, 44100))
    assert said_by(tmp_path / name) == (None, None, [])
    assert not re.findall(rb"Lav[cf]\d|x26[45] [-(]|creation_time", (tmp_path / name).read_bytes())


@pytest.mark.parametrize(
    ("name", "rate", "heard"),
    [
        ("film.mp4", 44100, 44100),
        ("film.mp4", 192000, 96000),
        ("film.mp4", 9000, 11025),  # nothing is lost
        ("film.mp4", 4000, 7350),
        ("film.webm", 192000, 192000),
        ("film.webm", 384000, 192000),
        ("film.mov", 192000, 192000),
        ("film.mov", 9000, 9000),
    ],
)
def test_a_rate_that_the_format_does_not_have_becomes_the_next(tmp_path, name, rate, heard):
    assert formats.sound_rate(name, rate) == heard
    video.encode(
        frames_of(tmp_path, 3), tmp_path / name, Fraction(10), size=16, codec=None, sound=music(rate * 3 // 10, rate)
    )
    assert heard_in(tmp_path / name)[1] == heard


def test_film_and_sound_are_of_one_length_at_every_rate_in_every_container(tmp_path):
    # Three hundred lengths, rates and starts are in tests/benchmarks/sync.py.
    rng = random.Random(0)
    rates = [Fraction(rate) for rate in (24, 25, 30, 60)]
    rates += [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25, 2)]
    cases = [(Fraction(count), fps) for count in (29, 57, 58) for fps in (Fraction(25), Fraction(24000, 1001))]
    cases += [(Fraction(rng.uniform(0.6, 24)), fps) for fps in rates]
    frames = frames_of(tmp_path, 61, (16, 16))
    source = {rate: wav(tmp_path / f"{rate}.wav", music(rate * 7, rate, 1)) for rate in (22050, 44100, 48000)}
    for shift, name in enumerate(["film.mp4", "film.mov", "film.webm"]):
        for number, (length, fps) in enumerate(cases):
            rate = list(source)[(number + shift) % 3]
            sound = sounds.read_sound(source[rate], Fraction(rng.uniform(0, 2)), length / fps)
            count = max(1, int(sound.seconds * fps + Fraction(1, 2)))
            video.encode(frames[:count], tmp_path / name, fps, size=16, sound=sound)
            pictures, heard, shown = ends_of(tmp_path / name)
            assert shown == count
            assert abs(pictures - count / fps) <= Fraction(1, 500), (name, length, fps, rate)
            assert abs(heard - count / fps) <= 1 / (2 * fps) + Fraction(1, 500), (name, length, fps, rate)


def test_sound_waits_beside_the_film_for_tmp_may_be_small(tmp_path, monkeypatch):
    small, film = tmp_path / "small", tmp_path / "films" / "film.mp4"
    small.mkdir()
    film.parent.mkdir()
    monkeypatch.setattr(video.tempfile, "tempdir", str(small))
    feed, sizes = ffmpeg.feed, []

    def weighed(*arguments):
        sizes.append(sum(path.stat().st_size for path in small.rglob("*") if path.is_file()))
        feed(*arguments)

    monkeypatch.setattr(ffmpeg, "feed", weighed)
    video.encode(
        frames_of(tmp_path, 25), film, Fraction(25), size=16, sound=music(44100, 44100), metadata=Metadata("a", "b")
    )
    assert 0 < sizes[0] < 1000  # the texts; the sound is 350 kB
    assert list(film.parent.iterdir()) == [film]


def test_a_sound_of_less_than_a_frame_is_followed_by_silence(tmp_path):
    video.encode(frames_of(tmp_path, 1), tmp_path / "film.mp4", Fraction(10), size=16, sound=music(10, 44100))
    assert ends_of(tmp_path / "film.mp4")[1] == Fraction(1, 10)


def test_pictures_and_sound_of_different_lengths_make_no_film(tmp_path):
    for count in (23, 27):
        with pytest.raises(Error) as refusal:
            video.encode(
                frames_of(tmp_path, count), tmp_path / "film.mp4", Fraction(25), size=16, sound=music(44100, 44100)
            )
        assert str(refusal.value) == (
            f"the sound lasts 1 s, and the pictures {count / 25:.2f} s; they may differ by half a frame, 0.02 s"
        )
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("name", ["film.gif", "folder"])
def test_where_there_is_no_room_for_sound_it_is_refused(tmp_path, name):
    message = f"{tmp_path / name} cannot hold sound; a film with sound ends in .mp4, .webm or .mov"
    with pytest.raises(Error) as refusal:
        video.validate(tmp_path / name, sound=True)
    assert str(refusal.value) == message
    with pytest.raises(Error) as refusal:
        video.encode(frames_of(tmp_path, 25), tmp_path / name, Fraction(25), sound=music(8000, 8000))
    assert str(refusal.value) == message
    video.validate(tmp_path / "film.mp4", sound=True)
    assert [formats.holds_sound(tmp_path / other) for other in (name, "film.mp4", "film.WEBM", "a.mov")] == [False] + [
        True
    ] * 3
    assert formats.sound_rate(tmp_path / name, 44100) == 44100


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.webm"])
def test_a_film_whose_sound_is_not_what_was_asked_is_found(tmp_path, name):
    film = tmp_path / name
    video.encode(frames_of(tmp_path, 25), film, Fraction(25), size=16, sound=music(44100, 44100))
    video.check(film, 25, Fraction(25), (16, 16), sound=(2, 44100))
    for expected, message in (
        ((1, 44100), "sound with 2 channels instead of 1"),
        ((2, 48000), "sound of 44100 samples a second instead of 48000"),
    ):
        with pytest.raises(Error) as refusal:
            video.check(film, 25, Fraction(25), (16, 16), sound=expected)
        assert str(refusal.value) == f"the film that ffmpeg made has {message}"
    codec = ["-c:a", "libvorbis"] if name == "film.webm" else []  # unless told, Opus
    longer = made_of(film, f"longer-{name}", "-af", "apad=pad_dur=0.1", "-ar", "44100", "-c:v", "copy", *codec)
    with pytest.raises(Error, match=r"^the film that ffmpeg made has sound to 1\.\d+ s with pictures to 1 s$"):
        video.check(longer, 25, Fraction(25), (16, 16), sound=(2, 44100))
    mute = made_of(film, f"mute-{name}", "-an", "-c:v", "copy")
    with pytest.raises(Error, match=r"^the film that ffmpeg made has no sound$"):
        video.check(mute, 25, Fraction(25), (16, 16), sound=(2, 44100))


@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.webm"])
@pytest.mark.parametrize("fps", ["33.333333", "0.01", 23.976])
def test_any_rate_that_can_be_written_is_that_of_the_film(tmp_path, name, fps):
    frames = [str(frame) for frame in frames_of(tmp_path, 3)]
    video.encode(frames, tmp_path / name, fps, size=64)
    gap = float(times_in(tmp_path / name)[2]) / 2
    assert gap == pytest.approx(1 / float(fps), abs=0.0005)


def test_what_no_film_can_be_made_of_is_refused(tmp_path):
    with pytest.raises(Error, match=r"would have no frames; a film has one or more$"):
        video.encode([], tmp_path / "film.mp4", Fraction(25))
    (tmp_path / "text.png").write_text("a frame")
    for name in ("gone.png", "text.png"):
        with pytest.raises(Error, match=rf"{name} is not a whole picture$"):
            video.encode([tmp_path / name], tmp_path / "film.mp4", Fraction(25))
    frames = [*frames_of(tmp_path, 2), tmp_path / "wide.png"]
    Image.new("RGB", (96, 64)).save(frames[2])
    with pytest.raises(Error, match=r"wide\.png is not a picture of the same size and kind as "):
        video.encode(frames, tmp_path / "film.mp4", Fraction(25))
    with pytest.raises(Error, match=r"^the film would have 32768x512 pixels, and sides up to 16384 are possible"):
        formats.film_size((1024, 16))
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize(("fps", "delay"), [("33.4", 3), ("14.3", 7), ("20.05", 5)])
def test_a_rate_just_over_one_that_a_gif_has_becomes_that(fps, delay):
    assert formats.shown_fps("film.gif", Fraction(fps)) == Fraction(100, delay)
