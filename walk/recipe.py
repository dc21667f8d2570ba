"""What makes a film again, as text that travels in the film. A recipe is data: nothing in it is run or opened.

Knows no containers (walk.video puts the text there) and no flags' meanings (walk.flags checks them).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from walk import Error, __version__
from walk.keyframes import MAX_PROMPT, Keyframe
from walk.settings import Settings
from walk.text import as_flag, has_control_characters, quoted, together, without_exponent

FORMAT = "walk recipe 1"
MAX_TEXT = 8 << 20  # characters
MAX_LINE = 2 * MAX_PROMPT + 1000  # a prompt, a negative one, and settings
MAX_PROMPTS = 100_000
UNUSUAL = (
    "lora",
    "embedding",
    "clip_skip",
    "ip_adapter",
    "image_style",
    "decoder",
    "denoiser",
)  # told if they are not as usual


class Positions(NamedTuple):
    """Where a film's frames are on the path; their noise, where that is elsewhere; and how far that swings out. All empty
    if there are too many to carry. rendered: the indices of those that were, if others were interpolated."""

    path: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    pulse: tuple[float, ...] = ()
    rendered: tuple[int, ...] = ()

    @property
    def told(self) -> bool:
        return bool(self.path)


@dataclass(frozen=True)
class Recipe:
    """prompts: lines of a prompt file, each with all of its settings. flags: the command's, without
    their dashes. made_with: names and versions of what decided pixels beside these. positions: of a
    film that moves to music, or whose frames a program has put elsewhere (then without a --speed)."""

    prompts: tuple[str, ...]
    flags: tuple[tuple[str, str], ...]
    made_with: tuple[str, ...]
    positions: Positions | None = None


def compose(
    keyframes: tuple[Keyframe, ...],
    flags: Mapping[str, object],
    settings: Settings,
    positions: Positions | None = None,
) -> Recipe:
    """The recipe of a film. flags: those that decide the film, beside the settings'."""
    chosen = dict(flags)
    for name in ("model", "width", "height", "steps", "guidance", "scheduler", "dtype", "batch"):
        chosen[name] = getattr(settings, name)
    for name in UNUSUAL:
        if (value := getattr(settings, name)) != getattr(Settings, name):
            chosen[name] = value
    if settings.ip_adapter and settings.image_weight is not None:
        chosen["image_weight"] = settings.image_weight
    chosen["compile"] = "on" if settings.compile else "off"
    texts = tuple(
        (name, without_exponent(value) if isinstance(value, float) else str(value)) for name, value in chosen.items()
    )
    made_with = (f"walk {__version__}", settings.weights, *settings.software)
    return Recipe(tuple(map(_line, keyframes)), texts, made_with, positions)


def weights(made: Recipe) -> str:
    """The identity of the model that made it, as `walk.hub.identity` has it, or what a program says of its own; '' if
    it is not told."""
    return made.made_with[1] if made.made_with[1:] else ""


def upscaler(made: Recipe) -> str:
    """The digest of the network that enlarged its frames, if any did."""
    return _made_by(made, "upscaler ")


def interpolator(made: Recipe) -> str:
    """The digest of the network that interpolated frames, or what else did; '' if none are."""
    return _made_by(made, "interpolator ")


def _made_by(made: Recipe, what: str) -> str:
    told = next((text for text in made.made_with if text.startswith(what)), "")
    return told.removeprefix(what).partition(" ")[0]


def to_text(recipe: Recipe) -> str:
    data: dict[str, Any] = {
        "format": FORMAT,
        "prompts": recipe.prompts,
        "flags": dict(recipe.flags),
        "made_with": recipe.made_with,
    }
    if not recipe.positions:
        return json.dumps(data, ensure_ascii=False)
    path, noise, pulse, rendered = recipe.positions
    lists = {"positions": [path, noise, *[pulse] * bool(pulse)], **({"rendered": rendered} if rendered else {})}
    text = json.dumps(data | lists, ensure_ascii=False)
    return text if len(text) <= MAX_TEXT else json.dumps(data | {"positions": Positions()[:2]}, ensure_ascii=False)


def from_text(text: str, where: str) -> Recipe:
    """Raises Error for whatever `to_text` would not write; `where` names the film."""
    if not text.strip():
        raise Error(f"{where} carries no recipe: it was made by something else, re-encoded, or with --no-metadata")
    try:
        data = json.loads(text) if len(text) <= MAX_TEXT else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise Error(f"{where} carries a comment, but not a recipe that this version of walk knows")
    prompts, flags, made_with = (data.get(name) for name in ("prompts", "flags", "made_with"))
    if not isinstance(prompts, list) or not isinstance(flags, dict) or not isinstance(made_with, list):
        raise Error(f"{where}: the recipe is damaged: prompts, flags or made_with is missing")
    texts = [*prompts, *flags, *flags.values(), *made_with]
    if not 0 < len(prompts) <= MAX_PROMPTS or not all(
        isinstance(text, str) and len(text) <= MAX_LINE for text in texts
    ):
        raise Error(f"{where}: the recipe is damaged: it holds something other than short texts")
    strange = next((text for text in texts if has_control_characters(text)), None)
    if strange is not None:
        raise Error(f"{where}: the recipe is damaged: {strange[:60]!a} has control characters")
    return Recipe(tuple(prompts), tuple(flags.items()), tuple(made_with), _positions(data, len(prompts), where))


