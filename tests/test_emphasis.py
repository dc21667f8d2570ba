"""Words that count for more: the notation, and what becomes of it in every family that can."""

import dataclasses

import diffusers
import numpy as np
import pytest
import tiny
import torch
from oracle import levels, load, pictures

from walk import Error, Keyframe, emphasis, families, read_prompts

SIZE = {"width": 64, "height": 32}


@pytest.mark.parametrize(
    ("prompt", "text", "weighed"),
    [
        ("a red fox", "a red fox", {}),
        ("a (red:1.3) fox", "a red fox", {"red": 1.3}),
        ("(a red : .5 ) fox", "a red fox", {"a red": 0.5}),
        ("((red:2) apple:1.5) pie", "red apple pie", {"red": 3.0, " apple": 1.5}),
        ("(red:0) (fox:4)", "red fox", {"red": 0.0, "fox": 4.0}),
        ("a fox (side view), [old] 3:4", "a fox (side view), [old] 3:4", {}),
        (r"a fox \(drawn:1.3\)", "a fox (drawn:1.3)", {}),
        ("(a (b:1.2) c", "(a b c", {"b": 1.2}),
        ("a) (b:1.2", "a) (b:1.2", {}),
        (r"(a \(b\):1.2)", "a (b)", {"a (b)": 1.2}),
        ("(:1.3) (a:b)", "(:1.3) (a:b)", {}),
    ],
)
def test_only_parentheses_with_a_number_are_weights(prompt, text, weighed):
    found, letters = emphasis.weights(prompt)
    expected = [1.0] * len(text)
    for words, weight in weighed.items():
        start = text.index(words)
        expected[start : start + len(words)] = [weight] * len(words)
    assert found == emphasis.without_weights(prompt) == text
    assert letters == pytest.approx(expected)


@pytest.mark.parametrize(
    ("prompts", "how", "where"),
    [
        (["a cat", "a (red:5) fox"], {}, "prompt 2"),
        (["a cat | negative=(fog:12.5)"], {}, "prompt 1"),
        (["a cat"], {"negative": "(fog:9)"}, "negative prompt"),
        (["a cat"], {"style": "({}:9)"}, "style"),
    ],
)
def test_too_great_a_weight_is_refused_by_its_line(prompts, how, where):
    with pytest.raises(
        Error, match=rf"{where}: a weight of [\d.]+ is too much; \(words:1.3\) is possible up to 4, and"
    ):
        read_prompts(prompts, **how)


def test_a_time_of_day_in_lyrics_is_no_weight(tmp_path):
    song = tmp_path / "song.lrc"
    song.write_text("[00:00.00]late (about 2:30)\n[00:04.00]later\n")
    assert emphasis.weights(read_prompts(song)[0].prompt)[1] == [1.0] * len("late (about 2 30)")


