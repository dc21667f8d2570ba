"""Which of diffusers' schedulers is meant, by its own name or by that of a sampler in other tools, and with which options.

Knows no models and no pictures.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from walk import Error

# As k-diffusion and the tools upon it call them (diffusers' page 'Schedulers', 'Noise schedules and schedule types').
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
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "sgmuniform": {"timestep_spacing": "trailing"},
    "": {},
}


class Sampler(NamedTuple):
    """A scheduler's class, and the options that differ from the model's."""

    kind: Any
    options: dict[str, Any]

    def __str__(self) -> str:
        """As `chosen` reads it: 'DPMSolverMultistepScheduler:use_karras_sigmas=true'."""
        options = ",".join(f"{name}={_written(value)}" for name, value in sorted(self.options.items()))
        return self.kind.__name__ + (f":{options}" if options else "")


def chosen(own: Any, others: Sequence[Any], text: str | None) -> Sampler:
    """The model's `own` scheduler class, or which of those that can stand in for it: 'Euler a', 'DPM++ 2M Karras',
    'dpmpp_2m_sde', 'DDIMScheduler', or with options 'DDIMScheduler:timestep_spacing=trailing'; ':shift=3.0' are the own
    one's.

    Raises Error for what is unknown or not among them.
    """
    if text is None:
        return Sampler(own, {})
    name, _, given = text.partition(":")
    able = {kind.__name__: kind for kind in others}
    kind, options = (own, {}) if not name.strip() else _named(name, able)
    if kind is None:
        fitting = _fitting_names(able)
        near = _nearest(name, fitting)
        meant = f"did you mean {near}? These fit" if near else "these fit"
        raise Error(f"scheduler '{name}' is unknown or does not fit this model; {meant}: {', '.join(fitting)}")
    parameters = inspect.signature(kind.__init__).parameters
    for option, value in (*options.items(), *(_option(each) for each in given.split(",") if each.strip())):
        usual = parameters[option].default if option in parameters else None
        if option not in parameters or option in _ARRAYS:
            known = [name for name in parameters if name not in ("self", "kwargs", *_ARRAYS)]
            raise Error(f"{kind.__name__} has no {option}; it has {', '.join(known)}")
        options = options | {option: _fitting(kind, option, value, usual)}
    return Sampler(kind, options)


def _named(name: str, able: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """(class, options); None if none of that name can stand in."""
    plain, samplers = _plain(name), {_plain(known): meant for known, meant in _SAMPLERS.items()}
    for schedule, options in _SCHEDULES.items():
        base = plain.removesuffix(schedule) if plain.endswith(schedule) else ""
        meant, more = samplers.get(base, (base, {}))
        for each, kind in able.items():
            whole = each.lower()
            if meant.lower() in (whole, whole.removesuffix("scheduler"), _short(each).lower()):
                return kind, more | options
    return None, {}


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name.lower()).replace("pp", "++")


def _short(name: str) -> str:
    """Of a class: Euler, DPMSolver, DDIM."""
    return re.sub("^FlowMatch|(Discrete|Multistep)?Scheduler$", "", name)


def _fitting_names(able: dict[str, Any]) -> list[str]:
    """One for each sampler that can stand in."""
    known = {name: kind for name, (kind, _) in _SAMPLERS.items() if kind in able and name != "DPM2 ancestral"}
    return [*known, *sorted(_short(name) for name in able if name not in known.values())]


def _nearest(name: str, known: Sequence[str]) -> str:
    """The one that was meant, maybe; '' if none is like it."""
    plain = _plain(_short(name))
    for schedule in filter(None, _SCHEDULES):  # of which any sampler may have one
        plain = plain.removesuffix(schedule)
    written = {_plain(each): each for each in known}
    near = difflib.get_close_matches(plain, written, n=1)
    return written[near[0]] if near else ""


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


def _fitting(kind: Any, option: str, value: Any, usual: Any) -> Any:
    """A value of the kind that the usual one is of, which may be None."""
    if isinstance(usual, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if usual is not None and type(value) is not type(usual):
        accepted = {bool: "true or false", int: "a whole number", float: "a number"}.get(type(usual), "a name")
        raise Error(f"{option} of {kind.__name__} is {accepted}, not {_written(value)}")
    return value


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
