"""Prompts as other tools write them: where they are read, where they are refused, and where they are words."""

from fractions import Fraction

import pytest
from test_keyframes import _in_an_empty_folder, read, refusal  # noqa: F401

from walk import Error, Keyframe, read_prompts


@pytest.mark.parametrize(
    "text",
    [
        "0: a fox\n30: a frog\n",
        '{\n"0": "a fox",\n"30": "a frog"\n}\n',
        "'0' : 'a fox',\n'30': 'a frog',",
        '{"0": "a fox", "30": "a frog"}',
    ],
)
def test_the_frame_numbers_of_another_tool_are_where_keyframes_come(tmp_path, text):
    file = tmp_path / "prompts.txt"
    file.write_text(text)
    made = (Keyframe("a fox", 0, frame=0), Keyframe("a frog", 1, frame=30))
    assert read_prompts(file) == made
    assert read_prompts(text.splitlines()) == made
    told = []
    read_prompts(file, tell=told.append)
    assert told == ["the frame numbers before the prompts are read as frame="]


def test_a_schedule_keeps_what_its_prompts_say():
    lines = ['"0": "a fox: \'red\', old --neg blurry, dark",', '"12": "a (red:1.3) frog | seed=7",']
    assert read_prompts(lines) == (
        Keyframe("a fox: 'red', old", 0, "blurry, dark", frame=0),
        Keyframe("a (red:1.3) frog", 7, frame=12),
    )
    lines = ['0: "a fox", "red"', '30: "a frog"']
    assert [keyframe.prompt for keyframe in read_prompts(lines)] == ['"a fox", "red"', "a frog"]


def test_prompts_with_numbers_are_no_schedule(tmp_path):
    file = tmp_path / "prompts.txt"
    for prompts in (
        ["1984: a book", "a clock at 10:30"],
        ["1984: a book", "2001: a space odyssey"],
        ["{red|green|blue} leaves", "a fox"],
        ["3 frogs", "1:1 a square", "16:9 a film"],
        ["6:00 sunrise", "12:00 noon", "18:30 dusk"],
        ["0:00 on a clock", "a fox"],
        ["00s fashion", "10s fashion"],
        ["80s neon", "90s neon: pink"],
        ["[red:blue:0.5] fox", "[fox], sepia", "(a fox)", '["open"] on a sign'],
    ):
        file.write_text("\n".join(prompts))
        assert [keyframe.prompt for keyframe in read_prompts(file)] == prompts
        assert [keyframe.prompt for keyframe in read_prompts(prompts)] == prompts


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["0:00 a fox", "0:02 a frog"], 2),
        (["0:00:00 - a fox", "0:01:02.5 - a frog"], 62.5),
        (["[0:00] a fox", "[0:02] a frog"], 2),
        (["0s: a fox", "2s: a frog"], 2),
        (["0 sec a fox", "2.5 sec a frog"], 2.5),
        (["0.000000\t0.000000\ta fox", "2.500000\t4.000000\ta frog"], 2.5),
    ],
)
def test_times_before_all_prompts_are_when_keyframes_come(lines, seconds):
    made = (Keyframe("a fox", 0, time=0), Keyframe("a frog", 1, time=seconds))
    assert read_prompts(lines) == read("\n".join(lines)) == made
    told = []
    read_prompts(lines, tell=told.append)
    assert told == ["the times before the prompts are read as time="]


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["0.0\t0.0\ta fox", "\\\t100.0\t200.0", "2.0\t2.0\ta frog"], "2: among labels that an audio editor has exported, this"),
        (["0.0\t0.0\ta fox", "0.0\t2.0\ta frog"], "2: the label is at 0.0, not after the one before; they must increase"),
        (["0.0\t0.0\ta fox", "1.5\t2.0\t"], "2: the label at 1.5 is empty; write a prompt into it"),
    ],
)  # fmt: skip
def test_labels_that_are_no_prompts_at_times_are_named(labels, told):
    assert refusal(read, "\n".join(labels)).startswith(f"a.txt:{told}")


def test_labels_of_an_audio_editor_begin_at_0():
    labels = "1.000000\t1.000000\ta fox\n2.500000\t2.500000\ta frog"
    assert refusal(read, labels) == "a.txt:1: the first of the prompts by times is at 1; it has to be at 0"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["00:00:00:00 a fox", "00:00:02:13 a frog"], "1: 00:00:00:00 is a timecode, and it is not known of how many frames "),
        (["a fox", "01:00:02;13 a frog"], "2: 01:00:02;13 is a timecode, and it is not known of how many frames a second; write "
         "the frame, at 25 | frame=90063, say"),
        (["a fox", "a frog | time=00:00:02:13"], "2: time '00:00:02:13' is a timecode, and it is not known of how many frames "
         "a second; write the frame, at 25 | frame=63, say"),
    ],
)  # fmt: skip
def test_a_timecode_of_no_known_rate_is_told_to_be_frames(lines, told):
    assert refusal(read, "\n".join(lines)).startswith(f"a.txt:{told}")


