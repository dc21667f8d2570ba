"""Keyframes of tensors: embeddings and noise that a program has made, in place of a prompt and a seed.

The prompt of such a keyframe is a name with a digest of its embeddings, and its seed a digest of its noise. So frames
follow from tensors as they do from words: other tensors are other frames. Knows no walks, frames or run folders.
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

SHORT, LONG = Keyframe("a fox", 0), Keyframe("a fox and two owls in snow", 0)  # conditionings are compared to theirs
SCALED = 4  # a deviation of noise that only a scheduler's scaling explains


class Given(Model):
    """A model that takes keyframes of tensors, too. Those of words and seeds it leaves to the model that it is made of.

        given = Given(model)
        fox, owl = (given.encode(keyframe) for keyframe in read_prompts(["a fox", "an owl"]))
        half = given.keyframe("half an owl", {name: (fox[name] + owl[name]) / 2 for name in fox}, seed=7)

    For a walk with such keyframes it takes the model's place: `Work(run, given)`, `render(given, walk, indices)`. Run
    folders and films carry the digests, but no tensors. So a program that goes on with a film makes its keyframes again,
    and finds the frames of those that have not changed; and the command refuses to make such a film again.
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
        conditioning: tensors with the names and shapes of what `encode` returns for a prompt: 'prompt_embeds' is
            mostly (tokens, d), without a batch dimension; under guidance there is 'negative_prompt_embeds'. Where the
            model has no masks, there may be twice or thrice as many tokens. Numbers may be of any floating-point
            dtype and on any device. Masks are whole numbers: ones for the tokens that are heard, then zeros (of two
            prompts' masks, torch.maximum). `walk.render.inputs` returns it for any frame of a walk.
            None: the name is the prompt.
        noise: of the shape of `noise(0)`, mostly (channels, height, width) of the latents, with a deviation of 1,
            that is, before a scheduler scales it. None: that of `seed`.
        seed: None: 0.
        when: time, frame, beat, bar, until, pace or pulse, as a `Keyframe` has them.

        Raises Error, which names the tensor, for what the model would not take, and for numbers that are not finite.
        """
        if noise is not None and seed is not None:
            raise Error(f"'{name}' has a noise and a seed; give one of them")
        parts = self.encode(Keyframe(name, 0)) if conditioning is None else conditioning
        self._check(name, parts)
        kept = {part: self._keep(tensor) for part, tensor in parts.items()}
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
            digest, noise = self._keep(noise)
            seed = int(digest, 16) >> 1  # the largest seed has 63 bits
            self.noises[seed] = noise
        keyframe = Keyframe(prompt, seed or 0, **when)
        self.conditionings[prompt] = {part: tensor for part, (_, tensor) in kept.items()}
        return keyframe

    def _keep(self, tensor: Tensor) -> tuple[str, Tensor]:
        """(digest, a copy), in float32: in it tensors are interpolated, and it holds every bfloat16 and float16 exactly.
        Masks are in int64."""
        tensor = tensor.detach().to("cpu", torch.float32 if tensor.is_floating_point() else torch.int64, copy=True)
        tensor = tensor.contiguous()
        digest = _digest(repr((tensor.dtype, tuple(tensor.shape))).encode() + tensor.numpy().tobytes())
        return digest, self._tensors.setdefault(digest, tensor)

    def _check(self, name: str, conditioning: Any) -> None:
        """Raise Error for a conditioning that the model could not return for any prompt."""
        own = self.model.encode(SHORT)
        parts = dict(conditioning) if isinstance(conditioning, Mapping) else {}
        if parts.keys() != own.keys():
            has = ", ".join(map(str, parts)) or f"an empty {type(conditioning).__name__}"
            if not isinstance(conditioning, Mapping):
                has = f"no dict of tensors, but a {type(conditioning).__name__}"
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

    def _takes(self, part: str, tensor: Tensor, like: Tensor) -> bool:
        """Whether only the number of tokens differs, and as it may between prompts of this model. Tokens are repeated until
        there are as many as a neighbour's: for numbers without a common factor that would be thousands."""
        if tensor.ndim != like.ndim or tensor.ndim < 2 or tensor.shape[1:] != like.shape[1:] or not len(tensor):
            return False
        return len(tensor) % len(like) == 0 or len(self.model.encode(LONG)[part]) % len(like) != 0

    def encode(self, keyframe: Keyframe) -> Conditioning:
        """The keyframe's tensors, or what the model returns for its words. Raises Error for tensors that were not given
        here, and for those that were given for other guidance."""
        conditioning = self.conditionings.get(keyframe.prompt)
        if conditioning is None:
            check_no_tensors([keyframe])
            return self.model.encode(keyframe)
        self._check(keyframe.prompt, conditioning)
        return dict(conditioning)

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


def _check_kind(what: str, tensor: Any, like: Tensor) -> None:
    """Raise Error for numbers of another kind than the model's own."""
    if not isinstance(tensor, Tensor):
        raise Error(f"{what} is a {type(tensor).__name__}; it is to be a torch.Tensor")
    floating = like.is_floating_point()
    if tensor.is_complex() or tensor.is_floating_point() != floating:
        kind = "" if floating else ": a mask, whose numbers are whole; of two, take torch.maximum"
        raise Error(f"{what} is {tensor.dtype}, and the model's own {like.dtype}{kind}")
    if floating and not tensor.float().isfinite().all():
        raise Error(f"{what} has numbers that are not finite in float32")
    if not floating and not (((tensor == 0) | (tensor == 1)).all() and (tensor.long().diff() <= 0).all()):
        raise Error(f"{what} is a mask; it is ones for the tokens that are heard, then zeros")


def _misshapen(what: str, tensor: Tensor, like: Tensor) -> Error:
    batch = "; leave out the batch dimension" if tensor.shape[:1] == (1,) and tensor.ndim == like.ndim + 1 else ""
    return Error(f"{what} has the shape {tuple(tensor.shape)}, and the model's own {tuple(like.shape)}{batch}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
