"""What flashes in a film, by the published measure of what harms people with photosensitive epilepsy.

Arrays in, numbers out. Knows no files.

The measure is WCAG 2.2's, success criterion 2.3.1 ('Three Flashes or Below Threshold'), which has it from broadcasting
(Ofcom; ITU-R BT.1702). A flash is a pair of opposing changes: of relative luminance, by LIGHT or more, where the darker
state is below DARK; or of colour, by more than COLOUR, to or from a saturated red. More than ALLOWED within any second
are a risk, if the area that flashes concurrently is more than a quarter: of the picture here, as in broadcasting, where
WCAG has a quarter of any 10 degrees of what the eye sees.

It leaves open what 'concurrently' means. Here a change counts if more than a quarter of the picture makes one in the
same direction within a moment, and fewer places do so before and after: in water that twinkles, or a pattern that passes,
as many turn lighter at any time, and no place flashes with the others. Such changes are counted in each place for itself,
so that two that flash in turns do not add up; and in one direction, since between four to lighter there are three to
darker, even if those come sooner in one place than in another, as where a pulse fades.

Not found is what then looks like twinkling: where one half of the picture turns darker as the other turns lighter, and back
within one or two frames. (At 24 frames a second that is nine such flashes or more, or seven that fade; at 12, five.)
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

LIGHT = 0.1  # of white's relative luminance
DARK = 0.8  # of white's
RED = 0.8  # of a colour's light at least; it is saturated then
COLOUR = 0.2  # of CIE 1976's u' v'
FAINT = 1 / 16  # of full red: a darker red is none (earlier editions of WCAG ask for a change by so much)
GLARE = 0.002  # of white, which a black screen reflects: noise in black has no colour
ALLOWED = 3  # flashes
AREA = 0.25  # of the picture
SECOND = 0.998  # by the film's clock, which may count in milliseconds
MOMENTS = (0.02, 0.045)  # seconds: one or two frames of cinema; fast flashes need the shorter, fades the longer
OVER = 2 / 3  # of the largest share of the picture that has changed in a moment: less, and the change is over
FINE = 16  # steps in a level

_LEVELS = np.arange(255 * FINE + 1) / (255 * FINE)
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_X, _Y, _Z = _XYZ
# Light (red, green, blue) to Y; to R + G + B; and to 4X, 9Y and X + 15Y + 3Z, of which u' and v' are quotients.
_SUMS = np.stack([_Y, np.ones(3), 4 * _X, 9 * _Y, _X + 15 * _Y + 3 * _Z]).astype(np.float32)

Span = tuple[float, float, int]


class Flashes:
    """Looks at a film's pictures one by one. closed: the first follows the last. Holds a second of them at most."""

    def __init__(self, closed: bool = False) -> None:
        self._closed = closed
        self._first: list[tuple[float, np.ndarray]] = []  # of a loop, the pictures of its first second
        self._kinds: tuple[tuple[_Light | _Red, list[_Concurrent], list[_Concurrent]], ...] = ()

    def see(self, time: float, picture: np.ndarray) -> None:
        """The next one, shown at this time in seconds: levels of 0 to 255, (height, width, 3)."""
        fine = (picture * np.float32(FINE) + np.float32(0.5)).astype(np.uint16).reshape(-1, 3)
        if not self._first or (self._closed and time < self._first[0][0] + 1):
            self._first.append((time, fine))
        self._see(time, fine)

    def spans(self, end: float) -> tuple[Span, ...]:
        """(start, end, flashes in a second at most) of each part that flashes. end: of the film, in seconds.

        A loop's first pictures are seen once more after its last, so call this once, when all are seen.
        """
        length = end - self._first[0][0] if self._first else 0.0
        if self._closed and length > 0:
            for turn in range(1, 1 + math.ceil(1 / length)):
                for time, fine in self._first:
                    self._see(time + turn * length, fine)
        spans: list[Span] = []
        found = [span for _, rises, falls in self._kinds for one in rises + falls for span in one.spans]
        for span in sorted(_within(span, end, length) for span in found):
            _add(spans, span)
        return tuple(spans)

    def _see(self, time: float, fine: np.ndarray) -> None:
        light = _LINEAR.take(fine).T
        sums = _SUMS @ light
        if not self._kinds:
            self._kinds = tuple(
                (kind, _counters(light), _counters(light)) for kind in (_Light(sums), _Red(light, sums))
            )
        for kind, rises, falls in self._kinds:
            rise, fall = kind.step(light, sums)
            for one in rises:
                one.step(time, rise, fall)
            for one in falls:
                one.step(time, fall, rise)


def _counters(light: np.ndarray) -> list[_Concurrent]:
    return [_Concurrent(light.shape[1], moment) for moment in MOMENTS]


