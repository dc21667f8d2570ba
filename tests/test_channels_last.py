"""Channels last: the same numbers, in another order."""

import copy

import pytest
import torch
from torch.nn.functional import group_norm

from walk import channels_last


@pytest.mark.parametrize("mean", [0, 5, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_group_norm_is_as_exact_as_pytorchs_own(dtype, mean):
    generator = torch.Generator().manual_seed(0)
    x = (torch.randn(3, 32, 24, 17, generator=generator) * 3 + mean).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(2, 32, generator=generator).to(dtype)
    ours = channels_last.group_norm(x, 8, weight, bias, 1e-5)
    own, exact = group_norm(x, 8, weight, bias, 1e-5), group_norm(x.double(), 8, weight.double(), bias.double(), 1e-5)
    assert ours.dtype == dtype
    assert ours.shape == x.shape
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert (ours.double() - exact).norm() < 1.1 * (own.double() - exact).norm()


def test_a_picture_of_one_colour_is_no_division_by_nought():
    x = torch.full((1, 4, 8, 8), 3.0).contiguous(memory_format=torch.channels_last)
    made = channels_last.group_norm(x, 2, torch.ones(4), torch.full((4,), 0.5), 1e-5)
    assert torch.allclose(made, torch.tensor(0.5), atol=1e-2)


def test_weights_lie_otherwise_and_are_the_same():
    part = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(2, 8))
    other, x = copy.deepcopy(part), torch.randn(1, 3, 8, 8)
    channels_last.apply(other)
    assert other[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(other(x), part(x), atol=1e-6)
    assert "forward" in vars(other[1])
    channels_last.undo(other)
    assert "forward" not in vars(other[1])


def test_what_is_made_for_films_stays_as_it_is():
    part = torch.nn.Conv3d(3, 8, 3)
    channels_last.apply(part)
    assert part.weight.is_contiguous()
