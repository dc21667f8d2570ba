"""Frames and a sound become a film, and any file its sound. The only file that starts ffmpeg.

ffmpeg comes with imageio-ffmpeg, so that none need be installed. What is made follows from the name's
suffix (FORMATS), and how an encoder is asked for quality from ENCODERS. Knows files and rates, no walks
and no music.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import IO, NamedTuple

import imageio_ffmpeg
import numpy as np
from PIL import Image

from walk import Error, gif
from walk.timeline import nearest, rate

QUALITY = 17  # x264's constant rate factor: 0 lossless, 17 hardly told from the frames, 51 worst
SHORT_SIDE = 512  # pixels; smaller pictures are enlarged to it
TITLE = 255  # bytes of a chapter's title; the list that many players read would be cut there

# It may be anybody's film: one that is a playlist would make ffmpeg open what it names.
_FILMS = "mov,matroska,webm,gif,avi,mpegts,flv,ogg"
_SOUNDS = "3gp,aac,ac3,aiff,amr,ape,asf,au,caf,dts,eac3,flac,mp3,mpc,mpc8,mpeg,nut,tak,tta,voc,w64,wav,wv"
_SAFE = ["-protocol_whitelist", "file", "-format_whitelist", _FILMS]
_SAFE_SOUND = ["-protocol_whitelist", "file", "-format_whitelist", f"{_FILMS},{_SOUNDS}"]


@dataclass(frozen=True, eq=False)
class Sound:
    """samples: (n, channels) float32, -1 .. 1. rate: samples a second.

    damage: what is missing from the file that it was read from, as a sentence; '' if nothing.
    layout: where its channels are heard, by ffmpeg's name, as in '5.1'; '' if nobody says.
    """

    samples: np.ndarray
    rate: int
    damage: str = ""
    layout: str = ""

    @property
    def seconds(self) -> Fraction:
        return Fraction(len(self.samples), self.rate)

    @property
    def channels(self) -> int:
        return self.samples.shape[1]


class Track(NamedTuple):
    """A film's sound as its packets tell: from start to end, in seconds of the film, in packets of this length."""

    channels: int
    rate: int
    start: Fraction
    end: Fraction
    packet: Fraction


@dataclass(frozen=True)
class Metadata:
    """What a film says of itself. A chapter is (start in seconds, title), and lasts until the next or the end."""

    title: str
    comment: str
    chapters: tuple[tuple[Fraction, str], ...] = ()


class Format(NamedTuple):
    codecs: tuple[str, ...]  # the first is the default
    options: str  # for the file
    sound: str = ""  # options; {} is 128 times the number of channels. None: there is no room for it
    rates: Sequence[int] = ()  # that the sound's codec has


class Encoder(NamedTuple):
    options: str  # {} is the quality
    quality: tuple[int, int, int] | None = None  # default, best, worst; None: there is nothing to choose
    pixels: str = "yuv420p"
    sides: int = 2  # width and height are multiples of it


AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)

FORMATS = {
    ".mp4": Format(
        ("h264", "h265", "av1"), "-f mp4 -movflags +faststart", sound="-c:a aac -aac_pns 0 -b:a {}k", rates=AAC_RATES
    ),
    # Vorbis has any rate, Opus only five. Its first packet, of which nothing is heard, is before the start,
    # and with older versions of ffmpeg the pictures would wait for it.
    ".webm": Format(
        ("vp9", "av1"),
        "-f webm",
        sound=r"-c:a libvorbis -q:a 8 -bsf:a setts=ts=max(TS\,0)",
        rates=range(4000, 192001),
    ),
    # QuickTime's older tags, which ffmpeg writes unless told, hold 64 kB at most.
    ".mov": Format(
        ("prores", "h264", "h265", "hap", "hapq", "dxv"),
        "-f mov -movflags +faststart+use_metadata_tags",
        sound="-c:a pcm_s24le",
        rates=range(1, 1 << 20),
    ),
    ".gif": Format(("gif",), "-f gif -loop 0"),  # 0: for ever
    "": Format(("png",), ""),  # a folder
}
SUFFIXES = tuple(suffix for suffix in FORMATS if suffix)
CHANNELS = 8  # of sound, at most

# Where channels are heard of which nobody says it: ffmpeg would take the third of three for a subwoofer's, and
# AAC keeps of that only what is below 120 Hz. Those are films' layouts, unless more than bass is in the fourth channel.
LAYOUTS = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "7.0", 8: "7.1"}
_FULL = {6: "hexagonal", 8: "octagonal"}
# What every format can be asked for; Vorbis has one of each number, and takes the channels as they come.
_NAMED = (
    *("2.1", "3.0", "3.0(back)", "3.1", "4.0", "4.1", "quad", "quad(side)", "5.0", "5.0(side)", "5.1", "5.1(side)"),
    *("6.0", "6.1", "6.1(back)", "6.1(front)", "hexagonal", "7.0", "7.0(front)", "7.1", "7.1(wide)"),
    *("7.1(wide-side)", "octagonal"),
)
_BASS = 250  # Hz; a subwoofer's channel has next to nothing above
_HEAD = 29  # bytes of a PNG, up to its size and kind
_LARGEST = 16384  # pixels of a side, in H.264
FAINTEST = 2**-16  # of the loudest: half of what 16 bits tell apart

