"""The sound of any file, as numbers: what is missing from it, where its channels are heard, and what films lose of it.

Knows no music.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from walk import Error, ffmpeg
from walk.rates import nearest
from walk.text import plural, short


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound in memory.

    samples: (n, channels) float32, -1 .. 1.
    rate: samples a second.
    damage: what is missing from the file that it was read from, as a sentence; '' if nothing.
    layout: where its channels are heard, by ffmpeg's name, as in '5.1'; '' if unknown.
    exact: whether its file stores floats, as studios' files do. (What is decoded from an MP3 goes over 1, too, where nobody
        meant it to.)
    """

    samples: np.ndarray
    rate: int
    damage: str = ""
    layout: str = ""
    exact: bool = False

    @property
    def seconds(self) -> Fraction:
        return Fraction(len(self.samples), self.rate)

    @property
    def channels(self) -> int:
        return self.samples.shape[1]


CHANNELS = 8  # of sound, at most
LOUD = 1.005  # of full scale: nobody hears what is clipped below it
_NEVER = Fraction(10**7)  # seconds: four months

# Where channels are heard if a file does not say: ffmpeg would take the third of three for a subwoofer's, of which AAC
# keeps only what is below 120 Hz. These are the layouts of cinema, unless the fourth channel has more than bass in it.
LAYOUTS = {3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "7.0", 8: "7.1"}
_FULL_RANGE = {6: "hexagonal", 8: "octagonal"}

# The layouts that every format accepts; Vorbis has one for each number of channels, and takes them as they come.
_NAMED = (
    *("2.1", "3.0", "3.0(back)", "3.1", "4.0", "4.1", "quad", "quad(side)", "5.0", "5.0(side)", "5.1", "5.1(side)"),
    *("6.0", "6.1", "6.1(back)", "6.1(front)", "hexagonal", "7.0", "7.0(front)", "7.1", "7.1(wide)"),
    *("7.1(wide-side)", "octagonal"),
)

_BASS = 250  # Hz; a subwoofer's channel has next to nothing above it


def fits(sound: Sound, seconds: Fraction, fps: Fraction) -> bool:
    """Whether a sound is as long as the pictures, which last `seconds`, to half a frame."""
    return abs(seconds - sound.seconds) <= 1 / (2 * fps)


def muffling_note(out: Path | str, sound: Sound) -> str:
    """What a film of this format loses of a channel, as a sentence; '' if nothing.

    AAC, and Vorbis with six channels, keep only the bass of a subwoofer's channel. If the file does not say that a channel
    is one, and there is more than bass in it, another layout is chosen, if the format has any.
    """
    layout, suffix = layout_of(sound), Path(out).suffix.lower()
    if suffix == ".webm":
        layout = "5.1" if sound.channels == 6 else ""
    bass = re.match(r"\d\.1", layout) and (2 if layout in ("2.1", "6.1(front)") else 3)
    if suffix not in (".mp4", ".webm") or not bass or is_bass(sound.samples[:, bass], sound.rate):
        return ""
    return (
        f"channel {bass + 1} of {sound.channels} is a subwoofer's ({layout}), of which {suffix} keeps only what is "
        "below 120 Hz; .mov keeps all of it"
    )


def read_sound(
    path: Path | str, start: Fraction = Fraction(0), seconds: Fraction | None = None, whole: bool = True
) -> Sound:
    """The first sound track of any file, or a part of it, with its own channels and rate.

    start, seconds: of the part, to the nearest sample; seconds None: to the end. What an encoder added before and after
    the sound is left out, if the file says so. A file that breaks off or has gaps gives what there is, and `damage` says
    what is missing. Raises Error if there is no such sound. whole: also if the file ends before the part does; else the
    sound is as much of the part as there is, perhaps nothing.
    """
    path, start = Path(path), Fraction(start)
    if start < 0 or (seconds is not None and seconds <= 0):
        part = f"{short(start)} s" + (f", for {short(seconds)} s" if seconds is not None else "")
        raise Error(f"{path} has no part from {part}; a part starts at 0 s or later, and lasts longer than 0 s")
    ffmpeg.check_readable(path)
    samples, rate, number, report = ffmpeg.decode_sound(path, start, seconds)
    _check_any(path, rate, number, report)
    end = Fraction(number, rate)  # of what was read
    to_end = seconds is None or len(samples) < max(1, nearest(seconds * rate))
    damage = _damage(path, report, end if to_end else None)
    if whole and to_end and (seconds is not None or not len(samples)):
        past = f"start {short(start)} s is"
        if seconds is not None and start < end:
            past = f"{short(start)} s and {short(seconds)} s more are"
        raise Error(f"{past} past the end; {damage or f'{path} lasts {short(end)} s'}")
    _check_numbers(path, samples)
    codec = re.search(r"^  Stream #0:\d.*: Audio: (\w+)", report, re.MULTILINE)
    return Sound(samples, rate, damage, _file_layout(report), bool(codec and codec[1].startswith("pcm_f")))


