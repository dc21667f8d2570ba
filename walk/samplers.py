"""Which of diffusers' schedulers is meant, by its own name or by a sampler's in other tools, and with which options.

Knows no models and no pictures.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from walk import Error
from walk.text import together

# As k-diffusion and the tools built on it name them (diffusers' page 'Schedulers', 'Noise schedules and schedule types').
_SDE: dict[str, Any] = {"algorithm_type": "sde-dpmsolver++"}
_SAMPLERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Euler a": ("EulerAncestralDiscreteScheduler", {}),
    "DPM2": ("KDPM2DiscreteScheduler", {}),
    "DPM2 a": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM2 ancestral": ("KDPM2AncestralDiscreteScheduler", {}),
    "DPM++ SDE": ("DPMSolverSinglestepScheduler", {}),
    "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
    "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", _SDE),
    "DPM++ 3M SDE": ("DPMSolverMultistepScheduler", _SDE | {"solver_order": 3}),
    "PLMS": ("PNDMScheduler", {"skip_prk_steps": True}),
}
_ARRAYS = ("trained_betas", "disable_corrector")  # which no flag can name
_SCHEDULES: dict[str, dict[str, Any]] = {
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
    "Beta": {"use_beta_sigmas": True},
    "SGM Uniform": {"timestep_spacing": "trailing"},
    "Simple": {"timestep_spacing": "trailing"},
}
_OTHER_SCHEDULES = ("automatic", "normal", "uniform", "polyexponential", "alignyoursteps", "kloptimal")


class Sampler(NamedTuple):
    """A scheduler's class, and the options that differ from the model's."""

    kind: Any  # the class
    options: dict[str, Any]

    def __str__(self) -> str:
        """As `chosen` reads it: 'DPMSolverMultistepScheduler:use_karras_sigmas=true'."""
        options = ",".join(f"{name}={_written(value)}" for name, value in sorted(self.options.items()))
        return self.kind.__name__ + (f":{options}" if options else "")


def chosen(own: Any, others: Sequence[Any], text: str | None) -> Sampler:
    """The model's `own` scheduler class, or which of those that can stand in for it: 'Euler a', 'DPM++ 2M Karras',
    'dpmpp_2m_sde', 'DDIMScheduler', or with options 'DDIMScheduler:timestep_spacing=trailing'. Without a name, as in
    ':shift=3.0', options are those of its own.

    Raises Error for what is unknown or not among them.
    """
    if text is None:
        return Sampler(own, {})
    name, _, options_text = text.partition(":")
    classes = {kind.__name__: kind for kind in others}
    kind, options = (own, {}) if not name.strip() else _named(name, classes)
    if kind is None:
        fitting = _fitting_names(classes)
        near = _nearest(name, fitting)
        meant = f"did you mean {near}? These fit" if near else "these fit"
        raise Error(
            f"scheduler '{name}' is unknown or does not fit this model; {meant}: {', '.join(fitting)}{_of_schedules(name)}"
        )
    parameters = inspect.signature(kind.__init__).parameters
    for option, value in (*options.items(), *(_option(each) for each in options_text.split(",") if each.strip())):
        if option not in parameters or option in _ARRAYS:
            known = [name for name in parameters if name not in ("self", "kwargs", *_ARRAYS)]
            raise Error(f"{kind.__name__} has no {option or 'option without a name'}; it has {', '.join(known)}")
        options = options | {option: _converted(kind, option, value, parameters[option].default)}
    return Sampler(kind, options)


def _named(name: str, classes: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(class, options); None if none of that name can stand in."""
    normalised, samplers = _normalised(name), {_normalised(known): meant for known, meant in _SAMPLERS.items()}
    schedules = {_normalised(known): meant for known, meant in _SCHEDULES.items()}
    for schedule, schedule_options in (schedules | {"": {}}).items():
        base = normalised.removesuffix(schedule) if normalised.endswith(schedule) else ""
        meant, options = samplers.get(base, (base, {}))
        for full, kind in classes.items():
            if meant.lower() in (full.lower(), full.lower().removesuffix("scheduler"), _short(full).lower()):
                by_itself = schedule == "simple" and full.startswith("FlowMatch")  # whose steps are these anyway
                return kind, options | ({} if by_itself else schedule_options)
    return None, {}


def _of_schedules(name: str) -> str:
    """What to say of a schedule that has no sampler before it, or is none; the end of a sentence."""
    normalised = _normalised(name)
    if normalised in map(_normalised, _SCHEDULES):
        return "; a schedule stands after one of these, as in 'DPM++ 2M Karras'"
    return f"; of schedules there are {together([*_SCHEDULES])}" * normalised.endswith(_OTHER_SCHEDULES)


def _normalised(name: str) -> str:
    """By which two spellings of a sampler's name are the same: 'DPM++ 2M SDE' and 'dpmpp_2m_sde'."""
    return re.sub(r"[\s_-]", "", name.lower()).replace("pp", "++")


def _short(name: str) -> str:
    """A class's name without what many of them share: Euler, DPMSolver, DDIM."""
    return re.sub("^FlowMatch|(Discrete|Multistep)?Scheduler$", "", name)


def _fitting_names(classes: dict[str, Any]) -> list[str]:
    """One name for each sampler of these classes."""
    known = {name: kind for name, (kind, _) in _SAMPLERS.items() if kind in classes and name != "DPM2 ancestral"}
    return [*known, *sorted(_short(name) for name in classes if name not in known.values())]


def _nearest(name: str, known: Sequence[str]) -> str:
    """The one that was probably meant; '' if none is like it."""
    normalised = _normalised(_short(name))
    for schedule in (*map(_normalised, _SCHEDULES), *_OTHER_SCHEDULES):  # any sampler may have one
        normalised = normalised.removesuffix(schedule)
    spelled = {_normalised(each): each for each in known}
    near = difflib.get_close_matches(normalised, spelled, n=1)
    return spelled[near[0]] if near else ""


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals:
        raise Error(
            f"'{text.strip()}' is not an option of a scheduler; options are written use_karras_sigmas=true,solver_order=3"
        )
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            pass
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _converted(kind: Any, option: str, value: Any, usual: Any) -> Any:
    """The value in the type of the usual one. Raises Error for another type, unless the usual one is None."""
    if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if usual is not None and type(value) is not type(usual):
        accepted = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(usual), "a name")
        raise Error(f"{option} of {kind.__name__} is {accepted}, not {_written(value)}")
    return value


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