CODECS = {  # which encoder makes it, with the option that it takes: the first that this ffmpeg has
    "h264": ("libx264",),
    "h265": ("libx265",),
    "av1": ("libsvtav1", "libaom-av1"),  # SVT is ten times as fast, but not in every build
    "vp9": ("libvpx-vp9",),
    "prores": ("prores_ks",),
    "hap": ("hap",),
    "hapq": ("hap -format hap_q",),
    "dxv": ("dxv",),
    "gif": ("gif",),
    "png": ("png",),
}

# Each default is as near to the frames as x264's 17 (SSIM of 0.998 for the built-in model's). Encoders
# that would sign the stream with their name and settings are asked not to, or the note is taken out.
ENCODERS = {
    "libx264": Encoder("-crf {} -bsf:v filter_units=remove_types=6", (QUALITY, 0, 51)),
    "libx265": Encoder("-crf {} -x265-params info=0:log-level=error", (18, 0, 51)),
    "libsvtav1": Encoder("-crf {} -preset 6", (20, 1, 63)),
    "libaom-av1": Encoder("-crf {} -b:v 0 -cpu-used 6 -row-mt 1", (20, 0, 63)),
    "libvpx-vp9": Encoder("-crf {} -b:v 0 -deadline good -cpu-used 2 -row-mt 1", (20, 0, 63)),
    "prores_ks": Encoder("-profile:v 2 -vendor apl0", None, "yuv422p10le"),  # 2: ProRes 422
    # Blocks of 4x4 pixels, which the GPU unpacks. A frame of HAP is one chunk, as its makers advise up to HD: even of
    # 4K the CPU has 3 ms of work. DXV has squares of 16x16: where ffmpeg 7 does not fill the last of them up, Resolume
    # shows nothing, and where later ones do, those up to 8 read it askew.
    "hap": Encoder("", None, "rgba", 4),
    "hap -format hap_q": Encoder("", None, "rgba", 4),
    "dxv": Encoder("", None, "rgba", 16),
    "gif": Encoder("", None, "pal8", 1),
    "png": Encoder("", None, "rgb24", 1),
    # By ffmpeg's own names only, and tried before they are used (`validate`).
    "prores*": Encoder("-profile:v 2", None, "yuv422p10le"),
    "librav1e": Encoder("-qp {} -speed 6", (60, 0, 255)),
    "*_nvenc": Encoder("-preset slow -rc vbr -cq {} -b:v 0", (19, 1, 51)),
    "*_qsv": Encoder("-global_quality {}", (19, 1, 51)),
    "*_amf": Encoder("-rc cqp -qp_i {0} -qp_p {0}", (19, 0, 51)),
    "*_videotoolbox": Encoder("-q:v {}", (75, 100, 1)),
    "*": Encoder("-b:v 20M"),  # what ffmpeg gives unless told can be 200 kbit a second
}


def encode(
    frames: Sequence[Path | str],
    out: Path | str,
    fps: Fraction | float | str,
    size: int | None = None,
    quality: int | None = None,
    codec: str | None = None,
    metadata: Metadata | None = None,
    report: Callable[[int], object] = lambda count: None,
    sound: Sound | None = None,
) -> None:
    """Make a film of PNG files of one size, at a constant rate, in BT.709 (or in RGB, as GIF, PNG, HAP or DXV).

    out: its suffix is one of FORMATS; without one it is a folder, for the frames as they are.
    fps: as `walk.timeline.rate` reads it; a GIF takes the nearest that it can show (`shown_fps`), a folder none.
    size: pixels on the film's short side; None: the frames' own, but 512 at least (in a folder: theirs).
    quality: on the encoder's own scale (ENCODERS); None: its default.
    codec: one of the format's codecs, or an encoder by ffmpeg's own name, such as h264_nvenc.
    metadata: what the film says of itself; None: nothing. A GIF has room for the comment alone, a folder for nothing.
    report: called with the number of frames handed over so far.
    sound: what is heard from the first frame on, as long as the pictures to half a frame; keeps its channels
        and its rate, or the nearest that the format has (`heard_rate`). Less than a frame is followed by silence.

    The film appears whole and checked, or not at all; on one machine, the same input gives the same
    bytes. Raises Error if it cannot be made.
    """
    out, pictures = Path(out), [*map(Path, frames)]
    encoder = _choose(out, size, quality, codec, sound is not None)
    if not pictures:
        raise Error(f"{out} would have no frames; a film has one or more")
    with Image.open(pictures[0]) as first:
        shape = film_size(first.size, size, out, codec)
    fps = shown_fps(out, rate(fps))
    sound = sound and _fitting(sound, len(pictures) / fps, fps)
    bare = metadata is None
    metadata = _storable(metadata) if metadata and encoder != "png" else None
    if metadata and encoder == "gif":
        metadata = Metadata("", metadata.comment)
    with tempfile.TemporaryDirectory() as scratch, _whole(out) as part:
        source = [*_ffmpeg(), "-f", "image2pipe", "-c:v", "png", "-framerate", str(fps), "-i", "-"]
        target = [*_format(out).options.split(), "-fflags", "+bitexact", "-y", f"file:{part}"]
        if encoder == "png":
            _export(pictures, part, shape, bare, report)
        elif encoder == "gif":
            _gif(source, target, Path(scratch, "palette.png"), pictures, shape, report)
            if metadata:
                gif.put_comment(part, metadata.comment)
        else:
            heard, kept = _heard(_beside(out, "sound"), sound, out)
            texts = _texts(Path(scratch, "texts"), metadata, len(pictures) / fps, 2 if sound else 1)
            _feed([*source, *heard, *texts, *kept, *_pictures(encoder, quality, shape), *target], pictures, report)
        expected = (sound.channels, heard_rate(out, sound.rate)) if sound else None
        check(part, len(pictures), fps, shape, metadata, expected)