def _positions(data: dict[str, Any], keyframes: int, where: str) -> Positions | None:
    if "positions" not in data:
        return None
    closed = "loop" in data["flags"]
    lists = data["positions"]
    if lists == [[], []]:
        return Positions()
    if not (
        isinstance(lists, list)
        and [type(some) for some in lists] in ([list] * 2, [list] * 3)
        and str(len(lists[0])) == data["flags"].get("frames")
        and {len(some) for some in lists[1:]} <= {0, len(lists[0])}
        and all(type(x) in (int, float) and 0 <= x <= keyframes - 1 + closed for some in lists[:2] for x in some)
        and all(type(x) in (int, float) and 0 <= x <= 1 for some in lists[2:] for x in some)
        and not (closed and keyframes in lists[0] + lists[1])
        and "fps" in data["flags"]
    ):
        raise Error(f"{where}: the recipe is damaged: positions are not places of its frames among the keyframes")
    rendered = data.get("rendered", [])
    last = len(lists[0]) - 1
    if not (
        isinstance(rendered, list)
        and all(type(it) is int and 0 <= it <= last for it in rendered)
        and rendered == sorted({*rendered, *([] if closed else [last]), 0} if rendered else [])
    ):
        raise Error(f"{where}: the recipe is damaged: rendered are not frames of it, in order, from the first on")
    path, noise, pulse = (tuple(map(float, some)) for some in [*lists, []][:3])
    return Positions(path, noise, pulse, tuple(rendered))


def as_prompt_file(recipe: Recipe, name: str, files: Sequence[str] = ()) -> str:
    """A prompt file that says in its comments how to make the film again. files: named in the flags without folders."""
    flags = [
        as_flag(name)
        if value == "True"
        else f"{as_flag(name)}={quoted(value)}"
        if value[:1] == "-"
        else f"{as_flag(name)} {quoted(value)}"
        for name, value in recipe.flags
    ]
    command = f"walk --prompts{'=' if name[:1] == '-' else ' '}{quoted(name)} "
    if recipe.positions and "speed" not in dict(recipe.flags):
        command = "frames are where a program has put them, which only walk replay does again; with "
    told = [f"made with {', '.join(recipe.made_with)}", f"{command}{' '.join(flags)}"]
    if files:
        them = "its folder" if len(files) == 1 else "their folders"
        told.append(f"a film carries no folders: run this beside {together(files)}, or write {them}, too")
    # A name may have a line break.
    return "\n".join([*(f"# {line}" for line in "\n".join(told).splitlines()), *recipe.prompts])


def differences(a: Recipe, b: Recipe) -> list[str]:
    """What differs, a line each: '-' for what only a has, '+' for b; keyframes are numbered from 1."""
    lines = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a.prompts, b.prompts).get_opcodes():
        if kind != "equal":
            lines += [f"- keyframe {n + 1}: {a.prompts[n]}" for n in range(i, j)]
            lines += [f"+ keyframe {n + 1}: {b.prompts[n]}" for n in range(k, m)]
    one, other = dict(a.flags), dict(b.flags)
    for name in [*one, *(name for name in other if name not in one)]:
        same = name == "model" and a.made_with[1:2] == b.made_with[1:2]  # its weights, wherever they lie
        if one.get(name) != other.get(name) and not same:
            lines += [f"- {as_flag(name)} {one[name]}"] if name in one else []
            lines += [f"+ {as_flag(name)} {other[name]}"] if name in other else []
    if not lines and a.positions != b.positions:
        lines.append("the frames are elsewhere on the path, as with another sound")
    lines += [f"- made with {text}" for text in a.made_with if text not in b.made_with]
    lines += [f"+ made with {text}" for text in b.made_with if text not in a.made_with]
    return lines


def _line(keyframe: Keyframe) -> str:
    settings = [f"seed={keyframe.seed}"]
    for name, time in (("time", keyframe.time), ("until", keyframe.until)):
        if time is not None:
            settings.append(f"{name}={without_exponent(time)}")
    if keyframe.pace is not None:
        settings.append(f"pace={keyframe.pace}")
    if keyframe.pulse is not None:
        settings.append(f"pulse={without_exponent(keyframe.pulse)}")
    if keyframe.negative_prompt:
        settings.append(f"negative={keyframe.negative_prompt}")
    if keyframe.image is not None:
        settings.append(f"image={keyframe.image}")
    return " | ".join([keyframe.prompt, *settings])
