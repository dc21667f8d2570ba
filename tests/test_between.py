"""Which frames are rendered, and where between them the others are."""

import itertools
import math
import random
from fractions import Fraction

import numpy as np
import pytest

from walk import Error, Keyframe, Walk
from walk.between import GRAIN, Spot, thinned

ABC = [Keyframe(prompt, seed) for seed, prompt in enumerate(["a fox", "an owl", "a whale", "a frog"])]


def some_walk(seed):
    """With times, rests, strides, a noise and a pulse of its own, or without, as chance will have it."""
    chance = random.Random(seed)
    count, frames, closed = chance.randint(2, 6), chance.randint(40, 150), chance.random() < 0.5
    keyframes = [Keyframe(f"prompt {k}", k) for k in range(count)]
    if chance.random() < 0.5:
        keyframes[1] = Keyframe("prompt 1", 1, time=chance.uniform(0.2, 0.3), until=chance.uniform(0.4, 0.6))
    if chance.random() < 0.3:
        keyframes[0] = Keyframe("prompt 0", 0, time=0.1)

    def strides():
        return [chance.choice([0.01, 1, 1, 8]) for _ in range(frames)] if chance.random() < 0.5 else None

    walk = Walk.through(
        *(keyframes, frames, None, 50, closed, chance.random() < 0.5, chance.random() < 0.3),
        strides=strides(),
        noise_strides=strides(),
    )
    if chance.random() < 0.3:
        pulse = [max(0.0, math.sin(frame / 5)) / 2 for frame in range(frames)]
        walk = walk.with_positions(walk.positions, walk.noise, pulse)
    return walk


def shortest_way(walk, a, b):
    cycle = len(walk.keyframes)
    return min(abs(a - b), cycle - abs(a - b)) if walk.closed else abs(a - b)


def test_without_it_every_frame_is_rendered():
    walk = Walk.through(ABC, frames=25)
    it = thinned(walk)
    assert it.is_whole
    assert it.walk == it.filled(walk) == walk
    assert it.spots == tuple(Spot(index, index, 0.0) for index in range(25))


def test_of_a_steady_walk_every_nth_frame_is_rendered_and_each_keyframe():
    it = thinned(Walk.through(ABC, frames=37), 4)  # keyframes are on 0, 12, 24 and 36
    assert it.rendered == (*range(0, 37, 4),)
    assert it.spots[5:9] == (Spot(1, 2, 0.25), Spot(1, 2, 0.5), Spot(1, 2, 0.75), Spot(2, 2, 0.0))
    assert thinned(Walk.through(ABC, frames=31), 4).rendered == (0, 3, 7, 10, 13, 17, 20, 23, 27, 30)


def test_a_loop_leads_from_its_last_rendered_frame_to_its_first():
    it = thinned(Walk.through(ABC, frames=40, closed=True), 4)
    assert it.rendered == tuple(sorted({*range(0, 40, 10)} | {k + part for k in range(0, 40, 10) for part in (3, 7)}))
    assert it.spots[-1] == Spot(11, 0, pytest.approx(2 / 3, abs=1 / GRAIN))
    assert it.filled(it.walk).positions[-1] == pytest.approx(3.9, abs=1e-4)


def test_a_rest_is_one_picture_and_what_moves_is_rendered():
    """Beats on which nearly all of the change comes within three frames."""
    strides = [100 if frame % 12 in (9, 10, 11) else 0.1 for frame in range(37)]
    walk = Walk.through(ABC, frames=37, strides=strides)
    it = thinned(walk, 3)
    assert {9, 10, 12, 21, 22, 24, 33, 34, 36} <= {*it.rendered}  # 11 is nearly where 12 is
    assert max(np.diff(it.walk.positions)) <= max(np.diff(walk.positions)) + 0.01
    assert len(it.rendered) <= 13
    held = thinned(Walk.through([ABC[0], Keyframe("an owl", 1, time=0.5, until=1.5), ABC[2]], seconds=2, fps=24), 4)
    assert [index for index in held.rendered if 12 <= index <= 36] == [12, 36]
    assert {held.spots[index] for index in range(12, 36)} == {Spot(3, 3, 0.0)}
    assert len(set(held.walk.coordinates)) == len(held.rendered) - 1


