"""A picture between two: what a network of RIFE's makes of them, in each of its versions, and what is refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import shift

from walk import Error, Settings, interpolate, models
from walk.interpolate import Interpolator, Network

pytestmark = pytest.mark.usefixtures("empty_folder")

# Of each version: features of its blocks, of the head (None: there is none), and how many numbers the last layer of a block
# makes; here with fewer features.
VERSIONS = {
    "4.0": ((16, 8, 8, 8), None, 5),
    "4.2": ((16, 8, 8, 8), None, 5),
    "4.6": ((16, 8, 8, 8), None, 6),
    "4.7": ((16, 8, 8, 8), 4, 6),
    "4.10": ((16, 8, 8, 8), 8, 6),
    "4.14.lite": ((16, 8, 8, 8), 8, 6),
    "4.15": ((16, 8, 8, 8), 8, 6),
    "4.22": ((16, 8, 8, 8), 4, 13),
    "4.25.lite": ((16, 8, 8, 8, 24), 4, 13),
    "4.26": ((16, 8, 8, 8, 8), 4, 13),
}


def rife(version="4.26", flow=(0, 0, 0, 0), masks=None, noise=0.0):
    """Weights as the files of a version have them. flow, masks: what its blocks find, wherever they look; of masks one for
    each. noise: how far weights are from 0 beside these."""
    blocks, head, numbers = VERSIONS[version]
    generator, weights = torch.Generator().manual_seed(0), {}

    def layer(name, a, b, side, groups=1, transposed=False):
        shape = (a, b, side, side) if transposed else (b, a // groups, side, side)
        weights[f"{name}.weight"] = noise * torch.randn(shape, generator=generator)
        weights[f"{name}.bias"] = noise * torch.randn(b, generator=generator)

    if head and version == "4.7":
        layer("encode.0", 3, 6, 3)
        layer("encode.1", 6, head, 4, transposed=True)
    elif head:
        places = (0, 2, 4, 6) if version == "4.10" else ("cnn0", "cnn1", "cnn2", "cnn3")
        for place, (a, b) in zip(places, ((3, 6), (6, 6), (6, 6))):
            layer(f"encode.{place}", a, b, 3)
        layer(f"encode.{places[-1]}", 6, head, 4, transposed=True)
    for number, features in enumerate(blocks):
        name, heads = f"block{number}", 2 * (head or 0)
        given = 7 + heads if not number else 12 + heads + (8 if numbers == 13 else 0)
        layer(f"{name}.conv0.0.0", given, features // 2, 3)
        layer(f"{name}.conv0.1.0", features // 2, features, 3)
        for place in range(8):
            each = f"{name}.convblock.{place}"
            if version in ("4.0", "4.2"):
                layer(f"{each}.0", features, features, 3)
            else:
                layer(f"{each}.conv", features, features, 3, groups=2 if version == "4.14.lite" else 1)
                weights[f"{each}.beta"] = torch.ones(1, features, 1, 1)
            if version == "4.0":
                weights[f"{each}.1.weight"] = torch.full((features,), 0.25)
        if version == "4.0":
            weights[f"{name}.conv0.0.1.weight"] = torch.full((features // 2,), 0.25)
            weights[f"{name}.conv0.1.1.weight"] = torch.full((features,), 0.25)
        last, repeats = (f"{name}.lastconv", 1) if version in ("4.0", "4.2") else (f"{name}.lastconv.0", 4)
        layer(last, features, numbers * repeats, 4, transposed=True)
        found = torch.zeros(numbers)
        cell = SCALES[version][number] * (2 if repeats == 1 else 1)
        found[:4] = torch.tensor(flow, dtype=torch.float32) / cell / len(blocks)
        found[4] = (masks or [0] * len(blocks))[number]
        weights[f"{last}.bias"] += found.repeat_interleave(repeats)
    return weights


# Pixels of the cells in which each block looks at the picture.
SCALES = dict.fromkeys(VERSIONS, (8, 4, 2, 1)) | {"4.26": (16, 8, 4, 2, 1), "4.25.lite": (32, 16, 8, 4, 1)}


@pytest.fixture
def settings(tiny_folder):
    return models.complete(Settings(str(tiny_folder), steps=1))


@pytest.fixture
def made(settings):
    def of(weights, a, b, t=0.5):
        save_file({name: it.contiguous() for name, it in weights.items()}, "net.safetensors")
        return Interpolator(interpolate.read(Path("net.safetensors")), settings)(a, b, t)

    return of


def noisy(width=64, height=48, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_blend_is_a_mixture(settings):
    a, b = noisy(seed=1), noisy(seed=2)
    blend = Interpolator(Network(None, "blend", "blend"), settings)
    for t in (0.25, 0.5, 0.8):
        np.testing.assert_allclose(blend(a, b, t), (1 - t) * a.astype(float) + t * b, atol=0.51)
    assert blend.how == "interpolator blend"
    np.testing.assert_array_equal(blend(a, a, 0.3), a)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_network_that_finds_no_movement_mixes_both_halves(made, version):
    a, b = noisy(seed=1), noisy(seed=2)
    np.testing.assert_allclose(made(rife(version), a, b, 0.3), (a.astype(float) + b) / 2, atol=0.51)


@pytest.mark.parametrize("version", VERSIONS)
def test_each_pixel_is_found_where_the_flow_says(made, version):
    """Against SciPy: 1.5 pixels to the right and 2.25 down of the first picture, or 3 to the left of the second, which
    the mask chooses."""
    a, b = noisy(seed=1), noisy(seed=2)
    own = (0,) * (len(VERSIONS[version][0]) - 1)
    flow = 1.5, 2.25, -3, 0
    first, second = (made(rife(version, flow, (*own, mask)), a, b) for mask in (30, -30))
    inside = np.s_[4:-4, 4:-4]
    expected = shift(a.astype(float), (-2.25, -1.5, 0), order=1)
    np.testing.assert_allclose(first[inside], expected[inside], atol=0.6)
    np.testing.assert_array_equal(second[inside], np.roll(b, 3, 1)[inside])


@pytest.mark.parametrize("version", VERSIONS)
def test_masks_of_old_versions_add_up_and_those_of_newer_ones_replace_each_other(made, version):
    a, b = noisy(seed=1), noisy(seed=2)
    masks = [0.5] * len(VERSIONS[version][0])
    said = 0.5 if VERSIONS[version][1] else 0.5 * len(masks)
    share = 1 / (1 + np.exp(-said))
    np.testing.assert_allclose(
        made(rife(version, masks=masks), a, b), share * a + (1 - share) * b.astype(float), atol=0.6
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_it_depends_on_the_moment_and_on_the_order_of_the_pictures(made, version):
    a, b = noisy(seed=1), noisy(seed=2)
    weights = rife(version, noise=0.15)
    at_first, later = made(weights, a, b, 0.2), made(weights, a, b, 0.9)
    assert (at_first != later).any()
    assert (made(weights, b, a, 0.2) != at_first).any()
    np.testing.assert_array_equal(made(weights, a, b, 0.2), at_first)


@pytest.mark.parametrize("version", ["4.0", "4.6", "4.26"])
def test_the_names_that_tools_give_to_its_weights_are_known(settings, version):
    """What training alone needs is left out; a pickle of tensors is read, too."""
    weights = rife(version, noise=0.1)
    save_file({f"module.flownet.{name}".replace("block", "blocks.", 1) if name.startswith("block") else f"module.flownet.{name}": it for name, it in weights.items()}, "a.safetensors")  # fmt: skip
    more = {"teacher.conv.weight": torch.ones(3), "block_tea.conv.weight": torch.ones(3)}
    torch.save({f"module.{name}": it for name, it in (weights | more).items()}, "b.pkl")
    torch.save({name: it.half() for name, it in weights.items()}, "c.pth")
    pictures = [
        Interpolator(interpolate.read(Path(name)), settings)(noisy(seed=1), noisy(seed=2), 0.4)
        for name in ("a.safetensors", "b.pkl", "c.pth")
    ]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_allclose(pictures[0].astype(int), pictures[2], atol=8)


def test_beyond_the_edges_it_finds_what_is_on_them_also_where_torch_cannot_do_that(made, monkeypatch):
    """As on Apple's GPUs, where torch knows no padding_mode="border". Against SciPy: sides of 64 need no other padding."""
    sample = torch.nn.functional.grid_sample

    def as_apples(*given, padding_mode="zeros", **more):
        assert padding_mode != "border", "MPS: Unsupported Border padding mode"
        return sample(*given, padding_mode=padding_mode, **more)

    monkeypatch.setattr("torch.nn.functional.grid_sample", as_apples)
    a, b = noisy(64, 64, seed=1), noisy(64, 64, seed=2)
    first = made(rife("4.6", (9.5, -70, 0, 0), (0, 0, 0, 30)), a, b)
    expected = shift(a.astype(float), (70, -9.5, 0), order=1, mode="nearest")
    np.testing.assert_allclose(first, expected, atol=0.6)


