"""Keyframes of tensors: their picture is the plain pipeline's, and other tensors are other frames."""

import dataclasses
import re
from pathlib import Path

import diffusers
import numpy as np
import pytest
import tiny
import torch
from oracle import assert_the_same, levels, load, mean, pictures
from test_render import Fake

from walk import Error, Keyframe, Walk, cli, film, keyframes, probe, read_prompts
from walk.given import Given
from walk.render import render
from walk.run import Run
from walk.work import Work

FOX, OWL = Keyframe("a red fox", 3), Keyframe("an owl in the rain", 5)
WORDS = read_prompts(["a red fox", "an owl", "a boat", "a mill", "two boats", "a frog", "rain"])


@pytest.fixture(scope="module")
def model(tiny_folder):
    return load(tiny_folder, steps=2, guidance=5.0)


@pytest.fixture
def given(model):
    return Given(model)


def test_a_keyframe_of_tensors_is_the_plain_pipelines_picture_of_them(given, tiny_folder):
    noise = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(7))
    half = mean(given, FOX, dataclasses.replace(OWL, negative_prompt="blurry"))
    of_seed, of_noise = given.keyframe("half", half, seed=11), given.keyframe("half", half, noise)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    embeddings = {name: tensor[None] for name, tensor in half.items()}
    call = {**embeddings, "num_inference_steps": 2, "guidance_scale": 5.0, "output_type": "np"}
    seeded = pipe(**call, generator=torch.Generator().manual_seed(11)).images
    own = pipe(**call, latents=noise[None].clone()).images
    made = dict(render(given, Walk((FOX, of_seed, of_noise), (1.0, 2.0), 1), range(2)))
    for picture, expected in zip(made.values(), (seeded, own)):
        assert_the_same(picture, (expected[0] * 255).round().astype(np.uint8))
    assert levels(made[0], made[1]) > 1


def test_keyframes_are_told_apart_by_their_tensors_and_by_nothing_else(given):
    half = mean(given, FOX, OWL)
    same = {name: half[name].double().clone() for name in reversed(half)}
    k = given.keyframe("half", half, seed=1)
    assert given.keyframe("half", same, seed=1) == k
    assert given.keyframe("half", same, seed=2).prompt == k.prompt
    for name in half:
        other = half | {name: half[name].clone()}
        other[name].view(-1)[-1] += 1e-4
        assert given.keyframe("half", other, seed=1) != k
    a, b = given.noise(1), given.noise(2)
    of_a = given.keyframe("half", half, a, time=2, until=3)
    assert given.keyframe("half", half, a.clone()).seed == of_a.seed != given.keyframe("half", half, b).seed
    assert (of_a.time, of_a.until) == (2, 3)
    assert of_a.seed <= keyframes.MAX_SEED
    before = given.encode(k)["prompt_embeds"].clone()
    half["prompt_embeds"].zero_()  # what is the program's own again
    torch.testing.assert_close(given.encode(k)["prompt_embeds"], before, rtol=0, atol=0)


def test_words_may_start_from_a_noise_of_ones_own(given):
    noise = given.noise(OWL.seed)
    np.testing.assert_array_equal(pictures(given, given.keyframe(OWL.prompt, noise=noise)), pictures(given, OWL))


@pytest.mark.usefixtures("empty_folder")
def test_other_tensors_make_another_film_of_which_only_their_neighbourhood_is_rendered(given):
    def made(part):
        """How many frames are rendered for a film with a keyframe so far from one to another, and its pictures."""
        a, b = given.encode(FOX), given.encode(OWL)
        k = given.keyframe("on the way", {name: torch.lerp(a[name], b[name], part) for name in a}, seed=6)
        walk = Walk.through([*WORDS[:6], k], frames=25)
        with Run("film.walk", walk, given.settings, decided=False) as run, Work(run, given) as work:
            rendered = run.missing()
            work.finished(run)
            film.make(run, "film.mp4", size=32)
            return rendered, [run.picture(index) for index in range(25)]

    rendered, first = made(0.5)
    assert rendered == [*range(25)]
    assert made(0.5)[0] == []
    rendered, second = made(0.6)
    assert rendered == [17, 18, 19, 21, 22, 23, 24]  # up to two keyframes away, less the one on the way
    assert [levels(a, b) > 0 for a, b in zip(first, second)] == [index in rendered for index in range(25)]
    assert made(0.5)[0] == []


@pytest.mark.usefixtures("empty_folder")
def test_what_has_not_the_tensors_refuses_their_keyframes(given, tiny_folder, capsys):
    k = given.keyframe("half a fox", mean(given, FOX, OWL))
    with Run("film.walk", Walk.through([FOX, k], frames=3), given.settings) as run, Work(run, given) as work:
        work.finished(run)
        film.make(run, "film.mp4")
    told = r"^'half a fox \(tensors [0-9a-f]{16}\)' stands for tensors, which only the program that made them has"
    assert [title for _, title in probe.read_metadata(Path("film.mp4")).chapters] == ["a red fox", k.prompt]
    assert cli.main(["info", "film.mp4"]) == 0
    Path("film.txt").write_text(capsys.readouterr().out)
    assert read_prompts("film.txt")[1] == k
    for arguments in (
        ["replay", "film.mp4"],
        ["film.txt", "--out", "b.mp4"],
        ["preview", "film.txt", "--out", "b.mp4"],
    ):
        assert cli.main(arguments) == 2
        error = capsys.readouterr().err.splitlines()
        assert re.match("walk: " + told[1:], error[-1])
        assert not [line for line in error[:-1] if not line.startswith("note: ")]
    for model in (given.model, Given(given.model)):
        with pytest.raises(Error, match=told):
            model.encode(k)
    with pytest.raises(Error, match=r"^'an oil painting of half a fox"):
        given.encode(*read_prompts([k], style="an oil painting of {}"))


