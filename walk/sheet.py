"""Pictures for people who would rather look than read: a sheet of seeds, a preview of a walk, a film at a glance.

Arrays in, Pillow pictures out. Knows no models, and no files but the system's fonts. A sheet is joined from smaller
pictures; its text can still be read when it is shown at half its width.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from walk import images
from walk.text import clock, plural, short_clock, together
from walk.timeline import Walk

WIDTH, MARGIN, GAP = 1600, 48, 16  # pixels; of the widest sheet
THUMBNAIL = 320  # pixels; width of a picture at most
MOST_COLUMNS = 8  # of pictures to choose from
APART, FRAME = 56, 6  # pixels; around the film's own among them
FRAMES, COLUMNS = 24, 6  # pictures of a film's sheet at most, and how many of them in a row
DRAWN = 240  # keyframes of a preview's sheet at most: few programs open pictures of more than 65,000 lines
LISTED = 12  # keyframes or warnings that are listed one by one
HEADING, TEXT = 36, 26  # sizes of type
PLOT_HEIGHT, WAVE_HEIGHT = 240, 120
BACKGROUND, PANEL, LINE = (24, 26, 30), (34, 37, 43), (84, 90, 100)
BRIGHT, MUTED, WARNING = (236, 238, 241), (160, 167, 177), (245, 190, 95)
CURVE, AREA = (128, 184, 255), (52, 82, 122)
# Pillow's own font has little more than ASCII; these are asked for the rest.
FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "NotoSansCJK-Regular.ttc", "Arial Unicode.ttf", "msyh.ttc")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
CHOOSE = "The number below a picture is its seed: to have it in the film, end the prompt in | seed=N; --seeds N gives it to all prompts."
OWN = "Left, and framed: what the film has so far."
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
    """What a walk moves to.

    samples: (n, channels), at any scale; none (rate 0) where there is only a tempo.
    beats, bars: in seconds.
    followed: (n, 1), the strength of onsets in what the walk follows, if that is not the whole sound.
    followed_rate: values of it a second; 0 if there are none.
    """

    samples: np.ndarray
    rate: int
    beats: Sequence[float]
    bars: Sequence[float]
    followed: np.ndarray = np.zeros((0, 1))
    followed_rate: int = 0


class Closer(NamedTuple):
    """A picture as an upscaler enlarges it, and as it is. Both (height, width, 3) uint8. by: the upscaler's name."""

    enlarged: np.ndarray
    plain: np.ndarray
    by: str


class Choice(NamedTuple):
    """A prompt with pictures to choose from.

    film: the seeds that it has in the film so far, one for each time that it comes.
    pictures: (height, width, 3) uint8, by their seeds; the first of the film among them.
    """

    prompt: str
    negative: str
    film: Sequence[int]
    pictures: Mapping[int, np.ndarray]


def seeds(pictures: Sequence[np.ndarray], seeds: Sequence[int], prompt: str) -> Image.Image:
    """A sheet of pictures to choose from, (height, width, 3) uint8, each with its seed below."""
    least = min(MOST_COLUMNS, math.ceil(math.sqrt(len(pictures))))  # nearly a square, with few empty places
    columns = min(range(least, min(MOST_COLUMNS, least + 2) + 1), key=lambda columns: -len(pictures) % columns)
    rows, full_width = _grid([(picture, str(seed)) for picture, seed in zip(pictures, seeds)], columns)
    heading = [
        _text(prompt, full_width, HEADING, lines=3),
        _text("The number below a picture is its seed.", full_width, colour=MUTED),
    ]
    return _sheet([_below([_below(heading, 10), *rows], 28)])


