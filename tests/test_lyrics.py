"""A song's lines as keyframes: every one at its time, pauses as rests."""

import pytest

from walk import Error, lyrics, read_prompts

LRC = """\
[ti:A song]
[ar:Nobody]
[length: 00:20]

[00:01.00]a <00:01.50>cat
[00:03.20]
[00:05.00][00:12.00]a red | apple
[00:08.50]♪
[00:07.00]a frog
[00:07.00]une grenouille
[1:02:03.5]the end
"""
SRT = """\
1
00:00:01,000 --> 00:00:02,000
<i>a cat</i>
on a {\\an8}mat

2
00:00:03,500 --> 00:00:04,000

3
00:01:05,000 --> 00:01:06,000
99 dogs
"""
VTT = """\
WEBVTT - a song
Kind: captions

STYLE
::cue { color: red }

NOTE a remark
over two lines

REGION
id:fred

first verse
00:01.000 --> 00:02.000 align:start position:0%
<v Anna>a <b>cat</b> &amp; <c.yellow>a<00:00:01.500> dog</c> &lt;3
on&nbsp;a mat

00:03.500 --> 00:04.000

2
01:01:05.000 --> 01:01:06.000
99 dogs
"""


def heard(folder, name, text, **how):
    path = folder / name
    path.write_text(text, "utf-8")
    return [(k.prompt, k.time, k.until) for k in read_prompts(path, **how)]


def test_each_line_of_an_lrc_file_is_a_keyframe_at_its_time_and_empty_lines_are_rests(tmp_path):
    assert heard(tmp_path, "song.lrc", LRC) == [
        ("a cat", 1.0, 3.2),
        ("a red / apple", 5.0, None),
        ("a frog une grenouille", 7.0, 8.5),
        ("a red / apple", 12.0, None),
        ("the end", 3723.5, None),
    ]


def test_each_subtitle_is_a_keyframe_at_its_time(tmp_path):
    expected = [("a cat on a mat", 1.0, 2.0), ("99 dogs", 65.0, 66.0)]
    assert heard(tmp_path, "song.SRT", SRT) == expected
    assert heard(tmp_path, "windows.srt", SRT.replace("\n", "\r\n")) == expected


def test_each_cue_of_a_webvtt_file_is_a_keyframe_at_its_time(tmp_path):
    expected = [("a cat & a dog <3 on a mat", 1.0, 2.0), ("99 dogs", 3665.0, 3666.0)]
    assert heard(tmp_path, "song.vtt", VTT) == expected
    assert heard(tmp_path, "windows.VTT", "\ufeff" + VTT.replace("\n", "\r\n")) == expected


def test_a_line_that_rolls_up_above_the_next_one_is_said_once(tmp_path):
    """As YouTube's captions do: each line stands a hundredth of a second alone, and then above the next."""
    cues = [
        ("00:00:01.000 --> 00:00:03.000", " \nla<00:00:01.500><c> la</c>"),
        ("00:00:03.000 --> 00:00:03.010", "la la\n "),
        ("00:00:03.010 --> 00:00:05.000", "la la\na<00:00:04.000><c> cat</c>"),
        ("00:00:09.000 --> 00:00:10.000", "a<00:00:09.500><c> cat</c>"),
    ]
    rolling = "WEBVTT\n\n" + "\n\n".join(f"{times} align:start position:0%\n{words}" for times, words in cues)
    assert heard(tmp_path, "a.vtt", rolling) == [("la la", 1, None), ("a cat", 3.01, 5), ("a cat", 9, 10)]
    sung_twice = "WEBVTT\n\n00:01.000 --> 00:02.000\nla la\n\n00:02.000 --> 00:03.000\nla la\n"
    assert [time for _, time, _ in heard(tmp_path, "b.vtt", sung_twice)] == [1, 2]


@pytest.mark.parametrize(("name", "mark"), [("a.srt", ","), ("a.vtt", ".")])
def test_what_is_sung_is_told_from_dashes_entities_and_lines_in_brackets(tmp_path, name, mark):
    said = [
        "- R&amp;B &#39;n&#39; soul &not a word\n<i>- &lt;red&gt; (and blue)</i>",
        "[MUSIC PLAYING]",
        "(Chorus)\na cat (on a mat) [again]",
        "- (he walks\naway) ♪",
        "-5 degrees\n– a self-made snowman",
    ]
    text = "".join(f"{i}\n00:00:{i}0{mark}000 --> 00:00:{i}1{mark}000\n{words}\n\n" for i, words in enumerate(said, 1))
    assert [words for words, _, _ in heard(tmp_path, name, text)] == [
        "R&B 'n' soul &not a word <red> (and blue)",
        "a cat (on a mat) [again]",
        "-5 degrees a self-made snowman",
    ]
    assert lyrics.asides(text, name) == ["[MUSIC PLAYING]", "(Chorus)", "(he walks away)"]