LEFTOVERS = {
    "a (panda:1.5": "'(panda:1.5' is read as it stands: its parenthesis is not closed",
    "a (big panda:1.5, a (red:2) fox": "'(big panda:1.5' is read as it stands: its parenthesis is not closed",
    "a (panda:1,5)": "'(panda:1,5)' is read as it stands: its weight is not a number such as 1.5",
    "a (panda:-1)": "'(panda:-1)' is read as it stands: its weight is not a number such as 1.5",
    "a fox <lora:foo:0.8>": "'<lora:foo:0.8>' is read as words; give --lora foo.safetensors:0.8 in its place",
    "a fox, <LORA:foo>": "'<LORA:foo>' is read as words; give --lora foo.safetensors in its place",
    "a fox <lyco:my foo:0.8:0.5>": "'<lyco:my foo:0.8:0.5>' is read as words; give --lora 'my foo.safetensors:0.8' in its place",
    "a fox <hypernet:foo:1>": "'<hypernet:foo:1>' is read as words; walk knows no hypernetworks",
    "a ((panda))": "'((panda))' is read as it stands; give (panda:1.2)",
    "a fox, [[[blurry, fog]]]": "'[[[blurry, fog]]]' is read as it stands; give (blurry, fog:0.75)",
    "a [fox:panda:0.5]": "'[fox:panda:0.5]' is read as it stands: words stay the same from step to step",
    "a [fox::12] in snow": "'[fox::12]' is read as it stands: words stay the same from step to step",
    "a [fox|panda]": "'[fox|panda]' is read as it stands: words stay the same from step to step",
    "a red apple --neg blurry, fog": "'--neg blurry, fog' is read as words; write | negative=blurry, fog",
    "a fox --no text --ar 16:9": "'--no text' is read as words; write | negative=text",
    "a fox --v 6 --ar 16:9": "'--ar 16:9' is read as words; give --width and --height",
    "a fox --cfg_scale 3": "'--cfg_scale 3' is read as words; give --guidance",
    'a fox --sampler_name "Euler a" --seed 5': "'--sampler_name \"Euler a\"' is read as words; give --scheduler",
    'a fox --negative_prompt "red, sea" --seed 5': (
        "'--negative_prompt \"red, sea\"' is read as words; write | negative=red, sea"
    ),
    '--prompt "a fox" --seed 5': "'--prompt \"a fox\"' is read as words; write the prompt alone: a fox",
    "a (panda:`sin(t)`) in snow": "'(panda:`sin(t)`)' is read as it stands: its weight is not a number such as 1.5",
    "a fox --v 6, in snow": "'--v 6' is read as words",
    "a fox seed=4": "'seed=4' is read as words; give it after a bar: | seed=4",
    "a fox, time=1:02.5": "'time=1:02.5' is read as words; give it after a bar: | time=1:02.5",
    "a fox negative=blurry, fog": "'negative=blurry, fog' is read as words; give it after a bar: | negative=blurry, fog",
    "a (fox)++ in snow": "'(fox)++' is read as it stands; give (fox:1.2)",
    "a fox::1.5 in snow": "'::1.5' is read as it stands; words that count for more are (words:1.5)",
    "a fox:: snow": "'::' is read as it stands; words that count for more are (words:1.5)",
    "a {fox|panda}": "'{fox|panda}' is read as it stands: none of them is chosen",
    "an __animal__, red": "'__animal__' is read as it stands: no word takes its place",
    "a fox, embedding:easy-neg": "'embedding:easy-neg' is read as words; give its file as --embedding",
    "a fox BREAK snow": "'BREAK' is read as a word: a prompt is not divided there",
    "1. a fox": "a list's number is read as words: a prompt needs none",
    "12) a fox": "a list's number is read as words: a prompt needs none",
    "- a lemon": "a list's - is read as a word: a prompt needs none",
    "* a frog": "a list's * is read as a word: a prompt needs none",
    "[Chorus 2]": "'[Chorus 2]' is drawn like any other prompt; lines that begin with # are skipped",
    '"a frog"': "quotes around all of it are read as letters: a prompt needs none",
    "'a frog'": "quotes around all of it are read as letters: a prompt needs none",
    "“a frog”": "quotes around all of it are read as letters: a prompt needs none",
    '"a ((panda))"': "'((panda))' is read as it stands; give (panda:1.2)",
    "a fox AND a panda": "'AND' is read as a word: a prompt is not divided there",
}


@pytest.fixture(scope="module")
def toybox():
    return load("toybox")


@pytest.mark.parametrize("where", ["prompt", "negative prompt"])
@pytest.mark.parametrize(("prompt", "note"), LEFTOVERS.items())
def test_notation_that_is_read_as_letters_is_noted(toybox, where, prompt, note):
    if where != "prompt" and "|" in prompt:  # which no negative prompt has
        return
    keyframe = Keyframe(prompt, 0) if where == "prompt" else Keyframe("a fox", 0, prompt)
    assert note in toybox.notes(keyframe)


@pytest.mark.parametrize(
    "prompt",
    [
        "a fox (side view), [old] 3:4",
        "a (red:1.3) fox, ((big:1.2) mill:0.8)",
        "((red:2))",
        r"a fox \(drawn:1.3\), \(unclosed:2",
        r"sunrise \(at 6:30\) [6:30] [scene 2:1]",
        "(a fox: 3 of them) and an owl :) or :(",
        "a fox (unclosed, an owl",
        "one fox | two owls, [a | in brackets",
        "a sign that says <open>, 5 < 6",
        "he said: (what?) [laughs] [chorus: all]",
        "(fig:1 below), f(x) = ((1",
        "a fox -- and an owl --, then snow-- and a well--known face",
        'a sign that says "BREAK" or COFFEE BREAK, ROCK AND ROLL, AND NOW, and break',
        "C++ code on a screen, 2+2, a (big)+small fox, ____ and std::vector",
        "the equation E=mc2, a=b, time = 5, bar=none, seedless, {x} {red}, embedding: a gem",
        "at 12::30, a b::c d",
        '"open" on a sign, and "closed"',
        "'tis a fox, dogs' home",
        "1984. A book, 2. an owl",
        "1.5 foxes - and * an owl, 3 frogs",
        "-20 degrees",
    ],
)
def test_plain_words_in_brackets_are_not_taken_for_notation(prompt):
    assert emphasis.leftovers(prompt) == []


def test_the_words_of_a_lora_are_not_noted_once_more_as_unknown(toybox):
    assert toybox.notes(Keyframe("a fox <lora:zzyx:0.8>", 0)) == [
        LEFTOVERS["a fox <lora:foo:0.8>"].replace("foo", "zzyx")
    ]


def test_what_is_left_over_is_named_once_and_in_order():
    found = emphasis.leftovers("<lora:b:1> ((a)) <lora:b:1> (c:1")
    assert found == [("lora", "<lora:b:1>"), ("louder", "((a))"), ("weight", "(c:1")]


