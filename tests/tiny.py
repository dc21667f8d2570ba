"""Tiny random pipelines, made on the spot: each family's real classes with next to nothing inside.

A builder saves one as a diffusers folder; the same arguments give the same weights every time.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import sentencepiece
import torch
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from diffusers.pipelines.flux2.system_messages import SYSTEM_MESSAGE
from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig
from diffusers.pipelines.nucleusmoe_image.pipeline_nucleusmoe_image import DEFAULT_SYSTEM_PROMPT
from safetensors.torch import load_file, save_file
from tokenizers import pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    GlmConfig,
    GlmModel,
    LlavaProcessor,
    Ministral3Config,
    Ministral3ForCausalLM,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Mistral3Model,
    PixtralImageProcessor,
    PixtralProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
    T5Config,
    T5EncoderModel,
    T5GemmaConfig,
    T5GemmaModuleConfig,
    T5Tokenizer,
    UMT5Config,
    UMT5EncoderModel,
)
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

WIDTH = 32  # of the text encoder
FLUX_SIZE: dict[str, Any] = {  # of the transformers that are made as Flux's
    "num_layers": 1,
    "num_single_layers": 1,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": WIDTH,
    "axes_dims_rope": (4, 6, 6),
}
TOKENS = 16  # a prompt's length
_LUMINA = (  # what Lumina puts before each prompt
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment "
    "based on textual prompts or user prompts."
)
_OVIS = (  # of what Ovis-Image puts before each prompt; with what is left of it, 28 tokens, which are dropped
    " detailing the color, quantity, text, shape, size, texture, spatial relationships of the objects and background: "
)
_LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]


def stable_diffusion(
    folder: Path,
    seed: int = 0,
    prediction: str = "epsilon",
    scheduler: str = "PNDMScheduler",
    fewest: bool = False,
    **unet: Any,
) -> Path:
    """Stable Diffusion 1.x: 32x32 pictures from 4 latent channels of 16x16.

    fewest: without some of its blocks, which take a third of the time, for where it is not the model that is tried; the UNet
        hears the prompt on its way down, and nothing is between down and up.
    """
    blocks = {"mid_block_type": None, "up_block_types": ("UpBlock2D", "UpBlock2D")} if fewest else {}
    with _seeded(seed):
        pipe = diffusers.StableDiffusionPipeline(
            vae=_vae(latent_channels=4, mid_block_add_attention=not fewest),
            text_encoder=_clip(),
            tokenizer=_tokenizer(),
            unet=_unet(sample_size=16, **blocks, **unet),
            scheduler=_scheduler(scheduler, prediction_type=prediction),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipe.save_pretrained(folder)
    return folder


def latent_consistency(folder: Path) -> Path:
    with _seeded(0):
        diffusers.LatentConsistencyModelPipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_clip(),
            tokenizer=_tokenizer(),
            unet=_unet(sample_size=16, time_cond_proj_dim=8),
            scheduler=_scheduler("LCMScheduler", original_inference_steps=50),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


def stable_diffusion_xl(folder: Path, scheduler: str = "EulerDiscreteScheduler") -> Path:
    with _seeded(0):
        diffusers.StableDiffusionXLPipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_clip(),
            text_encoder_2=_clip(CLIPTextModelWithProjection, projection_dim=WIDTH),
            tokenizer=_tokenizer(),
            tokenizer_2=_tokenizer(),
            unet=_unet(
                sample_size=16,
                cross_attention_dim=2 * WIDTH,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=WIDTH + 6 * 8,
            ),
            scheduler=_scheduler(scheduler, **({"timestep_spacing": "trailing"} if "Ancestral" in scheduler else {})),
        ).save_pretrained(folder)
    return folder


def kolors(folder: Path) -> Path:
    with _seeded(0):
        tokenizer = _glm_tokenizer(folder / "tokenizer")
        diffusers.KolorsPipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_chat_glm(tokenizer.vocab_size),
            tokenizer=tokenizer,
            unet=_unet(
                sample_size=16,
                encoder_hid_dim=WIDTH,
                encoder_hid_dim_type="text_proj",
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=WIDTH + 6 * 8,
            ),
            scheduler=_scheduler("EulerDiscreteScheduler"),
        ).save_pretrained(folder)
    return folder


def stable_diffusion_3(folder: Path) -> Path:
    with _seeded(0):
        diffusers.StableDiffusion3Pipeline(
            vae=_vae(latent_channels=16, shift_factor=0.06),
            text_encoder=_clip(CLIPTextModelWithProjection, projection_dim=WIDTH),
            text_encoder_2=_clip(CLIPTextModelWithProjection, projection_dim=WIDTH),
            text_encoder_3=_t5(2 * WIDTH),
            tokenizer=_tokenizer(),
            tokenizer_2=_tokenizer(),
            tokenizer_3=_t5_tokenizer(),
            transformer=diffusers.SD3Transformer2DModel(
                sample_size=16,
                num_layers=1,
                attention_head_dim=8,
                num_attention_heads=4,
                joint_attention_dim=2 * WIDTH,
                caption_projection_dim=32,
                pooled_projection_dim=2 * WIDTH,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        ).save_pretrained(folder)
    return folder


def flux(folder: Path, guided: bool = True) -> Path:
    with _seeded(0):
        diffusers.FluxPipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1),
            text_encoder=_clip(),
            text_encoder_2=_t5(WIDTH),
            tokenizer=_tokenizer(),
            tokenizer_2=_t5_tokenizer(),
            transformer=_loud(
                diffusers.FluxTransformer2DModel(
                    in_channels=16,
                    pooled_projection_dim=WIDTH,
                    guidance_embeds=guided,
                    **FLUX_SIZE,
                ),
                2,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guided),
        ).save_pretrained(folder)
    return folder


def bria(folder: Path) -> Path:
    with _seeded(0):
        diffusers.BriaPipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1),
            text_encoder=_t5(WIDTH),
            tokenizer=_t5_tokenizer(),
            transformer=_loud(
                diffusers.BriaTransformer2DModel(
                    in_channels=16,
                    **FLUX_SIZE,
                ),
                2,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        ).save_pretrained(folder)
    return folder


def chroma(folder: Path) -> Path:
    with _seeded(0):
        diffusers.ChromaPipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1),
            text_encoder=_t5(WIDTH),
            tokenizer=_t5_tokenizer(),
            transformer=_loud(
                diffusers.ChromaTransformer2DModel(
                    in_channels=16,
                    **FLUX_SIZE,
                    approximator_hidden_dim=32,
                    approximator_layers=1,
                ),
                2,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        ).save_pretrained(folder)
    return folder


def pixart_alpha(folder: Path, scheduler: str = "DPMSolverMultistepScheduler") -> Path:
    """As those for 1024 pixels, which are told the picture's size."""
    size = {"sample_size": 128, "num_attention_heads": 3, "cross_attention_dim": 24}
    kind = diffusers.PixArtAlphaPipeline
    return pixart_sigma(folder, kind, scheduler, **size, use_additional_conditions=True)


