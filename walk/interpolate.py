"""A picture between two others: mixed of them, or made by a network that was trained to do so, RIFE.

Knows no walks, frames or run folders, nor which model made the pictures.

RIFE (Z. Huang et al., 'Real-Time Intermediate Flow Estimation for Video Frame Interpolation', ECCV 2022) estimates, from
the coarse to the fine, where each pixel of the picture between comes from in both pictures, and how much of each to take.
Its versions from 4.0 to 4.26 (https://github.com/hzwer/Practical-RIFE) differ in their layers, which the names and shapes of
the weights tell.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from walk import Error, Settings, machine
from walk.sharedweights import blaming, fit_half, read_weights, unchanged

SLOPE = 0.2  # of a leaky ReLU, below 0
NARROWEST = 24  # features of the last block of the version 4.25 lite, which leaves out a scale
_TRAINING = ("teacher.", "caltime.", "block_tea.", "contextnet.", "unet.")  # parts that only training uses, or none


class _Residual(nn.Module):
    """A convolution that is added to what it is of, by a factor for each feature."""

    def __init__(self, features: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(features, features, 3, padding=1, groups=groups)
        self.beta = nn.Parameter(torch.ones(1, features, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.leaky_relu(self.conv(x) * self.beta + x, SLOPE)


class _Block(nn.Module):
    """How the flow, and the mask, change, as seen at one scale.

    Its layers, by their usual names: conv0 (to a quarter of the side), convblock (eight, at one size), and lastconv (four
    numbers of flow, one of the mask, and others for the next block, back at the side or, in old versions, at half of it).
    """

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        first, second = weights["conv0.0.0.weight"], weights["conv0.1.0.weight"]
        features = len(second)
        self.residual = "conv0.0.1.weight" in weights  # version 4.0: all eight layers together, rather than each

        def convolution(a: int, b: int, stride: int = 1) -> nn.Sequential:
            bend = nn.PReLU(b) if self.residual else nn.LeakyReLU(SLOPE)
            return nn.Sequential(nn.Conv2d(a, b, 3, stride, 1), bend)

        self.conv0 = nn.Sequential(convolution(first.shape[1], len(first), 2), convolution(len(first), features, 2))
        each = weights.get("convblock.0.conv.weight")
        layers = [
            convolution(features, features) if each is None else _Residual(features, features // each.shape[1])
            for _ in range(8)
        ]
        self.convblock = nn.Sequential(*layers)
        self.shuffled = "lastconv.0.weight" in weights
        last = weights["lastconv.0.weight" if self.shuffled else "lastconv.weight"]
        transposed = nn.ConvTranspose2d(features, last.shape[1], 4, 2, 1)
        self.lastconv = nn.Sequential(transposed, nn.PixelShuffle(2)) if self.shuffled else transposed
        self.load_state_dict(weights)

    def forward(self, seen: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor, Tensor]:
        """(flow in pixels, mask, others), at the size of `seen`, which is looked at in cells of `scale` pixels."""
        x = _resized(seen, 1 / scale)
        if flow is not None:
            x = torch.cat((x, _resized(flow, 1 / scale) / scale), 1)
        x = self.conv0(x)
        x = self.convblock(x) + x if self.residual else self.convblock(x)
        cell = scale if self.shuffled else 2 * scale
        x = _resized(self.lastconv(x), cell)
        return x[:, :4] * cell, x[:, 4:5], x[:, 5:]


class _Head(nn.Module):
    """Features of one picture, at its own size."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        features, given = weights["cnn0.weight"].shape[0], weights["cnn3.weight"].shape[1]
        self.cnn0 = nn.Conv2d(3, features, 3, 2, 1)
        self.cnn1 = nn.Conv2d(features, features, 3, padding=1)
        self.cnn2 = nn.Conv2d(features, features, 3, padding=1)
        self.cnn3 = nn.ConvTranspose2d(features, given, 4, 2, 1)
        self.load_state_dict(weights)

    def forward(self, x: Tensor) -> Tensor:
        for layer in (self.cnn0, self.cnn1, self.cnn2):
            x = functional.leaky_relu(layer(x), SLOPE)
        made: Tensor = self.cnn3(x)
        return made


