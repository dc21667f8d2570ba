"""Prompts that are longer than a text encoder's window: read to their end, and walked to and from without a jump."""

import dataclasses
import itertools

import diffusers
import numpy as np
import pytest
import tiny
import torch
from oracle import levels, load, pictures

from walk import Keyframe, Walk, families
from walk.reading import _ends
from walk.render import inputs, render

SIZE = {"width": 64, "height": 32}
GUIDANCE = 40.0  # so that tiny models hear their prompts
FAMILIES = {
    "StableDiffusionPipeline": tiny.stable_diffusion,
    "LatentConsistencyModelPipeline": tiny.latent_consistency,
    "StableDiffusionXLPipeline": tiny.stable_diffusion_xl,
}
# A letter is a token, and 14 fill a window.
PARTS = ("a b c d e f g h i j k l m n", "o p q r s t u v w x y z 0 1", "2 3 4")
LONG = Keyframe(" ".join(PARTS), 3)
SHORT = Keyframe("a fox", 5)


@pytest.fixture(scope="module", params=FAMILIES)
def model(request, tmp_path_factory):
    folder = FAMILIES[request.param](tmp_path_factory.mktemp(request.param))
    return load(folder, **SIZE, steps=1, batch=2, guidance=GUIDANCE)


def by_hand(model, parts, negatives):
    """The plain pipeline's picture, from embeddings of the parts that were put one after the other by hand."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(model.settings.model)
    pipe.set_progress_bar_config(disable=True)
    guided = "Consistency" not in type(pipe).__name__  # in which guidance is built in

    def of_all(texts):
        with torch.no_grad():
            made = [
                pipe.encode_prompt(text, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
                for text in texts
            ]
        return torch.cat([one[0] for one in made], dim=1), made[0][2:]

    (embeddings, pooled), (negative, negative_pooled) = of_all(parts), of_all(negatives)
    call = {"prompt_embeds": embeddings}
    if guided:
        call["negative_prompt_embeds"] = negative
    if pooled:
        call |= {"pooled_prompt_embeds": pooled[0], "negative_pooled_prompt_embeds": negative_pooled[0]}
    generator = torch.Generator().manual_seed(LONG.seed)
    return np.asarray(
        pipe(**call, generator=generator, num_inference_steps=1, guidance_scale=GUIDANCE, **SIZE).images[0]
    )


def test_every_family_that_reads_long_prompts_is_tried():
    assert {name for name, family in families.FAMILIES.items() if family.windows > 1} == set(FAMILIES)


def test_a_long_prompt_is_all_of_its_parts_one_after_the_other(model):
    negative = "fog and rain"  # of one part, which the pipeline wants to be as long as the prompt
    keyframe = dataclasses.replace(LONG, negative_prompt=negative)
    expected = by_hand(model, PARTS, [negative] * 3)
    assert levels(pictures(model, keyframe)[0], expected) <= 1
    assert levels(pictures(model, dataclasses.replace(keyframe, prompt=PARTS[0]))[0], expected) > 1
    assert model.notes(LONG) == []


def test_a_long_negative_prompt_is_heard_whole(model):
    if not model.family.negatives:
        pytest.skip("it takes none")
    keyframe = dataclasses.replace(LONG, prompt="a fox", negative_prompt=f"{PARTS[0]} {PARTS[1]}")
    assert levels(pictures(model, keyframe)[0], by_hand(model, ["a fox"] * 2, PARTS[:2])) <= 1
    # Each as often as both become equally long: three parts, and two.
    keyframe = dataclasses.replace(keyframe, prompt=LONG.prompt)
    assert levels(pictures(model, keyframe)[0], by_hand(model, PARTS * 2, PARTS[:2] * 3)) <= 1


def test_a_negative_prompt_is_as_long_as_each_prompt_that_it_goes_with(model):
    for keyframe in (SHORT, LONG, SHORT):
        made = model.encode(dataclasses.replace(keyframe, negative_prompt="fog"))
        assert len({len(made[name]) for name in made if name.endswith("prompt_embeds") and "pooled" not in name}) == 1


def test_a_picture_is_the_same_where_its_prompt_is_said_twice(model):
    """What a frame between a short and a long prompt relies upon."""
    once = model.encode(SHORT)
    twice = {name: torch.cat([t, t]) if "pooled" not in name else t for name, t in once.items()}
    noise = model.noise(SHORT.seed)[None]
    first, second = (
        model.decode(model.denoise(noise, {name: t[None] for name, t in c.items()}))().numpy() for c in (once, twice)
    )
    assert levels(first, second) <= 1


@pytest.mark.parametrize("smooth", [True, False])
def test_a_walk_between_short_and_long_prompts_does_not_jump_and_any_frame_is_the_same_alone(model, smooth):
    walk = Walk.through([SHORT, LONG, Keyframe(f"{PARTS[0]} {PARTS[1]}", 5), SHORT], frames=16, smooth=smooth)
    whole = dict(render(model, walk, range(16)))
    for indices in ([1], [4, 5, 6], [15, 10, 7]):
        for index, picture in render(model, walk, indices):
            np.testing.assert_array_equal(picture, whole[index])
    steps = [np.abs(whole[i].astype(int) - whole[i + 1]).mean() for i in range(15)]
    beside = [steps[i] for key in (0, 5, 10, 15) for i in (key - 1, key) if 0 <= i < 15]
    assert max(beside) <= 1.5 * max(set(steps) - set(beside)), "a jump where the number of tokens changes"


def test_beside_a_short_prompt_its_tokens_are_all_there_as_often_as_the_long_one_has_parts(model):
    walk = Walk((SHORT, LONG), (0.0, 1e-7, 1 - 1e-7, 1.0), 24, smooth=False)
    _, short = inputs(model, walk, 0)
    _, beside = inputs(model, walk, 1)
    _, near = inputs(model, walk, 2)
    _, long = inputs(model, walk, 3)
    embeddings = "prompt_embeds"
    torch.testing.assert_close(beside[embeddings], torch.cat([short[embeddings]] * 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(near[embeddings], long[embeddings], atol=1e-4, rtol=0)


def test_words_of_every_part_have_weights(model):
    plain, heavy = (
        model.encode(dataclasses.replace(LONG, prompt=p))["prompt_embeds"]
        for p in (LONG.prompt, LONG.prompt.replace("u", "(u:1.5)"))
    )
    rows = torch.nonzero((plain != heavy).any(dim=1)).flatten().tolist()
    assert rows == [tiny.TOKENS + 1 + PARTS[1].split().index("u")]


def test_what_is_beyond_the_last_part_is_noted(model):
    prompt = " ".join([*PARTS[:2], *PARTS[:2], "and then"])
    assert model.notes(dataclasses.replace(LONG, prompt=prompt)) == [
        "the prompt is too long for the model, which does not read 'and then'"
    ]
    (note,) = model.notes(dataclasses.replace(LONG, prompt=prompt + " and then" * 11 + " home"))
    assert note.endswith(
        " does not read 'and then and then and then and then ... then and then and then and then home' (25 words)"
    )
    if model.family.negatives:
        notes = model.notes(dataclasses.replace(SHORT, negative_prompt=prompt))
        assert notes == ["the negative prompt is too long for the model, which does not read 'and then'"]


@pytest.mark.parametrize(
    ("text", "room", "parts"),
    [
        ("one two three", 3, ["one two three"]),
        ("one two three", 2, ["one two ", "three"]),
        ("one two three four five", 2, ["one two ", "three four ", "five"]),
        ("one, two three", 2, ["one, ", "two three"]),
        ("one. two, three four", 3, ["one. two, ", "three four"]),
        ("", 2, [""]),
    ],
)
def test_a_prompt_is_parted_between_words_and_after_a_phrase_if_one_ends(text, room, parts):
    starts = [i for i, letter in enumerate(text) if not letter.isspace() and (i == 0 or text[i - 1] == " ")]
    ends = [0, *_ends(text, starts, room)]
    assert [text[a:b] for a, b in itertools.pairwise(ends)] == parts


def test_no_letter_is_parted_that_is_several_tokens():
    assert _ends("abc", [0, 0, 0, 1, 1, 1, 2, 2, 2], 4) == [1, 2, 3]


def test_of_emoji_none_is_lost(tmp_path):
    model = load("toybox", steps=1)
    prompt = "🦊❄️🌙" * 12
    parts, rest = model.reader._split(prompt)
    read = [model.pipe.tokenizer(text, add_special_tokens=False).input_ids for text, _ in parts]
    assert max(map(len, read)) <= 30, "a longer part would be cut by the pipeline"
    assert "".join(text for text, _ in parts) + rest == prompt


def test_a_word_longer_than_a_window_is_parted_all_the_same():
    assert _ends("abcdef gh", [0, 1, 2, 3, 4, 5, 7, 8], 4) == [4, 9]


def test_a_phrase_that_ended_long_ago_is_no_place_to_part():
    text = "a, " + " ".join("b" * 40)
    starts = [i for i, letter in enumerate(text) if letter.isalpha()]
    assert _ends(text, starts, 30)[0] == starts[30]
