"""What the machine allows: its devices, what they compute in, and how much finds room in their memory.

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
LARGE = 0.6  # of a GPU's memory
KERNELS = 0.5e9  # bytes that libraries take on a GPU with the first pictures, and torch does not count
# Gigabytes: a float32 VAE of SDXL took 15.04 for sixteen pictures of 512x512 on an H100; its UNet holds 5.5.
WIDE_EACH, WIDE_BESIDE = 0.95, 7


def devices() -> list[tuple[str, str, str]]:
    """(name, what it is, the dtype that it would use) of every device here, the preferred one first."""
    found = []
    for name in _devices():
        if name.startswith("cuda"):
            properties = torch.cuda.get_device_properties(name)
            about = f"{properties.name}, {properties.total_memory / 1e9:.0f} GB"
        else:
            about = f"{torch.get_num_threads()} threads" if name == "cpu" else "Apple GPU"
        found.append((name, about, dtype(Settings(device=name))))
    return found


def release(device: str) -> None:
    """Let others have what torch keeps of a GPU's memory, and nobody uses."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def wait(device: str) -> None:
    """Until everything that was begun there is done."""
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
    """Why GPUs that are here cannot be used, by name, and what to do."""
    remedy = "; install another build of torch (pytorch.org)"
    return {name: why + remedy for name in _gpus() if (why := _lacks_kernels(name))}


def _lacks_kernels(name: str) -> str:
    """torch brings its kernels for some generations of GPUs: compiled for one ('sm_80'), which runs on later ones of its
    major version, too, or for any later one to compile ('compute_90'). (NVIDIA's CUDA C++ Programming Guide, 'Binary
    Compatibility' and 'PTX Compatibility'.)"""
    brought = [] if torch.version.hip else torch.cuda.get_arch_list()
    if not brought:
        return ""
    gpu = torch.cuda.get_device_properties(name)
    for form, major, minor in re.findall(r"(sm|compute)_(\d+)(\d)", " ".join(brought)):
        if (int(major), int(minor)) <= (gpu.major, gpu.minor) and (form == "compute" or int(major) == gpu.major):
            return ""
    brings = ", ".join(brought)
    return f"torch {torch.__version__} was not built for {name}, a {gpu.name} (sm_{gpu.major}{gpu.minor}, not {brings})"


def device(name: str) -> str:
    """The device that a name means, 'auto' being the best one here. Raises Error for one that is not here, or that
    torch cannot use."""
    if name == "cpu":  # which need not wake the others
        return name
    kinds = _devices()
    if name == "auto":
        return kinds[0].removesuffix(":0")  # of several GPUs, the first may be of no use
    if name not in kinds and f"{name}:0" not in kinds:
        useless = unusable()
        why = useless.get(name) or useless.get(f"{name}:0")
        raise Error(why or f"there is no device {name} here; there is {', '.join(kinds)}")
    return name


def dtype(settings: Settings, fast: str = "float16") -> str:
    """Half the bytes where that is fast. On CPUs float32: bfloat16 needs recent ones to be faster,
    and moves each pixel by half a level on average."""
    if settings.dtype != "auto":
        return settings.dtype
    if not settings.device.startswith("cuda"):
        return "float32"
    return "float32" if fast == "bfloat16" and not _knows_bfloat16(settings.device) else fast


def _knows_bfloat16(device: str) -> bool:
    """GPUs before Ampere (T4, V100, RTX 20) only emulate it, in float32.

    Not float16 in its place, though these have that: what was trained in bfloat16 overflows in it. Z-Image and Flux
    came out black (Z-Image#14, diffusers#9096), and diffusers' page on Flux keeps the text encoders in float32. Whoever
    knows that a model can, says --dtype float16.
    """
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


def reader(device: str, encoders: Sequence[Any]) -> str:
    """Where prompts are read: on the CPU if a GPU is smaller than the text encoders, as one of 8 GB is for T5-XXL.

    By a rule rather than by trying, whatever else fills the GPU today: the embeddings that a CPU makes are others in
    their last bits, and a film that is gone on with needs those with which it was begun.
    """
    if not device.startswith("cuda"):
        return device
    return device if _bytes(*encoders) + SPARE <= torch.cuda.get_device_properties(device).total_memory else "cpu"


