"""The formats of films: a name's suffix determines the format, and the format its codecs, sizes, rates and sound.

Knows names and numbers, asks ffmpeg which encoders it has, and opens no file.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from walk import Error, ffmpeg
from walk.text import either

QUALITY = 17  # x264's constant rate factor: 1 best, 17 hardly distinguishable from the frames, 51 worst
SHORT_SIDE = 512  # pixels; smaller pictures are enlarged to it
SAMPLE = 2  # pixels each way share one colour in most films: only whole samples are cropped


class Format(NamedTuple):
    codecs: tuple[str, ...]  # the first is the default
    options: str  # for the file
    sound: str = ""  # options; {} is 128 times the number of channels. '': the format holds no sound
    rates: Sequence[int] = ()  # of the sound's codec


class Encoder(NamedTuple):
    options: str  # {} is the quality
    quality: tuple[int, int, int] | None = None  # default, best, worst; None: it has no such scale
    pixels: str = "yuv420p"
    sides: int = 2  # width and height are multiples of this
    fastest: int = 1000  # frames a second


AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)

FORMATS = {
    ".mp4": Format(
        ("h264", "h265", "av1"), "-f mp4 -movflags +faststart", sound="-c:a aac -aac_pns 0 -b:a {}k", rates=AAC_RATES
    ),
    # Vorbis, since it has any rate, and Opus only five. Its first packet, which is not heard, is before the start, and
    # with older versions of ffmpeg the pictures would wait for it.
    ".webm": Format(
        ("vp9", "av1"),
        "-f webm",
        sound=r"-c:a libvorbis -q:a 8 -bsf:a setts=ts=max(TS\,0)",
        rates=range(4000, 192001),
    ),
    # QuickTime's older tags, which ffmpeg writes by default, hold 64 kB at most.
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
_LARGEST = 16384  # pixels of a side, in H.264

CODECS = {  # the encoders for each, with their option, best first: the first that this ffmpeg has is used
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

# Each default quality is as near to the frames as x264's 17 (SSIM of 0.998 for the built-in model's). Encoders that would
# sign the stream with their name and settings are asked not to, or their note is removed.
ENCODERS = {
    # Quality 0 would be another profile, which browsers do not play.
    "libx264": Encoder("-crf {} -bsf:v filter_units=remove_types=6", (QUALITY, 1, 51)),
    "libx265": Encoder("-crf {} -x265-params info=0:log-level=error", (18, 0, 51)),
    "libsvtav1": Encoder("-crf {} -preset 6", (20, 1, 63), fastest=240),
    "libaom-av1": Encoder("-crf {} -b:v 0 -cpu-used 6 -row-mt 1", (20, 0, 63)),
    "libvpx-vp9": Encoder("-crf {} -b:v 0 -deadline good -cpu-used 2 -row-mt 1", (20, 0, 63)),
    "prores_ks": Encoder("-profile:v 2 -vendor apl0", None, "yuv422p10le"),  # 2: ProRes 422
    # HAP has blocks of 4x4 pixels, which the GPU unpacks. A frame is one chunk, as its makers advise up to HD: even a 4K
    # frame takes the CPU 3 ms. DXV has squares of 16x16: ffmpeg 7 does not fill up the last of them, and Resolume then
    # shows nothing; later versions do, but versions up to 8 decode such films askew.
    "hap": Encoder("", None, "rgba", 4),
    "hap -format hap_q": Encoder("", None, "rgba", 4),
    "dxv": Encoder("", None, "rgba", 16),
    "gif": Encoder("", None, "pal8", 1),
    "png": Encoder("", None, "rgb24", 1),
    # These are chosen only by ffmpeg's own names, and tried before they are used (`video.validate`).
    "prores*": Encoder("-profile:v 2", None, "yuv422p10le"),
    "librav1e": Encoder("-qp {} -speed 6", (60, 0, 255)),
    "*_nvenc": Encoder("-preset slow -rc vbr -cq {} -b:v 0", (19, 1, 51)),
    "*_qsv": Encoder("-global_quality {}", (19, 1, 51)),
    "*_amf": Encoder("-rc cqp -qp_i {0} -qp_p {0}", (19, 0, 51)),
    "*_videotoolbox": Encoder("-q:v {}", (75, 100, 1)),
    "*": Encoder("-b:v 20M"),  # ffmpeg's default can be 200 kbit a second
}


def film_size(
    frame: tuple[int, int], size: int | str | None = None, out: Path | str = "film.mp4", codec: str | None = None
) -> tuple[int, int]:
    """(width, height) of the film for frames of this size; both are multiples of what the codec requires (ENCODERS).

    size: pixels on its short side, or both sides, '1080x1920'.
    """
    if both := sides(size):
        return both
    assert not isinstance(size, str), size
    out = Path(out)
    short = size or max(SHORT_SIDE if out.suffix else 0, min(frame))
    step = _sides(codec or format_of(out).codecs[0])
    width, height = (round(Fraction(side * short, min(frame)) / step) * step for side in frame)
    if out.suffix and max(width, height) > _LARGEST:
        raise Error(
            f"the film would have {width}x{height} pixels, and sides up to {_LARGEST} are possible; give a --size"
        )
    return width, height


def sides(size: int | str | None) -> tuple[int, int] | None:
    """(width, height) of a size like '1080x1920'; None for any other."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(size))
    return (int(match[1]), int(match[2])) if match else None


