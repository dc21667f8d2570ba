"""The prompt format: all that it accepts, and the whole message of all that it refuses."""

import re
from pathlib import Path

import numpy as np
import pytest

from walk import Error, Keyframe, flags, read_prompts
from walk.files import MAX_FILE_BYTES
from walk.keyframes import MAX_SEED, read_lines
from walk.text import parse_time

FORMAT = "a prompt file is UTF-8 text with one prompt a line"
SETTINGS = "(settings are seed=, time=, beat=, bar=, frame=, until=, pace=, pulse=, negative= and image=)"
SEED = f"write a whole number from 0 to {MAX_SEED}"
SECTION = "pace=, pulse=, negative= and image= can do without, and are then for all prompts after them"
TIME = "write seconds (12.5) or minutes:seconds (1:02.5)"
PAIRING = "give one seed for each prompt, one seed for all, or several seeds for one prompt"


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(content, **options):
    """Keyframes of a file a.txt with this content."""
    Path("a.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_prompts("a.txt", **options)


def read_line(line):
    (keyframe,) = read(line)
    return keyframe


def refusal(function, *arguments, **options):
    """What the user is told."""
    with pytest.raises(Error) as caught:
        function(*arguments, **options)
    return str(caught.value)


def brief(parameter):
    """A test's name, which a megabyte of prompts would not be."""
    return ascii(parameter)[:40]


# Files


def test_a_file_has_one_prompt_a_line():
    assert read("a red apple\na green frog | seed=7 | time=1:02.5 | negative=blurry\n") == (
        Keyframe("a red apple", 0),
        Keyframe("a green frog", 7, "blurry", 62.5),
    )


@pytest.mark.parametrize(
    "content",
    [
        "ein Fuß\nein Frosch | seed=4\n",
        "ein Fuß\nein Frosch | seed=4",  # no line break at the end
        "\N{BOM}ein Fuß\r\nein Frosch | seed=4\r\n",  # Windows' Notepad
        "\N{BOM}ein Fuß\r\n\N{BOM}ein Frosch | seed=4\r\n",  # two files of its, one after the other
        "ein Fuß\rein Frosch | seed=4\r",
        "  ein Fuß \t\n\tein Frosch|seed=4   \n",
        "\N{BOM}# two of them\n\nein Fuß\n  \t\n   # and the other\nein Frosch | seed=4\n\n#",
    ],
)
def test_line_breaks_marks_indents_and_comments_of_any_editor_are_read_alike(content):
    assert read(content) == (Keyframe("ein Fuß", 0), Keyframe("ein Frosch", 4))


def test_a_number_sign_within_a_prompt_belongs_to_it():
    assert read_line("painting #5, in C# major").prompt == "painting #5, in C# major"


def test_only_line_breaks_divide_prompts_so_that_line_numbers_are_those_of_an_editor():
    assert [k.prompt for k in read("a\x0cb\u2028c\x85d\ne")] == ["a b c d", "e"]


@pytest.mark.parametrize("prompts", ["prompts", "./prompts", Path("prompts"), "my prompts.txt", Path("my prompts.txt")])
def test_a_file_is_read_whatever_it_is_called_and_however_it_is_given(prompts):
    for name in ("prompts", "my prompts.txt"):
        Path(name).write_text("a fox\na frog")
    assert [k.prompt for k in read_prompts(prompts)] == ["a fox", "a frog"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    Path("home.txt").write_text("a fox")
    assert read_prompts("~/home.txt") == (Keyframe("a fox", 0),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_is_read_as_windows_programs_write_it(encoding):
    """PowerShell's > writes UTF-16, old ones' editors a mark before UTF-8."""
    assert [keyframe.prompt for keyframe in read("a café\r\n日本\r\n".encode(encoding))] == ["a café", "日本"]


def test_a_file_of_a_megabyte_is_read():
    assert len(read((b"a" * 1023 + b"\n") * (MAX_FILE_BYTES // 1024))) == 1024


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", f"a.txt has nothing in it; {FORMAT}"),
        ("\N{BOM}\r\n \r\n", f"a.txt has nothing in it; {FORMAT}"),
        ("# a fox\n\n  # a frog", f"a.txt has only comments and blank lines in it; {FORMAT}"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", f"a.txt is a binary file; {FORMAT}"),
        ("a fox".encode("utf-16-be"), f"a.txt is a binary file; {FORMAT}"),
        (
            b"{\\rtf1\\ansi\\ansicpg1252\n\\f0\\fs24 \\cf0 a fox\\\nan owl}",
            f"a.txt is formatted text (RTF); save it as plain text: {FORMAT}",
        ),
        (b"\xff\xfea", f"a.txt:1: byte 0xff is not UTF-8; {FORMAT}"),
        ("a fox\r\n\r\na café\r\n".encode("latin-1"), f"a.txt:3: byte 0xe9 is not UTF-8; {FORMAT}"),
        ("a fox\na café".encode()[:-1], f"a.txt:2: byte 0xc3 is not UTF-8; {FORMAT}"),
        (b"a" * (MAX_FILE_BYTES + 1), f"a.txt is larger than a megabyte; {FORMAT}"),
    ],
    ids=brief,
)
def test_a_file_that_is_no_list_of_prompts_is_refused(content, message):
    assert refusal(read, content) == message


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("nosuch.txt", f"nosuch.txt does not exist; {FORMAT}"),
        ("no such.txt", f"no such.txt does not exist; {FORMAT}"),
        (
            "folder/prompts",
            f"folder/prompts does not exist; {FORMAT}; a prompt that looks like a file's name is written into a file",
        ),
        (
            "/no/such/prompts",
            f"/no/such/prompts does not exist; {FORMAT}; a prompt that looks like a file's name is written into a file",
        ),
        (
            Path("a fox"),
            f"a fox does not exist; {FORMAT}; a prompt that looks like a file's name is written into a file",
        ),
        (
            "./folder",
            "folder is a folder without pictures; give a prompt file, or a folder of .png, .jpg or .webp files",
        ),
        (
            Path("folder"),
            "folder is a folder without pictures; give a prompt file, or a folder of .png, .jpg or .webp files",
        ),
        ("fox.txt/prompts.txt", f"fox.txt/prompts.txt cannot be read (Not a directory); {FORMAT}"),
        ("~nosuchuser/a.txt", f"~nosuchuser/a.txt does not exist; {FORMAT}"),
    ],
)
def test_a_file_that_is_not_there_or_cannot_be_read_is_refused(prompts, message):
    Path("folder").mkdir()
    Path("fox.txt").write_text("a fox")
    assert refusal(read_prompts, prompts) == message


# Prompts without a file


@pytest.mark.parametrize(
    "prompt",
    [
        *("fox", "1984", "007", "1e3", "3,5", "None", "True", "[fox]", "{fox}", "0", "-1", "?", "🙂"),
        *("a fox.", "a fox, e.g. red", "a fox... or two", "St. Petersburg", "f/1.8, 85 mm", "3.5", "v1.0", "3 a.m."),
        *("either/or, in neon", "a photo.jpg of a fox", "painting #5", "é" * 3000),
        *("👩\u200d🚀, 'ö' \"ß\"", "a \\n b", "شجرة تفاح", "a; rm -rf ~ $(b) `c`"),
    ],
    ids=brief,
)
def test_a_prompt_stays_the_text_that_it_is(prompt):
    assert read_prompts(prompt) == read_prompts([prompt]) == (Keyframe(prompt, 0),)


@pytest.mark.parametrize(
    "text", [" a fox in ", "a\tfox \t in", "a fox\nin", "a\r\nfox  in\n", "a\u3000fox\xa0in", "a\u2028fox\x0cin"]
)
def test_white_space_of_any_kind_is_one_space(text):
    both = f"{text}|negative={text}"
    assert read_prompts(text) == read_prompts([text]) == (Keyframe("a fox in", 0),)
    assert read_prompts([both]) == (Keyframe("a fox in", 0, "a fox in"),)
    if not {"\r", "\n"} & set(text):
        assert read_line(both) == Keyframe("a fox in", 0, "a fox in")


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_sequence_is_one_prompt_each_with_settings_at_its_end(kind):
    assert read_prompts(kind([" a fox ", "a frog | seed=7 | time=3"])) == (
        Keyframe("a fox", 0),
        Keyframe("a frog", 7, time=3.0),
    )


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompts were given; give a prompt file, or the prompts themselves"),
        ("", "prompt 1 is empty"),
        (" ", "prompt 1 is empty"),
        (["a fox", "\t"], "prompt 2 is empty"),
        ("# a fox", "prompt 1 begins with #, which makes it a comment"),
        (["a fox", "\n # a frog"], "prompt 2 begins with #, which makes it a comment"),
        ("a fox\x1b[2J", "prompt 1: 'a fox\\x1b[2J' has control characters"),
        (["a fox", "a\x00frog"], "prompt 2: 'a\\x00frog' has control characters"),
        (["a fox", "a frog | negative=\x9b2J"], "prompt 2: 'a frog | negative=\\x9b2J' has control characters"),
        (["a fox", "a \udce4 frog"], "prompt 2 is not UTF-8 text"),
        ({0: "a fox", 30: "an owl"}, "prompts in a dict are not read; give a list, with times as in 'an owl | time=SECONDS'"),
        ({"a fox", "an owl"}, "prompts in a set have no order; give a list"),
        (["a fox", None], "prompt 2 is 'None', which is not text"),
        (["a fox", Path("a.txt")], "prompt 2 is 'a.txt', which is not text"),
        (None, "None is not a prompt; give a prompt file, or the prompts themselves"),
        (5, "5 is not a prompt; give a prompt file, or the prompts themselves"),
        (["a fox", "| seed=3"], f"prompt 2: there is no prompt before seed=; {SECTION}"),
        (["a fox", "| pace=bar"], "prompt 2: settings without a prompt are for all prompts after them, and there are none"),
        (["a fox", "a frog | seed=x"], f"prompt 2: seed 'x' is not a seed; {SEED}"),
        (["a fox | time=4", "b", "c | time=4"], "prompt 3: time 4 s is not after 4 s (prompt 1); " + "times must increase from keyframe to keyframe"),
    ],
)  # fmt: skip
def test_prompts_that_cannot_be_walked_through_are_refused(prompts, message):
    assert refusal(read_prompts, prompts) == message


@pytest.mark.parametrize(
    "name", ["more.txt", "my prompts.txt", "notes.md", "./more", "folder/more", "/tmp/more", "~/x"]
)
def test_a_file_among_several_prompts_is_refused(name):
    message = f"'{name}' looks like a file; give one prompt file, or prompts, not both"
    assert refusal(flags.checked, ["--prompts", "a fox", name]) == message
    assert refusal(flags.checked, ["--prompts", name, "a fox"]) == message


# Settings at the end of a line


@pytest.mark.parametrize(
    ("line", "keyframe"),
    [
        ("fox|seed=3", Keyframe("fox", 3)),
        ("fox | seed  =   3", Keyframe("fox", 3)),
        ("fox | seed=007", Keyframe("fox", 7)),
        (f"fox | seed={MAX_SEED}", Keyframe("fox", MAX_SEED)),
        ("fox | time=0", Keyframe("fox", 0, time=0.0)),
        ("fox | time=12.5 | seed=3", Keyframe("fox", 3, time=12.5)),
        ("fox | negative=blurry, text | seed=3", Keyframe("fox", 3, "blurry, text")),
        ("fox | negative= x = y #1 ", Keyframe("fox", 0, "x = y #1")),
        ("fox | negative=", Keyframe("fox", 0)),
        ("portrait | oil on canvas", Keyframe("portrait | oil on canvas", 0)),
        ("portrait | oil on canvas | seed=3", Keyframe("portrait | oil on canvas", 3)),
        ("portrait|oil||canvas|seed=3", Keyframe("portrait|oil||canvas", 3)),
        ("fox | in the style: a=b | seed=3", Keyframe("fox | in the style: a=b", 3)),
        ("a=b, seed=3", Keyframe("a=b, seed=3", 0)),
    ],
)
def test_settings_end_a_line_and_any_other_bar_belongs_to_the_prompt(line, keyframe):
    assert read_line(line) == keyframe


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fox | sede=3", f"unknown setting sede=; did you mean seed=? {SETTINGS}"),
        ("fox | SEED=3", f"unknown setting SEED=; did you mean seed=? {SETTINGS}"),
        ("fox | Seed=3", f"unknown setting Seed=; did you mean seed=? {SETTINGS}"),
        ("fox | negative_prompt=x", f"unknown setting negative_prompt=; did you mean negative=? {SETTINGS}"),
        ("fox | seed=3 | colour=red", f"unknown setting colour= {SETTINGS}"),
        ("fox | seed=", f"seed '' is not a seed; {SEED}"),
        ("fox | seed=x", f"seed 'x' is not a seed; {SEED}"),
        ("fox | seed=-1", f"seed '-1' is not a seed; {SEED}"),
        ("fox | seed=1.5", f"seed '1.5' is not a seed; {SEED}"),
        ("fox | seed=1, time=2", f"seed '1, time=2' is not a seed; {SEED}"),
        (f"fox | seed={MAX_SEED + 1}", f"seed '{MAX_SEED + 1}' is not a seed; {SEED}"),
        ("fox | time=", f"time '' is not a time; {TIME}"),
        ("fox | time=3:75", f"time '3:75' is not a time; {TIME}"),
        ("fox | time=-1", f"time '-1' is not a time; {TIME}"),
        ("fox | time=nan", f"time 'nan' is not a time; {TIME}"),
        ("fox | time=2 s", f"time '2 s' is not a time; {TIME}"),
        ("fox\x1b]0;hi\x07", r"'fox\x1b]0;hi\x07' has control characters"),
        ("fox | negative=\x08", r"'fox | negative=\x08' has control characters"),
        ("fox | seed=3 | seed=3", "seed is set twice"),
        ("fox | negative=a | seed=3 | negative=b", "negative is set twice"),
        ("fox | seed=3 | oil on canvas", "'oil on canvas' comes after seed=; settings go at the end of the line"),
        ("fox | seed=3 | negative=a | b", "'b' comes after negative=; settings go at the end of the line"),
        ("| seed=3", f"there is no prompt before seed=; {SECTION}"),
        (" \t| pace=bar | time=3", f"there is no prompt before time=; {SECTION}"),
        ("| pulze=1", f"there is no prompt before pulze=; {SECTION}"),
        ("| pulse=2", "pulse '2' is not possible; write a number from 0 to 1"),
        (
            "| negative=(blurry:9)",
            "a weight of 9 is too much; (words:1.3) is possible up to 4, and \\( is a parenthesis",
        ),
    ],
)
def test_a_line_that_is_not_understood_is_refused_with_its_number(line, message):
    assert refusal(read, f"# films\r\n\r\na frog\r\n{line}\r\n") == f"a.txt:4: {message}"