def pixart_sigma(
    folder: Path,
    kind: Any = diffusers.PixArtSigmaPipeline,
    scheduler: str = "DPMSolverMultistepScheduler",
    **config: Any,
) -> Path:
    size = {"sample_size": 32, "num_attention_heads": 4, "cross_attention_dim": 32, "use_additional_conditions": False}
    with _seeded(0):
        kind(
            vae=_vae(latent_channels=4),
            text_encoder=_t5(WIDTH),
            tokenizer=_t5_tokenizer(),
            transformer=_loud(
                diffusers.PixArtTransformer2DModel(
                    num_layers=2,
                    attention_head_dim=8,
                    caption_channels=WIDTH,
                    **(size | config),
                ),
                2,
            ),
            scheduler=getattr(diffusers, scheduler)(),
        ).save_pretrained(folder)
    return folder


def hunyuan_dit(folder: Path) -> Path:
    with _seeded(0):
        diffusers.HunyuanDiTPipeline(
            vae=_vae(latent_channels=4, blocks=4),
            text_encoder=_bert(),
            tokenizer=_bert_tokenizer(),
            text_encoder_2=_t5(WIDTH),
            tokenizer_2=_t5_tokenizer(),
            transformer=_loud(
                diffusers.HunyuanDiT2DModel(
                    sample_size=8,
                    patch_size=2,
                    in_channels=4,
                    hidden_size=32,
                    num_layers=4,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    mlp_ratio=2.0,
                    cross_attention_dim=WIDTH,
                    cross_attention_dim_t5=WIDTH,
                    pooled_projection_dim=16,
                    use_style_cond_and_image_meta_size=False,
                ),
                2,
            ),
            scheduler=_scheduler("DDPMScheduler", prediction_type="v_prediction"),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
    return folder


def sana(folder: Path, sprint: bool = False) -> Path:
    own = {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"} if sprint else {}
    kind = diffusers.SanaSprintPipeline if sprint else diffusers.SanaPipeline
    # Were each letter of what it puts before a prompt a token, to read it would take most of the time.
    instruction = inspect.signature(kind.__call__).parameters["complex_human_instruction"].default
    tokenizer = _gemma_tokenizer("\n".join(instruction))
    with _seeded(0):
        transformer = diffusers.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=WIDTH,
            sample_size=32,
            **own,
        )
        parts = {
            "vae": diffusers.AutoencoderDC(
                latent_channels=4,
                attention_head_dim=2,
                encoder_block_types=("ResBlock", "EfficientViTBlock"),
                decoder_block_types=("ResBlock", "EfficientViTBlock"),
                encoder_block_out_channels=(8, 8),
                decoder_block_out_channels=(8, 8),
                encoder_qkv_multiscales=((), (5,)),
                decoder_qkv_multiscales=((), (5,)),
                encoder_layers_per_block=(1, 1),
                decoder_layers_per_block=(1, 1),
                downsample_block_type="conv",
                upsample_block_type="interpolate",
                scaling_factor=0.41407,
            ),
            "text_encoder": _gemma(len(tokenizer)),
            "tokenizer": tokenizer,
            "transformer": transformer,
        }
        if sprint:
            pipe = kind(**parts, scheduler=diffusers.SCMScheduler())
        else:
            flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
            pipe = kind(**parts, scheduler=diffusers.DPMSolverMultistepScheduler(**flow))
    pipe.save_pretrained(folder)
    return folder


def sana_sprint(folder: Path) -> Path:
    return sana(folder, sprint=True)


def z_image(folder: Path) -> Path:
    with _seeded(0):
        transformer = diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[4, 6, 6],
            axes_lens=[1024, 64, 64],
        )
        for tensor in (transformer.x_pad_token, transformer.cap_pad_token):  # diffusers leaves them undefined
            torch.nn.init.normal_(tensor)
        diffusers.ZImagePipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1),
            text_encoder=_qwen3(),
            tokenizer=_qwen_tokenizer(),
            transformer=transformer,
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        ).save_pretrained(folder)
    return folder