def test_what_stands_in_brackets_in_an_lrc_file_is_sung(tmp_path):
    text = "[00:01.00](ooh ooh)\n[00:02.00]rock &amp; roll\n"
    assert [words for words, _, _ in heard(tmp_path, "a.lrc", text)] == ["(ooh ooh)", "rock &amp; roll"]
    assert lyrics.asides(text, "a.lrc") == []


def test_the_third_part_of_a_time_in_an_lrc_file_is_hundredths_however_they_are_written(tmp_path):
    """The format has no hours; only with a fraction after it, the third part is seconds."""
    text = (
        "[00:01:50]a cat\n[00:07:50]a dog\n[00:12.75]a frog\n[01:02:03]an owl\n[01:02:03.5]a fox\n[01:02:04:25]a bat\n"
    )
    assert [time for _, time, _ in heard(tmp_path, "a.lrc", text)] == [1.5, 7.5, 12.75, 62.03, 3723.5, 3724.25]


def subtitles(*times):
    """An .srt file of numbered lines, each from one time to another."""
    return "".join(f"{i}\n00:00:{a:06.3f} --> {b}\nline {i}\n\n" for i, (a, b) in enumerate(times, 1)).replace(".", ",")


def until(seconds):
    return f"00:00:{seconds:06.3f}"


@pytest.mark.parametrize(
    ("times", "rests"),
    [
        ([(1, 2), (3, 4), (6.5, 7)], [2, 4, 7]),  # it rests while it is sung, and the next comes in the pause
        ([(1, 2), (2, 3), (3.08, 4)], [None, None, 4]),  # as most are: in a twelfth of a second it would jump
        ([(1, 2.1), (3, 3.9), (4.95, 6)], [None, 3.9, 6]),
        ([(1, 10), (3, 4), (12, 13)], [None, 10, 13]),  # the first is still to be read
        ([(1, 10), (3, 12), (12.5, 13)], [None, None, 13]),
        ([(3, 4), (1, 2)], [2, 4]),  # in any order
        ([(1, 0.5), (3, 4)], [None, 4]),
        ([(1, 5), (3, 4)], [None, 5]),
        ([(1, 2), (3, 3)], [2, None]),
    ],
)
def test_a_subtitle_rests_to_its_end_if_there_is_a_pause_or_it_is_the_last(tmp_path, times, rests):
    text = subtitles(*((a, until(b)) for a, b in times))
    assert [rest for _, _, rest in heard(tmp_path, "a.srt", text)] == rests


def test_a_subtitle_without_an_end_goes_on_at_once(tmp_path):
    text = subtitles((1, ""), (3, until(4)), (9, until(10)))
    assert [rest for _, _, rest in heard(tmp_path, "a.srt", text)] == [None, 4, 10]
    text = subtitles((1, until(2)), (3, ""))
    assert [rest for _, _, rest in heard(tmp_path, "b.srt", text)] == [2, None]


def test_the_offset_of_an_lrc_file_moves_all_of_it(tmp_path):
    assert heard(tmp_path, "a.lrc", "[offset:+500]\n[00:01.00]a cat\n[00:00.20]a dog\n") == [
        ("a dog", 0.0, None),
        ("a cat", 0.5, None),
    ]


def test_a_style_is_put_around_every_line(tmp_path):
    assert heard(tmp_path, "a.lrc", "[00:01]a cat", style="oil painting, {}")[0][0] == "oil painting, a cat"
    assert read_prompts(["a cat | seed=4"], style="{} in oil, {}")[0].prompt == "a cat in oil, a cat"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.lrc", "a cat\na dog\n", "has no line with a time; expected is something like [01:02.50] words"),
        (
            "a.srt",
            "a cat\n",
            "has no line with a time; expected is something like 1, then 00:01:02,500 --> 00:01:05,000",
        ),
        (
            "a.vtt",
            "WEBVTT\n\na cat\n",
            "has no line with a time; expected is something like 01:02.500 --> 01:05.000",
        ),
        ("a.lrc", "[00:01.00]\n[00:02.00] ♪ \n", "has times, but no words"),
        ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n[Music]\n", "has times, but no words outside brackets"),
    ],
)
def test_a_song_without_times_or_words_is_refused(tmp_path, name, text, message):
    with pytest.raises(Error) as refusal:
        heard(tmp_path, name, text)
    assert str(refusal.value) == f"{tmp_path / name} {message}"


