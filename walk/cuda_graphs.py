"""What a GPU does for a denoiser, recorded once and from then on played back in one call (CUDA graphs).

A step of Stable Diffusion is more than a thousand kernels. Python takes 20 to 40 ms to start them one by one; where the
GPU needs less time for them, as for few rows or small pictures, it waits. Played back, the same kernels compute the
same bytes. (PyTorch's notes 'CUDA semantics', section 'CUDA Graphs'.)

Knows no pipelines and no pictures.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

MOST = 8  # recordings, of inputs of different shapes


class Recorder:
    """In the place of a module's `forward`: the second call with tensors of the same shapes, and the same other
    arguments, is recorded, and played back from then on.

    What cannot be recorded is called as usual.
    """

    def __init__(self, module: torch.nn.Module, has_room: Callable[[], bool]) -> None:
        """has_room: whether there is memory for a call's work once more; asked only once this is `ready`."""
        self.module, self.usual, self.has_room = module, module.forward, has_room
        self.called: set[Any] = set()  # keys of calls; at the first, libraries choose their algorithms and take memory
        self.recordings: dict[Any, _Recording] = {}
        self.pool: Any = None  # of memory, which all recordings share: a result is copied before the next is played
        self.able = True  # whether anything may be recorded
        self.ready = False  # set by the owner, when it is known how much memory pictures take
        functools.update_wrapper(self, self.usual)
        module.forward = self

    def stop(self) -> None:
        """Give back the memory, and record no more."""
        self.recordings.clear()
        self.able = False

    def restart(self) -> None:
        """Record anew, when it is known again how much memory pictures take."""
        self.recordings.clear()
        self.pool = None  # torch refuses the old one, once all that was recorded there is gone
        self.able, self.ready = True, False

    def remove(self) -> None:
        """Give the module its own `forward` back."""
        self.stop()
        vars(self.module).pop("forward", None)

    def __call__(self, *args: Any, **more: Any) -> Any:
        leaves, structure = tree_flatten((args, more))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        kinds = ((leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, Tensor) else repr(leaf) for leaf in leaves)
        key = (str(structure), *kinds)
        if key not in self.recordings and key in self.called and self._can_record(tensors):
            self._record(key, args, more)
        self.called.add(key)
        if recording := self.recordings.get(key):
            return recording.play(tensors)
        return self.usual(*args, **more)

    def _can_record(self, tensors: list[Tensor]) -> bool:
        device = next(self.module.parameters()).device
        allowed = self.able and self.ready and len(self.recordings) < MOST
        return allowed and all(tensor.device == device for tensor in tensors)

    def _record(self, key: Any, args: Any, more: Any) -> None:
        try:
            if self.has_room():
                self.pool = self.pool or torch.cuda.graph_pool_handle()
                self.recordings[key] = _Recording(self.usual, args, more, self.pool)
                return
        except RuntimeError:  # the call waits for the GPU, or found no room after all
            pass
        self.stop()


class _Recording:
    @torch.inference_mode()
    def __init__(self, usual: Callable[..., Any], args: Any, more: Any, pool: Any) -> None:
        args, more = tree_map_only(Tensor, torch.clone, (args, more))
        self.inputs = [leaf for leaf in tree_flatten((args, more))[0] if isinstance(leaf, Tensor)]
        self.graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            # thread_local: another thread may give the GPU work meanwhile, and take memory.
            with torch.cuda.graph(self.graph, pool, capture_error_mode="thread_local"):
                self.output = usual(*args, **more)
        except RuntimeError:
            torch.cuda.set_stream(stream)
            # torch believes that the recording goes on, which CUDA broke off, and would never give memory back again.
            with contextlib.suppress(AttributeError, RuntimeError):
                torch._C._cuda_endAllocateToPool(stream.device_index, pool)
                torch._C._cuda_releasePool(stream.device_index, pool)
            raise

    @torch.inference_mode()
    def play(self, tensors: list[Tensor]) -> Any:
        for own, tensor in zip(self.inputs, tensors):
            own.copy_(tensor)
        self.graph.replay()
        return tree_map_only(Tensor, torch.clone, self.output)  # which the next call overwrites