def qwen_image(folder: Path) -> Path:
    with _seeded(0):
        diffusers.QwenImagePipeline(
            vae=_qwen_vae(),
            text_encoder=_qwen_vl(),
            tokenizer=_qwen_tokenizer(),
            transformer=_loud(
                diffusers.QwenImageTransformer2DModel(
                    in_channels=16,
                    out_channels=4,
                    num_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=WIDTH,
                    axes_dims_rope=(4, 6, 6),
                ),
                10,
                "attn",
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        ).save_pretrained(folder)
    return folder


def qwen_image21(folder: Path, sigmas: list[float] | None = None) -> Path:
    """Its processor is another's, which torchvision does not have to read videos for."""
    with _seeded(0):
        tokenizer = _qwen_tokenizer("assistant", "<|image_pad|>")
        tokenizer.chat_template = (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content[0].text }}<|im_end|>\n{% endfor %}"
        )
        diffusers.QwenImage21Pipeline(
            vae=diffusers.AutoencoderKLQwenImage21(
                base_dim=8,
                decoder_base_dim=8,
                z_dim=4,
                dim_mult=[1] * 5,
                num_res_blocks=1,
                latents_mean=[-0.7, 0.3, 0.1, -0.4],
                latents_std=[2.8, 1.4, 2.3, 3.2],
            ),
            text_encoder=Qwen3VLForConditionalGeneration(_qwen3_vl_config(len(tokenizer))).eval(),
            processor=LlavaProcessor(
                CLIPImageProcessor(), tokenizer, image_token="<|image_pad|>", chat_template=tokenizer.chat_template
            ),
            transformer=_loud(
                diffusers.QwenImage21Transformer2DModel(
                    in_channels=4,
                    out_channels=4,
                    num_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    context_in_dim=WIDTH,
                    axes_dims_rope=(4, 6, 6),
                ),
                3,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            sample_sigmas=sigmas,
        ).save_pretrained(folder)
    return folder


def nucleus(folder: Path) -> Path:
    """Its processor is another's, as that of Qwen-Image 2.1."""
    with _seeded(0):
        tokenizer = _qwen_tokenizer("assistant", "<|image_pad|>", DEFAULT_SYSTEM_PROMPT)
        tokenizer.chat_template = (
            "{% for m in messages %}<|im_start|>{{ m.role }}\n"
            "{{ m.content if m.content is string else m.content[0].text }}<|im_end|>\n{% endfor %}"
            "<|im_start|>assistant\n"
        )
        transformer = diffusers.NucleusMoEImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            num_key_value_heads=1,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
            mlp_ratio=6.5,
            dense_moe_strategy="leave_first_block_dense",
            num_experts=2,
            moe_intermediate_dim=16,
            capacity_factors=1.0,
        )
        experts: Any = transformer.transformer_blocks[1].img_mlp.experts
        for weight in (experts.gate_up_proj, experts.down_proj):  # diffusers leaves them undefined
            torch.nn.init.normal_(weight, std=0.1)
        diffusers.NucleusMoEImagePipeline(
            vae=_qwen_vae(),
            text_encoder=Qwen3VLForConditionalGeneration(_qwen3_vl_config(len(tokenizer), layers=8)).eval(),
            processor=LlavaProcessor(
                CLIPImageProcessor(), tokenizer, image_token="<|image_pad|>", chat_template=tokenizer.chat_template
            ),
            transformer=_loud(transformer, 8, "add_"),  # what reads the prompt: louder experts round too much
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        ).save_pretrained(folder)
    return folder


