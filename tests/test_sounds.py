"""The sound of any file, read as it is: against the samples that it was made of."""

import re
import subprocess
import wave
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from walk import Error, sounds, video
from walk.sounds import Sound


def clicks(count, rate, channels=1, every=0.25):
    """Silence with a click at its start and every quarter of a second, in the first channel only."""
    samples = np.zeros((count, channels), np.float32)
    samples[:: max(1, int(rate * every)), 0] = 0.75
    return Sound(samples, rate)


def music(count, rate, channels=2):
    """A chord and some noise, other in each channel. Of six the fourth is for low tones alone."""
    t = np.arange(count)[:, None] / rate
    tones = 0.3 * np.sin(2 * np.pi * t * [[220, 330, 440, 55, 660, 770, 880, 990, 1100][:channels]])
    return Sound((tones + np.random.default_rng(0).normal(0, 0.005, tones.shape)).astype(np.float32), rate)


def stills(folder, count):
    """The pictures of a film."""
    Image.new("RGB", (64, 64), "teal").save(folder / "still.png")
    return [folder / "still.png"] * count


def wav(path, sound):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.channels)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(np.round(sound.samples * 32768).clip(-32768, 32767).astype("<i2").tobytes())
    return path


def made_of(source, name, *options):
    """Another file, by ffmpeg itself."""
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-loglevel", "error", "-y", "-i", source]
    subprocess.run([*ffmpeg, *options, source.with_name(name)], check=True)
    return source.with_name(name)


def difference(a, b):
    """Of the noise in one signal to the signal, in dB."""
    return 10 * np.log10(np.sum((a - b) ** 2) / np.sum(a**2))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate", [8000, 44100, 48000, 96000])
def test_a_wav_is_read_to_the_bit(tmp_path, rate, channels):
    made = Sound(np.random.default_rng(0).integers(-32768, 32768, (1234, channels)).astype(np.float32) / 32768, rate)
    read = sounds.read_sound(wav(tmp_path / "a.wav", made))
    assert (read.rate, read.channels, read.seconds, read.damage) == (rate, channels, Fraction(1234, rate), "")
    assert read.samples.dtype == np.float32
    assert (read.samples == made.samples).all()


@pytest.mark.parametrize(
    ("name", "longer"),
    [("a.flac", 0), ("a.aiff", 0), ("a.mp3", 0), ("a.ogg", 0), ("a.m4a", 0), ("a.mka", 0), ("a.aac", 2048), ("a.wma", 2048)],
)  # fmt: skip
def test_what_the_encoder_added_is_not_heard_where_the_file_says_so(tmp_path, name, longer):
    made = music(44100, 44100)
    read = sounds.read_sound(made_of(wav(tmp_path / "a.wav", made), name, "-b:a", "256k"))
    assert (read.rate, read.channels, read.damage) == (44100, 2, "")
    assert abs(len(read.samples) - 44100) <= longer
    if not longer:
        assert difference(made.samples, read.samples) < -20  # a single sample late, it would be -16


def test_opus_has_a_rate_of_its_own_and_keeps_its_length(tmp_path):
    read = sounds.read_sound(made_of(wav(tmp_path / "a.wav", music(44100, 44100)), "a.opus"))
    assert (read.rate, read.channels, read.seconds) == (48000, 2, 1)


def test_the_sound_of_a_film_is_read(tmp_path):
    sound = music(22050, 22050)
    video.encode(stills(tmp_path, 25), tmp_path / "film.mov", Fraction(25), size=16, sound=sound)
    read = sounds.read_sound(tmp_path / "film.mov")
    assert (read.rate, read.seconds, read.damage) == (22050, 1, "")
    assert np.abs(read.samples - sound.samples).max() < 2**-22


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg", "a.m4a", "a.flac"])
def test_a_part_is_cut_to_the_sample(tmp_path, name):
    source = wav(tmp_path / "a.wav", music(88200, 44100))
    source = source if name == "a.wav" else made_of(source, name)
    whole = sounds.read_sound(source).samples
    for start, seconds in [
        (0, 1),
        (Fraction(1, 3), Fraction(29, 25)),
        (1, None),
        (Fraction(1, 88200), Fraction(3, 88200)),
    ]:
        # A half is rounded up.
        first = int(start * 44100 + Fraction(1, 2))
        last = None if seconds is None else first + int(seconds * 44100 + Fraction(1, 2))
        part = sounds.read_sound(source, Fraction(start), seconds and Fraction(seconds)).samples
        assert (part == whole[first:last]).all()