@pytest.mark.parametrize("seed", range(40))
def test_the_others_are_where_the_walk_has_them(seed):
    """Against NumPy: filled in from the rendered frames alone, every frame is where it was asked for."""
    walk = some_walk(seed)
    for every in (2, 3, 7):
        it = thinned(walk, every)
        whole = it.filled(it.walk)
        for asked, found in ((walk.positions, whole.positions), (walk.noise, whole.noise)):
            assert len(found) == len(asked)
        if not walk.has_own_noise:
            ways = [shortest_way(walk, a, b) for a, b in zip(walk.positions, whole.positions)]
            assert max(ways) < 2 / GRAIN
        for number, index in enumerate(it.rendered):
            assert it.spots[index][0] == number or it.walk.positions[it.spots[index][0]] == walk.positions[index]
            assert whole.coordinates[index] == walk.coordinates[index]
        corners = {index for index, position in enumerate(walk.positions) if not position % 1}
        assert {walk.positions[index] for index in corners} <= {*it.walk.positions}
        assert walk.swings() <= {*it.rendered}
        moving = walk.frames - len(corners)
        stops = len(corners) + len(walk.swings()) + sum(not position % 1 for position in walk.noise) + 2
        assert len(it.rendered) <= moving / every + 2 * stops


@pytest.mark.parametrize("seed", range(20))
def test_a_film_whose_frames_are_told_has_the_same_ones_rendered_and_the_same_between(seed):
    """As where it is replayed: each frame is where it was filled in."""
    it = thinned(some_walk(seed), 3)
    chance = random.Random(seed)
    moved = it.walk.with_positions(
        *(
            [position if not position % 1 else min(max(position + chance.uniform(-1e-3, 1e-3), int(position) + 1e-6), int(position) + 1 - 1e-6) for position in each]
            for each in (it.walk.positions, it.walk.noise)
        ),
        it.walk.pulse,
    )  # fmt: skip
    moved = moved.with_positions(
        sorted(moved.positions) if not moved.closed else it.walk.positions, it.walk.noise, moved.pulse
    )
    again = thinned(it.filled(moved), 3, it.rendered)
    assert again.walk == moved
    assert again.filled(moved).frames == it.full.frames
    if not moved.has_own_noise:
        shares = [abs(a.share - b.share) for a, b in zip(it.spots, again.spots) if a[:2] == b[:2]]
        assert max(shares) <= 1 / GRAIN


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize(("every", "off"), [(2, 0.05), (4, 0.05), (8, 0.12)])
def test_each_onset_pulses_as_far_and_as_suddenly_as_in_a_film_of_which_all_is_rendered(every, off, closed):
    """Onsets that are as strong on two frames, then fade, the first of them where a loop begins again."""
    strengths = [random.Random(onset).uniform(0.1, 1) for onset in range(15)]
    pulse = [strengths[frame // 16] * 0.75 ** max(frame % 16 - 1, 0) for frame in range(240)]
    plain = Walk.through(ABC, frames=240, closed=closed)
    walk = plain.with_positions(plain.positions, pulse=pulse)
    it = thinned(walk, every)
    whole = it.filled(it.walk)
    np.testing.assert_allclose(whole.pulse, pulse, atol=off)
    assert len(it.rendered) <= 240 / every + 2 * 15 + 4


def test_a_pulse_that_turns_at_the_end_of_a_loop_is_there():
    plain = Walk.through(ABC, frames=40, closed=True)
    pulse = [0.0] * 39 + [0.8]
    it = thinned(plain.with_positions(plain.positions, pulse=pulse), 4)
    assert {38, 39, 0} <= {*it.rendered}
    assert max(it.filled(it.walk).pulse) == 0.8


def test_frames_need_those_around_them():
    it = thinned(Walk.through(ABC, frames=37), 4)
    assert it.needed([0]) == [0]
    assert it.needed(range(5, 9)) == [1, 2]
    loop = thinned(Walk.through(ABC, frames=40, closed=True), 4)
    assert loop.needed([39]) == [0, 11]


@pytest.mark.parametrize("rendered", [(1, 36), (0, 5, 5, 36), (0, 37), (0, -1)])
def test_rendered_frames_that_cannot_be_are_refused(rendered):
    with pytest.raises(Error, match=r"^(there is no frame|rendered frames are given in order, from 0 on)"):
        thinned(Walk.through(ABC, frames=37), 4, rendered)


def test_a_long_film_is_planned_in_no_time():
    """In proportion to its length: each frame of 20,000 is looked for once, be there many keyframes or two."""
    for count in (2, 1000):
        keyframes = [Keyframe(f"prompt {k}", k) for k in range(count)]
        it = thinned(Walk.through(keyframes, frames=20_000, fps=Fraction(24)), 4)
        assert len(it.rendered) == pytest.approx(20_000 / 4, rel=0.05)
        assert all(a.before <= b.before for a, b in itertools.pairwise(it.spots))