def krea2(folder: Path, distilled: bool = False) -> Path:
    with _seeded(0):
        diffusers.Krea2Pipeline(
            vae=_qwen_vae(),
            text_encoder=_qwen3_vl(),
            tokenizer=_qwen_tokenizer("assistant"),  # of the template's end, too, a number of tokens is fixed
            transformer=_loud(
                diffusers.Krea2Transformer2DModel(
                    in_channels=16,
                    num_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    num_key_value_heads=1,
                    intermediate_size=32,
                    timestep_embed_dim=32,
                    text_hidden_dim=WIDTH,
                    num_text_layers=3,
                    text_num_attention_heads=2,
                    text_num_key_value_heads=1,
                    text_intermediate_size=32,
                    num_layerwise_text_blocks=1,
                    num_refiner_text_blocks=1,
                    axes_dims_rope=(4, 6, 6),
                ),
                4,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            text_encoder_select_layers=(0, 1, 2),
            is_distilled=distilled,
        ).save_pretrained(folder)
    return folder


def cogview3(folder: Path) -> Path:
    with _seeded(0):
        diffusers.CogView3PlusPipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_t5(WIDTH),
            tokenizer=_t5_tokenizer(),
            transformer=_loud(
                diffusers.CogView3PlusTransformer2DModel(
                    in_channels=4,
                    out_channels=4,
                    num_layers=1,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    text_embed_dim=WIDTH,
                    time_embed_dim=16,
                    condition_dim=8,
                    pos_embed_max_size=16,
                    sample_size=16,
                ),
                2,
            ),
            scheduler=diffusers.CogVideoXDDIMScheduler(
                prediction_type="v_prediction", timestep_spacing="trailing", rescale_betas_zero_snr=True
            ),
        ).save_pretrained(folder)
    return folder


def cogview4(folder: Path) -> Path:
    with _seeded(0):
        diffusers.CogView4Pipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_glm(),
            tokenizer=_gemma_tokenizer(),  # which puts a token before each prompt, as GLM's does
            transformer=_loud(
                diffusers.CogView4Transformer2DModel(
                    in_channels=4,
                    out_channels=4,
                    num_layers=1,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    text_embed_dim=WIDTH,
                    time_embed_dim=16,
                    condition_dim=8,
                    pos_embed_max_size=16,
                    sample_size=16,
                ),
                2,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
                use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"
            ),
        ).save_pretrained(folder)
    return folder


def ovis_image(folder: Path) -> Path:
    with _seeded(0):
        tokenizer = _qwen_tokenizer(_OVIS)
        diffusers.OvisImagePipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1),
            text_encoder=Qwen3Model(_qwen3_config(vocab_size=len(tokenizer))).eval(),
            tokenizer=tokenizer,
            transformer=_loud(
                diffusers.OvisImageTransformer2DModel(
                    in_channels=16,
                    out_channels=16,
                    **FLUX_SIZE,
                ),
                2,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        ).save_pretrained(folder)
    return folder


def prx(folder: Path) -> Path:
    with _seeded(0):
        tokenizer = _gemma_tokenizer()
        tokenizer.model_max_length = TOKENS
        config = T5GemmaConfig(encoder=_t5gemma_config(len(tokenizer)), is_encoder_decoder=False)
        transformer = diffusers.PRXTransformer2DModel(
            in_channels=4,
            patch_size=2,
            context_in_dim=WIDTH,
            hidden_size=32,
            mlp_ratio=2.0,
            num_heads=2,
            depth=1,
            axes_dim=[8, 8],
        )
        torch.nn.init.normal_(transformer.blocks[0].modulation.lin.weight)  # which begins as nothing
        diffusers.PRXPipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1),
            text_encoder=T5GemmaEncoder(config.encoder).eval(),
            tokenizer=tokenizer,
            transformer=_loud(transformer, 2),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            default_sample_size=64,
        ).save_pretrained(folder)
        config.save_pretrained(folder / "text_encoder")  # as the hub has it: that of encoder and decoder
    return folder


def lumina2(folder: Path) -> Path:
    with _seeded(0):
        diffusers.Lumina2Pipeline(
            vae=_vae(latent_channels=4, shift_factor=0.1, blocks=4),
            text_encoder=_gemma(),
            tokenizer=_gemma_tokenizer(),
            transformer=_loud(
                diffusers.Lumina2Transformer2DModel(
                    sample_size=8,
                    in_channels=4,
                    hidden_size=32,
                    num_layers=1,
                    num_refiner_layers=1,
                    num_attention_heads=2,
                    num_kv_heads=1,
                    multiple_of=16,
                    axes_dim_rope=(4, 6, 6),
                    cap_feat_dim=WIDTH,
                ),
                10,
                "caption",
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=6.0),
        ).save_pretrained(folder)
    return folder


def aura_flow(folder: Path) -> Path:
    with _seeded(0):
        diffusers.AuraFlowPipeline(
            vae=_vae(latent_channels=4),
            text_encoder=_t5(WIDTH, UMT5EncoderModel, UMT5Config),
            tokenizer=_t5_tokenizer(),
            transformer=_loud(
                diffusers.AuraFlowTransformer2DModel(
                    sample_size=16,
                    in_channels=4,
                    num_mmdit_layers=1,
                    num_single_dit_layers=1,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    joint_attention_dim=WIDTH,
                    caption_projection_dim=32,
                    out_channels=4,
                    pos_embed_max_size=256,
                ),
                2.5,
            ),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=1.73),
        ).save_pretrained(folder)
    return folder


