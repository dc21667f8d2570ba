"""Words that a text encoder learns from a file (Gal et al., 'An Image is Worth One Word', ICLR 2023): the file holds one
vector, or several, that stand in a prompt in the place of the word.

Knows no pictures, and not which prompts there are.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from walk import Error
from walk.hub import BUNDLED, EMBEDDINGS, find_embedding, find_lora, is_lora, tensor_shapes
from walk.loading import text_encoders

# What files call the vectors of each text encoder, in the order that pipelines have these; no word of its own is among
# them. AUTOMATIC1111's web UI says * and emb_params; diffusers' trainers say text_encoders_0, or as other tools.
_PARTS = ("*", "emb_params", "clip_l", "text_encoders_0", "clip_g", "text_encoders_1", "t5", "text_encoders_2")


class Embedding(NamedTuple):
    word: str
    vectors: list[Tensor]  # (count, width), one for each text encoder of the model


class Words:
    """What stands in a prompt for each of the words: tokens that the tokenizers have been given."""

    def __init__(self, tokens: Mapping[str, str] = MappingProxyType({})) -> None:
        self.tokens = {word: tokens[word] for word in sorted(tokens, key=len, reverse=True)}  # lest 'bad' hide 'bad-5'
        self.pattern = _pattern(self.tokens)

    def replaced(self, text: str, weights: Sequence[float]) -> tuple[str, list[float]]:
        """A text with the tokens in it, and the weight of each of its letters: of a word's tokens, as its own."""
        letters, values, end = "", list[float](), 0
        tokens = [*self.tokens.values()]
        for found in self.pattern.finditer(text):
            which = found.lastindex or 2  # by its group: letters of other sizes are not always those that lower() gives
            token = tokens[which - 2]
            letters += text[end : found.start()] + token
            values += [*weights[end : found.start()], *[weights[found.start(which)]] * len(token)]
            end = found.end()
        return letters + text[end:], [*values, *weights[end:]]

    def removed(self, text: str) -> str:
        """A text without the words."""
        return self.pattern.sub("", text)

    def bare(self, text: str) -> str:
        """A text with the words alone where ComfyUI's notation was."""
        return self.pattern.sub(lambda found: found[found.lastindex or 0], text)

    def restored(self, text: str) -> str:
        """A text with the words in the place of their tokens, of which some may have been cut off."""
        for word, tokens in self.tokens.items():
            text = text.replace(tokens, word)
        return re.sub(r"(<embedding-\d+-\d+> ?)+", "", text)


def _pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Finds the words, of several the first that fits, whole and in letters of any size; also as ComfyUI writes them, where
    a file's suffix may follow. Each word has a group; without words it finds nothing."""
    groups = "|".join(f"({re.escape(word)})" for word in words) or "(?!)"
    comfy = "|".join(map(re.escape, EMBEDDINGS))
    return re.compile(rf"(?<!\w)(embedding:)?(?:{groups})(?(1)(?:{comfy})?)(?!\w)", re.IGNORECASE)


def add(pipe: Any, named: Sequence[tuple[str, str]], loras: Iterable[str] = (), able: bool = True) -> Words:
    """Teach the words to the pipeline's tokenizers and text encoders.

    named: (file or hub id, word or '') of each, as `walk.settings.Settings.embeddings` has them. loras: files or hub
        ids of LoRAs, some of which bring words with them. able: whether the pipeline can be taught any.
    Raises Error for what is no embedding, or one for another model.
    """
    found = [(name, read(find_embedding(name), word)) for name, word in named]
    found += [(name, embedding) for name in loras for embedding in _bundled(find_lora(name))]
    if found and not able:
        raise Error(f"models of this family know their own words alone, and not that of {found[0][0]}; leave it out")
    tokens: dict[str, str] = {}
    for number, (name, embedding) in enumerate(found):
        if embedding.word.lower() in map(str.lower, tokens):
            raise Error(f"two embeddings are called '{embedding.word}'; give one another name, as FILE:WORD")
        _check_fits(name, embedding, pipe)
        # Named so that diffusers, which puts its own tokens in the place of words, finds none of its own.
        names = [f"<embedding-{number}-{k}>" for k in range(len(embedding.vectors[0]))]
        for (part, encoder), vectors in zip(text_encoders(pipe), embedding.vectors):
            _teach(_tokenizer(pipe, part), encoder, names, vectors)
        tokens[embedding.word] = "".join(names)
    return Words(tokens)


