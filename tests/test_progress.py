"""What is shown of what is done: on a terminal, in a notebook, and where nothing can be drawn."""

import io
import os
import re
import sys
import time
import types

import numpy as np
import pytest
import tqdm.auto
from test_work import PICTURE, Compilable

from walk import Keyframe, Walk, progress
from walk.progress import Bars
from walk.run import Run
from walk.work import Work

BAR = r"\w[\w ]*: +\d+%\|.*\| \d+/\d+ \[.*\]"


class Terminal(io.StringIO):
    def isatty(self):
        return True

    def seen(self):
        """The lines as they stand at last: after a carriage return, letters take the place of others."""
        lines = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for part in line.replace("\x1b[A", "").split("\r"):
                shown = part + shown[len(part) :]
            lines.append(shown.rstrip())
        return list(filter(None, lines))


@pytest.mark.parametrize("found", [0, 7], ids=["new", "begun"])
def test_no_bar_shares_a_line_with_what_is_said(tmp_path, monkeypatch, found):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    model, walk = Compilable(0, None), Walk.through([Keyframe("a fox", 1), Keyframe("an owl", 2)], frames=24)
    with Run(tmp_path / "film.walk", walk, model.settings) as run:
        for index in range(found):
            run.save(index, PICTURE + np.uint8(index))
    with Run(tmp_path / "film.walk", walk, model.settings) as run, Work(run, model, Bars()) as work:
        work.listener.say("before")
        work.make(run, range(20))
        work.listener.say("meanwhile")
        work.finished(run)
    said = ["before", *[f"{found} of 24 frames are in {tmp_path}/film.walk already"] * bool(found), "meanwhile"]
    *lines, last = terminal.seen()
    assert lines == said
    assert re.fullmatch(BAR, last)
    assert f"{24 - found}/{24 - found}" in last


def test_work_that_takes_no_time_is_not_drawn_and_work_that_does_is_from_then_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Bars().progress("reading", 0, after=2) as progress:
        progress.expect(5)
        progress.more(1)
        assert terminal.getvalue() == ""
        now[0] = 3.0
        progress.more(1)
        assert re.fullmatch(BAR, *terminal.seen())
        progress.expect(8)
        assert "2/8" in terminal.seen()[0]
        Bars().say("said meanwhile")
        progress.more(6)
    assert terminal.seen()[0] == "said meanwhile"
    assert "8/8" in terminal.seen()[1]
    assert terminal.getvalue().endswith("\n")


def test_where_nothing_can_be_drawn_a_line_comes_now_and_then(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Bars().progress("rendering", 10) as shown:
        for _ in range(10):
            now[0] += progress.PLAIN_SECONDS / 2
            shown.more(1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == [
        "rendering: 1 of 10 frames, 0.2 a second, 0:45 left",
        "rendering: 4 of 10 frames, 0.2 a second, 0:30 left",
    ]
    assert len(lines) == 4


def test_what_came_before_the_first_picture_is_not_in_the_rate(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Bars().progress("rendering", 31, after=2) as shown:
        for seconds in (60, *[1] * 20):  # a model is loaded first, say
            now[0] += seconds
            shown.more(1)
    *_, line = capsys.readouterr().err.splitlines()
    assert line == "rendering: 12 of 31 frames, 1 a second, 0:19 left"


@pytest.mark.skipif(os.name != "posix", reason="there are no such terminals")
def test_a_terminal_that_does_not_know_its_width_has_a_bar_of_80_columns(monkeypatch):
    import pty

    ours, theirs = pty.openpty()
    assert os.get_terminal_size(theirs).columns == 0
    with open(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with Bars().progress("rendering", 5) as progress:
            progress.more(5)
        drawn = os.read(ours, 10_000).decode().strip().split("\r")[-1]
    os.close(ours)
    assert re.fullmatch(BAR, drawn)
    assert 70 < len(drawn) <= 80


def test_a_terminal_that_only_prints_gets_lines_and_no_bar(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with Bars().progress("rendering", 5) as progress:
        progress.more(5)
    assert "\r" not in terminal.getvalue()
    assert not re.search(BAR, terminal.getvalue())


def test_a_notebook_draws_it_itself(capsys, monkeypatch):
    drawn = types.SimpleNamespace(n=0, total=None, close=lambda: None, refresh=lambda: None)
    drawn.container = types.SimpleNamespace(children=[None, types.SimpleNamespace(max=5), None])
    drawn.update = lambda count: setattr(drawn, "n", drawn.n + count)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    monkeypatch.setattr(tqdm.auto, "tqdm", lambda **how: drawn)
    with Bars().progress("rendering", 5) as progress:
        progress.expect(9)
        progress.more(9)
    assert (drawn.n, drawn.container.children[1].max) == (9, 9)
    assert capsys.readouterr().err == ""


def test_of_many_notes_of_one_kind_the_first_are_said():
    said, listener = [], progress.Listener()
    listener.say = said.append
    listener.notes([f"{number}" for number in range(10)])
    assert said == [*(f"note: {number}" for number in range(8)), "note: 2 more notes of this kind"]
    del said[:]
    listener.notes(["one"])
    assert said == ["note: one"]