def flux2(folder: Path, processor: bool = False) -> Path:
    """Its tokenizer is within a processor, as the real one's is, where torchvision allows that."""
    with _seeded(0):
        tokenizer: Any = _qwen_tokenizer(SYSTEM_MESSAGE, "[IMG]", "[IMG_BREAK]", "[IMG_END]")
        tokens = len(tokenizer)
        tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.content[0].text }}{% endfor %}<|im_end|>"
        tokenizer.padding_side = "left"
        if processor:
            template = tokenizer.chat_template
            tokenizer = PixtralProcessor(PixtralImageProcessor(), tokenizer, chat_template=template)
        diffusers.Flux2Pipeline(
            vae=_flux2_vae(),
            text_encoder=Mistral3ForConditionalGeneration(_mistral(tokens, layers=30)).eval(),
            tokenizer=tokenizer,
            transformer=_flux2_transformer(guided=True),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        ).save_pretrained(folder)
    return folder


def flux2_klein(folder: Path, distilled: bool = False) -> Path:
    with _seeded(0):
        diffusers.Flux2KleinPipeline(
            vae=_flux2_vae(),
            text_encoder=_qwen3(layers=28),
            tokenizer=_qwen_tokenizer(),
            transformer=_flux2_transformer(guided=False),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            is_distilled=distilled,
        ).save_pretrained(folder)
    return folder


def ernie_image(folder: Path, rewriter: bool = False) -> Path:
    with _seeded(0):
        transformer = diffusers.ErnieImageTransformer2DModel(
            in_channels=16,
            out_channels=16,
            hidden_size=32,
            num_attention_heads=2,
            num_layers=1,
            ffn_hidden_size=32,
            text_in_dim=WIDTH,
            rope_axes_dim=(4, 6, 6),
        )
        for layer in (transformer.adaLN_modulation[-1], transformer.final_linear):  # diffusers leaves them zero
            torch.nn.init.normal_(layer.weight, std=0.3)
        tokenizer = _gemma_tokenizer()
        parts = {"pe": _rewriter(len(tokenizer)), "pe_tokenizer": tokenizer} if rewriter else {}
        diffusers.ErnieImagePipeline(
            vae=_flux2_vae(),
            text_encoder=Mistral3Model(_mistral(len(tokenizer), layers=2)).eval(),
            tokenizer=tokenizer,
            transformer=_loud(transformer, 2),
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            **parts,
        ).save_pretrained(folder)
    return folder


def decoder(folder: Path, seed: int = 0) -> Path:
    """A TAESD for a VAE with four channels that makes two pixels of a latent."""
    with _seeded(seed):
        vae = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    vae.save_pretrained(folder)
    return folder


def lora(folder: Path, path: Path, seed: int, parts: tuple[str, ...] = ("unet",), norms: bool = False) -> Path:
    """A random one for the attentions of a pipeline's parts. norms: with what stands in for their norms, as Flux's may
    have it."""
    pipe, generator, weights = _pipe(folder), torch.Generator(), {}
    generator.manual_seed(seed)
    for part in parts:
        factor = 2 if part.startswith("text") else 0.3  # so that pictures show it
        for name, module in getattr(pipe, part).named_modules():
            name = f"{part}.{name}"
            if name.endswith(("to_q", "to_v", "q_proj", "v_proj")):
                for matrix, size in (("A", (2, module.in_features)), ("B", (module.out_features, 2))):
                    weights[f"{name}.lora_{matrix}.weight"] = torch.randn(size, generator=generator) * factor
            elif norms and name.endswith(("norm_q", "norm_k")):
                weights[f"{name}.weight"] = torch.full_like(module.weight, 5)
    save_file(weights, path)
    return path


@functools.lru_cache(maxsize=4)
def _pipe(folder: Path) -> Any:
    """Not to be changed."""
    return diffusers.DiffusionPipeline.from_pretrained(folder)


