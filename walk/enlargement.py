"""How large a film is, and what enlarges the model's pictures for it: a network that was asked for, or the model's own.

Knows flags and sizes; loads no network into a model, and enlarges nothing.
"""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from walk import Error, Settings, downloads, flags, formats, hub, upscale
from walk.files import at_home
from walk.order import Order
from walk.progress import Listener, in_bytes
from walk.settings import BUILT_IN, LARGEST
from walk.upscale import Network

SHOWN = 2 / 3  # share of a picture that a film shows; less is worth a note


class Enlargement(NamedTuple):
    """film, pictures: (width, height) of the film, and of the pictures that it is made of. network: what enlarges them,
    if anything does. name: what the film's recipe says of --upscale."""

    film: tuple[int, int]
    pictures: tuple[int, int]
    network: Network | None
    name: str | None


def find_network(order: Order, listener: Listener) -> Network | None:
    """The network that is to enlarge the pictures, if any: the model's own, where no other is asked for. The hub's are
    downloaded."""
    name, model = order.flags.get("upscale", flags.OWN), order.settings.model
    if name == flags.NONE:
        return None
    with in_bytes(listener) as report, downloads.reporting(report):
        path = hub.find_own_upscaler(model) if name == flags.OWN else hub.find_upscaler(name)
    if path is None and "upscale" in order.flags:
        raise Error(f"{model} has no upscaler of its own; give a file as --upscale, or none")
    if path is None:
        return None
    is_file = name != flags.OWN and os.path.exists(at_home(name))
    return upscale.read(path)._replace(name=path.name if is_file else name)


def plan(order: Order, settings: Settings, network: Network | None, listener: Listener) -> Enlargement:
    """The sizes of a film and its pictures. The model's own network makes a film clearer, where its pictures are enlarged
    anyway; another one makes the film larger.

    settings: of the model, complete. Raises Error for a film that would be too wide, or enlarged for nothing. A note
    where much of its pictures is cut off.
    """
    frame, size, codec = (settings.width or 0, settings.height or 0), order.look.get("size"), order.look.get("codec")
    name = network.name if network else order.flags.get("upscale")
    scale = network.scale if network else 1
    large = scale * frame[0], scale * frame[1]
    own = network is not None and network.name == flags.OWN
    whole = frame if own else large
    film = formats.film_size(whole, size, order.out, codec)
    covering = formats.scaled_size(whole, size, film)
    share = math.prod(film) / math.prod(covering)
    if share < SHOWN:
        more = "; give --width and --height of nearly its proportions for more"
        if settings.model == BUILT_IN:
            more = ", the one size of the built-in model's; other models take --width and --height"
        listener.note(f"--size {size} shows {share:.0%} of the pictures, which are {frame[0]}x{frame[1]}{more}")
    if scale > 1 and covering[0] <= frame[0]:
        if own:
            return Enlargement(film, frame, None, name)
        raise Error(
            "--upscale enlarges for nothing, since the film is no larger than its pictures, {}x{}; give a larger --size, "
            "or --upscale none".format(*frame)
        )
    if scale > 1 and not own and covering[0] > large[0]:
        listener.note(
            "the upscaler makes pictures of {}x{}, and the film's are scaled to {}x{}".format(*large, *covering)
        )
    pictures = min(large, covering)
    if max(pictures) > LARGEST:
        raise Error(f"--upscale would make pictures of {pictures[0]}x{pictures[1]}; give a --size of up to {LARGEST}")
    return Enlargement(film, pictures, network, name)
