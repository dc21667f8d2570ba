"""Prompts become what a model hears, as its pipeline's own text encoders read them: in windows, with words that count for
more or for less, padded to one length; and once each.

Never hears of walks, frames, noise, denoising or decoding.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from walk import Error, emphasis, loading, machine
from walk.families import Family
from walk.hub import lacking
from walk.keyframes import Keyframe, check_no_tensors

Conditioning = dict[str, Tensor]  # its keys are keyword names of the pipeline's __call__

BACK = 20  # tokens that a long prompt may be parted early, so that a phrase stays whole
KEPT = 2**28  # bytes of what was read before: sixty prompts of Flux, or two thousand of Stable Diffusion
_EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds")  # of each token


class _Window(NamedTuple):
    """As much of a prompt as the text encoder reads at once, and how much each of its letters counts."""

    text: str
    letters: list[float]

    @property
    def weighted(self) -> bool:
        return any(weight != 1 for weight in self.letters)


class Reader:
    """Reads prompts for one pipeline, through the public arguments of its `encode_prompt`; a `Family` tells how.

    What was read is kept: until `pause` all of it, since a GPU may have no room for the text encoders afterwards, when
    the same prompts are asked for again. When others are read after it, the oldest go that are more than KEPT bytes.
    """

    def __init__(self, pipe: Any, family: Family, defaults: dict[str, Any], model: str, device: str) -> None:
        """defaults: what the pipeline's `__call__` would hand on, by its arguments' names. model: what errors call it.
        device: where pictures are made, and prompts read if the text encoders find room there."""
        self.pipe, self.family, self.defaults, self.model = pipe, family, defaults, model
        self.encoders = [encoder for _, encoder in loading.text_encoders(pipe)]
        self.device = machine.reader(device, self.encoders)
        self.most: int = defaults.get("max_sequence_length", family.most_tokens)  # tokens; 0: what the tokenizers know
        self.masks: dict[str, torch.dtype] = {}  # as the pipeline made them
        self.kept: dict[tuple[str, str, bool], Conditioning] = {}  # the oldest first
        # Mostly all the same, and for some encoders a hundred megabytes; there as long as a conditioning has them.
        self.negatives: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()
        self.paused = False

    def encode(self, keyframe: Keyframe, guided: bool) -> Conditioning:
        """The conditioning of one keyframe on the CPU, without a batch dimension; masks are integers.

        guided: with that of the negative prompt, where the family hears one; '' is one, too.
        Raises Error for weights that the model does not take, and if the text encoders find no room.
        """
        key = (keyframe.prompt, keyframe.negative_prompt, guided)
        if key not in self.kept:
            check_no_tensors([keyframe])
            if self.paused:
                self._forget()
            less = "--device cpu or " * (self.device != "cpu")
            what = f"{self.device} has too little memory for the text encoders of {self.model}"
            with machine.room(Error(f"{what}; try {less}another --model")):
                self._move(self.device)
                made = self._read(keyframe, guided)
            self.kept[key] = made | self._shared(made, keyframe.negative_prompt)
        return dict(self.kept[key])

    def cut(self, prompt: str) -> str:
        """The end of a prompt that is too long even for the encoder that reads most; '' if there is none.

        Raises Error for weights that the model does not take."""
        rest = self._windows(prompt)[1]
        if self.family.windows > 1:
            return rest.strip()
        most = self.most or 10**6
        tokenizers = [tokenizer for _, tokenizer in loading.tokenizers(self.pipe)]
        tokenizer = max(tokenizers, key=lambda tokenizer: min(tokenizer.model_max_length, most))
        room = (
            min(tokenizer.model_max_length, most - self.family.template_tokens) - tokenizer.num_special_tokens_to_add()
        )
        ids = tokenizer(emphasis.without_weights(prompt), add_special_tokens=False).input_ids
        return tokenizer.decode(ids[room:]).strip() if len(ids) > room else ""

    def pause(self) -> None:
        """Nothing more is read for now: the text encoders leave a GPU's memory to others."""
        self.paused = True
        if self.device.startswith("cuda"):  # elsewhere it is the same memory
            self._move("cpu")

    def _move(self, device: str) -> None:
        elsewhere = [encoder for encoder in self.encoders if encoder.device.type != device.split(":")[0]]
        for encoder in elsewhere:
            encoder.to(device)
        if elsewhere and device == "cpu":
            torch.cuda.empty_cache()  # else what comes next fills their places in part, and leaves the rest unused

    # What was read before

    def _shared(self, made: Conditioning, negative: str) -> Conditioning:
        """Of the negative prompt, the same tensors as before, where they are there and as long."""
        return {
            name: self.negatives.setdefault((name, negative, tensor.shape), tensor)
            for name, tensor in made.items()
            if name.startswith("negative_")
        }

    def _forget(self) -> None:
        """Whatever is older than the newest KEPT bytes."""
        self.paused, total, counted = False, 0, set[int]()
        for key, made in reversed([*self.kept.items()]):
            storages = [tensor.untyped_storage() for tensor in made.values()]  # which several have in common
            sizes = {each.data_ptr(): each.nbytes() for each in storages}
            total += sum(size for place, size in sizes.items() if place not in counted)
            counted |= sizes.keys()
            if total > KEPT:
                del self.kept[key]

    # A keyframe is two prompts, each of them windows, of which the pipeline is asked

    @torch.inference_mode()
    def _read(self, keyframe: Keyframe, guided: bool) -> Conditioning:
        conditioning = self._read_prompt(keyframe.prompt, keyframe.negative_prompt or None, guided)
        if self.family.negative_apart and guided:
            negative = self._read_prompt(keyframe.negative_prompt or self.family.empty or "", None, guided)
            conditioning |= {f"negative_{name}": tensor for name, tensor in negative.items()}
        return conditioning

    def _read_prompt(self, prompt: str, negative: str | None, guided: bool) -> Conditioning:
        """Of a prompt that is longer than a window, window by window; a shorter negative one is said again."""
        windows, negatives = self._windows(prompt)[0], [None] if negative is None else self._windows(negative)[0]
        count = math.lcm(len(windows), len(negatives)) if guided else len(windows)
        made = [
            self._read_window(windows[i % len(windows)], negatives[i % len(negatives)], guided) for i in range(count)
        ]
        if len(made) == 1:
            return made[0]
        embeddings = {name: torch.cat([one[name] for one in made]) for name in made[0] if name in _EMBEDDINGS}
        return made[0] | embeddings  # of what stands for a whole prompt, that of its first window

    def _windows(self, prompt: str) -> tuple[list[_Window], str]:
        """A prompt, one window after the other, and the rest, which is not read."""
        whole = _Window(*emphasis.weights(prompt))
        if whole.weighted and not self.family.tokens:
            raise Error(f"'{prompt}': the model takes no weights such as (words:1.3); write \\( for a parenthesis")
        if self.family.windows == 1:
            return [whole], ""
        text, letters = whole
        tokenizer = self.pipe.tokenizer
        how = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}  # it may be long
        tokens = tokenizer(text, **how).offset_mapping
        room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        ends = _ends(text, [start for start, _ in tokens], room)
        parts = list(pairwise([0, *ends[: self.family.windows]]))
        return [_Window(text[a:b], letters[a:b]) for a, b in parts], text[parts[-1][1] :]

    def _read_window(self, window: _Window, negative: _Window | None, guided: bool) -> Conditioning:
        """What the pipeline makes of it, with its weights, and of the length that all its prompts have."""
        named = self._asked(window.text, None if negative is None else negative.text, guided)
        masks = {name: tensor for name, tensor in named.items() if name.endswith("mask")}
        self.masks |= {name: mask.dtype for name, mask in masks.items()}
        conditioning = {name: tensor.long() if name in masks else tensor for name, tensor in named.items()}
        for name, words in zip(_EMBEDDINGS, (window, negative)):
            if name in conditioning and words is not None and words.weighted:
                conditioning[name] = self._emphasised(conditioning[name].float(), words, guided)
        if self.family.ragged:
            return _padded(conditioning, self.most)
        # A mask that is no yes or no, but a number added to the attention, hides nothing.
        hiding = self.family.masked and not any(mask.is_floating_point() for mask in masks.values())
        return _filled(conditioning) if hiding else conditioning

    def _asked(self, text: str, negative: str | None, guided: bool) -> dict[str, Tensor]:
        """What the pipeline itself returns, by name: asked with the same arguments as by its `__call__`."""
        given = self.defaults | {
            "prompt": text,
            "negative_prompt": self.defaults.get("negative_prompt") if negative is None else negative,
            "device": self.device,
            "do_classifier_free_guidance": guided,
        }
        wanted = inspect.signature(self.pipe.encode_prompt).parameters
        try:
            made = self.pipe.encode_prompt(**{name: given[name] for name in wanted if name in given})
        except NameError as error:  # of a library that diffusers does not import where it is not there
            raise lacking(self.model, type(self.pipe).__name__) or error from None
        made = (made,) if isinstance(made, list) else made  # of embeddings alone
        # A pipeline without negative prompts returns a list, or nothing, in their place.
        return {
            name: value[0].cpu()
            for name, value in zip(self.family.returns, made)
            if name and value is not None and len(value)
        }

    def _emphasised(self, embeddings: Tensor, window: _Window, guided: bool) -> Tensor:
        """Rows (tokens, d) moved away from those of the empty prompt, or towards them, as ComfyUI does it; away
        from nought where those are not heard."""
        weights: list[float] = []
        for name in self.family.tokens:
            tokenizer = getattr(self.pipe, name)
            if tokenizer is None:  # of an encoder that was left out, whose embeddings are zeros
                continue
            length = len(embeddings) - len(weights)
            if name != self.family.tokens[-1]:
                length = min(length, tokenizer.model_max_length)
            ends = tokenizer(
                window.text, max_length=length, truncation=True, return_offsets_mapping=True
            ).offset_mapping
            some = [window.letters[end - 1] if end > start else 1.0 for start, end in ends]
            weights += some + [1.0] * (length - len(some))
        by = torch.tensor(weights + [1.0] * (len(embeddings) - len(weights))).unsqueeze(1)
        empty = embeddings.new_zeros(()) if self.family.masked else self._read_prompt("", None, guided)["prompt_embeds"]
        return torch.where(by == 1, embeddings, empty + by * (embeddings - empty))


