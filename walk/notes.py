"""What of a prompt a model will not understand, in words for the user.

Knows the words that the built-in model has seen, and no other model.
"""

from __future__ import annotations

import difflib
import functools
import re

from walk.hub import find
from walk.settings import BUILT_IN
from walk.text import plural

QUOTED = 8  # words, of the beginning and the end of what is not read
NAMED = 8  # words that the built-in model has never seen, of a prompt
_FILLERS = ("and", "with", "to", "by", "at", "near", "next", "over", "for", "from", "is", "as", "no", "its")


def shortened(text: str) -> str:
    """Quoted: all of it, or its beginning and its end."""
    words = text.split()
    if len(words) <= 3 * QUOTED:
        return f"'{text}'"
    start, end = " ".join(words[:QUOTED]), " ".join(words[-QUOTED:])
    return f"'{start} ... {end}' ({len(words)} words)"


def leftover(text: str) -> str:
    """Of what `emphasis.leftovers` finds: what becomes of it, and what was meant."""
    if text.startswith("<"):
        return f"'{text}' is read as words; give --lora {text[1:-1].partition(':')[2]}"
    if text.startswith(("((", "[[")):
        depth = len(text) - len(text.lstrip(text[0]))
        weight = 1.1 ** (depth if text[0] == "(" else -depth)
        return f"'{text}' is read as it stands; give ({text.strip('()[]')}:{weight:.2g})"
    if text.startswith("["):
        return f"'{text}' is read as it stands: words stay the same from step to step"
    if text.endswith(")"):
        return f"'{text}' is read as it stands: its weight is not a number such as 1.5"
    return f"'{text}' is read as it stands: its parenthesis is not closed"


def _words(text: str) -> dict[str, None]:
    """In their order, each once."""
    return dict.fromkeys(re.findall(r"[^\W\d_]+", re.sub(r"['’]s\b", "", text.lower())))


@functools.lru_cache
def _vocabulary() -> dict[str, None]:
    """Every word of the captions that the built-in model learned from."""
    lines = (find(BUILT_IN) / "words.txt").read_text("utf-8").splitlines()
    return _words(" ".join(line for line in lines if not line.startswith("#")))


def unknown(prompt: str) -> list[str]:
    """A note of the words that the built-in model has never seen, if there are any."""
    words = [word for word in _words(prompt) if word not in {*_vocabulary(), *_FILLERS}]
    if not words:
        return []
    more = f" and {plural(len(words) - NAMED, 'more word')}" if len(words) > NAMED else ""
    return [f"the built-in model has never seen {', '.join(map(_named, words[:NAMED]))}{more}, and guesses"]


def _named(word: str) -> str:
    """With what may have been meant: a slip of one letter, but not in the first one. Of shorter words, and further
    off, most suggestions are another word: a frog for fog, a nest for best, a blueberry for blurry."""
    able = sorted(each for each in _vocabulary().keys() - set(_FILLERS) if each[0] == word[0])
    near = difflib.get_close_matches(word, able, n=1, cutoff=0.85) if len(word) >= 5 else []
    return f"'{word}'" + (f" (it knows '{near[0]}')" if near else "")
