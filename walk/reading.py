"""Prompts become conditioning, as the pipeline's own text encoders read them: in windows, with words that count for
more or for less, padded to one length; each prompt only once.

Knows no walks, frames, noise, denoising or decoding.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from walk import Error, emphasis, loading, machine
from walk.embeddings import Words
from walk.families import Family
from walk.hub import missing_requirement
from walk.keyframes import Keyframe, Subject, check_no_tensors
from walk.settings import Settings
from walk.vision import Vision

Conditioning = dict[str, Tensor]  # its keys are keyword names of the pipeline's __call__

EARLY = 20  # tokens by which a window may end early, so that a phrase stays whole
CACHE_BYTES = 2**28  # of conditioning: sixty prompts of Flux, or two thousand of Stable Diffusion
_EMBEDDINGS = ("prompt_embeds", "negative_prompt_embeds")  # of each token


class _Window(NamedTuple):
    """As much of a prompt as the text encoder reads at once, and the weight of each of its letters."""

    text: str
    weights: list[float]

    @property
    def is_weighted(self) -> bool:
        return any(weight != 1 for weight in self.weights)


class Reader:
    """Reads prompts for one pipeline, through the public arguments of its `encode_prompt`, as its `Family` says.

    Conditioning is kept: until `pause` all of it, since the same prompts are read again afterwards, when a GPU may have
    no room for the text encoders. With the next new prompt after `pause`, all but the newest CACHE_BYTES are dropped.
    """

    def __init__(
        self,
        pipe: Any,
        family: Family,
        defaults: dict[str, Any],
        settings: Settings,
        words: Words | None = None,
        vision: Vision | None = None,
    ) -> None:
        """defaults: of the arguments of the pipeline's `__call__`, which it would hand on to `encode_prompt`. words:
        those that its text encoders have been taught. vision: what reads pictures beside prompts."""
        self.pipe, self.family, self.defaults, self.model = pipe, family, defaults, settings.model
        self.words = words or Words()
        self.encoders = [encoder for _, encoder in loading.text_encoders(pipe)]
        self.vision = vision
        if vision:
            self.encoders += vision.encoders
        self.device = machine.encoder_device(settings.device, self.encoders)
        # Tokens; 0: what the tokenizers know.
        self.most: int = defaults.get("max_sequence_length") or family.most_tokens
        self.mask_dtypes: dict[str, torch.dtype] = {}  # as the pipeline made them
        self.cache: dict[tuple[Subject, bool], Conditioning] = {}  # the oldest first
        # Tensors of negative prompts, mostly all the same, and with some encoders a hundred megabytes each. They last
        # as long as a conditioning has them.
        self.negatives: WeakValueDictionary[tuple[object, ...], Tensor] = WeakValueDictionary()
        self.paused = False

    def encode(self, keyframe: Keyframe, guided: bool) -> Conditioning:
        """The conditioning of one keyframe on the CPU, without a batch dimension; masks are integers.

        guided: with that of the negative prompt, if the family hears one; '' is one, too.
        Raises Error for weights that the model does not take, for a picture that it cannot read, and if the text encoders
        run out of memory.
        """
        key = keyframe.subject, guided
        if key not in self.cache:
            check_no_tensors([keyframe])
            if self.paused:
                self._trim_cache()
            less = "--device cpu or " * (self.device != "cpu")
            what = f"{self.device} has too little memory for the text encoders of {self.model}"
            with machine.out_of_memory_as(Error(f"{what}; try {less}another --model")):
                self._move(self.device)
                conditioning = self._read(keyframe, guided)
            self.cache[key] = conditioning | self._shared(conditioning, keyframe.negative_prompt)
        return dict(self.cache[key])

    def unread(self, prompt: str) -> str:
        """The end of a prompt that is too long even for the encoder that reads most; '' if there is none.

        Raises Error for weights that the model does not take."""
        rest = self._split(prompt)[1]
        if self.family.windows > 1:
            return self.words.restored(rest).strip()
        most = self.most or 10**6
        tokenizers = [tokenizer for _, tokenizer in loading.tokenizers(self.pipe)]
        tokenizer = max(tokenizers, key=lambda tokenizer: min(tokenizer.model_max_length, most))
        room = (
            min(tokenizer.model_max_length, most - self.family.template_tokens) - tokenizer.num_special_tokens_to_add()
        )
        text, _ = self.words.replaced(*emphasis.weights(prompt))
        ids = tokenizer(text, add_special_tokens=False).input_ids
        return self.words.restored(tokenizer.decode(ids[room:])).strip() if len(ids) > room else ""

    def pause(self) -> None:
        """Let the text encoders leave a GPU's memory to the rest of the model, until they are needed again."""
        self.paused = True
        if self.device.startswith("cuda"):  # other devices share the computer's memory
            self._move("cpu")

    def _move(self, device: str) -> None:
        elsewhere = [encoder for encoder in self.encoders if encoder.device.type != device.split(":")[0]]
        for encoder in elsewhere:
            encoder.to(device)
        if elsewhere and device == "cpu":
            torch.cuda.empty_cache()  # else new tensors would take parts of the freed blocks, and the rest stay unused

    # The cache

    def _shared(self, conditioning: Conditioning, negative: str) -> Conditioning:
        """The tensors of a negative prompt: those of an earlier conditioning, if there are any of the same shape."""
        return {
            name: self.negatives.setdefault((name, negative, tensor.shape), tensor)
            for name, tensor in conditioning.items()
            if name.startswith("negative_")
        }

    def _trim_cache(self) -> None:
        """Drop whatever is older than the newest CACHE_BYTES."""
        self.paused, total, counted = False, 0, set[int]()
        for key, conditioning in reversed([*self.cache.items()]):
            storages = [tensor.untyped_storage() for tensor in conditioning.values()]  # some are shared
            sizes = {each.data_ptr(): each.nbytes() for each in storages}
            total += sum(size for address, size in sizes.items() if address not in counted)
            counted |= sizes.keys()
            if total > CACHE_BYTES:
                del self.cache[key]

    # A keyframe is two prompts, and each of them windows, which the pipeline encodes one by one

    @torch.inference_mode()
    def _read(self, keyframe: Keyframe, guided: bool) -> Conditioning:
        conditioning = self._read_prompt(keyframe.prompt, keyframe.negative_prompt or None, guided)
        if self.family.negative_apart and guided:
            negative = self._read_prompt(keyframe.negative_prompt or self.family.empty or "", None, guided)
            conditioning |= {f"negative_{name}": tensor for name, tensor in negative.items()}
        if self.vision:
            return self.vision.join(conditioning, keyframe.image, keyframe.wordless, self.device)
        if keyframe.image:
            raise Error(
                f"{self.model} was loaded without what reads {keyframe.image.path}; give Settings(ip_adapter='own')"
            )
        return conditioning

    def _read_prompt(self, prompt: str, negative: str | None, guided: bool) -> Conditioning:
        """The conditioning of a prompt, window by window. If one of the two prompts has fewer windows, they are
        repeated."""
        windows, negatives = self._split(prompt)[0], [None] if negative is None else self._split(negative)[0]
        count = math.lcm(len(windows), len(negatives)) if guided else len(windows)
        parts = [
            self._read_window(windows[i % len(windows)], negatives[i % len(negatives)], guided) for i in range(count)
        ]
        first = parts[0]
        if len(parts) == 1:
            return first
        embeddings = {name: torch.cat([part[name] for part in parts]) for name in first if name in _EMBEDDINGS}
        return first | embeddings  # what stands for a whole prompt is the first window's

    def _split(self, prompt: str) -> tuple[list[_Window], str]:
        """The windows of a prompt, and the rest of it, which is not read."""
        whole = _Window(*self.words.replaced(*emphasis.weights(prompt)))
        if whole.is_weighted and not self.family.tokens:
            raise Error(f"'{prompt}': the model takes no weights such as (words:1.3); write \\( for a parenthesis")
        if self.family.windows == 1:
            return [whole], ""
        text, weights = whole
        tokenizer = self.pipe.tokenizer
        # Not verbose, since that warns of a long text.
        how = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}
        tokens = tokenizer(text, **how).offset_mapping
        room = tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()
        ends = _ends(text, [start for start, _ in tokens], room)
        parts = list(pairwise([0, *ends[: self.family.windows]]))
        return [_Window(text[a:b], weights[a:b]) for a, b in parts], text[parts[-1][1] :]

    def _read_window(self, window: _Window, negative: _Window | None, guided: bool) -> Conditioning:
        """The conditioning of a window, with the weights of its words, and as long as that of any other."""
        result = self._encode_prompt(window.text, None if negative is None else negative.text, guided)
        masks = {name: tensor for name, tensor in result.items() if "mask" in name}
        self.mask_dtypes |= {name: mask.dtype for name, mask in masks.items()}
        conditioning = {name: tensor.long() if name in masks else tensor for name, tensor in result.items()}
        for name, words in zip(_EMBEDDINGS, (window, negative)):
            if name in conditioning and words is not None and words.is_weighted:
                conditioning[name] = self._emphasise(conditioning[name].float(), words, guided)
        if self.family.ragged:
            return _pad(_heard(conditioning), self.most)
        # A mask of floating point is no yes or no, but added to the attention: it hides nothing.
        hides = self.family.masked and not any(mask.is_floating_point() for mask in masks.values())
        return _fill_hidden(conditioning) if hides else conditioning

    def _encode_prompt(self, text: str, negative: str | None, guided: bool) -> dict[str, Tensor]:
        """What the pipeline's own method returns, by name, for the same arguments as from its `__call__`."""
        arguments = self.defaults | {
            "prompt": text,
            "negative_prompt": self.defaults.get("negative_prompt") if negative is None else negative,
            "device": self.device,
            "do_classifier_free_guidance": guided,
        }
        if "max_sequence_length" in self.defaults:
            arguments["max_sequence_length"] = self.most
        named = self._call_encode_prompt(arguments)
        for number in range(1, self.family.readers):
            more = self._call_encode_prompt(arguments | {"text_encoder_index": number})
            named |= {f"{name}_{number + 1}": value for name, value in more.items()}
        return named

    def _call_encode_prompt(self, arguments: dict[str, Any]) -> dict[str, Tensor]:
        """What one call of it returns, by name; it is given those of the arguments that it takes."""
        wanted = inspect.signature(self.pipe.encode_prompt).parameters
        try:
            result = self.pipe.encode_prompt(**{name: arguments[name] for name in wanted if name in arguments})
        except NameError as error:  # of a library that is not installed, so that diffusers has not imported it
            raise missing_requirement(self.model, type(self.pipe).__name__) or error from None
        except ValueError as error:  # other programs may have downloaded all but that
            if "chat template" not in str(error):
                raise
            remedy = "" if os.path.isdir(self.model) else "; remove it from the hub's cache, and it is downloaded again"
            raise Error(
                f"{self.model} lacks chat_template.jinja beside its tokenizer, which its prompts need{remedy}"
            ) from None
        result = (result,) if isinstance(result, list) else result  # a list: of nothing but embeddings
        # A pipeline without negative prompts returns a list, or nothing, in their place.
        return {
            name: value[0].cpu()
            for name, value in zip(self.family.returns, result)
            if name and value is not None and len(value)
        }

    def _emphasise(self, embeddings: Tensor, window: _Window, guided: bool) -> Tensor:
        """Embeddings (tokens, d) moved away from those of the empty prompt, or towards them, by their words' weights,
        as ComfyUI does it; away from zeros where a mask would hide those."""
        weights: list[float] = []
        for name in self.family.tokens:
            tokenizer = getattr(self.pipe, name)
            if tokenizer is None:  # its encoder was left out; its embeddings are zeros
                continue
            length = len(embeddings) - len(weights)
            if name != self.family.tokens[-1]:
                length = min(length, tokenizer.model_max_length)
            ends = tokenizer(
                window.text, max_length=length, truncation=True, return_offsets_mapping=True
            ).offset_mapping
            token_weights = [window.weights[end - 1] if end > start else 1.0 for start, end in ends]
            weights += token_weights + [1.0] * (length - len(token_weights))
        by = torch.tensor(weights + [1.0] * (len(embeddings) - len(weights))).unsqueeze(1)
        empty = embeddings.new_zeros(()) if self.family.masked else self._read_prompt("", None, guided)["prompt_embeds"]
        return torch.where(by == 1, embeddings, empty + by * (embeddings - empty))


