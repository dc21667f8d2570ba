"""What of a prompt a model will not understand, in words for the user.

Knows the words that the built-in model has seen, and no other model.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata

from walk.emphasis import leftovers, unescaped
from walk.hub import find_model
from walk.settings import BUILT_IN
from walk.text import plural

QUOTED = 8  # words, of the beginning and the end of what is not read
NAMED = 8  # words that the built-in model has never seen, of a prompt
_SETTING = re.compile(r"[a-z]+=", re.IGNORECASE)
_FILLERS = ("and", "with", "to", "by", "at", "near", "next", "over", "for", "from", "is", "as", "no", "its")
# What other tools take in a prompt after two hyphens, and what it is here.
_OPTIONS = {
    **dict.fromkeys(("no", "neg", "negative", "n"), "; write | negative={}"),
    **dict.fromkeys(("ar", "aspect", "w", "h"), "; give --width and --height"),
    "seed": "; write | seed={}",
    "style": "; give --style",
    "steps": "; give --steps",
    "cfg": "; give --guidance",
}


def shortened(text: str) -> str:
    """Quoted: all of it, or its beginning and its end."""
    words = text.split()
    if len(words) <= 3 * QUOTED:
        return f"'{text}'"
    start, end = " ".join(words[:QUOTED]), " ".join(words[-QUOTED:])
    return f"'{start} ... {end}' ({len(words)} words)"


def leftover(text: str) -> str:
    """Of what `emphasis.leftovers` finds: what becomes of it, and what was meant."""
    if text[0].isdigit():
        return "a list's number is read as words: a prompt needs none"
    if len(text) == 1:
        listed = f"a list's {text} is read as a word"
        return f"{listed if text in '-*•' else 'quotes around all of it are read as letters'}: a prompt needs none"
    if instead := _as_words(text):
        return f"'{text.strip()}' is read as {instead}"
    return f"'{text}' is read as it stands{_weighted(text) or _why(text)}"


def _as_words(text: str) -> str:
    """Of what is drawn as any words are; '' if it is none of that."""
    if text.startswith("--"):
        name, _, value = text[2:].strip(" ,.").replace("=", " ").partition(" ")
        return "words" + _OPTIONS.get(name.lower(), "").format(value.strip() or "...")
    if text.startswith("<"):
        return f"words; give --lora {text[1:-1].partition(':')[2]}"
    if _SETTING.match(text):
        return f"words; give it after a bar: | {text}"
    if text.lower().startswith("embedding:"):
        return "words: embeddings are not loaded"
    return "a word: a prompt is not divided there" if text in ("AND", "BREAK") else ""


def _weighted(text: str) -> str:
    """How words that count for more or less are written here, if that is meant."""
    if text.startswith(("((", "[[")):
        depth = len(text) - len(text.lstrip(text[0]))
        return f"; give ({text.strip('()[]')}:{1.1 ** (depth if text[0] == '(' else -depth):.2g})"
    if text.endswith("+"):
        words, _, more = text.rpartition(")")
        return f"; give {words}:{1.1 ** len(more):.2g})"
    return "; words that count for more are (words:1.5)" if text.startswith("::") else ""


def _why(text: str) -> str:
    if text.startswith("["):
        return ": words stay the same from step to step"
    if text.startswith("{"):
        return ": none of them is chosen"
    if text.startswith("__"):
        return ": no word takes its place"
    return ": its weight is not a number such as 1.5" if text.endswith(")") else ": its parenthesis is not closed"


def _words(text: str) -> dict[str, None]:
    """In their order, each once."""
    return dict.fromkeys(re.findall(r"[^\W\d_]+", re.sub(r"['’]s\b", "", text.lower())))


@functools.lru_cache
def _vocabulary() -> dict[str, None]:
    """Every word of the captions that the built-in model learned from."""
    lines = (find_model(BUILT_IN) / "words.txt").read_text("utf-8").splitlines()
    return _words(" ".join(line for line in lines if not line.startswith("#")))


def unknown(prompt: str) -> list[str]:
    """A note of the words that the built-in model has never seen, if there are any, but for those of notation."""
    said = unescaped(prompt)
    for text in filter(_as_words, leftovers(prompt)):
        said = said.replace(text, " ")
    # Emoji beside words are taken for ornament.
    pictured = dict.fromkeys(letter for letter in said if unicodedata.category(letter) == "So")
    words = [word for word in _words(said) or pictured if word not in {*_vocabulary(), *_FILLERS}]
    if not words:
        return []
    more = f" and {plural(len(words) - NAMED, 'more word')}" if len(words) > NAMED else ""
    return [f"the built-in model has never seen {', '.join(map(_named, words[:NAMED]))}{more}, and guesses"]


def _named(word: str) -> str:
    """With what may have been meant: one of several, or a slip of one letter, but not in the first one. Of shorter words,
    and further off, most suggestions are another word: a frog for fog, a nest for best, a blueberry for blurry."""
    able = sorted(each for each in _vocabulary().keys() - set(_FILLERS) if each[0] == word[0])
    near = [one for one in (word.removesuffix("s"), word.removesuffix("es")) if one != word and one in able]
    near = near or (difflib.get_close_matches(word, able, n=1, cutoff=0.85) if len(word) >= 5 else [])
    return f"'{word}'" + (f" (it knows '{near[0]}')" if near else "")
