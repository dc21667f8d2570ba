"""A finished picture, enlarged by a network that was trained to: ESRGAN and its kin.

Knows no walks, frames or run folders, nor which model made the picture. Which network a file holds, spandrel tells; but
for the plainest kind, which needs no other library.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from walk import Error, OutOfMemoryError, Settings, digests, machine
from walk.hub import upscaler
from walk.loading import reason

TILE = {"cpu": 256, "mps": 256, "cuda": 512}  # pixels of a side that are enlarged at once, by kind of device
SMALLEST = 64
MARGIN = 32  # pixels around a tile that the network sees, too: what is further off hardly matters to a pixel


class Compact(nn.Module):
    """Convolutions at the picture's own size, and what they add to its pixels, each repeated: the SRVGGNetCompact of
    Real-ESRGAN (https://github.com/xinntao/Real-ESRGAN, realesrgan/archs/srvgg_arch.py)."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        """weights: body.0.weight (features, 3, 3, 3), body.0.bias, body.1.weight (features,), ..."""
        super().__init__()
        layers = [weights[f"body.{number}.weight"] for number in range(sum("weight" in name for name in weights))]
        self.body = nn.Sequential(
            *(
                nn.Conv2d(layer.shape[1], len(layer), 3, padding=1) if layer.ndim == 4 else nn.PReLU(len(layer))
                for layer in layers
            )
        )
        self.scale = math.isqrt(len(layers[-1]) // 3)
        self.load_state_dict(weights)

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, 3, height, width), 0 to 1, to as many, `scale` times as wide and high."""
        added = functional.pixel_shuffle(self.body(pictures), self.scale)
        return added + functional.interpolate(pictures, scale_factor=self.scale)


class Network(NamedTuple):
    """it: takes and gives (1, 3, height, width), 0 to 1, the latter `scale` times as large. halves: whether it bears
    float16. tiles: whether it may see parts of a picture alone. software: the libraries that it is from."""

    it: Any
    scale: int
    halves: bool = True
    tiles: bool = True
    software: tuple[str, ...] = ()


class Upscaler:
    """A network that enlarges pictures, on a device while it does."""

    def __init__(self, network: Network, digest: str, settings: Settings, tile: int | None = None) -> None:
        """digest: of its file. settings: complete ones. tile: pixels of a side that it is given at once, beside the
        margin; 0: whatever there are; None: what is usual on that device."""
        self.network, self.digest, self.settings = network, digest, settings
        self.scale, self.kind = network.scale, settings.device.split(":")[0]
        half = self.kind == "cuda" and network.halves and settings.dtype != "float32"
        self.dtype = torch.float16 if half else torch.float32
        self.tile = (TILE[self.kind] if network.tiles else 0) if tile is None else tile

    def smaller(self) -> Upscaler | None:
        """The same in tiles of half the side, which need a quarter of the memory; None if they are as small as can be."""
        if self.tile // 2 < SMALLEST:
            return None
        return Upscaler(self.network, self.digest, self.settings, self.tile // 2)

    @property
    def made_with(self) -> tuple[str, ...]:
        """What decides its pixels, in words, and versions of libraries."""
        dtype = str(self.dtype).removeprefix("torch.")
        return f"upscaler {self.digest} in {dtype}, tiles of {self.tile or 'any size'}", *self.network.software

    def at(self, size: tuple[int, int]) -> Settings:
        """Of pictures that it has enlarged to this (width, height)."""
        before = self.settings
        return dataclasses.replace(before, width=size[0], height=size[1], software=(*before.software, *self.made_with))

    def __call__(self, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A picture (height, width, 3), uint8, enlarged; and reduced from there to this (width, height), if that is less.

        Raises OutOfMemoryError if a tile finds no room, and Error if what the network makes of it is not finite.
        """
        with torch.inference_mode(), machine.room(OutOfMemoryError(self.settings)):
            pixels = torch.from_numpy(np.array(picture)).to(self.settings.device).permute(2, 0, 1)[None] / 255
            large = self._tiled(pixels, self.dtype)
            if self.dtype != torch.float32 and not large.isfinite().all():
                large = self._tiled(pixels, torch.float32)
            if not large.isfinite().all():
                raise Error("what the upscaler makes is not finite; give another --upscale")
            if size != (large.shape[3], large.shape[2]):
                large = functional.interpolate(large, size[::-1], mode="bicubic", antialias=True)
            return (large.clamp(0, 1) * 255).round().byte()[0].permute(1, 2, 0).cpu().numpy()

    def _tiled(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """(1, 3, height, width), enlarged, float32."""
        net = self.network.it.to(device=self.settings.device, dtype=dtype)
        height, width = pixels.shape[2:]
        tile, scale = self.tile or max(height, width), self.scale
        large = pixels.new_empty(1, 3, scale * height, scale * width)
        for top in range(0, height, tile):
            for left in range(0, width, tile):
                above, before = max(top - MARGIN, 0), max(left - MARGIN, 0)
                seen = net(pixels[..., above : top + tile + MARGIN, before : left + tile + MARGIN].to(dtype))
                part = large[..., scale * top : scale * (top + tile), scale * left : scale * (left + tile)]
                part.copy_(
                    seen[..., scale * (top - above) :, scale * (left - before) :][..., : part.shape[2], : part.shape[3]]
                )
        return large


def load(name: str, settings: Settings) -> Upscaler:
    """The upscaler in a file, .safetensors or .pth, or in one on the hub, 'org/name/file.safetensors', for the pictures of
    these complete settings.

    Raises Error if it is not there, holds no such network, or needs a library that is not here.
    """
    path = upscaler(name)
    machine.steady(settings.device)
    return Upscaler(_read(path), digests.of_file(path), settings)


def _read(path: Path) -> Network:
    plain = _weights(path)
    if {"body.0.weight", "body.1.weight"} <= plain.keys():
        with _loading(path):
            net = Compact(plain).eval()
        return Network(net, net.scale)
    if lacking := [name for name in ("spandrel", "torchvision") if importlib.util.find_spec(name) is None]:
        what = ", from where torch is from" * ("torchvision" in lacking)
        raise Error(f"{path} needs a library that is not here; pip install {' '.join(lacking)}{what}")
    import spandrel

    with _loading(path):
        found: Any = spandrel.ModelLoader().load_from_file(path)
    if not isinstance(found, spandrel.ImageModelDescriptor) or (found.input_channels, found.output_channels) != (3, 3):
        raise Error(
            f"{path} holds a {found.architecture.name} network that enlarges no coloured pictures; give another"
        )
    return Network(
        found.eval(),
        found.scale,
        found.supports_half,
        found.tiling is spandrel.ModelTiling.SUPPORTED,
        (f"spandrel {importlib.metadata.version('spandrel')}",),
    )


def _weights(path: Path) -> dict[str, Tensor]:
    """By name, without what trainers wrap them in. Of a .pth nothing but tensors is read."""
    with _loading(path):
        if path.suffix == ".safetensors":
            found: Any = safetensors.torch.load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
        for name in ("params_ema", "params", "model_state_dict", "state_dict", "model", "net"):
            found = found[name] if isinstance(found.get(name), dict) else found
        return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


@contextlib.contextmanager
def _loading(path: Path) -> Iterator[None]:
    """What fails within is the file's fault."""
    try:
        yield
    except Exception as error:
        raise Error(f"{path} holds no upscaler that is known: {reason(error)}; give another --upscale") from error
