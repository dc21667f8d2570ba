"""Enlarging a film's frames: what is left of the network's own speed beside reading, tiling, reducing and saving them.

    python tests/benchmarks/upscale.py [--file FILE.pth] [--side 128] [--size 0] [--frames 24] [--device auto] [--rounds 3]

Without a file, with random weights of the size of realesr-animevideov3 (four times as large). --size: of the frames that
are kept, pixels of a side, if less than what the network makes.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from walk import Settings, Walk, machine, read_prompts
from walk.larger import Larger
from walk.progress import Listener
from walk.run import Run
from walk.upscale import Compact, Network, Upscaler, read


def alone(upscaler: Upscaler, side: int, count: int) -> float:
    """Pictures a second of the network, on numbers that are where it needs them."""
    device = upscaler.settings.device
    net = upscaler.network.module.to(device=device, dtype=upscaler.dtype)
    x = torch.rand(1, 3, side, side, device=device, dtype=upscaler.dtype).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        net(x)
        machine.wait(device)
        begun = time.perf_counter()
        for _ in range(count):
            net(x)
        machine.wait(device)
    return count / (time.perf_counter() - begun)


def whole(upscaler: Upscaler, side: int, size: int, count: int) -> float:
    """Frames a second, each read, enlarged and saved."""
    walk = Walk.through(read_prompts(["a", "b"]), frames=count)
    pictures = np.random.default_rng(0).integers(0, 256, (count, side // 4, side // 4, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder, "x.walk"), walk, upscaler.settings) as run:
        for index, picture in enumerate(pictures):
            run.save(index, picture.repeat(4, 0).repeat(4, 1))
        with Larger(run, upscaler, (size, size)) as larger:
            begun = time.perf_counter()
            larger.enlarge(Listener())
            return count / (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    device, side = machine.device(options.device), options.side
    settings = Settings(
        *("random", side, side, 1, 1.0, "none", device, machine.dtype(Settings(device=device)), 1, "none", ("none",))
    )
    network = read(options.file) if options.file else Network(Compact.untrained(64, 16, 4).eval(), 4, "random", "0")
    upscaler = Upscaler(network, settings)
    size = options.size or side * network.scale
    rates = []
    for number in range(options.rounds + 1):  # the first is slow
        rates.append((alone(upscaler, side, options.frames), whole(upscaler, side, size, options.frames)))
        print(
            f"round {number}: the network {rates[-1][0]:.3g} pictures a second, walk {rates[-1][1]:.3g} frames a second"
        )
    nets, films = zip(*rates[1:])
    print(
        json.dumps(
            {
                "device": device,
                "network": network.name,
                "side": side,
                "size": size,
                "network_rate": round(statistics.median(nets), 3),
                "film_rate": round(statistics.median(films), 3),
                "share": round(statistics.median(b / a for a, b in rates[1:]), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