def ip_adapter(folder: Path, path: Path, plus: bool = False, loud: float = 3.0) -> Path:
    """An IP-Adapter for the pipeline in a folder, with its encoder of pictures beside it, `image_encoder`. plus: one that
    reads each patch of a picture."""
    width, seen = 24, 16
    unet = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet")
    cross = unet.config.cross_attention_dim
    tensors: dict[str, torch.Tensor] = {}
    with _seeded(7):
        config = {"hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
        encoder = CLIPVisionModelWithProjection(
            CLIPVisionConfig(**config, projection_dim=seen, image_size=24, patch_size=8)
        )
        for parameter in encoder.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
        if plus:
            tensors |= _resampler(width, cross)
        else:
            tensors |= {"proj.weight": torch.randn(4 * cross, seen), "proj.bias": torch.randn(4 * cross)}
            tensors |= {"norm.weight": torch.ones(cross), "norm.bias": torch.zeros(cross)}
        tensors = {f"image_proj.{name}": tensor for name, tensor in tensors.items()}
        crossing = [module for name, module in unet.named_modules() if name.endswith("attn2")]
        for number, attention in enumerate(crossing):
            for kind in ("to_k_ip", "to_v_ip"):
                like = attention.to_k.weight
                tensors[f"ip_adapter.{2 * number + 1}.{kind}.weight"] = loud * torch.randn(like.shape) / cross**0.5
    encoder.save_pretrained(path.parent / "image_encoder")
    save_file(tensors, path)
    return path


def redux(folder: Path) -> Path:
    """What reads pictures for the tiny Flux."""
    size = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    with _seeded(8):
        pipe = diffusers.FluxPriorReduxPipeline(
            image_encoder=SiglipVisionModel(SiglipVisionConfig(**size, image_size=24, patch_size=2)),
            feature_extractor=SiglipImageProcessor(size={"height": 24, "width": 24}),
            image_embedder=ReduxImageEncoder(redux_dim=24, txt_in_features=WIDTH),
        )
        for part, std in ((pipe.image_encoder, 0.4), (pipe.image_embedder, 0.4)):
            for parameter in part.parameters():
                torch.nn.init.normal_(parameter, std=std)
    pipe.save_pretrained(folder)
    return folder


def _resampler(width: int, cross: int) -> dict[str, torch.Tensor]:
    """The weights of what asks a picture's patches (Perceiver), under the names of IP-Adapter Plus."""
    heads, tokens = 64, 4  # diffusers takes heads to be 64 numbers
    shapes: dict[str, tuple[int, ...]] = {
        "latents": (1, tokens, heads),
        "proj_in.weight": (heads, width),
        "proj_in.bias": (heads,),
        "proj_out.weight": (cross, heads),
        "proj_out.bias": (cross,),
        "norm_out.weight": (cross,),
        "norm_out.bias": (cross,),
    }
    norms = {f"{norm}.{kind}": (heads,) for norm in ("0.norm1", "0.norm2", "1.0") for kind in ("weight", "bias")}
    attention = {
        "0.to_q.weight": (heads, heads),
        "0.to_kv.weight": (2 * heads, heads),
        "0.to_out.weight": (heads, heads),
    }
    feed = {"1.1.weight": (4 * heads, heads), "1.3.weight": (heads, 4 * heads)}
    for layer in range(4):
        shapes |= {f"layers.{layer}.{name}": shape for name, shape in (norms | attention | feed).items()}
    return {name: torch.randn(shape) / (shape[-1] ** 0.5 if len(shape) > 1 else 1) for name, shape in shapes.items()}


def quantised(folder: Path, part: str, path: Path) -> Path:
    """A part's weights as people share them for small GPUs: what is large in eight bits, and the rest, even where no
    linear layer unpacks it, in bfloat16. What is left of the weights is put beside it, as .safetensors."""
    import gguf

    writer, left = gguf.GGUFWriter(path, "tiny"), {}
    (file,) = (folder / part).glob("*.safetensors")
    for name, tensor in load_file(file).items():
        large = tensor.ndim == 2 and tensor.shape[0] > 1 and tensor.shape[1] % 32 == 0
        kind = gguf.GGMLQuantizationType.Q8_0 if large else gguf.GGMLQuantizationType.BF16
        packed = gguf.quants.quantize(tensor.float().numpy(), kind)
        writer.add_tensor(name, packed, raw_dtype=kind)
        exact = torch.from_numpy(gguf.quants.dequantize(packed, kind))
        left[name] = exact.half().float() if large else exact.clone()  # as diffusers unpacks them
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    save_file(left, path.with_suffix(".safetensors"))
    return path


def as_checkpoint(folder: Path, path: Path) -> Path:
    """The parts of a `stable_diffusion` in one file, under the names that Stable Diffusion's own code gave them."""
    parts = {
        "unet": "model.diffusion_model.",
        "vae": "first_stage_model.",
        "text_encoder": "cond_stage_model.transformer.text_model.",
    }
    tensors = [_original(part, folder / part, prefix) for part, prefix in parts.items()]
    save_file({name: tensor for some in tensors for name, tensor in some.items()}, path)
    return path


def vae(folder: Path, seed: int, original: Path | None = None) -> Path:
    """One for a `stable_diffusion`. original: a file of it, too, as its own code would name what is in it."""
    with _seeded(seed):
        _vae().save_pretrained(folder)
    if original:
        save_file(_original("vae", folder), original)
    return folder


def _original(part: str, folder: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    (file,), tensors = folder.glob("*.safetensors"), {}
    for name, tensor in load_file(file).items():
        for pattern, original in _ORIGINAL.get(part, ()):
            name = re.sub(pattern, original, name)
        if part == "vae" and "attn_1" in name and name.endswith("weight") and tensor.ndim == 2:
            tensor = tensor[:, :, None, None]  # a convolution there
        tensors[prefix + name] = tensor.contiguous()
    return tensors


# For two levels with one layer each, of which the second has attention.
_ORIGINAL = {
    "unet": (
        (r"(resnets.\d).norm1", r"\1.in_layers.0"),
        (r"(resnets.\d).conv1", r"\1.in_layers.2"),
        (r"(resnets.\d).time_emb_proj", r"\1.emb_layers.1"),
        (r"(resnets.\d).norm2", r"\1.out_layers.0"),
        (r"(resnets.\d).conv2", r"\1.out_layers.3"),
        (r"(resnets.\d).conv_shortcut", r"\1.skip_connection"),
        (r"^conv_in", "input_blocks.0.0"),
        (r"^down_blocks.0.resnets.0", "input_blocks.1.0"),
        (r"^down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"),
        (r"^down_blocks.1.resnets.0", "input_blocks.3.0"),
        (r"^down_blocks.1.attentions.0", "input_blocks.3.1"),
        (r"^mid_block.resnets.0", "middle_block.0"),
        (r"^mid_block.attentions.0", "middle_block.1"),
        (r"^mid_block.resnets.1", "middle_block.2"),
        (r"^up_blocks.0.resnets.(\d)", r"output_blocks.\1.0"),
        (r"^up_blocks.0.attentions.(\d)", r"output_blocks.\1.1"),
        (r"^up_blocks.0.upsamplers.0", "output_blocks.1.2"),
        (r"^up_blocks.1.resnets.0", "output_blocks.2.0"),
        (r"^up_blocks.1.resnets.1", "output_blocks.3.0"),
        (r"^time_embedding.linear_1", "time_embed.0"),
        (r"^time_embedding.linear_2", "time_embed.2"),
        (r"^conv_norm_out", "out.0"),
        (r"^conv_out", "out.2"),
    ),
    "vae": (
        (r"down_blocks.(\d).resnets", r"down.\1.block"),
        (r"down_blocks.(\d).downsamplers.0", r"down.\1.downsample"),
        (r"up_blocks.0.resnets", "up.1.block"),
        (r"up_blocks.1.resnets", "up.0.block"),
        (r"up_blocks.0.upsamplers.0", "up.1.upsample"),
        (r"mid_block.resnets.0", "mid.block_1"),
        (r"mid_block.resnets.1", "mid.block_2"),
        (r"mid_block.attentions.0.group_norm", "mid.attn_1.norm"),
        (r"mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out"),
        (r"mid_block.attentions.0.to_", "mid.attn_1."),
        (r"conv_norm_out", "norm_out"),
        (r"conv_shortcut", "nin_shortcut"),
    ),
}


# Parts, which the families share


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _loud(module: Any, factor: float, part: str = "") -> Any:
    """With larger weights, so that random ones heed the prompt."""
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            if tensor.ndim == 2 and part in name:
                tensor *= factor
    return module


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


def _vae(blocks: int = 2, **config: Any) -> diffusers.AutoencoderKL:
    """Each block but the first halves the sides."""
    sizes = {
        "down_block_types": ("DownEncoderBlock2D",) * blocks,
        "up_block_types": ("UpDecoderBlock2D",) * blocks,
        "block_out_channels": (4,) * (blocks - 1) + (8,),
        "norm_num_groups": 4,
    }
    return diffusers.AutoencoderKL(**(sizes | config))


def _qwen_vae() -> diffusers.AutoencoderKLQwenImage:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 2],
        num_res_blocks=1,
        temperal_downsample=[False],
        latents_mean=[-0.7, 0.3, 0.1, -0.4],
        latents_std=[2.8, 1.4, 2.3, 3.2],
    )


