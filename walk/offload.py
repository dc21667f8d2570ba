"""Parts of a model that are on a GPU only while they work there: whole, or block by block.

Knows no pipelines and no pictures.
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import Any

import torch


@contextlib.contextmanager
def on_gpu(part: torch.nn.Module, device: str) -> Iterator[None]:
    """A part on a GPU while it works there. Its weights stay in main memory, too, and are not copied back, since they
    do not change."""
    with _Loan(part.modules()) as loan:
        loan.copy_to(device)
        yield


@contextlib.contextmanager
def block_by_block(part: torch.nn.Module, device: str) -> Iterator[None]:
    """As `on_gpu`, but block by block, for a part that is larger than the GPU: while one works, the next one is copied
    there. A call takes as long as the copying, if that takes longer than the work."""
    blocks = [block for each in part.children() if isinstance(each, torch.nn.ModuleList) for block in each]
    within = {id(module) for block in blocks for module in block.modules()}
    stream = _copy_stream(device)
    finished: collections.deque[Any] = collections.deque()  # events: the last blocks' work is done
    with contextlib.ExitStack() as stack:
        rest = stack.enter_context(_Loan(module for module in part.modules() if id(module) not in within))
        rest.copy_to(device)
        loans = [stack.enter_context(_Loan(block.modules())) for block in blocks]
        for block, loan, following in zip(blocks, loans, [*loans[1:], *loans[:1]]):

            def before(*_: Any, loan: _Loan = loan) -> None:
                loan.copy_to(device, stream)
                loan.wait_for_copy(stream)

            def after(*_: Any, loan: _Loan = loan, following: _Loan = following) -> None:
                loan.take_back()
                if stream is not None:  # wait until the block before has left, else they would pile up on the GPU
                    finished.append(torch.cuda.current_stream(device).record_event())
                    if len(finished) > 1:
                        finished.popleft().synchronize()
                following.copy_to(device, stream)

            for hook in (block.register_forward_pre_hook(before), block.register_forward_hook(after)):
                stack.callback(hook.remove)
        yield


@functools.cache
def _copy_stream(device: str) -> Any:
    """A GPU's stream for copies to it. Always the same, since memory is used again only by the stream that took it."""
    return torch.cuda.Stream(device) if torch.device(device).type == "cuda" else None  # type: ignore[no-untyped-call]


class _Loan:
    """Tensors of modules, on a GPU for a while, and those in main memory that they are copies of."""

    def __init__(self, modules: Iterable[torch.nn.Module]) -> None:
        # The modules' own dicts of tensors, in which those of the same names take turns.
        self.held: list[dict[str, Any]] = [it for each in modules for it in (each._parameters, each._buffers)]
        self.originals = [dict(each) for each in self.held]
        self.copied = False

    def __enter__(self) -> _Loan:
        return self

    def __exit__(self, *_: object) -> None:
        self.take_back()

    def copy_to(self, device: str, stream: Any = None) -> None:
        """stream: for the copies, while the GPU goes on with its work in another one."""
        if self.copied:
            return
        self.copied = True
        with torch.inference_mode(False), torch.cuda.stream(stream):
            for each in self.held:
                each |= {name: None if it is None else it.detach().to(device) for name, it in each.items()}

    def wait_for_copy(self, stream: Any) -> None:
        """Let the GPU begin its next work only when the copies are there."""
        if stream is None:
            return
        work = torch.cuda.current_stream(stream.device)
        work.wait_stream(stream)
        for tensor in (it for each in self.held for it in each.values() if it is not None):
            tensor.record_stream(work)  # else its memory could be used again before that work is done

    def take_back(self) -> None:
        """Put the originals back, and let the copies go."""
        for each, originals in zip(self.held, self.originals):
            each |= originals
        self.copied = False
