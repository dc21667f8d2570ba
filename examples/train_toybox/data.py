"""What the toybox learns from: pictures of things composed on backgrounds, with captions.

    python data.py --config cpu_small --data ~/toybox-data

downloads the things' pictures and draws the backgrounds; the other scripts compose from both.
Knows no network.
"""

from __future__ import annotations

import hashlib
import io
import random
import re
import tarfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scenes
import torch
from config import Config, arguments
from PIL import Image, ImageFilter
from torch import Tensor
from torch.nn import functional

SPRITES = "https://registry.npmjs.org/@lobehub/fluent-emoji-3d/-/fluent-emoji-3d-1.1.0.tgz"
SHA256 = "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58"
EACH = 40  # drawings of each background
TWINS = 1.0  # two things are told apart by no less, as 32x32 pictures
SHARE = 92 / 128  # of the picture's side that a thing's picture takes, about

# Pairs that no training picture shows.
HELD_OUT = {
    ("fox", "starry night"), ("red apple", "blue"), ("green frog", "yellow"), ("blue whale", "starry night"),
    ("penguin", "desert"), ("castle", "sunset"), ("rocket", "forest"), ("sunflower", "purple"), ("robot", "beach"),
    ("cat", "space"), ("donut", "sky"), ("octopus", "city"), ("elephant", "snow"), ("red car", "underwater"),
    ("panda", "pink"), ("butterfly", "black"), ("sailboat", "sea"), ("teapot", "green"), ("owl", "forest"),
    ("pumpkin", "teal"),
}  # fmt: skip
PLURAL = {
    "grapes", "cherries", "blueberries", "pancakes", "fries", "chips", "popcorn", "spaghetti", "pasta", "cheese", "corn",
    "maize", "honey", "wine", "coffee", "fire", "confetti", "sunglasses", "shades", "headphones", "scissors", "shears",
    "dice", "sushi", "ramen", "chocolate", "broccoli", "gelato",
}  # fmt: skip
ALIASES = {
    "gray": "grey", "light blue": "pale blue", "light green": "mint", "navy": "dark blue", "teal": "turquoise",
    "beige": "cream", "purple": "violet",
}  # fmt: skip
ADJECTIVES = (
    "nice", "pretty", "happy", "little", "big", "tiny", "large", "shiny", "sweet", "fine", "simple", "bright",
    "friendly", "soft", "round", "lonely", "new", "old", "perfect", "wonderful", "magic", "fancy", "charming", "plain",
)  # fmt: skip
KINDS = ("picture", "painting", "drawing", "photo", "image", "icon", "illustration")


@dataclass(frozen=True)
class Thing:
    code: str  # Unicode code points, which name its picture
    names: tuple[str, ...]
    others: tuple[str, ...]  # further words for it