def unsaid(named: Sequence[tuple[str, str]], prompts: Sequence[str]) -> list[str]:
    """Notes on embeddings, as for `add`, whose words are in none of the prompts."""
    words = [(name, read(find_embedding(name), word).word) for name, word in named]
    return [
        f"no prompt has the word '{word}', which --embedding {name} is for"
        for name, word in words
        if not any(_pattern([word]).search(prompt) for prompt in prompts)
    ]


def read(path: Path, word: str = "") -> Embedding:
    """A file's vectors, and the word that they stand for: the one that is given, or the file's own, or its name."""
    held = _load(path)
    vectors = held.get("string_to_param", held)
    if isinstance(vectors, torch.nn.ParameterDict):  # which the method's own authors saved
        vectors = vars(vectors).get("_parameters")
    return _read(vectors if isinstance(vectors, dict) else {}, path, word, path.stem)


def _bundled(path: Path) -> list[Embedding]:
    """The words that a LoRA's file has beside it, whose tensors are called bundle_emb.WORD.emb_params, say."""
    if not any(name.startswith(BUNDLED) for name in tensor_shapes(path)):
        return []
    words: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(path).items():
        if name.startswith(BUNDLED):
            word, _, part = name.removeprefix(BUNDLED).replace(".string_to_param", "").rpartition(".")
            words.setdefault(word, {})[part] = tensor
    return [_read(tensors, path, word, word) for word, tensors in words.items()]


def _read(held: Mapping[str, Any], path: Path, given: str, usual: str) -> Embedding:
    vectors = {str(name): it.detach() for name, it in held.items() if isinstance(it, Tensor)}
    vectors = {name: it if it.ndim > 1 else it[None] for name, it in vectors.items()}
    words = [name for name in vectors if name not in _PARTS]
    if not vectors or any(it.ndim != 2 or not it.is_floating_point() for it in vectors.values()):
        raise Error(f"{path} is no embedding: it holds no vectors for a text encoder")
    if len(words) > 1 and is_lora(words):  # a single one may have 'floral' for its word
        raise Error(f"{path} is a LoRA; give it as --lora")
    if words and len(vectors) > 1:
        raise Error(
            f"{path} holds several words ({', '.join(words[:3])}, ...), or is no embedding; give one of one word"
        )
    order = words or sorted(vectors, key=_PARTS.index)
    if len({len(vectors[name]) for name in order}) > 1:
        raise Error(f"{path} is damaged: it has not as many vectors for each text encoder")
    return Embedding(given or (words or [usual])[0], [vectors[name] for name in order])


def _load(path: Path) -> dict[str, Any]:
    if path.suffix == ".safetensors":
        tensor_shapes(path)  # which says better what is wrong
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([torch.nn.ParameterDict]):  # which holds nothing but data
            held = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if re.search("Unsupported operand|invalid load key", str(error)):  # no pickle at all, as a page of the web
            raise Error(f"{path} is damaged, or no embedding; download it again") from None
        raise Error(
            f"{path} may hold programs, which walk does not run; take the embedding's .safetensors file"
        ) from None
    except Exception as error:  # torch fails in a dozen ways on files that are cut off
        raise Error(f"{path} is damaged, or no embedding ({type(error).__name__})") from None
    if not isinstance(held, dict):
        raise Error(f"{path} is no embedding: it holds no vectors for a text encoder")
    return held


def _tokenizer(pipe: Any, part: str) -> Any:
    return pipe.components[part.replace("text_encoder", "tokenizer")]


def _check_fits(name: str, embedding: Embedding, pipe: Any) -> None:
    widths = [encoder.get_input_embeddings().weight.shape[1] for _, encoder in text_encoders(pipe)]
    if (its := [vectors.shape[1] for vectors in embedding.vectors]) != widths:
        raise Error(
            f"the embedding {name} does not fit the model: its vectors have {_joined(its)} numbers, and those of the "
            f"model's text encoders {_joined(widths)}; give another --embedding"
        )


def _joined(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths))


def _teach(tokenizer: Any, encoder: Any, names: Sequence[str], vectors: Tensor) -> None:
    """Give the tokenizer these tokens, and the text encoder their vectors."""
    tokenizer.add_tokens([*names])
    rows = encoder.get_input_embeddings().weight.shape[0]
    encoder.resize_token_embeddings(max(rows, len(tokenizer)), mean_resizing=False)
    with torch.no_grad():
        encoder.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids([*names])] = vectors.to(encoder.dtype)
    # An old configuration of CLIP's has 2 for the last token's number, which transformers takes for the highest one in
    # a prompt. With that of a new token it would take its summary of the prompt from there.
    for module in encoder.modules():
        if getattr(module, "eos_token_id", None) == 2:
            module.eos_token_id = tokenizer.eos_token_id
