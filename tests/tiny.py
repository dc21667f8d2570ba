"""Tiny random pipelines, made on the spot: each family's real classes with next to nothing inside.

A builder saves one as a diffusers folder; the same arguments give the same weights every time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH = 32  # of the text encoder
TOKENS = 16  # a prompt's length


def stable_diffusion(
    folder: Path, seed: int = 0, prediction: str = "epsilon", scheduler: str = "PNDMScheduler", **unet: Any
) -> Path:
    """Stable Diffusion 1.x: 32x32 pictures from 4 latent channels of 16x16."""
    with _seeded(seed):
        pipe = diffusers.StableDiffusionPipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_clip(),
            tokenizer=_tokenizer(),
            unet=_unet(sample_size=16, **unet),
            scheduler=_scheduler(scheduler, prediction_type=prediction),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.save_pretrained(folder)
    return folder


# Parts, which the families share


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _scheduler(name: str, **config: Any) -> Any:
    """As Stable Diffusion 1.5 configures it."""
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    own = {"PNDMScheduler": {"skip_prk_steps": True}, "DDIMScheduler": {"clip_sample": False}}
    return getattr(diffusers, name)(**noise, **own.get(name, {}), **config)


def _unet(**config: Any) -> diffusers.UNet2DConditionModel:
    blocks = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 2,
        "cross_attention_dim": WIDTH,
    }
    return diffusers.UNet2DConditionModel(**(blocks | config))


def _vae(**config: Any) -> diffusers.AutoencoderKL:
    blocks = {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (4, 8),
        "norm_num_groups": 4,
    }
    return diffusers.AutoencoderKL(**(blocks | config))


def _clip(**config: Any) -> CLIPTextModel:
    size = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": TOKENS,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    vocabulary = len(_tokenizer())
    return CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, **(size | config))).eval()


def _tokenizer() -> CLIPTokenizer:
    """A token for each letter, and one for each letter that ends a word."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    return CLIPTokenizer({token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=TOKENS)
