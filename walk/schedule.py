"""A scheduler that keeps no GPU waiting: what it works out for a number of steps is kept from the first batch on.

To read a number that lies on a GPU, or to bring one there, waits until all is done that the GPU was given, and then the
GPU has nothing to do. diffusers' pipelines have their scheduler plan its steps anew at each call, and hand it timesteps
that lie on the GPU; several schedulers look something up by those at every step. Stochastic ones draw noise on the CPU,
and bring it.

Knows no models and no pictures.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

from torch import Tensor

from walk import Error


def keep(scheduler: Any) -> None:
    """Change one of diffusers' schedulers, so that it plans the same steps but once, and from then on finds its
    timesteps on the CPU, and its noise on the GPU. What it makes of a picture stays the same.

    A pipeline asks in the same order each time; what it hands over the first time is what is kept.
    Its methods raise Error for steps and models that it is not made for.
    """
    plans: dict[str, _Plan] = {}
    plan: _Plan  # the one that is followed

    drawing = _drawing(sys.modules[scheduler.step.__module__])

    def handed(method: str) -> Any:
        usual = getattr(scheduler, method)

        @functools.wraps(usual)
        def call(given: Tensor, timestep: Any, *args: Any, **more: Any) -> Any:
            scheduler.timesteps = plan.timesteps
            with _fits(scheduler), drawing():
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
                scheduler.set_begin_index(scheduler.index_for_timestep(scheduler.timesteps[0]))
            plans[wanted] = _Plan({name: value for name, value in vars(scheduler).items() if name not in ours})
        plan = plans[wanted]
        plan.begin(scheduler)

    ours = {name: handed(name) for name in ("scale_model_input", "step") if hasattr(scheduler, name)}
    ours["set_timesteps"] = planned
    for name, method in ours.items():
        setattr(scheduler, name, method)


@contextlib.contextmanager
def _fits(scheduler: Any) -> Iterator[None]:
    try:
        yield
    except (ArithmeticError, AssertionError, IndexError, TypeError, ValueError) as error:
        name, why = type(scheduler).__name__, str(error).rstrip(".") or type(error).__name__
        raise Error(
            f"{name} does not fit this model or its steps: {why}; try another --scheduler or --steps"
        ) from error


def _drawing(module: ModuleType) -> Callable[[], AbstractContextManager[None]]:
    """Within which a scheduler's module finds noise that it has drawn before: generators in the same state draw the same,
    and those of all pictures begin alike."""
    if not hasattr(module, "randn_tensor"):
        return contextlib.nullcontext
    draw, known = module.randn_tensor, {}

    def drawn(shape: Any, generator: Any = None, **how: Any) -> Tensor:
        generators = generator if isinstance(generator, list) else [generator]
        if None in generators:
            return draw(shape, generator=generator, **how)
        before = [bytes(each.get_state().numpy()) for each in generators]
        key = (tuple(shape), *how.items(), *before)
        if key not in known:
            known[key] = draw(shape, generator=generator, **how), [each.get_state() for each in generators]
        noise, after = known[key]
        for each, state in zip(generators, after):
            each.set_state(state)
        return noise

    @contextlib.contextmanager
    def drawing() -> Iterator[None]:
        module.randn_tensor = drawn  # type: ignore[attr-defined]
        try:
            yield
        finally:
            module.randn_tensor = draw  # type: ignore[attr-defined]

    return drawing


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