FAMILIES = {
    "StableDiffusionPipeline": tiny.stable_diffusion,
    "StableDiffusionXLPipeline": tiny.stable_diffusion_xl,
    "StableDiffusion3Pipeline": tiny.stable_diffusion_3,
    "FluxPipeline": tiny.flux,
    "ChromaPipeline": tiny.chroma,
    "PixArtAlphaPipeline": tiny.pixart_alpha,
    "PixArtSigmaPipeline": tiny.pixart_sigma,
    "BriaPipeline": tiny.bria,
    "CogView3PlusPipeline": tiny.cogview3,
    "AuraFlowPipeline": tiny.aura_flow,
}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    name = request.param
    return load(FAMILIES[name](tmp_path_factory.mktemp(name)), **SIZE, steps=2, batch=1)


def embeddings(model, prompt):
    return model.encode(Keyframe(prompt, 0))["prompt_embeds"]


def test_every_family_that_takes_weights_is_tried():
    known = {name for name, family in families.FAMILIES.items() if family.tokens}
    assert known == {*FAMILIES, "LatentConsistencyModelPipeline"}


def test_only_the_rows_of_the_words_move_and_they_move_as_far_as_was_said(model):
    plain = embeddings(model, "a red fox")
    more, less, none = (embeddings(model, f"a (red:{weight}) fox") for weight in (1.5, 0.5, 0))
    moved = (more != plain).any(dim=1)
    encoders = len(model.family.tokens)
    assert encoders <= moved.sum() <= 3 * encoders, "a token or a few, by each encoder"
    torch.testing.assert_close(more - plain, plain - less)
    reference = (
        torch.zeros_like(plain) if model.family.masked else model.reader._read_prompt("", None, True)["prompt_embeds"]
    )
    torch.testing.assert_close(none[moved], reference[moved])
    torch.testing.assert_close(embeddings(model, "(a red fox:1.0)"), plain, rtol=0, atol=0)


def test_a_picture_changes_with_its_words_weights_and_little_by_little(model):
    keyframe = Keyframe("a red fox", 3)
    weights = ("a red fox", "a (red:1.01) fox", "a (red:2) fox")
    plain, hardly, much = (pictures(model, dataclasses.replace(keyframe, prompt=p))[0] for p in weights)
    apart = [np.abs(other.astype(float) - plain).mean() for other in (hardly, much)]
    assert apart[0] < apart[1]


def test_the_weighted_word_is_the_one_that_is_meant(tmp_path):
    """The picture is the plain pipeline's own, from embeddings whose one row was moved by hand."""
    folder = tiny.stable_diffusion(tmp_path)
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    tokens = pipe.tokenizer.convert_ids_to_tokens(pipe.tokenizer("x y z").input_ids)
    row = next(i for i, token in enumerate(tokens) if token.startswith("y"))
    with torch.no_grad():
        (prompt, _), (empty, _) = (pipe.encode_prompt(text, "cpu", 1, False) for text in ("x y z", ""))
    prompt[0, row] = empty[0, row] + 1.5 * (prompt[0, row] - empty[0, row])
    generator = torch.Generator().manual_seed(3)
    expected = pipe(prompt_embeds=prompt, num_inference_steps=2, guidance_scale=1.0, generator=generator, **SIZE)
    model = load(folder, **SIZE, steps=2, guidance=1.0)
    assert levels(pictures(model, Keyframe("x (y:1.5) z", 3))[0], np.asarray(expected.images[0])) <= 1


def test_a_negative_prompt_has_weights_too(tmp_path):
    model = load(tiny.stable_diffusion(tmp_path), **SIZE, steps=2, guidance=5.0)
    plain, heavy = (model.encode(Keyframe("a fox", 0, negative)) for negative in ("a fog", "a (fog:1.5)"))
    assert (plain["negative_prompt_embeds"] != heavy["negative_prompt_embeds"]).any()
    assert torch.equal(plain["prompt_embeds"], heavy["prompt_embeds"])


def test_a_family_that_cannot_says_so(tmp_path):
    model = load(tiny.lumina2(tmp_path), **SIZE, steps=2)
    for read in (model.notes, lambda keyframe: pictures(model, keyframe)):  # notes come before the first picture
        with pytest.raises(Error, match=r"'a \(red:1.3\) fox': the model takes no weights such as \(words:1.3\)"):
            read(Keyframe("a (red:1.3) fox", 3))


def test_parentheses_too_deep_within_each_other_are_letters():
    deep = emphasis.DEEP
    assert emphasis.weights("(" * deep + "a" + ":1)" * deep)[0] == "a"
    assert emphasis.weights("(" * (deep + 1) + "a" + ":1)" * (deep + 1))[0] == "(a:1)"


def test_notes_are_of_the_words_alone(toybox):
    notes = toybox.notes(Keyframe("a (zebrafish:1.3) on a (blue:1.2) background", 0))
    assert len(notes) == 1
    assert "'zebrafish'" in notes[0]
