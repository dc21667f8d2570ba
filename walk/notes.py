"""What of a prompt a model will not understand, in words for the user.

Knows the words that the built-in model has seen, and no other model.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Callable

from walk.emphasis import Leftover, leftovers, unescaped
from walk.hub import find_model
from walk.settings import BUILT_IN
from walk.text import plural, quoted

QUOTED = 8  # words at the beginning, and at the end, of what is not read
NAMED = 8  # of a prompt's words that the built-in model has never seen
_FILLERS = ("and", "with", "to", "by", "at", "near", "next", "over", "for", "from", "is", "as", "no", "its")
# By the options that other tools take in a prompt, after two hyphens: what to write instead.
_OPTIONS = {
    **dict.fromkeys(("no", "neg", "negative", "n", "negative_prompt"), "; write | negative={}"),
    "prompt": "; write the prompt alone: {}",
    **dict.fromkeys(("ar", "aspect", "w", "h"), "; give --width and --height"),
    "seed": "; write | seed={}",
    "style": "; give --style",
    "steps": "; give --steps",
    **dict.fromkeys(("cfg", "cfg_scale"), "; give --guidance"),
    "sampler_name": "; give --scheduler",
}


def shortened(text: str) -> str:
    """The text in quotes, or, of a long one, its beginning and its end."""
    words = text.split()
    if len(words) <= 3 * QUOTED:
        return f"'{text}'"
    start, end = " ".join(words[:QUOTED]), " ".join(words[-QUOTED:])
    return f"'{start} ... {end}' ({len(words)} words)"


def leftover(found: Leftover) -> str:
    """A note of what becomes of it, and of what to write instead."""
    return _NOTES[found.kind](found.text)


def _as_words(text: str, more: str) -> str:
    return f"'{text.strip()}' is read as words{more}"


def _as_letters(text: str, more: str) -> str:
    return f"'{text}' is read as it stands{more}"


def _lora(text: str) -> str:
    name, _, weights = text[1:-1].partition(":")[2].partition(":")
    weight = weights.partition(":")[0]  # of several the first; others are for the text encoder, or for blocks
    file = quoted(f"{name}.safetensors" + f":{weight}" * bool(weight))
    return _as_words(text, f"; give --lora {file} in its place")


def _option(text: str) -> str:
    name, _, value = text[2:].strip(" ,.").replace("=", " ").partition(" ")
    return _as_words(text, _OPTIONS.get(name.lower(), "").format(value.strip(' "') or "..."))


def _nested(text: str, factor: float) -> str:
    """The note of ((words)) or [[words]], of whose brackets each pair stands for this factor."""
    depth = len(text) - len(text.lstrip(text[0]))
    return _as_letters(text, f"; give ({text.strip('()[]')}:{factor**depth:.2g})")


def _plus(text: str) -> str:
    words, _, more = text.rpartition(")")
    return _as_letters(text, f"; give {words}:{1.1 ** len(more):.2g})")


def _weight(text: str) -> str:
    why = "weight is not a number such as 1.5" if text.endswith(")") else "parenthesis is not closed"
    return _as_letters(text, f": its {why}")


# By the kind of a Leftover, whose text is the argument.
_NOTES: dict[str, Callable[[str], str]] = {
    "number": lambda text: "a list's number is read as words: a prompt needs none",
    "bullet": lambda text: f"a list's {text} is read as a word: a prompt needs none",
    "quote": lambda text: "quotes around all of it are read as letters: a prompt needs none",
    "lora": _lora,
    "hypernet": lambda text: _as_words(text, "; walk knows no hypernetworks"),
    "louder": lambda text: _nested(text, 1.1),
    "plus": _plus,
    "option": _option,
    "ratio": lambda text: _as_letters(text, "; words that count for more are (words:1.5)"),
    "divider": lambda text: f"'{text}' is read as a word: a prompt is not divided there",
    "choice": lambda text: _as_letters(text, ": none of them is chosen"),
    "wildcard": lambda text: _as_letters(text, ": no word takes its place"),
    "embedding": lambda text: _as_words(text, "; give its file as --embedding"),
    "setting": lambda text: _as_words(text, f"; give it after a bar: | {text}"),
    "quieter": lambda text: _nested(text, 1 / 1.1),
    "heading": lambda text: f"'{text}' is drawn like any other prompt; lines that begin with # are skipped",
    "steps": lambda text: _as_letters(text, ": words stay the same from step to step"),
    "weight": _weight,
}
# Of which `unknown` says no more.
_READ_AS_WORDS = ("heading", "lora", "hypernet", "option", "divider", "embedding", "setting")


def _words(text: str) -> dict[str, None]:
    """The words of a text in order, each once."""
    return dict.fromkeys(re.findall(r"[^\W\d_]+", re.sub(r"['’]s\b", "", text.lower())))


@functools.lru_cache
def _vocabulary() -> dict[str, None]:
    """Every word of the captions that the built-in model learned from."""
    lines = (find_model(BUILT_IN) / "words.txt").read_text("utf-8").splitlines()
    return _words(" ".join(line for line in lines if not line.startswith("#")))


def unknown(prompt: str) -> list[str]:
    """A note of the words that the built-in model has never seen, if there are any. Those of notation have notes already."""
    text = unescaped(prompt)
    for found in leftovers(prompt):
        if found.kind in _READ_AS_WORDS:
            text = text.replace(found.text, " ")
    # Emoji beside words are taken for ornament.
    emoji = dict.fromkeys(letter for letter in text if unicodedata.category(letter) == "So")
    words = [word for word in _words(text) or emoji if word not in {*_vocabulary(), *_FILLERS}]
    if not words:
        return []
    more = f" and {plural(len(words) - NAMED, 'more word')}" if len(words) > NAMED else ""
    return [f"the built-in model has never seen {', '.join(map(_named, words[:NAMED]))}{more}, and guesses"]


def _named(word: str) -> str:
    """The word, with what may have been meant: its singular, or a slip of one letter, but not of the first. Of shorter
    words, or further off, most suggestions are another word: a frog for fog, a nest for best, a blueberry for blurry."""
    known = sorted(each for each in _vocabulary().keys() - set(_FILLERS) if each[0] == word[0])
    near = [one for one in (word.removesuffix("s"), word.removesuffix("es")) if one != word and one in known]
    near = near or (difflib.get_close_matches(word, known, n=1, cutoff=0.85) if len(word) >= 5 else [])
    return f"'{word}'" + (f" (it knows '{near[0]}')" if near else "")
