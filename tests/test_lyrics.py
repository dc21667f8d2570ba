"""A song's lines as keyframes: every one at its time, pauses as rests."""

import pytest

from walk import Error, read_prompts

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
    expected = [("a cat on a mat", 1.0, 2.0), ("99 dogs", 65.0, None)]
    assert heard(tmp_path, "song.SRT", SRT) == expected
    assert heard(tmp_path, "windows.srt", SRT.replace("\n", "\r\n")) == expected


def subtitles(*times):
    """An .srt file of numbered lines, each from one time to another."""
    return "".join(f"{i}\n00:00:{a:06.3f} --> {b}\nline {i}\n\n" for i, (a, b) in enumerate(times, 1)).replace(".", ",")


def until(seconds):
    return f"00:00:{seconds:06.3f}"


@pytest.mark.parametrize(
    ("times", "rests"),
    [
        ([(1, 2), (3, 4), (6.5, 7)], [2, 4, None]),  # it rests while it is sung, and the next comes in the pause
        ([(1, 2), (2, 3), (3.08, 4)], [None, None, None]),  # as most are: in a twelfth of a second it would jump
        ([(1, 2.1), (3, 3.9), (4.95, 6)], [None, 3.9, None]),
        ([(1, 10), (3, 4), (12, 13)], [None, 10, None]),  # the first is still to be read
        ([(1, 10), (3, 12), (12.5, 13)], [None, None, None]),
        ([(3, 4), (1, 2)], [2, None]),  # in any order
        ([(1, 0.5), (3, 4)], [None, None]),
    ],
)
def test_a_subtitle_rests_to_its_end_if_there_is_a_pause(tmp_path, times, rests):
    text = subtitles(*((a, until(b)) for a, b in times))
    assert [rest for _, _, rest in heard(tmp_path, "a.srt", text)] == rests


def test_a_subtitle_without_an_end_goes_on_at_once(tmp_path):
    text = subtitles((1, ""), (3, until(4)), (9, until(10)))
    assert [rest for _, _, rest in heard(tmp_path, "a.srt", text)] == [None, 4, None]


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
        ("a.lrc", "a cat\na dog\n", "has no line with a time; expected is, for example, [01:02.50] words"),
        (
            "a.srt",
            "a cat\n",
            "has no line with a time; expected is, for example, 1, then 00:01:02,500 --> 00:01:05,000",
        ),
        ("a.lrc", "[00:01.00]\n[00:02.00] ♪ \n", "has times, but no words"),
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