def validate(
    out: Path | str,
    size: int | None = None,
    quality: int | None = None,
    codec: str | None = None,
    sound: bool = False,
) -> None:
    """Raise Error for what `encode` would refuse, and for an encoder that does not work on this machine."""
    out = Path(out)
    encoder = _choose(out, size, quality, codec, sound)
    if not out.suffix:
        _check_replaceable(out)
    if encoder in ENCODERS:
        return
    # ffmpeg lists hardware encoders whether or not the hardware is there. Two frames will tell.
    with tempfile.TemporaryDirectory() as scratch:
        frame = Path(scratch, "frame.png")
        Image.new("RGB", (512, 512)).save(frame)
        try:
            encode([frame] * 2, frame.with_suffix(out.suffix), Fraction(25), None, quality, encoder)
        except Error as error:
            raise Error(f"codec {encoder} does not work on this machine: {error}") from None


def film_size(
    frame: tuple[int, int], size: int | None = None, out: Path | str = "film.mp4", codec: str | None = None
) -> tuple[int, int]:
    """(width, height) of the film for frames of this size; both are multiples of what the codec asks for (ENCODERS)."""
    out = Path(out)
    short = size or max(SHORT_SIDE if out.suffix else 0, min(frame))
    step = _sides(codec or _format(out).codecs[0])
    width, height = (round(Fraction(side * short, min(frame)) / step) * step for side in frame)
    if out.suffix and max(width, height) > _LARGEST:
        raise Error(
            f"the film would have {width}x{height} pixels, and sides up to {_LARGEST} are possible; give a --size"
        )
    return width, height


def shown_fps(out: Path | str, fps: Fraction) -> Fraction:
    """The nearest rate that this format can show: any, but GIF counts whole hundredths of a second."""
    if _format(Path(out)) is not FORMATS[".gif"]:
        return fps
    # Browsers take a delay of less than two for a mistake, and wait for ten.
    delays = [min(max(delay, 2), 65535) for delay in (math.floor(100 / fps), math.ceil(100 / fps))]
    return min((Fraction(100, delay) for delay in delays), key=lambda rate: abs(rate - fps))


def holds_sound(out: Path | str) -> bool:
    """Whether there is room for sound in this format. Without it a film can move to a sound all the same."""
    return bool(_format(Path(out)).sound)


def heard_rate(out: Path | str, rate: int) -> int:
    """The rate of the film's sound: its own, or the next higher that the format has, or the highest."""
    rates = _format(Path(out)).rates or (rate,)
    return rate if rate in rates else min(rates, key=lambda there: (there < rate, abs(there - rate)))


def muffled(out: Path | str, sound: Sound) -> str:
    """What this format loses of a channel, in a sentence; '' if nothing.

    A subwoofer's channel keeps its bass alone in AAC, and among six in Vorbis. Where nobody says that a channel is
    one, and there is more in it, another layout is chosen, if the format has any.
    """
    layout, suffix = _layout(sound), Path(out).suffix.lower()
    if suffix == ".webm":
        layout = "5.1" if sound.channels == 6 else ""
    bass = re.match(r"\d\.1", layout) and (2 if layout in ("2.1", "6.1(front)") else 3)
    if suffix not in (".mp4", ".webm") or not bass or _is_bass(sound.samples[:, bass], sound.rate):
        return ""
    return (
        f"channel {bass + 1} of {sound.channels} is a subwoofer's ({layout}), of which {suffix} keeps only what is "
        "below 120 Hz; .mov keeps all of it"
    )


def check(
    film: Path,
    frames: int,
    fps: Fraction,
    size: tuple[int, int],
    metadata: Metadata | None = None,
    sound: tuple[int, int] | None = None,
) -> None:
    """Raise Error unless the film has exactly these frames, at exactly this rate and size, and this metadata.

    sound: how many channels and samples a second are heard with them, from their start to their end (half
    a frame and a packet more or less); None: it does not matter.
    """
    try:
        times, shown, tick = _pictures_in(film, fps) if film.is_dir() else _packets(film)
        track = sound_track(film) if sound and not film.is_dir() else None
    except Error:
        raise Error("the film that ffmpeg made cannot be read") from None
    # WebM counts thousandths of a second; everywhere else time is exact.
    slack = tick / 2 if tick == Fraction(1, 1000) else 0
    wrong = []
    if len(times) != frames:
        wrong.append(f"{len(times)} frames instead of {frames}")
    elif any(abs(time - index / fps) > slack for index, time in enumerate(times)):
        wrong.append(f"frames that are not at {fps} a second")
    if shown != size:
        wrong.append("{}x{} pixels instead of {}x{}".format(*shown, *size))
    if metadata and read_metadata(film) != _storable(metadata):
        wrong.append("other metadata than it was given")
    if sound:
        wrong += _unheard(track, *sound, frames / fps, fps)
    if wrong:
        raise Error(f"the film that ffmpeg made has {' and '.join(wrong)}")