def test_settings_on_a_line_of_their_own_are_for_all_prompts_after_it():
    keyframes = read(
        "an owl | negative=blurry\n"
        "| pace=bar | pulse=0.8 | negative=dark\n"
        "a fox\na frog | pulse=0.2\n"
        "# the verse\n"
        "| pulse=0\n"
        "a cat | negative=text\n"
        "| pace=even | negative=\n"
        "a moon\n"
        "| oil on canvas | seed=9\n"
    )
    moves = [(it.prompt, it.pace, it.pulse, it.negative_prompt, it.seed) for it in keyframes]
    assert moves == [
        ("an owl", None, None, "blurry", 0),
        ("a fox", "bar", 0.8, "dark", 1),
        ("a frog", "bar", 0.2, "dark", 2),
        ("a cat", "bar", 0, "text", 3),
        ("a moon", "even", 0, "", 4),
        ("| oil on canvas", "even", 0, "", 9),
    ]


def test_a_seed_with_more_digits_than_python_reads_is_refused_too():
    digits = "9" * 5000
    assert refusal(read_line, f"fox | seed={digits}") == f"a.txt:1: seed '{digits}' is not a seed; {SEED}"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("0", 0), ("12.5", 12.5), ("12.", 12), (".5", 0.5), (" 7 ", 7), ("0.1", 0.1), ("90", 90), ("3600", 3600)],
        *[
            ("1:02.5", 62.5),
            ("0:00", 0),
            ("01:02", 62),
            ("59:59.9", 3599.9),
            ("1:02:03.5", 3723.5),
            ("10:00:00", 36000),
        ],
    ],
)
def test_a_time_is_seconds_or_has_colons(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", ":", "1:", ":1", "x", "1s", "-1", "+1", "1e3", "1,5", "nan", "inf", "infinity", "1_000"),
        *("0:60", "1:75", "1:60:00", "1:2:3:4", "1.5:00", "1:-2", "1: 2", "9" * 400),
    ],
    ids=brief,
)
def test_what_is_not_a_time_is_a_value_error(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_time(text)


# Times


def test_times_may_be_left_out_between_others():
    assert [k.time for k in read("a\nb | time=1\nc\nd | time=1.001\ne\n")] == [None, 1, None, 1.001, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a | time=5\nb | time=4.5", "a.txt:2: time 4.5 s is not after 5 s (a.txt:1)"),
        ("a | time=5\n# c\nb\nc | time=5", "a.txt:4: time 5 s is not after 5 s (a.txt:1)"),
        ("a\nb | time=1:00\n\nc | time=0:59.5", "a.txt:4: time 59.5 s is not after 1:00 (a.txt:2)"),
        ("a | time=0\nb | time=0", "a.txt:2: time 0 s is not after 0 s (a.txt:1)"),
        ("a\nb | time=1 | until=5\nc | time=3", "a.txt:3: time 3 s is not after 5 s (a.txt:2)"),
    ],
)
def test_times_that_do_not_increase_are_refused_with_both_lines(content, message):
    assert refusal(read, content) == f"{message}; times must increase from keyframe to keyframe"