@pytest.mark.parametrize("start", ["00", "01", "10"])
@pytest.mark.parametrize("form", ["{} {}", "[{}] {}", "{}, {}", "{}: {}"])
def test_a_list_of_timecodes_is_when_keyframes_come_from_a_whole_hour_on(start, form):
    codes = (f"{start}:00:00:00", f"{start}:00:02:13", f"{start}:01:00:24")
    lines = [form.format(code, prompt) for code, prompt in zip(codes, ("a fox", "a frog | seed=9", "an owl"))]
    told = []
    made = read_prompts(lines, fps=Fraction(25), tell=told.append)
    assert [(it.prompt, it.seed, it.time) for it in made] == [
        ("a fox", 0, 0),
        ("a frog", 9, 2.52),
        ("an owl", 2, 60.96),
    ]
    assert told == [
        "timecodes are read at 25 frames a second, as --fps says",
        "the times before the prompts are read as time=",
    ]


@pytest.mark.parametrize(
    "fps", [Fraction(24), Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60)]
)
def test_a_timecode_without_dropped_numbers_counts_every_frame(fps):
    """So many minutes, seconds and frames of a timecode are as many frames of the film, whatever a clock says."""
    made = read_prompts(["a fox | time=00:00:00:05 | until=00:00:01:00", "a frog | time=00:10:02:13"], fps=fps)
    frames = [it * fps for it in (made[0].time, made[0].until, made[1].time)]
    assert frames == pytest.approx([5, round(fps), 602 * round(fps) + 13], abs=0.001)


@pytest.mark.parametrize("rate", [30, 60])
def test_a_drop_frame_timecode_counts_as_the_standard_does(rate):
    """Against counting: of each minute but every tenth the first two numbers are left out, or four of 60 a second."""
    fps, number, frame, codes = Fraction(rate * 1000, 1001), 0, 0, {}
    while number < 21 * 60 * rate:
        seconds, part = divmod(number, rate)
        if not (seconds % 60 == 0 and part < rate // 15 and seconds // 60 % 10):
            codes[f"00:{seconds // 60:02d}:{seconds % 60:02d};{part:02d}"] = frame
            frame += 1
        number += 1
    for code in [*[*codes][::997], "00:00:59;29", "00:01:00;04", "00:10:00;00", "00:20:00;01"]:
        (made,) = read_prompts([f"a fox | time={code}"], fps=fps)
        assert made.time * fps == pytest.approx(codes[code], abs=0.001)
    dropped = "00:01:00;01"
    assert dropped not in codes
    with pytest.raises(
        Error, match=f"prompt 1: there is no timecode {dropped}; drop-frame timecodes leave that number out"
    ):
        read_prompts([f"a fox | time={dropped}"], fps=fps)


def test_a_timecode_of_another_rate_is_refused():
    with pytest.raises(
        Error, match="prompt 2: there is no timecode 00:00:02:24 at 24 frames a second; give another --fps"
    ):
        read_prompts(["a fox", "a frog | time=00:00:02:24"], fps=Fraction(24))


def test_a_list_of_timecodes_is_read_as_one_of_times():
    lines = ["01:00:00:00 a fox --neg blurry | until=01:00:01:12", '01:00:02:00 "an owl"', "01:00:03:00 a frog"]
    same = ["0:00 a fox --neg blurry | until=1.5", '0:02 "an owl"', "0:03 a frog"]
    assert read_prompts(lines, fps=Fraction(24)) == read_prompts(same)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (
            ["01:00:10:00 a fox", "01:00:12:00 an owl"],
            "1: the first timecode is 01:00:10:00; it has to be 00:00:00:00, or a",
        ),
        (
            ["01:00:00:00 a fox", "00:59:00:00 an owl"],
            "2: there is no timecode 00:59:00:00 in a list that begins at hour 1",
        ),
        (
            ["00:00:00:00 a", "00:00:02:00 b", "00:00:01:00 c"],
            "3: the timecode 00:00:01:00 is not after the one before; they ",
        ),
        (
            ["a fox", "00:00:02:00 an owl"],
            "2: 00:00:02:00 is a timecode, and prompt 1 has none; begin every line with one, or end this one in | time=",
        ),
        (["12:30:00:00 on a digital clock"], "1: 12:30:00:00 is a timecode; begin every line with one, or end"),
        (
            ["00:00:00:00 00:00:01:00 a", "00:00:02:00 00:00:03:00 b"],
            "1: a second timecode follows the first; until when it ",
        ),
    ],
)
def test_a_list_of_timecodes_that_cannot_be_meant_is_refused(lines, told):
    with pytest.raises(Error) as caught:
        read_prompts(lines, fps=Fraction(24))
    assert str(caught.value).startswith(f"prompt {told}")