def read_metadata(film: Path) -> Metadata:
    """What any film's container says of it; '' where it says nothing. Raises Error if it is no film."""
    if said_in_gif := gif.comment(film):
        return Metadata("", said_in_gif)
    # With one frame, as it is, so that a sound file, which has none, is refused.
    text = _read(film, "-c", "copy", "-frames:v", "1", "-f", "ffmetadata")
    sections: list[tuple[str, dict[str, str]]] = []
    for line in re.findall(r"((?:\\.|[^\\\n])*)\n", text, re.DOTALL):
        if pair := re.match(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL):
            key, value = (re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in pair.groups())
            sections[-1][1].setdefault(key.lower(), value)  # Matroska shouts its keys
        else:
            sections.append((line, {}))
    said = sections[0][1]
    chapters = [values for name, values in sections if name == "[CHAPTER]"]
    return Metadata(
        said.get("title", ""),
        said.get("comment", ""),
        tuple((Fraction(it["timebase"]) * int(it["start"]), it.get("title", "")) for it in chapters),
    )


def read_sound(path: Path | str, start: Fraction = Fraction(0), seconds: Fraction | None = None) -> Sound:
    """The first sound track of any file, or a part of it, with its own channels and rate.

    start, seconds: in the file, to the nearest sample; seconds None: to its end. Where the file says
    what its encoder added before and after the sound, that is left out. Raises Error if there is no such
    sound. A file that breaks off, or has holes, gives what there is, and `damage` says so.
    """
    path, start = Path(path), Fraction(start)
    if start < 0 or (seconds is not None and seconds <= 0):
        part = f"{_short(start)} s" + (f", for {_short(seconds)} s" if seconds is not None else "")
        raise Error(f"{path} has no part from {part}; a part starts at 0 s or later, and lasts longer than 0 s")
    _check_readable(path)
    samples, rate, heard, report = _listened(path, start, seconds)
    if not heard:
        missing = "is empty; a sound has one sample at least" if rate else "is no sound that ffmpeg can read"
        raise Error(f"{path} {'has no sound' if 'matches no streams' in report else missing}")
    whole = seconds is None or len(samples) < max(1, nearest(seconds * rate))
    damage = _damage(path, report, Fraction(heard, rate) if whole else None)
    if whole and (seconds is not None or not len(samples)):
        part = "start {} s is" if start >= Fraction(heard, rate) else "{} s and {} s more are"
        past = part.format(_short(start), _short(seconds)) + " past the end"
        raise Error(f"{past}; {damage or f'{path} lasts {_short(Fraction(heard, rate))} s'}")
    _check_numbers(path, samples)
    return Sound(samples, rate, damage, _said_layout(report))


def timestamps(film: Path) -> tuple[list[Fraction], tuple[int, int]]:
    """When each frame of any film is shown, in seconds and in order; and (width, height). Decodes nothing."""
    return _packets(film)[:2]


def sound_track(film: Path) -> Track | None:
    """The first sound of any film. Decodes its first packet only."""
    lines = _read(film, "-map", "0:a:0?", "-c", "copy", "-f", "framecrc").splitlines()
    head = dict(line[1:].split(" 1: ") for line in lines if " 1: " in line)
    packets = [[int(number) for number in line.split(",")[2:4]] for line in lines if line.startswith("1,")]
    if not packets:
        return None
    tick = Fraction(head["tb"])
    said = _read(film, "-frames:a", "1", "-af", "ashowinfo", "-f", "null", "-loglevel", "info", track="a:0")
    channels, rate = re.findall(r" channels:(\d+) chlayout:.* rate:(\d+) ", said)[-1]
    # What is before 0 is for the decoder, and not heard.
    start = max(0, min(time for time, _ in packets)) * tick
    end = max(time + duration for time, duration in packets) * tick
    return Track(int(channels), int(rate), start, end, max(duration for _, duration in packets) * tick)