def test_other_steps_know_the_keyframes_too_and_other_guidance_says_what_they_lack(given):
    k = given.keyframe("half", mean(given, FOX, OWL))
    fewer = given.at(dataclasses.replace(given.settings, steps=1))
    assert fewer.settings.steps == fewer.model.settings.steps == 1
    assert fewer.encode(k).keys() == given.encode(k).keys()
    with pytest.raises(
        Error, match=r"negative_prompt_embeds; with guidance 1\.0 the model takes prompt_embeds, as enc"
    ):
        given.at(dataclasses.replace(given.settings, guidance=1.0)).encode(k)
    assert given.notes(k) == []
    assert given.notes(dataclasses.replace(k, negative_prompt="x")) == ["of tensors, the negative prompt has no effect"]
    assert given.notes(Keyframe("((x))", 1)) == given.model.notes(Keyframe("((x))", 1)) != []


SOME = torch.zeros(16, 32)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            None,
            "the conditioning of 'half' is no dict of tensors, but a Tensor; with guidance 5.0 the model takes prompt",
        ),
        ({"pooled": SOME}, "is prompt_embeds, negative_prompt_embeds, pooled; with guidance 5.0 the model takes"),
        ({"prompt_embeds": SOME.numpy()}, "prompt_embeds of 'half' is a ndarray; it is to be a torch.Tensor"),
        ({"prompt_embeds": SOME.long()}, "prompt_embeds of 'half' is torch.int64, and the model's own torch.float32"),
        (
            {"prompt_embeds": SOME[None]},
            r"\(1, 16, 32\), and the model's own \(16, 32\); leave out the batch dimension",
        ),
        (
            {"prompt_embeds": SOME[:9]},
            r"prompt_embeds of 'half' has the shape \(9, 32\), and the model's own \(16, 32\)",
        ),
        ({"prompt_embeds": SOME[:0]}, r"\(0, 32\)"),
        ({"prompt_embeds": SOME[:, :9]}, r"\(16, 9\)"),
        ({"prompt_embeds": SOME / 0}, "prompt_embeds of 'half' has numbers that are not finite in float32"),
    ],
)
def test_what_the_model_would_not_take_is_refused_at_once(given, change, told):
    half = mean(given, FOX, OWL)
    with pytest.raises(Error, match=told):
        given.keyframe("half", SOME if change is None else half | change)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"noise": torch.zeros(4, 16, 17)},
            r"noise of 'a' has the shape \(4, 16, 17\), and the model's own \(4, 16, 16\)",
        ),
        (
            {"noise": torch.full((4, 16, 16), 14.6)},
            r"has a deviation of 14\.6, not 1; give it before a scheduler scales it",
        ),
        ({"noise": torch.full((4, 16, 16), torch.nan)}, "not finite"),
        ({"noise": torch.zeros(4, 16, 16), "seed": 0}, "'a' has a noise and a seed; give one of them"),
        ({"name": "a | b"}, "the name of tensors 'a | b' has a bar"),
        ({"name": "# a"}, "the name of tensors begins with #"),
        ({"seed": -1}, "seed -1 is out of range"),
    ],
)
def test_noise_names_and_seeds_that_are_none_are_refused(given, more, told):
    with pytest.raises(Error, match=told):
        given.keyframe(**{"name": "a", "conditioning": given.encode(FOX)} | more)


def test_twice_as_many_tokens_are_a_long_prompts_and_masks_are_ones_then_zeros(given, tmp_path):
    twice = {name: torch.cat([tensor, tensor]) for name, tensor in given.encode(FOX).items()}
    assert len([*render(given, Walk.through([FOX, given.keyframe("twice", twice)], 3), range(3))]) == 3
    masked = Given(load(tiny.pixart_alpha(tmp_path), steps=1, batch=1))
    own = masked.encode(FOX)
    for wrong in (own["prompt_attention_mask"].flip(0), own["prompt_attention_mask"] + 1):
        with pytest.raises(
            Error, match="prompt_attention_mask of 'a' is a mask; it is ones for the tokens that are heard"
        ):
            masked.keyframe("a", own | {"prompt_attention_mask": wrong})
    with pytest.raises(
        Error, match=r"is torch.float32, and the model's own torch.int64: a mask, whose numbers are whole"
    ):
        masked.keyframe("a", {name: tensor / 2 for name, tensor in own.items()})
    with pytest.raises(Error, match="prompt_embeds of 'a' has the shape"):
        masked.keyframe("a", own | {"prompt_embeds": torch.cat([own["prompt_embeds"]] * 2)})


def test_of_a_model_whose_prompts_have_as_many_tokens_as_words_there_may_be_any_number():
    class Wordy(Fake):
        def encode(self, keyframe):
            return {"prompt_embeds": torch.ones(len(keyframe.prompt.split()), 3)}

    given = Given(Wordy())
    assert len(given.encode(given.keyframe("five", {"prompt_embeds": torch.ones(5, 3)}))["prompt_embeds"]) == 5