def test_words_are_not_taken_for_timecodes():
    lines = ["a fox", "a clock at 10:30:00:12", "a frog | time=3 | until=5"]
    assert read_prompts(lines, fps=Fraction(24)) == read_prompts(lines)


def test_a_schedule_that_does_not_begin_at_0_is_words_and_said_to_be(tmp_path):
    for lines, before in (
        (["0:05 a fox", "0:09 a frog"], "times"),
        (['"30": "a fox",', '"60": "a frog"'], "frame numbers"),
    ):
        told = []
        assert [keyframe.prompt for keyframe in read_prompts(lines, tell=told.append)] == lines
        assert told == [f"the {before} before the prompts are words to the model, since the first is not 0"]
    for lines, why in (
        (["00:00 a fox", "00:99 a frog"], "prompt 2 has none that can be read"),
        (["0:00 a fox", "0:05 a frog", "0:03 an owl"], "they do not rise"),
    ):
        told = []
        assert [keyframe.prompt for keyframe in read_prompts(lines, tell=told.append)] == lines
        assert told == [f"the times before the prompts are words to the model, since {why}"]
    said = refusal(read, '{"30": "a fox", "60": "a frog"}')
    assert said == "a.txt:1: the first of the prompts by frame numbers is at 30; it has to be at 0"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["a fox", "[0:02] a frog"],
            "2: times before some of the prompts are not read; write 'a frog | time=0:02' for '[0:02] a frog', or leave "
            "times out",
        ),
        (
            ["0: a fox", "1: a frog", "2: an owl"],
            "1: numbers before prompts, each one more than the last, are not read; leave them out, or write 'a frog | "
            "frame=1' for a frame",
        ),
        (["0: a fox", "30: # a frog"], "2 begins with #, which makes it a comment"),
    ],
)
def test_numbers_that_may_be_no_schedule_and_comments_in_one_are_refused(lines, message):
    assert refusal(read, "\n".join(lines)) == f"a.txt:{message}"
    assert refusal(read_prompts, lines) == f"prompt {message}"


@pytest.mark.parametrize(
    "text",
    [
        '["a fox", "a frog"]',
        '[\n  "a fox",\n  "a frog"\n]',
        "[\n  'a fox',\n  'a frog',\n]",
        "['a fox', 'a frog',]",
        "{0: 'a fox', 30: 'a frog'}",
        '{"W": 512, "prompts": ["a fox", "a frog"]}',
        '{"last_node_id": 9,\n "nodes": [{"id": 7,\n "widgets_values": ["a fox"]}]}',
        '{"prompt": "a fox"}\n{"prompt": "a frog"}',
        "[1, 2]",
        "{}",
        '{"0": "a fox", "30": "a frog", "30": "an owl"}',
    ],
)
def test_what_programs_write_is_no_prompt(text):
    expected = (
        "1: JSON and the like are not read; write the prompts alone, in a file one a line, with times as in "
        "'an owl | time=SECONDS'"
    )
    assert refusal(read, text) == f"a.txt:{expected}"
    assert refusal(read_prompts, text.splitlines()) == f"prompt {expected}"


def test_a_number_of_any_length_before_a_prompt_is_read_as_it_stands(tmp_path):
    file = tmp_path / "prompts.txt"
    prompts = ["9" * 5_000 + ": a fox", "0: an owl"]  # more digits than Python makes a number of
    file.write_text("\n".join(prompts))
    assert [keyframe.prompt for keyframe in read_prompts(file)] == prompts


def test_where_one_prompt_has_no_number_none_is_a_schedules():
    x = ["0: a fox", "30: a frog", "an owl"]
    assert [keyframe.prompt for keyframe in read_prompts(x)] == x


def test_an_object_of_more_than_prompts_is_no_schedule():
    text = '{"0": "a fox", "30": "a frog", "width": 512}'
    with pytest.raises(Error, match="JSON and the like are not read"):
        read(text)


