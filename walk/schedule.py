"""A scheduler that keeps no GPU waiting: what it works out for a number of steps is kept from the first batch on.

To read a number that lies on a GPU, or to bring one there, waits until all is done that the GPU was given, and then the
GPU has nothing to do. diffusers' pipelines have their scheduler plan its steps anew at each call, and hand it timesteps
that lie on the GPU; several schedulers look something up by those at every step. Stochastic ones draw noise, which must
not be another in each frame: they are given it.

Knows no models and no pictures.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from walk import Error

# What a scheduler raises for steps and models that it is not made for. RuntimeError, too, where no model is at work that
# may find no room in memory.
_UNFIT = ArithmeticError, AssertionError, IndexError, TypeError, ValueError
REFUSALS = *_UNFIT, RuntimeError


def keep(scheduler: Any) -> Callable[[Iterable[Tensor]], None]:
    """Change one of diffusers' schedulers, so that it plans the same steps but once, and from then on finds its
    timesteps on the CPU. What it makes of a picture stays the same.

    A pipeline asks in the same order each time; what it hands over the first time is what is kept.
    Its methods raise Error for steps and models that it is not made for.

    Returns a function: give it the noise of the next pictures' steps, a tensor for each draw.
    """
    plans: dict[str, _Plan] = {}
    plan: _Plan  # the one that is followed

    module = _module(scheduler)
    noises: Iterator[Tensor] = iter(())
    draw = getattr(module, "randn_tensor", None)

    def drawn(shape: Any, *args: Any, device: Any = None, dtype: Any = None, **how: Any) -> Any:
        if (given := next(noises, None)) is not None:
            return given.reshape(shape).to(device, dtype)
        assert draw is not None
        return draw(shape, *args, device=device, dtype=dtype, **how)  # of which nobody knew; the same for all frames

    def handed(method: str) -> Any:
        usual = getattr(scheduler, method)

        @functools.wraps(usual)
        def call(given: Tensor, timestep: Any, *args: Any, **more: Any) -> Any:
            scheduler.timesteps = plan.timesteps
            with _fits(scheduler), _drawing(module, drawn):
                return usual(given, plan.here(method, timestep), *args, **more)

        return call

    set_timesteps = scheduler.set_timesteps

    @functools.wraps(set_timesteps)
    def planned(*args: Any, **more: Any) -> None:
        nonlocal plan
        wanted = repr((args, sorted(more.items())))
        if wanted not in plans:
            with _fits(scheduler):
                set_timesteps(*args, **more)
            if hasattr(scheduler, "set_begin_index") and scheduler.begin_index is None:
                scheduler.set_begin_index(0)  # it would look its first timestep up, which may be there twice
            plans[wanted] = _Plan({name: value for name, value in vars(scheduler).items() if name not in ours})
        plan = plans[wanted]
        plan.begin(scheduler)

    ours = {name: handed(name) for name in ("scale_model_input", "step") if hasattr(scheduler, name)}
    ours["set_timesteps"] = planned
    for name, method in ours.items():
        setattr(scheduler, name, method)

    def give(those: Iterable[Tensor]) -> None:
        nonlocal noises
        noises = iter(those)

    return give


@contextlib.contextmanager
def _fits(scheduler: Any) -> Iterator[None]:
    try:
        yield
    except _UNFIT as error:
        name, why = type(scheduler).__name__, str(error).rstrip(".") or type(error).__name__
        raise Error(
            f"{name} does not fit this model or its steps: {why}; try another --scheduler or --steps"
        ) from error


@contextlib.contextmanager
def _drawing(module: ModuleType, draw: Callable[..., Tensor]) -> Iterator[None]:
    """Within which a scheduler's module draws its noise so."""
    usual = getattr(module, "randn_tensor", None)
    if usual is None:
        yield
        return
    module.randn_tensor = draw  # type: ignore[attr-defined]
    try:
        yield
    finally:
        module.randn_tensor = usual  # type: ignore[attr-defined]


def _module(scheduler: Any) -> ModuleType:
    return sys.modules[type(scheduler).step.__module__]


def draws(scheduler: Any, steps: int) -> int:
    """How often one of diffusers' schedulers draws noise on the way of so many steps, as far as that can be told."""
    own = type(scheduler).from_config(scheduler.config)
    stepping, planning = (inspect.signature(method).parameters for method in (own.step, own.set_timesteps))
    if "generator" not in stepping:
        return 0
    count = 0

    def counted(shape: Any, *_: Any, **how: Any) -> Tensor:
        nonlocal count
        count += 1
        return torch.zeros(shape)

    more = {"eta": 0.0} if "eta" in stepping else {}
    whole = {"intermediate_timesteps": None} if "intermediate_timesteps" in planning and steps != 2 else {}
    sample = torch.zeros(1, 4, 8, 8)
    # Past its last step, or what it does not take: that is told when it is used.
    with contextlib.suppress(*REFUSALS), _drawing(_module(own), counted):
        own.set_timesteps(steps, **whole)
        for timestep in own.timesteps:
            if hasattr(own, "scale_model_input"):
                own.scale_model_input(sample, timestep)  # else some complain
            own.step(torch.zeros_like(sample), timestep, sample, generator=torch.Generator(), **more)
    return count


class _Plan:
    """What a scheduler is before its first step, and which timesteps it is handed, call by call."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state
        self.timesteps = state["timesteps"].cpu()
        self.known: dict[str, list[Any]] = {}
        self.calls: dict[str, int] = {}

    def begin(self, scheduler: Any) -> None:
        vars(scheduler).update({name: list(v) if isinstance(v, list) else v for name, v in self.state.items()})
        self.calls = {}

    def here(self, method: str, timestep: Any) -> Any:
        known = self.known.setdefault(method, [])
        call = self.calls[method] = self.calls.get(method, 0) + 1
        if call > len(known):
            known.append(timestep.cpu() if isinstance(timestep, Tensor) else timestep)
        return known[call - 1]
