"""Backgrounds drawn by rule: plain colours with a studio's soft light, and simple landscapes.

Knows neither things nor captions. All randomness comes from the generator that is handed in.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

N = 256  # pixels of the canvas; pictures are reduced from it

# The backgrounds of a small model come first.
COLOURS = {
    "blue": (50, 100, 215),
    "yellow": (250, 212, 70),
    "pink": (248, 160, 196),
    "green": (70, 165, 80),
    "red": (214, 48, 49),
    "orange": (240, 140, 40),
    "light green": (165, 222, 140),
    "teal": (30, 150, 150),
    "light blue": (150, 208, 245),
    "navy": (24, 36, 92),
    "purple": (128, 70, 190),
    "white": (244, 244, 246),
    "gray": (150, 153, 160),
    "black": (26, 26, 30),
    "brown": (128, 84, 54),
    "beige": (235, 218, 188),
}
WHITE = (255, 255, 255)


def ramp(top, bottom, power=1.0) -> np.ndarray:
    """A vertical gradient, (N, N, 3)."""
    down = np.linspace(0, 1, N)[:, None, None] ** power
    return (np.array(top) * (1 - down) + np.array(bottom) * down) * np.ones((1, N, 1))


class Canvas:
    """A sky to draw on. Coordinates are parts of the side, radii pixels."""

    def __init__(self, top, bottom, power=1.0) -> None:
        self.image = Image.fromarray(ramp(top, bottom, power).astype(np.uint8))
        self.draw = ImageDraw.Draw(self.image, "RGBA")

    def disc(self, x, y, radius, fill) -> None:
        x, y = x * N, y * N
        self.draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)

    def shape(self, points, fill) -> None:
        self.draw.polygon([(x * N, y * N) for x, y in points], fill=fill)

    def block(self, left, top, right, bottom, fill) -> None:
        self.draw.rectangle([left * N, top * N, right * N, bottom * N], fill=fill)

    def ground(self, outline: Callable[[float], float], fill) -> None:
        """All that lies below a curve."""
        xs = np.arange(0, N + 5, 4) / N
        self.shape([(x, outline(x)) for x in xs] + [(1, 1), (0, 1)], fill)

    def hill(self, rng, base, height, fill) -> None:
        a, b = rng.uniform(0, 6.28, 2)
        self.ground(lambda x: base - height * (math.sin(4.4 * x + a) + 0.4 * math.sin(10.7 * x + b)), fill)

    def clouds(self, rng, count, low, high) -> None:
        for _ in range(count):
            x, y, size = rng.uniform(0, 1), rng.uniform(low, high), rng.uniform(0.06, 0.1)
            for dx, dy, part in (
                (-1.1, 0.25, 0.7),
                (0, -0.1, 1),
                (1.1, 0.2, 0.75),
                (0.5, 0.35, 0.7),
                (-0.5, 0.35, 0.7),
            ):
                self.disc(x + dx * size, y + dy * size, part * size * N, (*WHITE, 235))

    def stars(self, rng, count, high=1.0, largest=2.6) -> None:
        for _ in range(count):
            self.disc(rng.uniform(0, 1), rng.uniform(0, high), rng.uniform(0.9, largest), (255, 250, 225))


def plain(name: str, rng) -> Image.Image:
    colour = np.array(COLOURS[name], float) + rng.normal(0, 5, 3)
    y, x = np.mgrid[0:N, 0:N] / (N - 1) - 0.5
    light = 1 - 0.44 * (x**2 + y**2)
    return Image.fromarray(np.clip(ramp(colour * 1.05 + 6, colour * 0.93) * light[..., None], 0, 255).astype(np.uint8))


def starry_night(rng):
    canvas = Canvas((14, 18, 60), (52, 60, 140))
    canvas.stars(rng, 46)
    x, y = rng.choice([0.14, 0.86]), rng.uniform(0.1, 0.18)
    canvas.disc(x, y, 20, (255, 240, 190))
    canvas.disc(x + 0.035, y - 0.02, 17, (18, 22, 66))
    return canvas


def sunset(rng):
    canvas = Canvas((88, 52, 140), (255, 150, 70), 0.8)
    x = rng.uniform(0.3, 0.7)
    for radius, alpha in ((70, 40), (54, 60)):
        canvas.disc(x, 0.66, radius, (255, 220, 120, alpha))
    canvas.disc(x, 0.66, 38, (255, 228, 130))
    canvas.block(0, 0.76, 1, 1, (120, 56, 110))
    for i in range(6):
        left, right, y = x * N - 50 + rng.uniform(-20, 20), x * N + 50 + rng.uniform(-20, 20), (0.79 + 0.035 * i) * N
        canvas.draw.line([(left, y), (right, y)], fill=(255, 190, 110, 170), width=4)
    return canvas


def forest(rng):
    canvas = Canvas((190, 226, 190), (120, 180, 120))
    for row, (base, fill, size) in enumerate(
        ((0.62, (96, 160, 108), 0.36), (0.74, (56, 124, 76), 0.42), (0.9, (30, 92, 56), 0.44))
    ):
        for i in range(7):
            x, height = (i + rng.uniform(-0.2, 0.2) + row % 2 / 2) / 6.3, size * rng.uniform(0.85, 1.1)
            for k in range(3):
                wide, foot = 0.1 * (1 - 0.22 * k), base - 0.3 * height * k
                canvas.shape([(x - wide, foot), (x + wide, foot), (x, base - height * (0.48 + 0.26 * k))], fill)
        canvas.block(0, base - 0.008, 1, 1, fill)
    return canvas


def desert(rng):
    canvas = Canvas((250, 205, 140), (255, 236, 190))
    canvas.disc(rng.uniform(0.2, 0.8), 0.16, 20, (255, 250, 220))
    for base, height, fill in (
        (0.6, 0.05, (238, 190, 110)),
        (0.72, 0.05, (222, 166, 86)),
        (0.86, 0.03, (200, 142, 70)),
    ):
        canvas.hill(rng, base, height, fill)
    return canvas


def sea(rng):
    canvas = Canvas((120, 200, 250), (205, 238, 255))
    canvas.clouds(rng, 2, 0.08, 0.25)
    for base, fill in ((0.55, (40, 130, 215)), (0.68, (30, 108, 195)), (0.82, (22, 86, 170))):
        phase = rng.uniform(0, 6.28)
        canvas.ground(lambda x, base=base, phase=phase: base + 0.027 * math.sin(18.8 * x + phase), fill)
    return canvas


def underwater(rng):
    canvas = Canvas((70, 190, 225), (12, 58, 120))
    for x in rng.uniform(0, 1, 3):
        canvas.shape([(x, 0), (x + 0.12, 0), (x - 0.08, 1), (x - 0.35, 1)], (*WHITE, 22))
    for _ in range(16):
        x, y, r = rng.uniform(0, N), rng.uniform(0, N), rng.uniform(3, 9)
        canvas.draw.ellipse([x - r, y - r, x + r, y + r], outline=(220, 245, 255, 200), width=2)
    canvas.hill(rng, 0.92, 0.02, (214, 190, 130))
    return canvas


def green_hills(rng):
    canvas = Canvas((135, 205, 250), (215, 240, 255))
    canvas.clouds(rng, 2, 0.08, 0.26)
    for base, height, fill in ((0.62, 0.05, (126, 196, 96)), (0.72, 0.04, (92, 172, 76)), (0.85, 0.03, (62, 146, 62))):
        canvas.hill(rng, base, height, fill)
    return canvas


def snow(rng):
    canvas = Canvas((150, 190, 230), (224, 238, 250))
    canvas.hill(rng, 0.66, 0.05, (226, 238, 250))
    canvas.hill(rng, 0.8, 0.04, (246, 250, 255))
    for _ in range(40):
        canvas.disc(rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(1.5, 3.6), (*WHITE, 240))
    return canvas


def sky(rng):
    canvas = Canvas((80, 165, 240), (190, 228, 255))
    canvas.clouds(rng, 5, 0.06, 0.94)
    return canvas


def space(rng):
    canvas = Canvas((20, 10, 44), (44, 16, 76))
    glow = Image.new("RGBA", (N, N))
    for _ in range(7):
        fill = ((190, 60, 200), (80, 70, 220), (230, 80, 150), (60, 140, 220))[rng.integers(4)]
        along, radius = rng.uniform(0, 1), rng.uniform(30, 55)
        x, y = along * N, (0.85 - 0.7 * along) * N + rng.normal(0, 24)
        ImageDraw.Draw(glow).ellipse([x - radius, y - radius, x + radius, y + radius], fill=(*fill, 150))
    glow = glow.filter(ImageFilter.GaussianBlur(24))
    canvas.image.paste(glow, (0, 0), glow)
    canvas.stars(rng, 50, largest=2.4)
    return canvas


def beach(rng):
    canvas = Canvas((110, 200, 250), (200, 238, 255))
    canvas.clouds(rng, 1, 0.1, 0.2)
    canvas.disc(rng.choice([0.15, 0.85]), 0.15, 22, (255, 236, 120))
    canvas.block(0, 0.5, 1, 1, (48, 160, 214))
    phase = rng.uniform(0, 6.28)
    for lift, fill in ((0.03, (235, 250, 255)), (0, (246, 222, 164))):
        canvas.ground(lambda x, lift=lift: 0.7 - lift + 0.03 * math.sin(7.5 * x + phase), fill)
    return canvas


def meadow(rng):
    canvas = Canvas((150, 215, 250), (225, 244, 255))
    canvas.hill(rng, 0.52, 0.03, (140, 206, 100))
    canvas.hill(rng, 0.66, 0.03, (112, 186, 80))
    for _ in range(34):
        x, y = rng.uniform(0, 1), rng.uniform(0.6, 0.98)
        petals = ((255, 120, 160), (255, 225, 80), WHITE, (230, 90, 90), (170, 110, 230))[rng.integers(5)]
        for k in range(5):
            canvas.disc(x + 4.5 / N * math.cos(1.2566 * k), y + 4.5 / N * math.sin(1.2566 * k), 3.6, petals)
        canvas.disc(x, y, 2.6, (250, 190, 60))
    return canvas


def mountains(rng):
    canvas = Canvas((120, 180, 235), (230, 240, 250))
    for base, part, fill in ((0.8, 1, (126, 146, 180)), (0.9, 0.7, (86, 108, 146))):
        for i in range(3):
            x, height, wide = (i + 0.5 + rng.uniform(-0.25, 0.25)) / 3, part * rng.uniform(0.42, 0.58), 0.3
            canvas.shape([(x - wide, base), (x + wide, base), (x, base - height)], fill)
            cap = ((0, 1), (-0.3, 0.7), (-0.1, 0.76), (0.08, 0.68), (0.3, 0.7))
            canvas.shape([(x + wide * dx, base - height * up) for dx, up in cap], (248, 250, 255))
    canvas.block(0, 0.8, 1, 1, (96, 150, 96))
    return canvas


def city(rng):
    canvas = Canvas((26, 24, 70), (150, 80, 130))
    canvas.stars(rng, 16, 0.4, 2)
    x = -6.0
    while x < N:
        wide, roof = rng.uniform(26, 44), N - rng.uniform(0.3, 0.6) * N
        canvas.draw.rectangle([x, roof, x + wide, N], fill=(30, 30, 58))
        for top in np.arange(roof + 8, N - 4, 13):
            for left in np.arange(x + 6, x + wide - 7, 10):
                if rng.random() < 0.55:
                    canvas.draw.rectangle([left, top, left + 4, top + 6], fill=(255, 214, 110))
        x += wide + 2
    return canvas


def autumn(rng):
    canvas = Canvas((250, 224, 180), (240, 190, 130))
    canvas.hill(rng, 0.7, 0.03, (214, 140, 70))
    canvas.hill(rng, 0.84, 0.03, (176, 96, 50))
    for _ in range(34):
        x, y, r = rng.uniform(0, N), rng.uniform(0, N), rng.uniform(4, 7)
        fill = ((220, 70, 40), (240, 150, 40), (200, 100, 30), (250, 200, 60))[rng.integers(4)]
        canvas.draw.ellipse([x - r, y - 0.6 * r, x + r, y + 0.6 * r], fill=fill)
    return canvas


def rainbow(rng):
    canvas = Canvas((140, 205, 250), (226, 242, 255))
    bands = ((230, 70, 70), (245, 150, 60), (250, 220, 80), (90, 190, 100), (70, 130, 225), (140, 90, 200))
    for i, fill in enumerate((*bands, (200, 232, 252))):
        canvas.disc(0.5, 0.98, 0.62 * N + 22 - 13 * i, fill)
    canvas.clouds(rng, 1, 0.1, 0.2)
    canvas.block(0, 0.9, 1, 1, (120, 196, 96))
    return canvas


# Each with the words for it, the plainest first.
SCENES = {
    starry_night: ("in a starry night", "under a starry night sky", "at night with stars", "at night"),
    sunset: ("at sunset", "in a sunset", "in front of a sunset"),
    forest: ("in a forest", "in the woods", "in a green forest", "in a pine forest"),
    desert: ("in the desert", "on sand dunes", "in a sandy desert"),
    sea: ("in the sea", "on the ocean", "at sea", "in the ocean waves"),
    underwater: ("underwater", "under the sea", "under water with bubbles"),
    green_hills: ("on green hills", "in green hills", "in the countryside"),
    snow: ("in the snow", "in winter", "in a snowy landscape"),
    sky: ("in the sky", "in the clouds", "in a cloudy sky", "in a blue sky with clouds"),
    space: ("in space", "in outer space", "in a galaxy", "in a purple galaxy"),
    beach: ("on the beach", "on a sandy beach", "at the beach"),
    meadow: ("in a meadow", "in a field of flowers", "in a flower garden", "in a garden"),
    mountains: ("in the mountains", "in front of mountains", "in front of snowy mountains"),
    city: ("in the city at night", "in a city", "in front of a city skyline"),
    autumn: ("in autumn", "among autumn leaves", "in the fall"),
    rainbow: ("under a rainbow", "in front of a rainbow", "with a rainbow"),
}


def draw(index: int, colours: int, rng, size: int) -> Image.Image:
    """Background `index` of the first so many colours and then the scenes."""
    image = plain(list(COLOURS)[index], rng) if index < colours else list(SCENES)[index - colours](rng).image
    return image.resize((size, size), Image.Resampling.LANCZOS)