def scaled_size(frame: tuple[int, int], size: int | str | None, film: tuple[int, int]) -> tuple[int, int]:
    """(width, height) to which frames are scaled for a film of this size: the film's own, or, if both sides were given,
    what covers it. The middle is then shown, with as much cropped at both ends of a side."""
    if not sides(size):
        return film
    scale = max(Fraction(target, side) for target, side in zip(film, frame))
    width, height = (
        target + 2 * SAMPLE * round((side * scale - target) / (2 * SAMPLE)) for target, side in zip(film, frame)
    )
    return width, height


def shown_fps(out: Path | str, fps: Fraction) -> Fraction:
    """The nearest rate that this format can show: any, except that a GIF counts whole hundredths of a second."""
    if format_of(Path(out)) is not FORMATS[".gif"]:
        return fps
    # Browsers take a delay below two for a mistake, and wait for ten.
    delays = [min(max(delay, 2), 65535) for delay in (math.floor(100 / fps), math.ceil(100 / fps))]
    return min((Fraction(100, delay) for delay in delays), key=lambda rate: abs(rate - fps))


def holds_sound(out: Path | str) -> bool:
    """Whether films of this format hold sound. Those that do not can move to a sound all the same."""
    return bool(format_of(Path(out)).sound)


def sound_rate(out: Path | str, rate: int) -> int:
    """The rate of a film's sound: the sound's own, or the next higher one that the format has, or its highest."""
    rates = format_of(Path(out)).rates or (rate,)
    return rate if rate in rates else min(rates, key=lambda other: (other < rate, abs(other - rate)))


def format_of(out: Path) -> Format:
    suffix = out.suffix.lower()
    if suffix not in FORMATS or (not suffix and ("." in out.name or not out.name)):
        raise Error(f"{out}: a film's name ends in {either(SUFFIXES)}; a folder of PNG files is written FOLDER/")
    return FORMATS[suffix]


def encoder_for(out: Path, size: int | str | None, quality: int | None, codec: str | None, sound: bool) -> str:
    """ffmpeg's name of the encoder for a film. Raises Error for what its format or the encoder cannot do."""
    form = format_of(out)
    if sound and not form.sound:
        suffixes = either([suffix for suffix in SUFFIXES if FORMATS[suffix].sound])
        raise Error(f"{out} cannot hold sound; a film with sound ends in {suffixes}")
    codec = codec or form.codecs[0]
    step = _sides(codec)
    asked_sides = [] if size is None else [*(sides(size) or [size])]
    if any(isinstance(side, str) or side % step or not 16 <= side <= 8192 for side in asked_sides):
        number = {1: "a number", 2: "an even number"}.get(step, f"a multiple of {step}")
        reason = f"for {codec} " * (step > 2)
        possible = (str(min(max(round(int(side) / step) * step, 16), 8192)) for side in asked_sides)
        hint = f", such as {'x'.join(possible)}" if step > 2 else ""
        what = "each of the film's sides" if asked_sides[1:] else "the film's short side"
        raise Error(f"size {size} is not possible; {reason}{what} is {number} from 16 to 8192{hint}")
    encoder = _encoder(out.suffix or "a folder", form, codec)
    scale = row(encoder).quality
    if quality is not None and scale is None:
        raise Error(f"quality {quality} has no meaning for {codec}; leave it out")
    if quality is not None and scale and not min(scale[1:]) <= quality <= max(scale[1:]):
        raise Error(
            f"quality {quality} is out of range; for {codec} it is a whole number from {scale[1]} (best) to {scale[2]}"
        )
    return encoder


def _encoder(where: str, form: Format, codec: str) -> str:
    """The encoder for a codec, or of this name. Raises Error that says what is available."""
    families = ["hevc" if name == "h265" else name for name in form.codecs]  # as ffmpeg calls them
    # Without encoders that take frames only from the device's memory, and those of RGB, which hardly anything plays.
    fitting = [name for name, family in ffmpeg.encoders().items() if family in families]
    fitting = [name for name in fitting if not name.endswith(("_vaapi", "_vulkan", "rgb"))]
    available = {name: [encoder for encoder in CODECS[name] if encoder.split()[0] in fitting] for name in form.codecs}
    available = {name: names for name, names in available.items() if names}
    available |= {name: [name] for name in sorted(fitting) if name not in CODECS}
    if codec not in available:
        homes = [suffix for suffix in SUFFIXES if codec in FORMATS[suffix].codecs and codec not in form.codecs]
        close = [] if codec in form.codecs else difflib.get_close_matches(codec, form.codecs, n=1, cutoff=0.7)
        hint = f"this ffmpeg has {either(list(available)) or 'none'} for it"
        if homes:
            hint = f"it goes into {either(homes)}"
        elif close:
            hint = f"did you mean {close[0]}?"
        raise Error(f"codec {codec} is not possible in {where}; {hint}")
    return available[codec][0]


def row(encoder: str) -> Encoder:
    """The first row of ENCODERS that fits an encoder's name."""
    return next(row for pattern, row in ENCODERS.items() if fnmatch(encoder, pattern))


def _sides(codec: str) -> int:
    """The number of which a film's sides are multiples."""
    return row(CODECS.get(codec, (codec,))[0]).sides
