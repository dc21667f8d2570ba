"""A simulated device, 'elsewhere', in main memory: what would run on a GPU runs there, with a CPU's results.

As on a GPU, tensors of two devices must not meet; and wherever the program has to wait for the device, the line is
noted. It is a program of its own, since torch cannot give a device up: python elsewhere.py FAMILY ... prints, as JSON,
for each family by how many levels its pictures differ from a CPU's, and at which lines a model's film waits, which has begun.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import json
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch.utils import backend_registration

NAME = "elsewhere"
CPU = torch.device("cpu")
aten = torch.ops.aten
READ = (aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default)
waits: collections.Counter[str] = collections.Counter()


class Device(str):
    """The device's name, which our code takes for that of an NVIDIA GPU."""

    __slots__ = ()

    def startswith(self, prefix, *_):
        return prefix == "cuda"


class DeviceTensor(torch.Tensor):
    """A tensor on the device; `twin` is the CPU's tensor that holds its numbers."""

    @staticmethod
    def __new__(cls, twin):
        more = {"dtype": twin.dtype, "layout": twin.layout, "device": torch.device(NAME, 0)}
        offset = twin.storage_offset()
        tensor = torch.Tensor._make_wrapper_subclass(cls, twin.shape, twin.stride(), offset, **more)
        tensor.twin = twin
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, *args, **(kwargs or {}))

    def tolist(self):
        note_wait()
        return self.twin.tolist()


def note_wait():
    """Count a wait for the innermost line that is neither torch's nor this file's."""
    frames = [frame for frame in traceback.extract_stack() if "/torch/" not in frame.filename]
    *_, frame = (frame for frame in frames if frame.filename != __file__)
    *_, name = frame.filename.split("site-packages/")
    waits[f"{name}: {frame.line}"] += 1


def on_device(twin):
    with torch.inference_mode(False):  # else no views could be taken of it outside
        return DeviceTensor(twin)


def leaves(value):
    """The values in nested tuples, lists and dicts. (torch's own tree functions take half of all the time.)"""
    if not isinstance(value, (tuple, list, dict)):
        return [value]
    return [leaf for each in (value.values() if isinstance(value, dict) else value) for leaf in leaves(each)]


def mapped(change, kind, value):
    """The same nested values, with those of this kind changed."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {name: mapped(change, kind, each) for name, each in value.items()}
    return type(value)([mapped(change, kind, each) for each in value]) if type(value) in (tuple, list) else value


@functools.cache
def is_composite(func):
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")


def run(func, *args, device=None, **kwargs):
    if func is aten._has_compatible_shallow_copy_type.default:
        return isinstance(args[0], DeviceTensor) == isinstance(args[1], DeviceTensor)
    if is_composite(func):
        return func.decompose(*args, **kwargs | ({} if device is None else {"device": device}))
    tensors = [value for value in leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, DeviceTensor)]
    if func is aten.copy_.default:
        to_device, *asynchronous = isinstance(args[0], DeviceTensor), *args[2:], kwargs.get("non_blocking")
        if len(ours) == 1 and not (to_device and any(asynchronous)):
            note_wait()
    else:
        to_device = bool(ours) if device is None else torch.device(device).type == NAME
        if func in READ or (ours and not to_device):
            note_wait()
        others = [tensor for tensor in tensors if tensor.ndim and not isinstance(tensor, DeviceTensor)]
        if ours and others and func is not aten._to_copy.default:
            shapes = [tuple(each.shape) for each in others]
            raise RuntimeError(f"{func} was given tensors on the device, and others on the CPU, {shapes}")
    kwargs |= {} if device is None else {"device": CPU}
    kwargs |= {"pin_memory": False} if kwargs.get("pin_memory") else {}
    args, kwargs = mapped(lambda tensor: tensor.twin, DeviceTensor, (args, kwargs))
    by_twin = {id(tensor.twin): tensor for tensor in ours}
    result = func(*args, **kwargs)
    if not to_device:
        return result
    return mapped(lambda each: by_twin[id(each)] if id(each) in by_twin else on_device(each), torch.Tensor, result)


class Module(backend_registration._DummyBackendModule):
    def get_amp_supported_dtype(self):
        return [torch.float16, torch.bfloat16]


def install():
    """Make the device known to torch. Returns what has to be kept, so that it stays known."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, Module())
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch._C._set_only_lift_cpu_tensors(True)  # else torch.tensor would bypass `run`
    every, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    every.fallback(run, "PrivateUse1")
    for name in ("default", "start", "start_step"):  # torch would make these grow, which ours cannot
        func = getattr(aten.arange, name)

        def arange(*args, func=func, device=None, pin_memory=None, **kwargs):
            return on_device(func(*args, **kwargs))

        some.impl(func.name().removeprefix("aten::"), arange, "PrivateUse1")
    return every, some


def films(name):
    """(by how many levels a film of the device's differs from a CPU's, lines at which the second film waits). name: of
    a family; with ' --low_memory', or with ' --low_memory small' on a device that is smaller than the denoiser."""
    from oracle import levels
    from test_families import BUILDERS, KEYFRAMES, SIZE, film

    from walk import Settings, Walk, loading, machine, models

    name, _, sparing = name.partition(" ")
    folder = BUILDERS[name](Path(tempfile.mkdtemp()))
    walk = dataclasses.replace(Walk.through(KEYFRAMES, frames=4), pulse=(0.0, 0.5, 1.0, 0.2))
    settings = models.complete(Settings(model=str(folder), device="cpu", steps=2, batch=2, **SIZE))
    pipe, _ = loading.load(folder, settings)
    here = copy.copy(pipe)
    here.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
    with mock.patch.object(loading, "load", return_value=(here, [])):
        expected = film(models.load(settings), walk)
    object.__setattr__(settings, "device", Device(NAME))
    object.__setattr__(settings, "low_memory", bool(sparing))
    with (
        mock.patch.object(loading, "load", return_value=(pipe, [])),
        mock.patch.object(torch.cuda, "get_device_properties", return_value=SimpleNamespace(total_memory=8 * 10**9)),
        mock.patch.object(machine, "reset_peak"),
        mock.patch.object(machine, "is_large", return_value="small" in sparing),
    ):
        model = models.load(settings)
        film(model, walk, [0, 1])  # a batch, which needs all three prompts
        waits.clear()
        found = film(model, walk)
    return int(max(levels(found[index], expected[index]) for index in expected)), dict(waits)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kept = install()
    print(json.dumps({name: films(name) for name in sys.argv[1:]}))