# Seeds


@pytest.mark.parametrize(
    ("content", "options", "seeds"),
    [
        ("a\nb\nc", {}, [0, 1, 2]),
        ("a\nb\nc", {"seed": 40}, [40, 41, 42]),
        ("a\nb | seed=7\nc", {"seed": 40}, [40, 7, 42]),  # editing one line moves no other
        ("# a\n\na\n# b\nb", {"seed": 40}, [40, 41]),
        ("a\na", {}, [0, 1]),
        ("a", {"seed": MAX_SEED}, [MAX_SEED]),
        ("a\nb\nc", {"seeds": [5, 3, 5]}, [5, 3, 5]),
        ("a\nb\nc", {"seeds": (5,)}, [5, 5, 5]),
        ("a", {"seeds": [5, 3, 5]}, [5, 3, 5]),
        ("a | time=3", {"seeds": [5]}, [5]),
        ("a\nb", {"seeds": [0, MAX_SEED]}, [0, MAX_SEED]),
    ],
)
def test_seeds_count_up_or_are_paired_or_are_one_for_all(content, options, seeds):
    assert [keyframe.seed for keyframe in read(content, **options)] == seeds


def by_words(content, **options):
    return [keyframe.seed for keyframe in read(content, seeds="words", **options)]


@pytest.mark.parametrize(
    ("content", "options", "same"),
    [
        ("a\nb\nc\nb\na\nd", {}, "012104"),
        ("a\nb\na", {"seed": 40}, "010"),
        ("a  fox\nb\n a fox ", {}, "010"),
        ("a fox\nA fox", {}, "01"),
        ("a\na | negative=blurry\na | negative=\na | negative=blurry", {}, "0101"),
        ("a\na | negative=blurry\na | negative=", {"negative": "blurry"}, "002"),
        ("a\nb\na", {"style": "{} in oil"}, "010"),
    ],
)
def test_the_same_words_have_the_same_seed_and_others_another(content, options, same):
    seeds = by_words(content, **options)
    assert [[a == b for a in seeds] for b in seeds] == [[a == b for a in same] for b in same]