def test_of_deforums_settings_the_prompts_are_read_and_it_is_said_that_no_others_are(tmp_path):
    file, told = tmp_path / "a.txt", []
    file.write_text(
        '{\n"W": 512,\n"seed": -1,\n"prompts": {"0": "a fox", "30": "a frog --neg blurry"},\n"steps": 25\n}'
    )
    fox, frog = read_prompts(file, tell=told.append)
    assert (fox.prompt, fox.frame, frog.prompt, frog.frame, frog.negative_prompt) == (
        "a fox",
        0,
        "a frog",
        30,
        "blurry",
    )
    assert told == [
        "the frame numbers before the prompts are read as frame=; none of the file's other settings is read"
    ]
    file.write_text('{"W": 512, "prompts": {"0": "a fox", "max_f/2": "a frog"}}')
    with pytest.raises(Error, match="'max_f/2' is not the number of a frame"):
        read_prompts(file)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a fox, (red:1.2)\nNegative prompt: bad, (worst:2)\nSteps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG "
            "scale: 7, Seed: 123, Size: 512x768, Model: it, Clip skip: 2, Version: v1.9",
            "2: 'Negative prompt:' begins what another tool tells of a picture, which is not read; in its place end the "
            "prompt's line in | negative=... | seed=123 and give --steps 30 --scheduler 'DPM++ 2M Karras' --guidance 7 "
            "--clip-skip 2 --width 512 --height 768",
        ),
        (
            "a fox\nSteps: 20, Sampler: Euler a, Schedule type: Automatic",
            "2: 'Steps: 20,' begins what another tool tells of a picture, which is not read; in its place give --steps 20 "
            "--scheduler 'Euler a'",
        ),
        (
            "a fox Negative prompt: bad Steps: 20, Sampler: DDIM",
            "1: 'Negative prompt:' begins what another tool tells of a picture, which is not read; in its place end the "
            "prompt's line in | negative=... and give --steps 20 --scheduler DDIM",
        ),
        (
            "a fox\nNegative prompt:\n",
            "2: 'Negative prompt:' begins what another tool tells of a picture, which is not read; in its place end the "
            "prompt's line in | negative=...",
        ),
    ],
)
def test_what_is_told_of_a_picture_beside_its_prompt_is_not_drawn(text, told):
    assert refusal(read, text) == f"a.txt:{told}"
    assert refusal(read_prompts, text.splitlines()) == f"prompt {told}"


@pytest.mark.parametrize("prompt", ["steps: a stair of 20, stone", "a negative prompt: no", "Steps: 12 of them"])
def test_words_are_not_taken_for_what_is_told_of_a_picture(prompt):
    assert read_prompts([prompt])[0].prompt == prompt


def test_an_expression_in_place_of_a_frames_number_is_named():
    assert refusal(read, '{"0": "a fox",\n"max_f/2": "a frog"}') == (
        "a.txt:1: 'max_f/2' is not the number of a frame; expressions are not read"
    )


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("| negative=dark\n0: a fox\n| pulse=0.5\n20: a frog", "frame"),
        ("| negative=dark\n0:00 a fox\n| pulse=0.5\n0:20 a frog", "time"),
        ("| negative=dark\n01:00:00:00 a fox\n| pulse=0.5\n01:00:20:00 a frog", "time"),
    ],
)
def test_settings_without_a_prompt_stand_between_prompts_with_times(text, times):
    fox, frog = read_prompts(text.splitlines(), fps=Fraction(25))
    assert [(it.prompt, getattr(it, times), it.negative_prompt, it.pulse) for it in (fox, frog)] == [
        ("a fox", 0, "dark", None),
        ("a frog", 20, "dark", 0.5),
    ]


def test_settings_without_a_prompt_are_refused_within_json():
    assert refusal(read_prompts, ["{", '"0": "a fox",', '"9": "a frog"', "| pulse=1", "}"]) == (
        "prompt 4: '| pulse=1' has no place in JSON"
    )


def test_a_keyframe_among_prompts_with_numbers_is_not_lost():
    mixed = read_prompts(["0: a fox", "30: a frog", Keyframe("an owl", 5)])
    assert [keyframe.prompt for keyframe in mixed] == ["0: a fox", "30: a frog", "an owl"]


def test_braces_on_lines_of_their_own_around_a_schedule_are_none_of_its_prompts():
    made = read("{\n0: 'a fox',\n30: 'a frog',\n}")
    assert made == (Keyframe("a fox", 0, frame=0), Keyframe("a frog", 1, frame=30))
