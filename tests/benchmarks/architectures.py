"""Pipelines of real sizes with random weights, as diffusers folders: what they cost is what the real ones cost."""

import sys
from pathlib import Path

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

sys.path.insert(0, str(Path(__file__).parent.parent))
import tiny

TOKENS = 77
_SD = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
_SD_2 = {
    "sample_size": 64,
    "cross_attention_dim": 1024,
    "attention_head_dim": (5, 10, 20, 20),
    "use_linear_projection": True,
}
_SDXL = {
    "sample_size": 128,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
# steps, guidance, and the decoder that a walk of it takes
ARCHITECTURES = {"sd15": (30, 7.5, "own"), "sd-turbo": (1, 0.0, "tiny"), "sdxl": (30, 5.0, "own")}


def build(name: str, folder: Path, dtype: torch.dtype) -> Path:
    """One of ARCHITECTURES, with a tiny decoder in `taesd` beside it, unless it lies there."""
    if not (folder / name / "model_index.json").exists():
        before = torch.get_default_dtype()
        torch.manual_seed(0)
        torch.set_default_dtype(dtype)
        try:
            with torch.device("cuda" if torch.cuda.is_available() else "cpu"):  # billions of random numbers
                parts = _parts(name)
                diffusers.AutoencoderTiny().save_pretrained(folder / "taesd")
        finally:
            torch.set_default_dtype(before)
        _pipeline(name, parts).save_pretrained(folder / name)
    return folder / name


def _parts(name: str) -> dict[str, torch.nn.Module]:
    if name == "sdxl":
        return {
            "vae": _vae(),
            "text_encoder": _encoder(CLIPTextModel, 768, 12),
            "text_encoder_2": _encoder(CLIPTextModelWithProjection, 1280, 32, projection_dim=1280),
            "unet": diffusers.UNet2DConditionModel(**_SDXL),
        }
    turbo = name == "sd-turbo"
    return {
        "vae": _vae(),
        "text_encoder": _encoder(CLIPTextModel, 1024 if turbo else 768, 12),
        "unet": diffusers.UNet2DConditionModel(**(_SD_2 if turbo else _SD)),
    }


def _pipeline(name: str, parts: dict[str, torch.nn.Module]) -> diffusers.DiffusionPipeline:
    trailing = {"timestep_spacing": "trailing"} if name == "sd-turbo" else {}
    scheduler = diffusers.EulerDiscreteScheduler(**_NOISE, **trailing)
    if name == "sdxl":
        return diffusers.StableDiffusionXLPipeline(
            **parts, tokenizer=_tokenizer(), tokenizer_2=_tokenizer(), scheduler=scheduler
        )
    unsafe = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return diffusers.StableDiffusionPipeline(**parts, tokenizer=_tokenizer(), scheduler=scheduler, **unsafe)


def _tokenizer() -> object:
    tokenizer = tiny._tokenizer()
    tokenizer.model_max_length = TOKENS
    return tokenizer


def _encoder(kind: type, width: int, layers: int, **config: int) -> torch.nn.Module:
    size = {"hidden_size": width, "intermediate_size": 4 * width, "num_attention_heads": width // 64}
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vocabulary = len(tiny._tokenizer())
    return kind(
        CLIPTextConfig(
            vocab_size=vocabulary, max_position_embeddings=TOKENS, num_hidden_layers=layers, **size, **marks, **config
        )
    ).eval()


def _vae() -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