def _flux2_vae() -> diffusers.AutoencoderKLFlux2:
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=4,
        layers_per_block=1,
        latent_channels=4,
    )
    with torch.no_grad():  # else a picture would not tell whether they are used
        vae.bn.running_mean += torch.linspace(-0.5, 0.5, 16)
        vae.bn.running_var += torch.linspace(0.5, 1.5, 16)
    return vae


def _flux2_transformer(guided: bool) -> Any:
    return _loud(
        diffusers.Flux2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=3 * WIDTH,
            timestep_guidance_channels=32,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=guided,
        ),
        3 if guided else 2,
    )


def _clip(kind: Any = CLIPTextModel, **config: Any) -> Any:
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
    return kind(CLIPTextConfig(vocab_size=vocabulary, **(size | config))).eval()


def _tokenizer() -> CLIPTokenizer:
    """A token for each letter, and one for each letter that ends a word."""
    tokens = ["<|startoftext|>", "<|endoftext|>", *_LETTERS, *(letter + "</w>" for letter in _LETTERS)]
    return CLIPTokenizer({token: i for i, token in enumerate(tokens)}, merges=[], model_max_length=TOKENS)


def _bert() -> BertModel:
    size = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return BertModel(BertConfig(vocab_size=len(_bert_tokenizer()), max_position_embeddings=77, **size)).eval()