def _ends(text: str, tokens: Sequence[int], room: int) -> list[int]:
    """Where the parts of a text end, of at most `room` tokens each, of which the beginnings are given: between words,
    and after a comma or a full stop if one of the last is one, as AUTOMATIC1111's web UI does it."""
    ends, first = [], 0
    while len(tokens) - first > room:
        # Not within a letter that is several tokens, of which each begins where it does.
        able = [i for i in range(first + 1, first + room + 1) if tokens[i] > tokens[i - 1]]
        between = [i for i in able if text[tokens[i] - 1].isspace()]
        phrases = [i for i in between if i > first + room - BACK and text[: tokens[i]].rstrip().endswith((",", "."))]
        first = max(phrases or between or able or [first + room])
        ends.append(tokens[first])
    return [*ends, len(text)]


# Embeddings of unequal length. Masks are integers, by which they are told from what is interpolated.


def _padded(conditioning: Conditioning, length: int) -> Conditioning:
    """Embeddings (tokens, ...) filled up to one length by their last token, or cut, each with its mask."""
    result = {}
    for name, tensor in conditioning.items():
        tensor = tensor[:length]
        extra = length - len(tensor)
        result[name] = torch.cat([tensor, tensor[-1:].expand(extra, *tensor.shape[1:])])
        result[f"{name}_mask"] = (torch.arange(length) < len(tensor)).long()
    return result


def _filled(conditioning: Conditioning) -> Conditioning:
    """The tokens that masks show, filled up to their length by the last one.

    On the way to a longer prompt those are heard too, one after the other, and what an encoder leaves
    where there is no token would be noise; the last token, heard twice, changes least.
    """
    result = dict(conditioning)
    for name, mask in conditioning.items():
        if name.endswith("mask") and mask.any():
            embeddings = name.replace("attention_mask", "embeds").removesuffix("_mask")
            padded, length = _padded({"": conditioning[embeddings][mask.bool()]}, len(mask)).values()
            result |= {embeddings: padded, name: length}
    return result
