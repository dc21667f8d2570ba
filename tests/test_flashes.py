"""Flashing is found by WCAG 2.2's measure (2.3.1): here are films on either side of each of its thresholds."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from walk import cli, sheet, video
from walk.check import Report, check
from walk.flashes import Flashes

SIDE = 64
HARM = "; more than 3 can harm people with photosensitive epilepsy (WCAG 2.3.1)"


def spans(pictures, fps, closed=False, start=0.0):
    flashes = Flashes(closed)
    for i, picture in enumerate(pictures):
        flashes.see(start + i / fps, picture)
    return flashes.spans(start + len(pictures) / fps)


def most(pictures, fps):
    """Flashes in a second at most, where they are told."""
    return max((flashes for _, _, flashes in spans(pictures, fps)), default=0)


def levels(light):
    """sRGB levels of relative luminance; or of linear red, green and blue."""
    light = np.asarray(light, float)
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def grey(light):
    """A picture of these relative luminances, (SIDE, SIDE) or one."""
    light = np.broadcast_to(light, (SIDE, SIDE))
    return levels(light)[..., None].repeat(3, 2).astype(np.float32)


def alternating(a, b, rate, fps, seconds=2.0, rows=SIDE):
    """Picture a; in these rows, b in each second half of a flash."""
    pictures = []
    for i in range(round(seconds * fps)):
        picture = a.copy()
        if int(2 * rate * i / fps + 1e-6) % 2:
            picture[:rows] = b[:rows]
        pictures.append(picture)
    return pictures


def times(fps, seconds=2.0):
    return np.arange(round(fps * seconds)) / fps


def smooth(seed, detail=4):
    """Patches, of mean 0 and variance 1."""
    f = np.fft.rfft2(np.random.default_rng(seed).normal(size=(SIDE, SIDE)))
    k = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]) * SIDE
    patches = np.fft.irfft2(f * np.exp(-((k / detail) ** 2)))
    return patches / patches.std()


BLACK, WHITE = grey(0.0), grey(1.0)
STRENGTH = np.clip(0.45 + 0.2 * smooth(0), 0.12, 0.8)
SIGN = np.sign(smooth(1))


@pytest.mark.parametrize("fps", [10, 12, 24, 25, 29.97, 30, 50, 60, 120])
@pytest.mark.parametrize(("a", "b"), [(BLACK, WHITE), (WHITE, BLACK), (grey(0.3), grey(0.6))])
def test_three_flashes_a_second_are_allowed_and_four_are_told(fps, a, b):
    assert [most(alternating(a, b, rate, fps), fps) for rate in (1, 2, 3, 4)] == [0, 0, 0, 4]
    assert most(alternating(a, b, 5, fps), fps) == 5


def test_a_picture_that_changes_with_every_frame_flashes_at_half_their_rate():
    assert most(alternating(BLACK, WHITE, 15, 30), 30) == 15


@pytest.mark.parametrize(("changes", "told"), [(6, 0), (7, 4)])
@pytest.mark.parametrize("first", [0, 1])
def test_six_changes_within_a_second_are_three_flashes_and_a_seventh_is_told(changes, told, first):
    shown = [first] * 30 + [(first + 1 + i) % 2 for i in range(changes)]
    shown += [shown[-1]] * 30
    assert most([(BLACK, WHITE)[it] for it in shown], 30) == told


@pytest.mark.parametrize(("dark", "light", "told"), [(0.2, 0.295, 0), (0.2, 0.305, 5), (0.78, 0.9, 5), (0.82, 1, 0)])
def test_a_flash_is_a_tenth_of_whites_light_and_its_darker_half_is_below_four_fifths(dark, light, told):
    assert most(alternating(grey(dark), grey(light), 5, 25), 25) == told


@pytest.mark.parametrize(("rows", "told"), [(15, 0), (16, 0), (17, 5)])
def test_a_quarter_of_the_picture_may_flash(rows, told):
    assert most(alternating(BLACK, WHITE, 5, 25, rows=rows), 25) == told


def test_places_that_flash_apart_from_each_other_do_not_add_up():
    """Two halves, three times a second each, in turns; and four smaller places that do so together."""

    def shown(phases, rate):
        rows = np.repeat(phases, SIDE // len(phases))[:, None]
        return [grey(((rate * t + rows + 1e-6) % 1 < 0.5) + np.zeros(SIDE)) for t in times(24)]

    assert most(shown([0, 0.5], 3), 24) == most(shown([0, 0.25], 3), 24) == 0
    assert most(shown([0, 0.5], 4), 24) == 4
    assert most(shown([0, 0.2, 0.4, 0.6, 0.8, 0, 0.2, 0.4], 6)[:5], 24) == 0


@pytest.mark.parametrize("fps", [24, 30, 60])
@pytest.mark.parametrize(("rate", "told"), [(2, 0), (3, 0), (4, 4), (5, 5)])
def test_pictures_that_pulse_more_in_some_places_than_in_others_flash(rate, told, fps):
    pulses = [np.exp(-(rate * t % 1) / rate / 0.1) for t in times(fps)]
    waves = [np.cos(2 * np.pi * rate * t) for t in times(fps)]
    found = [
        most([grey(0.1 + STRENGTH * pulse) for pulse in pulses], fps),
        most([grey(0.1 + STRENGTH * (1 - wave) / 2) for wave in waves], fps),
        most([grey(0.5 + SIGN * STRENGTH / 2 * pulse) for pulse in pulses], fps),  # darker in some, lighter in others
        most([grey(0.5 + SIGN * STRENGTH / 2 * wave) for wave in waves], fps),
    ]
    assert found == [told] * 4


@pytest.mark.parametrize("fps", [24, 60])
@pytest.mark.parametrize("rate", [2, 4, 6, 10])
def test_what_twinkles_or_passes_does_not_flash(rate, fps):
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    phases = (np.random.default_rng(0).uniform(0, 1, (SIDE, SIDE)), smooth(2, 6), 3 * x, x + y)
    for phase in phases:  # lights, water, stripes, a wave
        assert most([grey(0.5 + 0.4 * np.sin(2 * np.pi * (rate * t + phase))) for t in times(fps)], fps) == 0


@pytest.mark.parametrize("fps", [12, 24, 60])
@pytest.mark.parametrize("block", [1, 4])
def test_noise_does_not_flash(fps, block):
    rng = np.random.default_rng(0)
    pictures = [rng.uniform(0, 1, (SIDE // block,) * 2).repeat(block, 0).repeat(block, 1) for _ in times(fps)]
    assert most([grey(picture) for picture in pictures], fps) == 0


def test_a_slow_change_is_one_however_noisy_and_noise_on_it_none():
    rng = np.random.default_rng(0)
    light = [0.5 - 0.5 * np.cos(2 * np.pi * 2 * t) for t in times(50)]
    noisy = [grey(it) + rng.normal(0, 6, (1, 1, 3)).astype(np.float32) for it in light]  # levels, of the whole picture
    assert most([np.clip(picture, 0, 255) for picture in noisy], 50) == 0
    dark = [np.clip(rng.normal(0, 3, (SIDE, SIDE, 3)).astype(np.float32), 0, 255) * (1, 0, 0) for _ in times(50)]
    assert most(dark, 50) == 0, "noise in black is no red"


def test_a_crossfade_does_not_flash():
    a, b = np.clip(0.5 + 0.3 * smooth(3), 0, 1), np.clip(0.5 + 0.3 * smooth(4), 0, 1)
    assert most([grey(a + (b - a) * t / 2) for t in times(24)], 24) == 0


def colour(*light):
    return np.broadcast_to(levels(light).astype(np.float32), (SIDE, SIDE, 3))


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ((0.4, 0, 0), (0, 0.119, 0), 5),  # red and green that are equally light
        ((0.4, 0.01, 0.01), (0.09, 0.09, 0.09), 5),
        ((0.3, 0, 0), (0, 0, 0), 5),
        ((0.4, 0.06, 0.06), (0.13, 0.13, 0.13), 0),  # less than 0.8 of it is red
        ((0.4, 0.05, 0), (0.25, 0.2, 0), 0),  # saturated, but about as orange; 0.2 are not between them
        ((0.04, 0, 0), (0, 0, 0), 0),  # too dark to be seen as red
        ((0, 0.119, 0), (0, 0, 1), 0),  # no red
    ],
)
@pytest.mark.parametrize("fps", [24, 60])
def test_changes_to_and_from_saturated_red_flash_even_where_lightness_stays(a, b, told, fps):
    weights = (0.2126, 0.7152, 0.0722)
    assert abs(np.dot(a, weights) - np.dot(b, weights)) < 0.1
    assert [most(alternating(colour(*a), colour(*b), rate, fps), fps) for rate in (3, 5)] == [0, told]
    assert most(alternating(colour(*b), colour(*a), 5, fps), fps) == told


def test_what_flashes_is_told_from_its_first_change_to_its_last():
    calm = [BLACK] * 50
    burst = alternating(BLACK, WHITE, 5, 50, 1.5)
    (one, other) = spans([*calm, *burst, *calm, *calm, *burst, *calm], 50, start=10)
    assert one == pytest.approx((11.1, 12.4, 5))  # it begins black, and ends white
    assert other == pytest.approx((14.6, 16.0, 5), abs=0.11)


def test_frames_at_uneven_moments_count_by_their_times():
    """Five flashes, each of two pictures: within 1.2 seconds, or 4."""

    def told(gaps):
        flashes = Flashes()
        for time, picture in zip(np.cumsum(gaps), [BLACK, WHITE] * 5):
            flashes.see(time, picture)
        return flashes.spans(10.0)

    ((start, end, count),) = told([0.02, 0.2, 0.02, 0.2] * 2 + [0.02, 0.2])
    assert (start, end, count) == (pytest.approx(0.22), pytest.approx(1.1), 5)
    assert told([0.02, 0.7, 0.02, 0.7] * 2 + [0.02, 0.7]) == ()


def test_flashes_across_the_seam_of_a_loop_count():
    calm, burst = [BLACK] * 50, alternating(BLACK, WHITE, 4, 24, 0.5)
    pictures = [*burst, *calm, *burst]
    assert spans(pictures, 24) == ()
    ((start, end, count),) = spans(pictures, 24, closed=True)
    assert (start, end, count) == (pytest.approx((12 + 50 + 3) / 24), pytest.approx(74 / 24), 4)
    assert spans(alternating(BLACK, WHITE, 5, 24, 0.6), 24) == ()
    assert spans(alternating(BLACK, WHITE, 5, 25, 0.6), 25, closed=True), "it is shorter than a second, and goes on"
    assert spans([*calm, *alternating(BLACK, WHITE, 3, 24)], 24, closed=True) == ()


def a_film(folder, pictures, name="film.mp4", fps=24):
    paths = []
    for i, picture in enumerate(pictures):
        paths.append(folder / f"{i:03d}.png")
        Image.fromarray(picture.round().astype(np.uint8)).save(paths[-1])
    video.encode(paths, folder / name, Fraction(fps), size=64)
    return folder / name


def test_the_command_tells_where_a_film_flashes_and_that_is_no_fault(tmp_path, capsys, monkeypatch):
    _, x = np.mgrid[:SIDE, :SIDE] / SIDE
    lit = [0.2 + 0.1 * np.sin(9 * (x + t)) + 0.2 * (t >= 1) * (1 - np.cos(9 * np.pi * t)) for t in times(30, 3)]
    film = a_film(tmp_path, [grey(light) for light in lit], fps=30)
    drawn = []
    monkeypatch.setattr(sheet, "_warnings", lambda texts, width: drawn.extend(texts) or [])
    assert cli.main(["check", str(film), "--out", str(tmp_path / "sheet.png")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "otherwise nothing is wrong"
    assert re.fullmatch(
        r"flashes up to 5 times a second from 0:01\.[01] to 0:0(2\.9|3\.0)" + re.escape(HARM), lines[-2]
    )
    assert drawn == [lines[-2]]
    assert cli.main(["check", str(film), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["flashing"], told["faults"]) == ([list(span) for span in check(film).flashing], [])


def test_of_many_parts_that_flash_five_are_listed():
    spans = tuple((10.0 * i, 10.0 * i + 2, 4 + i) for i in range(8))
    report = Report((), (64, 64), 24.0, (), (0.0,), (), 0.0, spans)
    assert report.warnings[0] == f"flashes up to 4 times a second from 0:00.0 to 0:02.0{HARM}"
    assert report.warnings[4:] == (
        "flashes up to 8 times a second from 0:40.0 to 0:42.0",
        "flashes up to 11 times a second in 3 places more, from 0:50.0 to 1:12.0",
    )


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.gif"])
def test_a_film_that_flashes_twice_a_second_is_safe_in_any_format(tmp_path, name):
    scene = np.linspace(0.05, 0.2, SIDE)
    pictures = [grey(scene + 0.5 * (2 * t % 1 < 0.5)) for t in times(25)]
    assert check(a_film(tmp_path, pictures, name, 25)).flashing == ()
