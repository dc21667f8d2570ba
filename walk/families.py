"""How the pipelines of diffusers differ, in what they return, take and make of latents: a table with a row for each.

Knows no tensors, imports no library, and does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Names that pipelines' classes had when they were new, as repositories may still have them.
RENAMED = {"Lumina2Text2ImgPipeline": "Lumina2Pipeline"}
# Parts of a pipeline that are not loaded: what judges or reads pictures, and what rewrites prompts.
WITHOUT = ("safety_checker", "feature_extractor", "image_encoder", "pe", "pe_tokenizer")


@dataclass(frozen=True)
class Family:
    """What pipelines of one class expect.

    returns: the keywords of what `encode_prompt` returns, in its order; '' for what is not handed on.
    steps, guidance: what its makers recommend.
    distilled: (file, field, value, steps): a model whose file has this value needs so few steps and no guidance.

    Prompts
    tokens: the tokenizers whose tokens the embeddings' rows are, one after the other; none: words have no weights.
    windows: a prompt longer than the text encoder reads at once is read in so many parts at most, whose embeddings
        stand one after the other: attention that gives tokens no order of its own hears them all.
    negative_apart: `encode_prompt` knows no negative prompt, and is called a second time for it.
    empty: the negative prompt where there is none; None: the pipeline's own.
    skips: layers of its text encoder may be skipped (CLIP skip).
    readers: so many text encoders, of which `encode_prompt` asks one at a time; names of the second's end in _2.
    zeroed: with guidance, its pipeline puts zeros in the place of a negative prompt, whatever is handed on.
    masked: a mask says which tokens are heard; the others' embeddings mean nothing.
    ragged: embeddings have as many tokens as the prompt, or a few more, which a mask hides.
    unbatched: pictures are denoised one at a time even so, since its denoiser would pad the rows of a batch.
    listed: embeddings are handed on as a list.
    most_tokens: its limit, where the pipeline's `__call__` names none; most_tokens_distilled: that of a distilled model,
        if it is less.
    template_tokens: so many of them, at most, stand around a prompt.
    needs: a library that reads its prompts, beside those that walk brings with it.
    vision: how it reads pictures beside prompts: by an 'ip-adapter' or by 'redux'; '': it reads none.
    sees_styles: of a picture it can take the style alone.
    readers_of_images: hub names of what usually does it, by the width of the prompts' embeddings.

    Denoising
    denoiser: the part that denoises.
    guidance_name: the keyword of the guidance scale.
    unguided_up_to: a guidance scale up to here is no guidance. least_guidance: its pipeline takes no less.
    syncs: its denoiser waits for a GPU whenever it is called.
    compiles: a compiler makes few programs of its denoiser, rather than one for each length of a prompt.

    Latents and pictures
    latents: how the denoiser takes them: as a 'grid'; 'packed', a list of patches of 2x2, in the order that Flux gave them;
        as a 'list' of single ones; or 'patched', a grid whose channels hold patches of 2x2, scaled by the VAE's own
        statistics (Flux 2).
    patch: latents' sides are multiples of this many; multiple: pictures' sides are, of this many pixels.
    sample: latents' side at the size that it was made for; None: as the denoiser's configuration says.
    float32: latents are kept in float32.
    upcast: in float16 the VAE overflows if its configuration says so.
    epsilon: of the VAE's statistics; None: as its configuration says.
    dtype: on GPUs.
    tiny: hub id of a small decoder for its latents (Bohan, TAESD), if there is one.
    """

    returns: tuple[str, ...]
    steps: int
    guidance: float
    distilled: tuple[str, str, Any, int] | None = None

    tokens: tuple[str, ...] = ()
    windows: int = 1
    negative_apart: bool = False
    empty: str | None = None
    skips: bool = False
    readers: int = 1
    zeroed: bool = False
    masked: bool = False
    ragged: bool = False
    unbatched: bool = False
    listed: bool = False
    most_tokens: int = 0
    most_tokens_distilled: int = 0
    template_tokens: int = 0
    needs: str = ""
    vision: str = ""
    sees_styles: bool = False
    readers_of_images: tuple[tuple[int, str], ...] = ()

    denoiser: str = "transformer"
    guidance_name: str = "guidance_scale"
    unguided_up_to: float = 1.0
    least_guidance: float = 0.0
    syncs: bool = False
    compiles: bool = True

    latents: str = "grid"
    patch: int = 2
    multiple: int = 8
    sample: int | None = None
    float32: bool = False
    upcast: bool = False
    epsilon: float | None = None
    dtype: str = "bfloat16"
    tiny: str = ""

    @property
    def negatives(self) -> bool:
        """Whether negative prompts are heard."""
        return self.negative_apart or any(name.startswith("negative") for name in self.returns)

    @property
    def one_at_a_time(self) -> bool:
        """Whether each picture of a batch is denoised for itself: else rows would be padded to the longest one."""
        return self.ragged or self.unbatched


_BOTH = ("prompt_embeds", "negative_prompt_embeds")
_POOLED = (*_BOTH, "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
_MASKED = ("prompt_embeds", "prompt_attention_mask", "negative_prompt_embeds", "negative_prompt_attention_mask")
_UNET: dict[str, Any] = {"tokens": ("tokenizer",), "denoiser": "unet", "patch": 1, "dtype": "float16", "windows": 4}

_ADAPTERS: dict[str, Any] = {
    "vision": "ip-adapter",
    "readers_of_images": (
        (768, "h94/IP-Adapter/models/ip-adapter_sd15.safetensors"),
        (2048, "h94/IP-Adapter/sdxl_models/ip-adapter_sdxl_vit-h.safetensors"),
    ),
}

# fmt: off
FAMILIES = {
    # Rombach et al., CVPR 2022
    "StableDiffusionPipeline": Family(_BOTH, 30, 7.5, skips=True, tiny="madebyollin/taesd", **_UNET, **_ADAPTERS),
    # Luo et al., 2023. Guidance is built in, and goes with an empty negative prompt.
    "LatentConsistencyModelPipeline": Family(("prompt_embeds", ""), 4, 8.5, skips=True, tiny="madebyollin/taesd", **_UNET, **_ADAPTERS),
    # Podell et al., ICLR 2024
    "StableDiffusionXLPipeline": Family(_POOLED, 30, 5.0, upcast=True, tiny="madebyollin/taesdxl", sees_styles=True, **_UNET, **_ADAPTERS),
    # Kuaishou, 2024. Its tokenizer does not say where in a prompt its tokens stand: words have no weights.
    "KolorsPipeline": Family(_POOLED, 50, 5.0, upcast=True, **_UNET | {"tokens": (), "windows": 1}),
    # Esser et al., ICML 2024
    "StableDiffusion3Pipeline": Family(_POOLED, 28, 7.0, tokens=("tokenizer", "tokenizer_3"), tiny="madebyollin/taesd3"),
    # Guidance is built in, into schnell none.
    "FluxPipeline": Family(("prompt_embeds", "pooled_prompt_embeds", ""), 28, 3.5, tokens=("tokenizer_2",), latents="packed", sample=128, tiny="madebyollin/taef1", most_tokens_distilled=256, distilled=("transformer/config.json", "guidance_embeds", False, 4), vision="redux", readers_of_images=((4096, "black-forest-labs/FLUX.1-Redux-dev"),)),
    # Guidance is built in.
    "Flux2Pipeline": Family(("prompt_embeds", ""), 50, 4.0, template_tokens=35, latents="patched", sample=128, needs="torchvision"),
    "Flux2KleinPipeline": Family(("prompt_embeds", ""), 50, 4.0, negative_apart=True, latents="patched", sample=128, distilled=("model_index.json", "is_distilled", True, 4)),
    # diffusers adds its masks to the attention: tokens beyond the prompt are heard, too, if less.
    "ChromaPipeline": Family((*_MASKED[:1], "", *_MASKED[1:3], "", _MASKED[3]), 35, 5.0, tokens=("tokenizer",), masked=True, latents="packed", syncs=True, sample=128, tiny="madebyollin/taef1"),
    # The model that would rewrite its prompts is left out: a prompt stays what it is. The pipeline has an epsilon of
    # its own, since the hub's configuration has the wrong one.
    "ErnieImagePipeline": Family(("prompt_embeds",), 50, 4.0, negative_apart=True, ragged=True, most_tokens=1024, listed=True, latents="patched", sample=128, epsilon=1e-5),
    # Chen et al., ICLR 2024, and ECCV 2024
    "PixArtAlphaPipeline": Family(_MASKED, 20, 4.5, tokens=("tokenizer",), masked=True, dtype="float16", tiny="madebyollin/taesd", distilled=("scheduler/scheduler_config.json", "_class_name", "LCMScheduler", 4)),
    "PixArtSigmaPipeline": Family(_MASKED, 20, 4.5, tokens=("tokenizer",), masked=True, dtype="float16"),
    # Tokens beyond the prompt are zeros. Its makers keep the VAE and a layer of the text encoder in float32.
    "BriaPipeline": Family((*_BOTH, ""), 30, 5.0, tokens=("tokenizer",), latents="packed", sample=128, dtype="float32"),
    # Of T5's embeddings one is made that stands for all: there, tokens beyond the prompt are heard, too.
    "HunyuanDiTPipeline": Family((*_BOTH, "prompt_attention_mask", "negative_prompt_attention_mask"), 50, 5.0, readers=2, most_tokens=256, dtype="float16"),
    # Xie et al., ICLR 2025
    "SanaPipeline": Family(_MASKED, 20, 4.5, masked=True, patch=1, multiple=32, float32=True),
    "SanaSprintPipeline": Family(_MASKED[:2], 2, 4.5, masked=True, patch=1, multiple=32, float32=True),
    "ZImagePipeline": Family(_BOTH, 50, 5.0, unguided_up_to=0.0, ragged=True, listed=True, sample=128, float32=True),
    # Without a negative prompt there would be no guidance; a blank is what its makers use.
    "QwenImagePipeline": Family(("prompt_embeds", ""), 50, 4.0, guidance_name="true_cfg_scale", negative_apart=True, empty=" ", ragged=True, latents="packed", sample=128),
    # Made for no guidance. It keeps what it makes of a prompt from one step to the next, and reads masks on the CPU.
    "QwenImage21Pipeline": Family(("prompt_embeds", "", ""), 40, 1.0, guidance_name="true_cfg_scale", negative_apart=True, empty=" ", ragged=True, most_tokens=1024, template_tokens=16, syncs=True, compiles=False, latents="list", sample=64, needs="torchvision"),
    # At every step it has a GPU wait for tokens' positions, and asks it how many tokens each expert has.
    "NucleusMoEImagePipeline": Family(("prompt_embeds", "prompt_embeds_mask"), 50, 4.0, negative_apart=True, ragged=True, most_tokens=1024, template_tokens=80, syncs=True, latents="packed", sample=128, needs="torchvision"),
    # Its padding stands between the prompt and the template's end; its transformer gives tokens no order.
    "Krea2Pipeline": Family(("prompt_embeds", "prompt_embeds_mask"), 52, 3.5, unguided_up_to=0.0, negative_apart=True, masked=True, latents="packed", sample=128, distilled=("model_index.json", "is_distilled", True, 8)),
    # Its prompts are filled up with tokens that are heard.
    "CogView3PlusPipeline": Family(("prompt_embeds", ""), 50, 5.0, tokens=("tokenizer",), zeroed=True),
    # Its prompts' lengths are filled up to multiples of 16 by tokens that are heard.
    "CogView4Pipeline": Family(_BOTH, 50, 5.0, ragged=True, multiple=16, float32=True),
    # Tokens beyond the prompt are zeros.
    "OvisImagePipeline": Family((*_BOTH, "", ""), 50, 5.0, latents="packed", sample=128),
    # Its prompts are cleaned before they are read: tokens are not where their letters were. With guidance, it has a
    # time for two rows alone.
    "PRXPipeline": Family(_MASKED, 28, 5.0, least_guidance=1.0, masked=True, unbatched=True, needs="ftfy"),
    "Lumina2Pipeline": Family(_MASKED, 30, 4.0, masked=True, template_tokens=32, unbatched=True, syncs=True, compiles=False),
    # Its masks are asked for but not used: tokens beyond the prompt are zeros.
    "AuraFlowPipeline": Family(_MASKED, 50, 3.5, tokens=("tokenizer",), sample=128, upcast=True),
}
# fmt: on
