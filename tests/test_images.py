"""Pictures beside prompts (image prompts), which a model reads by an IP-Adapter."""

import dataclasses
import functools
import itertools
import json
import os
import shutil
import struct
from pathlib import Path
from unittest.mock import Mock

import diffusers
import fakehub
import numpy as np
import pytest
import tiny
import torch
from oracle import assert_the_same, levels, load, pictures
from PIL import Image
from safetensors.torch import load_file, save_file

import walk
from walk import Error, Keyframe, Settings, Walk, images, models, paths, read_prompts, vision
from walk.cli import main
from walk.keyframes import read_lines
from walk.manifest import fingerprints
from walk.render import inputs, render

SIZE = {"width": 32, "height": 32}  # of Flux' pictures: those of its own size would take ten times as long
PATCHES = 12 * 12  # of a picture, as the tiny Redux sees it
PIPELINES = {"sd": tiny.stable_diffusion, "sdxl": tiny.stable_diffusion_xl, "lcm": tiny.latent_consistency}


def paint(path, seed, size=(60, 40)):
    """A picture of a few large patches of colour."""
    colours = np.random.default_rng(seed).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    Image.fromarray(colours).resize(size, Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    return [paint(folder / f"{name}.png", seed) for seed, name in enumerate(("fox", "owl", "frog"))]


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """(the pipeline's folder, the IP-Adapter's file), by the pipeline's name and the adapter's kind."""

    @functools.cache
    def build(name, plus=False):
        home = tmp_path_factory.mktemp(name)
        folder = PIPELINES[name](home / "model")
        return folder, tiny.ip_adapter(folder, home / "ip.safetensors", plus)

    return build


@pytest.fixture
def folder(adapted, photos, tmp_path, monkeypatch):
    """A current folder with two pictures, and the flags that name the model and its IP-Adapter."""
    monkeypatch.chdir(tmp_path)
    for photo in photos[:2]:
        shutil.copy(photo, tmp_path)
    model, adapter = adapted("sd")
    return ["--model", str(model), "--ip-adapter", str(adapter), "--steps", "2", "--device", "cpu"]


def with_images(adapted, name="sd", plus=False, weight=0.6, **settings):
    model, adapter = adapted(name, plus)
    return load(model, ip_adapter=str(adapter), image_weight=weight, **settings)


def plain(adapted, name, plus, weight, keyframe, steps=4, **call):
    """The picture that a user of diffusers makes of a prompt and a picture."""
    folder, file = adapted(name, plus)
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.load_ip_adapter(file.parent, subfolder="", weight_name=file.name, image_encoder_folder="image_encoder")
    pipe.set_ip_adapter_scale(weight)
    if keyframe.image:
        call["ip_adapter_image"] = Image.open(keyframe.image.path)
    generator = torch.Generator().manual_seed(keyframe.seed)
    return np.asarray(pipe(keyframe.prompt, generator=generator, num_inference_steps=steps, **call).images[0])


# The model


@pytest.mark.parametrize(
    ("name", "plus", "weight", "guidance"),
    [
        ("sd", False, 0.6, 7.5),
        ("sd", True, 0.9, 7.5),
        ("sd", False, 1.0, 1.0),
        ("sdxl", False, 1.0, 5.0),
        ("sdxl", True, 0.6, 5.0),
        ("lcm", False, 1.0, 8.5),
    ],
)
def test_a_keyframe_is_the_plain_pipelines_picture_of_its_prompt_and_its_image(
    adapted, photos, name, plus, weight, guidance
):
    model = with_images(adapted, name, plus, weight, guidance=guidance)
    fox, owl = (Keyframe("a fox", 5, image=str(photo)) for photo in photos[:2])
    made = pictures(model, fox, owl)
    for picture, keyframe in zip(made, (fox, owl)):
        assert_the_same(picture, plain(adapted, name, plus, weight, keyframe, guidance_scale=guidance))
    assert levels(*made) > 1, "pictures count"


def test_a_unet_that_guidance_was_distilled_into_sees_pictures_in_the_usual_pipeline(adapted, photos, tmp_path):
    folder, file = adapted("lcm")
    usual = shutil.copytree(folder, tmp_path / "model")
    index = usual / "model_index.json"
    index.write_text(index.read_text().replace("LatentConsistencyModelPipeline", "StableDiffusionPipeline"))
    fox = Keyframe("a fox", 5, "red", image=str(photos[0]))
    model = load(usual, ip_adapter=str(file), guidance=8.5)
    assert model.notes(fox) == ["the model takes no negative prompt, so it has no effect"]
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(usual)
    pipe.load_ip_adapter(file.parent, subfolder="", weight_name=file.name, image_encoder_folder="image_encoder")
    pipe.set_ip_adapter_scale(0.6)
    call = {"ip_adapter_image": Image.open(photos[0]), "generator": torch.Generator().manual_seed(5)}
    expected = pipe("a fox", guidance_scale=8.5, num_inference_steps=4, **call).images[0]
    assert_the_same(pictures(model, fox)[0], np.asarray(expected))


def test_of_the_style_alone_is_what_the_plain_pipeline_makes_with_that_layer(adapted, photos):
    model = with_images(adapted, "sdxl", weight=None, image_style=True)
    assert model.settings.image_weight == 1
    fox, owl = (Keyframe("a fox", 5, image=str(photo)) for photo in photos[:2])
    made = pictures(model, fox, owl)
    scale = {"up": {"block_0": [0.0, 1.0]}}  # as diffusers' page 'IP-Adapter' has it, for blocks of three layers
    for picture, keyframe in zip(made, (fox, owl)):
        assert_the_same(picture, plain(adapted, "sdxl", False, scale, keyframe, guidance_scale=5.0))
    whole = with_images(adapted, "sdxl", weight=1)
    assert levels(pictures(whole, fox)[0], made[0]) > 1
    assert whole.settings.weights + " style" != model.settings.weights != whole.settings.weights
    with pytest.raises(Error, match=r"leave out --image-style; it is for StableDiffusionXLPipeline"):
        with_images(adapted, "sd", image_style=True)


def test_of_no_weight_an_image_changes_nothing(adapted, photos):
    model = with_images(adapted, weight=0)
    fox, none = Keyframe("a fox", 5, image=str(photos[0])), Keyframe("a fox", 5)
    np.testing.assert_array_equal(*pictures(model, fox, none))
    assert_the_same(pictures(model, none)[0], pictures(load(adapted("sd")[0]), none)[0])


@pytest.mark.parametrize(("name", "plus"), [("sd", False), ("sd", True), ("sdxl", False), ("lcm", True)])
def test_a_keyframe_without_an_image_among_others_is_the_picture_of_its_prompt_alone(adapted, photos, name, plus):
    none, fox = Keyframe("a fox", 5), Keyframe("a fox", 5, image=str(photos[0]))
    made = pictures(with_images(adapted, name, plus, weight=1), none, fox)
    assert_the_same(made[0], pictures(load(adapted(name, plus)[0]), none)[0])
    assert levels(*made) > 1


def test_a_picture_beside_many_prompts_is_read_once(adapted, flux, photos, monkeypatch):
    opened = Mock(wraps=images.load)
    monkeypatch.setattr(images, "load", opened)
    for model in (with_images(adapted), load(flux[0], **SIZE, ip_adapter=str(flux[1]))):
        opened.reset_mock()
        for prompt in ("a fox", "an owl", "a frog"):
            model.encode(Keyframe(prompt, 5, image=str(photos[0])))
        assert opened.call_count == 1


@pytest.mark.parametrize("plus", [False, True])
def test_batches_and_subsets_agree_and_images_move_without_a_jump(adapted, photos, plus):
    model = with_images(adapted, plus=plus, steps=2)
    keyframes = [Keyframe("a fox", 5, image=str(photo)) for photo in photos]
    walk = Walk.through(keyframes, frames=13)
    frames = {}
    for batch in (1, 3, 8):
        sized = model.at(dataclasses.replace(model.settings, batch=batch))
        frames[batch] = dict(render(sized, walk, range(13)))
        assert max(levels(frames[batch][i], frames[1][i]) for i in range(13)) <= 1
    again = dict(render(sized, walk, [11, 4]))
    assert all((again[i] == frames[8][i]).all() for i in again)
    made = [inputs(model, walk, i)[1][vision.EMBEDS] for i in range(13)]
    steps = torch.stack([(b - a).norm() for a, b in itertools.pairwise(made)])
    assert steps.min() > 0
    assert steps.max() < 3 * steps.mean()


def test_a_picture_of_less_weight_counts_less_and_of_none_not_at_all(adapted, photos):
    model = with_images(adapted, weight=1)
    weighed = [Keyframe("a fox", 5, image=f"{photos[0]}:{weight}") for weight in (1, 0.5, 0.1, 0)]
    made = pictures(model, *weighed)
    far = [np.abs(picture.astype(int) - made[3]).mean() for picture in made]
    assert far[0] > far[1] > far[2] > far[3]
    np.testing.assert_array_equal(made[3], pictures(model, Keyframe("a fox", 5))[0])
    assert len({keyframe.identity for keyframe in weighed}) == 4
    assert weighed[0] == Keyframe("a fox", 5, image=photos[0])


def test_a_recipe_tells_a_file_that_is_called_as_if_it_had_a_weight(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photos[0], "fox.png:0.5")
    for name, weight in (("fox.png:0.5", 1.0), ("fox.png:0.5:0.3", 0.3)):
        image = images.find(name)
        assert (image.path, image.weight) == ("fox.png:0.5", weight)
        (again,) = read_lines([f"a fox | seed=1 | image={image}"])
        assert again.image == image


def test_from_no_image_to_one_the_way_is_without_a_jump(adapted, photos):
    model = with_images(adapted)
    keyframes = [Keyframe("a fox", 5), Keyframe("a fox", 5, image=str(photos[0])), Keyframe("a fox", 5)]
    walk = Walk.through(keyframes, frames=25)
    made = [inputs(model, walk, i)[1][vision.EMBEDS].norm().item() for i in range(25)]
    assert made[0] == made[24] == 0
    assert made[12] == max(made)
    assert np.diff(made).max() < 3 * made[12] / 12


@pytest.fixture(scope="module")
def flux(tmp_path_factory):
    """(a tiny Flux, what reads pictures for it)"""
    home = tmp_path_factory.mktemp("flux")
    return tiny.flux(home / "model"), tiny.redux(home / "redux")


def test_flux_sees_pictures_as_redux_does(flux, photos):
    model = load(flux[0], **SIZE, ip_adapter=str(flux[1]), steps=2)
    assert model.settings.image_weight == 1
    pipe = diffusers.FluxPipeline.from_pretrained(flux[0])
    parts = {name: pipe.components[name] for name in ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")}
    prior = diffusers.FluxPriorReduxPipeline.from_pretrained(flux[1], **parts)
    fox, owl = (Keyframe("a fox", 5, image=str(photo)) for photo in photos[:2])
    (alone,) = read_prompts([str(photos[0])], seed=5)
    made = pictures(model, fox, owl, alone)
    assert min(levels(a, b) for a, b in itertools.combinations(made, 2)) > 1

    def plain(**seen):
        generator = torch.Generator().manual_seed(5)
        return np.asarray(
            pipe(**seen, generator=generator, num_inference_steps=2, guidance_scale=3.5, **SIZE).images[0]
        )

    for picture, keyframe in zip(made, (fox, owl)):
        assert_the_same(picture, plain(**prior(Image.open(keyframe.image.path), prompt="a fox")))
    seen = prior(Image.open(photos[0]), prompt="a fox")
    words = len(seen.prompt_embeds[0]) - PATCHES
    seen.prompt_embeds[:, :words] = 0  # as the pipeline does that has no text encoders
    zeros = torch.zeros_like(seen.pooled_prompt_embeds)
    assert_the_same(made[2], plain(prompt_embeds=seen.prompt_embeds, pooled_prompt_embeds=zeros))


def test_with_flux_pictures_count_less_with_less_weight_and_come_without_a_jump(flux, photos):
    fox, none = Keyframe("a fox", 5, image=str(photos[0])), Keyframe("a fox", 5)
    whole, half, nothing = (
        load(flux[0], **SIZE, ip_adapter=str(flux[1]), image_weight=weight, steps=2).encode(fox)["prompt_embeds"]
        for weight in (1, 0.5, 0)
    )
    torch.testing.assert_close(half[-PATCHES:], whole[-PATCHES:] / 2)
    assert not nothing[-PATCHES:].any()
    model = load(flux[0], **SIZE, ip_adapter=str(flux[1]), steps=2, batch=3)
    torch.testing.assert_close(model.encode(none)["prompt_embeds"], nothing, rtol=0, atol=0)
    walk = Walk.through([none, fox, Keyframe("an owl", 6)], frames=9)
    made = [inputs(model, walk, i)[1]["prompt_embeds"][-PATCHES:].norm().item() for i in range(9)]
    assert made[0] == made[8] == 0
    assert np.abs(np.diff(made)).max() < 2 * made[4] / 4
    frames = dict(render(model, walk, range(6)))
    again = dict(render(model, walk, [4]))
    np.testing.assert_array_equal(again[4], frames[4])


# Prompts


def test_lines_name_pictures_beside_the_prompt_file_or_where_the_name_says(tmp_path, monkeypatch):
    (tmp_path / "walks").mkdir()
    paint(tmp_path / "walks" / "fox.png", 1)
    paint(tmp_path / "an owl.jpg", 2)
    (tmp_path / "walks" / "a.txt").write_text(
        "a fox | image=fox.png | seed=3\nan owl | image=an owl.jpg\na frog\n| image=fox.png\na cat\na dog | image=\n"
    )
    monkeypatch.chdir(tmp_path)
    keyframes = read_prompts("walks/a.txt")
    assert [it.image and it.image.path for it in keyframes] == [
        "walks/fox.png",
        "an owl.jpg",
        None,
        "walks/fox.png",
        None,
    ]
    assert keyframes[0].image.digest == keyframes[3].image.digest != keyframes[1].image.digest
    given = read_prompts("walks/a.txt", image="an owl.jpg")
    assert [it.image and it.image.path[-7:] for it in given] == ["fox.png", "owl.jpg", "owl.jpg", "fox.png", None]


def test_pictures_alone_are_prompts_and_a_folder_is_the_pictures_in_it_by_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in (10, 2, 1):
        paint(tmp_path / f"{number}.png", number)
    (half,) = read_prompts(["10.png:0.5"])
    assert (half.title, half.image.weight) == ("10.png", 0.5)
    alone = read_prompts(["10.png", "2.png | seed=7", "an owl.png"])  # there is no such file: these are words
    assert [(it.prompt, it.title, it.seed) for it in alone] == [
        (images.ALONE, "10.png", 0),
        (images.ALONE, "2.png", 7),
        ("an owl.png", "an owl.png", 2),
    ]
    assert [it.title for it in read_prompts(tmp_path)] == ["1.png", "2.png", "10.png"]
    assert read_prompts(Path("2.png")) == read_prompts("2.png") == read_prompts(["2.png"])
    (tmp_path / "a.txt").write_text("1.png\nan owl\n")
    assert [it.title for it in read_prompts("a.txt")] == ["1.png", "an owl"]


def test_a_folders_pictures_are_in_the_order_of_their_names(tmp_path):
    names = ["01.png", "1.png", "2.png", "10.png", "an owl.png", "bee.png", "fox 2.png", "fox 10.png", "Zebra.png"]
    for name in reversed(names):
        (tmp_path / name).touch()
    assert [path.name for path in images.inside(tmp_path)] == names


def test_the_pictures_in_a_folder_are_no_others_of_the_same_path_beside_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, folder in enumerate((Path("a/b"), Path("a/a/b"))):
        folder.mkdir(parents=True)
        paint(folder / "1.png", seed)
    assert [it.image.path for it in read_prompts("a/b/")] == ["a/b/1.png"]


def test_a_picture_with_blanks_in_its_name_is_found_beside_the_prompt_file_too(tmp_path):
    paint(tmp_path / "an owl.jpg", 1)
    (tmp_path / "a.txt").write_text("an owl.jpg\na fox.jpg\n")
    assert [it.title for it in read_prompts(tmp_path / "a.txt")] == ["an owl.jpg", "a fox.jpg"]
    assert [bool(it.image) for it in read_prompts(tmp_path / "a.txt")] == [True, False]


def test_lines_of_a_song_name_pictures(tmp_path):
    for name in ("fox", "owl"):
        paint(tmp_path / f"{name}.png", len(name))
    (tmp_path / "a.lrc").write_text(
        "[00:00]| image=owl.png\n[00:00]a fox | image=fox.png\n[00:02]an owl\n[00:04]fox.png\n"
    )
    assert [(it.title, Path(it.image.path).name) for it in read_prompts(tmp_path / "a.lrc")] == [
        ("a fox", "fox.png"),
        ("an owl", "owl.png"),
        ("fox.png", "fox.png"),
    ]


@pytest.mark.parametrize("name", ["an  owl.jpg", "owl|fox.jpg", "owl | seed=3.jpg"])
def test_a_picture_whose_name_no_line_can_have_is_refused_and_never_read_as_words(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "photo.png", 1).rename(tmp_path / name)
    paint(tmp_path / "an owl.jpg", 2)
    for prompts in (tmp_path, [name]):
        with pytest.raises(Error, match="several blanks in a row; rename the picture"):
            read_prompts(prompts)


def test_pictures_that_are_not_read_here_are_not_left_out_of_a_folder(tmp_path):
    paint(tmp_path / "1.jpg", 1)
    (tmp_path / "2.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(64))
    with pytest.raises(Error, match=r"2\.HEIC is HEIC that cannot be read, or is damaged; save it as JPEG"):
        read_prompts(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a fox | image=gone.png", "a.txt:1: there is no picture gone.png"),
        ("gone.png", "a.txt:1: there is no picture gone.png"),
        ("https://a.org/fox.jpg", "a.txt:1: https://a.org/fox.jpg is an address; save the picture, and give its file"),
        ("a fox | image=a.txt", "a.txt:1: .*a.txt is no picture; give a picture, such as a .png, .jpg or .webp"),
        ("fox.png | image=fox.png", "a.txt:1: fox.png and image= are two pictures"),
        ("a fox | image=.", "a.txt:1: .* is a folder; give one picture in it"),
        ("a fox | image: fox.png", "looks like a setting; write image=fox.png"),
        ("a fox | imgae=fox.png", "unknown setting imgae=; did you mean image="),
        (
            "a fox | image=line.png",
            "a.txt:1: line.png is 300x2 pixels, of which a model would see next to nothing",
        ),
        (
            "a fox | image=fox.png:1.5",
            "a.txt:1: the weight of fox.png, 1.5, is out of range; it is a number from 0 to 1",
        ),
        ("a fox | image=photo.heic", "photo.heic is HEIC that cannot be read, or is damaged; save it as JPEG"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_line(tmp_path, monkeypatch, line, message):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "fox.png", 1)
    Image.new("RGB", (300, 2)).save(tmp_path / "line.png")
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(64))
    (tmp_path / "a.txt").write_text(f"{line}\n")
    with pytest.raises(Error, match=message):
        read_prompts("a.txt")


@pytest.mark.parametrize("weight", [":1.5", ":50%", ":0,5", ":-0.5", ":1e-1", " :0.5", ": 0.5", ":half"])
def test_what_is_no_weight_is_refused_and_never_read_as_words(tmp_path, monkeypatch, weight):
    monkeypatch.chdir(tmp_path)
    paint(tmp_path / "fox.png", 1)
    told = (
        f"the weight of fox.png, {weight.strip(' :')}, is out of range; it is a number from 0 to 1, as in fox.png:0.5"
    )
    for prompt in (f"fox.png{weight}", f"a fox | image=fox.png{weight}"):
        with pytest.raises(Error) as error:
            read_prompts([prompt])
        assert str(error.value) == f"prompt 1: {told}"
    (words,) = read_prompts([f"a sign, fox.png{weight}"])
    assert words.image is None


def test_seeds_from_words_tell_pictures_apart(photos):
    seeds = [it.seed for it in read_prompts([*map(str, photos), str(photos[0])], seeds="words")]
    assert len({*seeds}) == 3
    assert seeds[0] == seeds[3]


def test_a_film_is_called_after_its_pictures(tmp_path):
    assert paths.slug(["photos/fox.jpg:0.5", "An Owl.png", "a frog | image=frog.png"]) == "fox-an-owl-png-a-frog"
    assert paths.slug(["photos/fox.jpg:0.5 | seed=3", "owl.png | pace=bar"]) == "fox-owl"


def test_a_model_of_ones_own_is_said_to_see_no_pictures_unless_it_says_more(photos):
    class Own(models.Model):
        encode = noise = denoise = decode = None

    assert Own().notes(Keyframe("a fox", 1)) == []
    assert "may not see the picture" in Own().notes(Keyframe("a fox", 1, image=photos[0]))[0]


def test_a_keyframe_takes_a_path_and_is_known_by_what_is_in_the_file(tmp_path, photos):
    other = tmp_path / "other.png"
    shutil.copy(photos[0], other)
    here, there = Keyframe("a fox", 1, image=photos[0]), Keyframe("a fox", 1, image=str(other))
    assert here.identity == there.identity != Keyframe("a fox", 1).identity == ("a fox", "", 1)
    assert Keyframe("a fox", 1, image="") == Keyframe("a fox", 1)
    with pytest.raises(Error, match="image 3 is no file's name"):
        Keyframe("a fox", 1, image=3)


def test_a_picture_of_a_weight_that_no_line_can_have_is_no_keyframes(photos):
    fox = images.find(str(photos[0]))
    assert json.dumps(Keyframe("a fox", 1, image=fox._replace(weight=1)).image) == json.dumps([*fox])
    for weight in (2.0, -0.5, float("nan"), "half"):
        for image in (fox._replace(weight=weight), [*fox[:2], weight]):
            with pytest.raises(
                Error, match=rf"the weight of .*fox.png, {weight!r}, is out of range; it is a number from"
            ):
                Keyframe("a fox", 1, image=image)


def test_paths_of_pictures_are_prompts_and_stand_beside_all_prompts(photos):
    assert read_prompts(photos) == read_prompts([*map(str, photos)])
    (fox,) = read_prompts("a fox", image=photos[0])
    assert fox.image == images.find(str(photos[0]))
    with pytest.raises(Error, match="image 3 is no file's name; give the path of a picture"):
        read_prompts("a fox", image=3)


def test_pictures_alone_are_told_apart_in_a_style_too(photos):
    fox, owl, words = read_prompts([*photos[:2], f"a fox | image={photos[0]}"], style="{}, in oil")
    assert (fox.title, owl.title, words.title) == ("fox.png", "owl.png", "a fox, in oil")
    assert fox.prompt == "best quality, high quality, in oil"


def test_pictures_are_turned_as_the_camera_was_held_and_stand_on_white(tmp_path):
    wide = Image.new("RGB", (8, 4), "red")
    turned = Image.Exif()
    turned[0x0112] = 6
    wide.save(tmp_path / "turned.jpg", exif=turned)
    assert images.load(images.find(str(tmp_path / "turned.jpg"))).size == (4, 8)
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert images.load(images.find(str(tmp_path / "clear.png"))).getpixel((0, 0)) == (255, 255, 255)
    grey = Image.new("L", (4, 4), 7)
    grey.save(tmp_path / "grey.png")
    assert images.load(images.find(str(tmp_path / "grey.png"))).getpixel((0, 0)) == (7, 7, 7)


def test_a_picture_that_is_cut_off_is_refused_in_a_sentence(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:2000])
    with pytest.raises(Error, match=r"a.jpg is damaged"):
        images.load(images.find(str(tmp_path / "a.jpg")))


def test_grey_pictures_of_sixteen_bits_are_seen_as_those_of_eight(tmp_path):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    seen = np.asarray(images.load(images.find(str(tmp_path / "deep.png"))))
    np.testing.assert_array_equal(seen, np.stack([grey] * 3, 2))
    for name, numbers in (("float.tif", np.float32([[0, 1]])), ("long.tif", np.int32([[0, 1 << 20]]))):
        Image.fromarray(numbers).save(tmp_path / name)
        with pytest.raises(Error, match=f"{name} has more than 16 bits for a colour; save it with 8"):
            images.load(images.find(str(tmp_path / name)))


def test_pictures_of_iphones_are_seen_with_a_library_and_else_refused(tmp_path, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    paint(tmp_path / "fox.png", 3, (64, 48))
    heif.from_pillow(Image.open(tmp_path / "fox.png")).save(tmp_path / "fox.heic", quality=95)
    seen, plain = (images.load(images.find(str(tmp_path / name))) for name in ("fox.heic", "fox.png"))
    assert np.abs(np.asarray(seen).astype(int) - np.asarray(plain)).mean() < 8
    monkeypatch.setattr(images, "_learn_heic", lambda: None)
    monkeypatch.delitem(Image.OPEN, "HEIF")
    with pytest.raises(
        Error, match=r"fox\.heic is HEIC, which needs a library that is not here; pip install pillow-heif"
    ):
        images.find(str(tmp_path / "fox.heic"))


def test_only_formats_that_no_other_program_reads_are_opened(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "program.eps")
    (tmp_path / "program.eps").rename(tmp_path / "fox.jpg")
    with pytest.raises(Error, match=r"fox.jpg is no picture"):
        images.find(str(tmp_path / "fox.jpg"))
    for name in ("a.gif", "a.webp", "a.tif", "a.bmp"):
        Image.new("RGB", (8, 8), "red").save(tmp_path / name)
        assert images.load(images.find(str(tmp_path / name))).getpixel((4, 4)) == pytest.approx((255, 0, 0), abs=3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_has_no_end_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "fox.png")  # which would be waited for
    with pytest.raises(Error, match=r"fox.png is no file; give a picture"):
        images.find(str(tmp_path / "fox.png"))
    monkeypatch.setattr(images, "MOST_BYTES", 100)
    with pytest.raises(Error, match=r"large.png is too large"):
        images.find(str(paint(tmp_path / "large.png", 1)))


def test_whatever_a_damaged_picture_makes_pillow_raise_is_a_sentence(tmp_path, monkeypatch):
    image = images.find(str(paint(tmp_path / "fox.png", 1)))
    for error in (struct.error("required argument is not an integer"), RuntimeError("Failed to decode frame 0")):
        monkeypatch.setattr("PIL.ImageOps.exif_transpose", Mock(side_effect=error))
        with pytest.raises(Error, match=f"fox.png is damaged .{error}"):
            images.load(image)


# Films


def test_a_film_of_pictures_tells_them_and_is_made_again_and_resumed(folder, capsys, tmp_path):
    film = ["--prompts", "fox.png", "a bird | image=owl.png", *folder, "--frames", "6", "--run", "fox-a-bird.walk"]
    assert main(film) == 0
    told = capsys.readouterr()
    assert told.out == "fox-a-bird.mp4\n"
    assert "keyframe 1: a picture alone has the words 'best quality, high quality'; for others, write" in told.err
    assert main(["info", "fox-a-bird.mp4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "--image-weight 0.6" in lines[1]
    assert lines[2:] == [
        f"best quality, high quality | seed=0 | image={images.find('fox.png')}",
        f"a bird | seed=1 | image={images.find('owl.png')}",
    ]
    (tmp_path / "again.txt").write_text("\n".join(lines))
    assert main(["--prompts", "again.txt", *film[3:], "--out", "b.mp4"]) == 0
    assert "6 of 6 frames are in fox-a-bird.walk already" in capsys.readouterr().err
    assert main(["replay", "fox-a-bird.mp4", "--run", "fox-a-bird.walk"]) == 0
    assert "6 of 6 frames are in fox-a-bird.walk already" in capsys.readouterr().err
    assert (tmp_path / "fox-a-bird.mp4").read_bytes() == (tmp_path / "fox-a-bird-again.mp4").read_bytes()
    keyframes = json.loads((tmp_path / "fox-a-bird.walk" / "walk.json").read_text())["keyframes"]
    assert keyframes[0]["image"] == [*images.find("fox.png")]


def test_a_changed_picture_renders_what_it_changes_and_a_renamed_one_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(6):
        shutil.copy(photos[number % 3], f"{number}.png")
    settings = Settings(**{"weights": "w", "width": 32, "height": 32, "steps": 1, "guidance": 1.0, "batch": 1})

    def names():
        walk = Walk.through(read_prompts([f"{number}.png" for number in range(6)]), frames=51)
        return fingerprints(walk, settings)

    before = names()
    paint(tmp_path / "5.png", 77)
    after = names()
    changed = [i for i in range(51) if before[i] != after[i]]
    assert changed == [*range(31, 40), *range(41, 51)]
    shutil.copy(photos[2], "other.png")
    shutil.copy("other.png", "5.png")
    assert names() == before


def test_a_replay_refuses_a_picture_that_is_another_one_before_anything_is_loaded(folder, capsys, tmp_path):
    assert main(["--prompts", "a fox", "an owl", "--image", "fox.png", *folder, "--frames", "3", "--out", "a.mp4"]) == 0
    shutil.copy(tmp_path / "owl.png", tmp_path / "fox.png")
    capsys.readouterr()
    assert main(["replay", "a.mp4", "--steps", "3"]) == 2
    told = capsys.readouterr().err
    assert "fox.png is not the picture that was meant" in told
    assert "loading" not in told
    (tmp_path / "fox.png").unlink()
    assert main(["replay", "a.mp4", "--steps", "3"]) == 2
    assert "walk: there is no picture fox.png\n" in capsys.readouterr().err
    assert main(["info", "a.mp4"]) == 0, "which opens none"
    assert not (tmp_path / "a-again.walk").exists()


def test_a_film_whose_loaded_model_was_shown_no_picture_is_made_again(adapted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    walk.make(["a fox", "an owl"], with_images(adapted, steps=1), frames=3, out="a.mp4")
    assert "no prompt has a picture beside it, so the model is shown none" in capsys.readouterr().err
    assert main(["replay", "a.mp4"]) == 0
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "a-again.mp4").read_bytes()


def test_a_film_and_its_pictures_may_move_together(folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "photos").mkdir()
    shutil.copy("fox.png", "photos")
    film = ["--prompts", "a fox | image=photos/fox.png", "an owl | image=owl.png", *folder, "--frames", "3"]
    assert main([*film, "--out", "a.mp4"]) == 0
    home = tmp_path / "elsewhere"
    for name in ("a.mp4", "a.walk", "owl.png", "photos/fox.png"):
        (home / name).parent.mkdir(exist_ok=True)
        shutil.move(name, home / name)
    capsys.readouterr()
    assert main(["replay", str(home / "a.mp4"), "--run", str(home / "a.walk")]) == 0
    assert "3 of 3 frames are in" in capsys.readouterr().err


def test_of_several_pictures_of_a_name_a_replay_takes_the_one_that_was_meant(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    meant = images.find(str(photos[0]))
    shutil.copy(photos[1], "fox.png")  # another one
    for place in ("film/fox.png", "film/photos/fox.png"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos["photos" in place], place)
    for name in ("fox.png", "photos/fox.png", "C:\\photos\\fox.png", str(tmp_path / "fox.png")):
        assert images.load(images.moved(meant._replace(path=name), Path("film")))
    gone = meant._replace(digest="0" * 16)
    assert images.moved(gone, Path("film")) == gone
    for name in ("fox.png", "gone.png"):
        gone = meant._replace(path=name, digest="0" * 16)
        assert images.moved(gone, Path("film")) == gone


def test_a_picture_that_is_cut_off_is_refused_before_anything_is_loaded(folder, capsys, tmp_path):
    paint(tmp_path / "wide.jpg", 3, (640, 480))
    (tmp_path / "wide.jpg").write_bytes((tmp_path / "wide.jpg").read_bytes()[:-2000])
    told = refused(capsys, "--prompts", "fox.png", "wide.jpg", *folder)
    assert "walk: wide.jpg is damaged (image file is truncated" in told
    assert "loading" not in told
    assert not (tmp_path / "fox-wide.walk").exists()


def test_a_recipe_opens_no_files(tmp_path, photos, monkeypatch):
    monkeypatch.setattr(images, "_read", None)
    (keyframe,) = read_lines([f"a fox | seed=1 | image={photos[0]} sha256:0123456789abcdef"])
    assert keyframe.image == images.Image(str(photos[0]), "0123456789abcdef")
    (half,) = read_lines(["a fox | seed=1 | image=a fox.png:0.5 sha256:0123456789abcdef"])
    assert half.image == images.Image("a fox.png", "0123456789abcdef", 0.5)
    assert str(half.image) == "a fox.png:0.5 sha256:0123456789abcdef"
    (words,) = read_lines([f"{photos[0]} | seed=1"])
    assert words.image is None
    with pytest.raises(Error, match="is told without its digest"):
        read_lines([f"a fox | seed=1 | image={photos[0]}"])


def test_weights_of_images_and_their_reader_decide_pixels_and_nothing_else_changes(adapted):
    settings = Settings(model=str(adapted("sd")[0]), device="cpu")
    without, usual = models.complete(settings), functools.partial(dataclasses.replace, settings)
    assert without.deciding() == models.complete(usual(image_weight=0.9)).deciding()
    adapter = str(adapted("sd")[1])
    known = [
        models.complete(usual(ip_adapter=adapter, image_weight=weight)).deciding()["model"] for weight in (0.6, 0.9)
    ]
    assert len({without.weights, *known}) == 3


def test_settings_that_are_complete_but_for_the_weight_of_images_are_completed(adapted):
    folder, file = adapted("sd")
    complete = models.complete(Settings(model=str(folder), device="cpu"))
    model = models.load(dataclasses.replace(complete, ip_adapter=str(file)))
    assert model.settings.image_weight == 0.6
    assert ", ip-adapter sha256 " in model.settings.weights


def test_what_makes_pictures_smaller_decides_pixels_of_films_with_pictures_alone(monkeypatch):
    usual = ["torch", "diffusers", "transformers"]
    for here, more in ((True, ["torchvision"]), (False, [])):
        monkeypatch.setattr("importlib.util.find_spec", lambda name, here=here: here or None)
        assert models.loading.libraries(Settings(ip_adapter="own")) == usual + more
        assert models.loading.libraries(Settings()) == usual


def test_a_sheet_of_seeds_shows_pictures_as_prompts(folder, capsys, tmp_path):
    assert main(["seeds", "fox.png", "owl.png", *folder, "--count", "2"]) == 0
    assert (tmp_path / "fox-owl.seeds.png").exists()
    sheets = [tmp_path / "a.png", tmp_path / "b.png"]
    for image, sheet in zip(("fox.png", "owl.png"), sheets):
        assert main(["seeds", "a fox", "--image", image, *folder, "--count", "2", "--out", str(sheet)]) == 0
    fox, owl = (np.asarray(Image.open(sheet)) for sheet in sheets)
    assert fox.shape == owl.shape
    assert (fox != owl).any(), "each sheet is of the picture beside its prompt"


def test_a_preview_shows_which_picture_stands_beside_a_prompt(folder, tmp_path):
    Image.new("RGB", (8, 8), "magenta").save(tmp_path / "pink.png")
    assert main(["preview", "--prompts", "a fox | image=pink.png", "owl.png", *folder, "--frames", "4"]) == 0
    with Image.open(tmp_path / "a-fox-owl.preview.png") as sheet:
        pink = (np.asarray(sheet.convert("RGB")) == (255, 0, 255)).all(axis=2)
    assert pink.sum() > 50**2


def test_films_of_a_folder_of_pictures_are_called_after_it(tmp_path, monkeypatch):
    (tmp_path / "2026.05 party").mkdir()
    monkeypatch.chdir(tmp_path / "2026.05 party")
    for folder in ("./", "../2026.05 party/", tmp_path / "2026.05 party"):
        assert paths.film_and_run({"prompts": folder})[0] == Path("2026.05 party.mp4")


def test_a_picture_for_prompts_that_have_none_is_told_to_be_of_no_use_where_all_have_one(folder, capsys):
    for prompt, unused in (("fox.png", True), ("a fox", False)):
        assert main(["seeds", prompt, "--image", "owl.png", *folder, "--count", "1"]) == 0
        told = "every prompt has a picture of its own, or none, so --image owl.png is not used"
        assert (told in capsys.readouterr().err) == unused


def test_sheets_that_are_drawn_in_a_folder_of_pictures_are_none_of_them(folder, tmp_path, capsys):
    before = read_prompts(tmp_path)
    assert main(["preview", "--prompts", "./", *folder, "--frames", "3"]) == 0
    assert main(["seeds", "./", *folder, "--count", "1"]) == 0
    assert main(["seeds", "./", *folder, "--count", "1", "--from", "3"]) == 0
    assert len([*tmp_path.glob("*.png")]) == 5
    assert read_prompts(tmp_path) == before


# What is refused


def refused(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_models_that_read_no_pictures_refuse_them(folder, capsys, adapted, tmp_path):
    told = refused(capsys, "--prompts", "fox.png", "owl.png")
    assert "toybox reads no pictures beside prompts" in told
    assert "give another --model, such as sd15 or sdxl, or an --ip-adapter that was made for it" in told
    told = refused(capsys, "--prompts", "fox.png", "owl.png", "--model", tiny.pixart_sigma(tmp_path / "pixart"))
    assert "models of this family read no pictures beside prompts" in told
    assert "StableDiffusionXLPipeline" in told
    told = refused(
        capsys,
        "--prompts",
        "fox.png",
        "--seeds",
        "1,2",
        "--model",
        adapted("sdxl")[0],
        "--ip-adapter",
        adapted("sd")[1],
    )
    assert "was made for prompts of width 32, and the model's have 64" in told


def test_a_quantised_unet_is_refused_before_anything_is_loaded_and_a_quantised_flux_sees(
    adapted, flux, photos, tmp_path
):
    folder, file = adapted("sd")
    unet = tiny.quantised(folder, "unet", tmp_path / "unet.gguf")
    with pytest.raises(Error, match="to a quantised denoiser diffusers adds no IP-Adapter"):
        models.complete(Settings(model=str(folder), device="cpu", denoiser=str(unet), ip_adapter=str(file)))
    small = tiny.quantised(flux[0], "transformer", tmp_path / "flux.gguf")
    fox = Keyframe("a fox", 5, image=str(photos[0]))
    usual = {"ip_adapter": str(flux[1]), "steps": 1}
    made = [
        pictures(load(flux[0], **SIZE, denoiser=str(it), **usual), fox)[0]
        for it in (small, small.with_suffix(".safetensors"))
    ]
    assert levels(*made) <= 1


@pytest.mark.parametrize("flag", ["--ip-adapter=a.safetensors", "--image-weight=0.5", "--image-style"])
def test_flags_for_pictures_without_any_are_refused(capsys, tmp_path, monkeypatch, flag):
    monkeypatch.chdir(tmp_path)
    told = refused(capsys, "--prompts", "a fox", "an owl", flag)
    assert told == (
        f"walk: {flag.partition('=')[0]} is for pictures beside prompts, and there are none; add | image=FILE to a prompt\n"
    )


def test_a_folder_among_other_prompts_is_refused_as_one(folder, capsys, tmp_path):
    told = refused(capsys, "--prompts", f"{tmp_path}/", "an owl", *folder)
    assert "/ is a folder; give it alone, or the pictures in it" in told
    assert "/*.jpg, say, among other prompts" in told


def test_what_is_no_ip_adapter_or_of_another_kind_is_refused(adapted, tmp_path, photos):
    folder, file = adapted("sd")
    tensors = load_file(file)

    def why(tensors, name="other.safetensors"):
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, tmp_path / name)
        with pytest.raises(Error) as error:
            models.load(Settings(model=str(folder), device="cpu", ip_adapter=str(tmp_path / name)))
        return str(error.value)

    assert "is no IP-Adapter; it is own, a .safetensors file" in why({"weight": torch.zeros(2)})
    faces = {name: tensor for name, tensor in tensors.items() if not name.startswith("image_proj.proj.")}
    faces["image_proj.proj.0.weight"] = torch.zeros(8, 512)
    assert "does not read a picture's whole, but faces, say" in why(faces, "faces.safetensors")
    assert "reads an encoder of pictures that walk does not know" in why(tensors, "alone.safetensors")
    shutil.copytree(file.parent / "image_encoder", tmp_path / "image_encoder")
    few = {name: tensor for name, tensor in tensors.items() if ".3." not in name}
    assert "does not fit the model: it has no '3.to_k_ip.weight'; give another" in why(few, "few.safetensors")
    keys = tensors["ip_adapter.1.to_k_ip.weight"]
    lora = tensors | {"ip_adapter.1.to_q_lora.down.weight": torch.zeros(4, len(keys))}
    count = sum("_ip." in name for name in tensors)
    assert f"it has {count + 1} weights for attention, and the model takes {count};" in why(lora, "lora.safetensors")
    short = tensors | {"image_proj.norm.weight": torch.ones(3)}
    assert "model: some of its weights have other shapes than they should; give" in why(short, "short.safetensors")
    with pytest.raises(Error, match="is an IP-Adapter; give it as"):
        models.complete(Settings(model=str(file)))
    with pytest.raises(Error, match="an IP-Adapter is given as"):
        models.load(Settings(model=str(folder), device="cpu", lora=str(file)))
    with pytest.raises(Error, match=r"was loaded without what reads .*fox.png; give Settings\(ip_adapter='own'\)"):
        load(folder).encode(Keyframe("a fox", 1, image=photos[0]))


def test_an_encoder_without_all_weights_is_refused(adapted, tmp_path):
    folder, file = adapted("sd")
    shutil.copytree(file.parent / "image_encoder", tmp_path / "image_encoder")
    shutil.copy(file, tmp_path)
    weights = tmp_path / "image_encoder" / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if "visual_projection" not in name}
    save_file(kept, weights, {"format": "pt"})
    with pytest.raises(Error, match=r"image_encoder has no visual_projection\.weight"):
        models.load(Settings(model=str(folder), device="cpu", ip_adapter=str(tmp_path / file.name)))


# The hub


def test_redux_is_downloaded_without_what_it_does_not_need(flux, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    home = shutil.copytree(flux[1], tmp_path / "home")
    (home / "flux1-redux-dev.safetensors").write_bytes(b"0" * 999)
    settings = Settings(model=str(flux[0]), device="cpu", ip_adapter="org/redux")
    with fakehub.running(monkeypatch) as server:
        server.repositories["org/redux"] = home
        weights = models.complete(settings).weights
        assert weights.endswith(f", redux commit {fakehub.COMMIT}:1")
        assert not [file for file in server.downloaded() if "flux1" in file]
        asked = len(server.requests)
        vision.find_redux.cache_clear()
        assert models.complete(settings).weights == weights
        assert len(server.requests) == asked, "it is on this machine now"


def test_what_is_no_redux_is_refused(flux, adapted):
    with pytest.raises(Error, match="holds no FluxPriorReduxPipeline; for Flux it is own, or a folder or hub id"):
        models.complete(Settings(model=str(flux[0]), ip_adapter=str(flux[0])))
    with pytest.raises(Error, match=r"there is no '.*ip.safetensors' here that reads pictures"):
        models.complete(Settings(model=str(flux[0]), ip_adapter=str(adapted("sd")[1])))


def test_a_repository_on_the_hub_without_what_is_needed_is_refused_in_a_sentence(flux, adapted, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(vision._IMAGE_ENCODERS, ("projection_dim", 16), "models/image_encoder")
    (folder, file), home, alone = adapted("sd"), tmp_path / "home", tmp_path / "alone" / "ip.safetensors"
    for place in (home / "ip.safetensors", alone):
        place.parent.mkdir()
        shutil.copy(file, place)

    def why(folder, name):
        vision.find_image_encoder.cache_clear()
        with pytest.raises(Error) as error:
            models.complete(Settings(model=str(folder), device="cpu", ip_adapter=str(name)))
        return str(error.value)

    with fakehub.running(monkeypatch) as server:
        told = (
            "the hub has no h94/IP-Adapter, or it is private (hf auth login); lay image_encoder beside ip.safetensors"
        )
        assert why(folder, alone) == told
        server.repositories["h94/IP-Adapter"] = server.repositories["org/ip"] = home
        told = "has no models/image_encoder/config.json any more; lay image_encoder beside ip.safetensors"
        assert why(folder, alone) == f"h94/IP-Adapter {told}"
        assert why(flux[0], "org/ip").startswith("org/ip holds no FluxPriorReduxPipeline; for Flux it is own, or a")


def test_the_usual_ip_adapter_and_its_encoder_alone_are_downloaded(adapted, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    folder, file = adapted("sd")
    home = tmp_path / "home"
    shutil.copytree(file.parent / "image_encoder", home / "models" / "image_encoder")
    shutil.copy(file, home / "models" / "ip-adapter_sd15.safetensors")
    (home / "models" / "image_encoder" / "pytorch_model.bin").write_bytes(b"0" * 999)
    monkeypatch.setitem(vision._IMAGE_ENCODERS, ("projection_dim", 16), "models/image_encoder")
    row = models.loading.FAMILIES["StableDiffusionPipeline"]
    own = ((tiny.WIDTH, "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"),)
    monkeypatch.setitem(
        models.loading.FAMILIES, "StableDiffusionPipeline", dataclasses.replace(row, readers_of_images=own)
    )
    for found in (vision.find_ip_adapter, vision.find_image_encoder):
        found.cache_clear()
    with fakehub.running(monkeypatch) as server:
        server.repositories["h94/IP-Adapter"] = home
        settings = models.complete(Settings(model=str(folder), device="cpu", ip_adapter="own"))
        assert sorted(server.downloaded()) == [
            "h94/IP-Adapter/models/image_encoder/config.json",
            "h94/IP-Adapter/models/image_encoder/model.safetensors",
            "h94/IP-Adapter/models/ip-adapter_sd15.safetensors",
        ]
        asked = len(server.requests)
        for found in (vision.find_ip_adapter, vision.find_image_encoder):
            found.cache_clear()
        assert models.complete(settings).weights == settings.weights
        assert len(server.requests) == asked, "it is on this machine now"
        for weights in (tmp_path / "cache").rglob("model.safetensors"):  # as if their download had been stopped
            weights.unlink()
        vision.find_image_encoder.cache_clear()
        assert models.complete(settings).weights == settings.weights
