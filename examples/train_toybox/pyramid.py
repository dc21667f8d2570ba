"""A start for the autoencoder: a network that already is a Haar pyramid.

The shortcuts carry averages and details of red, green and blue; SiLU(x) - SiLU(-x) = x, and channels of a
constant, let them pass through normalisation. Training then begins with a picture, not with a grey field.
Knows the one layout that config.py names: four levels of at least 32 channels, eight latents, four groups.
"""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import nn

K = 4.0  # the constant
BASIS = torch.tensor([[[1.0, -1], [1, -1]], [[1, 1], [-1, -1]], [[1, -1], [-1, 1]]])
BLUR = torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])) / 16
GREY = (0.3, 0.5, 0.2)
DETAILS = ((21, 0), (21, 1), (21, 2), (12, 0), (12, 1))  # of brightness that become latents: level, direction


def clear(layer: nn.Conv2d, rows: slice) -> None:
    layer.weight[rows], layer.bias[rows] = 0, 0


@torch.no_grad()
def start(vae: AutoencoderKL) -> None:
    for name, layer in vae.named_modules():
        if name.endswith("conv2"):  # what residual blocks add is small at first
            layer.weight *= 0.1
            layer.bias.zero_()
    _encoder(vae.encoder)
    _latents(vae.quant_conv, vae.post_quant_conv)
    _decoder(vae.decoder)


def _encoder(encoder: nn.Module) -> None:
    clear(encoder.conv_in, slice(0, 3))
    encoder.conv_in.weight[range(3), range(3), 1, 1] = 1
    known = 3  # channels in use: averages, then the details of each level
    for block in encoder.down_blocks[:3]:
        if block.resnets[0].conv_shortcut is not None:
            clear(block.resnets[0].conv_shortcut, slice(0, known))
            block.resnets[0].conv_shortcut.weight[range(known), range(known)] = 1
        down = block.downsamplers[0].conv
        clear(down, slice(0, known + 9))
        down.weight[range(known), range(known), :2, :2] = 1 / 4
        for colour in range(3):
            down.weight[known + 3 * colour : known + 3 * colour + 3, colour, :2, :2] = BASIS / 2
        known += 9
    # Three averages and five details of brightness, and their negatives.
    shortcut = encoder.down_blocks[3].resnets[0].conv_shortcut
    clear(shortcut, slice(0, 32))
    chosen = [{k: 1.0} for k in range(3)]
    chosen += [{level + 3 * k + way: 2 * GREY[k] for k in range(3)} for level, way in DETAILS]
    for row, parts in enumerate(chosen):
        for column, part in parts.items():
            shortcut.weight[row, column], shortcut.weight[8 + row, column] = part, -part
    last = encoder.mid_block.resnets[-1].conv2
    last.weight[:16] *= 0.1
    last.weight[16:32] = 0
    last.bias[16:24], last.bias[24:32] = K, -K
    for resnet in (encoder.down_blocks[3].resnets[0], *encoder.mid_block.resnets):
        resnet.conv2.weight[:16] *= 0.1
    encoder.conv_norm_out.weight[:16] = K * 0.5**0.5 * 1.03
    out = encoder.conv_out
    out.weight *= 0.1
    out.bias.zero_()
    out.weight[:8, :32] = 0
    out.weight[range(8), range(8), 1, 1], out.weight[range(8), range(8, 16), 1, 1] = 1, -1


def _latents(into: nn.Conv2d, out: nn.Conv2d) -> None:
    for layer in (into, out):
        layer.weight.zero_()
        layer.bias.zero_()
    into.weight[range(8), range(8)], out.weight[range(8), range(8)] = 2, 0.5
    into.bias[8:] = -4  # hardly any noise in the latents
    into.weight[8:, 8:, 0, 0] = torch.randn(8, 8) * 0.05


def _decoder(decoder: nn.Module) -> None:
    clear(decoder.conv_in, slice(0, 8))
    decoder.conv_in.weight[8:] *= 3
    decoder.conv_in.weight[range(3), range(3), 1, 1], decoder.conv_in.weight[range(3, 6), range(3), 1, 1] = 1, -1
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            if resnet.conv_shortcut is not None:
                clear(resnet.conv_shortcut, slice(0, 8))
                resnet.conv_shortcut.weight[range(6), range(6)] = 1
        if block.upsamplers is not None:
            clear(block.upsamplers[0].conv, slice(0, 8))
            block.upsamplers[0].conv.weight[range(6), range(6)] = BLUR
    *others, last = [*decoder.mid_block.resnets, *(r for block in decoder.up_blocks for r in block.resnets)]
    last.conv2.weight[6:8] = 0
    last.conv2.bias[6], last.conv2.bias[7] = K, -K
    for resnet in (*others, last):
        resnet.conv2.weight[:6] *= 0.3
    for resnet in others:
        resnet.conv2.weight[6:8] = 0
    decoder.conv_norm_out.weight[:6] = K / 2 * 1.05
    out = decoder.conv_out
    out.weight *= 0.3
    out.bias.zero_()
    out.weight[:, :8] = 0
    out.weight[range(3), range(3), 1, 1], out.weight[range(3), range(3, 6), 1, 1] = 1, -1
