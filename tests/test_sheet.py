"""What a person sees on a sheet. Planted pictures have one colour each, so that they can be found again."""

import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PIL import ImageFont
from scipy.ndimage import find_objects

from walk import Error, Keyframe, Walk, sheet


def colour(i):
    """A saturated colour that no text or curve has; another for every i below 216."""
    return (255 - 7 * (i % 6), 40 + 35 * (i // 36), 7 * (i // 6 % 6))


def plain(i, width=12, height=12):
    return np.full((height, width, 3), colour(i), np.uint8)


def boxes(image, count):
    """(left, top, right, bottom) of each planted picture, which must be there in one whole piece."""
    names = {colour(i)[0] << 16 | colour(i)[1] << 8 | colour(i)[2]: i + 1 for i in range(count)}
    red, green, blue = image.astype(np.int32).transpose(2, 0, 1)
    known, codes = np.array(sorted(names), np.int32), red << 16 | green << 8 | blue
    at = np.searchsorted(known, codes).clip(0, count - 1)
    found = np.where(known[at] == codes, np.array([names[code] for code in known])[at], 0)
    places, areas = find_objects(found, count), np.bincount(found.ravel(), minlength=count + 1)[1:]
    assert None not in places, f"picture {places.index(None)} is not on the sheet"
    for i, (y, x) in enumerate(places):
        assert areas[i] == (y.stop - y.start) * (x.stop - x.start), f"something covers picture {i}"
    return [(x.start, y.start, x.stop, y.stop) for y, x in places]


def box(image, i):
    return boxes(image, i + 1)[i]


def a_walk(count=3, frames=None, closed=False, **first):
    keyframes = [Keyframe(f"thing {i}", i) for i in range(count)]
    keyframes[0] = replace(keyframes[0], **first)
    return Walk.through(keyframes, frames=frames or 12 * count, closed=closed)


def a_preview(walk, speed=None, notes=(), width=12, height=12):
    """Keyframe k has colour 2k, and the picture after it colour 2k + 1."""
    count = len(walk.keyframes)
    keyframes = [plain(2 * k, width, height) for k in range(count)]
    between = [plain(2 * k + 1, width, height) for k in range(count - (not walk.closed))]
    steps = walk.frames - (not walk.closed)
    return np.asarray(sheet.preview(walk, keyframes, between, [1.0] * steps if speed is None else speed, notes))


def plot_of(image):
    """The part of a preview on which the curve is drawn: where rows are of the plot's own colours."""
    own = (image == sheet.PANEL).all(2) | (image == sheet.AREA).all(2)
    rows = np.flatnonzero(own.sum(1) > image.shape[1] / 2)
    return image[rows.min() : rows.max() + 1, sheet.MARGIN : -sheet.MARGIN]


# The preview's pictures


def test_of_very_many_keyframes_some_are_drawn_from_the_first_to_the_last(monkeypatch):
    """Before, the sheet of 1,700 was larger than Pillow opens, and walk.preview ended in its traceback."""
    monkeypatch.setattr(sheet, "DRAWN", 6)
    image = a_preview(a_walk(21))
    drawn = [k for k in range(21) if (image == colour(2 * k)).all(2).any()]
    assert drawn == [0, 4, 8, 12, 16, 20]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("count", [2, 5, 6, 11, 60])
def test_keyframes_and_half_way_pictures_stand_in_film_order(count, closed):
    image = a_preview(a_walk(count, closed=closed))
    found = boxes(image, 2 * count - (not closed))
    for (left, _, right, bottom), after in pairwise(found):
        same_row = after[0] >= right and after[1] < bottom
        next_row = after[0] < left and after[1] >= bottom
        assert same_row or next_row
    assert len({left for left, *_ in found[::2]}) <= 5  # keyframes in a row, one below another


@pytest.mark.parametrize("count", [2, 7])
def test_half_way_pictures_are_about_half_as_wide_and_at_the_same_height(count):
    image = a_preview(a_walk(count))
    for k in range(count - 1):
        large, small = box(image, 2 * k), box(image, 2 * k + 1)
        assert 0.4 < (small[2] - small[0]) / (large[2] - large[0]) < 0.65
        assert abs((small[1] + small[3]) - (large[1] + large[3])) <= 2


@pytest.mark.parametrize(("width", "height"), [(128, 128), (96, 54), (54, 96), (200, 20), (20, 200)])
@pytest.mark.parametrize("count", [2, 5])
def test_sheets_are_at_most_1600_wide_and_pictures_keep_their_shape(count, width, height):
    image = a_preview(a_walk(count), width=width, height=height)
    assert 800 <= image.shape[1] <= 1600
    left, top, right, bottom = box(image, 0)
    assert (right - left) / (bottom - top) == pytest.approx(width / height, rel=0.1)


@pytest.mark.parametrize("count", [2, 8, 60])
@pytest.mark.parametrize("closed", [False, True])
def test_any_number_of_keyframes_at_any_spacing_is_drawn(count, closed):
    keyframes = [Keyframe("a fox", 2**63 - 1, time=k**1.5 / 3) for k in range(count)]
    walk = Walk.through(keyframes, fps=12, closed=closed, seconds=None if closed else count**1.5)
    assert a_preview(walk).shape[1] <= 1600


def test_the_strength_of_what_is_followed_is_drawn_where_it_is_heard():
    envelope = np.zeros((500, 1))  # of a stem that ends in the middle of the film
    envelope[200] = 1
    music = sheet.Music(np.zeros((80, 1)), 8, (), (), envelope, 100)
    curves = [
        (np.asarray(sheet._waveform(some, 10, 1000)) == sheet.CURVE).all(axis=2)
        for some in (music, music._replace(followed_rate=0))
    ]
    tops = curves[0].argmax(axis=0)
    assert (abs(tops.argmin() - 200) <= 2, tops.min() < 8) == (True, True)
    assert (np.delete(tops, range(190, 211)) > 100).all()
    assert not curves[1].any()


# The preview's words


@pytest.mark.parametrize(
    "change", [{"prompt": "a fox"}, {"seed": 7}, {"negative_prompt": "fog"}, {"time": 0.5}], ids=lambda c: next(iter(c))
)
def test_what_is_known_of_a_keyframe_is_shown_below_its_picture(change):
    before, after = a_preview(a_walk(frames=96)), a_preview(a_walk(frames=96, **change))
    left, _, right, bottom = box(before, 0)
    if change.keys() == {"time"}:  # the first keyframe is on screen from the start: its time is not its arrival
        walk = Walk.through(
            [Keyframe("thing 0", 0), Keyframe("thing 1", 1, time=1.5), Keyframe("thing 2", 2)], frames=96
        )
        after = a_preview(walk)
        left, _, right, bottom = box(before, 2)
    below = slice(bottom, bottom + 150), slice(left, right)
    assert (before[below] != after[below]).any()


@pytest.mark.parametrize("prompt", ["W" * 5000, "very long words of a prompt " * 300, "狐" * 3000])
def test_long_prompts_are_cut_and_stay_in_their_column(prompt):
    usual, image = a_preview(a_walk()), a_preview(a_walk(prompt=prompt, negative_prompt=prompt))
    assert image.shape[0] < usual.shape[0] + 300
    _, _, _, bottom = box(image, 0)
    after = box(image, 2)[0]
    assert (image[bottom : bottom + 250, after - sheet.GAP : after] == sheet.BACKGROUND).all()


def test_wrapping_loses_no_word_and_no_line_is_too_wide():
    font = ImageFont.load_default(sheet.TEXT)
    text = " ".join("word" * (i % 4) + str(i) for i in range(60))
    lines = sheet._wrap(text, font, 260, 100)
    assert " ".join(lines) == text
    assert max(font.getlength(line) for line in lines) <= 260
    cut = sheet._wrap(text, font, 260, 3)
    assert cut[:2] == lines[:2]
    assert cut[2].endswith("…")
    assert font.getlength(cut[2]) <= 260
    broken = sheet._wrap("W" * 100, font, 260, 3)
    assert all(230 < font.getlength(line) <= 260 for line in broken)
    assert broken[2].endswith("W…")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\x00\x1b[31m",
        "\ud800",
        "\u202eright",
        "a\tb\nc",
        "日本語の狐",
        "👩‍👩‍👧🦊",
        "e" + "\u0301" * 500,
        "مرحبا नमस्ते",
        "\U0010ffff",
    ],
    ids=ascii,
)
def test_no_character_stops_a_sheet(text):
    try:
        keyframes = [Keyframe(text, 0, text), Keyframe(text, 1)]
    except Error:  # no keyframe has it, but a seed sheet may
        keyframes = [Keyframe("a fox", 0), Keyframe("a fox", 1)]
    a_preview(Walk.through(keyframes, frames=9), notes=[text])
    sheet.seeds([plain(0)], [0], text)


def test_letters_that_pillows_font_lacks_come_from_the_systems():
    try:
        ImageFont.truetype("DejaVuSans.ttf", 20)
    except OSError:
        pytest.skip("DejaVu is not installed")
    one, other, unknown = (sheet.seeds([plain(0)], [0], text).tobytes() for text in ("éÄЖ", "éÄЯ", "\ue123" * 3))
    assert one != other
    assert unknown not in (one, other)


def test_warnings_stand_at_the_bottom_and_only_if_there_are_any():
    def warned(image):
        return np.flatnonzero((image == sheet.WARNING).all(2).any(1))

    assert not warned(a_preview(a_walk())).size
    one, two = a_preview(a_walk(), notes=["too fast"]), a_preview(a_walk(), notes=["too fast", "too slow"])
    assert warned(one).min() > one.shape[0] - 120
    assert two.shape[0] > one.shape[0]


# The preview's plot


def test_of_a_picture_larger_than_a_sheet_the_middle_is_shown_pixel_by_pixel():
    enlarged = np.zeros((1800, 2400, 3), np.uint8)
    enlarged[890:910, 1190:1210] = 1, 200, 3
    walk = a_walk(2)
    closer = sheet.Closer(enlarged, plain(0), "a network")
    image = np.asarray(sheet.preview(walk, [plain(0)] * 2, [plain(0)], [1.0] * (walk.frames - 1), closer=closer))
    assert image.shape[1] <= 1600
    assert (image == (1, 200, 3)).all(2).sum() == 400


def test_the_curve_is_high_where_the_walk_is_fast():
    image = a_preview(a_walk(frames=61), [1.0] * 20 + [4.0] * 20 + [2.0] * 20)
    filled = (plot_of(image) == sheet.AREA).all(2).sum(0)
    slow, fast, middling = (np.median(filled[int(at * len(filled)) - 40 :][:80]) for at in (1 / 6, 1 / 2, 5 / 6))
    assert fast / slow == pytest.approx(4, rel=0.1)
    assert middling / slow == pytest.approx(2, rel=0.1)
    assert fast > 0.85 * sheet.PLOT_HEIGHT  # the height is made use of


def test_one_fast_frame_of_a_long_film_is_seen():
    speed = [1.0] * 19_999
    speed[15_000] = 10.0
    plot = plot_of(a_preview(a_walk(frames=20_000), speed))
    high = np.flatnonzero((plot[20:80] == sheet.CURVE).all(2).any(0))
    assert high.size
    assert abs(high.mean() / plot.shape[1] - 0.75) < 0.005


@pytest.mark.parametrize(("closed", "late"), [(False, 0), (True, 0), (True, 0.5)])
def test_lines_stand_where_keyframes_arrive(closed, late):
    keyframes = [Keyframe(name, 0, time=time) for name, time in zip("abcd", (late, 1, 3, 8))]
    walk = Walk.through(keyframes, frames=240 + (not closed), closed=closed)
    plot = plot_of(a_preview(walk, [0.0] * 240))
    row = plot[len(plot) // 2]
    marked = np.flatnonzero((row != sheet.PANEL).any(1))
    starts = marked[np.diff(marked, prepend=-9) > 1]
    ends = [1.0] if closed and not late else []  # a closed walk arrives at its first keyframe again
    assert starts / plot.shape[1] == pytest.approx([late / 10, 0.1, 0.3, 0.8, *ends], abs=0.004)


def test_a_median_of_nothing_is_neither_drawn_nor_explained(monkeypatch):
    words = []
    drawn = sheet._text
    monkeypatch.setattr(sheet, "_text", lambda text, *rest, **more: words.append(text) or drawn(text, *rest, **more))
    dashes = []
    for speed in ([1.0, 2.0, 3.0] * 11 + [1.0, 2.0], [1.0] * 10 + [0.0] * 25):
        bottom = plot_of(a_preview(a_walk(frames=36), speed))[:, -100:]
        dashes.append(bool((bottom == sheet.MUTED).all(2)[:, 10:-10].any()))
    assert dashes == [True, False]
    assert [sheet.MEDIAN in text for text in words if text.startswith("How much")] == [True, False]


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf"), 1e300, 1e-300])
def test_a_walk_that_stands_still_or_went_wrong_has_a_plot(value):
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        plot = plot_of(a_preview(a_walk(frames=36), [value] * 35))
    filled = (plot == sheet.AREA).all(2).mean()
    assert filled > 0.8 if value in (1e300, 1e-300) else filled < 0.05


# The sheet of seeds


@pytest.mark.parametrize(
    ("count", "columns"),
    [(1, 1), (2, 2), (4, 2), (5, 5), (12, 4), (16, 4), (24, 6), (100, 8)],
)
def test_seeds_stand_in_a_tidy_grid_in_their_order(count, columns):
    image = np.asarray(sheet.seeds([plain(i) for i in range(count)], range(count), "a fox"))
    assert image.shape[1] <= 1600
    found = boxes(image, count)
    xs, ys = sorted({b[0] for b in found}), sorted({b[1] for b in found})
    assert len(xs) == columns
    assert [(b[0], b[1]) for b in found] == [(xs[i % columns], ys[i // columns]) for i in range(count)]


def test_each_seed_is_written_below_its_own_picture():
    before, after = (np.asarray(sheet.seeds([plain(i) for i in range(4)], [1, 2, s, 4], "a fox")) for s in (3, 8))
    y, x = np.nonzero((before != after).any(2))
    left, _, right, bottom = box(before, 2)
    assert left <= x.min() < x.max() < right
    assert bottom < y.min() < y.max() < bottom + 60


def test_the_prompt_is_the_heading():
    before, after = (np.asarray(sheet.seeds([plain(0)], [0], prompt)) for prompt in ("a fox", "an owl"))
    changed = np.nonzero((before != after).any(2))[0]
    assert sheet.MARGIN <= changed.min() < changed.max() < box(before, 0)[1]


def a_choice(i, film, numbers, **more):
    """A prompt whose picture in the film, which is none of the others, has colour i, and the others those after it."""
    pictures = {seed: plain(i + k) for k, seed in enumerate([film[0], *numbers])}
    return sheet.Choice("a fox", "", film, pictures)._replace(**more)


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (6, 6), (8, 8), (9, 5), (16, 8)])
def test_rows_have_each_seed_below_the_same_one_and_the_films_own_pictures_apart(count, columns):
    choices = [a_choice(k * (count + 1), [30], range(count)) for k in range(4)]
    image = np.asarray(sheet.choices(choices, range(count)))
    assert image.shape[1] <= 1600
    found = boxes(image, 4 * (count + 1))
    rows = [found[i : i + count + 1] for i in range(0, len(found), count + 1)]
    for row in rows:
        assert [box[0] for box in row] == [box[0] for box in rows[0]]
        tops = [box[1] for box in row]
        assert tops == sorted(tops)
        assert len(set(tops)) == -(-count // columns)
    own, *others = (box[0] for box in rows[0])
    assert len(set(others)) == columns
    assert columns == 1 or others[0] - own > others[1] - others[0]
    assert all(above[-1][3] < below[0][1] for above, below in pairwise(rows))


def test_the_seeds_that_the_film_has_are_framed_wherever_they_are():
    image = np.asarray(sheet.choices([a_choice(0, [30, 2], range(4)), a_choice(5, [33], range(4))], range(4)))
    above = [image[top - 4, left:right].tolist() for left, top, right, _ in boxes(image, 10)]
    assert [all(pixel == [*sheet.CURVE] for pixel in line) for line in above] == [k in (0, 3, 5) for k in range(10)]


def test_above_a_row_is_its_prompt():
    before, after = (
        np.asarray(sheet.choices([a_choice(0, [7], range(4)), a_choice(5, [7], range(4), prompt=prompt)], range(4)))
        for prompt in ("a fox", "an owl")
    )
    changed = np.nonzero((before != after).any(2))[0]
    assert box(before, 1)[3] < changed.min() < changed.max() < boxes(before, 10)[5][1]


@pytest.mark.parametrize("more", [{"negative": "blurry"}, {"film": [7, 8]}, {"film": [7, 7]}], ids=str)
def test_below_its_prompt_are_its_negative_prompt_and_how_often_it_comes(more):
    plainly, told = (sheet.choices([a_choice(0, [7], range(4))._replace(**it)], range(4)) for it in ({}, more))
    assert 20 < told.height - plainly.height < 60


def test_a_sheet_of_what_was_made_before_a_stop_has_gaps():
    whole, stopped = a_choice(0, [7], range(6)), a_choice(7, [8], range(2))
    boxes(np.asarray(sheet.choices([whole, stopped], range(6))), 10)
    assert sheet.choices([a_choice(0, [7], [])], range(6))


def a_film(frames, keyframes=(), speed=None, warnings=(), width=12, height=12):
    """Frame i of a film at 10 a second has colour i, as far as it is on the sheet."""
    shown = [(i / 10, plain(k, width, height)) for k, i in enumerate(sheet.sampled(frames))]
    times = [i / 10 for i in range(frames)]
    steps = [1.0] * (frames - 1) if speed is None else speed
    return np.asarray(sheet.film("film.mp4", ["a fact"], shown, times, steps, keyframes, warnings))


@pytest.mark.parametrize("frames", [1, 2, 7, 24, 25, 500])
def test_a_films_sheet_shows_frames_from_the_first_to_the_last_evenly(frames):
    some = sheet.sampled(frames)
    assert (some[0], some[-1], len(some)) == (0, frames - 1, min(frames, sheet.FRAMES))
    gaps = np.diff(some)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1 <= gaps.min()


@pytest.mark.parametrize("shape", [(12, 12), (32, 18), (18, 32)])
@pytest.mark.parametrize("frames", [1, 2, 7, 40])
def test_they_stand_in_order_in_rows(frames, shape):
    image = a_film(frames, width=shape[0], height=shape[1])
    count = len(sheet.sampled(frames))
    found = boxes(image, count)
    assert found == sorted(found, key=lambda box: (box[1], box[0]))
    assert len({box[1] for box in found}) == -(-count // sheet.COLUMNS)
    left, top, right, bottom = found[0]
    assert (right - left) / (bottom - top) == pytest.approx(shape[0] / shape[1], abs=0.01)


def test_a_films_keyframes_are_marked_where_they_arrive():
    """One of three, at a quarter of the film."""
    one, other = (plot_of(a_film(41, [(0.0, "a"), (time, "b"), (4.0, "c")])) for time in (1.0, 2.0))
    changed = np.flatnonzero((one != other).any((0, 2)))
    assert changed.min() == pytest.approx(0.25 * one.shape[1], abs=3)
    assert changed.max() == pytest.approx(0.5 * one.shape[1], abs=3)


def test_of_many_keyframes_and_faults_the_first_are_named():
    many = [(k / 10, f"thing {k}") for k in range(40)]
    less = a_film(41, many[:13], warnings=["it jumps"] * 13)
    assert a_film(41, many, warnings=["it jumps"] * 40).shape == less.shape


def test_a_film_that_stands_still_or_is_one_frame_has_a_sheet():
    for image in (a_film(5, speed=[0.0] * 4), a_film(1, [(0.0, "a")])):
        boxes(image, 1)


def test_no_larger_picture_is_kept_than_a_sheet_shows():
    for width, height in ((1920, 1080), (1080, 1920), (100, 100)):
        small = sheet.reduced(plain(0, width, height))
        assert small.shape[1] <= min(width, sheet.THUMBNAIL)
        assert (small == colour(0)).all()
