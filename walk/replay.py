"""A film's recipe, read: the flags that make the film again, with others in place of some.

Renders nothing and prints nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from walk import Error, Walk, flags, formats, images, probe, rates, recipe
from walk.flags import EXCLUSIVE
from walk.keyframes import Keyframe, read_lines
from walk.motion import RHYTHM, is_smooth, pulses, used_paces
from walk.paths import check_is_film, expanded
from walk.rates import METER
from walk.recipe import Recipe
from walk.settings import BUILT_IN

# Flags that were meant for the model that a film was made with.
OF_MODEL = (
    *("width", "height", "steps", "guidance", "scheduler", "dtype", "batch", "compile", "denoiser", "clip_skip"),
    *("ip_adapter", "image_weight", "image_style"),
)


# Flags that name a network's file, and what that has done.
NETWORKS = {"upscale": "enlarged", "interpolator": "interpolated"}


class Again(NamedTuple):
    """Of a film that is made again. weights: of the model that made it. upscaler, interpolator: digests of what enlarged its
    frames, and of what interpolated some. positions: where its frames stay; None: they are laid out anew."""

    weights: str
    upscaler: str
    interpolator: str
    positions: recipe.Positions | None


def read_recipe(film: str) -> Recipe:
    """A film's recipe, of which every flag has been checked like one that was typed."""
    check_is_film(film)
    made = recipe.from_text(probe.read_metadata(Path(film)).comment, film)
    try:
        unknown = [name for name, _ in made.flags if name not in flags.RECIPE]
        if unknown:
            raise Error(f"there is no flag --{unknown[0][:60]}")
        flags.checked([f"--{name}={value}" for name, value in made.flags])
        read_lines(made.prompts)
    except Error as error:
        raise Error(f"{film}: the recipe is damaged: {error}") from None
    return made


def files_named(made: Recipe) -> list[str]:
    """The files that a recipe names, of whose folders it knows nothing."""
    from walk.music import stem_of

    named = dict(made.flags)
    if "listen" in named and not stem_of(named["listen"]):
        del named["listen"]
    for name in NETWORKS:
        if "/" in named.get(name, "/") or named[name] in (flags.OWN, flags.NONE, flags.BLEND):  # the hub's, or no file
            named.pop(name, None)
    return [named[name] for name in ("audio", "beats", "listen", *NETWORKS) if name in named]


def told_walk(made: Recipe, count: int) -> Walk | None:
    """The walk that a film shows, as far as its recipe tells. count: of its frames."""
    carried = dict(made.flags)
    with contextlib.suppress(Error):
        keyframes, closed = read_lines(made.prompts), "loop" in carried
        if made.positions is None:
            # At one speed, it is found out while it is rendered when keyframes without a time come, and slow down.
            ease = "ease" in carried and carried.get("speed") != "constant"
            fps = carried.get("fps", rates.FPS)
            return Walk.through(keyframes, count, fps=fps, closed=closed, smooth=is_smooth(carried), ease=ease)
        if len(made.positions.path) == count:
            return Walk(keyframes, (), rates.FPS, closed).with_positions(*made.positions[:3])
    return None


def told_own_movement(made: Recipe, chosen: dict[str, Any]) -> str:
    """A note if prompts keep a pace or a pulse of their own although another is given for all; else ''."""
    keyframes = read_lines(made.prompts)
    for name in ("pace", "pulse"):
        own = sum(getattr(keyframe, name) is not None for keyframe in keyframes)
        if own and name in chosen:
            have = "prompt has" if own == 1 else "prompts have"
            keep = "which it keeps" if own == 1 else "which they keep"
            return f"{own} {have} a {name} of {'its' if own == 1 else 'their'} own, {keep}; walk info tells the prompts, to change them"
    return ""


def replayed(film: str, made: Recipe, chosen: dict[str, Any], another: bool = False) -> tuple[dict[str, Any], Again]:
    """The flags that make a film again, with those that were chosen in place of its recipe's; and what else is known of
    it. Raises Error for what would have to be moved, and cannot be. another: by another model, for which some of them
    were not meant."""
    path = Path(film)
    out = Path(chosen.get("out", path.with_name(f"{path.stem}-again{path.suffix}")))
    # 1. What is chosen takes the place of what contradicts it.
    carried = _carried(film, made, chosen, another)
    beats = carried.pop("beats", None)  # no path that a film names is opened
    keyframes = tuple(
        dataclasses.replace(it, image=images.moved(it.image, path.parent)) if it.image else it
        for it in read_lines(made.prompts)
    )
    carried = _without_contradictions(carried, chosen, keyframes)
    if chosen.get("interpolate") == 1:
        carried = _without(carried, "interpolator")
    if out.suffix.lower() != path.suffix.lower():  # another format may not have these
        carried = _without(carried, "codec", "quality")
    carried.setdefault("fps", rates.FPS)
    # 2. Its frames stay where they are, or are laid out anew.
    moved = bool(set(chosen) & set(flags.TIMING))
    has_times = any(keyframe.time is not None for keyframe in keyframes)
    if has_times and _is_stretched(carried, chosen, out):  # lest they move
        carried, moved = _without(carried, "frames") | {"seconds": carried["frames"] / carried["fps"]}, True
    if made.positions and RHYTHM & set(carried):
        moved |= formats.shown_fps(out, carried["fps"]) != carried["fps"]  # lest it leaves its tempo
    if made.positions and not moved and not made.positions.told:
        raise Error(f"{film} is too long to carry where its frames are; make it again by its own command or program")
    if moved and beats and not RHYTHM & set(chosen):
        raise Error(f"{film} moves to the beats in {beats}, which it does not carry; give that file as --beats")
    # 3. It moves to its own sound, which is that part already.
    if "audio" in carried and "audio" not in chosen:
        carried = _with_own_sound(film, carried, chosen, moved)
    if moved or not made.positions:
        carried = _without_lost_stem(film, carried, chosen, keyframes)
    if made.positions and moved and RHYTHM & set(carried):  # as long as the music is
        carried = _without(carried, "frames")
    _check_networks(film, made, carried, chosen)
    if beats and not moved:  # which the new film tells, too
        carried["beats"] = beats
    fixed = {"prompts": list(keyframes), "out": chosen.get("out", str(out))}
    positions = None if moved else made.positions
    if positions and chosen.get("interpolate", carried.get("interpolate")) != carried.get("interpolate"):
        positions = positions._replace(rendered=())
    again = Again(recipe.weights(made), recipe.upscaler(made), recipe.interpolator(made), positions)
    return carried | chosen | fixed, again