def test_what_is_not_finite_is_refused(made):
    """In its file, and of two pictures."""
    weights = rife("4.6")
    weights["block3.lastconv.0.bias"] += float("nan")
    with pytest.raises(Error, match="interpolator that is known: what it makes is not finite; give another"):
        made(weights, noisy(seed=1), noisy(seed=2))
    weights = rife("4.6")
    weights["block0.conv0.0.0.weight"][:, :6] = 3e38  # of black pictures nothing comes
    with pytest.raises(Error, match=r"^what the interpolator makes is not finite; give another --interpolator$"):
        made(weights, noisy(seed=1), noisy(seed=2))


def test_where_there_is_no_room_it_says_what_needs_none(settings, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError

    save_file(rife("4.6"), "net.safetensors")
    network = interpolate.read(Path("net.safetensors"))
    monkeypatch.setattr(network.module, "forward", full)
    with pytest.raises(
        Error, match=r"^the interpolator finds no room for pictures of 64x48; give --interpolator blend$"
    ):
        Interpolator(network, settings)(noisy(), noisy(seed=1), 0.5)


class Program:
    def __reduce__(self):
        return (Path.touch, (Path("ran"),))


def not_rife(kind):
    if kind == "program":
        Path("x.pkl").write_bytes(pickle.dumps({"a": Program()}))
        return "x.pkl"
    weights = rife("4.26")
    if kind == "upscaler":
        weights = {"body.0.weight": torch.ones(4, 3, 3, 3), "body.0.bias": torch.ones(4)}
    elif kind == "block missing":
        weights = {name: it for name, it in weights.items() if not name.startswith(("block3", "block4"))}
    elif kind == "layer missing":
        del weights["block2.conv0.1.0.weight"]
    elif kind == "other shapes":
        weights["block1.conv0.0.0.weight"] = torch.ones(4, 5, 3, 3)
    save_file(weights, "x.safetensors")
    if kind == "cut off":
        Path("x.safetensors").write_bytes(Path("x.safetensors").read_bytes()[:-100])
    return "x.safetensors"


@pytest.mark.parametrize("kind", ["program", "upscaler", "block missing", "layer missing", "other shapes", "cut off"])
def test_what_is_no_interpolator_is_refused(kind):
    name = not_rife(kind)
    with pytest.raises(Error, match=rf"^{name} is no interpolator that is known: .*; give another --interpolator$"):
        interpolate.read(Path(name))
    assert not Path("ran").exists()


def test_a_text_is_said_to_be_damaged():
    Path("x.pkl").write_text("hello, world")
    with pytest.raises(Error, match="known: it is damaged, or holds a program, which walk does not run; give another"):
        interpolate.read(Path("x.pkl"))


def test_weights_in_eight_bits_are_read(settings):
    """Of which torch tells no largest one."""
    weights = {name: it.to(torch.float8_e4m3fn) for name, it in rife("4.6").items()}
    save_file(weights, "x.safetensors")
    network = interpolate.read(Path("x.safetensors"))
    assert network.supports_half
    a, b = noisy(seed=1), noisy(seed=2)
    np.testing.assert_allclose(Interpolator(network, settings)(a, b, 0.3), (a.astype(float) + b) / 2, atol=0.51)
