"""Keyframes of tensors: embeddings and noise that a program has made, in place of a prompt and a seed.

The prompt of such a keyframe is a name with a digest of its embeddings, and its seed a digest of its noise. So frames
follow from tensors as they do from words: other tensors are other frames. Never hears of walks, frames or run folders.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from walk import Error
from walk.keyframes import Keyframe, check_no_tensors, tensor_prompt
from walk.models import Conditioning, Model
from walk.settings import Settings

SHORT, LONG = Keyframe("a fox", 0), Keyframe("a fox and two owls in snow", 0)  # what conditionings are compared to
SCALED = 4  # deviation of noise, which a scheduler must have scaled already


class Given(Model):
    """A model that takes keyframes of tensors, too. What is of words and seeds it leaves to the model.

        given = Given(model)
        fox, owl = (given.encode(keyframe) for keyframe in read_prompts(["a fox", "an owl"]))
        half = given.keyframe("half an owl", {name: (fox[name] + owl[name]) / 2 for name in fox}, seed=7)

    Of a walk with such keyframes it takes the model's place: `Work(run, given)`, `render(given, walk, indices)`. Run
    folders and films carry the digests, but no tensors. So a program that goes on makes its keyframes again, and finds
    what has not changed; and the command refuses to make such a film again.
    """

    def __init__(self, model: Model) -> None:
        self.model, self.settings = model, model.settings
        self.remarks = getattr(model, "remarks", ())
        self.conditionings: dict[str, Conditioning] = {}  # by prompt
        self.noises: dict[int, Tensor] = {}  # by seed
        self._tensors: dict[str, Tensor] = {}  # by digest: of many keyframes, the negative ones are mostly the same

    def keyframe(
        self,
        name: str,
        conditioning: Mapping[str, Tensor] | None = None,
        noise: Tensor | None = None,
        seed: int | None = None,
        **when: Any,
    ) -> Keyframe:
        """A keyframe whose picture is made of these tensors. Later changes to them change nothing.

        name: for people; chapters and previews show it.
        conditioning: what `encode` returns for a prompt, changed, with the same names and shapes: 'prompt_embeds' is
            mostly (tokens, d), without a batch dimension; under guidance there is 'negative_prompt_embeds'. Where the
            model has no masks, there may be twice or thrice as many tokens. Numbers may be of any floating-point
            dtype and on any device. Masks are whole numbers: ones for the tokens that are heard, then zeros (of two
            prompts' masks, torch.maximum). `walk.render.inputs` returns it for any place on a walk.
            None: the name is the prompt.
        noise: of the shape of `noise(0)`, mostly (channels, height, width) of the latents, with a deviation of 1:
            before a scheduler scales it. None: that of `seed`.
        seed: 0 unless it is given.
        when: time, frame, beat, bar or until, as a `Keyframe` has them.

        Raises Error, which names the tensor, for what the model would not take, and for numbers that are not finite.
        """
        if noise is not None and seed is not None:
            raise Error(f"'{name}' has a noise and a seed; give one of them")
        made = self.encode(Keyframe(name, 0)) if conditioning is None else conditioning
        self._check(name, made)
        kept = {part: self._kept(made[part]) for part in made}
        prompt = tensor_prompt(
            name, _digest(repr(sorted((part, digest) for part, (digest, _) in kept.items())).encode())
        )
        if noise is not None:
            what, own = f"the noise of '{name}'", self.model.noise(0)
            _check_kind(what, noise, own)
            if noise.shape != own.shape:
                raise _misshapen(what, noise, own)
            if (deviation := float(noise.float().square().mean().sqrt())) > SCALED:
                raise Error(f"{what} has a deviation of {deviation:.3g}, not 1; give it before a scheduler scales it")
            digest, noise = self._kept(noise)
            seed = int(digest, 16) >> 1  # the largest seed has 63 bits
            self.noises[seed] = noise
        keyframe = Keyframe(prompt, seed or 0, **when)
        self.conditionings[prompt] = {part: tensor for part, (_, tensor) in kept.items()}
        return keyframe

    def _kept(self, tensor: Tensor) -> tuple[str, Tensor]:
        """With its digest. In float32 it is interpolated; a bfloat16 or a float16 stays in it what it was."""
        tensor = tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else torch.int64, copy=True)
        tensor = tensor.contiguous()
        digest = _digest(repr((tensor.dtype, tuple(tensor.shape))).encode() + tensor.numpy().tobytes())
        return digest, self._tensors.setdefault(digest, tensor)

    def _check(self, name: str, conditioning: Any) -> None:
        """Raise Error for what the model would not return for any prompt."""
        own, parts = self.model.encode(SHORT), dict(conditioning) if isinstance(conditioning, Mapping) else {}
        if parts.keys() != own.keys():
            has = ", ".join(map(str, parts)) or f"no dict of tensors, but a {type(conditioning).__name__}"
            raise Error(
                f"the conditioning of '{name}' is {has}; with guidance {self.settings.guidance} the model takes "
                f"{', '.join(own)}, as encode returns them"
            )
        masked = not all(map(torch.is_floating_point, own.values()))
        for part, like in own.items():
            what = f"{part} of '{name}'"
            _check_kind(what, parts[part], like)
            if parts[part].shape != like.shape and (masked or not self._takes(part, parts[part], like)):
                raise _misshapen(what, parts[part], like)

    def _takes(self, part: str, given: Tensor, like: Tensor) -> bool:
        """Whether only the number of tokens is another, as a prompt's of this model may be. They are repeated until they
        are as many as their neighbours': of numbers without a common factor that would be thousands."""
        if given.ndim != like.ndim or given.ndim < 2 or given.shape[1:] != like.shape[1:] or not len(given):
            return False
        return len(given) % len(like) == 0 or len(self.model.encode(LONG)[part]) % len(like) != 0

    def encode(self, keyframe: Keyframe) -> Conditioning:
        """As the model does, or the tensors. Raises Error for tensors that were not given here, and for those that were
        given for other guidance."""
        made = self.conditionings.get(keyframe.prompt)
        if made is None:
            check_no_tensors([keyframe])
            return self.model.encode(keyframe)
        self._check(keyframe.prompt, made)
        return dict(made)

    def noise(self, seed: int) -> Tensor:
        return self.noises[seed] if seed in self.noises else self.model.noise(seed)

    def at(self, settings: Settings) -> Given:
        other = copy.copy(self)  # which knows the same keyframes
        other.model = self.model.at(settings)
        other.settings = other.model.settings
        return other

    def notes(self, keyframe: Keyframe) -> list[str]:
        if keyframe.prompt not in self.conditionings:
            return self.model.notes(keyframe)
        return ["of tensors, the negative prompt has no effect"] if keyframe.negative_prompt else []

    def denoise(self, noise: Tensor, conditioning: Conditioning) -> Tensor:
        return self.model.denoise(noise, conditioning)

    def decode(self, latents: Tensor, exact: bool = False) -> Callable[[], Tensor]:
        return self.model.decode(latents, exact) if exact else self.model.decode(latents)


def _check_kind(what: str, given: Any, like: Tensor) -> None:
    """Raise Error for other numbers than the model's own."""
    if not isinstance(given, Tensor):
        raise Error(f"{what} is a {type(given).__name__}; it is to be a torch.Tensor")
    floating = like.is_floating_point()
    if given.is_complex() or given.is_floating_point() != floating:
        kind = "" if floating else ": a mask, whose numbers are whole; of two, take torch.maximum"
        raise Error(f"{what} is {given.dtype}, and the model's own {like.dtype}{kind}")
    if floating and not given.float().isfinite().all():
        raise Error(f"{what} has numbers that are not finite in float32")
    if not floating and not (((given == 0) | (given == 1)).all() and (given.long().diff() <= 0).all()):
        raise Error(f"{what} is a mask; it is ones for the tokens that are heard, then zeros")


def _misshapen(what: str, given: Tensor, like: Tensor) -> Error:
    batch = "; leave out the batch dimension" if given.shape[:1] == (1,) and given.ndim == like.ndim + 1 else ""
    return Error(f"{what} has the shape {tuple(given.shape)}, and the model's own {tuple(like.shape)}{batch}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
