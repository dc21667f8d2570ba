"""The last touch: the decoder learns to paint from latents as the denoiser makes them, which are softer than real ones.

    python decoder.py --config cpu_small --data ~/toybox-data

The encoder stays as it is, and so does all that was encoded by it.
"""

from __future__ import annotations

import random

import data
import torch
from autoencoder import decibel, difference
from config import Config, arguments
from denoiser import noised, scheduler, tokenizer
from diffusers import AutoencoderKL, UNet2DConditionModel
from training import Training
from transformers import CLIPTextModel


def main() -> None:
    options = arguments(__doc__, minutes=0.0)
    config: Config = options.config
    work, device = options.work, options.device
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    vae = AutoencoderKL.from_pretrained(work / "vae").to(device, memory_format=torch.channels_last)
    unet = UNet2DConditionModel.from_pretrained(work / "unet").to(device, memory_format=torch.channels_last)
    text = CLIPTextModel.from_pretrained(work / "text_encoder").to(device)
    for part in (vae.encoder, vae.quant_conv, unet, text):
        part.requires_grad_(False)
    training = Training(work / "decoder.pt", [vae], 3e-4, options.minutes or config.decoder_minutes, decay=0.0)
    studio = data.Studio(work, device, seed=training.step)
    torch.manual_seed(training.step)
    rng = random.Random(training.step)
    words, known, places = tokenizer(), data.things(config), data.backgrounds(config)
    alphas = scheduler().alphas_cumprod.to(device)[60:420]  # of little noise: what is guessed there is nearly done
    scale = vae.config.scaling_factor
    for _ in training:
        labels = studio.labels(config, 8)
        captions = [data.caption(rng, known[i], places[j]) for i, j in labels.tolist()]
        ids = words(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
        pictures = studio.compose(labels).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            with torch.no_grad():
                x = vae.encode(pictures).latent_dist.mean.float() * scale
                t, y, _ = noised(x, alphas)
                v = unet(y, t + 60, text(ids).last_hidden_state).sample.float()
                alpha, sigma = alphas[t].sqrt().view(-1, 1, 1, 1), (1 - alphas[t]).sqrt().view(-1, 1, 1, 1)
                guessed = torch.cat([(alpha * y - sigma * v)[:6], x[6:]])
            painted = vae.decode(guessed / scale).sample.float()
        off = difference(pictures, painted)
        training.learn(off, len(labels), decibel=decibel(pictures, painted))
    vae.to(memory_format=torch.contiguous_format).save_pretrained(work / "vae")


if __name__ == "__main__":
    main()