def _listed_head(weights: dict[str, Tensor]) -> nn.Sequential:
    """The same as older versions have it: layers by their numbers, of which the last makes the picture's size again."""
    numbers = sorted(int(name.split(".")[0]) for name in weights if name.endswith("weight"))
    layers: list[nn.Module] = []
    for number in numbers:
        layers += [nn.LeakyReLU(SLOPE)] * (number - len(layers))
        weight = weights[f"{number}.weight"]
        if number == numbers[-1]:
            layers.append(nn.ConvTranspose2d(weight.shape[0], weight.shape[1], 4, 2, 1))
        else:
            layers.append(nn.Conv2d(weight.shape[1], weight.shape[0], 3, 1 if number else 2, 1))
    made = nn.Sequential(*layers)
    made.load_state_dict(weights)
    return made


class RIFE(nn.Module):
    """The network of weights by their usual names: block0 ..., and from version 4.7 on encode."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        super().__init__()
        parts = {part: _within(weights, part) for part in dict.fromkeys(name.partition(".")[0] for name in weights)}
        head = parts.pop("encode", None)
        count = len(parts)
        if count not in (4, 5) or parts.keys() != {f"block{number}" for number in range(count)}:
            raise ValueError("it is not RIFE, in one of the versions from 4.0 to 4.26")
        self.encode = None if head is None else _Head(head) if "cnn0.weight" in head else _listed_head(head)
        self.blocks = nn.ModuleList(_Block(parts[f"block{number}"]) for number in range(count))
        self.scales = [2**number for number in reversed(range(count))]
        if count == 5 and len(parts["block4"]["conv0.1.0.weight"]) == NARROWEST:
            self.scales = [32, 16, 8, 4, 1]
        self.pad = 4 * self.scales[0]  # pixels, of which sides are multiples, since a block looks at a quarter of them
        # Whether a block is given what the one before it has found out beside flow and mask.
        first, later = (parts[f"block{number}"]["conv0.0.0.weight"].shape[1] for number in (0, 1))
        self.handed_on = later > first + 1 + 4

    def forward(self, a: Tensor, b: Tensor, t: float) -> Tensor:
        """The picture at 0 < t < 1 on the way from `a` to `b`: (1, 3, height, width), 0 to 1, of sides that `pad` divides."""
        heads = [self.encode(a), self.encode(b)] if self.encode is not None else []
        when = a.new_full((1, 1, *a.shape[2:]), t)
        flow, mask, others = self.blocks[0](torch.cat((a, b, *heads, when), 1), None, self.scales[0])
        for block, scale in zip(self.blocks[1:], self.scales[1:]):
            warped = [_warped(it, part) for it, part in zip((a, b, *heads), (*flow.split(2, 1), *flow.split(2, 1)))]
            seen = [*warped, when, mask, *([others] if self.handed_on else [])]
            change, own, others = block(torch.cat(seen, 1), flow, scale)
            flow = flow + change
            mask = mask + own if self.encode is None else own
        return torch.lerp(_warped(b, flow[:, 2:]), _warped(a, flow[:, :2]), mask.sigmoid())


def _within(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name.removeprefix(f"{part}."): it for name, it in weights.items() if name.startswith(f"{part}.")}


def _resized(x: Tensor, factor: float) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear") if factor != 1 else x


def _warped(x: Tensor, flow: Tensor) -> Tensor:
    """What is found at each pixel, moved by `flow`, (1, 2, height, width), in pixels to the right and down."""
    height, width = x.shape[2:]
    down, right = (torch.arange(side, dtype=torch.float32, device=x.device) for side in (height, width))
    at = torch.stack((right + flow[:, 0], down[:, None] + flow[:, 1]), -1)
    at = (at * at.new_tensor((2 / (width - 1), 2 / (height - 1))) - 1).clamp(-1, 1)  # Apple's GPUs know no 'border'
    found = functional.grid_sample(x.float(), at, mode="bilinear", padding_mode="zeros", align_corners=True)
    return found.to(x.dtype)


class Network(NamedTuple):
    """module: a RIFE; None: pictures are mixed. name: by which --interpolator knows it, without its folder. digest: of its
    file. supports_half: whether it works in float16."""

    module: RIFE | None
    name: str
    digest: str
    supports_half: bool = True


class Interpolator:
    """A network on a device, which makes pictures between two others."""

    def __init__(self, network: Network, settings: Settings) -> None:
        """settings: complete ones, of the pictures."""
        self.network, self.device = network, settings.device
        half = settings.device.startswith("cuda") and network.supports_half and settings.dtype != "float32"
        self.dtype = torch.float16 if half else torch.float32
        machine.make_deterministic(settings.device)

    @property
    def how(self) -> str:
        """What decides its pictures, beside those between which they are."""
        if self.network.module is None:
            return f"interpolator {self.network.digest}"
        return f"interpolator {self.network.digest} in {str(self.dtype).removeprefix('torch.')}"

    def __call__(self, a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
        """The picture at 0 < t < 1 on the way from `a` to `b`, each (height, width, 3) uint8.

        Raises Error if there is no room for it, or what the network makes is not finite.
        """
        if self.network.module is None:
            return np.rint(a + (b.astype(np.float32) - a) * np.float32(t)).astype(np.uint8)
        height, width, _ = a.shape
        full = Error(f"the interpolator finds no room for pictures of {width}x{height}; give --interpolator blend")
        with torch.inference_mode(), machine.out_of_memory_as(full):
            both = torch.from_numpy(np.stack((a, b))).to(self.device).permute(0, 3, 1, 2) / 255
            # As if the picture went on beyond its edges.
            pad = self.network.module.pad
            both = functional.pad(both, (0, -width % pad, 0, -height % pad), mode="replicate")
            made = self._between(both, t, self.dtype)
            if self.dtype != torch.float32 and not made.isfinite().all():
                made = self._between(both, t, torch.float32)
            if not made.isfinite().all():
                raise Error("what the interpolator makes is not finite; give another --interpolator")
            made = made[0, :, :height, :width].float().clamp(0, 1) * 255
            return made.round().byte().permute(1, 2, 0).cpu().numpy()

    def seconds(self, a: np.ndarray, b: np.ndarray) -> float:
        """How long it takes. Two pictures are made, since the first time is slow."""
        self(a, b, 0.5)
        begun = time.perf_counter()
        self(a, b, 0.5)
        return time.perf_counter() - begun

    def _between(self, both: Tensor, t: float, dtype: torch.dtype) -> Tensor:
        assert self.network.module is not None
        made: Tensor = self.network.module.to(device=self.device, dtype=dtype)(
            both[:1].to(dtype), both[1:].to(dtype), t
        )
        return made


def read(path: Path) -> Network:
    """The network in a file, .safetensors, .pth or .pkl, in main memory. Raises Error if it holds no RIFE that is known."""
    machine.check_process()
    with unchanged(path) as digest, blaming(path, "interpolator", "--interpolator"):
        weights = {_usual(name): it for name, it in read_weights(path).items()}
        weights = {name: it for name, it in weights.items() if not name.startswith(_TRAINING)}
        module = RIFE({name: it.float() for name, it in weights.items()}).eval()
        with torch.inference_mode():
            made = module(*[torch.zeros(1, 3, module.pad, module.pad)] * 2, 0.5)
        if not made.isfinite().all():
            raise ValueError("what it makes is not finite")
    return Network(module.to(memory_format=torch.channels_last), path.name, digest, fit_half(weights))  # type: ignore[call-overload]


def _usual(name: str) -> str:
    """A weight's name as its makers have it."""
    return re.sub(r"^blocks\.(\d)", r"block\1", re.sub(r"^(module\.|flownet\.)+", "", name))