def length_of(path: Path) -> Fraction:
    """How many seconds a sound lasts; it is decoded, but not kept. Raises Error like `read_sound`."""
    ffmpeg.check_readable(path)
    _, rate, number, report = ffmpeg.decode_sound(path, _NEVER, None)
    _check_any(path, rate, number, report)
    return Fraction(number, rate)


def _check_any(path: Path, rate: int, number: int, report: str) -> None:
    """Raise Error if a file has no sound, or no samples."""
    if not number:
        missing = "is empty; a sound has one sample at least" if rate else "is not a sound that ffmpeg can read"
        raise Error(f"{path} {'has no sound' if 'matches no streams' in report else missing}")


def clipping_note(name: str, sound: Sound) -> str:
    """How much of a sound is louder than films and players can be, as a sentence; '' if nothing."""
    loud = np.abs(sound.samples)
    if not sound.exact or (peak := loud.max(initial=0)) < LOUD:
        return ""
    clipped = plural(int((loud > 1).sum()), "sample")
    return f"{name} is louder than full scale (peak {peak:.3g}): {clipped} will be clipped; lower its level first"


def layout_of(sound: Sound) -> str:
    """Where a sound's channels are to be heard; '' for fewer than three."""
    if sound.layout in _NAMED:
        return sound.layout
    full_range = sound.channels in _FULL_RANGE and not is_bass(sound.samples[:, 3], sound.rate)
    return (_FULL_RANGE if full_range else LAYOUTS).get(sound.channels, "")


def is_bass(samples: np.ndarray, rate: int) -> bool:
    """Whether no more than a hundredth of a channel's power is above _BASS."""
    power = np.zeros(rate // 2 + 1)
    for first in range(0, len(samples), rate):  # by seconds
        power += np.abs(np.fft.rfft(samples[first : first + rate], rate)) ** 2
    return bool(power[_BASS:].sum() <= 0.01 * power.sum())


def _damage(path: Path, report: str, length: Fraction | None) -> str:
    """What ffmpeg's report says is wrong with a file that could be read. length: in seconds; None if it was not read to its
    end."""
    claims = re.findall(r"^  Duration: (\d+):(\d+):(\d+\.\d+)", report, re.MULTILINE)
    # A film's duration may be that of its pictures.
    film = re.search(r"Stream #0:\d.*: Video: (?!.*attached pic)", report)
    if claims and not film and "Estimating duration" not in report:
        hours, minutes, seconds = map(Fraction, claims[0])
        claimed = 3600 * hours + 60 * minutes + seconds
        if length and claimed - length > Fraction(1, 4):
            return f"{path} breaks off at {short(length)} s, though it says that it lasts {short(claimed)} s"
    # ffmpeg's messages begin with who says so in brackets; names and titles in files do not.
    if re.search(r"^\[.*\] .*(corrupt|Error (submitting|while|during)|Decoding error)", report, re.MULTILINE):
        return f"{path} is damaged: parts of its sound cannot be read"
    return ""


def _file_layout(report: str) -> str:
    """Where a file says that its channels are heard, according to ffmpeg's report; '' if it does not."""
    guessed = re.search(r"^\[.*\] Guessed Channel Layout", report, re.MULTILINE)
    layouts = re.findall(r"^  Stream #0:0.*: Audio: pcm_f32be .* Hz, (.+?), flt", report, re.MULTILINE)
    return layouts[-1] if layouts and not guessed else ""


def _check_numbers(path: Path, samples: np.ndarray) -> None:
    """Raise Error for samples of which no film can be made."""
    if samples.shape[1] > CHANNELS:
        raise Error(f"{path} has {samples.shape[1]} channels; a film has room for {CHANNELS}")
    if not math.isfinite(samples.sum(dtype=np.float64)):
        raise Error(f"{path} has samples that are not numbers")