def test_seeds_by_words_do_not_depend_on_the_other_lines_or_their_order():
    a, b, c = by_words("a fox\nan owl\na boat")
    assert by_words("a boat\na mill\na fox") == [c, by_words("a mill")[0], a]
    assert by_words("an owl\na fox", seed=5) == [b + 5, a + 5]
    assert by_words("an owl | seed=7\na fox") == [7, a]
    assert by_words("an owl\na fox\nan owl | seed=7\nan owl | seed=9") == [7, a, 7, 9]
    assert (a, b, c) == (819932, 259259, 597821)  # for ever: films are made again by them


def test_a_chorus_that_is_sung_again_has_its_seed_again():
    Path("song.lrc").write_text("[00:01.00]a fox\n[00:02.00][00:04.00]la la\n[00:03.00]an owl\n")
    for style in ("{}", "{} in oil"):
        fox, first, owl, second = (k.seed for k in read_prompts("song.lrc", 3, "words", style=style))
        assert first == second
        assert len({fox, first, owl}) == 3


def test_one_seed_need_not_be_listed():
    assert [keyframe.seed for keyframe in read_prompts(["a", "b"], seeds=7)] == [7, 7]


def test_several_seeds_repeat_the_one_prompt_with_its_negative_prompt():
    assert read("a fox | negative=blurry", seeds=[5, 3]) == (
        Keyframe("a fox", 5, "blurry"),
        Keyframe("a fox", 3, "blurry"),
    )


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a\nb\nc", {"seeds": [1, 2]}, f"3 prompts and 2 seeds; {PAIRING}"),
        ("a\nb", {"seeds": [1, 2, 3]}, f"2 prompts and 3 seeds; {PAIRING}"),
        ("a\nb\nc\nd", {"seeds": [1, 2]}, f"4 prompts and 2 seeds; {PAIRING}"),
        ("a\nb", {"seeds": []}, f"2 prompts and 0 seeds; {PAIRING}"),
        ("# x\na\nb | seed=3", {"seeds": [1, 2]}, "a.txt:3 has seed=3, and seeds for all prompts (--seeds) were given too; keep one"),
        ("a | time=3", {"seeds": [1, 2]}, "a.txt:1 has a time, but becomes 2 keyframes, one for each seed; drop the time"),
        ("a", {"seeds": "word"}, "seeds 'word': give whole numbers, or 'words'"),
        ("a", {"seeds": 1.5}, "seeds '1.5': give whole numbers, or 'words'"),
        ("a\nb", {"seeds": {1: 3, 2: 4}}, "seeds '{1: 3, 2: 4}': give whole numbers, or 'words'"),
        ("a\nb", {"seeds": {4, 3}}, "seeds '{3, 4}': give whole numbers, or 'words'"),
        ("a", {"seed": "3"}, f"seed '3' is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        ("a", {"seed": -1}, f"seed -1 is out of range; seeds are whole numbers from 0 to {MAX_SEED}, and none is drawn at random"),
        ("a\nb", {"seed": MAX_SEED}, f"seed {MAX_SEED + 1} is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        ("a\nb", {"seeds": [1, -2]}, f"seed -2 is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        ("a", {"seeds": [MAX_SEED + 1]}, f"seed {MAX_SEED + 1} is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
    ],
)  # fmt: skip
def test_seeds_that_do_not_fit_the_prompts_are_refused(content, options, message):
    assert refusal(read, content, **options) == message


# Negative prompts


def test_the_negative_prompt_is_for_every_line_that_has_none_of_its_own():
    keyframes = read("a\nb | negative=text\nc | negative=\n", negative="blurry")
    assert [keyframe.negative_prompt for keyframe in keyframes] == ["blurry", "text", ""]


@pytest.mark.parametrize("negative", ["blurry | seed=3", "|", "a\x1b[2J", "a\x00"])
def test_a_negative_prompt_that_no_line_could_hold_is_refused(negative):
    message = f"negative prompt {negative!a} has a bar or control characters; it is plain text"
    assert refusal(read, "a\nb", negative=negative) == message


@pytest.mark.parametrize("negative", [" blurry,  text", "blurry,\ttext\n", "blurry, text"])
def test_the_negative_prompt_for_every_line_reads_like_one_of_its_own(negative):
    own, common = read(f"a | negative={negative}".replace("\n", " ")), read("a", negative=negative)
    assert own == common == (Keyframe("a", 0, "blurry, text"),)


@pytest.mark.parametrize("name", ["negative", "style"])
def test_words_for_every_line_that_are_no_text_are_refused(name):
    assert refusal(read, "a", **{name: None}).endswith(
        f"{name.replace('negative', 'negative prompt')} None is not text"
    )


# Keyframes that a program makes


def test_keyframes_go_through_as_they_are_and_get_what_they_lack():
    keyframes = read("a fox | seed=7 | time=0 | until=1 | negative=blurry\na {b|seed} frog | bar=9\nb | frame=48")
    assert read_prompts(keyframes) == read_prompts(list(keyframes), seed=5) == keyframes
    assert read_prompts(keyframes[0]) == keyframes[:1]
    assert read_prompts([Keyframe("a fox", 7), "a frog"], negative="text", style="{} in oil") == (
        Keyframe("a fox in oil", 7, "text"),
        Keyframe("a frog in oil", 1, "text"),
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt": " "}, "prompt ' ' is empty or no text; it says what the picture shows"),
        ({"prompt": None}, "prompt None is empty or no text; it says what the picture shows"),
        ({"prompt": "a (red:9) fox"}, "prompt: a weight of 9 is too much; (words:1.3) is possible up to 4, and \\( is a parenthesis"),
        ({"seed": -1}, f"seed -1 is out of range; seeds are whole numbers from 0 to {MAX_SEED}, and none is drawn at random"),
        ({"seed": 1.5}, f"seed 1.5 is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        ({"seed": "3"}, f"seed '3' is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        ({"seed": 2**63}, f"seed {2**63} is out of range; seeds are whole numbers from 0 to {MAX_SEED}"),
        ({"negative_prompt": None}, "negative prompt None is not text; '' is none"),
        ({"time": -1.0}, "time -1.0 is out of range; it is a number from 0, or None"),
        ({"until": float("nan")}, "until nan is out of range; it is a number from 0, or None"),
        ({"bar": 0.5}, "bar 0.5 is out of range; it is a number from 1, or None"),
        ({"beat": "2"}, "beat '2' is out of range; it is a number from 1, or None"),
    ],
    ids=str,
)  # fmt: skip
def test_a_keyframe_that_no_model_could_make_is_refused(values, message):
    with pytest.raises(Error) as caught:
        Keyframe(**{"prompt": "a fox", "seed": 1} | values)
    assert str(caught.value) == message


def test_numbers_of_numpys_are_pythons():
    keyframe = Keyframe("a fox", np.int64(7), frame=np.int64(3))
    assert keyframe == Keyframe("a fox", 7, frame=3)
    assert type(keyframe.seed) is type(keyframe.frame) is int


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a\x1b[0m fox | seed=0", "b | seed=1"], "prompt 1: 'a\\x1b[0m fox | seed=0' has control characters"),
        (["a | seed=0 | time=3", "b | seed=1 | time=2"], "prompt 2: time 2 s is not after 3 s (prompt 1); times must "),
    ],
)
def test_lines_of_a_damaged_recipe_are_refused_as_a_prompt_files(lines, told):
    with pytest.raises(Error, match="^" + re.escape(told)):
        read_lines(lines)


