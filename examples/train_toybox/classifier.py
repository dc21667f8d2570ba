"""The judge: names thing and background of a picture. It learns from real pictures alone, never from generated ones.

It knows more things than the model does: those of all the pictures that look most like the model's own.

python classifier.py --config cpu_small --data ~/toybox-data
"""

from __future__ import annotations

import torch
from config import Config, arguments
from data import Studio
from torch import Tensor, nn
from torch.nn import functional
from training import Training


class Block(nn.Module):
    """A residual block that halves the sides."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(before, after, 3, 2, 1, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for _ in range(3))
        self.inside = nn.ModuleList(nn.Conv2d(after, after, 3, 1, 1, bias=False) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norms[0](self.enter(x)))
        y = functional.relu(self.norms[1](self.inside[0](x)))
        return functional.relu(x + self.norms[2](self.inside[1](y)))


class Classifier(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        widths = config.classifier_channels
        self.stem = nn.Conv2d(3, widths[0] // 2, 3, 2, 1)
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip((widths[0] // 2, *widths), widths)))
        self.thing = nn.Linear(widths[-1] * 2, config.things + config.lookalikes)
        self.place = nn.Linear(widths[-1] * 2, config.colours + config.scenes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """pictures in -1 to 1. Returns what speaks for each thing, and for each background."""
        x = self.blocks(functional.relu(self.stem(pictures)))
        x = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return self.thing(x), self.place(x)


def disturb(studio: Studio, pictures: Tensor) -> Tensor:
    """Blur, contrast, brightness and noise, so that no single texture decides."""
    n, size = len(pictures), pictures.shape[-1]
    for part in (2, 3):
        small = functional.interpolate(pictures, size // part, mode="bilinear", antialias=True)
        blurred = functional.interpolate(small, size, mode="bilinear")
        pictures = torch.where(studio.uniform(0, 1, n, 1, 1, 1) < 0.25, blurred, pictures)
    pictures = pictures * studio.uniform(0.85, 1.15, n, 1, 1, 1) + studio.uniform(-0.08, 0.08, n, 3, 1, 1)
    noise = torch.randn(pictures.shape, generator=studio.generator, device=pictures.device)
    return pictures + noise * studio.uniform(0, 0.1, n, 1, 1, 1)


def main() -> None:
    options = arguments(__doc__, minutes=0.0)
    config: Config = options.config
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    studio = Studio(options.work, options.device)
    model = Classifier(config).to(options.device, memory_format=torch.channels_last)
    training = Training(
        options.work / "classifier.pt", [model], 2e-3, options.minutes or config.classifier_minutes, decay=0.02
    )
    studio.generator.manual_seed(training.step)
    for _ in training:
        labels = studio.labels(config, 64, apart=False, things=len(studio.sprites))
        pictures = disturb(studio, studio.compose(labels, shift=0.09, scale=(0.8, 1.2), turn=0.2))
        with torch.autocast(options.device, torch.bfloat16):
            thing, place = model(pictures.contiguous(memory_format=torch.channels_last))
        loss = functional.cross_entropy(thing.float(), labels[:, 0], label_smoothing=0.05)
        loss = loss + 0.3 * functional.cross_entropy(place.float(), labels[:, 1], label_smoothing=0.05)
        right = (thing.argmax(1) == labels[:, 0]).float().mean()
        training.learn(loss, 64, right=right)
    torch.save(model.state_dict(), options.work / "judge.pt")


if __name__ == "__main__":
    main()