def _within(span: Span, end: float, length: float) -> Span:
    """What of a span lies in the film, if it was found when a loop's first pictures were seen again."""
    start, stop, most = span
    while start >= end and length > 0:
        start, stop = start - length, stop - length
    return start, min(stop, end), most


def _add(spans: list[Span], span: Span) -> None:
    """Append a span; if it overlaps the last one, they become one."""
    if spans and span[0] <= spans[-1][1]:
        start, stop, most = spans.pop()
        span = (start, max(stop, span[1]), max(most, span[2]))
    spans.append(span)


class _Light:
    """Opposing changes of relative luminance in each place. One counts once, however many frames it takes; the next one
    must be as large, so noise makes none."""

    def __init__(self, sums: np.ndarray) -> None:
        self._low, self._high = sums[0].copy(), sums[0].copy()  # since the last change
        self._lighter, self._darker = np.zeros((2, sums.shape[1]), bool)  # by the last change

    def step(self, light: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(where it has turned lighter with this picture, where darker)."""
        y = sums[0]
        np.minimum(self._low, y, out=self._low)
        np.maximum(self._high, y, out=self._high)
        rise = (y - self._low >= LIGHT) & (self._low < DARK) & ~self._lighter
        fall = (self._high - y >= LIGHT) & (y < DARK) & ~self._darker
        if (changed := rise | fall).any():
            np.copyto(self._low, y, where=changed)
            np.copyto(self._high, y, where=changed)
            self._lighter = rise | self._lighter & ~fall
            self._darker = fall | self._darker & ~rise
        return rise, fall


class _Red:
    """Changes of colour in each place, to a saturated red and away from one."""

    def __init__(self, light: np.ndarray, sums: np.ndarray) -> None:
        self._red = _is_red(light, sums)  # by the last change
        self._from = _chromaticity(sums)  # since then, the colour that is reddest, or least red

    def step(self, light: np.ndarray, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(where it has turned red with this picture, where no longer)."""
        red, colour = _is_red(light, sums), _chromaticity(sums)
        away = colour - self._from
        far = away[0] ** 2 + away[1] ** 2 > COLOUR**2
        rise, fall = far & red & ~self._red, far & self._red
        self._red = rise | self._red & ~fall
        # Of all colours, the reddest has the largest u'.
        further = np.where(self._red, red & (away[0] > 0), away[0] < 0)
        np.copyto(self._from, colour, where=further | rise | fall)
        return rise, fall


def _is_red(light: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """Whether it is saturated."""
    return (light[0] >= np.float32(RED) * sums[1]) & (light[0] > FAINT)


def _chromaticity(sums: np.ndarray) -> np.ndarray:
    """u' and v'."""
    glare = np.float32(GLARE) * _SUMS.sum(1)
    return (sums[2:4] + glare[2:4, None]) / (sums[4] + glare[4])


class _Concurrent:
    """Changes in one direction that more than AREA of the picture makes in a moment, counted over a second.

    spans: (start, end, most) of where there were more than ALLOWED.
    """

    def __init__(self, places: int, moment: float) -> None:
        self.spans: list[Span] = []
        self._length = moment  # in seconds
        # Of the pictures in a moment: time, where it has changed and not changed back, and whether that is counted.
        self._moment: list[tuple[float, np.ndarray, bool]] = []
        self._began, self._peak = 0.0, 0.0  # of a change that places make together; 0: there is none
        self._second: deque[tuple[float, np.ndarray]] = deque()  # where such changes were
        self._count = np.zeros(places, np.int16)  # of them in each place

    def step(self, time: float, changed: np.ndarray, undone: np.ndarray) -> None:
        """changed: where, with this picture. undone: where it has changed in the opposite direction."""
        still = [
            (before, places & ~undone, told) for before, places, told in self._moment if before > time - self._length
        ]
        self._moment = [*still, (time, changed, False)]
        share = sum(np.count_nonzero(places) for _, places, _ in self._moment) / len(changed)
        if share < self._peak * OVER:
            self._peak = 0.0
        if share > AREA and not self._peak:
            self._began = time
        if share > AREA or self._peak:
            self._peak = max(self._peak, share)
            if time < self._began + self._length:
                self._tally_moment()

    def _tally_moment(self) -> None:
        for time, places, told in self._moment:
            if not told and places.any():
                self._tally(time, places)
        self._moment = [(time, places, True) for time, places, _ in self._moment]

    def _tally(self, time: float, places: np.ndarray) -> None:
        while self._second and self._second[0][0] <= time - SECOND:
            self._count -= self._second.popleft()[1]
        self._second.append((time, places))
        self._count += places
        most = ALLOWED
        while np.count_nonzero(self._count > most) > AREA * len(places):
            most += 1
        if most > ALLOWED:
            _add(self.spans, (self._second[0][0], time, most))
