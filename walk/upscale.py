"""A finished picture, enlarged by a network that was trained to do so: ESRGAN and its kin.

Knows no walks, frames or run folders, nor which model made the picture. spandrel tells which network a file holds,
except for the plainest kind, which needs no other library.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from walk import Error, Settings, machine
from walk.loading import reason
from walk.sharedweights import blaming, fit_half, read_weights, unchanged

TILE = {"cpu": 256, "mps": 256, "cuda": 512}  # pixels of a side that are enlarged at once, by kind of device
SMALLEST = 64
MARGIN = 32  # pixels around a tile that the network sees, too: what is further away hardly matters to a pixel


class NoRoomError(Error):
    """A tile needs more memory than there is."""


class Compact(nn.Module):
    """Convolutions at the picture's own size, whose result is added to its pixels, each repeated: the SRVGGNetCompact
    of Real-ESRGAN (https://github.com/xinntao/Real-ESRGAN, realesrgan/archs/srvgg_arch.py)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """weights: body.0.weight (features, 3, 3, 3), body.0.bias, body.1.weight (features,), ..."""
        super().__init__()
        count = sum(bool(re.fullmatch(r"body\.\d+\.weight", name)) for name in weights)
        layers = [weights[f"body.{number}.weight"] for number in range(count)]
        self.body = nn.Sequential(
            *(
                nn.Conv2d(layer.shape[1], len(layer), 3, padding=1) if layer.ndim == 4 else nn.PReLU(len(layer))
                for layer in layers
            )
        )
        self.scale = math.isqrt(len(layers[-1]) // 3)
        self.load_state_dict(weights)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # by which convolutions are faster

    @classmethod
    def untrained(cls, features: int, layers: int, scale: int) -> Compact:
        """With torch's own random weights."""
        modules: list[nn.Module] = []
        for a, b in itertools.pairwise([3, *[features] * (layers + 1), 3 * scale**2]):
            modules += [nn.Conv2d(a, b, 3, padding=1), nn.PReLU(b)]
        weights = nn.Sequential(*modules[:-1]).state_dict()
        return cls({f"body.{name}": weight for name, weight in weights.items()})

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, 3, height, width), 0 to 1; the result is `scale` times as wide and high."""
        added = functional.pixel_shuffle(self.body(pictures), self.scale)
        return added + functional.interpolate(pictures, scale_factor=self.scale)


class Network(NamedTuple):
    """module: takes and returns (1, 3, height, width), 0 to 1; what it returns is `scale` times as wide and high. name:
    by which --upscale knows it, without its folder. digest: of its file. software: the libraries that it is from.
    supports_half: whether it works in float16. tileable: whether it may see parts of a picture separately."""

    module: Any
    scale: int
    name: str = ""
    digest: str = ""
    software: tuple[str, ...] = ()
    supports_half: bool = True
    tileable: bool = True


class Upscaler:
    """A network on a device, which enlarges pictures."""

    def __init__(self, network: Network, settings: Settings, tile: int | None = None) -> None:
        """settings: complete ones, of the pictures. tile: the side, in pixels, of what the network is given at once,
        without the margin; 0: the whole picture; None: what is usual on that device."""
        self.network, self.settings, self.scale = network, settings, network.scale
        kind = settings.device.split(":")[0]
        half = kind == "cuda" and network.supports_half and settings.dtype != "float32"
        self.dtype = torch.float16 if half else torch.float32
        self.tile = (TILE[kind] if network.tileable else 0) if tile is None else tile
        machine.make_deterministic(settings.device)

    def smaller(self) -> Upscaler | None:
        """The same with tiles of half the side, which need a quarter of the memory; None if they cannot be smaller."""
        if self.tile // 2 < SMALLEST:
            return None
        return Upscaler(self.network, self.settings, self.tile // 2)

    def at(self, size: tuple[int, int]) -> Settings:
        """The settings of pictures that it has enlarged to this (width, height)."""
        dtype = str(self.dtype).removeprefix("torch.")
        how = f"upscaler {self.network.digest} in {dtype}, tiles of {self.tile or 'any size'}"
        software = *self.settings.software, how, *self.network.software
        return dataclasses.replace(self.settings, width=size[0], height=size[1], software=software)

    def __call__(self, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A picture (height, width, 3), uint8, enlarged and then resized to this (width, height).

        Raises NoRoomError for a tile that does not fit in memory, and Error if what the network makes is not finite.
        """
        with (
            torch.inference_mode(),
            machine.out_of_memory_as(NoRoomError("the upscaler finds no room; give another --upscale")),
        ):
            pixels = torch.from_numpy(np.array(picture)).to(self.settings.device).permute(2, 0, 1)[None] / 255
            large = self._tiled(pixels, self.dtype)
            if self.dtype != torch.float32 and not large.isfinite().all():
                large = self._tiled(pixels, torch.float32)
            if not large.isfinite().all():
                raise Error("what the upscaler makes is not finite; give another --upscale")
            if size != (large.shape[3], large.shape[2]):
                large = large.cpu() if large.device.type == "mps" else large  # where older torch cannot do it
                large = functional.interpolate(large, size[::-1], mode="bicubic", antialias=True)
            return (large.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).cpu().numpy()

    def _tiled(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """Pixels (1, 3, height, width), enlarged tile by tile; float32."""
        net = self.network.module.to(device=self.settings.device, dtype=dtype)
        height, width = pixels.shape[2:]
        tile, scale = self.tile or max(height, width), self.scale
        large = pixels.new_empty(1, 3, scale * height, scale * width)
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                above, before = max(top - MARGIN, 0), max(left - MARGIN, 0)
                seen = net(pixels[..., above : top + tile + MARGIN, before : left + tile + MARGIN].to(dtype))
                part = large[..., scale * top : scale * (top + tile), scale * left : scale * (left + tile)]
                inner = seen[..., scale * (top - above) :, scale * (left - before) :]
                part.copy_(inner[..., : part.shape[2], : part.shape[3]])
        return large


def read(path: Path) -> Network:
    """The network in a file, .safetensors or .pth, in main memory.

    Raises Error if it holds no network that enlarges pictures, or one that needs a library that is not installed.
    """
    machine.check_process()
    with unchanged(path) as digest:
        with blaming(path, "upscaler", "--upscale"):
            weights = read_weights(path)
        plain = {"body.0.weight", "body.1.weight"} <= weights.keys()
        network = _compact(path, weights) if plain else _from_spandrel(path)
    supports_half = network.supports_half and fit_half(weights)
    return network._replace(name=path.name, digest=digest, supports_half=supports_half)


def _compact(path: Path, weights: dict[str, Tensor]) -> Network:
    with blaming(path, "upscaler", "--upscale"):
        net = Compact(weights).eval()
        return _checked(Network(net, net.scale))


def _from_spandrel(path: Path) -> Network:
    try:
        import spandrel
    except Exception as error:  # as where torchvision is another torch's
        raise Error(
            f"{path} needs a library that is not here, or does not fit ({reason(error)}); pip install spandrel, and "
            "torchvision from where torch is from"
        ) from error
    with blaming(path, "upscaler", "--upscale"):
        found: Any = spandrel.ModelLoader().load_from_file(path)
        if not isinstance(found, spandrel.ImageModelDescriptor):
            raise ValueError(f"{found.architecture.name} takes more than a picture")
        # spandrel would take what is infinite for white.
        found.model.to(memory_format=torch.channels_last).register_forward_hook(
            lambda module, given, made: torch.where(made.isfinite(), made, torch.nan)
        )
        tileable = found.tiling is spandrel.ModelTiling.SUPPORTED
        software = (f"spandrel {importlib.metadata.version('spandrel')}",)
        return _checked(Network(found.eval(), found.scale, "", "", software, found.supports_half, tileable))


def _checked(network: Network) -> Network:
    """The network, if it enlarges a small picture as it should; raises ValueError if not."""
    side = SMALLEST
    with torch.inference_mode():
        made = network.module(torch.zeros(1, 3, side, side)).shape
    if made != (1, 3, network.scale * side, network.scale * side):
        raise ValueError(f"of a coloured picture of {side}x{side} it makes {tuple(made)}")
    return network