def test_a_line_of_half_a_megabyte_is_refused_for_its_length(tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text('0: "' + '"' * 400_000 + "x\na fox\n")  # to look for its end again and again would take minutes
    with pytest.raises(Error, match=r"the prompt has 4000.. characters; at most 20000 are possible"):
        read_prompts(file)


def test_a_keyframe_that_rests_until_before_it_arrives_is_refused():
    with pytest.raises(Error, match=r"^until 1 is not after its time 2; "):
        Keyframe("a", 0, time=2.0, until=1.0)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a fox | seed=3", "has settings in it"),
        ("a fox | style=oil", "unknown setting style="),
        ("# 1 fan", "begins with #"),
        ("a fox\x07", "has control characters"),
        ("a" * 20_001, "has 20001 characters"),
        ("a fox \ud800", "is not UTF-8"),
    ],
)
def test_a_keyframe_that_no_prompt_file_could_hold_is_refused(prompt, told):
    """Its film would carry what cannot be read."""
    with pytest.raises(Error, match=told):
        Keyframe(prompt, 1)
    if "settings" not in told:
        with pytest.raises(Error):
            read_prompts([prompt])


def test_spaces_and_line_breaks_of_a_keyframe_are_those_of_a_prompt_file():
    keyframe = Keyframe(" a fox\n\tin  the snow ", 1, "blurry,\n text")
    assert keyframe == Keyframe("a fox in the snow", 1, "blurry, text")
    with pytest.raises(Error, match=r"negative prompt .* has a bar or control characters"):
        Keyframe("a fox", 1, "blurry | text")


def test_a_rest_until_a_time_says_nothing_of_beats_bars_or_frames():
    for name in ("beat", "bar", "frame"):
        first, second = read(f"a | {name}=1 | until=9\nb | {name}=8")
        assert (first.until, getattr(second, name)) == (9, 8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a | seed: 7", "'seed: 7' looks like a setting; write seed=7"),
        ("a | negative : blurry", "'negative : blurry' looks like a setting; write negative=blurry"),
        ("a | time:", "'time:' looks like a setting; write time="),
        ("a | frame 48", "'frame 48' looks like a setting; write frame=48"),
        ("a | pace bar", "'pace bar' looks like a setting; write pace=bar"),
        ("a | pulse 0.5", "'pulse 0.5' looks like a setting; write pulse=0.5"),
    ],
)
def test_what_is_nearly_a_setting_is_refused_and_not_drawn(line, message):
    assert refusal(read, line) == f"a.txt:1: {message}"


def test_a_rest_of_no_length_is_refused_with_its_line():
    assert refusal(read, "a\nb | time=5 | until=5") == "a.txt:2: until 5 s is not after its time 5 s"
