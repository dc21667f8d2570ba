"""Words whose embeddings are learned from files (textual inversion), and layers of the text encoder that are skipped."""

import pickle
import shutil

import diffusers
import numpy as np
import pytest
import tiny
import torch
from oracle import load, pictures
from safetensors.torch import load_file, save_file

from walk import Error, Keyframe, Settings, embeddings, emphasis, lazy, loading, models
from walk.cli import main

SAID = "a fox, moody"
WORDS = [f"<embedding-0-{number}>" for number in range(3)]


def vectors(count, seed=1, width=tiny.WIDTH):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.fixture(scope="module")
def xl(tmp_path_factory):
    return tiny.stable_diffusion_xl(tmp_path_factory.mktemp("xl"))


def heard(folder, file, prompt=SAID, negative="", **settings):
    """What a model that knows a file makes of a prompt."""
    return load(folder, embedding=str(file), **settings).encode(Keyframe(prompt, 0, negative))


def plain(folder, teach, prompt=SAID):
    """What the plain pipeline makes of it, once it has been taught a word."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    teach(pipe)
    with torch.no_grad():
        result = pipe.encode_prompt(
            prompt, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True, negative_prompt=None
        )
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return {name: tensor[0] for name, tensor in zip(names, result)}


def far(a, b):
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def as_web_ui(path, tensor):
    torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "other", "step": 9}, path)


def as_its_authors(path, tensor):
    held = torch.nn.ParameterDict({"*": torch.nn.Parameter(tensor)})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": held}, path)


FORMS = {
    "moody.safetensors": lambda path, tensor: save_file({"emb_params": tensor}, path),
    "moody.pt": as_web_ui,
    "elsewhere/moody.pt": as_its_authors,
    "learned_embeds.bin": lambda path, tensor: torch.save({"moody": tensor}, path),
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", FORMS)
def test_a_word_is_the_plain_pipelines_in_every_form_of_file(tiny_folder, tmp_path, name, count):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    FORMS[name](tmp_path / name, vectors(count))
    expected = plain(tiny_folder, lambda pipe: pipe.load_textual_inversion({"moody": vectors(count)}, token="moody"))
    torch.testing.assert_close(heard(tiny_folder, tmp_path / name), expected)
    assert far(heard(tiny_folder, ""), expected) > 0.1, "the word means something"


def test_a_single_vector_without_a_row_is_one(tiny_folder, tmp_path):
    torch.save({"<cat-toy>": vectors(1)[0]}, tmp_path / "learned_embeds.bin")
    torch.save({"<cat-toy>": vectors(1)}, tmp_path / "row.bin")
    one, row = (heard(tiny_folder, tmp_path / name, "a <cat-toy>") for name in ("learned_embeds.bin", "row.bin"))
    torch.testing.assert_close(one, row, rtol=0, atol=0)
    assert far(one, heard(tiny_folder, "", "a <cat-toy>")) > 0.1


def test_both_text_encoders_learn_a_word_and_their_summary_stays_where_the_prompt_ends(xl, tmp_path):
    first, second = vectors(2, 1), vectors(2, 2)
    save_file({"clip_g": second, "clip_l": first}, tmp_path / "moody.safetensors")

    def teach(pipe):
        pipe.load_textual_inversion({"moody": first}, "moody", tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)
        pipe.load_textual_inversion(
            {"moody": second}, "moody", tokenizer=pipe.tokenizer_2, text_encoder=pipe.text_encoder_2
        )
        for encoder in (pipe.text_encoder, pipe.text_encoder_2):
            for module in encoder.modules():
                if hasattr(module, "eos_token_id"):
                    module.eos_token_id = pipe.tokenizer.eos_token_id

    expected = plain(xl, teach)
    torch.testing.assert_close(heard(xl, tmp_path / "moody.safetensors"), expected)
    assert expected["pooled_prompt_embeds"].shape == (tiny.WIDTH,)
    save_file({"clip_l": second, "clip_g": first}, tmp_path / "swapped.safetensors")
    assert far(heard(xl, f"{tmp_path / 'swapped.safetensors'}:moody"), expected) > 0.1


@pytest.mark.parametrize(
    "prompt",
    ["a fox, MOODY", "a fox, embedding:moody", "a fox, embedding:moody.safetensors", "a fox, (moody:1.0)"],
)
def test_a_word_is_known_in_letters_of_any_size_and_as_other_tools_write_it(tiny_folder, tmp_path, prompt):
    save_file({"emb_params": vectors(2)}, tmp_path / "moody.safetensors")
    model = load(tiny_folder, embedding=str(tmp_path / "moody.safetensors"))
    assert model.notes(Keyframe(prompt, 0)) == []
    torch.testing.assert_close(model.encode(Keyframe(prompt, 0)), model.encode(Keyframe(SAID, 0)), rtol=0, atol=0)


@pytest.mark.parametrize("prompt", ["moodyfox", "unmoody"])
def test_a_part_of_another_word_is_no_word(tiny_folder, tmp_path, prompt):
    save_file({"emb_params": vectors(2)}, tmp_path / "moody.safetensors")
    torch.testing.assert_close(
        heard(tiny_folder, tmp_path / "moody.safetensors", prompt), heard(tiny_folder, "", prompt), rtol=0, atol=0
    )


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        ("bad, (bad-hands-5:1.3), BADHANDV4.", "A, B, C."),
        ("bad-hands-50, badhand, bad_hands", "A-hands-50, badhand, bad_hands"),  # as the web UI reads the first one
        ("v1.5, v1x5, b (1), b \\(1\\)", "D, v1x5, E, E"),
        ("İz, ΣΊΣΥΦΟΣ, σίσυφοσ, \u017ftill", "F, G, G, H"),  # no lower() makes these alike
    ],
)
def test_of_words_that_begin_alike_the_longest_is_found_and_letters_may_be_of_any_alphabet(prompt, read):
    known = ("bad", "bad-hands-5", "badhandv4", "v1.5", "b (1)", "İz", "ΣΊΣΥΦΟΣ", "still")
    words = embeddings.Words(dict(zip(known, "ABCDEFGH")))
    assert words.replaced(*emphasis.weights(prompt))[0] == read


def test_what_is_read_as_letters_around_a_word_is_noted(tiny_folder, tmp_path):
    save_file({"emb_params": vectors(1)}, tmp_path / "moody.safetensors")
    model = load(tiny_folder, embedding=str(tmp_path / "moody.safetensors"))
    assert model.notes(Keyframe("a ((moody)) owl", 0)) == ["'((moody))' is read as it stands; give (moody:1.2)"]


def test_a_word_is_given_as_any_text_but_a_weight(tiny_folder, tmp_path):
    save_file({"emb_params": vectors(1)}, tmp_path / "moody.v2.safetensors")
    file = str(tmp_path / "moody.v2.safetensors")

    def asked(text):
        return Settings(embedding=text).embeddings()

    assert asked(f"{file}:gloom.v2,C:moody.pt,org/it:<a>") == [
        (file, "gloom.v2"),
        ("C:moody.pt", ""),
        ("org/it", "<a>"),
    ]
    assert refused(tiny_folder, f"{file}:0.8").endswith(
        "it takes no weight; leave out :0.8, and write (WORD:0.8) in prompts"
    )
    assert refused(tiny_folder, "embedding:moody").endswith("give the file alone, without embedding: before it")


def test_a_word_in_a_negative_prompt_is_heard_there(tiny_folder, tmp_path):
    save_file({"emb_params": vectors(2)}, tmp_path / "moody.safetensors")
    file = tmp_path / "moody.safetensors"
    made = heard(tiny_folder, file, "a fox", "moody")["negative_prompt_embeds"]
    torch.testing.assert_close(made, heard(tiny_folder, file, "moody")["prompt_embeds"])


def test_a_words_weight_is_that_of_all_its_vectors(tiny_folder, tmp_path):
    save_file({"emb_params": vectors(3)}, tmp_path / "moody.safetensors")
    model = load(tiny_folder, embedding=str(tmp_path / "moody.safetensors"))
    usual, weak = (model.encode(Keyframe(text, 0))["prompt_embeds"] for text in ("a moody owl", "a (moody:0.5) owl"))
    changed = (usual != weak).any(dim=1).nonzero().flatten().tolist()
    assert changed == [2, 3, 4]  # after the first token of every prompt, and 'a'


def test_a_word_is_not_cut_in_two_where_a_long_prompt_is(tiny_folder, tmp_path):
    save_file({"emb_params": vectors(4)}, tmp_path / "moody.safetensors")
    model = load(tiny_folder, embedding=str(tmp_path / "moody.safetensors"))
    windows, rest = model.reader._split("a b c d e f g h i j k l moody m n")  # 14 tokens a window
    assert [window.text.count("<embedding") for window in windows] == [0, 4]
    assert rest == ""
    unread = model.reader.unread(" ".join(["a b c d e f g h i j k l m n"] * 4 + ["moody z"]))
    assert unread == "moody z", "notes say the word"


def test_what_is_learned_is_part_of_a_models_identity(tiny_folder, tmp_path):
    for name, count in (("a", 1), ("b", 2)):
        save_file({"emb_params": vectors(count)}, tmp_path / f"{name}.safetensors")
    a, b = (str(tmp_path / f"{name}.safetensors") for name in "ab")
    same = str(shutil.copyfile(a, tmp_path / "other.safetensors"))  # another word, for the file's name is its word
    chosen = ("", a, b, same, f"{a}:word", f"{a},{b}")
    settings = [models.complete(Settings(model=str(tiny_folder), embedding=each)) for each in chosen]
    assert len({each.weights for each in settings}) == len(chosen)
    assert all("embedding" not in each.deciding() for each in settings), "where a file lies decides nothing"


def refused(folder, file, **settings):
    with pytest.raises(Error) as caught:
        heard(folder, file, **settings)
    return str(caught.value)


def test_a_lora_and_an_embedding_are_told_apart(tiny_folder, tmp_path):
    word, lora = tmp_path / "word.safetensors", tmp_path / "lora.safetensors"
    save_file({"emb_params": vectors(1)}, word)
    tiny.lora(tiny_folder, lora, seed=1)
    assert refused(tiny_folder, "", lora=str(word)) == f"{word} is no LoRA; an embedding is given as --embedding"
    assert refused(tiny_folder, lora) == f"{lora} is a LoRA; give it as --lora"


def test_what_is_no_embedding_or_another_models_is_refused(tiny_folder, xl, tmp_path):
    def saved(name, tensors):
        save_file(tensors, tmp_path / f"{name}.safetensors")
        return tmp_path / f"{name}.safetensors"

    wide, good = saved("wide", {"emb_params": vectors(1, width=8)}), saved("good", {"emb_params": vectors(1)})
    assert "its vectors have 8 numbers, and those of the model's text encoders 32; give another" in refused(
        tiny_folder, wide
    )
    assert "numbers, and those of the model's text encoders 32 and 32" in refused(xl, good)
    assert "two embeddings are called 'Good'; give one another name, as FILE:WORD" in refused(
        tiny_folder, f"{good},{good}:Good"
    )
    floral = saved("floral", {"<floral>": vectors(1)})
    assert embeddings.read(floral).word == "<floral>", "'lora' in a word makes no LoRA"
    several = saved("several", {"<s0>": vectors(1), "<s1>": vectors(1)})
    assert "holds several words (<s0>, <s1>, ...)" in refused(tiny_folder, several)
    uneven = saved("uneven", {"clip_l": vectors(1), "clip_g": vectors(2)})
    assert "has not as many vectors for each text encoder" in refused(xl, uneven)
    assert "it holds no vectors" in refused(tiny_folder, saved("flat", {"emb_params": torch.zeros(2, 2, 2)}))
    with pytest.raises(Error, match=r"there is no embedding 'nosuch' here; an embedding is a \.safetensors, \.pt or"):
        models.complete(Settings(model=str(tiny_folder), embedding="nosuch"))
    with pytest.raises(Error, match=r"good' here; did you mean .*good\.safetensors\?"):
        models.complete(Settings(model=str(tiny_folder), embedding=str(tmp_path / "good")))


@pytest.mark.parametrize(
    "held",
    [
        {"string_to_param": vectors(1)},
        {"string_to_param": None},
        {"state_dict": {"*": vectors(1)}},
        {768: (vectors(1), vectors(1)), "name": "a hypernetwork"},
        {768: vectors(1), 1280: vectors(2)},
    ],
)
def test_other_files_of_torchs_are_no_embeddings(tiny_folder, tmp_path, held):
    torch.save(held, tmp_path / "moody.pt")
    assert "no embedding" in refused(tiny_folder, tmp_path / "moody.pt")


class _Program:
    def __reduce__(self):
        return print, ("run",)


def test_no_program_in_a_file_is_run(tiny_folder, tmp_path, capsys):
    with (tmp_path / "moody.pt").open("wb") as file:
        pickle.dump({"string_to_param": _Program()}, file, protocol=2)
    assert "may hold programs, which walk does not run" in refused(tiny_folder, tmp_path / "moody.pt")
    (tmp_path / "cut.bin").write_bytes(b"PK")
    assert "cut.bin" in refused(tiny_folder, tmp_path / "cut.bin")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html>")
    assert refused(tiny_folder, tmp_path / "page.pt").endswith("is damaged, or no embedding; download it again")
    assert "run" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])  # as today's torch saves it, and as torch did before 1.6
def test_a_file_is_said_to_be_damaged_wherever_it_is_cut_off(tmp_path, zipped):
    file = tmp_path / "moody.pt"
    torch.save({"string_to_param": {"*": vectors(1)}}, file, _use_new_zipfile_serialization=zipped)
    whole = file.read_bytes()
    for size in range(0, len(whole), 5):
        file.write_bytes(whole[:size])
        # Within the name of a function it seems to name another one.
        with pytest.raises(Error, match=r"moody\.pt (is damaged, or no embedding|may hold programs)"):
            embeddings.read(file)


def test_models_that_read_prompts_otherwise_learn_no_words(tmp_path):
    folder = tiny.sana(tmp_path / "sana")
    save_file({"emb_params": vectors(1)}, tmp_path / "moody.safetensors")
    told = refused(folder, tmp_path / "moody.safetensors")
    assert "models of this family know their own words alone, and not that of" in told


def test_a_lora_brings_its_words_with_it(tiny_folder, tmp_path):
    tiny.lora(tiny_folder, tmp_path / "plain.safetensors", seed=1)
    word = {"bundle_emb.moody.string_to_param.*": vectors(2)}
    save_file(load_file(tmp_path / "plain.safetensors") | word, tmp_path / "both.safetensors")
    save_file({"emb_params": vectors(2)}, tmp_path / "moody.safetensors")
    both = load(tiny_folder, steps=1, lora=str(tmp_path / "both.safetensors"))
    apart = load(
        tiny_folder, steps=1, lora=str(tmp_path / "plain.safetensors"), embedding=str(tmp_path / "moody.safetensors")
    )
    np.testing.assert_array_equal(*(pictures(model, Keyframe(SAID, 0)) for model in (both, apart)))
    assert both.remarks == []


@pytest.mark.parametrize(
    ("family", "parts"), [("flux", ("clip_l", "t5")), ("stable_diffusion_3", ("clip_l", "clip_g", "t5"))]
)
def test_every_text_encoder_of_a_model_hears_the_word(tmp_path, family, parts):
    folder = getattr(tiny, family)(tmp_path / family)
    widths = [64 if family == "stable_diffusion_3" and part == "t5" else tiny.WIDTH for part in parts]
    save_file({part: vectors(3, width=width) for part, width in zip(parts, widths)}, tmp_path / "moody.safetensors")
    model = load(folder, steps=1, embedding=str(tmp_path / "moody.safetensors"))
    (window,), _ = model.reader._split("a moody fox")
    for _, tokenizer in loading.tokenizers(model.pipe):
        ids = tokenizer(window.text).input_ids
        assert sum(token in tokenizer.convert_tokens_to_ids(WORDS) for token in ids) == 3
    said, other = (model.encode(Keyframe(prompt, 0)) for prompt in ("a moody fox", "a m fox"))
    for name in ("prompt_embeds", "pooled_prompt_embeds"):
        assert (said[name] - other[name]).abs().max() > 0.1


def test_a_word_that_no_prompt_has_is_noted(tiny_folder, tmp_path):
    save_file({"emb_params": vectors(1)}, tmp_path / "moody.safetensors")
    file = str(tmp_path / "moody.safetensors")
    asked = [(file, "")]
    assert embeddings.unsaid(asked, ["a Moody fox"]) == []
    note = f"no prompt has the word 'moody', which --embedding {file} is for"
    assert embeddings.unsaid(asked, ["a fox", ""]) == [note]
    settings = models.complete(Settings(model=str(tiny_folder), embedding=file, steps=1))
    assert note in lazy.LazyModel(settings, keyframes=[Keyframe("a fox", 0)]).notes()


def test_a_film_of_a_learned_word_is_made_again_by_its_recipe(tiny_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file({"emb_params": vectors(2)}, tmp_path / "moody.safetensors")
    command = (
        f"--model {tiny_folder} --steps 1 --embedding moody.safetensors:gloom --clip-skip 2 --frames 3 --out a.mp4"
    )
    assert main(["--prompts", "a gloom fox", "an owl", *command.split()]) == 0
    assert main(["info", "a.mp4"]) == 0
    told = capsys.readouterr()
    assert "--embedding moody.safetensors:gloom --clip-skip 2" in told.out
    assert main(["replay", "a.mp4"]) == 0
    assert main(["diff", "a.mp4", "a-again.mp4"]) == 0
    frames = [
        sorted(path.name for path in (tmp_path / f"{name}.walk" / "frames").iterdir()) for name in ("a", "a-again")
    ]
    assert frames[0] == frames[1]


def test_layers_are_skipped_for_both_prompts_but_not_the_last_norm(tiny_folder):
    model = load(tiny_folder, clip_skip=2)
    pipe = diffusers.DiffusionPipeline.from_pretrained(tiny_folder)
    how = {"padding": "max_length", "max_length": tiny.TOKENS, "return_tensors": "pt"}
    encoder = getattr(pipe.text_encoder, "text_model", pipe.text_encoder)
    with torch.no_grad():
        states = pipe.text_encoder(
            pipe.tokenizer(["a fox", "fog"], **how).input_ids, output_hidden_states=True
        ).hidden_states
        expected = encoder.final_layer_norm(states[-2])
    made = model.encode(Keyframe("a fox", 0, "fog"))
    torch.testing.assert_close(torch.stack([made["prompt_embeds"], made["negative_prompt_embeds"]]), expected)
    assert "clip_skip" not in models.complete(Settings(model=str(tiny_folder))).deciding()
    assert model.settings.deciding()["clip_skip"] == 2


def test_no_layer_is_skipped_where_none_is_asked_for(tiny_folder):
    nothing = models.complete(Settings(model=str(tiny_folder), clip_skip=None))
    assert nothing == models.complete(Settings(model=str(tiny_folder)))


def test_layers_that_cannot_be_skipped_are_refused(tiny_folder, xl):
    with pytest.raises(Error, match=r"leave out --clip-skip; it is for StableDiffusionPipeline, Latent"):
        models.complete(Settings(model=str(xl), clip_skip=2))
    with pytest.raises(Error, match="clip_skip 3 is out of range; the text encoder has 2 layers"):
        models.complete(Settings(model=str(tiny_folder), clip_skip=3))
