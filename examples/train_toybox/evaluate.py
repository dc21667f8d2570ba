"""How good a model is, by a judge that has only ever seen real pictures. Prints a table as JSON.

    python evaluate.py --config cpu_full --data ~/toybox-data --model toybox --sheets sheets

Each figure is the share of pictures whose thing, background, or both the judge (classifier.py) names as
the prompt does. Beside it stands the ceiling: the judge's share on real pictures of the same things on
backgrounds that nobody trained on, as they are and after a way through the autoencoder.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import data
import numpy as np
import torch
from classifier import Classifier
from config import Config, arguments
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional

from walk import Keyframe, Settings, Walk, models
from walk.render import render

# None of these is in a training caption, but for the first of each.
PHOTOS = ("a photo of", "a photograph of", "a snapshot of", "a close-up of")
LOOKS = ("nice", "cute", "beautiful", "lovely", "funny", "colorful", "small")
WALKS = (
    ("a red apple on a blue background", "a frog on a yellow background"),
    ("a fox in a forest", "a penguin in the snow"),
    ("a castle under a rainbow", "a rocket in space"),
    ("a panda on a pink background", "a red heart on a light blue background"),
    ("a pumpkin in autumn", "a ghost in a starry night"),
    ("a sailboat on the beach", "a blue whale in the sea"),
    ("a robot in the city at night", "an alien in a galaxy"),
    ("a sunflower in a meadow", "a cactus in the desert"),
    ("a hamburger on a red background", "a birthday cake on a light blue background"),
    ("an owl at night", "an elephant in the mountains"),
)
Case = tuple[str, int, int]  # a prompt, and the thing and the background that it means


def cases(config: Config, each: int) -> dict[str, list[Case]]:
    """The prompts of every set: `each` of every thing, and about as many in the others."""
    rng = random.Random(0)
    known, places = data.things(config), data.backgrounds(config)
    apart = set(data.held_out(config))

    def seen(i: int) -> int:
        return rng.choice([j for j in range(len(places)) if (i, j) not in apart])

    def plainly(i: int, j: int) -> str:
        return f"{data.article(known[i].names[0])} {data.phrases(places[j])[0]}"

    def said(subject: str, i: int, j: int) -> Case:
        return f"{subject} {rng.choice(data.phrases(places[j]))}".replace(" ,", ","), i, j

    def some() -> list[tuple[int, int]]:
        return [(i, seen(i)) for i in rng.sample(range(len(known)), min(len(known), 50 * each))]

    name = [thing.names[0] for thing in known]
    return {
        "seen": [(plainly(i, j), i, j) for i in range(len(known)) for j in (seen(i) for _ in range(each))],
        "held_out": [(plainly(i, j), i, j) for i, j in sorted(apart) for _ in range(8 * each)],
        "words_photo": [said(f"{rng.choice(PHOTOS)} {data.article(name[i])}", i, j) for i, j in some()],
        "words_no_article": [said(name[i], i, j) for i, j in some()],
        "words_adjective": [said(data.article(f"{rng.choice(LOOKS)} {name[i]}"), i, j) for i, j in some()],
        "words_synonym": [
            said(data.article(word), i, seen(i)) for i, thing in enumerate(known) for word in thing.others
        ],
    }


@torch.inference_mode()
def paint(model: models.Model, prompts: list[str], seed: int) -> Tensor:
    """A picture of each prompt, (n, 3, size, size) in -1 to 1, as walk makes its frames."""
    pictures = []
    for i in range(0, len(prompts), 8):
        batch = [Keyframe(prompt, seed + i + k) for k, prompt in enumerate(prompts[i : i + 8])]
        encoded = [model.encode(keyframe) for keyframe in batch]
        conditioning = {name: torch.stack([c[name] for c in encoded]) for name in encoded[0]}
        noise = torch.stack([model.noise(keyframe.seed) for keyframe in batch])
        pictures.append(model.decode(model.denoise(noise, conditioning))())
    return torch.cat(pictures).permute(0, 3, 1, 2) / 127.5 - 1


@torch.inference_mode()
def judge(judging: Classifier, pictures: Tensor) -> Tensor:
    """(n, 2): the thing and the background that the judge sees."""
    said = [judging(some) for some in pictures.split(50)]
    return torch.cat([torch.stack([thing.argmax(1), place.argmax(1)], 1) for thing, place in said])


def shares(said: Tensor, meant: Tensor) -> dict[str, float]:
    right = (said == meant).float()
    found = {"thing": right[:, 0], "background": right[:, 1], "both": right.prod(1)}
    return {name: round(float(value.mean()), 3) for name, value in found.items()}


def sharpness(pictures: Tensor) -> Tensor:
    """Variance of the Laplacian of brightness, in levels of 255 squared; one a picture."""
    grey = (pictures * 127.5).mean(1, keepdim=True)
    kernel = torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]])
    return functional.conv2d(grey, kernel).var((1, 2, 3))


def walks(model: models.Model, sheets: Path | None) -> dict[str, object]:
    """Ten walks at nine even places: how sharp each picture is against what its ends have, mixed as far."""
    films = []
    for number, prompts in enumerate(WALKS):
        walk = Walk.through([Keyframe(p, 2 * number + k) for k, p in enumerate(prompts)], frames=9)
        frames = dict(render(model, walk, range(9)))
        films.append(torch.from_numpy(np.stack([frames[i] for i in range(9)])).permute(0, 3, 1, 2) / 127.5 - 1)
    if sheets:
        sheet([p for film in films for p in film], [""] * 90, [True] * 90, 9, sheets / "walks.png")
    sharp = torch.stack([sharpness(film) for film in films])
    far = torch.linspace(0, 1, 9)
    against = sharp / (sharp[:, :1] * (1 - far) + sharp[:, -1:] * far)
    return {
        "at": [round(float(x), 3) for x in far],
        "against_ends": [round(float(x), 3) for x in against.log().mean(0).exp()],
        "each_at_its_least": [round(float(x), 3) for x in against.min(1).values],
        "ends": round(float(sharp[:, (0, -1)].mean()), 1),
    }


def sheet(pictures, labels: list[str], right: list[bool], columns: int, path: Path) -> None:
    """A contact sheet; what the judge took for something else has a red label."""
    side = max(128, pictures[0].shape[-1])
    high = side + 26 * any(labels)
    image = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * high), "white")
    draw = ImageDraw.Draw(image)
    for k, (picture, label, good) in enumerate(zip(pictures, labels, right)):
        x, y = k % columns * side, k // columns * high
        levels = ((picture + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
        image.paste(Image.fromarray(levels).resize((side, side)), (x, y))
        draw.multiline_text((x + 2, y + side), label, fill="black" if good else "red", spacing=1)
    image.save(path)


@torch.inference_mode()
def through(model: models.Model, pictures: Tensor) -> Tensor:
    """Pictures as the autoencoder gives them back."""
    vae = model.pipe.vae
    return torch.cat([vae(some.to(vae.device)).sample.clamp(-1, 1).cpu() for some in pictures.split(25)])


def show(prompts: list[Case], pictures: Tensor, said: Tensor, config: Config, path: Path) -> None:
    """A contact sheet of some sixty, with what the judge saw instead."""
    names = [thing.names[0] for thing in data.things(config)] + ["another thing"] * config.lookalikes
    places = data.backgrounds(config)
    pick = sorted(random.Random(1).sample(range(len(prompts)), min(len(prompts), 60)))
    right = [tuple(said[k].tolist()) == prompts[k][1:] for k in pick]
    below = [
        prompts[k][0][21:42] if good else f"{names[said[k, 0]]}? {places[said[k, 1]]}" for k, good in zip(pick, right)
    ]
    labels = [f"{prompts[k][0][:21]}\n{text}" for k, text in zip(pick, below)]
    sheet([pictures[k] for k in pick], labels, right, 10, path)


def main() -> None:
    options = arguments(__doc__, model="toybox", steps=4, guidance=1.0, each=2, seed=10_000, sheets="")
    config: Config = options.config
    torch.set_num_threads(options.threads)
    judging = Classifier(config)
    judging.load_state_dict(torch.load(options.work / "judge.pt", map_location="cpu", weights_only=True))
    judging.eval()
    settings = Settings(
        model=options.model, steps=options.steps, guidance=options.guidance, device=options.device, batch=8
    )
    model = models.load(settings)
    studio = data.Studio(options.work, fresh=True, seed=7)
    sheets = Path(options.sheets) if options.sheets else None
    if sheets:
        sheets.mkdir(parents=True, exist_ok=True)
    table: dict[str, object] = {"model": options.model, "steps": options.steps, "guidance": options.guidance}
    for name, prompts in cases(config, options.each).items():
        meant = torch.tensor([case[1:] for case in prompts])
        pictures, real = paint(model, [case[0] for case in prompts], options.seed), studio.compose(meant)
        said = judge(judging, pictures)
        row = {"pictures": len(prompts), **shares(said, meant), "ceiling": shares(judge(judging, real), meant)}
        if name == "seen":
            back = through(model, real)
            row["ceiling_through_autoencoder"] = shares(judge(judging, back), meant)
            of = {"real": real, "through_autoencoder": back, "generated": pictures}
            row["sharpness"] = {kind: round(float(sharpness(x).mean()), 1) for kind, x in of.items()}
        table[name] = row
        if sheets:
            show(prompts, pictures, said, config, sheets / f"{name}.png")
    table["walks"] = walks(model, sheets)
    print(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
