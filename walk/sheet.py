"""Pictures for people who would rather look than read: a sheet of seeds, a preview of a walk, a film at a glance.

Arrays in, Pillow pictures out. Knows no models, and no files but the system's fonts. A sheet is made
of smaller pictures, joined; its type can still be read when it is shown at half its width.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from walk.text import clock, plural, short_clock
from walk.timeline import Walk

WIDTH, MARGIN, GAP = 1600, 48, 16  # of the widest sheet, in pixels
LARGEST = 320  # the widest picture
FRAMES, COLUMNS, LINES = 24, 6, 12  # pictures of a film, how many in a row, and keyframes that are named
HEADING, TEXT = 36, 26  # type
PLOT_HEIGHT, WAVE_HEIGHT = 240, 120
BACKGROUND, PANEL, LINE = (24, 26, 30), (34, 37, 43), (84, 90, 100)
BRIGHT, MUTED, WARNING = (236, 238, 241), (160, 167, 177), (245, 190, 95)
CURVE, AREA = (128, 184, 255), (52, 82, 122)
# Pillow's own font has little more than ASCII; these are asked for the rest.
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
LEGEND = "How much the picture changes from one frame to the next."
NUMBERED = "the numbered lines are the keyframes"
MEDIAN = "the dashed line is the median: half of the film is faster, half is slower"
ALONG = " Orange: how it would be with equal steps along the path."
SOUND = "The sound, with its bars (long lines) and beats (short ones)."
TEMPO = "Bars (long lines) and beats (short ones)."
FOLLOWED = " The curve: the strength of what the walk follows."

Colour = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Music(NamedTuple):
    """samples: (n, channels), any scale; none (rate 0) where there is only a tempo. beats, bars: seconds.
    followed: (n, 1), how strong what is followed sets in, if it is not the whole sound; so many a second."""

    samples: np.ndarray
    rate: int
    beats: Sequence[float]
    bars: Sequence[float]
    followed: np.ndarray = np.zeros((0, 1))
    followed_rate: int = 0


class Closer(NamedTuple):
    """A picture as an upscaler of this name enlarges it, and as it is. Both (height, width, 3) uint8."""

    enlarged: np.ndarray
    plain: np.ndarray
    by: str


def seeds(pictures: Sequence[np.ndarray], seeds: Sequence[int], prompt: str) -> Image.Image:
    """One sheet of pictures to choose from, each with its seed below. Pictures: (height, width, 3) uint8."""
    least = min(8, math.ceil(math.sqrt(len(pictures))))  # nearly a square, with few empty places
    columns = min(range(least, min(8, least + 2) + 1), key=lambda columns: -len(pictures) % columns)
    rows, full = _rows([(picture, str(seed)) for picture, seed in zip(pictures, seeds)], columns)
    heading = [
        _text(prompt, full, HEADING, lines=3),
        _text("The number below a picture is its seed.", full, colour=MUTED),
    ]
    return _sheet([_below([_below(heading, 10), *rows], 28)])


def preview(
    walk: Walk,
    keyframe_pictures: Sequence[np.ndarray],
    between_pictures: Sequence[np.ndarray],
    speed: Sequence[float],
    warnings: Sequence[str] = (),
    music: Music | None = None,
    along: Sequence[float] = (),
    closer: Closer | None = None,
) -> Image.Image:
    """A walk at a glance: its keyframes with the pictures half-way between them, and its speed over time.

    keyframe_pictures: one for each keyframe, (height, width, 3) uint8.
    between_pictures: one for each segment; a closed walk has as many as keyframes.
    speed: how much the picture changes from each frame to the next; in a closed walk, also from the last to the first.
    music: what it moves to.
    along: such a speed with equal steps along the path, for comparison.
    closer: the first keyframe, enlarged.
    """
    # 1. Rows of equal length, as far as it goes: keyframes, and pictures between of about half their width.
    count = len(walk.keyframes)
    height, width = keyframe_pictures[0].shape[:2]
    columns = math.ceil(count / math.ceil(count / (5 if width < 1.3 * height else 4)))
    betweens = columns if walk.closed or columns < count else columns - 1
    large = min(LARGEST, int((WIDTH - 2 * MARGIN - (columns + betweens) * GAP) / (columns + 0.55 * betweens)))
    cells, (arrivals, _) = [], walk.landmarks()
    for k, picture in enumerate(keyframe_pictures):
        room = large if k == columns - 1 == betweens else int(1.55 * large) + GAP
        cells.append(_keyframe(walk, k, arrivals[k], picture, between_pictures[k : k + 1], large, room))
    rows = [_beside(cells[i : i + columns], 0) for i in range(0, count, columns)]

    # 2. What is above and below them.
    full = rows[0].width
    length = f"{short_clock(float(walk.seconds))} at {float(walk.fps):.5g} fps"
    title = f"{plural(count, 'keyframe')}, {plural(walk.frames, 'frame')}, {length}"
    about = "Large: the keyframes. Small: the frames half-way between them."
    closed = " The last keyframe leads back to the first." if walk.closed else ""
    heading = [_text(title, full, HEADING), _text(about + closed, full, colour=MUTED)]
    compared = [] if list(along) == list(speed) else list(along)
    legend = [
        _text("Speed", full, HEADING),
        _text(_legend(speed, True) + ALONG * bool(compared), full, colour=MUTED),
    ]
    seconds = len(speed) / float(walk.fps)
    marks = [(k + 1, frame / len(speed)) for k, frame in enumerate(arrivals)]
    if walk.closed and marks[0][1] == 0:
        marks.append((1, walk.frames / len(speed)))  # there again
    plot = [_marked(marks, _curve(speed, full, compared)), _axis(seconds, full)]
    if music:
        legend.append(
            _text((SOUND if music.rate else TEMPO) + FOLLOWED * bool(music.followed_rate), full, colour=MUTED)
        )
        plot.insert(1, _waveform(music, seconds, full))
    parts = [_below(heading, 10), *rows, _below([_below(legend, 10), _below(plot, 6)], 24)]
    return _sheet([*parts, *([_closer(closer, full)] if closer else []), *_warnings(warnings, full)])


def sampled(count: int) -> list[int]:
    """Which of a film's frames its sheet shows: from the first to the last, evenly."""
    shown = min(count, FRAMES)
    return [round(i * (count - 1) / max(1, shown - 1)) for i in range(shown)]