def _without(chosen: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if name not in names}


def _carried(film: str, made: Recipe, chosen: dict[str, Any], another: bool) -> dict[str, Any]:
    """The flags that a film carries, without those that were meant for another model. Raises Error if no command can load
    its model."""
    carried = {name: flags.ALL[name].parse(text) for name, text in made.flags}
    weights = recipe.weights(made)
    if weights and "model" not in chosen and not re.match("sha256 |commit ", weights):  # as `walk.hub.identity` says it
        raise Error(f"{film} is of a program's own model, '{carried.get('model')}'; run that program, or give --model")
    if another:
        usual = [name for name in NETWORKS if carried.get(name) == flags.OWN]
        if carried.get("model") == BUILT_IN and carried.get("interpolator") == flags.BLEND:  # which is usual only there
            usual.append("interpolator")
        return _without(carried, *OF_MODEL, *usual)
    if carried.get("model") == BUILT_IN:  # which walk has enlarged otherwise, before it told how
        carried.setdefault("upscale", flags.NONE)
    return carried


def _without_contradictions(
    carried: dict[str, Any], chosen: dict[str, Any], keyframes: Sequence[Keyframe]
) -> dict[str, Any]:
    """What a film carries, without what contradicts the flags that were chosen."""
    pairs = (*EXCLUSIVE, ("frames", "seconds"), ("frames", "bars"))
    replaced = {instead for a, b in pairs for name, instead in ((a, b), (b, a)) if chosen.get(name, False) is not False}
    carried = _without(carried, *replaced)
    if "react" not in chosen and used_paces(carried | chosen, keyframes) == {"even"}:
        carried = _without(carried, "react")
    if RHYTHM & set(chosen) and carried.get("speed") == "constant":
        carried = _without(carried, "speed")
    return carried


def _is_stretched(carried: dict[str, Any], chosen: dict[str, Any], out: Path) -> bool:
    """Whether the same number of frames takes another time, at another rate."""
    says_how_long = {"frames", "seconds"} & set(chosen) or RHYTHM & {*carried, *chosen}
    fps = formats.shown_fps(out, chosen.get("fps", carried["fps"]))
    return "frames" in carried and fps != carried["fps"] and not says_how_long


def _with_own_sound(film: str, carried: dict[str, Any], chosen: dict[str, Any], moved: bool) -> dict[str, Any]:
    """What a film carries, with its own sound as --audio; without any, if its frames stay and it has none."""
    if Path(film).suffix.lower() == ".gif":
        if moved:
            raise Error(f"{film} has no sound to move to; give the one that it was made with as --audio")
        return _without(carried, "audio", "listen")
    bar = _own_bar(film, carried) if moved and not {"offset", "beats"} & set(chosen) else None
    carried = _without(carried, "start", "bars", "offset", "seconds") | {"audio": film}
    return carried if bar is None else carried | {"offset": bar}


def _own_bar(film: str, carried: dict[str, Any]) -> Fraction | None:
    """Where in the film's own sound a bar begins, if its recipe says it of the sound from which that was taken."""
    if "bars" in carried:  # it begins on a bar line
        return Fraction(0)
    if "offset" not in carried:
        return None
    bar: Fraction = carried["offset"] - carried.get("start", 0)
    if bar < 0 and "bpm" in carried:
        bar %= carried.get("meter", METER) * 60 / carried["bpm"]
    if bar < 0:
        raise Error(
            f"{film} moves to bars that are counted from before it begins; give where in it a bar begins, as --offset"
        )
    return bar


def _without_lost_stem(
    film: str, carried: dict[str, Any], chosen: dict[str, Any], keyframes: Sequence[Keyframe]
) -> dict[str, Any]:
    """What a film carries, without --listen if nothing follows it any more. Raises Error for a stem that would have to be
    found, or put in its place in a sound that is but a part now."""
    from walk.music import stem_of

    listen = chosen.get("listen", carried.get("listen"))
    flags_then = carried | chosen
    if "energy" not in used_paces(flags_then, keyframes) and not pulses(flags_then, keyframes):
        return _without(carried, "listen")
    if listen and stem_of(listen) and not {"listen", "audio"} <= set(chosen):
        raise Error(
            f"{listen} is followed in the time of the sound that {film} was made with; give both, as --listen and "
            "--audio"
        )
    return carried


def _check_networks(film: str, made: Recipe, carried: dict[str, Any], chosen: dict[str, Any]) -> None:
    for name, done in NETWORKS.items():
        network = carried.get(name, flags.NONE)
        if name not in chosen and network in files_named(made) and not expanded(network, f"--{name}").is_file():
            otherwise = flags.NONE if name == "upscale" else flags.BLEND
            raise Error(
                f"{film} was {done} by {network}, which is not here, and films carry no folders; give --{name} PATH, or "
                f"{otherwise}"
            )