@pytest.mark.parametrize("style", ["oil painting", "{} | seed=3", "{}\x1b[2J"])
def test_a_style_without_a_place_for_the_prompt_or_with_settings_is_refused(style):
    with pytest.raises(Error, match=r"^style "):
        read_prompts(["a cat"], style=style)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("song.lrc", "[00:00.00]a cat | seed=7\n[00:02.00]a red | apple | negative=blurry | seed=9\n[00:04.00]an owl"),
        (
            "song.srt",
            "1\n00:00:00,000 --> 00:00:02,000\na cat | seed=7\n\n2\n00:00:02,000 --> 00:00:04,000\na red |\napple |"
            " negative=blurry | seed=9\n\n3\n00:00:04,000 --> 00:00:05,000\nan owl\n",
        ),
    ],
)
def test_a_line_may_end_in_a_seed_and_a_negative_prompt(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    keyframes = read_prompts(tmp_path / name)
    assert [it.prompt for it in keyframes] == ["a cat", "a red / apple", "an owl"]
    assert [it.seed for it in keyframes] == [7, 9, 2]
    assert [it.negative_prompt for it in keyframes] == ["", "blurry", ""]


def test_two_lines_of_one_moment_may_say_the_same_of_it(tmp_path):
    path = tmp_path / "song.lrc"
    path.write_text("[00:01]a cat | pace=bar\n[00:01]on a mat | pace=bar\n[00:03]a frog | pulse=0.5\n")
    cat, frog = read_prompts(path)
    assert (cat.prompt, cat.pace, frog.pulse) == ("a cat on a mat", "bar", 0.5)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "song.lrc",
            "[00:01]a cat\n[00:03]a frog\n[00:03] | pace=bar | pulse=0.5\n[00:05]\n[00:06][00:08]| pulse=0\n[00:07]an owl"
            "\n[00:09]a moon",
        ),
        (
            "song.srt",
            "1\n00:00:01,000 --> 00:00:03,000\na cat\n\n2\n00:00:03,000 --> 00:00:05,000\na frog\n\n"
            "3\n00:00:03,000 --> 00:00:03,100\n| pace=bar | pulse=0.5\n\n4\n00:00:06,000 --> 00:00:06,100\n| pulse=0\n\n"
            "5\n00:00:07,000 --> 00:00:09,000\nan owl\n\n6\n00:00:09,000 --> 00:00:10,000\na moon\n",
        ),
    ],
)
def test_settings_without_words_are_for_all_lines_from_their_time_on(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    keyframes = read_prompts(tmp_path / name)
    assert [(it.prompt, it.time, it.until, it.pace, it.pulse) for it in keyframes] == [
        ("a cat", 1, None, None, None),
        ("a frog", 3, 5, "bar", 0.5),
        ("an owl", 7, None, "bar", 0),
        ("a moon", 9, 10 if name == "song.srt" else None, "bar", 0),
    ]


def test_what_is_only_heard_ends_no_line(tmp_path):
    cues = [((0, 8), "a fox"), ((1, 2), "[MUSIC]"), ((10, 12), "a frog"), ((11, 30), "[APPLAUSE]")]
    text = "".join(f"{i}\n{until(a)} --> {until(b)}\n{words}\n\n" for i, ((a, b), words) in enumerate(cues, 1))
    assert heard(tmp_path, "song.srt", text.replace(".", ",")) == [("a fox", 0, 8), ("a frog", 10, 12)]


def test_settings_without_words_and_without_a_time_are_for_the_whole_song(tmp_path):
    path = tmp_path / "song.lrc"
    path.write_text("| pulse=0.5\n[offset:+500]\n[00:01]a cat\n[00:03]a frog\n[00:09]| pulse=0\n")
    assert [(it.time, it.pulse) for it in read_prompts(path)] == [(0.5, 0.5), (2.5, 0.5)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "| puls=0.5",
            "there is no prompt before puls=; pace=, pulse=, negative= and image= can do without, and are then for all ",
        ),
        ("| pace: bar", "'pace: bar' looks like a setting; write pace=bar"),
    ],
)
def test_settings_that_are_not_understood_are_no_words(tmp_path, line, message):
    path = tmp_path / "song.lrc"
    path.write_text(f"[00:01]a cat\n[00:02]{line}\n[00:03]a frog\n")
    with pytest.raises(Error) as refused:
        read_prompts(path)
    assert str(refused.value).startswith(f"{path}:2: {message}")