def reduced(picture: np.ndarray) -> np.ndarray:
    """No larger than a sheet shows it."""
    return np.asarray(_thumbnail(picture, LARGEST)) if picture.shape[1] > LARGEST else picture


def film(
    name: str,
    facts: Sequence[str],
    pictures: Sequence[tuple[float, np.ndarray]],
    times: Sequence[float],
    speed: Sequence[float],
    keyframes: Sequence[tuple[float, str]] = (),
    warnings: Sequence[str] = (),
) -> Image.Image:
    """A contact sheet of a finished film, and its speed over time.

    pictures: (seconds, (height, width, 3) uint8), as `sampled` chooses them. times: of its frames, in seconds.
    speed: how much the picture changes from each frame to the next; of a loop, also from the last to the first.
    keyframes: (seconds, prompt).
    """
    rows, full = _rows([(picture, clock(time, 2)) for time, picture in pictures], min(COLUMNS, len(pictures)))
    full = max(full, 2 * LARGEST)
    heading = [_text(name, full, HEADING, lines=3), *(_text(fact, full, colour=MUTED) for fact in facts)]
    parts = [_below(heading, 10), _below(rows, 28)]
    seconds = (times[-1] - times[0]) * len(speed) / max(1, len(times) - 1)
    if len(speed) > 1 and seconds:
        marks = [(k, (time - times[0]) / seconds) for k, (time, _) in enumerate(keyframes, 1)]
        legend = [_text("Speed", full, HEADING), _text(_legend(speed, bool(marks)), full, colour=MUTED)]
        plot = _marked(marks, _curve(speed, full)) if marks else _curve(speed, full)
        parts.append(_below([_below(legend, 10), _below([plot, _axis(seconds, full)], 6)], 24))
    named = [
        _beside([_badge(str(k)), _text(f"{clock(time, 2)}  {prompt}", full - 80, lines=2)], 12)
        for k, (time, prompt) in enumerate(keyframes[:LINES], 1)
    ]
    if len(keyframes) > LINES:
        named.append(_text(f"and {len(keyframes) - LINES} more", full, colour=MUTED))
    return _sheet([*parts, *([_below(named, 10)] if named else []), *_warnings(warnings, full)])


