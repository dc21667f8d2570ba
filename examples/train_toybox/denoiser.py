"""Text and noise to latents: trains the denoiser and the text encoder together on the encoded pool.

    python denoiser.py --config cpu_small --data ~/toybox-data

With --start FOLDER both go on from that pipeline's weights. Captions are made anew each time a picture is seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import data
import numpy as np
import torch
from config import TOYBOX, Config, arguments
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from training import Training
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

WIDTH = 192  # of the text encoder
UNCAPTIONED = 0.1  # of the captions are left empty, for guidance


def tokenizer() -> CLIPTokenizer:
    """The shipped one: byte pairs learned once from captions and emoji keywords, and able to spell anything."""
    return CLIPTokenizer.from_pretrained(TOYBOX / "tokenizer")


def scheduler() -> DDIMScheduler:
    """v-prediction down to no signal at all (Lin et al., WACV 2024), as the shipped sampler assumes."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
        clip_sample=False,
    )


def build(config: Config) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    cross = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    unet = UNet2DConditionModel(
        sample_size=config.size // 2 ** (len(config.autoencoder_channels) - 1),
        in_channels=config.latent_channels,
        out_channels=config.latent_channels,
        block_out_channels=config.denoiser_channels,
        layers_per_block=config.denoiser_layers,
        down_block_types=("DownBlock2D", cross[0], "DownBlock2D"),
        up_block_types=("UpBlock2D", cross[1], "UpBlock2D"),
        cross_attention_dim=WIDTH,
        attention_head_dim=tuple(channels // 64 for channels in config.denoiser_channels),
        norm_num_groups=8,
        addition_embed_type="text",  # the whole prompt speaks to every layer, too
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
    )
    words = tokenizer()
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=words.model_max_length,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    return unet, text


def load(folder: str) -> tuple[UNet2DConditionModel, CLIPTextModel]:
    return (
        UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=torch.float32),
        CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32),
    )


def pool(work: Path) -> tuple[Tensor, list[tuple[int, int]]]:
    """Latents (n, channels, height, width) in half precision, and (thing, background) of each."""
    files = [np.load(path) for path in sorted((work / "latents").glob("[0-9]*[0-9].npz"))]
    latents = torch.from_numpy(np.concatenate([file["latents"] for file in files]))
    return latents, [tuple(pair) for file in files for pair in file["labels"].tolist()]


def noised(x: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(timesteps, noised latents, their velocity); the timesteps of a batch are spread evenly."""
    n = len(x)
    spread = (torch.randperm(n, device=x.device) + torch.rand(n, device=x.device)) / n
    t = (spread * len(alphas)).long().clamp(max=len(alphas) - 1)
    alpha, sigma = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
    noise = torch.randn_like(x)
    return t, alpha * x + sigma * noise, alpha * noise - sigma * x


class Captioned(IterableDataset):
    """Batches without end: indices of pictures, (batch,), and captions of them as tokens, (batch, tokens)."""

    def __init__(self, labels: list[tuple[int, int]], config: Config, seed: int) -> None:
        self.labels, self.config, self.seed = labels, config, seed

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker = get_worker_info()
        rng = random.Random(f"{self.seed}, {worker.id if worker else 0}")
        words, known, places = tokenizer(), data.things(self.config), data.backgrounds(self.config)
        while True:
            chosen = [rng.randrange(len(self.labels)) for _ in range(self.config.batch)]
            pairs = [self.labels[k] for k in chosen]
            captions = ["" if rng.random() < UNCAPTIONED else data.caption(rng, known[i], places[j]) for i, j in pairs]
            ids = words(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
            yield torch.tensor(chosen), ids


def main() -> None:
    options = arguments(__doc__, start="", minutes=0.0, rate=0.0, compile=0)
    config: Config = options.config
    device = options.device
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    unet, text = load(options.start) if options.start else build(config)
    unet.to(device, memory_format=torch.channels_last)
    text.to(device).train()
    if device == "cpu":
        unet.set_attn_processor(AttnProcessor())  # plain products: a tenth faster there
    if options.compile:
        unet.compile()
    training = Training(
        options.work / "denoiser.pt",
        [unet, text],
        options.rate or config.rate,
        options.minutes or config.denoiser_minutes,
    )
    torch.manual_seed(training.step)
    latents, labels = pool(options.work)
    latents = latents.to(device)
    alphas = scheduler().alphas_cumprod.to(device)
    batches = DataLoader(
        Captioned(labels, config, training.step), None, num_workers=config.workers, pin_memory=device != "cpu"
    )
    for _, (chosen, ids) in zip(training, batches):
        chosen, ids = chosen.to(device, non_blocking=True), ids.to(device, non_blocking=True)
        t, x, v = noised(latents[chosen].float(), alphas)
        with torch.autocast(device, torch.bfloat16):
            told = text(ids).last_hidden_state
            guess = unet(x.contiguous(memory_format=torch.channels_last), t, told).sample
        training.learn(functional.mse_loss(guess.float(), v), config.batch)
    unet.to(memory_format=torch.contiguous_format).save_pretrained(options.work / "unet")
    text.save_pretrained(options.work / "text_encoder")


if __name__ == "__main__":
    main()