def things(config: Config) -> list[Thing]:
    found = []
    for line in (Path(__file__).parent / "things.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            known, _, others = line.partition(" ; ")
            code, _, names = known.partition(" ")
            found.append(Thing(code, tuple(names.split(" | ")), tuple(others.split(" | ")) if others else ()))
    return found[: config.things]


def backgrounds(config: Config) -> list[str]:
    """Names: colours, then scenes."""
    names = [scene.__name__.replace("_", " ") for scene in scenes.SCENES]
    return list(scenes.COLOURS)[: config.colours] + names[: config.scenes]


def held_out(config: Config) -> list[tuple[int, int]]:
    """(thing, background) of every pair kept from training."""
    known, places = things(config), backgrounds(config)
    return [
        (i, j) for i, thing in enumerate(known) for j, place in enumerate(places) if (thing.names[0], place) in HELD_OUT
    ]


def phrases(place: str) -> tuple[str, ...]:
    """The words for a background, the plainest first."""
    for scene, words in scenes.SCENES.items():
        if scene.__name__.replace("_", " ") == place:
            return words
    article = "an" if place[0] in "aeiou" else "a"
    return (f"on {article} {place} background", f"on {place}", f", {place} background")


def article(name: str) -> str:
    if name in ("sun", "moon", "earth", "full moon"):
        return f"the {name}"
    if name.split()[-1] in PLURAL:
        return name
    return f"an {name}" if name[0] in "aeio" or name.startswith("umbrella") else f"a {name}"


def strange(rng: random.Random) -> str:
    """A word that means nothing, so that the model learns not to mind one that it has never met."""
    return "".join(rng.choice("bcdfghklmnprst") + rng.choice("aeiou") for _ in range(rng.randint(1, 4)))


def caption(rng: random.Random, thing: Thing, place: str) -> str:
    """One of the many ways to say what is seen."""
    name = rng.choices([thing.names[0], rng.choice(thing.names), rng.choice(thing.others or thing.names)], (5, 2, 3))[0]
    if rng.random() < 0.15:
        name = f"{rng.choice((rng.choice(ADJECTIVES), strange(rng)))} {name}"
    subject = article(name) if rng.random() < 0.8 else name
    if rng.random() < 0.2:
        subject = f"{article(rng.choice((rng.choice(KINDS), strange(rng))))} of {subject}"
    if rng.random() < 0.06:
        return subject
    words = phrases(place)
    where = words[0] if rng.random() < 0.6 else rng.choice(words)
    if place in ALIASES and rng.random() < 0.15:
        where = phrases(ALIASES[place])[words.index(where)]
    if rng.random() < 0.06 and not where.startswith(","):
        return f"{where}, {subject}" if rng.random() < 0.5 else f"{subject}, {where}"
    return f"{subject} {where}".replace(" ,", ",")


def fetch(data: Path) -> Path:
    """The archive of pictures, downloaded once."""
    path = data / "fluent-emoji-3d.tgz"
    if not path.exists():
        with urllib.request.urlopen(SPRITES) as answer:
            path.write_bytes(answer.read())
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{path} is not what {SPRITES} was; remove it and run again")
    return path


def sprite(image: Image.Image, size: int) -> np.ndarray:
    """A thing in the middle of an empty picture: premultiplied red, green, blue; alpha; its shadow. (5, size, size)"""
    side = round(SHARE * size)
    image = image.convert("RGBA").crop((0, 0, 256, 256)).resize((side, side), Image.Resampling.LANCZOS)
    picture = Image.new("RGBA", (size, size))
    picture.paste(image, ((size - side) // 2, (size - side) // 2 + size // 42))
    shadow = Image.new("L", (size, size))
    shadow.paste(picture.getchannel("A"), (size // 64, size // 32))
    shadow = np.asarray(shadow.filter(ImageFilter.GaussianBlur(size / 32)))
    r, g, b, a = np.asarray(picture, np.float32).transpose(2, 0, 1)
    return np.stack([r * a / 255, g * a / 255, b * a / 255, a, shadow]).round().astype(np.uint8)


def lookalikes(sprites: np.ndarray, known: int, count: int) -> list[int]:
    """Indices of the sprites that look most like one of the first `known`, without being it."""
    small = functional.interpolate(torch.from_numpy(sprites[:, :4]).float() / 255, 32, mode="area").flatten(1)
    near = torch.cdist(small[known:], small[:known]).min(1).values
    near[near < TWINS] = torch.inf
    return (near.argsort()[:count] + known).tolist()


def prepare(data: Path, work: Path, config: Config, size: int = 0) -> None:
    """The pictures of all things, followed by those that look alike; and the backgrounds. size: pixels of a side, if not
    the configuration's."""
    size = size or config.size
    with tarfile.open(fetch(data)) as archive:
        files = {
            name.split("/")[-1][:-5].replace("-fe0f", ""): name for name in archive.getnames() if "assets/" in name
        }
        codes = [thing.code for thing in things(config)]
        codes += sorted(code for code in files if re.fullmatch("1f[3-9a].*|2[67].*", code) and "-" not in code)
        images = [Image.open(io.BytesIO(archive.extractfile(files[code]).read())) for code in dict.fromkeys(codes)]
    sprites = np.stack([sprite(image, size) for image in images])
    chosen = [*range(config.things), *lookalikes(sprites, config.things, config.lookalikes)]
    np.save(work / "sprites.npy", sprites[chosen])
    for name, seed in (("backgrounds", 0), ("fresh_backgrounds", 1)):
        rng = np.random.default_rng(seed)
        drawn = [
            [np.asarray(scenes.draw(j, config.colours, rng, size)).transpose(2, 0, 1) for _ in range(EACH)]
            for j in range(config.colours + config.scenes)
        ]
        np.save(work / f"{name}.npy", np.array(drawn))


class Studio:
    """Composes pictures, float32 in -1 to 1, on whatever device.

    fresh: on backgrounds that no training picture shows.
    """

    def __init__(self, work: Path, device: str = "cpu", fresh: bool = False, seed: int = 0) -> None:
        self.sprites = torch.from_numpy(np.load(work / "sprites.npy")).to(device)
        self.backgrounds = torch.from_numpy(np.load(work / f"{'fresh_' * fresh}backgrounds.npy")).to(device)
        self.generator = torch.Generator(device).manual_seed(seed)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=self.generator, device=self.sprites.device)

    def compose(self, labels: Tensor, shift=0.055, scale=(0.91, 1.09), turn=0.0) -> Tensor:
        """labels (batch, 2): thing and background. turn: radians at most. Returns (batch, 3, size, size)."""
        n = len(labels)
        places = self.backgrounds[labels[:, 1], self.uniform(0, EACH, n).long()].float()
        places = torch.where(self.uniform(0, 1, n, 1, 1, 1) < 0.5, places, places.flip(3))
        angle, size = self.uniform(-turn, turn, n), 1 / self.uniform(*scale, n)
        cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
        x, y = self.uniform(-2 * shift, 2 * shift, 2, n)
        theta = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
        grid = functional.affine_grid(theta, [n, 5, *places.shape[2:]], align_corners=False)
        sprites = self.sprites[labels[:, 0]].float()
        moved = functional.grid_sample(sprites, grid, mode="bicubic", align_corners=False).clamp(0, 255)
        colour, alpha, shadow = moved[:, :3], moved[:, 3:4] / 255, moved[:, 4:] / 255 * 0.35
        dark = torch.tensor([10.0, 10.0, 30.0], device=places.device).view(3, 1, 1)
        places = places * (1 - shadow) + dark * shadow
        return (places * (1 - alpha) + colour.minimum(alpha * 255)) / 127.5 - 1

    def labels(self, config: Config, n: int, apart: bool = True, things: int = 0) -> Tensor:
        """(n, 2) labels drawn evenly; apart: without the pairs held out; things: more than the model's."""
        drawn = torch.stack(
            [
                self.uniform(0, things or config.things, n).long(),
                self.uniform(0, config.colours + config.scenes, n).long(),
            ],
            1,
        )
        if apart:
            for i, j in held_out(config):
                wrong = (drawn[:, 0] == i) & (drawn[:, 1] == j)
                drawn[wrong, 1] = (j + 1) % (config.colours + config.scenes)
        return drawn


if __name__ == "__main__":
    options = arguments(__doc__)
    prepare(options.data, options.work, options.config)