def _ends(text: str, tokens: Sequence[int], room: int) -> list[int]:
    """Where the parts of a text end, each of at most `room` tokens: between words, and after a comma or a full stop if
    one is near, as AUTOMATIC1111's web UI does it. tokens: where in the text each of them begins."""
    ends, first = [], 0
    while len(tokens) - first > room:
        # Not within a letter that is several tokens, which all begin where it begins.
        able = [i for i in range(first + 1, first + room + 1) if tokens[i] > tokens[i - 1]]
        between = [i for i in able if text[tokens[i] - 1].isspace()]
        phrases = [i for i in between if i > first + room - EARLY and text[: tokens[i]].rstrip().endswith((",", "."))]
        first = max(phrases or between or able or [first + room])
        ends.append(tokens[first])
    return [*ends, len(text)]


# Embeddings of unequal length. Masks are integers, which tells them from what is interpolated.


def _heard(conditioning: Conditioning) -> Conditioning:
    """Embeddings without the tokens that their masks hide, and without the masks."""
    return {
        name: tensor[conditioning[f"{name}_mask"].bool()] if f"{name}_mask" in conditioning else tensor
        for name, tensor in conditioning.items()
        if not name.endswith("_mask")
    }


def _pad(conditioning: Conditioning, length: int) -> Conditioning:
    """Embeddings (tokens, ...) of this length, filled up by their last token, or cut; each with its mask."""
    result = {}
    for name, tensor in conditioning.items():
        tensor = tensor[:length]
        extra = length - len(tensor)
        result[name] = torch.cat([tensor, tensor[-1:].expand(extra, *tensor.shape[1:])])
        result[f"{name}_mask"] = (torch.arange(length) < len(tensor)).long()
    return result


def _fill_hidden(conditioning: Conditioning) -> Conditioning:
    """Embeddings with the last token that is heard in place of those that their masks hide.

    On the way to a longer prompt these are heard too, one after the other. What an encoder leaves there would be noise;
    the last token, heard twice, changes least.
    """
    result = dict(conditioning)
    for name, mask in conditioning.items():
        if name.endswith("mask") and mask.any():
            embeddings = name.replace("attention_mask", "embeds").removesuffix("_mask")
            padded, heard = _pad({"": conditioning[embeddings][mask.bool()]}, len(mask)).values()
            result |= {embeddings: padded, name: heard}
    return result