def _bert_tokenizer() -> BertTokenizer:
    """A token for each letter, and one for each letter within a word."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    return BertTokenizer({token: i for i, token in enumerate(tokens)}, model_max_length=77)


def _t5(width: int, kind: Any = T5EncoderModel, config: Any = T5Config) -> Any:
    size = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return kind(config(vocab_size=len(_t5_tokenizer()), **size)).eval()


def _t5_tokenizer() -> T5Tokenizer:
    """A token for each letter, and one for each letter that begins a word."""
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    letters = [(begin + letter, -3.0) for letter in _LETTERS for begin in ("", "▁")]
    return T5Tokenizer([*special, ("▁", -4.0), *letters], extra_ids=0)


def _gemma(tokens: int | None = None) -> Gemma2Model:
    size = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return Gemma2Model(Gemma2Config(vocab_size=tokens or len(_gemma_tokenizer()), **size, **heads)).eval()


def _glm() -> GlmModel:
    size = {"hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    special = {"pad_token_id": 0, "eos_token_id": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return GlmModel(GlmConfig(vocab_size=len(_gemma_tokenizer()), **size, **heads, **special)).eval()


def _chat_glm(tokens: int) -> ChatGLMModel:
    size = {"hidden_size": WIDTH, "ffn_hidden_size": 32, "num_layers": 2, "kv_channels": 8, "num_attention_heads": 4}
    own = {"multi_query_attention": True, "multi_query_group_num": 2, "add_qkv_bias": True, "original_rope": True}
    model = ChatGLMModel(ChatGLMConfig(padded_vocab_size=tokens, seq_length=256, **size, **own), empty_init=False)
    for name, weight in model.named_parameters():
        if "norm" in name:  # diffusers leaves them undefined
            torch.nn.init.ones_(weight)
    return model.eval()


def _glm_tokenizer(folder: Path) -> ChatGLMTokenizer:
    """A token for each letter. It reads a file, which it copies when it is saved."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_LETTERS),
        model_prefix=str(folder / "tokenizer"),
        model_type="char",
        character_coverage=1.0,
        vocab_size=len(_LETTERS) + 4,
        minloglevel=2,
    )
    return ChatGLMTokenizer(str(folder / "tokenizer.model"))


def _gemma_tokenizer(*template: str) -> GemmaTokenizer:
    """A token for each letter, and one for each part of a template."""
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *_LETTERS]
    tokenizer = GemmaTokenizer({token: i for i, token in enumerate(tokens)}, merges=[], add_bos_token=True)
    tokenizer.add_tokens([_LUMINA, *template], special_tokens=True)
    return tokenizer


def _t5gemma_config(tokens: int) -> T5GemmaModuleConfig:
    sizes = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    return T5GemmaModuleConfig(vocab_size=tokens, layer_types=["full_attention"], **sizes, **heads)


def _qwen3(layers: int = 2) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(_qwen3_config(num_hidden_layers=layers)).eval()


def _qwen3_config(**config: Any) -> Qwen3Config:
    return Qwen3Config(**_qwen_size(**{"num_hidden_layers": 2, "head_dim": 8} | config))


def _mistral(tokens: int, layers: int) -> Mistral3Config:
    size = {"vocab_size": tokens, "num_hidden_layers": layers, "intermediate_size": 8, "head_dim": 8}
    text = _qwen_size(**size) | {"model_type": "mistral"}
    vision = {"model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    return Mistral3Config(text_config=text, vision_config=vision | {"num_attention_heads": 2, "head_dim": 8})


def _rewriter(tokens: int) -> Ministral3ForCausalLM:
    size = {"vocab_size": tokens, "num_hidden_layers": 1, "head_dim": 8}
    return Ministral3ForCausalLM(Ministral3Config(**_qwen_size(**size))).eval()


def _qwen_vl() -> Qwen2_5_VLForConditionalGeneration:
    rope = {"type": "default", "rope_type": "default", "mrope_section": [2, 3, 3]}
    text = _qwen_size(num_hidden_layers=2) | {"rope_scaling": rope, "rope_parameters": rope}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision)).eval()


def _qwen3_vl() -> Qwen3VLModel:
    return Qwen3VLModel(_qwen3_vl_config(len(_qwen_tokenizer("assistant")))).eval()


def _qwen3_vl_config(tokens: int, layers: int = 2) -> Qwen3VLConfig:
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True, "rope_theta": 1e4}
    text = _qwen_size(vocab_size=tokens, num_hidden_layers=layers, head_dim=8)
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": WIDTH}
    vision |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
    return Qwen3VLConfig(text_config=text | {"rope_parameters": rope}, vision_config=vision)


def _qwen_size(**config: Any) -> dict[str, Any]:
    size = {"vocab_size": len(_qwen_tokenizer()), "hidden_size": WIDTH, "intermediate_size": 32}
    return {**size, "num_attention_heads": 2, "num_key_value_heads": 1} | config


def _qwen_tokenizer(*template: str) -> Qwen2Tokenizer:
    """A token for each byte, in GPT-2's spelling of bytes, and one for each part of a template."""
    bytes_ = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Qwen2Tokenizer({byte: i for i, byte in enumerate(sorted(bytes_))}, merges=[])
    # Of Qwen-Image's template 34 tokens are dropped; were each of its letters a token, a prompt would be lost among them.
    qwen = " by detailing the color, shape, size, texture, quantity, text, spatial relationships of the objects"
    tokenizer.add_tokens(["<|im_start|>", "<|im_end|>", f"{qwen} and background:", *template], special_tokens=True)
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer
