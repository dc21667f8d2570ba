"""What the machine allows: its devices, the dtypes that they compute in, and how much fits into their memory.

Knows no pipelines and no prompts.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from walk import Error
from walk.settings import Settings

SPARE = 2.5e9  # bytes to leave free on a GPU beside the text encoders
LARGE = 0.6  # a part of more than so much of a GPU's memory hardly fits beside what works with it
KERNELS = 0.5e9  # bytes that libraries take on a GPU with the first pictures, and that torch does not count
# Gigabytes for each 512x512 picture that a VAE decodes in float32, and for all else: SDXL's took 15.04 for sixteen of
# them on an H100; its UNet holds 5.5.
WIDE_EACH, WIDE_BESIDE = 0.95, 7


def devices() -> list[tuple[str, str, str]]:
    """(name, description, the dtype that it would use) of every device of this machine, the preferred one first."""
    rows = []
    for name in _devices():
        if name.startswith("cuda"):
            properties = torch.cuda.get_device_properties(name)
            about = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
        else:
            about = f"{torch.get_num_threads()} threads" if name == "cpu" else "Apple GPU"
        rows.append((name, about, dtype(Settings(device=name))))
    return rows


def release(device: str) -> None:
    """Give back the memory of a GPU that torch keeps, but nobody uses."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def wait(device: str) -> None:
    """Wait until a device has done everything that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


def _devices() -> list[str]:
    cuda = [name for name in _gpus() if not _lacks_kernels(name)]
    return [*cuda, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def _gpus() -> list[str]:
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


def unusable() -> dict[str, str]:
    """Why GPUs of this machine cannot be used, and what to do about it, by name."""
    remedy = "; install another build of torch (pytorch.org)"
    return {name: why + remedy for name in _gpus() if (why := _lacks_kernels(name))}


def _lacks_kernels(name: str) -> str:
    """Why this torch cannot run on a GPU; '' if it can.

    Its kernels are for some generations of GPUs: compiled for one ('sm_80'), which run on later ones of the same major
    version, too, or in a form that any later one can compile ('compute_90'). (NVIDIA's CUDA C++ Programming Guide,
    'Binary Compatibility' and 'PTX Compatibility'.)"""
    built_for = [] if torch.version.hip else torch.cuda.get_arch_list()
    if not built_for:
        return ""
    gpu = torch.cuda.get_device_properties(name)
    for form, major, minor in re.findall(r"(sm|compute)_(\d+)(\d)", " ".join(built_for)):
        if (int(major), int(minor)) <= (gpu.major, gpu.minor) and (form == "compute" or int(major) == gpu.major):
            return ""
    others = ", ".join(built_for)
    return f"torch {torch.__version__} was not built for {name}, a {gpu.name} (sm_{gpu.major}{gpu.minor}, not {others})"


def device(name: str) -> str:
    """The device that a name means: for 'auto', the best one. Raises Error for one that this machine lacks, or that
    torch cannot use."""
    if name == "cpu":  # without waking the GPUs
        return name
    usable = _devices()
    if name == "auto":
        return usable[0].removesuffix(":0")  # not always cuda:0, which may be unusable
    if name not in usable and f"{name}:0" not in usable:
        reasons = unusable()
        why = reasons.get(name) or reasons.get(f"{name}:0")
        raise Error(why or f"there is no device {name} here; there is {', '.join(usable)}")
    return name


def dtype(settings: Settings, fast: str = "float16") -> str:
    """The dtype that the settings name, or else `fast`, of half the bytes, where it is fast. On CPUs float32: only on
    recent ones is bfloat16 faster, and it moves each pixel by half a level on average."""
    if settings.dtype != "auto":
        return settings.dtype
    if not settings.device.startswith("cuda"):
        return "float32"
    return "float32" if fast == "bfloat16" and not _has_bfloat16(settings.device) else fast


def _has_bfloat16(device: str) -> bool:
    """Whether a GPU computes in bfloat16. Those before Ampere (T4, V100, RTX 20) only emulate it, in float32.

    They have float16, but it is no substitute: what was trained in bfloat16 overflows in it. Z-Image and Flux
    came out black (Z-Image#14, diffusers#9096), and diffusers' page on Flux keeps the text encoders in float32. Whoever
    knows that a model can do with it says --dtype float16.
    """
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def encoder_device(device: str, encoders: Sequence[Any]) -> str:
    """Where the text encoders work: on the CPU if a GPU is smaller than they are, as one of 8 GB is for T5-XXL.

    This is a rule rather than a trial, whatever else fills the GPU today: a CPU's embeddings differ in their last
    bits, and a film that is resumed needs those with which it was begun.
    """
    if not device.startswith("cuda"):
        return device
    return device if _bytes(*encoders) + SPARE <= torch.cuda.get_device_properties(device).total_memory else "cpu"


def _bytes(*parts: torch.nn.Module) -> int:
    return sum(tensor.nbytes for part in parts for tensor in part.parameters())


def is_large(device: str, part: Any) -> bool:
    """Whether a part leaves hardly enough of a GPU's memory for what works with it."""
    return _bytes(part) > LARGE * torch.cuda.get_device_properties(device).total_memory


def batch(settings: Settings, guided: bool, wide: bool = False) -> int:
    """How many frames to denoise at a time: by picture size; on GPUs, where a few rows take as long as several, by
    their memory, too, and by whether a picture is denoised twice, for guidance. A batch that is too large is halved
    when it is tried.

    wide: the VAE decodes in float32, in which it needs more memory than the denoiser.
    """
    pixels = (settings.width or 512) * (settings.height or 512)
    budget, most = 4 * 512 * 512, 8  # pixels and frames of a batch
    if settings.device.startswith("cuda"):
        gigabytes = torch.cuda.get_device_properties(settings.device).total_memory / 1e9
        if gigabytes > 14:
            budget *= (2 if gigabytes < 30 else 4) * (1 if guided else 2)
            most = 8 if guided else 16
            if wide:
                budget = min(budget, int((gigabytes - WIDE_BESIDE) / WIDE_EACH) * 512 * 512)
    return max(1, min(most, budget // pixels))


def reset_peak(device: str) -> None:
    """Start anew to measure the peak memory that `has_room` goes by."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def has_room(device: str) -> bool:
    """Whether a GPU has room for twice what its work took at the peak, since `reset_peak`, beside what it holds now:
    for that work, and for as much again."""
    free, held = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_allocated(device)
    peak = torch.cuda.max_memory_allocated(device) - held
    return free + torch.cuda.memory_reserved(device) - held > 2 * peak


@contextlib.contextmanager
def out_of_memory_as(error: Error) -> Iterator[None]:
    """Raise this error where something within runs out of memory."""
    try:
        yield
        return
    except RuntimeError as cause:
        if not is_out_of_memory(cause):
            raise
    raise error  # here, where the cause no longer holds what fills the memory


def make_deterministic(device: str) -> None:
    """Let an NVIDIA GPU compute the same bits in every run, and run out of memory, rather than slow down, when full."""
    if not device.startswith("cuda"):
        return
    # The fastest algorithm may differ from run to run, and with it the last bit.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    _keep_to_memory(device)


def _keep_to_memory(device: str) -> None:
    """Let torch raise an error for more memory than is free now: on Windows, NVIDIA's driver would rather use the
    computer's memory, which is ten times slower, than say that a GPU's is full (its 'CUDA - Sysmem Fallback
    Policy')."""
    if sys.platform == "win32":
        free, total = torch.cuda.mem_get_info(device)
        ours = torch.cuda.memory_reserved(device)
        torch.cuda.set_per_process_memory_fraction(
            max(0.0, (free + ours - KERNELS) / total), torch.device(device).index
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """The class alone does not tell: CPUs, Apple's GPUs and cuBLAS only say it in words, and cuDNN says that it has no
    way to compute what it finds no room for."""
    in_words = re.search(
        "out of memory|not enough memory|allocate memory|Invalid buffer size|ALLOC_FAILED|STATUS_NOT_INITIALIZED"
        "|unable to find an engine",
        str(error),
    )
    return isinstance(error, torch.OutOfMemoryError) or bool(in_words)


def copy_to_cpu(tensor: Tensor) -> Callable[[], Tensor]:
    """A function that waits for a tensor's copy on the CPU. From an NVIDIA GPU it is on its way at once, before the GPU
    gets more to do."""
    if tensor.device.type != "cuda":
        copy = tensor.cpu()
        return lambda: copy
    copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copy.copy_(tensor, non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # waits asleep
    arrived.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        arrived.synchronize()
        return copy

    return wait


_PROCESS: list[int] = []  # the first one that loaded a model: this process, or the one that it was forked from


def check_process() -> None:
    """Raise Error in a process forked from one that had loaded a model: it would wait for threads that it lacks."""
    if not _PROCESS:
        _PROCESS.append(os.getpid())
    if _PROCESS[0] != os.getpid():
        raise Error(
            "this process was forked from one that has loaded a model already, and would wait for ever for torch's threads; start "
            "it otherwise, as multiprocessing.get_context('spawn') does"
        )