def test_a_sound_that_breaks_off_is_read_as_far_as_it_goes_and_says_so(tmp_path):
    source = wav(tmp_path / "a.wav", music(44100 * 3, 44100))
    mp3, flac = made_of(source, "a.mp3"), made_of(source, "a.flac")
    for path in (source, mp3, flac):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        read = sounds.read_sound(path)
        assert 1 < read.seconds < 1.7
    assert re.fullmatch(
        r".*a\.mp3 breaks off at 1\.\d+ s, though it says that it lasts 3 s", sounds.read_sound(mp3).damage
    )
    assert re.fullmatch(
        r".*a\.flac breaks off at 1\.\d+ s, though it says that it lasts 3 s", sounds.read_sound(flac).damage
    )
    assert sounds.read_sound(source).damage == f"{source} is damaged: parts of its sound cannot be read"
    # Not a part just before the end: ffmpeg reads ahead.
    assert sounds.read_sound(mp3, seconds=Fraction(1, 10)).damage == ""
    song = wav(tmp_path / "corrupt Error while decoding.wav", music(100, 44100))
    assert sounds.read_sound(song).damage == ""
    with pytest.raises(Error, match=r"^start 2 s is past the end; .*a\.mp3 breaks off at 1\.\d+ s, though it says"):
        sounds.read_sound(mp3, Fraction(2))


def test_what_has_no_sound_is_refused_with_a_reason(tmp_path):
    sound = wav(tmp_path / "sound.wav", music(44100, 44100))
    mp3 = made_of(sound, "whole.mp3").read_bytes()
    (tmp_path / "stub.mp3").write_bytes(mp3[:300])
    (tmp_path / "nothing.mp3").touch()
    (tmp_path / "notes.mp3").write_text("a shopping list\n" * 1000)
    (tmp_path / "list.mp3").write_text("#EXTM3U\n#EXTINF:1,\nsound.wav\n#EXT-X-ENDLIST\n")
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile sound.wav\n")
    wav(tmp_path / "empty.wav", music(0, 44100))
    wav(tmp_path / "many.wav", music(100, 44100, 9))
    broken = made_of(sound, "numbers.wav", "-c:a", "pcm_f32le")
    broken.write_bytes(broken.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    video.encode(stills(tmp_path, 2), tmp_path / "mute.mp4", Fraction(25), size=16)
    for name, reason in {
        "missing.mp3": "cannot be read (No such file or directory)",
        ".": "cannot be read (Is a directory)",
        "stub.mp3": "is not a sound that ffmpeg can read",
        "nothing.mp3": "is not a sound that ffmpeg can read",
        "notes.mp3": "is not a sound that ffmpeg can read",
        "list.mp3": "is not a sound that ffmpeg can read",
        "list.wav": "is not a sound that ffmpeg can read",
        "still.png": "is not a sound that ffmpeg can read",
        "mute.mp4": "has no sound",
        "empty.wav": "is empty; a sound has one sample at least",
        "many.wav": "has 9 channels; a film has room for 8",
        "numbers.wav": "has samples that are not numbers",
    }.items():
        with pytest.raises(Error) as refusal:
            sounds.read_sound(tmp_path / name)
        assert str(refusal.value) == f"{tmp_path / name} {reason}"


@pytest.mark.parametrize(
    ("start", "seconds", "message"),
    [
        (1, None, "start 1 s is past the end; {} lasts 1 s"),
        (62.5, 3, "start 62.5 s is past the end; {} lasts 1 s"),
        (0.5, 0.75, "0.5 s and 0.75 s more are past the end; {} lasts 1 s"),
        (-1, None, "{} has no part from -1 s; a part starts at 0 s or later, and lasts longer than 0 s"),
        (0, 0, "{} has no part from 0 s, for 0 s; a part starts at 0 s or later, and lasts longer than 0 s"),
    ],
)
def test_a_part_that_a_sound_does_not_have_is_refused(tmp_path, start, seconds, message):
    path = wav(tmp_path / "a.wav", music(8000, 8000))
    with pytest.raises(Error) as refusal:
        sounds.read_sound(path, Fraction(start), None if seconds is None else Fraction(seconds))
    assert str(refusal.value) == message.format(path)