def choices(choices: Sequence[Choice], numbers: Sequence[int]) -> Image.Image:
    """A sheet of several prompts: of each the picture that the film has, and apart from it those from these seeds."""
    columns = math.ceil(len(numbers) / math.ceil(len(numbers) / MOST_COLUMNS))
    width = min(THUMBNAIL, (WIDTH - 2 * MARGIN - APART - (columns - 1) * GAP) // (columns + 1) - 2 * FRAME)
    full_width = max((columns + 1) * (width + 2 * FRAME) + (columns - 1) * GAP + APART, 2 * THUMBNAIL)
    rows = [_choice(choice, numbers, columns, width, full_width) for choice in choices]
    title = f"{plural(len(choices), 'prompt')}, {plural(len(numbers), 'seed')}" + " each" * (len(choices) > 1)
    facts = [_text(fact, full_width, colour=MUTED) for fact in (CHOOSE, OWN)]
    return _sheet([_below([_text(title, full_width, HEADING), *facts], 10), *rows])


def _choice(choice: Choice, numbers: Sequence[int], columns: int, width: int, full_width: int) -> Image.Image:
    """A prompt, and below it its pictures."""
    cells = [
        _candidate(choice.pictures[seed], seed, seed in choice.film, width)
        for seed in (choice.film[0], *(seed for seed in numbers if seed in choice.pictures))
    ]
    texts = [_text(choice.prompt, full_width, lines=3)]
    if choice.negative:
        texts.append(_text(f"negative: {choice.negative}", full_width, colour=MUTED, lines=2))
    if len(choice.film) > 1:
        seeds = together([str(seed) for seed in dict.fromkeys(choice.film)])
        often = f"{len(choice.film)} times in the film, with seed{'s' * (len(set(choice.film)) > 1)} {seeds}"
        texts.append(_text(often, full_width, colour=MUTED, lines=2))
    lines = [_beside(cells[i : i + columns], GAP) for i in range(1, len(cells), columns)]
    pictures = [cells[0], *([_below(lines, GAP)] if lines else [])]
    return _below([_below(texts, 8), _beside(pictures, APART)], 12)


def _candidate(picture: np.ndarray, seed: int, framed: bool, width: int) -> Image.Image:
    """A picture with its seed below."""
    apart = ImageOps.expand(_thumbnail(picture, width), 2, BACKGROUND)  # else a blue picture would swallow its frame
    frame = ImageOps.expand(apart, FRAME - 2, CURVE if framed else BACKGROUND)
    number = ImageOps.expand(_text(str(seed), width, colour=CURVE if framed else BRIGHT), (FRAME, 0), BACKGROUND)
    return _below([frame, number], 4)


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
    along: the speed with equal steps along the path, for comparison.
    closer: the first keyframe, enlarged.
    """
    # 1. Rows as nearly equal as possible: keyframes, and the pictures between at about half their width.
    keyframes, shown = len(walk.keyframes), sampled(len(walk.keyframes), DRAWN)
    count = len(shown)
    height, width = keyframe_pictures[0].shape[:2]
    columns = math.ceil(count / math.ceil(count / (5 if width < 1.3 * height else 4)))
    betweens = columns if walk.closed or columns < count else columns - 1
    large = min(THUMBNAIL, int((WIDTH - 2 * MARGIN - (columns + betweens) * GAP) / (columns + 0.55 * betweens)))
    cells, (arrivals, _) = [], walk.landmarks()
    for i, k in enumerate(shown):
        text_width = large if i == columns - 1 == betweens else int(1.55 * large) + GAP
        picture, between = keyframe_pictures[k], between_pictures[k : k + 1]
        cells.append(_keyframe_cell(walk, k, arrivals[k], picture, between, large, text_width))
    rows = [_beside(cells[i : i + columns], 0) for i in range(0, count, columns)]

    # 2. The heading above them, and the plot below.
    full_width = rows[0].width
    length = f"{short_clock(float(walk.seconds))} at {float(walk.fps):.5g} fps"
    title = f"{plural(keyframes, 'keyframe')}, {plural(walk.frames, 'frame')}, {length}"
    about = "Large: the keyframes. Small: the frames half-way between them."
    about += f" So many keyframes have no room here: {count} of them are shown." * (count < keyframes)
    closed = " The last keyframe leads back to the first." if walk.closed else ""
    heading = [_text(title, full_width, HEADING), _text(about + closed, full_width, colour=MUTED)]
    compared = [] if list(along) == list(speed) else list(along)
    legend = [
        _text("Speed", full_width, HEADING),
        _text(_legend(speed, True) + ALONG * bool(compared), full_width, colour=MUTED),
    ]
    seconds = len(speed) / float(walk.fps)
    marks = [(k + 1, frame / len(speed)) for k, frame in enumerate(arrivals)]
    if walk.closed and marks[0][1] == 0:
        marks.append((1, walk.frames / len(speed)))  # the loop arrives there again
    plot = [_with_marks(marks, _plot(speed, full_width, compared)), _time_axis(seconds, full_width)]
    if music:
        legend.append(
            _text((SOUND if music.rate else TEMPO) + FOLLOWED * bool(music.followed_rate), full_width, colour=MUTED)
        )
        plot.insert(1, _waveform(music, seconds, full_width))
    parts = [_below(heading, 10), *rows, _below([_below(legend, 10), _below(plot, 6)], 24)]
    return _sheet([*parts, *([_comparison(closer, full_width)] if closer else []), *_warnings(warnings, full_width)])


def sampled(count: int, most: int = FRAMES) -> list[int]:
    """The indices of the frames that a film's sheet shows: from the first to the last, evenly spaced. Of keyframes, too."""
    number = min(count, most)
    return [round(i * (count - 1) / max(1, number - 1)) for i in range(number)]


def reduced(picture: np.ndarray) -> np.ndarray:
    """The picture, no larger than a sheet shows it."""
    return np.asarray(_thumbnail(picture, THUMBNAIL)) if picture.shape[1] > THUMBNAIL else picture


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
    rows, full_width = _grid([(picture, clock(time, 2)) for time, picture in pictures], min(COLUMNS, len(pictures)))
    full_width = max(full_width, 2 * THUMBNAIL)
    heading = [_text(name, full_width, HEADING, lines=3), *(_text(fact, full_width, colour=MUTED) for fact in facts)]
    parts = [_below(heading, 10), _below(rows, 28)]
    seconds = (times[-1] - times[0]) * len(speed) / max(1, len(times) - 1)
    if len(speed) > 1 and seconds:
        marks = [(k, (time - times[0]) / seconds) for k, (time, _) in enumerate(keyframes, 1)]
        legend = [_text("Speed", full_width, HEADING), _text(_legend(speed, bool(marks)), full_width, colour=MUTED)]
        plot = _with_marks(marks, _plot(speed, full_width)) if marks else _plot(speed, full_width)
        parts.append(_below([_below(legend, 10), _below([plot, _time_axis(seconds, full_width)], 6)], 24))
    named = [
        _beside([_badge(str(k)), _text(f"{clock(time, 2)}  {prompt}", full_width - 80, lines=2)], 12)
        for k, (time, prompt) in enumerate(keyframes[:LISTED], 1)
    ]
    if len(keyframes) > LISTED:
        named.append(_text(f"and {len(keyframes) - LISTED} more", full_width, colour=MUTED))
    return _sheet([*parts, *([_below(named, 10)] if named else []), *_warnings(warnings, full_width)])


def _comparison(closer: Closer, full_width: int) -> Image.Image:
    """The middle of a picture that a network has enlarged, pixel by pixel, beside that of one resized without."""
    height, width = closer.enlarged.shape[:2]
    plain = np.asarray(Image.fromarray(closer.plain).resize((width, height), Image.Resampling.LANCZOS))
    side = min((full_width - GAP) // 2, width, height)
    cells = []
    for picture, text in ((closer.enlarged, closer.by), (plain, "without")):
        top, left = (height - side) // 2, (width - side) // 2
        part = Image.fromarray(picture[top : top + side, left : left + side])
        cells.append(_below([part, _text(text, side)], 8))
    legend = [
        _text("Enlarged", full_width, HEADING),
        _text("The middle of the first keyframe, pixel by pixel.", full_width, colour=MUTED),
    ]
    return _below([_below(legend, 10), _beside(cells, GAP)], 24)


def _grid(pictures: Sequence[tuple[np.ndarray, str]], columns: int) -> tuple[list[Image.Image], int]:
    """(rows, width of a row): pictures in so many columns, each with its text below."""
    width = min(THUMBNAIL, (WIDTH - 2 * MARGIN - (columns - 1) * GAP) // columns)
    cells = [_below([_thumbnail(picture, width), _text(text, width)], 8) for picture, text in pictures]
    rows = [_beside(cells[i : i + columns], GAP) for i in range(0, len(cells), columns)]
    return rows, columns * (width + GAP) - GAP


def _sheet(parts: Sequence[Image.Image]) -> Image.Image:
    return ImageOps.expand(_below(parts, 40), MARGIN, BACKGROUND)


def _legend(speed: Sequence[float], marked: bool) -> str:
    """What the plot of a speed shows. marked: it has lines where keyframes arrive."""
    usual = float(np.median(speed))
    heights = [MEDIAN, f"the film is at most {max(speed) / usual:.2g} times as fast as that"] if usual else []
    lines = "; ".join([NUMBERED] * marked + heights)
    return f"{LEGEND} {lines[0].upper()}{lines[1:]}." if lines else LEGEND


def _warnings(texts: Sequence[str], width: int) -> list[Image.Image]:
    """A part of a sheet with all warnings, or no part."""
    lines = [_warning(text, width) for text in texts[:LISTED]]
    if len(texts) > LISTED:
        lines.append(_text(f"and {len(texts) - LISTED} more", width, colour=WARNING))
    return [_below(lines, 10)] if lines else []


def middle(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The largest middle part of a picture, (height, width, 3), with the proportions of `shape`, (width, height)."""
    height, width = picture.shape[:2]
    scale = min(width / shape[0], height / shape[1])
    w, h = (round(side * scale) for side in shape)
    left, top = (width - w) // 2, (height - h) // 2
    return picture[top : top + h, left : left + w]


def _keyframe_cell(
    walk: Walk, k: int, frame: int, picture: np.ndarray, between: Sequence[np.ndarray], width: int, text_width: int
) -> Image.Image:
    """A keyframe's picture; right of it, on the line to the next keyframe, the picture half-way, if there is one; and
    below, its time, prompt and seed.

    frame: the one that shows the keyframe. between: the picture half-way, or nothing. width: of the keyframe's picture.
    """
    large = _thumbnail(picture, width)
    small = [_thumbnail(other, int(0.55 * width)) for other in between]
    strip = Image.new("RGB", (width + sum(other.width + 2 * GAP for other in small), large.height), BACKGROUND)
    for other in small:
        ImageDraw.Draw(strip).line([(0, large.height // 2), (strip.width, large.height // 2)], LINE, 3)
        strip.paste(other, (width + GAP, (large.height - other.height) // 2))
    strip.paste(large, (0, 0))
    keyframe = walk.keyframes[k]
    arrival = _text(short_clock(frame / float(walk.fps)), width)
    texts = [_text(keyframe.title, text_width, lines=4), _text(f"seed {keyframe.seed}", text_width, colour=MUTED)]
    moves = [
        f"{name} {value}" for name, value in (("pace", keyframe.pace), ("pulse", keyframe.pulse)) if value is not None
    ]
    if moves:
        texts.append(_text(", ".join(moves), text_width, colour=MUTED))
    if keyframe.negative_prompt:
        texts.append(_text(f"negative: {keyframe.negative_prompt}", text_width, colour=MUTED, lines=3))
    if keyframe.image:
        seen = _thumbnail(np.asarray(images.load(keyframe.image)), text_width // 4)
        name = _text(f"image: {keyframe.image.path}", text_width - seen.width - 12, colour=MUTED, lines=3)
        texts.append(_beside([seen, name], 12))
    return _below([strip, _below([_beside([_badge(str(k + 1)), arrival], 12), *texts], 8)], 14)


def _warning(text: str, width: int) -> Image.Image:
    badge = _badge("!", WARNING)
    return _beside([badge, _text(text, width - badge.width - 12, colour=WARNING, lines=4)], 12)


# The plot


def _plot(speed: Sequence[float], width: int, along: Sequence[float] = ()) -> Image.Image:
    """The speed as a filled curve, and another to compare it with; drawn at three times the size, for smooth edges."""
    values, others = _column_values(speed, width), _column_values(along, width)
    top = 1.06 * (max(values.max(), *others) if len(others) else values.max()) or 1
    y = _depths(values / top, width)
    area = Image.fromarray((np.arange(3 * PLOT_HEIGHT)[:, None] >= y).astype(np.uint8) * 255)
    plot = Image.new("RGB", (width, PLOT_HEIGHT), PANEL)
    plot.paste(AREA, mask=area.reduce(3))
    median = PLOT_HEIGHT * (1 - np.median(values / top))
    for left in range(0, width, 16) if median < PLOT_HEIGHT else ():
        ImageDraw.Draw(plot).line([(left, median), (left + 7, median)], MUTED, 2)
    for line, colour in ((_depths(others / top, width), WARNING), (y, CURVE)) if len(others) else ((y, CURVE),):
        edge = Image.new("L", area.size)
        ImageDraw.Draw(edge).line(list(enumerate(line.tolist())), 255, 12 if colour == CURVE else 5)
        plot.paste(colour, mask=edge.reduce(3))
    return plot


def _column_values(speed: Sequence[float], width: int) -> np.ndarray:
    """The speeds as finite numbers, of which there are no more than columns of pixels."""
    values = np.nan_to_num(np.asarray(speed, float), posinf=0).clip(0)
    if len(values) > width:  # the fastest of the frames that share a column
        values = np.maximum.reduceat(values, np.arange(width) * len(values) // width)
    return values


def _depths(values: np.ndarray, width: int) -> np.ndarray:
    """How far below the top a curve of values 0 .. 1 is, in each of 3 * width columns."""
    x = (np.arange(3 * width) + 0.5) / (3 * width)
    return 3 * PLOT_HEIGHT * (1 - np.interp(x, (np.arange(len(values)) + 0.5) / len(values), values))


def _with_marks(marks: Sequence[tuple[int, float]], plot: Image.Image) -> Image.Image:
    """The plot with a line for each keyframe, and above it as many of the keyframes' numbers as fit.

    marks: (number, place as a share of the plot's width).
    """
    xs = [round(share * (plot.width - 2)) for _, share in marks]
    badges = [_badge(str(number)) for number, _ in marks]
    lefts = [_clamped(x + 1 - badge.width // 2, badge.width, plot.width) for x, badge in zip(xs, badges)]
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
    """The largest amplitude in each column, drawn up and down; in front of it, lines at bars and beats, and the curve of
    what is followed."""
    picture = Image.new("RGB", (width, WAVE_HEIGHT), PANEL)
    draw, middle = ImageDraw.Draw(picture), WAVE_HEIGHT / 2
    moments = (np.arange(width) + 0.5) * seconds / width
    columns = np.interp(moments, *_amplitudes(music.samples, music.rate, seconds / width))
    for x, height in enumerate(columns / max(columns.max(), 1e-9) * (middle - 8)):
        draw.line([(x, middle - height), (x, middle + height)], AREA)
    for times, reach, colour in ((music.beats, 0.8, LINE), (music.bars, 0, MUTED)):
        for time in times:
            x = round(time / seconds * (width - 2))
            draw.line([(x, reach * WAVE_HEIGHT), (x, WAVE_HEIGHT)], colour, 2)
    if music.followed_rate:
        columns = np.interp(moments, *_amplitudes(music.followed, music.followed_rate, seconds / width), right=0)
        draw.line([(x, (1 - height) * (WAVE_HEIGHT - 4) + 1) for x, height in enumerate(columns)], CURVE, 2)
    return picture


def _amplitudes(samples: np.ndarray, rate: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """(moments in seconds, the largest amplitude around each), one for each `step` seconds."""
    if not rate or not len(samples):
        return np.zeros(1), np.zeros(1)
    count = max(1, round(step * rate))
    starts = np.arange(0, len(samples), count)
    return (starts + count / 2) / rate, np.maximum.reduceat(np.abs(samples).max(axis=1), starts)


def _time_axis(seconds: float, width: int) -> Image.Image:
    """Times below a plot, at the smallest round interval that leaves room for them."""
    intervals = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    step = next((step for step in intervals if step / seconds * width > 120), seconds)
    picture = Image.new("RGB", (width, 48), BACKGROUND)
    for tick in range(int(seconds / step + 1e-6) + 1):
        x = round(tick * step / seconds * (width - 2))
        label = _text(short_clock(tick * step), width, colour=MUTED)
        ImageDraw.Draw(picture).line([(x, 0), (x, 7)], MUTED, 2)
        picture.paste(label, (_clamped(x + 1 - label.width // 2, label.width, width), 10))
    return picture


def _clamped(left: int, size: int, width: int) -> int:
    """`left`, moved so that something of this size is inside the width."""
    return max(0, min(left, width - size))


# Pictures, text, and how they are joined


def _thumbnail(picture: np.ndarray, width: int) -> Image.Image:
    """The picture, resized to this width, or to less where it would be very high."""
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
    """Text in lines of this width at most; an ellipsis stands for the lines that are too many."""
    text = " ".join(CONTROLS.sub(" ", text).split())[: 300 * lines]
    font = _font(text, size)
    wrapped = _wrap(text, font, width, lines)
    longest = min(width, math.ceil(max(font.getlength(line) for line in wrapped)))
    step = round(1.25 * size)
    picture = Image.new("RGB", (max(1, longest), step * len(wrapped)), BACKGROUND)
    for i, line in enumerate(wrapped):
        ImageDraw.Draw(picture).text((0, i * step + size), line, colour, font, "ls")
    return picture


def _wrap(text: str, font: Font, width: int, lines: int) -> list[str]:
    """The lines, of which the last ends with an ellipsis if there are more than these."""
    wrapped: list[str] = []
    while not wrapped or (text and len(wrapped) < lines):
        fits = bisect(range(1, len(text) + 1), width, key=lambda count: math.ceil(font.getlength(text[:count])))
        if fits < len(text):  # a word that is wider than the column is broken
            fits = max(text.rfind(" ", 1, fits + 1), 0) or max(fits, 1)
        wrapped.append(text[:fits])
        text = text[fits:].strip()
    while text and wrapped[-1] and font.getlength(wrapped[-1] + "…") > width:
        wrapped[-1] = wrapped[-1][:-1]
    return [*wrapped[:-1], wrapped[-1].rstrip(" ,.;") + "…"] if text else wrapped


def _font(text: str, size: int) -> Font:
    """The font that has most of the text's characters; of equals, the first. A character that a font lacks looks like
    U+10FFFF, which none has."""
    fonts = _fonts(size, () if text.isascii() else FONTS)
    if len(fonts) == 1:
        return fonts[0]
    return min(fonts, key=lambda font: sum(_glyph(font, c) == _glyph(font, "\U0010ffff") for c in set(text)))


@lru_cache(10000)
def _glyph(font: Font, character: str) -> bytes:
    return bytes(font.getmask(character))


@lru_cache
def _fonts(size: int, names: tuple[str, ...]) -> list[Font]:
    fonts: list[Font] = [ImageFont.load_default(size)]
    for name in names:
        with suppress(OSError):
            fonts.append(ImageFont.truetype(name, round(0.92 * size)))  # these look larger than Pillow's
    return fonts


def _beside(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures joined in a row."""
    size = (sum(picture.width + gap for picture in pictures) - gap, max(picture.height for picture in pictures))
    row, left = Image.new("RGB", size, BACKGROUND), 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def _below(pictures: Sequence[Image.Image], gap: int) -> Image.Image:
    """Pictures joined in a column."""
    turn = Image.Transpose.TRANSPOSE
    return _beside([picture.transpose(turn) for picture in pictures], gap).transpose(turn)