def silent(film: Path) -> bool:
    """Whether nothing can be heard in the first sound of any film. Reads it as far as to the first sound in it.

    Raises Error if it cannot be decoded.
    """
    _check_readable(film)
    command = [*_ffmpeg(), *_SAFE, "-i", f"file:{film}", "-map", "0:a:0", "-c:a", "pcm_f32le", "-f", "f32le", "-"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        if any(np.abs(np.frombuffer(chunk, "<f4")).max() > FAINTEST for chunk in _chunks(process.stdout, None)):
            return False
        failed = process.wait()
    finally:
        process.stdout.close()
        process.kill()  # there may be hours more
        process.wait()
    if failed:
        raise Error(f"the sound of {film} cannot be played")
    return True


def time_base(film: Path) -> tuple[Fraction, Fraction | None]:
    """(the unit in which any film counts time, the frames a second that it says it has; None: it does not say)."""
    said = re.findall(r"config in time_base: (\d+/\d+), frame_rate: (\d+)/(\d+)", _shown(film))[-1]
    rate, by = map(int, said[1:])
    return Fraction(said[0]), Fraction(rate, by) if rate and by else None


def colour_tags(film: Path) -> str:
    """How any film tells players to read its colours, in ffmpeg's words, as in 'yuv420p, tv, bt709'."""
    text = _shown(film)
    return ", ".join(re.findall(rf" {key}:(\w+)", text)[-1] for key in ("fmt", "color_range", "color_space"))


@functools.cache
def encoders() -> dict[str, str]:
    """The video encoders that this ffmpeg lists, and the codec that each makes."""
    text = subprocess.run([*_ffmpeg(), "-encoders"], capture_output=True, text=True, check=False).stdout
    return {name: codec or name for name, codec in re.findall(r"^ V\S+ (\w\S*)(?:.*\(codec (\w+)\))?", text, re.M)}


@contextlib.contextmanager
def bare_copy(film: Path) -> Iterator[Path]:
    """The film's pictures, not decoded, without metadata, in a file for a while: readers that parse ffmpeg's report
    are led astray by a prompt that looks like one. It lies beside the film, where there was room for that, too, or
    else where temporary files go. Raises Error if it is no film, or there is no room for it.
    """
    _check_readable(film)
    folders = [film.parent, Path(tempfile.gettempdir())]
    for folder in folders:
        copy = _beside(folder / film.name, "watched")
        try:
            if _copied(film, copy):
                yield copy
                return
        finally:
            with contextlib.suppress(OSError):
                copy.unlink()
    size = math.ceil(film.stat().st_size / 1e6)
    where = " nor in ".join(dict.fromkeys(map(str, folders)))
    raise Error(f"{film} cannot be watched: that takes a copy of {size} MB, for which there is no room in {where}")


def _copied(film: Path, copy: Path) -> bool:
    """Whether there was room for it."""
    try:
        copy.touch()
    except OSError:
        return False
    # One track alone: what a decoder needs before a sound's start would make the pictures late.
    safe = [*_SAFE, "-i", f"file:{film}", "-map", "0:v:0", "-map_chapters", "-1", "-map_metadata", "-1"]
    command = [*_ffmpeg(), *safe, "-c", "copy", "-f", "nut", "-y", f"file:{copy}"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode and not re.search(b"No space left|File too large|quota exceeded", done.stderr):
        raise Error(f"{film} is no film that ffmpeg can read")
    return not done.returncode


# What encode would refuse


def _format(out: Path) -> Format:
    suffix = out.suffix.lower()
    if suffix not in FORMATS or (not suffix and ("." in out.name or not out.name)):
        raise Error(f"{out}: a film's name ends in {either(SUFFIXES)}; a folder of PNG files is written FOLDER/")
    return FORMATS[suffix]


def _choose(out: Path, size: int | None, quality: int | None, codec: str | None, sound: bool) -> str:
    """ffmpeg's name of the encoder, or Error for what this format or this encoder cannot do."""
    form = _format(out)
    if sound and not form.sound:
        there = either([suffix for suffix in SUFFIXES if FORMATS[suffix].sound])
        raise Error(f"{out} has no room for sound; a film with sound ends in {there}")
    codec = codec or form.codecs[0]
    step = _sides(codec)
    if size is not None and (size % step or not 16 <= size <= 8192):
        number = {1: "a number", 2: "an even number"}.get(step, f"a multiple of {step}")
        asks = f"for {codec} " * (step > 2)
        near = f", such as {min(max(round(size / step) * step, 16), 8192)}" * (step > 2)
        raise Error(f"size {size} is not possible; {asks}the film's short side is {number} from 16 to 8192{near}")
    encoder = _encoder(out.suffix or "a folder", form, codec)
    scale = _row(encoder).quality
    if quality is not None and scale is None:
        raise Error(f"quality {quality} has no meaning for {codec}; leave it out")
    if quality is not None and scale and not min(scale[1:]) <= quality <= max(scale[1:]):
        raise Error(
            f"quality {quality} is out of range; for {codec} it is a whole number from {scale[1]} (best) to {scale[2]}"
        )
    return encoder


def _encoder(where: str, form: Format, codec: str) -> str:
    """The encoder for a codec, or for its own name, or Error that says what there is."""
    families = ["hevc" if name == "h265" else name for name in form.codecs]  # as ffmpeg calls them
    # Not those that take frames only in the device's memory, or make RGB, which hardly anything plays.
    fitting = [name for name, family in encoders().items() if family in families]
    fitting = [name for name in fitting if not name.endswith(("_vaapi", "_vulkan", "rgb"))]
    there = {name: [encoder for encoder in CODECS[name] if encoder.split()[0] in fitting] for name in form.codecs}
    there = {name: names for name, names in there.items() if names}
    there |= {name: [name] for name in sorted(fitting) if name not in CODECS}
    if codec not in there:
        raise Error(f"codec {codec} is not possible in {where}; this ffmpeg has {either(list(there)) or 'none'} for it")
    return there[codec][0]


def _check_replaceable(out: Path) -> None:
    """Raise Error if a folder cannot be put here: something else is than an earlier export."""
    try:
        names = sorted(os.listdir(out)) if os.path.lexists(out) else []
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror})") from None
    for index, name in enumerate(names):
        if name != f"{index:06d}.png":
            raise Error(f"{out} has {name} in it, so it is no earlier export, and is not replaced; give another name")


def either(names: Sequence[str]) -> str:
    """'a, b or c'."""
    return " or ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def _fitting(sound: Sound, seconds: Fraction, fps: Fraction) -> Sound:
    """The sound for pictures that last so long, or Error if it is of another length."""
    half = 1 / (2 * fps)
    if seconds - sound.seconds > half and seconds <= 1 / fps:  # less than any film
        rest = nearest(seconds * sound.rate) - len(sound.samples)
        return dataclasses.replace(sound, samples=np.pad(sound.samples, ((0, rest), (0, 0))))
    if abs(seconds - sound.seconds) > half:
        lengths = f"the sound lasts {_short(sound.seconds)} s, and the pictures {_short(seconds)} s"
        raise Error(f"{lengths}; they may differ by half a frame, {_short(half)} s")
    return sound


# How ffmpeg is asked


def _pictures(encoder: str, quality: int | None, size: tuple[int, int]) -> list[str]:
    """The options that scale, convert and encode, and say what the colours are."""
    row = _row(encoder)
    matrix = tags = said = ""
    if row.pixels.startswith("yuv"):
        # Unless told, ffmpeg converts with BT.601, and players then show other colours. Older versions
        # take the tags from the options, newer ones from the frames.
        matrix = ":out_color_matrix=bt709:out_range=tv"
        tags = ",setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
        said = "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv"
    return [
        *("-vf", f"{_scale(size)}{matrix},format={row.pixels}{tags}", *said.split()),
        *("-c:v", *encoder.split()),
        *row.options.format(row.quality[0] if row.quality and quality is None else quality).split(),
        *(("-tag:v", "hvc1") if encoders().get(encoder) == "hevc" else ()),  # Apple plays no other
    ]


