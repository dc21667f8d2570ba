"""Frame rates, as people write them and as exact fractions; how many frames a film may have; beats in a bar.

Knows neither what frames show nor what is heard.
"""

from __future__ import annotations

import math
import numbers
import re
from fractions import Fraction

from walk import Error

FPS: Fraction = Fraction(24)  # annotated, since it and walk itself import each other and mypy cannot infer it
METER = 4  # beats in a bar
MOST_BEATS = 64  # in a bar
FINEST = 1_001_000  # the largest numerator or denominator of a rate that ffmpeg keeps exactly
MAX_FRAMES = 1_000_000  # eleven hours

# How people write the rates of NTSC video, which are multiples of 1000/1001; other spellings are within the slack of one.
_NTSC = {"23.98": 24, "47.95": 48, "119.88": 120}
_NTSC_SLACK = Fraction(1, 10_000)


def rate(fps: Fraction | float | str) -> Fraction:
    """The exact rate: 23.976 and 24000 / 1001 are 24000/1001; 33.333333 is 100/3. Raises Error unless it is from 1/100 to
    1000."""
    try:
        exact = Fraction(fps) if isinstance(fps, numbers.Rational) else _meant(fps)
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):  # not a number, nan or infinite
        exact = Fraction(0)
    if not Fraction(1, 100) <= exact <= 1000:
        raise Error(f"fps {fps} is out of range; it is a number from 0.01 to 1000")
    return exact if max(exact.as_integer_ratio()) <= FINEST else exact.limit_denominator(FINEST // math.ceil(exact))


def _meant(fps: float | str) -> Fraction:
    """The rate as it is written, or the nearest simple fraction if it looks calculated."""
    try:
        return parse_fps(str(fps))
    except ValueError:
        return Fraction(float(fps)).limit_denominator(1001)


def parse_fps(text: str) -> Fraction:
    """A rate from '25', '23.976' (meaning 24000/1001) or '24000/1001'. Raises ValueError."""
    if not re.fullmatch(r"\d{1,7}(\.\d{1,20})?|\d{1,7}/0*[1-9]\d{0,6}", text):
        raise ValueError(text)
    exact = Fraction(text)
    whole = _NTSC.get(text) or round(exact * 1001 / 1000)
    near = Fraction(whole * 1000, 1001)
    return near if text in _NTSC or (whole and "." in text and abs(exact - near) < _NTSC_SLACK) else exact


def check_length(frames: int, why: str = "") -> None:
    """Raise Error for more frames than a film may have. why: there are so many."""
    if frames > MAX_FRAMES:
        many = frames if frames < 10**30 else "so many"
        raise Error(f"{many} frames are too many{why and f', since {why}'}; the limit is {MAX_FRAMES}")


def nearest(x: Fraction) -> int:
    """The nearest integer; of two, the larger."""
    return math.floor(x + Fraction(1, 2))  # round() takes halves to the even side