def _bytes(*parts: Any) -> int:
    return sum(tensor.nbytes for part in parts for tensor in part.parameters())


def is_large(device: str, part: Any) -> bool:
    """Whether what works with a part would hardly find room beside it on a GPU."""
    return _bytes(part) > LARGE * torch.cuda.get_device_properties(device).total_memory


def batch(settings: Settings, guided: bool, wide: bool = False) -> int:
    """By picture size; on GPUs by their memory, too, and by whether a picture is denoised twice, for guidance: there
    few rows at a time take as long as several. Whatever is too much is halved when it is tried.

    wide: what decodes does so in float32, in which it needs more memory than what denoises.
    """
    pixels = (settings.width or 512) * (settings.height or 512)
    frames, most = 4 * 512 * 512, 8
    if settings.device.startswith("cuda"):
        gigabytes = torch.cuda.get_device_properties(settings.device).total_memory / 1e9
        if gigabytes > 14:
            frames *= (2 if gigabytes < 30 else 4) * (1 if guided else 2)
            most = 8 if guided else 16
            if wide:
                frames = min(frames, int((gigabytes - WIDE_BESIDE) / WIDE_EACH) * 512 * 512)
    return max(1, min(most, frames // pixels))


def forget_most(device: str) -> None:
    """What `has_room` goes by, from now on."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def has_room(device: str) -> bool:
    """Whether a GPU has room for once more of what it held at the most, since that was forgotten, beside what it
    holds."""
    free, taken = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_allocated(device)
    most = torch.cuda.max_memory_allocated(device) - taken
    return free + torch.cuda.memory_reserved(device) - taken > 2 * most


@contextlib.contextmanager
def room(otherwise: Error) -> Iterator[None]:
    """Raise this error where what is done within finds no room."""
    try:
        yield
        return
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    raise otherwise  # here, where the other error no longer holds what fills the memory


def steady(device: str) -> None:
    """What an NVIDIA GPU computes is the same in every run, and out of memory where it is full."""
    if not device.startswith("cuda"):
        return
    # The fastest algorithm may differ from run to run, and with it the last bit.
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    _keep_to_memory(device)


def _keep_to_memory(device: str) -> None:
    """On Windows, NVIDIA's driver makes up for a GPU's memory with the computer's, ten times slower, before anybody
    hears that it is full (its 'CUDA - Sysmem Fallback Policy'). torch is to find that out itself: it says so for more
    than is free now."""
    if sys.platform == "win32":
        free, total = torch.cuda.mem_get_info(device)
        ours = torch.cuda.memory_reserved(device)
        torch.cuda.set_per_process_memory_fraction(
            max(0.0, (free + ours - KERNELS) / total), torch.device(device).index
        )


def is_out_of_memory(error: RuntimeError) -> bool:
    """Of the class alone one cannot tell: CPUs, Apple's GPUs and cuBLAS only say it, and cuDNN, that it has no way to
    compute what it finds no room for."""
    said = re.search(
        "out of memory|not enough memory|allocate memory|Invalid buffer size|ALLOC_FAILED|STATUS_NOT_INITIALIZED"
        "|unable to find an engine",
        str(error),
    )
    return isinstance(error, torch.OutOfMemoryError) or bool(said)


def brought(there: Tensor) -> Callable[[], Tensor]:
    """A function that waits until a tensor is on the CPU. From an NVIDIA GPU it is on its way at once, before the GPU
    gets more to do."""
    if there.device.type != "cuda":
        here = there.cpu()
        return lambda: here
    here = torch.empty(there.shape, dtype=there.dtype, pin_memory=True)
    here.copy_(there, non_blocking=True)
    arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # one waits for it asleep
    arrived.record(torch.cuda.current_stream(there.device))

    def wait() -> Tensor:
        arrived.synchronize()
        return here

    return wait


_PROCESS: list[int] = []  # the first that has loaded a model: this one, or one that it was forked from


def check_process() -> None:
    """Raise Error in a process that was forked from one that has loaded a model: it would wait for threads that it lacks."""
    if not _PROCESS:
        _PROCESS.append(os.getpid())
    if _PROCESS[0] != os.getpid():
        raise Error(
            "this process was forked from one that has loaded a model already, and would wait for ever for torch's threads; start "
            "it otherwise, as multiprocessing.get_context('spawn') does"
        )