def _scale(size: tuple[int, int]) -> str:
    return "scale={}:{}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp".format(*size)


def _gif(
    source: list[str],
    target: list[str],
    palette: Path,
    frames: Sequence[Path],
    size: tuple[int, int],
    report: Callable[[int], object],
) -> None:
    """Twice through the frames: one palette for all of them, then the film. (At one go ffmpeg keeps them in memory.)"""
    # Every colour of large frames would take longer to sort than all the rest: a pixel here and there will do.
    find = "scale={}:{}:flags=neighbor,palettegen=stats_mode=full:reserve_transparent=0"
    find = find.format(*film_size(size, min(128, *size), "film.gif"))
    # A pattern that stands still. Error diffusion is nearer to the colours, but it boils in still
    # surfaces (six times the flicker), and takes half as many bytes again.
    use = f"[0:v]{_scale(size)}[film];[film][1:v]paletteuse=dither=bayer:bayer_scale=2"
    first = [*source, "-vf", find, "-c:v", "png", "-f", "image2pipe", f"file:{palette}"]
    second = [*source, "-i", f"file:{palette}", "-filter_complex", use, *target]
    _feed(first, frames, lambda count: report(count // 2))
    _feed(second, frames, lambda count: report((len(frames) + count) // 2))


def _heard(file: Path, sound: Sound | None, out: Path) -> tuple[list[str], list[str]]:
    """The options that put the sound into a film, by way of this file: what is read, and what is made of it."""
    rate = heard_rate(out, sound.rate) if sound else 1
    # So that lengths are exact to the sample, and chapters, in thousandths of a second, are where they are. Unless told,
    # ffmpeg takes a unit of its own, newer versions the pictures'.
    clock = [] if out.suffix.lower() == ".webm" else ["-movie_timescale", str(math.lcm(rate, 1000))]
    if sound is None:
        return [], clock
    np.asarray(sound.samples, "<f4").tofile(file)
    channels = ["-ac", str(sound.channels)] if sound.channels < 3 else ["-ch_layout", _layout(sound)]
    read = ["-f", "f32le", "-ar", str(sound.rate), *channels, "-i"]
    made = _format(out).sound.format(128 * sound.channels).split()
    silence = ["-flags:a", "+bitexact", "-metadata:s:a:0", "encoder="]
    return [*read, f"file:{file}"], ["-map", "1:a", "-ar", str(rate), *made, *clock, *silence]


def _layout(sound: Sound) -> str:
    """Where three channels or more are to be heard; '' of fewer."""
    if sound.layout in _NAMED:
        return sound.layout
    full = sound.channels in _FULL and not _is_bass(sound.samples[:, 3], sound.rate)
    return (_FULL if full else LAYOUTS).get(sound.channels, "")


def _is_bass(samples: np.ndarray, rate: int) -> bool:
    """Whether less than a hundredth of its power is above _BASS."""
    power = np.zeros(rate // 2 + 1)
    for first in range(0, len(samples), rate):  # by seconds
        power += np.abs(np.fft.rfft(samples[first : first + rate], rate)) ** 2
    return bool(power[_BASS:].sum() <= 0.01 * power.sum())


def _texts(file: Path, metadata: Metadata | None, seconds: Fraction, index: int) -> list[str]:
    """The options that put the metadata into a film, by way of this file, ffmpeg's input of this index; or nothing."""
    silence = ["-metadata:s:v:0", "encoder="]  # else ffmpeg names it
    if metadata is None:
        return ["-map", "0:v", "-map_metadata", "-1", "-map_chapters", "-1", *silence]
    lines = [";FFMETADATA1", f"title={_escaped(metadata.title)}", f"comment={_escaped(metadata.comment)}"]
    starts = [int(start * 1000) for start, _ in metadata.chapters]
    ends = [*starts[1:], max(int(seconds * 1000), *starts, 0)]
    for (_, title), start, end in zip(metadata.chapters, starts, ends):
        lines += ["[CHAPTER]", "TIMEBASE=1/1000", f"START={start}", f"END={end}", f"title={_escaped(title)}"]
    file.write_bytes("\n".join([*lines, ""]).encode())
    maps = f"-map 0:v -map_metadata {index} -map_chapters {index}"
    return ["-f", "ffmetadata", "-i", f"file:{file}", *maps.split(), *silence]


def _escaped(text: str) -> str:
    # To ffmpeg a line goes on after any backslash, even one that is escaped itself. At the end of a
    # text an escaped NUL, of which nothing is left, comes between.
    return re.sub(r"[=;#\\\r\n]", r"\\\g<0>", text) + "\\\0" * text.endswith("\\")


def _storable(metadata: Metadata) -> Metadata:
    """The metadata as a film can hold it: UTF-8, without NUL; titles of a length that players read.

    Chapters start at whole milliseconds, rounded up (otherwise one would show the frame before its
    first), and the first starts with the film: QuickTime has no room for anything before it.
    """

    def clean(text: str, end: int | None = None) -> str:
        data = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
        return data[:end].decode("utf-8", "ignore")

    starts = [Fraction(math.ceil(start * 1000), 1000) for start, _ in metadata.chapters]
    titles = [clean(title, TITLE) for _, title in metadata.chapters]
    chapters = tuple(zip([Fraction(0), *starts[1:]], titles))
    return Metadata(clean(metadata.title), clean(metadata.comment), chapters)


def _feed(command: list[str], frames: Sequence[Path], report: Callable[[int], object]) -> None:
    """Run ffmpeg with the files' bytes on its standard input."""
    quiet, head = os.environ | {"SVT_LOG": "1"}, b""  # errors only
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=quiet)
        assert process.stdin is not None
        try:
            for count, frame in enumerate(frames, 1):
                data = frame.read_bytes()
                head = head or data[:_HEAD]
                if data[:_HEAD] != head:  # ffmpeg would scale it
                    raise Error(f"{frame} is no picture of the same size and kind as {frames[0]}")
                process.stdin.write(data)
                report(count)
            process.stdin.close()
            status = process.wait()
        except OSError as error:  # of a pipe that nobody reads any more; Windows calls it an invalid argument
            if error.filename:
                raise
            status = process.wait()
        finally:
            process.kill()
            process.wait()
        if status:
            said.seek(0)
            complaints = said.read().decode(errors="replace")
            if "No space left" in complaints:
                raise Error("the disk is full")
            # The first says why, as in "[h264_nvenc @ 0x1] Cannot load libcuda.so.1"; the others, that it was in vain.
            why = (complaints.strip() or f"exit status {status}").splitlines()[0].rpartition("] ")[2]
            raise Error(f"ffmpeg could not make the film: {why}")


def _packets(film: Path) -> tuple[list[Fraction], tuple[int, int], Fraction]:
    """What `timestamps` gives, and the unit in which this file counts time."""
    lines = _read(film, "-c", "copy", "-f", "framecrc").splitlines()
    head = dict(line[1:].split(" 0: ") for line in lines if " 0: " in line)
    tick = Fraction(head["tb"])
    width, height = map(int, head["dimensions"].split("x"))
    times = [int(line.split(",")[2]) * tick for line in lines if not line.startswith("#")]
    return sorted(times), (width, height), tick


def _unheard(track: Track | None, channels: int, rate: int, seconds: Fraction, fps: Fraction) -> Iterator[str]:
    """What is wrong with the sound of a film whose pictures last so long."""
    if track is None:
        yield "no sound"
        return
    if track.channels != channels:
        yield f"sound with {track.channels} channels instead of {channels}"
    if track.rate != rate:
        yield f"sound of {track.rate} samples a second instead of {rate}"
    if track.start > track.packet:
        yield f"sound that starts at {_short(track.start)} s"
    if abs(track.end - seconds) > 1 / (2 * fps) + track.packet:
        yield f"sound to {_short(track.end)} s with pictures to {_short(seconds)} s"


def _read(film: Path, *options: str, track: str = "v:0") -> str:
    """What ffmpeg tells of a film's pictures (or of another track), or Error if there are none."""
    _check_readable(film)
    command = [*_ffmpeg(), *_SAFE, "-i", f"file:{film}", "-map", f"0:{track}", *options, "-"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise Error(f"{film} is no film that ffmpeg can read")
    return (done.stdout or done.stderr).decode(errors="replace")


def _shown(film: Path) -> str:
    """What ffmpeg says of a film's first frame, after the film's own texts."""
    return _read(film, "-frames:v", "1", "-vf", "showinfo", "-map_metadata", "-1", "-f", "null", "-loglevel", "info")


def _check_readable(path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise Error(f"{path} cannot be read ({error.strerror})") from None


# How a sound is read


def _listened(path: Path, start: Fraction, seconds: Fraction | None) -> tuple[np.ndarray, int, int, str]:
    """A part's samples, their rate (0: there is no sound), the number read to its end, and what ffmpeg said."""
    # Whatever it was, it comes as plain numbers behind a few that say what they are.
    plain = ["-map", "0:a:0", "-map_metadata", "-1", "-map_chapters", "-1", "-c:a", "pcm_f32be", "-f", "au", "-"]
    command = [*_ffmpeg(), "-loglevel", "info", "-nostats", *_SAFE_SOUND, "-i", f"file:{path}", *plain]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said)
        assert process.stdout is not None
        try:
            samples, rate, heard = _decoded(process.stdout, start, seconds)
            if seconds is None:
                process.wait()
        finally:
            process.kill()  # there may be hours more; and before the pipe is closed, lest it complains of that
            process.stdout.close()
            process.wait()
        said.seek(0)
        return samples, rate, heard, said.read().decode(errors="replace")


def _decoded(stream: IO[bytes], start: Fraction, seconds: Fraction | None) -> tuple[np.ndarray, int, int]:
    """What `_listened` says of a stream in Sun's au format."""
    head = stream.read(24)
    if len(head) < 24:
        return np.zeros((0, 1), np.float32), 0, 0
    _, offset, _, _, rate, channels = struct.unpack(">4s5I", head)
    stream.read(offset - len(head))
    wide = 4 * channels
    # Samples are counted, for a place that is looked up in a compressed file is not exact.
    skipped = sum(map(len, _chunks(stream, nearest(start * rate) * wide)))
    data = bytearray()  # grows where it is: an hour of stereo is more than a gigabyte
    for chunk in _chunks(stream, None if seconds is None else max(1, nearest(seconds * rate)) * wide):
        data += np.frombuffer(chunk, ">f4", len(chunk) // 4).astype(np.float32).tobytes()
    count = len(data) // wide
    samples = np.frombuffer(data, np.float32, count * channels).reshape(count, channels)
    return samples, rate, skipped // wide + count


def _chunks(stream: IO[bytes], size: int | None) -> Iterator[bytes]:
    """So many bytes of the stream, or all to its end."""
    while chunk := stream.read(1 << 20 if size is None else min(size, 1 << 20)):
        size = None if size is None else size - len(chunk)
        yield chunk


def _damage(path: Path, report: str, length: Fraction | None) -> str:
    """What is wrong with a file that could be read, by ffmpeg's report. length: None if it goes on."""
    claims = re.findall(r"^  Duration: (\d+):(\d+):(\d+\.\d+)", report, re.MULTILINE)
    # A film's duration is that of its pictures, too.
    film = re.search(r"Stream #0:\d.*: Video: (?!.*attached pic)", report)
    if claims and not film and "Estimating duration" not in report:
        hours, minutes, seconds = map(Fraction, claims[0])
        claimed = 3600 * hours + 60 * minutes + seconds
        if length and claimed - length > Fraction(1, 4):
            return f"{path} breaks off at {_short(length)} s, though it says that it lasts {_short(claimed)} s"
    # In brackets is who says so; names and titles are not.
    if re.search(r"^\[.*\] .*(corrupt|Error (submitting|while|during)|Decoding error)", report, re.MULTILINE):
        return f"{path} is damaged: parts of its sound cannot be read"
    return ""


def _said_layout(report: str) -> str:
    """Where a file says that its channels are heard, by ffmpeg's report."""
    guessed = re.search(r"^\[.*\] Guessed Channel Layout", report, re.MULTILINE)
    heard = re.findall(r"^  Stream #0:0.*: Audio: pcm_f32be .* Hz, (.+?), flt", report, re.MULTILINE)
    return heard[-1] if heard and not guessed else ""


def _check_numbers(path: Path, samples: np.ndarray) -> None:
    """Raise Error for samples of which no film can be made."""
    if samples.shape[1] > CHANNELS:
        raise Error(f"{path} has {samples.shape[1]} channels; a film has room for {CHANNELS}")
    if not math.isfinite(samples.sum(dtype=np.float64)):
        raise Error(f"{path} has samples that are no numbers")


def _short(seconds: Fraction | None) -> str:
    return f"{float(seconds or 0):.3f}".rstrip("0").rstrip(".")


def _row(encoder: str) -> Encoder:
    return next(row for pattern, row in ENCODERS.items() if fnmatch(encoder, pattern))


def _sides(codec: str) -> int:
    return _row(CODECS.get(codec, (codec,))[0]).sides


def _ffmpeg() -> list[str]:
    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        program = ""
    if not shutil.which(program):
        named = "IMAGEIO_FFMPEG_EXE" in os.environ
        raise Error(
            f"IMAGEIO_FFMPEG_EXE names {program}, which is no program; name another, or leave it out"
            if named
            else "there is no ffmpeg; pip install --force-reinstall imageio-ffmpeg"
        )
    return [program, "-hide_banner", "-loglevel", "error", "-nostdin"]


# What lies on the disk


@contextlib.contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A name beside `out` for a file or a folder, which takes its place in the end, or is removed."""
    for path in out.parent.glob("*.part"):
        if re.fullmatch(rf"\.{re.escape(out.name)}\.\d+(\.\w+)?\.part", path.name):
            _remove(path)
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = _beside(out, "old")
    try:
        if not out.suffix:
            _check_replaceable(out)
        yield part
        for path in part.iterdir() if part.is_dir() else [part]:
            with path.open("rb+") as file:
                os.fsync(file.fileno())
        if part.is_dir() and out.exists():
            os.replace(out, old)  # one folder cannot replace another at one stroke
        os.replace(part, out)
        _remove(old)
    except OSError as error:
        raise Error(f"{out} cannot be written ({error.strerror or error})") from None
    finally:
        _remove(part)
        _remove(_beside(out, "sound"))


def _beside(film: Path, what: str) -> Path:
    """A hidden name for what is needed for a while, where there is room: minutes of sound can fill a small /tmp."""
    return film.with_name(f".{film.name}.{os.getpid()}.{what}.part")


def _remove(path: Path) -> None:
    """Remove a file, or a folder with nothing but PNG files in it."""
    if path.is_dir() and not path.is_symlink():
        for picture in path.glob("*.png"):
            picture.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _export(
    frames: Sequence[Path], folder: Path, size: tuple[int, int], bare: bool, report: Callable[[int], object]
) -> None:
    """The frames as they are, or resized, or without the texts in them, under the numbers that other tools expect."""
    folder.mkdir()
    for index, frame in enumerate(frames):
        target = folder / f"{index:06d}.png"
        try:
            with Image.open(frame) as image:
                changed = None
                if image.size != size or bare:
                    changed = image.resize(size, Image.Resampling.LANCZOS)
                else:
                    image.verify()
        except (OSError, SyntaxError):
            raise Error(f"{frame} is not a whole picture") from None
        if changed:
            changed.info.clear()
            changed.save(target, compress_level=1)
        else:
            shutil.copyfile(frame, target)
        report(index + 1)


def _pictures_in(folder: Path, fps: Fraction) -> tuple[list[Fraction], tuple[int, int], Fraction]:
    """Of an export what `_packets` tells of a film."""
    pictures = sorted(folder.iterdir())
    with Image.open(pictures[0]) as first:
        return [index / fps for index in range(len(pictures))], first.size, Fraction(0)