def _closer(closer: Closer, full: int) -> Image.Image:
    """The middle of a picture, pixel by pixel, beside that of the picture enlarged without a network."""
    height, width = closer.enlarged.shape[:2]
    plain = np.asarray(Image.fromarray(closer.plain).resize((width, height), Image.Resampling.LANCZOS))
    side = min((full - GAP) // 2, width, height)
    cells = []
    for picture, text in ((closer.enlarged, closer.by), (plain, "without")):
        top, left = (height - side) // 2, (width - side) // 2
        part = Image.fromarray(picture[top : top + side, left : left + side])
        cells.append(_below([part, _text(text, side)], 8))
    legend = [
        _text("Enlarged", full, HEADING),
        _text("The middle of the first keyframe, pixel by pixel.", full, colour=MUTED),
    ]
    return _below([_below(legend, 10), _beside(cells, GAP)], 24)


def _rows(pictures: Sequence[tuple[np.ndarray, str]], columns: int) -> tuple[list[Image.Image], int]:
    """Pictures, each with its text below, so many in a row; and how wide a row of them may be."""
    width = min(LARGEST, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns)
    cells = [_below([_thumbnail(picture, width), _text(text, width)], 8) for picture, text in pictures]
    rows = [_beside(cells[i : i + columns], GAP) for i in range(0, len(cells), columns)]
    return rows, columns * (width + GAP) - GAP


def _sheet(parts: Sequence[Image.Image]) -> Image.Image:
    return ImageOps.expand(_below(parts, 40), MARGIN, BACKGROUND)


def _legend(speed: Sequence[float], marked: bool) -> str:
    said = "; ".join([NUMBERED] * marked + [MEDIAN] * bool(np.median(speed)))
    return f"{LEGEND} {said[0].upper()}{said[1:]}." if said else LEGEND


def _warnings(texts: Sequence[str], width: int) -> list[Image.Image]:
    """In one part, or none."""
    shown = [_warning(text, width) for text in texts[:LINES]]
    if len(texts) > LINES:
        shown.append(_text(f"and {len(texts) - LINES} more", width, colour=WARNING))
    return [_below(shown, 10)] if shown else []


def middle(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """As much of the middle of a picture, (height, width, 3), as has the shape of (width, height)."""
    height, width = picture.shape[:2]
    scale = min(width / shape[0], height / shape[1])
    w, h = (round(side * scale) for side in shape)
    left, top = (width - w) // 2, (height - h) // 2
    return picture[top : top + h, left : left + w]


def _keyframe(
    walk: Walk, k: int, frame: int, picture: np.ndarray, between: Sequence[np.ndarray], width: int, room: int
) -> Image.Image:
    """A keyframe's picture, which that frame shows, and on the line to the next the one half-way (if any); text as wide
    as `room` below."""
    first = _thumbnail(picture, width)
    small = [_thumbnail(other, int(0.55 * width)) for other in between]
    strip = Image.new("RGB", (width + sum(other.width + 2 * GAP for other in small), first.height), BACKGROUND)
    for other in small:
        ImageDraw.Draw(strip).line([(0, first.height // 2), (strip.width, first.height // 2)], LINE, 3)
        strip.paste(other, (width + GAP, (first.height - other.height) // 2))
    strip.paste(first, (0, 0))
    keyframe = walk.keyframes[k]
    arrival = _text(short_clock(frame / float(walk.fps)), width)
    texts = [_text(keyframe.prompt, room, lines=4), _text(f"seed {keyframe.seed}", room, colour=MUTED)]
    if keyframe.negative_prompt:
        texts.append(_text(f"negative: {keyframe.negative_prompt}", room, colour=MUTED, lines=3))
    return _below([strip, _below([_beside([_badge(str(k + 1)), arrival], 12), *texts], 8)], 14)


def _warning(text: str, width: int) -> Image.Image:
    badge = _badge("!", WARNING)
    return _beside([badge, _text(text, width - badge.width - 12, colour=WARNING, lines=4)], 12)


# The plot


def _curve(speed: Sequence[float], width: int, along: Sequence[float] = ()) -> Image.Image:
    """A filled curve, and another to compare it with, drawn three times as large for the sake of smooth edges."""
    values, others = _columns(speed, width), _columns(along, width)
    top = 1.06 * (max(values.max(), *others) if len(others) else values.max()) or 1
    y = _line(values / top, width)
    area = Image.fromarray((np.arange(3 * PLOT_HEIGHT)[:, None] >= y).astype(np.uint8) * 255)
    plot = Image.new("RGB", (width, PLOT_HEIGHT), PANEL)
    plot.paste(AREA, mask=area.reduce(3))
    median = PLOT_HEIGHT * (1 - np.median(values / top))
    for left in range(0, width, 16) if median < PLOT_HEIGHT else ():
        ImageDraw.Draw(plot).line([(left, median), (left + 7, median)], MUTED, 2)
    for line, colour in ((_line(others / top, width), WARNING), (y, CURVE)) if len(others) else ((y, CURVE),):
        edge = Image.new("L", area.size)
        ImageDraw.Draw(edge).line(list(enumerate(line.tolist())), 255, 12 if colour == CURVE else 5)
        plot.paste(colour, mask=edge.reduce(3))
    return plot


def _columns(speed: Sequence[float], width: int) -> np.ndarray:
    values = np.nan_to_num(np.asarray(speed, float), posinf=0).clip(0)
    if len(values) > width:  # the fastest of the frames that share a column
        values = np.maximum.reduceat(values, np.arange(width) * len(values) // width)
    return values


def _line(values: np.ndarray, width: int) -> np.ndarray:
    """How far below the top a curve of 0 .. 1 is, in each of 3 * width columns."""
    x = (np.arange(3 * width) + 0.5) / (3 * width)
    return 3 * PLOT_HEIGHT * (1 - np.interp(x, (np.arange(len(values)) + 0.5) / len(values), values))


def _marked(marks: Sequence[tuple[int, float]], plot: Image.Image) -> Image.Image:
    """The plot with lines where keyframes arrive, 0 to 1 of its width, and above it as many of their numbers as fit."""
    xs = [round(share * (plot.width - 2)) for _, share in marks]
    badges = [_badge(str(number)) for number, _ in marks]
    lefts = [_within(x + 1 - badge.width // 2, badge.width, plot.width) for x, badge in zip(xs, badges)]
    every = next(n for n in (1, 2, 5, 10, 20, 50, len(marks)) if n * plot.width > 60 * len(marks) or n == len(marks))
    picture = ImageOps.expand(plot, (0, badges[0].height + 6, 0, 0), BACKGROUND)
    free = 0
    for i, (x, badge) in enumerate(zip(xs, badges)):
        left = max(free, lefts[i])  # a little to the right of its line, if need be
        end = plot.width if i == len(marks) - 1 else lefts[-1] - 3
        shown = left <= x and left + badge.width <= end and (marks[i][0] % every == 0 or i in (0, len(marks) - 1))
        top = badge.height + 6 * (not shown)
        ImageDraw.Draw(picture).line([(x, top), (x, picture.height)], MUTED if shown else LINE, 2)
        if shown:
            picture.paste(badge, (left, 0))
            free = left + badge.width + 3
    return picture


def _waveform(music: Music, seconds: float, width: int) -> Image.Image:
    """The loudest sample of each column, both ways; lines at bars and beats, in front where they can be seen."""
    picture = Image.new("RGB", (width, WAVE_HEIGHT), PANEL)
    draw, middle = ImageDraw.Draw(picture), WAVE_HEIGHT / 2
    moments = (np.arange(width) + 0.5) * seconds / width
    columns = np.interp(moments, *_loudest(music.samples, music.rate, seconds / width))
    for x, height in enumerate(columns / max(columns.max(), 1e-9) * (middle - 8)):
        draw.line([(x, middle - height), (x, middle + height)], AREA)
    for times, reach, colour in ((music.beats, 0.8, LINE), (music.bars, 0, MUTED)):
        for time in times:
            x = round(time / seconds * (width - 2))
            draw.line([(x, reach * WAVE_HEIGHT), (x, WAVE_HEIGHT)], colour, 2)
    if music.followed_rate:
        columns = np.interp(moments, *_loudest(music.followed, music.followed_rate, seconds / width), right=0)
        draw.line([(x, (1 - height) * (WAVE_HEIGHT - 4) + 1) for x, height in enumerate(columns)], CURVE, 2)
    return picture


def _loudest(samples: np.ndarray, rate: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Seconds, and the largest amplitude around each."""
    if not rate or not len(samples):
        return np.zeros(1), np.zeros(1)
    count = max(1, round(step * rate))
    starts = np.arange(0, len(samples), count)
    return (starts + count / 2) / rate, np.maximum.reduceat(np.abs(samples).max(axis=1), starts)


def _axis(seconds: float, width: int) -> Image.Image:
    """Times, at the closest round distance that leaves them room."""
    distances = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    step = next((step for step in distances if step / seconds * width > 120), seconds)
    picture = Image.new("RGB", (width, 48), BACKGROUND)
    for tick in range(int(seconds / step + 1e-6) + 1):
        x = round(tick * step / seconds * (width - 2))
        label = _text(short_clock(tick * step), width, colour=MUTED)
        ImageDraw.Draw(picture).line([(x, 0), (x, 7)], MUTED, 2)
        picture.paste(label, (_within(x + 1 - label.width // 2, label.width, width), 10))
    return picture


def _within(left: int, size: int, width: int) -> int:
    return max(0, min(left, width - size))


# Pictures, text, and pictures joined


def _thumbnail(picture: np.ndarray, width: int) -> Image.Image:
    """As wide as that, unless it would be very high."""
    scale = width / max(picture.shape[1], picture.shape[0] / 1.8)
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)


def _badge(sign: str, colour: Colour = BRIGHT) -> Image.Image:
    font = _font(sign, TEXT)
    badge = Image.new("RGB", (max(36, round(font.getlength(sign)) + 16), 36), BACKGROUND)
    ImageDraw.Draw(badge).rounded_rectangle((0, 0, badge.width - 1, badge.height - 1), 8, colour)
    ImageDraw.Draw(badge).text((badge.width / 2, 27), sign, BACKGROUND, font, "ms")
    return badge


def _text(text: str, width: int, size: int = TEXT, colour: Colour = BRIGHT, lines: int = 9) -> Image.Image:
    """In lines no wider than that; the rest of what is too long is an ellipsis."""
    text = " ".join(CONTROLS.sub(" ", text).split())[: 300 * lines]
    font = _font(text, size)
    wrapped = _wrap(text, font, width, lines)
    wide = min(width, math.ceil(max(font.getlength(line) for line in wrapped)))
    step = round(1.25 * size)
    picture = Image.new("RGB", (max(1, wide), step * len(wrapped)), BACKGROUND)
    for i, line in enumerate(wrapped):
        ImageDraw.Draw(picture).text((0, i * step + size), line, colour, font, "ls")
    return picture


def _wrap(text: str, font: Font, width: int, lines: int) -> list[str]:
    done: list[str] = []
    while not done or (text and len(done) < lines):
        fits = bisect(range(1, len(text) + 1), width, key=lambda count: math.ceil(font.getlength(text[:count])))
        if fits < len(text):  # a word that is wider than the column is broken
            fits = max(text.rfind(" ", 1, fits + 1), 0) or max(fits, 1)
        done.append(text[:fits])
        text = text[fits:].strip()
    while text and done[-1] and font.getlength(done[-1] + "…") > width:
        done[-1] = done[-1][:-1]
    return [*done[:-1], done[-1].rstrip(" ,.;") + "…"] if text else done


def _font(text: str, size: int) -> Font:
    """The first that shows the most of it: what a font hasn't looks like U+10FFFF, which none has."""
    fonts = _fonts(size, () if text.isascii() else FONTS)
    if len(fonts) == 1:
        return fonts[0]
    return min(fonts, key=lambda font: sum(_looks(font, c) == _looks(font, "\U0010ffff") for c in set(text)))


@lru_cache(10000)
def _looks(font: Font, letter: str) -> bytes:
    return bytes(font.getmask(letter))


@lru_cache
def _fonts(size: int, names: tuple[str, ...]) -> list[Font]:
    fonts: list[Font] = [ImageFont.load_default(size)]
    for name in names:
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, round(0.92 * size)))  # they look larger
    return fonts


def _beside(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    size = (sum(picture.width + gap for picture in pictures) - gap, max(picture.height for picture in pictures))
    whole, left = Image.new("RGB", size, BACKGROUND), 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + gap
    return whole


def _below(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    turn = Image.Transpose.TRANSPOSE
    return _beside([picture.transpose(turn) for picture in pictures], gap).transpose(turn)
